"""Runs whose process is gone: ended, and what they held set free.

Dagster's daemon watches the runs it launched itself. A run begun from the command line and
killed stays STARTED for ever, and keeps its place in a pool: the next run waits for it.
Every run is therefore marked with host, process and the process's start time, and
``release_dead_runs`` ends those of this host whose process no longer exists. What a killed
run had sent is the outbox's to find out; nothing is sent again before it was read back.
"""

import os
import socket
import subprocess
from functools import cache
from pathlib import Path

import dagster as dg
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

# Dagster hides tags of this prefix in its lists: they are for us, not for people.
HOST_TAG = ".dagster/returns_pipeline_host"
PROCESS_TAG = ".dagster/returns_pipeline_process"
BEGAN_TAG = ".dagster/returns_pipeline_began"

_UNFINISHED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
_FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]


def process_began(pid: int) -> str:
    """When a process began, as its system tells it; empty where there is no such process.

    Together with the number it names one process: numbers are given again.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The name in brackets may hold anything; the state and times follow it.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        if fields[0] in {"Z", "X"}:
            return ""  # a zombie does nothing any more
        return f"{_boot()}:{fields[19]}"
    told = subprocess.run(  # noqa: S603 (a number of ours)
        ["/bin/ps", "-o", "lstart=", "-p", str(int(pid))],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip()


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def process_tags() -> dict[str, str]:
    """What a run of this process is marked with."""
    pid = os.getpid()
    return {
        HOST_TAG: socket.gethostname(),
        PROCESS_TAG: str(pid),
        BEGAN_TAG: process_began(pid),
    }


def mark(instance: DagsterInstance, run_id: str) -> None:
    """Mark a run as one of this process, whoever launched it."""
    instance.add_run_tags(run_id, process_tags())


def _is_dead(run: DagsterRun) -> bool:
    tags = run.tags
    if tags.get(HOST_TAG) != socket.gethostname() or not tags.get(BEGAN_TAG):
        return False  # another host's to judge, or never marked
    return process_began(int(tags[PROCESS_TAG])) != tags[BEGAN_TAG]


def release_dead_runs(instance: DagsterInstance) -> list[str]:
    """End the unfinished runs whose process is gone, and free what finished runs still hold.

    Returns:
        The ids of the runs that were ended.
    """
    ended = []
    for run in instance.get_runs(RunsFilter(statuses=_UNFINISHED)):
        if not _is_dead(run):
            continue
        message = (
            f"Process {run.tags[PROCESS_TAG]} on {run.tags[HOST_TAG]}, which this run was in, "
            "no longer exists. What it had begun to send is read back before anything is sent "
            "again."
        )
        if end(instance, run.run_id, message, lost=True):
            ended.append(run.run_id)
    _free_what_finished_runs_hold(instance)
    return ended


def end(instance: DagsterInstance, run_id: str, message: str, *, lost: bool = False) -> bool:
    """End a run that nothing works at any more; whether it was still unfinished.

    Args:
        instance: Where it is recorded.
        run_id: Of the run.
        message: Why, for people.
        lost: Whether its process was lost, which is a failure, or it was stopped.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.status not in _UNFINISHED:
        return False
    if lost and run.status is not DagsterRunStatus.CANCELING:
        instance.report_run_failed(run, message)
    else:
        instance.report_run_canceled(run, message)
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return True


def _free_what_finished_runs_hold(instance: DagsterInstance) -> None:
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    holding = storage.get_concurrency_run_ids()
    if not holding:
        return
    finished = instance.get_runs(RunsFilter(run_ids=list(holding), statuses=_FINISHED))
    # Every one of them: a place set free passes to the next that waits, dead or alive.
    for run in finished:
        storage.free_concurrency_slots_for_run(run.run_id)


@dg.sensor(
    name="dead_run_recovery",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs whose process was killed, so that nothing waits for them.",
)
def dead_run_recovery(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Look for dead runs twice a minute."""
    ended = release_dead_runs(context.instance)
    for run_id in ended:
        context.log.warning("run %s: its process was gone; ended, its places set free", run_id)
    return dg.SkipReason(f"{len(ended)} runs ended" if ended else "no run without a process")
