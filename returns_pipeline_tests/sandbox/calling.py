"""The two vendors called as a stranger would call them, over HTTP."""

from typing import Any

import requests

from returns_pipeline.sandbox import happy_returns, linnworks
from returns_pipeline.sandbox.model import Order, OrderLine
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline_tests.sandbox import openapi

HISTORIC = "2020-01-01T00:00:00Z"


class LinnworksCaller:
    """A session with the sandbox's Linnworks.

    ``specified``: every call is held to the official specification, both ways.
    """

    def __init__(self, sandbox: Sandbox, *, specified: bool = False) -> None:
        self.sandbox = sandbox
        self.specified = specified
        self.http = requests.Session()
        self.asked: set[tuple[str, str]] = set()
        self.authorise()

    def authorise(self) -> dict[str, Any]:
        credentials = {
            "ApplicationId": linnworks.APPLICATION_ID,
            "ApplicationSecret": linnworks.APPLICATION_SECRET,
            "Token": linnworks.TOKEN,
        }
        session = self.call("POST", "/api/Auth/AuthorizeByApplication", json=credentials)
        self.http.headers["Authorization"] = session["Token"]
        return session

    def send(self, verb: str, path: str, *, json: Any = None, **query: Any) -> requests.Response:
        url = self.sandbox.linnworks_server.url + path
        return self.http.request(verb, url, json=json, params=query, timeout=10)

    def call(self, verb: str, path: str, *, json: Any = None, **query: Any) -> Any:
        if self.specified:
            openapi.check_request(verb, path, query, json)
        answer = self.send(verb, path, json=json, **query)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        document = answer.json()
        if self.specified:
            openapi.check_response(verb, path, 200, document)
        self.asked.add((verb, path))
        return document

    def returns(self, method: str, **request: Any) -> Any:
        """A ReturnsRefunds method, its request wrapped."""
        return self.call("POST", f"/api/ReturnsRefunds/{method}", json={"request": request})

    def book(
        self,
        order: Order,
        *lines: OrderLine,
        quantity: int = 1,
        place: str = "HR Restock",
        **more: Any,
    ) -> Any:
        """``CreateRMABooking`` of these lines."""
        items = [
            {
                "OrderItemRowId": line.row_id,
                "ReturnLocation": self.sandbox.linnworks.location_id(place),
                "ReturnQuantity": quantity,
                "ScrapQuantity": more.get("scrap", 0),
                "RefundAmount": more.get("refund", 0),
                "ReasonCategory": "Wrong size",
                "Reason": "a reason",
            }
            for line in lines
        ]
        return self.returns(
            "CreateRMABooking",
            ChannelInitiated=False,
            OrderId=order.id,
            ReturnItems=items,
            ExchangeItems=[],
            ResendItems=[],
            Reference=more.get("reference", "REF-1"),
        )

    def action(self, order: Order, header_id: int) -> Any:
        return self.returns("ActionRMABooking", RMAHeaderId=header_id, OrderId=order.id)

    def restock(self, order: Order, line: OrderLine, **more: Any) -> int:
        """Book and action; the header id."""
        header = self.book(order, line, **more)["RMAHeaderId"]
        assert self.action(order, header)["SuccessfullyActioned"]
        return header

    def refund(self, order: Order, line: OrderLine | None, money: float, **more: Any) -> Any:
        """``CreateRefund`` of one line, or of shipping."""
        row = {
            "OrderItemRowId": line.row_id if line else None,
            "RefundedUnit": "Item" if line else "Shipping",
            "Amount": money,
            "Quantity": 1,
            **more,
        }
        return self.returns(
            "CreateRefund", ChannelInitiated=False, OrderId=order.id, RefundLines=[row]
        )

    def feed(self, **query: Any) -> list[dict[str, Any]]:
        """All pages of the v2 feed, in their order."""
        found: list[dict[str, Any]] = []
        token: str | None = None
        for _ in range(200):
            asked = {"searchToken": token} if token else {"fromDate": HISTORIC, **query}
            page = self.call("GET", "/v2/orders", **asked)
            found += page["OpenOrders"] + page["ProcessedOrders"]
            token = page["NextSearchToken"]
            if not token:
                return found
        raise AssertionError("the feed never ends")

    def level(self, sku: str, place: str) -> int:
        item = self.sandbox.world.stock_items[sku].id
        [answer] = self.call(
            "POST", "/api/Stock/GetStockLevel_Batch", json={"request": {"StockItemIds": [item]}}
        )
        [level] = [n for n in answer["StockItemLevels"] if n["Location"]["LocationName"] == place]
        return level["StockLevel"]

    def history(self, sku: str, place: str) -> list[dict[str, Any]]:
        return self.call(
            "GET",
            "/api/Stock/GetItemChangesHistory",
            stockItemId=self.sandbox.world.stock_items[sku].id,
            locationId=self.sandbox.linnworks.location_id(place),
            entriesPerPage=200,
            pageNumber=1,
        )["Data"]


class HappyReturnsCaller:
    """A caller of the sandbox's Happy Returns."""

    def __init__(self, sandbox: Sandbox, key: str = happy_returns.API_KEY) -> None:
        self.sandbox = sandbox
        self.http = requests.Session()
        self.http.headers["X-HR-APIKEY"] = key

    def look_up(self, **body: Any) -> requests.Response:
        body = {"happyReturnsRetailerID": self.sandbox.world.retailer_id, **body}
        return self.http.post(
            f"{self.sandbox.happy_returns_server.url}/return", json=body, timeout=10
        )

    def items(self, **body: Any) -> list[dict[str, Any]]:
        """All pages of a look-up; nothing found is no item."""
        found: list[dict[str, Any]] = []
        cursors: list[str] = []
        while True:
            answer = self.look_up(**body, **({"cursor": cursors[-1]} if cursors else {}))
            if answer.status_code == 204:
                return found
            assert answer.status_code == 200, answer.text
            found += answer.json()["items"]
            cursor = answer.json().get("cursor")
            if not cursor:
                return found
            assert cursor not in cursors, "the cursor repeats"
            cursors.append(cursor)

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.http.get(
            f"{self.sandbox.happy_returns_server.url}{path}", params=query, timeout=10
        )

    def shipments(self, **query: Any) -> list[dict[str, Any]]:
        query = {"retailerID": self.sandbox.world.retailer_id, **query}
        return self.get("/outbound-shipments", **query).json()["data"]

    def contents(self, shipment_id: str, size: int = 1000) -> list[dict[str, Any]]:
        """All pages of a shipment's items."""
        found: list[dict[str, Any]] = []
        path: str | None = f"/outbound-shipment/{shipment_id}?page[size]={size}"
        seen: set[str] = set()
        while path:
            assert path not in seen, "the cursor repeats"
            seen.add(path)
            page = self.get(path).json()
            found += page["data"]
            path = page["links"].get("next")
        return found
