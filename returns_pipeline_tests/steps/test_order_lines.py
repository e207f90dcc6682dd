"""The mirror's order lines follow their orders: lines removed, handed on, or not readable."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline import settings
from returns_pipeline.normalise import linnworks as lw
from returns_pipeline.steps import capture, derive, story
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import tables as t

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)


@pytest.fixture
def rt(database_url: str) -> Any:
    environ = {"RETURNS_DATABASE_URL": database_url, "RETURNS_NOW": NOW.isoformat()}
    with Runtime(settings.load(environ, vendors=False), run_id="test") as runtime:
        yield runtime


def _order(number: int, rows: dict[str, Any], *, day: int = 1) -> bytes:
    items = [
        {"RowId": row, "SKU": "TEE", "Quantity": quantity, "CostIncTax": 12, "Cost": 10}
        for row, quantity in rows.items()
    ]
    order = {
        "OrderId": f"order-{number}",
        "NumOrderId": number,
        "GeneralInfo": {"ReferenceNum": f"#{number}"},
        "TotalsInfo": {"TotalCharge": 24, "Currency": "GBP"},
        "Processed": True,
        "LastUpdated": f"2026-11-{day:02}T00:00:00Z",
        "Items": items,
    }
    return json.dumps(order).encode()


def _told(rt: Runtime, *orders: bytes) -> dict[str, str]:
    """Read the orders; every line there is then, and its order."""
    payloads = []
    for raw in orders:
        try:
            body, drift = lw.redact_order(raw), ""
        except lw.UnreadableOrder as error:
            body, drift = json.dumps({"OrderId": lw.order_id(raw)}).encode(), str(error)
        key, told = lw.order_id(raw), lw.content_hash(body)
        payloads.append(capture.Received(capture.ORDER_V2, key, told, NOW, body, drift))
    with rt.engine.begin() as connection:
        capture.store(connection, payloads, run_id="test")
    derive.orders(rt)
    with rt.engine.connect() as connection:
        lines = t.order_lines.c
        return dict(connection.execute(sa.select(lines.row_id, lines.order_id)).all())


def test_a_line_its_order_does_not_have_any_more_is_forgotten(rt: Runtime) -> None:
    _told(rt, _order(1, {"a": 1, "b": 1}))
    assert _told(rt, _order(1, {"a": 1}, day=2)) == {"a": "order-1"}


def test_an_order_told_without_lines_keeps_those_it_had(rt: Runtime) -> None:
    _told(rt, _order(1, {"a": 1}))
    assert _told(rt, _order(1, {}, day=2)) == {"a": "order-1"}


def test_a_line_that_was_handed_to_another_order_is_that_orders(rt: Runtime) -> None:
    told = _told(rt, _order(2, {"b": 1}, day=2), _order(1, {"a": 1, "b": 1}))
    assert told == {"a": "order-1", "b": "order-2"}


def test_a_matched_line_stays_whatever_its_order_says(rt: Runtime) -> None:
    _told(rt, _order(1, {"a": 1, "b": 1}))
    item = {"happyReturnsReturnID": "ret-1", "orderNumber": "#1", "sku": "TEE"}
    unit = capture._unit_payloads([json.dumps(item).encode()], capture.RETURN, rt, NOW)
    with rt.engine.begin() as connection:
        capture.store(connection, unit, run_id="test")
    derive.returns(rt)
    with rt.engine.begin() as connection:
        connection.execute(
            sa.insert(t.matches).values(
                unit_key=unit[0].key,
                outcome="matched",
                code="",
                reason="",
                rule="sku",
                order_id="order-1",
                row_id="b",
                unit_no=0,
                candidates="",
                since_at=NOW,
                decided_at=NOW,
            )
        )
    assert set(_told(rt, _order(1, {"a": 1}, day=2))) == {"a", "b"}


@pytest.mark.parametrize("quantity", [-1, 10**10])
def test_an_order_with_a_quantity_that_is_none_stops_no_other(rt: Runtime, quantity: int) -> None:
    told = _told(rt, _order(1, {"a": quantity}), _order(2, {"b": 1}))
    assert told == {"b": "order-2"}


@pytest.mark.parametrize("number", ["\u00b2", "9" * 30, "-1", "x"])
def test_what_is_no_line_of_a_batch_is_not_known(rt: Runtime, number: str) -> None:
    with rt.engine.begin() as connection:
        connection.execute(
            sa.insert(t.batches).values(
                batch_id="HRL-20261123-UKGBP-00",
                kind="primary",
                state="sealed",
                entity="UK",
                currency="GBP",
                business_date=NOW.date(),
                origin_date=NOW.date(),
                hash="",
                body="",
                totals="{}",
                policy_hash="",
                sealed_at=NOW,
                run_id="test",
            )
        )
    assert story.explain(rt.engine, f"HRL-20261123-UKGBP-00/{number}") is None
