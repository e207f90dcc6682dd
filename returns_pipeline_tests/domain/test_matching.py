from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_pipeline.domain.matching import match_units
from returns_pipeline.domain.model import (
    Ambiguous,
    Match,
    Matched,
    Order,
    Orphan,
    Unit,
    Waiting,
)
from returns_pipeline_tests.domain.build import ORDER, ROW, ROW2, ROW3, fact, line, order, unit

OTHER_ORDER = "22222222-aaaa-4bbb-8ccc-000000000002"


def one(unit_: Unit, *orders: Order, taken: dict[str, set[int]] | None = None) -> Match:
    return match_units([unit_], orders, taken or {})[0]


def by_key(matches: list[Match]) -> dict[str, Match]:
    return {match.unit_key: match for match in matches}


# --- the order --------------------------------------------------------------------


def test_no_order_is_an_orphan() -> None:
    found = one(unit(order_number="#1001"))
    assert found == Orphan("u1", "ORPHAN_RETURN", "Linnworks has no order #1001")


def test_an_order_that_is_still_open_lets_the_unit_wait() -> None:
    found = one(unit(), order(processed=False))
    assert isinstance(found, Waiting)
    assert (found.code, found.order_id) == ("ORDER_NOT_PROCESSED", ORDER)


def test_a_cancelled_order_is_an_orphan_even_when_it_was_processed() -> None:
    found = one(unit(), order(cancelled=True))
    assert isinstance(found, Orphan)
    assert found.code == "LINNWORKS_CANNOT_RETURN"


def two_orders(**second: Any) -> tuple[Order, Order]:
    other = order(line(ROW2, item_number="L9"), order_id=OTHER_ORDER, num_id=100002)
    return order(), replace(other, **second)


def test_two_orders_of_one_number_are_ambiguous() -> None:
    found = one(unit(line_item_id="unknown"), *two_orders())
    assert isinstance(found, Ambiguous)
    assert found.code == "ORDER_REF_AMBIGUOUS"
    assert found.candidates == (ORDER, OTHER_ORDER)


def test_of_two_orders_the_one_that_carries_the_line_id_is_meant() -> None:
    found = one(unit(line_item_id="L9"), *two_orders())
    assert isinstance(found, Matched)
    assert (found.order_id, found.row_id) == (OTHER_ORDER, ROW2)


def test_both_orders_carrying_the_line_id_stay_ambiguous() -> None:
    first, second = two_orders(lines=(line(ROW2, item_number="L1"),))
    found = one(unit(), first, second)
    assert isinstance(found, Ambiguous)
    assert found.code == "ORDER_REF_AMBIGUOUS"


def test_a_cancelled_order_entered_anew_is_no_rival() -> None:
    first, second = two_orders(cancelled=True)
    found = one(unit(line_item_id=""), first, second)
    assert isinstance(found, Matched)
    assert found.order_id == ORDER


# --- the line ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_id", "row_id", "rule", "unit_no"),
    [
        pytest.param(ROW, ROW, "row_id", 0, id="row id"),
        pytest.param(ROW.upper(), ROW, "row_id", 0, id="row id in capitals"),
        pytest.param(f"{ROW2}-1-2", ROW2, "row_id", 1, id="row id with the suffix"),
        pytest.param("L1", ROW, "line_id", 0, id="the shop's line id"),
        pytest.param("L2", ROW2, "line_id", 0, id="another line of the same SKU"),
        pytest.param("L2-1-2", ROW2, "line_id_suffix", 1, id="suffix: unit 1 of 2"),
        pytest.param("L2-1-5", ROW2, "line_id_suffix", 1, id="the total may differ"),
        pytest.param("L2-4-5", ROW2, "line_id_suffix", 0, id="an offset beyond the line"),
        pytest.param("N7-0-5", ROW3, "line_id", 0, id="an id that ends like a suffix"),
        pytest.param("N7-0-5-1-2", ROW3, "line_id_suffix", 1, id="and its suffix"),
    ],
)
def test_a_line_id_finds_its_line(given_id: str, row_id: str, rule: str, unit_no: int) -> None:
    found = one(
        unit(line_item_id=given_id),
        order(
            line(ROW, item_number="L1"),
            line(ROW2, item_number="L2", quantity=2),
            line(ROW3, item_number="N7-0-5", quantity=2),
        ),
    )
    assert found == Matched("u1", ORDER, row_id, unit_no, rule)


@pytest.mark.parametrize("given_id", ["L2-2-2", "L2-5-2", "L2-0", "L3-0-2", "-0-2"])
def test_what_is_no_suffix_of_a_known_id_names_no_line(given_id: str) -> None:
    both = order(line(ROW), line(ROW2, item_number="L2", quantity=2))
    found = one(unit(line_item_id=given_id), both)
    assert isinstance(found, Ambiguous)
    assert found.code == "LINE_AMBIGUOUS_SKU"


