"""The books of a period, read from the sealed batches: they add up, or the difference is named."""

import json
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from returns_pipeline.reporting import books as figures
from returns_pipeline.reporting.day import State
from returns_pipeline.reporting.pack import pack
from returns_pipeline.steps import books as reading
from returns_pipeline.steps import corrections, periods
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.finance import books as told
from returns_pipeline_tests.finance.books import Books, at, back, kept, line, order

DAY = date(2026, 3, 14)
BATCH = "HRL-20260314-UKGBP-00"
NOW = at("2026-03-18T09:00:00")


@pytest.fixture
def books(database_url: str, tmp_path: Path) -> Books:
    """The worked example, lived through to the morning of 15 March."""
    made = Books(database_url, tmp_path, told.DROP_OFF_PAYS)
    told.live_through_the_example(made)
    return made


def of(books: Books, period: reading.Period) -> figures.Books:
    with books.run(NOW) as rt:
        return reading.books(rt.engine, period, policy=rt.policy)


def of_day(books: Books) -> figures.Books:
    return of(books, reading.day(DAY))


def arrive_late(books: Books) -> None:
    """On 17 March a refund of 14 March 22:10 is read."""
    sold = order("R11", line("R11", "20.00", cost=None))
    books.tell(at("2026-03-17T10:00:00"), [sold], [kept("R11", at("2026-03-14T22:10:00"))])
    books.close(DAY, at("2026-03-17T11:00:00"))


def verdicts(found: figures.Books) -> dict[str, State]:
    return {check.name: check.state for check in found.checks()}


def test_the_examples_day_adds_up_and_every_unit_has_its_parts(books: Books) -> None:
    found = of_day(books)
    assert set(verdicts(found).values()) == {State.GOOD}
    totals = found.totals("GBP")
    assert (totals["refunds"], totals["vat"], totals["debit"]) == (20593, 4833, 40693)
    by_unit = {unit.item_id: unit for unit in found.units}
    fee = by_unit["unit-R3"]
    assert (fee.returned, fee.vat, fee.fee, fee.fee_vat, fee.refunded, fee.cost) == (
        2500, 500, 250, 50, 2700, 900,
    )  # fmt: skip
    assert by_unit["unit-R4"].store_credit == 4500
    assert by_unit["unit-R5"].shipping == 412
    assert by_unit["unit-R10"].gateways == "paypal"
    assert (by_unit["unit-R2b"].condition, by_unit["unit-R2b"].order_number) == ("DAMAGED", "#R2")


def test_the_vat_summary_is_what_the_return_wants(books: Books) -> None:
    standard, zero = of_day(books).vat
    assert (standard.rate, standard.net, standard.vat) == ("20", 24160, 4833)
    assert (standard.fee_net, standard.fee_vat) == (250, 50)
    assert (standard.base_net, standard.base_vat) == (23910, 4783)
    assert (zero.rate, zero.net, zero.vat, zero.base_vat) == ("0", 1400, 0, 0)


def test_open_balances_are_their_items_and_what_was_closed_is_gone(books: Books) -> None:
    found = of_day(books)
    by_role = {balance.role: balance for balance in found.balances}
    transit = by_role["returned_goods_in_transit"]
    assert (transit.ledger_minor, transit.items_minor, transit.difference) == (1100, 1100, 0)
    items = {item.item_id: item for item in found.open_items if item.role == transit.role}
    assert list(items) == ["unit-R8"]  # R9, paid on the 11th, came
    exchange = [item for item in found.open_items if item.role == "exchange_clearing"]
    assert [(item.item_id, item.minor) for item in exchange] == [("unit-R7", -5000)]
    assert by_role["store_credit_liability"].ledger_minor == -4500


def test_items_age_to_the_end_of_the_period_whenever_it_is_asked_for(books: Books) -> None:
    march = of(books, reading.month("2026-03"))
    (transit,) = [one for one in march.open_items if one.role == "returned_goods_in_transit"]
    assert (transit.since, transit.age_days, transit.step) == (DAY, 17, "15-30 days")
    assert next(b for b in march.balances if b.role == transit.role).ages["15-30 days"] == 1100


def test_what_the_payout_clears_is_listed_once_and_then_brought_forward(books: Books) -> None:
    arrive_late(books)
    april = of(books, reading.month("2026-04"))
    clearing = [item for item in april.open_items if item.account == "1260"]
    assert [(item.item_id, item.minor, item.age_days) for item in clearing] == [
        ("", -(19193 + 2500 + 2000), None)
    ]
    assert "brought forward" in clearing[0].note
    assert all(balance.difference == 0 for balance in april.balances)


def test_an_exchange_that_was_taken_up_is_no_item_any_more(books: Books) -> None:
    with books.run(NOW) as rt, rt.engine.begin() as connection:
        connection.execute(
            sa.update(t.exchange_orders)
            .where(t.exchange_orders.c.unit_key == "unit-R7")
            .values(state="created", created_order_at=at("2026-03-14T20:00:00"))
        )
    found = of_day(books)
    (taken,) = [item for item in found.open_items if item.role == "exchange_clearing"]
    assert (taken.item_id, taken.minor) == ("", -5000)
    assert taken.note.startswith("1 taken up")
    assert all(balance.difference == 0 for balance in found.balances)


