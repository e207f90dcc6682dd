"""What others did in Linnworks, in bulk: returns and refunds of staff or a channel.

One search of a few pages instead of a look at every order. Of returns it only says where a
closer look is due; nothing is decided from it alone. Of refunds that closer look is taken
here: the search names no order line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import sqlalchemy as sa

from returns_pipeline.clients.linnworks import (
    Linnworks,
    RefundHeader,
    RefundLine,
    RefundRow,
    ReturnRow,
    instant,
)
from returns_pipeline.clients.transport import ContractBroken
from returns_pipeline.dispatch import refunds, restocks
from returns_pipeline.domain.money import CURRENCIES, exponent
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert

_SEARCH = "SearchReturnsRefundsPaged"
_REFUNDS_READ = "linnworks.refunds"
# Orders whose returns are still of interest were despatched within the return window.
_FIRST_WINDOW = timedelta(days=90)
# Our clock may be behind theirs: what was just done there must not seem to lie ahead.
_AHEAD = timedelta(hours=1)
_COLUMNS = (
    "rma_row_id",
    "order_id",
    "reference",
    "sku",
    "location_id",
    "quantity",
    "scrap_quantity",
    "actioned_at",
    "read_at",
)


def read_bookings(
    engine: sa.Engine, linnworks: Linnworks, *, now: datetime, overlap: timedelta
) -> dict[str, int]:
    """Read the returns booked and actioned since the last reading, less an overlap.

    Raises:
        VendorError: When it could not be read; nothing is stored then.
    """
    since = records.window_start(
        engine, restocks.BULK, now=now, overlap=overlap, first=_FIRST_WINDOW
    )
    if since is None:
        return {"bookings_read": 0}
    found: dict[int, tuple[object, ...]] = {}
    # Booked first: what was actioned meanwhile is told again, and stands.
    for date_type in ("BOOKED", "ACTIONED"):
        for row in _rows(linnworks, since, now + _AHEAD, date_type):
            found[row.pkReturnId] = _values(row, date_type, now)
    with engine.begin() as connection:
        upsert(connection, t.restock_readings, _COLUMNS, list(found.values()), key=("rma_row_id",))
        records.move_watermark(connection, restocks.BULK, now=now, at=now)
    return {"bookings_read": len(found)}


def _rows(
    linnworks: Linnworks, since: datetime, until: datetime, date_type: str
) -> Iterator[ReturnRow]:
    for page in linnworks.returned_rows(since, until, date_type=date_type):
        yield from page


def _values(row: ReturnRow, date_type: str, now: datetime) -> tuple[object, ...]:
    actioned = date_type == "ACTIONED" or not (row.RowType or "").endswith("BOOKING")
    return (
        row.pkReturnId,
        row.pkOrderID.lower(),
        row.ReturnReference or "",
        row.cItemNumber or "",
        (row.fkReturnLocationId or "").lower(),
        row.ReturnQty or 0,
        row.ScrapQty or 0,
        instant(row.LastDate, _SEARCH, "LastDate") if actioned else None,
        now,
    )


# --- refunds ----------------------------------------------------------------------

_SEEN = (
    "refund_row_id",
    "refund_header_id",
    "order_id",
    "row_id",
    "unit",
    "quantity",
    "amount_minor",
    "currency",
    "created_at",
    "is_actioned",
    "actioned_at",
    "is_ours",
    "is_deleted",
    "read_at",
)
_HEADERS = "GetRefundHeadersByOrderId"
# The look at an order is a call: the first reading of a large account takes some ticks.
_LOOKS_A_READING = 100
# How long a refund of others that stands beside ours is looked at again.
_BESIDE_OURS = timedelta(days=14)


@dataclass(slots=True)
class _Ours:
    """What tells our refunds of one order from those of others."""

    headers: set[int] = field(default_factory=set)
    rows: dict[str, int] = field(default_factory=dict)  # refund row id to its header
    references: set[str] = field(default_factory=set)

    def made(self, header: RefundHeader, line: RefundLine) -> bool:
        """Whether a line of a refund is ours."""
        if header.RefundHeaderId in self.headers:
            return True
        return bool(self.references & {line.ExternalReference, line.FreeTextOrNote})


def read_refunds(
    engine: sa.Engine,
    linnworks: Linnworks,
    *,
    now: datetime,
    overlap: timedelta,
    recheck: bool = False,
) -> dict[str, int]:
    """Read the refunds created and sent since the last reading, less an overlap.

    Then the refunds of the orders that have a unit of ours and a refund of somebody else
    not seen in detail yet: only an order's own refunds name its rows. A unit that was given
    up is open again when its money turns out to have left.

    Args:
        engine: The database.
        linnworks: The account.
        now: The instant of the reading.
        overlap: How far before the last reading it begins.
        recheck: Look at the orders for which we paid as well, and again at those where a
            refund of others is about an open unit or stands beside ours: it may be gone, which
            no search tells.

    Raises:
        VendorError: When it could not be read. What the search found is stored with its
            watermark before the orders are looked at; those that were not are next time's.
    """
    since = records.window_start(
        engine, _REFUNDS_READ, now=now, overlap=overlap, first=_FIRST_WINDOW
    )
    if since is None:
        return {"refunds_read": 0, "refunds_seen": 0}
    found: dict[str, RefundRow] = {}
    for date_type in ("BOOKED", "ACTIONED"):
        for page in linnworks.refunded_rows(since, now + _AHEAD, date_type=date_type):
            found.update((row.pkRefundRowId.lower(), row) for row in page)
    with engine.begin() as connection:
        _store_found(connection, found, now)
        records.move_watermark(connection, _REFUNDS_READ, now=now, at=now)
        wanted = _unseen(connection, now, of_paid=recheck)
        if recheck:
            wanted = list(dict.fromkeys([*wanted, *_unsent(connection, now)]))
    for order_id in wanted[:_LOOKS_A_READING]:
        headers = linnworks.refund_headers(order_id)
        with engine.begin() as connection:
            _store_order(connection, order_id, headers, now)
    return {"refunds_read": len(found), "refunds_seen": min(len(wanted), _LOOKS_A_READING)}


def _ours(connection: sa.Connection, order_ids: Iterable[str]) -> dict[str, _Ours]:
    intents = t.intents.c
    query = sa.select(intents.subject, intents.reference, intents.state, intents.evidence).where(
        intents.kind == refunds.CREATE
    )
    subjects = {refunds.refund_subject(order_id): order_id for order_id in order_ids}
    known: dict[str, _Ours] = defaultdict(_Ours)
    for row in records.in_chunks(connection, query, intents.subject, subjects):
        ours = known[subjects[row.subject]]
        ours.references.add(row.reference)
        if row.state == "confirmed":
            header_id = row.evidence["header_id"]
            ours.headers.add(header_id)
            ours.rows.update((r.lower(), header_id) for r in row.evidence.get("rows", ()) if r)
    return known


def _store_found(connection: sa.Connection, found: dict[str, RefundRow], now: datetime) -> None:
    """Enter what the search says; of rows known already the amount and whether they were sent."""
    known = _ours(connection, {row.pkOrderID.lower() for row in found.values()})
    rows = []
    for row_id, row in found.items():
        order_id = row.pkOrderID.lower()
        created = instant(row.CreateDate, _SEARCH, "CreateDate")
        actioned = instant(row.ActionDate, _SEARCH, "ActionDate") or created or now
        header_id = known[order_id].rows.get(row_id) if order_id in known else None
        currency = row.cCurrency if row.cCurrency in CURRENCIES else ""
        rows.append(
            (
                row_id,
                header_id,
                order_id,
                None,
                "",
                0,
                _minor(row.Amount or Decimal(0), currency) if currency else 0,
                currency,
                created or now,
                row.is_actioned,
                actioned if row.is_actioned else None,
                header_id is not None,
                False,
                now,
            )
        )
    told = ("is_actioned", "actioned_at", "read_at")
    priced = _SEEN.index("currency")
    for update, part in (
        (told, [row for row in rows if not row[priced]]),
        (("amount_minor", "currency", *told), [row for row in rows if row[priced]]),
    ):
        upsert(connection, t.refund_readings, _SEEN, part, key=("refund_row_id",), update=update)


def _unseen(connection: sa.Connection, now: datetime, *, of_paid: bool) -> list[str]:
    """Orders with a refund not seen in detail and a unit of ours that may be waited for.

    ``of_paid`` adds the orders for which we paid: somebody else's refund may be the second.
    """
    seen, lines = t.refund_readings.c, t.order_lines.c
    items, matched = t.return_items.c, t.matches.c
    unit = (
        sa.select(lines.row_id)
        .join(t.matches, matched.row_id == lines.row_id)
        .join(t.return_items, items.unit_key == matched.unit_key)
        .where(lines.order_id == seen.order_id)
        .where(sa.or_(items.is_open, items.received_at.is_(None)))
    )
    wanted: sa.ColumnElement[bool] = unit.exists()
    if of_paid:
        wanted = sa.or_(wanted, sa.exists().where(t.refunds_due.c.order_id == seen.order_id))
    query = (
        sa.select(seen.order_id, seen.refund_row_id)
        .where(seen.refund_header_id.is_(None), ~seen.is_deleted)
        .where(seen.created_at > now - _FIRST_WINDOW, wanted)
        .order_by(seen.created_at, seen.id)
    )
    rows = connection.execute(query).all()
    known = _ours(connection, {row.order_id for row in rows})
    orders: dict[str, None] = {}
    for order_id, row_id in rows:
        # Ours when its answer was lost at first, and settled since.
        header_id = known[order_id].rows.get(row_id) if order_id in known else None
        if header_id is None:
            orders[order_id] = None
        else:
            connection.execute(
                sa.update(t.refund_readings)
                .where(seen.refund_row_id == row_id)
                .values(refund_header_id=header_id, is_ours=True)
            )
    return list(orders)


def _unsent(connection: sa.Connection, now: datetime) -> list[str]:
    """Orders with a refund of others that may be gone, oldest reading first.

    One of an open unit that is not ours; or one that stands beside ours.
    """
    seen, items, matched = t.refund_readings.c, t.return_items.c, t.matches.c
    open_rows = (
        sa.select(matched.row_id)
        .join(t.return_items, items.unit_key == matched.unit_key)
        .where(items.is_open)
    )
    of_late = seen.actioned_at > now - _BESIDE_OURS
    beside_ours = sa.exists().where(t.refunds_due.c.row_id == seen.row_id)
    query = (
        sa.select(seen.order_id)
        .where(seen.row_id.is_not(None), ~seen.is_ours, ~seen.is_deleted)
        .where(
            sa.or_(
                seen.row_id.in_(open_rows),
                sa.and_(of_late, beside_ours),
            )
        )
        .order_by(seen.read_at, seen.id)
    )
    return list(dict.fromkeys(connection.execute(query).scalars()))


def _store_order(
    connection: sa.Connection, order_id: str, headers: Sequence[RefundHeader], now: datetime
) -> None:
    """Enter an order's refunds in detail; what is not among them any more is marked gone."""
    ours = _ours(connection, [order_id]).get(order_id, _Ours())
    query = sa.select(t.orders.c.currency).where(t.orders.c.order_id == order_id)
    currency = connection.execute(query).scalar_one()
    rows = [
        _in_detail(header, line, order_id, currency, ours, now)
        for header in headers
        for line in header.RefundLines or []
    ]
    upsert(connection, t.refund_readings, _SEEN, rows, key=("refund_row_id",))
    seen = t.refund_readings.c
    connection.execute(
        sa.update(t.refund_readings)
        .where(seen.order_id == order_id, seen.refund_row_id.not_in([row[0] for row in rows]))
        .values(is_deleted=True, read_at=now)
    )
    _open_again(connection, order_id)


