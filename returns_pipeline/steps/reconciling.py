"""Reading both vendors back and comparing: every difference is somebody's, with its amount.

Bulk readings first. An item's history at one location costs a call: it is asked for only
where an equation fails, and for so many a run; what is left over is asked for by the next.
The cost grows with what is new since the last reconciliation and with what stands open, not
with history. How many calls it took is a figure of the result, and is kept.

Here: the order of things, and their entry. Comparing is ``domain.reconciliation``'s; where
units stand is ``standing``'s; what the money comes to is ``reconciling_money``'s.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from returns_pipeline.dispatch import intend, moves, readings
from returns_pipeline.domain import disposition as disposition_rules
from returns_pipeline.domain import reconciliation as rules
from returns_pipeline.domain.model import ExceptionRaised, Severity
from returns_pipeline.domain.money import share
from returns_pipeline.steps import control, reconciling_money, standing
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert
from returns_pipeline.storage.engine import reading

# Pages of items' histories that one run reads: one that was begun is read to its end.
_PAGES = 500
_PAGE = 200
# A difference is followed no longer than returns are of interest.
_FURTHEST = timedelta(days=90)
# Their clock may be behind ours.
_BEHIND = timedelta(minutes=10)
_OrderSku = tuple[str, str]


def reconcile(rt: Runtime) -> dict[str, int]:
    """Compare Happy Returns, Linnworks and our books, by unit and by money.

    Raises:
        VendorError: When Linnworks could not be read; the exceptions stay as they were.
    """
    began, before = rt.now(), rt.calls().total()
    overlap = rt.policy.ages.in_transit
    with reading(rt.engine) as connection:
        back = _back_to(connection, began, overlap)
    counts: Counter[str] = Counter()
    counts.update(readings.read_bookings(rt.engine, rt.linnworks, now=began, overlap=back))
    counts.update(
        readings.read_refunds(rt.engine, rt.linnworks, now=began, overlap=overlap, recheck=True)
    )
    histories = _Histories(rt)
    counts["moved_by_hand"] = _moved_by_hand(rt, histories, began)
    with reading(rt.engine) as connection:
        orders = _touched(connection, began, overlap)
        found = standing.of_orders(connection, orders, told_at=began, since=began - overlap)
        raised = [*_differences(connection, rt, found, histories), *_unknown(connection, began)]
        counts["orders_compared"] = len(orders)
    drifted, levels = _levels(rt, histories, began, overlap)
    raised += drifted
    counts["levels_compared"] = len(levels)
    with reading(rt.engine) as connection:
        raised += reconciling_money.differences(
            connection,
            since=began - overlap,
            tolerance_minor=rt.policy.refunds.tolerance_minor,
            time_zone=rt.policy.merchant.time_zone,
        )
        raised = _with_evidence(connection, raised)
    counts["histories"] = histories.read
    counts["histories_left"] = histories.left
    counts["differences"] = len(raised)
    counts["vendor_calls"] = rt.calls().total() - before
    with rt.engine.begin() as connection:
        _keep_levels(connection, levels, began)
        prefix = control.RECONCILED_PREFIX
        told = [replace(one, key=prefix + one.key) for one in raised]
        changed = control.refresh(connection, told, rt, began, belongs=control.is_read_back)
        row = (rt.run_id, began, rt.now(), counts["vendor_calls"], json.dumps(counts))
        columns = ("run_id", "began_at", "ended_at", "calls", "figures")
        upsert(connection, t.reconciliations, columns, [row])
    return {**counts, **changed}


class _Histories:
    """Items' histories, each item and location read once a run and so many pages in all."""

    def __init__(self, rt: Runtime) -> None:
        self._rt = rt
        self._known: dict[tuple[str, str], tuple[datetime, list[rules.Change]]] = {}
        self.read = self.left = self._pages = 0

    def of(self, item_id: str, location_id: str, since: datetime) -> list[rules.Change] | None:
        """The changes since an instant; ``None`` where it is the next run's."""
        known = self._known.get((item_id, location_id))
        if known is None or known[0] > since:
            if self._pages >= _PAGES:
                self.left += 1
                return None
            self.read += 1
            found = moves.changes_since(self._rt.linnworks, item_id, location_id, since)
            self._pages += len(found) // _PAGE + 1
            known = self._known[item_id, location_id] = (since, found)
        return [one for one in known[1] if one.at >= since]

    def transfers(
        self, item_id: str, places: Collection[str], since: datetime
    ) -> list[rules.Transfer]:
        """What was moved by hand between some locations since an instant."""
        found: list[rules.Change] = []
        for place in sorted(places):
            found.extend(self.of(item_id, place, since) or ())
        return rules.transfers(one for one in found if rules.is_by_hand(one))


