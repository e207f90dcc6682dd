"""What an accounting program said to a batch's file: refused, with its reason, or taken.

No ledger is asked by this program: a person who imported says so. The last word on a batch
and program stands; a batch whose journal has a number in the ledger was taken.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.reporting.exports import TARGETS
from returns_pipeline.steps import batching
from returns_pipeline.steps.batching import WrongState
from returns_pipeline.storage import tables as t


def tell(
    engine: sa.Engine,
    batch_id: str,
    target: str,
    *,
    taken: bool,
    reason: str,
    by: str,
    now: datetime,
) -> bool:
    """Record what a program said to a batch's file; whether that was news.

    Raises:
        NotThere: When there is no such batch.
        WrongState: When no file of it was written for that program, or its journal has a
            number in the ledger already and is said to be refused.
    """
    answer, done = t.ledger_answers.c, t.batch_exports.c
    title = TARGETS[target].TITLE if target in TARGETS else target
    with engine.begin() as connection:
        found = batching.header(connection, batch_id)
        written = sa.select(done.id).where(done.batch_id == batch_id, done.target == target)
        if connection.execute(written.limit(1)).first() is None:
            msg = f"no file of {batch_id} was written for {title}: nothing can have been said to it"
            raise WrongState(msg)
        if not taken and found.ledger_id:
            msg = f"{batch_id} is {found.ledger_id} in the ledger already: it was taken"
            raise WrongState(msg)
        last = (
            sa.select(answer.is_taken, answer.reason)
            .where(answer.batch_id == batch_id, answer.target == target)
            .order_by(answer.id.desc())
        )
        before = connection.execute(last.limit(1)).first()
        # What stands: nothing, or why it was refused.
        refusal = None if before is None or before.is_taken else before.reason
        if refusal == (None if taken else reason):
            return False
        connection.execute(
            sa.insert(t.ledger_answers).values(
                batch_id=batch_id,
                target=target,
                is_taken=taken,
                reason=reason,
                told_by=by,
                told_at=now,
            )
        )
        word, more = ("taken", "") if taken else ("refused", f": {reason}")
        event = (batch_id, word, now, f"by {title}, says {by}{more}")
        batching.note(connection, [event], "")
    return True


def refused(connection: sa.Connection) -> list[Any]:
    """The refusals that stand: batch, program, reason, since when, whether exported anew."""
    answer, columns, done = t.ledger_answers.c, t.batches.c, t.batch_exports.c
    last = sa.select(sa.func.max(answer.id)).group_by(answer.batch_id, answer.target)
    anew = sa.exists().where(
        done.batch_id == answer.batch_id,
        done.target == answer.target,
        done.exported_at > answer.told_at,
    )
    query = (
        sa.select(
            answer.batch_id,
            answer.target,
            answer.reason,
            answer.told_at,
            columns.state,
            anew.label("is_written_anew"),
        )
        .join_from(t.ledger_answers, t.batches, answer.batch_id == columns.batch_id)
        .where(answer.id.in_(last), ~answer.is_taken, columns.ledger_id == "")
        .order_by(answer.id)
    )
    return list(connection.execute(query))
