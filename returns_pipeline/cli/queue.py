"""``exceptions``: the queue of what cannot move, each somebody's task.

What is done to a task is ``steps.queue``'s; here are the words it is asked for in.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from returns_pipeline.cli import session
from returns_pipeline.cli.output import Json, Usage, answering, emit, say, stdout

if TYPE_CHECKING:
    import sqlalchemy as sa

    from returns_pipeline.settings import Settings
    from returns_pipeline.steps.queue import Person, Task

app = typer.Typer(help="The exception queue.", no_args_is_help=True)

_Name = Annotated[
    str,
    typer.Argument(
        metavar="EXCEPTION",
        help="Its number (E12), or its code, key, unit, return or order where only one has it.",
    ),
]
_By = Annotated[
    str | None,
    typer.Option("--by", help="Who does it, for the record; if not given, the login name."),
]
_Reason = Annotated[str, typer.Option("--reason", help="Why; kept for whoever asks later.")]


@app.callback()
def _group() -> None:
    """The exception queue: see it, take a task, put it off, decide what is done about it."""


@app.command("list")
def list_(
    owner: Annotated[
        str | None, typer.Option(help="Only the tasks of CX, Operations or Finance.")
    ] = None,
    code: Annotated[str | None, typer.Option(help="Only this code, such as ORPHAN_RETURN.")] = None,
    severity: Annotated[str | None, typer.Option(help="Only S1, S2, S3 or S4.")] = None,
    assignee: Annotated[str | None, typer.Option(help="Only what this person has taken.")] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Only what is open longer: 4h, 3d, 2w.")
    ] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only what is past its time.")] = False,
    snoozed: Annotated[bool, typer.Option("--snoozed", help="What sleeps too.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Closed ones and those asleep too.")] = False,
    as_json: Json = False,
) -> None:
    """What waits for a person: most severe and soonest due first.

    \b
    Examples:
      returns-pipeline exceptions list
      returns-pipeline exceptions list --owner cx --json
      returns-pipeline exceptions list --severity S1 --overdue
      returns-pipeline exceptions list --owner finance --older-than 3d
    """
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.cli import tables
        from returns_pipeline.steps import queue

        wanted = queue.Wanted(
            owner=owner_named(owner) if owner else "",
            code=code or "",
            severity=_severity(severity),
            assignee=assignee or "",
            older_than=_span(older_than) if older_than else None,
            overdue=overdue,
            snoozed=snoozed,
            closed=every,
        )
        rows = queue.tasks(engine, wanted, now=found.clock())
        if as_json:
            emit({"exceptions": [{name: row.document()[name] for name in _LISTED} for row in rows]})
        elif not rows:
            say("nothing is open")
        else:
            zone = found.policy.merchant.time_zone
            stdout.print(tables.queue(rows, found.clock(), zone))
            say("see one: returns-pipeline exceptions show E...")


# The shape of the interface specification.
_LISTED = (
    *("code", "key", "owner", "severity", "status", "opened_at", "due_at", "amount_minor"),
    *("currency", "item_ids", "return_ids", "order_numbers", "message", "runbook"),
)


@app.command()
def show(key: _Name, as_json: Json = False) -> None:
    """Everything about the exceptions a name means: why, since when, what can be decided.

    \b
    Examples:
      returns-pipeline exceptions show E12
      returns-pipeline exceptions show ORPHAN_RETURN
      returns-pipeline exceptions show 1042
    """
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.steps import queue

        rows = queue.named(engine, key)
        if not rows:
            msg = f"no exception has {key!r} as its number, code, key, unit, return or order"
            raise Usage(msg)
        _shown(found, engine, rows, as_json=as_json)


def _shown(
    found: Settings, engine: sa.Engine, rows: list[Task], *, as_json: bool, **more: Any
) -> None:
    from returns_pipeline.cli import tables
    from returns_pipeline.domain.decisions import KINDS, kinds_for
    from returns_pipeline.steps import deciding, queue

    if as_json:
        documents = [
            {
                **row.document(),
                "can_decide": [kind.value for kind in kinds_for(row.code, row.key)],
                "evidence": [
                    {"item_id": item["unit_key"], **asdict(moment)}
                    for item, moments in queue.evidence(engine, row)
                    for moment in moments
                ],
                "decisions": [_plain(one) for one in queue.decided(engine, row)],
                "history": [_plain(one) for one in queue.history(engine, row)],
            }
            for row in rows
        ]
        emit({"exceptions": documents, **more})
        return
    zone, now = found.policy.merchant.time_zone, found.clock()
    for row in rows:
        can = [(kind.value, KINDS[kind].title) for kind in kinds_for(row.code, row.key)]
        offered = deciding.choices(engine, row, found.policy) if row.is_open else {}
        stdout.print(tables.task(row, now, zone, can if row.is_open else [], offered))
        stdout.print(tables.history(queue.history(engine, row), zone))


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in row.items()
    }


@app.command()
def ack(key: _Name, by: _By = None, as_json: Json = False) -> None:
    """Say that somebody has seen it; it becomes theirs where it was nobody's.

    \b
    Examples:
      returns-pipeline exceptions ack E12
      returns-pipeline exceptions ack E12 --by maria
    """
    with _acting(key, by, as_json) as (act, queue):
        act(queue.acknowledge)


@app.command()
def assign(
    key: _Name,
    to: Annotated[str | None, typer.Option("--to", help="A person's name.")] = None,
    owner: Annotated[
        str | None, typer.Option(help="Hand it over to CX, Operations or Finance.")
    ] = None,
    by: _By = None,
    as_json: Json = False,
) -> None:
    """Give it to a person, or hand it over to another team.

    \b
    Examples:
      returns-pipeline exceptions assign E12 --to maria
      returns-pipeline exceptions assign E12 --owner finance
    """
    with _acting(key, by, as_json) as (act, queue):
        from returns_pipeline.domain.model import Owner

        act(queue.assign, to=to, owner=Owner(owner_named(owner)) if owner else None)


@app.command()
def snooze(
    key: _Name,
    until: Annotated[
        str,
        typer.Option(help="A while (4h, 3d), a day (its morning, 09:00), or an RFC 3339 instant."),
    ],
    reason: _Reason,
    by: _By = None,
    as_json: Json = False,
) -> None:
    """Put it out of the list and the alerts for a while; it wakes earlier if it grows worse.

    \b
    Examples:
      returns-pipeline exceptions snooze E12 --until 2d --reason "the carrier is asked"
      returns-pipeline exceptions snooze E12 --until 2026-03-20 --reason "back on Friday"
    """
    with _acting(key, by, as_json) as (act, queue):
        act(queue.snooze, until=until, reason=reason)


@app.command()
def resolve(
    key: _Name,
    reason: _Reason,
    decide: Annotated[
        str | None,
        typer.Option(help="What is decided: see `exceptions show` for what settles it."),
    ] = None,
    line: Annotated[str | None, typer.Option(help="An order item row id (line).")] = None,
    order: Annotated[
        str | None, typer.Option(help="An order's id, Linnworks number or reference (order).")
    ] = None,
    condition: Annotated[
        str | None, typer.Option(help="SELLABLE, DAMAGED, QUARANTINE ... (disposition).")
    ] = None,
    amount: Annotated[
        str | None, typer.Option(help="What is paid for the goods, such as 12.50 (refund).")
    ] = None,
    number: Annotated[
        str | None, typer.Option(help="Of the RMA, refund or order in Linnworks (happened).")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="Which unit, where there are several.")] = None,
    by: _By = None,
    as_json: Json = False,
) -> None:
    """Decide what is done about it; the next run carries it out.

    A decision goes by the same rules as everything else: nothing is sent
    twice, nothing is paid above what was paid for it. Without --decide it is
    accepted as it is, where nothing waits for it.

    \b
    Examples:
      returns-pipeline exceptions resolve E12 --decide line --line 8f2c... --reason "asked her"
      returns-pipeline exceptions resolve E13 --decide order --order 100234 --reason "renumbered"
      returns-pipeline exceptions resolve E14 --decide disposition --condition DAMAGED --reason torn
      returns-pipeline exceptions resolve E15 --decide refund --amount 12.50 --reason "agreed"
      returns-pipeline exceptions resolve E16 --decide no_refund --reason "worn"
      returns-pipeline exceptions resolve E17 --decide happened --number 40012 --reason "seen it"
      returns-pipeline exceptions resolve E18 --reason "counted: right as it is"
    """
    with _acting(key, by, as_json) as (act, queue):
        given = {
            "row_id": line,
            "order": order,
            "disposition": condition,
            "amount": amount,
            "vendor_id": number,
            "unit": unit,
        }
        act(
            queue.resolve,
            reason=reason,
            kind=_kind(decide),
            answers={name: text for name, text in given.items() if text},
        )


@app.command()
def retry(
    key: _Name,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept.")] = "send it again",
    by: _By = None,
    as_json: Json = False,
) -> None:
    """Have the next run send again a write that was refused or put aside.

    Linnworks is asked first what is there: nothing is done twice.

    \b
    Examples:
      returns-pipeline exceptions retry E12
    """
    with _acting(key, by, as_json) as (act, queue):
        act(queue.retry, reason=reason)


# --- what all actions share -------------------------------------------------------


@contextmanager
def _acting(key: str, by: str | None, as_json: bool) -> Iterator[tuple[Any, Any]]:
    """Find the task, do one thing to it as somebody, show what it is then."""
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.steps import queue
        from returns_pipeline.storage.decisions import DecidedMeanwhile

        changed: list[bool] = []

        def act(what: Any, **options: Any) -> None:
            now = found.clock()
            if what is queue.snooze:
                options["until"] = _until(options["until"], now, found.policy.merchant.time_zone)
            if what in {queue.resolve, queue.retry}:
                options["policy"] = found.policy
            changed.append(what(engine, task, _person(by), now=now, **options))

        try:
            task = queue.one(engine, key)
            yield act, queue
        except (queue.NoSuchTask, queue.NotAllowed) as error:
            raise Usage(str(error)) from None
        except DecidedMeanwhile:
            msg = "somebody else decided about it at this moment: look at it again"
            raise Usage(msg) from None
        if not changed[-1]:
            say("nothing changed: it was so already")
        after = queue.by_id(engine, task.id) or task
        _shown(found, engine, [after], as_json=as_json, changed=changed[-1])


def _person(by: str | None) -> Person:
    from returns_pipeline.steps.queue import Person

    name = (by or "").strip() or login()
    if not name:
        msg = "say who does it: --by NAME"
        raise Usage(msg)
    return Person(name)


def login() -> str:
    """The name of whoever is logged in to this machine; "" where it cannot be told."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def owner_named(text: str) -> str:
    """CX, Operations or Finance, in whatever case it was written.

    Raises:
        Usage: When it is none of them.
    """
    from returns_pipeline.domain.model import Owner

    known: Mapping[str, str] = {one.value.casefold(): one.value for one in Owner}
    if text.strip().casefold() not in known:
        msg = f"{text!r} is no owner: it is CX, Operations or Finance"
        raise Usage(msg)
    return known[text.strip().casefold()]


