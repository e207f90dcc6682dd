"""The policy's page says what the program reads: every key, every default, every example."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from returns_pipeline.domain.exceptions import CATALOGUE
from returns_pipeline.domain.model import Owner, Severity, Stage, StockEffect
from returns_pipeline.settings import PROJECT, packaged_policy
from returns_pipeline_tests.settings.conftest import Load

PAGE = PROJECT / "docs" / "policy.md"
# The one key that has no packaged value, on purpose.
UNDECLARED = ("refunds", "executor")
FREE = {"gate.refund_by_dropoff", "owners"}  # tables that ship empty


def packaged() -> dict[str, dict[str, Any]]:
    """The packaged policy, by table and key."""
    tables: dict[str, dict[str, Any]] = {}

    def walk(table: dict[str, Any], path: str) -> None:
        for key, value in table.items():
            if isinstance(value, dict):
                inner = f"{path}.{key}".lstrip(".")
                tables.setdefault(inner, {})
                walk(value, inner)
            else:
                tables.setdefault(path, {})[key] = value

    walk(packaged_policy(), "")
    return {name: keys for name, keys in tables.items() if keys or name in FREE}


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def literal(cell: str) -> Any:
    """A default as it is printed: a TOML value in backticks."""
    found = re.fullmatch(r"`(.*)`", cell)
    assert found, f"{cell!r} is no value in backticks"
    return tomllib.loads(f"value = {found[1]}")["value"]


def documented() -> dict[str, dict[str, Any]]:
    """What the page says, by table and key."""
    text = PAGE.read_text("utf-8")
    tables: dict[str, dict[str, Any]] = {}
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        heading = re.match(r"`\[(.+?)\]`\n", section)
        assert heading, section[:40]
        name, keys = heading[1], {}
        columns: list[str] = []
        of_table = section.partition("\n## ")[0]
        for row in (one for one in of_table.splitlines() if one.startswith("|")):
            values = cells(row)
            if values[0] in {"key", "disposition", "column"}:
                columns = values
            elif not values[0].startswith("---"):
                key = values[0].strip("`")
                if columns[0] == "disposition":
                    tables[f"{name}.{key}"] = {
                        column: literal(value)
                        for column, value in zip(columns[1:], values[1:], strict=True)
                    }
                elif columns[0] == "key" and (name, key) == UNDECLARED:
                    assert values[1] == "none"
                elif columns[0] == "key":
                    keys[key] = literal(values[1])
                assert all(values[1:]), f"{name} {key}: an empty cell"
        if keys or name in FREE:
            tables[name] = keys
    return tables


def test_every_key_is_documented_with_its_default_and_every_documented_key_exists() -> None:
    assert documented() == packaged()


def test_the_executor_is_documented_and_has_no_packaged_value() -> None:
    assert "| `executor` | none |" in PAGE.read_text("utf-8")
    assert "executor" not in packaged_policy()["refunds"]


EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=[e.partition("\n")[0] for e in EXAMPLES])
def test_every_example_is_a_policy_that_can_be_used(read: Load, example: str) -> None:
    read(policy=example)


def test_every_table_that_is_documented_has_an_example() -> None:
    shown = {name for one in EXAMPLES for name in re.findall(r"^\[(.+)\]", one, re.MULTILINE)}
    tables = {name for name in documented() if not name.startswith("locations.")}
    assert tables - shown == set()


def test_the_words_a_key_may_be_are_all_named() -> None:
    text = PAGE.read_text("utf-8")
    for word in (*Stage, *StockEffect, *Owner):
        assert f"`{word}`" in text or f'`"{word}"`' in text, word
    for severity in Severity:
        assert f"| `{severity}` |" in text


def test_every_link_to_the_runbook_is_a_codes_own() -> None:
    linked = re.findall(r"\[([A-Z_]+)\]\(runbook\.md#([a-z_]+)\)", PAGE.read_text("utf-8"))
    assert linked
    for code, anchor in linked:
        assert code in CATALOGUE
        assert anchor == code.lower()


def test_every_link_within_the_page_leads_somewhere() -> None:
    text = PAGE.read_text("utf-8")
    anchors = set(re.findall(r'<a id="(.+?)">', text))
    assert set(re.findall(r"\(#(.+?)\)", text)) <= anchors


def test_the_packaged_file_points_to_the_page() -> None:
    packaged_text = Path(PROJECT / "returns_pipeline" / "policy.toml").read_text("utf-8")
    assert "docs/policy.md" in packaged_text


def test_every_account_of_the_shipped_policy_has_a_name() -> None:
    shipped = packaged_policy()
    accounts = set(shipped["finance"]["accounts"].values())
    assert accounts <= set(shipped["exports"]["account_names"])
