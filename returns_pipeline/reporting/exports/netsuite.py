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
    Refused,
    Written,
    at,
    too_long,
)
from returns_pipeline.reporting.exports.rows import Row, packed, sides

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
_DATES = {"dd/mm/yyyy": "%d/%m/%Y", "mm/dd/yyyy": "%m/%d/%Y"}


def write(name: str, journals: Sequence[Journal], ledger: Ledger) -> Written:
    """Set the journals out, the header's fields on every line.

    Raises:
        Refused: For an account without a name, or a journal of a single line.
    """
    problems: list[str] = []
    blocks: dict[str, list[list[Row]]] = {}
    for journal in journals:
        problems.extend(too_long(journal, _DIGITS, "NetSuite"))
        problems.extend(
            f"{at(journal, line)}: no name of the account in the policy's "
            "[exports.account_names] or [exports.netsuite.accounts]"
            for line in journal.lines
            if not _account(line, ledger)
        )
        if not problems:
            blocks[journal.batch_id] = [[_row(journal, line, ledger) for line in journal.lines]]
    if problems:
        raise Refused(problems)
    return packed(name, COLUMNS, blocks)


def _account(line: Line, ledger: Ledger) -> str:
    """As NetSuite has it where account numbers are on: ``4100 Sales Returns``."""
    own = ledger.policy.accounts.get(line.account)
    name = ledger.account_names.get(line.account)
    return own or (f"{line.account} {name}" if name else "")


def _row(journal: Journal, line: Line, ledger: Ledger) -> Row:
    return (
        journal.batch_id,
        f"{journal.business_date:{_DATES[ledger.option('date_format')]}}",
        journal.words,
        ledger.option("subsidiary"),
        journal.currency,
        _account(line, ledger),
        *sides(line.minor, journal.currency),
        f"{line.number:02d} {line.words}",
        ledger.option("location"),
    )
