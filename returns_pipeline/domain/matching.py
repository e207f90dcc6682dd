"""Which unit of which Linnworks order line a returned unit is. Never a guess.

The order item row id is the key of everything that follows (contract Linnworks 2.2). It is
reached, in this order, by the row id itself, by the shop's line id (``ItemNumber``), by
that id less the suffix Happy Returns appends (contract Happy Returns 6), and by SKU only
where exactly one line fits. What fits nothing or several is a value for a person.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
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

_SUFFIX = re.compile(r"(.+)-(\d+)-(\d+)")
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Found:
    """The line a unit names, by which rule, and which unit of it is meant, if told."""

    line: OrderLine
    rule: str
    preferred: int | None = None


@dataclass(slots=True)
class _Lines:
    """One order's lines with the units already spoken for."""

    order: Order
    taken: dict[str, set[int]]
    children: dict[str, list[OrderLine]] = field(default_factory=lambda: defaultdict(list))
    by_row: dict[str, OrderLine] = field(default_factory=dict)
    by_item: dict[str, list[OrderLine]] = field(default_factory=lambda: defaultdict(list))
    held_by: dict[tuple[str, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for line in self.order.lines:
            self.by_row[line.row_id.lower()] = line
            if line.item_number:
                self.by_item[line.item_number].append(line)
            if line.parent_row_id:
                self.children[line.parent_row_id].append(line)

    def blocked(self, line: OrderLine) -> set[int]:
        """Unit numbers that are taken: by the line, by its bundle, by its parts."""
        taken = set(self.taken[line.row_id])
        parent = self.by_row.get((line.parent_row_id or "").lower())
        if parent is not None and parent.quantity:
            each = max(1, line.quantity // parent.quantity)
            for bundle in self.taken[parent.row_id]:
                taken.update(range(bundle * each, (bundle + 1) * each))
        for child in self.children.get(line.row_id, ()):
            each = max(1, child.quantity // max(1, line.quantity))
            taken.update(number // each for number in self.taken[child.row_id])
        return taken

    def free(self, line: OrderLine, preferred: int | None) -> int | None:
        """A unit number of the line nobody holds, the preferred one if it is free."""
        blocked = self.blocked(line)
        if preferred is not None and preferred < line.quantity and preferred not in blocked:
            return preferred
        return next((n for n in range(line.quantity) if n not in blocked), None)


def match_units(
    units: Sequence[Unit], orders: Sequence[Order], taken: Mapping[str, Collection[int]]
) -> list[Match]:
    """Match the units that name one order.

    Args:
        units: Not yet matched, all of one order number; in any order.
        orders: The mirror's orders with that number as reference or secondary reference.
        taken: By order item row id, the unit numbers earlier matches hold.

    Returns:
        One match a unit, what has been received first. Unit numbers of a line never
        repeat and never reach its quantity.
    """
    lines = {
        order.order_id: _Lines(
            order, defaultdict(set, {row: set(numbers) for row, numbers in taken.items()})
        )
        for order in orders
    }
    return [_match(unit, lines) for unit in sorted(units, key=_precedence)]


def _precedence(unit: Unit) -> tuple[bool, datetime, datetime, str]:
    # What lies in the warehouse comes before what somebody only announced.
    received = unit.received.at if unit.received else _LAST
    started = unit.started.at if unit.started else _LAST
    return (unit.received is None, received, started, unit.unit_key)


def _match(unit: Unit, orders: Mapping[str, _Lines]) -> Match:
    key = unit.unit_key
    if not orders:
        number = unit.order_number or "(none)"
        return Orphan(key, "ORPHAN_RETURN", f"Linnworks has no order {number}")
    order = _the_order(unit, orders)
    if order is None:
        ids = tuple(sorted(orders))
        return Ambiguous(
            key, "ORDER_REF_AMBIGUOUS", f"{len(ids)} orders carry {unit.order_number}", ids
        )
    header = order.order
    if header.cancelled:
        reason = f"order {header.num_id} is cancelled in Linnworks"
        return Orphan(key, "LINNWORKS_CANNOT_RETURN", reason, header.order_id)
    if not header.processed:
        reason = f"order {header.num_id} is still open in Linnworks"
        return Waiting(key, "ORDER_NOT_PROCESSED", reason, header.order_id)
    found = _by_id(unit, order) or _by_sku(unit, order)
    if not isinstance(found, _Found):
        return found
    return _take(unit, order, found)


def _the_order(unit: Unit, orders: Mapping[str, _Lines]) -> _Lines | None:
    """The one order meant: the only one, or the only one that carries the line's id."""
    if len(orders) == 1:
        return next(iter(orders.values()))
    carrying = [order for order in orders.values() if _by_id(unit, order) is not None]
    return carrying[0] if len(carrying) == 1 else None


def _by_id(unit: Unit, order: _Lines) -> _Found | Ambiguous | None:
    given = unit.line_item_id.strip()
    if not given:
        return None
    line = order.by_row.get(given.lower())
    if line is not None:
        return _Found(line, "row_id")
    named = order.by_item.get(given, [])
    if not named:
        suffix = _SUFFIX.fullmatch(given)
        if suffix is None or int(suffix[2]) >= int(suffix[3]):
            return None
        stripped = suffix[1]
        line = order.by_row.get(stripped.lower())
        if line is not None:
            return _Found(line, "row_id", int(suffix[2]))
        named = order.by_item.get(stripped, [])
        if len(named) == 1:
            return _Found(named[0], "line_id_suffix", int(suffix[2]))
    if len(named) == 1:
        return _Found(named[0], "line_id")
    return _several(unit, order, named) if named else None


def _several(unit: Unit, order: _Lines, lines: Sequence[OrderLine]) -> Ambiguous:
    return Ambiguous(
        unit.unit_key,
        "LINE_AMBIGUOUS_SKU",
        f"{len(lines)} lines of order {order.order.num_id} fit",
        tuple(sorted(line.row_id for line in lines)),
        order.order.order_id,
    )


def _by_sku(unit: Unit, order: _Lines) -> _Found | Ambiguous | Orphan:
    sku = unit.sku.strip().casefold()
    header = order.order
    if not sku:
        code = "LINE_ID_MISSING"
        reason = "neither a line id of the order nor a SKU was given"
        return Orphan(unit.unit_key, code, reason, header.order_id)
    fitting = [
        line
        for line in header.lines
        if not line.is_service and sku in {line.sku.casefold(), line.channel_sku.casefold()}
    ]
    if not fitting:
        reason = f"order {header.num_id} has no line with SKU {unit.sku}"
        return Orphan(unit.unit_key, "SKU_UNKNOWN", reason, header.order_id)
    if len(fitting) == 1:
        return _Found(fitting[0], "sku")
    # Several lines of the SKU: the one that still has a unit out, if only one has.
    if sum(len(order.blocked(line)) for line in fitting):
        unreturned = [line for line in fitting if order.free(line, None) is not None]
        if len(unreturned) == 1:
            return _Found(unreturned[0], "sku")
    return _several(unit, order, fitting)


def _take(unit: Unit, order: _Lines, found: _Found) -> Match:
    line, key, header = found.line, unit.unit_key, order.order
    if line.is_service or line.is_unlinked:
        what = "a service" if line.is_service else "not linked to a stock item"
        reason = f"the line of order {header.num_id} is {what}"
        return Orphan(key, "SKU_UNKNOWN", reason, header.order_id)
    twin = order.held_by.get((line.row_id, found.preferred)) if found.preferred is not None else None
    number = order.free(line, found.preferred)
    if number is None:
        if twin is not None and twin != unit.return_id:
            reason = f"unit {(found.preferred or 0) + 1} of the line is in return {twin} already"
            rows = (line.row_id,)
            return Ambiguous(key, "DUPLICATE_RETURN_UNIT", reason, rows, header.order_id)
        reason = f"all {line.quantity} units of the line of order {header.num_id} are returned"
        return Orphan(key, "QTY_EXCEEDS_ORDERED", reason, header.order_id)
    order.taken[line.row_id].add(number)
    order.held_by[line.row_id, number] = unit.return_id
    return Matched(key, header.order_id, line.row_id, number, found.rule)
