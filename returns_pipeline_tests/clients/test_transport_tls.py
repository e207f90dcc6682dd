"""Certificates: who is not who they should be gets nothing, not even a request."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests.adapters

from returns_pipeline.clients.transport import (
    Call,
    NotApplied,
    OutcomeUnknown,
    Patience,
    Transport,
    Unavailable,
)
from returns_pipeline_tests.clients.conftest import Clock, StartWire
from returns_pipeline_tests.clients.wire import Play, answer, reset

GOOD = answer(200, b"{}")
OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="makes certificates with openssl")

_CA = """
[ca]
default_ca = here
[here]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""


@dataclass
class Authority:
    """A certificate authority of one test session."""

    folder: Path

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(  # noqa: S603
            [str(OPENSSL), *arguments], cwd=self.folder, check=True, capture_output=True
        )

    def found(self) -> None:
        (self.folder / "ca.cnf").write_text(_CA)
        (self.folder / "index.txt").touch()
        (self.folder / "serial").write_text("01\n")
        self._key("ca", "-x509", "-days", "36500", "-subj", "/CN=Test CA")

    def _key(self, name: str, *arguments: str) -> None:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        out = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
        self._openssl("req", *curve, *out, *arguments)

    def issue(self, name: str, host: str, *, until: str = "21000101000000Z") -> ssl.SSLContext:
        subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName={host}")
        self._key(name, *subject)
        dates = ("-startdate", "20200101000000Z", "-enddate", until)
        files = ("-in", f"{name}.pem", "-out", f"{name}.crt", "-cert", "ca.pem")
        self._openssl("ca", "-batch", "-config", "ca.cnf", "-keyfile", "ca.key", *files, *dates)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.found()
    return made


@pytest.fixture
def contexts(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., ssl.SSLContext]:
    """Certificates of an authority that is trusted for the length of the test."""
    monkeypatch.setattr(
        requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(authority.folder / "ca.pem")
    )
    return authority.issue


def make(url: str, clock: Clock) -> Transport:
    return Transport(
        url,
        allowed_hosts={"127.0.0.1"},
        timeout=(2.0, 2.0),
        patience=Patience(attempts=2),
        sleep=clock.sleep,
        monotonic=clock.monotonic,
    )


def write(transport: Transport) -> bytes:
    return transport.write(Call("Move", "POST", "/", body=b"{}"), lambda found: found.content)


def read(transport: Transport) -> bytes:
    return transport.read(Call("Ask", "GET", "/", read=True), lambda found: found.content)


def test_a_good_certificate_is_accepted(
    wire: StartWire, clock: Clock, contexts: Callable[..., ssl.SSLContext]
) -> None:
    server = wire(GOOD, tls=contexts("good", "IP:127.0.0.1"))
    assert write(make(server.url, clock)) == b"{}"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("name", "host", "until"),
    [
        ("expired", "IP:127.0.0.1", "20210101000000Z"),
        ("elsewhere", "DNS:other.invalid", "21000101000000Z"),
    ],
)
def test_an_expired_or_strange_certificate_is_refused_and_nothing_is_sent(
    wire: StartWire,
    clock: Clock,
    contexts: Callable[..., ssl.SSLContext],
    name: str,
    host: str,
    until: str,
) -> None:
    server = wire(GOOD, tls=contexts(name, host, until=until))
    with pytest.raises(NotApplied, match="SSLCertVerificationError"):
        write(make(server.url, clock))
    with pytest.raises(Unavailable):
        read(make(server.url, clock))
    assert server.requests == []


def test_a_certificate_of_an_authority_nobody_knows_is_refused(
    wire: StartWire, clock: Clock, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The environment cannot talk the transport into trusting it either.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.folder / "ca.pem"))
    server = wire(GOOD, tls=authority.issue("unknown", "IP:127.0.0.1"))
    with pytest.raises(NotApplied):
        write(make(server.url, clock))
    assert server.requests == []


def test_a_handshake_that_fails_is_not_applied(wire: StartWire, clock: Clock) -> None:
    plain = wire(GOOD)  # speaks no TLS
    with pytest.raises(NotApplied):
        write(make(plain.url.replace("http:", "https:"), clock))


def test_a_handshake_that_is_never_answered_is_not_applied(clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        transport = Transport(
            f"https://127.0.0.1:{mute.getsockname()[1]}",
            allowed_hosts={"127.0.0.1"},
            timeout=(0.05, 1.0),
            sleep=clock.sleep,
            monotonic=clock.monotonic,
        )
        with pytest.raises(NotApplied):
            write(transport)


def test_what_fails_after_the_handshake_is_unknown(
    wire: StartWire, clock: Clock, contexts: Callable[..., ssl.SSLContext]
) -> None:
    server = wire(reset, tls=contexts("later", "IP:127.0.0.1"))
    with pytest.raises(OutcomeUnknown):
        write(make(server.url, clock))
    assert len(server.requests) == 1


def test_garbage_within_the_encrypted_stream_is_unknown(
    wire: StartWire, clock: Clock, contexts: Callable[..., ssl.SSLContext]
) -> None:
    def garbage(connection: socket.socket, _closing: threading.Event) -> bool:
        raw = socket.socket(fileno=socket.dup(connection.fileno()))
        with raw:
            raw.sendall(b"this is no TLS record, whatever it is")
        return False

    play: Play = garbage
    server = wire(play, tls=contexts("garbage", "IP:127.0.0.1"))
    with pytest.raises(OutcomeUnknown):
        write(make(server.url, clock))
    assert len(server.requests) == 1
