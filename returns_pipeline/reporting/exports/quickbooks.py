"""QuickBooks Online: journal entries by CSV.

Accounts go by name (``Parent:Sub``), a journal's rows stand together, and its number is the
batch's id: 21 characters, as many as fit. VAT is a line like any other: nothing is added.
"""

from __future__ import annotations

from collections.abc import Sequence

from returns_pipeline.reporting.exports.journal import (
    Journal,
    Ledger,
    Line,
    Refused,
    Written,
    at,
    too_long,
)
from returns_pipeline.reporting.exports.rows import Row, packed, sides

NAME = "quickbooks"
TITLE = "QuickBooks Online journal entries"

COLUMNS = (
    "JournalNo",
    "JournalDate",
    "AccountName",
    "Debits",
    "Credits",
    "Description",
    "Name",
    "Currency",
    "Location",
    "Class",
)
_DIGITS = 10
_DATES = {"dd/mm/yyyy": "%d/%m/%Y", "mm/dd/yyyy": "%m/%d/%Y"}


def write(name: str, journals: Sequence[Journal], ledger: Ledger) -> Written:
    """Set the journals out, one below the other.

    Raises:
        Refused: For an account without a name.
    """
    problems: list[str] = []
    blocks: dict[str, list[list[Row]]] = {}
    for journal in journals:
        problems.extend(too_long(journal, _DIGITS, "QuickBooks"))
        problems.extend(
            f"{at(journal, line)}: no name of the account in the policy's "
            "[exports.account_names] or [exports.quickbooks.accounts]"
            for line in journal.lines
            if not _account(line, ledger)
        )
        if not problems:
            blocks[journal.batch_id] = [[_row(journal, line, ledger) for line in journal.lines]]
    if problems:
        raise Refused(problems)
    return packed(name, COLUMNS, blocks)


def _account(line: Line, ledger: Ledger) -> str:
    own = ledger.policy.accounts.get(line.account)
    return own or ledger.account_names.get(line.account, "")


def _row(journal: Journal, line: Line, ledger: Ledger) -> Row:
    return (
        journal.batch_id,
        f"{journal.business_date:{_DATES[ledger.option('date_format')]}}",
        _account(line, ledger),
        *sides(line.minor, journal.currency),
        f"{journal.words}: {line.number:02d} {line.words}",
        "",
        journal.currency,
        ledger.option("location"),
        ledger.option("class"),
    )
