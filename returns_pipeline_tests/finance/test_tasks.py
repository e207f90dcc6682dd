"""What finance is asked to look at after a batch is sealed: opened by its cause, closed with it."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.steps import batching, control, corrections, exporting, ledger_answers
from returns_pipeline.steps.exporting import Changed
from returns_pipeline.storage import guards
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.finance import books as told
from returns_pipeline_tests.finance.books import NOON, Books, at, back

DAY = date(2026, 3, 14)
BATCH = "HRL-20260314-UKGBP-00"
MORNING = at("2026-03-16T09:00:00")


@pytest.fixture
def books(sqlite_url: str, tmp_path: Path) -> Books:
    """The worked example, closed, with its file for Xero."""
    return closed(sqlite_url, tmp_path)


@pytest.fixture
def on_both(database_url: str, tmp_path: Path) -> Books:
    """The same, once on each of the two databases."""
    return closed(database_url, tmp_path)


def closed(url: str, folder: Path) -> Books:
    made = Books(url, folder, told.DROP_OFF_PAYS)
    told.live_through_the_example(made)
    export(made, folder)
    return made


def export(
    books: Books, folder: Path, changed: Changed = Changed.REFUSE, now: datetime = MORNING
) -> None:
    with books.run(now) as rt:
        exporting.require_all(
            exporting.export(rt, exporting.of_day(DAY), ("xero",), folder, changed=changed)
        )


def answer(books: Books, *, taken: bool, reason: str = "", target: str = "xero") -> bool:
    engine = connect(books.url)
    try:
        return ledger_answers.tell(
            engine, BATCH, target, taken=taken, reason=reason, by="maria", now=MORNING
        )
    finally:
        engine.dispose()


def queue(books: Books, code: str, now: datetime = MORNING) -> dict[str, Any]:
    """The exceptions of a code that stand open after the next sync, by key."""
    with books.run(now) as rt:
        control.exceptions(rt)
    rows = books.rows(sa.select(t.exceptions).where(t.exceptions.c.code == code))
    return {row.key: row for row in rows if row.status in {"open", "ack", "snoozed"}}


# --- a ledger that refuses a file -----------------------------------------------------


def test_a_refused_file_is_a_task_until_it_is_taken(on_both: Books) -> None:
    assert queue(on_both, "EXPORT_REJECTED") == {}
    assert answer(on_both, taken=False, reason="account 4100 is archived")
    (open_,) = queue(on_both, "EXPORT_REJECTED").values()
    assert open_.key == f"{BATCH}:xero"
    assert (open_.severity, open_.owner) == ("S1", "Finance")
    assert open_.message == f"Xero manual journals refused {BATCH}: account 4100 is archived"
    assert answer(on_both, taken=True)
    assert queue(on_both, "EXPORT_REJECTED") == {}
    way = [row.state for row in on_both.rows(sa.select(t.batch_events)) if row.batch_id == BATCH]
    assert way[-2:] == ["refused", "taken"]


def test_a_file_written_anew_stays_a_task_and_says_so(books: Books, tmp_path: Path) -> None:
    answer(books, taken=False, reason="no such account")
    books.file.write_text(f'{told.DROP_OFF_PAYS}\n[exports.xero.accounts]\n"4100" = "261"\n')
    export(books, tmp_path, Changed.REPLACE, at("2026-03-16T11:00:00"))
    (open_,) = queue(books, "EXPORT_REJECTED", at("2026-03-16T12:00:00")).values()
    assert open_.message.endswith("it was written anew since: import it again")


def test_a_number_in_the_ledger_says_that_it_was_taken(books: Books) -> None:
    answer(books, taken=False, reason="no such account")
    engine = connect(books.url)
    batching.confirm(engine, BATCH, "MJ-1", by="maria", now=MORNING)
    engine.dispose()
    assert queue(books, "EXPORT_REJECTED") == {}
    with pytest.raises(batching.WrongState, match="is MJ-1 in the ledger already: it was taken"):
        answer(books, taken=False, reason="no such account")


def test_the_same_answer_again_is_no_news(books: Books) -> None:
    assert not answer(books, taken=True)
    assert answer(books, taken=False, reason="one")
    assert not answer(books, taken=False, reason="one")
    assert answer(books, taken=False, reason="another")
    assert "another" in next(iter(queue(books, "EXPORT_REJECTED").values())).message
    assert answer(books, taken=True)
    assert not answer(books, taken=True)


def test_a_program_that_was_given_no_file_has_refused_none(books: Books) -> None:
    with pytest.raises(batching.WrongState, match=r"no file of .* was written for Sage 50"):
        answer(books, taken=False, reason="x", target="sage50")
    assert books.rows(sa.select(t.ledger_answers)) == []


# --- roundings ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "raised"),
    [("", False), ("rounding_limit_minor = 0", False), ("rounding_per_line_minor = 0", False)],
)
def test_the_examples_penny_is_no_task(books: Books, limit: str, raised: bool) -> None:  # noqa: FBT001
    books.file.write_text(f"{told.DROP_OFF_PAYS}[finance]\n{limit}\n")
    assert bool(queue(books, "ROUNDING_OVER_LIMIT")) is raised


def unguarded(books: Books) -> None:
    engine = connect(books.url)
    with engine.begin() as connection:
        for statement in guards.without(engine.dialect.name):
            connection.exec_driver_sql(statement)
    engine.dispose()


def vat_is_off_by(books: Books, minor: int) -> None:
    """Make the sealed batch one whose VAT is not its rate's: what no step of ours would seal."""
    engine = connect(books.url)
    line = t.batch_lines.c
    with engine.begin() as connection:
        for role, side in (("vat_output", "debit"), ("refund_clearing.paypal", "credit")):
            connection.execute(
                sa.update(t.batch_lines)
                .where(line.batch_id == BATCH, line.role == role, line.side == side)
                .values(amount_minor=line.amount_minor + minor)
            )
    engine.dispose()


