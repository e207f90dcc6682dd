"""Sage 50 (UK): audit trail transactions by CSV.

Journal lines (JD, JC) are T9 and never reach Sage's VAT return. What bears VAT is
therefore a sales credit (SC), or an invoice (SI) for what is kept, against one customer
account: they carry net *and* tax as we have them, so there is nothing to round. The
customer is cleared in the same import through a bank-type clearing account, and journals
take the balance from there to where it belongs: both end at nought.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from returns_pipeline.domain.money import half_up_div
from returns_pipeline.reporting.exports.journal import (
    Journal,
    Ledger,
    Line,
    Written,
    at,
    beyond,
)
from returns_pipeline.reporting.exports.rows import (
    Block,
    Figure,
    Row,
    figure,
    fitted,
    packed,
    refusing,
)

NAME = "sage50"
TITLE = "Sage 50 audit trail transactions"

COLUMNS = (
    "Type",
    "Account Reference",
    "Nominal A/C Ref",
    "Department Code",
    "Date",
    "Reference",
    "Details",
    "Net Amount",
    "Tax Code",
    "Tax Amount",
    "Exchange Rate",
    "Extra Reference",
    "User Name",
)
_DIGITS = 8
_OUTSIDE = "T9"  # of journals: not for the VAT return
_CODE, _REFERENCE, _DETAILS = 8, 30, 60  # widths


def write(name: str, journals: Sequence[Journal], ledger: Ledger) -> Written:
    """Set the journals out: credits and invoices, their clearing, then plain journals.

    Raises:
        Refused: For a tax rate without a code, or a code that does not fit its column.
    """

    def problems(journal: Journal) -> list[str]:
        return beyond(journal, _DIGITS, "Sage 50") + _unusable(journal, ledger)

    def blocks(journal: Journal) -> list[Block]:
        return [_rows(journal, ledger)]

    found = refusing(journals, problems, blocks)
    return packed(name, COLUMNS, found, encoding="cp1252")


def _unusable(journal: Journal, ledger: Ledger) -> list[str]:
    problems = []
    for line in journal.lines:
        if line.tax_key and line.tax_key not in ledger.policy.tax_rates:
            problems.append(
                f"{at(journal, line)}: no tax code of Sage for {line.tax_key!r} "
                "in the policy's [exports.sage50.tax_rates]"
            )
        nominal = _nominal(line.account, ledger)
        if not 0 < len(nominal) <= _CODE or " " in nominal:
            problems.append(
                f"{at(journal, line)}: {nominal!r} is no nominal code of Sage, which has up to "
                f"{_CODE} characters and no blanks; name it in [exports.sage50.accounts]"
            )
    return problems


def _nominal(account: str, ledger: Ledger) -> str:
    return ledger.policy.accounts.get(account, account)


def _rows(journal: Journal, ledger: Ledger) -> list[Row]:
    rows: list[Row] = []

    def add(kind: str, customer: str, nominal: str, what: str, net: int, **more: str) -> None:
        rows.append(
            (
                kind,
                customer,
                nominal,
                ledger.option("department"),
                f"{journal.business_date:%d/%m/%Y}",
                fitted(journal.batch_id, _REFERENCE),
                fitted(what, _DETAILS),
                figure(net, journal.currency),
                more.get("code", _OUTSIDE),
                more.get("tax", figure(0, journal.currency)),
                Figure(),
                fitted(more.get("extra", ""), _REFERENCE),
                "",
            )
        )

    customer, clearing = ledger.option("customer"), ledger.option("clearing_account")
    owed = 0  # what the customer account is credited with
    for line, tax in taxed(journal):
        owed += line.minor + tax
        debit = line.minor + tax > 0
        add(
            "SC" if debit else "SI",
            customer,
            _nominal(line.account, ledger),
            line.words,
            abs(line.minor),
            code=ledger.policy.tax_rates[line.tax_key],
            tax=figure(abs(tax), journal.currency),
            extra=f"line {line.number:02d}",
        )
    if owed:
        add("SP" if owed > 0 else "SA", customer, clearing, "returns cleared", abs(owed))
        add("JD" if owed > 0 else "JC", "", clearing, "returns cleared", abs(owed))
    for line in journal.lines:
        if not line.tax_key:
            add(
                "JD" if line.minor > 0 else "JC",
                "",
                _nominal(line.account, ledger),
                line.words,
                abs(line.minor),
                extra=f"line {line.number:02d}",
            )
    return rows


def taxed(journal: Journal) -> list[tuple[Line, int]]:
    """The lines that bear VAT, each with its part of the batch's VAT of its rate and side.

    Shared out by net, rounded cumulatively: the parts always come to the batch's VAT. VAT
    without a net line of its rate and side stands with a net of nought.
    """
    nets: dict[tuple[str, bool], list[Line]] = defaultdict(list)
    vats: dict[tuple[str, bool], list[Line]] = defaultdict(list)
    for line in journal.lines:
        if line.tax_key:
            (vats if line.is_vat else nets)[line.tax_key, line.minor > 0].append(line)
    found: list[tuple[Line, int]] = []
    for key in dict.fromkeys([*nets, *vats]):
        total, sign = sum(abs(line.minor) for line in vats[key]), 1 if key[1] else -1
        net = sum(abs(line.minor) for line in nets[key])
        borne = reached = 0
        for line in nets[key]:
            reached += abs(line.minor)
            upto = half_up_div(total * reached, net)
            found.append((line, sign * (upto - borne)))
            borne = upto
        if total and not net:
            found.append((_without_net(vats[key][0], journal), sign * total))
    return sorted(found, key=lambda pair: pair[0].number)


def _without_net(vat: Line, journal: Journal) -> Line:
    """A line of nought for VAT that has none: on a nominal that bears VAT, if there is one."""
    bearing = [line.account for line in journal.lines if line.tax_key and not line.is_vat]
    return replace(vat, account=[*bearing, vat.account][0], minor=0)
