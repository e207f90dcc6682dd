"""The outbox against a small model: any interleaving of two workers, leases, time, people.

What a worker holds in its hand may be old; whatever it then does, the database decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from returns_pipeline.storage import outbox
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline.storage.outbox import ConflictingIntent, Intent, NewIntent
from returns_pipeline_tests.dispatch.conftest import NOW
from returns_pipeline_tests.simulation.__main__ import memory

LEASE, SETTLE = timedelta(minutes=5), timedelta(minutes=30)
KINDS = ("book", "act")
BLOCKING = {"sending", "unknown", "suspense"}
ARROWS = {
    "ready": {"sending", "confirmed", "refused", "suspense", "withdrawn"},
    "sending": {"confirmed", "refused", "unknown", "ready", "suspense"},
    "unknown": {"confirmed", "ready", "suspense"},
    "suspense": {"ready", "confirmed", "withdrawn", "refused"},
}


@dataclass
class Modelled:
    """An intent as it must be."""

    key: str
    kind: str
    subject: str
    depends_on: str | None
    state: str = "ready"
    attempt: int = 0
    lease_until: datetime | None = None
    not_before: datetime | None = None
    sent_at: datetime | None = None
    left: bool = False  # in its present attempt
    altered: bool = False


class Outbox(RuleBasedStateMachine):
    """Two workers, a person, and the clock, over one table."""

    engine: sa.Engine  # set by the test

    copies = Bundle("copies")  # what somebody once read or claimed; never fresh again by itself

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.model: dict[str, Modelled] = {}
        self.noted = 0
        with self.engine.begin() as connection:
            connection.execute(sa.delete(t.attempts))
            connection.execute(sa.delete(t.intents))

    # --- what is done

    @rule(kind=st.sampled_from(KINDS), subject=st.sampled_from("ABC"), chain=st.sampled_from("yn"))
    def enqueue(self, kind: str, subject: str, chain: str) -> None:
        before = [m.key for m in self.model.values() if m.subject == subject]
        depends_on = before[-1] if chain == "y" and before else None
        one = self._new(f"{kind}-{len(self.model)}", kind, subject, depends_on)
        with self.engine.begin() as connection:
            assert outbox.enqueue(connection, [one], now=self.now) == 1
        self.model[one.intent_key] = Modelled(one.intent_key, kind, subject, depends_on)

    def _new(self, key: str, kind: str, subject: str, depends_on: str | None) -> NewIntent:
        return NewIntent(key, kind, subject, f"ref-{key}", {"key": key}, depends_on)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def enqueue_once_more(self, data: st.DataObject) -> None:
        known = self.model[data.draw(st.sampled_from(sorted(self.model)))]
        same = self._new(known.key, known.kind, known.subject, known.depends_on)
        other = NewIntent(known.key, known.kind, known.subject, "", {"key": "another"})
        with self.engine.begin() as connection:
            assert outbox.enqueue(connection, [same], now=self.now) == 0
        with pytest.raises(ConflictingIntent), self.engine.begin() as connection:
            outbox.enqueue(connection, [other], now=self.now)

    @rule(target=copies, kind=st.sampled_from(KINDS), worker=st.sampled_from(("w1", "w2")))
    def claim(self, kind: str, worker: str) -> Any:
        wanted = next((m for m in self.model.values() if self._claimable(m, kind)), None)
        got = outbox.claim(
            self.engine, kind, now=self.now, holder=worker, lease=LEASE, run_id=worker
        )
        assert (got and got.intent_key) == (wanted and wanted.key)
        if got is None or wanted is None:
            return multiple()
        wanted.state, wanted.attempt = "sending", wanted.attempt + 1
        wanted.lease_until, wanted.sent_at, wanted.not_before = self.now + LEASE, self.now, None
        wanted.left = False
        self.noted += 1
        assert (got.state, got.attempt, got.sent_at) == ("sending", wanted.attempt, self.now)
        assert got.is_as_committed is not wanted.altered
        return got

    def _claimable(self, one: Modelled, kind: str) -> bool:
        needed = self.model.get(one.depends_on or "")
        return (
            one.kind == kind
            and one.state == "ready"
            and (one.not_before is None or one.not_before <= self.now)
            and (needed is None or needed.state == "confirmed")
            and not any(
                m.subject == one.subject and m.key != one.key and m.state in BLOCKING
                for m in self.model.values()
            )
        )

    @rule(copy=copies)
    def leave(self, copy: Intent) -> None:
        """A worker sends, with whatever it still believes to hold."""
        one = self.model[copy.intent_key]
        holds = (one.state, one.attempt) == ("sending", copy.attempt) and (
            one.lease_until is not None and one.lease_until > self.now
        )
        may = outbox.leave(self.engine, copy, now=self.now, lease=LEASE, run_id="run")
        assert may is holds
        if holds:
            one.left, one.sent_at, one.lease_until = True, self.now, self.now + LEASE
            self.noted += 1

    @rule(
        copy=copies,
        state=st.sampled_from(sorted({to for arrows in ARROWS.values() for to in arrows})),
        wait=st.sampled_from((None, 30, 600)),
    )
    def move(self, copy: Intent, state: str, wait: int | None) -> None:
        """A worker settles, or somebody who has read back or looked, with what it knows."""
        one = self.model[copy.intent_key]
        not_before = self.now + timedelta(seconds=wait) if wait and state == "ready" else None

        def do() -> bool:
            with self.engine.begin() as connection:
                return outbox.move(
                    connection,
                    copy,
                    state,
                    now=self.now,
                    run_id="run",
                    evidence={"header_id": 1} if state == "confirmed" else None,
                    not_before=not_before,
                )

        if state not in ARROWS.get(copy.state, set()):
            with pytest.raises(AssertionError, match="no arrow"):
                do()
            return
        fresh = (one.state, one.attempt) == (copy.state, copy.attempt)
        assert do() is fresh
        self.noted += 1
        if fresh:
            one.state, one.lease_until, one.not_before = state, None, not_before

    @rule(copy=copies)
    def confirm_without_evidence(self, copy: Intent) -> None:
        one = self.model[copy.intent_key]
        if (one.state, one.attempt) != (copy.state, copy.attempt) or copy.evidence:
            return
        with pytest.raises(sa.exc.IntegrityError), self.engine.begin() as connection:
            outbox.move(connection, copy, "confirmed", now=self.now, run_id="run")

    @rule(seconds=st.sampled_from((1, 60, 301, 1801)))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def leases_run_out(self) -> None:
        over = [
            m
            for m in self.model.values()
            if m.state == "sending" and m.lease_until and m.lease_until <= self.now
        ]
        assert outbox.expire_leases(self.engine, now=self.now, run_id="run") == len(over)
        for one in over:
            # What has not left cannot leave any more; what has may have been carried out.
            one.state, one.lease_until = ("unknown" if one.left else "ready"), None
            one.not_before = None
        self.noted += len(over)

    @rule(target=copies)
    def what_is_to_be_read_back(self) -> Any:
        before = self.now - SETTLE
        found = outbox.unknowns(self.engine, KINDS, sent_before=before)
        assert [i.intent_key for i in found] == [
            m.key
            for m in self.model.values()
            if m.state == "unknown" and m.sent_at and m.sent_at <= before
        ]
        return multiple(*found)

    @rule(copy=consumes(copies))
    def forgotten(self, copy: Intent) -> None:
        """A worker dies, and what it knew with it."""

    @precondition(lambda self: any(m.state in outbox.OPEN for m in self.model.values()))
    @rule(data=st.data())
    def altered_and_put_aside(self, data: st.DataObject) -> None:
        open_now = sorted(m.key for m in self.model.values() if m.state in outbox.OPEN)
        key = data.draw(st.sampled_from(open_now))
        columns = t.intents.c
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(t.intents).where(columns.intent_key == key).values(payload={"key": "?"})
            )
        self.model[key].altered = True
        if data.draw(st.booleans()):
            with self.engine.begin() as connection:
                assert key in outbox.corrupt(connection)
                outbox.put_aside(connection, key, now=self.now, run_id="run", why="altered")
            self.model[key].state = "suspense"
            self.noted += 1

    # --- what must be so

    @invariant()
    def the_table_is_the_model(self) -> None:
        columns = t.intents.c
        query = sa.select(columns.intent_key, columns.state, columns.attempt).order_by(columns.id)
        with self.engine.connect() as connection:
            rows = [tuple(row) for row in connection.execute(query)]
            noted = connection.execute(sa.select(sa.func.count()).select_from(t.attempts))
            assert noted.scalar_one() == self.noted
            counted = outbox.counts(connection, KINDS)
            corrupt = outbox.corrupt(connection)
        assert rows == [(m.key, m.state, m.attempt) for m in self.model.values()]
        for state in ("ready", "sending", "unknown"):
            there = sum(m.state == state for m in self.model.values())
            assert counted.get(state, 0) == there
        assert sorted(corrupt) == sorted(
            m.key for m in self.model.values() if m.altered and m.state in outbox.OPEN
        )

    @invariant()
    def one_order_has_one_write_in_flight(self) -> None:
        for subject in "ABC":
            order = [m for m in self.model.values() if m.subject == subject]
            assert sum(m.state == "sending" for m in order) <= 1


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[tuple[sa.Engine, int]]:
    """A database and how many examples are affordable on it."""
    if request.param == "sqlite":
        with memory() as engine:
            yield engine, 150
        return
    engine = connect(request.getfixturevalue("postgres_url"))
    yield engine, 10
    engine.dispose()


@pytest.mark.slow
def test_the_outbox_does_what_its_model_does(database: tuple[sa.Engine, int]) -> None:
    engine, examples = database
    machine = type("Machine", (Outbox,), {"engine": engine})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
