"""A command run in this process, and the environment it finds."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from returns_pipeline.cli.app import app
from returns_pipeline_tests.cli import rows

_OURS = ("RETURNS_", "HAPPY_RETURNS_", "LINNWORKS_", "DAGSTER_HOME")


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)


Command = Callable[..., Answer]


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the program's variables is set."""
    import os

    for name in list(os.environ):  # noqa: TID251
        if name.startswith(_OURS):
            monkeypatch.delenv(name)


@pytest.fixture
def command(clean: None) -> Command:
    """Run a command in this process."""

    def run(*args: str, **variables: str) -> Answer:
        result = CliRunner().invoke(app, list(args), env=variables)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def filled(engine: Any, database_url: str, monkeypatch: pytest.MonkeyPatch, clean: None) -> str:
    """A database with a day in it, once on each of the two, at nine the morning after."""
    rows.fill(engine)
    monkeypatch.setenv("RETURNS_DATABASE_URL", database_url)
    monkeypatch.setenv("RETURNS_NOW", rows.NOW.isoformat())
    return database_url
