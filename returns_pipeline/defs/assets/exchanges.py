"""Exchanges: the replacement, ordered once, when the original is back."""

from returns_pipeline.defs.assets.build import CUSTOMER_SERVICE, Told, step_assets
from returns_pipeline.defs.resources import LINNWORKS_POOL
from returns_pipeline.steps import act, decide
from returns_pipeline.steps.figures import Breakdown
from returns_pipeline.storage import tables as t

_wanted = t.exchange_orders.c
_not_ordered = Breakdown(
    "not ordered yet",
    t.exchange_orders,
    (_wanted.state, _wanted.is_even),
    (_wanted.state != "created",),
)

exchange_orders = step_assets(
    decide.exchanges,
    Told(
        name="exchange_orders",
        description=(
            "The replacement owed for every exchange whose original was received: free where "
            "it costs the same, at its price where it does not."
        ),
        owner=CUSTOMER_SERVICE,
        table=t.exchange_orders,
        deps=("matches", "dispositions"),
        breakdowns=(_not_ordered,),
    ),
    group="exchanges",
)

replacements = step_assets(
    act.exchanges,
    Told(
        name="replacements",
        description=(
            "Replacement orders made in Linnworks, once each. In shadow mode nothing is sent."
        ),
        owner=CUSTOMER_SERVICE,
        deps=("exchange_orders",),
        kinds=("linnworks", "python"),
        tags={"moves": "goods", "writes": "linnworks"},
        breakdowns=(_not_ordered,),
    ),
    group="exchanges",
    pool=LINNWORKS_POOL,
)

ASSETS = (exchange_orders, replacements)
