"""The Happy Returns partner API: reads only (contract Happy Returns, sections 1 and 2).

There is no endpoint that lists returns: shipments of a window and look-ups by order number
are what can be asked. Items come back undecoded; their fields are ``normalise``'s. Nothing
is approved or changed there by this program.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic as _monotonic
from time import sleep as _sleep
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec

from returns_pipeline.clients.transport import (
    Answer,
    ContractBroken,
    CredentialsRevoked,
    OutcomeUnknown,
    Pacer,
    RateLimited,
    Transport,
)

T = TypeVar("T")

_WAIT = re.compile(r"leaky bucket size (\d+(?:\.\d+)?)")
_MOST_PAGES = 10_000


@dataclass(frozen=True, slots=True)
class RawItem:
    """One physical unit as Happy Returns told it, undecoded."""

    raw: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Shipment:
    """A consolidated shipment from a hub."""

    id: str


class _Items(msgspec.Struct):
    items: list[msgspec.Raw]
    cursor: str | None = None
    nextCursor: str | None = None  # noqa: N815


class _Links(msgspec.Struct):
    next: str | None = None


class _ShipmentItems(msgspec.Struct):
    data: list[msgspec.Raw]
    links: _Links | None = None


class _ShipmentId(msgspec.Struct):
    id: str


class _Shipments(msgspec.Struct):
    data: list[_ShipmentId]


class HappyReturns:
    """The partner API of one retailer.

    Args:
        base_url: Without a trailing slash.
        api_key: Sent as ``X-Hr-Apikey``.
        retailer_id: The retailer's slug.
        rate: Requests a second to ``POST /return`` (published: 0.5); 0: unpaced.
        page_size: Items a page of a shipment, at most 1000.
    """

    def __init__(  # noqa: PLR0913
        self,
        base_url: str,
        api_key: str,
        retailer_id: str,
        *,
        rate: float = 0.5,
        page_size: int = 1000,
        sleep: Callable[[float], None] = _sleep,
        monotonic: Callable[[], float] = _monotonic,
    ) -> None:
        """Make no connection yet."""
        self._base = base_url.rstrip("/")
        self._retailer = retailer_id
        self._rate = rate
        self._page_size = page_size
        self._pacer = Pacer(share=1.0 if rate else 0.0, sleep=sleep, monotonic=monotonic)
        self._transport = Transport(
            allowed_hosts={urlsplit(base_url).hostname or ""},
            headers={"X-Hr-Apikey": api_key, "Accept": "application/json"},
            sleep=sleep,
        )

    @property
    def calls(self) -> Counter[str]:
        """Calls made, by method."""
        return Counter({f"happy_returns.{k}": n for k, n in self._transport.calls.items()})

    def look_up(self, order_number: str) -> list[RawItem]:
        """Every item of the returns of one order; empty where there is none (HTTP 204).

        Raises:
            Unavailable: When it could not be read.
            ContractBroken: When the answer is not of the known shape, or pages repeat.
        """
        found: list[RawItem] = []
        seen: set[str] = set()
        question: dict[str, str] = {
            "happyReturnsRetailerID": self._retailer,
            "orderNumber": order_number,
        }
        for _ in range(_MOST_PAGES):
            page = self._look_up_page(question)
            if page is None:
                return found
            found.extend(RawItem(raw) for raw in page.items)
            cursor = page.cursor or page.nextCursor
            if not cursor:
                return found
            if cursor in seen:
                raise ContractBroken("return", "its cursor repeats")
            seen.add(cursor)
            question = {**question, "cursor": cursor}
        raise ContractBroken("return", f"more than {_MOST_PAGES} pages")

    def _look_up_page(self, question: dict[str, str]) -> _Items | None:
        body = json.dumps(question).encode()

        def ask() -> Answer:
            self._pacer.wait("return", 60.0 * (self._rate or 1.0))
            return self._transport.send(
                "return",
                "POST",
                f"{self._base}/return",
                body=body,
                headers={"Content-Type": "application/json"},
            )

        def check(answer: Answer) -> _Items | None:
            self._refuse("return", answer)
            if answer.status == 204:  # noqa: PLR2004 (no such return: not an error)
                return None
            return _decode("return", answer.body, _Items)

        page: _Items | None = self._transport.read("return", ask, check)
        return page

    def outbound_shipments(self, since: datetime, until: datetime) -> list[Shipment]:
        """The consolidated shipments of a window, oldest first as the vendor lists them."""
        params = {
            "retailerID": self._retailer,
            "startDateTime": _stamp(since),
            "endDateTime": _stamp(until),
        }
        name = "outbound-shipments"
        answer = self._get(name, f"{self._base}/outbound-shipments", params)
        if answer.status == 204:  # noqa: PLR2004
            return []
        found = _decode(name, answer.body, _Shipments)
        return [Shipment(one.id) for one in found.data]

    def outbound_items(self, shipment_id: str) -> Iterator[list[RawItem]]:
        """The items of one shipment, page by page."""
        name = "outbound-shipment"
        path = f"{self._base}/outbound-shipment/{shipment_id}"
        params = {"page[size]": str(self._page_size)}
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            answer = self._get(name, path, params)
            page = _decode(name, answer.body, _ShipmentItems)
            yield [RawItem(raw) for raw in page.data]
            link = page.links.next if page.links else None
            if not link:
                return
            parts = urlsplit(link)
            if parts.hostname and parts.hostname not in self._transport.allowed_hosts:
                raise ContractBroken(name, "its next page is on another host")
            following = dict(parse_qsl(parts.query))
            cursor = following.get("page[after]", "")
            if not cursor or cursor in seen:
                raise ContractBroken(name, "its cursor repeats")
            seen.add(cursor)
            params = {**params, "page[after]": cursor}
        raise ContractBroken(name, f"more than {_MOST_PAGES} pages")

    def _get(self, name: str, url: str, params: dict[str, str]) -> Answer:
        def ask() -> Answer:
            return self._transport.send(name, "GET", url, params=params)

        def check(answer: Answer) -> Answer:
            self._refuse(name, answer)
            if answer.status != 204 and not answer.body.lstrip().startswith(b"{"):  # noqa: PLR2004
                raise OutcomeUnknown(name, "not JSON")
            return answer

        answer: Answer = self._transport.read(name, ask, check)
        return answer

    def _refuse(self, name: str, answer: Answer) -> None:
        if answer.status in {200, 204}:
            if answer.status == 200 and not answer.body.strip():  # noqa: PLR2004
                raise OutcomeUnknown(name, "an empty answer")
            return
        if answer.status == 429:  # noqa: PLR2004
            # The body is text, not JSON, and says how long to wait (contract section 1).
            told = _WAIT.search(answer.text)
            wait = float(told[1]) if told else 2.0
            self._pacer.hold(name, wait)
            raise RateLimited(name, wait)
        if answer.status in {401, 403}:
            raise CredentialsRevoked(name, f"HTTP {answer.status}: check HAPPY_RETURNS_API_KEY")
        if answer.status >= 500:  # noqa: PLR2004
            raise OutcomeUnknown(name, f"HTTP {answer.status}")
        raise ContractBroken(name, f"HTTP {answer.status}")


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _decode(name: str, body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise ContractBroken(name, f"not of the known shape: {error}") from None
    except msgspec.DecodeError:
        raise OutcomeUnknown(name, "not JSON") from None
