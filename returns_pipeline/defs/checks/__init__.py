"""Asset checks: the schema of what was stored, and the invariants by their names.

What is asked stands in ``steps.invariants`` and ``schemas``; here stands which asset
carries the question, and whether its failure stops what comes after.
"""

import dagster as dg

from returns_pipeline.defs.assets import ASSETS
from returns_pipeline.defs.checks.build import checks_of
from returns_pipeline.storage import tables as t


def _all_checks() -> tuple[dg.AssetChecksDefinition, ...]:
    found = []
    for spec in (spec for asset in ASSETS for spec in asset.specs):
        name = spec.key.to_user_string()
        table = t.metadata.tables.get(spec.metadata.get("dagster/table_name", ""))
        by_day = spec.partitions_def is not None
        checks = checks_of(name, table, spec.owners[0], by_day=by_day)
        if checks is not None:
            found.append(checks)
    return tuple(found)


CHECKS = _all_checks()
