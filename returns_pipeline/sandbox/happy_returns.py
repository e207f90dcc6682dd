"""Happy Returns' partner API as the contract and ``ADAPTER.md`` tell it, read-only.

What an item shows is a function of the clock. What is not published is a switch
(``SWITCHES``). Personal data stands in the payloads, as in life, so that a leak shows.
Written from ``contracts/happy_returns`` alone.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from returns_pipeline.sandbox.model import ReturnUnit, Shipment, World
from returns_pipeline.sandbox.server import (
    Clock,
    Request,
    Response,
    Vendor,
    cut_page,
    json_response,
)

API_KEY = "44444444-4444-4444-8444-444444444444"
RATE = 0.5  # requests a second, published
BUCKET = 4  # requests it holds; the figure in the 429 body
_KEYS = ("orderNumber", "email", "happyReturnsExpressCode")
_SHOP_ZONE = timezone(timedelta(hours=-4))  # the shop prints its own offset

# What the contract does not settle: the first value is the default.
SWITCHES: dict[str, tuple[Any, ...]] = {
    "return_page_size": (50, 1),  # items a page of POST /return
    "last_cursor": ("absent", "empty"),
    "next_link": ("path", "url"),
    "nothing_found": ("204", "empty_items"),
}


class RefusedError(Exception):
    """A request Happy Returns refuses: status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class LeakyBucket:
    """So many requests at once, leaking at a steady rate by the real clock."""

    def __init__(self, rate: float = RATE, size: int = BUCKET) -> None:
        """Empty."""
        self.rate, self.size = rate, size
        self._lock = threading.Lock()
        self._level, self._at = 0.0, time.monotonic()

    def admits(self) -> bool:
        """Whether one more request fits; it counts if so."""
        with self._lock:
            now = time.monotonic()
            self._level = max(0.0, self._level - (now - self._at) * self.rate)
            self._at = now
            if self._level + 1 > self.size:
                return False
            self._level += 1
            return True


@dataclass
class HappyReturnsState:
    """Everything Happy Returns knows; it changes with the clock only."""

    world: World
    clock: Clock
    limits: bool = True
    url: str = ""
    switches: dict[str, Any] = field(
        default_factory=lambda: {name: values[0] for name, values in SWITCHES.items()}
    )

    def __post_init__(self) -> None:
        """Index the world's units."""
        self.bucket = LeakyBucket()
        self._by_key: dict[tuple[str, str], list[ReturnUnit]] = defaultdict(list)
        for unit in self.world.units:
            self._by_key["orderNumber", unit.order_number].append(unit)
            self._by_key["email", unit.shopper_email].append(unit)
            self._by_key["happyReturnsExpressCode", unit.express_code].append(unit)
        self._units = {unit.item_id: unit for unit in self.world.units}
        self._shipments = sorted(self.world.shipments, key=lambda one: (one.departed_at, one.id))
        self._shipments_by_id = {one.id: one for one in self._shipments}
        self._departures = [one.departed_at for one in self._shipments]

    def found(self, key: str, value: str) -> list[ReturnUnit]:
        """Units of returns started by now, by exactly one key."""
        now = self.clock.now()
        return [
            unit
            for unit in self._by_key.get((key, value), ())
            if unit.started_at <= now and not _by(unit.removed_at, now)
        ]

    def departed(self, since: datetime, until: datetime) -> list[Shipment]:
        """Shipments that left in a time and by now."""
        first = bisect_left(self._departures, since)
        last = bisect_right(self._departures, min(until, self.clock.now()))
        return self._shipments[first:last]

    def contents(self, shipment_id: str) -> list[ReturnUnit] | None:
        """The units of a shipment that has left; ``None`` when there is none."""
        now = self.clock.now()
        one = self._shipments_by_id.get(shipment_id)
        if one is None or one.departed_at > now:
            return None
        return [self._units[item_id] for item_id in one.item_ids]

    def books(self) -> dict[str, Any]:
        """What has happened to the units by now."""
        now = self.clock.now()
        units = [unit for unit in self.world.units if unit.started_at <= now]
        return {"units": {unit.item_id: stage(unit, now) for unit in units}}


def vendor(state: HappyReturnsState) -> Vendor:
    """A Happy Returns of this state."""
    return Vendor(
        name="happy_returns",
        handle=lambda request: _handle(state, request),
        method_of=method_of,
        over_limit=lambda method: _over_limit(state, method),
        books=state.books,
        too_many=_too_many,
        switches=state.switches,
    )


def method_of(request: Request) -> str:
    """The name by which faults and counters know a call, as ``outbound-shipment``."""
    return request.path.strip("/").partition("/")[0]


def _over_limit(state: HappyReturnsState, method: str) -> Response | None:
    if not state.limits or method != "return" or state.bucket.admits():
        return None
    return _too_many(BUCKET)


def _too_many(seconds: float) -> Response:
    # As printed by the documentation: no JSON.
    text = (
        "{ ErrorMessage: \u201ctoo many requests: "
        f"limit {RATE:.6f} requests/sec, leaky bucket size {seconds:g}\u201d }}"
    )
    return Response(429, text.encode(), "text/plain; charset=utf-8")


