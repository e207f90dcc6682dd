"""What a person may decide about a task, and what must be so before it may be decided.

A decision is data: it answers one question about one subject, and the next run acts on the
answer by the same rules as on anything else. Here: the kinds there are, which exceptions
each settles, who may take it, and the checks at its entry. Not here: how the answer is
used (the module of each rule) and how it is kept (``storage.decisions``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from returns_pipeline.domain import matching
from returns_pipeline.domain.exceptions import CATALOGUE
from returns_pipeline.domain.model import (
    Disposition,
    ExceptionRaised,
    Executor,
    Order,
    Owner,
    RefundType,
    StockEffect,
    Unit,
)
from returns_pipeline.domain.money import format_minor
from returns_pipeline.domain.policy import Policy

READ_BACK = "read-back:"
"""How the key of an exception begins that only reading the vendors back can raise or clear."""


class Kind(StrEnum):
    """What can be decided."""

    LINE = "line"
    ORDER = "order"
    DISPOSITION = "disposition"
    WRITE_OFF = "write_off"
    REFUND = "refund"
    NO_REFUND = "no_refund"
    EXCHANGE_TO_REFUND = "exchange_to_refund"
    MOVE = "move"
    BY_HAND = "by_hand"
    SEND_AGAIN = "send_again"
    HAPPENED = "happened"
    ACCEPT = "accept"


class About(StrEnum):
    """What a kind's subject is."""

    UNIT = "unit"  # its key
    WRITE = "write"  # the key of an intent
    EXCEPTION = "exception"  # its id


@dataclass(frozen=True, slots=True)
class KindEntry:
    """What is known of one kind.

    ``question`` is what it answers: a later answer to the same question about the same
    subject takes the earlier one's place. ``owners`` are those who may take it, whoever
    owns the exception; none: the exception's owner.
    """

    kind: Kind
    question: str
    about: About
    title: str
    meaning: str
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    owners: tuple[Owner, ...] = ()


_FINANCE = (Owner.FINANCE,)

KINDS: Mapping[Kind, KindEntry] = {
    entry.kind: entry
    for entry in (
        KindEntry(
            Kind.LINE,
            "line",
            About.UNIT,
            "It is this order line",
            "The unit is one of this order line. It is matched to it at the next sync.",
            needs=("row_id",),
            may=("order",),
        ),
        KindEntry(
            Kind.ORDER,
            "line",
            About.UNIT,
            "It belongs to this order",
            "The return is of this order, whatever number it names. Its line is found in it "
            "by the usual rules.",
            needs=("order",),
        ),
        KindEntry(
            Kind.DISPOSITION,
            "condition",
            About.UNIT,
            "It is in this condition",
            "The condition decides the location and whether a refund is allowed. It holds until "
            "the warehouse reports another code.",
            needs=("disposition",),
        ),
        KindEntry(
            Kind.WRITE_OFF,
            "condition",
            About.UNIT,
            "Lost: write it off",
            "The unit will not come. It is waited for no longer; a refund that was paid for it "
            "is a loss.",
        ),
        KindEntry(
            Kind.REFUND,
            "money",
            About.UNIT,
            "Refund it anyway",
            "It is paid with today's batch, whatever held it back: the amount of its order line "
            "or the one given, never more than was paid.",
            may=("amount",),
            owners=_FINANCE,
        ),
        KindEntry(
            Kind.NO_REFUND,
            "money",
            About.UNIT,
            "Do not refund it",
            "Nothing is paid for it by this program.",
            owners=(Owner.CX, Owner.FINANCE),
        ),
        KindEntry(
            Kind.EXCHANGE_TO_REFUND,
            "money",
            About.UNIT,
            "Refund it instead of exchanging it",
            "No replacement is ordered any more. The unit is refunded like any other, once its "
            "refund gate stands open.",
            owners=(Owner.CX, Owner.FINANCE),
        ),
        KindEntry(
            Kind.MOVE,
            "place",
            About.UNIT,
            "Move it to its right location",
            "The unit is moved in Linnworks from where it was posted to where its condition "
            "belongs. Move it on the shelf as well.",
            owners=(Owner.OPERATIONS,),
        ),
        KindEntry(
            Kind.BY_HAND,
            "place",
            About.UNIT,
            "Its stock is done by hand",
            "Somebody has booked it, moved it or set it aside in Linnworks. This program moves "
            "no stock for it any more.",
            owners=(Owner.OPERATIONS,),
        ),
        KindEntry(
            Kind.SEND_AGAIN,
            "write",
            About.WRITE,
            "It did not happen: send it again",
            "Linnworks is asked once more what is there; only if nothing is, it is sent again.",
        ),
        KindEntry(
            Kind.HAPPENED,
            "write",
            About.WRITE,
            "It happened, with this number",
            "The RMA, refund or order with this number in Linnworks is it. It is read there and "
            "taken for ours if it fits.",
            needs=("vendor_id",),
        ),
        KindEntry(
            Kind.ACCEPT,
            "difference",
            About.EXCEPTION,
            "Accept it as it is",
            "Nothing is done. It comes back by itself when it changes: another amount, another "
            "severity, other units.",
        ),
    )
}

