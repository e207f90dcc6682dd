"""Staff refund in Linnworks before the goods are back: told early, and never paid again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from returns_pipeline.sandbox import cases
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.end_to_end.ground_truth import open_exceptions
from returns_pipeline_tests.end_to_end.shop import Shop, policy

STARTS = datetime(2026, 3, 9, tzinfo=UTC)


@pytest.fixture
def shop(sqlite_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop with one unit that is received in the middle of the week."""
    with Sandbox(cases.build("out_of_order_evidence", STARTS), now=STARTS) as sandbox:
        yield Shop(sandbox, sqlite_url, {"RETURNS_POLICY": policy(tmp_path)})


def _codes(shop: Shop) -> set[str]:
    return {code for codes in open_exceptions(shop).values() for code in codes}


def test_what_staff_refunded_early_is_told_at_once_and_not_paid_again_when_it_comes(
    shop: Shop,
) -> None:
    [order] = shop.sandbox.world.orders
    line = order.lines[0]
    shop.sync(STARTS + timedelta(days=1))
    assert _codes(shop) == set()
    shop.sandbox.linnworks_server.vendor.staff(
        {
            "action": "refund",
            "order_reference": order.reference,
            "row_id": line.row_id,
            "amount": str(line.line_total),
        }
    )

    shop.sync(STARTS + timedelta(days=1, minutes=5))
    assert _codes(shop) == {"REFUND_AHEAD_OF_GATE"}

    later = STARTS + timedelta(days=7)
    shop.sync(later)
    assert _codes(shop) == set()  # it came, and went back to stock
    shop.close_open_days((later - timedelta(days=1)).date(), later)

    assert _codes(shop) == {"REFUND_DOUBLE_SUSPECTED"}
    [refund] = shop.sandbox.linnworks.books()["refunds"]
    assert refund["times_sent"] == 1
    assert len(shop.sandbox.linnworks.books()["returned"]) == 1
    assert shop.rows(sa.select(t.refunds_due.c.state)) == [{"state": "held"}]
