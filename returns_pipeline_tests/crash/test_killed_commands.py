"""The real commands under Dagster, killed in the middle of a write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import astuple
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef

from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.settings import PROJECT
from returns_pipeline_tests.crash import story, verdict
from returns_pipeline_tests.crash.edges import AFTER_EFFECT, BEFORE_COMMIT, BEFORE_REQUEST, Edge
from returns_pipeline_tests.crash.vendors import Vendors
from returns_pipeline_tests.end_to_end.shop import Shop, policy

pytestmark = pytest.mark.slow

# The real program; what it writes beside the database stays in this test's folder.
_RUN = """
import json, sys
from pathlib import Path
from returns_pipeline.steps import closing
from returns_pipeline_tests.crash.edges import Edge, Watch
closing.PROJECT = Path(sys.argv.pop(1))
edge = json.loads(sys.argv.pop(1))
if edge:
    Watch(Edge(*edge)).install()
from returns_pipeline.cli import main
main()
"""
_REFUNDED = "commit of attempts, intents, refunds_due"


class Merchant:
    """The command line, and vendors that kill it after an effect."""

    def __init__(self, vendors: Vendors, shop: Shop, home: Path) -> None:
        self.vendors = vendors
        self.shop = shop
        self.home = home

    def run(self, *command: str, now: datetime, dies: Edge | None = None) -> Any:
        """A command at a time; what it told, or nothing from the dead."""
        self.vendors.clock.set(now)
        environment = {
            **os.environ,  # noqa: TID251
            **self.vendors.environ(),
            **self.shop.environ,
            "RETURNS_DATABASE_URL": self.shop.url,
            "RETURNS_MODE": "live",
            "RETURNS_SETTLE_SECONDS": "60",
            "RETURNS_NOW": now.isoformat(),
            "DAGSTER_HOME": str(self.home),
        }
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _RUN, str(self.home), self._own(dies), *command, "--json"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.vendors.victim(process.pid if dies else 0)
        out, err = process.communicate(timeout=600)
        self.vendors.victim(0)
        assert process.returncode == (-9 if dies else 0), (out, err)
        return json.loads(out) if out else None

    def _own(self, dies: Edge | None) -> str:
        """The edge at which the program kills itself; after an effect a vendor does."""
        is_own = dies is not None and dies.moment != AFTER_EFFECT
        return json.dumps(astuple(dies) if is_own else None)

    def left_over(self) -> tuple[list[str], int]:
        """Runs that never ended, and places in Linnworks' pool that are held."""
        with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(self.home))) as instance:
            runs = [run.run_id for run in instance.get_runs() if not run.is_finished]
            pool = instance.event_log_storage.get_concurrency_info("linnworks")
        return runs, pool.active_slot_count


_BY_VENDORS = (Edge("ActionRMABooking", 2, AFTER_EFFECT), Edge("ActionRefund", 2, AFTER_EFFECT))


@pytest.fixture
def merchant(database_url: str, tmp_path: Path) -> Iterator[Merchant]:
    world = story.day(reduced=True)
    sandbox = Sandbox(world, now=story.STARTS)
    sandbox.save(tmp_path / "vendors")
    sandbox.stop()
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home / "dagster.yaml")
    with Vendors(tmp_path / "vendors", world, kills=_BY_VENDORS) as vendors:
        shop = Shop(vendors, database_url, {"RETURNS_POLICY": policy(tmp_path)})  # type: ignore[arg-type]
        yield Merchant(vendors, shop, home)


@pytest.mark.parametrize(
    ("database_url", "at_the_sync", "at_the_closing"),
    [
        pytest.param("sqlite", *_BY_VENDORS, id="after an effect"),
        pytest.param(
            "postgresql",
            Edge("CreateOrders", 1, BEFORE_REQUEST),
            Edge(_REFUNDED, 1, BEFORE_COMMIT),
            id="before a request, before a commit",
        ),
    ],
    indirect=["database_url"],
)
def test_killed_commands_leave_neither_run_nor_place_and_the_next_ones_finish_their_work(
    merchant: Merchant, at_the_sync: Edge, at_the_closing: Edge
) -> None:
    closing = ("close-day", "2026-03-09", "--to", "2026-03-13")

    merchant.run("sync", now=story.EVENING, dies=at_the_sync)
    runs, held = merchant.left_over()
    assert (len(runs), held) == (1, 1)
    merchant.run("sync", now=story.EVENING + story.LATER)
    assert merchant.left_over() == ([], 0)
    merchant.run("sync", now=story.NIGHT - story.BEFORE)
    merchant.run(*closing, now=story.NIGHT, dies=at_the_closing)
    runs, held = merchant.left_over()
    assert (len(runs), held) == (1, 1)
    merchant.run(*closing, now=story.NIGHT + story.LATER)
    assert merchant.left_over() == ([], 0)

    assert verdict.against_truth(merchant.shop, story.NIGHT + story.LATER) == []
    assert verdict.postings_astray(merchant.shop) == []
