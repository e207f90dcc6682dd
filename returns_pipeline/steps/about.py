"""What a task is about, by name: the units, returns and orders of the rows it was seen in.

Not here: what a task says (its predicate's), nor what it is worth (``worth``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict


class About(TypedDict):
    """The fields of ``ExceptionRaised`` that name things."""

    unit_keys: tuple[str, ...]
    return_ids: tuple[str, ...]
    order_numbers: tuple[str, ...]


def about(rows: Iterable[Any]) -> About:
    """The names in rows with a unit key, a return id and an order number."""
    rows = list(rows)
    return {
        "unit_keys": tuple(row.unit_key for row in rows),
        "return_ids": tuple(sorted({row.return_id for row in rows})),
        "order_numbers": tuple(sorted({row.order_number for row in rows if row.order_number})),
    }
