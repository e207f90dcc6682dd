"""The settings that the promises rest on, and errors that tell no values."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect, reading
from returns_pipeline_tests.storage.rows import NOON, insert, row

SECRET = "jane.doe@shopper.example"


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("synchronous", 2), ("journal_mode", "wal"), ("foreign_keys", 1), ("busy_timeout", 30_000)],
)
def test_sqlite_keeps_a_commit_through_a_power_cut_and_waits_for_others(
    sqlite_url: str, pragma: str, value: object
) -> None:
    engine = connect(sqlite_url)
    with engine.connect() as one, engine.connect().execution_options(read_only=True) as other:
        for connection in (one, other):
            assert connection.scalar(sa.text(f"PRAGMA {pragma}")) == value
    engine.dispose()


def test_postgresql_waits_for_its_disk_at_commit(postgres_url: str) -> None:
    engine = connect(postgres_url)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SHOW synchronous_commit")) == "on"
        assert connection.dialect.driver == "psycopg"
    engine.dispose()


def test_a_reader_neither_waits_for_a_writer_nor_sees_what_is_not_committed(
    engine: sa.Engine,
) -> None:
    count = sa.select(sa.func.count()).select_from(t.receipts)
    with engine.begin() as writer:
        insert(writer, "receipts")
        with reading(engine) as reader:
            assert reader.scalar(count) == 0
    with reading(engine) as reader:
        assert reader.scalar(count) == 1


def test_a_writer_does_not_wait_for_a_reader(engine: sa.Engine) -> None:
    count = sa.select(sa.func.count()).select_from(t.receipts)
    with reading(engine) as reader:
        assert reader.scalar(count) == 0
        with engine.begin() as writer:
            insert(writer, "receipts")


def test_writers_that_read_first_queue_instead_of_failing(engine: sa.Engine) -> None:
    """Two transactions that read, then write, are the classic lock failure of SQLite."""
    failed: list[BaseException] = []
    with engine.begin() as connection:
        insert(connection, "watermarks", name="n", position=0)
    mark = t.watermarks.c

    def add_one() -> None:
        try:
            for _ in range(10):
                with engine.begin() as connection:
                    query = sa.select(mark.position).where(mark.name == "n").with_for_update()
                    position = connection.scalar(query)
                    connection.execute(sa.update(t.watermarks).values(position=position + 1))
        except sa.exc.SQLAlchemyError as error:
            failed.append(error)

    workers = [threading.Thread(target=add_one) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed == []
    with reading(engine) as connection:
        assert connection.scalar(sa.select(mark.position)) == 40


def test_a_line_without_its_order_is_refused(engine: sa.Engine) -> None:
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.insert(t.order_lines).values(**row("order_lines")))


def _violate(connection: sa.Connection, how: str) -> None:
    values: dict[str, Any] = row("exceptions", key=SECRET, message=SECRET)
    table = t.exceptions
    match how:
        case "a unique key":
            connection.execute(sa.insert(table).values(**values))
        case "a missing value":
            values["owner"] = None
        case "a check":
            table, values = t.postings, row("postings", account=SECRET, side="left")
        case "a wrong type":
            values["occurrences"] = SECRET
    connection.execute(sa.insert(table).values(**values))


@pytest.mark.parametrize("how", ["a unique key", "a missing value", "a check"])
def test_no_refused_value_stands_in_an_error(engine: sa.Engine, how: str) -> None:
    with pytest.raises(sa.exc.IntegrityError) as refused, engine.begin() as connection:
        _violate(connection, how)
    error: BaseException | None = refused.value
    while error is not None:
        assert SECRET not in str(error)
        assert "jane" not in repr(error)
        error = error.__cause__


def test_no_value_of_a_wrong_type_stands_in_an_error_of_postgresql(postgres_url: str) -> None:
    engine = connect(postgres_url)
    with pytest.raises(sa.exc.DBAPIError) as refused, engine.begin() as connection:
        _violate(connection, "a wrong type")
    assert "jane" not in str(refused.value)
    assert "jane" not in str(refused.value.__cause__)
    engine.dispose()


def test_a_naive_instant_is_refused_before_it_is_written(engine: sa.Engine) -> None:
    with (
        pytest.raises(sa.exc.StatementError, match="naive instant"),
        engine.begin() as connection,
    ):
        insert(connection, "receipts", seen_at=NOON.replace(tzinfo=None))


def test_the_folder_of_an_sqlite_file_is_made(tmp_path: Any) -> None:
    engine = connect(f"sqlite:///{tmp_path}/new/folder/returns.db")
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1
    engine.dispose()
