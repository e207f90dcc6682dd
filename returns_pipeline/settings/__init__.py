"""The environment, read once into frozen values and checked whole.

Here: names, defaults, and messages that say what is wrong, where and what to do; the
business rules come from ``policy_file``. Every problem is reported at once
(``SettingsError``). The environment is read nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from returns_pipeline.domain.policy import Policy
from returns_pipeline.settings.policy_file import (
    packaged_policy,
    parse_policy,
    policy_body,
    policy_hash,
    read_policy,
)
from returns_pipeline.settings.tables import one_of

__all__ = [
    "PROJECT",
    "AlertSettings",
    "HappyReturnsSettings",
    "LinnworksSettings",
    "Mode",
    "Settings",
    "SettingsError",
    "WebSettings",
    "database_url",
    "default_database_url",
    "is_loopback",
    "load",
    "packaged_policy",
    "parse_policy",
    "policy_body",
    "policy_hash",
]

PROJECT = Path(__file__).resolve().parent.parent.parent


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
class WebSettings:
    """Where people reach the page of exceptions, and what signs its sessions; "": not set."""

    url: str = ""
    secret: str = field(default="", repr=False)


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
    web: WebSettings = WebSettings()

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
    url = _Environment(environ).text("RETURNS_DATABASE_URL")
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
    env = _Environment(environ)
    url = database_url(environ)
    if not url.startswith(("sqlite://", "postgresql+psycopg://")):
        env.wrong(
            "RETURNS_DATABASE_URL",
            "must be an SQLAlchemy URL beginning with sqlite:/// or postgresql+psycopg://",
        )
    mode = one_of(env.text("RETURNS_MODE") or "shadow", Mode, "RETURNS_MODE", env.problems)
    now = env.instant("RETURNS_NOW")
    settle = env.number("RETURNS_SETTLE_SECONDS", 1800.0, most=604_800)
    source = env.text("RETURNS_POLICY")
    policy = read_policy(source, env.problems, live=mode is Mode.LIVE)
    happy_returns = _happy_returns(env, required=vendors)
    linnworks = _linnworks(env, required=vendors)
    alerts = _alerts(env)
    web = _web(env)
    if mode is Mode.LIVE and now is not None and not _only_this_machine(env):
        env.wrong(
            "RETURNS_NOW",
            "a set clock is for the sandbox and rehearsals; in live mode it is refused unless "
            "every vendor is on this machine. Unset it.",
        )
    if env.problems or policy is None:
        raise SettingsError(env.problems)
    return Settings(
        database_url=url,
        mode=mode or Mode.SHADOW,
        now=now,
        settle=timedelta(seconds=settle),
        policy=policy,
        policy_source=source or "packaged",
        happy_returns=happy_returns,
        linnworks=linnworks,
        alerts=alerts,
        webhook_secret=env.text("HAPPY_RETURNS_WEBHOOK_SECRET") or None,
        web=web,
    )


DEFAULT_HAPPY_RETURNS = "https://partner.happyreturns.com"
DEFAULT_LINNWORKS = "https://api.linnworks.net"
# Calls leave evenly spaced, so that a twentieth is margin enough; at less than 0.9 of 150 calls
# a minute a thousand returned orders would not be restocked within seven and a half minutes.
DEFAULT_RATE_SHARE = 0.95


# By name, not by range: what the transport takes for this machine.
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine.

    A name that merely looks like it (``127.evil.example``) is somebody else's.
    """
    try:
        return urlsplit(url).hostname in _THIS_MACHINE
    except ValueError:
        return False


def _only_this_machine(env: _Environment) -> bool:
    hosts = [
        env.text("HAPPY_RETURNS_BASE_URL") or DEFAULT_HAPPY_RETURNS,
        env.text("LINNWORKS_AUTH_URL") or DEFAULT_LINNWORKS,
    ]
    v2_url = env.text("LINNWORKS_V2_URL")
    return all(is_loopback(host) for host in (*hosts, v2_url or hosts[1]))


def _happy_returns(env: _Environment, *, required: bool) -> HappyReturnsSettings | None:
    names = ("HAPPY_RETURNS_API_KEY", "HAPPY_RETURNS_RETAILER_ID")
    rate = env.number("RETURNS_HAPPY_RETURNS_RATE", 0.5, most=1000)
    url = env.url("HAPPY_RETURNS_BASE_URL", DEFAULT_HAPPY_RETURNS)
    if not env.credentials(names, required=required):
        return None
    return HappyReturnsSettings(url, env.text(names[0]), env.text(names[1]), rate)


