"""The conservation law of a return: what was begun is accounted for, or somebody is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.steps import conservation
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.defs import seed
from returns_pipeline_tests.steps.test_money_of_others import Queue
from returns_pipeline_tests.steps.test_operations_tasks import told

CODE = "RETURN_NOT_CONSERVED"


@pytest.fixture
def queue(database_url: str, engine: sa.Engine) -> Queue:
    """A return of two units, one received and one under way."""
    found = Queue(database_url, engine)
    with found.rows() as c:
        seed.order(c)
        seed.line(c, quantity=3)
        for key, stage in (("u1", "received"), ("u2", "departed")):
            received = seed.ago(days=1) if stage == "received" else None
            seed.unit(c, key, return_id="ret-1", stage=stage, received_at=received)
            seed.match(c, key, unit_no=int(key[1:]))
    return found


def answered(queue: Queue, *keys: str) -> int:
    number = "#1001"
    with queue.rows() as c:
        c.execute(sa.update(t.return_items).values(order_number=number))
        return conservation.note_answers(c, {number: keys}, now=seed.T0)


def change(queue: Queue, **values: Any) -> None:
    with queue.rows() as c:
        c.execute(sa.update(t.return_items).where(t.return_items.c.unit_key == "u2").values(values))


def test_a_unit_that_the_answers_name_no_more_is_told_with_its_worth_until_they_do(
    queue: Queue,
) -> None:
    assert answered(queue, "u1", "u2") == 0
    assert CODE not in told(queue)

    assert answered(queue, "u1") == 1
    task = told(queue)[CODE]
    assert (task["key"], task["owner"], task["severity"]) == ("ret-1", "Operations", "S2")
    assert (task["amount_minor"], task["currency"]) == (2000, "GBP")
    assert json.loads(task["unit_keys"]) == ["u2"]
    assert task["message"] == "2 units were begun: 1 received, 1 not accounted for"

    answered(queue, "u1", "u2")
    assert CODE not in told(queue)


@pytest.mark.parametrize(
    "end",
    [
        {"stage": "received", "received_at": seed.T0, "precisions": "----e--"},
        {"stage": "cancelled", "cancelled_at": seed.T0},
        {"stage": "expired", "expired_at": seed.T0},
        {"is_returnless": True},
    ],
)
def test_one_that_came_to_an_end_is_accounted_for(queue: Queue, end: dict[str, Any]) -> None:
    answered(queue, "u1")

    change(queue, **end)

    assert CODE not in told(queue)


def test_one_that_was_closed_here_without_an_end_is_told(queue: Queue) -> None:
    change(queue, is_open=False)

    assert json.loads(told(queue)[CODE]["unit_keys"]) == ["u2"]


def test_an_answer_about_another_order_says_nothing(queue: Queue) -> None:
    with queue.rows() as c:
        assert conservation.note_answers(c, {"#1002": []}, now=seed.T0) == 0
