"""From evidence to decisions: matches, dispositions, adjustments, exchanges, refunds.

Each step looks at the open units only, decides with ``domain`` and writes what changed in
one transaction. Nothing is sent from here; that is ``act``'s.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain import adjustments as adjustment_rules
from returns_pipeline.domain import disposition as disposition_rules
from returns_pipeline.domain import exchanges as exchange_rules
from returns_pipeline.domain import gate as gate_rules
from returns_pipeline.domain import matching
from returns_pipeline.domain import refunds as refund_rules
from returns_pipeline.domain.calendar import business_date
from returns_pipeline.domain.decisions import Decision, Kind, as_decided
from returns_pipeline.domain.model import (
    Cleared,
    Decided,
    Disposition,
    Executor,
    Gate,
    Held,
    Match,
    Matched,
    Order,
    OrderLine,
    Orphan,
    RefundDue,
    RefundType,
    StockAdjustment,
    StockEffect,
    Unit,
)
from returns_pipeline.domain.policy import Policy, sends_at_once
from returns_pipeline.steps import carry_out, exchange_tasks
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import decisions, records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert

_ENDED = ("cancelled", "expired")


def matches(rt: Runtime) -> dict[str, int]:
    """Match the open units that have no order line yet.

    Units of one order are matched together. Those nothing was done for yet are matched
    again with the newcomer, what has been received first, so that a return that never
    came cannot keep the place of one that did.
    """
    now = rt.now()
    with rt.engine.begin() as connection:
        chosen = decisions.of_open_units(connection, "line")
        unmatched = _unmatched_order_keys(connection, chosen)
        if not unmatched:
            return {"matched": 0}
        units = records.units_of_orders(connection, unmatched)
        orders = records.orders_by_key(
            connection, unmatched, but_not_source=rt.policy.linnworks.exchange_source
        )
        stored = records.matches_of(connection, (unit.unit_key for unit in units))
        pinned = _pinned(connection, (unit.unit_key for unit in units))
        chosen = {u.unit_key: chosen[u.unit_key] for u in units if u.unit_key in chosen}
        named = _chosen_orders(connection, chosen)
        taken: dict[str, set[int]] = defaultdict(set)
        held_by: dict[tuple[str, int], matching.Holder] = {}
        ours = {unit.unit_key for unit in units}
        for row in _holders(connection, [*chain(*orders.values()), *named.values()]):
            if row.unit_key in pinned or row.unit_key not in ours:
                taken[row.row_id].add(row.unit_no)
                holder = matching.Holder(row.return_id, row.line_item_id)
                held_by[row.row_id, row.unit_no] = holder
        by_order: dict[str, list[Unit]] = defaultdict(list)
        results: list[Match] = []
        for unit in units:
            if unit.unit_key in pinned or _gone(unit):
                continue
            if unit.unit_key not in chosen:
                by_order[unit.order_key].append(unit)
                continue
            # What a person said comes before what the rules make of the others.
            match = _as_chosen(unit, chosen[unit.unit_key], named, taken)
            results.append(match)
            if isinstance(match, Matched):
                taken[match.row_id].add(match.unit_no)
        for key, group in by_order.items():
            found = matching.match_units(group, orders.get(key, []), taken, held_by)
            results.extend(found)
            # One order may be reached by two numbers: the next group sees what this one took.
            for match in found:
                if isinstance(match, Matched):
                    taken[match.row_id].add(match.unit_no)
        changed = [match for match in results if _differs(match, stored)]
        gone = [u.unit_key for u in units if _gone(u) and u.unit_key not in pinned]
        _write_matches(connection, changed, stored, gone, now)
    counts = Counter(_outcome(match) for match in results)
    return {"changed": len(changed), **counts}


def _chosen_orders(connection: sa.Connection, chosen: Mapping[str, Decision]) -> dict[str, Order]:
    """The orders people named, by decision's order id, and by row id where a line was named.

    A line is looked up where it is now: Linnworks moves lines when an order is split.
    """
    rows = {str(one.arguments["row_id"]) for one in chosen.values() if "row_id" in one.arguments}
    lines = t.order_lines.c
    query = sa.select(lines.row_id, lines.order_id)
    now_in = {row[0]: row[1] for row in records.in_chunks(connection, query, lines.row_id, rows)}
    ids = {str(one.arguments["order_id"]) for one in chosen.values()}
    orders = records.orders_by_id(connection, ids | set(now_in.values()))
    found = dict(orders)
    found.update({row: orders[order_id] for row, order_id in now_in.items()})
    return found


def _as_chosen(
    unit: Unit, decision: Decision, named: Mapping[str, Order], taken: Mapping[str, set[int]]
) -> Match:
    order_id = str(decision.arguments["order_id"])
    row_id = str(decision.arguments.get("row_id", ""))
    order = named.get(row_id) or named.get(order_id)
    if order is None:
        return Orphan(unit.unit_key, "ORPHAN_RETURN", "the order that was chosen is gone")
    if row_id:
        return matching.match_to_line(unit, order, row_id, taken)
    (match,) = matching.match_units([unit], [order], taken)
    return match


def _holders(connection: sa.Connection, orders: Iterable[Order]) -> Iterable[Any]:
    """Which unit holds which unit number of the orders' lines."""
    found, items = t.matches.c, t.return_items.c
    query = sa.select(
        found.unit_key, found.row_id, found.unit_no, items.return_id, items.line_item_id
    ).join_from(t.matches, t.return_items, found.unit_key == items.unit_key)
    row_ids = {line.row_id for order in orders for line in order.lines}
    return records.in_chunks(connection, query, found.row_id, sorted(row_ids))


