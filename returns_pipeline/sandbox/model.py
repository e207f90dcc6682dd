"""What exists in the sandbox's world: the merchant's catalogue, orders and returns.

Plain mutable records shared by the world generator and the two vendor servers. No
behaviour beyond look-ups belongs here; vendors' rules live in ``linnworks`` and
``happy_returns``, the scripted life of the merchant in ``world``. Money is ``Decimal``
in major units here, as the vendors print it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

DEFAULT_LOCATION = "00000000-0000-0000-0000-000000000000"


@dataclass(slots=True)
class Location:
    """A Linnworks stock location."""

    id: str
    int_id: int
    name: str
    tag: str = ""
    warehouse_managed: bool = False


@dataclass(slots=True)
class StockItem:
    """A product in Linnworks. ``children`` makes it a bundle (composite parent)."""

    id: str
    int_id: int
    sku: str
    title: str
    unit_cost: Decimal
    batched: bool = False
    children: tuple[tuple[str, int], ...] = ()  # (sku, quantity per bundle)


@dataclass(slots=True)
class OrderLine:
    """One order item row. Prices are gross (tax included) unless said otherwise."""

    row_id: str
    item_number: str
    sku: str
    stock_item_id: str
    title: str
    quantity: int
    price_per_unit: Decimal  # gross
    tax_rate: Decimal  # per cent
    line_total: Decimal  # gross, after discount: what the shopper paid for the line
    unit_cost: Decimal | None  # despatch cost; None: nobody entered one
    discount: Decimal = Decimal(0)  # per cent
    is_service: bool = False
    unlinked: bool = False
    children: list[OrderLine] = field(default_factory=list)
    parent_row_id: str | None = None


@dataclass(slots=True)
class Order:
    """An order as Linnworks sees it, with the times at which it changes."""

    id: str
    num_id: int
    reference: str  # ReferenceNum, e.g. "#1001"
    secondary_reference: str  # the shop's own order id
    external_reference: str
    source: str
    sub_source: str
    currency: str
    received_at: datetime
    paid_at: datetime | None
    processed_at: datetime | None  # None: open
    last_updated: datetime
    lines: list[OrderLine]
    postage_cost: Decimal = Decimal(0)  # gross
    postage_tax_rate: Decimal = Decimal(20)
    payment_method: str = "Shopify Payments"
    fulfilment_location_id: str = DEFAULT_LOCATION
    rate: Decimal | None = None  # to the merchant's currency, where it is not the day's; 0: none
    cancelled: bool = False
    cancelled_at: datetime | None = None
    touched_at: datetime | None = None  # edited without changing what we look at
    postal_service: str = "Tracked 48"
    country: str = "United Kingdom"
    buyer_name: str = ""
    buyer_email: str = ""
    extended_properties: list[tuple[str, str, str]] = field(default_factory=list)
    tags: tuple[str, ...] = ()  # its identifiers in Linnworks
    related_to: str | None = None  # reference of the original, for an exchange order
    is_exchange: bool = False


@dataclass(slots=True)
class ReturnUnit:
    """One physical unit in Happy Returns, with its scripted life.

    What Happy Returns shows at an instant is a function of the instants that are not
    later than it. ``None`` means that the thing never happens.
    """

    item_id: str
    return_id: str
    express_code: str
    order_number: str
    shop_order_id: str
    line_item_id: str
    sku: str
    title: str
    purchased_at: datetime
    started_at: datetime
    dropoff_method: str = "return-bar"
    dropped_off_at: datetime | None = None
    approved_at: datetime | None = None
    departed_at: datetime | None = None
    received_at: datetime | None = None
    inspected_at: datetime | None = None
    expired_at: datetime | None = None
    cancelled_at: datetime | None = None
    removed_at: datetime | None = None  # from when Happy Returns does not name it any more
    disposition: str = ""
    reason_id: str = "too-small"
    refund_type: str = "refund"
    refund_amount: Decimal | None = None
    shipping_refund_amount: Decimal | None = None
    return_fee: Decimal | None = None
    currency: str = "GBP"
    returnless: bool = False
    exchange_sku: str = ""
    exchange_quantity: int = 0
    exchange_unit_price: Decimal | None = None
    external_rma_id: str = ""
    bag: str = ""
    shipment_id: str | None = None
    destination_address_id: str = "addr-0001"
    carrier: str = ""
    tracking: str = ""
    shopper_name: str = ""
    shopper_email: str = ""
    # The JSON is overridden by these names; ``None`` leaves a name out.
    extra: dict[str, object] = field(default_factory=dict)
    revisions: list[tuple[datetime, dict[str, object]]] = field(default_factory=list)  # from when


@dataclass(slots=True)
class Shipment:
    """A consolidated shipment from a Happy Returns hub to the warehouse."""

    id: str
    departed_at: datetime
    item_ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class StaffAction:
    """Something a person does in Linnworks once its time has come (see ``staff``).

    It waits until it can be done: a booking cannot be edited before it exists.
    """

    at: datetime
    action: dict[str, Any]


@dataclass(slots=True)
class Expected:
    """Ground truth for one unit at the end of its script, told by the case's author.

    It follows from the specification with the packaged policy and the refund executor
    ``linnworks``, from ``holds_from`` on. Units of one order line share what the line was
    paid by cumulative rounding, and a fee or postage stands once a return: compare money by
    the sum over a return's units. ``None`` means that the specification leaves it open.

    ``stock``: sku -> (location name, quantity) as Linnworks' books show it at the end,
    people's doings included. ``scrap``: sku -> quantity returned and written off at once.
    ``refund_minor``: money refunded for it in Linnworks, whoever did it, in minor units.
    ``exchange_orders``: replacement orders made for it.
    ``exceptions``: codes that must stand open for it; ``visible``: some exception must.
    """

    item_id: str
    case: str
    holds_from: datetime
    stock: dict[str, tuple[str, int]] | None = field(default_factory=dict)
    scrap: dict[str, int] = field(default_factory=dict)
    refund_minor: int | None = 0
    exchange_orders: int = 0
    exceptions: tuple[str, ...] = ()
    visible: bool = False
    order_reference: str = ""  # as in Linnworks; empty when there is no such order
    row_id: str = ""  # the order item row it must be matched with; empty: none


@dataclass(slots=True)
class World:
    """Everything that exists, and what should come of it."""

    seed: int
    starts_at: datetime
    ends_at: datetime
    retailer_id: str
    locations: list[Location]
    stock_items: dict[str, StockItem]  # by sku
    orders: list[Order]
    units: list[ReturnUnit]
    shipments: list[Shipment]
    expected: dict[str, Expected]  # by item_id
    cases: dict[str, list[str]]  # case name -> item ids
    opening_stock: dict[tuple[str, str], int]  # (sku, location id) -> quantity
    return_categories: list[tuple[int, str]] = field(default_factory=list)
    staff: list[StaffAction] = field(default_factory=list)
