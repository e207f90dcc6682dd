"""What others did in Linnworks: returns booked and actioned by staff or a channel, in bulk.

One search of a few pages instead of a look at every order. What is read here only says
where a closer look is due; nothing is decided from it alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from returns_pipeline.clients.linnworks import Linnworks, ReturnRow
from returns_pipeline.clients.transport import ContractBroken
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert
from returns_pipeline.storage.engine import reading

_READ = "linnworks.bookings"
# Orders whose returns are still of interest were despatched within the return window.
_FIRST_WINDOW = timedelta(days=90)
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
    with reading(engine) as connection:
        last = records.watermark(connection, _READ)
    since = (last - overlap) if last else now - _FIRST_WINDOW
    found: dict[int, tuple[object, ...]] = {}
    # Booked first: what was actioned meanwhile is told again, and stands.
    for date_type in ("BOOKED", "ACTIONED"):
        for row in _rows(linnworks, since, now + timedelta(minutes=1), date_type):
            found[row.pkReturnId] = _values(row, date_type, now)
    with engine.begin() as connection:
        upsert(connection, t.restock_readings, _COLUMNS, list(found.values()), key=("rma_row_id",))
        records.move_watermark(connection, _READ, now=now, at=now)
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
        _instant(row.LastDate) if actioned else None,
        now,
    )


def _instant(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ContractBroken("SearchReturnsRefundsPaged", "LastDate is no date") from error
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
