"""Orders that cannot be read, and orders that are not there: neither stops the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.sandbox import cases
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.steps import capture
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.end_to_end.shop import Shop, policy

STARTS = datetime(2026, 3, 9, tzinfo=UTC)
LATER = STARTS + timedelta(days=8)


def test_an_order_without_an_id_is_named_and_the_others_go_on(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Linnworks.orders_changed_since

    def spoilt(self: Linnworks, *args: object) -> object:
        yield [b'{"NumOrderId": 7}']
        yield from usual(self, *args)

    monkeypatch.setattr(Linnworks, "orders_changed_since", spoilt)
    with Sandbox(cases.build("fee_on_return", STARTS), now=STARTS) as sandbox:
        shop = Shop(sandbox, sqlite_url, {"RETURNS_POLICY": policy(tmp_path)})

        shop.sync(LATER)
        shop.sync(LATER + timedelta(hours=1))

        assert sandbox.linnworks.books()["returned"] != []
    codes = shop.rows(sa.select(t.exceptions.c.code, t.exceptions.c.key))
    assert any(row["code"] == "SCHEMA_DRIFT" and "unreadable-" in row["key"] for row in codes)


def test_a_tick_looks_up_so_many_unknown_orders_and_the_next_tick_the_rest(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "_LOOK_UPS_A_RUN", 1)
    with Sandbox(cases.build("order_unknown", STARTS), now=STARTS) as sandbox:
        shop = Shop(sandbox, sqlite_url, {"RETURNS_POLICY": policy(tmp_path)})
        shop.sync(LATER)
        asked = shop.rows(sa.select(t.order_look_ups.c.order_key))
        with shop.run(LATER + timedelta(minutes=5)) as rt:
            again = capture.missing_orders(rt)

    assert len(asked) == 1
    assert again["looked_up"] == 0  # asked lately; nobody else waits
