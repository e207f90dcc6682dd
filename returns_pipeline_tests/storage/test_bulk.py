"""Many rows at once: the same rows, the same refusals, on both databases."""

from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import chunks, upsert
from returns_pipeline_tests.storage.rows import DAY, NOON, insert, row

MARK = ("name", "at", "position", "updated_at")
RECEIPT = ("unit_key", "return_id", "order_key", "received_at", "business_date", "seen_at")


def _all(engine: sa.Engine, table: sa.Table, *columns: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        query = sa.select(*(table.c[name] for name in columns)).order_by(*table.primary_key)
        return [tuple(found) for found in connection.execute(query)]


def _marks(engine: sa.Engine) -> list[tuple[Any, ...]]:
    return _all(engine, t.watermarks, *MARK)


def test_new_rows_are_inserted_and_known_ones_updated(engine: sa.Engine) -> None:
    later = NOON + timedelta(hours=1)
    with engine.begin() as connection:
        upsert(connection, t.watermarks, MARK, [("a", NOON, 1, NOON)], key=("name",))
    with engine.begin() as connection:
        rows = [("a", later, None, later), ("b", None, 2, later)]
        upsert(connection, t.watermarks, MARK, rows, key=("name",))
    assert _marks(engine) == [("a", later, None, later), ("b", None, 2, later)]


def test_only_the_columns_named_are_taken_from_a_row_that_is_there(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        upsert(connection, t.watermarks, MARK, [("a", NOON, 1, NOON)], key=("name",))
        rows = [("a", None, 2, NOON + timedelta(hours=1))]
        upsert(connection, t.watermarks, MARK, rows, key=("name",), update=("position",))
    assert _marks(engine) == [("a", NOON, 2, NOON)]


def test_a_row_that_is_there_is_left_alone_when_nothing_is_to_be_updated(
    engine: sa.Engine,
) -> None:
    with engine.begin() as connection:
        upsert(connection, t.watermarks, MARK, [("a", NOON, 1, NOON)], key=("name",))
        rows = [("a", None, 2, NOON), ("b", None, 3, NOON)]
        upsert(connection, t.watermarks, MARK, rows, key=("name",), update=())
    assert _marks(engine) == [("a", NOON, 1, NOON), ("b", None, 3, NOON)]


def test_of_several_rows_with_one_key_the_last_counts(engine: sa.Engine) -> None:
    rows = [("a", None, 1, NOON), ("b", None, 2, NOON), ("a", None, 3, NOON)]
    with engine.begin() as connection:
        upsert(connection, t.watermarks, MARK, rows, key=("name",))
    assert _marks(engine) == [("a", None, 3, NOON), ("b", None, 2, NOON)]


def test_without_a_key_a_second_row_of_one_unit_is_refused_and_nothing_is_written(
    engine: sa.Engine,
) -> None:
    rows = [(f"u{n % 3}", "r", "1", NOON, DAY, NOON) for n in range(4)]
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        upsert(connection, t.receipts, RECEIPT, rows)
    assert _all(engine, t.receipts, "unit_key") == []


def test_no_rows_are_no_statement(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        upsert(connection, t.receipts, RECEIPT, [])
    assert _all(engine, t.receipts, "unit_key") == []


def test_one_table_may_be_filled_twice_in_one_transaction(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        upsert(connection, t.receipts, RECEIPT, [("u1", "r", "1", NOON, DAY, NOON)])
        columns = ("unit_key", *RECEIPT[1:])
        upsert(connection, t.receipts, columns, [("u2", "r", "1", NOON, DAY, NOON)])
    assert _all(engine, t.receipts, "unit_key") == [("u1",), ("u2",)]


def test_row_numbers_grow_in_the_order_of_the_rows(engine: sa.Engine) -> None:
    names = [f"u{n}" for n in range(5000)]
    with engine.begin() as connection:
        rows = [(name, "r", "1", NOON, DAY, NOON) for name in names]
        upsert(connection, t.receipts, RECEIPT, rows)
    assert _all(engine, t.receipts, "unit_key") == [(name,) for name in names]


def test_what_is_rolled_back_was_never_there(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        upsert(connection, t.watermarks, MARK, [("a", NOON, 1, NOON)])
        connection.rollback()
    assert _marks(engine) == []


class _Word(StrEnum):
    OPEN = "open_return"


def test_every_type_comes_back_as_it_went_in(engine: sa.Engine) -> None:
    abroad = timezone(timedelta(hours=-11, minutes=-30))
    at = datetime(2026, 3, 29, 1, 59, 59, 999_999, tzinfo=abroad)
    text = "tab\t, line\n, return\r, \\N, \\., \"quoted\", 'single', £ 漢 🎁"
    watch = ("order_key", "reference", "reason", "priority", "due_at", "closes_at", "is_active")
    with engine.begin() as connection:
        rows = [(text, "", _Word.OPEN, -1, at, at, False), ("", text, "shipped", 2, at, at, True)]
        upsert(connection, t.watch_list, watch, rows, key=("order_key",))
        upsert(connection, t.receipts, RECEIPT, [("u", "r", "1", at, date(2024, 2, 29), at)])
    assert _all(engine, t.watch_list, *watch) == [
        ("", text, "shipped", 2, at, at, True),
        (text, "", "open_return", -1, at, at, False),
    ]
    ((received, day),) = _all(engine, t.receipts, "received_at", "business_date")
    assert received == at
    assert received.tzinfo is UTC
    assert day == date(2024, 2, 29)


def test_json_comes_back_as_it_went_in_and_nothing_is_null(engine: sa.Engine) -> None:
    payload = {"text": 'a\t"b"\\ \x00 漢', "list": [1, None, {"deep": True}], "amount": 12.5}
    made = row("intents", payload=payload)
    columns = tuple(made)
    with engine.begin() as connection:
        upsert(connection, t.intents, columns, [tuple(made.values())], key=("intent_key",))
    assert _all(engine, t.intents, "payload", "evidence") == [(payload, None)]
    with engine.connect() as connection:
        missing = sa.select(sa.func.count()).where(t.intents.c.evidence.is_(sa.null()))
        assert connection.scalar(missing) == 1


def test_a_nul_in_a_text_stops_nothing_and_is_seen(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        upsert(connection, t.receipts, RECEIPT, [("u\x00v", "r", "1", NOON, DAY, NOON)])
    assert _all(engine, t.receipts, "unit_key") == [("u\ufffdv",)]


def test_a_naive_instant_is_refused(engine: sa.Engine) -> None:
    naive = datetime(2026, 3, 14, 12)  # noqa: DTZ001
    with pytest.raises(ValueError, match="naive instant"), engine.begin() as connection:
        upsert(connection, t.receipts, RECEIPT, [("u", "r", "1", naive, DAY, NOON)])
    assert _all(engine, t.receipts, "unit_key") == []


def test_no_value_stands_in_the_error_of_a_copy(postgres_url: str) -> None:
    from returns_pipeline.storage.engine import connect

    engine = connect(postgres_url)
    with pytest.raises(sa.exc.DBAPIError) as refused, engine.begin() as connection:
        upsert(connection, t.watermarks, MARK, [("a", None, "jane@shopper.example", NOON)])
    assert "jane" not in str(refused.value)
    assert "jane" not in str(refused.value.__cause__)
    assert "watermarks" in str(refused.value)
    engine.dispose()


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_INSTANT = st.integers(-(10**15), 10**16).map(lambda n: NOON + timedelta(microseconds=n))
_BIG = st.integers(-(2**63), 2**63 - 1)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # it empties the table itself
)
@given(
    rows=st.lists(
        st.tuples(_TEXT, st.none() | _INSTANT, st.none() | _BIG, _INSTANT),
        max_size=8,
        unique_by=lambda mark: mark[0].replace("\x00", "\ufffd"),
    )
)
def test_any_rows_come_back_as_they_went_in(engine: sa.Engine, rows: list[tuple[Any, ...]]) -> None:
    with engine.begin() as connection:
        connection.execute(sa.delete(t.watermarks))
        upsert(connection, t.watermarks, MARK, rows, key=("name",))
        upsert(connection, t.watermarks, MARK, rows, key=("name",))
    expected = {mark[0].replace("\x00", "\ufffd"): mark[1:] for mark in rows}
    assert {mark[0]: mark[1:] for mark in _marks(engine)} == expected


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_one_statement(engine: sa.Engine) -> None:
    rows = [(f"u{n}", "r", "1", NOON, DAY, NOON) for n in range(100_000)]
    with engine.begin() as connection:
        upsert(connection, t.receipts, RECEIPT, rows, key=("unit_key",))
        upsert(connection, t.receipts, RECEIPT, rows, key=("unit_key",), update=())
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(t.receipts)) == 100_000


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (3, [3]), (4, [3, 1]), (6, [3, 3])])
def test_chunks_hold_everything_once_and_no_more_than_asked(count: int, sizes: list[int]) -> None:
    parts = list(chunks(iter(range(count)), 3))
    assert [len(part) for part in parts] == sizes
    assert [item for part in parts for item in part] == list(range(count))


def test_lines_of_an_order_that_is_there_may_follow_it(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        insert(connection, "orders", order_id="o")
        made = row("order_lines", order_id="o")
        upsert(connection, t.order_lines, tuple(made), [tuple(made.values())], key=("row_id",))
    assert _all(engine, t.order_lines, "order_id") == [("o",)]


_LISTED = ("shipment_id", "unit_key", "seen_at")


@pytest.mark.parametrize("there", [range(0), range(300, 700), range(2000)])
def test_of_many_rows_those_that_are_there_are_updated_and_the_others_come_in_order(
    engine: sa.Engine, there: range
) -> None:
    later = NOON + timedelta(hours=1)
    with engine.begin() as connection:
        rows = [("s", f"u{n}", NOON) for n in there]
        upsert(connection, t.shipment_items, _LISTED, rows, key=_LISTED[:2])
    with engine.begin() as connection:
        rows = [("s", f"u{n}", later) for n in range(2000)]
        upsert(connection, t.shipment_items, _LISTED, rows, key=_LISTED[:2])
    found = _all(engine, t.shipment_items, *_LISTED)
    new = [n for n in range(2000) if n not in there]
    assert found == [("s", f"u{n}", later) for n in [*there, *new]]


def test_what_many_rows_have_in_common_is_in_each_of_them(engine: sa.Engine) -> None:
    day = DAY.replace(day=1)
    odd = {0: ("r", NOON), 700: ("another", NOON), 1999: ("r", NOON + timedelta(seconds=1))}
    rows = [
        (f"u{n}\t\\", odd.get(n, ("r", NOON))[0], "", odd.get(n, ("r", NOON))[1], day, NOON)
        for n in range(2000)
    ]
    with engine.begin() as connection:
        upsert(connection, t.receipts, RECEIPT, rows)
    assert _all(engine, t.receipts, *RECEIPT) == rows


def test_one_row_too_many_among_many_leaves_nothing(engine: sa.Engine) -> None:
    rows = [(f"u{n % 1999}", "r", "1", NOON, DAY, NOON) for n in range(2000)]
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        upsert(connection, t.receipts, RECEIPT, rows)
    assert _all(engine, t.receipts, "unit_key") == []
