"""Ten days of the month, over the change of the clocks and the month's end, on both databases."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa
from openpyxl import load_workbook

from returns_pipeline.steps import books as reading
from returns_pipeline.steps import verification
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.crash.databases import PostgresDatabases, SqliteFiles
from returns_pipeline_tests.month import comparing, goods, proof, readers
from returns_pipeline_tests.month.living import Shop
from returns_pipeline_tests.month.proof import Told

TEN_DAYS = goods.Calendar(date(2026, 3, 26), date(2026, 4, 4))
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("month")]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Told:
    """Lived on SQLite and backfilled in one run; backfilled in many on PostgreSQL."""
    folder = tmp_path_factory.mktemp("month")
    many = PostgresDatabases(postgres_server)
    return proof.prove(SqliteFiles(folder), folder, 150, calendar=TEN_DAYS, in_many=many)


def test_a_month_is_closed_corrected_run_again_and_backfilled_to_the_same_bytes(
    told: Told,
) -> None:
    assert told.differences == []
    did = told.did
    assert did["currencies"] == ["EUR", "GBP", "USD"]
    assert did["units of the books"] == ["AM", "UK"]
    kinds = ("primary", "adjustment", "reversal", "replacement")
    assert all(did[f"batches, {kind}"] for kind in kinds)
    assert did["re-dated out of the locked month"]
    assert did["batches as lived and backfilled the same bytes"]


# --- that it can fail ---------------------------------------------------------------


def spoiled(path: Path, change: Callable[[bytes], bytes]) -> Callable[[], None]:
    """Change a file; what is given back puts it right again."""
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    return lambda: path.write_bytes(before) and None


def a_journal(shop: Shop, program: str = "") -> Path:
    return max(
        (shop.folder / "journals" / program).glob("*.csv"), key=lambda one: one.stat().st_size
    )


def test_one_byte_of_one_file_is_a_difference(told: Told) -> None:
    one, many = told.shops["one"], told.shops["many"]
    path = a_journal(many)
    restore = spoiled(path, lambda data: data[:200] + b"~" + data[201:])
    try:
        (difference,) = proof.backfills_differ(one, many)
    finally:
        restore()
    assert difference == f"files: {path.name} differs at byte 200"
    assert proof.backfills_differ(one, many) == []


def test_a_file_too_many_or_too_few_is_a_difference(told: Told) -> None:
    one, many = told.shops["one"], told.shops["many"]
    path = a_journal(one, "sage50")
    data = path.read_bytes()
    path.unlink()
    try:
        (difference,) = proof.backfills_differ(one, many)
    finally:
        path.write_bytes(data)
    assert difference == f"files: sage50/{path.name} is missing in the first"


@pytest.mark.parametrize("program", [*readers.PROGRAMS])
def test_a_program_that_books_a_penny_more_is_a_difference(told: Told, program: str) -> None:
    shop = told.shops["lived"]
    path = a_journal(shop, program)
    # The batch once more: each journal balances, the books do not come to what is sealed.
    again = path.with_name("zz-again.csv")
    again.write_bytes(path.read_bytes())
    try:
        differences = readers.programs(shop.books, shop.folder / "journals")
    finally:
        again.unlink()
    assert differences
    assert all(one.startswith(program) for one in differences)


def test_a_unit_whose_batches_do_not_come_to_its_state_is_a_difference(told: Told) -> None:
    shop = told.shops["lived"]
    engine = connect(shop.books.url)
    due = t.refunds_due.c
    with engine.begin() as connection:
        columns = (due.id, due.unit_key, due.amount_minor, due.goods_minor)
        query = sa.select(*columns).where(due.tender == "refund").order_by(due.id)
        row = connection.execute(query).first()
        change = sa.update(t.refunds_due).where(due.id == row.id)
        more = {"amount_minor": row.amount_minor + 1, "goods_minor": row.goods_minor + 1}
        connection.execute(change.values(more))
    try:
        differences = comparing.unconserved(shop.books)
    finally:
        with engine.begin() as connection:
            right = {"amount_minor": row.amount_minor, "goods_minor": row.goods_minor}
            connection.execute(change.values(right))
        engine.dispose()
    assert differences == [
        f"{row.unit_key}: -{row.amount_minor} on refund_clearing, owed -{row.amount_minor + 1}"
    ]
    assert comparing.unconserved(shop.books) == []


def test_a_workbook_whose_total_is_not_its_items_is_a_difference(told: Told) -> None:
    path = told.shops["lived"].folder / "pack" / "books-2026-03.xlsx"
    book = load_workbook(path)
    head = [cell.value for cell in book["Units"][1]]
    cell = book["Units"].cell(2, head.index("Refunded") + 1)
    cell.value = float(cell.value) + 0.01
    other = path.with_name("spoiled.xlsx")
    book.save(other)
    differences = readers.workbook(other)
    other.unlink()
    assert len(differences) == 1
    assert "Refunds to shoppers" in differences[0]


def test_a_line_that_was_changed_behind_our_back_is_not_verified(told: Told) -> None:
    shop = told.shops["one"]
    engine = connect(shop.books.url)
    raw = t.raw_payloads.c
    with engine.begin() as connection:
        query = sa.select(raw.id, raw.body).where(raw.source == "linnworks.order.v2")
        row = connection.execute(query.order_by(raw.id)).first()
        change = sa.update(t.raw_payloads).where(raw.id == row.id)
        connection.execute(change.values(body=row.body.replace('"CostIncTax":', '"CostIncTax":9')))
    try:
        verdicts = [verification.verify(engine, one) for one in shop.books.batches()]
    finally:
        with engine.begin() as connection:
            connection.execute(change.values(body=row.body))
        engine.dispose()
    assert any(verdict.differences for verdict in verdicts)


def test_the_day_of_23_hours_and_the_last_of_the_month_hold_what_happened_in_them(
    told: Told,
) -> None:
    shop = told.shops["lived"]
    for day in (date(2026, 3, 29), date(2026, 3, 31)):
        with shop.books.run(proof.AGAIN) as rt:
            found = reading.books(rt.engine, reading.day(day), policy=rt.policy)
        at_night = [event for event in found.boundary if abs(event.minutes) <= 60]
        assert at_night, day
        assert {event.business_date for event in at_night} >= {day}
