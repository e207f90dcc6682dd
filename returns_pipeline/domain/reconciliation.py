"""Comparing what we posted with what Linnworks says: every difference is somebody's.

Pure set logic over what was read; reading is ``steps.control``'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from returns_pipeline.domain.model import ExceptionRaised, Severity


@dataclass(frozen=True, slots=True)
class Restock:
    """Units of one SKU of one order that went to one location.

    ``quantity`` counts the scrapped ones too, as Linnworks does (contract Linnworks 3.1); it
    is negative where a move took units away. ``sellable`` is what our decision says; ``None``
    in Linnworks' telling.
    """

    order_id: str
    sku: str
    location_id: str
    sellable: bool | None
    quantity: int
    scrap_quantity: int
    unit_keys: tuple[str, ...]


# --- the change history -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """A row of an item's change history; ``at`` is UTC, ``level`` the level after it."""

    location_id: str
    at: datetime
    units: int
    note: str
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Transfer:
    """Units that left one location by hand and came to another; ``at`` is when they came."""

    from_location_id: str
    to_location_id: str
    units: int
    at: datetime
    note: str

    @property
    def name(self) -> str:
        """What tells it from the others of its item."""
        return f"{self.from_location_id}>{self.to_location_id} {self.at.isoformat()}"


# The texts that returns leave there (contract Linnworks 6 [L]), and our own marks.
_RETURNED = "customer return for order"
_SCRAPPED = "scrapped by rma"
_OURS = ("hr-", "hrm-")
# How long goods may be on their way between two locations of the merchant's.
_ON_THE_WAY = timedelta(hours=24)


def is_return(change: Change) -> bool:
    """Whether a return put the units there, or wrote them off."""
    return change.note.casefold().startswith((_RETURNED, _SCRAPPED))


def is_by_hand(change: Change) -> bool:
    """Whether neither a return nor a move of ours made it: staff did, or a sale."""
    return not is_return(change) and not change.note.casefold().startswith(_OURS)


def transfers(changes: Iterable[Change]) -> list[Transfer]:
    """Pair what left one location by hand with as many that came to another, in time order.

    Linnworks' history does not name the other half of a transfer: the nearest of the same
    size within a day is taken for it, each half once.
    """
    rows = sorted(changes, key=lambda one: (one.at, one.location_id))
    came = [one for one in rows if one.units > 0]
    found = []
    for left in (one for one in rows if one.units < 0):
        halves = [
            one
            for one in came
            if one.units == -left.units
            and one.location_id != left.location_id
            and abs(one.at - left.at) <= _ON_THE_WAY
        ]
        if not halves:
            continue
        other = min(halves, key=lambda one: (abs(one.at - left.at), one.at))
        came.remove(other)
        at = max(left.at, other.at)
        found.append(Transfer(left.location_id, other.location_id, other.units, at, other.note))
    return found


# --- restocks ---------------------------------------------------------------------

# By location: units returned there, and of those the units written off.
_Places = dict[str, tuple[int, int]]


def compare_restocks(
    ours: Sequence[Restock],
    theirs: Sequence[Restock],
    *,
    location_names: Mapping[str, str],
    sellable: Collection[str],
    worth: Mapping[tuple[str, str], tuple[int, str]] | None = None,
) -> list[ExceptionRaised]:
    """The differences between our posted units and Linnworks' actioned returns.

    Args:
        ours: Posted adjustments, summed.
        theirs: Linnworks' rows of the same orders.
        location_names: To print a location.
        sellable: The locations that only sellable units may enter.
        worth: By order and SKU, what one unit is worth: minor units and currency.

    Returns:
        At most one exception an order and SKU, the gravest: ``DOUBLE_RESTOCK`` where
        Linnworks has more units than we posted, ``CO_MINGLED_STOCK`` where one that may
        not be sold stands among the saleable, ``STOCK_DRIFT`` where units are missing or
        not written off, ``WRONG_LOCATION`` for the rest.
    """
    read = _by_sku(theirs)
    raised = []
    for key, rows in sorted(_rows_by_sku(ours).items()):
        expected, found = _places(rows), read.get(key, {})
        if expected == found:
            continue
        damaged = any(row.sellable is False for row in rows)
        code, severity = _gravest(expected, found, sellable, damaged=damaged)
        amount, currency = (worth or {}).get(key, (0, ""))
        mine, there = _told(expected, location_names), _told(found, location_names)
        raised.append(
            ExceptionRaised(
                code=code,
                key=f"order:{key[0]}:{key[1]}",
                message=f"{key[1]}: we posted {mine}; Linnworks has {there}",
                amount_minor=amount * _apart(expected, found),
                currency=currency if amount else "",
                unit_keys=tuple(sorted(unit for row in rows for unit in row.unit_keys)),
                severity=severity,
            )
        )
    return raised


