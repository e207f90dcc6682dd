"""The day as a page and a workbook: everything on it, nothing from elsewhere."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from io import BytesIO
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook

from returns_pipeline.reporting.day import DayReport, Light, State, amount_text, amounts_text
from returns_pipeline.reporting.page import page
from returns_pipeline.reporting.sheets import guarded
from returns_pipeline.reporting.workbook import workbook
from returns_pipeline_tests.reporting import sample


class _Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets, self.ids, self.tags, self.remote = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "href":
                self.targets.append(value)
            if name == "id":
                self.ids.append(value)
            if name in {"src", "srcset", "data", "poster", "action"}:
                self.remote.append(value)


def read(report: DayReport) -> tuple[str, _Links]:
    text = page(report).decode()
    return text, _Links(text)


def lights(report: DayReport) -> dict[str, Light]:
    return {light.name: light for light in report.lights()}


def test_every_link_of_the_page_leads_to_a_table_on_it() -> None:
    _, links = read(sample.busy_day())
    assert len(links.targets) > 20
    assert all(target.startswith("#") for target in links.targets)
    assert {target[1:] for target in links.targets} <= set(links.ids)


def test_an_empty_days_links_lead_to_its_sections_too() -> None:
    empty = sample.day(received=(), movements=(), refunds=(), batches=(), balances=())
    _, links = read(sample.replace(empty, open_amounts=(), history=()))
    assert {target[1:] for target in links.targets} <= set(links.ids)


def test_no_anchor_of_the_page_is_there_twice() -> None:
    _, links = read(sample.busy_day())
    assert len(links.ids) == len(set(links.ids))


def test_the_page_needs_nothing_from_elsewhere() -> None:
    text, links = read(sample.busy_day())
    assert not {"script", "link", "img", "iframe", "object"} & set(links.tags)
    assert links.remote == []
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'" in text


def test_every_unit_of_a_figure_is_named_with_its_return_and_order() -> None:
    report = sample.busy_day()
    text, _ = read(report)
    for unit in report.received:
        assert f">{unit.item_id}<" in text
    assert ">ret-9<" in text
    assert ">#1009<" in text


def test_figures_of_the_page_are_those_of_the_rows() -> None:
    text, _ = read(sample.busy_day())
    cards = dict(re.findall(r"<span>(\w+)</span><b>([^<]*)</b>", text))
    assert cards == {
        "Received": "21",
        "Restocked": "15",
        "Held": "4",
        "Refunded": "£355.35",  # eleven sent, one recorded, the refused one left out
        "Exchanged": "2",
        "Exposure": "£119.00",
        "Exceptions": "4",
    }


def test_markup_in_a_vendors_text_stays_text() -> None:
    hostile = sample.held(reason="<script>alert(1)</script>", code='A"><b>')
    text, links = read(sample.day(held=(hostile,), merchant="<i>M</i>"))
    assert "script" not in links.tags
    assert "<i>" not in text
    assert "&lt;script&gt;" in text


def test_times_are_those_of_the_merchants_zone() -> None:
    summer = datetime(2026, 7, 1, 12, tzinfo=UTC)
    text, _ = read(sample.day(received=(sample.received(received_at=summer),)))
    assert "2026-07-01 13:00" in text


@pytest.mark.parametrize(
    ("changes", "name", "state"),
    [
        ({}, "Goods", State.GOOD),
        ({"received": ()}, "Goods", State.GOOD),
        ({"received": (sample.received(outcome="held"),)}, "Goods", State.WATCH),
        ({"received": (sample.received(outcome="waiting"),)}, "Goods", State.WATCH),
        ({"unknown_writes": 1}, "Goods", State.BAD),
        ({"suspended_writes": 1}, "Goods", State.BAD),
        ({}, "Money", State.GOOD),
        ({"closed_at": None}, "Money", State.WATCH),
        ({"refunds": (sample.refund(state="batched"),)}, "Money", State.WATCH),
        ({"refunds": (sample.refund(state="due"),)}, "Money", State.WATCH),
        ({"refunds": (sample.refund(state="refused"),)}, "Money", State.BAD),
        ({}, "Books", State.GOOD),
        ({"batches": (sample.batch(credit=5999),)}, "Books", State.BAD),
        ({"batches": (), "closed_at": None}, "Books", State.WATCH),
        ({"tasks": (sample.task("read-back:x"),)}, "Books", State.BAD),
        ({}, "Tasks", State.GOOD),
        ({"tasks": (sample.task(),)}, "Tasks", State.GOOD),
        ({"tasks": (sample.task(due_at=sample.MADE - timedelta(1)),)}, "Tasks", State.WATCH),
        ({"tasks": (sample.task(severity="S1"),)}, "Tasks", State.BAD),
        ({}, "Sources", State.GOOD),
        ({"read_at": {"Linnworks": sample.MADE - timedelta(hours=1)}}, "Sources", State.BAD),
        ({"read_at": {"Linnworks": None}}, "Sources", State.BAD),
    ],
)
def test_a_light_shows_the_worst_that_is_so(
    changes: dict[str, Any], name: str, state: State
) -> None:
    assert lights(sample.day(**changes))[name].state is state


def test_money_is_summed_by_owner_with_age_and_lateness() -> None:
    rows = {row["owner"]: row for row in sample.busy_day().figures()["exceptions"]}
    assert rows["Operations"] == {
        "owner": "Operations",
        "open": 2,
        "overdue": 1,
        "worst": "S2",
        "oldest_days": 8,
        "amounts": {"GBP": 9000},
    }


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (123456, "GBP", "£1,234.56"),
        (-5, "USD", "-$0.05"),
        (900, "JPY", "JPY 900"),
        (0, "EUR", "€0.00"),
    ],
)
def test_amounts_read_as_people_write_them(minor: int, currency: str, text: str) -> None:
    assert amount_text(minor, currency) == text


def test_sums_of_several_currencies_are_kept_apart() -> None:
    assert amounts_text({"GBP": 100, "EUR": 250}) == "€2.50 + £1.00"
    assert amounts_text({"GBP": 0}) == "none"


# --- the workbook -----------------------------------------------------------------


def sheets(report: DayReport) -> Workbook:
    return load_workbook(BytesIO(workbook(report)))


def column(sheet: Any, title: str) -> list[Any]:
    place = next(cell.column for cell in sheet[1] if cell.value == title)
    return [sheet.cell(row, place) for row in range(2, sheet.max_row + 1)]


def test_every_sheet_has_its_heading_frozen_and_filtered() -> None:
    book = sheets(sample.busy_day())
    assert book.sheetnames[0] == "Summary"
    assert book.sheetnames[-1] == "Facts"
    for sheet in book.worksheets[1:]:
        assert sheet.freeze_panes == "A2"
        assert sheet.auto_filter.ref or sheet.tables


def test_a_day_without_rows_still_gives_a_workbook_with_its_headings() -> None:
    book = sheets(sample.day(received=(), movements=()))
    assert book["Received"].max_row == 1
    assert book["Received"].auto_filter.ref


def test_cells_have_the_type_of_what_they_say() -> None:
    book = sheets(sample.busy_day())
    amounts = column(book["Refunds"], "Refund")
    assert amounts[0].data_type == "n"
    assert "0.00" in amounts[0].number_format
    assert sum(round(cell.value * 100) for cell in amounts) == 41535
    assert column(book["Received"], "Received")[0].is_date
    assert column(book["Refunds"], "Refund currency")[0].value == "GBP"
    assert column(book["Exceptions"], "Age in days")[0].data_type == "n"


@pytest.mark.parametrize("text", ["=1+1", "+44", "-x", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0"])
def test_a_text_that_looks_like_a_formula_is_written_as_text(text: str) -> None:
    report = sample.day(held=(sample.held(reason=text, order_number=text),))
    book = sheets(report)
    for name in ("Why", "Order"):
        cell = column(book["Held units"], name)[0]
        assert cell.data_type == "s"
        assert cell.value == "'" + text
    assert not any(
        cell.data_type == "f" for sheet in book.worksheets for row in sheet for cell in row
    )


def test_control_characters_do_not_break_the_workbook() -> None:
    assert guarded("a\x00b\x1fc") == "a b c"
    assert sheets(sample.day(held=(sample.held(reason="a\x0bb"),)))


def test_the_facts_hold_every_row_once() -> None:
    report = sample.busy_day()
    facts = [cell.value for cell in column(sheets(report)["Facts"], "Fact")]
    assert facts.count("received") == 21
    assert facts.count("restocked") == 15
    assert facts.count("refund") == 13
    assert facts.count("held") == 4
    assert facts.count("exchange") == 2
    assert facts.count("exposure") == 1


def test_an_id_longer_than_any_vendors_may_be_broken_and_no_other() -> None:
    short, long = "b" * 36, "a" * 60
    text, _ = read(sample.day(received=(sample.received(item_id=long, return_id=short),)))
    assert f'<td class="code hash">{long}' in text
    assert f"<td class=code>{short}" in text
