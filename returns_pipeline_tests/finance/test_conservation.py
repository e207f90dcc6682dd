"""Whatever comes in whatever order, the books of a unit come to its state (section 7, 7 to 10)."""

from __future__ import annotations

import tempfile
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from returns_pipeline.steps import corrections, verification
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline.storage.migrate import upgrade
from returns_pipeline_tests.finance.books import (
    DROP_OFF_PAYS,
    Books,
    at,
    back,
    dropped,
    kept,
    line,
    order,
)

FIRST = at("2026-03-27T12:00:00")  # the clocks go forward on the 29th, the month ends on the 31st
UNITS = 8
Sums = dict[tuple[str, ...], int]


def orders() -> list[dict]:
    """Lines of one and of three units, a zero-rated one, one abroad."""
    three = line("A", "10.00", Quantity=3, Cost=8.33)
    return [
        order("A", three),
        order("B", line("B", "60.00")),
        order("C", line("C", "14.00", rate="0"), PaymentMethod="PayPal"),
        order("D", line("D", "25.55"), Currency="EUR", ConversionRate=0.8612),
        order("E", line("E", "36.00")),
        order("F", line("F", "24.00", cost=None), postage="4.95"),
    ]


def units(days: list[int]) -> list[dict]:
    """Each unit with the day on which it happened."""
    whens = [FIRST + timedelta(days=day) for day in days]
    a = {"happyReturnsReturnID": "ret-A", "orderNumber": "#A", "sku": "SKU-A"}
    return [
        back("A1", whens[0], **a),
        back("A2", whens[1], "damaged", **a),
        back("A3", whens[2], "dispose", **a),
        back("B", whens[3], returnFee="3.00 GBP"),
        back("C", whens[4]),
        back("D", whens[5], "tag-missing", currency=None),
        dropped("E", whens[6]),
        kept("F", whens[7], shippingRefundAmount="4.95"),
    ]


def sums(books: Books, *, by_unit: bool = False) -> Sums:
    """Debit less credit of everything sealed, by role, account and tax key."""
    entry = t.postings.c
    keys = [entry.role, entry.account, entry.tax_key, entry.currency]
    if by_unit:
        keys.insert(0, entry.unit_key)
    found: Counter[tuple[str, ...]] = Counter()
    query = sa.select(*keys, entry.side, entry.amount_minor).where(entry.batch_id.is_not(None))
    for *key, side, amount in books.rows(query):
        found[tuple(key)] += amount if side == "debit" else -amount
    return {key: total for key, total in found.items() if total}


def live(folder: Path, arrivals: list[int], days: list[int], *, reverse_at: int = -1) -> Books:
    """Each unit is told of at its arrival; every day that is over is closed at once."""
    url = f"sqlite:///{folder / 'books.db'}"
    engine = connect(url)
    upgrade(engine)
    engine.dispose()
    books = Books(url, folder, DROP_OFF_PAYS)
    told = units(days)
    books.tell(FIRST - timedelta(days=1), orders())
    for day in range(7):
        now = FIRST + timedelta(days=day, hours=6)
        came = [told[n] for n in range(UNITS) if max(arrivals[n], days[n]) == day]
        books.tell(now, (), came)
        yesterday = (now - timedelta(days=1)).date()
        with books.run(now) as rt:
            from returns_pipeline.steps import money

            open_days = money.open_days(rt, yesterday)
        for one in {yesterday, *open_days}:
            books.close(one, now)
        if day == reverse_at:
            batches = [b for b in books.batches().values() if b.kind in {"primary", "adjustment"}]
            if batches:
                with books.run(now) as rt:
                    corrections.reverse(rt, batches[0].batch_id, reason="a test")
    return books


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    days=st.lists(st.integers(0, 4), min_size=UNITS, max_size=UNITS),
    delays=st.lists(st.integers(0, 2), min_size=UNITS, max_size=UNITS),
    reverse_at=st.integers(-1, 5),
)
@pytest.mark.slow
def test_the_books_of_every_unit_come_to_its_state_in_any_order_of_arrival(
    days: list[int], delays: list[int], reverse_at: int
) -> None:
    arrivals = [min(5, day + delay) for day, delay in zip(days, delays, strict=True)]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        late = live(Path(one), arrivals, days, reverse_at=reverse_at)
        in_time = live(Path(other), days, days)

        # By role, what came late and was corrected is what would have been, had it come in time.
        assert sums(late) == sums(in_time)
        for row in late.rows(sa.select(t.refunds_due)):
            mine = {k[1:]: v for k, v in sums(late, by_unit=True).items() if k[0] == row.unit_key}
            paid = sum(v for k, v in mine.items() if k[0].startswith("refund_clearing"))
            assert paid == -row.amount_minor
        balances = Counter()
        for key, total in sums(late).items():
            balances[key[3]] += total
        assert not any(balances.values())
        # Every byte comes out of the payloads again; nothing waits.
        engine = connect(late.url)
        for batch_id in late.batches():
            verdict = verification.verify(engine, batch_id)
            assert verdict.holds, (batch_id, verdict.differences)
        engine.dispose()
        waiting = sa.select(sa.func.count()).where(t.postings.c.batch_id.is_(None))
        assert late.rows(waiting)[0][0] == 0


def test_the_parts_of_a_line_add_up_to_it_however_they_were_sealed(tmp_path: Path) -> None:
    books = live(tmp_path, [3, 1, 2, 0, 0, 0, 0, 0], [3, 1, 2, 0, 0, 0, 0, 0])
    due = t.refunds_due.c
    query = (
        sa.select(due.unit_key, due.goods_minor, due.goods_vat_minor)
        .where(due.row_id == "row-a")
        .order_by(due.id)
    )
    rows = books.rows(query)
    assert [row.unit_key for row in rows] == ["unit-A2", "unit-A3", "unit-A1"]
    assert [row.goods_minor for row in rows] == [333, 334, 333]
    assert [row.goods_vat_minor for row in rows] == [56, 55, 56]
    assert date(2026, 3, 29) in {row.business_date for row in books.batches().values()}
