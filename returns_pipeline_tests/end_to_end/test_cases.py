"""Every case of the specification, lived through against both vendors over HTTP.

All cases stand in one world, lived through once a worker: what one of them does must not
depend on the others. A case is also a world of its own (``cases.build``) for whoever wants
to look at it alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from returns_pipeline.sandbox import cases
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.sandbox.world import week
from returns_pipeline.storage.engine import connect
from returns_pipeline.storage.migrate import upgrade
from returns_pipeline_tests.end_to_end.ground_truth import differences, live_through
from returns_pipeline_tests.end_to_end.shop import Shop, policy

STARTS = datetime(2026, 3, 9, tzinfo=UTC)
UNTIL = STARTS + timedelta(days=8)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("lived_week")]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A week of a small merchant, every case in it, lived through to the end."""
    folder = tmp_path_factory.mktemp("week")
    url = f"sqlite:///{folder / 'returns.db'}"
    engine = connect(url)
    upgrade(engine)
    engine.dispose()
    with Sandbox(week(starts_at=STARTS, orders_a_day=6), now=STARTS) as sandbox:
        shop = Shop(sandbox, url, {"RETURNS_POLICY": policy(folder)})
        live_through(shop, UNTIL)
        yield shop


@pytest.mark.parametrize("name", cases.NAMES)
def test_the_case_ends_as_the_specification_says(lived: Shop, name: str) -> None:
    assert differences(lived, UNTIL, name) == []


def test_the_ordinary_returns_end_as_their_conditions_say(lived: Shop) -> None:
    assert differences(lived, UNTIL, "ordinary") == []


def test_a_sync_with_nothing_new_writes_nothing_to_a_vendor(lived: Shop) -> None:
    calls = lived.sync(UNTIL)["calls"]

    writes = {"CreateRMABooking", "ActionRMABooking", "CreateRefund", "ActionRefund"}
    assert not [name for name in calls if name.rpartition(".")[2] in writes | {"CreateOrders"}]
