"""The replacement of an exchanged unit: its order, and whether it is even.

Zero value only when even: the replacement costs exactly what was paid for the original.
Otherwise it is priced, and the two legs meet on exchange clearing.
"""

from __future__ import annotations

import hashlib

from returns_pipeline.domain.model import Cleared, ExchangeOrder, Held, Matched, Order, Unit
from returns_pipeline.domain.policy import Policy
from returns_pipeline.domain.refunds import (
    goods_due,
    is_unpriced_part,
    line_of,
    unpriced_part,
)


def is_even(unit: Unit, goods_minor: int, returned_sku: str) -> bool:
    """Whether the replacement costs what was paid for the original, gross.

    Without a price only one unit of the very same SKU is known to be even.
    """
    quantity = max(1, unit.exchange_quantity)
    if unit.exchange_unit_price_minor is None:
        return quantity == 1 and unit.exchange_sku.casefold() == returned_sku.casefold()
    return unit.exchange_unit_price_minor * quantity == goods_minor


def exchange_order(
    unit: Unit, matched: Matched, order: Order, cleared: Cleared, policy: Policy
) -> ExchangeOrder | Held:
    """The order for the replacement.

    Returns:
        ``Held`` where no replacement or no price was given, or where the original has
        none: nothing is guessed, and nothing is free by accident.
    """
    del cleared, policy  # the gate has been asked; both ways of ordering need the same facts
    if not unit.exchange_sku:
        return Held(
            "EXCHANGE_ORDER_MISSING",
            "an exchange without a replacement SKU",
            "EXCHANGE_ORDER_MISSING",
        )
    if unit.currency is not None and unit.currency != order.currency:
        return Held(
            "EXCHANGE_UNEVEN_ZERO_VALUE",
            f"the exchange is priced in {unit.currency}, the order in {order.currency}",
            "EXCHANGE_UNEVEN_ZERO_VALUE",
        )
    line = line_of(order, matched.row_id)
    if is_unpriced_part(line) and unit.exchange_unit_price_minor is not None:
        return unpriced_part()  # there is nothing to compare the price with
    even = is_even(unit, goods_due(order, matched), line.sku)
    if not even and not unit.exchange_unit_price_minor:
        return Held(
            "EXCHANGE_UNEVEN_ZERO_VALUE",
            "the replacement has no price and is not known to be even",
            "EXCHANGE_UNEVEN_ZERO_VALUE",
        )
    return ExchangeOrder(
        exchange_key=f"{unit.unit_key}:exchange",
        unit_key=unit.unit_key,
        order_id=order.order_id,
        reference=_reference(unit),
        sku=unit.exchange_sku,
        quantity=max(1, unit.exchange_quantity),
        unit_price_minor=0 if even else unit.exchange_unit_price_minor or 0,
        currency=order.currency,
        even=even,
    )


def _reference(unit: Unit) -> str:
    digest = hashlib.sha256(unit.unit_key.encode()).hexdigest()[:12].upper()
    return f"{unit.order_key.upper()[:30]}-EX-{digest}"
