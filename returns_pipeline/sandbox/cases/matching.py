"""Cases of finding the order and the line a unit belongs to."""

from __future__ import annotations

from decimal import Decimal

from returns_pipeline.sandbox.cases.registry import case
from returns_pipeline.sandbox.script import RESTOCK, SHARE, Line, Script


@case
def two_lines_one_sku_with_line_id(s: Script) -> None:
    """The line id tells which: the dearer line is refunded."""
    order = s.order("TEE-RED-M", Line("TEE-RED-M", discount="50"))
    unit = s.unit(order, order.lines[0])
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def two_lines_one_sku_without_line_id(s: Script) -> None:
    """No line id and two lines that fit: CX chooses, nobody guesses."""
    order = s.order("TEE-RED-M", Line("TEE-RED-M", discount="50"))
    unit = s.unit(order, order.lines[0], line_item_id="")
    s.expect(unit, order, exceptions=("LINE_AMBIGUOUS_SKU",))


@case
def line_id_arrives_late(s: Script) -> None:
    """Ambiguous until the line id comes; then it goes on by itself."""
    order = s.order("TEE-RED-M", Line("TEE-RED-M", discount="50"))
    unit = s.unit(order, order.lines[1], line_item_id="")
    unit.revisions = [(s.day(5.2), {"orderLineItemID": order.lines[1].item_number})]
    s.expect(unit, order, order.lines[1], place=RESTOCK, refund=SHARE)


@case
def line_id_missing_one_line_fits(s: Script) -> None:
    """No line id, but only one line has the SKU."""
    order = s.order("TEE-RED-M", "CAP-BLK")
    unit = s.unit(order, order.lines[1], line_item_id="")
    s.expect(unit, order, order.lines[1], place=RESTOCK, refund=SHARE)


@case
def line_id_is_linnworks_row_id(s: Script) -> None:
    """The retailer passed Linnworks' own order item row id at initiation."""
    order = s.order("TEE-NAVY-S", Line("TEE-NAVY-S", discount="10"))
    line = order.lines[1]
    unit = s.unit(order, line, line_item_id=line.row_id)
    s.expect(unit, order, line, place=RESTOCK, refund=SHARE)


@case
def line_id_looks_suffixed(s: Script) -> None:
    """The shop's own line id ends like Happy Returns' quantity suffix."""
    order = s.order(Line("DRESS-GRN-M", item_number="15502999000001-0-5"), "DRESS-GRN-M")
    unit = s.unit(order, order.lines[0])
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def sku_not_passed(s: Script) -> None:
    """The shop passes no SKU: the line id is enough."""
    order = s.order("SOCK-3", "CAP-BLK")
    unit = s.unit(order, order.lines[0], sku="")
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def order_number_without_hash(s: Script) -> None:
    """Happy Returns prints the order number without the shop's ``#``; found by its freight."""
    order = s.order("TEE-NAVY-M")
    unit = s.unit(order, order.lines[0], order_number=order.reference.removeprefix("#"))
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def order_open(s: Script) -> None:
    """The order was never despatched in Linnworks."""
    order = s.order("TEE-RED-M", processed=None)
    unit = s.unit(order, order.lines[0])
    s.expect(unit, order, exceptions=("ORDER_NOT_PROCESSED",))


@case
def order_open_then_processed(s: Script) -> None:
    """Somebody processes the order after the goods are back; it resolves itself."""
    order = s.order("CAP-BLK", processed=None)
    unit = s.unit(order, order.lines[0])
    s.staff_does(5.0, "process_order", order_reference=order.reference)
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def order_cancelled(s: Script) -> None:
    """Cancelled after despatch: Linnworks takes no return; somebody must look."""
    order = s.order("TEE-RED-L", cancelled_at=s.day(-9))
    unit = s.unit(order, order.lines[0])
    s.expect(unit, order, visible=True)


@case
def order_cancelled_before_despatch(s: Script) -> None:
    """Linnworks says that it was never sent, and yet goods came: somebody must look."""
    order = s.order("TEE-RED-S", processed=None, cancelled_at=s.day(-9))
    unit = s.unit(order, order.lines[0])
    s.expect(unit, order, visible=True)


@case
def order_unknown(s: Script) -> None:
    """No such order in Linnworks: an orphan; only its freight tells of it."""
    order = s.order("TEE-RED-M")
    unit = s.unit(order, order.lines[0], order_number="#77001", shop_order_id="6199999990001")
    s.expect(unit, exceptions=("ORPHAN_RETURN",))


@case
def order_archived(s: Script) -> None:
    """The order was there once and Linnworks archived it."""
    order = s.order("SHOE-BLK-41")
    unit = s.unit(order, order.lines[0])
    s.orders.remove(order)
    s.expect(unit, exceptions=("ORPHAN_RETURN",))


