"""Returns: one row a physical unit, its life so far, its receipt."""

from returns_pipeline.defs.assets.build import CUSTOMER_SERVICE, OPERATIONS, Told, step_assets
from returns_pipeline.steps import derive
from returns_pipeline.steps.figures import Breakdown
from returns_pipeline.storage import tables as t

returns = step_assets(
    derive.returns,
    Told(
        name="returns",
        description="Return transactions of Happy Returns, one row an order in each.",
        owner=CUSTOMER_SERVICE,
        table=t.returns,
        deps=("happy_returns_payloads",),
    ),
    Told(
        name="return_items",
        description=(
            "Every returned unit, one row each: where it stands (started, dropped off, approved, "
            "on its way, received), what it was found to be, and what the shopper is to get."
        ),
        owner=CUSTOMER_SERVICE,
        table=t.return_items,
        deps=("happy_returns_payloads",),
        breakdowns=(
            Breakdown(
                "open units by stage",
                t.return_items,
                (t.return_items.c.stage,),
                (t.return_items.c.is_open,),
            ),
        ),
    ),
    Told(
        name="unit_events",
        description="What happened to each unit, in the order we learnt it. Only added to.",
        owner=CUSTOMER_SERVICE,
        table=t.unit_events,
        deps=("happy_returns_payloads",),
    ),
    group="returns",
)

receipts = step_assets(
    derive.receipts,
    Told(
        name="receipts",
        description=(
            "Units the warehouse has physically received, once each. Nothing else opens the "
            "gates: goods said to be on their way are neither stock nor a reason to pay."
        ),
        owner=OPERATIONS,
        table=t.receipts,
        deps=("return_items",),
    ),
    group="returns",
)

ASSETS = (returns, receipts)
