"""Reading the vendors: payloads kept as received, before anything is derived from them.

A window is read whole before a byte of it is stored, and its watermark moves in the
transaction of its rows: a failed read fails its step and changes nothing. What equals the
last payload seen of the same thing adds nothing. Deriving tables is ``derive``'s.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from returns_pipeline.dispatch import readings
from returns_pipeline.domain import disposition as disposition_rules
from returns_pipeline.normalise import happy_returns as hr
from returns_pipeline.normalise import linnworks as lw
from returns_pipeline.normalise import redaction
from returns_pipeline.settings import SettingsError
from returns_pipeline.steps import conservation
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.behind import behind
from returns_pipeline.storage.bulk import insert, upsert
from returns_pipeline.storage.engine import reading

RETURN = "happy_returns.return"
OUTBOUND = "happy_returns.outbound"
ORDER_V2 = "linnworks.order.v2"
ORDER_V1 = "linnworks.order.v1"

_ORDERS_READ = "linnworks.orders"
_SHIPMENTS_READ = "happy_returns.shipments"
_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Received:
    """One payload of a vendor.

    With ``fields`` its body is as received: what is stored of it is without personal data,
    which is worked out only where the hash is new. Most payloads of a poll say nothing new.
    """

    source: str
    key: str
    hash: str
    fetched_at: datetime
    body: bytes = field(repr=False)
    unknown: str = ""
    """The names of the fields nobody knows, one a line."""
    fields: Mapping[str, str] | None = None
    """Our name to the vendor's, of the fields that are kept."""


def store(connection: sa.Connection, payloads: Iterable[Received], *, run_id: str) -> int:
    """Append the payloads that differ from the last of their kind; how many did."""
    by_source: dict[str, dict[tuple[str, str], Received]] = {}
    for payload in payloads:
        # Two pages may repeat an item, and tell of it differently: which word is the newer
        # one is not for here.
        by_source.setdefault(payload.source, {})[payload.key, payload.hash] = payload
    stored = 0
    for source, found in by_source.items():
        known = _last_hashes(connection, source, {key for key, _ in found})
        new = [payload for payload in found.values() if known.get(payload.key) != payload.hash]
        with behind() as writer:
            for part in records.chunks(new, _AT_ONCE):  # their bodies are never all here twice
                bodies, unknown = _without_personal(part)
                columns = {
                    "source": [source] * len(part),
                    "key": [p.key for p in part],
                    "hash": [p.hash for p in part],
                    "body": bodies,
                    "fetched_at": [p.fetched_at for p in part],
                    "run_id": [run_id] * len(part),
                    "unknown_fields": unknown,
                }
                writer(insert, connection, t.raw_payloads, columns)
        stored += len(new)
    return stored


def _without_personal(payloads: list[Received]) -> tuple[list[str], list[str]]:
    """What is stored of the payloads: their bodies, and the names nobody knows."""
    bodies: list[str] = []
    unknown: list[str] = []
    for fields, group in groupby(payloads, key=attrgetter("fields")):
        told = list(group)
        if fields is None:
            bodies.extend(p.body.decode() for p in told)
            unknown.extend(p.unknown for p in told)
        else:
            clean = redaction.redact_all([p.body for p in told], fields)
            bodies.extend(body for body, _ in clean)
            unknown.extend(names for _, names in clean)
    return bodies, unknown


def _last_hashes(connection: sa.Connection, source: str, keys: Iterable[str]) -> dict[str, str]:
    raw = t.raw_payloads.c
    query = sa.select(raw.key, raw.hash).where(raw.source == source).order_by(raw.key, raw.id)
    return {row[0]: row[1] for row in records.in_chunks(connection, query, raw.key, keys)}


# --- Linnworks --------------------------------------------------------------------


def locations(rt: Runtime) -> dict[str, int]:
    """Read Linnworks' stock locations; one that is gone is kept and marked so.

    Raises:
        SettingsError: When a disposition leads to a location Linnworks does not have, or
            two that must not mix lead to one. Nothing is moved under such a policy.
    """
    now = rt.now()
    found = rt.linnworks.stock_locations()
    columns = ("location_id", "name", "is_warehouse_managed", "is_present", "seen_at")
    with rt.engine.begin() as connection:
        connection.execute(sa.update(t.vendor_locations).values(is_present=False))
        rows = [(place.id, place.name, place.warehouse_managed, True, now) for place in found]
        upsert(connection, t.vendor_locations, columns, rows, key=("location_id",))
    names = {place.id: place.name for place in found}
    problems = disposition_rules.location_problems(rt.policy, names)
    if problems:
        raise SettingsError(problems)
    return {"locations": len(found)}


