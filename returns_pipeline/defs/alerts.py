"""Alerts from Dagster: a check that begins to fail or recovers, a failed run, and the sending.

Each is a line in the log and a notice to its owner: what happened, whose it is, and where
the runbook says what to do. A check is told of when it changes, not at every poll while it
stays red. Exceptions, silent sources and digests are found by ``steps.alerts``, which also
puts messages together and sends them; here is only when.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from returns_pipeline import settings
from returns_pipeline.defs.checks import CHECKS
from returns_pipeline.domain.alerts import Kind, Notice
from returns_pipeline.domain.exceptions import runbook
from returns_pipeline.domain.model import Owner, Severity
from returns_pipeline.steps import alerts
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage.engine import reading

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


def _answerable() -> dict[dg.AssetCheckKey, dg.AssetCheckSpec]:
    """Every check, with its owner and runbook."""
    return {spec.key: spec for checks in CHECKS for spec in checks.check_specs}


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


_TEAMS = {
    "team:customer-service": Owner.CX,
    "team:operations": Owner.OPERATIONS,
    "team:finance": Owner.FINANCE,
}


def _line(one: _Evaluation, told: Mapping[str, Any]) -> str:
    return (
        f"{one.severity} check {one.what} failed: {one.description}; "
        f"owner {told['owner']}; see {told['runbook']}; run {one.run_id}"
    )


def _note(rt: Runtime, notices: Iterable[Notice]) -> None:
    with rt.engine.begin() as connection:
        alerts.note(connection, notices, rt)


def _of_check(one: _Evaluation, spec: dg.AssetCheckSpec, rt: Runtime) -> Notice:
    policy = rt.policy.alerts
    title = spec.name.replace("_", " ")
    day = f" ({one.partition})" if one.partition else ""
    if one.passed:
        kind, severity, title = Kind.CHECK_RECOVERED, Severity.S3, f"Holds again: {title}{day}"
    else:
        kind, title = Kind.CHECK_FAILED, f"Check failed: {title}{day}"
        severity = Severity.S3
        if one.severity == dg.AssetCheckSeverity.ERROR.value:
            # What blocks has stopped the rest of the run.
            severity = Severity.S1 if spec.blocking else Severity.S2
    runbook = str(spec.metadata["runbook"])
    return Notice(
        key=f"check:{one.what}:{one.at:.6f}",
        kind=kind,
        owner=_TEAMS[str(spec.metadata["owner"])],
        severity=severity,
        title=title,
        what=one.description or (spec.description or ""),
        remedy="" if one.passed else "see the runbook",
        at=datetime.fromtimestamp(one.at, UTC),
        link=alerts.run_link(policy, one.run_id),
        runbook=alerts.published(policy, runbook),
    )


@dg.sensor(
    name="asset_check_alerts",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Tells its owner when an asset check begins to fail, and when it holds again: a line in "
        "the log, and a notice that alert_delivery sends."
    ),
)
def asset_check_alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Look at what was checked since the last tick."""
    state = json.loads(context.cursor) if context.cursor else {}
    seen: dict[str, float] = state.get("at", {})
    failing: set[str] = set(state.get("failing", []))
    answerable = _answerable()
    at: dict[str, float] = {}
    changed: list[tuple[_Evaluation, dg.AssetCheckSpec]] = []
    for key, spec in sorted(answerable.items()):
        name = key.to_user_string()
        last = seen.get(name)
        for one in _since(context.instance, key, last):
            if not one.passed and one.what not in failing:
                context.log.error(_line(one, spec.metadata))
                failing.add(one.what)
                changed.append((one, spec))
            elif one.passed and one.what in failing:
                context.log.info("check %s holds again; run %s", one.what, one.run_id)
                failing.discard(one.what)
                changed.append((one, spec))
            last = one.at
        if last is not None:
            at[name] = last
    if changed:
        # Before the cursor moves: a tick that fails here tells of them once more.
        with Runtime(settings.load(vendors=False), run_id="alerts") as rt:
            _note(rt, [_of_check(one, spec, rt) for one, spec in changed])
    context.update_cursor(json.dumps({"at": at, "failing": sorted(failing)}))
    return dg.SkipReason(f"{len(changed)} changes told of, {len(answerable)} checks watched")


@dg.run_failure_sensor(
    name="run_failure_alerts",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells operations of every failed run: a line in the log, and a notice.",
)
def run_failure_alerts(context: dg.RunFailureSensorContext) -> None:
    """Say which job failed, where and why."""
    run = context.dagster_run
    failed = context.get_step_failure_events()
    steps = ", ".join(event.step_key or "" for event in failed)
    reasons = [_reason(event) for event in failed] or [context.failure_event.message or ""]
    why = " ".join("; ".join(reasons).split()) or "no reason given"
    where = f" in {steps}" if steps else ""
    context.log.error(
        "run %s of %s failed%s: %s; owner team:operations; see %s",
        run.run_id,
        run.job_name,
        where,
        why,
        runbook("SOURCE_STALE"),
    )
    with Runtime(settings.load(vendors=False), run_id="alerts") as rt:
        notice = Notice(
            key=f"run:{run.run_id}",
            kind=Kind.RUN_FAILED,
            owner=Owner.OPERATIONS,
            severity=Severity.S2,
            title=f"Run failed: {run.job_name}{where}",
            what=why,
            remedy="read the run's last lines; what was begun is taken up by the next run",
            at=rt.now(),
            link=alerts.run_link(rt.policy.alerts, run.run_id),
            runbook=alerts.published(rt.policy.alerts, runbook("SOURCE_STALE")),
        )
        _note(rt, [notice])


def _reason(event: dg.DagsterEvent) -> str:
    """The step's own words where it has any, else those of the error that began it."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return (error.message if error is not None else "").strip()


@dg.sensor(
    name="alert_delivery",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Finds new and overdue exceptions, sources nobody hears of and the digests that are due, "
        "and sends what people are to be told, until it is taken."
    ),
)
def alert_delivery(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Find, put together, send."""
    with Runtime(settings.load(vendors=False), run_id="alerts") as rt:
        alerts.collect(rt)
        for message in alerts.compose(rt):
            context.log.warning("to %s: %s", message.owner, message.subject)
        counts = alerts.deliver(rt)
        with reading(rt.engine) as connection:
            failing = alerts.undelivered(connection, rt.now())
    for one in failing:
        context.log.error(
            "not delivered to %s by %s after %d tries (%s): %s",
            one.owner,
            one.channel,
            one.attempts,
            one.error,
            one.subject,
        )
    return dg.SkipReason(
        f"{counts['sent']} messages sent, {counts['failed']} not taken, "
        f"{counts['given_up']} given up, {len(failing)} undelivered"
    )


SENSORS = (asset_check_alerts, run_failure_alerts, alert_delivery)
