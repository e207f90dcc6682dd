"""``verify``: a sealed batch made again from the kept payloads, and compared byte by byte.

Of the record only this is taken: which events the batch holds and in which order they were
entered, which unit of the order line each unit is, what people decided, what Linnworks
answered (when stock was posted, and where). Everything else is read from the payloads that
were there when the event was entered, under the policy it was decided by: the unit's life
and condition, its gate, what it is owed with its VAT, cost and rate, roles and accounts, the
lines, totals and bytes. Nothing is written.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain import consolidation, lifecycle
from returns_pipeline.domain import disposition as disposition_rules
from returns_pipeline.domain import gate as gate_rules
from returns_pipeline.domain import postings as posting_rules
from returns_pipeline.domain import refunds as refund_rules
from returns_pipeline.domain.consolidation import Batch
from returns_pipeline.domain.decisions import Kind, as_decided
from returns_pipeline.domain.model import (
    Cleared,
    Decided,
    Held,
    Matched,
    Order,
    Posting,
    RefundDue,
    Unit,
)
from returns_pipeline.domain.policy import Policy, books_unit
from returns_pipeline.domain.postings import Goods
from returns_pipeline.normalise import happy_returns as hr
from returns_pipeline.normalise import linnworks as lw
from returns_pipeline.settings.policy_file import kept_policy
from returns_pipeline.steps import batching, decide
from returns_pipeline.steps.capture import ORDER_V1, ORDER_V2, OUTBOUND, RETURN
from returns_pipeline.steps.ledger import (
    IN_TRANSIT,
    LOST,
    SETTLED,
    adjustment_of,
    as_entered_before,
    as_posted,
    is_settlement,
    of_this_batch,
    posting_of,
    refund_of,
    refunded_before,
)
from returns_pipeline.storage import decisions, records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a batch is what its payloads come to; where not, how it differs."""

    batch_id: str
    sealed_hash: str
    found_hash: str
    events: int
    differences: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the bytes are the same."""
        return self.sealed_hash == self.found_hash and not self.differences


class _Underivable(Exception):  # noqa: N818 (it says what is so)
    """An event that the payloads do not come to; the text says why."""


def verify(engine: sa.Engine, batch_id: str) -> Verdict:
    """Make a sealed batch again and compare.

    Raises:
        NotThere: When there is no such batch.
    """
    with reading(engine) as connection:
        return verify_in(connection, batch_id)


def verify_in(connection: sa.Connection, batch_id: str) -> Verdict:
    """``verify`` over a connection that is open."""
    header = batching.header(connection, batch_id)
    differences = _as_stored(connection, header)
    made, events, problems = _made_again(connection, header)
    differences += problems
    sealed = header.body.encode()
    if made is not None:
        bytes_ = consolidation.canonical_bytes(made)
        if bytes_ != sealed:
            differences += _differs(sealed, made)
        found = hashlib.sha256(bytes_).hexdigest()
    else:
        found = ""
    return Verdict(batch_id, header.hash, found, events, tuple(differences[:_SHOWN]))


def _as_stored(connection: sa.Connection, header: Any) -> list[str]:
    """How the stored rows differ from the bytes that were sealed."""
    found = []
    digest = hashlib.sha256(header.body.encode()).hexdigest()
    if digest != header.hash:
        found.append(f"the stored bytes give the hash {digest[:12]}, sealed was {header.hash[:12]}")
    try:
        sealed = consolidation.from_bytes(header.body.encode())
    except ValueError as error:
        return [*found, str(error)]
    columns = t.batch_lines.c
    query = (
        sa.select(t.batch_lines).where(columns.batch_id == header.batch_id).order_by(columns.number)
    )
    stored = [
        (r.number, r.role, r.account, r.tax_key, r.side, r.amount_minor, r.base_minor)
        for r in connection.execute(query)
    ]
    lines = [
        (ln.number, ln.role, ln.account, ln.tax_key, ln.side, ln.amount_minor, ln.base_minor)
        for ln in sealed.lines
    ]
    if stored != lines:
        found.append("its stored lines are not the sealed ones")
    if json.loads(header.totals) != sealed.totals:
        found.append("its stored control totals are not the sealed ones")
    return found


def _differs(sealed: bytes, made: Batch) -> list[str]:
    """In what two batches differ, line by line."""
    try:
        was = consolidation.from_bytes(sealed)
    except ValueError:
        return []
    found = []

    def amounts(batch: Batch) -> dict[tuple[str, ...], Any]:
        return {
            (ln.account, ln.role, ln.tax_key, ln.side): (
                ln.amount_minor,
                ln.base_minor,
                ln.unit_keys,
            )
            for ln in batch.lines
        }

    before, after = amounts(was), amounts(made)
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            told, now = before.get(key, (0,))[0], after.get(key, (0,))[0]
            what = f"sealed {told}, the payloads come to {now}"
            if told == now:
                what = "the same amount, of other units"
            found.append(f"{' '.join(filter(None, key))}: {what}")
    return found or ["its lines are the same, what stands around them is not"]


def _made_again(connection: sa.Connection, header: Any) -> tuple[Batch | None, int, list[str]]:
    if header.kind == "reversal":
        return _reversal_again(connection, header)
    entry = t.postings.c
    query = sa.select(t.postings).where(entry.batch_id == header.batch_id).order_by(entry.id)
    events: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(query):
        events[row.event_key].append(row)
    own = batching.stands_for(connection, header.batch_id)
    evidence = _Evidence(connection, events)
    lines: list[Posting] = []
    problems = []
    for key, rows in events.items():
        try:
            elsewhere = evidence.elsewhere(key, rows, own)
            lines.extend(of_this_batch(evidence.lines(key, rows), rows, elsewhere))
        except (_Underivable, ValueError, LookupError) as error:
            problems.append(f"{key}: {error}")
    books = consolidation.Books(header.legal_entity, header.channel_group, header.base_currency)
    try:
        made = consolidation.consolidate(
            lines,
            business_date=header.business_date,
            origin_date=header.origin_date,
            entity=header.entity,
            currency=header.currency,
            number=header.batch_id[-2:],
            kind=header.kind,
            policy_hash=header.policy_hash,
            books=books,
            description=header.description,
            replaces_id=header.replaces_id or "",
        )
    except ValueError as error:
        return None, len(events), [*problems, str(error)]
    return made, len(events), problems


def _reversal_again(connection: sa.Connection, header: Any) -> tuple[Batch | None, int, list[str]]:
    original = batching.header(connection, header.reverses_id)
    made, events, problems = _made_again(connection, original)
    if made is None:
        return None, events, problems
    return (
        consolidation.reversal(
            made,
            business_date=header.business_date,
            number=header.batch_id[-2:],
            reason=header.description.partition(": ")[2],
            policy_hash=header.policy_hash,
        ),
        events,
        problems,
    )


# --- what the payloads come to ----------------------------------------------------


class _Evidence:
    """Everything that some events are made of, read set by set."""

    def __init__(self, connection: sa.Connection, events: Mapping[str, Sequence[Any]]) -> None:
        roots = {key.partition("~")[0] for key in events}
        due, moved = t.refunds_due, t.stock_adjustments
        self.refunds = _rows(connection, due, due.c.refund_key, roots)
        self.moved = _rows(connection, moved, moved.c.adjustment_key, roots)
        rows = [*self.refunds.values(), *self.moved.values()]
        units = {row["unit_key"] for row in rows}
        orders = {row["order_id"] for row in rows}
        hashes = {p.policy_hash for lines in events.values() for p in lines}
        made = t.exchange_orders
        of_units = {row["unit_key"] for row in self.refunds.values() if row["cleared_at"]}
        self.ordered = _rows(connection, made, made.c.unit_key, of_units)
        hashes |= {row["policy_hash"] for row in (*rows, *self.ordered.values())}
        self.policies = _policies(connection, hashes)
        self.units = _payloads(connection, units, (RETURN, OUTBOUND))
        self.line_of = _order_of_lines(connection, {row["row_id"] for row in rows})
        self.orders = _payloads(
            connection, orders | set(self.line_of.values()), (ORDER_V1, ORDER_V2)
        )
        self.matches = records.matches_of(connection, units)
        self.money = decisions.of_units(connection, "money", units)
        self.conditions = decisions.of_units(connection, "condition", units)
        columns = t.vendor_locations.c
        places = connection.execute(sa.select(columns.location_id, columns.name))
        self.places = disposition_rules.location_index({row[0]: row[1] for row in places})
        self.before = _Before(connection, orders)
        self.posted = _entered(connection, units)
        self._orders: dict[tuple[str, datetime], lw.NormalisedOrder] = {}
        self._units: dict[tuple[str, datetime, str], Unit] = {}

    def lines(self, key: str, rows: Sequence[Any]) -> list[Posting]:
        """An event's lines as the payloads have them."""
        root, _, more = key.partition("~")
        policy = self._policy(rows[0].policy_hash)
        if root in self.refunds:
            row = self.refunds[root]
            entered = self._settlement if is_settlement(row, key) else self._refund
            if more.startswith("back"):
                # Nobody was paid: what had been entered, with its sides swapped.
                attempt = int(more.partition("~")[0].removeprefix("back"))
                event = f"{root}~again{attempt}" if attempt else root
                result = entered(row, event, rows, policy)
                if not isinstance(result, Held):
                    return posting_rules.taken_back(result, key, rows[0].occurred_at)
            else:
                result = entered(row, key, rows, policy)
        elif root in self.moved:
            result = self._movement(self.moved[root], key, rows, policy)
        elif root.endswith(":lost"):
            lines = [p for p in self.posted[rows[0].unit_key] if p.role == IN_TRANSIT]
            before = [posting_of(p) for p in lines if p.id < rows[0].id]
            made = posting_rules.loss_postings(
                rows[0].unit_key, before, rows[0].occurred_at, policy
            )
            result = made
        else:
            raise _Underivable("no refund and no stock movement has this key")
        if isinstance(result, Held):
            raise _Underivable(f"{result.code}: {result.reason}")
        return result

    def elsewhere(self, key: str, rows: Sequence[Any], own: set[str]) -> list[Any]:
        """The event's rows that stand in other batches than these."""
        keys = as_entered_before(key)
        entered = self.posted[rows[0].unit_key]
        return [p for p in entered if p.event_key in keys and p.batch_id not in own]

    def _policy(self, hash_: str) -> Policy:
        found = self.policies.get(hash_)
        if found is None:
            raise _Underivable(f"the policy {hash_[:12]} was not kept")
        return found

    def _first(self, key: str, rows: Sequence[Any]) -> Sequence[Any]:
        """The lines by which an event was entered first: what is made anew is of that instant."""
        root, _, more = key.partition("~")
        again = more.startswith(("again", SETTLED))
        of = f"{root}~{more.partition('~')[0]}" if again else root
        entered = [p for p in self.posted[rows[0].unit_key] if p.event_key == of]
        return entered or rows

    # --- the unit and its order ---------------------------------------------------

    def _unit(self, key: str, at: datetime, policy: Policy) -> Unit:
        known = (key, at, policy.hash)
        if known not in self._units:
            payloads = [row for row in self.units.get(key, ()) if row.fetched_at <= at]
            if not payloads:
                raise _Underivable(f"no payload of the unit {key} was kept")
            merged: Unit | None = None
            for row in payloads:
                columns = hr.readings(
                    [row.body],
                    keys=[row.key],
                    hashes=[row.hash],
                    source="outbound" if row.source == OUTBOUND else "return",
                    policy=policy.happy_returns,
                    default_currency=policy.merchant.currency,
                    observed_at=row.fetched_at,
                )
                (unit,) = hr.units(columns)
                merged = lifecycle.merge(merged, unit) if merged is not None else unit
            assert merged is not None  # noqa: S101 (there was a payload)
            self._units[known] = merged
        return self._units[known]

    def _order(self, order_id: str, at: datetime) -> lw.NormalisedOrder:
        known = (order_id, at)
        if known not in self._orders:
            found: lw.NormalisedOrder | None = None
            for row in self.orders.get(order_id, ()):
                if row.fetched_at > at:
                    continue
                try:
                    order = lw.order(row.body.encode(), observed_at=row.fetched_at)
                except lw.UnreadableOrder:
                    continue
                if found is None or order.updated_at >= found.updated_at:
                    found = order
            if found is None:
                raise _Underivable(f"no payload of the order {order_id} was kept")
            self._orders[known] = found
        return self._orders[known]

    def _decided(
        self, unit: Unit, order: lw.NormalisedOrder, policy: Policy
    ) -> tuple[Decided | Held | None, bool]:
        late = gate_rules.is_late(unit, order.processed_at, policy)
        answer = self.conditions.get(unit.unit_key)
        chosen = decide.chosen_condition(answer, unit) if answer is not None else None
        decided = disposition_rules.decide(unit, policy, self.places, late=late, chosen=chosen)
        return decided, late

    # --- money --------------------------------------------------------------------

    def _refund(
        self, row: Mapping[str, Any], key: str, rows: Sequence[Any], policy: Policy
    ) -> list[Posting] | Held:
        decided_by, first = self._policy(row["policy_hash"]), self._first(key, rows)
        refund, stored = self._due(row, decided_by), refund_of(row)
        if refund != stored:
            raise _Underivable(f"it is owed {_owed(refund)}, stored is {_owed(stored)}")
        order = self._order(row["order_id"], rows[0].created_at)
        if "~" in key:
            refund = replace(refund, effective_at=first[0].occurred_at)
        if _is_replacement(rows):
            paid_by = order.order.payment_method
            refund = replace(refund, gateway=refund_rules.gateway(paid_by, policy))
        before = self.before.of_line(row["id"])
        goods = self._goods(row, order, refund.effective_at, policy, rows, before)
        if isinstance(goods, Held):
            return goods
        unit = self._unit(row["unit_key"], first[0].created_at, decided_by)
        was_back = unit.returnless or (
            unit.received is not None and unit.received.at <= row["effective_at"]
        )
        stocked = any(
            p.id < first[0].id and not p.event_key.startswith(row["refund_key"])
            for p in self.posted[row["unit_key"]]
        )
        return posting_rules.refund_postings(
            refund, goods, policy, received=was_back or stocked, key=key
        )

    def _settlement(
        self, row: Mapping[str, Any], key: str, rows: Sequence[Any], policy: Policy
    ) -> list[Posting] | Held:
        leg = self._due(row, self._policy(row["policy_hash"]))
        stored, value = refund_of(row), self._new_value(row)
        if leg != stored:
            raise _Underivable(f"it is owed {_owed(leg)}, stored is {_owed(stored)}")
        if value != row["new_value_minor"]:
            was = row["new_value_minor"]
            raise _Underivable(f"{value} was ordered for it, stored is {was} (minor units)")
        order = self._order(row["order_id"], rows[0].created_at)
        if _is_replacement(rows):
            paid_by = order.order.payment_method
            leg = replace(leg, gateway=refund_rules.gateway(paid_by, policy))
        at = self._first(key, rows)[0].occurred_at if "~again" in key else row["cleared_at"]
        then = self._goods(row, order, leg.effective_at, policy, rows)
        now = self._goods(row, order, at, policy, rows)
        if isinstance(then, Held):
            return then
        if isinstance(now, Held):
            return now
        return posting_rules.settlement_postings(
            leg, value, at, policy, key=key, then=then.rates, now=now.rates
        )

    def _new_value(self, row: Mapping[str, Any]) -> int:
        """What was ordered for an exchanged unit, from its payloads; 0: it is refunded."""
        order = self.ordered.get(row["unit_key"])
        if order is None:
            answer = self.money.get(row["unit_key"])
            if answer is None or answer.kind is not Kind.EXCHANGE_TO_REFUND:
                raise _Underivable("nothing was ordered for it, and nobody said to refund it")
            return 0
        decided_by = self._policy(order["policy_hash"])
        unit = self._unit(row["unit_key"], order["created_at"], decided_by)
        return (unit.exchange_unit_price_minor or 0) * max(1, unit.exchange_quantity)

    def _due(self, row: Mapping[str, Any], policy: Policy) -> RefundDue:
        """What the unit is owed, from its payloads and its order's."""
        at = row["created_at"]
        unit = self._unit(row["unit_key"], at, policy)
        found = self._order(row["order_id"], at)
        stored = self.matches.get(row["unit_key"])
        if stored is None or not isinstance(stored.match, Matched):
            raise _Underivable("the unit has no order line")
        match = stored.match
        decided, late = self._decided(unit, found, policy)
        answer = self.money.get(row["unit_key"])
        if answer is not None and answer.decided_at > at:
            answer = None
        verdict = decide.refund_verdict(unit, match, decided, policy, answer, late=late)
        unit = as_decided(unit, answer)
        if not isinstance(verdict, Cleared):
            raise _Underivable(f"its refund gate is shut: {verdict.reason}")
        made = refund_rules.refund_due(
            unit,
            match,
            _despatched(found),
            verdict,
            policy,
            carries_order_extras=self.before.carries_extras(row),
            before=self.before.of(row),
            anyway=answer is not None,
            amount_minor=answer.arguments.get("amount_minor") if answer is not None else None,
        )
        if isinstance(made, Held):
            raise _Underivable(f"{made.code}: {made.reason}")
        return made

    # --- goods --------------------------------------------------------------------

    def _movement(
        self, row: Mapping[str, Any], key: str, rows: Sequence[Any], policy: Policy
    ) -> list[Posting] | Held:
        decided_by, at = self._policy(row["policy_hash"]), row["created_at"]
        unit = self._unit(row["unit_key"], at, decided_by)
        order = self._order(row["order_id"], rows[0].created_at)
        decided, _late = self._decided(unit, self._order(row["order_id"], at), decided_by)
        if not isinstance(decided, Decided):
            raise _Underivable("its condition is not known")
        if not row["scrap_quantity"] and decided.role != row["role"]:
            raise _Underivable(f"its condition leads to {decided.role}, stored is {row['role']}")
        if _is_replacement(rows):  # under the rules it was made by
            rule = policy.rules.get(decided.disposition)
            decided = replace(decided, role=rule.role if rule is not None else decided.role)
            row = {**row, "role": decided.role or row["role"]}
        goods = self._goods(row, order, row["posted_at"], policy, rows)
        if isinstance(goods, Held):
            return goods
        return posting_rules.stock_postings(
            adjustment_of(row),
            as_posted(decided, row),
            goods,
            row["posted_at"],
            policy,
            source=self._stood(row["unit_key"], self._first(key, rows)),
            key=key,
        )

    def _stood(self, unit_key: str, rows: Sequence[Any]) -> str:
        """Where the unit's cost stood when its movement was entered."""
        first = min(row.id for row in rows)
        standing: dict[str, int] = defaultdict(int)
        root = rows[0].event_key.partition("~")[0]
        for line in self.posted[unit_key]:
            if line.id < first and line.event_key.partition("~")[0] != root:
                standing[line.role] += 1 if line.side == "debit" else -1
        return next((role for role in (LOST, IN_TRANSIT) if standing[role] > 0), "cogs_returns")

    def _goods(
        self,
        row: Mapping[str, Any],
        found: lw.NormalisedOrder,
        at: datetime,
        policy: Policy,
        rows: Sequence[Any],
        before: tuple[int, int] = (0, 0),
    ) -> Goods | Held:
        order = found.order
        books = books_unit(policy, order.source, order.sub_source).code
        if books != rows[0].entity:
            raise _Underivable(f"it is in the books of {books}, sealed in {rows[0].entity}")
        lines = order.lines
        if row["row_id"] not in {line.row_id for line in lines}:  # handed on to another order
            lines = self._order(self.line_of[row["row_id"]], rows[0].created_at).order.lines
        line = next((ln for ln in lines if ln.row_id == row["row_id"]), None)
        rates = posting_rules.rates(order.currency, order.conversion_rate, at, policy)
        if isinstance(rates, Held):
            if "refund_key" in row or policy.finance.cost_currency == "order":
                return rates
            rates = None
        known = before if order.currency != policy.merchant.currency else (0, 0)
        return Goods(line, rates, known, order.currency)


