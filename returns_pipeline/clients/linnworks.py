"""Linnworks v1 and the v2 orders feed (contract Linnworks; FIELDS for every name).

Reads come back as typed values or undecoded orders; each write is one method that returns
proof or raises an error typed by what to do next. Business failures that travel as HTTP
200 are understood here. Keeping, retrying and reading back a write are ``dispatch``'s.
"""

from __future__ import annotations

import json
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
    Answer,
    ContractBroken,
    CredentialsRevoked,
    NotApplied,
    OutcomeUnknown,
    Pacer,
    RateLimited,
    Refused,
    Transport,
    Unauthorised,
)
from returns_pipeline.domain.money import format_minor
from returns_pipeline.domain.policy import order_key

T = TypeVar("T")

# Published limits a minute (contract 1.5); what is not named has 150.
_LIMITS = {
    "GetOrdersById": 250,
    "GetOrderDetailsByReferenceId": 250,
    "GetStockItemIdsBySKU": 250,
    "GetStockLevel_Batch": 250,
    "GetItemChangesHistory": 250,
    "orders": 150,  # v2: none stated
}
_LIMIT = 150
_MOST_PAGES = 10_000
_SEARCH_WINDOW = timedelta(days=80)  # the server takes at most three months
_QUOTA = "quota exceeded"


class _Session(msgspec.Struct):
    Token: str
    Server: str


class _Location(msgspec.Struct):
    StockLocationId: str
    LocationName: str
    IsWarehouseManaged: bool = False


class _Category(msgspec.Struct):
    CategoryName: str | None = None


class _V2Page(msgspec.Struct):
    OpenOrders: list[msgspec.Raw] | None = None
    ProcessedOrders: list[msgspec.Raw] | None = None
    NextSearchToken: str | None = None


class _StatusOnly(msgspec.Struct):
    StatusHeader: str | None = None


class _RowError(msgspec.Struct):
    ErrorMessage: str | None = None


class RmaLine(msgspec.Struct):
    """A line of an RMA as Linnworks tells it."""

    RMARowId: int = 0
    Type: str | None = None
    Actioned: bool = False
    ActionedDate: str | None = None
    Deleted: bool | None = None
    NewOrderId: str | int | None = None
    ValidationError: str | None = None
    Error: str | None = None
    Errors: list[_RowError] | None = None
    OrderItemRowId: str | None = None
    ReturnLocation: str | None = None
    ReturnQuantity: int | None = None
    ScrapQuantity: int | None = None
    ReturnItemSKU: str | None = None

    def texts(self) -> list[str]:
        """Whatever error text the line carries."""
        found = [self.ValidationError, self.Error, *(e.ErrorMessage for e in self.Errors or [])]
        return [text for text in found if text]


class RmaHeader(msgspec.Struct):
    """An RMA booking with its lines."""

    RMAHeaderId: int
    RMALines: list[RmaLine] | None = None
    OrderId: str | None = None
    ExternalReference: str | None = None
    ChannelInitiated: bool | None = None
    Actioned: bool | None = None
    Status: _StatusOnly | None = None

    @property
    def lines(self) -> list[RmaLine]:
        """The lines that were not deleted."""
        return [line for line in self.RMALines or [] if not line.Deleted]

    @property
    def is_actioned(self) -> bool:
        """Whether its stock was posted."""
        lines = self.lines
        return bool(self.Actioned) or (bool(lines) and all(line.Actioned for line in lines))


class _RmaHeaders(msgspec.Struct):
    RMAHeaders: list[RmaHeader] | None = None


class _Booked(msgspec.Struct):
    RMAHeaderId: int | None = None
    Items: list[RmaLine] | None = None
    Errors: list[str] | None = None


class _Actioned(msgspec.Struct):
    RMAHeaderId: int | None = None
    RefundHeaderId: int | None = None
    SuccessfullyActioned: bool = False
    Status: _StatusOnly | None = None
    Items: list[RmaLine] | None = None
    Errors: list[str] | None = None


class _RefundedItem(msgspec.Struct):
    OrderItemRowId: str | None = None
    ReturnRowId: int | None = None


