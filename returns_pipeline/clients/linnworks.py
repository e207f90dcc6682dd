"""Linnworks v1 and the v2 orders feed: what can be read there, and our writes.

Reads come back as typed values or undecoded orders; each write is one method, sent once,
that returns proof or raises an error typed by what to do next. Business failures that
travel as HTTP 200 are understood here. Keeping, repeating and reading back a write are
``dispatch``'s; the meaning of an order's fields is ``normalise.linnworks``'s.

Sources: contracts/linnworks/CONTRACT.md (sections cited with their grades) and FIELDS.md,
which is generated from the official specification [S].
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import monotonic as _monotonic
from time import sleep as _sleep
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from returns_pipeline.clients.transport import (
    LOOPBACK,
    Answer,
    Call,
    ContractBroken,
    CredentialsRevoked,
    Lanes,
    NotApplied,
    OutcomeUnknown,
    Pages,
    Patience,
    Refused,
    Scrub,
    Told,
    Transport,
    Unauthorised,
    Unavailable,
    per_minute,
)
from returns_pipeline.domain.money import format_minor
from returns_pipeline.domain.policy import order_key

T = TypeVar("T")

# Published limits a minute (section 1.5 [S]); what is not named has 150. For v2 none is
# stated: 150 there is our own caution.
_LIMIT = 150
_LIMITS = {
    "AddOrderNote": 250,
    "GetItemChangesHistory": 250,
    "GetOrderDetailsByReferenceId": 250,
    "GetOrdersById": 250,
    "GetStockItemIdsBySKU": 250,
    "GetStockLevel_Batch": 250,
}
_SEARCH_WINDOW = timedelta(days=80)  # the server takes at most three months (1.4 [S])
_IDS_A_CALL = 100  # for batch reads whose limit is not published (1.4 [A])
_PAGE = 200
_QUOTA = "quota exceeded"


# --- what Linnworks answers -------------------------------------------------------


class _SessionStatus(msgspec.Struct):
    State: str = ""


class _Session(msgspec.Struct):
    Token: str
    Server: str
    Status: _SessionStatus | None = None


class _Location(msgspec.Struct):
    StockLocationId: str
    LocationName: str
    IsWarehouseManaged: bool = False


class _Category(msgspec.Struct):
    CategoryName: str | None = None


class _V2Page(msgspec.Struct):
    OpenOrders: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    ProcessedOrders: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    NextSearchToken: str | None = None


class _StatusOnly(msgspec.Struct):
    StatusHeader: str | None = None


class _RowError(msgspec.Struct):
    ErrorMessage: str | None = None
    Acknowledged: bool | None = None


class _Verified(msgspec.Struct):
    """What the lines of RMAs and refunds share: an error may stand in three places."""

    Actioned: bool = False
    ActionedDate: str | None = None
    Deleted: bool | None = None
    ExternalReference: str | None = None
    Status: _StatusOnly | None = None
    ValidationError: str | None = None
    Error: str | None = None
    Errors: list[_RowError] | None = None

    def texts(self) -> list[str]:
        """Whatever error text the line carries that nobody has acknowledged."""
        listed = [e.ErrorMessage for e in self.Errors or [] if not e.Acknowledged]
        return [text for text in (self.ValidationError, self.Error, *listed) if text]


class RmaLine(_Verified):
    """A line of an RMA as Linnworks tells it (``VerifiedRMAItem`` [S])."""

    RMARowId: int = 0
    Type: str | None = None
    NewOrderId: str | int | None = None
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
    Status: _StatusOnly | None = None

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


class _RmaHeaders(msgspec.Struct):
    RMAHeaders: list[RmaHeader] | None


class _RmaPage(msgspec.Struct):
    RMAHeaders: list[RmaHeader] | None
    TotalHeaders: int = 0
    HeadersPerPage: int = 0


class _Booked(msgspec.Struct):
    RMAHeaderId: int | None = None
    Items: list[RmaLine] | None = None
    Errors: list[str] | None = None


class _Actioned(msgspec.Struct):
    RMAHeaderId: int | None = None
    RefundHeaderId: int | None = None
    SuccessfullyActioned: bool = False
    Items: list[RmaLine] | None = None
    Errors: list[str] | None = None


class _RefundedItem(msgspec.Struct):
    OrderItemRowId: str | None = None
    ReturnRowId: int | None = None


class RefundLine(_Verified):
    """A line of a refund as Linnworks tells it (``VerifiedRefund`` [S])."""

    RefundRowId: str | None = None
    RefundedUnit: str | None = None
    RefundedItem: _RefundedItem | None = None
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
    Actioned: bool | None = None
    Status: _StatusOnly | None = None

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


class _RefundHeaders(msgspec.Struct):
    RefundHeaders: list[RefundHeader] | None


class _RefundAnswer(msgspec.Struct):
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


class _ReturnPage(msgspec.Struct):
    Data: list[ReturnRow] | None
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


class StockChange(msgspec.Struct):
    """A row of an item's stock history at one location; newest come first [L]."""

    Date: str
    ChangeQty: int
    Level: int | None = None
    Note: str | None = None