@pytest.mark.parametrize(
    ("limits", "off", "most"),
    [
        ("", 15, "0.15"),  # a penny for each of fifteen lines
        ("rounding_per_line_minor = 0", 50, "0.50"),
        ("rounding_per_line_minor = 2\nrounding_limit_minor = 20", 20, "0.20"),
    ],
)
def test_a_rounding_above_the_limit_is_a_task_until_it_is_below(
    books: Books, limits: str, off: int, most: str
) -> None:
    books.file.write_text(f"{told.DROP_OFF_PAYS}[finance]\n{limits}\n")
    unguarded(books)
    vat_is_off_by(books, off - 1)  # and a penny
    assert queue(books, "ROUNDING_OVER_LIMIT") == {}
    vat_is_off_by(books, 1)
    (open_,) = queue(books, "ROUNDING_OVER_LIMIT").values()
    assert (open_.key, open_.owner, open_.severity) == (BATCH, "Finance", "S2")
    assert open_.amount_minor == off + 1
    assert f"over {most}" in open_.message
    # It stays while it is in the queue, however old the batch is by then; and ends with its cause.
    assert queue(books, "ROUNDING_OVER_LIMIT", at("2026-03-26T09:00:00"))
    books.file.write_text(f"{told.DROP_OFF_PAYS}[finance]\nrounding_per_line_minor = 0\n"
                          "rounding_limit_minor = 60\n")  # fmt: skip
    assert queue(books, "ROUNDING_OVER_LIMIT", at("2026-03-26T10:00:00")) == {}


def test_a_batch_without_a_file_for_xero_has_no_rounding(database_url: str, tmp_path: Path) -> None:
    made = Books(database_url, tmp_path, told.DROP_OFF_PAYS)
    told.live_through_the_example(made)
    unguarded(made)
    vat_is_off_by(made, 500)
    assert queue(made, "ROUNDING_OVER_LIMIT") == {}


# --- store credit -------------------------------------------------------------------


def settle(books: Books, now: datetime) -> None:
    with books.run(now) as rt:
        control.settle_units(rt)


@pytest.mark.parametrize(
    ("unit", "as_told", "after"),
    [
        ("R4", {"refundType": "store-credit"}, {"refundType": "refund"}),
        ("R1", {"refundType": "refund"}, {"refundType": "store-credit"}),
        (
            "R4",
            {"refundType": "store-credit", "refundAmount": "45.00"},
            {"refundType": "store-credit", "refundAmount": "40.00"},
        ),
    ],
)
def test_credit_told_otherwise_than_it_was_entered_is_a_task_until_both_agree(
    books: Books, unit: str, as_told: dict[str, str], after: dict[str, str]
) -> None:
    def tell(more: dict[str, str], now: datetime) -> None:
        changed = {"updatedAt": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        books.tell(now, (), [back(unit, NOON, **{**more, **changed})])
        settle(books, now)

    settle(books, MORNING)
    assert queue(books, "STORE_CREDIT_UNMATCHED") == {}
    tell(after, at("2026-03-17T09:00:00"))
    (open_,) = queue(books, "STORE_CREDIT_UNMATCHED", at("2026-03-17T09:05:00")).values()
    assert (open_.key, open_.owner, open_.severity) == (f"unit-{unit}", "Finance", "S2")
    assert BATCH in open_.message
    settle(books, at("2026-03-17T09:10:00"))
    assert queue(books, "STORE_CREDIT_UNMATCHED", at("2026-03-17T09:15:00"))
    tell(as_told, at("2026-03-17T10:00:00"))
    assert queue(books, "STORE_CREDIT_UNMATCHED", at("2026-03-17T10:05:00")) == {}


def test_credit_of_a_batch_that_was_taken_back_alone_is_a_task(on_both: Books) -> None:
    with on_both.run(MORNING) as rt:
        corrections.reverse(rt, BATCH, reason="a test", replace=False)
    (open_,) = queue(on_both, "STORE_CREDIT_UNMATCHED").values()
    assert (open_.key, open_.amount_minor, open_.currency) == (BATCH, 4500, "GBP")
    assert open_.message.startswith("45.00 GBP of store credit was given for 1 units")


def test_credit_of_a_batch_that_was_made_anew_is_none(books: Books) -> None:
    with books.run(MORNING) as rt:
        corrections.reverse(rt, BATCH, reason="a test")
    assert queue(books, "STORE_CREDIT_UNMATCHED") == {}
