"""The generic journal of a batch: a long CSV and a JSON manifest beside it.

For a ledger that has no exporter here, and as the plain copy of what was sealed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from returns_pipeline.reporting.exports.journal import Journal, Ledger, Line, Written
from returns_pipeline.reporting.exports.rows import Figure, Row, csv_bytes, sides

NAME = "generic"
TITLE = "Generic journal, CSV and JSON"

COLUMNS = (
    "batch",
    "business_date",
    "origin_date",
    "line",
    "role",
    "account",
    "tax",
    "debit",
    "credit",
    "currency",
    "base_debit",
    "base_credit",
    "base_currency",
    "entity",
    "channel_group",
    "units",
)
VERSION = 2


def write(name: str, journals: Sequence[Journal], ledger: Ledger) -> Written:
    """Two files a batch, named by it, whatever was asked for. Refuses nothing."""
    del name, ledger
    files: dict[str, bytes] = {}
    hashes: dict[str, str] = {}
    for journal in journals:
        content = csv_bytes([COLUMNS, *_rows(journal)])
        files[f"{journal.batch_id}.csv"] = content
        files[f"{journal.batch_id}.json"] = _manifest(journal, content)
        hashes[journal.batch_id] = hashlib.sha256(content).hexdigest()
    return Written(files, hashes)


def _rows(journal: Journal) -> list[Row]:
    return [
        (
            journal.batch_id,
            journal.business_date.isoformat(),
            journal.origin_date.isoformat(),
            Figure(f"{line.number:02d}"),
            line.role,
            line.account,
            line.tax_key,
            *sides(line.minor, journal.currency),
            journal.currency,
            *_base(journal, line),
            journal.entity,
            journal.channel_group,
            " ".join(line.units),
        )
        for line in journal.lines
    ]


def _base(journal: Journal, line: Line) -> tuple[str, ...]:
    """The line in the merchant's currency, where the batch is in another."""
    if line.base_minor is None:
        return ("", "", "")
    return (*sides(line.base_minor, journal.base_currency), journal.base_currency)


def _manifest(journal: Journal, content: bytes) -> bytes:
    """What the CSV must contain, for whoever imports it."""
    document = {
        "version": VERSION,
        "batch": journal.batch_id,
        "kind": journal.kind,
        "business_date": journal.business_date.isoformat(),
        "origin_date": journal.origin_date.isoformat(),
        "entity": journal.entity,
        "channel_group": journal.channel_group,
        "currency": journal.currency,
        "content_hash": journal.hash,
        "totals": dict(journal.totals),
        "csv_sha256": hashlib.sha256(content).hexdigest(),
        "columns": COLUMNS,
    }
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
