"""What a unit is owed, to the penny, and what is held because the figures disagree."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from returns_pipeline.domain import refunds
from returns_pipeline.domain.model import (
    Cleared,
    Held,
    Order,
    RefundDue,
    RefundType,
    Unit,
)
from returns_pipeline.domain.money import half_up_div
from returns_pipeline.domain.refunds import Refunded
from returns_pipeline_tests.domain import build
from returns_pipeline_tests.domain.build import ROW, ROW2, T0, line, matched, order, policy

SHIRTS = line(quantity=3, total_minor=5997, vat_minor=1000)


def ask(
    unit: Unit | None = None,
    goods: Order | None = None,
    *,
    unit_no: int = 0,
    row_id: str = ROW,
    carries_order_extras: bool = True,
    **so_far: Any,
) -> RefundDue | Held:
    return refunds.refund_due(
        unit or build.received(),
        matched(row_id=row_id, unit_no=unit_no),
        goods or order(),
        Cleared(T0),
        so_far.pop("policy", policy()),
        carries_order_extras=carries_order_extras,
        **so_far,
    )


def due(*args: Any, **values: Any) -> RefundDue:
    found = ask(*args, **values)
    assert isinstance(found, RefundDue), found
    return found


def held(*args: Any, **values: Any) -> Held:
    found = ask(*args, **values)
    assert isinstance(found, Held), found
    assert found.code == found.exception
    return found


def test_a_line_of_one_unit_is_refunded_whole() -> None:
    found = due()
    assert (found.goods_minor, found.goods_vat_minor, found.amount_minor) == (6000, 1000, 6000)
    assert (found.currency, found.tax_rate_bp, found.effective_at) == ("GBP", 2000, T0)


def in_turn(goods: Order, unit_nos: list[int]) -> list[RefundDue]:
    """The refunds of a line's units, one after the other in this order."""
    before, found = Refunded(), []
    for n in unit_nos:
        one = due(goods=goods, unit_no=n, before=before, carries_order_extras=False)
        found.append(one)
        before = Refunded(
            units=before.units + 1,
            line=before.line + one.goods_minor,
            vat=before.vat + one.goods_vat_minor,
            order=before.order + one.goods_minor,
        )
    return found


def test_three_units_of_the_worked_line_reverse_exactly_its_vat() -> None:
    found = in_turn(order(SHIRTS), [0, 1, 2])
    assert [one.goods_minor for one in found] == [1999, 1999, 1999]
    assert [one.goods_vat_minor for one in found] == [333, 334, 333]


@given(
    total=st.integers(0, 100_000),
    quantity=st.integers(1, 12),
    rate=st.sampled_from([0, 500, 1750, 2000, 2500]),
    chance=st.randoms(use_true_random=False),
)
def test_in_whatever_order_units_are_refunded_the_parts_are_the_rounded_whole(
    total: int, quantity: int, rate: int, chance: Any
) -> None:
    assume(not 0 < total < quantity)
    vat = half_up_div(total * rate, 10_000 + rate)
    goods = order(line(quantity=quantity, total_minor=total, vat_minor=vat, tax_rate_bp=rate))
    unit_nos = list(range(quantity))
    chance.shuffle(unit_nos)
    given_back = reversed_vat = 0
    for n, one in enumerate(in_turn(goods, unit_nos), start=1):
        given_back += one.goods_minor
        reversed_vat += one.goods_vat_minor
        assert given_back == half_up_div(total * n, quantity)
        assert reversed_vat == half_up_div(vat * n, quantity)


def test_after_an_amount_a_person_decided_the_vat_still_adds_up_to_the_line() -> None:
    goods = order(SHIRTS)
    first = due(goods=goods, amount_minor=500, anyway=True)
    before = Refunded(units=1, line=500, vat=first.goods_vat_minor, order=500)
    second = due(goods=goods, before=before)
    assert second.goods_minor == 1999  # its own share: the first one's shortfall is not its
    rest = Refunded(
        units=2,
        line=500 + 1999,
        vat=first.goods_vat_minor + second.goods_vat_minor,
        order=2499,
    )
    last = due(goods=goods, before=rest, amount_minor=5997 - 2499, anyway=True)
    assert first.goods_vat_minor + second.goods_vat_minor + last.goods_vat_minor == 1000


@given(
    total=st.integers(0, 100_000),
    quantity=st.integers(1, 12),
    rate=st.sampled_from([0, 500, 1750, 2000, 2500]),
)
def test_the_units_of_a_line_sum_to_it_and_none_is_negative(
    total: int, quantity: int, rate: int
) -> None:
    assume(not 0 < total < quantity)  # nothing is sold for less than a penny
    vat = total * rate // (10_000 + rate)
    goods = order(line(quantity=quantity, total_minor=total, vat_minor=vat, tax_rate_bp=rate))
    found = in_turn(goods, list(range(quantity)))
    assert all(0 <= one.goods_vat_minor <= one.goods_minor for one in found)
    assert sum(one.goods_minor for one in found) == total
    assert sum(one.goods_vat_minor for one in found) == vat


