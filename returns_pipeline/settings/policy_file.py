"""``policy.toml``: the packaged rules, what a merchant's own file changes, checked whole.

Here: which keys there are and what each may be; ``docs/policy.md`` explains them. Not here:
the meaning of the rules (``domain``) or the environment (the package itself).
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from returns_pipeline.domain import disposition as disposition_rules
from returns_pipeline.domain import money
from returns_pipeline.domain.exceptions import CATALOGUE
from returns_pipeline.domain.model import (
    Disposition,
    DispositionRule,
    Executor,
    Owner,
    RefundType,
    Severity,
    Stage,
    StockEffect,
)
from returns_pipeline.domain.policy import (
    AgePolicy,
    AlertPolicy,
    BooksUnit,
    BreakerPolicy,
    ExchangePolicy,
    ExportPolicy,
    FinancePolicy,
    GatePolicy,
    HappyReturnsPolicy,
    LedgerPolicy,
    LinnworksPolicy,
    Merchant,
    Policy,
    RefundPolicy,
    SchedulePolicy,
    fold,
)
from returns_pipeline.domain.postings import ROLES
from returns_pipeline.settings.tables import Table, hint, one_of

V = TypeVar("V")

_CRON_FIELD = re.compile(r"[0-9A-Za-z*/,\-]+")
_DATES = ("dd/mm/yyyy", "mm/dd/yyyy")
_ADDRESS = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+")
_ENTITY = re.compile(r"[A-Z0-9]{2}")
# Nothing has been handed over, or the return is over: neither is evidence that pays.
_NO_EVIDENCE = frozenset({Stage.STARTED, Stage.EXPIRED, Stage.CANCELLED})


def packaged_policy() -> dict[str, Any]:
    """The policy file that ships with the program."""
    text = resources.files("returns_pipeline").joinpath("policy.toml").read_text("utf-8")
    return tomllib.loads(text)


def read_policy(path: str, problems: list[str], *, live: bool = False) -> Policy | None:
    """The packaged policy, with the merchant's own file laid over it.

    Args:
        path: The merchant's file; empty for none.
        problems: Receives one message for each problem, with table, key and remedy.
        live: Whether money will really be sent, so that its executor must be declared.
    """
    document = packaged_policy()
    if path:
        try:
            own = tomllib.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            problems.append(
                f"RETURNS_POLICY: cannot read {path}: {error.strerror}. Name a policy file, or "
                "unset it to use the packaged one."
            )
            return None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            problems.append(f"RETURNS_POLICY: {path} is not TOML: {error}")
            return None
        document = _overlay(document, own)
    return parse_policy(document, problems, live=live)


def _overlay(base: Mapping[str, Any], own: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """The base with what the own document names; a code is the same however it is spelled."""
    merged = dict(base)
    if path in _CODE_TABLES:
        mine = {_code(key) for key in own}
        merged = {key: value for key, value in base.items() if _code(key) not in mine}
    for key, value in own.items():
        known = merged.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            value = _overlay(known, value, f"{path}.{key}".lstrip("."))  # noqa: PLW2901
        merged[key] = value
    return merged


_CODE_TABLES = frozenset(
    {
        "dispositions",
        "happy_returns.statuses",
        "happy_returns.refund_types",
        "gate.refund_by_dropoff",
        "refunds.gateways",
    }
)


def _code(key: str) -> str:
    return key if key == "*" else fold(key)


def policy_hash(document: Mapping[str, Any]) -> str:
    """SHA-256 of the policy's canonical form; comments and order do not count."""
    return hashlib.sha256(policy_body(document).encode()).hexdigest()


