"""``python -m returns_pipeline_tests.month``: the month of finance, whole, with its figures."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.process import peak_mb
from returns_pipeline_tests.crash.databases import (
    Databases,
    PostgresDatabases,
    SqliteFiles,
    postgres_server,
)
from returns_pipeline_tests.month.proof import Told, prove


def main() -> int:
    """Live through the month and print what came of it; 1 when anything differs."""
    parser = argparse.ArgumentParser(
        prog="python -m returns_pipeline_tests.month",
        description="A month closed day by day, corrected, verified, exported, run again and "
        "backfilled in one run and in many; every byte compared. Exit code 1: something differs.",
    )
    parser.add_argument("--refunds", type=int, default=30_000, help="how many units come back")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--json", action="store_true", help="one document on standard output")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the files there")
    asked = parser.parse_args()
    if asked.keep is not None and asked.keep.exists() and any(asked.keep.iterdir()):
        parser.error(f"{asked.keep} is not empty: files of another run would be compared too")
    began = time.monotonic()

    def say(text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        sys.stderr.write(f"[{minutes:2}:{seconds:02}] {text}\n")

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # PostgreSQL runs as another user when this one is root
        databases: Databases = SqliteFiles(folder)
        if asked.database == "postgresql":
            databases = PostgresDatabases(stack.enter_context(postgres_server(folder / "server")))
        told = prove(databases, asked.keep or folder / "files", asked.refunds, say=say)
    told.did |= {"seconds in all": round(time.monotonic() - began), "peak MB": round(peak_mb())}
    if asked.json:
        sys.stdout.write(json.dumps({"database": asked.database, **told.document()}, indent=2))
    else:
        _print(told)
    return int(bool(told.differences))


def _print(told: Told) -> None:
    def table(head: str, rows: dict[str, str]) -> None:
        width = max(map(len, rows))
        sys.stdout.write(f"\n{head}\n")
        sys.stdout.writelines(f"  {name:{width}}  {value}\n" for name, value in rows.items())

    did = {
        name: f"{value:,}" if isinstance(value, int) else ", ".join(value)
        for name, value in told.did.items()
    }
    table("What was done", did)
    spent = told.phases.processor
    table(
        "Seconds by the clock, and of this process's processor",
        {name: f"{taken:8.1f} {spent[name]:8.1f}" for name, taken in told.phases.seconds.items()},
    )
    if told.differences:
        sys.stdout.write(f"\n{len(told.differences)} differences:\n")
        sys.stdout.writelines(f"  {one}\n" for one in told.differences)
    else:
        sys.stdout.write("\nNo difference: every byte, every unit, every total.\n")


if __name__ == "__main__":
    sys.exit(main())
