"""The conservation law of a return: as many units as were begun are accounted for.

Begun = received + in transit + missing + expired + cancelled + kept. Where that does not come
out, a unit of it is not named by Happy Returns any more, or was closed here without an end.
Here: noting what an answer leaves out, and the predicate. Driven by the open units, so that
its cost does not grow with history.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain import gate as gate_rules
from returns_pipeline.domain.decisions import Kind
from returns_pipeline.domain.model import ExceptionRaised
from returns_pipeline.steps.about import about
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import decisions as said
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert

Raised = Iterator[ExceptionRaised]
_FATES = ("received", "in transit", "missing", "expired", "cancelled", "kept")
_NOWHERE = "not accounted for"


def note_answers(
    connection: sa.Connection, answers: Mapping[str, Collection[str]], *, now: datetime
) -> int:
    """Note the open units that Happy Returns does not name any more; forget those it does.

    Args:
        connection: Inside the caller's transaction.
        answers: By order number, as it was asked for, the keys of every unit it was told of.
        now: When it was asked.

    Returns:
        How many units are missing from the answers.
    """
    items, untold = t.return_items.c, t.untold_units.c
    query = sa.select(items.unit_key, items.order_number).where(items.is_open)
    open_units = {
        row.unit_key: row.order_number
        for row in records.in_chunks(connection, query, items.order_number, answers)
    }
    gone = sorted(key for key, number in open_units.items() if key not in answers[number])
    named = {key for keys in answers.values() for key in keys}
    query = sa.select(untold.unit_key)
    back = [row[0] for row in records.in_chunks(connection, query, untold.unit_key, sorted(named))]
    among, listed = records.listed(connection, untold.unit_key, back)
    connection.execute(sa.delete(t.untold_units).where(among), listed)
    columns = ("unit_key", "since_at")
    rows = [(key, now) for key in gone]
    upsert(connection, t.untold_units, columns, rows, key=("unit_key",), update=())
    return len(gone)


def returns_that_do_not_add_up(connection: sa.Connection, rt: Runtime, now: datetime) -> Raised:
    """Returns of which a unit is neither here nor under way nor given up."""
    items, untold = t.return_items.c, t.untold_units.c
    open_units = sa.select(items.return_id).where(items.is_open, items.return_id != "")
    columns = [one for one in items if one.name != "id"]
    query = (
        sa.select(*columns, untold.since_at)
        .outerjoin_from(t.return_items, t.untold_units, untold.unit_key == items.unit_key)
        .where(items.return_id.in_(open_units))
        .order_by(items.unit_key)
    )
    rows = list(connection.execute(query))
    closed = [row.unit_key for row in rows if not row.is_open]
    lost = {
        key
        for key, one in (
            said.of_open_units(connection, "condition")
            | said.of_units(connection, "condition", closed)
        ).items()
        if one.kind is Kind.WRITE_OFF
    }
    by_return: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for row in rows:
        by_return[row.return_id].append((_fate(row, lost, rt, now), row))
    for return_id, told in sorted(by_return.items()):
        missing = [row for fate, row in told if fate == _NOWHERE]
        if not missing:
            continue
        counted = Counter(fate for fate, _ in told)
        fates = ", ".join(
            f"{counted[fate]} {fate}" for fate in (*_FATES, _NOWHERE) if counted[fate]
        )
        yield ExceptionRaised(
            code="RETURN_NOT_CONSERVED",
            key=return_id,
            message=f"{len(told)} units were begun: {fates}",
            **about(missing),
            since=min((row.since_at for row in missing if row.since_at), default=None),
        )


def _fate(row: Any, lost: Collection[str], rt: Runtime, now: datetime) -> str:
    if row.received_at is not None:
        return "received"
    if row.is_returnless:
        return "kept"
    if row.stage in {"cancelled", "expired"}:
        return str(row.stage)
    if row.unit_key in lost:
        return "missing"
    if row.is_open:
        return "in transit" if row.since_at is None else _NOWHERE
    if row.started_at is not None and row.started_at + rt.policy.ages.started_expires <= now:
        return "expired"
    begun = [getattr(row, f"{name}_at") for name in gate_rules.BEGUN_BY]
    # Of before this program: people have seen to it.
    return "in transit" if gate_rules.begun_before_start(begun, rt.policy) else _NOWHERE


PREDICATES = (returns_that_do_not_add_up,)
