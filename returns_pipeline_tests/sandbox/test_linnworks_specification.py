"""What the sandbox's Linnworks is asked and answers, held to the official OpenAPI files."""

import pytest

from returns_pipeline.sandbox.linnworks.service import ROUTES
from returns_pipeline.sandbox.script import Script
from returns_pipeline_tests.sandbox import openapi
from returns_pipeline_tests.sandbox.calling import HISTORIC, LinnworksCaller
from returns_pipeline_tests.sandbox.conftest import Open


@pytest.fixture(autouse=True)
def _contracts() -> None:
    openapi.needed()


def _tour(caller: LinnworksCaller) -> None:
    """Call every route with something to tell."""
    sandbox = caller.sandbox
    order, kit = sandbox.world.orders[:2]
    line = order.lines[0]
    booked = caller.book(order, line)["RMAHeaderId"]
    caller.returns("GetActionableRMAHeaders", Page=1)
    caller.returns("GetReturnOptions", OrderId=order.id)
    caller.action(order, booked)
    caller.returns("DeleteRMA", RMAHeaderId=caller.book(order, line)["RMAHeaderId"])
    caller.restock(kit, kit.lines[0])
    caller.book(order, line, quantity=50)
    caller.returns("GetRMAHeadersByOrderId", OrderId=order.id)
    filters = {"Type": "HEADER_REFERENCE", "Value": "REF-1"}
    caller.returns("GetProcessedOrAckedErrorRMAHeaders", Page=1, Filters=filters)
    made = caller.refund(order, line, 5, ReturnRowId=88_001, ReasonCategory="Wrong size")
    caller.returns("ActionRefund", RefundHeaderId=made["RefundHeaderId"], OrderId=order.id)
    caller.returns("ActionRefund", RefundHeaderId=made["RefundHeaderId"], OrderId=order.id)
    caller.refund(order, line, 5000)
    draft = caller.refund(order, None, 1.5)
    caller.returns("GetRefundHeadersByOrderId", OrderId=order.id)
    caller.returns("DeleteRefund", RefundHeaderId=draft["RefundHeaderId"])
    for history in ("RETURNS", "REFUNDS"):
        caller.call(
            "GET",
            "/api/ReturnsRefunds/SearchReturnsRefundsPaged",
            **{"from": "2026-02-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"},
            dateType="ALLDATES",
            pageNum=1,
            numEntriesPerPage=200,
            historyType=history,
        )
    for method in (
        "GetReturnItemsInfo",
        "GetReturnsExchanges",
        "GetTotalRefunds",
        "GetProcessedRelatives",
    ):
        for known in (order, kit):
            caller.call("GET", f"/api/ProcessedOrders/{method}", pkOrderId=known.id)
    note = {"pkOrderID": order.id, "noteText": "exchanged", "isInternal": True}
    caller.call("POST", "/api/ProcessedOrders/AddOrderNote", json=note)
    caller.call("GET", "/api/ProcessedOrders/GetReturnCategories")
    caller.call("GET", "/api/Inventory/GetStockLocations")
    skus = {"request": {"SKUS": [line.sku, "NO-SUCH"]}}
    caller.call("POST", "/api/Inventory/GetStockItemIdsBySKU", json=skus)
    assert caller.level(line.sku, "HR Restock") == 1
    assert caller.history(line.sku, "HR Restock")
    place = sandbox.linnworks.location_id("HR Restock")
    change = [{"SKU": line.sku, "LocationId": place, "Level": -1}]
    document = {"stockLevels": change, "changeSource": "HRM-1"}
    caller.call("POST", "/api/Stock/UpdateStockLevelsBySKU", json=document)
    caller.call("GET", "/api/Orders/GetOrderDetailsByReferenceId", ReferenceId=order.reference)
    caller.call("POST", "/api/Orders/GetOrdersById", json={"pkOrderIds": [order.id, kit.id]})
    caller.call("POST", "/api/Orders/CreateOrders", json=exchange_order(order.reference))
    caller.call("GET", "/api/ProcessedOrders/GetProcessedRelatives", pkOrderId=order.id)
    caller.call("GET", "/v2/orders", fromDate=HISTORIC, entriesPerPage=1, includeProcessed=True)


def exchange_order(original: str) -> dict:
    return {
        "orders": [
            {
                "Source": "HAPPYRETURNS",
                "SubSource": "modern-retailer",
                "ReferenceNumber": "RETURN-EX1",
                "PaymentStatus": "Paid",
                "Currency": "GBP",
                "AutomaticallyLinkBySKU": True,
                "OrderItems": [
                    {"ItemNumber": "1", "ChannelSKU": "CAP-BLK", "Qty": 1, "PricePerUnit": 0}
                ],
                "Relations": [{"ReferenceId": original}],
                "ExtendedProperties": [{"Name": "n", "Value": "v", "Type": "Order"}],
                "Notes": [{"Note": "a note", "Internal": True}],
            }
        ],
        "location": "Default",
    }


def test_every_route_is_asked_and_answers_as_specified(open_world: Open, script: Script) -> None:
    script.order("TEE-RED-M", "CAP-BLK", postage="3.95")
    script.order("KIT-TEA")
    script.order("CAP-BLK", processed=None)
    caller = LinnworksCaller(open_world(script.world(7)), specified=True)

    _tour(caller)

    assert caller.asked == set(ROUTES)


def test_the_feed_names_open_and_processed_orders_as_specified(
    open_world: Open, script: Script
) -> None:
    script.order("KIT-TEA")
    script.order("CAP-BLK", processed=None)
    caller = LinnworksCaller(open_world(script.world(7)), specified=True)

    page = caller.call("GET", "/v2/orders", fromDate=HISTORIC, includeProcessed=True)

    assert [len(page["OpenOrders"]), len(page["ProcessedOrders"])] == [1, 1]


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("rma_create_return", "CreateRMABooking"),
        ("rma_action", "ActionRMABooking"),
        ("refund_create", "CreateRefund"),
        ("refund_action", "ActionRefund"),
        ("orders_create_exchange", "CreateOrders"),
        ("v2_orders_page", "orders"),
    ],
)
def test_the_names_in_the_published_examples_are_understood(
    open_case: Open, name: str, method: str
) -> None:
    import json

    text = (openapi.CONTRACTS / f"linnworks/examples/{name}.json").read_text()
    example = json.loads(text)["request"]
    caller = LinnworksCaller(open_case("received_saleable"))

    answer = caller.send(
        example["method"], example["path"], json=example["json"], **(example["query"] or {})
    )

    assert answer.status_code == 200, answer.text
    assert caller.sandbox.linnworks_server.vendor.calls[method] == 1
