"""Exchanges that are open: replacements whose originals are missing, value nobody took up.

Predicates like those of ``control``, which evaluates them; the exposure of instant exchanges
as figures; and the question whether exchange clearing holds what is open and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain.model import ExceptionRaised
from returns_pipeline.domain.money import format_minor
from returns_pipeline.domain.policy import Policy, sends_at_once
from returns_pipeline.normalise import linnworks as lw
from returns_pipeline.steps.about import about
from returns_pipeline.steps.invariants import Finding, Scope, batch_ids, finding
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import decisions as said
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t

Raised = Iterator[ExceptionRaised]


@dataclass(frozen=True, slots=True)
class Exposed:
    """A replacement that was ordered although its original is not back.

    ``value_minor`` is what was paid for the original, gross, minor units of ``currency``.
    """

    unit_key: str
    return_id: str
    order_number: str
    reference: str
    sku: str
    stage: str
    ordered_at: datetime
    value_minor: int
    currency: str
    is_allowed: bool


def groups_of(
    connection: sa.Connection, policy: Policy, order_ids: Collection[str]
) -> dict[str, frozenset[str]]:
    """The customer groups of orders: their tags as Linnworks told them last.

    Asked of the kept payloads, and only where the policy names a group.
    """
    if not policy.exchange.instant_groups:
        return {}
    raw = t.raw_payloads.c
    newest = sa.select(sa.func.max(raw.id)).where(raw.source.in_(_ORDERS)).group_by(raw.key)
    found = {}
    for part in records.chunks(sorted(order_ids), 500):
        query = sa.select(raw.key, raw.body).where(raw.id.in_(newest.where(raw.key.in_(part))))
        for row in connection.execute(query):
            try:
                found[row.key] = lw.tags(row.body.encode())
            except lw.UnreadableOrder:
                continue  # kept as received; it is somebody's task already
    return found


_ORDERS = ("linnworks.order.v1", "linnworks.order.v2")


def exposure(connection: sa.Connection, policy: Policy) -> list[Exposed]:
    """Replacements ordered whose originals are missing, the oldest first."""
    wanted, items, orders = t.exchange_orders.c, t.return_items.c, t.orders.c
    lines, found = t.order_lines.c, t.matches.c
    query = (
        sa.select(
            items.unit_key,
            items.return_id,
            items.order_number,
            items.stage,
            wanted.reference,
            wanted.sku,
            wanted.created_order_at,
            orders.order_id,
            orders.source,
            orders.sub_source,
            orders.currency,
            lines.total_minor,
            lines.quantity,
        )
        .join_from(t.return_items, t.exchange_orders, wanted.unit_key == items.unit_key)
        .join(t.orders, orders.order_id == wanted.order_id)
        .join(t.matches, found.unit_key == items.unit_key)
        .join(t.order_lines, lines.row_id == found.row_id)
        .where(items.is_open, items.received_at.is_(None), wanted.state == "created")
        .order_by(wanted.created_order_at, wanted.id)
    )
    rows = connection.execute(query).all()
    groups = groups_of(connection, policy, {row.order_id for row in rows})
    return [
        Exposed(
            unit_key=row.unit_key,
            return_id=row.return_id,
            order_number=row.order_number,
            reference=row.reference,
            sku=row.sku,
            stage=row.stage,
            ordered_at=row.created_order_at,
            value_minor=row.total_minor // max(1, row.quantity),
            currency=row.currency,
            is_allowed=sends_at_once(
                policy, row.source, row.sub_source, groups.get(row.order_id, ())
            ),
        )
        for row in rows
    ]


def exposed(connection: sa.Connection, policy: Policy) -> set[str]:
    """The units that ``exposure`` is about."""
    return {one.unit_key for one in exposure(connection, policy)}


def totals(out: list[Exposed]) -> dict[str, int]:
    """What the originals are worth, minor units, by currency."""
    found: Counter[str] = Counter()
    for one in out:
        found[one.currency] += one.value_minor
    return dict(found)


def released_early(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """Replacements that left before their originals: at once where that is not allowed.

    Where it is, once the original has not come within the policy's ``instant_window``.
    """
    lost = said.of_open_units(connection, "condition")
    for one in exposure(connection, rt.policy):
        age = now - one.ordered_at
        written_off = one.unit_key in lost and lost[one.unit_key].kind == "write_off"
        if written_off or (one.is_allowed and age < rt.policy.exchange.instant_window):
            continue
        yield ExceptionRaised(
            code="EXCHANGE_RELEASED_EARLY",
            key=one.unit_key,
            message=f"replacement {one.reference} was ordered {age.days} days ago and the original "
            f"is not back ({one.stage.replace('_', ' ')})",
            amount_minor=one.value_minor,
            currency=one.currency,
            **about([one]),
            since=one.ordered_at,
        )


def clearing_aged(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """Value on exchange clearing that no replacement has taken up in time."""
    items, due, wanted = t.return_items.c, t.refunds_due.c, t.exchange_orders.c
    query = (
        sa.select(
            items.unit_key,
            items.return_id,
            items.order_number,
            due.amount_minor,
            due.currency,
            due.effective_at,
        )
        .join_from(t.return_items, t.refunds_due, due.unit_key == items.unit_key)
        .outerjoin(t.exchange_orders, wanted.unit_key == items.unit_key)
        .where(items.is_open, due.tender == "exchange", due.is_ledgered, due.state != "refused")
        .where(due.cleared_at.is_(None))
        .where(due.effective_at <= now - rt.policy.exchange.clearing_open)
        .order_by(due.effective_at, due.id)
    )
    for row in connection.execute(query):
        days = (now - row.effective_at).days
        yield ExceptionRaised(
            code="EXCHANGE_CLEARING_AGED",
            key=row.unit_key,
            message=f"on exchange clearing for {days} days, and no replacement was ordered",
            amount_minor=row.amount_minor,
            currency=row.currency,
            **about([row]),
            since=row.effective_at,
        )


PREDICATES = (released_early, clearing_aged)


def exchange_clearing_is_the_exchanges(scope: Scope) -> Finding:
    """Units whose balance on exchange clearing is not what their exchange is worth.

    Until its legs have met that is what was given back for the unit; from then on what was
    ordered for it, which the sale of the new order takes up; nothing where it was refunded.
    Asked of every unit with a line there in the batches of the days, or of the newest, and of
    every unit those batches should have such a line of.
    """
    entered, due = t.postings.c, t.refunds_due.c
    ids = batch_ids(scope)
    lines = sa.select(entered.unit_key).where(entered.role == "exchange_clearing").distinct()
    owed = sa.select(due.unit_key).where(due.tender == "exchange")
    units = {
        row.unit_key
        for query, of_batch in ((lines, entered.batch_id), (owed, due.batch_id))
        for row in records.in_chunks(scope.connection, query, of_batch, ids)
    }
    balances = _balances(scope, units)
    rows, known = [], set()
    kinds: dict[str, Counter[str]] = {"open": Counter(), "for the sale": Counter()}
    for leg in _legs(scope, units):
        known.add((leg.unit_key, leg.currency))
        has_met = leg.cleared_at is not None and leg.is_ledgered
        worth = leg.new_value_minor if has_met else leg.amount_minor
        kinds["for the sale" if has_met else "open"][leg.currency] += worth
        held = balances[leg.unit_key, leg.currency]
        if held != worth:
            rows.append(_apart(leg.unit_key, leg.currency, held, worth))
    for unit, currency in sorted(set(balances) - known):
        if balances[unit, currency]:
            rows.append(_apart(unit, currency, balances[unit, currency], 0))
    told = "; ".join(
        f"{kind} {format_minor(minor, code)} {code}"
        for kind, of in kinds.items()
        for code, minor in sorted(of.items())
        if minor
    )
    return finding(
        rows,
        f"exchange clearing holds what its exchanges are worth ({told or 'nothing'})",
        "units on exchange clearing are not worth what it holds of them (minor units)",
        figures={
            "units": len(units),
            **{
                f"{kind.replace(' ', '_')}_minor_{code}": minor
                for kind, of in kinds.items()
                for code, minor in of.items()
            },
        },
    )


def _apart(unit: str, currency: str, held: int, worth: int) -> dict[str, Any]:
    return {"unit": unit, "currency": currency, "clearing": held, "exchange": worth}


def _balances(scope: Scope, units: set[str]) -> Counter[tuple[str, str]]:
    """What is entered, sealed or to be sealed: a batch and the next may each hold a leg."""
    entered = t.postings.c
    query = sa.select(entered.unit_key, entered.currency, entered.side, entered.amount_minor).where(
        entered.role == "exchange_clearing"
    )
    found: Counter[tuple[str, str]] = Counter()
    for row in records.in_chunks(scope.connection, query, entered.unit_key, units):
        sign = 1 if row.side == "credit" else -1
        found[row.unit_key, row.currency] += sign * row.amount_minor
    return found


def _legs(scope: Scope, units: set[str]) -> list[Any]:
    """The return legs of exchanges: what was given back, and what was ordered for it."""
    due = t.refunds_due.c
    query = sa.select(
        due.unit_key,
        due.currency,
        due.amount_minor,
        due.new_value_minor,
        due.cleared_at,
        due.is_ledgered,
    ).where(due.tender == "exchange")
    found = records.in_chunks(scope.connection, query, due.unit_key, units)
    return sorted(found, key=lambda leg: leg.unit_key)
