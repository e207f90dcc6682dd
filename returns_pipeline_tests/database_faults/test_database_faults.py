"""Each fault of a database once or twice in a day's work, on both. Many: ``__main__``."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from returns_pipeline.storage import engine as engines
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import DatabaseInterrupted, DatabaseUnusable, connect
from returns_pipeline_tests.crash.databases import PostgresDatabases
from returns_pipeline_tests.database_faults import faults
from returns_pipeline_tests.database_faults.days import days, sample, struck

pytestmark = pytest.mark.slow

_AT = datetime(2026, 3, 14, tzinfo=UTC)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_day_whose_database_fails_ends_as_the_day_on_which_it_did_not(
    database: str, tmp_path: Path
) -> None:
    with days(database, tmp_path) as (matrix, made):
        names = list(made(f"{database}://"))
        told = [struck(matrix, made, name, point) for name, point in sample(matrix, names, 1)]

    assert {one.fault for one in told} == set(names)
    assert [one for one in told if one.problems] == []
    # What a request that has not left can absorb is tried again in the same run; the rest
    # ends it, and says so.
    said = [one.error for one in told if one.error]
    assert said
    assert all(error.startswith(("DatabaseInterrupted: ", "DatabaseUnusable: ")) for error in said)


def test_an_open_engine_serves_again_when_its_server_is_back() -> None:
    with faults.own_server() as (url, die, start):
        engine = connect(PostgresDatabases(url).new())
        counting = sa.select(sa.func.count()).select_from(t.intents)
        with engine.connect() as connection:
            assert connection.execute(counting).scalar_one() == 0
            die()
            with pytest.raises(DatabaseInterrupted, match="run this again"):
                connection.execute(counting)
        with pytest.raises(DatabaseUnusable, match="check RETURNS_DATABASE_URL"):
            engine.connect()

        start()

        with engine.connect() as connection:
            assert connection.execute(counting).scalar_one() == 0
        engine.dispose()


def test_whoever_waits_too_long_for_a_lock_is_told_what_to_do(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BUSY_MS", 100)
    first, second = connect(database_url), connect(database_url)
    marking = sa.insert(t.watermarks).values(name="mark", updated_at=_AT)

    with first.begin() as holding:
        holding.execute(marking)
        with (
            pytest.raises(DatabaseInterrupted, match="let it end, then run this again"),
            second.begin() as waiting,
        ):
            waiting.execute(marking)

    with second.begin() as again:
        again.execute(marking.values(name="another"))
    first.dispose()
    second.dispose()


def test_a_full_disk_is_told_and_nothing_is_kept_by_half(sqlite_url: str) -> None:
    engine = connect(sqlite_url)
    with engine.begin() as connection:
        connection.execute(sa.insert(t.watermarks).values(name="before", updated_at=_AT))

    def fill(connection: sqlite3.Connection, _record: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")

    engine.dispose()
    sa.event.listen(engine, "connect", fill)
    rows = [{"name": f"mark {n}", "updated_at": _AT} for n in range(10_000)]
    with (
        pytest.raises(DatabaseInterrupted, match=r"make room on the disk\. Nothing is half done"),
        engine.begin() as connection,
    ):
        connection.execute(sa.insert(t.watermarks), rows)

    with engine.connect() as connection:
        assert connection.scalars(sa.select(t.watermarks.c.name)).all() == ["before"]
    engine.dispose()
