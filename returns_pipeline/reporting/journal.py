"""The generic journal of a sealed batch: a long CSV and a JSON manifest beside it.

The same batch always gives the same bytes. Text that a spreadsheet would take for a
formula is quoted with an apostrophe (CWE-1236); numbers stay numbers.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from returns_pipeline.domain.money import format_minor

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
    "units",
)
VERSION = 1
# What begins a formula: in ASCII, blank characters before it, and in full width.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def guarded(text: str) -> str:
    """A text no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def journal_csv(batch: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> bytes:
    """The batch's lines as RFC 4180 CSV, UTF-8, amounts in major units."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in lines:
        amount = format_minor(line["amount_minor"], line["currency"])
        debit = line["side"] == "debit"
        texts = (line["role"], line["account"], line["tax_key"])
        writer.writerow(
            (
                batch["batch_id"],
                batch["business_date"].isoformat(),
                batch["origin_date"].isoformat(),
                f"{line['number']:02d}",
                *(guarded(text) for text in texts),
                amount if debit else "",
                "" if debit else amount,
                line["currency"],
                guarded(" ".join(json.loads(line["unit_keys"]))),
            )
        )
    return out.getvalue().encode()


def manifest(batch: Mapping[str, Any], csv_bytes: bytes) -> bytes:
    """What the CSV must contain, for whoever imports it."""
    document = {
        "version": VERSION,
        "batch": batch["batch_id"],
        "kind": batch["kind"],
        "business_date": batch["business_date"].isoformat(),
        "origin_date": batch["origin_date"].isoformat(),
        "entity": batch["entity"],
        "currency": batch["currency"],
        "content_hash": batch["hash"],
        "totals": json.loads(batch["totals"]),
        "csv_sha256": hashlib.sha256(csv_bytes).hexdigest(),
        "columns": COLUMNS,
    }
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def write(folder: Path, batch: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write the batch's two files; a file is there whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    content = journal_csv(batch, lines)
    files = {
        folder / f"{batch['batch_id']}.csv": content,
        folder / f"{batch['batch_id']}.json": manifest(batch, content),
    }
    for path, data in files.items():
        partial = path.with_suffix(path.suffix + ".part")
        partial.write_bytes(data)
        partial.replace(path)
    return list(files)
