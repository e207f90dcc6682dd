"""The outbox: intents, their claims and their fates, each change one guarded statement.

An intent is committed before anything is sent for it. States and arrows::

    ready -> sending -> confirmed | refused | suspense | unknown | ready (surely not applied)
    unknown -> confirmed (found there) | ready (proven absent) | suspense (a person)
    ready | suspense -> confirmed (somebody else did it) | refused | withdrawn
    suspense | refused | unknown | withdrawn -> ready (a person said: send it again)
    suspense | refused | unknown -> confirmed (a person knew its number, and it was found)

What is sent and how it is read back is ``dispatch``'s.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading
from returns_pipeline.storage.types import Instant, Select

OPEN = ("ready", "sending", "unknown")
STATES = frozenset((*t.UNSETTLED_INTENT, "confirmed", "refused", "withdrawn"))
_ARROWS = {
    "ready": {"sending", "confirmed", "refused", "suspense", "withdrawn"},
    "sending": {"confirmed", "refused", "unknown", "ready", "suspense"},
    "unknown": {"confirmed", "ready", "suspense"},
    "suspense": {"ready", "confirmed", "withdrawn", "refused"},
}


class ConflictingIntent(AssertionError):  # noqa: N818 - it says what is the case
    """Two different contents under one key: a defect; nothing was written."""


@dataclass(frozen=True, slots=True)
class NewIntent:
    """Something to be done to a vendor, its key made from its content."""

    intent_key: str
    kind: str
    subject: str
    reference: str
    payload: Mapping[str, Any]
    depends_on: str | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """A stored intent."""

    intent_key: str
    kind: str
    subject: str
    reference: str
    payload: Mapping[str, Any]
    payload_hash: str
    state: str
    attempt: int
    depends_on: str | None
    created_at: datetime
    sent_at: datetime | None
    evidence: Mapping[str, Any] | None
    error: str

    @property
    def is_as_committed(self) -> bool:
        """Whether the payload is still the one that was committed."""
        return payload_hash(self.payload) == self.payload_hash


_COLUMNS = (
    t.intents.c.intent_key,
    t.intents.c.kind,
    t.intents.c.subject,
    t.intents.c.reference,
    t.intents.c.payload,
    t.intents.c.payload_hash,
    t.intents.c.state,
    t.intents.c.attempt,
    t.intents.c.depends_on,
    t.intents.c.created_at,
    t.intents.c.sent_at,
    t.intents.c.evidence,
    t.intents.c.error,
)


def _unsettled(intents: sa.FromClause) -> sa.ColumnElement[bool]:
    # What is settled is never looked at again, however much of it there is.
    return t.among(intents.c.state, t.UNSETTLED_INTENT)


def payload_hash(payload: Mapping[str, Any]) -> str:
    """SHA-256 of the payload's canonical form."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def enqueue(connection: sa.Connection, new: Sequence[NewIntent], *, now: datetime) -> int:
    """Commit intents with the caller's transaction; those already there are left alone.

    Raises:
        ConflictingIntent: When a key is there with another content.
    """
    known: dict[str, str] = {}
    for part in (new[i : i + 500] for i in range(0, len(new), 500)):
        keys = [intent.intent_key for intent in part]
        query = sa.select(t.intents.c.intent_key, t.intents.c.payload_hash).where(
            t.intents.c.intent_key.in_(keys)
        )
        known.update(connection.execute(query).all())
    rows = []
    for intent in new:
        digest = payload_hash(intent.payload)
        before = known.get(intent.intent_key)
        if before is not None and before != digest:
            raise ConflictingIntent(intent.intent_key)
        if before is None:
            rows.append(
                {
                    "intent_key": intent.intent_key,
                    "kind": intent.kind,
                    "subject": intent.subject,
                    "reference": intent.reference,
                    "payload": dict(intent.payload),
                    "payload_hash": digest,
                    "state": "ready",
                    "attempt": 0,
                    "depends_on": intent.depends_on,
                    "created_at": now,
                }
            )
    if rows:
        connection.execute(sa.insert(t.intents), rows)
    return len(rows)


