"""A few hundred seeds in every run of the suite; thousands by ``make simulate``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from returns_pipeline.dispatch import refunds, restocks
from returns_pipeline.dispatch.protocol import Dispatcher
from returns_pipeline.storage import outbox
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.simulation.__main__ import memory, replay, run
from returns_pipeline_tests.simulation.story import Story
from returns_pipeline_tests.simulation.vendor import FATES

SEEDS = 100  # a part; the parts run side by side

# What the seeds of a part must have reached, or they have shown nothing (the other half of
# each invariant: RELIABILITY 5).
REACHED = (
    *("crash at answer", "crash at read", "crash at transaction", "crash at write"),
    *("crash in a commit", "frozen at answer", "frozen at transaction", "frozen at write"),
    *("two workers, one at answer", "two workers, one at transaction"),
    *("two workers, one at write", "two workers, one at read"),
    *("late CreateRMABooking", "late ActionRMABooking", "late CreateRefund", "late CreateOrders"),
    *(f"unknown confirmed ({kind})" for kind in ("rma_booking", "rma_action", "refund_create")),
    *(f"unknown ready ({kind})" for kind in ("rma_booking", "rma_action", "exchange_create")),
    *("unknown confirmed (refund_action)", "unknown confirmed (exchange_create)"),
    *("staff book_rma", "staff action_rma", "staff edit_location", "staff refund", "staff pays"),
    *("posted by us", "posted by staff", "paid by us", "paid by staff"),
    *("outcome adopted", "outcome held", "outcome overdue", "outcome not_applied"),
    *("staff and we at once", "surplus booking deleted", "intent altered", "clock jumps"),
    *("exchange ordered by others", "run ended by CredentialsRevoked", "state withdrawn"),
    *("two workers in turns, one at transaction", "two workers in turns, one at answer"),
    *("left standing at transaction", "left standing at answer", "left standing at write"),
    *("staff change a quantity", "several units in one refund", "bookings read in bulk"),
    *("done, answer lost, found by reading back", "an order line came back whole"),
)


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, SEEDS])
def test_every_invariant_holds_at_every_step_of_every_seed(first: int) -> None:
    with memory() as engine:
        result = run(engine, range(first, first + SEEDS))

    assert not result.failed, result.told()
    unreached = [name for name in REACHED if not result.sometimes[name]]
    assert not unreached
    met = {name for name in FATES if result.sometimes[f"fate {name}"]}
    assert met == set(FATES)


@pytest.mark.slow
def test_the_invariants_hold_on_postgresql(postgres_url: str) -> None:
    engine = connect(postgres_url)

    result = run(engine, range(12))

    engine.dispose()
    assert not result.failed, result.told()


def test_a_seed_tells_the_same_story_twice(capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for _ in range(2):
        with memory() as engine:
            Story(7, engine, trace=True).run()
        told.append(capsys.readouterr().out)

    assert told[0] == told[1]
    assert len(told[0].splitlines()) > 20


def _unknown_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    move = Dispatcher._move

    def wrong(self: Dispatcher, intent: outbox.Intent, state: str, **more: object) -> bool:
        return move(self, intent, "ready" if state == "unknown" else state, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Dispatcher, "_move", wrong)


def _settle_time_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    unknowns = outbox.unknowns

    def wrong(engine, of, *, sent_before):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return unknowns(engine, of, sent_before=sent_before + timedelta(hours=1))

    monkeypatch.setattr(outbox, "unknowns", wrong)


def _departures_are_not_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    leave = outbox.leave

    def wrong(*args: Any, **more: Any) -> bool:
        leave(*args, **more)
        return True

    monkeypatch.setattr(outbox, "leave", wrong)


def _departures_are_not_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "leave", lambda *_args, **_more: True)


def _nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (restocks.Booking, restocks.Action, refunds.Creation, refunds.Action):
        monkeypatch.setattr(kind, "precheck", lambda _self, _intent: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "seeds"),
    [
        (_unknown_is_sent_again, 30),
        (_settle_time_ignored, 30),
        (_departures_are_not_guarded, 60),
        (_departures_are_not_noted, 30),
        (_nobody_looks, 30),
    ],
)
def test_a_protocol_made_wrong_is_found_out(
    wrong: Callable[[pytest.MonkeyPatch], None], seeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong(monkeypatch)

    with memory() as engine:
        for seed in range(seeds):
            if run(engine, [seed]).failed:
                return

    pytest.fail(f"no seed found it; the last was {replay(seeds - 1)}")
