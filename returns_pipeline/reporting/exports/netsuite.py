"""NetSuite: journal entries by CSV import.

The external id is the batch's, so that importing twice is refused there. Accounts are
matched exactly, by number and name. VAT is a line like any other: nothing is added.
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

NAME = "netsuite"
TITLE = "NetSuite journal entries"

COLUMNS = (
    "External ID",
    "Date",
    "Memo",
    "Subsidiary",
    "Currency",
    "Account",
    "Debit",
    "Credit",
    "Line Memo",
    "Location",
)
_DIGITS = 10


def write(name: str, journals: Sequence[Journal], ledger: Ledger) -> Written:
    """Set the journals out, the header's fields on every line.

    Raises:
        Refused: For an account without a name.
    """

    def problems(journal: Journal) -> list[str]:
        nameless = unnamed(journal, lambda line: _account(line, ledger), NAME)
        return beyond(journal, _DIGITS, "NetSuite") + nameless

    def blocks(journal: Journal) -> list[Block]:
        return [[_row(journal, line, ledger) for line in journal.lines]]

    return packed(name, COLUMNS, refusing(journals, problems, blocks))


def _account(line: Line, ledger: Ledger) -> str:
    """As NetSuite has it where account numbers are on: ``4100 Sales Returns``."""
    own = ledger.policy.accounts.get(line.account)
    name = ledger.account_names.get(line.account)
    return own or (f"{line.account} {name}" if name else "")


def _row(journal: Journal, line: Line, ledger: Ledger) -> Row:
    return (
        journal.batch_id,
        ledger.date(journal.business_date),
        journal.words,
        ledger.option("subsidiary"),
        journal.currency,
        _account(line, ledger),
        *sides(line.minor, journal.currency),
        f"{line.number:02d} {line.words}",
        ledger.option("location"),
    )
