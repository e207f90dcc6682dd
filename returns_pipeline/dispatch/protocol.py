"""Driving the outbox: claim, send, settle; and reading back what nobody knows.

The promise: each effect happens exactly once, whatever crashes, is lost or is done by
somebody else meanwhile (``docs/decisions/0001-write-protocol.md``). The claim is committed
before the call. An answer that is not a clear yes or a clear no is ``unknown``, rests for
the settle time, and is read back before anything else is done for that order. What each
kind of write sends and how it is recognised is ``writes``'.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from returns_pipeline.clients.transport import (
    ContractBroken,
    CredentialsRevoked,
    NotApplied,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Unauthorised,
    VendorError,
)
from returns_pipeline.dispatch.writes import Absent, Adopt, Applied, Hold, Write
from returns_pipeline.storage import outbox
from returns_pipeline.storage.engine import DatabaseUnusable, reading
from returns_pipeline.storage.outbox import Intent

Clock = Callable[[], datetime]

# Longer than any call may take: connect and read time-outs of the client, and a margin.
LEASE = timedelta(minutes=5)
# What was looked at longer ago than this is looked at again before anything is sent.
_LOOK_HOLDS = timedelta(minutes=1)
_MAX_TRIES = 5  # of an answer that is always lost; of our own code failing
_BREAKER = 5
_PROBE_AFTER = 15.0
_DATABASE = (DatabaseUnusable, sa.exc.SQLAlchemyError)
_ALTERED = "the stored intent is not what was committed: nothing is sent for it"


@dataclass(slots=True)
class Summary:
    """What a drive did, by kind and outcome."""

    outcomes: Counter[str] = field(default_factory=Counter)
    left: Mapping[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Plain counts for people and metadata."""
        return {
            **dict(sorted(self.outcomes.items())),
            **{f"left_{k}": n for k, n in self.left.items()},
        }


class _Lanes:
    """What the lanes of one drive know of each other. A lane is the writes of one kind.

    A lane that has nothing may get something from another one (an action from its
    booking), so that all end together.
    """

    def __init__(
        self, lanes: int, until: float, summary: Summary, progress: Callable[[str], None]
    ) -> None:
        self.until = until
        self.fatal: VendorError | None = None
        self.settled = 0
        self._lanes = lanes
        self._summary = summary
        self._progress = progress
        self._lock = threading.Lock()
        self._idle: set[str] = set()
        self._left: set[str] = set()
        self._over = threading.Event()

    def nothing_left(self, kind: str, settled: int) -> bool:
        """Wait a moment for another lane; true when every lane has nothing.

        Args:
            kind: Whose lane found nothing.
            settled: What ``settled`` was before it looked: what was settled since may have
                given it something.
        """
        with self._lock:
            if settled != self.settled:
                return False
            self._idle.add(kind)
            self._end_if_all_rest()
        return self._over.wait(0.02)

    def leave(self, kind: str) -> None:
        """End one lane; the others go on."""
        with self._lock:
            self._left.add(kind)
            self._end_if_all_rest()

    def _end_if_all_rest(self) -> None:
        if len(self._idle | self._left) == self._lanes:
            self._over.set()

    def count(self, outcome: str) -> None:
        """Note what became of one intent: another lane may have work by it."""
        with self._lock:
            self.settled += 1
            self._idle.clear()
            self._summary.outcomes[outcome] += 1
            text = _progress(self._summary)
        self._progress(text)

    def abandon(self, error: VendorError) -> None:
        """Stop every lane: nothing that any of them could send would be accepted."""
        self.fatal = self.fatal or error
        self.until = float("-inf")
        self._over.set()


class _Overdue(NotApplied):
    """The claim ran out, or the look has aged, before it was this request's turn."""


