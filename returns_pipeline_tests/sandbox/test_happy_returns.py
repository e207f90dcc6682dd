"""Happy Returns in the sandbox: look-ups, shipments, limits, and what an item shows when."""

import json
from decimal import Decimal

import pytest

from returns_pipeline.sandbox import cases, happy_returns
from returns_pipeline.sandbox.script import Line, Script
from returns_pipeline_tests.sandbox import openapi
from returns_pipeline_tests.sandbox.calling import HappyReturnsCaller
from returns_pipeline_tests.sandbox.conftest import STARTS, Open, day


def _example(name: str) -> dict:
    openapi.needed()
    text = (openapi.CONTRACTS / f"happy_returns/examples/{name}").read_text()
    return json.loads(text)


# --- look-ups ---------------------------------------------------------------------


def test_a_return_is_found_by_each_of_its_three_keys(open_case: Open) -> None:
    sandbox = open_case("received_saleable")
    [unit] = sandbox.world.units
    caller = HappyReturnsCaller(sandbox)

    found = [
        caller.items(orderNumber=unit.order_number),
        caller.items(email=unit.shopper_email),
        caller.items(happyReturnsExpressCode=unit.express_code),
    ]

    assert [[one["happyReturnsItemID"] for one in items] for items in found] == [[unit.item_id]] * 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"orderNumber": "#2020", "email": "someone@shopper.example"}, 400),
        ({}, 400),
        ({"orderNumber": "#2020", "surprise": 1}, 400),
        ({"orderNumber": "#2020", "happyReturnsRetailerID": ""}, 400),
        ({"orderNumber": "#2020", "cursor": "nonsense"}, 204),
        ({"orderNumber": "#77"}, 204),
        ({"orderNumber": "#77", "happyReturnsRetailerID": "another-retailer"}, 204),
    ],
)
def test_a_look_up_takes_exactly_one_key_and_answers_nothing_with_204(
    open_case: Open, body: dict, status: int
) -> None:
    answer = HappyReturnsCaller(open_case("initiated_only")).look_up(**body)

    assert answer.status_code == status
    assert (answer.content == b"") is (status == 204)


def test_the_order_number_is_taken_as_the_shop_prints_it(open_case: Open) -> None:
    sandbox = open_case("received_saleable")
    number = sandbox.world.units[0].order_number

    caller = HappyReturnsCaller(sandbox)

    assert caller.items(orderNumber=number)
    assert not caller.items(orderNumber=number.removeprefix("#"))


@pytest.mark.parametrize("last", ["absent", "empty"])
def test_a_cursor_pages_through_all_units_once(open_case: Open, last: str) -> None:
    sandbox = open_case("three_conditions_one_sku")
    sandbox.happy_returns.switches.update(return_page_size=1, last_cursor=last)
    number = sandbox.world.units[0].order_number

    items = HappyReturnsCaller(sandbox).items(orderNumber=number)

    told = [one["happyReturnsItemID"] for one in items]
    assert told == [unit.item_id for unit in sandbox.world.units]


def test_a_cursor_of_another_search_is_refused(open_case: Open) -> None:
    sandbox = open_case("three_conditions_one_sku")
    sandbox.happy_returns.switches["return_page_size"] = 1
    unit = sandbox.world.units[0]
    caller = HappyReturnsCaller(sandbox)
    cursor = caller.look_up(orderNumber=unit.order_number).json()["cursor"]

    assert caller.look_up(email=unit.shopper_email, cursor=cursor).status_code == 400


@pytest.mark.parametrize("path", ["/return", "/outbound-shipments", "/outbound-shipment/x"])
def test_a_wrong_key_is_401_everywhere(open_case: Open, path: str) -> None:
    caller = HappyReturnsCaller(open_case("received_saleable"), key="wrong")

    if path == "/return":
        assert caller.look_up(orderNumber="#1").status_code == 401
    else:
        assert caller.get(path, retailerID="modern-retailer").status_code == 401


def test_the_bucket_overflows_with_the_published_text(open_case: Open) -> None:
    caller = HappyReturnsCaller(open_case("received_saleable", limits=True))

    answers = [caller.look_up(orderNumber="#77") for _ in range(happy_returns.BUCKET + 1)]

    assert [one.status_code for one in answers] == [204] * happy_returns.BUCKET + [429]
    assert answers[-1].content.decode() == (
        "{ ErrorMessage: \u201ctoo many requests: "
        "limit 0.500000 requests/sec, leaky bucket size 4\u201d }"
    )
    with pytest.raises(ValueError, match="Expecting"):
        answers[-1].json()


