"""Staff exchanged the goods in Linnworks themselves: one replacement, whoever ordered it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from returns_pipeline.storage import tables as t
from returns_pipeline_tests.dispatch.conftest import RESTOCK, Account, row_id


def _book(account: Account, *, action_too: bool = False, sku: str = "SKU-2") -> None:
    line = {"row_id": row_id(1), "quantity": 1, "location": RESTOCK, "exchange_sku": sku}
    account.staff(action="book_rma", order_reference="#1", lines=[line], action_too=action_too)


@pytest.mark.parametrize(
    ("made", "action_too"), [("at_booking", False), ("at_booking", True), ("at_action", True)]
)
def test_the_order_that_staff_made_is_the_replacement(
    make_account: Callable[..., Account], made: str, *, action_too: bool
) -> None:
    account = make_account(exchange_order_made=made)
    account.exchange()
    _book(account, action_too=action_too)

    account.replace()

    [order] = account.state.made_orders
    found = account.state_of("unit-0001", t.exchange_orders)
    assert (found.state, found.new_order_id) == ("created", order.id)


@pytest.mark.parametrize(
    ("made", "sku", "price"),
    [("at_action", "SKU-2", 0), ("at_booking", "SKU-1", 0), ("at_booking", "SKU-2", 6500)],
    ids=["not made yet", "other goods", "for nothing"],
)
def test_what_does_not_fit_is_held_for_a_person_and_nothing_is_ordered(
    make_account: Callable[..., Account], made: str, sku: str, price: int
) -> None:
    account = make_account(exchange_order_made=made)
    account.exchange(price=price)
    _book(account, sku=sku)
    before = len(account.state.made_orders)

    account.replace()

    assert len(account.state.made_orders) == before
    found = account.state_of("unit-0001", t.exchange_orders)
    assert (found.state, found.note.partition(":")[0]) == ("held", "EXCHANGE_DUPLICATE")


@pytest.mark.parametrize("made", ["at_booking", "at_action"])
def test_a_booking_of_staff_that_we_action_is_waited_for(
    make_account: Callable[..., Account], made: str
) -> None:
    account = make_account(exchange_order_made=made)
    account.decide()
    account.exchange()
    _book(account)
    account.read_bookings()
    account.fault("ActionRMABooking", "http_500_before")

    for _ in range(3):
        account.restock()
        account.replace()
        account.wait()

    [order] = account.state.made_orders
    found = account.state_of("unit-0002", t.exchange_orders)
    assert (found.state, found.new_order_id) == ("created", order.id)


def test_one_exchange_by_staff_stands_for_one_unit(make_account: Callable[..., Account]) -> None:
    account = make_account(exchange_order_made="at_booking")
    account.exchange()
    account.exchange()
    _book(account)

    for _ in range(2):
        account.replace()
        account.wait()

    found = [account.state_of(f"unit-000{n}", t.exchange_orders) for n in (1, 2)]
    assert [row.state for row in found] == ["created", "created"]
    assert len({row.new_order_id for row in found}) == 2
