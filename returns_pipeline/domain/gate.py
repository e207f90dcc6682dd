"""The gates of stock, refund and exchange: ``Cleared`` or ``Held``, with the reason.

Receipt opens them; "initiated", "dropped off" and "approved" do not, unless the merchant's
policy names another evidence for a drop-off method or the item is returnless. Amounts are
``refunds``' and ``exchanges``'.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from functools import lru_cache

from returns_pipeline.domain.calendar import day_bounds
from returns_pipeline.domain.model import (
    Cleared,
    Decided,
    Executor,
    Fact,
    Gate,
    Held,
    Match,
    Matched,
    OrderLine,
    RefundType,
    Stage,
    StockEffect,
    Unit,
)
from returns_pipeline.domain.policy import Policy, fold

# Fields without which it is not sure which unit this is, or whether it is back. An
# unreadable reason code harms nobody. Names are the adapter's (contract ADAPTER).
_IDENTITY = frozenset(
    ["return_id", "order_number", "line_item_id", "sku", "received_at", "returnless"]
)
_RECEIPT = frozenset({"received_at"})
_CONDITION = frozenset({"disposition", "inspection_outcome"})
_MONEY = _IDENTITY | frozenset(
    ["refund_type", "refund_amount", "shipping_refund_amount", "return_fee", "currency"]
)
_EXCHANGE = _MONEY | frozenset(["exchange_sku", "exchange_quantity", "exchange_unit_price"])
_STOCK = _IDENTITY | _CONDITION

# Which facts prove a stage: its own, and those of later stages on the same way.
_WAY = {
    Stage.STARTED: ("started", "dropped_off", "departed", "received"),
    Stage.DROPPED_OFF: ("dropped_off", "departed", "received"),
    Stage.APPROVED: ("approved",),
    Stage.DEPARTED: ("departed", "received"),
}


def evidence(unit: Unit, stage: Stage) -> Fact | None:
    """The earliest fact that proves the stage; later stages of the way prove the earlier.

    Nothing but receipt proves receipt. A stage that ends a return proves nothing.
    """
    if stage is Stage.RECEIVED:
        return unit.received
    facts = [fact for name in _WAY.get(stage, ()) if (fact := getattr(unit, name)) is not None]
    return min(facts, key=lambda fact: fact.at) if facts else None


def is_late(unit: Unit, despatched_at: datetime | None, policy: Policy) -> bool:
    """Whether the return was begun after the return window, counted from despatch.

    Its goods go to quarantine and its money waits for CX (specification CASES). What is
    not known to be late is not.
    """
    begun = evidence(unit, Stage.STARTED)
    if begun is None or despatched_at is None:
        return False
    return begun.at > despatched_at + policy.gate.return_window


def is_before_start(unit: Unit, policy: Policy) -> bool:
    """Whether the return was begun before the day from which this program acts.

    Such returns were dealt with by people, or by what this program replaces.
    """
    facts: list[Fact | None] = [getattr(unit, name) for name in BEGUN_BY]
    return begun_before_start([fact.at if fact else None for fact in facts], policy)


BEGUN_BY = _WAY[Stage.STARTED]
"""The facts that prove that a return was begun."""


def begun_before_start(told: Iterable[datetime | None], policy: Policy) -> bool:
    """``is_before_start`` of a unit whose facts of ``BEGUN_BY`` have these instants."""
    first_day = policy.gate.act_from
    if first_day is None:
        return False
    begun = min(filter(None, told), default=None)
    return begun is not None and begun < _start(first_day, policy.merchant.time_zone)


@lru_cache(maxsize=16)
def _start(day: date, zone: str) -> datetime:
    return day_bounds(day, zone)[0]


def stock_gate(
    unit: Unit,
    match: Match,
    decided: Decided | Held | None,
    policy: Policy,
    *,
    line: OrderLine | None = None,
) -> Gate:
    """Whether the unit may be restocked: received, matched, its disposition mapped.

    A returnless unit never moves stock (contract Happy Returns 7); one that comes all the
    same is a task for Operations.

    Args:
        unit: The returned unit.
        match: What its match says.
        decided: What its disposition says; ``None`` while there is no code.
        policy: The merchant's.
        line: Its order line, where known: a batched item is booked by hand, since an RMA
            would need the batch it goes to (contract Linnworks 3.1).
    """
    if unit.returnless:
        came = unit.received is not None and _moves(decided)
        exception = "BLIND_RETURN" if came else None
        return Held("returnless", "returnless: nothing comes back", exception)
    received = evidence(unit, policy.gate.stock)
    if received is None:
        return _ended(unit) or _unread(unit, _RECEIPT) or _not_received(unit)
    verdict = _unmatched(match) or _unread(unit, _STOCK) or _disposition(decided)
    if isinstance(verdict, Held):
        return verdict
    if verdict.effect is StockEffect.NONE:
        return Held("no_stock", f"{verdict.disposition.value}: nothing goes to stock")
    if line is not None and line.is_batched:
        reason = f"{line.sku} is batched: it is booked in by hand, with its batch"
        return Held("BATCH_ITEM_MANUAL", reason, "BATCH_ITEM_MANUAL")
    return Cleared(_latest(received.at, unit.disposition_at))


def refund_gate(
    unit: Unit,
    match: Match,
    decided: Decided | Held | None,
    policy: Policy,
    *,
    late: bool = False,
) -> Gate:
    """Whether the unit may be refunded.

    A returnless unit by its own rule; every other by receipt and a disposition that allows
    it. Where the policy names another evidence for the drop-off method, that evidence is
    enough, unless a disposition known by then forbids the refund.

    Where Happy Returns pays it does so at approval (``money_left``): until then nothing was
    paid, whatever has been received.
    """
    needed = policy.gate.refund_by_dropoff.get(fold(unit.dropoff_method), policy.gate.refund)
    if unit.returnless:
        needed = policy.gate.returnless
    proof = evidence(unit, needed)
    if proof is None:
        return _no_money(unit) or _ended(unit) or _unproven(unit)
    inspected = needed is Stage.RECEIVED and not unit.returnless
    held = (
        _no_money(unit)
        or _ended(unit)
        or _no_type(unit)
        or _unmatched(match)
        or _late(late)
        or (None if unit.returnless else _forbids(unit, decided, waits=inspected))
        or _unapproved(unit, policy)
    )
    if held is not None:
        return held
    at = _latest(proof.at, unit.disposition_at if inspected else None)
    if _needs_approval(policy) and unit.approved is not None:
        at = max(at, unit.approved.at)
    return Cleared(at)


def exchange_gate(
    unit: Unit,
    match: Match,
    decided: Decided | Held | None,
    policy: Policy,
    *,
    late: bool = False,
    instant: bool = False,
) -> Gate:
    """Whether the replacement may be ordered: the original is confirmed back and in order.

    ``instant``: the policy sends it as soon as the return is begun, on trust; a condition
    that is known by then and forbids it still does.
    """
    if unit.refund_type is not RefundType.EXCHANGE:
        return Held("no_exchange", "not an exchange")
    held = _unread(unit, _EXCHANGE) or _ended(unit)
    if held is not None:
        return held
    proof = evidence(unit, Stage.STARTED if instant else policy.gate.exchange)
    if proof is None:
        return _not_received(unit)
    held = _unmatched(match) or _late(late) or _forbids(unit, decided, waits=not instant)
    if instant:
        return held or Cleared(proof.at)
    return held or Cleared(_latest(proof.at, unit.disposition_at))


def _late(late: bool) -> Held | None:  # noqa: FBT001 (passed on from a keyword)
    if not late:
        return None
    return Held(
        "OUT_OF_POLICY_WINDOW",
        "the return was begun after the return window",
        "OUT_OF_POLICY_WINDOW",
    )


def money_left(unit: Unit, policy: Policy) -> datetime | None:
    """When Happy Returns paid, where it is the declared executor: at approval.

    Money and store credit alike (contract Happy Returns 5); an exchange pays nobody. What
    was paid is not known while a field that says so could not be read.
    """
    if policy.refunds.executor is not Executor.HAPPY_RETURNS or unit.approved is None:
        return None
    if _unread(unit, _MONEY) is not None:
        return None
    paid = unit.refund_type in {RefundType.REFUND, RefundType.STORE_CREDIT}
    return unit.approved.at if paid else None


def _moves(decided: Decided | Held | None) -> bool:
    return isinstance(decided, Decided) and decided.effect is not StockEffect.NONE


def _ended(unit: Unit) -> Held | None:
    """Over before it came: what was handed over since then proves nothing."""
    if unit.received is None and (unit.cancelled is not None or unit.expired is not None):
        return _not_received(unit)
    return None


def _not_received(unit: Unit) -> Held:
    if unit.cancelled is not None:
        return Held("cancelled", "the return was cancelled")
    if unit.expired is not None:
        return Held("expired", "the return expired; nothing was handed over in time")
    return Held("not_received", "the warehouse has not received it")


def _unproven(unit: Unit) -> Held:
    if unit.returnless:
        return Held("not_approved", "returnless, not approved yet")
    return _not_received(unit)


def _unmatched(match: Match) -> Held | None:
    # Without an exception of its own: the match has one.
    return None if isinstance(match, Matched) else Held("unmatched", match.reason)


def _no_type(unit: Unit) -> Held | None:
    # The outbound feed does not say; only once something is owed is that a task.
    if unit.refund_type is not None:
        return None
    return Held("SCHEMA_DRIFT", "no refund type that is known was given", "SCHEMA_DRIFT")


def _needs_approval(policy: Policy) -> bool:
    happy_returns_pays = policy.refunds.executor is Executor.HAPPY_RETURNS
    return policy.gate.refund_requires_approval or happy_returns_pays


def _unapproved(unit: Unit, policy: Policy) -> Held | None:
    if not _needs_approval(policy) or unit.approved is not None:
        return None
    return Held("not_approved", "not approved by Happy Returns yet")


def _disposition(decided: Decided | Held | None) -> Decided | Held:
    if decided is None:
        return Held(
            "DISPOSITION_MISSING", "received, its condition is not known yet", "DISPOSITION_MISSING"
        )
    return decided


def _forbids(unit: Unit, decided: Decided | Held | None, *, waits: bool) -> Held | None:
    """Why the condition forbids paying. ``waits``: a condition not known yet does too."""
    if decided is None and not waits:
        return None
    verdict = _unread(unit, _CONDITION) or _disposition(decided)
    if isinstance(verdict, Held):
        return verdict
    return None if verdict.refund == "allow" else _on_hold(verdict)


def _on_hold(decided: Decided) -> Held:
    code = decided.disposition.value
    exception = "WRONG_ITEM_SUSPECTED" if code == "WRONG_ITEM" else None
    return Held("disposition_holds", f"{code}: the policy holds the refund", exception)


def _no_money(unit: Unit) -> Held | None:
    if unit.refund_type is RefundType.NONE:
        return Held("no_refund", "nothing is refunded for it")
    if unit.refund_type is RefundType.EXCHANGE:
        return Held("exchange", "exchanged, not refunded")
    return _unread(unit, _MONEY)


def _unread(unit: Unit, fields: frozenset[str]) -> Held | None:
    for problem in unit.problems:
        name, _, why = problem.partition(":")
        if name in fields:
            exception = "SCHEMA_DRIFT"
            if why.startswith("CLOCK_AMBIGUOUS"):
                exception = "CLOCK_AMBIGUOUS"
            return Held("SCHEMA_DRIFT", f"could not be read: {problem}", exception)
    return None


def _latest(at: datetime, other: datetime | None) -> datetime:
    return max(at, other) if other is not None else at
