"""What we ask of Linnworks, against the official specification and the examples."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.clients.transport import Refused
from returns_pipeline_tests.clients import contracts
from returns_pipeline_tests.clients.conftest import Clock, StartWire
from returns_pipeline_tests.clients.vendor import (
    ORDER,
    PLACE_1,
    PLACE_2,
    ROW_1,
    ROW_2,
    SIGN_IN,
    Scripted,
)

SINCE = datetime(2026, 8, 1, tzinfo=UTC)
UNTIL = datetime(2026, 8, 31, 23, 59, 59, tzinfo=UTC)
ITEM = "91d4b2c6-55a1-4e7f-8b90-2c3d4e5f6a01"
EMPTY_ORDERS = {"OpenOrders": [], "ProcessedOrders": []}

INSTEAD = {"sku": "TEE-RED-L", "item_id": ITEM, "quantity": 1, "location_id": PLACE_1}
RMA_LINES = [
    {
        "row_id": ROW_1,
        "location_id": PLACE_1,
        "quantity": 1,
        "scrap_quantity": 0,
        "reason": "HR disposition=restock grade=A ref=HR1WUK3S1:item:1",
    },
    {
        "row_id": ROW_2,
        "location_id": PLACE_2,
        "quantity": 1,
        "scrap_quantity": 1,
        "reason": "HR disposition=scrap ref=HR1WUK3S1:item:2",
    },
]
REFUND_LINES = [
    {
        "unit": "Item",
        "row_id": ROW_1,
        "return_row_id": 88101,
        "amount_minor": 1999,
        "quantity": 1,
        "external_reference": "HR1WUK3S1:refund:1",
        "note": "Happy Returns received 2026-08-03",
    }
]
SHIPPING = {
    "unit": "Shipping",
    "row_id": None,
    "return_row_id": None,
    "amount_minor": 495,
    "quantity": 0,
    "external_reference": "HR1WUK3S1:refund:1",
    "note": "",
}

# method, controller, an answer that is good enough, the call, the example that shows it
Case = tuple[str, str, Any, Callable[[Linnworks], Any], str]
CASES: list[Case] = [
    (
        "orders",
        "orders",
        EMPTY_ORDERS,
        lambda lw: list(lw.orders_changed_since(SINCE, 200)),
        "v2_orders_page",
    ),
    (
        "GetOrderDetailsByReferenceId",
        "orders",
        [],
        lambda lw: lw.orders_by_reference("#5001"),
        "orders_by_reference",
    ),
    (
        "GetOrdersById",
        "orders",
        [],
        lambda lw: lw.orders_by_id([ORDER]),
        "orders_get_by_id",
    ),
    (
        "GetStockLocations",
        "inventory",
        [],
        lambda lw: lw.stock_locations(),
        "inventory_locations",
    ),
    (
        "GetReturnCategories",
        "processedorders",
        [],
        lambda lw: lw.return_categories(),
        "processed_return_categories",
    ),
    (
        "GetRMAHeadersByOrderId",
        "returnsrefunds",
        {"RMAHeaders": []},
        lambda lw: lw.rma_headers(ORDER),
        "rma_headers_by_order",
    ),
    (
        "GetActionableRMAHeaders",
        "returnsrefunds",
        {"RMAHeaders": []},
        lambda lw: lw.rma_by_reference("HR1WUK3S1"),
        "rma_actionable_by_reference",
    ),
    (
        "GetProcessedOrAckedErrorRMAHeaders",
        "returnsrefunds",
        {"RMAHeaders": []},
        lambda lw: lw.rma_by_reference("HR1WUK3S1"),
        "rma_processed_by_reference",
    ),
    (
        "GetRefundHeadersByOrderId",
        "returnsrefunds",
        {"RefundHeaders": []},
        lambda lw: lw.refund_headers(ORDER),
        "refund_headers_by_order",
    ),
    (
        "SearchReturnsRefundsPaged",
        "returnsrefunds",
        {"Data": []},
        lambda lw: list(lw.returned_rows(SINCE, UNTIL)),
        "search_returns_paged",
    ),
    (
        "GetReturnsExchanges",
        "processedorders",
        [],
        lambda lw: lw.returns_exchanges(ORDER),
        "processed_returns_exchanges",
    ),
    (
        "GetProcessedRelatives",
        "processedorders",
        [],
        lambda lw: lw.relatives(ORDER),
        "",
    ),
    (
        "GetStockItemIdsBySKU",
        "inventory",
        {"Items": []},
        lambda lw: lw.stock_item_ids(["TEE-RED-M", "MUG-BLU", "NO-SUCH"]),
        "inventory_ids_by_sku",
    ),
    (
        "GetStockLevel_Batch",
        "stock",
        [],
        lambda lw: lw.stock_levels([ITEM, ITEM.replace("6a01", "6a02")]),
        "stock_level_batch",
    ),
    (
        "GetItemChangesHistory",
        "stock",
        {"Data": []},
        lambda lw: list(lw.changes_history(ITEM, PLACE_1)),
        "stock_item_changes_history",
    ),
    (
        "CreateRMABooking",
        "returnsrefunds",
        {"RMAHeaderId": 0, "Errors": ["no"]},
        lambda lw: lw.create_rma_booking(
            ORDER, RMA_LINES, reference="HR1WUK3S1", category="Wrong size"
        ),
        "rma_create_return",
    ),
    (
        "CreateRMABooking",
        "returnsrefunds",
        {"RMAHeaderId": 0, "Errors": ["no"]},
        lambda lw: lw.create_rma_booking(
            ORDER, [RMA_LINES[0] | {"instead": INSTEAD}], reference="HRX7781", category="Wrong size"
        ),
        "rma_create_exchange",
    ),
    (
        "ActionRMABooking",
        "returnsrefunds",
        {"Errors": ["no"]},
        lambda lw: lw.action_rma_booking(ORDER, 40217),
        "rma_action",
    ),
    ("DeleteRMA", "returnsrefunds", {}, lambda lw: lw.delete_rma(40217), "rma_delete"),
    (
        "CreateRefund",
        "returnsrefunds",
        {"Errors": ["no"]},
        lambda lw: lw.create_refund(ORDER, REFUND_LINES, currency="GBP"),
        "refund_create",
    ),
    (
        "ActionRefund",
        "returnsrefunds",
        {"Errors": ["no"]},
        lambda lw: lw.action_refund(ORDER, 9107),
        "refund_action",
    ),
    (
        "CreateOrders",
        "orders",
        [],
        lambda lw: lw.create_order({"Source": "HAPPYRETURNS"}, location="Default"),
        "orders_create_exchange",
    ),
    (
        "AddOrderNote",
        "processedorders",
        "9d1f7f9a-0000-4000-8000-000000000001",
        lambda lw: lw.add_order_note(ORDER, "text"),
        "",
    ),
]


def _ask(wire: StartWire, clock: Clock, case: Case) -> Any:
    method, _, answer, call, _ = case
    searches = ("GetActionableRMAHeaders", "GetProcessedOrAckedErrorRMAHeaders")
    others = {search: {"RMAHeaders": []} for search in searches}
    vendor = Scripted(wire, **{**others, method: answer})
    with contextlib.suppress(Refused):
        call(vendor.client(clock))
    request = vendor.asked(method)[0]
    assert vendor.asked(SIGN_IN)
    return request


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_every_request_is_as_the_official_specification_has_it(
    wire: StartWire, clock: Clock, case: Case
) -> None:
    assert contracts.breaches(case[1], _ask(wire, clock, case)) == []


def test_signing_in_is_as_the_official_specification_has_it(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, GetReturnCategories=[])
    vendor.client(clock).return_categories()
    assert contracts.breaches("auth", vendor.asked(SIGN_IN)[0]) == []


@pytest.mark.parametrize("case", [c for c in CASES if c[4]], ids=lambda case: case[0])
def test_every_request_looks_like_its_example(wire: StartWire, clock: Clock, case: Case) -> None:
    request = _ask(wire, clock, case)
    shown = contracts.example(case[4])["request"]
    assert (request.verb, request.path) == (shown["method"], shown["path"])
    assert set(request.query) == set(shown["query"] or {})
    if shown["json"] is None:
        assert request.body == b""
    else:
        assert _names(request.document) == _names(shown["json"]) or case[0] in {
            "CreateOrders",  # its order is the caller's
            "CreateRefund",  # the example names a category
        }


def _names(value: Any, at: str = "") -> set[str]:
    match value:
        case dict():
            found = {f"{at}.{name}" for name in value}
            return found.union(*(_names(one, f"{at}.{name}") for name, one in value.items()))
        case list():
            return set().union(*(_names(one, f"{at}[]") for one in value))
        case _:
            return set()


def test_a_booking_says_what_the_example_says(wire: StartWire, clock: Clock) -> None:
    case = next(case for case in CASES if case[0] == "CreateRMABooking")
    shown = contracts.example("rma_create_return")["request"]["json"]
    for line in shown["request"]["ReturnItems"]:
        line["ReasonCategory"] = "Wrong size"
    assert _ask(wire, clock, case).document == shown


def test_no_booking_ever_carries_a_refund(wire: StartWire, clock: Clock) -> None:
    case = next(case for case in CASES if case[0] == "CreateRMABooking")
    lines = _ask(wire, clock, case).document["request"]["ReturnItems"]
    assert [line["RefundAmount"] for line in lines] == [0, 0]


def test_a_refund_carries_the_digits_of_its_amount(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, CreateRefund={"Errors": ["no"]})
    linnworks = vendor.client(clock)
    for minor, currency in ((1999, "GBP"), (1, "GBP"), (1999, "JPY"), (1999, "KWD")):
        line = {**REFUND_LINES[0], "amount_minor": minor}
        with pytest.raises(Refused):
            linnworks.create_refund(ORDER, [line], currency=currency)
    amounts = [
        msgspec.json.decode(one.body, type=_Refund).request.RefundLines[0].Amount
        for one in vendor.asked("CreateRefund")
    ]
    assert [bytes(amount) for amount in amounts] == [b"19.99", b"0.01", b"1999", b"1.999"]


class _Line(msgspec.Struct):
    Amount: msgspec.Raw


class _Lines(msgspec.Struct):
    RefundLines: list[_Line]


class _Refund(msgspec.Struct):
    request: _Lines


def test_a_shipping_refund_names_no_order_line(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, CreateRefund={"Errors": ["no"]})
    with pytest.raises(Refused):
        vendor.client(clock).create_refund(ORDER, [*REFUND_LINES, SHIPPING], currency="GBP")
    request = vendor.asked("CreateRefund")[0]
    item, shipping = request.document["request"]["RefundLines"]
    assert "OrderItemRowId" in item
    assert not {"OrderItemRowId", "ReturnRowId", "Quantity"} & set(shipping)
    assert contracts.breaches("returnsrefunds", request) == []


def test_an_order_keeps_its_decimals_as_numbers(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, CreateOrders=[])
    order = {"ReferenceNumber": "x", "Discount": Decimal("1.10"), "ConversionRate": 1.0}
    vendor.client(clock).create_order(order, location="Default")
    assert b'"Discount":1.10' in vendor.asked("CreateOrders")[0].body


def test_ids_are_asked_for_in_parts_each_once(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(
        wire, GetOrdersById=[], GetStockItemIdsBySKU={"Items": []}, GetStockLevel_Batch=[]
    )
    linnworks = vendor.client(clock)
    many = [f"id-{number}" for number in range(250)]
    linnworks.orders_by_id([*many, *many])
    linnworks.stock_item_ids(many)
    linnworks.stock_levels(many)
    orders = [len(one.document["pkOrderIds"]) for one in vendor.asked("GetOrdersById")]
    skus = [len(one.document["request"]["SKUS"]) for one in vendor.asked("GetStockItemIdsBySKU")]
    assert (orders, skus) == ([200, 50], [100, 100, 50])
    assert len(vendor.asked("GetStockLevel_Batch")) == 3


def test_nothing_is_asked_for_nothing(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire)
    linnworks = vendor.client(clock)
    assert linnworks.orders_by_id([]) == []
    assert linnworks.stock_item_ids([]) == {}
    assert linnworks.stock_levels([]) == []
    # An empty reference equals every order's missing second one.
    assert linnworks.orders_by_reference(" # ") == []
    assert vendor.server.requests == []


def test_a_window_longer_than_three_months_is_asked_in_parts(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, SearchReturnsRefundsPaged={"Data": []})
    until = datetime(2026, 12, 31, tzinfo=UTC)
    assert list(vendor.client(clock).returned_rows(SINCE, until, date_type="BOOKED")) == []
    windows = [
        (one.query["from"], one.query["to"]) for one in vendor.asked("SearchReturnsRefundsPaged")
    ]
    assert windows == [
        ("2026-08-01T00:00:00Z", "2026-10-20T00:00:00Z"),
        ("2026-10-20T00:00:00Z", "2026-12-31T00:00:00Z"),
    ]


def test_refunds_are_searched_in_the_same_way_as_returns(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, SearchReturnsRefundsPaged={"Data": []})
    linnworks = vendor.client(clock)
    list(linnworks.returned_rows(SINCE, UNTIL, date_type="BOOKED"))
    list(linnworks.refunded_rows(SINCE, UNTIL, date_type="BOOKED"))
    returned, refunded = (dict(one.query) for one in vendor.asked("SearchReturnsRefundsPaged"))
    assert (returned.pop("historyType"), refunded.pop("historyType")) == ("RETURNS", "REFUNDS")
    assert returned == refunded


def test_calls_are_paced_by_the_published_limit_of_their_method(
    wire: StartWire, clock: Clock
) -> None:
    vendor = Scripted(wire, GetReturnCategories=[], GetOrdersById=[])
    linnworks = vendor.client(clock, rate_share=0.8)
    linnworks.return_categories()
    linnworks.return_categories()
    assert clock.slept == [pytest.approx(60 / (150 * 0.8))]
    clock.slept.clear()
    linnworks.orders_by_id(["a"])
    linnworks.orders_by_id(["a"])
    assert clock.slept == [pytest.approx(60 / (250 * 0.8))]
