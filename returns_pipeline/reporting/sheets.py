"""Sheets of a workbook: typed cells, tables, print set-up, the same bytes each time.

Here: how a column of a kind is written, and the file's bytes. Not here: which sheets a
workbook has (``workbook``, ``finance_book``). Amounts are integer minor units until they
become a cell, and exact in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo
from zoneinfo import ZoneInfo

from openpyxl import Workbook
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.table import Table, TableStyleInfo
from openpyxl.worksheet.worksheet import Worksheet
from openpyxl.writer.excel import ExcelWriter

from returns_pipeline.domain.money import exponent, format_minor
from returns_pipeline.reporting.sections import COUNT, DATE, INSTANT, MONEY, TEXT, Column


def font(**style: Any) -> Font:
    """The house's letters; one that names none is another in every program."""
    return Font(name="Calibri", **style)


BOLD = font(bold=True)
COLOURS = {"good": "C6EFCE", "watch": "FFEB9C", "bad": "FFC7CE"}
HEAD = PatternFill("solid", fgColor="DCE6F1")
_SYMBOLS = {"GBP": "£", "EUR": "€", "USD": "$"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Not allowed in the XML of a workbook.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_WIDEST = 60
_CENTRE = Alignment(horizontal="center")
# Where a heading stands over its column's cells; texts begin at the left.
_SIDES = {MONEY: "right", COUNT: "center", DATE: "center", INSTANT: "center"}
_DAY, _MINUTE = "yyyy-mm-dd", "yyyy-mm-dd hh:mm"
# A spreadsheet that is saved again would else carry the time of saving.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def new_book(as_of: datetime) -> Workbook:
    """An empty workbook, dated by what it is about and not by when it was made."""
    book = Workbook()
    book.properties.creator = "returns_pipeline"
    book.properties.created = book.properties.modified = as_of.replace(tzinfo=None)
    return book


def first_sheet(book: Workbook, title: str) -> Worksheet:
    """The sheet a new workbook has."""
    sheet = book.worksheets[0]
    sheet.title = title
    return sheet


def book_bytes(book: Workbook) -> bytes:
    """The workbook's file: the same cells always give the same bytes."""
    buffer = BytesIO()
    archive = _Archive(buffer, "w", ZIP_DEFLATED)
    ExcelWriter(book, archive).save()
    return buffer.getvalue()


class _Archive(ZipFile):
    """A zip file whose entries bear no time."""

    def writestr(self, zinfo_or_arcname: Any, data: Any, *_args: Any, **_more: Any) -> None:
        entry = ZipInfo(str(zinfo_or_arcname), _ZIP_EPOCH)
        entry.compress_type = ZIP_DEFLATED
        super().writestr(entry, data)

    def write(self, filename: Any, arcname: Any = None, *_args: Any, **_more: Any) -> None:
        self.writestr(arcname or filename, Path(filename).read_bytes())


def guarded(text: str) -> str:
    """A text no spreadsheet takes for a formula, here or after a copy or a save as CSV."""
    clean = _CONTROL.sub(" ", text)
    return f"'{clean}" if clean.startswith(_FORMULA) else clean


def major(minor: int, currency: str) -> Decimal:
    """An amount in major units, exactly."""
    return Decimal(format_minor(minor, currency))


def money_format(currency: str) -> str:
    """How a cell shows amounts of a currency; nothing is a dash."""
    places = exponent(currency)
    number = f"#,##0.{'0' * places}" if places else "#,##0"
    symbol = _SYMBOLS.get(currency)
    shown = f'"{symbol}"{number}' if symbol else f'{number} "{currency}"'
    return f'{shown};-{shown};"-"'


def put(cell: Any, kind: str, value: Any, zone: ZoneInfo, currency: str = "") -> None:
    """Write one value as its kind; nothing leaves the cell empty."""
    if value is None or value == "":
        return
    if kind == MONEY:
        cell.value = major(value, currency)
        cell.number_format = money_format(currency)
    elif kind == INSTANT and isinstance(value, datetime):
        cell.value = value.astimezone(zone).replace(tzinfo=None)
        cell.number_format, cell.alignment = _MINUTE, _CENTRE
    elif kind == DATE and isinstance(value, date):
        cell.value = value
        cell.number_format, cell.alignment = _DAY, _CENTRE
    elif kind == COUNT:
        cell.value = value
        cell.number_format, cell.alignment = "#,##0", _CENTRE
    else:
        cell.value = guarded(str(value))
        cell.data_type = "s"
        if kind == TEXT and len(str(value)) > _WIDEST:
            cell.alignment = Alignment(vertical="top", wrap_text=True)


def table(
    sheet: Worksheet,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    zone: ZoneInfo,
    name: str,
) -> None:
    """Headings frozen and filtered, rows typed; money takes a second column, its currency."""
    titles: list[str] = []
    for column in columns:
        titles += [column.title, f"{column.title} currency"][: _cells(column)]
    sheet.append(titles)
    widths = [len(title) + 2 for title in titles]  # beside it stands the filter's button
    for number, row in enumerate(rows, start=2):
        at = 1
        for column, value in zip(columns, row, strict=True):
            one, currency = value if column.kind == MONEY else (value, "")
            # A cell nobody fills is not made: a month has hundreds of thousands.
            if one is not None and one != "" and (currency or column.kind != MONEY):
                cell = sheet.cell(number, at)
                put(cell, column.kind, one, zone, currency)
                widths[at - 1] = max(widths[at - 1], _shown(cell.value))
            if _cells(column) == 2:
                at += 1
                if currency:
                    sheet.cell(number, at).value = currency
            at += 1
    for at, width in enumerate(widths, start=1):
        sheet.column_dimensions[get_column_letter(at)].width = min(width + 2, _WIDEST)
    sides = [_SIDES.get(column.kind) for column in columns for _ in range(_cells(column))]
    for cell, side in zip(sheet[1], sides, strict=True):
        cell.font = BOLD
        cell.fill = HEAD
        cell.alignment = Alignment(horizontal=side, vertical="top")
    sheet.freeze_panes = "A2"
    area = f"A1:{get_column_letter(len(titles))}{len(rows) + 1}"
    if rows:
        made = Table(displayName=f"{name}_table", ref=area)
        made.tableStyleInfo = TableStyleInfo(name="TableStyleLight1", showRowStripes=True)
        sheet.add_table(made)
    else:
        sheet.auto_filter.ref = area  # a table of no rows is not allowed
    printed(sheet)
    sheet.print_title_rows = "1:1"


def _cells(column: Column) -> int:
    return 2 if column.kind == MONEY and not column.told else 1


def _shown(value: Any) -> int:
    if isinstance(value, Decimal):
        return len(str(value)) + 4  # its symbol and commas
    if isinstance(value, datetime):
        return len(_MINUTE)
    if isinstance(value, date):
        return len(_DAY)
    return len(str(value)) if value is not None else 0


def printed(sheet: Worksheet) -> None:
    """Set a sheet up for paper: A4 across, as wide as the page, numbered."""
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.paperSize = 9  # A4
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    sheet.page_margins.left = sheet.page_margins.right = 0.4
    sheet.page_margins.top = sheet.page_margins.bottom = 0.6
    sheet.oddFooter.left.text = "&F"
    sheet.oddFooter.center.text = "&A"
    sheet.oddFooter.right.text = "&P / &N"
