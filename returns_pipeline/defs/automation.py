"""When work starts by itself: the policy's schedules, in the merchant's zone, on by default."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from returns_pipeline import settings
from returns_pipeline.defs import recovery
from returns_pipeline.defs.jobs import (
    close_business_day,
    reconcile_returns,
    refresh_exceptions,
    sync_returns,
)
from returns_pipeline.defs.partitions import POLICY, ZONE, business_days
from returns_pipeline.steps import closing
from returns_pipeline.steps.runtime import Runtime

_ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def _unless_active(
    context: dg.ScheduleEvaluationContext, job_name: str
) -> dg.SkipReason | dg.RunRequest:
    """A run, unless the last one is still at it: a slow vendor must not queue a backlog."""
    recovery.release_dead_runs(context.instance)
    busy = context.instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=_ACTIVE), limit=1)
    if busy:
        return dg.SkipReason(f"run {busy[0].run_id} of {job_name} is still active")
    return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())


@dg.schedule(
    name="sync_returns_schedule",
    job=sync_returns,
    cron_schedule=POLICY.schedules.sync,
    execution_timezone=ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Polls both vendors. Skips while the last poll is still active.",
)
def sync_schedule(context: dg.ScheduleEvaluationContext) -> dg.SkipReason | dg.RunRequest:
    """One poll, unless one is under way."""
    return _unless_active(context, sync_returns.name)


@dg.schedule(
    name="close_business_day_schedule",
    job=close_business_day,
    cron_schedule=POLICY.schedules.close,
    execution_timezone=ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Closes yesterday, and every earlier day with something not sealed or not paid: one "
        "run a day."
    ),
)
def close_schedule(
    context: dg.ScheduleEvaluationContext,
) -> Iterator[dg.SkipReason | dg.RunRequest]:
    """A run for every day there is something to close of."""
    with Runtime(settings.load(vendors=False), run_id="schedule") as rt:
        days = [day.isoformat() for day in closing.days_to_close(rt)]
    night = context.scheduled_execution_time.date().isoformat()
    known = [day for day in days if business_days.has_partition_key(day)]
    if not known:
        yield dg.SkipReason("no business day is complete and not yet closed")
    for day in known:
        yield dg.RunRequest(run_key=f"{day} in the night of {night}", partition_key=day)


@dg.schedule(
    name="reconcile_returns_schedule",
    job=reconcile_returns,
    cron_schedule=POLICY.schedules.reconcile,
    execution_timezone=ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Compares what was posted with what Linnworks says, every night.",
)
def reconcile_schedule(context: dg.ScheduleEvaluationContext) -> dg.SkipReason | dg.RunRequest:
    """One reconciliation, with yesterday told three ways, unless one is under way."""
    found = _unless_active(context, reconcile_returns.name)
    if isinstance(found, dg.SkipReason):
        return found
    yesterday = context.scheduled_execution_time.date() - timedelta(days=1)
    return dg.RunRequest(run_key=found.run_key, partition_key=yesterday.isoformat())


@dg.run_failure_sensor(
    name="exceptions_after_a_failed_poll",
    monitored_jobs=[sync_returns],
    request_job=refresh_exceptions,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Refreshes the exception queue when a poll failed: the poll's own refresh comes last, "
        "and is not reached then."
    ),
)
def exceptions_after_a_failed_poll(context: dg.RunFailureSensorContext) -> dg.RunRequest:
    """One refresh a failed poll."""
    return dg.RunRequest(run_key=f"after {context.dagster_run.run_id}")


SCHEDULES = (sync_schedule, close_schedule, reconcile_schedule)