def claim(
    engine: sa.Engine, kind: str, *, now: datetime, holder: str, lease: timedelta, run_id: str
) -> Intent | None:
    """Take the oldest intent of a kind that may be sent; committed before anything is.

    One is left alone while what it depends on is not confirmed, while it has to wait, and
    while another intent of the same subject is being sent, is unknown, or waits for a
    person. Two workers never get the same one: the statement is guarded by the state.
    """
    values = {"of_kind": kind, "at": now, "by": holder, "until": now + lease}
    with engine.begin() as connection:
        row = connection.execute(_claiming(engine.dialect.name), values).one_or_none()
        if row is None:
            return None
        intent = Intent(*row)
        _note(connection, intent, "claimed", now, run_id, holder)
    return intent


@functools.cache
def _claiming(dialect: str) -> sa.Executable:
    # Built once: building it takes longer than running it.
    now = sa.bindparam("at", type_=Instant)
    one, other = t.intents.alias("one"), t.intents.alias("other")
    needed = t.intents.alias("needed")
    blocked = sa.exists().where(
        other.c.subject == one.c.subject,
        other.c.intent_key != one.c.intent_key,
        other.c.state.in_(("sending", "unknown", "suspense")),
    )
    allowed = sa.or_(
        one.c.depends_on.is_(None),
        sa.exists().where(needed.c.intent_key == one.c.depends_on, needed.c.state == "confirmed"),
    )
    candidate = (
        sa.select(one.c.id)
        .where(one.c.kind == sa.bindparam("of_kind"), one.c.state == "ready", _unsettled(one))
        .where(sa.or_(one.c.not_before.is_(None), one.c.not_before <= now))
        .where(allowed, ~blocked)
        .order_by(one.c.id)
        .limit(1)
    )
    if dialect == "postgresql":
        candidate = candidate.with_for_update(skip_locked=True, of=one)
    return (
        sa.update(t.intents)
        .where(t.intents.c.id == candidate.scalar_subquery(), t.intents.c.state == "ready")
        .values(
            state="sending",
            attempt=t.intents.c.attempt + 1,
            lease_holder=sa.bindparam("by"),
            lease_until=sa.bindparam("until", type_=Instant),
            sent_at=now,
            not_before=None,
        )
        .returning(*_COLUMNS)
    )


def leave(
    engine: sa.Engine, intent: Intent, *, now: datetime, lease: timedelta, run_id: str
) -> bool:
    """Note that the request for a claimed intent leaves now; committed before it does.

    The settle time counts from here, and so does the claim's term anew.

    Returns:
        Whether the claim still holds. If not, nothing may be sent: another worker may have
        found it unsent, and have sent it itself.
    """
    values = {
        "of_key": intent.intent_key,
        "of_attempt": intent.attempt,
        "at": now,
        "until": now + lease,
    }
    with engine.begin() as connection:
        if connection.execute(_leaving(), values).rowcount != 1:
            return False
        _note(connection, intent, "left", now, run_id, "")
    return True


@functools.cache
def _leaving() -> sa.Update:
    columns, now = t.intents.c, sa.bindparam("at", type_=Instant)
    return (
        sa.update(t.intents)
        .where(
            columns.intent_key == sa.bindparam("of_key"),
            columns.state == "sending",
            columns.attempt == sa.bindparam("of_attempt"),
            columns.lease_until > now,
        )
        .values(sent_at=now, lease_until=sa.bindparam("until", type_=Instant))
    )


def withdraw(
    connection: sa.Connection, needed: Intent, *, now: datetime, run_id: str, why: str
) -> None:
    """Withdraw what waits for an intent that will not be done."""
    columns = t.intents.c
    query: Select = (
        sa.select(*_COLUMNS)
        .where(columns.depends_on == needed.intent_key, columns.state == "ready")
        .where(columns.subject == needed.subject)  # the index
    )
    for row in connection.execute(query).all():
        move(connection, Intent(*row), "withdrawn", now=now, run_id=run_id, error=why)


