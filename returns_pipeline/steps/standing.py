"""Where restocked units stand: by our books, and by what Linnworks was read to say.

Here: both tellings, order by order, in the form that ``domain.reconciliation`` compares.
Not here: reading Linnworks (``dispatch.readings``), and what comes of a difference
(``reconciling``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain.reconciliation import Restock
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t


@dataclass(frozen=True, slots=True)
class Standing:
    """Both tellings of some orders.

    ``theirs`` are Linnworks' actioned rows and what our moves did to them.
    """

    ours: list[Restock]
    theirs: list[Restock]


def of_orders(
    connection: sa.Connection,
    order_ids: Collection[str],
    *,
    told_at: datetime | None = None,
    since: datetime | None = None,
) -> Standing:
    """Where the units of these orders stand.

    Args:
        connection: To read by.
        order_ids: The orders.
        told_at: Of the reading that has just gone back to ``since``: what it did not tell of
            that time is not there any more.
        since: From when on that reading told everything.
    """
    moved, read = t.stock_adjustments.c, t.restock_readings.c
    query = sa.select(
        moved.id,
        moved.unit_key,
        moved.kind,
        moved.order_id,
        moved.sku,
        moved.location_id,
        moved.from_location_id,
        moved.scrap_quantity,
        moved.is_sellable,
    ).where(moved.state == "posted")
    by_unit: dict[str, list[Any]] = defaultdict(list)
    for row in records.in_chunks(connection, query, moved.order_id, order_ids):
        by_unit[row.unit_key].append(row)
    last: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    theirs: list[Restock] = []
    for key, rows in by_unit.items():
        rows.sort(key=lambda row: row.id)
        one = rows[-1]
        place = (one.order_id, one.sku, one.location_id, one.is_sellable, one.scrap_quantity)
        last[place].append(key)
        theirs.extend(_moves(rows))
    ours = [
        Restock(order, sku, place, sellable, len(keys), scrap * len(keys), tuple(sorted(keys)))
        for (order, sku, place, sellable, scrap), keys in last.items()
    ]
    told = sa.select(
        read.order_id, read.sku, read.location_id, read.quantity, read.scrap_quantity
    ).where(read.actioned_at.is_not(None))
    if told_at is not None and since is not None:
        told = told.where(sa.or_(read.read_at == told_at, read.actioned_at < since))
    theirs += [
        Restock(row[0], row[1], row[2], None, row[3], row[4], ())
        for row in records.in_chunks(connection, told, read.order_id, order_ids)
    ]
    return Standing(ours, theirs)


def _moves(rows: Iterable[Any]) -> list[Restock]:
    """What the moves that were made changed: gone from here, come there."""
    found = []
    scrapped = 0
    for row in rows:
        if row.kind == "move":
            here, there = row.from_location_id, row.location_id
            found.append(Restock(row.order_id, row.sku, here, None, -1, -scrapped, ()))
            found.append(Restock(row.order_id, row.sku, there, None, 1, row.scrap_quantity, ()))
        scrapped = row.scrap_quantity
    return found
