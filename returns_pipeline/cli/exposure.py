"""``exposure``: the replacements that were sent on trust; nothing is changed."""

from __future__ import annotations

from dataclasses import asdict

from returns_pipeline.cli import session
from returns_pipeline.cli.output import Json, answering, emit, stdout


def exposure(as_json: Json = False) -> None:
    """Replacements that were ordered and whose originals are not back, the oldest first.

    \b
    Examples:
      returns-pipeline exposure
      returns-pipeline exposure --json
    """
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.cli import tables
        from returns_pipeline.steps import exchange_tasks
        from returns_pipeline.storage.engine import reading

        with reading(engine) as connection:
            out = exchange_tasks.exposure(connection, found.policy)
        if as_json:
            rows = [asdict(one) | {"ordered_at": one.ordered_at.isoformat()} for one in out]
            emit({"replacements": rows, "totals": exchange_tasks.totals(out)})
        else:
            stdout.print(tables.exposure(out, now=found.clock()))
