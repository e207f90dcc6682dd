"""The ledger lines of a refund, of a stock movement, of goods that are lost.

Roles are those of the finance specification, section 2; accounts come from the policy.
Debits equal credits in what each function returns, in the order's currency and in the
merchant's. Summing into a batch is ``consolidation``'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from returns_pipeline.domain.model import (
    Decided,
    Held,
    OrderLine,
    Posting,
    RefundDue,
    RefundType,
    StockAdjustment,
)
from returns_pipeline.domain.money import converted, half_up, half_up_div, vat_within
from returns_pipeline.domain.policy import Policy

DEBIT, CREDIT = "debit", "credit"
OTHER_SIDE = {DEBIT: CREDIT, CREDIT: DEBIT}

ROLES = (
    "sales_returns",
    "discount_reversal",
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
    "in_transit_loss",
    "return_logistics_cost",
    "return_logistics_accrued",
    "vat_rounding_difference",
    "fx_difference",
)
"""The ledger's roles; some are told further apart by what follows a dot."""

EXEMPT = "exempt"
_LOGISTICS = frozenset({"return_logistics_cost", "return_logistics_accrued"})
_COST = frozenset(
    {
        "returned_goods_in_transit",
        "inventory",
        "cogs_returns",
        "returns_writeoff",
        "in_transit_loss",
    }
)
_TENDERS = frozenset({"refund_clearing", "store_credit_liability", "exchange_clearing"})


def tax_key(rate_bp: int) -> str:
    """The rate as finance prints it: 2000 basis points: ``"20"``; 1750: ``"17.5"``."""
    whole, part = divmod(rate_bp, 100)
    return f"{whole}.{part:02d}".rstrip("0").rstrip(".") if part else str(whole)


def is_exempt(sku: str, policy: Policy) -> bool:
    """Whether the policy names the SKU, or how it begins, as exempt from VAT."""
    return any(
        sku.startswith(name[:-1]) if name.endswith("*") else sku == name
        for name in policy.finance.exempt_skus
    )


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

    def add(
        self, role: str, side: str, amount: int | None, tax: str = "", *, base: int | None = None
    ) -> None:
        if not amount and not base:
            return
        account = account_of(role, tax, self.policy)
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
                amount_minor=amount or 0,
                currency=self.currency,
                occurred_at=self.at,
                event_key=self.key,
                base_minor=base,
            )
        )

    def done(self) -> list[Posting] | Held:
        if self.unmapped:
            roles = ", ".join(sorted(set(self.unmapped)))
            reason = f"no account for {roles} in the policy's [finance.accounts]"
            return Held("ACCOUNT_UNMAPPED", reason, "ACCOUNT_UNMAPPED")
        return self.lines


def account_of(role: str, tax: str, policy: Policy) -> str:
    """The account of a role: of its tax key, of itself, of what stands before its dot."""
    accounts = policy.finance.accounts
    keys = [f"{role}.{tax}", role, role.partition(".")[0]]
    if tax in {"0", EXEMPT}:
        keys.insert(0, f"{role}.zero")
    if tax == EXEMPT:
        keys.insert(0, f"{role}.{EXEMPT}")
    return next((accounts[key] for key in keys if key in accounts), "")


def part_of(role: str) -> str:
    """Which part of its event a line is: ``money``, ``cost`` or ``logistics``.

    Each part balances by itself and is in one currency; they need not be in the same.
    """
    root = role.partition(".")[0]
    if root in _LOGISTICS:
        return "logistics"
    return "cost" if root in _COST else "money"


# --- rates ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rates:
    """What one unit of the order's currency is in the merchant's.

    Args:
        sale: At which the sale is taken back, VAT included.
        paid: At which the money leaves.
    """

    sale: Fraction
    paid: Fraction


