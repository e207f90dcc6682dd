"""The books of a day or a month as an XLSX workbook made to be read. Pure: bytes out.

A summary to look at first (verdicts, totals, what is open, two charts, the sign-off), then
a sheet a table, each frozen, filtered and named. The same books give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from openpyxl import Workbook
from openpyxl.chart import BarChart, Reference, Series
from openpyxl.formatting.rule import CellIsRule
from openpyxl.styles import Alignment, Border, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from returns_pipeline.reporting.books import AGES, Books
from returns_pipeline.reporting.sections import CODE, COUNT, DATE, INSTANT, MONEY, TEXT, Column
from returns_pipeline.reporting.sheets import (
    BOLD,
    COLOURS,
    HEAD,
    book_bytes,
    first_sheet,
    font,
    new_book,
    printed,
    put,
    table,
)

_TITLE = font(bold=True, size=18)
_HEADING = font(bold=True, size=12, color="1F3864")
_GREY = font(color="666666")
_THIN = Side(style="thin", color="BFBFBF")
_UNDER = Border(bottom=_THIN)
_BOX = Border(bottom=Side(style="thin", color="404040"))
_WORDS = {"good": "in order", "watch": "look", "bad": "wrong"}
_WIDTHS = (46, 18, 18, 18, 14, 14, 14, 14, 16)
_TOTALS = (
    ("units", "Units"),
    ("gross", "Given back, with VAT"),
    ("net", "of it net"),
    ("vat", "of it VAT"),
    ("shipping", "of it shipping, net"),
    ("fees", "Fees kept, net"),
    ("vat_on_fees", "VAT on fees"),
    ("refunds", "Refunds to shoppers"),
    ("store_credit", "Store credit given"),
    ("exchange", "Exchanges"),
    ("cost_restocked", "Cost back in stock"),
    ("debit", "Debits"),
    ("credit", "Credits"),
)


def finance_book(books: Books) -> bytes:
    """The workbook. Instants stand in the merchant's zone: a spreadsheet has none."""
    book = new_book(books.ends_at)
    zone = ZoneInfo(books.time_zone)
    summary = first_sheet(book, "Summary")
    for one in tables(books):
        sheet = book.create_sheet(one.title)
        table(sheet, one.columns, one.rows, zone, one.name)
        if one.name == "open_items":
            _mark_age(sheet, one.columns, len(one.rows))
    _Summary(summary, books, zone).write(book)
    return book_bytes(book)


# --- the first sheet --------------------------------------------------------------


