"""Reading both vendors back: each difference is raised with its amount, and closes when mended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.domain.decisions import Kind
from returns_pipeline.sandbox import cases
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.steps import account, control, queue
from returns_pipeline.steps.queue import Person
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.end_to_end.shop import Shop, policy

STARTS = datetime(2026, 3, 9, tzinfo=UTC)
LATER = STARTS + timedelta(days=8)
MARIA = Person("maria")

MakeShop = Callable[..., Shop]


@pytest.fixture
def shop_of(sqlite_url: str, tmp_path: Path) -> Iterator[MakeShop]:
    """A shop in which one case has happened, synchronised to its end."""
    with ExitStack() as stack:

        def make(case: str) -> Shop:
            sandbox = stack.enter_context(Sandbox(cases.build(case, STARTS), now=STARTS))
            shop = Shop(sandbox, sqlite_url, {"RETURNS_POLICY": policy(tmp_path)})
            shop.sync(STARTS + timedelta(days=4, hours=12))
            shop.sync(LATER)
            return shop

        yield make


def told(shop: Shop) -> dict[str, dict[str, Any]]:
    """The open exceptions by code."""
    columns = t.exceptions.c
    query = sa.select(t.exceptions).where(columns.status.in_(("open", "ack", "snoozed")))
    return {row["code"]: row for row in shop.rows(query)}


def closed(shop: Shop, code: str) -> tuple[str, str]:
    columns = t.exceptions.c
    query = sa.select(columns.status, columns.resolver).where(columns.code == code)
    (row,) = shop.rows(query)
    return row["status"], row["resolver"]


def decide(shop: Shop, code: str, kind: Kind, now: datetime) -> None:
    engine = connect(shop.url)
    try:
        (task,) = queue.tasks(engine, queue.Wanted(code=code), now=now)
        queue.resolve(
            engine, task, MARIA, now=now, policy=shop.settings(now).policy, reason="seen", kind=kind
        )
    finally:
        engine.dispose()


def staff(shop: Shop, action: str, **more: Any) -> dict[str, Any]:
    return shop.sandbox.linnworks_server.vendor.staff({"action": action, **more})


def later(minutes: int) -> datetime:
    return LATER + timedelta(minutes=minutes)


def levels(shop: Shop, sku: str) -> dict[str, int]:
    names = {place.id: place.name for place in shop.sandbox.world.locations}
    found = shop.sandbox.linnworks.levels.items()
    opening = shop.sandbox.world.opening_stock
    return {
        names[place]: n - opening.get((item, place), 0)
        for (item, place), n in found
        if item == sku and n != opening.get((item, place), 0)
    }


@pytest.mark.parametrize(
    ("case", "code", "sku", "there"),
    [
        ("wrong_location_after_the_fact", "WRONG_LOCATION", "SHOE-BLK-42", "HR Refurb"),
        ("damaged_among_saleable", "CO_MINGLED_STOCK", "SHOE-BLK-41", "HR Restock"),
    ],
)
def test_what_staff_led_elsewhere_is_found_and_moved_back_on_request(
    shop_of: MakeShop, case: str, code: str, sku: str, there: str
) -> None:
    shop = shop_of(case)
    shop.close_open_days(date(2026, 3, 16), LATER)
    shop.reconcile(LATER)
    assert told(shop)[code]["amount_minor"] > 0
    assert json.loads(told(shop)[code]["return_ids"]) != []
    assert levels(shop, sku) == {there: 1}

    decide(shop, code, Kind.MOVE, later(5))
    shop.sync(later(10))
    shop.reconcile(later(15))

    assert levels(shop, sku) == {"HR Damaged": 1}
    assert told(shop) == {}
    assert closed(shop, code) == ("resolved", "maria")
    assert shop.rows(sa.select(t.decision_outcomes.c.outcome)) == [{"outcome": "carried_out"}]
    assert shop.rows(sa.select(t.return_items.c.is_open)) == [{"is_open": False}]


@pytest.mark.parametrize(
    ("case", "code", "sku", "there"),
    [
        ("wrong_location_after_the_fact", "WRONG_LOCATION", "SHOE-BLK-42", "HR Refurb"),
        ("damaged_among_saleable", "CO_MINGLED_STOCK", "SHOE-BLK-41", "HR Restock"),
    ],
)
def test_a_transfer_by_hand_that_puts_it_right_closes_it(
    shop_of: MakeShop, case: str, code: str, sku: str, there: str
) -> None:
    shop = shop_of(case)
    shop.reconcile(LATER)
    assert code in told(shop)

    shop.sandbox.clock.set(later(5))
    staff(shop, "move", sku=sku, quantity=1, **{"from": there, "to": "HR Damaged"})
    shop.reconcile(later(10))

    assert code not in told(shop)
    assert closed(shop, code) == ("auto_resolved", "")


def test_a_transfer_by_hand_makes_the_move_that_a_new_condition_asks_for(
    shop_of: MakeShop,
) -> None:
    shop = shop_of("disposition_changed")
    (move,) = shop.rows(sa.select(t.stock_adjustments).where(t.stock_adjustments.c.kind == "move"))
    assert (move["state"], "WRONG_LOCATION" in told(shop)) == ("held", True)
    shop.sandbox.clock.set(later(5))
    staff(
        shop,
        "move",
        sku=move["sku"],
        quantity=1,
        **{"from": move["from_location_id"], "to": move["location_id"]},
    )

    counts = shop.reconcile(later(10))
    shop.sync(later(15))
    shop.close_open_days(date(2026, 3, 16), later(15))

    assert counts["moved_by_hand"] == 1
    assert told(shop) == {}
    (move,) = shop.rows(sa.select(t.stock_adjustments).where(t.stock_adjustments.c.kind == "move"))
    assert move["posted_at"] == later(5)
    calls = shop.sandbox.linnworks_server.vendor.calls
    assert calls["UpdateStockLevelsBySKU"] == 0


def test_a_return_by_staff_that_nobody_here_knows_is_told_until_its_return_is_known(
    shop_of: MakeShop,
) -> None:
    shop = shop_of("premature_refund")
    (order,) = shop.sandbox.world.orders
    line = order.lines[0]
    lines = [{"row_id": line.row_id, "quantity": 1, "location": "HR Restock"}]
    staff(shop, "book_rma", order_reference=order.reference, lines=lines, action_too=True)

    shop.reconcile(later(5))

    (task,) = [row for code, row in told(shop).items() if code == "LINNWORKS_CANNOT_RETURN"]
    assert task["owner"] == "Operations"
    assert task["amount_minor"] > 0


def test_a_refund_beside_ours_is_suspected_until_it_is_gone(shop_of: MakeShop) -> None:
    shop = shop_of("received_saleable")
    shop.close_open_days(date(2026, 3, 16), LATER)
    (order,) = shop.sandbox.world.orders
    shop.sandbox.clock.set(later(5))
    made = staff(
        shop,
        "refund",
        order_reference=order.reference,
        row_id=order.lines[0].row_id,
        amount="5.00",
    )

    shop.reconcile(later(10))
    task = told(shop)["REFUND_DOUBLE_SUSPECTED"]
    assert (task["owner"], task["amount_minor"]) == ("Finance", 500)

    shop.sandbox.linnworks.refunds[made["header_id"]].deleted = True
    shop.reconcile(later(20))
    assert told(shop) == {}


def test_totals_of_a_batch_are_compared_with_linnworks_and_happy_returns(
    shop_of: MakeShop,
) -> None:
    shop = shop_of("received_saleable")
    shop.close_open_days(date(2026, 3, 16), LATER)
    shop.reconcile(later(5))
    assert told(shop) == {}
    (refund,) = shop.sandbox.linnworks.refunds.values()
    before = refund.rows[0].amount
    refund.rows[0].amount = before + 1

    shop.reconcile(later(10))
    task = told(shop)["CONTROL_TOTAL_MISMATCH"]
    assert (task["owner"], task["amount_minor"]) == ("Finance", 100)

    refund.rows[0].amount = before
    shop.reconcile(later(20))
    assert told(shop) == {}


def test_returns_that_the_history_does_not_show_are_a_drift_with_their_cost(
    shop_of: MakeShop,
) -> None:
    shop = shop_of("two_returns_of_one_line")
    shop.reconcile(LATER)
    before = told(shop)
    state = shop.sandbox.linnworks
    # Another return of the item is actioned, and somebody else's hand undoes its row.
    (order, *_) = [one for one in shop.sandbox.world.orders if one.lines]
    place = state.location_id("HR Restock")
    shop.sandbox.clock.set(later(5))
    lines = [{"row_id": order.lines[0].row_id, "quantity": 1, "location": "HR Restock"}]
    staff(shop, "book_rma", order_reference=order.reference, lines=lines, action_too=True)
    sku = order.lines[0].sku
    state._moves[sku, place].pop()
    state.levels[sku, place] -= 1

    shop.reconcile(later(10))
    drifts = [
        row
        for row in shop.rows(sa.select(t.exceptions).where(t.exceptions.c.code == "STOCK_DRIFT"))
        if "level:" in row["key"]
    ]
    assert "STOCK_DRIFT" not in before
    assert [row["amount_minor"] > 0 for row in drifts] == [True]


def test_how_many_calls_it_took_is_kept(shop_of: MakeShop) -> None:
    shop = shop_of("received_saleable")

    counts = shop.reconcile(later(5))
    again = shop.reconcile(later(10))

    (first, second) = shop.rows(sa.select(t.reconciliations).order_by(t.reconciliations.c.id))
    assert first["calls"] == counts["vendor_calls"] > 0
    assert json.loads(second["figures"])["orders_compared"] == again["orders_compared"]
    assert again["histories"] == 0


def test_a_sync_neither_opens_nor_closes_what_reading_back_told(shop_of: MakeShop) -> None:
    shop = shop_of("wrong_location_after_the_fact")
    shop.reconcile(LATER)

    shop.sync(later(5))

    assert "WRONG_LOCATION" in told(shop)
    assert told(shop)["WRONG_LOCATION"]["key"].startswith(control.RECONCILED_PREFIX)


def test_a_refund_that_waits_too_long_for_its_day_is_told_until_it_is_paid(
    shop_of: MakeShop,
) -> None:
    shop = shop_of("received_saleable")
    task = told(shop)["STOCK_OK_REFUND_MISSING"]
    assert (task["owner"], task["amount_minor"] > 0) == ("CX", True)

    shop.close_open_days(date(2026, 3, 16), LATER)

    assert told(shop) == {}


def test_a_day_is_told_three_ways_with_what_reconciling_it_cost(shop_of: MakeShop) -> None:
    shop = shop_of("received_saleable")
    (row,) = shop.rows(sa.select(t.refunds_due))
    shop.close_open_days(date(2026, 3, 16), LATER)
    counts = shop.reconcile(later(5))

    engine = connect(shop.url)
    try:
        settings = shop.settings(later(10))
        found = account.day_report(
            engine, row["business_date"], policy=settings.policy, now=later(10)
        ).figures()
    finally:
        engine.dispose()

    told = [
        (one["what"], one["happy_returns"], one["books"], one["linnworks"], one["agrees"])
        for one in found["three_ways"]
    ]
    amount = row["amount_minor"]
    assert told == [
        ("units received, and in stock", 1, 1, 1, True),
        ("refunds", amount, amount, amount, True),
    ]
    assert found["reconciliation"] == {
        "at": later(5).isoformat(),
        "differences": 0,
        "vendor_calls": counts["vendor_calls"],
    }


def _without_a_return(shop: Shop) -> Any:
    """An order of which Happy Returns knows nothing, mirrored."""
    order = next(
        one
        for one in shop.sandbox.world.orders
        if one.reference not in {unit.order_number for unit in shop.sandbox.world.units}
    )
    shop.sandbox.clock.set(later(5))
    return order


def test_a_return_of_which_nobody_knows_is_told_with_its_worth_and_may_be_accepted(
    shop_of: MakeShop,
) -> None:
    shop = shop_of("order_reference_ambiguous")  # of the two orders one is not the return's
    shop.sandbox.world.units[0].order_number = "#elsewhere"
    order = _without_a_return(shop)
    line = order.lines[0]
    lines = [{"row_id": line.row_id, "quantity": 1, "location": "HR Restock"}]
    staff(shop, "book_rma", order_reference=order.reference, lines=lines, action_too=True)
    shop.reconcile(later(10))

    task = told(shop)["BLIND_RETURN"]
    assert (task["owner"], task["severity"], task["amount_minor"]) == ("Operations", "S3", 1999)
    assert json.loads(task["unit_keys"]) == []

    decide(shop, "BLIND_RETURN", Kind.ACCEPT, later(15))
    shop.reconcile(later(20))
    assert "BLIND_RETURN" not in told(shop)
    assert closed(shop, "BLIND_RETURN") == ("resolved", "maria")


def test_money_sent_for_an_order_without_a_return_is_told_by_its_day(shop_of: MakeShop) -> None:
    shop = shop_of("order_reference_ambiguous")
    shop.sandbox.world.units[0].order_number = "#elsewhere"
    order = _without_a_return(shop)
    row = order.lines[0].row_id
    for amount in ("5.00", "2.50"):
        staff(shop, "refund", order_reference=order.reference, row_id=row, amount=amount)
    shop.reconcile(later(10))

    task = told(shop)["REFUND_AHEAD_OF_GATE"]
    assert (task["owner"], task["severity"], task["amount_minor"]) == ("Finance", "S3", 750)
    assert json.loads(task["order_numbers"]) == [order.reference]


def test_two_refunds_by_staff_for_one_unit_are_suspected_until_one_is_void(
    shop_of: MakeShop,
) -> None:
    shop = shop_of("premature_refund")
    (order,) = shop.sandbox.world.orders
    shop.sandbox.clock.set(later(5))
    row = order.lines[0].row_id
    for _ in range(2):
        staff(shop, "refund", order_reference=order.reference, row_id=row, amount="119.00")
    shop.sync(later(10))
    shop.reconcile(later(15))

    task = told(shop)["REFUND_DOUBLE_SUSPECTED"]
    assert (task["owner"], task["amount_minor"]) == ("Finance", 11900)
    assert len(json.loads(task["unit_keys"])) == 1

    staff(shop, "void_refund", order_reference=order.reference, amount="119.00")
    shop.reconcile(later(20))
    assert "REFUND_DOUBLE_SUSPECTED" not in told(shop)
    shop.sync(later(25))
    assert told(shop)["REFUND_AHEAD_OF_GATE"]["amount_minor"] == 11900
    staff(shop, "void_refund", order_reference=order.reference, amount="119.00")
    shop.reconcile(later(30))
    shop.sync(later(35))
    assert "REFUND_AHEAD_OF_GATE" not in told(shop)