class RefundLine(msgspec.Struct):
    """A line of a refund as Linnworks tells it."""

    RefundRowId: str | None = None
    RefundedUnit: str | None = None
    RefundedItem: _RefundedItem | None = None
    Amount: Decimal = Decimal(0)
    Quantity: int | None = None
    Actioned: bool = False
    ActionedDate: str | None = None
    Deleted: bool | None = None
    ExternalReference: str | None = None
    ValidationError: str | None = None
    Error: str | None = None
    Errors: list[_RowError] | None = None

    def texts(self) -> list[str]:
        """Whatever error text the line carries."""
        found = [self.ValidationError, self.Error, *(e.ErrorMessage for e in self.Errors or [])]
        return [text for text in found if text]


class RefundHeader(msgspec.Struct):
    """A refund of one order with its lines."""

    RefundHeaderId: int
    Amount: Decimal = Decimal(0)
    Currency: str | None = None
    RefundLines: list[RefundLine] | None = None
    OrderId: str | None = None
    ExternalReference: str | None = None
    Actioned: bool | None = None
    Status: _StatusOnly | None = None

    @property
    def lines(self) -> list[RefundLine]:
        """The lines that were not deleted."""
        return [line for line in self.RefundLines or [] if not line.Deleted]

    @property
    def is_actioned(self) -> bool:
        """Whether the money was sent."""
        lines = self.lines
        return bool(self.Actioned) or (bool(lines) and all(line.Actioned for line in lines))


class _RefundHeaders(msgspec.Struct):
    RefundHeaders: list[RefundHeader] | None = None


class _RefundAnswer(msgspec.Struct):
    RefundHeaderId: int | None = None
    RefundReference: str | None = None
    CannotRefundReason: str | None = None
    SuccessfullyActioned: bool | None = None
    Status: _StatusOnly | None = None
    Errors: list[str] | None = None
    RefundLines: list[RefundLine] | None = None


class ReturnRow(msgspec.Struct):
    """A row of the bulk search over returns (contract 3.3); it names no order line."""

    pkOrderID: str  # noqa: N815
    pkReturnId: int  # noqa: N815
    ReturnQty: int | None = None
    fkReturnLocationId: str | None = None  # noqa: N815
    cItemNumber: str | None = None  # noqa: N815
    ReturnReference: str | None = None
    RowType: str | None = None
    ScrapQty: int | None = None
    LastDate: str | None = None


class _ReturnPage(msgspec.Struct):
    Data: list[ReturnRow] | None = None
    TotalPages: int | None = None
    TotalEntries: int | None = None


class _ErrorBody(msgspec.Struct):
    Message: str | None = None


@dataclass(frozen=True, slots=True)
class StockLocation:
    """A stock location."""

    id: str
    name: str
    warehouse_managed: bool


@dataclass(frozen=True, slots=True)
class BookedRma:
    """Proof of a booking."""

    header_id: int
    lines: tuple[RmaLine, ...]


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


