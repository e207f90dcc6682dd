"""What Linnworks answers, as far as we read it, and what the client returns.

Here: the shape of each answer (contracts/linnworks/FIELDS.md, generated from the official
specification [S]) and the proofs and values the methods return. Not here: asking; judging
an answer (``writes``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Generic, TypeVar

import msgspec

from returns_pipeline.clients.transport import ContractBroken

SearchRow = TypeVar("SearchRow")

# --- what Linnworks answers -------------------------------------------------------


class SessionStatus(msgspec.Struct):
    """Whether the account may be used."""

    State: str = ""


class Session(msgspec.Struct):
    """What authorising gives: the session token and the host to use."""

    Token: str
    Server: str
    Status: SessionStatus | None = None


class Location(msgspec.Struct):
    """A stock location as listed."""

    StockLocationId: str
    LocationName: str
    IsWarehouseManaged: bool = False


class Category(msgspec.Struct):
    """A return category as listed."""

    CategoryName: str | None = None


class V2Page(msgspec.Struct):
    """A page of the v2 orders feed; orders stay undecoded."""

    OpenOrders: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    ProcessedOrders: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    NextSearchToken: str | None = None


class StatusOnly(msgspec.Struct):
    """The part of ``PostSaleStatus`` that is read."""

    StatusHeader: str | None = None


class RowError(msgspec.Struct):
    """An error about one line of an RMA or refund."""

    ErrorMessage: str | None = None
    Acknowledged: bool | None = None


class Verified(msgspec.Struct):
    """What the lines of RMAs and refunds share: an error may stand in three places."""

    Actioned: bool = False
    ActionedDate: str | None = None
    Deleted: bool | None = None
    ExternalReference: str | None = None
    Status: StatusOnly | None = None
    ValidationError: str | None = None
    Error: str | None = None
    Errors: list[RowError] | None = None

    def texts(self) -> list[str]:
        """Whatever error text the line carries that nobody has acknowledged."""
        listed = [e.ErrorMessage for e in self.Errors or [] if not e.Acknowledged]
        return [text for text in (self.ValidationError, self.Error, *listed) if text]


class RmaLine(Verified):
    """A line of an RMA as Linnworks tells it (``VerifiedRMAItem`` [S])."""

    RMARowId: int = 0
    Type: str | None = None
    NewOrderId: str | int | None = None
    ExchangeSKU: str | None = None
    ExchangeQuantity: int | None = None
    OrderItemRowId: str | None = None
    ReturnLocation: str | None = None
    ReturnQuantity: int | None = None
    ScrapQuantity: int | None = None
    RefundAmount: Decimal | None = None
    ReturnItemSKU: str | None = None
    Reason: str | None = None


class RmaHeader(msgspec.Struct):
    """An RMA booking with its lines (``OrderRMAHeader`` [S])."""

    RMAHeaderId: int
    OrderId: str
    RMALines: list[RmaLine] | None = None
    ExternalReference: str | None = None
    ChannelInitiated: bool | None = None
    Actioned: bool | None = None
    Status: StatusOnly | None = None

    @property
    def lines(self) -> list[RmaLine]:
        """The lines that were not deleted."""
        return [line for line in self.RMALines or [] if not line.Deleted]

    @property
    def status_header(self) -> str:
        """``OPEN``, ``PROCESSED``, ``ERROR``, ``ERROR_ACKED`` or ``PENDING``."""
        return (self.Status.StatusHeader if self.Status else None) or ""

    @property
    def is_actioned(self) -> bool:
        """Whether its stock was posted."""
        lines = self.lines
        return bool(self.Actioned) or (bool(lines) and all(line.Actioned for line in lines))


class RmaHeaders(msgspec.Struct):
    """The bookings of one order."""

    RMAHeaders: list[RmaHeader] | None


class RmaPage(msgspec.Struct):
    """A page of a search over bookings."""

    RMAHeaders: list[RmaHeader] | None
    TotalHeaders: int = 0
    HeadersPerPage: int = 0


class Booked(msgspec.Struct):
    """The answer to a booking; failures come in it too."""

    RMAHeaderId: int | None = None
    Items: list[RmaLine] | None = None
    Errors: list[str] | None = None


class Actioned(msgspec.Struct):
    """The answer to the actioning of an RMA; failures come in it too."""

    RMAHeaderId: int | None = None
    RefundHeaderId: int | None = None
    SuccessfullyActioned: bool = False
    Items: list[RmaLine] | None = None
    Errors: list[str] | None = None


class RefundedItem(msgspec.Struct):
    """What a refund line is for."""

    OrderItemRowId: str | None = None
    ReturnRowId: int | None = None


class RefundLine(Verified):
    """A line of a refund as Linnworks tells it (``VerifiedRefund`` [S])."""

    RefundRowId: str | None = None
    RefundedUnit: str | None = None
    RefundedItem: RefundedItem | None = None
    Amount: Decimal = Decimal(0)
    Quantity: int | None = None
    Internal: bool | None = None
    FreeTextOrNote: str | None = None


class RefundHeader(msgspec.Struct):
    """A refund of one order with its lines (``OrderRefundHeader`` [S])."""

    RefundHeaderId: int
    OrderId: str
    Amount: Decimal = Decimal(0)
    Currency: str | None = None
    RefundLines: list[RefundLine] | None = None
    ExternalReference: str | None = None
    ChannelInitiated: bool | None = None
    CreatedDate: str | None = None
    Actioned: bool | None = None
    LastActionDate: str | None = None
    Status: StatusOnly | None = None

    @property
    def lines(self) -> list[RefundLine]:
        """The lines that were not deleted."""
        return [line for line in self.RefundLines or [] if not line.Deleted]

    @property
    def status_header(self) -> str:
        """``OPEN``, ``PROCESSED``, ``ERROR``, ``ERROR_ACKED`` or ``PENDING``."""
        return (self.Status.StatusHeader if self.Status else None) or ""

    @property
    def is_actioned(self) -> bool:
        """Whether the money was sent."""
        lines = self.lines
        return bool(self.Actioned) or (bool(lines) and all(line.Actioned for line in lines))


class RefundHeaders(msgspec.Struct):
    """The refunds of one order."""

    RefundHeaders: list[RefundHeader] | None


class RefundAnswer(msgspec.Struct):
    """The answer to making or actioning a refund; failures come in it too."""

    RefundHeaderId: int | None = None
    RefundReference: str | None = None
    CannotRefundReason: str | None = None
    SuccessfullyActioned: bool | None = None
    Errors: list[str] | None = None
    RefundLines: list[RefundLine] | None = None


class ReturnRow(msgspec.Struct):
    """A row of the bulk search over returns (section 3.3); it names no order line."""

    pkOrderID: str
    pkReturnId: int
    ReturnQty: int | None = None
    fkReturnLocationId: str | None = None
    cItemNumber: str | None = None
    ReturnReference: str | None = None
    RowType: str | None = None
    ScrapQty: int | None = None
    LastDate: str | None = None

    @property
    def id(self) -> str:
        """What tells it from the others."""
        return str(self.pkReturnId)


class RefundRow(msgspec.Struct):
    """A row of the bulk search over refunds (section 3.3); it names no order line either."""

    pkOrderID: str
    pkRefundRowId: str
    RefundStatus: str | None = None
    Amount: Decimal | None = None
    cCurrency: str | None = None  # the order's
    CreateDate: str | None = None
    ActionDate: str | None = None

    @property
    def id(self) -> str:
        """What tells it from the others."""
        return self.pkRefundRowId

    @property
    def is_actioned(self) -> bool:
        """Whether the money was sent; of a row without a status its date says so."""
        if self.RefundStatus:
            return self.RefundStatus == "PROCESSED"
        return bool(self.ActionDate)


class Searched(msgspec.Struct, Generic[SearchRow]):
    """A page of the bulk search."""

    Data: list[SearchRow] | None
    TotalPages: int | None = None


class ReturnExchange(msgspec.Struct):
    """A return line of one order; unlike the bulk search it names the order line (4.1)."""

    pkReturnId: int
    fkOrderId: str
    fkOrderItemRowId: str | None = None
    RowType: str | None = None
    ReturnReference: str | None = None
    ReturnQty: int | None = None
    fkReturnLocationId: str | None = None
    ScrapQty: int | None = None
    Completed: bool | None = None
    fkNewOrderId: str | None = None


class RelativeRow(msgspec.Struct):
    """Two orders that belong together, such as a sale and its replacement (section 4.1 [S])."""

    ChildOrderPkOrderId: str
    ParentOrderPkOrderId: str
    RelationType: str | None = None


class StockChange(msgspec.Struct):
    """A row of an item's stock history at one location; newest come first [L]."""

    Date: str
    ChangeQty: int
    Level: int | None = None
    Note: str | None = None


