"""The gates of stock, refund and exchange: ``Cleared`` or ``Held``, with the reason.

Receipt opens them; "initiated", "dropped off" and "approved" do not, unless the merchant's
policy names another evidence for a drop-off method or the item is returnless. Amounts are
``refunds``' and ``exchanges``'.
"""

from __future__ import annotations

from datetime import datetime

from returns_pipeline.domain.model import (
    Cleared,
    Decided,
    Executor,
    Fact,
    Gate,
    Held,
    Match,
    Matched,
    RefundType,
    Stage,
    StockEffect,
    Unit,
)
from returns_pipeline.domain.policy import Policy, fold

# Fields without which no amount can be trusted. An unreadable reason code harms nobody.
_MONEY_FIELDS = frozenset(
    "refund_type refund_amount shipping_refund_amount return_fee currency returnless".split()
)
_EXCHANGE_FIELDS = frozenset("exchange_sku exchange_quantity exchange_unit_price".split())


def evidence(unit: Unit, stage: Stage) -> Fact | None:
    """The fact that proves the stage; later stages of the way prove the earlier ones."""
    if stage is Stage.RECEIVED:
        return unit.received
    way = {
        Stage.STARTED: ("started", "dropped_off", "departed", "received"),
        Stage.DROPPED_OFF: ("dropped_off", "departed", "received"),
        Stage.APPROVED: ("approved",),
        Stage.DEPARTED: ("departed", "received"),
    }.get(stage, ())
    facts = [fact for name in way if (fact := getattr(unit, name)) is not None]
    return min(facts, key=lambda fact: fact.at) if facts else None


def stock_gate(
    unit: Unit, match: Match, decided: Decided | Held | None, policy: Policy
) -> Gate:
    """Whether the unit may be restocked: received, matched, its disposition mapped."""
    received = evidence(unit, policy.gate.stock)
    if unit.returnless and received is None:
        return Held("returnless", "returnless: nothing comes back")
    if received is None:
        return _not_received(unit)
    if not isinstance(match, Matched):
        return Held("unmatched", match.reason)
    verdict = _disposition(unit, decided)
    if isinstance(verdict, Held):
        return verdict
    if verdict.effect is StockEffect.NONE:
        return Held("no_stock", f"{verdict.disposition.value}: nothing goes to stock")
    return Cleared(_latest(received.at, unit.disposition_at))


def refund_gate(
    unit: Unit, match: Match, decided: Decided | Held | None, policy: Policy
) -> Gate:
    """Whether the unit may be refunded.

    A returnless unit by its own rule; every other by receipt (or the evidence the policy
    names for its drop-off method) and a disposition that allows it.
    """
    refused = _no_money(unit)
    if refused is not None:
        return refused
    if unit.returnless and unit.received is None:
        proof = evidence(unit, policy.gate.returnless)
        if proof is None:
            return Held("not_approved", "returnless, not approved yet")
        if not isinstance(match, Matched):
            return Held("unmatched", match.reason)
        return Cleared(proof.at)
    needed = policy.gate.refund_by_dropoff.get(fold(unit.dropoff_method), policy.gate.refund)
    proof = evidence(unit, needed)
    if proof is None:
        return _not_received(unit)
    if not isinstance(match, Matched):
        return Held("unmatched", match.reason)
    instants = [proof.at]
    if needed is Stage.RECEIVED or unit.received is not None:
        verdict = _disposition(unit, decided)
        if isinstance(verdict, Held):
            return verdict
        if verdict.refund != "allow":
            return _on_hold(verdict)
        if unit.disposition_at is not None and needed is Stage.RECEIVED:
            instants.append(unit.disposition_at)
    if policy.gate.refund_requires_approval:
        if unit.approved is None:
            return Held("not_approved", "received, not approved by Happy Returns yet")
        instants.append(unit.approved.at)
    return Cleared(max(instants))


def exchange_gate(
    unit: Unit, match: Match, decided: Decided | Held | None, policy: Policy
) -> Gate:
    """Whether the replacement may be ordered: the original is confirmed back and in order."""
    if unit.refund_type is not RefundType.EXCHANGE:
        return Held("no_exchange", "not an exchange")
    unread = _unread(unit, _EXCHANGE_FIELDS | _MONEY_FIELDS)
    if unread is not None:
        return unread
    proof = evidence(unit, policy.gate.exchange)
    if proof is None:
        return _not_received(unit)
    if not isinstance(match, Matched):
        return Held("unmatched", match.reason)
    verdict = _disposition(unit, decided)
    if isinstance(verdict, Held):
        return verdict
    if verdict.refund != "allow":
        return _on_hold(verdict)
    return Cleared(_latest(proof.at, unit.disposition_at))


def money_left(unit: Unit, policy: Policy) -> datetime | None:
    """When Happy Returns paid, where it is the declared executor: at approval."""
    if policy.refunds.executor is not Executor.HAPPY_RETURNS or unit.approved is None:
        return None
    return unit.approved.at if unit.refund_type is RefundType.REFUND else None


def _not_received(unit: Unit) -> Held:
    if unit.cancelled is not None:
        return Held("cancelled", "the return was cancelled")
    if unit.expired is not None:
        return Held("expired", "the return expired; nothing was handed over in time")
    return Held("not_received", "the warehouse has not received it")


def _disposition(unit: Unit, decided: Decided | Held | None) -> Decided | Held:
    if decided is None:
        return Held(
            "DISPOSITION_MISSING", "received, its condition is not known yet", "DISPOSITION_MISSING"
        )
    unread = _unread(unit, frozenset({"disposition", "inspection_outcome"}))
    return unread or decided


def _on_hold(decided: Decided) -> Held:
    code = decided.disposition.value
    exception = "WRONG_ITEM_SUSPECTED" if code == "WRONG_ITEM" else None
    return Held("disposition_holds", f"{code}: the policy holds the refund", exception)


def _no_money(unit: Unit) -> Held | None:
    unread = _unread(unit, _MONEY_FIELDS)
    if unread is not None:
        return unread
    if unit.refund_type is None:
        return Held("SCHEMA_DRIFT", "no refund type that is known was given", "SCHEMA_DRIFT")
    if unit.refund_type is RefundType.NONE:
        return Held("no_refund", "nothing is refunded for it")
    if unit.refund_type is RefundType.EXCHANGE:
        return Held("exchange", "exchanged, not refunded")
    return None


def _unread(unit: Unit, fields: frozenset[str]) -> Held | None:
    for problem in unit.problems:
        if problem.partition(":")[0] in fields:
            return Held("SCHEMA_DRIFT", f"could not be read: {problem}", "SCHEMA_DRIFT")
    return None


def _latest(at: datetime, other: datetime | None) -> datetime:
    return max(at, other) if other is not None else at