class _Summary:
    """Writes the sheet from the top, block by block."""

    def __init__(self, sheet: Worksheet, books: Books, zone: ZoneInfo) -> None:
        self.sheet, self.books, self.zone = sheet, books, zone
        self.row = 1

    def write(self, book: Workbook) -> None:
        """Every block, then the charts and the paper."""
        for at, width in enumerate(_WIDTHS, start=1):
            self.sheet.column_dimensions[get_column_letter(at)].width = width
        self._title()
        self._checks()
        self._totals()
        gateways = self._gateways()
        ages = self._balances()
        self._charts(book, gateways, ages)
        self._sign_off()
        self.sheet.sheet_view.showGridLines = False
        self.sheet.freeze_panes = "A3"
        printed(self.sheet)
        self.sheet.page_setup.orientation = "portrait"
        self.sheet.page_setup.fitToHeight = 1
        self.sheet.print_area = f"A1:{get_column_letter(len(_WIDTHS))}{self.row}"

    def _put(self, at: int, value: Any, kind: str = TEXT, currency: str = "") -> Any:
        cell = self.sheet.cell(self.row, at)
        put(cell, kind, value, self.zone, currency)
        return cell

    def _heading(self, text: str, note: str = "") -> None:
        self.row += 1
        self._put(1, text).font = _HEADING
        if note:
            self._put(2, note).font = _GREY
        self.row += 1

    def _head(self, *titles: str) -> None:
        for at, title in enumerate(titles, start=1):
            cell = self._put(at, title)
            cell.font, cell.fill = BOLD, HEAD
            cell.alignment = Alignment(horizontal="left" if at == 1 else "right", wrap_text=True)
        self.row += 1

    def _title(self) -> None:
        self._put(1, f"Returns, {self.books.title}").font = _TITLE
        self.sheet.row_dimensions[1].height = 26
        self.row = 2
        period = "the day" if self.books.is_day else "the month"
        lock = ", locked in our calendar" if self.books.is_locked else ""
        says = (
            f"{self.books.merchant}. The books of {period} as sealed{lock}; days are those of "
            f"{self.books.time_zone}."
        )
        said = self._put(1, says)
        said.font, said.alignment = _GREY, Alignment(wrap_text=False)
        self.row = 3

    def _checks(self) -> None:
        self._heading("Does it add up?")
        for check in self.books.checks():
            self._put(1, check.name)
            verdict = self._put(2, _WORDS[check.state.value])
            verdict.fill = PatternFill("solid", fgColor=COLOURS[check.state.value])
            verdict.alignment = Alignment(horizontal="center")
            self._put(3, check.says)
            self.row += 1

    def _totals(self) -> None:
        currencies = self.books.currencies
        self._heading("Control totals")
        if not currencies:
            self._put(1, "no batch")
            self.row += 1
            return
        self._head("", *currencies)
        totals = {currency: self.books.totals(currency) for currency in currencies}
        for key, words in _TOTALS:
            self._put(1, words)
            for at, currency in enumerate(currencies, start=2):
                value = totals[currency].get(key, 0)
                kind = COUNT if key == "units" else MONEY
                cell = self._put(at, value, kind, currency)
                cell.alignment = Alignment(horizontal="right")
            for at in range(1, len(currencies) + 2):
                self.sheet.cell(self.row, at).border = _UNDER
                if key in {"gross", "refunds", "debit"}:
                    self.sheet.cell(self.row, at).font = BOLD
            self.row += 1

    def _gateways(self) -> tuple[int, int]:
        """Refunds by gateway and currency; gives back the rows a chart can draw."""
        currencies = self.books.currencies
        totals = {currency: self.books.totals(currency) for currency in currencies}
        names = sorted(
            {key for found in totals.values() for key in found if key.startswith("refunds.")}
        )
        if not names:
            return (0, 0)
        self._heading("Refunds by gateway", "what each payout must show")
        head = self.row
        self._head("gateway", *currencies)
        for name in names:
            self._put(1, name.partition(".")[2].replace("_", " "))
            for at, currency in enumerate(currencies, start=2):
                self._put(at, totals[currency].get(name, 0), MONEY, currency)
            self.row += 1
        return (head, self.row - 1)

    def _balances(self) -> tuple[int, int]:
        self._heading("Open at the period's end", "debit +, credit -; the items are listed")
        if not self.books.balances:
            self._put(1, "nothing is open")
            self.row += 1
            return (0, 0)
        head, transit = self.row, 0
        steps = (*(name for name, _ in AGES), "without an age")
        self._head("account", "by the lines", "by the items", "difference", *steps)
        first = "returned_goods_in_transit"
        for one in sorted(self.books.balances, key=lambda b: b.role != first):
            transit += one.role == first
            name = one.account_name or one.role.replace("_", " ").replace(".", ": ")
            self._put(1, f"{one.account} {name}, {one.currency}")
            self._put(2, one.ledger_minor, MONEY, one.currency)
            self._put(3, one.items_minor, MONEY, one.currency)
            difference = self._put(4, one.difference, MONEY, one.currency)
            if one.difference:
                difference.fill = PatternFill("solid", fgColor=COLOURS["bad"])
            aged = [one.ages[step] for step, _ in AGES]
            # What was brought forward, or is many units in one, is no step's: the row adds up.
            for at, minor in enumerate((*aged, one.items_minor - sum(aged)), start=5):
                self._put(at, minor, MONEY, one.currency)
            self.row += 1
        return (head, head + transit)

    def _charts(self, book: Workbook, gateways: tuple[int, int], transit: tuple[int, int]) -> None:
        first = self._by_gateway(gateways) if self.books.is_day else _by_day(book, self.books)
        shown = [chart for chart in (first, self._by_age(transit)) if chart is not None]
        if not shown:
            return
        self.row += 1
        for at, chart in zip(("A", "D"), shown, strict=False):
            self.sheet.add_chart(chart, f"{at}{self.row}")
        self.row += 16

    def _by_gateway(self, rows: tuple[int, int]) -> BarChart | None:
        first, last = rows
        if last <= first:
            return None
        chart = _bars("Refunds by gateway")
        width = 1 + len(self.books.currencies)
        data = Reference(self.sheet, min_col=2, max_col=width, min_row=first, max_row=last)
        chart.add_data(data, titles_from_data=True)
        chart.set_categories(Reference(self.sheet, min_col=1, min_row=first + 1, max_row=last))
        return chart

    def _by_age(self, rows: tuple[int, int]) -> BarChart | None:
        """What is paid back and not here, a bar an age and currency."""
        first, last = rows
        if last <= first:
            return None
        chart = _bars("Goods in transit by age")
        width = 4 + len(AGES)
        for row in range(first + 1, last + 1):
            own = Reference(self.sheet, min_col=5, max_col=width, min_row=row)
            chart.append(Series(own, title=self.sheet.cell(row, 1).value[-3:]))
        chart.set_categories(Reference(self.sheet, min_col=5, max_col=width, min_row=first))
        return chart

    def _sign_off(self) -> None:
        self._heading("Sign-off")
        self._head("", "name", "date", "signature")
        for who in ("Prepared by", "Reviewed by", "Approved by"):
            self._put(1, who)
            for at in range(2, 6):
                self.sheet.cell(self.row, at).border = _BOX
            self.sheet.row_dimensions[self.row].height = 24
            self.row += 1


