"""Linnworks' returns in the sandbox: what a booking does, what it does not, how it is read."""

import pytest

from returns_pipeline.sandbox.model import Order
from returns_pipeline.sandbox.script import Line, Script
from returns_pipeline_tests.sandbox.calling import LinnworksCaller
from returns_pipeline_tests.sandbox.conftest import Open, day

WINDOW = {"from": "2026-02-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}
SEARCH = "/api/ReturnsRefunds/SearchReturnsRefundsPaged"


@pytest.fixture
def order(script: Script) -> Order:
    return script.order(Line("TEE-RED-M", quantity=3), "CAP-BLK")


@pytest.fixture
def caller(open_world: Open, script: Script, order: Order) -> LinnworksCaller:
    return LinnworksCaller(open_world(script.world(7)))


def test_a_booking_moves_nothing_and_its_action_posts_stock_with_a_history(
    caller: LinnworksCaller, order: Order
) -> None:
    header = caller.book(order, order.lines[0], quantity=2)["RMAHeaderId"]
    before = caller.level("TEE-RED-M", "HR Restock")
    caller.action(order, header)

    [row] = caller.history("TEE-RED-M", "HR Restock")
    assert (before, caller.level("TEE-RED-M", "HR Restock")) == (0, 2)
    assert (row["ChangeQty"], row["Level"]) == (2, 2)
    assert row["Note"].startswith(f"Customer return for order {order.num_id}, ref: ")


def test_a_repeated_booking_is_a_second_booking(caller: LinnworksCaller, order: Order) -> None:
    first = caller.book(order, order.lines[0], reference="SAME")
    second = caller.book(order, order.lines[0], reference="SAME")

    headers = caller.returns("GetRMAHeadersByOrderId", OrderId=order.id)["RMAHeaders"]
    assert first["RMAHeaderId"] != second["RMAHeaderId"]
    assert [one["ExternalReference"] for one in headers] == ["SAME", "SAME"]
    for one in (first, second):
        assert caller.action(order, one["RMAHeaderId"])["SuccessfullyActioned"]
    assert caller.level("TEE-RED-M", "HR Restock") == 2


def test_a_second_action_is_refused_with_200_or_posts_again_as_switched(
    caller: LinnworksCaller, order: Order
) -> None:
    header = caller.restock(order, order.lines[0])
    refused = caller.action(order, header)
    caller.sandbox.linnworks.switches["second_action"] = "posts_again"
    caller.action(order, header)

    assert (refused["SuccessfullyActioned"], bool(refused["Errors"])) == (False, True)
    assert caller.level("TEE-RED-M", "HR Restock") == 2


def test_scrap_stands_in_the_history_twice_and_in_no_level(
    caller: LinnworksCaller, order: Order
) -> None:
    header = caller.restock(order, order.lines[0], scrap=1, place="HR Damaged")

    rows = caller.history("TEE-RED-M", "HR Damaged")
    assert [row["ChangeQty"] for row in rows] == [-1, 1]
    assert rows[0]["Note"] == f"SCRAPPED BY RMA {header}/Order {order.num_id}"
    assert caller.level("TEE-RED-M", "HR Damaged") == 0


def test_no_more_comes_back_than_was_despatched(caller: LinnworksCaller, order: Order) -> None:
    caller.restock(order, order.lines[0], quantity=2)
    too_many = caller.book(order, order.lines[0], quantity=2)
    one = caller.book(order, order.lines[0])["RMAHeaderId"]
    another = caller.book(order, order.lines[0])["RMAHeaderId"]
    caller.action(order, one)
    late = caller.action(order, another)

    assert too_many["RMAHeaderId"] is None
    assert too_many["Errors"] == ["OverReturning"]
    assert late["SuccessfullyActioned"] is False
    assert caller.level("TEE-RED-M", "HR Restock") == 3


def test_a_bundle_posts_its_children_and_parent_and_child_count_together(
    open_world: Open, script: Script
) -> None:
    order = script.order("KIT-TEA")
    kit, mug = order.lines[0], order.lines[0].children[0]
    caller = LinnworksCaller(open_world(script.world(7)))
    caller.restock(order, kit)

    assert caller.level("MUG-BLU", "HR Restock") == 2
    assert caller.level("TEA-01", "HR Restock") == 1
    assert caller.level("KIT-TEA", "HR Restock") == 0
    assert caller.book(order, mug)["Errors"] == ["OverReturning"]


@pytest.mark.parametrize(
    ("lines", "more", "error"),
    [
        (["CAP-BLK"], {"processed": None}, "OpenOrderInLinnworks"),
        (["CAP-BLK"], {"cancelled_at": day(-1)}, "The order is cancelled"),
        (["CAP-BLK"], {"received": 8, "processed": 9}, "MissingOrderInLinnworks"),
        (["VIT-C-60"], {}, "BatchInventoryId is needed for a batched item"),
        ([Line("PIN-01", unlinked=True)], {}, "The item is not linked to stock"),
    ],
)
def test_what_cannot_come_back_is_refused_with_200(
    open_world: Open, script: Script, lines: list, more: dict, error: str
) -> None:
    order = script.order(*lines, **more)
    caller = LinnworksCaller(open_world(script.world(7)))

    answer = caller.book(order, order.lines[0])

    assert (answer["RMAHeaderId"], answer["Errors"]) == (None, [error])


def test_a_request_that_is_not_wrapped_is_not_understood(
    caller: LinnworksCaller, order: Order
) -> None:
    other = {"OrderId": order.id}
    caller.book(order, order.lines[0])
    path = "/api/ReturnsRefunds/GetRMAHeadersByOrderId"

    bare = caller.send("POST", path, json={"OrderId": "0" * 8 + order.id[8:]}).json()
    booking = caller.send("POST", "/api/ReturnsRefunds/CreateRMABooking", json=other).json()

    assert len(bare["RMAHeaders"]) == 1  # the filter was ignored: a stranger comes back
    assert booking["Errors"] == ["MissingOrderInLinnworks"]


@pytest.mark.parametrize(
    "change",
    [
        {"Surprise": 1},
        {"OrderId": "no uuid"},
        {"ReturnItems": {}},
        {"ReturnItems": [{"ReturnQuantity": "1"}]},
        {"ReturnItems": [{"Quantity": 1}]},
    ],
)
def test_a_request_of_wrong_names_or_types_is_400(
    caller: LinnworksCaller, order: Order, change: dict
) -> None:
    request = {"OrderId": order.id, "ReturnItems": [], **change}
    if isinstance(request["ReturnItems"], list):
        for item in request["ReturnItems"]:
            item.setdefault("OrderItemRowId", order.lines[0].row_id)

    answer = caller.send("POST", "/api/ReturnsRefunds/CreateRMABooking", json={"request": request})

    assert answer.status_code == 400


def test_one_bad_line_books_nothing(caller: LinnworksCaller, order: Order) -> None:
    good, bad = order.lines
    caller.restock(order, bad)

    answer = caller.book(order, good, bad)

    assert answer["RMAHeaderId"] is None
    headers = caller.returns("GetRMAHeadersByOrderId", OrderId=order.id)["RMAHeaders"]
    assert len(headers) == 1


def test_an_amount_on_a_booking_becomes_a_refund_of_its_own(
    caller: LinnworksCaller, order: Order
) -> None:
    header = caller.book(order, order.lines[0], refund=19.99)["RMAHeaderId"]

    refund = caller.action(order, header)["RefundHeaderId"]

    [found] = caller.returns("GetRefundHeadersByOrderId", OrderId=order.id)["RefundHeaders"]
    assert (found["RefundHeaderId"], found["Amount"]) == (refund, 19.99)


def test_a_deleted_booking_can_be_actioned_no_more(caller: LinnworksCaller, order: Order) -> None:
    header = caller.book(order, order.lines[0])["RMAHeaderId"]
    caller.returns("DeleteRMA", RMAHeaderId=header)

    assert caller.action(order, header)["SuccessfullyActioned"] is False
    assert caller.level("TEE-RED-M", "HR Restock") == 0


def test_returnable_quantities_and_options_follow_what_came_back(
    caller: LinnworksCaller, order: Order
) -> None:
    def told() -> tuple[int, str]:
        lines = caller.call("GET", "/api/ProcessedOrders/GetReturnItemsInfo", pkOrderId=order.id)
        options = caller.returns("GetReturnOptions", OrderId=order.id)["ReturnOptions"]
        return lines[0]["ReturnableQty"], options["CannotReturnReason"]

    before = told()
    caller.restock(order, order.lines[0], quantity=3)
    some = told()
    caller.restock(order, order.lines[1])

    assert [before, some, told()] == [
        (3, "None"),
        (0, "None"),
        (0, "AlreadyReturnedInLinnworks"),
    ]


def test_headers_are_found_by_reference_open_or_processed(
    caller: LinnworksCaller, order: Order
) -> None:
    caller.book(order, order.lines[0], reference="OPEN-1")
    caller.restock(order, order.lines[0], reference="DONE-1")

    def found(method: str, reference: str) -> int:
        filters = {"Type": "HEADER_REFERENCE", "Value": reference}
        return caller.returns(method, Page=1, Filters=filters)["TotalHeaders"]

    actionable, processed = "GetActionableRMAHeaders", "GetProcessedOrAckedErrorRMAHeaders"
    assert [found(actionable, one) for one in ("OPEN-1", "DONE-1", "O")] == [1, 0, 0]
    assert [found(processed, one) for one in ("OPEN-1", "DONE-1")] == [0, 1]


def test_a_return_line_is_read_with_its_order_row(caller: LinnworksCaller, order: Order) -> None:
    caller.restock(order, order.lines[1], place="HR Damaged")

    [row] = caller.call("GET", "/api/ProcessedOrders/GetReturnsExchanges", pkOrderId=order.id)

    assert (row["fkOrderItemRowId"], row["RowType"]) == (order.lines[1].row_id, "RETURN")


def test_the_search_pages_over_booked_and_actioned_lines(
    caller: LinnworksCaller, order: Order
) -> None:
    caller.book(order, order.lines[0])
    caller.restock(order, order.lines[0])

    def pages(kind: str) -> list[list[int]]:
        read = [
            caller.call("GET", SEARCH, **WINDOW, dateType=kind, numEntriesPerPage=1, pageNum=number)
            for number in (1, 2, 3)
        ]
        return [[row["pkReturnId"] for row in page["Data"]] for page in read]

    assert pages("BOOKED") == [[88_001], [88_002], []]
    assert pages("ACTIONED") == [[88_002], [], []]


def test_the_search_is_held_to_three_months_and_two_hundred_rows(
    caller: LinnworksCaller,
) -> None:
    too_long = caller.send("GET", SEARCH, **{**WINDOW, "from": "2025-12-01T00:00:00Z"})
    too_wide = caller.send("GET", SEARCH, **WINDOW, numEntriesPerPage=201)

    assert [too_long.status_code, too_wide.status_code] == [400, 400]


def test_what_is_not_settled_can_be_read_both_ways(caller: LinnworksCaller, order: Order) -> None:
    switches = caller.sandbox.linnworks.switches
    switches.update(reference_echoed=False, return_id_is_row_id=False, success_with_errors=True)

    header = caller.book(order, order.lines[0])["RMAHeaderId"]
    answer = caller.action(order, header)
    [row] = caller.call("GET", SEARCH, **WINDOW)["Data"]

    assert (answer["SuccessfullyActioned"], len(answer["Errors"])) == (True, 1)
    assert row["ReturnReference"] is None
    assert row["pkReturnId"] != answer["Items"][0]["RMARowId"]


def test_staff_edit_a_location_and_the_stock_follows(caller: LinnworksCaller, order: Order) -> None:
    header = caller.restock(order, order.lines[0], place="HR Damaged")
    action = {"action": "edit_location", "header_id": header, "location": "HR Restock"}

    done = caller.sandbox.linnworks_server.vendor.staff(action)

    assert done == {"done": "edit_location"}
    assert [caller.level("TEE-RED-M", place) for place in ("HR Damaged", "HR Restock")] == [0, 1]


def test_what_staff_are_scripted_to_do_happens_when_its_time_has_come(
    open_world: Open, script: Script
) -> None:
    order = script.order("CAP-BLK")
    lines = [{"row_id": order.lines[0].row_id, "quantity": 1, "location": "HR Restock"}]
    script.staff_does(2, "edit_location", order_reference=order.reference, location="HR Refurb")
    script.staff_does(3, "book_rma", order_reference=order.reference, lines=lines, action_too=True)
    sandbox = open_world(script.world(7), at=2.5)
    caller = LinnworksCaller(sandbox)
    levels = []
    for at in (2.5, 3.5):  # the edit waits until there is something to edit
        sandbox.clock.set(day(at))
        levels.append([caller.level("CAP-BLK", p) for p in ("HR Restock", "HR Refurb")])

    assert levels == [[0, 0], [0, 1]]
