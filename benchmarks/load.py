"""Pages over HTTP into validated tables, by the pipeline's own steps.

``python -m benchmarks.load DATABASE_URL VENDOR_URL``
"""

from __future__ import annotations

import sys

import sqlalchemy as sa

from benchmarks.process import Phases
from benchmarks.runtime import runtime
from returns_pipeline.schemas.contracts import check  # with pandera: no import is measured
from returns_pipeline.steps import capture, derive
from returns_pipeline.storage import frames
from returns_pipeline.storage import tables as t


def _check(connection: sa.Connection, rows: int) -> None:
    """All rows, as many at once as the pipeline's own checks look at."""
    for first in range(1, rows + 1, frames.RECENT):
        part = t.return_items.c.id.between(first, first + frames.RECENT - 1)
        verdict = check("return_items", frames.read(connection, t.return_items, where=part))
        if not verdict.passed:
            sys.exit(f"return_items: {verdict}")


def main(database_url: str, vendor: str) -> None:
    phases = Phases()
    with runtime(database_url, happy_returns=vendor) as rt:
        with phases.phase("read and keep"):
            capture.return_payloads(rt)
        with phases.phase("derive"):
            derive.returns(rt)
        with rt.engine.connect() as connection:
            rows = connection.execute(
                sa.select(sa.func.count()).select_from(t.return_items)
            ).scalar_one()
            with phases.phase("check"):
                _check(connection, rows)
        phases.report(rows=rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
