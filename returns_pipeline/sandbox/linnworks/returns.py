"""Linnworks' returns: bookings made, actioned, deleted, and every way to read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from returns_pipeline.sandbox.linnworks.orders import details
from returns_pipeline.sandbox.linnworks.state import (
    LinnworksState,
    RefundRow,
    Rma,
    RmaLine,
    row_of,
)
from returns_pipeline.sandbox.linnworks.wire import (
    BadRequest,
    amount,
    check_names,
    guid,
    instant,
    number,
    objects,
    query_guid,
    stamp,
    status,
    whole,
    wrapped,
)
from returns_pipeline.sandbox.model import Order, OrderLine
from returns_pipeline.sandbox.server import Request, cut_page

_HEADERS_PER_PAGE = 20
_RETURN_ITEM = frozenset(
    """
    OrderItemRowId ReturnItemSKU ReturnItemTitle BatchInventoryId ReturnLocation ReturnQuantity
    RefundAmount RefundRowId ScrapQuantity ReasonCategory IsFreeText Reason ReasonTag
    SubReasonTag BinrackOverride Status
    """.split()  # noqa: SIM905 (a column of sixty is no easier to read)
)
_EXCHANGE_ITEM = _RETURN_ITEM | {
    *("ExchangeStockItemId", "ExchangeSKU", "ExchangeTitle", "ExchangeQuantity"),
    *("DespatchLocationId", "AdditionalCost"),
}
_FILTERS = frozenset(
    """
    HEADER_ID ORDER_ID HEADER_REFERENCE ORDER_REFERENCES ORDER_TRACKING ITEM_INFO CUSTOMER_INFO
    """.split()  # noqa: SIM905 (a column of sixty is no easier to read)
)


# --- booking ----------------------------------------------------------------------


def returnable(state: LinnworksState, order_id: str | None) -> tuple[Order | None, str]:
    """The order when something can come back from it, else why not."""
    order = state.order(order_id)
    if order is None:
        return None, "MissingOrderInLinnworks"
    if state.cancelled(order):
        return None, "The order is cancelled"
    if not state.processed(order):
        return None, "OpenOrderInLinnworks"
    return order, ""


def create_rma(state: LinnworksState, request: Request) -> object:
    """``CreateRMABooking``: books, moves nothing; a repetition books again."""
    given = wrapped(
        request,
        "ChannelInitiated",
        "OrderId",
        "ReturnItems",
        "ExchangeItems",
        "ResendItems",
        "Reference",
    )
    if given.get("ResendItems"):
        return _not_booked(["The sandbox books no resends"])
    order, why = returnable(state, guid(given, "OrderId"))
    if order is None:
        return _not_booked([why])
    lines, errors = [], []
    wanted: Counter[str] = Counter()
    exchanged = objects(given, "ExchangeItems", _EXCHANGE_ITEM)
    for item in [*objects(given, "ReturnItems", _RETURN_ITEM), *exchanged]:
        row = row_of(order, guid(item, "OrderItemRowId"))
        error = _row_error(state, order, row, item, wanted)
        if "ExchangeSKU" in item:
            error = error or _exchange_error(state, item)
        if error or row is None:
            errors.append(error)
            continue
        wanted[row.row_id] += item["ReturnQuantity"]
        lines.append((row, item))
    if errors or not lines:
        return _not_booked(errors or ["NoNewRMAsSpecified"])
    booked = [_new_line(state, row, item) for row, item in lines]
    reference = given.get("Reference")
    rma = state.book(order, booked, reference, channel=bool(given.get("ChannelInitiated")))
    return {
        "RMAHeaderId": rma.header_id,
        "Items": [rma_line(state, rma, line) for line in rma.lines],
        "Errors": [],
        "Info": [],
    }


def _not_booked(errors: list[str]) -> dict[str, Any]:
    return {"RMAHeaderId": None, "Items": [], "Errors": errors, "Info": []}


def _new_line(state: LinnworksState, row: OrderLine, item: Mapping[str, Any]) -> RmaLine:
    state.next_row += 1
    return RmaLine(
        row_id=state.next_row,
        order_row=row,
        location=guid(item, "ReturnLocation") or "",
        quantity=item["ReturnQuantity"],
        scrap=whole(item, "ScrapQuantity") or 0,
        refund=amount(item, "RefundAmount"),
        category=item.get("ReasonCategory") or "",
        reason=item.get("Reason") or "",
        exchange=(item["ExchangeSKU"], item["ExchangeQuantity"]) if "ExchangeSKU" in item else None,
    )


def _exchange_error(state: LinnworksState, item: Mapping[str, Any]) -> str:
    product = state.item(str(item.get("ExchangeSKU")))
    if product is None or product.id != guid(item, "ExchangeStockItemId"):
        return "ExchangeStockItemId is not the item of ExchangeSKU"
    if (whole(item, "ExchangeQuantity") or 0) < 1:
        return "NegativeOrZeroExchangeQuantity"
    if guid(item, "DespatchLocationId") not in {place.id for place in state.world.locations}:
        return "DespatchLocation does not exist"
    return ""


def _row_error(
    state: LinnworksState,
    order: Order,
    row: OrderLine | None,
    item: Mapping[str, Any],
    wanted: Counter[str],
) -> str:
    quantity = whole(item, "ReturnQuantity") or 0
    scrap = whole(item, "ScrapQuantity") or 0
    if row is None:
        return "OrderItemRowId is not a row of the order"
    if quantity < 1:
        return "NegativeOrZeroReturnQuantity"
    if guid(item, "ReturnLocation") not in {place.id for place in state.world.locations}:
        return "ReturnLocation does not exist"
    if not 0 <= scrap <= quantity:
        return "ScrapQuantity exceeds ReturnQuantity"
    if _returned(state, order, row) + wanted[row.row_id] + quantity > row.quantity:
        return "OverReturning"
    if row.unlinked or row.is_service:
        return "The item is not linked to stock"
    product = state.item(row.sku)
    batched = product is not None and product.batched and item.get("BatchInventoryId") is None
    if batched and state.switches["batched_without_batch"] == "refused":
        return "BatchInventoryId is needed for a batched item"
    return ""


def _returned(state: LinnworksState, order: Order, row: OrderLine) -> int:
    """Units of a row that came back, as the row itself or with its bundle or children."""
    units = state.actioned_units(order, row.row_id)
    if row.parent_row_id:
        parent = row_of(order, row.parent_row_id)
        per_bundle = row.quantity // parent.quantity if parent and parent.quantity else 1
        units += state.actioned_units(order, row.parent_row_id) * per_bundle
    elif row.children:
        units += max(
            -(-state.actioned_units(order, child.row_id) * row.quantity // child.quantity)
            for child in row.children
        )
    return units


# --- acting -----------------------------------------------------------------------


def action_rma(state: LinnworksState, request: Request) -> object:
    """``ActionRMABooking``: posts stock for all open lines of the header."""
    given = wrapped(request, "RMAHeaderId", "OrderId", "Request")
    rma = state.rmas.get(whole(given, "RMAHeaderId") or 0)
    if rma is None or rma.order.id != guid(given, "OrderId") or not rma.live:
        return _not_actioned(given, "RMA header not found for the order")
    if rma.actioned and state.switches["second_action"] == "refused":
        return _not_actioned(given, "The booking has been actioned already")
    open_units: Counter[str] = Counter()
    for line in rma.live:
        if line.actioned_at is None:
            open_units[line.order_row.row_id] += line.quantity
            row = line.order_row
            if _returned(state, rma.order, row) + open_units[row.row_id] > row.quantity:
                return _not_actioned(given, "OverReturning")
    state.post(rma)
    errors = ["A warning of no consequence"] if state.switches["success_with_errors"] else []
    return {
        "RefundHeaderId": _refund_of(state, rma),
        "Status": status("PROCESSED"),
        "SuccessfullyActioned": True,
        "RMAHeaderId": rma.header_id,
        "Items": [rma_line(state, rma, line) for line in rma.live],
        "Errors": errors,
        "Info": [],
    }


def _refund_of(state: LinnworksState, rma: Rma) -> int | None:
    # An amount on the booking becomes a refund of its own, whatever else refunds the line.
    rows = [
        RefundRow(state.guid(), "Item", line.order_row, line.row_id, line.refund, line.quantity)
        for line in rma.live
        if line.refund > 0
    ]
    return state.add_refund(rma.order, rows).header_id if rows else None


def _not_actioned(given: Mapping[str, Any], why: str) -> dict[str, Any]:
    return {
        "RefundHeaderId": None,
        "Status": status("ERROR"),
        "SuccessfullyActioned": False,
        "RMAHeaderId": given.get("RMAHeaderId") or 0,
        "Items": [],
        "Errors": [why],
        "Info": [],
    }


def delete_rma(state: LinnworksState, request: Request) -> object:
    """``DeleteRMA``: lines that were not actioned."""
    given = wrapped(request, "RMAHeaderId", "ReasonTag", "RejectOnChannel")
    rma = state.rmas.get(whole(given, "RMAHeaderId") or 0)
    if rma is None:
        return {"RMAHeaderId": 0, "Errors": ["RMA header not found"], "Items": [], "Info": []}
    for line in rma.lines:
        line.deleted = line.deleted or line.actioned_at is None
    return {"RMAHeaderId": rma.header_id, "Errors": [], "Items": [], "Info": []}


# --- reading ----------------------------------------------------------------------


def rma_line(state: LinnworksState, rma: Rma, line: RmaLine) -> dict[str, Any]:
    """``VerifiedRMAItem``."""
    return {
        "RMARowId": line.row_id,
        "RMAHeaderId": rma.header_id,
        "Type": line.kind,
        "Status": status("PROCESSED" if line.actioned_at else "OPEN"),
        "ExternalReference": rma.reference if state.switches["reference_echoed"] else None,
        "CreatedDate": stamp(rma.created_at),
        "Actioned": line.actioned_at is not None,
        "ActionedDate": stamp(line.actioned_at),
        "Deleted": line.deleted,
        "ResendQuantity": 0,
        "NewOrderId": line.new_order_id,
        "ValidationError": None,
        "Error": None,
        "Errors": [],
        "Info": None,
        "ReturnItemSKU": line.order_row.sku,
        "ReturnItemTitle": line.order_row.title,
        "OrderItemRowId": line.order_row.row_id,
        "ReturnLocation": line.location,
        "ReturnQuantity": line.quantity,
        "RefundAmount": float(line.refund),
        "ScrapQuantity": line.scrap,
        "ReasonCategory": line.category,
        "Reason": line.reason,
    } | _sent_instead(line)


def _sent_instead(line: RmaLine) -> dict[str, Any]:
    if line.exchange is None:
        return {}
    sku, quantity = line.exchange
    return {"ExchangeSKU": sku, "ExchangeQuantity": quantity, "AdditionalCost": 0.0}


def _row_type(line: RmaLine) -> str:
    return line.kind.upper() + ("" if line.actioned_at else "BOOKING")


def _header(state: LinnworksState, rma: Rma) -> dict[str, Any]:
    last = max((line.actioned_at for line in rma.lines if line.actioned_at), default=None)
    return {
        "RMAHeaderId": rma.header_id,
        "RMALines": [rma_line(state, rma, line) for line in rma.lines],
        "OrderId": rma.order.id,
        "NumOrderId": rma.order.num_id,
        "Status": status("PROCESSED" if rma.actioned else "OPEN"),
        "OrderSource": rma.order.source,
        "OrderSubSource": rma.order.sub_source,
        "ExternalReference": rma.reference if state.switches["reference_echoed"] else None,
        "ChannelInitiated": rma.channel,
        "CreatedDate": stamp(rma.created_at),
        "Actioned": rma.actioned,
        "LastActionDate": stamp(last or rma.created_at),
    }


def rma_headers(state: LinnworksState, request: Request) -> object:
    """``GetRMAHeadersByOrderId``; unwrapped, the filter is ignored: all come back."""
    order_id = guid(wrapped(request, "OrderId"), "OrderId")
    if order_id is None:
        found: Iterable[Rma] = state.rmas.values()
    else:
        order = state.order(order_id)
        found = state.rmas_of(order) if order else []
    return {"RMAHeaders": [_header(state, rma) for rma in found]}


def actionable_headers(state: LinnworksState, request: Request) -> object:
    """``GetActionableRMAHeaders``: open bookings, the server's number a page."""
    return _headers(state, request, actioned=False)


