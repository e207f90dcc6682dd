"""Cases in which people act in Linnworks beside the program."""

from __future__ import annotations

from returns_pipeline.sandbox.cases.registry import case
from returns_pipeline.sandbox.script import RESTOCK, SHARE, Script


@case
def staff_booked_it(s: Script) -> None:
    """A booking by staff that is open and fits is adopted and actioned after receipt."""
    order = s.order("TEE-NAVY-M")
    line = order.lines[0]
    unit = s.unit(order, line)
    lines = [{"row_id": line.row_id, "quantity": 1, "location": RESTOCK}]
    s.staff_does(2.0, "book_rma", order_reference=order.reference, lines=lines)
    s.expect(unit, order, line, place=RESTOCK, refund=SHARE)


@case
def staff_restocked_it(s: Script) -> None:
    """A booking that staff also actioned is adopted as done: never a second one."""
    order = s.order("CAP-BLK")
    line = order.lines[0]
    unit = s.unit(order, line)
    lines = [{"row_id": line.row_id, "quantity": 1, "location": RESTOCK}]
    s.staff_does(4.05, "book_rma", order_reference=order.reference, lines=lines, action_too=True)
    s.expect(unit, order, line, place=RESTOCK, refund=SHARE)


@case
def staff_booked_elsewhere(s: Script) -> None:
    """An open booking by staff for another location does not fit: held."""
    order = s.order("SHOE-BLK-40")
    line = order.lines[0]
    unit = s.unit(order, line)
    lines = [{"row_id": line.row_id, "quantity": 1, "location": "HR Damaged"}]
    s.staff_does(2.0, "book_rma", order_reference=order.reference, lines=lines)
    s.expect(unit, order, line, refund=None, visible=True)