def order_payloads(rt: Runtime) -> dict[str, int]:
    """Read the orders changed since the last reading, less an overlap."""
    now = rt.now()
    policy = rt.policy.linnworks
    since = records.window_start(
        rt.engine,
        _ORDERS_READ,
        now=now,
        overlap=policy.order_overlap,
        first=policy.initial_window,
    )
    if since is None:
        return {"read": 0, "changed": 0}
    payloads: list[Received] = []
    read = 0
    for page in rt.linnworks.orders_changed_since(since, policy.page_size):
        read += len(page)
        payloads.extend(_order_payload(raw, ORDER_V2, now) for raw in page)
        rt.progress(f"Linnworks orders: {read} read")
    with rt.engine.begin() as connection:
        stored = store(connection, payloads, run_id=rt.run_id)
        records.move_watermark(connection, _ORDERS_READ, now=now, at=now)
    return {"read": read, "changed": stored}


def _order_payload(raw: Any, source: str, now: datetime) -> Received:
    content = bytes(raw)
    try:
        key, body, drift = lw.order_id(content), lw.redact_order(content), ""
    except lw.UnreadableOrder as error:
        # What can be told of it is kept and named (SCHEMA_DRIFT); the other orders go on.
        key = _id_of_unreadable(content)
        body, drift = json.dumps({"OrderId": key}).encode(), f"(order {key}: {error})"
    return Received(source, key, lw.content_hash(body), now, body, drift)


def _id_of_unreadable(content: bytes) -> str:
    try:
        return lw.order_id(content)
    except lw.UnreadableOrder:
        return f"unreadable-{lw.content_hash(content)[:16]}"


def missing_orders(rt: Runtime) -> dict[str, int]:
    """Look up by reference the orders that open returns name and the mirror has not."""
    now = rt.now()
    with reading(rt.engine) as connection:
        wanted = _unknown_orders(connection, before=now - _RETRY_LOOK_UP)
    payloads: list[Received] = []
    for done, (_, number) in enumerate(wanted, start=1):
        found = rt.linnworks.orders_by_reference(number)
        payloads.extend(_order_payload(raw, ORDER_V1, now) for raw in found)
        rt.progress(f"Linnworks look-ups: {done} of {len(wanted)}")
    with rt.engine.begin() as connection:
        stored = store(connection, payloads, run_id=rt.run_id)
        columns = ("order_key", "asked_at")
        rows = [(key, now) for key, _ in wanted]
        upsert(connection, t.order_look_ups, columns, rows, key=("order_key",))
    return {"looked_up": len(wanted), "found": stored}


# An order that is not there is asked for once an hour, not at every tick; and a tick asks for
# so many, those that were never asked for first.
_RETRY_LOOK_UP = timedelta(hours=1)
_LOOK_UPS_A_RUN = 200


def _unknown_orders(connection: sa.Connection, *, before: datetime) -> list[tuple[str, str]]:
    """Order numbers of open units that no mirrored order carries, with their printed form."""
    items, asked = t.return_items.c, t.order_look_ups.c
    query = (
        sa.select(items.order_key, sa.func.min(items.order_number))
        .select_from(t.return_items.outerjoin(t.order_look_ups, asked.order_key == items.order_key))
        .where(sa.or_(asked.asked_at.is_(None), asked.asked_at <= before))
        .where(items.is_open)
        .where(items.order_key != "")
        .where(~sa.exists().where(t.orders.c.reference_key == items.order_key))
        .where(~sa.exists().where(t.orders.c.secondary_key == items.order_key))
        .group_by(items.order_key)
        .order_by(sa.func.min(asked.asked_at).nulls_first(), items.order_key)
        .limit(_LOOK_UPS_A_RUN)
    )
    return [(key, number) for key, number in connection.execute(query)]


def bookings(rt: Runtime) -> dict[str, int]:
    """Read the returns and refunds made in Linnworks, whoever made them."""
    now, overlap = rt.now(), rt.policy.linnworks.order_overlap
    booked = readings.read_bookings(rt.engine, rt.linnworks, now=now, overlap=overlap)
    refunded = readings.read_refunds(rt.engine, rt.linnworks, now=now, overlap=overlap)
    return {**booked, **refunded}


# --- Happy Returns ----------------------------------------------------------------


