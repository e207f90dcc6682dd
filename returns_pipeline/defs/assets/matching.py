"""Matching: to which unit of which order line each returned unit belongs."""

from returns_pipeline.defs.assets.build import CUSTOMER_SERVICE, Told, step_assets
from returns_pipeline.steps import decide
from returns_pipeline.steps.figures import Breakdown, of_open_units
from returns_pipeline.storage import tables as t

matches = step_assets(
    decide.matches,
    Told(
        name="matches",
        description=(
            "The order line each returned unit belongs to. A unit that fits none (an orphan) "
            "or more than one waits for a person; it never stops the others."
        ),
        owner=CUSTOMER_SERVICE,
        table=t.matches,
        deps=("order_lines", "orders_by_reference", "return_items", "receipts"),
        breakdowns=(
            Breakdown(
                "open units by outcome",
                of_open_units(t.matches),
                (t.matches.c.outcome, t.matches.c.code),
                (t.return_items.c.is_open,),
            ),
        ),
    ),
    group="matching",
)

ASSETS = (matches,)
