"""What starts by itself, when, and for which day."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import sqlalchemy as sa

from returns_pipeline.clients.transport import ContractBroken
from returns_pipeline.definitions import defs
from returns_pipeline.defs.automation import (
    close_schedule,
    exceptions_after_a_failed_poll,
    reconcile_schedule,
    sync_schedule,
)
from returns_pipeline.defs.launch import launch
from returns_pipeline.defs.maintenance import prune, prune_schedule
from returns_pipeline.defs.partitions import business_days
from returns_pipeline.defs.recovery import BEGAN_TAG, process_tags
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.defs import seed
from returns_pipeline_tests.defs.conftest import FakeLinnworks

LONDON = ZoneInfo("Europe/London")
TICK = datetime(2026, 3, 16, 2, 15, tzinfo=LONDON)


def _tick(
    schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance, at: datetime = TICK
) -> dg.ScheduleEvaluationContext:
    return dg.build_schedule_context(
        instance=instance, scheduled_execution_time=at, repository_def=defs.get_repository_def()
    )


@pytest.fixture
def local(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path / "local"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder)) as made:
        yield made


def test_schedules_are_on_and_keep_the_merchants_hours() -> None:
    found = {s.name: s for s in (sync_schedule, close_schedule, reconcile_schedule)}

    assert {name: s.cron_schedule for name, s in found.items()} == {
        "sync_returns_schedule": "*/5 * * * *",
        "close_business_day_schedule": "15 2 * * *",
        "reconcile_returns_schedule": "45 2 * * *",
    }
    for schedule in (*found.values(), prune_schedule):
        assert schedule.execution_timezone == "Europe/London"
        assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_a_poll_starts_unless_the_last_one_is_still_at_it(local: dg.DagsterInstance) -> None:
    with _tick(sync_schedule, local) as context:
        first = sync_schedule.evaluate_tick(context)
    local.create_run_for_job(
        defs.resolve_job_def("sync_returns"),
        tags=process_tags(),
        status=dg.DagsterRunStatus.STARTED,
    )
    with _tick(sync_schedule, local) as context:
        second = sync_schedule.evaluate_tick(context)

    assert len(first.run_requests or []) == 1
    assert not second.run_requests
    assert "still active" in (second.skip_message or "")


def test_a_poll_does_not_wait_for_one_that_was_killed(local: dg.DagsterInstance) -> None:
    local.create_run_for_job(
        defs.resolve_job_def("sync_returns"),
        tags={**process_tags(), BEGAN_TAG: "long ago"},
        status=dg.DagsterRunStatus.STARTED,
    )

    with _tick(sync_schedule, local) as context:
        told = sync_schedule.evaluate_tick(context)

    assert len(told.run_requests or []) == 1


@pytest.mark.slow
def test_the_night_closes_yesterday_and_every_day_left_open(
    shop: type[FakeLinnworks],
    local: dg.DagsterInstance,
    store: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RETURNS_NOW", TICK.isoformat())
    with store.begin() as connection:
        seed.batch(connection, date(2026, 3, 9))  # sealed, its refunds not all carried out
        seed.posting(connection, "debit", 100, business_date=date(2026, 3, 12))
        seed.posting(connection, "debit", 100, business_date=date(2026, 3, 16))  # today's

    with _tick(close_schedule, local) as context:
        told = close_schedule.evaluate_tick(context)

    requests = told.run_requests or []
    assert [r.partition_key for r in requests] == ["2026-03-09", "2026-03-12", "2026-03-15"]
    assert len({r.run_key for r in requests}) == 3


@pytest.mark.slow
def test_a_batch_that_is_paid_is_not_closed_again(
    shop: type[FakeLinnworks],
    local: dg.DagsterInstance,
    store: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RETURNS_NOW", TICK.isoformat())
    with store.begin() as connection:
        seed.batch(connection, date(2026, 3, 9))
        for state in ("exported", "posted"):
            connection.execute(sa.update(t.batches).values(state=state))

    with _tick(close_schedule, local) as context:
        told = close_schedule.evaluate_tick(context)

    assert [r.partition_key for r in told.run_requests or []] == ["2026-03-15"]


def test_a_day_is_a_day_in_the_merchants_zone_also_when_clocks_change() -> None:
    with dg.partition_loading_context(effective_dt=datetime(2026, 12, 1, tzinfo=UTC)):
        spring = business_days.time_window_for_partition_key("2026-03-29")
        autumn = business_days.time_window_for_partition_key("2026-10-25")

    hours = [
        (day.end.astimezone(UTC) - day.start.astimezone(UTC)).total_seconds() / 3600
        for day in (spring, autumn)
    ]
    assert hours == [23, 25]


@pytest.mark.parametrize(
    ("at", "last"),
    [
        (datetime(2026, 6, 30, 23, 30, tzinfo=UTC), "2026-06-30"),  # 00:30 in London
        (datetime(2026, 6, 30, 22, 30, tzinfo=UTC), "2026-06-29"),
        (datetime(2026, 12, 1, 0, 30, tzinfo=UTC), "2026-11-30"),
    ],
)
def test_the_open_day_is_no_partition(at: datetime, last: str) -> None:
    with dg.partition_loading_context(effective_dt=at):
        assert business_days.get_last_partition_key() == last


# --- housekeeping -----------------------------------------------------------------


def test_old_polls_are_forgotten_and_closed_days_are_not(local: dg.DagsterInstance) -> None:
    for name in ("sync_returns", "close_business_day"):
        run = local.create_run_for_job(
            defs.resolve_job_def(name), status=dg.DagsterRunStatus.STARTED
        )
        local.report_run_failed(run)
    files = Path(local.event_log_storage._base_dir)
    before = len(list(files.glob("*.db")))

    deleted = prune(local, before=datetime(2100, 1, 1, tzinfo=UTC), limit=10)

    assert deleted == 1
    assert [run.job_name for run in local.get_runs()] == ["close_business_day"]
    assert len(list(files.glob("*.db"))) == before - 1


def test_recent_polls_are_kept(local: dg.DagsterInstance) -> None:
    run = local.create_run_for_job(
        defs.resolve_job_def("sync_returns"), status=dg.DagsterRunStatus.STARTED
    )
    local.report_run_failed(run)

    assert prune(local, before=datetime(2026, 1, 1, tzinfo=UTC), limit=10) == 0


def test_a_poll_that_fails_has_its_silence_entered_in_the_queue(
    shop: type[FakeLinnworks],
    instance: dg.DagsterInstance,
    store: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shop, "failing", ContractBroken("GetStockLocations", "moved"))
    with store.begin() as connection:
        seed.insert(connection, t.watermarks, name="linnworks.orders", at=seed.ago(hours=2))
    failed = launch("sync_returns", instance=instance)
    run = instance.get_run_by_id(failed.run_id)
    assert run is not None
    records = instance.get_records_for_run(
        failed.run_id, of_type=dg.DagsterEventType.RUN_FAILURE
    ).records
    event = records[0].event_log_entry.dagster_event
    assert event is not None
    context = dg.build_run_status_sensor_context(
        sensor_name=exceptions_after_a_failed_poll.name,
        dagster_event=event,
        dagster_instance=instance,
        dagster_run=run,
    ).for_run_failure()

    asked = exceptions_after_a_failed_poll(context)
    done = launch("refresh_exceptions", instance=instance)

    assert isinstance(asked, dg.RunRequest)
    assert done.success
    with store.connect() as connection:
        codes = connection.execute(sa.select(t.exceptions.c.code)).scalars().all()
    assert "SOURCE_STALE" in codes