def _by_day(book: Workbook, books: Books) -> BarChart | None:
    """The month's refunds, a bar a day and currency."""
    if not books.currencies:
        return None
    sheet = book["Days"]
    chart = _bars("Refunds by day")
    last, width = len(books.days) + 1, len(books.currencies)
    data = Reference(sheet, min_col=5, max_col=4 + width, min_row=1, max_row=last)
    chart.add_data(data, titles_from_data=True)
    chart.set_categories(Reference(sheet, min_col=1, min_row=2, max_row=last))
    chart.x_axis.number_format = "d"
    return chart


def _bars(title: str) -> BarChart:
    chart = BarChart()
    chart.title, chart.height, chart.width = title, 7.5, 15
    chart.gapWidth = 60
    chart.legend.position = "b"
    # Without this, programs of today draw neither axis.
    chart.x_axis.delete = chart.y_axis.delete = False
    chart.y_axis.numFmt = "#,##0"
    chart.y_axis.majorGridlines = None
    return chart


# --- the tables -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BookTable:
    """A table of the books: a sheet of the workbook, a file of the month-end pack."""

    title: str
    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]


def tables(books: Books) -> tuple[BookTable, ...]:
    """Every table of the books, empty ones too; the days only of a month."""
    days = BookTable("Days", "days", _day_columns(books), _days(books))
    return (
        *(() if books.is_day else (days,)),
        BookTable("Batches", "batches", _BATCHES, _batches(books)),
        BookTable("Lines", "lines", _line_columns(books), _lines(books)),
        BookTable("VAT", "vat", _vat_columns(books), _vat(books)),
        BookTable("Units", "units", _UNITS, _units(books)),
        BookTable("Open items", "open_items", _OPEN, _open(books)),
        BookTable("Late arrivals", "late_arrivals", _LATE, _late(books)),
        BookTable("Boundary", "boundary", _BOUNDARY, _boundary(books)),
    )


def _day_columns(books: Books) -> tuple[Column, ...]:
    return (
        Column("Day", DATE),
        Column("Closed"),
        Column("Batches", COUNT),
        Column("Units", COUNT),
        *(Column(f"Refunds {currency}", MONEY, told=True) for currency in books.currencies),
    )


def _days(books: Books) -> list[tuple[Any, ...]]:
    return [
        (
            day.day,
            "yes" if day.is_closed else "no",
            day.batches,
            day.units,
            *((day.refunds.get(currency, 0), currency) for currency in books.currencies),
        )
        for day in books.days
    ]