def move(
    connection: sa.Connection,
    intent: Intent,
    state: str,
    *,
    now: datetime,
    run_id: str,
    step: str = "",
    error: str = "",
    evidence: Mapping[str, Any] | None = None,
    not_before: datetime | None = None,
) -> bool:
    """Change an intent's state, if it is still as the caller knows it.

    Returns:
        Whether it was. A worker whose claim was taken over meanwhile changes nothing.
    """
    if state not in _ARROWS.get(intent.state, set()):
        msg = f"{intent.intent_key}: no arrow from {intent.state} to {state}"
        raise AssertionError(msg)
    values: dict[str, Any] = {"state": state, "error": error, "lease_until": None}
    if evidence is not None:
        values["evidence"] = dict(evidence)
    if state in {"confirmed", "refused", "suspense", "withdrawn"}:
        values["settled_at"] = now
    values["not_before"] = not_before
    held = _changed(connection, intent, values)
    _note(connection, intent, step or state if held else "late", now, run_id, error)
    return held


def _changed(connection: sa.Connection, intent: Intent, values: Mapping[str, Any]) -> bool:
    """Change an intent's row, if its state and attempt still are as the caller knows them."""
    known = {
        "known_key": intent.intent_key,
        "known_state": intent.state,
        "known_attempt": intent.attempt,
    }
    changed = connection.execute(_CHANGING, {**values, **known})
    return changed.rowcount == 1


_CHANGING = sa.update(t.intents).where(
    t.intents.c.intent_key == sa.bindparam("known_key"),
    t.intents.c.state == sa.bindparam("known_state"),
    t.intents.c.attempt == sa.bindparam("known_attempt"),
)


def _note(
    connection: sa.Connection, intent: Intent, step: str, now: datetime, run_id: str, detail: str
) -> None:
    values = {
        "intent_key": intent.intent_key,
        "attempt": intent.attempt,
        "step": step,
        "at": now,
        "run_id": run_id,
        "detail": detail[:500],
    }
    connection.execute(_NOTING, values)


_NOTING = sa.insert(t.attempts)


def expire_leases(engine: sa.Engine, *, now: datetime, run_id: str) -> int:
    """Take back claims whose term has passed: their worker is dead.

    What had left is unknown. What had not cannot leave any more (``leave``): it is ready.
    """
    with engine.begin() as connection:
        found = [Intent(*row) for row in connection.execute(_expired(), {"at": now})]
        for intent in found:
            if times(connection, intent.intent_key, ("left",), attempt=intent.attempt):
                state, step, why = "unknown", "lease", "the claim ran out; it may have been sent"
            else:
                state, step, why = "ready", "unsent", "the claim ran out before it was sent"
            move(connection, intent, state, now=now, run_id=run_id, step=step, error=why)
    return len(found)


@functools.cache
def _expired() -> Select:
    columns = t.intents.c
    return (
        sa.select(*_COLUMNS)
        .where(
            columns.state == "sending",
            columns.lease_until <= sa.bindparam("at", type_=Instant),
            _unsettled(t.intents),
        )
        # A worker that is about to leave waits here, and then finds its claim gone; or it was
        # first, and its claim has not run out any more. SQLite has one writer anyway.
        .with_for_update()
    )


def unknowns(engine: sa.Engine, kinds: Collection[str], *, sent_before: datetime) -> list[Intent]:
    """Unknown intents that have rested long enough to be read back, oldest first."""
    values = {"of_kinds": list(kinds), "before": sent_before}
    with reading(engine) as connection:
        return [Intent(*row) for row in connection.execute(_rested(), values)]


@functools.cache
def _rested() -> Select:
    columns = t.intents.c
    return (
        sa.select(*_COLUMNS)
        .where(
            columns.state == "unknown",
            columns.kind.in_(sa.bindparam("of_kinds", expanding=True)),
            columns.sent_at <= sa.bindparam("before", type_=Instant),
            _unsettled(t.intents),
        )
        .order_by(columns.id)
    )


def times(
    connection: sa.Connection, key: str, steps: Collection[str], *, attempt: int | None = None
) -> int:
    """How often an intent has taken one of these steps, in one attempt or in all.

    Since a person last said that it be tried again: their word begins the count anew.
    """
    values: dict[str, Any] = {"of_key": key, "of_steps": list(steps)}
    if attempt is not None:
        values["of_attempt"] = attempt
    return connection.execute(_taken(of_one=attempt is not None), values).scalar_one()