def processed_headers(state: LinnworksState, request: Request) -> object:
    """``GetProcessedOrAckedErrorRMAHeaders``: those that were actioned."""
    return _headers(state, request, actioned=True)


def _headers(state: LinnworksState, request: Request, *, actioned: bool) -> dict[str, Any]:
    given = wrapped(request, "Page", "Filters")
    page = whole(given, "Page") or 1
    filters = given.get("Filters") or {}
    check_names(filters, frozenset(["Actionable", "Type", "Value"]))
    kind, value = filters.get("Type"), filters.get("Value")
    if page < 1 or (kind is not None and kind not in _FILTERS):
        raise BadRequest("Page begins with 1; Filters.Type of the enumeration")
    found = [
        rma
        for rma in state.rmas.values()
        if rma.live and rma.actioned is actioned and (not value or _fits(rma, kind, str(value)))
    ]
    size = _HEADERS_PER_PAGE
    rows, _next = cut_page(found, _start(page, size, request), size, request.disturbance)
    return {
        "Page": page,
        "TotalHeaders": len(found) + _more(page, size, request),
        "HeadersPerPage": size,
        "RMAHeaders": [_header(state, rma) for rma in rows],
    }


def _fits(rma: Rma, kind: str | None, value: str) -> bool:
    order = rma.order
    return {
        "HEADER_ID": value == str(rma.header_id),
        "ORDER_ID": value in {str(order.num_id), order.id},
        "HEADER_REFERENCE": value == rma.reference,
        "ORDER_REFERENCES": value
        in {order.reference, order.secondary_reference, order.external_reference},
        "ITEM_INFO": any(value in {n.order_row.sku, n.order_row.title} for n in rma.live),
        "CUSTOMER_INFO": value in {order.buyer_name, order.buyer_email},
    }.get(kind or "", False)