class _ChangesPage(msgspec.Struct):
    Data: list[StockChange] | None


class _LevelLocation(msgspec.Struct):
    StockLocationId: str


class _Level(msgspec.Struct):
    Location: _LevelLocation
    StockLevel: int


class _Levels(msgspec.Struct):
    pkStockItemId: str
    StockItemLevels: list[_Level] | None = None


class _ItemId(msgspec.Struct):
    StockItemId: str
    SKU: str


class _ItemIds(msgspec.Struct):
    Items: list[_ItemId] | None


class _ErrorBody(msgspec.Struct):
    """v1 ``{Code, Message}`` [L]; v2 problem details [S]."""

    Message: str | None = None
    title: str | None = None
    detail: str | None = None


class _Order(msgspec.Struct):
    OrderId: str


class _General(msgspec.Struct):
    ReferenceNum: str | None = None
    SecondaryReference: str | None = None


class _Referenced(msgspec.Struct):
    GeneralInfo: _General


# --- what the methods return ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StockLocation:
    """A stock location."""

    id: str
    name: str
    warehouse_managed: bool


@dataclass(frozen=True, slots=True)
class StockLevel:
    """How many of an item Linnworks counts at a location."""

    item_id: str
    location_id: str
    level: int


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


# --- the client -------------------------------------------------------------------


