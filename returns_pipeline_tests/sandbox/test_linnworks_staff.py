"""What people do in Linnworks beside the program, and that it shows in what is read."""

import pytest

from returns_pipeline.sandbox.model import Order
from returns_pipeline.sandbox.script import Line, Script
from returns_pipeline_tests.sandbox.calling import LinnworksCaller
from returns_pipeline_tests.sandbox.conftest import Open


@pytest.fixture
def order(script: Script) -> Order:
    return script.order(Line("CAP-BLK", quantity=2), processed=None)


@pytest.fixture
def caller(open_world: Open, script: Script, order: Order) -> LinnworksCaller:
    return LinnworksCaller(open_world(script.world(7)))


def _does(caller: LinnworksCaller, action: str, **more: object) -> dict:
    return caller.sandbox.linnworks_server.vendor.staff({"action": action, **more})


def test_they_process_an_order_and_it_can_come_back(caller: LinnworksCaller, order: Order) -> None:
    before = caller.book(order, order.lines[0])["Errors"]
    _does(caller, "process_order", order_reference=order.reference)

    assert before == ["OpenOrderInLinnworks"]
    assert caller.book(order, order.lines[0])["RMAHeaderId"]


def test_they_accept_a_booking(caller: LinnworksCaller, order: Order) -> None:
    _does(caller, "process_order", order_reference=order.reference)
    header = caller.book(order, order.lines[0])["RMAHeaderId"]

    _does(caller, "action_rma", header_id=header)

    assert caller.level("CAP-BLK", "HR Restock") == 1
    assert caller.action(order, header)["SuccessfullyActioned"] is False


def test_they_refund_and_it_counts_for_the_ceiling(caller: LinnworksCaller, order: Order) -> None:
    _does(caller, "process_order", order_reference=order.reference)
    row = order.lines[0].row_id

    _does(caller, "refund", order_reference=order.reference, row_id=row, amount="28.00")

    [header] = caller.returns("GetRefundHeadersByOrderId", OrderId=order.id)["RefundHeaders"]
    assert (header["Actioned"], header["Amount"]) == (True, 28.0)
    assert caller.refund(order, order.lines[0], 0.01)["Errors"]


def test_they_move_stock_and_both_histories_say_so(caller: LinnworksCaller) -> None:
    _does(caller, "move", sku="CAP-BLK", quantity=3, **{"from": "Default", "to": "HR Refurb"})

    assert [caller.level("CAP-BLK", place) for place in ("Default", "HR Refurb")] == [97, 3]
    assert [row["ChangeQty"] for row in caller.history("CAP-BLK", "Default")] == [-3]


def test_they_rename_a_location_and_its_id_stays(caller: LinnworksCaller) -> None:
    def names() -> dict[str, str]:
        places = caller.call("GET", "/api/Inventory/GetStockLocations")
        return {place["StockLocationId"]: place["LocationName"] for place in places}

    before = names()
    _does(caller, "rename_location", **{"from": "HR Damaged", "to": "Faulty"})

    changed = {i: (before[i], name) for i, name in names().items() if name != before[i]}
    assert list(changed.values()) == [("HR Damaged", "Faulty")]


def test_what_they_change_is_changed_for_this_account_alone(
    open_world: Open, script: Script, order: Order
) -> None:
    world = script.world(7)
    first, second = LinnworksCaller(open_world(world)), LinnworksCaller(open_world(world))

    _does(first, "process_order", order_reference=order.reference)
    _does(first, "rename_location", **{"from": "HR Damaged", "to": "Faulty"})

    assert second.book(order, order.lines[0])["Errors"] == ["OpenOrderInLinnworks"]
    assert "Faulty" not in {place.name for place in second.sandbox.world.locations}


@pytest.mark.parametrize(
    "action",
    [
        {"action": "dance"},
        {"action": "process_order", "order_reference": "#0"},
        {"action": "action_rma", "header_id": 1},
        {"action": "rename_location", "from": "Nowhere", "to": "Somewhere"},
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    caller: LinnworksCaller, action: dict
) -> None:
    before = caller.sandbox.linnworks.books()

    assert "error" in caller.sandbox.linnworks_server.vendor.staff(action)
    assert caller.sandbox.linnworks.books() == before


@pytest.mark.parametrize(("made", "at_once"), [("at_booking", 1), ("at_action", 0)])
def test_they_exchange_and_the_order_is_made_at_booking_or_at_action(
    caller: LinnworksCaller, order: Order, made: str, at_once: int
) -> None:
    caller.sandbox.linnworks.switches["exchange_order_made"] = made
    _does(caller, "process_order", order_reference=order.reference)
    line = {"row_id": order.lines[0].row_id, "quantity": 1, "location": "HR Restock"}
    lines = [{**line, "exchange_sku": "SOCK-3"}]

    def told() -> tuple[list, list]:
        [header] = caller.returns("GetRMAHeadersByOrderId", OrderId=order.id)["RMAHeaders"]
        [row] = header["RMALines"]
        assert (row["Type"], row["ExchangeSKU"], row["ExchangeQuantity"]) == (
            "Exchange",
            "SOCK-3",
            1,
        )
        path = "/api/ProcessedOrders/GetProcessedRelatives"
        relatives = caller.call("GET", path, pkOrderId=order.id)
        made = [one["ChildOrderPkOrderId"] for one in relatives]
        assert made == ([row["NewOrderId"]] if row["NewOrderId"] else [])
        return made, caller.sandbox.linnworks.books()["orders_made"]

    booked = _does(caller, "book_rma", order_reference=order.reference, lines=lines)
    assert [len(one) for one in told()] == [at_once, at_once]
    assert caller.level("CAP-BLK", "HR Restock") == 0
    _does(caller, "action_rma", header_id=booked["header_id"])

    assert [len(one) for one in told()] == [1, 1]
    [replacement] = told()[1]
    assert (replacement["related_to"], replacement["lines"]) == (
        order.reference,
        [["SOCK-3", 1, "0"]],
    )
    assert caller.level("CAP-BLK", "HR Restock") == 1
