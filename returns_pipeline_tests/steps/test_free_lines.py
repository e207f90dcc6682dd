"""A unit that cost nothing is settled although no batch has a line for it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import sqlalchemy as sa

from returns_pipeline import settings
from returns_pipeline.steps import capture, decide, derive, money
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import tables as t

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
ORDER = {
    "OrderId": "order-1",
    "NumOrderId": 1,
    "GeneralInfo": {"ReferenceNum": "#1"},
    "TotalsInfo": {"TotalCharge": 0, "Currency": "GBP"},
    "Processed": True,
    "ProcessedOn": "2026-11-01T00:00:00Z",
    "LastUpdated": "2026-11-01T00:00:00Z",
    "Items": [{"RowId": "a", "SKU": "GIFT", "Quantity": 1, "CostIncTax": 0, "Cost": 0}],
}
ITEM = {
    "happyReturnsReturnID": "ret-1",
    "orderNumber": "#1",
    "sku": "GIFT",
    "returnless": True,
    "status": "approved",
    "startedAt": "2026-11-20T10:00:00Z",
    "approvedAt": "2026-11-20T10:00:00Z",
    "refundType": "refund",
    "refundAmount": "0.00",
    "currency": "GBP",
}


def test_a_refund_of_nothing_is_recorded_and_waits_for_no_batch(database_url: str) -> None:
    environ = {"RETURNS_DATABASE_URL": database_url, "RETURNS_NOW": NOW.isoformat()}
    with Runtime(settings.load(environ, vendors=False), run_id="test") as rt:
        raw = json.dumps(ORDER).encode()
        units = capture._unit_payloads([json.dumps(ITEM).encode()], capture.RETURN, rt, NOW)
        with rt.engine.begin() as connection:
            order = capture._order_payload(raw, capture.ORDER_V2, NOW)
            capture.store(connection, [order, *units], run_id="test")
        for step in (derive.orders, derive.returns, decide.matches, decide.refunds):
            step(rt)
        money.postings(rt)
        with rt.engine.connect() as connection:
            due = t.refunds_due.c
            query = sa.select(due.amount_minor, due.state, due.is_ledgered)
            assert connection.execute(query).all() == [(0, "recorded", True)]
