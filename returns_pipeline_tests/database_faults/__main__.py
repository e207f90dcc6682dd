"""Faults of a database, many a kind: what came of each, and a table.

python -m returns_pipeline_tests.database_faults [--database sqlite|postgresql] [--each N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from returns_pipeline_tests.database_faults.days import Told, days, sample, struck


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _run(database: str, each: int) -> list[Told]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, days(database, Path(folder)) as (matrix, made):
        names = list(made(f"{database}://"))
        told = []
        for name, point in sample(matrix, names, each):
            one = struck(matrix, made, name, point)
            told.append(one)
            if one.problems:
                _say(f"{database} {name}, {point.edge}: {one.problems}")
    tried, ended, failed = (
        Counter(one.fault for one in told if counts(one))
        for counts in (lambda _one: True, lambda one: one.error, lambda one: one.problems)
    )
    _say(f"\n{database}, {time.monotonic() - began:.0f} s\n")
    _say("| fault | commits | run ended with its error | absorbed | failures |")
    _say("| --- | --- | --- | --- | --- |")
    for name in names:
        absorbed = tried[name] - ended[name]
        _say(f"| {name} | {tried[name]} | {ended[name]} | {absorbed} | {failed[name]} |")
    return told


def main() -> int:
    """Run what was asked for; 1 when anything was not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m returns_pipeline_tests.database_faults")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--each", type=int, default=20, help="commits at which each fault strikes")
    asked = parser.parse_args()
    told = [_run(name, asked.each) for name in asked.database or ("sqlite", "postgresql")]
    return int(any(one.problems for found in told for one in found))


if __name__ == "__main__":
    sys.exit(main())
