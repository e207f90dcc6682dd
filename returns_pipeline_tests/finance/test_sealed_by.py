"""Yesterday is sealed by seven: the check and Dagster's freshness fail when it is not.

Seven is the merchant's, through both changes of the clocks.
"""

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from dagster._core.definitions import freshness_evaluator
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.test_utils import freeze_time

from returns_pipeline import settings
from returns_pipeline.defs.assets import finance
from returns_pipeline.steps.finance_invariants import yesterday_is_sealed
from returns_pipeline.steps.invariants import Finding, Scope
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.finance.books import Books, at, back, line, order

POLICY = settings.load({}, vendors=False).policy
# On the mornings of these days, seven in London is at:
SEVEN = [
    (date(2026, 3, 28), at("2026-03-28T07:00:00")),
    (date(2026, 3, 29), at("2026-03-29T06:00:00")),  # the clocks went forward in the night
    (date(2026, 3, 30), at("2026-03-30T06:00:00")),
    (date(2026, 10, 24), at("2026-10-24T06:00:00")),
    (date(2026, 10, 25), at("2026-10-25T07:00:00")),  # and back
    (date(2026, 10, 26), at("2026-10-26T07:00:00")),
]
MORNINGS = pytest.mark.parametrize(("morning", "seven"), SEVEN, ids=lambda one: str(one)[:10])


def closed(engine: sa.Engine, *days: date) -> None:
    with engine.begin() as connection:
        rows = [{"business_date": day, "closed_at": datetime(2026, 1, 1, tzinfo=UTC), "run_id": ""}
                for day in days]  # fmt: skip
        connection.execute(sa.insert(t.closed_days), rows)


def asked(engine: sa.Engine, now: datetime) -> Finding:
    with engine.connect() as connection:
        return yesterday_is_sealed(Scope(connection, POLICY, now))


def test_the_shipped_policy_says_seven_in_london() -> None:
    assert (POLICY.finance.sealed_by, POLICY.merchant.time_zone) == (time(7), "Europe/London")


@MORNINGS
def test_the_check_fails_at_seven_and_not_a_minute_before(
    engine: sa.Engine, morning: date, seven: datetime
) -> None:
    closed(engine, morning - timedelta(days=2))  # yesterday is not
    assert asked(engine, seven - timedelta(minutes=1)).holds
    late = asked(engine, seven)
    assert not late.holds
    assert late.message == (
        f"1 business days should be sealed by now, from {morning - timedelta(days=1)} on"
    )
    closed(engine, morning - timedelta(days=1))
    assert asked(engine, seven).holds
    assert asked(engine, seven + timedelta(hours=22)).holds


def test_a_day_that_was_left_out_is_found_although_later_ones_are_sealed(
    books: Books, engine: sa.Engine
) -> None:
    books.tell(at("2026-03-14T18:00:00"), [order("G", line("G", "60.00"))],
               [back("G", at("2026-03-14T12:00:00"))])  # fmt: skip
    closed(engine, date(2026, 3, 13), date(2026, 3, 15), date(2026, 3, 16))
    morning = at("2026-03-17T09:00:00")
    late = asked(engine, morning)
    assert not late.holds
    assert late.figures["days"] == 1
    assert late.message.endswith("from 2026-03-14 on")
    closed(engine, date(2026, 3, 14))  # what waits now has come late, and the night seals it
    assert asked(engine, morning).holds


@pytest.fixture
def books(database_url: str, tmp_path: Any) -> Books:
    return Books(database_url, tmp_path)


# --- Dagster's own freshness of the asset ---------------------------------------------


def fresh(sealed_at: datetime, now: datetime, monkeypatch: pytest.MonkeyPatch) -> FreshnessState:
    """What Dagster makes of the asset's policy, had it been materialised at an instant."""
    told = SimpleNamespace(timestamp=sealed_at.timestamp())
    record = SimpleNamespace(asset_entry=SimpleNamespace(last_materialization=told))

    async def gen(_context: Any, _key: Any) -> Any:
        return record

    monkeypatch.setattr(freshness_evaluator.AssetRecord, "gen", gen)
    (spec,) = finance.batches.specs
    node: Any = SimpleNamespace(
        key=spec.key, freshness_policy_or_from_metadata=spec.freshness_policy
    )
    evaluator = freshness_evaluator.CronFreshnessPolicyEvaluator()
    with freeze_time(now):
        return asyncio.run(evaluator.evaluate_freshness(None, node))  # type: ignore[arg-type]


@MORNINGS
def test_the_asset_is_stale_from_seven_on_when_the_night_sealed_nothing(
    monkeypatch: pytest.MonkeyPatch, morning: date, seven: datetime
) -> None:
    tonight = datetime(morning.year, morning.month, morning.day, 2, 15, tzinfo=UTC)
    last_night = tonight - timedelta(days=1)
    minute = timedelta(minutes=1)
    assert fresh(last_night, seven - minute, monkeypatch) is FreshnessState.PASS
    assert fresh(last_night, seven + minute, monkeypatch) is FreshnessState.FAIL
    assert fresh(tonight, seven + minute, monkeypatch) is FreshnessState.PASS
    assert fresh(tonight, seven + timedelta(hours=22), monkeypatch) is FreshnessState.PASS
    # Mended in the forenoon, it is fresh from then on.
    noon = seven + timedelta(hours=5)
    assert fresh(noon, noon + minute, monkeypatch) is FreshnessState.PASS
