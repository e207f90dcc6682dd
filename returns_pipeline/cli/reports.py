"""``report`` and ``explain``: reading for people, nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from returns_pipeline.cli import session
from returns_pipeline.cli.output import Json, Usage, answering, emit, say, stdout

if TYPE_CHECKING:
    from datetime import date

    import sqlalchemy as sa

    from returns_pipeline.settings import Settings


def report(
    day: Annotated[
        str, typer.Argument(metavar="DATE", help="A business date, or today, or yesterday.")
    ],
    folder: Annotated[
        Path | None, typer.Option("--to", help="Where the files go: data/reports, if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """One business day: a page to read, a workbook of its returns, one of its books.

    \b
    Examples:
      returns-pipeline report yesterday
      returns-pipeline report 2026-03-14 --to /srv/reports
    """
    with answering(as_json), session.for_reading() as (found, engine):
        on = session.day_of(day, found)
        document = write_report(found, engine, on, folder)
        if as_json:
            emit(document)
        else:
            from returns_pipeline.cli import tables

            stdout.print(tables.lights(document["lights"]))
            for path in document["files"].values():
                stdout.print(path, soft_wrap=True)


def write_report(
    found: Settings, engine: sa.Engine, on: date, folder: Path | None = None
) -> dict[str, Any]:
    """Write a day's page and its two workbooks, beside the journals if not told where.

    Returns:
        The report's figures and the files' paths.

    Raises:
        Usage: When they cannot be written there.
    """
    from returns_pipeline.reporting.finance_book import finance_book
    from returns_pipeline.reporting.page import page
    from returns_pipeline.reporting.workbook import workbook
    from returns_pipeline.steps import account, books, closing

    place = folder or closing.journal_folder(found).parent / "reports"
    made = account.day_report(engine, on, policy=found.policy, now=found.clock())
    ledger = books.books(engine, books.day(on), policy=found.policy)
    files = {
        "html": (f"returns-{on}.html", page(made)),
        "xlsx": (f"returns-{on}.xlsx", workbook(made)),
        "books": (f"books-{on}.xlsx", finance_book(ledger)),
    }
    paths = {}
    try:
        place.mkdir(parents=True, exist_ok=True)
        for kind, (name, content) in files.items():
            path = place / name
            partial = place / f"{name}.part"
            partial.write_bytes(content)
            partial.replace(path)  # a file is there whole or not at all
            paths[kind] = str(path)
    except OSError as error:
        msg = f"the report cannot be written to {place}: {error.strerror}"
        raise Usage(msg) from None
    return {**made.figures(), "files": paths}


_STORIES = 10


def explain(
    key: Annotated[
        str,
        typer.Argument(
            help="A unit, return, order number, stock adjustment, batch, or batch line "
            "(BATCH/NUMBER)."
        ),
    ],
    as_json: Json = False,
) -> None:
    """The whole story of a unit, a batch line or a stock adjustment, back to the payload.

    From a line to its units, their events, the rule and policy that decided and
    the payload as kept; from a unit to its lines in the journal.

    \b
    Examples:
      returns-pipeline explain 1042
      returns-pipeline explain HRL-20260314-UKGBP-00/3
    """
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.cli import tables
        from returns_pipeline.steps import story

        told = story.explain(engine, key)
        if told is None:
            msg = f"nothing is known of {key!r}: give a unit, return, order, adjustment or batch"
            raise Usage(msg)
        if as_json:
            emit(told)
            return
        zone = found.policy.merchant.time_zone
        if "batch_line" in told:
            stdout.print(tables.batch(told["batch_line"], zone))
        for item in told["items"][:_STORIES]:
            stdout.print(tables.story(item, story.timeline(item), zone))
        if len(told["items"]) > _STORIES:
            say(f"and {len(told['items']) - _STORIES} more units: explain one of them")
        say(f"times are {zone}; --json gives every row and the payloads")
