"""Tasks about more than one unit: each is raised by what is stored, and closes with its cause."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline import settings
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.defs import seed
from returns_pipeline_tests.steps.test_money_of_others import Queue


@pytest.fixture
def queue(database_url: str, engine: sa.Engine) -> Queue:
    found = Queue(database_url, engine)
    with found.rows() as c:
        seed.order(c)
        seed.line(c, quantity=3)
    return found


class Paying(Queue):
    """Of a merchant for whom Happy Returns pays."""

    policy = ""

    def runtime(self) -> Runtime:
        environ = {
            "RETURNS_DATABASE_URL": self.url,
            "RETURNS_NOW": seed.T0.isoformat(),
            "RETURNS_POLICY": self.policy,
        }
        return Runtime(settings.load(environ, vendors=False), run_id="test")


def told(queue: Queue) -> dict[str, dict[str, Any]]:
    """Every open exception by code; none about the policy these tests do not declare."""
    queue.refresh()
    with queue.engine.connect() as connection:
        rows = connection.execute(sa.select(t.exceptions).where(t.exceptions.c.status == "open"))
        return {row.code: row._asdict() for row in rows}


def on_a_shipment(c: sa.Connection, key: str, *, received_days_ago: float | None) -> None:
    received = seed.ago(days=received_days_ago) if received_days_ago is not None else None
    seed.unit(
        c,
        key,
        return_id="ret-1",
        stage="received" if received else "departed",
        departed_at=seed.ago(days=5),
        received_at=received,
    )
    seed.match(c, key, unit_no=int(key[1:]))
    seed.insert(c, t.shipment_items, shipment_id="shp-1", unit_key=key)


def test_a_shipment_that_was_unpacked_and_lacks_a_unit_is_short_until_it_comes(
    queue: Queue,
) -> None:
    with queue.rows() as c:
        on_a_shipment(c, "u1", received_days_ago=3)
        on_a_shipment(c, "u2", received_days_ago=None)

    task = told(queue)["SHIPMENT_SHORT"]
    assert (task["owner"], task["amount_minor"], task["currency"]) == ("Operations", 2000, "GBP")
    assert task["message"] == "shipment shp-1: 1 of 2 units were received"
    assert json.loads(task["unit_keys"]) == ["u2"]

    with queue.rows() as c:
        came = {"stage": "received", "received_at": seed.T0, "precisions": "---ee--"}
        c.execute(sa.update(t.return_items).values(**came))
    assert "SHIPMENT_SHORT" not in told(queue)


def test_a_shipment_that_is_being_unpacked_is_left_in_peace(queue: Queue) -> None:
    with queue.rows() as c:
        on_a_shipment(c, "u1", received_days_ago=2)
        on_a_shipment(c, "u2", received_days_ago=None)

    assert "SHIPMENT_SHORT" not in told(queue)


def test_a_unit_of_the_bag_that_the_shipment_does_not_list_is_over_until_it_is_listed(
    queue: Queue,
) -> None:
    with queue.rows() as c:
        on_a_shipment(c, "u1", received_days_ago=1)
        seed.unit(c, "u2", return_id="ret-1", dropped_off_at=seed.ago(days=6))

    task = told(queue)["SHIPMENT_OVER"]
    assert (task["owner"], json.loads(task["unit_keys"])) == ("Operations", ["u2"])

    with queue.rows() as c:  # the other one is done with, and this one is not
        c.execute(
            sa.update(t.return_items).where(t.return_items.c.unit_key == "u1").values(is_open=False)
        )
    assert "SHIPMENT_OVER" in told(queue)

    with queue.rows() as c:
        seed.insert(c, t.shipment_items, shipment_id="shp-1", unit_key="u2")
    assert "SHIPMENT_OVER" not in told(queue)


def test_questions_that_come_hours_too_late_are_told_until_they_are_asked(queue: Queue) -> None:
    with queue.rows() as c:
        seed.insert(
            c,
            t.watch_list,
            order_key="1001",
            reason="open_return",
            is_active=True,
            due_at=seed.ago(hours=8),
        )

    assert told(queue)["RATE_LIMIT_EXHAUSTED"]["owner"] == "Operations"

    with queue.rows() as c:
        c.execute(sa.update(t.watch_list).values(due_at=seed.T0))
    assert "RATE_LIMIT_EXHAUSTED" not in told(queue)


@pytest.mark.parametrize(("before", "is_told"), [(0, True), (1, True), (12, False)])
def test_an_hour_of_far_more_approvals_than_usual_is_told(
    queue: Queue, before: int, *, is_told: bool
) -> None:
    with queue.rows() as c:
        for number in range(60):
            seed.unit(
                c,
                f"u{number}",
                stage="approved",
                received_at=None,
                approved_at=seed.ago(minutes=90),
            )
        # So many came in every hour of the week before.
        for number in range(168 * before):
            seed.insert(
                c,
                t.receipts,
                unit_key=f"old{number}",
                business_date=seed.ago(days=1 + number % 7).date(),
            )

    assert ("APPROVAL_BURST" in told(queue)) == is_told

    with queue.rows() as c:
        c.execute(sa.update(t.return_items).values(is_open=False))
    assert "APPROVAL_BURST" not in told(queue)


def test_a_changed_mapping_is_told_for_a_week_and_other_changes_are_not(queue: Queue) -> None:
    changed = settings.packaged_policy()
    changed["dispositions"]["light_wear"] = "SELLABLE_B"
    other = settings.packaged_policy()
    other["ages"]["orphan_young"] = "25h"
    with queue.rows() as c:
        for hash_, document, days in (
            ("a", other, 10.0),
            ("b", changed, 2.0),
        ):
            seed.insert(
                c,
                t.policy_versions,
                hash=hash_,
                first_used_at=seed.ago(days=days),
                body=json.dumps(document),
            )
    with queue.runtime():
        pass  # the packaged policy, used from now on, maps as the first one did

    task = told(queue)["MAPPING_VERSION_CHANGED"]
    assert (task["owner"], task["severity"]) == ("Finance", "S4")
    assert "[dispositions]" in task["message"]
    assert "ages" not in task["message"]

    with queue.rows() as c:
        week = timedelta(days=8)
        c.execute(
            sa.update(t.policy_versions).values(first_used_at=seed.T0 - week - timedelta(hours=1))
        )
    assert "MAPPING_VERSION_CHANGED" not in told(queue)


@pytest.mark.parametrize(
    ("stage", "code"),
    [
        ("departed", None),
        ("expired", "RETURN_EXPIRED_AFTER_REFUND"),
        ("cancelled", "RETURN_EXPIRED_AFTER_REFUND"),
    ],
)
def test_money_that_left_for_a_return_that_is_over_is_told_at_once(
    queue: Queue, stage: str, code: str | None
) -> None:
    with queue.rows() as c:
        seed.unit(c, stage=stage, received_at=None, **{f"{stage}_at": seed.ago(days=1)})
        seed.match(c)
        seed.insert(
            c,
            t.refunds_due,
            refund_key="u1:refund",
            unit_key="u1",
            order_id="o1",
            row_id="r1",
            goods_minor=2000,
            amount_minor=2000,
            state="actioned",
            executor="linnworks",
            effective_at=seed.ago(days=1),
        )

    found = told(queue)
    assert ("RETURN_EXPIRED_AFTER_REFUND" in found) == (code is not None)
    if code:
        assert (found[code]["owner"], found[code]["amount_minor"]) == ("CX", 2000)
        came = {"stage": "received", "received_at": seed.T0, "precisions": "----e--"}
        with queue.rows() as c:
            c.execute(sa.update(t.return_items).values(**came))
        assert code not in told(queue)


def test_a_refund_that_waits_in_linnworks_while_happy_returns_pays_is_told_at_once(
    queue: Queue, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[refunds]\nexecutor = "happy_returns"\n')
    paying = Paying(queue.url, queue.engine)
    paying.policy = str(policy)
    with queue.rows() as c:
        seed.unit(c)
        seed.match(c)
        seed.insert(
            c,
            t.refund_readings,
            refund_row_id="x",
            refund_header_id=7,
            order_id="o1",
            row_id="r1",
            quantity=1,
            amount_minor=2000,
            currency="GBP",
            created_at=seed.ago(hours=1),
        )

    task = told(paying)["SEND_TO_CHANNEL_RISK"]
    assert (task["owner"], task["severity"], task["amount_minor"]) == ("Finance", "S1", 2000)

    with queue.rows() as c:
        c.execute(sa.update(t.refund_readings).values(is_deleted=True))
    assert "SEND_TO_CHANNEL_RISK" not in told(paying)


def test_units_that_left_a_hub_and_stand_on_no_shipment_are_one_task_until_they_are_listed(
    queue: Queue,
) -> None:
    with queue.rows() as c:
        for key, days in (("u1", 3), ("u2", 5), ("u3", 1), ("u4", 40)):
            left = seed.ago(days=days)
            seed.unit(c, key, return_id=key, stage="departed", received_at=None, departed_at=left)

    task = told(queue)["EVENT_GAP"]
    assert (task["owner"], task["severity"]) == ("Operations", "S4")
    assert json.loads(task["unit_keys"]) == ["u1", "u2"]

    with queue.rows() as c:
        for key in ("u1", "u2"):
            seed.insert(c, t.shipment_items, shipment_id="shp-1", unit_key=key)
    assert "EVENT_GAP" not in told(queue)
