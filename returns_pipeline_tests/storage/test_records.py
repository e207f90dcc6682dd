"""Domain values come back from the tables as they went in."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from returns_pipeline.domain import lifecycle
from returns_pipeline.domain.model import (
    Ambiguous,
    Decided,
    Disposition,
    Fact,
    Match,
    Matched,
    Orphan,
    Precision,
    RefundType,
    StockEffect,
    Unit,
    Waiting,
)
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert
from returns_pipeline_tests.storage.rows import NOON, insert

LATER = NOON + timedelta(hours=1)

_WORD = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=8)
_INSTANT = st.integers(-(10**15), 10**15).map(lambda n: NOON + timedelta(microseconds=n))
_FACT = st.none() | st.builds(Fact, _INSTANT, st.sampled_from(Precision))
_AMOUNT = st.none() | st.integers(-(2**63), 2**63 - 1)
_UNITS = st.builds(
    Unit,
    unit_key=st.just("u"),
    return_id=_WORD,
    order_number=_WORD,
    order_key=_WORD,
    line_item_id=_WORD,
    sku=_WORD,
    **dict.fromkeys(records.FACTS, _FACT),
    status=_WORD,
    dropoff_method=_WORD,
    disposition_code=_WORD,
    disposition_at=st.none() | _INSTANT,
    refund_type=st.none() | st.sampled_from(RefundType),
    refund_amount_minor=_AMOUNT,
    shipping_refund_minor=_AMOUNT,
    fee_minor=_AMOUNT,
    fee_currency=st.none() | st.just("GBP"),
    currency=st.none() | st.just("EUR"),
    returnless=st.booleans(),
    exchange_sku=_WORD,
    exchange_quantity=st.integers(0, 100),
    exchange_unit_price_minor=_AMOUNT,
    reason_code=_WORD,
    updated_at=st.none() | _INSTANT,
    source_rank=st.sampled_from([0, 1]),
    payload_hash=_WORD,
    problems=st.lists(_WORD.filter(bool), max_size=3).map(tuple),
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # one row, overwritten
)
@given(unit=_UNITS)
def test_a_unit_comes_back_as_it_went_in(engine: sa.Engine, unit: Unit) -> None:
    with engine.begin() as connection:
        records.write_units(connection, [unit], now=NOON)
        assert records.units_by_key(connection, ["u"]) == {"u": unit}
        stage = connection.scalar(sa.select(t.return_items.c.stage))
        assert stage == lifecycle.stage(unit)


def test_the_columns_of_a_unit_are_those_of_its_table() -> None:
    told = {*records.UNIT_COLUMNS, "id", "first_seen_at", "changed_at", "is_open"}
    assert told == set(t.return_items.c.keys())


def _unit(key: str, **values: Any) -> Unit:
    values = {"return_id": "r", "order_number": "#1", "order_key": "1"} | values
    return Unit(unit_key=key, line_item_id="", sku="S", payload_hash="h", **values)


def test_new_evidence_opens_a_unit_again_and_keeps_when_it_was_first_seen(
    engine: sa.Engine,
) -> None:
    with engine.begin() as connection:
        records.write_units(connection, [_unit("u"), _unit("v")], now=NOON)
        connection.execute(sa.update(t.return_items).values(is_open=False))
        assert records.open_units(connection) == {}
        records.write_units(connection, [_unit("u", status="x")], now=LATER)
        assert set(records.open_units(connection)) == {"u"}
        items = t.return_items.c
        query = sa.select(items.first_seen_at, items.changed_at).order_by(items.id)
        assert [tuple(row) for row in connection.execute(query)] == [(NOON, LATER), (NOON, NOON)]


def test_more_keys_than_a_statement_takes_are_asked_in_parts(engine: sa.Engine) -> None:
    units = [_unit(f"u{n}", order_key=str(n % 3)) for n in range(1201)]
    with engine.begin() as connection:
        records.write_units(connection, units, now=NOON)
        found = records.units_by_key(connection, (unit.unit_key for unit in units))
        assert found == {unit.unit_key: unit for unit in units}
        assert len(records.units_of_orders(connection, ["0", "2"])) == 801
        assert records.units_by_key(connection, []) == {}


# --- orders -----------------------------------------------------------------------


def _order(connection: sa.Connection, order_id: str, **values: Any) -> None:
    keys = {"reference_key": "r", "secondary_key": "s", "source": "SHOPIFY"}
    insert(connection, "orders", order_id=order_id, **(keys | values))


def test_an_order_comes_with_its_lines_in_their_order(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        _order(connection, "o", total_minor=2400, is_processed=True)
        for place, name in ((1, "a"), (0, "b")):
            insert(
                connection,
                "order_lines",
                order_id="o",
                row_id=name,
                position=place,
                quantity=place + 1,
                unit_cost_minor=None if place else 500,
                is_service=bool(place),
                parent_row_id="b" if place else None,
            )
        _order(connection, "empty")
        found = records.orders_by_id(connection, ["o", "empty", "none"])
    assert set(found) == {"o", "empty"}
    order = found["o"]
    assert (order.total_minor, order.processed, order.cancelled) == (2400, True, False)
    assert [(line.row_id, line.quantity) for line in order.lines] == [("b", 1), ("a", 2)]
    assert [line.unit_cost_minor for line in order.lines] == [500, None]
    assert [line.parent_row_id for line in order.lines] == [None, "b"]
    assert [line.is_service for line in order.lines] == [False, True]
    assert found["empty"].lines == ()


def test_an_order_is_found_by_either_reference_and_once(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        _order(connection, "o1", reference_key="1", secondary_key="2")
        _order(connection, "o2", reference_key="2", secondary_key="2")
        _order(connection, "o3", reference_key="1", secondary_key="", source="OURS")
        found = records.orders_by_key(connection, ["1", "2", "3"], but_not_source="OURS")
    ids = {key: [order.order_id for order in orders] for key, orders in found.items()}
    assert ids == {"1": ["o1"], "2": ["o1", "o2"]}


# --- decisions --------------------------------------------------------------------


@pytest.mark.parametrize(
    "match",
    [
        Matched("u", "o", "line", 0, "row_id"),
        Orphan("u", "ORPHAN_RETURN", "no order"),
        Orphan("u", "QTY_EXCEEDS_ORDERED", "one too many", "o"),
        Ambiguous("u", "LINE_AMBIGUOUS_SKU", "two lines", ("a", "b"), "o"),
        Ambiguous("u", "ORDER_REF_AMBIGUOUS", "none named", ()),
        Waiting("u", "ORDER_NOT_PROCESSED", "open", "o"),
    ],
    ids=lambda match: type(match).__name__,
)
def test_a_match_comes_back_as_it_went_in(engine: sa.Engine, match: Match) -> None:
    with engine.begin() as connection:
        rows = [records.match_row(match, since=NOON, now=LATER)]
        upsert(connection, t.matches, records.MATCH_COLUMNS, rows)
        assert records.matches_of(connection, ["u", "v"]) == {"u": records.StoredMatch(match, NOON)}


def test_the_latest_decision_of_a_unit_stands(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for sequence, disposition, effect in (
            (1, "DAMAGED", "scrap"),
            (0, "SELLABLE", "restock"),
        ):
            insert(
                connection,
                "dispositions",
                unit_key="u",
                sequence=sequence,
                disposition=disposition,
                effect=effect,
                source_code="C",
                role="inventory",
            )
        found = records.decisions_of(connection, ["u"])
    decided = Decided(
        "u",
        "C",
        Disposition.DAMAGED,
        StockEffect.SCRAP,
        "main",
        sellable=False,
        refund="allow",
        role="inventory",
    )
    assert found == {"u": records.StoredDecision(1, decided)}


def test_rows_are_grouped_by_their_unit(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for gate in ("stock", "refund"):
            insert(connection, "gates", unit_key="u", gate=gate)
        found = records.rows_of(connection, t.gates, ["u", "v"])
        assert sorted(row["gate"] for row in found["u"]) == ["refund", "stock"]
        assert found["v"] == []


# --- watermarks -------------------------------------------------------------------


def test_a_watermark_is_as_it_was_last_set(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        assert records.watermark(connection, "n") is None
        assert records.position(connection, "n") == 0
        records.move_watermark(connection, "n", now=NOON, at=NOON)
        records.move_watermark(connection, "p", now=NOON, position=2**40)
        records.move_watermark(connection, "n", now=LATER, at=LATER)
        assert records.watermark(connection, "n") == LATER
        assert records.position(connection, "n") == 0
        assert records.position(connection, "p") == 2**40


def test_only_locations_that_are_there_have_a_name(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        insert(connection, "vendor_locations", location_id="a", name="Main", is_present=True)
        insert(connection, "vendor_locations", location_id="b", name="Old", is_present=False)
        assert records.location_names(connection) == {"a": "Main"}


@pytest.mark.parametrize(
    "read",
    [
        lambda connection: records.units_by_key(connection, ["u"]),
        lambda connection: records.orders_by_id(connection, ["o"]),
        lambda connection: records.orders_by_key(connection, ["k"]),
        lambda connection: records.matches_of(connection, ["u"]),
        lambda connection: records.decisions_of(connection, ["u"]),
        records.open_units,
        records.location_names,
    ],
)
def test_an_empty_database_has_nothing(
    engine: sa.Engine, read: Callable[[sa.Connection], object]
) -> None:
    with engine.begin() as connection:
        assert not read(connection)