class Linnworks:
    """One Linnworks account. Safe for several threads; they share one session.

    Args:
        auth_url: Where ``AuthorizeByApplication`` is; later calls go to the ``Server`` it
            answers with, which must be Linnworks', this host, or this machine.
        application_id: Of our application.
        application_secret: Of our application.
        token: Of the customer's installation.
        v2_url: Base of ``/v2``; else derived from ``Server``.
        rate_share: Share of each published limit to use; 0: unpaced.
        timeout: Connect and read, seconds. Long for the answer: giving up on a write
            makes its outcome unknown.
        patience: The bounds of a read's retries.
        sleep: Waits.
        monotonic: A clock that only goes forward.
    """

    def __init__(
        self,
        auth_url: str,
        application_id: str,
        application_secret: str,
        token: str,
        *,
        v2_url: str | None = None,
        rate_share: float = 0.8,
        timeout: tuple[float, float] = (5.0, 90.0),
        patience: Patience | None = None,
        sleep: Callable[[float], None] = _sleep,
        monotonic: Callable[[], float] = _monotonic,
    ) -> None:
        """Make no connection yet."""
        self._auth_url = auth_url.rstrip("/")
        self._auth_host = (urlsplit(self._auth_url).hostname or "").lower()
        self._credentials = {
            "ApplicationId": application_id,
            "ApplicationSecret": application_secret,
            "Token": token,
        }
        self._v2_url = v2_url
        self._timeout = timeout
        self._patience = patience
        self._sleep = sleep
        self._monotonic = monotonic
        self._scrub = Scrub([application_secret, token, application_id])
        limits = per_minute(lambda method: _LIMITS.get(method, _LIMIT), rate_share)
        self._lanes = Lanes(limits, sleep=sleep, monotonic=monotonic)
        self._auth = self._transport(self._auth_url)
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._v1 = self._v2 = self._auth  # until the session names them

    def _transport(self, base_url: str) -> Transport:
        host = (urlsplit(base_url).hostname or "").lower()
        return Transport(
            base_url,
            allowed_hosts={host},
            session_headers={"Accept": "application/json"},
            recognise=recognise,
            scrub=self._scrub,
            timeout=self._timeout,
            patience=self._patience,
            sleep=self._sleep,
            monotonic=self._monotonic,
            lanes=self._lanes,
        )

    @property
    def calls(self) -> Counter[str]:
        """Requests sent, by method, retries included."""
        return Counter({f"linnworks.{name}": n for name, n in self._lanes.calls.items()})

    @property
    def reads(self) -> int:
        """Requests sent that change nothing there."""
        return self._lanes.reads

    @property
    def writes(self) -> int:
        """Requests sent that may change something there."""
        return self._lanes.writes

    def fresh_connection(self) -> None:
        """Begin the next call of this thread on a new connection."""
        self._v1.fresh_connection()

    # --- session

    def _signed_in(self, not_this: str = "") -> _Session:
        """The session; a new one when there is none or ``not_this`` has expired.

        There is no timer: the session's life is not published (section 1.1).
        """
        with self._lock:
            if self._session is None or self._session.Token == not_this:
                self._session = self._sign_in()
            return self._session

    def _sign_in(self) -> _Session:
        name = "AuthorizeByApplication"
        # Unwrapped JSON (section 1.1 [P]).
        call = Call(
            name,
            "POST",
            f"/api/Auth/{name}",
            body=msgspec.json.encode(self._credentials),
            read=True,
        )
        try:
            session = self._auth.read(call, _decoder(_Session), _JSON)
        except (Unauthorised, Refused):
            raise CredentialsRevoked(
                name, "refused: check LINNWORKS_APPLICATION_ID, _SECRET and _TOKEN"
            ) from None
        state = session.Status.State if session.Status else ""
        if state == "LOCKED_FULL":
            raise CredentialsRevoked(name, "the account is locked")
        if state == "MAINTENANCE":
            raise Unavailable(name, "the account is under maintenance")
        server = session.Server.rstrip("/")
        v2 = (self._v2_url or server.replace("-ext.", "-api.")).rstrip("/")
        if not self._is_linnworks(server):
            host = self._scrub(urlsplit(server).hostname or "")
            raise ContractBroken(name, f"Server leads to the host {host!r}; refused")
        try:
            if self._v1.base_url != server:
                self._v1 = self._transport(server)
            if self._v2.base_url != v2:
                self._v2 = self._transport(v2)
        except ValueError as error:
            raise ContractBroken(name, str(error)) from None
        return session

    def _is_linnworks(self, url: str) -> bool:
        host = (urlsplit(url).hostname or "").lower()
        return (
            host == "linnworks.net"
            or host.endswith(".linnworks.net")
            or host == self._auth_host
            or host in LOOPBACK
        )

    def _with_session(self, method: str, send: Callable[[Mapping[str, str]], T]) -> T:
        """Send with the session; when it has expired, authorise anew and repeat, once.

        Right for writes too: what was answered with 401 was not applied.
        """
        used = ""
        for _ in range(2):
            # The session's token goes raw, without "Bearer" (section 1.1 [S]).
            used = self._signed_in(not_this=used).Token
            try:
                return send({**_JSON, "Authorization": used})
            except Unauthorised:
                continue
        raise CredentialsRevoked(method, "HTTP 401 again after authorising anew")

    # --- reads

    def _read(
        self,
        name: str,
        verb: str,
        path: str,
        kind: type[T],
        *,
        query: Mapping[str, str] | None = None,
        document: object = None,
    ) -> T:
        body = None if document is None else msgspec.json.encode(document)
        call = Call(name, verb, path, tuple((query or {}).items()), body, read=True)

        def send(headers: Mapping[str, str]) -> T:
            transport = self._v2 if path.startswith("/v2/") else self._v1
            return transport.read(call, _decoder(kind), headers)

        try:
            return self._with_session(name, send)
        except Refused as error:
            # The form of our reads is fixed: a no to one means that the contract moved.
            raise ContractBroken(name, f"refused: {error.detail}") from None

    def orders_changed_since(self, since: datetime, page_size: int) -> Iterator[list[msgspec.Raw]]:
        """Orders changed since an instant, open and processed, page by page.

        The v2 feed (section 2.3 [S]); its end condition is not published: no token, or
        no rows.

        Raises:
            ContractBroken: When the search token repeats or there is no end.
        """
        query = {
            "fromDate": _stamp(since),
            "entriesPerPage": str(page_size),
            "includeProcessed": "true",
            "onlyPaid": "false",
        }
        pages = Pages("orders")
        while True:
            page = self._read("orders", "GET", "/v2/orders", _V2Page, query=query)
            if page.OpenOrders is msgspec.UNSET and page.ProcessedOrders is msgspec.UNSET:
                raise ContractBroken("orders", "an answer without orders")
            rows = [*(page.OpenOrders or []), *(page.ProcessedOrders or [])]
            if rows:
                yield rows
            if not rows or not page.NextSearchToken:
                return
            query["searchToken"] = pages.turn(page.NextSearchToken)

    def orders_by_reference(self, reference: str) -> list[msgspec.Raw]:
        """The orders that carry a channel number as reference or secondary reference.

        v1 shape (section 2.3 [S]). Each row is looked at again: a filter that was not
        understood returns strangers (hazard 18).
        """
        name = "GetOrderDetailsByReferenceId"
        found = self._read(
            name,
            "GET",
            f"/api/Orders/{name}",
            list[msgspec.Raw],
            query={"ReferenceId": reference},
        )
        wanted = order_key(reference)
        return [raw for raw in found if wanted in _references(name, raw)]

    def orders_by_id(self, ids: Sequence[str]) -> list[msgspec.Raw]:
        """Orders by id, v1 shape, open and processed ([P] 200 ids a call)."""
        name = "GetOrdersById"
        found: list[msgspec.Raw] = []
        for part in _parts(ids, _PAGE):
            wanted = {key.lower() for key in part}
            rows = self._read(
                name,
                "POST",
                f"/api/Orders/{name}",
                list[msgspec.Raw],
                document={"pkOrderIds": part},
            )
            found.extend(raw for raw in rows if _order_id(name, raw) in wanted)
        return found

    def order_by_id(self, order_id: str) -> dict[str, Any] | None:
        """One order whole, for making its exchange: the shopper's address included.

        Never kept, never printed.
        """
        for raw in self.orders_by_id([order_id]):
            order: dict[str, Any] = msgspec.json.decode(raw)
            return order
        return None

    def stock_locations(self) -> list[StockLocation]:
        """Every stock location; the zero id is a real one."""
        name = "GetStockLocations"
        found = self._read(name, "GET", f"/api/Inventory/{name}", list[_Location])
        return [
            StockLocation(one.StockLocationId.lower(), one.LocationName, one.IsWarehouseManaged)
            for one in found
        ]

    def return_categories(self) -> list[str]:
        """The names of the return categories."""
        name = "GetReturnCategories"
        found = self._read(name, "GET", f"/api/ProcessedOrders/{name}", list[_Category])
        return [category.CategoryName for category in found if category.CategoryName]

    def rma_headers(self, order_id: str) -> list[RmaHeader]:
        """All bookings of one order, whoever made them: the read-back of a lost answer.

        Raises:
            ContractBroken: When another order's come: the filter was not understood,
                and that ours are not among them proves nothing.
        """
        name = "GetRMAHeadersByOrderId"
        document = {"request": {"OrderId": order_id}}
        answer = self._read(
            name, "POST", f"/api/ReturnsRefunds/{name}", _RmaHeaders, document=document
        )
        found = answer.RMAHeaders or []
        _only(order_id, name, (header.OrderId for header in found))
        return found

    def rma_by_reference(self, reference: str) -> list[RmaHeader]:
        """The bookings, open or done, whose header carries our reference (section 3.3).

        Whether the search is exact is not published: each is looked at again.
        """
        found: list[RmaHeader] = []
        for name in ("GetActionableRMAHeaders", "GetProcessedOrAckedErrorRMAHeaders"):
            pages, number, seen = Pages(name, most=1000), 1, 0
            while True:
                filters = {"Type": "HEADER_REFERENCE", "Value": reference}
                document = {"request": {"Page": number, "Filters": filters}}
                page = self._read(
                    name,
                    "POST",
                    f"/api/ReturnsRefunds/{name}",
                    _RmaPage,
                    document=document,
                )
                headers = page.RMAHeaders or []
                found.extend(h for h in headers if h.ExternalReference == reference)
                seen += len(headers)
                if not headers or seen >= page.TotalHeaders:
                    break
                # A page that is turned but does not change repeats its first header.
                pages.turn(str(headers[0].RMAHeaderId))
                number += 1
        return found

    def refund_headers(self, order_id: str) -> list[RefundHeader]:
        """All refunds of one order, whoever made them.

        Raises:
            ContractBroken: When another order's come, as in ``rma_headers``.
        """
        name = "GetRefundHeadersByOrderId"
        document = {"request": {"OrderId": order_id}}
        answer = self._read(
            name,
            "POST",
            f"/api/ReturnsRefunds/{name}",
            _RefundHeaders,
            document=document,
        )
        found = answer.RefundHeaders or []
        _only(order_id, name, (header.OrderId for header in found))
        return found

    def returned_rows(
        self, since: datetime, until: datetime, *, date_type: str = "ACTIONED"
    ) -> Iterator[list[ReturnRow]]:
        """Return rows of a window in bulk; ``date_type`` is ``BOOKED`` or ``ACTIONED``.

        At most 200 rows a page and three months a window (section 1.4 [S]): a longer
        window is asked in parts.
        """
        name = "SearchReturnsRefundsPaged"
        start = since
        while start < until:
            end = min(until, start + _SEARCH_WINDOW)
            pages, number = Pages(name, most=10_000), 1
            while True:
                query = {
                    "from": _stamp(start),
                    "to": _stamp(end),
                    "dateType": date_type,
                    "searchField": "",
                    "exactMatch": "false",
                    "searchTerm": "",
                    "pageNum": str(number),
                    "numEntriesPerPage": str(_PAGE),
                    "historyType": "RETURNS",
                }
                page = self._read(
                    name, "GET", f"/api/ReturnsRefunds/{name}", _ReturnPage, query=query
                )
                rows = page.Data or []
                if rows:
                    pages.turn(f"{rows[0].pkReturnId} {rows[-1].pkReturnId} {len(rows)}")
                    yield rows
                if not rows or number >= (page.TotalPages or 0):
                    break
                number += 1
            start = end

    def returns_exchanges(self, order_id: str) -> list[ReturnExchange]:
        """The return lines of one order with their order lines (section 4.1 [S])."""
        name = "GetReturnsExchanges"
        found = self._read(
            name,
            "GET",
            f"/api/ProcessedOrders/{name}",
            list[ReturnExchange],
            query={"pkOrderId": order_id},
        )
        _only(order_id, name, (row.fkOrderId for row in found))
        return found

    def stock_item_ids(self, skus: Sequence[str]) -> dict[str, str]:
        """SKU to stock item id; an unknown SKU is absent ([A])."""
        name = "GetStockItemIdsBySKU"
        found: dict[str, str] = {}
        for part in _parts(skus, _IDS_A_CALL):
            document = {"request": {"SKUS": part}}
            answer = self._read(name, "POST", f"/api/Inventory/{name}", _ItemIds, document=document)
            found.update((i.SKU, i.StockItemId.lower()) for i in answer.Items or [])
        return found

    def stock_levels(self, item_ids: Sequence[str]) -> list[StockLevel]:
        """The level of each item at each location where it has one."""
        name = "GetStockLevel_Batch"
        found: list[StockLevel] = []
        for part in _parts(item_ids, _IDS_A_CALL):
            document = {"request": {"StockItemIds": part}}
            answer = self._read(
                name, "POST", f"/api/Stock/{name}", list[_Levels], document=document
            )
            found.extend(
                StockLevel(
                    item.pkStockItemId.lower(),
                    level.Location.StockLocationId.lower(),
                    level.StockLevel,
                )
                for item in answer
                for level in item.StockItemLevels or []
            )
        return found

    def changes_history(self, item_id: str, location_id: str) -> Iterator[list[StockChange]]:
        """An item's stock history at one location, newest first, page by page.

        The page numbers in the answer may be zeros; the end is an empty page ([L]).
        """
        name = "GetItemChangesHistory"
        for number in range(1, 1001):
            query = {
                "stockItemId": item_id,
                "locationId": location_id,
                "entriesPerPage": str(_PAGE),
                "pageNumber": str(number),
            }
            page = self._read(name, "GET", f"/api/Stock/{name}", _ChangesPage, query=query)
            rows = page.Data or []
            if rows:
                yield rows
            if len(rows) < _PAGE:
                return
        raise ContractBroken(name, "more than 1000 pages")

    # --- writes

    def _write(self, name: str, path: str, document: object, kind: type[T]) -> T:
        """One write, sent once; anything but a readable answer is raised, typed."""
        call = Call(name, "POST", path, body=msgspec.json.encode(document))

        def send(headers: Mapping[str, str]) -> T:
            return self._v1.write(call, _decoder(kind), headers)

        try:
            return self._with_session(name, send)
        except Unavailable as error:
            # Only authorising is read on this way: the write itself was not sent.
            raise NotApplied(name, f"no session: {error}") from None

    def _said(self, *groups: Sequence[str]) -> tuple[str, ...]:
        """The vendor's words, clean, each once."""
        words = (self._scrub(text) for group in groups for text in group if text)
        return tuple(dict.fromkeys(words))

    def create_rma_booking(
        self,
        order_id: str,
        lines: Sequence[Mapping[str, Any]],
        *,
        reference: str,
        category: str,
    ) -> BookedRma:
        """Book a return (section 3.1 [S]). Moves no stock; a repetition books a second.

        Args:
            order_id: The processed order.
            lines: Each ``row_id, location_id, quantity, scrap_quantity, reason``.
            reference: Ours; Linnworks does not hold it unique.
            category: A return category, or "".

        Returns:
            Proof, when the answer names a header and shows every line asked for.

        Raises:
            Refused: Linnworks said no in a 200 and made no booking.
            OutcomeUnknown: Anything that is no clear yes or no.
        """
        name = "CreateRMABooking"
        items = [
            {
                "OrderItemRowId": line["row_id"],
                "ReturnLocation": line["location_id"],
                "ReturnQuantity": line["quantity"],
                "ScrapQuantity": line["scrap_quantity"],
                # Money has one way out, and it is not this one (hazard 5).
                "RefundAmount": 0,
                "ReasonCategory": category,
                "Reason": line["reason"],
            }
            for line in lines
        ]
        document = {
            "request": {
                "ChannelInitiated": False,
                "OrderId": order_id,
                "ReturnItems": items,
                "ExchangeItems": [],
                "ResendItems": [],
                "Reference": reference,
            }
        }
        found = self._write(name, f"/api/ReturnsRefunds/{name}", document, _Booked)
        rows = found.Items or []
        about_lines = [text for row in rows for text in row.texts()]
        said = self._said(found.Errors or [], about_lines)
        if not found.RMAHeaderId or found.RMAHeaderId < 0:
            if said:
                raise Refused(name, said)
            raise OutcomeUnknown(name, "neither a booking nor a reason")
        if about_lines or _quantities_booked(rows) != _quantities_asked(lines):
            # There is a header, but what stands in it must be read, not believed.
            raise OutcomeUnknown(name, "; ".join(said) or "booked other lines than asked")
        return BookedRma(found.RMAHeaderId, tuple(rows), said)

    def action_rma_booking(self, order_id: str, header_id: int) -> ActionedRma:
        """Action a booking: this posts its stock (section 3.2).

        Returns:
            Proof: said to be actioned, every line actioned, and no error text anywhere
            (``SuccessfullyActioned`` alone is no proof, section 1.3 [A]).

        Raises:
            Refused: Linnworks said no and no line is actioned.
            OutcomeUnknown: Anything that is no clear yes or no.
        """
        name = "ActionRMABooking"
        document = {"request": {"RMAHeaderId": header_id, "OrderId": order_id}}
        found = self._write(name, f"/api/ReturnsRefunds/{name}", document, _Actioned)
        if found.RMAHeaderId not in {None, 0, header_id}:
            raise OutcomeUnknown(name, "the answer is about another booking")
        rows = found.Items or []
        said = self._said(found.Errors or [], [text for row in rows for text in row.texts()])
        self._judge_action(name, said, rows, successful=found.SuccessfullyActioned)
        return ActionedRma(header_id, found.RefundHeaderId or None, tuple(rows))

    def _judge_action(
        self,
        name: str,
        said: tuple[str, ...],
        rows: Sequence[_Verified],
        *,
        successful: bool,
    ) -> None:
        """Return when it is proven that everything was actioned; else raise."""
        live = [row for row in rows if not row.Deleted]
        if successful and not said and live and all(row.Actioned for row in live):
            return
        if said and not successful and not any(row.Actioned for row in rows):
            raise Refused(name, said)
        raise OutcomeUnknown(name, "; ".join(said) or "actioned in part, or not clearly")

    def delete_rma(self, header_id: int) -> None:
        """Delete a booking that was not actioned; it has moved nothing (section 3.3)."""
        name = "DeleteRMA"
        document = {
            "request": {
                "RMAHeaderId": header_id,
                "ReasonTag": "",
                "RejectOnChannel": False,
            }
        }
        self._write(name, f"/api/ReturnsRefunds/{name}", document, dict[str, Any])

    def create_refund(
        self, order_id: str, lines: Sequence[Mapping[str, Any]], *, currency: str
    ) -> MadeRefund:
        """Create a refund (section 3.4 [S]); no money leaves yet.

        Args:
            order_id: The processed order.
            lines: Each ``unit`` (``Item`` or ``Shipping``), ``row_id``, ``return_row_id``,
                ``amount_minor``, ``quantity``, ``external_reference``, ``note``.
            currency: Of the amounts.

        Returns:
            Proof, when the answer names a header and its lines sum to what was asked.

        Raises:
            Refused: Linnworks said no in a 200 and made no refund.
            OutcomeUnknown: Anything that is no clear yes or no.
        """
        name = "CreateRefund"
        rows = []
        for line in lines:
            row: dict[str, Any] = {
                "RefundedUnit": line["unit"],
                # The digits themselves: a JSON number that never was a binary float.
                "Amount": msgspec.Raw(format_minor(line["amount_minor"], currency).encode()),
                "CancelledQuantity": 0,
                "ExternalReference": line["external_reference"],
                "FreeTextOrNote": line["note"],
            }
            if line["unit"] == "Item":
                row["OrderItemRowId"] = line["row_id"]
                row["Quantity"] = line["quantity"]
                if line.get("return_row_id") is not None:
                    row["ReturnRowId"] = line["return_row_id"]
            rows.append(row)
        document = {
            "request": {
                "ChannelInitiated": False,
                "OrderId": order_id,
                "RefundLines": rows,
            }
        }
        found = self._write(name, f"/api/ReturnsRefunds/{name}", document, _RefundAnswer)
        said = self._said(_refund_texts(found))
        made = found.RefundLines or []
        if not found.RefundHeaderId or found.RefundHeaderId < 0:
            if said:
                raise Refused(name, said)
            raise OutcomeUnknown(name, "neither a refund nor a reason")
        asked = Decimal(format_minor(sum(line["amount_minor"] for line in lines), currency))
        if said or sum((row.Amount for row in made), Decimal(0)) != asked:
            raise OutcomeUnknown(name, "; ".join(said) or "made other lines than asked")
        return MadeRefund(found.RefundHeaderId, found.RefundReference or "", tuple(made))

    def action_refund(self, order_id: str, header_id: int) -> MadeRefund:
        """Action a refund: this sends the money (section 3.4).

        Raises:
            Refused: Linnworks said no and no line is actioned.
            OutcomeUnknown: Anything that is no clear yes or no.
        """
        name = "ActionRefund"
        document = {"request": {"RefundHeaderId": header_id, "OrderId": order_id}}
        found = self._write(name, f"/api/ReturnsRefunds/{name}", document, _RefundAnswer)
        if found.RefundHeaderId not in {None, 0, header_id}:
            raise OutcomeUnknown(name, "the answer is about another refund")
        rows = found.RefundLines or []
        said = self._said(_refund_texts(found))
        self._judge_action(name, said, rows, successful=bool(found.SuccessfullyActioned))
        return MadeRefund(header_id, found.RefundReference or "", tuple(rows))

    def create_order(self, order: Mapping[str, Any], *, location: str) -> str | None:
        """Create one order; unique by source, sub source and reference (section 4.2 [D]).

        Returns:
            The order's id; ``None`` where Linnworks answered with an empty list: such an
            order is there already ([P]; another note says that its id comes back).
        """
        name = "CreateOrders"
        document = {"orders": [order], "location": location}
        found = self._write(name, f"/api/Orders/{name}", document, list[str])
        if len(found) > 1:
            raise OutcomeUnknown(name, "several orders for one")
        return found[0].lower() if found else None

    def add_order_note(self, order_id: str, text: str) -> str:
        """Add an internal note to an order (section 4.1 [S]); a repetition adds another."""
        name = "AddOrderNote"
        document = {"pkOrderID": order_id, "noteText": text, "isInternal": True}
        return self._write(name, f"/api/ProcessedOrders/{name}", document, str)


