"""The month-end pack: the books of a month as the files an accountant files away.

The workbook to read, each of its tables as CSV to work with, the figures as JSON, and a
manifest with the hash of each. Pure: the same books give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from returns_pipeline.reporting.books import Books
from returns_pipeline.reporting.exports.rows import Figure, csv_bytes, figure
from returns_pipeline.reporting.finance_book import finance_book, tables
from returns_pipeline.reporting.sections import COUNT, MONEY, Column

VERSION = 1


def pack(books: Books) -> dict[str, bytes]:
    """Every file of the pack, by name."""
    zone = ZoneInfo(books.time_zone)
    files = {f"books-{books.name}.xlsx": finance_book(books)}
    for one in tables(books):
        files[f"{one.name.replace('_', '-')}.csv"] = _csv(one.columns, one.rows, zone)
    files["figures.json"] = _json(books.figures())
    manifest = {
        "version": VERSION,
        "period": books.name,
        "locked": books.is_locked,
        "checks": [[check.name, check.state, check.says] for check in books.checks()],
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    }
    return {**files, "manifest.json": _json(manifest)}


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _csv(columns: Sequence[Column], rows: Sequence[Sequence[Any]], zone: ZoneInfo) -> bytes:
    head: list[str] = []
    for column in columns:
        head += [column.title]
        if column.kind == MONEY and not column.told:
            head += [f"{column.title} currency"]
    out: list[list[str]] = [head]
    for row in rows:
        cells: list[str] = []
        for column, value in zip(columns, row, strict=True):
            if column.kind == MONEY:
                minor, currency = value
                cells.append(Figure() if minor is None else figure(minor, currency))
                cells += [] if column.told else [currency]
            else:
                cells.append(_text(value, column, zone))
        out.append(cells)
    return csv_bytes(out)


def _text(value: Any, column: Column, zone: ZoneInfo) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(zone).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return Figure(value) if column.kind == COUNT else str(value)
