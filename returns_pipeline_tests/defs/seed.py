"""Rows straight into the tables: each test names only what it is about."""

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain import consolidation
from returns_pipeline.domain.model import Posting
from returns_pipeline.steps import batching
from returns_pipeline.storage import guards
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.types import Instant

T0 = datetime(2026, 3, 16, 9, 0, tzinfo=UTC)
_NUMBERS = count(1)


def ago(**span: float) -> datetime:
    return T0 - timedelta(**span)


def insert(connection: sa.Connection, table: sa.Table, **values: Any) -> dict[str, Any]:
    """One row, with something harmless in every column that must have something."""
    row = dict(values)
    for column in table.columns:
        needed = not column.nullable and column.server_default is None
        if column.name not in row and column.name != "id" and needed:
            row[column.name] = _harmless(column)
    connection.execute(sa.insert(table).values(**row))
    return row


def _harmless(column: sa.Column[Any]) -> Any:
    if column.unique or column.primary_key:
        return f"{column.name}-{next(_NUMBERS)}"
    if isinstance(column.type, Instant):
        return T0
    if isinstance(column.type, sa.Boolean):
        return False
    if isinstance(column.type, sa.Integer):
        return 0
    if isinstance(column.type, sa.Date):
        return T0.date()
    if isinstance(column.type, sa.JSON):
        return {}
    return _FILLED.get(column.name, "")


_FILLED = {"currency": "GBP", "entity": "UK", "policy_hash": "policy", "payload_hash": "payload"}
_FACTS = ("started", "dropped_off", "approved", "departed", "received", "expired", "cancelled")


def unit(connection: sa.Connection, key: str = "u1", **values: Any) -> None:
    """An open unit that the warehouse has received."""
    row = {
        "unit_key": key,
        "return_id": f"ret-{key}",
        "order_number": "#1001",
        "order_key": "1001",
        "sku": "SHIRT-M",
        "stage": "received",
        "received_at": ago(hours=2),
        "is_open": True,
        "refund_type": "refund",
        **values,
    }
    row["precisions"] = "".join("e" if row.get(f"{fact}_at") else "-" for fact in _FACTS)
    insert(connection, t.return_items, **row)


def order(connection: sa.Connection, order_id: str = "o1", **values: Any) -> None:
    insert(connection, t.orders, order_id=order_id, **values)


def line(connection: sa.Connection, row_id: str = "r1", **values: Any) -> None:
    row = {"order_id": "o1", "quantity": 1, "total_minor": 6000, "sku": "SHIRT-M"}
    insert(connection, t.order_lines, row_id=row_id, **{**row, **values})


def match(connection: sa.Connection, key: str = "u1", **values: Any) -> None:
    row = {"outcome": "matched", "order_id": "o1", "row_id": "r1", "unit_no": 1}
    insert(connection, t.matches, unit_key=key, **{**row, **values})


def orphan(connection: sa.Connection, key: str = "u1", **values: Any) -> None:
    row = {"outcome": "orphan", "code": "ORPHAN_RETURN", "since_at": ago(hours=1)}
    insert(connection, t.matches, unit_key=key, **{**row, **values})


def adjustment(connection: sa.Connection, key: str = "u1", **values: Any) -> None:
    row = {
        "kind": "restock",
        "order_id": "o1",
        "row_id": "r1",
        "location_id": "loc-0",
        "quantity": 1,
        "is_sellable": True,
        "state": "ready",
    }
    row.update(values)
    if row["state"] == "posted":
        row.setdefault("posted_at", ago(hours=1))
    insert(connection, t.stock_adjustments, unit_key=key, **row)


def refund(connection: sa.Connection, key: str = "u1", **values: Any) -> None:
    row = {
        "order_id": "o1",
        "row_id": "r1",
        "goods_minor": 6000,
        "amount_minor": 6000,
        "tender": "refund",
        "executor": "linnworks",
        "effective_at": ago(hours=1),
        "business_date": T0.date(),
        "state": "due",
    }
    insert(connection, t.refunds_due, unit_key=key, **{**row, **values})


