"""From kept payloads to tables: orders, returns, units, events, receipts.

Reads the payloads stored since the last derivation, in the order they were stored, and
moves its position with the rows it wrote: a crash repeats, never skips. Deciding anything
is ``decide``'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import sqlalchemy as sa

from returns_pipeline.domain import gate as gate_rules
from returns_pipeline.domain import lifecycle
from returns_pipeline.domain.calendar import business_date
from returns_pipeline.domain.model import Precision, Unit
from returns_pipeline.normalise import happy_returns as hr
from returns_pipeline.normalise import linnworks as lw
from returns_pipeline.steps.capture import ORDER_V1, ORDER_V2, OUTBOUND, RETURN
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.behind import behind
from returns_pipeline.storage.bulk import upsert
from returns_pipeline.storage.engine import in_order_of_an_index, reading

_CHUNK = 10_000


class _Payload(NamedTuple):
    """What is read of a row of ``raw_payloads``: ``_PAYLOAD``, in this order."""

    id: int
    source: str
    key: str
    hash: str
    body: str
    fetched_at: datetime


_PAYLOAD = tuple(t.raw_payloads.c[name] for name in _Payload._fields)


def _new_payloads(rt: Runtime, name: str, sources: tuple[str, ...]) -> Iterator[list[_Payload]]:
    """Chunks of payloads not derived yet, in the order in which they were stored."""
    raw = t.raw_payloads.c
    with reading(rt.engine) as connection:
        after = records.position(connection, name)
    while True:
        with reading(rt.engine) as connection:
            in_order_of_an_index(connection)
            query = (
                sa.select(*_PAYLOAD)
                .where(raw.id > after, raw.source.in_(sources))
                .order_by(raw.id)
                .limit(_CHUNK)
            )
            found = list(map(_Payload._make, connection.execute(query).all()))
        if not found:
            return
        after = found[-1].id
        yield found


# --- orders -----------------------------------------------------------------------

_ORDER_COLUMNS = (
    "order_id",
    "num_id",
    "reference",
    "reference_key",
    "secondary_key",
    "source",
    "sub_source",
    "currency",
    "is_processed",
    "is_cancelled",
    "received_at",
    "processed_at",
    "updated_at",
    "total_minor",
    "postage_minor",
    "postage_vat_minor",
    "payment_method",
    "location_id",
    "conversion_rate",
)
_LINE_COLUMNS = (
    "row_id",
    "order_id",
    "position",
    "item_number",
    "sku",
    "channel_sku",
    "stock_item_id",
    "quantity",
    "total_minor",
    "vat_minor",
    "tax_rate_bp",
    "unit_cost_minor",
    "is_service",
    "is_unlinked",
    "is_batched",
    "parent_row_id",
    "discount_minor",
)


def orders(rt: Runtime) -> dict[str, int]:
    """Derive orders and their lines; an older word never replaces a newer one.

    Despatched orders join the watch-list until their return window closes.
    """
    now = rt.now()
    written = 0
    for found in _new_payloads(rt, "derived.orders", (ORDER_V1, ORDER_V2)):
        latest: dict[str, lw.NormalisedOrder] = {}
        for row in found:
            try:
                order = lw.order(row.body.encode(), observed_at=row.fetched_at)
            except lw.UnreadableOrder:
                continue  # named when it was captured
            known = latest.get(order.order.order_id)
            if known is None or order.updated_at >= known.updated_at:
                latest[order.order.order_id] = order
        with rt.engine.begin() as connection:
            columns = t.orders.c
            query = sa.select(columns.order_id, columns.updated_at)
            stored = dict(
                tuple(row) for row in records.in_chunks(connection, query, columns.order_id, latest)
            )
            fresh = [
                order
                for key, order in latest.items()
                if key not in stored or order.updated_at >= stored[key]
            ]
            _write_orders(connection, fresh, known=stored)
            _watch_shipped(connection, fresh, rt, now)
            records.move_watermark(connection, "derived.orders", now=now, position=found[-1].id)
        written += len(fresh)
        rt.progress(f"orders: {written} derived")
    return {"orders": written}


def _write_orders(
    connection: sa.Connection, fresh: list[lw.NormalisedOrder], *, known: Collection[str]
) -> None:
    """Write orders and their lines; ``known`` are the orders that had lines before."""
    headers: list[tuple[Any, ...]] = []
    # An order that is split hands lines on: a line is of the order that told of it last.
    lines: dict[str, tuple[Any, ...]] = {}
    for found in sorted(fresh, key=lambda one: one.updated_at):
        order = found.order
        headers.append(
            (
                order.order_id,
                order.num_id,
                found.reference,
                order.reference_key,
                order.secondary_key,
                order.source,
                order.sub_source,
                order.currency,
                order.processed,
                order.cancelled,
                found.received_at,
                found.processed_at,
                found.updated_at,
                order.total_minor,
                order.postage_minor,
                order.postage_vat_minor,
                order.payment_method,
                found.location_id,
                order.conversion_rate,
            )
        )
        for place, line in enumerate(order.lines):
            lines[line.row_id] = (
                line.row_id,
                line.order_id,
                place,
                line.item_number,
                line.sku,
                line.channel_sku,
                found.stock_item_ids.get(line.row_id, ""),
                line.quantity,
                line.total_minor,
                line.vat_minor,
                line.tax_rate_bp,
                line.unit_cost_minor,
                line.is_service,
                line.is_unlinked,
                line.is_batched,
                line.parent_row_id,
                line.discount_minor,
            )
    upsert(connection, t.orders, _ORDER_COLUMNS, headers, key=("order_id",))
    upsert(connection, t.order_lines, _LINE_COLUMNS, list(lines.values()), key=("row_id",))
    changed = [one.order.order_id for one in fresh if one.order.lines]
    _forget_lines(connection, [key for key in changed if key in known], lines)


def _forget_lines(connection: sa.Connection, order_ids: list[str], told: Collection[str]) -> None:
    """Forget the lines that their orders do not have any more, so that nothing fits them.

    A line that a unit was matched to stays: what was done for it is still to be explained.
    """
    columns = t.order_lines.c
    is_matched = sa.exists().where(t.matches.c.row_id == columns.row_id)
    query = sa.select(columns.row_id).where(~is_matched)
    found = {row[0] for row in records.in_chunks(connection, query, columns.order_id, order_ids)}
    for part in records.chunks(sorted(found.difference(told)), 500):
        connection.execute(sa.delete(t.order_lines).where(columns.row_id.in_(part)))


def _watch_shipped(
    connection: sa.Connection, fresh: list[lw.NormalisedOrder], rt: Runtime, now: datetime
) -> None:
    window = rt.policy.happy_returns.return_window
    sources = {source.casefold() for source in rt.policy.linnworks.sources}
    rows = []
    for found in fresh:
        order, sent = found.order, found.processed_at
        ours = order.source == rt.policy.linnworks.exchange_source
        other = sources and order.source.casefold() not in sources
        if sent is None or order.cancelled or ours or other or sent + window <= now:
            continue
        rows.append((order.reference_key, found.reference, "shipped", 1, now, sent + window, True))
    unique = {row[0]: row for row in rows}
    upsert(
        connection,
        t.watch_list,
        _WATCH_COLUMNS,
        list(unique.values()),
        key=("order_key",),
        update=("closes_at",),
    )


_WATCH_COLUMNS = (
    "order_key",
    "reference",
    "reason",
    "priority",
    "due_at",
    "closes_at",
    "is_active",
)

# --- returns ----------------------------------------------------------------------


def returns(rt: Runtime) -> dict[str, int]:
    """Derive returns, their units (one row a physical unit) and what newly happened.

    Under a policy that is new, what could not be read before is read again first: a name
    or code that was added lets its units go on by themselves.
    """
    now = rt.now()
    again = _unread_before(rt)
    changed = []
    if again:
        with rt.engine.begin() as connection:
            changed.append(_derive_units(connection, _read(again, rt), rt, now, afresh=True))
            records.move_watermark(connection, _read_under(rt), now=now, at=now)

    def write(read: list[_Read]) -> None:
        last = read[-1].rows[-1].id
        with rt.engine.begin() as connection:
            changed.append(_derive_units(connection, read, rt, now))
            records.move_watermark(connection, "derived.returns", now=now, position=last)

    seen = len(again)
    with behind() as writer:
        for found in _new_payloads(rt, "derived.returns", (RETURN, OUTBOUND)):
            writer(write, _read(found, rt))
            seen += len(found)
            rt.progress(f"returned units: {seen} read")
    return {"read": seen, "changed": sum(changed)}


def _read_under(rt: Runtime) -> str:
    return f"derived.returns.{rt.policy.hash[:16]}"


def _unread_before(rt: Runtime) -> list[_Payload]:
    """The last payloads of units that could not be read whole, once for each policy."""
    raw, items = t.raw_payloads.c, t.return_items.c
    # Literal, as the condition of its index: this is asked at every tick.
    unread = sa.select(items.unit_key).where(items.problems != sa.literal("", literal_execute=True))
    newer = t.raw_payloads.alias()
    query = (
        sa.select(*_PAYLOAD)
        .where(raw.key.in_(unread), raw.source.in_((RETURN, OUTBOUND)))
        .where(
            ~sa.exists().where(
                newer.c.key == raw.key, newer.c.source == raw.source, newer.c.id > raw.id
            )
        )
        .order_by(raw.id)
    )
    with reading(rt.engine) as connection:
        if records.watermark(connection, _read_under(rt)) is not None:
            return []
        return list(map(_Payload._make, connection.execute(query).all()))


class _Read(NamedTuple):
    """Payloads of one source and instant, and what they say, column by column."""

    rows: list[_Payload]
    columns: dict[str, list[Any]]

    def those(self, keys: Collection[str], *, among: bool) -> _Read:
        """The ones of these units, or of all others."""
        places = [place for place, row in enumerate(self.rows) if (row.key in keys) is among]
        if len(places) == len(self.rows):
            return self
        columns = {name: [told[at] for at in places] for name, told in self.columns.items()}
        return _Read([self.rows[at] for at in places], columns)


def _read(found: list[_Payload], rt: Runtime) -> list[_Read]:
    """What payloads say, in their order; those read at once are normalised at once."""
    read = []
    for (source, fetched_at), group in groupby(found, key=attrgetter("source", "fetched_at")):
        rows = list(group)
        columns = hr.readings(
            [row.body for row in rows],
            keys=[row.key for row in rows],
            hashes=[row.hash for row in rows],
            source="outbound" if source == OUTBOUND else "return",
            policy=rt.policy.happy_returns,
            default_currency=rt.policy.merchant.currency,
            observed_at=fetched_at,
        )
        read.append(_Read(rows, columns))
    return read


def _derive_units(
    connection: sa.Connection,
    read: list[_Read],
    rt: Runtime,
    now: datetime,
    *,
    afresh: bool = False,
) -> int:
    """Merge payloads into their units; how many units changed.

    Args:
        connection: Inside the caller's transaction.
        read: Rows of ``raw_payloads``, in the order they were stored, and what they say.
        rt: The run.
        now: Its instant.
        afresh: Whether what could not be read of these units before is forgotten first.
    """
    times = Counter(row.key for one in read for row in one.rows)
    before = records.units_by_key(connection, times)
    again = {key for key, count in times.items() if count > 1 or key in before}
    changed = 0
    for one in read:
        rows, columns = one.those(again, among=False)
        if rows:
            _enter(connection, rows, columns, rt, now)
            changed += len(rows)
    others = [one.those(again, among=True) for one in read] if again else []
    return changed + _merge(connection, others, before, rt, now, afresh=afresh)


_EVENT_COLUMNS = ("unit_key", "told", "seen_at", "raw_id")


def _enter(
    connection: sa.Connection,
    found: list[_Payload],
    columns: Mapping[str, list[Any]],
    rt: Runtime,
    now: datetime,
) -> None:
    """Write units that were never told of before, column by column: there is nothing to merge."""
    begun = list(zip(*(columns[f"{name}_at"] for name in gate_rules.BEGUN_BY), strict=True))
    ours = {told: not gate_rules.begun_before_start(told, rt.policy) for told in set(begun)}
    is_open = [ours[told] for told in begun]
    records.insert_units(connection, columns, now=now, is_open=is_open)
    names = ("return_id", "order_key", "order_number", "express_code", "merchant_rma")
    _write_returns(connection, zip(*(columns[name] for name in names), strict=True), now)
    told = _first_told(columns)
    rows = [(row.key, text, now, row.id) for row, text in zip(found, told, strict=True) if text]
    upsert(connection, t.unit_events, _EVENT_COLUMNS, rows)
    numbers = zip(columns["order_key"], columns["order_number"], is_open, strict=True)
    _watch_open(connection, {key: number for key, number, is_ours in numbers if is_ours}, rt, now)


def _first_told(columns: Mapping[str, list[Any]]) -> list[str]:
    """What ``lifecycle.events`` tells of units nobody knew, from columns; "": nothing."""
    count = len(columns["unit_key"])
    told: list[list[str]] = []
    for place, name in enumerate(lifecycle.FACTS):
        instants = columns[f"{name}_at"]
        if instants.count(None) < count:
            known = zip(instants, columns["precisions"], strict=True)
            told.append(
                ["" if at is None else records.told_fact(name, at, p[place]) for at, p in known]
            )
    codes = zip(columns["disposition_code"], columns["disposition_at"], strict=True)
    exact = Precision.EXACT.value
    told.append(
        [records.told_fact("inspected", at, exact, code) if code else "" for code, at in codes]
    )
    facts = (list(filter(None, one)) for one in zip(*told, strict=True))
    return [records.told_text(one) if one else "" for one in facts]


def _merge(
    connection: sa.Connection,
    found: list[_Read],
    before: Mapping[str, Unit],
    rt: Runtime,
    now: datetime,
    *,
    afresh: bool,
) -> int:
    """Merge payloads into units that were told of before; how many changed."""
    after: dict[str, Unit] = {}
    if afresh:
        after = {key: replace(unit, problems=()) for key, unit in before.items()}
    events: list[tuple[Any, ...]] = []
    codes: dict[str, tuple[str, str]] = {}
    read: list[tuple[Unit, _Payload, tuple[str, str]]] = []
    for rows, columns in found:
        own_codes = zip(columns["express_code"], columns["merchant_rma"], strict=True)
        read.extend(zip(hr.units(columns), rows, own_codes, strict=True))
    # A shipment and a look-up of one poll are stored by their source, not by their age.
    for unit, row, code in sorted(read, key=lambda one: lifecycle.version(one[0])):
        key, codes[row.key] = row.key, code
        known = after.get(key) or before.get(key)
        merged = lifecycle.merge(known, unit) if known else unit
        facts = [
            records.told_fact(kind, at, precision.value, detail)
            for kind, at, precision, detail in lifecycle.events(known, merged)
        ]
        if facts:
            events.append((key, records.told_text(facts), now, row.id))
        after[key] = merged
    fresh = [unit for key, unit in after.items() if before.get(key) != unit]
    ours = [unit for unit in fresh if not gate_rules.is_before_start(unit, rt.policy)]
    others = [unit for unit in fresh if gate_rules.is_before_start(unit, rt.policy)]
    records.write_units(connection, ours, now=now)
    records.write_units(connection, others, now=now, is_open=False)
    told = [
        (u.return_id, u.order_key, u.order_number, *codes.get(u.unit_key, ("", ""))) for u in fresh
    ]
    _write_returns(connection, told, now)
    upsert(connection, t.unit_events, _EVENT_COLUMNS, events)
    _watch_open(connection, {unit.order_key: unit.order_number for unit in ours}, rt, now)
    return len(fresh)


def _write_returns(
    connection: sa.Connection, told: Iterable[tuple[str, str, str, str, str]], now: datetime
) -> None:
    """Write returns: id, order key and number, and the codes one of its units may tell."""
    rows: dict[tuple[str, str], tuple[Any, ...]] = {}
    for return_id, order_key, number, express, merchant_rma in told:
        key = (return_id, order_key)
        if key not in rows or (express and not rows[key][3]):
            rows[key] = (return_id, order_key, number, express, merchant_rma, now)
    columns = (
        "return_id",
        "order_key",
        "order_number",
        "express_code",
        "merchant_rma",
        "first_seen_at",
    )
    upsert(
        connection,
        t.returns,
        columns,
        list(rows.values()),
        key=("return_id", "order_key"),
        update=("order_number",),
    )


def _watch_open(
    connection: sa.Connection, numbers: Mapping[str, str], rt: Runtime, now: datetime
) -> None:
    # The outbound feed may name orders that the mirror does not have yet; and Happy Returns
    # finds an open return by the number as it prints it itself.
    due = now + rt.policy.happy_returns.recheck_open
    closes = now + rt.policy.happy_returns.return_window
    rows = [
        (key, number, "open_return", 0, due, closes, True) for key, number in numbers.items() if key
    ]
    upsert(
        connection,
        t.watch_list,
        _WATCH_COLUMNS,
        rows,
        key=("order_key",),
        update=("reference", "reason", "priority", "is_active"),
    )


def receipts(rt: Runtime) -> dict[str, int]:
    """Enter the physical receipts of the units that have newly been received, once each."""
    now = rt.now()
    items, known = t.return_items.c, t.receipts.c
    with rt.engine.begin() as connection:
        query = (
            sa.select(items.unit_key, items.return_id, items.order_key, items.received_at)
            .select_from(t.return_items.outerjoin(t.receipts, items.unit_key == known.unit_key))
            .where(items.is_open, items.received_at.is_not(None), known.unit_key.is_(None))
        )
        zone = rt.policy.merchant.time_zone
        rows = [
            (key, return_id, order, at, business_date(at, zone), now)
            for key, return_id, order, at in connection.execute(query)
        ]
        columns = (
            "unit_key",
            "return_id",
            "order_key",
            "received_at",
            "business_date",
            "seen_at",
        )
        upsert(connection, t.receipts, columns, rows)
    return {"received": len(rows)}
