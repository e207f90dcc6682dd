"""Pages over HTTP into validated tables, by the pipeline's own steps.

``python -m benchmarks.load DATABASE_URL VENDOR_URL``
"""

from __future__ import annotations

import sys

import sqlalchemy as sa

from benchmarks.process import Phases
from benchmarks.runtime import runtime
from returns_pipeline.schemas import check
from returns_pipeline.steps import capture, derive
from returns_pipeline.storage import frames
from returns_pipeline.storage import tables as t


def main(database_url: str, vendor: str) -> None:
    phases = Phases()
    with runtime(database_url, happy_returns=vendor) as rt:
        with phases.phase("read and keep"):
            capture.return_payloads(rt)
        with phases.phase("derive"):
            derive.returns(rt)
        with phases.phase("check"), rt.engine.connect() as connection:
            verdict = check("return_items", frames.read(connection, t.return_items))
        if not verdict.passed:
            sys.exit(f"return_items: {verdict}")
        with rt.engine.connect() as connection:
            rows = connection.execute(
                sa.select(sa.func.count()).select_from(t.return_items)
            ).scalar_one()
        phases.report(rows=rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
