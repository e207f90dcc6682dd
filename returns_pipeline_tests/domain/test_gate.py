"""What opens a gate: receipt, and what the policy names instead; never a promise."""

from dataclasses import replace
from typing import Any

import pytest

from returns_pipeline.domain import gate
from returns_pipeline.domain.model import (
    Ambiguous,
    Cleared,
    Decided,
    Disposition,
    Executor,
    Held,
    Orphan,
    RefundType,
    Stage,
    StockEffect,
    Unit,
    Waiting,
)
from returns_pipeline_tests.domain import build
from returns_pipeline_tests.domain.build import at, decided, fact, line, matched, policy

POLICY = policy()
HAPPY_RETURNS_PAYS = policy(refunds={"executor": Executor.HAPPY_RETURNS})
EXCHANGE = {"refund_type": RefundType.EXCHANGE, "exchange_sku": "SHIRT-L"}

# Everything a unit can have told without having been received.
NOT_RECEIVED = {
    "initiated": {},
    "dropped off": {"dropped_off": fact(-40)},
    "approved": {"approved": fact(-39)},
    "dropped off and approved": {"dropped_off": fact(-40), "approved": fact(-39)},
    "on its way": {"dropped_off": fact(-40), "departed": fact(-20)},
    "said to be received": {"status": "received", "approved": fact(-39)},
    "inspected on the way": {"approved": fact(-39), "disposition_code": "saleable"},
}


def held(verdict: object) -> Held:
    assert isinstance(verdict, Held), verdict
    return verdict


def all_gates(unit: Unit, decision: Decided | Held | None = None) -> dict[str, object]:
    found = decision or decided()
    return {
        "stock": gate.stock_gate(unit, matched(), found, POLICY),
        "refund": gate.refund_gate(unit, matched(), found, POLICY),
        "exchange": gate.exchange_gate(replace(unit, **EXCHANGE), matched(), found, POLICY),
    }


@pytest.mark.parametrize("told", NOT_RECEIVED.values(), ids=NOT_RECEIVED)
def test_no_promise_clears_a_receipt_gate(told: dict[str, Any]) -> None:
    for name, verdict in all_gates(build.unit(**told)).items():
        assert held(verdict).code == "not_received", name
        assert held(verdict).exception is None, name


@pytest.mark.parametrize("told", NOT_RECEIVED.values(), ids=NOT_RECEIVED)
def test_receipt_clears_every_gate_whatever_else_was_told(told: dict[str, Any]) -> None:
    for name, verdict in all_gates(build.received(**told)).items():
        assert verdict == Cleared(at(1)), name


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_an_ended_return_that_never_came_opens_nothing(end: str) -> None:
    unit = build.unit(dropped_off=fact(-40), approved=fact(-39), **{end: fact(-1)})
    for name, verdict in all_gates(unit).items():
        assert held(verdict).code == end, name


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_goods_that_came_all_the_same_are_in_the_warehouse(end: str) -> None:
    for name, verdict in all_gates(build.received(**{end: fact(-1)})).items():
        assert isinstance(verdict, Cleared), name


def test_an_ended_return_pays_by_no_other_evidence_either() -> None:
    by_method = policy(gate={"refund_by_dropoff": {"returnbar": Stage.DROPPED_OFF}})
    unit = build.unit(dropoff_method="return-bar", dropped_off=fact(-40), expired=fact(-1))
    assert held(gate.refund_gate(unit, matched(), None, by_method)).code == "expired"


@pytest.mark.parametrize(
    "match",
    [
        Orphan("u1", "ORPHAN_RETURN", "no order"),
        Ambiguous("u1", "LINE_AMBIGUOUS_SKU", "two lines", ("a", "b")),
        Waiting("u1", "ORDER_NOT_PROCESSED", "open"),
    ],
)
def test_without_its_order_line_nothing_moves_and_the_match_has_the_task(match: Any) -> None:
    unit = build.received()
    for verdict in (
        gate.stock_gate(unit, match, decided(), POLICY),
        gate.refund_gate(unit, match, decided(), POLICY),
        gate.exchange_gate(replace(unit, **EXCHANGE), match, decided(), POLICY),
    ):
        assert held(verdict).code == "unmatched"
        assert held(verdict).exception is None


def test_the_gate_is_open_since_the_last_of_its_evidence() -> None:
    late_word = build.received(received=fact(0), disposition_at=at(30))
    late_goods = build.received(received=fact(40), disposition_at=at(30))
    assert gate.stock_gate(late_word, matched(), decided(), POLICY) == Cleared(at(30))
    assert gate.refund_gate(late_word, matched(), decided(), POLICY) == Cleared(at(30))
    assert gate.stock_gate(late_goods, matched(), decided(), POLICY) == Cleared(at(40))


