"""From exceptions and silent sources to messages: once each, after the quiet hours, until taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline import settings
from returns_pipeline.clients.alerts import Envelope, NotDelivered
from returns_pipeline.steps import alerts
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.alerts import receivers
from returns_pipeline_tests.defs import seed

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SOURCE = "linnworks.orders"


class Desk:
    """A shop whose alerts go to one channel, or to several, at an instant a test sets."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.policy = folder / "policy.toml"
        self.policy.write_text("")
        self.now = NOON
        self.environ = {"RETURNS_ALERT_WEBHOOK_URL": "http://127.0.0.1:9/hook"}
        self.sent: list[tuple[str, Envelope]] = []
        self.refusing: set[str] = set()
        with self.runtime() as rt:
            self.engine = rt.engine

    def runtime(self) -> Runtime:
        environ = {
            "RETURNS_DATABASE_URL": self.url,
            "RETURNS_NOW": self.now.isoformat(),
            "RETURNS_POLICY": str(self.policy),
            **self.environ,
        }
        return Runtime(settings.load(environ, vendors=False), run_id="test")

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)

    def tick(self) -> list[Envelope]:
        """What was taken by the channels in one tick."""
        before = len(self.sent)

        def channel(name: str) -> alerts.Send:
            def send(_address: str, envelope: Envelope) -> None:
                if name in self.refusing:
                    raise NotDelivered("refused with status 500")
                self.sent.append((name, envelope))

            return send

        with self.runtime() as rt:
            alerts.collect(rt)
            alerts.compose(rt)
            self.counts = alerts.deliver(
                rt, {name: channel(name) for name in ("slack", "teams", "email", "webhook")}
            )
        return [envelope for _, envelope in self.sent[before:]]

    def subjects(self) -> list[str]:
        return [envelope.message.subject for envelope in self.tick()]

    def opened(self, **values: Any) -> int:
        """An exception in the queue; its number."""
        row = {
            "code": "ORPHAN_RETURN",
            "key": "#1",
            "owner": "CX",
            "severity": "S2",
            "status": "open",
            "message": "no order #1",
            "amount_minor": 0,
            "unit_keys": '["u1"]',
            "return_ids": "[]",
            "order_numbers": '["#1"]',
            "opened_at": self.now,
            "due_at": self.now + timedelta(days=1),
            "last_seen_at": self.now,
            "occurrences": 1,
        }
        with self.engine.begin() as connection:
            seed.insert(connection, t.exceptions, **{**row, **values})
            return int(connection.execute(sa.select(sa.func.max(t.exceptions.c.id))).scalar_one())

    def change(self, number: int, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(t.exceptions).where(t.exceptions.c.id == number).values(**values)
            )

    def read(self, at: datetime) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.delete(t.watermarks))
            seed.insert(connection, t.watermarks, name=SOURCE, at=at, updated_at=at)

    def messages(self) -> list[dict[str, Any]]:
        with self.runtime() as rt, rt.engine.connect() as connection:
            return alerts.recent(connection, 100)


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(database_url, tmp_path)
    # The digests of the day are told of already: most tests are about something else.
    made.now = NOON.replace(hour=9)
    made.tick()
    made.sent.clear()
    made.now = NOON
    yield made
    made.engine.dispose()


# --- exceptions -------------------------------------------------------------------


def test_a_new_exception_is_told_of_once(desk: Desk) -> None:
    number = desk.opened(amount_minor=1999, currency="GBP")
    assert desk.subjects() == ["CX: Orphan return (order #1) (19.99 GBP, 1 unit)"]
    assert desk.subjects() == []
    ((_, envelope),) = desk.sent
    (notice,) = envelope.message.notices
    assert notice.key == f"opened:{number}:S2"
    assert notice.remedy == "pick order from suggestions"
    assert notice.link == "returns-pipeline exceptions show #1"
    assert notice.runbook == "docs/runbook.md#orphan_return"


def test_what_is_not_urgent_waits_for_the_digest_and_is_told_of_when_it_is_overdue(
    desk: Desk,
) -> None:
    desk.opened(severity="S3", due_at=desk.now + timedelta(hours=2))
    assert desk.subjects() == []
    desk.later(hours=2)
    assert desk.subjects() == ["CX: Overdue: Orphan return (order #1) (1 unit)"]
    assert desk.subjects() == []


def test_one_that_grows_worse_is_told_of_again(desk: Desk) -> None:
    number = desk.opened()
    desk.tick()
    desk.change(number, severity="S1")
    assert desk.subjects() == ["CX: Orphan return (order #1) (1 unit)"]