def test_a_discount_is_in_the_line_and_not_given_back() -> None:
    discounted = order(line(quantity=2, total_minor=9000, vat_minor=1500))  # 2 x 60.00 less 25 %
    assert [one.goods_minor for one in in_turn(discounted, [0, 1])] == [4500, 4500]


# --- shipping and fee -------------------------------------------------------------


def test_shipping_and_fee_are_borne_by_one_unit_of_the_return() -> None:
    unit = build.received(shipping_refund_minor=495, fee_minor=300, fee_currency="GBP")
    first, second = due(unit), due(unit, carries_order_extras=False)
    assert (first.shipping_minor, first.shipping_vat_minor) == (495, 83)
    assert (first.fee_minor, first.fee_vat_minor) == (300, 50)
    assert first.amount_minor == 6000 + 495 - 300
    assert (second.shipping_minor, second.fee_minor, second.amount_minor) == (0, 0, 6000)


def test_parts_of_the_postage_reverse_its_vat_exactly() -> None:
    goods = order(postage_minor=300, postage_vat_minor=50)
    parts = []
    for n in range(3):
        unit = build.received(shipping_refund_minor=100)
        before = Refunded(shipping=100 * n, shipping_vat=sum(parts))
        parts.append(due(unit, goods, before=before).shipping_vat_minor)
    assert sum(parts) == 50
    assert max(parts) - min(parts) <= 1


def test_a_fee_above_the_refund_is_a_task() -> None:
    unit = build.received(fee_minor=6001, fee_currency="GBP")
    assert held(unit).exception == "REFUND_AMOUNT_MISMATCH"
    assert due(build.received(fee_minor=6000, fee_currency="GBP")).amount_minor == 0


@pytest.mark.parametrize(
    "values",
    [{"currency": "EUR"}, {"fee_minor": 300, "fee_currency": "USD"}],
    ids=["the return", "the fee"],
)
def test_another_currency_is_compared_with_nothing(values: dict[str, Any]) -> None:
    assert held(build.received(**values)).exception == "REFUND_AMOUNT_MISMATCH"


def test_the_fee_of_a_return_whose_fee_was_borne_already_asks_nothing() -> None:
    unit = build.received(fee_minor=300, fee_currency="USD")
    assert due(unit, carries_order_extras=False).fee_minor == 0


# --- the cross-check --------------------------------------------------------------


@pytest.mark.parametrize(("told", "agrees"), [(5999, True), (6001, True), (5998, False)])
def test_happy_returns_amount_may_differ_by_the_tolerance(told: int, *, agrees: bool) -> None:
    found = ask(build.received(refund_amount_minor=told))
    if agrees:
        assert isinstance(found, RefundDue)
        assert found.amount_minor == 6000  # the order line's, never theirs
    else:
        assert isinstance(found, Held)
        assert found.exception == "REFUND_AMOUNT_MISMATCH"


def test_the_amount_compared_is_before_fee_and_shipping() -> None:
    unit = build.received(
        refund_amount_minor=6000, shipping_refund_minor=495, fee_minor=300, fee_currency="GBP"
    )
    assert due(unit).amount_minor == 6195


def test_a_wider_tolerance_is_the_policys() -> None:
    wide = policy(refunds={"tolerance_minor": 100})
    assert due(build.received(refund_amount_minor=5900), policy=wide).amount_minor == 6000


def test_nothing_refunded_where_the_line_was_paid_is_a_mismatch_too() -> None:
    assert held(build.received(refund_amount_minor=0)).exception == "REFUND_AMOUNT_MISMATCH"


# --- ceilings ---------------------------------------------------------------------


def test_a_line_is_never_refunded_above_what_it_was_paid() -> None:
    assert held(before=Refunded(line=1)).exception == "REFUND_OVER_CEILING"
    shirts = order(SHIRTS)
    two = Refunded(units=2, line=3998, vat=667)
    assert due(goods=shirts, unit_no=2, before=two).goods_minor == 1999
    more = Refunded(units=2, line=4001, vat=667)
    assert held(goods=shirts, unit_no=2, before=more).code == "REFUND_OVER_CEILING"


def test_an_order_is_never_refunded_above_what_it_was_paid() -> None:
    two = order(line(), line(ROW2, item_number="L2"))  # 120.00 and 4.95 postage
    assert due(goods=two, before=Refunded(order=6495)).amount_minor == 6000
    assert held(goods=two, before=Refunded(order=6496)).exception == "REFUND_OVER_CEILING"


