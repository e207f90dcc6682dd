"""One event's lines in the ledger: what its rows, order line and rates come to.

Here: everything the ledger needs of some events, read set by set, and the lines of a refund
or a stock movement made of it, whether for the first time (``money``), under other rules
(``corrections``) or to be compared (``verification``). The rules are ``domain.postings``'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain import postings as posting_rules
from returns_pipeline.domain.model import (
    Decided,
    Disposition,
    Held,
    Posting,
    RefundDue,
    RefundType,
    StockAdjustment,
    StockEffect,
    Unit,
)
from returns_pipeline.domain.policy import books_unit
from returns_pipeline.domain.postings import Goods
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t

IN_TRANSIT = "returned_goods_in_transit"
LOST = "in_transit_loss"
SETTLED = "settled"
Result = tuple[list[Posting] | Held, str]
"""An event's lines, or why it waits; and the unit of the books it is in."""


class Ledger:
    """What the ledger needs of the units, orders and lines of some events."""

    def __init__(
        self,
        connection: sa.Connection,
        rt: Runtime,
        refunds: Sequence[Mapping[str, Any]],
        moved: Sequence[Mapping[str, Any]],
    ) -> None:
        self.rt = rt
        keys = {row["unit_key"] for row in (*refunds, *moved)}
        self.units = records.units_by_key(connection, keys)
        self.decisions = records.decisions_of(connection, keys)
        self.lines = records.lines_by_id(connection, {r["row_id"] for r in (*refunds, *moved)})
        self.orders = _orders(connection, {row["order_id"] for row in (*refunds, *moved)})
        self.transit = _in_transit(connection, keys)
        self.stocked = _stock_entered(connection, keys)
        abroad = {
            row["row_id"] for row in refunds if row["currency"] != rt.policy.merchant.currency
        }
        self.before = refunded_before(connection, abroad)

    def refund(
        self,
        row: Mapping[str, Any],
        *,
        at: datetime | None = None,
        received: bool | None = None,
        key: str = "",
    ) -> Result:
        """The lines of a refund.

        Args:
            row: Of ``refunds_due``.
            at: When it took effect, where that is not the refund's own instant.
            received: Whether the goods were back; ``None``: as the unit says.
            key: Of the event, where it is not the refund's own.
        """
        refund = refund_of(row)
        goods, books = self._goods(row, at or refund.effective_at)
        if isinstance(goods, Held):
            return goods, books
        if received is None:
            unit = row["unit_key"]
            received = unit in self.stocked or _was_back(self.units[unit], refund.effective_at)
        if at is not None:
            refund = replace(refund, effective_at=at)
        lines = posting_rules.refund_postings(
            refund, goods, self.rt.policy, received=received, key=key
        )
        if not isinstance(lines, Held) and any(line.role == IN_TRANSIT for line in lines):
            self.transit[refund.unit_key] = IN_TRANSIT
        return lines, books

    def settlement(self, row: Mapping[str, Any], *, at: datetime, key: str) -> Result:
        """The lines by which an exchange's return leg comes to what was ordered for it.

        Args:
            row: Of ``refunds_due``, with its ``new_value_minor``.
            at: When the legs met.
            key: Of the event.
        """
        leg = refund_of(row)
        then, books = self._goods(row, leg.effective_at)
        now, _ = self._goods(row, at)
        if isinstance(then, Held) or isinstance(now, Held):
            return (then if isinstance(then, Held) else now), books  # type: ignore[return-value]
        lines = posting_rules.settlement_postings(
            leg,
            row["new_value_minor"],
            at,
            self.rt.policy,
            key=key,
            then=then.rates,
            now=now.rates,
        )
        return lines, books

    def movement(self, row: Mapping[str, Any], *, source: str = "", key: str = "") -> Result:
        """The lines of a stock movement.

        Args:
            row: Of ``stock_adjustments``, posted.
            source: Where the cost stood; empty: as the ledger says.
            key: Of the event, where it is not the movement's own.

        Raises:
            KeyError: When nothing was decided for the unit.
        """
        unit = row["unit_key"]
        goods, books = self._goods(row, row["posted_at"])
        if isinstance(goods, Held):
            return goods, books
        lines = posting_rules.stock_postings(
            adjustment_of(row),
            as_posted(self.decisions[unit].decided, row),
            goods,
            row["posted_at"],
            self.rt.policy,
            source=source or self.transit.get(unit, "cogs_returns"),
            key=key,
        )
        return lines, books

    def _goods(self, row: Mapping[str, Any], at: datetime) -> tuple[Goods | Held, str]:
        """What is known of an event's order line, and in whose books it is."""
        policy = self.rt.policy
        line = self.lines.get(row["row_id"])
        order = self.orders.get(row["order_id"])
        if order is None:
            return Goods(line), policy.merchant.entity
        books = books_unit(policy, order.source, order.sub_source).code
        rates = posting_rules.rates(order.currency, order.conversion_rate, at, policy)
        if isinstance(rates, Held):
            # Stock has its cost in the merchant's currency; only money needs the rate.
            if "refund_key" in row or policy.finance.cost_currency == "order":
                return rates, books
            rates = None
        before = self.before.get(row["id"], (0, 0)) if "refund_key" in row else (0, 0)
        return Goods(line, rates, before, order.currency), books


