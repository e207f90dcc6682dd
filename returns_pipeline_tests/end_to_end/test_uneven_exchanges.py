"""Uneven exchanges to the penny: both legs, the batch that carries the rest, and a refund of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from returns_pipeline.domain.decisions import Kind
from returns_pipeline.sandbox import cases, catalogue
from returns_pipeline.sandbox.model import DEFAULT_LOCATION
from returns_pipeline.sandbox.script import Script
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.steps import (
    account,
    corrections,
    exchange_tasks,
    finance_invariants,
    verification,
)
from returns_pipeline.steps.invariants import Scope
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading
from returns_pipeline_tests.end_to_end.ground_truth import differences
from returns_pipeline_tests.end_to_end.shop import Shop, policy
from returns_pipeline_tests.end_to_end.test_decisions import (
    LATER,
    SOON,
    STARTS,
    codes,
    decide,
    outcomes,
    rows,
)

pytestmark = pytest.mark.slow
MakeShop = Callable[..., Shop]
GATEWAY = "refund_clearing.shopify_payments"
END = date(2026, 3, 17)
CHECKS = (
    exchange_tasks.exchange_clearing_is_the_exchanges,
    finance_invariants.every_tender_line_is_its_refund,
    finance_invariants.batches_come_out_of_their_payloads,
    finance_invariants.no_more_vat_reversed_than_charged,
    finance_invariants.refunds_sent_are_those_of_the_batches,
    finance_invariants.reversals_take_back_their_originals,
)


def pence(sku: str) -> int:
    return int(catalogue.PRODUCTS[sku].price * 100)


@pytest.fixture
def shop_of(sqlite_url: str, tmp_path: Path) -> Iterator[MakeShop]:
    """A shop in which one case has happened, synchronised to its end; no day is closed yet."""
    with ExitStack() as stack:

        def make(case: str | Script, text: str = "", *, empty: bool = False) -> Shop:
            world = cases.build(case, STARTS) if isinstance(case, str) else case.world(ends=8)
            sandbox = stack.enter_context(Sandbox(world, now=STARTS))
            if empty:
                for sku in catalogue.PRODUCTS:
                    sandbox.linnworks.levels[sku, DEFAULT_LOCATION] = 0
            shop = Shop(sandbox, sqlite_url, {"RETURNS_POLICY": policy(tmp_path, text)})
            for day in range(1, 9):
                shop.sync(STARTS + timedelta(days=day))
            return shop

        yield make


def books(shop: Shop) -> dict[str, int]:
    """What the sealed batches come to by role, debits less credits."""
    lines = t.batch_lines.c
    found: Counter[str] = Counter()
    for row in shop.rows(sa.select(lines.role, lines.side, lines.amount_minor)):
        found[row["role"]] += row["amount_minor"] * (1 if row["side"] == "debit" else -1)
    return dict(found)


def sent(shop: Shop) -> list[int]:
    return [one["amount_minor"] for one in shop.sandbox.linnworks.books()["refunds"]]


def problems(shop: Shop) -> list[str]:
    with shop.run(LATER + timedelta(days=2)) as rt, reading(rt.engine) as connection:
        scope = Scope(connection, rt.policy, LATER + timedelta(days=2))
        found = [check(scope) for check in CHECKS]
    return [f"{one.message}: {one.rows}" for one in found if not one.holds]


def close(shop: Shop) -> None:
    shop.close_open_days(END, LATER + timedelta(days=2))


def test_for_something_cheaper_the_rest_is_paid_and_clearing_holds_the_new_order(
    shop_of: MakeShop,
) -> None:
    shop = shop_of("uneven_exchange_down")
    assert sent(shop) == []  # nothing is paid before a day is closed
    close(shop)

    paid, new = pence("SHOE-BLK-42"), pence("DRESS-GRN-M")
    found = books(shop)
    assert sent(shop) == [paid - new]
    assert found[GATEWAY] == new - paid
    assert found["exchange_clearing"] == -new
    assert found["sales_returns"] + found["vat_output"] == paid
    assert problems(shop) == []
    assert rows(shop, t.refunds_due, "state", "new_value_minor") == [("actioned", new)]
    assert rows(shop, t.return_items, "is_open") == [(False,)]
    assert differences(shop, LATER, "uneven_exchange_down") == []
    [(due_on, met_on)] = rows(shop, t.refunds_due, "business_date", "cleared_on")
    with shop.run(LATER + timedelta(days=2)) as rt:
        first, then = (
            account.day_report(rt.engine, day, policy=rt.policy, now=rt.now())
            for day in (due_on, met_on)
        )
    assert [(x.tender, x.state, x.amount_minor) for x in first.refunds] == [
        ("exchange", "recorded", paid)
    ]
    assert [(x.tender, x.state, x.amount_minor) for x in then.refunds] == [
        ("refund", "actioned", paid - new)
    ]
    assert [(x.amount_minor, x.residual_minor) for x in then.replacements] == [(new, paid - new)]


def test_for_something_dearer_the_extra_payment_is_carried_and_nobody_is_paid(
    shop_of: MakeShop,
) -> None:
    shop = shop_of("uneven_exchange_up")
    close(shop)

    paid, new = pence("DRESS-GRN-M"), pence("SHOE-BLK-41")
    found = books(shop)
    assert found[GATEWAY] == new - paid
    assert found["exchange_clearing"] == -new
    assert sent(shop) == []
    assert problems(shop) == []
    assert rows(shop, t.refunds_due, "state", "executor") == [("recorded", "ledger")]
    assert rows(shop, t.return_items, "is_open") == [(False,)]


def test_of_one_article_for_two_the_rest_is_to_the_penny(shop_of: MakeShop) -> None:
    shop = shop_of("exchange_for_two")
    close(shop)

    assert sent(shop) == [pence("TEE-NAVY-M") - 2 * pence("SOCK-3")]
    assert books(shop)["exchange_clearing"] == -2 * pence("SOCK-3")
    assert problems(shop) == []


def test_another_rate_of_vat_is_the_new_orders(shop_of: MakeShop) -> None:
    script = Script(cases.SEED, STARTS)
    script.begin("rates", first_number=9_000)
    # The shop has sold the book before: that is how its rate is known.
    script.order("BOOK-01")
    order = script.order("TEE-NAVY-M")
    script.unit(
        order, order.lines[0], refund_type="exchange", exchange_sku="BOOK-01",
        exchange_quantity=1, exchange_unit_price=catalogue.PRODUCTS["BOOK-01"].price,
    )  # fmt: skip
    shop = shop_of(script)
    close(shop)

    [made] = shop.sandbox.linnworks.books()["orders_made"]
    assert Decimal(made["lines"][0][2]) == catalogue.PRODUCTS["BOOK-01"].price
    lines = shop.rows(
        sa.select(t.order_lines.c.tax_rate_bp)
        .join_from(t.order_lines, t.orders, t.orders.c.order_id == t.order_lines.c.order_id)
        .where(t.orders.c.source == "HAPPYRETURNS")
    )
    assert [line["tax_rate_bp"] for line in lines] == [0]
    assert problems(shop) == []


def test_in_another_currency_clearing_comes_to_the_new_order_in_both(shop_of: MakeShop) -> None:
    script = Script(cases.SEED, STARTS)
    script.begin("abroad", first_number=9_000)
    order = script.order("SHOE-BLK-42", currency="EUR")
    script.unit(
        order, order.lines[0], refund_type="exchange", exchange_sku="DRESS-GRN-M",
        exchange_quantity=1, exchange_unit_price=catalogue.PRODUCTS["DRESS-GRN-M"].price,
    )  # fmt: skip
    shop = shop_of(script)
    close(shop)

    assert sent(shop) == [pence("SHOE-BLK-42") - pence("DRESS-GRN-M")]
    assert problems(shop) == []


@pytest.mark.parametrize("closed_until", [date(2026, 3, 1), date(2026, 3, 15)])
def test_one_in_the_ledger_becomes_a_refund_by_an_entry_of_the_next_batch(
    shop_of: MakeShop, closed_until: date
) -> None:
    shop = shop_of("uneven_exchange_up", '[exchange]\nwait_for_stock = "1d"\n', empty=True)
    shop.close_open_days(closed_until, LATER)
    before = shop.rows(sa.select(t.batches.c.batch_id, t.batches.c.body))
    entered = rows(shop, t.postings, "posting_key", "amount_minor", "side")

    assert decide(shop, "EXCHANGE_OOS", Kind.EXCHANGE_TO_REFUND)
    shop.sync(SOON)
    shop.sync(LATER + timedelta(days=1, minutes=5))
    close(shop)

    paid = pence("DRESS-GRN-M")
    assert sent(shop) == [paid]
    assert books(shop)["exchange_clearing"] == 0
    assert books(shop)[GATEWAY] == -paid
    after = shop.rows(sa.select(t.batches.c.batch_id, t.batches.c.body))
    assert [one for one in after if one in before] == before
    assert rows(shop, t.postings, "posting_key", "amount_minor", "side")[: len(entered)] == entered
    assert shop.sandbox.linnworks.books()["orders_made"] == []
    assert outcomes(shop) == ["carried_out"]
    assert problems(shop) == []
    assert rows(shop, t.return_items, "is_open") == [(False,)]
    assert codes(shop) & {"EXCHANGE_OOS", "EXCHANGE_CLEARING_AGED"} == set()


def test_at_each_days_end_clearing_is_what_is_open(shop_of: MakeShop) -> None:
    shop = shop_of("uneven_exchange_up", empty=True)
    close(shop)
    with shop.run(SOON) as rt, reading(rt.engine) as connection:
        open_ = CHECKS[0](Scope(connection, rt.policy, SOON))
    assert open_.holds
    assert open_.figures["open_minor_GBP"] == pence("DRESS-GRN-M")

    for sku in catalogue.PRODUCTS:
        shop.sandbox.linnworks.levels[sku, DEFAULT_LOCATION] = 5
    shop.sync(LATER + timedelta(days=2))
    shop.close_open_days(date(2026, 3, 18), LATER + timedelta(days=3))
    with shop.run(LATER + timedelta(days=3)) as rt, reading(rt.engine) as connection:
        met = CHECKS[0](Scope(connection, rt.policy, LATER))
    assert (met.holds, met.figures["for_the_sale_minor_GBP"]) == (True, pence("SHOE-BLK-41"))
    assert problems(shop) == []


@pytest.mark.parametrize("case", ["uneven_exchange_down", "uneven_exchange_up"])
def test_its_batch_is_taken_back_and_made_anew_whole(shop_of: MakeShop, case: str) -> None:
    shop = shop_of(case)
    close(shop)
    before = books(shop)
    with shop.run(LATER + timedelta(days=2)) as rt:
        batches = shop.rows(sa.select(t.batches.c.batch_id))
        for one in batches:
            made = corrections.reverse(rt, one["batch_id"], reason="a test").replacement_ids
            assert all(verification.verify(rt.engine, batch).holds for batch in made)

    assert books(shop) == before
    assert problems(shop) == []
