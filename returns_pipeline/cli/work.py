"""``sync``, ``close-day``, ``reconcile``: each launches the Dagster job of its purpose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from returns_pipeline.cli import session
from returns_pipeline.cli.output import (
    Json,
    Usage,
    WorkFailed,
    answering,
    emit,
    say,
    stderr,
    stdout,
)
from returns_pipeline.settings import SettingsError

if TYPE_CHECKING:
    from returns_pipeline.defs.launch import LaunchResult
    from returns_pipeline.settings import Settings


@contextmanager
def progress(what: str) -> Iterator[Callable[[str], None]]:
    """Say how far long work has come, on standard error."""
    if not stderr.is_terminal:
        say(f"{what} ...")
        yield lambda _message: None
        return
    with stderr.status(escape(what)) as status:
        yield lambda message: status.update(escape(f"{what}: {message}"))


def run(
    job: str,
    what: str,
    partition_key: str | None = None,
    *,
    config: Mapping[str, Any] | None = None,
) -> LaunchResult:
    """Launch a job and wait for it.

    Raises:
        WorkFailed: With the reason and where to look.
        SettingsError: When the run found that they cannot be used.
        KeyboardInterrupt: When it was interrupted; its run says so.
    """
    result = launched(job, what, partition_key=partition_key, config=config)
    if not result.success:
        raise failure(what, result)
    return result


def launched(
    job: str,
    what: str,
    *,
    partition_key: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> LaunchResult:
    """Launch a job and wait for it, however it ends.

    Raises:
        SettingsError: When the run found that they cannot be used.
        KeyboardInterrupt: When it was interrupted; its run says so.
    """
    with progress(what) as report:
        report("starting Dagster")
        from returns_pipeline.defs.launch import launch

        result = launch(job, partition_key=partition_key, config=config, progress=report)
    if result.wrong_settings:
        raise SettingsError([result.error or "the settings cannot be used"])
    return result


def failure(what: str, result: LaunchResult) -> WorkFailed:
    """Why a run failed and where to look."""
    where = f"see the run {result.run_id} in the Dagster UI (`dagster dev`, then Runs)"
    step = f" at {result.failed_step}" if result.failed_step else ""
    return WorkFailed(
        f"{what}{step}: {result.error}\n{where}",
        run_id=result.run_id,
        failed_step=result.failed_step,
        error_class=result.error_class,
    )


def checks(result: LaunchResult) -> list[dict[str, str]]:
    """The invariants that did not hold, those that only warn included."""
    return [
        {"asset": one.asset, "check": one.name, "severity": one.severity, "message": one.message}
        for one in result.failed_checks
    ]


def say_checks(result: LaunchResult) -> None:
    """Name the invariants that did not hold."""
    for one in result.failed_checks:
        say(f"check {one.name} ({one.severity.lower()}): {one.message}")


def sync(as_json: Json = False) -> None:
    """One poll of both vendors, through to posted stock and exchanges.

    Drives every open write and reads back those whose outcome is unknown. It
    never begins a refund: closing a day does. In shadow mode (the default)
    nothing is posted.

    \b
    Examples:
      returns-pipeline sync
      RETURNS_MODE=live returns-pipeline sync --json
    """
    with answering(as_json):
        found = session.for_work()
        result = run("sync_returns", "sync")
        document = {
            "run_id": result.run_id,
            "mode": found.mode.value,
            **sync_figures(result.counts, result.calls),
            "held": _held(found),
            "failed_checks": checks(result),
        }
        say_checks(result)
        if as_json:
            emit(document)
            return
        say(f"run       {result.run_id}")
        for name in ("read", "changed", "held", "intended", "posted", "unknown", "calls"):
            say(f"{name:9} {_words(document[name])}")


def _held(found: Settings) -> dict[str, int]:
    from returns_pipeline.steps import account

    with session.opened(found.database_url) as engine:
        return account.held_by_reason(engine)


def _words(counts: Mapping[str, int] | int) -> str:
    if isinstance(counts, int):
        return str(counts)
    return ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items() if n) or "none"


_READ = {
    "linnworks_order_payloads": "linnworks_orders",
    "orders_by_reference": "linnworks_look_ups",
    "happy_returns_payloads": "happy_returns_items",
    "bookings_read": "linnworks_bookings",
    "linnworks_locations": "linnworks_locations",
}
_DONE = (".confirmed", ".found", ".adopted")


def sync_figures(
    counts: Mapping[str, Mapping[str, int]], calls: Mapping[str, int]
) -> dict[str, Any]:
    """A run's counts, asset by asset, as the figures of the interface."""
    read, changed, intended, posted = {}, {}, {}, Counter[str]()
    unknown = would_post = 0
    for asset, found in counts.items():
        if asset in _READ:
            name = _READ[asset]
            read[name] = next(
                (
                    found[k]
                    for k in ("read", "looked_up", "locations", "bookings_read")
                    if k in found
                ),
                0,
            )
            changed[name] = next((found[k] for k in ("changed", "found") if k in found), 0)
        if "intended" in found:
            intended[asset] = found["intended"]
        for outcome, n in found.items():
            kind, dot, fate = outcome.rpartition(".")
            if dot and f".{fate}" in _DONE:
                posted[kind] += n
        unknown += found.get("left_unknown", 0) + found.get("left_suspense", 0)
        would_post += found.get("would_post", 0)
    return {
        "read": read,
        "changed": changed,
        "intended": intended,
        "posted": dict(posted),
        "would_post": would_post,
        "unknown": unknown,
        "calls": dict(calls),
        "steps": {asset: dict(found) for asset, found in counts.items()},
    }


