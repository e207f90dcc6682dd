"""Decisions that wait are found, however many there were of which something has become."""

from datetime import timedelta

import sqlalchemy as sa

from returns_pipeline.domain.decisions import Kind
from returns_pipeline.storage import decisions, records
from returns_pipeline_tests.storage.rows import NOON

TOMORROW = NOON + timedelta(days=1, seconds=1)


def _decide(connection: sa.Connection, unit: str) -> int:
    made, _ = decisions.keep(
        connection,
        Kind.WRITE_OFF,
        unit,
        {},
        exception_id=None,
        actor="maria",
        reason="r",
        now=NOON,
        policy_hash="p",
    )
    return made.id


def _done(connection: sa.Connection, number: int) -> None:
    decisions.became(connection, number, "carried_out", "", now=NOON, run_id="run")


def _waiting(connection: sa.Connection) -> list[int]:
    return [one.id for one in decisions.waiting(connection, "condition")]


def _passed_over(connection: sa.Connection) -> int:
    return records.position(connection, "decisions")


def test_one_that_waits_is_not_passed_over_and_those_before_it_are(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        first, second, third, fourth = (_decide(connection, f"u{n}") for n in range(4))
        for number in (first, second, fourth):
            _done(connection, number)
        decisions.pass_over(connection, now=TOMORROW)
        assert _passed_over(connection) == second
        assert _waiting(connection) == [third]
        _done(connection, third)
        decisions.pass_over(connection, now=TOMORROW)
        assert _passed_over(connection) == fourth
        assert _waiting(connection) == []
        fifth = _decide(connection, "u5")
        assert _waiting(connection) == [fifth]


def test_a_new_one_is_looked_at_for_a_day_since_an_older_number_may_come_in(
    engine: sa.Engine,
) -> None:
    with engine.begin() as connection:
        _done(connection, _decide(connection, "u0"))
        decisions.pass_over(connection, now=TOMORROW - timedelta(hours=1))
        assert _passed_over(connection) == 0
