"""What people decided is carried out, and what became of it is entered.

Decisions about order lines, conditions and money are read by ``decide`` like any other
evidence. Here: those about stock that waits for a word, those about writes that stopped, and
the entry of what became of each. Nothing is sent from here: a write that is to be tried
again goes back into the outbox under its own key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa

from returns_pipeline.clients.transport import VendorError
from returns_pipeline.dispatch import kinds, told
from returns_pipeline.dispatch.writes import Unclear, Write
from returns_pipeline.domain.decisions import KINDS, About, Decision, Kind
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import decisions as said
from returns_pipeline.storage import outbox, records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading
from returns_pipeline.storage.outbox import Intent

# What a stopped write's rows were, and what they are again once it goes on.
_STOPPED_ROWS = (
    (t.stock_adjustments, ("held",), {"state": "intended", "note": ""}),
    (t.exchange_orders, ("held",), {"state": "intended", "note": ""}),
    (
        t.refunds_due,
        ("held", "refused"),
        {"state": "batched", "note": "", "settled_at": None},
    ),
)


# --- writes -----------------------------------------------------------------------


def writes(rt: Runtime, of: Collection[str]) -> dict[str, int]:
    """Carry out what was decided about stopped writes of these kinds, before any is driven.

    What is to be sent again becomes ready with the content and the key it had, so that the
    look before sending finds what is there: no word of a person sends anything twice.
    """
    with reading(rt.engine) as connection:
        found = [
            (decision, intent)
            for decision in said.waiting(connection, "write")
            if (intent := outbox.find(connection, decision.subject)) is not None
            and intent.kind in of
        ]
    counts = {"sent_again": 0, "found": 0, "not_possible": 0}
    by_kind = kinds.all_writes(rt.linnworks, rt.engine) if found else {}
    for decision, intent in found:
        counts[_one_write(rt, by_kind[intent.kind], decision, intent)] += 1
    return {name: number for name, number in counts.items() if number}


def _one_write(rt: Runtime, write: Write, decision: Decision, intent: Intent) -> str:
    refusal = _cannot(rt, decision, intent)
    if refusal:
        return _refused(rt, decision, refusal)
    if decision.kind is Kind.SEND_AGAIN:
        with rt.engine.begin() as connection:
            _go_on(connection, rt, decision, intent, write, {})
        return "sent_again"
    try:
        seen = told.look(write, rt.linnworks, intent, str(decision.arguments["vendor_id"]))
    except VendorError as error:
        rt.progress(f"{intent.reference} could not be looked up: {error.detail}")
        return "not_possible"  # it waits; the next run looks again
    if isinstance(seen, Unclear):
        return _refused(rt, decision, seen.why)
    with rt.engine.begin() as connection:
        _go_on(connection, rt, decision, intent, write, seen.evidence)
    return "found"


def _cannot(rt: Runtime, decision: Decision, intent: Intent) -> str:
    if not intent.is_as_committed:
        return "the stored intent is not what was committed: nothing is sent for it"
    if intent.state not in outbox.STOPPED:
        return f"it is {intent.state} meanwhile"
    rested = rt.now() - rt.settings.settle
    rests = intent.state == "unknown" and (intent.sent_at is None or intent.sent_at > rested)
    if decision.kind is Kind.SEND_AGAIN and rests:
        return "its request may still be carried out: it is read back when it has rested"
    return ""


def _go_on(
    connection: sa.Connection,
    rt: Runtime,
    decision: Decision,
    intent: Intent,
    write: Write,
    evidence: Mapping[str, object],
) -> None:
    """Set a stopped write, what waits for it and their rows going again; all or nothing."""
    now, by = rt.now(), decision.by
    state, step = ("confirmed", "told") if evidence else ("ready", outbox.RELEASED)
    changed = outbox.settle_by_word(
        connection,
        intent,
        state,
        now=now,
        run_id=rt.run_id,
        step=step,
        detail=by,
        evidence=evidence or None,
    )
    if not changed:
        return  # somebody was quicker; the next run sees what it is now
    following = outbox.following(connection, intent.intent_key)
    _rows_go_on(connection, [intent.intent_key, *(one.intent_key for one in following)])
    if evidence:
        write.confirmed(connection, intent, evidence, now)
    for one in following:
        if one.state == "withdrawn":
            outbox.settle_by_word(
                connection, one, "ready", now=now, run_id=rt.run_id, step=outbox.RELEASED, detail=by
            )
    said.became(
        connection,
        decision.id,
        "carried_out",
        f"{step}: {intent.kind} {intent.reference}",
        now=now,
        run_id=rt.run_id,
    )


def _rows_go_on(connection: sa.Connection, keys: Collection[str]) -> None:
    for table, stopped, again in _STOPPED_ROWS:
        connection.execute(
            sa.update(table)
            .where(table.c.intent_key.in_(list(keys)), table.c.state.in_(stopped))
            .values(**again)
        )


def _refused(rt: Runtime, decision: Decision, why: str) -> str:
    with rt.engine.begin() as connection:
        refuse(connection, decision, why, now=rt.now(), run_id=rt.run_id)
    return "not_possible"


def refuse(
    connection: sa.Connection, decision: Decision, why: str, *, now: datetime, run_id: str
) -> None:
    """Enter that a decision cannot be carried out; its task is open again and says why."""
    said.became(connection, decision.id, "refused", why, now=now, run_id=run_id)
    if decision.exception_id is None:
        return
    said.note(
        connection,
        decision.exception_id,
        "not_possible",
        actor=said.SYSTEM,
        now=now,
        detail=why,
        decision_id=decision.id,
    )
    columns = t.exceptions.c
    connection.execute(
        sa.update(t.exceptions)
        .where(columns.id == decision.exception_id, columns.status == "ack")
        .values(status="open")
    )


def stopped_again(connection: sa.Connection, tasks: Collection[int], *, now: datetime) -> None:
    """Open again the tasks whose write was sent once more, and stopped once more.

    Args:
        connection: Inside the caller's transaction.
        tasks: Those whose cause still holds.
        now: The instant.
    """
    columns, done = t.exceptions.c, t.exception_actions.c
    for number, decision in said.latest_from(connection, tasks).items():
        if KINDS[decision.kind].about is not About.WRITE or decision.outcome != "carried_out":
            continue
        told_before = sa.select(done.id).where(
            done.decision_id == decision.id, done.action == "stopped_again"
        )
        if connection.execute(told_before).first() is not None:
            continue
        said.note(
            connection,
            number,
            "stopped_again",
            actor=said.SYSTEM,
            now=now,
            decision_id=decision.id,
        )
        connection.execute(
            sa.update(t.exceptions)
            .where(columns.id == number, columns.status == "ack")
            .values(status="open")
        )


# --- stock that waits for a word --------------------------------------------------


def open_for_moves(connection: sa.Connection) -> None:
    """Open again the units that are to be moved: they were closed before somebody moved them."""
    units = [one.subject for one in said.waiting(connection, "place") if one.kind is Kind.MOVE]
    items = t.return_items.c
    for part in records.chunks(units, 500):
        connection.execute(
            sa.update(t.return_items)
            .where(items.unit_key.in_(part), ~items.is_open)
            .values(is_open=True)
        )


def places(connection: sa.Connection, by_unit: Mapping[str, Decision], *, run_id: str) -> None:
    """Carry out what was decided about where units stand, before stock is computed.

    A move that was held is ready to be made; where Linnworks has a unit elsewhere than it was
    posted, the move from there is made here. What is done by hand is made by nobody else:
    a restock that was not intended yet is dropped, a held move counts as made.
    """
    moved = t.stock_adjustments.c
    for key, decision in by_unit.items():
        if decision.outcome:
            continue
        held_move = (moved.unit_key == key, moved.kind == "move", moved.state == "held")
        if decision.kind is Kind.MOVE:
            _move(connection, decision)
            continue
        _withdraw_moves(connection, key, decision, run_id=run_id)
        connection.execute(
            sa.delete(t.stock_adjustments).where(moved.unit_key == key, moved.state == "ready")
        )
        connection.execute(
            sa.update(t.stock_adjustments)
            .where(*held_move)
            .values(state="posted", posted_at=decision.decided_at, note="")
        )
        connection.execute(
            sa.update(t.stock_adjustments)
            .where(moved.unit_key == key, moved.state == "posted", moved.note != "")
            .values(note="")
        )


def _move(connection: sa.Connection, decision: Decision) -> None:
    moved = t.stock_adjustments.c
    note = f"WRONG_LOCATION: {decision.by}; it is to be moved"
    of_unit = moved.unit_key == decision.subject
    rows = connection.execute(
        sa.select(t.stock_adjustments).where(of_unit).order_by(moved.id)
    ).all()
    waiting = [row for row in rows if row.state != "posted"]
    if waiting:
        # One whose write has stopped goes on by its own key (``writes``), and by no other.
        connection.execute(
            sa.update(t.stock_adjustments)
            .where(of_unit, moved.kind == "move", moved.state == "held", moved.intent_key.is_(None))
            .values(state="ready", note=note)
        )
        return
    here, there = (decision.arguments[k] for k in ("from_location_id", "location_id"))
    if not rows or rows[-1].location_id != there or rows[-1].from_location_id == here:
        return  # made already, or decided otherwise since
    last = rows[-1]._asdict()
    for name in ("id", "intent_key", "rma_header_id", "rma_row_id", "posted_at", "is_ledgered"):
        del last[name]
    last |= {
        "adjustment_key": f"{decision.subject}:move:{len(rows)}",
        "kind": "move",
        "from_location_id": here,
        "state": "ready",
        "note": note,
        "policy_hash": decision.policy_hash,
        "created_at": decision.decided_at,
    }
    connection.execute(sa.insert(t.stock_adjustments).values(**last))


def _withdraw_moves(
    connection: sa.Connection, unit: str, decision: Decision, *, run_id: str
) -> None:
    """What a person has seen to is not sent, nor does its write wait for anybody."""
    moved = t.stock_adjustments.c
    query = sa.select(moved.intent_key).where(
        moved.unit_key == unit, moved.state == "held", moved.intent_key.is_not(None)
    )
    for key in connection.execute(query).scalars().all():
        intent = outbox.find(connection, key)
        if intent is not None and intent.kind in kinds.MOVE and intent.state == "suspense":
            outbox.move(
                connection,
                intent,
                "withdrawn",
                now=decision.decided_at,
                run_id=run_id,
                error=decision.by,
            )


# --- replacements -----------------------------------------------------------------


def no_replacement(connection: sa.Connection, units: Collection[str]) -> None:
    """Drop the replacements of units that are refunded instead; none of them was begun.

    What stands on exchange clearing already stays there: it is taken out again by an entry
    of its own (``settlements``).
    """
    wanted, due = t.exchange_orders.c, t.refunds_due.c
    for part in records.chunks(sorted(units), 500):
        dropped = sa.delete(t.exchange_orders).where(
            wanted.unit_key.in_(part), wanted.state == "ready"
        )
        connection.execute(dropped)
        credit = sa.delete(t.refunds_due).where(
            due.unit_key.in_(part),
            due.tender == "exchange",
            due.state == "due",
            ~due.is_ledgered,
        )
        connection.execute(credit)


# --- what became of it ------------------------------------------------------------


def settle(connection: sa.Connection, rt: Runtime) -> int:
    """Enter which decisions about units have taken effect; how many."""
    now = rt.now()
    done: list[tuple[Decision, str, str]] = []
    for question, effect in (
        ("line", _matched),
        ("condition", _in_condition),
        ("money", _paid_or_not),
        ("place", _moved),
    ):
        waiting = said.waiting(connection, question)
        if not waiting:
            continue
        units = {one.subject for one in waiting}
        closed = _closed(connection, units)
        effects = effect(connection, waiting)
        for decision in waiting:
            if decision.id in effects:
                done.append((decision, "carried_out", effects[decision.id]))
            elif decision.subject in closed:
                done.append((decision, *_at_the_end(decision)))
    for decision, outcome, detail in done:
        said.became(connection, decision.id, outcome, detail, now=now, run_id=rt.run_id)
    said.pass_over(connection, now=now)
    return len(done)


_LASTING = frozenset({Kind.NO_REFUND, Kind.BY_HAND, Kind.WRITE_OFF})


def _at_the_end(decision: Decision) -> tuple[str, str]:
    # What forbids or replaces something is carried out when the unit is closed without it.
    if decision.kind in _LASTING:
        return "carried_out", "the unit is closed"
    return "ended", "the unit was closed without it"


def _closed(connection: sa.Connection, units: Collection[str]) -> set[str]:
    items = t.return_items.c
    query = sa.select(items.unit_key).where(~items.is_open)
    return {row[0] for row in records.in_chunks(connection, query, items.unit_key, units)}


def _matched(connection: sa.Connection, waiting: Collection[Decision]) -> dict[int, str]:
    """Those whose unit was moved or paid by the line they led to: now it is fixed."""
    units = {one.subject for one in waiting}
    fixed = pinned(connection, units)
    return {one.id: "stock or money has moved by it" for one in waiting if one.subject in fixed}


def pinned(connection: sa.Connection, units: Collection[str]) -> set[str]:
    """Units whose order line has moved stock or money, or is about to."""
    found: set[str] = set()
    for table in (t.stock_adjustments, t.refunds_due, t.exchange_orders):
        query = sa.select(table.c.unit_key)
        rows = records.in_chunks(connection, query, table.c.unit_key, units)
        found.update(row[0] for row in rows)
    return found


def _in_condition(connection: sa.Connection, waiting: Collection[Decision]) -> dict[int, str]:
    stored = records.decisions_of(connection, {one.subject for one in waiting})
    return {
        one.id: f"decided as {one.arguments['disposition']}"
        for one in waiting
        if one.kind is Kind.DISPOSITION
        and one.subject in stored
        and stored[one.subject].decided.disposition.value == one.arguments["disposition"]
    }


def _paid_or_not(connection: sa.Connection, waiting: Collection[Decision]) -> dict[int, str]:
    due = t.refunds_due.c
    paying = {Kind.REFUND, Kind.EXCHANGE_TO_REFUND}
    units = {one.subject for one in waiting if one.kind in paying}
    query = sa.select(due.unit_key).where(
        sa.or_(due.tender != "exchange", due.new_value_minor == 0)
    )
    paid = {row[0] for row in records.in_chunks(connection, query, due.unit_key, units)}
    return {one.id: "its refund is due" for one in waiting if one.subject in paid}


def _moved(connection: sa.Connection, waiting: Collection[Decision]) -> dict[int, str]:
    """Those whose unit has been moved; what is done by hand is done when the unit is closed."""
    moved = t.stock_adjustments.c
    decided = [one for one in waiting if one.kind is Kind.MOVE]
    query = sa.select(moved.unit_key, moved.location_id).where(
        moved.kind == "move", moved.state == "posted"
    )
    units = {one.subject for one in decided}
    made = {
        (row.unit_key, row.location_id)
        for row in records.in_chunks(connection, query, moved.unit_key, units)
    }
    return {
        one.id: "moved" for one in decided if (one.subject, one.arguments["location_id"]) in made
    }