def _orders(connection: sa.Connection, ids: Iterable[str]) -> dict[str, Any]:
    columns = t.orders.c
    query = sa.select(
        columns.order_id,
        columns.currency,
        columns.conversion_rate,
        columns.source,
        columns.sub_source,
        columns.payment_method,
    )
    found = records.in_chunks(connection, query, columns.order_id, ids)
    return {row.order_id: row for row in found}


def refunded_before(
    connection: sa.Connection, row_ids: Iterable[str]
) -> dict[int, tuple[int, int]]:
    """By refund: the goods and VAT of its order line that were owed before it."""
    due = t.refunds_due.c
    query = sa.select(due.id, due.row_id, due.goods_minor, due.goods_vat_minor).order_by(due.id)
    found = sorted(records.in_chunks(connection, query, due.row_id, row_ids), key=lambda r: r.id)
    goods: Counter[str] = Counter()
    vat: Counter[str] = Counter()
    before = {}
    for row in found:
        before[row.id] = (goods[row.row_id], vat[row.row_id])
        goods[row.row_id] += row.goods_minor
        vat[row.row_id] += row.goods_vat_minor
    return before


def _was_back(unit: Unit, paid_at: datetime) -> bool:
    """Whether the goods were in the warehouse when the money left; or none were to come."""
    return unit.returnless or (unit.received is not None and unit.received.at <= paid_at)


def _stock_entered(connection: sa.Connection, keys: set[str]) -> set[str]:
    """Units whose stock movement stands in the ledger already: nothing will close a transit."""
    moved = t.stock_adjustments.c
    query = sa.select(moved.unit_key).where(moved.is_ledgered)
    return {row[0] for row in records.in_chunks(connection, query, moved.unit_key, keys)}


def _in_transit(connection: sa.Connection, keys: Iterable[str]) -> dict[str, str]:
    """Where the cost of units stands that were refunded before they were back."""
    entered = t.postings.c
    signed = sa.case((entered.side == "debit", 1), else_=-1)
    query = (
        sa.select(entered.unit_key, entered.role, sa.func.sum(signed).label("open"))
        .where(entered.role.in_((IN_TRANSIT, LOST)))
        .group_by(entered.unit_key, entered.role)
    )
    found: dict[str, str] = {}
    for row in records.in_chunks(connection, query, entered.unit_key, keys):
        if row.open > 0:
            found[row.unit_key] = row.role
    return found