def rates(currency: str, told: str, at: datetime, policy: Policy) -> Rates | Held | None:
    """The rates of an order; ``None`` where it is in the merchant's currency.

    Args:
        currency: Of the order.
        told: Linnworks' rate of the order; empty: it did not say.
        at: When the money leaves.
        policy: For the period's rates, and for which of the two a sale is taken back at.

    Returns:
        ``Held`` with ``FX_RATE_MISSING`` where the rate that is needed is not known.
    """
    finance = policy.finance
    if currency == policy.merchant.currency:
        return None
    month = f"{currency}.{at:%Y-%m}"
    period = _fraction(finance.fx_rates.get(month) or finance.fx_rates.get(currency, ""))
    sale = _fraction(told)
    if sale is not None and finance.conversion == "divide":
        sale = 1 / sale
    if finance.fx_vat == "period":
        sale = period
    if sale is None:
        what = "the policy's [finance.fx_rates]" if finance.fx_vat == "period" else "Linnworks"
        reason = f"no rate of {currency} into {policy.merchant.currency} from {what}"
        return Held("FX_RATE_MISSING", reason, "FX_RATE_MISSING")
    return Rates(sale, period or sale)


def _fraction(text: str) -> Fraction | None:
    return Fraction(text) if text else None


def _in_base(entry: _Entry, known: Rates, before: tuple[int, int]) -> None:
    """Give each line its amount in the merchant's currency; the difference a line of its own.

    ``before`` are the goods and their VAT refunded of the order line until now: goods and
    VAT are rounded cumulatively, so that the parts of a line add up to the line.
    """
    lines, entry.lines = entry.lines, []
    into = entry.policy.merchant.currency
    balance = 0
    goods_before, vat_before = before
    cumulative = {"sales_returns": goods_before - vat_before, "vat_output": vat_before}
    for line in lines:
        role = line.role.partition(".")[0]
        rate = known.paid if role in _TENDERS else known.sale
        # Of each role the goods' line comes first; shipping's VAT is rounded by itself.
        start = cumulative.pop(role, 0) if line.side == DEBIT else 0
        whole, part = (
            half_up(converted(minor, line.currency, rate, into))
            for minor in (start + line.amount_minor, start)
        )
        base = whole - part
        balance += base if line.side == DEBIT else -base
        entry.add(line.role, line.side, line.amount_minor, line.tax_key, base=base)
    if balance:
        entry.add("fx_difference", CREDIT if balance > 0 else DEBIT, 0, base=abs(balance))


# --- events -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Goods:
    """What the ledger knows of a unit's order line.

    Args:
        line: The order line, where known.
        rates: Of an order in another currency than the merchant's.
        before: Goods (gross) and their VAT refunded of the line until now.
        order_currency: Of the order; empty: the merchant's.
    """

    line: OrderLine | None = None
    rates: Rates | None = None
    before: tuple[int, int] = (0, 0)
    order_currency: str = ""

    @property
    def cost_minor(self) -> int | None:
        """What one unit cost at despatch; ``None``: not known."""
        return self.line.unit_cost_minor if self.line is not None else None


def refund_postings(
    refund: RefundDue, goods: Goods, policy: Policy, *, received: bool, key: str = ""
) -> list[Posting] | Held:
    """The lines of one refund.

    Who paid makes no difference: the clearing account of the gateway is settled by the
    payout, not by who pressed the button.

    Args:
        refund: With its parts and their VAT.
        goods: Its order line, for cost, discount and rate.
        policy: For the accounts.
        received: Whether the goods were in the warehouse when the money left (a
            returnless unit counts as received: nothing is to come).
        key: Of the event, where it is not the refund's own.
    """
    key = key or refund.refund_key
    entry = _Entry(key, refund.unit_key, refund.currency, refund.effective_at, policy)
    line = goods.line
    tax = tax_key(refund.tax_rate_bp)
    if line is not None and not refund.tax_rate_bp and is_exempt(line.sku, policy):
        tax = EXEMPT
    net = refund.goods_minor - refund.goods_vat_minor
    discount = _discount_net(refund, line) if policy.finance.split_discount else 0
    entry.add("sales_returns", DEBIT, net + discount, tax)
    entry.add("discount_reversal", CREDIT, discount, tax)
    entry.add("vat_output", DEBIT, refund.goods_vat_minor, tax)
    shipping_tax = _shipping_tax(refund)
    shipping_net = refund.shipping_minor - refund.shipping_vat_minor
    entry.add("shipping_refunded", DEBIT, shipping_net, shipping_tax)
    entry.add("vat_output", DEBIT, refund.shipping_vat_minor, shipping_tax)
    entry.add("return_fee_income", CREDIT, refund.fee_minor - refund.fee_vat_minor, tax)
    entry.add("vat_output", CREDIT, refund.fee_vat_minor, tax)
    entry.add(_tender_role(refund), CREDIT, refund.amount_minor)
    if goods.rates is not None:
        _in_base(entry, goods.rates, goods.before)
    # Whoever paid: by Happy Returns at approval, or by us where the policy's gate is
    # drop-off, the goods are owed to us from then until they are received.
    if policy.finance.post_cost and not received and (goods.cost_minor or 0) > 0:
        _cost(entry, goods, "returned_goods_in_transit", "cogs_returns")
    return entry.done()


