"""``verify``, ``reverse-batch``, ``batches``, ``periods``: sealed batches and their calendar."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from returns_pipeline.cli import session
from returns_pipeline.cli.output import (
    Json,
    Usage,
    WorkFailed,
    answering,
    emit,
    say,
    stdout,
)

batches = typer.Typer(help="The register of sealed batches.", no_args_is_help=True)
periods = typer.Typer(help="Our own calendar of locked months.", no_args_is_help=True)

_Batch = Annotated[str, typer.Argument(metavar="BATCH", help="Such as HRL-20260314-UKGBP-00.")]
_Month = Annotated[str, typer.Argument(metavar="MONTH", help="Such as 2026-03.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why; kept for whoever asks later.")]
_By = Annotated[
    str | None,
    typer.Option("--by", help="Who does it, for the record; if not given, the login name."),
]


def verify(batch: _Batch, as_json: Json = False) -> None:
    """Make a sealed batch again from the kept payloads and compare it byte by byte.

    Exit code 0: it is what its payloads come to. 1: it is not, and how it differs.

    \b
    Examples:
      returns-pipeline verify HRL-20260314-UKGBP-00
      returns-pipeline verify HRL-20260314-UKGBP-01 --json
    """
    with answering(as_json), session.for_reading() as (_, engine):
        from returns_pipeline.steps import verification
        from returns_pipeline.steps.batching import NotThere

        try:
            verdict = verification.verify(engine, batch.strip().upper())
        except NotThere as error:
            raise Usage(str(error)) from None
        document: dict[str, Any] = {
            "batch": verdict.batch_id,
            "verified": verdict.holds,
            "sealed_hash": verdict.sealed_hash,
            "derived_hash": verdict.found_hash,
            "events": verdict.events,
            "differences": list(verdict.differences),
        }
        if not verdict.holds:
            told = "\n".join(verdict.differences) or "the hashes differ"
            raise WorkFailed(
                f"{verdict.batch_id} is not what its payloads come to:\n{told}", **document
            )
        if as_json:
            emit(document)
        else:
            say(
                f"{verdict.batch_id} is what its payloads come to: {verdict.events} events, "
                f"hash {verdict.sealed_hash}"
            )


def reverse_batch(
    batch: _Batch,
    reason: _Reason,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace/--no-replace",
            help="Whether its events are entered anew under the policy in force.",
        ),
    ] = True,
    as_json: Json = False,
) -> None:
    """Take a sealed batch back, and make it anew under the policy of now.

    The sealed batch stays as it is: a reversal has its lines with the sides
    swapped, a replacement has its events under today's accounts and rules. Both
    are dated its day, or the first open day where that month is locked. The
    journals of both are written at once, for every program the policy names.

    \b
    Examples:
      returns-pipeline reverse-batch HRL-20260314-UKGBP-00 --reason "4100 split by country"
      returns-pipeline reverse-batch HRL-20260314-UKGBP-01 --no-replace --reason "not ours"
    """
    with answering(as_json), session.for_reading():
        from returns_pipeline.cli import work
        from returns_pipeline.cli.exports import tell_files

        if not reason.strip():
            msg = "say why: --reason TEXT"
            raise Usage(msg)
        name = batch.strip().upper()
        config = {"batch": name, "reason": reason.strip(), "replace": replace}
        result = work.run(
            "reverse_batch", f"reversing {name}", config={"batch_corrections": config}
        )
        document = dict(result.documents["batch_corrections"])
        say(f"{name} is reversed by {document['reversal']}")
        for made in document["replacements"]:
            say(f"{made} stands for it now")
        if as_json:
            emit(document)
        else:
            tell_files(document)
        for target in document["targets"]:
            for problem in target["problems"]:
                say(f"{target['title']}: nothing was written: {problem}")


@batches.command("list")
def list_(
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help="Only those dated from here on.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Every sealed batch with its state and the way it has come.

    \b
    Examples:
      returns-pipeline batches list
      returns-pipeline batches list --since 2026-03-01 --json
    """
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.cli import tables
        from returns_pipeline.steps import batching

        rows = batching.register(engine, session.day_of(since, found) if since else None)
        if as_json:
            emit({"batches": [batching.document(row) for row in rows]})
        elif not rows:
            say("no batch was sealed yet")
        else:
            stdout.print(tables.register(rows))


@batches.command()
def confirm(
    batch: _Batch,
    ledger_id: Annotated[
        str, typer.Option("--ledger-id", metavar="ID", help="The journal's number in the ledger.")
    ],
    by: _By = None,
    as_json: Json = False,
) -> None:
    """Record what an exported batch is called in the ledger.

    One batch has one number there and one number has one batch: another is
    refused, since it would be in the ledger twice.

    \b
    Examples:
      returns-pipeline batches confirm HRL-20260314-UKGBP-00 --ledger-id MJ-2041
    """
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.cli.queue import login
        from returns_pipeline.steps import batching

        name = batch.strip().upper()
        try:
            batching.confirm(engine, name, ledger_id.strip(), by=by or login(), now=found.clock())
        except batching.NotThere as error:
            raise Usage(str(error)) from None
        except batching.WrongState as error:
            raise WorkFailed(str(error), batch=name) from None
        say(f"{name} is {ledger_id.strip()} in the ledger")
        if as_json:
            emit({"batch": name, "ledger_id": ledger_id.strip()})


