"""Telling people: what happened is noted once, put into messages, and sent until it is taken.

Notices of checks and runs come from Dagster (``defs.alerts``); those of exceptions, silent
sources and the digests are found here, in what is stored. Every channel has a message of
its own, tried with growing pauses for a day. Wording and quiet hours are
``domain.alerts``'s; the channels are ``clients.alerts``'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import sqlalchemy as sa

from returns_pipeline.clients import alerts as channels
from returns_pipeline.domain import alerts as rules
from returns_pipeline.domain import exceptions as catalogue
from returns_pipeline.domain.alerts import Kind, Message, Notice
from returns_pipeline.domain.model import Owner, Severity
from returns_pipeline.domain.policy import AlertPolicy
from returns_pipeline.settings import AlertSettings
from returns_pipeline.steps.batching import SOURCES
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert
from returns_pipeline.storage.engine import reading
from returns_pipeline.storage.types import Row

GIVE_UP_AFTER = timedelta(hours=24)
"""A message nobody has taken for so long is old news: it is given up, and stays visible."""

_LONGEST_PAUSE = timedelta(hours=1)
_SECONDS_A_RUN = 30.0  # Dagster gives a sensor's tick a minute
_AT_ONCE = 500
_DIGESTS = "alerts.digests"

Send = Callable[[str, channels.Envelope], None]


# --- noting -----------------------------------------------------------------------

_COLUMNS = (
    "alert_key",
    "kind",
    "owner",
    "severity",
    "title",
    "what",
    "remedy",
    "amount_minor",
    "currency",
    "units",
    "link",
    "runbook",
    "at",
    "leaves_at",
)


def note(connection: sa.Connection, notices: Iterable[Notice], rt: Runtime) -> None:
    """Note what people are to be told; what was noted before is not noted again."""
    now, policy, zone = rt.now(), rt.policy.alerts, rt.policy.merchant.time_zone
    rows = [
        (
            one.key,
            one.kind.value,
            one.owner.value,
            one.severity.value,
            one.title,
            one.what,
            one.remedy,
            one.amount_minor,
            one.currency,
            one.units,
            one.link,
            one.runbook,
            one.at,
            rules.leaves_at(one.kind, one.severity, now, policy, zone),
        )
        for one in notices
    ]
    upsert(connection, t.alerts, _COLUMNS, rows, key=("alert_key",), update=())


def _notice(row: Row) -> Notice:
    return Notice(
        key=row.alert_key,
        kind=Kind(row.kind),
        owner=Owner(row.owner),
        severity=Severity(row.severity),
        title=row.title,
        what=row.what,
        remedy=row.remedy,
        at=row.at,
        amount_minor=row.amount_minor,
        currency=row.currency,
        units=row.units,
        link=row.link,
        runbook=row.runbook,
    )


def collect(rt: Runtime) -> dict[str, int]:
    """Note new and overdue exceptions, sources nobody hears of, and the digests that are due."""
    now = rt.now()
    with rt.engine.begin() as connection:
        found = [
            *_exceptions(connection, rt, now),
            *_sources(connection, rt, now),
            *_digests(connection, rt, now),
        ]
        note(connection, found, rt)
    return {"noted": len(found)}


def _exceptions(connection: sa.Connection, rt: Runtime, now: datetime) -> list[Notice]:
    """Exceptions not told of yet: once when they open, again when they grow worse, or overdue.

    One that is snoozed is told of when it comes back.
    """
    columns, policy = t.exceptions.c, rt.policy.alerts
    number = sa.cast(columns.id, sa.Text)
    opened = sa.literal("opened:").concat(number).concat(":").concat(columns.severity)
    overdue = sa.literal("overdue:").concat(number)
    is_told = [
        sa.exists().where(t.alerts.c.alert_key == key).label(name)
        for key, name in ((opened, "opened_told"), (overdue, "overdue_told"))
    ]
    query = (
        sa.select(t.exceptions, *is_told)
        .where(t.among(columns.status, t.OPEN_EXCEPTION), columns.status != "snoozed")
        # A source that is silent has a notice of its own, which needs no poll to be found.
        .where(columns.code != "SOURCE_STALE")
        .order_by(columns.id)
    )
    found = []
    for row in connection.execute(query):
        severity = Severity(row.severity)
        if rules.tells_at_once(severity, policy) and not row.opened_told:
            key = f"opened:{row.id}:{row.severity}"
            found.append(_of_exception(row, Kind.EXCEPTION_OPENED, key, row.opened_at, rt))
        if row.due_at <= now and not row.overdue_told:
            key = f"overdue:{row.id}"
            found.append(_of_exception(row, Kind.EXCEPTION_OVERDUE, key, row.due_at, rt))
    return found


def _of_exception(row: Row, kind: Kind, key: str, at: datetime, rt: Runtime) -> Notice:
    entry = catalogue.CATALOGUE[row.code]
    overdue = "Overdue: " if kind is Kind.EXCEPTION_OVERDUE else ""
    numbers = json.loads(row.order_numbers)
    of = f" (order {', '.join(numbers[:3])})" if numbers else ""
    return Notice(
        key=key,
        kind=kind,
        owner=Owner(row.owner),
        severity=Severity(row.severity),
        title=f"{overdue}{entry.title}{of}",
        what=row.message,
        remedy=entry.action,
        at=at,
        amount_minor=row.amount_minor,
        currency=row.currency,
        units=len(json.loads(row.unit_keys)),
        link=exception_link(rt.policy.alerts, row.id, row.code, row.key),
        runbook=runbook_link(rt.policy.alerts, row.code),
    )


def exception_link(policy: AlertPolicy, number: int, code: str, key: str) -> str:
    """Where an exception is looked at: its page, else the command."""
    if policy.queue_url:
        return f"{policy.queue_url}/exceptions/{number}"
    return f"returns-pipeline exceptions show {key or code}"


def runbook_link(policy: AlertPolicy, code: str) -> str:
    """Where the runbook says what to do."""
    return published(policy, catalogue.runbook(code))


def published(policy: AlertPolicy, path: str) -> str:
    """A page of ``docs`` where it is published, as far as that is known."""
    return f"{policy.docs_url}/{path.removeprefix('docs/')}" if policy.docs_url else path


def run_link(policy: AlertPolicy, run_id: str = "") -> str:
    """Where a run, or all of them, is looked at, as far as is known where Dagster's UI is."""
    return f"{policy.dagster_url}/runs/{run_id}".rstrip("/") if policy.dagster_url else ""


