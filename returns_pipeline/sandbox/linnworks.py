"""Linnworks as the contract tells it: v1 and the v2 orders feed, with state.

Strict where a client could go wrong silently: wrapping, names, types, what is refused with
HTTP 200. What is not published is a switch (``SWITCHES``), so that a client can be tried
under every reading. Written from ``contracts/linnworks`` alone.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from returns_pipeline.sandbox.model import Order, OrderLine, World
from returns_pipeline.sandbox.server import (
    Clock,
    MinuteLimit,
    Request,
    Response,
    Vendor,
    json_response,
)

APPLICATION_ID = "11111111-1111-4111-8111-111111111111"
APPLICATION_SECRET = "22222222-2222-4222-8222-222222222222"  # noqa: S105 (the sandbox's)
TOKEN = "33333333-3333-4333-8333-333333333333"  # noqa: S105 (the sandbox's)
_ZERO = "00000000-0000-0000-0000-000000000000"
_IDLE = 20 * 60.0
_NEVER = datetime(1900, 1, 1, tzinfo=UTC)

# What the contract does not settle: the first value is the default.
SWITCHES: dict[str, tuple[Any, ...]] = {
    "second_action": ("refused", "posts_again"),
    "second_refund_action": ("refused", "pays_again"),
    "reference_echoed": (True, False),
    "return_id_is_row_id": (True, False),
    "create_orders_repeat": ("empty", "same_id"),
    "success_with_errors": (False, True),
}

_LIMIT_250 = frozenset(
    ["GetOrdersById", "GetOrderDetailsByNumOrderId", "GetOrderDetailsByReferenceId", "GetReturnItemsInfo", "GetStockLevel_Batch", "GetItemChangesHistory", "GetStockItemIdsBySKU"]
)


class _Bad(Exception):
    """A request Linnworks answers with HTTP 400."""


@dataclass(slots=True)
class _Line:
    row_id: int
    order_row: OrderLine
    location: str
    quantity: int
    scrap: int
    refund: Decimal
    category: str
    reason: str
    actioned_at: datetime | None = None
    deleted: bool = False


@dataclass(slots=True)
class _Rma:
    header_id: int
    order: Order
    reference: str | None
    channel: bool
    created_at: datetime
    lines: list[_Line]
    hash: str = ""

    @property
    def live(self) -> list[_Line]:
        return [line for line in self.lines if not line.deleted]

    @property
    def actioned(self) -> bool:
        return bool(self.live) and all(line.actioned_at for line in self.live)


@dataclass(slots=True)
class _RefundRow:
    row_id: str
    unit: str
    order_row: OrderLine | None
    return_row: int | None
    amount: Decimal
    quantity: int
    external: str
    note: str
    actioned_at: datetime | None = None


@dataclass(slots=True)
class _Refund:
    header_id: int
    reference: str
    order: Order
    created_at: datetime
    rows: list[_RefundRow]
    deleted: bool = False
    times_sent: int = 0


@dataclass(slots=True)
class Movement:
    """One row of a stock item's history."""

    sku: str
    location: str
    at: datetime
    change: int
    level: int
    note: str
    order_row_id: str = ""
    rma_header_id: int = 0


