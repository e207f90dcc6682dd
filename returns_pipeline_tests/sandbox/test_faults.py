"""Faults on demand: what a client meets, and what has happened nevertheless."""

import http.client
import json
from datetime import timedelta
from typing import Any

import pytest
import requests

from returns_pipeline.sandbox.script import Line, Script
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline_tests.sandbox.calling import HISTORIC, HappyReturnsCaller, LinnworksCaller
from returns_pipeline_tests.sandbox.conftest import Open, day

SEARCH = "/api/ReturnsRefunds/SearchReturnsRefundsPaged"
BOOK = "CreateRMABooking"


def _fault(sandbox: Sandbox, method: str, kind: str, **more: Any) -> None:
    vendor = (
        sandbox.happy_returns_server.vendor
        if method.startswith(("return", "outbound"))
        else sandbox.linnworks_server.vendor
    )
    vendor.faults.add(method, kind, **more)


def _book(caller: LinnworksCaller, timeout: float) -> requests.Response:
    [order] = caller.sandbox.world.orders
    item = {
        "OrderItemRowId": order.lines[0].row_id,
        "ReturnLocation": caller.sandbox.linnworks.location_id("HR Restock"),
        "ReturnQuantity": 1,
    }
    return caller.http.post(
        f"{caller.sandbox.linnworks_server.url}/api/ReturnsRefunds/{BOOK}",
        json={"request": {"OrderId": order.id, "ReturnItems": [item]}},
        allow_redirects=False,
        timeout=timeout,
    )


@pytest.mark.parametrize(
    ("kind", "effects"),
    [
        ("lost_before", 0),
        ("reset_before", 0),
        ("lost_after", 1),
        ("reset", 1),
        ("cut_body", 1),
    ],
)
def test_a_lost_connection_tells_nothing_of_the_effect(
    open_case: Open, kind: str, effects: int
) -> None:
    sandbox = open_case("received_saleable")
    caller = LinnworksCaller(sandbox)
    [order] = sandbox.world.orders
    _fault(sandbox, BOOK, kind)

    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        caller.book(order, order.lines[0])

    assert len(sandbox.linnworks.rmas) == effects
    assert caller.book(order, order.lines[0])["RMAHeaderId"]


@pytest.mark.parametrize(
    ("kind", "at_once", "in_the_end"), [("silent", 0, 0), ("unanswered", 1, 1), ("late", 0, 1)]
)
def test_a_client_that_gives_up_does_not_know_what_comes_of_it(
    open_case: Open, kind: str, at_once: int, in_the_end: int
) -> None:
    sandbox = open_case("received_saleable")
    caller = LinnworksCaller(sandbox)
    [order] = sandbox.world.orders
    began = sandbox.clock.now()
    _fault(sandbox, BOOK, kind, seconds=60)

    with pytest.raises(requests.ReadTimeout):
        _book(caller, timeout=0.1)

    def booked(after: int) -> int:
        sandbox.clock.set(began + timedelta(seconds=after))
        return len(caller.returns("GetRMAHeadersByOrderId", OrderId=order.id)["RMAHeaders"])

    assert [booked(0), booked(59)] == [at_once, at_once]
    assert [booked(60), booked(120)] == [in_the_end, in_the_end]


def test_a_stale_connection_has_answered_whole_and_is_closed_without_a_word(
    open_case: Open,
) -> None:
    sandbox = open_case("received_saleable")
    _fault(sandbox, "GetStockLocations", "stale")
    path = "/api/Inventory/GetStockLocations"
    token = LinnworksCaller(sandbox).http.headers["Authorization"]
    port = sandbox.linnworks_server.url.rpartition(":")[2]
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)

    connection.request("GET", path, headers={"Authorization": token})
    answer = connection.getresponse()

    assert len(json.loads(answer.read())) == len(sandbox.world.locations)
    assert answer.getheader("Connection") is None
    assert connection.sock.recv(1) == b""
    connection.close()


@pytest.mark.parametrize(
    ("kind", "status", "effects"),
    [
        ("http_500_before", 500, 0),
        ("http_500_after", 500, 1),
        ("http_401", 401, 0),
        ("http_429", 429, 0),
        ("redirect_307", 307, 0),
        ("garbage", 200, 1),
        ("empty", 200, 1),
    ],
)
def test_a_bad_answer_comes_before_or_after_the_effect(
    open_case: Open, kind: str, status: int, effects: int
) -> None:
    sandbox = open_case("received_saleable")
    _fault(sandbox, BOOK, kind)

    answer = _book(LinnworksCaller(sandbox), timeout=10)

    assert answer.status_code == status
    assert len(sandbox.linnworks.rmas) == effects


def test_a_fault_waits_strikes_so_often_and_is_counted(open_case: Open) -> None:
    sandbox = open_case("received_saleable")
    caller = LinnworksCaller(sandbox)
    _fault(sandbox, "GetStockLocations", "http_500_before", after=1, times=2)

    codes = [caller.send("GET", "/api/Inventory/GetStockLocations").status_code for _ in range(4)]

    assert codes == [200, 500, 500, 200]
    struck = sandbox.linnworks_server.vendor.faults.struck
    assert struck == {"GetStockLocations:http_500_before": 2}


def test_a_slow_answer_comes_late_and_whole(open_case: Open) -> None:
    sandbox = open_case("received_saleable")
    caller = LinnworksCaller(sandbox)
    _fault(sandbox, "GetStockLocations", "slow", seconds=0.1)

    answer = caller.send("GET", "/api/Inventory/GetStockLocations")

    assert answer.elapsed.total_seconds() >= 0.1
    assert len(answer.json()) == len(sandbox.world.locations)


