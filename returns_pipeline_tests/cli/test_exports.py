"""``export`` and ``month-end``, as finance types them; the run stands in Dagster."""

import json
from pathlib import Path

import pytest
from openpyxl import load_workbook

from returns_pipeline_tests.cli import rows
from returns_pipeline_tests.cli.conftest import Command
from returns_pipeline_tests.reporting.exports.ledgers import QuickBooks, Xero

pytestmark = pytest.mark.slow


@pytest.fixture
def home(sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clean: None) -> Path:
    """A day in an SQLite database, and a Dagster of its own."""
    from returns_pipeline.storage.engine import connect

    engine = connect(sqlite_url)
    rows.fill(engine)
    engine.dispose()
    monkeypatch.setenv("RETURNS_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("RETURNS_NOW", rows.NOW.isoformat())
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return tmp_path


def test_export_writes_the_files_of_each_program_and_says_where(
    command: Command, home: Path
) -> None:
    args = ("export", "2026-03-14", "--target", "xero", "-t", "quickbooks", "--to", str(home / "o"))
    answer = command(*args, "--json")
    assert answer.code == 0, answer.err
    found = answer.json()
    assert found["what"] == "2026-03-14"
    assert [(one["target"], one["batches"]) for one in found["targets"]] == [
        ("xero", [rows.BATCH]),
        ("quickbooks", [rows.BATCH]),
    ]
    xero, books = (Path(one["files"][0]) for one in found["targets"])
    assert xero == home / "o" / "xero" / "2026-03-14.csv"
    Xero().import_file(xero.read_bytes())
    QuickBooks().import_file(books.read_bytes())
    before = xero.read_bytes()
    again = command(*args)
    assert again.out.split() == [str(xero), str(books)]
    assert xero.read_bytes() == before


def test_a_program_that_cannot_take_a_batch_fails_the_command_and_no_other_program(
    command: Command, home: Path
) -> None:
    policy = home / "own.toml"
    policy.write_text('[exports.account_names]\n"1261" = ""\n')
    args = ("export", "yesterday", "-t", "quickbooks", "-t", "generic", "--to", str(home / "o"))
    answer = command(*args, "--json", RETURNS_POLICY=str(policy))
    assert answer.code == 1
    error = answer.json()["error"]
    assert "line 03 (refund_clearing.paypal, account 1261)" in error["problems"][0]
    by_name = {one["target"]: one for one in error["targets"]}
    assert by_name["quickbooks"]["files"] == []
    assert by_name["quickbooks"]["problems"]
    assert sorted(path.name for path in (home / "o").iterdir()) == [
        f"{rows.BATCH}.csv",
        f"{rows.BATCH}.json",
    ]


def test_names_that_changed_since_are_told_and_replace_goes_on(
    command: Command, home: Path
) -> None:
    args = ("export", rows.BATCH, "-t", "xero", "--to", str(home / "o"))
    assert command(*args).code == 0
    policy = home / "own.toml"
    policy.write_text('[exports.xero.accounts]\n"4100" = "261"\n')
    refused = command(*args, RETURNS_POLICY=str(policy))
    assert refused.code == 1
    assert "--replace" in refused.err
    assert command(*args, "--replace", RETURNS_POLICY=str(policy)).code == 0
    assert ",261," in (home / "o" / "xero" / f"{rows.BATCH}.csv").read_text()


def test_a_day_without_a_batch_is_nothing_to_write(command: Command, home: Path) -> None:
    answer = command("export", "2026-03-01", "--to", str(home / "o"))
    assert answer.code == 0
    assert "nothing to write" in answer.err
    assert not (home / "o").exists()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("args", [("14 March",), ("2026-13",), ("yesterday", "-t", "freeagent")])
def test_what_cannot_be_exported_is_wrong_usage(command: Command, args: tuple[str, ...]) -> None:
    answer = command("export", *args, "--json")
    assert answer.code == 2
    assert answer.json()["error"]["problems"]


def test_month_end_writes_the_pack_and_says_whether_it_adds_up(
    command: Command, home: Path
) -> None:
    answer = command("month-end", "2026-03", "--to", str(home / "pack"), "--json")
    assert answer.code == 0, answer.err
    found = answer.json()
    assert found["period"] == "2026-03"
    assert [one["id"] for one in found["batches"]] == [rows.BATCH]
    assert {one["name"]: one["state"] for one in found["checks"]}["Batches balance"] == "good"
    assert all(one["difference_minor"] == 0 for one in found["balances"])
    names = {Path(path).name for path in found["files"]}
    assert names == {path.name for path in (home / "pack").iterdir()}
    assert {"books-2026-03.xlsx", "figures.json", "manifest.json", "open-items.csv"} <= names
    assert load_workbook(home / "pack" / "books-2026-03.xlsx")["Lines"].max_row == 4
    manifest = json.loads((home / "pack" / "manifest.json").read_text())
    assert set(manifest["files"]) == names - {"manifest.json"}
    told = command("month-end", "2026-03", "--to", str(home / "pack"))
    assert "Open balances equal their items" in told.out


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("month", ["2026-13", "March", "2026-03-14"])
def test_what_is_no_month_is_wrong_usage(command: Command, month: str) -> None:
    answer = command("month-end", month)
    assert answer.code == 2
    assert "is no month" in answer.err
