"""One line in the log for every check that begins to fail, recovers, and every failed run.

Each line says what happened, whose it is, and where the runbook says what to do. A check
is told of when it changes, not at every poll while it stays red.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from returns_pipeline.defs.checks import CHECKS
from returns_pipeline.domain.exceptions import runbook

_AT_ONCE = 50  # evaluations of one check looked at between two ticks


@dataclass(frozen=True, slots=True)
class _Evaluation:
    check: str
    at: float
    passed: bool
    severity: str
    description: str
    run_id: str
    partition: str | None

    @property
    def what(self) -> str:
        """The check, and of which business day: each is told of by itself."""
        return f"{self.check} [{self.partition}]" if self.partition else self.check


def _answerable() -> dict[dg.AssetCheckKey, Mapping[str, Any]]:
    """Owner and runbook of every check."""
    return {spec.key: spec.metadata for checks in CHECKS for spec in checks.check_specs}


def _since(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, seen: float | None
) -> list[_Evaluation]:
    """Evaluations not told of yet, oldest first; of a check never looked at, the last one."""
    storage = instance.event_log_storage
    records = storage.get_asset_check_execution_history(key, limit=_AT_ONCE if seen else 1)
    found = []
    for record in records:
        event = record.event
        if event is None or event.dagster_event_type != (
            dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ):
            continue  # planned, or crashed: the failed run is told of
        if event.timestamp <= (seen or 0.0) or event.dagster_event is None:
            continue
        told = event.dagster_event.asset_check_evaluation_data
        found.append(
            _Evaluation(
                check=key.to_user_string(),
                at=event.timestamp,
                passed=told.passed,
                severity=told.severity.value,
                description=told.description or "",
                run_id=record.run_id,
                partition=record.partition,
            )
        )
    return sorted(found, key=lambda one: one.at)


def _line(one: _Evaluation, told: Mapping[str, Any]) -> str:
    return (
        f"{one.severity} check {one.what} failed: {one.description}; "
        f"owner {told['owner']}; see {told['runbook']}; run {one.run_id}"
    )


@dg.sensor(
    name="asset_check_alerts",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Logs one line when an asset check begins to fail, and one when it recovers.",
)
def asset_check_alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Look at what was checked since the last tick."""
    state = json.loads(context.cursor) if context.cursor else {}
    seen: dict[str, float] = state.get("at", {})
    failing: set[str] = set(state.get("failing", []))
    answerable = _answerable()
    at: dict[str, float] = {}
    told = 0
    for key, spec in sorted(answerable.items()):
        name = key.to_user_string()
        last = seen.get(name)
        for one in _since(context.instance, key, last):
            if not one.passed and one.what not in failing:
                context.log.error(_line(one, spec))
                failing.add(one.what)
                told += 1
            elif one.passed and one.what in failing:
                context.log.info("check %s holds again; run %s", one.what, one.run_id)
                failing.discard(one.what)
                told += 1
            last = one.at
        if last is not None:
            at[name] = last
    context.update_cursor(json.dumps({"at": at, "failing": sorted(failing)}))
    return dg.SkipReason(f"{told} changes told of, {len(answerable)} checks watched")


@dg.run_failure_sensor(
    name="run_failure_alerts",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Logs one line for every failed run.",
)
def run_failure_alerts(context: dg.RunFailureSensorContext) -> None:
    """Say which job failed, where and why."""
    failed = context.get_step_failure_events()
    steps = ", ".join(event.step_key or "" for event in failed)
    why = [_reason(event) for event in failed] or [context.failure_event.message or ""]
    context.log.error(
        "run %s of %s failed%s: %s; owner team:operations; see %s",
        context.dagster_run.run_id,
        context.dagster_run.job_name,
        f" in {steps}" if steps else "",
        " ".join("; ".join(why).split()) or "no reason given",
        runbook("SOURCE_STALE"),
    )


def _reason(event: dg.DagsterEvent) -> str:
    """The step's own words where it has any, else those of the error that began it."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return (error.message if error is not None else "").strip()


SENSORS = (asset_check_alerts, run_failure_alerts)