# --- what was put right by hand ---------------------------------------------------


def _moved_by_hand(rt: Runtime, histories: _Histories, now: datetime) -> int:
    """Enter the moves that wait for a word and that somebody has made meanwhile."""
    with reading(rt.engine) as connection:
        waiting = intend.moves_waiting(connection)
        used = moves.transfers_used(connection, {one.sku for one in waiting})
    made = []
    for one in waiting:
        places = (one.from_location_id, one.location_id)
        for transfer in histories.transfers(one.item_id, places, one.since):
            fits = (transfer.from_location_id, transfer.to_location_id) == places
            if fits and used[transfer.name] < transfer.units:
                used[transfer.name] += 1
                made.append((one, transfer))
                break
    return intend.enter_moves_by_hand(rt.engine, made, now=now, run_id=rt.run_id)


# --- units and their places -------------------------------------------------------


def _touched(connection: sa.Connection, now: datetime, overlap: timedelta) -> list[str]:
    """Orders that were told of this time or posted of late, and those with a difference."""
    told, moved = t.restock_readings.c, t.stock_adjustments.c
    of_late = sa.select(moved.order_id).where(moved.posted_at > now - overlap)
    orders = set(connection.execute(of_late).scalars())
    query = sa.select(told.order_id).where(told.read_at == now, told.actioned_at.is_not(None))
    orders.update(connection.execute(query.distinct()).scalars())
    return sorted(orders | _in_question(connection))


def _in_question(connection: sa.Connection) -> set[str]:
    """Orders with a difference that stands open."""
    columns = t.exceptions.c
    query = sa.select(columns.key).where(
        t.among(columns.status, t.OPEN_EXCEPTION),
        columns.key.startswith(control.RECONCILED_PREFIX + "order:"),
    )
    return {key.split(":")[2] for key in connection.execute(query).scalars()}


def _back_to(connection: sa.Connection, now: datetime, overlap: timedelta) -> timedelta:
    """How far back the bookings are read: to the first one of a difference that stands open."""
    told = t.restock_readings.c
    query = sa.select(told.actioned_at).where(told.actioned_at.is_not(None))
    rows = records.in_chunks(connection, query, told.order_id, _in_question(connection))
    oldest = min((row.actioned_at for row in rows), default=now)
    return min(max(overlap, now - oldest + _BEHIND), _FURTHEST)


def _differences(
    connection: sa.Connection, rt: Runtime, found: standing.Standing, histories: _Histories
) -> list[ExceptionRaised]:
    """Where units stand otherwise than posted, less what was put right by hand."""
    names = records.location_names(connection)
    sellable = disposition_rules.sellable_locations(rt.policy, names)

    def compare(theirs: Sequence[rules.Restock], worth: Any = None) -> list[ExceptionRaised]:
        return rules.compare_restocks(
            found.ours, theirs, location_names=names, sellable=sellable, worth=worth or {}
        )

    raised = compare(found.theirs)
    if not raised:
        return []
    unlike = {_order_and_sku(one.key) for one in raised}
    theirs = [*found.theirs, *_by_hand(connection, found, unlike, histories)]
    return compare(theirs, _worth(connection, unlike))


def _order_and_sku(key: str) -> _OrderSku:
    _, order_id, sku = key.split(":", 2)
    return order_id, sku