def test_an_unknown_fault_is_refused(open_case: Open) -> None:
    sandbox = open_case("received_saleable")

    with pytest.raises(ValueError, match="meteor"):
        _fault(sandbox, BOOK, "meteor")
    url = f"{sandbox.linnworks_server.url}/_sandbox/faults"
    body = {"faults": [{"method": BOOK, "kind": "meteor"}]}
    assert requests.post(url, json=body, timeout=10).status_code == 400


def test_happy_returns_refuses_with_its_own_text(open_case: Open) -> None:
    sandbox = open_case("received_saleable")
    _fault(sandbox, "return", "http_429", seconds=3)

    answer = HappyReturnsCaller(sandbox).look_up(orderNumber="#1")

    assert answer.status_code == 429
    assert "leaky bucket size 3" in answer.text
    assert answer.headers["Content-Type"].startswith("text/plain")


# --- pages ------------------------------------------------------------------------


@pytest.fixture
def paged(open_world: Open, script: Script) -> Sandbox:
    """A shipment of nine items, an order of nine units, nine orders."""
    order = script.order(Line("SOCK-3", quantity=9))
    for offset in range(9):
        script.unit(order, order.lines[0], offset=offset)
    for _ in range(8):
        script.order("CAP-BLK")
    sandbox = open_world(script.world(7))
    sandbox.happy_returns.switches["return_page_size"] = 3
    return sandbox


def test_a_looping_feed_names_the_token_that_led_to_it(paged: Sandbox) -> None:
    caller = LinnworksCaller(paged)
    first = caller.call(
        "GET", "/v2/orders", fromDate=HISTORIC, entriesPerPage=3, includeProcessed=True
    )
    _fault(paged, "orders", "looping_cursor", times=5)
    token = first["NextSearchToken"]

    again = [caller.call("GET", "/v2/orders", searchToken=token) for _ in range(2)]

    assert [page["NextSearchToken"] for page in again] == [token, token]
    assert again[0]["ProcessedOrders"] == again[1]["ProcessedOrders"]


def test_a_looping_look_up_and_a_looping_shipment_repeat_their_cursor(paged: Sandbox) -> None:
    caller = HappyReturnsCaller(paged)
    _fault(paged, "return", "looping_cursor", times=5)
    _fault(paged, "outbound-shipment", "looping_cursor", times=5)
    [shipment] = caller.shipments(startDateTime=day(0).isoformat())

    with pytest.raises(AssertionError, match="repeats"):
        caller.items(orderNumber=paged.world.orders[0].reference)
    with pytest.raises(AssertionError, match="repeats"):
        caller.contents(shipment["id"], size=3)


def test_a_looping_numbered_search_never_ends_and_repeats_its_rows(paged: Sandbox) -> None:
    caller = LinnworksCaller(paged)
    for order in paged.world.orders[1:4]:
        caller.restock(order, order.lines[0])
    _fault(paged, "SearchReturnsRefundsPaged", "looping_cursor", times=9)
    window = {"from": day(-9).isoformat(), "to": day(9).isoformat(), "numEntriesPerPage": 2}

    pages = [caller.call("GET", SEARCH, **window, pageNum=number) for number in (1, 2, 50)]

    assert [page["Data"][0]["pkReturnId"] for page in pages] == [88_001] * 3
    assert all(page["TotalPages"] > page["PageNumber"] for page in pages)


def test_a_duplicate_page_holds_the_rows_of_the_page_before_it(paged: Sandbox) -> None:
    caller = HappyReturnsCaller(paged)
    _fault(paged, "return", "duplicate_page", after=1)

    items = caller.items(orderNumber=paged.world.orders[0].reference)

    units = [unit.item_id for unit in paged.world.units]
    told = [one["happyReturnsItemID"] for one in items]
    assert told == units[:3] + units[:3] + units[6:]


def test_a_duplicate_page_of_the_feed(paged: Sandbox) -> None:
    caller = LinnworksCaller(paged)
    _fault(paged, "orders", "duplicate_page", after=2)

    found = [one["OrderId"] for one in caller.feed(entriesPerPage=3, includeProcessed=True)]

    assert found[6:] == found[3:6]


# --- control over HTTP ------------------------------------------------------------


def test_clock_faults_switches_staff_and_books_are_reached_over_http(open_case: Open) -> None:
    sandbox = open_case("received_saleable")
    url = f"{sandbox.linnworks_server.url}/_sandbox"
    [order] = sandbox.world.orders

    def post(what: str, document: Any) -> Any:
        return requests.post(f"{url}/{what}", json=document, timeout=10).json()

    told = post("clock", {"now": day(9).isoformat()})
    post("switches", {"second_action": "posts_again"})
    post("faults", {"faults": [{"method": BOOK, "kind": "empty"}]})
    requests.delete(f"{url}/faults", timeout=10)
    lines = [{"row_id": order.lines[0].row_id, "quantity": 1, "location": "HR Restock"}]
    action = {"action": "book_rma", "order_reference": order.reference, "lines": lines}
    post("staff", {**action, "action_too": True})
    books = requests.get(f"{url}/books", timeout=10).json()

    assert told["now"] == day(9).isoformat()
    assert sandbox.clock.now() == day(9)  # one clock for both vendors
    assert sandbox.linnworks.switches["second_action"] == "posts_again"
    assert [row["quantity"] for row in books["returned"]] == [1]
    assert LinnworksCaller(sandbox).book(order, order.lines[0])["Errors"] == ["OverReturning"]
