"""Comparing what we posted with what Linnworks says: every difference is somebody's.

Pure set logic over what was read; reading is ``steps.control``'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from returns_pipeline.domain.model import ExceptionRaised, Severity


@dataclass(frozen=True, slots=True)
class Restock:
    """Units of one SKU of one order that went to one location.

    ``sellable`` is what our decision says; ``None`` in Linnworks' telling.
    """

    order_id: str
    sku: str
    location_id: str
    sellable: bool | None
    quantity: int
    scrap_quantity: int
    unit_keys: tuple[str, ...]


def compare_restocks(
    ours: Sequence[Restock],
    theirs: Sequence[Restock],
    *,
    location_names: Mapping[str, str],
    sellable: Collection[str],
) -> list[ExceptionRaised]:
    """The differences between our posted units and Linnworks' actioned returns.

    Args:
        ours: Posted adjustments, summed.
        theirs: Linnworks' rows of the same orders.
        location_names: To print a location.
        sellable: The locations that only sellable units may enter.
    """
    mine: Counter[tuple[str, str, str]] = Counter()
    keys: dict[tuple[str, str], list[str]] = {}
    damaged: Counter[tuple[str, str]] = Counter()
    for row in ours:
        mine[row.order_id, row.sku, row.location_id] += row.quantity
        keys.setdefault((row.order_id, row.sku), []).extend(row.unit_keys)
        if row.sellable is False:
            damaged[row.order_id, row.sku] += row.quantity
    read: Counter[tuple[str, str, str]] = Counter()
    for row in theirs:
        read[row.order_id, row.sku, row.location_id] += row.quantity
    raised = []
    for order_id, sku in sorted(keys):
        expected = {p[2]: n for p, n in mine.items() if p[:2] == (order_id, sku)}
        found = {p[2]: n for p, n in read.items() if p[:2] == (order_id, sku)}
        if expected == found:
            continue
        raised.append(
            _difference(
                order_id,
                sku,
                expected,
                found,
                tuple(sorted(keys[order_id, sku])),
                location_names,
                sellable,
                damaged[order_id, sku],
            )
        )
    return raised


def _difference(  # noqa: PLR0913, PLR0917
    order_id: str,
    sku: str,
    expected: Mapping[str, int],
    found: Mapping[str, int],
    unit_keys: tuple[str, ...],
    names: Mapping[str, str],
    sellable: Collection[str],
    damaged: int,
) -> ExceptionRaised:
    def told(places: Mapping[str, int]) -> str:
        parts = (f"{n} in {names.get(p, p)}" for p, n in sorted(places.items()))
        return ", ".join(parts) or "none"

    message = f"{sku}: we posted {told(expected)}; Linnworks has {told(found)}"
    wanted, there = sum(expected.values()), sum(found.values())
    good_there = sum(n for place, n in found.items() if place in sellable)
    good_wanted = sum(n for place, n in expected.items() if place in sellable)
    code, severity = "WRONG_LOCATION", Severity.S2
    if there > wanted:
        code, severity = "DOUBLE_RESTOCK", Severity.S1
    elif there < wanted:
        code, severity = "STOCK_DRIFT", Severity.S2
    elif damaged and good_there > good_wanted:
        code, severity = "CO_MINGLED_STOCK", Severity.S1
    elif good_there != good_wanted:
        severity = Severity.S1
    return ExceptionRaised(
        code=code,
        key=f"{order_id}:{sku}",
        message=message,
        unit_keys=unit_keys,
        severity=severity,
    )
