"""``python -m returns_pipeline_tests.fortnight``: live it, print what came up and mended it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from returns_pipeline_tests.crash.databases import (
    Databases,
    PostgresDatabases,
    SqliteFiles,
    postgres_server,
)
from returns_pipeline_tests.fortnight import troubles
from returns_pipeline_tests.fortnight.report import table
from returns_pipeline_tests.fortnight.verdict import lived


def main() -> int:
    """Live the fortnight on one of the databases; 1 when the queue was not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m returns_pipeline_tests.fortnight")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # PostgreSQL runs as another user when this one is root
        databases: Databases = SqliteFiles(folder)
        if asked.database == "postgresql":
            databases = PostgresDatabases(stack.enter_context(postgres_server(folder / "server")))
        merchants = (
            ("Linnworks pays", troubles.tell(), troubles.POLICY),
            (
                "Happy Returns pays",
                troubles.tell_of_the_other_merchant(),
                troubles.PAID_BY_HAPPY_RETURNS,
            ),
        )
        problems = []
        for title, told, policy in merchants:
            came = lived(told, databases.new(), folder, policy)
            sys.stdout.write(f"\n{title}, {asked.database}\n\n{table(came)}")
            problems += came.problems
    sys.stdout.writelines(f"NOT AS IT MUST BE: {one}\n" for one in problems)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