def _gone(unit: Unit) -> bool:
    return unit.received is None and (unit.cancelled is not None or unit.expired is not None)


def _unmatched_order_keys(connection: sa.Connection, chosen: Mapping[str, Decision]) -> list[str]:
    items, found = t.return_items.c, t.matches.c
    query = (
        sa.select(items.order_key)
        .distinct()
        .select_from(t.return_items.outerjoin(t.matches, items.unit_key == found.unit_key))
        .where(items.is_open)
        .where(sa.or_(found.outcome.is_(None), found.outcome != "matched"))
        .where(sa.or_(items.received_at.is_not(None), items.stage.not_in(_ENDED)))
    )
    keys = set(connection.execute(query).scalars())
    # One that a rule had matched, and a person has matched otherwise since.
    anew = [key for key, decision in chosen.items() if not decision.outcome]
    query = sa.select(items.order_key)
    keys.update(row[0] for row in records.in_chunks(connection, query, items.unit_key, anew))
    return sorted(keys)


def _pinned(connection: sa.Connection, keys: Iterable[str]) -> set[str]:
    """Units whose match has already moved stock or money and cannot change any more."""
    wanted = list(keys)
    pinned: set[str] = set()
    for table in (t.stock_adjustments, t.refunds_due, t.exchange_orders):
        query = sa.select(table.c.unit_key)
        found = records.in_chunks(connection, query, table.c.unit_key, wanted)
        pinned.update(row[0] for row in found)
    return pinned


def _outcome(match: Match) -> str:
    return "matched" if isinstance(match, Matched) else match.code


def _differs(match: Match, stored: Mapping[str, records.StoredMatch]) -> bool:
    before = stored.get(match.unit_key)
    return before is None or before.match != match


def _write_matches(
    connection: sa.Connection,
    changed: list[Match],
    stored: Mapping[str, records.StoredMatch],
    gone: list[str],
    now: datetime,
) -> None:
    # Rows go before they come back, so that two units may change places on one line.
    leaving = [match.unit_key for match in changed if match.unit_key in stored]
    for part in records.chunks([*leaving, *gone], 500):
        connection.execute(sa.delete(t.matches).where(t.matches.c.unit_key.in_(part)))
    rows = []
    for match in changed:
        before = stored.get(match.unit_key)
        same = before is not None and _outcome(before.match) == _outcome(match)
        since = before.since_at if before is not None and same else now
        rows.append(records.match_row(match, since=since, now=now))
    upsert(connection, t.matches, records.MATCH_COLUMNS, rows)


