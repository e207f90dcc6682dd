"""What others do between our own steps is seen: adopted where it fits, held where not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from returns_pipeline.clients.transport import ContractBroken
from returns_pipeline.dispatch import intend, kinds
from returns_pipeline.storage import outbox
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.dispatch.conftest import RESTOCK, Account, row_id

BOOK, ACTION, LOOK = "CreateRMABooking", "ActionRMABooking", "GetRMAHeadersByOrderId"
ONCE = {(row_id(1), RESTOCK): 1}


def _staff_book(account: Account, *, action_too: bool = False) -> None:
    account.staff(
        action="book_rma",
        order_reference="#1",
        lines=[{"row_id": row_id(1), "quantity": 1, "location": "HR Restock"}],
        action_too=action_too,
    )


def _booked(account: Account, units: int = 1) -> int:
    """Book by a run that does not come to the action; gives the header."""
    for _ in range(units):
        account.decide()
    intend.intend_restocks(account.engine, policy=account.policy, now=account.clock.now())
    assert account.dispatcher(run_id="first").step("rma_booking") == "confirmed"
    [header] = account.state.rmas
    return header


def _created(account: Account) -> tuple[str, Any]:
    """Create a refund by a run that does not come to the action; gives unit and refund."""
    unit = account.owe()
    batches = ["HRL-20260314-UKGBP-00"]
    intend.intend_refunds(account.engine, batch_ids=batches, now=account.clock.now())
    assert account.dispatcher(run_id="first").step("refund_create") == "confirmed"
    [refund] = account.state.refunds.values()
    return unit, refund


def test_in_one_run_what_was_just_booked_is_actioned_without_a_look(account: Account) -> None:
    account.read_bookings()
    account.decide()

    account.restock()

    assert account.restocked() == ONCE
    assert LOOK not in account.calls


def test_an_action_in_another_run_looks_first_however_soon(
    make_account: Callable[..., Account],
) -> None:
    account = make_account(second_action="posts_again")
    header = _booked(account)
    account.staff(action="action_rma", header_id=header)

    account.dispatcher(run_id="second").drive(kinds.RESTOCK)

    assert account.restocked() == ONCE
    assert len(account.books()["moved"]) == 1
    assert account.state_of("unit-0001").state == "posted"


def test_an_action_that_comes_a_minute_after_its_booking_looks_first(
    make_account: Callable[..., Account],
) -> None:
    account = make_account(second_action="posts_again")
    header = _booked(account)
    account.staff(action="action_rma", header_id=header)
    account.wait(timedelta(minutes=1))

    account.dispatcher(run_id="first").drive(kinds.RESTOCK)

    assert len(account.books()["moved"]) == 1
    assert account.state_of("unit-0001").state == "posted"


def test_an_action_whose_booking_was_answered_slowly_looks_first(
    make_account: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    account = make_account(second_action="posts_again")
    account.decide()
    book = account.linnworks.create_rma_booking

    def slowly(*args: Any, **more: Any) -> Any:
        made = book(*args, **more)
        account.staff(action="action_rma", header_id=made.header_id)
        account.wait(timedelta(minutes=2))
        return made

    monkeypatch.setattr(account.linnworks, "create_rma_booking", slowly)

    account.restock()

    assert len(account.books()["moved"]) == 1
    assert account.state_of("unit-0001").state == "posted"


def test_money_is_sent_in_another_run_only_after_a_look(
    make_account: Callable[..., Account],
) -> None:
    account = make_account(second_refund_action="pays_again")
    unit, refund = _created(account)
    account.state.send(refund)

    account.dispatcher(run_id="second").drive(kinds.REFUND)

    assert account.sent() == 2000
    assert account.state_of(unit, t.refunds_due).state == "actioned"


def test_a_booking_made_since_the_bulk_reading_is_seen_when_that_is_no_longer_fresh(
    account: Account,
) -> None:
    account.read_bookings()
    _staff_book(account, action_too=True)
    account.wait(timedelta(minutes=5))
    account.decide()

    account.restock()

    assert account.calls[BOOK] == 0
    assert account.restocked() == ONCE
    assert account.state_of("unit-0001").state == "posted"


def test_units_are_posted_line_by_line_only_where_as_many_were_moved(account: Account) -> None:
    header = _booked(account, units=2)
    account.decide(1, 2)  # another line, booked by itself
    account.state.rmas[header].lines[0].quantity = 1  # edited, then actioned, by staff
    account.staff(action="action_rma", header_id=header)

    account.restock()

    for unit in ("unit-0001", "unit-0002"):
        assert account.state_of(unit).state == "held"
        assert account.state_of(unit).note.startswith("WRONG_LOCATION:")
    assert account.state_of("unit-0003").state == "posted"


def test_one_of_two_lines_moved_elsewhere_holds_that_line_and_posts_the_other(
    account: Account,
) -> None:
    account.decide(1, 1)
    account.decide(1, 2)
    intend.intend_restocks(account.engine, policy=account.policy, now=account.clock.now())
    account.dispatcher(run_id="first").step("rma_booking")
    [rma] = account.state.rmas.values()
    moved = next(line for line in rma.lines if line.order_row.row_id == row_id(1, 2))
    moved.location = "aaaaaaaa-0000-4000-8000-000000000002"
    account.staff(action="action_rma", header_id=rma.header_id)

    account.restock()

    assert account.state_of("unit-0001").state == "posted"
    assert account.state_of("unit-0002").state == "held"


def test_a_booking_actioned_in_part_is_not_actioned_again(account: Account) -> None:
    account.decide(1, 1)
    account.decide(1, 2)
    intend.intend_restocks(account.engine, policy=account.policy, now=account.clock.now())
    account.dispatcher(run_id="first").step("rma_booking")
    [rma] = account.state.rmas.values()
    rma.lines[0].actioned_at = account.clock.now()

    account.restock()

    assert account.calls[ACTION] == 0
    assert account.intents()["rma_action"] == "suspense"


@pytest.mark.parametrize("sent", [False, True])
def test_a_refund_whose_amount_was_changed_is_for_finance(account: Account, *, sent: bool) -> None:
    unit, refund = _created(account)
    refund.rows[0].amount = Decimal("12.34")
    if sent:
        account.state.send(refund)

    account.dispatcher(run_id="second").drive(kinds.REFUND)

    assert account.sent() == (1234 if sent else 0)
    assert account.state_of(unit, t.refunds_due).state == "held"
    assert account.state_of(unit, t.refunds_due).note.startswith("REFUND_AMOUNT_MISMATCH:")


def test_a_refund_sent_by_others_with_another_amount_is_not_taken_for_ours(
    account: Account,
) -> None:
    unit, refund = _created(account)
    account.fault("ActionRefund", "lost_before")
    dispatcher = account.dispatcher(run_id="first")
    assert dispatcher.step("refund_action") == "unknown"
    refund.rows[0].amount = Decimal("12.34")
    account.state.send(refund)
    account.wait()

    account.pay()

    assert account.intents()["refund_action"] == "suspense"
    assert account.state_of(unit, t.refunds_due).state == "held"


def test_a_refund_that_bears_our_reference_belongs_to_our_order_only(account: Account) -> None:
    """Two orders, one lost answer each: each finds its own."""
    for number in (1, 2):
        account.owe(number)
    account.fault("CreateRefund", "lost_after", times=2)
    account.pay()
    account.wait()

    account.pay()

    assert account.sent(1) == account.sent(2) == 2000
    assert account.calls["CreateRefund"] == 2


def test_a_booking_of_ours_whose_lines_were_changed_while_it_rested_is_not_adopted(
    account: Account,
) -> None:
    account.decide()
    account.fault(BOOK, "lost_after")
    account.restock()
    [rma] = account.state.rmas.values()
    rma.lines[0].quantity = 2
    account.wait()

    account.restock()

    assert account.calls[ACTION] == 0
    assert account.intents()["rma_booking"] == "suspense"


def test_headers_of_another_order_are_never_taken_for_this_ones(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter that Linnworks did not understand: our reference on another order's booking."""
    account.decide(1)
    account.decide(2)
    account.fault(BOOK, "lost_before", times=2)
    account.restock()
    references = {row.reference for row in account.rows(t.intents) if row.kind == "rma_booking"}
    for reference in references:
        account.staff(
            action="book_rma",
            order_reference="#3",
            reference=reference,
            lines=[{"row_id": row_id(3), "quantity": 1, "location": "HR Restock"}],
        )
    monkeypatch.setattr(account.state, "rmas_of", lambda _order: list(account.state.rmas.values()))
    account.wait()

    with pytest.raises(ContractBroken, match="another order"):
        account.restock()

    assert account.intents()["rma_booking"] == "unknown"
    assert account.calls[ACTION] == 0


