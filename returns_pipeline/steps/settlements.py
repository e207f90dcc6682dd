"""The two legs of an uneven exchange meet: what was given back, and what was ordered for it.

The return leg stands on exchange clearing since the goods came back. Once its replacement is
ordered, or a person has decided that it is refunded instead, the difference is known to the
penny: a residual that is paid like any refund, or an extra payment that the shop has taken.
Each exchange meets once, and what is entered of it is never changed. Which lines that makes
is ``domain.postings``'; entering them is ``money``'s.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain.calendar import business_date
from returns_pipeline.domain.decisions import Decision, Kind
from returns_pipeline.domain.model import Executor, RefundType
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import decisions as said
from returns_pipeline.storage import tables as t


def meet(connection: sa.Connection, rt: Runtime) -> int:
    """Let the legs of open exchanges meet that can; how many of them leave a difference.

    A residual is due from then; its batch is the one that holds the meeting, whichever holds
    the return leg.

    Args:
        connection: Inside the caller's transaction.
        rt: The run, for the policy.
    """
    due, made, items = t.refunds_due.c, t.exchange_orders.c, t.return_items.c
    query = (
        sa.select(
            due.id,
            due.unit_key,
            due.amount_minor,
            due.effective_at,
            made.state.label("ordered"),
            made.is_even,
            made.created_order_at,
            (made.unit_price_minor * made.quantity).label("new_value_minor"),
        )
        .join_from(t.return_items, t.refunds_due, due.unit_key == items.unit_key)
        .outerjoin(t.exchange_orders, made.unit_key == items.unit_key)
        .where(items.is_open, due.tender == RefundType.EXCHANGE.value)
        .where(due.is_ledgered, due.cleared_at.is_(None), due.state != "refused")
    )
    rows = connection.execute(query).all()
    if not rows:
        return 0
    decided = {
        key: one
        for key, one in said.of_open_units(connection, "money").items()
        if one.kind is Kind.EXCHANGE_TO_REFUND
    }
    executor = (rt.policy.refunds.executor or Executor.LINNWORKS).value
    zone = rt.policy.merchant.time_zone
    left = 0
    for row in rows:
        met = _met(row, decided.get(row.unit_key))
        if met is None:
            continue
        value, at = met
        values: dict[str, Any] = {
            "new_value_minor": value,
            "cleared_at": at,
            "cleared_on": business_date(at, zone),
            "is_ledgered": value == row.amount_minor,  # then there is nothing to enter
        }
        left += value != row.amount_minor
        if value < row.amount_minor:
            values |= {"state": "due", "executor": executor, "batch_id": None, "settled_at": None}
        connection.execute(sa.update(t.refunds_due).where(due.id == row.id).values(**values))
    return left


def _met(row: Any, decision: Decision | None) -> tuple[int, datetime] | None:
    """What was ordered for the unit, gross, and since when that is known; ``None``: not yet."""
    if row.ordered == "created" and not row.is_even:
        return row.new_value_minor, max(row.created_order_at, row.effective_at)
    if row.ordered is None and decision is not None:
        return 0, max(decision.decided_at, row.effective_at)
    return None
