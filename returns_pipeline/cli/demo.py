"""``demo``: a merchant's week against the sandbox vendors, through the real jobs.

Everything of the demo is in ``data/demo``: its database, its policy, the vendors' state,
its reports. A repeated demo starts afresh there, whatever an interrupted one has left; a
merchant's own database is never opened.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from returns_pipeline.cli import session, work
from returns_pipeline.cli.output import Json, Usage, answering, emit, say, stderr

if TYPE_CHECKING:
    from returns_pipeline.sandbox.serve import Sandbox

FOLDER = session.DATA / "demo"
DATABASE = FOLDER / "demo.sqlite"
POLICY = FOLDER / "policy.toml"
VENDORS = FOLDER / "vendors.state"
# Beside the folder, so that it outlives a fresh start.
LOCK = session.DATA / "demo.lock"

_POLICY_TEXT = """\
# The demo's policy: the packaged one, and who sends the money.
[merchant]
name = "Demo Merchant"

[refunds]
executor = "linnworks"

[exchange]
instant_groups = ["VIP"]
"""
_ZONE = "Europe/London"  # the packaged policy's
_DAYS = 7
# The last two after the day's end: a day is closed once both vendors were read past it.
_MORNING, _LAST_SYNC, _CLOSE = (
    timedelta(hours=9),
    timedelta(hours=2.1),
    timedelta(hours=2.25),
)


@dataclass(frozen=True, slots=True)
class Tick:
    """One thing the week does: which job, at which instant."""

    at: datetime
    job: str
    what: str


def week(now: datetime) -> tuple[datetime, list[Tick]]:
    """When the seeded week begins, and what is run when.

    Seven business days, the last one ended and closable at ``now``: a poll in the morning
    and one in the night after it, when the day is closed, all reconciled at the end.
    """
    from returns_pipeline.domain.calendar import business_date, day_bounds

    last = business_date(now - _CLOSE, _ZONE) - timedelta(days=1)
    days = [last - timedelta(days=back) for back in range(_DAYS - 1, -1, -1)]
    ticks = []
    for day in days:
        start, end = day_bounds(day, _ZONE)
        ticks += [
            Tick(start + _MORNING, "sync_returns", f"{day:%A}, morning: sync"),
            Tick(end + _LAST_SYNC, "sync_returns", f"the night after {day:%A}: sync"),
            Tick(end + _CLOSE, "close_business_day", f"{day:%A} is closed"),
        ]
    ticks.append(Tick(now, "sync_returns", "today: sync"))
    ticks.append(Tick(now, "reconcile_returns", "today: reconcile"))
    return day_bounds(days[0], _ZONE)[0], ticks


def variables() -> dict[str, str | None]:
    """The demo's settings, beside those the sandbox gives."""
    return {
        "RETURNS_DATABASE_URL": f"sqlite:///{DATABASE}",
        "RETURNS_POLICY": str(POLICY),
        "RETURNS_MODE": "live",
        "RETURNS_HAPPY_RETURNS_RATE": "0",
        "RETURNS_LINNWORKS_RATE_SHARE": "0",
        "LINNWORKS_V2_URL": None,
        "RETURNS_NOW": None,
        # What is a stage play alarms nobody, and rests no longer than is usual.
        "RETURNS_SETTLE_SECONDS": None,
        "RETURNS_ALERT_WEBHOOK_URL": None,
        "RETURNS_ALERT_SLACK_WEBHOOK_URL": None,
        "RETURNS_ALERT_TEAMS_WEBHOOK_URL": None,
        "RETURNS_ALERT_SMTP_URL": None,
        "RETURNS_ALERT_EMAIL_TO": None,
    }


@contextmanager
def alone() -> Iterator[None]:
    """Only one demo, or its UI, at a time.

    Raises:
        Usage: When another is running.
    """
    import fcntl

    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            msg = "the demo, or its UI, is running already: stop it with Ctrl-C first"
            raise Usage(msg) from None
        yield


def demo(
    seed: Annotated[int, typer.Option(help="Another seed, another week.")] = 7,
    as_json: Json = False,
) -> None:
    """A seeded week of a merchant's life, polled, closed and reconciled, end to end.

    Starts both vendors as sandboxes in this process and runs the real Dagster
    jobs against them in live mode. Starts afresh each time; everything is
    kept in data/demo.

    \b
    Examples:
      returns-pipeline demo
      returns-pipeline demo --seed 11
    """
    with answering(as_json), alone():
        session.dagster_home()
        now = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 (the demo's own clock)
        starts_at, ticks = week(now)
        _fresh()
        say("making a merchant and a week of returns; living through it takes a few minutes")
        from returns_pipeline.sandbox.serve import Sandbox
        from returns_pipeline.sandbox.world import week as seeded_week

        world = seeded_week(seed, starts_at=starts_at, days=_DAYS)
        sandbox = Sandbox(world, now=starts_at, limits=False)
        sandbox.start()
        try:
            document = _live_through(ticks, sandbox)
        finally:
            sandbox.stop()
        if as_json:
            emit(document)


def _fresh() -> None:
    """An empty folder of the demo's, its policy and its database in it."""
    from returns_pipeline.storage.engine import connect
    from returns_pipeline.storage.migrate import upgrade

    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    POLICY.write_text(_POLICY_TEXT, "utf-8")
    engine = connect(f"sqlite:///{DATABASE}")
    upgrade(engine)
    engine.dispose()


def _live_through(ticks: list[Tick], sandbox: Sandbox) -> dict[str, Any]:
    session.set_variables({**variables(), **sandbox.environ()})
    for number, tick in enumerate(ticks, start=1):
        sandbox.clock.set(tick.at)
        session.set_variables({"RETURNS_NOW": tick.at.isoformat()})
        told = f"[{number}/{len(ticks)}] {tick.what}"
        if tick.job == "close_business_day":
            for day in _days_to_close():
                work.run(tick.job, f"{told}: {day}", day.isoformat())
        else:
            work.run(tick.job, told)
        if stderr.is_terminal:
            say(told)  # the line of progress is gone
    sandbox.save(VENDORS)
    return _account()


def _days_to_close() -> list[date]:
    """What the nightly schedule would close now: yesterday, and what is left of earlier days."""
    from returns_pipeline import settings
    from returns_pipeline.steps import closing
    from returns_pipeline.steps.runtime import Runtime

    with Runtime(settings.load(), run_id="demo") as rt:
        return closing.days_to_close(rt)


def _account() -> dict[str, Any]:
    from returns_pipeline.cli import reports, tables
    from returns_pipeline.steps import account

    with session.for_reading() as (found, engine):
        told = account.account(engine)
        closed = account.closed_days(engine)
        written = {day: reports.write_report(found, engine, day) for day in closed}
    last = written[max(written)]
    stderr.print()
    stderr.print(tables.account(told))
    stderr.print(tables.lights(last["lights"]))
    stderr.print()
    say(f"the report of {last['business_date']}: {last['files']['html']}")
    say("to see all of it in the Dagster UI, and its exceptions on their page, the vendors living")
    say("on and the schedules on: make ui")
    return {**told, "report": last}