def _by_hand(
    connection: sa.Connection,
    found: standing.Standing,
    unlike: Collection[_OrderSku],
    histories: _Histories,
) -> list[rules.Restock]:
    """The transfers by staff that put right what stood at the wrong place."""
    ours, theirs = _grouped(found.ours, unlike), _grouped(found.theirs, unlike)
    wrong = {key: rules.misplaced(ours[key], theirs[key]) for key in sorted(unlike)}
    wrong = {key: needed for key, needed in wrong.items() if needed}
    facts = _facts(connection, wrong)
    used = moves.transfers_used(connection, {sku for _, sku in wrong})
    changed: list[rules.Restock] = []
    for key, needed in wrong.items():
        if key not in facts:
            continue
        item_id, since = facts[key]
        for here, there, units in needed:
            left = units
            for one in histories.transfers(item_id, (here, there), since):
                if (one.from_location_id, one.to_location_id) != (here, there):
                    continue
                taken = min(left, one.units - used[one.name])
                if taken > 0:
                    used[one.name] += taken
                    left -= taken
                    of = rules.Restock(*key, here, None, 0, 0, ())
                    changed.extend(rules.transferred(of, there, taken))
    return changed


def _grouped(
    rows: Iterable[rules.Restock], keys: Collection[_OrderSku]
) -> dict[_OrderSku, list[rules.Restock]]:
    found: dict[_OrderSku, list[rules.Restock]] = {key: [] for key in keys}
    for row in rows:
        if (row.order_id, row.sku) in found:
            found[row.order_id, row.sku].append(row)
    return found


def _facts(
    connection: sa.Connection, keys: Collection[_OrderSku]
) -> dict[_OrderSku, tuple[str, datetime]]:
    """The stock item of an order's SKU, and when the first of its returns was actioned."""
    lines, told = t.order_lines.c, t.restock_readings.c
    orders = {order_id for order_id, _ in keys}
    query = sa.select(lines.order_id, lines.sku, lines.stock_item_id).where(
        lines.stock_item_id != ""
    )
    items = {
        (row.order_id, row.sku): row.stock_item_id.lower()
        for row in records.in_chunks(connection, query, lines.order_id, orders)
    }
    query = sa.select(told.order_id, told.sku, told.actioned_at).where(
        told.actioned_at.is_not(None)
    )
    first: dict[_OrderSku, datetime] = {}
    for row in records.in_chunks(connection, query, told.order_id, orders):
        key = (row.order_id, row.sku)
        first[key] = min(row.actioned_at, first.get(key, row.actioned_at))
    return {key: (items[key], first[key]) for key in keys if key in items and key in first}


def _worth(
    connection: sa.Connection, keys: Collection[_OrderSku]
) -> dict[_OrderSku, tuple[int, str]]:
    """What one unit of an order's SKU was sold for, gross."""
    lines = t.order_lines.c
    query = sa.select(
        lines.order_id, lines.sku, lines.total_minor, lines.quantity, t.orders.c.currency
    ).join_from(t.order_lines, t.orders, t.orders.c.order_id == lines.order_id)
    orders = {order_id for order_id, _ in keys}
    return {
        (row.order_id, row.sku): (share(row.total_minor, row.quantity, 0), row.currency)
        for row in records.in_chunks(connection, query, lines.order_id, orders)
        if row.quantity
    }


# --- bookings nobody here knows ---------------------------------------------------


