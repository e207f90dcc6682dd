"""A batch's way: complete, sealed, exported, posted, reversed; each step guarded and kept.

Here: what proves a day complete, writing a sealed batch with the postings behind it, and
every move from one state to the next. Which postings a batch is made of is ``money``'s and
``corrections``'; what its bytes are ``domain.consolidation``'s.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain.consolidation import Batch, Books, canonical_bytes
from returns_pipeline.domain.model import Posting
from returns_pipeline.domain.policy import Policy, books_unit_of
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert
from returns_pipeline.storage.engine import reading
from returns_pipeline.storage.guards import MOVES

SOURCES: Mapping[str, str] = {
    "linnworks.orders": "Linnworks",
    "happy_returns.shipments": "Happy Returns",
}
"""What has to be read before a day can be sealed: watermark and name."""
_DERIVED = {
    "derived.orders": ("linnworks.order.v1", "linnworks.order.v2"),
    "derived.returns": ("happy_returns.return", "happy_returns.outbound"),
}


class NotThere(LookupError):  # noqa: N818 (it says what is so)
    """No batch has this id."""


class WrongState(Exception):  # noqa: N818 (it says what is so)
    """A batch cannot go from where it stands to where it should. Nothing was changed."""


# --- complete ---------------------------------------------------------------------


def unread(connection: sa.Connection, until: datetime) -> list[str]:
    """The sources that were not read up to an instant, each in words; none: complete."""
    columns = t.watermarks.c
    at = dict(
        tuple(row)
        for row in connection.execute(
            sa.select(columns.name, columns.at).where(columns.name.in_(SOURCES))
        )
    )
    late = []
    for name, title in SOURCES.items():
        last = at.get(name)
        if last is None:
            late.append(f"{title} was never read")
        elif last < until:
            late.append(f"{title} was read until {last:%Y-%m-%d %H:%M} UTC")
    raw = t.raw_payloads.c
    for name, sources in _DERIVED.items():
        newer = sa.exists().where(
            raw.id > records.position(connection, name), raw.source.in_(sources)
        )
        if connection.execute(sa.select(newer)).scalar_one():
            late.append(f"payloads of {sources[0].partition('.')[0]} were kept and not worked on")
    return late


# --- sealed -----------------------------------------------------------------------


def books_of(entity: str, policy: Policy) -> Books:
    """Whose books the unit with this code is, as a batch tells it."""
    unit = books_unit_of(policy, entity)
    return Books(unit.entity, unit.channel_group, policy.merchant.currency)


def taken_numbers(
    connection: sa.Connection, business_date: date, entity: str, currency: str
) -> set[str]:
    """The numbers that batches dated this day have."""
    columns = t.batches.c
    query = sa.select(columns.batch_id).where(
        columns.business_date == business_date,
        columns.entity == entity,
        columns.currency == currency,
    )
    return {batch_id[-2:] for batch_id in connection.execute(query).scalars()}


_BATCH_COLUMNS = (
    "batch_id",
    "kind",
    "state",
    "entity",
    "currency",
    "business_date",
    "origin_date",
    "hash",
    "body",
    "totals",
    "policy_hash",
    "sealed_at",
    "run_id",
    "legal_entity",
    "channel_group",
    "base_currency",
    "description",
    "reverses_id",
    "replaces_id",
    "complete_at",
)
_LINE_COLUMNS = (
    "batch_id",
    "number",
    "role",
    "account",
    "tax_key",
    "side",
    "amount_minor",
    "currency",
    "unit_keys",
    "base_minor",
)


def write(
    connection: sa.Connection,
    batch: Batch,
    rt: Runtime,
    *,
    opened_at: datetime,
    complete: str,
) -> None:
    """Write a sealed batch and its lines, and how it came to be sealed.

    Args:
        connection: Inside the caller's transaction.
        batch: As consolidated.
        rt: For the clock and the run.
        opened_at: When the first posting of it was entered.
        complete: What proves it complete, or why it was sealed all the same.
    """
    now = rt.now()
    row = (
        batch.id,
        batch.kind,
        "sealed",
        batch.entity,
        batch.currency,
        batch.business_date,
        batch.origin_date,
        batch.hash,
        canonical_bytes(batch).decode(),
        json.dumps(batch.totals, sort_keys=True),
        batch.policy_hash,
        now,
        rt.run_id,
        batch.books.legal_entity,
        batch.books.channel_group,
        batch.books.base_currency,
        batch.description,
        batch.reverses_id or None,
        batch.replaces_id or None,
        now,
    )
    upsert(connection, t.batches, _BATCH_COLUMNS, [row])
    upsert(
        connection,
        t.batch_lines,
        _LINE_COLUMNS,
        [
            (
                batch.id,
                line.number,
                line.role,
                line.account,
                line.tax_key,
                line.side,
                line.amount_minor,
                batch.currency,
                json.dumps(line.unit_keys),
                line.base_minor,
            )
            for line in batch.lines
        ],
    )
    events = (("open", opened_at, ""), ("complete", now, complete), ("sealed", now, batch.hash))
    note(connection, [(batch.id, *event) for event in events], rt.run_id)


_POSTING_COLUMNS = (
    "posting_key",
    "unit_key",
    "role",
    "account",
    "tax_key",
    "side",
    "amount_minor",
    "currency",
    "entity",
    "occurred_at",
    "business_date",
    "policy_hash",
    "created_at",
    "event_key",
    "base_minor",
    "batch_id",
    "line_number",
)


def enter(
    connection: sa.Connection,
    entered: Iterable[tuple[Posting, str, date]],
    *,
    policy_hash: str,
    now: datetime,
    batch: Batch | None = None,
) -> None:
    """Write postings, each once; in a batch where that is given.

    Args:
        connection: Inside the caller's transaction.
        entered: Each posting, its unit of the books, and the business date it is of.
        policy_hash: Of the policy that decided.
        now: The instant of entry.
        batch: The sealed batch they are the lines of.
    """
    numbers = line_numbers(batch) if batch is not None else {}
    rows = [
        (
            p.posting_key,
            p.unit_key,
            p.role,
            p.account,
            p.tax_key,
            p.side,
            p.amount_minor,
            p.currency,
            entity,
            p.occurred_at,
            day,
            policy_hash,
            now,
            p.event_key,
            p.base_minor,
            batch.id if batch is not None else None,
            numbers.get((p.role, p.account, p.tax_key, p.side)),
        )
        for p, entity, day in entered
    ]
    upsert(connection, t.postings, _POSTING_COLUMNS, rows, key=("posting_key",), update=())


def line_numbers(batch: Batch) -> dict[tuple[str, str, str, str], int]:
    """The line of a batch that a posting belongs to, by role, account, tax key and side."""
    return {(ln.role, ln.account, ln.tax_key, ln.side): ln.number for ln in batch.lines}


def put_in(connection: sa.Connection, batch: Batch, rows: Sequence[Any]) -> None:
    """Give postings that wait to the batch made of them: a statement a line."""
    numbers = line_numbers(batch)
    by_line: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        by_line[numbers[row.role, row.account, row.tax_key, row.side]].append(row.id)
    for number, ids in by_line.items():
        among, listed = records.listed(connection, t.postings.c.id, ids)
        connection.execute(
            sa.update(t.postings)
            .where(among, t.postings.c.batch_id.is_(None))
            .values(batch_id=batch.id, line_number=number),
            listed,
        )


# --- the way on -------------------------------------------------------------------


def note(
    connection: sa.Connection,
    events: Iterable[tuple[str, str, datetime, str]],
    run_id: str,
) -> None:
    """Append what batches came to: batch id, state, when, what proves it."""
    columns = ("batch_id", "state", "at", "detail", "run_id")
    upsert(connection, t.batch_events, columns, [(*event, run_id) for event in events])


def move(
    connection: sa.Connection,
    batch_ids: Collection[str],
    state: str,
    *,
    now: datetime,
    run_id: str,
    detail: str = "",
) -> int:
    """Move batches on; those that stand there already are left alone. How many moved.

    Raises:
        WrongState: When one of them cannot go there from where it stands.
    """
    columns = t.batches.c
    query = sa.select(columns.batch_id, columns.state).order_by(columns.batch_id)
    standing = {
        row.batch_id: row.state
        for row in records.in_chunks(connection, query, columns.batch_id, sorted(batch_ids))
    }
    going = {key: before for key, before in standing.items() if before != state}
    for key, before in going.items():
        if (before, state) not in MOVES:
            msg = f"{key} is {before}: it cannot become {state}. Nothing was changed."
            raise WrongState(msg)
    if going:
        among, listed = records.listed(connection, columns.batch_id, sorted(going))
        instant = {f"{state}_at": now}
        changed = sa.update(t.batches).where(among).values(state=state, **instant)
        connection.execute(changed, listed)
        note(connection, [(key, state, now, detail) for key in sorted(going)], run_id)
    return len(going)


def of_day(connection: sa.Connection, day: date) -> list[str]:
    """The batches of a closed day, however they are dated."""
    columns = t.batches.c
    query = sa.select(columns.batch_id).where(columns.origin_date == day)
    return list(connection.execute(query.order_by(columns.batch_id)).scalars())


def confirm(engine: sa.Engine, batch_id: str, ledger_id: str, *, by: str, now: datetime) -> None:
    """Record what an exported batch is called in the ledger.

    Raises:
        NotThere: When there is no such batch.
        WrongState: When it was not exported yet, or has another number there already.
    """
    columns = t.batches.c
    with engine.begin() as connection:
        found = header(connection, batch_id)
        if found.exported_at is None:
            msg = f"{batch_id} is {found.state}: no journal of it was written yet"
            raise WrongState(msg)
        if found.ledger_id and found.ledger_id != ledger_id:
            msg = (
                f"{batch_id} is {found.ledger_id} in the ledger already. Twice in the ledger is "
                "once too often: delete or reverse one of them there."
            )
            raise WrongState(msg)
        twin = sa.select(columns.batch_id).where(
            columns.ledger_id == ledger_id, columns.batch_id != batch_id
        )
        other = connection.execute(twin).scalars().first()
        if other is not None:
            msg = f"{ledger_id} is {other} in the ledger already"
            raise WrongState(msg)
        if found.ledger_id:
            return
        connection.execute(
            sa.update(t.batches)
            .where(columns.batch_id == batch_id)
            .values(ledger_id=ledger_id, confirmed_at=now)
        )
        note(connection, [(batch_id, "confirmed", now, f"{ledger_id}, by {by}")], "")


def stands_for(connection: sa.Connection, batch_id: str) -> set[str]:
    """The batch, and those it was made anew for: the one it replaces, and so on."""
    columns = t.batches.c
    found: set[str] = set()
    this: str | None = batch_id
    while this:
        found.add(this)
        query = sa.select(columns.replaces_id).where(columns.batch_id == this)
        this = connection.execute(query).scalar()
    return found


def header(connection: sa.Connection, batch_id: str) -> Any:
    """A batch's row.

    Raises:
        NotThere: When there is none.
    """
    query = sa.select(t.batches).where(t.batches.c.batch_id == batch_id)
    found = connection.execute(query).one_or_none()
    if found is None:
        msg = f"no batch has the id {batch_id!r}"
        raise NotThere(msg)
    return found


def register(engine: sa.Engine, since: date | None = None) -> list[dict[str, Any]]:
    """Every batch with the way it has come, oldest first; those of a day or later."""
    columns, events = t.batches.c, t.batch_events.c
    query = sa.select(t.batches).order_by(columns.business_date, columns.batch_id)
    if since is not None:
        query = query.where(columns.business_date >= since)
    with reading(engine) as connection:
        headers = [row._asdict() for row in connection.execute(query)]
        way: dict[str, list[dict[str, Any]]] = defaultdict(list)
        ids = [one["batch_id"] for one in headers]
        told = sa.select(t.batch_events).order_by(events.id)
        for row in records.in_chunks(connection, told, events.batch_id, ids):
            way[row.batch_id].append(
                {"state": row.state, "at": row.at, "run_id": row.run_id, "detail": row.detail}
            )
    return [{**one, "events": way[one["batch_id"]]} for one in headers]


def document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A batch of ``register`` as one JSON object."""
    told = ("legal_entity", "channel_group", "currency", "hash", "description", "ledger_id")
    return {
        "id": row["batch_id"],
        "kind": row["kind"],
        "state": row["state"],
        "business_date": row["business_date"].isoformat(),
        "origin_date": row["origin_date"].isoformat(),
        **{name: row[name] for name in told},
        "reverses": row["reverses_id"],
        "replaces": row["replaces_id"],
        "totals": json.loads(row["totals"]),
        "events": [{**one, "at": one["at"].isoformat()} for one in row["events"]],
    }