def test_the_bucket_text_is_the_contracts(open_case: Open) -> None:
    openapi.needed()
    printed = (openapi.CONTRACTS / "happy_returns/examples/error.429.as_printed.txt").read_text()
    caller = HappyReturnsCaller(open_case("received_saleable", limits=True))
    for _ in range(happy_returns.BUCKET):
        caller.look_up(orderNumber="#77")

    assert caller.look_up(orderNumber="#77").content.decode() == printed.strip()


def test_the_bucket_does_not_slow_the_shipments(open_case: Open) -> None:
    caller = HappyReturnsCaller(open_case("received_saleable", limits=True))

    assert all(caller.shipments() == [] for _ in range(8))


# --- shipments --------------------------------------------------------------------


def test_a_window_holds_what_departed_in_it_and_by_default_the_last_day(
    open_case: Open,
) -> None:
    sandbox = open_case("received_saleable", at=3)  # departed on day 2.5
    caller = HappyReturnsCaller(sandbox)
    window = {"startDateTime": day(2).isoformat(), "endDateTime": day(3).isoformat()}

    assert len(caller.shipments()) == 1
    assert len(caller.shipments(**window)) == 1
    assert len(caller.shipments(startDateTime="2026-03-04")) == 1
    assert caller.shipments(**{**window, "startDateTime": day(2.6).isoformat()}) == []
    sandbox.clock.set(day(4))
    assert caller.shipments() == []
    sandbox.clock.set(day(2))
    assert caller.shipments(**window) == []


def test_mail_never_travels_with_a_shipment(open_case: Open) -> None:
    caller = HappyReturnsCaller(open_case("received_by_mail"))

    assert caller.shipments(startDateTime=day(-60).isoformat()) == []


@pytest.mark.parametrize("link", ["path", "url"])
def test_a_shipment_is_paged_by_its_links(open_world: Open, script: Script, link: str) -> None:
    order = script.order(Line("SOCK-3", quantity=7))
    units = [script.unit(order, order.lines[0], offset=n) for n in range(7)]
    sandbox = open_world(script.world(7))
    sandbox.happy_returns.switches["next_link"] = link
    caller = HappyReturnsCaller(sandbox)
    [shipment] = caller.shipments(startDateTime=day(0).isoformat())
    if link == "url":
        first = caller.get(f"/outbound-shipment/{shipment['id']}", **{"page[size]": 3}).json()
        assert first["links"]["next"].startswith(sandbox.happy_returns_server.url)
        return

    items = caller.contents(shipment["id"], size=3)

    assert [one["happyReturnsItemID"] for one in items] == [unit.item_id for unit in units]


@pytest.mark.parametrize(("size", "status"), [(0, 400), (1001, 400), ("x", 400), (1000, 200)])
def test_a_page_has_one_to_a_thousand_items(open_case: Open, size: object, status: int) -> None:
    caller = HappyReturnsCaller(open_case("received_saleable"))
    [shipment] = caller.shipments(startDateTime=day(0).isoformat())

    answer = caller.get(f"/outbound-shipment/{shipment['id']}", **{"page[size]": size})

    assert answer.status_code == status


def test_a_shipment_that_has_not_left_is_not_found(open_case: Open) -> None:
    sandbox = open_case("received_saleable", at=2)
    [shipment] = sandbox.world.shipments

    answer = HappyReturnsCaller(sandbox).get(f"/outbound-shipment/{shipment.id}")

    assert answer.status_code == 404


# --- what an item shows -----------------------------------------------------------


def test_an_item_shows_what_has_happened_by_now_and_nothing_else(open_case: Open) -> None:
    sandbox = open_case("received_saleable", at=-1)
    number = sandbox.world.units[0].order_number
    caller = HappyReturnsCaller(sandbox)
    told = []
    for at in (-1, 0.5, 1.5, 3, 4.05, 5):
        sandbox.clock.set(day(at))
        items = caller.items(orderNumber=number)
        told.append(
            [
                (one["status"], sorted(n for n in one if n.endswith("At")), one["disposition"])
                for one in items
            ]
        )

    always = ["purchasedAt", "startedAt", "updatedAt"]
    bar = [*always, "approvedAt", "droppedOffAt"]
    assert told == [
        [],
        [("started", always, "")],
        [("approved", sorted(bar), "")],
        [("in-transit", sorted([*bar, "departedAt"]), "")],
        [("received", sorted([*bar, "departedAt", "receivedAt"]), "")],
        [("received", sorted([*bar, "departedAt", "receivedAt"]), "saleable")],
    ]


def test_mail_is_approved_after_it_was_received(open_case: Open) -> None:
    sandbox = open_case("received_by_mail")
    [item] = HappyReturnsCaller(sandbox).items(orderNumber=sandbox.world.units[0].order_number)

    assert item["status"] == "approved"
    assert item["receivedAt"] < item["approvedAt"]


