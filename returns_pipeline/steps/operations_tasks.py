"""What operations and finance are asked to look at beside single units.

Shipments that do not come out, questions that are asked too late, hours of unusual approvals,
a mapping that changed, money that waits beyond its time. Predicates like those of
``control``, which evaluates them: each holds over what is stored and open, so that an
exception closes itself when its cause is gone.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain.model import ExceptionRaised, Severity
from returns_pipeline.steps.about import about
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t

Raised = Iterator[ExceptionRaised]

# A pallet is unpacked within this time of its first receipt.
_UNPACKED_WITHIN = timedelta(days=3)
# An order with an open return that was to be asked for so long ago is asked for too late.
_ASKED_WITHIN = timedelta(hours=6)
# An hour with so many approvals, and so many times what came in an hour of the week before.
_BURST, _BURST_TIMES = 50, 5
_TOLD_FOR, _WEEK = timedelta(days=1), timedelta(days=7)
# The parts of a policy by which conditions and accounts lead somewhere.
_MAPPING = ("disposition", "dispositions", "locations", "finance")


def shipments(connection: sa.Connection, _rt: Runtime, now: datetime) -> Raised:
    """Consolidated shipments of which more, or less, arrived than they are said to hold."""
    listed, items = t.shipment_items.c, t.return_items.c
    # From the open units on: a shipment that came out is not looked at again. In two readings,
    # since PostgreSQL goes through all units there ever were to make one of them.
    in_question = connection.scalars(
        sa.select(listed.shipment_id)
        .join_from(t.return_items, t.shipment_items, items.unit_key == listed.unit_key)
        .where(items.is_open)
    )
    query = sa.select(
        listed.shipment_id,
        items.unit_key,
        items.return_id,
        items.order_number,
        items.received_at,
        items.is_open,
    ).join_from(t.shipment_items, t.return_items, items.unit_key == listed.unit_key)
    held: dict[str, list[Any]] = defaultdict(list)
    for row in records.in_chunks(connection, query, listed.shipment_id, sorted(set(in_question))):
        held[row.shipment_id].append(row)
    for shipment, rows in sorted(held.items()):
        rows.sort(key=lambda row: row.unit_key)
        arrived = [row.received_at for row in rows if row.received_at is not None]
        missing = [row for row in rows if row.received_at is None and row.is_open]
        if arrived and missing and min(arrived) <= now - _UNPACKED_WITHIN:
            yield ExceptionRaised(
                code="SHIPMENT_SHORT",
                key=shipment,
                message=f"shipment {shipment}: {len(arrived)} of {len(rows)} units were received",
                since=min(arrived),
                **about(missing),
            )
    yield from _beside(connection)


def _beside(connection: sa.Connection) -> Raised:
    """Units received with a shipment that does not list them: others of their bag it does."""
    listed, items = t.shipment_items.c, t.return_items.c
    on_some = sa.exists().where(listed.unit_key == items.unit_key)
    query = sa.select(items.unit_key, items.return_id, items.order_number).where(
        items.is_open, items.received_at.is_not(None), items.dropped_off_at.is_not(None), ~on_some
    )
    surplus = sorted(connection.execute(query).all(), key=lambda row: row.unit_key)
    # Of the whole return: the others may be done with long ago.
    bags = sa.select(items.return_id, listed.shipment_id).join_from(
        t.shipment_items, t.return_items, items.unit_key == listed.unit_key
    )
    returns = {row.return_id for row in surplus if row.return_id}
    of_return = {
        row.return_id: row.shipment_id
        for row in records.in_chunks(connection, bags, items.return_id, sorted(returns))
    }
    beside: dict[str, list[Any]] = defaultdict(list)
    for row in surplus:
        if row.return_id in of_return:
            beside[of_return[row.return_id]].append(row)
    for shipment, rows in sorted(beside.items()):
        yield ExceptionRaised(
            code="SHIPMENT_OVER",
            key=shipment,
            message=f"shipment {shipment}: {len(rows)} units were received that it does not list",
            **about(rows),
        )


def freight_gap(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """Units that a look-up found on their way and that no shipment Happy Returns lists holds.

    One task: how many there are is the trend. What a shipment lists another unit of the
    return for is ``SHIPMENT_OVER``'s, once it is here.
    """
    listed, items = t.shipment_items.c, t.return_items.c
    policy = rt.policy.happy_returns
    other = t.return_items.alias()
    is_listed = sa.exists().where(listed.unit_key == items.unit_key)
    has_twin = sa.exists().where(
        other.c.return_id == items.return_id, listed.unit_key == other.c.unit_key
    )
    query = (
        sa.select(items.unit_key, items.return_id, items.order_number, items.departed_at)
        .where(items.is_open, items.departed_at <= now - policy.shipment_overlap)
        .where(items.departed_at > now - policy.initial_window, ~is_listed, ~has_twin)
    )
    rows = sorted(connection.execute(query).all(), key=lambda row: row.unit_key)
    if rows:
        yield ExceptionRaised(
            code="EVENT_GAP",
            key="happy_returns.shipments",
            message=f"{len(rows)} units have left a hub by their look-up, and no shipment that "
            "Happy Returns lists holds them",
            since=min(row.departed_at for row in rows),
            **about(rows),
        )


def questions_too_late(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """More orders with an open return than the rate lets Happy Returns be asked for."""
    watch = t.watch_list.c
    late = now - rt.policy.happy_returns.recheck_open - _ASKED_WITHIN
    query = sa.select(sa.func.count(), sa.func.min(watch.due_at)).where(
        watch.is_active, watch.priority == 0, watch.due_at < late
    )
    count, since = connection.execute(query).one()
    if count:
        yield ExceptionRaised(
            code="RATE_LIMIT_EXHAUSTED",
            key="happy_returns.look_ups",
            message="orders with an open return are asked for at Happy Returns hours later than "
            "they should be: there are more than the rate allows",
            since=_instant(since),
        )


def _instant(value: Any) -> datetime:
    # An expression's type is not the column's on SQLite.
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def approval_burst(connection: sa.Connection, _rt: Runtime, now: datetime) -> Raised:
    """Hours of the last day with far more approvals than units came in an hour of the week before.

    What is approved arrives, sooner or later: a week's receipts are the measure, since they
    are found by their day however long the history is.
    """
    items = t.return_items.c
    query = sa.select(items.approved_at).where(items.is_open, items.approved_at > now - _TOLD_FOR)
    hours = Counter(
        at.replace(minute=0, second=0, microsecond=0) for at in connection.execute(query).scalars()
    )
    bursts = {hour: count for hour, count in hours.items() if count >= _BURST}
    if not bursts:
        return
    arrived = t.receipts.c
    # Day by day: a range would be looked through.
    days = [(min(bursts) - timedelta(days=back)).date() for back in range(1, _WEEK.days + 1)]
    query = sa.select(sa.func.count()).where(arrived.business_date.in_(days))
    usual = int(connection.execute(query).scalar_one()) / (_WEEK / timedelta(hours=1))
    for hour, count in sorted(bursts.items()):
        if count > _BURST_TIMES * usual:
            yield ExceptionRaised(
                code="APPROVAL_BURST",
                key=f"{hour:%Y-%m-%dT%H}",
                message=f"in the hour from {hour:%d %B %H:%M} UTC Happy Returns approved more than "
                f"{_BURST_TIMES} times as many units as came in an hour of the week before",
                since=hour,
            )


def mapping_changed(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """Policies of the last days under which conditions or accounts lead elsewhere than before."""
    columns = t.policy_versions.c
    query = sa.select(columns.hash, columns.first_used_at, columns.body)
    versions = connection.execute(query.order_by(columns.first_used_at, columns.hash)).all()
    for before, after in pairwise(versions):
        if after.first_used_at <= now - rt.policy.sla[Severity.S4]:
            continue
        was, became = json.loads(before.body), json.loads(after.body)
        changed = [name for name in _MAPPING if was.get(name) != became.get(name)]
        if changed:
            yield ExceptionRaised(
                code="MAPPING_VERSION_CHANGED",
                key=after.hash,
                message=f"the policy's [{'], ['.join(changed)}] are others since "
                f"{after.first_used_at:%Y-%m-%d %H:%M} UTC; decided before stays decided",
                since=after.first_used_at,
            )


def money_waits(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """In stock, owed, and not paid after its time: no day was closed for it, or it stopped."""
    if not rt.live:
        return
    due, items, moved = t.refunds_due.c, t.return_items.c, t.stock_adjustments.c
    query = (
        sa.select(
            items.unit_key,
            items.return_id,
            items.order_number,
            due.amount_minor,
            due.currency,
            due.created_at,
        )
        .join_from(t.refunds_due, t.return_items, items.unit_key == due.unit_key)
        .join(t.stock_adjustments, moved.unit_key == due.unit_key)
        .where(t.among(due.state, t.UNPAID_REFUND), due.state.in_(("due", "batched")))
        .where(due.executor == "linnworks", due.note == "", items.is_open)
        .where(moved.kind != "move", moved.state == "posted")
        .where(due.created_at <= now - rt.policy.ages.received_not_refunded)
        .order_by(items.unit_key)
    )
    for row in connection.execute(query):
        days = (now - row.created_at).days
        yield ExceptionRaised(
            code="STOCK_OK_REFUND_MISSING",
            key=row.unit_key,
            message=f"in stock, and its refund has waited for {days} days to be paid",
            amount_minor=row.amount_minor,
            currency=row.currency,
            since=row.created_at,
            **about([row]),
        )


PREDICATES = (
    shipments,
    freight_gap,
    questions_too_late,
    approval_burst,
    mapping_changed,
    money_waits,
)