_SETTLES: Mapping[str, tuple[Kind, ...]] = {
    "ORPHAN_RETURN": (Kind.ORDER, Kind.LINE),
    "ORDER_REF_AMBIGUOUS": (Kind.ORDER, Kind.LINE),
    "LINE_ID_MISSING": (Kind.LINE,),
    "LINE_AMBIGUOUS_SKU": (Kind.LINE,),
    "SKU_UNKNOWN": (Kind.LINE, Kind.ORDER, Kind.EXCHANGE_TO_REFUND),
    "SKU_UNLINKED": (Kind.LINE,),
    "QTY_EXCEEDS_ORDERED": (Kind.LINE, Kind.ORDER),
    "DUPLICATE_RETURN_UNIT": (Kind.LINE,),
    "BLIND_RETURN": (Kind.BY_HAND,),
    "KIT_INCOMPLETE": (Kind.REFUND, Kind.NO_REFUND),
    "REFUNDED_NOT_RECEIVED": (Kind.WRITE_OFF,),
    "RECEIVED_NOT_REFUNDED": (Kind.REFUND, Kind.NO_REFUND),
    "RETURN_EXPIRED_AFTER_REFUND": (Kind.WRITE_OFF,),
    "SHIPMENT_SHORT": (Kind.WRITE_OFF,),
    "RETURN_NOT_CONSERVED": (Kind.WRITE_OFF,),
    "REFUND_DOUBLE_SUSPECTED": (Kind.HAPPENED, Kind.SEND_AGAIN),
    "REFUND_OVER_CEILING": (Kind.REFUND, Kind.NO_REFUND),
    "REFUND_AMOUNT_MISMATCH": (Kind.REFUND, Kind.NO_REFUND),
    "LINNWORKS_CANNOT_REFUND": (Kind.SEND_AGAIN, Kind.HAPPENED),
    "LINNWORKS_CANNOT_RETURN": (Kind.SEND_AGAIN, Kind.HAPPENED, Kind.ORDER, Kind.BY_HAND),
    "OUT_OF_POLICY_WINDOW": (Kind.REFUND, Kind.NO_REFUND),
    "WRONG_ITEM_SUSPECTED": (Kind.DISPOSITION, Kind.REFUND, Kind.NO_REFUND),
    "DISPOSITION_MISSING": (Kind.DISPOSITION,),
    "DISPOSITION_UNMAPPED": (Kind.DISPOSITION,),
    "DISPOSITION_CONFLICT": (Kind.DISPOSITION,),
    "WRONG_LOCATION": (Kind.MOVE, Kind.BY_HAND, Kind.SEND_AGAIN),
    "CO_MINGLED_STOCK": (Kind.MOVE,),
    "DOUBLE_RESTOCK": (Kind.HAPPENED, Kind.SEND_AGAIN),
    "BATCH_ITEM_MANUAL": (Kind.BY_HAND,),
    "STUCK_IN_TRANSIT": (Kind.REFUND, Kind.WRITE_OFF),
    "EXCHANGE_DUPLICATE": (Kind.HAPPENED, Kind.SEND_AGAIN),
    "EXCHANGE_ORDER_MISSING": (Kind.SEND_AGAIN, Kind.HAPPENED, Kind.EXCHANGE_TO_REFUND),
    "EXCHANGE_UNEVEN_ZERO_VALUE": (Kind.EXCHANGE_TO_REFUND,),
    "EXCHANGE_RELEASED_EARLY": (Kind.WRITE_OFF,),
    "EXCHANGE_OOS": (Kind.EXCHANGE_TO_REFUND,),
    "EXCHANGE_CLEARING_AGED": (Kind.EXCHANGE_TO_REFUND,),
    "WRITE_UNKNOWN_OUTCOME": (Kind.HAPPENED, Kind.SEND_AGAIN),
}