@dataclass(slots=True)
class LinnworksState:
    """Everything Linnworks knows."""

    world: World
    clock: Clock
    limits: bool = True
    switches: dict[str, Any] = field(
        default_factory=lambda: {name: values[0] for name, values in SWITCHES.items()}
    )
    url: str = ""
    rmas: dict[int, _Rma] = field(default_factory=dict)
    refunds: dict[int, _Refund] = field(default_factory=dict)
    made_orders: list[Order] = field(default_factory=list)
    levels: Counter[tuple[str, str]] = field(default_factory=Counter)
    history: list[Movement] = field(default_factory=list)
    sessions: dict[str, float] = field(default_factory=dict)
    next_header: int = 40_000
    next_row: int = 88_000
    next_refund: int = 9_000
    next_order: int = 900_000
    rng: random.Random = field(default_factory=lambda: random.Random(11))

    def __post_init__(self) -> None:
        """Take over the world's opening stock."""
        self.levels.update(self.world.opening_stock)
        self.lock = threading.RLock()
        self.minute = MinuteLimit()
        self._index()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what belongs to the running process."""
        skipped = {"limits", "url"}
        return {n: getattr(self, n) for n in type(self).__dataclass_fields__ if n not in skipped}

    lock: Any = field(init=False, repr=False)
    minute: Any = field(init=False, repr=False)
    by_id: dict[str, Order] = field(init=False, default_factory=dict)

    def _index(self) -> None:
        self.by_id = {order.id: order for order in self.orders()}

    def orders(self) -> list[Order]:
        """All orders, those made through the API included."""
        return [*self.world.orders, *self.made_orders]

    # --- what time has done to an order -------------------------------------------

    def visible(self, order: Order) -> bool:
        """Whether the order has been received yet."""
        return order.received_at <= self.clock.now()

    def processed(self, order: Order) -> bool:
        """Whether it has been despatched by now."""
        return order.processed_at is not None and order.processed_at <= self.clock.now()

    def cancelled(self, order: Order) -> bool:
        """Whether it is cancelled by now."""
        at = order.cancelled_at
        return order.cancelled or (at is not None and at <= self.clock.now())

    def updated(self, order: Order) -> datetime:
        """When it last changed, as of now."""
        instants = [order.received_at, order.processed_at, order.cancelled_at, order.touched_at]
        now = self.clock.now()
        return max(at for at in instants if at is not None and at <= now)

    def vendor(self) -> Vendor:
        """This state as a vendor a server can serve."""
        return Vendor(
            name="linnworks",
            handle=self._handle,
            method_of=lambda request: request.path.rstrip("/").rpartition("/")[2],
            over_limit=self._over_limit,
            books=self.books,
            staff=self.staff,
            switches=self.switches,
        )

    def _over_limit(self, method: str) -> Response | None:
        most = 250 if method in _LIMIT_250 else 150
        if not self.limits or method == "orders" or self.minute.admits(method, most):
            return None
        message = f"API calls quota exceeded! Maximum admitted {most} per Minute."
        return json_response({"Code": None, "Message": message}, 429)

    # --- routing ------------------------------------------------------------------

    def _handle(self, request: Request) -> Response:
        route = _ROUTES.get((request.verb, request.path))
        with self.lock:
            if route is None:
                return json_response({"Code": None, "Message": "No such method"}, 404)
            name, function = route
            if name != "AuthorizeByApplication" and not self._known(request):
                return json_response({"Code": None, "Message": "Invalid session"}, 401)
            try:
                document = function(self, request)
            except _Bad as error:
                if request.path.startswith("/v2/"):
                    problem = {
                        "type": "https://httpstatuses.io/422",
                        "title": "Unprocessable Entity",
                        "status": 422,
                        "detail": str(error),
                    }
                    body = json.dumps(problem).encode()
                    return Response(422, body, "application/problem+json")
                return json_response({"Code": None, "Message": str(error)}, 400)
            return Response(204) if document is None else json_response(document)

    def _known(self, request: Request) -> bool:
        token = request.headers.get("Authorization") or ""
        used = self.sessions.get(token)
        if used is None or used < time.monotonic() - _IDLE:
            return False
        self.sessions[token] = time.monotonic()
        return True

    def expire_sessions(self) -> None:
        """Let every session be unknown from now on."""
        with self.lock:
            self.sessions.clear()

    def authorise(self, request: Request) -> object:
        """``AuthorizeByApplication``: the session token and the server of later calls."""
        given = _object(request)
        wanted = {
            "ApplicationId": APPLICATION_ID,
            "ApplicationSecret": APPLICATION_SECRET,
            "Token": TOKEN,
        }
        if {name: str(given.get(name, "")).lower() for name in wanted} != wanted:
            msg = "Application or token is not valid"
            raise _Bad(msg)
        token = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        self.sessions[token] = time.monotonic()
        return {
            "Id": token,
            "EntityId": token,
            "AppName": "sandbox",
            "UserName": "api@example.test",
            "Locality": "EU",
            "SuperAdmin": False,
            "TTL": 1800,
            "Token": token,
            "GroupName": "",
            "UserType": "API",
            "Status": {"State": "AVAILABLE", "Reason": "", "Parameters": {}},
            "UserId": token,
            "Properties": {},
            "Email": "api@example.test",
            "Server": self.url,
            "PushServer": self.url,
        }

    # --- orders -------------------------------------------------------------------

    def v2_orders(self, request: Request) -> object:
        """``GET /v2/orders``: the feed by last change, with search tokens."""
        size = _int(request.one("entriesPerPage") or "50")
        if not 1 <= size <= 200:
            msg = "entriesPerPage must be between 1 and 200"
            raise _Bad(msg)
        since = _instant(request.one("fromDate")) or _NEVER
        processed_too = (request.one("includeProcessed") or "false") == "true"
        found = [
            order
            for order in self.orders()
            if self.visible(order)
            and self.updated(order) >= since
            and (processed_too or not self.processed(order))
        ]
        found.sort(key=lambda order: (self.updated(order), order.id))
        ids = request.query.get("id")
        if ids:
            found = [order for order in self.orders() if order.id in ids and self.visible(order)]
        start = _int(request.one("searchToken") or "0")
        page = found[start : start + size]
        more = start + size < len(found)
        return {
            "OpenOrders": [self._v2(order) for order in page if not self.processed(order)],
            "ProcessedOrders": [self._v2(order) for order in page if self.processed(order)],
            "TotalOrders": len(found),
            "NextSearchToken": str(start + size) if more else None,
        }

    def _v2(self, order: Order) -> dict[str, Any]:
        done = self.processed(order)
        general = self._general(order)
        if done:
            general["IsCancelled"] = self.cancelled(order)
        return {
            "OrderId": order.id,
            "NumOrderId": order.num_id,
            "Processed": done,
            "ProcessedOn": _stamp(order.processed_at) if done else None,
            "PaidOn": _stamp(order.paid_at),
            "LastUpdated": _stamp(self.updated(order)),
            "FulfilmentLocationId": order.fulfilment_location_id,
            "ShippingInfo": {"Vendor": "Other", "PostalServiceName": order.postal_service},
            "TotalsInfo": self._totals(order),
            "ExtendedProperties": [],
            "GeneralInfo": general,
            "CustomerInfo": self._customer(order),
            "Items": [self._item(line, v2=True) for line in order.lines],
            "Notes": [],
        }

    def _general(self, order: Order) -> dict[str, Any]:
        return {
            "Status": 1,
            "ReferenceNum": order.reference,
            "SecondaryReference": order.secondary_reference,
            "ExternalReferenceNum": order.external_reference,
            "ReceivedDate": _stamp(order.received_at),
            "Source": order.source,
            "SubSource": order.sub_source,
            "NumItems": len(order.lines),
        }

    def _totals(self, order: Order) -> dict[str, Any]:
        goods = sum((line.line_total for line in order.lines), Decimal(0))
        net = sum((_net(line) for line in order.lines), Decimal(0))
        postage_net = _cents(order.postage_cost / (1 + order.postage_tax_rate / 100))
        total = goods + order.postage_cost
        return {
            "Subtotal": float(net),
            "PostageCost": float(order.postage_cost),
            "PostageCostExTax": float(postage_net),
            "Tax": float(total - net - postage_net),
            "TotalCharge": float(total),
            "PaymentMethod": order.payment_method,
            "Currency": order.currency,
        }

    def _customer(self, order: Order) -> dict[str, Any]:
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

    def _item(self, line: OrderLine, *, v2: bool) -> dict[str, Any]:
        item: dict[str, Any] = {
            "RowId": line.row_id,
            "StockItemId": line.stock_item_id,
            "IsService": line.is_service,
            "IsUnlinked": line.unlinked,
            "Quantity": line.quantity,
            "StockItemIntId": self._product(line.sku, "int_id"),
            "ItemNumber": line.item_number,
            "SKU": line.sku,
            "ItemSource": "SHOPIFY",
            "Title": line.title,
            "PricePerUnit": float(line.price_per_unit),
            "UnitCost": float(line.unit_cost),
            "DespatchStockUnitCost": float(line.unit_cost),
            "Discount": float(line.discount),
            "TaxRate": float(line.tax_rate),
            "Cost": float(_net(line)),
            "CostIncTax": float(line.line_total),
            "TaxCostInclusive": True,
            "ChannelSKU": line.sku,
            "ChannelTitle": line.title,
            "BatchNumberScanRequired": bool(self._product(line.sku, "batched")),
            "CompositeSubItems": [self._item(child, v2=v2) for child in line.children],
            "AdditionalInfo": [],
        }
        if v2:
            item["ParentItemId"] = line.parent_row_id
        else:
            item["ItemId"] = line.stock_item_id
            item["OrderId"] = next(
                (o.id for o in self.orders() if any(n.row_id == line.row_id for n in _all(o))), None
            )
        return item

    def _product(self, sku: str, name: str) -> Any:
        product = self.world.stock_items.get(sku)
        return getattr(product, name) if product else (0 if name == "int_id" else False)

    def _v1(self, order: Order) -> dict[str, Any]:
        done = self.processed(order)
        general = self._general(order)
        general.update(HoldOrCancel=self.cancelled(order), Location=order.fulfilment_location_id)
        return {
            "OrderId": order.id,
            "NumOrderId": order.num_id,
            "Processed": done,
            "ProcessedDateTime": _stamp(order.processed_at) if done else "0001-01-01T00:00:00Z",
            "FulfilmentLocationId": order.fulfilment_location_id,
            "GeneralInfo": general,
            "ShippingInfo": {"Vendor": "Other", "PostalServiceName": order.postal_service},
            "CustomerInfo": self._customer(order),
            "TotalsInfo": self._totals(order),
            "ExtendedProperties": [
                {"Name": name, "Value": value, "Type": kind}
                for name, value, kind in order.extended_properties
            ],
            "FolderName": [],
            "Items": [self._item(line, v2=False) for line in order.lines],
            "Notes": [],
            "PaidDateTime": _stamp(order.paid_at),
            "TaxId": "",
        }

    def orders_by_reference(self, request: Request) -> object:
        """``GetOrderDetailsByReferenceId``: by reference or secondary reference, at most 50."""
        wanted = request.one("ReferenceId")
        found = [
            order
            for order in self.orders()
            if self.visible(order)
            # A filter Linnworks does not understand is ignored: every order comes back.
            and (wanted is None or wanted in {order.reference, order.secondary_reference})
        ]
        return [self._v1(order) for order in found[:50]]

    def orders_by_id(self, request: Request) -> object:
        """``GetOrdersById``."""
        ids = _object(request, "pkOrderIds").get("pkOrderIds") or []
        return [self._v1(o) for o in self.orders() if o.id in ids and self.visible(o)]

    def create_orders(self, request: Request) -> object:
        """``CreateOrders``: unique by source, sub source and reference; 20 a call."""
        given = _object(request, "orders", "location")
        batch = given.get("orders")
        if not isinstance(batch, list) or not 1 <= len(batch) <= 20:
            msg = "orders: 1 to 20 orders"
            raise _Bad(msg)
        if given.get("location") not in {place.name for place in self.world.locations}:
            msg = "location: no such location"
            raise _Bad(msg)
        made = []
        for one in batch:
            identity = (one.get("Source"), one.get("SubSource"), one.get("ReferenceNumber"))
            if not all(identity):
                msg = "Source, SubSource and ReferenceNumber are needed"
                raise _Bad(msg)
            twin = next(
                (o for o in self.orders() if (o.source, o.sub_source, o.reference) == identity),
                None,
            )
            if twin is not None:
                if self.switches["create_orders_repeat"] == "same_id":
                    made.append(twin.id)
                continue
            made.append(self._new_order(one).id)
        return made

    def _new_order(self, one: Mapping[str, Any]) -> Order:
        items = one.get("OrderItems") or []
        numbers = [item.get("ItemNumber") for item in items]
        if len(set(numbers)) != len(numbers) or not items:
            msg = "OrderItems: item numbers must be there and differ"
            raise _Bad(msg)
        now = self.clock.now()
        self.next_order += 1
        lines = []
        for item in items:
            product = self.world.stock_items.get(item["ChannelSKU"])
            price = Decimal(str(item["PricePerUnit"]))
            lines.append(
                OrderLine(
                    row_id=self._guid(),
                    item_number=item["ItemNumber"],
                    sku=item["ChannelSKU"],
                    stock_item_id=product.id if product else _ZERO,
                    title=item.get("ItemTitle", ""),
                    quantity=int(item["Qty"]),
                    price_per_unit=price,
                    tax_rate=Decimal(str(item.get("TaxRate", 0))),
                    line_total=price * int(item["Qty"]),
                    unit_cost=product.unit_cost if product else Decimal(0),
                    unlinked=product is None,
                )
            )
        address = one.get("DeliveryAddress") or {}
        order = Order(
            id=self._guid(),
            num_id=self.next_order,
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
            lines=lines,
            postal_service=one.get("PostalServiceName") or "",
            country=address.get("Country") or "",
            buyer_name=address.get("FullName") or "",
            related_to=next((r.get("ReferenceId") for r in one.get("Relations") or []), None),
            is_exchange=True,
            extended_properties=[
                (p["Name"], p["Value"], p.get("Type", "Order"))
                for p in one.get("ExtendedProperties") or []
            ],
        )
        self.made_orders.append(order)
        self.by_id[order.id] = order
        return order

    def _guid(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    # --- small reads --------------------------------------------------------------

    def locations(self, _request: Request) -> object:
        """``GetStockLocations``."""
        return [
            {
                "StockLocationId": place.id,
                "LocationName": place.name,
                "LocationTag": place.tag,
                "IsWarehouseManaged": place.warehouse_managed,
                "IsFulfillmentCenter": False,
                "IsNotTrackable": False,
                "StockLocationIntId": place.int_id,
            }
            for place in self.world.locations
        ]

    def categories(self, _request: Request) -> object:
        """``GetReturnCategories``."""
        return [
            {"pkItemId": number, "CategoryName": name}
            for number, name in self.world.return_categories
        ]

    def changes_history(self, request: Request) -> object:
        """``GetItemChangesHistory``: newest first; ``locationId`` is needed."""
        place = request.one("locationId")
        number, size = (
            _int(request.one("pageNumber") or "1"),
            _int(request.one("entriesPerPage") or "200"),
        )
        if place is None or number < 1:
            msg = "locationId is needed and pageNumber begins with 1"
            raise _Bad(msg)
        item = request.one("stockItemId")
        skus = {p.sku for p in self.world.stock_items.values() if p.id == item}
        rows = [m for m in reversed(self.history) if m.sku in skus and m.location == place]
        page = rows[(number - 1) * size : number * size]
        return {
            "PageNumber": number,
            "EntriesPerPage": size,
            "TotalEntries": len(rows),
            "TotalPages": -(-len(rows) // size),
            "Data": [
                {
                    "StockItemId": _ZERO,
                    "Date": _stamp(m.at),
                    "Level": m.level,
                    "StockValue": 0.0,
                    "Note": m.note,
                    "ChangeQty": m.change,
                    "ChangeValue": 0.0,
                }
                for m in page
            ],
        }

    def search_returns(self, request: Request) -> object:
        """``SearchReturnsRefundsPaged``: 200 rows a page, three months at most."""
        since, until = _instant(request.one("from")), _instant(request.one("to"))
        size, number = (
            _int(request.one("numEntriesPerPage") or "50"),
            _int(request.one("pageNum") or "1"),
        )
        kind = request.one("dateType") or "ALLDATES"
        if since is None or until is None or until - since > timedelta(days=93):
            msg = "from and to: at most three months"
            raise _Bad(msg)
        if not 1 <= size <= 200 or kind not in {
            "ALLDATES",
            "BOOKED",
            "ACTIONED",
            "RECEIVED",
            "PROCESSED",
        }:
            msg = "numEntriesPerPage 1 to 200; dateType of the enumeration"
            raise _Bad(msg)
        rows = []
        for rma in self.rmas.values():
            for line in rma.live:
                at = line.actioned_at if kind == "ACTIONED" else rma.created_at
                if at is not None and since <= at <= until:
                    rows.append((rma, line, at))
        page = rows[(number - 1) * size : number * size]
        return {
            "PageNumber": number,
            "EntriesPerPage": size,
            "TotalEntries": len(rows),
            "TotalPages": -(-len(rows) // size),
            "Data": [self._search_row(n, *row) for n, row in enumerate(page, start=1)],
        }

    def _search_row(self, number: int, rma: _Rma, line: _Line, at: datetime) -> dict[str, Any]:
        order = rma.order
        other = 0 if self.switches["return_id_is_row_id"] else 500_000
        return {
            "Row": number,
            "pkOrderID": order.id,
            "nOrderId": order.num_id,
            "Source": order.source,
            "SubSource": order.sub_source,
            "ReferenceNum": order.reference,
            "pkReturnId": line.row_id + other,
            "RowType": "RETURN" if line.actioned_at else "RETURNBOOKING",
            "ReturnReference": rma.reference if self.switches["reference_echoed"] else None,
            "cItemNumber": line.order_row.sku,
            "ReturnQty": line.quantity,
            "fkReturnLocationId": line.location,
            "Scrapped": line.scrap > 0,
            "ScrapQty": line.scrap,
            "Category": line.category,
            "Reason": line.reason,
            "ReturnDate": _stamp(rma.created_at),
            "LastDate": _stamp(at),
            "NewQty": 0,
        }

    # --- RMAs ---------------------------------------------------------------------

    def create_rma(self, request: Request) -> object:
        """``CreateRMABooking``: books, moves nothing; a repetition books again."""
        given = _wrapped(
            request,
            "ChannelInitiated",
            "OrderId",
            "ReturnItems",
            "ExchangeItems",
            "ResendItems",
            "Reference",
        )
        order, why = self._returnable(given)
        items = given.get("ReturnItems") or []
        if order is None:
            return {"RMAHeaderId": None, "Items": [], "Errors": [why], "Info": []}
        lines, errors = [], []
        wanted: Counter[str] = Counter()
        for item in items:
            _names(item, _RETURN_ITEM)
            row = next((n for n in _all(order) if n.row_id == item.get("OrderItemRowId")), None)
            error = self._row_error(order, row, item, wanted)
            if error or row is None:
                errors.append(error or "unknown order item row")
                continue
            wanted[row.row_id] += item["ReturnQuantity"]
            self.next_row += 1
            lines.append(
                _Line(
                    self.next_row,
                    row,
                    item["ReturnLocation"],
                    item["ReturnQuantity"],
                    item.get("ScrapQuantity") or 0,
                    Decimal(str(item.get("RefundAmount") or 0)),
                    item.get("ReasonCategory") or "",
                    item.get("Reason") or "",
                )
            )
        if errors or not lines:
            return {
                "RMAHeaderId": None,
                "Items": [],
                "Errors": errors or ["NoNewRMAsSpecified"],
                "Info": [],
            }
        rma = self._book(order, lines, given.get("Reference"), bool(given.get("ChannelInitiated")))
        return {
            "RMAHeaderId": rma.header_id,
            "Items": [self._rma_line(rma, line) for line in rma.lines],
            "Errors": [],
            "Info": [],
        }

    def _book(self, order: Order, lines: list[_Line], reference: str | None, channel: bool) -> _Rma:  # noqa: FBT001
        self.next_header += 1
        rma = _Rma(self.next_header, order, reference, channel, self.clock.now(), lines)
        rma.hash = hashlib.sha256(f"{rma.header_id}{reference}".encode()).hexdigest()[:14].upper()
        self.rmas[rma.header_id] = rma
        return rma

    def _returnable(self, given: Mapping[str, Any]) -> tuple[Order | None, str]:
        order = self.by_id.get(str(given.get("OrderId") or ""))
        if order is None or not self.visible(order):
            return None, "MissingOrderInLinnworks"
        if not self.processed(order):
            return None, "OpenOrderInLinnworks"
        if self.cancelled(order):
            return None, "The order is cancelled"
        return order, ""

    def _row_error(
        self,
        order: Order,
        row: OrderLine | None,
        item: Mapping[str, Any],
        wanted: Counter[str],
    ) -> str:
        quantity = item.get("ReturnQuantity")
        if row is None:
            return "OrderItemRowId is not a row of the order"
        if not isinstance(quantity, int) or quantity < 1:
            return "NegativeOrZeroReturnQuantity"
        if item.get("ReturnLocation") not in {place.id for place in self.world.locations}:
            return "ReturnLocation does not exist"
        if not 0 <= (item.get("ScrapQuantity") or 0) <= quantity:
            return "ScrapQuantity exceeds ReturnQuantity"
        if self.actioned_units(order, row.row_id) + wanted[row.row_id] + quantity > row.quantity:
            return "OverReturning"
        return ""

    def actioned_units(self, order: Order, row_id: str) -> int:
        """Units of an order line whose return was actioned."""
        return sum(
            line.quantity
            for rma in self.rmas.values()
            if rma.order is order
            for line in rma.live
            if line.actioned_at and line.order_row.row_id == row_id
        )

    def action_rma(self, request: Request) -> object:
        """``ActionRMABooking``: posts stock for all open lines of the header."""
        given = _wrapped(request, "RMAHeaderId", "OrderId", "Request")
        rma = self.rmas.get(given.get("RMAHeaderId") or 0)
        if rma is None or rma.order.id != given.get("OrderId") or not rma.live:
            return self._not_actioned(given, "RMA header not found for the order")
        if rma.actioned and self.switches["second_action"] == "refused":
            return self._not_actioned(given, "The booking has been actioned already")
        over = [
            line
            for line in rma.live
            if not line.actioned_at
            and self.actioned_units(rma.order, line.order_row.row_id) + line.quantity
            > line.order_row.quantity
        ]
        if over:
            return self._not_actioned(given, "OverReturning")
        self._post(rma)
        errors = ["A warning of no consequence"] if self.switches["success_with_errors"] else []
        return {
            "RefundHeaderId": None,
            "Status": _status("PROCESSED"),
            "SuccessfullyActioned": True,
            "RMAHeaderId": rma.header_id,
            "Items": [self._rma_line(rma, line) for line in rma.live],
            "Errors": errors,
            "Info": [],
        }

    def _not_actioned(self, given: Mapping[str, Any], why: str) -> dict[str, Any]:
        return {
            "RefundHeaderId": None,
            "Status": _status("ERROR"),
            "SuccessfullyActioned": False,
            "RMAHeaderId": given.get("RMAHeaderId") or 0,
            "Items": [],
            "Errors": [why],
            "Info": [],
        }

    def _post(self, rma: _Rma) -> None:
        now = self.clock.now()
        for line in rma.live:
            line.actioned_at = line.actioned_at or now
            for sku, count in self._pieces(line.order_row):
                note = f"Customer return for order {rma.order.num_id}, ref: {rma.hash}"
                self._move(sku, line.location, count * line.quantity, note, rma, line)
                if line.scrap:
                    note = f"SCRAPPED BY RMA {rma.header_id}/Order {rma.order.num_id}"
                    self._move(sku, line.location, -count * line.scrap, note, rma, line)

    def _pieces(self, row: OrderLine) -> list[tuple[str, int]]:
        # Bundles record only their children (contract 4.3).
        product = self.world.stock_items.get(row.sku)
        return list(product.children) if product and product.children else [(row.sku, 1)]

    def _move(
        self, sku: str, place: str, change: int, note: str, rma: _Rma | None, line: _Line | None
    ) -> None:
        self.levels[sku, place] += change
        self.history.append(
            Movement(
                sku,
                place,
                self.clock.now(),
                change,
                self.levels[sku, place],
                note,
                line.order_row.row_id if line else "",
                rma.header_id if rma else 0,
            )
        )

    def _rma_line(self, rma: _Rma, line: _Line) -> dict[str, Any]:
        return {
            "RMARowId": line.row_id,
            "RMAHeaderId": rma.header_id,
            "Type": "Return",
            "Status": _status("PROCESSED" if line.actioned_at else "OPEN"),
            "ExternalReference": rma.reference if self.switches["reference_echoed"] else None,
            "CreatedDate": _stamp(rma.created_at),
            "Actioned": line.actioned_at is not None,
            "ActionedDate": _stamp(line.actioned_at),
            "Deleted": line.deleted,
            "ResendQuantity": 0,
            "NewOrderId": None,
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
        }

    def rma_headers(self, request: Request) -> object:
        """``GetRMAHeadersByOrderId``; unwrapped, the filter is ignored: all come back."""
        order_id = _wrapped(request, "OrderId").get("OrderId")
        found = [r for r in self.rmas.values() if order_id is None or r.order.id == order_id]
        return {"RMAHeaders": [self._rma_header(rma) for rma in found]}

    def _rma_header(self, rma: _Rma) -> dict[str, Any]:
        last = max((line.actioned_at for line in rma.lines if line.actioned_at), default=None)
        return {
            "RMAHeaderId": rma.header_id,
            "RMALines": [self._rma_line(rma, line) for line in rma.lines],
            "OrderId": rma.order.id,
            "NumOrderId": rma.order.num_id,
            "Status": _status("PROCESSED" if rma.actioned else "OPEN"),
            "OrderSource": rma.order.source,
            "OrderSubSource": rma.order.sub_source,
            "ExternalReference": rma.reference if self.switches["reference_echoed"] else None,
            "ChannelInitiated": rma.channel,
            "CreatedDate": _stamp(rma.created_at),
            "Actioned": rma.actioned,
            "LastActionDate": _stamp(last or rma.created_at),
        }

    def delete_rma(self, request: Request) -> object:
        """``DeleteRMA``: lines that were not actioned."""
        given = _wrapped(request, "RMAHeaderId", "ReasonTag", "RejectOnChannel")
        rma = self.rmas.get(given.get("RMAHeaderId") or 0)
        if rma is None:
            return {"RMAHeaderId": 0, "Errors": ["RMA header not found"], "Items": [], "Info": []}
        for line in rma.lines:
            line.deleted = line.deleted or line.actioned_at is None
        return {"RMAHeaderId": rma.header_id, "Errors": [], "Items": [], "Info": []}

    # --- refunds ------------------------------------------------------------------

    def create_refund(self, request: Request) -> object:
        """``CreateRefund``: within what line, shipping and order were paid; sends nothing."""
        given = _wrapped(request, "ChannelInitiated", "OrderId", "RefundLines")
        order, why = self._returnable(given)
        if order is None:
            return self._no_refund(why)
        rows: list[_RefundRow] = []
        for line in given.get("RefundLines") or []:
            _names(line, _REFUND_LINE)
            row = next((n for n in _all(order) if n.row_id == line.get("OrderItemRowId")), None)
            if line.get("RefundedUnit") == "Item" and row is None:
                return self._no_refund("OrderItemRowId is not a row of the order", "Other")
            rows.append(
                _RefundRow(
                    self._guid(),
                    line["RefundedUnit"],
                    row,
                    line.get("ReturnRowId"),
                    _cents(Decimal(str(line["Amount"]))),
                    line.get("Quantity") or 0,
                    line.get("ExternalReference") or "",
                    line.get("FreeTextOrNote") or "",
                )
            )
        if not rows:
            return self._no_refund("NoNewRefundsSpecified", "NoNewRefundsSpecified")
        over = self._over_paid(order, rows)
        if over:
            return self._no_refund(over, "Other")
        self.next_refund += 1
        refund = _Refund(self.next_refund, self._guid()[:10].upper(), order, self.clock.now(), rows)
        self.refunds[refund.header_id] = refund
        return self._refund_answer(refund, errors=[])

    def _over_paid(self, order: Order, rows: list[_RefundRow]) -> str:
        earlier = [
            r for f in self.refunds.values() if f.order is order and not f.deleted for r in f.rows
        ]
        for row in rows:
            if row.amount <= 0:
                return "Amount must be positive"
            if row.order_row is not None:
                same = [r for r in (*earlier, *rows) if r.order_row is row.order_row]
                if sum(r.amount for r in same) > row.order_row.line_total:
                    return "The amount exceeds what was paid for the item"
            elif row.unit == "Shipping":
                same = [r for r in (*earlier, *rows) if r.unit == "Shipping"]
                if sum(r.amount for r in same) > order.postage_cost:
                    return "The amount exceeds what was paid for shipping"
        paid = sum((n.line_total for n in order.lines), Decimal(0)) + order.postage_cost
        if sum((r.amount for r in (*earlier, *rows)), Decimal(0)) > paid:
            return "The amount exceeds what was paid for the order"
        return ""

    def _no_refund(self, why: str, reason: str = "") -> dict[str, Any]:
        enum = reason or (why if why.endswith("InLinnworks") else "Other")
        return {
            "RefundHeaderId": None,
            "RefundReference": None,
            "Status": _status("ERROR"),
            "CannotRefundReason": enum,
            "Errors": [why],
            "RefundLines": [],
        }

    def _refund_answer(self, refund: _Refund, *, errors: list[str]) -> dict[str, Any]:
        return {
            "RefundHeaderId": refund.header_id,
            "RefundReference": refund.reference,
            "Status": _status("PROCESSED" if refund.times_sent else "OPEN"),
            "CannotRefundReason": "None",
            "Errors": errors,
            "RefundLines": [self._refund_line(refund, row) for row in refund.rows],
        }

    def _refund_line(self, refund: _Refund, row: _RefundRow) -> dict[str, Any]:
        item = row.order_row
        return {
            "RefundRowId": row.row_id,
            "RefundHeaderId": refund.header_id,
            "Status": _status("PROCESSED" if row.actioned_at else "OPEN"),
            "RefundedUnit": row.unit,
            "IsShippingRefund": row.unit == "Shipping",
            "IsAdditionalRefund": False,
            "IsCancellation": False,
            "RefundedItem": {
                "OrderItemRowId": item.row_id,
                "ReturnRowId": row.return_row,
                "ItemSKU": item.sku,
            }
            if item
            else None,
            "ValidationError": None,
            "Error": None,
            "Errors": [],
            "Actioned": row.actioned_at is not None,
            "ActionedDate": _stamp(row.actioned_at),
            "ChannelInitiated": False,
            "Internal": False,
            "Deleted": refund.deleted,
            "ExternalReference": row.external,
            "IsFreeText": True,
            "FreeTextOrNote": row.note,
            "Amount": float(row.amount),
            "Quantity": row.quantity,
        }

    def action_refund(self, request: Request) -> object:
        """``ActionRefund``: sends the money to the channel."""
        given = _wrapped(request, "RefundHeaderId", "OrderId", "Request")
        refund = self.refunds.get(given.get("RefundHeaderId") or 0)
        if refund is None or refund.deleted or refund.order.id != given.get("OrderId"):
            return {**self._no_refund("RefundNotInSystem"), "SuccessfullyActioned": False}
        if refund.times_sent and self.switches["second_refund_action"] == "refused":
            answer = self._no_refund("The refund has been actioned already", "Other")
            return {**answer, "SuccessfullyActioned": False}
        refund.times_sent += 1
        for row in refund.rows:
            row.actioned_at = row.actioned_at or self.clock.now()
        return {**self._refund_answer(refund, errors=[]), "SuccessfullyActioned": True}

    def refund_headers(self, request: Request) -> object:
        """``GetRefundHeadersByOrderId``."""
        order_id = _wrapped(request, "OrderId").get("OrderId")
        found = [
            f
            for f in self.refunds.values()
            if not f.deleted and (order_id is None or f.order.id == order_id)
        ]
        return {
            "RefundHeaders": [
                {
                    "RefundHeaderId": f.header_id,
                    "Currency": f.order.currency,
                    "Amount": float(sum((r.amount for r in f.rows), Decimal(0))),
                    "RefundLines": [self._refund_line(f, row) for row in f.rows],
                    "RefundLink": "",
                    "OrderId": f.order.id,
                    "NumOrderId": f.order.num_id,
                    "Status": _status("PROCESSED" if f.times_sent else "OPEN"),
                    "OrderSource": f.order.source,
                    "OrderSubSource": f.order.sub_source,
                    "ExternalReference": f.reference,
                    "ChannelInitiated": False,
                    "CreatedDate": _stamp(f.created_at),
                    "Actioned": f.times_sent > 0,
                    "LastActionDate": _stamp(f.created_at),
                }
                for f in found
            ]
        }

    # --- people -------------------------------------------------------------------

    def staff(self, action: Mapping[str, Any]) -> object:
        """What a person does in the Linnworks screens.

        ``book_rma`` (``order_reference``, ``lines`` of ``row_id, quantity, location``,
        ``action_too``), ``action_rma``, ``move`` (``sku, quantity, from, to``),
        ``edit_location`` (``header_id, location``), ``refund`` (``order_reference, row_id,
        amount``), ``process_order``, ``cancel_order``, ``rename_location`` (``from, to``).
        """
        with self.lock:
            what = action["action"]
            order = next(
                (o for o in self.orders() if o.reference == action.get("order_reference")), None
            )
            if what == "book_rma" and order is not None:
                lines = []
                for one in action["lines"]:
                    row = next(n for n in _all(order) if n.row_id == one["row_id"])
                    self.next_row += 1
                    place = self.location_id(one["location"])
                    lines.append(
                        _Line(
                            self.next_row, row, place, one["quantity"], 0, Decimal(0), "", "staff"
                        )
                    )
                rma = self._book(order, lines, action.get("reference"), channel=False)
                if action.get("action_too"):
                    self._post(rma)
                return {"header_id": rma.header_id}
            if what == "action_rma":
                self._post(self.rmas[action["header_id"]])
            elif what == "edit_location":
                rma = self.rmas[action["header_id"]]
                for line in rma.live:
                    line.location = self.location_id(action["location"])
            elif what == "move":
                here, there = self.location_id(action["from"]), self.location_id(action["to"])
                self._move(action["sku"], here, -action["quantity"], "Moved by staff", None, None)
                self._move(action["sku"], there, action["quantity"], "Moved by staff", None, None)
            elif what == "process_order" and order is not None:
                order.processed_at = self.clock.now()
            elif what == "cancel_order" and order is not None:
                order.cancelled_at = self.clock.now()
            elif what == "rename_location":
                for place in self.world.locations:
                    if place.name == action["from"]:
                        place.name = action["to"]
            else:
                return {"error": f"nothing done for {what!r}"}
            return {"done": what}

    def location_id(self, name: str) -> str:
        """The id behind a location's name (or the id itself)."""
        return next((p.id for p in self.world.locations if name in {p.name, p.id}), name)

    def books(self) -> dict[str, Any]:
        """The truth of this account: units restocked, money sent, orders made."""
        with self.lock:
            return {
                "returned": [
                    {
                        "order_id": rma.order.id,
                        "row_id": line.order_row.row_id,
                        "sku": line.order_row.sku,
                        "location": line.location,
                        "quantity": line.quantity,
                        "scrap": line.scrap,
                        "header_id": rma.header_id,
                    }
                    for rma in self.rmas.values()
                    for line in rma.live
                    if line.actioned_at
                ],
                "open_bookings": sum(not rma.actioned for rma in self.rmas.values() if rma.live),
                "moved": [
                    {"sku": m.sku, "location": m.location, "change": m.change, "note": m.note}
                    for m in self.history
                ],
                "levels": {f"{sku}|{place}": n for (sku, place), n in sorted(self.levels.items())},
                "refunds": [
                    {
                        "order_id": f.order.id,
                        "header_id": f.header_id,
                        "times_sent": f.times_sent,
                        "amount_minor": int(sum((r.amount for r in f.rows), Decimal(0)) * 100),
                        "row_ids": [r.order_row.row_id for r in f.rows if r.order_row],
                    }
                    for f in self.refunds.values()
                    if not f.deleted
                ],
                "orders_made": [
                    {
                        "reference": o.reference,
                        "related_to": o.related_to,
                        "lines": [[n.sku, n.quantity, str(n.price_per_unit)] for n in o.lines],
                        "properties": o.extended_properties,
                    }
                    for o in self.made_orders
                ],
            }


