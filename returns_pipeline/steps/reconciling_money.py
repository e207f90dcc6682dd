"""Three tellings of one day's money: what Happy Returns announced, what we sealed, what left.

Here: comparing what is stored of them, batch by batch and refund by refund; Linnworks' side
is as the bulk reading told it. Not here: reading it, and what the ledger makes of a batch.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain.calendar import business_date
from returns_pipeline.domain.model import ExceptionRaised, Severity
from returns_pipeline.domain.money import format_minor, share
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t


def differences(
    connection: sa.Connection, *, since: datetime, tolerance_minor: int, time_zone: str
) -> list[ExceptionRaised]:
    """Where the tellings of refunds of late differ, double refunds, and those of no return.

    Args:
        connection: To read by.
        since: Refunds settled since then are compared.
        tolerance_minor: How far one unit's amounts may differ.
        time_zone: The merchant's, for the day of what others sent.
    """
    return [
        *_batches(connection, since, tolerance_minor),
        *_sent(connection, since),
        *_twice(connection, since),
        *_of_no_return(connection, since, time_zone),
    ]


Figure = tuple[str, str, int | None, int, int | None]
"""What, its currency or none, and what Happy Returns, our books and Linnworks tell of it."""


def of_day(connection: sa.Connection, day: date) -> list[Figure]:
    """One business day three ways: units, and refunds by currency, as each was read to say."""
    return [_units_of_day(connection, day), *_money_of_day(connection, day)]


def _units_of_day(connection: sa.Connection, day: date) -> Figure:
    """Of the units received that day: those in stock, and those whose RMA row was read back."""
    arrived, moved, read = t.receipts.c, t.stock_adjustments.c, t.restock_readings.c
    # By order and SKU: that the search numbers its rows as the booking does is not published.
    was_read = sa.exists().where(
        read.order_id == moved.order_id, read.sku == moved.sku, read.actioned_at.is_not(None)
    )
    query = (
        sa.select(
            sa.func.count(arrived.id),
            sa.func.count(moved.id),
            sa.func.coalesce(sa.func.sum(sa.case((was_read, 1), else_=0)), 0),
        )
        .select_from(
            t.receipts.outerjoin(
                t.stock_adjustments,
                sa.and_(
                    moved.unit_key == arrived.unit_key,
                    moved.kind != "move",
                    moved.state == "posted",
                ),
            )
        )
        .where(arrived.business_date == day)
    )
    received, posted, told = connection.execute(query).one()
    return ("units received, and in stock", "", received, posted, int(told))


def _money_of_day(connection: sa.Connection, day: date) -> list[Figure]:
    due, items, seen = t.refunds_due.c, t.return_items.c, t.refund_readings.c
    announced = (
        sa.func.coalesce(items.refund_amount_minor, due.goods_minor)
        + sa.func.coalesce(items.shipping_refund_minor, due.shipping_minor)
        - due.fee_minor
    )
    # What an exchange leaves is told by nobody: it is ours, and Linnworks'.
    is_residual = sa.and_(due.tender == "exchange", t.to_pay() > 0)
    on_day = sa.or_(
        sa.and_(due.tender != "exchange", due.business_date == day),
        sa.and_(is_residual, due.cleared_on == day),
    )
    announced = sa.case((is_residual, t.to_pay()), else_=announced)
    query = (
        sa.select(
            due.tender,
            due.currency,
            due.executor,
            sa.func.sum(announced).label("announced"),
            sa.func.sum(t.to_pay()).label("ours"),
        )
        .join_from(t.refunds_due, t.return_items, items.unit_key == due.unit_key)
        .where(on_day)
        .group_by(due.tender, due.currency, due.executor)
        .order_by(due.tender, due.currency, due.executor)
    )
    of_day = (on_day, due.refund_header_id.is_not(None))
    headers = sa.select(due.refund_header_id).where(*of_day)
    orders = sa.select(due.order_id).where(*of_day)
    sent_query = (
        sa.select(seen.currency, sa.func.sum(seen.amount_minor))
        .where(seen.order_id.in_(orders), seen.refund_header_id.in_(headers))
        .where(seen.is_actioned, ~seen.is_deleted)
        .group_by(seen.currency)
    )
    sent = {row[0]: int(row[1]) for row in connection.execute(sent_query)}
    figures: list[Figure] = []
    for row in connection.execute(query):
        what = "store credit" if row.tender == "store_credit" else "refunds"
        there = sent.get(row.currency, 0) if row.executor == "linnworks" else None
        figures.append((what, row.currency, int(row.announced), int(row.ours), there))
    return figures


def _batches(
    connection: sa.Connection, since: datetime, tolerance_minor: int
) -> list[ExceptionRaised]:
    """Batches whose units Happy Returns now says were refunded with other amounts."""
    due, items = t.refunds_due.c, t.return_items.c
    query = (
        sa.select(
            due.batch_id,
            due.unit_key,
            due.currency,
            (due.goods_minor + due.shipping_minor - due.fee_minor).label("ours"),
            items.refund_amount_minor,
            items.shipping_refund_minor,
            items.fee_minor,
        )
        .join_from(t.refunds_due, t.return_items, items.unit_key == due.unit_key)
        .where(
            due.settled_at > since,
            due.batch_id.is_not(None),
            items.refund_amount_minor.is_not(None),
        )
        .where(
            items.currency == due.currency, due.fee_minor == sa.func.coalesce(items.fee_minor, 0)
        )
        .where(sa.func.abs(items.refund_amount_minor - due.goods_minor) > tolerance_minor)
    )
    by_batch: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(query):
        by_batch[row.batch_id].append(row)
    raised = []
    for batch_id, rows in sorted(by_batch.items()):
        currency = rows[0].currency
        apart = sum(row.refund_amount_minor - row.ours for row in rows)
        raised.append(
            ExceptionRaised(
                code="CONTROL_TOTAL_MISMATCH",
                key=f"batch:{batch_id}",
                message=f"{batch_id}: Happy Returns tells {len(rows)} of its units with other "
                f"amounts than were sealed, {format_minor(apart, currency)} {currency} in all",
                amount_minor=abs(apart),
                currency=currency,
                unit_keys=tuple(sorted(row.unit_key for row in rows)),
            )
        )
    return raised


def _sent(connection: sa.Connection, since: datetime) -> list[ExceptionRaised]:
    """Refunds of ours whose amount in Linnworks is another, or that are not sent there."""
    due, seen = t.refunds_due.c, t.refund_readings.c
    query = (
        sa.select(
            due.refund_header_id,
            due.order_id,
            due.unit_key,
            t.to_pay().label("amount_minor"),
            due.currency,
        )
        .where(due.settled_at > since, due.state == "actioned", due.executor == "linnworks")
        .where(due.refund_header_id.is_not(None))
    )
    owed: Counter[int] = Counter()
    units: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(query):
        owed[row.refund_header_id] += row.amount_minor
        units[row.refund_header_id].append(row)
    query = sa.select(seen.refund_header_id, seen.amount_minor, seen.is_actioned).where(
        ~seen.is_deleted, seen.refund_header_id.is_not(None), seen.currency != ""
    )
    told: Counter[int] = Counter()
    waiting: Counter[int] = Counter()
    orders = {rows[0].order_id for rows in units.values()}
    known = set()
    for row in records.in_chunks(connection, query, seen.order_id, sorted(orders)):
        known.add(row.refund_header_id)
        (told if row.is_actioned else waiting)[row.refund_header_id] += row.amount_minor
    raised = []
    for header, amount in sorted(owed.items()):
        if header not in known or told[header] == amount:
            continue
        currency = units[header][0].currency
        keys = tuple(sorted(row.unit_key for row in units[header]))
        if waiting[header] and not told[header]:
            code, what = "REFUND_BOOKED_NOT_ACTIONED", "is not sent in Linnworks"
            apart = amount
        else:
            code = "CONTROL_TOTAL_MISMATCH"
            there = format_minor(told[header], currency)
            what, apart = f"is of {there} in Linnworks", abs(told[header] - amount)
        raised.append(
            ExceptionRaised(
                code=code,
                key=f"refund:{header}",
                message=f"refund {header} of {format_minor(amount, currency)} {currency} {what}",
                amount_minor=apart,
                currency=currency,
                unit_keys=keys,
            )
        )
    return raised


def _twice(connection: sa.Connection, since: datetime) -> list[ExceptionRaised]:
    """Order lines for which money was sent twice: by us and somebody else, or by others alone.

    Beside ours, more units were paid than came back; of others alone, more than the units of
    the line that are returned were sold for.
    """
    seen, due, matched = t.refund_readings.c, t.refunds_due.c, t.matches.c
    query = (
        sa.select(seen.row_id, seen.quantity, seen.amount_minor, seen.currency, seen.order_id)
        .where(seen.row_id.is_not(None), ~seen.is_ours, ~seen.is_deleted)
        .where(seen.is_actioned, seen.actioned_at > since)
    )
    others: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(query):
        others[row.row_id].append(row)
    query = sa.select(due.row_id, due.unit_key).where(
        due.state.in_(("actioned", "recorded")), due.tender != "store_credit", t.to_pay() > 0
    )
    paid: dict[str, list[str]] = defaultdict(list)
    for row in records.in_chunks(connection, query, due.row_id, sorted(others)):
        paid[row.row_id].append(row.unit_key)
    lines = t.order_lines.c
    query = sa.select(
        matched.row_id, matched.unit_key, lines.total_minor, lines.quantity
    ).join_from(t.matches, t.order_lines, lines.row_id == matched.row_id)
    returned: dict[str, list[Any]] = defaultdict(list)
    for row in records.in_chunks(connection, query, matched.row_id, sorted(others)):
        returned[row.row_id].append(row)
    raised = []
    for row_id, units in sorted(returned.items()):
        rows, ours = others[row_id], paid[row_id]
        amount, currency = sum(row.amount_minor for row in rows), rows[0].currency
        sent = f"{format_minor(amount, currency)} {currency}"
        if ours:
            if sum(max(1, row.quantity) for row in rows) + len(ours) <= len(units):
                continue
            at_stake, keys = amount, ours
            what = f"we refunded {len(ours)}, and somebody else sent {sent} for it in Linnworks"
        else:
            sold = sum(share(one.total_minor, max(1, one.quantity), 0) for one in units)
            at_stake, keys = amount - sold, [one.unit_key for one in units]
            if len(rows) < 2 or not sold or at_stake <= 1:  # a penny is their rounding
                continue
            what = f"somebody else sent {sent} for them in Linnworks, {len(rows)} times"
        raised.append(
            ExceptionRaised(
                code="REFUND_DOUBLE_SUSPECTED",
                key=f"line:{row_id}",
                message=f"{len(units)} units of an order line are returned; {what}",
                amount_minor=at_stake,
                currency=currency,
                unit_keys=tuple(sorted(keys)),
            )
        )
    return raised


def _of_no_return(
    connection: sa.Connection, since: datetime, time_zone: str
) -> list[ExceptionRaised]:
    """Refunds that others sent on orders of which Happy Returns knows no return, day by day."""
    seen, matched, lines = t.refund_readings.c, t.matches.c, t.order_lines.c
    is_returned = sa.exists().where(lines.order_id == seen.order_id, matched.row_id == lines.row_id)
    query = (
        sa.select(
            seen.order_id, seen.amount_minor, seen.currency, seen.actioned_at, t.orders.c.reference
        )
        .join_from(t.refund_readings, t.orders, t.orders.c.order_id == seen.order_id)
        .where(~seen.is_ours, ~seen.is_deleted, seen.is_actioned, seen.actioned_at > since)
        .where(seen.currency != "", ~is_returned)
    )
    found: dict[tuple[date, str], list[Any]] = defaultdict(list)
    for row in connection.execute(query):
        found[business_date(row.actioned_at, time_zone), row.currency].append(row)
    raised = []
    for (day, currency), rows in sorted(found.items()):
        amount = sum(row.amount_minor for row in rows)
        orders = sorted({row.reference for row in rows})
        raised.append(
            ExceptionRaised(
                code="REFUND_AHEAD_OF_GATE",
                key=f"no-return:{day}:{currency}",
                message=f"on {day} somebody sent {format_minor(amount, currency)} {currency} in "
                f"Linnworks for {len(orders)} orders of which Happy Returns knows no return",
                amount_minor=amount,
                currency=currency,
                order_numbers=tuple(orders),
                severity=Severity.S3,
            )
        )
    return raised
