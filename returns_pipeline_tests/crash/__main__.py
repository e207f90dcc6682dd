"""The crash matrix from the command line: the table, or one point again.

python -m returns_pipeline_tests.crash [--database sqlite|postgresql] [--reduced]
    [--point K [--again-at M]] [--twice N] [--jobs J] [--write FILE]
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from returns_pipeline_tests.crash import table
from returns_pipeline_tests.crash.databases import (
    Databases,
    PostgresDatabases,
    SqliteFiles,
    postgres_server,
)
from returns_pipeline_tests.crash.matrix import Matrix, Point


@contextmanager
def _databases(name: str, folder: Path) -> Iterator[Databases]:
    if name == "sqlite":
        yield SqliteFiles(folder)
        return
    with postgres_server(folder / "server") as url:
        yield PostgresDatabases(url)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m returns_pipeline_tests.crash")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--reduced", action="store_true", help="a handful of returns")
    ways = ("create_orders", "rma")
    parser.add_argument("--way", choices=ways, default=ways[0], help="how replacements are made")
    parser.add_argument("--point", type=int, help="this point alone, with what came of it")
    parser.add_argument("--again-at", type=int, default=0, help="its second kill")
    parser.add_argument("--every", type=int, default=1, help="only every so-manieth point")
    parser.add_argument("--twice", type=int, default=60, help="points killed twice, besides")
    parser.add_argument("--jobs", type=int, default=2, help="points side by side")
    parser.add_argument("--write", type=Path, help="where the table is kept")
    return parser.parse_args()


def _points(matrix: Matrix, asked: argparse.Namespace) -> list[Point]:
    points = matrix.clean.points()
    if asked.point:
        one = points[asked.point - 1]
        return [Point(one.number, one.phase, one.edge, again_at=asked.again_at)]
    return points[:: asked.every] + matrix.clean.twice(asked.twice)


def _say(text: str, where: TextIO = sys.stderr) -> None:
    where.write(text + "\n")
    where.flush()


def _run(name: str, asked: argparse.Namespace) -> table.Told:
    with tempfile.TemporaryDirectory() as folder, _databases(name, Path(folder)) as databases:
        matrix = Matrix(databases, Path(folder), reduced=asked.reduced, way=asked.way)
        told = table.Told(name, matrix)
        points = _points(matrix, asked)
        for done, outcome in enumerate(matrix.run_all(points, jobs=asked.jobs), 1):
            told.add(outcome)
            if outcome.problems or asked.point:
                _say(table.words(outcome))
            elif done % 25 == 0:
                _say(f"{name}: {done} of {len(points)} ({told.took:.0f} s)")
                if asked.write:
                    asked.write.with_suffix(".part").write_text(table.page([told]), "utf-8")
    return told


def main() -> int:
    """Run what was asked for; 1 when anything was not as it must be."""
    asked = _asked()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server is stopped then too
    told = [_run(name, asked) for name in asked.database or ("sqlite", "postgresql")]
    text = table.page(told)
    _say(text, sys.stdout)
    if asked.write:
        asked.write.write_text(text, encoding="utf-8")
    return int(any(one.failures for one in told))


if __name__ == "__main__":
    sys.exit(main())
