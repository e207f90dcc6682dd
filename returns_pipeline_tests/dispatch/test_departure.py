"""When a request leaves: noted before it does, and what has not left cannot leave any more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Thread
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.dispatch import intend, kinds
from returns_pipeline.dispatch.protocol import LEASE
from returns_pipeline.dispatch.restocks import Booking
from returns_pipeline.storage import outbox
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.dispatch.conftest import NOW, RESTOCK, SETTLE, Account, row_id

BOOK, ACTION = "CreateRMABooking", "ActionRMABooking"
ONCE = {(row_id(1), RESTOCK): 1}


def _at_its_turn(account: Account, method: str, what: Callable[[], object]) -> None:
    """Do something once while the next call of a method waits in its lane."""
    lane = account.linnworks._lanes.lane(method)
    usual = lane.wait

    def wait(**more: Any) -> float:
        lane.wait = usual  # type: ignore[method-assign]
        what()
        return usual(**more)

    lane.wait = wait  # type: ignore[method-assign]


def _forward(account: Account, by: timedelta) -> Callable[[], None]:
    return lambda: account.clock.set(account.clock.now() + by)


def _intended(account: Account) -> None:
    account.read_bookings()
    account.decide()
    intend.intend_restocks(account.engine, policy=account.policy, now=account.clock.now())


def _claimed(account: Account, kind: str = "rma_booking") -> outbox.Intent:
    claimed = outbox.claim(
        account.engine,
        kind,
        now=account.clock.now(),
        holder="dead",
        lease=LEASE,
        run_id="dead",
    )
    assert claimed is not None
    return claimed


def _sent_at(account: Account, kind: str) -> datetime:
    columns = t.intents.c
    with account.engine.connect() as connection:
        query = sa.select(columns.sent_at).where(columns.kind == kind)
        found: datetime = connection.execute(query).scalar_one()
    return found


def test_every_kind_of_write_is_noted_as_leaving_before_it_is_settled(account: Account) -> None:
    account.decide(1)
    account.owe(2)
    account.exchange(3)

    account.restock()
    account.pay()
    account.replace()

    for kind in (*kinds.RESTOCK, *kinds.REFUND, *kinds.EXCHANGE):
        assert account.steps(kind) == ["claimed", "left", "confirmed"], kind


@pytest.mark.parametrize("method", [BOOK, ACTION])
def test_the_departure_is_committed_when_the_request_arrives(
    account: Account, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read by another connection, inside the call: S5, the intent durable before the call."""
    _intended(account)
    kind = "rma_booking" if method == BOOK else "rma_action"
    name = "create_rma_booking" if method == BOOK else "action_rma_booking"
    seen: list[tuple[str, list[str]]] = []
    transport = account.linnworks._v1.__class__
    usual = transport._session

    def session(self: Any) -> Any:
        if name in called:
            seen.append((account.intents()[kind], account.steps(kind)))
            called.clear()
        return usual(self)

    called: list[str] = []
    act = getattr(account.linnworks, name)

    def call(*args: Any, **more: Any) -> Any:
        called.append(name)
        return act(*args, **more)

    monkeypatch.setattr(account.linnworks, name, call)
    account.linnworks._signed_in()
    monkeypatch.setattr(transport, "_session", session)

    account.drive(kinds.RESTOCK)

    assert seen == [("sending", ["claimed", "left"])]


