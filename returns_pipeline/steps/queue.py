"""The exception queue for the people who work it: what is in it, and what they do to it.

The commands and the web page do the same things through here. Here: reading the queue, and
the actions, each noted with who did it and when. What may be decided is
``domain.decisions``'; what a decision needs to know is gathered in ``deciding``; opening and
closing by what holds is ``control``'s.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain import decisions as rules
from returns_pipeline.domain import exceptions as catalogue
from returns_pipeline.domain.decisions import Kind, NotAllowed, NotYours
from returns_pipeline.domain.model import ExceptionRaised, Owner, Severity
from returns_pipeline.domain.policy import Policy
from returns_pipeline.steps import deciding, story
from returns_pipeline.storage import decisions as said
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading

__all__ = [
    "UNITS_TOLD",
    "NoSuchTask",
    "NotAllowed",
    "Person",
    "Task",
    "Wanted",
    "acknowledge",
    "assign",
    "by_id",
    "decided",
    "evidence",
    "history",
    "named",
    "one",
    "resolve",
    "retry",
    "snooze",
    "tasks",
]


class NoSuchTask(LookupError):  # noqa: N818 (it says what is so)
    """Nothing in the queue, or more than one thing, has that name; the message says which."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who acts: a name, and the owners they act for; ``None``: whoever holds the terminal."""

    name: str
    roles: Collection[Owner] | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tasks are asked for; what is empty is not asked."""

    owner: str = ""
    code: str = ""
    severity: str = ""
    assignee: str = ""
    status: str = ""  # open | ack | snoozed
    older_than: timedelta | None = None
    overdue: bool = False
    snoozed: bool = False
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One exception as people look at it. Instants are UTC."""

    id: int
    code: str
    key: str
    owner: Owner
    severity: Severity
    status: str
    message: str
    amount_minor: int
    currency: str
    unit_keys: tuple[str, ...]
    return_ids: tuple[str, ...]
    order_numbers: tuple[str, ...]
    opened_at: datetime
    due_at: datetime
    last_seen_at: datetime
    occurrences: int
    resolved_at: datetime | None
    resolution: str
    resolver: str
    assignee: str
    snoozed_until: datetime | None
    policy_hash: str

    @property
    def name(self) -> str:
        """What it is called by: ``E12``."""
        return f"E{self.id}"

    @property
    def entry(self) -> catalogue.CatalogueEntry:
        """What is known of its code."""
        return catalogue.CATALOGUE[self.code]

    @property
    def is_open(self) -> bool:
        """Whether anybody still has to do something."""
        return self.status in catalogue.OPEN_STATES

    def document(self) -> dict[str, Any]:
        """All of it in plain values, for machines."""
        return {
            "id": self.name,
            "code": self.code,
            "key": self.key,
            "owner": self.owner.value,
            "severity": self.severity.value,
            "status": self.status,
            "opened_at": self.opened_at.isoformat(),
            "due_at": self.due_at.isoformat(),
            "amount_minor": self.amount_minor,
            "currency": self.currency,
            "units": len(self.unit_keys),
            "item_ids": list(self.unit_keys),
            "return_ids": list(self.return_ids),
            "order_numbers": list(self.order_numbers),
            "message": self.message,
            "blocks": self.entry.blocks,
            "trigger": self.entry.trigger,
            "action": self.entry.action,
            "closes_when": self.entry.closes_when,
            "occurrences": self.occurrences,
            "last_seen_at": self.last_seen_at.isoformat(),
            "assignee": self.assignee,
            "snoozed_until": self.snoozed_until.isoformat() if self.snoozed_until else None,
            "resolved_at": self.resolved_at.isoformat() if self.resolved_at else None,
            "resolution": self.resolution,
            "resolver": self.resolver,
            "rule_version": self.policy_hash,
            "runbook": catalogue.runbook(self.code),
        }


# --- reading ----------------------------------------------------------------------


def tasks(engine: sa.Engine, wanted: Wanted, *, now: datetime) -> list[Task]:
    """The queue, most severe and soonest due first. What sleeps is left out unless asked for."""
    columns = t.exceptions.c
    query = sa.select(t.exceptions).order_by(columns.severity, columns.due_at, columns.id)
    if not wanted.closed:
        query = query.where(t.among(columns.status, t.OPEN_EXCEPTION))
    if wanted.status:
        query = query.where(columns.status == wanted.status)
    elif not wanted.closed and not wanted.snoozed:
        awake = sa.or_(columns.status != "snoozed", columns.snoozed_until <= now)
        query = query.where(awake)
    if wanted.owner:
        query = query.where(sa.func.lower(columns.owner) == wanted.owner.lower())
    if wanted.code:
        query = query.where(columns.code == wanted.code.upper())
    if wanted.severity:
        query = query.where(columns.severity == wanted.severity.upper())
    if wanted.assignee:
        query = query.where(sa.func.lower(columns.assignee) == wanted.assignee.lower())
    if wanted.older_than is not None:
        query = query.where(columns.opened_at <= now - wanted.older_than)
    if wanted.overdue:
        query = query.where(columns.due_at < now)
    with reading(engine) as connection:
        return [_task(row._asdict()) for row in connection.execute(query)]


