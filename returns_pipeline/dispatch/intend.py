"""Decisions become intents: committed with the rows they are for, before anything is sent.

The key of an intent is made from its content, so that the same decision cannot be intended
twice. Here also the breakers: a run that wants unusually much stops before it intends
anything. Sending is ``protocol``'s.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.dispatch import moves, replacements, restocks
from returns_pipeline.dispatch import refunds as refund_writes
from returns_pipeline.domain import adjustments as rules
from returns_pipeline.domain.model import StockAdjustment
from returns_pipeline.domain.policy import Policy
from returns_pipeline.domain.postings import tax_key
from returns_pipeline.domain.reconciliation import Transfer
from returns_pipeline.storage import outbox, records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.outbox import NewIntent


class BreakerOpen(Exception):  # noqa: N818 (it says what is so)
    """A run wants more than the policy lets it do unasked. Nothing was intended or sent."""


# --- restocks ---------------------------------------------------------------------


def intend_restocks(
    engine: sa.Engine,
    *,
    policy: Policy,
    now: datetime,
    instead: Mapping[str, rules.Instead] = rules.NOTHING,
) -> int:
    """One RMA an order and receipt, with all lines that are ready now; how many RMAs.

    Args:
        engine: The pipeline's database.
        policy: The merchant's.
        now: The instant.
        instead: The replacements that the RMAs are to make, by unit (``on_the_rma``).

    Raises:
        BreakerOpen: When the units, or those of one SKU, exceed ``[breakers]``.
    """
    moved = t.stock_adjustments.c
    query = (
        sa.select(t.stock_adjustments)
        .where(moved.state == "ready", moved.kind != "move")
        .where(t.among(moved.state, t.UNPOSTED_ADJUSTMENT))
        .order_by(moved.order_id, moved.id)
    )
    with engine.begin() as connection:
        ready = [_adjustment(row) for row in connection.execute(query)]
        if not ready:
            return 0
        _refuse_unusual(ready, policy)
        by_order: dict[str, list[StockAdjustment]] = defaultdict(list)
        for one in ready:
            by_order[one.order_id].append(one)
        numbers = _order_numbers(connection, by_order)
        intents: list[NewIntent] = []
        for order_id, group in by_order.items():
            keys = [one.adjustment_key for one in group]
            reference = rules.booking_reference(numbers[order_id], keys)
            intents.extend(_restock(order_id, reference, group, policy, instead))
            _carried(connection, [one.unit_key for one in group], instead, reference)
            for part in records.chunks(keys, 500):
                connection.execute(
                    sa.update(t.stock_adjustments)
                    .where(moved.adjustment_key.in_(part), moved.state == "ready")
                    .values(state="intended", intent_key=restocks.action_key(reference))
                )
        outbox.enqueue(connection, intents, now=now)
    return len(by_order)


def _carried(
    connection: sa.Connection,
    units: Sequence[str],
    instead: Mapping[str, rules.Instead],
    reference: str,
) -> None:
    """The replacements that this RMA makes wait for its action."""
    wanted = t.exchange_orders.c
    for unit in units:
        if unit in instead:
            connection.execute(
                sa.update(t.exchange_orders)
                .where(wanted.unit_key == unit, wanted.state == "ready")
                .values(state="intended", intent_key=restocks.action_key(reference))
            )


def _adjustment(row: Any) -> StockAdjustment:
    return StockAdjustment(
        adjustment_key=row.adjustment_key,
        unit_key=row.unit_key,
        order_id=row.order_id,
        row_id=row.row_id,
        sku=row.sku,
        location_id=row.location_id,
        quantity=row.quantity,
        scrap_quantity=row.scrap_quantity,
        kind=row.kind,
    )


def _refuse_unusual(ready: Sequence[StockAdjustment], policy: Policy) -> None:
    limits = policy.breakers
    if len(ready) > limits.max_units_per_run:
        msg = (
            f"{len(ready)} units wait to be restocked, more than the policy's [breakers] "
            f"max_units_per_run of {limits.max_units_per_run}. Nothing was sent. Look at them, "
            "then raise the limit and run again."
        )
        raise BreakerOpen(msg)
    sku, count = Counter(one.sku for one in ready).most_common(1)[0]
    if count > limits.max_units_per_sku:
        msg = (
            f"{count} units of SKU {sku} wait to be restocked, more than the policy's "
            f"[breakers] max_units_per_sku of {limits.max_units_per_sku}. Nothing was sent. "
            "Look at them, then raise the limit and run again."
        )
        raise BreakerOpen(msg)


def _order_numbers(connection: sa.Connection, ids: Iterable[str]) -> dict[str, int]:
    columns = t.orders.c
    query = sa.select(columns.order_id, columns.num_id)
    found = records.in_chunks(connection, query, columns.order_id, ids)
    return {row[0]: row[1] for row in found}


def _restock(
    order_id: str,
    reference: str,
    group: Sequence[StockAdjustment],
    policy: Policy,
    instead: Mapping[str, rules.Instead],
) -> list[NewIntent]:
    lines = [asdict(line) for line in rules.booking_lines(group, instead)]
    for line in lines:
        line["adjustment_keys"] = list(line["adjustment_keys"])
        if line["instead"] is None:
            del line["instead"]
    subject = restocks.stock_subject(order_id)
    booking = NewIntent(
        intent_key=restocks.booking_key(reference),
        kind=restocks.BOOKING,
        subject=subject,
        reference=reference,
        payload={
            "order_id": order_id,
            "category": policy.linnworks.reason_category,
            "lines": lines,
        },
    )
    action = NewIntent(
        intent_key=restocks.action_key(reference),
        kind=restocks.ACTION,
        subject=subject,
        reference=reference,
        payload={"order_id": order_id, "lines": lines},
        depends_on=booking.intent_key,
    )
    return [booking, action]


# --- moves ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WaitingMove:
    """A move that is not sent yet; ``since`` is when the unit came where it stands now."""

    id: int
    adjustment_key: str
    order_num_id: int
    sku: str
    item_id: str
    from_location_id: str
    location_id: str
    was_scrapped: bool
    is_scrapped: bool
    since: datetime

    @property
    def intent(self) -> NewIntent:
        """What is to be sent: what was written off only comes, what is to be only goes."""
        reference = rules.move_reference(self.order_num_id, self.adjustment_key)
        changes = []
        if not self.was_scrapped:
            changes.append({"location_id": self.from_location_id, "units": -1})
        if not self.is_scrapped:
            changes.append({"location_id": self.location_id, "units": 1})
        return NewIntent(
            intent_key=moves.move_key(reference),
            kind=moves.MOVE,
            subject=moves.level_subject(self.sku),
            reference=reference,
            payload={
                "adjustment_key": self.adjustment_key,
                "sku": self.sku,
                "item_id": self.item_id,
                "changes": changes,
                "since": self.since.isoformat(),
            },
        )


def moves_waiting(
    connection: sa.Connection, states: Collection[str] = ("held",)
) -> list[WaitingMove]:
    """The moves that wait for a word, or were given one, and of which nothing was sent."""
    moved, lines, orders = t.stock_adjustments.c, t.order_lines.c, t.orders.c
    query = (
        sa.select(t.stock_adjustments, lines.stock_item_id, orders.num_id)
        .join_from(t.stock_adjustments, t.order_lines, lines.row_id == moved.row_id)
        .join(t.orders, orders.order_id == moved.order_id)
        .where(moved.state.in_(states), moved.kind == "move", moved.intent_key.is_(None))
        .where(t.among(moved.state, t.UNPOSTED_ADJUSTMENT))
    )
    # In order afterwards: asked for it, SQLite would go by the index of all there ever were.
    rows = sorted(connection.execute(query).all(), key=lambda row: row.id)
    posted = sa.select(moved.id, moved.unit_key, moved.scrap_quantity, moved.posted_at).where(
        moved.state == "posted"
    )
    units = {row.unit_key for row in rows}
    found = records.in_chunks(connection, posted, moved.unit_key, units)
    last = {row.unit_key: row for row in sorted(found, key=lambda row: row.id)}
    return [
        WaitingMove(
            id=row.id,
            adjustment_key=row.adjustment_key,
            order_num_id=row.num_id,
            sku=row.sku,
            item_id=row.stock_item_id.lower(),
            from_location_id=row.from_location_id.lower(),
            location_id=row.location_id.lower(),
            was_scrapped=bool(last[row.unit_key].scrap_quantity),
            is_scrapped=bool(row.scrap_quantity),
            since=last[row.unit_key].posted_at,
        )
        for row in rows
        if row.unit_key in last
    ]


def intend_moves(engine: sa.Engine, *, now: datetime) -> int:
    """One change of levels a unit that a person said is to be moved; how many."""
    with engine.begin() as connection:
        ready = moves_waiting(connection, ("ready",))
        _intended(connection, ready, now)
    return len(ready)


def enter_moves_by_hand(
    engine: sa.Engine,
    made: Sequence[tuple[WaitingMove, Transfer]],
    *,
    now: datetime,
    run_id: str,
) -> int:
    """Enter moves that somebody has made in Linnworks, each with its proof; how many.

    They stand in the outbox as done by others, so that no transfer proves two units' moves.
    """
    with engine.begin() as connection:
        _intended(connection, [one for one, _ in made], now)
        for one, transfer in made:
            intent = outbox.find(connection, one.intent.intent_key)
            if intent is None or intent.state != "ready":
                continue
            proof = moves.evidence_of_transfer(transfer)
            outbox.move(
                connection, intent, "confirmed", now=now, run_id=run_id, step="adopted",
                evidence=proof,
            )  # fmt: skip
            moves.enter(connection, intent, proof, now)
    return len(made)


def _intended(connection: sa.Connection, waiting: Sequence[WaitingMove], now: datetime) -> None:
    moved = t.stock_adjustments.c
    for one in waiting:
        connection.execute(
            sa.update(t.stock_adjustments)
            .where(moved.id == one.id)
            .values(state="intended", intent_key=one.intent.intent_key)
        )
    outbox.enqueue(connection, [one.intent for one in waiting], now=now)


# --- refunds ----------------------------------------------------------------------


def intend_refunds(engine: sa.Engine, *, batch_ids: Collection[str], now: datetime) -> int:
    """One refund an order and sealed batch, for what Linnworks is to pay; how many."""
    due, moved = t.refunds_due.c, t.stock_adjustments.c
    query = (
        sa.select(t.refunds_due, moved.rma_row_id)
        .outerjoin(
            t.stock_adjustments,
            sa.and_(moved.unit_key == due.unit_key, moved.kind != "move"),
        )
        .where(due.state == "batched", due.executor == "linnworks", due.intent_key.is_(None))
        .order_by(due.order_id, due.refund_key)
    )
    with engine.begin() as connection:
        groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
        for row in records.in_chunks(connection, query, due.batch_id, sorted(batch_ids)):
            groups[row.batch_id, row.order_id].append(row._asdict())
        numbers = _order_numbers(connection, sorted({order for _, order in groups}))
        intents: list[NewIntent] = []
        for (_, order_id), rows in groups.items():
            keys = [row["refund_key"] for row in rows]
            reference = f"HRR-{numbers[order_id]}-{rules.digest(keys)}"
            intents.extend(_refund(order_id, reference, rows))
            connection.execute(
                sa.update(t.refunds_due)
                .where(due.refund_key.in_(keys))
                .values(intent_key=refund_writes.action_key(reference))
            )
        outbox.enqueue(connection, intents, now=now)
    return len(groups)


def _refund(order_id: str, reference: str, rows: Sequence[Mapping[str, Any]]) -> list[NewIntent]:
    subject = refund_writes.refund_subject(order_id)
    create = NewIntent(
        intent_key=refund_writes.create_key(reference),
        kind=refund_writes.CREATE,
        subject=subject,
        reference=reference,
        payload={
            "order_id": order_id,
            "currency": rows[0]["currency"],
            "lines": refund_writes.money_lines(rows, reference=reference),
            "refund_keys": [row["refund_key"] for row in rows],
        },
    )
    action = NewIntent(
        intent_key=refund_writes.action_key(reference),
        kind=refund_writes.ACTION,
        subject=subject,
        reference=reference,
        payload={"order_id": order_id},
        depends_on=create.intent_key,
    )
    return [create, action]


# --- replacements -----------------------------------------------------------------


def intend_exchanges(engine: sa.Engine, *, policy: Policy, now: datetime) -> int:
    """One order a replacement that is ready; how many."""
    wanted, items, orders, lines = (
        t.exchange_orders.c,
        t.return_items.c,
        t.orders.c,
        t.order_lines.c,
    )
    query = (
        sa.select(
            t.exchange_orders,
            items.return_id,
            orders.reference.label("original_reference"),
            orders.num_id,
            orders.sub_source,
            lines.tax_rate_bp,
            lines.sku.label("returned_sku"),
        )
        .join_from(t.exchange_orders, t.return_items, items.unit_key == wanted.unit_key)
        .join(t.orders, orders.order_id == wanted.order_id)
        .join(t.matches, t.matches.c.unit_key == wanted.unit_key)
        .join(t.order_lines, lines.row_id == t.matches.c.row_id)
        # What cannot be ordered now says why (``availability``).
        .where(wanted.state == "ready", wanted.note == "")
        .where(t.among(wanted.state, t.UNCREATED_EXCHANGE))
        .order_by(wanted.order_id, wanted.id)  # as the index of what is not created has them
    )
    with engine.begin() as connection:
        intents = []
        for row in connection.execute(query).all():
            rate = None
            if row.unit_price_minor and row.sku != row.returned_sku:
                rate = _sold_at(connection, row.sku, row.currency)
            rate = row.tax_rate_bp if rate is None else rate  # never sold: as what came back
            key = replacements.create_key(row.reference)
            payload = {
                "order_id": row.order_id,
                "unit_key": row.unit_key,
                "return_id": row.return_id,
                "source": policy.linnworks.exchange_source,
                "sub_source": row.sub_source or "returns",
                "location": policy.linnworks.exchange_location,
                "postal_service": policy.linnworks.exchange_postal_service,
                "sku": row.sku,
                "quantity": row.quantity,
                "unit_price_minor": row.unit_price_minor,
                "currency": row.currency,
                "tax_rate": tax_key(rate) if row.unit_price_minor else "0",
                "original_reference": row.original_reference,
                "original_num_id": row.num_id,
            }
            intents.append(
                NewIntent(
                    intent_key=key,
                    kind=replacements.CREATE,
                    subject=replacements.exchange_subject(row.order_id),
                    reference=row.reference,
                    payload=payload,
                )
            )
            connection.execute(
                sa.update(t.exchange_orders)
                .where(wanted.id == row.id)
                .values(state="intended", intent_key=key)
            )
        outbox.enqueue(connection, intents, now=now)
    return len(intents)


def _sold_at(connection: sa.Connection, sku: str, currency: str) -> int | None:
    """At what rate of VAT an article was sold last in a currency, in basis points."""
    lines, orders = t.order_lines.c, t.orders.c
    query = (
        sa.select(lines.tax_rate_bp)
        .join_from(t.order_lines, t.orders, orders.order_id == lines.order_id)
        .where(lines.sku == sku, lines.total_minor > 0, orders.currency == currency)
        .order_by(orders.received_at.desc())
        .limit(1)
    )
    return connection.execute(query).scalar()
