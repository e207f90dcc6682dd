"""The day that is killed: which returns come back, and when the program works at them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from returns_pipeline.sandbox import catalogue
from returns_pipeline.sandbox.cases.registry import tell
from returns_pipeline.sandbox.model import World
from returns_pipeline.sandbox.script import RESTOCK, SHARE, Script

STARTS = datetime(2026, 3, 9, tzinfo=UTC)
EVENING = STARTS + timedelta(days=4, hours=18)
NIGHT = STARTS + timedelta(days=5, minutes=30)
MORNING = STARTS + timedelta(days=5, hours=7)
NEXT_NIGHT = NIGHT + timedelta(days=1)
NEXT_MORNING = MORNING + timedelta(days=1)

# A day is complete once both vendors were read past its end.
BEFORE = timedelta(minutes=20)
# When a killed phase is begun again. Longer than the settle time (60 s here) and the lease of
# a claim (5 min); a second kill falls half-way.
LATER = timedelta(minutes=30)
HALF_WAY = LATER / 2
# Something new comes in before that, so that a recovery is not the last event of its day:
# its batch must be the very bytes of the clean day's.
_MEANWHILE = timedelta(minutes=20)

FULL = (
    "two_of_three_one_damaged",
    "three_conditions_one_sku",
    "cumulative_rounding",
    "gift_return",
    "keep_item",
    "kit_returned_whole",
    "donated",
    "even_exchange",
    "uneven_exchange_up",
    "uneven_exchange_down",
    "exchange_for_two",
    "exchange_into_a_bundle",
    "staff_booked_it",
    "staff_restocked_it",
)
REDUCED = (
    "two_of_three_one_damaged",
    "donated",
    "uneven_exchange_down",
    "staff_booked_it",
    "keep_item",
)


def day(*, reduced: bool = False) -> World:
    """A merchant's day: returns inspected before the evening, a few more in the night."""
    script = Script(7, STARTS)
    for name in REDUCED if reduced else FULL:
        tell(script, name)
    script.begin("night", first_number=9_000)
    _night(script)
    for at in (EVENING, MORNING):
        _meanwhile(script, at + _MEANWHILE)
    if not reduced:
        _meanwhile(script, EVENING + _MEANWHILE, currency="EUR")
    return script.world(ends=8)


def _meanwhile(s: Script, inspected: datetime, currency: str = "GBP") -> None:
    order = s.order("SOCK-3", currency=currency)
    start = (inspected - STARTS) / timedelta(days=1) - 4.1
    unit = s.unit(order, order.lines[0], start=start)
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


def _night(s: Script) -> None:
    """Inspected between the two syncs: the morning has work of its own."""
    order = s.order("CAP-BLK")
    unit = s.unit(order, order.lines[0], start=0.95)
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)
    order = s.order("TEE-NAVY-L")
    unit = s.unit(
        order,
        order.lines[0],
        start=0.95,
        refund_type="exchange",
        exchange_sku=catalogue.OTHER_SIZE["TEE-NAVY-L"],
        exchange_quantity=1,
        exchange_unit_price=catalogue.PRODUCTS["TEE-NAVY-L"].price,
    )
    s.expect(unit, order, order.lines[0], place=RESTOCK, exchange_orders=1)