# Nothing waits for these, and still nobody may look away: they say that the program itself
# cannot see or act, or speak for a task that stands beside them.
_NEVER_ACCEPTED = frozenset(
    [
        "SOURCE_STALE",
        "SIGNATURE_INVALID",
        "REFUND_OK_STOCK_FAILED",
        "EXPORT_REJECTED",
        "SEND_TO_CHANNEL_RISK",
    ]
)


def kinds_for(code: str, key: str = "") -> tuple[Kind, ...]:
    """The decisions that settle an exception with this code, the usual one first.

    One that was found by reading the vendors back, as its key says, is about what others
    did: it holds nothing up, and may be accepted whatever its code blocks otherwise.

    Raises:
        KeyError: For a code the catalogue does not have.
    """
    entry = CATALOGUE[code]
    found = _SETTLES.get(code, ())
    blocks = entry.blocks != "none" and not key.startswith(READ_BACK)
    if not blocks and code not in _NEVER_ACCEPTED:
        found = (*found, Kind.ACCEPT)
    return found


@dataclass(frozen=True, slots=True)
class Decision:
    """What one person decided. ``decided_at`` is UTC; ``arguments`` are plain values."""

    id: int
    kind: Kind
    subject: str
    arguments: Mapping[str, Any]
    actor: str
    reason: str
    decided_at: datetime
    policy_hash: str
    exception_id: int | None = None
    outcome: str = ""  # "" while it waits for the next run

    @property
    def by(self) -> str:
        """Who decided it and why, in half a sentence."""
        return f"{self.actor} decided: {self.reason}"


class NotAllowed(ValueError):  # noqa: N818 (it says what is so)
    """The decision cannot be taken as it was entered; the message says why and what can."""


class NotYours(NotAllowed):
    """It is another owner's to decide or to work on."""


def require_role(kind: Kind, owner: Owner, roles: Collection[Owner] | None) -> None:
    """Refuse a decision that is another owner's.

    Args:
        kind: Of the decision.
        owner: Of the exception.
        roles: Of the person; ``None``: whoever holds the terminal.

    Raises:
        NotYours: Naming who may.
    """
    may = KINDS[kind].owners or (owner,)
    if roles is not None and not set(may) & set(roles):
        who = " or ".join(may)
        msg = f"{KINDS[kind].title!r} is decided by {who}: hand the task over to {may[-1]}"
        raise NotYours(msg)


