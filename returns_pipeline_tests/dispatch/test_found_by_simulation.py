"""What the simulation found in the real code, each told once more by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.dispatch import intend, kinds, readings
from returns_pipeline.dispatch.protocol import LEASE
from returns_pipeline.dispatch.restocks import Booking
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.dispatch.conftest import (
    NOW,
    RESTOCK,
    Account,
    account,
    make_account,
    order_id,
    row_id,
)

__all__ = ["account", "make_account"]  # fixtures

BOOK, ACTION = "CreateRMABooking", "ActionRMABooking"


def _staff_book(account: Account, *, action_too: bool = False) -> None:
    account.staff(
        action="book_rma",
        order_reference="#1",
        lines=[{"row_id": row_id(1), "quantity": 1, "location": "HR Restock"}],
        action_too=action_too,
    )


def test_a_return_staff_booked_since_ours_stops_our_action(account: Account) -> None:
    account.decide()
    account.fault(ACTION, "lost_before")
    account.restock()
    _staff_book(account, action_too=True)
    account.wait()

    account.restock()

    assert account.restocked() == {(row_id(1), RESTOCK): 1}
    assert account.state_of("unit-0001").note.startswith("DOUBLE_RESTOCK:")


def test_money_staff_sent_since_our_refund_was_created_stops_ours(account: Account) -> None:
    unit = account.owe()
    account.fault("ActionRefund", "lost_before")
    account.pay()
    account.staff(action="refund", order_reference="#1", row_id=row_id(1), amount="20.00")
    account.wait()

    account.pay()

    assert account.sent() == 2000
    assert account.state_of(unit, t.refunds_due).note.startswith("REFUND_DOUBLE_SUSPECTED:")


def test_a_booking_is_not_made_again_beside_one_staff_made_while_ours_rested(
    account: Account,
) -> None:
    account.decide()
    account.fault(BOOK, "lost_before")
    account.restock()
    _staff_book(account, action_too=True)
    account.wait()

    account.restock()  # nobody has read the bookings in bulk since

    assert account.calls[BOOK] == 1
    assert account.restocked() == {(row_id(1), RESTOCK): 1}
    assert account.state_of("unit-0001").state == "posted"


def test_an_action_refused_because_staff_were_first_is_theirs_and_done(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.decide()
    act = account.linnworks.action_rma_booking

    def staff_first(order: str, header_id: int) -> Any:
        account.staff(action="action_rma", header_id=header_id)
        return act(order, header_id)

    monkeypatch.setattr(account.linnworks, "action_rma_booking", staff_first)

    account.restock()

    assert account.restocked() == {(row_id(1), RESTOCK): 1}
    assert account.state_of("unit-0001").state == "posted"
    assert account.intents()["rma_action"] == "confirmed"


def test_a_refund_refused_because_staff_were_first_is_theirs_and_sent(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = account.owe()
    act = account.linnworks.action_refund

    def staff_first(order: str, header_id: int) -> Any:
        account.state.send(account.state.refunds[header_id])
        return act(order, header_id)

    monkeypatch.setattr(account.linnworks, "action_refund", staff_first)

    account.pay()

    assert account.sent() == 2000
    assert account.state_of(unit, t.refunds_due).state == "actioned"


def test_a_refused_action_that_cannot_be_looked_at_rests_and_is_read_back(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.decide()
    act = account.linnworks.action_rma_booking

    def staff_first(order: str, header_id: int) -> Any:
        account.staff(action="action_rma", header_id=header_id)
        account.fault("GetRMAHeadersByOrderId", "lost_before", times=2)
        return act(order, header_id)

    monkeypatch.setattr(account.linnworks, "action_rma_booking", staff_first)

    account.restock()
    assert account.intents()["rma_action"] == "unknown"
    account.wait()
    account.restock()

    assert account.state_of("unit-0001").state == "posted"


def test_a_claim_that_ran_out_while_it_was_looked_is_not_sent(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.decide()
    look = Booking.precheck

    def slowly(self: Booking, intent: Any) -> Any:
        found = look(self, intent)
        account.clock.set(account.clock.now() + LEASE)
        return found

    with monkeypatch.context() as slow:
        slow.setattr(Booking, "precheck", slowly)
        intend.intend_restocks(account.engine, policy=account.policy, now=NOW)
        assert account.dispatcher().step("rma_booking") == "overdue"
    assert account.calls[BOOK] == 0

    account.restock()

    assert account.restocked() == {(row_id(1), RESTOCK): 1}


def test_what_was_just_booked_is_read_although_our_clock_is_behind(account: Account) -> None:
    _staff_book(account)
    behind = account.clock.now() - timedelta(minutes=5)

    readings.read_bookings(
        account.engine, account.linnworks, now=behind, overlap=timedelta(minutes=10)
    )

    with account.engine.connect() as connection:
        assert connection.execute(sa.select(t.restock_readings)).one().order_id == order_id(1)


def test_an_intent_altered_after_the_drive_began_is_held_not_sent(account: Account) -> None:
    account.decide()
    intend.intend_restocks(account.engine, policy=account.policy, now=NOW)
    dispatcher = account.dispatcher()
    dispatcher.recover(kinds.RESTOCK)
    with account.engine.begin() as connection:
        connection.execute(
            sa.update(t.intents)
            .where(t.intents.c.kind == "rma_booking")
            .values(payload={"order_id": order_id(2), "lines": [], "category": ""})
        )

    assert dispatcher.step("rma_booking") == "corrupt"

    assert account.calls[BOOK] == 0
    assert account.state_of("unit-0001").state == "held"
