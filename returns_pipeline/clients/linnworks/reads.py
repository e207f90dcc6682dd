"""What is read from Linnworks: orders, bookings, refunds, stock, locations.

Reads come back as typed values or undecoded orders. The meaning of an order's fields is
``normalise.linnworks``'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from returns_pipeline.clients.linnworks.answers import (
    Category,
    ChangesPage,
    ItemIds,
    Levels,
    Location,
    OrderKey,
    Referenced,
    RefundHeader,
    RefundHeaders,
    RefundRow,
    Relative,
    RelativeRow,
    ReturnExchange,
    ReturnRow,
    RmaHeader,
    RmaHeaders,
    RmaPage,
    Searched,
    StockChange,
    StockLevel,
    StockLocation,
    V2Page,
)
from returns_pipeline.clients.linnworks.session import Account
from returns_pipeline.clients.transport import UNREADABLE, ContractBroken, Pages
from returns_pipeline.domain.policy import order_key

_SEARCH_WINDOW = timedelta(days=80)  # the server takes at most three months (1.4 [S])
_IDS_A_CALL = 100  # for batch reads whose limit is not published (1.4 [A])
_PAGE = 200
_Row = TypeVar("_Row", ReturnRow, RefundRow)
_REFERENCED = msgspec.json.Decoder(Referenced)
_ORDER_KEY = msgspec.json.Decoder(OrderKey)


class Reads(Account):
    """The methods that change nothing there."""

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
            page = self._read("orders", "GET", "/v2/orders", V2Page, query=query)
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
        wanted = order_key(reference)
        if not wanted:
            return []  # it would be equal to every empty secondary reference
        found = self._read(
            name,
            "GET",
            f"/api/Orders/{name}",
            list[msgspec.Raw],
            query={"ReferenceId": reference},
        )
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
        found = self._read(name, "GET", f"/api/Inventory/{name}", list[Location])
        return [
            StockLocation(one.StockLocationId.lower(), one.LocationName, one.IsWarehouseManaged)
            for one in found
        ]

    def return_categories(self) -> list[str]:
        """The names of the return categories."""
        name = "GetReturnCategories"
        found = self._read(name, "GET", f"/api/ProcessedOrders/{name}", list[Category])
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
            name, "POST", f"/api/ReturnsRefunds/{name}", RmaHeaders, document=document
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
                    RmaPage,
                    document=document,
                )
                headers = page.RMAHeaders or []
                found.extend(h for h in headers if h.ExternalReference == reference)
                seen += len(headers)
                # A total of 0 beside headers is none: go on to the empty page.
                if not headers or (page.TotalHeaders and seen >= page.TotalHeaders):
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
            RefundHeaders,
            document=document,
        )
        found = answer.RefundHeaders or []
        _only(order_id, name, (header.OrderId for header in found))
        return found

    def returned_rows(
        self, since: datetime, until: datetime, *, date_type: str = "ACTIONED"
    ) -> Iterator[list[ReturnRow]]:
        """Return rows of a window in bulk; ``date_type`` is ``BOOKED`` or ``ACTIONED``."""
        return self._searched(Searched[ReturnRow], "RETURNS", since, until, date_type)

    def refunded_rows(
        self, since: datetime, until: datetime, *, date_type: str = "ACTIONED"
    ) -> Iterator[list[RefundRow]]:
        """Refund rows of a window in bulk, whoever made them: ``BOOKED`` or ``ACTIONED``."""
        return self._searched(Searched[RefundRow], "REFUNDS", since, until, date_type)

    def _searched(
        self,
        shape: type[Searched[_Row]],
        history_type: str,
        since: datetime,
        until: datetime,
        date_type: str,
    ) -> Iterator[list[_Row]]:
        """The bulk search over a window, page by page.

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
                    "historyType": history_type,
                }
                page = self._read(name, "GET", f"/api/ReturnsRefunds/{name}", shape, query=query)
                rows = page.Data or []
                if rows:
                    pages.turn(f"{rows[0].id} {rows[-1].id} {len(rows)}")
                    yield rows
                # Without a number of pages a full one may have another behind it.
                last = number >= page.TotalPages if page.TotalPages else len(rows) < _PAGE
                if not rows or last:
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

    def relatives(self, order_id: str) -> list[Relative]:
        """What belongs to an order: those that came of it, and the one it came of (4.1 [S]).

        Raises:
            ContractBroken: When pairs come that the order is not one of.
        """
        name = "GetProcessedRelatives"
        found = self._read(
            name,
            "GET",
            f"/api/ProcessedOrders/{name}",
            list[RelativeRow],
            query={"pkOrderId": order_id},
        )
        pairs = [
            Relative(
                row.ParentOrderPkOrderId.lower(),
                row.ChildOrderPkOrderId.lower(),
                row.RelationType or "",
            )
            for row in found
        ]
        if any(order_id.lower() not in {one.parent_id, one.child_id} for one in pairs):
            raise ContractBroken(name, "it answers about another order")
        return pairs

    def stock_item_ids(self, skus: Sequence[str]) -> dict[str, str]:
        """SKU to stock item id; an unknown SKU is absent ([A])."""
        name = "GetStockItemIdsBySKU"
        found: dict[str, str] = {}
        for part in _parts(skus, _IDS_A_CALL):
            document = {"request": {"SKUS": part}}
            answer = self._read(name, "POST", f"/api/Inventory/{name}", ItemIds, document=document)
            found.update((i.SKU, i.StockItemId.lower()) for i in answer.Items or [])
        return found

    def stock_levels(self, item_ids: Sequence[str]) -> list[StockLevel]:
        """The level of each item at each location where it has one."""
        name = "GetStockLevel_Batch"
        found: list[StockLevel] = []
        for part in _parts(item_ids, _IDS_A_CALL):
            document = {"request": {"StockItemIds": part}}
            answer = self._read(name, "POST", f"/api/Stock/{name}", list[Levels], document=document)
            found.extend(
                StockLevel(
                    item.pkStockItemId.lower(),
                    level.Location.StockLocationId.lower(),
                    level.StockLevel,
                    level.StockLevel if level.Available is None else level.Available,
                )
                for item in answer
                for level in item.StockItemLevels or []
            )
        return found

    def changes_history(self, item_id: str, location_id: str) -> Iterator[list[StockChange]]:
        """An item's stock history at one location, newest first, page by page.

        The page numbers in the answer may be zeros while ``TotalEntries`` is right; past
        the end comes an empty page ([L]). How many rows a page may have is not published,
        so that a short page is no end.
        """
        name = "GetItemChangesHistory"
        pages, number, seen = Pages(name, most=1000), 1, 0
        while True:
            query = {
                "stockItemId": item_id,
                "locationId": location_id,
                "entriesPerPage": str(_PAGE),
                "pageNumber": str(number),
            }
            page = self._read(name, "GET", f"/api/Stock/{name}", ChangesPage, query=query)
            rows = page.Data or []
            if not rows:
                return
            pages.turn(msgspec.json.encode(rows).decode())
            yield rows
            seen += len(rows)
            if page.TotalEntries and seen >= page.TotalEntries:
                return
            number += 1


def _parts(values: Sequence[str], size: int) -> Iterator[list[str]]:
    unique = list(dict.fromkeys(values))
    for start in range(0, len(unique), size):
        yield unique[start : start + size]


def _only(order_id: str, name: str, found: Iterator[str]) -> None:
    if any(other.lower() != order_id.lower() for other in found):
        raise ContractBroken(name, "it answers about another order")


def _references(name: str, raw: msgspec.Raw) -> set[str]:
    try:
        general = _REFERENCED.decode(raw).GeneralInfo
    except UNREADABLE:
        raise ContractBroken(name, "an order without its references") from None
    return {
        order_key(general.ReferenceNum or ""),
        order_key(general.SecondaryReference or ""),
    }


def _order_id(name: str, raw: msgspec.Raw) -> str:
    try:
        return _ORDER_KEY.decode(raw).OrderId.lower()
    except UNREADABLE:
        raise ContractBroken(name, "an order without its id") from None


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
