"""One plausible row of every table, as its declaration would have it."""

from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.schemas import TABLES
from returns_pipeline.schemas.fields import Field, Kind
from returns_pipeline.storage import tables as t

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
DAY = date(2026, 3, 14)

_TEXTS = {
    "batch_id": "HRL-20260314-UKGBP-00",
    "entity": "UK",
    "role": "inventory",
    "precisions": "-------",
    "hash": "0" * 64,
    "payload_hash": "0" * 64,
    "currency": "GBP",
    "return_ids": "[]",
    "order_numbers": "[]",
    "unit_keys": "[]",
    "told": "[]",
    "body": "{}",
    "totals": "{}",
    "code": "",
}
_ROWS: dict[str, dict[str, Any]] = {
    "watermarks": {"at": NOON},
    "matches": {
        "outcome": "matched",
        "order_id": "order-1",
        "row_id": "row-1",
        "unit_no": 0,
    },
    "dispositions": {"location_id": "main", "effect": "restock"},
    "gates": {"is_cleared": True, "at": NOON},
    "stock_adjustments": {"state": "ready", "from_location_id": "", "role": ""},
    "refunds_due": {
        "goods_minor": 1999,
        "goods_vat_minor": 333,
        "shipping_minor": 300,
        "fee_minor": 100,
        "amount_minor": 2199,
        "tender": "refund",
        "executor": "linnworks",
    },
    "postings": {"amount_minor": 1999},
    "batch_lines": {"amount_minor": 1999},
    "batches": {"kind": "primary", "state": "sealed"},
    "period_locks": {"period": "2026-03"},
    "decisions": {"arguments": "{}"},
    "users": {"roles": "[]"},
    "exchange_orders": {"is_even": True, "unit_price_minor": 0},
    "exceptions": {"code": "ORPHAN_RETURN", "status": "open"},
    "return_items": {"stage": "started"},
    "intents": {"payload": {}, "state": "ready"},
}


def _value(name: str, field: Field) -> Any:
    if field.is_nullable:
        return None
    match field.kind:
        case Kind.TEXT:
            return _TEXTS.get(name) if name in _TEXTS else (field.one_of or (f"{name}-1",))[0]
        case Kind.INTEGER:
            return 1 if field.least is None else field.least
        case Kind.FLAG:
            return False
        case Kind.INSTANT:
            return NOON
        case Kind.DAY:
            return DAY


def row(table: str, **values: Any) -> dict[str, Any]:
    """A row as it would be inserted, without its number."""
    found = {name: _value(name, f) for name, f in TABLES[table].fields.items() if name != "id"}
    return found | _ROWS.get(table, {}) | values


def insert(connection: sa.Connection, table: str, **values: Any) -> None:
    """Insert a plausible row, and before it what it refers to."""
    made = row(table, **values)
    for key in t.metadata.tables[table].foreign_keys:
        parent, value = key.column.table, made[key.parent.name]
        if parent.name in {"orders", "batches", "decisions"}:
            found = connection.execute(sa.select(parent).where(key.column == value)).first()
            if found is None:
                insert(connection, parent.name, **{key.column.name: value})
    connection.execute(sa.insert(t.metadata.tables[table]).values(**made))
