"""What has to be known before a person decides, read from what is stored.

Here: gathering the facts that ``domain.decisions`` checks, and the choices a form offers.
Not here: the checks themselves, and keeping the decision (``queue``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from returns_pipeline.domain import decisions as rules
from returns_pipeline.domain import reconciliation
from returns_pipeline.domain.decisions import KINDS, About, Kind, NotAllowed
from returns_pipeline.domain.matching import has_room
from returns_pipeline.domain.model import Disposition, Order, Unit
from returns_pipeline.domain.money import format_minor, parse_minor
from returns_pipeline.domain.policy import Policy, order_key
from returns_pipeline.domain.refunds import priced_line
from returns_pipeline.steps import standing
from returns_pipeline.steps.carry_out import pinned
from returns_pipeline.storage import outbox, records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading

if TYPE_CHECKING:
    from returns_pipeline.steps.queue import Task


def checked(
    connection: sa.Connection,
    task: Task,
    kind: Kind,
    answers: Mapping[str, str],
    policy: Policy,
) -> tuple[str, dict[str, Any]]:
    """The subject of a decision and its arguments, as they are kept.

    Raises:
        NotAllowed: When it cannot be decided so.
    """
    entry = KINDS[kind]
    for name in entry.needs:
        if not answers.get(name):
            raise NotAllowed(f"{entry.title!r} needs {_ASKED[name]}")
    strange = set(answers) - {*entry.needs, *entry.may, "unit"}
    if strange:
        raise NotAllowed(f"{entry.title!r} takes no {', '.join(sorted(strange))}")
    if entry.about is About.WRITE:
        return _write(connection, task, kind, answers)
    unit = _unit(connection, task, answers)
    return unit.unit_key, _about_unit(connection, unit, kind, answers, policy)


_ASKED = {
    "row_id": "an order item row id (row_id)",
    "order": "an order (its id, its number in Linnworks, or its reference)",
    "disposition": "a condition (disposition)",
    "vendor_id": "the number of the RMA, refund or order in Linnworks (vendor_id)",
    "amount": "an amount",
}


def _unit(connection: sa.Connection, task: Task, answers: Mapping[str, str]) -> Unit:
    key = answers.get("unit", "")
    if not key and len(task.unit_keys) == 1:
        key = task.unit_keys[0]
    if key not in task.unit_keys:
        listed = ", ".join(task.unit_keys[:10]) or "none"
        raise NotAllowed(f"say which unit it is about (unit): {listed}")
    found = records.units_by_key(connection, [key]).get(key)
    if found is None:
        raise NotAllowed(f"there is no unit {key}")
    return found


def _about_unit(
    connection: sa.Connection,
    unit: Unit,
    kind: Kind,
    answers: Mapping[str, str],
    policy: Policy,
) -> dict[str, Any]:
    if kind in {Kind.LINE, Kind.ORDER}:
        return _place_in_order(connection, unit, kind, answers, policy)
    if kind is Kind.DISPOSITION:
        moved = t.stock_adjustments.c
        query = sa.select(moved.id).where(
            moved.unit_key == unit.unit_key, moved.state.in_(("intended", "posted"))
        )
        posted = connection.execute(query).first() is not None
        return rules.disposition(unit, answers["disposition"], policy, posted=posted)
    if kind is Kind.WRITE_OFF:
        return rules.write_off(unit)
    if kind is Kind.REFUND:
        return _refund(connection, unit, answers, policy)
    if kind is Kind.EXCHANGE_TO_REFUND:
        return _exchange_to_refund(connection, unit, policy)
    if kind is Kind.NO_REFUND:
        return rules.no_refund(unit, policy, has_refund=_has_refund(connection, unit))
    return _standing(connection, unit, kind)


def _place_in_order(
    connection: sa.Connection,
    unit: Unit,
    kind: Kind,
    answers: Mapping[str, str],
    policy: Policy,
) -> dict[str, Any]:
    is_pinned = unit.unit_key in pinned(connection, [unit.unit_key])
    own = policy.linnworks.exchange_source
    given = answers.get("order", "")
    order = _order(connection, given, own) if given else None
    if kind is Kind.ORDER:
        return rules.order(unit, order, given, pinned=is_pinned)
    if given and order is None:
        raise NotAllowed(f"no order {given} has been read from Linnworks")
    lines = t.order_lines.c
    query = sa.select(lines.row_id, lines.order_id).where(
        sa.func.lower(lines.row_id) == answers["row_id"].lower()
    )
    found = connection.execute(query).first()
    of_line = records.orders_by_id(connection, [found.order_id])[found.order_id] if found else None
    named = records.orders_by_key(connection, [unit.order_key], but_not_source=own)
    ids = {one.order_id for one in named.get(unit.order_key, ())}
    if order is not None:
        ids.add(order.order_id)
    ids.update(_candidates(connection, unit))
    row_id = found.row_id if found else answers["row_id"]
    taken = _taken(connection, of_line, but=unit.unit_key) if of_line else {}
    return rules.line(unit, of_line, row_id, taken, named=ids, pinned=is_pinned)


def _candidates(connection: sa.Connection, unit: Unit) -> set[str]:
    """What the match itself names as its order, or as the orders it may be of."""
    found = t.matches.c
    query = sa.select(found.order_id, found.candidates).where(found.unit_key == unit.unit_key)
    row = connection.execute(query).one_or_none()
    return {row.order_id or "", *row.candidates.split("\n")} - {""} if row is not None else set()


def _taken(connection: sa.Connection, order: Order, *, but: str) -> dict[str, set[int]]:
    taken: dict[str, set[int]] = defaultdict(set)
    found = t.matches.c
    query = sa.select(found.row_id, found.unit_no).where(found.unit_key != but)
    rows = [line.row_id for line in order.lines]
    for row in records.in_chunks(connection, query, found.row_id, rows):
        taken[row.row_id].add(row.unit_no)
    return taken


def _order(connection: sa.Connection, given: str, own_source: str) -> Order | None:
    """The order with this id, Linnworks number or reference.

    Raises:
        NotAllowed: When several have it.
    """
    columns = t.orders.c
    query = sa.select(columns.order_id).where(sa.func.lower(columns.order_id) == given.lower())
    ids = set(connection.execute(query).scalars())
    number = given.lstrip("#")
    if not ids and number.isdecimal() and len(number) < 19:
        query = sa.select(columns.order_id).where(columns.num_id == int(number))
        ids = set(connection.execute(query).scalars())
    if not ids:
        key = order_key(given)
        named = records.orders_by_key(connection, [key], but_not_source=own_source)
        ids = {order.order_id for order in named.get(key, ())}
    if len(ids) > 1:
        raise NotAllowed(f"{len(ids)} orders are called {given}: give the order id of one")
    return next(iter(records.orders_by_id(connection, ids).values()), None)


def _has_refund(connection: sa.Connection, unit: Unit) -> bool:
    query = sa.select(t.refunds_due.c.id).where(t.refunds_due.c.unit_key == unit.unit_key)
    return connection.execute(query).first() is not None


def _matched_in(connection: sa.Connection, unit: Unit) -> tuple[Order | None, str]:
    found = t.matches.c
    query = sa.select(found.order_id, found.row_id).where(
        found.unit_key == unit.unit_key, found.outcome == "matched"
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None, ""
    return records.orders_by_id(connection, [row.order_id]).get(row.order_id), row.row_id


def _refund(
    connection: sa.Connection, unit: Unit, answers: Mapping[str, str], policy: Policy
) -> dict[str, Any]:
    order, row_id = _matched_in(connection, unit)
    amount, paid = None, 0
    if order is not None:
        if answers.get("amount"):
            amount = _amount(answers["amount"], order.currency)
        due = t.refunds_due.c
        query = sa.select(sa.func.sum(due.goods_minor)).where(
            due.row_id == priced_line(order, row_id).row_id, due.state != "refused"
        )
        paid = int(connection.execute(query).scalar() or 0)
    return rules.refund(
        unit,
        order,
        row_id,
        policy,
        amount_minor=amount,
        paid_minor=paid,
        has_refund=_has_refund(connection, unit),
    )


def _exchange_to_refund(connection: sa.Connection, unit: Unit, policy: Policy) -> dict[str, Any]:
    wanted = t.exchange_orders.c
    state = sa.select(wanted.state).where(wanted.unit_key == unit.unit_key)
    found = connection.execute(state).scalar() or ""
    return rules.exchange_to_refund(unit, policy, order_state=found)


def _amount(text: str, currency: str) -> int:
    plain = text.strip().lstrip("£€$").removesuffix(currency).strip()
    try:
        return parse_minor(plain, currency)
    except ValueError as error:
        raise NotAllowed(f"{text!r} is no amount in {currency}: {error}") from None


def _standing(connection: sa.Connection, unit: Unit, kind: Kind) -> dict[str, Any]:
    moved = t.stock_adjustments.c
    query = sa.select(
        moved.kind,
        moved.state,
        moved.order_id,
        moved.sku,
        moved.from_location_id,
        moved.location_id,
        moved.intent_key,
    ).where(moved.unit_key == unit.unit_key)
    rows = connection.execute(query.order_by(moved.id)).all()
    if kind is Kind.BY_HAND:
        if any(row.state == "intended" for row in rows):
            msg = f"the stock of {unit.unit_key} is on its way in Linnworks: wait for its outcome"
            raise NotAllowed(msg)
        return {}
    held = [row for row in rows if row.kind == "move" and row.state == "held"]
    if held and held[-1].intent_key is not None:
        msg = (
            f"the move of {unit.unit_key} has stopped: look where the unit is, then send it again "
            "or say that its stock is done by hand"
        )
        raise NotAllowed(msg)
    if held:
        here, there = held[-1].from_location_id, held[-1].location_id
    elif rows and all(row.state == "posted" for row in rows):
        here, there = _elsewhere(connection, unit, rows[-1])
    else:
        raise NotAllowed(f"{unit.unit_key} has not been restocked yet: there is nothing to move")
    return {"from_location_id": here, "location_id": there}


def _elsewhere(connection: sa.Connection, unit: Unit, last: Any) -> tuple[str, str]:
    """Where Linnworks has a unit that we posted elsewhere, and where it belongs.

    Raises:
        NotAllowed: When its readings know of no such place.
    """
    found = standing.of_orders(connection, [last.order_id])
    ours, theirs = (
        [row for row in rows if row.sku == last.sku] for rows in (found.ours, found.theirs)
    )
    for here, there, _units in reconciliation.misplaced(ours, theirs):
        if there == last.location_id:
            return here, there
    msg = (
        f"Linnworks shows no place from which {unit.unit_key} could be moved: transfer it there by "
        "hand, the next reconciliation sees it"
    )
    raise NotAllowed(msg)


# --- writes -----------------------------------------------------------------------

_ROWS_OF = {
    "refund": (t.refunds_due, t.stock_adjustments, t.exchange_orders),
    "exchange": (t.exchange_orders, t.stock_adjustments, t.refunds_due),
    "": (t.stock_adjustments, t.refunds_due, t.exchange_orders),
}


def _write(
    connection: sa.Connection, task: Task, kind: Kind, answers: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    intent = _stopped(connection, task, answers)
    if kind is Kind.SEND_AGAIN:
        return intent.intent_key, {"attempt": intent.attempt}
    number = answers["vendor_id"].lstrip("#")
    if intent.kind == "exchange_create":
        order = _order(connection, number, "")
        number = order.order_id if order is not None else number
    return intent.intent_key, {"vendor_id": number, "attempt": intent.attempt}


def _stopped(connection: sa.Connection, task: Task, answers: Mapping[str, str]) -> outbox.Intent:
    """The write that has stopped and that the task is about.

    Raises:
        NotAllowed: When none has.
    """
    keys = [task.key]
    if task.unit_keys:
        unit = _unit(connection, task, answers)
        words = ("refund", "exchange")
        about = next((word for word in words if word in task.code.lower()), "")
        for table in _ROWS_OF[about]:
            query = sa.select(table.c.intent_key).where(
                table.c.unit_key == unit.unit_key,
                table.c.intent_key.is_not(None),
                table.c.state.in_(("held", "refused", "intended", "batched")),
            )
            keys.extend(connection.execute(query).scalars())
    for key in keys:
        intent = outbox.find(connection, key)
        before = (
            outbox.find(connection, intent.depends_on) if intent and intent.depends_on else None
        )
        for one in (before, intent):
            if one is not None and one.state in outbox.STOPPED:
                return one
    msg = "nothing of it has stopped: either it was never sent, or it goes on by itself"
    raise NotAllowed(msg)


# --- in words ---------------------------------------------------------------------


def in_words(kind: Kind, arguments: Mapping[str, Any]) -> str:
    """The arguments of a decision as people read them."""
    if kind is Kind.LINE:
        return f"line {arguments['row_id']}"
    if kind is Kind.ORDER:
        return f"order {arguments['order_id']}"
    if kind is Kind.DISPOSITION:
        return str(arguments["disposition"])
    if kind is Kind.REFUND and "amount_minor" in arguments:
        amount = format_minor(arguments["amount_minor"], arguments["currency"])
        return f"{amount} {arguments['currency']}"
    if kind is Kind.HAPPENED:
        return f"number {arguments['vendor_id']}"
    return ""


def hindrance(engine: sa.Engine, task: Task, kind: Kind, policy: Policy) -> str:
    """Why a kind cannot be decided about a task, as far as that is known without answers."""
    entry = KINDS[kind]
    if (
        kind is Kind.ACCEPT
        or len(task.unit_keys) > 1
        or (entry.needs and kind is not Kind.HAPPENED)
    ):
        return ""
    answers = dict.fromkeys(entry.needs, "0")
    with reading(engine) as connection:
        try:
            if entry.about is About.WRITE:
                _stopped(connection, task, {})
            elif kind is not Kind.REFUND:
                checked(connection, task, kind, answers, policy)
        except NotAllowed as error:
            return str(error)
    return ""


# --- what a form offers -----------------------------------------------------------


def choices(engine: sa.Engine, task: Task, policy: Policy) -> dict[str, list[tuple[str, str]]]:
    """What can be chosen for a task, as value and words: units, lines, orders, conditions."""
    found: dict[str, list[tuple[str, str]]] = {"row_id": [], "order": []}
    found["unit"] = [(key, key) for key in task.unit_keys]
    found["disposition"] = [
        (one.value, _condition(one, policy)) for one in Disposition if one in policy.rules
    ]
    kinds = rules.kinds_for(task.code, task.key)
    if len(task.unit_keys) != 1 or not {Kind.LINE, Kind.ORDER} & set(kinds):
        return found
    with reading(engine) as connection:
        unit = records.units_by_key(connection, task.unit_keys).get(task.unit_keys[0])
        if unit is None:
            return found
        for order in _likely(connection, unit, policy):
            found["order"].append((order.order_id, _order_words(order)))
            taken = _taken(connection, order, but=unit.unit_key)
            found["row_id"].extend(
                (line.row_id, f"{line.sku}, {line.quantity} ordered, of order {order.num_id}")
                for line in order.lines
                if not line.is_service
                and not line.is_unlinked
                and has_room(order, line.row_id, taken)
            )
    return found


def _condition(one: Disposition, policy: Policy) -> str:
    rule = policy.rules[one]
    where = rule.location or "moves no stock"
    return f"{one.value.replace('_', ' ').capitalize()} ({where}; refund {rule.refund})"


def _order_words(order: Order) -> str:
    at = f", despatched {order.despatched_at:%Y-%m-%d}" if order.despatched_at else ""
    skus = ", ".join(line.sku for line in order.lines[:4])
    return f"{order.num_id} ({order.reference_key}{at}): {skus}"


def _likely(connection: sa.Connection, unit: Unit, policy: Policy) -> list[Order]:
    """The orders a unit may be of: by its number, by its match, else by what was in it."""
    own = policy.linnworks.exchange_source
    named = records.orders_by_key(connection, [unit.order_key], but_not_source=own)
    ids = {one.order_id for one in named.get(unit.order_key, ())} | _candidates(connection, unit)
    found = list(records.orders_by_id(connection, ids).values())
    if found or not unit.sku:
        return found
    # Nothing has its number: the latest that were sent with this SKU.
    lines, orders = t.order_lines.c, t.orders.c
    query = (
        sa.select(orders.order_id)
        .join_from(t.orders, t.order_lines, lines.order_id == orders.order_id)
        .where(lines.sku == unit.sku, orders.is_processed, ~orders.is_cancelled)
        .where(orders.source != own)
        .order_by(orders.processed_at.desc())
        .limit(20)
    )
    latest = list(dict.fromkeys(connection.execute(query).scalars()))
    return list(records.orders_by_id(connection, latest).values())
