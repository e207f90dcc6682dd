"""The commands that read: the queue, a thing's story, a day's report. On both databases."""

from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook

from returns_pipeline_tests.cli import rows
from returns_pipeline_tests.cli.conftest import Command

# The shape of the interface specification.
EXCEPTION = {
    "code": str,
    "key": str,
    "owner": str,
    "severity": str,
    "status": str,
    "opened_at": str,
    "due_at": str,
    "amount_minor": int,
    "currency": str,
    "item_ids": list,
    "return_ids": list,
    "order_numbers": list,
    "message": str,
    "runbook": str,
}


def has_shape(document: Any, shape: dict[str, type]) -> bool:
    return {name: type(value) for name, value in document.items()} == shape


@pytest.mark.usefixtures("filled")
def test_exceptions_list_has_the_shape_of_the_interface(command: Command) -> None:
    answer = command("exceptions", "list", "--json")
    assert answer.code == 0
    (found,) = answer.json()["exceptions"]
    assert has_shape(found, EXCEPTION)
    assert found["item_ids"] == ["u2"]
    assert found["runbook"] == "docs/runbook.md#disposition_unmapped"


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("options", "count"),
    [
        ((), 1),
        (("--owner", "operations"), 1),
        (("--owner", "CX"), 0),
        (("--code", "disposition_unmapped"), 1),
        (("--code", "ORPHAN_RETURN"), 0),
    ],
)
def test_exceptions_list_is_filtered_by_owner_and_code(
    command: Command, options: tuple[str, ...], count: int
) -> None:
    answer = command("exceptions", "list", *options, "--json")
    assert len(answer.json()["exceptions"]) == count


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("key", ["DISPOSITION_UNMAPPED", "u2", "ret-u2", "1001", "#1001"])
def test_exceptions_show_finds_a_task_by_any_of_its_names(command: Command, key: str) -> None:
    answer = command("exceptions", "show", key)
    assert answer.code == 0
    assert "no row for melted" in answer.out
    assert "add a row for the code" in " ".join(answer.out.split())
    assert "docs/runbook.md" in answer.out


@pytest.mark.usefixtures("filled")
def test_exceptions_show_of_an_unknown_key_exits_2(command: Command) -> None:
    assert command("exceptions", "show", "nobody").code == 2


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("key", ["u1", "ret-u1", "adj-1", "ref-1", rows.BATCH, f"{rows.BATCH}/1"])
def test_explain_leads_from_any_key_back_to_the_payload(command: Command, key: str) -> None:
    answer = command("explain", key, "--json")
    assert answer.code == 0
    story = answer.json()
    (item,) = story["items"]
    assert item["item"]["unit_key"] == "u1"
    assert item["payloads"][0]["body"] == {"sku": "SHIRT-M"}
    assert item["match"][0]["row_id"] == "row-1"
    assert item["dispositions"][0]["disposition"] == "SELLABLE"
    assert item["stock_adjustments"][0]["location"] == "HR Restock"
    assert item["refunds"][0]["amount_minor"] == 6000
    assert [line["batch_id"] for line in item["postings"]] == [rows.BATCH] * 3
    assert item["batches"][0]["hash"] == "a" * 64
    assert ("batch_line" in story) == key.startswith(rows.BATCH)


@pytest.mark.usefixtures("filled")
def test_explain_of_a_line_shows_each_units_part_of_it_and_the_way_back(command: Command) -> None:
    told = command("explain", f"{rows.BATCH}/1").out
    assert "1 entries come to line 01" in told
    assert "£50.00" in told
    back = command("explain", "u1").out
    assert "In the journal" in back
    for number in (1, 2, 3):
        assert f"{rows.BATCH}/{number}" in back


@pytest.mark.usefixtures("filled")
def test_explain_of_an_order_tells_of_each_of_its_units(command: Command) -> None:
    story = command("explain", "#1001", "--json").json()
    assert [item["item"]["unit_key"] for item in story["items"]] == ["u1", "u2"]


@pytest.mark.usefixtures("filled")
def test_explain_tells_the_story_in_the_order_it_happened(command: Command) -> None:
    answer = command("explain", "ret-u1")
    assert answer.code == 0
    told = answer.out
    for part in (
        "happy_returns.return payload",
        "by row_id",
        "saleable is SELLABLE",
        "posted to HR Restock with RMA 40001",
        "£60.00 due as refund",
        f"{rows.BATCH} sealed",
    ):
        assert part in told
    assert told.index("payload") < told.index("sealed")


