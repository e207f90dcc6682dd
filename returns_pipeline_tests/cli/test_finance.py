"""The commands about sealed batches and their calendar, over the worked example."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from returns_pipeline.storage import guards
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.cli.conftest import Command
from returns_pipeline_tests.finance import books as told

BATCH = "HRL-20260314-UKGBP-00"


@pytest.fixture
def example(sqlite_url: str, tmp_path: Path, clean: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The worked example, sealed; the morning after."""
    told.live_through_the_example(told.Books(sqlite_url, tmp_path, told.DROP_OFF_PAYS))
    monkeypatch.setenv("RETURNS_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("RETURNS_NOW", "2026-03-16T09:00:00Z")
    return sqlite_url


def test_verify_says_whether_a_batch_comes_out_of_its_payloads(
    command: Command, example: str
) -> None:
    good = command("verify", BATCH, "--json")
    assert good.code == 0
    document = good.json()
    assert (document["verified"], document["differences"]) == (True, [])
    assert document["sealed_hash"] == document["derived_hash"]
    assert command("verify", "HRL-20260314-UKGBP-77").code == 2

    engine = connect(example)
    with engine.begin() as connection:
        for statement in guards.without("sqlite"):
            connection.exec_driver_sql(statement)
        body = sa.func.replace(t.batches.c.body, "23748", "23749")
        connection.execute(
            sa.update(t.batches).where(t.batches.c.batch_id == BATCH).values(body=body)
        )
    engine.dispose()
    edited = command("verify", BATCH, "--json")
    assert edited.code == 1
    problems = edited.json()["error"]["differences"]
    assert any("sealed 23749, the payloads come to 23748" in one for one in problems)


def test_the_register_shows_each_batch_and_its_way(command: Command, example: str) -> None:
    found = {one["id"]: one for one in command("batches", "list", "--json").json()["batches"]}
    assert [one["state"] for one in found[BATCH]["events"]][:3] == ["open", "complete", "sealed"]
    assert found[BATCH]["totals"]["refunds"] == 19193 + 1400
    assert BATCH in command("batches", "list").out


def test_a_ledgers_number_is_recorded_once(command: Command, example: str) -> None:
    assert command("batches", "confirm", BATCH, "--ledger-id", "MJ-1").code == 0
    refused = command("batches", "confirm", BATCH, "--ledger-id", "MJ-2")
    assert refused.code == 1
    assert "MJ-1" in refused.err


def test_months_are_locked_and_unlocked_by_name(command: Command, example: str) -> None:
    assert command("periods", "lock", "2026-03", "--reason", "filed", "--by", "maria").code == 0
    listed = command("periods", "list", "--json").json()
    assert listed["locked"] == ["2026-03"]
    assert listed["changes"][0]["changed_by"] == "maria"
    assert command("periods", "unlock", "2026-03", "--reason", "withdrawn").code == 0
    assert command("periods", "list", "--json").json()["locked"] == []
    assert command("periods", "lock", "March").code == 2


def test_what_the_ledger_said_to_a_file_is_recorded(command: Command, example: str) -> None:
    refused = ("batches", "reject", BATCH, "--target", "xero", "--reason", "account is archived")
    none = command(*refused)
    assert none.code == 1
    assert "no file of" in none.err
    assert command("export", BATCH, "--target", "xero").code == 0
    assert command(*refused, "--by", "maria", "--json").json() == {
        "batch": BATCH,
        "target": "xero",
        "taken": False,
        "news": True,
    }
    assert "known already" in command(*refused).err
    events = command("batches", "list", "--json").json()["batches"][-1]["events"]
    assert events[-1]["detail"] == "by Xero manual journals, says maria: account is archived"
    assert "was taken" in command("batches", "accept", BATCH, "--target", "xero").err
    assert "nothing new" in command("batches", "accept", BATCH, "--target", "xero").err
    assert command("batches", "reject", BATCH, "--target", "xero", "--reason", " ").code == 2
    assert command("batches", "accept", BATCH, "--target", "sap").code == 2
    assert command("batches", "accept", "HRL-20260314-UKGBP-77", "--target", "xero").code == 2


def test_a_reversal_and_its_replacement_have_their_files_at_once(
    command: Command, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "mine.toml"
    policy.write_text(f'{told.DROP_OFF_PAYS}[exports]\ntargets = ["xero", "sage50"]\n')
    monkeypatch.setenv("RETURNS_POLICY", str(policy))
    done = command("reverse-batch", BATCH, "--reason", "a test")
    assert done.code == 0, done.err
    made = ("HRL-20260314-UKGBP-R1", "HRL-20260314-UKGBP-01")
    journals = tmp_path / "journals"
    for batch_id in made:
        assert {str(path.relative_to(journals)) for path in journals.rglob(f"{batch_id}*")} == {
            f"{batch_id}.csv",
            f"{batch_id}.json",
            f"xero/{batch_id}.csv",
            f"sage50/{batch_id}.csv",
        }
        assert f"{batch_id}.csv" in done.out
    found = {one["id"]: one for one in command("batches", "list", "--json").json()["batches"]}
    assert [found[batch_id]["state"] for batch_id in made] == ["posted", "posted"]
    # Nothing is left for a close to write.
    assert command("reverse-batch", made[0], "--reason", "a test").code == 1
