"""No statement of a tick goes through rows that only grow in number: SQLite's own plans.

Every case is lived through, so that every statement of a step is seen; each is explained
when it is first run. What a plan may go through from end to end is the open work (a
partial index) and tables counted by days, places or people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.sandbox.world import week
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.end_to_end.ground_truth import live_through
from returns_pipeline_tests.end_to_end.shop import Shop, policy

STARTS = datetime(2026, 3, 9, tzinfo=UTC)
UNTIL = STARTS + timedelta(days=8)

# Counted by days, places, policies or people, or made by hand one by one, not by units.
FEW = {
    *("watermarks", "vendor_locations", "policy_versions", "alembic_version"),
    *("batches", "closed_days", "period_locks", "ledger_answers", "users", "decisions"),
}
MANY = {table.name for table in t.metadata.sorted_tables} - FEW
# A flag of the open work: only as many rows are in the index as are still to be done.
OPEN_WORK = {
    str(index.name)
    for table in t.metadata.sorted_tables
    for index in table.indexes
    if index.dialect_options["sqlite"]["where"] is not None
}
_STEP = re.compile(
    r"(?P<how>SCAN|SEARCH) (?P<what>\w+)(?: USING .*?INDEX (?P<index>\w+))?"
    r"(?: \((?P<by>.*)\))?(?: LEFT-JOIN)?"
)
_ALIAS = re.compile(r"\b(\w+) AS (\w+)\b")


def _through_history(statement: str, plan: list[str]) -> list[str]:
    """The steps of a plan that go through rows of a growing table, or through a range of them."""
    aliases = {alias: table for table, alias in _ALIAS.findall(statement)}
    found = []
    for told in plan:
        step = _STEP.fullmatch(told)
        if step is None:
            continue
        table = aliases.get(step["what"], step["what"])
        # A search by nothing is for the greatest or the least.
        by_key = step["how"] == "SEARCH" and (
            step["by"] is None or "=?" in step["by"] or step["by"] == "rowid>?"
        )
        if table in MANY and step["index"] not in OPEN_WORK and not by_key:
            found.append(told)
    return found


@contextmanager
def _explained() -> Iterator[dict[str, list[str]]]:
    """The plan of every statement that is run meanwhile, by its text."""
    plans: dict[str, list[str]] = {}

    def explain(
        connection: Any,
        _cursor: Any,
        statement: str,
        values: Any,
        _context: Any,
        many: bool,  # noqa: FBT001
    ) -> None:
        is_plain = statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH"))
        if many or not is_plain or statement in plans:
            return
        driver = connection.connection.driver_connection
        rows = driver.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
        plans[statement] = [row[3] for row in rows]

    event.listen(sa.Engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(sa.Engine, "before_cursor_execute", explain)


@pytest.mark.slow
def test_no_statement_of_a_tick_goes_through_history(sqlite_url: str, tmp_path: Path) -> None:
    with Sandbox(week(starts_at=STARTS, orders_a_day=2), now=STARTS) as sandbox:
        shop = Shop(sandbox, sqlite_url, {"RETURNS_POLICY": policy(tmp_path)})
        with _explained() as plans:
            live_through(shop, UNTIL)

    guilty = [
        f"{', '.join(steps)}: {statement}"
        for statement, plan in plans.items()
        if (steps := _through_history(statement, plan))
    ]
    assert len(plans) > 100  # they were explained
    assert not guilty, "\n".join(guilty)


@pytest.mark.parametrize(
    ("plan", "reads"),
    [
        ("SCAN intents", True),
        ("SCAN one USING INDEX ix_intents_subject", True),
        ("SEARCH postings USING INDEX ix_postings_batch_id (batch_id>?)", True),
        ("SCAN one USING INDEX ix_intents_open", False),
        ("SEARCH intents USING INDEX ix_intents_subject (subject=?)", False),
        ("SEARCH raw_payloads USING INTEGER PRIMARY KEY (rowid>?)", False),
        ("SEARCH intents", False),
        ("SCAN watermarks", False),
    ],
)
def test_what_goes_through_history_is_told_from_what_does_not(plan: str, reads: bool) -> None:  # noqa: FBT001
    assert bool(_through_history("SELECT 1 FROM intents AS one", [plan])) is reads