def return_options(state: LinnworksState, request: Request) -> object:
    """``GetReturnOptions``: whether something can come back, and what has."""
    given = wrapped(request, "OrderId", "RMAHeaderId")
    order, why = returnable(state, guid(given, "OrderId"))
    known = state.order(guid(given, "OrderId"))
    if order is not None and all(_returned(state, order, n) >= n.quantity for n in order.lines):
        why = "AlreadyReturnedInLinnworks"
    named = why.endswith("InLinnworks")
    return {
        "ReturnOptions": {
            "CanSendRejectionIfDeleted": False,
            "CanReturn": not why,
            "CanReturnInternally": not why,
            "MustHaveRefund": False,
            "RefundAutoPopulated": False,
            "CanHaveRefund": not why,
            "ReturnReasons": [],
            "RejectionReasons": [],
            "SubStatuses": [],
            "CannotReturnReason": (why if named else "Other") if why else "None",
            "Order": details(state, known) if known else None,
            "AllExistingRMAs": [
                rma_line(state, rma, line)
                for rma in (state.rmas_of(known) if known else [])
                for line in rma.live
            ],
            "Errors": [why] if why and not named else [],
            "Info": [],
        }
    }


def return_items(state: LinnworksState, request: Request) -> object:
    """``GetReturnItemsInfo``: what each line of an order may still send back."""
    order = state.order(query_guid(request, "pkOrderId"))
    return [_return_item(state, order, row) for row in order.lines] if order else []