def _cost(entry: _Entry, goods: Goods, debit: str, credit: str) -> None:
    """Both sides of a unit's cost, in the currency costs are in."""
    before = entry.currency
    entry.currency = _cost_currency(goods, entry.policy)
    base = None
    cost = goods.cost_minor or 0
    if entry.currency != entry.policy.merchant.currency and goods.rates is not None:
        into = entry.policy.merchant.currency
        base = half_up(converted(cost, entry.currency, goods.rates.sale, into))
    entry.add(debit, DEBIT, cost, base=base)
    entry.add(credit, CREDIT, cost, base=base)
    entry.currency = before


def _cost_currency(goods: Goods, policy: Policy) -> str:
    if policy.finance.cost_currency == "order" and goods.order_currency:
        return goods.order_currency
    return policy.merchant.currency


def _discount_net(refund: RefundDue, line: OrderLine | None) -> int:
    """The part of the line's discount that was this unit's, without VAT."""
    if line is None or not line.total_minor or not refund.goods_minor:
        return 0
    gross = half_up_div(line.discount_minor * refund.goods_minor, line.total_minor)
    return gross - vat_within(gross, refund.tax_rate_bp)


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
    return _money_role(refund)


def _money_role(refund: RefundDue) -> str:
    return f"refund_clearing.{refund.gateway}" if refund.gateway else "refund_clearing"


def settlement_postings(
    refund: RefundDue,
    new_value_minor: int,
    at: datetime,
    policy: Policy,
    *,
    key: str,
    then: Rates | None = None,
    now: Rates | None = None,
) -> list[Posting] | Held:
    """The lines by which an exchange's return leg comes to what was ordered for it.

    What the new order is worth stays on exchange clearing, for its sale to take up. More
    than that goes back to the shopper (a residual refund); less comes from them (an extra
    payment). The sale, with its own VAT, is the new order's and not entered here.

    Args:
        refund: The return leg, which credited exchange clearing.
        new_value_minor: What was ordered, gross; 0: nothing is, the unit is refunded.
        at: When the legs met.
        policy: For the accounts.
        key: Of the event.
        then: The rates the return leg was entered at, of an order in another currency.
        now: The rates when the legs met.
    """
    entry = _Entry(key, refund.unit_key, refund.currency, at, policy)
    left = refund.amount_minor - new_value_minor
    on_clearing, of_money = (DEBIT, CREDIT) if left > 0 else (CREDIT, DEBIT)
    cleared = paid = None
    if then is not None and now is not None:
        into = policy.merchant.currency

        def base(minor: int, rate: Fraction) -> int:
            return half_up(converted(minor, refund.currency, rate, into))

        cleared = paid = base(abs(left), now.paid)
        if left > 0:  # at what it was entered: clearing comes to nothing in either currency
            cleared = base(refund.amount_minor, then.paid) - base(new_value_minor, then.paid)
    entry.add("exchange_clearing", on_clearing, abs(left), base=cleared)
    entry.add(_money_role(refund), of_money, abs(left), base=paid)
    if cleared is not None and paid is not None and cleared != paid:
        side = CREDIT if cleared > paid else DEBIT
        entry.add("fx_difference", side, 0, base=abs(cleared - paid))
    return entry.done()