@case
def order_merged(s: Script) -> None:
    """Merged under another number: the shop's own order id still leads to it.

    Whether the program follows it or asks a person is left open.
    """
    order = s.order("TEE-NAVY-S")
    unit = s.unit(order, order.lines[0], order_number="#77002")
    s.expect(unit, order, order.lines[0], stock=None, refund=None)


@case
def order_reference_ambiguous(s: Script) -> None:
    """Two shops share an order number."""
    order = s.order("TEE-RED-M")
    s.order(
        "TEE-RED-M",
        reference=order.reference,
        sub_source="modern-outlet",
        secondary_reference=order.secondary_reference,
    )
    unit = s.unit(order, order.lines[0], line_item_id="")
    s.expect(unit, exceptions=("ORDER_REF_AMBIGUOUS",))


@case
def quantity_exceeds_ordered(s: Script) -> None:
    """One was despatched, two come back."""
    order = s.order("CAP-BLK")
    first = s.unit(order, order.lines[0], start=-1)
    second = s.unit(order, order.lines[0], refund_amount=Decimal("14.00"))
    s.expect(first, order, order.lines[0], place=RESTOCK, refund=SHARE)
    s.expect(second, order, exceptions=("QTY_EXCEEDS_ORDERED",))


@case
def same_unit_in_two_returns(s: Script) -> None:
    """Two returns claim the same unit of a line."""
    order = s.order(Line("TEE-NAVY-L", 2))
    line = order.lines[0]
    first = s.unit(order, line, offset=0, start=-1)
    second = s.unit(order, line, offset=0)
    s.expect(first, order, line, stock=None, refund=None)
    s.expect(second, order, line, stock=None, refund=None, exceptions=("DUPLICATE_RETURN_UNIT",))


@case
def item_id_absent(s: Script) -> None:
    """Two units of one line without an item id: return, line and occurrence tell them apart."""
    order = s.order(Line("SOCK-3", 2))
    line = order.lines[0]
    bare = {"happyReturnsItemID": None, "orderLineItemID": line.item_number}
    first = s.unit(order, line, offset=0, extra=bare)
    second = s.unit(order, line, offset=1, together=first, extra=bare)
    for unit in (first, second):
        s.expect(unit, order, line, place=RESTOCK, refund=SHARE)


@case
def unlinked_item(s: Script) -> None:
    """The order line is linked to no stock item."""
    order = s.order(Line("PIN-01", unlinked=True))
    unit = s.unit(order, order.lines[0])
    s.expect(unit, order, order.lines[0], refund=None, exceptions=("SKU_UNLINKED",))


@case
def batched_item(s: Script) -> None:
    """A batched item's return is booked in by hand."""
    order = s.order("VIT-C-60")
    unit = s.unit(order, order.lines[0])
    s.expect(unit, order, order.lines[0], refund=None, exceptions=("BATCH_ITEM_MANUAL",))


@case
def kit_returned_whole(s: Script) -> None:
    """A bundle comes back as such: its children are restocked."""
    order = s.order("KIT-TEA")
    unit = s.unit(order, order.lines[0])
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def kit_returned_incomplete(s: Script) -> None:
    """One mug of the bundle comes back: it is restocked, the money is CX's decision."""
    order = s.order("KIT-TEA")
    mug = order.lines[0].children[0]
    unit = s.unit(order, mug, line_item_id=mug.row_id, refund_amount=Decimal("7.00"))
    s.expect(unit, order, mug, place=RESTOCK, refund=None, exceptions=("KIT_INCOMPLETE",))


@case
def two_orders_in_one_bag(s: Script) -> None:
    """One return over two orders: each has its own booking and refund."""
    one, other = s.order("TEE-RED-S"), s.order("BOOK-01")
    first = s.unit(one, one.lines[0])
    second = s.unit(other, other.lines[0], together=first)
    s.expect(first, one, one.lines[0], place=RESTOCK, refund=SHARE)
    s.expect(second, other, other.lines[0], place=RESTOCK, refund=SHARE)


@case
def two_returns_of_one_line(s: Script) -> None:
    """Two of two units come back one after the other: two receipts, two bookings."""
    order = s.order(Line("MUG-BLU", 2))
    line = order.lines[0]
    for offset, start in enumerate((-2, 1)):
        unit = s.unit(order, line, offset=offset, start=start)
        s.expect(unit, order, line, place=RESTOCK, refund=SHARE)


@case
def outside_return_window(s: Script) -> None:
    """Despatched eleven weeks ago: quarantined, held, CX decides; found by its freight."""
    order = s.order("DRESS-GRN-L", processed=-76)
    unit = s.unit(order, order.lines[0])
    s.expect(
        unit, order, order.lines[0], place="HR Quarantine", exceptions=("OUT_OF_POLICY_WINDOW",)
    )
