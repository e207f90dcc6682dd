"""Carrying out what was decided, through the outbox: restocks, replacements, refunds.

In shadow mode nothing is intended and nothing sent: what would be posted stands in the
tables as ``ready``. How a write is made safe is ``dispatch``'s.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import date

import sqlalchemy as sa

from returns_pipeline.dispatch import availability, intend, kinds, on_the_rma
from returns_pipeline.dispatch.protocol import Dispatcher
from returns_pipeline.domain.model import Executor
from returns_pipeline.steps import carry_out, soundness
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading


def restocks(rt: Runtime) -> dict[str, int]:
    """Book and action one RMA an order and receipt, move what stands wrong; drive what is open."""
    if not rt.live:
        return _shadow(rt, t.stock_adjustments, t.UNPOSTED_ADJUSTMENT)
    held = _hold(rt)
    if rt.policy.exchange.way == "rma":
        availability.look(rt.engine, rt.linnworks, rt.policy)
    instead = on_the_rma.instead(rt.engine, rt.linnworks, rt.policy)
    intended = intend.intend_restocks(rt.engine, policy=rt.policy, now=rt.now(), instead=instead)
    moves = intend.intend_moves(rt.engine, now=rt.now())
    counts = {"intended": intended, **({"moves": moves} if moves else {}), **held}
    return {**counts, **_drive(rt, (*kinds.RESTOCK, *kinds.MOVE))}


def exchanges(rt: Runtime) -> dict[str, int]:
    """Order the replacements whose originals are back."""
    if not rt.live:
        return _shadow(rt, t.exchange_orders, t.UNCREATED_EXCHANGE)
    held = _hold(rt)
    waiting = availability.look(rt.engine, rt.linnworks, rt.policy)
    intended = intend.intend_exchanges(rt.engine, policy=rt.policy, now=rt.now())
    return {"intended": intended, **waiting, **held, **_drive(rt, kinds.EXCHANGE)}


def refunds(rt: Runtime, day: date | None = None) -> dict[str, int]:
    """Carry out the refunds of sealed batches; without a day, only finish what was begun.

    A refund begins when its day is closed and at no other time; a poll may finish one
    whose answer was lost.
    """
    if not rt.live:
        return _shadow(rt, t.refunds_due, t.UNPAID_REFUND)
    held, intended = _hold(rt), 0
    if day is not None and rt.policy.refunds.executor is Executor.LINNWORKS:
        with reading(rt.engine) as connection:
            query = sa.select(t.batches.c.batch_id).where(t.batches.c.origin_date == day)
            ids = set(connection.execute(query).scalars())
            unsound = {flaw.key for flaw in soundness.unsound_batches(connection)}
        intended = intend.intend_refunds(rt.engine, batch_ids=ids - unsound, now=rt.now())
    return {"intended": intended, **held, **_drive(rt, kinds.REFUND)}


def _hold(rt: Runtime) -> dict[str, int]:
    """Our own books first: what cannot be is held, and nothing is done over it."""
    held = soundness.hold(rt.engine, now=rt.now(), run_id=rt.run_id)
    return {"held_by_books": held} if held else {}


def _drive(rt: Runtime, of: tuple[str, ...]) -> dict[str, int]:
    by_word = carry_out.writes(rt, of)
    dispatcher = Dispatcher(
        rt.engine,
        kinds.all_writes(rt.linnworks, rt.engine),
        clock=rt.now,
        settle=rt.settings.settle,
        run_id=rt.run_id,
        holder=f"{socket.gethostname()}:{os.getpid()}",
    )
    return {**by_word, **dispatcher.drive(of, progress=rt.progress).counts()}


def _shadow(rt: Runtime, table: sa.Table, waiting: Sequence[str]) -> dict[str, int]:
    would = table.c.state.in_(("ready", "due", "batched"))
    query = sa.select(sa.func.count()).where(t.among(table.c.state, waiting), would)
    with reading(rt.engine) as connection:
        return {"would_post": connection.execute(query).scalar_one()}