def _handle(state: HappyReturnsState, request: Request) -> Response:
    method = method_of(request)
    function = _ROUTES.get((request.verb, method))
    if function is None:
        return json_response({"ErrorMessage": "not found"}, 404)
    if request.headers.get("X-Hr-Apikey") != API_KEY:
        return json_response({"ErrorMessage": "unauthorized"}, 401)
    try:
        document = function(state, request)
    except RefusedError as refusal:
        return json_response({"ErrorMessage": str(refusal)}, refusal.status)
    return Response(204) if document is None else json_response(document)


# --- the routes -------------------------------------------------------------------


def _look_up(state: HappyReturnsState, request: Request) -> object:
    given = _body(request)
    asked = [key for key in _KEYS if given.get(key)]
    unknown = set(given) - {*_KEYS, "happyReturnsRetailerID", "cursor"}
    if len(asked) != 1 or unknown or not given.get("happyReturnsRetailerID"):
        raise RefusedError(400, f"happyReturnsRetailerID and exactly one of {', '.join(_KEYS)}")
    units = []
    if given["happyReturnsRetailerID"] == state.world.retailer_id:
        units = state.found(asked[0], str(given[asked[0]]))
    if not units:
        return {"items": []} if state.switches["nothing_found"] == "empty_items" else None
    start = _position(given.get("cursor"), asked[0], given[asked[0]])
    size = state.switches["return_page_size"]
    page, following = cut_page(units, start, size, request.disturbance)
    now = state.clock.now()
    answer: dict[str, Any] = {"items": [item(unit, now) for unit in page]}
    if following is not None:
        answer["cursor"] = _cursor(following, asked[0], given[asked[0]])
    elif state.switches["last_cursor"] == "empty":
        answer["cursor"] = ""
    return answer


def _shipments(state: HappyReturnsState, request: Request) -> object:
    now = state.clock.now()
    if not request.one("retailerID"):
        raise RefusedError(400, "retailerID is needed")
    until = _instant(request.one("endDateTime")) or now
    since = _instant(request.one("startDateTime")) or until - timedelta(hours=24)
    if request.one("retailerID") != state.world.retailer_id:
        return {"data": []}
    found = state.departed(since, until)
    return {"data": [{"id": one.id, "departureDate": _date(one.departed_at)} for one in found]}


def _shipment(state: HappyReturnsState, request: Request) -> object:
    shipment_id = request.path.rstrip("/").rpartition("/")[2]
    units = state.contents(shipment_id)
    if units is None:
        raise RefusedError(404, "no such shipment")
    try:
        size = int(request.one("page[size]") or 50)
    except ValueError:
        size = 0
    if not 1 <= size <= 1000:
        raise RefusedError(400, "page[size]: 1 to 1000")
    start = _position(request.one("page[after]"), "shipment", shipment_id)
    page, following = cut_page(units, start, size, request.disturbance)
    now = state.clock.now()
    links = {}
    if following is not None:
        after = _cursor(following, "shipment", shipment_id)
        base = state.url if state.switches["next_link"] == "url" else ""
        path = f"/outbound-shipment/{shipment_id}?page[size]={size}&page[after]={after}"
        links["next"] = base + path
    retailer = state.world.retailer_id
    return {"data": [freight_item(unit, now, retailer) for unit in page], "links": links}


def _webhooks(_state: HappyReturnsState, _request: Request) -> object:
    return {"data": []}


_ROUTES: dict[tuple[str, str], Callable[[HappyReturnsState, Request], object]] = {
    ("POST", "return"): _look_up,
    ("GET", "outbound-shipments"): _shipments,
    ("GET", "outbound-shipment"): _shipment,
    ("GET", "webhooks"): _webhooks,
}


