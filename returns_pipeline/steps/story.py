"""One thing's whole story: from a unit, a batch line or an adjustment back to the payloads.

Everything here only reads. What is shown how is ``cli``'s.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain.decisions import KINDS
from returns_pipeline.reporting.day import amount_text
from returns_pipeline.steps.account import exception_document
from returns_pipeline.storage import decisions, records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading

# Bounded: a number beyond the database's integers is no line's.
_LINE_NUMBER = re.compile("[0-9]{1,9}")


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
        if not _LINE_NUMBER.fullmatch(number):
            return None
        query = query.where(t.batch_lines.c.number == int(number))
    lines = connection.execute(query.order_by(t.batch_lines.c.number)).all()
    if not lines:
        return None
    units = sorted({unit for line in lines for unit in json.loads(line.unit_keys)})
    entries = _entries_of(connection, batch_id, [line.number for line in lines])
    return {
        "batch": batch_id,
        "kind": header.kind,
        "state": header.state,
        "business_date": header.business_date.isoformat(),
        "origin_date": header.origin_date.isoformat(),
        "currency": header.currency,
        "hash": header.hash,
        "policy_hash": header.policy_hash,
        "policy": _policies(connection, {header.policy_hash}),
        "description": header.description,
        "reverses": header.reverses_id,
        "replaces": header.replaces_id,
        "reversed_by": connection.execute(
            sa.select(t.batches.c.batch_id).where(t.batches.c.reverses_id == batch_id)
        ).scalar_one_or_none(),
        "exports": _exports_of(connection, batch_id),
        "events": _events_of(connection, batch_id),
        "lines": [
            {
                "number": line.number,
                "role": line.role,
                "account": line.account,
                "tax_rate": line.tax_key,
                "side": line.side,
                "amount_minor": line.amount_minor,
                "currency": line.currency,
                # What the units behind it do not come to: nothing, or the books were changed.
                "difference_minor": line.amount_minor
                - sum(entry["amount_minor"] for entry in entries[line.number]),
                "entries": entries[line.number],
            }
            for line in lines
        ],
        "item_ids": units,
    }


def _entries_of(
    connection: sa.Connection, batch_id: str, numbers: list[int]
) -> dict[int, list[dict[str, Any]]]:
    """The postings behind lines of a batch: which unit, of which event, under which policy."""
    entry, items = t.postings.c, t.return_items.c
    query = (
        sa.select(
            entry.line_number,
            entry.unit_key,
            items.order_number,
            entry.amount_minor,
            entry.base_minor,
            entry.event_key,
            entry.occurred_at,
            entry.policy_hash,
        )
        .select_from(t.postings.outerjoin(t.return_items, entry.unit_key == items.unit_key))
        .where(entry.batch_id == batch_id, entry.line_number.in_(numbers))
        .order_by(entry.line_number, entry.unit_key, entry.id)
    )
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in connection.execute(query):
        told = _plain(row._asdict())
        found[told.pop("line_number")].append(told)
    return found


def _policies(connection: sa.Connection, hashes: set[str]) -> list[dict[str, Any]]:
    """The policies with these hashes, and since when each was used."""
    columns = t.policy_versions.c
    query = (
        sa.select(columns.hash, columns.first_used_at)
        .where(columns.hash.in_(sorted(hashes)))
        .order_by(columns.first_used_at, columns.hash)
    )
    return [_plain(row._asdict()) for row in connection.execute(query)]


def _exports_of(connection: sa.Connection, batch_id: str) -> list[dict[str, Any]]:
    done = t.batch_exports.c
    query = (
        sa.select(done.target, done.hash, done.exported_at)
        .where(done.batch_id == batch_id)
        .order_by(done.id)
    )
    return [_plain(row._asdict()) for row in connection.execute(query)]


def _events_of(connection: sa.Connection, batch_id: str) -> list[dict[str, Any]]:
    events = t.batch_events.c
    query = (
        sa.select(events.state, events.at, events.detail)
        .where(events.batch_id == batch_id)
        .order_by(events.id)
    )
    return [_plain(row._asdict()) for row in connection.execute(query)]


def _unit_story(connection: sa.Connection, unit: str) -> dict[str, Any]:
    def of(table: sa.Table, *order: sa.ColumnElement[Any]) -> list[dict[str, Any]]:
        query = sa.select(table).where(table.c.unit_key == unit).order_by(*order)
        return [_plain(row._asdict()) for row in connection.execute(query)]

    found = of(t.return_items)
    names = records.location_names(connection)
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
    match = of(t.matches)
    entered = of(t.postings, t.postings.c.id)
    decided = of(t.dispositions, t.dispositions.c.sequence)
    due = of(t.refunds_due)
    return {
        "item": found[0] if found else {"unit_key": unit},
        "events": [
            _plain({"raw_id": row["raw_id"], "seen_at": row["seen_at"], **fact})
            for row in of(t.unit_events, t.unit_events.c.id)
            for fact in records.told_of(row["told"])
        ],
        "match": match,
        "dispositions": decided,
        "gates": of(t.gates, t.gates.c.gate),
        "stock_adjustments": [
            {**row, "location": names.get(row["location_id"], row["location_id"])}
            for row in of(t.stock_adjustments, t.stock_adjustments.c.id)
        ],
        "exchange_orders": of(t.exchange_orders),
        "refunds": due,
        "postings": entered,
        "journal_lines": _journal_lines(connection, unit),
        "policies": _policies(
            connection, {row["policy_hash"] for row in (*decided, *due, *entered)}
        ),
        "batches": _batches_of(connection, unit),
        "acts": [_plain(row._asdict()) for row in acts],
        "exceptions": _exceptions_of(connection, unit),
        "decisions": [_plain(one) for one in decisions.about(connection, [unit, *_all_acts(keys)])],
        "payloads": [{**_plain(row._asdict()), "body": json.loads(row.body)} for row in payloads],
        "order_payload": _order_payload(connection, match[0]["order_id"] if match else None),
    }


def _journal_lines(connection: sa.Connection, unit: str) -> list[dict[str, Any]]:
    """The lines of sealed batches that hold something of a unit, and how much of it is its."""
    entry, line = t.postings.c, t.batch_lines.c
    query = (
        sa.select(
            entry.batch_id,
            entry.line_number,
            line.role,
            line.account,
            line.tax_key.label("tax_rate"),
            line.side,
            sa.func.sum(entry.amount_minor).label("amount_minor"),
            line.amount_minor.label("line_minor"),
            line.currency,
        )
        .join_from(
            t.postings,
            t.batch_lines,
            sa.and_(entry.batch_id == line.batch_id, entry.line_number == line.number),
        )
        .where(entry.unit_key == unit)
        .group_by(
            entry.batch_id,
            entry.line_number,
            line.role,
            line.account,
            line.tax_key,
            line.side,
            line.amount_minor,
            line.currency,
        )
        .order_by(entry.batch_id, entry.line_number)
    )
    return [
        {**_plain(row._asdict()), "amount_minor": int(row.amount_minor)}
        for row in connection.execute(query)
    ]


def _order_payload(connection: sa.Connection, order_id: str | None) -> dict[str, Any] | None:
    """The last word of Linnworks on the order: what its amounts, rates and costs come from."""
    raw = t.raw_payloads.c
    query = (
        sa.select(raw.id, raw.source, raw.hash, raw.fetched_at, raw.run_id, raw.body)
        .where(raw.key == order_id)
        .order_by(raw.id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none() if order_id else None
    return {**_plain(row._asdict()), "body": json.loads(row.body)} if row is not None else None


def _all_acts(keys: list[str]) -> set[str]:
    """The keys of actions, and of what each of them carries out, which bears the same number."""
    made = {"rma_action": "rma_booking", "refund_action": "refund_create"}
    found = set(keys)
    for key in keys:
        kind, _, reference = key.partition(":")
        if kind in made:
            found.add(f"{made[kind]}:{reference}")
    return found


def _batches_of(connection: sa.Connection, unit: str) -> list[dict[str, Any]]:
    own = sa.select(t.postings.c.batch_id).where(t.postings.c.unit_key == unit)
    columns = t.batches.c
    query = sa.select(
        columns.batch_id,
        columns.kind,
        columns.state,
        columns.business_date,
        columns.hash,
        columns.sealed_at,
        columns.posted_at,
    ).where(columns.batch_id.in_(own))
    return [_plain(row._asdict()) for row in connection.execute(query.order_by(columns.batch_id))]


def _exceptions_of(connection: sa.Connection, unit: str) -> list[dict[str, Any]]:
    columns = t.exceptions.c
    query = sa.select(t.exceptions).where(columns.unit_keys.contains(json.dumps(unit)))
    return [
        {
            **exception_document(row._asdict()),
            "resolved_at": _text(row.resolved_at),
            "resolution": row.resolution,
        }
        for row in connection.execute(query.order_by(columns.id))
    ]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value


# --- the story as it went ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened to a unit: when (UTC), what about, in words."""

    at: str
    topic: str
    text: str


