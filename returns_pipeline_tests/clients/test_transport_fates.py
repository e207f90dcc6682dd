"""Every fate a request can meet, on real sockets, and what it means for read and write."""

import gzip
import logging
import socket
import traceback
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from returns_pipeline.clients import transport as transport_module
from returns_pipeline.clients.linnworks import recognise
from returns_pipeline.clients.transport import (
    Answer,
    Call,
    ContractBroken,
    NotApplied,
    OutcomeUnknown,
    Patience,
    RateLimited,
    Refused,
    Scrub,
    Transport,
    Unauthorised,
    Unavailable,
    VendorError,
)
from returns_pipeline_tests.clients.conftest import Clock, StartWire
from returns_pipeline_tests.clients.wire import (
    Play,
    answer,
    close,
    cut,
    cut_chunk,
    endless,
    reset,
    silence,
    unread,
)

GOOD = answer(200, {"Value": 7})
HTML = b"<html>Gateway</html>"
QUOTA = {"Code": None, "Message": "API calls quota exceeded! Maximum admitted 150 per Minute."}
SAID = {"Code": None, "Message": "The request is invalid."}
ATTEMPTS = 3


class Answered(msgspec.Struct):
    Value: int


def decode(found: Answer) -> int:
    return msgspec.json.decode(found.content, type=Answered).Value


def make(url: str, clock: Clock, **options: Any) -> Transport:
    options.setdefault("timeout", (2.0, 2.0))
    options.setdefault("patience", Patience(attempts=ATTEMPTS, waits=2))
    return Transport(
        url,
        allowed_hosts={"127.0.0.1", "vendor.invalid"},
        recognise=recognise,
        sleep=clock.sleep,
        monotonic=clock.monotonic,
        **options,
    )


def read(transport: Transport) -> int:
    return transport.read(Call("Ask", "GET", "/ask", read=True), decode)


def write(transport: Transport) -> int:
    return transport.write(Call("Move", "POST", "/move", body=b'{"a":1}'), decode)


# fate, what the server does, class for a write, class for a read, requests a read takes
FATES = [
    ("closed before the request was read", unread, OutcomeUnknown, Unavailable, 0),
    ("reset after applying", reset, OutcomeUnknown, Unavailable, ATTEMPTS),
    ("closed after applying", close, OutcomeUnknown, Unavailable, ATTEMPTS),
    ("body cut off", cut(b'{"Value": 7}'), OutcomeUnknown, Unavailable, ATTEMPTS),
    ("chunk cut off", cut_chunk, OutcomeUnknown, Unavailable, ATTEMPTS),
    ("200 with HTML", answer(200, HTML), OutcomeUnknown, Unavailable, ATTEMPTS),
    ("200 without a body", answer(200), OutcomeUnknown, Unavailable, ATTEMPTS),
    ("200 of another shape", answer(200, {"Value": "x"}), OutcomeUnknown, ContractBroken, 1),
    ("200, no UTF-8", answer(200, b'{"Value":"\xff"}'), OutcomeUnknown, ContractBroken, 1),
    ("500", answer(500, HTML), OutcomeUnknown, Unavailable, ATTEMPTS),
    ("500 in its own words", answer(500, SAID), OutcomeUnknown, Unavailable, ATTEMPTS),
    ("502", answer(502, HTML), OutcomeUnknown, Unavailable, ATTEMPTS),
    ("503", answer(503), OutcomeUnknown, Unavailable, ATTEMPTS),
    ("504", answer(504, HTML), OutcomeUnknown, Unavailable, ATTEMPTS),
    ("429 without a wait", answer(429), RateLimited, Unavailable, ATTEMPTS),
    ("429 with a wait", answer(429, QUOTA, headers={"Retry-After": "7"}), RateLimited,
     Unavailable, ATTEMPTS),
    ("quota text on a 400", answer(400, QUOTA), RateLimited, Unavailable, ATTEMPTS),
    ("quota text on a 500", answer(500, QUOTA), RateLimited, Unavailable, ATTEMPTS),
    ("quota text on a 200", answer(200, QUOTA), RateLimited, Unavailable, ATTEMPTS),
    ("400 in its own words", answer(400, SAID), Refused, Refused, 1),
    ("403 in its own words", answer(403, SAID), Refused, Refused, 1),
    ("404 in its own words", answer(404, SAID), Refused, Refused, 1),
    ("400 of somebody else", answer(400, HTML), OutcomeUnknown, ContractBroken, 1),
    ("403 of somebody else", answer(403, HTML), OutcomeUnknown, ContractBroken, 1),
    ("404 of somebody else", answer(404), OutcomeUnknown, ContractBroken, 1),
    ("401 in its own words", answer(401, SAID), Unauthorised, Unauthorised, 1),
    ("401", answer(401), Unauthorised, Unauthorised, 1),
    ("400, no UTF-8", answer(400, b'{"Message":"\xff"}'), OutcomeUnknown, ContractBroken, 1),
    ("nested without end", answer(200, b'{"a":' + b"[" * 100_000), OutcomeUnknown, Unavailable,
     ATTEMPTS),
    ("another success", answer(299, HTML), OutcomeUnknown, Unavailable, ATTEMPTS),
]  # fmt: skip
NAMES = [fate[0] for fate in FATES]