def _unknown(connection: sa.Connection, now: datetime) -> list[ExceptionRaised]:
    """Units that others returned in Linnworks and that no movement of ours is about."""
    told, moved = t.restock_readings.c, t.stock_adjustments.c
    ours = sa.exists().where(moved.order_id == told.order_id, moved.sku == told.sku)
    query = (
        sa.select(told.order_id, told.sku, told.quantity, told.reference)
        .where(told.read_at == now, told.actioned_at.is_not(None), ~ours)
        .order_by(told.order_id, told.sku)
    )
    units: Counter[_OrderSku] = Counter()
    for row in connection.execute(query):
        units[row.order_id, row.sku] += row.quantity
    announced = _announced(connection, units)
    worth = _worth(connection, units)
    raised = []
    for key, number in units.items():
        amount, currency = worth.get(key, (0, ""))
        order_id, sku = key
        here = announced.get(key, [])
        what = (
            "of a return that has not been received by Happy Returns' telling"
            if here
            else "and Happy Returns knows of no return"
        )
        raised.append(
            ExceptionRaised(
                code="LINNWORKS_CANNOT_RETURN" if here else "BLIND_RETURN",
                key=f"unknown:{order_id}:{sku}",
                message=f"{number} of {sku} were returned in Linnworks by somebody else, {what}",
                amount_minor=amount * number,
                currency=currency,
                unit_keys=tuple(sorted(here)),
                order_numbers=_numbers(connection, order_id),
                severity=None if here else Severity.S3,
            )
        )
    return raised


def _announced(
    connection: sa.Connection, keys: Collection[_OrderSku]
) -> dict[_OrderSku, list[str]]:
    """The units that are announced for an order's SKU."""
    matched, lines = t.matches.c, t.order_lines.c
    query = sa.select(matched.unit_key, lines.order_id, lines.sku).join_from(
        t.order_lines, t.matches, matched.row_id == lines.row_id
    )
    found: dict[_OrderSku, list[str]] = defaultdict(list)
    orders = {order_id for order_id, _ in keys}
    for row in records.in_chunks(connection, query, lines.order_id, orders):
        found[row.order_id, row.sku].append(row.unit_key)
    return found


def _numbers(connection: sa.Connection, order_id: str) -> tuple[str, ...]:
    columns = t.orders.c
    query = sa.select(columns.reference).where(columns.order_id == order_id)
    return tuple(connection.execute(query).scalars())


# --- levels and their history -----------------------------------------------------


@dataclass(slots=True)
class _Flow:
    """Units that came to an item's level at a location since it was read last.

    ``returned`` of them by returns, the rest by our moves. ``then`` is the last reading.
    """

    sku: str
    then: Any
    cost: tuple[int, str]
    units: int = 0
    returned: int = 0
    is_new: bool = False


_Place = tuple[str, str]  # item, location


def _levels(
    rt: Runtime, histories: _Histories, now: datetime, overlap: timedelta
) -> tuple[list[ExceptionRaised], dict[_Place, tuple[str, int]]]:
    """Levels of what was returned of late, against what must have come there.

    In bulk: the level then, and what returns and our moves brought since. Where that does not
    come out, somebody sold, bought, counted or moved too; the history says whether the returns
    themselves stand there.

    Returns:
        The differences, and the levels as they are now.
    """
    with reading(rt.engine) as connection:
        flows = _flows(connection, now, overlap)
        names = records.location_names(connection)
    item_ids = sorted({item_id for item_id, _ in flows})
    shown = rt.linnworks.stock_levels(item_ids) if item_ids else []
    levels = {(one.item_id, one.location_id): one.level for one in shown}
    raised, kept = [], {}
    for place, flow in sorted(flows.items()):
        level = levels.get(place, 0)
        kept[place] = (flow.sku, level)
        if flow.then is None or level == flow.then.level + flow.units:
            continue
        changes = histories.of(*place, flow.then.read_at)
        if changes is None:
            del kept[place]  # asked again next time, from the same reading on
            continue
        # By the same instants as the returns were counted.
        after = (one for one in changes if one.at > flow.then.read_at)
        stands = sum(one.units for one in after if rules.is_return(one))
        if stands == flow.returned:
            continue
        del kept[place]  # it stays a difference until it comes out
        cost, currency = flow.cost
        raised.append(
            ExceptionRaised(
                code="STOCK_DRIFT",
                key=f"level:{flow.sku}:{place[1]}",
                message=f"{flow.sku} at {names.get(place[1], place[1])}: returns brought "
                f"{flow.returned:+d}, the change history shows {stands:+d} of them",
                amount_minor=cost * abs(stands - flow.returned),
                currency=currency if cost else "",
            )
        )
    return raised, kept


