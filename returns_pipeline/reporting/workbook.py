"""A day's report as an XLSX workbook: a sheet a section, typed cells. Pure: bytes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from openpyxl.formatting.rule import CellIsRule
from openpyxl.styles import PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from returns_pipeline.reporting.day import DayReport, amounts_text, sums
from returns_pipeline.reporting.sections import COUNT, MONEY, Column, sections
from returns_pipeline.reporting.sheets import (
    BOLD,
    COLOURS,
    book_bytes,
    first_sheet,
    font,
    guarded,
    major,
    new_book,
    printed,
    table,
)


def workbook(report: DayReport) -> bytes:
    """The workbook: a summary, a sheet a section, and every fact in one pivot-ready sheet.

    Instants are written in the merchant's zone, since a spreadsheet has none; amounts in
    major units beside their currency.
    """
    book = new_book(report.made_at)
    _summary(first_sheet(book, "Summary"), report)
    zone = ZoneInfo(report.time_zone)
    for section in sections(report):
        sheet = book.create_sheet(section.title)
        table(sheet, section.columns, section.rows, zone, section.anchor)
        if section.anchor == "tasks":
            _mark_age(sheet, section.columns, len(section.rows))
    table(book.create_sheet("Facts"), _FACTS, _facts(report), zone, "facts")
    return book_bytes(book)


def _summary(sheet: Worksheet, report: DayReport) -> None:
    day = report.business_date
    sheet.append([guarded(f"{report.merchant}: returns of {day:%A} {day.day} {day:%B %Y}")])
    made = report.made_at.astimezone(ZoneInfo(report.time_zone))
    sheet.append([f"made {made:%Y-%m-%d %H:%M} {report.time_zone}"])
    sheet["A1"].font = font(bold=True, size=14)
    sheet.append([])
    for light in report.lights():
        sheet.append([light.name, light.state.value, guarded(light.says)])
        sheet.cell(sheet.max_row, 2).fill = PatternFill("solid", COLOURS[light.state.value])
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
                    major(r["amount_minor"], r["currency"]),
                    r["currency"],
                ]
                for r in report.refunds_by_state()
            ],
        ),
        (
            "Replacements out, originals missing",
            [["Replacements", len(report.exposure), amounts_text(sums(report.exposure))]]
            if report.exposure
            else [],
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
                    major(r.amount_minor, r.currency),
                    r.currency,
                ]
                for r in report.balances
            ],
        ),
    ]
    for title, rows in blocks:
        sheet.append([])
        sheet.append([title])
        sheet.cell(sheet.max_row, 1).font = BOLD
        for row in rows or [["none"]]:
            sheet.append([guarded(value) if isinstance(value, str) else value for value in row])
    sheet.column_dimensions["A"].width = 38
    sheet.column_dimensions["C"].width = 48
    printed(sheet)


def _mark_age(sheet: Worksheet, columns: Sequence[Column], rows: int) -> None:
    place = next(i for i, c in enumerate(columns, start=1) if c.kind == COUNT)
    area = f"{get_column_letter(place)}2:{get_column_letter(place)}{max(rows, 1) + 1}"
    for above, colour in (("6", COLOURS["bad"]), ("2", COLOURS["watch"])):
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
        *(row("exposure", x.stage, x, (x.amount_minor, x.currency)) for x in report.exposure),
    ]
