"""Which replacements the RMA of the return makes itself (policy ``[exchange] way = "rma"``).

Linnworks makes the order of an exchange line, without a price, and links it (contract
Linnworks 4.2 A). So only even replacements go this way, and only while their goods are not
restocked yet; every other is ordered by ``replacements``. Each goes one way, entered in our
record before anything is sent.
"""

from __future__ import annotations

import sqlalchemy as sa

from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.dispatch import sent_by_others
from returns_pipeline.domain.adjustments import Instead
from returns_pipeline.domain.disposition import location_index, location_named
from returns_pipeline.domain.policy import Policy
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading


def instead(engine: sa.Engine, linnworks: Linnworks, policy: Policy) -> dict[str, Instead]:
    """What RMAs that are to be booked now send instead, by unit.

    Left out is what Linnworks has no item for, and any order that something of somebody
    else's has come of: those are looked at before they are ordered by themselves.

    Raises:
        VendorError: When it could not be looked.
    """
    if policy.exchange.way != "rma":
        return {}
    wanted, moved = t.exchange_orders.c, t.stock_adjustments.c
    query = (
        sa.select(wanted.unit_key, wanted.order_id, wanted.sku, wanted.quantity)
        .join_from(t.exchange_orders, t.stock_adjustments, moved.unit_key == wanted.unit_key)
        .where(wanted.state == "ready", t.among(wanted.state, t.UNCREATED_EXCHANGE))
        .where(wanted.is_even, wanted.note == "", moved.state == "ready", moved.kind != "move")
        .order_by(wanted.id)
    )
    with reading(engine) as connection:
        rows = connection.execute(query).all()
        known = {
            row.order_id: sent_by_others.known_children(connection, row.order_id) for row in rows
        }
        places = location_index(records.location_names(connection))
    despatch = location_named(policy.linnworks.exchange_location, places)
    if not rows or despatch is None:
        return {}
    items = linnworks.stock_item_ids([row.sku for row in rows])
    foreign = {
        order_id
        for order_id, ours in known.items()
        if sent_by_others.foreign_children(linnworks, order_id, ours)
    }
    return {
        row.unit_key: Instead(row.sku, items[row.sku], row.quantity, despatch)
        for row in rows
        if row.sku in items and row.order_id not in foreign
    }
