"""What people do in the Linnworks screens, at once or when their scripted time comes.

``book_rma`` (``order_reference``, ``lines`` of ``row_id, quantity, location`` and perhaps
``exchange_sku``, for as many of which the goods are exchanged, ``reference``,
``action_too``), ``action_rma`` (``header_id``), ``delete_rma`` (``order_reference``: what is
booked and not actioned), ``undo_rma`` (``order_reference``: what is actioned, with its
stock), ``edit_location`` (``header_id`` or ``order_reference``, ``location``), ``move``
(``sku, quantity, from, to``), ``refund`` (``order_reference, row_id, amount``, sent too
unless ``action_too`` is false), ``void_refund`` (``order_reference, amount``: one of this
amount, sent or not), ``make_order`` (``order_reference, sku, quantity``: a replacement by
hand, free), ``link_item`` (``order_reference``), ``count_stock`` (``sku, location, level``),
``process_order``, ``cancel_order``, ``touch_order`` (``order_reference``),
``rename_location`` (``from, to``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from returns_pipeline.sandbox.linnworks.state import (
    LinnworksState,
    RefundRow,
    Rma,
    RmaLine,
    row_of,
)
from returns_pipeline.sandbox.model import Order, OrderLine


class NotYet(Exception):  # noqa: N818 (it is no error)
    """What is to be done cannot be done, or not yet."""


def act(
    state: LinnworksState, action: Mapping[str, Any], at: datetime | None = None
) -> dict[str, Any]:
    """Do one thing as a person would.

    Raises:
        NotYet: When there is no such thing to do.
    """
    function = _ACTIONS.get(action.get("action", ""))
    if function is None:
        raise NotYet(f"no action {action.get('action')!r}; one of {', '.join(_ACTIONS)}")
    return function(state, action, at or state.clock.now())


def catch_up(state: LinnworksState) -> None:
    """Do what people were scripted to have done by now; what cannot be done waits."""
    now = state.clock.now()
    due = [n for n, one in enumerate(state.world.staff) if one.at <= now]
    while due:
        done = {number for number in due if number not in state.staff_done and _did(state, number)}
        state.staff_done |= done
        if not done:
            return


def _did(state: LinnworksState, number: int) -> bool:
    one = state.world.staff[number]
    try:
        act(state, one.action, one.at)
    except NotYet:
        return False
    return True


def _order(state: LinnworksState, action: Mapping[str, Any]) -> Order:
    found = state.referenced(str(action.get("order_reference") or ""))
    if not found:
        raise NotYet(f"no order {action.get('order_reference')!r}")
    return found[0]


def _rmas(state: LinnworksState, action: Mapping[str, Any]) -> list[Rma]:
    if "header_id" in action:
        rma = state.rmas.get(action["header_id"])
        found = [rma] if rma is not None else []
    else:
        found = [rma for rma in state.rmas_of(_order(state, action)) if rma.actioned]
    if not found:
        raise NotYet("no such booking")
    return found


def _book(state: LinnworksState, action: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    order = _order(state, action)
    lines = []
    for one in action["lines"]:
        row = row_of(order, one["row_id"])
        if row is None:
            raise NotYet(f"no row {one['row_id']!r}")
        state.next_row += 1
        lines.append(
            RmaLine(
                row_id=state.next_row,
                order_row=row,
                location=state.location_id(one["location"]),
                quantity=one["quantity"],
                scrap=0,
                refund=Decimal(0),
                category="",
                reason="booked by staff",
                exchange=(one["exchange_sku"], one["quantity"]) if "exchange_sku" in one else None,
            )
        )
    rma = state.book(order, lines, action.get("reference"), channel=False, at=at)
    if action.get("action_too"):
        state.post(rma, at)
    return {"header_id": rma.header_id}


def _action(state: LinnworksState, action: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    for rma in _rmas(state, action):
        state.post(rma, at)
    return {"done": "action_rma"}


def _edit_location(
    state: LinnworksState, action: Mapping[str, Any], at: datetime
) -> dict[str, Any]:
    there = state.location_id(action["location"])
    for rma in _rmas(state, action):
        for line in rma.live:
            if line.actioned_at and line.location != there:
                sku = line.order_row.sku
                state.move(sku, line.location, -line.quantity, "Corrected by staff", at, rma, line)
                state.move(sku, there, line.quantity, "Corrected by staff", at, rma, line)
            line.location = there
    return {"done": "edit_location"}


def _move(state: LinnworksState, action: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    here, there = state.location_id(action["from"]), state.location_id(action["to"])
    state.move(action["sku"], here, -action["quantity"], "Moved by staff", at)
    state.move(action["sku"], there, action["quantity"], "Moved by staff", at)
    return {"done": "move"}


def _refund(state: LinnworksState, action: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    order = _order(state, action)
    row = row_of(order, action["row_id"])
    money = RefundRow(state.guid(), "Item", row, None, Decimal(str(action["amount"])), 1)
    refund = state.add_refund(order, [money], at)
    if action.get("action_too", True):
        state.send(refund, at)
    return {"header_id": refund.header_id}


def _process(state: LinnworksState, action: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    order = _order(state, action)
    order.processed_at = at
    state.touch(order, at)
    return {"done": "process_order"}


def _cancel(state: LinnworksState, action: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    order = _order(state, action)
    order.cancelled_at = at
    state.touch(order, at)
    return {"done": "cancel_order"}


def _touch(state: LinnworksState, action: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    order = _order(state, action)
    order.touched_at = at
    state.touch(order, at)
    return {"done": "touch_order"}


def _rename(state: LinnworksState, action: Mapping[str, Any], _at: datetime) -> dict[str, Any]:
    for place in state.world.locations:
        if place.name == action["from"]:
            place.name = action["to"]
            return {"done": "rename_location"}
    raise NotYet(f"no location {action['from']!r}")


def _delete_rma(state: LinnworksState, action: Mapping[str, Any], _at: datetime) -> dict[str, Any]:
    lines = [
        line
        for rma in state.rmas_of(_order(state, action))
        for line in rma.live
        if line.actioned_at is None
    ]
    if not lines:
        raise NotYet("no such booking")
    for line in lines:
        line.deleted = True
    return {"done": "delete_rma"}


def _undo_rma(state: LinnworksState, action: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    for rma in _rmas(state, action):
        for line in rma.live:
            state.move(line.order_row.sku, line.location, -line.quantity, "Undone by staff", at)
            line.deleted = True
    return {"done": "undo_rma"}


def _void_refund(state: LinnworksState, action: Mapping[str, Any], _at: datetime) -> dict[str, Any]:
    wanted = Decimal(str(action["amount"]))
    for refund in state.refunds_of(_order(state, action)):
        if refund.amount == wanted:
            refund.deleted = True
            return {"done": "void_refund"}
    raise NotYet(f"no refund of {wanted}")


def _make_order(state: LinnworksState, action: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    order = _order(state, action)
    item = state.item(action["sku"])
    if item is None:
        raise NotYet(f"no item {action['sku']!r}")
    quantity = action["quantity"]
    line = OrderLine(
        row_id=state.guid(),
        item_number="",
        sku=item.sku,
        stock_item_id=item.id,
        title=item.title,
        quantity=quantity,
        price_per_unit=Decimal(0),
        tax_rate=Decimal(20),
        line_total=Decimal(0),
        unit_cost=item.unit_cost,
    )
    made = replace(
        order,
        id=state.guid(),
        num_id=order.num_id + 500_000,
        reference=f"{order.reference}-BY-HAND",
        secondary_reference="",
        external_reference="",
        received_at=at,
        paid_at=at,
        processed_at=at,
        last_updated=at,
        lines=[line],
        related_to=order.reference,
        is_exchange=True,
    )
    state.add_order(made)
    return {"order_id": made.id, "num_id": made.num_id}


def _link_item(state: LinnworksState, action: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    order = _order(state, action)
    for line in order.lines:
        item = state.item(line.sku)
        if line.unlinked and item is not None:
            line.unlinked, line.stock_item_id = False, item.id
    state.touch(order, at)
    return {"done": "link_item"}


def _count_stock(state: LinnworksState, action: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    place = state.location_id(action["location"])
    change = action["level"] - state.levels[action["sku"], place]
    state.move(action["sku"], place, change, "Counted by staff", at)
    return {"done": "count_stock"}


_ACTIONS: dict[str, Callable[[LinnworksState, Mapping[str, Any], datetime], dict[str, Any]]] = {
    "book_rma": _book,
    "action_rma": _action,
    "delete_rma": _delete_rma,
    "undo_rma": _undo_rma,
    "edit_location": _edit_location,
    "move": _move,
    "refund": _refund,
    "void_refund": _void_refund,
    "make_order": _make_order,
    "link_item": _link_item,
    "count_stock": _count_stock,
    "process_order": _process,
    "cancel_order": _cancel,
    "touch_order": _touch,
    "rename_location": _rename,
}
