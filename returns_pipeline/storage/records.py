"""Rows to domain values and back, and the reads that several steps share.

Here: one loader or writer a concept, each taking the caller's connection. Not here: what
is decided (``domain``), when (``steps``), what is sent (``outbox``).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain import lifecycle
from returns_pipeline.domain.lifecycle import FACTS
from returns_pipeline.domain.model import (
    Ambiguous,
    Decided,
    Disposition,
    Fact,
    Match,
    Matched,
    Order,
    OrderLine,
    Orphan,
    Precision,
    RefundType,
    StockEffect,
    Unit,
    Waiting,
)
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import array_text, insert, upsert
from returns_pipeline.storage.bulk import chunks as chunks  # noqa: PLC0414 - steps call it so
from returns_pipeline.storage.engine import reading
from returns_pipeline.storage.types import Listed, Row, Select, instant_from_text, instant_text

UNIT_COLUMNS = (
    "unit_key",
    "return_id",
    "order_number",
    "order_key",
    "line_item_id",
    "sku",
    "stage",
    "status",
    *(f"{fact}_at" for fact in FACTS),
    "precisions",
    "dropoff_method",
    "reason_code",
    "disposition_code",
    "disposition_at",
    "refund_type",
    "refund_amount_minor",
    "shipping_refund_minor",
    "fee_minor",
    "fee_currency",
    "currency",
    "is_returnless",
    "exchange_sku",
    "exchange_quantity",
    "exchange_unit_price_minor",
    "problems",
    "updated_at",
    "source_rank",
    "payload_hash",
)
_WRITTEN = (*UNIT_COLUMNS, "first_seen_at", "changed_at", "is_open")
_UPDATED = tuple(name for name in _WRITTEN if name not in {"unit_key", "first_seen_at"})
_SEPARATOR = "\n"
_AT_ONCE = 10_000


def unit_row(unit: Unit) -> tuple[Any, ...]:
    """A unit as the values of ``UNIT_COLUMNS``."""
    facts: list[Fact | None] = [getattr(unit, name) for name in FACTS]
    return (
        unit.unit_key,
        unit.return_id,
        unit.order_number,
        unit.order_key,
        unit.line_item_id,
        unit.sku,
        lifecycle.stage(unit).value,
        unit.status,
        *(fact.at if fact else None for fact in facts),
        "".join(fact.precision.value if fact else "-" for fact in facts),
        unit.dropoff_method,
        unit.reason_code,
        unit.disposition_code,
        unit.disposition_at,
        unit.refund_type.value if unit.refund_type else None,
        unit.refund_amount_minor,
        unit.shipping_refund_minor,
        unit.fee_minor,
        unit.fee_currency,
        unit.currency,
        unit.returnless,
        unit.exchange_sku,
        unit.exchange_quantity,
        unit.exchange_unit_price_minor,
        _SEPARATOR.join(unit.problems),
        unit.updated_at,
        unit.source_rank,
        unit.payload_hash,
    )


def units_of(rows: Sequence[Row]) -> list[Unit]:
    """The units behind rows of ``UNIT_COLUMNS``; column by column, since there may be many."""
    if not rows:
        return []
    found: dict[str, Sequence[Any]] = dict(zip(UNIT_COLUMNS, zip(*rows, strict=True), strict=True))
    for name in _REPEATED:
        shared = {value: value for value in found[name]}  # one text for all units that have it
        found[name] = [shared[value] for value in found[name]]
    for place, name in enumerate(FACTS):
        instants = found[f"{name}_at"]
        if instants.count(None) == len(rows):
            found[name] = instants
        else:
            told = list(zip(instants, [p[place] for p in found["precisions"]], strict=True))
            facts = {  # many units left, or came, at one instant
                (at, letter): None if at is None else Fact(at, _PRECISIONS[letter])
                for at, letter in set(told)
            }
            found[name] = [facts[one] for one in told]
    found["refund_type"] = [_REFUND_TYPES[kind] for kind in found["refund_type"]]
    found["returnless"] = found["is_returnless"]
    found["problems"] = [
        tuple(text.split(_SEPARATOR)) if text else () for text in found["problems"]
    ]
    return [Unit(*values) for values in zip(*(found[name] for name in _UNIT), strict=True)]


_UNIT = tuple(field.name for field in fields(Unit))
_REPEATED = (
    *("return_id", "order_number", "order_key", "sku", "status", "dropoff_method"),
    *("reason_code", "disposition_code", "currency", "fee_currency"),
)
_PRECISIONS = {one.value: one for one in Precision}
_REFUND_TYPES: dict[str | None, RefundType | None] = {
    **{one.value: one for one in RefundType},
    None: None,
}


def _unit_select() -> Select:
    return sa.select(*(t.return_items.c[name] for name in UNIT_COLUMNS))


def open_units(connection: sa.Connection) -> dict[str, Unit]:
    """Every unit something may still be owed to, by key."""
    query = _unit_select().where(t.return_items.c.is_open)
    found = connection.execute(query).partitions(_AT_ONCE)
    return {unit.unit_key: unit for rows in found for unit in units_of(rows)}


def units_by_key(connection: sa.Connection, keys: Iterable[str]) -> dict[str, Unit]:
    """The units with these keys, by key."""
    found = in_chunks(connection, _unit_select(), t.return_items.c.unit_key, keys)
    return {unit.unit_key: unit for rows in chunks(found, _AT_ONCE) for unit in units_of(rows)}


def units_of_orders(connection: sa.Connection, order_keys: Iterable[str]) -> list[Unit]:
    """All units that name one of these orders."""
    found = in_chunks(connection, _unit_select(), t.return_items.c.order_key, order_keys)
    return [unit for rows in chunks(found, _AT_ONCE) for unit in units_of(rows)]


def write_units(
    connection: sa.Connection,
    units: Collection[Unit],
    *,
    now: datetime,
    is_open: bool = True,
) -> None:
    """Insert or overwrite units; they are open again, since something about them is new.

    Args:
        connection: Inside the caller's transaction.
        units: Whole.
        now: The instant of the change.
        is_open: Whether anything may be owed to them at all.
    """
    rows = [(*unit_row(unit), now, now, is_open) for unit in units]
    upsert(connection, t.return_items, _WRITTEN, rows, key=("unit_key",), update=_UPDATED)


def insert_units(
    connection: sa.Connection,
    columns: Mapping[str, Sequence[Any]],
    *,
    now: datetime,
    is_open: Sequence[bool],
) -> None:
    """Insert units nobody has told of before, given as columns.

    Args:
        connection: Inside the caller's transaction.
        columns: By the names of ``Unit``'s fields, each fact as its instant and its letter of
            ``precisions``.
        now: The instant at which they were first seen.
        is_open: Of each, whether anything may be owed to it at all.
    """
    letters = columns["precisions"]
    stages = {told: lifecycle.furthest(_known(told)).value for told in set(letters)}
    kinds = {kind: kind and kind.value for kind in set(columns["refund_type"])}
    values = {
        **columns,
        "stage": [stages[told] for told in letters],
        "refund_type": [kinds[kind] for kind in columns["refund_type"]],
        "is_returnless": columns["returnless"],
        "problems": list(map(_SEPARATOR.join, columns["problems"])),
        "first_seen_at": [now] * len(letters),
        "changed_at": [now] * len(letters),
        "is_open": is_open,
    }
    insert(connection, t.return_items, {name: values[name] for name in _WRITTEN})


def _known(letters: str) -> list[str]:
    return [name for name, letter in zip(FACTS, letters, strict=True) if letter != "-"]


def told_text(facts: Iterable[str]) -> str:
    """What one payload newly told of a unit, as ``unit_events`` keeps it."""
    return f"[{','.join(facts)}]"


@lru_cache(maxsize=65_536)
def told_fact(kind: str, at: datetime, precision: str, detail: str = "") -> str:
    """One thing a payload told, for ``told_text``."""
    document = {"kind": kind, "at": instant_text(at), "precision": precision, "detail": detail}
    return json.dumps(document, separators=(",", ":"))


def told_of(text: str) -> list[dict[str, Any]]:
    """The things ``told_text`` wrote, their instants aware."""
    return [{**fact, "at": instant_from_text(fact["at"])} for fact in json.loads(text)]


def in_chunks(
    connection: sa.Connection,
    query: Select,
    column: sa.ColumnElement[Any],
    values: Iterable[Any],
    size: int = _AT_ONCE,
) -> Iterator[Row]:
    """Rows of ``query`` whose ``column`` is one of ``values``, asked some thousands at a time."""
    query = query.where(_among(connection, column))
    for part in chunks(values, size):
        yield from connection.execute(query, {"listed": _listed(connection, part)}).all()


def listed(
    connection: sa.Connection, column: sa.ColumnElement[Any], values: Iterable[Any]
) -> tuple[sa.ColumnElement[bool], dict[str, Any]]:
    """The condition that a column is one of many values, and the parameter that holds them."""
    return _among(connection, column), {"listed": _listed(connection, list(values))}


def _among(connection: sa.Connection, column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    # One bound value however many there are: the statement is compiled once.
    if connection.dialect.name == "postgresql":
        return column == sa.any_(sa.bindparam("listed", type_=Listed(column.type)))
    listed = sa.bindparam("listed", type_=sa.JSON())
    return column.in_(sa.select(sa.func.json_each(listed).table_valued("value").c.value))


def _listed(connection: sa.Connection, values: list[Any]) -> Any:
    """The values as ``_among`` takes them."""
    return array_text(values) if connection.dialect.name == "postgresql" else values


# --- orders -----------------------------------------------------------------------

_ORDER = (
    t.orders.c.order_id,
    t.orders.c.num_id,
    t.orders.c.reference_key,
    t.orders.c.secondary_key,
    t.orders.c.source,
    t.orders.c.sub_source,
    t.orders.c.currency,
    t.orders.c.is_processed,
    t.orders.c.is_cancelled,
    t.orders.c.total_minor,
    t.orders.c.postage_minor,
    t.orders.c.postage_vat_minor,
    t.orders.c.payment_method,
    t.orders.c.processed_at,
    t.orders.c.conversion_rate,
)
_LINE = (
    t.order_lines.c.row_id,
    t.order_lines.c.order_id,
    t.order_lines.c.item_number,
    t.order_lines.c.sku,
    t.order_lines.c.channel_sku,
    t.order_lines.c.quantity,
    t.order_lines.c.total_minor,
    t.order_lines.c.vat_minor,
    t.order_lines.c.tax_rate_bp,
    t.order_lines.c.unit_cost_minor,
    t.order_lines.c.is_service,
    t.order_lines.c.is_unlinked,
    t.order_lines.c.is_batched,
    t.order_lines.c.parent_row_id,
    t.order_lines.c.discount_minor,
)


def _with_lines(connection: sa.Connection, headers: Sequence[Row]) -> list[Order]:
    lines: dict[str, list[OrderLine]] = defaultdict(list)
    query = sa.select(*_LINE).order_by(t.order_lines.c.order_id, t.order_lines.c.position)
    ids = [header[0] for header in headers]
    for row in in_chunks(connection, query, t.order_lines.c.order_id, ids):
        lines[row[1]].append(OrderLine(*row))
    return [
        Order(*(*header[:-2], tuple(lines[header[0]]), *header[-2:]))  # as declared
        for header in headers
    ]


def orders_by_id(connection: sa.Connection, ids: Iterable[str]) -> dict[str, Order]:
    """The orders with these ids, lines included."""
    found = list(in_chunks(connection, sa.select(*_ORDER), t.orders.c.order_id, ids))
    return {order.order_id: order for order in _with_lines(connection, found)}


def lines_by_id(connection: sa.Connection, row_ids: Iterable[str]) -> dict[str, OrderLine]:
    """The order lines with these row ids."""
    found = in_chunks(connection, sa.select(*_LINE), t.order_lines.c.row_id, row_ids)
    return {row[0]: OrderLine(*row) for row in found}


def despatched_at(connection: sa.Connection, ids: Iterable[str]) -> dict[str, datetime | None]:
    """When the orders with these ids were despatched; ``None``: not yet, as far as is known."""
    query = sa.select(t.orders.c.order_id, t.orders.c.processed_at)
    return {row[0]: row[1] for row in in_chunks(connection, query, t.orders.c.order_id, ids)}


def orders_by_key(
    connection: sa.Connection, keys: Collection[str], *, but_not_source: str = ""
) -> dict[str, list[Order]]:
    """The orders a folded order number names, by reference or secondary reference.

    Args:
        connection: Where to read.
        keys: Folded order numbers.
        but_not_source: A channel whose orders never count: our own exchange orders.
    """
    found: dict[str, Row] = {}
    query = sa.select(*_ORDER).where(t.orders.c.source != but_not_source)
    for column in (t.orders.c.reference_key, t.orders.c.secondary_key):
        for row in in_chunks(connection, query, column, keys):
            found[row[0]] = row
    by_key: dict[str, list[Order]] = defaultdict(list)
    wanted = set(keys)
    ordered = sorted(found.values(), key=lambda row: row[0])
    for order in _with_lines(connection, ordered):
        for key in {order.reference_key, order.secondary_key} & wanted:
            by_key[key].append(order)
    return by_key


# --- decisions --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredMatch:
    """A match as stored, and since when its outcome stands."""

    match: Match
    since_at: datetime


def _match_of(
    key: str,
    outcome: str,
    code: str,
    reason: str,
    rule: str,
    order_id: str | None,
    row_id: str | None,
    unit_no: int | None,
    candidates: str,
) -> Match:
    if outcome == "matched" and order_id and row_id and unit_no is not None:
        return Matched(key, order_id, row_id, unit_no, rule)
    if outcome == "ambiguous":
        among = tuple(filter(None, candidates.split(_SEPARATOR)))
        return Ambiguous(key, code, reason, among, order_id)
    if outcome == "waiting":
        return Waiting(key, code, reason, order_id)
    return Orphan(key, code, reason, order_id)


def matches_of(connection: sa.Connection, keys: Iterable[str]) -> dict[str, StoredMatch]:
    """The stored matches of these units."""
    query = sa.select(*(t.matches.c[name] for name in MATCH_COLUMNS))
    return {
        key: StoredMatch(_match_of(key, *match), since)
        for key, *match, since, _ in in_chunks(connection, query, t.matches.c.unit_key, keys)
    }


MATCH_COLUMNS = (
    "unit_key",
    "outcome",
    "code",
    "reason",
    "rule",
    "order_id",
    "row_id",
    "unit_no",
    "candidates",
    "since_at",
    "decided_at",
)


def match_row(match: Match, *, since: datetime, now: datetime) -> tuple[Any, ...]:
    """A match as the values of ``MATCH_COLUMNS``."""
    key = match.unit_key
    if isinstance(match, Matched):
        place = (match.rule, match.order_id, match.row_id, match.unit_no)
        return (key, "matched", "", "", *place, "", since, now)
    candidates = ""
    outcome = "orphan"
    if isinstance(match, Ambiguous):
        outcome, candidates = "ambiguous", _SEPARATOR.join(match.candidates)
    elif isinstance(match, Waiting):
        outcome = "waiting"
    return (
        key,
        outcome,
        match.code,
        match.reason,
        "",
        match.order_id,
        None,
        None,
        candidates,
        since,
        now,
    )


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """The latest disposition of a unit: which in its row of decisions."""

    sequence: int
    decided: Decided


def decisions_of(connection: sa.Connection, keys: Iterable[str]) -> dict[str, StoredDecision]:
    """The latest disposition decided for each of these units."""
    columns = t.dispositions.c
    query = sa.select(
        columns.unit_key,
        columns.sequence,
        columns.source_code,
        columns.disposition,
        columns.effect,
        columns.location_id,
        columns.is_sellable,
        columns.refund,
        columns.role,
    ).order_by(columns.unit_key, columns.sequence)
    latest = {}
    for key, sequence, code, disposition, effect, location, sellable, refund, role in in_chunks(
        connection, query, columns.unit_key, keys
    ):
        decided = Decided(
            key,
            code,
            Disposition(disposition),
            StockEffect(effect),
            location,
            sellable,
            refund,
            role,
        )
        latest[key] = StoredDecision(sequence, decided)
    return latest


def rows_of(
    connection: sa.Connection, table: sa.Table, keys: Iterable[str]
) -> dict[str, list[Mapping[str, Any]]]:
    """All rows of a table that belong to these units, by unit."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    query = sa.select(table)
    for row in in_chunks(connection, query, table.c.unit_key, keys):
        found[row.unit_key].append(row._asdict())
    return found


