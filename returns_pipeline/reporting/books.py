"""The books of a day or a month: batches, lines, units, what is open, what came late.

Here: the rows finance closes a period on, and the sums and verdicts drawn from them, so
that workbook, pack and JSON say the same. Not here: reading the rows (``steps.books``),
setting them out (``finance_book``, ``pack``). Amounts are minor units; instants are UTC.
Nothing here depends on when it is asked for: a sealed period gives the same books again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from returns_pipeline.reporting.day import State, amount_text, amounts_text, counted

AGES = (("0-7 days", 7), ("8-14 days", 14), ("15-30 days", 30), ("over 30 days", None))
"""How open items are told apart by age: the last day of each step."""

OPEN_ROLES = {
    "returned_goods_in_transit": "Returned goods in transit",
    "exchange_clearing": "Exchange clearing",
    "store_credit_liability": "Store credit",
    "refund_clearing": "Refund clearing",
}
"""The roles whose balance is a list of items."""


def age_step(days: int) -> str:
    """The step an age in days falls into."""
    return next(name for name, last in AGES if last is None or days <= last)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A batch in the register. ``exports`` names the programs its files were made for."""

    batch_id: str
    kind: str
    state: str
    business_date: date
    origin_date: date
    entity: str
    channel_group: str
    currency: str
    totals: Mapping[str, int]
    lines: int
    debit_minor: int
    credit_minor: int
    hash: str
    policy_hash: str
    of_batch: str
    description: str
    sealed_at: datetime
    exported_at: datetime | None
    posted_at: datetime | None
    ledger_id: str
    exports: tuple[str, ...] = ()

    @property
    def units(self) -> int:
        """How many units it gives back; those of a reversal are taken away again."""
        return (-1 if self.kind == "reversal" else 1) * self.totals.get("units", 0)


@dataclass(frozen=True, slots=True)
class BookLine:
    """A line of one of the period's batches."""

    batch_id: str
    business_date: date
    number: int
    account: str
    account_name: str
    role: str
    tax_key: str
    side: str
    minor: int
    currency: str
    base_minor: int | None
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnitEntry:
    """What one unit has in one batch, each part in its own column.

    Returns, shipping, VAT and cost are debits, the others credits: a reversal's are negative.
    """

    batch_id: str
    item_id: str
    return_id: str
    order_number: str
    sku: str
    condition: str
    currency: str
    returned: int
    shipping: int
    vat: int
    discount: int
    fee: int
    fee_vat: int
    refunded: int
    store_credit: int
    exchange: int
    gateways: str
    cost: int


@dataclass(frozen=True, slots=True)
class OpenItem:
    """What one unit has open on a balance-sheet account at the period's end (debit +)."""

    role: str
    account: str
    currency: str
    item_id: str
    return_id: str
    order_number: str
    sku: str
    since: date
    age_days: int | None  # none of what is many units in one
    minor: int
    note: str = ""

    @property
    def step(self) -> str:
        """The age step it falls into, if it has an age."""
        return "" if self.age_days is None else age_step(self.age_days)


@dataclass(frozen=True, slots=True)
class OpenBalance:
    """An account's balance by its sealed lines, beside the list of its items (debit +)."""

    role: str
    account: str
    account_name: str
    currency: str
    ledger_minor: int
    items_minor: int
    items: int
    ages: Mapping[str, int]

    @property
    def difference(self) -> int:
        """What the items do not explain."""
        return self.ledger_minor - self.items_minor


@dataclass(frozen=True, slots=True)
class LateArrival:
    """A unit's event that came after its day was sealed."""

    batch_id: str
    origin_date: date
    business_date: date
    item_id: str
    return_id: str
    order_number: str
    happened_at: datetime
    entered_at: datetime
    sealed_at: datetime
    minor: int  # what it adds to the debits
    currency: str


@dataclass(frozen=True, slots=True)
class BoundaryEvent:
    """An event near midnight: which day it was counted to, and by how many minutes."""

    batch_id: str
    item_id: str
    order_number: str
    what: str
    happened_at: datetime
    business_date: date
    minutes: int  # from the nearest midnight; before it negative
    minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class VatRow:
    """VAT of one rate and currency: given back on goods and shipping, kept on fees.

    ``base_*`` are in the merchant's currency, as the VAT return wants them.
    """

    rate: str
    currency: str
    net: int
    vat: int
    fee_net: int
    fee_vat: int
    base_net: int
    base_vat: int


