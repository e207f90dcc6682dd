"""``python -m returns_pipeline_tests.fortnight``: live it, print what came up and mended it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from datetime import date
from functools import partial
from pathlib import Path

from returns_pipeline.cli.reports import write_report
from returns_pipeline_tests.crash.databases import (
    Databases,
    PostgresDatabases,
    SqliteFiles,
    postgres_server,
)
from returns_pipeline_tests.fortnight import troubles
from returns_pipeline_tests.fortnight.life import Life
from returns_pipeline_tests.fortnight.report import table
from returns_pipeline_tests.fortnight.verdict import Came, lived


def main() -> int:
    """Live the fortnight on one of the databases; 1 when the queue was not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m returns_pipeline_tests.fortnight")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--mails", type=Path, help="a folder for the mails that were sent")
    parser.add_argument("--report", type=Path, help="a folder for the report of its fifth day")
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
            came = lived(
                told, databases.new(), folder, policy, look=partial(_report, asked.report, title)
            )
            sys.stdout.write(f"\n{title}, {asked.database}\n\n{table(came)}")
            problems += came.problems
            if asked.mails:
                _keep(came, asked.mails / title)
    sys.stdout.writelines(f"NOT AS IT MUST BE: {one}\n" for one in problems)
    return int(bool(problems))


def _report(folder: Path | None, title: str, life: Life) -> None:
    """The page and the workbooks of the day on which most was received."""
    if folder is None:
        return
    with life.engine() as engine:
        write_report(life.shop.settings(life.now), engine, date(2026, 3, 13), folder / title)


def _keep(came: Came, folder: Path) -> None:
    """Write the mails as their readers saw them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, mail in enumerate(came.alerts, start=1):
        for kind in ("plain", "html"):
            body = mail.get_body((kind,))
            text = body.get_content() if body is not None else ""
            shown = f"{mail['Subject']}\n\n{text}" if kind == "plain" else text
            (folder / f"{number:03}.{'txt' if kind == 'plain' else kind}").write_text(shown)


if __name__ == "__main__":
    sys.exit(main())
