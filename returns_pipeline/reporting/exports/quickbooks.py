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
    Written,
    beyond,
    unnamed,
)
from returns_pipeline.reporting.exports.rows import Block, Row, packed, refusing, sides

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


def write(name: str, journals: Sequence[Journal], ledger: Ledger) -> Written:
    """Set the journals out, one below the other.

    Raises:
        Refused: For an account without a name.
    """

    def problems(journal: Journal) -> list[str]:
        nameless = unnamed(journal, lambda line: _account(line, ledger), NAME)
        return beyond(journal, _DIGITS, "QuickBooks") + nameless

    def blocks(journal: Journal) -> list[Block]:
        return [[_row(journal, line, ledger) for line in journal.lines]]

    return packed(name, COLUMNS, refusing(journals, problems, blocks))


def _account(line: Line, ledger: Ledger) -> str:
    own = ledger.policy.accounts.get(line.account)
    return own or ledger.account_names.get(line.account, "")


def _row(journal: Journal, line: Line, ledger: Ledger) -> Row:
    return (
        journal.batch_id,
        ledger.date(journal.business_date),
        _account(line, ledger),
        *sides(line.minor, journal.currency),
        f"{journal.words}: {line.number:02d} {line.words}",
        "",
        journal.currency,
        ledger.option("location"),
        ledger.option("class"),
    )
