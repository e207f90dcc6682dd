"""Reading for people: the account of what happened, the queue, the day.

Everything here only reads. The shapes of the JSON are those of the interface
specification; one thing's story is ``story``'s, pages and workbooks ``reporting``'s, tables
and colours ``cli``'s.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain import exceptions as rules
from returns_pipeline.domain.calendar import day_bounds
from returns_pipeline.domain.money import share
from returns_pipeline.domain.policy import Policy
from returns_pipeline.reporting.day import (
    Balance,
    Batch,
    BatchLine,
    DayReport,
    Exposure,
    HeldUnit,
    Movement,
    OpenAmount,
    PastDay,
    ReceivedUnit,
    Reconciled,
    Refund,
    Replacement,
    Task,
    ThreeWay,
)
from returns_pipeline.steps import exchange_tasks, reconciling_money
from returns_pipeline.steps.batching import SOURCES
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading
from returns_pipeline.storage.types import Row, Select


def account(engine: sa.Engine) -> dict[str, Any]:
    """What was received, restocked, held, refunded and what waits for whom."""
    with reading(engine) as connection:
        items, moved, due = t.return_items.c, t.stock_adjustments.c, t.refunds_due.c
        names = records.location_names(connection)

        def rows(query: Select) -> list[dict[str, Any]]:
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
                .where(t.among(moved.state, t.UNPOSTED_ADJUSTMENT))
                .group_by(moved.state)
            ),
            "held": rows(
                sa.select(t.gates.c.gate, t.gates.c.code, count.label("units"))
                .join_from(t.gates, t.return_items, t.gates.c.unit_key == items.unit_key)
                .where(~t.gates.c.is_cleared, items.is_open, t.gates.c.code.not_in(EXPECTED))
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
                .where(t.among(t.exceptions.c.status, t.OPEN_EXCEPTION))
                .group_by(t.exceptions.c.owner, t.exceptions.c.code, t.exceptions.c.severity)
                .order_by(t.exceptions.c.owner, t.exceptions.c.severity, t.exceptions.c.code)
            ),
        }


# Verdicts that a gate does not apply, not that it is shut for a reason.
_NOT_ASKED = ("no_exchange", "exchange", "no_refund", "unmatched")


def held_by_reason(engine: sa.Engine) -> dict[str, int]:
    """Open units by what holds them now: a gate's code, or why they have no order line.

    A unit that one cause holds from stock and refund counts once for it.
    """
    gates, found, items = t.gates.c, t.matches.c, t.return_items.c
    shut = (
        sa.select(gates.code, sa.func.count(sa.distinct(gates.unit_key)))
        .join_from(t.gates, t.return_items, gates.unit_key == items.unit_key)
        .where(items.is_open, ~gates.is_cleared, gates.code.not_in(_NOT_ASKED))
        .group_by(gates.code)
    )
    unmatched = (
        sa.select(found.code, sa.func.count())
        .join_from(t.matches, t.return_items, found.unit_key == items.unit_key)
        .where(items.is_open, found.outcome != "matched")
        .group_by(found.code)
    )
    with reading(engine) as connection:
        held: Counter[str] = Counter()
        for query in (shut, unmatched):
            for code, units in connection.execute(query):
                held[code] += units
    return dict(sorted(held.items()))


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
        query = query.where(t.among(columns.status, t.OPEN_EXCEPTION))
    if owner:
        query = query.where(sa.func.lower(columns.owner) == owner.lower())
    if code:
        query = query.where(columns.code == code.upper())
    with reading(engine) as connection:
        return [exception_document(row._asdict()) for row in connection.execute(query)]


def exception_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """An exception in the shape of the interface specification."""
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


def closed_days(engine: sa.Engine) -> list[date]:
    """Every business day that was closed, oldest first."""
    query = sa.select(t.closed_days.c.business_date).order_by(t.closed_days.c.business_date)
    with reading(engine) as connection:
        return list(connection.execute(query).scalars())


def closed_day(engine: sa.Engine, day: date) -> dict[str, Any]:
    """The batches of a business date, their lines and what became of their refunds."""
    with reading(engine) as connection:
        columns, lines, due = t.batches.c, t.batch_lines.c, t.refunds_due.c
        headers = connection.execute(
            sa.select(t.batches).where(columns.origin_date == day).order_by(columns.batch_id)
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
        counted = connection.execute(
            sa.select(due.state, sa.func.count())
            .where(due.batch_id.in_([header.batch_id for header in headers]))
            .group_by(due.state)
        )
        states = {state: count for state, count in counted}  # noqa: C416 (rows are not pairs)
    return {
        "business_date": day.isoformat(),
        "batches": batches,
        "refunds": {
            "actioned": states.get("actioned", 0),
            "recorded": states.get("recorded", 0),
            "refused": states.get("refused", 0),
            "unknown": states.get("batched", 0),
        },
    }


# --- one day ----------------------------------------------------------------------

# Verdicts that say why nothing is owed or expected yet: nobody has to do anything.
EXPECTED = frozenset(
    [
        "not_received",
        "cancelled",
        "expired",
        "returnless",
        "no_stock",
        "no_refund",
        "exchange",
        "no_exchange",
        "unmatched",
    ]
)
_CLEARING = ("returned_goods_in_transit", "exchange_clearing", "store_credit_liability")
_ITEM = (
    t.return_items.c.unit_key,
    t.return_items.c.return_id,
    t.return_items.c.order_number,
    t.return_items.c.sku,
)


def day_report(engine: sa.Engine, on: date, *, policy: Policy, now: datetime) -> DayReport:
    """Everything the report of one business day is made of.

    What happened is of that day; what is held and who has which task, as it is ``now``.
    """
    with reading(engine) as connection:
        return _Day(connection, on, policy, now).report()


class _Day:
    """Reads the parts of one day's report over one connection."""

    def __init__(self, connection: sa.Connection, on: date, policy: Policy, now: datetime) -> None:
        self.connection, self.on, self.policy, self.now = connection, on, policy, now
        self.zone = policy.merchant.time_zone
        self.span = day_bounds(on, self.zone)
        self.names = records.location_names(connection)

    def report(self) -> DayReport:
        """Read them all."""
        held = self._held()
        return DayReport(
            business_date=self.on,
            merchant=self.policy.merchant.name,
            time_zone=self.zone,
            made_at=self.now,
            closed_at=self._one(
                sa.select(t.closed_days.c.closed_at).where(t.closed_days.c.business_date == self.on)
            ),
            read_at=self._read_at(),
            stale_after=self.policy.ages.source_stale,
            stages=dict(
                self._pairs(
                    sa.select(t.return_items.c.stage, sa.func.count()).group_by(
                        t.return_items.c.stage
                    )
                )
            ),
            received=self._received(),
            movements=self._movements(),
            held=held,
            refunds=self._refunds(),
            replacements=self._replacements(),
            tasks=self._tasks(),
            batches=self._batches(),
            balances=self._balances(),
            open_amounts=self._open_amounts(),
            history=self._history(),
            unknown_writes=self._writes("unknown"),
            suspended_writes=self._writes("suspense"),
            three_ways=tuple(
                ThreeWay(*told) for told in reconciling_money.of_day(self.connection, self.on)
            ),
            reconciled=self._reconciled(),
            exposure=self._exposure(),
        )

    def _reconciled(self) -> Reconciled | None:
        """The last reconciliation."""
        ran = t.reconciliations.c
        query = sa.select(ran.ended_at, ran.calls, ran.figures).order_by(ran.id.desc()).limit(1)
        row = self.connection.execute(query).one_or_none()
        if row is None:
            return None
        return Reconciled(row.ended_at, json.loads(row.figures)["differences"], row.calls)

    def _one(self, query: Select) -> Any:
        return self.connection.execute(query).scalar_one_or_none()

    def _writes(self, state: str) -> int:
        unsettled = t.among(t.intents.c.state, t.UNSETTLED_INTENT)
        query = sa.select(sa.func.count()).where(t.intents.c.state == state, unsettled)
        return self.connection.execute(query).scalar_one()

    def _pairs(self, query: Select) -> list[tuple[Any, Any]]:
        return [(row[0], row[1]) for row in self.connection.execute(query)]

    def _place(self, location_id: str) -> str:
        return self.names.get(location_id, location_id)

    def _read_at(self) -> dict[str, datetime | None]:
        marks = t.watermarks.c
        found = dict(self._pairs(sa.select(marks.name, marks.at)))
        return {title: found.get(name) for name, title in sorted(SOURCES.items())}

    # --- goods --------------------------------------------------------------------

    def _received(self) -> tuple[ReceivedUnit, ...]:
        query = (
            sa.select(*_ITEM, t.receipts.c.received_at, t.return_items.c.disposition_code)
            .join_from(t.receipts, t.return_items, t.receipts.c.unit_key == _ITEM[0])
            .where(t.receipts.c.business_date == self.on)
            .order_by(t.receipts.c.received_at)
        )
        rows = self.connection.execute(query).all()
        keys = [row.unit_key for row in rows]
        moved = records.rows_of(self.connection, t.stock_adjustments, keys)
        gates = records.rows_of(self.connection, t.gates, keys)
        found = records.rows_of(self.connection, t.matches, keys)
        decided = records.decisions_of(self.connection, keys)
        units = []
        for row in rows:
            key = row.unit_key
            outcome, place = self._standing(
                moved.get(key, []), gates.get(key, []), found.get(key, [])
            )
            condition = decided[key].decided.disposition.value if key in decided else ""
            units.append(
                ReceivedUnit(
                    **_who(row),
                    received_at=row.received_at,
                    condition=condition or row.disposition_code,
                    outcome=outcome,
                    place=place,
                )
            )
        return tuple(units)

    def _standing(
        self,
        moved: list[Mapping[str, Any]],
        gates: list[Mapping[str, Any]],
        found: list[Mapping[str, Any]],
    ) -> tuple[str, str]:
        """Where a received unit stands, and its place or what holds it."""
        for row in moved:
            if row["kind"] == "move":
                continue
            if row["state"] == "posted":
                outcome = "scrapped" if row["scrap_quantity"] else "restocked"
                return outcome, self._place(row["location_id"])
            if row["state"] in {"ready", "intended"}:
                return "waiting", f"to be posted to {self._place(row['location_id'])}"
            return "held", row["note"] or row["state"]
        if found and found[0]["outcome"] != "matched":
            return "held", found[0]["reason"]
        stock = next((gate for gate in gates if gate["gate"] == "stock"), None)
        if stock is None or stock["is_cleared"]:
            return "waiting", "not decided yet"
        booked = stock["code"] in {"no_stock", "returnless"}
        return ("nothing to book" if booked else "held"), stock["reason"]

    def _movements(self) -> tuple[Movement, ...]:
        moved = t.stock_adjustments.c
        query = (
            sa.select(
                *_ITEM,
                moved.location_id,
                moved.is_sellable,
                moved.scrap_quantity,
                moved.posted_at,
                moved.rma_header_id,
            )
            .join_from(t.stock_adjustments, t.return_items, moved.unit_key == _ITEM[0])
            .where(moved.posted_at >= self.span[0], moved.posted_at < self.span[1])
        )
        return tuple(
            Movement(
                **_who(row),
                location=self._place(row.location_id),
                sellable=row.is_sellable,
                scrapped=bool(row.scrap_quantity),
                posted_at=row.posted_at,
                rma=row.rma_header_id,
            )
            for row in self.connection.execute(query)
        )

    def _held(self) -> tuple[HeldUnit, ...]:
        items, gates, found = t.return_items.c, t.gates.c, t.matches.c
        unmatched = (
            sa.select(*_ITEM, sa.literal("match"), found.code, found.reason, found.since_at)
            .join_from(t.matches, t.return_items, found.unit_key == items.unit_key)
            .where(items.is_open, found.outcome != "matched", items.received_at.is_not(None))
        )
        shut = (
            sa.select(*_ITEM, gates.gate, gates.code, gates.reason, gates.since_at)
            .join_from(t.gates, t.return_items, gates.unit_key == items.unit_key)
            .where(items.is_open, ~gates.is_cleared, gates.code.not_in(EXPECTED))
        )
        rows = [tuple(row) for query in (unmatched, shut) for row in self.connection.execute(query)]
        for table, name, waiting in (
            (t.stock_adjustments, "stock", t.UNPOSTED_ADJUSTMENT),
            (t.refunds_due, "refund", t.UNPAID_REFUND),
            (t.exchange_orders, "exchange", t.UNCREATED_EXCHANGE),
        ):
            stopped = (
                sa.select(*_ITEM, table.c.state, table.c.note, table.c.created_at)
                .join_from(table, t.return_items, table.c.unit_key == items.unit_key)
                .where(t.among(table.c.state, waiting))
                .where(table.c.state.in_(("held", "refused")))
            )
            for *unit, state, note, since in self.connection.execute(stopped):
                code, _, why = note.partition(":")
                known = code in rules.CATALOGUE
                rows.append(
                    (*unit, name, code if known else state, (why if known else note) or code, since)
                )
        values = self._values({row[0] for row in rows})
        return tuple(
            HeldUnit(*(*row, *values.get(row[0], (0, self.policy.merchant.currency))))
            for row in rows
        )

    def _values(self, keys: set[str]) -> dict[str, tuple[int, str]]:
        """What each unit is worth: its refund, else its share of the order line, else as told."""
        items, found, due, lines = (
            t.return_items.c,
            t.matches.c,
            t.refunds_due.c,
            t.order_lines.c,
        )
        query = sa.select(
            items.unit_key,
            items.refund_amount_minor,
            items.currency,
            due.amount_minor,
            due.currency.label("due_currency"),
            found.unit_no,
            lines.total_minor,
            lines.quantity,
            t.orders.c.currency.label("order_currency"),
        ).select_from(
            t.return_items.outerjoin(t.refunds_due, items.unit_key == due.unit_key)
            .outerjoin(t.matches, items.unit_key == found.unit_key)
            .outerjoin(t.order_lines, found.row_id == lines.row_id)
            .outerjoin(t.orders, lines.order_id == t.orders.c.order_id)
        )
        values = {}
        for row in records.in_chunks(self.connection, query, items.unit_key, keys):
            if row.amount_minor is not None:
                value = (row.amount_minor, row.due_currency)
            elif row.total_minor is not None and row.quantity:
                value = (share(row.total_minor, row.quantity, row.unit_no), row.order_currency)
            else:
                currency = row.currency or self.policy.merchant.currency
                value = (row.refund_amount_minor or 0, currency)
            values[row.unit_key] = value
        return values

    # --- money --------------------------------------------------------------------

    def _refunds(self) -> tuple[Refund, ...]:
        due = t.refunds_due.c
        query = (
            sa.select(*_ITEM, t.refunds_due)
            .join_from(t.refunds_due, t.return_items, due.unit_key == _ITEM[0])
            .where(sa.or_(due.business_date == self.on, due.cleared_on == self.on))
        )
        return tuple(one for row in self.connection.execute(query) for one in self._refunds_of(row))

    def _refunds_of(self, row: Any) -> Iterator[Refund]:
        """What was given back for a unit that day; of an exchange, what that leaves as well."""
        told = {"executor": row.executor, "currency": row.currency, "state": row.state}
        left = max(0, row.amount_minor - row.new_value_minor) if row.cleared_at else 0
        if row.business_date == self.on:
            # Nobody is paid the return leg of an exchange: it is recorded.
            leg = {"state": "recorded", "executor": "ledger"} if left else {}
            same_day = row.cleared_on == self.on
            yield Refund(
                **_who(row),
                **(told | leg),
                tender=row.tender,
                amount_minor=row.amount_minor - (left if same_day else 0),
                vat_minor=row.goods_vat_minor + row.shipping_vat_minor - row.fee_vat_minor,
                batch_id="" if left else row.batch_id or "",
            )
        if left and row.cleared_on == self.on:
            yield Refund(
                **_who(row),
                **told,
                tender="refund",
                amount_minor=left,
                vat_minor=0,
                batch_id=row.batch_id or "",
            )

    def _exposure(self) -> tuple[Exposure, ...]:
        """Replacements that are out while their originals are missing."""
        return tuple(
            Exposure(
                item_id=one.unit_key,
                return_id=one.return_id,
                order_number=one.order_number,
                sku=one.sku,
                reference=one.reference,
                stage=one.stage,
                ordered_at=one.ordered_at,
                is_allowed=one.is_allowed,
                amount_minor=one.value_minor,
                currency=one.currency,
            )
            for one in exchange_tasks.exposure(self.connection, self.policy)
        )

    def _replacements(self) -> tuple[Replacement, ...]:
        made, due = t.exchange_orders.c, t.refunds_due.c
        left = due.amount_minor - due.new_value_minor
        query = (
            sa.select(
                *_ITEM[:3],
                made.sku,
                made.quantity,
                made.reference,
                made.state,
                (made.unit_price_minor * made.quantity).label("amount_minor"),
                made.currency,
                sa.case((left > 0, left), else_=0).label("residual_minor"),
                sa.case((left < 0, -left), else_=0).label("extra_minor"),
            )
            .join_from(t.exchange_orders, t.return_items, made.unit_key == _ITEM[0])
            .outerjoin(t.refunds_due, due.unit_key == made.unit_key)
            .where(made.created_order_at >= self.span[0], made.created_order_at < self.span[1])
        )
        return tuple(Replacement(*row) for row in self.connection.execute(query))

    def _batches(self) -> tuple[Batch, ...]:
        query = (
            sa.select(t.batches)
            .where(t.batches.c.business_date == self.on)
            .order_by(t.batches.c.batch_id)
        )
        lines = t.batch_lines.c
        found = []
        for header in self.connection.execute(query).all():
            rows = self.connection.execute(
                sa.select(t.batch_lines)
                .where(lines.batch_id == header.batch_id)
                .order_by(lines.number)
            )
            found.append(
                Batch(
                    header.batch_id,
                    header.kind,
                    header.state,
                    header.currency,
                    header.hash,
                    tuple(
                        BatchLine(
                            batch_id=row.batch_id,
                            number=row.number,
                            role=row.role,
                            account=row.account,
                            tax_rate=row.tax_key,
                            side=row.side,
                            amount_minor=row.amount_minor,
                            currency=row.currency,
                            item_ids=tuple(json.loads(row.unit_keys)),
                        )
                        for row in rows
                    ),
                )
            )
        return tuple(found)

    def _clearing(self, *columns: sa.ColumnElement[Any]) -> Select:
        entry = t.postings.c
        signed = sa.case((entry.side == "debit", entry.amount_minor), else_=-entry.amount_minor)
        total = sa.func.sum(signed)
        return (
            sa.select(*columns, total.label("open_minor"))
            .where(
                entry.business_date <= self.on,
                sa.or_(entry.role.in_(_CLEARING), entry.role.startswith("refund_clearing")),
            )
            .group_by(*columns)
            .having(total != 0)
            .order_by(*columns)
        )

    def _balances(self) -> tuple[Balance, ...]:
        entry = t.postings.c
        by_unit = self._clearing(
            entry.role, entry.account, entry.currency, entry.unit_key
        ).order_by(None)
        unit = by_unit.subquery()
        query = (
            sa.select(
                unit.c.role,
                unit.c.account,
                unit.c.currency,
                sa.func.sum(unit.c.open_minor),
                sa.func.count(),
            )
            .group_by(unit.c.role, unit.c.account, unit.c.currency)
            .order_by(unit.c.account, unit.c.role)
        )
        return tuple(
            Balance(role, account, currency, int(minor), units)
            for role, account, currency, minor, units in self.connection.execute(query)
        )

    def _open_amounts(self) -> tuple[OpenAmount, ...]:
        entry = t.postings.c
        query = (
            self._clearing(entry.role, entry.account, entry.currency, *_ITEM[:3])
            .join_from(t.postings, t.return_items, entry.unit_key == _ITEM[0])
            .where(entry.business_date > self.on - timedelta(days=90))
        )
        return tuple(
            OpenAmount(*(*row[:6], int(row.open_minor))) for row in self.connection.execute(query)
        )

    # --- people and time ----------------------------------------------------------

    def _tasks(self) -> tuple[Task, ...]:
        query = sa.select(t.exceptions).where(t.among(t.exceptions.c.status, t.OPEN_EXCEPTION))
        rows = [row._mapping for row in self.connection.execute(query)]
        values = self._values({unit for row in rows for unit in json.loads(row["unit_keys"])})
        tasks = []
        for row in rows:
            units = tuple(json.loads(row["unit_keys"]))
            amount, currency = row["amount_minor"], row["currency"]
            if not amount:
                worth = [values[unit] for unit in units if unit in values]
                currency = worth[0][1] if worth else self.policy.merchant.currency
                amount = sum(minor for minor, own in worth if own == currency)
            entry = rules.CATALOGUE[row["code"]]
            tasks.append(
                Task(
                    code=row["code"],
                    title=entry.title,
                    key=row["key"],
                    owner=row["owner"],
                    severity=row["severity"],
                    opened_at=row["opened_at"],
                    due_at=row["due_at"],
                    amount_minor=amount,
                    currency=currency,
                    item_ids=units,
                    return_ids=tuple(json.loads(row["return_ids"])),
                    order_numbers=tuple(json.loads(row["order_numbers"])),
                    message=row["message"],
                    action=entry.action,
                )
            )
        return tuple(tasks)

    def _history(self) -> tuple[PastDay, ...]:
        days = [self.on - timedelta(days=back) for back in range(13, -1, -1)]
        receipts, moved = t.receipts.c, t.stock_adjustments.c
        received = dict(
            self._pairs(
                sa.select(receipts.business_date, sa.func.count())
                .where(receipts.business_date.in_(days))
                .group_by(receipts.business_date)
            )
        )
        history = []
        for day in days:
            start, end = day_bounds(day, self.zone)
            restocked = self._one(
                sa.select(sa.func.count()).where(moved.posted_at >= start, moved.posted_at < end)
            )
            history.append(PastDay(day, received.get(day, 0), restocked))
        return tuple(history)


def _who(row: Row) -> dict[str, Any]:
    """Which unit a row is about."""
    return {
        "item_id": row.unit_key,
        "return_id": row.return_id,
        "order_number": row.order_number,
        "sku": row.sku,
    }


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value