def timeline(item: Mapping[str, Any]) -> list[Moment]:
    """An item of ``explain`` in the order things happened or were decided."""
    moments = [
        *_learnt(item),
        *_decided(item),
        *_moved(item),
        *_paid(item),
        *_acted(item),
        *_asked(item),
        *_said(item),
    ]
    # Instants are UTC and ISO 8601: their text sorts as they do. Of one instant, as told.
    return sorted(moments, key=lambda moment: moment.at)


def _learnt(item: Mapping[str, Any]) -> Iterator[Moment]:
    for row in item["payloads"]:
        text = f"{row['source']} payload {row['id']} kept, hash {row['hash'][:12]}"
        yield Moment(row["fetched_at"], "payload", text)
    for row in item["events"]:
        detail = f" ({row['detail']})" if row["detail"] else ""
        yield Moment(row["at"], "event", f"{row['kind'].replace('_', ' ')}{detail}")


def _decided(item: Mapping[str, Any]) -> Iterator[Moment]:
    for row in item["match"]:
        if row["outcome"] == "matched":
            text = f"unit {row['unit_no'] + 1} of order line {row['row_id']}, by {row['rule']}"
        else:
            text = f"{row['outcome']}: {row['reason']}"
        yield Moment(row["decided_at"], "match", text)
    for row in item["dispositions"]:
        stock = "sellable" if row["is_sellable"] else "not sellable"
        text = f"{row['source_code']} is {row['disposition']}: {row['effect']}, {stock}"
        text += _under(row)
        yield Moment(row["decided_at"], "disposition", text)
    for row in item["gates"]:
        verdict = "open" if row["is_cleared"] else f"shut: {row['reason']}"
        yield Moment(row["since_at"], f"{row['gate']} gate", verdict)


