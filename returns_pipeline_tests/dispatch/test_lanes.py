"""Lanes beside each other, over real sockets: they pipeline, and a full one holds no other up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from returns_pipeline import settings
from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.dispatch import intend, kinds, restocks
from returns_pipeline.dispatch.protocol import Dispatcher
from returns_pipeline.sandbox import linnworks as vendor
from returns_pipeline_tests.dispatch.conftest import SETTLE, Account

BOOK, ACTION = "CreateRMABooking", "ActionRMABooking"
_CREDENTIALS = {
    "LINNWORKS_APPLICATION_ID": vendor.APPLICATION_ID,
    "LINNWORKS_APPLICATION_SECRET": vendor.APPLICATION_SECRET,
    "LINNWORKS_TOKEN": vendor.TOKEN,
    "HAPPY_RETURNS_API_KEY": "k",
    "HAPPY_RETURNS_RETAILER_ID": "r",
}


def _client(url: str, **more: Any) -> Linnworks:
    credentials = (vendor.APPLICATION_ID, vendor.APPLICATION_SECRET, vendor.TOKEN)
    return Linnworks(url, *credentials, **more)


def _intended(account: Account, *numbers: int) -> None:
    for number in numbers:
        account.decide(number)
    intend.intend_restocks(account.engine, policy=account.policy, now=account.clock.now())


def test_a_full_lane_holds_up_its_own_writes_and_no_others(
    make_account: Callable[..., Account],
) -> None:
    account = make_account()
    _intended(account, 1, 2, 3)
    account.drive((restocks.BOOKING,))
    _intended(account, 4, 5)
    account.fault(BOOK, "http_429", seconds=60)
    actioned, waited = threading.Event(), []
    handle = account.server.vendor.handle

    def handled(request: Any) -> Any:
        response = handle(request)
        if len(account.books()["returned"]) == 3:
            actioned.set()
        return response

    account.server.vendor.handle = handled

    def sleep(seconds: float) -> None:
        # Whoever is told to wait does so until the other lane has done all it had.
        assert actioned.wait(20)
        waited.append(seconds)

    client = _client(account.server.url, rate_share=0, sleep=sleep, monotonic=lambda: sum(waited))
    dispatcher = Dispatcher(
        account.engine,
        kinds.all_writes(client, account.engine),
        clock=account.clock.now,
        settle=SETTLE,
        run_id="run",
        holder="test",
        sleep=sleep,
    )

    counts = dispatcher.drive(kinds.RESTOCK).counts()

    assert max(waited) == 60
    # The booking that was refused waits for its minute; the one behind it went when the lane
    # was free again.
    assert (counts["rma_booking.rate_limited"], counts["rma_booking.confirmed"]) == (1, 1)
    assert counts["rma_action.confirmed"] == 4
    assert counts["left_ready"] == 2


def test_actions_leave_while_bookings_still_do(make_account: Callable[..., Account]) -> None:
    account = make_account()
    _intended(account, *range(1, 13))
    order: list[str] = []
    handle, method_of = account.server.vendor.handle, account.server.vendor.method_of

    def handled(request: Any) -> Any:
        order.append(method_of(request))
        return handle(request)

    account.server.vendor.handle = handled

    counts = account.drive(kinds.RESTOCK)

    assert counts["rma_action.confirmed"] == 12
    first_action, last_booking = order.index(ACTION), len(order) - order[::-1].index(BOOK)
    assert first_action < last_booking


class _Lived:
    """A clock that only moves when somebody waits."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("method", "limit"), [(BOOK, 150), (ACTION, 150), ("GetOrdersById", 250)])
def test_by_default_a_thousand_calls_take_seven_and_a_half_minutes_and_stay_below_the_limit(
    method: str, limit: int
) -> None:
    found = settings.load({**_CREDENTIALS, "RETURNS_MODE": "shadow"}).linnworks
    assert found is not None
    clock = _Lived()
    client = _client(
        "http://127.0.0.1:9",
        rate_share=found.rate_share,
        sleep=clock.sleep,
        monotonic=lambda: clock.now,
    )
    lane, left = client._lanes.lane(method), []
    for _ in range(1000):
        lane.wait()
        left.append(clock.now)

    # Booking and actioning go side by side: the last action follows the last booking by a call.
    assert left[-1] - left[0] + 2 * 60 / limit < 7.5 * 60
    # In any sixty seconds, wherever the vendor's minute begins.
    most = max(sum(1 for at in left[n : n + limit + 1] if at < left[n] + 60) for n in range(1000))
    assert most < limit


def test_a_probe_that_is_answered_lets_the_lane_go_on(make_account: Callable[..., Account]) -> None:
    account = make_account()
    _intended(account, *range(1, 11))
    account.fault(BOOK, "http_500_before", times=5)
    dispatcher, waited = account.dispatcher(), []

    def rests(seconds: float | None = None) -> bool:
        waited.append(seconds)
        return False

    dispatcher.stop.wait = rests  # type: ignore[method-assign]

    counts = dispatcher.drive(kinds.RESTOCK).counts()

    # Five failures in a row, one rest, one probe; it was answered, and the others follow.
    assert waited == [15.0]
    assert (counts["rma_booking.unknown"], counts["rma_booking.confirmed"]) == (5, 5)
    assert account.calls[BOOK] == 10
