"""What Linnworks answers, and what is made of it: reads, and writes that fail as 200."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from returns_pipeline.clients.linnworks import Linnworks, recognise
from returns_pipeline.clients.transport import (
    Answer,
    ContractBroken,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Unavailable,
)
from returns_pipeline_tests.clients import contracts
from returns_pipeline_tests.clients.conftest import Clock, StartWire
from returns_pipeline_tests.clients.test_linnworks_requests import REFUND_LINES, RMA_LINES
from returns_pipeline_tests.clients.vendor import (
    ORDER,
    PLACE_1,
    PLACE_2,
    ROW_1,
    ROW_2,
    Script,
    Scripted,
)
from returns_pipeline_tests.clients.wire import answer, close

SINCE = datetime(2026, 8, 1, tzinfo=UTC)
UNTIL = datetime(2026, 8, 31, tzinfo=UTC)
OTHER = ORDER.replace("9011", "9012")


def shown(name: str) -> Any:
    return contracts.example(name)["response"]["json"]


def order(reference: str, key: str = ORDER, second: str = "") -> dict[str, Any]:
    return {
        "OrderId": key,
        "GeneralInfo": {"ReferenceNum": reference, "SecondaryReference": second},
    }


# --- the examples, read -----------------------------------------------------------


def test_the_examples_of_reads_are_understood(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(
        wire,
        orders=shown("v2_orders_page"),
        GetOrderDetailsByReferenceId=shown("orders_by_reference"),
        GetOrdersById=shown("orders_get_by_id"),
        GetStockLocations=shown("inventory_locations"),
        GetReturnCategories=shown("processed_return_categories"),
        GetRMAHeadersByOrderId=shown("rma_headers_by_order"),
        GetActionableRMAHeaders=shown("rma_actionable_by_reference"),
        GetProcessedOrAckedErrorRMAHeaders=shown("rma_processed_by_reference"),
        GetRefundHeadersByOrderId=shown("refund_headers_by_order"),
        SearchReturnsRefundsPaged=shown("search_returns_paged"),
        GetReturnsExchanges=shown("processed_returns_exchanges"),
        GetStockItemIdsBySKU=shown("inventory_ids_by_sku"),
        GetStockLevel_Batch=shown("stock_level_batch"),
        GetItemChangesHistory=shown("stock_item_changes_history"),
    )
    lw = vendor.client(clock)
    assert [len(page) for page in lw.orders_changed_since(SINCE, 200)] == [1]
    assert len(lw.orders_by_reference("5001")) == len(lw.orders_by_id([ORDER])) == 1
    assert lw.order_by_id(ORDER)["CustomerInfo"]["Address"]  # type: ignore[index]
    assert "00000000-0000-0000-0000-000000000000" in {place.id for place in lw.stock_locations()}
    assert lw.return_categories() == ["Wrong size", "Damaged"]
    (header,) = lw.rma_headers(ORDER)
    assert (header.RMAHeaderId, header.status_header, header.is_actioned) == (
        40217,
        "PROCESSED",
        True,
    )
    assert [line.OrderItemRowId for line in header.lines] == [ROW_1, ROW_2]
    found = lw.rma_by_reference("HR1WUK3S1")
    assert {one.ExternalReference for one in found} == {"HR1WUK3S1"}
    (refund,) = lw.refund_headers(ORDER)
    assert (refund.Amount, refund.Currency, refund.is_actioned) == (Decimal("19.99"), "GBP", True)
    assert refund.lines[0].RefundedItem.ReturnRowId == 88101  # type: ignore[union-attr]
    (rows,) = lw.returned_rows(SINCE, UNTIL)
    assert (rows[0].pkReturnId, rows[0].ReturnQty) == (88101, 1)
    (row,) = lw.returns_exchanges(ORDER)
    assert row.fkOrderItemRowId == ROW_1
    assert set(lw.stock_item_ids(["TEE-RED-M", "MUG-BLU", "NO-SUCH"])) == {"TEE-RED-M", "MUG-BLU"}
    assert lw.stock_levels(["91d4b2c6-55a1-4e7f-8b90-2c3d4e5f6a01"])[0].level == 31
    (changes,) = lw.changes_history("i", PLACE_1)
    assert [change.ChangeQty for change in changes] == [1, 2]


def test_the_examples_of_writes_are_understood(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(
        wire,
        CreateRMABooking=shown("rma_create_return"),
        ActionRMABooking=shown("rma_action"),
        DeleteRMA=shown("rma_delete"),
        CreateRefund=shown("refund_create"),
        ActionRefund=shown("refund_action"),
        CreateOrders=Script(
            [shown("orders_create_exchange"), shown("orders_create_repeat_skipped")]
        ),
    )
    lw = vendor.client(clock)
    booked = lw.create_rma_booking(ORDER, RMA_LINES, reference="HR1WUK3S1", category="Damaged")
    assert booked.header_id == 40217
    assert [line.RMARowId for line in booked.lines] == [88101, 88102]
    assert lw.action_rma_booking(ORDER, 40217).refund_header_id is None
    lw.delete_rma(40217)
    made = lw.create_refund(ORDER, REFUND_LINES, currency="GBP")
    assert (made.header_id, made.reference) == (9107, "9A1F22C0D3")
    assert lw.action_refund(ORDER, 9107).lines[0].Actioned
    assert lw.create_order({}, location="Default") == "d2e8f6a1-7b34-4c9d-a210-9e4c5b6a8813"
    assert lw.create_order({}, location="Default") is None
    assert lw.writes == 7


def test_the_example_of_a_refused_booking_is_refused(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, CreateRMABooking=shown("rma_create_overreturn_error"))
    with pytest.raises(Refused):
        vendor.client(clock).create_rma_booking(ORDER, RMA_LINES[:1], reference="r", category="")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("error_400", Refused), ("error_429", RateLimited), ("v2_problem_422", Refused)],
)
def test_the_examples_of_errors_are_recognised(
    wire: StartWire, clock: Clock, name: str, kind: type[Exception]
) -> None:
    response = contracts.example(name)["response"]
    vendor = Scripted(wire, AddOrderNote=answer(response["status"], response["json"]))
    with pytest.raises(kind):
        vendor.client(clock).add_order_note(ORDER, "x")


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (b'{"Code":null,"Message":"no"}', ("no",)),
        (b'{"title":"Unprocessable","detail":"why"}', ("why",)),
        (b'{"title":"Unprocessable"}', ("Unprocessable",)),
        (b'{"Code":1}', None),
        (b"[]", None),
        (b"<html>", None),
        (b"", None),
        (b'{"Message":7}', None),
        (b'{"Message":"\xff"}', None),
        (b'{"a":' + b"[" * 100_000, None),
    ],
)
def test_only_linnworks_own_error_body_is_recognised(
    content: bytes, messages: tuple[str, ...] | None
) -> None:
    told = recognise(Answer(400, {}, content))
    assert (told.messages if told else None) == messages


# --- reads ------------------------------------------------------------------------


def test_a_read_that_is_refused_means_that_the_contract_moved(
    wire: StartWire, clock: Clock
) -> None:
    vendor = Scripted(wire, GetOrdersById=answer(400, {"Message": "The request is invalid."}))
    with pytest.raises(ContractBroken, match="The request is invalid"):
        vendor.client(clock).orders_by_id([ORDER])


@pytest.mark.parametrize("empty", [answer(200), answer(204), close, answer(500)])
def test_a_failed_read_is_never_an_empty_answer(wire: StartWire, clock: Clock, empty: Any) -> None:
    vendor = Scripted(wire, GetOrdersById=empty, GetRMAHeadersByOrderId=empty, orders=empty)
    lw = vendor.client(clock)
    with pytest.raises(Unavailable):
        lw.orders_by_id([ORDER])
    with pytest.raises(Unavailable):
        lw.rma_headers(ORDER)
    with pytest.raises(Unavailable):
        list(lw.orders_changed_since(SINCE, 200))


@pytest.mark.parametrize("strange", [{}, None, "none", {"Message": "sorry"}, [{}]])
def test_an_answer_of_another_shape_is_never_an_empty_answer(
    wire: StartWire, clock: Clock, strange: Any
) -> None:
    methods = (
        "orders",
        "GetOrdersById",
        "GetOrderDetailsByReferenceId",
        "GetStockLocations",
        "GetRMAHeadersByOrderId",
        "GetActionableRMAHeaders",
        "GetRefundHeadersByOrderId",
        "SearchReturnsRefundsPaged",
        "GetReturnsExchanges",
        "GetProcessedRelatives",
        "GetStockItemIdsBySKU",
        "GetStockLevel_Batch",
        "GetItemChangesHistory",
    )
    given = answer(200, b"null" if strange is None else strange)
    lw = Scripted(wire, **dict.fromkeys(methods, given)).client(clock)
    for ask in (
        lambda: list(lw.orders_changed_since(SINCE, 200)),
        lambda: lw.orders_by_id([ORDER]),
        lambda: lw.orders_by_reference("1001"),
        lw.stock_locations,
        lambda: lw.rma_headers(ORDER),
        lambda: lw.rma_by_reference("r"),
        lambda: lw.refund_headers(ORDER),
        lambda: list(lw.returned_rows(SINCE, UNTIL)),
        lambda: list(lw.refunded_rows(SINCE, UNTIL)),
        lambda: lw.returns_exchanges(ORDER),
        lambda: lw.relatives(ORDER),
        lambda: lw.stock_item_ids(["a"]),
        lambda: lw.stock_levels(["a"]),
        lambda: list(lw.changes_history("a", "b")),
    ):
        with pytest.raises(ContractBroken):
            ask()


def test_answers_about_another_order_break_the_contract(wire: StartWire, clock: Clock) -> None:
    stranger = {"RMAHeaderId": 1, "RefundHeaderId": 1, "OrderId": OTHER, "RMALines": []}
    vendor = Scripted(
        wire,
        GetRMAHeadersByOrderId={"RMAHeaders": [stranger]},
        GetRefundHeadersByOrderId={"RefundHeaders": [stranger]},
        GetReturnsExchanges=[{"pkReturnId": 1, "fkOrderId": OTHER}],
        GetProcessedRelatives=[{"ChildOrderPkOrderId": OTHER, "ParentOrderPkOrderId": OTHER}],
    )
    lw = vendor.client(clock)
    for ask in (lw.rma_headers, lw.refund_headers, lw.returns_exchanges, lw.relatives):
        with pytest.raises(ContractBroken, match="another order"):
            ask(ORDER)


def test_strangers_among_orders_looked_up_are_left_out(wire: StartWire, clock: Clock) -> None:
    ours, second, stranger = order("#1001"), order("A-7", OTHER, " 1001 "), order("#10010")
    vendor = Scripted(
        wire,
        GetOrderDetailsByReferenceId=[stranger, ours, second],
        GetOrdersById=[order("x", OTHER), order("y", ORDER.upper())],
    )
    lw = vendor.client(clock)
    found = [msgspec.json.decode(raw) for raw in lw.orders_by_reference("1001")]
    assert found == [ours, second]
    (mine,) = lw.orders_by_id([ORDER])
    assert msgspec.json.decode(mine) == order("y", ORDER.upper())
    assert lw.order_by_id(ORDER.replace("9011", "0000")) is None


def test_bookings_with_another_reference_are_left_out(wire: StartWire, clock: Clock) -> None:
    def header(number: int, reference: str) -> dict[str, Any]:
        return {"RMAHeaderId": number, "OrderId": ORDER, "ExternalReference": reference}

    vendor = Scripted(
        wire,
        GetActionableRMAHeaders={
            "RMAHeaders": [header(1, "HR-1"), header(2, "HR-10")],
            "TotalHeaders": 2,
        },
        GetProcessedOrAckedErrorRMAHeaders={"RMAHeaders": [header(3, "HR-1")], "TotalHeaders": 1},
    )
    assert [one.RMAHeaderId for one in vendor.client(clock).rma_by_reference("HR-1")] == [1, 3]


def test_the_zero_id_is_a_real_location(wire: StartWire, clock: Clock) -> None:
    zero = "00000000-0000-0000-0000-000000000000"
    listed = [{"StockLocationId": zero.upper(), "LocationName": "Default"}]
    (place,) = Scripted(wire, GetStockLocations=listed).client(clock).stock_locations()
    assert (place.id, place.warehouse_managed) == (zero, False)


# --- pages ------------------------------------------------------------------------


def page(*keys: str, token: str | None = None) -> dict[str, Any]:
    rows = [{"OrderId": key} for key in keys]
    return {"OpenOrders": rows[:1], "ProcessedOrders": rows[1:], "NextSearchToken": token}


def test_the_order_feed_is_followed_to_its_end(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(
        wire, orders=Script([page("a", "b", token="t1"), page("c", token="t2"), page("d")])
    )
    pages = list(vendor.client(clock).orders_changed_since(SINCE, 2))
    assert [len(one) for one in pages] == [2, 1, 1]
    assert [one.query.get("searchToken") for one in vendor.asked("orders")] == [None, "t1", "t2"]
    assert {one.query["fromDate"] for one in vendor.asked("orders")} == {"2026-08-01T00:00:00Z"}
    assert {one.query["includeProcessed"] for one in vendor.asked("orders")} == {"true"}
    assert {one.query["onlyPaid"] for one in vendor.asked("orders")} == {"false"}


def test_an_empty_page_ends_the_order_feed(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, orders=Script([page("a", token="t1"), page(token="t2")]))
    assert len(list(vendor.client(clock).orders_changed_since(SINCE, 2))) == 1
    assert len(vendor.asked("orders")) == 2


@pytest.mark.parametrize("tokens", [["t1", "t1"], ["t1", "t2", "t1"]])
def test_a_search_token_that_repeats_is_an_error(
    wire: StartWire, clock: Clock, tokens: list[str]
) -> None:
    vendor = Scripted(wire, orders=Script([page("a", token=token) for token in tokens]))
    with pytest.raises(ContractBroken, match="repeats"):
        list(vendor.client(clock).orders_changed_since(SINCE, 2))


def test_a_feed_that_fails_in_its_middle_fails(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, orders=Script([page("a", token="t1"), answer(503)]))
    with pytest.raises(Unavailable):
        list(vendor.client(clock).orders_changed_since(SINCE, 2))


def headers(*numbers: int, total: int) -> dict[str, Any]:
    rows = [{"RMAHeaderId": n, "OrderId": ORDER, "ExternalReference": "r"} for n in numbers]
    return {"RMAHeaders": rows, "TotalHeaders": total}


def test_a_search_over_bookings_is_turned_to_its_end(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(
        wire,
        GetActionableRMAHeaders=Script([headers(1, 2, total=3), headers(3, total=3)]),
        # A total of zero beside headers is none.
        GetProcessedOrAckedErrorRMAHeaders=Script(
            [headers(4, total=0), headers(5, total=0), headers(total=0)]
        ),
    )
    found = vendor.client(clock).rma_by_reference("r")
    assert [one.RMAHeaderId for one in found] == [1, 2, 3, 4, 5]


def test_a_page_that_is_turned_but_does_not_change_is_an_error(
    wire: StartWire, clock: Clock
) -> None:
    rows = [{"pkOrderID": ORDER, "pkReturnId": 1}]
    change = {"Date": "2026-08-03T09:14:09Z", "ChangeQty": 1, "Level": 4, "Note": ""}
    vendor = Scripted(
        wire,
        GetActionableRMAHeaders=headers(1, 2, total=9),
        SearchReturnsRefundsPaged={"Data": rows, "TotalPages": 3},
        GetItemChangesHistory={"Data": [change], "TotalEntries": 0},
    )
    lw = vendor.client(clock)
    for ask in (
        lambda: lw.rma_by_reference("r"),
        lambda: list(lw.returned_rows(SINCE, UNTIL)),
        lambda: list(lw.changes_history("i", PLACE_1)),
    ):
        with pytest.raises(ContractBroken, match="repeats"):
            ask()


def returns(first: int, count: int, pages: int | None) -> dict[str, Any]:
    rows = [{"pkOrderID": ORDER, "pkReturnId": first + n} for n in range(count)]
    return {"Data": rows, "TotalPages": pages}


@pytest.mark.parametrize("pages", [2, 0, None])
def test_the_bulk_search_is_turned_to_its_end_even_when_it_does_not_say_where_that_is(
    wire: StartWire, clock: Clock, pages: int | None
) -> None:
    vendor = Scripted(
        wire,
        SearchReturnsRefundsPaged=Script([returns(1, 200, pages), returns(201, 7, pages)]),
    )
    found = vendor.client(clock).returned_rows(SINCE, UNTIL)
    assert [len(rows) for rows in found] == [200, 7]
    numbers = [one.query["pageNum"] for one in vendor.asked("SearchReturnsRefundsPaged")]
    assert numbers == ["1", "2"]


@pytest.mark.parametrize(
    ("more", "actioned"),
    [
        ({"RefundStatus": "PROCESSED"}, True),
        ({"RefundStatus": "OPEN"}, False),
        # An error has a date as well, and no money left.
        ({"RefundStatus": "ERROR", "ActionDate": "2026-08-03T09:14:09Z"}, False),
        ({"ActionDate": "2026-08-03T09:14:09Z"}, True),
        ({}, False),
    ],
)
def test_the_bulk_search_tells_which_refunds_were_sent(
    wire: StartWire,
    clock: Clock,
    more: dict[str, Any],
    actioned: bool,  # noqa: FBT001 - a parameter of the test, by name
) -> None:
    row = {"pkOrderID": ORDER, "pkRefundRowId": ROW_1, **more}
    vendor = Scripted(wire, SearchReturnsRefundsPaged={"Data": [row], "TotalPages": 1})
    [[found]] = vendor.client(clock).refunded_rows(SINCE, UNTIL)
    assert (found.pkOrderID, found.pkRefundRowId) == (ORDER, ROW_1)
    assert found.is_actioned is actioned


def test_a_refund_without_its_row_is_no_refund(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, SearchReturnsRefundsPaged={"Data": [{"pkOrderID": ORDER}]})
    with pytest.raises(ContractBroken):
        list(vendor.client(clock).refunded_rows(SINCE, UNTIL))


def test_a_short_page_of_the_stock_history_is_not_its_end(wire: StartWire, clock: Clock) -> None:
    def history(levels: range, total: int) -> dict[str, Any]:
        rows = [{"Date": "2026-08-03T09:14:09Z", "ChangeQty": 1, "Level": n} for n in levels]
        # Page numbers of zero were seen beside a right total.
        return {"Data": rows, "PageNumber": 0, "TotalPages": 0, "TotalEntries": total}

    vendor = Scripted(
        wire,
        GetItemChangesHistory=Script([history(range(100), 150), history(range(100, 150), 150)]),
    )
    found = vendor.client(clock).changes_history("i", PLACE_1)
    assert [len(rows) for rows in found] == [100, 50]
    assert len(vendor.asked("GetItemChangesHistory")) == 2


def test_the_stock_history_without_a_total_ends_with_an_empty_page(
    wire: StartWire, clock: Clock
) -> None:
    row = {"Date": "2026-08-03T09:14:09Z", "ChangeQty": 1}
    vendor = Scripted(wire, GetItemChangesHistory=Script([{"Data": [row]}, {"Data": []}]))
    assert len(list(vendor.client(clock).changes_history("i", PLACE_1))) == 1


# --- writes that fail as 200 ------------------------------------------------------


def rma_line(row: str = ROW_1, place: str = PLACE_1, **more: Any) -> dict[str, Any]:
    return {
        "RMARowId": 88101,
        "OrderItemRowId": row,
        "ReturnLocation": place,
        "ReturnQuantity": 1,
        "ScrapQuantity": 0,
        **more,
    }


def book(wire: StartWire, clock: Clock, given: Any) -> Any:
    vendor = Scripted(wire, CreateRMABooking=given)
    lines = RMA_LINES[:1]
    try:
        return vendor.client(clock).create_rma_booking(ORDER, lines, reference="r", category="")
    finally:
        assert len(vendor.asked("CreateRMABooking")) == 1


ERROR = [{"ErrorMessage": "over-returned", "Acknowledged": False}]
ACKNOWLEDGED = [{"ErrorMessage": "over-returned", "Acknowledged": True}]


@pytest.mark.parametrize("header", [None, 0, -1])
@pytest.mark.parametrize(
    "where",
    [
        {"Errors": ["over-returned"]},
        {"Items": [rma_line(ValidationError="over-returned")]},
        {"Items": [rma_line(Error="over-returned")]},
        {"Items": [rma_line(Errors=ERROR)]},
    ],
)
def test_a_booking_that_was_not_made_is_refused_wherever_the_reason_stands(
    wire: StartWire, clock: Clock, header: int | None, where: dict[str, Any]
) -> None:
    with pytest.raises(Refused, match="over-returned"):
        book(wire, clock, {"RMAHeaderId": header, **where})


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"RMAHeaderId": 0, "Items": [], "Errors": []},
        {"RMAHeaderId": 7, "Items": [rma_line(ValidationError="odd")]},
        {"RMAHeaderId": 7, "Items": [rma_line(Error="odd")]},
        {"RMAHeaderId": 7, "Items": [rma_line(Errors=ERROR)]},
        {"RMAHeaderId": 7, "Items": []},
        {"RMAHeaderId": 7},
        {"RMAHeaderId": 7, "Items": [rma_line(ReturnQuantity=2)]},
        {"RMAHeaderId": 7, "Items": [rma_line(ScrapQuantity=1)]},
        {"RMAHeaderId": 7, "Items": [rma_line(row=ROW_2)]},
        {"RMAHeaderId": 7, "Items": [rma_line(place=PLACE_2)]},
        {"RMAHeaderId": 7, "Items": [rma_line(Deleted=True)]},
        {"RMAHeaderId": 7, "Items": [rma_line(), rma_line()]},
        {"RMAHeaderId": "x", "Items": [rma_line()]},
        [],
        answer(200, b"null"),
        answer(200),
        answer(204),
    ],
)
def test_a_booking_that_is_no_clear_yes_or_no_is_unknown(
    wire: StartWire, clock: Clock, given: Any
) -> None:
    with pytest.raises(OutcomeUnknown):
        book(wire, clock, given)


def test_a_booking_is_proven_by_header_and_lines_in_whatever_letters(
    wire: StartWire, clock: Clock
) -> None:
    line = rma_line(row=ROW_1.upper(), place=PLACE_1.upper(), Errors=ACKNOWLEDGED)
    given = {"RMAHeaderId": 7, "Items": [line], "Errors": ["a@b.example says\nhello"]}
    booked = book(wire, clock, given)
    assert booked.header_id == 7
    assert booked.warnings == ("*** says hello",)


def act(wire: StartWire, clock: Clock, given: Any, *, refund: bool) -> Any:
    method = "ActionRefund" if refund else "ActionRMABooking"
    vendor = Scripted(wire, **{method: given})
    lw: Linnworks = vendor.client(clock)
    try:
        return lw.action_refund(ORDER, 7) if refund else lw.action_rma_booking(ORDER, 7)
    finally:
        assert len(vendor.asked(method)) == 1


def acted(*rows: dict[str, Any], refund: bool, **more: Any) -> dict[str, Any]:
    names = ("RefundLines", "RefundHeaderId") if refund else ("Items", "RMAHeaderId")
    return {names[0]: list(rows), names[1]: 7, "SuccessfullyActioned": True, **more}


@pytest.mark.parametrize("refund", [False, True], ids=["rma", "refund"])
def test_actioning_is_proven_by_every_line_actioned_and_no_error(
    wire: StartWire, clock: Clock, *, refund: bool
) -> None:
    given = acted({"Actioned": True}, {"Deleted": True}, refund=refund, Errors=[])
    done = act(wire, clock, {**given, "CannotRefundReason": "None"}, refund=refund)
    assert done.header_id == 7


@pytest.mark.parametrize("refund", [False, True], ids=["rma", "refund"])
@pytest.mark.parametrize(
    ("rows", "more"),
    [
        ([{"Actioned": True}], {"Errors": ["odd"]}),  # true beside an error is no proof
        ([{"Actioned": True, "Error": "odd"}], {}),
        ([{"Actioned": True, "ValidationError": "odd"}], {}),
        ([{"Actioned": True, "Errors": ERROR}], {}),
        ([{"Actioned": True}, {"Actioned": False}], {}),
        ([{"Actioned": True}, {"Actioned": False}], {"SuccessfullyActioned": False}),
        ([{"Actioned": True}], {"SuccessfullyActioned": False, "Errors": ["odd"]}),
        ([{"Actioned": True}], {"SuccessfullyActioned": False}),
        ([{"Actioned": False}], {"SuccessfullyActioned": False}),
        ([{"Deleted": True, "Actioned": True}], {}),
        ([], {}),
        ([{"Actioned": True}], {"RMAHeaderId": 8, "RefundHeaderId": 8}),
    ],
)
def test_actioning_that_is_no_clear_yes_or_no_is_unknown(
    wire: StartWire,
    clock: Clock,
    rows: list[dict[str, Any]],
    more: dict[str, Any],
    *,
    refund: bool,
) -> None:
    with pytest.raises(OutcomeUnknown):
        act(wire, clock, acted(*rows, refund=refund, **more), refund=refund)


@pytest.mark.parametrize("refund", [False, True], ids=["rma", "refund"])
@pytest.mark.parametrize(
    ("rows", "more"),
    [
        ([{"Actioned": False}], {"Errors": ["no right to"]}),
        ([{"Actioned": False, "Error": "no right to"}], {}),
        ([{"Actioned": False, "ValidationError": "no right to"}], {}),
        ([], {"Errors": ["no right to"]}),
    ],
)
def test_actioning_that_was_declined_is_refused(
    wire: StartWire,
    clock: Clock,
    rows: list[dict[str, Any]],
    more: dict[str, Any],
    *,
    refund: bool,
) -> None:
    with pytest.raises(Refused, match="no right to"):
        act(
            wire,
            clock,
            acted(*rows, refund=refund, SuccessfullyActioned=False, **more),
            refund=refund,
        )


def refund(wire: StartWire, clock: Clock, given: Any) -> Any:
    vendor = Scripted(wire, CreateRefund=given)
    try:
        return vendor.client(clock).create_refund(ORDER, REFUND_LINES, currency="GBP")
    finally:
        assert len(vendor.asked("CreateRefund")) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"RefundHeaderId": 0, "Errors": ["paid back already"]},
        {"RefundHeaderId": None, "CannotRefundReason": "OrderIsFullyRefundedInLinnworks"},
        {"RefundLines": [{"Amount": 19.99, "ValidationError": "paid back already"}]},
        {"RefundLines": [{"Amount": 19.99, "Errors": ERROR}]},
    ],
)
def test_a_refund_that_was_not_made_is_refused_wherever_the_reason_stands(
    wire: StartWire, clock: Clock, given: Any
) -> None:
    with pytest.raises(Refused):
        refund(wire, clock, given)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"RefundHeaderId": 7},
        {"RefundHeaderId": 7, "RefundLines": [{"Amount": 19.98}]},
        {"RefundHeaderId": 7, "RefundLines": [{"Amount": 19.99}, {"Amount": 19.99}]},
        {"RefundHeaderId": 7, "RefundLines": [{"Amount": 19.99}], "Errors": ["odd"]},
        {"RefundHeaderId": 7, "RefundLines": [{"Amount": 19.99, "Error": "odd"}]},
        {"RefundHeaderId": 7, "RefundLines": [{"Amount": 19.99}], "CannotRefundReason": "Other"},
    ],
)
def test_a_refund_that_is_no_clear_yes_or_no_is_unknown(
    wire: StartWire, clock: Clock, given: Any
) -> None:
    with pytest.raises(OutcomeUnknown):
        refund(wire, clock, given)


def test_amounts_are_compared_as_decimals(wire: StartWire, clock: Clock) -> None:
    given = {"RefundHeaderId": 7, "RefundLines": [{"Amount": 10.1}, {"Amount": 9.89}]}
    assert refund(wire, clock, given).header_id == 7


def test_several_orders_for_one_are_unknown(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, CreateOrders=["a", "b"])
    with pytest.raises(OutcomeUnknown):
        vendor.client(clock).create_order({}, location="Default")


def test_the_vendors_words_come_clean_of_secrets_addresses_and_line_breaks(
    wire: StartWire, clock: Clock
) -> None:
    from returns_pipeline_tests.clients.vendor import SECRET

    with pytest.raises(Refused) as caught:
        book(wire, clock, {"Errors": [f"{SECRET}\nfor pat@example.com", "x" * 1000]})
    first, second = caught.value.messages
    assert first == "*** for ***"
    assert len(second) == 201
