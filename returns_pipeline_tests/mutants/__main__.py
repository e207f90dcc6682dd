"""``python -m returns_pipeline_tests.mutants``: apply each mutant to a copy, run its killers.

A mutant is killed when every test named for it fails. First the code as it is must pass them
all, and a control mutant that cannot be imported must fail: else the copy is not what runs.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from returns_pipeline_tests.mutants.patches import CONTROL, MUTANTS, SECTION_7, Mutant

ROOT = Path(__file__).resolve().parents[2]
_ROOMS = ("returns_pipeline", "returns_pipeline_tests")
_FAILED = re.compile(r"^FAILED \S*?::(\w+)", re.MULTILINE)


@contextmanager
def copied(mutant: Mutant | None = None) -> Iterator[Path]:
    """A copy of the project, with the mutant applied."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        for room in _ROOMS:
            shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        if mutant is not None:
            path = copy / mutant.path
            path.write_text(mutant.applied(path.read_text()))
        yield copy


def run(copy: Path, tests: Iterable[str]) -> tuple[int, str]:
    """Run tests of a copy; pytest's exit code and what it said.

    The package is installed so that it is edited in place: the copy is put before it.
    """
    own = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "--no-cov", "-p", "no:randomly"]
    ran = subprocess.run(  # noqa: S603 (our own interpreter)
        [*command, "-p", "no:cacheprovider", "-k", "not postgresql", *tests],
        cwd=copy,
        env={**os.environ, **own},  # noqa: TID251 (its own, for the tests)
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


def killed(mutant: Mutant) -> tuple[bool, float]:
    """Whether each of its killers fails with it, by failing and not by not running."""
    began = time.perf_counter()
    with copied(mutant) as copy:
        code, said = run(copy, mutant.killers)
    took = time.perf_counter() - began
    if code not in {0, 1}:
        msg = f"{mutant.name}: the tests did not run\n{said[-2000:]}"
        raise RuntimeError(msg)
    failed = set(_FAILED.findall(said))
    return failed >= {name_of(test) for test in mutant.killers}, took


def name_of(test: str) -> str:
    """A test's name, without its file."""
    return test.partition("::")[2]


def _prepared(mutants: Sequence[Mutant]) -> str:
    """Why nothing can be said of mutants; empty when all is well."""
    with copied(CONTROL) as copy:
        code, said = run(copy, CONTROL.killers)
    if code == 0 or CONTROL.name.partition(": ")[2] not in said:
        return f"the copy is not what runs\n{said[-2000:]}"
    tests = sorted({test for mutant in mutants for test in mutant.killers})
    with copied() as copy:
        code, said = run(copy, tests)
    return "" if code == 0 else f"the code as it is fails\n{said[-2000:]}"


_HEAD = """# Mutants

The test of the tests (RELIABILITY section 7): each row is one wrong change of the real code,
made in a copy, and the tests that must fail with it. `make mutants` makes this page, in about
{minutes:.0f} minutes of one core; the changes stand in `returns_pipeline_tests/mutants/patches.py`.
Before them, a change that cannot be imported must fail the tests (so that the copy is what
runs), and the code as it is must pass them all. The first eleven are those of section 7.

Seconds are those of a whole process of pytest.

| mutant | what it breaks | seen by | seconds |
| --- | --- | --- | --- |
"""


def _row(mutant: Mutant, *, dead: bool, took: float) -> str:
    tests = ", ".join(f"`{name_of(test)}`" for test in mutant.killers)
    seen = tests if dead else f"**nothing: it survives** {tests}"
    number = "§7: " if mutant.name in SECTION_7 else ""
    return f"| {number}{mutant.name} | {mutant.breaks} | {seen} | {took:.0f} |\n"


def main() -> int:
    """Print the table; 1 when one survives or nothing can be said."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("--only", default="", help="those whose name holds this")
    parser.add_argument("--jobs", type=int, default=1, help="at once")
    parser.add_argument("--write", type=Path, help="the page to make")
    given = parser.parse_args()
    mutants = [mutant for mutant in MUTANTS if given.only in mutant.name]
    if trouble := _prepared(mutants):
        sys.stderr.write(trouble + "\n")
        return 1
    rows, alive, used = [], 0, 0.0
    with ThreadPoolExecutor(max_workers=given.jobs) as pool:
        for mutant, (dead, took) in zip(mutants, pool.map(killed, mutants), strict=True):
            rows.append(_row(mutant, dead=dead, took=took))
            sys.stdout.write(rows[-1])
            sys.stdout.flush()
            alive, used = alive + (not dead), used + took
    result = f"{len(mutants)} mutants, {len(mutants) - alive} killed, {alive} alive.\n"
    sys.stdout.write(result)
    if given.write:
        head = _HEAD.format(minutes=max(1, used / 60))
        given.write.write_text(head + "".join(rows) + "\n" + result)
    return int(alive > 0)


if __name__ == "__main__":
    sys.exit(main())