def _flows(connection: sa.Connection, now: datetime, overlap: timedelta) -> dict[_Place, _Flow]:
    """What returns and our moves brought to each level since it was read last."""
    told, moved = t.restock_readings.c, t.stock_adjustments.c
    units = (told.quantity - told.scrap_quantity).label("units")
    query = sa.select(told.order_id, told.sku, told.location_id, units, told.actioned_at).where(
        told.read_at == now, told.actioned_at.is_not(None)
    )
    steps = [(*row, True) for row in connection.execute(query)]
    query = sa.select(t.stock_adjustments).where(
        moved.kind == "move", moved.posted_at > now - overlap
    )
    for row in connection.execute(query):
        of = (row.order_id, row.sku)
        steps.append((*of, row.from_location_id, -1, row.posted_at, False))
        if not row.scrap_quantity:
            steps.append((*of, row.location_id, 1, row.posted_at, False))
    items = _stocked(connection, {step[0] for step in steps})
    stored = t.stock_readings.c
    item_ids = {item_id for item_id, _ in items.values()}
    before = {
        (row.item_id, row.location_id): row
        for row in records.in_chunks(
            connection, sa.select(t.stock_readings), stored.item_id, item_ids
        )
    }
    flows: dict[_Place, _Flow] = {}
    for order_id, sku, location_id, number, at, is_return in steps:
        if (order_id, sku) not in items:
            continue
        item_id, cost = items[order_id, sku]
        place = (item_id, location_id)
        flow = flows.setdefault(place, _Flow(sku, before.get(place), cost))
        if flow.then is None or at > flow.then.read_at:
            flow.is_new = True
            flow.units += number
            flow.returned += number if is_return else 0
    return {place: flow for place, flow in flows.items() if flow.is_new}


def _stocked(
    connection: sa.Connection, orders: Collection[str]
) -> dict[_OrderSku, tuple[str, tuple[int, str]]]:
    """The stock item and unit cost of orders' SKUs.

    Without bundles and their parts: a bundle has no stock of its own, and what is returned
    of it stands under its parts.
    """
    lines = t.order_lines.c
    query = sa.select(
        lines.order_id,
        lines.sku,
        lines.stock_item_id,
        lines.row_id,
        lines.parent_row_id,
        lines.unit_cost_minor,
        t.orders.c.currency,
    ).join_from(t.order_lines, t.orders, t.orders.c.order_id == lines.order_id)
    found = list(records.in_chunks(connection, query, lines.order_id, orders))
    parents = {row.parent_row_id for row in found if row.parent_row_id}
    bundled = {row.sku for row in found if row.parent_row_id or row.row_id in parents}
    return {
        (row.order_id, row.sku): (
            row.stock_item_id.lower(),
            (row.unit_cost_minor or 0, row.currency),
        )
        for row in found
        if row.stock_item_id and row.sku not in bundled
    }


def _keep_levels(
    connection: sa.Connection, levels: dict[_Place, tuple[str, int]], now: datetime
) -> None:
    columns = ("item_id", "location_id", "sku", "level", "read_at")
    rows = [(*place, sku, level, now) for place, (sku, level) in levels.items()]
    upsert(connection, t.stock_readings, columns, rows, key=("item_id", "location_id"))


# --- evidence ---------------------------------------------------------------------


def _with_evidence(
    connection: sa.Connection, raised: Sequence[ExceptionRaised]
) -> list[ExceptionRaised]:
    """Name the returns and orders of the units."""
    items = t.return_items.c
    query = sa.select(items.unit_key, items.return_id, items.order_number)
    keys = {key for one in raised for key in one.unit_keys}
    known = {
        row.unit_key: row for row in records.in_chunks(connection, query, items.unit_key, keys)
    }
    told = []
    for one in raised:
        rows = [known[key] for key in one.unit_keys if key in known]
        numbers = {row.order_number for row in rows if row.order_number}
        told.append(
            replace(
                one,
                return_ids=tuple(sorted({row.return_id for row in rows})),
                order_numbers=tuple(sorted(numbers)) or one.order_numbers,
            )
        )
    return told
