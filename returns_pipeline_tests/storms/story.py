"""The days that are stormed: which returns come back, and when the program works at them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from returns_pipeline.sandbox import catalogue
from returns_pipeline.sandbox.cases.registry import tell
from returns_pipeline.sandbox.model import Order, World
from returns_pipeline.sandbox.script import RESTOCK, SHARE, Script

STARTS = datetime(2026, 3, 9, tzinfo=UTC)
ENDS = STARTS + timedelta(days=8, hours=8)
SETTLE = timedelta(seconds=60)

# Cases whose end does not hang on the hour at which the program gets to them.
_CASES = (
    "two_of_three_one_damaged",
    "three_conditions_one_sku",
    "cumulative_rounding",
    "gift_return",
    "keep_item",
    "kit_returned_whole",
    "donated",
    "discounted_line",
    "mixed_vat",
    "euro_order",
    "fee_on_return",
    "shipping_refunded",
    "open_box",
    "refurbish",
    "staff_booked_it",
    "staff_restocked_it",
    "staff_booked_elsewhere",
    "refund_amount_mismatch",
    "two_locations",
    "received_by_mail",
)
WORLDS = 8


@dataclass(frozen=True, slots=True)
class Poll:
    """One run of the program: a sync, or the nightly closing."""

    at: datetime
    closes: bool = False


def _day(number: int) -> tuple[Poll, ...]:
    """The runs around one night. Some polls come sooner than a lost answer has settled."""
    evening = STARTS + timedelta(days=number, hours=18)
    night = STARTS + timedelta(days=number + 1, minutes=30)
    morning = STARTS + timedelta(days=number + 1, hours=7)
    soon, later = timedelta(seconds=20), timedelta(minutes=30)
    return (
        Poll(evening),
        Poll(evening + soon),
        Poll(evening + later),
        Poll(night - later / 2),  # a day is closed once both vendors were read past its end
        Poll(night, closes=True),
        Poll(night + soon),
        Poll(morning),
        Poll(morning + later),
    )


STORM = (*_day(4), *_day(5)[2:5])
"""While requests meet their fates: a day and a half, two closings."""

CALM = (
    Poll(STARTS + timedelta(days=6, hours=2)),
    Poll(STARTS + timedelta(days=6, hours=3)),
    Poll(STARTS + timedelta(days=6, hours=4)),
    Poll(STARTS + timedelta(days=7, minutes=20)),
    Poll(STARTS + timedelta(days=7, minutes=30), closes=True),
    Poll(STARTS + timedelta(days=7, hours=1)),
    Poll(STARTS + timedelta(days=8, minutes=20)),
    Poll(STARTS + timedelta(days=8, minutes=30), closes=True),
    Poll(ENDS),
)
"""After the faults have stopped: the days must be finished here."""


def world(number: int) -> World:
    """One of the merchants: some of the cases, plain returns, exchanges, late ones."""
    script = Script(100 + number, STARTS)
    rng = random.Random(number)  # noqa: S311 (the same merchants every time)
    for name in sorted(rng.sample(_CASES, 6)):
        tell(script, name)
    script.begin("storm", first_number=9_000)
    # Inspected before the evening, in the night, during the next day: each poll has something.
    for inspected in (4.5, 4.6, 4.9, 5.1, 5.27, 5.6):
        _returned(script, rng.choice(_PLAIN), inspected)
    for inspected in (4.55, 4.95, 5.2, 5.55):
        _exchanged(script, rng.choice(list(catalogue.OTHER_SIZE)), inspected)
    for sku, wanted, inspected in (
        ("SHOE-BLK-40", "DRESS-GRN-S", 4.57),
        ("CAP-BLK", "TEE-RED-M", 4.96),
        ("JKT-OLV-M", "SHOE-BLK-41", 5.21),
    ):
        _exchanged(script, sku, inspected, wanted)
    _exchanged_by_staff(script, booked=2.0, acts=bool(number % 2))
    _exchanged_by_staff(script, booked=4.05, acts=bool(number % 2 == 0))
    return script.world(ends=10)


_PLAIN = [sku for sku, one in catalogue.PRODUCTS.items() if not one.batched and not one.children]


def _returned(s: Script, sku: str, inspected: float) -> None:
    order = s.order(sku)
    unit = s.unit(order, order.lines[0], start=inspected - 4.1)
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


def _exchanged_by_staff(s: Script, booked: float, *, acts: bool) -> None:
    """Staff have booked the exchange in Linnworks: its order is made there, or will be."""
    order = _exchanged(s, "TEE-NAVY-M", 4.5)
    line = {"row_id": order.lines[0].row_id, "quantity": 1, "location": RESTOCK}
    lines = [{**line, "exchange_sku": catalogue.OTHER_SIZE["TEE-NAVY-M"]}]
    s.staff_does(booked, "book_rma", order_reference=order.reference, lines=lines, action_too=acts)


def _exchanged(s: Script, sku: str, inspected: float, wanted: str = "") -> Order:
    """For another size at what was paid, or for something dearer or cheaper at its price."""
    order = s.order(sku)
    line = order.lines[0]
    paid = s.share(line, 0)
    price = catalogue.PRODUCTS[wanted].price if wanted else paid
    unit = s.unit(
        order,
        line,
        start=inspected - 4.1,
        refund_type="exchange",
        exchange_sku=wanted or catalogue.OTHER_SIZE[sku],
        exchange_quantity=1,
        exchange_unit_price=price,
    )
    rest = max(Decimal(0), paid - price)
    s.expect(unit, order, line, place=RESTOCK, refund=rest, exchange_orders=1)
    return order