def test_a_known_line_id_counts_more_than_a_sku_that_differs() -> None:
    found = one(unit(line_item_id="L1", sku="OTHER"), order())
    assert isinstance(found, Matched)


@pytest.mark.parametrize(
    ("sku", "rule"), [("SHIRT-M", "sku"), ("shirt-m ", "sku"), ("CH-1", "sku")]
)
def test_without_a_line_id_the_only_line_of_the_sku_is_meant(sku: str, rule: str) -> None:
    both = order(line(ROW, channel_sku="ch-1"), line(ROW2, item_number="L2", sku="HAT"))
    found = one(unit(line_item_id="", sku=sku), both)
    assert found == Matched("u1", ORDER, ROW, 0, rule)


def test_a_line_id_the_order_does_not_have_falls_back_to_the_sku() -> None:
    found = one(unit(line_item_id="777"), order())
    assert found == Matched("u1", ORDER, ROW, 0, "sku")


def two_lines() -> Order:
    return order(line(ROW, item_number="L1"), line(ROW2, item_number="L2"))


def test_two_lines_of_one_sku_without_a_line_id_go_to_a_person() -> None:
    found = one(unit(line_item_id=""), two_lines())
    assert isinstance(found, Ambiguous)
    assert found.code == "LINE_AMBIGUOUS_SKU"
    assert found.candidates == (ROW, ROW2)
    assert found.order_id == ORDER


def test_two_lines_of_one_sku_are_told_apart_by_their_line_ids() -> None:
    units = [unit("u1", line_item_id="L1"), unit("u2", line_item_id="L2")]
    found = by_key(match_units(units, [two_lines()], {}))
    assert [
        (m.row_id, m.unit_no) for m in (found["u1"], found["u2"]) if isinstance(m, Matched)
    ] == [
        (ROW, 0),
        (ROW2, 0),
    ]


def test_of_two_lines_of_one_sku_the_one_not_returned_yet_is_meant() -> None:
    found = one(unit(line_item_id=""), two_lines(), taken={ROW: {0}})
    assert found == Matched("u1", ORDER, ROW2, 0, "sku")


def test_what_names_its_line_is_matched_before_what_is_left_over() -> None:
    # The one without an id came first; it must not be asked while the other is unplaced.
    bare = unit("a", line_item_id="", received=fact(0))
    named = unit("b", line_item_id="L1", received=fact(5))
    found = by_key(match_units([bare, named], [two_lines()], {}))
    assert found["b"] == Matched("b", ORDER, ROW, 0, "line_id")
    assert found["a"] == Matched("a", ORDER, ROW2, 0, "sku")


def test_an_announced_return_does_not_settle_which_line_a_received_unit_is() -> None:
    bare = unit("a", line_item_id="", received=fact(0))
    announced = unit("b", line_item_id="L1")
    found = by_key(match_units([bare, announced], [two_lines()], {}))
    assert isinstance(found["a"], Ambiguous)
    assert isinstance(found["b"], Matched)


def test_all_lines_of_the_sku_returned_is_too_many_not_ambiguous() -> None:
    found = one(unit(line_item_id=""), two_lines(), taken={ROW: {0}, ROW2: {0}})
    assert isinstance(found, Orphan)
    assert found.code == "QTY_EXCEEDS_ORDERED"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        pytest.param({"sku": "NOPE"}, "SKU_UNKNOWN", id="no line of the SKU"),
        pytest.param({"sku": ""}, "LINE_ID_MISSING", id="neither id nor SKU"),
        pytest.param({"sku": "  "}, "LINE_ID_MISSING", id="blanks"),
    ],
)
def test_what_fits_no_line_is_an_orphan(values: dict[str, Any], code: str) -> None:
    found = one(unit(line_item_id="", **values), order())
    assert isinstance(found, Orphan)
    assert (found.code, found.order_id) == (code, ORDER)


@pytest.mark.parametrize(
    ("values", "word", "code"),
    [
        ({"is_unlinked": True}, "unlinked", "SKU_UNLINKED"),
        ({"is_service": True}, "service", "SKU_UNKNOWN"),
    ],
)
def test_an_unlinked_or_service_line_cannot_come_back(
    values: dict[str, Any], word: str, code: str
) -> None:
    found = one(unit(), order(line(**values)))
    assert isinstance(found, Orphan)
    assert found.code == code
    assert word in found.reason


