"""Who is told what, when, in one message; and each owner's digest."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest

from returns_pipeline.domain import alerts
from returns_pipeline.domain.alerts import Kind, Notice, Standing
from returns_pipeline.domain.model import Owner, Severity
from returns_pipeline_tests.domain.build import policy

ZONE = "Europe/London"
POLICY = policy().alerts
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def notice(key: str = "k", **values: object) -> Notice:
    row: dict[str, object] = {
        "kind": Kind.EXCEPTION_OPENED,
        "owner": Owner.CX,
        "severity": Severity.S2,
        "title": "Orphan return (order #1)",
        "what": "no order",
        "remedy": "pick one",
        "at": NOON,
    }
    return Notice(key=key, **{**row, **values})  # type: ignore[arg-type]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- quiet hours ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "leaves"),
    [
        ("2026-11-24T12:00", "2026-11-24T12:00"),
        ("2026-11-24T19:59", "2026-11-24T19:59"),
        ("2026-11-24T20:00", "2026-11-25T07:00"),
        ("2026-11-24T23:30", "2026-11-25T07:00"),
        ("2026-11-25T06:59", "2026-11-25T07:00"),
        ("2026-11-25T07:00", "2026-11-25T07:00"),
        # Summer: seven o'clock in London is six, UTC.
        ("2026-07-01T19:30", "2026-07-02T06:00"),
        # The night the clocks go back has an hour more: quiet from 19:00 to 07:00 UTC.
        ("2026-10-24T19:00", "2026-10-25T07:00"),
        ("2026-10-25T06:30", "2026-10-25T07:00"),
        # The night they go forward has one less.
        ("2026-03-28T20:00", "2026-03-29T06:00"),
    ],
)
def test_in_the_quiet_hours_a_notice_waits_for_their_end(now: str, leaves: str) -> None:
    found = alerts.leaves_at(Kind.EXCEPTION_OPENED, Severity.S2, at(now), POLICY, ZONE)
    assert found == at(leaves)


def test_what_is_s1_never_waits_and_a_digest_has_its_own_hour() -> None:
    night = at("2026-11-24T23:00")
    for kind, severity in ((Kind.SOURCE_SILENT, Severity.S1), (Kind.DIGEST, Severity.S3)):
        assert alerts.leaves_at(kind, severity, night, POLICY, ZONE) == night


def test_quiet_hours_may_lie_within_a_day_or_not_be_at_all() -> None:
    siesta = policy(alerts={"quiet_from": time(13), "quiet_to": time(15)}).alerts
    assert alerts.quiet_until(at("2026-11-24T14:00"), siesta, ZONE) == at("2026-11-24T15:00")
    assert alerts.quiet_until(at("2026-11-24T15:00"), siesta, ZONE) is None
    none = policy(alerts={"quiet_from": time(0), "quiet_to": time(0)}).alerts
    assert alerts.quiet_until(at("2026-11-24T00:00"), none, ZONE) is None


# --- messages ---------------------------------------------------------------------


def test_notices_of_one_owner_make_one_message_the_gravest_and_dearest_first() -> None:
    found = alerts.grouped(
        [
            notice("a", amount_minor=500, currency="GBP"),
            notice("b", amount_minor=12_000, currency="GBP"),
            notice("c", severity=Severity.S1, kind=Kind.CHECK_FAILED),
            notice("d", owner=Owner.FINANCE),
            notice("e", kind=Kind.DIGEST),
        ]
    )
    assert [[one.key for one in group] for group in found] == [["a", "b", "c"], ["e"], ["d"]]
    message = alerts.compose(found[0], in_full=2)
    assert [one.key for one in message.notices] == ["c", "b"]
    assert message.severity is Severity.S1
    assert message.more == 1
    assert message.subject == "CX: 1 failed check, 2 new exceptions (125.00 GBP)"
    assert "and 1 more" in message.text


def test_a_single_notice_is_its_own_subject_and_says_everything() -> None:
    one = notice(
        amount_minor=1999, currency="GBP", units=2, link="https://q/1", runbook="docs/runbook.md#x"
    )
    message = alerts.compose([one], in_full=10)
    assert message.subject == "CX: Orphan return (order #1) (19.99 GBP, 2 units)"
    for part in ("[S2]", "no order", "At stake: 19.99 GBP, 2 units", "What to do: pick one"):
        assert part in message.text
    assert "https://q/1" in message.text
    assert "docs/runbook.md#x" in message.text
    assert not message.rest


def test_sums_of_two_currencies_are_never_added() -> None:
    message = alerts.compose(
        [
            notice("a", amount_minor=500, currency="GBP"),
            notice("b", amount_minor=700, currency="EUR"),
        ],
        in_full=10,
    )
    assert message.subject.endswith("(7.00 EUR, 5.00 GBP)")


# --- digests ----------------------------------------------------------------------


def standing(key: str, *, days: int = 0, amount: int = 0, due: int = 1) -> Standing:
    opened = NOON - timedelta(days=days)
    return Standing(
        code="ORPHAN_RETURN",
        key=key,
        title="Orphan return",
        owner=Owner.CX,
        severity=Severity.S2,
        message=f"order {key}",
        opened_at=opened,
        due_at=NOON + timedelta(days=due),
        amount_minor=amount,
        currency="GBP" if amount else "",
        units=1,
    )


def digest(*found: Standing, closed: int = 0) -> Notice | None:
    since = NOON - timedelta(days=1)
    return alerts.digest(
        Owner.CX, found, closed=closed, since=since, at=NOON, link="https://q", zone=ZONE
    )


def test_a_digest_counts_and_shows_the_five_dearest() -> None:
    found = digest(
        *(standing(f"#{n}", days=n, amount=n * 100) for n in range(1, 8)),
        standing("#late", days=9, due=-1),
        standing("#new"),
        closed=3,
    )
    assert found is not None
    head, *lines = found.what.splitlines()
    assert head == "9 open: 1 new, 1 overdue; 3 closed since"
    assert [line.strip().split(":")[1] for line in lines] == [
        " order #7", " order #6", " order #5", " order #4", " order #3",
    ]  # fmt: skip
    assert "7.00 GBP, 7 days" in lines[0]
    assert found.key == "digest:CX:2026-11-24"
    assert found.title == "Digest of Tuesday, 24 November 2026"


def test_an_overdue_task_is_named_so_and_nothing_at_all_is_no_digest() -> None:
    late = digest(standing("#late", days=9, due=-1))
    assert late is not None
    assert "1 unit, 9 days, overdue: order #late" in late.what
    assert digest() is None
    quiet = digest(closed=2)
    assert quiet is not None
    assert quiet.what == "0 open: 0 new, 0 overdue; 2 closed since"


def test_the_digest_is_due_from_its_hour_on() -> None:
    assert alerts.digest_due(at("2026-11-24T07:59"), POLICY, ZONE) is None
    assert alerts.digest_due(at("2026-11-24T08:00"), POLICY, ZONE) == at("2026-11-24T08:00")
    assert alerts.digest_due(at("2026-07-01T07:30"), POLICY, ZONE) == at("2026-07-01T07:00")
