"""Rows of our own tables that the program never writes: found, named, held; the rest goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.steps import act, control, money, soundness
from returns_pipeline.storage import outbox
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.crash import story
from returns_pipeline_tests.defs import seed
from returns_pipeline_tests.end_to_end.shop import Shop, policy

PAYLOAD = {"order_id": "o1"}
BOOKING, ACTION = "rma_booking:HR-1", "rma_action:HR-1"


def _unguarded(c: sa.Connection) -> None:
    """As a hand that knows what it does, or a restore: no check and no trigger."""
    if c.dialect.name == "sqlite":
        # Within a transaction, of this connection alone.
        c.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
        names = c.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in names.all():
            c.exec_driver_sql(f"DROP TRIGGER {name}")
        return
    for table in ("batches", "batch_lines", "postings"):
        c.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
    checks = c.exec_driver_sql(
        "SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype = 'c'"
        " AND conrelid::regclass::text IN ('intents', 'stock_adjustments', 'refunds_due')"
    )
    for table, name in checks.all():
        c.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


def _sound(c: sa.Connection) -> None:
    """A unit on its way through every table, with nothing wrong."""
    seed.unit(c)
    digest = outbox.payload_hash(PAYLOAD)
    common = {"reference": "HR-1", "payload": PAYLOAD, "payload_hash": digest}
    seed.intent(c, intent_key=BOOKING, **common)
    seed.intent(c, intent_key=ACTION, kind="rma_action", depends_on=BOOKING, **common)
    seed.adjustment(c, adjustment_key="a1", state="intended", intent_key=ACTION)
    made = seed.batch(c)
    seed.refund(c, refund_key="f1", state="batched", batch_id=made.id)
    seed.intent(c, intent_key="exchange_create:E-1", kind="exchange_create", **common)
    seed.exchange(
        c, exchange_key="e1", state="intended", intent_key="exchange_create:E-1", reference="E-1"
    )


def _half(c: sa.Connection) -> None:
    half = '{"order_id": "o' if c.dialect.name == "sqlite" else '"{order_id"'
    c.exec_driver_sql(f"UPDATE intents SET payload = '{half}' WHERE intent_key = '{BOOKING}'")


def _to(table: sa.Table, key: str, **values: Any) -> Callable[[sa.Connection], None]:
    column = (
        table.c.get("intent_key")
        if table is t.intents
        else next(
            table.c[name]
            for name in ("adjustment_key", "refund_key", "exchange_key", "batch_id")
            if name in table.c
        )
    )
    return lambda c: c.execute(sa.update(table).where(column == key).values(**values)) and None


def _line(c: sa.Connection) -> None:
    c.execute(sa.update(t.batch_lines).where(t.batch_lines.c.number == 1).values(amount_minor=1))


def _unproven(c: sa.Connection) -> None:
    _to(t.intents, "exchange_create:E-1", state="confirmed")(c)
    _to(t.exchange_orders, "e1", state="created", new_order_id="o9")(c)


@dataclass(frozen=True)
class Wrong:
    name: str
    does: Callable[[sa.Connection], None]
    table: str
    key: str
    words: str


BATCH = "HRL-20260314-UKGBP-00"
WRONG = (
    Wrong("half a payload", _half, "intents", BOOKING, "written by half"),
    Wrong(
        "a payload changed",
        _to(t.intents, BOOKING, payload={"order_id": "o2"}),
        "intents",
        BOOKING,
        "not what was committed",
    ),
    Wrong(
        "no such state",
        _to(t.intents, BOOKING, state="sent"),
        "intents",
        BOOKING,
        "no state 'sent'",
    ),
    Wrong(
        "no such kind",
        _to(t.intents, BOOKING, kind="rma"),
        "intents",
        BOOKING,
        "kind of write 'rma'",
    ),
    Wrong(
        "claimed for ever",
        _to(t.intents, BOOKING, state="sending", attempt=1),
        "intents",
        BOOKING,
        "claimed for ever",
    ),
    Wrong(
        "unknown, never sent",
        _to(t.intents, BOOKING, state="unknown", attempt=1),
        "intents",
        BOOKING,
        "never sent",
    ),
    Wrong(
        "unknown, never tried",
        _to(t.intents, BOOKING, state="unknown", sent_at=seed.ago(hours=1)),
        "intents",
        BOOKING,
        "never tried",
    ),
    Wrong(
        "confirmed, unproven",
        _unproven,
        "intents",
        "exchange_create:E-1",
        "without evidence",
    ),
    Wrong(
        "depends on nothing",
        _to(t.intents, ACTION, depends_on="rma_booking:HR-9"),
        "intents",
        ACTION,
        "is not there",
    ),
    Wrong(
        "depends on what made nothing",
        _to(t.intents, BOOKING, state="confirmed", evidence={}),
        "intents",
        ACTION,
        "no evidence",
    ),
    Wrong(
        "an adjustment in no state",
        _to(t.stock_adjustments, "a1", state="done"),
        "stock_adjustments",
        "a1",
        "no state 'done'",
    ),
    Wrong(
        "an adjustment begun and ready",
        _to(t.stock_adjustments, "a1", state="ready"),
        "stock_adjustments",
        "a1",
        "begun already",
    ),
    Wrong(
        "an adjustment of no intent",
        _to(t.stock_adjustments, "a1", intent_key="rma_action:HR-9"),
        "stock_adjustments",
        "a1",
        "is not there",
    ),
    Wrong(
        "an adjustment left behind by its intent",
        _to(t.intents, ACTION, state="confirmed", evidence={"header_id": 1}),
        "stock_adjustments",
        "a1",
        "is confirmed, and it is still intended",
    ),
    Wrong(
        "a replacement without its order",
        _to(t.exchange_orders, "e1", state="created"),
        "exchange_orders",
        "e1",
        "no order is named",
    ),
    Wrong(
        "a refund in no batch",
        _to(t.refunds_due, "f1", batch_id=None),
        "refunds_due",
        "f1",
        "in no batch",
    ),
    Wrong(
        "a refund in a batch that is not there",
        _to(t.refunds_due, "f1", batch_id="HRL-20260315-UKGBP-00"),
        "refunds_due",
        "f1",
        "0 were sealed",
    ),
    Wrong(
        "a refund of more than was sealed",
        _to(t.refunds_due, "f1", amount_minor=6001, goods_minor=6001),
        "refunds_due",
        "f1",
        "6000 were sealed",
    ),
    Wrong(
        "a refund due and begun",
        _to(t.refunds_due, "f1", state="due"),
        "refunds_due",
        "f1",
        "begun already",
    ),
    Wrong(
        "a batch of another hash",
        _to(t.batches, BATCH, hash="0" * 64),
        "batches",
        BATCH,
        "do not give its hash",
    ),
    Wrong(
        "a batch of other bytes", _to(t.batches, BATCH, body="{}"), "batches", BATCH, "do not give"
    ),
    Wrong("a batch of other lines", _line, "batches", BATCH, "its lines are not"),
    Wrong(
        "a batch of other totals",
        _to(t.batches, BATCH, totals=json.dumps({"debit": 1})),
        "batches",
        BATCH,
        "its totals are not",
    ),
)


def test_sound_books_are_left_alone(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        _sound(connection)

    assert soundness.hold(engine, now=seed.T0, run_id="run") == 0
    with engine.connect() as connection:
        assert soundness.flaws(connection) == []
        assert soundness.held(connection) == []


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_what_cannot_be_is_named_and_held(engine: sa.Engine, wrong: Wrong) -> None:
    with engine.begin() as connection:
        _unguarded(connection)
        _sound(connection)
        wrong.does(connection)

    with engine.connect() as connection:
        found = soundness.flaws(connection)
    assert [(flaw.table, flaw.key) for flaw in found] == [(wrong.table, wrong.key)]
    assert wrong.words in found[0].what
    assert found[0].remedy
    assert f"{wrong.table} {wrong.key}: " in found[0].message

    held = soundness.hold(engine, now=seed.T0, run_id="run")
    with engine.connect() as connection:
        left, waiting = soundness.flaws(connection), soundness.held(connection)
    if wrong.table == "batches":  # nothing of it is changed: it may be restored
        assert (held, left, waiting) == (0, found, [])
        return
    assert (held, left) == (1, [])
    assert [(flaw.table, flaw.key) for flaw in waiting] == [(wrong.table, wrong.key)]
    assert soundness.hold(engine, now=seed.T0, run_id="run") == 0


# --- a day with them --------------------------------------------------------------


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    world = story.day(reduced=True)
    with Sandbox(world, now=story.STARTS) as sandbox:
        yield Shop(sandbox, database_url, {"RETURNS_POLICY": policy(tmp_path)})


def _rehearsed(shop: Shop) -> None:
    """Everything decided, nothing begun."""
    shop.environ["RETURNS_MODE"] = "shadow"
    shop.sync(story.EVENING)
    shop.environ["RETURNS_MODE"] = "live"


def _restocked(shop: Shop) -> dict[str, str]:
    query = sa.select(t.stock_adjustments.c.adjustment_key, t.stock_adjustments.c.state)
    return {row["adjustment_key"]: row["state"] for row in shop.rows(query)}


@pytest.mark.slow
def test_other_units_are_restocked_and_the_odd_one_is_somebodys_task(shop: Shop) -> None:
    _rehearsed(shop)
    odd = min(_restocked(shop))
    engine = connect(shop.url)
    with engine.begin() as connection:
        _unguarded(connection)
        moved = t.stock_adjustments.c
        connection.execute(
            sa.update(t.stock_adjustments)
            .where(moved.adjustment_key == odd)
            .values(intent_key="rma_action:lost")
        )
    engine.dispose()

    counts = shop.sync(story.EVENING + timedelta(minutes=5))

    states = _restocked(shop)
    assert states.pop(odd) == "held"
    assert set(states.values()) == {"posted"}
    assert counts["act.restocks"]["held_by_books"] == 1
    told = [
        row
        for row in shop.rows(sa.select(t.exceptions))
        if row["code"] == "WRITE_UNKNOWN_OUTCOME" and row["status"] == "open"
    ]
    assert len(told) == 1
    assert f"stock_adjustments {odd}: ready, and begun already" in told[0]["message"]
    assert "look in Linnworks" in told[0]["message"]


@pytest.mark.slow
def test_nothing_is_paid_by_an_unsound_batch_until_it_is_itself_again(shop: Shop) -> None:
    shop.sync(story.EVENING)
    shop.sync(story.NIGHT - story.BEFORE)  # the day is complete
    day = story.EVENING.date()
    engine = connect(shop.url)
    with shop.run(story.NIGHT) as rt:
        sealed = money.seal(rt, day).sealed[0]
    with engine.begin() as connection:
        _unguarded(connection)
        columns = t.batches.c
        query = sa.select(columns.body).where(columns.batch_id == sealed)
        body = connection.execute(query).scalar_one()
        connection.execute(
            sa.update(t.batches).where(columns.batch_id == sealed).values(body=body + " ")
        )

    with shop.run(story.NIGHT) as rt:
        act.refunds(rt, day)
        control.exceptions(rt)
    assert shop.sandbox.linnworks.books()["refunds"] == []
    (told,) = (r for r in shop.rows(sa.select(t.exceptions)) if r["code"] == "LEDGER_DRIFT")
    assert sealed in told["message"]
    assert told["severity"] == "S1"
    assert told["owner"] == "Finance"

    with engine.begin() as connection:
        connection.execute(sa.update(t.batches).where(columns.batch_id == sealed).values(body=body))
    engine.dispose()
    with shop.run(story.NIGHT + timedelta(minutes=5)) as rt:
        act.refunds(rt, day)
        control.exceptions(rt)
    assert shop.sandbox.linnworks.books()["refunds"] != []
    (told,) = (r for r in shop.rows(sa.select(t.exceptions)) if r["code"] == "LEDGER_DRIFT")
    assert told["status"] == "auto_resolved"