def _return_item(state: LinnworksState, order: Order, row: OrderLine) -> dict[str, Any]:
    returned = _returned(state, order, row)
    ratio = row.quantity // order_quantity(order, row)
    return {
        "ChildItems": [_return_item(state, order, child) for child in row.children],
        "Batches": [],
        "OrderId": order.id,
        "fkOrderItemRowId": row.row_id,
        "ParentRowId": row.parent_row_id,
        "ReturnableQty": row.quantity - returned,
        "OrderQty": row.quantity,
        "ReturnedQty": returned,
        "SKU": row.sku,
        "ItemTitle": row.title,
        "UnitValue": float(row.line_total / row.quantity),
        "TaxRate": float(row.tax_rate),
        "TaxCostInclusive": True,
        "Currency": order.currency,
        "IsCompositeParent": bool(row.children),
        "IsPartialCompositeReturn": any(
            state.actioned_units(order, child.row_id) for child in row.children
        ),
        "ParentRatio": ratio,
        "pkStockItemId": row.stock_item_id,
        "ResentQty": 0,
        "fkRefundRowId": None,
    }


def order_quantity(order: Order, row: OrderLine) -> int:
    """How many of the row's bundle were ordered; of the row itself when it has none."""
    parent = row_of(order, row.parent_row_id) if row.parent_row_id else None
    return parent.quantity if parent else row.quantity


