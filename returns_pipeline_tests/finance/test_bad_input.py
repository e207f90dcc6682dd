"""What is wrong waits, named, and the rest is sealed; what must not be is refused whole."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.domain import consolidation
from returns_pipeline.steps import batching, control, corrections, money, periods
from returns_pipeline.storage import guards
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.finance.books import Books, at, back, line, order

DAY = date(2026, 3, 14)
NOON = at("2026-03-14T12:00:00")
EVENING = at("2026-03-14T18:00:00")
MORNING = at("2026-03-15T07:00:00")
GOOD = order("G", line("G", "60.00"))


@pytest.fixture
def books(database_url: str, tmp_path: Path) -> Books:
    return Books(database_url, tmp_path)


def close_with(books: Books, *orders: Any, units: Any = ()) -> None:
    """A day with a good unit, and what else is told; closed in the morning."""
    books.tell(EVENING, [GOOD, *orders], [back("G", NOON), *units])
    books.tell(at("2026-03-15T03:00:00"))
    books.close(DAY, MORNING)


def note_of(books: Books, table: sa.Table, unit: str) -> str:
    return str(books.rows(sa.select(table.c.note).where(table.c.unit_key == unit))[0][0])


def sealed_units(books: Books) -> set[str]:
    query = sa.select(t.postings.c.unit_key).where(t.postings.c.batch_id.is_not(None))
    return {row[0] for row in books.rows(query)}


# --- one unit waits, the rest is sealed ---------------------------------------------


def test_a_missing_cost_holds_the_movement_and_not_the_money(books: Books) -> None:
    close_with(books, order("X", line("X", "20.00", cost=None)), units=[back("X", NOON)])
    assert note_of(books, t.stock_adjustments, "unit-X").startswith("COST_MISSING")
    assert note_of(books, t.refunds_due, "unit-X") == ""
    totals = consolidation.from_bytes(books.batches()["HRL-20260314-UKGBP-00"].body.encode()).totals
    assert (totals["refunds"], totals["cost_restocked"]) == (8000, 1000)

    books.tell(
        at("2026-03-16T10:00:00"),
        [order("X", line("X", "20.00", cost="7.00")) | {"LastUpdated": "2026-03-16T09:00:00Z"}],
    )
    assert note_of(books, t.stock_adjustments, "unit-X") == ""
    books.close(DAY, at("2026-03-16T11:00:00"))
    assert [row[2:4] for row in books.printed("HRL-20260314-UKGBP-01")] == [(700, 0), (0, 700)]


@pytest.mark.parametrize("told", [{}, {"ConversionRate": 0}])
def test_a_missing_rate_holds_that_unit_alone(books: Books, told: dict[str, Any]) -> None:
    abroad = order("X", line("X", "20.00"), Currency="EUR", **told)
    close_with(books, abroad, units=[back("X", NOON, currency="EUR")])
    assert note_of(books, t.refunds_due, "unit-X").startswith("FX_RATE_MISSING")
    assert list(books.batches()) == ["HRL-20260314-UKGBP-00"]


def test_an_account_that_is_not_mapped_holds_what_needs_it(books: Books) -> None:
    books.file.write_text('[finance.accounts]\nreturn_fee_income = ""\n')
    close_with(
        books,
        order("X", line("X", "20.00")),
        units=[back("X", NOON, returnFee="3.00 GBP")],
    )
    assert note_of(books, t.refunds_due, "unit-X").startswith("ACCOUNT_UNMAPPED")
    assert "unit-G" in sealed_units(books)


def test_a_tax_rate_the_books_do_not_know_holds_that_refund(books: Books) -> None:
    books.file.write_text('[finance]\nvat_rates = ["20", "0"]\n')
    close_with(books, order("X", line("X", "20.00", rate="5")), units=[back("X", NOON)])
    gates = sa.select(t.gates.c.exception).where(
        t.gates.c.unit_key == "unit-X", t.gates.c.gate == "refund"
    )
    assert books.rows(gates) == [("VAT_RATE_UNKNOWN",)]
    assert "unit-G" in sealed_units(books)


def test_a_currency_without_a_minor_unit_is_no_order_and_stops_nobody(books: Books) -> None:
    close_with(books, order("X", line("X", "20.00"), Currency="XAU"), units=[back("X", NOON)])
    assert "unit-G" in sealed_units(books)
    assert "unit-X" not in sealed_units(books)
    open_, now = t.exceptions.c, at("2026-03-22T09:00:00")  # however long it takes
    query = sa.select(open_.message, open_.status).where(open_.code == "SCHEMA_DRIFT")
    with books.run(now) as rt:
        control.exceptions(rt)
    ((message, status),) = books.rows(query)
    assert status == "open"
    assert message.startswith("order order-x: an order's currency is not an ISO 4217 code")
    again = {"LastUpdated": "2026-03-22T10:00:00Z"}
    books.tell(at("2026-03-22T10:30:00"), [order("X", line("X", "20.00")) | again])
    with books.run(at("2026-03-22T11:00:00")) as rt:
        control.exceptions(rt)
    ((message, status),) = books.rows(query)
    assert status == "auto_resolved"


# --- refused, named, nothing written ------------------------------------------------


def test_a_day_whose_vendors_were_not_read_to_its_end_is_not_sealed(books: Books) -> None:
    books.tell(EVENING, [GOOD], [back("G", NOON)])
    with (
        books.run(MORNING) as rt,
        pytest.raises(money.DayIncomplete, match="Happy Returns was read until 2026-03-14 18:00"),
    ):
        money.seal(rt, DAY)
    assert books.batches() == {}

    with books.run(MORNING) as rt:
        money.seal(rt, DAY, force="the payout is due")
    (events,) = books.rows(
        sa.select(t.batch_events.c.detail).where(t.batch_events.c.state == "complete")
    )
    assert "the payout is due" in events[0]


def test_payloads_that_were_kept_and_not_worked_on_are_not_complete(books: Books) -> None:
    books.tell(EVENING, [GOOD], [back("G", NOON)])
    books.tell(at("2026-03-15T03:00:00"))
    engine = connect(books.url)
    with engine.begin() as connection:
        connection.execute(
            sa.update(t.watermarks)
            .where(t.watermarks.c.name == "derived.returns")
            .values(position=0)
        )
    engine.dispose()
    with books.run(MORNING) as rt, pytest.raises(money.DayIncomplete, match="not worked on"):
        money.seal(rt, DAY)


def test_what_does_not_balance_is_refused_and_nothing_is_written(books: Books) -> None:
    books.tell(EVENING, [GOOD], [back("G", NOON)])
    books.tell(at("2026-03-15T03:00:00"))
    engine = connect(books.url)
    with engine.begin() as connection:
        entry = t.postings.c
        connection.execute(
            sa.update(t.postings).where(entry.role == "vat_output").values(amount_minor=999)
        )
    engine.dispose()
    with books.run(MORNING) as rt, pytest.raises(consolidation.Unbalanced, match="HRL-20260314"):
        money.seal(rt, DAY)
    assert books.batches() == {}
    assert books.rows(sa.select(t.closed_days)) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE batches SET body = '{}'",
        "UPDATE batches SET hash = 'x'",
        "UPDATE batches SET totals = '{}'",
        "UPDATE batches SET state = 'sealed'",
        "DELETE FROM batches",
        "UPDATE batch_lines SET amount_minor = 1",
        "DELETE FROM batch_lines",
        (
            "INSERT INTO batch_lines SELECT batch_id, 99, role, account, tax_key, side, "
            "amount_minor, currency, unit_keys, base_minor FROM batch_lines WHERE number = 1"
        ),
        "UPDATE postings SET amount_minor = 1",
        "UPDATE postings SET batch_id = NULL, line_number = NULL",
        "DELETE FROM postings",
    ],
)
def test_the_database_itself_refuses_to_change_a_sealed_byte(books: Books, statement: str) -> None:
    close_with(books)
    before = [tuple(row) for row in books.rows(sa.select(t.batches))]
    engine = connect(books.url)
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError):
        connection.exec_driver_sql(statement)
    engine.dispose()
    assert [tuple(row) for row in books.rows(sa.select(t.batches))] == before


def test_a_batch_that_was_edited_all_the_same_is_not_reversed(books: Books) -> None:
    close_with(books)
    engine = connect(books.url)
    with engine.begin() as connection:
        for statement in guards.without(engine.dialect.name):
            connection.exec_driver_sql(statement)
        connection.execute(
            sa.update(t.batches).values(body=sa.func.replace(t.batches.c.body, "4100", "4199"))
        )
    engine.dispose()
    with books.run(MORNING) as rt, pytest.raises(corrections.CannotReverse, match="not as it was"):
        corrections.reverse(rt, "HRL-20260314-UKGBP-00", reason="a test")
    assert len(books.batches()) == 1


def test_a_batch_is_reversed_once_and_a_reversal_never(books: Books) -> None:
    close_with(books)
    with books.run(MORNING) as rt:
        made = corrections.reverse(rt, "HRL-20260314-UKGBP-00", reason="a test")
        with pytest.raises(corrections.CannotReverse, match="reversed by HRL-20260314-UKGBP-R1"):
            corrections.reverse(rt, "HRL-20260314-UKGBP-00", reason="again")
        with pytest.raises(corrections.CannotReverse, match="is a reversal itself"):
            corrections.reverse(rt, made.reversal_id, reason="again")
        with pytest.raises(batching.NotThere, match="no batch has the id"):
            corrections.reverse(rt, "HRL-20260314-UKGBP-99", reason="again")
        again = corrections.reverse(rt, made.replacement_ids[0], reason="and another")
    assert again.reversal_id == "HRL-20260314-UKGBP-R2"
    assert again.replacement_ids == ("HRL-20260314-UKGBP-02",)


def test_a_batch_whose_refunds_are_still_to_be_sent_is_not_reversed(books: Books) -> None:
    books.tell(EVENING, [GOOD], [back("G", NOON)])
    books.tell(at("2026-03-15T03:00:00"))
    with books.run(MORNING) as rt:
        money.seal(rt, DAY)
        with pytest.raises(corrections.CannotReverse, match=r"1 refunds of .* still to"):
            corrections.reverse(rt, "HRL-20260314-UKGBP-00", reason="a test")


def test_a_replacement_that_cannot_be_made_takes_nothing_back(books: Books) -> None:
    close_with(books)
    books.file.write_text('[finance.accounts]\nvat_output = ""\n')
    with books.run(MORNING) as rt, pytest.raises(corrections.CannotReverse, match="vat_output"):
        corrections.reverse(rt, "HRL-20260314-UKGBP-00", reason="a test")
    (only,) = books.batches().values()
    assert only.state == "posted"


# --- a refund that was refused ------------------------------------------------------


def test_a_refused_refund_is_taken_back_and_joins_a_later_batch(books: Books) -> None:
    books.tell(EVENING, [GOOD], [back("G", NOON)])
    books.tell(at("2026-03-15T03:00:00"))
    due = t.refunds_due.c
    with books.run(MORNING) as rt:
        money.seal(rt, DAY)
        with rt.engine.begin() as connection:
            connection.execute(
                sa.update(t.refunds_due).values(
                    state="refused", settled_at=MORNING, note="LINNWORKS_CANNOT_REFUND: it said no"
                )
            )
    books.tell(at("2026-03-16T03:00:00"))
    books.close(date(2026, 3, 15), at("2026-03-16T07:00:00"))
    assert [row[:4] for row in books.printed("HRL-20260315-UKGBP-00")] == [
        ("4100", "20", 0, 5000),
        ("2200", "20", 0, 1000),
        ("1260", "", 6000, 0),
    ]
    assert books.balances()["refund_clearing.shopify_payments", "GBP"] == 0

    sent = at("2026-03-17T10:00:00")
    with books.run(sent) as rt, rt.engine.begin() as connection:
        connection.execute(
            sa.update(t.refunds_due)
            .where(due.state == "refused")
            .values(state="actioned", settled_at=sent, note="")
        )
    books.tell(sent + timedelta(hours=1))
    books.tell(at("2026-03-18T03:00:00"))
    books.close(date(2026, 3, 17), at("2026-03-18T07:00:00"))
    assert books.balances()["refund_clearing.shopify_payments", "GBP"] == -6000
    (row,) = books.rows(sa.select(due.batch_id, due.attempt))
    assert tuple(row) == ("HRL-20260317-UKGBP-00", 1)


# --- periods, numbers, confirmations ------------------------------------------------


def test_the_first_open_day_skips_every_locked_month() -> None:
    locked = {"2026-12", "2027-01"}
    assert periods.dated(date(2026, 11, 30), locked) == date(2026, 11, 30)
    assert periods.dated(date(2026, 12, 14), locked) == date(2027, 2, 1)


def test_the_last_word_on_a_month_stands(books: Books) -> None:
    engine = connect(books.url)
    word = {"reason": "a test", "by": "maria", "now": MORNING}
    assert periods.change(engine, "2026-03", locked=True, **word)
    assert not periods.change(engine, "2026-03", locked=True, **word)
    assert periods.change(engine, "2026-03", locked=False, **word)
    with engine.connect() as connection:
        assert periods.locked_months(connection) == frozenset()
    assert [row["is_locked"] for row in periods.history(engine)] == [True, False]
    with pytest.raises(periods.NoPeriod, match="write it as 2026-03"):
        periods.change(engine, "March", locked=True, **word)
    engine.dispose()


def test_a_ledgers_number_is_of_one_batch(books: Books) -> None:
    close_with(books, order("X", line("X", "20.00"), Currency="EUR", ConversionRate=0.9),
               units=[back("X", NOON, currency="EUR")])  # fmt: skip
    engine = connect(books.url)
    pounds, euros = "HRL-20260314-UKGBP-00", "HRL-20260314-UKEUR-00"
    batching.confirm(engine, pounds, "MJ-1", by="maria", now=MORNING)
    batching.confirm(engine, pounds, "MJ-1", by="maria", now=MORNING)
    with pytest.raises(batching.WrongState, match="is MJ-1 in the ledger already"):
        batching.confirm(engine, pounds, "MJ-2", by="maria", now=MORNING)
    with pytest.raises(batching.WrongState, match=f"MJ-1 is {pounds}"):
        batching.confirm(engine, euros, "MJ-1", by="maria", now=MORNING)
    engine.dispose()
    assert books.batches()[pounds].ledger_id == "MJ-1"


def test_a_batch_goes_forward_only(books: Books) -> None:
    close_with(books)
    with books.run(MORNING) as rt, rt.engine.begin() as connection:
        for state in ("sealed", "exported"):
            with pytest.raises(batching.WrongState, match="is posted: it cannot become"):
                batching.move(connection, ["HRL-20260314-UKGBP-00"], state, now=MORNING, run_id="r")


def test_each_channel_group_has_books_of_its_own(books: Books) -> None:
    books.file.write_text(
        '[finance.units.AM]\nentity = "Shirts Ltd"\nchannel_group = "marketplaces"\n'
        'channels = ["AMAZON"]\n'
    )
    close_with(books, order("X", line("X", "20.00"), Source="Amazon"), units=[back("X", NOON)])
    found = books.batches()
    assert list(found) == ["HRL-20260314-AMGBP-00", "HRL-20260314-UKGBP-00"]
    amazon = found["HRL-20260314-AMGBP-00"]
    assert (amazon.legal_entity, amazon.channel_group) == ("Shirts Ltd", "marketplaces")
