"""Our own calendar of locked periods: months that take no more entries.

No ledger is relied on to stop us: what belongs to a locked month is dated the first open
day after it and keeps the day it is of.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading

_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])")


class NoPeriod(ValueError):  # noqa: N818 (it says what is so)
    """A text that names no month."""


def month(text: str) -> str:
    """A month as the calendar keeps it, ``2026-03``.

    Raises:
        NoPeriod: When it is none.
    """
    if not _MONTH.fullmatch(text):
        msg = f"{text!r} is no month: write it as 2026-03"
        raise NoPeriod(msg)
    return text


def month_of(day: date) -> str:
    """The month a day is in."""
    return f"{day:%Y-%m}"


def locked_months(connection: sa.Connection) -> frozenset[str]:
    """The months that are locked now."""
    columns = t.period_locks.c
    last = sa.select(sa.func.max(columns.id)).group_by(columns.period)
    query = sa.select(columns.period).where(columns.is_locked, columns.id.in_(last))
    return frozenset(connection.execute(query).scalars())


def dated(day: date, locked: Collection[str]) -> date:
    """The day an entry of ``day`` is dated: itself, or the first day of the next open month."""
    while month_of(day) in locked:
        day = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return day


def change(
    engine: sa.Engine, period: str, *, locked: bool, reason: str, by: str, now: datetime
) -> bool:
    """Lock or unlock a month; whether that changed anything.

    Raises:
        NoPeriod: When the text names no month.
    """
    period = month(period)
    with engine.begin() as connection:
        if (period in locked_months(connection)) == locked:
            return False
        connection.execute(
            sa.insert(t.period_locks).values(
                period=period, is_locked=locked, reason=reason, changed_by=by, changed_at=now
            )
        )
    return True


def history(engine: sa.Engine) -> list[dict[str, Any]]:
    """Every change of the calendar, oldest first."""
    query = sa.select(t.period_locks).order_by(t.period_locks.c.id)
    with reading(engine) as connection:
        return [row._asdict() for row in connection.execute(query)]
