"""Capture: what the vendors say, kept as received."""

from collections.abc import Mapping

import dagster as dg

from returns_pipeline.defs.assets.build import FINANCE, OPERATIONS, READ_AGAIN, Told, step_assets
from returns_pipeline.defs.partitions import POLICY
from returns_pipeline.defs.resources import HAPPY_RETURNS_POOL, LINNWORKS_POOL
from returns_pipeline.settings import SettingsError
from returns_pipeline.steps import capture
from returns_pipeline.steps.invariants import Scope, every_disposition_has_a_location
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading

_READ_LATELY = dg.FreshnessPolicy.time_window(
    fail_window=POLICY.ages.source_stale, warn_window=POLICY.ages.source_stale / 2
)
_EVIDENCE = {"holds": "evidence"}


def _locations(rt: Runtime) -> Mapping[str, int]:
    """Read them. What the policy has wrong about them is for the check to say and to stop."""
    try:
        return capture.locations(rt)
    except SettingsError:
        with reading(rt.engine) as connection:
            asked = every_disposition_has_a_location(Scope(connection, rt.policy, rt.now()))
        if asked.holds:
            raise  # it was about something else
        return asked.figures


linnworks_locations = step_assets(
    _locations,
    Told(
        name="linnworks_locations",
        description=(
            "The stock locations Linnworks has. Every inspected condition must lead to one of "
            "them; if it does not, nothing is restocked."
        ),
        owner=OPERATIONS,
        table=t.vendor_locations,
        kinds=("linnworks", "python", "sql"),
        tags=_EVIDENCE,
        freshness=_READ_LATELY,
    ),
    group="capture",
    pool=LINNWORKS_POOL,
    retry=READ_AGAIN,
)

linnworks_order_payloads = step_assets(
    capture.order_payloads,
    Told(
        name="linnworks_order_payloads",
        description=(
            "Orders as Linnworks sent them since the last reading, kept unchanged but for the "
            "shopper's name and address, which are dropped before anything is stored."
        ),
        owner=OPERATIONS,
        table=t.raw_payloads,
        kinds=("linnworks", "python", "json"),
        tags=_EVIDENCE,
        freshness=_READ_LATELY,
    ),
    group="capture",
    pool=LINNWORKS_POOL,
    retry=READ_AGAIN,
)

happy_returns_payloads = step_assets(
    capture.return_payloads,
    Told(
        name="happy_returns_payloads",
        description=(
            "Returns as Happy Returns sent them: the shipments on their way to the warehouse, "
            "and what it answers about despatched orders and open returns. Kept unchanged but "
            "for personal data; what equals the last answer adds nothing."
        ),
        owner=OPERATIONS,
        table=t.raw_payloads,
        # Which orders to ask about is known once the new orders are derived.
        deps=("orders",),
        kinds=("python", "json"),
        tags=_EVIDENCE,
        freshness=_READ_LATELY,
    ),
    group="capture",
    pool=HAPPY_RETURNS_POOL,
    retry=READ_AGAIN,
)

bookings_read = step_assets(
    capture.bookings,
    Told(
        name="bookings_read",
        description=(
            "Returns that were booked or restocked in Linnworks lately, whoever did it: what "
            "staff or a sales channel has already booked is found here and not booked again."
        ),
        owner=OPERATIONS,
        table=t.restock_readings,
        kinds=("linnworks", "python", "sql"),
        tags=_EVIDENCE,
    ),
    Told(
        name="refunds_read",
        description=(
            "Refunds that were made in Linnworks lately, whoever did it. Of those that staff or "
            "a sales channel made for a returned order the lines are read as well: money that "
            "left before the goods were back is seen here."
        ),
        owner=FINANCE,
        table=t.refund_readings,
        kinds=("linnworks", "python", "sql"),
        tags=_EVIDENCE,
    ),
    group="capture",
    pool=LINNWORKS_POOL,
    retry=READ_AGAIN,
)

ASSETS = (linnworks_locations, linnworks_order_payloads, happy_returns_payloads, bookings_read)
