"""One HTTP exchange with a vendor, and what its fate means for the caller.

Here: connections, time-outs, pacing, the bounded retries of reads, and the errors, typed
by what to do next (spec RELIABILITY section 2). This is the only module that speaks HTTP.
Not here: a vendor's paths, fields or error bodies; the retry of a write, which belongs to
nobody: what may have been sent is settled by reading back (``dispatch``).
"""

from __future__ import annotations

import logging
import math
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, NoReturn, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec
import requests
import urllib3

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


# --- what to do next --------------------------------------------------------------


class VendorError(Exception):
    """A call to a vendor did not do what was asked; the class says what to do next.

    ``may_have_happened`` is true of exactly one class: everything else is a clear no.
    The text never holds a body, a secret, a query string or anything personal.
    """

    may_have_happened: ClassVar[bool] = False

    def __init__(self, method: str, detail: str) -> None:
        """Keep the vendor's method and what is known of the failure."""
        self.method = method
        self.detail = detail
        super().__init__(f"{method}: {detail}")


class NotApplied(VendorError):  # noqa: N818
    """The write certainly did not happen: it may be sent again, later."""


class OutcomeUnknown(VendorError):  # noqa: N818
    """The write may have happened: read back before anything else. Never repeat it."""

    may_have_happened = True


class Unauthorised(VendorError):  # noqa: N818
    """The session is over: authorise anew, once, and ask again, once."""


class RateLimited(VendorError):  # noqa: N818
    """Nothing happened; the vendor says to wait ``retry_after`` seconds."""

    def __init__(self, method: str, retry_after: float) -> None:
        """Keep how long to wait."""
        self.retry_after = retry_after
        super().__init__(method, f"over its limit, wait {retry_after:g} s")


class Refused(VendorError):  # noqa: N818
    """The vendor understood and said no; nothing happened. Ask a person.

    Asking again the same way gives the same answer.
    """

    def __init__(self, method: str, messages: Iterable[str]) -> None:
        """Keep the vendor's words; who makes this cleans them (``Scrub``)."""
        self.messages = tuple(messages) or ("no reason given",)
        super().__init__(method, "; ".join(self.messages))


class ContractBroken(VendorError):  # noqa: N818
    """The answer, or where it would have us go, is not as published: stop and look."""

    @property
    def what(self) -> str:
        """What is not as published."""
        return self.detail


class CredentialsRevoked(VendorError):  # noqa: N818
    """The vendor no longer accepts who we are: stop everything."""


class Unavailable(VendorError):  # noqa: N818
    """The read failed after its retries and changed nothing: try again later.

    A failed read is never an empty answer.
    """


# --- pacing and counting ----------------------------------------------------------