def exchange(connection: sa.Connection, key: str = "u1", **values: Any) -> None:
    row = {
        "order_id": "o1",
        "reference": "1001-EX-1",
        "sku": "SHIRT-L",
        "quantity": 1,
        "is_even": True,
        "unit_price_minor": 0,
        "state": "created",
        "created_order_at": ago(hours=1),
    }
    insert(connection, t.exchange_orders, unit_key=key, **{**row, **values})


def disposition(connection: sa.Connection, key: str = "u1", **values: Any) -> None:
    row = {"sequence": 0, "disposition": "SELLABLE", "effect": "restock"}
    insert(connection, t.dispositions, unit_key=key, **{**row, **values})


def intent(connection: sa.Connection, **values: Any) -> str:
    row = {"kind": "rma_booking", "state": "ready", "reference": "HR-1001"}
    return str(insert(connection, t.intents, **{**row, **values})["intent_key"])


def posting(connection: sa.Connection, side: str, amount: int, **values: Any) -> None:
    row = {
        "unit_key": "u1",
        "role": "sales_returns" if side == "debit" else "refund_clearing",
        "account": "4100" if side == "debit" else "1260",
        "business_date": date(2026, 3, 14),
        "occurred_at": datetime(2026, 3, 14, 12, tzinfo=UTC),
    }
    insert(connection, t.postings, side=side, amount_minor=amount, **{**row, **values})


def batch(connection: sa.Connection, day: date = date(2026, 3, 14)) -> consolidation.Batch:
    """A sealed batch of one refund of 60.00 with the postings behind it."""
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    entered = [
        Posting(f"p-{day}-d", "u1", "sales_returns", "4100", "20", "debit", 6000, "GBP", at),
        Posting(f"p-{day}-c", "u1", "refund_clearing", "1260", "", "credit", 6000, "GBP", at),
    ]
    made = consolidation.consolidate(
        entered,
        business_date=day,
        origin_date=day,
        entity="UK",
        currency="GBP",
        number="00",
        kind="primary",
        policy_hash="p",
    )
    insert(
        connection,
        t.batches,
        batch_id=made.id,
        kind="primary",
        state="sealed",
        business_date=day,
        origin_date=day,
        hash=hashlib.sha256(consolidation.canonical_bytes(made)).hexdigest(),
        body=consolidation.canonical_bytes(made).decode(),
        totals=json.dumps(made.totals),
    )
    for one in made.lines:
        insert(
            connection,
            t.batch_lines,
            batch_id=made.id,
            number=one.number,
            role=one.role,
            account=one.account,
            tax_key=one.tax_key,
            side=one.side,
            amount_minor=one.amount_minor,
            unit_keys=json.dumps(one.unit_keys),
        )
        posting(
            connection,
            one.side,
            one.amount_minor,
            role=one.role,
            account=one.account,
            business_date=day,
            batch_id=made.id,
            line_number=one.number,
        )
    return made


def unguarded(connection: sa.Connection) -> None:
    """Take the triggers away, as somebody with the database in hand could."""
    for statement in guards.without(connection.dialect.name):
        connection.exec_driver_sql(statement)


def read_until(connection: sa.Connection, at: datetime) -> None:
    """Both vendors were read until an instant."""
    for name in batching.SOURCES:
        insert(connection, t.watermarks, name=name, at=at)


def places(connection: sa.Connection, *names: str) -> None:
    for number, name in enumerate(names):
        insert(
            connection,
            t.vendor_locations,
            location_id=f"loc-{number}",
            name=name,
            is_present=True,
        )


def message(connection: sa.Connection, **values: Any) -> None:
    """A message to people that waits to be sent."""
    row = {
        "channel": "slack",
        "owner": "Finance",
        "severity": "S2",
        "state": "queued",
        "message_key": f"alert-{next(_NUMBERS)}",
    }
    insert(connection, t.alert_messages, **{**row, **values})


def exported(connection: sa.Connection) -> None:
    """A sealed batch whose generic files were written."""
    made = batch(connection)
    insert(connection, t.batch_exports, batch_id=made.id, target="generic")
