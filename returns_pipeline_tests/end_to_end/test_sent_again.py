"""A person says "send it again" of a write that may still be carried out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.clients.transport import Unavailable
from returns_pipeline.dispatch.refunds import Creation
from returns_pipeline.domain.decisions import Kind
from returns_pipeline.sandbox import cases
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.steps import carry_out, queue
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.end_to_end.shop import Shop, policy

STARTS = datetime(2026, 3, 9, tzinfo=UTC)
CLOSED = STARTS + timedelta(days=8)
RESTED = CLOSED + timedelta(minutes=10)


@pytest.fixture
def shop(sqlite_url: str, tmp_path: Path) -> Iterator[Shop]:
    world = cases.build("received_saleable", STARTS)
    with Sandbox(world, now=STARTS) as sandbox:
        shop = Shop(sandbox, sqlite_url, {"RETURNS_POLICY": policy(tmp_path)})
        shop.sync(STARTS + timedelta(days=4))
        shop.sync(CLOSED - timedelta(minutes=5))
        yield shop


def _loses_the_next_refund(shop: Shop) -> None:
    shop.sandbox.linnworks_server.vendor.faults.add("CreateRefund", "http_500_before")


def _maria_says_send_it_again(shop: Shop, now: datetime) -> None:
    engine = connect(shop.url)
    (task,) = queue.tasks(engine, queue.Wanted(code="WRITE_UNKNOWN_OUTCOME"), now=now)
    queue.resolve(
        engine,
        task,
        queue.Person("maria"),
        now=now,
        policy=shop.settings(now).policy,
        reason="she looked",
        kind=Kind.SEND_AGAIN,
        answers={},
    )
    engine.dispose()


def test_what_was_sent_once_more_meanwhile_is_not_sent_by_a_word_before_it_has_rested(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody_answers(*_: Any) -> Any:
        raise Unavailable("GetRefundHeadersByOrderId", "no answer")

    _loses_the_next_refund(shop)
    shop.close_open_days(date(2026, 3, 15), CLOSED)
    with monkeypatch.context() as down:
        down.setattr(Creation, "read_back", nobody_answers)
        shop.sync(RESTED)
    _maria_says_send_it_again(shop, RESTED)
    # A run that had asked for decisions before she spoke finds it absent, and loses it again.
    _loses_the_next_refund(shop)
    with monkeypatch.context() as begun_before:
        begun_before.setattr(carry_out, "writes", lambda *_: {})
        shop.sync(RESTED + timedelta(minutes=1))

    shop.sync(RESTED + timedelta(minutes=1, seconds=20))

    assert shop.sandbox.linnworks.books()["refunds"] == []
    columns = t.decision_outcomes.c
    (said,) = shop.rows(sa.select(columns.outcome, columns.detail))
    assert said["outcome"] == "refused"
    assert "may still be carried out" in said["detail"]
    (sent,) = shop.rows(sa.select(t.intents.c.attempt).where(t.intents.c.state == "unknown"))
    assert sent["attempt"] == 2

    shop.sync(RESTED + timedelta(minutes=10))
    assert len(shop.sandbox.linnworks.books()["refunds"]) == 1
