"""Happy Returns' client: what it asks, how it pages, what it makes of trouble."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from returns_pipeline.clients.happy_returns import HappyReturns, RawItem
from returns_pipeline.clients.transport import (
    ContractBroken,
    CredentialsRevoked,
    Patience,
    Unavailable,
)
from returns_pipeline_tests.clients import contracts
from returns_pipeline_tests.clients.conftest import Clock, StartWire
from returns_pipeline_tests.clients.wire import answer, close, cut

KEY = "canary-key"
SINCE = datetime(2026, 10, 1, 2, tzinfo=timezone(timedelta(hours=2)))
UNTIL = datetime(2026, 10, 2, tzinfo=UTC)
FULL = b"{ ErrorMessage: \xe2\x80\x9ctoo many requests: limit 0.500000 requests/sec, "
FULL += b"leaky bucket size 4\xe2\x80\x9d }"  # as printed: no valid JSON


def make(url: str, clock: Clock, **options: Any) -> HappyReturns:
    options.setdefault("rate", 0)
    options.setdefault("patience", Patience(attempts=2, waits=3))
    return HappyReturns(
        url, KEY, "modern-retailer", sleep=clock.sleep, monotonic=clock.monotonic, **options
    )


def found(*names: str, **more: Any) -> Any:
    return answer(200, {"items": [{"n": name} for name in names], **more})


def data(*names: str, **more: Any) -> Any:
    return answer(200, {"data": [{"n": name} for name in names], **more})


def texts(items: list[RawItem]) -> list[str]:
    return [bytes(item.raw).decode() for item in items]


# --- look-ups ---------------------------------------------------------------------


def test_a_look_up_asks_by_the_order_number_alone_and_signs_with_its_key(
    wire: StartWire, clock: Clock
) -> None:
    server = wire(found("a"))
    assert texts(make(server.url, clock).look_up("#1001")) == ['{"n": "a"}']
    (request,) = server.requests
    assert (request.verb, request.target) == ("POST", "/return")
    assert request.document == {
        "happyReturnsRetailerID": "modern-retailer",
        "orderNumber": "#1001",
    }
    assert request.headers["x-hr-apikey"] == KEY
    assert request.headers["content-type"] == "application/json"


def test_the_request_looks_like_its_example(wire: StartWire, clock: Clock) -> None:
    server = wire(found("a", cursor="c1"), found("b"))
    make(server.url, clock).look_up("100418")
    shown = contracts.document("happy_returns/examples/return_lookup.request.by_order_number.json")
    first, second = (request.document for request in server.requests)
    assert first == shown
    assert second == {**shown, "cursor": "c1"}


@pytest.mark.parametrize(
    ("name", "count"),
    [("return_lookup.response.200", 2), ("ASSUMED.return_lookup.response.200.page1_of_2", 1)],
)
def test_the_examples_are_understood(wire: StartWire, clock: Clock, name: str, count: int) -> None:
    shown = contracts.document(f"happy_returns/examples/{name}.json")
    server = wire(answer(200, shown), answer(204))
    assert len(make(server.url, clock).look_up("100418")) == count


def test_no_content_means_that_there_is_no_return(wire: StartWire, clock: Clock) -> None:
    assert make(wire(answer(204)).url, clock).look_up("1") == []


@pytest.mark.parametrize("name", ["cursor", "nextCursor"])
def test_a_cursor_is_sent_back_until_there_is_none(
    wire: StartWire, clock: Clock, name: str
) -> None:
    server = wire(found("a", **{name: "c1"}), found("b", **{name: "c2"}), found("c", **{name: ""}))
    assert len(make(server.url, clock).look_up("1")) == 3
    assert [one.document.get("cursor") for one in server.requests] == [None, "c1", "c2"]


@pytest.mark.parametrize("cursors", [["c1", "c1"], ["c1", "c2", "c1"]])
def test_a_cursor_that_repeats_is_an_error(
    wire: StartWire, clock: Clock, cursors: list[str]
) -> None:
    server = wire(*(found("a", cursor=cursor) for cursor in cursors))
    with pytest.raises(ContractBroken, match="repeats"):
        make(server.url, clock).look_up("1")
    assert len(server.requests) == len(cursors)


def test_cursors_without_end_are_an_error(wire: StartWire, clock: Clock) -> None:
    numbers = iter(range(10_000))
    server = wire(route=lambda _request: found("a", cursor=f"c{next(numbers)}"))
    with pytest.raises(ContractBroken, match="more than"):
        make(server.url, clock).look_up("1")


@pytest.mark.parametrize(
    "strange", [b"{}", b"[]", b"null", b'{"items": null}', b'{"items": {}}', b'{"items": 1}']
)
def test_an_answer_without_items_is_never_no_return(
    wire: StartWire, clock: Clock, strange: bytes
) -> None:
    with pytest.raises(ContractBroken):
        make(wire(answer(200, strange)).url, clock).look_up("1")


@pytest.mark.parametrize("trouble", [answer(200), answer(500), close, cut(b'{"items":[]}')])
def test_a_failed_look_up_is_never_no_return(wire: StartWire, clock: Clock, trouble: Any) -> None:
    with pytest.raises(Unavailable):
        make(wire(trouble).url, clock).look_up("1")


def test_a_second_page_that_fails_fails_the_look_up(wire: StartWire, clock: Clock) -> None:
    with pytest.raises(Unavailable):
        make(wire(found("a", cursor="c1"), answer(503)).url, clock).look_up("1")


def test_a_look_up_is_a_read_and_tried_again(wire: StartWire, clock: Clock) -> None:
    server = wire(close, found("a"))
    client = make(server.url, clock)
    assert len(client.look_up("1")) == 1
    assert client.calls == {"happy_returns.return": 2}
    assert client.reads == 2


# --- limits, key ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("full", "wait"),
    [
        (answer(429, FULL), 4.0),
        (answer(429, {"ErrorMessage": "too many requests: leaky bucket size 2.5"}), 2.5),
        (answer(503, FULL), 4.0),
        (answer(429, {"ErrorMessage": "too many"}, headers={"Retry-After": "9"}), 9.0),
        (answer(429), 60.0),
        (answer(429, FULL, headers={"Retry-After": "9"}), 4.0),
    ],
)
def test_the_bucket_in_the_body_says_how_long_to_wait(
    wire: StartWire, clock: Clock, full: Any, wait: float
) -> None:
    server = wire(full, found("a"))
    assert len(make(server.url, clock).look_up("1")) == 1
    assert clock.now == 1000.0 + wait
    assert len(server.requests) == 2


def test_the_published_errors_are_understood(wire: StartWire, clock: Clock) -> None:
    printed = contracts.text("happy_returns/examples/error.429.as_printed.txt").encode()
    server = wire(
        answer(429, contracts.document("happy_returns/examples/error.429.json")),
        answer(429, printed),
        found("a"),
    )
    assert len(make(server.url, clock).look_up("1")) == 1
    assert clock.now == 1000.0 + 4.0 + 4.0


def test_a_bucket_that_stays_full_is_given_up(wire: StartWire, clock: Clock) -> None:
    server = wire(answer(429, FULL))
    with pytest.raises(Unavailable, match="limit"):
        make(server.url, clock).look_up("1")
    assert len(server.requests) == 4


def test_look_ups_are_paced_by_the_rate_and_shipments_are_not(
    wire: StartWire, clock: Clock
) -> None:
    client = make(wire(answer(200, {"items": [], "data": []})).url, clock, rate=0.5)
    for _ in range(3):
        client.look_up("1")
        client.outbound_shipments(SINCE, UNTIL)
        list(client.outbound_items("s"))
    assert clock.slept == [2.0, 2.0]


@pytest.mark.parametrize("said", [answer(401), answer(401, {"ErrorMessage": f"bad {KEY}"})])
def test_a_key_that_is_not_accepted_stops_everything_without_being_named(
    wire: StartWire, clock: Clock, said: Any
) -> None:
    server = wire(said)
    with pytest.raises(CredentialsRevoked) as caught:
        make(server.url, clock).look_up("1")
    assert KEY not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_no_to_our_fixed_request_means_that_the_contract_moved(
    wire: StartWire, clock: Clock, status: int
) -> None:
    for said in ({"ErrorMessage": f"no {KEY} pat@example.com"}, b"<html>"):
        with pytest.raises(ContractBroken) as caught:
            make(wire(answer(status, said)).url, clock).look_up("1")
        assert KEY not in str(caught.value)
        assert "pat@" not in str(caught.value)


# --- shipments --------------------------------------------------------------------


def test_the_window_is_asked_in_utc_and_shipments_come_once(wire: StartWire, clock: Clock) -> None:
    listed = [
        {"id": "s1", "departureDate": "2026-10-01"},
        {"id": "s2"},
        {"id": "s1", "departureDate": "2026-10-01"},
        {"id": "s3", "departureDate": None},
    ]
    server = wire(answer(200, {"data": listed}))
    shipments = make(server.url, clock).outbound_shipments(SINCE, UNTIL)
    assert [(one.id, one.departure) for one in shipments] == [
        ("s1", "2026-10-01"),
        ("s2", ""),
        ("s3", ""),
    ]
    (request,) = server.requests
    assert (request.verb, request.path) == ("GET", "/outbound-shipments")
    assert request.query == {
        "retailerID": "modern-retailer",
        "startDateTime": "2026-10-01T00:00:00Z",
        "endDateTime": "2026-10-02T00:00:00Z",
    }
    assert request.query == contracts.document(
        "happy_returns/examples/outbound_shipments.request_query.json"
    )


def test_shipments_in_pages_nobody_has_published_are_not_half_read(
    wire: StartWire, clock: Clock
) -> None:
    server = wire(data(links={"next": "/outbound-shipments?page=2"}))
    with pytest.raises(ContractBroken, match="pages"):
        make(server.url, clock).outbound_shipments(SINCE, UNTIL)


def test_the_examples_of_shipments_are_understood(wire: StartWire, clock: Clock) -> None:
    folder = "happy_returns/examples/ASSUMED."
    listed = contracts.document(f"{folder}outbound_shipments.response.200.json")
    items = contracts.document(f"{folder}outbound_shipment_detail.response.200.json")
    client = make(wire(answer(200, listed), answer(200, items), data()).url, clock)
    assert [one.id for one in client.outbound_shipments(SINCE, UNTIL)] == [
        "shp-000123",
        "shp-000124",
    ]
    assert [len(page) for page in client.outbound_items("shp-000123")] == [1, 0]


@pytest.mark.parametrize(
    "more",
    [
        {"links": {"next": "/outbound-shipment/s%2F1?page[size]=50&page[after]=c+1%3D"}},
        {"page": {"after": "c 1="}},
        {"cursor": "c 1="},
    ],
)
def test_the_items_of_a_shipment_are_paged_in_every_way_known(
    wire: StartWire, clock: Clock, more: Any
) -> None:
    server = wire(data("a", **more), data("b", links={"next": None}, cursor=None))
    pages = list(make(server.url, clock, page_size=50).outbound_items("s/1"))
    assert [len(page) for page in pages] == [1, 1]
    first, second = server.requests
    assert first.path == second.path == "/outbound-shipment/s%2F1"
    assert first.query == {"page[size]": "50"}
    assert second.query == {"page[size]": "50", "page[after]": "c 1="}


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.invalid/outbound-shipment/s?page[after]=c",
        "//evil.invalid/outbound-shipment/s?page[after]=c",
        "http://[bad/?page[after]=c",
        "/outbound-shipment/s?page=2",
        "/outbound-shipment/s?page[after]=a&page[after]=b",
    ],
)
def test_a_next_page_elsewhere_or_unreadable_is_an_error(
    wire: StartWire, clock: Clock, link: str
) -> None:
    server = wire(data("a", links={"next": link}))
    with pytest.raises(ContractBroken):
        list(make(server.url, clock).outbound_items("s"))
    assert len(server.requests) == 1


def test_a_page_of_a_shipment_that_repeats_is_an_error(wire: StartWire, clock: Clock) -> None:
    server = wire(data("a", cursor="c1"))
    with pytest.raises(ContractBroken, match="repeats"):
        list(make(server.url, clock).outbound_items("s"))
    assert len(server.requests) == 2


def test_an_item_is_not_printed(wire: StartWire, clock: Clock) -> None:
    (item,) = make(wire(found("pat@example.com")).url, clock).look_up("1")
    assert "pat" not in repr(item)


def test_an_address_that_is_not_https_is_refused(clock: Clock) -> None:
    with pytest.raises(ValueError):
        make("http://partner.happyreturns.com", clock)
