"""``python -m returns_pipeline_tests.simulation``: many seeds, or one with its trace."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa

from returns_pipeline.storage.engine import connect
from returns_pipeline.storage.migrate import upgrade
from returns_pipeline_tests.simulation.oracle import Violation
from returns_pipeline_tests.simulation.story import run_seed


@contextmanager
def memory() -> Iterator[sa.Engine]:
    """An SQLite in memory with our tables: one connection, opened as production opens it."""
    engine = connect("sqlite:///:memory:")
    upgrade(engine)
    yield engine
    engine.dispose()


def replay(seed: int) -> str:
    """The command that tells a seed's story again."""
    return f"python -m returns_pipeline_tests.simulation --seed {seed}"


def run(
    engine: sa.Engine, seeds: Sequence[int]
) -> tuple[Counter[str], Counter[str], dict[int, str]]:
    """Run seeds; how often each invariant was asked, what was reached, what failed."""
    always: Counter[str] = Counter()
    sometimes: Counter[str] = Counter()
    failed: dict[int, str] = {}
    for seed in seeds:
        try:
            story = run_seed(seed, engine)
        except (Exception, Violation) as error:  # noqa: BLE001 (the program's errors count too)
            failed[seed] = f"{type(error).__name__}: {error}"
            continue
        always += story.oracle.always
        sometimes += Counter({name: 1 for name in story.reached})
    return always, sometimes, failed


def main() -> int:
    """Run, print the table, and the command that replays each failure."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--seed", type=int, help="this one only, with its trace")
    given = parser.parse_args()
    with memory() as engine:
        if given.seed is not None:
            try:
                run_seed(given.seed, engine, trace=True)
            except (Exception, Violation):  # noqa: BLE001
                traceback.print_exc()
                return 1
            return 0
        began, used = time.perf_counter(), time.process_time()
        always, sometimes, failed = run(engine, range(given.first, given.first + given.seeds))
    wall, used = time.perf_counter() - began, time.process_time() - used
    print("| always | asked |\n| --- | --- |")
    for name, times in sorted(always.items()):
        print(f"| {name} | {times} |")
    print("\n| sometimes | seeds |\n| --- | --- |")
    for name, times in sorted(sometimes.items()):
        print(f"| {name} | {times} |")
    rate = given.seeds / used * 60
    print(f"\n{given.seeds} seeds, {wall:.0f} s, {rate:.0f} a minute of processor time")
    for seed, text in failed.items():
        print(f"seed {seed}: {text[:160]}\n  {replay(seed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
