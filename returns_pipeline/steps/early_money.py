"""Money that somebody else sent in Linnworks for goods that are not back.

Here: which units it is about, how much, since when; the queue and the invariants ask the
same. Not here: reading it (``dispatch.readings``), and what is raised of it (``control``).
Driven by the open units, so that its cost does not grow with history.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain.money import share
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.types import Row


@dataclass(frozen=True, slots=True)
class SentByOthers:
    """A unit that is not back and for which others sent money; ``sent_at`` the first of it."""

    unit_key: str
    return_id: str
    order_number: str
    dropoff_method: str
    amount_minor: int
    currency: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class NotSent:
    """A refund of others that was created for rows of open units and not sent yet."""

    header_id: int
    amount_minor: int
    currency: str
    created_at: datetime
    units: tuple[Row, ...]


def left_us() -> sa.ColumnElement[bool]:
    """The condition on ``refunds_due`` that our own refund of a unit has left."""
    due = t.refunds_due.c
    return sa.or_(
        due.state.in_(("actioned", "recorded")),
        sa.and_(due.executor == "happy_returns", due.state != "refused"),
    )


def sent_by_others(connection: sa.Connection) -> list[SentByOthers]:
    """The open units that are not back and for which others sent money.

    A refund names an order row, not a unit. Of several units of a row those that are back
    and were not paid by us explain it first; a refund of a bundle is about all its parts.
    Units for which our own refund has left are not among them: those are counted as ours.
    """
    items = t.return_items.c
    waiting = sa.and_(items.is_open, items.received_at.is_(None), ~items.is_returnless)
    refunds = _of_others(connection, waiting, sent=True)
    found = []
    for row_id, units in _units_of(connection, refunds).items():
        sent = refunds[row_id]
        is_bundle = any(unit.row_id != row_id for unit in units)
        quantity = len(units) if is_bundle else sum(max(1, one.quantity) for one in sent)
        paid_for = sorted(units, key=lambda unit: (_is_waited_for(unit), unit.unit_no))[:quantity]
        total = sum(one.amount_minor for one in sent)
        for number, unit in enumerate(paid_for):
            if unit.is_open and _is_waited_for(unit):
                found.append(
                    SentByOthers(
                        unit_key=unit.unit_key,
                        return_id=unit.return_id,
                        order_number=unit.order_number,
                        dropoff_method=unit.dropoff_method,
                        amount_minor=share(total, len(paid_for), number),
                        currency=sent[0].currency,
                        sent_at=min(one.actioned_at for one in sent),
                    )
                )
    return sorted(found, key=lambda one: (one.sent_at, one.unit_key))


def not_sent_by_others(connection: sa.Connection, before: datetime) -> list[NotSent]:
    """Refunds of others about open units, created before an instant and not sent yet."""
    refunds = _of_others(connection, t.return_items.c.is_open, sent=False)
    units = _units_of(connection, refunds, paid_too=True)
    headers: dict[int, list[Any]] = defaultdict(list)
    for rows in refunds.values():
        for row in rows:
            if row.created_at <= before:
                headers[row.refund_header_id].append(row)
    return [
        NotSent(
            header_id=header_id,
            amount_minor=sum(row.amount_minor for row in rows),
            currency=rows[0].currency,
            created_at=rows[0].created_at,
            units=tuple(
                {
                    unit.unit_key: unit
                    for row in rows
                    for unit in units.get(row.row_id, ())
                    if unit.is_open
                }.values()
            ),
        )
        for header_id, rows in sorted(headers.items())
    ]


def _is_waited_for(unit: Any) -> bool:
    return unit.received_at is None and not unit.is_returnless


def _of_others(
    connection: sa.Connection, units: sa.ColumnElement[bool], *, sent: bool
) -> dict[str, list[Any]]:
    """Others' refunds by order row: those of the rows of some units, and of their bundles."""
    seen, lines = t.refund_readings.c, t.order_lines.c
    items, matched = t.return_items.c, t.matches.c
    rows = (
        sa.select(matched.row_id)
        .join(t.return_items, items.unit_key == matched.unit_key)
        .where(units)
    )
    bundles = (
        sa.select(lines.parent_row_id)
        .join(t.matches, matched.row_id == lines.row_id)
        .join(t.return_items, items.unit_key == matched.unit_key)
        .where(units, lines.parent_row_id.is_not(None))
    )
    query = (
        sa.select(t.refund_readings)
        .where(seen.row_id.is_not(None), ~seen.is_ours, ~seen.is_deleted)
        .where(seen.is_actioned if sent else ~seen.is_actioned)
        .where(seen.row_id.in_(sa.union_all(rows, bundles)))
        .order_by(seen.id)
    )
    found: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.row_id].append(row)
    return found


def _units_of(
    connection: sa.Connection, refunds: dict[str, list[Any]], *, paid_too: bool = False
) -> dict[str, Sequence[Any]]:
    """Every unit, open or not, of some order rows and bundles; those we paid where asked for."""
    items, matched, lines, due = (
        t.return_items.c,
        t.matches.c,
        t.order_lines.c,
        t.refunds_due.c,
    )
    paid = sa.exists().where(due.unit_key == items.unit_key, left_us())
    query = (
        sa.select(
            items.unit_key,
            items.return_id,
            items.order_number,
            items.dropoff_method,
            items.received_at,
            items.is_returnless,
            items.is_open,
            matched.row_id,
            matched.unit_no,
            lines.parent_row_id,
        )
        .join_from(t.order_lines, t.matches, matched.row_id == lines.row_id)
        .join(t.return_items, items.unit_key == matched.unit_key)
    )
    if not paid_too:
        query = query.where(~paid)
    orders = {row.order_id for rows in refunds.values() for row in rows}
    found: dict[str, list[Any]] = defaultdict(list)
    for unit in records.in_chunks(connection, query, lines.order_id, sorted(orders)):
        for row_id in (unit.row_id, unit.parent_row_id):
            if row_id in refunds:
                found[row_id].append(unit)
    return dict(found)