_RETURN_ITEM = frozenset(
    ["OrderItemRowId", "ReturnLocation", "ReturnQuantity", "RefundAmount", "ScrapQuantity", "ReasonCategory", "Reason", "ReasonTag", "SubReasonTag", "BatchInventoryId", "BinrackOverride", "RefundRowId", "Status"]
)
_REFUND_LINE = frozenset(
    ["ReturnRowId", "OrderItemRowId", "RefundedUnit", "CancelledQuantity", "ExternalReference", "FreeTextOrNote", "Amount", "Quantity", "ReasonTag", "SubReasonTag", "InsufficientRefundTag", "InsufficientRefundNote", "ReasonCategory"]
)

_ROUTES: dict[tuple[str, str], tuple[str, Callable[[LinnworksState, Request], object]]] = {
    ("POST", "/api/Auth/AuthorizeByApplication"): (
        "AuthorizeByApplication",
        LinnworksState.authorise,
    ),
    ("GET", "/v2/orders"): ("orders", LinnworksState.v2_orders),
    ("GET", "/api/Orders/GetOrderDetailsByReferenceId"): (
        "GetOrderDetailsByReferenceId",
        LinnworksState.orders_by_reference,
    ),
    ("POST", "/api/Orders/GetOrdersById"): ("GetOrdersById", LinnworksState.orders_by_id),
    ("POST", "/api/Orders/CreateOrders"): ("CreateOrders", LinnworksState.create_orders),
    ("GET", "/api/Inventory/GetStockLocations"): ("GetStockLocations", LinnworksState.locations),
    ("GET", "/api/ProcessedOrders/GetReturnCategories"): (
        "GetReturnCategories",
        LinnworksState.categories,
    ),
    ("GET", "/api/Stock/GetItemChangesHistory"): (
        "GetItemChangesHistory",
        LinnworksState.changes_history,
    ),
    ("GET", "/api/ReturnsRefunds/SearchReturnsRefundsPaged"): (
        "SearchReturnsRefundsPaged",
        LinnworksState.search_returns,
    ),
    ("POST", "/api/ReturnsRefunds/CreateRMABooking"): (
        "CreateRMABooking",
        LinnworksState.create_rma,
    ),
    ("POST", "/api/ReturnsRefunds/ActionRMABooking"): (
        "ActionRMABooking",
        LinnworksState.action_rma,
    ),
    ("POST", "/api/ReturnsRefunds/GetRMAHeadersByOrderId"): (
        "GetRMAHeadersByOrderId",
        LinnworksState.rma_headers,
    ),
    ("POST", "/api/ReturnsRefunds/DeleteRMA"): ("DeleteRMA", LinnworksState.delete_rma),
    ("POST", "/api/ReturnsRefunds/CreateRefund"): ("CreateRefund", LinnworksState.create_refund),
    ("POST", "/api/ReturnsRefunds/ActionRefund"): ("ActionRefund", LinnworksState.action_refund),
    ("POST", "/api/ReturnsRefunds/GetRefundHeadersByOrderId"): (
        "GetRefundHeadersByOrderId",
        LinnworksState.refund_headers,
    ),
}