# --- the condition ----------------------------------------------------------------


def test_a_received_unit_without_a_disposition_waits_for_one() -> None:
    unit = build.received(disposition_code="", disposition_at=None)
    for verdict in (
        gate.stock_gate(unit, matched(), None, POLICY),
        gate.refund_gate(unit, matched(), None, POLICY),
        gate.exchange_gate(replace(unit, **EXCHANGE), matched(), None, POLICY),
    ):
        assert held(verdict).exception == "DISPOSITION_MISSING"


def test_an_unmapped_condition_holds_stock_and_refund() -> None:
    unmapped = Held("DISPOSITION_UNMAPPED", "unknown", "DISPOSITION_UNMAPPED")
    for name, verdict in all_gates(build.received(disposition_code="odd"), unmapped).items():
        assert held(verdict) == unmapped, name


@pytest.mark.parametrize("disposition", list(Disposition))
def test_stock_opens_for_what_goes_to_a_place_and_for_nothing_else(
    disposition: Disposition,
) -> None:
    decision = decided(disposition)
    verdict = gate.stock_gate(build.received(), matched(), decision, POLICY)
    if decision.effect is StockEffect.NONE:
        assert held(verdict).code == "no_stock"
    else:
        assert isinstance(verdict, Cleared)


@pytest.mark.parametrize(
    ("disposition", "exception"),
    [
        (Disposition.WRONG_ITEM, "WRONG_ITEM_SUSPECTED"),
        (Disposition.QUARANTINE, None),
        (Disposition.MISSING, None),
    ],
)
def test_a_condition_on_hold_pays_nobody_and_replaces_nothing(
    disposition: Disposition, exception: str | None
) -> None:
    decision = decided(disposition)
    for unit, ask in (
        (build.received(), gate.refund_gate),
        (build.received(**EXCHANGE), gate.exchange_gate),
    ):
        verdict = held(ask(unit, matched(), decision, POLICY))
        assert (verdict.code, verdict.exception) == ("disposition_holds", exception)


def test_a_batched_item_is_booked_by_hand_and_still_refunded() -> None:
    unit, batched = build.received(), line(is_batched=True)
    verdict = held(gate.stock_gate(unit, matched(), decided(), POLICY, line=batched))
    assert verdict.exception == "BATCH_ITEM_MANUAL"
    assert isinstance(gate.refund_gate(unit, matched(), decided(), POLICY), Cleared)
    plain = gate.stock_gate(unit, matched(), decided(), POLICY, line=line())
    assert isinstance(plain, Cleared)


# --- other evidence ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("needed", "told", "since"),
    [
        (Stage.DROPPED_OFF, {"dropped_off": fact(-40)}, -40),
        (Stage.DROPPED_OFF, {"departed": fact(-20)}, -20),
        (Stage.DROPPED_OFF, {"dropped_off": fact(-40), "departed": fact(-20)}, -40),
        (Stage.DROPPED_OFF, {"received": fact(0)}, 0),
        (Stage.APPROVED, {"approved": fact(-39)}, -39),
        (Stage.DEPARTED, {"departed": fact(-20)}, -20),
    ],
)
def test_the_policy_may_name_another_evidence_for_a_drop_off_method(
    needed: Stage, told: dict[str, Any], since: float
) -> None:
    by_method = policy(gate={"refund_by_dropoff": {"returnbar": needed}})
    unit = build.unit(dropoff_method="Return-Bar", **told)
    assert gate.refund_gate(unit, matched(), None, by_method) == Cleared(at(since))
    other = replace(unit, dropoff_method="mail", received=None)
    assert held(gate.refund_gate(other, matched(), None, by_method)).code == "not_received"
    assert isinstance(gate.stock_gate(replace(unit, received=None), matched(), None, POLICY), Held)


@pytest.mark.parametrize(
    ("needed", "told"),
    [
        (Stage.DROPPED_OFF, {"approved": fact(-39)}),
        (Stage.APPROVED, {"dropped_off": fact(-40), "received": fact(0)}),
        (Stage.DEPARTED, {"dropped_off": fact(-40), "approved": fact(-39)}),
        (Stage.EXPIRED, {"expired": fact(-1), "received": fact(0)}),
        (Stage.CANCELLED, {"cancelled": fact(-1), "received": fact(0)}),
    ],
)
def test_what_does_not_prove_the_evidence_named_does_not_pay(
    needed: Stage, told: dict[str, Any]
) -> None:
    by_method = policy(gate={"refund_by_dropoff": {"returnbar": needed}})
    unit = build.unit(dropoff_method="return-bar", **told)
    assert isinstance(gate.refund_gate(unit, matched(), None, by_method), Held)


