"""Cases of exchanges that do not go straight: ended, refused, in part, of several kinds."""

from __future__ import annotations

from typing import Any

from returns_pipeline.sandbox import catalogue
from returns_pipeline.sandbox.cases.registry import case
from returns_pipeline.sandbox.model import Order, OrderLine, ReturnUnit
from returns_pipeline.sandbox.script import RESTOCK, Line, Script


def _swapped(
    s: Script, order: Order, line: OrderLine, wanted: str, *, quantity: int = 1, **more: Any
) -> ReturnUnit:
    price = catalogue.PRODUCTS[wanted].price if wanted in catalogue.PRODUCTS else None
    return s.unit(
        order,
        line,
        refund_type="exchange",
        exchange_sku=wanted,
        exchange_quantity=quantity,
        exchange_unit_price=price if price is not None else s.share(line, 0),
        **more,
    )


@case
def exchange_cancelled(s: Script) -> None:
    """Cancelled before it was handed over: nothing is sent."""
    order = s.order("TEE-RED-S")
    line = order.lines[0]
    _swapped(s, order, line, "TEE-RED-M", start=1, until="started", cancelled_at=2.0)
    s.expect(s.units[-1], order, line)


@case
def exchange_failed_inspection(s: Script) -> None:
    """Inspected, and put into quarantine: its replacement waits, and that is seen."""
    order = s.order("DRESS-GRN-L")
    unit = _swapped(s, order, order.lines[0], "DRESS-GRN-S", disposition="quarantine")
    s.expect(
        unit, order, order.lines[0], place="HR Quarantine", exceptions=("RECEIVED_NOT_REFUNDED",)
    )


@case
def exchange_of_the_wrong_item(s: Script) -> None:
    """Something else was in the bag: nothing is stocked or sent, CX looks."""
    order = s.order("JKT-OLV-M")
    unit = _swapped(s, order, order.lines[0], "JKT-OLV-L", disposition="mismatch")
    s.expect(unit, order, order.lines[0], exceptions=("WRONG_ITEM_SUSPECTED",))


@case
def exchange_received_in_part(s: Script) -> None:
    """Two of a line are exchanged and one has come: one replacement is sent."""
    order = s.order(Line("TEE-NAVY-S", quantity=2))
    line = order.lines[0]
    here = _swapped(s, order, line, "TEE-NAVY-M")
    there = _swapped(
        s, order, line, "TEE-NAVY-M", offset=1, start=2, until="departed", together=here
    )
    s.expect(here, order, line, place=RESTOCK, exchange_orders=1)
    s.expect(there, order, line)


@case
def exchange_of_several_items(s: Script) -> None:
    """Two articles in one return: one for another size, one for something dearer."""
    order = s.order("TEE-NAVY-L", "CAP-BLK")
    first, second = order.lines
    even = _swapped(s, order, first, "TEE-NAVY-S")
    dearer = _swapped(s, order, second, "TEE-NAVY-M", together=even)
    s.expect(even, order, first, place=RESTOCK, exchange_orders=1)
    s.expect(dearer, order, second, place=RESTOCK, exchange_orders=1)


@case
def exchange_for_two(s: Script) -> None:
    """One article for two of another: priced, both sent by one order, the rest refunded."""
    order = s.order("TEE-NAVY-M")
    line = order.lines[0]
    unit = _swapped(s, order, line, "SOCK-3", quantity=2)
    rest = s.share(line, 0) - 2 * catalogue.PRODUCTS["SOCK-3"].price
    s.expect(unit, order, line, place=RESTOCK, refund=rest, exchange_orders=1)


@case
def exchange_into_a_bundle(s: Script) -> None:
    """For a bundle, which is there as often as its parts are."""
    order = s.order("TEE-RED-L")
    unit = _swapped(s, order, order.lines[0], "KIT-TEA")
    s.expect(unit, order, order.lines[0], place=RESTOCK, exchange_orders=1)


@case
def exchange_for_an_unknown_article(s: Script) -> None:
    """Linnworks has no such article: the goods are stocked, and a person is asked."""
    order = s.order("TEE-RED-M")
    unit = _swapped(s, order, order.lines[0], "TEE-RED-XXL")
    s.expect(unit, order, order.lines[0], place=RESTOCK, exceptions=("SKU_UNKNOWN",))
