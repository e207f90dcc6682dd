"""One business day as figures: what happened, what waits for whom, and whether it adds up.

Here: the rows a day's report is made of and the sums and verdicts drawn from them, so that
page, workbook and JSON say the same. Not here: reading the rows (``steps.account``), setting
them out (``page``, ``workbook``). Amounts are minor units beside their currency; instants
are UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from returns_pipeline.domain.money import format_minor

_SYMBOLS = {"GBP": "£", "EUR": "€", "USD": "$"}


def amount_text(minor: int, currency: str) -> str:
    """An amount as people read it: 123456, GBP: ``£1,234.56``."""
    plain = format_minor(abs(minor), currency)
    whole, dot, part = plain.partition(".")
    text = f"{int(whole):,}{dot}{part}"
    symbol = _SYMBOLS.get(currency, f"{currency} ")
    return f"{'-' if minor < 0 else ''}{symbol}{text}"


def amounts_text(sums: Mapping[str, int]) -> str:
    """Sums of several currencies, largest first; "none" where there is nothing."""
    found = sorted(((m, c) for c, m in sums.items() if m), reverse=True)
    return " + ".join(amount_text(minor, currency) for minor, currency in found) or "none"


def counted(number: int, noun: str) -> str:
    """A number and its noun: ``1 unit``, ``2 units``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class State(StrEnum):
    """A verdict's colour."""

    GOOD = "good"
    WATCH = "watch"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Light:
    """One verdict on the day: what about, which colour, why, where the rows are."""

    name: str
    state: State
    says: str
    anchor: str


@dataclass(frozen=True, slots=True)
class ReceivedUnit:
    """A unit the warehouse received that day, and where it stands now."""

    item_id: str
    return_id: str
    order_number: str
    sku: str
    received_at: datetime
    condition: str
    outcome: str  # restocked | scrapped | waiting | held | nothing to book
    place: str  # location, or why it is held


@dataclass(frozen=True, slots=True)
class Movement:
    """A stock movement posted to Linnworks that day."""

    item_id: str
    return_id: str
    order_number: str
    sku: str
    location: str
    sellable: bool
    scrapped: bool
    posted_at: datetime
    rma: int | None


@dataclass(frozen=True, slots=True)
class HeldUnit:
    """A unit that cannot move now: which gate holds it, why, what it is worth."""

    item_id: str
    return_id: str
    order_number: str
    sku: str
    gate: str  # match | stock | refund | exchange
    code: str
    reason: str
    since_at: datetime
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Refund:
    """What one unit was owed that day and whether it was carried out."""

    item_id: str
    return_id: str
    order_number: str
    sku: str
    tender: str
    state: str
    executor: str
    amount_minor: int
    vat_minor: int
    currency: str
    batch_id: str


@dataclass(frozen=True, slots=True)
class Replacement:
    """An exchange order made that day.

    Of an uneven one: what its original leaves for the shopper, or what the shopper paid on top.
    """

    item_id: str
    return_id: str
    order_number: str
    sku: str
    quantity: int
    reference: str
    state: str
    amount_minor: int
    currency: str
    residual_minor: int = 0
    extra_minor: int = 0


@dataclass(frozen=True, slots=True)
class Exposure:
    """A replacement that is out while its original is not back, as it is now.

    ``amount_minor`` is what was paid for the original.
    """

    item_id: str
    return_id: str
    order_number: str
    sku: str
    reference: str
    stage: str
    ordered_at: datetime
    is_allowed: bool
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Task:
    """An open exception: somebody's named task."""

    code: str
    title: str
    key: str
    owner: str
    severity: str
    opened_at: datetime
    due_at: datetime
    amount_minor: int
    currency: str
    item_ids: tuple[str, ...]
    return_ids: tuple[str, ...]
    order_numbers: tuple[str, ...]
    message: str
    action: str


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One line of a batch of that day."""

    batch_id: str
    number: int
    role: str
    account: str
    tax_rate: str
    side: str
    amount_minor: int
    currency: str
    item_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """A sealed batch of that day."""

    id: str
    kind: str
    state: str
    currency: str
    hash: str
    lines: tuple[BatchLine, ...]

    def total(self, side: str) -> int:
        """The sum of one side."""
        return sum(line.amount_minor for line in self.lines if line.side == side)


@dataclass(frozen=True, slots=True)
class OpenAmount:
    """What one unit has open on a clearing account at the day's end (debit +)."""

    role: str
    account: str
    currency: str
    item_id: str
    return_id: str
    order_number: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Balance:
    """What stands on a clearing account at the day's end (debit +), and of how many units."""

    role: str
    account: str
    currency: str
    amount_minor: int
    units: int


@dataclass(frozen=True, slots=True)
class PastDay:
    """One day of the weeks before: units received and restocked."""

    day: date
    received: int
    restocked: int


