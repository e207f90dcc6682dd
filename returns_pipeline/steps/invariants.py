"""What must always hold, asked of what was stored: one set-based question an invariant.

Each question looks at open or recent rows only, so that its cost does not grow with
history. Here: the questions and what they find, in words and figures for people. Not here:
which asset carries which question and what its failure stops (``defs.checks``), and the
value rules of a single table (``schemas``).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain import disposition as disposition_rules
from returns_pipeline.domain.decisions import Kind
from returns_pipeline.domain.model import Stage
from returns_pipeline.domain.money import format_minor
from returns_pipeline.domain.policy import Policy, fold, sends_at_once
from returns_pipeline.steps import alerts, early_money, soundness
from returns_pipeline.storage import decisions as said
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t

# What happened since; whatever is older was asked about when it was new.
RECENT = timedelta(days=3)
_RECENT_ROWS = 500
_RECENT_BATCHES = 40
# A write that rests unknown is read back by the first poll after its settle time.
_TWO_POLLS = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a question is asked of: the database, the policy, the instant, the days.

    ``days`` are the business days being closed; empty: whatever is open or recent.
    """

    connection: sa.Connection
    policy: Policy
    now: datetime
    settle: timedelta = timedelta(minutes=30)
    live: bool = True
    days: tuple[date, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether the invariant holds; where not, how bad it is, in words, figures and rows."""

    holds: bool
    message: str
    severe: bool = True
    figures: Mapping[str, int] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()


def finding(
    rows: Sequence[Mapping[str, Any]],
    good: str,
    bad: str,
    *,
    severe: bool = True,
    figures: Mapping[str, int] | None = None,
) -> Finding:
    """The finding that ``rows`` are what is wrong; ``bad`` follows their number."""
    message = f"{len(rows)} {bad}" if rows else good
    return Finding(not rows, message, severe, {"failures": len(rows), **(figures or {})}, rows)


def _only_when_live(scope: Scope) -> Finding | None:
    return None if scope.live else Finding(holds=True, message="shadow mode: nothing is posted")


# --- returns and orders -----------------------------------------------------------


def every_return_has_an_order(scope: Scope) -> Finding:
    """Orphan returns: open units for which Linnworks has no order row.

    Severe once one is older than the policy's ``orphan_old``.
    """
    items, found = t.return_items.c, t.matches.c
    query = (
        sa.select(items.return_id, items.order_number, found.code, found.outcome, found.since_at)
        .join_from(t.return_items, t.matches, items.unit_key == found.unit_key)
        .where(items.is_open)
        .order_by(found.since_at, items.unit_key)
    )
    found_rows = scope.connection.execute(query).all()
    orphans = [found_rows[place] for place in _orphans([row.outcome for row in found_rows])]
    rows = [
        {
            "return": row.return_id,
            "order": row.order_number,
            "reason": row.code,
            "days": (scope.now - row.since_at).days,
        }
        for row in orphans
    ]
    long_ago = scope.now - scope.policy.ages.orphan_old
    old = sum(row.since_at <= long_ago for row in orphans)
    return finding(
        rows,
        "every open return has its order",
        f"returned units have no Linnworks order, {old} of them for longer than "
        f"{scope.policy.ages.orphan_old.days} days",
        severe=old > 0,
        figures={"old": old, "open_units": len(found_rows)},
    )


def _orphans(outcomes: list[str]) -> list[int]:
    """Where pandera finds an orphan among the outcomes."""
    # A second of pandas and pandera, which only a run that checks has to wait for.
    import pandas as pd  # noqa: PLC0415
    import pandera.pandas as pa  # noqa: PLC0415
    from pandera.errors import SchemaErrors  # noqa: PLC0415

    schema = pa.DataFrameSchema({"outcome": pa.Column(str, pa.Check.ne("orphan"))})
    try:
        schema.validate(pd.DataFrame({"outcome": outcomes}, dtype=str), lazy=True)
    except SchemaErrors as error:
        return sorted(int(place) for place in error.failure_cases["index"])
    return []


def no_more_returned_than_despatched(scope: Scope) -> Finding:
    """Order lines to which more returned units were matched than were despatched."""
    found, items, lines = t.matches.c, t.return_items.c, t.order_lines.c
    touched = (
        sa.select(found.row_id)
        .join_from(t.return_items, t.matches, items.unit_key == found.unit_key)
        .where(items.is_open, found.row_id.is_not(None))
    )
    query = (
        sa.select(lines.order_id, lines.sku, lines.quantity, sa.func.count().label("returned"))
        .join_from(t.matches, t.order_lines, found.row_id == lines.row_id)
        .where(found.row_id.in_(touched))
        .group_by(lines.row_id, lines.order_id, lines.sku, lines.quantity)
        .having(sa.func.count() > lines.quantity)
    )
    rows = [
        {"order": r.order_id, "sku": r.sku, "despatched": r.quantity, "returned": r.returned}
        for r in scope.connection.execute(query)
    ]
    return finding(
        rows,
        "no order line has more units returned than were despatched",
        "order lines have more units returned than were despatched",
    )


# --- stock ------------------------------------------------------------------------


def every_disposition_has_a_location(scope: Scope) -> Finding:
    """Policy rows whose location Linnworks does not have, or where good and bad would mix."""
    names = records.location_names(scope.connection)
    problems = disposition_rules.location_problems(scope.policy, names)
    return finding(
        [{"problem": problem} for problem in problems],
        "every disposition leads to a location that Linnworks has",
        "policy rows lead nowhere, or mix sellable and damaged: " + "; ".join(problems),
        figures={"locations": len(names)},
    )


def _current_adjustments(scope: Scope) -> sa.CompoundSelect[Any]:
    """Adjustments not posted yet, and those posted lately: each by its own index."""
    moved = t.stock_adjustments.c
    columns = (
        moved.id,
        moved.unit_key,
        moved.kind,
        moved.location_id,
        moved.is_sellable,
        moved.state,
    )
    return sa.union_all(
        sa.select(*columns).where(t.among(moved.state, t.UNPOSTED_ADJUSTMENT)),
        sa.select(*columns).where(moved.posted_at > scope.now - RECENT),
    )


def no_unit_restocked_twice(scope: Scope) -> Finding:
    """Units with more than one restock: stock would show a unit that is not there."""
    current, moved = _current_adjustments(scope).subquery(), t.stock_adjustments.c
    query = (
        sa.select(moved.unit_key, sa.func.count().label("restocks"))
        .where(moved.kind != "move", moved.unit_key.in_(sa.select(current.c.unit_key)))
        .group_by(moved.unit_key)
        .having(sa.func.count() > 1)
    )
    rows = [{"unit": r.unit_key, "restocks": r.restocks} for r in scope.connection.execute(query)]
    return finding(rows, "no unit was restocked twice", "units were restocked more than once")


def sellable_and_damaged_never_share_a_location(scope: Scope) -> Finding:
    """Locations to which both sellable and other units are going, or went lately.

    Severe, and so stopping the restocks, while one of them is still to be posted.
    """
    current = _current_adjustments(scope).subquery().c

    def total(what: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.sum(sa.case((what, 1), else_=0))

    good, bad = total(current.is_sellable), total(~current.is_sellable)
    query = (
        sa.select(
            current.location_id,
            good.label("sellable"),
            bad.label("other"),
            total(current.state != "posted").label("waiting"),
        )
        .where(current.location_id != "")
        .group_by(current.location_id)
        .having(good > 0, bad > 0)
    )
    names = records.location_names(scope.connection)
    rows = [
        {
            "location": names.get(r.location_id, r.location_id),
            "sellable": r.sellable,
            "other": r.other,
            "waiting": r.waiting,
        }
        for r in scope.connection.execute(query)
    ]
    return finding(
        rows,
        "sellable and other units go to locations of their own",
        "locations hold both sellable and other units",
        severe=any(row["waiting"] for row in rows),
    )


# --- money ------------------------------------------------------------------------


def no_refund_before_receipt(scope: Scope) -> Finding:
    """Money that left for goods which are not back, by how long ago it left.

    What others sent in Linnworks is counted too. Severe once it left longer ago than the
    policy's first ``refunded_not_received``, or where this program paid in Linnworks
    against a gate that asks for receipt, and nobody had decided that it is paid.
    """
    items, due = t.return_items.c, t.refunds_due.c
    query = (
        sa.select(
            items.unit_key,
            items.return_id,
            items.order_number,
            items.dropoff_method,
            due.amount_minor,
            due.currency,
            due.executor,
            due.effective_at,
        )
        .join_from(t.return_items, t.refunds_due, items.unit_key == due.unit_key)
        .where(items.is_open, items.received_at.is_(None), ~items.is_returnless)
        .where(early_money.left_us())
        .order_by(due.effective_at, due.unit_key)
    )
    edges = scope.policy.ages.refunded_not_received
    buckets: Counter[str] = Counter({_bucket(edge, edges): 0 for edge in (timedelta(), *edges)})
    amounts: Counter[str] = Counter()
    rows, severe = [], False
    decided = said.of_open_units(scope.connection, "money")
    early: list[tuple[Any, str, datetime]] = [
        *((r, r.executor, r.effective_at) for r in scope.connection.execute(query)),
        *((r, "others", r.sent_at) for r in early_money.sent_by_others(scope.connection)),
    ]
    for r, paid_by, left_at in sorted(early, key=lambda one: one[2]):
        age = scope.now - left_at
        against = (
            paid_by == "linnworks"
            and r.unit_key not in decided
            and _wants_receipt(scope.policy, r.dropoff_method)
        )
        severe = severe or against or age >= edges[0]
        buckets[_bucket(age, edges)] += 1
        amounts[r.currency] += r.amount_minor
        rows.append(
            {
                "return": r.return_id,
                "order": r.order_number,
                "amount": f"{format_minor(r.amount_minor, r.currency)} {r.currency}",
                "paid by": paid_by,
                "days": age.days,
            }
        )
    totals = ", ".join(f"{format_minor(n, code)} {code}" for code, n in sorted(amounts.items()))
    return finding(
        rows,
        "no money has left for goods that are not back",
        f"units were refunded and are not back ({totals})",
        severe=severe,
        figures={**buckets, **{f"minor_{code}": n for code, n in amounts.items()}},
    )


def _wants_receipt(policy: Policy, dropoff_method: str) -> bool:
    gate = policy.gate.refund_by_dropoff.get(fold(dropoff_method), policy.gate.refund)
    return gate is Stage.RECEIVED


def _bucket(age: timedelta, edges: Sequence[timedelta]) -> str:
    days = [edge.days for edge in edges if edge <= age]
    following = [edge.days for edge in edges if edge > age]
    if not days:
        return f"under_{edges[0].days}_days"
    return f"{days[-1]}_to_{following[0]}_days" if following else f"over_{days[-1]}_days"


def every_refund_has_its_restock(scope: Scope) -> Finding:
    """Units refunded and received whose stock movement has not gone through.

    Severe once the unit was received longer ago than the policy's ``disposition_grace``.
    """
    shadow = _only_when_live(scope)
    if shadow:
        return shadow
    items, due, moved = t.return_items.c, t.refunds_due.c, t.stock_adjustments.c
    decided = t.dispositions.c
    query = (
        sa.select(items.unit_key, items.return_id, items.order_number, items.sku, items.received_at)
        .join_from(t.return_items, t.refunds_due, items.unit_key == due.unit_key)
        .where(items.is_open, items.received_at.is_not(None), ~items.is_returnless)
        .where(due.state.in_(("actioned", "recorded")))
        .where(~sa.exists().where(moved.unit_key == items.unit_key, moved.state == "posted"))
        # Nothing is restocked of what was missing, or was another item.
        .where(~sa.exists().where(decided.unit_key == items.unit_key, decided.effect == "none"))
        .order_by(items.received_at, items.unit_key)
    )
    rows, severe = [], False
    placed = said.of_open_units(scope.connection, "place")
    by_hand = {key for key, one in placed.items() if one.kind is Kind.BY_HAND}
    for r in scope.connection.execute(query):
        if r.unit_key in by_hand:
            continue
        severe = severe or r.received_at <= scope.now - scope.policy.ages.disposition_grace
        rows.append(
            {
                "return": r.return_id,
                "order": r.order_number,
                "sku": r.sku,
                "days": (scope.now - r.received_at).days,
            }
        )
    return finding(
        rows,
        "every refunded unit that came back is in stock, or written off",
        "units were refunded and received, and their stock movement has not gone through",
        severe=severe,
    )


def no_line_refunded_above_its_price(scope: Scope) -> Finding:
    """Order lines of which more was refunded than was paid, in the batches of the days."""
    due, lines = t.refunds_due.c, t.order_lines.c
    touched = sa.select(due.row_id).where(due.batch_id.in_(batch_ids(scope)))
    given = sa.func.sum(due.goods_minor)
    query = (
        sa.select(lines.order_id, lines.sku, lines.total_minor, given.label("refunded"))
        .join_from(t.refunds_due, t.order_lines, due.row_id == lines.row_id)
        .where(due.state != "refused", due.order_id == lines.order_id)
        .where(due.row_id.in_(touched))
        .group_by(lines.row_id, lines.order_id, lines.sku, lines.total_minor)
        .having(given > lines.total_minor)
    )
    rows = [
        {"order": r.order_id, "sku": r.sku, "paid": r.total_minor, "refunded": r.refunded}
        for r in scope.connection.execute(query)
    ]
    return finding(
        rows,
        "no order line was refunded above what was paid for it",
        "order lines were refunded above what was paid for them (minor units)",
    )


# --- batches ----------------------------------------------------------------------


def batch_ids(scope: Scope) -> list[str]:
    """The batches of the days being closed, or the newest, newest first."""
    columns = t.batches.c
    query = sa.select(columns.batch_id).order_by(columns.business_date.desc(), columns.batch_id)
    if scope.days:
        query = query.where(columns.origin_date.in_(scope.days))
    else:
        query = query.limit(_RECENT_BATCHES)
    return list(scope.connection.execute(query).scalars())


def _batches(scope: Scope) -> tuple[list[Any], dict[str, list[Any]]]:
    """The batches of the scope and their lines."""
    ids = batch_ids(scope)
    headers = list(
        records.in_chunks(scope.connection, sa.select(t.batches), t.batches.c.batch_id, ids)
    )
    lines: dict[str, list[Any]] = defaultdict(list)
    query = sa.select(t.batch_lines).order_by(t.batch_lines.c.number)
    for row in records.in_chunks(scope.connection, query, t.batch_lines.c.batch_id, ids):
        lines[row.batch_id].append(row)
    return headers, lines


def batch_balances(scope: Scope) -> Finding:
    """Batches whose debits and credits differ, or whose control totals are not their lines'."""
    headers, lines = _batches(scope)
    rows = []
    for header in headers:
        sides: Counter[str] = Counter()
        for line in lines[header.batch_id]:
            sides[line.side] += line.amount_minor
        totals = json.loads(header.totals)
        told = (totals.get("debit"), totals.get("credit"))
        if sides["debit"] != sides["credit"] or told != (sides["debit"], sides["credit"]):
            rows.append(
                {
                    "batch": header.batch_id,
                    "debit": sides["debit"],
                    "credit": sides["credit"],
                    "told": f"{told[0]} / {told[1]}",
                }
            )
    return finding(
        rows,
        "debits equal credits in every batch",
        "batches do not balance",
        figures={"batches": len(headers)},
    )


def sealed_bytes_are_unchanged(scope: Scope) -> Finding:
    """Sealed batches whose bytes no longer give their hash, or whose lines are others now."""
    headers, lines = _batches(scope)
    rows = []
    for header in headers:
        digest = hashlib.sha256(header.body.encode()).hexdigest()
        sealed = [
            (line["number"], line["role"], line["account"], line["side"], line["amount_minor"])
            for line in json.loads(header.body)["lines"]
        ]
        stored = [
            (line.number, line.role, line.account, line.side, line.amount_minor)
            for line in lines[header.batch_id]
        ]
        if digest != header.hash:
            rows.append({"batch": header.batch_id, "problem": "its bytes give another hash"})
        elif sealed != stored:
            rows.append({"batch": header.batch_id, "problem": "its lines are not the sealed ones"})
    return finding(
        rows,
        "every sealed batch is as it was sealed",
        "sealed batches were changed",
        figures={"batches": len(headers)},
    )


def every_posting_is_in_one_batch(scope: Scope) -> Finding:
    """Batch lines that are not the sum of their postings; postings left out of a closed day.

    What comes late for a closed day joins its next adjustment batch: that alone is not
    severe.
    """
    entered = t.postings.c
    ids = batch_ids(scope)
    query = sa.select(
        entered.batch_id,
        entered.line_number,
        sa.func.sum(entered.amount_minor).label("amount"),
        sa.func.count().label("postings"),
    ).group_by(entered.batch_id, entered.line_number)
    sums = {
        (r.batch_id, r.line_number): int(r.amount)
        for r in records.in_chunks(scope.connection, query, entered.batch_id, ids)
    }
    columns = t.batch_lines.c
    lines = {
        (r.batch_id, r.number): r.amount_minor
        for r in records.in_chunks(
            scope.connection,
            sa.select(columns.batch_id, columns.number, columns.amount_minor),
            columns.batch_id,
            ids,
        )
    }
    rows: list[dict[str, Any]] = [
        {
            "batch": batch_id,
            "line": number,
            "sealed": lines.get((batch_id, number), 0),
            "postings": sums.get((batch_id, number), 0),
        }
        for batch_id, number in sorted({*sums, *lines}, key=str)
        if sums.get((batch_id, number)) != lines.get((batch_id, number))
    ]
    wrong = len(rows)
    closed = sa.exists().where(t.closed_days.c.business_date == entered.business_date)
    late = (
        sa.select(entered.business_date, sa.func.sum(entered.amount_minor), sa.func.count())
        .where(entered.batch_id.is_(None), closed)
        .group_by(entered.business_date)
        .order_by(entered.business_date)
    )
    if scope.days:
        late = late.where(entered.business_date.in_(scope.days))
    rows.extend(
        {"batch": f"{day}: none yet", "line": f"{count} postings", "sealed": 0, "postings": amount}
        for day, amount, count in scope.connection.execute(late)
    )
    return finding(
        rows,
        "every posting of a closed day is in one batch",
        "lines are not the sum of their postings, or wait for their batch",
        severe=wrong > 0,
        figures={"batches": len(ids), "late_days": len(rows) - wrong},
    )


# --- exchanges --------------------------------------------------------------------


def _recent_exchanges() -> sa.ColumnElement[bool]:
    """Replacements not made yet, and the last few hundred."""
    wanted = t.exchange_orders.c
    newest = sa.select(sa.func.max(wanted.id)).scalar_subquery()
    waiting = t.among(wanted.state, t.UNCREATED_EXCHANGE)
    return sa.or_(waiting, wanted.id > newest - _RECENT_ROWS)


def every_exchange_has_one_order(scope: Scope) -> Finding:
    """Replacements not ordered in time, and those Linnworks shows more than one order for."""
    shadow = _only_when_live(scope)
    if shadow:
        return shadow
    wanted, orders = t.exchange_orders.c, t.orders.c
    since = scope.now - scope.settle - _TWO_POLLS
    missing = sa.select(wanted.reference, wanted.state).where(
        t.among(wanted.state, t.UNCREATED_EXCHANGE),
        wanted.created_at <= since,
        ~wanted.note.startswith("EXCHANGE_OOS"),  # waits for stock, and has a task in time
    )
    rows: list[dict[str, Any]] = [
        {"replacement": r.reference, "problem": f"not ordered ({r.state})"}
        for r in scope.connection.execute(missing.order_by(wanted.id))
    ]
    count = sa.func.count()
    twice = (
        sa.select(wanted.reference, count.label("orders"))
        .join_from(
            t.exchange_orders,
            t.orders,
            orders.reference_key == sa.func.lower(wanted.reference),
        )
        .where(_recent_exchanges(), ~orders.is_cancelled)
        .group_by(wanted.reference)
        .having(count > 1)
    )
    rows.extend(
        {"replacement": r.reference, "problem": f"{r.orders} orders in Linnworks"}
        for r in scope.connection.execute(twice)
    )
    return finding(
        rows,
        "every replacement was ordered once",
        "replacements were not ordered in time, or were ordered more than once",
    )


def no_exchange_before_receipt(scope: Scope) -> Finding:
    """Replacements intended or ordered before the original was received."""
    wanted, items = t.exchange_orders.c, t.return_items.c
    early = sa.or_(items.received_at.is_(None), wanted.created_order_at < items.received_at)
    query = (
        sa.select(
            wanted.reference,
            wanted.state,
            items.return_id,
            t.orders.c.source,
            t.orders.c.sub_source,
        )
        .join_from(t.exchange_orders, t.return_items, wanted.unit_key == items.unit_key)
        .outerjoin(t.orders, t.orders.c.order_id == wanted.order_id)
        .where(_recent_exchanges(), wanted.state.in_(("intended", "created")), early)
        .order_by(wanted.id)
    )
    rows = [
        {"replacement": r.reference, "return": r.return_id, "state": r.state}
        for r in scope.connection.execute(query)
        if not sends_at_once(scope.policy, r.source or "", r.sub_source or "")
    ]
    return finding(
        rows,
        "no replacement was ordered before its original was back",
        "replacements were ordered before their originals were back",
        severe=scope.policy.gate.exchange is Stage.RECEIVED,
    )


def uneven_exchange_is_never_free(scope: Scope) -> Finding:
    """Replacements of another price that were given, or are to be given, for nothing."""
    wanted, items = t.exchange_orders.c, t.return_items.c
    found, lines, orders = t.matches.c, t.order_lines.c, t.orders.c
    # A unit's share of its line differs from unit to unit by one minor unit at most.
    price = items.exchange_unit_price_minor * wanted.quantity
    differs = sa.func.abs(price * lines.quantity - lines.total_minor) > lines.quantity
    free = sa.or_(
        sa.and_(~wanted.is_even, sa.or_(wanted.unit_price_minor == 0, orders.total_minor == 0)),
        sa.and_(wanted.is_even, items.exchange_unit_price_minor.is_not(None), differs),
    )
    query = (
        sa.select(wanted.reference, wanted.sku, items.return_id)
        .select_from(
            t.exchange_orders.join(t.return_items, wanted.unit_key == items.unit_key)
            .join(t.matches, found.unit_key == wanted.unit_key)
            .join(t.order_lines, lines.row_id == found.row_id)
            .outerjoin(t.orders, orders.order_id == wanted.new_order_id)
        )
        .where(_recent_exchanges(), free)
        .order_by(wanted.id)
    )
    rows = [
        {"replacement": r.reference, "sku": r.sku, "return": r.return_id}
        for r in scope.connection.execute(query)
    ]
    return finding(
        rows,
        "no replacement of another price is free",
        "replacements of another price are free",
    )


# --- control ----------------------------------------------------------------------


def every_write_is_settled(scope: Scope) -> Finding:
    """Writes to a vendor whose outcome is still not known after their settle time."""
    intents, queue = t.intents.c, t.exceptions.c
    since = scope.now - scope.settle - _TWO_POLLS
    query = (
        sa.select(intents.kind, intents.reference, intents.state, intents.sent_at)
        .where(t.among(intents.state, t.UNSETTLED_INTENT))
        .where(intents.state.in_(("sending", "unknown")), intents.sent_at <= since)
        .order_by(intents.sent_at)
    )
    rows = [
        {
            "write": r.kind,
            "reference": r.reference,
            "state": r.state,
            "minutes": int((scope.now - r.sent_at).total_seconds() // 60),
        }
        for r in scope.connection.execute(query)
    ]
    waiting = (
        sa.select(intents.kind, intents.reference, intents.state, intents.created_at)
        .join_from(t.exceptions, t.intents, queue.key == intents.intent_key)
        .where(queue.code == "WRITE_UNKNOWN_OUTCOME", t.among(queue.status, t.OPEN_EXCEPTION))
        .where(intents.state == "suspense")
        .order_by(intents.id)
    )
    rows.extend(
        {
            "write": r.kind,
            "reference": r.reference,
            "state": "waits for a person",
            "minutes": int((scope.now - r.created_at).total_seconds() // 60),
        }
        for r in scope.connection.execute(waiting)
    )
    return finding(rows, "every write is settled", "writes are not settled")


def our_own_books_are_sound(scope: Scope) -> Finding:
    """Rows of this database that the program never writes, found lately or held for a person."""
    rows = [
        {"table": flaw.table, "row": flaw.key, "problem": flaw.what}
        for flaw in (*soundness.flaws(scope.connection), *soundness.held(scope.connection))
    ]
    return finding(rows, "our own books are sound", "rows of our own books cannot be")


SOURCES: Mapping[str, str] = {
    "linnworks.orders": "Linnworks orders",
    "happy_returns.shipments": "Happy Returns",
}


def every_source_is_fresh(scope: Scope) -> Finding:
    """Vendors not read within the policy's ``source_stale``."""
    marks = t.watermarks.c
    query = sa.select(marks.name, marks.at).where(marks.name.in_(SOURCES))
    at: dict[str, datetime | None] = {r.name: r.at for r in scope.connection.execute(query)}
    rows: list[dict[str, Any]] = []
    ages = {}
    for name, title in SOURCES.items():
        last = at.get(name)
        minutes = int((scope.now - last).total_seconds() // 60) if last else None
        if minutes is not None:
            ages[f"minutes_{name.partition('.')[0]}"] = minutes
        if last is None or last < scope.now - scope.policy.ages.source_stale:
            rows.append({"source": title, "minutes": "never read" if last is None else minutes})
    return finding(
        rows, "both vendors were read lately", "vendors were not read lately", figures=ages
    )


def every_alert_is_delivered(scope: Scope) -> Finding:
    """Messages to people that their channel has not taken, and those given up in a week."""
    rows = [
        {
            "owner": one.owner,
            "channel": one.channel,
            "subject": one.subject,
            "tries": one.attempts,
            "why": one.error,
        }
        for one in alerts.undelivered(scope.connection, scope.now)
    ]
    return finding(rows, "every alert was taken", "alerts were not taken by their channel")
