"""Both vendors in a process of their own, which outlives the kills.

It is forked for each point from a snapshot, so that nothing of one point is in the next.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import struct
import urllib.request
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from returns_pipeline.sandbox.model import World
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline_tests.crash.edges import AFTER_EFFECT, Edge, method_of


class Vendors:
    """Stands in for a ``Sandbox`` that is in another process.

    Args:
        snapshot: What ``Sandbox.save`` wrote.
        world: The world in it.
        kills: Edges after an effect: whoever ``victim`` names dies there.
    """

    def __init__(self, snapshot: Path, world: World, *, kills: Sequence[Edge] = ()) -> None:
        """Fork; the vendors are served when this returns."""
        self.world = world
        self.clock = SimpleNamespace(set=self._set_clock)
        self.linnworks = SimpleNamespace(books=lambda: self.control("books"))
        self._victim = mmap.mmap(-1, 8)
        told, tell = os.pipe()
        self._stay, self._until = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(told)
            os.close(self._until)
            try:
                self._serve(snapshot, kills, tell)
            finally:
                os._exit(0)
        os.close(tell)
        os.close(self._stay)
        with os.fdopen(told) as answer:
            self._environ: dict[str, str] = json.loads(answer.read())

    def _serve(self, snapshot: Path, kills: Sequence[Edge], tell: int) -> None:
        sandbox = Sandbox.load(snapshot)
        self._kill_after(
            sandbox, {(one.what, one.number) for one in kills if one.moment == AFTER_EFFECT}
        )
        sandbox.start()
        with os.fdopen(tell, "w") as out:
            out.write(json.dumps(sandbox.environ()))
        os.read(self._stay, 1)  # until the other end is closed

    def _kill_after(self, sandbox: Sandbox, kills: Collection[tuple[str, int]]) -> None:
        vendor = sandbox.linnworks_server.vendor
        handle, seen = vendor.handle, Counter[str]()

        def handled(request: Any) -> Any:
            response = handle(request)
            method = method_of(vendor.method_of(request))
            seen[method] += 1
            victim = struct.unpack("q", self._victim[:8])[0]
            if (method, seen[method]) in kills and victim:
                os.kill(victim, signal.SIGKILL)
            return response

        vendor.handle = handled

    def victim(self, pid: int) -> None:
        """Say who dies after the effect; 0: nobody any more."""
        self._victim[:8] = struct.pack("q", pid)

    def environ(self) -> Mapping[str, str]:
        """The settings with which the program talks to these vendors."""
        return self._environ

    def control(self, what: str, document: Mapping[str, Any] | None = None) -> Any:
        """Ask Linnworks' server something about itself."""
        url = f"{self._environ['LINNWORKS_AUTH_URL']}/_sandbox/{what}"
        body = None if document is None else json.dumps(document).encode()
        with urllib.request.urlopen(url, body, timeout=10) as answer:  # noqa: S310 (loopback)
            return json.load(answer)

    def _set_clock(self, now: datetime) -> None:
        self.control("clock", {"now": now.isoformat()})

    def __enter__(self) -> Self:
        """Nothing more."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        os.close(self._until)
        os.waitpid(self._pid, 0)
        self._victim.close()