@pytest.mark.usefixtures("filled")
def test_explain_tells_of_the_gates_that_are_shut_and_the_exception(command: Command) -> None:
    told = command("explain", "u2").out
    assert "shut: no row for melted" in told
    assert "DISPOSITION_UNMAPPED for Operations" in told


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("key", ["nothing", f"{rows.BATCH}/99", f"{rows.BATCH}/x", ""])
def test_explain_of_an_unknown_key_exits_2(command: Command, key: str) -> None:
    answer = command("explain", key, "--json")
    assert answer.code == 2
    assert answer.json()["error"]["problems"]


@pytest.mark.usefixtures("filled")
def test_report_gives_the_figures_and_the_files(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    answer = command("report", "2026-03-14", "--to", str(folder), "--json")
    assert answer.code == 0
    found = answer.json()
    assert found["business_date"] == "2026-03-14"
    assert found["received"] == {"units": 2, "outcomes": {"restocked": 1, "held": 1}}
    assert found["restocked"] == [
        {"location": "HR Restock", "sellable": True, "scrapped": False, "units": 1}
    ]
    assert [(row["gate"], row["code"], row["units"]) for row in found["held"]] == [
        ("stock", "DISPOSITION_UNMAPPED", 1),
        ("refund", "DISPOSITION_UNMAPPED", 1),
    ]
    # Its own refund is not computed: the unit's half of the order line is what waits.
    assert found["held"][0]["amounts"] == {"GBP": 6000}
    assert found["exceptions"][0]["amounts"] == {"GBP": 6000}
    assert found["refunds"][0]["amount_minor"] == 6000
    assert found["batches"][0]["debit_minor"] == found["batches"][0]["credit_minor"] == 6000
    assert found["balances"] == [
        {
            "role": "refund_clearing.paypal",
            "account": "1261",
            "currency": "GBP",
            "amount_minor": -6000,
            "units": 1,
        }
    ]
    assert {light["name"]: light["state"] for light in found["lights"]} == {
        "Goods": "watch",
        "Money": "good",
        "Books": "good",
        "Tasks": "good",
        "Sources": "good",
    }
    html = Path(found["files"]["html"]).read_text("utf-8")
    assert "ret-u2" in html
    book = load_workbook(found["files"]["xlsx"])
    assert book["Received"].max_row == 3


@pytest.mark.usefixtures("filled")
def test_what_is_on_its_way_is_not_held(command: Command, tmp_path: Path) -> None:
    found = command("report", "2026-03-14", "--to", str(tmp_path), "--json").json()
    assert not any(row["code"] == "not_received" for row in found["held"])
    assert found["units_by_stage"] == {"received": 2, "approved": 1}


@pytest.mark.usefixtures("filled")
def test_report_understands_yesterday_in_the_merchants_zone(
    command: Command, tmp_path: Path
) -> None:
    found = command("report", "yesterday", "--to", str(tmp_path), "--json").json()
    assert found["business_date"] == "2026-03-14"


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("day", ["2026-03-16", "14.03.2026", "2026-02-30", "tomorrow"])
def test_report_of_what_is_no_day_that_has_begun_exits_2(command: Command, day: str) -> None:
    answer = command("report", day, "--json")
    assert answer.code == 2
    assert "error" in answer.json()


@pytest.mark.usefixtures("filled")
def test_report_of_a_quiet_day_is_a_report_too(command: Command, tmp_path: Path) -> None:
    answer = command("report", "2026-03-01", "--to", str(tmp_path), "--json")
    assert answer.code == 0
    assert answer.json()["received"] == {"units": 0, "outcomes": {}}


@pytest.mark.usefixtures("filled")
def test_a_report_written_again_replaces_the_first_and_leaves_nothing_else(
    command: Command, tmp_path: Path
) -> None:
    for _ in range(2):
        command("report", "2026-03-14", "--to", str(tmp_path / "r"))
    names = sorted(path.name for path in (tmp_path / "r").iterdir())
    assert names == [
        "books-2026-03-14.xlsx",
        "returns-2026-03-14.html",
        "returns-2026-03-14.xlsx",
    ]


@pytest.mark.usefixtures("filled")
def test_a_report_that_cannot_be_written_says_where(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    answer = command("report", "2026-03-14", "--to", str(tmp_path / "file" / "deeper"))
    assert answer.code == 2
    assert "cannot be written" in answer.err