def of_this_batch(
    lines: Sequence[Posting], entered: Sequence[Any], elsewhere: Iterable[Any]
) -> list[Posting]:
    """Those of an event's lines that belong where ``entered`` stands.

    A refund of an order abroad has its money in the order's currency and its cost in the
    merchant's: they stand in two batches, and each is made again by itself.

    Args:
        lines: All that the event comes to.
        entered: Its rows in the batch.
        elsewhere: Its rows that stand outside of it.
    """
    mine = {posting_rules.part_of(row.role) for row in entered}
    others = {posting_rules.part_of(row.role) for row in elsewhere} - mine
    return [line for line in lines if posting_rules.part_of(line.role) not in others]


def as_entered_before(key: str) -> set[str]:
    """An event's keys, from the first: ``a~again1~00`` was ``a~again1``, and ``a`` before."""
    parts = key.split("~")
    return {"~".join(parts[:n]) for n in range(1, len(parts) + 1)}


def settled_event(refund_key: str) -> str:
    """The event by which the legs of an exchange meet, of its return leg's key."""
    return f"{refund_key}~{SETTLED}"


def last_event(row: Mapping[str, Any]) -> str:
    """By which event the money of a refund was entered last, or is to be now."""
    key: str = row["refund_key"]
    if row["attempt"]:
        return f"{key}~again{row['attempt']}"
    return key if row["cleared_at"] is None else settled_event(key)


def is_settlement(row: Mapping[str, Any], event: str) -> bool:
    """Whether an event of a refund is the meeting of an exchange's legs, or its taking back.

    The return leg itself is paid to nobody, so nobody can refuse it.
    """
    more = event.partition("~")[2]
    return row["tender"] == "exchange" and more.startswith((SETTLED, "again", "back"))


def refund_of(row: Mapping[str, Any]) -> RefundDue:
    """The refund behind its stored row."""
    return RefundDue(
        refund_key=row["refund_key"],
        unit_key=row["unit_key"],
        order_id=row["order_id"],
        row_id=row["row_id"],
        currency=row["currency"],
        goods_minor=row["goods_minor"],
        goods_vat_minor=row["goods_vat_minor"],
        shipping_minor=row["shipping_minor"],
        shipping_vat_minor=row["shipping_vat_minor"],
        fee_minor=row["fee_minor"],
        fee_vat_minor=row["fee_vat_minor"],
        amount_minor=row["amount_minor"],
        tax_rate_bp=row["tax_rate_bp"],
        tender=RefundType(row["tender"]),
        gateway=row["gateway"],
        effective_at=row["effective_at"],
    )


def adjustment_of(row: Mapping[str, Any]) -> StockAdjustment:
    """The stock adjustment behind its stored row."""
    return StockAdjustment(
        adjustment_key=row["adjustment_key"],
        unit_key=row["unit_key"],
        order_id=row["order_id"],
        row_id=row["row_id"],
        sku=row["sku"],
        location_id=row["location_id"],
        quantity=row["quantity"],
        scrap_quantity=row["scrap_quantity"],
        kind=row["kind"],
        from_location_id=row["from_location_id"],
    )


def as_posted(decided: Decided, row: Mapping[str, Any]) -> Decided:
    """The decision under which the row was posted, whatever was decided since."""
    return Decided(
        unit_key=decided.unit_key,
        source_code=decided.source_code,
        disposition=Disposition(decided.disposition),
        effect=StockEffect.SCRAP if row["scrap_quantity"] else StockEffect.RESTOCK,
        location_id=row["location_id"],
        sellable=row["is_sellable"],
        refund=decided.refund,
        role=row["role"],
    )


def posting_of(row: Any) -> Posting:
    """The posting behind its stored row."""
    return Posting(
        posting_key=row.posting_key,
        unit_key=row.unit_key,
        role=row.role,
        account=row.account,
        tax_key=row.tax_key,
        side=row.side,
        amount_minor=row.amount_minor,
        currency=row.currency,
        occurred_at=row.occurred_at,
        event_key=row.event_key,
        base_minor=row.base_minor,
    )
