"""What a merchant changes while the program runs: policy, executor, mode, the first day."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from returns_pipeline.sandbox import cases
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.settings import SettingsError
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.end_to_end.ground_truth import open_exceptions
from returns_pipeline_tests.end_to_end.shop import Shop, policy

STARTS = datetime(2026, 3, 9, tzinfo=UTC)
LATER = STARTS + timedelta(days=8)

MakeShop = Callable[..., Shop]


@pytest.fixture
def shop_of(sqlite_url: str, tmp_path: Path) -> Iterator[MakeShop]:
    """A shop in which one case has happened."""
    with ExitStack() as stack:

        def make(case: str, text: str = "", **environ: str) -> Shop:
            sandbox = stack.enter_context(Sandbox(cases.build(case, STARTS), now=STARTS))
            return Shop(sandbox, sqlite_url, {"RETURNS_POLICY": policy(tmp_path, text), **environ})

        yield make


def _refunds(shop: Shop) -> list[tuple[str, str]]:
    due = t.refunds_due.c
    return [
        (row["executor"], row["state"]) for row in shop.rows(sa.select(due.executor, due.state))
    ]


def test_a_code_that_is_mapped_later_lets_its_units_go_on(
    shop_of: MakeShop, tmp_path: Path
) -> None:
    shop = shop_of("unknown_refund_type")
    shop.sync(LATER)
    assert _refunds(shop) == []

    policy(tmp_path, '[happy_returns.refund_types]\ncash-in-hand = "refund"\n')
    shop.sync(LATER + timedelta(hours=1))

    assert _refunds(shop) == [("linnworks", "due")]
    assert not any("SCHEMA_DRIFT" in codes for codes in open_exceptions(shop).values())


def test_returns_begun_before_the_first_day_are_left_to_people(shop_of: MakeShop) -> None:
    shop = shop_of("fee_on_return", '[gate]\nact_from = "2026-03-20"\n')

    shop.sync(LATER)

    assert shop.rows(sa.select(t.return_items.c.is_open)) == [{"is_open": False}]
    assert shop.rows(sa.select(t.stock_adjustments)) == _refunds(shop) == []
    assert open_exceptions(shop) == {}


def test_what_shadow_mode_sealed_is_never_paid(shop_of: MakeShop) -> None:
    shop = shop_of("fee_on_return", RETURNS_MODE="shadow")
    shop.sync(LATER)
    shop.close_open_days(date(2026, 3, 16), LATER)
    shop.environ["RETURNS_MODE"] = "live"

    with pytest.raises(SettingsError, match="closed in shadow mode"):
        shop.close(date(2026, 3, 16), LATER)

    assert shop.sandbox.linnworks.books()["refunds"] == []


def test_a_refund_is_paid_by_whoever_is_declared_when_its_day_is_closed(
    shop_of: MakeShop, tmp_path: Path
) -> None:
    shop = shop_of("fee_on_return")
    shop.sync(LATER)
    policy(tmp_path, '[refunds]\nexecutor = "happy_returns"\n')

    shop.close_open_days(date(2026, 3, 16), LATER)

    assert _refunds(shop) == [("happy_returns", "recorded")]
    assert shop.sandbox.linnworks.books()["refunds"] == []


def test_every_policy_that_decided_is_kept(shop_of: MakeShop, tmp_path: Path) -> None:
    shop = shop_of("fee_on_return")
    shop.sync(LATER)
    policy(tmp_path, '[ages]\norphan_young = "1h"\n')
    shop.sync(LATER + timedelta(hours=1))

    kept = shop.rows(sa.select(t.policy_versions.c.hash, t.policy_versions.c.body))

    assert len(kept) == 2
    used = shop.rows(sa.select(t.stock_adjustments.c.policy_hash))
    assert {row["policy_hash"] for row in used} <= {row["hash"] for row in kept}
