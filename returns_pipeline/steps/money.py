"""Money: ledger postings as things happen, one sealed batch a business day, its journal.

The rules of VAT, roles and totals are ``domain``'s (``postings``, ``consolidation``). A
sealed batch is never written again; what comes late joins an adjustment batch.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain import consolidation
from returns_pipeline.domain import postings as posting_rules
from returns_pipeline.domain.calendar import business_date
from returns_pipeline.domain.model import (
    Decided,
    Disposition,
    Executor,
    Held,
    Posting,
    RefundDue,
    RefundType,
    StockAdjustment,
    StockEffect,
    Unit,
)
from returns_pipeline.reporting import journal as journal_files
from returns_pipeline.settings import SettingsError
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert
from returns_pipeline.storage.engine import reading


class BatchBreaker(Exception):  # noqa: N818 (it says what stopped the run)
    """A day's refunds exceed what the policy lets a run pay without asking."""


def postings(rt: Runtime) -> dict[str, int]:
    """Enter in the ledger what was posted to stock and what is owed, once each."""
    now = rt.now()
    with rt.engine.begin() as connection:
        refunds = _unledgered(connection, t.refunds_due)
        moved = _unledgered(
            connection, t.stock_adjustments, t.stock_adjustments.c.state == "posted"
        )
        keys = {row["unit_key"] for row in (*refunds, *moved)}
        units = records.units_by_key(connection, keys)
        decisions = records.decisions_of(connection, keys)
        costs = _unit_costs(connection, {row["row_id"] for row in (*refunds, *moved)})
        in_transit = _in_transit(connection, keys)
        stocked = _stock_entered(connection, keys)
        currencies = _currencies(connection, {row["order_id"] for row in moved})
        entered: list[Posting] = []
        held: list[tuple[sa.Table, int, Held]] = []
        done: dict[str, list[int]] = {"refunds_due": [], "stock_adjustments": []}
        nothing: list[int] = []
        for row in refunds:
            unit = units[row["unit_key"]]
            result = posting_rules.refund_postings(
                refund_of(row),
                Executor.HAPPY_RETURNS
                if row["executor"] == "happy_returns"
                else Executor.LINNWORKS,
                costs.get(row["row_id"]),
                rt.policy,
                received=_was_back(unit, row["effective_at"]) or row["unit_key"] in stocked,
            )
            if isinstance(result, Held):
                held.append((t.refunds_due, row["id"], result))
                continue
            entered.extend(result)
            if any(p.role == "returned_goods_in_transit" for p in result):
                in_transit.add(row["unit_key"])
            done["refunds_due"].append(row["id"])
            if not result:
                nothing.append(row["id"])
        for row in moved:
            decision = decisions.get(row["unit_key"])
            if decision is None:
                continue
            result = posting_rules.stock_postings(
                adjustment_of(row),
                _as_posted(decision.decided, row),
                costs.get(row["row_id"]),
                row["posted_at"],
                rt.policy,
                currency=currencies.get(row["order_id"], rt.policy.merchant.currency),
                was_in_transit=row["unit_key"] in in_transit,
            )
            if isinstance(result, Held):
                held.append((t.stock_adjustments, row["id"], result))
                continue
            entered.extend(result)
            done["stock_adjustments"].append(row["id"])
        _write_postings(connection, entered, rt, now)
        for table in (t.refunds_due, t.stock_adjustments):
            for part in records.chunks(done[table.name], 500):
                connection.execute(
                    sa.update(table).where(table.c.id.in_(part)).values(is_ledgered=True)
                )
                connection.execute(
                    sa.update(table)
                    .where(table.c.id.in_(part), table.c.note.startswith("ACCOUNT_UNMAPPED"))
                    .values(note="")
                )
        # What was free has no line that a batch could settle it by; nobody is paid for it.
        due = t.refunds_due.c
        for part in records.chunks(nothing, 500):
            connection.execute(
                sa.update(t.refunds_due)
                .where(due.id.in_(part), due.state == "due")
                .values(state="recorded", settled_at=now)
            )
        for table, number, why in held:
            connection.execute(
                sa.update(table)
                .where(table.c.id == number)
                .values(note=f"{why.code}: {why.reason}")
            )
    return {"postings": len(entered), "held": len(held)}


def _was_back(unit: Unit, paid_at: datetime) -> bool:
    """Whether the goods were in the warehouse when the money left; or none were to come."""
    return unit.returnless or (unit.received is not None and unit.received.at <= paid_at)


def _stock_entered(connection: sa.Connection, keys: set[str]) -> set[str]:
    """Units whose stock movement stands in the ledger already: nothing will close a transit."""
    moved = t.stock_adjustments.c
    query = sa.select(moved.unit_key).where(moved.is_ledgered)
    return {row[0] for row in records.in_chunks(connection, query, moved.unit_key, keys)}


