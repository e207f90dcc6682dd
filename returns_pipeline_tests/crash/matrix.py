"""One clean day counted, then a day killed at each of its edges and taken up again."""

from __future__ import annotations

import faulthandler
import gc
import os
import pickle
import random
import select
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa

from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.steps import act, closing, exporting, money, runtime
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.crash import story, verdict
from returns_pipeline_tests.crash.databases import Databases, OneEngine
from returns_pipeline_tests.crash.edges import Edge, Watch
from returns_pipeline_tests.crash.vendors import Vendors
from returns_pipeline_tests.end_to_end.shop import Shop, policy

# The readings of the contract under which a second write does a second time what it does.
_HARSH = {"second_action": "posts_again", "second_refund_action": "pays_again"}
_PATIENCE = 300.0  # seconds that one process may take before it counts as hung


def _sync(shop: Shop, now: datetime, _journals: Path) -> None:
    shop.sync(now)


def _close(shop: Shop, now: datetime, journals: Path) -> None:
    """As the schedule of the night: each open day sealed, paid, its journal written."""
    with shop.run(now) as rt:
        for day in closing.days_to_close(rt):
            money.seal(rt, day)
            act.refunds(rt, day)
            exporting.export_day(rt, day, journals)
            money.mark_posted(rt, day)


Work = Callable[[Shop, datetime, Path], None]


@dataclass(frozen=True, slots=True)
class Phase:
    """One process of the day. What is killed is begun again, a sync as the next poll is."""

    name: str
    at: datetime
    work: Work
    is_killed: bool = False


DAY = (
    Phase("evening sync", story.EVENING, _sync, is_killed=True),
    Phase("the poll after it", story.EVENING + story.LATER, _sync),
    Phase("first poll of the night", story.NIGHT - story.BEFORE, _sync),
    Phase("closing", story.NIGHT, _close, is_killed=True),
    Phase("morning sync", story.MORNING, _sync, is_killed=True),
    Phase("the poll after it", story.MORNING + story.LATER, _sync),
    Phase("first poll of the next night", story.NEXT_NIGHT - story.BEFORE, _sync),
    Phase("next closing", story.NEXT_NIGHT, _close),
    Phase("next sync", story.NEXT_MORNING, _sync),
)


@dataclass(frozen=True, slots=True)
class Point:
    """Where a day is killed: the phase, the edge in it, and perhaps an edge of the recovery."""

    number: int
    phase: int
    edge: Edge
    again_at: int = 0


@dataclass(slots=True)
class Outcome:
    """What came of a point: nothing, if all is well."""

    point: Point
    problems: list[str]
    steps: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    killed_twice: bool = False


@dataclass(slots=True)
class Clean:
    """A day that was not killed: its edges and what came of it."""

    edges: dict[int, list[Edge]]
    books: dict[str, Any]
    sealed: dict[str, Any]
    problems: list[str]
    standing: list[str]

    def points(self) -> list[Point]:
        """Every edge of the day, in the order of the clean run."""
        edges = [(phase, edge) for phase, found in self.edges.items() for edge in found]
        return [Point(k, phase, edge) for k, (phase, edge) in enumerate(edges, 1)]

    def twice(self, how_many: int, seed: int = 7) -> list[Point]:
        """Points killed a second time, anywhere in the recovery."""
        rng = random.Random(seed)  # noqa: S311 (the same points every time)
        points = self.points()
        chosen = rng.sample(points, min(how_many, len(points)))
        return [
            Point(p.number, p.phase, p.edge, again_at=rng.randint(1, len(self.edges[p.phase])))
            for p in chosen
        ]


class _Shop(Shop):
    """A shop whose database is looked at through the engine that is there already."""

    def __init__(
        self, sandbox: Any, url: str, environ: Mapping[str, str], engine: OneEngine
    ) -> None:
        super().__init__(sandbox, url, environ)
        self._engine = engine

    def rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._engine(self.url).connect() as connection:
            return [row._asdict() for row in connection.execute(query)]


