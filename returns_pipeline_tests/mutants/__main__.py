"""Apply each mutant to a copy of the code and print which test killed it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from returns_pipeline_tests.mutants.patches import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
_TESTS = "returns_pipeline_tests/dispatch"


def killer(mutant: Mutant | None) -> str:
    """The first test that fails with it; empty for none. ``None`` is the code as it is."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        for room in ("returns_pipeline", "returns_pipeline_tests", "sandbox"):
            if (ROOT / room).is_dir():
                shutil.copytree(ROOT / room, copy / room)
        shutil.copy(ROOT / "pyproject.toml", copy)
        if mutant is not None:
            text = (copy / mutant.path).read_text()
            (copy / mutant.path).write_text(text.replace(mutant.old, mutant.new))
        ran = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "--no-cov", _TESTS],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy)},  # noqa: TID251 - its own, for the tests
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    if ran.returncode == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) \S*?::(\w+)", ran.stdout, re.MULTILINE)
    if ran.returncode != 1 or failed is None:
        msg = f"the tests did not run: {ran.stdout[-500:]}{ran.stderr[-500:]}"
        raise RuntimeError(msg)
    return failed[1]


def main(only: str = "") -> int:
    """Print the table; 1 when one survives or the code as it is fails."""
    if before := killer(None):
        print(f"the code as it is fails {before}: nothing can be said of mutants")  # noqa: T201
        return 1
    print("| Mutant | Killed by |\n|---|---|", flush=True)  # noqa: T201
    survived = 0
    for mutant in MUTANTS:
        if only in mutant.name:
            test = killer(mutant)
            survived += not test
            print(f"| {mutant.name} | {test or '**survived**'} |", flush=True)  # noqa: T201
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