def _under(row: Mapping[str, Any]) -> str:
    return f" (policy {row['policy_hash'][:8]})"


def _moved(item: Mapping[str, Any]) -> Iterator[Moment]:
    for row in item["stock_adjustments"]:
        place = row["location"]
        yield Moment(row["created_at"], "stock", f"{row['kind']} of {row['sku']} to {place} due")
        if row["posted_at"]:
            text = f"posted to {place} with RMA {row['rma_header_id']}"
            yield Moment(row["posted_at"], "stock", text)
    for row in item["exchange_orders"]:
        text = f"{row['quantity']} x {row['sku']} to be ordered as {row['reference']}"
        yield Moment(row["created_at"], "exchange", text)
        if row["created_order_at"]:
            text = f"ordered: {row['new_order_id']}"
            yield Moment(row["created_order_at"], "exchange", text)


def _meeting(row: Mapping[str, Any]) -> str:
    """What the two legs of an exchange come to."""
    given, value = row["amount_minor"], row["new_value_minor"]
    what = f"exchanged for {amount_text(value, row['currency'])}"
    if not value:
        what = "refunded instead of exchanged"
    if value == given:
        return f"{what}: nothing is left"
    apart = amount_text(abs(given - value), row["currency"])
    return f"{what}: {apart} {'is left to pay' if given > value else 'was paid on top'}"


def _paid(item: Mapping[str, Any]) -> Iterator[Moment]:
    for row in item["refunds"]:
        amount = amount_text(row["amount_minor"], row["currency"])
        text = f"{amount} due as {row['tender']}, business date {row['business_date']}"
        text += _under(row)
        yield Moment(row["created_at"], "refund", text)
        if row["cleared_at"]:
            yield Moment(row["cleared_at"], "refund", _meeting(row))
        if row["settled_at"]:
            yield Moment(row["settled_at"], "refund", f"{row['state']} ({row['executor']})")
    for row in item["postings"]:
        amount = amount_text(row["amount_minor"], row["currency"])
        line = f"{row['side']} {row['account']} {row['role']} {amount}"
        place = f", {row['batch_id']}/{row['line_number']}" if row["batch_id"] else ""
        yield Moment(row["created_at"], "ledger", line + place)
    for row in item["batches"]:
        text = f"{row['batch_id']} sealed, hash {row['hash'][:12]}"
        yield Moment(row["sealed_at"], "batch", text)
        if row["posted_at"]:
            yield Moment(row["posted_at"], "batch", f"{row['batch_id']} posted")


def _acted(item: Mapping[str, Any]) -> Iterator[Moment]:
    for row in item["acts"]:
        detail = f": {row['detail']}" if row["detail"] else ""
        text = f"{row['kind'].replace('_', ' ')} {row['reference']} {row['step']}{detail}"
        yield Moment(row["at"], "act", text)


def _asked(item: Mapping[str, Any]) -> Iterator[Moment]:
    for row in item["exceptions"]:
        text = f"{row['code']} for {row['owner']}: {row['message']}"
        yield Moment(row["opened_at"], "exception", text)
        if row["resolved_at"]:
            closing = f"{row['code']} closed: {row['resolution']}"
            yield Moment(row["resolved_at"], "exception", closing)


def _said(item: Mapping[str, Any]) -> Iterator[Moment]:
    for row in item["decisions"]:
        text = f"{KINDS[row['kind']].title} ({row['actor']}: {row['reason']})"
        yield Moment(row["decided_at"], "decision", text)
        if row["outcome_at"]:
            detail = f": {row['outcome_detail']}" if row["outcome_detail"] else ""
            told = f"{row['outcome'].replace('_', ' ')}{detail}"
            yield Moment(row["outcome_at"], "decision", told)
