"""A month's backfill in one run and in many: the same bytes, out of the same payloads."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from benchmarks import finance as month
from benchmarks.process import Phases
from returns_pipeline.steps import batching, verification
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect

DAYS, A_DAY = 31, 12


def closed(url: str, *, many: bool) -> tuple[str, Any]:
    month.make_month(url, A_DAY, DAYS, Phases())
    month.close_month(url, DAYS, Phases(), many=many)
    engine = connect(url)
    return month.sealed_bytes(engine), engine


@pytest.mark.slow
def test_a_month_in_one_run_and_in_many_is_the_same_bytes_on_both_databases(
    sqlite_url: str, postgres_url: str
) -> None:
    first, engine = closed(sqlite_url, many=False)
    second, other = closed(postgres_url, many=True)
    try:
        assert first == second
        rows = batching.register(engine)
        assert {row["currency"] for row in rows} == {"GBP", "EUR", "USD"}
        # The last hour of 28 March in UTC is still that day; of the 29th, in summer time, not.
        days = {row["business_date"] for row in rows}
        assert {month.FIRST + timedelta(days=n) for n in range(DAYS)} <= days
        for row in rows[::7]:
            verdict = verification.verify(engine, row["batch_id"])
            assert verdict.holds, verdict.differences
        with engine.connect() as connection:
            waiting = sa.select(sa.func.count()).where(t.postings.c.batch_id.is_(None))
            assert connection.execute(waiting).scalar_one() == 0
    finally:
        engine.dispose()
        other.dispose()