def _task(row: Mapping[str, Any]) -> Task:
    known = {name: row[name] for name in Task.__dataclass_fields__}
    for name in ("unit_keys", "return_ids", "order_numbers"):
        known[name] = tuple(json.loads(row[name]))
    known["owner"], known["severity"] = Owner(row["owner"]), Severity(row["severity"])
    return Task(**known)


def named(engine: sa.Engine, name: str) -> list[Task]:
    """Every task, closed ones too, that a name means: ``E12``, its code, its key, or the
    unit, return or order it is about.
    """  # noqa: D205 (one sentence that needs two lines)
    columns = t.exceptions.c
    plain = name.strip()
    folded = plain.lstrip("#").casefold()
    number = plain[1:] if plain[:1] in {"E", "e"} and plain[1:].isdecimal() else ""
    if number and len(number) < 19:
        query = sa.select(t.exceptions).where(columns.id == int(number))
        with reading(engine) as connection:
            found = [_task(row._asdict()) for row in connection.execute(query)]
        if found:
            return found
    code, _, key = plain.partition(":")
    query = sa.select(t.exceptions).where(
        sa.or_(
            columns.code == plain.upper(),
            columns.key == plain,
            sa.and_(columns.code == code.upper(), columns.key == key),
            columns.unit_keys.contains(folded, autoescape=True),
            sa.func.lower(columns.unit_keys).contains(folded, autoescape=True),
            sa.func.lower(columns.return_ids).contains(folded, autoescape=True),
            sa.func.lower(columns.order_numbers).contains(folded, autoescape=True),
        )
    )
    with reading(engine) as connection:
        rows = [_task(row._asdict()) for row in connection.execute(query.order_by(columns.id))]
    return [task for task in rows if folded in _names(task)]


def _names(task: Task) -> set[str]:
    names = {task.name, task.code, task.key, f"{task.code}:{task.key}"}
    names.update(task.unit_keys, task.return_ids, task.order_numbers)
    return {name.strip().lstrip("#").casefold() for name in names}


def one(engine: sa.Engine, name: str) -> Task:
    """The one open task that a name means; ``E12`` means a closed one too.

    Raises:
        NoSuchTask: When there is none, or several: then naming them.
    """
    found = named(engine, name)
    if len(found) == 1:
        return found[0]
    still = [task for task in found if task.is_open]
    if len(still) == 1:
        return still[0]
    if not found:
        msg = f"no exception has {name!r} as its number, code, key, unit, return or order"
        raise NoSuchTask(msg)
    listed = ", ".join(f"{task.name} {task.code} {task.key}" for task in (still or found)[:8])
    raise NoSuchTask(f"{name!r} means {len(still or found)} exceptions: say which, {listed}")


def by_id(engine: sa.Engine, number: int) -> Task | None:
    """The task with this number."""
    query = sa.select(t.exceptions).where(t.exceptions.c.id == number)
    with reading(engine) as connection:
        for row in connection.execute(query):
            return _task(row._asdict())
    return None


def history(engine: sa.Engine, task: Task) -> list[dict[str, Any]]:
    """Who did what to a task, and what was decided from it, oldest first."""
    with reading(engine) as connection:
        done = said.actions(connection, task.id)
        made = said.from_exception(connection, task.id)
    opened = {
        "at": task.opened_at,
        "actor": said.SYSTEM,
        "action": "opened",
        "detail": f"for {task.entry.owner}" if not done else "",
    }
    became = [
        {
            "at": one["outcome_at"],
            "actor": said.SYSTEM,
            "action": one["outcome"],
            "detail": one["outcome_detail"],
        }
        for one in made
        if one["outcome_at"] is not None and one["outcome"] != "refused"  # noted by itself
    ]
    return sorted([opened, *done, *became], key=lambda row: row["at"])


UNITS_TOLD = 5
"""Of how many units of a task the story is told."""