class Dispatcher:
    """Drives intents of some kinds until nothing more can be done for them now.

    Args:
        engine: The pipeline's database.
        writes: The kinds of write, by name.
        clock: The program's clock; settle times and leases are measured by it.
        settle: How long an unknown write rests before it is read back.
        run_id: Of the run, kept with every step.
        holder: Who claims: host and process.
        max_seconds: Nothing new is begun after so long; what is left, the next run takes.
    """

    def __init__(
        self,
        engine: sa.Engine,
        writes: Mapping[str, Write],
        *,
        clock: Clock,
        settle: timedelta,
        run_id: str,
        holder: str,
        max_seconds: float = 1800.0,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Begin nothing yet."""
        self._engine = engine
        self._writes = writes
        self._clock = clock
        self._settle = settle
        self._run_id = run_id
        self._holder = holder
        self._max_seconds = max_seconds
        self._monotonic = monotonic
        self.stop = threading.Event()
        self._sleep = sleep or self.stop.wait

    def drive(
        self, kinds: Collection[str], *, progress: Callable[[str], None] = lambda _m: None
    ) -> Summary:
        """Read back what is unknown, then send what is ready, a lane a kind, side by side.

        Raises:
            CredentialsRevoked: The vendor does not know us any more; nothing is lost.
            ContractBroken: An answer was not of the published shape.
        """
        summary = self.recover(kinds)
        lanes = _Lanes(len(kinds), self._monotonic() + self._max_seconds, summary, progress)
        with ThreadPoolExecutor(max_workers=max(1, len(kinds))) as pool:
            futures = [pool.submit(self._lane, kind, lanes) for kind in kinds]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                # A cancelled run finishes the call in flight and begins no other.
                self.stop.set()
                raise
        with reading(self._engine) as connection:
            summary.left = outbox.counts(connection, kinds)
        if lanes.fatal is not None:
            raise lanes.fatal
        return summary

    def recover(self, kinds: Collection[str]) -> Summary:
        """What went before first: put aside what was altered, read back what nobody knows.

        Raises:
            CredentialsRevoked, ContractBroken: As of ``drive``.
        """
        summary = Summary()
        self._quarantine(summary)
        summary.outcomes["lease_expired"] += outbox.expire_leases(
            self._engine, now=self._clock(), run_id=self._run_id
        )
        self._read_back(kinds, summary)
        return summary

    def step(self, kind: str) -> str | None:
        """Claim the next intent of a kind and carry it out.

        Returns:
            What became of it; ``None`` when there is none that may be sent now.

        Raises:
            CredentialsRevoked, ContractBroken: As of ``drive``.
        """
        intent = outbox.claim(
            self._engine,
            kind,
            now=self._clock(),
            holder=self._holder,
            lease=LEASE,
            run_id=self._run_id,
        )
        if intent is None:
            return None
        if not intent.is_as_committed:  # altered since the drive began
            self._suspend(intent, self._writes[kind], _ALTERED)
            return "corrupt"
        return self._carry_out(intent)

    def _lane(self, kind: str, lanes: _Lanes) -> None:
        """Send what is ready of one kind until no lane has anything left."""
        failures = 0
        while not self.stop.is_set() and self._monotonic() < lanes.until:
            settled = lanes.settled
            try:
                outcome = self.step(kind)
            except (CredentialsRevoked, ContractBroken) as error:
                lanes.abandon(error)
                return
            except BaseException:
                lanes.leave(kind)  # the others need not wait for this lane
                raise
            if outcome is None:
                if lanes.nothing_left(kind, settled):
                    return
                continue
            lanes.count(f"{kind}.{outcome}")
            failures = failures + 1 if outcome in {"not_applied", "unknown"} else 0
            # The vendor is not there: one probe after a while, and no storm meanwhile.
            if failures > _BREAKER or (failures == _BREAKER and self.stop.wait(_PROBE_AFTER)):
                lanes.leave(kind)
                return
        lanes.leave(kind)

    # --- one intent ---------------------------------------------------------------

    def _carry_out(self, intent: Intent) -> str:
        write = self._writes[intent.kind]
        if intent.attempt > 1 and self._times(intent, "unsent") >= _MAX_TRIES:
            why = "its worker died at every try, before anything was sent"
            self._suspend(intent, write, why)
            return "suspense"
        try:
            verdict = write.precheck(intent)
        except VendorError as error:
            self._move(intent, "ready", step="not_sent", error=error.detail, wait=True)
            if isinstance(error, CredentialsRevoked | ContractBroken):
                raise
            return "not_applied"
        except Exception as error:  # noqa: BLE001 (a poisoned item must not stop the others)
            return self._broken(intent, write, error)
        if isinstance(verdict, Adopt):
            return self._confirm(intent, write, verdict.evidence, "adopted")
        if isinstance(verdict, Hold):
            self._suspend(intent, write, verdict.why, verdict.code)
            return "held"
        return self._send(intent, write)

    def _broken(self, intent: Intent, write: Write, error: Exception) -> str:
        """Our own code failed on this one before anything was sent: again, then a person."""
        if isinstance(error, _DATABASE):
            raise error  # not the item's fault: the claim runs out, and nothing had left
        why = type(error).__name__
        if self._times(intent, "broken") >= _MAX_TRIES:
            self._suspend(intent, write, f"{why} at every try, before anything was sent")
            return "suspense"
        self._move(intent, "ready", step="broken", error=why, wait=True)
        return "broken"

    def _times(self, intent: Intent, *steps: str) -> int:
        with reading(self._engine) as connection:
            return outbox.times(connection, intent.intent_key, steps)

    def _send(self, intent: Intent, write: Write) -> str:
        left = False
        look_holds = self._clock() + _LOOK_HOLDS

        def leaving() -> None:
            # Whatever was waited for lies behind: the place in the lane, a new session.
            nonlocal left
            now = self._clock()
            if now >= look_holds or not outbox.leave(
                self._engine, intent, now=now, lease=LEASE, run_id=self._run_id
            ):
                raise _Overdue(intent.kind, "the claim ran out before it was sent")
            left = True

        try:
            with write.linnworks.telling(leaving):
                evidence = write.send(intent)
        except _Overdue as error:
            self._move(intent, "ready", step="not_sent", error=error.detail)
            return "overdue"
        except Refused as error:
            return self._refused(intent, write, error)
        except RateLimited as error:
            pause = self._clock() + timedelta(seconds=error.retry_after)
            self._move(intent, "ready", step="rate_limited", error=error.detail, not_before=pause)
            self._sleep(min(error.retry_after, 60.0))
            return "rate_limited"
        except (NotApplied, Unauthorised) as error:
            # Nothing happened, however often: an outage puts nothing before a person.
            self._move(intent, "ready", step="not_applied", error=error.detail, wait=True)
            return "not_applied"
        except CredentialsRevoked as error:
            # Linnworks answered 401 twice: the write itself was not applied.
            self._move(intent, "ready", step="not_applied", error=error.detail)
            raise
        except ContractBroken as error:
            if left:
                self._move(intent, "unknown", error=error.detail)
            else:
                self._move(intent, "ready", step="not_sent", error=error.detail, wait=True)
            raise
        except Exception as error:  # noqa: BLE001 (what nobody has seen may have been applied)
            if not left and not isinstance(error, OutcomeUnknown):
                return self._broken(intent, write, error)
            detail = error.detail if isinstance(error, VendorError) else type(error).__name__
            self._move(intent, "unknown", error=detail)
            return "unknown"
        return self._confirm(intent, write, evidence, "confirmed")

    def _move(
        self,
        intent: Intent,
        state: str,
        *,
        step: str = "",
        error: str = "",
        not_before: datetime | None = None,
        wait: bool = False,
    ) -> bool:
        now = self._clock()
        if wait:
            not_before = now + timedelta(seconds=2.0 ** min(intent.attempt, 8))
        with self._engine.begin() as connection:
            return outbox.move(
                connection,
                intent,
                state,
                now=now,
                run_id=self._run_id,
                step=step,
                error=error,
                not_before=not_before,
            )

    def _confirm(self, intent: Intent, write: Write, evidence: Mapping[str, Any], step: str) -> str:
        now = self._clock()
        try:
            with self._engine.begin() as connection:
                held = outbox.move(
                    connection,
                    intent,
                    "confirmed",
                    now=now,
                    run_id=self._run_id,
                    step=step,
                    evidence=evidence,
                )
                if held:
                    write.confirmed(connection, intent, evidence, now)
        except (
            DatabaseUnusable,
            sa.exc.OperationalError,
            sa.exc.InterfaceError,
            sa.exc.InternalError,
        ):
            raise  # the database is not there: read back by the next run
        except Exception as error:  # noqa: BLE001 (one that cannot be entered stops no other)
            why = f"{step}, but it could not be entered: {type(error).__name__}"
            self._suspend(intent, write, why)
            return "suspense"
        return step

    def _refused(self, intent: Intent, write: Write, error: Refused) -> str:
        try:
            done = write.done_by_others(intent)
        except Exception:  # noqa: BLE001 (it was not looked: it rests and is read back)
            self._move(intent, "unknown", error=error.detail)
            return "unknown"
        if isinstance(done, Adopt):
            return self._confirm(intent, write, done.evidence, "adopted")
        if isinstance(done, Hold):
            self._suspend(intent, write, done.why, done.code)
            return "held"
        self._refuse(intent, write, error)
        return "refused"

    def _refuse(self, intent: Intent, write: Write, error: Refused) -> None:
        now = self._clock()
        with self._engine.begin() as connection:
            held = outbox.move(
                connection, intent, "refused", now=now, run_id=self._run_id, error=error.detail
            )
            if held:
                write.refused(connection, intent, error.detail, now)
                self._withdraw(connection, intent, now)

    def _suspend(self, intent: Intent, write: Write, why: str, code: str = "") -> None:
        now = self._clock()
        with self._engine.begin() as connection:
            held = outbox.move(
                connection, intent, "suspense", now=now, run_id=self._run_id, error=why
            )
            if held:
                write.suspended(connection, intent, f"{code}: {why}" if code else why, now)
                self._withdraw(connection, intent, now)

    def _withdraw(self, connection: sa.Connection, intent: Intent, now: datetime) -> None:
        why = "what it depends on was not done"
        outbox.withdraw(connection, intent, now=now, run_id=self._run_id, why=why)

    # --- the unknown --------------------------------------------------------------

    def _read_back(self, kinds: Collection[str], summary: Summary) -> None:
        rested = self._clock() - self._settle
        waiting = outbox.unknowns(self._engine, kinds, sent_before=rested)
        if waiting:
            # Another one first each minute: what cannot be read keeps no other from it for ever.
            first = int(rested.timestamp() // 60) % len(waiting)
            waiting = waiting[first:] + waiting[:first]
        until = self._monotonic() + self._max_seconds
        failures = 0
        for intent in waiting:
            if self.stop.is_set() or self._monotonic() >= until or failures >= _BREAKER:
                return  # the vendor is not there, or time is up: the next run asks again
            try:
                outcome = self._find_out(intent)
            except (CredentialsRevoked, ContractBroken):
                raise
            except VendorError:
                outcome, failures = "unread", failures + 1
            except _DATABASE:
                raise
            except Exception:  # noqa: BLE001 (what cannot be read of one stops no other)
                outcome = "unread"
            else:
                failures = 0
            summary.outcomes[f"{intent.kind}.{outcome}"] += 1

    def _find_out(self, intent: Intent) -> str:
        write = self._writes[intent.kind]
        found = write.read_back(intent)
        if isinstance(found, Applied):
            return self._confirm(intent, write, found.evidence, "found")
        if not isinstance(found, Absent):
            self._suspend(intent, write, found.why, found.code)
            return "suspense"
        lost = self._times(intent, "unknown", "lease")
        if lost >= _MAX_TRIES:
            self._suspend(intent, write, f"its answer was lost {lost} times")
            return "suspense"
        self._move(intent, "ready", step="absent")
        return "absent"

    def _quarantine(self, summary: Summary) -> None:
        """Our own books first: what was altered is never sent."""
        now = self._clock()
        with self._engine.begin() as connection:
            for key in outbox.corrupt(connection):
                intent = outbox.put_aside(
                    connection, key, now=now, run_id=self._run_id, why=_ALTERED
                )
                self._writes[intent.kind].suspended(connection, intent, _ALTERED, now)
                self._withdraw(connection, intent, now)
                summary.outcomes["corrupt"] += 1


def _progress(summary: Summary) -> str:
    done = {k: n for k, n in summary.outcomes.items() if "." in k}
    return "Linnworks: " + ", ".join(f"{k.replace('.', ' ')} {n}" for k, n in sorted(done.items()))