class ChangesPage(msgspec.Struct):
    """A page of an item's stock history at one location."""

    Data: list[StockChange] | None
    TotalEntries: int | None = None


class LevelLocation(msgspec.Struct):
    """Where a level is counted."""

    StockLocationId: str


class Level(msgspec.Struct):
    """A level at one location."""

    Location: LevelLocation
    StockLevel: int
    Available: int | None = None


class ChangedLevel(Level):
    """A level as it is after a change of ours."""

    SKU: str = ""
    StockItemId: str | None = None


class Levels(msgspec.Struct):
    """An item's levels."""

    pkStockItemId: str
    StockItemLevels: list[Level] | None = None


class ItemId(msgspec.Struct):
    """An item's id and SKU."""

    StockItemId: str
    SKU: str


class ItemIds(msgspec.Struct):
    """The items found by SKU."""

    Items: list[ItemId] | None


class ErrorBody(msgspec.Struct):
    """v1 ``{Code, Message}`` [L]; v2 problem details [S]."""

    Message: str | None = None
    title: str | None = None
    detail: str | None = None


class OrderKey(msgspec.Struct):
    """Which order it is."""

    OrderId: str


class References(msgspec.Struct):
    """The channel numbers of an order that are searched."""

    ReferenceNum: str | None = None
    SecondaryReference: str | None = None