@dataclass(frozen=True, slots=True)
class ThreeWay:
    """One figure of the day as each of the three tells it; ``None``: it tells nothing of it.

    Units where there is no currency, else minor units.
    """

    what: str
    currency: str
    happy_returns: int | None
    books: int
    linnworks: int | None

    @property
    def agrees(self) -> bool:
        """Whether those that tell it tell the same."""
        return {self.happy_returns, self.linnworks} <= {None, self.books}


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The last reconciliation: when, what it found, what it cost in vendor calls."""

    at: datetime
    differences: int
    calls: int


@dataclass(frozen=True, slots=True)
class DayReport:
    """Everything the report of one business day is made of."""

    business_date: date
    merchant: str
    time_zone: str
    made_at: datetime
    closed_at: datetime | None
    read_at: Mapping[str, datetime | None]
    stale_after: timedelta
    stages: Mapping[str, int]
    received: tuple[ReceivedUnit, ...]
    movements: tuple[Movement, ...]
    held: tuple[HeldUnit, ...]
    refunds: tuple[Refund, ...]
    replacements: tuple[Replacement, ...]
    tasks: tuple[Task, ...]
    batches: tuple[Batch, ...]
    balances: tuple[Balance, ...]
    open_amounts: tuple[OpenAmount, ...]
    history: tuple[PastDay, ...]
    unknown_writes: int  # read back before anything else is done
    suspended_writes: int  # read back, and still a person's to decide
    three_ways: tuple[ThreeWay, ...] = ()
    reconciled: Reconciled | None = None
    exposure: tuple[Exposure, ...] = ()  # the oldest first

    def overdue(self, task: Task) -> bool:
        """Whether its owner should have acted by now."""
        return task.due_at < self.made_at

    def age_days(self, task: Task) -> int:
        """Whole days since the task was opened."""
        return (self.made_at - task.opened_at).days

    # --- sums ---------------------------------------------------------------------

    def outcomes(self) -> Counter[str]:
        """Units received that day by where they stand now."""
        return Counter(unit.outcome for unit in self.received)

    def by_location(self) -> list[dict[str, Any]]:
        """Units posted that day by location, the fullest first."""
        found = Counter((m.location, m.sellable, m.scrapped) for m in self.movements)
        return [
            {"location": place, "sellable": sellable, "scrapped": scrapped, "units": units}
            for (place, sellable, scrapped), units in found.most_common()
        ]

    def held_by_reason(self) -> list[dict[str, Any]]:
        """Units held now by gate and code, the most first, with the money that waits."""
        units = Counter((h.gate, h.code) for h in self.held)
        return [
            {
                "gate": gate,
                "code": code,
                "reason": next(h.reason for h in self.held if (h.gate, h.code) == (gate, code)),
                "units": count,
                "amounts": sums(h for h in self.held if (h.gate, h.code) == (gate, code)),
            }
            for (gate, code), count in units.most_common()
        ]

    def refunds_by_state(self) -> list[dict[str, Any]]:
        """The day's refunds by state, tender and currency."""
        units = Counter((r.state, r.tender, r.currency) for r in self.refunds)
        minor: Counter[tuple[str, str, str]] = Counter()
        for r in self.refunds:
            minor[r.state, r.tender, r.currency] += r.amount_minor
        return [
            {
                "state": key[0],
                "tender": key[1],
                "currency": key[2],
                "units": count,
                "amount_minor": minor[key],
            }
            for key, count in sorted(units.items())
        ]

    def by_owner(self) -> list[dict[str, Any]]:
        """Open tasks by owner: how many, how late, how old, how much money is at risk."""
        rows = []
        for owner in sorted({task.owner for task in self.tasks}):
            mine = [task for task in self.tasks if task.owner == owner]
            rows.append(
                {
                    "owner": owner,
                    "open": len(mine),
                    "overdue": sum(self.overdue(task) for task in mine),
                    "worst": min(task.severity for task in mine),
                    "oldest_days": max(self.age_days(task) for task in mine),
                    "amounts": sums(mine),
                }
            )
        return rows

    def carried_out(self) -> tuple[Refund, ...]:
        """The day's refunds that nobody refused."""
        return tuple(refund for refund in self.refunds if refund.state != "refused")

    # --- verdicts -----------------------------------------------------------------

    def lights(self) -> tuple[Light, ...]:
        """The day in a few words, worst things named."""
        return (self._goods(), self._money(), self._books(), self._people(), self._sources())

    def _goods(self) -> Light:
        outcomes = self.outcomes()
        done = outcomes["restocked"] + outcomes["scrapped"] + outcomes["nothing to book"]
        total = len(self.received)
        if self.unknown_writes:
            says = f"{counted(self.unknown_writes, 'write')} with an unknown outcome"
            return Light("Goods", State.BAD, says, "tasks")
        if self.suspended_writes:
            says = f"{counted(self.suspended_writes, 'write')} put aside for a person to decide"
            return Light("Goods", State.BAD, says, "tasks")
        if not total:
            return Light("Goods", State.GOOD, "nothing was received", "received")
        if done == total:
            return Light("Goods", State.GOOD, f"all {total} received are in their place", "moved")
        says = f"{done} of {total} received are in their place, {total - done} wait"
        return Light("Goods", State.WATCH, says, "received")

    def _money(self) -> Light:
        states = Counter(r.state for r in self.refunds)
        total = amounts_text(sums(self.refunds))
        if states["refused"]:
            says = f"{counted(states['refused'], 'refund')} refused by Linnworks"
            return Light("Money", State.BAD, says, "refunds")
        if self.closed_at is None:
            says = f"the day is not closed; {total} is due" if self.refunds else "not closed yet"
            return Light("Money", State.WATCH, says, "refunds")
        waiting = states["due"] + states["batched"]
        if waiting:
            says = f"{waiting} of {len(self.refunds)} refunds are not carried out yet"
            return Light("Money", State.WATCH, says, "refunds")
        says = (
            f"{total} for {counted(len(self.refunds), 'unit')}, all carried out"
            if self.refunds
            else "no refunds"
        )
        return Light("Money", State.GOOD, says, "refunds")

    def _books(self) -> Light:
        for batch in self.batches:
            if batch.total("debit") != batch.total("credit"):
                return Light("Books", State.BAD, f"{batch.id} does not balance", "batch")
        differences = [t for t in self.tasks if t.key.startswith("read-back:")]
        if differences:
            says = f"{counted(len(differences), 'difference')} between Linnworks and our books"
            return Light("Books", State.BAD, says, "tasks")
        if self.batches:
            says = f"{counted(len(self.batches), 'sealed journal')} in balance, Linnworks equal"
            return Light("Books", State.GOOD, says, "batch")
        if self.closed_at is None:
            return Light("Books", State.WATCH, "no batch is sealed yet", "batch")
        return Light("Books", State.GOOD, "closed; nothing to book", "batch")

    def _people(self) -> Light:
        urgent = [t for t in self.tasks if t.severity == "S1"]
        late = [t for t in self.tasks if self.overdue(t)]
        says = f"{len(self.tasks)} open"
        if urgent:
            return Light("Tasks", State.BAD, f"{says}, {len(urgent)} of them urgent (S1)", "tasks")
        if late:
            return Light("Tasks", State.WATCH, f"{says}, {len(late)} of them overdue", "tasks")
        if self.tasks:
            return Light("Tasks", State.GOOD, f"{says}, none overdue", "tasks")
        return Light("Tasks", State.GOOD, "nothing waits for anybody", "tasks")

    def _sources(self) -> Light:
        never = [name for name, at in self.read_at.items() if at is None]
        if never:
            return Light("Sources", State.BAD, f"never read: {', '.join(never)}", "sources")
        late = [
            name
            for name, at in self.read_at.items()
            if at is not None and at < self.made_at - self.stale_after
        ]
        if late:
            return Light("Sources", State.BAD, f"not read lately: {', '.join(late)}", "sources")
        return Light("Sources", State.GOOD, "both vendors are read up to date", "sources")

    def figures(self) -> dict[str, Any]:
        """The report's figures as plain values for JSON."""
        return {
            "business_date": self.business_date.isoformat(),
            "made_at": self.made_at.isoformat(),
            "closed_at": self.closed_at.isoformat() if self.closed_at else None,
            "lights": [asdict(light) for light in self.lights()],
            "received": {"units": len(self.received), "outcomes": dict(self.outcomes())},
            "restocked": self.by_location(),
            "held": self.held_by_reason(),
            "refunds": self.refunds_by_state(),
            "exchanges": len(self.replacements),
            "exposure": {"replacements": len(self.exposure), "amounts": sums(self.exposure)},
            "exceptions": self.by_owner(),
            "batches": [
                {
                    "id": batch.id,
                    "kind": batch.kind,
                    "state": batch.state,
                    "currency": batch.currency,
                    "hash": batch.hash,
                    "debit_minor": batch.total("debit"),
                    "credit_minor": batch.total("credit"),
                }
                for batch in self.batches
            ],
            "balances": [asdict(balance) for balance in self.balances],
            "units_by_stage": dict(self.stages),
            "three_ways": [{**asdict(one), "agrees": one.agrees} for one in self.three_ways],
            "reconciliation": {
                "at": self.reconciled.at.isoformat(),
                "differences": self.reconciled.differences,
                "vendor_calls": self.reconciled.calls,
            }
            if self.reconciled
            else None,
        }


def sums(rows: Iterable[HeldUnit | Refund | Task | Exposure]) -> dict[str, int]:
    """The rows' amounts by currency; those without a currency have none."""
    total: Counter[str] = Counter()
    for row in rows:
        if row.currency:
            total[row.currency] += row.amount_minor
    return dict(total)
