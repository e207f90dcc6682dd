"""How Linnworks reads requests and prints values: wrapping, names, instants, money.

No route and no state belongs here.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from returns_pipeline.sandbox.model import Order, OrderLine
from returns_pipeline.sandbox.server import Request

ZERO = "00000000-0000-0000-0000-000000000000"


class BadRequest(Exception):  # noqa: N818 (it is the name of the answer)
    """A request Linnworks answers with HTTP 400."""


def body_of(request: Request, *allowed: str) -> dict[str, Any]:
    """The JSON object of a request; with ``allowed``, of no other names."""
    try:
        document = json.loads(request.body or b"{}")
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise BadRequest("The request is invalid.")
    if allowed:
        check_names(document, frozenset(allowed))
    return document


def wrapped(request: Request, *allowed: str) -> dict[str, Any]:
    """The object under ``request``; what is not wrapped is ignored, as in life."""
    inner = body_of(request).get("request")
    if not isinstance(inner, dict):
        return {}
    check_names(inner, frozenset(allowed))
    return inner


def objects(given: Mapping[str, Any], name: str, allowed: frozenset[str]) -> list[dict[str, Any]]:
    """A list of objects of known names; empty when it is absent."""
    found = given.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise BadRequest(f"The request is invalid. {name}: a list of objects")
    for one in found:
        check_names(one, allowed)
    return found


def check_names(document: Mapping[str, Any], allowed: frozenset[str]) -> None:
    """Refuse names that the specification does not know.

    Raises:
        BadRequest: Naming them.
    """
    unknown = set(document) - allowed
    if unknown:
        raise BadRequest(f"The request is invalid. Unknown: {', '.join(sorted(unknown))}")


def guid(given: Mapping[str, Any], name: str) -> str | None:
    """A uuid of the request in Linnworks' spelling; ``None`` when it is absent."""
    return _uuid(given[name], name) if given.get(name) is not None else None


def guids(given: Mapping[str, Any], name: str) -> list[str]:
    """A list of uuids of the request."""
    found = given.get(name) or []
    if not isinstance(found, list):
        raise BadRequest(f"The request is invalid. {name}: a list")
    return [_uuid(one, name) for one in found]


def query_guid(request: Request, name: str) -> str | None:
    """A uuid of the query; ``None`` when it is absent."""
    text = request.one(name)
    return _uuid(text, name) if text else None


def _uuid(value: object, name: str) -> str:
    try:
        return str(uuid.UUID(str(value)))
    except ValueError:
        raise BadRequest(f"The request is invalid. {name}: {value!r} is no uuid") from None


def whole(given: Mapping[str, Any], name: str) -> int | None:
    """A whole number of the request; ``None`` when it is absent."""
    value = given.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise BadRequest(f"The request is invalid. {name}: {value!r} is no whole number")
    return value


def amount(given: Mapping[str, Any], name: str) -> Decimal:
    """An amount of the request, in whole pence; 0 when it is absent."""
    value = given.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise BadRequest(f"The request is invalid. {name}: {value!r} is no number")
    return cents(Decimal(str(value or 0)))


def number(text: str | None, default: int) -> int:
    """A whole number of the query."""
    try:
        return int(text) if text else default
    except ValueError:
        raise BadRequest(f"{text!r} is not a number") from None


def instant(text: str | None) -> datetime | None:
    """An instant of the query; without a zone it is UTC."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"{text!r} is not a date") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def stamp(at: datetime | None) -> str | None:
    """An instant as Linnworks prints it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at else None


def cents(value: Decimal) -> Decimal:
    """Rounded half up to two places."""
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP)


def net(line: OrderLine) -> Decimal:
    """What the shopper paid for a line, less the tax in it."""
    return cents(line.line_total / (1 + line.tax_rate / 100))


def all_lines(order: Order) -> list[OrderLine]:
    """The order's lines, each bundle followed by its children."""
    found = []
    for line in order.lines:
        found.append(line)
        found.extend(line.children)
    return found


def status(header: str) -> dict[str, Any]:
    """A ``PostSaleStatus``."""
    return {
        "StatusHeader": header,
        "StatusDetail": {
            "StatusTag": header,
            "StatusDescription": header.title(),
            "Actionable": header == "OPEN",
            "ActionDescription": "Accept" if header == "OPEN" else None,
            "EditableFields": [],
        },
    }
