"""What finance costs: closing a day of 10,000 refunds, a month's backfill, verifying it.

``python -m benchmarks.finance DATABASE_URL REFUNDS_A_DAY DAYS [MANY]`` makes a month of March
2026 from payloads (three currencies, the clocks going forward on the 29th, the end of the
month), closes every day, corrects one batch, verifies what was sealed and closes again. With
``MANY`` each day is closed by a run of its own; the bytes are the same, and reported as one
hash.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from benchmarks.process import Phases
from returns_pipeline import settings
from returns_pipeline.steps import (
    batching,
    capture,
    corrections,
    decide,
    derive,
    money,
    verification,
)
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t

FIRST = date(2026, 3, 1)
_PLACES = ("HR Restock", "HR B-Stock", "HR Damaged", "HR Quarantine", "HR Refurb", "HR Vendor")
_CONDITIONS = ("saleable", "saleable", "saleable", "damaged", "tag-missing", "open-box", "dispose")
_CURRENCIES = ("GBP",) * 8 + ("EUR", "USD")
_RATES = {"GBP": 1.0, "EUR": 0.8612, "USD": 0.7704}
_STEPS = (
    derive.orders,
    derive.returns,
    derive.receipts,
    decide.matches,
    decide.dispositions,
    decide.adjustments,
    decide.refunds,
)


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def currency(number: int) -> str:
    """The currency of the order with this number."""
    return _CURRENCIES[number % 10]


def order(number: int) -> dict[str, Any]:
    """An order of one or three units; one in thirty is zero-rated."""
    rate = 0 if number % 30 == 7 else 20
    quantity = 3 if number % 11 == 3 else 1
    gross = round((10 + number % 90 + (number % 100) / 100) * quantity, 2)
    return {
        "OrderId": f"order-{number:08d}",
        "NumOrderId": number,
        "Processed": True,
        "ProcessedOn": "2026-02-20T00:00:00Z",
        "LastUpdated": "2026-02-20T00:00:00Z",
        "GeneralInfo": {"ReferenceNum": f"#{number}", "Source": "SHOPIFY"},
        "TotalsInfo": {
            "TotalCharge": gross + 4.95,
            "PostageCost": 4.95,
            "PostageCostExTax": 4.12,
            "PaymentMethod": "PayPal" if number % 5 == 0 else "Shopify Payments",
            "Currency": currency(number),
            "ConversionRate": _RATES[currency(number)],
        },
        "Items": [
            {
                "RowId": f"row-{number:08d}",
                "SKU": f"SKU-{number % 400}",
                "Quantity": quantity,
                "CostIncTax": gross,
                "Cost": round(gross / (1 + rate / 100), 2),
                "TaxRate": rate,
                "DespatchStockUnitCost": round(gross / quantity / 3, 2),
            }
        ],
    }


def unit(number: int, at: datetime) -> dict[str, Any]:
    """A unit of the order with this number, received at this instant."""
    told = {
        "happyReturnsItemID": f"unit-{number:08d}",
        "happyReturnsReturnID": f"ret-{number:08d}",
        "orderNumber": f"#{number}",
        "sku": f"SKU-{number % 400}",
        "dropoffMethod": "mail",
        "status": "received",
        "startedAt": _stamp(at - timedelta(days=5)),
        "droppedOffAt": _stamp(at - timedelta(days=4)),
        "receivedAt": _stamp(at),
        "disposition": _CONDITIONS[number % len(_CONDITIONS)],
        "refundType": "store-credit" if number % 20 == 9 else "refund",
        "updatedAt": _stamp(at),
    }
    if number % 13 == 0:
        told["returnFee"] = f"3.00 {currency(number)}"
    if number % 17 == 0:
        told["shippingRefundAmount"] = "4.95"
    return told


@contextmanager
def _run(database_url: str, now: datetime) -> Iterator[Runtime]:
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as policy:
        policy.write("[refunds]\nmax_batch_minor = 1000000000\n")  # no day is too large here
        policy.flush()
        found = settings.load(
            {
                "RETURNS_DATABASE_URL": database_url,
                "RETURNS_NOW": now.isoformat(),
                "RETURNS_POLICY": policy.name,
            },
            vendors=False,
        )
    with Runtime(found, run_id=f"{now:%Y%m%dT%H%M%S}") as rt:
        yield rt


def make_month(database_url: str, refunds_a_day: int, days: int, phases: Phases) -> None:
    """Read, derive, decide, post and enter every return of the month, day by day."""
    for day in range(days):
        on = FIRST + timedelta(days=day)
        # Through the whole of the merchant's day, its first and last minutes among them.
        midnight = datetime(on.year, on.month, on.day, tzinfo=UTC)
        evening = midnight + timedelta(hours=22, minutes=30)
        numbers = range(day * refunds_a_day, (day + 1) * refunds_a_day)
        spread = timedelta(hours=22) / max(1, refunds_a_day)
        with _run(database_url, evening) as rt:
            with phases.phase("read and derive"):
                raws = [
                    json.dumps(unit(n, midnight + (n - numbers.start) * spread)).encode()
                    for n in numbers
                ]
                told = capture._unit_payloads(raws, capture.RETURN, rt, evening)
                orders = [
                    capture._order_payload(json.dumps(order(n)).encode(), capture.ORDER_V2, evening)
                    for n in numbers
                ]
                with rt.engine.begin() as connection:
                    if not day:
                        _locations(connection, evening)
                    capture.store(connection, [*orders, *told], run_id=rt.run_id)
            for step in _STEPS:
                with phases.phase("decide"):
                    step(rt)
            with rt.engine.begin() as connection:
                moved = t.stock_adjustments.c
                connection.execute(
                    sa.update(t.stock_adjustments)
                    .where(t.among(moved.state, t.UNPOSTED_ADJUSTMENT), moved.state == "ready")
                    .values(state="posted", posted_at=evening)
                )
                connection.execute(sa.update(t.return_items).values(is_open=False))
            with phases.phase("enter in the ledger"):
                money.postings(rt)
    _read_until(database_url, FIRST + timedelta(days=days + 1))


def _locations(connection: sa.Connection, now: datetime) -> None:
    connection.execute(
        sa.insert(t.vendor_locations),
        [
            {
                "location_id": f"loc-{number}",
                "name": name,
                "is_warehouse_managed": False,
                "is_present": True,
                "seen_at": now,
            }
            for number, name in enumerate(_PLACES)
        ],
    )


def _read_until(database_url: str, day: date) -> None:
    at = datetime(day.year, day.month, day.day, 3, tzinfo=UTC)
    with _run(database_url, at) as rt, rt.engine.begin() as connection:
        for name in batching.SOURCES:
            records.move_watermark(connection, name, now=at, at=at)


def close_month(database_url: str, days: int, phases: Phases, *, many: bool) -> None:
    """Close every day, in one run or in a run each."""
    now = datetime(2026, 4, 2, 7, tzinfo=UTC)
    each = [FIRST + timedelta(days=n) for n in range(days)]
    if many:
        for number, day in enumerate(each):
            with _run(database_url, now + timedelta(minutes=number)) as rt:
                _close(rt, day, phases)
        return
    with _run(database_url, now) as rt:
        for day in each:
            _close(rt, day, phases)


def _close(rt: Runtime, day: date, phases: Phases) -> None:
    with phases.phase("close"):
        money.seal(rt, day)
    due = t.refunds_due.c
    with rt.engine.begin() as connection:
        ids = batching.of_day(connection, day)
        connection.execute(
            sa.update(t.refunds_due)
            .where(due.state == "batched", due.batch_id.in_(ids))
            .values(state="actioned", settled_at=rt.now())
        )


def sealed_bytes(engine: sa.Engine) -> str:
    """One hash over every sealed byte, in the order of the batches' ids."""
    query = sa.select(t.batches.c.body).order_by(t.batches.c.batch_id)
    with engine.connect() as connection:
        whole = "\n".join(connection.execute(query).scalars())
    return hashlib.sha256(whole.encode()).hexdigest()


def main(database_url: str, refunds_a_day: int, days: int, *, many: bool) -> None:
    """Make the month, close it, correct it, verify it, close it again."""
    phases = Phases()
    make_month(database_url, refunds_a_day, days, phases)
    close_month(database_url, days, phases, many=many)
    with _run(database_url, datetime(2026, 4, 3, 7, tzinfo=UTC)) as rt:
        sealed = sealed_bytes(rt.engine)
        with phases.phase("close again"):
            for number in range(days):
                money.seal(rt, FIRST + timedelta(days=number))
        if sealed_bytes(rt.engine) != sealed:
            sys.exit("closing again changed sealed bytes")
        ids = [row["batch_id"] for row in batching.register(rt.engine)]
        with phases.phase("verify"):
            verdicts = [verification.verify(rt.engine, batch_id) for batch_id in ids]
        wrong = [one for one in verdicts if not one.holds]
        if wrong:
            sys.exit(f"{wrong[0].batch_id}: {'; '.join(wrong[0].differences)}")
        with phases.phase("reverse and replace"):
            corrections.reverse(rt, ids[0], reason="a measurement")
    phases.report(refunds=refunds_a_day * days, batches=len(ids), sealed=sealed)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), many=len(sys.argv) > 4)