def policy_body(document: Mapping[str, Any]) -> str:
    """The policy's canonical form."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)


def kept_policy(body: str, hash_: str) -> Policy:
    """A policy of before, from its canonical form; keys it did not have are the packaged ones.

    Raises:
        ValueError: When it cannot be read by this program any more.
    """
    problems: list[str] = []
    policy = parse_policy(_overlay(packaged_policy(), json.loads(body)), problems)
    if policy is None:
        msg = f"the policy {hash_[:12]} cannot be read any more: {'; '.join(problems)}"
        raise ValueError(msg)
    return replace(policy, hash=hash_, body=body)


def parse_policy(
    document: Mapping[str, Any], problems: list[str], *, live: bool = False
) -> Policy | None:
    """Check a policy document whole and freeze it.

    Args:
        document: The parsed TOML, packaged defaults already laid under it.
        problems: Receives one message for each problem, with table and key.
        live: Whether the executor of refunds must be declared.

    Returns:
        The policy, or ``None`` when there is any problem.
    """
    before = len(problems)
    root = Table(dict(document), "", problems)
    merchant = _merchant(root.table("merchant"))
    happy_returns = _happy_returns(root.table("happy_returns"))
    linnworks = _linnworks(root.table("linnworks"))
    gate = _gate(root.table("gate"))
    exchange = _exchange(root.table("exchange"))
    unmapped = _unmapped(root.table("disposition"))
    codes = root.mapping("dispositions", lambda v, w: one_of(v, Disposition, w, problems), by=fold)
    rules = _rules(root.table("locations"))
    refunds = _refunds(root.table("refunds"), live=live)
    ages = _ages(root.table("ages"))
    breakers = _breakers(root.table("breakers"))
    finance = _finance(root.table("finance"))
    exports = _exports(root.table("exports"))
    schedules = _schedules(root.table("schedules"))
    alerts = _alerts(root.table("alerts"))
    owners = _owners(root)
    sla = _sla(root.table("sla"))
    root.done()
    if gate is None or len(problems) > before:
        return None
    return Policy(
        merchant=merchant,
        happy_returns=happy_returns,
        linnworks=linnworks,
        gate=gate,
        codes=codes,
        unmapped=unmapped,
        rules=rules,
        refunds=refunds,
        ages=ages,
        breakers=breakers,
        finance=finance,
        schedules=schedules,
        alerts=alerts,
        owners=owners,
        sla=sla,
        hash=policy_hash(document),
        body=policy_body(document),
        exports=exports,
        exchange=exchange,
    )


def _merchant(table: Table) -> Merchant:
    merchant = Merchant(
        table.text("name"), table.text("time_zone"), table.text("currency"), table.text("entity")
    )
    try:
        ZoneInfo(merchant.time_zone)
    except (OSError, LookupError, ValueError):  # a folder of zones, none, no zone's name at all
        table.wrong("time_zone", f"an IANA zone such as Europe/London, not {merchant.time_zone!r}")
    try:
        money.exponent(merchant.currency)
    except ValueError:
        table.wrong("currency", f"an ISO 4217 code such as GBP, not {merchant.currency!r}")
    if not _ENTITY.fullmatch(merchant.entity):
        table.wrong("entity", f"two capital letters or digits, such as UK, not {merchant.entity!r}")
    table.done()
    return merchant


def _happy_returns(table: Table) -> HappyReturnsPolicy:
    problems = table.problems
    policy = HappyReturnsPolicy(
        lookups_per_run=table.count("lookups_per_run"),
        order_number_format=_order_number_format(table),
        return_window=table.duration("return_window"),
        recheck_open=table.duration("recheck_open"),
        recheck_shipped=table.duration("recheck_shipped"),
        shipment_overlap=table.duration("shipment_overlap"),
        initial_window=table.duration("initial_window"),
        page_size=table.count("page_size", 1, 1000),
        fields=_fields(table),
        statuses=table.mapping("statuses", lambda v, w: one_of(v, Stage, w, problems), by=fold),
        refund_types=table.mapping(
            "refund_types", lambda v, w: one_of(v, RefundType, w, problems), by=fold
        ),
    )
    table.done()
    return policy


def _order_number_format(table: Table) -> str:
    text = table.text("order_number_format")
    try:
        usable = text.format(reference="1") != text.format(reference="2")
    except (LookupError, ValueError, AttributeError):
        usable = False
    if not usable:
        table.wrong(
            "order_number_format",
            f'a text around {{reference}}, such as "#{{reference}}", not {text!r}',
        )
    return text


def _fields(table: Table) -> dict[str, str]:
    fields = table.mapping("fields", lambda v, _: v)
    known = packaged_policy()["happy_returns"]["fields"]
    table.problems.extend(
        f"policy [happy_returns.fields] {name}: unknown field of ours"
        f"{hint(name, known) or '; one of ' + ', '.join(known)}"
        for name in fields
        if name not in known
    )
    table.problems.extend(
        f"policy [happy_returns.fields] {name}: missing; without it no return can be told apart"
        for name in ("return_id", "order_number")
        if name not in fields
    )
    return fields


def _linnworks(table: Table) -> LinnworksPolicy:
    policy = LinnworksPolicy(
        order_overlap=table.duration("order_overlap"),
        initial_window=table.duration("initial_window"),
        page_size=table.count("page_size", 1, 200),
        sources=table.texts("sources"),
        reason_category=table.text("reason_category"),
        exchange_source=table.text("exchange_source"),
        exchange_location=table.text("exchange_location"),
        exchange_postal_service=table.text("exchange_postal_service"),
    )
    if not policy.exchange_source:
        table.wrong("exchange_source", "a name that marks our replacement orders, such as RETURNS")
    table.done()
    return policy


def _gate(table: Table) -> GatePolicy | None:
    stock = table.choice("stock", Stage)
    if stock is not None and stock is not Stage.RECEIVED:
        table.wrong("stock", '"received": nothing else proves that goods are back')
    refund, exchange, returnless = (
        _evidence(table, k) for k in ("refund", "exchange", "returnless")
    )
    policy = None
    approval = table.flag("refund_requires_approval")
    by_dropoff = table.mapping(
        "refund_by_dropoff", lambda v, w: _proof(v, w, table.problems), by=fold
    )
    return_window = table.duration("return_window")
    act_from = table.day("act_from")
    if stock and refund and exchange and returnless:
        policy = GatePolicy(
            stock=stock,
            refund=refund,
            exchange=exchange,
            refund_by_dropoff=by_dropoff,
            refund_requires_approval=approval,
            returnless=returnless,
            return_window=return_window,
            act_from=act_from,
        )
    table.done()
    return policy


def _evidence(table: Table, key: str) -> Stage | None:
    text = table.text(key)
    return _proof(text, f"policy [{table.path}] {key}", table.problems) if text else None


def _proof(text: str, where: str, problems: list[str]) -> Stage | None:
    stage = one_of(text, Stage, where, problems)
    if stage in _NO_EVIDENCE:
        problems.append(
            f'{where}: "{stage}" is no evidence of goods handed over; use "received", '
            '"departed", "approved" or "dropped_off"'
        )
    return stage


def _exchange(table: Table) -> ExchangePolicy:
    exchange = ExchangePolicy(
        way=table.either("way", "create_orders", "rma"),
        check_stock=table.flag("check_stock"),
        wait_for_stock=table.duration("wait_for_stock"),
        instant_channels=frozenset(_channel(text) for text in table.texts("instant_channels")),
        instant_groups=frozenset(fold(text) for text in table.texts("instant_groups")),
        instant_window=table.duration("instant_window"),
        clearing_open=table.duration("clearing_open"),
    )
    table.done()
    return exchange


def _unmapped(table: Table) -> str:
    unmapped = table.either("unmapped", "hold", "quarantine")
    table.done()
    return unmapped


def _rules(table: Table) -> dict[Disposition, DispositionRule]:
    rules = {}
    for disposition in Disposition:
        row = table.table(disposition.value)
        rule = DispositionRule(
            disposition=disposition,
            effect=row.choice("stock", StockEffect) or StockEffect.NONE,
            location=row.text("location"),
            sellable=row.flag("sellable"),
            refund=row.either("refund", "allow", "hold"),
            role=row.text("role"),
        )
        if rule.role:
            _known_role(row, "role", rule.role)
        elif rule.effect is StockEffect.RESTOCK:
            row.wrong(
                "role", "missing; what is restocked has a ledger role, inventory.sellable say"
            )
        row.done()
        rules[disposition] = rule
    table.done()
    table.problems.extend(disposition_rules.rule_problems(rules))
    return rules


def _known_role(table: Table, key: str, role: str) -> None:
    base = role.partition(".")[0]
    if base not in ROLES:
        near = hint(base, ROLES) or f"; one of {', '.join(ROLES)}"
        table.wrong(key, f"{base!r} is no ledger role{near}")


def _refunds(table: Table, *, live: bool) -> RefundPolicy:
    executor = table.choice("executor", Executor) if "executor" in table.rest else None
    if live and "executor" not in table.known:
        table.wrong(
            "executor",
            "not declared, and live mode has no default: the wrong one pays twice. Set executor = "
            '"linnworks" (Linnworks sends the money) or executor = "happy_returns" (Happy Returns '
            "or the shop has paid).",
        )
    table.known.append("executor")
    policy = RefundPolicy(
        executor=executor,
        tolerance_minor=table.count("tolerance_minor"),
        max_batch_minor=table.count("max_batch_minor"),
        gateways=table.mapping("gateways", lambda v, _: v, by=_code),
    )
    table.done()
    return policy


def _ages(table: Table) -> AgePolicy:
    ages = AgePolicy(
        orphan_young=table.duration("orphan_young"),
        orphan_old=table.duration("orphan_old"),
        disposition_grace=table.duration("disposition_grace"),
        received_not_refunded=table.duration("received_not_refunded"),
        refunded_not_received=table.durations("refunded_not_received"),
        in_transit=table.duration("in_transit"),
        source_stale=table.duration("source_stale"),
        started_expires=table.duration("started_expires"),
    )
    if timedelta() < ages.orphan_old < ages.orphan_young:
        table.wrong("orphan_old", "at least as long as orphan_young")
    table.done()
    return ages


def _breakers(table: Table) -> BreakerPolicy:
    breakers = BreakerPolicy(table.count("max_units_per_run"), table.count("max_units_per_sku"))
    table.done()
    return breakers


def _finance(table: Table) -> FinancePolicy:
    finance = FinancePolicy(
        post_cost=table.flag("post_cost"),
        close_lag=table.duration("close_lag"),
        sealed_by=table.time("sealed_by"),
        cost_currency=table.either("cost_currency", "base", "order"),
        cost_missing=table.either("cost_missing", "wait", "skip"),
        split_discount=table.flag("split_discount"),
        logistics_cost_minor=table.count("logistics_cost_minor"),
        write_off_in_transit=table.duration("write_off_in_transit"),
        exempt_skus=table.texts("exempt_skus"),
        vat_rates=table.texts("vat_rates"),
        conversion=table.either("conversion", "multiply", "divide"),
        fx_vat=table.either("fx_vat", "sale", "period"),
        fx_rates=table.mapping("fx_rates", lambda v, w: _rate(v, w, table.problems)),
        confirm_within=table.duration("confirm_within"),
        rounding_per_line_minor=table.count("rounding_per_line_minor"),
        rounding_limit_minor=table.count("rounding_limit_minor"),
        units=_units(table.table("units")),
        accounts=table.mapping("accounts", lambda v, _: v),
    )
    for key in finance.fx_rates:
        currency, _, month = key.partition(".")
        if currency not in money.CURRENCIES or (month and not _MONTH.fullmatch(month)):
            table.wrong("fx_rates", f"{key!r}: a currency, or a currency and a month, EUR.2026-03")
    for rate in finance.vat_rates:
        if not _PER_CENT.fullmatch(rate):
            table.wrong("vat_rates", f'rates in per cent such as "20" or "17.5", not {rate!r}')
    accounts = Table({}, f"{table.path}.accounts", table.problems)
    for role in finance.accounts:
        _known_role(accounts, role, role)
    table.done()
    return finance


_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])")
_PER_CENT = re.compile(r"(?:0|[1-9][0-9]?)(?:\.[0-9]{0,1}[1-9])?")
_RATE = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,12})?")


def _rate(text: str, where: str, problems: list[str]) -> str | None:
    if _RATE.fullmatch(text) and text.strip("0."):
        return text
    problems.append(f'{where}: a rate above zero such as "0.8567", not {text!r}')
    return None


def _units(table: Table) -> dict[str, BooksUnit]:
    """The units of the books: each with its entity, its name and the channels it has."""
    units: dict[str, BooksUnit] = {}
    taken: dict[str, str] = {}
    for code, body in table.rest.items():
        row = Table(body, f"{table.path}.{code}", table.problems)
        if not _ENTITY.fullmatch(code):
            table.wrong(code, "two capital letters or digits, part of every batch number")
        unit = BooksUnit(
            code=code,
            entity=row.text("entity"),
            channel_group=row.text("channel_group"),
            channels=frozenset(_channel(text) for text in row.texts("channels")),
        )
        row.done()
        for channel in sorted(unit.channels):
            if channel in taken:
                row.wrong("channels", f"{channel!r} is {taken[channel]}'s already")
            taken[channel] = code
        units[code] = unit
    return units


def _channel(text: str) -> str:
    """A Linnworks source, or a source and a subsource after a slash, folded."""
    return "/".join(fold(part) for part in text.split("/", 1))


def _exports(table: Table) -> ExportPolicy:
    """What is known of a program is what the packaged policy has for it."""
    known = {
        name: keys for name, keys in packaged_policy()["exports"].items() if "currencies" in keys
    }
    targets = table.texts("targets")
    for target in targets:
        if target not in known:
            what = hint(target, known) or f"; one of {', '.join(known)}"
            table.wrong("targets", f"{target!r} is no target of ours{what}")
    names = table.mapping("account_names", lambda v, _: v)
    ledgers = {name: _ledger(table.table(name), keys) for name, keys in known.items()}
    table.done()
    return ExportPolicy(targets, names, ledgers)


def _ledger(table: Table, keys: Mapping[str, Any]) -> LedgerPolicy:
    ledger = LedgerPolicy(
        accounts=table.mapping("accounts", lambda v, _: v),
        tax_rates=table.mapping("tax_rates", lambda v, _: v),
        currencies=table.texts("currencies"),
        options={
            key: table.either(key, *_DATES) if key == "date_format" else table.text(key)
            for key, value in keys.items()
            if isinstance(value, str)
        },
    )
    for currency in ledger.currencies:
        if currency not in money.CURRENCIES:
            table.wrong("currencies", f"ISO 4217 codes such as GBP, not {currency!r}")
    table.done()
    return ledger


def _schedules(table: Table) -> SchedulePolicy:
    schedules = SchedulePolicy(*(_cron(table, key) for key in ("sync", "close", "reconcile")))
    table.done()
    return schedules


def _cron(table: Table, key: str) -> str:
    text = table.text(key)
    fields = text.split()
    if text and (len(fields) != 5 or not all(_CRON_FIELD.fullmatch(field) for field in fields)):
        table.wrong(key, f'a cron text of five fields such as "15 2 * * *", not {text!r}')
    return text


CHANNELS = ("slack", "teams", "email", "webhook")
"""Where alerts can go; each is set by a variable of the environment."""


def _alerts(table: Table) -> AlertPolicy:
    problems = table.problems
    alerts = AlertPolicy(
        quiet_from=table.time("quiet_from"),
        quiet_to=table.time("quiet_to"),
        digest_at=table.time("digest_at"),
        at_once=tuple(
            found
            for text in table.texts("at_once")
            if (found := one_of(text, Severity, f"policy [{table.path}] at_once", problems))
        ),
        in_full=table.count("in_full", 1, 40),
        routes=_by_owner(table, "routes", _channels),
        email_to=_by_owner(table, "email_to", _address),
        **{key: _link(table, key) for key in ("dagster_url", "queue_url", "docs_url")},
    )
    table.done()
    return alerts


def _by_owner(table: Table, key: str, read: Callable[[str, Table, str], V]) -> dict[Owner, V]:
    inner = table.table(key)
    found = {owner: read(inner.text(owner.value), inner, owner.value) for owner in Owner}
    inner.done()
    return {owner: value for owner, value in found.items() if value}


def _channels(text: str, table: Table, key: str) -> tuple[str, ...]:
    named = tuple(text.replace(",", " ").split())
    for name in named:
        if name not in CHANNELS:
            near = hint(name, CHANNELS) or f"; some of {', '.join(CHANNELS)}"
            table.wrong(key, f"{name!r} is no channel{near}")
    return named


def _address(text: str, table: Table, key: str) -> str:
    if text and not _ADDRESS.fullmatch(text):
        table.wrong(key, f"an e-mail address, not {text!r}")
    return text


def _link(table: Table, key: str) -> str:
    text = table.text(key).rstrip("/")
    if text and not text.startswith(("https://", "http://")):
        table.wrong(key, f"the beginning of a web address, such as https://..., not {text!r}")
    return text


def _owners(root: Table) -> dict[str, Owner]:
    problems = root.problems
    owners = root.mapping("owners", lambda v, w: one_of(v, Owner, w, problems))
    problems.extend(
        f"policy [owners] {code}: unknown exception code{hint(code, CATALOGUE)}"
        for code in owners
        if code not in CATALOGUE
    )
    return owners


def _sla(table: Table) -> dict[Severity, timedelta]:
    sla = {severity: table.duration(severity.value) for severity in Severity}
    table.done()
    return sla
