"""What people are told of without asking: notices, when each may leave, and how they are worded.

Pure: a notice is made from a fact (a check that began to fail, a failed run, an exception
that opened or is overdue, a vendor nobody hears of), leaves at once or after the quiet
hours, and joins the others of its owner in one message. Finding the facts and keeping what
was sent is ``steps.alerts``'s; sending is ``clients.alerts``'s.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from returns_pipeline.domain import money
from returns_pipeline.domain.calendar import at_local_time, business_date
from returns_pipeline.domain.model import Owner, Severity
from returns_pipeline.domain.policy import AlertPolicy


class Kind(StrEnum):
    """What a notice tells of."""

    CHECK_FAILED = "check_failed"
    CHECK_RECOVERED = "check_recovered"
    RUN_FAILED = "run_failed"
    EXCEPTION_OPENED = "exception_opened"
    EXCEPTION_OVERDUE = "exception_overdue"
    SOURCE_SILENT = "source_silent"
    SOURCE_HEARD = "source_heard"
    DIGEST = "digest"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing somebody is told once.

    ``key`` is what it is told once of. ``amount_minor`` is the money at stake in
    ``currency`` (0 and empty where there is none); ``at`` is when it came to be, UTC.
    ``link`` leads to the screen, ``runbook`` to what to do.
    """

    key: str
    kind: Kind
    owner: Owner
    severity: Severity
    title: str
    what: str
    remedy: str
    at: datetime
    amount_minor: int = 0
    currency: str = ""
    units: int = 0
    link: str = ""
    runbook: str = ""

    @property
    def stake(self) -> str:
        """What is at stake, for people; empty where nothing is."""
        parts = []
        if self.amount_minor and self.currency:
            parts.append(f"{money.format_minor(self.amount_minor, self.currency)} {self.currency}")
        if self.units:
            parts.append(f"{self.units} unit{'s' if self.units > 1 else ''}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Message:
    """What one owner is told at once: the gravest first, so many of them in full."""

    owner: Owner
    severity: Severity
    subject: str
    notices: tuple[Notice, ...]
    more: int = 0

    @property
    def text(self) -> str:
        """The message as plain text."""
        parts = [self.subject, ""]
        for one in self.notices:
            parts.append(f"[{one.severity}] {one.title}")
            parts.append(f"  {one.what}")
            if one.stake:
                parts.append(f"  At stake: {one.stake}")
            if one.remedy:
                parts.append(f"  What to do: {one.remedy}")
            parts += [f"  {link}" for link in (one.link, one.runbook) if link]
            parts.append("")
        if self.more:
            parts.append(self.rest)
        return "\n".join(parts).rstrip() + "\n"

    @property
    def rest(self) -> str:
        """What is said of the notices that are not shown in full."""
        return f"and {self.more} more: see the exception queue" if self.more else ""


def leaves_at(
    kind: Kind, severity: Severity, now: datetime, policy: AlertPolicy, zone: str
) -> datetime:
    """When a notice may leave: now, or when the quiet hours end.

    What is S1 never waits. Digests have an hour of their own.
    """
    if severity is Severity.S1 or kind in {Kind.DIGEST, Kind.TEST}:
        return now
    return quiet_until(now, policy, zone) or now


def quiet_until(now: datetime, policy: AlertPolicy, zone: str) -> datetime | None:
    """The end of the quiet hours ``now`` is in, UTC; ``None`` outside them."""
    begin, end = policy.quiet_from, policy.quiet_to
    if begin == end:
        return None
    today = business_date(now, zone)
    # A span may begin yesterday evening and end this morning, or lie within a day.
    for day in (today - timedelta(days=1), today):
        starts = at_local_time(day, begin, zone)
        ends_on = day if end > begin else day + timedelta(days=1)
        ends = at_local_time(ends_on, end, zone)
        if starts <= now < ends:
            return ends
    return None


def digest_due(now: datetime, policy: AlertPolicy, zone: str) -> datetime | None:
    """The instant of today's digest once it has come, else ``None``."""
    at = at_local_time(business_date(now, zone), policy.digest_at, zone)
    return at if now >= at else None


def tells_at_once(severity: Severity, policy: AlertPolicy) -> bool:
    """Whether an exception of this severity is told of when it opens, not only in the digest."""
    return severity in policy.at_once


def grouped(notices: Iterable[Notice]) -> list[list[Notice]]:
    """Notices by the message they go into: an owner's in one, digests and trials alone."""
    groups: dict[tuple[Owner, str], list[Notice]] = defaultdict(list)
    for one in notices:
        alone = one.key if one.kind in {Kind.DIGEST, Kind.TEST} else ""
        groups[one.owner, alone].append(one)
    return [groups[key] for key in sorted(groups)]


def compose(notices: Sequence[Notice], *, in_full: int) -> Message:
    """One owner's message.

    Args:
        notices: One group of ``grouped``, in any order.
        in_full: How many are shown in full: the gravest, then the dearest.
    """
    ranked = sorted(notices, key=_rank)
    return Message(
        owner=ranked[0].owner,
        severity=ranked[0].severity,
        subject=_subject(ranked[0].owner, ranked),
        notices=tuple(ranked[:in_full]),
        more=max(0, len(ranked) - in_full),
    )


def _rank(one: Notice) -> tuple[str, int, datetime, str]:
    return (one.severity, -one.amount_minor, one.at, one.key)


_HEADINGS = (
    (Kind.RUN_FAILED, "failed run"),
    (Kind.CHECK_FAILED, "failed check"),
    (Kind.SOURCE_SILENT, "silent source"),
    (Kind.EXCEPTION_OPENED, "new exception"),
    (Kind.EXCEPTION_OVERDUE, "overdue exception"),
    (Kind.CHECK_RECOVERED, "recovered check"),
    (Kind.SOURCE_HEARD, "source heard again"),
)


def _subject(owner: Owner, ranked: Sequence[Notice]) -> str:
    if len(ranked) == 1:
        one = ranked[0]
        return f"{owner}: {one.title}" + (f" ({one.stake})" if one.stake else "")
    counts = Counter(one.kind for one in ranked)
    parts = [
        f"{counts[kind]} {name}{'s' if counts[kind] > 1 and not name.endswith('again') else ''}"
        for kind, name in _HEADINGS
        if counts[kind]
    ]
    money_told = _sums(ranked)
    return f"{owner}: {', '.join(parts)}" + (f" ({money_told})" if money_told else "")


def _sums(notices: Iterable[Notice]) -> str:
    sums: Counter[str] = Counter()
    for one in notices:
        if one.currency:
            sums[one.currency] += one.amount_minor
    return ", ".join(
        f"{money.format_minor(minor, currency)} {currency}"
        for currency, minor in sorted(sums.items())
        if minor
    )


# --- the daily digest -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """An exception as the digest counts it; instants UTC."""

    code: str
    key: str
    title: str
    owner: Owner
    severity: Severity
    message: str
    opened_at: datetime
    due_at: datetime
    amount_minor: int
    currency: str
    units: int


def digest(
    owner: Owner,
    standing: Sequence[Standing],
    *,
    closed: int,
    since: datetime,
    at: datetime,
    link: str,
    zone: str,
) -> Notice | None:
    """One owner's day: what is new, overdue, closed by itself, and the five dearest.

    Args:
        owner: Whose.
        standing: Every open exception of theirs, of whatever currency.
        closed: How many of theirs have closed since.
        since: The last digest's instant.
        at: This one's.
        link: To the queue.
        zone: The merchant's.

    Returns:
        ``None`` when nothing stands open and nothing was closed: no news is not sent.
    """
    if not standing and not closed:
        return None
    new = sum(one.opened_at > since for one in standing)
    overdue = [one for one in standing if one.due_at <= at]
    head = f"{len(standing)} open: {new} new, {len(overdue)} overdue; {closed} closed since"
    lines = [head]
    # Amounts of several currencies do not compare: each is ranked among its own.
    ranked = sorted(standing, key=lambda one: (-one.amount_minor, one.opened_at, one.key))[:5]
    for one in ranked:
        stake = (
            f"{money.format_minor(one.amount_minor, one.currency)} {one.currency}"
            if one.currency and one.amount_minor
            else f"{one.units} unit{'s' if one.units != 1 else ''}"
        )
        days = (at - one.opened_at).days
        age = f"{days} day{'s' if days != 1 else ''}" if days else "today"
        late = ", overdue" if one.due_at <= at else ""
        lines.append(f"{one.severity} {one.title}, {stake}, {age}{late}: {one.message}")
    day = business_date(at, zone)
    gravest = min((one.severity for one in standing), default=Severity.S4)
    return Notice(
        key=f"digest:{owner}:{day}",
        kind=Kind.DIGEST,
        owner=owner,
        severity=gravest,
        title=f"Digest of {day:%A, %d %B %Y}",
        what="\n  ".join(lines),
        remedy="the overdue first, then by money" if standing else "",
        at=at,
        link=link,
    )
