"""A unit's life-cycle: evidence carries it forward and never takes it back.

``merge`` joins two readings of a unit; it is commutative and idempotent, and the facts of
many readings are the same in whatever order they come: late, repeated and re-ordered
payloads take nothing back. Deciding what a stage allows is ``gate``'s.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from returns_pipeline.domain.model import Fact, Precision, Stage, Unit

FACTS = ("started", "dropped_off", "approved", "departed", "received", "expired", "cancelled")
_RANK = {Precision.EXACT: 0, Precision.DATE: 1, Precision.INFERRED: 2}
_NEVER = datetime.min.replace(tzinfo=UTC)


def stage(unit: Unit) -> Stage:
    """How far the facts have carried the unit."""
    return furthest([name for name in FACTS if getattr(unit, name) is not None])


# What the warehouse has, it has.
_FURTHEST = (
    Stage.RECEIVED,
    Stage.CANCELLED,
    Stage.EXPIRED,
    Stage.DEPARTED,
    Stage.APPROVED,
    Stage.DROPPED_OFF,
)


def furthest(told: Collection[str]) -> Stage:
    """How far a unit is of which these facts are known, by their names."""
    return next((one for one in _FURTHEST if one.value in told), Stage.STARTED)


def best(a: Fact | None, b: Fact | None) -> Fact | None:
    """The better known of two tellings of one fact; of equals the earlier."""
    if a is None or b is None or a == b:
        return a or b
    a_rank, b_rank = _RANK[a.precision], _RANK[b.precision]
    if a_rank != b_rank:
        return a if a_rank < b_rank else b
    return a if a.at <= b.at else b


def version(unit: Unit) -> tuple[datetime, int, str]:
    """What orders readings of one unit: the newest is the greatest.

    The source's last change, then the fuller feed, then the payload's hash. Many are merged
    in this order, so that what the newest leaves out is filled by the newest that says it.
    """
    return (unit.updated_at or _NEVER, unit.source_rank, unit.payload_hash)


def merge(a: Unit, b: Unit) -> Unit:
    """One unit from two readings of it.

    Facts: the better known, then the earlier; a fact is never taken away. All else: the
    newer reading's, unless it says nothing there (``None`` or empty; a zero amount is a
    value). "Newer" is by the source's last change, then the fuller feed, then the payload's
    hash, so that two readings give the same unit whichever comes first. Of three, only a
    gap that the newest leaves and two older ones fill differently is filled by whichever
    was joined to it first.

    A partial feed (``source_rank`` 0) names neither ``returnless`` nor most fields: its
    silence leaves the flag, and what an earlier reading could not be understood on, as
    they were. A whole reading settles both.

    Args:
        a: One reading.
        b: Another, of the same unit.

    Raises:
        ValueError: When they are not of the same unit.
    """
    if a.unit_key != b.unit_key:
        msg = f"readings of two units: {a.unit_key} and {b.unit_key}"
        raise ValueError(msg)
    old, new = (a, b) if version(a) <= version(b) else (b, a)
    partial = new.source_rank == 0
    # Written out, field by field: this runs once a payload, and `replace` over a loop of
    # names costs three times as much. A test holds it to the fields of ``Unit``.
    return Unit(
        unit_key=new.unit_key,
        return_id=new.return_id or old.return_id,
        order_number=new.order_number or old.order_number,
        order_key=new.order_key or old.order_key,
        line_item_id=new.line_item_id or old.line_item_id,
        sku=new.sku or old.sku,
        started=best(old.started, new.started),
        dropped_off=best(old.dropped_off, new.dropped_off),
        approved=best(old.approved, new.approved),
        departed=best(old.departed, new.departed),
        received=best(old.received, new.received),
        expired=best(old.expired, new.expired),
        cancelled=best(old.cancelled, new.cancelled),
        status=new.status or old.status,
        dropoff_method=new.dropoff_method or old.dropoff_method,
        disposition_code=new.disposition_code or old.disposition_code,
        disposition_at=_disposition_at(old, new),
        refund_type=new.refund_type or old.refund_type,
        refund_amount_minor=_said(new.refund_amount_minor, old.refund_amount_minor),
        shipping_refund_minor=_said(new.shipping_refund_minor, old.shipping_refund_minor),
        fee_minor=_said(new.fee_minor, old.fee_minor),
        fee_currency=new.fee_currency or old.fee_currency,
        currency=new.currency or old.currency,
        returnless=new.returnless or (partial and old.returnless),
        exchange_sku=new.exchange_sku or old.exchange_sku,
        exchange_quantity=new.exchange_quantity or old.exchange_quantity,
        exchange_unit_price_minor=_said(
            new.exchange_unit_price_minor, old.exchange_unit_price_minor
        ),
        reason_code=new.reason_code or old.reason_code,
        updated_at=new.updated_at,
        source_rank=new.source_rank,
        payload_hash=new.payload_hash,
        problems=_problems(old, new) if partial and old.problems else new.problems,
    )


def _said(new: int | None, old: int | None) -> int | None:
    return old if new is None else new


def _problems(old: Unit, new: Unit) -> tuple[str, ...]:
    return tuple(sorted({*old.problems, *new.problems}))


def _disposition_at(old: Unit, new: Unit) -> datetime | None:
    # The instant belongs to the code: a repeated code keeps its first instant.
    if not new.disposition_code:
        return old.disposition_at
    if old.disposition_code != new.disposition_code:
        return new.disposition_at
    if old.disposition_at is None or new.disposition_at is None:
        return old.disposition_at or new.disposition_at
    return min(old.disposition_at, new.disposition_at)


def events(before: Unit | None, after: Unit) -> list[tuple[str, datetime, Precision, str]]:
    """What ``after`` newly tells: (kind, instant, precision, detail).

    Kinds are the names of the facts, and ``inspected`` with the source's code as detail.
    """
    told: list[tuple[str, datetime, Precision, str]] = []
    for name in FACTS:
        fact: Fact | None = getattr(after, name)
        if fact is not None and (before is None or getattr(before, name) != fact):
            told.append((name, fact.at, fact.precision, ""))
    code = after.disposition_code
    if code and (before is None or before.disposition_code != code):
        at = after.disposition_at or after.updated_at
        if at is not None:
            told.append(("inspected", at, Precision.EXACT, code))
    return told
