"""Sending a message to people: Slack, Teams, e-mail, any program that takes JSON.

One function a channel, all with the same promise: it returns when the receiver has taken
the message, and raises ``NotDelivered`` with a reason that holds neither address nor
secret. Trying again, and who is told what, is ``steps.alerts``'s. These receivers are no
vendors: what the vendors' transport knows of fates does not apply, since a message told
twice does no harm.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import requests

from returns_pipeline.domain.alerts import Message, Notice
from returns_pipeline.domain.model import Severity

TIMEOUT = 10.0
"""Seconds a receiver has to answer."""

_SCHEMA = 1
_PLAIN = frozenset({"localhost", "127.0.0.1", "::1"})


class NotDelivered(Exception):  # noqa: N818 (it says what is the case)
    """The receiver has not taken the message; trying later may help."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message and what identifies it to a receiver that gets it twice."""

    id: str
    message: Message
    address: str = ""  # of e-mail


def slack(url: str, envelope: Envelope) -> None:
    """Post to an incoming webhook of Slack.

    Raises:
        NotDelivered: With the reason.
    """
    message = envelope.message
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": message.subject[:150]}}
    ]
    for one in message.notices:
        lines = [f"*[{one.severity}] {_slack(one.title)}*", _slack(one.what)]
        lines += [f"*{name}:* {_slack(text)}" for name, text in _facts(one)]
        lines += [
            f"<{link}|{name}>" if link.startswith("http") else f"`{_slack(link)}`"
            for name, link in _links(one)
        ]
        text = "\n".join(lines)[:3000]
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": text}})
    if message.more:
        blocks.append(
            {"type": "context", "elements": [{"type": "mrkdwn", "text": _slack(message.rest)}]}
        )
    _post(url, {"text": _slack(message.subject), "blocks": blocks})


def _slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_COLOURS = {Severity.S1: "attention", Severity.S2: "warning"}


def teams(url: str, envelope: Envelope) -> None:
    """Post an adaptive card to a workflow of Teams ("when a webhook request is received").

    Raises:
        NotDelivered: With the reason.
    """
    message = envelope.message
    body: list[dict[str, Any]] = [_block(message.subject, size="large", weight="bolder")]
    for one in message.notices:
        colour = _COLOURS.get(one.severity, "default")
        body.append(
            _block(f"[{one.severity}] {one.title}", weight="bolder", color=colour, separator=True)
        )
        body.append(_block(one.what))
        facts = [{"title": name, "value": text} for name, text in _facts(one)]
        facts += [
            {"title": name, "value": f"[{link}]({link})" if link.startswith("http") else link}
            for name, link in _links(one)
        ]
        if facts:
            body.append({"type": "FactSet", "facts": facts})
    if message.more:
        body.append(_block(message.rest, isSubtle=True))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": body,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    _post(url, {"type": "message", "attachments": [attachment]})


def _block(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text, "wrap": True, **more}


def webhook(url: str, envelope: Envelope) -> None:
    """Post JSON; ``id`` is the same however often the message is sent.

    Raises:
        NotDelivered: With the reason.
    """
    message = envelope.message
    document = {
        "schema": _SCHEMA,
        "id": envelope.id,
        "owner": message.owner.value,
        "severity": message.severity.value,
        "subject": message.subject,
        "notices": [notice_document(one) for one in message.notices],
        "more": message.more,
    }
    _post(url, document)


def notice_document(one: Notice) -> dict[str, Any]:
    """A notice as JSON."""
    return {
        "key": one.key,
        "kind": one.kind.value,
        "severity": one.severity.value,
        "title": one.title,
        "what": one.what,
        "remedy": one.remedy,
        "at": one.at.isoformat(),
        "amount_minor": one.amount_minor,
        "currency": one.currency,
        "units": one.units,
        "link": one.link,
        "runbook": one.runbook,
    }


def _facts(one: Notice) -> list[tuple[str, str]]:
    named = (("At stake", one.stake), ("What to do", one.remedy))
    return [(name, text) for name, text in named if text]


def _links(one: Notice) -> list[tuple[str, str]]:
    return [(name, link) for name, link in (("Open", one.link), ("Runbook", one.runbook)) if link]


