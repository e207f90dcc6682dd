"""Environment and ``policy.toml``, read once into frozen values and checked whole.

Here: names, defaults, and messages that say what is wrong, where and what to do. Every
problem is reported at once (``SettingsError``). Not here: the meaning of the rules
(``domain``). The environment is read nowhere else.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from returns_pipeline.domain import disposition as disposition_rules
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
    BreakerPolicy,
    FinancePolicy,
    GatePolicy,
    HappyReturnsPolicy,
    LinnworksPolicy,
    Merchant,
    Policy,
    RefundPolicy,
    SchedulePolicy,
    fold,
)

E = TypeVar("E", bound=StrEnum)

PROJECT = Path(__file__).resolve().parent.parent


class SettingsError(Exception):
    """The settings cannot be used; ``problems`` names each one with its remedy."""

    def __init__(self, problems: Iterable[str]) -> None:
        """Keep the problems; the text lists them, one a line."""
        self.problems = tuple(problems)
        super().__init__("\n".join(f"- {problem}" for problem in self.problems))


class Mode(StrEnum):
    """``shadow`` computes and records what it would post; ``live`` posts."""

    SHADOW = "shadow"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class HappyReturnsSettings:
    """Where Happy Returns is and who we are there."""

    base_url: str
    api_key: str = field(repr=False)
    retailer_id: str
    rate: float


@dataclass(frozen=True, slots=True)
class LinnworksSettings:
    """Where Linnworks is and who we are there."""

    auth_url: str
    v2_url: str | None
    application_id: str = field(repr=False)
    application_secret: str = field(repr=False)
    token: str = field(repr=False)
    rate_share: float


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Where alerts go; ``None`` where a channel is not set."""

    webhook_url: str | None = field(default=None, repr=False)
    slack_url: str | None = field(default=None, repr=False)
    teams_url: str | None = field(default=None, repr=False)
    smtp_url: str | None = field(default=None, repr=False)
    email_to: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the program is told from outside."""

    database_url: str = field(repr=False)
    mode: Mode
    now: datetime | None
    settle: timedelta
    policy: Policy
    policy_source: str
    happy_returns: HappyReturnsSettings | None
    linnworks: LinnworksSettings | None
    alerts: AlertSettings
    webhook_secret: str | None = field(default=None, repr=False)

    def clock(self) -> datetime:
        """The program's clock: ``RETURNS_NOW`` where set, else the time of day, UTC."""
        return self.now or datetime.now(UTC)  # noqa: TID251


def default_database_url(project: Path = PROJECT) -> str:
    """The SQLite file used where nothing else is set."""
    return f"sqlite:///{project / 'data' / 'returns.sqlite'}"


def database_url(environ: Mapping[str, str] | None = None) -> str:
    """``RETURNS_DATABASE_URL`` or the default, with the driver this program ships.

    SQLAlchemy reads a bare ``postgresql://`` differently from version to version; it is
    made ``postgresql+psycopg://``.
    """
    url = (os.environ if environ is None else environ).get("RETURNS_DATABASE_URL", "")
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url or default_database_url()


