"""Writing the books of a period: the month-end pack, and a day's workbook.

What is in them is ``reporting.pack``'s and ``reporting.finance_book``'s; what is read,
``books``'.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from returns_pipeline.reporting.books import Books
from returns_pipeline.reporting.pack import pack
from returns_pipeline.settings import Settings
from returns_pipeline.steps import books, closing, periods


def pack_folder(settings: Settings, month: str) -> Path:
    """Where a month's pack goes if nobody says: beside the journals."""
    return closing.journal_folder(settings).parent / "month-end" / month


def write_pack(
    engine: sa.Engine, month: str, settings: Settings, folder: Path | None = None
) -> tuple[Books, tuple[Path, ...]]:
    """Write a month's pack; each file is there whole or not at all.

    Returns:
        The books, and the files, the workbook first.

    Raises:
        NoPeriod: When the text names no month.
        OSError: When files cannot be written there.
    """
    period = books.month(periods.month(month))
    made = books.books(engine, period, policy=settings.policy)
    place = folder or pack_folder(settings, month)
    place.mkdir(parents=True, exist_ok=True)
    files = pack(made)
    for name, data in files.items():
        partial = place / f"{name}.part"
        partial.write_bytes(data)
        partial.replace(place / name)
    return made, tuple(place / name for name in files)
