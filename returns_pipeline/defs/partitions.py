"""What the definitions themselves need of the policy: the merchant's days and hours.

Definitions load without a single variable set and whatever the settings are: a policy
that cannot be used falls back to the packaged one here, and is refused with its problems
when a run starts.
"""

import os
from datetime import UTC, date, datetime, time, timedelta

import dagster as dg

from returns_pipeline import settings
from returns_pipeline.domain.policy import Policy
from returns_pipeline.settings import SettingsError

# The first business day that can be closed; no payload is older.
FIRST_DAY = date(2025, 1, 1)


def declared_policy() -> Policy:
    """The policy that definitions are drawn from: zone, schedules, ages."""
    named = os.environ.get("RETURNS_POLICY")
    try:
        return settings.load({"RETURNS_POLICY": named} if named else {}, vendors=False).policy
    except SettingsError:
        return settings.load({}, vendors=False).policy


POLICY = declared_policy()
ZONE = POLICY.merchant.time_zone

business_days = dg.DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), timezone=ZONE)
# The month that runs is among them: its books can be looked at before it ends.
business_months = dg.MonthlyPartitionsDefinition(
    start_date=FIRST_DAY.isoformat(), timezone=ZONE, end_offset=1
)


def days_of(keys: list[str]) -> tuple[date, ...]:
    """Partition keys as business days, oldest first."""
    return tuple(sorted(date.fromisoformat(key) for key in keys))


def loaded_as_of(day: date) -> datetime:
    """An instant at which the day is a partition: for days of a clock that was set ahead."""
    after = datetime.combine(day + timedelta(days=2), time(), tzinfo=UTC)
    return max(after, datetime.now(UTC))