# --- dispositions -----------------------------------------------------------------


def dispositions(rt: Runtime) -> dict[str, int]:
    """Decide the disposition of every open unit whose inspected condition is known.

    A new code, or a policy that now says otherwise about a unit not yet posted, is a new
    row; the old one stays as it was.
    """
    now = rt.now()
    with rt.engine.begin() as connection:
        work = _open_work(connection, with_orders=False)
        coded = {
            key: unit
            for key, unit in work.units.items()
            if unit.disposition_code or key in work.chosen
        }
        posted = _with_rows(connection, t.stock_adjustments, coded)
        rows = []
        held: Counter[str] = Counter()
        for key, unit in coded.items():
            result = work.decide(unit, rt)
            if isinstance(result, Held):
                held[result.code] += 1
                continue
            last = work.decisions.get(key)
            fixed = key in posted and work.chosen_for(unit) is None
            if result is None or (last and _settled(last.decided, result, fixed)):
                continue
            rows.append(_disposition_row(result, last, rt.policy.hash, now))
        upsert(connection, t.dispositions, _DISPOSITION_COLUMNS, rows)
    return {"decided": len(rows), **held}


def _settled(last: Decided, result: Decided, fixed: bool) -> bool:  # noqa: FBT001
    # Once stock was posted only a new word from the source or a person moves a unit; a policy
    # that changed its mind does not, or a typing error would empty a location.
    return last == result or (fixed and last.source_code == result.source_code)


_DISPOSITION_COLUMNS = (
    "unit_key",
    "sequence",
    "source_code",
    "disposition",
    "effect",
    "location_id",
    "is_sellable",
    "refund",
    "role",
    "policy_hash",
    "decided_at",
)


def _disposition_row(
    decided: Decided, last: records.StoredDecision | None, policy_hash: str, now: datetime
) -> tuple[Any, ...]:
    return (
        decided.unit_key,
        last.sequence + 1 if last else 0,
        decided.source_code,
        decided.disposition.value,
        decided.effect.value,
        decided.location_id,
        decided.sellable,
        decided.refund,
        decided.role,
        policy_hash,
        now,
    )


def _with_rows(connection: sa.Connection, table: sa.Table, keys: Iterable[str]) -> set[str]:
    query = sa.select(table.c.unit_key)
    return {row[0] for row in records.in_chunks(connection, query, table.c.unit_key, keys)}


# --- the open work ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Work:
    """Everything that is known of the open units, read once."""

    units: dict[str, Unit]
    matches: dict[str, records.StoredMatch]
    decisions: dict[str, records.StoredDecision]
    despatched: Mapping[str, datetime | None]  # by order
    orders: Mapping[str, Order]
    locations: dict[str, str]
    chosen: Mapping[str, Decision]  # the conditions people decided, by unit

    def decided(self, unit: Unit, rt: Runtime) -> Decided | Held | None:
        """The decision that stands, or why there is none."""
        stored = self.decisions.get(unit.unit_key)
        if (
            stored is not None
            and stored.decided.source_code == unit.disposition_code
            and self.chosen_for(unit) is None
        ):
            return stored.decided
        return self.decide(unit, rt)

    def decide(self, unit: Unit, rt: Runtime) -> Decided | Held | None:
        """What the policy says of its condition now."""
        late = self.is_late(unit, rt)
        chosen = self.chosen_for(unit)
        return disposition_rules.decide(unit, rt.policy, self.locations, late=late, chosen=chosen)

    def chosen_for(self, unit: Unit) -> Disposition | None:
        """The condition a person decided, while the source has not told of another since."""
        decision = self.chosen.get(unit.unit_key)
        return chosen_condition(decision, unit) if decision is not None else None

    def is_late(self, unit: Unit, rt: Runtime) -> bool:
        """Whether its return was begun after the window; not, while it is not matched."""
        found = self.matches.get(unit.unit_key)
        if found is None or not isinstance(found.match, Matched):
            return False
        return gate_rules.is_late(unit, self.despatched[found.match.order_id], rt.policy)