class Lane:
    """The paced queue of one vendor method: calls leave it evenly spaced.

    Spacing, not a bucket: whether the vendor counts in fixed or sliding minutes is not
    published, and even spacing stays under both.
    """

    def __init__(
        self,
        interval: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """A lane that lets a call pass every ``interval`` seconds; 0: no pacing."""
        self._interval = interval
        self._sleep = sleep
        self._monotonic = monotonic
        self._free_at = 0.0
        self._paused_until = 0.0
        self._pauses = 0
        self._lock = threading.Lock()

    def wait(self, *, longest: float = math.inf) -> float:
        """Wait for the next free place; who waits when a pause comes queues anew.

        Returns:
            0 when the call may pass. Else the seconds the pause still lasts, where that is
            more than ``longest``: nobody sleeps for hours on a vendor's word.
        """
        while True:
            with self._lock:
                pauses = self._pauses
                now = self._monotonic()
                if self._paused_until - now > longest:
                    return self._paused_until - now
                place = max(now, self._free_at)
                self._free_at = place + self._interval
            if place > now:
                self._sleep(place - now)
            with self._lock:
                if self._pauses == pauses:
                    return 0.0

    def pause(self, seconds: float) -> None:
        """Let nothing pass for so long: this vendor method said that it is full."""
        with self._lock:
            until = self._monotonic() + seconds
            self._paused_until = max(self._paused_until, until)
            self._free_at = max(self._free_at, until)
            self._pauses += 1


class Lanes:
    """The lanes of one vendor, one a method, and the count of calls made in each.

    Thread-safe. ``calls`` counts requests sent, by method, retries included.
    """

    def __init__(
        self,
        interval: Callable[[str], float] = lambda _method: 0.0,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Lanes whose spacing in seconds ``interval`` tells from the method's name."""
        self._interval = interval
        self._sleep = sleep
        self._monotonic = monotonic
        self._lanes: dict[str, Lane] = {}
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.reads = 0
        self.writes = 0

    def lane(self, method: str) -> Lane:
        """The method's lane."""
        with self._lock:
            if method not in self._lanes:
                self._lanes[method] = Lane(
                    self._interval(method), sleep=self._sleep, monotonic=self._monotonic
                )
            return self._lanes[method]

    def count(self, method: str, *, write: bool) -> None:
        """Count one request."""
        with self._lock:
            self.calls[method] += 1
            if write:
                self.writes += 1
            else:
                self.reads += 1


def per_minute(limits: Callable[[str], float], share: float) -> Callable[[str], float]:
    """The spacing in seconds for a published limit a minute and the share to use of it.

    A share of 0 switches pacing off.
    """

    def interval(method: str) -> float:
        limit = limits(method)
        return 60.0 / (limit * share) if share > 0 and limit > 0 else 0.0

    return interval


# --- one exchange -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a vendor method, before it is sent.

    Reads say so: whatever is not declared a read is treated as a write.
    """

    method: str  # the vendor's name for it: lane, counter and error text
    verb: str  # GET | POST
    path: str
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    read: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]  # lower-case names
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Told:
    """What a vendor's own error body says; made by the vendor's ``recognise``."""

    messages: tuple[str, ...] = ()
    over_limit: bool = False
    wait: float | None = None  # seconds, where the body says how long


Recognise = Callable[[Answer], Told | None]

# What decoding raises when the bytes are no JSON, no UTF-8, or nested without end.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_E_MAIL = re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+")
_LONGEST_MESSAGE = 200


class Scrub:
    """Cleans a vendor's words before they enter an error text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Words that must never be repeated."""
        self._secrets = tuple(sorted({s for s in secrets if s}, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """One line, short, without our secrets or anything that looks like an e-mail."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = _E_MAIL.sub("***", text)
        # Control characters could forge log lines.
        text = "".join(c if c.isprintable() else " " for c in text)
        text = " ".join(text.split())
        return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a read is tried. Nothing here applies to writes."""

    attempts: int = 4
    waits: int = 10  # times it is told to wait
    backoff: float = 0.5  # doubled after each attempt
    longest_backoff: float = 8.0
    budget: float = 300.0  # seconds, waits as told included


# Long for writes' sake: a request we gave up on may still be executed.
TIMEOUT = (5.0, 60.0)  # connect, read
_LONGEST_EXCHANGE = 120.0  # seconds, against a body that drips
_LARGEST_ANSWER = 256 * 1024 * 1024
_LONGEST_ERROR = 1024
_WAIT_UNTOLD = 60.0  # the limits are per minute
_IDLE_TOO_LONG = 2.0  # seconds; a write takes a fresh connection after that
# Connecting again is safe for any request; nothing else is.
_RETRIES = urllib3.Retry(
    connect=3,
    read=0,
    redirect=0,
    status=0,
    other=0,
    respect_retry_after_header=False,
)


class Transport:
    """A vendor's host: sends calls, retries reads, and types every failure."""

    def __init__(
        self,
        base_url: str,
        *,
        allowed_hosts: Iterable[str],
        session_headers: Mapping[str, str] | None = None,
        recognise: Recognise = lambda _answer: None,
        scrub: Scrub | None = None,
        timeout: tuple[float, float] = TIMEOUT,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        lanes: Lanes | None = None,
    ) -> None:
        """Check the address; connect to nothing yet.

        Args:
            base_url: Where the vendor is; https, or http on loopback.
            allowed_hosts: The only hosts that may ever be spoken to.
            session_headers: Sent with every request.
            recognise: Reads the vendor's own error body, ``None`` when it is not one.
            scrub: Cleans the vendor's words for error texts.
            timeout: Connect and read time-outs in seconds.
            patience: The bounds of a read's retries.
            sleep: Waits.
            monotonic: A clock that only goes forward.
            lanes: Pacing and counting, shared between transports of one vendor.

        Raises:
            ValueError: When the address is not usable.
        """
        self.base_url = base_url.rstrip("/")
        self._allowed = frozenset(host.lower() for host in allowed_hosts)
        self._check_address(self.base_url)
        # At DEBUG urllib3 logs the path and query of every request, at WARNING those of
        # the connections it tries again. Neither belongs in a log.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        self._headers = dict(session_headers or {})
        self._recognise = recognise
        self._scrub = scrub or Scrub(())
        self._timeout = timeout
        self._patience = patience or Patience()
        self._sleep = sleep
        self._monotonic = monotonic
        self.lanes = lanes or Lanes(sleep=sleep, monotonic=monotonic)
        self._own = threading.local()

    def _check_address(self, url: str) -> None:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("the vendor's address must hold neither credentials nor query")
        if host not in self._allowed:
            raise ValueError(f"{host or 'no host'} is not a host of this vendor")
        if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
            raise ValueError(f"{host} must be spoken to over https")

    # --- reads

    def read(
        self,
        call: Call,
        decode: Callable[[Answer], T],
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Send a read until it is answered, within bounds.

        Retried: no connection, a lost or garbled answer, 5xx. Waited for, as told: a full
        rate limit. Nothing else.

        Raises:
            Unavailable: When no answer came within the bounds.
            Unauthorised: When the session is over.
            Refused: When the vendor says no in its own words.
            ContractBroken: When the answer is not as published.
        """
        started = self._monotonic()
        failures = waits = 0
        while True:
            try:
                return self._read_once(call, decode, headers or {})
            except RateLimited as limited:
                waits += 1
                wait = limited.retry_after
                spent = self._monotonic() - started + wait
                if waits > self._patience.waits or spent > self._patience.budget:
                    raise Unavailable(call.method, limited.detail) from None
                # The lane is paused already; the next attempt waits in it.
                log.info("%s is over its limit; waiting %.1f s", call.method, wait)
            except Unavailable as failed:
                failures += 1
                wait = min(
                    self._patience.backoff * 2 ** (failures - 1),
                    self._patience.longest_backoff,
                )
                spent = self._monotonic() - started + wait
                if failures >= self._patience.attempts or spent > self._patience.budget:
                    raise
                log.info("%s; attempt %d of %d", failed, failures, self._patience.attempts)
                self._sleep(wait)

    def _read_once(
        self, call: Call, decode: Callable[[Answer], T], headers: Mapping[str, str]
    ) -> T:
        try:
            answer = self._exchange(call, headers)
        except _TooLarge:
            raise ContractBroken(call.method, "the answer has no end") from None
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
        ) as error:
            raise Unavailable(call.method, _fate(error)) from None
        if not _is_success(answer):
            self._raise_told(call, answer)
            if 300 <= answer.status < 400:
                raise ContractBroken(call.method, f"redirects (HTTP {answer.status})")
            if 400 <= answer.status < 500:
                raise ContractBroken(call.method, f"HTTP {answer.status}, not in its own words")
            raise Unavailable(call.method, f"HTTP {answer.status}")
        self._raise_if_over_limit(call, answer)
        try:
            return decode(answer)
        except msgspec.ValidationError as error:
            raise ContractBroken(call.method, _shape(error)) from None
        except UNREADABLE:
            size = len(answer.content)
            raise Unavailable(call.method, f"unreadable answer ({size} bytes)") from None

    # --- writes

    def write(
        self,
        call: Call,
        decode: Callable[[Answer], T],
        headers: Mapping[str, str] | None = None,
        *,
        leaving: Callable[[], None] = lambda: None,
    ) -> T:
        """Send a write, once.

        Args:
            call: What is sent.
            decode: Reads its answer.
            headers: Sent with it.
            leaving: Called when it is this request's turn, just before it leaves; what it
                raises keeps it from leaving.

        Raises:
            NotApplied: When no connection came about, or ``leaving`` raised: nothing was
                sent.
            Unauthorised, RateLimited, Refused: When the vendor says so; nothing happened.
            OutcomeUnknown: In every other case, whatever it is.
        """
        if self._idle() > _IDLE_TOO_LONG:
            # A kept connection may be closing at the other end at this moment, and a
            # write lost in it would be unknown for nothing.
            self.fresh_connection()
        try:
            answer = self._exchange(call, headers or {}, leaving)
        except (NotApplied, RateLimited):
            raise
        except Exception as error:  # noqa: BLE001 - what we have never seen is unknown too
            if never_sent(error):
                raise NotApplied(call.method, _fate(error)) from None
            raise OutcomeUnknown(call.method, _fate(error)) from None
        try:
            if _is_success(answer):
                self._raise_if_over_limit(call, answer)
                return decode(answer)
            self._raise_told(call, answer)
        except VendorError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            detail = f"HTTP {answer.status}, {_shape(error)} ({len(answer.content)} bytes)"
            raise OutcomeUnknown(call.method, detail) from None
        raise OutcomeUnknown(call.method, f"HTTP {answer.status}")

    # --- both

    def _exchange(
        self,
        call: Call,
        headers: Mapping[str, str],
        leaving: Callable[[], None] = lambda: None,
    ) -> Answer:
        over = self.lanes.lane(call.method).wait(longest=self._patience.budget)
        if over:
            raise RateLimited(call.method, over)
        try:
            leaving()
        except NotApplied:
            raise
        except Exception as error:
            raise NotApplied(call.method, f"not sent: {type(error).__name__}") from error
        self.lanes.count(call.method, write=not call.read)
        session = self._session()
        request = self._request(session, call, headers)
        started = self._monotonic()
        with session.send(
            request, timeout=self._timeout, allow_redirects=False, stream=True
        ) as response:
            parts, size = [], 0
            # One read of the socket at a time: `iter_content` returns only when its
            # whole part is there, and a body that drips would never be looked at.
            while part := response.raw.read1(1 << 20, decode_content=True):
                parts.append(part)
                size += len(part)
                if size > _LARGEST_ANSWER:
                    raise _TooLarge
                if self._monotonic() - started > _LONGEST_EXCHANGE:
                    raise _TooSlow
            self._own.used_at = self._monotonic()
            names = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, names, b"".join(parts))

    def _request(
        self, session: requests.Session, call: Call, headers: Mapping[str, str]
    ) -> requests.PreparedRequest:
        """The call as it is sent; of one like the last one, only the query is new.

        `requests` takes as long to prepare a page's request as to send it.
        """
        query = f"?{urlencode(call.query)}" if call.query else ""
        plain = call.verb == "GET" and call.body is None and not session.cookies
        like = (call.path, dict(headers))
        last: tuple[Any, requests.PreparedRequest] | None = getattr(self._own, "last", None)
        if plain and last is not None and last[0] == like:
            request = last[1].copy()
            request.url = (request.url or "").partition("?")[0] + query
            return request
        request = session.prepare_request(
            requests.Request(
                call.verb, self.base_url + call.path + query, data=call.body, headers=dict(headers)
            )
        )
        self._own.last = (like, request) if plain else None
        return request

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._own, "session", None)
        if session is None:
            session = _Session()
            # No proxies, .netrc or certificate bundles from the environment: a netrc
            # entry would replace our Authorization header.
            session.trust_env = False
            session.headers.update(self._headers)
            adapter = requests.adapters.HTTPAdapter(max_retries=_RETRIES)
            adapter.poolmanager.pool_classes_by_scheme = _POOLS
            session.mount("https://", adapter)
            session.mount("http://", adapter)
            self._own.session = session
        return session

    def _idle(self) -> float:
        used_at: float | None = getattr(self._own, "used_at", None)
        return 0.0 if used_at is None else self._monotonic() - used_at

    def fresh_connection(self) -> None:
        """Close this thread's kept connections; the next call opens a new one."""
        session: requests.Session | None = getattr(self._own, "session", None)
        if session is not None:
            session.close()

    def _raise_told(self, call: Call, answer: Answer) -> None:
        """Raise what the status and the vendor's own error body say, if they say it."""
        told = self._recognise(answer)
        if answer.status == 429 or (told is not None and told.over_limit):
            self._over_limit(call, told, answer)
        if answer.status == 401:
            raise Unauthorised(call.method, "HTTP 401")
        if told is not None and 400 <= answer.status < 500:
            raise Refused(call.method, (self._scrub(m) for m in told.messages if m))

    def _raise_if_over_limit(self, call: Call, answer: Answer) -> None:
        # Linnworks' quota text was seen on other statuses than 429 (contract 1.3, [L]).
        if len(answer.content) <= _LONGEST_ERROR:
            told = self._recognise(answer)
            if told is not None and told.over_limit:
                self._over_limit(call, told, answer)

    def _over_limit(self, call: Call, told: Told | None, answer: Answer) -> NoReturn:
        wait = told.wait if told else None
        if wait is None:
            wait = retry_after_header(answer)
        if wait is None:
            wait = _WAIT_UNTOLD
        self.lanes.lane(call.method).pause(wait)
        raise RateLimited(call.method, wait)


class _Session(requests.Session):
    """A session that knows no redirects: an answer that is one stays an answer.

    ``allow_redirects=False`` alone still reads the whole body of a redirect, however
    long, in order to work out where it leads.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        return None


class _Handshaken(urllib3.connection.HTTPSConnection):
    """A TLS connection whose failed handshake says that nothing was sent.

    urllib3 reports it like the failure of a connection in use. A certificate that is not
    accepted keeps its own error: ``never_sent`` knows it, and connecting again is vain.
    """

    def connect(self) -> None:
        try:
            super().connect()
        except ssl.SSLCertVerificationError:
            raise
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, "no TLS handshake") from error


class _HandshakenPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Handshaken


_POOLS = {"http": urllib3.HTTPConnectionPool, "https": _HandshakenPool}


class _TooLarge(Exception):  # noqa: N818
    """The answer exceeds every published page size many times over."""


class _TooSlow(OSError):  # noqa: N818
    """The body drips: every part in time, the whole never."""


def retry_after_header(answer: Answer) -> float | None:
    """Seconds from ``Retry-After``; a date there is read against the answer's own."""
    text = answer.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,6}(\.\d+)?", text):
        return float(text)
    try:
        until = parsedate_to_datetime(text)
        told_at = parsedate_to_datetime(answer.headers.get("date", ""))
        return max(0.0, (until - told_at).total_seconds())
    except (TypeError, ValueError):
        return None


def _is_success(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def never_sent(error: BaseException) -> bool:
    """Whether the request certainly never left: there was no connection to send it on.

    Only what the exception itself carries is looked at, never ``__context__``: there
    may stand the failure of an earlier call that the caller is handling just now.
    A TLS failure counts only when it is the certificate's, which is checked before
    anything is sent; any other may come in mid-answer.
    """
    seen: set[int] = set()
    pending: list[object] = [error]
    while pending:
        one = pending.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(
            one,
            (
                requests.ConnectTimeout,
                urllib3.exceptions.ConnectTimeoutError,
                urllib3.exceptions.NewConnectionError,
                urllib3.exceptions.NameResolutionError,
                ssl.SSLCertVerificationError,
            ),
        ):
            return True
        pending.extend(one.args)
        pending.append(getattr(one, "reason", None))
    return False


def _fate(error: BaseException) -> str:
    """What happened to the request, from class names alone: texts hold URLs."""
    names = [type(error).__name__.lstrip("_")]
    pending: list[object] = [getattr(error, "reason", None), *error.args]
    while pending and len(names) < 4:
        one = pending.pop(0)
        if isinstance(one, BaseException):
            names.append(type(one).__name__)
            pending = [getattr(one, "reason", None), *one.args]
    return " < ".join(names)


_VALUE_IN_TEXT = re.compile(r"value .*?( - at|$)")


def _shape(error: BaseException) -> str:
    """Where an answer departs from what is published; never the value that stood there."""
    if isinstance(error, msgspec.ValidationError):
        return "unexpected shape: " + _VALUE_IN_TEXT.sub(r"value …\1", str(error))
    return "unreadable answer"


class Pages:
    """Guards a page loop: it is bounded, and a page mark that repeats is an error."""

    def __init__(self, method: str, *, most: int = 100_000) -> None:
        """A loop over one method's pages, of at most ``most`` pages."""
        self._method = method
        self._most = most
        self._seen: set[str] = set()

    def turn(self, mark: str) -> str:
        """Go on to the page of this mark, if it is a new one.

        Raises:
            ContractBroken: When it was there before, or there is no end.
        """
        if mark in self._seen:
            raise ContractBroken(self._method, "its page cursor repeats")
        self._seen.add(mark)
        if len(self._seen) > self._most:
            raise ContractBroken(self._method, f"more than {self._most} pages")
        return mark


def same_host(base_url: str, link: str) -> str | None:
    """The link, made absolute, when it stays on the host; else ``None``."""
    try:
        target = urljoin(base_url + "/", link)
        return target if _origin(target) == _origin(base_url) else None
    except ValueError:
        return None  # no address at all


def _origin(url: str) -> tuple[str, str | None, int | None, bool]:
    parts = urlsplit(url)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or default, "@" in parts.netloc