def test_a_service_line_does_not_compete_by_sku() -> None:
    both = order(line(ROW), line(ROW2, item_number="L2", is_service=True))
    assert one(unit(line_item_id=""), both) == Matched("u1", ORDER, ROW, 0, "sku")


def test_lines_that_share_an_id_are_told_apart_by_sku_or_not_at_all() -> None:
    shared = order(line(ROW), line(ROW2, sku="HAT"))
    assert one(unit(sku="HAT"), shared) == Matched("u1", ORDER, ROW2, 0, "line_id")
    found = one(unit(sku=""), shared)
    assert isinstance(found, Ambiguous)
    assert found.candidates == (ROW, ROW2)


# --- quantities -------------------------------------------------------------------


def test_units_of_one_line_get_different_numbers() -> None:
    units = [unit(f"u{n}", line_item_id=f"L1-{n}-3") for n in (2, 0, 1)]
    found = match_units(units, [order(line(quantity=3))], {})
    assert {(m.unit_key, m.unit_no) for m in found if isinstance(m, Matched)} == {
        ("u0", 0),
        ("u1", 1),
        ("u2", 2),
    }


def test_a_preferred_number_that_is_taken_gives_way() -> None:
    found = one(unit(line_item_id="L1-0-3"), order(line(quantity=3)), taken={ROW: {0}})
    assert found == Matched("u1", ORDER, ROW, 1, "line_id_suffix")


def test_more_units_than_despatched_is_an_orphan() -> None:
    units = [unit(f"u{n}") for n in range(3)]
    found = match_units(units, [order(line(quantity=2))], {})
    assert [type(m) for m in found] == [Matched, Matched, Orphan]
    assert isinstance(found[2], Orphan)
    assert found[2].code == "QTY_EXCEEDS_ORDERED"


def test_earlier_matches_count() -> None:
    found = one(unit(), order(line(quantity=2)), taken={ROW: {0, 1}, "another order's": {0}})
    assert isinstance(found, Orphan)
    assert found.code == "QTY_EXCEEDS_ORDERED"


def test_the_same_unit_in_two_returns_is_a_duplicate_where_the_line_has_one() -> None:
    first = unit("u1", line_item_id="L1-0-1", return_id="ret-1", received=fact(0))
    second = unit("u2", line_item_id="L1-0-1", return_id="ret-2", received=fact(3))
    found = by_key(match_units([second, first], [order()], {}))
    assert found["u1"] == Matched("u1", ORDER, ROW, 0, "line_id_suffix")
    twin = found["u2"]
    assert isinstance(twin, Ambiguous)
    assert (twin.code, twin.candidates) == ("DUPLICATE_RETURN_UNIT", (ROW,))


def test_the_same_offset_in_two_returns_is_no_duplicate_while_the_line_has_units() -> None:
    # The total is the refundable quantity then: another unit may get the same suffix later.
    first = unit("u1", line_item_id="L1-0-2", return_id="ret-1")
    second = unit("u2", line_item_id="L1-0-1", return_id="ret-2")
    found = match_units([first, second], [order(line(quantity=2))], {})
    assert {m.unit_no for m in found if isinstance(m, Matched)} == {0, 1}


def test_twice_in_one_return_is_too_many_not_a_duplicate() -> None:
    units = [unit(f"u{n}", line_item_id="L1-0-1") for n in range(2)]
    found = match_units(units, [order()], {})
    assert isinstance(found[1], Orphan)
    assert found[1].code == "QTY_EXCEEDS_ORDERED"


def test_what_was_received_comes_before_what_was_only_announced() -> None:
    announced = unit("a", started=fact(-99))
    back = unit("b", started=fact(-1), received=fact(0))
    found = by_key(match_units([announced, back], [order()], {}))
    assert isinstance(found["b"], Matched)
    assert isinstance(found["a"], Orphan)


# --- bundles ----------------------------------------------------------------------


def bundle() -> Order:
    return order(
        line(ROW, item_number="B", sku="SET", quantity=2),
        line(ROW2, item_number="", sku="CUP", quantity=4, parent_row_id=ROW.upper()),
        line(ROW3, item_number="", sku="PLATE", quantity=2, parent_row_id=ROW),
    )


def test_a_bundle_and_its_parts_match_as_themselves() -> None:
    assert one(unit(line_item_id="B", sku="SET"), bundle()) == Matched(
        "u1", ORDER, ROW, 0, "line_id"
    )
    assert one(unit(line_item_id="", sku="CUP"), bundle()) == Matched("u1", ORDER, ROW2, 0, "sku")


