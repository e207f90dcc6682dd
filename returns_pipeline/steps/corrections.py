"""A wrong batch is taken back by a reversal, and stands anew under the rules of now.

Nothing sealed is edited: the reversal is the original with its sides swapped, line by line;
the replacement is made of the same events under the policy in force. Late arrivals are
``money``'s.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain import consolidation
from returns_pipeline.domain import postings as posting_rules
from returns_pipeline.domain import refunds as refund_rules
from returns_pipeline.domain.consolidation import Batch
from returns_pipeline.domain.model import Held, Posting
from returns_pipeline.domain.policy import Policy
from returns_pipeline.steps import batching, periods
from returns_pipeline.steps.ledger import (
    IN_TRANSIT,
    LOST,
    Ledger,
    as_entered_before,
    is_settlement,
    of_this_batch,
    posting_of,
)
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t


class CannotReverse(Exception):  # noqa: N818 (it says what is so)
    """A batch that cannot be taken back or replaced. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """What came of it: the reversal, and what stands for the original now."""

    reversed_id: str
    reversal_id: str
    replacement_ids: tuple[str, ...]
    origin_date: date


def reverse(rt: Runtime, batch_id: str, *, reason: str, replace: bool = True) -> Corrected:
    """Take a sealed batch back, and make it anew under the policy in force.

    Both are dated the original's day, or the first open day where that is locked.

    Args:
        rt: The run.
        batch_id: The batch.
        reason: Why; it stands in the reversal's description.
        replace: Whether its events are entered anew.

    Raises:
        NotThere: When there is no such batch.
        CannotReverse: When it was reversed already, is a reversal itself, waits for its
            refunds, is not as it was sealed, or cannot be made under this policy.
    """
    now = rt.now()
    with rt.engine.begin() as connection:
        found = batching.header(connection, batch_id)
        original = _as_sealed(connection, found)
        dated = periods.dated(original.business_date, periods.locked_months(connection))
        back = consolidation.reversal(
            original,
            business_date=dated,
            number=_number(connection, original, dated, "reversal"),
            reason=reason,
            policy_hash=rt.policy.hash,
        )
        batching.write(connection, back, rt, opened_at=now, complete=f"takes {batch_id} back")
        _take_postings_back(connection, original, back, now)
        batching.move(connection, [batch_id], "reversed", now=now, run_id=rt.run_id, detail=back.id)
        made = _replace(connection, rt, original, dated, reason, now) if replace else []
    return Corrected(batch_id, back.id, tuple(made), original.origin_date)


def _as_sealed(connection: sa.Connection, found: Any) -> Batch:
    """The batch behind its bytes, if it can be taken back."""
    if found.kind == "reversal":
        raise CannotReverse(f"{found.batch_id} is a reversal itself: nothing was written")
    if found.state == "reversed":
        columns = t.batches.c
        query = sa.select(columns.batch_id).where(columns.reverses_id == found.batch_id)
        by = connection.execute(query).scalar_one()
        raise CannotReverse(f"{found.batch_id} was reversed by {by}: nothing was written")
    if hashlib.sha256(found.body.encode()).hexdigest() != found.hash:
        msg = (
            f"{found.batch_id} is not as it was sealed: its bytes give another hash. Nothing was "
            "written; see LEDGER_DRIFT in the runbook"
        )
        raise CannotReverse(msg)
    due = t.refunds_due.c
    waiting = sa.select(sa.func.count()).where(
        due.batch_id == found.batch_id, t.among(due.state, t.UNPAID_REFUND), due.state == "batched"
    )
    count = connection.execute(waiting).scalar_one()
    if count:
        msg = (
            f"{count} refunds of {found.batch_id} are still to be sent: close "
            f"{found.origin_date} again first. Nothing was written."
        )
        raise CannotReverse(msg)
    return consolidation.from_bytes(found.body.encode())


def _number(connection: sa.Connection, batch: Batch, dated: date, kind: str) -> str:
    taken = batching.taken_numbers(connection, dated, batch.entity, batch.currency)
    return consolidation.next_number(taken, kind=kind)


