"""HTTP, its pace, and errors typed by what to do next. The only user of ``requests``.

A *read* may be repeated and is, within bounds. A *write* is sent once: whatever is not a
clear yes or a clear no is ``OutcomeUnknown`` (specification RELIABILITY 2.1), every
exception nobody has seen before included. Vendors' paths and shapes are the clients'.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter


class VendorError(Exception):
    """A call that did not give what was asked. The text holds no body and no secret."""

    def __init__(self, method: str, detail: str) -> None:
        """Name the vendor's method and what went wrong."""
        self.method = method
        self.detail = detail
        super().__init__(f"{method}: {detail}")


class NotApplied(VendorError):
    """It certainly did not happen: it may be sent again."""


class OutcomeUnknown(VendorError):
    """It may have happened: read back before anything else."""


class Unavailable(VendorError):
    """A read that failed after its repetitions: try again later."""


class Unauthorised(VendorError):
    """The session is not valid: sign in again, once. Nothing was applied."""


class CredentialsRevoked(VendorError):
    """Signing in again did not help: stop everything and ask Operations."""


class ContractBroken(VendorError):
    """The answer is not of the published shape: stop, do not guess."""


class RateLimited(VendorError):
    """Too many calls: wait as told. Nothing was applied."""

    def __init__(self, method: str, retry_after: float) -> None:
        """Say how long to wait, in seconds."""
        self.retry_after = retry_after
        super().__init__(method, f"over the limit; wait {retry_after:g} s")


class Refused(VendorError):
    """The vendor understood and said no: a person decides."""

    def __init__(self, method: str, messages: tuple[str, ...]) -> None:
        """Keep the vendor's messages."""
        self.messages = messages
        super().__init__(method, "; ".join(messages) or "refused")


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """The body as text, for messages that are not JSON."""
        return self.body.decode("utf-8", "replace")


class Pacer:
    """One lane a method: calls of a lane keep their distance, lanes do not wait for others.

    Thread-safe. A ``share`` of 0 switches pacing off.
    """

    def __init__(
        self,
        *,
        share: float,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use ``share`` of every published limit."""
        self._share = share
        self._sleep = sleep
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}

    def wait(self, lane: str, per_minute: float) -> None:
        """Wait until the lane's next place and take it."""
        if self._share <= 0:
            pause = self._reserved(lane, 0.0)
        else:
            pause = self._reserved(lane, 60.0 / (per_minute * self._share))
        if pause > 0:
            self._sleep(pause)

    def _reserved(self, lane: str, distance: float) -> float:
        with self._lock:
            now = self._monotonic()
            start = max(now, self._next.get(lane, now))
            self._next[lane] = start + distance
            return start - now

    def hold(self, lane: str, seconds: float) -> None:
        """Close one lane for a while, as the vendor told."""
        with self._lock:
            until = self._monotonic() + seconds
            self._next[lane] = max(self._next.get(lane, 0.0), until)


_NOT_SENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.NameResolutionError,
    urllib3.exceptions.ConnectTimeoutError,
)


def was_not_sent(error: BaseException) -> bool:
    """Whether the chain of causes proves that nothing left this machine."""
    seen: set[int] = set()
    queue: list[object] = [error]
    while queue:
        current = queue.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, (*_NOT_SENT, requests.exceptions.ConnectTimeout)):
            return True
        # A handshake that fails has sent no request.
        if isinstance(current, requests.exceptions.SSLError):
            return True
        queue.extend((current.__cause__, current.__context__, *current.args))
        queue.append(getattr(current, "reason", None))
    return False


class Transport:
    """Sends requests to one vendor's hosts and classifies what comes back.

    Args:
        allowed_hosts: Hosts that may be asked; any other is refused before the call.
        headers: Sent with every call; may hold a key and is never printed.
        timeout: Connect and read, seconds; long for the answer, since giving up on a
            write makes its outcome unknown.
        attempts: How often a read is tried.
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        allowed_hosts: set[str],
        headers: Mapping[str, str],
        timeout: tuple[float, float] = (5.0, 60.0),
        attempts: int = 4,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Make no connection yet."""
        self.allowed_hosts = allowed_hosts
        self._headers = dict(headers)
        self._timeout = timeout
        self._attempts = attempts
        self._sleep = sleep
        self._local = threading.local()
        self.calls: Counter[str] = Counter()

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False
            # Only a connection that was never made may be tried again for a write.
            retry = urllib3.Retry(connect=2, read=0, redirect=0, status=0, other=0, total=2)
            adapter = HTTPAdapter(max_retries=retry)
            session.mount("https://", adapter)
            session.mount("http://", adapter)
            self._local.session = session
        return session

    def fresh_connection(self) -> None:
        """Drop this thread's kept connections: an idle one may be dead already."""
        session = getattr(self._local, "session", None)
        if session is not None:
            session.close()
            self._local.session = None

    def send(  # noqa: PLR0913
        self,
        name: str,
        verb: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, once.

        Raises:
            NotApplied: It was certainly not sent.
            OutcomeUnknown: Anything else that is not a complete answer.
            ContractBroken: A redirect, or a host that is not the vendor's.
        """
        host = urlsplit(url).hostname or ""
        if host not in self.allowed_hosts:
            raise ContractBroken(name, f"the host {host!r} is not one of this vendor's")
        self.calls[name] += 1
        try:
            response = self._session().request(
                verb,
                url,
                params=params,
                data=body,
                headers={**self._headers, **(headers or {})},
                timeout=self._timeout,
                allow_redirects=False,
            )
            answer = Answer(response.status_code, response.content, response.headers)
        except Exception as error:
            self.fresh_connection()
            kind = type(error).__name__
            if was_not_sent(error):
                raise NotApplied(name, f"no connection ({kind})") from None
            # From None: the text of a requests error holds the address and its query.
            raise OutcomeUnknown(name, f"no complete answer ({kind})") from None
        if 300 <= answer.status < 400:  # noqa: PLR2004
            raise ContractBroken(name, f"redirected (HTTP {answer.status}); never followed")
        return answer

    def read(
        self, name: str, ask: Callable[[], Answer], check: Callable[[Answer], Any]
    ) -> Any:  # noqa: ANN401
        """A read: tried again with growing pauses, waiting as told, within bounds.

        Args:
            name: The vendor's method.
            ask: Sends one request.
            check: Turns the answer into the result, or raises a typed error;
                ``OutcomeUnknown`` there means "not readable, worth another try".

        Raises:
            Unavailable: When every try failed.
        """
        last: VendorError | None = None
        for attempt in range(self._attempts):
            try:
                return check(ask())
            except RateLimited as error:
                last = error
                self._sleep(min(error.retry_after, 120.0))
            except (NotApplied, OutcomeUnknown) as error:
                last = error
                if attempt + 1 < self._attempts:
                    self._sleep(0.2 * 4**attempt)
        detail = last.detail if last else "no answer"
        raise Unavailable(name, f"{detail}, {self._attempts} times")
