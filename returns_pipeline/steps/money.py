"""Money: ledger postings as things happen, one sealed batch a business day.

The rules of VAT, roles and totals are ``domain``'s (``postings``, ``consolidation``); how a
batch is written and goes on is ``batching``'s. A sealed batch is never written again; what
comes late joins an adjustment batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain import consolidation
from returns_pipeline.domain import postings as posting_rules
from returns_pipeline.domain.calendar import business_date, day_bounds
from returns_pipeline.domain.decisions import Kind
from returns_pipeline.domain.model import (
    Held,
    Posting,
    RefundType,
)
from returns_pipeline.settings import SettingsError
from returns_pipeline.steps import batching, periods, settlements
from returns_pipeline.steps.ledger import IN_TRANSIT, SETTLED, Ledger, last_event, posting_of
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import decisions as said
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert
from returns_pipeline.storage.engine import reading

LEDGER_HOLDS = ("ACCOUNT_UNMAPPED", "COST_MISSING", "FX_RATE_MISSING")
"""Why an event is not in the ledger yet: such notes go when it is."""


class BatchBreaker(Exception):  # noqa: N818 (it says what stopped the run)
    """A day's refunds exceed what the policy lets a run pay without asking."""


class DayIncomplete(Exception):  # noqa: N818 (it says what is so)
    """A day whose sources were not read to its end. Nothing was sealed or paid."""


# --- the ledger -------------------------------------------------------------------


@dataclass(slots=True)
class _Entered:
    """What one run enters: postings with whose they are and of which day, and what waits."""

    rt: Runtime
    lines: list[tuple[Posting, str, date]] = field(default_factory=list)
    done: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    held: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    nothing: list[int] = field(default_factory=list)

    def put(self, table: sa.Table, number: int, result: list[Posting] | Held, books: str) -> None:
        """Take what an event comes to: its lines, or why it waits."""
        if isinstance(result, Held):
            self.held[table.name, f"{result.code}: {result.reason}"].append(number)
            return
        self.add(result, books)
        self.done[table.name].append(number)
        if not result and table is t.refunds_due:
            self.nothing.append(number)

    @property
    def waiting(self) -> int:
        """How many events wait."""
        return sum(len(ids) for ids in self.held.values())

    def add(self, lines: Iterable[Posting], books: str) -> None:
        zone = self.rt.policy.merchant.time_zone
        self.lines.extend((p, books, business_date(p.occurred_at, zone)) for p in lines)


def postings(rt: Runtime) -> dict[str, int]:
    """Enter in the ledger what was posted to stock and what is owed, once each.

    What cannot be entered waits with its reason and holds up nothing else. The lines of a
    refund that was refused are taken back; once it is put right it is entered anew.
    """
    now = rt.now()
    with rt.engine.begin() as connection:
        due = t.refunds_due.c
        refunds = _unledgered(connection, t.refunds_due, due.state != "refused")
        moved = _unledgered(
            connection, t.stock_adjustments, t.stock_adjustments.c.state == "posted"
        )
        ledger = Ledger(connection, rt, refunds, moved)
        entered = _Entered(rt)
        _refunds(entered, ledger, refunds, now)
        for row in moved:
            if row["unit_key"] in ledger.decisions:
                entered.put(t.stock_adjustments, row["id"], *ledger.movement(row))
        taken = _take_back_refused(connection, entered)
        lost = _write_off(connection, entered, now)
        batching.enter(connection, entered.lines, policy_hash=rt.policy.hash, now=now)
        _settle(connection, entered, now)
        met = _meet(connection, rt, now)
    lines = len(entered.lines) + len(met.lines)
    counts = {"postings": lines, "held": entered.waiting + met.waiting}
    return counts | {name: n for name, n in (("taken_back", taken), ("lost", lost)) if n}


def _refunds(
    entered: _Entered, ledger: Ledger, rows: Iterable[Mapping[str, Any]], now: datetime
) -> None:
    """Enter refunds, and exchanges whose legs have met: of those the first leg is entered."""
    for row in rows:
        key = last_event(row)
        # Refused, and put right since: it is of the day of that.
        at = (row["settled_at"] or now) if row["attempt"] else None
        if row["cleared_at"] is None:
            result = ledger.refund(row, at=at, key=key)
        else:
            result = ledger.settlement(row, at=at or row["cleared_at"], key=key)
        entered.put(t.refunds_due, row["id"], *result)


def _meet(connection: sa.Connection, rt: Runtime, now: datetime) -> _Entered:
    """Let the legs of exchanges meet that can, and enter what that leaves."""
    entered = _Entered(rt)
    if settlements.meet(connection, rt):
        due = t.refunds_due.c
        rows = _unledgered(
            connection, t.refunds_due, due.state != "refused", due.cleared_at.is_not(None)
        )
        _refunds(entered, Ledger(connection, rt, rows, ()), rows, now)
        batching.enter(connection, entered.lines, policy_hash=rt.policy.hash, now=now)
        _settle(connection, entered, now)
    return entered