def test_the_settle_time_counts_from_the_departure_not_from_the_claim(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.decide()
    account.fault(BOOK, "lost_after")
    look = Booking.precheck

    def slowly(self: Booking, intent: Any) -> Any:
        account.clock.set(NOW + timedelta(minutes=4))
        return look(self, intent)

    with monkeypatch.context() as slow:
        slow.setattr(Booking, "precheck", slowly)
        account.restock()
    assert _sent_at(account, "rma_booking") == NOW + timedelta(minutes=4)

    account.clock.set(NOW + SETTLE + timedelta(minutes=1))  # of the claim, it would be over
    account.restock()
    assert account.intents()["rma_booking"] == "unknown"
    account.wait()
    account.restock()

    assert account.restocked() == ONCE
    assert account.calls[BOOK] == 1


def test_the_departure_of_a_repetition_with_a_new_session_is_noted_too(account: Account) -> None:
    _intended(account)
    account.fault(BOOK, "http_401")

    account.drive(kinds.RESTOCK)

    assert account.steps("rma_booking") == ["claimed", "left", "left", "confirmed"]


def test_what_waited_for_its_turn_longer_than_its_look_holds_is_looked_at_again(
    account: Account,
) -> None:
    _intended(account)
    book = {
        "action": "book_rma",
        "order_reference": "#1",
        "lines": [{"row_id": row_id(1), "quantity": 1, "location": "HR Restock"}],
        "action_too": True,
    }

    def meanwhile() -> None:
        _forward(account, timedelta(minutes=2))()
        account.staff(**book)

    _at_its_turn(account, BOOK, meanwhile)

    account.drive(kinds.RESTOCK)

    assert account.calls[BOOK] == 0
    assert account.restocked() == ONCE
    assert account.steps("rma_booking")[:2] == ["claimed", "not_sent"]
    assert account.state_of("unit-0001").state == "posted"


def test_a_claim_taken_over_while_its_request_waited_is_not_sent(account: Account) -> None:
    _intended(account)

    def taken_over() -> None:
        with account.engine.begin() as connection:
            columns = t.intents.c
            connection.execute(
                sa.update(t.intents)
                .where(columns.kind == "rma_booking")
                .values(attempt=columns.attempt + 1, lease_holder="another")
            )

    _at_its_turn(account, BOOK, taken_over)

    account.dispatcher().step("rma_booking")

    assert account.calls[BOOK] == 0
    assert account.steps("rma_booking") == ["claimed", "late"]


def test_a_claim_that_ran_out_while_its_request_waited_is_not_sent(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The term is over and nobody took it over yet: then too somebody may at any moment."""
    monkeypatch.setattr("returns_pipeline.dispatch.protocol._LOOK_HOLDS", timedelta(days=1))
    _intended(account)
    _at_its_turn(account, BOOK, _forward(account, LEASE))

    assert account.dispatcher().step("rma_booking") == "overdue"

    assert account.calls[BOOK] == 0


def test_a_claim_whose_worker_died_before_it_sent_is_ready_when_its_term_is_over(
    account: Account,
) -> None:
    _intended(account)
    _claimed(account)

    account.drive(kinds.RESTOCK)
    assert account.calls[BOOK] == 0  # its term runs
    account.wait(LEASE)
    account.drive(kinds.RESTOCK)

    assert account.restocked() == ONCE
    assert account.steps("rma_booking")[:2] == ["claimed", "unsent"]


def test_a_claim_whose_worker_died_after_its_request_left_rests_and_is_read_back(
    account: Account,
) -> None:
    _intended(account)
    claimed = _claimed(account)
    assert outbox.leave(account.engine, claimed, now=NOW, lease=LEASE, run_id="dead")
    account.linnworks.create_rma_booking(
        claimed.payload["order_id"],
        claimed.payload["lines"],
        reference=claimed.reference,
        category="",
    )

    account.wait(LEASE)
    account.drive(kinds.RESTOCK)
    assert account.intents()["rma_booking"] == "unknown"
    account.wait()
    account.drive(kinds.RESTOCK)

    assert account.restocked() == ONCE
    assert account.calls[BOOK] == 1


def test_a_request_that_leaves_as_its_term_ends_is_not_taken_for_unsent(account: Account) -> None:
    """Who takes the claim over waits for the departure, and finds the claim prolonged."""
    _intended(account)
    claimed = _claimed(account)
    taken: list[int] = []

    def take_over() -> None:
        late = NOW + LEASE + timedelta(seconds=1)
        taken.append(outbox.expire_leases(account.engine, now=late, run_id="next"))

    other = Thread(target=take_over)
    with account.engine.begin() as connection:
        just = NOW + LEASE - timedelta(seconds=1)
        values = {"of_key": claimed.intent_key, "of_attempt": 1, "at": just, "until": just + LEASE}
        connection.execute(outbox._leaving(), values)
        other.start()
        other.join(0.5)  # it waits; or has found nothing yet
    other.join()

    assert taken == [0]
    assert account.intents()["rma_booking"] == "sending"


def test_an_item_that_kills_its_worker_at_every_try_becomes_a_task(account: Account) -> None:
    _intended(account)
    for _ in range(5):
        _claimed(account)
        account.wait(LEASE)
        outbox.expire_leases(account.engine, now=account.clock.now(), run_id="next")

    account.drive(kinds.RESTOCK)

    assert account.calls[BOOK] == 0
    assert account.state_of("unit-0001").state == "held"
    assert account.intents() == {"rma_booking": "suspense", "rma_action": "withdrawn"}


def test_our_own_code_failing_before_the_request_left_is_no_lost_answer(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    _intended(account)

    def poisoned(*_args: Any, **_more: Any) -> Any:
        raise KeyError

    with monkeypatch.context() as broken:
        broken.setattr(account.linnworks, "create_rma_booking", poisoned)
        assert account.dispatcher().step("rma_booking") == "broken"
    account.wait(timedelta(seconds=10))
    account.drive(kinds.RESTOCK)

    assert account.restocked() == ONCE
    assert account.calls[BOOK] == 1
