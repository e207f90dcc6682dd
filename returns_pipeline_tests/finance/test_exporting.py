"""Files for accounting programs, from the sealed batches of a database: the same bytes, once."""

import csv
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.reporting.exports import TARGETS
from returns_pipeline.settings import SettingsError
from returns_pipeline.steps import corrections, exporting, periods
from returns_pipeline.steps.exporting import Changed, Outcome
from returns_pipeline.steps.invariants import Scope
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.finance import books as told
from returns_pipeline_tests.finance.books import Books, at, kept, line, order
from returns_pipeline_tests.reporting.exports.ledgers import NetSuite, QuickBooks, Sage50, Xero

DAY = date(2026, 3, 14)
BATCH = "HRL-20260314-UKGBP-00"
NOW = at("2026-03-18T09:00:00")
PROGRAMS = {"xero": Xero, "quickbooks": QuickBooks, "sage50": Sage50, "netsuite": NetSuite}


@pytest.fixture
def books(sqlite_url: str, tmp_path: Path) -> Books:
    """The worked example, lived through to the morning of 15 March."""
    made = Books(sqlite_url, tmp_path, told.DROP_OFF_PAYS)
    told.live_through_the_example(made)
    return made


@pytest.fixture
def on_both(database_url: str, tmp_path: Path) -> Books:
    """The same, once on each of the two databases."""
    made = Books(database_url, tmp_path, told.DROP_OFF_PAYS)
    told.live_through_the_example(made)
    return made


def export(
    books: Books, what: str, *targets: str, folder: Path, changed: Changed = Changed.REFUSE
) -> tuple[Outcome, ...]:
    with books.run(NOW) as rt:
        wanted = exporting.wanted(what, NOW, rt.policy)
        return exporting.export(rt, wanted, targets, folder, changed=changed)


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def sealed(books: Books, *ids: str, vat: bool = True) -> dict[str, int]:
    """What the batches' lines come to by account, straight from the database."""
    found: dict[str, int] = {}
    for batch_id in ids:
        for row in books.lines(batch_id):
            if vat or row.role != "vat_output":
                sign = 1 if row.side == "debit" else -1
                found[row.account] = found.get(row.account, 0) + sign * row.amount_minor
    return {account: minor for account, minor in found.items() if minor}


def exports(books: Books) -> Sequence[Any]:
    return books.rows(sa.select(t.batch_exports).order_by(t.batch_exports.c.id))


def arrive_late(books: Books) -> None:
    """On 17 March a refund of 14 March 22:10 is read."""
    sold = order("R11", line("R11", "20.00", cost=None))
    books.tell(at("2026-03-17T10:00:00"), [sold], [kept("R11", at("2026-03-14T22:10:00"))])
    books.close(DAY, at("2026-03-17T11:00:00"))


def renamed(books: Books, text: str) -> None:
    books.file.write_text(f"{told.DROP_OFF_PAYS}\n{text}\n")


@pytest.mark.parametrize("target", PROGRAMS)
def test_the_example_is_taken_by_each_program_and_booked_to_the_penny(
    books: Books, tmp_path: Path, target: str
) -> None:
    (outcome,) = export(books, "2026-03-14", target, folder=tmp_path / "out")
    assert (outcome.problems, outcome.batches) == ((), (BATCH,))
    program = PROGRAMS[target]()
    for path in outcome.files:
        assert path == tmp_path / "out" / target / "2026-03-14.csv"
        program.import_file(path.read_bytes())
    booked = {account: minor for account, minor in program.books.items() if minor}
    if target == "xero":
        assert booked.pop("8290") == 1
        assert program.vat == 4782
    assert booked == sealed(books, BATCH, vat=target != "xero")


