"""What a command needs before it works: settings in order, a database of this version.

The environment is changed here and nowhere else in the commands: for the demo, whose
Dagster runs read their settings like any other run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from returns_pipeline import settings as settings_module
from returns_pipeline.cli.output import Usage
from returns_pipeline.settings import PROJECT, Settings, SettingsError

if TYPE_CHECKING:
    import sqlalchemy as sa

DATA = PROJECT / "data"


def set_variables(values: Mapping[str, str | None]) -> None:
    """Set variables of this process, and so of the runs it launches; ``None`` unsets."""
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)  # noqa: TID251
        else:
            os.environ[name] = value  # noqa: TID251


def environment() -> dict[str, str]:
    """The environment for a process to be started."""
    return dict(os.environ)  # noqa: TID251


def dagster_home() -> Path:
    """The folder Dagster keeps its runs in: ``DAGSTER_HOME``, else the project's own.

    Raises:
        SettingsError: When it is no folder, and none can be made there.
    """
    given = os.environ.get("DAGSTER_HOME")  # noqa: TID251
    path = Path(given).expanduser().resolve() if given else PROJECT
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"DAGSTER_HOME: {path} cannot be used as a folder ({error.strerror}); unset it"
        raise SettingsError([msg]) from None
    return path


def for_work() -> Settings:
    """Settings for work that speaks to vendors, everything checked before any is asked.

    Raises:
        SettingsError: With every problem.
        DatabaseUnusable: When the database is not there or of another version.
    """
    return _checked(vendors=True)


def _checked(*, vendors: bool) -> Settings:
    """Settings, with Dagster's folder and the database looked at before anything is refused.

    Who sets a machine up learns of everything at once.
    """
    from returns_pipeline.storage.engine import DatabaseUnusable

    problems: list[str] = []
    found = None
    try:
        found = settings_module.load(vendors=vendors)
    except SettingsError as error:
        problems.extend(error.problems)
    try:
        dagster_home()
    except SettingsError as error:
        problems.extend(error.problems)
    named = any("RETURNS_DATABASE_URL" in problem for problem in problems)
    if not named:
        try:
            database(settings_module.database_url()).dispose()
        except DatabaseUnusable as error:
            if not problems:
                raise
            problems.append(str(error))
    if problems or found is None:
        raise SettingsError(problems)
    return found


@contextmanager
def for_reading() -> Iterator[tuple[Settings, sa.Engine]]:
    """Settings and database for a command that only reads what is stored.

    Raises:
        SettingsError: With every problem.
        DatabaseUnusable: When the database is not there or of another version.
    """
    found = _checked(vendors=False)
    with opened(found.database_url) as engine:
        yield found, engine


@contextmanager
def opened(url: str) -> Iterator[sa.Engine]:
    """The database for as long as it is needed, its version checked.

    Raises:
        DatabaseUnusable: Naming the remedy.
    """
    engine = database(url)
    try:
        yield engine
    finally:
        engine.dispose()


def database(url: str) -> sa.Engine:
    """The database, its version checked.

    Raises:
        DatabaseUnusable: Naming the remedy.
    """
    from returns_pipeline.storage.engine import connect
    from returns_pipeline.storage.migrate import require_current

    engine = connect(url)
    require_current(engine)
    return engine


def day_of(text: str, found: Settings) -> date:
    """A business date: ``2026-03-14``, ``today`` or ``yesterday`` in the merchant's zone.

    Raises:
        Usage: When it is none of these, or has not begun.
    """
    from datetime import timedelta

    from returns_pipeline.domain.calendar import business_date

    today = business_date(found.clock(), found.policy.merchant.time_zone)
    words = {"today": today, "yesterday": today - timedelta(days=1)}
    try:
        day = words.get(text) or date.fromisoformat(text)
    except ValueError:
        msg = f"{text!r} is not a date: write it as 2026-03-14, or say today or yesterday"
        raise Usage(msg) from None
    if day > today:
        msg = f"{day} has not begun: it is {today} in {found.policy.merchant.time_zone}"
        raise Usage(msg)
    return day


def local(at: datetime, zone: str) -> str:
    """An instant as the merchant reads it."""
    from zoneinfo import ZoneInfo

    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"
