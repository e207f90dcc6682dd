"""What an exporter is given, and what it gives back.

A ``Journal`` is one sealed batch as a target sees it: signed amounts, so that a reversal
needs no rule of its own. Not here: any target's columns, or reading the database
(``steps.exporting``). Amounts are minor units of the journal's currency.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from returns_pipeline.domain.money import exponent
from returns_pipeline.domain.policy import LedgerPolicy


class Refused(Exception):  # noqa: N818 (it says what the export did)
    """A target cannot take these batches as they are. Nothing was written for it."""

    def __init__(self, problems: Sequence[str]) -> None:
        """Keep each problem: batch, line, and the remedy."""
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a batch; ``minor`` is positive for a debit, negative for a credit."""

    number: int
    role: str
    account: str
    tax_key: str  # the rate in percent; empty where no VAT belongs to the line
    minor: int
    units: tuple[str, ...]

    @property
    def is_vat(self) -> bool:
        """Whether the line is VAT itself, not something VAT is computed of."""
        return self.role.partition(".")[0] == "vat_output"

    @property
    def words(self) -> str:
        """The line as a person reads it: ``Refund clearing: paypal, 3 units``."""
        text = self.role.replace(".", ": ").replace("_", " ").capitalize()
        rate = f" {self.tax_key}%" if self.tax_key[:1].isdigit() else ""
        units = f"{len(self.units)} unit{'' if len(self.units) == 1 else 's'}"
        return f"{text}{rate}, {units}"


@dataclass(frozen=True, slots=True)
class Journal:
    """One sealed batch. ``business_date`` is the day it is dated, ``origin_date`` its events'."""

    batch_id: str
    kind: str
    business_date: date
    origin_date: date
    entity: str
    currency: str
    hash: str
    totals: Mapping[str, int]
    lines: tuple[Line, ...]
    reverses: str = ""

    @property
    def words(self) -> str:
        """What the journal is, its id first: ledgers group and find by it."""
        day = f"{self.origin_date.day} {self.origin_date:%B %Y}"
        if self.kind == "reversal":
            return f"{self.batch_id} reverses {self.reverses or f'a batch of {day}'}"
        late = " (late arrivals)" if self.kind == "adjustment" else ""
        return f"{self.batch_id} returns of {day}{late}"


def from_rows(header: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> Journal:
    """A journal of its stored rows (``batches``, ``batch_lines``)."""
    return Journal(
        batch_id=header["batch_id"],
        kind=header["kind"],
        business_date=header["business_date"],
        origin_date=header["origin_date"],
        entity=header["entity"],
        currency=header["currency"],
        hash=header["hash"],
        totals=json.loads(header["totals"]),
        lines=tuple(
            Line(
                number=line["number"],
                role=line["role"],
                account=line["account"],
                tax_key=line["tax_key"],
                minor=line["amount_minor"] if line["side"] == "debit" else -line["amount_minor"],
                units=tuple(json.loads(line["unit_keys"])),
            )
            for line in lines
        ),
        reverses=header.get("reverses") or "",
    )


@dataclass(frozen=True, slots=True)
class Ledger:
    """How the merchant's policy names things in one target.

    Args:
        policy: The target's own table.
        account_names: Our account codes' names, where the target has none of its own.
        rounding_account: Ours, for what a target's own computation leaves over.
    """

    policy: LedgerPolicy
    account_names: Mapping[str, str] = field(default_factory=dict)
    rounding_account: str = ""

    def option(self, name: str) -> str:
        """A setting of the target."""
        return self.policy.options.get(name, "")

    def takes(self, currency: str) -> bool:
        """Whether batches of the currency go to this target at all."""
        return not self.policy.currencies or currency in self.policy.currencies


@dataclass(frozen=True, slots=True)
class Written:
    """A target's files, and what each batch's own rows hash to, however files are cut."""

    files: Mapping[str, bytes]
    hashes: Mapping[str, str]


class Target(Protocol):
    """A module that sets batches out for one accounting program."""

    NAME: str
    """Of its policy table, its folder, and on the command line."""
    TITLE: str

    def write(self, name: str, journals: Sequence[Journal], ledger: Ledger) -> Written:
        """Set the journals out; ``name`` begins the files' names.

        Raises:
            Refused: With every problem; nothing of this target is to be written then.
        """
        ...


def at(journal: Journal, line: Line) -> str:
    """Where a problem is."""
    return f"{journal.batch_id} line {line.number:02d} ({line.role}, account {line.account})"


def too_long(journal: Journal, digits: int, title: str) -> list[str]:
    """Amounts a target cannot hold: more whole digits or decimals than its field has.

    Args:
        journal: Whose amounts.
        digits: How many before the point.
        title: The target's name.
    """
    places = exponent(journal.currency)
    if places > 2:
        what = f"{journal.currency} has {places} decimals, {title} takes two"
        return [f"{journal.batch_id}: {what}; enter this batch by hand"]
    limit = int("1" + "0" * (digits + places))
    return [
        f"{at(journal, line)}: more than {digits} digits before the point, which {title} refuses"
        for line in journal.lines
        if abs(line.minor) >= limit
    ]