def _sources(connection: sa.Connection, rt: Runtime, now: datetime) -> list[Notice]:
    marks, told = t.watermarks.c, t.alerts.c
    query = sa.select(marks.name, marks.at).where(marks.at.is_not(None), marks.name.in_(SOURCES))
    found = []
    for name, at in connection.execute(query):
        vendor = SOURCES[name]
        if at < now - rt.policy.ages.source_stale:
            minutes = int((now - at).total_seconds() // 60)
            found.append(
                Notice(
                    key=f"silent:{name}:{at.isoformat()}",
                    kind=Kind.SOURCE_SILENT,
                    owner=rt.policy.owners.get("SOURCE_STALE", Owner.OPERATIONS),
                    severity=Severity.S1,
                    title=f"{vendor} has not been read for {minutes} minutes",
                    what=f"No poll has succeeded since {at:%Y-%m-%d %H:%M} UTC ({name}). "
                    "Nothing is restocked or refunded until one does.",
                    remedy="see whether Dagster runs and why its last poll failed",
                    at=now,
                    link=run_link(rt.policy.alerts),
                    runbook=runbook_link(rt.policy.alerts, "SOURCE_STALE"),
                )
            )
            continue
        last = (
            sa.select(told.alert_key)
            .where(told.kind == Kind.SOURCE_SILENT.value)
            .where(told.alert_key.startswith(f"silent:{name}:", autoescape=True))
            .order_by(told.id.desc())
            .limit(1)
        )
        silent = connection.execute(last).scalar_one_or_none()
        if silent is not None:
            found.append(
                Notice(
                    key=f"heard:{silent.removeprefix('silent:')}",
                    kind=Kind.SOURCE_HEARD,
                    owner=rt.policy.owners.get("SOURCE_STALE", Owner.OPERATIONS),
                    severity=Severity.S3,
                    title=f"{vendor} is read again",
                    what=f"The last poll succeeded at {at:%Y-%m-%d %H:%M} UTC.",
                    remedy="",
                    at=now,
                )
            )
    return found


def _digests(connection: sa.Connection, rt: Runtime, now: datetime) -> list[Notice]:
    policy, zone = rt.policy.alerts, rt.policy.merchant.time_zone
    due = rules.digest_due(now, policy, zone)
    last = records.watermark(connection, _DIGESTS)
    if due is None or (last is not None and last >= due):
        return []
    records.move_watermark(connection, _DIGESTS, now=now, at=due)
    since = due - timedelta(days=1)
    columns = t.exceptions.c
    standing: dict[Owner, list[rules.Standing]] = {owner: [] for owner in Owner}
    open_now = sa.select(t.exceptions).where(
        t.among(columns.status, t.OPEN_EXCEPTION), columns.status != "snoozed"
    )
    for row in connection.execute(open_now):
        standing[Owner(row.owner)].append(_standing(row))
    counted = (
        sa.select(columns.owner, sa.func.count())
        .where(columns.resolved_at > since)
        .group_by(columns.owner)
    )
    closed: dict[str, int] = {row[0]: row[1] for row in connection.execute(counted)}
    found = []
    for owner in Owner:
        digest = rules.digest(
            owner,
            standing[owner],
            closed=closed.get(owner.value, 0),
            since=since,
            at=now,
            link=f"{policy.queue_url}/?owner={owner}" if policy.queue_url else "",
            zone=zone,
        )
        if digest is not None:
            found.append(digest)
    return found


def _standing(row: Row) -> rules.Standing:
    return rules.Standing(
        code=row.code,
        key=row.key,
        title=catalogue.CATALOGUE[row.code].title,
        owner=Owner(row.owner),
        severity=Severity(row.severity),
        message=row.message,
        opened_at=row.opened_at,
        due_at=row.due_at,
        amount_minor=row.amount_minor,
        currency=row.currency,
        units=len(json.loads(row.unit_keys)),
    )


# --- messages ---------------------------------------------------------------------


def addresses(settings: AlertSettings, policy: AlertPolicy, owner: Owner) -> dict[str, str]:
    """The channels an owner's messages go to, and the address of each."""
    known = {
        "slack": settings.slack_url,
        "teams": settings.teams_url,
        "email": settings.smtp_url,
        "webhook": settings.webhook_url,
    }
    wanted = policy.routes.get(owner) or tuple(known)
    return {name: address for name in wanted if (address := known[name])}


def _mail_address(rt: Runtime, owner: Owner) -> str:
    """Where an owner's mail goes; empty where no address is set."""
    return rt.policy.alerts.email_to.get(owner) or rt.settings.alerts.email_to or ""


def compose(rt: Runtime) -> list[Message]:
    """Put what may leave now into messages, one an owner, for each of the owner's channels.

    Returns:
        The messages, for the log too: they are told there whether or not a channel is set.
    """
    now, policy, waiting = rt.now(), rt.policy.alerts, t.alerts.c
    messages = []
    with rt.engine.begin() as connection:
        query = (
            sa.select(t.alerts)
            .where(waiting.message_key.is_(None), waiting.leaves_at <= now)
            .order_by(waiting.id)
            .limit(_AT_ONCE)
        )
        rows = {row.alert_key: row for row in connection.execute(query)}
        notices = [_notice(row) for row in rows.values()]
        for group in rules.grouped(notices):
            numbers = [rows[one.key].id for one in group]
            key = f"alert-{min(numbers)}"
            connection.execute(
                sa.update(t.alerts).where(waiting.id.in_(numbers)).values(message_key=key)
            )
            message = rules.compose(group, in_full=policy.in_full)
            messages.append(message)
            for channel in addresses(rt.settings.alerts, policy, message.owner):
                connection.execute(
                    sa.insert(t.alert_messages).values(
                        message_key=key,
                        channel=channel,
                        owner=message.owner.value,
                        severity=message.severity.value,
                        subject=message.subject,
                        state="queued",
                        attempts=0,
                        next_at=now,
                        created_at=now,
                        error="",
                    )
                )
    return messages


def deliver(
    rt: Runtime,
    send: Mapping[str, Send] = channels.CHANNELS,
) -> dict[str, int]:
    """Send the messages that are due; what is not taken is tried again, later and later.

    A message is claimed before it is sent, so that two programs do not send it at once. A
    crash in between sends it a second time: the receiver can tell by its id.
    """
    counts = {"sent": 0, "failed": 0, "given_up": 0}
    until = monotonic() + _SECONDS_A_RUN
    columns = t.alert_messages.c
    while monotonic() < until:
        now = rt.now()
        query = (
            sa.select(t.alert_messages)
            .where(t.among(columns.state, t.UNSENT_MESSAGE), columns.next_at <= now)
            .order_by(columns.severity, columns.id)
            .limit(1)
        )
        with reading(rt.engine) as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            break
        if _claimed(rt, row, now):
            counts[_send(rt, row, now, send)] += 1
    return counts


def _claimed(rt: Runtime, row: Row, now: datetime) -> bool:
    columns = t.alert_messages.c
    pause = min(timedelta(minutes=2**row.attempts), _LONGEST_PAUSE)
    claim = (
        sa.update(t.alert_messages)
        .where(columns.id == row.id, columns.attempts == row.attempts)
        .values(attempts=row.attempts + 1, next_at=now + pause)
    )
    with rt.engine.begin() as connection:
        return connection.execute(claim).rowcount == 1


def _send(rt: Runtime, row: Row, now: datetime, send: Mapping[str, Send]) -> str:
    owner = Owner(row.owner)
    policy, settings = rt.policy.alerts, rt.settings.alerts
    address = addresses(settings, policy, owner).get(row.channel)
    query = sa.select(t.alerts).where(t.alerts.c.message_key == row.message_key)
    with reading(rt.engine) as connection:
        notices = [_notice(one) for one in connection.execute(query.order_by(t.alerts.c.id))]
    envelope = channels.Envelope(
        id=f"{row.message_key}-{row.channel}",
        message=rules.compose(notices, in_full=policy.in_full),
        address=_mail_address(rt, owner),
    )
    why = _tried(send[row.channel], address, envelope)
    values: dict[str, Any] = {"state": "sent", "sent_at": now, "error": ""}
    outcome = "sent"
    if why:
        given_up = now - row.created_at >= GIVE_UP_AFTER
        outcome = "given_up" if given_up else "failed"
        values = {"error": why, "state": "given_up" if given_up else "queued"}
    with rt.engine.begin() as connection:
        connection.execute(
            sa.update(t.alert_messages).where(t.alert_messages.c.id == row.id).values(**values)
        )
    return outcome


def _tried(send: Send, address: str | None, envelope: channels.Envelope) -> str:
    """Why the message was not taken; empty where it was."""
    if address is None:
        return "the channel is not set any more"
    try:
        send(address, envelope)
    except channels.NotDelivered as error:
        return str(error)
    return ""


# --- looking ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A message that was not taken: how often it was tried, and the last reason."""

    owner: str
    channel: str
    subject: str
    state: str
    attempts: int
    error: str
    since: datetime


def undelivered(connection: sa.Connection, now: datetime) -> Sequence[Undelivered]:
    """Messages tried in vain, and those given up in the last week."""
    columns = t.alert_messages.c
    failing = sa.and_(t.among(columns.state, t.UNSENT_MESSAGE), columns.error != "")
    given_up = t.among(columns.state, t.LOST_MESSAGE)
    lost = sa.and_(given_up, columns.created_at > now - timedelta(days=7))
    # Each by its own index: asked for at once, every message there ever was is looked at.
    rows = [
        row
        for which in (failing, lost)
        for row in connection.execute(sa.select(t.alert_messages).where(which))
    ]
    return [
        Undelivered(
            row.owner,
            row.channel,
            row.subject,
            row.state,
            row.attempts,
            row.error,
            row.created_at,
        )
        for row in sorted(rows, key=lambda row: row.id)
    ]


def recent(connection: sa.Connection, limit: int) -> list[dict[str, Any]]:
    """The last messages, newest first, and what became of each."""
    columns = t.alert_messages.c
    query = sa.select(t.alert_messages).order_by(columns.id.desc()).limit(limit)
    return [row._asdict() for row in connection.execute(query)]


def trial(rt: Runtime, send: Mapping[str, Send] = channels.CHANNELS) -> dict[str, str]:
    """Send a trial to every channel that is set, each owner's; the outcome of each."""
    now = rt.now()
    outcomes: dict[str, str] = {}
    for owner in Owner:
        notice = Notice(
            key=f"test:{owner}:{now.isoformat()}",
            kind=Kind.TEST,
            owner=owner,
            severity=Severity.S4,
            title="Test of the alerts",
            what="This is how an alert looks. Nothing has happened.",
            remedy="nothing",
            at=now,
            runbook=runbook_link(rt.policy.alerts, "SOURCE_STALE"),
        )
        message = rules.compose([notice], in_full=1)
        settings, policy = rt.settings.alerts, rt.policy.alerts
        for channel, address in addresses(settings, policy, owner).items():
            key = f"{notice.key}-{channel}"
            envelope = channels.Envelope(key, message, _mail_address(rt, owner))
            outcomes[f"{owner} by {channel}"] = _tried(send[channel], address, envelope) or "taken"
    return outcomes