def chosen_condition(decision: Decision, unit: Unit) -> Disposition | None:
    """The condition a person decided for the unit, if it is about the code it has now."""
    if decision.kind is not Kind.DISPOSITION:
        return None
    if decision.arguments["source_code"] != unit.disposition_code:
        return None
    return Disposition(decision.arguments["disposition"])


def _open_work(connection: sa.Connection, *, with_orders: bool = True) -> _Work:
    units = records.open_units(connection)
    found = records.matches_of(connection, units)
    ids = {m.match.order_id for m in found.values() if isinstance(m.match, Matched)}
    orders = records.orders_by_id(connection, ids) if with_orders else {}
    if with_orders:
        despatched = {key: order.despatched_at for key, order in orders.items()}
    else:
        despatched = records.despatched_at(connection, ids)
    return _Work(
        units=units,
        matches=found,
        decisions=records.decisions_of(connection, units),
        despatched=despatched,
        orders=orders,
        locations=disposition_rules.location_index(records.location_names(connection)),
        chosen=decisions.of_open_units(connection, "condition"),
    )


class _Gates:
    """Collects gate verdicts and writes those that changed."""

    def __init__(self, connection: sa.Connection, name: str, now: datetime) -> None:
        self.connection, self.name, self.now = connection, name, now
        query = sa.select(t.gates).where(t.gates.c.gate == name)
        open_keys = sa.select(t.return_items.c.unit_key).where(t.return_items.c.is_open)
        query = query.where(t.gates.c.unit_key.in_(open_keys))
        self.before = {row.unit_key: row for row in connection.execute(query)}
        self.rows: list[tuple[Any, ...]] = []
        self.held: Counter[str] = Counter()

    def put(self, key: str, gate: Gate) -> None:
        """Record one verdict."""
        cleared = isinstance(gate, Cleared)
        code, reason = ("", "") if isinstance(gate, Cleared) else (gate.code, gate.reason)
        exception = "" if isinstance(gate, Cleared) else gate.exception or ""
        at = gate.at if isinstance(gate, Cleared) else None
        if not cleared:
            self.held[code] += 1
        last = self.before.get(key)
        verdict = (cleared, code, reason, exception, at)
        if last is not None:
            was = (last.is_cleared, last.code, last.reason, last.exception, last.at)
            if was == verdict:
                return
        since = last.since_at if last is not None and last.code == code else self.now
        self.rows.append((key, self.name, *verdict, since))

    def write(self) -> None:
        """Write the verdicts that changed."""
        columns = (
            "unit_key",
            "gate",
            "is_cleared",
            "code",
            "reason",
            "exception",
            "at",
            "since_at",
        )
        upsert(self.connection, t.gates, columns, self.rows, key=("unit_key", "gate"))


# --- stock ------------------------------------------------------------------------


