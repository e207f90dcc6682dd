"""The replacement: priced, unless it is known to be even."""

import pytest

from returns_pipeline.domain import exchanges
from returns_pipeline.domain.model import Cleared, ExchangeOrder, Held, RefundType
from returns_pipeline_tests.domain import build
from returns_pipeline_tests.domain.build import ROW, ROW2, T0, line, matched, order, policy


def ask(**values: object) -> ExchangeOrder | Held:
    given = {"refund_type": RefundType.EXCHANGE, "exchange_sku": "SHIRT-L", "exchange_quantity": 1}
    unit = build.received(**{**given, **values})
    return exchanges.exchange_order(unit, matched(), order(), Cleared(T0), policy())


def test_an_even_exchange_is_ordered_at_zero() -> None:
    found = ask(exchange_unit_price_minor=6000)
    assert isinstance(found, ExchangeOrder)
    assert (found.even, found.unit_price_minor, found.sku, found.quantity) == (
        True,
        0,
        "SHIRT-L",
        1,
    )


@pytest.mark.parametrize("price", [1, 5999, 6001, 8000])
def test_an_uneven_exchange_is_ordered_at_its_price(price: int) -> None:
    found = ask(exchange_unit_price_minor=price)
    assert isinstance(found, ExchangeOrder)
    assert (found.even, found.unit_price_minor, found.currency) == (False, price, "GBP")


def test_two_for_one_is_even_by_their_sum() -> None:
    even = ask(exchange_quantity=2, exchange_unit_price_minor=3000)
    uneven = ask(exchange_quantity=2, exchange_unit_price_minor=6000)
    assert isinstance(even, ExchangeOrder)
    assert isinstance(uneven, ExchangeOrder)
    assert (even.even, even.quantity) == (True, 2)
    assert (uneven.even, uneven.unit_price_minor) == (False, 6000)


def test_without_a_price_only_the_very_same_article_is_even() -> None:
    same = ask(exchange_sku="shirt-m")
    assert isinstance(same, ExchangeOrder)
    assert same.even


@pytest.mark.parametrize(
    "values",
    [
        {"exchange_sku": "SHIRT-L"},
        {"exchange_sku": "SHIRT-M", "exchange_quantity": 2},
        {"exchange_sku": "SHIRT-L", "exchange_unit_price_minor": 0},
    ],
    ids=["another size without a price", "two for one without a price", "a price of nothing"],
)
def test_nothing_is_free_by_accident(values: dict[str, object]) -> None:
    found = ask(**values)
    assert isinstance(found, Held)
    assert found.exception == "EXCHANGE_UNEVEN_ZERO_VALUE"


def test_a_price_in_another_currency_is_compared_with_nothing() -> None:
    found = ask(exchange_unit_price_minor=6000, currency="EUR")
    assert isinstance(found, Held)
    assert found.exception == "EXCHANGE_UNEVEN_ZERO_VALUE"


def test_an_exchange_for_nothing_named_is_a_task() -> None:
    found = ask(exchange_sku="")
    assert isinstance(found, Held)
    assert found.exception == "EXCHANGE_ORDER_MISSING"


def test_even_means_what_the_unit_cost_not_what_the_line_cost() -> None:
    goods = order(line(quantity=3, total_minor=5997))
    unit = build.received(
        refund_type=RefundType.EXCHANGE, exchange_sku="SHIRT-L", exchange_unit_price_minor=1999
    )
    found = exchanges.exchange_order(unit, matched(), goods, Cleared(T0), policy())
    assert isinstance(found, ExchangeOrder)
    assert found.even


def part_of_a_bundle(**values: object) -> ExchangeOrder | Held:
    goods = order(
        line(ROW, sku="SET", total_minor=9000),
        line(ROW2, sku="CUP", total_minor=0, vat_minor=0, parent_row_id=ROW),
    )
    unit = build.received(refund_type=RefundType.EXCHANGE, **values)
    match = matched(row_id=ROW2)
    return exchanges.exchange_order(unit, match, goods, Cleared(T0), policy())


@pytest.mark.parametrize("price", [0, 2000])
def test_a_part_of_a_bundle_has_nothing_a_price_could_be_compared_with(price: int) -> None:
    found = part_of_a_bundle(exchange_sku="BOWL", exchange_unit_price_minor=price)
    assert isinstance(found, Held)
    assert found.exception == "KIT_INCOMPLETE"


def test_a_part_of_a_bundle_may_be_replaced_by_its_like() -> None:
    found = part_of_a_bundle(exchange_sku="CUP")
    assert isinstance(found, ExchangeOrder)
    assert (found.even, found.unit_price_minor) == (True, 0)


def test_the_reference_is_the_units_own_and_always_the_same() -> None:
    one, again = ask(exchange_unit_price_minor=6000), ask(exchange_unit_price_minor=6000)
    other = exchanges.exchange_order(
        build.received(
            "u2", refund_type=RefundType.EXCHANGE, exchange_sku="X", exchange_unit_price_minor=1
        ),
        matched("u2"),
        order(),
        Cleared(T0),
        policy(),
    )
    assert isinstance(one, ExchangeOrder)
    assert isinstance(other, ExchangeOrder)
    assert one == again
    assert one.reference != other.reference
    assert one.reference.startswith("1001-EX-")