def line(
    unit: Unit,
    order: Order | None,
    row_id: str,
    taken: Mapping[str, Collection[int]],
    *,
    named: Collection[str],
    pinned: bool,
) -> dict[str, Any]:
    """The arguments of ``line``, checked.

    Args:
        unit: The returned unit.
        order: The order the row is of; ``None``: no order has it.
        row_id: As it was entered.
        taken: Unit numbers that other units hold, by row.
        named: Ids of the orders it may belong to: those with its number, or the one given.
        pinned: Whether stock or money has moved by its present line.

    Raises:
        NotAllowed: When the line is not there, of another order, or full.
    """
    if pinned:
        raise NotAllowed(_pinned(unit))
    found = order and next((ln for ln in order.lines if ln.row_id == row_id), None)
    if order is None or not found:
        msg = f"no order has a line {row_id}: take the order item row id that the task lists"
        raise NotAllowed(msg)
    if order.order_id not in named:
        msg = (
            f"line {row_id} belongs to order {order.num_id}, which does not carry the number "
            f"{unit.order_number or '(none)'}: give that order as well, if it is of that one"
        )
        raise NotAllowed(msg)
    if found.is_service or found.is_unlinked:
        what = "a service" if found.is_service else "not linked to a stock item"
        raise NotAllowed(f"line {row_id} is {what}: nothing can be returned to it")
    if not matching.has_room(order, row_id, taken):
        msg = f"all {found.quantity} units of line {row_id} are returned already"
        raise NotAllowed(msg)
    return {"row_id": row_id, "order_id": order.order_id}


def order(unit: Unit, found: Order | None, given: str, *, pinned: bool) -> dict[str, Any]:
    """The arguments of ``order``, checked.

    Raises:
        NotAllowed: When Linnworks' mirror has no such order, or it is cancelled.
    """
    if pinned:
        raise NotAllowed(_pinned(unit))
    if found is None:
        msg = (
            f"no order {given} has been read from Linnworks: give its order id, its number "
            "there, or its reference"
        )
        raise NotAllowed(msg)
    if found.cancelled:
        raise NotAllowed(f"order {found.num_id} is cancelled in Linnworks")
    return {"order_id": found.order_id}


def _pinned(unit: Unit) -> str:
    return (
        f"{unit.unit_key} cannot change its order line any more: stock or money has moved by "
        "the one it has"
    )


def disposition(unit: Unit, given: str, policy: Policy, *, posted: bool) -> dict[str, Any]:
    """The arguments of ``disposition``, checked.

    Args:
        unit: The returned unit.
        given: A canonical disposition, in any case.
        policy: For its rule.
        posted: Whether the unit was restocked: then nothing but a place may be chosen.

    Raises:
        NotAllowed: When there is no such disposition, or the unit is not here.
    """
    name = given.strip().upper().replace(" ", "_").replace("-", "_")
    known = [one.value for one in Disposition]
    if name not in known:
        raise NotAllowed(f"{given!r} is no condition: it is one of {', '.join(known)}")
    if unit.received is None:
        raise NotAllowed(f"{unit.unit_key} has not been received: its condition is not known yet")
    if posted and policy.rules[Disposition(name)].effect is not StockEffect.RESTOCK:
        msg = f"{unit.unit_key} is in stock already: take it out in Linnworks, then decide by hand"
        raise NotAllowed(msg)
    return {"disposition": name, "source_code": unit.disposition_code}


def write_off(unit: Unit) -> dict[str, Any]:
    """The arguments of ``write_off``, checked.

    Raises:
        NotAllowed: When the unit is here.
    """
    if unit.received is not None:
        msg = f"{unit.unit_key} was received: decide its condition; DISPOSE writes it off"
        raise NotAllowed(msg)
    return {}