_JSON = {"Content-Type": "application/json"}


def recognise(answer: Answer) -> Told | None:
    """Read Linnworks' error body, of either version; the quota's text on any status.

    The text "API calls quota exceeded! …" was seen on other statuses than 429, and
    ``Retry-After`` only sometimes (section 1.3 [L]).
    """
    try:
        error = msgspec.json.decode(answer.content, type=_ErrorBody)
    except msgspec.DecodeError:
        return None
    message = error.Message or error.detail or error.title
    if message is None:
        return None
    return Told(messages=(message,), over_limit=_QUOTA in message.casefold())


def _decoder(kind: type[T]) -> Callable[[Answer], T]:
    return lambda answer: msgspec.json.decode(answer.content, type=kind)


def _parts(values: Sequence[str], size: int) -> Iterator[list[str]]:
    unique = list(dict.fromkeys(values))
    for start in range(0, len(unique), size):
        yield unique[start : start + size]


def _only(order_id: str, name: str, found: Iterator[str]) -> None:
    if any(other.lower() != order_id.lower() for other in found):
        raise ContractBroken(name, "it answers about another order")


def _quantities_asked(
    lines: Sequence[Mapping[str, Any]],
) -> Counter[tuple[str, str, str]]:
    asked: Counter[tuple[str, str, str]] = Counter()
    for line in lines:
        place = (str(line["row_id"]).lower(), str(line["location_id"]).lower())
        asked[*place, "returned"] += line["quantity"]
        asked[*place, "scrapped"] += line["scrap_quantity"]
    return +asked


