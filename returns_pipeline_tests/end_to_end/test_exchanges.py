"""Exchanges from the payload to the order, in both ways, and when it cannot be ordered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from returns_pipeline.domain.decisions import Kind
from returns_pipeline.sandbox import cases, catalogue
from returns_pipeline.sandbox.cases.registry import tell
from returns_pipeline.sandbox.model import DEFAULT_LOCATION
from returns_pipeline.sandbox.script import Script
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.steps import account, act, exchange_tasks
from returns_pipeline.steps.invariants import Scope
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading
from returns_pipeline_tests.end_to_end.ground_truth import differences, live_through
from returns_pipeline_tests.end_to_end.shop import Shop, policy
from returns_pipeline_tests.end_to_end.test_decisions import (
    LATER,
    SOON,
    STARTS,
    bookings,
    codes,
    decide,
    outcomes,
    rows,
)

MakeShop = Callable[..., Shop]
BY_RMA = '[exchange]\nway = "rma"\n'


@pytest.fixture
def shop_of(sqlite_url: str, tmp_path: Path) -> Iterator[MakeShop]:
    """A shop in which one case has happened, synchronised to its end."""
    with ExitStack() as stack:

        def make(case: str, text: str = "", *, empty: bool = False) -> Shop:
            sandbox = stack.enter_context(Sandbox(cases.build(case, STARTS), now=STARTS))
            if empty:
                for sku in catalogue.PRODUCTS:
                    sandbox.linnworks.levels[sku, DEFAULT_LOCATION] = 0
            shop = Shop(sandbox, sqlite_url, {"RETURNS_POLICY": policy(tmp_path, text)})
            for day in range(1, 9):
                shop.sync(STARTS + timedelta(days=day))
            return shop

        yield make


def _made(shop: Shop) -> list[tuple[str, str]]:
    """The replacement orders in Linnworks: source and SKU."""
    books = shop.sandbox.linnworks.books()
    return [(one["source"], one["lines"][0][0]) for one in books["orders_made"]]


@pytest.mark.parametrize(("text", "source"), [("", "HAPPYRETURNS"), (BY_RMA, "SHOPIFY")])
def test_an_even_exchange_ends_with_one_order_in_either_way(
    shop_of: MakeShop, text: str, source: str
) -> None:
    shop = shop_of("even_exchange", text)

    [(made_by, sku)] = _made(shop)
    assert (made_by.upper(), sku) == (source, catalogue.OTHER_SIZE["TEE-RED-M"])
    assert rows(shop, t.exchange_orders, "state") == [("created",)]
    assert bookings(shop) == (1, 0)
    assert rows(shop, t.return_items, "is_open") == [(False,)]
    assert codes(shop) & {"EXCHANGE_ORDER_MISSING", "EXCHANGE_DUPLICATE"} == set()


@pytest.mark.parametrize("text", ["", BY_RMA])
@pytest.mark.parametrize("case", ["uneven_exchange_up", "uneven_exchange_down"])
def test_an_uneven_one_is_never_free_in_either_way(shop_of: MakeShop, case: str, text: str) -> None:
    shop = shop_of(case, text)

    [order] = shop.sandbox.linnworks.books()["orders_made"]
    assert order["source"] == "HAPPYRETURNS"
    assert float(order["lines"][0][2]) > 0


def test_one_out_of_stock_is_offered_to_customer_service_after_its_days(shop_of: MakeShop) -> None:
    shop = shop_of("even_exchange", '[exchange]\nwait_for_stock = "20d"\n', empty=True)

    assert "EXCHANGE_OOS" not in codes(shop)
    assert rows(shop, t.exchange_orders, "state") == [("ready",)]
    assert bookings(shop) == (1, 0)  # the goods are in stock all the same

    shop.sync(STARTS + timedelta(days=29))
    assert "EXCHANGE_OOS" in codes(shop)


def test_one_out_of_stock_becomes_a_refund_by_a_persons_word(shop_of: MakeShop) -> None:
    shop = shop_of("even_exchange", '[exchange]\nwait_for_stock = "1d"\n', empty=True)

    assert decide(shop, "EXCHANGE_OOS", Kind.EXCHANGE_TO_REFUND)
    shop.sync(SOON)
    shop.sync(LATER + timedelta(days=2))
    shop.close_open_days(date(2026, 3, 17), LATER + timedelta(days=2))

    price = int(catalogue.PRODUCTS["TEE-RED-M"].price * 100)
    assert rows(shop, t.refunds_due, "amount_minor", "tender", "state") == [
        (price, "refund", "actioned")
    ]
    assert [one["amount_minor"] for one in shop.sandbox.linnworks.books()["refunds"]] == [price]
    assert (_made(shop), rows(shop, t.exchange_orders, "state")) == ([], [])
    assert outcomes(shop) == ["carried_out"]
    assert "EXCHANGE_OOS" not in codes(shop)
    assert rows(shop, t.return_items, "is_open") == [(False,)]


def test_one_that_is_replaced_is_not_refunded_as_well(shop_of: MakeShop) -> None:
    shop = shop_of("even_exchange", '[exchange]\nwait_for_stock = "1d"\n', empty=True)
    assert decide(shop, "EXCHANGE_OOS", Kind.EXCHANGE_TO_REFUND)
    sku = catalogue.OTHER_SIZE["TEE-RED-M"]
    # A run that was under way has ordered it meanwhile.
    with shop.run(SOON) as rt:
        shop.sandbox.linnworks.levels[sku, DEFAULT_LOCATION] = 5
        act.exchanges(rt)
    shop.sync(LATER + timedelta(days=2))
    shop.close_open_days(date(2026, 3, 17), LATER + timedelta(days=2))

    assert len(_made(shop)) == 1
    assert rows(shop, t.refunds_due, "amount_minor") == []
    assert outcomes(shop) == ["ended"]


INSTANT = '[exchange]\ninstant_channels = ["SHOPIFY"]\ninstant_window = "20d"\n'


def _exposure(shop: Shop, now: datetime) -> list[tuple[str, bool]]:
    with shop.run(now) as rt, reading(rt.engine) as connection:
        out = exchange_tasks.exposure(connection, rt.policy)
        assert exchange_tasks.totals(out) == {one.currency: one.value_minor for one in out}
        return [(one.stage, one.is_allowed) for one in out]


def test_a_channel_may_be_sent_its_replacements_at_once(shop_of: MakeShop) -> None:
    shop = shop_of("exchange_before_receipt", INSTANT)

    assert [source for source, _ in _made(shop)] == ["HAPPYRETURNS"]
    assert _exposure(shop, SOON) == [("departed", True)]
    assert bookings(shop) == (0, 0)
    assert "EXCHANGE_RELEASED_EARLY" not in codes(shop)

    shop.sync(LATER + timedelta(days=21))
    assert "EXCHANGE_RELEASED_EARLY" in codes(shop)
    assert rows(shop, t.return_items, "is_open") == [(True,)]


@pytest.mark.parametrize(
    ("tags", "made"), [(("VIP", "Wholesale"), 1), (("Wholesale",), 0), ((), 0)]
)
def test_a_customer_group_may_be_sent_its_replacements_at_once(
    sqlite_url: str, tmp_path: Path, tags: tuple[str, ...], made: int
) -> None:
    script = Script(cases.SEED, STARTS)
    tell(script, "exchange_before_receipt")
    script.orders[0].tags = tags
    text = '[exchange]\ninstant_groups = ["vip"]\ninstant_window = "20d"\n'
    with Sandbox(script.world(ends=8), now=STARTS) as sandbox:
        shop = Shop(sandbox, sqlite_url, {"RETURNS_POLICY": policy(tmp_path, text)})
        shop.sync(STARTS + timedelta(days=4))
        shop.sync(LATER)

        assert len(_made(shop)) == made
        assert _exposure(shop, SOON) == [("departed", True)] * made
        with shop.run(SOON) as rt:
            told = account.day_report(rt.engine, SOON.date(), policy=rt.policy, now=SOON)
        price = int(catalogue.PRODUCTS["DRESS-GRN-S"].price * 100)
        assert [(x.amount_minor, x.is_allowed) for x in told.exposure] == [(price, True)] * made
        assert told.figures()["exposure"]["replacements"] == made
        assert "EXCHANGE_RELEASED_EARLY" not in codes(shop)


def test_one_that_was_sent_at_once_where_it_is_not_allowed_is_a_task(shop_of: MakeShop) -> None:
    shop = shop_of("exchange_before_receipt", INSTANT)
    Path(shop.environ["RETURNS_POLICY"]).write_text('[refunds]\nexecutor = "linnworks"\n')

    shop.sync(SOON)

    assert _exposure(shop, SOON) == [("departed", False)]
    assert "EXCHANGE_RELEASED_EARLY" in codes(shop)
    assert decide(shop, "EXCHANGE_RELEASED_EARLY", Kind.WRITE_OFF)
    shop.sync(SOON + timedelta(minutes=10))
    assert "EXCHANGE_RELEASED_EARLY" not in codes(shop)


def test_one_sent_at_once_is_not_ordered_again_when_its_original_comes(shop_of: MakeShop) -> None:
    shop = shop_of("even_exchange", INSTANT)

    assert len(_made(shop)) == 1
    assert bookings(shop) == (1, 0)
    assert _exposure(shop, SOON) == []
    assert rows(shop, t.return_items, "is_open") == [(False,)]


def test_value_that_no_replacement_takes_up_is_finances_task(shop_of: MakeShop) -> None:
    shop = shop_of("uneven_exchange_up", '[exchange]\nclearing_open = "1d"\n', empty=True)
    assert "EXCHANGE_CLEARING_AGED" in codes(shop)

    for sku in catalogue.PRODUCTS:
        shop.sandbox.linnworks.levels[sku, DEFAULT_LOCATION] = 5
    shop.sync(SOON)

    assert len(_made(shop)) == 1
    assert "EXCHANGE_CLEARING_AGED" not in codes(shop)


TOLD = tuple(name for name in cases.NAMES if "exchange" in name)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", BY_RMA])
def test_every_kind_of_exchange_ends_as_the_cases_say_in_either_way(
    sqlite_url: str, tmp_path: Path, text: str
) -> None:
    script = Script(cases.SEED, STARTS)
    for name in TOLD:
        tell(script, name)
    with Sandbox(script.world(ends=8), now=STARTS) as sandbox:
        shop = Shop(sandbox, sqlite_url, {"RETURNS_POLICY": policy(tmp_path, text)})
        live_through(shop, LATER)

        assert [text for name in TOLD for text in differences(shop, LATER, name)] == []
        goods = [one["lines"] for one in sandbox.linnworks.books()["orders_made"]]
        free = {sku for [[sku, _, price]] in goods if not float(price)}
        priced = {(sku, count) for [[sku, count, price]] in goods if float(price)}
        assert {"TEE-NAVY-M", "TEE-NAVY-S"} <= free
        assert priced >= {("SOCK-3", 2), ("KIT-TEA", 1), ("TEE-NAVY-M", 1)}
        with shop.run(LATER) as rt, reading(rt.engine) as connection:
            found = exchange_tasks.exchange_clearing_is_the_exchanges(
                Scope(connection, rt.policy, LATER)
            )
        assert (found.holds, found.figures["units"] > 0) == (True, True)
