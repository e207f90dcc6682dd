"""The sandbox as a whole: both vendors served from one world, by one clock, kept on disk.

What the vendors do is in their modules; here they are put together, started, saved.
"""

from __future__ import annotations

import json
import os
import pickle
import threading
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from returns_pipeline.sandbox import happy_returns, linnworks
from returns_pipeline.sandbox.happy_returns import HappyReturnsState
from returns_pipeline.sandbox.linnworks import LinnworksState
from returns_pipeline.sandbox.linnworks.service import replay
from returns_pipeline.sandbox.model import World
from returns_pipeline.sandbox.server import Clock, VendorServer


class Sandbox:
    """Both vendors on loopback ports, in threads of their own.

    Attributes:
        clock: The time of both.
        linnworks: What Linnworks knows.
        happy_returns: What Happy Returns knows.
        linnworks_server: Its server; ``.vendor.faults`` makes it fail, ``.url`` says where.
        happy_returns_server: The other.
    """

    def __init__(
        self,
        world: World,
        *,
        now: datetime | None = None,
        limits: bool = False,
        ports: tuple[int, int] = (0, 0),
    ) -> None:
        """Bind the ports (Linnworks, Happy Returns; 0 takes a free one); serve nothing yet.

        ``now`` lets the clock stand at an instant; without it, it runs with the real one.
        ``limits`` applies the vendors' published rate limits.

        Raises:
            OSError: When a port is taken.
        """
        clock = Clock(now)
        self._assemble(LinnworksState(world, clock), clock, limits=limits, ports=ports)

    def _assemble(
        self, state: LinnworksState, clock: Clock, *, limits: bool, ports: tuple[int, int]
    ) -> None:
        self.clock = clock
        self.limits = limits
        self.linnworks = state
        state.clock, state.limits = clock, limits
        self.happy_returns = HappyReturnsState(state.world, clock, limits)
        self.linnworks_server = VendorServer(linnworks.vendor(state), clock, ports[0])
        try:
            self.happy_returns_server = VendorServer(
                happy_returns.vendor(self.happy_returns), clock, ports[1]
            )
        except OSError:
            self.linnworks_server.stop()  # both or neither
            raise
        self.linnworks.url = self.linnworks_server.url
        self.happy_returns.url = self.happy_returns_server.url
        self._stopped = threading.Event()
        self._journal: TextIO | None = None

    @property
    def world(self) -> World:
        """The world served."""
        return self.linnworks.world

    # --- serving ------------------------------------------------------------------

    def start(self) -> Self:
        """Serve in the background."""
        self.linnworks_server.start()
        self.happy_returns_server.start()
        return self

    def stop(self) -> None:
        """Stop serving and free the ports; to stop twice is harmless."""
        self.linnworks_server.stop()
        self.happy_returns_server.stop()
        with self.linnworks.lock:
            self.linnworks.journal = None
            if self._journal is not None:
                self._journal.close()
                self._journal = None
        self._stopped.set()

    def serve_forever(self) -> None:
        """Serve until ``stop`` or an interrupt from the keyboard."""
        self.start()
        try:
            self._stopped.wait()
        except KeyboardInterrupt:
            self.stop()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def environ(self) -> dict[str, str]:
        """The settings with which the program talks to these vendors."""
        settings = {
            "HAPPY_RETURNS_BASE_URL": self.happy_returns_server.url,
            "HAPPY_RETURNS_API_KEY": happy_returns.API_KEY,
            "HAPPY_RETURNS_RETAILER_ID": self.world.retailer_id,
            "LINNWORKS_AUTH_URL": self.linnworks_server.url,
            "LINNWORKS_APPLICATION_ID": linnworks.APPLICATION_ID,
            "LINNWORKS_APPLICATION_SECRET": linnworks.APPLICATION_SECRET,
            "LINNWORKS_TOKEN": linnworks.TOKEN,
        }
        if not self.limits:
            settings |= {"RETURNS_LINNWORKS_RATE_SHARE": "0", "RETURNS_HAPPY_RETURNS_RATE": "0"}
        return settings

    # --- across restarts ----------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write everything to a file, whole or not at all."""
        with self.linnworks.lock:
            self._snapshot(path)

    def keep(self, path: Path) -> None:
        """Save, and from now on write down every change before it is answered.

        So that a sandbox that is killed has forgotten nothing that a client knows of. The
        changes stand in a journal beside the file.
        """
        with self.linnworks.lock:
            generation = self._snapshot(path)
            if self._journal is not None:
                self._journal.close()
            self._journal = _journal_of(path).open("w", encoding="utf-8")
            self.linnworks.journal = self._write
            self._write({"generation": generation})

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self._journal is not None:
            self._journal.write(json.dumps(entry) + "\n")
            self._journal.flush()

    def _snapshot(self, path: Path) -> str:
        generation = str(uuid.uuid4())
        document = {
            "generation": generation,
            "linnworks": self.linnworks,
            "happy_returns_switches": self.happy_returns.switches,
            "now": self.clock.standing,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with beside.open("wb") as file:
                pickle.dump(document, file, protocol=pickle.HIGHEST_PROTOCOL)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        return generation

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        now: datetime | None = None,
        limits: bool = False,
        ports: tuple[int, int] = (0, 0),
    ) -> Self:
        """The sandbox of a file that ``save`` or ``keep`` wrote, and of its journal.

        Without ``now`` the clock stands where it stood, or runs if it ran; ``clock.set(None)``
        lets it run.

        Raises:
            OSError: When the file cannot be read.
        """
        document = pickle.loads(path.read_bytes())  # noqa: S301 (a file of the sandbox's own)
        clock = Clock(now or document["now"])
        sandbox = cls.__new__(cls)
        sandbox._assemble(document["linnworks"], clock, limits=limits, ports=ports)
        sandbox.happy_returns.switches.update(document["happy_returns_switches"])
        for entry in _journalled(path, document["generation"]):
            replay(sandbox.linnworks, entry)
        return sandbox


def _journal_of(path: Path) -> Path:
    return path.with_name(path.name + ".journal")


def _journalled(path: Path, generation: str) -> list[dict[str, Any]]:
    """The journal's entries, if it belongs to the file; a line cut short was not answered."""
    try:
        lines = _journal_of(path).read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    entries = [json.loads(line) for line in lines if line.endswith("\n")]
    if not entries or entries[0].get("generation") != generation:
        return []
    return entries[1:]