def close_day(
    day: Annotated[
        str, typer.Argument(metavar="DATE", help="A business date that has ended, or yesterday.")
    ],
    to: Annotated[
        str | None, typer.Option(metavar="DATE", help="Close every day from DATE to this one.")
    ] = None,
    force: Annotated[
        str,
        typer.Option(
            metavar="REASON",
            help="Seal it although a vendor was not read to the day's end; the reason is kept.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """A business day's financial batch: seal it, carry out its refunds, export its journal.

    A sealed day is never changed: closing it again says so, or seals what has
    come late in an adjustment batch of its own.

    \b
    Examples:
      returns-pipeline close-day yesterday
      returns-pipeline close-day 2026-03-01 --to 2026-03-14 --json
    """
    with answering(as_json):
        found = session.for_work()
        first = _ended(day, found)
        last = _ended(to, found) if to else first
        if last < first:
            msg = f"--to {last} lies before {first}"
            raise Usage(msg)
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        closed = [close(one, found, force=force) for one in days]
        if as_json:
            emit({"days": closed} if to else closed[0])


def _ended(text: str, found: Settings) -> date:
    from returns_pipeline.domain.calendar import is_complete

    day = session.day_of(text, found)
    zone = found.policy.merchant.time_zone
    if not is_complete(day, zone, timedelta(), found.clock()):
        msg = f"{day} is not over in {zone}: it is closed once it has ended"
        raise Usage(msg)
    return day


def close(day: date, found: Settings, *, force: str = "") -> dict[str, Any]:
    """Launch the close of one day, and tell what stands of it afterwards.

    Raises:
        WorkFailed: When it was not closed.
    """
    from returns_pipeline.cli import tables
    from returns_pipeline.steps import account

    config = {"batches": {"force": force}} if force else None
    result = run("close_business_day", f"closing {day}", day.isoformat(), config=config)
    with session.opened(found.database_url) as engine:
        document = account.closed_day(engine, day)
    stderr.print(tables.closed(document))
    counts = result.counts.get("batches", {})
    if counts.get("already") and counts.get("sealed"):
        say(f"{day}: what came late is sealed in a batch of its own; nothing else changed")
    elif counts.get("already"):
        say(f"{day}: sealed already, nothing has come late; nothing changed")
    return document


def reconcile(
    day: Annotated[
        str | None,
        typer.Argument(metavar="[DATE]", help="Also tell how this business day stands."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read the vendors back, compare, and bring the exception queue up to date.

    \b
    Examples:
      returns-pipeline reconcile
      returns-pipeline reconcile yesterday --json
    """
    with answering(as_json):
        found = session.for_work()
        on = session.day_of(day, found) if day else None
        result = run("reconcile_returns", "reconcile", on.isoformat() if on else None)
        from returns_pipeline.steps import account

        with session.opened(found.database_url) as engine:
            queue = account.exceptions_list(engine)
            figures = None
            if on is not None:
                now = found.clock()
                figures = account.day_report(engine, on, policy=found.policy, now=now).figures()
        document: dict[str, Any] = {
            "run_id": result.run_id,
            "differences": result.counts.get("reconciliation", {}).get("differences", 0),
            "figures": dict(result.counts.get("reconciliation", {})),
            "exceptions": queue,
            "calls": dict(result.calls),
            "failed_checks": checks(result),
        }
        if figures is not None:
            document["day"] = figures
        say_checks(result)
        say(
            f"{document['differences']} differences between Linnworks and our books; "
            f"{len(queue)} exceptions open; {sum(result.calls.values())} vendor calls"
        )
        if as_json:
            emit(document)
        elif on is not None:
            from returns_pipeline.cli import tables

            stdout.print(tables.lights(document["day"]["lights"]))
            stdout.print(tables.three_ways(document["day"]["three_ways"]))
