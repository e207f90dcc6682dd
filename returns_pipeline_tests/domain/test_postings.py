"""The ledger lines of one event: balanced, by role, in the account the policy names."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_pipeline.domain import postings
from returns_pipeline.domain.model import (
    Disposition,
    Held,
    Posting,
    RefundDue,
    RefundType,
    StockAdjustment,
)
from returns_pipeline.domain.money import half_up
from returns_pipeline.domain.postings import Goods, Rates
from returns_pipeline_tests.domain.build import ACCOUNTS, ORDER, ROW, T0, decided, line, policy

POLICY = policy()


def refund(**values: object) -> RefundDue:
    base = RefundDue(
        refund_key="u1:refund",
        unit_key="u1",
        order_id=ORDER,
        row_id=ROW,
        currency="GBP",
        goods_minor=6000,
        goods_vat_minor=1000,
        shipping_minor=0,
        shipping_vat_minor=0,
        fee_minor=0,
        fee_vat_minor=0,
        amount_minor=6000,
        tax_rate_bp=2000,
        tender=RefundType.REFUND,
        gateway="shopify_payments",
        effective_at=T0,
    )
    return replace(base, **values)


def entered(result: list[Posting] | Held) -> list[tuple[str, str, str, int]]:
    assert isinstance(result, list), result
    return [(p.account, p.tax_key, p.side, p.amount_minor) for p in result]


def goods(cost: int | None = 1800, **values: Any) -> Goods:
    """What is known of the order line."""
    return Goods(line(unit_cost_minor=cost, **values))


def of_refund(due: RefundDue, cost: int | None = 1800, *, received: bool = True) -> object:
    return postings.refund_postings(due, goods(cost), POLICY, received=received)


def moved(**values: object) -> StockAdjustment:
    base = StockAdjustment(
        "u1:restock", "u1", ORDER, ROW, "SHIRT-M", "loc-restock", 1, 0, "restock"
    )
    return replace(base, **values)


def test_a_plain_refund_is_net_vat_and_clearing() -> None:
    assert entered(of_refund(refund())) == [
        ("4100", "20", "debit", 5000),
        ("2200", "20", "debit", 1000),
        ("1260", "", "credit", 6000),
    ]


def test_a_fee_is_income_with_its_own_vat_and_is_not_netted() -> None:
    due = refund(fee_minor=300, fee_vat_minor=50, amount_minor=5700)
    lines = entered(of_refund(due))
    assert ("2200", "20", "debit", 1000) in lines
    assert ("4120", "20", "credit", 250) in lines
    assert ("2200", "20", "credit", 50) in lines
    assert ("1260", "", "credit", 5700) in lines


def test_shipping_stands_in_its_own_role_at_its_own_rate() -> None:
    due = refund(shipping_minor=495, shipping_vat_minor=83, amount_minor=6495)
    assert ("4110", "20", "debit", 412) in entered(of_refund(due))
    zero = refund(
        goods_vat_minor=0,
        tax_rate_bp=0,
        shipping_minor=495,
        shipping_vat_minor=83,
        amount_minor=6495,
    )
    lines = entered(of_refund(zero))
    assert ("4101", "0", "debit", 6000) in lines
    assert ("4110", "20", "debit", 412) in lines
    assert ("2200", "20", "debit", 83) in lines


def test_pennies_that_are_all_vat_are_entered_as_such() -> None:
    odd = refund(tax_rate_bp=0, goods_vat_minor=0, shipping_minor=2, shipping_vat_minor=2)
    assert ("2200", "0", "debit", 2) in entered(of_refund(odd))


@pytest.mark.parametrize(
    ("tender", "gateway", "account"),
    [
        (RefundType.REFUND, "shopify_payments", "1260"),
        (RefundType.REFUND, "paypal", "1261"),
        (RefundType.STORE_CREDIT, "paypal", "2310"),
        (RefundType.EXCHANGE, "paypal", "2320"),
    ],
)
def test_the_tender_chooses_what_is_credited(
    tender: RefundType, gateway: str, account: str
) -> None:
    lines = entered(of_refund(refund(tender=tender, gateway=gateway)))
    assert lines[-1] == (account, "", "credit", 6000)


def test_goods_paid_for_before_they_came_stand_in_transit() -> None:
    lines = entered(of_refund(refund(), received=False))
    assert ("1010", "", "debit", 1800) in lines
    assert ("5050", "", "credit", 1800) in lines


@pytest.mark.parametrize(
    ("disposition", "scrapped", "in_transit", "debit", "credit"),
    [
        (Disposition.SELLABLE, 0, False, "1001", "5050"),
        (Disposition.SELLABLE_B, 0, False, "1004", "5050"),
        (Disposition.DAMAGED, 0, False, "1002", "5050"),
        (Disposition.TAG_MISSING, 0, False, "1003", "5050"),
        (Disposition.RTV, 0, False, "1005", "5050"),
        (Disposition.DISPOSE, 1, False, "5210", "5050"),
        (Disposition.SELLABLE, 0, True, "1001", "1010"),
        (Disposition.DISPOSE, 1, True, "5210", "1010"),
    ],
)
def test_stock_takes_its_cost_from_where_the_goods_were(
    disposition: Disposition, scrapped: int, debit: str, credit: str, *, in_transit: bool
) -> None:
    found = postings.stock_postings(
        moved(scrap_quantity=scrapped),
        decided(disposition),
        goods(),
        T0,
        POLICY,
        source="returned_goods_in_transit" if in_transit else "cogs_returns",
    )
    assert entered(found) == [(debit, "", "debit", 1800), (credit, "", "credit", 1800)]


def test_what_cost_nothing_has_no_cost_side() -> None:
    assert postings.stock_postings(moved(), decided(), goods(0), T0, POLICY) == []
    assert len(entered(of_refund(refund(), 0, received=False))) == 3


def test_a_movement_waits_for_a_cost_that_is_not_told_and_its_money_does_not() -> None:
    found = postings.stock_postings(moved(), decided(), goods(None), T0, POLICY)
    assert isinstance(found, Held)
    assert found.exception == "COST_MISSING"
    assert len(entered(of_refund(refund(), None, received=False))) == 3


def test_a_merchant_may_leave_out_costs_that_are_not_told() -> None:
    skips = policy(finance={"cost_missing": "skip"})
    assert postings.stock_postings(moved(), decided(), goods(None), T0, skips) == []


def test_a_move_between_places_is_entered_nowhere() -> None:
    move = moved(kind="move", from_location_id="loc-restock")
    found = postings.stock_postings(move, decided(), goods(), T0, POLICY)
    assert found == []


def test_a_merchant_without_cost_accounting_has_the_money_side_alone() -> None:
    none = policy(finance={"post_cost": False})
    stock = postings.stock_postings(moved(), decided(), goods(), T0, none)
    money = postings.refund_postings(refund(), goods(), none, received=False)
    assert stock == []
    assert len(entered(money)) == 3


def test_an_account_that_is_not_mapped_holds_the_event_whole_and_is_named() -> None:
    without = {role: code for role, code in ACCOUNTS.items() if role != "vat_output"}
    found = postings.refund_postings(
        refund(),
        goods(None),
        policy(finance={"accounts": without}),
        received=True,
    )
    assert isinstance(found, Held)
    assert found.exception == "ACCOUNT_UNMAPPED"
    assert "vat_output" in found.reason


@pytest.mark.parametrize(
    ("more", "account"),
    [
        ({}, "4100"),
        ({"sales_returns.20": "4105"}, "4105"),
        ({"sales_returns.0": "4109"}, "4100"),
    ],
)
def test_the_nearest_account_is_taken(more: dict[str, str], account: str) -> None:
    own = policy(finance={"accounts": {**ACCOUNTS, **more}})
    found = postings.refund_postings(refund(), goods(None), own, received=True)
    assert entered(found)[0][0] == account


@pytest.mark.parametrize(
    ("rate", "key"), [(0, "0"), (500, "5"), (1750, "17.5"), (2000, "20"), (2005, "20.05")]
)
def test_rates_are_printed_as_finance_prints_them(rate: int, key: str) -> None:
    assert postings.tax_key(rate) == key


def test_a_key_is_the_events_own_and_the_same_again() -> None:
    found, again = of_refund(refund()), of_refund(refund())
    assert found == again
    assert isinstance(found, list)
    keys = [p.posting_key for p in found]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith("u1:refund:") for key in keys)


@given(
    paid=st.integers(0, 10_000),
    shipping=st.integers(0, 1_000),
    fee=st.integers(0, 500),
    rate=st.sampled_from([0, 500, 2000]),
    shipping_rate=st.sampled_from([0, 500, 2000, 10_000]),
    cost=st.none() | st.integers(0, 5_000),
    received=st.booleans(),
    tender=st.sampled_from([RefundType.REFUND, RefundType.STORE_CREDIT, RefundType.EXCHANGE]),
)
def test_whatever_is_refunded_balances_and_no_line_is_zero_or_negative(
    paid: int,
    shipping: int,
    fee: int,
    rate: int,
    shipping_rate: int,
    cost: int | None,
    received: bool,  # noqa: FBT001
    tender: RefundType,
) -> None:
    fee = min(fee, paid + shipping)
    due = refund(
        goods_minor=paid,
        goods_vat_minor=paid * rate // (10_000 + rate),
        shipping_minor=shipping,
        shipping_vat_minor=shipping * shipping_rate // (10_000 + shipping_rate),
        fee_minor=fee,
        fee_vat_minor=fee * rate // (10_000 + rate),
        amount_minor=paid + shipping - fee,
        tax_rate_bp=rate,
        tender=tender,
    )
    lines = entered(of_refund(due, cost, received=received))
    sums = {s: sum(a for *_, side, a in lines if side == s) for s in ("debit", "credit")}
    assert sums["debit"] == sums["credit"]
    assert all(amount > 0 for *_, amount in lines)


# --- discounts, exemption, losses, logistics --------------------------------------


def test_a_discount_taken_back_stands_on_its_own_line_where_the_policy_wants_it() -> None:
    split = policy(finance={"split_discount": True})
    bought = goods(total_minor=6000, discount_minor=1200)  # 72.00 less 12.00
    found = postings.refund_postings(refund(), bought, split, received=True)
    assert entered(found)[:3] == [
        ("4100", "20", "debit", 6000),
        ("4105", "20", "credit", 1000),
        ("2200", "20", "debit", 1000),
    ]
    assert postings.imbalance(found) == {}
    within = postings.refund_postings(refund(), bought, POLICY, received=True)
    assert entered(within)[0] == ("4100", "20", "debit", 5000)


@pytest.mark.parametrize(("sku", "key"), [("GIFT-10", "exempt"), ("SHIRT-M", "0")])
def test_what_is_exempt_is_told_apart_from_what_is_zero_rated(sku: str, key: str) -> None:
    own = policy(finance={"exempt_skus": ("GIFT-*",)})
    due = refund(goods_vat_minor=0, tax_rate_bp=0)
    found = postings.refund_postings(due, goods(sku=sku), own, received=True)
    assert entered(found)[0][1:] == (key, "debit", 6000)


def test_goods_that_never_came_are_lost_out_of_transit() -> None:
    paid = postings.refund_postings(refund(), goods(), POLICY, received=False)
    assert isinstance(paid, list)
    transit = [p for p in paid if p.role == "returned_goods_in_transit"]
    assert entered(postings.loss_postings("u1", transit, T0, POLICY)) == [
        ("5211", "", "debit", 1800),
        ("1010", "", "credit", 1800),
    ]


def test_what_a_return_costs_at_happy_returns_is_entered_where_the_policy_says_so() -> None:
    own = policy(finance={"logistics_cost_minor": 350})
    found = postings.stock_postings(moved(), decided(), goods(), T0, own)
    assert entered(found)[2:] == [("5300", "", "debit", 350), ("2330", "", "credit", 350)]


def test_what_is_taken_back_leaves_nothing() -> None:
    paid = of_refund(refund(), received=False)
    assert isinstance(paid, list)
    back = postings.taken_back(paid, "u1:refund~back0", T0)
    assert postings.imbalance(back) == {}
    left: dict[str, int] = {}
    for one in (*paid, *back):
        left[one.role] = left.get(one.role, 0) + one.amount_minor * (-1) ** (one.side == "debit")
    assert set(left.values()) == {0}


# --- foreign currency -------------------------------------------------------------


def abroad(**values: Any) -> Goods:
    rates = Rates(Fraction(values.pop("sale", "0.86")), Fraction(values.pop("paid", "0.86")))
    return Goods(line(unit_cost_minor=1800), rates, values.pop("before", (0, 0)), "EUR")


def base_lines(result: list[Posting] | Held) -> list[tuple[str, str, int, int | None]]:
    assert isinstance(result, list), result
    return [(p.role, p.side, p.amount_minor, p.base_minor) for p in result]


def test_a_sale_abroad_is_taken_back_at_its_own_rate() -> None:
    found = postings.refund_postings(refund(currency="EUR"), abroad(), POLICY, received=True)
    assert base_lines(found) == [
        ("sales_returns", "debit", 5000, 4300),
        ("vat_output", "debit", 1000, 860),
        ("refund_clearing.shopify_payments", "credit", 6000, 5160),
    ]


def test_the_difference_of_the_rates_stands_in_its_own_role() -> None:
    goods = abroad(sale="0.86", paid="0.90")
    found = postings.refund_postings(refund(currency="EUR"), goods, POLICY, received=True)
    assert base_lines(found)[-2:] == [
        ("refund_clearing.shopify_payments", "credit", 6000, 5400),
        ("fx_difference", "debit", 0, 240),
    ]
    assert postings.imbalance(found) == {}


def test_the_cost_of_what_was_sold_abroad_is_in_the_merchants_currency() -> None:
    found = postings.refund_postings(refund(currency="EUR"), abroad(), POLICY, received=False)
    cost = [p for p in found if p.role in {"returned_goods_in_transit", "cogs_returns"}]
    assert {(p.currency, p.amount_minor, p.base_minor) for p in cost} == {("GBP", 1800, None)}


@given(
    total=st.integers(3, 50_000),
    quantity=st.integers(1, 9),
    rate=st.fractions(min_value=Fraction(1, 100), max_value=200, max_denominator=10_000),
)
def test_the_parts_of_a_line_abroad_add_up_to_the_line_in_the_merchants_currency_too(
    total: int, quantity: int, rate: Fraction
) -> None:
    vat = total // 6
    gone = gone_vat = 0
    sums: dict[str, int] = {}
    for n in range(quantity):
        upto = total * (n + 1) // quantity
        upto_vat = vat * (n + 1) // quantity
        due = refund(
            currency="EUR",
            goods_minor=upto - gone,
            goods_vat_minor=upto_vat - gone_vat,
            amount_minor=upto - gone,
        )
        known = Goods(line(), Rates(rate, rate), (gone, gone_vat), "EUR")
        found = postings.refund_postings(due, known, POLICY, received=True)
        assert isinstance(found, list)
        assert postings.imbalance(found) == {}
        for one in found:
            sums[one.role] = sums.get(one.role, 0) + (one.base_minor or 0)
        gone, gone_vat = upto, upto_vat
    assert sums.get("vat_output", 0) == half_up(vat * rate)
    assert sums.get("sales_returns", 0) == half_up((total - vat) * rate)


@pytest.mark.parametrize(
    ("told", "finance", "sale", "paid"),
    [
        ("0.86", {}, "0.86", "0.86"),
        ("0.86", {"fx_rates": {"EUR": "0.9"}}, "0.86", "0.9"),
        ("0.86", {"fx_rates": {"EUR": "0.9", "EUR.2026-03": "0.91"}}, "0.86", "0.91"),
        ("1.25", {"conversion": "divide"}, "0.8", "0.8"),
        ("", {"fx_vat": "period", "fx_rates": {"EUR": "0.9"}}, "0.9", "0.9"),
    ],
)
def test_which_rates_count(told: str, finance: dict[str, Any], sale: str, paid: str) -> None:
    found = postings.rates("EUR", told, T0, policy(finance=finance))
    assert found == Rates(Fraction(sale), Fraction(paid))


@pytest.mark.parametrize("finance", [{}, {"fx_vat": "period"}])
def test_a_rate_that_is_not_known_holds_the_event(finance: dict[str, Any]) -> None:
    told = "" if not finance else "0.86"
    found = postings.rates("EUR", told, T0, policy(finance=finance))
    assert isinstance(found, Held)
    assert found.exception == "FX_RATE_MISSING"


def test_the_merchants_own_currency_needs_no_rate() -> None:
    assert postings.rates("GBP", "", T0, POLICY) is None
