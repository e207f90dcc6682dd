"""What was written for people and programs, read as they read it: does it say what is sealed?"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from openpyxl import load_workbook

from returns_pipeline.storage import tables as t
from returns_pipeline_tests.finance.books import Books
from returns_pipeline_tests.reporting.exports.ledgers import (
    NetSuite,
    QuickBooks,
    Rejected,
    Sage50,
    Xero,
)

PROGRAMS = {"xero": Xero, "quickbooks": QuickBooks, "sage50": Sage50, "netsuite": NetSuite}
_IN_POUNDS = {"xero", "sage50"}
_ROUNDING = "8290"
_PARTS = {  # a control total, and the columns of the units' sheet that come to it
    "Given back, with VAT": ("Returned, net", "Shipping, net", "VAT"),
    "of it VAT": ("VAT",),
    "of it shipping, net": ("Shipping, net",),
    "Fees kept, net": ("Fee, net",),
    "VAT on fees": ("VAT on fee",),
    "Refunds to shoppers": ("Refunded",),
    "Store credit given": ("Store credit",),
    "Exchanges": ("Exchange",),
}


def programs(books: Books, journals: Path) -> list[str]:
    """Every batch's files are taken by each program, which books what is sealed."""
    told = []
    for name, make in PROGRAMS.items():
        program = make()
        try:
            for path in sorted((journals / name).glob("*.csv")):
                program.import_file(path.read_bytes())
        except Rejected as error:
            told.append(f"{name} refuses {path.name}: {error}")
            continue
        booked = Counter({code: minor for code, minor in program.books.items() if minor})
        expected = _by_account(books, in_pounds=name in _IN_POUNDS, vat=name != "xero")
        if name == "xero":  # its own VAT, and the pennies by which that is not ours
            whole = _by_account(books, in_pounds=True, vat=True)
            if program.vat + booked.pop(_ROUNDING, 0) != whole["2200"]:
                told.append(f"xero: {program.vat} of VAT and its rounding are not {whole['2200']}")
        if booked != expected:
            told.append(f"{name} books {dict(booked)}, sealed is {dict(expected)}")
    return told + _generic(books, journals)


def _by_account(books: Books, *, in_pounds: bool, vat: bool) -> Counter[str]:
    line = t.batch_lines.c
    amount = (
        sa.func.coalesce(line.base_minor, line.amount_minor) if in_pounds else line.amount_minor
    )
    signed = sa.case((line.side == "debit", amount), else_=-amount)
    query = sa.select(line.account, sa.func.sum(signed)).group_by(line.account)
    if not vat:
        query = query.where(line.role != "vat_output")
    return Counter({code: int(minor) for code, minor in books.rows(query) if minor})


def _generic(books: Books, journals: Path) -> list[str]:
    """The long CSV, line by line; the manifest's hash and totals."""
    told = []
    for batch_id, batch in books.batches().items():
        manifest = json.loads((journals / f"{batch_id}.json").read_text("utf-8"))
        if manifest["content_hash"] != batch.hash:
            told.append(f"the manifest of {batch_id} has another hash")
        text = (journals / f"{batch_id}.csv").read_text("utf-8")
        total: Counter[str] = Counter()
        for row in csv.DictReader(io.StringIO(text, newline="")):
            for side in ("debit", "credit"):
                total[side] += _minor(row[side])
        totals = json.loads(batch.totals)
        if total["debit"] != totals["debit"] or total["credit"] != totals["credit"]:
            told.append(f"{batch_id}.csv comes to {dict(total)}, not to its control totals")
    return told


def _minor(value: Any) -> int:
    return int(Decimal(str(value or 0)) * 100)


# --- the workbook -------------------------------------------------------------------


def workbook(path: Path) -> list[str]:
    """Whether every verdict is good, and the totals come to the lists of items."""
    book = load_workbook(path, read_only=True)
    summary = [[cell.value for cell in row] for row in book["Summary"].iter_rows()]
    told = [f"{path.name}: {row[0]}: {row[2]}" for row in summary if row[1] in {"wrong", "look"}]
    if sum(row[1] == "in order" for row in summary) != 6:
        told.append(f"{path.name}: not six verdicts")
    told += _totals(path.name, summary, _table(book["Units"]))
    told += _lines(path.name, _table(book["Batches"]), _table(book["Lines"]))
    return told + _balances(path.name, summary, _table(book["Open items"]))


def _table(sheet: Any) -> list[dict[str, Any]]:
    head, *rows = ([cell.value for cell in row] for row in sheet.iter_rows())
    return [dict(zip(head, row, strict=True)) for row in rows]


def _after(summary: list[list[Any]], heading: str) -> tuple[list[Any], list[list[Any]]]:
    """A block's head and rows."""
    start = next(n for n, row in enumerate(summary) if row[0] == heading)
    end = next((n for n in range(start + 2, len(summary)) if summary[n][0] is None), len(summary))
    return summary[start + 1], summary[start + 2 : end]


def _totals(name: str, summary: list[list[Any]], units: list[dict[str, Any]]) -> list[str]:
    head, rows = _after(summary, "Control totals")
    told = []
    for place, currency in enumerate(head[1:], start=1):
        if not currency:
            continue
        mine = [unit for unit in units if unit["Currency"] == currency]
        for row in rows:
            if row[0] not in _PARTS:
                continue
            listed = sum(_minor(unit[column]) for unit in mine for column in _PARTS[row[0]])
            if listed != _minor(row[place]):
                what = f"{row[0]} {currency}: {_minor(row[place])}, the units come to {listed}"
                told.append(f"{name}: {what}")
    return told


def _lines(name: str, batches: list[dict[str, Any]], lines: list[dict[str, Any]]) -> list[str]:
    total: Counter[tuple[str, str]] = Counter()
    for line in lines:
        for side in ("Debit", "Credit"):
            total[line["Batch"], side] += _minor(line[side])
    return [
        f"{name}: {side} of {batch['Batch']}"
        for batch in batches
        for side in ("Debit", "Credit")
        if total[batch["Batch"], side] != _minor(batch[side])
    ]


def _balances(name: str, summary: list[list[Any]], items: list[dict[str, Any]]) -> list[str]:
    _, rows = _after(summary, "Open at the period's end")
    listed: Counter[tuple[str, str]] = Counter()
    for item in items:
        listed[item["Account"], item["Currency"]] += _minor(item["Open"])
    told = []
    for row in rows:
        account, currency = row[0].split()[0], row[0][-3:]
        if _minor(row[1]) != listed.pop((account, currency), 0):
            told.append(f"{name}: {row[0]} is not its items")
    return told + [f"{name}: {key} has items and no balance" for key in listed]
