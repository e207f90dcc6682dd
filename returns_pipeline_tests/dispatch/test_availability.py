"""A replacement is ordered when there is such an item, and enough of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from returns_pipeline.dispatch import availability
from returns_pipeline.domain.policy import ExchangePolicy
from returns_pipeline.sandbox.model import DEFAULT_LOCATION
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.dispatch.conftest import Account


def _tick(account: Account) -> dict[str, int]:
    waiting = availability.look(account.engine, account.linnworks, account.policy)
    account.replace()
    account.wait()
    return waiting


def _stock(account: Account, units: int, sku: str = "SKU-2") -> None:
    account.state.levels[sku, DEFAULT_LOCATION] = units


def _standing(account: Account, *units: int) -> list[tuple[str, str]]:
    rows = [account.state_of(f"unit-{n:04d}", t.exchange_orders) for n in units]
    return [(row.state, row.note.partition(":")[0]) for row in rows]


@pytest.fixture
def shop(account: Account) -> Account:
    """An account whose locations are in our mirror, as after a first sync."""
    account.by_rma()
    account.policy = replace(account.policy, exchange=ExchangePolicy())
    return account


def test_it_waits_for_stock_and_is_ordered_when_there_is_some(shop: Account) -> None:
    shop.exchange()

    waiting = _tick(shop)

    assert (waiting, shop.state.made_orders) == ({"out_of_stock": 1}, [])
    assert _standing(shop, 1) == [("ready", "EXCHANGE_OOS")]

    _stock(shop, 1)
    assert _tick(shop) == {}
    assert _standing(shop, 1) == [("created", "")]


def test_the_last_one_goes_to_who_came_first_and_an_open_order_holds_it(shop: Account) -> None:
    _stock(shop, 1)
    shop.exchange(1)
    shop.exchange(2)

    _tick(shop)
    _tick(shop)

    assert _standing(shop, 1, 2) == [("created", ""), ("ready", "EXCHANGE_OOS")]


def test_one_that_linnworks_does_not_know_is_never_ordered(shop: Account) -> None:
    shop.exchange(sku="SKU-9")

    assert _tick(shop) == {"no_such_item": 1}
    assert _standing(shop, 1) == [("ready", "SKU_UNKNOWN")]
    assert shop.calls["CreateOrders"] == 0


def test_a_bundle_is_there_as_often_as_its_parts_are(shop: Account) -> None:
    item = shop.state.world.stock_items["SKU-2"]
    item.children = (("SKU-1", 2),)
    _stock(shop, 3, "SKU-1")
    shop.exchange(1)
    shop.exchange(2)

    _tick(shop)

    assert _standing(shop, 1, 2) == [("created", ""), ("ready", "EXCHANGE_OOS")]


def test_where_the_policy_does_not_ask_for_stock_it_is_ordered_all_the_same(shop: Account) -> None:
    shop.policy = replace(shop.policy, exchange=ExchangePolicy(check_stock=False))
    shop.exchange()

    _tick(shop)

    assert _standing(shop, 1) == [("created", "")]


def test_one_out_of_stock_is_not_put_on_the_rma_either(shop: Account) -> None:
    shop.by_rma()
    shop.exchange()
    shop.decide(of="unit-0001")
    availability.look(shop.engine, shop.linnworks, shop.policy)

    shop.restock()

    assert shop.state.made_orders == []
    assert _standing(shop, 1) == [("ready", "EXCHANGE_OOS")]
    assert shop.state_of("unit-0001").state == "posted"
