"""The stock movement of a unit, and how the movements of one order become an RMA.

One RMA an order and receipt, with all its lines (contract Linnworks 3.1, 6). Keys and
references are made from content, so that the same decision says the same thing twice.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from returns_pipeline.domain.model import (
    Decided,
    Matched,
    OrderLine,
    StockAdjustment,
    StockEffect,
    Unit,
)

NOTHING: Mapping[str, Instead] = MappingProxyType({})


def adjustment(
    unit: Unit,
    matched: Matched,
    decided: Decided,
    line: OrderLine,
    *,
    sequence: int = 0,
    from_location_id: str = "",
) -> StockAdjustment | None:
    """The movement a decision asks for; ``None`` where it moves nothing.

    Args:
        unit: Received.
        matched: Its order line.
        decided: Its disposition.
        line: The order line itself.
        sequence: 0 for the restock; from 1 the moves that later decisions ask for.
        from_location_id: Where a move takes the unit from.
    """
    if decided.effect is StockEffect.NONE:
        return None
    scrap = decided.effect is StockEffect.SCRAP
    kind = "move" if sequence else ("scrap" if scrap else "restock")
    key = f"{unit.unit_key}:move:{sequence}" if sequence else f"{unit.unit_key}:restock"
    return StockAdjustment(
        adjustment_key=key,
        unit_key=unit.unit_key,
        order_id=matched.order_id,
        row_id=matched.row_id,
        sku=line.sku,
        location_id=decided.location_id,
        quantity=1,
        scrap_quantity=1 if scrap else 0,
        kind=kind,
        from_location_id=from_location_id,
    )


@dataclass(frozen=True, slots=True)
class Instead:
    """What is sent instead of a returned unit, at no price, by the line of its RMA."""

    sku: str
    item_id: str
    quantity: int
    location_id: str  # it is despatched from


@dataclass(frozen=True, slots=True)
class BookingLine:
    """One line of an RMA: units of one order line that go to one place.

    A unit that something is sent for instead has a line to itself, and so an order.
    """

    row_id: str
    location_id: str
    quantity: int
    scrap_quantity: int
    reason: str
    adjustment_keys: tuple[str, ...]
    instead: Instead | None = None


def booking_lines(
    adjustments: Sequence[StockAdjustment], instead: Mapping[str, Instead] = NOTHING
) -> list[BookingLine]:
    """The adjustments of one order as RMA lines, in a fixed order.

    Args:
        adjustments: Of one order.
        instead: What is sent instead of a unit, by its key.

    Raises:
        ValueError: For a move: its unit was restocked already, and an RMA would count it
            twice; and for adjustments of several orders.
    """
    grouped: dict[tuple[str, str, int, str], list[str]] = defaultdict(list)
    if len({one.order_id for one in adjustments}) > 1:
        msg = "adjustments of several orders: an RMA has one"
        raise ValueError(msg)
    for one in adjustments:
        if one.kind == "move":
            msg = f"{one.adjustment_key} is a move: it cannot be booked as a return"
            raise ValueError(msg)
        exchanged = one.unit_key if one.unit_key in instead else ""
        place = (one.row_id, one.location_id, one.scrap_quantity, exchanged)
        grouped[place].append(one.adjustment_key)
    return [
        BookingLine(
            row_id=row_id,
            location_id=location_id,
            quantity=len(keys),
            scrap_quantity=len(keys) * scrap,
            reason=f"Happy Returns {digest(keys)}",
            adjustment_keys=tuple(sorted(keys)),
            instead=instead.get(exchanged),
        )
        for (row_id, location_id, scrap, exchanged), keys in sorted(grouped.items())
    ]


def booking_reference(order_num_id: int, adjustment_keys: Sequence[str]) -> str:
    """The RMA's reference: the order's number and what is in it, at most 30 characters."""
    return f"HR-{order_num_id}-{digest(adjustment_keys)}"


def move_reference(order_num_id: int, adjustment_key: str) -> str:
    """Our mark in the history of a move: the order's number and which move it is."""
    return f"HRM-{order_num_id}-{digest([adjustment_key])}"


def digest(keys: Iterable[str]) -> str:
    """Twelve characters made from keys, in whatever order they come."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:12].upper()