@pytest.mark.parametrize(("play", "kind"), [fate[1:3] for fate in FATES], ids=NAMES)
def test_a_write_is_sent_exactly_once_and_its_fate_is_typed(
    wire: StartWire, clock: Clock, play: Play, kind: type[VendorError]
) -> None:
    server = wire(play)
    with pytest.raises(kind) as caught:
        write(make(server.url, clock))
    assert type(caught.value) is kind
    assert caught.value.may_have_happened is (kind is OutcomeUnknown)
    assert len(server.requests) == (0 if play is unread else 1)
    assert server.connections == 1
    assert clock.slept == []


@pytest.mark.parametrize(("play", "kind", "times"), [(f[1], f[3], f[4]) for f in FATES], ids=NAMES)
def test_a_read_is_tried_again_within_its_bounds_and_its_fate_is_typed(
    wire: StartWire, clock: Clock, play: Play, kind: type[VendorError], times: int
) -> None:
    server = wire(play)
    with pytest.raises(kind) as caught:
        read(make(server.url, clock))
    assert type(caught.value) is kind
    assert caught.value.may_have_happened is False
    assert len(server.requests) == times


@pytest.mark.parametrize("fate", [f for f in FATES if f[3] is Unavailable], ids=lambda f: f[0])
def test_a_read_succeeds_when_the_trouble_passes(
    wire: StartWire, clock: Clock, fate: tuple[Any, ...]
) -> None:
    assert read(make(wire(fate[1], GOOD).url, clock)) == 7


def test_a_write_succeeds_without_being_repeated(wire: StartWire, clock: Clock) -> None:
    server = wire(GOOD)
    transport = make(server.url, clock)
    assert write(transport) == 7
    assert len(server.requests) == 1
    assert (transport.lanes.reads, transport.lanes.writes) == (0, 1)


