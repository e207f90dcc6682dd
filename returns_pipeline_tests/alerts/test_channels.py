"""Each channel over a real socket: what the receiver gets, and what a refusal is called."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from returns_pipeline.clients import alerts as channels
from returns_pipeline.clients.alerts import CHANNELS, Envelope, NotDelivered
from returns_pipeline.domain.alerts import Kind, Notice, compose
from returns_pipeline.domain.model import Owner, Severity
from returns_pipeline_tests.alerts import receivers

NOTICE = Notice(
    key="opened:1:S1",
    kind=Kind.EXCEPTION_OPENED,
    owner=Owner.FINANCE,
    severity=Severity.S1,
    title="Refund over ceiling (order #10 & <b>)",
    what="<script>more than was paid</script>",
    remedy="approve or claw back",
    at=datetime(2026, 11, 24, 9, tzinfo=UTC),
    amount_minor=1999,
    currency="GBP",
    units=1,
    link="https://queue.example/exceptions/1",
    runbook="docs/runbook.md#refund_over_ceiling",
)
MESSAGE = compose([NOTICE, replace(NOTICE, key="b", amount_minor=1)], in_full=1)
ENVELOPE = Envelope("alert-1-x", MESSAGE, "finance@shop.example")
WEB = [name for name in CHANNELS if name != "email"]


def test_slack_gets_blocks_in_which_nothing_is_markup_of_ours_or_a_stranger() -> None:
    with receivers.web() as seen:
        channels.slack(seen.url, ENVELOPE)
    (document,) = seen.posted
    header, section, rest = document["blocks"]
    assert header["text"]["text"] == MESSAGE.subject
    text = section["text"]["text"]
    assert "*[S1] Refund over ceiling (order #10 &amp; &lt;b&gt;)*" in text
    assert "&lt;script&gt;" in text
    assert "<https://queue.example/exceptions/1|Open>" in text
    assert "*At stake:* 19.99 GBP, 1 unit" in text
    assert rest["elements"][0]["text"].startswith("and 1 more")


def test_teams_gets_an_adaptive_card() -> None:
    with receivers.web() as seen:
        channels.teams(seen.url, ENVELOPE)
    (document,) = seen.posted
    (attachment,) = document["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    body = attachment["content"]["body"]
    assert body[0]["text"] == MESSAGE.subject
    assert body[1]["color"] == "attention"
    facts = {fact["title"]: fact["value"] for fact in body[3]["facts"]}
    assert facts["What to do"] == "approve or claw back"
    assert (
        facts["Open"] == "[https://queue.example/exceptions/1](https://queue.example/exceptions/1)"
    )
    assert body[-1]["text"].startswith("and 1 more")


def test_a_program_gets_every_field_and_an_id_that_stays() -> None:
    with receivers.web() as seen:
        channels.webhook(seen.url, ENVELOPE)
        channels.webhook(seen.url, ENVELOPE)
    first, again = seen.posted
    assert first == again
    assert first["id"] == "alert-1-x"
    assert first["owner"] == "Finance"
    assert first["more"] == 1
    (notice,) = first["notices"]
    assert notice["amount_minor"] == 1999
    assert notice["kind"] == "exception_opened"


def test_a_mail_is_signed_in_for_addressed_and_readable_as_text_and_as_a_page() -> None:
    with receivers.post() as seen:
        channels.email(seen.url, ENVELOPE)
    (mail,) = seen.mails
    assert seen.signed_in
    assert seen.receivers == ["rcpt TO:<finance@shop.example>"]
    assert mail["From"] == "shop@example.com"
    assert mail["Subject"] == MESSAGE.subject
    assert mail["Message-ID"] == "<alert-1-x@returns-pipeline>"
    assert mail["Importance"] == "high"
    text, page = (part.get_content() for part in mail.iter_parts())
    assert "What to do: approve or claw back" in text
    assert "<script>" not in page
    assert 'href="https://queue.example/exceptions/1"' in page


def test_a_mail_may_name_its_sender() -> None:
    with receivers.post() as seen:
        channels.email(f"{seen.url}?from=returns%40shop.example", ENVELOPE)
    assert seen.mails[0]["From"] == "returns@shop.example"


@pytest.mark.parametrize("name", WEB)
@pytest.mark.parametrize("status", [302, 400, 404, 429, 500])
def test_a_refusal_says_its_status_and_never_the_address(name: str, status: int) -> None:
    with receivers.web() as seen:
        seen.answers = [status]
        with pytest.raises(NotDelivered, match=f"status {status}") as refused:
            CHANNELS[name](seen.url, ENVELOPE)
    assert "secret" not in str(refused.value)
    assert not seen.posted
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("name", list(CHANNELS))
def test_nobody_there_is_told_without_the_address(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    scheme = "smtp://u:s3cret@" if name == "email" else "http://"
    with pytest.raises(NotDelivered) as refused:
        CHANNELS[name](f"{scheme}127.0.0.1:{port}/secret", ENVELOPE)
    assert "s3cret" not in str(refused.value)
    assert "/secret" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_a_mail_the_server_refuses_is_not_delivered() -> None:
    with receivers.post() as seen:
        seen.refuse = True
        with pytest.raises(NotDelivered, match="code 554"):
            channels.email(seen.url, ENVELOPE)
    assert not seen.mails


def test_a_mail_server_elsewhere_that_cannot_encrypt_is_given_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receivers.post() as seen:
        # The same server under a name that is not this machine's.
        monkeypatch.setattr(channels, "_PLAIN", frozenset())
        with pytest.raises(NotDelivered, match="SMTPNotSupportedError"):
            channels.email(seen.url, ENVELOPE)
    assert not seen.signed_in
    assert not seen.mails