def _unledgered(
    connection: sa.Connection, table: sa.Table, *where: sa.ColumnElement[bool]
) -> list[Mapping[str, Any]]:
    query = sa.select(table).where(~table.c.is_ledgered, *where).order_by(table.c.id)
    return [row._asdict() for row in connection.execute(query)]


def refund_of(row: Mapping[str, Any]) -> RefundDue:
    """The refund behind its stored row."""
    return RefundDue(
        refund_key=row["refund_key"],
        unit_key=row["unit_key"],
        order_id=row["order_id"],
        row_id=row["row_id"],
        currency=row["currency"],
        goods_minor=row["goods_minor"],
        goods_vat_minor=row["goods_vat_minor"],
        shipping_minor=row["shipping_minor"],
        shipping_vat_minor=row["shipping_vat_minor"],
        fee_minor=row["fee_minor"],
        fee_vat_minor=row["fee_vat_minor"],
        amount_minor=row["amount_minor"],
        tax_rate_bp=row["tax_rate_bp"],
        tender=RefundType(row["tender"]),
        gateway=row["gateway"],
        effective_at=row["effective_at"],
    )


def adjustment_of(row: Mapping[str, Any]) -> StockAdjustment:
    """The stock adjustment behind its stored row."""
    return StockAdjustment(
        adjustment_key=row["adjustment_key"],
        unit_key=row["unit_key"],
        order_id=row["order_id"],
        row_id=row["row_id"],
        sku=row["sku"],
        location_id=row["location_id"],
        quantity=row["quantity"],
        scrap_quantity=row["scrap_quantity"],
        kind=row["kind"],
        from_location_id=row["from_location_id"],
    )


def _as_posted(decided: Decided, row: Mapping[str, Any]) -> Decided:
    """The decision under which the row was posted, whatever was decided since."""
    return Decided(
        unit_key=decided.unit_key,
        source_code=decided.source_code,
        disposition=Disposition(decided.disposition),
        effect=StockEffect.SCRAP if row["scrap_quantity"] else StockEffect.RESTOCK,
        location_id=row["location_id"],
        sellable=row["is_sellable"],
        refund=decided.refund,
        role=row["role"],
    )


def _unit_costs(connection: sa.Connection, row_ids: set[str]) -> dict[str, int]:
    lines = t.order_lines.c
    query = sa.select(lines.row_id, lines.unit_cost_minor).where(lines.unit_cost_minor.is_not(None))
    return {row[0]: row[1] for row in records.in_chunks(connection, query, lines.row_id, row_ids)}


def _currencies(connection: sa.Connection, order_ids: set[str]) -> dict[str, str]:
    query = sa.select(t.orders.c.order_id, t.orders.c.currency)
    found = records.in_chunks(connection, query, t.orders.c.order_id, order_ids)
    return {row[0]: row[1] for row in found}


def _in_transit(connection: sa.Connection, keys: set[str]) -> set[str]:
    query = sa.select(t.postings.c.unit_key).where(
        t.postings.c.role == "returned_goods_in_transit", t.postings.c.side == "debit"
    )
    return {row[0] for row in records.in_chunks(connection, query, t.postings.c.unit_key, keys)}


def _write_postings(
    connection: sa.Connection, entered: list[Posting], rt: Runtime, now: datetime
) -> None:
    merchant = rt.policy.merchant
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
            merchant.entity,
            p.occurred_at,
            business_date(p.occurred_at, merchant.time_zone),
            rt.policy.hash,
            now,
        )
        for p in entered
        if p.amount_minor
    ]
    columns = (
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
    )
    upsert(connection, t.postings, columns, rows, key=("posting_key",), update=())


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


def seal(rt: Runtime, day: date) -> CloseResult:
    """Seal what the day holds: its primary batch, or an adjustment for what came late.

    Raises:
        BatchBreaker: When the refunds to be sent exceed ``[refunds] max_batch_minor``.
    """
    now = rt.now()
    postings(rt)
    sealed = []
    with rt.engine.begin() as connection:
        _refuse_rehearsal(connection, rt, now)
        _declare_executor(connection, rt)
        already = _batches_of(connection, day)
        waiting: dict[tuple[str, str], list[Any]] = defaultdict(list)
        columns = t.postings.c
        query = (
            sa.select(t.postings)
            .where(columns.batch_id.is_(None), columns.business_date == day)
            .order_by(columns.posting_key)
        )
        for row in connection.execute(query):
            waiting[row.entity, row.currency].append(row)
        for (entity, currency), rows in sorted(waiting.items()):
            _refuse_unusual(rows, rt)
            number = _next_number(already, entity, currency)
            batch = consolidation.consolidate(
                [_posting_of(row) for row in rows],
                business_date=day,
                origin_date=day,
                entity=entity,
                currency=currency,
                number=number,
                kind="primary" if number == "00" else "adjustment",
                policy_hash=rt.policy.hash,
            )
            _write_batch(connection, batch, rows, rt, now)
            sealed.append(batch.id)
        upsert(
            connection,
            t.closed_days,
            ("business_date", "closed_at", "run_id"),
            [(day, now, rt.run_id)],
            key=("business_date",),
            update=(),
        )
    return CloseResult(day, tuple(sealed), tuple(already))


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
            .where(due.state == "due", due.tender == RefundType.REFUND.value)
            .where(due.executor != declared.value)
            .values(executor=declared.value)
        )


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