def return_payloads(rt: Runtime) -> dict[str, int]:
    """Read Happy Returns: the shipments since last time, then look-ups by order.

    The look-ups go by the watch-list, most valuable question first, inside the rate and
    ``lookups_per_run``. Where pacing is off nothing needs to be rationed: every order on
    the list is asked for.
    """
    now = rt.now()
    policy = rt.policy.happy_returns
    with reading(rt.engine) as connection:
        asked = _questions(connection, rt, now)
    since = records.window_start(
        rt.engine,
        _SHIPMENTS_READ,
        now=now,
        overlap=policy.shipment_overlap,
        first=policy.initial_window,
    )
    payloads: list[Received] = []
    listed: list[tuple[str, str, datetime]] = []
    counts: Counter[str] = Counter()
    shipments = rt.happy_returns.outbound_shipments(since, now) if since else []
    for shipment in shipments:
        counts["shipments"] += 1
        # Keys are counted over the whole answer: a unit on the next page is another one.
        pages = rt.happy_returns.outbound_items(shipment.id)
        raws = (item.raw for page in pages for item in page)
        held = _unit_payloads(raws, OUTBOUND, rt, now)
        payloads.extend(held)
        listed.extend((shipment.id, one.key, now) for one in held)
        rt.progress(f"Happy Returns shipments: {counts['shipments']} read")
    answers: dict[str, list[str]] = {}
    for done, (_, number) in enumerate(asked, start=1):
        items = rt.happy_returns.look_up(number)
        told = _unit_payloads((item.raw for item in items), RETURN, rt, now)
        payloads.extend(told)
        answers[number] = [one.key for one in told]
        rt.progress(f"Happy Returns look-ups: {done} of {len(asked)}")
    counts["look_ups"] = len(asked)
    counts["read"] = len(payloads)
    with rt.engine.begin() as connection:
        counts["changed"] = store(connection, payloads, run_id=rt.run_id)
        columns = ("shipment_id", "unit_key", "seen_at")
        upsert(connection, t.shipment_items, columns, listed, key=columns[:2], update=())
        if since:
            records.move_watermark(connection, _SHIPMENTS_READ, now=now, at=now)
        _asked(connection, [key for key, _ in asked], rt, now)
        conservation.note_answers(connection, answers, now=now)
    return dict(counts)


def _unit_payloads(raws: Iterable[Any], source: str, rt: Runtime, now: datetime) -> list[Received]:
    contents = [bytes(raw) for raw in raws]
    keys = hr.unit_keys(contents, rt.policy.happy_returns)
    fields = rt.policy.happy_returns.fields
    return [
        Received(source, key, hr.content_hash(content), now, content, fields=fields)
        for key, content in zip(keys, contents, strict=True)
    ]


_PRIORITIES = (0, 1)  # of an open return, of a shipped order


def _questions(connection: sa.Connection, rt: Runtime, now: datetime) -> list[tuple[str, str]]:
    paced = rt.settings.happy_returns is None or rt.settings.happy_returns.rate > 0
    watch = t.watch_list.c
    query = (
        sa.select(watch.order_key, watch.reference, watch.reason)
        .where(watch.is_active)
        .where(sa.or_(watch.reason == "open_return", watch.closes_at > now))
        .order_by(watch.priority, watch.due_at, watch.order_key)
    )
    found: list[Any] = []
    if paced:
        # One range of the index after the other: what is not due yet is not looked through.
        for priority in _PRIORITIES:
            left = rt.policy.happy_returns.lookups_per_run - len(found)
            due = query.where(watch.priority == priority, watch.due_at <= now).limit(left)
            found.extend(connection.execute(due))
    else:
        found.extend(connection.execute(query))
    form = rt.policy.happy_returns.order_number_format
    prefix = form.partition("{")[0]  # not twice, where the number has it already
    return [
        # Of an open return Happy Returns has told us how it prints the number.
        (row.order_key, row.reference)
        if row.reason == "open_return"
        else (row.order_key, form.format(reference=row.reference.removeprefix(prefix)))
        for row in found
    ]


def _asked(connection: sa.Connection, keys: list[str], rt: Runtime, now: datetime) -> None:
    policy = rt.policy.happy_returns
    watch = t.watch_list.c
    for reason, again in (
        ("open_return", policy.recheck_open),
        ("shipped", policy.recheck_shipped),
    ):
        for part in records.chunks(keys, 500):
            connection.execute(
                sa.update(t.watch_list)
                .where(watch.order_key.in_(part), watch.reason == reason)
                .values(due_at=now + again, last_asked_at=now)
            )
    connection.execute(
        sa.update(t.watch_list)
        .where(watch.is_active, watch.reason == "shipped", watch.closes_at <= now)
        .values(is_active=False)
    )
