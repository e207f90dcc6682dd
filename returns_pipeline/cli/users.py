"""``users``: who may sign in to the web page."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from returns_pipeline.cli import session
from returns_pipeline.cli.output import Json, Usage, answering, emit, say, stdout
from returns_pipeline.cli.queue import login, owner_named

if TYPE_CHECKING:
    from returns_pipeline.domain.model import Owner

app = typer.Typer(help="Who may sign in to the web page.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(help="What they sign in with.")]
_Roles = Annotated[
    list[str],
    typer.Option("--role", help="CX, Operations or Finance; may be given several times."),
]
_Stdin = Annotated[
    bool,
    typer.Option("--password-stdin", help="Read the password from standard input, one line."),
]


@app.callback()
def _group() -> None:
    """Who may sign in to the web page, and for which owners they act."""


@app.command()
def add(name: _Name, roles: _Roles, password_stdin: _Stdin = False, as_json: Json = False) -> None:
    """Make a user; the password is asked for, twice.

    \b
    Examples:
      returns-pipeline users add maria --role cx
      returns-pipeline users add tom --role operations --role finance
    """
    with _changing(as_json) as (access, engine, now):
        kept = access.add(
            engine, name, _password(password_stdin), _owners(roles), actor=login(), now=now
        )
        _told(as_json, kept, f"{kept} may sign in now: returns-pipeline web")


@app.command()
def password(name: _Name, password_stdin: _Stdin = False, as_json: Json = False) -> None:
    """Give somebody another password; their sessions end.

    \b
    Examples:
      returns-pipeline users password maria
    """
    with _changing(as_json) as (access, engine, now):
        access.change(engine, name, password=_password(password_stdin), actor=login(), now=now)
        _told(as_json, name, f"{name} has another password; their sessions are over")


@app.command()
def roles(name: _Name, role: _Roles, as_json: Json = False) -> None:
    """Say anew for which owners somebody acts; their sessions end.

    \b
    Examples:
      returns-pipeline users roles maria --role cx --role operations
    """
    with _changing(as_json) as (access, engine, now):
        access.change(engine, name, roles=_owners(role), actor=login(), now=now)
        _told(as_json, name, f"{name} has other roles; their sessions are over")


@app.command()
def disable(name: _Name, as_json: Json = False) -> None:
    """Let somebody in no more; their sessions end. What they did stays.

    \b
    Examples:
      returns-pipeline users disable maria
    """
    with _changing(as_json) as (access, engine, now):
        access.change(engine, name, is_active=False, actor=login(), now=now)
        _told(as_json, name, f"{name} may sign in no more")


@app.command()
def enable(name: _Name, as_json: Json = False) -> None:
    """Let somebody in again.

    \b
    Examples:
      returns-pipeline users enable maria
    """
    with _changing(as_json) as (access, engine, now):
        access.change(engine, name, is_active=True, actor=login(), now=now)
        _told(as_json, name, f"{name} may sign in again")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Everybody who may, or might once, sign in.

    \b
    Examples:
      returns-pipeline users list
    """
    with _changing(as_json) as (access, engine, _):
        found = access.everybody(engine)
        if as_json:
            rows = [
                {
                    "name": user.name,
                    "roles": [role.value for role in user.roles],
                    "is_active": user.is_active,
                    "created_at": user.created_at.isoformat(),
                }
                for user in found
            ]
            emit({"users": rows})
        elif not found:
            say("nobody may sign in: returns-pipeline users add NAME --role cx")
        else:
            from returns_pipeline.cli.tables import table

            made = table("Users of the web page", "name", "acts for", "")
            for user in found:
                made.add_row(
                    escape(user.name),
                    ", ".join(user.roles),
                    "" if user.is_active else "[dim]may not sign in[/]",
                )
            stdout.print(made)


@contextmanager
def _changing(as_json: bool) -> Iterator[tuple[Any, Any, datetime]]:
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.steps import access

        try:
            yield access, engine, found.clock()
        except access.BadUser as error:
            raise Usage(str(error)) from None


def _told(as_json: bool, name: str, text: str) -> None:
    if as_json:
        emit({"user": name})
    else:
        say(text)


def _owners(names: Sequence[str]) -> list[Owner]:
    from returns_pipeline.domain.model import Owner

    return [Owner(owner_named(name)) for name in dict.fromkeys(names)]


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return asked
