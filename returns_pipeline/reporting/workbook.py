"""A day's report as an XLSX workbook: a sheet a section, typed cells. Pure: bytes out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

from openpyxl import Workbook
from openpyxl.cell import Cell
from openpyxl.formatting.rule import CellIsRule
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.table import Table, TableStyleInfo
from openpyxl.worksheet.worksheet import Worksheet

from returns_pipeline.domain.money import exponent, format_minor
from returns_pipeline.reporting.day import DayReport, amounts_text
from returns_pipeline.reporting.sections import COUNT, INSTANT, MONEY, TEXT, Column, sections

_BOLD = Font(bold=True)
_COLOURS = {"good": "C6EFCE", "watch": "FFEB9C", "bad": "FFC7CE"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Not allowed in the XML of a workbook.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_WIDEST = 60


def workbook(report: DayReport) -> bytes:
    """The workbook: a summary, a sheet a section, and every fact in one pivot-ready sheet.

    Instants are written in the merchant's zone, since a spreadsheet has none; amounts in
    major units beside their currency.
    """
    book = Workbook()
    book.properties.creator = "returns_pipeline"
    book.properties.created = book.properties.modified = report.made_at.replace(tzinfo=None)
    summary = book.active
    if not isinstance(summary, Worksheet):  # a new workbook has exactly one worksheet
        msg = "the workbook has no sheet"
        raise TypeError(msg)
    _summary(summary, report)
    zone = ZoneInfo(report.time_zone)
    for section in sections(report):
        sheet = book.create_sheet(section.title)
        _table(sheet, section.columns, section.rows, zone, section.anchor)
        if section.anchor == "tasks":
            _mark_age(sheet, section.columns, len(section.rows))
    _table(book.create_sheet("Facts"), _FACTS, _facts(report), zone, "facts")
    buffer = BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def _summary(sheet: Worksheet, report: DayReport) -> None:
    sheet.title = "Summary"
    day = report.business_date
    sheet.append([guarded(f"{report.merchant}: returns of {day:%A} {day.day} {day:%B %Y}")])
    made = report.made_at.astimezone(ZoneInfo(report.time_zone))
    sheet.append([f"made {made:%Y-%m-%d %H:%M} {report.time_zone}"])
    sheet["A1"].font = Font(bold=True, size=14)
    sheet.append([])
    for light in report.lights():
        sheet.append([light.name, light.state.value, guarded(light.says)])
        sheet.cell(sheet.max_row, 2).fill = PatternFill("solid", _COLOURS[light.state.value])
    blocks: list[tuple[str, list[list[Any]]]] = [
        ("Received", [[k, n] for k, n in report.outcomes().items()]),
        ("Restocked by location", [[r["location"], r["units"]] for r in report.by_location()]),
        (
            "Held and why",
            [
                [f"{r['gate']}: {r['code']}", r["units"], amounts_text(r["amounts"])]
                for r in report.held_by_reason()
            ],
        ),
        (
            "Refunds",
            [
                [
                    f"{r['state']}, {r['tender']}",
                    r["units"],
                    _major(r["amount_minor"], r["currency"]),
                    r["currency"],
                ]
                for r in report.refunds_by_state()
            ],
        ),
        (
            "Exceptions by owner",
            [[r["owner"], r["open"], amounts_text(r["amounts"])] for r in report.by_owner()],
        ),
        (
            "Open balances",
            [
                [
                    f"{r.account} {r.role}",
                    r.units,
                    _major(r.amount_minor, r.currency),
                    r.currency,
                ]
                for r in report.balances
            ],
        ),
    ]
    for title, rows in blocks:
        sheet.append([])
        sheet.append([title])
        sheet.cell(sheet.max_row, 1).font = _BOLD
        for row in rows or [["none"]]:
            sheet.append([guarded(value) if isinstance(value, str) else value for value in row])
    sheet.column_dimensions["A"].width = 38
    sheet.column_dimensions["C"].width = 48


def _table(
    sheet: Worksheet,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    zone: ZoneInfo,
    name: str,
) -> None:
    """Headings frozen and filtered, rows typed; money takes a second column, its currency."""
    titles: list[str] = []
    for column in columns:
        titles.append(column.title)
        if column.kind == MONEY:
            titles.append(f"{column.title} currency")
    sheet.append(titles)
    widths = [len(title) for title in titles]
    for number, row in enumerate(rows, start=2):
        at = 1
        for column, value in zip(columns, row, strict=True):
            cell = sheet.cell(number, at)
            if not isinstance(cell, Cell):
                continue  # a merged cell; there are none here
            _write(cell, column, value, zone)
            widths[at - 1] = max(widths[at - 1], len(str(cell.value or "")))
            if column.kind == MONEY:
                at += 1
                sheet.cell(number, at).value = value[1]
            at += 1
    for at, width in enumerate(widths, start=1):
        sheet.column_dimensions[get_column_letter(at)].width = min(width + 3, _WIDEST)
    for cell in sheet[1]:
        cell.font = _BOLD
    sheet.freeze_panes = "A2"
    area = f"A1:{get_column_letter(len(titles))}{len(rows) + 1}"
    if rows:
        table = Table(displayName=f"{name}_table", ref=area)
        table.tableStyleInfo = TableStyleInfo(name="TableStyleLight1", showRowStripes=True)
        sheet.add_table(table)
    else:
        sheet.auto_filter.ref = area  # a table of no rows is not allowed


def _write(cell: Cell, column: Column, value: Any, zone: ZoneInfo) -> None:
    if column.kind == MONEY:
        minor, currency = value
        if minor is not None and currency:
            cell.value = _major(minor, currency)
            places = exponent(currency)
            cell.number_format = "#,##0." + "0" * places if places else "#,##0"
    elif column.kind == INSTANT and isinstance(value, datetime):
        cell.value = value.astimezone(zone).replace(tzinfo=None)
        cell.number_format = "yyyy-mm-dd hh:mm"
    elif column.kind == COUNT:
        cell.value = value
    else:
        cell.value = guarded(str(value))
        cell.data_type = "s"
        if column.kind == TEXT:
            cell.alignment = Alignment(vertical="top", wrap_text=len(str(value)) > _WIDEST)


def guarded(text: str) -> str:
    """A text no spreadsheet takes for a formula, here or after a copy or a save as CSV."""
    clean = _CONTROL.sub(" ", text)
    return f"'{clean}" if clean.startswith(_FORMULA) else clean


def _major(minor: int, currency: str) -> Decimal:
    return Decimal(format_minor(minor, currency))


def _mark_age(sheet: Worksheet, columns: Sequence[Column], rows: int) -> None:
    place = next(i for i, c in enumerate(columns, start=1) if c.kind == COUNT)
    area = f"{get_column_letter(place)}2:{get_column_letter(place)}{max(rows, 1) + 1}"
    for above, colour in (("6", _COLOURS["bad"]), ("2", _COLOURS["watch"])):
        rule = CellIsRule(
            "greaterThan", [above], fill=PatternFill(bgColor=colour, fill_type="solid")
        )
        sheet.conditional_formatting.add(area, rule)


_FACTS = (
    Column("Business date"),
    Column("Fact"),
    Column("Detail"),
    Column("Unit"),
    Column("Return"),
    Column("Order"),
    Column("SKU"),
    Column("Units", COUNT),
    Column("Amount", MONEY),
)


def _facts(report: DayReport) -> list[tuple[Any, ...]]:
    day = report.business_date.isoformat()
    none = (None, "")

    def row(fact: str, detail: str, one: Any, amount: tuple[int | None, str]) -> tuple[Any, ...]:
        unit = (one.item_id, one.return_id, one.order_number, one.sku)
        return (day, fact, detail, *unit, 1, amount)

    return [
        *(row("received", u.outcome, u, none) for u in report.received),
        *(row("restocked", m.location, m, none) for m in report.movements),
        *(row("held", f"{h.gate}: {h.code}", h, (h.amount_minor, h.currency)) for h in report.held),
        *(row("refund", r.state, r, (r.amount_minor, r.currency)) for r in report.refunds),
        *(row("exchange", x.state, x, (x.amount_minor, x.currency)) for x in report.replacements),
    ]