def _all(order: Order) -> list[OrderLine]:
    found = []
    for line in order.lines:
        found.append(line)
        found.extend(line.children)
    return found


def _object(request: Request, *allowed: str) -> dict[str, Any]:
    try:
        document = json.loads(request.body or b"{}")
    except ValueError:
        document = None
    if not isinstance(document, dict):
        msg = "The request is invalid."
        raise _Bad(msg)
    if allowed:
        _names(document, frozenset(allowed))
    return document


def _wrapped(request: Request, *allowed: str) -> dict[str, Any]:
    """The object under ``request``; what is not wrapped is ignored, as in life."""
    inner = _object(request).get("request")
    if not isinstance(inner, dict):
        return {}
    _names(inner, frozenset(allowed))
    return inner


def _names(document: Mapping[str, Any], allowed: frozenset[str]) -> None:
    unknown = set(document) - allowed
    if unknown:
        msg = f"The request is invalid. Unknown: {', '.join(sorted(unknown))}"
        raise _Bad(msg)


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        msg = f"{text!r} is not a number"
        raise _Bad(msg) from None


def _instant(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        msg = f"{text!r} is not a date"
        raise _Bad(msg) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _stamp(at: datetime | None) -> str | None:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at else None


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def _net(line: OrderLine) -> Decimal:
    return _cents(line.line_total / (1 + line.tax_rate / 100))


def _status(header: str) -> dict[str, Any]:
    return {
        "StatusHeader": header,
        "StatusDetail": {
            "StatusTag": header,
            "StatusDescription": header.title(),
            "Actionable": header == "OPEN",
            "ActionDescription": "Accept" if header == "OPEN" else None,
            "EditableFields": [],
        },
    }
