"""Inventory: what was found, where it goes, and that it went there."""

from returns_pipeline.defs.assets.build import OPERATIONS, Told, step_assets
from returns_pipeline.defs.resources import LINNWORKS_POOL
from returns_pipeline.steps import act, decide
from returns_pipeline.steps.figures import Breakdown, of_open_units
from returns_pipeline.storage import tables as t

_moved = t.stock_adjustments.c
_to_location = t.stock_adjustments.outerjoin(
    t.vendor_locations, _moved.location_id == t.vendor_locations.c.location_id
)

dispositions = step_assets(
    decide.dispositions,
    Told(
        name="dispositions",
        description=(
            "What each received unit was found to be, and what the policy says about it: its "
            "location, whether it may be sold, whether it may be refunded. An unknown code is "
            "held; nothing is sellable by default."
        ),
        owner=OPERATIONS,
        table=t.dispositions,
        deps=("return_items", "linnworks_locations"),
        breakdowns=(
            Breakdown(
                "open units by disposition",
                of_open_units(t.dispositions),
                (t.dispositions.c.disposition,),
                (t.return_items.c.is_open,),
            ),
        ),
    ),
    group="inventory",
)

stock_adjustments = step_assets(
    decide.adjustments,
    Told(
        name="stock_adjustments",
        description=(
            "The stock movement of every unit that may move: matched, received and inspected. "
            "One restock a unit, ever; what changes afterwards is a move that Operations makes."
        ),
        owner=OPERATIONS,
        table=t.stock_adjustments,
        deps=("matches", "dispositions"),
        tags={"holds": "stock"},
        breakdowns=(
            Breakdown(
                "waiting by location",
                _to_location,
                (t.vendor_locations.c.name, _moved.kind, _moved.state),
                (_moved.state != "posted",),
            ),
            Breakdown(
                "held from stock",
                of_open_units(t.gates),
                (t.gates.c.code,),
                (t.gates.c.gate == "stock", ~t.gates.c.is_cleared, t.return_items.c.is_open),
            ),
        ),
    ),
    group="inventory",
)

restocks = step_assets(
    act.restocks,
    Told(
        name="restocks",
        description=(
            "Returns booked and restocked in Linnworks, at the location of each unit's "
            "condition. Each is written once: a lost answer is read back before anything else "
            "is sent for that order. In shadow mode nothing is sent."
        ),
        owner=OPERATIONS,
        # Where the policy says so, an RMA makes the replacement: it must be known by then.
        deps=("stock_adjustments", "bookings_read", "exchange_orders"),
        kinds=("linnworks", "python"),
        tags={"moves": "stock", "writes": "linnworks"},
        breakdowns=(
            Breakdown(
                "not in stock yet",
                _to_location,
                (t.vendor_locations.c.name, _moved.state),
                (_moved.state != "posted",),
            ),
        ),
    ),
    group="inventory",
    pool=LINNWORKS_POOL,
)

ASSETS = (dispositions, stock_adjustments, restocks)
