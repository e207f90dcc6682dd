"""From a journal line to its units, events, policy and payloads; from a unit to its lines."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.steps import corrections, exporting, story
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.finance import books as told
from returns_pipeline_tests.finance.books import Books, at

BATCH = "HRL-20260314-UKGBP-00"
NOW = at("2026-03-18T09:00:00")


@pytest.fixture
def books(database_url: str, tmp_path: Path) -> Books:
    """The worked example, lived through to the morning of 15 March."""
    made = Books(database_url, tmp_path, told.DROP_OFF_PAYS)
    told.live_through_the_example(made)
    return made


def explain(books: Books, key: str) -> Any:
    with books.run(NOW) as rt:
        return story.explain(rt.engine, key)


def test_a_line_leads_to_its_units_events_policy_and_payloads(books: Books) -> None:
    found = explain(books, f"{BATCH}/4")
    (line,) = found["batch_line"]["lines"]
    assert (line["role"], line["amount_minor"], line["difference_minor"]) == ("vat_output", 4833, 0)
    parts = {entry["unit_key"]: entry["amount_minor"] for entry in line["entries"]}
    assert parts["unit-R3"] == 500
    assert parts["unit-R2a"] + parts["unit-R2b"] == 667
    assert sum(entry["amount_minor"] for entry in line["entries"]) == 4833
    (entry,) = [one for one in line["entries"] if one["unit_key"] == "unit-R3"]
    assert entry["event_key"].endswith("refund")
    policy = found["batch_line"]["policy_hash"]
    assert [one["hash"] for one in found["batch_line"]["policy"]] == [policy]
    item = next(one for one in found["items"] if one["item"]["unit_key"] == "unit-R3")
    assert item["payloads"][0]["body"]["returnFee"] == "3.00 GBP"
    assert item["order_payload"]["body"]["OrderId"] == "order-R3"
    assert item["match"][0]["row_id"] == "row-r3"
    assert [one["hash"] for one in item["policies"]] == [policy]


def test_a_unit_leads_back_to_each_of_its_lines_with_its_part(books: Books) -> None:
    (item,) = explain(books, "unit-R3")["items"]
    parts = {
        (line["batch_id"], line["account"], line["side"]): line["amount_minor"]
        for line in item["journal_lines"]
    }
    assert parts == {
        (BATCH, "4100", "debit"): 2500,
        (BATCH, "2200", "debit"): 500,
        (BATCH, "2200", "credit"): 50,
        (BATCH, "4120", "credit"): 250,
        (BATCH, "1260", "credit"): 2700,
        (BATCH, "1003", "debit"): 900,
        (BATCH, "5050", "credit"): 900,
    }
    for line in item["journal_lines"]:
        again = explain(books, f"{line['batch_id']}/{line['line_number']}")
        assert "unit-R3" in again["batch_line"]["item_ids"]


def test_a_reversal_and_what_it_reverses_name_each_other(books: Books, tmp_path: Path) -> None:
    with books.run(NOW) as rt:
        made = corrections.reverse(rt, BATCH, reason="a test")
        exporting.export_day(rt, date(2026, 3, 14), tmp_path)
    assert explain(books, BATCH)["batch_line"]["reversed_by"] == made.reversal_id
    back = explain(books, made.reversal_id)["batch_line"]
    assert (back["reverses"], back["kind"]) == (BATCH, "reversal")
    assert [one["target"] for one in back["exports"]] == ["generic"]
    (item,) = [
        one for one in explain(books, made.reversal_id)["items"]
        if one["item"]["unit_key"] == "unit-R3"
    ]  # fmt: skip
    assert {line["batch_id"] for line in item["journal_lines"]} == {
        BATCH, made.reversal_id, *made.replacement_ids,
    }  # fmt: skip


def test_what_the_entries_do_not_explain_of_a_line_is_said(books: Books) -> None:
    entry = t.postings.c
    with books.run(NOW) as rt, rt.engine.begin() as connection:
        query = sa.select(t.postings).where(entry.batch_id == BATCH, entry.role == "cogs_returns")
        row = dict(connection.execute(query.limit(1)).one()._mapping)
        row.pop("id")
        connection.execute(
            sa.insert(t.postings).values({**row, "posting_key": "smuggled", "amount_minor": 1})
        )
    (line,) = explain(books, f"{BATCH}/17")["batch_line"]["lines"]
    assert line["difference_minor"] == -1
