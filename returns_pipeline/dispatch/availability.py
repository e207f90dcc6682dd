"""Whether a replacement can be ordered now: there is such an item, and enough of it.

Looked at before anything is intended, at every sync, until it is so. Nothing is guessed: an
item that Linnworks does not know waits for a person, one that is out of stock for stock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.domain.disposition import location_index, location_named
from returns_pipeline.domain.policy import Policy
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading

OUT_OF_STOCK = "EXCHANGE_OOS"
_NO_ITEM = "SKU_UNKNOWN"


def look(engine: sa.Engine, linnworks: Linnworks, policy: Policy) -> dict[str, int]:
    """Note on each replacement that is due why it cannot be ordered now; clear what is over.

    Returns:
        How many wait for stock, and how many have no item.

    Raises:
        VendorError: When it could not be looked; what was noted stays.
    """
    wanted = t.exchange_orders.c
    query = (
        sa.select(wanted.id, wanted.sku, wanted.quantity, wanted.state, wanted.note)
        .where(t.among(wanted.state, t.UNCREATED_EXCHANGE))
        .where(wanted.state.in_(("ready", "intended")))
    )
    with reading(engine) as connection:
        # In order afterwards: asked for it, SQLite would go through all there ever were.
        rows = sorted(connection.execute(query).all(), key=lambda row: row.id)
        places = location_index(records.location_names(connection))
    ready = [row for row in rows if row.state == "ready"]
    if not ready:
        return {}
    items = linnworks.stock_item_ids([row.sku for row in ready])
    despatch = location_named(policy.linnworks.exchange_location, places)
    left = None
    if policy.exchange.check_stock and despatch is not None:
        left = _available(linnworks, items, despatch)
        for row in rows:
            if row.state == "intended":  # not an order yet, perhaps, and so in no order book
                left[row.sku] -= row.quantity
    notes = _notes(ready, items, left)
    with engine.begin() as connection:
        for row in ready:
            if notes[row.id] != row.note:
                connection.execute(
                    sa.update(t.exchange_orders)
                    .where(wanted.id == row.id, wanted.state == "ready")
                    .values(note=notes[row.id])
                )
    codes = Counter(note.partition(":")[0] for note in notes.values() if note)
    named = (("out_of_stock", OUT_OF_STOCK), ("no_such_item", _NO_ITEM))
    return {name: codes[code] for name, code in named if codes[code]}


def _available(linnworks: Linnworks, items: dict[str, str], place: str) -> Counter[str]:
    """How many of each SKU nobody has ordered, at the place replacements leave from."""
    skus = {item_id: sku for sku, item_id in items.items()}
    found: Counter[str] = Counter()
    for level in linnworks.stock_levels(sorted(skus)):
        if level.location_id == place.lower() and level.item_id in skus:
            found[skus[level.item_id]] += level.available
    return found


def _notes(
    ready: Sequence[Any], items: dict[str, str], left: Counter[str] | None
) -> dict[int, str]:
    notes = {}
    for row in ready:
        note = ""
        if row.sku not in items:
            note = f"{_NO_ITEM}: Linnworks has no item {row.sku}: unknown, archived or not linked"
        elif left is not None and left[row.sku] < row.quantity:
            here = max(0, left[row.sku])
            note = f"{OUT_OF_STOCK}: {row.quantity} of {row.sku} wanted, {here} available"
        elif left is not None:
            left[row.sku] -= row.quantity  # first come, first served
        notes[row.id] = note
    return notes
