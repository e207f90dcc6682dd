"""A vendor as a local HTTP server: clock, limits, faults on demand, counters, control.

What belongs to both vendors is here; their paths and rules are in ``linnworks`` and
``happy_returns``. Faults act on the socket, so that a client meets what it would meet in
life: a connection lost before or after the effect, an effect that comes after the client
has given up, a body cut short, garbage.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

Row = TypeVar("Row")


class Clock:
    """The sandbox's time: standing still at an instant, or running with the real one."""

    def __init__(self, now: datetime | None = None) -> None:
        """Stand at ``now``; without it, run."""
        self._now = now

    def now(self) -> datetime:
        """The instant it is here."""
        return self._now or datetime.now(UTC)

    @property
    def standing(self) -> datetime | None:
        """Where it stands; ``None`` when it runs."""
        return self._now

    def set(self, now: datetime | None) -> None:
        """Stand at another instant, or run again."""
        self._now = now


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request."""

    verb: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    disturbance: str = ""  # "looping_cursor" or "duplicate_page": the page to be spoilt

    def one(self, name: str) -> str | None:
        """A query parameter's only value."""
        values = self.query.get(name)
        return values[0] if values else None


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response."""

    status: int
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


def json_response(document: object, status: int = 200) -> Response:
    """A response that holds a document."""
    return Response(status, json.dumps(document).encode())


PAGING = frozenset({"looping_cursor", "duplicate_page"})
BEFORE = frozenset(
    {
        *("lost_before", "reset_before", "silent", "late"),
        *("http_500_before", "http_429", "http_401", "redirect_307"),
    }
)
ANSWERED = frozenset({"slow", "stale"})  # as it should be, but late, or for the last time
AFTER = frozenset(
    {"lost_after", "reset", "unanswered", "cut_body", "garbage", "empty", "http_500_after"}
)
KINDS = BEFORE | PAGING | ANSWERED | AFTER
"""What can happen to a request.