def _unledgered(
    connection: sa.Connection, table: sa.Table, *where: sa.ColumnElement[bool]
) -> list[Mapping[str, Any]]:
    query = sa.select(table).where(~table.c.is_ledgered, *where).order_by(table.c.id)
    return [row._asdict() for row in connection.execute(query)]


def _take_back_refused(connection: sa.Connection, entered: _Entered) -> int:
    """Nobody was paid: the lines of refunds that were refused are entered with sides swapped."""
    due = t.refunds_due.c
    query = sa.select(due.id, due.refund_key, due.attempt, due.settled_at, due.cleared_at).where(
        t.among(due.state, t.UNPAID_REFUND), due.state == "refused", due.is_ledgered
    )
    refused = {last_event(row._asdict()): row for row in connection.execute(query)}
    by_event: dict[str, list[Any]] = defaultdict(list)
    lines = sa.select(t.postings).order_by(t.postings.c.id)
    units = {key.partition("~")[0].removesuffix(":refund") for key in refused}
    for line in records.in_chunks(connection, lines, t.postings.c.unit_key, sorted(units)):
        if line.event_key in refused:
            by_event[line.event_key].append(line)
    for event, row in refused.items():
        key = f"{row.refund_key}~back{row.attempt}"
        found = [posting_of(line) for line in by_event[event]]
        if found:
            entered.add(
                posting_rules.taken_back(found, key, row.settled_at), by_event[event][0].entity
            )
    among, listed = records.listed(connection, due.id, [row.id for row in refused.values()])
    if refused:
        again = {"is_ledgered": False, "attempt": due.attempt + 1}
        connection.execute(sa.update(t.refunds_due).where(among).values(**again), listed)
    return len(refused)


def _write_off(connection: sa.Connection, entered: _Entered, now: datetime) -> int:
    """Units that were paid so long ago and never came, or were given up: their cost is lost."""
    policy = entered.rt.policy
    after = policy.finance.write_off_in_transit
    due, items, posted = t.refunds_due.c, t.return_items.c, t.postings.c
    query = (
        sa.select(due.unit_key, due.effective_at)
        .join_from(t.return_items, t.refunds_due, items.unit_key == due.unit_key)
        .where(items.is_open, items.received_at.is_(None))
    )
    gone = {}
    if after:
        old = query.where(due.effective_at <= now - after)
        gone = {row.unit_key: row.effective_at + after for row in connection.execute(old)}
    given_up = {
        key: one.decided_at
        for key, one in said.of_open_units(connection, "condition").items()
        if one.kind is Kind.WRITE_OFF
    }
    for row in records.in_chunks(connection, query, due.unit_key, sorted(given_up)):
        gone[row.unit_key] = given_up[row.unit_key]
    lines: dict[str, list[Any]] = defaultdict(list)
    found = sa.select(t.postings).where(posted.role == IN_TRANSIT).order_by(posted.id)
    for line in records.in_chunks(connection, found, posted.unit_key, sorted(gone)):
        lines[line.unit_key].append(line)
    lost = 0
    for unit, of_unit in sorted(lines.items()):
        open_lines = [posting_of(line) for line in of_unit]
        if not posting_rules.imbalance(open_lines):
            continue  # written off, or taken back, already
        result = posting_rules.loss_postings(unit, open_lines, gone[unit], policy)
        if not isinstance(result, Held):
            entered.add(result, of_unit[0].entity)
            lost += 1
    return lost


def _settle(connection: sa.Connection, entered: _Entered, now: datetime) -> None:
    """Note on the rows what was entered and what waits, a statement a reason."""
    for table in (t.refunds_due, t.stock_adjustments):
        ids = entered.done[table.name]
        if not ids:
            continue
        among, listed = records.listed(connection, table.c.id, ids)
        waited = sa.or_(*(table.c.note.startswith(code) for code in LEDGER_HOLDS))
        note = sa.case((waited, ""), else_=table.c.note)
        connection.execute(
            sa.update(table).where(among).values(is_ledgered=True, note=note), listed
        )
    for (name, why), ids in entered.held.items():
        table = t.metadata.tables[name]
        among, listed = records.listed(connection, table.c.id, ids)
        connection.execute(sa.update(table).where(among).values(note=why), listed)
    if entered.nothing:
        # What was free has no line that a batch could settle it by; nobody is paid for it.
        due = t.refunds_due.c
        among, listed = records.listed(connection, due.id, entered.nothing)
        connection.execute(
            sa.update(t.refunds_due)
            .where(among, due.state == "due")
            .values(state="recorded", settled_at=now),
            listed,
        )


