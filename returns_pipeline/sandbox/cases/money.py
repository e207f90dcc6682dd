"""Cases of what is refunded: shares, discounts, fees, postage, other tenders."""

from __future__ import annotations

from decimal import Decimal

from returns_pipeline.sandbox.cases.registry import case
from returns_pipeline.sandbox.script import RESTOCK, SHARE, Line, Script


@case
def keep_item(s: Script) -> None:
    """Returnless: refunded once approved, nothing comes back."""
    order = s.order("PIN-01")
    unit = s.unit(
        order, order.lines[0], until="started", approved_at=0.5, returnless=True, via="other"
    )
    s.expect(unit, order, order.lines[0], refund=SHARE)


@case
def cumulative_rounding(s: Script) -> None:
    """Three units of a line of 20.00: 6.67 + 6.66 + 6.67, never 20.01."""
    order = s.order(Line("SOCK-3", 3, total="20.00"))
    line, first = order.lines[0], None
    for offset in range(3):
        unit = s.unit(order, line, offset=offset, together=first)
        first = first or unit
        s.expect(unit, order, line, place=RESTOCK, refund=SHARE)


@case
def discounted_line(s: Script) -> None:
    """What was paid is refunded, not the price."""
    order = s.order(Line("DRESS-GRN-S", discount="15"))
    unit = s.unit(order, order.lines[0])
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def mixed_vat(s: Script) -> None:
    """A standard-rated and a zero-rated line of one order."""
    order = s.order("TEE-RED-M", "KIDS-TEE-4")
    first = s.unit(order, order.lines[0])
    second = s.unit(order, order.lines[1], together=first)
    s.expect(first, order, order.lines[0], place=RESTOCK, refund=SHARE)
    s.expect(second, order, order.lines[1], place=RESTOCK, refund=SHARE)


@case
def euro_order(s: Script) -> None:
    """Another currency has a batch of its own."""
    order = s.order("JKT-OLV-M", currency="EUR", country="Ireland")
    unit = s.unit(order, order.lines[0])
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def paid_by_paypal(s: Script) -> None:
    """Another gateway."""
    order = s.order("TEE-NAVY-L", payment_method="PayPal")
    unit = s.unit(order, order.lines[0])
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def shipping_refunded(s: Script) -> None:
    """The postage is given back too, once for the return, though each item repeats it."""
    order = s.order("TEE-RED-M", "CAP-BLK", postage="4.95")
    postage = Decimal("4.95")
    first = s.unit(order, order.lines[0], shipping_refund_amount=postage)
    second = s.unit(order, order.lines[1], together=first, shipping_refund_amount=postage)
    paid = s.share(order.lines[0], 0) + postage
    s.expect(first, order, order.lines[0], place=RESTOCK, refund=paid)
    s.expect(second, order, order.lines[1], place=RESTOCK, refund=SHARE)


@case
def fee_on_return(s: Script) -> None:
    """A fee is kept back from the money."""
    order = s.order("DRESS-GRN-M")
    unit = s.unit(order, order.lines[0], disposition="no packaging", return_fee=Decimal("3.00"))
    less = s.share(order.lines[0], 0) - Decimal("3.00")
    s.expect(unit, order, order.lines[0], place="HR Quarantine", refund=less)


@case
def fee_once_for_two_units(s: Script) -> None:
    """The fee is repeated on each item and kept once."""
    order = s.order(Line("TEE-NAVY-M", 2))
    line, fee = order.lines[0], Decimal("5.00")
    first = s.unit(order, line, offset=0, return_fee=fee)
    second = s.unit(order, line, offset=1, together=first, return_fee=fee)
    s.expect(first, order, line, place=RESTOCK, refund=s.share(line, 0) - fee)
    s.expect(second, order, line, place=RESTOCK, refund=s.share(line, 1))


@case
def fee_above_refund(s: Script) -> None:
    """A fee above the refund is somebody's task; the goods are restocked all the same."""
    order = s.order("PIN-01")
    unit = s.unit(order, order.lines[0], return_fee=Decimal("5.00"))
    s.expect(unit, order, order.lines[0], place=RESTOCK, visible=True)


@case
def refund_amount_mismatch(s: Script) -> None:
    """Happy Returns names another amount: the refund is held, the stock is not."""
    order = s.order("SHOE-BLK-41")
    unit = s.unit(order, order.lines[0], refund_amount=Decimal("70.00"))
    s.expect(unit, order, order.lines[0], place=RESTOCK, exceptions=("REFUND_AMOUNT_MISMATCH",))


@case
def gift_return(s: Script) -> None:
    """Store credit: stock moves, Linnworks is sent no money."""
    order = s.order("TEE-NAVY-S")
    unit = s.unit(order, order.lines[0], refund_type="store-credit")
    s.expect(unit, order, order.lines[0], place=RESTOCK)


@case
def return_to_sender(s: Script) -> None:
    """Undeliverable: stock moves, no money by itself."""
    order = s.order("TEE-NAVY-S")
    unit = s.unit(order, order.lines[0], via="mail", refund_type="none", approved_at=None)
    unit.extra = {"status": "returned"}
    s.expect(unit, order, order.lines[0], place=RESTOCK)
