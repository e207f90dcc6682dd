"""A vendor down to the socket: what a connection may meet, played request by request.

A ``Play`` is what happens once a request has been read whole ("applied"); it returns
whether the connection stays open. ``unread`` ends a connection before anything is read.
"""

import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    verb: str
    target: str
    headers: dict[str, str]  # lower-case names
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        found = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[0] for name, values in found.items()}

    @property
    def document(self) -> Any:
        return json.loads(self.body)


Play = Callable[[socket.socket, threading.Event], bool]


def answer(
    status: int = 200,
    body: object = b"",
    *,
    headers: Mapping[str, str] | None = None,
    keep: bool = True,
    announce: int | None = None,
) -> Play:
    """An answer; ``keep=False`` closes behind it without having said so."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} Whatever"]
    if status != 204:
        head.append(f"Content-Length: {len(content) if announce is None else announce}")
    head += [f"{name}: {value}" for name, value in (headers or {}).items()]
    whole = "\r\n".join(head).encode() + b"\r\n\r\n" + content

    def play(connection: socket.socket, _closing: threading.Event) -> bool:
        connection.sendall(whole)
        return keep

    return play


def cut(body: bytes) -> Play:
    """An answer whose body ends before its announced length."""
    return answer(200, body, announce=len(body) + 40, keep=False)


def cut_chunk(_connection: socket.socket, _closing: threading.Event) -> bool:
    """A chunked answer that ends within a chunk."""
    _connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{")
    return False


def close(_connection: socket.socket, _closing: threading.Event) -> bool:
    """The end, orderly, without an answer."""
    return False


def reset(connection: socket.socket, _closing: threading.Event) -> bool:
    """The end by a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def silence(_connection: socket.socket, closing: threading.Event) -> bool:
    """No answer for as long as the test runs."""
    closing.wait(30)
    return False


def unread(_connection: socket.socket, _closing: threading.Event) -> bool:
    """Told apart by identity: the connection is closed before its request is read."""
    return False


def endless(length: str, part: bytes, status: int = 200) -> Play:
    """A body without end, part by part, until the client has gone."""

    def play(connection: socket.socket, closing: threading.Event) -> bool:
        connection.sendall(f"HTTP/1.1 {status} OK\r\n{length}\r\n\r\n".encode())
        try:
            while not closing.is_set():
                connection.sendall(part)
        except OSError:
            pass
        return False

    return play


class Wire:
    """Plays its plays in order, one a request; the last one stands for all that follow."""

    def __init__(
        self,
        *plays: Play,
        route: Callable[[Request], Play] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._plays = deque(plays)
        self._route = route
        self._tls = tls
        self._closing = threading.Event()
        self.requests: list[Request] = []
        self.connections = 0
        self.closed = threading.Semaphore(0)  # released once a connection of ours has ended
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._closing.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection.makefile("rb") as stream:
                while self._take(connection, stream):
                    pass
        except (OSError, ValueError):
            pass  # the client went first, did not accept our certificate, speaks no HTTP
        finally:
            connection.close()
            self.closed.release()

    def _take(self, connection: socket.socket, stream: BinaryIO) -> bool:
        if self._plays and self._plays[0] is unread:
            self._next()
            return False
        request = _read(stream)
        if request is None:
            return False
        self.requests.append(request)
        play = self._route(request) if self._route else self._next()
        return play(connection, self._closing)

    def _next(self) -> Play:
        return self._plays.popleft() if len(self._plays) > 1 else self._plays[0]


def _read(stream: BinaryIO) -> Request | None:
    line = stream.readline()
    if not line.strip():
        return None
    verb, target, _ = line.decode().split()
    headers = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return Request(verb, target, headers, stream.read(int(headers.get("content-length", 0))))
