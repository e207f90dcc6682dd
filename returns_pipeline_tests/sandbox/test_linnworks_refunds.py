"""Linnworks' refunds in the sandbox: ceilings, sending, deleting, what is left."""

from datetime import datetime, timedelta

import pytest

from returns_pipeline.sandbox.model import Order
from returns_pipeline.sandbox.script import Line, Script
from returns_pipeline_tests.sandbox.calling import LinnworksCaller
from returns_pipeline_tests.sandbox.conftest import Open


@pytest.fixture
def order(script: Script) -> Order:
    return script.order(Line("DRESS-GRN-S", discount="50"), "CAP-BLK", postage="4.95")


@pytest.fixture
def caller(open_world: Open, script: Script, order: Order) -> LinnworksCaller:
    return LinnworksCaller(open_world(script.world(7)))


def _sent(caller: LinnworksCaller) -> list[tuple[int, int]]:
    refunds = caller.sandbox.linnworks.books()["refunds"]
    return [(one["amount_minor"], one["times_sent"]) for one in refunds]


def test_a_refund_sends_nothing_until_it_is_actioned(caller: LinnworksCaller, order: Order) -> None:
    made = caller.refund(order, order.lines[0], 29.99)
    before = _sent(caller)
    done = caller.returns("ActionRefund", RefundHeaderId=made["RefundHeaderId"], OrderId=order.id)

    assert before == [(2999, 0)]
    assert done["SuccessfullyActioned"]
    assert _sent(caller) == [(2999, 1)]


def test_a_second_action_is_refused_with_200_or_pays_again_as_switched(
    caller: LinnworksCaller, order: Order
) -> None:
    header = caller.refund(order, order.lines[0], 1)["RefundHeaderId"]
    first, second = (
        caller.returns("ActionRefund", RefundHeaderId=header, OrderId=order.id) for _ in range(2)
    )
    caller.sandbox.linnworks.switches["second_refund_action"] = "pays_again"
    caller.returns("ActionRefund", RefundHeaderId=header, OrderId=order.id)

    assert (first["SuccessfullyActioned"], second["SuccessfullyActioned"]) == (True, False)
    assert _sent(caller) == [(100, 2)]


def test_no_line_is_refunded_beyond_what_was_paid_for_it(
    caller: LinnworksCaller, order: Order
) -> None:
    dress = order.lines[0]  # 59.97 less half: 29.99
    caller.refund(order, dress, 20)
    over = caller.refund(order, dress, 10)
    rest = caller.refund(order, dress, 9.99)

    assert (over["RefundHeaderId"], over["CannotRefundReason"]) == (None, "Other")
    assert over["Errors"] == ["The amount exceeds what was paid for the item"]
    assert rest["CannotRefundReason"] == "None"


def test_shipping_is_refunded_up_to_what_was_paid_for_it(
    caller: LinnworksCaller, order: Order
) -> None:
    assert caller.refund(order, None, 4.96)["Errors"]
    assert caller.refund(order, None, 4.95)["CannotRefundReason"] == "None"
    assert caller.refund(order, None, 0.01)["Errors"]


def test_an_additional_refund_stops_at_what_the_order_was_paid(
    caller: LinnworksCaller, order: Order
) -> None:
    def additional(money: float) -> str:
        return caller.refund(order, None, money, RefundedUnit="Additional")["CannotRefundReason"]

    assert [additional(48), additional(0.94), additional(0.01)] == [
        "None",
        "None",
        "OrderIsFullyRefundedInLinnworks",
    ]


def test_a_deleted_refund_frees_its_amount_and_a_sent_one_stays(
    caller: LinnworksCaller, order: Order
) -> None:
    cap = order.lines[1]
    draft = caller.refund(order, cap, 14)["RefundHeaderId"]
    caller.returns("DeleteRefund", RefundHeaderId=draft)
    sent = caller.refund(order, cap, 14)["RefundHeaderId"]
    caller.returns("ActionRefund", RefundHeaderId=sent, OrderId=order.id)
    caller.returns("DeleteRefund", RefundHeaderId=sent)

    assert _sent(caller) == [(1400, 1)]


def test_the_search_finds_refunds_by_when_they_were_made_or_sent(
    caller: LinnworksCaller, order: Order
) -> None:
    def found(kind: str, since: datetime) -> list[str]:
        answer = caller.call(
            "GET",
            "/api/ReturnsRefunds/SearchReturnsRefundsPaged",
            **{"from": since.isoformat(), "to": (since + timedelta(hours=1)).isoformat()},
            dateType=kind,
            historyType="REFUNDS",
            pageNum=1,
            numEntriesPerPage=200,
        )
        return [row["RefundStatus"] for row in answer["Data"]]

    clock = caller.sandbox.clock
    made, sent = clock.now(), clock.now() + timedelta(days=1)
    header = caller.refund(order, order.lines[1], 14)["RefundHeaderId"]
    assert (found("BOOKED", made), found("ACTIONED", made)) == (["OPEN"], [])
    clock.set(sent)
    caller.returns("ActionRefund", RefundHeaderId=header, OrderId=order.id)

    assert (found("BOOKED", made), found("ACTIONED", made)) == (["PROCESSED"], [])
    assert (found("BOOKED", sent), found("ACTIONED", sent)) == ([], ["PROCESSED"])


@pytest.mark.parametrize("money", [0, -1])
def test_an_amount_must_be_positive(caller: LinnworksCaller, order: Order, money: int) -> None:
    assert caller.refund(order, order.lines[0], money)["Errors"] == ["Amount must be positive"]


def test_an_open_order_is_not_refunded(open_world: Open, script: Script) -> None:
    order = script.order("CAP-BLK", processed=None)
    caller = LinnworksCaller(open_world(script.world(7)))

    answer = caller.refund(order, order.lines[0], 1)

    assert answer["CannotRefundReason"] == "OpenOrderInLinnworks"


def test_the_total_counts_bookings_when_asked(caller: LinnworksCaller, order: Order) -> None:
    caller.refund(order, order.lines[1], 4)
    path = "/api/ProcessedOrders/GetTotalRefunds"

    sent = caller.call("GET", path, pkOrderId=order.id)
    booked = caller.call("GET", path, pkOrderId=order.id, includeBookings=True)

    assert (sent["Amount"], booked["Amount"]) == (0, 4)
    assert booked["Refundable"] == pytest.approx(44.94)