class Matrix:
    """The day on one kind of database.

    Args:
        databases: Where they are made.
        folder: For the snapshots.
        reduced: A handful of returns instead of some tens.
        way: How replacements are ordered.
    """

    def __init__(
        self,
        databases: Databases,
        folder: Path,
        *,
        reduced: bool = False,
        way: str = "create_orders",
    ) -> None:
        """Live the clean day once, a snapshot before each phase."""
        self.databases = databases
        self._folder = folder
        self.world = story.day(reduced=reduced)
        self._environ = {"RETURNS_POLICY": policy(folder, f'[exchange]\nway = "{way}"\n')}
        self._rehearse()
        gc.freeze()  # what is here already is shared with every process forked from here on
        outcome, found = in_a_process(self._live_cleanly)
        if outcome != 0:
            raise AssertionError(found)
        self.clean: Clean = found

    def _rehearse(self) -> None:
        """Live the day here, so that a forked process finds everything imported and compiled."""
        url = self.databases.new()
        self._connect = OneEngine(url)
        journals = self._folder / "rehearsed"
        journals.mkdir()
        with self._through_one_engine(), Sandbox(self.world, now=story.STARTS) as sandbox:
            shop = _Shop(sandbox, url, self._environ, self._connect)
            for phase in DAY:
                phase.work(shop, phase.at, journals)
            self._problems(shop, journals, Clean({}, {}, {}, [], []))
        self._connect(url).dispose()
        self.databases.drop(url)

    @contextmanager
    def _through_one_engine(self) -> Iterator[None]:
        with (
            patch.object(runtime, "connect", self._connect),
            patch.object(verdict, "connect", self._connect),
        ):
            yield

    def _live_cleanly(self) -> Clean:
        watch = Watch()
        watch.install()
        url = self.databases.new()
        journals = self._folder / "clean"
        journals.mkdir()
        edges: dict[int, list[Edge]] = {}
        with self._through_one_engine(), Sandbox(self.world, now=story.STARTS) as sandbox:
            sandbox.linnworks.switches.update(_HARSH)
            shop = _Shop(sandbox, url, self._environ, self._connect)
            for number, phase in enumerate(DAY):
                if phase.is_killed:
                    self._connect(url).dispose()
                    self.databases.keep(url, str(number))
                    sandbox.save(self._snapshot(number))
                    shutil.copytree(journals, self._journals_at(number))
                begun = len(watch.edges)
                phase.work(shop, phase.at, journals)
                if phase.is_killed:
                    # Numbers go on through the day; a killed process counts from one.
                    edges[number] = _from_one(watch.edges[:begun], watch.edges[begun:])
            books = verdict.vendor_books(sandbox.linnworks.books())
            sealed = verdict.sealed(shop, journals)
            standing = verdict.broken_invariants(shop, story.NEXT_MORNING)
            clean = Clean(edges, books, sealed, [], standing)
            clean.problems += self._problems(shop, journals, clean)
        self.databases.drop(url)
        return clean

    def _snapshot(self, number: int) -> Path:
        return self._folder / f"vendors-{number}"

    def _journals_at(self, number: int) -> Path:
        return self._folder / f"journals-{number}"

    # --- one point ----------------------------------------------------------------

    def run(self, point: Point) -> Outcome:
        """Kill the day there, take it up, finish it, look."""
        started = time.monotonic()
        with self.before(point) as (vendors, shop, journals):
            outcome = self._kill_and_recover(point, vendors, shop, journals)
        outcome.seconds = time.monotonic() - started
        return outcome

    @contextmanager
    def before(self, point: Point) -> Iterator[tuple[Vendors, Shop, Path]]:
        """Vendors, shop and journals as they stood when the point's phase began."""
        url = self.databases.copy(str(point.phase))
        journals = self._folder / f"point-{os.getpid()}-{point.number}-{point.again_at}"
        shutil.copytree(self._journals_at(point.phase), journals)
        try:
            with (
                self._through_one_engine(),
                Vendors(self._snapshot(point.phase), self.world, kills=[point.edge]) as vendors,
            ):
                yield vendors, _Shop(vendors, url, self._environ, self._connect), journals
        finally:
            shutil.rmtree(journals, ignore_errors=True)
            self.databases.drop(url)

    def _kill_and_recover(
        self, point: Point, vendors: Vendors, shop: Shop, journals: Path
    ) -> Outcome:
        phase = DAY[point.phase]

        def doomed() -> None:
            Watch(point.edge).install()
            vendors.victim(os.getpid())
            phase.work(shop, phase.at, journals)

        ended, told = in_a_process(doomed)
        vendors.victim(0)
        if ended != -signal.SIGKILL:
            return Outcome(point, [f"never died at its edge: exit code {ended}, {told}"])
        twice = False
        if point.again_at:

            def doomed_again() -> None:
                Watch(count=point.again_at).install()
                phase.work(shop, phase.at + story.HALF_WAY, journals)

            ended, told = in_a_process(doomed_again)
            twice = ended == -signal.SIGKILL
            if not twice and ended != 0:
                return Outcome(point, [f"the recovery failed: exit code {ended}, {told}"])

        ended, told = in_a_process(lambda: self.take_up(point.phase, shop, journals))
        if ended != 0:
            return Outcome(point, [f"not taken up: exit code {ended}, {told}"], killed_twice=twice)
        problems, steps = told
        return Outcome(point, problems, steps, killed_twice=twice)

    def take_up(self, number: int, shop: Shop, journals: Path) -> tuple[list[str], Counter[str]]:
        """Begin a phase again, live the rest of the day; what is wrong, and what was met."""
        phase = DAY[number]
        if DAY[number + 1].at != phase.at + story.LATER:
            phase.work(shop, phase.at + story.LATER, journals)
        for later in DAY[number + 1 :]:
            later.work(shop, later.at, journals)
        steps = shop.rows(sa.select(t.attempts.c.step))
        return self._problems(shop, journals, self.clean), Counter(r["step"] for r in steps)

    def _problems(self, shop: Shop, journals: Path, clean: Clean) -> list[str]:
        at = story.NEXT_MORNING
        found = verdict.against_truth(shop, at)
        found += verdict.postings_astray(shop)
        # What is held for a person in the clean day warns there too.
        found += [one for one in verdict.broken_invariants(shop, at) if one not in clean.standing]
        before, books = verdict.all_rows(shop), shop.sandbox.linnworks.books()
        shop.sync(at)
        if shop.sandbox.linnworks.books() != books:
            found.append("a further sync wrote to Linnworks")
        found += verdict.changed(before, verdict.all_rows(shop))
        mine = {**verdict.vendor_books(books), **verdict.sealed(shop, journals)}
        theirs = {**clean.books, **clean.sealed}
        return found + [
            f"{name} are not those of the clean day: {_beside(mine[name], theirs[name])}"
            for name in mine
            if name in theirs and mine[name] != theirs[name]
        ]

    # --- many points --------------------------------------------------------------

    def run_all(self, points: Iterable[Point], *, jobs: int = 1) -> Iterator[Outcome]:
        """Run points, ``jobs`` side by side, in their order."""
        if jobs == 1:
            yield from map(self.run, points)
            return
        # Forked, so that the workers have what this process has; they are asked through
        # ``_RUNNING`` because a matrix is not for pickling.
        _RUNNING.append(self)
        try:
            with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
                yield from pool.map(_run_here, points)
        finally:
            _RUNNING.pop()


