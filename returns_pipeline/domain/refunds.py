"""What a unit is owed, to the penny, from the Linnworks order line.

Happy Returns' amount is a cross-check only (contract Happy Returns 5). The goods' part and
its VAT are the unit's share of the line, cumulative in the order of refund: what has been
refunded of a line is at any time its rounded part, and all of it adds up to the line.
Shipping and fee stand once in a return and order; the first unit refunded bears them.
"""

from __future__ import annotations

from dataclasses import dataclass

from returns_pipeline.domain.model import (
    Cleared,
    Held,
    Matched,
    Order,
    OrderLine,
    RefundDue,
    RefundType,
    Unit,
)
from returns_pipeline.domain.money import format_minor, half_up_div, share, vat_within
from returns_pipeline.domain.policy import Policy, fold
from returns_pipeline.domain.postings import tax_key


@dataclass(frozen=True, slots=True)
class Refunded:
    """What was refunded until now, minor units of the order's currency, gross.

    Args:
        units: Units of the order line.
        line: Goods of the line.
        vat: The VAT in them.
        order: Goods and shipping of the order.
        shipping: Of that, the shipping: the returns of an order share the postage it paid.
        shipping_vat: The VAT in it.
    """

    units: int = 0
    line: int = 0
    vat: int = 0
    order: int = 0
    shipping: int = 0
    shipping_vat: int = 0


NOTHING = Refunded()


def line_of(order: Order, row_id: str) -> OrderLine:
    """The order's line with this row id.

    Raises:
        LookupError: When the order has none: a match that points nowhere is a defect.
    """
    for line in order.lines:
        if line.row_id == row_id:
            return line
    msg = f"order {order.order_id} has no line {row_id}"
    raise LookupError(msg)


def is_unpriced_part(line: OrderLine) -> bool:
    """Whether the line is part of a bundle and its price stands on the bundle alone."""
    return line.parent_row_id is not None and not line.total_minor


def priced_line(order: Order, row_id: str) -> OrderLine:
    """The line that bears the price: of a part of a bundle without one, the bundle's."""
    line = line_of(order, row_id)
    if is_unpriced_part(line) and line.parent_row_id is not None:
        return next((ln for ln in order.lines if ln.row_id == line.parent_row_id), line)
    return line


def unpriced_part() -> Held:
    """What a part of a bundle is worth, where only the bundle has a price: a person decides."""
    reason = "part of a bundle, without a price of its own: what it is worth is to be decided"
    return Held("KIT_INCOMPLETE", reason, "KIT_INCOMPLETE")


def goods_due(order: Order, matched: Matched) -> int:
    """The unit's share of what its line was paid, gross."""
    line = line_of(order, matched.row_id)
    return share(line.total_minor, line.quantity, matched.unit_no)


def refund_due(
    unit: Unit,
    matched: Matched,
    order: Order,
    cleared: Cleared,
    policy: Policy,
    *,
    carries_order_extras: bool,
    before: Refunded = NOTHING,
    anyway: bool = False,
    amount_minor: int | None = None,
) -> RefundDue | Held:
    """The refund of one unit.

    Args:
        unit: The returned unit.
        matched: Its order line and unit number.
        order: The Linnworks order.
        cleared: Since when its gate stands open.
        policy: The merchant's.
        carries_order_extras: Whether this unit bears the return's shipping and fee.
        before: What of its line and order was refunded until now.
        anyway: Whether a person decided that it is paid: then it need not agree with what
            Happy Returns says. No decision lifts the ceilings.
        amount_minor: What that person decided to pay for the goods, gross; nothing else is
            paid or kept with it. ``None``: the unit's share of its line.

    Returns:
        ``Held`` with ``REFUND_AMOUNT_MISMATCH``, ``REFUND_OVER_CEILING`` or
        ``VAT_RATE_UNKNOWN`` where the figures do not agree, exceed what was paid, or hold
        a tax that cannot be; with ``KIT_INCOMPLETE`` for a part of a bundle that has no
        price of its own. All amounts are minor units of the order's currency.
    """
    line = priced_line(order, matched.row_id) if amount_minor else line_of(order, matched.row_id)
    if is_unpriced_part(line):
        return unpriced_part()
    goods, goods_vat = _goods(line, before, amount_minor)
    shipping = fee = 0
    if carries_order_extras and not amount_minor:
        shipping, fee = unit.shipping_refund_minor or 0, unit.fee_minor or 0
    held = _disagrees(unit, order, None if anyway else goods, fee, policy)
    if held is not None:
        return held
    if fee > goods + shipping:
        kept, due = _money(fee, order), _money(goods + shipping, order)
        return _mismatch(f"the fee of {kept} is above the refund of {due}")
    over = _over_ceiling(order, line, (goods, shipping), before)
    if over is not None:
        return over
    shipping_vat = _shipping_vat(order, shipping, before)
    if not (0 <= goods_vat <= goods and 0 <= shipping_vat <= shipping):
        return _unknown_rate(
            f"VAT of {goods_vat} in goods of {goods}, {shipping_vat} in shipping of {shipping}"
        )
    unknown = _rate_unknown(line, policy)
    if unknown is not None:
        return unknown
    return RefundDue(
        refund_key=f"{unit.unit_key}:refund",
        unit_key=unit.unit_key,
        order_id=order.order_id,
        row_id=line.row_id,
        currency=order.currency,
        goods_minor=goods,
        goods_vat_minor=goods_vat,
        shipping_minor=shipping,
        shipping_vat_minor=shipping_vat,
        fee_minor=fee,
        fee_vat_minor=vat_within(fee, line.tax_rate_bp),
        amount_minor=goods + shipping - fee,
        tax_rate_bp=line.tax_rate_bp,
        tender=unit.refund_type or RefundType.REFUND,
        gateway=gateway(order.payment_method, policy),
        effective_at=cleared.at,
    )


