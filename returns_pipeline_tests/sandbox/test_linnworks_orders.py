"""Linnworks' orders in the sandbox: the feed, look-ups, creation, what time does to them."""

import pytest

from returns_pipeline.sandbox.script import Line, Script
from returns_pipeline_tests.sandbox.calling import HISTORIC, LinnworksCaller
from returns_pipeline_tests.sandbox.conftest import Open, day
from returns_pipeline_tests.sandbox.test_linnworks_specification import exchange_order

BY_REFERENCE = "/api/Orders/GetOrderDetailsByReferenceId"


def test_the_feed_gives_every_order_once_the_longest_unchanged_first(
    open_world: Open, script: Script
) -> None:
    orders = [script.order("CAP-BLK", processed=-n) for n in range(25)]
    caller = LinnworksCaller(open_world(script.world(7)))

    found = caller.feed(entriesPerPage=4, includeProcessed=True)

    assert [one["OrderId"] for one in found] == [order.id for order in reversed(orders)]


def test_the_feed_gives_what_changed_since_an_instant(open_world: Open, script: Script) -> None:
    script.order("CAP-BLK", processed=-10)
    late = script.order("CAP-BLK", processed=-2)
    edited = script.order("CAP-BLK", processed=-9, touched_at=day(-1))
    caller = LinnworksCaller(open_world(script.world(7)))

    found = caller.feed(fromDate=day(-2).isoformat(), includeProcessed=True)

    assert [one["OrderId"] for one in found] == [late.id, edited.id]


def test_the_feed_leaves_processed_orders_out_unless_asked(
    open_world: Open, script: Script
) -> None:
    script.order("CAP-BLK")
    still_open = script.order("CAP-BLK", processed=None)
    caller = LinnworksCaller(open_world(script.world(7)))

    assert [one["OrderId"] for one in caller.feed()] == [still_open.id]


def test_an_order_appears_is_processed_and_cancelled_as_the_clock_goes_on(
    open_world: Open, script: Script
) -> None:
    script.order("CAP-BLK", received=0, processed=2, cancelled_at=day(4))
    sandbox = open_world(script.world(7), at=-1)
    caller = LinnworksCaller(sandbox)
    told = []
    for at in (-1, 1, 3, 5):
        sandbox.clock.set(day(at))
        found = caller.feed(includeProcessed=True)
        told.append(
            (found[0]["Processed"], found[0]["GeneralInfo"].get("IsCancelled")) if found else None
        )

    assert told == [None, (False, None), (True, False), (True, True)]


def test_an_order_cancelled_before_despatch_stands_among_the_processed(
    open_world: Open, script: Script
) -> None:
    order = script.order("CAP-BLK", processed=None, cancelled_at=day(1))
    caller = LinnworksCaller(open_world(script.world(7)))

    page = caller.call("GET", "/v2/orders", fromDate=HISTORIC, includeProcessed=True)
    [found] = caller.call("GET", BY_REFERENCE, ReferenceId=order.reference)

    assert [one["GeneralInfo"]["IsCancelled"] for one in page["ProcessedOrders"]] == [True]
    assert (page["OpenOrders"], caller.feed()) == ([], [])
    assert (found["Processed"], found["GeneralInfo"]["HoldOrCancel"]) == (True, True)


def test_a_search_token_holds_on_to_what_was_found(open_world: Open, script: Script) -> None:
    orders = [script.order("CAP-BLK", processed=-n) for n in range(1, 7)]
    sandbox = open_world(script.world(7))
    caller = LinnworksCaller(sandbox)
    query = {"fromDate": HISTORIC, "includeProcessed": True, "entriesPerPage": 3}
    first = caller.call("GET", "/v2/orders", **query)

    sandbox.linnworks_server.vendor.staff(
        {"action": "touch_order", "order_reference": orders[-1].reference}
    )
    second = caller.call("GET", "/v2/orders", searchToken=first["NextSearchToken"])

    pages = first["ProcessedOrders"] + second["ProcessedOrders"]
    assert {one["OrderId"] for one in pages} == {order.id for order in orders}
    assert second["NextSearchToken"] is None


def test_ids_override_every_other_parameter(open_world: Open, script: Script) -> None:
    order = script.order("CAP-BLK")
    script.order("CAP-BLK")
    caller = LinnworksCaller(open_world(script.world(7)))

    page = caller.call("GET", "/v2/orders", id=order.id, fromDate=day(6).isoformat())

    assert [one["OrderId"] for one in page["ProcessedOrders"]] == [order.id]


