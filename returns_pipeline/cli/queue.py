"""``exceptions``: the queue of what cannot move, each somebody's task."""

from __future__ import annotations

from typing import Annotated

import typer

from returns_pipeline.cli import session
from returns_pipeline.cli.output import Json, Usage, answering, emit, say, stdout

app = typer.Typer(help="The exception queue.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The exception queue."""


@app.command("list")
def list_(
    owner: Annotated[
        str | None, typer.Option(help="Only the tasks of CX, Operations or Finance.")
    ] = None,
    code: Annotated[str | None, typer.Option(help="Only this code, such as ORPHAN_RETURN.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    as_json: Json = False,
) -> None:
    """What waits for a person: most severe and soonest due first.

    \b
    Examples:
      returns-pipeline exceptions list
      returns-pipeline exceptions list --owner cx --json
    """
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.cli import tables
        from returns_pipeline.steps import account

        rows = account.exceptions_list(engine, owner=owner, code=code, include_closed=every)
        if as_json:
            emit({"exceptions": rows})
        elif not rows:
            say("nothing is open")
        else:
            zone = found.policy.merchant.time_zone
            stdout.print(tables.queue(rows, found.clock(), zone))


@app.command()
def show(
    key: Annotated[str, typer.Argument(help="A code, a key, or a unit, return or order number.")],
    as_json: Json = False,
) -> None:
    """Everything about the exceptions a key names: why, since when, what to do.

    \b
    Examples:
      returns-pipeline exceptions show ORPHAN_RETURN
      returns-pipeline exceptions show 1042
    """
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.cli import tables
        from returns_pipeline.steps import account

        wanted = key.strip().lstrip("#").casefold()
        rows = [
            row
            for row in account.exceptions_list(engine, include_closed=True)
            if wanted in _names(row)
        ]
        if not rows:
            msg = f"no exception has {key!r} as its code, key, unit, return or order"
            raise Usage(msg)
        if as_json:
            emit({"exceptions": rows})
        else:
            zone = found.policy.merchant.time_zone
            for row in rows:
                stdout.print(tables.task(row, found.clock(), zone))


def _names(row: dict[str, object]) -> set[str]:
    names = {str(row["code"]), str(row["key"])}
    for field in ("item_ids", "return_ids", "order_numbers"):
        values = row[field]
        if isinstance(values, list):
            names.update(str(value) for value in values)
    return {name.strip().lstrip("#").casefold() for name in names}