# --- watermarks -------------------------------------------------------------------


def watermark(connection: sa.Connection, name: str) -> datetime | None:
    """How far a source has been read."""
    query = sa.select(t.watermarks.c.at).where(t.watermarks.c.name == name)
    return connection.execute(query).scalar_one_or_none()


def position(connection: sa.Connection, name: str) -> int:
    """The last row handled of an append-only table."""
    query = sa.select(t.watermarks.c.position).where(t.watermarks.c.name == name)
    return connection.execute(query).scalar_one_or_none() or 0


def move_watermark(
    connection: sa.Connection,
    name: str,
    *,
    now: datetime,
    at: datetime | None = None,
    position: int | None = None,
) -> None:
    """Set a watermark, in the transaction of the rows it speaks for."""
    columns = ("name", "at", "position", "updated_at")
    upsert(connection, t.watermarks, columns, [(name, at, position, now)], key=("name",))


def window_start(
    engine: sa.Engine, name: str, *, now: datetime, overlap: timedelta, first: timedelta
) -> datetime | None:
    """Where the next window of a source begins.

    A mark that lies in the future was set by a wrong clock and says nothing of what was read.
    It is forgotten: this time nothing is read, and next time everything is, from ``first`` on.

    Args:
        engine: The database.
        name: The source's watermark.
        now: The end of the window.
        overlap: How far before the last reading it begins.
        first: How far back a source is read that never was.

    Returns:
        ``None`` where nothing is to be read.
    """
    with reading(engine) as connection:
        last = watermark(connection, name)
    if last is None:
        return now - first
    if last - overlap <= now:
        return last - overlap
    with engine.begin() as connection:
        move_watermark(connection, name, now=now)
    return None


def location_names(connection: sa.Connection) -> dict[str, str]:
    """Linnworks' locations, id to name."""
    query = sa.select(t.vendor_locations.c.location_id, t.vendor_locations.c.name).where(
        t.vendor_locations.c.is_present
    )
    return dict(connection.execute(query).all())


def each(
    rows: Iterable[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], str]
) -> dict[str, int]:
    """Count rows by a value of theirs."""
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        counts[value(row)] += 1
    return dict(counts)
