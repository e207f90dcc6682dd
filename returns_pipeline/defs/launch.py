"""Starting a job from the command line, in this process, so that its run stands in the UI.

The run is marked with host and process (``recovery``); dead runs are released before it
starts and while it waits for its turn in a pool. What it did is read back from what it
recorded.
"""

import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any

import dagster as dg
from dagster import DagsterEvent, DagsterEventType, DagsterInstance

from returns_pipeline.defs import home, recovery
from returns_pipeline.defs.assembly import assembled
from returns_pipeline.defs.metadata import CALLS, DOCUMENT
from returns_pipeline.defs.partitions import loaded_as_of
from returns_pipeline.defs.resources import INTERRUPTED, TELLING, Listener, listener
from returns_pipeline.steps.invariants import every_disposition_has_a_location

# So that the run is listed with its job in the UI.
_LOCATION = {".dagster/repository": "__repository__@returns_pipeline"}
_LOOK_AGAIN_SECONDS = 15.0
# What happens stands in the run's log; the terminal belongs to the command.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_LOCATIONS = every_disposition_has_a_location.__name__
_TELLING = frozenset(error.__name__ for error in TELLING)


@dataclass(frozen=True, slots=True)
class FailedCheck:
    """An asset check that did not hold."""

    asset: str
    name: str
    severity: str
    message: str


@dataclass(frozen=True, slots=True)
class LaunchResult:
    """What a launched job did.

    Args:
        job: Its name.
        run_id: Of the run in Dagster.
        success: Whether every step succeeded and no blocking check failed.
        counts: Each asset's counts, as its step gave them.
        documents: What an asset has to tell a command beside them, as plain values.
        calls: Vendor calls by method, over the whole run.
        failed_checks: Checks that did not hold, those that only warn included.
        failed_step: Where it failed.
        error: Why, in a few lines for a person.
        error_class: The original exception's class where a person has to act on it
            (``SettingsError``, ``DatabaseUnusable``, ``BatchBreaker``...), else that of
            the root cause.
    """

    job: str
    run_id: str
    success: bool
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    documents: Mapping[str, Any] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    failed_checks: tuple[FailedCheck, ...] = ()
    failed_step: str | None = None
    error: str | None = None
    error_class: str | None = None

    @property
    def wrong_settings(self) -> bool:
        """Whether it failed because settings, policy or database cannot be used."""
        return self.error_class in {"SettingsError", "DatabaseUnusable"}


@cache
def _definitions() -> dg.Definitions:
    return assembled()


def launch(
    job_name: str,
    *,
    partition_key: str | None = None,
    config: Mapping[str, Any] | None = None,
    instance: DagsterInstance | None = None,
    raise_on_error: bool = False,
    progress: Listener | None = None,
) -> LaunchResult:
    """Run a job in this process and wait for it.

    Args:
        job_name: ``sync_returns``, ``close_business_day`` or ``reconcile_returns``.
        partition_key: The business day of ``close_business_day``, ``YYYY-MM-DD``.
        config: Of the assets that take some, by their name.
        instance: Where the run is recorded; that of ``DAGSTER_HOME`` when not given.
        raise_on_error: Whether a step's error is raised instead of told.
        progress: Hears every line of progress.

    Raises:
        KeyboardInterrupt: When it was interrupted; the run is recorded as ended.
    """
    if instance is None:
        with home.instance() as own:
            return launch(
                job_name,
                partition_key=partition_key,
                config=config,
                instance=own,
                raise_on_error=raise_on_error,
                progress=progress,
            )
    day = date.fromisoformat(partition_key) if partition_key else date.min
    job = _definitions().resolve_job_def(job_name)
    recovery.release_dead_runs(instance)
    run_id = str(uuid.uuid4())
    heard = listener.set(progress)
    try:
        # A clock set ahead (RETURNS_NOW) may close days that the calendar has yet to reach.
        with (
            _watching(instance),
            dg.partition_loading_context(effective_dt=loaded_as_of(day)),
        ):
            done = job.execute_in_process(
                run_id=run_id,
                run_config={
                    **_QUIET,
                    "ops": {name: {"config": dict(own)} for name, own in (config or {}).items()},
                },
                instance=instance,
                partition_key=partition_key,
                raise_on_error=raise_on_error,
                tags={**recovery.process_tags(), **_LOCATION, "returns_pipeline/by": "cli"},
            )
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        recovery.end(instance, run_id, INTERRUPTED)
        raise KeyboardInterrupt from None
    finally:
        listener.reset(heard)
    result = _result(job_name, done.run_id, done.success, done.all_events)
    if result.error == INTERRUPTED:
        raise KeyboardInterrupt
    return result


