"""A unit's life-cycle: evidence carries it forward and never takes it back.

``merge`` joins two readings of a unit; it is commutative and idempotent, so that late,
repeated and re-ordered payloads lead to the same unit. Deciding what a stage allows is
``gate``'s.
"""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime

from returns_pipeline.domain.model import Fact, Precision, Stage, Unit

_FACTS = ("started", "dropped_off", "approved", "departed", "received", "expired", "cancelled")
_RANK = {Precision.EXACT: 0, Precision.DATE: 1, Precision.INFERRED: 2}
_NEVER = datetime.min.replace(tzinfo=UTC)
_NOT_SCALARS = frozenset(
    {*_FACTS, "unit_key", "updated_at", "source_rank", "payload_hash", "problems", "returnless"}
)
_SCALARS = tuple(f.name for f in fields(Unit) if f.name not in _NOT_SCALARS)


def stage(unit: Unit) -> Stage:  # noqa: PLR0911 (one line a stage reads best)
    """How far the facts have carried the unit. What the warehouse has, it has."""
    if unit.received is not None:
        return Stage.RECEIVED
    if unit.cancelled is not None:
        return Stage.CANCELLED
    if unit.expired is not None:
        return Stage.EXPIRED
    if unit.departed is not None:
        return Stage.DEPARTED
    if unit.approved is not None:
        return Stage.APPROVED
    if unit.dropped_off is not None:
        return Stage.DROPPED_OFF
    return Stage.STARTED


def best(a: Fact | None, b: Fact | None) -> Fact | None:
    """The better known of two tellings of one fact; of equals the earlier."""
    if a is None or b is None:
        return a or b
    return min(a, b, key=lambda fact: (_RANK[fact.precision], fact.at))


def _version(unit: Unit) -> tuple[datetime, int, str]:
    return (unit.updated_at or _NEVER, unit.source_rank, unit.payload_hash)


def merge(a: Unit, b: Unit) -> Unit:
    """One unit from two readings of it.

    Facts: the better known, then the earlier. All else: the newer reading's, unless it
    says nothing there.

    Args:
        a: One reading.
        b: Another, of the same unit.

    Raises:
        ValueError: When they are not of the same unit.
    """
    if a.unit_key != b.unit_key:
        msg = f"readings of two units: {a.unit_key} and {b.unit_key}"
        raise ValueError(msg)
    old, new = (a, b) if _version(a) <= _version(b) else (b, a)
    changes: dict[str, object] = {name: best(getattr(a, name), getattr(b, name)) for name in _FACTS}
    for name in _SCALARS:
        value = getattr(new, name)
        if value is None or value == "":
            changes[name] = getattr(old, name)
    changes["returnless"] = a.returnless or b.returnless
    changes["disposition_at"] = _disposition_at(old, new)
    return replace(new, **changes)  # type: ignore[arg-type]


def _disposition_at(old: Unit, new: Unit) -> datetime | None:
    # The instant belongs to the code: a repeated code keeps its first instant.
    if not new.disposition_code:
        return old.disposition_at
    if old.disposition_code != new.disposition_code:
        return new.disposition_at
    known = [at for at in (old.disposition_at, new.disposition_at) if at is not None]
    return min(known) if known else None


def events(before: Unit | None, after: Unit) -> list[tuple[str, datetime, Precision, str]]:
    """What ``after`` newly tells: (kind, instant, precision, detail)."""
    told: list[tuple[str, datetime, Precision, str]] = []
    for name in _FACTS:
        fact: Fact | None = getattr(after, name)
        if fact is not None and (before is None or getattr(before, name) != fact):
            told.append((name, fact.at, fact.precision, ""))
    code = after.disposition_code
    if code and (before is None or before.disposition_code != code):
        at = after.disposition_at or after.updated_at
        if at is not None:
            told.append(("inspected", at, Precision.EXACT, code))
    return told
