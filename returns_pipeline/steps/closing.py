"""Which business days are to be closed, and whether one may be.

Closing itself is ``money``'s. Here: the days that still have something to be sealed or
paid, the refusal of a day that is not over, and the folder that journals go to.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import sqlalchemy as sa

from returns_pipeline.domain.calendar import business_date, day_bounds, is_complete
from returns_pipeline.settings import PROJECT, Settings
from returns_pipeline.steps import money
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading


class DayNotOver(Exception):  # noqa: N818 (it says what is so)
    """A business day that has not ended cannot be closed. Nothing was sealed or paid."""


def require_over(rt: Runtime, day: date, *, lag: timedelta = timedelta()) -> None:
    """Refuse a day that has not ended, or whose sources are still given time.

    Args:
        rt: For the clock and the merchant's zone.
        day: The business date.
        lag: How long after its end the day counts as complete; none where a person asks.

    Raises:
        DayNotOver: Saying from when on the day can be closed.
    """
    zone = rt.policy.merchant.time_zone
    if is_complete(day, zone, lag, rt.now()):
        return
    end = day_bounds(day, zone)[1] + lag
    msg = (
        f"{day} cannot be closed yet: it ends at {day_bounds(day, zone)[1]:%Y-%m-%d %H:%M} UTC "
        f"({zone}), and can be closed from {end:%Y-%m-%d %H:%M} UTC on. Nothing was sealed or paid."
    )
    raise DayNotOver(msg)


def days_to_close(rt: Runtime) -> list[date]:
    """Yesterday, and every earlier day with something not sealed or not paid, oldest first.

    A day with a batch whose refunds were not all carried out, or whose journal was not
    written, is among them: only closing begins a refund, so that a close which was
    interrupted is taken up again.
    """
    yesterday = business_date(rt.now(), rt.policy.merchant.time_zone) - timedelta(days=1)
    columns = t.batches.c
    unpaid = (
        sa.select(columns.origin_date)
        .distinct()
        .where(
            t.among(columns.state, t.UNFINISHED_BATCH),
            columns.origin_date <= yesterday,
        )
    )
    with reading(rt.engine) as connection:
        begun = connection.execute(unpaid).scalars().all()
    return sorted({yesterday, *begun, *money.open_days(rt, yesterday)})


def journal_folder(settings: Settings) -> Path:
    """Where journals are written: beside an SQLite database, else in the project's ``data``."""
    url = sa.make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        return Path(url.database).resolve().parent / "journals"
    return PROJECT / "data" / "journals"
