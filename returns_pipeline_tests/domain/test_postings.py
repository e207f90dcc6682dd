"""The ledger lines of one event: balanced, by role, in the account the policy names."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_pipeline.domain import postings
from returns_pipeline.domain.model import (
    Disposition,
    Executor,
    Held,
    Posting,
    RefundDue,
    RefundType,
    StockAdjustment,
)
from returns_pipeline_tests.domain.build import ACCOUNTS, ORDER, ROW, T0, decided, policy

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


def of_refund(due: RefundDue, cost: int | None = 1800, *, received: bool = True) -> object:
    return postings.refund_postings(due, Executor.LINNWORKS, cost, POLICY, received=received)


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


@pytest.mark.parametrize("executor", list(Executor))
def test_the_ledger_is_the_same_whoever_pressed_the_button(executor: Executor) -> None:
    found = postings.refund_postings(refund(), executor, 1800, POLICY, received=True)
    assert entered(found) == entered(of_refund(refund()))


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
        1800,
        T0,
        POLICY,
        was_in_transit=in_transit,
    )
    assert entered(found) == [(debit, "", "debit", 1800), (credit, "", "credit", 1800)]


@pytest.mark.parametrize("cost", [None, 0])
def test_without_a_cost_the_cost_side_is_empty(cost: int | None) -> None:
    stock = postings.stock_postings(moved(), decided(), cost, T0, POLICY, was_in_transit=False)
    assert stock == []
    assert len(entered(of_refund(refund(), cost, received=False))) == 3


def test_a_move_between_places_is_entered_nowhere() -> None:
    move = moved(kind="move", from_location_id="loc-restock")
    found = postings.stock_postings(move, decided(), 1800, T0, POLICY, was_in_transit=False)
    assert found == []


def test_a_merchant_without_cost_accounting_has_the_money_side_alone() -> None:
    none = policy(finance={"post_cost": False})
    stock = postings.stock_postings(moved(), decided(), 1800, T0, none, was_in_transit=False)
    money = postings.refund_postings(refund(), Executor.LINNWORKS, 1800, none, received=False)
    assert stock == []
    assert len(entered(money)) == 3


def test_an_account_that_is_not_mapped_holds_the_event_whole_and_is_named() -> None:
    without = {role: code for role, code in ACCOUNTS.items() if role != "vat_output"}
    found = postings.refund_postings(
        refund(),
        Executor.LINNWORKS,
        None,
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
    found = postings.refund_postings(refund(), Executor.LINNWORKS, None, own, received=True)
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
    goods=st.integers(0, 10_000),
    shipping=st.integers(0, 1_000),
    fee=st.integers(0, 500),
    rate=st.sampled_from([0, 500, 2000]),
    shipping_rate=st.sampled_from([0, 500, 2000, 10_000]),
    cost=st.none() | st.integers(0, 5_000),
    received=st.booleans(),
    tender=st.sampled_from([RefundType.REFUND, RefundType.STORE_CREDIT, RefundType.EXCHANGE]),
)
def test_whatever_is_refunded_balances_and_no_line_is_zero_or_negative(
    goods: int,
    shipping: int,
    fee: int,
    rate: int,
    shipping_rate: int,
    cost: int | None,
    received: bool,  # noqa: FBT001
    tender: RefundType,
) -> None:
    fee = min(fee, goods + shipping)
    due = refund(
        goods_minor=goods,
        goods_vat_minor=goods * rate // (10_000 + rate),
        shipping_minor=shipping,
        shipping_vat_minor=shipping * shipping_rate // (10_000 + shipping_rate),
        fee_minor=fee,
        fee_vat_minor=fee * rate // (10_000 + rate),
        amount_minor=goods + shipping - fee,
        tax_rate_bp=rate,
        tender=tender,
    )
    lines = entered(of_refund(due, cost, received=received))
    sums = {s: sum(a for *_, side, a in lines if side == s) for s in ("debit", "credit")}
    assert sums["debit"] == sums["credit"]
    assert all(amount > 0 for *_, amount in lines)
