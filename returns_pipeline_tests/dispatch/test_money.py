"""Refunds and replacements: money leaves once, a replacement is ordered once."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from returns_pipeline.storage import tables as t
from returns_pipeline_tests.dispatch.conftest import Account, row_id
from returns_pipeline_tests.dispatch.test_restocks import FATES

CREATE, ACTION, ORDER = "CreateRefund", "ActionRefund", "CreateOrders"


def test_the_refunds_of_an_order_are_sent_as_one_to_the_penny(account: Account) -> None:
    account.owe(goods=1999, shipping=495, fee=300)
    account.owe(line=2, goods=2000)

    account.pay()

    assert account.sent() == 1999 + 495 - 300 + 2000
    assert account.calls[CREATE] == account.calls[ACTION] == 1
    assert account.state_of("unit-0001", t.refunds_due).state == "actioned"


def test_a_fee_above_the_goods_is_taken_from_the_shipping(account: Account) -> None:
    account.owe(goods=100, shipping=495, fee=300)

    account.pay()

    assert account.sent() == 295


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("method", [CREATE, ACTION])
def test_money_whose_answer_was_lost_is_sent_once(account: Account, method: str, fate: str) -> None:
    account.owe()
    account.fault(method, fate)

    for _ in range(3):
        account.pay()
        account.wait()

    assert account.sent() == 2000
    assert len(account.books()["refunds"]) == 1
    assert account.state_of("unit-0001", t.refunds_due).state == "actioned"
    assert account.left() == {}


def test_money_somebody_else_sent_for_the_line_stops_ours(account: Account) -> None:
    account.owe()
    account.staff(action="refund", order_reference="#1", row_id=row_id(1), amount="20.00")
    before = account.sent()

    account.pay()

    assert account.sent() == before
    held = account.state_of("unit-0001", t.refunds_due)
    assert held.state == "held"
    assert held.note.startswith("REFUND_DOUBLE_SUSPECTED:")


def test_a_refund_for_another_line_stops_nothing(account: Account) -> None:
    account.owe()
    account.staff(action="refund", order_reference="#1", row_id=row_id(1, 2), amount="20.00")
    before = account.sent()

    account.pay()

    assert account.sent() == before + 2000


def test_our_own_earlier_refund_of_the_line_stops_nothing(account: Account) -> None:
    account.owe()
    account.pay()
    account.owe()

    account.pay()

    assert account.sent() == 4000


def test_a_refused_refund_is_named_and_the_others_go_on(account: Account) -> None:
    account.owe(1, goods=6001)
    account.owe(2)

    account.pay()

    refused = account.state_of("unit-0001", t.refunds_due)
    assert refused.state == "refused"
    assert "exceeds" in refused.note
    assert account.sent(2) == 2000


def test_a_refund_staff_actioned_before_us_is_not_sent_again(
    make_account: Callable[..., Account],
) -> None:
    account = make_account(second_refund_action="pays_again")
    account.owe()
    account.fault(ACTION, "lost_before")
    account.pay()
    [refund] = account.state.refunds.values()
    refund.times_sent += 1
    for row in refund.rows:
        row.actioned_at = account.clock.now()
    account.wait()

    account.pay()

    assert account.sent() == 2000
    assert account.state_of("unit-0001", t.refunds_due).state == "actioned"


# --- replacements -----------------------------------------------------------------


def _orders(account: Account) -> list[object]:
    return account.books()["orders_made"]


def test_an_even_replacement_is_ordered_at_no_price_and_related(account: Account) -> None:
    reference = account.exchange()

    account.replace()

    [made] = account.books()["orders_made"]
    assert (made["reference"], made["related_to"]) == (reference, "#1")
    assert [[*line[:2], Decimal(line[2])] for line in made["lines"]] == [["SKU-2", 1, Decimal(0)]]
    assert account.state_of("unit-0001", t.exchange_orders).state == "created"


def test_an_uneven_replacement_keeps_its_price(account: Account) -> None:
    account.exchange(price=6500)

    account.replace()

    [made] = account.books()["orders_made"]
    assert Decimal(made["lines"][0][2]) == Decimal("65.00")


@pytest.mark.parametrize("repeat", ["empty", "same_id"])
@pytest.mark.parametrize("fate", FATES)
def test_a_replacement_whose_answer_was_lost_is_ordered_once(
    make_account: Callable[..., Account], fate: str, repeat: str
) -> None:
    account = make_account(create_orders_repeat=repeat)
    account.exchange()
    account.fault(ORDER, fate)

    for _ in range(3):
        account.replace()
        account.wait()

    assert len(_orders(account)) == 1
    found = account.state_of("unit-0001", t.exchange_orders)
    assert (found.state, found.new_order_id) == ("created", account.state.made_orders[0].id)


def test_the_shoppers_address_reaches_linnworks_and_stays_out_of_our_record(
    account: Account,
) -> None:
    account.exchange()

    account.replace()

    assert account.state.made_orders[0].buyer_name == "Canary Person"
    with account.engine.connect() as connection:
        for table in (t.intents, t.attempts, t.exchange_orders):
            text = repr(connection.execute(table.select()).all())
            assert "canary" not in text.lower()