def _body(request: Request) -> dict[str, Any]:
    try:
        document = json.loads(request.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RefusedError(400, "a JSON object is needed")
    return document


def _instant(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(400, f"{text!r} is not a date") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _cursor(start: int, key: str, value: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([start, key, value]).encode()).decode().rstrip("=")


def _position(cursor: str | None, key: str, value: str) -> int:
    if not cursor:
        return 0
    try:
        start, of_key, of_value = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    except ValueError:
        raise RefusedError(400, "unknown cursor") from None
    if (of_key, of_value) != (key, value):
        raise RefusedError(400, "the cursor belongs to another search")
    return int(start)


# --- what an item shows -----------------------------------------------------------


def stage(unit: ReturnUnit, now: datetime) -> str:
    """The latest word about a unit: of the things that have happened, the last."""
    happened = [
        (at, rank, code)
        for rank, (code, at) in enumerate(
            [
                ("started", unit.started_at),
                ("dropped-off", unit.dropped_off_at),
                ("approved", unit.approved_at),
                ("in-transit", unit.departed_at),
                ("received", unit.received_at),
                ("expired", unit.expired_at),
                ("cancelled", unit.cancelled_at),
            ]
        )
        if at is not None and at <= now
    ]
    return max(happened)[2]


def item(unit: ReturnUnit, now: datetime) -> dict[str, Any]:
    """A unit as ``POST /return`` shows it at an instant."""
    instants = {
        "startedAt": unit.started_at,
        "droppedOffAt": unit.dropped_off_at,
        "approvedAt": unit.approved_at,
        "departedAt": unit.departed_at,
        "receivedAt": unit.received_at,
        "expiredAt": unit.expired_at,
        "cancelledAt": unit.cancelled_at,
    }
    happened = {name: at for name, at in instants.items() if at is not None and at <= now}
    inspected = [unit.inspected_at] if _by(unit.inspected_at, now) and unit.inspected_at else []
    document = _common(unit) | {
        "happyReturnsReturnID": unit.return_id,
        "purchasedAt": unit.purchased_at.astimezone(_SHOP_ZONE).isoformat(timespec="seconds"),
        "externalRMAID": unit.external_rma_id,
        "returnReasonID": unit.reason_id,
        "dropoffMethod": unit.dropoff_method,
        "status": stage(unit, now),
        "disposition": unit.disposition if inspected else "",
        "refundType": unit.refund_type,
        "currency": unit.currency,
        "returnless": unit.returnless,
        **{name: _stamp(at) for name, at in happened.items()},
        "updatedAt": _stamp(max([*happened.values(), *inspected])),
        **_money(unit),
        **_shopper(unit),
    }
    if unit.exchange_sku:
        document |= {"exchangeSKU": unit.exchange_sku, "exchangeQuantity": unit.exchange_quantity}
        if unit.exchange_unit_price is not None:
            document["exchangeUnitPrice"] = _decimal(unit.exchange_unit_price)
    if unit.bag and unit.dropped_off_at is not None and unit.dropped_off_at <= now:
        document["labelID"] = unit.bag
    return _overridden(document, unit, now)


def freight_item(unit: ReturnUnit, now: datetime, retailer_id: str) -> dict[str, Any]:
    """A unit as ``GET /outbound-shipment/{id}`` shows it: dates instead of instants."""
    document = _common(unit) | {
        "happyReturnsReturnID": unit.return_id,
        "purchasedDate": _date(unit.purchased_at),
        "returnReason": unit.reason_id.replace("-", " ").capitalize(),
        "categoryID": "tops",
        "refundType": unit.refund_type,
        "location": "Sample Store",
        "country": "GB",
        "startedDate": _date(unit.started_at),
        "approvedDate": _date(unit.approved_at) if _by(unit.approved_at, now) else "",
        "inspectionOutcome": unit.disposition if _by(unit.inspected_at, now) else "",
        "palletNumber": f"P-{unit.shipment_id}",
        "shippingBoxBarcode": f"SB-{unit.bag or unit.express_code}",
        "bagBarcodes": [unit.bag] if unit.bag else [],
        "departureDate": _date(unit.departed_at),
        "happyReturnsRetailerID": retailer_id,
        **_shopper(unit),
    }
    return _overridden(document, unit, now)


def _common(unit: ReturnUnit) -> dict[str, Any]:
    return {
        "happyReturnsItemID": unit.item_id,
        "happyReturnsExpressCode": unit.express_code,
        "orderNumber": unit.order_number,
        "orderID": unit.shop_order_id,
        "orderLineItemID": unit.line_item_id,
        "sku": unit.sku,
        "upc": "",
        "productVariantID": "",
        "labelBarcode": unit.sku,
        "productName": unit.title,
        "carrier": unit.carrier,
        "tracking": unit.tracking,
        "destinationAddressID": unit.destination_address_id,
    }


def _money(unit: ReturnUnit) -> dict[str, str]:
    document = {}
    if unit.refund_amount is not None:
        document["refundAmount"] = _decimal(unit.refund_amount)
    if unit.shipping_refund_amount is not None:
        document["shippingRefundAmount"] = _decimal(unit.shipping_refund_amount)
    if unit.return_fee is not None:
        document["returnFee"] = f"{_decimal(unit.return_fee)} {unit.currency}"
    return document


def _shopper(unit: ReturnUnit) -> dict[str, Any]:
    return {
        "email": unit.shopper_email,
        "customerName": unit.shopper_name,
        "phone": "+44 20 7946 0000",
        "address": {"address1": "1 Example Way", "city": "Testville", "zip": "ZZ1 1ZZ"},
        "comment": f"Please refund {unit.shopper_name}",
    }


def _overridden(document: dict[str, Any], unit: ReturnUnit, now: datetime) -> dict[str, Any]:
    changes = dict(unit.extra)
    for at, revision in unit.revisions:
        if at <= now:
            changes |= revision
            if "updatedAt" in document:
                document["updatedAt"] = max(document["updatedAt"], _stamp(at))
    return {name: value for name, value in (document | changes).items() if value is not None}


def _by(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now


def _decimal(value: Decimal) -> str:
    return f"{value:.2f}"


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _date(at: datetime | None) -> str:
    return at.astimezone(UTC).date().isoformat() if at else ""