def test_a_condition_known_by_then_still_forbids() -> None:
    by_method = policy(gate={"refund_by_dropoff": {"returnbar": Stage.DROPPED_OFF}})
    unit = build.unit(
        dropoff_method="return-bar", dropped_off=fact(-40), disposition_code="mismatch"
    )
    wrong = decided(Disposition.WRONG_ITEM)
    assert held(gate.refund_gate(unit, matched(), wrong, by_method)).code == "disposition_holds"


def test_where_the_policy_asks_for_approval_the_refund_waits_for_it_without_limit() -> None:
    asks = policy(gate={"refund_requires_approval": True})
    waiting = gate.refund_gate(build.received(), matched(), decided(), asks)
    assert held(waiting).code == "not_approved"
    approved = build.received(approved=fact(50))
    assert gate.refund_gate(approved, matched(), decided(), asks) == Cleared(at(50))
    assert isinstance(gate.refund_gate(build.received(), matched(), decided(), POLICY), Cleared)


def test_approval_before_receipt_does_not_bring_the_refund_forward() -> None:
    asks = policy(gate={"refund_requires_approval": True})
    unit = build.received(approved=fact(-39))
    assert gate.refund_gate(unit, matched(), decided(), asks) == Cleared(at(1))


# --- returnless -------------------------------------------------------------------


def test_a_returnless_unit_is_refunded_once_approved_and_never_restocked() -> None:
    announced = build.unit(returnless=True)
    approved = build.unit(returnless=True, approved=fact(-39))
    assert held(gate.refund_gate(announced, matched(), None, POLICY)).code == "not_approved"
    assert gate.refund_gate(approved, matched(), None, POLICY) == Cleared(at(-39))
    stock = held(gate.stock_gate(approved, matched(), None, POLICY))
    assert (stock.code, stock.exception) == ("returnless", None)


def test_a_returnless_unit_that_comes_all_the_same_is_a_task_for_operations() -> None:
    unit = build.received(returnless=True, approved=fact(-39))
    verdict = held(gate.stock_gate(unit, matched(), decided(), POLICY))
    assert verdict.exception == "BLIND_RETURN"


def test_a_returnless_unit_needs_no_disposition_and_none_forbids_it() -> None:
    unit = build.unit(returnless=True, approved=fact(-39), disposition_code="quarantine")
    held_elsewhere = decided(Disposition.QUARANTINE)
    assert isinstance(gate.refund_gate(unit, matched(), held_elsewhere, POLICY), Cleared)


# --- the kind of refund -----------------------------------------------------------


def test_what_is_refunded_as_nothing_or_exchanged_is_no_refund() -> None:
    none = build.received(refund_type=RefundType.NONE)
    exchange = build.received(**EXCHANGE)
    assert held(gate.refund_gate(none, matched(), decided(), POLICY)).code == "no_refund"
    assert held(gate.refund_gate(exchange, matched(), decided(), POLICY)).code == "exchange"
    assert held(gate.exchange_gate(build.received(), matched(), decided(), POLICY)).code == (
        "no_exchange"
    )


def test_store_credit_passes_the_same_gate_as_money() -> None:
    unit = build.received(refund_type=RefundType.STORE_CREDIT)
    assert isinstance(gate.refund_gate(unit, matched(), decided(), POLICY), Cleared)


def test_a_refund_type_nobody_told_is_a_task_once_something_is_owed() -> None:
    early, owed = build.unit(refund_type=None), build.received(refund_type=None)
    assert held(gate.refund_gate(early, matched(), None, POLICY)).exception is None
    assert held(gate.refund_gate(owed, matched(), decided(), POLICY)).exception == "SCHEMA_DRIFT"


# --- fields that could not be read ------------------------------------------------