def stock_postings(
    adjustment: StockAdjustment,
    decided: Decided,
    goods: Goods,
    occurred_at: datetime,
    policy: Policy,
    *,
    source: str = "cogs_returns",
    key: str = "",
) -> list[Posting] | Held:
    """The cost side of one unit's stock movement.

    Args:
        adjustment: As posted.
        decided: The decision it was posted under; its role takes the cost.
        goods: Its order line.
        occurred_at: When stock was posted.
        policy: For the accounts.
        source: Where the cost stood until now: ``cogs_returns``, or where the refund came
            first ``returned_goods_in_transit``, or ``in_transit_loss``.
        key: Of the event, where it is not the adjustment's own.

    Returns:
        ``Held`` with ``COST_MISSING`` where the cost is not known and the policy waits
        for it. A cost of zero posts nothing.
    """
    finance = policy.finance
    key = key or adjustment.adjustment_key
    currency = _cost_currency(goods, policy)
    entry = _Entry(key, adjustment.unit_key, currency, occurred_at, policy)
    if adjustment.kind == "move":
        return []
    if finance.post_cost and goods.cost_minor is None and finance.cost_missing == "wait":
        reason = f"Linnworks tells no cost of {adjustment.sku}"
        return Held("COST_MISSING", reason, "COST_MISSING")
    if finance.post_cost and (goods.cost_minor or 0) > 0:
        role = "returns_writeoff" if adjustment.scrap_quantity else decided.role
        _cost(entry, goods, role, source)
    entry.currency = policy.merchant.currency
    entry.add("return_logistics_cost", DEBIT, finance.logistics_cost_minor)
    entry.add("return_logistics_accrued", CREDIT, finance.logistics_cost_minor)
    return entry.done()


def loss_postings(
    unit_key: str, in_transit: Sequence[Posting], at: datetime, policy: Policy
) -> list[Posting] | Held:
    """Goods that were paid for and never came, written off out of goods in transit.

    Args:
        unit_key: The unit.
        in_transit: Its lines of ``returned_goods_in_transit``.
        at: When it counts as lost.
        policy: For the accounts.
    """
    first = in_transit[0]
    entry = _Entry(f"{unit_key}:lost", unit_key, first.currency, at, policy)
    amount = sum(one.amount_minor * (1 if one.side == DEBIT else -1) for one in in_transit)
    base = None
    if first.base_minor is not None:
        base = sum((p.base_minor or 0) * (1 if p.side == DEBIT else -1) for p in in_transit)
    entry.add("in_transit_loss", DEBIT, amount, base=base)
    entry.add("returned_goods_in_transit", CREDIT, amount, base=base)
    return entry.done()


def taken_back(lines: Sequence[Posting], key: str, at: datetime) -> list[Posting]:
    """The same lines with their sides swapped: what was entered, taken back."""
    return [
        Posting(
            posting_key=f"{key}:{place}",
            unit_key=line.unit_key,
            role=line.role,
            account=line.account,
            tax_key=line.tax_key,
            side=OTHER_SIDE[line.side],
            amount_minor=line.amount_minor,
            currency=line.currency,
            occurred_at=at,
            event_key=key,
            base_minor=line.base_minor,
        )
        for place, line in enumerate(lines, start=1)
    ]


def imbalance(lines: Sequence[Posting]) -> dict[str, int]:
    """By how much debits exceed credits, by currency and ``base``; empty where they do not."""
    found: Counter[str] = Counter()
    for line in lines:
        sign = 1 if line.side == DEBIT else -1
        found[line.currency] += sign * line.amount_minor
        found["base"] += sign * (line.base_minor or 0)
    return {name: amount for name, amount in found.items() if amount}
