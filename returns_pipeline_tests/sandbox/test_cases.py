"""The cases: every row of the specification told, and every telling consistent."""

import tomllib
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from returns_pipeline.sandbox import cases, catalogue
from returns_pipeline.sandbox.model import DEFAULT_LOCATION, World
from returns_pipeline_tests.sandbox.conftest import STARTS, day

_SHARED = Path(__file__).resolve().parents[3] / "shared" / "spec"


@pytest.fixture(params=cases.NAMES)
def world(request: pytest.FixtureRequest) -> World:
    return cases.build(request.param, STARTS)


def _spec(name: str) -> str:
    path = _SHARED / name
    if not path.is_file():
        pytest.skip(f"the specification (../shared/spec/{name}) is not beside this checkout")
    return path.read_text()


def test_every_row_of_the_specification_has_a_case() -> None:
    rows = [line.split("|")[1].strip() for line in _spec("CASES.md").splitlines() if "|" in line]

    assert list(cases.ROWS) == [row for row in rows if row not in {"Case", "---"}]
    assert {name for names in cases.ROWS.values() for name in names} <= set(cases.NAMES)


def test_every_seed_case_of_the_main_job_is_told() -> None:
    assert {name for names in cases.SEED_CASES.values() for name in names} <= set(cases.NAMES)


def test_expected_exceptions_are_in_the_catalogue() -> None:
    known = set(_spec("EXCEPTIONS.md").replace("|", " ").split())
    known |= set(_spec("CASES.md").replace("`", " ").split())
    known.add("SKU_UNLINKED")  # written short there: SKU_UNKNOWN / UNLINKED
    worlds = [cases.build(name, STARTS) for name in cases.NAMES]
    codes = {code for w in worlds for told in w.expected.values() for code in told.exceptions}

    assert codes <= known


def test_every_canonical_disposition_of_the_policy_is_found_by_some_unit() -> None:
    path = Path(__file__).resolve().parents[2] / "returns_pipeline" / "policy.toml"
    policy = tomllib.loads(path.read_text())

    def plain(code: str) -> str:
        return code.lower().translate(str.maketrans("", "", " -_"))

    canonical = {plain(code): name for code, name in policy["dispositions"].items()}
    told = {
        canonical.get(plain(unit.disposition))
        for name in cases.NAMES
        for unit in cases.build(name, STARTS).units
    }

    assert set(policy["locations"]) - told <= {"KEEP_ITEM"}  # it is never inspected
    assert {place["location"] for place in policy["locations"].values()} - {""} <= set(
        catalogue.LOCATION_NAMES
    )


def test_every_unit_of_a_case_has_its_truth(world: World) -> None:
    assert world.units
    assert set(world.expected) == {unit.item_id for unit in world.units}
    assert [list(world.expected)] == list(world.cases.values())


def test_a_case_is_over_a_week_after_its_start(world: World) -> None:
    assert all(told.holds_from <= day(7) for told in world.expected.values())


def test_a_life_goes_forward_in_time(world: World) -> None:
    for unit in world.units:
        lived = [unit.started_at, unit.dropped_off_at, unit.departed_at, unit.received_at]
        reached = [at for at in (*lived, unit.inspected_at) if at is not None]
        assert reached == sorted(reached)
        assert unit.purchased_at <= unit.started_at


def test_expected_rows_and_locations_exist(world: World) -> None:
    orders = {order.reference: order for order in world.orders}
    names = {place.name for place in world.locations}
    for told in world.expected.values():
        if told.order_reference:
            order = orders[told.order_reference]
            rows = [n.row_id for line in order.lines for n in (line, *line.children)]
            assert told.row_id in {*rows, ""}
        for sku, (place, count) in (told.stock or {}).items():
            assert (sku in world.stock_items, place in names, count > 0) == (True, True, True)


def test_expected_money_never_exceeds_what_an_order_was_paid(world: World) -> None:
    refunds: Counter[str] = Counter()
    for told in world.expected.values():
        refunds[told.order_reference] += told.refund_minor or 0
    for order in world.orders:
        paid = sum((line.line_total for line in order.lines), order.postage_cost)
        assert 0 <= refunds[order.reference] <= paid * 100


def test_nothing_is_expected_in_stock_of_what_was_not_received(world: World) -> None:
    for unit in world.units:
        told = world.expected[unit.item_id]
        assert not told.stock or unit.received_at is not None
        assert DEFAULT_LOCATION not in {place for place, _count in (told.stock or {}).values()}


def test_money_before_receipt_is_expected_of_returnless_units_and_staff_only(
    world: World,
) -> None:
    by_staff = {one.action.get("row_id") for one in world.staff if one.action["action"] == "refund"}
    for unit in world.units:
        told = world.expected[unit.item_id]
        early = bool(told.refund_minor) and unit.received_at is None
        assert not early or unit.returnless or told.row_id in by_staff


def test_the_same_case_is_the_same_world() -> None:
    for name in cases.NAMES:
        assert cases.build(name, STARTS) == cases.build(name, STARTS)


def test_an_unknown_case_is_refused() -> None:
    with pytest.raises(KeyError, match="no_such_case"):
        cases.build("no_such_case", STARTS)


def test_three_conditions_of_one_sku_land_in_three_places() -> None:
    world = cases.build("three_conditions_one_sku", STARTS)

    places = [told.stock for told in world.expected.values()]
    sku = world.units[0].sku
    assert places == [{sku: (place, 1)} for place in ("HR Damaged", "HR Quarantine", "HR Restock")]


def test_shares_of_a_line_add_up_to_what_was_paid() -> None:
    world = cases.build("cumulative_rounding", STARTS)

    refunds = [told.refund_minor for told in world.expected.values()]
    assert refunds == [667, 666, 667]
    assert world.orders[0].lines[0].line_total == Decimal("20.00")


def test_a_fee_is_kept_once_for_its_return() -> None:
    world = cases.build("fee_once_for_two_units", STARTS)

    assert sum(told.refund_minor or 0 for told in world.expected.values()) == 2 * 2400 - 500