def returns_exchanges(state: LinnworksState, request: Request) -> object:
    """``GetReturnsExchanges``: an order's return lines, booked and actioned, with the row."""
    order = state.order(query_guid(request, "pkOrderId"))
    if order is None:
        return []
    return [
        {
            "pkReturnId": line.row_id + _id_gap(state),
            "RowType": _row_type(line),
            "ReturnReference": rma.reference if state.switches["reference_echoed"] else None,
            "fkOrderId": order.id,
            "fkOrderItemRowId": line.order_row.row_id,
            "nOrderId": order.num_id,
            "SKU": line.order_row.sku,
            "ItemTitle": line.order_row.title,
            "Reason": line.reason,
            "Category": line.category,
            "ReturnQty": line.quantity,
            "fkReturnLocationId": line.location,
            "Scrapped": line.scrap > 0,
            "ScrapQty": line.scrap,
            "LastState": "",
            "LastDate": stamp(line.actioned_at or rma.created_at),
            "Completed": line.actioned_at is not None,
            "NewQty": line.exchange[1] if line.exchange else 0,
            "fkNewOrderId": line.new_order_id,
            "NewOrderCancelled": False,
            "AdditionalCost": 0.0,
            "RefundedAmount": float(_refunded(state, order, line.row_id, sent=True)),
            "PendingRefund": float(_refunded(state, order, line.row_id, sent=False)),
            "ReturnDate": stamp(rma.created_at),
        }
        for rma in state.rmas_of(order)
        for line in rma.live
    ]


def _refunded(state: LinnworksState, order: Order, return_row: int, *, sent: bool) -> Decimal:
    return sum(
        (
            row.amount
            for refund in state.refunds_of(order)
            for row in refund.rows
            if row.return_row == return_row and (row.actioned_at is not None) is sent
        ),
        Decimal(0),
    )


def _id_gap(state: LinnworksState) -> int:
    return 0 if state.switches["return_id_is_row_id"] else 500_000


