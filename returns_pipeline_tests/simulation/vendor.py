"""Linnworks without a socket: the real client's connections end here, with seeded fates.

The transport's code above the connection is the real one, so each fate is classified by what
production classifies it with. Effects are the sandbox's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import requests
import urllib3

from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.clients.transport import Patience, Transport
from returns_pipeline.sandbox import linnworks as sandbox
from returns_pipeline.sandbox.linnworks.service import handle
from returns_pipeline.sandbox.linnworks.state import Refund, Rma
from returns_pipeline.sandbox.model import (
    DEFAULT_LOCATION,
    Location,
    Order,
    OrderLine,
    StockItem,
    World,
)
from returns_pipeline.sandbox.server import Request, Response, json_response
from returns_pipeline_tests.dispatch.conftest import DAMAGED, NOW, RESTOCK, order_id, row_id

URL = "http://127.0.0.1:9"  # the discard port: nothing is ever sent there
ORDERS = 4
WRITES = frozenset(
    {
        "CreateRMABooking",
        "ActionRMABooking",
        "DeleteRMA",
        "CreateRefund",
        "ActionRefund",
        "CreateOrders",
    }
)
# What can become of a request (RELIABILITY 2.1), and whether it is carried out.
UNSENT = ("refused_connection", "connect_timeout")
BEFORE = ("closed_before", "timeout_before", "http_500_before", "http_401", "http_429", "redirect")
AFTER = ("reset_after", "timeout_after", "cut_body", "garbage", "empty", "http_503_after")
LATE = ("late", "http_504_late")  # given up on by us, or by a gateway before us
FATES = (*UNSENT, *BEFORE, *AFTER, *LATE)


class TrueClock:
    """The time in the world; ours may be wrong about it."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at


def _world() -> World:
    lines = (1, 2)
    return World(
        seed=1,
        starts_at=NOW - timedelta(days=20),
        ends_at=NOW + timedelta(days=20),
        retailer_id="retailer",
        locations=[
            Location(DEFAULT_LOCATION, 1, "Default"),
            Location(RESTOCK, 2, "HR Restock"),
            Location(DAMAGED, 3, "HR Damaged"),
        ],
        stock_items={
            f"SKU-{line}": StockItem(
                f"dddddddd-0000-4000-8000-{line:012d}", line, f"SKU-{line}", "Thing", Decimal(5)
            )
            for line in lines
        },
        orders=[_order(number) for number in range(1, ORDERS + 1)],
        units=[],
        shipments=[],
        expected={},
        cases={},
        opening_stock={},
    )


def _order(number: int) -> Order:
    sent = NOW - timedelta(days=10)
    return Order(
        id=order_id(number),
        num_id=1000 + number,
        reference=f"#{number}",
        secondary_reference="",
        external_reference="",
        source="SHOPIFY",
        sub_source="shop",
        currency="GBP",
        received_at=sent,
        paid_at=sent,
        processed_at=sent,
        last_updated=sent,
        lines=[
            OrderLine(
                row_id=row_id(number, line),
                item_number=f"line-{number}-{line}",
                sku=f"SKU-{line}",
                stock_item_id=f"dddddddd-0000-4000-8000-{line:012d}",
                title="Thing",
                quantity=3,
                price_per_unit=Decimal("20.00"),
                tax_rate=Decimal(20),
                line_total=Decimal("60.00"),
                unit_cost=Decimal("5.00"),
            )
            for line in (1, 2)
        ],
        postage_cost=Decimal("4.95"),
    )


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that changed at the vendor: when (in steps), by whom, to what."""

    step: int
    actor: str
    what: str  # booked | posted | refund | paid
    header_id: int
    units: int
    at: float = 0.0  # seconds since the story began


@dataclass
class Watched(sandbox.LinnworksState):
    """The account, telling who changed what the moment it changes."""

    actor: str = "staff"
    step: int = 0
    effects: list[Effect] = field(default_factory=list)
    on_effect: Callable[[Effect], None] = lambda _effect: None

    def _tell(self, what: str, header_id: int, units: int) -> None:
        self.step += 1
        at = (self.clock.now() - NOW).total_seconds()
        effect = Effect(self.step, self.actor, what, header_id, units, at)
        self.effects.append(effect)
        self.on_effect(effect)

    def book(self, *args: Any, **more: Any) -> Rma:
        rma = super().book(*args, **more)
        self._tell("booked", rma.header_id, sum(line.quantity for line in rma.lines))
        return rma

    def post(self, rma: Rma, at: datetime | None = None) -> None:
        super().post(rma, at)
        self._tell("posted", rma.header_id, sum(line.quantity for line in rma.live))

    def add_refund(self, *args: Any, **more: Any) -> Refund:
        refund = super().add_refund(*args, **more)
        self._tell("refund", refund.header_id, int(refund.amount * 100))
        return refund

    def send(self, refund: Refund, at: datetime | None = None) -> None:
        super().send(refund, at)
        self._tell("paid", refund.header_id, int(refund.amount * 100))


def account(clock: TrueClock, switches: dict[str, Any]) -> Watched:
    """A fresh account."""
    state = Watched(_world(), clock, limits=False, url=URL)  # type: ignore[arg-type]
    state.switches.update(switches)
    return state


# --- the connection ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it left the client."""

    method: str
    request: Request
    document: dict[str, Any]