# --- the day ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CloseResult:
    """What closing a day did: the batches it sealed and what it found already sealed."""

    business_date: date
    sealed: tuple[str, ...]
    already: tuple[str, ...]
    refunds: Mapping[str, int] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """One sentence for the person who pressed the button."""
        if self.sealed and self.already:
            return f"{self.business_date}: late arrivals sealed in {', '.join(self.sealed)}"
        if self.sealed:
            return f"{self.business_date}: sealed {', '.join(self.sealed)}"
        if self.already:
            return f"{self.business_date}: sealed already, nothing has come late; nothing changed"
        return f"{self.business_date}: closed; nothing was refunded or restocked that day"


def open_days(rt: Runtime, until: date) -> list[date]:
    """Business days up to ``until`` that have something no batch holds yet."""
    query = (
        sa.select(t.postings.c.business_date)
        .distinct()
        .where(t.postings.c.batch_id.is_(None), t.postings.c.business_date <= until)
        .order_by(t.postings.c.business_date)
    )
    with reading(rt.engine) as connection:
        return list(connection.execute(query).scalars())


def seal(rt: Runtime, day: date, *, lag: timedelta = timedelta(), force: str = "") -> CloseResult:
    """Seal what the day holds: its primary batches, or adjustments for what came late.

    A day of a locked period is dated the first open day after it, and keeps its own as
    the batch's origin.

    Args:
        rt: The run.
        day: The business date.
        lag: How long after the day's end its sources must have been read.
        force: Why it is sealed although they were not; empty: it is not.

    Raises:
        BatchBreaker: When the refunds to be sent exceed ``[refunds] max_batch_minor``.
        DayIncomplete: When a source was not read to the day's end.
    """
    now = rt.now()
    postings(rt)
    sealed = []
    with rt.engine.begin() as connection:
        _refuse_rehearsal(connection, rt, now)
        complete = _require_complete(connection, rt, day, lag, force)
        _declare_executor(connection, rt)
        already = batching.of_day(connection, day)
        dated = periods.dated(day, periods.locked_months(connection))
        for (entity, currency), rows in _waiting(connection, day):
            _refuse_unusual(rows, rt)
            taken = batching.taken_numbers(connection, dated, entity, currency)
            is_first = dated == day and consolidation.PRIMARY not in taken
            kind = "primary" if is_first else "adjustment"
            moved_on = f"of {day}, a day of a locked period" if dated != day else ""
            batch = consolidation.consolidate(
                [posting_of(row) for row in rows],
                business_date=dated,
                origin_date=day,
                entity=entity,
                currency=currency,
                number=consolidation.next_number(taken, kind=kind),
                kind=kind,
                policy_hash=rt.policy.hash,
                books=batching.books_of(entity, rt.policy),
                description=moved_on,
            )
            opened = min(row.created_at for row in rows)
            batching.write(connection, batch, rt, opened_at=opened, complete=complete)
            batching.put_in(connection, batch, rows)
            _take_refunds(connection, batch, rows, now)
            sealed.append(batch.id)
        columns = ("business_date", "closed_at", "run_id")
        upsert(
            connection,
            t.closed_days,
            columns,
            [(day, now, rt.run_id)],
            key=("business_date",),
            update=(),
        )
    return CloseResult(day, tuple(sealed), tuple(already))


def _waiting(connection: sa.Connection, day: date) -> list[tuple[tuple[str, str], list[Any]]]:
    """The day's postings that no batch holds yet, by unit of the books and currency."""
    waiting: dict[tuple[str, str], list[Any]] = defaultdict(list)
    columns = t.postings.c
    query = (
        sa.select(t.postings)
        .where(columns.batch_id.is_(None), columns.business_date == day)
        .order_by(columns.posting_key)
    )
    for row in connection.execute(query):
        waiting[row.entity, row.currency].append(row)
    return sorted(waiting.items())


def _require_complete(
    connection: sa.Connection, rt: Runtime, day: date, lag: timedelta, force: str
) -> str:
    """What proves the day complete, in words.

    A day that was closed once is complete: what is sealed of it now has come late.
    """
    closed = sa.select(t.closed_days.c.closed_at).where(t.closed_days.c.business_date == day)
    if connection.execute(closed).first() is not None:
        return "the day was closed before"
    end = day_bounds(day, rt.policy.merchant.time_zone)[1] + lag
    late = batching.unread(connection, end)
    until = f"{end:%Y-%m-%d %H:%M} UTC"
    if not late:
        return f"every source was read past {until}"
    if force:
        return f"forced, although {'; '.join(late)}: {force}"
    msg = (
        f"{day} is not complete: {'; '.join(late)}. Both must have been read past {until}: run "
        "`returns-pipeline sync`, then close the day again; or close it with --force and the "
        "reason. Nothing was sealed or paid."
    )
    raise DayIncomplete(msg)


