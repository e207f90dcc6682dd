"""The fates of requests: dealt by the seed, met on real sockets, counted by kind of request.

The client is the program's own. Before one of its requests is sent, the weather says what is
to become of it: the sandbox's server is told to lose, delay or spoil it, or the request goes
where nobody answers, or where a certificate is not the vendor's. Waits are not slept: the
client's clock is moved on instead.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from returns_pipeline.clients.happy_returns import HappyReturns
from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.clients.transport import Answer, Call, Transport
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.sandbox.server import Faults
from returns_pipeline.settings import Settings
from returns_pipeline_tests.clients.wire import Wire, answer

WRITES = ("CreateRMABooking", "ActionRMABooking", "CreateRefund", "ActionRefund", "CreateOrders")
READS = "reads of Linnworks"
LOOK_UPS = "reads of Happy Returns"

# Fate, as the table of reports names it -> the sandbox's fault, or what is done here.
FATES = {
    "name not found": "nameless",
    "connection refused": "refused",
    "handshake never answered": "mute",
    "wrong certificate": "stranger",
    "closed before the effect": "lost_before",
    "reset before the effect": "reset_before",
    "never answered, no effect": "silent",
    "never answered, late effect": "late",
    "never answered, effect": "unanswered",
    "closed after the effect": "lost_after",
    "reset after the effect": "reset",
    "body cut off": "cut_body",
    "garbage": "garbage",
    "empty": "empty",
    "redirect": "redirect_307",
    "401": "http_401",
    "429, wait as told": "http_429",
    "500 before the effect": "http_500_before",
    "500 after the effect": "http_500_after",
    "slow": "slow",
    "answered, then closed": "stale",
}
STALE = "sent on a keep-alive gone stale"  # what the next request on that connection meets
LOSES_THE_ANSWER = frozenset(
    {
        *("lost_before", "reset_before", "silent", "late", "unanswered", "lost_after", "reset"),
        *("cut_body", "garbage", "empty", "redirect_307", "http_500_before", "http_500_after"),
    }
)
_ELSEWHERE = frozenset({"nameless", "refused", "mute", "stranger"})
_GIVEN_UP = frozenset({"silent", "late", "unanswered"})
_NAMES = {kind: name for name, kind in FATES.items()}
# A fifth lost answer of one write is a person's task: a storm stops short of that.
_LOSSES = 4
# Seconds by the sandbox's clock; shorter than the settle time, which is what is assumed.
_LATEST = 55.0
_GIVES_UP_AFTER = 0.15
_NAMELESS = "linnworks.invalid"


class Elsewhere:
    """Not the vendor: a name that is none, a port nobody listens on, a mute one, a stranger's."""

    def __init__(self, folder: Path) -> None:
        """Open them; the certificate is made by openssl, where there is one."""
        self._closed = socket.socket()
        self._closed.bind(("127.0.0.1", 0))
        self._mute = socket.create_server(("127.0.0.1", 0))
        self.urls = {
            "nameless": f"https://{_NAMELESS}",
            "refused": f"http://127.0.0.1:{self._closed.getsockname()[1]}",
            "mute": f"https://127.0.0.1:{self._mute.getsockname()[1]}",
        }
        self.stranger: Wire | None = None
        context = _certificate(folder)
        if context is not None:
            self.stranger = Wire(answer(200, b"{}"), tls=context)
            self.urls["stranger"] = self.stranger.url

    def close(self) -> None:
        """Close them."""
        self._closed.close()
        self._mute.close()
        if self.stranger is not None:
            self.stranger.stop()