def test_goods_and_shipping_together_stay_under_what_the_order_was_paid() -> None:
    two = order(line(), line(ROW2, item_number="L2"))
    unit = build.received(shipping_refund_minor=495)
    assert due(unit, two, before=Refunded(order=6000)).amount_minor == 6495
    assert held(unit, two, before=Refunded(order=6001)).exception == "REFUND_OVER_CEILING"


def test_shipping_is_never_refunded_above_the_postage() -> None:
    assert due(build.received(shipping_refund_minor=495)).shipping_minor == 495
    above = build.received(shipping_refund_minor=496)
    assert held(above).exception == "REFUND_OVER_CEILING"
    shared = build.received(shipping_refund_minor=300)
    assert held(shared, before=Refunded(shipping=200)).exception == "REFUND_OVER_CEILING"
    assert due(shared, before=Refunded(shipping=195)).shipping_minor == 300


def test_shipping_of_an_order_without_postage_is_above_its_ceiling() -> None:
    free = order(postage_minor=0, postage_vat_minor=0)
    unit = build.received(shipping_refund_minor=1)
    assert held(unit, free).exception == "REFUND_OVER_CEILING"


# --- taxes that cannot be, bundles, tenders ---------------------------------------


@pytest.mark.parametrize("vat", [-1, 6001])
def test_a_tax_that_cannot_be_is_a_task(vat: int) -> None:
    assert held(goods=order(line(vat_minor=vat))).exception == "VAT_RATE_UNKNOWN"


@pytest.mark.parametrize(("vat", "rate"), [(0, 2000), (1000, 0), (1000, 500)])
def test_a_rate_that_does_not_explain_the_lines_tax_is_a_task(vat: int, rate: int) -> None:
    found = held(goods=order(line(vat_minor=vat, tax_rate_bp=rate)))
    assert found.exception == "VAT_RATE_UNKNOWN"


def test_a_rate_the_books_do_not_know_is_a_task() -> None:
    known = policy(finance={"vat_rates": ("0", "5")})
    assert held(policy=known).exception == "VAT_RATE_UNKNOWN"
    assert due(policy=policy(finance={"vat_rates": ("0", "20")})).amount_minor == 6000


def test_a_postage_tax_that_cannot_be_is_a_task() -> None:
    unit = build.received(shipping_refund_minor=495)
    assert held(unit, order(postage_vat_minor=500)).exception == "VAT_RATE_UNKNOWN"


def test_a_zero_rated_line_reverses_no_vat() -> None:
    found = due(goods=order(line(vat_minor=0, tax_rate_bp=0)))
    assert (found.goods_vat_minor, found.amount_minor) == (0, 6000)


BUNDLE = line(ROW, sku="SET", total_minor=9000, vat_minor=1500)


def test_a_bundle_is_refunded_at_its_own_price() -> None:
    part = line(ROW2, sku="CUP", quantity=2, total_minor=0, vat_minor=0, parent_row_id=ROW)
    assert due(goods=order(BUNDLE, part)).amount_minor == 9000


def test_a_part_of_a_bundle_without_a_price_goes_to_a_person() -> None:
    part = line(ROW2, sku="CUP", quantity=2, total_minor=0, vat_minor=0, parent_row_id=ROW)
    found = held(goods=order(BUNDLE, part), row_id=ROW2)
    assert found.exception == "KIT_INCOMPLETE"


def test_a_part_of_a_bundle_with_a_price_is_refunded_at_it() -> None:
    part = line(ROW2, sku="CUP", quantity=2, total_minor=3000, vat_minor=500, parent_row_id=ROW)
    assert due(goods=order(BUNDLE, part), row_id=ROW2, unit_no=1).amount_minor == 1500


def test_a_gift_that_was_never_paid_is_owed_nothing() -> None:
    assert due(goods=order(line(total_minor=0, vat_minor=0))).amount_minor == 0


@pytest.mark.parametrize(
    ("paid_by", "gateway"),
    [("PayPal", "paypal"), ("pay-pal", "paypal"), ("Klarna", "shopify_payments")],
)
def test_money_goes_back_by_the_way_it_came(paid_by: str, gateway: str) -> None:
    assert due(goods=order(payment_method=paid_by)).gateway == gateway


@pytest.mark.parametrize("tender", [RefundType.STORE_CREDIT, RefundType.EXCHANGE])
def test_the_tender_is_the_returns_own(tender: RefundType) -> None:
    assert due(build.received(refund_type=tender)).tender is tender


def test_the_price_of_a_replacement_is_no_amount_to_compare() -> None:
    unit = build.received(refund_type=RefundType.EXCHANGE, refund_amount_minor=0)
    assert due(unit).amount_minor == 6000


def test_a_match_that_points_nowhere_is_a_defect() -> None:
    with pytest.raises(LookupError, match="no line"):
        ask(row_id=ROW2)