@functools.cache
def _taken(*, of_one: bool) -> sa.Select[int]:
    columns, before = t.attempts.c, t.attempts.alias("before").c
    key: sa.BindParameter[str] = sa.bindparam("of_key")
    word = sa.select(sa.func.max(before.id)).where(
        before.intent_key == key, before.step == RELEASED
    )
    query = sa.select(sa.func.count()).where(
        columns.intent_key == key,
        columns.step.in_(sa.bindparam("of_steps", expanding=True)),
        columns.id > sa.func.coalesce(word.scalar_subquery(), 0),
    )
    return query.where(columns.attempt == sa.bindparam("of_attempt")) if of_one else query


def counts(connection: sa.Connection, kinds: Collection[str]) -> dict[str, int]:
    """Intents that are not settled, by state."""
    columns = t.intents.c
    query = (
        sa.select(columns.state, sa.func.count())
        .where(columns.kind.in_(kinds), _unsettled(t.intents))
        .group_by(columns.state)
    )
    return dict(connection.execute(query).all())


def corrupt(connection: sa.Connection) -> list[str]:
    """Open intents whose payload is not what was committed: never sent, named instead."""
    return [
        key
        for key, payload, digest in connection.execute(_open_payloads())
        if not isinstance(payload, dict) or payload_hash(payload) != digest
    ]


@functools.cache
def _open_payloads() -> Select:
    columns = t.intents.c
    query = sa.select(columns.intent_key, columns.payload, columns.payload_hash)
    return query.where(columns.state.in_(OPEN), _unsettled(t.intents))


def put_aside(
    connection: sa.Connection, key: str, *, now: datetime, run_id: str, why: str
) -> Intent:
    """Take an intent out of the queue for a person, whatever its state."""
    row = connection.execute(
        sa.update(t.intents)
        .where(t.intents.c.intent_key == key)
        .values(state="suspense", error=why, settled_at=now)
        .returning(*_COLUMNS)
    ).one()
    intent = Intent(*row)
    _note(connection, intent, "put_aside", now, run_id, why)
    return intent


def find(connection: sa.Connection, key: str) -> Intent | None:
    """The intent with this key."""
    query: Select = sa.select(*_COLUMNS).where(t.intents.c.intent_key == key)
    for row in connection.execute(query):
        return Intent(*row)
    return None


def following(connection: sa.Connection, key: str) -> list[Intent]:
    """The intents that depend on this one."""
    query: Select = sa.select(*_COLUMNS).where(t.intents.c.depends_on == key)
    return [Intent(*row) for row in connection.execute(query.order_by(t.intents.c.id))]


RELEASED = "released"
"""The step of an intent that a person said to try again."""

STOPPED = ("suspense", "refused", "unknown")
"""Where an intent waits for a person, or may: what a person says of it counts."""


def settle_by_word(
    connection: sa.Connection,
    intent: Intent,
    state: str,
    *,
    now: datetime,
    run_id: str,
    step: str,
    detail: str,
    evidence: Mapping[str, Any] | None = None,
) -> bool:
    """Change a stopped intent because a person said so, if it is still as the caller knows it.

    It is either to be tried again, its content the same and its key too, so that the look
    before sending finds what is there; or it was found under the number a person gave.

    Returns:
        Whether it was changed.
    """
    if state not in {"ready", "confirmed"} or intent.state not in {*STOPPED, "withdrawn"}:
        msg = f"{intent.intent_key}: no word leads from {intent.state} to {state}"
        raise AssertionError(msg)
    values: dict[str, Any] = {
        "state": state,
        "error": "",
        "lease_until": None,
        "not_before": None,
        "settled_at": now if state == "confirmed" else None,
    }
    if evidence is not None:
        values["evidence"] = dict(evidence)
    held = _changed(connection, intent, values)
    if held:
        _note(connection, intent, step, now, run_id, detail)
    return held