def test_a_refused_connection_is_not_applied(clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    transport = make(f"http://127.0.0.1:{port}", clock)
    with pytest.raises(NotApplied):
        write(transport)
    with pytest.raises(Unavailable):
        read(transport)


def test_a_name_that_does_not_resolve_is_not_applied(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_args: Any, **_kwargs: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    transport = make("https://vendor.invalid", clock)
    with pytest.raises(NotApplied, match="NameResolutionError"):
        write(transport)
    with pytest.raises(Unavailable):
        read(transport)


def test_a_connection_that_is_never_accepted_is_not_applied(clock: Clock) -> None:
    # A listener whose queue is full answers no further attempt.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    try:
        for _ in range(3):
            one = socket.socket()
            one.settimeout(0)
            one.connect_ex(listener.getsockname())
            waiting.append(one)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(NotApplied, match="ConnectTimeout"):
            write(make(url, clock, timeout=(0.05, 1.0)))
    finally:
        for one in [*waiting, listener]:
            one.close()


def test_no_answer_in_time_leaves_a_write_unknown(wire: StartWire, clock: Clock) -> None:
    server = wire(silence)
    with pytest.raises(OutcomeUnknown, match="ReadTimeout"):
        write(make(server.url, clock, timeout=(1.0, 0.1)))
    assert len(server.requests) == 1


def test_no_answer_in_time_is_a_failed_read(wire: StartWire, clock: Clock) -> None:
    server = wire(silence)
    with pytest.raises(Unavailable):
        read(make(server.url, clock, timeout=(1.0, 0.05)))
    assert len(server.requests) == ATTEMPTS


def test_an_exception_nobody_has_seen_leaves_a_write_unknown(
    wire: StartWire, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = make(wire(GOOD).url, clock)

    def strange(*_args: Any, **_kwargs: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(transport, "_session", strange)
    with pytest.raises(OutcomeUnknown, match="ZeroDivisionError"):
        write(transport)


def test_the_failure_of_an_earlier_call_does_not_excuse_a_later_one(
    wire: StartWire, clock: Clock
) -> None:
    # Python hangs the exception being handled on the next one as its context.
    server = wire(reset)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    try:
        write(make(nobody, clock))
    except NotApplied:
        with pytest.raises(OutcomeUnknown):
            write(make(server.url, clock))


# --- redirects --------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_and_no_header_leaks(
    wire: StartWire, clock: Clock, status: int
) -> None:
    elsewhere = wire(GOOD)
    target = elsewhere.url.replace("127.0.0.1", "localhost") + "/move"
    server = wire(answer(status, headers={"Location": target}))
    transport = make(server.url, clock, session_headers={"X-Hr-Apikey": "s3cret"})
    with pytest.raises(OutcomeUnknown, match=str(status)):
        write(transport)
    with pytest.raises(ContractBroken, match="redirects"):
        read(transport)
    assert len(server.requests) == 2
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://vendor.invalid",
        "https://other.invalid",
        "ftp://127.0.0.1",
        "https://user:pass@vendor.invalid",
        "https://vendor.invalid?key=1",
        "https://vendor.invalid.evil.invalid",
        "vendor.invalid",
        "",
    ],
)
def test_an_address_that_is_not_the_vendors_over_https_is_refused_before_any_call(
    clock: Clock, url: str
) -> None:
    with pytest.raises(ValueError):
        make(url, clock)


def test_neither_proxies_nor_netrc_of_the_environment_are_used(
    wire: StartWire, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = wire(GOOD)
    server = wire(GOOD)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login mallory password pw\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", other.url)
    monkeypatch.setenv("http_proxy", other.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    transport = make(server.url, clock, session_headers={"Authorization": "token"})
    read(transport)
    assert server.requests[0].headers["authorization"] == "token"
    assert other.connections == 0


# --- connections ------------------------------------------------------------------


def test_connections_are_kept(wire: StartWire, clock: Clock) -> None:
    server = wire(GOOD)
    transport = make(server.url, clock)
    assert [read(transport), write(transport), read(transport)] == [7, 7, 7]
    assert server.connections == 1


def test_a_kept_connection_the_server_has_closed_is_replaced_and_the_write_sent_once(
    wire: StartWire, clock: Clock
) -> None:
    server = wire(answer(200, {"Value": 7}, keep=False), GOOD)
    transport = make(server.url, clock)
    read(transport)
    assert server.closed.acquire(timeout=5)
    assert write(transport) == 7
    assert [request.verb for request in server.requests] == ["GET", "POST"]
    assert server.connections == 2


def test_a_write_after_idleness_takes_a_fresh_connection_a_read_does_not(
    wire: StartWire, clock: Clock
) -> None:
    server = wire(GOOD)
    transport = make(server.url, clock)
    read(transport)
    clock.now += 60
    read(transport)
    assert server.connections == 1
    clock.now += 60
    write(transport)
    assert server.connections == 2


# --- bounds -----------------------------------------------------------------------

HUGE = endless("Content-Length: 1000000000000", b"x" * 65536)
CHUNKS = endless("Transfer-Encoding: chunked", b"8\r\nxxxxxxxx\r\n")
OPEN_END = endless("Connection: close", b"x" * 65536)


@pytest.mark.parametrize("play", [HUGE, CHUNKS, OPEN_END], ids=["length", "chunks", "no length"])
def test_an_answer_without_end_is_broken_off(
    wire: StartWire, clock: Clock, monkeypatch: pytest.MonkeyPatch, play: Play
) -> None:
    monkeypatch.setattr(transport_module, "_LARGEST_ANSWER", 100_000)
    with pytest.raises(OutcomeUnknown, match="TooLarge"):
        write(make(wire(play).url, clock))
    with pytest.raises(ContractBroken, match="no end"):
        read(make(wire(play).url, clock))


def test_the_body_of_a_redirect_is_bounded_too(
    wire: StartWire, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "_LARGEST_ANSWER", 100_000)
    head = "Location: /elsewhere\r\nContent-Length: 1000000000000"
    server = wire(endless(head, b"x" * 65536, status=307))
    with pytest.raises(OutcomeUnknown, match="TooLarge"):
        write(make(server.url, clock))


def test_a_small_answer_that_unpacks_to_a_huge_one_is_broken_off(
    wire: StartWire, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "_LARGEST_ANSWER", 2_000_000)
    bomb = answer(200, gzip.compress(b"x" * 50_000_000), headers={"Content-Encoding": "gzip"})
    with pytest.raises(ContractBroken, match="no end"):
        read(make(wire(bomb).url, clock))


def test_a_compressed_answer_is_read(wire: StartWire, clock: Clock) -> None:
    body = gzip.compress(b'{"Value": 7}')
    assert read(make(wire(answer(200, body, headers={"Content-Encoding": "gzip"})).url, clock)) == 7


class Hurrying:
    """A clock of which every look takes half a minute."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> Any:
        self.now += 30.0
        return self.now

    def sleep(self, seconds: float) -> Any:
        self.now += seconds


@pytest.mark.parametrize(
    "length", ["Content-Length: 900000", "Transfer-Encoding: chunked"], ids=["length", "chunks"]
)
def test_an_answer_that_drips_is_given_up_in_time(wire: StartWire, length: str) -> None:
    # Each part comes within the read time-out; together they would take for ever.
    part = b"x" if length.startswith("Content") else b"1\r\nx\r\n"
    server = wire(endless(length, part))
    with pytest.raises(OutcomeUnknown, match="TooSlow"):
        write(make(server.url, Hurrying()))
    with pytest.raises(Unavailable, match="TooSlow"):
        read(make(server.url, Hurrying(), patience=Patience(attempts=2, budget=1e9)))


# --- what an error tells ----------------------------------------------------------

SECRET = "canary-s3cret"
MAIL = "canary.shopper@example.com"
PERSON = "Canary Shopperson"


@pytest.mark.parametrize(
    "play",
    [
        *(fate[1] for fate in FATES),
        answer(400, {"Message": f"no {SECRET} for {MAIL}\nforged line"}),
        answer(200, {"Value": MAIL}),
        answer(200, f"<p>{PERSON} {MAIL} {SECRET}</p>".encode()),
        answer(500, f"<p>{PERSON} {MAIL} {SECRET}</p>".encode()),
        answer(307, headers={"Location": f"https://evil.invalid/?{SECRET}"}),
    ],
)
@pytest.mark.parametrize("way", ["read", "write"])
def test_no_error_and_no_log_holds_a_body_a_secret_a_query_or_an_address(
    wire: StartWire, clock: Clock, caplog: pytest.LogCaptureFixture, play: Play, way: str
) -> None:
    caplog.set_level(logging.DEBUG)
    server = wire(play)
    transport = make(
        server.url, clock, session_headers={"X-Hr-Apikey": SECRET}, scrub=Scrub([SECRET])
    )
    body = f'{{"email":"{MAIL}","name":"{PERSON}"}}'.encode()
    call = Call("Ask", "POST", "/ask", (("mail", MAIL), ("key", SECRET)), body, read=way == "read")
    with pytest.raises(VendorError) as caught:
        (transport.read if call.read else transport.write)(call, decode)
    said = "".join(traceback.format_exception(caught.value))
    told = "\n".join([said, repr(caught.value), repr(call), str(vars(caught.value)), caplog.text])
    for canary in ("canary", PERSON, "mail="):
        assert canary not in told
    assert "\n" not in str(caught.value)


def test_an_answer_of_another_shape_is_told_without_the_value_that_stood_there(
    wire: StartWire, clock: Clock
) -> None:
    class Coded(msgspec.Struct):
        Value: Literal["a"]

    transport = make(wire(answer(200, {"Value": MAIL})).url, clock)
    with pytest.raises(ContractBroken) as caught:
        transport.read(
            Call("Ask", "GET", "/ask", read=True),
            lambda found: msgspec.json.decode(found.content, type=Coded),
        )
    assert "`$.Value`" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_the_vendors_words_are_kept_short_and_clean() -> None:
    scrub = Scrub(["tok-1", "tok-123"])
    assert scrub("a tok-123 b\r\nc\x00 d@e.f, <g@h.i>") == "a *** b c ***, <***>"
    assert len(scrub("x" * 5000)) == 201