def test_a_posting_that_no_line_holds_is_a_difference_with_its_account(books: Books) -> None:
    entry = t.postings.c
    with books.run(NOW) as rt, rt.engine.begin() as connection:
        query = sa.select(t.postings).where(
            entry.batch_id == BATCH, entry.role == "returned_goods_in_transit",
            entry.side == "debit",
        )  # fmt: skip
        row = dict(connection.execute(query).one()._mapping)
        row.pop("id")
        connection.execute(
            sa.insert(t.postings).values({**row, "posting_key": "smuggled", "amount_minor": 300})
        )
    found = of_day(books)
    assert verdicts(found)["Open balances equal their items"] is State.BAD
    (wrong,) = [balance for balance in found.balances if balance.difference]
    assert (wrong.account, wrong.ledger_minor, wrong.items_minor) == ("1010", 1100, 1400)


def test_a_late_arrival_says_when_it_happened_was_entered_and_was_sealed(books: Books) -> None:
    arrive_late(books)
    found = of_day(books)
    (late,) = found.late
    assert (late.batch_id, late.item_id, late.minor) == ("HRL-20260314-UKGBP-01", "unit-R11", 2000)
    assert late.happened_at == at("2026-03-14T22:10:00")
    assert late.entered_at == at("2026-03-17T10:00:00")
    assert late.sealed_at == at("2026-03-17T11:00:00")
    (near,) = found.boundary
    assert (near.item_id, near.minutes, near.what) == ("unit-R11", -110, "refund")
    assert near.business_date == DAY


def test_a_locked_months_late_arrival_is_in_the_month_it_was_moved_to_and_named_in_both(
    books: Books,
) -> None:
    with books.run(NOW) as rt:
        periods.change(rt.engine, "2026-03", locked=True, reason="filed", by="maria", now=NOW)
    arrive_late(books)
    march, april = (of(books, reading.month(name)) for name in ("2026-03", "2026-04"))
    assert (march.is_locked, april.is_locked) == (True, False)
    assert "HRL-20260401-UKGBP-01" not in {batch.batch_id for batch in march.batches}
    assert [batch.batch_id for batch in april.batches] == ["HRL-20260401-UKGBP-01"]
    assert [late.business_date for late in march.late] == [date(2026, 4, 1)]
    assert march.late == april.late


def test_a_reversal_takes_its_batch_from_every_sum(books: Books) -> None:
    before = of(books, reading.month("2026-03"))
    with books.run(NOW) as rt:
        corrections.reverse(rt, BATCH, reason="a test", replace=False)
    found = of_day(books)
    totals = found.totals("GBP")
    assert {name for name, minor in totals.items() if minor} == {"debit", "credit"}
    assert all(row.net == row.vat == row.fee_net == row.fee_vat == row.base_vat == 0
               for row in found.vat)  # fmt: skip
    assert verdicts(found)["Lines equal their units"] is State.GOOD
    assert verdicts(found)["Open balances equal their items"] is State.GOOD
    (day,) = found.days
    assert (day.units, day.refunds) == (0, {"GBP": 0})
    assert before.totals("GBP")["refunds"] == 20593 + 2500


def test_what_is_not_sealed_yet_is_named(books: Books) -> None:
    sold = order("R12", line("R12", "30.00", cost=None))
    books.tell(at("2026-03-15T10:00:00"), [sold], [back("R12", at("2026-03-15T09:30:00"))])
    found = of(books, reading.day(date(2026, 3, 15)))
    assert found.unsealed == {"GBP": 3000}
    sealed = next(check for check in found.checks() if check.name == "Everything is sealed")
    assert (sealed.state, sealed.says) == (
        State.WATCH,
        "£30.00 of the period stands in no batch yet",
    )


def test_the_pack_is_the_same_bytes_after_later_days_have_come(books: Books) -> None:
    first = pack(of_day(books))
    sold = order("R12", line("R12", "30.00", cost="5.00"))
    books.tell(at("2026-03-15T10:00:00"), [sold], [back("R12", at("2026-03-15T09:30:00"))])
    books.tell(at("2026-03-16T03:00:00"))
    books.close(date(2026, 3, 15), at("2026-03-16T07:00:00"))
    assert pack(of_day(books)) == first
    manifest = json.loads(first["manifest.json"])
    assert set(manifest["files"]) == first.keys() - {"manifest.json"}
    assert first["open-items.csv"].count(b"\r\n") == 1 + len(of_day(books).open_items)


@pytest.mark.parametrize(
    ("text", "last"), [("2026-02", date(2026, 2, 28)), ("2028-02", date(2028, 2, 29))]
)
def test_a_month_has_all_its_days_and_no_other(text: str, last: date) -> None:
    period = reading.month(text)
    assert (period.first.day, period.last) == (1, last)
    with pytest.raises(periods.NoPeriod):
        reading.month(f"{text}-01")
