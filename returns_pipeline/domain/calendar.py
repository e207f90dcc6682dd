"""Business dates: days in the merchant's zone, 23 or 25 hours long twice a year."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo


@lru_cache(maxsize=16)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def business_date(at: datetime, zone: str) -> date:
    """The merchant's day of an aware instant.

    Raises:
        ValueError: When the instant is naive.
    """
    if at.tzinfo is None:
        msg = f"naive instant {at!r}: instants are aware UTC"
        raise ValueError(msg)
    return at.astimezone(_zone(zone)).date()


def day_bounds(day: date, zone: str) -> tuple[datetime, datetime]:
    """The day as a half-open span of UTC instants."""
    start, end = (
        datetime.combine(d, time(), tzinfo=_zone(zone)).astimezone(UTC)
        for d in (day, day + timedelta(days=1))
    )
    return start, end


def at_local_time(day: date, at: time, zone: str) -> datetime:
    """The instant, UTC, of a time of day in the zone.

    Where the clocks go back the earlier of the two; where they go forward, and the time does
    not exist, as far after the change as it is after the hour.
    """
    return datetime.combine(day, at, tzinfo=_zone(zone)).astimezone(UTC)


def is_complete(day: date, zone: str, lag: timedelta, now: datetime) -> bool:
    """Whether the day has ended, and the lag its sources are given has passed."""
    return now >= day_bounds(day, zone)[1] + lag


def add_working_days(at: datetime, days: int, zone: str) -> datetime:
    """The same time of day, ``days`` working days (Monday to Friday) later."""
    local = at.astimezone(_zone(zone))
    day = local.date()
    left = days
    while left > 0:
        day += timedelta(days=1)
        if day.weekday() < 5:
            left -= 1
    return datetime.combine(day, local.timetz()).astimezone(UTC)