_HASH = 16  # characters of a hash: enough to compare, and it fits on paper
_CURRENCY = Column("Currency", CODE)
_WHO = (Column("Unit", CODE), Column("Return", CODE), Column("Order", CODE))

_BATCHES = (
    Column("Batch", CODE),
    Column("Kind"),
    Column("State"),
    Column("Dated", DATE),
    Column("Of", DATE),
    Column("Units", COUNT),
    Column("Lines", COUNT),
    _CURRENCY,
    Column("Debit", MONEY, told=True),
    Column("Credit", MONEY, told=True),
    Column("VAT", MONEY, told=True),
    Column("Refunds", MONEY, told=True),
    Column("Sealed", INSTANT),
    Column("Files written", INSTANT),
    Column("Refunds settled", INSTANT),
    Column("Files for"),
    Column("Journal in the ledger", CODE),
    Column("About"),
    Column("Content hash", CODE),
    Column("Policy hash", CODE),
)


def _batches(books: Books) -> list[tuple[Any, ...]]:
    return [
        (
            b.batch_id,
            b.kind,
            b.state,
            b.business_date,
            b.origin_date,
            b.units,
            b.lines,
            b.currency,
            (b.debit_minor, b.currency),
            (b.credit_minor, b.currency),
            (b.totals.get("vat", 0) - b.totals.get("vat_on_fees", 0), b.currency),
            (b.totals.get("refunds", 0), b.currency),
            b.sealed_at,
            b.exported_at,
            b.posted_at,
            ", ".join(b.exports),
            b.ledger_id,
            b.description,
            b.hash[:_HASH],
            b.policy_hash[:_HASH],
        )
        for b in books.batches
    ]


def _line_columns(books: Books) -> tuple[Column, ...]:
    return (
        Column("Batch", CODE),
        Column("Dated", DATE),
        Column("Line", COUNT),
        Column("Account", CODE),
        Column("Account name"),
        Column("Role"),
        Column("VAT rate", CODE),
        _CURRENCY,
        Column("Debit", MONEY, told=True),
        Column("Credit", MONEY, told=True),
        Column(f"In {books.base_currency}", MONEY, told=True),
        Column("Units", COUNT),
        Column("Unit ids", CODE),
    )


def _lines(books: Books) -> list[tuple[Any, ...]]:
    return [
        (
            line.batch_id,
            line.business_date,
            line.number,
            line.account,
            line.account_name,
            line.role.replace("_", " ").replace(".", ": "),
            line.tax_key,
            line.currency,
            (line.minor if line.side == "debit" else None, line.currency),
            (line.minor if line.side == "credit" else None, line.currency),
            (line.base_minor, books.base_currency if line.base_minor is not None else ""),
            len(line.units),
            _few(line.units),
        )
        for line in books.lines
    ]


def _few(units: Sequence[str]) -> str:
    """The first units of a line; a month's line would fill a cell's 32,767 characters."""
    head = ", ".join(units[:20])
    return f"{head} and {len(units) - 20} more" if len(units) > 20 else head


def _vat_columns(books: Books) -> tuple[Column, ...]:
    base = books.base_currency
    return (
        Column("Currency", CODE),
        Column("VAT rate", CODE),
        Column("Given back, net", MONEY, told=True),
        Column("Given back, VAT", MONEY, told=True),
        Column("Fees kept, net", MONEY, told=True),
        Column("Fees kept, VAT", MONEY, told=True),
        Column(f"Less output VAT, {base} (box 1)", MONEY, told=True),
        Column(f"Less sales, {base} (box 6)", MONEY, told=True),
    )


def _vat(books: Books) -> list[tuple[Any, ...]]:
    return [
        (
            row.currency,
            row.rate,
            (row.net, row.currency),
            (row.vat, row.currency),
            (row.fee_net, row.currency),
            (row.fee_vat, row.currency),
            (row.base_vat, books.base_currency),
            (row.base_net, books.base_currency),
        )
        for row in books.vat
    ]


