"""What people do to tasks: kept with their names, never changed, and heeded by a refresh."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline import settings
from returns_pipeline.domain.decisions import Kind, NotAllowed
from returns_pipeline.domain.exceptions import CATALOGUE
from returns_pipeline.domain.model import Owner
from returns_pipeline.steps import control, queue
from returns_pipeline.steps.queue import Person, Task, Wanted
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import decisions, users
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.cli import rows

MARIA = Person("maria")
CODE = "DISPOSITION_UNMAPPED"


@pytest.fixture
def day(engine: sa.Engine) -> sa.Engine:
    """A database with a day in it, once on each of the two."""
    rows.fill(engine)
    return engine


def _task(engine: sa.Engine, code: str = CODE) -> Task:
    return queue.one(engine, code)


def _refresh(engine: sa.Engine, at: Any) -> None:
    url = engine.url.render_as_string(hide_password=False)
    found = settings.load(
        {"RETURNS_DATABASE_URL": url, "RETURNS_NOW": at.isoformat()}, vendors=False
    )
    with Runtime(found, run_id="test") as rt:
        control.exceptions(rt)


def _actions(engine: sa.Engine) -> list[tuple[str, str, str]]:
    columns = t.exception_actions.c
    query = sa.select(columns.action, columns.actor, columns.detail).order_by(columns.id)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_what_was_done_is_kept_with_name_and_reason(day: sa.Engine) -> None:
    queue.acknowledge(day, _task(day), MARIA, now=rows.NOW)
    queue.assign(day, _task(day), MARIA, now=rows.NOW, to="nina", owner=Owner.CX)
    until = rows.NOW + timedelta(days=1)
    queue.snooze(day, _task(day), Person("nina"), now=rows.NOW, until=until, reason="asked\nthem")

    assert _actions(day) == [
        ("acknowledged", "maria", ""),
        ("assigned", "maria", "handed over to CX, to nina"),
        ("snoozed", "nina", "until 2026-03-16 09:00 UTC: asked them"),
    ]


def test_the_same_thing_done_again_changes_nothing(day: sa.Engine) -> None:
    assert queue.acknowledge(day, _task(day), MARIA, now=rows.NOW)
    assert not queue.acknowledge(day, _task(day), MARIA, now=rows.NOW)
    assert queue.assign(day, _task(day), MARIA, now=rows.NOW, to="nina")
    assert not queue.assign(day, _task(day), MARIA, now=rows.NOW, to="nina")
    assert len(_actions(day)) == 2


@pytest.mark.parametrize(
    "table", [t.decisions, t.decision_outcomes, t.exception_actions, t.user_events]
)
@pytest.mark.parametrize("verb", ["update", "delete"])
def test_what_was_done_cannot_be_changed_by_anybody(
    day: sa.Engine, table: sa.Table, verb: str
) -> None:
    with day.begin() as connection:
        decision, _ = decisions.keep(
            connection,
            Kind.WRITE_OFF,
            "u3",
            {},
            exception_id=1,
            actor="maria",
            reason="lost",
            now=rows.NOW,
            policy_hash="p",
        )
        decisions.became(connection, decision.id, "ended", "", now=rows.NOW, run_id="")
        decisions.note(connection, 1, "decided", actor="maria", now=rows.NOW)
        users.note(connection, "maria", "failed", address="", actor="", now=rows.NOW)
    column = next(c for c in table.columns if isinstance(c.type, sa.Text))
    change: Any = sa.delete(table) if verb == "delete" else sa.update(table).values({column: "x"})

    with pytest.raises(sa.exc.DatabaseError, match="never changed"), day.begin() as connection:
        connection.execute(change)


def test_what_sleeps_is_out_of_the_list_and_wakes_at_its_time(day: sa.Engine) -> None:
    until = rows.NOW + timedelta(hours=4)
    queue.snooze(day, _task(day), MARIA, now=rows.NOW, until=until, reason="later")

    _refresh(day, rows.NOW + timedelta(hours=1))
    assert CODE not in {one.code for one in queue.tasks(day, Wanted(), now=rows.NOW)}
    assert CODE in {one.code for one in queue.tasks(day, Wanted(snoozed=True), now=rows.NOW)}

    _refresh(day, until)
    found = _task(day)
    assert (found.status, found.snoozed_until) == ("open", None)
    assert _actions(day)[-1] == ("woken", "the program", "its time has come")


def test_what_grows_worse_wakes_before_its_time(day: sa.Engine) -> None:
    until = rows.NOW + timedelta(days=2)
    queue.snooze(day, _task(day), MARIA, now=rows.NOW, until=until, reason="later")
    with day.begin() as connection:  # it was milder when it was put off
        connection.execute(sa.update(t.exceptions).values(severity="S4"))

    _refresh(day, rows.NOW + timedelta(hours=1))

    assert _task(day).status == "open"
    assert _actions(day)[-1][2] == "it is S2 now"


@pytest.mark.parametrize(
    ("until", "why"),
    [
        (timedelta(), "has passed"),
        (timedelta(days=32), "no task sleeps longer"),
    ],
)
def test_nothing_sleeps_for_ever(day: sa.Engine, until: timedelta, why: str) -> None:
    with pytest.raises(NotAllowed, match=why):
        queue.snooze(day, _task(day), MARIA, now=rows.NOW, until=rows.NOW + until, reason="later")


def test_a_reason_alone_settles_nothing_that_holds_goods_or_money(day: sa.Engine) -> None:
    with pytest.raises(NotAllowed, match=r"keeps stock from moving.*disposition"):
        queue.resolve(
            day,
            _task(day),
            MARIA,
            now=rows.NOW,
            policy=settings.load({}, vendors=False).policy,
            reason="looks fine",
        )
    assert _task(day).status == "open"


def test_a_closed_task_takes_no_more_actions(day: sa.Engine) -> None:
    with day.begin() as connection:
        connection.execute(sa.update(t.exceptions).values(status="auto_resolved"))

    with pytest.raises(NotAllowed, match="is closed"):
        queue.acknowledge(day, _task(day), MARIA, now=rows.NOW)


@pytest.mark.parametrize("name", ["u2", "#1001", "1001", "ret-u2", CODE.lower(), f"{CODE}:u2"])
def test_a_task_is_found_by_any_of_its_names(day: sa.Engine, name: str) -> None:
    assert queue.one(day, name).code == CODE
    assert queue.one(day, _task(day).name).code == CODE


@pytest.mark.parametrize("name", ["", "E999999", "E", "%", "_", "E99999999999999999999"])
def test_a_name_that_means_nothing_is_said_to(day: sa.Engine, name: str) -> None:
    with pytest.raises(queue.NoSuchTask):
        queue.one(day, name)


def test_every_code_says_what_settles_it_or_that_it_closes_itself() -> None:
    from returns_pipeline.domain.decisions import KINDS, kinds_for

    assert {kind for code in CATALOGUE for kind in kinds_for(code)} == set(KINDS)
    for code, entry in CATALOGUE.items():
        assert (Kind.ACCEPT in kinds_for(code)) <= (entry.blocks == "none")


def test_two_answers_at_the_same_moment_are_not_both_kept(day: sa.Engine) -> None:
    common = SimpleNamespace(actor="maria", reason="r", now=rows.NOW, policy_hash="p")
    with day.begin() as connection:
        connection.execute(
            sa.insert(t.decisions).values(
                subject="u2",
                question="condition",
                sequence=0,
                kind="disposition",
                arguments="{}",
                actor="nina",
                reason="r",
                decided_at=rows.NOW,
                policy_hash="p",
            )
        )
        number = connection.execute(sa.select(t.decisions.c.id)).scalar_one()
        made, is_new = decisions.keep(
            connection, Kind.WRITE_OFF, "u2", {}, exception_id=None, **vars(common)
        )
    assert is_new
    with day.connect() as connection:
        outcome = connection.execute(
            sa.select(t.decision_outcomes.c.outcome).where(
                t.decision_outcomes.c.decision_id == number
            )
        ).scalar_one()
        assert outcome == "superseded"
        assert decisions.of_open_units(connection, "condition")["u2"].id == made.id