def _certificate(folder: Path) -> ssl.SSLContext | None:
    openssl = shutil.which("openssl")
    if openssl is None:
        return None
    key, certificate = folder / "stranger.key", folder / "stranger.pem"
    if not certificate.exists():
        subprocess.run(  # noqa: S603 (made here, of nothing from outside)
            [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class HurriedClock:
    """Real time, moved on by every wait instead of waiting."""

    def __init__(self) -> None:
        """Nothing was waited for yet."""
        self._lock = threading.Lock()
        self._waited = 0.0

    def monotonic(self) -> float:
        """Seconds, those waited for included."""
        return time.monotonic() + self._waited

    def sleep(self, seconds: float) -> bool:
        """Have waited; false, as ``Event.wait`` says that nobody has stopped it."""
        with self._lock:
            self._waited += max(0.0, seconds)
        return False


@dataclass(frozen=True, slots=True)
class Met:
    """A request that met its fate."""

    kind: str
    number: int
    fate: str

    def __str__(self) -> str:
        """As a failing seed prints it."""
        return f"{self.kind} {self.number}: {self.fate}"


@dataclass
class Weather:
    """What becomes of each request of one seed.

    Args:
        seed: Deals the fates.
        sandbox: Whose servers carry them out.
        elsewhere: Where requests go that never reach the vendor.
        strength: How many writes in a hundred are disturbed; reads a fifth as often.
    """

    seed: int
    sandbox: Sandbox
    elsewhere: Elsewhere
    strength: int
    clock: HurriedClock = field(default_factory=HurriedClock)
    calm: bool = True
    log: list[Met] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Deal nothing yet."""
        self._lock = threading.Lock()
        self._numbers: Counter[str] = Counter()
        self._dealt: Counter[str] = Counter()
        self._lost: Counter[bytes] = Counter()
        self._own = threading.local()

    # --- the clients --------------------------------------------------------------

    def linnworks(self, settings: Settings) -> Linnworks:
        """The program's client of Linnworks, out in this weather."""
        own = settings.linnworks
        assert own is not None
        return _Linnworks(self, own.auth_url, own.application_id, own.application_secret, own.token)

    def happy_returns(self, settings: Settings, page_size: int) -> HappyReturns:
        """The program's client of Happy Returns, out in this weather."""
        own = settings.happy_returns
        assert own is not None
        client = HappyReturns(
            own.base_url,
            own.api_key,
            own.retailer_id,
            rate=0,
            page_size=page_size,
            sleep=self.clock.sleep,
            monotonic=self.clock.monotonic,
        )
        self.over(client._transport, self.sandbox.happy_returns_server.vendor.faults, LOOK_UPS)
        return client

    def over(self, transport: Transport, faults: Faults, reads: str) -> Transport:
        """Let this weather be over a transport; ``reads``: what its reads are counted as."""
        send = transport._exchange

        def exchange(call: Call, *more: Any) -> Answer:
            return self._meet(transport, send, faults, reads, call, *more)

        transport._exchange = exchange
        return transport

    # --- one request --------------------------------------------------------------

    def _meet(
        self,
        transport: Transport,
        send: Callable[..., Answer],
        faults: Faults,
        reads: str,
        call: Call,
        *more: Any,
    ) -> Answer:
        kind = call.method if call.method in WRITES else reads
        stale, self._own.stale = getattr(self._own, "stale", None), None
        with self._lock:
            self._numbers[kind] += 1
            number = self._numbers[kind]
            fate = self._deal(kind, number, call)
            if fate:
                self.log.append(Met(kind, number, _NAMES[fate]))
            kept = stale is transport and transport._idle() <= 2.0  # else it takes a fresh one
            if kept and fate not in _ELSEWHERE | _GIVEN_UP:
                self.log.append(Met(kind, number, STALE))
            if fate and fate not in _ELSEWHERE:
                faults.add(call.method, fate, seconds=self._seconds(fate, kind, number))
        if fate in _ELSEWHERE:
            return self._beside(transport, self.elsewhere.urls[fate], call, *more)
        if fate in _GIVEN_UP:
            return self._beside(transport, transport.base_url, call, *more)
        found = send(call, *more)
        if fate == "stale":
            self._own.stale = transport
        return found

    def _deal(self, kind: str, number: int, call: Call) -> str:
        """The fate of a request; none for most reads, and for a write that lost enough."""
        rng = random.Random(f"{self.seed}:{kind}:{number}")  # noqa: S311 (told again by the seed)
        writes = kind in WRITES
        if self.calm or rng.randrange(100) >= (self.strength if writes else self.strength // 5):
            return ""
        # Each seed takes up the pack where the seed before it may have come to.
        pack = [f for f in FATES.values() if f in self.elsewhere.urls or f not in _ELSEWHERE]
        random.Random(f"{self.seed // 5}:{kind}").shuffle(pack)  # noqa: S311
        fate = pack[(self.seed % 5 * 4 + self._dealt[kind]) % len(pack)]
        if writes and fate in LOSES_THE_ANSWER:
            key = hashlib.sha256(call.method.encode() + (call.body or b"")).digest()
            if self._lost[key] >= _LOSSES:
                return ""
            self._lost[key] += 1
        self._dealt[kind] += 1
        return fate

    def _seconds(self, fate: str, kind: str, number: int) -> float:
        rng = random.Random(f"{self.seed}:{kind}:{number}:seconds")  # noqa: S311
        if fate == "late":
            return rng.uniform(1.0, _LATEST)
        return {"slow": 0.02, "http_429": float(rng.randint(1, 90))}.get(fate, 0.0)

    def _beside(self, transport: Transport, url: str, call: Call, *more: Any) -> Answer:
        """Send by the same code on a connection of its own, to another place or impatiently."""
        once = Transport(
            url,
            allowed_hosts={"127.0.0.1", _NAMELESS},
            session_headers=transport._headers,
            timeout=(0.03 if url == self.elsewhere.urls["mute"] else 5.0, _GIVES_UP_AFTER),
            sleep=self.clock.sleep,
            monotonic=self.clock.monotonic,
            lanes=transport.lanes,
        )
        try:
            return once._exchange(call, *more)
        finally:
            once.fresh_connection()


class _Linnworks(Linnworks):
    """The program's client, each of its transports out in the weather."""

    def __init__(
        self, weather: Weather, url: str, application: str, secret: str, token: str
    ) -> None:
        self._weather = weather
        super().__init__(
            url,
            application,
            secret,
            token,
            rate_share=0,
            sleep=weather.clock.sleep,
            monotonic=weather.clock.monotonic,
        )

    def _transport(self, base_url: str) -> Transport:
        faults = self._weather.sandbox.linnworks_server.vendor.faults
        return self._weather.over(super()._transport(base_url), faults, READS)


@contextmanager
def elsewhere(folder: Path) -> Iterator[Elsewhere]:
    """The places, closed in the end."""
    look_up = socket.getaddrinfo

    def only_here(host: Any, *rest: Any, **more: Any) -> Any:
        if host == _NAMELESS:  # as a resolver says it, and without asking one
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *rest, **more)

    places = Elsewhere(folder)
    try:
        with patch.object(socket, "getaddrinfo", only_here):
            yield places
    finally:
        places.close()
