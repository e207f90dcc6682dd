"""``python -m returns_pipeline_tests.simulation``: many seeds, or one with its trace."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from returns_pipeline.storage import engine as opening
from returns_pipeline.storage.migrate import upgrade
from returns_pipeline_tests.simulation.oracle import Violation
from returns_pipeline_tests.simulation.story import run_seed

_PART = 100  # seeds a process takes at once


@dataclass
class Result:
    """How often each invariant was asked, what was reached in how many seeds, what failed."""

    always: Counter[str] = field(default_factory=Counter)
    sometimes: Counter[str] = field(default_factory=Counter)
    failed: dict[int, str] = field(default_factory=dict)
    used: float = 0.0  # seconds of processor time

    def add(self, other: Result) -> None:
        """Put another one's figures in."""
        self.always += other.always
        self.sometimes += other.sometimes
        self.failed |= other.failed
        self.used += other.used

    def told(self) -> str:
        """What failed, each with the command that replays it."""
        return "\n".join(
            f"seed {seed}: {text}\n  {replay(seed)}" for seed, text in self.failed.items()
        )


@contextmanager
def memory() -> Iterator[sa.Engine]:
    """An SQLite in memory with our tables, opened as production opens it.

    One connection, whichever strand of a story uses it: only one ever runs.
    """
    engine = sa.create_engine(
        "sqlite://",
        poolclass=StaticPool,
        connect_args={"check_same_thread": False},
        json_deserializer=opening._document,
    )
    sa.event.listen(engine, "connect", opening._configure)
    sa.event.listen(engine, "begin", opening._begin)
    upgrade(engine)
    yield engine
    engine.dispose()


def replay(seed: int) -> str:
    """The command that tells a seed's story again."""
    return f"python -m returns_pipeline_tests.simulation --seed {seed}"


def run(engine: sa.Engine, seeds: Sequence[int]) -> Result:
    """Run seeds one after another."""
    result, began = Result(), time.process_time()
    for seed in seeds:
        try:
            story = run_seed(seed, engine)
        except (Exception, Violation) as error:  # noqa: BLE001 (the program's errors count too)
            result.failed[seed] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            continue
        result.always += story.oracle.always
        result.sometimes += Counter(dict.fromkeys(story.reached, 1))
    result.used = time.process_time() - began
    return result


def _part(seeds: Sequence[int]) -> Result:
    with memory() as engine:
        return run(engine, seeds)


def _tell(seed: int) -> int:
    with memory() as engine:
        try:
            run_seed(seed, engine, trace=True)
        except (Exception, Violation):  # noqa: BLE001 (shown, whatever it is)
            traceback.print_exc()
            return 1
    return 0


def _table(heading: str, unit: str, counted: Counter[str]) -> str:
    rows = [f"| {name} | {times} |" for name, times in sorted(counted.items())]
    return "\n".join([f"| {heading} | {unit} |", "| --- | --- |", *rows, ""])


def main() -> int:
    """Run, print the tables, and the command that replays each failure."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, help="this one only, with its trace")
    given = parser.parse_args()
    if given.seed is not None:
        return _tell(given.seed)
    seeds = range(given.first, given.first + given.seeds)
    parts = [seeds[i : i + _PART] for i in range(0, len(seeds), _PART)]
    result, began = Result(), time.perf_counter()
    with ProcessPoolExecutor(max_workers=given.jobs) as pool:
        for part, done in zip(parts, pool.map(_part, parts), strict=True):
            result.add(done)
            sys.stderr.write(f"to seed {part[-1]}: {len(result.failed)} failed\n")
    took = time.perf_counter() - began
    rate = len(seeds) / result.used * 60
    sys.stdout.write(_table("always", "asked", result.always) + "\n")
    sys.stdout.write(_table("sometimes", "seeds", result.sometimes) + "\n")
    sys.stdout.write(
        f"{len(seeds)} seeds, {len(result.failed)} failed; {took:.0f} s, "
        f"{rate:.0f} a minute of processor time\n{result.told()}\n"
    )
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
