from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_pipeline.domain import calendar

LONDON = "Europe/London"
ZONES = st.sampled_from([LONDON, "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe"])


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (utc(2026, 3, 14, 22, 10), date(2026, 3, 14)),
        (utc(2026, 7, 14, 22, 59, 59), date(2026, 7, 14)),
        (utc(2026, 7, 14, 23, 0), date(2026, 7, 15)),
        (utc(2026, 1, 14, 23, 59, 59), date(2026, 1, 14)),
    ],
)
def test_the_business_date_is_the_merchants_day(at: datetime, day: date) -> None:
    assert calendar.business_date(at, LONDON) == day


def test_a_naive_instant_is_a_defect() -> None:
    naive = utc(2026, 3, 14).replace(tzinfo=None)
    with pytest.raises(ValueError, match="naive"):
        calendar.business_date(naive, LONDON)


@pytest.mark.parametrize(
    ("day", "hours"),
    [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 3, 14), 24)],
)
def test_a_day_has_23_or_25_hours_twice_a_year(day: date, hours: int) -> None:
    start, end = calendar.day_bounds(day, LONDON)
    assert end - start == timedelta(hours=hours)
    assert start.tzinfo is UTC


@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)), ZONES)  # noqa: DTZ001
def test_every_instant_lies_in_the_bounds_of_its_day(naive: datetime, zone: str) -> None:
    at = naive.replace(tzinfo=UTC)
    start, end = calendar.day_bounds(calendar.business_date(at, zone), zone)
    assert start <= at < end


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), ZONES)
def test_days_meet_without_gap_or_overlap(day: date, zone: str) -> None:
    tomorrow = day + timedelta(days=1)
    assert calendar.day_bounds(day, zone)[1] == calendar.day_bounds(tomorrow, zone)[0]


def test_a_day_is_complete_once_its_lag_has_passed() -> None:
    day, lag = date(2026, 7, 14), timedelta(hours=2)
    assert not calendar.is_complete(day, LONDON, lag, utc(2026, 7, 15, 0, 59, 59))
    assert calendar.is_complete(day, LONDON, lag, utc(2026, 7, 15, 1, 0))


@pytest.mark.parametrize(
    ("at", "days", "due"),
    [
        (utc(2026, 3, 12, 10), 1, utc(2026, 3, 13, 10)),  # Thursday to Friday
        (utc(2026, 3, 13, 10), 1, utc(2026, 3, 16, 10)),  # Friday to Monday
        (utc(2026, 3, 14, 10), 1, utc(2026, 3, 16, 10)),  # Saturday to Monday
        (utc(2026, 3, 27, 10), 1, utc(2026, 3, 30, 9)),  # over the change to summer time
        (utc(2026, 3, 13, 10), 0, utc(2026, 3, 13, 10)),
    ],
)
def test_working_days_pass_over_the_weekend(at: datetime, days: int, due: datetime) -> None:
    assert calendar.add_working_days(at, days, LONDON) == due
