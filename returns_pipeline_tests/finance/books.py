"""A merchant whose payloads are told to the pipeline directly, without a vendor to ask.

The steps are the pipeline's own, from the kept payload to the sealed batch; what Linnworks
would do (post stock, send money) is entered as its answer would be. So a month of finance
costs seconds, and every sealed batch can be made again from its payloads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from returns_pipeline import settings
from returns_pipeline.steps import batching, capture, decide, derive, money
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect

DROP_OFF_PAYS = '[gate.refund_by_dropoff]\nreturn-bar = "dropped_off"\n'
DERIVE = (derive.orders, derive.returns, derive.receipts)
DECIDE = (decide.matches, decide.dispositions, decide.adjustments, decide.exchanges, decide.refunds)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def line(key: str, gross: str, *, rate: str = "20", cost: str | None = "10.00", **more: Any) -> Any:
    """A line of an order, as Linnworks tells it; its net follows from the rate."""
    net = float(gross) / (1 + float(rate) / 100)
    told = {
        "RowId": f"row-{key}",
        "SKU": f"SKU-{key}",
        "Quantity": 1,
        "CostIncTax": float(gross),
        "Cost": round(net, 2),
        "TaxRate": float(rate),
    }
    if cost is not None:
        told["DespatchStockUnitCost"] = float(cost)
    return {**told, **more}


def order(key: str, *lines: Any, postage: str = "0", **totals: Any) -> dict[str, Any]:
    """A despatched order."""
    total = sum(one["CostIncTax"] for one in lines) + float(postage)
    source = totals.pop("Source", "SHOPIFY")
    return {
        "OrderId": f"order-{key}",
        "NumOrderId": 1,
        "Processed": True,
        "ProcessedOn": "2026-03-01T00:00:00Z",
        "LastUpdated": "2026-03-01T00:00:00Z",
        "GeneralInfo": {"ReferenceNum": f"#{key}", "Source": source},
        "TotalsInfo": {
            "TotalCharge": total,
            "PostageCost": float(postage),
            "PostageCostExTax": round(float(postage) / 1.2, 2),
            "PaymentMethod": "Shopify Payments",
            "Currency": "GBP",
            **totals,
        },
        "Items": list(lines),
    }


def back(key: str, when: datetime, condition: str = "saleable", **more: Any) -> dict[str, Any]:
    """A unit that the warehouse has received and inspected."""
    told = {
        "happyReturnsItemID": f"unit-{key}",
        "happyReturnsReturnID": f"ret-{key}",
        "orderNumber": f"#{key}",
        "sku": f"SKU-{key}",
        "dropoffMethod": "mail",
        "status": "received",
        "startedAt": "2026-03-08T09:00:00Z",
        "droppedOffAt": "2026-03-09T09:00:00Z",
        "receivedAt": stamp(when),
        "disposition": condition,
        "refundType": "refund",
        "currency": "GBP",
        "updatedAt": stamp(when),
    }
    return {name: value for name, value in {**told, **more}.items() if value is not None}


def kept(key: str, when: datetime, **more: Any) -> dict[str, Any]:
    """A unit that the shopper keeps, approved."""
    nothing = {"receivedAt": None, "disposition": None, "droppedOffAt": None}
    return back(
        key,
        when,
        **{"returnless": True, "status": "approved", "approvedAt": stamp(when), **nothing, **more},
    )


class Books:
    """The pipeline over a database, at instants of the caller's choosing."""

    def __init__(self, url: str, folder: Path, policy: str = "") -> None:
        self.url = url
        self.file = folder / "policy.toml"
        self.file.write_text(policy)

    @contextmanager
    def run(self, now: datetime) -> Iterator[Runtime]:
        environ = {
            "RETURNS_DATABASE_URL": self.url,
            "RETURNS_NOW": now.isoformat(),
            "RETURNS_POLICY": str(self.file),
        }
        with Runtime(settings.load(environ, vendors=False), run_id=f"{now:%Y%m%dT%H%M%S}") as rt:
            yield rt

    def tell(
        self, now: datetime, orders: Iterable[Any] = (), units: Iterable[Any] = ()
    ) -> dict[str, int]:
        """One poll: what is new is kept, worked on, posted to stock and entered."""
        with self.run(now) as rt:
            raws = [json.dumps(one).encode() for one in units]
            told = capture._unit_payloads(raws, capture.RETURN, rt, now)
            found = [
                capture._order_payload(json.dumps(one).encode(), capture.ORDER_V2, now)
                for one in orders
            ]
            with rt.engine.begin() as connection:
                if connection.execute(sa.select(t.vendor_locations)).first() is None:
                    _locations(connection, now)
                capture.store(connection, [*found, *told], run_id=rt.run_id)
                for name in batching.SOURCES:
                    records.move_watermark(connection, name, now=now, at=now)
            for step in (*DERIVE, *DECIDE):
                step(rt)
            with rt.engine.begin() as connection:
                moved = t.stock_adjustments.c
                connection.execute(
                    sa.update(t.stock_adjustments)
                    .where(t.among(moved.state, t.UNPOSTED_ADJUSTMENT), moved.state == "ready")
                    .values(state="posted", posted_at=now)
                )
            return money.postings(rt)

    def close(self, day: date, now: datetime) -> money.CloseResult:
        """Close a day: sealed, its refunds sent, its journal written."""
        with self.run(now) as rt:
            result = money.seal(rt, day)
            with rt.engine.connect() as connection:
                ids = batching.of_day(connection, day)
            self.finish(rt, now, *ids)
            money.mark_posted(rt)
            return result

    def finish(self, rt: Runtime, now: datetime, *ids: str) -> None:
        """What Linnworks and the export would do for these batches."""
        self.send(rt, *ids)
        with rt.engine.begin() as connection:
            sealed = [one for one in ids if batching.header(connection, one).state == "sealed"]
            batching.move(connection, sealed, "exported", now=now, run_id=rt.run_id)

    def send(self, rt: Runtime, *ids: str) -> None:
        """What Linnworks would do: the refunds of these batches are sent."""
        due = t.refunds_due.c
        with rt.engine.begin() as connection:
            connection.execute(
                sa.update(t.refunds_due)
                .where(t.among(due.state, t.UNPAID_REFUND), due.state == "batched")
                .where(due.batch_id.in_(ids))
                .values(state="actioned", settled_at=rt.now())
            )

    def rows(self, query: sa.Select[Any]) -> list[Any]:
        engine = connect(self.url)
        try:
            with engine.connect() as connection:
                return list(connection.execute(query))
        finally:
            engine.dispose()

    def batches(self) -> dict[str, Any]:
        """Every batch by its id."""
        query = sa.select(t.batches).order_by(t.batches.c.batch_id)
        return {row.batch_id: row for row in self.rows(query)}

    def lines(self, batch_id: str) -> list[Any]:
        query = sa.select(t.batch_lines).where(t.batch_lines.c.batch_id == batch_id)
        return self.rows(query.order_by(t.batch_lines.c.number))

    def printed(self, batch_id: str) -> list[tuple[str, str, int, int, set[str]]]:
        """A batch as the specification prints it: account, tax, debit, credit, from."""
        found = []
        for row in self.lines(batch_id):
            debit, credit = row.amount_minor, 0
            if row.side == "credit":
                debit, credit = credit, debit
            units = {key.removeprefix("unit-").rstrip("ab") for key in json.loads(row.unit_keys)}
            found.append((row.account, row.tax_key, debit, credit, units))
        return found

    def balances(self) -> dict[tuple[str, str], int]:
        """Debit less credit by role and currency over every sealed posting."""
        entry = t.postings.c
        signed = sa.case((entry.side == "debit", entry.amount_minor), else_=-entry.amount_minor)
        query = (
            sa.select(entry.role, entry.currency, sa.func.sum(signed))
            .where(entry.batch_id.is_not(None))
            .group_by(entry.role, entry.currency)
        )
        return {(role, currency): int(total) for role, currency, total in self.rows(query)}