def _take_postings_back(
    connection: sa.Connection, original: Batch, back: Batch, now: datetime
) -> None:
    """The postings of the original with their sides swapped, in one statement."""
    entry = t.postings.c
    suffix = f"~{back.id[-2:]}"
    swapped = sa.case((entry.side == "debit", "credit"), else_="debit")
    query = (
        sa.select(
            entry.posting_key + suffix,
            entry.unit_key,
            entry.role,
            entry.account,
            entry.tax_key,
            swapped,
            entry.amount_minor,
            entry.currency,
            entry.entity,
            entry.occurred_at,
            entry.business_date,
            sa.literal(back.id),
            entry.line_number,
            sa.literal(back.policy_hash),
            sa.literal(now, t.postings.c.created_at.type),
            entry.event_key + suffix,
            entry.base_minor,
        )
        .where(entry.batch_id == original.id)
        .order_by(entry.id)
    )
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
        "batch_id",
        "line_number",
        "policy_hash",
        "created_at",
        "event_key",
        "base_minor",
    )
    connection.execute(sa.insert(t.postings).from_select(columns, query))


# --- the replacement --------------------------------------------------------------


def _replace(
    connection: sa.Connection,
    rt: Runtime,
    original: Batch,
    dated: date,
    reason: str,
    now: datetime,
) -> list[str]:
    """Make the original's events anew; a batch for each unit of the books they are in now."""
    entry = t.postings.c
    query = sa.select(t.postings).where(entry.batch_id == original.id).order_by(entry.id)
    events: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(query):
        events[row.event_key].append(row)
    suffix = f"~{original.id[-2:]}"
    anew = _Anew(connection, rt, original.id, events)
    grouped: dict[tuple[str, str], list[Posting]] = defaultdict(list)
    for key, rows in events.items():
        lines, books = anew.of(key, rows, key + suffix)
        for line in lines:
            grouped[books, line.currency].append(line)
    made = []
    for (books, currency), lines in sorted(grouped.items()):
        taken = batching.taken_numbers(connection, dated, books, currency)
        batch = consolidation.consolidate(
            lines,
            business_date=dated,
            origin_date=original.origin_date,
            entity=books,
            currency=currency,
            number=consolidation.next_number(taken, kind="replacement"),
            kind="replacement",
            policy_hash=rt.policy.hash,
            books=batching.books_of(books, rt.policy),
            description=f"replaces {original.id}: {reason}",
            replaces_id=original.id,
        )
        batching.write(connection, batch, rt, opened_at=now, complete=f"for {original.id}")
        batching.enter(
            connection,
            [(line, books, original.origin_date) for line in lines],
            policy_hash=rt.policy.hash,
            now=now,
            batch=batch,
        )
        _require_entered(connection, batch, len(lines))
        made.append(batch.id)
    return made


def _require_entered(connection: sa.Connection, batch: Batch, lines: int) -> None:
    """Refuse a batch some of whose lines are another batch's already."""
    query = sa.select(sa.func.count()).where(t.postings.c.batch_id == batch.id)
    entered = connection.execute(query).scalar_one()
    if entered != lines:
        msg = (
            f"{lines - entered} of {lines} lines of {batch.id} stand in another batch already: a "
            "defect of ours. Nothing was written; call Engineering."
        )
        raise CannotReverse(msg)


