"""What cannot move becomes somebody's task; what is done is closed.

``exceptions`` evaluates every predicate over what is stored and open, so that an exception
closes itself when its cause is gone. What only reading the vendors back can tell is
``reconciling``'s. The catalogue and the rules of opening and closing are
``domain.exceptions``'.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain import disposition as disposition_rules
from returns_pipeline.domain import exceptions as rules
from returns_pipeline.domain import lifecycle
from returns_pipeline.domain.decisions import KINDS, READ_BACK, Kind, fingerprint
from returns_pipeline.domain.model import ExceptionRaised, Executor, Owner, Severity, Unit
from returns_pipeline.steps import (
    alerts,
    carry_out,
    conservation,
    early_money,
    exchange_tasks,
    finance_tasks,
    operations_tasks,
    sealed_tasks,
    soundness,
    worth,
)
from returns_pipeline.steps.about import about
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import decisions as said
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert

Raised = Iterator[ExceptionRaised]


# --- predicates -------------------------------------------------------------------


def _unit(
    row: Any,
    code: str,
    message: str,
    **more: Any,
) -> ExceptionRaised:
    return ExceptionRaised(
        code=code,
        key=row.unit_key,
        message=message,
        **about([row]),
        **more,
    )


_ITEM = (
    t.return_items.c.unit_key,
    t.return_items.c.return_id,
    t.return_items.c.order_number,
)


def _unmatched(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    found = t.matches.c
    query = (
        sa.select(*_ITEM, found.code, found.reason, found.since_at, found.candidates)
        .join_from(t.matches, t.return_items, found.unit_key == t.return_items.c.unit_key)
        .where(found.outcome != "matched", t.return_items.c.is_open)
    )
    young = now - rt.policy.ages.orphan_young
    for row in connection.execute(query):
        if row.code == "ORPHAN_RETURN" and row.since_at > young:
            continue  # the order may only be late in the mirror
        message = row.reason
        if row.candidates:
            message += "; one of: " + ", ".join(row.candidates.split("\n"))
        yield _unit(row, row.code, message, since=row.since_at)


def _held_gates(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    gates = t.gates.c
    # The open units first: joined, SQLite walks through all gates there ever were.
    open_keys = sa.select(t.return_items.c.unit_key).where(t.return_items.c.is_open)
    query = (
        sa.select(*_ITEM, gates.exception, gates.reason, gates.since_at, gates.gate)
        .join_from(t.gates, t.return_items, gates.unit_key == t.return_items.c.unit_key)
        .where(~gates.is_cleared, gates.exception != "", gates.unit_key.in_(open_keys))
    )
    seen: set[tuple[str, str]] = set()
    grace = now - rt.policy.ages.disposition_grace
    for row in sorted(connection.execute(query), key=lambda row: (row.unit_key, row.gate)):
        if row.exception == "DISPOSITION_MISSING" and row.since_at > grace:
            continue
        if (row.exception, row.unit_key) in seen:
            continue  # one task, however many gates the same cause holds
        seen.add((row.exception, row.unit_key))
        yield _unit(row, row.exception, row.reason, since=row.since_at)


def _unread_fields(connection: sa.Connection, _rt: Runtime, _now: datetime) -> Raised:
    """What the adapter could not read, one task a cause, until the payload is read.

    Units whose gate is held by it have a task of their own (``_held_gates``).
    """
    items = t.return_items.c
    # Literal, as the condition of its index.
    unread = items.problems != sa.literal("", literal_execute=True)
    query = sa.select(*_ITEM, items.problems).where(unread).order_by(items.id)
    causes: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(query):
        for problem in row.problems.split("\n"):
            causes[problem].append(row)
    for problem, rows in sorted(causes.items()):
        field, _, why = problem.partition(":")
        ids = sorted({row.return_id for row in rows})
        yield ExceptionRaised(
            code="CLOCK_AMBIGUOUS" if why.startswith("CLOCK_AMBIGUOUS") else "SCHEMA_DRIFT",
            key=f"happy_returns:{problem}",
            message=f"{field} of {len(rows)} units could not be read: {why}; the payloads are kept",
            unit_keys=tuple(row.unit_key for row in rows),
            return_ids=tuple(ids),
            order_numbers=tuple(sorted({row.order_number for row in rows if row.order_number})),
        )


def _unknown_fields(connection: sa.Connection, _rt: Runtime, now: datetime) -> Raised:
    raw = t.raw_payloads.c
    query = sa.select(raw.source, raw.unknown_fields, sa.func.count()).where(
        # Literal, as the condition of its index.
        raw.unknown_fields != sa.literal("", literal_execute=True),
        raw.fetched_at > now - timedelta(days=3),
    )
    by_field: Counter[tuple[str, str]] = Counter()
    for source, names, count in connection.execute(query.group_by(raw.source, raw.unknown_fields)):
        for name in names.split("\n"):
            if not name.startswith(_UNREADABLE):
                by_field[source, name] += count
    for (source, name), count in sorted(by_field.items()):
        yield ExceptionRaised(
            code="SCHEMA_DRIFT",
            key=f"{source}:{name}",
            message=f"{source} sends a field {name!r} this program does not know "
            f"({count} payloads in three days)",
        )


_UNREADABLE = "(order "


def _unreadable_orders(connection: sa.Connection, _rt: Runtime, now: datetime) -> Raised:
    """Orders that could not be read, until a payload of them can be."""
    raw, newer = t.raw_payloads.c, t.raw_payloads.alias("newer").c
    is_superseded = sa.exists().where(
        newer.key == raw.key, newer.source == raw.source, newer.id > raw.id
    )
    query = (
        sa.select(raw.source, raw.unknown_fields)
        # By the index of the few payloads that have any: its condition, and its column.
        .where(raw.unknown_fields != sa.literal("", literal_execute=True), raw.fetched_at <= now)
        .where(raw.unknown_fields.startswith(_UNREADABLE, autoescape=True), ~is_superseded)
    )
    for source, told in sorted(connection.execute(query)):
        yield ExceptionRaised(
            code="SCHEMA_DRIFT",
            key=f"{source}:{told}",
            message=f"{told[1:-1]}; it is not taken in, and what comes back of it has no order",
        )


def _waiting_money(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """Received and owed nothing yet; or paid and not received."""
    items, due = t.return_items.c, t.refunds_due.c
    ages = rt.policy.ages
    gates = t.gates.c
    received = (
        sa.select(*_ITEM, items.received_at, gates.reason)
        .select_from(t.return_items.outerjoin(t.refunds_due, items.unit_key == due.unit_key))
        .outerjoin(t.gates, sa.and_(gates.unit_key == items.unit_key, gates.gate == "refund"))
        .where(items.is_open, items.received_at <= now - ages.received_not_refunded)
        .where(items.refund_type.in_(("refund", "store_credit")), due.unit_key.is_(None))
    )
    # An exchange whose goods were found wanting: no replacement is ordered, and nobody asks.
    unreplaced = (
        sa.select(*_ITEM, items.received_at)
        .join_from(t.return_items, t.gates, gates.unit_key == items.unit_key)
        .where(items.is_open, items.received_at <= now - ages.received_not_refunded)
        .where(items.refund_type == "exchange", gates.gate == "exchange")
        .where(~gates.is_cleared, gates.code == "disposition_holds", gates.exception == "")
    )
    for kept in connection.execute(unreplaced):
        yield _unit(
            kept,
            "RECEIVED_NOT_REFUNDED",
            f"received {(now - kept.received_at).days} days ago to be exchanged; its condition "
            "holds the replacement",
            since=kept.received_at,
        )
    answered = said.of_open_units(connection, "money")
    for row in connection.execute(received):
        if row.unit_key in answered:
            continue  # a person said whether it is paid
        days = (now - row.received_at).days
        yield _unit(
            row,
            "RECEIVED_NOT_REFUNDED",
            f"received {days} days ago and not refunded"
            + (f": {row.reason}" if row.reason else ""),
            since=row.received_at,
        )
    first = ages.refunded_not_received[0]
    paid = (
        sa.select(
            *_ITEM,
            items.stage,
            due.amount_minor,
            due.currency,
            due.effective_at,
            early_money.left_us().label("has_left"),
        )
        .join_from(t.return_items, t.refunds_due, items.unit_key == due.unit_key)
        .where(items.is_open, items.received_at.is_(None), ~items.is_returnless)
        .where(
            sa.or_(
                due.effective_at <= now - first,
                sa.and_(items.stage.in_(_ENDED), early_money.left_us()),
            )
        )
        .where(due.state != "refused")
    )
    lost = _written_off(connection)
    for sent in connection.execute(paid):
        if sent.unit_key in lost:
            continue
        days = (now - sent.effective_at).days
        if sent.stage in _ENDED and sent.has_left:
            yield _unit(
                sent,
                "RETURN_EXPIRED_AFTER_REFUND",
                f"{sent.stage}, and refunded {days} days ago",
                amount_minor=sent.amount_minor,
                currency=sent.currency,
                since=sent.effective_at,
            )
            continue
        late = now - sent.effective_at >= ages.refunded_not_received[-1]
        yield _unit(
            sent,
            "REFUNDED_NOT_RECEIVED",
            f"refunded {days} days ago and not received",
            amount_minor=sent.amount_minor,
            currency=sent.currency,
            severity=Severity.S1 if late else Severity.S2,
            since=sent.effective_at,
        )


# The return is over and nothing came: what was paid for it is not waited for any more.
_ENDED = ("expired", "cancelled")


def _written_off(connection: sa.Connection) -> set[str]:
    """Open units of which a person said that they will not come."""
    found = said.of_open_units(connection, "condition")
    return {key for key, one in found.items() if one.kind is Kind.WRITE_OFF}


def _not_back(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """Goods that are not back, and what others have paid for them meanwhile."""
    lost = _written_off(connection)
    sent = [one for one in early_money.sent_by_others(connection) if one.unit_key not in lost]
    yield from _money_of_others(connection, rt, now, sent)
    yield from _on_the_way(connection, rt, now, sent)


def _money_of_others(
    connection: sa.Connection, rt: Runtime, now: datetime, sent: Sequence[early_money.SentByOthers]
) -> Raised:
    """Sent by somebody else for goods that are not back; or made and not sent."""
    edges = rt.policy.ages.refunded_not_received
    open_gates = _open_refund_gates(connection, [one.unit_key for one in sent])
    ended = _over(connection, [one.unit_key for one in sent])
    for one in sent:
        age = now - one.sent_at
        money: dict[str, Any] = {
            "amount_minor": one.amount_minor,
            "currency": one.currency,
            "since": one.sent_at,
        }
        message = f"refunded in Linnworks {age.days} days ago by somebody else and not received"
        if one.unit_key in ended:
            what = f"{ended[one.unit_key]}, and refunded in Linnworks {age.days} days ago"
            yield _unit(one, "RETURN_EXPIRED_AFTER_REFUND", f"{what} by somebody else", **money)
        elif age >= edges[0]:
            severity = Severity.S1 if age >= edges[-1] else Severity.S2
            yield _unit(one, "REFUNDED_NOT_RECEIVED", message, severity=severity, **money)
        elif one.unit_key not in open_gates:
            yield _unit(one, "REFUND_AHEAD_OF_GATE", message, **money)
    pays = rt.policy.refunds.executor is Executor.HAPPY_RETURNS
    for made in early_money.not_sent_by_others(connection, now if pays else now - _ACTION_WITHIN):
        hours = int((now - made.created_at).total_seconds() // 3600)
        orders = sorted({unit.order_number for unit in made.units if unit.order_number})
        yield ExceptionRaised(
            code="SEND_TO_CHANNEL_RISK" if pays else "REFUND_BOOKED_NOT_ACTIONED",
            key=f"refund:{made.header_id}",
            message=f"refund {made.header_id} was made in Linnworks by somebody else {hours} hours "
            "ago and not actioned"
            + (": actioned, it goes to the channel, and Happy Returns pays too" if pays else ""),
            amount_minor=made.amount_minor,
            currency=made.currency,
            unit_keys=tuple(unit.unit_key for unit in made.units),
            return_ids=tuple(sorted({unit.return_id for unit in made.units})),
            order_numbers=tuple(orders),
            since=made.created_at,
        )


# A refund that a person made is sent by the next day, or forgotten.
_ACTION_WITHIN = timedelta(hours=24)


def _over(connection: sa.Connection, units: list[str]) -> dict[str, str]:
    """Of these units those whose return expired or was cancelled, and which."""
    items = t.return_items.c
    query = sa.select(items.unit_key, items.stage).where(items.stage.in_(_ENDED))
    found = records.in_chunks(connection, query, items.unit_key, units)
    return {row.unit_key: row.stage for row in found}


def _open_refund_gates(connection: sa.Connection, units: list[str]) -> set[str]:
    gates = t.gates.c
    query = sa.select(gates.unit_key).where(gates.gate == "refund", gates.is_cleared)
    return {row.unit_key for row in records.in_chunks(connection, query, gates.unit_key, units)}


def _on_the_way(
    connection: sa.Connection, rt: Runtime, now: datetime, sent: Sequence[early_money.SentByOthers]
) -> Raised:
    """Handed over, approved perhaps, and not in the warehouse after its time."""
    items, due = t.return_items.c, t.refunds_due.c
    last = sa.func.coalesce(items.departed_at, items.approved_at, items.dropped_off_at)
    query = (
        sa.select(*_ITEM, items.stage, items.is_returnless, last.label("moved_at"))
        .select_from(t.return_items.outerjoin(t.refunds_due, items.unit_key == due.unit_key))
        .where(items.is_open, items.received_at.is_(None), ~items.is_returnless)
        .where(items.stage.in_(("dropped_off", "approved", "departed")))
        .where(due.unit_key.is_(None))
    )
    refunded = {one.unit_key: one.sent_at for one in sent}
    lost = _written_off(connection)
    old = now - rt.policy.ages.refunded_not_received[0]
    for row in connection.execute(query):
        sent_at = refunded.get(row.unit_key)
        if row.unit_key in lost:
            continue
        if sent_at is not None and sent_at <= old:
            continue  # REFUNDED_NOT_RECEIVED: one task to trace it
        moved = row.moved_at
        if isinstance(moved, str):  # an expression's type is not the column's on SQLite
            moved = datetime.fromisoformat(moved)
        if moved is None or moved > now - rt.policy.ages.in_transit:
            continue
        days = (now - moved).days
        yield _unit(
            row,
            "STUCK_IN_TRANSIT",
            f"{row.stage.replace('_', ' ')} {days} days ago and not received"
            + ("" if sent_at else "; not refunded"),
            since=moved,
        )


def _ended(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """Returns that expired, or were begun and never handed over: for information.

    One for which money has left is no information: ``RETURN_EXPIRED_AFTER_REFUND``.
    """
    items, due = t.return_items.c, t.refunds_due.c
    is_paid = sa.exists().where(due.unit_key == items.unit_key, early_money.left_us())
    query = sa.select(
        *_ITEM, items.stage, items.expired_at, items.started_at, items.dropped_off_at
    ).where(items.is_open, items.stage.in_(("started", "expired")), ~is_paid)
    paid_by_others = {one.unit_key for one in early_money.sent_by_others(connection)}
    for row in connection.execute(query):
        since = _given_up_at(row.stage, row.expired_at, row.started_at, rt)
        if since is not None and since <= now and row.unit_key not in paid_by_others:
            handed_over = row.dropped_off_at is not None
            what = "handed over, and expired" if handed_over else "begun and never handed over"
            yield _unit(row, "RETURN_EXPIRED", what, since=since)


def _given_up_at(
    stage: str, expired_at: datetime | None, started_at: datetime | None, rt: Runtime
) -> datetime | None:
    """When a return that was not handed over is no longer waited for."""
    if stage == "expired":
        return expired_at
    return started_at + rt.policy.ages.started_expires if started_at else None


def _acting(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """Writes whose outcome is not known, and those put aside before anything came of them.

    A write that was refused or stopped holds its rows too: those speak for it, unit by
    unit (``_held_rows``).
    """
    intents = t.intents.c
    unsettled = t.among(intents.state, t.UNSETTLED_INTENT)
    query = sa.select(t.intents).where(intents.state == "unknown", unsettled)
    for row in connection.execute(query):
        known = row.sent_at or row.created_at
        if known > now - rt.settings.settle:
            continue  # resting: it is read back first
        yield _write(row, known)
    query = sa.select(t.intents).where(intents.state == "suspense", unsettled)
    spoken_for = _references_held(connection)
    for row in connection.execute(query):
        if row.reference not in spoken_for:
            yield _write(row, row.sent_at or row.created_at)


def _write(row: Any, since: datetime) -> ExceptionRaised:
    return ExceptionRaised(
        code="WRITE_UNKNOWN_OUTCOME",
        key=row.intent_key,
        message=f"{row.kind} {row.reference or row.subject}: {row.error or row.state}",
        since=since,
    )


def _own_books(connection: sa.Connection, _rt: Runtime, _now: datetime) -> Raised:
    """Rows of ours that cannot be. Once held, the held row speaks for itself."""
    for flaw in soundness.flaws(connection):
        yield ExceptionRaised(
            code=flaw.code,
            key=f"{flaw.table}:{flaw.key}",
            message=flaw.message,
            severity=Severity.S1,
        )


def _references_held(connection: sa.Connection) -> set[str]:
    found: set[str] = set()
    for table, waiting in (
        (t.stock_adjustments, t.UNPOSTED_ADJUSTMENT),
        (t.exchange_orders, t.UNCREATED_EXCHANGE),
        (t.refunds_due, t.UNPAID_REFUND),
    ):
        query = sa.select(table.c.intent_key).where(
            t.among(table.c.state, waiting),
            table.c.state.in_(("held", "refused")),
        )
        # Asked for keys that are there, SQLite would go by the index of all there ever were.
        keys = filter(None, connection.execute(query).scalars())
        found.update(key.partition(":")[2] for key in keys)
    return found


def _held_rows(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """Adjustments, refunds and replacements that were stopped, or are odd though done."""
    items = t.return_items.c
    by_hand = _by_hand(connection)
    for table, default in (
        (t.stock_adjustments, "LINNWORKS_CANNOT_RETURN"),
        (t.exchange_orders, "EXCHANGE_ORDER_MISSING"),
        (t.refunds_due, "LINNWORKS_CANNOT_REFUND"),
    ):
        query = (
            sa.select(*_ITEM, table.c.note, table.c.created_at)
            .join_from(table, t.return_items, table.c.unit_key == items.unit_key)
            .where(items.is_open)
            .where(sa.or_(table.c.state.in_(("held", "refused")), table.c.note != ""))
        )
        for row in connection.execute(query):
            if table is t.stock_adjustments and row.unit_key in by_hand:
                continue
            code, _, why = row.note.partition(":")
            if code not in rules.CATALOGUE:
                code, why = default, row.note
            if code == "EXCHANGE_OOS" and now - row.created_at < rt.policy.exchange.wait_for_stock:
                continue  # it may come yet
            yield _unit(row, code, why.strip() or _HELD_WHY.get(code, "held for a person"))


_HELD_WHY = {"WRONG_LOCATION": "its disposition changed after it was restocked: move it"}


def _by_hand(connection: sa.Connection) -> set[str]:
    """Open units whose stock a person has seen to in Linnworks."""
    found = said.of_open_units(connection, "place")
    return {key for key, one in found.items() if one.kind is Kind.BY_HAND}


def _half_done(connection: sa.Connection, _rt: Runtime, _now: datetime) -> Raised:
    """Refunds that were carried out although the goods' stock movement was not."""
    due, moved, items = t.refunds_due.c, t.stock_adjustments.c, t.return_items.c
    query = (
        sa.select(*_ITEM, due.amount_minor, due.currency)
        .join_from(t.refunds_due, t.return_items, due.unit_key == items.unit_key)
        .join(t.stock_adjustments, moved.unit_key == items.unit_key)
        .where(items.is_open, due.state.in_(("actioned", "recorded")))
        .where(moved.state.in_(("intended", "held")), moved.kind != "move")
        .where(t.among(moved.state, t.UNPOSTED_ADJUSTMENT))
    )
    by_hand = _by_hand(connection)
    for row in connection.execute(query):
        if row.unit_key in by_hand:
            continue
        yield _unit(
            row,
            "REFUND_OK_STOCK_FAILED",
            "refunded, and its stock movement has not gone through",
            amount_minor=row.amount_minor,
            currency=row.currency,
        )