def _quantities_booked(rows: Sequence[RmaLine]) -> Counter[tuple[str, str, str]]:
    booked: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        if not row.Deleted:
            place = (
                (row.OrderItemRowId or "").lower(),
                (row.ReturnLocation or "").lower(),
            )
            booked[*place, "returned"] += row.ReturnQuantity or 0
            booked[*place, "scrapped"] += row.ScrapQuantity or 0
    return +booked


def _refund_texts(found: _RefundAnswer) -> list[str]:
    texts = list(found.Errors or [])
    if found.CannotRefundReason not in {None, "", "None"}:
        texts.append(f"CannotRefundReason {found.CannotRefundReason}")
    return [
        *texts,
        *(text for line in found.RefundLines or [] for text in line.texts()),
    ]


def _references(name: str, raw: msgspec.Raw) -> set[str]:
    try:
        general = msgspec.json.decode(raw, type=_Referenced).GeneralInfo
    except msgspec.MsgspecError:
        raise ContractBroken(name, "an order without its references") from None
    return {
        order_key(general.ReferenceNum or ""),
        order_key(general.SecondaryReference or ""),
    }


def _order_id(name: str, raw: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=_Order).OrderId.lower()
    except msgspec.MsgspecError:
        raise ContractBroken(name, "an order without its id") from None


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = [
    "ActionedRma",
    "BookedRma",
    "Linnworks",
    "MadeRefund",
    "RefundHeader",
    "RefundLine",
    "ReturnExchange",
    "ReturnRow",
    "RmaHeader",
    "RmaLine",
    "StockChange",
    "StockLevel",
    "StockLocation",
]
