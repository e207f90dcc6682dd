"""The merchant's policy as frozen values: what ``policy.toml`` says, already checked.

Here: the shape of the policy. Reading and checking the file belongs to ``settings``; what
the rules do with it to the module of each rule. ``docs/policy.md`` documents every key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from functools import lru_cache

from returns_pipeline.domain.model import (
    Disposition,
    DispositionRule,
    Executor,
    Owner,
    RefundType,
    Severity,
    Stage,
)


@dataclass(frozen=True, slots=True)
class Merchant:
    """Who keeps the books: name, IANA zone, default currency, two-letter entity code."""

    name: str
    time_zone: str
    currency: str
    entity: str


@dataclass(frozen=True, slots=True)
class HappyReturnsPolicy:
    """How Happy Returns is asked and read."""

    lookups_per_run: int
    order_number_format: str
    return_window: timedelta
    recheck_open: timedelta
    recheck_shipped: timedelta
    shipment_overlap: timedelta
    initial_window: timedelta
    page_size: int
    fields: Mapping[str, str]  # ours -> vendor's name
    statuses: Mapping[str, Stage]  # folded code -> stage
    refund_types: Mapping[str, RefundType]  # folded code -> refund type


@dataclass(frozen=True, slots=True)
class LinnworksPolicy:
    """How Linnworks is read and what our writes look like there."""

    order_overlap: timedelta
    initial_window: timedelta
    page_size: int
    sources: tuple[str, ...]  # channels whose orders are mirrored; empty: all
    reason_category: str
    exchange_source: str
    exchange_location: str
    exchange_postal_service: str  # "" : the original's


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """Which evidence opens which gate."""

    stock: Stage
    refund: Stage
    exchange: Stage
    refund_by_dropoff: Mapping[str, Stage]
    refund_requires_approval: bool
    returnless: Stage
    return_window: timedelta  # from despatch to the start of the return
    act_from: date | None = None  # returns begun earlier are somebody else's; None: all are ours


@dataclass(frozen=True, slots=True)
class ExchangePolicy:
    """How replacements are ordered."""

    way: str = "create_orders"  # "create_orders" | "rma"
    check_stock: bool = True
    wait_for_stock: timedelta = timedelta(days=3)  # then CX may turn it into a refund
    instant_channels: frozenset[str] = frozenset()  # folded sources, or source/subsource
    instant_groups: frozenset[str] = frozenset()  # folded tags of orders
    instant_window: timedelta = timedelta(days=14)  # for the original to come
    clearing_open: timedelta = timedelta(days=7)  # for a replacement to take its value up


@dataclass(frozen=True, slots=True)
class RefundPolicy:
    """Who pays and how far figures may differ."""

    executor: Executor | None  # None: not declared; live mode refuses to start
    tolerance_minor: int
    max_batch_minor: int  # breaker: a day's batch above it stops and asks
    gateways: Mapping[str, str]  # folded payment method -> gateway; "*" default


@dataclass(frozen=True, slots=True)
class AgePolicy:
    """How long something may rest before it is somebody's task."""

    orphan_young: timedelta
    orphan_old: timedelta
    disposition_grace: timedelta
    received_not_refunded: timedelta
    refunded_not_received: tuple[timedelta, ...]
    in_transit: timedelta
    source_stale: timedelta
    started_expires: timedelta


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """A run that wants more than this stops before its first write and asks."""

    max_units_per_run: int
    max_units_per_sku: int


@dataclass(frozen=True, slots=True)
class BooksUnit:
    """A legal entity's channel group: what a batch is of, beside its day and currency."""

    code: str  # two characters, part of every batch id
    entity: str
    channel_group: str
    channels: frozenset[str] = frozenset()  # folded Linnworks sources, or source/subsource


@dataclass(frozen=True, slots=True)
class FinancePolicy:
    """Roles to accounts, what is entered, at which rates, in whose books."""

    accounts: Mapping[str, str]  # role, or role.key -> account code
    post_cost: bool
    close_lag: timedelta  # a day is complete this long after its end
    sealed_by: time = time(7)  # yesterday is sealed by then
    cost_currency: str = "base"  # "base": costs are in the merchant's currency | "order"
    cost_missing: str = "wait"  # "wait" | "skip": a movement without a cost
    split_discount: bool = False
    logistics_cost_minor: int = 0  # a received unit's, in the merchant's currency; 0: none
    write_off_in_transit: timedelta = timedelta()  # paid and not here: lost after; 0: never
    exempt_skus: tuple[str, ...] = ()  # "GIFT-*": everything that begins so
    vat_rates: tuple[str, ...] = ()  # the rates the books know; empty: every
    conversion: str = "multiply"  # "multiply" | "divide": what Linnworks' rate is for
    fx_vat: str = "sale"  # "sale" | "period": at which rate a sale is taken back
    fx_rates: Mapping[str, str] = field(default_factory=dict)  # EUR, EUR.2026-03 -> rate
    confirm_within: timedelta = timedelta()  # exported and no ledger id: a task after; 0: never
    rounding_per_line_minor: int = 1  # Xero's rounding of a batch above this is a task; 0: any
    rounding_limit_minor: int = 50  # and above this in all; 0: any
    units: Mapping[str, BooksUnit] = field(default_factory=dict)  # by code