_REHEARSED = "shadow.sealed"


def _refuse_rehearsal(connection: sa.Connection, rt: Runtime, now: datetime) -> None:
    """Keep what shadow mode sealed from ever being paid: live begins on a database of its own.

    Raises:
        SettingsError: In live mode, where shadow mode has sealed a day in this database.
    """
    if not rt.live:
        records.move_watermark(connection, _REHEARSED, now=now, at=now)
    elif records.watermark(connection, _REHEARSED) is not None:
        problem = (
            "this database holds days that were closed in shadow mode, and live mode would pay "
            "them: begin live on a new database (RETURNS_DATABASE_URL, `db upgrade`)"
        )
        raise SettingsError([problem])


def _declare_executor(connection: sa.Connection, rt: Runtime) -> None:
    """Let what is not in a batch yet be paid by whoever the policy declares now."""
    declared = rt.policy.refunds.executor
    due = t.refunds_due.c
    if declared is not None:
        connection.execute(
            sa.update(t.refunds_due)
            .where(due.state == "due", t.among(due.state, t.UNPAID_REFUND))
            .where(sa.or_(due.tender == RefundType.REFUND.value, _is_residual()))
            .where(due.executor != declared.value)
            .values(executor=declared.value)
        )


def _is_residual() -> sa.ColumnElement[bool]:
    """The condition that a refund is what an exchange leaves for the shopper."""
    return sa.and_(t.refunds_due.c.tender == RefundType.EXCHANGE.value, t.to_pay() > 0)


def _refuse_unusual(rows: list[Any], rt: Runtime) -> None:
    money = sum(
        row.amount_minor
        for row in rows
        if row.role.startswith("refund_clearing") and row.side == "credit"
    )
    limit = rt.policy.refunds.max_batch_minor
    if money > limit:
        msg = (
            f"the day's refunds come to {money} {rows[0].currency} minor units, above the "
            f"policy's [refunds] max_batch_minor of {limit}. Nothing was sealed or paid. Check "
            "the day, then raise the limit and close it again."
        )
        raise BatchBreaker(msg)


def _take_refunds(
    connection: sa.Connection, batch: consolidation.Batch, rows: Sequence[Any], now: datetime
) -> None:
    """The refunds whose lines the batch holds are its: to be sent, or recorded."""
    due = t.refunds_due.c
    events = {row.event_key for row in rows}
    keys = {event.partition("~")[0] for event in events if "~back" not in event}
    keys -= _of_other_batches(connection, keys, events)
    among, listed = records.listed(connection, due.refund_key, sorted(keys))
    mine = sa.and_(among, due.is_ledgered, due.currency == batch.currency)
    to_send = sa.and_(due.executor == "linnworks", t.to_pay() > 0)
    for where, values in (
        (to_send, {"state": "batched"}),
        (sa.not_(to_send), {"state": "recorded", "settled_at": now}),
    ):
        connection.execute(
            sa.update(t.refunds_due)
            .where(mine, due.state == "due", where)
            .values(batch_id=batch.id, **values),
            listed,
        )
    # One that was refused, and put right since, is of the batch that holds its lines now.
    connection.execute(
        sa.update(t.refunds_due)
        .where(mine, due.attempt > 0, due.state != "refused")
        .values(batch_id=batch.id),
        listed,
    )


def _of_other_batches(
    connection: sa.Connection, keys: Collection[str], events: Collection[str]
) -> set[str]:
    """Residuals of which only the return leg is here: paid by the batch that holds them."""
    due = t.refunds_due.c
    query = sa.select(due.refund_key).where(_is_residual())
    found = records.in_chunks(connection, query, due.refund_key, sorted(keys))
    met = {e.partition("~")[0] for e in events if e.partition("~")[2].startswith(_MEETS)}
    return {row.refund_key for row in found} - met


_MEETS = (SETTLED, "again")


def mark_posted(rt: Runtime, day: date | None = None) -> dict[str, int]:
    """Exported batches whose refunds are all settled are posted: those of a day, or all.

    To be called when everything else of the day is done: a day with a batch that is not
    posted is closed again, a posted one is left alone.
    """
    due, columns = t.refunds_due.c, t.batches.c
    waiting = sa.exists().where(due.batch_id == columns.batch_id, due.state == "batched")
    done = sa.select(columns.batch_id).where(
        t.among(columns.state, t.UNFINISHED_BATCH), columns.state == "exported", ~waiting
    )
    if day is not None:
        done = done.where(columns.origin_date == day)
    with rt.engine.begin() as connection:
        ids = list(connection.execute(done).scalars())
        moved = batching.move(connection, ids, "posted", now=rt.now(), run_id=rt.run_id)
    return {"posted": moved}