@contextmanager
def _watching(instance: DagsterInstance) -> Iterator[None]:
    """Release dead runs now and then: one that dies may hold the place we wait for."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_AGAIN_SECONDS):
            recovery.release_dead_runs(instance)

    thread = threading.Thread(target=watch, name="dead runs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5)


# --- what it did ------------------------------------------------------------------


def _result(job: str, run_id: str, success: bool, events: Sequence[DagsterEvent]) -> LaunchResult:  # noqa: FBT001
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    documents: dict[str, Any] = {}
    calls: dict[str, int] = defaultdict(int)
    checks: list[FailedCheck] = []
    failed_step = error = error_class = None
    for event in events:
        if event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
            _count(event, counts, calls)
            made = event.step_materialization_data.materialization
            told = made.metadata.get(DOCUMENT)
            if isinstance(told, dg.JsonMetadataValue):
                documents[made.asset_key.to_user_string()] = told.data
        elif event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            if not found.passed:
                asset = found.asset_key.to_user_string()
                severity, message = found.severity.value, found.description or ""
                checks.append(FailedCheck(asset, found.check_name, severity, message))
        elif event.event_type is DagsterEventType.STEP_FAILURE and failed_step is None:
            failed_step = event.step_key
            error, error_class = _why(event, checks)
        elif event.event_type is DagsterEventType.RUN_FAILURE and error is None:
            error, error_class = event.message, "RunFailure"
    return LaunchResult(
        job=job,
        run_id=run_id,
        success=success,
        counts={name: dict(found) for name, found in counts.items()},
        documents=documents,
        calls=dict(sorted(calls.items())),
        failed_checks=tuple(checks),
        failed_step=failed_step,
        error=error,
        error_class=error_class,
    )


def _count(event: DagsterEvent, counts: dict[str, dict[str, int]], calls: dict[str, int]) -> None:
    made = event.step_materialization_data.materialization
    for name, value in made.metadata.items():
        if name == CALLS and isinstance(value, dg.JsonMetadataValue):
            told: Any = value.data
            for method, n in told.items():
                calls[method] += n
        elif "/" not in name and isinstance(value, dg.IntMetadataValue):
            counts[made.asset_key.to_user_string()][name] = value.value or 0


def _why(event: DagsterEvent, checks: list[FailedCheck]) -> tuple[str, str]:
    """A step's failure as a person reads it, and the class of the original error."""
    data = event.step_failure_data
    chain = []
    error = data.error
    while error is not None:
        chain.append(error)
        error = error.cause
    classes = [one.cls_name or "" for one in chain]
    telling = next((name for name in classes if name in _TELLING), None)
    root = chain[-1] if chain else None
    if data.user_failure_data is not None and data.user_failure_data.description == INTERRUPTED:
        return INTERRUPTED, "KeyboardInterrupt"
    if telling is not None and data.user_failure_data is not None:
        return data.user_failure_data.description or "", telling
    if "DagsterAssetCheckFailedError" in classes:
        failed = [one for one in checks if one.severity == "ERROR"]
        lines = [f"{one.asset}: {one.name.replace('_', ' ')}: {one.message}" for one in failed]
        # A policy that leads nowhere is a setting: only its owner can put it right.
        wrong = any(one.name == _LOCATIONS for one in failed)
        return "\n".join(lines), "SettingsError" if wrong else "CheckFailed"
    if root is None:
        return event.message or "failed", "Unknown"
    # "pkg.Class: text": the class is told apart.
    text = (root.message or "").strip()
    return text.partition(": ")[2] or text, root.cls_name or "Unknown"