def adjustments(rt: Runtime) -> dict[str, int]:
    """Compute the stock adjustment of every unit whose stock gate stands open.

    A unit has one restock, ever. A disposition that changed after it was posted becomes a
    move, which waits for Operations (``WRONG_LOCATION``).
    """
    now = rt.now()
    with rt.engine.begin() as connection:
        carry_out.open_for_moves(connection)
        work = _open_work(connection)
        stored = records.rows_of(connection, t.stock_adjustments, work.units)
        gates = _Gates(connection, "stock", now)
        new: list[tuple[Any, ...]] = []
        corrected: list[tuple[Any, ...]] = []
        misplaced: list[tuple[int, Disposition]] = []
        placed = decisions.of_open_units(connection, "place")
        if placed:
            carry_out.places(connection, placed, run_id=rt.run_id)
            stored = records.rows_of(connection, t.stock_adjustments, work.units)
        for key, unit in work.units.items():
            found = work.matches.get(key)
            if found is None:
                continue
            if key in placed and placed[key].kind is Kind.BY_HAND:
                gates.put(key, Held("by_hand", placed[key].by))
                continue
            decided = work.decided(unit, rt)
            rows = stored.get(key, [])
            line = None
            if isinstance(found.match, Matched):
                order = work.orders[found.match.order_id]
                line = refund_rules.line_of(order, found.match.row_id)
            verdict = gate_rules.stock_gate(unit, found.match, decided, rt.policy, line=line)
            gates.put(key, verdict)
            if isinstance(decided, Decided) and decided.effect is StockEffect.NONE:
                misplaced.extend(
                    (row["id"], decided.disposition)
                    for row in rows
                    if row["state"] == "posted" and not row["note"]
                )
            if (
                not isinstance(verdict, Cleared)
                or not isinstance(decided, Decided)
                or not isinstance(found.match, Matched)
                or line is None
            ):
                continue
            change = _adjustment(unit, found.match, decided, line, rows)
            if change is None:
                continue
            row = _adjustment_row(change, decided, rt.policy.hash, now)
            (corrected if any(r["state"] == "ready" for r in rows) else new).append(row)
        # It was restocked before its condition became one that nothing is stocked for.
        for number, disposition in misplaced:
            why = f"WRONG_LOCATION: its condition is now {disposition}: take it out of stock"
            connection.execute(
                sa.update(t.stock_adjustments)
                .where(t.stock_adjustments.c.id == number)
                .values(note=why)
            )
        # A restock not yet intended follows a decision that changed; nothing was sent.
        for row in corrected:
            key = row[1]
            connection.execute(
                sa.delete(t.stock_adjustments).where(
                    t.stock_adjustments.c.unit_key == key,
                    t.stock_adjustments.c.state == "ready",
                )
            )
        upsert(connection, t.stock_adjustments, _ADJUSTMENT_COLUMNS, [*new, *corrected])
        gates.write()
    return {"computed": len(new), "corrected": len(corrected), **gates.held}


def _adjustment(
    unit: Unit,
    match: Matched,
    decided: Decided,
    line: OrderLine,
    rows: list[Mapping[str, Any]],
) -> StockAdjustment | None:
    if not rows:
        return adjustment_rules.adjustment(unit, match, decided, line)
    last = max(rows, key=lambda row: row["id"])
    if last["location_id"] == decided.location_id and bool(last["scrap_quantity"]) == (
        decided.effect.value == "scrap"
    ):
        return None
    if last["state"] == "ready" and last["kind"] != "move":
        return adjustment_rules.adjustment(unit, match, decided, line)
    if last["state"] != "posted":
        return None  # under way: it is moved once it is known where it stands
    return adjustment_rules.adjustment(
        unit, match, decided, line, sequence=len(rows), from_location_id=last["location_id"]
    )


_ADJUSTMENT_COLUMNS = (
    "adjustment_key",
    "unit_key",
    "kind",
    "order_id",
    "row_id",
    "sku",
    "location_id",
    "from_location_id",
    "quantity",
    "scrap_quantity",
    "is_sellable",
    "role",
    "state",
    "note",
    "policy_hash",
    "created_at",
)


def _adjustment_row(
    change: StockAdjustment, decided: Decided, policy_hash: str, now: datetime
) -> tuple[Any, ...]:
    move = change.kind == "move"
    return (
        change.adjustment_key,
        change.unit_key,
        change.kind,
        change.order_id,
        change.row_id,
        change.sku,
        change.location_id,
        change.from_location_id,
        change.quantity,
        change.scrap_quantity,
        decided.sellable,
        decided.role,
        "held" if move else "ready",
        "WRONG_LOCATION" if move else "",
        policy_hash,
        now,
    )


