"""From the source's code to a Linnworks location; nothing is sellable by default."""

from dataclasses import replace

import pytest

from returns_pipeline.domain import disposition as rules
from returns_pipeline.domain.model import (
    Decided,
    Disposition,
    DispositionRule,
    Held,
    StockEffect,
)
from returns_pipeline_tests.domain import build
from returns_pipeline_tests.domain.build import CODES, PLACES, RULES, policy

INDEX = rules.location_index(PLACES)
D = Disposition


def decide(code: str, **values: object) -> Decided | Held | None:
    return rules.decide(build.unit(disposition_code=code), policy(**values), INDEX)


def with_rule(disposition: Disposition, **values: object) -> dict[Disposition, DispositionRule]:
    return {**RULES, disposition: replace(RULES[disposition], **values)}


@pytest.mark.parametrize("code", ["tag-missing", "TAG_MISSING", "Tag Missing", "tagmissing"])
def test_a_code_is_the_same_however_it_is_spelled(code: str) -> None:
    found = decide(code)
    assert isinstance(found, Decided)
    assert (found.disposition, found.location_id) == (D.TAG_MISSING, "loc-quarantine")
    assert found.source_code == code


@pytest.mark.parametrize(
    ("code", "place", "sellable"),
    [
        ("saleable", "loc-restock", True),
        ("grade_b", "loc-b", True),
        ("damaged", "loc-damaged", False),
        ("tag-missing", "loc-quarantine", False),
        ("dispose", "loc-damaged", False),
    ],
)
def test_each_condition_leads_to_its_own_place(code: str, place: str, *, sellable: bool) -> None:
    found = decide(code)
    assert isinstance(found, Decided)
    assert (found.location_id, found.sellable) == (place, sellable)


def test_where_hub_and_warehouse_lead_to_two_places_a_person_chooses() -> None:
    both = rules.told_by_two("saleable", "damaged")
    held = decide(both)
    assert isinstance(held, Held)
    assert (held.code, held.exception) == ("DISPOSITION_CONFLICT", "DISPOSITION_CONFLICT")
    assert both in held.reason
    unit = build.unit(disposition_code=both)
    chosen = rules.decide(unit, policy(), INDEX, chosen=D.DAMAGED)
    assert isinstance(chosen, Decided)
    assert chosen.location_id == "loc-damaged"


@pytest.mark.parametrize("other", ["Saleable", "", "back_to_stock", "looks fine"])
def test_what_says_the_same_or_nothing_known_is_no_conflict(other: str) -> None:
    codes = {**CODES, "backtostock": D.SELLABLE}
    found = decide(rules.told_by_two("saleable", other), codes=codes)
    assert isinstance(found, Decided)
    assert found.location_id == "loc-restock"


def test_a_word_of_the_warehouse_that_nobody_mapped_is_held_whatever_the_hub_says() -> None:
    held = decide(rules.told_by_two("grade-z", "saleable"))
    assert isinstance(held, Held)
    assert held.code == "DISPOSITION_UNMAPPED"


@pytest.mark.parametrize(
    ("code", "refund"), [("mismatch", "hold"), ("missing", "hold"), ("keep-item", "allow")]
)
def test_what_is_not_there_or_not_ours_goes_nowhere(code: str, refund: str) -> None:
    found = decide(code, codes={**CODES, "keepitem": D.KEEP_ITEM})
    assert isinstance(found, Decided)
    assert (found.effect, found.location_id, found.sellable) == (StockEffect.NONE, "", False)
    assert found.refund == refund


def test_without_a_code_there_is_nothing_to_decide() -> None:
    assert decide("") is None


def test_an_unmapped_code_is_held_and_named() -> None:
    found = decide("who-knows")
    assert isinstance(found, Held)
    assert found.exception == "DISPOSITION_UNMAPPED"
    assert "who-knows" in found.reason


def test_an_unmapped_code_goes_to_quarantine_where_the_policy_says_so_and_is_not_refunded() -> None:
    found = decide("who-knows", unmapped="quarantine")
    assert isinstance(found, Decided)
    assert (found.location_id, found.sellable, found.refund) == ("loc-quarantine", False, "hold")


def test_once_mapped_the_code_decides_by_itself() -> None:
    found = decide("who-knows", codes={**CODES, "whoknows": D.SELLABLE})
    assert isinstance(found, Decided)
    assert found.disposition is D.SELLABLE


def test_a_location_linnworks_does_not_have_holds_the_unit() -> None:
    found = decide("damaged", rules=with_rule(D.DAMAGED, location="HR Nowhere"))
    assert isinstance(found, Held)
    assert found.exception == "CONFIG_CONTRADICTION"
    assert "HR Nowhere" in found.reason
    assert "locations.DAMAGED" in found.reason


