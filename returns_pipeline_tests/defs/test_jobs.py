"""The three jobs, run as the command line runs them."""

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import should_retry

from returns_pipeline import settings
from returns_pipeline.clients.transport import Unavailable
from returns_pipeline.definitions import defs
from returns_pipeline.defs import launch as launching
from returns_pipeline.defs.launch import launch
from returns_pipeline.defs.recovery import PROCESS_TAG
from returns_pipeline.steps import act, closing, exporting
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.defs import seed
from returns_pipeline_tests.defs.conftest import FakeLinnworks

DAY = date(2026, 3, 14)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _sources_were_read(store: sa.Engine) -> None:
    with store.begin() as connection:
        seed.read_until(connection, datetime(2026, 3, 16, 9, tzinfo=UTC))


def _evaluations(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    records = instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ).records
    told = [r.event_log_entry.dagster_event.asset_check_evaluation_data for r in records]
    return {one.check_name: one for one in told}


def _owed(connection: sa.Connection, day: date = DAY, amount: int = 6000) -> None:
    """A refund of the day in the ledger, and due."""
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    for side in ("debit", "credit"):
        seed.posting(connection, side, amount, business_date=day, occurred_at=at)


# --- the poll ---------------------------------------------------------------------


def test_a_poll_tells_what_it_did_and_whom_it_asked(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance
) -> None:
    heard: list[str] = []

    done = launch("sync_returns", instance=instance, progress=heard.append)

    assert done.success, done.error
    assert done.counts["linnworks_locations"] == {"locations": 6}
    assert done.counts["happy_returns_payloads"]["read"] == 0
    assert done.calls["GetStockLocations"] == 1
    assert done.calls["GET /shipments"] == 1
    assert not any(name.startswith("dagster/") for c in done.counts.values() for name in c)
    run = instance.get_run_by_id(done.run_id)
    assert run is not None
    assert run.tags[PROCESS_TAG] == str(os.getpid())
    assert run.tags[".dagster/repository"] == "__repository__@returns_pipeline"
    assert [one.name for one in done.failed_checks] == []


def test_progress_is_heard_by_whoever_launched_the_job(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance, store: sa.Engine
) -> None:
    with store.begin() as connection:
        seed.unit(connection)
    heard: list[str] = []

    launch("sync_returns", instance=instance, progress=heard.append)

    assert "Linnworks look-ups: 1 of 1" in heard


def test_an_orphan_warns_and_stops_nobody(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance, store: sa.Engine
) -> None:
    with store.begin() as connection:
        seed.unit(connection)

    done = launch("sync_returns", instance=instance)

    assert done.success, done.error
    assert [(one.asset, one.name, one.severity) for one in done.failed_checks] == [
        ("matches", "every_return_has_an_order", "WARN")
    ]
    assert "restocks" in done.counts
    assert done.counts["matches"]["ORPHAN_RETURN"] == 1


def test_a_disposition_without_a_location_stops_the_restocks(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop, "places", ("HR Restock", "Default"))

    done = launch("sync_returns", instance=instance)

    assert not done.success
    assert [one.name for one in done.failed_checks] == ["every_disposition_has_a_location"]
    assert done.wrong_settings  # only the policy's owner can put it right
    assert "HR Damaged" in (done.error or "")
    assert "restocks" not in done.counts
    assert "matches" in done.counts  # what needs no location goes on


def test_a_row_that_does_not_fit_its_schema_stops_what_comes_after(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance, store: sa.Engine
) -> None:
    with store.begin() as connection:
        seed.unit(connection, stage="no such stage")

    done = launch("sync_returns", instance=instance)

    assert not done.success
    assert [one.name for one in done.failed_checks] == ["rows_fit_their_schema"]
    assert "matches" not in done.counts
    failed = _evaluations(instance, done.run_id)
    assert failed


