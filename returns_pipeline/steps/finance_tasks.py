"""What finance is asked to look at: days not complete, late arrivals, locked months, journals.

Predicates like those of ``control``, which evaluates them. Each holds over what is stored,
so that an exception closes itself when its cause is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain.calendar import business_date, day_bounds
from returns_pipeline.domain.model import ExceptionRaised, Severity
from returns_pipeline.steps import batching, periods, sealed_tasks
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import tables as t

Raised = Iterator[ExceptionRaised]


def waiting_for_a_batch(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """Days whose postings wait: not complete, sealed already, or of a locked month."""
    entry, zone = t.postings.c, rt.policy.merchant.time_zone
    paid = sa.case(
        (
            sa.and_(entry.role.startswith("refund_clearing"), entry.side == "credit"),
            entry.amount_minor,
        ),
        else_=0,
    )
    query = (
        sa.select(
            entry.business_date,
            entry.currency,
            sa.func.sum(paid).label("paid"),
            sa.func.count(sa.distinct(entry.unit_key)).label("units"),
            sa.func.min(entry.created_at).label("since"),
        )
        .where(entry.batch_id.is_(None), entry.business_date < business_date(now, zone))
        .group_by(entry.business_date, entry.currency)
        .order_by(entry.business_date, entry.currency)
    )
    rows = list(connection.execute(query))
    if not rows:
        return
    closed = set(connection.execute(sa.select(t.closed_days.c.business_date)).scalars())
    locked = periods.locked_months(connection)
    for row in rows:
        if row.business_date in closed:
            yield _late(row, now, zone)
        else:
            yield from _incomplete(connection, row, rt, now)
        month = periods.month_of(row.business_date)
        if month in locked:
            dated = periods.dated(row.business_date, locked)
            yield ExceptionRaised(
                code="PERIOD_LOCKED",
                key=f"{row.business_date}:{row.currency}",
                message=f"{row.units} units of {row.business_date} belong to {month}, which is "
                f"locked: closing the day dates them {dated}",
                amount_minor=int(row.paid),
                currency=row.currency,
            )


def _late(row: Any, now: datetime, zone: str) -> ExceptionRaised:
    is_prior_month = periods.month_of(row.business_date) < periods.month_of(
        business_date(now, zone)
    )
    return ExceptionRaised(
        code="LATE_ARRIVAL",
        key=f"{row.business_date}:{row.currency}",
        message=f"{row.units} units came late for {row.business_date}, which is sealed: the next "
        "close seals them in a batch of their own",
        amount_minor=int(row.paid),
        currency=row.currency,
        severity=Severity.S2 if is_prior_month else Severity.S4,
    )


def _incomplete(connection: sa.Connection, row: Any, rt: Runtime, now: datetime) -> Raised:
    day: date = row.business_date
    end = day_bounds(day, rt.policy.merchant.time_zone)[1] + rt.policy.finance.close_lag
    if now < end:
        return
    late = batching.unread(connection, end)
    if late:
        yield ExceptionRaised(
            code="BATCH_INCOMPLETE",
            key=f"{day}:{row.currency}",
            message=f"{day} waits to be sealed: {'; '.join(late)}",
            amount_minor=int(row.paid),
            currency=row.currency,
            since=end,
        )


def not_confirmed(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """Journals that were written long ago and have no number in the ledger yet."""
    within = rt.policy.finance.confirm_within
    if not within:
        return
    columns = t.batches.c
    query = (
        sa.select(columns.batch_id, columns.exported_at, columns.currency)
        .where(columns.exported_at <= now - within, columns.ledger_id == "")
        .order_by(columns.exported_at, columns.batch_id)
    )
    for row in connection.execute(query):
        days = (now - row.exported_at).days
        yield ExceptionRaised(
            code="POSTED_UNCONFIRMED",
            key=row.batch_id,
            message=f"the journal was written {days} days ago and has no number in the ledger",
            since=row.exported_at,
        )


PREDICATES = (waiting_for_a_batch, not_confirmed, *sealed_tasks.PREDICATES)