def _locations(connection: sa.Connection, now: datetime) -> None:
    names = ("HR Restock", "HR B-Stock", "HR Damaged", "HR Quarantine", "HR Refurb", "HR Vendor")
    for number, name in enumerate(names):
        connection.execute(
            sa.insert(t.vendor_locations).values(
                location_id=f"loc-{number}",
                name=name,
                is_warehouse_managed=False,
                is_present=True,
                seen_at=now,
            )
        )


# --- the worked example of the finance specification, section 5 ---------------------

NOON = at("2026-03-14T12:00:00")
SHIPPED = {"droppedOffAt": "2026-03-09T09:00:00Z"}
_BAR = {
    "dropoffMethod": "return-bar",
    "status": "dropped-off",
    "receivedAt": None,
    "disposition": None,
}


def example_orders() -> list[dict[str, Any]]:
    """What was sold to R1 to R10."""
    return [
        order("R1", line("R1", "60.00", cost="18.00")),
        order("R2", line("R2", "59.97", cost="6.00", Quantity=3, Cost=49.97)),
        order("R3", line("R3", "30.00", cost="9.00")),
        order("R4", line("R4", "45.00", cost="14.00")),
        order("R5", line("R5", "24.00", cost=None), postage="4.95"),
        order("R6", line("R6", "50.00", cost="12.00")),
        order("R7", line("R7", "50.00", cost="15.00")),
        order("R8", line("R8", "36.00", cost="11.00")),
        order("R9", line("R9", "25.00", cost="8.00")),
        order("R10", line("R10", "14.00", rate="0", cost="4.00"), PaymentMethod="PayPal"),
    ]