# --- exchanges --------------------------------------------------------------------


def exchanges(rt: Runtime) -> dict[str, int]:
    """Compute the replacement of every exchange whose original is confirmed back."""
    now = rt.now()
    with rt.engine.begin() as connection:
        work = _open_work(connection)
        wanted = {k: u for k, u in work.units.items() if u.refund_type is RefundType.EXCHANGE}
        refunded = _refunded_instead(connection)
        carry_out.no_replacement(connection, refunded)
        stored = _with_rows(connection, t.exchange_orders, wanted)
        gates = _Gates(connection, "exchange", now)
        at_once = _sent_at_once(connection, work, set(wanted) - stored, rt.policy)
        rows = []
        for key, unit in wanted.items():
            found = work.matches.get(key)
            if found is None or key in stored:
                continue
            if key in refunded:
                gates.put(key, Held("no_exchange", refunded[key].by))
                continue
            decided = work.decided(unit, rt)
            late = work.is_late(unit, rt)
            instant = isinstance(found.match, Matched) and found.match.order_id in at_once
            verdict = gate_rules.exchange_gate(
                unit, found.match, decided, rt.policy, late=late, instant=instant
            )
            if isinstance(verdict, Cleared) and isinstance(found.match, Matched):
                order = work.orders[found.match.order_id]
                result = exchange_rules.exchange_order(unit, found.match, order, verdict, rt.policy)
                if isinstance(result, Held):
                    verdict = result
                else:
                    rows.append(
                        (
                            result.exchange_key,
                            result.unit_key,
                            result.order_id,
                            result.reference,
                            result.sku,
                            result.quantity,
                            result.unit_price_minor,
                            result.currency,
                            result.even,
                            "ready",
                            rt.policy.hash,
                            now,
                        )
                    )
            gates.put(key, verdict)
        columns = (
            "exchange_key",
            "unit_key",
            "order_id",
            "reference",
            "sku",
            "quantity",
            "unit_price_minor",
            "currency",
            "is_even",
            "state",
            "policy_hash",
            "created_at",
        )
        upsert(connection, t.exchange_orders, columns, rows)
        gates.write()
    return {"computed": len(rows), **gates.held}


def _sent_at_once(
    connection: sa.Connection, work: _Work, units: Iterable[str], policy: Policy
) -> set[str]:
    """Of the units' orders those whose replacements do not wait for the originals."""
    found = (work.matches[key].match for key in units if key in work.matches)
    ids = {match.order_id for match in found if isinstance(match, Matched)}
    groups = exchange_tasks.groups_of(connection, policy, ids)
    return {
        key
        for key in ids
        if sends_at_once(
            policy, work.orders[key].source, work.orders[key].sub_source, groups.get(key, ())
        )
    }


def _refunded_instead(connection: sa.Connection) -> dict[str, Decision]:
    """The open units of which a person decided that they are refunded, not exchanged."""
    found = decisions.of_open_units(connection, "money")
    return {key: one for key, one in found.items() if one.kind is Kind.EXCHANGE_TO_REFUND}


# --- refunds ----------------------------------------------------------------------


