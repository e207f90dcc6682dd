"""Housekeeping of Dagster's own records: old polls are forgotten.

Dagster keeps every event of every run for ever; at a poll every five minutes that is some
50 MB a day. Only polls and reconciliations are pruned: to delete the run that closed a day
would make Dagster forget that the day is closed. The pipeline's own tables are not touched.
"""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster import DagsterInstance

from returns_pipeline.defs.jobs import reconcile_returns, sync_returns
from returns_pipeline.defs.partitions import ZONE

_FINISHED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
PRUNED = (sync_returns.name, reconcile_returns.name, "prune_poll_runs")


class Pruning(dg.Config):
    """How long finished polls are kept, and how many are removed at once."""

    keep_days: int = 14
    batch: int = 5_000


def prune(instance: DagsterInstance, *, before: datetime, limit: int) -> int:
    """Delete finished polls created before an instant, oldest first; how many were."""
    deleted = 0
    for job in PRUNED:
        old = instance.get_run_records(
            dg.RunsFilter(job_name=job, statuses=_FINISHED, created_before=before),
            limit=limit,
            ascending=True,
        )
        for record in old:
            run_id = record.dagster_run.run_id
            instance.delete_run(run_id)
            _remove_files(instance, run_id)
            deleted += 1
    return deleted


def _remove_files(instance: DagsterInstance, run_id: str) -> None:
    # On SQLite a run's events are a file of their own, which Dagster leaves behind.
    base = getattr(instance.event_log_storage, "_base_dir", None)
    if base:
        for suffix in (".db", ".db-shm", ".db-wal"):
            (Path(base) / f"{run_id}{suffix}").unlink(missing_ok=True)
    shutil.rmtree(Path(instance.storage_directory()) / run_id, ignore_errors=True)


@dg.op(name="prune_runs", description="Deletes polls older than the days they are kept.")
def prune_runs(context: dg.OpExecutionContext, config: Pruning) -> None:
    """Delete old polls."""
    before = datetime.now(UTC) - timedelta(days=config.keep_days)
    deleted = prune(context.instance, before=before, limit=config.batch)
    context.log.info("%s polls older than %s days deleted", deleted, config.keep_days)


@dg.job(
    name="prune_poll_runs",
    description="Forgets polls older than two weeks, so that Dagster's records stay small.",
    executor_def=dg.in_process_executor,
)
def prune_poll_runs() -> None:
    """Delete old polls."""
    prune_runs()


prune_schedule = dg.ScheduleDefinition(
    name="prune_poll_runs_schedule",
    job=prune_poll_runs,
    cron_schedule="30 4 * * 0",
    execution_timezone=ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Once a week.",
)
