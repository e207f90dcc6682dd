"""Cases of goods exchanged for others."""

from __future__ import annotations

from returns_pipeline.sandbox import catalogue
from returns_pipeline.sandbox.cases.registry import case
from returns_pipeline.sandbox.model import Order, ReturnUnit
from returns_pipeline.sandbox.script import RESTOCK, Script


def _exchanged(
    s: Script, order: Order, wanted: str, *, until: str = "inspected", start: float = 0.0
) -> ReturnUnit:
    return s.unit(
        order,
        order.lines[0],
        start=start,
        until=until,
        refund_type="exchange",
        exchange_sku=wanted,
        exchange_quantity=1,
        exchange_unit_price=catalogue.PRODUCTS[wanted].price,
    )


@case
def even_exchange(s: Script) -> None:
    """Another size at the same price: one replacement order, after receipt, of no value."""
    order = s.order("TEE-RED-M")
    unit = _exchanged(s, order, catalogue.OTHER_SIZE["TEE-RED-M"])
    s.expect(unit, order, order.lines[0], place=RESTOCK, exchange_orders=1)


@case
def exchange_before_receipt(s: Script) -> None:
    """Not ordered before the goods are back; unless the policy trusts the group ``VIP``."""
    order = s.order("DRESS-GRN-S", tags=("VIP",))
    unit = _exchanged(s, order, catalogue.OTHER_SIZE["DRESS-GRN-S"], until="departed", start=2)
    s.expect(unit, order, order.lines[0])


@case
def uneven_exchange_up(s: Script) -> None:
    """For something dearer: a priced order; no refund of its own."""
    order = s.order("DRESS-GRN-M")
    unit = _exchanged(s, order, "SHOE-BLK-41")
    s.expect(unit, order, order.lines[0], place=RESTOCK, exchange_orders=1)


@case
def uneven_exchange_down(s: Script) -> None:
    """For something cheaper: a priced order, and the rest is refunded."""
    order = s.order("SHOE-BLK-42")
    line = order.lines[0]
    unit = _exchanged(s, order, "DRESS-GRN-M")
    rest = s.share(line, 0) - catalogue.PRODUCTS["DRESS-GRN-M"].price
    s.expect(unit, order, line, place=RESTOCK, refund=rest, exchange_orders=1)


@case
def instant_exchange(s: Script) -> None:
    """The shop has sent the replacement already; the original is under way: none is made."""
    order = s.order("TEE-NAVY-M")
    unit = _exchanged(s, order, "TEE-NAVY-L", until="departed", start=2)
    s.order(
        "TEE-NAVY-L",
        processed=3,
        reference=f"{order.reference}-EX",
        related_to=order.reference,
        is_exchange=True,
    )
    s.expect(unit, order, order.lines[0])