@pytest.mark.parametrize("name", ["hr damaged", "  HR   Damaged ", "loc-damaged", "LOC-DAMAGED"])
def test_a_location_is_found_by_name_or_id(name: str) -> None:
    found = decide("damaged", rules=with_rule(D.DAMAGED, location=name))
    assert isinstance(found, Decided)
    assert found.location_id == "loc-damaged"


def test_a_name_two_locations_share_leads_nowhere_but_their_ids_do() -> None:
    index = rules.location_index({"loc-1": "HR Damaged", "loc-2": "hr damaged"})
    unit = build.unit(disposition_code="damaged")
    assert isinstance(rules.decide(unit, policy(), index), Held)
    by_id = policy(rules=with_rule(D.DAMAGED, location="loc-2"))
    found = rules.decide(unit, by_id, index)
    assert isinstance(found, Decided)
    assert found.location_id == "loc-2"


# --- what is refused at start-up --------------------------------------------------


def test_the_usual_rows_are_in_order() -> None:
    assert rules.rule_problems(RULES) == []
    assert rules.location_problems(policy(), PLACES) == []


@pytest.mark.parametrize("spelled", ["HR Restock", "hr  restock"])
@pytest.mark.parametrize("bad", [D.DAMAGED, D.TAG_MISSING, D.DISPOSE])
def test_sellable_and_not_sellable_in_one_location_name_both_rows(
    bad: Disposition, spelled: str
) -> None:
    problems = rules.rule_problems(with_rule(bad, location=spelled))
    assert len(problems) == 1
    assert "[locations.SELLABLE]" in problems[0]
    assert f"[locations.{bad}]" in problems[0]
    assert "HR Restock" in problems[0]


def test_every_pair_that_would_mix_is_named() -> None:
    mixed = with_rule(D.DAMAGED, location="HR Restock")
    mixed[D.SELLABLE_B] = replace(mixed[D.SELLABLE_B], location="HR Restock")
    problems = rules.rule_problems(mixed)
    assert len(problems) == 2


def test_a_row_that_moves_nothing_mixes_nothing() -> None:
    assert rules.rule_problems(with_rule(D.WRONG_ITEM, location="HR Restock")) == []


def test_unsaleable_conditions_may_share_a_place() -> None:
    assert rules.rule_problems(with_rule(D.DAMAGED, location="HR Quarantine")) == []


def test_a_name_and_an_id_of_one_place_mix_too() -> None:
    mixed = policy(rules=with_rule(D.DAMAGED, location="loc-restock"))
    assert rules.rule_problems(mixed.rules) == []  # nobody knows before Linnworks is asked
    (problem,) = rules.location_problems(mixed, PLACES)
    assert "[locations.SELLABLE]" in problem
    assert "[locations.DAMAGED]" in problem


def test_only_a_sellable_condition_may_be_marked_sellable() -> None:
    (problem,) = rules.rule_problems(with_rule(D.REFURB, sellable=True))
    assert "[locations.REFURB] sellable" in problem


def test_a_row_that_moves_needs_a_location() -> None:
    (problem,) = rules.rule_problems(with_rule(D.RTV, location=""))
    assert "[locations.RTV] location" in problem


def test_a_missing_row_is_named() -> None:
    rows = {d: rule for d, rule in RULES.items() if d is not D.REFURB}
    (problem,) = rules.rule_problems(rows)
    assert "[locations.REFURB]" in problem


def test_a_location_linnworks_does_not_have_is_named_with_those_it_has() -> None:
    wrong = policy(rules=with_rule(D.DAMAGED, location="HR Nowhere"))
    (problem,) = rules.location_problems(wrong, PLACES)
    assert "[locations.DAMAGED]" in problem
    assert "HR Nowhere" in problem
    assert "HR Quarantine" in problem


def test_the_sellable_locations_are_those_of_the_sellable_rows() -> None:
    assert rules.sellable_locations(policy(), PLACES) == {"loc-restock", "loc-b"}


@pytest.mark.parametrize("code", ["saleable", "damaged", "dispose"])
def test_what_comes_after_the_return_window_goes_to_quarantine_whatever_its_condition(
    code: str,
) -> None:
    unit = build.unit(disposition_code=code)
    found = rules.decide(unit, policy(), INDEX, late=True)
    assert isinstance(found, Decided)
    assert (found.disposition, found.location_id) == (D.QUARANTINE, "loc-quarantine")


def test_what_nothing_is_stocked_for_is_not_stocked_by_being_late() -> None:
    found = rules.decide(build.unit(disposition_code="mismatch"), policy(), INDEX, late=True)
    assert isinstance(found, Decided)
    assert found.effect is StockEffect.NONE