_RUNNING: list[Matrix] = []


def _run_here(point: Point) -> Outcome:
    return _RUNNING[-1].run(point)


def _from_one(earlier: list[Edge], edges: list[Edge]) -> list[Edge]:
    before: Counter[str] = Counter()
    for edge in earlier:
        before[edge.what] = max(before[edge.what], edge.number)
    return [Edge(e.what, e.number - before[e.what], e.moment) for e in edges]


def _beside(mine: Any, theirs: Any) -> str:
    if isinstance(mine, Counter):
        return f"more {dict(mine - theirs)}, fewer {dict(theirs - mine)}"[:600]
    if isinstance(mine, list):
        return f"{[x for x in mine if x not in theirs]} for {[x for x in theirs if x not in mine]}"[
            :1200
        ]
    if isinstance(mine, dict):
        keys = sorted({k for k in {*mine, *theirs} if mine.get(k) != theirs.get(k)})
        return ", ".join(f"{k}: {mine.get(k)} for {theirs.get(k)}" for k in keys)[:600]
    return f"{mine} for {theirs}"


def in_a_process(work: Callable[[], Any]) -> tuple[int, Any]:
    """Do something in a forked process.

    Returns:
        Its exit code, or minus the signal that ended it; and what it returned or raised.
    """
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(out)
        faulthandler.enable()
        gc.disable()  # a collection would touch, and so copy, every page that is shared
        code = 1
        try:
            result: Any = work()
            code = 0
        except BaseException:  # noqa: BLE001 (the parent is told)
            result = traceback.format_exc()
        try:
            with os.fdopen(into, "wb") as pipe:
                pickle.dump(result, pipe)
        finally:
            os._exit(code)
    os.close(into)
    parts: list[bytes] = []
    until = time.monotonic() + _PATIENCE
    while select.select([out], [], [], max(0.0, until - time.monotonic()))[0]:
        part = os.read(out, 1 << 20)
        if not part:
            break
        parts.append(part)
    else:
        os.kill(pid, signal.SIGKILL)
        parts = [pickle.dumps("it hung")]
    os.close(out)
    _pid, status = os.waitpid(pid, 0)
    body = b"".join(parts)
    hung = time.monotonic() >= until
    code = 1 if hung else os.waitstatus_to_exitcode(status)
    return code, pickle.loads(body) if body and code in {0, 1} else None  # noqa: S301 (our child's)
