"""Reading for people: the account of what happened, the queue, one thing's whole story.

Everything here only reads. The shapes of the JSON are those of the interface
specification; tables and colours are ``cli``'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain import exceptions as rules
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading

_OPEN = ("open", "ack", "snoozed")


def account(engine: sa.Engine) -> dict[str, Any]:
    """What was received, restocked, held, refunded and what waits for whom."""
    with reading(engine) as connection:
        items, moved, due = t.return_items.c, t.stock_adjustments.c, t.refunds_due.c
        names = records.location_names(connection)

        def rows(query: sa.Select[Any]) -> list[dict[str, Any]]:
            return [dict(row._mapping) for row in connection.execute(query)]

        count = sa.func.count()
        restocked = rows(
            sa.select(
                moved.location_id,
                moved.is_sellable,
                moved.scrap_quantity.label("scrapped"),
                count.label("units"),
            )
            .where(moved.state == "posted")
            .group_by(moved.location_id, moved.is_sellable, moved.scrap_quantity)
            .order_by(sa.desc("units"))
        )
        for row in restocked:
            row["location"] = names.get(row["location_id"], row["location_id"])
        return {
            "stages": rows(
                sa.select(items.stage, count.label("units"))
                .group_by(items.stage)
                .order_by(sa.desc("units"))
            ),
            "received": connection.execute(
                sa.select(count).where(items.received_at.is_not(None))
            ).scalar_one(),
            "restocked": restocked,
            "waiting": rows(
                sa.select(moved.state, count.label("units"))
                .where(moved.state != "posted")
                .group_by(moved.state)
            ),
            "held": rows(
                sa.select(t.gates.c.gate, t.gates.c.code, count.label("units"))
                .join_from(t.gates, t.return_items, t.gates.c.unit_key == items.unit_key)
                .where(~t.gates.c.is_cleared, items.is_open)
                .group_by(t.gates.c.gate, t.gates.c.code)
                .order_by(t.gates.c.gate, sa.desc("units"))
            ),
            "unmatched": rows(
                sa.select(t.matches.c.outcome, t.matches.c.code, count.label("units"))
                .where(t.matches.c.outcome != "matched")
                .group_by(t.matches.c.outcome, t.matches.c.code)
                .order_by(t.matches.c.outcome, t.matches.c.code)
            ),
            "refunds": rows(
                sa.select(
                    due.state,
                    due.tender,
                    due.currency,
                    count.label("units"),
                    sa.func.sum(due.amount_minor).label("amount_minor"),
                )
                .group_by(due.state, due.tender, due.currency)
                .order_by(due.state, due.tender, due.currency)
            ),
            "exchanges": rows(
                sa.select(
                    t.exchange_orders.c.state, t.exchange_orders.c.is_even, count.label("orders")
                ).group_by(t.exchange_orders.c.state, t.exchange_orders.c.is_even)
            ),
            "batches": rows(
                sa.select(
                    t.batches.c.batch_id,
                    t.batches.c.state,
                    t.batches.c.currency,
                    t.batches.c.totals,
                ).order_by(t.batches.c.business_date, t.batches.c.batch_id)
            ),
            "exceptions": rows(
                sa.select(
                    t.exceptions.c.owner,
                    t.exceptions.c.code,
                    t.exceptions.c.severity,
                    count.label("open"),
                )
                .where(t.exceptions.c.status.in_(_OPEN))
                .group_by(t.exceptions.c.owner, t.exceptions.c.code, t.exceptions.c.severity)
                .order_by(t.exceptions.c.owner, t.exceptions.c.severity, t.exceptions.c.code)
            ),
        }


def exceptions_list(
    engine: sa.Engine,
    *,
    owner: str | None = None,
    code: str | None = None,
    include_closed: bool = False,
) -> list[dict[str, Any]]:
    """The exception queue, most severe and soonest due first."""
    columns = t.exceptions.c
    query = sa.select(t.exceptions).order_by(columns.severity, columns.due_at, columns.id)
    if not include_closed:
        query = query.where(columns.status.in_(_OPEN))
    if owner:
        query = query.where(sa.func.lower(columns.owner) == owner.lower())
    if code:
        query = query.where(columns.code == code.upper())
    with reading(engine) as connection:
        return [_exception(row._mapping) for row in connection.execute(query)]


def _exception(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "code": row["code"],
        "key": row["key"],
        "owner": row["owner"],
        "severity": row["severity"],
        "status": row["status"],
        "opened_at": _text(row["opened_at"]),
        "due_at": _text(row["due_at"]),
        "amount_minor": row["amount_minor"],
        "currency": row["currency"],
        "item_ids": json.loads(row["unit_keys"]),
        "return_ids": json.loads(row["return_ids"]),
        "order_numbers": json.loads(row["order_numbers"]),
        "message": row["message"],
        "runbook": rules.runbook(row["code"]),
    }


def closed_day(engine: sa.Engine, day: date) -> dict[str, Any]:
    """The batches of a business date, their lines and what became of their refunds."""
    with reading(engine) as connection:
        columns, lines, due = t.batches.c, t.batch_lines.c, t.refunds_due.c
        headers = connection.execute(
            sa.select(t.batches).where(columns.business_date == day).order_by(columns.batch_id)
        ).all()
        batches = []
        for header in headers:
            found = connection.execute(
                sa.select(t.batch_lines)
                .where(lines.batch_id == header.batch_id)
                .order_by(lines.number)
            )
            batches.append(
                {
                    "id": header.batch_id,
                    "state": header.state,
                    "kind": header.kind,
                    "origin_date": header.origin_date.isoformat(),
                    "currency": header.currency,
                    "hash": header.hash,
                    "totals": json.loads(header.totals),
                    "lines": [
                        {
                            "number": line.number,
                            "role": line.role,
                            "account": line.account,
                            "tax_rate": line.tax_key,
                            "side": line.side,
                            "amount_minor": line.amount_minor,
                            "item_ids": json.loads(line.unit_keys),
                        }
                        for line in found
                    ],
                }
            )
        states: dict[str, int] = {}
        for state, count in connection.execute(
            sa.select(due.state, sa.func.count())
            .where(due.batch_id.in_([header.batch_id for header in headers]))
            .group_by(due.state)
        ):
            states[state] = count
        unknown = connection.execute(
            sa.select(sa.func.count()).where(
                due.batch_id.in_([header.batch_id for header in headers]),
                due.state == "batched",
            )
        ).scalar_one()
    return {
        "business_date": day.isoformat(),
        "batches": batches,
        "refunds": {
            "actioned": states.get("actioned", 0),
            "recorded": states.get("recorded", 0),
            "refused": states.get("refused", 0),
            "unknown": unknown,
        },
    }


# --- one thing's story ------------------------------------------------------------


def explain(engine: sa.Engine, key: str) -> dict[str, Any] | None:
    """The whole story behind a key, back to the payloads; ``None`` where nothing has it.

    Args:
        engine: The pipeline's database.
        key: A unit, a return id, an order number, an adjustment, a batch id, or a batch
            line as ``<batch>/<line>``.
    """
    with reading(engine) as connection:
        units = _units_behind(connection, key)
        batch = _batch_line(connection, key)
        if batch is not None:
            units = batch["item_ids"]
        if not units:
            return None
        story: dict[str, Any] = {"key": key}
        if batch is not None:
            story["batch_line"] = batch
        story["items"] = [_unit_story(connection, unit) for unit in sorted(units)]
        return story


def _units_behind(connection: sa.Connection, key: str) -> list[str]:
    items = t.return_items.c
    folded = key.strip().lstrip("#").casefold()
    query = sa.select(items.unit_key).where(
        sa.or_(items.unit_key == key, items.return_id == key, items.order_key == folded)
    )
    found = list(connection.execute(query).scalars())
    for table, column in (
        (t.stock_adjustments, t.stock_adjustments.c.adjustment_key),
        (t.refunds_due, t.refunds_due.c.refund_key),
        (t.exchange_orders, t.exchange_orders.c.exchange_key),
        (t.exchange_orders, t.exchange_orders.c.reference),
        (t.stock_adjustments, t.stock_adjustments.c.intent_key),
        (t.refunds_due, t.refunds_due.c.intent_key),
    ):
        if not found:
            query = sa.select(table.c.unit_key).where(column == key)
            found = list(connection.execute(query).scalars())
    return found


def _batch_line(connection: sa.Connection, key: str) -> dict[str, Any] | None:
    batch_id, _, number = key.partition("/")
    header = connection.execute(
        sa.select(t.batches).where(t.batches.c.batch_id == batch_id)
    ).one_or_none()
    if header is None:
        return None
    query = sa.select(t.batch_lines).where(t.batch_lines.c.batch_id == batch_id)
    if number:
        if not number.isdigit():
            return None
        query = query.where(t.batch_lines.c.number == int(number))
    lines = connection.execute(query.order_by(t.batch_lines.c.number)).all()
    if not lines:
        return None
    units = sorted({unit for line in lines for unit in json.loads(line.unit_keys)})
    return {
        "batch": batch_id,
        "state": header.state,
        "hash": header.hash,
        "policy_hash": header.policy_hash,
        "lines": [
            {
                "number": line.number,
                "role": line.role,
                "account": line.account,
                "tax_rate": line.tax_key,
                "side": line.side,
                "amount_minor": line.amount_minor,
                "currency": line.currency,
            }
            for line in lines
        ],
        "item_ids": units,
    }


def _unit_story(connection: sa.Connection, unit: str) -> dict[str, Any]:
    def of(table: sa.Table, *order: sa.ColumnElement[Any]) -> list[dict[str, Any]]:
        query = sa.select(table).where(table.c.unit_key == unit).order_by(*order)
        return [_plain(row._mapping) for row in connection.execute(query)]

    found = of(t.return_items)
    intents = t.intents.c
    keys = [
        row["intent_key"]
        for table in (t.stock_adjustments, t.refunds_due, t.exchange_orders)
        for row in of(table)
        if row["intent_key"]
    ]
    acts = connection.execute(
        sa.select(t.attempts, intents.kind, intents.state, intents.reference)
        .join_from(t.attempts, t.intents, t.attempts.c.intent_key == intents.intent_key)
        .where(
            sa.or_(
                intents.intent_key.in_(keys),
                intents.intent_key.in_(
                    sa.select(t.intents.c.depends_on).where(t.intents.c.intent_key.in_(keys))
                ),
            )
        )
        .order_by(t.attempts.c.id)
    )
    raw = t.raw_payloads.c
    payloads = connection.execute(
        sa.select(raw.id, raw.source, raw.hash, raw.fetched_at, raw.run_id, raw.body)
        .where(raw.key == unit)
        .order_by(raw.id)
    )
    return {
        "item": found[0] if found else {"unit_key": unit},
        "events": of(t.unit_events, t.unit_events.c.id),
        "match": of(t.matches),
        "dispositions": of(t.dispositions, t.dispositions.c.sequence),
        "gates": of(t.gates, t.gates.c.gate),
        "stock_adjustments": of(t.stock_adjustments, t.stock_adjustments.c.id),
        "exchange_orders": of(t.exchange_orders),
        "refunds": of(t.refunds_due),
        "postings": of(t.postings, t.postings.c.id),
        "acts": [_plain(row._mapping) for row in acts],
        "exceptions": _exceptions_of(connection, unit),
        "payloads": [
            {**_plain(row._mapping), "body": json.loads(row.body)}
            for row in payloads
        ],
    }


def _exceptions_of(connection: sa.Connection, unit: str) -> list[dict[str, Any]]:
    columns = t.exceptions.c
    query = sa.select(t.exceptions).where(columns.unit_keys.contains(json.dumps(unit)))
    return [
        {**_exception(row._mapping), "resolution": row.resolution}
        for row in connection.execute(query.order_by(columns.id))
    ]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value
