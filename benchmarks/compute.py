"""From kept payloads to computed stock adjustments: units a second, no vendor involved.

``python -m benchmarks.compute DATABASE_URL UNITS``
"""

from __future__ import annotations

import json
import sys
from datetime import datetime

import sqlalchemy as sa

from benchmarks.process import Phases
from benchmarks.runtime import runtime
from returns_pipeline.normalise.happy_returns import content_hash
from returns_pipeline.sandbox import catalogue
from returns_pipeline.steps import capture, decide, derive
from returns_pipeline.steps.capture import Received
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import chunks, upsert


def _received(source: str, key: str, document: object, now: datetime) -> Received:
    body = json.dumps(document).encode()
    return Received(source, key, content_hash(body), now, body)


def _order(number: int) -> dict[str, object]:
    order_id = f"0d000000-0000-4000-8000-{number:012x}"
    return {
        "OrderId": order_id,
        "NumOrderId": number + 1,
        "Processed": True,
        "ProcessedOn": "2026-09-14T09:00:00Z",
        "LastUpdated": "2026-09-14T09:00:00Z",
        "GeneralInfo": {"ReferenceNum": f"#{number}", "Source": "SHOPIFY", "SubSource": "shop"},
        "TotalsInfo": {"TotalCharge": 48.0, "PostageCost": 0, "Currency": "GBP"},
        "Items": [
            {
                "RowId": f"11000000-0000-4000-8000-{number:012x}",
                "StockItemId": f"22000000-0000-4000-8000-{number % 400:012x}",
                "ItemNumber": f"{number}",
                "SKU": f"SKU-{number % 400}",
                "Quantity": 2,
                "CostIncTax": 48.0,
                "Cost": 40.0,
                "TaxRate": 20.0,
            }
        ],
    }


def _unit(number: int) -> dict[str, object]:
    order = number // 2  # two units an order, both of its one line
    return {
        "happyReturnsItemID": f"5f1e6f7c-2f0b-4a3c-8f53-{number:012x}",
        "happyReturnsReturnID": f"ret-{order}",
        "orderNumber": f"#{order}",
        "orderLineItemID": f"{order}-{number % 2}-2",
        "sku": f"SKU-{order % 400}",
        "startedAt": "2026-09-25T10:00:00Z",
        "approvedAt": "2026-09-26T10:00:00Z",
        "receivedAt": "2026-10-01T10:00:00Z",
        "updatedAt": "2026-10-01T11:00:00Z",
        "status": "received",
        "disposition": "saleable",
        "refundType": "refund",
        "refundAmount": "24.00",
        "currency": "GBP",
        "dropoffMethod": "return-bar",
    }


def _prepare(rt: Runtime, units: int) -> None:
    now = rt.now()
    with rt.engine.begin() as connection:
        columns = ("location_id", "name", "is_warehouse_managed", "is_present", "seen_at")
        places = [(one.id, one.name, False, True, now) for one in catalogue.locations()]
        upsert(connection, t.vendor_locations, columns, places, key=("location_id",))
        for source, key, one, count in (
            (capture.ORDER_V2, "OrderId", _order, units // 2),
            (capture.RETURN, "happyReturnsItemID", _unit, units),
        ):
            for numbers in chunks(range(count), 5_000):  # its memory is not what is measured
                told = [one(number) for number in numbers]
                payloads = [_received(source, str(each[key]), each, now) for each in told]
                capture.store(connection, payloads, run_id="bench")
    derive.orders(rt)


def main(database_url: str, units: int) -> None:
    phases = Phases()
    with runtime(database_url) as rt:
        _prepare(rt, units)
        for name, step in (
            ("returns", derive.returns),
            ("receipts", derive.receipts),
            ("matches", decide.matches),
            ("dispositions", decide.dispositions),
            ("adjustments", decide.adjustments),
        ):
            with phases.phase(name):
                step(rt)
        with rt.engine.connect() as connection:
            computed = connection.execute(
                sa.select(sa.func.count()).select_from(t.stock_adjustments)
            ).scalar_one()
        phases.report(computed=computed)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