def _is_replacement(rows: Sequence[Any]) -> bool:
    """Whether these lines stand for lines of an event that were taken back."""
    last = rows[0].event_key.rpartition("~")
    return bool(last[1]) and not last[2].startswith(("again", "back", SETTLED))


def _owed(refund: RefundDue) -> str:
    parts = ("goods", "goods_vat", "shipping", "shipping_vat", "fee", "fee_vat")
    told = " ".join(f"{name} {getattr(refund, f'{name}_minor')}" for name in parts)
    return (
        f"{told} {refund.currency} by {refund.gateway or 'nobody'} at {refund.effective_at:%F %T}"
    )


def _despatched(found: lw.NormalisedOrder) -> Order:
    return replace(found.order, despatched_at=found.processed_at)


class _Before:
    """What was refunded of a line and its order before a refund was computed."""

    def __init__(self, connection: sa.Connection, order_ids: Iterable[str]) -> None:
        due, items = t.refunds_due.c, t.return_items.c
        query = sa.select(t.refunds_due, items.return_id).join_from(
            t.refunds_due, t.return_items, due.unit_key == items.unit_key
        )
        self.rows: dict[str, list[Any]] = defaultdict(list)
        for row in records.in_chunks(connection, query, due.order_id, sorted(order_ids)):
            self.rows[row.order_id].append(row)
        self.returns = {row.id: row.return_id for rows in self.rows.values() for row in rows}
        lines = {row.row_id for rows in self.rows.values() for row in rows}
        self.lines = refunded_before(connection, lines)

    def _earlier(self, row: Mapping[str, Any]) -> list[Any]:
        return [one for one in self.rows[row["order_id"]] if one.id < row["id"]]

    def of(self, row: Mapping[str, Any]) -> refund_rules.Refunded:
        """Of its line and order."""
        earlier = self._earlier(row)
        line = [one for one in earlier if one.row_id == row["row_id"]]
        return refund_rules.Refunded(
            units=len(line),
            line=sum(one.goods_minor for one in line),
            vat=sum(one.goods_vat_minor for one in line),
            order=sum(one.goods_minor + one.shipping_minor for one in earlier),
            shipping=sum(one.shipping_minor for one in earlier),
            shipping_vat=sum(one.shipping_vat_minor for one in earlier),
        )

    def of_line(self, refund_id: int) -> tuple[int, int]:
        """Goods and VAT of its line."""
        return self.lines.get(refund_id, (0, 0))

    def carries_extras(self, row: Mapping[str, Any]) -> bool:
        """Whether it is the first refund of its return and order."""
        own = self.returns.get(row["id"])
        return all(self.returns[one.id] != own for one in self._earlier(row))