def test_wrong_settings_are_told_in_their_own_words_and_nobody_is_asked(
    shop: type[FakeLinnworks],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LINNWORKS_TOKEN")

    done = launch("sync_returns", instance=instance)

    assert done.error_class == "SettingsError"
    assert done.wrong_settings
    assert "LINNWORKS_TOKEN" in (done.error or "")
    assert not shop.asked


def test_a_database_without_tables_names_the_remedy(
    shop: type[FakeLinnworks],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("RETURNS_DATABASE_URL", f"sqlite:///{tmp_path / 'empty.db'}")

    done = launch("sync_returns", instance=instance)

    assert done.error_class == "DatabaseUnusable"
    assert "db upgrade" in (done.error or "")


def test_no_secret_stands_anywhere_in_a_run(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINNWORKS_TOKEN", "very-secret-token")

    done = launch("sync_returns", instance=instance)

    run = instance.get_run_by_id(done.run_id)
    told = [
        str(record.event_log_entry) for record in instance.get_records_for_run(done.run_id).records
    ]
    assert told
    assert "very-secret-token" not in "".join([*told, str(run)])


# --- retries ----------------------------------------------------------------------


def test_a_vendor_that_cannot_be_read_is_asked_again(
    shop: type[FakeLinnworks],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dagster._core.execution.plan import active

    monkeypatch.setattr(active.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda *_args: 0)
    monkeypatch.setattr(shop, "failing", Unavailable("GetStockLocations", "503"))

    done = launch("sync_returns", instance=instance)

    assert not done.success
    assert shop.asked["GetStockLocations"] == 3


def test_a_write_that_fails_is_not_tried_again_by_anything(
    shop: type[FakeLinnworks],
    home: dg.DagsterInstance,
    store: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[str] = []

    def fails(*_args: Any) -> dict[str, int]:
        tried.append("refunds")
        msg = "the line went dead"
        raise OSError(msg)

    monkeypatch.setattr(act, "_drive", fails)
    with store.begin() as connection:
        _owed(connection)

    done = launch("close_business_day", partition_key="2026-03-14", instance=home)

    assert done.failed_step == "batch_refunds"
    assert (done.error, done.error_class) == ("the line went dead", "OSError")
    assert tried == ["refunds"]  # not by the step
    run = home.get_run_by_id(done.run_id)
    assert run is not None
    assert home.run_retries_enabled
    assert not should_retry(run, home)  # not by the daemon, which asks this of failed runs


# --- the day ----------------------------------------------------------------------


def test_closing_a_day_seals_it_and_closing_it_again_changes_nothing_and_says_so(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance, store: sa.Engine, tmp_path: Path
) -> None:
    with store.begin() as connection:
        _owed(connection)

    first = launch("close_business_day", partition_key="2026-03-14", instance=instance)
    with store.connect() as connection:
        sealed = connection.execute(sa.select(t.batches)).all()
    again = launch("close_business_day", partition_key="2026-03-14", instance=instance)

    assert first.success, first.error
    assert first.counts["batches"] == {"sealed": 1, "already": 0}
    assert again.counts["batches"] == {"sealed": 0, "already": 1}
    with store.connect() as connection:
        after = connection.execute(sa.select(t.batches)).all()
    assert [row.hash for row in after] == [row.hash for row in sealed]
    latest = instance.get_latest_materialization_event(dg.AssetKey("batches"))
    assert latest is not None
    assert latest.asset_materialization is not None
    told = latest.asset_materialization.metadata
    assert "sealed already" in str(told["outcome"].value)
    assert told["debits/total"].value == "60.00 GBP"
    assert "HRL-20260314-UKGBP-00" in str(told["batches of the day"].value)
    files = {path.name for path in (tmp_path / "journals").iterdir()}
    assert files == {"HRL-20260314-UKGBP-00.csv", "HRL-20260314-UKGBP-00.json"}


def test_a_day_whose_journal_was_not_written_is_closed_again(
    shop: type[FakeLinnworks],
    instance: dg.DagsterInstance,
    store: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with store.begin() as connection:
        _owed(connection)

    def full(*_args: Any) -> list[Path]:
        msg = "the disk is full"
        raise OSError(msg)

    with monkeypatch.context() as patched:
        patched.setattr(exporting, "export_day", full)
        failed = launch("close_business_day", partition_key="2026-03-14", instance=instance)
    assert failed.failed_step == "journal_files"
    with Runtime(settings.load(), run_id="night") as rt:
        left = closing.days_to_close(rt)
    launch("close_business_day", partition_key="2026-03-14", instance=instance)

    with Runtime(settings.load(), run_id="next night") as rt:
        then = closing.days_to_close(rt)
    assert left == [DAY, date(2026, 3, 15)]  # yesterday always is
    assert then == [date(2026, 3, 15)]


def test_an_open_day_is_refused_with_the_hour_from_which_it_can_be_closed(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance
) -> None:
    done = launch("close_business_day", partition_key="2026-03-16", instance=instance)

    assert done.error_class == "DayNotOver"
    assert "2026-03-17 00:00 UTC" in (done.error or "")


def test_the_schedule_waits_for_the_lag_where_a_person_need_not(
    shop: type[FakeLinnworks],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RETURNS_NOW", "2026-03-16T01:00:00Z")  # the 15th ended an hour ago
    job = defs.resolve_job_def("close_business_day")

    by_hand = launch("close_business_day", partition_key="2026-03-15", instance=instance)
    scheduled = job.execute_in_process(
        run_config=QUIET,
        instance=instance,
        partition_key="2026-03-15",
        raise_on_error=False,
        tags={"dagster/schedule_name": "close_business_day_schedule"},
    )

    assert by_hand.success, by_hand.error
    assert not scheduled.success


def _close_range(instance: dg.DagsterInstance, first: str, last: str) -> Any:
    return defs.resolve_job_def("close_business_day").execute_in_process(
        run_config=QUIET,
        instance=instance,
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        },
    )


def test_a_range_of_days_is_one_run_with_each_day_told_by_itself(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance, store: sa.Engine
) -> None:
    with store.begin() as connection:
        _owed(connection, date(2026, 3, 13), 1000)
        _owed(connection, date(2026, 3, 14), 2000)

    done = _close_range(instance, "2026-03-12", "2026-03-15")

    assert done.success
    made = {
        e.step_materialization_data.materialization.partition: {
            name: value.value
            for name, value in e.step_materialization_data.materialization.metadata.items()
        }
        for e in done.all_events
        if e.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION
        and e.asset_key == dg.AssetKey("batches")
    }
    assert {day: told["sealed"] for day, told in made.items()} == {
        "2026-03-12": 0,
        "2026-03-13": 1,
        "2026-03-14": 1,
        "2026-03-15": 0,
    }
    assert made["2026-03-14"]["debits/GBP minor units"] == 2000
    history = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey("batches"), "batch_balances"), limit=10
    )
    assert {record.partition for record in history} == set(made)
    assert {record.status.value for record in history} == {"SUCCEEDED"}


def test_a_range_with_an_open_day_seals_none_of_its_days(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance, store: sa.Engine
) -> None:
    with store.begin() as connection:
        _owed(connection)

    done = _close_range(instance, "2026-03-14", "2026-03-16")

    assert not done.success
    with store.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(t.batches)) == 0


def test_days_sealed_before_one_that_fails_stay_recorded(
    shop: type[FakeLinnworks],
    instance: dg.DagsterInstance,
    store: sa.Engine,
    settings_of_a_shop: Path,
) -> None:
    policy = settings_of_a_shop.read_text() + "max_batch_minor = 1500\n"
    settings_of_a_shop.write_text(policy)
    with store.begin() as connection:
        _owed(connection, date(2026, 3, 13), 1000)
        _owed(connection, date(2026, 3, 14), 2000)

    done = _close_range(instance, "2026-03-12", "2026-03-15")

    assert not done.success
    recorded = instance.get_materialized_partitions(dg.AssetKey("batches"))
    assert recorded == {"2026-03-12", "2026-03-13"}


def test_a_breaker_is_told_by_its_name_and_nothing_is_sealed(
    shop: type[FakeLinnworks],
    instance: dg.DagsterInstance,
    store: sa.Engine,
    settings_of_a_shop: Path,
) -> None:
    settings_of_a_shop.write_text(settings_of_a_shop.read_text() + "max_batch_minor = 100\n")
    with store.begin() as connection:
        _owed(connection)

    done = launch("close_business_day", partition_key="2026-03-14", instance=instance)

    assert done.error_class == "BatchBreaker"
    assert "max_batch_minor" in (done.error or "")


def test_a_batch_that_does_not_balance_is_not_paid(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance, store: sa.Engine
) -> None:
    with store.begin() as connection:
        seed.batch(connection)
        seed.unguarded(connection)
        connection.execute(
            sa.update(t.batch_lines)
            .where(t.batch_lines.c.side == "debit")
            .values(amount_minor=5999)
        )

    done = launch("close_business_day", partition_key="2026-03-14", instance=instance)

    assert done.error_class == "CheckFailed"
    assert "batch_refunds" not in done.counts
    assert "batches: batch balances" in (done.error or "")


def test_a_day_of_a_clock_that_was_set_ahead_can_be_closed(
    shop: type[FakeLinnworks],
    instance: dg.DagsterInstance,
    store: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RETURNS_NOW", "2039-06-02T09:00:00Z")
    with store.begin() as connection:
        connection.execute(sa.update(t.watermarks).values(at=datetime(2039, 6, 2, 9, tzinfo=UTC)))

    done = launch("close_business_day", partition_key="2039-06-01", instance=instance)

    assert done.success, done.error


def test_what_is_no_date_is_refused_before_anything_is_recorded(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance
) -> None:
    with pytest.raises(ValueError, match="isoformat"):
        launch("close_business_day", partition_key="yesterday", instance=instance)

    assert instance.get_runs_count() == 0


def test_checks_can_be_run_without_their_asset(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance, store: sa.Engine
) -> None:
    with store.begin() as connection:
        seed.unit(connection)
        seed.orphan(connection, since_at=seed.ago(days=8))
    key = dg.AssetCheckKey(dg.AssetKey("matches"), "every_return_has_an_order")
    job = dg.define_asset_job("one", selection=dg.AssetSelection.checks(key))
    loaded = dg.Definitions(
        assets=defs.assets, asset_checks=defs.asset_checks, jobs=[job], resources=defs.resources
    )

    done = loaded.resolve_job_def("one").execute_in_process(run_config=QUIET, instance=instance)

    [told] = done.get_asset_check_evaluations()
    assert not told.passed
    assert told.severity is dg.AssetCheckSeverity.ERROR
    assert told.metadata["old"].value == 1
    assert "| ret-u1 | #1001 | ORPHAN_RETURN | 8 |" in str(told.metadata["which"].value)


def test_a_launch_answers_for_the_run_it_made(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance
) -> None:
    done = launch("reconcile_returns", instance=instance)

    assert isinstance(done, launching.LaunchResult)
    assert done.success, done.error
    run = instance.get_run_by_id(done.run_id)
    assert run is not None
    assert run.job_name == "reconcile_returns"
    assert run.status is dg.DagsterRunStatus.SUCCESS


def test_a_day_is_reconciled_as_its_partition(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance
) -> None:
    done = launch("reconcile_returns", partition_key="2026-03-15", instance=instance)

    assert done.success, done.error
    key = dg.AssetKey("day_three_ways")
    assert instance.get_materialized_partitions(key) == {"2026-03-15"}
    told = instance.get_latest_materialization_event(key)
    assert told is not None
    assert told.asset_materialization is not None
    (units,) = told.asset_materialization.metadata["day/three ways"].value
    assert units["what"] == "units received, and in stock"


# --- finance: currencies, corrections, force ---------------------------------------


def test_a_sealed_batch_is_shown_on_its_day_and_currency_with_its_totals(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance, store: sa.Engine
) -> None:
    with store.begin() as connection:
        _owed(connection)
        for side in ("debit", "credit"):
            seed.posting(
                connection,
                side,
                2500,
                currency="EUR",
                occurred_at=datetime(2026, 3, 14, tzinfo=UTC),
            )

    done = launch("close_business_day", partition_key="2026-03-14", instance=instance)

    assert done.success, done.error
    key = dg.AssetKey("sealed_batches")
    told = instance.get_materialized_partitions(key)
    assert {frozenset(str(one).split("|")) for one in told} == {
        frozenset({"2026-03-14", "GBP"}),
        frozenset({"2026-03-14", "EUR"}),
    }
    made = instance.fetch_materializations(key, limit=2).records
    totals = [record.asset_materialization.metadata for record in made]
    assert sorted(one["totals/debit"].value for one in totals) == [2500, 6000]
    assert all("lines" in one for one in totals)


def test_a_batch_is_reversed_by_a_run_of_its_own(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance, store: sa.Engine
) -> None:
    with store.begin() as connection:
        made = seed.batch(connection)
    config = {"batch_corrections": {"batch": made.id, "reason": "a test"}}

    done = launch("reverse_batch", config=config, instance=instance)
    again = launch("reverse_batch", config=config, instance=instance)

    assert done.success, done.error
    document = done.documents["batch_corrections"]
    (generic, *_) = document.pop("targets")
    assert generic["batches"] == ["HRL-20260314-UKGBP-R1"]
    assert all(Path(path).exists() for path in generic["files"])
    assert document == {
        "reversed": made.id,
        "reversal": "HRL-20260314-UKGBP-R1",
        "replacements": ["HRL-20260314-UKGBP-01"],
        "origin_date": "2026-03-14",
    }
    assert again.error_class == "CannotReverse"
    closed = launch("close_business_day", partition_key="2026-03-14", instance=instance)
    assert closed.success, closed.error


def test_a_day_whose_vendors_were_not_read_is_closed_only_with_a_reason(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance, store: sa.Engine
) -> None:
    with store.begin() as connection:
        _owed(connection)
        connection.execute(sa.update(t.watermarks).values(at=datetime(2026, 3, 14, tzinfo=UTC)))

    refused = launch("close_business_day", partition_key="2026-03-14", instance=instance)
    forced = launch(
        "close_business_day",
        partition_key="2026-03-14",
        config={"batches": {"force": "the payout is due"}},
        instance=instance,
    )

    assert refused.error_class == "DayIncomplete"
    assert forced.success, forced.error
    assert forced.counts["batches"]["sealed"] == 1


def test_a_backfill_in_one_run_seals_the_bytes_that_many_runs_seal(
    shop: type[FakeLinnworks], instance: dg.DagsterInstance, store: sa.Engine
) -> None:
    days = [date(2026, 3, 12), date(2026, 3, 13), date(2026, 3, 14)]

    def fill() -> None:
        with store.begin() as connection:
            for table in (t.batch_lines, t.postings, t.batches, t.batch_events, t.closed_days):
                connection.execute(sa.delete(table))
            for number, day in enumerate(days):
                at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
                for side in ("debit", "credit"):
                    seed.posting(
                        connection,
                        side,
                        1000 + number,
                        posting_key=f"{day}:{side}",
                        business_date=day,
                        occurred_at=at,
                    )

    def bodies() -> list[str]:
        with store.connect() as connection:
            query = sa.select(t.batches.c.body).order_by(t.batches.c.batch_id)
            return list(connection.execute(query).scalars())

    with store.begin() as connection:
        seed.unguarded(connection)
    fill()
    for day in days:
        assert launch(
            "close_business_day", partition_key=day.isoformat(), instance=instance
        ).success
    many = bodies()
    fill()
    job = defs.resolve_job_def("close_business_day")
    done = job.execute_in_process(
        run_config=QUIET,
        instance=instance,
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": days[0].isoformat(),
            "dagster/asset_partition_range_end": days[-1].isoformat(),
        },
    )

    assert done.success
    assert len(many) == 3
    assert bodies() == many