def _post(url: str, document: Mapping[str, Any]) -> None:
    try:
        # A redirect would hand the message, and the secret in the address, to somebody else.
        answer = requests.post(url, json=document, timeout=TIMEOUT, allow_redirects=False)
    except requests.RequestException as error:
        # The exception's own text holds the address, which is the secret.
        msg = f"no answer ({type(error).__name__})"
        raise NotDelivered(msg) from None
    if not answer.ok or answer.is_redirect:
        msg = f"refused with status {answer.status_code}"
        raise NotDelivered(msg)


# --- e-mail -----------------------------------------------------------------------


def email(url: str, envelope: Envelope) -> None:
    """Hand a mail to the server: ``smtps://``, or ``smtp://`` that is then encrypted.

    The URL's ``?from=`` is the sender; without it the user, where that is an address, else
    the receiver. A server on this machine may take mail unencrypted.

    Raises:
        NotDelivered: With the reason.
    """
    parts = urlsplit(url)
    user, host = unquote(parts.username or ""), parts.hostname or ""
    given = parse_qs(parts.query).get("from", [""])[0]
    sender = given or (user if "@" in user else envelope.address)
    mail = _mail(envelope, sender)
    try:
        with _server(parts.scheme, host, parts.port) as server:
            if user:
                server.login(user, unquote(parts.password or ""))
            server.send_message(mail)
    except smtplib.SMTPResponseException as error:
        msg = f"refused by the mail server with code {error.smtp_code}"
        raise NotDelivered(msg) from None
    except (smtplib.SMTPException, OSError) as error:
        msg = f"the mail server did not take it ({type(error).__name__})"
        raise NotDelivered(msg) from None


def _server(scheme: str, host: str, port: int | None) -> smtplib.SMTP:
    trusted = ssl.create_default_context()
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port or 465, timeout=TIMEOUT, context=trusted)
    server = smtplib.SMTP(host, port or 587, timeout=TIMEOUT)
    try:
        if host not in _PLAIN or server.has_extn("starttls"):
            # Raises where the server offers no encryption: then nothing is sent.
            server.starttls(context=trusted)
    except BaseException:
        server.close()
        raise
    return server


def _mail(envelope: Envelope, sender: str) -> EmailMessage:
    message = envelope.message
    mail = EmailMessage()
    mail["Subject"] = " ".join(message.subject.split())
    mail["From"] = sender
    mail["To"] = envelope.address
    mail["Message-ID"] = f"<{envelope.id}@returns-pipeline>"
    mail["Date"] = format_datetime(max(one.at for one in message.notices))
    mail["Auto-Submitted"] = "auto-generated"
    if message.severity is Severity.S1:
        mail["Importance"] = "high"
    mail.set_content(message.text)
    mail.add_alternative(_html(message), subtype="html")
    return mail


_STYLES = {
    "body": "font:15px/1.5 system-ui,sans-serif;max-width:44em;margin:1em",
    "notice": "border-left:4px solid {colour};padding:.2em 0 .2em 1em;margin:1em 0",
}
_HTML_COLOURS = {Severity.S1: "#b3261e", Severity.S2: "#b26a00"}


def _html(message: Message) -> str:
    parts = [f'<div style="{_STYLES["body"]}"><h2>{escape(message.subject)}</h2>']
    for one in message.notices:
        colour = _HTML_COLOURS.get(one.severity, "#5f6368")
        parts.append(f'<div style="{_STYLES["notice"].format(colour=colour)}">')
        parts.append(f"<strong>[{one.severity}] {escape(one.title)}</strong><br>")
        parts.append("<br>".join(escape(line.strip()) for line in one.what.splitlines()))
        parts += [f"<br><b>{name}:</b> {escape(text)}" for name, text in _facts(one)]
        for name, link in _links(one):
            shown = escape(link)
            if link.startswith("http"):
                shown = f'<a href="{escape(link)}">{shown}</a>'
            parts.append(f"<br><b>{name}:</b> {shown}")
        parts.append("</div>")
    if message.more:
        parts.append(f"<p>{escape(message.rest)}</p>")
    return "".join(parts) + "</div>"


CHANNELS: Mapping[str, Callable[[str, Envelope], None]] = {
    "slack": slack,
    "teams": teams,
    "email": email,
    "webhook": webhook,
}
"""By the name the policy has for it."""