def refunds(rt: Runtime) -> dict[str, int]:
    """Compute what each unit is owed, once its refund gate stands open.

    With Happy Returns as the executor the money has left at approval: the ledger shows it
    then, whatever has been received.
    """
    now = rt.now()
    with rt.engine.begin() as connection:
        work = _open_work(connection)
        stored = _with_rows(connection, t.refunds_due, work.units)
        pending = {k: u for k, u in work.units.items() if k not in stored and k in work.matches}
        so_far = _refunded_so_far(connection, work, pending)
        chosen = decisions.of_open_units(connection, "money")
        # Whatever was decided since: one that is replaced is not refunded as well.
        replaced = _with_rows(connection, t.exchange_orders, _refunded_instead(connection))
        chosen = {key: one for key, one in chosen.items() if key not in replaced}
        pending = {key: as_decided(unit, chosen.get(key)) for key, unit in pending.items()}
        gates = _Gates(connection, "refund", now)
        verdicts = {}
        for key, unit in pending.items():
            match, decided = work.matches[key].match, work.decided(unit, rt)
            decision = chosen.get(key)
            late = work.is_late(unit, rt)
            verdicts[key] = refund_verdict(unit, match, decided, rt.policy, decision, late=late)
        rows = []
        # In the order in which they became payable: parts of a line are rounded in turn.
        for key, verdict in sorted(verdicts.items(), key=_payable):
            unit, match, decision = pending[key], work.matches[key].match, chosen.get(key)
            amount = decision.arguments.get("amount_minor") if decision is not None else None
            if isinstance(verdict, Cleared) and isinstance(match, Matched):
                order = work.orders[match.order_id]
                if _is_even_exchange(unit, match, order):
                    gates.put(key, Held("exchange", "an even exchange moves no money"))
                    continue
                result = refund_rules.refund_due(
                    unit,
                    match,
                    order,
                    verdict,
                    rt.policy,
                    carries_order_extras=(unit.return_id, match.order_id) not in so_far.extras,
                    before=so_far.of(
                        match.order_id, refund_rules.priced_line(order, match.row_id).row_id
                    ),
                    anyway=decision is not None,
                    amount_minor=amount,
                )
                if isinstance(result, Held):
                    verdict = result  # noqa: PLW2901
                else:
                    so_far.add(
                        unit.return_id,
                        result.order_id,
                        result.row_id,
                        goods=(result.goods_minor, result.goods_vat_minor),
                        shipping=(result.shipping_minor, result.shipping_vat_minor),
                    )
                    rows.append(_refund_row(result, rt, now))
            gates.put(key, verdict)
        upsert(connection, t.refunds_due, _REFUND_COLUMNS, rows)
        gates.write()
    return {"computed": len(rows), **gates.held}


def _payable(verdict: tuple[str, Gate]) -> tuple[float, str]:
    key, gate = verdict
    return gate.at.timestamp() if isinstance(gate, Cleared) else 0.0, key


def refund_verdict(
    unit: Unit,
    match: Match,
    decided: Decided | Held | None,
    policy: Policy,
    decision: Decision | None = None,
    *,
    late: bool,
) -> Gate:
    """Whether the unit's refund gate stands open, and since when.

    Args:
        unit: The returned unit.
        match: Its order line, if any.
        decided: What its condition comes to.
        policy: The merchant's.
        decision: What a person decided about its money, if anybody did: that counts.
        late: Whether the return was begun after its window.
    """
    if decision is not None and decision.kind is Kind.EXCHANGE_TO_REFUND:
        unit = as_decided(unit, decision)
        gate = gate_rules.refund_gate(unit, match, decided, policy, late=late)
        # Paid since it was decided, not since the goods came: those days may be sealed.
        return Cleared(max(gate.at, decision.decided_at)) if isinstance(gate, Cleared) else gate
    if decision is not None:
        return _as_decided(decision, match)
    if unit.refund_type is RefundType.EXCHANGE:
        return gate_rules.exchange_gate(unit, match, decided, policy, late=late)
    left = gate_rules.money_left(unit, policy)
    if left is not None and isinstance(match, Matched):
        return Cleared(left)
    return gate_rules.refund_gate(unit, match, decided, policy, late=late)


def _as_decided(decision: Decision, match: Match) -> Gate:
    """The gate as a person set it; what has no order line is paid by nobody's word."""
    if decision.kind is Kind.NO_REFUND:
        return Held("not_refunded", decision.by)
    if not isinstance(match, Matched):
        return Held("unmatched", match.reason)
    return Cleared(decision.decided_at)


def _is_even_exchange(unit: Unit, match: Matched, order: Order) -> bool:
    if unit.refund_type is not RefundType.EXCHANGE:
        return False
    sku = refund_rules.line_of(order, match.row_id).sku
    return exchange_rules.is_even(unit, refund_rules.goods_due(order, match), sku)


