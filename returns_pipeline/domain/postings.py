"""The ledger lines of a refund and of a stock movement.

Roles are those of the finance specification, section 2; accounts come from the policy.
Debits equal credits in what each function returns. Summing into a batch is
``consolidation``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from returns_pipeline.domain.model import (
    Decided,
    Executor,
    Held,
    Posting,
    RefundDue,
    RefundType,
    StockAdjustment,
)
from returns_pipeline.domain.money import half_up_div, vat_within
from returns_pipeline.domain.policy import Policy

DEBIT, CREDIT = "debit", "credit"

ROLES = (
    "sales_returns",
    "shipping_refunded",
    "vat_output",
    "return_fee_income",
    "refund_clearing",
    "store_credit_liability",
    "exchange_clearing",
    "returned_goods_in_transit",
    "inventory",
    "cogs_returns",
    "returns_writeoff",
    "return_logistics_cost",
    "vat_rounding_difference",
    "fx_difference",
)
"""The ledger's roles; some are told further apart by what follows a dot."""


def tax_key(rate_bp: int) -> str:
    """The rate as finance prints it: 2000 basis points: ``"20"``; 1750: ``"17.5"``."""
    whole, part = divmod(rate_bp, 100)
    return f"{whole}.{part:02d}".rstrip("0").rstrip(".") if part else str(whole)


@dataclass(slots=True)
class _Entry:
    """Collects the lines of one event; an account that is not mapped holds it whole."""

    key: str
    unit_key: str
    currency: str
    at: datetime
    policy: Policy
    lines: list[Posting] = field(default_factory=list)
    unmapped: list[str] = field(default_factory=list)

    def add(self, role: str, side: str, amount: int | None, tax: str = "") -> None:
        if not amount:
            return
        account = self._account(role, tax)
        if not account:
            self.unmapped.append(role)
        self.lines.append(
            Posting(
                posting_key=f"{self.key}:{len(self.lines) + 1}",
                unit_key=self.unit_key,
                role=role,
                account=account,
                tax_key=tax,
                side=side,
                amount_minor=amount,
                currency=self.currency,
                occurred_at=self.at,
            )
        )

    def _account(self, role: str, tax: str) -> str:
        accounts = self.policy.finance.accounts
        keys = [f"{role}.{tax}", role, role.partition(".")[0]]
        if tax == "0":
            keys.insert(0, f"{role}.zero")
        return next((accounts[key] for key in keys if key in accounts), "")

    def done(self) -> list[Posting] | Held:
        if self.unmapped:
            roles = ", ".join(sorted(set(self.unmapped)))
            reason = f"no account for {roles} in the policy's [finance.accounts]"
            return Held("ACCOUNT_UNMAPPED", reason, "ACCOUNT_UNMAPPED")
        return self.lines


def refund_postings(
    refund: RefundDue, executor: Executor, cost_minor: int | None, policy: Policy, *, received: bool
) -> list[Posting] | Held:
    """The lines of one refund.

    Args:
        refund: With its parts and their VAT.
        executor: Who paid. The roles are the same either way: the clearing account of the
            gateway is settled by the payout, not by who pressed the button.
        cost_minor: The unit's despatch cost, where known.
        policy: For the accounts.
        received: Whether the goods were in the warehouse when the money left (a
            returnless unit counts as received: nothing is to come).
    """
    del executor
    entry = _Entry(refund.refund_key, refund.unit_key, refund.currency, refund.effective_at, policy)
    tax = tax_key(refund.tax_rate_bp)
    entry.add("sales_returns", DEBIT, refund.goods_minor - refund.goods_vat_minor, tax)
    entry.add("vat_output", DEBIT, refund.goods_vat_minor, tax)
    shipping_tax = _shipping_tax(refund)
    shipping_net = refund.shipping_minor - refund.shipping_vat_minor
    entry.add("shipping_refunded", DEBIT, shipping_net, shipping_tax)
    entry.add("vat_output", DEBIT, refund.shipping_vat_minor, shipping_tax)
    entry.add("return_fee_income", CREDIT, refund.fee_minor - refund.fee_vat_minor, tax)
    entry.add("vat_output", CREDIT, refund.fee_vat_minor, tax)
    entry.add(_tender_role(refund), CREDIT, refund.amount_minor)
    # Whoever paid: by Happy Returns at approval, or by us where the policy's gate is
    # drop-off, the goods are owed to us from then until they are received.
    if policy.finance.post_cost and not received and (cost_minor or 0) > 0:
        entry.add("returned_goods_in_transit", DEBIT, cost_minor)
        entry.add("cogs_returns", CREDIT, cost_minor)
    return entry.done()


def _shipping_tax(refund: RefundDue) -> str:
    """The rate shipping was taxed at: the line's where it explains the VAT, to a penny."""
    gross, vat = refund.shipping_minor, refund.shipping_vat_minor
    # Where rounding left a penny that is all VAT, there is no net to take a rate of.
    if abs(vat_within(gross, refund.tax_rate_bp) - vat) <= 1 or gross == vat:
        return tax_key(refund.tax_rate_bp)
    return tax_key(half_up_div(vat * 100, gross - vat) * 100)


def _tender_role(refund: RefundDue) -> str:
    if refund.tender is RefundType.STORE_CREDIT:
        return "store_credit_liability"
    if refund.tender is RefundType.EXCHANGE:
        return "exchange_clearing"
    return f"refund_clearing.{refund.gateway}" if refund.gateway else "refund_clearing"


def stock_postings(
    adjustment: StockAdjustment,
    decided: Decided,
    cost_minor: int | None,
    occurred_at: datetime,
    policy: Policy,
    *,
    was_in_transit: bool,
    currency: str = "",
) -> list[Posting] | Held:
    """The cost side of one unit's stock movement.

    Args:
        adjustment: As posted.
        decided: The decision it was posted under; its role takes the cost.
        cost_minor: The unit's despatch cost; ``None`` or zero posts nothing.
        occurred_at: When stock was posted.
        policy: For the accounts.
        was_in_transit: Whether the refund put the unit into returned goods in transit.
        currency: Of the cost; the merchant's when not given.
    """
    entry = _Entry(
        adjustment.adjustment_key,
        adjustment.unit_key,
        currency or policy.merchant.currency,
        occurred_at,
        policy,
    )
    if policy.finance.post_cost and (cost_minor or 0) > 0 and adjustment.kind != "move":
        role = "returns_writeoff" if adjustment.scrap_quantity else decided.role
        entry.add(role, DEBIT, cost_minor)
        source = "returned_goods_in_transit" if was_in_transit else "cogs_returns"
        entry.add(source, CREDIT, cost_minor)
    return entry.done()
