"""What is sold and comes back in the month, and when it is told: the same for every run.

March 2026 and the first days of April: three currencies, two channel groups, the clocks
going forward on the 29th, returns through every hour of the day and over midnight. Some are
told days late, some of a month that is locked by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from benchmarks import finance
from returns_pipeline.domain.calendar import business_date
from returns_pipeline_tests.finance.books import stamp

ZONE = "Europe/London"
POLLED_AT = timedelta(hours=5)
"""When a day's poll is; the day before is closed after it."""
TRIP = timedelta(days=3)
LATE_BY = timedelta(days=2)
LOCKED_DAY = date(2026, 3, 31)
LOCKED_AT = datetime(2026, 4, 2, 12, tzinfo=UTC)
AFTER_THE_LOCK = datetime(2026, 4, 3, 4, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days that are lived. Until two fifths of them are over, a rule is wrong."""

    first: date = date(2026, 3, 1)
    last: date = date(2026, 4, 4)

    @property
    def days(self) -> list[date]:
        """Every day."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    @property
    def wrong_until(self) -> date:
        """The day from which on the rule is right."""
        return self.days[len(self.days) * 2 // 5]

    @property
    def corrected_at(self) -> datetime:
        """When what was sealed under the wrong rule is mended."""
        return _midnight(self.wrong_until) + timedelta(days=2, hours=9)

    @property
    def begins(self) -> datetime:
        """The first return."""
        return _midnight(self.first)

    @property
    def ends(self) -> datetime:
        """The last one. Of the last day is what is taken in then."""
        return _midnight(self.last)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Piece:
    """One returned unit: the instant it is owed, the instants it is told at, its payloads."""

    number: int
    of_order: int
    at: datetime
    told: tuple[tuple[datetime, dict[str, Any]], ...]
    is_late: bool

    @property
    def day(self) -> date:
        """The business date of its refund."""
        return business_date(self.at, ZONE)

    @property
    def books(self) -> str:
        """The unit of the books its order is in."""
        return "AM" if _is_marketplace(self.of_order) else "UK"


def pieces(calendar: Calendar, refunds: int) -> list[Piece]:
    """The units, spread evenly over the hours."""
    apart = (calendar.ends - calendar.begins) / refunds
    return [_piece(n, calendar.begins + n * apart, calendar.ends) for n in range(refunds)]


def orders_of(found: list[Piece]) -> dict[int, dict[str, Any]]:
    """The orders behind the units, by number; every seventh is a marketplace's."""
    orders = {}
    for number in {piece.of_order for piece in found}:
        order = finance.order(number)
        if _is_marketplace(number):
            order["GeneralInfo"]["Source"] = "AMAZON"
        orders[number] = order
    return orders


def _is_marketplace(order: int) -> bool:
    return order % 7 == 0


def _piece(number: int, at: datetime, ends: datetime) -> Piece:
    # Of an order of three, the units come back one by one, other returns between them.
    of_order = number - number % 33 + 3 if number % 33 in {3, 14, 25} else number
    told = finance.unit(number, at)
    told |= {"orderNumber": f"#{of_order}", "sku": f"SKU-{of_order % 400}"}
    if "returnFee" in told:
        told["returnFee"] = f"3.00 {finance.currency(of_order)}"
    if number % 50 == 21:
        return _one(number, of_order, at, _kept(told, at), ends)
    if number % 40 == 5:
        told |= {"refundType": "exchange", "exchangeSKU": "SKU-X", "exchangeQuantity": 1}
    if number % 25 == 4:
        return _at_the_bar(number, of_order, at, told, ends)
    return _one(number, of_order, at, told, ends)


def _one(number: int, of_order: int, at: datetime, told: dict[str, Any], ends: datetime) -> Piece:
    day, arrives = business_date(at, ZONE), at
    if number % 61 == 50 and at + LATE_BY < ends:
        arrives = at + LATE_BY
    if day == LOCKED_DAY and number % 5 == 0:
        arrives = AFTER_THE_LOCK
    return Piece(number, of_order, at, ((arrives, told),), is_late=arrives != at)


def _kept(told: dict[str, Any], at: datetime) -> dict[str, Any]:
    """A unit that the shopper may keep, approved."""
    left = ("receivedAt", "disposition", "droppedOffAt")
    kept = {name: value for name, value in told.items() if name not in left}
    return kept | {"returnless": True, "status": "approved", "approvedAt": stamp(at)}


def _at_the_bar(
    number: int, of_order: int, at: datetime, told: dict[str, Any], ends: datetime
) -> Piece:
    """Paid when it is handed over, received three days later; one in four never."""
    bar = told | {"dropoffMethod": "return-bar", "refundType": "refund", "droppedOffAt": stamp(at)}
    here = bar | {"receivedAt": stamp(at + TRIP), "updatedAt": stamp(at + TRIP)}
    on_its_way = bar | {"status": "dropped-off", "updatedAt": stamp(at)}
    del on_its_way["receivedAt"], on_its_way["disposition"]
    events = [(at, on_its_way)]
    if number % 100 != 4 and at + TRIP < ends:
        events.append((at + TRIP, here))
    return Piece(number, of_order, at, tuple(events), is_late=False)