@dataclass(frozen=True, slots=True)
class LedgerPolicy:
    """How one accounting program takes batches: what things are called there, and where to."""

    accounts: Mapping[str, str] = field(default_factory=dict)  # our account -> its name there
    tax_rates: Mapping[str, str] = field(default_factory=dict)  # tax key, or "none" -> its rate
    currencies: tuple[str, ...] = ()  # whose batches go there; empty: every
    options: Mapping[str, str] = field(default_factory=dict)  # the program's own keys


@dataclass(frozen=True, slots=True)
class ExportPolicy:
    """Which programs the close writes files for, and how each takes them."""

    targets: tuple[str, ...] = ()
    account_names: Mapping[str, str] = field(default_factory=dict)  # account -> its name
    ledgers: Mapping[str, LedgerPolicy] = field(default_factory=dict)  # by target


@dataclass(frozen=True, slots=True)
class SchedulePolicy:
    """Cron texts, in the merchant's zone."""

    sync: str
    close: str
    reconcile: str


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """Who is told what, when and where; times of day are the merchant's."""

    quiet_from: time
    quiet_to: time  # the same as quiet_from: there are no quiet hours
    digest_at: time
    at_once: tuple[Severity, ...]  # exceptions told of when they open; the others by digest
    in_full: int  # how many notices of a message are shown in full
    routes: Mapping[Owner, tuple[str, ...]]  # owner -> channels; not named: every channel
    email_to: Mapping[Owner, str]  # owner -> address, where RETURNS_ALERT_EMAIL_TO is not wanted
    dagster_url: str  # "" : links are left out
    queue_url: str
    docs_url: str


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole policy and the hash of its canonical form."""

    merchant: Merchant
    happy_returns: HappyReturnsPolicy
    linnworks: LinnworksPolicy
    gate: GatePolicy
    codes: Mapping[str, Disposition]  # folded source code -> canonical
    unmapped: str  # "hold" | "quarantine"
    rules: Mapping[Disposition, DispositionRule]
    refunds: RefundPolicy
    ages: AgePolicy
    breakers: BreakerPolicy
    finance: FinancePolicy
    schedules: SchedulePolicy
    alerts: AlertPolicy
    owners: Mapping[str, Owner]  # exception code -> owner, where the catalogue's is not wanted
    sla: Mapping[Severity, timedelta]
    hash: str
    body: str = ""  # the canonical form behind the hash
    exports: ExportPolicy = field(default_factory=ExportPolicy)
    exchange: ExchangePolicy = field(default_factory=ExchangePolicy)


def sends_at_once(
    policy: Policy, source: str, sub_source: str, groups: Collection[str] = ()
) -> bool:
    """Whether replacements for such orders leave before their originals are back.

    Args:
        policy: The merchant's.
        source: Of the order.
        sub_source: Of the order.
        groups: The customer groups of the order: its tags in Linnworks, folded.
    """
    channels, named = policy.exchange.instant_channels, policy.exchange.instant_groups
    channel = {fold(source), f"{fold(source)}/{fold(sub_source)}"}
    return not channels.isdisjoint(channel) or not named.isdisjoint(groups)


def books_unit(policy: Policy, source: str, sub_source: str) -> BooksUnit:
    """In whose books an order of this channel is: the nearest named, else the merchant's."""
    named = policy.finance.units.values()
    for channel in (f"{fold(source)}/{fold(sub_source)}", fold(source)):
        for unit in named:
            if channel in unit.channels:
                return unit
    code = policy.merchant.entity
    return policy.finance.units.get(code) or BooksUnit(code, code, "all")


def books_unit_of(policy: Policy, code: str) -> BooksUnit:
    """The unit of the books with this code; one that is not named is its own."""
    return policy.finance.units.get(code) or BooksUnit(code, code, "all")


@lru_cache(maxsize=1_024)  # a source has some dozens of codes, each told again and again
def fold(code: str) -> str:
    """Fold a source code: case, spaces, ``-`` and ``_`` do not count."""
    return "".join(c for c in code.casefold() if c not in " -_\t")


def order_key(number: str) -> str:
    """Fold an order number for comparison: a leading ``#`` and blanks do not count."""
    return "".join(number.split()).lstrip("#").casefold()
