"""The shop exports the replacement itself: no second one leaves."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from returns_pipeline.sandbox.model import Order
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.dispatch.conftest import NOW, Account, order_id


def _export(
    account: Account, reference: str = "#1-EX", sku: str = "SKU-2", price: int = 0, **more: Any
) -> Order:
    """An order of the shop's own that names order 1 as the one it came of."""
    original = account.state.order(order_id(1))
    assert original is not None
    line = original.lines[int(sku[-1]) - 1]
    money = Decimal(price) / 100
    made = replace(
        original,
        id=account.state.guid(),
        num_id=5000 + len(account.state.made_orders),
        reference=reference,
        processed_at=None,
        received_at=NOW,
        last_updated=NOW,
        postage_cost=Decimal(0),
        lines=[
            replace(
                line,
                row_id=account.state.guid(),
                quantity=1,
                price_per_unit=money,
                line_total=money,
                discount=Decimal(0),
            )
        ],
        related_to="#1",
        is_exchange=True,
    )
    account.state.add_order(replace(made, **more))
    return made


@pytest.mark.parametrize("price", [0, 6500])
def test_its_order_is_the_replacement_when_it_is_exactly_what_is_due(
    account: Account, price: int
) -> None:
    account.exchange(price=price)
    theirs = _export(account, price=price)
    before = len(account.state.made_orders)

    account.replace()

    assert len(account.state.made_orders) == before
    found = account.state_of("unit-0001", t.exchange_orders)
    assert (found.state, found.new_order_id) == ("created", theirs.id)


@pytest.mark.parametrize(
    "theirs",
    [
        {"sku": "SKU-1"},
        {"price": 6500},
        {"price": 6500, "is_exchange": False},
    ],
    ids=["other goods", "another price", "the goods, not called an exchange"],
)
def test_what_may_be_the_replacement_is_held_for_a_person(
    account: Account, theirs: dict[str, Any]
) -> None:
    account.exchange()
    _export(account, **theirs)
    before = len(account.state.made_orders)

    account.replace()

    assert len(account.state.made_orders) == before
    found = account.state_of("unit-0001", t.exchange_orders)
    assert (found.state, found.note.partition(":")[0]) == ("held", "EXCHANGE_DUPLICATE")


@pytest.mark.parametrize(
    "theirs",
    [{"cancelled": True}, {"sku": "SKU-1", "is_exchange": False}],
    ids=["cancelled", "a resend of something else"],
)
def test_an_order_that_replaces_nothing_stops_nothing(
    account: Account, theirs: dict[str, Any]
) -> None:
    reference = account.exchange()
    _export(account, **theirs)

    account.replace()

    assert account.state.made_orders[-1].reference == reference
    assert account.state_of("unit-0001", t.exchange_orders).state == "created"


def test_one_order_of_the_shop_stands_for_one_unit(account: Account) -> None:
    account.exchange()
    second = account.exchange()
    theirs = _export(account)

    account.replace()

    found = [account.state_of(f"unit-000{n}", t.exchange_orders) for n in (1, 2)]
    assert [row.state for row in found] == ["created", "created"]
    assert found[0].new_order_id == theirs.id
    assert account.state.made_orders[-1].reference == second
