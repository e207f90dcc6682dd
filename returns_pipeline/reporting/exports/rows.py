"""Rows to CSV bytes and files: quoting, formulas, encodings, how many rows a file has.

The same rows always give the same bytes. Whatever is no ``Figure`` is a text, and a text
that a spreadsheet would take for a formula gets an apostrophe (CWE-1236): names come from
outside. Figures are never touched: a credit of Xero's begins with a minus.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from returns_pipeline.domain.money import format_minor
from returns_pipeline.reporting.exports.journal import Journal, Refused, Written

# What begins a formula: in ASCII, blank characters before it, and in full width.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")

Row = Sequence[str]


class Figure(str):
    """A number as printed, safe as it is."""

    __slots__ = ()


def figure(minor: int, currency: str) -> Figure:
    """An amount in major units: ``-2.50``."""
    return Figure(format_minor(minor, currency))


def sides(minor: int, currency: str) -> tuple[Figure, Figure]:
    """A signed amount as debit and credit, one of them empty; both where it is nothing."""
    if not minor:
        return (Figure(), Figure())
    amount = figure(abs(minor), currency)
    return (amount, Figure()) if minor > 0 else (Figure(), amount)


def guarded(text: str) -> str:
    """A text no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def fitted(text: str, width: int) -> str:
    """A text of a column of so many characters, guarded before it is cut."""
    return guarded(text)[:width].rstrip()


def csv_bytes(rows: Sequence[Row], encoding: str = "utf-8") -> bytes:
    """Rows as RFC 4180 CSV; a character the encoding lacks becomes a question mark."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    for row in rows:
        writer.writerow([cell if isinstance(cell, Figure) else guarded(cell) for cell in row])
    return out.getvalue().encode(encoding, "replace")


Block = Sequence[Row]
"""Rows that must stay together in one file."""


def refusing(
    journals: Sequence[Journal],
    problems: Callable[[Journal], list[str]],
    blocks: Callable[[Journal], list[Block]],
) -> dict[str, list[Block]]:
    """Every batch's blocks, if no batch has a problem.

    Lines that are nothing in the batch's currency are left out: a difference of rates is
    money in the merchant's currency alone.

    Raises:
        Refused: With every problem of every batch.
    """
    journals = [
        replace(journal, lines=tuple(line for line in journal.lines if line.minor))
        for journal in journals
    ]
    found = [problem for journal in journals for problem in problems(journal)]
    if found:
        raise Refused(found)
    return {journal.batch_id: blocks(journal) for journal in journals}


def packed(
    name: str,
    columns: Row,
    blocks: Mapping[str, Sequence[Block]],
    *,
    most_rows: int | None = None,
    encoding: str = "utf-8",
) -> Written:
    """Put blocks of rows into as few files as their order allows.

    Args:
        name: Begins the files' names.
        columns: The headings, on every file.
        blocks: By batch.
        most_rows: How many rows, without the headings, a file may have.
        encoding: Of the target.
    """
    parts: list[list[Row]] = [[]]
    for block in (block for own in blocks.values() for block in own):
        if most_rows is not None and parts[-1] and len(parts[-1]) + len(block) > most_rows:
            parts.append([])
        parts[-1].extend(block)
    width = len(str(len(parts)))
    files = {
        f"{name}.csv" if len(parts) == 1 else f"{name}-part{n:0{width}d}.csv": csv_bytes(
            [columns, *part], encoding
        )
        for n, part in enumerate(parts, start=1)
    }
    return Written(
        files=files,
        hashes={
            batch: hashlib.sha256(
                csv_bytes([row for block in own for row in block], encoding)
            ).hexdigest()
            for batch, own in blocks.items()
        },
    )
