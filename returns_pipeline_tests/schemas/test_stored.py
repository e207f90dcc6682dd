"""What a week of the sandbox leaves in the tables is as their schemas have it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from returns_pipeline import schemas
from returns_pipeline.sandbox import world
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.storage import frames
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect, reading
from returns_pipeline_tests.end_to_end.shop import Shop, policy

# What people or the sensors write, or a vendor that forgets a unit: no step of the week does.
NOT_THAT_WEEK = {
    "untold_units",
    *("decisions", "decision_outcomes", "exception_actions", "users", "user_events"),
    *("period_locks", "ledger_answers", "alerts", "alert_messages"),
}
START = datetime(2026, 3, 9, tzinfo=UTC)


@pytest.mark.slow
def test_whatever_happens_in_a_week_fits_the_schemas(sqlite_url: str, tmp_path: Path) -> None:
    engine = connect(sqlite_url)
    story = world.week(starts_at=START, days=2, orders_a_day=3, tail_days=8)
    rows = {}
    with Sandbox(story, now=START) as sandbox:
        shop = Shop(sandbox, sqlite_url, {"RETURNS_POLICY": policy(tmp_path)})
        for days in (2.8, 4.8, 6.8, 9.8):
            now = START + timedelta(days=days)
            shop.sync(now)
            shop.close_open_days(now.date() - timedelta(days=1), now)
            shop.reconcile(now)
            with reading(engine) as connection:
                for table in t.metadata.sorted_tables:
                    verdict = schemas.check(table.name, frames.read(connection, table))
                    assert verdict.failures == (), table.name
                    rows[table.name] = verdict.rows
    engine.dispose()
    # A check of an empty table proves nothing.
    assert {name for name, count in rows.items() if not count} <= {
        "policy_versions"
    } | NOT_THAT_WEEK
