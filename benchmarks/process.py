"""A measurement in a process of its own: what it printed, how long it took, its peak memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent


def measured(*arguments: str, python: str = sys.executable) -> dict[str, Any]:
    """Run ``python ARGUMENTS``; its last line of output is the JSON that it reports."""
    done = subprocess.run(  # noqa: PLW1510 (its own words are shown when it failed)
        [python, *arguments], cwd=PROJECT, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def peak_mb() -> float:
    """The most memory this process ever held, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: what resource tells there begins with the parent's memory
        lines = (line.split() for line in status.read_text("utf-8").splitlines())
        return next(int(line[1]) for line in lines if line[:1] == ["VmHWM:"]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def busy(folder: Path) -> float:
    """Seconds of the processor a PostgreSQL server has used, its ended sessions included.

    Args:
        folder: Its data. Nothing is known of it elsewhere than on Linux: 0.
    """
    pid = (folder / "postmaster.pid").read_text("utf-8").split()[0]
    status = Path(f"/proc/{pid}/stat")
    if not status.exists():
        return 0.0
    fields = status.read_text("utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # own and waited-for


class Phases:
    """Seconds by phase, and those of the processor: what a busy machine takes is not in these."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.processor: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add what the block takes to a phase."""
        began, busy = time.perf_counter(), time.process_time()
        yield
        for counted, taken in (
            (self.seconds, time.perf_counter() - began),
            (self.processor, time.process_time() - busy),
        ):
            counted[name] = counted.get(name, 0.0) + taken

    def report(self, **more: Any) -> None:
        """Print the JSON that ``measured`` reads."""
        told = {
            "total": sum(self.seconds.values()),
            "processor": sum(self.processor.values()),
            "processor_of": self.processor,
            "peak_mb": peak_mb(),
        }
        print(json.dumps({**self.seconds, **told, **more}))
