"""What must always hold of the books, asked of what was stored (``invariants``' other half).

Section 7 of the finance specification, but for what the table of a batch alone can answer.
Each question looks at the batches of the days being closed, or at the newest ones, and at
the units in them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from returns_pipeline.domain.postings import OTHER_SIDE
from returns_pipeline.steps import verification
from returns_pipeline.steps.invariants import Finding, Scope, batch_ids, finding
from returns_pipeline.steps.ledger import IN_TRANSIT, is_settlement
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t

_NEWEST_VERIFIED = 3
_TENDERS = {
    "refund_clearing": "refund",
    "store_credit_liability": "store_credit",
    "exchange_clearing": "exchange",
}


def no_more_vat_reversed_than_charged(scope: Scope) -> Finding:
    """Order lines of which more VAT was reversed than charged, or not all of it at the end."""
    due, lines = t.refunds_due.c, t.order_lines.c
    touched = sa.select(due.row_id).where(due.batch_id.in_(batch_ids(scope)))
    goods, vat = sa.func.sum(due.goods_minor), sa.func.sum(due.goods_vat_minor)
    whole = sa.and_(goods == lines.total_minor, sa.func.count() == lines.quantity)
    query = (
        sa.select(lines.order_id, lines.sku, lines.vat_minor, vat.label("reversed"))
        .join_from(t.refunds_due, t.order_lines, due.row_id == lines.row_id)
        .where(due.row_id.in_(touched), due.order_id == lines.order_id)
        .group_by(
            lines.row_id,
            lines.order_id,
            lines.sku,
            lines.vat_minor,
            lines.total_minor,
            lines.quantity,
        )
        .having(sa.or_(vat > lines.vat_minor, sa.and_(whole, vat != lines.vat_minor)))
    )
    rows = [
        {"order": r.order_id, "sku": r.sku, "charged": r.vat_minor, "reversed": int(r.reversed)}
        for r in scope.connection.execute(query)
    ]
    return finding(
        rows,
        "no order line has more VAT reversed than was charged, and a whole one all of it",
        "order lines have another VAT reversed than was charged (minor units)",
    )


def every_tender_line_is_its_refund(scope: Scope) -> Finding:
    """Clearing, store credit and exchange lines that are not what the unit is owed."""
    entry, due = t.postings.c, t.refunds_due.c
    of_tender = sa.or_(
        entry.role.startswith("refund_clearing"), entry.role.in_(tuple(_TENDERS)[1:])
    )
    query = sa.select(
        entry.batch_id, entry.unit_key, entry.role, entry.amount_minor, entry.event_key
    ).where(of_tender)
    lines = list(records.in_chunks(scope.connection, query, entry.batch_id, batch_ids(scope)))
    owed = {
        row.refund_key: row
        for row in records.in_chunks(
            scope.connection,
            sa.select(due.refund_key, due.amount_minor, due.tender, due.new_value_minor),
            due.refund_key,
            sorted({line.event_key.partition("~")[0] for line in lines if line.event_key}),
        )
    }
    rows: list[dict[str, Any]] = []
    for line in lines:
        refund = owed.get(line.event_key.partition("~")[0])
        if not line.event_key.partition("~")[0]:
            continue  # entered before events were noted
        owes = _owed_by(refund, line) if refund is not None else None
        if owes != line.amount_minor:
            rows.append(
                {
                    "batch": line.batch_id,
                    "unit": line.unit_key,
                    "role": line.role,
                    "sealed": line.amount_minor,
                    "owed": "nothing" if owes is None else owes,
                }
            )
    return finding(
        rows,
        "every refund, credit and exchange in the books is what its unit is owed",
        "lines of the books are not what their units are owed (minor units)",
        figures={"lines": len(lines)},
    )


def _owed_by(refund: Any, line: Any) -> int | None:
    """What a line of clearing must be; ``None``: there must be none."""
    tender = _TENDERS[line.role.partition(".")[0]]
    if is_settlement({"tender": refund.tender}, line.event_key):
        # Both sides of a meeting are the difference of its legs.
        both = {"exchange", "refund"}
        return abs(refund.amount_minor - refund.new_value_minor) if tender in both else None
    return int(refund.amount_minor) if refund.tender == tender else None


def goods_in_transit_are_owed_to_us(scope: Scope) -> Finding:
    """Units whose cost stands in transit although their stock was entered, or below nothing."""
    entry, moved = t.postings.c, t.stock_adjustments.c
    units = sa.select(entry.unit_key).where(
        entry.batch_id.in_(batch_ids(scope)), entry.role == IN_TRANSIT
    )
    signed = sa.case((entry.side == "debit", entry.amount_minor), else_=-entry.amount_minor)
    balance = sa.func.sum(signed)
    here = sa.exists().where(moved.unit_key == entry.unit_key, moved.is_ledgered)
    query = (
        sa.select(entry.unit_key, entry.currency, balance.label("balance"))
        .where(entry.role == IN_TRANSIT, entry.unit_key.in_(units))
        .group_by(entry.unit_key, entry.currency)
        .having(balance != 0)
    )
    wrong = query.having(balance < 0).union_all(query.where(here).having(balance > 0))
    rows = [
        {"unit": r.unit_key, "currency": r.currency, "in transit": int(r.balance)}
        for r in scope.connection.execute(wrong)
    ]
    return finding(
        rows,
        "what stands in transit is owed to us",
        "units stand in transit wrongly (minor units of cost)",
        severe=False,
    )


def reversals_take_back_their_originals(scope: Scope) -> Finding:
    """Reversals that do not come to nothing with their original, line by line."""
    columns, lines = t.batches.c, t.batch_lines.c
    query = sa.select(columns.batch_id, columns.reverses_id).where(columns.reverses_id.is_not(None))
    pairs = {
        row.batch_id: row.reverses_id
        for row in records.in_chunks(scope.connection, query, columns.batch_id, batch_ids(scope))
    }
    of_batch: dict[str, list[Any]] = defaultdict(list)
    told = sa.select(t.batch_lines).order_by(lines.number)
    wanted = sorted({*pairs, *pairs.values()})
    for line in records.in_chunks(scope.connection, told, lines.batch_id, wanted):
        of_batch[line.batch_id].append(line)
    rows = []
    for back, original in sorted(pairs.items()):
        taken = [(_what(ln), OTHER_SIDE[ln.side]) for ln in of_batch[back]]
        if taken != [(_what(ln), ln.side) for ln in of_batch[original]]:
            rows.append({"reversal": back, "original": original})
    return finding(
        rows,
        "every reversal and its original come to nothing",
        "reversals are not their originals with the sides swapped",
        figures={"reversals": len(pairs)},
    )


def _what(line: Any) -> tuple[Any, ...]:
    return (line.number, line.role, line.account, line.tax_key, line.amount_minor, line.base_minor)


def batches_come_out_of_their_payloads(scope: Scope) -> Finding:
    """Sealed batches that the kept payloads do not come to, byte by byte."""
    ids = batch_ids(scope)
    if not scope.days:
        ids = ids[:_NEWEST_VERIFIED]
    rows = []
    for batch_id in ids:
        verdict = verification.verify_in(scope.connection, batch_id)
        if not verdict.holds:
            told = "; ".join(verdict.differences[:3]) or "its hash differs"
            rows.append({"batch": batch_id, "how": told})
    return finding(
        rows,
        "the batches are what their payloads come to",
        "batches are not what their payloads come to",
        figures={"verified": len(ids)},
    )


def every_unit_is_somewhere(scope: Scope) -> Finding:
    """Units that are neither received nor on their way, kept, missing, expired or cancelled."""
    items = t.return_items.c
    where = sa.case(
        (items.received_at.is_not(None), "received"),
        (items.is_returnless, "kept"),
        (items.cancelled_at.is_not(None), "cancelled"),
        (items.expired_at.is_not(None), "expired"),
        (
            sa.or_(
                items.departed_at.is_not(None),
                items.approved_at.is_not(None),
                items.dropped_off_at.is_not(None),
            ),
            "in transit",
        ),
        (items.started_at.is_not(None), "begun"),
        else_="nowhere",
    )
    counted: Counter[str] = Counter()
    rows = []
    for place, stage, units in scope.connection.execute(
        sa.select(where, items.stage, sa.func.count()).group_by(where, items.stage)
    ):
        counted[place] += units
        if place == "nowhere" or (place == "received") != (stage == "received"):
            rows.append({"stage": stage, "where": place, "units": units})
    return finding(
        rows,
        "every unit that was announced is somewhere",
        "stages of units are not what their facts say",
        figures={place.replace(" ", "_"): n for place, n in sorted(counted.items())},
    )


def refunds_sent_are_those_of_the_batches(scope: Scope) -> Finding:
    """Refunds in Linnworks, ours by their header, of another amount than the batches say."""
    due, seen = t.refunds_due.c, t.refund_readings.c
    told = (
        sa.select(due.refund_header_id, sa.func.sum(t.to_pay()).label("owed"))
        .where(due.batch_id.in_(batch_ids(scope)), due.state == "actioned")
        .where(due.refund_header_id.is_not(None))
        .group_by(due.refund_header_id)
        .subquery()
    )
    sent = sa.func.sum(seen.amount_minor)
    query = (
        sa.select(told.c.refund_header_id, told.c.owed, sent.label("sent"))
        .join_from(told, t.refund_readings, seen.refund_header_id == told.c.refund_header_id)
        .where(~seen.is_deleted, seen.is_actioned)
        .group_by(told.c.refund_header_id, told.c.owed)
        .having(sent != told.c.owed, sent > 0)
    )
    rows = [
        {"refund": r.refund_header_id, "in the books": int(r.owed), "in Linnworks": int(r.sent)}
        for r in scope.connection.execute(query)
    ]
    return finding(
        rows,
        "Linnworks sent what the batches say, as far as it was read back",
        "refunds in Linnworks are of another amount than in the books (minor units)",
        severe=False,
    )


def yesterday_is_sealed(scope: Scope) -> Finding:
    """Business days that ended and were not closed by the policy's ``sealed_by``.

    Those after the last one that was closed, and those left out before it that have something
    to be sealed. Of a merchant who never closed a day nothing is asked.
    """
    zone = ZoneInfo(scope.policy.merchant.time_zone)
    local = scope.now.astimezone(zone)
    last_due = local.date() - timedelta(
        days=1 if local.time() >= scope.policy.finance.sealed_by else 2
    )
    columns, entry = t.closed_days.c, t.postings.c
    closed = scope.connection.execute(sa.select(sa.func.max(columns.business_date))).scalar_one()
    if closed is None:
        return finding([], "every day that is over is sealed", "")
    left_out = scope.connection.execute(
        sa.select(entry.business_date)
        .distinct()
        .where(
            entry.batch_id.is_(None),
            entry.business_date < min(closed, last_due),
            ~sa.exists().where(columns.business_date == entry.business_date),
        )
        .order_by(entry.business_date)
    ).scalars()
    behind = (closed + timedelta(days=n) for n in range(1, (last_due - closed).days + 1))
    rows = [{"day": day, "last sealed": closed} for day in (*left_out, *behind)]
    return finding(
        rows,
        "every day that is over is sealed",
        f"business days should be sealed by now, from {rows[0]['day'] if rows else ''} on",
        figures={"days": len(rows)},
    )
