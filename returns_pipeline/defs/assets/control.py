"""Control: what is finished, what waits for whom, what the vendors say themselves."""

from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

import dagster as dg

from returns_pipeline.defs.assets.build import FINANCE, OPERATIONS, READ_AGAIN, Told, step_assets
from returns_pipeline.defs.partitions import ZONE, business_days
from returns_pipeline.defs.resources import LINNWORKS_POOL, TABLES_POOL, Pipeline
from returns_pipeline.domain.calendar import business_date
from returns_pipeline.reporting.day import ThreeWay
from returns_pipeline.steps import control, reconciling, reconciling_money
from returns_pipeline.steps.figures import Breakdown
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading

_queue = t.exceptions.c

unit_settlement = step_assets(
    control.settle_units,
    Told(
        name="unit_settlement",
        description=(
            "Units to which nothing more is owed, closed. New evidence about one opens it again."
        ),
        owner=FINANCE,
        deps=("restocks", "replacements", "refunds_in_flight", "postings"),
        breakdowns=(
            Breakdown(
                "still open by stage",
                t.return_items,
                (t.return_items.c.stage,),
                (t.return_items.c.is_open,),
            ),
        ),
    ),
    group="control",
)

exception_queue = step_assets(
    control.exceptions,
    Told(
        name="exception_queue",
        description=(
            "Everything that cannot move by itself, as somebody's task: owner, severity, due "
            "time, amount, and the page of the runbook. A task closes itself when its cause is "
            "gone."
        ),
        owner=OPERATIONS,
        table=t.exceptions,
        deps=("unit_settlement",),
        breakdowns=(
            Breakdown(
                "open by owner",
                t.exceptions,
                (_queue.owner, _queue.severity, _queue.code),
                (_queue.status.in_(("open", "ack", "snoozed")),),
            ),
        ),
    ),
    group="control",
)

reconciliation = step_assets(
    reconciling.reconcile,
    Told(
        name="reconciliation",
        description=(
            "Happy Returns, Linnworks and our books, compared by unit and by money: where units "
            "stand, levels against their change history, returns and refunds nobody here knows, "
            "totals of batches. Every difference is a task with its amount; vendor calls counts "
            "what it took."
        ),
        owner=FINANCE,
        table=t.reconciliations,
        deps=("restocks",),
        kinds=("linnworks", "python"),
    ),
    group="control",
    pool=LINNWORKS_POOL,
    retry=READ_AGAIN,
)

DAY_THREE_WAYS = Told(
    name="day_three_ways",
    description=(
        "One business day as Happy Returns, our books and Linnworks tell it: units received and "
        "in stock, refunds by currency. Yesterday by night, any day on demand."
    ),
    owner=FINANCE,
    deps=("reconciliation",),
)


@dg.multi_asset(
    name=DAY_THREE_WAYS.name,
    specs=[DAY_THREE_WAYS.spec("control", business_days)],
    pool=TABLES_POOL,
)
def day_three_ways(
    context: dg.AssetExecutionContext, pipeline: Pipeline
) -> dg.MaterializeResult[Any]:
    """Compare one day; without a partition, yesterday."""
    with pipeline.step(context) as rt, reading(rt.engine) as connection:
        if context.has_partition_key:
            day = date.fromisoformat(context.partition_key)
        else:
            day = business_date(rt.now(), ZONE) - timedelta(days=1)
        told = [ThreeWay(*one) for one in reconciling_money.of_day(connection, day)]
    return dg.MaterializeResult(
        asset_key=DAY_THREE_WAYS.name,
        metadata={
            "figures": dg.MetadataValue.int(len(told)),
            "differ": dg.MetadataValue.int(sum(not one.agrees for one in told)),
            "day/date": dg.MetadataValue.text(day.isoformat()),
            "day/three ways": dg.MetadataValue.json(
                [{**asdict(one), "agrees": one.agrees} for one in told]
            ),
        },
    )


ASSETS = (unit_settlement, exception_queue, reconciliation, day_three_ways)
