"""Our own books, looked over before anything is done by them: rows that cannot be.

Half a payload, a state there is none of, two rows that contradict each other, a sealed batch
whose bytes, lines or refunds are others now: this program writes none of these. A restore, a
hand or a disk did. Each is named and held, and nothing is guessed over it; other work goes
on. Only what is unsettled and the newest rows are looked at, so that the cost does not grow
with history. Here: what is wrong, and holding it. Whose task it is, is ``control``'s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from returns_pipeline.dispatch import kinds
from returns_pipeline.storage import outbox, records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading
from returns_pipeline.storage.types import Row, Select

MARK = "our own books"
"""How the reason of everything that is held by this module begins, after its code."""

_NEWEST = 500  # rows looked at whatever their state, so that one of no state there is is seen
_KINDS = frozenset((*kinds.RESTOCK, *kinds.MOVE, *kinds.EXCHANGE, *kinds.REFUND))
_SETTLED = frozenset(("confirmed", "refused", "withdrawn"))
_LOOK = "look in Linnworks what became of it, then settle it by hand"
_RESTORE = "restore it from a backup, or let an engineer say what it was"


@dataclass(frozen=True, slots=True)
class Flaw:
    """A row that cannot be: where it stands, what is wrong, what to do about it."""

    table: str
    key: str
    what: str
    remedy: str

    @property
    def code(self) -> str:
        """Of the exception catalogue."""
        return "LEDGER_DRIFT" if self.table == "batches" else "WRITE_UNKNOWN_OUTCOME"

    @property
    def message(self) -> str:
        """For the person whose task it becomes."""
        return f"{MARK}: {self.table} {self.key}: {self.what}; {self.remedy}"


def flaws(connection: sa.Connection) -> list[Flaw]:
    """Every row that cannot be, of those that are unsettled or new and not held yet."""
    return [
        *_intents(connection),
        *_rows(connection, t.stock_adjustments, "adjustment_key", t.UNPOSTED_ADJUSTMENT, _movement),
        *_rows(connection, t.exchange_orders, "exchange_key", t.UNCREATED_EXCHANGE, _replacement),
        *_rows(connection, t.refunds_due, "refund_key", t.UNPAID_REFUND, _refund),
        *_unlike_sealed(connection),
        *unsound_batches(connection),
    ]


def hold(engine: sa.Engine, *, now: datetime, run_id: str) -> int:
    """Take out of the work what cannot be; how many rows.

    A batch is not changed: its refunds are not begun while it is unsound.
    """
    with reading(engine) as connection:  # nearly always that is all
        if all(flaw.table == "batches" for flaw in flaws(connection)):
            return 0
    with engine.begin() as connection:
        found = [flaw for flaw in flaws(connection) if flaw.table != "batches"]
        for flaw in found:
            if flaw.table == "intents":
                outbox.put_aside(connection, flaw.key, now=now, run_id=run_id, why=flaw.message)
                continue
            table, key = t.metadata.tables[flaw.table], _KEYS[flaw.table]
            connection.execute(
                sa.update(table)
                .where(table.c[key] == flaw.key)
                .values(state="held", note=f"{flaw.code}: {flaw.message}")
            )
    return len(found)


def held(connection: sa.Connection) -> list[Flaw]:
    """The rows that were held by this module and wait for a person."""
    intents, items = t.intents.c, t.return_items.c
    query: Select = sa.select(intents.intent_key, intents.error).where(
        intents.state == "suspense",
        t.among(intents.state, t.UNSETTLED_INTENT),
        intents.error.startswith(MARK),
    )
    found = [Flaw("intents", key, why, "") for key, why in connection.execute(query)]
    for name, key in _KEYS.items():
        columns = t.metadata.tables[name].c
        marked: Select = (
            sa.select(columns[key], columns.note)
            .join_from(t.return_items, columns.id.table, columns.unit_key == items.unit_key)
            .where(items.is_open, columns.state == "held", columns.note.contains(f": {MARK}: "))
        )
        if name == "stock_adjustments":  # by its index, or all there ever were are looked at
            marked = marked.where(t.among(columns.state, t.UNPOSTED_ADJUSTMENT))
        found.extend(Flaw(name, row, note, "") for row, note in connection.execute(marked))
    return found


# --- the outbox -------------------------------------------------------------------


def _intents(connection: sa.Connection) -> Iterator[Flaw]:
    one, needed = t.intents.alias("one"), t.intents.alias("needed")
    query: Select = sa.select(
        one.c.intent_key,
        one.c.kind,
        one.c.state,
        one.c.attempt,
        one.c.payload,
        one.c.payload_hash,
        one.c.depends_on,
        one.c.lease_until,
        one.c.sent_at,
        one.c.evidence,
        needed.c.state.label("needed_state"),
        needed.c.evidence.label("needed_evidence"),
    ).outerjoin_from(one, needed, needed.c.intent_key == one.c.depends_on)
    for row in _unsettled_or_new(connection, one, t.UNSETTLED_INTENT, query):
        what = "" if row.state == "suspense" else _intent(row)
        if what:
            yield Flaw("intents", row.intent_key, what, _LOOK)


def _intent(row: Row) -> str:
    """What is wrong with an intent, if anything."""
    if row.state not in outbox.STATES:
        return f"there is no state {row.state!r}"
    if row.state in _SETTLED:
        proven = row.state != "confirmed" or isinstance(row.evidence, dict)
        return "" if proven else "confirmed without evidence"
    if not isinstance(row.payload, dict):
        return "its payload is written by half"
    if outbox.payload_hash(row.payload) != row.payload_hash:
        return "its payload is not what was committed"
    return _claimed(row) or _needed(row)


def _claimed(row: Row) -> str:
    problems = (
        (row.kind not in _KINDS, f"there is no kind of write {row.kind!r}"),
        (
            row.state == "sending" and row.lease_until is None,
            "claimed for ever: its claim has no end",
        ),
        (row.state == "unknown" and row.sent_at is None, "unknown, and never sent"),
        (row.state != "ready" and row.attempt < 1, f"{row.state}, and never tried"),
    )
    return next((what for is_so, what in problems if is_so), "")


def _needed(row: Row) -> str:
    if row.depends_on is None:
        return ""
    if row.needed_state is None:
        return f"{row.depends_on}, which it depends on, is not there"
    shown = row.needed_evidence
    if row.needed_state == "confirmed" and not (isinstance(shown, dict) and "header_id" in shown):
        return f"{row.depends_on}, which it depends on, has no evidence of what it made"
    return ""


# --- what the outbox is for -------------------------------------------------------

_KEYS = {
    "stock_adjustments": "adjustment_key",
    "exchange_orders": "exchange_key",
    "refunds_due": "refund_key",
}


def _rows(
    connection: sa.Connection,
    table: sa.Table,
    key: str,
    waiting: Sequence[str],
    wrong: Callable[[Row], str],
) -> Iterator[Flaw]:
    intents = t.intents.c
    query: Select = sa.select(table, intents.state.label("intent_state")).outerjoin_from(
        table, t.intents, intents.intent_key == table.c.intent_key
    )
    for row in _unsettled_or_new(connection, table, waiting, query):
        what = wrong(row)
        if what:
            yield Flaw(table.name, row._mapping[key], what, _LOOK)


def _unsettled_or_new(
    connection: sa.Connection, table: sa.FromClause, waiting: Sequence[str], query: Select
) -> list[Row]:
    # A number, not a subquery: PostgreSQL takes that for a third of the table, and joins it all.
    newest = connection.execute(sa.select(sa.func.max(table.c.id))).scalar() or 0
    # Two statements, each by its own index: as one, SQLite would look at every row.
    unsettled = connection.execute(query.where(t.among(table.c.state, waiting))).all()
    new = connection.execute(
        query.where(table.c.id > newest - _NEWEST, table.c.state.not_in(waiting))
    ).all()
    return [*unsettled, *new]


def _movement(row: Row) -> str:
    return _carried_out(row, {*t.UNPOSTED_ADJUSTMENT, "posted"})


def _replacement(row: Row) -> str:
    if row.state == "created" and not row.new_order_id:
        return "created, and no order is named"
    return _carried_out(row, {*t.UNCREATED_EXCHANGE, "created"})


def _refund(row: Row) -> str:
    if row.state not in {*t.UNPAID_REFUND, "held", "actioned", "recorded"}:
        return f"there is no state {row.state!r}"
    if row.state == "batched":
        if row.batch_id is None:
            return "batched, and in no batch"
        return "" if row.intent_key is None else _intended(row)
    if row.state == "due" and (row.batch_id or row.intent_key):
        return "due, and begun already"
    return ""


def _unlike_sealed(connection: sa.Connection) -> Iterator[Flaw]:
    """Refunds that wait to be sent and are not what their batch holds of them."""
    due, entered = t.refunds_due.c, t.postings.c
    # Refund by refund: joined and grouped, SQLite goes through all refunds there ever were.
    sealed = (
        sa.select(sa.func.coalesce(sa.func.sum(entered.amount_minor), 0))
        .where(entered.unit_key == due.unit_key, entered.batch_id == due.batch_id)
        .where(entered.role.startswith("refund_clearing"), entered.side == "credit")
        .scalar_subquery()
    )
    query: Select = (
        sa.select(
            due.refund_key, due.batch_id, t.to_pay().label("amount_minor"), sealed.label("sealed")
        )
        .where(t.among(due.state, t.UNPAID_REFUND), due.state == "batched")
        .where(t.to_pay() != sealed)
    )
    for row in connection.execute(query):
        if row.batch_id is None:
            continue
        what = f"it is of {row.amount_minor} minor units, and {row.sealed} were sealed"
        yield Flaw("refunds_due", row.refund_key, what, _LOOK)


def _carried_out(row: Row, states: Collection[str]) -> str:
    if row.state not in states:
        return f"there is no state {row.state!r}"
    if row.state == "ready" and row.intent_key is not None:
        return f"ready, and begun already by {row.intent_key}"
    return _intended(row) if row.state == "intended" else ""


def _intended(row: Row) -> str:
    """What an intent says of a row that waits for it."""
    if row.intent_state is None:
        return f"{row.intent_key or 'the intent'} that is to carry it out is not there"
    if row.intent_state in _SETTLED:
        return f"{row.intent_key} is {row.intent_state}, and it is still {row.state}"
    return ""


# --- batches ----------------------------------------------------------------------


def unsound_batches(connection: sa.Connection) -> list[Flaw]:
    """Batches that are not finished and not as they were sealed: nothing is paid by them."""
    columns = t.batches.c
    query: Select = sa.select(columns.batch_id, columns.hash, columns.body, columns.totals).where(
        t.among(columns.state, t.UNFINISHED_BATCH)
    )
    # Sorted here: asked for an order, SQLite would go through all there ever were by it.
    headers = sorted(connection.execute(query).all(), key=lambda header: header.batch_id)
    ids = [header.batch_id for header in headers]
    lines = _lines(connection, ids)
    return [
        Flaw("batches", header.batch_id, what, _RESTORE)
        for header in headers
        if (what := _batch(header, lines[header.batch_id]))
    ]


_Line = tuple[int, str, str, str, int]


def _lines(connection: sa.Connection, ids: Sequence[str]) -> dict[str, list[_Line]]:
    columns = t.batch_lines.c
    query: Select = sa.select(t.batch_lines).order_by(columns.batch_id, columns.number)
    found: dict[str, list[_Line]] = {batch_id: [] for batch_id in ids}
    for row in records.in_chunks(connection, query, columns.batch_id, ids):
        line = (row.number, row.role, row.account, row.side, row.amount_minor)
        found[row.batch_id].append(line)
    return found


def _batch(header: Row, lines: list[_Line]) -> str:
    if hashlib.sha256(header.body.encode()).hexdigest() != header.hash:
        return "its bytes do not give its hash"
    document = json.loads(header.body)
    sealed = [
        (line["number"], line["role"], line["account"], line["side"], line["amount_minor"])
        for line in document["lines"]
    ]
    if sealed != lines:
        return "its lines are not those that were sealed"
    if document["totals"] != json.loads(header.totals):
        return "its totals are not those that were sealed"
    return ""
