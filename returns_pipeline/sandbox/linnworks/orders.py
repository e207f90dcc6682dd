"""Linnworks' orders: the v2 feed, look-ups, creation, notes and relations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from returns_pipeline.sandbox.linnworks.state import LinnworksState, Note, Search
from returns_pipeline.sandbox.linnworks.wire import (
    ZERO,
    BadRequest,
    amount,
    body_of,
    cents,
    guid,
    guids,
    instant,
    net,
    number,
    objects,
    query_guid,
    stamp,
    whole,
)
from returns_pipeline.sandbox.model import Order, OrderLine
from returns_pipeline.sandbox.server import Request, cut_page

_NEVER = datetime(1900, 1, 1, tzinfo=UTC)
_SEARCHES_KEPT = 100


# --- the v2 feed ------------------------------------------------------------------


def v2_orders(state: LinnworksState, request: Request) -> object:
    """``GET /v2/orders``: the feed by last change, with search tokens.

    A token holds on to what its search found, as it was found. A cancelled order stands
    among the processed ones.
    """
    token = request.one("searchToken")
    if request.query.get("id"):
        given = [one for value in request.query["id"] for one in value.split(",")]
        orders = [order for order in map(state.order, given) if order is not None]
        search = Search([order.id for order in orders], 0, max(1, len(orders)))
    elif token:
        if token not in state.searches:
            raise BadRequest("searchToken is not known")
        search = state.searches[token]
    else:
        search = _search(state, request)
    page, following = cut_page(search.order_ids, search.start, search.size, request.disturbance)
    orders = [order for order in map(state.order, page) if order is not None]
    return {
        "OpenOrders": [_v2(state, order) for order in orders if not state.closed_at(order)],
        "ProcessedOrders": [_v2(state, order) for order in orders if state.closed_at(order)],
        "TotalOrders": len(search.order_ids),
        "NextSearchToken": _token(state, search, following, request),
    }


def _search(state: LinnworksState, request: Request) -> Search:
    size = number(request.one("entriesPerPage"), 50)
    if not 1 <= size <= 200:
        raise BadRequest("entriesPerPage must be between 1 and 200")
    found = state.changed_since(instant(request.one("fromDate")) or _NEVER)
    if (request.one("includeProcessed") or "false").lower() != "true":
        found = [order for order in found if not state.closed_at(order)]
    if (request.one("onlyPaid") or "false").lower() == "true":
        found = [order for order in found if order.paid_at is not None]
    place = query_guid(request, "locationId")
    if place is not None:
        found = [order for order in found if order.fulfilment_location_id == place]
    return Search([order.id for order in found], 0, size)


def _token(
    state: LinnworksState, search: Search, following: int | None, request: Request
) -> str | None:
    if following is None:
        return None
    token = state.new_token()
    if request.disturbance == "looping_cursor":
        # The cursor that led here leads here again.
        token = request.one("searchToken") or token
    state.searches[token] = Search(search.order_ids, following, search.size)
    while len(state.searches) > _SEARCHES_KEPT:
        state.searches.pop(next(iter(state.searches)))
    return token


def _v2(state: LinnworksState, order: Order) -> dict[str, Any]:
    closed = state.closed_at(order)
    general = _general(order)
    if closed:
        general["IsCancelled"] = state.cancelled(order)
    return {
        "OrderId": order.id,
        "NumOrderId": order.num_id,
        "Processed": closed is not None,
        "ProcessedOn": stamp(closed),
        "PaidOn": stamp(order.paid_at),
        "LastUpdated": stamp(state.updated(order)),
        "FulfilmentLocationId": order.fulfilment_location_id,
        "ShippingInfo": {"Vendor": "Other", "PostalServiceName": order.postal_service},
        "TotalsInfo": totals(order),
        "ExtendedProperties": [],
        "GeneralInfo": general,
        "CustomerInfo": _customer(order),
        "Items": [_item(state, line) | {"ParentItemId": None} for line in order.lines],
        "Notes": [],
    }


# --- v1 ---------------------------------------------------------------------------


def details(state: LinnworksState, order: Order) -> dict[str, Any]:
    """``OrderDetails``."""
    closed = state.closed_at(order)
    general = _general(order)
    general.update(HoldOrCancel=state.cancelled(order), Location=order.fulfilment_location_id)
    return {
        "OrderId": order.id,
        "NumOrderId": order.num_id,
        "Processed": closed is not None,
        "ProcessedDateTime": stamp(closed) or "0001-01-01T00:00:00Z",
        "FulfilmentLocationId": order.fulfilment_location_id,
        "GeneralInfo": general,
        "ShippingInfo": {"Vendor": "Other", "PostalServiceName": order.postal_service},
        "CustomerInfo": _customer(order),
        "TotalsInfo": totals(order),
        "ExtendedProperties": [
            {"Name": name, "Value": value, "Type": kind}
            for name, value, kind in order.extended_properties
        ],
        "FolderName": [],
        "Items": [_v1_item(state, order, line) for line in order.lines],
        "Notes": [
            {
                "OrderNoteId": note.id,
                "NoteDate": stamp(note.at),
                "Internal": note.internal,
                "Note": note.text,
            }
            for note in state.notes.get(order.id, [])
        ],
        "PaidDateTime": stamp(order.paid_at),
        "TaxId": "",
    }


def _general(order: Order) -> dict[str, Any]:
    return {
        "Status": 1,
        "ReferenceNum": order.reference,
        "SecondaryReference": order.secondary_reference,
        "ExternalReferenceNum": order.external_reference,
        "ReceivedDate": stamp(order.received_at),
        "Source": order.source,
        "SubSource": order.sub_source,
        "NumItems": len(order.lines),
        "Identifiers": [
            {"IdentifierId": number, "IsCustom": True, "Tag": tag, "Name": tag}
            for number, tag in enumerate(order.tags, start=1)
        ],
    }


def totals(order: Order) -> dict[str, Any]:
    """``OrderTotalsInfo``."""
    goods = sum((line.line_total for line in order.lines), Decimal(0))
    goods_net = sum((net(line) for line in order.lines), Decimal(0))
    postage_net = cents(order.postage_cost / (1 + order.postage_tax_rate / 100))
    total = goods + order.postage_cost
    return {
        "Subtotal": float(goods_net),
        "PostageCost": float(order.postage_cost),
        "PostageCostExTax": float(postage_net),
        "Tax": float(total - goods_net - postage_net),
        "TotalCharge": float(total),
        "PaymentMethod": order.payment_method,
        "Currency": order.currency,
        "ConversionRate": (
            _RATES.get(order.currency, 1.0) if order.rate is None else float(order.rate)
        ),
    }


# Into the account's own currency, pounds.
_RATES = {"EUR": 0.8612, "USD": 0.7704}


def _customer(order: Order) -> dict[str, Any]:
    return {
        "ChannelBuyerName": order.buyer_name,
        "Address": {
            "EmailAddress": order.buyer_email,
            "FullName": order.buyer_name,
            "Address1": "1 Example Way",
            "Town": "Testville",
            "PostCode": "ZZ1 1ZZ",
            "Country": order.country,
        },
    }


def _item(state: LinnworksState, line: OrderLine) -> dict[str, Any]:
    product = state.item(line.sku)
    cost = None if line.unit_cost is None else float(line.unit_cost)
    return {
        "RowId": line.row_id,
        "StockItemId": line.stock_item_id,
        "IsService": line.is_service,
        "IsUnlinked": line.unlinked,
        "Quantity": line.quantity,
        "StockItemIntId": product.int_id if product else 0,
        "ItemNumber": line.item_number,
        "SKU": line.sku,
        "ItemSource": "SHOPIFY",
        "Title": line.title,
        "PricePerUnit": float(line.price_per_unit),
        "UnitCost": cost,
        "DespatchStockUnitCost": cost,
        "Discount": float(line.discount),
        "TaxRate": float(line.tax_rate),
        "Cost": float(net(line)),
        "CostIncTax": float(line.line_total),
        "TaxCostInclusive": True,
        "ChannelSKU": line.sku,
        "ChannelTitle": line.title,
        "BatchNumberScanRequired": bool(product and product.batched),
        "CompositeSubItems": [
            _item(state, child) | {"ParentItemId": child.parent_row_id} for child in line.children
        ],
        "AdditionalInfo": [],
    }


def _v1_item(state: LinnworksState, order: Order, line: OrderLine) -> dict[str, Any]:
    item = _item(state, line)
    product = state.item(line.sku)
    item.update(
        ItemId=line.stock_item_id,
        OrderId=order.id,
        isBatchedStockItem=bool(product and product.batched),
        CompositeSubItems=[_v1_item(state, order, child) for child in line.children],
    )
    return item


def orders_by_reference(state: LinnworksState, request: Request) -> object:
    """``GetOrderDetailsByReferenceId``: by reference or secondary reference, at most 50."""
    wanted = request.one("ReferenceId")
    if wanted is None:
        # A filter Linnworks does not understand is ignored: every order comes back.
        found = [order for order in state.orders() if state.visible(order)]
    else:
        found = state.referenced(wanted)
    return [details(state, order) for order in found[:50]]


def orders_by_id(state: LinnworksState, request: Request) -> object:
    """``GetOrdersById``."""
    given = guids(body_of(request, "pkOrderIds"), "pkOrderIds")
    return [details(state, order) for order in map(state.order, given) if order is not None]


_CHANNEL_ORDER = frozenset(
    """
    AutomaticallyLinkByASIN AutomaticallyLinkByBarcode AutomaticallyLinkBySKU BillingAddress
    BuyerTaxNumber ChannelBuyerName ConversionRate Currency DeliveryAddress DeliveryEndDate
    DeliveryStartDate Discount DiscountTaxType DiscountType DispatchBy ExtendedProperties
    ExternalReference ForceReSaveFulfilledOrder ItemsRefund LineRefundAllocation Locations
    MappingSource MatchPaymentMethodTag MatchPostalServiceTag Notes OrderFulfilmentType
    OrderIdentifierTags OrderItems OrderState OrderStatus OrderStatusType PIIRedactionDays
    PaidOn PaymentMethodName PaymentStatus PostalServiceCost PostalServiceDiscount
    PostalServiceName PostalServiceTaxRate ReceivedDate ReferenceNumber Relations
    SavePaymentMethodIfNotExist SavePostalServiceIfNotExist SecondaryReferenceNumber
    ShippingRefund ShippingRefundAllocation Site Source SourceOverride SubSource TotalRefund
    UpdatedDate UseChannelTax pkOrderId
    """.split()  # noqa: SIM905 (a column of sixty is no easier to read)
)
_CHANNEL_ITEM = frozenset(
    """
    ChannelReferenceId ChannelSKU IsService ItemNumber ItemTitle LineDiscount LineRefund Options
    PostalServiceCost PricePerUnit Qty RefundQuantity ShippingRefund TaxCostInclusive TaxRate
    Taxes TotalRefund UseChannelTax
    """.split()  # noqa: SIM905 (a column of sixty is no easier to read)
)


def create_orders(state: LinnworksState, request: Request) -> object:
    """``CreateOrders``: unique by source, sub source and reference; 20 a call."""
    given = body_of(request, "orders", "location")
    batch = objects(given, "orders", _CHANNEL_ORDER)
    if not 1 <= len(batch) <= 20:
        raise BadRequest("orders: 1 to 20 orders")
    if given.get("location") not in {place.name for place in state.world.locations}:
        raise BadRequest("location: no such location")
    for one in batch:
        _check_channel_order(one)
    made = []
    for one in batch:
        identity = (one["Source"], one["SubSource"], one["ReferenceNumber"])
        twins = [
            order
            for order in state.referenced(one["ReferenceNumber"])
            if (order.source, order.sub_source, order.reference) == identity
        ]
        if not twins:
            made.append(_new_order(state, one).id)
        elif state.switches["create_orders_repeat"] == "same_id":
            made.append(twins[0].id)
    return made


def _check_channel_order(one: Mapping[str, Any]) -> None:
    if not all(one.get(name) for name in ("Source", "SubSource", "ReferenceNumber")):
        raise BadRequest("Source, SubSource and ReferenceNumber are needed")
    items = objects(one, "OrderItems", _CHANNEL_ITEM)
    numbers = [item.get("ItemNumber") for item in items]
    if len(set(numbers)) != len(numbers) or not items or not all(numbers):
        raise BadRequest("OrderItems: item numbers must be there and differ")
    if not all((whole(item, "Qty") or 0) > 0 and item.get("ChannelSKU") for item in items):
        raise BadRequest("OrderItems: Qty and ChannelSKU are needed")


def _new_order(state: LinnworksState, one: Mapping[str, Any]) -> Order:
    now = state.clock.now()
    state.next_order += 1
    address = one.get("DeliveryAddress") or {}
    relations = one.get("Relations") or []
    order = Order(
        id=state.guid(),
        num_id=state.next_order,
        reference=one["ReferenceNumber"],
        secondary_reference=one.get("SecondaryReferenceNumber") or "",
        external_reference=one.get("ExternalReference") or "",
        source=one["Source"],
        sub_source=one["SubSource"],
        currency=one.get("Currency") or "GBP",
        received_at=now,
        paid_at=now if one.get("PaymentStatus") == "Paid" else None,
        processed_at=None,
        last_updated=now,
        lines=[_new_line(state, item) for item in one["OrderItems"]],
        postage_cost=amount(one, "PostalServiceCost"),
        postal_service=one.get("PostalServiceName") or "",
        country=address.get("Country") or "",
        buyer_name=address.get("FullName") or "",
        buyer_email=address.get("EmailAddress") or "",
        related_to=next((r["ReferenceId"] for r in relations if r.get("ReferenceId")), None),
        is_exchange=True,
        extended_properties=[
            (p["Name"], p["Value"], p.get("Type", "Order"))
            for p in one.get("ExtendedProperties") or []
        ],
    )
    for note in one.get("Notes") or []:
        text = str(note.get("Note") or "")
        kept = Note(state.guid(), now, text, internal=bool(note.get("Internal")))
        state.notes.setdefault(order.id, []).append(kept)
    state.add_order(order)
    return order


def _new_line(state: LinnworksState, item: Mapping[str, Any]) -> OrderLine:
    product = state.item(item["ChannelSKU"])
    price = amount(item, "PricePerUnit")
    return OrderLine(
        row_id=state.guid(),
        item_number=item["ItemNumber"],
        sku=item["ChannelSKU"],
        stock_item_id=product.id if product else ZERO,
        title=item.get("ItemTitle", ""),
        quantity=item["Qty"],
        price_per_unit=price,
        tax_rate=Decimal(str(item.get("TaxRate") or 0)),
        line_total=price * item["Qty"],
        unit_cost=product.unit_cost if product else Decimal(0),
        unlinked=product is None,
    )


def add_note(state: LinnworksState, request: Request) -> object:
    """``ProcessedOrders/AddOrderNote``: adds; the answer is the note's id."""
    given = body_of(request, "pkOrderID", "noteText", "isInternal")
    order = state.order(guid(given, "pkOrderID"))
    if order is None:
        raise BadRequest("pkOrderID: no such order")
    internal = bool(given.get("isInternal"))
    note = Note(state.guid(), state.clock.now(), str(given.get("noteText") or ""), internal)
    state.notes.setdefault(order.id, []).append(note)
    return note.id


def relatives(state: LinnworksState, request: Request) -> object:
    """``GetProcessedRelatives``: orders that replace this one, and the one it replaces."""
    order = state.order(query_guid(request, "pkOrderId"))
    if order is None:
        return []
    parents = state.referenced(order.related_to) if order.related_to else []
    pairs = [(parent, order) for parent in parents]
    pairs += [(order, child) for child in state.children_of(order)]
    return [
        {
            "ChildOrderId": child.num_id,
            "ChildOrderPkOrderId": child.id,
            "ParentOrderId": parent.num_id,
            "ParentOrderPkOrderId": parent.id,
            "RelationType": "EXCHANGE" if child.is_exchange else "RESEND",
        }
        for parent, child in pairs
        if parent.id != child.id
    ]
