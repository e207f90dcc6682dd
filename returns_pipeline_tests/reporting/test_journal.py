"""The generic journal: the batch's figures unchanged, the same bytes, safe in a spreadsheet."""

import csv
import hashlib
import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from returns_pipeline.reporting import journal

BATCH = {
    "batch_id": "HRL-20260314-UKGBP-01",
    "kind": "adjustment",
    "business_date": date(2026, 3, 14),
    "origin_date": date(2026, 3, 13),
    "entity": "UK",
    "currency": "GBP",
    "hash": "c0ffee",
    "totals": '{"debit": 2000, "credit": 2000}',
}


def line(number: int = 1, **values: Any) -> dict[str, Any]:
    return {
        "number": number,
        "role": "sales_returns",
        "account": "4100",
        "tax_key": "20",
        "side": "debit",
        "amount_minor": 1667,
        "currency": "GBP",
        "unit_keys": '["u1", "u2"]',
        **values,
    }


LINES = [
    line(),
    line(2, role="vat_output", account="2200", amount_minor=333),
    line(3, role="refund_clearing.paypal", account="1261", tax_key="", side="credit",
         amount_minor=2000),
]  # fmt: skip


def rows(lines: list[dict[str, Any]]) -> list[dict[str, str]]:
    text = journal.journal_csv(BATCH, lines).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_line_is_a_row_with_its_side_in_a_column_of_its_own() -> None:
    first, _, last = rows(LINES)
    assert first == {
        "batch": "HRL-20260314-UKGBP-01",
        "business_date": "2026-03-14",
        "origin_date": "2026-03-13",
        "line": "01",
        "role": "sales_returns",
        "account": "4100",
        "tax": "20",
        "debit": "16.67",
        "credit": "",
        "currency": "GBP",
        "units": "u1 u2",
    }
    assert (last["debit"], last["credit"]) == ("", "20.00")


def test_debits_equal_credits_as_printed() -> None:
    found = rows(LINES)
    debit, credit = (
        sum(round(float(row[side] or 0) * 100) for row in found) for side in ("debit", "credit")
    )
    assert debit == credit == 2000


@pytest.mark.parametrize(
    ("currency", "printed"), [("GBP", "1234.56"), ("JPY", "123456"), ("KWD", "123.456")]
)
def test_amounts_have_the_decimals_of_their_currency(currency: str, printed: str) -> None:
    (row,) = rows([line(amount_minor=123456, currency=currency)])
    assert row["debit"] == printed


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b"])
def test_no_text_is_taken_for_a_formula(start: str) -> None:
    evil = f"{start}HYPERLINK(1)"
    (row,) = rows([line(role=evil, account=evil, unit_keys=json.dumps([evil]))])
    assert row["role"] == row["account"] == row["units"] == f"'{evil}"
    assert journal.guarded("4100") == "4100"


def test_quotes_commas_and_line_breaks_stay_in_their_cell() -> None:
    odd = 'a,"b"\r\nc'
    (row,) = rows([line(unit_keys=json.dumps([odd]))])
    assert row["units"] == odd


def test_lines_end_as_rfc_4180_wants() -> None:
    content = journal.journal_csv(BATCH, LINES)
    assert content.count(b"\r\n") == 4
    assert content.count(b"\n") == 4


def test_the_manifest_says_what_the_file_must_be() -> None:
    content = journal.journal_csv(BATCH, LINES)
    found = json.loads(journal.manifest(BATCH, content))
    assert found["batch"] == BATCH["batch_id"]
    assert found["content_hash"] == "c0ffee"
    assert found["csv_sha256"] == hashlib.sha256(content).hexdigest()
    assert found["totals"] == {"debit": 2000, "credit": 2000}
    assert (found["kind"], found["origin_date"]) == ("adjustment", "2026-03-13")
    assert found["columns"] == list(journal.COLUMNS)


def test_writing_again_gives_the_same_bytes_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "journals"
    paths = journal.write(folder, BATCH, LINES)
    first = {path.name: path.read_bytes() for path in paths}
    assert set(first) == {"HRL-20260314-UKGBP-01.csv", "HRL-20260314-UKGBP-01.json"}
    journal.write(folder, BATCH, LINES)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_a_file_that_cannot_be_finished_leaves_the_old_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv_path, _ = journal.write(tmp_path, BATCH, LINES)
    before = csv_path.read_bytes()

    def torn(path: Path, data: bytes) -> int:
        with path.open("wb") as out:
            out.write(data[:10])
        msg = "disk is full"
        raise OSError(msg)

    monkeypatch.setattr(Path, "write_bytes", torn)
    with pytest.raises(OSError, match="disk is full"):
        journal.write(tmp_path, BATCH, [line(amount_minor=1)])
    assert csv_path.read_bytes() == before
