"""One movement a unit, one RMA an order and receipt, said the same way twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_pipeline.domain import adjustments as rules
from returns_pipeline.domain.model import Disposition, Matched, StockAdjustment
from returns_pipeline_tests.domain import build
from returns_pipeline_tests.domain.build import ORDER, ROW, ROW2, decided, line, matched

D = Disposition


def adjustment(
    key: str = "u1", disposition: Disposition = D.SELLABLE, row_id: str = ROW, **more: object
) -> StockAdjustment:
    found = rules.adjustment(
        build.received(key),
        matched(key, row_id),
        decided(disposition, key),
        line(row_id),
        **more,
    )
    assert found is not None
    return found


def test_a_unit_is_restocked_once_at_its_place() -> None:
    found = adjustment()
    assert (found.kind, found.quantity, found.scrap_quantity) == ("restock", 1, 0)
    assert (found.location_id, found.row_id, found.sku) == ("loc-restock", ROW, "SHIRT-M")
    assert found == adjustment()


def test_scrap_is_returned_and_written_off_in_one() -> None:
    found = adjustment(disposition=D.DISPOSE)
    assert (found.kind, found.quantity, found.scrap_quantity) == ("scrap", 1, 1)


@pytest.mark.parametrize("disposition", [D.WRONG_ITEM, D.MISSING, D.KEEP_ITEM])
def test_what_moves_nothing_has_no_adjustment(disposition: Disposition) -> None:
    unit = build.received()
    assert rules.adjustment(unit, matched(), decided(disposition), line()) is None


def test_a_later_decision_is_a_move_with_a_key_of_its_own() -> None:
    move = adjustment(disposition=D.DAMAGED, sequence=1, from_location_id="loc-restock")
    again = adjustment(disposition=D.SELLABLE, sequence=2, from_location_id="loc-damaged")
    assert (move.kind, move.from_location_id) == ("move", "loc-restock")
    assert len({adjustment().adjustment_key, move.adjustment_key, again.adjustment_key}) == 3


def test_units_of_one_line_and_place_are_one_line_of_the_rma() -> None:
    found = rules.booking_lines(
        [
            adjustment("u1"),
            adjustment("u2"),
            adjustment("u3", D.DAMAGED),
            adjustment("u4", row_id=ROW2),
            adjustment("u5", D.DISPOSE),
        ]
    )
    assert [(b.row_id, b.location_id, b.quantity, b.scrap_quantity) for b in found] == [
        (ROW, "loc-damaged", 1, 0),
        (ROW, "loc-damaged", 1, 1),
        (ROW, "loc-restock", 2, 0),
        (ROW2, "loc-restock", 1, 0),
    ]
    assert len({b.reason for b in found}) == 4


@given(st.lists(st.sampled_from([D.SELLABLE, D.DAMAGED, D.DISPOSE, D.RTV]), max_size=12))
def test_no_unit_is_lost_or_doubled_and_order_does_not_matter(given_: list[Disposition]) -> None:
    moved = [adjustment(f"u{n}", d, (ROW, ROW2)[n % 2]) for n, d in enumerate(given_)]
    lines = rules.booking_lines(moved)
    assert rules.booking_lines(moved[::-1]) == lines
    assert sum(b.quantity for b in lines) == len(moved)
    told = [key for b in lines for key in b.adjustment_keys]
    assert sorted(told) == sorted(one.adjustment_key for one in moved)
    keys = [one.adjustment_key for one in moved]
    assert rules.booking_reference(7, keys) == rules.booking_reference(7, keys[::-1])


def test_a_move_is_never_booked_as_a_return() -> None:
    move = adjustment(sequence=1, from_location_id="loc-restock")
    with pytest.raises(ValueError, match="is a move"):
        rules.booking_lines([adjustment("u2"), move])


def test_an_rma_is_of_one_order() -> None:
    other = rules.adjustment(
        build.received("u2"),
        Matched("u2", ORDER[:-1] + "9", ROW2, 0, "sku"),
        decided(key="u2"),
        line(ROW2),
    )
    assert other is not None
    with pytest.raises(ValueError, match="several orders"):
        rules.booking_lines([adjustment(), other])


@pytest.mark.parametrize("order_num_id", [1, 100_001, 2_147_483_647])
def test_the_reference_fits_and_tells_contents_apart(order_num_id: int) -> None:
    one = rules.booking_reference(order_num_id, ["a:restock"])
    two = rules.booking_reference(order_num_id, ["a:restock", "b:restock"])
    assert len(one) <= 30
    assert str(order_num_id) in one
    assert len({one, two, rules.booking_reference(order_num_id + 1, ["a:restock"])}) == 3
