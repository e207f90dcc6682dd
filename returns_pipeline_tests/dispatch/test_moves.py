"""Moves: a unit at the wrong location goes to the right one once, whatever is lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from returns_pipeline.dispatch import intend, kinds
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.dispatch.conftest import (
    DAMAGED,
    NOW,
    RESTOCK,
    Account,
    order_id,
    row_id,
)

CHANGE = "UpdateStockLevelsBySKU"
HISTORY = "GetItemChangesHistory"
# Every way a call can end other than with its answer.
FATES = (
    *("lost_before", "lost_after", "reset", "cut_body", "garbage", "empty"),
    *("http_500_before", "http_500_after", "http_429", "http_401", "redirect_307"),
)


def restocked_at_the_wrong_place(
    account: Account, *, scrap: bool = False, was_scrapped: bool = False
) -> str:
    """A unit that stands among the damaged and is to stand among the saleable; gives its key."""
    unit = account.decide(1, 1, DAMAGED, scrap=was_scrapped)
    account.restock()
    with account.engine.begin() as connection:
        connection.execute(
            sa.insert(t.stock_adjustments).values(
                adjustment_key=f"{unit}:move:1",
                unit_key=unit,
                kind="move",
                order_id=order_id(1),
                row_id=row_id(1, 1),
                sku="SKU-1",
                location_id=RESTOCK,
                from_location_id=DAMAGED,
                quantity=1,
                scrap_quantity=int(scrap),
                is_sellable=True,
                role="inventory.sellable",
                state="ready",
                note="WRONG_LOCATION: maria decided",
                policy_hash="p",
                created_at=NOW,
            )
        )
    return unit


def move(account: Account) -> None:
    """Intend and drive, as one run does."""
    intend.intend_moves(account.engine, now=account.clock.now())
    account.drive(kinds.MOVE)


def moved(account: Account, unit: str) -> tuple[str, str]:
    """How far the unit's move is, and what is noted of it."""
    columns = t.stock_adjustments.c
    query = sa.select(columns.state, columns.note).where(
        columns.unit_key == unit, columns.kind == "move"
    )
    with account.engine.connect() as connection:
        return tuple(connection.execute(query).one())


def levels(account: Account) -> tuple[int, int]:
    """What Linnworks counts among the damaged and among the saleable."""
    return account.state.levels["SKU-1", DAMAGED], account.state.levels["SKU-1", RESTOCK]


def staff(account: Account, units: int, here: str = DAMAGED, there: str = RESTOCK) -> None:
    account.server.vendor.staff(
        {"action": "move", "sku": "SKU-1", "quantity": units, "from": here, "to": there}
    )


def test_a_unit_is_moved_in_one_call_and_seen_to_have_moved(account: Account) -> None:
    unit = restocked_at_the_wrong_place(account)

    move(account)
    move(account)

    assert levels(account) == (0, 1)
    assert account.calls[CHANGE] == 1
    assert moved(account, unit) == ("posted", "")


@pytest.mark.parametrize("fate", FATES)
def test_a_lost_answer_is_settled_by_the_history(account: Account, fate: str) -> None:
    unit = restocked_at_the_wrong_place(account)
    account.fault(CHANGE, fate)

    move(account)
    account.wait()
    move(account)
    account.wait()
    move(account)

    assert levels(account) == (0, 1)
    assert moved(account, unit)[0] == "posted"


def test_a_move_that_cannot_be_seen_at_once_is_not_repeated(account: Account) -> None:
    unit = restocked_at_the_wrong_place(account)
    account.fault(HISTORY, "http_500_before", times=6)

    move(account)
    account.server.vendor.faults.clear()
    account.wait()
    move(account)
    account.wait()
    move(account)

    assert levels(account) == (0, 1)
    assert moved(account, unit)[0] == "posted"


@pytest.mark.parametrize("fate", ["lost_after", "lost_before"])
def test_without_our_mark_in_the_history_a_lost_answer_moves_nothing_twice(
    make_account: Callable[..., Account], fate: str
) -> None:
    account = make_account(change_source_in_note=False)
    unit = restocked_at_the_wrong_place(account)
    account.fault(CHANGE, fate)

    move(account)
    account.wait()
    move(account)

    assert levels(account)[1] <= 1
    if fate == "lost_after":
        state, note = moved(account, unit)
        assert (state, levels(account)) == ("held", (0, 1))
        assert "without our mark" in note


def test_what_staff_have_moved_by_hand_is_not_moved_again(account: Account) -> None:
    unit = restocked_at_the_wrong_place(account)
    account.clock.set(NOW + timedelta(minutes=5))
    staff(account, 1)

    move(account)

    assert levels(account) == (0, 1)
    assert account.calls[CHANGE] == 0
    assert moved(account, unit) == ("posted", "")


def test_one_transfer_by_hand_is_the_proof_of_no_more_units_than_it_had(account: Account) -> None:
    restocked_at_the_wrong_place(account)
    restocked_at_the_wrong_place(account)
    account.clock.set(NOW + timedelta(minutes=5))
    staff(account, 1)

    move(account)

    assert levels(account) == (0, 2)
    assert account.calls[CHANGE] == 1


def test_a_unit_that_is_not_there_any_more_is_a_persons(account: Account) -> None:
    unit = restocked_at_the_wrong_place(account)
    account.state.move("SKU-1", DAMAGED, -1, "Sold by hand", NOW)

    move(account)

    assert account.calls[CHANGE] == 0
    state, note = moved(account, unit)
    assert state == "held"
    assert note == "WRONG_LOCATION: Linnworks has no SKU-1 left where it is to be taken from"


def test_a_level_that_was_emptied_meanwhile_leaves_half_a_move_to_a_person(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = restocked_at_the_wrong_place(account)
    send = account.linnworks.change_stock_levels

    def sold_first(*args: object, **more: object) -> object:
        account.state.move("SKU-1", DAMAGED, -1, "Sold", NOW)
        return send(*args, **more)

    monkeypatch.setattr(account.linnworks, "change_stock_levels", sold_first)
    move(account)
    account.wait()
    move(account)

    assert account.calls[CHANGE] == 1
    state, note = moved(account, unit)
    assert state == "held"
    assert "not the move that was asked for" in note


def test_what_is_to_be_scrapped_is_only_taken_out(account: Account) -> None:
    unit = restocked_at_the_wrong_place(account, scrap=True)

    move(account)

    assert levels(account) == (0, 0)
    assert moved(account, unit)[0] == "posted"


def test_what_was_scrapped_and_is_to_be_sold_is_only_put_in(account: Account) -> None:
    unit = restocked_at_the_wrong_place(account, was_scrapped=True)

    move(account)

    assert levels(account) == (0, 1)
    assert moved(account, unit)[0] == "posted"


def test_moves_of_one_item_wait_for_one_that_nobody_knows(account: Account) -> None:
    restocked_at_the_wrong_place(account)
    restocked_at_the_wrong_place(account)
    account.fault(CHANGE, "lost_before")

    move(account)

    assert account.calls[CHANGE] == 1
    account.wait()
    move(account)
    assert levels(account) == (0, 2)
