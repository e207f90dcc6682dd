"""The books as a workbook: exact typed cells, one set of bytes, nothing that computes."""

from dataclasses import replace
from decimal import Decimal
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import pytest
from openpyxl import Workbook, load_workbook

from returns_pipeline.reporting.books import Books, age_step
from returns_pipeline.reporting.finance_book import finance_book
from returns_pipeline_tests.reporting import period


def opened(books: Books) -> Workbook:
    return load_workbook(BytesIO(finance_book(books)))


def column(sheet: Any, title: str) -> list[Any]:
    place = next(cell.column for cell in sheet[1] if cell.value == title)
    return [sheet.cell(row, place) for row in range(2, sheet.max_row + 1)]


def texts(sheet: Any) -> list[str]:
    return [str(cell.value) for row in sheet for cell in row if cell.value is not None]


def cents(cells: list[Any]) -> int:
    return sum(int(Decimal(str(cell.value)) * 100) for cell in cells if cell.value is not None)


@pytest.mark.parametrize("books", [period.day_books(), period.month_books()])
def test_the_same_books_give_the_same_bytes(books: Books) -> None:
    first = finance_book(books)
    assert finance_book(replace(books)) == first
    with ZipFile(BytesIO(first)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_every_table_is_frozen_filtered_named_and_set_up_for_paper() -> None:
    book = opened(period.month_books())
    assert book.sheetnames == [
        "Summary", "Days", "Batches", "Lines", "VAT", "Units", "Open items", "Late arrivals",
        "Boundary",
    ]  # fmt: skip
    names = set()
    for sheet in book.worksheets[1:]:
        assert sheet.freeze_panes == "A2", sheet.title
        (table,) = sheet.tables.values()
        assert table.autoFilter is not None
        names.add(table.displayName)
        assert sheet.print_title_rows == "$1:$1"
        assert sheet.page_setup.fitToWidth == 1
        assert sheet.page_setup.paperSize == 9
    assert len(names) == 8
    assert [len(sheet._charts) for sheet in book.worksheets[:2]] == [2, 0]


def test_amounts_are_numbers_with_the_format_of_their_currency_exact_to_the_penny() -> None:
    book = opened(period.day_books())
    debits = column(book["Lines"], "Debit")
    assert {cell.data_type for cell in debits if cell.value is not None} == {"n"}
    assert debits[0].number_format.startswith('"£"#,##0.00;')
    assert cents(debits) == cents(column(book["Lines"], "Credit")) == 303_93
    assert column(book["Lines"], "Dated")[0].is_date
    assert column(book["Batches"], "Sealed")[0].is_date
    assert column(book["Open items"], "Age in days")[0].data_type == "n"


def test_another_currency_has_its_own_format_and_decimals() -> None:
    line = replace(period.lines()[0], currency="JPY", minor=123_456)
    book = opened(period.day_books(lines=(line,)))
    (cell,) = column(book["Lines"], "Debit")
    assert cell.value == 123_456
    assert cell.number_format.startswith('#,##0 "JPY";')


def test_the_units_of_a_day_come_to_its_control_totals() -> None:
    book = opened(period.day_books())
    sums = {title: cents(column(book["Units"], title)) for title in (
        "Returned, net", "Shipping, net", "VAT", "Fee, net", "VAT on fee", "Refunded",
        "Store credit", "Exchange")}  # fmt: skip
    assert sums["Returned, net"] + sums["Shipping, net"] == period.TOTALS["net"]
    assert sums["VAT"] == period.TOTALS["vat"]
    assert sums["Fee, net"] == period.TOTALS["fees"]
    assert sums["Refunded"] == period.TOTALS["refunds"]
    assert sums["Store credit"] == period.TOTALS["store_credit"]
    assert sums["Exchange"] == period.TOTALS["exchange"]


def test_the_summary_says_whether_it_adds_up_and_has_a_place_to_sign() -> None:
    said = texts(opened(period.day_books())["Summary"])
    assert said[0] == "Returns, 14 March 2026"
    assert said.count("in order") == 6
    assert {"Prepared by", "Reviewed by", "Approved by", "signature"} <= set(said)
    assert texts(opened(period.month_books())["Summary"])[0] == "Returns, March 2026"


def test_what_is_wrong_is_named_on_the_summary() -> None:
    good = period.day_books()
    balance = replace(good.balances[0], ledger_minor=good.balances[0].items_minor + 250)
    batch = period.sealed(credit_minor=1, state="exported")
    unit = replace(good.units[0], returned=good.units[0].returned + 1)
    wrong = replace(
        good,
        batches=(batch,),
        balances=(balance, *good.balances[1:]),
        units=(unit, *good.units[1:]),
        unsealed={"GBP": 1200},
        refused=2,
    )
    said = " ".join(texts(opened(wrong)["Summary"]))
    assert "not in HRL-20260314-UKGBP-00" in said
    assert "lines and units differ in HRL-20260314-UKGBP-00" in said
    assert "1010 GBP differs by £2.50" in said
    assert "£12.00 of the period stands in no batch yet" in said
    assert "2 refunds refused" in said


def test_a_day_that_is_not_closed_is_named() -> None:
    books = period.month_books()
    days = tuple(replace(day, is_closed=day.day.day != 7) for day in books.days)
    said = texts(opened(replace(books, days=days))["Summary"])
    assert "not closed: 2026-03-07" in said


@pytest.mark.parametrize("text", ["=1+1", "+44", "-x", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0"])
def test_nothing_in_it_computes_whatever_a_vendor_calls_its_goods(text: str) -> None:
    books = period.day_books()
    unit = replace(books.units[0], sku=text, order_number=text)
    item = replace(books.open_items[0], sku=text)
    book = opened(replace(books, units=(unit,), open_items=(item,), merchant=text))
    assert column(book["Units"], "SKU")[0].value == "'" + text
    kinds = {cell.data_type for sheet in book.worksheets for row in sheet for cell in row}
    assert "f" not in kinds


def test_a_period_without_anything_still_has_its_sheets() -> None:
    empty = period.day_books(
        batches=(), lines=(), units=(), vat=(), open_items=(), balances=(), late=(), boundary=()
    )
    book = opened(empty)
    assert len(book.sheetnames) == 8
    assert "no batch" in texts(book["Summary"])
    assert book["Units"].max_row == 1


def test_a_reversal_takes_its_batch_from_the_totals() -> None:
    counted = ("units", "debit", "credit")
    back = {name: n if name in counted else -n for name, n in period.TOTALS.items()}
    reversal = period.sealed("HRL-20260314-UKGBP-R1", kind="reversal", totals=back)
    totals = period.day_books(batches=(period.sealed(), reversal)).totals("GBP")
    assert {name for name, minor in totals.items() if minor} == {"debit", "credit"}


@pytest.mark.parametrize(
    ("days", "step"),
    [(0, "0-7 days"), (7, "0-7 days"), (8, "8-14 days"), (14, "8-14 days"), (15, "15-30 days"),
     (30, "15-30 days"), (31, "over 30 days"), (400, "over 30 days")],
)  # fmt: skip
def test_items_age_in_the_steps_of_the_report(days: int, step: str) -> None:
    assert age_step(days) == step


def test_the_ages_of_a_balance_come_to_its_items_what_was_brought_forward_included() -> None:
    summary = opened(period.month_books())["Summary"]
    rows = [[cell.value for cell in row] for row in summary.iter_rows(max_col=9)]
    head = next(n for n, row in enumerate(rows) if row[0] == "account")
    assert rows[head][4:] == [
        "0-7 days",
        "8-14 days",
        "15-30 days",
        "over 30 days",
        "without an age",
    ]
    balances = []
    for row in rows[head + 1 :]:
        if row[2] is None:
            break
        balances.append(row)
    assert balances
    for row in balances:
        assert sum(Decimal(str(value)) for value in row[4:9]) == Decimal(str(row[2])), row[0]
