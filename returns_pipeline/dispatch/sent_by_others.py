"""What somebody else has sent instead of the goods: staff by an RMA line, a shop by an order.

A replacement is ordered by one way and by nobody twice: what fits exactly is taken for ours,
what does not is held for a person. Not here: ordering it (``replacements``, ``restocks``).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa

from returns_pipeline.clients.linnworks import Linnworks, RmaHeader
from returns_pipeline.clients.transport import NotApplied
from returns_pipeline.dispatch import restocks
from returns_pipeline.dispatch.writes import Adopt, Hold
from returns_pipeline.domain.money import format_minor
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading
from returns_pipeline.storage.outbox import Intent

_DUPLICATE = "EXCHANGE_DUPLICATE"
# An order may be made a moment after its RMA was actioned: so many polls it is waited for.
_POLLS = 3


class _General(msgspec.Struct):
    Source: str | None = None
    HoldOrCancel: bool | None = None


class _Totals(msgspec.Struct):
    TotalCharge: Decimal | None = None


class _Item(msgspec.Struct):
    SKU: str | None = None
    ChannelSKU: str | None = None
    Quantity: int = 0
    IsService: bool | None = None


class _Order(msgspec.Struct):
    OrderId: str
    NumOrderId: int
    GeneralInfo: _General
    TotalsInfo: _Totals | None = None
    Items: list[_Item] | None = None


_ORDER = msgspec.json.Decoder(_Order)


def look(linnworks: Linnworks, engine: sa.Engine, intent: Intent) -> Adopt | Hold | None:
    """What becomes of a replacement that somebody else may have sent already.

    Args:
        linnworks: Where to look.
        engine: Of our own record.
        intent: Of the replacement.

    Raises:
        NotApplied: When it will be there by an action of ours, and is not yet.
        VendorError: When it could not be looked.
    """
    payload = intent.payload
    with reading(engine) as connection:
        row_id, known = _known(connection, payload["order_id"], payload["unit_key"])
        adopted = restocks.our_headers(connection, payload["order_id"])
    headers = linnworks.rma_headers(payload["order_id"])
    by_line = _by_rma_line(headers, intent, row_id, known, adopted)
    if by_line is not None:
        return by_line
    # What stands on a line of any RMA is that line's.
    of_lines = {str(line.NewOrderId or "").lower() for one in headers for line in one.lines}
    children = foreign_children(linnworks, payload["order_id"], known | of_lines)
    return _by_order(linnworks, intent, children) if children else None


def foreign_children(linnworks: Linnworks, order_id: str, known: set[str]) -> dict[str, str]:
    """The orders that Linnworks relates to this one as its children, but for the known.

    Returns:
        Their kind of relation, by order id.

    Raises:
        VendorError: When it could not be looked.
    """
    return {
        one.child_id: one.relation
        for one in linnworks.relatives(order_id)
        if one.parent_id == order_id.lower() and one.child_id not in known
    }


def known_children(connection: sa.Connection, order_id: str) -> set[str]:
    """The replacements of the order that are known to be ours, or taken for ours."""
    wanted = t.exchange_orders.c
    query = sa.select(wanted.new_order_id).where(
        wanted.order_id == order_id, wanted.new_order_id.is_not(None)
    )
    return {str(one).lower() for one in connection.execute(query).scalars()}


def _known(connection: sa.Connection, order_id: str, unit_key: str) -> tuple[str, set[str]]:
    """The order row of the unit that is exchanged, and the replacements that are ours."""
    matched = t.matches.c
    row = sa.select(matched.row_id).where(matched.unit_key == unit_key)
    row_id = (connection.execute(row).scalar() or "").lower()
    return row_id, known_children(connection, order_id)


def _by_rma_line(
    headers: list[RmaHeader], intent: Intent, row_id: str, known: set[str], adopted: set[int]
) -> Adopt | Hold | None:
    # Whether such a line's order is made at booking or at action is not published (contract
    # 4.2 A): a line without one will have one.
    payload = intent.payload
    found = [
        (header.RMAHeaderId, line)
        for header in headers
        for line in header.lines
        if line.Type == "Exchange"
        and (line.OrderItemRowId or "").lower() == row_id
        and str(line.NewOrderId or "").lower() not in known
    ]
    if not found:
        return None
    of, lines = {header_id for header_id, _ in found}, [line for _, line in found]
    shown = [(line.ExchangeSKU, line.ExchangeQuantity) for line in lines]
    fits = shown == [(payload["sku"], payload["quantity"])]
    made = lines[0].NewOrderId
    if fits and made and payload["unit_price_minor"] == 0:  # theirs is of no value [D]
        return Adopt({"order_id": str(made).lower(), "adopted": True, "by_others": True})
    ids = ", ".join(str(line.RMARowId) for line in lines)
    if fits and not made and of <= adopted:
        if lines[0].Actioned and intent.attempt > _POLLS:
            why = f"RMA line {ids} is actioned, and shows no order of the replacement"
            return Hold(why, "EXCHANGE_ORDER_MISSING")
        # We restock by that booking, and then its order is there.
        raise NotApplied("CreateOrders", "the exchange on the RMA has no order yet")
    return Hold(f"RMA line {ids} of somebody else exchanges the same goods", _DUPLICATE)


def _by_order(
    linnworks: Linnworks, intent: Intent, children: Mapping[str, str]
) -> Adopt | Hold | None:
    """Orders that a shop exports itself, or that somebody made by hand."""
    payload = intent.payload
    fitting, others = [], []
    for raw in linnworks.orders_by_id(sorted(children)):
        order = _ORDER.decode(raw)
        if order.GeneralInfo.HoldOrCancel or order.GeneralInfo.Source == payload["source"]:
            continue  # a cancelled one replaces nothing; one of ours is another unit's
        goods = [
            (item.SKU or item.ChannelSKU, item.Quantity)
            for item in order.Items or []
            if not item.IsService
        ]
        minor = payload["unit_price_minor"] * payload["quantity"]
        charged = (order.TotalsInfo.TotalCharge if order.TotalsInfo else None) or Decimal(0)
        is_priced_so = charged == Decimal(format_minor(minor, payload["currency"]))
        if goods == [(payload["sku"], payload["quantity"])] and is_priced_so:
            fitting.append(order)
        elif _is_exchange(children[order.OrderId.lower()]) or payload["sku"] in dict(goods):
            others.append(order)
    if len(fitting) == 1 and not others:
        evidence: dict[str, Any] = {
            "order_id": fitting[0].OrderId.lower(),
            "num_id": fitting[0].NumOrderId,
        }
        return Adopt({**evidence, "adopted": True, "by_others": True})
    if not fitting and not others:
        return None
    ids = ", ".join(str(order.NumOrderId) for order in (*fitting, *others))
    return Hold(f"order {ids} of somebody else replaces the same goods, perhaps", _DUPLICATE)


def _is_exchange(relation: str) -> bool:
    return "EXCHANGE" in relation.upper()
