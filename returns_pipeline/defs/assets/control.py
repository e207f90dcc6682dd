"""Control: what is finished, what waits for whom, what the vendors say themselves."""

from returns_pipeline.defs.assets.build import FINANCE, OPERATIONS, READ_AGAIN, Told, step_assets
from returns_pipeline.defs.resources import LINNWORKS_POOL
from returns_pipeline.steps import control, reconciling
from returns_pipeline.steps.figures import Breakdown
from returns_pipeline.storage import tables as t

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

ASSETS = (unit_settlement, exception_queue, reconciliation)