class _SoFar:
    """What was already refunded, by order line and order, and whose extras were given."""

    def __init__(self) -> None:
        self.units: Counter[str] = Counter()
        self.lines: Counter[str] = Counter()
        self.vat: Counter[str] = Counter()
        self.orders: Counter[str] = Counter()
        self.shipping: Counter[str] = Counter()
        self.shipping_vat: Counter[str] = Counter()
        self.extras: set[tuple[str, str]] = set()

    def add(
        self,
        return_id: str,
        order_id: str,
        row_id: str,
        *,
        goods: tuple[int, int],
        shipping: tuple[int, int],
    ) -> None:
        """Count one refund: goods and shipping, each gross with the VAT in it."""
        self.units[row_id] += 1
        self.lines[row_id] += goods[0]
        self.vat[row_id] += goods[1]
        self.orders[order_id] += goods[0] + shipping[0]
        self.shipping[order_id] += shipping[0]
        self.shipping_vat[order_id] += shipping[1]
        self.extras.add((return_id, order_id))

    def of(self, order_id: str, row_id: str) -> refund_rules.Refunded:
        """What was refunded of a line and its order until now."""
        return refund_rules.Refunded(
            units=self.units[row_id],
            line=self.lines[row_id],
            vat=self.vat[row_id],
            order=self.orders[order_id],
            shipping=self.shipping[order_id],
            shipping_vat=self.shipping_vat[order_id],
        )


def _refunded_so_far(connection: sa.Connection, work: _Work, pending: Mapping[str, Unit]) -> _SoFar:
    so_far = _SoFar()
    ids = {
        found.match.order_id
        for key, found in work.matches.items()
        if key in pending and isinstance(found.match, Matched)
    }
    due, items = t.refunds_due.c, t.return_items.c
    query = sa.select(
        due.order_id,
        due.row_id,
        due.goods_minor,
        due.goods_vat_minor,
        due.shipping_minor,
        due.shipping_vat_minor,
        items.return_id,
    ).join_from(t.refunds_due, t.return_items, due.unit_key == items.unit_key)
    query = query.where(due.state != "refused")
    for order_id, row_id, goods, vat, shipping, shipping_vat, return_id in records.in_chunks(
        connection, query, due.order_id, ids
    ):
        so_far.add(
            return_id, order_id, row_id, goods=(goods, vat), shipping=(shipping, shipping_vat)
        )
    return so_far


_REFUND_COLUMNS = (
    "refund_key",
    "unit_key",
    "order_id",
    "row_id",
    "currency",
    "goods_minor",
    "goods_vat_minor",
    "shipping_minor",
    "shipping_vat_minor",
    "fee_minor",
    "fee_vat_minor",
    "amount_minor",
    "tax_rate_bp",
    "tender",
    "gateway",
    "executor",
    "effective_at",
    "business_date",
    "state",
    "policy_hash",
    "created_at",
)


def _refund_row(due: RefundDue, rt: Runtime, now: datetime) -> tuple[Any, ...]:
    # Store credit and exchanges are liabilities in the ledger; nobody sends money for them.
    executor = "ledger"
    if due.tender is RefundType.REFUND:
        executor = (rt.policy.refunds.executor or Executor.LINNWORKS).value
    return (
        due.refund_key,
        due.unit_key,
        due.order_id,
        due.row_id,
        due.currency,
        due.goods_minor,
        due.goods_vat_minor,
        due.shipping_minor,
        due.shipping_vat_minor,
        due.fee_minor,
        due.fee_vat_minor,
        due.amount_minor,
        due.tax_rate_bp,
        due.tender.value,
        due.gateway,
        executor,
        due.effective_at,
        business_date(due.effective_at, rt.policy.merchant.time_zone),
        "due",
        rt.policy.hash,
        now,
    )