@pytest.mark.parametrize("query", [{"entriesPerPage": 201}, {"searchToken": "gone"}])
def test_the_feed_refuses_with_a_problem_document(open_case: Open, query: dict) -> None:
    answer = LinnworksCaller(open_case("received_saleable")).send("GET", "/v2/orders", **query)

    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_an_order_is_found_by_either_reference(open_world: Open, script: Script) -> None:
    order = script.order("CAP-BLK")
    caller = LinnworksCaller(open_world(script.world(7)))

    for reference in (order.reference, order.secondary_reference):
        [found] = caller.call("GET", BY_REFERENCE, ReferenceId=reference)
        assert found["OrderId"] == order.id
    assert caller.call("GET", BY_REFERENCE, ReferenceId="#0") == []


def test_a_look_up_without_its_filter_answers_with_strangers(
    open_world: Open, script: Script
) -> None:
    for _ in range(60):
        script.order("CAP-BLK")
    caller = LinnworksCaller(open_world(script.world(7)))

    assert len(caller.call("GET", BY_REFERENCE)) == 50


def test_a_line_says_what_was_paid_and_its_net(open_world: Open, script: Script) -> None:
    order = script.order(Line("DRESS-GRN-S", quantity=2, discount="10"))
    caller = LinnworksCaller(open_world(script.world(7)))

    [found] = caller.call("GET", BY_REFERENCE, ReferenceId=order.reference)
    [item] = found["Items"]

    assert (item["CostIncTax"], item["Cost"], item["TaxRate"]) == (107.95, 89.96, 20.0)
    assert item["OrderId"] == order.id


def test_a_bundle_shows_its_children_with_rows_of_their_own(
    open_world: Open, script: Script
) -> None:
    order = script.order(Line("KIT-TEA", quantity=2))
    caller = LinnworksCaller(open_world(script.world(7)))

    [found] = caller.feed(includeProcessed=True)
    [kit] = found["Items"]

    children = [(c["SKU"], c["Quantity"], c["ParentItemId"]) for c in kit["CompositeSubItems"]]
    assert children == [("MUG-BLU", 4, kit["RowId"]), ("TEA-01", 2, kit["RowId"])]
    assert kit["RowId"] == order.lines[0].row_id


def test_an_order_is_created_once_for_source_and_reference(open_case: Open) -> None:
    sandbox = open_case("received_saleable")
    caller = LinnworksCaller(sandbox)

    [made] = caller.call("POST", "/api/Orders/CreateOrders", json=exchange_order("#1"))
    again = caller.call("POST", "/api/Orders/CreateOrders", json=exchange_order("#1"))
    sandbox.linnworks.switches["create_orders_repeat"] = "same_id"
    same = caller.call("POST", "/api/Orders/CreateOrders", json=exchange_order("#1"))

    assert (again, same) == ([], [made])
    assert len(sandbox.linnworks.books()["orders_made"]) == 1


def test_a_created_order_is_open_and_related_to_its_original(
    open_world: Open, script: Script
) -> None:
    original = script.order("CAP-BLK")
    caller = LinnworksCaller(open_world(script.world(7)))

    [made] = caller.call(
        "POST", "/api/Orders/CreateOrders", json=exchange_order(original.reference)
    )
    [relation] = caller.call(
        "GET", "/api/ProcessedOrders/GetProcessedRelatives", pkOrderId=original.id
    )

    assert relation["ChildOrderPkOrderId"] == made
    assert [one["OrderId"] for one in caller.feed()] == [made]


@pytest.mark.parametrize(
    "change",
    [
        {"location": "Nowhere"},
        {"orders": []},
        {"orders": exchange_order("#1")["orders"] * 21},
        {"orders": [{**exchange_order("#1")["orders"][0], "ReferenceNumber": ""}]},
        {"orders": [{**exchange_order("#1")["orders"][0], "Surprise": 1}]},
        {
            "orders": [
                {
                    **exchange_order("#1")["orders"][0],
                    "OrderItems": exchange_order("#1")["orders"][0]["OrderItems"] * 2,
                }
            ]
        },
    ],
    ids=["location", "none", "twenty-one", "no reference", "unknown name", "item number twice"],
)
def test_a_creation_that_is_not_as_specified_is_refused_whole(
    open_case: Open, change: dict
) -> None:
    sandbox = open_case("received_saleable")
    caller = LinnworksCaller(sandbox)

    answer = caller.send(
        "POST", "/api/Orders/CreateOrders", json={**exchange_order("#1"), **change}
    )

    assert answer.status_code == 400
    assert answer.json()["Code"] is None
    assert sandbox.linnworks.books()["orders_made"] == []


def test_a_note_stands_on_its_order(open_world: Open, script: Script) -> None:
    order = script.order("CAP-BLK")
    caller = LinnworksCaller(open_world(script.world(7)))

    note = {"pkOrderID": order.id, "noteText": "came back", "isInternal": True}
    caller.call("POST", "/api/ProcessedOrders/AddOrderNote", json=note)
    [found] = caller.call("GET", BY_REFERENCE, ReferenceId=order.reference)

    assert [one["Note"] for one in found["Notes"]] == ["came back"]