class Linnworks:
    """One Linnworks account.

    Args:
        auth_url: Where ``AuthorizeByApplication`` is; later calls go to the ``Server`` it
            answers with, which must be Linnworks', this host, or this machine.
        rate_share: Share of each published limit to use; 0: unpaced.
    """

    def __init__(  # noqa: PLR0913
        self,
        auth_url: str,
        application_id: str,
        application_secret: str,
        token: str,
        *,
        v2_url: str | None = None,
        rate_share: float = 0.8,
        timeout: tuple[float, float] = (5.0, 90.0),
        sleep: Callable[[float], None] = _sleep,
        monotonic: Callable[[], float] = _monotonic,
    ) -> None:
        """Make no connection yet."""
        self._auth_url = auth_url.rstrip("/")
        self._credentials = {
            "ApplicationId": application_id,
            "ApplicationSecret": application_secret,
            "Token": token,
        }
        self._given_v2 = v2_url
        self._pacer = Pacer(share=rate_share, sleep=sleep, monotonic=monotonic)
        self._transport = Transport(
            allowed_hosts={urlsplit(auth_url).hostname or ""},
            headers={"Accept": "application/json"},
            timeout=timeout,
            sleep=sleep,
        )
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._v2 = ""
        if v2_url:
            self._transport.allowed_hosts.add(urlsplit(v2_url).hostname or "")

    @property
    def calls(self) -> Counter[str]:
        """Calls made, by method."""
        return Counter({f"linnworks.{k}": n for k, n in self._transport.calls.items()})

    def fresh_connection(self) -> None:
        """Begin the next call of this thread on a new connection."""
        self._transport.fresh_connection()

    # --- session ------------------------------------------------------------------

    def _signed_in(self, not_this: str | None = None) -> _Session:
        """The session; a new one when there is none or ``not_this`` has expired."""
        with self._lock:
            if self._session is None or self._session.Token == not_this:
                self._session = self._sign_in()
            return self._session

    def _sign_in(self) -> _Session:
        name = "AuthorizeByApplication"
        body = json.dumps(self._credentials).encode()

        def ask() -> Answer:
            self._pacer.wait(name, _LIMIT)
            return self._transport.send(
                name,
                "POST",
                f"{self._auth_url}/api/Auth/{name}",
                body=body,
                headers={"Content-Type": "application/json"},
            )

        def check(answer: Answer) -> _Session:
            if answer.status in {400, 401, 403}:
                raise CredentialsRevoked(
                    name, f"HTTP {answer.status}: check LINNWORKS_APPLICATION_ID, _SECRET, _TOKEN"
                )
            self._check_status(name, answer)
            return _decode(name, answer.body, _Session)

        session: _Session = self._transport.read(name, ask, check)
        server = session.Server.rstrip("/")
        host = urlsplit(server).hostname or ""
        own = urlsplit(self._auth_url).hostname
        local = host in {"localhost", "::1"} or host.startswith("127.")
        if not (host == "linnworks.net" or host.endswith(".linnworks.net") or host == own or local):
            raise ContractBroken(name, f"it sends us to the host {host!r}; refused")
        session.Server = server
        self._transport.allowed_hosts.add(host)
        self._v2 = (self._given_v2 or server.replace("-ext.", "-api.")).rstrip("/")
        self._transport.allowed_hosts.add(urlsplit(self._v2).hostname or "")
        return session

    def _call(  # noqa: PLR0913
        self,
        name: str,
        verb: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        document: object = None,
        v2: bool = False,
    ) -> Answer:
        """One call; a session that expired is renewed once (HTTP 401 was not applied)."""
        body = None if document is None else json.dumps(document).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        used: str | None = None
        for _ in range(2):
            session = self._signed_in(not_this=used)
            used = session.Token
            base = f"{self._v2}/v2" if v2 else f"{session.Server}/api"
            self._pacer.wait(name, _LIMITS.get(name, _LIMIT))
            answer = self._transport.send(
                name,
                verb,
                f"{base}/{path}",
                params=params,
                body=body,
                headers={**headers, "Authorization": used},
            )
            if answer.status != 401:  # noqa: PLR2004
                return answer
        raise CredentialsRevoked(name, "HTTP 401 after signing in again")

    def _check_status(self, name: str, answer: Answer) -> None:
        """Raise what an HTTP status means; business failures inside a 200 are the caller's."""
        if answer.status in {200, 204}:
            return
        if answer.status == 429 or (answer.status >= 400 and _QUOTA in answer.text):  # noqa: PLR2004
            told = answer.headers.get("Retry-After", "")
            wait = float(told) if told.isdigit() else 60.0
            self._pacer.hold(name, wait)
            raise RateLimited(name, wait)
        if answer.status == 401:  # noqa: PLR2004
            raise Unauthorised(name, "HTTP 401")
        if answer.status >= 500:  # noqa: PLR2004
            raise OutcomeUnknown(name, f"HTTP {answer.status}")
        message = _message(answer.body)
        if message is None:
            raise OutcomeUnknown(name, f"HTTP {answer.status} without Linnworks' error")
        raise Refused(name, (f"HTTP {answer.status}: {message}",))

    # --- reads --------------------------------------------------------------------

    def _read(  # noqa: PLR0913
        self,
        name: str,
        verb: str,
        path: str,
        kind: type[T],
        *,
        params: Mapping[str, str] | None = None,
        document: object = None,
        v2: bool = False,
    ) -> T:
        def ask() -> Answer:
            return self._call(name, verb, path, params=params, document=document, v2=v2)

        def check(answer: Answer) -> T:
            try:
                self._check_status(name, answer)
            except Refused as error:
                raise ContractBroken(name, error.detail) from None
            if not answer.body.strip():
                raise OutcomeUnknown(name, "an empty answer")
            return _decode(name, answer.body, kind)

        result: T = self._transport.read(name, ask, check)
        return result

    def orders_changed_since(
        self, since: datetime, page_size: int
    ) -> Iterator[list[msgspec.Raw]]:
        """Orders changed since an instant, open and processed, page by page (v2 feed).

        Raises:
            ContractBroken: When the search token repeats.
        """
        params = {
            "fromDate": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "entriesPerPage": str(page_size),
            "includeProcessed": "true",
            "onlyPaid": "false",
        }
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            page = self._read("orders", "GET", "orders", _V2Page, params=params, v2=True)
            rows = [*(page.OpenOrders or []), *(page.ProcessedOrders or [])]
            yield rows
            token = page.NextSearchToken
            if not token or not rows:
                return
            if token in seen:
                raise ContractBroken("orders", "its search token repeats")
            seen.add(token)
            params = {**params, "searchToken": token}
        raise ContractBroken("orders", f"more than {_MOST_PAGES} pages")

    def orders_by_reference(self, reference: str) -> list[msgspec.Raw]:
        """The orders that carry a channel number as reference or secondary reference.

        Each is looked at again: a filter that was not understood returns strangers.
        """
        name = "GetOrderDetailsByReferenceId"
        found = self._read(
            name, "GET", f"Orders/{name}", list[msgspec.Raw], params={"ReferenceId": reference}
        )
        wanted = order_key(reference)
        return [raw for raw in found if wanted in _references(raw)]

    def order_by_id(self, order_id: str) -> dict[str, Any] | None:
        """One order whole, the shopper's address included: never kept, never printed."""
        name = "GetOrdersById"
        found = self._read(
            name,
            "POST",
            f"Orders/{name}",
            list[dict[str, Any]],
            document={"pkOrderIds": [order_id]},
        )
        for order in found:
            if str(order.get("OrderId", "")).lower() == order_id.lower():
                return order
        return None

    def stock_locations(self) -> list[StockLocation]:
        """Every stock location; the zero id is a real one."""
        name = "GetStockLocations"
        found = self._read(name, "GET", f"Inventory/{name}", list[_Location])
        return [
            StockLocation(place.StockLocationId.lower(), place.LocationName, place.IsWarehouseManaged)
            for place in found
        ]

    def return_categories(self) -> list[str]:
        """The names of the return categories."""
        name = "GetReturnCategories"
        found = self._read(name, "GET", f"ProcessedOrders/{name}", list[_Category])
        return [category.CategoryName for category in found if category.CategoryName]

    def rma_headers(self, order_id: str) -> list[RmaHeader]:
        """All bookings of one order, whoever made them: the read-back after a lost answer."""
        name = "GetRMAHeadersByOrderId"
        document = {"request": {"OrderId": order_id}}
        found = self._read(
            name, "POST", f"ReturnsRefunds/{name}", _RmaHeaders, document=document
        )
        return [h for h in found.RMAHeaders or [] if (h.OrderId or "").lower() == order_id.lower()]

    def refund_headers(self, order_id: str) -> list[RefundHeader]:
        """All refunds of one order, whoever made them."""
        name = "GetRefundHeadersByOrderId"
        document = {"request": {"OrderId": order_id}}
        found = self._read(
            name, "POST", f"ReturnsRefunds/{name}", _RefundHeaders, document=document
        )
        return [
            h for h in found.RefundHeaders or [] if (h.OrderId or "").lower() == order_id.lower()
        ]

    def returned_rows(
        self, since: datetime, until: datetime, *, date_type: str
    ) -> Iterator[list[ReturnRow]]:
        """Return rows of a window in bulk; ``date_type`` is ``BOOKED`` or ``ACTIONED``."""
        name = "SearchReturnsRefundsPaged"
        start = since
        while start < until:
            end = min(until, start + _SEARCH_WINDOW)
            for number in range(1, _MOST_PAGES):
                params = {
                    "from": start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "to": end.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "dateType": date_type,
                    "searchField": "",
                    "exactMatch": "false",
                    "searchTerm": "",
                    "pageNum": str(number),
                    "numEntriesPerPage": "200",
                    "historyType": "RETURNS",
                }
                page = self._read(
                    name, "GET", f"ReturnsRefunds/{name}", _ReturnPage, params=params
                )
                rows = page.Data or []
                if rows:
                    yield rows
                if not rows or number >= (page.TotalPages or 0):
                    break
            else:
                raise ContractBroken(name, f"more than {_MOST_PAGES} pages")
            start = end

    # --- writes -------------------------------------------------------------------

    def _write(self, name: str, path: str, document: object, kind: type[T]) -> T:
        """One write, sent once; anything but a readable 200 is raised, typed."""
        answer = self._call(name, "POST", path, document=document)
        self._check_status(name, answer)
        if not answer.body.strip():
            raise OutcomeUnknown(name, f"HTTP {answer.status} without an answer")
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except msgspec.MsgspecError:
            # It was a 200: something was done there. Read back before judging.
            raise OutcomeUnknown(name, "an answer that cannot be read") from None

    def create_rma_booking(
        self, order_id: str, lines: Sequence[Mapping[str, Any]], *, reference: str, category: str
    ) -> BookedRma:
        """Book a return. Moves no stock; a repetition makes a second RMA (contract 5).

        Args:
            order_id: The processed order.
            lines: Each ``row_id, location_id, quantity, scrap_quantity, reason``.
            reference: Ours; Linnworks does not hold it unique.
            category: A return category, or "".

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
                "RefundAmount": 0,  # money has one way out, and it is not this one
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
        found = self._write(name, f"ReturnsRefunds/{name}", document, _Booked)
        texts = [*(found.Errors or []), *(t for line in found.Items or [] for t in line.texts())]
        if not found.RMAHeaderId:
            raise Refused(name, tuple(texts) or ("no booking was made",))
        if texts:
            # A header and an error text: what was booked must be read, not believed.
            raise OutcomeUnknown(name, "; ".join(texts))
        return BookedRma(found.RMAHeaderId, tuple(found.Items or []))

    def action_rma_booking(self, order_id: str, header_id: int) -> ActionedRma:
        """Action a booking: this posts its stock.

        Raises:
            Refused: Linnworks said no and no line is actioned.
            OutcomeUnknown: Anything that is no clear yes or no.
        """
        name = "ActionRMABooking"
        document = {"request": {"RMAHeaderId": header_id, "OrderId": order_id}}
        found = self._write(name, f"ReturnsRefunds/{name}", document, _Actioned)
        lines = tuple(found.Items or [])
        texts = [*(found.Errors or []), *(text for line in lines for text in line.texts())]
        done = bool(lines) and all(line.Actioned for line in lines if not line.Deleted)
        if found.SuccessfullyActioned and done and not texts:
            return ActionedRma(header_id, found.RefundHeaderId, lines)
        if texts and not found.SuccessfullyActioned and not any(line.Actioned for line in lines):
            raise Refused(name, tuple(texts))
        raise OutcomeUnknown(name, "; ".join(texts) or "actioned in part, or not clearly")

    def delete_rma(self, header_id: int) -> None:
        """Delete a booking that was not actioned; it has moved nothing."""
        name = "DeleteRMA"
        document = {"request": {"RMAHeaderId": header_id, "RejectOnChannel": False}}
        self._write(name, f"ReturnsRefunds/{name}", document, dict[str, Any])

    def create_refund(
        self, order_id: str, lines: Sequence[Mapping[str, Any]], *, currency: str
    ) -> MadeRefund:
        """Create a refund; no money leaves yet.

        Args:
            order_id: The processed order.
            lines: Each ``unit`` (``Item`` or ``Shipping``), ``row_id``, ``return_row_id``,
                ``amount_minor``, ``quantity``, ``external_reference``, ``note``.
            currency: Of the amounts.

        Raises:
            Refused: Linnworks said no in a 200 and made no refund.
            OutcomeUnknown: Anything that is no clear yes or no.
        """
        name = "CreateRefund"
        rows = []
        for line in lines:
            row: dict[str, Any] = {
                "RefundedUnit": line["unit"],
                "Amount": float(format_minor(line["amount_minor"], currency)),
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
            "request": {"ChannelInitiated": False, "OrderId": order_id, "RefundLines": rows}
        }
        found = self._write(name, f"ReturnsRefunds/{name}", document, _RefundAnswer)
        texts = _refund_texts(found)
        if not found.RefundHeaderId:
            raise Refused(name, tuple(texts) or ("no refund was made",))
        if texts:
            raise OutcomeUnknown(name, "; ".join(texts))
        lines_made = tuple(found.RefundLines or [])
        return MadeRefund(found.RefundHeaderId, found.RefundReference or "", lines_made)

    def action_refund(self, order_id: str, header_id: int) -> MadeRefund:
        """Action a refund: this sends the money.

        Raises:
            Refused: Linnworks said no and no line is actioned.
            OutcomeUnknown: Anything that is no clear yes or no.
        """
        name = "ActionRefund"
        document = {"request": {"RefundHeaderId": header_id, "OrderId": order_id}}
        found = self._write(name, f"ReturnsRefunds/{name}", document, _RefundAnswer)
        lines = tuple(found.RefundLines or [])
        texts = _refund_texts(found)
        done = bool(lines) and all(line.Actioned for line in lines if not line.Deleted)
        if found.SuccessfullyActioned and done and not texts:
            return MadeRefund(header_id, found.RefundReference or "", lines)
        if texts and not found.SuccessfullyActioned and not any(line.Actioned for line in lines):
            raise Refused(name, tuple(texts))
        raise OutcomeUnknown(name, "; ".join(texts) or "actioned in part, or not clearly")

    def create_order(self, order: Mapping[str, Any], *, location: str) -> str | None:
        """Create one order; unique by source, sub source and reference (contract 4.2).

        Returns:
            The new order's id, or ``None`` where Linnworks answered with an empty list:
            such an order is there already.
        """
        name = "CreateOrders"
        document = {"orders": [order], "location": location}
        found = self._write(name, f"Orders/{name}", document, list[str])
        return found[0].lower() if found else None


def _refund_texts(found: _RefundAnswer) -> list[str]:
    texts = list(found.Errors or [])
    if found.CannotRefundReason not in {None, "", "None"}:
        texts.append(f"CannotRefundReason {found.CannotRefundReason}")
    return [*texts, *(text for line in found.RefundLines or [] for text in line.texts())]


class _ReferencesOfGeneral(msgspec.Struct):
    ReferenceNum: str | None = None
    SecondaryReference: str | None = None


class _ReferencesOf(msgspec.Struct):
    GeneralInfo: _ReferencesOfGeneral


def _references(raw: msgspec.Raw) -> set[str]:
    try:
        general = msgspec.json.decode(raw, type=_ReferencesOf).GeneralInfo
    except msgspec.MsgspecError:
        return set()
    return {order_key(general.ReferenceNum or ""), order_key(general.SecondaryReference or "")}


def _message(body: bytes) -> str | None:
    try:
        return msgspec.json.decode(body, type=_ErrorBody).Message
    except msgspec.MsgspecError:
        return None


def _decode(name: str, body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise ContractBroken(name, f"not of the published shape: {error}") from None
    except msgspec.DecodeError:
        raise OutcomeUnknown(name, "not JSON") from None


__all__ = [
    "ActionedRma",
    "BookedRma",
    "Linnworks",
    "MadeRefund",
    "RefundHeader",
    "RefundLine",
    "ReturnRow",
    "RmaHeader",
    "RmaLine",
    "StockLocation",
]