def evidence(engine: sa.Engine, task: Task) -> list[tuple[dict[str, Any], list[story.Moment]]]:
    """Each of the task's first units, and its story without the payloads behind it."""
    told = []
    for key in task.unit_keys[:UNITS_TOLD]:
        whole = story.explain(engine, key)
        for item in whole["items"] if whole else ():
            if item["item"]["unit_key"] == key:
                moments = [one for one in story.timeline(item) if one.topic != "payload"]
                told.append((item["item"], moments))
    return told


def decided(engine: sa.Engine, task: Task) -> list[dict[str, Any]]:
    """The decisions made from a task, with what became of each."""
    with reading(engine) as connection:
        return said.from_exception(connection, task.id)


# --- acting -----------------------------------------------------------------------


def acknowledge(engine: sa.Engine, task: Task, by: Person, *, now: datetime) -> bool:
    """Say that somebody has seen it; theirs, where it was nobody's. Whether that changed it.

    Raises:
        NotAllowed: When it is closed or another owner's.
    """
    _may_act(task, by)
    with engine.begin() as connection:
        changed = _set(
            connection,
            task,
            t.exceptions.c.status == "open",
            status="ack",
            assignee=task.assignee or by.name,
        )
        if changed:
            said.note(connection, task.id, "acknowledged", actor=by.name, now=now)
    return changed


def assign(
    engine: sa.Engine,
    task: Task,
    by: Person,
    *,
    now: datetime,
    to: str | None = None,
    owner: Owner | None = None,
) -> bool:
    """Give it to a person, or hand it over to another owner; whether that changed it.

    Raises:
        NotAllowed: When it is closed, another owner's, or nothing was named.
    """
    _may_act(task, by)
    if to is None and owner is None:
        raise NotAllowed("say to whom: a person's name, or an owner to hand it over to")
    name = task.assignee if to is None else to.strip()
    if owner is not None and owner is not task.owner and to is None:
        name = ""  # it was one of the other team
    new_owner = owner or task.owner
    if (name, new_owner) == (task.assignee, task.owner):
        return False
    told = []
    if new_owner is not task.owner:
        told.append(f"handed over to {new_owner}")
    if name != task.assignee:
        told.append(f"to {name}" if name else "to nobody yet")
    with engine.begin() as connection:
        _still_open(connection, task, assignee=_short(name), owner=new_owner.value)
        said.note(connection, task.id, "assigned", actor=by.name, now=now, detail=", ".join(told))
    return True


def snooze(
    engine: sa.Engine, task: Task, by: Person, *, now: datetime, until: datetime, reason: str
) -> bool:
    """Put it out of sight until an instant; it wakes earlier where it grows worse.

    Raises:
        NotAllowed: When it is closed, another owner's, for no reason, or for no or too long.
    """
    _may_act(task, by)
    why = _reason(reason)
    if until <= now:
        raise NotAllowed("that time has passed: give one that is still to come")
    if until > now + _LONGEST_SLEEP:
        msg = f"no task sleeps longer than {_LONGEST_SLEEP.days} days: give an earlier time"
        raise NotAllowed(msg)
    if task.severity is Severity.S1 and until > now + _S1_SLEEP:
        msg = f"an S1 sleeps {_S1_SLEEP.days} days at most: it is money or overselling, now"
        raise NotAllowed(msg)
    if task.status == "snoozed" and task.snoozed_until == until:
        return False
    with engine.begin() as connection:
        _still_open(connection, task, status="snoozed", snoozed_until=until)
        detail = f"until {until:%Y-%m-%d %H:%M} UTC: {why}"
        said.note(connection, task.id, "snoozed", actor=by.name, now=now, detail=detail)
    return True


_LONGEST_SLEEP = timedelta(days=31)
_S1_SLEEP = timedelta(days=3)


