"""The commands that work, through the real jobs, against the sandbox vendors over HTTP."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from returns_pipeline.sandbox import cases
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline_tests.cli.conftest import Answer, Command

START = datetime(2026, 3, 9, tzinfo=UTC)

pytestmark = pytest.mark.slow


@dataclass
class Shop:
    """The sandbox of one case, and the commands pointed at it."""

    sandbox: Sandbox
    command: Command
    variables: dict[str, str]

    def at(self, now: datetime, *args: str, **more: str) -> Answer:
        """Run a command when it is ``now`` for everybody."""
        self.sandbox.clock.set(now)
        variables = {**self.variables, "RETURNS_NOW": now.isoformat(), **more}
        return self.command(*args, **variables)


@pytest.fixture
def shop(command: Command, sqlite_url: str, tmp_path: Path) -> Iterator[Shop]:
    """Three units of one SKU, in three conditions, live."""
    policy = tmp_path / "policy.toml"
    policy.write_text('[refunds]\nexecutor = "linnworks"\n')
    with Sandbox(cases.build("three_conditions_one_sku", START), now=START) as sandbox:
        yield Shop(
            sandbox,
            command,
            {
                **sandbox.environ(),
                "RETURNS_DATABASE_URL": sqlite_url,
                "RETURNS_POLICY": str(policy),
                "RETURNS_MODE": "live",
                "DAGSTER_HOME": str(tmp_path / "home"),
            },
        )


def is_document(answer: Answer) -> Any:
    assert answer.out.startswith("{")
    return answer.json()


def test_a_week_from_poll_to_closed_day(shop: Shop, tmp_path: Path) -> None:
    """One story on one sandbox, since each command builds on what the last one left."""
    late = START + timedelta(days=7, hours=9)

    shadow = shop.at(late, "sync", "--json", RETURNS_MODE="shadow")
    assert shadow.code == 0
    document = is_document(shadow)
    assert document["mode"] == "shadow"
    assert document["would_post"] == 3 + 3  # three restocks, three refunds
    assert document["posted"] == {}
    assert shop.sandbox.linnworks_server.vendor.calls["CreateRMABooking"] == 0

    live = is_document(shop.at(late, "sync", "--json"))
    assert live["intended"]["restocks"] > 0
    assert live["posted"] == {"rma_action": 1, "rma_booking": 1}
    assert live["unknown"] == 0
    assert live["would_post"] == 0
    assert live["calls"]["linnworks.CreateRMABooking"] == 1
    assert shop.sandbox.linnworks_server.vendor.calls["CreateRMABooking"] == 1
    assert set(live) >= {"read", "changed", "held", "intended", "posted", "unknown", "calls"}

    again = is_document(shop.at(late + timedelta(minutes=5), "sync", "--json"))
    assert again["posted"] == {}
    assert sum(again["changed"].values()) == 0

    day = shop.command(
        "exceptions", "list", "--json", RETURNS_DATABASE_URL=shop.variables["RETURNS_DATABASE_URL"]
    )
    assert day.code == 0

    first, last = (START + timedelta(days=n) for n in (0, 6))
    span = (f"{first:%Y-%m-%d}", "--to", f"{last:%Y-%m-%d}")
    closed = is_document(shop.at(late, "close-day", *span, "--json"))
    batches = [batch for one in closed["days"] for batch in one["batches"]]
    assert batches
    assert sum(one["refunds"]["actioned"] for one in closed["days"]) == 3
    for batch in batches:
        assert set(batch) == {
            "id",
            "state",
            "kind",
            "origin_date",
            "currency",
            "hash",
            "totals",
            "lines",
        }
        debit, credit = (
            sum(ln["amount_minor"] for ln in batch["lines"] if ln["side"] == side)
            for side in ("debit", "credit")
        )
        assert debit == credit > 0
        assert set(batch["lines"][0]) == {
            "number",
            "role",
            "account",
            "tax_rate",
            "side",
            "amount_minor",
            "item_ids",
        }

    before = shop.sandbox.linnworks_server.vendor.calls.copy()
    repeated = shop.at(late, "close-day", batches[0]["origin_date"], "--json")
    assert repeated.code == 0
    assert "nothing has come late" in repeated.err
    once_more = is_document(repeated)
    assert once_more["batches"][0]["hash"] == batches[0]["hash"]
    assert len(once_more["batches"]) == 1
    after = shop.sandbox.linnworks_server.vendor.calls
    assert after["CreateRefund"] == before["CreateRefund"]

    reconciled = is_document(shop.at(late, "reconcile", batches[0]["origin_date"], "--json"))
    assert reconciled["differences"] == 0
    assert reconciled["day"]["batches"][0]["hash"] == batches[0]["hash"]

    story = is_document(shop.at(late, "explain", batches[0]["id"], "--json"))
    assert len(story["items"]) == 3
    places = {item["stock_adjustments"][0]["location"] for item in story["items"]}
    assert places == {"HR Damaged", "HR Quarantine", "HR Restock"}

    written = shop.at(
        late, "report", batches[0]["origin_date"], "--to", str(tmp_path / "out"), "--json"
    )
    assert Path(is_document(written)["files"]["html"]).stat().st_size > 5000


def test_a_vendor_that_refuses_fails_the_command_with_the_reason_and_the_run(shop: Shop) -> None:
    now = START + timedelta(days=1)
    answer = shop.at(now, "sync", "--json", LINNWORKS_TOKEN="99999999-0000-4000-8000-000000000000")
    assert answer.code == 1
    error = is_document(answer)["error"]
    assert error["exit_code"] == 1
    assert error["run_id"]
    assert error["error_class"] == "CredentialsRevoked"
    assert "Dagster UI" in answer.err
    assert error["run_id"] in answer.err
    assert "99999999" not in answer.err + answer.out


def test_ctrl_c_ends_the_command_with_130_and_no_traceback(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from returns_pipeline.defs import launch

    def interrupted(*_args: Any, **_more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "launch", interrupted)
    answer = shop.at(START + timedelta(days=1), "sync", "--json")
    assert answer.code == 130
    assert is_document(answer)["error"]["exit_code"] == 130
    assert "run it again" in answer.err


def test_a_day_that_is_not_over_is_not_closed(shop: Shop) -> None:
    now = START + timedelta(days=1, hours=15)
    answer = shop.at(now, "close-day", "today", "--json")
    assert answer.code == 2
    assert "is not over" in answer.err
    assert not shop.sandbox.linnworks_server.vendor.calls


def test_a_range_that_runs_backwards_is_wrong_usage(shop: Shop) -> None:
    now = START + timedelta(days=6)
    assert shop.at(now, "close-day", "2026-03-12", "--to", "2026-03-10").code == 2


def test_the_demo_tells_what_happened_and_leaves_the_vendors_for_the_ui(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from returns_pipeline.cli import demo

    folder = tmp_path / "demo"
    paths = {
        "FOLDER": folder,
        "DATABASE": folder / "demo.sqlite",
        "POLICY": folder / "policy.toml",
        "VENDORS": folder / "vendors.state",
        "LOCK": tmp_path / "demo.lock",
        "_DAYS": 1,
    }
    for name, value in paths.items():
        monkeypatch.setattr(demo, name, value)
    folder.mkdir()
    (folder / "left over").write_text("by an interrupted demo")
    with monkeypatch.context() as variables:
        for name in (*demo.variables(), "RETURNS_NOW"):
            variables.setenv(name, "overridden")
        variables.setenv("RETURNS_LINNWORKS_RATE_SHARE", "0")
        answer = command("demo", "--json", DAGSTER_HOME=str(tmp_path / "home"))
    assert answer.code == 0, answer.err
    told = is_document(answer)
    assert told["received"] > 0
    assert sum(row["units"] for row in told["restocked"]) > 0
    assert {row["state"] for row in told["refunds"]} >= {"actioned"}
    assert Path(told["report"]["files"]["html"]).is_relative_to(folder)
    for part in ("Restocked, by location", "Held, and why", "Refunds", "Exceptions, by owner"):
        assert part in answer.err
    assert answer.err.rstrip().endswith("make ui")
    assert not (folder / "left over").exists()
    with Sandbox.load(paths["VENDORS"]) as later:
        assert later.linnworks.rmas


def test_the_sandbox_prints_how_to_reach_it_and_stops_when_told() -> None:
    served = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from returns_pipeline.cli import main; main()",
            "sandbox",
            "--json",
            "--now",
            "2026-03-14T22:00:00Z",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},  # noqa: TID251
    )
    try:
        assert served.stderr is not None
        assert "up" in served.stderr.readline()
    finally:
        served.send_signal(signal.SIGTERM)
        out, _ = served.communicate(timeout=30)
    assert served.returncode == 0
    assert '"LINNWORKS_AUTH_URL": "http://127.0.0.1:' in out