class _Raw:
    def __init__(self, body: bytes, *, cut: bool) -> None:
        self._body, self._cut = body, cut

    def read1(self, _size: int, *, decode_content: bool) -> bytes:
        part, self._body = self._body, b""
        if not part and self._cut:
            raise urllib3.exceptions.ProtocolError("Connection broken: IncompleteRead")
        return part


class _Answered:
    def __init__(self, response: Response, *, cut: bool = False) -> None:
        self.status_code = response.status
        self.headers = {"Content-Type": response.content_type, **response.headers}
        body = response.body[: len(response.body) // 2] if cut else response.body
        self.raw = _Raw(body, cut=cut)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass


class Surroundings:
    """What the connection needs of the story: each method is one of its decisions."""

    def arrives(self, sent: Sent) -> str:
        """The request is about to leave; gives its fate, may raise a crash."""
        raise NotImplementedError

    def effect(self, sent: Sent) -> Response:
        """Carry it out."""
        raise NotImplementedError

    def answered(self, sent: Sent, fate: str) -> None:
        """The effect is there, the answer is not: may raise a crash."""
        raise NotImplementedError

    def later(self, sent: Sent) -> None:
        """Carry it out some time after the client has given up."""
        raise NotImplementedError

    def elapse(self, seconds: float) -> None:
        """Time passes."""
        raise NotImplementedError

    def seconds(self) -> float:
        """A clock that only goes forward."""
        raise NotImplementedError


@dataclass
class _Prepared:
    """In place of ``requests.PreparedRequest``, which takes longer to make than a story has."""

    verb: str
    url: str
    body: bytes | None
    headers: dict[str, str]

    def copy(self) -> _Prepared:
        return replace(self)


class _Connection:
    """In place of ``requests.Session``."""

    cookies = ()

    def __init__(self, world: Surroundings) -> None:
        self._world = world

    def close(self) -> None:
        pass

    def prepare_request(self, request: requests.Request) -> _Prepared:
        return _Prepared(request.method, request.url, request.data, request.headers)

    def send(self, prepared: _Prepared, **_more: Any) -> _Answered:
        parts = urlsplit(prepared.url)
        method = parts.path.rstrip("/").rpartition("/")[2]
        query = parse_qs(parts.query, keep_blank_values=True)
        data = prepared.body
        request = Request(prepared.verb, parts.path, query, prepared.headers, data or b"")
        sent = Sent(method, request, json.loads(data) if data else {})
        fate = self._world.arrives(sent)
        if fate in UNSENT:
            error = _UNSENT[fate]()
            raise error
        if fate in BEFORE or fate in LATE:
            return self._not_now(sent, fate)
        response = self._world.effect(sent)
        self._world.answered(sent, fate)
        return self._spoilt(response, fate)

    def _not_now(self, sent: Sent, fate: str) -> _Answered:
        if fate in LATE:
            self._world.later(sent)
        if fate in {"late", "timeout_before"}:
            self._world.elapse(60)
            raise requests.ReadTimeout("read timed out")
        if fate == "closed_before":
            raise _closed()
        return _Answered(
            {
                "http_504_late": Response(504, b"<html>", "text/html"),
                "http_500_before": Response(500, b"<html>", "text/html"),
                "http_401": json_response({"Code": None, "Message": "Unauthorised"}, 401),
                "http_429": Response(429, _QUOTA, headers={"Retry-After": "20"}),
                "redirect": Response(307, headers={"Location": URL}),
            }[fate]
        )

    def _spoilt(self, response: Response, fate: str) -> _Answered:
        if fate == "timeout_after":
            self._world.elapse(60)
            raise requests.ReadTimeout("read timed out")
        if fate == "reset_after":
            raise _closed()
        if fate == "cut_body":
            return _Answered(response, cut=True)
        spoilt = {
            "garbage": Response(200, b"<html>Gateway</html>", "text/html"),
            "empty": Response(200),
            "http_503_after": Response(503, b"<html>", "text/html"),
        }
        return _Answered(spoilt.get(fate, response))


_QUOTA = b'{"Code": null, "Message": "API calls quota exceeded! Maximum admitted 150 per Minute."}'


def _closed() -> requests.ConnectionError:
    return requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted."))


def _refused() -> requests.ConnectionError:
    reason = urllib3.exceptions.NewConnectionError(None, "refused")  # type: ignore[arg-type]
    return requests.ConnectionError(urllib3.exceptions.MaxRetryError(None, URL, reason))  # type: ignore[arg-type]


_UNSENT: dict[str, Callable[[], Exception]] = {
    "refused_connection": _refused,
    "connect_timeout": lambda: requests.ConnectTimeout("connect timed out"),
}


class _Wire(Transport):
    world: Surroundings

    def _session(self) -> Any:
        return _Connection(self.world)


class Client(Linnworks):
    """The real client; only its connections are not sockets."""

    def __init__(self, world: Surroundings) -> None:
        self._world = world
        super().__init__(
            URL,
            sandbox.APPLICATION_ID,
            sandbox.APPLICATION_SECRET,
            sandbox.TOKEN,
            rate_share=0,
            patience=Patience(attempts=2, backoff=0.5),
            sleep=world.elapse,
            monotonic=world.seconds,
        )

    def _transport(self, base_url: str) -> Transport:
        transport = super()._transport(base_url)
        transport.__class__ = _Wire
        transport.world = self._world  # type: ignore[attr-defined]
        return transport


def carry_out(state: Watched, sent: Sent, actor: str) -> Response:
    """Let the vendor do what it was asked to."""
    before, state.actor = state.actor, actor
    try:
        return handle(state, sent.request)
    finally:
        state.actor = before