class _Anew:
    """The events of a batch, entered under the policy in force."""

    def __init__(
        self,
        connection: sa.Connection,
        rt: Runtime,
        batch_id: str,
        events: dict[str, list[Any]],
    ) -> None:
        self.policy = rt.policy
        self.elsewhere = _elsewhere(connection, batch_id, events)
        roots = {key.partition("~")[0] for key in events}
        self.refunds = _by_key(connection, t.refunds_due, t.refunds_due.c.refund_key, roots)
        moved = t.stock_adjustments
        self.moved = _by_key(connection, moved, moved.c.adjustment_key, roots)
        self.ledger = Ledger(connection, rt, [*self.refunds.values()], [*self.moved.values()])

    def of(self, key: str, rows: Sequence[Any], anew: str) -> tuple[list[Posting], str]:
        """An event's lines now, and in whose books they are."""
        root, _, kind = key.partition("~")
        books = str(rows[0].entity)
        result: list[Posting] | Held
        if root in self.refunds:
            row = self.refunds[root]
            paid_by = self.ledger.orders[row["order_id"]].payment_method
            row = {**row, "gateway": refund_rules.gateway(paid_by, self.policy)}
            at = rows[0].occurred_at
            if is_settlement(row, key):
                result, books = self.ledger.settlement(row, at=at, key=anew)
            else:
                received = not any(row.role == IN_TRANSIT for row in rows)
                result, books = self.ledger.refund(row, at=at, key=anew, received=received)
        elif root in self.moved:
            result, books = self.ledger.movement(
                self._under_the_rules_of_now(self.moved[root]),
                source=_source(rows),
                key=anew,
            )
        else:
            result = [_remapped(row, anew, n, self.policy) for n, row in enumerate(rows, 1)]
        if isinstance(result, Held):
            msg = f"{key} cannot be entered anew: {result.reason}. Nothing was written."
            raise CannotReverse(msg)
        elsewhere = [row for one in as_entered_before(key) for row in self.elsewhere[one]]
        result = of_this_batch(result, rows, elsewhere)
        if kind.startswith("back"):
            result = posting_rules.taken_back(result, anew, rows[0].occurred_at)
        if elsewhere:  # its other part is made anew by itself, and numbered by itself
            result = [
                dataclasses.replace(line, posting_key=f"{line.posting_key}:{rows[0].currency}")
                for line in result
            ]
        return result, books

    def _under_the_rules_of_now(self, row: dict[str, Any]) -> dict[str, Any]:
        """The movement with the role that its condition has now."""
        decision = self.ledger.decisions.get(row["unit_key"])
        if decision is None or not row["role"]:
            return row
        rule = self.policy.rules.get(decision.decided.disposition)
        return {**row, "role": rule.role if rule is not None and rule.role else row["role"]}


def _elsewhere(
    connection: sa.Connection, batch_id: str, events: dict[str, list[Any]]
) -> dict[str, list[Any]]:
    """By event: its rows that stand outside of the batch, and of those it was made anew for."""
    own = batching.stands_for(connection, batch_id)
    entry = t.postings.c
    query = sa.select(entry.event_key, entry.role, entry.batch_id)
    units = {rows[0].unit_key for rows in events.values()}
    found: dict[str, list[Any]] = defaultdict(list)
    for row in records.in_chunks(connection, query, entry.unit_key, sorted(units)):
        if row.batch_id not in own:
            found[row.event_key].append(row)
    return found


def _by_key(
    connection: sa.Connection,
    table: sa.Table,
    column: sa.ColumnElement[str],
    keys: set[str],
) -> dict[str, dict[str, Any]]:
    found = records.in_chunks(connection, sa.select(table), column, sorted(keys))
    return {getattr(row, str(column.key)): row._asdict() for row in found}


def _source(rows: Sequence[Any]) -> str:
    """Where the cost stood before the movement: what its entry credited."""
    known = ("cogs_returns", IN_TRANSIT, LOST)
    return next((r.role for r in rows if r.side == "credit" and r.role in known), known[0])


def _remapped(row: Any, key: str, place: int, policy: Policy) -> Posting:
    line = posting_of(row)
    account = posting_rules.account_of(line.role, line.tax_key, policy) or line.account
    return Posting(
        posting_key=f"{key}:{place}",
        unit_key=line.unit_key,
        role=line.role,
        account=account,
        tax_key=line.tax_key,
        side=line.side,
        amount_minor=line.amount_minor,
        currency=line.currency,
        occurred_at=line.occurred_at,
        event_key=key,
        base_minor=line.base_minor,
    )