@pytest.mark.parametrize(
    ("field", "shut"),
    [
        ("return_id", {"stock", "refund", "exchange"}),
        ("order_number", {"stock", "refund", "exchange"}),
        ("line_item_id", {"stock", "refund", "exchange"}),
        ("sku", {"stock", "refund", "exchange"}),
        ("returnless", {"stock", "refund", "exchange"}),
        ("disposition", {"stock", "refund", "exchange"}),
        ("inspection_outcome", {"stock", "refund", "exchange"}),
        ("refund_type", {"refund", "exchange"}),
        ("refund_amount", {"refund", "exchange"}),
        ("shipping_refund_amount", {"refund", "exchange"}),
        ("return_fee", {"refund", "exchange"}),
        ("currency", {"refund", "exchange"}),
        ("exchange_sku", {"exchange"}),
        ("exchange_quantity", {"exchange"}),
        ("exchange_unit_price", {"exchange"}),
        ("reason_id", set()),
        ("status", set()),
    ],
)
def test_a_field_that_could_not_be_read_shuts_the_gates_that_rest_on_it(
    field: str, shut: set[str]
) -> None:
    unit = build.received(problems=(f"{field}:not a text",))
    for name, verdict in all_gates(unit).items():
        if name in shut:
            assert held(verdict).exception == "SCHEMA_DRIFT", name
            assert field in held(verdict).reason, name
        else:
            assert isinstance(verdict, Cleared), name


def test_a_receipt_without_its_time_zone_is_no_receipt_and_says_so() -> None:
    unit = build.unit(problems=("received_at:CLOCK_AMBIGUOUS an instant without its offset",))
    for name, verdict in all_gates(unit).items():
        assert held(verdict).exception == "CLOCK_AMBIGUOUS", name


# --- who pays ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        (RefundType.REFUND, at(-39)),
        (RefundType.STORE_CREDIT, at(-39)),
        (RefundType.EXCHANGE, None),
        (RefundType.NONE, None),
        (None, None),
    ],
)
def test_happy_returns_pays_at_approval(kind: RefundType | None, left: object) -> None:
    unit = build.unit(refund_type=kind, dropped_off=fact(-40), approved=fact(-39))
    assert gate.money_left(unit, HAPPY_RETURNS_PAYS) == left


def test_money_leaves_by_nobody_else_and_not_before_approval() -> None:
    approved = build.received(approved=fact(-39))
    assert gate.money_left(approved, POLICY) is None
    assert gate.money_left(approved, policy(refunds={"executor": None})) is None
    assert gate.money_left(build.received(), HAPPY_RETURNS_PAYS) is None


def test_money_that_left_stays_so_when_the_return_ends() -> None:
    unit = build.unit(approved=fact(-39), expired=fact(-1))
    assert gate.money_left(unit, HAPPY_RETURNS_PAYS) == at(-39)


def test_while_an_amount_could_not_be_read_nobody_says_what_was_paid() -> None:
    unit = build.unit(approved=fact(-39), problems=("currency:not a text",))
    assert gate.money_left(unit, HAPPY_RETURNS_PAYS) is None
    verdict = gate.refund_gate(unit, matched(), None, HAPPY_RETURNS_PAYS)
    assert held(verdict).exception == "SCHEMA_DRIFT"


def test_where_happy_returns_pays_receipt_alone_records_no_money() -> None:
    received = build.received()
    verdict = gate.refund_gate(received, matched(), decided(), HAPPY_RETURNS_PAYS)
    assert held(verdict).code == "not_approved"
    approved = replace(received, approved=fact(50))
    assert gate.refund_gate(approved, matched(), decided(), HAPPY_RETURNS_PAYS) == Cleared(at(50))


# --- the return window ------------------------------------------------------------


@pytest.mark.parametrize(("days", "late"), [(59, False), (60, False), (61, True)])
def test_a_return_is_late_when_it_was_begun_after_the_window(*, days: int, late: bool) -> None:
    order = build.order(despatched_at=at(-24 * days))

    assert gate.is_late(build.unit(started=fact()), order.despatched_at, POLICY) is late


def test_what_is_not_known_to_be_late_is_not() -> None:
    assert not gate.is_late(build.unit(started=fact()), None, POLICY)
    assert not gate.is_late(build.unit(started=None), at(-9e4), POLICY)


def test_a_late_return_is_refunded_only_by_a_person() -> None:
    unit = build.received(disposition_code="saleable")

    verdict = gate.refund_gate(unit, matched(), decided(), POLICY, late=True)

    assert held(verdict).exception == "OUT_OF_POLICY_WINDOW"
    assert isinstance(gate.refund_gate(unit, matched(), decided(), POLICY), Cleared)


def test_no_replacement_leaves_for_a_late_return() -> None:
    unit = build.received(disposition_code="saleable", **EXCHANGE)

    verdict = gate.exchange_gate(unit, matched(), decided(), POLICY, late=True)

    assert held(verdict).exception == "OUT_OF_POLICY_WINDOW"