def _rows(
    connection: sa.Connection, table: sa.Table, column: sa.ColumnElement[str], keys: set[str]
) -> dict[str, dict[str, Any]]:
    found = records.in_chunks(connection, sa.select(table), column, sorted(keys))
    return {getattr(row, str(column.key)): row._asdict() for row in found}


def _order_of_lines(connection: sa.Connection, row_ids: Iterable[str]) -> dict[str, str]:
    columns = t.order_lines.c
    query = sa.select(columns.row_id, columns.order_id)
    found = records.in_chunks(connection, query, columns.row_id, sorted(row_ids))
    return {row.row_id: row.order_id for row in found}


def _policies(connection: sa.Connection, hashes: Iterable[str]) -> dict[str, Policy]:
    columns = t.policy_versions.c
    query = sa.select(columns.hash, columns.body)
    found = records.in_chunks(connection, query, columns.hash, sorted(hashes))
    return {row.hash: kept_policy(row.body, row.hash) for row in found}


def _payloads(
    connection: sa.Connection, keys: Iterable[str], sources: tuple[str, ...]
) -> dict[str, list[Any]]:
    raw = t.raw_payloads.c
    query = (
        sa.select(raw.id, raw.source, raw.key, raw.hash, raw.body, raw.fetched_at)
        .where(raw.source.in_(sources))
        .order_by(raw.id)
    )
    found: dict[str, list[Any]] = defaultdict(list)
    for row in records.in_chunks(connection, query, raw.key, sorted(keys)):
        found[row.key].append(row)
    return found


def _entered(connection: sa.Connection, units: Iterable[str]) -> dict[str, list[Any]]:
    entry = t.postings.c
    query = sa.select(t.postings).order_by(entry.id)
    found: dict[str, list[Any]] = defaultdict(list)
    for row in records.in_chunks(connection, query, entry.unit_key, sorted(units)):
        found[row.unit_key].append(row)
    return found
