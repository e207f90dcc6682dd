"""``export`` and ``month-end``: the files finance takes into other programs and files away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from returns_pipeline.cli import session
from returns_pipeline.cli.output import Json, Usage, WorkFailed, answering, emit, say, stdout


def export(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="A business date, yesterday, a month (2026-03), or a batch id.",
        ),
    ],
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            metavar="PROGRAM",
            help="generic, xero, quickbooks, sage50 or netsuite; may be given again. Those of "
            "the policy's [exports], if none is.",
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--to", help="Where files go: data/journals, if not given.")
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Write files that differ from those exported before: names changed."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Files for the accounting program, of sealed batches.

    Each program's files are written whole or not at all: an account or tax rate
    without a name there is named with its batch and line, and the other programs
    go on. Exporting again gives the same bytes.

    \b
    Examples:
      returns-pipeline export yesterday
      returns-pipeline export 2026-03-14 --target xero --target sage50
      returns-pipeline export 2026-03 --target quickbooks --to /srv/import
      returns-pipeline export HRL-20260314-UKGBP-01 --json
    """
    with answering(as_json), session.for_reading() as (found, _):
        from returns_pipeline.cli import work
        from returns_pipeline.steps import exporting

        try:
            name = exporting.wanted(what, found.clock(), found.policy).name
        except exporting.NotAsked as error:
            raise Usage(str(error)) from None
        config: dict[str, Any] = {
            "what": name,
            "targets": targets or [],
            "folder": str(folder.resolve()) if folder else "",
            "replace": replace,
        }
        result = work.launched(
            "export_journals", f"exporting {name}", config={"ledger_files": config}
        )
        document = result.documents.get("ledger_files")
        if document is None:
            raise work.failure("exporting", result)
        if as_json and result.success:
            emit(document)
        if not as_json:
            tell_files(document)
            for target in document["targets"]:
                if not (target["files"] or target["problems"] or target["left_out"]):
                    say(f"{target['title']}: no sealed batch of {name}, nothing to write")
        if not result.success:
            raise WorkFailed(result.error or "nothing was written", **document)


def tell_files(document: dict[str, Any]) -> None:
    """Print each file that was written, and say what does not go to a program."""
    for target in document["targets"]:
        for path in target["files"]:
            stdout.print(path, soft_wrap=True)
        if target["left_out"]:
            listed = ", ".join(target["left_out"])
            say(f"{target['title']}: not for {listed}, whose currency does not go there")


def month_end(
    month: Annotated[str, typer.Argument(metavar="MONTH", help="A month, such as 2026-03.")],
    folder: Annotated[
        Path | None,
        typer.Option("--to", help="Where files go: data/month-end/MONTH, if not given."),
    ] = None,
    as_json: Json = False,
) -> None:
    """The month-end pack: register, VAT, open balances with their items, late arrivals.

    A workbook to read and sign, each of its tables as CSV, the figures as JSON.
    Reads what is sealed; the same books give the same bytes.

    \b
    Examples:
      returns-pipeline month-end 2026-03
      returns-pipeline month-end 2026-03 --to /srv/accounts/2026-03 --json
    """
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.cli import tables
        from returns_pipeline.steps import monthly, periods

        try:
            made, files = monthly.write_pack(engine, month, found, folder)
        except periods.NoPeriod as error:
            raise Usage(str(error)) from None
        except OSError as error:
            msg = f"the pack cannot be written: {error.strerror}"
            raise Usage(msg) from None
        if as_json:
            emit({**made.figures(), "files": [str(path) for path in files]})
            return
        stdout.print(tables.books(made.figures()))
        for path in files:
            stdout.print(str(path), soft_wrap=True)
