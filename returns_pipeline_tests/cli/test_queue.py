"""The commands that work the queue and make users of the page. On both databases."""

import json
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from returns_pipeline.cli.app import app
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.cli.conftest import Command

pytestmark = pytest.mark.usefixtures("filled")
ME = ("--by", "maria")


def _shown(answer: Any) -> dict[str, Any]:
    assert answer.code == 0, answer.err
    (found,) = answer.json()["exceptions"]
    return found


def test_a_task_goes_from_hand_to_hand_by_command(command: Command) -> None:
    assert _shown(command("exceptions", "ack", "u2", *ME, "--json"))["status"] == "ack"
    given = ("assign", "u2", "--to", "nina", "--owner", "finance")
    assert _shown(command("exceptions", *given, *ME, "--json"))["owner"] == "Finance"
    slept = ("snooze", "u2", "--until", "2d", "--reason", "asked")
    assert _shown(command("exceptions", *slept, *ME, "--json"))["status"] == "snoozed"

    assert command("exceptions", "list", "--json").json()["exceptions"] == []
    (asleep,) = command("exceptions", "list", "--snoozed", "--json").json()["exceptions"]
    assert asleep["code"] == "DISPOSITION_UNMAPPED"
    history = _shown(command("exceptions", "show", "u2", "--json"))["history"]
    done = [(one["actor"], one["action"]) for one in history]
    assert done[1:] == [("maria", "acknowledged"), ("maria", "assigned"), ("maria", "snoozed")]


def test_a_decision_is_entered_by_command(command: Command) -> None:
    wanted = ("resolve", "u2", "--decide", "disposition", "--condition", "damaged")
    answer = command("exceptions", *wanted, "--reason", "a hole", *ME, "--json")

    assert answer.json()["changed"] is True
    (decision,) = _shown(answer)["decisions"]
    assert (decision["kind"], decision["actor"], decision["outcome"]) == (
        "disposition",
        "maria",
        "waiting",
    )
    again = command("exceptions", *wanted, "--reason", "a hole", *ME, "--json")
    assert again.json()["changed"] is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("resolve", "u2", "--reason", "fine"), "Decide one of: disposition"),
        (("resolve", "u2", "--reason", "r", "--decide", "move"), "move does not settle"),
        (("resolve", "u2", "--reason", "r", "--decide", "guess"), "is no decision"),
        (("resolve", "u2", "--reason", "r", "--decide", "disposition"), "needs a condition"),
        (
            ("resolve", "u2", "--reason", "r", "--decide", "disposition", "--condition", "odd"),
            "is no condition",
        ),
        (
            ("resolve", "u2", "--reason", "r", "--decide", "disposition", "--condition", "RTV",
             "--amount", "1"),
            "takes no amount",
        ),
        (("resolve", "nobody", "--reason", "r"), "no exception has"),
        (("retry", "u2"), "is no write that has stopped"),
        (("snooze", "u2", "--until", "soon", "--reason", "r"), "is no time"),
        (("snooze", "u2", "--until", "2d", "--reason", " "), "give a reason"),
        (("assign", "u2"), "say to whom"),
        (("assign", "u2", "--owner", "sales"), "is no owner"),
        (("list", "--severity", "S9"), "is no severity"),
        (("list", "--older-than", "long"), "is no while"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_with_what_can(
    command: Command, words: tuple[str, ...], said: str, engine: sa.Engine
) -> None:
    answer = command("exceptions", *words)

    assert answer.code == 2
    assert said in " ".join(answer.err.split())
    with engine.connect() as connection:
        assert connection.execute(sa.select(t.exception_actions)).all() == []


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--severity", "s2"), 1),
        (("--severity", "S1"), 0),
        (("--older-than", "1h"), 1),
        (("--older-than", "52w"), 0),
        (("--overdue",), 0),
        (("--assignee", "maria"), 0),
    ],
)
def test_the_list_is_filtered_further(
    command: Command, options: tuple[str, ...], count: int
) -> None:
    answer = command("exceptions", "list", *options, "--json")
    assert len(answer.json()["exceptions"]) == count


def test_exceptions_show_tells_people_what_can_be_decided(command: Command) -> None:
    answer = command("exceptions", "show", "u2")

    assert answer.code == 0
    assert "disposition: It is in this condition" in answer.out
    assert "keeps from moving" in answer.out


def test_users_are_made_listed_and_shut_out(clean: None, filled: str) -> None:
    def run(*words: str, typed: str = "") -> Any:
        return CliRunner().invoke(app, list(words), input=typed)

    made = run(
        "users", "add", "Maria", "--role", "cx", "--password-stdin", typed="a long password\n"
    )
    assert made.exit_code == 0, made.stderr
    assert "a long password" not in made.output
    short = run("users", "add", "nina", "--role", "cx", "--password-stdin", typed="short\n")
    assert short.exit_code == 2
    asked = run("users", "add", "tom", "--role", "finance", typed="another password\n" * 2)
    assert asked.exit_code == 0, asked.stderr
    assert run("users", "disable", "maria").exit_code == 0
    assert run("users", "roles", "tom", "--role", "cx").exit_code == 0

    found = json.loads(run("users", "list", "--json").stdout)["users"]

    assert [(one["name"], one["roles"], one["is_active"]) for one in found] == [
        ("maria", ["CX"], False),
        ("tom", ["CX"], True),
    ]
    assert run("users", "password", "nobody", "--password-stdin", typed="x" * 20).exit_code == 2


def test_the_page_is_not_served_readable_to_others(command: Command) -> None:
    answer = command("web", "--host", "0.0.0.0", "--port", "0")  # noqa: S104

    assert answer.code == 2
    assert "RETURNS_WEB_URL=https" in answer.err
