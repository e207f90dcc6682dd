"""The checks of one asset, in one op of their own: they can be run without the asset.

Here: how a schema's verdict and an invariant's finding become results of Dagster. What is
asked stands in ``schemas`` and ``steps.invariants``.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg
import sqlalchemy as sa

from returns_pipeline import schemas
from returns_pipeline.defs import metadata
from returns_pipeline.defs.checks.invariants import INVARIANTS, Invariant
from returns_pipeline.defs.partitions import business_days, days_of
from returns_pipeline.defs.resources import Pipeline
from returns_pipeline.domain.exceptions import runbook
from returns_pipeline.steps.invariants import Finding, Scope
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import frames
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading

SCHEMA = "rows_fit_their_schema"
_ROWS = 5_000
Days = dg.DailyPartitionsDefinition


def checks_of(
    name: str, table: sa.Table | None, owner: str, *, by_day: bool = False
) -> dg.AssetChecksDefinition | None:
    """The checks of an asset; ``None`` where it has none.

    Args:
        name: The asset.
        table: The table behind it, whose schema is enforced on what was just stored.
        owner: Who answers for the asset, and for its schema.
        by_day: Whether the asset is partitioned by business day.
    """
    asked = {one.name: one for one in INVARIANTS if one.asset == name}
    days = business_days if by_day else None
    specs = [_invariant_spec(one, days) for one in asked.values()]
    if table is not None and table.name in schemas.TABLES:
        specs.append(_schema_spec(name, table, owner, days))
    if not specs:
        return None

    blocking = {spec.name for spec in specs if spec.blocking}

    @dg.multi_asset_check(name=f"{name}_checks", specs=specs, can_subset=True)
    def run_checks(
        context: dg.AssetCheckExecutionContext, pipeline: Pipeline
    ) -> Iterator[dg.AssetCheckResult | dg.AssetCheckEvaluation | dg.Output[None]]:
        days = _days(context) if by_day else ()
        with pipeline.step(context) as rt, reading(rt.engine) as connection:

            def result(key: dg.AssetCheckKey, days: Sequence[date]) -> dg.AssetCheckResult:
                if key.name == SCHEMA and table is not None:
                    return _schema_result(connection, key, table, days)
                return _invariant_result(
                    key, asked[key.name].question(_scope(rt, connection, days))
                )

            for key in sorted(context.selected_asset_check_keys):
                if len(days) <= 1:
                    yield result(key, days)
                    continue
                # A result cannot name its partition; of a range each day has its own.
                for day in days:
                    yield _evaluation(result(key, [day]), key, day, blocking=key.name in blocking)
                yield dg.Output(None, output_name=f"{name}_{key.name}")

    return run_checks


def _evaluation(
    result: dg.AssetCheckResult, key: dg.AssetCheckKey, day: date, *, blocking: bool
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=result.passed,
        metadata=result.metadata,
        severity=result.severity,
        description=result.description,
        blocking=blocking,
        partition=day.isoformat(),
    )


def _days(context: dg.AssetCheckExecutionContext) -> tuple[date, ...]:
    run = context.op_execution_context
    if not run.has_partition_key and not run.has_partition_key_range:
        return ()
    return days_of(list(run.partition_keys))


def _scope(rt: Runtime, connection: sa.Connection, days: Sequence[date]) -> Scope:
    return Scope(
        connection, rt.policy, rt.now(), settle=rt.settings.settle, live=rt.live, days=tuple(days)
    )


# --- the schema of what was stored ------------------------------------------------


def _schema_spec(name: str, table: sa.Table, owner: str, days: Days | None) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        SCHEMA,
        asset=name,
        blocking=True,
        description=(
            f"What was just stored in {table.name} has the columns, types and values its "
            "contract names. Read back from the database; stops what comes after."
        ),
        metadata={"owner": owner, "runbook": runbook("SCHEMA_DRIFT")},
        partitions_def=days,
    )


def _schema_result(
    connection: sa.Connection, key: dg.AssetCheckKey, table: sa.Table, days: Sequence[date]
) -> dg.AssetCheckResult:
    verdict = schemas.check(table.name, _current(connection, table, days))
    wrong = [
        {"column": one.column or "between columns", "check": one.check, "rows": one.count}
        for one in verdict.failures
    ]
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=(
            "every row fits" if verdict.passed else f"{len(wrong)} checks of the schema failed"
        ),
        metadata={
            "rows_checked": dg.MetadataValue.int(verdict.rows),
            "failures": dg.MetadataValue.int(sum(one.count for one in verdict.failures)),
            "which": metadata.table(wrong),
            "rows": dg.MetadataValue.text("\n".join(verdict.keys) or "none"),
        },
    )


def _current(connection: sa.Connection, table: sa.Table, days: Sequence[date]) -> Any:
    """The rows a step may have written just now, a few thousand at most."""
    if table is t.batches and days:
        return frames.read(connection, table, where=t.batches.c.origin_date.in_(days))
    if table is t.return_items:
        # A unit that changes is open again, however old its row is.
        return frames.read(connection, table, where=t.return_items.c.is_open, limit=_ROWS)
    return frames.changed(connection, table, rows=_ROWS)


# --- invariants -------------------------------------------------------------------


def _invariant_spec(one: Invariant, days: Days | None) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        one.name,
        asset=one.asset,
        blocking=one.blocking,
        description=one.description,
        metadata={"owner": one.owner, "runbook": one.runbook},
        partitions_def=days,
    )


def _invariant_result(key: dg.AssetCheckKey, found: Finding) -> dg.AssetCheckResult:
    figures: dict[str, Any] = {
        name: dg.MetadataValue.int(int(n)) for name, n in found.figures.items()
    }
    severity = dg.AssetCheckSeverity.ERROR if found.severe else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=found.holds,
        severity=severity,
        description=found.message,
        metadata={**figures, "which": metadata.table(found.rows)},
    )
