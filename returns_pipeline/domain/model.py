"""The words of the field as frozen values.

Here: the nouns every rule speaks of. Not here: decisions (each has a module of its own),
vendor field names (``normalise``), tables (``storage``). Money is integer minor units with
its ISO 4217 currency beside it; instants are aware UTC; tax rates are basis points
(2000 = 20 %).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Stage(StrEnum):
    """How far the evidence has carried a unit. Order is by ``STAGE_RANK``; never back."""

    STARTED = "started"
    DROPPED_OFF = "dropped_off"
    APPROVED = "approved"
    DEPARTED = "departed"
    RECEIVED = "received"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Precision(StrEnum):
    """How well an instant is known: told exactly, told as a date, or inferred."""

    EXACT = "e"
    DATE = "d"
    INFERRED = "i"


class RefundType(StrEnum):
    """What the shopper gets for the unit."""

    REFUND = "refund"
    STORE_CREDIT = "store_credit"
    EXCHANGE = "exchange"
    NONE = "none"


class Executor(StrEnum):
    """Who sends the money: one declared party, never both."""

    LINNWORKS = "linnworks"
    HAPPY_RETURNS = "happy_returns"


class Disposition(StrEnum):
    """The canonical dispositions (spec DISPOSITIONS)."""

    SELLABLE = "SELLABLE"
    SELLABLE_B = "SELLABLE_B"
    TAG_MISSING = "TAG_MISSING"
    DAMAGED = "DAMAGED"
    REFURB = "REFURB"
    QUARANTINE = "QUARANTINE"
    WRONG_ITEM = "WRONG_ITEM"
    RTV = "RTV"
    DONATE = "DONATE"
    RECYCLE = "RECYCLE"
    DISPOSE = "DISPOSE"
    MISSING = "MISSING"
    KEEP_ITEM = "KEEP_ITEM"


class StockEffect(StrEnum):
    """What a disposition does to stock in Linnworks."""

    RESTOCK = "restock"  # goes to its location
    SCRAP = "scrap"  # returned and written off at its location: net zero
    NONE = "none"  # nothing is booked


class Owner(StrEnum):
    """Who acts on an exception."""

    CX = "CX"
    OPERATIONS = "Operations"
    FINANCE = "Finance"


class Severity(StrEnum):
    """S1 money or oversell now; S2 S1 by month-end; S3 tidy-up; S4 information."""

    S1 = "S1"
    S2 = "S2"
    S3 = "S3"
    S4 = "S4"


@dataclass(frozen=True, slots=True)
class Fact:
    """One instant of a unit's life and how well it is known."""

    at: datetime
    precision: Precision


@dataclass(frozen=True, slots=True)
class Unit:
    """One physical unit of a return: the latest word on it and the facts of its life.

    ``line_item_id`` is the shop's line id or Linnworks' order item row id, as the
    returns platform passes it. ``disposition_code`` is the source's code, unmapped.
    Amounts are in ``currency`` (``None``: the order's).
    """

    unit_key: str
    return_id: str
    order_number: str
    order_key: str
    line_item_id: str
    sku: str
    started: Fact | None = None
    dropped_off: Fact | None = None
    approved: Fact | None = None
    departed: Fact | None = None
    received: Fact | None = None
    expired: Fact | None = None
    cancelled: Fact | None = None
    status: str = ""
    dropoff_method: str = ""
    disposition_code: str = ""
    disposition_at: datetime | None = None
    refund_type: RefundType | None = RefundType.REFUND
    refund_amount_minor: int | None = None
    shipping_refund_minor: int | None = None
    fee_minor: int | None = None
    fee_currency: str | None = None
    currency: str | None = None
    returnless: bool = False
    exchange_sku: str = ""
    exchange_quantity: int = 0
    exchange_unit_price_minor: int | None = None
    reason_code: str = ""
    updated_at: datetime | None = None
    """The source's own last-change instant, else when it was first observed."""
    source_rank: int = 0
    """Which feed spoke last: 1 look-up or webhook (whole), 0 outbound shipment (partial)."""
    payload_hash: str = ""
    problems: tuple[str, ...] = ()
    """What the adapter could not read: ``field:why`` entries; never empty of meaning."""


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One Linnworks order item row. ``total_minor`` is gross after discount, all units."""

    row_id: str
    order_id: str
    item_number: str
    sku: str
    channel_sku: str
    quantity: int
    total_minor: int
    vat_minor: int
    tax_rate_bp: int
    unit_cost_minor: int | None = None
    is_service: bool = False
    is_unlinked: bool = False
    is_batched: bool = False
    parent_row_id: str | None = None
    discount_minor: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """A Linnworks order with its lines (bundle children included, parents named)."""

    order_id: str
    num_id: int
    reference_key: str
    secondary_key: str
    source: str
    sub_source: str
    currency: str
    processed: bool
    cancelled: bool
    total_minor: int
    postage_minor: int
    postage_vat_minor: int
    payment_method: str
    lines: tuple[OrderLine, ...]
    despatched_at: datetime | None = None
    conversion_rate: str = ""
    """Into the merchant's currency, a decimal; empty: Linnworks did not say."""


