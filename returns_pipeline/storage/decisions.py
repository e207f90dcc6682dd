"""What people decided and did: rows that are only ever added.

Here: keeping decisions, what became of them, and the actions on exceptions; reading those
that stand. Whether something may be decided is ``domain.decisions``'.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain.decisions import KINDS, Decision, Kind
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.records import in_chunks, move_watermark, position
from returns_pipeline.storage.types import Row, Select

SYSTEM = "the program"
"""The actor of what happened by itself."""


class DecidedMeanwhile(Exception):  # noqa: N818 (it says what is so)
    """Somebody else answered the same question at the same moment. Nothing was stored."""


def _select() -> Select:
    made, became = t.decisions.c, t.decision_outcomes.c
    return sa.select(
        made.id,
        made.kind,
        made.subject,
        made.arguments,
        made.actor,
        made.reason,
        made.decided_at,
        made.policy_hash,
        made.exception_id,
        made.sequence,
        became.outcome,
        became.detail,
        became.at,
    ).select_from(t.decisions.outerjoin(t.decision_outcomes, became.decision_id == made.id))


def _stands() -> sa.ColumnElement[bool]:
    outcome = t.decision_outcomes.c.outcome
    return sa.or_(outcome.is_(None), outcome == "carried_out")


def _decision(row: Row) -> Decision:
    return Decision(
        id=row.id,
        kind=Kind(row.kind),
        subject=row.subject,
        arguments=json.loads(row.arguments),
        actor=row.actor,
        reason=row.reason,
        decided_at=row.decided_at,
        policy_hash=row.policy_hash,
        exception_id=row.exception_id,
        outcome=row.outcome or "",
    )


def of_open_units(connection: sa.Connection, question: str) -> dict[str, Decision]:
    """What stands decided about the open units, by unit; the answers to one question."""
    made, items = t.decisions.c, t.return_items.c
    # By subject: one by one, every decision there ever was would be looked at.
    is_open = made.subject.in_(sa.select(items.unit_key).where(items.is_open))
    query = _select().where(made.question == question, _stands(), is_open)
    return _latest(connection.execute(query.order_by(made.sequence)))


def of_units(
    connection: sa.Connection, question: str, keys: Collection[str]
) -> dict[str, Decision]:
    """What stands decided about these units, by unit; the answers to one question."""
    query = _select().where(t.decisions.c.question == question, _stands())
    return _latest(in_chunks(connection, query, t.decisions.c.subject, keys))


def waiting(connection: sa.Connection, question: str) -> list[Decision]:
    """The decisions of a question that nothing has become of yet, oldest first."""
    made = t.decisions.c
    query = _waiting(position(connection, _DONE_WITH)).where(made.question == question)
    return [_decision(row) for row in connection.execute(query.order_by(made.id))]


_DONE_WITH = "decisions"  # the last of which this and all before have become something
_UNSEEN = timedelta(days=1)  # longer than any transaction: one may bring an earlier number


def _waiting(after: int) -> Select:
    return _select().where(t.decisions.c.id > after, t.decision_outcomes.c.outcome.is_(None))


def pass_over(connection: sa.Connection, *, now: datetime) -> None:
    """Note of which decisions something has become, so that they are not looked through again."""
    made = t.decisions.c
    after = position(connection, _DONE_WITH)
    first = connection.execute(_waiting(after).order_by(made.id).limit(1)).first()
    last = connection.execute(
        sa.select(sa.func.max(made.id)).where(made.id > after, made.decided_at < now - _UNSEEN)
    ).scalar_one()
    done_with = min(last or after, first.id - 1 if first else last or after)
    if done_with > after:
        move_watermark(connection, _DONE_WITH, now=now, position=done_with)


def latest_from(connection: sa.Connection, exceptions: Collection[int]) -> dict[int, Decision]:
    """The latest decision that stands, made from each of these exceptions."""
    query = _select().where(_stands()).order_by(t.decisions.c.id)
    rows = in_chunks(connection, query, t.decisions.c.exception_id, exceptions)
    return {row.exception_id: _decision(row) for row in rows}


def _latest(rows: Iterable[Row]) -> dict[str, Decision]:
    found: dict[str, Row] = {}
    for row in rows:
        before = found.get(row.subject)
        if before is None or row.sequence > before.sequence:
            found[row.subject] = row
    return {subject: _decision(row) for subject, row in found.items()}


def about(connection: sa.Connection, subjects: Collection[str]) -> list[dict[str, Any]]:
    """Every decision about these subjects with what became of it, oldest first, for people."""
    query = _select().where(t.decisions.c.subject.in_(list(subjects)))
    return [_told(row) for row in connection.execute(query.order_by(t.decisions.c.id))]


def from_exception(connection: sa.Connection, exception_id: int) -> list[dict[str, Any]]:
    """Every decision made from one exception, oldest first, for people."""
    query = _select().where(t.decisions.c.exception_id == exception_id)
    return [_told(row) for row in connection.execute(query.order_by(t.decisions.c.id))]


def _told(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "subject": row.subject,
        "arguments": json.loads(row.arguments),
        "actor": row.actor,
        "reason": row.reason,
        "decided_at": row.decided_at,
        "policy_hash": row.policy_hash,
        "outcome": row.outcome or "waiting",
        "outcome_detail": row.detail or "",
        "outcome_at": row.at,
    }


def keep(
    connection: sa.Connection,
    kind: Kind,
    subject: str,
    arguments: Mapping[str, Any],
    *,
    exception_id: int | None,
    actor: str,
    reason: str,
    now: datetime,
    policy_hash: str,
) -> tuple[Decision, bool]:
    """Store a decision. The same answer while it stands is the same decision.

    An earlier answer that waits is superseded. One that was carried out is left as it is:
    whether it may be answered anew is the caller's to know.

    Returns:
        The decision, and whether it is new.

    Raises:
        DecidedMeanwhile: When another answer came in at the same moment.
    """
    question = KINDS[kind].question
    made = t.decisions.c
    query = _select().where(made.subject == subject, made.question == question)
    earlier = connection.execute(query.order_by(made.sequence)).all()
    last = earlier[-1] if earlier else None
    if last is not None and last.outcome in {None, "carried_out"}:
        same = last.kind == kind and json.loads(last.arguments) == dict(arguments)
        if same and (last.outcome is None or KINDS[kind].question not in _ASKED_AGAIN):
            return _decision(last), False
    row = {
        "subject": subject,
        "question": question,
        "sequence": last.sequence + 1 if last is not None else 0,
        "kind": kind.value,
        "arguments": json.dumps(dict(arguments), sort_keys=True),
        "exception_id": exception_id,
        "actor": actor,
        "reason": reason,
        "decided_at": now,
        "policy_hash": policy_hash,
    }
    try:
        added = connection.execute(sa.insert(t.decisions).returning(made.id), row).scalar_one()
    except sa.exc.IntegrityError as error:
        raise DecidedMeanwhile from error
    if last is not None and last.outcome is None:
        became(connection, last.id, "superseded", f"by decision {added}", now=now, run_id="")
    return (
        Decision(
            added, kind, subject, dict(arguments), actor, reason, now, policy_hash, exception_id
        ),
        True,
    )


# What was done once may have to be done again: the vendor said no once more.
_ASKED_AGAIN = frozenset({"write", "difference"})


def became(
    connection: sa.Connection,
    decision_id: int,
    outcome: str,
    detail: str,
    *,
    now: datetime,
    run_id: str,
) -> None:
    """Enter what became of a decision, once."""
    connection.execute(
        sa.insert(t.decision_outcomes).values(
            decision_id=decision_id, outcome=outcome, detail=detail, at=now, run_id=run_id
        )
    )


def note(
    connection: sa.Connection,
    exception_id: int,
    action: str,
    *,
    actor: str,
    now: datetime,
    detail: str = "",
    decision_id: int | None = None,
) -> None:
    """Enter who did what to an exception."""
    connection.execute(
        sa.insert(t.exception_actions).values(
            exception_id=exception_id,
            action=action,
            actor=actor,
            at=now,
            detail=detail,
            decision_id=decision_id,
        )
    )


def actions(connection: sa.Connection, exception_id: int) -> list[dict[str, Any]]:
    """Who did what to one exception, oldest first."""
    columns = t.exception_actions.c
    query = sa.select(columns.action, columns.actor, columns.at, columns.detail)
    query = query.where(columns.exception_id == exception_id).order_by(columns.id)
    return [row._asdict() for row in connection.execute(query)]
