"""What people decide about tasks, carried out by the next run against both vendors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.domain.decisions import Kind, NotAllowed
from returns_pipeline.domain.model import Owner
from returns_pipeline.sandbox import cases
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.steps import queue, story
from returns_pipeline.steps.queue import Person
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.end_to_end.ground_truth import open_exceptions
from returns_pipeline_tests.end_to_end.shop import Shop, policy

STARTS = datetime(2026, 3, 9, tzinfo=UTC)
LATER = STARTS + timedelta(days=8)
SOON = LATER + timedelta(minutes=10)
MARIA = Person("maria")

MakeShop = Callable[..., Shop]


@pytest.fixture
def shop_of(sqlite_url: str, tmp_path: Path) -> Iterator[MakeShop]:
    """A shop in which one case has happened, synchronised to its end."""
    with ExitStack() as stack:

        def make(case: str, text: str = "", **environ: str) -> Shop:
            sandbox = stack.enter_context(Sandbox(cases.build(case, STARTS), now=STARTS))
            shop = Shop(sandbox, sqlite_url, {"RETURNS_POLICY": policy(tmp_path, text), **environ})
            shop.sync(STARTS + timedelta(days=4))
            shop.sync(LATER)
            return shop

        yield make


def decide(shop: Shop, code: str, kind: Kind | None = None, **answers: str) -> bool:
    """Maria decides about the open task with this code."""
    engine = connect(shop.url)
    try:
        wanted = queue.Wanted(code=code)
        (task,) = queue.tasks(engine, wanted, now=LATER)
        return queue.resolve(
            engine,
            task,
            MARIA,
            now=LATER,
            policy=shop.settings(LATER).policy,
            reason="she looked",
            kind=kind,
            answers=answers,
        )
    finally:
        engine.dispose()


def rows(shop: Shop, table: sa.Table, *names: str) -> list[tuple[Any, ...]]:
    columns = [table.c[name] for name in names]
    return [tuple(row.values()) for row in shop.rows(sa.select(*columns).order_by(table.c.id))]


def outcomes(shop: Shop) -> list[str]:
    columns = t.decision_outcomes.c
    found = shop.rows(sa.select(columns.outcome).order_by(columns.decision_id))
    return [row["outcome"] for row in found]


def codes(shop: Shop) -> set[str]:
    return set().union(*open_exceptions(shop).values())


def bookings(shop: Shop) -> tuple[int, int]:
    """Units returned in Linnworks, and bookings that wait there."""
    books = shop.sandbox.linnworks.books()
    return len(books["returned"]), books["open_bookings"]


def closed(shop: Shop, code: str) -> tuple[str, str]:
    columns = t.exceptions.c
    query = sa.select(columns.status, columns.resolver).where(columns.code == code)
    (row,) = shop.rows(query)
    return row["status"], row["resolver"]


def test_the_line_that_was_chosen_is_restocked_and_refunded(shop_of: MakeShop) -> None:
    shop = shop_of("two_lines_one_sku_without_line_id")
    lines = shop.rows(sa.select(t.order_lines).order_by(t.order_lines.c.total_minor))
    dearest = lines[-1]

    assert decide(shop, "LINE_AMBIGUOUS_SKU", Kind.LINE, row_id=dearest["row_id"])
    assert not decide(shop, "LINE_AMBIGUOUS_SKU", Kind.LINE, row_id=dearest["row_id"])
    shop.sync(SOON)
    shop.close_open_days(date(2026, 3, 16), LATER + timedelta(days=1))

    assert rows(shop, t.matches, "row_id", "rule") == [(dearest["row_id"], "decision")]
    assert rows(shop, t.stock_adjustments, "state", "row_id") == [("posted", dearest["row_id"])]
    price = dearest["total_minor"] // dearest["quantity"]
    assert rows(shop, t.refunds_due, "amount_minor") == [(price,)]
    assert outcomes(shop) == ["carried_out"]
    assert closed(shop, "LINE_AMBIGUOUS_SKU") == ("resolved", "maria")


def test_a_line_of_another_order_needs_that_order(shop_of: MakeShop) -> None:
    shop = shop_of("two_lines_one_sku_without_line_id")

    with pytest.raises(NotAllowed, match="no order has a line nowhere"):
        decide(shop, "LINE_AMBIGUOUS_SKU", Kind.LINE, row_id="nowhere")
    assert shop.rows(sa.select(t.decisions)) == []


def test_a_choice_can_be_changed_until_something_has_moved_by_it(shop_of: MakeShop) -> None:
    shop = shop_of("two_lines_one_sku_without_line_id")
    cheap, dear = shop.rows(sa.select(t.order_lines).order_by(t.order_lines.c.total_minor))

    decide(shop, "LINE_AMBIGUOUS_SKU", Kind.LINE, row_id=cheap["row_id"])
    decide(shop, "LINE_AMBIGUOUS_SKU", Kind.LINE, row_id=dear["row_id"])
    shop.sync(SOON)

    assert rows(shop, t.matches, "row_id") == [(dear["row_id"],)]
    assert outcomes(shop) == ["superseded", "carried_out"]
    assert rows(shop, t.decisions, "sequence") == [(0,), (1,)]


def test_a_return_is_of_the_order_that_was_chosen(shop_of: MakeShop) -> None:
    shop = shop_of("order_reference_ambiguous")
    found = shop.rows(sa.select(t.orders).order_by(t.orders.c.num_id))

    decide(shop, "ORDER_REF_AMBIGUOUS", Kind.ORDER, order=str(found[0]["num_id"]))
    shop.sync(SOON)

    assert rows(shop, t.matches, "outcome", "order_id") == [("matched", found[0]["order_id"])]
    assert "ORDER_REF_AMBIGUOUS" not in codes(shop)


def test_the_condition_that_was_decided_leads_to_its_location(shop_of: MakeShop) -> None:
    shop = shop_of("disposition_unmapped")

    decide(shop, "DISPOSITION_UNMAPPED", Kind.DISPOSITION, disposition="damaged")
    shop.sync(SOON)

    assert rows(shop, t.dispositions, "disposition") == [("DAMAGED",)]
    assert rows(shop, t.stock_adjustments, "state", "is_sellable") == [("posted", False)]
    assert rows(shop, t.refunds_due, "state") == [("due",)]
    assert outcomes(shop) == ["carried_out"]


def test_what_is_refunded_anyway_is_paid_by_the_days_batch(shop_of: MakeShop) -> None:
    shop = shop_of("outside_return_window")
    assert rows(shop, t.refunds_due, "state") == []

    decide(shop, "OUT_OF_POLICY_WINDOW", Kind.REFUND)
    shop.sync(SOON)
    shop.sync(LATER + timedelta(days=2))
    shop.close_open_days(date(2026, 3, 17), LATER + timedelta(days=2))

    assert rows(shop, t.refunds_due, "state", "business_date") == [("actioned", date(2026, 3, 17))]
    assert len(shop.sandbox.linnworks.books()["refunds"]) == 1
    assert closed(shop, "OUT_OF_POLICY_WINDOW") == ("resolved", "maria")


def test_no_decision_pays_more_than_was_paid(shop_of: MakeShop) -> None:
    shop = shop_of("kit_returned_incomplete")

    with pytest.raises(NotAllowed, match="give the amount"):
        decide(shop, "KIT_INCOMPLETE", Kind.REFUND)
    with pytest.raises(NotAllowed, match="cannot be refunded: the line was paid"):
        decide(shop, "KIT_INCOMPLETE", Kind.REFUND, amount="9999.00")
    decide(shop, "KIT_INCOMPLETE", Kind.REFUND, amount="5.00")
    shop.sync(SOON)

    assert rows(shop, t.refunds_due, "goods_minor", "amount_minor") == [(500, 500)]


def test_what_is_not_refunded_is_closed_without_it(shop_of: MakeShop) -> None:
    shop = shop_of("outside_return_window")

    decide(shop, "OUT_OF_POLICY_WINDOW", Kind.NO_REFUND)
    shop.sync(SOON)
    shop.sync(LATER + timedelta(days=9))

    assert rows(shop, t.refunds_due, "state") == []
    assert rows(shop, t.return_items, "is_open") == [(False,)]
    assert codes(shop) == set()
    assert outcomes(shop) == ["carried_out"]


def test_what_is_written_off_is_waited_for_no_longer(shop_of: MakeShop) -> None:
    shop = shop_of("refunded_not_received")

    decide(shop, "REFUNDED_NOT_RECEIVED", Kind.WRITE_OFF)
    shop.sync(SOON)

    assert codes(shop) == set()
    assert rows(shop, t.return_items, "is_open") == [(False,)]


def test_what_was_paid_before_it_came_and_is_given_up_is_a_loss(shop_of: MakeShop) -> None:
    shop = shop_of("mail_carrier_scan_approved")
    decide(shop, "STUCK_IN_TRANSIT", Kind.REFUND)
    shop.sync(SOON)
    shop.sync(LATER + timedelta(days=2))
    shop.close_open_days(date(2026, 3, 17), LATER + timedelta(days=2))
    assert rows(shop, t.refunds_due, "state") == [("actioned",)]

    shop.sync(LATER + timedelta(days=9))
    decide(shop, "REFUNDED_NOT_RECEIVED", Kind.WRITE_OFF)
    shop.sync(LATER + timedelta(days=9, minutes=5))
    shop.sync(LATER + timedelta(days=9, minutes=10))

    lines = [
        (role, side, amount)
        for role, side, amount in rows(shop, t.postings, "role", "side", "amount_minor")
        if "transit" in role
    ]
    cost = lines[0][2]
    assert sorted(lines) == [
        ("in_transit_loss", "debit", cost),
        ("returned_goods_in_transit", "credit", cost),
        ("returned_goods_in_transit", "debit", cost),
    ]
    assert codes(shop) == set()
    assert rows(shop, t.return_items, "is_open") == [(False,)]


def test_what_is_booked_by_hand_is_booked_by_nobody_else(shop_of: MakeShop) -> None:
    shop = shop_of("batched_item")

    decide(shop, "BATCH_ITEM_MANUAL", Kind.BY_HAND)
    shop.sync(SOON)
    shop.close_open_days(date(2026, 3, 16), LATER + timedelta(days=1))
    shop.sync(LATER + timedelta(days=1))

    assert rows(shop, t.stock_adjustments, "state") == []
    assert bookings(shop) == (0, 0)
    assert codes(shop) == set()
    assert rows(shop, t.return_items, "is_open") == [(False,)]


def test_what_stands_wrong_is_moved_and_stays_a_task_until_it_is(shop_of: MakeShop) -> None:
    shop = shop_of("disposition_changed")

    decide(shop, "WRONG_LOCATION", Kind.MOVE)
    shop.sync(SOON)
    shop.sync(SOON + timedelta(minutes=5))
    shop.close_open_days(date(2026, 3, 16), SOON + timedelta(minutes=5))

    assert rows(shop, t.stock_adjustments, "kind", "state") == [
        ("restock", "posted"),
        ("move", "posted"),
    ]
    assert outcomes(shop) == ["carried_out"]
    assert closed(shop, "WRONG_LOCATION") == ("resolved", "maria")
    assert codes(shop) == set()


def test_what_is_sent_again_is_still_looked_at_first(shop_of: MakeShop) -> None:
    shop = shop_of("staff_booked_elsewhere")
    before = bookings(shop)

    decide(shop, "WRONG_LOCATION", Kind.SEND_AGAIN)
    shop.sync(SOON)
    shop.sync(SOON + timedelta(minutes=5))

    assert bookings(shop) == before
    assert "WRONG_LOCATION" in codes(shop)
    columns = t.exception_actions.c
    done = [row["action"] for row in shop.rows(sa.select(columns.action).order_by(columns.id))]
    assert done.count("stopped_again") == 1
    (status,) = rows(shop, t.exceptions, "status")[:1]
    assert status == ("open",)


def test_a_write_that_was_refused_is_sent_again_once_the_way_is_clear(shop_of: MakeShop) -> None:
    shop = shop_of("staff_booked_elsewhere")
    (order,) = {row[0] for row in rows(shop, t.stock_adjustments, "order_id")}
    with shop.run(LATER) as rt:
        (theirs,) = rt.linnworks.rma_headers(order)
        rt.linnworks.delete_rma(theirs.RMAHeaderId)
    decide(shop, "WRONG_LOCATION", Kind.SEND_AGAIN)

    shop.sync(SOON)
    shop.sync(SOON + timedelta(minutes=5))

    assert rows(shop, t.stock_adjustments, "state") == [("posted",)]
    assert outcomes(shop) == ["carried_out"]
    assert codes(shop) == set()


def _paid_by_somebody_else(shop: Shop, minor: int = 0) -> str:
    """Somebody refunds the unit in Linnworks; then its day is closed. Gives their number."""
    (due,) = shop.rows(sa.select(t.refunds_due))
    line = {
        "unit": "Item",
        "row_id": due["row_id"],
        "return_row_id": None,
        "amount_minor": minor or due["goods_minor"],
        "quantity": 1,
        "external_reference": "by phone",
        "note": "by phone",
    }
    with shop.run(LATER) as rt:
        made = rt.linnworks.create_refund(due["order_id"], [line], currency="GBP")
        rt.linnworks.action_refund(due["order_id"], made.header_id)
    shop.close_open_days(date(2026, 3, 16), LATER)
    assert "REFUND_DOUBLE_SUSPECTED" in codes(shop)
    return str(made.header_id)


def test_what_somebody_else_paid_is_taken_for_ours_under_its_number(shop_of: MakeShop) -> None:
    shop = shop_of("received_saleable")
    number = _paid_by_somebody_else(shop)

    decide(shop, "REFUND_DOUBLE_SUSPECTED", Kind.HAPPENED, vendor_id=number)
    shop.sync(SOON)

    assert rows(shop, t.refunds_due, "state", "refund_header_id") == [("actioned", int(number))]
    assert len(shop.sandbox.linnworks.books()["refunds"]) == 1
    assert outcomes(shop) == ["carried_out"]
    assert codes(shop) == set()


@pytest.mark.parametrize(
    ("number", "why"), [("1", "the order has no refund 1"), ("theirs", "ours of")]
)
def test_a_number_that_does_not_fit_proves_nothing_and_says_why(
    shop_of: MakeShop, number: str, why: str
) -> None:
    shop = shop_of("received_saleable")
    theirs = _paid_by_somebody_else(shop, minor=100)
    given = theirs if number == "theirs" else number

    decide(shop, "REFUND_DOUBLE_SUSPECTED", Kind.HAPPENED, vendor_id=given)
    shop.sync(SOON)

    assert rows(shop, t.refunds_due, "state") == [("held",)]
    assert outcomes(shop) == ["refused"]
    columns = t.exceptions.c
    query = sa.select(columns.status).where(columns.code == "REFUND_DOUBLE_SUSPECTED")
    assert shop.rows(query) == [{"status": "open"}]
    done = t.exception_actions.c
    query = sa.select(done.detail).where(done.action == "not_possible")
    assert why in shop.rows(query)[0]["detail"]


def test_a_decision_that_does_not_belong_to_a_task_is_refused(shop_of: MakeShop) -> None:
    shop = shop_of("staff_booked_elsewhere")

    with pytest.raises(NotAllowed, match="does not settle WRONG_LOCATION"):
        decide(shop, "WRONG_LOCATION", Kind.HAPPENED, vendor_id="1")


def test_an_accepted_difference_comes_back_when_it_changes(shop_of: MakeShop) -> None:
    shop = shop_of("started_never_dropped_off")

    decide(shop, "RETURN_EXPIRED")
    shop.sync(SOON)
    assert codes(shop) == set()
    assert closed(shop, "RETURN_EXPIRED") == ("resolved", "maria")

    engine = connect(shop.url)
    with engine.begin() as connection:  # the same task, told of otherwise
        connection.execute(sa.update(t.return_items).values(return_id="another"))
    shop.sync(SOON + timedelta(minutes=5))
    engine.dispose()
    assert codes(shop) == set()  # who is told of does not count, only what is told


def test_the_story_of_a_unit_tells_what_was_decided(shop_of: MakeShop) -> None:
    shop = shop_of("disposition_unmapped")
    decide(shop, "DISPOSITION_UNMAPPED", Kind.DISPOSITION, disposition="damaged")
    shop.sync(SOON)
    engine = connect(shop.url)
    (unit,) = (row[0] for row in rows(shop, t.return_items, "unit_key"))

    whole = story.explain(engine, unit)

    assert whole is not None
    told = [one.text for one in story.timeline(whole["items"][0]) if one.topic == "decision"]
    assert told == [
        "It is in this condition (maria: she looked)",
        "carried out: decided as DAMAGED",
    ]
    engine.dispose()


def test_only_finance_refunds_anyway(shop_of: MakeShop) -> None:
    shop = shop_of("outside_return_window")
    engine = connect(shop.url)
    (task,) = queue.tasks(engine, queue.Wanted(code="OUT_OF_POLICY_WINDOW"), now=LATER)

    with pytest.raises(NotAllowed, match="is decided by Finance"):
        queue.resolve(
            engine,
            task,
            Person("maria", (Owner.CX,)),
            now=LATER,
            policy=shop.settings(LATER).policy,
            reason="kindness",
            kind=Kind.REFUND,
        )
    engine.dispose()


def test_shadow_mode_carries_out_no_write(shop_of: MakeShop) -> None:
    shop = shop_of("staff_booked_elsewhere")
    decide(shop, "WRONG_LOCATION", Kind.SEND_AGAIN)
    shop.environ["RETURNS_MODE"] = "shadow"

    shop.sync(SOON)

    assert outcomes(shop) == []
    assert rows(shop, t.stock_adjustments, "state") == [("held",)]
