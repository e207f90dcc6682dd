"""Orders: the mirror of Linnworks' orders that returns are matched with."""

from collections.abc import Mapping

from returns_pipeline.defs.assets.build import (
    CUSTOMER_SERVICE,
    OPERATIONS,
    READ_AGAIN,
    Told,
    step_assets,
)
from returns_pipeline.defs.resources import LINNWORKS_POOL
from returns_pipeline.steps import capture, derive
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import tables as t

orders = step_assets(
    derive.orders,
    Told(
        name="orders",
        description=(
            "Linnworks' orders, one row each, without the shopper: number, channel, currency, "
            "what was paid, whether it was despatched or cancelled."
        ),
        owner=OPERATIONS,
        table=t.orders,
        deps=("linnworks_order_payloads",),
    ),
    Told(
        name="order_lines",
        description=(
            "The lines of those orders: what was bought, how many, for how much with its VAT, "
            "and what it cost. Refunds are computed from these amounts and no others."
        ),
        owner=OPERATIONS,
        table=t.order_lines,
        deps=("linnworks_order_payloads",),
    ),
    group="orders",
)


def _look_up(rt: Runtime) -> Mapping[str, int]:
    return {**capture.missing_orders(rt), **derive.orders(rt)}


orders_by_reference = step_assets(
    _look_up,
    Told(
        name="orders_by_reference",
        description=(
            "Orders that a return names and the mirror did not have, looked up in Linnworks "
            "one by one. A number that is not found there is asked for once an hour."
        ),
        owner=CUSTOMER_SERVICE,
        table=t.order_look_ups,
        deps=("orders", "return_items"),
        kinds=("linnworks", "python", "sql"),
    ),
    group="orders",
    pool=LINNWORKS_POOL,
    retry=READ_AGAIN,
)

ASSETS = (orders, orders_by_reference)