def _settings(connection: sa.Connection, rt: Runtime, _now: datetime) -> Raised:
    problems = disposition_rules.location_problems(rt.policy, records.location_names(connection))
    for problem in problems:
        yield ExceptionRaised(code="CONFIG_CONTRADICTION", key=problem, message=problem)


_SOURCES = (
    "linnworks.orders",
    "linnworks.bookings",
    "linnworks.refunds",
    "happy_returns.shipments",
)


def _stale(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    marks = t.watermarks.c
    query = sa.select(marks.name, marks.at, marks.updated_at).where(marks.name.in_(_SOURCES))
    for name, at, updated_at in connection.execute(query):
        if at is None or at > now + rt.policy.ages.source_stale:
            yield ExceptionRaised(
                code="SOURCE_STALE",
                key=name,
                message="its mark lay in the future: the clock was wrong; all is read again",
                since=min(updated_at, now),
            )
        elif at < now - rt.policy.ages.source_stale:
            minutes = int((now - at).total_seconds() // 60)
            yield ExceptionRaised(
                code="SOURCE_STALE",
                key=name,
                message=f"not read for {minutes} minutes",
                since=at,
            )


def _undelivered(connection: sa.Connection, _rt: Runtime, now: datetime) -> Raised:
    """Channels that take no messages: people are told nothing, and do not know."""
    failing: dict[str, list[alerts.Undelivered]] = defaultdict(list)
    for one in alerts.undelivered(connection, now):
        if one.since <= now - _ALERT_LATE:
            failing[one.channel].append(one)
    for channel, rows in failing.items():
        yield ExceptionRaised(
            code="ALERT_UNDELIVERED",
            key=channel,
            message=f"{channel} has not taken {len(rows)} messages: {rows[-1].error}",
            since=rows[0].since,
        )


_ALERT_LATE = timedelta(hours=1)

_PREDICATES: tuple[Callable[[sa.Connection, Runtime, datetime], Raised], ...] = (
    _unmatched,
    _held_gates,
    _unread_fields,
    _unknown_fields,
    _unreadable_orders,
    _waiting_money,
    _not_back,
    _ended,
    _acting,
    _own_books,
    _held_rows,
    _half_done,
    _settings,
    _stale,
    _undelivered,
    *finance_tasks.PREDICATES,
    *exchange_tasks.PREDICATES,
    *operations_tasks.PREDICATES,
    *conservation.PREDICATES,
)

# Of the exceptions only a reading back of the vendors can raise or clear.
RECONCILED_PREFIX = READ_BACK


def exceptions(rt: Runtime) -> dict[str, int]:
    """Open, keep and close exceptions by what holds now."""
    now = rt.now()
    with rt.engine.begin() as connection:
        carry_out.settle(connection, rt)
        raised = [e for predicate in _PREDICATES for e in predicate(connection, rt, now)]
        raised = worth.at_stake(connection, raised, currency=rt.policy.merchant.currency)
        return refresh(connection, raised, rt, now, belongs=lambda row: not is_read_back(row))


def is_read_back(row: Mapping[str, Any]) -> bool:
    """Whether only reading the vendors back can raise or clear it."""
    return str(row["key"]).startswith(RECONCILED_PREFIX)


def refresh(
    connection: sa.Connection,
    raised: list[ExceptionRaised],
    rt: Runtime,
    now: datetime,
    *,
    belongs: Callable[[Mapping[str, Any]], bool],
) -> dict[str, int]:
    """Apply what holds to the stored exceptions the caller speaks for (``belongs``)."""
    columns = t.exceptions.c
    query = sa.select(t.exceptions).where(t.among(columns.status, t.OPEN_EXCEPTION))
    rows = [row for found in connection.execute(query) if belongs(row := found._asdict())]
    ids = {(row["code"], row["key"]): row["id"] for row in rows}
    raised = _not_accepted(connection, raised, rt, now, belongs)
    stored = {(row["code"], row["key"]): _stored(row) for row in rows}
    changes = rules.refresh(list(stored.values()), raised, now=now, policy=rt.policy)
    upsert(
        connection,
        t.exceptions,
        _EXCEPTION_COLUMNS,
        [_exception_row(one, now, rt.policy.hash) for one in changes.opened],
    )
    for one in changes.updated:
        connection.execute(
            sa.update(t.exceptions)
            .where(columns.id == ids[one.code, one.key])
            .values(
                **_told(one),
                severity=one.severity.value,
                status=one.status,
                snoozed_until=one.snoozed_until,
                due_at=one.due_at,
                last_seen_at=now,
                occurrences=columns.occurrences + 1,
            )
        )
        before = stored[one.code, one.key]
        if before.status != one.status:
            worse = one.severity < before.severity
            said.note(
                connection,
                ids[one.code, one.key],
                "woken",
                actor=said.SYSTEM,
                now=now,
                detail=f"it is {one.severity} now" if worse else "its time has come",
            )
    gone = {(one.code, one.key) for one, _ in changes.resolved}
    carry_out.stopped_again(
        connection, [row["id"] for row in rows if (row["code"], row["key"]) not in gone], now=now
    )
    closing = [ids[one.code, one.key] for one, _ in changes.resolved]
    by_word = said.latest_from(connection, closing)
    for one, reason in changes.resolved:
        number = ids[one.code, one.key]
        how, who, why = "auto_resolved", "", reason
        if number in by_word:
            decision = by_word[number]
            how, who = "resolved", decision.actor
            why = f"{KINDS[decision.kind].title}: {decision.reason}; {reason}"
        connection.execute(
            sa.update(t.exceptions)
            .where(columns.id == number)
            .values(status=how, resolved_at=now, resolution=why, resolver=who, snoozed_until=None)
        )
        said.note(connection, number, "closed", actor=said.SYSTEM, now=now, detail=reason)
    return {
        "opened": len(changes.opened),
        "closed": len(changes.resolved),
        "open": len(rows) + len(changes.opened) - len(changes.resolved),
    }


def _not_accepted(
    connection: sa.Connection,
    raised: list[ExceptionRaised],
    rt: Runtime,
    now: datetime,
    belongs: Callable[[Mapping[str, Any]], bool],
) -> list[ExceptionRaised]:
    """Leave out what a person accepted as it is; an acceptance ends when that has changed."""
    accepted = {
        one.subject: one
        for one in said.waiting(connection, "difference")
        if belongs({"key": one.arguments["key"]})
    }
    if not accepted:
        return raised
    left, quiet = [], set()
    for told in raised:
        decision = accepted.get(f"{told.code}:{told.key}")
        if decision is None or decision.arguments["fingerprint"] != fingerprint(told):
            left.append(told)
        else:
            quiet.add(decision.id)
    for decision in accepted.values():
        if decision.id not in quiet:
            why = "it is gone, or is something else now"
            said.became(connection, decision.id, "ended", why, now=now, run_id=rt.run_id)
    return left


def _stored(row: Mapping[str, Any]) -> rules.OpenException:
    return rules.OpenException(
        code=row["code"],
        key=row["key"],
        severity=Severity(row["severity"]),
        owner=Owner(row["owner"]),
        message=row["message"],
        opened_at=row["opened_at"],
        due_at=row["due_at"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        unit_keys=tuple(json.loads(row["unit_keys"])),
        return_ids=tuple(json.loads(row["return_ids"])),
        order_numbers=tuple(json.loads(row["order_numbers"])),
        status=row["status"],
        snoozed_until=row["snoozed_until"],
    )


def _told(one: rules.OpenException) -> dict[str, Any]:
    return {
        "message": one.message,
        "amount_minor": one.amount_minor,
        "currency": one.currency,
        "unit_keys": json.dumps(one.unit_keys),
        "return_ids": json.dumps(one.return_ids),
        "order_numbers": json.dumps(one.order_numbers),
    }


_EXCEPTION_COLUMNS = (
    "code",
    "key",
    "owner",
    "severity",
    "status",
    "message",
    "amount_minor",
    "currency",
    "unit_keys",
    "return_ids",
    "order_numbers",
    "opened_at",
    "due_at",
    "last_seen_at",
    "occurrences",
    "policy_hash",
)


def _exception_row(one: rules.OpenException, now: datetime, policy_hash: str) -> tuple[Any, ...]:
    return (
        one.code,
        one.key,
        one.owner.value,
        one.severity.value,
        one.status,
        *_told(one).values(),
        one.opened_at,
        one.due_at,
        now,
        1,
        policy_hash,
    )


# --- closing what is done ---------------------------------------------------------


def settle_units(rt: Runtime) -> dict[str, int]:
    """Close the units to which nothing more is owed; the next tick does not see them.

    New evidence about a closed unit opens it again.
    """
    done = []
    now = rt.now()
    with rt.engine.begin() as connection:
        units = records.open_units(connection)
        stock = records.rows_of(connection, t.stock_adjustments, units)
        decisions = records.decisions_of(connection, units)
        refunds = records.rows_of(connection, t.refunds_due, units)
        orders = records.rows_of(connection, t.exchange_orders, units)
        paid_by_others = {one.unit_key for one in early_money.sent_by_others(connection)}
        lost, by_hand = _written_off(connection), _by_hand(connection)
        decided_money = said.of_open_units(connection, "money")
        unpaid = {key for key, one in decided_money.items() if one.kind is Kind.NO_REFUND}
        exposed = exchange_tasks.exposed(connection, rt.policy)
        refunded = {
            key
            for key, one in decided_money.items()
            if one.kind is Kind.EXCHANGE_TO_REFUND and not orders[key]
        }
        for key, unit in units.items():
            if unit.received is None and not unit.returnless:
                is_paid = bool(refunds[key]) or key in paid_by_others or key in exposed
                settled = all(row["state"] in {"actioned", "recorded"} for row in refunds[key])
                if (key in lost and settled) or (not is_paid and _is_over(unit, rt, now)):
                    done.append(key)
                continue
            decision = decisions.get(key)
            moved = stock[key]
            # One that was to be kept and came all the same is somebody's task.
            is_kept = unit.returnless and (
                unit.received is None or decision is None or decision.decided.effect == "none"
            )
            stock_done = is_kept or (
                all(row["state"] == "posted" and not row["note"] for row in moved)
                and (bool(moved) or (decision is not None and decision.decided.effect == "none"))
            )
            if decision is not None and decision.decided.source_code != unit.disposition_code:
                stock_done = False
            stock_done = stock_done or key in by_hand
            paid = any(
                row["state"] in {"actioned", "recorded"}
                and (row["tender"] != "exchange" or row["cleared_at"] is not None)
                for row in refunds[key]
            )
            replaced = any(row["state"] == "created" for row in orders[key])
            kind = "refund" if key in refunded else unit.refund_type
            money_done = paid or kind == "none" or key in unpaid
            if kind == "exchange":
                even = any(row["is_even"] for row in orders[key])
                money_done = replaced and (even or paid)
            if sealed_tasks.credit_differs(
                str(unit.refund_type),
                None if key in decided_money else unit.refund_amount_minor,
                refunds[key],
                rt.policy.refunds.tolerance_minor,
            ):
                continue  # somebody's task, until both say the same
            if stock_done and money_done:
                done.append(key)
        ledgered = _not_yet_ledgered(connection, done)
        done = [key for key in done if key not in ledgered]
        for part in records.chunks(done, 500):
            connection.execute(
                sa.update(t.return_items)
                .where(t.return_items.c.unit_key.in_(part))
                .values(is_open=False)
            )
        _watch_less(connection, done, units)
    return {"closed": len(done)}


def _is_over(unit: Unit, rt: Runtime, now: datetime) -> bool:
    """Whether a unit that never came is done with: cancelled, or given up for some days.

    For those days its expiry stands in the queue (``_ended``).
    """
    if unit.cancelled is not None:
        return True
    started = unit.started.at if unit.started else None
    expired = unit.expired.at if unit.expired else None
    given_up = _given_up_at(lifecycle.stage(unit), expired, started, rt)
    return given_up is not None and given_up + rt.policy.sla[Severity.S4] <= now


def _not_yet_ledgered(connection: sa.Connection, keys: list[str]) -> set[str]:
    late: set[str] = set()
    for table in (t.stock_adjustments, t.refunds_due):
        query = sa.select(table.c.unit_key).where(~table.c.is_ledgered)
        late.update(r[0] for r in records.in_chunks(connection, query, table.c.unit_key, keys))
    return late


def _watch_less(connection: sa.Connection, done: list[str], units: Mapping[str, Any]) -> None:
    """Orders without an open return are asked for less often again."""
    keys = {units[key].order_key for key in done}
    items, watch = t.return_items.c, t.watch_list.c
    busy = sa.exists().where(items.order_key == watch.order_key, items.is_open)
    for part in records.chunks(sorted(keys), 500):
        connection.execute(
            sa.update(t.watch_list)
            .where(watch.order_key.in_(part), ~busy)
            .values(reason="shipped", priority=1)
        )
