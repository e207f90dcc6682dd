"""Units nobody knew are written as columns: the same as one by one, whatever they tell."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline import settings
from returns_pipeline.domain import lifecycle
from returns_pipeline.normalise import happy_returns as hr
from returns_pipeline.steps import capture, derive
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t

NOW = datetime(2026, 10, 3, 12, tzinfo=UTC)
WHOLE = {
    "happyReturnsReturnID": "ret-1",
    "happyReturnsExpressCode": "HRQ7TNDK",
    "orderNumber": "#1001",
    "sku": "TEE",
    "status": "received",
    "startedAt": "2026-09-20T10:00:00Z",
    "receivedAt": "2026-09-25T10:00:00.250Z",
    "updatedAt": "2026-09-26T10:00:00Z",
    "disposition": 'sale"able',
    "refundType": "store-credit",
    "refundAmount": "19.99",
    "returnFee": "5.00 GBP",
    "currency": "gbp",
}
ITEMS: dict[str, Any] = {
    "whole": WHOLE,
    "only a status": {"happyReturnsReturnID": "ret-2", "orderNumber": "#2", "status": "approved"},
    "cancelled": {**WHOLE, "receivedAt": "", "status": "cancelled", "returnless": True},
    "wrong types": {**WHOLE, "sku": ["x"], "receivedAt": "soon", "refundAmount": {}, "status": 7},
    "nothing": [],
}


@pytest.fixture
def rt(database_url: str) -> Any:
    environ = {"RETURNS_DATABASE_URL": database_url, "RETURNS_NOW": NOW.isoformat()}
    with Runtime(settings.load(environ, vendors=False), run_id="test") as runtime:
        yield runtime


def _store(rt: Runtime, items: dict[str, Any], source: str = capture.RETURN) -> None:
    payloads = []
    for key, item in items.items():
        body = json.dumps(item).encode()
        payloads.append(capture.Received(source, key, hr.content_hash(body), NOW, body))
    with rt.engine.begin() as connection:
        capture.store(connection, payloads, run_id="test")


def _units_one_by_one(rt: Runtime, items: dict[str, Any]) -> dict[str, Any]:
    bodies = [json.dumps(item).encode() for item in items.values()]
    columns = hr.readings(
        bodies,
        keys=list(items),
        hashes=[hr.content_hash(body) for body in bodies],
        source="return",
        policy=rt.policy.happy_returns,
        default_currency=rt.policy.merchant.currency,
        observed_at=NOW,
    )
    return {unit.unit_key: unit for unit in hr.units(columns)}


def test_what_is_stored_of_new_units_is_what_was_told(rt: Runtime) -> None:
    _store(rt, ITEMS)
    assert derive.returns(rt) == {"read": len(ITEMS), "changed": len(ITEMS)}
    wanted = _units_one_by_one(rt, ITEMS)
    items = t.return_items.c
    with rt.engine.connect() as connection:
        assert records.units_by_key(connection, ITEMS) == wanted
        stages = dict(connection.execute(sa.select(items.unit_key, items.stage)).all())
    assert stages == {key: lifecycle.stage(unit) for key, unit in wanted.items()}


def test_the_events_of_new_units_are_those_of_a_unit_nobody_knew(rt: Runtime) -> None:
    _store(rt, ITEMS)
    derive.returns(rt)
    with rt.engine.connect() as connection:
        rows = connection.execute(sa.select(t.unit_events)).all()
        payloads = dict(
            connection.execute(sa.select(t.raw_payloads.c.id, t.raw_payloads.c.key)).all()
        )
    told = {row.unit_key: records.told_of(row.told) for row in rows}
    wanted = {
        key: [
            {"kind": kind, "at": at, "precision": precision.value, "detail": detail}
            for kind, at, precision, detail in lifecycle.events(None, unit)
        ]
        for key, unit in _units_one_by_one(rt, ITEMS).items()
    }
    assert told == {key: facts for key, facts in wanted.items() if facts}
    assert all(payloads[row.raw_id] == row.unit_key for row in rows)


def test_a_unit_told_of_twice_at_once_is_merged(rt: Runtime) -> None:
    _store(rt, {"u": {**WHOLE, "status": "", "receivedAt": ""}})
    _store(rt, {"u": WHOLE})
    assert derive.returns(rt) == {"read": 2, "changed": 1}
    with rt.engine.connect() as connection:
        query = sa.select(t.unit_events.c.told).order_by(t.unit_events.c.id)
        events = [records.told_of(told) for told in connection.execute(query).scalars()]
        codes = connection.execute(sa.select(t.returns.c.express_code)).scalars().all()
    assert [[fact["kind"] for fact in told] for told in events] == [
        ["started", "inspected"],
        ["received"],
    ]
    assert codes == ["HRQ7TNDK"]


def test_a_payload_equal_to_the_last_one_of_its_unit_is_not_kept_again(rt: Runtime) -> None:
    for item in (WHOLE, {**WHOLE, "sku": "HAT"}, WHOLE, WHOLE):
        _store(rt, {"u": item})
    _store(rt, {"u": WHOLE}, capture.OUTBOUND)
    with rt.engine.connect() as connection:
        query = sa.select(t.raw_payloads.c.source).order_by(t.raw_payloads.c.id)
        kept = connection.execute(query).scalars().all()
    assert kept == [capture.RETURN] * 3 + [capture.OUTBOUND]
