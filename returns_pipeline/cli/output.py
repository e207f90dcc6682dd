"""How a command speaks: one JSON document or a person's text, problems, exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from returns_pipeline.settings import SettingsError

Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on standard output, nothing else."),
]

stderr = Console(stderr=True, highlight=False)
stdout = Console(highlight=False)


class WorkFailed(Exception):  # noqa: N818 (it says what happened, not that Python failed)
    """The work was tried and failed; the message is for people, the fields for machines."""

    def __init__(self, message: str, **details: Any) -> None:
        """Keep both."""
        self.details = details
        super().__init__(message)


class Usage(Exception):  # noqa: N818
    """What was asked for cannot be done as asked; the message says what can."""


def emit(document: object) -> None:
    """Print the one document."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """A line for the person watching; never on standard output."""
    stderr.print(escape(text))


@contextmanager
def answering(as_json: bool) -> Iterator[None]:
    """Turn what may go wrong into a text with its remedy and the exit code it has.

    Raises:
        typer.Exit: With 1 for failed work, 2 for wrong settings, database or usage.
    """
    from returns_pipeline.storage.engine import DatabaseUnusable

    try:
        yield
    except SettingsError as error:
        _stop(2, "The settings cannot be used:", error.problems, as_json=as_json)
    except DatabaseUnusable as error:
        _stop(2, "The database cannot be used:", [str(error)], as_json=as_json)
    except Usage as error:
        _stop(2, "", [str(error)], as_json=as_json)
    except KeyboardInterrupt:
        _stop(130, "", ["interrupted; nothing is lost, run it again"], as_json=as_json)
    except WorkFailed as error:
        _stop(1, "Failed:", [str(error)], as_json=as_json, details=error.details)


def _stop(
    code: int,
    title: str,
    problems: Sequence[str],
    *,
    as_json: bool,
    details: dict[str, Any] | None = None,
) -> None:
    if title:
        stderr.print(f"[bold red]{title}[/]")
    for problem in problems:
        stderr.print(f"- {escape(problem)}" if title else escape(problem), soft_wrap=True)
    if as_json:
        emit({"error": {"exit_code": code, "problems": list(problems), **(details or {})}})
    raise typer.Exit(code)
