"""Refunds that others made in Linnworks: found in bulk, seen in detail where it matters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.clients.transport import VendorError
from returns_pipeline.dispatch import readings
from returns_pipeline.sandbox.linnworks.state import RefundRow
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.defs import seed
from returns_pipeline_tests.dispatch.conftest import NOW, Account, order_id, row_id

SEARCH, LOOK = "SearchReturnsRefundsPaged", "GetRefundHeadersByOrderId"


def _returned(account: Account, number: int = 1, line: int = 1, **item: Any) -> None:
    """An open unit of the order's line that is not back yet."""
    account.mirror(number)
    key = f"unit-{number}-{line}"
    with account.engine.begin() as connection:
        seed.unit(connection, key, **{"stage": "departed", "received_at": None, **item})
        seed.match(connection, key, order_id=order_id(number), row_id=row_id(number, line))


def _staff_refunds(account: Account, number: int = 1, amount: str = "20.00", **more: Any) -> None:
    account.staff(
        action="refund",
        order_reference=f"#{number}",
        row_id=row_id(number),
        amount=amount,
        **more,
    )


def _read(account: Account, **more: Any) -> dict[str, int]:
    """Read, and what it cost: the calls by method."""
    before = dict(account.calls)
    readings.read_refunds(
        account.engine,
        account.linnworks,
        now=account.clock.now(),
        overlap=timedelta(minutes=10),
        **more,
    )
    return {
        name: count - before.get(name, 0)
        for name, count in account.calls.items()
        if count > before.get(name, 0) and name in {SEARCH, LOOK}
    }


def _rows(account: Account) -> list[Mapping[str, Any]]:
    with account.engine.connect() as connection:
        query = sa.select(t.refund_readings).order_by(t.refund_readings.c.id)
        return [row._mapping for row in connection.execute(query)]


def _watermark(account: Account) -> datetime | None:
    with account.engine.connect() as connection:
        return records.watermark(connection, "linnworks.refunds")


def test_somebody_elses_refund_of_a_returned_line_is_seen_in_detail(account: Account) -> None:
    _returned(account)
    _staff_refunds(account)

    _read(account)

    [found] = _rows(account)
    assert found["row_id"] == row_id(1)
    assert (found["unit"], found["amount_minor"], found["currency"]) == ("Item", 2000, "GBP")
    assert (found["is_actioned"], found["actioned_at"]) == (True, NOW)
    assert not found["is_ours"]
    assert _watermark(account) == NOW


def test_a_steady_reading_costs_two_calls(account: Account) -> None:
    _returned(account)
    _staff_refunds(account)

    first, again = _read(account), _read(account)

    assert first == {SEARCH: 4, LOOK: 1}  # ninety days are two windows
    assert again == {SEARCH: 2}


def test_our_own_refunds_are_known_without_a_look(account: Account) -> None:
    _returned(account)
    account.owe()
    account.pay()

    cost = _read(account)

    assert LOOK not in cost
    assert [row["is_ours"] for row in _rows(account)] == [True]


def test_our_own_refund_whose_answer_was_lost_is_told_by_its_reference(account: Account) -> None:
    _returned(account)
    account.owe()
    account.fault("CreateRefund", "lost_after")
    account.pay()

    _read(account)

    assert [row["is_ours"] for row in _rows(account)] == [True]


def test_our_refund_read_before_its_answer_is_settled_needs_no_look_after(
    account: Account,
) -> None:
    account.owe()
    account.fault("CreateRefund", "lost_after")
    account.pay()
    _read(account)  # no unit of ours yet: not looked at
    assert [row["is_ours"] for row in _rows(account)] == [False]
    account.wait()
    account.pay()
    _returned(account)

    cost = _read(account)

    assert LOOK not in cost
    assert [row["is_ours"] for row in _rows(account)] == [True]


def test_a_refund_of_an_order_nobody_returns_is_looked_at_when_somebody_does(
    account: Account,
) -> None:
    _staff_refunds(account)
    assert LOOK not in _read(account)
    assert [row["row_id"] for row in _rows(account)] == [None]
    account.wait(timedelta(days=3))
    _returned(account)

    assert _read(account)[LOOK] == 1
    assert [row["row_id"] for row in _rows(account)] == [row_id(1)]


def test_every_page_is_read(account: Account) -> None:
    order = account.state.order(order_id(1))
    for _ in range(450):
        row = RefundRow(account.state.guid(), "Item", order.lines[0], None, Decimal("0.01"), 1)
        account.state.add_refund(order, [row])
    _returned(account)

    cost = _read(account)

    assert cost[LOOK] == 1
    rows = _rows(account)
    assert len(rows) == 450
    assert {(row["row_id"], row["amount_minor"]) for row in rows} == {(row_id(1), 1)}


def test_a_refund_made_first_and_sent_later_is_sent_without_another_look(
    account: Account,
) -> None:
    _returned(account)
    _staff_refunds(account, action_too=False)
    _read(account)
    assert [row["is_actioned"] for row in _rows(account)] == [False]
    account.wait(timedelta(days=2))
    [refund] = account.state.refunds.values()
    account.state.send(refund)

    cost = _read(account)

    assert LOOK not in cost
    [found] = _rows(account)
    assert (found["is_actioned"], found["actioned_at"]) == (True, account.clock.now())
    assert found["row_id"] == row_id(1)


def test_a_refund_that_was_deleted_before_it_was_sent_is_gone_when_looked_at_again(
    account: Account,
) -> None:
    _returned(account)
    _staff_refunds(account, action_too=False)
    _read(account)
    [refund] = account.state.refunds.values()
    refund.deleted = True

    _read(account)
    assert [row["is_deleted"] for row in _rows(account)] == [False]
    assert _read(account, recheck=True)[LOOK] == 1
    assert [row["is_deleted"] for row in _rows(account)] == [True]
    assert LOOK not in _read(account, recheck=True)


def test_shipping_has_no_order_row(account: Account) -> None:
    _returned(account)
    row = RefundRow(account.state.guid(), "Shipping", None, None, Decimal("4.95"), 0)
    account.state.add_refund(account.state.order(order_id(1)), [row])

    _read(account)

    [found] = _rows(account)
    assert (found["unit"], found["row_id"], found["amount_minor"]) == ("Shipping", None, 495)


def test_a_search_that_fails_stores_nothing_and_is_made_up_for(account: Account) -> None:
    _returned(account)
    _staff_refunds(account)
    account.fault(SEARCH, "http_500_before", times=9)

    with pytest.raises(VendorError):
        _read(account)
    assert _rows(account) == []
    assert _watermark(account) is None

    account.server.vendor.faults.clear()
    _read(account)
    assert len(_rows(account)) == 1


def test_a_look_that_fails_is_made_up_for_by_the_next_reading(account: Account) -> None:
    _returned(account)
    _staff_refunds(account)
    account.fault(LOOK, "http_500_before", times=9)
    with pytest.raises(VendorError):
        _read(account)
    account.server.vendor.faults.clear()
    account.wait(timedelta(hours=1))

    _read(account)

    assert [row["row_id"] for row in _rows(account)] == [row_id(1)]


def test_a_unit_given_up_is_open_again_when_its_money_has_left(account: Account) -> None:
    _returned(account, 1, is_open=False)
    _returned(account, 2, is_open=False)
    _staff_refunds(account, 1)
    _staff_refunds(account, 2, action_too=False)

    _read(account)

    assert account.state_of("unit-1-1", t.return_items).is_open
    assert not account.state_of("unit-2-1", t.return_items).is_open