_Program = Annotated[
    str,
    typer.Option(
        "--target", "-t", metavar="PROGRAM", help="xero, quickbooks, sage50, netsuite or generic."
    ),
]


@batches.command()
def reject(
    batch: _Batch, target: _Program, reason: _Reason, by: _By = None, as_json: Json = False
) -> None:
    """Record that the accounting program refused a batch's file, and what it said.

    That is EXPORT_REJECTED until `batches accept` or `batches confirm`.

    \b
    Examples:
      returns-pipeline batches reject HRL-20260314-UKGBP-00 --target xero \\
          --reason "account 4115 is archived"
    """
    _answered(batch, target, taken=False, reason=reason.strip(), by=by, as_json=as_json)


@batches.command()
def accept(batch: _Batch, target: _Program, by: _By = None, as_json: Json = False) -> None:
    """Record that the accounting program has taken a file it had refused.

    \b
    Examples:
      returns-pipeline batches accept HRL-20260314-UKGBP-00 --target xero
    """
    _answered(batch, target, taken=True, reason="", by=by, as_json=as_json)


def _answered(
    batch: str, target: str, *, taken: bool, reason: str, by: str | None, as_json: bool
) -> None:
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.cli.queue import login
        from returns_pipeline.reporting.exports import TARGETS
        from returns_pipeline.steps import batching, ledger_answers

        if not taken and not reason:
            msg = "say what the program said: --reason TEXT"
            raise Usage(msg)
        name, program = batch.strip().upper(), target.strip().lower()
        if program not in TARGETS:
            raise Usage(f"{target!r} is no program of ours: one of {', '.join(TARGETS)}")
        try:
            news = ledger_answers.tell(
                engine,
                name,
                program,
                taken=taken,
                reason=reason,
                by=by or login(),
                now=found.clock(),
            )
        except batching.NotThere as error:
            raise Usage(str(error)) from None
        except batching.WrongState as error:
            raise WorkFailed(str(error), batch=name, target=program) from None
        word = "taken" if taken else "refused"
        said = f"{name} was {word} by {TARGETS[program].TITLE}"
        say(said if news else f"nothing new: {name} is not known as refused there" if taken
            else f"{said}: known already")  # fmt: skip
        if as_json:
            emit({"batch": name, "target": program, "taken": taken, "news": news})


@periods.command("list")
def periods_list(as_json: Json = False) -> None:
    """Which months are locked, and who locked or unlocked what when.

    \b
    Examples:
      returns-pipeline periods list
    """
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.cli import tables
        from returns_pipeline.steps import periods as calendar
        from returns_pipeline.storage.engine import reading

        changes = calendar.history(engine)
        with reading(engine) as connection:
            locked = sorted(calendar.locked_months(connection))
        if as_json:
            told = [{**one, "changed_at": one["changed_at"].isoformat()} for one in changes]
            emit({"locked": locked, "changes": told})
        elif not changes:
            say("no month was ever locked")
        else:
            stdout.print(tables.periods(changes, found.policy.merchant.time_zone))
            say(f"locked now: {', '.join(locked) or 'none'}")


@periods.command()
def lock(month: _Month, reason: _Reason = "", by: _By = None, as_json: Json = False) -> None:
    """Lock a month: what comes late for it is dated the first open day after it.

    \b
    Examples:
      returns-pipeline periods lock 2026-03 --reason "VAT return filed"
    """
    _changed(month, locked=True, reason=reason, by=by, as_json=as_json)


@periods.command()
def unlock(month: _Month, reason: _Reason, by: _By = None, as_json: Json = False) -> None:
    """Unlock a month again, and say why.

    \b
    Examples:
      returns-pipeline periods unlock 2026-03 --reason "return withdrawn"
    """
    _changed(month, locked=False, reason=reason, by=by, as_json=as_json)


def _changed(month: str, *, locked: bool, reason: str, by: str | None, as_json: bool) -> None:
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.cli.queue import login
        from returns_pipeline.steps import periods as calendar

        try:
            changed = calendar.change(
                engine, month, locked=locked, reason=reason, by=by or login(), now=found.clock()
            )
        except calendar.NoPeriod as error:
            raise Usage(str(error)) from None
        state = "locked" if locked else "open"
        say(f"{month} is {state}" if changed else f"{month} was {state} already")
        if as_json:
            emit({"period": month, "locked": locked, "changed": changed})