def gateway(payment_method: str, policy: Policy) -> str:
    """The gateway that carries money back that was paid by this method."""
    gateways = policy.refunds.gateways
    return gateways.get(fold(payment_method)) or gateways.get("*", "")


def _goods(line: OrderLine, before: Refunded, amount_minor: int | None) -> tuple[int, int]:
    """This unit's goods and their VAT: the rounded part until now, less what has gone back.

    Where an amount was decided by a person the parts are no equal ones any more: then the
    VAT is the line's in proportion to the money, still cumulative.
    """
    total, vat, quantity, nth = line.total_minor, line.vat_minor, line.quantity, before.units

    def until(of: int, units: int) -> int:
        return half_up_div(of * units, quantity)

    # What was refunded and taken back since leaves pennies: those go with the next unit.
    whole = abs(before.line - until(total, nth)) <= nth
    if amount_minor or not whole or nth >= quantity:
        goods = amount_minor or share(total, quantity, nth)
        if not total:
            return goods, 0
        return goods, half_up_div(vat * (before.line + goods), total) - before.vat
    return until(total, nth + 1) - before.line, until(vat, nth + 1) - before.vat


def _rate_unknown(line: OrderLine, policy: Policy) -> Held | None:
    """Why the rate the line was sold at is not known: none of ours, or not that of its VAT."""
    rate = tax_key(line.tax_rate_bp)
    known = policy.finance.vat_rates
    if known and rate not in known:
        return _unknown_rate(f"a rate of {rate} %, which the policy's vat_rates do not name")
    told = vat_within(line.total_minor, line.tax_rate_bp)
    # Each unit may have been rounded by itself.
    if abs(told - line.vat_minor) > line.quantity + 1:
        return _unknown_rate(
            f"VAT of {line.vat_minor} in {line.total_minor}; at {rate} % it would be {told}"
        )
    return None


def _unknown_rate(reason: str) -> Held:
    return Held("VAT_RATE_UNKNOWN", reason, "VAT_RATE_UNKNOWN")


def _shipping_vat(order: Order, shipping: int, before: Refunded) -> int:
    """The VAT in this part of the postage; cumulative, as the goods' is."""
    if not shipping:
        return 0
    vat, paid = order.postage_vat_minor, order.postage_minor
    return half_up_div(vat * (before.shipping + shipping), paid) - before.shipping_vat


def _disagrees(
    unit: Unit, order: Order, goods: int | None, fee: int, policy: Policy
) -> Held | None:
    if unit.currency is not None and unit.currency != order.currency:
        return _mismatch(f"the return is in {unit.currency}, the order in {order.currency}")
    if fee and unit.fee_currency is not None and unit.fee_currency != order.currency:
        return _mismatch(f"the fee is in {unit.fee_currency}, the order in {order.currency}")
    told = unit.refund_amount_minor
    if unit.refund_type is RefundType.EXCHANGE or told is None or goods is None:
        return None
    if abs(told - goods) > policy.refunds.tolerance_minor:
        says, is_worth = _money(told, order), _money(goods, order)
        return _mismatch(f"Happy Returns says {says}, the order line {is_worth}")
    return None


def _over_ceiling(
    order: Order, line: OrderLine, parts: tuple[int, int], before: Refunded
) -> Held | None:
    goods, shipping = parts
    if goods > line.total_minor - before.line:
        return _ceiling("the line", line.total_minor, before.line, order)
    if shipping > order.postage_minor - before.shipping:
        what = f"shipping of {_money(shipping, order)} is claimed: shipping"
        return _ceiling(what, order.postage_minor, before.shipping, order)
    if goods + shipping > order.total_minor - before.order:
        return _ceiling("the order", order.total_minor, before.order, order)
    return None


def _mismatch(reason: str) -> Held:
    return Held("REFUND_AMOUNT_MISMATCH", reason, "REFUND_AMOUNT_MISMATCH")


def _ceiling(what: str, paid: int, back: int, order: Order) -> Held:
    reason = f"{what} was paid {_money(paid, order)}, {_money(back, order)} went back already"
    return Held("REFUND_OVER_CEILING", reason, "REFUND_OVER_CEILING")


def _money(minor: int, order: Order) -> str:
    return f"{format_minor(minor, order.currency)} {order.currency}"