def test_a_refund_changed_in_the_moment_between_our_two_steps_is_for_finance(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = account.owe()
    act = account.linnworks.action_refund

    def changed_first(order: str, header_id: int) -> Any:
        account.state.refunds[header_id].rows[0].amount = Decimal("12.34")
        return act(order, header_id)

    monkeypatch.setattr(account.linnworks, "action_refund", changed_first)
    account.pay()
    account.wait()
    account.pay()

    assert account.calls["ActionRefund"] == 1
    note = account.state_of(unit, t.refunds_due).note
    assert note.startswith("REFUND_AMOUNT_MISMATCH:")


@pytest.mark.parametrize("kind", ["rma_booking", "rma_action"])
def test_an_intent_that_a_person_released_is_tried_as_if_for_the_first_time(
    account: Account, kind: str
) -> None:
    """Its five lost answers are not counted against it again."""
    account.decide()
    account.fault(BOOK if kind == "rma_booking" else ACTION, "lost_before", times=5)
    for _ in range(7):
        account.restock()
        account.wait()
    assert account.intents()[kind] == "suspense"

    stopped = [row.intent_key for row in account.rows(t.intents) if row.state != "confirmed"]
    with account.engine.begin() as connection:
        for key in stopped:
            intent = outbox.find(connection, key)
            assert intent is not None
            outbox.settle_by_word(
                connection,
                intent,
                "ready",
                now=account.clock.now(),
                run_id="run",
                step=outbox.RELEASED,
                detail="somebody",
            )
    account.fault(BOOK if kind == "rma_booking" else ACTION, "lost_after")
    for _ in range(4):
        account.drive(kinds.RESTOCK)
        account.wait()

    assert account.restocked() == ONCE
    assert account.intents() == {"rma_booking": "confirmed", "rma_action": "confirmed"}