def load(environ: Mapping[str, str] | None = None, *, vendors: bool = True) -> Settings:
    """Read the environment and the policy.

    Args:
        environ: The environment; the process's own when not given.
        vendors: Whether the work to be done asks a vendor. When it does, missing
            credentials are problems too.

    Raises:
        SettingsError: With every problem found, each with its remedy.
    """
    env = os.environ if environ is None else environ
    problems: list[str] = []
    url = database_url(env)
    if not url.startswith(("sqlite://", "postgresql+psycopg://")):
        problems.append(
            "RETURNS_DATABASE_URL: must be an SQLAlchemy URL beginning with sqlite:/// or "
            "postgresql+psycopg://"
        )
    mode = _enum(env.get("RETURNS_MODE") or "shadow", Mode, "RETURNS_MODE", problems)
    now = _instant(env.get("RETURNS_NOW"), problems)
    settle = _number(env, "RETURNS_SETTLE_SECONDS", 1800.0, problems)
    policy, source = _policy(env.get("RETURNS_POLICY"), problems)
    happy_returns = _happy_returns(env, problems, required=vendors)
    linnworks = _linnworks(env, problems, required=vendors)
    if mode is Mode.LIVE:
        if policy is not None and policy.refunds.executor is None:
            problems.append(
                "policy [refunds] executor is not declared, and live mode has no default: the "
                'wrong one pays twice. Set executor = "linnworks" (Linnworks sends the money) '
                'or executor = "happy_returns" (Happy Returns or the shop has paid).'
            )
        if now is not None:
            hosts = [
                env.get("HAPPY_RETURNS_BASE_URL") or DEFAULT_HAPPY_RETURNS,
                env.get("LINNWORKS_AUTH_URL") or DEFAULT_LINNWORKS,
            ]
            if not all(is_loopback(host) for host in hosts):
                problems.append(
                    "RETURNS_NOW: a set clock is for the sandbox and rehearsals; in live mode "
                    "it is refused unless both vendors are on this machine. Unset it."
                )
    if problems or policy is None:
        raise SettingsError(problems)
    return Settings(
        database_url=url,
        mode=mode or Mode.SHADOW,
        now=now,
        settle=timedelta(seconds=settle),
        policy=policy,
        policy_source=source,
        happy_returns=happy_returns,
        linnworks=linnworks,
        alerts=AlertSettings(
            webhook_url=env.get("RETURNS_ALERT_WEBHOOK_URL"),
            slack_url=env.get("RETURNS_ALERT_SLACK_WEBHOOK_URL"),
            teams_url=env.get("RETURNS_ALERT_TEAMS_WEBHOOK_URL"),
            smtp_url=env.get("RETURNS_ALERT_SMTP_URL"),
            email_to=env.get("RETURNS_ALERT_EMAIL_TO"),
        ),
        webhook_secret=env.get("HAPPY_RETURNS_WEBHOOK_SECRET"),
    )


DEFAULT_HAPPY_RETURNS = "https://partner.happyreturns.com"
DEFAULT_LINNWORKS = "https://api.linnworks.net"


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def _happy_returns(
    env: Mapping[str, str], problems: list[str], *, required: bool
) -> HappyReturnsSettings | None:
    names = ("HAPPY_RETURNS_API_KEY", "HAPPY_RETURNS_RETAILER_ID")
    rate = _number(env, "RETURNS_HAPPY_RETURNS_RATE", 0.5, problems)
    url = _url(env, "HAPPY_RETURNS_BASE_URL", DEFAULT_HAPPY_RETURNS, problems)
    if not _credentials(env, names, problems, required=required):
        return None
    return HappyReturnsSettings(url, env[names[0]], env[names[1]], rate)


def _linnworks(
    env: Mapping[str, str], problems: list[str], *, required: bool
) -> LinnworksSettings | None:
    names = ("LINNWORKS_APPLICATION_ID", "LINNWORKS_APPLICATION_SECRET", "LINNWORKS_TOKEN")
    share = _number(env, "RETURNS_LINNWORKS_RATE_SHARE", 0.8, problems)
    if share > 1:
        problems.append("RETURNS_LINNWORKS_RATE_SHARE: a share between 0 and 1")
    url = _url(env, "LINNWORKS_AUTH_URL", DEFAULT_LINNWORKS, problems)
    v2_url = env.get("LINNWORKS_V2_URL")
    if v2_url:
        v2_url = _url(env, "LINNWORKS_V2_URL", "", problems)
    if not _credentials(env, names, problems, required=required):
        return None
    return LinnworksSettings(url, v2_url or None, *(env[name] for name in names), rate_share=share)


def _credentials(
    env: Mapping[str, str], names: tuple[str, ...], problems: list[str], *, required: bool
) -> bool:
    missing = [name for name in names if not env.get(name)]
    if missing and required:
        problems.extend(
            f"{name} is not set: it is needed to ask the vendor. Set it, or start the "
            "sandbox with `returns-pipeline sandbox` and use the lines it prints."
            for name in missing
        )
    return not missing


def _url(env: Mapping[str, str], name: str, default: str, problems: list[str]) -> str:
    url = (env.get(name) or default).rstrip("/")
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in {"https", "http"}:
        problems.append(f"{name}: not an http(s) URL")
    elif parts.scheme == "http" and not is_loopback(url):
        problems.append(f"{name}: must be https, unless the host is this machine")
    return url


def _number(env: Mapping[str, str], name: str, default: float, problems: list[str]) -> float:
    text = env.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        problems.append(f"{name}: a number of 0 or more, not {text!r}")
        return default
    return value


