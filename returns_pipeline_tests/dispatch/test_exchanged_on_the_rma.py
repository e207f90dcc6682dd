"""The other way: the RMA of the return makes the replacement, and says which order it is."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from returns_pipeline.storage import tables as t
from returns_pipeline_tests.dispatch.conftest import RESTOCK, Account, row_id
from returns_pipeline_tests.dispatch.test_exchanged_by_the_shop import _export

BOOK, ACTION = "CreateRMABooking", "ActionRMABooking"
LOST = ("lost_before", "lost_after", "cut_body", "http_500_before", "http_500_after")


def _due(account: Account, **more: Any) -> str:
    """An exchange whose original is back and not restocked yet; gives its reference."""
    reference = account.exchange(**more)
    account.decide(of=f"unit-{account.units:04d}")
    return reference


def _tick(account: Account, times: int = 1) -> None:
    for _ in range(times):
        account.restock()
        account.replace()
        account.wait()


def _replacement(account: Account, unit: str = "unit-0001") -> tuple[str, str | None]:
    row = account.state_of(unit, t.exchange_orders)
    return row.state, row.new_order_id


@pytest.mark.parametrize("made", ["at_booking", "at_action"])
def test_it_is_made_and_linked_by_the_rma_at_no_price(
    make_account: Callable[..., Account], made: str
) -> None:
    account = make_account(exchange_order_made=made).by_rma()
    _due(account)

    _tick(account, 2)

    [order] = account.state.made_orders
    assert _replacement(account) == ("created", order.id)
    assert (order.related_to, order.lines[0].sku, order.lines[0].line_total) == ("#1", "SKU-2", 0)
    assert account.restocked() == {(row_id(1), RESTOCK): 1}
    assert account.calls["CreateOrders"] == 0


@pytest.mark.parametrize("made", ["at_booking", "at_action"])
@pytest.mark.parametrize("fate", LOST)
@pytest.mark.parametrize("method", [BOOK, ACTION])
def test_whose_answer_was_lost_is_made_once(
    make_account: Callable[..., Account], method: str, fate: str, made: str
) -> None:
    account = make_account(exchange_order_made=made).by_rma()
    _due(account)
    account.fault(method, fate)

    _tick(account, 4)

    assert _replacement(account) == ("created", account.state.made_orders[-1].id)
    assert len(account.state.made_orders) == 1
    assert account.restocked() == {(row_id(1), RESTOCK): 1}


def test_each_unit_has_an_order_of_its_own(account: Account) -> None:
    account.by_rma()
    _due(account)
    _due(account)

    _tick(account)

    ids = {order.id for order in account.state.made_orders}
    assert {_replacement(account, f"unit-000{n}")[1] for n in (1, 2)} == ids
    assert len(ids) == 2
    assert account.restocked() == {(row_id(1), RESTOCK): 2}


def test_one_with_a_price_is_never_made_by_the_rma(account: Account) -> None:
    account.by_rma()
    reference = _due(account, price=6500)

    _tick(account)

    [made] = account.books()["orders_made"]
    assert (made["reference"], Decimal(made["lines"][0][2])) == (reference, Decimal("65.00"))
    assert account.restocked() == {(row_id(1), RESTOCK): 1}


def test_one_whose_goods_are_restocked_already_is_ordered_by_itself(account: Account) -> None:
    account.decide()
    account.restock()
    account.by_rma()
    reference = account.exchange()

    _tick(account)

    assert [order.reference for order in account.state.made_orders] == [reference]


def test_what_the_shop_has_sent_is_not_made_again_by_the_rma(account: Account) -> None:
    account.by_rma()
    _due(account)
    theirs = _export(account)

    _tick(account)

    assert len(account.state.made_orders) == 1
    assert _replacement(account) == ("created", theirs.id)
    assert account.restocked() == {(row_id(1), RESTOCK): 1}


@pytest.mark.parametrize(("sku", "ends"), [("SKU-2", "created"), ("SKU-1", "held")])
def test_staff_who_booked_the_exchange_first_have_made_it(
    account: Account, sku: str, ends: str
) -> None:
    account.by_rma()
    _due(account)
    line = {"row_id": row_id(1), "quantity": 1, "location": RESTOCK, "exchange_sku": sku}
    account.staff(action="book_rma", order_reference="#1", lines=[line])
    account.read_bookings()

    _tick(account, 3)

    [order] = account.state.made_orders
    assert _replacement(account) == (ends, order.id if ends == "created" else None)
    assert account.restocked() == {(row_id(1), RESTOCK): 1}


def test_staff_who_booked_a_plain_return_leave_the_replacement_to_us(account: Account) -> None:
    account.by_rma()
    reference = _due(account)
    line = {"row_id": row_id(1), "quantity": 1, "location": RESTOCK}
    account.staff(action="book_rma", order_reference="#1", lines=[line])
    account.read_bookings()

    _tick(account, 2)

    assert [order.reference for order in account.state.made_orders] == [reference]
    assert _replacement(account)[0] == "created"
    assert account.restocked() == {(row_id(1), RESTOCK): 1}


def test_one_whose_rma_is_refused_is_held_and_ordered_in_no_other_way(account: Account) -> None:
    account.by_rma()
    _due(account)
    account.staff(action="cancel_order", order_reference="#1")

    _tick(account, 2)

    assert account.state.made_orders == []
    found = account.state_of("unit-0001", t.exchange_orders)
    assert (found.state, found.note.partition(":")[0]) == ("held", "EXCHANGE_ORDER_MISSING")
