"""The seeded week: deterministic, realistic enough, with every case and a tail."""

import subprocess
import sys
from collections import Counter
from datetime import timedelta

import pytest

from returns_pipeline.sandbox import cases
from returns_pipeline.sandbox.happy_returns import freight_item, item
from returns_pipeline.sandbox.model import World
from returns_pipeline.sandbox.world import week
from returns_pipeline_tests.sandbox.calling import HappyReturnsCaller, LinnworksCaller
from returns_pipeline_tests.sandbox.conftest import STARTS, Open, day


@pytest.fixture(scope="module")
def world() -> World:
    return week(starts_at=STARTS)


def test_the_same_seed_is_the_same_world(world: World) -> None:
    assert week(starts_at=STARTS) == world


def test_another_process_tells_the_same_world(world: World) -> None:
    code = (
        "from datetime import datetime\n"
        "from returns_pipeline.sandbox.world import week\n"
        f"w = week(starts_at=datetime.fromisoformat({STARTS.isoformat()!r}))\n"
        "print(w.units[-1].item_id, w.orders[-1].id, w.shipments[-1].id)"
    )

    told = subprocess.run(  # noqa: S603 (our own words)
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    mine = f"{world.units[-1].item_id} {world.orders[-1].id} {world.shipments[-1].id}"
    assert told.stdout.strip() == mine


def test_another_seed_is_another_world(world: World) -> None:
    assert week(8, starts_at=STARTS).units[-1] != world.units[-1]


def test_another_start_moves_the_whole_life(world: World) -> None:
    later = week(starts_at=STARTS + timedelta(days=5))

    assert [unit.item_id for unit in later.units] == [unit.item_id for unit in world.units]
    assert later.units[-1].started_at - world.units[-1].started_at == timedelta(days=5)


def test_every_case_is_told_in_the_week_as_it_is_alone(world: World) -> None:
    for name in cases.NAMES:
        alone = cases.build(name, STARTS)
        assert world.cases[name] == alone.cases[name]
        for item_id in alone.cases[name]:
            assert world.expected[item_id] == alone.expected[item_id]


def test_identifiers_are_unique(world: World) -> None:
    rows = [n.row_id for o in world.orders for line in o.lines for n in (line, *line.children)]

    for ids in (
        [order.id for order in world.orders],
        [order.num_id for order in world.orders],
        [unit.item_id for unit in world.units],
        rows,
    ):
        assert len(ids) == len(set(ids))


def test_every_unit_has_its_truth_and_every_departure_its_shipment(world: World) -> None:
    carried = Counter(item_id for shipment in world.shipments for item_id in shipment.item_ids)

    assert set(world.expected) == {unit.item_id for unit in world.units}
    assert carried == Counter(unit.item_id for unit in world.units if unit.departed_at is not None)


def test_the_merchants_life_is_mixed(world: World) -> None:
    ordinary = [unit for unit in world.units if unit.item_id in world.cases["ordinary"]]

    assert {order.currency for order in world.orders} == {"GBP", "EUR"}
    assert {unit.dropoff_method for unit in ordinary} >= {"return-bar", "mail", "in-store"}
    assert {unit.refund_type for unit in ordinary} == {"refund", "store-credit", "exchange"}
    assert {line.tax_rate for order in world.orders for line in order.lines} == {0, 20}
    assert any(line.discount for order in world.orders for line in order.lines)
    assert any(line.children for order in world.orders for line in order.lines)
    back = [unit for unit in ordinary if unit.received_at is not None]
    saleable = [unit for unit in back if unit.disposition in {"saleable", "back_to_stock"}]
    assert 0.6 < len(saleable) / len(back) < 0.9


def test_something_new_happens_every_day_of_the_week_and_of_the_tail(world: World) -> None:
    received = {(unit.received_at - STARTS).days for unit in world.units if unit.received_at}
    ordered = {(order.received_at - STARTS).days for order in world.orders}

    assert set(range(20)) <= received
    assert set(range(-28, 21)) <= ordered
    assert world.ends_at == day(21)


def test_size_and_tail_are_the_callers() -> None:
    small = week(starts_at=STARTS, days=2, orders_a_day=3, tail_days=1)

    ordinary = [order for order in small.orders if order.num_id >= 110_000]
    assert len(ordinary) == 3 * (28 + 3)
    assert small.ends_at == day(3)


def test_expected_money_stays_below_the_ceilings_of_linnworks(world: World) -> None:
    refunds: Counter[str] = Counter()
    for told in world.expected.values():
        refunds[told.order_reference] += told.refund_minor or 0
    paid = {
        order.reference: sum((line.line_total for line in order.lines), order.postage_cost)
        for order in world.orders
    }

    assert all(cash <= paid[reference] * 100 for reference, cash in refunds.items() if cash)


def test_at_any_time_every_payload_can_be_told(world: World) -> None:
    for at in (-20, 0, 3.3, 7, 21):
        now = day(at)
        for unit in world.units:
            if unit.started_at <= now:
                assert item(unit, now)["status"]
            if unit.departed_at is not None and unit.departed_at <= now:
                assert freight_item(unit, now, "modern-retailer")


@pytest.mark.slow
def test_the_vendors_together_tell_of_every_unit_that_was_started(
    world: World, open_world: Open
) -> None:
    sandbox = open_world(world)
    linnworks, happy_returns = LinnworksCaller(sandbox), HappyReturnsCaller(sandbox)
    orders = linnworks.feed(entriesPerPage=200, includeProcessed=True)
    numbers = {one["GeneralInfo"]["ReferenceNum"] for one in orders}
    told = {
        one["happyReturnsItemID"]
        for number in numbers
        for one in happy_returns.items(orderNumber=number)
        if "happyReturnsItemID" in one
    }
    for shipment in happy_returns.shipments(startDateTime=day(-60).isoformat()):
        told |= {one.get("happyReturnsItemID") for one in happy_returns.contents(shipment["id"])}

    bare = set(world.cases["item_id_absent"])
    assert told - {None} == {u.item_id for u in world.units if u.started_at <= day(7)} - bare
