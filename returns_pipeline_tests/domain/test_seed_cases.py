"""The seed cases that are rules alone, from evidence to what is owed and moved."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from returns_pipeline.domain import adjustments, disposition, exceptions, gate, lifecycle, matching
from returns_pipeline.domain import exchanges as exchange_rules
from returns_pipeline.domain.model import (
    Ambiguous,
    Cleared,
    Decided,
    ExchangeOrder,
    Held,
    Match,
    Matched,
    Order,
    Orphan,
    Owner,
    RefundType,
    Stage,
    StockAdjustment,
    Unit,
    Waiting,
)
from returns_pipeline_tests.domain import build
from returns_pipeline_tests.domain.build import PLACES, ROW, ROW2, at, fact, line, order, policy

POLICY = policy()
INDEX = disposition.location_index(PLACES)


@dataclass(frozen=True)
class Told:
    """What the rules say of one unit."""

    match: Match
    stock: object
    refund: object
    exchange: object
    movement: StockAdjustment | None


def ask(units: list[Unit], *orders: Order) -> dict[str, Told]:
    """Match, gate, decide and compute, as the day's work does."""
    told = {}
    by_key = {unit.unit_key: unit for unit in units}
    for match in matching.match_units(units, orders, {}):
        unit = by_key[match.unit_key]
        decision = disposition.decide(unit, POLICY, INDEX)
        stock = gate.stock_gate(unit, match, decision, POLICY)
        movement = None
        if isinstance(stock, Cleared) and isinstance(match, Matched):
            assert isinstance(decision, Decided)
            row = next(one for one in orders[0].lines if one.row_id == match.row_id)
            movement = adjustments.adjustment(unit, match, decision, row)
        told[match.unit_key] = Told(
            match,
            stock,
            gate.refund_gate(unit, match, decision, POLICY),
            gate.exchange_gate(unit, match, decision, POLICY),
            movement,
        )
    return told


def test_premature_refund() -> None:
    """Initiated, dropped off, approved, never received: no money, aged and visible."""
    unit = build.unit(dropped_off=fact(-46), approved=fact(-46), status="approved")
    assert lifecycle.stage(unit) is Stage.APPROVED
    told = ask([unit], order())["u1"]
    assert isinstance(told.match, Matched)
    assert isinstance(told.refund, Held)
    assert told.refund.code == "not_received"
    assert isinstance(told.stock, Held)
    assert told.movement is None
    # What tells of it as it ages has an owner and a time.
    entry = exceptions.CATALOGUE["STUCK_IN_TRANSIT"]
    assert entry.owner is Owner.OPERATIONS
    assert exceptions.due_at(entry.severity, at(0), POLICY) > at(0)
    # Years of the same words change nothing.
    later = lifecycle.merge(unit, build.unit(updated_at=at(24 * 400), approved=fact(0)))
    assert isinstance(ask([later], order())["u1"].refund, Held)


def test_damaged_tag_missing_and_saleable_units_of_one_sku_land_in_three_locations() -> None:
    units = [
        build.received("good", disposition_code="saleable"),
        build.received("broken", disposition_code="damaged"),
        build.received("untagged", disposition_code="tag-missing"),
    ]
    told = ask(units, order(line(quantity=3, total_minor=18_000, vat_minor=3_000)))
    moved = {key: one.movement for key, one in told.items()}
    assert {key: one.location_id for key, one in moved.items() if one} == {
        "good": "loc-restock",
        "broken": "loc-damaged",
        "untagged": "loc-quarantine",
    }
    lines = adjustments.booking_lines([one for one in moved.values() if one])
    assert len(lines) == 3
    assert {one.row_id for one in lines} == {ROW}
    assert all(one.quantity == 1 for one in lines)


TWO_LINES = order(line(ROW, item_number="L1"), line(ROW2, item_number="L2"))


def test_two_lines_of_one_sku_with_line_id() -> None:
    units = [build.received("a", line_item_id="L2"), build.received("b", line_item_id="L1")]
    told = ask(units, TWO_LINES)
    matches = {key: one.match for key, one in told.items()}
    assert {k: m.row_id for k, m in matches.items() if isinstance(m, Matched)} == {
        "a": ROW2,
        "b": ROW,
    }


def test_two_lines_of_one_sku_without_line_id_go_to_cx_and_not_to_a_guess() -> None:
    told = ask([build.received(line_item_id="")], TWO_LINES)["u1"]
    assert isinstance(told.match, Ambiguous)
    assert told.match.code == "LINE_AMBIGUOUS_SKU"
    assert set(told.match.candidates) == {ROW, ROW2}
    assert exceptions.CATALOGUE[told.match.code].owner is Owner.CX
    assert isinstance(told.stock, Held)
    assert isinstance(told.refund, Held)
    assert told.movement is None


def test_missing_line_id_with_one_line_that_fits_is_no_question() -> None:
    told = ask([build.received(line_item_id="")], order())["u1"]
    assert isinstance(told.match, Matched)
    assert told.movement is not None


def test_order_open() -> None:
    told = ask([build.received()], order(processed=False))["u1"]
    assert isinstance(told.match, Waiting)
    assert told.match.code == "ORDER_NOT_PROCESSED"
    assert told.movement is None
    # It goes on by itself once the order is processed.
    assert ask([build.received()], order())["u1"].movement is not None


def test_order_cancelled() -> None:
    told = ask([build.received()], order(cancelled=True))["u1"]
    assert isinstance(told.match, Orphan)
    assert told.match.code == "LINNWORKS_CANNOT_RETURN"
    assert isinstance(told.refund, Held)
    assert told.movement is None


def test_order_unknown() -> None:
    told = ask([build.received(order_number="9999")])["u1"]
    assert isinstance(told.match, Orphan)
    assert told.match.code == "ORPHAN_RETURN"
    assert "9999" in told.match.reason
    assert exceptions.CATALOGUE[told.match.code].owner is Owner.CX
    assert told.movement is None


@pytest.mark.parametrize(
    "evidence", [{}, {"dropped_off": fact(-40)}, {"approved": fact(-39)}, {"departed": fact(-20)}]
)
def test_an_exchange_order_exists_only_after_receipt_and_once(evidence: dict[str, object]) -> None:
    swap = {
        "refund_type": RefundType.EXCHANGE,
        "exchange_sku": "SHIRT-L",
        "exchange_quantity": 1,
        "exchange_unit_price_minor": 6000,
    }
    early = ask([build.unit(**swap, **evidence)], order())["u1"]
    assert isinstance(early.exchange, Held)
    unit = build.received(**swap, **evidence)
    told = ask([unit], order())["u1"]
    assert isinstance(told.match, Matched)
    assert told.exchange == Cleared(at(1))
    made = exchange_rules.exchange_order(unit, told.match, order(), told.exchange, POLICY)
    later = lifecycle.merge(unit, build.received(**swap, updated_at=at(0) + timedelta(days=9)))
    again = exchange_rules.exchange_order(later, told.match, order(), told.exchange, POLICY)
    assert isinstance(made, ExchangeOrder)
    assert isinstance(again, ExchangeOrder)
    assert (made.exchange_key, made.reference) == (again.exchange_key, again.reference)