def _linnworks(env: _Environment, *, required: bool) -> LinnworksSettings | None:
    names = ("LINNWORKS_APPLICATION_ID", "LINNWORKS_APPLICATION_SECRET", "LINNWORKS_TOKEN")
    share = env.number("RETURNS_LINNWORKS_RATE_SHARE", DEFAULT_RATE_SHARE, most=1)
    url = env.url("LINNWORKS_AUTH_URL", DEFAULT_LINNWORKS)
    v2_url = env.url("LINNWORKS_V2_URL")
    if not env.credentials(names, required=required):
        return None
    application_id, secret, token = (env.text(name) for name in names)
    return LinnworksSettings(url, v2_url or None, application_id, secret, token, share)


def _alerts(env: _Environment) -> AlertSettings:
    smtp, to = env.text("RETURNS_ALERT_SMTP_URL"), env.text("RETURNS_ALERT_EMAIL_TO")
    if smtp and not smtp.startswith(("smtp://", "smtps://")):
        env.wrong("RETURNS_ALERT_SMTP_URL", "must begin with smtp:// or smtps://")
    if bool(smtp) != bool(to):
        missing = "RETURNS_ALERT_EMAIL_TO" if smtp else "RETURNS_ALERT_SMTP_URL"
        env.wrong(missing, "needed as well: alerts by e-mail take a server and an address")
    return AlertSettings(
        webhook_url=env.url("RETURNS_ALERT_WEBHOOK_URL") or None,
        slack_url=env.url("RETURNS_ALERT_SLACK_WEBHOOK_URL") or None,
        teams_url=env.url("RETURNS_ALERT_TEAMS_WEBHOOK_URL") or None,
        smtp_url=smtp or None,
        email_to=to or None,
    )


def _web(env: _Environment) -> WebSettings:
    secret = env.text("RETURNS_WEB_SECRET")
    if secret and len(secret) < 32:
        env.wrong("RETURNS_WEB_SECRET", "at least 32 characters, made by chance; or leave it unset")
    return WebSettings(url=env.url("RETURNS_WEB_URL"), secret=secret)


class _Environment:
    """Reads the environment's texts and collects what is wrong; never prints a secret."""

    def __init__(self, environ: Mapping[str, str] | None) -> None:
        self.values = os.environ if environ is None else environ  # noqa: TID251
        self.problems: list[str] = []

    def wrong(self, name: str, what: str) -> None:
        self.problems.append(f"{name}: {what}")

    def text(self, name: str) -> str:
        # A value pasted with its line break would break a header much later.
        return self.values.get(name, "").strip()

    def number(self, name: str, default: float, *, most: float) -> float:
        text = self.text(name)
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= most:
            self.wrong(name, f"a number from 0 to {most:g}, not {text!r}; unset it for {default:g}")
            return default
        return value

    def instant(self, name: str) -> datetime | None:
        text = self.text(name)
        if not text:
            return None
        try:
            at = datetime.fromisoformat(text)
            if at.tzinfo is not None:
                return at.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        self.wrong(
            name,
            f"an RFC 3339 instant with its offset, such as 2026-03-14T22:10:00Z, not {text!r}",
        )
        return None

    def url(self, name: str, default: str = "") -> str:
        url = (self.text(name) or default).rstrip("/")
        if not url:
            return url
        try:
            parts = urlsplit(url)
            usable = bool(parts.hostname) and parts.scheme in {"https", "http"}
            usable = usable and (parts.port is None or parts.port > 0)
        except ValueError:
            self.wrong(name, "not an http(s) URL")
            return url
        if not usable:
            self.wrong(name, "not an http(s) URL")
        elif "@" in parts.netloc:
            self.wrong(name, "must hold no user name or password")
        elif parts.scheme == "http" and not is_loopback(url):
            self.wrong(name, "must be https, unless the host is localhost, 127.0.0.1 or ::1")
        return url

    def credentials(self, names: tuple[str, ...], *, required: bool) -> bool:
        missing = [name for name in names if not self.text(name)]
        if required:
            for name in missing:
                self.wrong(
                    name,
                    "not set; it is needed to ask the vendor. Set it, or start the sandbox with "
                    "`returns-pipeline sandbox` and use the lines it prints.",
                )
        return not missing
