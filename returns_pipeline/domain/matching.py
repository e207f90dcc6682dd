"""Which unit of which Linnworks order line a returned unit is. Never a guess.

The order item row id is the key of everything that follows (contract Linnworks 2.2). It is
reached, in this order, by the row id itself, by the shop's line id (``ItemNumber``), by
that id less the suffix Happy Returns appends (contract Happy Returns 6), and by SKU only
where exactly one unreturned line fits. What fits nothing or several is a value for a
person. Whether a match moves anything is ``gate``'s.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from returns_pipeline.domain.model import (
    Ambiguous,
    Match,
    Matched,
    Order,
    OrderLine,
    Orphan,
    Unit,
    Waiting,
)

# Bounded, so that no id can be long enough to break the reading of a number.
_SUFFIX = re.compile(r"(.+)-([0-9]{1,6})-([0-9]{1,6})", re.DOTALL)
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Found:
    """The line a unit names, by which rule, and which unit of it is meant, if told."""

    line: OrderLine
    rule: str
    preferred: int | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """The return that holds a unit of a line, and the line id it gave for it."""

    return_id: str
    line_item_id: str


class _Lines:
    """One order's lines with the units already spoken for."""

    __slots__ = ("by_item", "by_row", "children", "held_by", "order", "taken")

    def __init__(
        self,
        order: Order,
        taken: Mapping[str, Collection[int]],
        held_by: Mapping[tuple[str, int], Holder],
    ) -> None:
        self.order = order
        self.by_row: dict[str, OrderLine] = {}
        self.by_item: dict[str, list[OrderLine]] = {}
        self.children: dict[str, list[OrderLine]] = {}
        # Only this order's rows: the caller's mapping may hold everybody's.
        self.taken: dict[str, set[int]] = {}
        self.held_by: dict[tuple[str, int], Holder] = {}
        for line in order.lines:
            self.by_row[line.row_id.lower()] = line
            self.taken[line.row_id] = set(taken.get(line.row_id, ()))
            for number in self.taken[line.row_id]:
                if (line.row_id, number) in held_by:
                    self.held_by[line.row_id, number] = held_by[line.row_id, number]
            if line.item_number:
                self.by_item.setdefault(line.item_number, []).append(line)
            if line.parent_row_id:
                self.children.setdefault(line.parent_row_id.lower(), []).append(line)

    def parent(self, line: OrderLine) -> OrderLine | None:
        """The bundle a line is part of."""
        return self.by_row.get(line.parent_row_id.lower()) if line.parent_row_id else None

    def blocked(self, line: OrderLine) -> set[int]:
        """Unit numbers that are taken: by the line, by its bundle, by its parts.

        A bundle comes back whole or in parts, never both (contract Linnworks 2.2): bundle
        ``n`` stands for the parts ``n * each`` to ``(n + 1) * each - 1`` of each child.
        """
        blocked = set(self.taken[line.row_id])
        parent = self.parent(line)
        if parent is not None:
            each = max(1, line.quantity // max(1, parent.quantity))
            for bundle in self.taken[parent.row_id]:
                blocked.update(range(bundle * each, (bundle + 1) * each))
        for child in self.children.get(line.row_id.lower(), ()):
            each = max(1, child.quantity // max(1, line.quantity))
            blocked.update(number // each for number in self.taken[child.row_id])
        return blocked

    def twin(self, unit: Unit, found: _Found) -> str | None:
        """The other return that holds the very unit this one names, if there is one.

        ``-<offset>-<total>`` names one unit among those still refundable: the same twice is
        one unit in two returns. Another total counts afresh (contract Happy Returns 6).
        """
        if found.preferred is None:
            return None
        holder = self.held_by.get((found.line.row_id, found.preferred))
        if holder is None or holder.return_id == unit.return_id:
            return None
        return holder.return_id if holder.line_item_id == unit.line_item_id else None

    def free(self, line: OrderLine, preferred: int | None = None) -> int | None:
        """A unit number of the line nobody holds, the preferred one if it is free."""
        blocked = self.blocked(line)
        if preferred is not None and preferred < line.quantity and preferred not in blocked:
            return preferred
        return next((n for n in range(line.quantity) if n not in blocked), None)


def match_units(
    units: Sequence[Unit],
    orders: Sequence[Order],
    taken: Mapping[str, Collection[int]],
    held_by: Mapping[tuple[str, int], Holder] | None = None,
) -> list[Match]:
    """Match the units that name one order.

    What lies in the warehouse comes before what somebody only announced; of those, what
    names its line before what is told apart by elimination; then the earlier.

    Args:
        units: Not yet matched, all of one order number; in any order.
        orders: The mirror's orders with that number as reference or secondary reference.
        taken: By order item row id, the unit numbers earlier matches hold. Rows of other
            orders are allowed and ignored. Not changed: where one order can be reached by
            two numbers, the caller enters one answer before asking again.
        held_by: Who holds them, by order item row id and unit number, where it is known:
            so that one unit of a line in two returns is seen.

    Returns:
        One match a unit. Unit numbers of a line never repeat and never reach its quantity.
    """
    lines = {order.order_id: _Lines(order, taken, held_by or {}) for order in orders}
    results: list[Match] = []
    claims: list[_Claim] = []
    for unit in units:
        named = _named(unit, lines)
        if isinstance(named, _Claim):
            claims.append(named)
        else:
            results.append(named)
    claims.sort(key=_precedence)
    results.extend(_claimed(claim) for claim in claims)
    return results


def match_to_line(
    unit: Unit,
    order: Order,
    row_id: str,
    taken: Mapping[str, Collection[int]],
) -> Match:
    """Match a unit to the line a person chose; what the line cannot take is refused as ever.

    Args:
        unit: Not matched, or matched elsewhere by a rule.
        order: The order with the line, as it is now.
        row_id: The line. Where the order has lost it, nobody's word helps.
        taken: As for ``match_units``.
    """
    key = unit.unit_key
    if order.cancelled:
        reason = f"order {order.num_id} is cancelled in Linnworks"
        return Orphan(key, "LINNWORKS_CANNOT_RETURN", reason, order.order_id)
    if not order.processed:
        reason = f"order {order.num_id} is still open in Linnworks"
        return Waiting(key, "ORDER_NOT_PROCESSED", reason, order.order_id)
    lines = _Lines(order, taken, {})
    line = lines.by_row.get(row_id.lower())
    if line is None:
        reason = f"order {order.num_id} has no line {row_id} any more"
        return Orphan(key, "SKU_UNKNOWN", reason, order.order_id)
    return _take(unit, lines, _Found(line, "decision"))


def has_room(order: Order, row_id: str, taken: Mapping[str, Collection[int]]) -> bool:
    """Whether a unit of the order's line is still out."""
    lines = _Lines(order, taken, {})
    line = lines.by_row.get(row_id.lower())
    return line is not None and lines.free(line) is not None


@dataclass(frozen=True, slots=True)
class _Claim:
    """A unit of a usable order and the line it names, if it names one."""

    unit: Unit
    order: _Lines
    found: _Found | Ambiguous | None


def _precedence(claim: _Claim) -> tuple[bool, bool, datetime, datetime, str]:
    unit = claim.unit
    received = unit.received.at if unit.received else _LAST
    started = unit.started.at if unit.started else _LAST
    return (unit.received is None, claim.found is None, received, started, unit.unit_key)


def _named(unit: Unit, orders: Mapping[str, _Lines]) -> _Claim | Orphan | Ambiguous | Waiting:
    """The order a unit is of and the line it names, or why there is no order to look in."""
    key = unit.unit_key
    if not orders:
        number = unit.order_number or "(none)"
        return Orphan(key, "ORPHAN_RETURN", f"Linnworks has no order {number}")
    # A cancelled order that was entered anew under its number is no candidate.
    usable = [order for order in orders.values() if not order.order.cancelled]
    if not usable:
        header = min((order.order for order in orders.values()), key=lambda o: o.order_id)
        reason = f"order {header.num_id} is cancelled in Linnworks"
        return Orphan(key, "LINNWORKS_CANNOT_RETURN", reason, header.order_id)
    claims = [_Claim(unit, order, _by_id(unit, order)) for order in usable]
    if len(claims) > 1:
        claims = [claim for claim in claims if claim.found is not None]
    if len(claims) != 1:
        ids = tuple(sorted(order.order.order_id for order in usable))
        reason = f"{len(ids)} orders carry {unit.order_number}"
        return Ambiguous(key, "ORDER_REF_AMBIGUOUS", reason, ids)
    header = claims[0].order.order
    if not header.processed:
        reason = f"order {header.num_id} is still open in Linnworks"
        return Waiting(key, "ORDER_NOT_PROCESSED", reason, header.order_id)
    return claims[0]


def _claimed(claim: _Claim) -> Match:
    found = claim.found or _by_sku(claim.unit, claim.order)
    if isinstance(found, _Found):
        return _take(claim.unit, claim.order, found)
    return found


def _by_id(unit: Unit, order: _Lines) -> _Found | Ambiguous | None:
    given = unit.line_item_id.strip()
    if not given:
        return None
    line = order.by_row.get(given.lower())
    if line is not None:
        return _Found(line, "row_id")
    lines = order.by_item.get(given)
    if lines:
        return _one(unit, order, lines, "line_id", None)
    # `-<offset>-<total>` is only a suffix where the id with it is not a line's own.
    suffix = _SUFFIX.fullmatch(given)
    if suffix is None or int(suffix[2]) >= int(suffix[3]):
        return None
    line = order.by_row.get(suffix[1].lower())
    if line is not None:
        return _Found(line, "row_id", int(suffix[2]))
    lines = order.by_item.get(suffix[1])
    return _one(unit, order, lines, "line_id_suffix", int(suffix[2])) if lines else None


def _one(
    unit: Unit, order: _Lines, lines: Sequence[OrderLine], rule: str, preferred: int | None
) -> _Found | Ambiguous:
    """The one of the lines that share an id; of several the one of the unit's SKU."""
    if len(lines) > 1:
        lines = [line for line in lines if _has_sku(line, unit)] or lines
        if len(lines) > 1:
            return _several(unit, order, lines)
    return _Found(lines[0], rule, preferred)


def _has_sku(line: OrderLine, unit: Unit) -> bool:
    sku = unit.sku.strip().casefold()
    return bool(sku) and sku in (line.sku.casefold(), line.channel_sku.casefold())


def _several(unit: Unit, order: _Lines, lines: Iterable[OrderLine]) -> Ambiguous:
    rows = tuple(sorted(line.row_id for line in lines))
    return Ambiguous(
        unit.unit_key,
        "LINE_AMBIGUOUS_SKU",
        f"{len(rows)} lines of order {order.order.num_id} fit",
        rows,
        order.order.order_id,
    )


def _by_sku(unit: Unit, order: _Lines) -> _Found | Ambiguous | Orphan:
    header = order.order
    if not unit.sku.strip():
        code = "LINE_ID_MISSING"
        reason = "neither a line id of the order nor a SKU was given"
        return Orphan(unit.unit_key, code, reason, header.order_id)
    fitting = [line for line in header.lines if not line.is_service and _has_sku(line, unit)]
    # Where a bundle and its own part both fit, the bundle is what was sold.
    rows = {line.row_id.lower() for line in fitting}
    fitting = [line for line in fitting if (line.parent_row_id or "").lower() not in rows]
    if not fitting:
        reason = f"order {header.num_id} has no line with SKU {unit.sku}"
        return Orphan(unit.unit_key, "SKU_UNKNOWN", reason, header.order_id)
    if len(fitting) == 1:
        return _Found(fitting[0], "sku")
    unreturned = [line for line in fitting if order.free(line) is not None]
    if len(unreturned) == 1:
        return _Found(unreturned[0], "sku")
    if not unreturned:
        reason = f"all units of SKU {unit.sku} of order {header.num_id} are returned"
        return Orphan(unit.unit_key, "QTY_EXCEEDS_ORDERED", reason, header.order_id)
    return _several(unit, order, unreturned)


def _take(unit: Unit, order: _Lines, found: _Found) -> Match:
    line, key, header = found.line, unit.unit_key, order.order
    if line.is_service or line.is_unlinked:
        what = "a service" if line.is_service else "not linked to a stock item (unlinked)"
        reason = f"the line of order {header.num_id} is {what}"
        code = "SKU_UNKNOWN" if line.is_service else "SKU_UNLINKED"
        return Orphan(key, code, reason, header.order_id)
    twin = order.twin(unit, found)
    if twin is not None:
        reason = f"unit {(found.preferred or 0) + 1} of the line is in return {twin} already"
        return Ambiguous(key, "DUPLICATE_RETURN_UNIT", reason, (line.row_id,), header.order_id)
    number = order.free(line, found.preferred)
    if number is not None:
        order.taken[line.row_id].add(number)
        order.held_by[line.row_id, number] = Holder(unit.return_id, unit.line_item_id)
        return Matched(key, header.order_id, line.row_id, number, found.rule)
    reason = f"all {line.quantity} units of the line of order {header.num_id} are returned"
    return Orphan(key, "QTY_EXCEEDS_ORDERED", reason, header.order_id)