@pytest.mark.parametrize("status", ["snoozed", "resolved", "auto_resolved"])
def test_what_is_snoozed_or_closed_is_not_told_of(desk: Desk, status: str) -> None:
    desk.opened(status=status, due_at=desk.now - timedelta(days=1), resolved_at=None)
    assert desk.subjects() == []


def test_new_ones_of_one_owner_leave_together_each_owner_apart(desk: Desk) -> None:
    desk.opened()
    desk.opened(key="#2")
    desk.opened(key="#3", owner="Finance")
    assert sorted(desk.subjects()) == [
        "CX: 2 new exceptions",
        "Finance: Orphan return (order #1) (1 unit)",
    ]


def test_in_the_quiet_hours_only_s1_leaves_and_the_rest_together_in_the_morning(
    desk: Desk,
) -> None:
    desk.now = NOON.replace(hour=22)
    desk.opened()
    desk.opened(key="#2", severity="S1")
    assert desk.subjects() == ["CX: Orphan return (order #1) (1 unit)"]
    desk.later(hours=2)
    desk.opened(key="#3", opened_at=desk.now)
    assert desk.subjects() == []
    desk.now = NOON.replace(day=25, hour=7)
    assert desk.subjects() == ["CX: 2 new exceptions"]


def test_links_lead_to_where_the_policy_says_things_are(desk: Desk) -> None:
    desk.policy.write_text(
        '[alerts]\nqueue_url = "https://q.example/"\ndocs_url = "https://d.example"\n'
    )
    number = desk.opened()
    (envelope,) = desk.tick()
    (notice,) = envelope.message.notices
    assert notice.link == f"https://q.example/exceptions/{number}"
    assert notice.runbook == "https://d.example/runbook.md#orphan_return"


# --- sources ----------------------------------------------------------------------


def test_a_source_nobody_hears_of_is_told_of_once_and_when_it_is_heard_again(desk: Desk) -> None:
    desk.read(desk.now - timedelta(minutes=29))
    assert desk.subjects() == []
    desk.later(minutes=5)
    assert desk.subjects() == ["Operations: Linnworks has not been read for 34 minutes"]
    desk.later(minutes=5)
    assert desk.subjects() == []
    desk.read(desk.now)
    assert desk.subjects() == ["Operations: Linnworks is read again"]
    assert desk.subjects() == []
    # A second silence is another one.
    desk.later(hours=1)
    assert desk.subjects() == ["Operations: Linnworks has not been read for 60 minutes"]


def test_silence_is_told_of_at_night(desk: Desk) -> None:
    desk.now = NOON.replace(hour=23)
    desk.read(desk.now - timedelta(hours=2))
    assert len(desk.subjects()) == 1


def test_the_exception_of_a_silent_source_is_not_told_of_beside_it(desk: Desk) -> None:
    desk.opened(code="SOURCE_STALE", key=SOURCE, severity="S1", owner="Operations")
    assert desk.subjects() == []


# --- digests ----------------------------------------------------------------------


def test_each_owner_has_a_digest_a_day(desk: Desk) -> None:
    desk.opened(severity="S4")
    desk.opened(severity="S4", key="#2", status="snoozed")
    desk.opened(key="#3", status="resolved", resolved_at=desk.now, owner="Finance", severity="S4")
    desk.now = NOON.replace(day=25, hour=7, minute=59)
    assert desk.subjects() == []
    desk.later(minutes=1)
    assert sorted(desk.subjects()) == [
        "CX: Digest of Wednesday, 25 November 2026",
        "Finance: Digest of Wednesday, 25 November 2026",
    ]
    told = {e.message.owner: e.message.notices[0].what.splitlines()[0] for _, e in desk.sent}
    assert told == {
        "CX": "1 open: 1 new, 0 overdue; 0 closed since",
        "Finance": "0 open: 0 new, 0 overdue; 1 closed since",
    }
    assert desk.subjects() == []


# --- channels ---------------------------------------------------------------------


def test_owners_have_their_own_channels_and_addresses(desk: Desk) -> None:
    desk.environ = {
        "RETURNS_ALERT_SLACK_WEBHOOK_URL": "https://slack.example/a",
        "RETURNS_ALERT_SMTP_URL": "smtp://mail.example",
        "RETURNS_ALERT_EMAIL_TO": "all@shop.example",
    }
    desk.policy.write_text(
        '[alerts.routes]\nFinance = "email"\nCX = "slack webhook"\n'
        '[alerts.email_to]\nFinance = "finance@shop.example"\n'
    )
    for owner in ("CX", "Operations", "Finance"):
        desk.opened(key=owner, owner=owner)
    desk.tick()
    assert sorted((e.message.owner, name, e.address) for name, e in desk.sent) == [
        ("CX", "slack", "all@shop.example"),
        ("Finance", "email", "finance@shop.example"),
        ("Operations", "email", "all@shop.example"),
        ("Operations", "slack", "all@shop.example"),
    ]


