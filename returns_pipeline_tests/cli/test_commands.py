"""Every command: its help, its exit codes, one document on standard output."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from returns_pipeline.cli.app import app
from returns_pipeline_tests.cli.conftest import Command


def leaves(group: typer.Typer = app, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every command."""
    found = [
        (*path, one.name or getattr(one.callback, "__name__", "").replace("_", "-"))
        for one in group.registered_commands
    ]
    for child in group.registered_groups:
        assert child.typer_instance is not None
        found += leaves(child.typer_instance, (*path, str(child.name)))
    return found


COMMANDS = leaves()


def test_the_commands_are_those_of_the_interface() -> None:
    assert {" ".join(path) for path in COMMANDS} == {
        "alerts list",
        "alerts test",
        "batches accept",
        "batches confirm",
        "batches list",
        "batches reject",
        "close-day",
        "db upgrade",
        "demo",
        "exceptions ack",
        "exceptions assign",
        "exceptions list",
        "exceptions resolve",
        "exceptions retry",
        "exceptions show",
        "exceptions snooze",
        "explain",
        "export",
        "exposure",
        "month-end",
        "periods list",
        "periods lock",
        "periods unlock",
        "reconcile",
        "report",
        "reverse-batch",
        "sandbox",
        "sync",
        "ui",
        "users add",
        "users disable",
        "users enable",
        "users list",
        "users password",
        "users roles",
        "verify",
        "web",
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_of_every_command_shows_how_it_is_called(
    command: Command, path: tuple[str, ...]
) -> None:
    answer = command(*path, "--help")
    assert answer.code == 0
    assert "Examples:" in answer.out
    assert f"returns-pipeline {' '.join(path)}" in answer.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("close-day",),
        ("close-day", "2026-03-14", "--nonsense"),
        ("nonsense",),
        ("report",),
        ("sandbox", "--days", "0"),
        ("sandbox", "--starts", "yesterday"),
        ("sandbox", "--now", "2026-03-14T12:00:00"),
    ],
)
def test_wrong_usage_exits_2(command: Command, arguments: tuple[str, ...]) -> None:
    assert command(*arguments).code == 2


@pytest.mark.parametrize(
    "arguments",
    [("sync",), ("close-day", "2026-03-14"), ("reconcile",)],
    ids=lambda arguments: arguments[0],
)
def test_every_problem_of_the_settings_is_told_at_once(
    command: Command, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[refunds]\ntolerence_minor = 5\n")
    answer = command(
        *arguments,
        "--json",
        RETURNS_MODE="lively",
        RETURNS_NOW="noon",
        RETURNS_POLICY=str(policy),
        RETURNS_DATABASE_URL=f"sqlite:///{tmp_path}/new.sqlite",
        HAPPY_RETURNS_API_KEY="k",
    )
    assert answer.code == 2
    problems = answer.json()["error"]["problems"]
    for named in (
        "RETURNS_MODE",
        "RETURNS_NOW",
        "tolerence_minor",
        "HAPPY_RETURNS_RETAILER_ID",
        "LINNWORKS_TOKEN",
        "returns-pipeline db upgrade",
    ):
        assert any(named in problem for problem in problems), named
    assert "RETURNS_MODE" in answer.err
    assert "tolerance_minor" in answer.err  # what was meant


@pytest.mark.parametrize(
    "arguments",
    [
        ("exceptions", "list"),
        ("explain", "u1"),
        ("report", "2026-03-14"),
        ("exceptions", "show", "u1"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_database_without_tables_names_the_remedy_and_exits_2(
    command: Command, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    answer = command(*arguments, RETURNS_DATABASE_URL=f"sqlite:///{tmp_path}/new.sqlite")
    assert answer.code == 2
    assert "returns-pipeline db upgrade" in answer.err
    assert answer.out == ""


def test_wrong_settings_are_told_before_dagster_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from returns_pipeline.cli import main\n"
        "sys.argv = ['returns-pipeline', 'sync']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n"
        "    print(end.code, 'dagster' in sys.modules, 'requests' in sys.modules)\n"
    )
    done = subprocess.run(  # noqa: S603 (our own words)
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "", "RETURNS_DATABASE_URL": f"sqlite:///{tmp_path}/x.sqlite"},
    )
    assert done.stdout.split() == ["2", "False", "False"]


def test_help_comes_at_once() -> None:
    code = "from returns_pipeline.cli import main; import sys; sys.argv = ['r', '--help']; main()"
    times = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)  # noqa: S603
        times.append(time.monotonic() - began)
    # Half a second is promised of a quiet machine; a loaded one gets some more.
    assert min(times) < 1.5


def test_help_needs_neither_dagster_nor_pandas_nor_a_database() -> None:
    code = (
        "import sys, returns_pipeline.cli\n"
        "print({'dagster', 'pandas', 'sqlalchemy', 'openpyxl', 'requests'} & set(sys.modules))"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_db_upgrade_makes_a_database_and_leaves_it_alone_afterwards(
    command: Command, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/deep/returns.sqlite"
    first = command("db", "upgrade", "--json", RETURNS_DATABASE_URL=url)
    again = command("db", "upgrade", "--json", RETURNS_DATABASE_URL=url)
    assert (first.code, again.code) == (0, 0)
    assert first.json()["before"] is None
    assert again.json()["before"] == again.json()["after"] == first.json()["after"]
    assert command("exceptions", "list", RETURNS_DATABASE_URL=url).code == 0


def test_a_database_that_cannot_be_reached_exits_2_and_hides_its_password(
    command: Command,
) -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/none"
    answer = command("db", "upgrade", "--json", RETURNS_DATABASE_URL=url)
    assert answer.code == 2
    assert "RETURNS_DATABASE_URL" in answer.err
    assert "hunter2" not in answer.err + answer.out


def test_ui_without_a_demo_says_what_to_do_first(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from returns_pipeline.cli import demo

    monkeypatch.setattr(demo, "VENDORS", tmp_path / "vendors.state")
    monkeypatch.setattr(demo, "LOCK", tmp_path / "demo.lock")
    answer = command("ui")
    assert answer.code == 2
    assert "make demo" in answer.err


def test_a_second_demo_is_refused_while_one_runs(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from returns_pipeline.cli import demo

    monkeypatch.setattr(demo, "FOLDER", tmp_path / "demo")
    monkeypatch.setattr(demo, "LOCK", tmp_path / "demo.lock")
    with demo.alone():
        answer = command("demo")
    assert answer.code == 2
    assert "Ctrl-C" in answer.err
    assert not (tmp_path / "demo").exists()
