"""Linnworks' refunds: made within what was paid, sent, deleted, read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from returns_pipeline.sandbox.linnworks.returns import returnable
from returns_pipeline.sandbox.linnworks.state import LinnworksState, Refund, RefundRow, row_of
from returns_pipeline.sandbox.linnworks.wire import (
    BadRequest,
    amount,
    guid,
    objects,
    query_guid,
    stamp,
    status,
    whole,
    wrapped,
)
from returns_pipeline.sandbox.model import Order
from returns_pipeline.sandbox.server import Request

_REFUND_LINE = frozenset(
    """
    ReturnRowId OrderItemRowId RefundedUnit CancelledQuantity ExternalReference FreeTextOrNote
    Amount Quantity ReasonTag SubReasonTag InsufficientRefundTag InsufficientRefundNote
    ReasonCategory
    """.split()  # noqa: SIM905 (a column of sixty is no easier to read)
)
_UNITS = ("Item", "Shipping", "Service", "Additional")
_CANNOT = frozenset(
    """
    MissingOrderInLinnworks OpenOrderInLinnworks OrderIsFullyRefundedInLinnworks
    NoNewRefundsSpecified RefundNotInSystem
    """.split()  # noqa: SIM905 (a column of sixty is no easier to read)
)


def create_refund(state: LinnworksState, request: Request) -> object:
    """``CreateRefund``: within what line, shipping and order were paid; sends nothing."""
    given = wrapped(request, "ChannelInitiated", "OrderId", "RefundLines")
    order, why = returnable(state, guid(given, "OrderId"))
    if order is None:
        return _refused(why)
    rows = []
    for line in objects(given, "RefundLines", _REFUND_LINE):
        row = _new_row(state, order, line)
        if row.unit == "Item" and row.order_row is None:
            return _refused("OrderItemRowId is not a row of the order")
        rows.append(row)
    if not rows:
        return _refused("NoNewRefundsSpecified")
    over = over_paid(state, order, rows)
    if over:
        return _refused(over)
    return _answer(state.add_refund(order, rows))


def _new_row(state: LinnworksState, order: Order, line: Mapping[str, Any]) -> RefundRow:
    if line.get("RefundedUnit") not in _UNITS:
        raise BadRequest(f"RefundedUnit: one of {', '.join(_UNITS)}")
    return RefundRow(
        row_id=state.guid(),
        unit=line["RefundedUnit"],
        order_row=row_of(order, guid(line, "OrderItemRowId")),
        return_row=whole(line, "ReturnRowId"),
        amount=amount(line, "Amount"),
        quantity=whole(line, "Quantity") or 0,
        external=line.get("ExternalReference") or "",
        note=line.get("FreeTextOrNote") or "",
        category=line.get("ReasonCategory") or "",
    )


def over_paid(state: LinnworksState, order: Order, rows: list[RefundRow]) -> str:
    """Why these rows would give back more than was paid; empty when they do not."""
    all_rows = [row for refund in state.refunds_of(order) for row in refund.rows] + rows
    for row in rows:
        if row.amount <= 0:
            return "Amount must be positive"
        if row.unit == "Item" and row.order_row is not None:
            same = [r for r in all_rows if r.unit == "Item" and r.order_row is row.order_row]
            if _sum(same) > row.order_row.line_total:
                return "The amount exceeds what was paid for the item"
        shipping = _sum(r for r in all_rows if r.unit == "Shipping")
        if row.unit == "Shipping" and shipping > order.postage_cost:
            return "The amount exceeds what was paid for shipping"
    if _sum(all_rows) > _paid(order):
        return "OrderIsFullyRefundedInLinnworks"
    return ""


def _sum(rows: Iterable[RefundRow]) -> Decimal:
    return sum((row.amount for row in rows), Decimal(0))


def _paid(order: Order) -> Decimal:
    return sum((line.line_total for line in order.lines), Decimal(0)) + order.postage_cost


def _refused(why: str) -> dict[str, Any]:
    return {
        "RefundHeaderId": None,
        "RefundReference": None,
        "Status": status("ERROR"),
        "CannotRefundReason": why if why in _CANNOT else "Other",
        "Errors": [why],
        "RefundLines": [],
    }


def _answer(refund: Refund) -> dict[str, Any]:
    return {
        "RefundHeaderId": refund.header_id,
        "RefundReference": refund.reference,
        "Status": status("PROCESSED" if refund.times_sent else "OPEN"),
        "CannotRefundReason": "None",
        "Errors": [],
        "RefundLines": [_line(refund, row) for row in refund.rows],
    }


def _line(refund: Refund, row: RefundRow) -> dict[str, Any]:
    item = row.order_row
    return {
        "RefundRowId": row.row_id,
        "RefundHeaderId": refund.header_id,
        "Status": status("PROCESSED" if row.actioned_at else "OPEN"),
        "RefundedUnit": row.unit,
        "IsShippingRefund": row.unit == "Shipping",
        "IsAdditionalRefund": row.unit == "Additional",
        "IsCancellation": False,
        "RefundedItem": {
            "OrderItemRowId": item.row_id,
            "ReturnRowId": row.return_row,
            "ItemSKU": item.sku,
            "ChannelSKU": item.sku,
            "ItemTitle": item.title,
            "Cost": float(item.line_total),
            "CancelledQuantity": 0,
        }
        if item
        else None,
        "ValidationError": None,
        "Error": None,
        "Errors": [],
        "Actioned": row.actioned_at is not None,
        "ActionedDate": stamp(row.actioned_at),
        "ChannelInitiated": False,
        "Internal": False,
        "Deleted": refund.deleted,
        "ExternalReference": row.external,
        "IsFreeText": True,
        "FreeTextOrNote": row.note,
        "Amount": float(row.amount),
        "Quantity": row.quantity,
        "ReasonCategory": row.category,
    }


def action_refund(state: LinnworksState, request: Request) -> object:
    """``ActionRefund``: sends the money to the channel."""
    given = wrapped(request, "RefundHeaderId", "OrderId", "Request")
    refund = state.refunds.get(whole(given, "RefundHeaderId") or 0)
    if refund is None or refund.deleted or refund.order.id != guid(given, "OrderId"):
        return {**_refused("RefundNotInSystem"), "SuccessfullyActioned": False}
    if refund.times_sent and state.switches["second_refund_action"] == "refused":
        why = "The refund has been actioned already"
        return {**_refused(why), "SuccessfullyActioned": False}
    state.send(refund)
    return {**_answer(refund), "SuccessfullyActioned": True}


def delete_refund(state: LinnworksState, request: Request) -> object:
    """``DeleteRefund``: one that was not sent; its answer is an empty object."""
    given = wrapped(request, "RefundHeaderId", "ReasonTag", "RejectOnChannel")
    refund = state.refunds.get(whole(given, "RefundHeaderId") or 0)
    if refund is not None and not refund.times_sent:
        refund.deleted = True
    return {}


def refund_headers(state: LinnworksState, request: Request) -> object:
    """``GetRefundHeadersByOrderId``; unwrapped, the filter is ignored: all come back."""
    order_id = guid(wrapped(request, "OrderId"), "OrderId")
    if order_id is None:
        found = [refund for refund in state.refunds.values() if not refund.deleted]
    else:
        order = state.order(order_id)
        found = state.refunds_of(order) if order else []
    return {"RefundHeaders": [_header(refund) for refund in found]}


def _header(refund: Refund) -> dict[str, Any]:
    last = max((row.actioned_at for row in refund.rows if row.actioned_at), default=None)
    return {
        "RefundHeaderId": refund.header_id,
        "Currency": refund.order.currency,
        "Amount": float(refund.amount),
        "RefundLines": [_line(refund, row) for row in refund.rows],
        "RefundLink": "",
        "OrderId": refund.order.id,
        "NumOrderId": refund.order.num_id,
        "Status": status("PROCESSED" if refund.times_sent else "OPEN"),
        "OrderSource": refund.order.source,
        "OrderSubSource": refund.order.sub_source,
        "ExternalReference": refund.reference,
        "ChannelInitiated": False,
        "CreatedDate": stamp(refund.created_at),
        "Actioned": refund.times_sent > 0,
        "LastActionDate": stamp(last or refund.created_at),
    }


def total_refunds(state: LinnworksState, request: Request) -> object:
    """``GetTotalRefunds``: what was refunded of an order, what was paid, what is left."""
    order = state.order(query_guid(request, "pkOrderId"))
    if order is None:
        return {"Amount": 0.0, "TotalCharge": 0.0, "Refundable": 0.0}
    bookings_too = (request.one("includeBookings") or "false").lower() == "true"
    rows = [row for refund in state.refunds_of(order) for row in refund.rows]
    refunded = _sum(row for row in rows if bookings_too or row.actioned_at)
    paid = _paid(order)
    return {
        "Amount": float(refunded),
        "TotalCharge": float(paid),
        "Refundable": float(paid - refunded),
    }
