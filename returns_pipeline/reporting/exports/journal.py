"""What an exporter is given, and what it gives back.

A ``Journal`` is one sealed batch as a target sees it: signed amounts, so that a reversal
needs no rule of its own. Not here: any target's columns, or reading the database
(``steps.exporting``). Amounts are minor units of the journal's currency.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    base_minor: int | None = None  # in the merchant's currency, where that is another

    @property
    def is_vat(self) -> bool:
        """Whether the line is VAT itself, not something VAT is computed of."""
        return self.role.partition(".")[0] == "vat_output"

    @property
    def words(self) -> str:
        """The line as a person reads it: ``Refund clearing: paypal, 3 units``."""
        text = self.role.replace(".", ": ").replace("_", " ")
        text = text.replace("vat", "VAT") if self.is_vat else text.capitalize()
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
    channel_group: str
    currency: str
    base_currency: str
    hash: str
    totals: Mapping[str, int]
    lines: tuple[Line, ...]
    of_batch: str = ""  # the one a reversal takes back, or a replacement stands for
    converted_from: str = ""

    @property
    def words(self) -> str:
        """What the journal is, its id first: ledgers group and find by it."""
        day = f"{self.origin_date.day} {self.origin_date:%B %Y}"
        own = {
            "reversal": f"reverses {self.of_batch}",
            "replacement": f"replaces {self.of_batch}",
            "adjustment": f"returns of {day}, late arrivals",
        }
        money = f", {self.converted_from} in {self.currency}" if self.converted_from else ""
        return f"{self.batch_id} {own.get(self.kind, f'returns of {day}')}{money}"


def from_rows(header: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> Journal:
    """A journal of its stored rows (``batches``, ``batch_lines``)."""
    return Journal(
        batch_id=header["batch_id"],
        kind=header["kind"],
        business_date=header["business_date"],
        origin_date=header["origin_date"],
        entity=header["legal_entity"] or header["entity"],
        channel_group=header["channel_group"],
        currency=header["currency"],
        base_currency=header["base_currency"],
        hash=header["hash"],
        totals=json.loads(header["totals"]),
        lines=tuple(
            Line(
                number=line["number"],
                role=line["role"],
                account=line["account"],
                tax_key=line["tax_key"],
                minor=_signed(line["amount_minor"], line["side"]),
                units=tuple(json.loads(line["unit_keys"])),
                base_minor=None
                if line["base_minor"] is None
                else _signed(line["base_minor"], line["side"]),
            )
            for line in lines
        ),
        of_batch=header["reverses_id"] or header["replaces_id"] or "",
    )


def _signed(minor: int, side: str) -> int:
    return minor if side == "debit" else -minor


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

    def date(self, day: date) -> str:
        """A date as the target reads it."""
        return f"{day:{_DATES[self.option('date_format')]}}"

    def taken(self, journal: Journal) -> Journal | None:
        """The journal as it goes there: as it is, in the merchant's currency, or not at all."""
        wanted = self.policy.currencies
        if not wanted or journal.currency in wanted:
            return journal
        base = journal.base_currency
        if base not in wanted or any(line.base_minor is None for line in journal.lines):
            return None
        lines = tuple(
            replace(line, minor=line.base_minor or 0, base_minor=None) for line in journal.lines
        )
        return replace(journal, currency=base, lines=lines, converted_from=journal.currency)


_DATES = {"dd/mm/yyyy": "%d/%m/%Y", "mm/dd/yyyy": "%m/%d/%Y"}


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


def unnamed(journal: Journal, found: Callable[[Line], str], target: str) -> list[str]:
    """Lines whose account has no name in a target that goes by name."""
    tables = f"[exports.account_names] or [exports.{target}.accounts]"
    return [
        f"{at(journal, line)}: no name of the account in the policy's {tables}"
        for line in journal.lines
        if not found(line)
    ]


def beyond(journal: Journal, digits: int, title: str) -> list[str]:
    """What no import takes: an unbalanced journal, amounts with more digits than a field has.

    Args:
        journal: To be looked at.
        digits: How many a field has before the point; after it there are two.
        title: The target's name.
    """
    places = exponent(journal.currency)
    if places > 2:
        what = f"{journal.currency} has {places} decimals, {title} takes two"
        return [f"{journal.batch_id}: {what}; enter this batch by hand"]
    rest = sum(line.minor for line in journal.lines)
    if rest:
        return [f"{journal.batch_id}: debits and credits differ by {abs(rest)} minor units"]
    limit = int("1" + "0" * (digits + places))
    return [
        f"{at(journal, line)}: more than {digits} digits before the point, which {title} refuses"
        for line in journal.lines
        if abs(line.minor) >= limit
    ]
