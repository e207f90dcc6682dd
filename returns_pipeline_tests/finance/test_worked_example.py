"""Section 5 of the finance specification, from payload to sealed line, on both databases."""

from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from returns_pipeline.domain import consolidation
from returns_pipeline.steps import corrections, periods, verification
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.finance import books as told
from returns_pipeline_tests.finance.books import Books, at, kept, line, order

DAY = date(2026, 3, 14)
BATCH = "HRL-20260314-UKGBP-00"
PAID = {"R1", "R2", "R3", "R4", "R5", "R7", "R8"}
PRINTED = [
    ("4100", "20", 23748, 0, PAID),
    ("4101", "0", 1400, 0, {"R10"}),
    ("4110", "20", 412, 0, {"R5"}),
    ("2200", "20", 4833, 0, PAID),
    ("2200", "20", 0, 50, {"R3"}),
    ("4120", "20", 0, 250, {"R3"}),
    ("2310", "", 0, 4500, {"R4"}),
    ("2320", "", 0, 5000, {"R7"}),
    ("1260", "", 0, 19193, {"R1", "R2", "R3", "R5", "R8"}),
    ("1261", "", 0, 1400, {"R10"}),
    ("1001", "", 7300, 0, {"R1", "R2", "R4", "R6", "R7", "R9"}),
    ("1002", "", 600, 0, {"R2"}),
    ("1003", "", 900, 0, {"R3"}),
    ("5210", "", 400, 0, {"R10"}),
    ("1010", "", 1100, 0, {"R8"}),
    ("1010", "", 0, 800, {"R9"}),
    ("5050", "", 0, 9500, {"R1", "R2", "R3", "R4", "R6", "R7", "R8", "R10"}),
]
LATE = [
    ("4100", "20", 1667, 0, {"R11"}),
    ("2200", "20", 333, 0, {"R11"}),
    ("1260", "", 0, 2000, {"R11"}),
]


@pytest.fixture
def books(database_url: str, tmp_path: Path) -> Books:
    """The example, lived through to the morning of 15 March."""
    made = Books(database_url, tmp_path, told.DROP_OFF_PAYS)
    told.live_through_the_example(made)
    return made


def arrive_late(books: Books) -> None:
    """On 17 March a refund of 14 March 22:10 is read."""
    sold = order("R11", line("R11", "20.00", cost=None))
    books.tell(at("2026-03-17T10:00:00"), [sold], [kept("R11", at("2026-03-14T22:10:00"))])
    books.close(DAY, at("2026-03-17T11:00:00"))


def verified(books: Books, batch_id: str) -> None:
    engine = connect(books.url)
    try:
        verdict = verification.verify(engine, batch_id)
        assert verdict.holds, verdict.differences
    finally:
        engine.dispose()


def test_the_worked_example_comes_out_to_the_penny(books: Books) -> None:
    assert books.printed(BATCH) == PRINTED
    totals = sum(row[2] for row in PRINTED), sum(row[3] for row in PRINTED)
    assert totals == (40693, 40693)
    sealed = books.batches()[BATCH]
    assert (sealed.state, sealed.kind, sealed.origin_date) == ("posted", "primary", DAY)
    verified(books, BATCH)


def test_a_late_arrival_in_an_open_month_is_dated_its_own_day(books: Books) -> None:
    before = books.batches()[BATCH]
    arrive_late(books)

    late = books.batches()["HRL-20260314-UKGBP-01"]
    assert books.printed(late.batch_id) == LATE
    assert (late.kind, late.business_date, late.origin_date) == ("adjustment", DAY, DAY)
    assert books.batches()[BATCH]._mapping == before._mapping
    verified(books, late.batch_id)


def test_a_late_arrival_in_a_locked_month_is_dated_the_first_open_day(books: Books) -> None:
    before = books.batches()[BATCH]
    engine = connect(books.url)
    periods.change(
        engine, "2026-03", locked=True, reason="filed", by="maria", now=at("2026-03-16T09:00:00")
    )
    engine.dispose()
    arrive_late(books)

    late = books.batches()["HRL-20260401-UKGBP-01"]
    assert books.printed(late.batch_id) == LATE
    assert (late.business_date, late.origin_date) == (date(2026, 4, 1), DAY)
    assert books.batches()[BATCH]._mapping == before._mapping
    verified(books, late.batch_id)


def test_a_wrong_mapping_is_mended_by_a_reversal_and_a_replacement(books: Books) -> None:
    books.file.write_text(f'{told.DROP_OFF_PAYS}\n[finance.accounts]\nsales_returns = "4099"\n')
    with books.run(at("2026-03-18T09:00:00")) as rt:
        made = corrections.reverse(rt, BATCH, reason="returns have an account of their own")
        new_policy = rt.policy.hash

    assert made.reversal_id == "HRL-20260314-UKGBP-R1"
    assert made.replacement_ids == ("HRL-20260314-UKGBP-01",)
    found = books.batches()
    back, anew = found[made.reversal_id], found["HRL-20260314-UKGBP-01"]
    assert back.description.startswith(f"reverses {BATCH}")
    assert [(*row[:2], row[3], row[2], *row[4:]) for row in books.printed(back.batch_id)] == PRINTED
    assert books.printed(anew.batch_id) == [
        ("4099" if row[0] == "4100" else row[0], *row[1:]) for row in PRINTED
    ]
    assert (anew.policy_hash, anew.replaces_id) == (new_policy, BATCH)
    assert (found[BATCH].state, back.state, anew.state) == ("reversed", "sealed", "sealed")
    for one in (BATCH, back.batch_id, anew.batch_id):
        verified(books, one)


def test_the_reversal_and_the_original_come_to_nothing_line_by_line(books: Books) -> None:
    with books.run(at("2026-03-18T09:00:00")) as rt:
        made = corrections.reverse(rt, BATCH, reason="a test", replace=False)
    original, back = books.lines(BATCH), books.lines(made.reversal_id)
    signs = {"debit": 1, "credit": -1}
    assert [row.number for row in original] == [row.number for row in back]
    for one, other in zip(original, back, strict=True):
        assert (one.account, one.tax_key, one.unit_keys) == (
            other.account,
            other.tax_key,
            other.unit_keys,
        )
        assert signs[one.side] * one.amount_minor + signs[other.side] * other.amount_minor == 0
    first = consolidation.from_bytes(books.batches()[BATCH].body.encode()).totals
    second = consolidation.from_bytes(books.batches()[made.reversal_id].body.encode()).totals
    assert all(
        first[name] + second[name] == 0
        for name in first
        if name not in {"units", "debit", "credit"}
    )


def test_closing_a_sealed_day_again_changes_no_byte(books: Books) -> None:
    before = [row._mapping for row in books.batches().values()]
    result = books.close(DAY, at("2026-03-16T07:00:00"))
    assert "nothing has come late" in result.message
    assert [row._mapping for row in books.batches().values()] == before


def test_each_step_of_a_batch_is_kept_with_its_instant_and_run(books: Books) -> None:
    query = sa.select(t.batch_events).where(t.batch_events.c.batch_id == BATCH)
    told_ = books.rows(query.order_by(t.batch_events.c.id))
    assert [row.state for row in told_] == ["open", "complete", "sealed", "exported", "posted"]
    assert told_[0].at == at("2026-03-14T18:00:00")
    assert told_[2].at == at("2026-03-15T07:00:00")
    assert {row.run_id for row in told_[2:]} == {"20260315T070000"}
