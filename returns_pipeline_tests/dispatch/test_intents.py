"""Decisions and their intents: committed together, once, and claimed in their order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.dispatch import intend, readings
from returns_pipeline.dispatch.protocol import LEASE
from returns_pipeline.storage import outbox, records
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.dispatch.conftest import NOW, Account, order_id

BATCHES = ["HRL-20260314-UKGBP-00"]


def _intend(account: Account, what: str) -> None:
    if what == "restock":
        intend.intend_restocks(account.engine, policy=account.policy, now=NOW)
    elif what == "refund":
        intend.intend_refunds(account.engine, batch_ids=BATCHES, now=NOW)
    else:
        intend.intend_exchanges(account.engine, policy=account.policy, now=NOW)


def _decide(account: Account, what: str) -> sa.Table:
    if what == "restock":
        account.decide()
        return t.stock_adjustments
    if what == "refund":
        account.owe()
        return t.refunds_due
    account.exchange()
    return t.exchange_orders


def _claim(account: Account, kind: str = "rma_booking", holder: str = "one") -> Any:
    now = account.clock.now()
    return outbox.claim(account.engine, kind, now=now, holder=holder, lease=LEASE, run_id=holder)


@pytest.mark.parametrize("what", ["restock", "refund", "exchange"])
def test_a_decision_and_its_intent_are_committed_together_or_not_at_all(
    account: Account, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    table = _decide(account, what)
    before = account.rows(table)

    def dies(*_args: Any, **_more: Any) -> int:
        raise MemoryError

    with monkeypatch.context() as death:
        death.setattr(outbox, "enqueue", dies)
        with pytest.raises(MemoryError):
            _intend(account, what)

    assert account.rows(table) == before
    assert account.intents() == {}


@pytest.mark.parametrize("what", ["restock", "refund", "exchange"])
def test_the_same_decision_intended_again_makes_no_second_intent(
    account: Account, what: str
) -> None:
    table = _decide(account, what)
    [before] = account.rows(table)
    _intend(account, what)
    first = account.rows(t.intents)
    with account.engine.begin() as connection:  # our tables say that it was never intended
        connection.execute(sa.update(table).values(state=before.state, intent_key=None))

    _intend(account, what)

    assert account.rows(t.intents) == first


def test_a_claim_belongs_to_one_worker(account: Account) -> None:
    account.decide()
    _intend(account, "restock")

    assert _claim(account, holder="one") is not None
    assert _claim(account, holder="another") is None


def test_an_action_is_not_claimed_before_its_booking_is_confirmed(account: Account) -> None:
    account.decide()
    _intend(account, "restock")

    assert _claim(account, "rma_action") is None
    account.dispatcher().step("rma_booking")

    assert _claim(account, "rma_action") is not None


def test_a_worker_whose_claim_was_taken_over_settles_nothing(account: Account) -> None:
    account.decide()
    _intend(account, "restock")
    old = _claim(account)
    account.wait(LEASE)
    outbox.expire_leases(account.engine, now=account.clock.now(), run_id="next")
    assert _claim(account, holder="another").attempt == 2

    with account.engine.begin() as connection:
        held = outbox.move(connection, old, "refused", now=account.clock.now(), run_id="one")

    assert held is False
    assert account.intents()["rma_booking"] == "sending"
    assert account.steps("rma_booking")[-1] == "late"


def test_the_watermark_of_the_bulk_reading_moves_with_its_rows_or_not_at_all(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.staff(
        action="book_rma",
        order_reference="#1",
        lines=[
            {"row_id": account.state.order(order_id(1)).lines[0].row_id, "quantity": 1}
            | {"location": "HR Restock"}
        ],
    )

    def dies(*_args: Any, **_more: Any) -> int:
        raise MemoryError

    monkeypatch.setattr(readings, "upsert", dies)
    with pytest.raises(MemoryError):
        readings.read_bookings(
            account.engine, account.linnworks, now=NOW, overlap=timedelta(minutes=10)
        )

    with account.engine.connect() as connection:
        assert records.watermark(connection, "linnworks.bookings") is None
