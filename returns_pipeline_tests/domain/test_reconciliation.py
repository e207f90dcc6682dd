"""Every difference between what we posted and what Linnworks says is somebody's."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_pipeline.domain import reconciliation
from returns_pipeline.domain.model import ExceptionRaised, Severity
from returns_pipeline.domain.reconciliation import Restock
from returns_pipeline_tests.domain.build import PLACES

SELLABLE = {"loc-restock", "loc-b"}


def ours(place: str, quantity: int = 1, *, scrap: int = 0, sku: str = "A") -> Restock:
    keys = tuple(f"{place}{n}" for n in range(quantity))
    return Restock("order-1", sku, place, place in SELLABLE, quantity, scrap, keys)


def theirs(place: str, quantity: int = 1, *, scrap: int = 0, sku: str = "A") -> Restock:
    return Restock("order-1", sku, place, None, quantity, scrap, ())


def compare(mine: list[Restock], found: list[Restock]) -> list[ExceptionRaised]:
    return reconciliation.compare_restocks(mine, found, location_names=PLACES, sellable=SELLABLE)


def test_agreement_raises_nothing_however_the_rows_are_cut() -> None:
    mine = [ours("loc-restock", 2), ours("loc-damaged")]
    assert (
        compare(mine, [theirs("loc-damaged"), theirs("loc-restock"), theirs("loc-restock")]) == []
    )


@pytest.mark.parametrize(
    ("mine", "found", "code", "severity"),
    [
        ([ours("loc-restock")], [theirs("loc-restock", 2)], "DOUBLE_RESTOCK", "S1"),
        (
            [ours("loc-restock")],
            [theirs("loc-restock"), theirs("loc-damaged")],
            "DOUBLE_RESTOCK",
            "S1",
        ),
        ([ours("loc-damaged")], [theirs("loc-restock")], "CO_MINGLED_STOCK", "S1"),
        ([ours("loc-restock")], [theirs("loc-damaged")], "WRONG_LOCATION", "S1"),
        ([ours("loc-restock")], [theirs("loc-b")], "WRONG_LOCATION", "S2"),
        ([ours("loc-damaged")], [theirs("loc-refurb")], "WRONG_LOCATION", "S2"),
        ([ours("loc-restock")], [], "STOCK_DRIFT", "S2"),
        ([ours("loc-restock", 2)], [theirs("loc-restock")], "STOCK_DRIFT", "S2"),
        ([ours("loc-damaged", scrap=1)], [theirs("loc-damaged")], "STOCK_DRIFT", "S2"),
    ],
)
def test_a_difference_is_one_exception_and_the_gravest(
    mine: list[Restock], found: list[Restock], code: str, severity: str
) -> None:
    (one,) = compare(mine, found)
    assert (one.code, one.severity) == (code, Severity(severity))
    assert one.key == "order:order-1:A"
    assert one.unit_keys == tuple(sorted(k for row in mine for k in row.unit_keys))


def test_saleable_goods_on_a_saleable_shelf_are_misplaced_not_mixed() -> None:
    elsewhere = replace(ours("loc-quarantine"), sellable=True)  # under an earlier policy
    (one,) = compare([elsewhere], [theirs("loc-restock")])
    assert one.code == "WRONG_LOCATION"


def test_the_message_says_who_has_what_where() -> None:
    (one,) = compare([ours("loc-damaged", scrap=1)], [theirs("loc-restock")])
    assert "we posted 1 in HR Damaged (1 scrapped)" in one.message
    assert "Linnworks has 1 in HR Restock" in one.message


def test_one_sku_does_not_hide_another() -> None:
    found = compare(
        [ours("loc-restock"), ours("loc-restock", sku="B")],
        [theirs("loc-restock", 2)],
    )
    assert [(one.key, one.code) for one in found] == [
        ("order:order-1:A", "DOUBLE_RESTOCK"),
        ("order:order-1:B", "STOCK_DRIFT"),
    ]


def test_what_linnworks_returned_without_us_is_not_compared() -> None:
    assert compare([], [theirs("loc-restock")]) == []


places = st.sampled_from(["loc-restock", "loc-b", "loc-damaged", "loc-quarantine"])


@given(st.lists(st.tuples(places, st.integers(1, 3)), min_size=1, max_size=6))
def test_what_agrees_never_raises_and_a_unit_more_always_does(
    rows: list[tuple[str, int]],
) -> None:
    mine = [ours(place, n) for place, n in rows]
    read = [theirs(place, n) for place, n in rows]
    assert compare(mine, read[::-1]) == []
    more = replace(read[0], quantity=read[0].quantity + 1)
    assert [one.code for one in compare(mine, [more, *read[1:]])] == ["DOUBLE_RESTOCK"]
