"""What finance is asked to look at in sealed batches: store credit, roundings, refused files.

Predicates like those of ``finance_tasks``, which lists them for ``control``. What waits to be
sealed is ``finance_tasks``' own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain.model import ExceptionRaised, RefundType
from returns_pipeline.domain.money import format_minor
from returns_pipeline.reporting.exports import TARGETS
from returns_pipeline.steps import exporting, ledger_answers
from returns_pipeline.steps.about import about
from returns_pipeline.steps.invariants import RECENT
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import decisions as said
from returns_pipeline.storage import tables as t

Raised = Iterator[ExceptionRaised]
_CREDIT = RefundType.STORE_CREDIT.value
_LIABILITY = "store_credit_liability"
_DONE = frozenset({"recorded", "actioned"})


def refused_by_the_ledger(connection: sa.Connection, _rt: Runtime, _now: datetime) -> Raised:
    """Files that an accounting program refused, as people told, and has not taken since."""
    for row in ledger_answers.refused(connection):
        anew = "; it was written anew since: import it again" if row.is_written_anew else ""
        back = "; the batch was taken back since" if row.state == "reversed" else ""
        yield ExceptionRaised(
            code="EXPORT_REJECTED",
            key=f"{row.batch_id}:{row.target}",
            message=f"{TARGETS[row.target].TITLE} refused {row.batch_id}: {row.reason}{anew}{back}",
            since=row.told_at,
        )


# --- roundings ----------------------------------------------------------------------


def rounding_over_limit(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """Batches whose VAT differs from what Xero computes by more than pennies.

    The newest ones, and those that are in the queue for it.
    """
    per_line, limit = (
        rt.policy.finance.rounding_per_line_minor,
        rt.policy.finance.rounding_limit_minor,
    )
    columns, queue, done = t.batches.c, t.exceptions.c, t.batch_exports.c
    waiting = sa.select(queue.key).where(
        t.among(queue.status, t.OPEN_EXCEPTION), queue.code == "ROUNDING_OVER_LIMIT"
    )
    written = sa.exists().where(done.batch_id == columns.batch_id, done.target == "xero")
    looked_at = sa.select(columns.batch_id).where(
        sa.or_(columns.sealed_at > now - RECENT, columns.batch_id.in_(waiting)),
        columns.state != "reversed",
        written,
    )
    ids = list(connection.execute(looked_at).scalars())
    for one in exporting.roundings(connection, ids, rt.policy):
        most = min([n for n in (per_line * one.lines, limit) if n] or [abs(one.minor)])
        if abs(one.minor) > most:
            yield ExceptionRaised(
                code="ROUNDING_OVER_LIMIT",
                key=one.batch_id,
                message=f"the VAT rounding of {one.batch_id} for Xero is "
                f"{format_minor(abs(one.minor), one.currency)} {one.currency}, over "
                f"{format_minor(most, one.currency)}: {one.lines} lines",
                amount_minor=abs(one.minor),
                currency=one.currency,
            )


# --- store credit -------------------------------------------------------------------


def credit_differs(
    told: str, told_minor: int | None, refunds: Sequence[Mapping[str, Any]], tolerance: int
) -> bool:
    """Whether the credit that a unit's shopper was given is not what the books have.

    Args:
        told: What Happy Returns says the shopper got.
        told_minor: How much, where it says so.
        refunds: The unit's rows of ``refunds_due``.
        tolerance: By how much the amounts may differ.
    """
    for row in refunds:
        if row["state"] not in _DONE or _CREDIT not in {told, row["tender"]}:
            continue
        if told != row["tender"]:
            return True
        if told_minor is not None and abs(told_minor - row["goods_minor"]) > tolerance:
            return True
    return False


def credit_unlike_its_liability(connection: sa.Connection, rt: Runtime, _now: datetime) -> Raised:
    """Open units whose store credit is told otherwise than it was entered."""
    items, due = t.return_items.c, t.refunds_due.c
    open_keys = sa.select(items.unit_key).where(items.is_open)
    query = (
        sa.select(
            items.unit_key,
            items.return_id,
            items.order_number,
            items.refund_type,
            items.refund_amount_minor,
            due.state,
            due.tender,
            due.amount_minor,
            due.goods_minor,
            due.currency,
            due.batch_id,
        )
        .join_from(t.refunds_due, t.return_items, due.unit_key == items.unit_key)
        .where(due.unit_key.in_(open_keys), due.state.in_(sorted(_DONE)))
        .where(sa.or_(items.refund_type == _CREDIT, due.tender == _CREDIT))
        .order_by(due.unit_key)
    )
    decided = said.of_open_units(connection, "money")
    tolerance = rt.policy.refunds.tolerance_minor
    for row in connection.execute(query):
        told = row.refund_type or ""
        minor = None if row.unit_key in decided else row.refund_amount_minor
        if not credit_differs(told, minor, [row._asdict()], tolerance):
            continue
        booked = f"{format_minor(row.amount_minor, row.currency)} {row.currency}"
        says = told.replace("_", " ") or "nothing"
        if told == row.tender and minor is not None:
            says += f" of {format_minor(minor, row.currency)}"
        yield ExceptionRaised(
            code="STORE_CREDIT_UNMATCHED",
            key=row.unit_key,
            message=f"Happy Returns says {says}, in the books it is {row.tender.replace('_', ' ')} "
            f"of {booked}{f' ({row.batch_id})' if row.batch_id else ''}",
            amount_minor=row.amount_minor,
            currency=row.currency,
            **about([row]),
        )


def credit_taken_out_of_the_books(
    connection: sa.Connection, _rt: Runtime, _now: datetime
) -> Raised:
    """Batches with store credit that were taken back, and not made anew: it was given."""
    line, made = t.batch_lines.c, t.batches.alias("made")
    columns = t.batches.c
    anew = sa.exists().where(made.c.replaces_id == columns.batch_id)
    gone = sa.select(columns.batch_id).where(columns.state == "reversed", ~anew)
    query = (
        sa.select(line.batch_id, line.amount_minor, line.currency, line.unit_keys)
        .where(line.batch_id.in_(gone), line.role == _LIABILITY, line.side == "credit")
        .order_by(line.batch_id)
    )
    for row in connection.execute(query):
        units = tuple(json.loads(row.unit_keys))
        yield ExceptionRaised(
            code="STORE_CREDIT_UNMATCHED",
            key=row.batch_id,
            message=f"{format_minor(row.amount_minor, row.currency)} {row.currency} of store "
            f"credit was given for {len(units)} units and stands in no books: {row.batch_id} was "
            "taken back and not made anew",
            amount_minor=row.amount_minor,
            currency=row.currency,
            unit_keys=units,
        )


PREDICATES = (
    refused_by_the_ledger,
    rounding_over_limit,
    credit_unlike_its_liability,
    credit_taken_out_of_the_books,
)
