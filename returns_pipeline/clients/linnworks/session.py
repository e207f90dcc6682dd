"""One Linnworks account: its hosts, its session, its limits, its error bodies.

Here: authorising, authorising anew once when the session has expired, the check of the
host we are sent to, and the two ways of asking (a read, a write). Not here: any method of
the vendor but ``AuthorizeByApplication`` (``reads``, ``writes``).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic as _monotonic
from time import sleep as _sleep
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from returns_pipeline.clients.linnworks.answers import ErrorBody, Session
from returns_pipeline.clients.transport import (
    LOOPBACK,
    UNREADABLE,
    Answer,
    Call,
    ContractBroken,
    CredentialsRevoked,
    Lanes,
    NotApplied,
    Patience,
    Refused,
    Scrub,
    Told,
    Transport,
    Unauthorised,
    Unavailable,
    per_minute,
)

T = TypeVar("T")

# Published limits a minute (section 1.5 [S]); what is not named has 150. For v2 none is
# stated: 150 there is our own caution.
_LIMIT = 150
_LIMITS = {
    "AddOrderNote": 250,
    "GetItemChangesHistory": 250,
    "GetOrderDetailsByReferenceId": 250,
    "GetOrdersById": 250,
    "GetStockItemIdsBySKU": 250,
    "GetStockLevel_Batch": 250,
}
_QUOTA = "quota exceeded"
_JSON = {"Content-Type": "application/json"}
# A decimal goes as a JSON number with its own digits, never as a text.
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Account:
    """One Linnworks account. Safe for several threads; they share one session.

    Args:
        auth_url: Where ``AuthorizeByApplication`` is; later calls go to the ``Server`` it
            answers with, which must be Linnworks', this host, or this machine.
        application_id: Of our application.
        application_secret: Of our application.
        token: Of the customer's installation.
        v2_url: Base of ``/v2``; else derived from ``Server``.
        rate_share: Share of each published limit to use; 0: unpaced.
        timeout: Connect and read, seconds. Long for the answer: giving up on a write
            makes its outcome unknown.
        patience: The bounds of a read's retries.
        sleep: Waits.
        monotonic: A clock that only goes forward.
    """

    def __init__(
        self,
        auth_url: str,
        application_id: str,
        application_secret: str,
        token: str,
        *,
        v2_url: str | None = None,
        rate_share: float,
        timeout: tuple[float, float] = (5.0, 90.0),
        patience: Patience | None = None,
        sleep: Callable[[float], None] = _sleep,
        monotonic: Callable[[], float] = _monotonic,
    ) -> None:
        """Make no connection yet."""
        self._auth_url = auth_url.rstrip("/")
        self._auth_host = (urlsplit(self._auth_url).hostname or "").lower()
        self._credentials = {
            "ApplicationId": application_id,
            "ApplicationSecret": application_secret,
            "Token": token,
        }
        self._v2_url = v2_url
        self._timeout = timeout
        self._patience = patience
        self._sleep = sleep
        self._monotonic = monotonic
        self._scrub = Scrub([application_secret, token, application_id])
        limits = per_minute(lambda method: _LIMITS.get(method, _LIMIT), rate_share)
        self._lanes = Lanes(limits, sleep=sleep, monotonic=monotonic)
        self._auth = self._transport(self._auth_url)
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._v1 = self._v2 = self._auth  # until the session names them
        self._told = threading.local()

    def _transport(self, base_url: str) -> Transport:
        host = (urlsplit(base_url).hostname or "").lower()
        return Transport(
            base_url,
            allowed_hosts={host},
            session_headers={"Accept": "application/json"},
            recognise=recognise,
            scrub=self._scrub,
            timeout=self._timeout,
            patience=self._patience,
            sleep=self._sleep,
            monotonic=self._monotonic,
            lanes=self._lanes,
        )

    @property
    def calls(self) -> Counter[str]:
        """Requests sent, by method, retries included."""
        return Counter({f"linnworks.{name}": n for name, n in self._lanes.calls.items()})

    @property
    def reads(self) -> int:
        """Requests sent that change nothing there."""
        return self._lanes.reads

    @property
    def writes(self) -> int:
        """Requests sent that may change something there."""
        return self._lanes.writes

    def fresh_connection(self) -> None:
        """Begin the next call of this thread on a new connection."""
        self._v1.fresh_connection()

    @contextmanager
    def telling(self, leaving: Callable[[], None]) -> Iterator[None]:
        """Call ``leaving`` just before each write that this thread sends meanwhile.

        After its place in the lane has come, and again before it is repeated with a new
        session; what ``leaving`` raises keeps the write from being sent.
        """
        self._told.leaving = leaving
        try:
            yield
        finally:
            del self._told.leaving

    # --- session

    def _signed_in(self, not_this: str = "") -> Session:
        """The session; a new one when there is none or ``not_this`` has expired.

        There is no timer: the session's life is not published (section 1.1).
        """
        with self._lock:
            if self._session is None or self._session.Token == not_this:
                self._session = self._sign_in()
            return self._session

    def _sign_in(self) -> Session:
        name = "AuthorizeByApplication"
        # Unwrapped JSON (section 1.1 [P]).
        call = Call(
            name,
            "POST",
            f"/api/Auth/{name}",
            body=msgspec.json.encode(self._credentials),
            read=True,
        )
        try:
            session = self._auth.read(call, _decoder(Session), _JSON)
        except (Unauthorised, Refused):
            raise CredentialsRevoked(
                name, "refused: check LINNWORKS_APPLICATION_ID, _SECRET and _TOKEN"
            ) from None
        state = session.Status.State if session.Status else ""
        if state == "LOCKED_FULL":
            raise CredentialsRevoked(name, "the account is locked")
        if state == "MAINTENANCE":
            raise Unavailable(name, "the account is under maintenance")
        server = session.Server.rstrip("/")
        v2 = (self._v2_url or server.replace("-ext.", "-api.")).rstrip("/")
        try:
            if not self._is_linnworks(server):
                host = self._scrub(urlsplit(server).hostname or "")
                raise ContractBroken(name, f"Server leads to the host {host!r}; refused")
            if self._v1.base_url != server:
                self._v1 = self._transport(server)
            if self._v2.base_url != v2:
                self._v2 = self._transport(v2)
        except ValueError as error:
            raise ContractBroken(name, str(error)) from None
        return session

    def _is_linnworks(self, url: str) -> bool:
        host = (urlsplit(url).hostname or "").lower()
        return (
            host == "linnworks.net"
            or host.endswith(".linnworks.net")
            or host == self._auth_host
            or host in LOOPBACK
        )

    def _with_session(self, method: str, send: Callable[[Mapping[str, str]], T]) -> T:
        """Send with the session; when it has expired, authorise anew and repeat, once.

        Right for writes too: what was answered with 401 was not applied.
        """
        used = ""
        for _ in range(2):
            # The session's token goes raw, without "Bearer" (section 1.1 [S]).
            used = self._signed_in(not_this=used).Token
            try:
                return send({**_JSON, "Authorization": used})
            except Unauthorised:
                continue
        raise CredentialsRevoked(method, "HTTP 401 again after authorising anew")

    # --- asking

    def _read(
        self,
        name: str,
        verb: str,
        path: str,
        kind: type[T],
        *,
        query: Mapping[str, str] | None = None,
        document: object = None,
    ) -> T:
        body = None if document is None else msgspec.json.encode(document)
        call = Call(name, verb, path, tuple((query or {}).items()), body, read=True)

        def send(headers: Mapping[str, str]) -> T:
            transport = self._v2 if path.startswith("/v2/") else self._v1
            return transport.read(call, _decoder(kind), headers)

        try:
            return self._with_session(name, send)
        except Refused as error:
            # The form of our reads is fixed: a no to one means that the contract moved.
            raise ContractBroken(name, f"refused: {error.detail}") from None

    def _write(self, name: str, path: str, document: object, kind: type[T]) -> T:
        """One write, sent once; anything but a readable answer is raised, typed."""
        call = Call(name, "POST", path, body=_ENCODER.encode(document))

        leaving = getattr(self._told, "leaving", lambda: None)

        def send(headers: Mapping[str, str]) -> T:
            return self._v1.write(call, _decoder(kind), headers, leaving=leaving)

        try:
            return self._with_session(name, send)
        except Unavailable as error:
            # Only authorising is read on this way: the write itself was not sent.
            raise NotApplied(name, f"no session: {error}") from None

    def _said(self, *groups: Sequence[str]) -> tuple[str, ...]:
        """The vendor's words, clean, each once."""
        words = (self._scrub(text) for group in groups for text in group if text)
        return tuple(dict.fromkeys(words))


def recognise(answer: Answer) -> Told | None:
    """Read Linnworks' error body, of either version; the quota's text on any status.

    The text "API calls quota exceeded! …" was seen on other statuses than 429, and
    ``Retry-After`` only sometimes (section 1.3 [L]).
    """
    try:
        error = _ERROR.decode(answer.content)
    except UNREADABLE:
        return None
    message = error.Message or error.detail or error.title
    if message is None:
        return None
    return Told(messages=(message,), over_limit=_QUOTA in message.casefold())


_ERROR = msgspec.json.Decoder(ErrorBody)
_DECODERS: dict[object, msgspec.json.Decoder[Any]] = {}
_WORKING_OUT = threading.Lock()


def _decoder(kind: type[T]) -> Callable[[Answer], T]:
    # A type is worked out at its first use. Two threads that do so at once kill the process
    # (msgspec 0.22: SIGSEGV), and two lanes' first answers are often of one type.
    with _WORKING_OUT:
        if kind not in _DECODERS:
            _DECODERS[kind] = msgspec.json.Decoder(kind)
        decoder: msgspec.json.Decoder[T] = _DECODERS[kind]
    return lambda answer: decoder.decode(answer.content)
