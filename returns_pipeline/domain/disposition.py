"""Which Linnworks location an inspected condition leads to, and what it does to stock.

Nothing is ever sellable by default: a code the policy does not map is held (or goes to
quarantine where the policy says so). Here too: the checks that refuse a policy in which
damaged and saleable could mix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from returns_pipeline.domain.model import (
    Decided,
    Disposition,
    DispositionRule,
    Held,
    StockEffect,
    Unit,
)
from returns_pipeline.domain.policy import Policy, fold


def location_index(locations: Mapping[str, str]) -> dict[str, str]:
    """Folded name and lower-case id of every Linnworks location, to its id.

    A name two locations share leads nowhere: such a location must be named by id.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for location_id, name in locations.items():
        by_name[_fold(name)].append(location_id)
    index = {name: ids[0] for name, ids in by_name.items() if len(ids) == 1}
    index.update({location_id.lower(): location_id for location_id in locations})
    return index


def location_named(name: str, index: Mapping[str, str]) -> str | None:
    """The id of the location that a policy names, by ``location_index``."""
    return index.get(_fold(name))


@lru_cache(maxsize=1_024)  # asked for every unit, and a merchant has some dozens of locations
def _fold(name: str) -> str:
    return " ".join(name.casefold().split())


def decide(
    unit: Unit,
    policy: Policy,
    locations: Mapping[str, str],
    *,
    late: bool = False,
    chosen: Disposition | None = None,
) -> Decided | Held | None:
    """The disposition of a unit under the policy.

    Args:
        unit: With the source's code.
        policy: The merchant's.
        locations: As from ``location_index``.
        late: Whether the return was begun after its window (``gate.is_late``): what would
            go to stock goes to quarantine, whatever its condition.
        chosen: What a person decided it is: that, whatever the code says or the time is.

    Returns:
        ``None`` while there is no code; ``Held`` when the code or its location is unknown.
    """
    code = unit.disposition_code
    if not code and chosen is None:
        return None
    disposition = chosen or policy.codes.get(fold(code))
    if disposition is None:
        agreed = _agreed(code, policy)
        if isinstance(agreed, Held):
            return agreed
        disposition = agreed
    if disposition is None:
        if policy.unmapped != "quarantine":
            return Held(
                "DISPOSITION_UNMAPPED",
                f"the disposition code {code!r} is not in the policy's [dispositions]",
                "DISPOSITION_UNMAPPED",
            )
        disposition = Disposition.QUARANTINE
    if late and chosen is None and policy.rules[disposition].effect is not StockEffect.NONE:
        disposition = Disposition.QUARANTINE
    rule = policy.rules[disposition]
    location_id = ""
    if rule.effect is not StockEffect.NONE:
        found = locations.get(_fold(rule.location))
        if found is None:
            return Held(
                "LOCATION_UNKNOWN",
                f"Linnworks has no location {rule.location!r} (policy [locations.{disposition}])",
                "CONFIG_CONTRADICTION",
            )
        location_id = found
    return Decided(
        unit_key=unit.unit_key,
        source_code=code,
        disposition=disposition,
        effect=rule.effect,
        location_id=location_id,
        sellable=rule.sellable,
        refund=rule.refund,
        role=rule.role,
    )


_BETWEEN = " / "


def told_by_two(code: str, other: str) -> str:
    """What the warehouse and the hub say of a unit, in one code; both where they differ."""
    if not code or not other or fold(code) == fold(other):
        return code or other
    return f"{code}{_BETWEEN}{other}"


def _agreed(code: str, policy: Policy) -> Disposition | Held | None:
    """What two who looked say, the warehouse first; ``None``: it is not known what that is.

    A word of the hub that the policy does not map contradicts nothing.
    """
    told = [policy.codes.get(fold(part)) for part in code.split(_BETWEEN)]
    if len(told) == 1 or told[0] is None:
        return None
    if told[1] in {None, told[0]}:
        return told[0]
    reason = f"inspected twice, with two results: {code}"
    return Held("DISPOSITION_CONFLICT", reason, "DISPOSITION_CONFLICT")


_Rules = Mapping[Disposition, DispositionRule]


def _moving(rules: _Rules) -> Iterable[DispositionRule]:
    return (rule for rule in rules.values() if rule.effect is not StockEffect.NONE)


def rule_problems(rules: Mapping[Disposition, DispositionRule]) -> list[str]:
    """What is wrong with the dispositions' rows, before any vendor is asked."""
    problems = [
        f"policy [locations.{disposition}]: missing; every disposition needs its row"
        for disposition in Disposition
        if disposition not in rules
    ]
    problems.extend(
        f"policy [locations.{rule.disposition}] location: missing; "
        f"stock = {rule.effect.value!r} needs one"
        for rule in _moving(rules)
        if not rule.location
    )
    problems.extend(
        f"policy [locations.{rule.disposition}] sellable: only SELLABLE and SELLABLE_B "
        "may raise stock that a sales channel sees"
        for rule in rules.values()
        if rule.sellable and not rule.disposition.value.startswith("SELLABLE")
    )
    problems.extend(_mixing(rules, lambda rule: _fold(rule.location)))
    return problems


def location_problems(policy: Policy, locations: Mapping[str, str]) -> list[str]:
    """What is wrong with the dispositions, given Linnworks' locations (id to name)."""
    index = location_index(locations)
    problems = [
        f"policy [locations.{rule.disposition}] location: Linnworks has no location "
        f"{rule.location!r}; it has {', '.join(sorted(locations.values())) or 'none'}"
        for rule in _moving(policy.rules)
        if _fold(rule.location) not in index
    ]
    # A name and an id may mean one place: look again once both are resolved.
    by_name = set(_mixing(policy.rules, lambda rule: _fold(rule.location)))
    resolved = _mixing(
        policy.rules, lambda rule: index.get(_fold(rule.location), _fold(rule.location))
    )
    problems.extend(problem for problem in resolved if problem not in by_name)
    return problems


def _mixing(rules: _Rules, place: Callable[[DispositionRule], str]) -> list[str]:
    """Rows, one sellable and one not, that lead to one location.

    A bin does not keep them apart: an RMA cannot name one (contract Linnworks 3.1), so
    both would be booked to wherever the item lies there. Scrap counts: its units pass
    through the location, and stay where the writing-off fails.
    """
    by_place: dict[str, list[DispositionRule]] = defaultdict(list)
    for rule in _moving(rules):
        if rule.location:
            by_place[place(rule)].append(rule)
    problems: list[str] = []
    for together in by_place.values():
        good = [rule for rule in together if rule.sellable]
        bad = [rule for rule in together if not rule.sellable]
        problems.extend(
            f"policy [locations.{a.disposition}] and [locations.{b.disposition}] both lead to "
            f"{a.location!r}: sellable and not sellable units would mix there. Give one of them "
            "a location of its own."
            for a in good
            for b in bad
        )
    return problems


def sellable_locations(policy: Policy, locations: Mapping[str, str]) -> frozenset[str]:
    """The ids of the locations in which only sellable units may be."""
    index = location_index(locations)
    found = (index.get(_fold(rule.location)) for rule in _moving(policy.rules) if rule.sellable)
    return frozenset(location_id for location_id in found if location_id)