def misplaced(ours: Sequence[Restock], theirs: Sequence[Restock]) -> list[tuple[str, str, int]]:
    """Where units of one order and SKU stand too many, where too few, and how many.

    From and to, as the transfers that would put it right; none where the units in all differ.
    """
    expected, found = _places(ours), _places(theirs)
    more = {p: n - expected.get(p, (0, 0))[0] for p, (n, _) in found.items()}
    fewer = {p: n - found.get(p, (0, 0))[0] for p, (n, _) in expected.items()}
    if _sum(expected) != _sum(found):
        return []
    needed = Counter(zip(_each(more), _each(fewer), strict=True))
    return [(*pair, units) for pair, units in sorted(needed.items())]


def _each(units: Mapping[str, int]) -> list[str]:
    """A place for every unit."""
    return [place for place, n in sorted(units.items()) for _ in range(n)]


def transferred(of: Restock, to_location_id: str, units: int) -> tuple[Restock, Restock]:
    """What a transfer changes about where units stand: fewer here, more there."""
    gone = replace(of, sellable=None, quantity=-units, scrap_quantity=0, unit_keys=())
    return gone, replace(gone, location_id=to_location_id, quantity=units)


def _rows_by_sku(rows: Iterable[Restock]) -> dict[tuple[str, str], list[Restock]]:
    found: dict[tuple[str, str], list[Restock]] = {}
    for row in rows:
        found.setdefault((row.order_id, row.sku), []).append(row)
    return found


def _by_sku(rows: Iterable[Restock]) -> dict[tuple[str, str], _Places]:
    return {key: _places(of_key) for key, of_key in _rows_by_sku(rows).items()}


def _places(rows: Iterable[Restock]) -> _Places:
    places: _Places = {}
    for row in rows:
        units, scrapped = places.get(row.location_id, (0, 0))
        places[row.location_id] = (units + row.quantity, scrapped + row.scrap_quantity)
    return {place: counted for place, counted in places.items() if counted != (0, 0)}


def _gravest(
    expected: _Places, found: _Places, sellable: Collection[str], *, damaged: bool
) -> tuple[str, Severity]:
    wanted, there = _sum(expected), _sum(found)
    good_wanted = _sum({p: n for p, n in expected.items() if p in sellable})
    good_there = _sum({p: n for p, n in found.items() if p in sellable})
    if there > wanted:
        return "DOUBLE_RESTOCK", Severity.S1
    if damaged and good_there > good_wanted:
        return "CO_MINGLED_STOCK", Severity.S1
    if there < wanted:
        return "STOCK_DRIFT", Severity.S2
    if {p: n for p, (n, _) in expected.items()} == {p: n for p, (n, _) in found.items()}:
        return "STOCK_DRIFT", Severity.S2  # the places agree, the writing-off does not
    return "WRONG_LOCATION", Severity.S1 if good_there != good_wanted else Severity.S2


def _apart(expected: _Places, found: _Places) -> int:
    """How many units stand otherwise than they should, written off or not."""
    kept = {p: n - scrapped for p, (n, scrapped) in expected.items()}
    there = {p: n - scrapped for p, (n, scrapped) in found.items()}
    more = sum(max(0, n - kept.get(p, 0)) for p, n in there.items())
    fewer = sum(max(0, n - there.get(p, 0)) for p, n in kept.items())
    return max(more, fewer)


def _sum(places: _Places) -> int:
    return sum(units for units, _ in places.values())


def _told(places: _Places, names: Mapping[str, str]) -> str:
    parts = []
    for place, (units, scrapped) in sorted(places.items()):
        scrap = f" ({scrapped} scrapped)" if scrapped else ""
        parts.append(f"{units} in {names.get(place, place)}{scrap}")
    return ", ".join(parts) or "none"