def resolve(
    engine: sa.Engine,
    task: Task,
    by: Person,
    *,
    now: datetime,
    policy: Policy,
    reason: str,
    kind: Kind | None = None,
    answers: Mapping[str, str] | None = None,
) -> bool:
    """Decide what is to be done about it; carried out by the next run. Whether it is new.

    The task stays in the queue, acknowledged, until its cause is gone; one that is accepted
    as it is closes at once.

    Args:
        engine: The pipeline's database.
        task: As it was looked at.
        by: Who decides.
        now: The instant.
        policy: Under which it is decided.
        reason: Why; kept with it.
        kind: What is decided; where none is given, that it is accepted as it is.
        answers: What the kind needs: ``row_id``, ``order``, ``disposition``, ``amount``,
            ``vendor_id``; and ``unit`` where the task is about several.

    Raises:
        NotAllowed: With what is wrong and what can be decided instead.
        DecidedMeanwhile: When somebody else decided at the same moment.
    """
    if not task.is_open:
        raise NotAllowed(_closed(task))
    why = _reason(reason)
    possible = rules.kinds_for(task.code, task.key)
    chosen = kind or Kind.ACCEPT
    if chosen not in possible:
        raise NotAllowed(_not_that(task, possible, kind))
    rules.require_role(chosen, task.owner, by.roles)
    with engine.begin() as connection:
        if chosen is Kind.ACCEPT:
            subject = f"{task.code}:{task.key}"
            arguments: dict[str, Any] = {"key": task.key, "fingerprint": _as_accepted(task)}
        else:
            given = {name: text.strip() for name, text in (answers or {}).items() if text.strip()}
            subject, arguments = deciding.checked(connection, task, chosen, given, policy)
        decision, is_new = said.keep(
            connection,
            chosen,
            subject,
            arguments,
            exception_id=task.id,
            actor=_short(by.name),
            reason=why,
            now=now,
            policy_hash=policy.hash,
        )
        if not is_new:
            return False
        title = rules.KINDS[chosen].title
        shown = deciding.in_words(chosen, arguments)
        said.note(
            connection,
            task.id,
            "decided",
            actor=by.name,
            now=now,
            detail=f"{title}{f' ({shown})' if shown else ''}: {why}",
            decision_id=decision.id,
        )
        if chosen is Kind.ACCEPT:
            _still_open(
                connection,
                task,
                status="resolved",
                resolved_at=now,
                resolution=f"{title}: {why}",
                resolver=by.name,
                snoozed_until=None,
            )
        else:
            _still_open(
                connection,
                task,
                status="ack",
                snoozed_until=None,
                assignee=task.assignee or by.name,
            )
    return True


def retry(
    engine: sa.Engine, task: Task, by: Person, *, now: datetime, policy: Policy, reason: str
) -> bool:
    """Have the next run send again what has stopped. Whether that is new.

    Raises:
        NotAllowed: When nothing of it has stopped.
    """
    if task.is_open and Kind.SEND_AGAIN not in rules.kinds_for(task.code, task.key):
        msg = (
            f"{task.code} is no write that has stopped: it is looked at anew at every sync, and "
            "closes itself when its cause is gone"
        )
        raise NotAllowed(msg)
    return resolve(engine, task, by, now=now, policy=policy, reason=reason, kind=Kind.SEND_AGAIN)


def _may_act(task: Task, by: Person) -> None:
    if not task.is_open:
        raise NotAllowed(_closed(task))
    if by.roles is not None and task.owner not in by.roles:
        raise NotYours(f"it is {task.owner}'s, and you act for {', '.join(by.roles) or 'nobody'}")


def _closed(task: Task) -> str:
    return f"{task.name} is closed: {task.resolution or task.status}"


def _not_that(task: Task, possible: Collection[Kind], kind: Kind | None) -> str:
    if not possible:
        return (
            f"nothing can be decided about {task.code} here: {task.entry.action}. It closes "
            f"itself when its cause is gone ({task.entry.closes_when})"
        )
    can = ", ".join(f"{one.value} ({rules.KINDS[one].title.lower()})" for one in possible)
    if kind is None:
        what = task.entry.blocks
        held = f"it keeps {what} from moving" if what != "none" else "somebody must act on it"
        return f"a reason alone does not settle {task.code}: {held}. Decide one of: {can}"
    return f"{kind.value} does not settle {task.code}; what does: {can}"


def _as_accepted(task: Task) -> str:
    return rules.fingerprint(
        ExceptionRaised(
            code=task.code,
            key=task.key,
            message=task.message,
            amount_minor=task.amount_minor,
            currency=task.currency,
            unit_keys=task.unit_keys,
            severity=task.severity,
        )
    )


def _set(
    connection: sa.Connection, task: Task, *where: sa.ColumnElement[bool], **values: Any
) -> bool:
    columns = t.exceptions.c
    changed = connection.execute(
        sa.update(t.exceptions)
        .where(columns.id == task.id, t.among(columns.status, t.OPEN_EXCEPTION), *where)
        .values(**values)
    )
    return changed.rowcount == 1


def _still_open(connection: sa.Connection, task: Task, **values: Any) -> None:
    if not _set(connection, task, **values):
        raise NotAllowed(f"{task.name} was closed meanwhile: look at it again")


def _reason(text: str) -> str:
    why = _short(text, 500)
    if not why:
        raise NotAllowed("give a reason: it is kept with what you do, for whoever asks later")
    return why


def _short(text: str, most: int = 80) -> str:
    """One line of visible text, no longer than is kept."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:most]