def test_exporting_again_gives_the_same_bytes_and_is_kept_once(
    on_both: Books, tmp_path: Path
) -> None:
    export(on_both, "2026-03-14", *TARGETS, folder=tmp_path / "one")
    kept_ = [(row.batch_id, row.target, row.hash) for row in exports(on_both)]
    export(on_both, "2026-03-14", *TARGETS, folder=tmp_path / "one")
    export(on_both, "2026-03-14", *TARGETS, folder=tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert [(row.batch_id, row.target, row.hash) for row in exports(on_both)] == kept_
    assert [target for _, target, _ in kept_] == list(TARGETS)


def test_what_was_exported_under_other_names_is_not_written_over_unless_asked(
    books: Books, tmp_path: Path
) -> None:
    export(books, "2026-03-14", "xero", folder=tmp_path)
    before = content(tmp_path / "xero")
    renamed(books, '[exports.xero.accounts]\n"4100" = "261"')
    (refused,) = export(books, "2026-03-14", "xero", folder=tmp_path)
    assert BATCH in refused.problems[0]
    assert "--replace" in refused.problems[0]
    (left,) = export(books, "2026-03-14", "xero", folder=tmp_path, changed=Changed.KEEP)
    assert (left.files, left.problems) == ((), ())
    assert content(tmp_path / "xero") == before
    (written,) = export(books, "2026-03-14", "xero", folder=tmp_path, changed=Changed.REPLACE)
    assert b",261," in written.files[0].read_bytes()
    assert len({row.hash for row in exports(books) if row.target == "xero"}) == 2


def test_a_name_that_is_missing_stops_one_program_and_no_other(
    books: Books, tmp_path: Path
) -> None:
    renamed(books, '[exports.account_names]\n"2310" = ""\n[exports.xero.tax_rates]\n"20" = ""')
    by_name = {
        one.target: one for one in export(books, "2026-03-14", *TARGETS, folder=tmp_path / "out")
    }
    assert {name for name, one in by_name.items() if one.problems} == {
        "xero",
        "quickbooks",
        "netsuite",
    }
    where = f"{BATCH} line 07 (store_credit_liability, account 2310)"
    tables = "[exports.account_names] or [exports.quickbooks.accounts]"
    why = f"no name of the account in the policy's {tables}"
    assert by_name["quickbooks"].problems == (f"{where}: {why}",)
    assert [one.partition(":")[0] for one in by_name["xero"].problems] == [
        f"{BATCH} line 01 (sales_returns, account 4100)",
        f"{BATCH} line 03 (shipping_refunded, account 4110)",
        f"{BATCH} line 06 (return_fee_income, account 4120)",
    ]
    assert {path.partition("/")[0] for path in content(tmp_path / "out")} == {
        f"{BATCH}.csv",
        f"{BATCH}.json",
        "sage50",
    }
    assert {row.target for row in exports(books)} == {"generic", "sage50"}
    with pytest.raises(exporting.TargetsRefused, match="Xero manual journals: nothing was written"):
        exporting.require_all(by_name.values())


def test_the_close_writes_a_late_arrival_in_a_file_of_its_own(books: Books, tmp_path: Path) -> None:
    renamed(books, '[exports]\ntargets = ["xero"]')
    with books.run(NOW) as rt:
        exporting.export_day(rt, DAY, tmp_path / "out")
    before = content(tmp_path / "out")
    assert list(before) == [f"{BATCH}.csv", f"{BATCH}.json", f"xero/{BATCH}.csv"]
    arrive_late(books)
    with books.run(NOW) as rt:
        exporting.export_day(rt, DAY, tmp_path / "out")
    after = content(tmp_path / "out")
    late = "HRL-20260314-UKGBP-01"
    assert after.keys() - before.keys() == {f"{late}.csv", f"{late}.json", f"xero/{late}.csv"}
    assert {name: after[name] for name in before} == before
    assert b"late arrivals" in after[f"xero/{late}.csv"]


def test_a_closed_day_exported_again_leaves_files_of_older_names_as_they_are(
    books: Books, tmp_path: Path
) -> None:
    renamed(books, '[exports]\ntargets = ["xero"]')
    with books.run(NOW) as rt:
        exporting.export_day(rt, DAY, tmp_path / "out")
    before = content(tmp_path / "out")
    renamed(books, '[exports]\ntargets = ["xero"]\n[exports.xero.accounts]\n"4100" = "261"')
    with books.run(NOW) as rt:
        outcomes = exporting.export_day(rt, DAY, tmp_path / "out")
    assert not any(one.problems for one in outcomes)
    assert content(tmp_path / "out") == before


def test_a_batch_its_reversal_and_its_replacement_leave_the_replacement(
    books: Books, tmp_path: Path
) -> None:
    with books.run(NOW) as rt:
        made = corrections.reverse(rt, BATCH, reason="a test")
    (outcome,) = export(books, "2026-03-14", "sage50", folder=tmp_path)
    assert outcome.batches == (BATCH, *made.replacement_ids, made.reversal_id)
    sage = Sage50()
    sage.import_file(outcome.files[0].read_bytes())
    booked = {account: minor for account, minor in sage.books.items() if minor}
    assert booked == sealed(books, *made.replacement_ids)
    assert sage.vat_return == 4783
    rows = list(csv.reader(outcome.files[0].read_text("cp1252").splitlines()))
    assert {row[0] for row in rows[1:] if row[5] == made.reversal_id} == {
        "SC", "SI", "SA", "JD", "JC",
    }  # fmt: skip


def test_a_month_is_what_is_dated_in_it_and_a_day_what_is_of_it(
    on_both: Books, tmp_path: Path
) -> None:
    with on_both.run(NOW) as rt:
        periods.change(rt.engine, "2026-03", locked=True, reason="filed", by="maria", now=NOW)
    arrive_late(on_both)
    late = "HRL-20260401-UKGBP-01"

    def batches(what: str) -> tuple[str, ...]:
        return export(on_both, what, "netsuite", folder=tmp_path)[0].batches

    assert batches("2026-03") == ("HRL-20260311-UKGBP-00", BATCH)
    assert batches("2026-04") == (late,)
    assert batches("2026-03-14") == (BATCH, late)
    assert batches(late) == (late,)
    assert batches("2026-05") == ()
    assert not (tmp_path / "netsuite" / "2026-05.csv").exists()


def test_an_export_moves_a_batch_that_was_only_sealed(on_both: Books, tmp_path: Path) -> None:
    with on_both.run(NOW) as rt:
        made = corrections.reverse(rt, BATCH, reason="a test", replace=False)
    assert on_both.batches()[made.reversal_id].state == "sealed"
    export(on_both, made.reversal_id, "generic", folder=tmp_path)
    assert on_both.batches()[made.reversal_id].state == "exported"
    assert on_both.batches()[BATCH].state == "reversed"
    events = t.batch_events.c
    query = sa.select(events.detail).where(
        events.batch_id == made.reversal_id, events.state == "exported"
    )
    assert [row.detail for row in on_both.rows(query)] == ["for generic"]


def test_parts_that_an_earlier_export_left_are_removed(books: Books, tmp_path: Path) -> None:
    place = tmp_path / "xero"
    place.mkdir()
    (place / "2026-03-14-part2.csv").write_text("of a longer day")
    (place / "2026-03-13.csv").write_text("another day's")
    export(books, "2026-03-14", "xero", folder=tmp_path)
    assert sorted(content(place)) == ["2026-03-13.csv", "2026-03-14.csv"]


def test_a_file_that_cannot_be_finished_leaves_the_old_one_whole(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(books, "2026-03-14", "xero", folder=tmp_path)
    before = (tmp_path / "xero" / "2026-03-14.csv").read_bytes()

    def torn(path: Path, data: bytes) -> int:
        with path.open("wb") as out:
            out.write(data[:10])
        msg = "disk is full"
        raise OSError(msg)

    monkeypatch.setattr(Path, "write_bytes", torn)
    renamed(books, '[exports.xero.accounts]\n"4100" = "261"')
    with pytest.raises(OSError, match="disk is full"):
        export(books, "2026-03-14", "xero", folder=tmp_path, changed=Changed.REPLACE)
    assert (tmp_path / "xero" / "2026-03-14.csv").read_bytes() == before
    assert len(exports(books)) == 1


def test_a_batch_that_has_not_the_files_its_policy_wants_is_told(
    books: Books, tmp_path: Path
) -> None:
    renamed(books, '[exports]\ntargets = ["xero"]\n[exports.xero.tax_rates]\n"20" = ""')

    def asked() -> Any:
        with books.run(NOW) as rt, rt.engine.connect() as connection:
            scope = Scope(connection, rt.policy, NOW, days=(DAY,))
            return exporting.every_batch_has_its_files(scope)

    with books.run(NOW) as rt:
        exporting.export_day(rt, DAY, tmp_path)
    missing = asked()
    assert not missing.holds
    assert not missing.severe
    assert list(missing.rows) == [{"batch": BATCH, "program": "Xero manual journals"}]
    renamed(books, '[exports]\ntargets = ["xero"]')
    with books.run(NOW) as rt:
        exporting.export_day(rt, DAY, tmp_path)
    assert asked().holds


@pytest.mark.parametrize("text", ["", "14.03.2026", "2026-13", "HRL-20260314", "march", "../x"])
def test_what_is_no_day_month_or_batch_is_refused(books: Books, text: str) -> None:
    with books.run(NOW) as rt, pytest.raises(exporting.NotAsked, match="no date"):
        exporting.wanted(text, NOW, rt.policy)


def test_a_program_that_is_none_of_ours_is_refused_before_anything_is_written(
    books: Books, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="'freeagent' is no target of ours"):
        export(books, "2026-03-14", "generic", "freeagent", folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()