def _severity(text: str | None) -> str:
    from returns_pipeline.domain.model import Severity

    if text is None:
        return ""
    if text.strip().upper() not in set(Severity):
        msg = f"{text!r} is no severity: it is S1, S2, S3 or S4"
        raise Usage(msg)
    return text.strip().upper()


def _kind(text: str | None) -> Any:
    from returns_pipeline.domain.decisions import Kind

    if text is None:
        return None
    try:
        return Kind(text.strip().lower().replace("-", "_"))
    except ValueError:
        listed = ", ".join(one.value for one in Kind)
        msg = f"{text!r} is no decision: it is one of {listed}"
        raise Usage(msg) from None


_SPAN = re.compile(r"([0-9]{1,5})\s*([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}


def _span(text: str) -> timedelta:
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None:
        msg = f"{text!r} is no while: write it as 4h, 3d or 2w"
        raise Usage(msg)
    return timedelta(hours=int(found[1]) * _HOURS[found[2]])


def _until(text: str, now: datetime, zone: str) -> datetime:
    """``2d``, ``2026-03-20`` (nine in the morning at the merchant's), or an instant."""
    from datetime import UTC, date, time
    from zoneinfo import ZoneInfo

    if _SPAN.fullmatch(text.strip().lower()):
        return now + _span(text)
    try:
        day = date.fromisoformat(text)
        return datetime.combine(day, time(9), ZoneInfo(zone)).astimezone(UTC)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        msg = f"{text!r} is no time: write it as 2d, 2026-03-20 or 2026-03-20T12:00:00Z"
        raise Usage(msg)
    return at.astimezone(UTC)
