"""Every case of the specification as a small story with its ground truth.

A case is a function that tells its part of a ``Script``; its name is the case's. Expectations
follow from ``spec/CASES.md``, ``DISPOSITIONS.md``, ``EXCEPTIONS.md`` and ``INTERFACE.md`` with
the packaged policy, executor ``linnworks``, seven days after the start; never from what the
program does.
"""

from __future__ import annotations

from datetime import datetime

from returns_pipeline.sandbox.cases import (
    bad_input,
    dispositions,
    exchanges,
    life,
    matching,
    money,
    people,
    swapped,
)
from returns_pipeline.sandbox.cases.registry import BUILDERS, tell
from returns_pipeline.sandbox.model import World
from returns_pipeline.sandbox.script import Script

SEED = 7
CHAPTERS = (life, dispositions, matching, people, money, exchanges, bad_input, swapped)


def build(name: str, starts_at: datetime, *, seed: int = SEED) -> World:
    """A world of just one case, the same as within ``world.week`` of the same seed.

    Raises:
        KeyError: When there is no such case.
    """
    script = Script(seed, starts_at)
    tell(script, name)
    return script.world(ends=8)


NAMES: tuple[str, ...] = tuple(BUILDERS)

# The rows of spec/CASES.md, and the cases that tell them.
ROWS: dict[str, tuple[str, ...]] = {
    "Started, never dropped off": ("started_never_dropped_off",),
    "Drop-off verified, refund paid by HR": ("drop_off_verified", "premature_refund"),
    "Mail, carrier scan approval": ("mail_carrier_scan_approved",),
    "Received, not refunded": ("received_not_refunded", "quarantine_holds_the_refund"),
    "Refunded, not received": ("refunded_not_received",),
    "2 of 3 units, one damaged": ("two_of_three_one_damaged",),
    "Wrong item in bag": ("wrong_item_in_bag",),
    "Keep item": ("keep_item",),
    "Even exchange": ("even_exchange", "exchange_before_receipt"),
    "Uneven exchange up/down": ("uneven_exchange_up", "uneven_exchange_down"),
    "Instant exchange": ("instant_exchange",),
    "Kit returned incomplete": ("kit_returned_incomplete", "kit_returned_whole"),
    "Gift return": ("gift_return",),
    "Two orders in one bag": ("two_orders_in_one_bag",),
    "Return to sender": ("return_to_sender",),
    "Fee on return": ("fee_on_return", "fee_once_for_two_units", "fee_above_refund"),
    "Return outside window": ("outside_return_window",),
    "Two locations (US hub, UK DC)": ("two_locations",),
    "Order still open in Linnworks": ("order_open", "order_open_then_processed"),
    "Order merged/split/archived/anonymised": ("order_merged", "order_archived"),
}
# The seed cases of issue 2, by what they must show.
SEED_CASES: dict[str, tuple[str, ...]] = {
    "premature refund": ("premature_refund",),
    "three conditions of one SKU land in three locations": ("three_conditions_one_sku",),
    "two lines of one SKU, with and without line id": (
        "two_lines_one_sku_with_line_id",
        "two_lines_one_sku_without_line_id",
    ),
    "missing line id goes to CX": ("two_lines_one_sku_without_line_id",),
    "order open, cancelled, unknown": (
        "order_open",
        "order_cancelled",
        "order_cancelled_before_despatch",
        "order_unknown",
    ),
    "location wrong after the fact": (
        "wrong_location_after_the_fact",
        "damaged_among_saleable",
    ),
    "exchange order only after receipt, once": ("even_exchange", "exchange_before_receipt"),
}
