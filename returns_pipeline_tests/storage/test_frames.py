"""Tables as frames: the declared types, and only what a check has to look at."""

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from returns_pipeline import schemas
from returns_pipeline.storage import frames
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect, reading
from returns_pipeline_tests.storage.rows import DAY, NOON, insert


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    """A database with a row in every table."""
    with engine.begin() as connection:
        for table in t.metadata.sorted_tables:
            if connection.execute(sa.select(table)).first() is None:
                insert(connection, table.name)
    return engine


def test_every_table_reads_as_its_schema_would_have_it(filled: sa.Engine) -> None:
    with reading(filled) as connection:
        for table in t.metadata.sorted_tables:
            frame = frames.read(connection, table)
            assert len(frame) == 1
            assert schemas.check(table.name, frame).failures == (), table.name


def test_every_empty_table_reads_with_the_same_types(filled: sa.Engine) -> None:
    with reading(filled) as connection:
        for table in t.metadata.sorted_tables:
            full = frames.read(connection, table)
            empty = frames.read(connection, table, where=sa.false())
            assert len(empty) == 0
            assert dict(empty.dtypes) == dict(full.dtypes)


def test_values_and_their_absence_come_through(engine: sa.Engine) -> None:
    late = NOON + timedelta(microseconds=1)
    with engine.begin() as connection:
        insert(connection, "refunds_due", unit_key="u", refund_key="u", settled_at=None)
        insert(
            connection,
            "refunds_due",
            unit_key="v",
            refund_key="v",
            refund_header_id=2**40,
            settled_at=late,
            note="£",
            is_ledgered=True,
        )
        frame = frames.read(connection, t.refunds_due)
    assert frame["refund_header_id"].tolist() == [pd.NA, 2**40]
    assert frame["settled_at"].isna().tolist() == [True, False]
    assert frame["settled_at"][1] == pd.Timestamp(late)
    assert frame["business_date"].dt.date.tolist() == [DAY, DAY]
    assert frame["note"].tolist() == ["note-1", "£"]
    assert frame["is_ledgered"].tolist() == [False, True]
    assert frame["intent_key"].isna().all()


def test_json_reads_as_text(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        insert(connection, "intents", payload={"b": [1]}, evidence={"id": "x"}, state="confirmed")
        frame = frames.read(connection, t.intents)
    assert frame["payload"].str.contains('"b"').all()
    assert frame["evidence"].str.startswith("{").all()


def test_a_where_and_a_limit_give_the_last_rows_in_order(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for n in range(5):
            insert(connection, "attempts", attempt=n)
        some = frames.read(connection, t.attempts, where=t.attempts.c.attempt < 4, limit=2)
    assert some["attempt"].tolist() == [2, 3]


def test_a_check_sees_the_newest_rows_only(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for n in (5, 4, 3, 2, 1, 0):  # the newest is not the last by its key
            insert(connection, "return_items", unit_key=f"u{n}", return_id=f"r{n}")
            insert(connection, "returns", return_id=f"r{n}")
            insert(connection, "gates", unit_key=f"u{n}")
            insert(connection, "raw_payloads", key=f"o{n}", source="linnworks.order.v2")
            insert(connection, "orders", order_id=f"o{n}")
            insert(connection, "order_lines", order_id=f"o{n}", row_id=f"l{n}")

        def newest(table: sa.Table, column: str, **options: Any) -> list[str]:
            return frames.changed(connection, table, rows=2, **options)[column].tolist()

        assert newest(t.return_items, "unit_key") == ["u1", "u0"]
        last = connection.scalar(sa.select(sa.func.max(t.return_items.c.id)))
        assert newest(t.return_items, "unit_key", since_id=last - 1) == ["u0"]
        assert newest(t.returns, "return_id") == ["r0", "r1"]
        assert newest(t.gates, "unit_key") == ["u0", "u1"]
        assert newest(t.orders, "order_id") == ["o0", "o1"]
        assert newest(t.order_lines, "row_id") == ["l0", "l1"]
        assert newest(t.closed_days, "business_date") == []


def test_what_changed_can_be_asked_of_every_table(filled: sa.Engine) -> None:
    with reading(filled) as connection:
        for table in t.metadata.sorted_tables:
            assert list(frames.changed(connection, table)) == list(table.c.keys())


def test_what_sqlite_let_in_is_found_by_the_schema(sqlite_url: str) -> None:
    """SQLite stores any value in any column; the frame must not hide it."""
    engine = connect(sqlite_url)
    with engine.begin() as connection:
        insert(connection, "watch_list")
        connection.execute(
            sa.text("UPDATE watch_list SET priority='x', due_at='soon', is_active='maybe'")
        )
        frame = frames.read(connection, t.watch_list)
    engine.dispose()
    named = {failure.column for failure in schemas.check("watch_list", frame).failures}
    assert named == {"priority", "due_at", "is_active"}


def test_columns_are_described_for_people() -> None:
    described = frames.columns(t.refunds_due)
    assert [name for name, _, _ in described] == list(t.refunds_due.c.keys())
    assert ("amount_minor", "integer") in {(name, kind) for name, kind, _ in described}
    about = {name: text for name, _, text in described}
    assert about["amount_minor"] == "What is paid: goods and shipping less fee, minor units"
    assert about["settled_at"].endswith("UTC; may be missing")


def test_every_column_of_every_table_says_what_it_means() -> None:
    for table in t.metadata.sorted_tables:
        for name, _, about in frames.columns(table):
            assert len(about) > 3, (table.name, name)