def test_an_inspection_is_a_change(open_case: Open) -> None:
    sandbox = open_case("received_saleable", at=4.05)
    caller = HappyReturnsCaller(sandbox)
    number = sandbox.world.units[0].order_number
    [before] = caller.items(orderNumber=number)
    sandbox.clock.set(day(5))
    [after] = caller.items(orderNumber=number)

    assert before["updatedAt"] < after["updatedAt"]


def test_freight_shows_dates_and_no_receipt(open_case: Open) -> None:
    sandbox = open_case("received_saleable")
    caller = HappyReturnsCaller(sandbox)
    [shipment] = caller.shipments(startDateTime=day(0).isoformat())
    [item] = caller.contents(shipment["id"])

    assert item["departureDate"] == "2026-03-04"
    assert item["startedDate"] == "2026-03-02"
    assert item["inspectionOutcome"] == "saleable"
    assert not [name for name in item if name.endswith("At")]


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("return_lookup.response.200.json", "two_of_three_one_damaged"),
        ("ASSUMED.return_lookup.response.200.page1_of_2.json", "received_by_mail"),
    ],
)
def test_an_item_has_every_name_of_the_published_examples(
    open_case: Open, name: str, case: str
) -> None:
    published = _example(name)["items"][0]
    sandbox = open_case(case)
    number = sandbox.world.units[0].order_number

    for item in HappyReturnsCaller(sandbox).items(orderNumber=number):
        assert set(published) <= set(item)
        assert all(isinstance(item[one], str) for one in published)


def test_freight_has_the_names_of_the_example(open_case: Open) -> None:
    published = _example("ASSUMED.outbound_shipment_detail.response.200.json")["data"][0]
    caller = HappyReturnsCaller(open_case("received_saleable"))
    [shipment] = caller.shipments(startDateTime=day(0).isoformat())
    [item] = caller.contents(shipment["id"])

    seldom = {"oneClickExchange", "locationMetro", "poNumber", "shippingBoxKind"}
    assert set(published) - seldom <= set(item)


def test_money_is_printed_as_decimals_and_the_fee_with_its_currency(open_case: Open) -> None:
    sandbox = open_case("fee_on_return")
    [item] = HappyReturnsCaller(sandbox).items(orderNumber=sandbox.world.units[0].order_number)

    assert (item["refundAmount"], item["returnFee"]) == ("59.97", "3.00 GBP")


def test_an_exchange_names_what_is_wanted(open_case: Open) -> None:
    sandbox = open_case("even_exchange")
    [item] = HappyReturnsCaller(sandbox).items(orderNumber=sandbox.world.units[0].order_number)

    wanted = [item[n] for n in ("exchangeSKU", "exchangeQuantity", "exchangeUnitPrice")]
    assert wanted == ["TEE-RED-L", 1, "19.99"]


def test_units_of_one_line_are_told_apart_by_the_suffix(open_case: Open) -> None:
    sandbox = open_case("cumulative_rounding")
    line = sandbox.world.orders[0].lines[0].item_number

    items = HappyReturnsCaller(sandbox).items(orderNumber=sandbox.world.orders[0].reference)

    assert [one["orderLineItemID"] for one in items] == [f"{line}-{n}-3" for n in range(3)]
    assert sum(Decimal(one["refundAmount"]) for one in items) == Decimal("20.00")


def test_a_revision_overrides_from_its_instant_on(open_case: Open) -> None:
    sandbox = open_case("out_of_order_evidence", at=4)
    caller = HappyReturnsCaller(sandbox)
    number = sandbox.world.units[0].order_number
    told = []
    for at in (4, 5, 6):
        sandbox.clock.set(day(at))
        [item] = caller.items(orderNumber=number)
        told.append((item["status"], "receivedAt" in item))

    assert told == [("received", True), ("dropped-off", False), ("received", True)]


def test_personal_data_stands_in_both_feeds_so_that_a_leak_shows(open_case: Open) -> None:
    sandbox = open_case("received_saleable")
    [unit] = sandbox.world.units
    caller = HappyReturnsCaller(sandbox)
    [shipment] = caller.shipments(startDateTime=day(0).isoformat())

    for item in (*caller.items(orderNumber=unit.order_number), *caller.contents(shipment["id"])):
        assert item["email"] == unit.shopper_email
        assert unit.shopper_name in (item["customerName"], item["comment"])


def test_a_payload_can_lack_a_name_or_hold_a_wrong_type() -> None:
    bare = cases.build("item_id_absent", STARTS).units[0]
    odd = cases.build("receipt_of_wrong_type", STARTS).units[0]

    assert "happyReturnsItemID" not in happy_returns.item(bare, day(7))
    assert isinstance(happy_returns.item(odd, day(7))["receivedAt"], int)
