"""Receivers on this machine: one that takes JSON over HTTP, one that takes mail."""

from __future__ import annotations

import email
import email.policy
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Web:
    """What was posted; ``answers`` are the next statuses, 200 when there are none left."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.url = ""


@contextmanager
def web() -> Iterator[Web]:
    """A receiver of webhooks."""
    seen = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = seen.answers.pop(0) if seen.answers else 200
            if status == 200:
                seen.posted.append(json.loads(body))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{seen.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen.url = f"http://127.0.0.1:{server.server_port}/secret-path"
    with _serving(server):
        yield seen


class Post:
    """The mails that were taken, and who signed in."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.receivers: list[str] = []
        self.signed_in: list[str] = []
        self.refuse = False
        self.url = ""


@contextmanager
def post() -> Iterator[Post]:
    """A mail server that speaks as much SMTP as a client needs."""
    seen = Post()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, text: str) -> None:
            self.wfile.write(text.encode() + b"\r\n")

        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline().decode().strip():
                word = line.split()[0].upper()
                if word == "EHLO":
                    self.say("250-here\r\n250-AUTH PLAIN\r\n250 SMTPUTF8")
                elif word == "AUTH":
                    seen.signed_in.append(line)
                    self.say("235 welcome")
                elif word == "DATA":
                    self.say("354 go on")
                    self.take()
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    if word == "RCPT":
                        seen.receivers.append(line)
                    self.say("250 yes")

        def take(self) -> None:
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line.removeprefix(b"."))
            if seen.refuse:
                self.say("554 5.7.1 not from you")
                return
            seen.mails.append(
                email.message_from_bytes(b"".join(lines), policy=email.policy.default)  # type: ignore[arg-type]
            )
            self.say("250 taken")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    seen.url = f"smtp://shop%40example.com:s3cret@127.0.0.1:{server.server_address[1]}"
    with _serving(server):
        yield seen


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