def dropped(key: str, when: datetime) -> dict[str, Any]:
    """A unit that was handed over at a return bar, and paid there."""
    return back(key, when, **{**_BAR, "droppedOffAt": stamp(when)})


def example_units() -> list[dict[str, Any]]:
    """What happened on 14 March."""
    two = {"happyReturnsReturnID": "ret-R2", "orderNumber": "#R2", "sku": "SKU-R2"}
    even = {"refundType": "exchange", "exchangeSKU": "SKU-R6-L", "exchangeQuantity": 1}
    uneven = {"refundType": "exchange", "exchangeSKU": "SKU-R7-XL", "exchangeQuantity": 1}
    return [
        back("R1", NOON),
        back("R2a", NOON, **two),
        back("R2b", NOON, "damaged", **two),
        back("R3", NOON, "tag-missing", returnFee="3.00 GBP"),
        back("R4", NOON, refundType="store-credit"),
        kept("R5", NOON, shippingRefundAmount="4.95"),
        back("R6", NOON, exchangeUnitPrice="50.00", **even),
        back("R7", NOON, exchangeUnitPrice="65.00", **uneven),
        dropped("R8", NOON),
        back("R9", NOON, dropoffMethod="return-bar", droppedOffAt="2026-03-11T10:00:00Z"),
        back("R10", NOON, "dispose"),
    ]


def live_through_the_example(books: Books) -> None:
    """R9 is paid on 11 March; 14 March comes and is closed."""
    books.tell(
        at("2026-03-11T18:00:00"), example_orders(), [dropped("R9", at("2026-03-11T10:00:00"))]
    )
    books.tell(at("2026-03-12T03:00:00"))
    books.close(date(2026, 3, 11), at("2026-03-12T07:00:00"))
    books.tell(at("2026-03-14T18:00:00"), (), example_units())
    books.tell(at("2026-03-15T03:00:00"))
    books.close(date(2026, 3, 14), at("2026-03-15T07:00:00"))
