"""``python -m returns_pipeline_tests.storms``: hundreds of seeds, or one with its fates."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

from returns_pipeline_tests.crash.databases import (
    Databases,
    PostgresDatabases,
    SqliteFiles,
    postgres_server,
)
from returns_pipeline_tests.storms.report import Told, page
from returns_pipeline_tests.storms.storm import Outcome, Storms
from returns_pipeline_tests.storms.story import WORLDS
from returns_pipeline_tests.storms.weather import elsewhere

_PART = 10  # seeds a process takes at once


def _part(asked: tuple[str, str, str, Sequence[int]]) -> list[Outcome]:
    name, way, server, seeds = asked
    with tempfile.TemporaryDirectory() as folder, elsewhere(Path(folder)) as places:
        databases: Databases = SqliteFiles(Path(folder))
        if name == "postgresql":
            databases = PostgresDatabases(server)
        storms = Storms(databases, Path(folder), places, way)
        return [storms.run(seed) for seed in seeds]


def _run(name: str, way: str, seeds: Sequence[int], jobs: int) -> Iterator[Outcome]:
    with ExitStack() as stack:
        server = ""
        if name == "postgresql":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            Path(folder).chmod(0o755)  # PostgreSQL runs as another user when this one is root
            server = stack.enter_context(postgres_server(Path(folder) / "server"))
        pool = stack.enter_context(ProcessPoolExecutor(jobs, mp_context=get_context("fork")))
        parts = [pool.submit(_part, (name, way, server, part)) for part in _parts(seeds)]
        for done in as_completed(parts):
            yield from done.result()


def _parts(seeds: Sequence[int]) -> Iterator[Sequence[int]]:
    """Seeds of one world together: its days without a fault are lived once a part."""
    for number in range(WORLDS):
        mine = [seed for seed in seeds if seed % WORLDS == number]
        yield from (mine[i : i + _PART] for i in range(0, len(mine), _PART))


def main() -> int:
    """Run, print the tables; 1 when a seed failed or a fate never came to a kind of write."""
    parser = argparse.ArgumentParser(prog="python -m returns_pipeline_tests.storms")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    ways = ("create_orders", "rma")
    parser.add_argument("--way", choices=ways, default="", help="how all have replacements made")
    parser.add_argument("--seeds", type=int, default=320, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--seed", type=int, help="this one only, with its fates")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    asked = parser.parse_args()
    alone = asked.seed is not None
    seeds = [asked.seed] if alone else list(range(asked.first, asked.first + asked.seeds))
    told = Told(asked.database)
    try:
        for outcome in _run(asked.database, asked.way, seeds, asked.jobs):
            told.add(outcome)
            if outcome.problems or alone:
                sys.stderr.write(f"seed {outcome.seed}: {outcome.problems or 'as it must be'}\n")
            elif told.seeds % _PART == 0:
                sys.stderr.write(f"{told.seeds} of {len(seeds)}\n")
            if alone and not outcome.problems:
                sys.stdout.write("".join(f"{one}\n" for one in outcome.met))
    except KeyboardInterrupt:
        sys.stderr.write("stopped; what came of the seeds until here:\n")
    sys.stdout.write(page(told))
    return int(bool(told.failed or (told.never() and not alone)))


if __name__ == "__main__":
    sys.exit(main())
