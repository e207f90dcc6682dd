"""Nothing is tried blindly, and nothing waits for ever without somebody being told."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.clients.transport import Refused
from returns_pipeline.dispatch import intend, kinds
from returns_pipeline.dispatch.restocks import Action
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.outbox import Intent
from returns_pipeline_tests.dispatch.conftest import NOW, RESTOCK, Account, order_id, row_id

BOOK, ACTION, LOOK = "CreateRMABooking", "ActionRMABooking", "GetRMAHeadersByOrderId"


def test_what_is_withdrawn_is_noted_as_every_other_step(account: Account) -> None:
    for _ in range(4):  # three were ordered
        account.decide()

    account.restock()

    assert account.intents() == {"rma_booking": "refused", "rma_action": "withdrawn"}
    assert account.steps("rma_booking") == ["claimed", "left", "refused"]
    assert account.steps("rma_action") == ["withdrawn"]


def test_the_action_of_a_refund_that_is_held_is_withdrawn_and_noted(account: Account) -> None:
    account.staff(action="refund", order_reference="#1", row_id=row_id(1), amount="20.00")
    account.owe()

    account.pay()

    assert account.intents() == {"refund_create": "suspense", "refund_action": "withdrawn"}
    assert account.steps("refund_action") == ["withdrawn"]


def test_an_altered_intent_holds_its_units_and_withdraws_what_waits_for_it(
    account: Account,
) -> None:
    account.decide()
    intend.intend_restocks(account.engine, policy=account.policy, now=NOW)
    with account.engine.begin() as connection:
        connection.execute(
            sa.update(t.intents)
            .where(t.intents.c.kind == "rma_booking")
            .values(payload={"order_id": order_id(2), "lines": [], "category": ""})
        )

    account.drive(kinds.RESTOCK)

    assert account.intents() == {"rma_booking": "suspense", "rma_action": "withdrawn"}
    assert account.state_of("unit-0001").state == "held"


def test_a_surplus_booking_that_may_not_be_deleted_is_for_a_person(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.decide()
    account.fault(BOOK, "lost_after")
    account.restock()
    [first] = account.state.rmas.values()
    account.staff(
        action="book_rma",
        order_reference="#1",
        reference=first.reference,
        lines=[{"row_id": row_id(1), "quantity": 1, "location": "HR Restock"}],
    )

    def forbidden(_header_id: int) -> None:
        raise Refused("DeleteRMA", ["Permission denied"])

    monkeypatch.setattr(account.linnworks, "delete_rma", forbidden)
    account.wait()

    account.restock()

    assert account.intents()["rma_booking"] == "suspense"
    assert account.state_of("unit-0001").state == "held"
    assert account.restocked() == {}


@pytest.mark.parametrize("answer", ["came", "lost"])
def test_an_effect_that_cannot_be_entered_is_for_a_person_and_stops_no_other(
    account: Account, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    account.decide(1)
    account.decide(2)
    usual = Action.confirmed

    def poisoned(self: Action, connection: Any, intent: Intent, *more: Any) -> None:
        if intent.payload["order_id"] == order_id(1):
            raise KeyError
        usual(self, connection, intent, *more)

    monkeypatch.setattr(Action, "confirmed", poisoned)
    if answer == "lost":
        account.fault(ACTION, "lost_after")

    account.restock()
    account.wait()
    account.restock()

    assert account.restocked(2) == {(row_id(2), RESTOCK): 1}
    assert account.state_of("unit-0002").state == "posted"
    assert account.state_of("unit-0001").state == "held"
    assert account.calls[ACTION] == 2  # neither was repeated


def test_reading_back_does_not_storm_a_vendor_that_is_gone_and_begins_elsewhere_next(
    account: Account,
) -> None:
    for number in range(1, 9):
        account.decide(number)
    account.read_bookings()
    account.fault(BOOK, "lost_after", times=100)
    intend.intend_restocks(account.engine, policy=account.policy, now=NOW)
    dispatcher = account.dispatcher()
    for _ in range(8):
        assert dispatcher.step("rma_booking") == "unknown"
    account.wait()
    account.fault(LOOK, "http_500_before", times=1000)

    dispatcher.recover(kinds.RESTOCK)

    assert account.calls[LOOK] == 5 * 2  # five of eight, each read tried twice

    account.server.vendor.faults.clear()
    dispatcher.recover(kinds.RESTOCK)
    assert account.intents()["rma_booking"] == "confirmed"
    assert account.left() == {"ready": 8}  # the actions


def test_an_answer_that_is_always_lost_is_a_task_after_five_times(account: Account) -> None:
    account.decide()
    account.fault(BOOK, "lost_before", times=100)

    for _ in range(7):
        account.restock()
        account.wait()

    assert account.calls[BOOK] == 5
    assert account.state_of("unit-0001").state == "held"