def _instant(text: str | None, problems: list[str]) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        problems.append(
            f"RETURNS_NOW: an RFC 3339 instant with its offset, such as 2026-03-14T22:10:00Z, "
            f"not {text!r}"
        )
        return None
    return at.astimezone(UTC)


def _enum(text: str, kind: type[E], where: str, problems: list[str]) -> E | None:
    try:
        return kind(text)
    except ValueError:
        options = ", ".join(f'"{member.value}"' for member in kind)
        problems.append(f"{where}: one of {options}, not {text!r}")
        return None


# --- the policy file --------------------------------------------------------------


def packaged_policy() -> dict[str, Any]:
    """The policy file that ships with the program."""
    text = resources.files("returns_pipeline").joinpath("policy.toml").read_text("utf-8")
    return tomllib.loads(text)


def _policy(path: str | None, problems: list[str]) -> tuple[Policy | None, str]:
    document = packaged_policy()
    if path:
        try:
            own = tomllib.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            problems.append(f"RETURNS_POLICY: cannot read {path}: {error.strerror}")
            return None, path
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            problems.append(f"RETURNS_POLICY: {path} is not TOML: {error}")
            return None, path
        document = _overlay(document, own)
    return parse_policy(document, problems), path or "packaged"


def _overlay(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        known = merged.get(key)
        nested = isinstance(known, dict) and isinstance(value, dict)
        merged[key] = _overlay(known, value) if nested else value
    return merged


class _Table:
    """Reads one table of the policy and says what is wrong with it."""

    def __init__(self, table: object, path: str, problems: list[str]) -> None:
        self.path = path
        self.problems = problems
        if not isinstance(table, dict):
            problems.append(f"policy [{path}]: a table is expected")
            table = {}
        self.rest: dict[str, Any] = dict(table)
        self.known: list[str] = []

    def _take(self, key: str, kind: type | tuple[type, ...], what: str) -> Any:
        self.known.append(key)
        value = self.rest.pop(key, None)
        # bool is an int in Python; a policy's true is not a number.
        wrong_bool = isinstance(value, bool) and kind is not bool
        if value is None:
            self.problems.append(f"policy [{self.path}] {key}: missing; {what}")
        elif wrong_bool or not isinstance(value, kind):
            self.problems.append(f"policy [{self.path}] {key}: {what}, not {value!r}")
        else:
            return value
        return None

    def text(self, key: str) -> str:
        return self._take(key, str, "a text") or ""

    def flag(self, key: str) -> bool:
        return bool(self._take(key, bool, "true or false"))

    def count(self, key: str) -> int:
        value = self._take(key, int, "a whole number of 0 or more")
        if isinstance(value, int) and value < 0:
            self.problems.append(f"policy [{self.path}] {key}: 0 or more, not {value}")
        return value or 0

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._take(key, list, "a list of texts") or []
        return tuple(str(item) for item in value)

    def duration(self, key: str) -> timedelta:
        value = self._take(key, str, 'a duration such as "48h"')
        return self._duration(key, value) if value is not None else timedelta()

    def durations(self, key: str) -> tuple[timedelta, ...]:
        value = self._take(key, list, 'a list of durations such as ["7d", "14d"]') or []
        return tuple(sorted(self._duration(key, str(item)) for item in value))

    def _duration(self, key: str, text: str) -> timedelta:
        units = {"m": 60, "h": 3600, "d": 86400}
        if text and text[-1] in units and text[:-1].isdigit():
            return timedelta(seconds=int(text[:-1]) * units[text[-1]])
        self.problems.append(
            f'policy [{self.path}] {key}: a duration such as "30m", "48h" or "7d", not {text!r}'
        )
        return timedelta()

    def choice(self, key: str, kind: type[E]) -> E | None:
        value = self._take(key, str, "a text")
        where = f"policy [{self.path}] {key}"
        return _enum(value, kind, where, self.problems) if value is not None else None

    def table(self, key: str) -> _Table:
        self.known.append(key)
        return _Table(self.rest.pop(key, {}), f"{self.path}.{key}".lstrip("."), self.problems)

    def mapping(self, key: str, read: Callable[[str, str], Any]) -> dict[str, Any]:
        """A table of free keys: each value is read by ``read(value, where)``."""
        inner = self.table(key)
        result = {}
        for name, value in inner.rest.items():
            where = f"policy [{inner.path}] {name}"
            if not isinstance(value, str):
                self.problems.append(f"{where}: a text, not {value!r}")
                continue
            if value == "":
                continue  # an own policy takes a packaged row away by emptying it
            parsed = read(value, where)
            if parsed is not None:
                result[name] = parsed
        return result

    def done(self) -> None:
        for key in self.rest:
            near = difflib.get_close_matches(key, self.known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            place = f"[{self.path}] {key}" if self.path else f"[{key}]"
            self.problems.append(f"policy {place}: unknown key{hint}")


def parse_policy(document: Mapping[str, Any], problems: list[str]) -> Policy | None:
    """Check a policy document whole and freeze it.

    Args:
        document: The parsed TOML, packaged defaults already laid under it.
        problems: Receives one message for each problem, with table and key.

    Returns:
        The policy, or ``None`` when there is any problem.
    """
    before = len(problems)
    root = _Table(dict(document), "", problems)
    merchant = _merchant(root.table("merchant"))
    happy_returns = _happy_returns_policy(root.table("happy_returns"))
    linnworks = _linnworks_policy(root.table("linnworks"))
    gate = _gate(root.table("gate"))
    unmapped_table = root.table("disposition")
    unmapped = unmapped_table.text("unmapped")
    if unmapped not in {"hold", "quarantine"}:
        problems.append('policy [disposition] unmapped: "hold" or "quarantine"')
    unmapped_table.done()
    codes = root.mapping("dispositions", lambda v, w: _enum(v, Disposition, w, problems))
    rules = _rules(root.table("locations"))
    refunds = _refunds(root.table("refunds"))
    ages = _ages(root.table("ages"))
    table = root.table("breakers")
    breakers = BreakerPolicy(table.count("max_units_per_run"), table.count("max_units_per_sku"))
    table.done()
    table = root.table("finance")
    finance = FinancePolicy(
        post_cost=table.flag("post_cost"),
        close_lag=table.duration("close_lag"),
        accounts=table.mapping("accounts", lambda v, _: v),
    )
    table.done()
    table = root.table("schedules")
    schedules = SchedulePolicy(table.text("sync"), table.text("close"), table.text("reconcile"))
    table.done()
    owners = root.mapping("owners", lambda v, w: _enum(v, Owner, w, problems))
    table = root.table("sla")
    sla = {severity: table.duration(severity.value) for severity in Severity}
    table.done()
    root.done()
    if len(problems) > before or gate is None:
        return None
    policy = Policy(
        merchant=merchant,
        happy_returns=happy_returns,
        linnworks=linnworks,
        gate=gate,
        codes={fold(code): canonical for code, canonical in codes.items()},
        unmapped=unmapped,
        rules=rules,
        refunds=refunds,
        ages=ages,
        breakers=breakers,
        finance=finance,
        schedules=schedules,
        owners=owners,
        sla=sla,
        hash=policy_hash(document),
    )
    problems.extend(disposition_rules.policy_problems(policy))
    return policy if len(problems) == before else None


def policy_hash(document: Mapping[str, Any]) -> str:
    """SHA-256 of the policy's canonical form; comments and order do not count."""
    return hashlib.sha256(policy_body(document).encode()).hexdigest()


def policy_body(document: Mapping[str, Any]) -> str:
    """The policy's canonical form."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)


def _merchant(table: _Table) -> Merchant:
    merchant = Merchant(
        table.text("name"), table.text("time_zone"), table.text("currency"), table.text("entity")
    )
    try:
        ZoneInfo(merchant.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        table.problems.append(
            f"policy [merchant] time_zone: an IANA zone such as Europe/London, "
            f"not {merchant.time_zone!r}"
        )
    if not (len(merchant.currency) == 3 and merchant.currency.isupper()):
        table.problems.append("policy [merchant] currency: an ISO 4217 code such as GBP")
    if not (len(merchant.entity) == 2 and merchant.entity.isalnum()):
        table.problems.append("policy [merchant] entity: two letters or digits, such as UK")
    table.done()
    return merchant


def _happy_returns_policy(table: _Table) -> HappyReturnsPolicy:
    problems = table.problems
    statuses = table.mapping("statuses", lambda v, w: _enum(v, Stage, w, problems))
    refund_types = table.mapping("refund_types", lambda v, w: _enum(v, RefundType, w, problems))
    fields = table.mapping("fields", lambda v, _: v)
    known = packaged_policy()["happy_returns"]["fields"]
    problems.extend(
        f"policy [happy_returns.fields] {name}: unknown field of ours; one of {', '.join(known)}"
        for name in fields
        if name not in known
    )
    order_number_format = table.text("order_number_format")
    if "{reference}" not in order_number_format:
        problems.append(
            "policy [happy_returns] order_number_format: must hold {reference}, "
            f"such as #{{reference}}, not {order_number_format!r}"
        )
    policy = HappyReturnsPolicy(
        lookups_per_run=table.count("lookups_per_run"),
        order_number_format=order_number_format,
        return_window=table.duration("return_window"),
        recheck_open=table.duration("recheck_open"),
        recheck_shipped=table.duration("recheck_shipped"),
        shipment_overlap=table.duration("shipment_overlap"),
        initial_window=table.duration("initial_window"),
        page_size=table.count("page_size"),
        fields=fields,
        statuses={fold(code): stage for code, stage in statuses.items()},
        refund_types={fold(code): kind for code, kind in refund_types.items()},
    )
    if not 1 <= policy.page_size <= 1000:
        problems.append("policy [happy_returns] page_size: 1 to 1000")
    table.done()
    return policy


def _linnworks_policy(table: _Table) -> LinnworksPolicy:
    policy = LinnworksPolicy(
        order_overlap=table.duration("order_overlap"),
        initial_window=table.duration("initial_window"),
        page_size=table.count("page_size"),
        sources=table.texts("sources"),
        reason_category=table.text("reason_category"),
        exchange_source=table.text("exchange_source"),
        exchange_location=table.text("exchange_location"),
        exchange_postal_service=table.text("exchange_postal_service"),
    )
    if not 1 <= policy.page_size <= 200:
        table.problems.append("policy [linnworks] page_size: 1 to 200")
    table.done()
    return policy


def _gate(table: _Table) -> GatePolicy | None:
    problems = table.problems
    stock, refund, exchange = (table.choice(k, Stage) for k in ("stock", "refund", "exchange"))
    approval = table.flag("refund_requires_approval")
    returnless = table.choice("returnless", Stage)
    by_dropoff = table.mapping("refund_by_dropoff", lambda v, w: _enum(v, Stage, w, problems))
    table.done()
    if stock is not None and stock is not Stage.RECEIVED:
        problems.append('policy [gate] stock: "received": nothing else proves that goods are back')
    if stock is None or refund is None or exchange is None or returnless is None:
        return None
    return GatePolicy(
        stock=stock,
        refund=refund,
        exchange=exchange,
        refund_by_dropoff={fold(method): stage for method, stage in by_dropoff.items()},
        refund_requires_approval=approval,
        returnless=returnless,
    )


def _rules(table: _Table) -> dict[Disposition, DispositionRule]:
    rules = {}
    for disposition in Disposition:
        row = table.table(disposition.value)
        effect = row.choice("stock", StockEffect)
        refund = row.text("refund")
        if refund not in {"allow", "hold"}:
            row.problems.append(f'policy [{row.path}] refund: "allow" or "hold", not {refund!r}')
        rule = DispositionRule(
            disposition=disposition,
            effect=effect or StockEffect.NONE,
            location=row.text("location"),
            sellable=row.flag("sellable"),
            refund=refund,
            role=row.text("role"),
            bin=row.text("bin") if "bin" in row.rest else "",
        )
        row.done()
        rules[disposition] = rule
    table.done()
    return rules


def _refunds(table: _Table) -> RefundPolicy:
    executor = table.choice("executor", Executor) if "executor" in table.rest else None
    table.known.append("executor")
    gateways = table.mapping("gateways", lambda v, _: v)
    policy = RefundPolicy(
        executor=executor,
        tolerance_minor=table.count("tolerance_minor"),
        max_batch_minor=table.count("max_batch_minor"),
        gateways={name if name == "*" else fold(name): value for name, value in gateways.items()},
    )
    table.done()
    return policy


def _ages(table: _Table) -> AgePolicy:
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
    table.done()
    return ages