@dataclass(frozen=True, slots=True)
class DayFigures:
    """One business day of the period."""

    day: date
    units: int
    batches: int
    refunds: Mapping[str, int]  # by currency
    is_closed: bool


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict on the period."""

    name: str
    state: State
    says: str


@dataclass(frozen=True, slots=True)
class Books:
    """Everything the books of one period are made of."""

    first: date
    last: date
    merchant: str
    base_currency: str
    time_zone: str
    ends_at: datetime
    is_locked: bool
    batches: tuple[Sealed, ...]
    lines: tuple[BookLine, ...]
    units: tuple[UnitEntry, ...]
    vat: tuple[VatRow, ...]
    open_items: tuple[OpenItem, ...]
    balances: tuple[OpenBalance, ...]
    late: tuple[LateArrival, ...]
    boundary: tuple[BoundaryEvent, ...]
    days: tuple[DayFigures, ...]
    unsealed: Mapping[str, int] = field(default_factory=dict)  # debits of no batch, by currency
    refused: int = 0  # refunds of the period's batches that were refused

    @property
    def is_day(self) -> bool:
        """Whether it is one day's."""
        return self.first == self.last

    @property
    def name(self) -> str:
        """The period as files are named: ``2026-03-14`` or ``2026-03``."""
        return self.first.isoformat() if self.is_day else f"{self.first:%Y-%m}"

    @property
    def title(self) -> str:
        """The period in words."""
        month = f"{self.first:%B %Y}"
        return f"{self.first.day} {month}" if self.is_day else month

    @property
    def currencies(self) -> tuple[str, ...]:
        """Those there are batches in, the merchant's own first."""
        found = {batch.currency for batch in self.batches}
        return tuple(sorted(found, key=lambda code: (code != self.base_currency, code)))

    def totals(self, currency: str) -> dict[str, int]:
        """The control totals of all batches of a currency; a reversal takes its batch's away.

        Not from debits and credits: what was entered was entered, and taken back.
        """
        total: Counter[str] = Counter()
        for batch in self.batches:
            if batch.currency == currency:
                total.update(batch.totals)
                # A reversal's own totals are negative, but for what it counts.
                total["units"] += batch.units - batch.totals.get("units", 0)
        return dict(total)

    def checks(self) -> tuple[Check, ...]:
        """Whether the period adds up, and whether it is finished."""
        return (
            self._balanced(),
            self._explained(),
            self._open_lists(),
            self._sealed(),
            self._handed_over(),
            self._paid(),
        )

    def _balanced(self) -> Check:
        wrong = [b.batch_id for b in self.batches if b.debit_minor != b.credit_minor]
        says = f"debits equal credits, {len(self.batches):,} of {len(self.batches):,}"
        if wrong:
            return Check("Batches balance", State.BAD, f"not in {', '.join(wrong)}")
        return Check("Batches balance", State.GOOD, says if self.batches else "no batch")

    def _explained(self) -> Check:
        """Whether the units' columns come to the lines' sums, batch by batch."""
        money = ("sales_returns", "shipping_refunded", "vat_output", "discount_reversal")
        lines: Counter[str] = Counter()
        for line in self.lines:
            if line.role.partition(".")[0] in (*money, "return_fee_income"):
                lines[line.batch_id] += line.minor if line.side == "debit" else -line.minor
        units: Counter[str] = Counter()
        for unit in self.units:
            kept = unit.discount + unit.fee + unit.fee_vat
            units[unit.batch_id] += unit.returned + unit.shipping + unit.vat - kept
        wrong = sorted(key for key in lines.keys() | units.keys() if lines[key] != units[key])
        if wrong:
            says = f"lines and units differ in {', '.join(wrong)}"
            return Check("Lines equal their units", State.BAD, says)
        says = f"line by line: {counted(len(self.units), 'unit')} in batches"
        return Check("Lines equal their units", State.GOOD, says)

    def _open_lists(self) -> Check:
        wrong = [b for b in self.balances if b.difference]
        if wrong:
            says = "; ".join(
                f"{b.account} {b.currency} differs by {amount_text(b.difference, b.currency)}"
                for b in wrong
            )
            return Check("Open balances equal their items", State.BAD, says)
        says = f"{counted(len(self.open_items), 'open item')} at the period's end"
        return Check("Open balances equal their items", State.GOOD, says)

    def _sealed(self) -> Check:
        waiting = [day.day.isoformat() for day in self.days if not day.is_closed]
        if any(self.unsealed.values()):
            says = f"{amounts_text(self.unsealed)} of the period stands in no batch yet"
            return Check("Everything is sealed", State.WATCH, says)
        if waiting:
            says = f"not closed: {', '.join(waiting[:5])}{' ...' if len(waiting) > 5 else ''}"
            return Check("Everything is sealed", State.WATCH, says)
        says = f"{counted(len(self.days), 'day')} closed"
        return Check("Everything is sealed", State.GOOD, says)

    def _handed_over(self) -> Check:
        waiting = [b.batch_id for b in self.batches if not b.exported_at]
        if waiting:
            return Check("Files were written", State.WATCH, f"not for {', '.join(waiting[:3])}")
        return Check("Files were written", State.GOOD, "for every batch")

    def _paid(self) -> Check:
        if self.refused:
            says = f"{counted(self.refused, 'refund')} refused: see the exceptions"
            return Check("Refunds are settled", State.BAD, says)
        waiting = [b.batch_id for b in self.batches if b.state in {"sealed", "exported"}]
        if waiting:
            says = f"some still wait in {', '.join(waiting[:3])}{' ...' * (len(waiting) > 3)}"
            return Check("Refunds are settled", State.WATCH, says)
        return Check("Refunds are settled", State.GOOD, "in every batch")

    def figures(self) -> dict[str, Any]:
        """The period as plain values for JSON."""
        return {
            "period": self.name,
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "locked": self.is_locked,
            "checks": [{"name": c.name, "state": c.state, "says": c.says} for c in self.checks()],
            "totals": {currency: self.totals(currency) for currency in self.currencies},
            "batches": [
                {
                    "id": b.batch_id,
                    "kind": b.kind,
                    "state": b.state,
                    "business_date": b.business_date.isoformat(),
                    "origin_date": b.origin_date.isoformat(),
                    "currency": b.currency,
                    "debit_minor": b.debit_minor,
                    "credit_minor": b.credit_minor,
                    "hash": b.hash,
                    "exports": list(b.exports),
                }
                for b in self.batches
            ],
            "vat": [
                {
                    "rate": row.rate,
                    "currency": row.currency,
                    "net_minor": row.net,
                    "vat_minor": row.vat,
                    "fee_net_minor": row.fee_net,
                    "fee_vat_minor": row.fee_vat,
                    "base_currency": self.base_currency,
                    "base_net_minor": row.base_net,
                    "base_vat_minor": row.base_vat,
                }
                for row in self.vat
            ],
            "balances": [
                {
                    "role": b.role,
                    "account": b.account,
                    "currency": b.currency,
                    "ledger_minor": b.ledger_minor,
                    "items_minor": b.items_minor,
                    "difference_minor": b.difference,
                    "items": b.items,
                    "ages": dict(b.ages),
                }
                for b in self.balances
            ],
            "late_arrivals": len(self.late),
            "boundary_events": len(self.boundary),
        }


def balances(
    ledger: Mapping[tuple[str, str, str], int],
    items: Iterable[OpenItem],
    names: Mapping[str, str],
) -> Iterator[OpenBalance]:
    """Each account's balance by its lines beside the list of its items.

    Args:
        ledger: By role, account and currency: the sum of its sealed lines.
        items: All of them.
        names: Of accounts.
    """
    listed: dict[tuple[str, str, str], list[OpenItem]] = defaultdict(list)
    for item in items:
        listed[item.role, item.account, item.currency].append(item)
    for key in sorted(ledger.keys() | listed.keys(), key=lambda k: (k[1], k[0], k[2])):
        mine = listed[key]
        ages: Counter[str] = Counter()
        for item in mine:
            ages[item.step] += item.minor
        minor = ledger.get(key, 0)
        if minor or mine:
            role, account, currency = key
            yield OpenBalance(
                role=role,
                account=account,
                account_name=names.get(account, ""),
                currency=currency,
                ledger_minor=minor,
                items_minor=sum(item.minor for item in mine),
                items=len(mine),
                ages={name: ages[name] for name, _ in AGES},
            )