class Referenced(msgspec.Struct):
    """The part of an order that says whether it was asked for."""

    GeneralInfo: References


# --- what the methods return ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StockLocation:
    """A stock location."""

    id: str
    name: str
    warehouse_managed: bool


@dataclass(frozen=True, slots=True)
class StockLevel:
    """How many of an item Linnworks counts at a location; ``available``: less open orders."""

    item_id: str
    location_id: str
    level: int
    available: int


@dataclass(frozen=True, slots=True)
class Relative:
    """An order and another that came of it; ``relation`` as Linnworks calls it."""

    parent_id: str
    child_id: str
    relation: str


@dataclass(frozen=True, slots=True)
class BookedRma:
    """Proof of a booking: a header, and every line that was asked for.

    ``warnings``: error texts that came all the same, about no line of it.
    """

    header_id: int
    lines: tuple[RmaLine, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActionedRma:
    """Proof that an RMA was actioned: its lines, each of them actioned."""

    header_id: int
    refund_header_id: int | None
    lines: tuple[RmaLine, ...]


@dataclass(frozen=True, slots=True)
class MadeRefund:
    """Proof of a refund created or actioned."""

    header_id: int
    reference: str
    lines: tuple[RefundLine, ...]


def instant(text: str | None, method: str, name: str) -> datetime | None:
    """An instant as Linnworks prints it, aware UTC; some are printed without an offset.

    Raises:
        ContractBroken: When the text is no date.
    """
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ContractBroken(method, f"{name} is no date") from error
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