def refund(
    unit: Unit,
    found: Order | None,
    row_id: str,
    policy: Policy,
    *,
    amount_minor: int | None,
    paid_minor: int,
    has_refund: bool,
) -> dict[str, Any]:
    """The arguments of ``refund``, checked; the ceiling is enforced once more when it is paid.

    Args:
        unit: The returned unit.
        found: The order it is matched in; ``None``: it is not matched.
        row_id: Its order line.
        policy: For the executor.
        amount_minor: What to pay for the unit, goods, gross; ``None``: its share of the line.
        paid_minor: Goods already refunded of the line (of the bundle, for a part of one).
        has_refund: Whether it has a refund already.

    Raises:
        NotAllowed: When it has no line, is paid, is paid by others, or costs too much.
    """
    _refundable(unit, policy, has_refund=has_refund)
    line_ = found and next((ln for ln in found.lines if ln.row_id == row_id), None)
    if found is None or not line_:
        msg = f"{unit.unit_key} has no order line yet: decide the line first"
        raise NotAllowed(msg)
    priced = line_
    if line_.parent_row_id is not None and not line_.total_minor:
        if amount_minor is None:
            raise NotAllowed("part of a bundle, without a price of its own: give the amount")
        parents = (ln for ln in found.lines if ln.row_id == line_.parent_row_id)
        priced = next(parents, line_)
    if amount_minor is None:
        return {}
    left = priced.total_minor - paid_minor
    if not 0 < amount_minor <= left:
        asked, of, back, most = (
            format_minor(minor, found.currency)
            for minor in (amount_minor, priced.total_minor, paid_minor, left)
        )
        msg = (
            f"{asked} {found.currency} cannot be refunded: the line was paid {of}, {back} went "
            f"back already, so at most {most}"
        )
        raise NotAllowed(msg)
    return {"amount_minor": amount_minor, "currency": found.currency}


def no_refund(unit: Unit, policy: Policy, *, has_refund: bool) -> dict[str, Any]:
    """The arguments of ``no_refund``, checked.

    Raises:
        NotAllowed: When it is due or paid already, or is not this program's to pay.
    """
    _refundable(unit, policy, has_refund=has_refund)
    return {}


def exchange_to_refund(unit: Unit, policy: Policy, *, order_state: str) -> dict[str, Any]:
    """The arguments of ``exchange_to_refund``, checked.

    Args:
        unit: The returned unit.
        policy: For the executor.
        order_state: Of its replacement's order; empty: there is none.

    Raises:
        NotAllowed: When it is no exchange, or is replaced already, perhaps.
    """
    if unit.refund_type is not RefundType.EXCHANGE:
        raise NotAllowed(f"{unit.unit_key} is no exchange")
    if policy.refunds.executor is Executor.HAPPY_RETURNS:
        raise NotAllowed("Happy Returns pays the refunds: change the exchange there")
    if order_state not in {"", "ready"}:
        msg = (
            f"the replacement of {unit.unit_key} is {order_state}: its order may be there. Settle "
            "that first"
        )
        raise NotAllowed(msg)
    return {}


def as_decided(unit: Unit, decision: Decision | None) -> Unit:
    """The unit with what a person decided that the shopper gets for it."""
    if decision is None or decision.kind is not Kind.EXCHANGE_TO_REFUND:
        return unit
    return replace(unit, refund_type=RefundType.REFUND)


def _refundable(unit: Unit, policy: Policy, *, has_refund: bool) -> None:
    if policy.refunds.executor is Executor.HAPPY_RETURNS:
        raise NotAllowed("Happy Returns pays the refunds: approve or decline it there")
    if unit.refund_type is RefundType.EXCHANGE:
        raise NotAllowed(f"{unit.unit_key} is exchanged, not refunded: change that at its source")
    if has_refund:
        msg = f"{unit.unit_key} has its refund already: see `explain` for where it stands"
        raise NotAllowed(msg)


def fingerprint(told: ExceptionRaised) -> str:
    """What an accepted difference was accepted as; that it ages does not change it."""
    message = re.sub(r"[0-9]+ (minutes|hours|days)", "", told.message)
    parts = (
        str(told.severity or CATALOGUE[told.code].severity),
        str(told.amount_minor),
        told.currency,
        message,
        *sorted(told.unit_keys),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