def search_returns(state: LinnworksState, request: Request) -> object:
    """``SearchReturnsRefundsPaged``: 200 rows a page, three months at most."""
    since, until = instant(request.one("from")), instant(request.one("to"))
    size, page = number(request.one("numEntriesPerPage"), 50), number(request.one("pageNum"), 1)
    kind, history = request.one("dateType") or "ALLDATES", request.one("historyType") or "RETURNS"
    if since is None or until is None or until - since > timedelta(days=93):
        raise BadRequest("from and to: at most three months")
    if not 1 <= size <= 200 or page < 1:
        raise BadRequest("numEntriesPerPage 1 to 200; pageNum begins with 1")
    if kind not in {"ALLDATES", "BOOKED", "ACTIONED", "RECEIVED", "PROCESSED"}:
        raise BadRequest("dateType of the enumeration")
    shown: Callable[..., dict[str, Any]] = _refund_row
    found: list[Any] = []
    if history == "REFUNDS":
        found = state.refund_rows(kind, since, until)
    elif history == "RETURNS":
        shown = partial(_return_row, state)
        found = state.return_rows(kind, since, until)
    term = request.one("searchTerm")
    if term:
        found = [one for one in found if term in _searched(shown(*one))]
    start = _start(page, size, request)
    cut, _next = cut_page(found, start, size, request.disturbance)
    total = len(found) + _more(page, size, request)
    return {
        "PageNumber": page,
        "EntriesPerPage": size,
        "TotalEntries": total,
        "TotalPages": -(-total // size),
        "Data": [shown(*one) | {"Row": n} for n, one in enumerate(cut, start=start + 1)],
    }


def _searched(row: dict[str, Any]) -> set[str | None]:
    return {row["ReferenceNum"], row.get("ReturnReference")}


def _start(page: int, size: int, request: Request) -> int:
    # Where pages are numbered, a looping cursor is the first page under every number.
    return 0 if request.disturbance == "looping_cursor" else (page - 1) * size


def _more(page: int, size: int, request: Request) -> int:
    return (page + 1) * size if request.disturbance == "looping_cursor" else 0


def _order_columns(order: Order) -> dict[str, Any]:
    return {
        "pkOrderID": order.id,
        "nOrderId": order.num_id,
        "Source": order.source,
        "SubSource": order.sub_source,
        "ReferenceNum": order.reference,
        "SecondaryReference": order.secondary_reference,
        "ExternalReference": order.external_reference,
        "cCurrency": order.currency,
        "dProcessedOn": stamp(order.processed_at),
        "cFullName": order.buyer_name,
        "cEmailAddress": order.buyer_email,
    }


def _return_row(state: LinnworksState, rma: Rma, line: RmaLine, at: Any) -> dict[str, Any]:
    return _order_columns(rma.order) | {
        "pkReturnId": line.row_id + _id_gap(state),
        "RowType": _row_type(line),
        "ReturnReference": rma.reference if state.switches["reference_echoed"] else None,
        "cItemNumber": line.order_row.sku,
        "cItemName": line.order_row.title,
        "ItemNumber": line.order_row.sku,
        "ItemTitle": line.order_row.title,
        "ReturnQty": line.quantity,
        "fkReturnLocationId": line.location,
        "Location": next((p.name for p in state.world.locations if p.id == line.location), None),
        "Scrapped": line.scrap > 0,
        "ScrapQty": line.scrap,
        "Category": line.category,
        "Reason": line.reason,
        "ReturnDate": stamp(rma.created_at),
        "LastDate": stamp(at),
        "NewQty": line.exchange[1] if line.exchange else 0,
    }


def _refund_row(refund: Any, row: RefundRow, _at: Any) -> dict[str, Any]:
    item = row.order_row
    return _order_columns(refund.order) | {
        "RefundReference": refund.reference,
        "pkRefundRowId": row.row_id,
        "cItemNumber": item.sku if item else None,
        "cItemName": item.title if item else None,
        "Amount": float(row.amount),
        "PendingRefundAmount": 0.0 if row.actioned_at else float(row.amount),
        "CreateDate": stamp(refund.created_at),
        "ActionDate": stamp(row.actioned_at),
        "RefundStatus": "PROCESSED" if row.actioned_at else "OPEN",
        "Reason": row.note,
        "Category": row.category,
    }