Before its effect: ``lost_before``, ``reset_before`` (the connection ends, orderly or by a
reset), ``silent`` (never an answer), ``late`` (no answer, and the effect ``seconds`` later by
the sandbox's clock), ``http_500_before``, ``http_429`` (wait ``seconds``), ``http_401``,
``redirect_307``. After it: ``lost_after``, ``reset``, ``unanswered``, ``cut_body``,
``garbage``, ``empty``, ``http_500_after``. Answered: ``slow`` (after ``seconds``), ``stale``
(and then the connection is closed unannounced); pages are spoilt by ``looping_cursor`` and
``duplicate_page``.
"""


def cut_page(
    rows: Sequence[Row], start: int, size: int, disturbance: str = ""
) -> tuple[Sequence[Row], int | None]:
    """One page of rows and where the next one begins; ``None`` after the last.

    Disturbed, the page says that it is followed by itself (``looping_cursor``), or holds
    the rows of the page before it once more (``duplicate_page``).
    """
    following = start + size if start + size < len(rows) else None
    if disturbance == "looping_cursor":
        following = start
    elif disturbance == "duplicate_page":
        start = max(0, start - size)
    return rows[start : start + size], following


@dataclass(slots=True)
class Fault:
    """One fault: for a method's next ``times`` calls, after ``after`` undisturbed ones."""

    method: str
    kind: str
    times: int = 1
    after: int = 0
    seconds: float = 0.0


class Faults:
    """The faults that wait to strike."""

    def __init__(self) -> None:
        """None yet."""
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []
        self._late: list[tuple[datetime, Request]] = []
        self.struck: Counter[str] = Counter()

    def add(
        self, method: str, kind: str, *, times: int = 1, after: int = 0, seconds: float = 0.0
    ) -> None:
        """Let a method fail.

        Raises:
            ValueError: When the kind is not one of ``KINDS``.
        """
        if kind not in KINDS:
            msg = f"unknown fault {kind!r}; one of {', '.join(sorted(KINDS))}"
            raise ValueError(msg)
        with self._lock:
            self._waiting.append(Fault(method, kind, times, after, seconds))

    def clear(self) -> None:
        """Forget those that have not struck."""
        with self._lock:
            self._waiting.clear()

    def take(self, method: str) -> Fault | None:
        """The fault for this call of a method, if any."""
        with self._lock:
            for fault in self._waiting:
                if fault.method not in {method, "*"}:
                    continue
                if fault.after:
                    fault.after -= 1
                    return None
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
                self.struck[f"{method}:{fault.kind}"] += 1
                return fault
        return None

    def postpone(self, request: Request, until: datetime) -> None:
        """Keep a request whose client gives up on it; it is carried out all the same."""
        with self._lock:
            self._late.append((until, request))

    def due(self, now: datetime) -> list[Request]:
        """The postponed requests whose time has come, each told once, in their order."""
        with self._lock:
            found = sorted((late for late in self._late if late[0] <= now), key=lambda one: one[0])
            self._late = [late for late in self._late if late[0] > now]
        return [request for _, request in found]


class MinuteLimit:
    """So many calls a method in any sixty seconds, by the real clock."""

    def __init__(self) -> None:
        """Nothing called yet."""
        self._lock = threading.Lock()
        self._calls: dict[str, deque[float]] = defaultdict(deque)

    def admits(self, method: str, most: int) -> bool:
        """Whether one more call is within the limit; it counts if so."""
        now = time.monotonic()
        with self._lock:
            calls = self._calls[method]
            while calls and calls[0] <= now - 60:
                calls.popleft()
            if len(calls) >= most:
                return False
            calls.append(now)
            return True


@dataclass(slots=True)
class Vendor:
    """What a vendor's server needs to know of the vendor."""

    name: str
    handle: Callable[[Request], Response]
    method_of: Callable[[Request], str]
    over_limit: Callable[[str], Response | None]
    books: Callable[[], object]
    too_many: Callable[[float], Response]  # the vendor's own 429, after so many seconds again
    staff: Callable[[Mapping[str, Any]], object] = lambda _action: None
    switches: dict[str, Any] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    calls: Counter[str] = field(default_factory=Counter)


class VendorServer:
    """A vendor on a loopback port, in threads of its own."""

    def __init__(self, vendor: Vendor, clock: Clock, port: int = 0) -> None:
        """Bind; ``port`` 0 takes a free one."""
        self.vendor = vendor
        handler = type("Handler", (_Handler,), {"vendor": vendor, "clock": clock})
        self._server = _Server(("127.0.0.1", port), handler)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Serve in the background."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop, free the port and hang up on whoever is still connected."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.hang_up()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._connected: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connected.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connected.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients are killed and faults cut connections here all the time.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        for connection in list(self._connected):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    vendor: Vendor
    clock: Clock
    wbufsize = -1  # one write a response

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: the counters tell."""

    def do_GET(self) -> None:
        """Answer."""
        self._answer()

    do_POST = do_GET
    do_DELETE = do_GET

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            self.command,
            parts.path,
            parse_qs(parts.query, keep_blank_values=True),
            cast("Mapping[str, str]", self.headers),
            self.rfile.read(length),
        )
        # Nobody can tell whether it was done at its time or at the next request after it.
        for late in self.vendor.faults.due(self.clock.now()):
            self.vendor.handle(late)
        if parts.path.startswith("/_sandbox/"):
            try:
                self._send(self._control(request))
            except (KeyError, TypeError, ValueError) as error:
                self._send(json_response({"error": f"not understood: {error}"}, 400))
            return
        vendor = self.vendor
        method = vendor.method_of(request)
        vendor.calls[method] += 1
        fault = vendor.faults.take(method)
        if fault is not None and fault.kind in BEFORE:
            self._strike_before(fault, request)
            return
        if fault is not None and fault.kind == "slow":
            time.sleep(fault.seconds)
        if fault is not None and fault.kind in PAGING:
            request = replace(request, disturbance=fault.kind)
        refused = vendor.over_limit(method)
        response = refused or vendor.handle(request)
        if fault is None or fault.kind in ANSWERED | PAGING:
            self._send(response)
            if fault is not None and fault.kind == "stale":
                self._drop()
        else:
            self._strike_after(fault, response)

    def _strike_before(self, fault: Fault, request: Request) -> None:
        if fault.kind == "lost_before":
            self._drop()
        elif fault.kind == "reset_before":
            self._reset()
        elif fault.kind in {"silent", "late"}:
            if fault.kind == "late":
                until = self.clock.now() + timedelta(seconds=fault.seconds)
                self.vendor.faults.postpone(request, until)
            self._say_nothing()
        elif fault.kind == "http_500_before":
            self._send(Response(500, b"<html>Internal Server Error</html>", "text/html"))
        elif fault.kind == "http_429":
            self._send(self.vendor.too_many(fault.seconds))
        elif fault.kind == "http_401":
            self._send(json_response({"Code": None, "Message": "Unauthorised"}, 401))
        else:
            self._send(Response(307, headers={"Location": self.path}))

    def _strike_after(self, fault: Fault, response: Response) -> None:
        if fault.kind == "lost_after":
            self._drop()
        elif fault.kind == "reset":
            self._reset()
        elif fault.kind == "unanswered":
            self._say_nothing()
        elif fault.kind == "cut_body":
            self.send_response(response.status)
            self.send_header("Content-Type", response.content_type)
            self.send_header("Content-Length", str(len(response.body) + 40))
            self.end_headers()
            self.wfile.write(response.body[: len(response.body) // 2])
            self._drop()
        elif fault.kind == "garbage":
            self._send(Response(200, b"<html>Gateway</html>", "text/html"))
        elif fault.kind == "empty":
            self._send(Response(200))
        else:
            self._send(Response(500, b"<html>Internal Server Error</html>", "text/html"))

    def _reset(self) -> None:
        # Linger 0 and no shutdown: the peer sees a reset instead of an orderly end.
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def _say_nothing(self) -> None:
        """Keep the connection without a word until the client has given up."""
        self.close_connection = True
        self.rfile.read(1)

    def _drop(self) -> None:
        self.close_connection = True
        try:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the client has gone already
        self.connection.close()

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.body or response.status != 204:
            self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)

    def _control(self, request: Request) -> Response:
        """The sandbox's own paths: health, clock, faults, calls, books, staff, switches."""
        what = request.path.removeprefix("/_sandbox/")
        document: Any = json.loads(request.body) if request.body else {}
        vendor = self.vendor
        if what == "clock" and request.verb == "POST":
            self.clock.set(datetime.fromisoformat(document["now"]) if document.get("now") else None)
        elif what == "faults" and request.verb == "POST":
            for fault in document["faults"]:
                vendor.faults.add(**fault)
        elif what == "faults" and request.verb == "DELETE":
            vendor.faults.clear()
        elif what == "books":
            return json_response(vendor.books())
        elif what == "staff" and request.verb == "POST":
            return json_response(vendor.staff(document))
        elif what == "switches" and request.verb == "POST":
            vendor.switches.update(document)
        elif what == "calls":
            return json_response(dict(vendor.calls))
        elif what != "health":
            return json_response({"error": f"no control {what!r}"}, 404)
        return json_response({"vendor": vendor.name, "now": self.clock.now().isoformat()})
