"""Two processes at the same work on one database, stopped and let go on by turns."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import traceback
from collections import deque
from collections.abc import Callable, Collection
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from returns_pipeline.storage import engine
from returns_pipeline.storage.engine import DatabaseUnusable
from returns_pipeline_tests.crash.edges import (
    AFTER_ANSWER,
    AFTER_COMMIT,
    BEFORE_REQUEST,
    Edge,
    Watch,
)
from returns_pipeline_tests.crash.matrix import DAY, Matrix, Phase, Point, in_a_process

# Where a process holds no lock of the database, so that the other one need not wait for it.
_FREE = {BEFORE_REQUEST, AFTER_ANSWER, AFTER_COMMIT}
_LOST, _BROKEN = 3, 1


class Paused(Watch):
    """Stops its process at edges, until somebody lets it go on.

    Nothing of the database is held meanwhile: the other one is not to wait for a sleeper,
    but to find what it left.

    Args:
        at: The how-manieth edges at which nothing is held.
        edge: Or one edge.
        url: Of the database.
    """

    def __init__(self, url: str, at: Collection[int] = (), edge: Edge | None = None) -> None:
        """Stop nowhere yet."""
        super().__init__()
        self._path = url.removeprefix("sqlite:///") if url.startswith("sqlite") else ""
        self._stops, self._edge = set(at), edge
        self._seen = self._open = 0
        self._may_begin = threading.Condition()
        self._stopping = False

    def install(self) -> None:
        """Hook in, and see who is in a transaction."""
        super().install()
        sa.event.listen(sa.Engine, "begin", self._begun)
        sa.event.listen(sa.Engine, "commit", self._over)
        sa.event.listen(sa.Engine, "rollback", self._over)

    def _begun(self, _connection: Any) -> None:
        with self._may_begin:
            self._may_begin.wait_for(lambda: not self._stopping)
            self._open += 1

    def _over(self, _connection: Any) -> None:
        with self._may_begin:
            self._open -= 1
            self._may_begin.notify_all()

    def _reach(self, what: str, number: int, moment: str, connection: Any = None) -> None:
        super()._reach(what, number, moment, connection)
        if moment not in _FREE:
            return
        self._seen += 1
        if self._seen in self._stops or Edge(what, number, moment) == self._edge:
            self._stop()

    def _stop(self) -> None:
        with self._may_begin:
            if self._stopping:
                return  # another lane's thread is at it
            self._stopping = True
            self._may_begin.wait_for(lambda: self._open <= 0, timeout=30)
        if self._path:  # and the last commit is through
            with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as mine:
                mine.execute("BEGIN IMMEDIATE")
                mine.execute("ROLLBACK")
        # To this thread, not to the process: the kernel would hand it to the main thread, and
        # this one would let the others begin before all stand still.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        with self._may_begin:
            self._stopping = False
            self._may_begin.notify_all()


class Worker:
    """A process that waits at its beginning and at its stops."""

    def __init__(self, work: Callable[[], Any], watch: Paused, told: Path) -> None:
        """Fork; it waits. ``told``: where it writes what broke it."""
        self.stops = 0
        self.ended: int | None = None
        self.told = told
        self._pid = os.fork()
        if self._pid:
            self._wait()
            return
        code = _BROKEN
        try:
            os.kill(os.getpid(), signal.SIGSTOP)
            engine.BUSY_MS = 2_000
            watch.install()
            work()
            code = 0
        except DatabaseUnusable as error:
            told.write_text(str(error))
            code = _LOST
        except BaseException:  # noqa: BLE001 (the parent is told)
            told.write_text(traceback.format_exc())
        finally:
            os._exit(code)

    def _wait(self) -> None:
        _pid, status = os.waitpid(self._pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            self.stops += 1
        else:
            self.ended = os.waitstatus_to_exitcode(status)

    def go_on(self) -> bool:
        """Let it go on until it stops or ends; whether it may go on again."""
        os.kill(self._pid, signal.SIGCONT)
        self._wait()
        return self.ended is None

    @property
    def problem(self) -> str:
        """What broke it. To have waited too long for the other one is none."""
        return "" if self.ended in {0, _LOST} else f"{self.ended}: {self.told.read_text()}"


def by_turns(
    matrix: Matrix, numbers: tuple[int, int], *, seed: int, stops: int = 6
) -> tuple[list[str], int]:
    """Two phases at once from the state before the first; what is wrong, and turns taken."""
    rng = random.Random(seed)  # noqa: S311
    first = numbers[0]
    at = DAY[first].at
    point = Point(seed, first, Edge("", 0, ""))
    with matrix.before(point) as (_vendors, shop, journals):
        workers = [
            Worker(
                lambda work=DAY[number].work: work(shop, at, journals),
                Paused(shop.url, rng.sample(range(1, 60), stops)),
                journals / f"told-{place}",
            )
            for place, number in enumerate(numbers)
        ]
        waiting = deque(workers)
        while waiting:
            worker = waiting.popleft()
            if worker.go_on():
                waiting.append(worker)
        found = [worker.problem for worker in workers if worker.problem]
        for worker in workers:
            worker.told.unlink(missing_ok=True)
        ended, told = in_a_process(lambda: matrix.take_up(first, shop, journals))
    turns = sum(worker.stops for worker in workers)
    return found + (told[0] if ended == 0 else [f"not taken up: {told}"]), turns


def overtaken(matrix: Matrix, point: Point, later: timedelta) -> list[str]:
    """A worker that stands still past its claim's term, and wakes when another has done it all."""
    phase: Phase = DAY[point.phase]
    with matrix.before(point) as (_vendors, shop, journals):
        sleeper = Worker(
            lambda: phase.work(shop, phase.at, journals),
            Paused(shop.url, edge=point.edge),
            journals / "told",
        )
        if not sleeper.go_on():
            return [f"it never stood still: {sleeper.problem}"]
        ended, told = in_a_process(lambda: phase.work(shop, phase.at + later, journals))
        found = [] if ended == 0 else [f"the other worker: {told}"]
        while sleeper.go_on():
            pass
        found += [sleeper.problem] if sleeper.problem else []
        sleeper.told.unlink(missing_ok=True)
        ended, told = in_a_process(lambda: matrix.take_up(point.phase, shop, journals))
    return found + (told[0] if ended == 0 else [f"not taken up: {told}"])
