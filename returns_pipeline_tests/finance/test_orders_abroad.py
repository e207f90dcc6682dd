"""One refund abroad, paid before the goods are here: its money and its cost in two batches."""

from datetime import date
from pathlib import Path

import pytest

from returns_pipeline.steps import corrections, verification
from returns_pipeline.steps.corrections import CannotReverse
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.finance.books import (
    DROP_OFF_PAYS,
    Books,
    at,
    dropped,
    line,
    order,
)

DAY = date(2026, 3, 11)
MONEY, COST = "HRL-20260311-UKEUR-00", "HRL-20260311-UKGBP-00"
PAID = [
    ("4100", "20", 2500, 0, {"D"}),
    ("2200", "20", 500, 0, {"D"}),
    ("1260", "", 0, 3000, {"D"}),
]
ON_ITS_WAY = [("1010", "", 1000, 0, {"D"}), ("5050", "", 0, 1000, {"D"})]
NOW = at("2026-03-13T09:00:00")


@pytest.fixture
def books(sqlite_url: str, tmp_path: Path) -> Books:
    """A unit of an order in euros, paid at the return bar, not here yet."""
    made = Books(sqlite_url, tmp_path, DROP_OFF_PAYS)
    sold = order("D", line("D", "30.00"), Currency="EUR", ConversionRate=0.86)
    unit = dropped("D", at("2026-03-11T10:00:00")) | {"currency": "EUR"}
    made.tell(at("2026-03-11T18:00:00"), [sold], [unit])
    made.tell(at("2026-03-12T03:00:00"))
    made.close(DAY, at("2026-03-12T07:00:00"))
    return made


def reverse(books: Books, batch_id: str) -> tuple[str, ...]:
    with books.run(NOW) as rt:
        return corrections.reverse(rt, batch_id, reason="a test").replacement_ids


def verify_all(books: Books) -> None:
    engine = connect(books.url)
    try:
        for batch_id in books.batches():
            verdict = verification.verify(engine, batch_id)
            assert verdict.holds, (batch_id, verdict.differences)
    finally:
        engine.dispose()


def test_both_batches_of_it_come_out_of_their_payloads(books: Books) -> None:
    assert books.printed(MONEY) == PAID
    assert books.printed(COST) == ON_ITS_WAY
    verify_all(books)


@pytest.mark.parametrize("first", [MONEY, COST])
def test_each_is_taken_back_and_made_anew_by_itself(books: Books, first: str) -> None:
    before = books.balances()
    assert reverse(books, first) == (f"{first[:-2]}01",)
    assert books.balances() == before
    verify_all(books)
    other = COST if first == MONEY else MONEY
    assert reverse(books, other) == (f"{other[:-2]}01",)
    assert books.printed(f"{MONEY[:-2]}01") == PAID
    assert books.printed(f"{COST[:-2]}01") == ON_ITS_WAY
    assert books.balances() == before
    verify_all(books)


def test_a_replacement_is_taken_back_and_made_anew_too(books: Books) -> None:
    before = books.balances()
    for batch_id in (COST, f"{COST[:-2]}01", MONEY, f"{MONEY[:-2]}01"):
        assert reverse(books, batch_id)
    assert books.printed(f"{COST[:-2]}02") == ON_ITS_WAY
    assert books.printed(f"{MONEY[:-2]}02") == PAID
    assert books.balances() == before
    verify_all(books)


def test_each_is_right_where_the_cost_is_led_to_the_orders_currency_meanwhile(
    books: Books,
) -> None:
    books.file.write_text(f'{DROP_OFF_PAYS}[finance]\ncost_currency = "order"\n')
    assert reverse(books, COST) == ("HRL-20260311-UKEUR-01",)
    assert reverse(books, MONEY) == ("HRL-20260311-UKEUR-02",)
    assert books.printed("HRL-20260311-UKEUR-01") == ON_ITS_WAY
    assert books.printed("HRL-20260311-UKEUR-02") == PAID
    verify_all(books)


def test_a_line_that_stands_in_a_batch_already_is_not_sealed_in_another(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = books.batches().keys()
    monkeypatch.setattr(corrections, "of_this_batch", lambda lines, *_: [*lines, *lines])
    with pytest.raises(CannotReverse, match=r"3 of 6 lines .* stand in another batch already"):
        reverse(books, MONEY)
    assert books.batches().keys() == before
    assert not [row for row in books.rows(t.postings.select()) if "~" in row.event_key]