@dataclass(frozen=True, slots=True)
class Matched:
    """The unit is unit ``unit_no`` (0-based) of order line ``row_id``, found by ``rule``."""

    unit_key: str
    order_id: str
    row_id: str
    unit_no: int
    rule: str  # row_id | line_id | line_id_suffix | sku


@dataclass(frozen=True, slots=True)
class Orphan:
    """No order or line fits. ``code`` is the exception's code."""

    unit_key: str
    code: str  # ORPHAN_RETURN | SKU_UNKNOWN | QTY_EXCEEDS_ORDERED | ...
    reason: str
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """More than one order or line fits: a person chooses."""

    unit_key: str
    code: str  # ORDER_REF_AMBIGUOUS | LINE_AMBIGUOUS_SKU | DUPLICATE_RETURN_UNIT
    reason: str
    candidates: tuple[str, ...]
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The order is there but not yet usable (open): the unit waits and goes on by itself."""

    unit_key: str
    code: str  # ORDER_NOT_PROCESSED
    reason: str
    order_id: str | None = None


Match = Matched | Orphan | Ambiguous | Waiting


@dataclass(frozen=True, slots=True)
class Cleared:
    """The gate is open since ``at``: the latest instant of the evidence that opened it."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """The gate is shut. ``code`` names why; ``exception`` the catalogue code, if one opens."""

    code: str
    reason: str
    exception: str | None = None


Gate = Cleared | Held


@dataclass(frozen=True, slots=True)
class DispositionRule:
    """What the policy says of one canonical disposition."""

    disposition: Disposition
    effect: StockEffect
    location: str  # Linnworks location name or id; "" where effect is none
    sellable: bool
    refund: str  # "allow" | "hold"
    role: str  # ledger role of the cost side, "" for none


@dataclass(frozen=True, slots=True)
class Decided:
    """The disposition of a unit under a policy version, resolved to a location id."""

    unit_key: str
    source_code: str
    disposition: Disposition
    effect: StockEffect
    location_id: str
    sellable: bool
    refund: str
    role: str


@dataclass(frozen=True, slots=True)
class StockAdjustment:
    """One unit's stock movement, the line of an RMA (or of a move)."""

    adjustment_key: str
    unit_key: str
    order_id: str
    row_id: str
    sku: str
    location_id: str
    quantity: int
    scrap_quantity: int
    kind: str  # restock | scrap | move
    from_location_id: str = ""


@dataclass(frozen=True, slots=True)
class RefundDue:
    """What one unit is owed, to the penny, with its parts.

    ``goods_minor`` + ``shipping_minor`` - ``fee_minor`` = ``amount_minor`` >= 0, all
    gross; each part's VAT beside it.
    """

    refund_key: str
    unit_key: str
    order_id: str
    row_id: str
    currency: str
    goods_minor: int
    goods_vat_minor: int
    shipping_minor: int
    shipping_vat_minor: int
    fee_minor: int
    fee_vat_minor: int
    amount_minor: int
    tax_rate_bp: int
    tender: RefundType
    gateway: str
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class ExchangeOrder:
    """A replacement to be ordered for one unit."""

    exchange_key: str
    unit_key: str
    order_id: str
    reference: str  # deterministic ReferenceNumber
    sku: str
    quantity: int
    unit_price_minor: int  # 0 only when even
    currency: str
    even: bool


@dataclass(frozen=True, slots=True)
class Posting:
    """One ledger line of one unit: a role, a tax key, a side, an amount. Never netted.

    ``event_key`` is the refund or stock movement it is of. ``base_minor`` is the amount in
    the merchant's currency where that is another (``None``: it is not).
    """

    posting_key: str
    unit_key: str
    role: str
    account: str
    tax_key: str
    side: str  # "debit" | "credit"
    amount_minor: int
    currency: str
    occurred_at: datetime
    event_key: str = ""
    base_minor: int | None = None


@dataclass(frozen=True, slots=True)
class ExceptionRaised:
    """A predicate that holds now: becomes, or keeps open, one exception per (code, key)."""

    code: str
    key: str
    message: str
    amount_minor: int = 0
    currency: str = ""
    unit_keys: tuple[str, ...] = ()
    return_ids: tuple[str, ...] = ()
    order_numbers: tuple[str, ...] = ()
    severity: Severity | None = None  # None: the catalogue's
    since: datetime | None = None