_UNITS = (
    Column("Batch", CODE),
    *_WHO,
    Column("SKU", CODE),
    Column("Condition"),
    Column("Gateway"),
    _CURRENCY,
    Column("Returned, net", MONEY, told=True),
    Column("Shipping, net", MONEY, told=True),
    Column("VAT", MONEY, told=True),
    Column("Discount", MONEY, told=True),
    Column("Fee, net", MONEY, told=True),
    Column("VAT on fee", MONEY, told=True),
    Column("Refunded", MONEY, told=True),
    Column("Store credit", MONEY, told=True),
    Column("Exchange", MONEY, told=True),
    Column("Cost back", MONEY, told=True),
)


def _units(books: Books) -> list[tuple[Any, ...]]:
    return [
        (
            one.batch_id,
            one.item_id,
            one.return_id,
            one.order_number,
            one.sku,
            one.condition,
            one.gateways,
            one.currency,
            *(
                (minor or None, one.currency)
                for minor in (
                    one.returned,
                    one.shipping,
                    one.vat,
                    one.discount,
                    one.fee,
                    one.fee_vat,
                    one.refunded,
                    one.store_credit,
                    one.exchange,
                )
            ),
            (one.cost or None, one.currency),
        )
        for one in books.units
    ]


_OPEN = (
    Column("Account", CODE),
    Column("Account name"),
    Column("What"),
    *_WHO,
    Column("SKU", CODE),
    Column("Since", DATE),
    Column("Age in days", COUNT),
    Column("Age"),
    Column("Note"),
    _CURRENCY,
    Column("Open", MONEY, told=True),
)


def _open(books: Books) -> list[tuple[Any, ...]]:
    names = {balance.account: balance.account_name for balance in books.balances}
    return [
        (
            item.account,
            names.get(item.account, ""),
            item.role.replace("_", " ").replace(".", ": "),
            item.item_id,
            item.return_id,
            item.order_number,
            item.sku,
            item.since,
            item.age_days,
            item.step,
            item.note,
            item.currency,
            (item.minor, item.currency),
        )
        for item in books.open_items
    ]


_LATE = (
    Column("Batch", CODE),
    Column("Of", DATE),
    Column("Dated", DATE),
    *_WHO,
    Column("Happened", INSTANT),
    Column("Entered", INSTANT),
    Column("Sealed", INSTANT),
    _CURRENCY,
    Column("Debits", MONEY, told=True),
)


def _late(books: Books) -> list[tuple[Any, ...]]:
    return [
        (
            one.batch_id,
            one.origin_date,
            one.business_date,
            one.item_id,
            one.return_id,
            one.order_number,
            one.happened_at,
            one.entered_at,
            one.sealed_at,
            one.currency,
            (one.minor, one.currency),
        )
        for one in books.late
    ]


_BOUNDARY = (
    Column("Happened", INSTANT),
    Column("Happened, UTC", CODE),
    Column("Minutes from midnight", COUNT),
    Column("Counted to", DATE),
    Column("What"),
    Column("Unit", CODE),
    Column("Order", CODE),
    Column("Batch", CODE),
    _CURRENCY,
    Column("Debits", MONEY, told=True),
)


def _boundary(books: Books) -> list[tuple[Any, ...]]:
    return [
        (
            one.happened_at,
            f"{one.happened_at:%Y-%m-%d %H:%M:%S}",
            one.minutes,
            one.business_date,
            one.what,
            one.item_id,
            one.order_number,
            one.batch_id,
            one.currency,
            (one.minor, one.currency),
        )
        for one in books.boundary
    ]


def _mark_age(sheet: Worksheet, columns: Sequence[Column], rows: int) -> None:
    place = 1 + next(at for at, column in enumerate(columns) if column.kind == COUNT)
    letter = get_column_letter(place)
    for above, colour in ((str(AGES[2][1]), "bad"), (str(AGES[0][1]), "watch")):
        fill = PatternFill(bgColor=COLOURS[colour], fill_type="solid")
        rule = CellIsRule("greaterThan", [above], fill=fill)
        sheet.conditional_formatting.add(f"{letter}2:{letter}{max(rows, 1) + 1}", rule)
