"""A check that begins to fail, one that recovers, a failed run: a line and a notice each."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from returns_pipeline.definitions import defs
from returns_pipeline.defs.alerts import alert_delivery, asset_check_alerts, run_failure_alerts
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.alerts import receivers

pytestmark = pytest.mark.usefixtures("settings_of_a_shop")

CHECK = "every_return_has_an_order"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def _evaluate(instance: dg.DagsterInstance, *, passed: bool) -> None:
    """The check, evaluated by a run of its own."""

    @dg.multi_asset_check(specs=[dg.AssetCheckSpec(CHECK, asset="matches")])
    def one() -> Any:
        yield dg.AssetCheckResult(
            asset_key="matches", check_name=CHECK, passed=passed, description="2 orphans"
        )

    loaded = dg.Definitions(
        asset_checks=[one],
        jobs=[dg.define_asset_job("one", selection=dg.AssetSelection.all_asset_checks())],
    )
    loaded.resolve_job_def("one").execute_in_process(instance=instance, run_config=QUIET)


def _noted(store: sa.Engine) -> list[Any]:
    with store.connect() as connection:
        return list(connection.execute(sa.select(t.alerts).order_by(t.alerts.c.id)))


def _ticks(
    instance: dg.DagsterInstance, cursor: str | None, capsys: pytest.CaptureFixture[str]
) -> tuple[str | None, list[str]]:
    capsys.readouterr()
    with dg.build_sensor_context(instance=instance, cursor=cursor, definitions=defs) as context:
        asset_check_alerts(context)
        return context.cursor, _lines(capsys)


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if " - dagster - " in line]


def test_a_check_is_told_of_when_it_begins_to_fail_and_when_it_holds_again(
    instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str], store: sa.Engine
) -> None:
    _evaluate(instance, passed=False)
    cursor, first = _ticks(instance, None, capsys)
    _evaluate(instance, passed=False)
    cursor, still = _ticks(instance, cursor, capsys)
    _evaluate(instance, passed=True)
    cursor, again = _ticks(instance, cursor, capsys)
    _, nothing = _ticks(instance, cursor, capsys)

    assert len(first) == 1
    assert "ERROR check matches:every_return_has_an_order failed: 2 orphans" in first[0]
    assert "owner team:customer-service" in first[0]
    assert "docs/runbook.md#orphan_return" in first[0]
    assert still == []
    assert len(again) == 1
    assert "holds again" in again[0]
    assert nothing == []
    failed, recovered = _noted(store)
    assert (failed.kind, failed.owner, failed.severity) == ("check_failed", "CX", "S2")
    assert failed.title == "Check failed: every return has an order"
    assert failed.what == "2 orphans"
    assert failed.runbook == "docs/runbook.md#orphan_return"
    assert (recovered.kind, recovered.title) == (
        "check_recovered",
        "Holds again: every return has an order",
    )


def test_what_could_not_be_noted_is_told_of_at_the_next_tick(
    instance: dg.DagsterInstance,
    capsys: pytest.CaptureFixture[str],
    store: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _evaluate(instance, passed=False)
    with monkeypatch.context() as without:
        without.setenv("RETURNS_DATABASE_URL", "sqlite:////nowhere/at/all.db")
        with (
            dg.build_sensor_context(instance=instance, definitions=defs) as context,
            pytest.raises(Exception, match="database"),
        ):
            asset_check_alerts(context)
        assert context.cursor is None
    _ticks(instance, None, capsys)
    assert len(_noted(store)) == 1


def test_a_failure_that_came_and_went_between_two_ticks_is_told_of(
    instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    _evaluate(instance, passed=True)
    cursor, _ = _ticks(instance, None, capsys)
    _evaluate(instance, passed=False)
    _evaluate(instance, passed=True)

    _, lines = _ticks(instance, cursor, capsys)

    assert len(lines) == 2


def test_a_failed_run_is_one_line_with_its_reason(
    instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str], store: sa.Engine
) -> None:
    @dg.op
    def breaks() -> None:
        raise dg.Failure(description="LINNWORKS_TOKEN: not set")

    @dg.job
    def a_job() -> None:
        breaks()

    done = a_job.execute_in_process(instance=instance, raise_on_error=False, run_config=QUIET)
    [failure] = [e for e in done.all_events if e.event_type is dg.DagsterEventType.RUN_FAILURE]
    run = instance.get_run_by_id(done.run_id)
    assert run is not None
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failure_alerts",
        dagster_event=failure,
        dagster_instance=instance,
        dagster_run=run,
    ).for_run_failure()
    capsys.readouterr()

    run_failure_alerts(context)

    lines = _lines(capsys)
    assert len(lines) == 1
    assert "a_job failed in breaks: LINNWORKS_TOKEN: not set;" in lines[0]
    assert "owner" in lines[0]
    assert "docs/runbook.md" in lines[0]
    run_failure_alerts(context)
    (noted,) = _noted(store)
    assert noted.title == "Run failed: a_job in breaks"
    assert noted.what == "LINNWORKS_TOKEN: not set"
    assert noted.owner == "Operations"


def test_a_failed_check_reaches_its_owner_with_a_link_to_the_run(
    instance: dg.DagsterInstance,
    capsys: pytest.CaptureFixture[str],
    settings_of_a_shop: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with settings_of_a_shop.open("a") as policy:
        policy.write('[alerts]\ndagster_url = "https://dagster.example"\n')
    with receivers.web() as seen:
        monkeypatch.setenv("RETURNS_ALERT_WEBHOOK_URL", seen.url)
        _evaluate(instance, passed=False)
        _ticks(instance, None, capsys)
        with dg.build_sensor_context(instance=instance, definitions=defs) as context:
            said = alert_delivery(context)
            again = alert_delivery(context)
    (document,) = seen.posted
    assert document["owner"] == "CX"
    (run,) = instance.get_runs()
    assert document["notices"][0]["link"] == f"https://dagster.example/runs/{run.run_id}"
    assert "to CX: CX: Check failed: every return has an order" in capsys.readouterr().err
    assert said.skip_message.startswith("1 messages sent")
    assert again.skip_message.startswith("0 messages sent")


def test_a_channel_that_takes_nothing_is_named_in_the_log(
    instance: dg.DagsterInstance,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receivers.web() as seen:
        seen.answers = [404]
        monkeypatch.setenv("RETURNS_ALERT_WEBHOOK_URL", seen.url)
        _evaluate(instance, passed=False)
        _ticks(instance, None, capsys)
        with dg.build_sensor_context(instance=instance, definitions=defs) as context:
            said = alert_delivery(context)
    log = capsys.readouterr().err
    assert "not delivered to CX by webhook after 1 tries (refused with status 404)" in log
    assert seen.url not in log
    assert said.skip_message.endswith("1 undelivered")


def test_the_sensors_are_on() -> None:
    for sensor in (asset_check_alerts, run_failure_alerts, alert_delivery):
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
