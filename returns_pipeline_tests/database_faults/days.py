"""A day's work during which the database fails at a commit, and is there again for the next run."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from returns_pipeline.storage import engine
from returns_pipeline.storage.engine import DatabaseUnusable
from returns_pipeline_tests.crash.databases import PostgresDatabases, SqliteFiles
from returns_pipeline_tests.crash.edges import AFTER_COMMIT, BEFORE_COMMIT, Edge, Watch
from returns_pipeline_tests.crash.matrix import DAY, Matrix, Point, in_a_process
from returns_pipeline_tests.database_faults import faults
from returns_pipeline_tests.database_faults.faults import Fault

Faults = Callable[[str], Mapping[str, Callable[[], Fault]]]

# A lost connection and a failing disk leave the answer of a commit unsaid; the others undo it.
_AFTER_TOO = {"connection lost", "disk error", "failover"}


class Struck(Watch):
    """Makes the database fail at an edge, from where it goes on failing until it is mended."""

    def __init__(self, at: Edge, fault: Fault) -> None:
        """``at``: a commit."""
        super().__init__(at)
        self.fault = fault
        self.has_struck = False

    def strike(self, edge: Edge, connection: Any) -> None:
        """Fail."""
        self.has_struck = True
        self.fault.strike(connection)


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one point: the error the run ended with, if any, and what is wrong."""

    point: Point
    fault: str
    error: str
    problems: list[str]
    seconds: float


def sample(matrix: Matrix, names: Sequence[str], each: int, seed: int = 11) -> list[Any]:
    """Commits of the day, so many a fault, the same every time."""
    rng = random.Random(seed)  # noqa: S311
    commits = [p for p in matrix.clean.points() if p.edge.moment in {BEFORE_COMMIT, AFTER_COMMIT}]
    before = [p for p in commits if p.edge.moment == BEFORE_COMMIT]
    return [
        (name, point)
        for name in names
        for point in sorted(
            rng.sample(commits if name in _AFTER_TOO else before, min(each, len(before))),
            key=lambda point: point.number,
        )
    ]


def struck(matrix: Matrix, made: Faults, name: str, point: Point) -> Told:
    """Live the day with a fault in it, and after it, in one process and without a restart."""
    started = time.monotonic()
    phase = DAY[point.phase]
    with matrix.before(point) as (_vendors, shop, journals):

        def lives() -> tuple[str, list[str]]:
            engine.BUSY_MS = 200  # whoever waits gives up after this
            watch = Struck(point.edge, made(shop.url)[name]())
            watch.install()
            error = ""
            try:
                phase.work(shop, phase.at, journals)
            except DatabaseUnusable as failed:
                error = f"{type(failed).__name__}: {failed}"
            watch.fault.mend()
            if not watch.has_struck:
                return error, ["the fault never struck"]
            engine.BUSY_MS = 30_000
            return error, matrix.take_up(point.phase, shop, journals)[0]

        ended, found = in_a_process(lives)
    error, problems = found if ended == 0 else ("", [f"exit code {ended}: {found}"])
    return Told(point, name, error, problems, time.monotonic() - started)


@contextmanager
def days(database: str, folder: Path) -> Iterator[tuple[Matrix, Faults]]:
    """The day on a database, and how that fails."""
    if database == "sqlite":
        yield Matrix(SqliteFiles(folder), folder, reduced=True), faults.on_sqlite
        return
    with faults.own_server() as (url, die, start):
        matrix = Matrix(PostgresDatabases(url), folder, reduced=True)
        yield matrix, lambda own: faults.on_postgresql(own, (die, start))