def _batches_of(connection: sa.Connection, day: date) -> list[str]:
    query = sa.select(t.batches.c.batch_id).where(t.batches.c.business_date == day)
    return sorted(connection.execute(query).scalars())


def _next_number(already: list[str], entity: str, currency: str) -> str:
    taken = {batch_id[-2:] for batch_id in already if batch_id[13:18] == f"{entity}{currency}"}
    return next(f"{n:02d}" for n in range(100) if f"{n:02d}" not in taken)


def _posting_of(row: Any) -> Posting:
    return Posting(
        posting_key=row.posting_key,
        unit_key=row.unit_key,
        role=row.role,
        account=row.account,
        tax_key=row.tax_key,
        side=row.side,
        amount_minor=row.amount_minor,
        currency=row.currency,
        occurred_at=row.occurred_at,
    )


def _write_batch(
    connection: sa.Connection,
    batch: consolidation.Batch,
    rows: list[Any],
    rt: Runtime,
    now: datetime,
) -> None:
    connection.execute(
        sa.insert(t.batches).values(
            batch_id=batch.id,
            kind=batch.kind,
            state="sealed",
            entity=batch.entity,
            currency=batch.currency,
            business_date=batch.business_date,
            origin_date=batch.origin_date,
            hash=batch.hash,
            body=consolidation.canonical_bytes(batch).decode(),
            totals=json.dumps(batch.totals, sort_keys=True),
            policy_hash=rt.policy.hash,
            sealed_at=now,
            run_id=rt.run_id,
        )
    )
    upsert(
        connection,
        t.batch_lines,
        (
            "batch_id",
            "number",
            "role",
            "account",
            "tax_key",
            "side",
            "amount_minor",
            "currency",
            "unit_keys",
        ),
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
            )
            for line in batch.lines
        ],
    )
    numbers = {(ln.role, ln.account, ln.tax_key, ln.side): ln.number for ln in batch.lines}
    by_line: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        by_line[numbers[row.role, row.account, row.tax_key, row.side]].append(row.id)
    for number, ids in by_line.items():
        for part in records.chunks(ids, 500):
            connection.execute(
                sa.update(t.postings)
                .where(t.postings.c.id.in_(part))
                .values(batch_id=batch.id, line_number=number)
            )
    due = t.refunds_due.c
    for part in records.chunks({row.unit_key for row in rows}, 500):
        mine = sa.and_(
            due.unit_key.in_(part),
            due.state == "due",
            due.business_date == batch.business_date,
            due.currency == batch.currency,
            due.is_ledgered,
        )
        to_send = sa.and_(due.executor == "linnworks", due.amount_minor > 0)
        connection.execute(
            sa.update(t.refunds_due).where(mine, to_send).values(state="batched", batch_id=batch.id)
        )
        connection.execute(
            sa.update(t.refunds_due)
            .where(mine, sa.not_(to_send))
            .values(state="recorded", batch_id=batch.id, settled_at=now)
        )


def mark_posted(rt: Runtime, day: date | None = None) -> dict[str, int]:
    """Batches whose refunds are all settled are posted: those of a day, or all.

    To be called when everything else of the day is done, its journal written too: a day
    with a batch that is not posted is closed again, a posted one is left alone.
    """
    due, columns = t.refunds_due.c, t.batches.c
    waiting = sa.exists().where(due.batch_id == columns.batch_id, due.state == "batched")
    done = sa.update(t.batches).where(columns.state == "sealed", ~waiting)
    if day is not None:
        done = done.where(columns.business_date == day)
    with rt.engine.begin() as connection:
        changed = connection.execute(done.values(state="posted", posted_at=rt.now()))
    return {"posted": changed.rowcount}


def journal(rt: Runtime, day: date, folder: Path) -> list[Path]:
    """Write the day's journal (long CSV and JSON manifest), the same bytes every time."""
    with reading(rt.engine) as connection:
        batches, lines = t.batches.c, t.batch_lines.c
        headers = connection.execute(
            sa.select(t.batches).where(batches.business_date == day).order_by(batches.batch_id)
        ).all()
        written: list[Path] = []
        for header in headers:
            rows = connection.execute(
                sa.select(t.batch_lines)
                .where(lines.batch_id == header.batch_id)
                .order_by(lines.number)
            ).all()
            written.extend(
                journal_files.write(
                    folder,
                    header._asdict(),
                    [row._asdict() for row in rows],
                )
            )
    return written
