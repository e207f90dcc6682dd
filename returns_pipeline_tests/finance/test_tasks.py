"""What finance is asked to look at after a batch is sealed: opened by its cause, closed with it."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.steps import batching, control, exporting, ledger_answers
from returns_pipeline.steps.exporting import Changed
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.finance import books as told
from returns_pipeline_tests.finance.books import Books, at

DAY = date(2026, 3, 14)
BATCH = "HRL-20260314-UKGBP-00"
MORNING = at("2026-03-16T09:00:00")


@pytest.fixture
def books(database_url: str, tmp_path: Path) -> Books:
    """The worked example, closed, with its file for Xero."""
    made = Books(database_url, tmp_path, told.DROP_OFF_PAYS)
    told.live_through_the_example(made)
    export(made, tmp_path)
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


def test_a_refused_file_is_a_task_until_it_is_taken(books: Books) -> None:
    assert queue(books, "EXPORT_REJECTED") == {}
    assert answer(books, taken=False, reason="account 4100 is archived")
    (open_,) = queue(books, "EXPORT_REJECTED").values()
    assert open_.key == f"{BATCH}:xero"
    assert (open_.severity, open_.owner) == ("S1", "Finance")
    assert open_.message == f"Xero manual journals refused {BATCH}: account 4100 is archived"
    assert answer(books, taken=True)
    assert queue(books, "EXPORT_REJECTED") == {}
    way = [row.state for row in books.rows(sa.select(t.batch_events)) if row.batch_id == BATCH]
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