@pytest.mark.parametrize(
    ("taken", "sku", "expected"),
    [
        pytest.param({ROW: {0}}, "CUP", (ROW2, 2), id="bundle 0 holds cups 0 and 1"),
        pytest.param({ROW: {0}}, "PLATE", (ROW3, 1), id="and plate 0"),
        pytest.param({ROW2: {1}}, "SET", (ROW, 1), id="cup 1 holds bundle 0"),
        pytest.param({ROW3: {1}}, "SET", (ROW, 0), id="plate 1 holds bundle 1"),
        pytest.param({ROW3: {0}}, "CUP", (ROW2, 0), id="siblings do not hold each other"),
    ],
)
def test_a_bundle_comes_back_whole_or_in_parts(
    taken: dict[str, set[int]], sku: str, expected: tuple[str, int]
) -> None:
    found = one(unit(line_item_id="", sku=sku), bundle(), taken=taken)
    assert isinstance(found, Matched)
    assert (found.row_id, found.unit_no) == expected


@pytest.mark.parametrize(
    ("taken", "sku"), [({ROW: {0, 1}}, "CUP"), ({ROW2: {0}, ROW3: {1}}, "SET")]
)
def test_what_came_back_in_the_other_form_is_too_many(taken: dict[str, set[int]], sku: str) -> None:
    found = one(unit(line_item_id="", sku=sku), bundle(), taken=taken)
    assert isinstance(found, Orphan)
    assert found.code == "QTY_EXCEEDS_ORDERED"


def test_where_bundle_and_part_share_a_sku_the_bundle_is_meant() -> None:
    both = order(
        line(ROW, item_number="B", sku="SET"),
        line(ROW2, item_number="", sku="CUP", channel_sku="SET", parent_row_id=ROW),
    )
    assert one(unit(line_item_id="", sku="SET"), both) == Matched("u1", ORDER, ROW, 0, "sku")


# --- properties -------------------------------------------------------------------


def some_order() -> Order:
    return order(
        line(ROW, item_number="L1", quantity=2),
        line(ROW2, item_number="L2", quantity=1),
        line(ROW3, item_number="", sku="CUP", quantity=4, parent_row_id=ROW),
    )


@st.composite
def arrivals(draw: st.DrawFn) -> list[Unit]:
    count = draw(st.integers(1, 10))
    ids = ["", "L1", "L2", "L1-0-2", "L1-1-2", ROW, ROW3, f"{ROW3}-3-4", "no"]
    return [
        unit(
            f"u{n}",
            return_id=draw(st.sampled_from(["r1", "r2"])),
            line_item_id=draw(st.sampled_from(ids)),
            sku=draw(st.sampled_from(["SHIRT-M", "CUP", "", "HAT"])),
            received=draw(st.none() | st.integers(0, 3).map(fact)),
        )
        for n in range(count)
    ]


def numbers(matches: list[Match]) -> dict[str, set[int]]:
    taken: dict[str, set[int]] = defaultdict(set)
    for match in matches:
        if isinstance(match, Matched):
            taken[match.row_id].add(match.unit_no)
    return taken


def check(matches: list[Match]) -> None:
    """No number twice, none beyond the line, never a bundle and its part."""
    held = Counter((m.row_id, m.unit_no) for m in matches if isinstance(m, Matched))
    assert all(count == 1 for count in held.values())
    quantity = {row.row_id: row.quantity for row in some_order().lines}
    assert all(0 <= number < quantity[row] for row, number in held)
    for bundle_no in (0, 1):
        if (ROW, bundle_no) in held:
            assert not {(ROW3, 2 * bundle_no), (ROW3, 2 * bundle_no + 1)} & set(held)


@given(arrivals(), st.randoms(use_true_random=False))
def test_quantities_hold_and_the_order_of_arrival_does_not_matter(
    units: list[Unit], random: Any
) -> None:
    found = match_units(units, [some_order()], {})
    check(found)
    assert {match.unit_key for match in found} == {u.unit_key for u in units}
    shuffled = list(units)
    random.shuffle(shuffled)
    assert by_key(match_units(shuffled, [some_order()], {})) == by_key(found)


@given(arrivals(), st.integers(0, 10))
def test_quantities_hold_however_the_units_are_told_in_parts(units: list[Unit], cut: int) -> None:
    first = match_units(units[:cut], [some_order()], {})
    second = match_units(units[cut:], [some_order()], numbers(first))
    check(first + second)


@given(arrivals())
def test_matching_what_is_left_again_matches_nothing_wrongly(units: list[Unit]) -> None:
    first = match_units(units, [some_order()], {})
    left = {m.unit_key for m in first if not isinstance(m, Matched)}
    again = match_units([u for u in units if u.unit_key in left], [some_order()], numbers(first))
    check([m for m in first if isinstance(m, Matched)] + again)
    taken = numbers(first)
    match_units(units, [some_order()], taken)
    assert taken == numbers(first)