def _in_detail(  # all of it is one row
    header: RefundHeader,
    line: RefundLine,
    order_id: str,
    currency: str,
    ours: _Ours,
    now: datetime,
) -> tuple[object, ...]:
    if not line.RefundRowId:
        raise ContractBroken(_HEADERS, "a refund line without its id")
    created = instant(header.CreatedDate, _HEADERS, "CreatedDate") or now
    is_actioned = line.Actioned or bool(header.Actioned)
    actioned = instant(line.ActionedDate or header.LastActionDate, _HEADERS, "ActionedDate")
    row_id = (line.RefundedItem.OrderItemRowId or "") if line.RefundedItem else ""
    # Where it names none of its own, the order's: that it left is more than its amount.
    currency = header.Currency if header.Currency in CURRENCIES else currency
    return (
        line.RefundRowId.lower(),
        header.RefundHeaderId,
        order_id,
        row_id.lower() or None,
        line.RefundedUnit or "",
        max(0, line.Quantity or 0),
        _minor(line.Amount, currency),
        currency,
        created,
        is_actioned,
        (actioned or created) if is_actioned else None,
        ours.made(header, line),
        bool(line.Deleted),
        now,
    )


def _minor(amount: Decimal, currency: str) -> int:
    """Somebody else's amount in minor units; it may have been typed with more decimals."""
    return int(amount.scaleb(exponent(currency)).to_integral_value(ROUND_HALF_UP))


def _open_again(connection: sa.Connection, order_id: str) -> None:
    """Open the units that were given up and for which others sent money."""
    seen, items, matched = t.refund_readings.c, t.return_items.c, t.matches.c
    refunded = sa.select(seen.row_id).where(
        seen.order_id == order_id,
        seen.row_id.is_not(None),
        seen.is_actioned,
        ~seen.is_ours,
        ~seen.is_deleted,
    )
    units = sa.select(matched.unit_key).where(matched.row_id.in_(refunded))
    connection.execute(
        sa.update(t.return_items)
        .where(items.unit_key.in_(units), items.received_at.is_(None))
        .where(~items.is_open, ~items.is_returnless)
        .values(is_open=True)
    )
