"""Xero: manual journals by CSV.

Xero adds VAT itself, line by line, to what it takes for tax-exclusive amounts: VAT lines
are left out, and what its rounding leaves over is a line of its own. Rows of one narration
and date become one journal, so the batch's id is in the narration. A file has 300 lines.
"""

from __future__ import annotations

from collections.abc import Sequence

from returns_pipeline.domain.money import half_up_div
from returns_pipeline.reporting.exports.journal import (
    Journal,
    Ledger,
    Line,
    Written,
    at,
    beyond,
)
from returns_pipeline.reporting.exports.rows import Block, Row, figure, packed, refusing

NAME = "xero"
TITLE = "Xero manual journals"

COLUMNS = (
    "*Narration",
    "*Date",
    "Description",
    "*AccountCode",
    "*TaxRate",
    "*Amount",
    "TrackingName1",
    "TrackingOption1",
    "TrackingName2",
    "TrackingOption2",
)
MOST_LINES = 300
_DIGITS = 10


def write(name: str, journals: Sequence[Journal], ledger: Ledger) -> Written:
    """Set the journals out, a block a Xero journal.

    Raises:
        Refused: For a tax rate without a name, or VAT that is not what the rate gives.
    """

    def problems(journal: Journal) -> list[str]:
        unusual = _unnamed(journal, ledger) or _unlike(journal)
        return beyond(journal, _DIGITS, "Xero") + unusual

    def blocks(journal: Journal) -> list[Block]:
        return _blocks(journal, ledger)

    found = refusing(journals, problems, blocks)
    return packed(name, COLUMNS, found, most_rows=MOST_LINES)


def _unnamed(journal: Journal, ledger: Ledger) -> list[str]:
    missing = []
    if rounding(journal) and not ledger.rounding_account:
        missing.append(
            f"{journal.batch_id}: no account for vat_rounding_difference in the policy's "
            "[finance.accounts]"
        )
    if len(journal.lines) >= MOST_LINES and not ledger.option("split_account"):
        missing.append(
            f"{journal.batch_id}: {len(journal.lines)} lines, and Xero takes {MOST_LINES} a file: "
            "name a split_account in the policy's [exports.xero]"
        )
    return missing + [
        f"{at(journal, line)}: no tax rate of Xero for {_rate_key(line)!r} "
        "in the policy's [exports.xero.tax_rates]"
        for line in journal.lines
        if not line.is_vat and _rate_key(line) not in ledger.policy.tax_rates
    ]


def _unlike(journal: Journal) -> list[str]:
    """VAT further from what Xero will compute than a penny a unit is no rounding."""
    left, units = rounding(journal), {unit for line in journal.lines for unit in line.units}
    if abs(left) <= len(units) + len(journal.lines):
        return []
    amount = f"{figure(abs(left), journal.currency)} {journal.currency}"
    what = f"Xero would compute VAT that differs by {amount} from the batch's"
    why = "a rate is wrong, or VAT has no line it belongs to"
    return [f"{journal.batch_id}: {what}: {why}. Enter this batch by hand"]


def _rate_key(line: Line) -> str:
    return line.tax_key or "none"


def _tax(line: Line) -> int:
    """What Xero adds to the line: rounded half up, by itself."""
    whole, _, part = line.tax_key.partition(".")
    if not whole.isdigit():
        return 0
    return half_up_div(line.minor * int(whole + part), 100 * int("1" + "0" * len(part)))


def rounding(journal: Journal) -> int:
    """What the journal's lines come to after Xero's tax: nought, but for rounding."""
    return sum(line.minor + _tax(line) for line in journal.lines if not line.is_vat)


def _blocks(journal: Journal, ledger: Ledger) -> list[Block]:
    lines = [line for line in journal.lines if not line.is_vat]
    left = rounding(journal)
    if left:
        lines.append(Line(0, "VAT rounding of Xero", ledger.rounding_account, "", -left, ()))
    if len(lines) <= MOST_LINES:
        return [[_row(journal, line, journal.words, ledger) for line in lines]]
    # A journal cannot span files: it becomes several, each balanced after tax through the
    # split account, which all of them together leave at nought.
    size = MOST_LINES - 1
    parts = [lines[start : start + size] for start in range(0, len(lines), size)]
    blocks: list[Block] = []
    for number, part in enumerate(parts, start=1):
        rest = sum(line.minor + _tax(line) for line in part)
        if rest:
            account = ledger.option("split_account")
            part = [*part, Line(0, "to the other parts", account, "", -rest, ())]  # noqa: PLW2901
        narration = f"{journal.words}, part {number} of {len(parts)}"
        blocks.append([_row(journal, line, narration, ledger) for line in part])
    return blocks


def _row(journal: Journal, line: Line, narration: str, ledger: Ledger) -> Row:
    return (
        narration,
        f"{journal.business_date:%d/%m/%Y}",
        f"{line.number:02d} {line.words}" if line.number else line.role,
        ledger.policy.accounts.get(line.account, line.account),
        ledger.policy.tax_rates[_rate_key(line)],
        figure(line.minor, journal.currency),
        *("",) * 4,
    )