def test_without_a_channel_nothing_is_kept_back_for_one(desk: Desk) -> None:
    desk.environ = {}
    desk.opened()
    assert desk.subjects() == []
    desk.environ = {"RETURNS_ALERT_WEBHOOK_URL": "http://127.0.0.1:9/hook"}
    assert desk.subjects() == []


def test_what_one_channel_refuses_is_tried_later_and_later_and_the_others_are_not_held_up(
    desk: Desk,
) -> None:
    desk.environ["RETURNS_ALERT_SLACK_WEBHOOK_URL"] = "https://slack.example/a"
    desk.refusing = {"slack"}
    desk.opened()
    assert len(desk.tick()) == 1
    tries = []
    for minute in range(1, 130):
        desk.later(minutes=1)
        desk.tick()
        if desk.counts["failed"]:
            tries.append(minute)
    assert tries == [1, 3, 7, 15, 31, 63, 123]
    with desk.engine.connect() as connection:
        (failing,) = alerts.undelivered(connection, desk.now)
    assert (failing.channel, failing.attempts, failing.error) == (
        "slack",
        8,
        "refused with status 500",
    )
    desk.refusing = set()
    desk.later(hours=1)
    assert len(desk.tick()) == 1
    assert {one["state"] for one in desk.messages()} == {"sent"}


def test_after_a_day_a_message_is_given_up_and_stays_visible_for_a_week(desk: Desk) -> None:
    desk.refusing = {"webhook"}
    desk.opened(due_at=desk.now + timedelta(days=30))
    for _ in range(6):
        desk.tick()
        desk.later(hours=5)
    (message,) = (one for one in desk.messages() if "Orphan" in one["subject"])
    assert message["state"] == "given_up"
    with desk.engine.connect() as connection:
        now, then = (
            {one.subject for one in alerts.undelivered(connection, at)}
            for at in (desk.now, desk.now + timedelta(days=8))
        )
    assert message["subject"] in now
    assert message["subject"] not in then


def test_two_senders_do_not_send_one_message_at_once(desk: Desk) -> None:
    desk.opened()
    taken: list[str] = []
    with desk.runtime() as first, desk.runtime() as second:
        alerts.collect(first)
        alerts.compose(first)

        def send(_address: str, envelope: Envelope) -> None:
            taken.append(envelope.id)
            # The other comes while this one is at it.
            alerts.deliver(second, {"webhook": lambda _a, e: taken.append(e.id)})

        alerts.deliver(first, {"webhook": send})
    assert len(taken) == 1


def test_a_crash_while_sending_sends_it_again_under_the_same_id(desk: Desk) -> None:
    desk.opened()
    taken: list[str] = []

    def dies(_address: str, envelope: Envelope) -> None:
        taken.append(envelope.id)
        raise KeyboardInterrupt

    with desk.runtime() as rt:
        alerts.collect(rt)
        alerts.compose(rt)
        with pytest.raises(KeyboardInterrupt):
            alerts.deliver(rt, {"webhook": dies})
    desk.later(minutes=1)
    (again,) = desk.tick()
    assert taken == [again.id]


def test_a_trial_goes_to_every_channel_and_says_what_became_of_it(desk: Desk) -> None:
    with receivers.web() as good, receivers.web() as bad:
        bad.answers = [404, 404, 404]
        desk.environ = {
            "RETURNS_ALERT_WEBHOOK_URL": good.url,
            "RETURNS_ALERT_SLACK_WEBHOOK_URL": bad.url,
        }
        with desk.runtime() as rt:
            outcomes = alerts.trial(rt)
    assert outcomes == {
        f"{owner} by {channel}": said
        for owner in ("CX", "Operations", "Finance")
        for channel, said in (("slack", "refused with status 404"), ("webhook", "taken"))
    }
    assert len(good.posted) == 3
    assert desk.messages() == []


def test_a_notice_is_the_same_after_it_was_kept(desk: Desk) -> None:
    notice = alerts.Notice(
        key="check:x",
        kind=alerts.Kind.CHECK_FAILED,
        owner=alerts.Owner.FINANCE,
        severity=alerts.Severity.S1,
        title="Check failed",
        what="debit ≠ credit",
        remedy="see",
        at=desk.now,
        amount_minor=5,
        currency="GBP",
        units=2,
        link="l",
        runbook="r",
    )
    with desk.runtime() as rt, rt.engine.begin() as connection:
        alerts.note(connection, [notice, replace(notice, what="told twice")], rt)
    (envelope,) = desk.tick()
    assert envelope.message.notices[0].key == "check:x"
    assert replace(envelope.message.notices[0], what=notice.what) == notice
