"""Files for people in finance: an accounting program's, and the month-end pack.

Both only read what is sealed and write files; neither seals nor pays. Started by hand,
from the UI or the command line.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from returns_pipeline.defs import metadata
from returns_pipeline.defs.assets.build import FINANCE, Told
from returns_pipeline.defs.partitions import business_months
from returns_pipeline.defs.resources import TABLES_POOL, Pipeline
from returns_pipeline.reporting.day import State
from returns_pipeline.reporting.exports import TARGETS
from returns_pipeline.steps import closing, exporting, monthly
from returns_pipeline.steps.exporting import Outcome


class Export(dg.Config):
    """What to export, and for which programs."""

    what: str = Field(
        default="yesterday",
        description="A business date (2026-03-14), yesterday, a month (2026-03) or a batch id.",
    )
    targets: list[str] = Field(
        default=[],
        description=(
            f"Some of {', '.join(TARGETS)}; empty: those of the policy's [exports] targets."
        ),
    )
    folder: str = Field(default="", description="Where files go; empty: beside the journals.")
    replace: bool = Field(
        default=False,
        description="Write files that differ from those exported before, since names changed.",
    )


LEDGER_FILES = Told(
    name="ledger_files",
    description=(
        "Files for the accounting program: Xero, QuickBooks Online, Sage 50, NetSuite or the "
        "generic journal, of a day, a month or one batch. Say which in the launchpad. Written "
        "whole or not at all, and the same bytes each time."
    ),
    owner=FINANCE,
    deps=("batches",),
    kinds=("python", "csv"),
    tags={"holds": "money"},
)
MONTH_END_PACK = Told(
    name="month_end_pack",
    description=(
        "The books of a month: batch register, VAT summary, open balances with their items, "
        "late arrivals, sign-off; as a workbook, CSV and JSON. Of a month that is not over, as "
        "far as it is sealed."
    ),
    owner=FINANCE,
    deps=("batches",),
    kinds=("python", "excel"),
    tags={"holds": "money"},
)


@dg.multi_asset(name="ledger_files", specs=[LEDGER_FILES.spec("finance")], pool=TABLES_POOL)
def ledger_files(
    context: dg.AssetExecutionContext, config: Export, pipeline: Pipeline
) -> Iterator[dg.MaterializeResult[Any]]:
    """Write them; a program that cannot take them fails the run after the others are done."""
    with pipeline.step(context, vendors=False) as rt:
        what = exporting.wanted(config.what, rt.now(), rt.policy)
        folder = Path(config.folder) if config.folder else closing.journal_folder(rt.settings)
        targets = config.targets or rt.policy.exports.targets
        changed = exporting.Changed.REPLACE if config.replace else exporting.Changed.REFUSE
        outcomes = exporting.export(rt, what, targets, folder, changed=changed)
        yield dg.MaterializeResult(
            asset_key="ledger_files",
            metadata={
                **metadata.counts({"files": sum(len(one.files) for one in outcomes)}),
                "folder": dg.MetadataValue.path(str(folder)),
                **of_outcomes(outcomes),
                metadata.DOCUMENT: dg.MetadataValue.json(
                    {"what": what.name, "targets": [one.document() for one in outcomes]}
                ),
            },
        )
        exporting.require_all(outcomes)


def of_outcomes(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What was written for which program, and what was not and why, as tables."""
    return {
        "written/files": metadata.table(
            [
                {"program": one.title, "file": path.name, "batches": len(one.batches)}
                for one in outcomes
                for path in one.files
            ]
        ),
        "written/left out": metadata.table(
            [
                {"program": one.title, "batch": batch, "why": "its currency does not go there"}
                for one in outcomes
                for batch in one.left_out
            ]
        ),
        "written/refused": metadata.table(
            [{"program": one.title, "why": problem} for one in outcomes for problem in one.problems]
        ),
    }


@dg.multi_asset(
    name="month_end_pack",
    specs=[MONTH_END_PACK.spec("finance", business_months)],
    backfill_policy=dg.BackfillPolicy.multi_run(),
    pool=TABLES_POOL,
)
def month_end_pack(
    context: dg.AssetExecutionContext, pipeline: Pipeline
) -> Iterator[dg.MaterializeResult[Any]]:
    """Write one month's."""
    with pipeline.step(context, vendors=False) as rt:
        made, files = monthly.write_pack(rt.engine, context.partition_key[:7], rt.settings)
        checks = made.checks()
        yield dg.MaterializeResult(
            asset_key="month_end_pack",
            metadata={
                **metadata.counts(
                    {
                        "batches": len(made.batches),
                        "open_items": len(made.open_items),
                        "late_arrivals": len(made.late),
                        "not_in_order": sum(one.state is not State.GOOD for one in checks),
                    }
                ),
                "folder": dg.MetadataValue.path(str(files[0].parent)),
                "does it add up": metadata.table(
                    [{"what": c.name, "verdict": c.state.value, "says": c.says} for c in checks]
                ),
                "open balances": metadata.table(
                    [
                        {
                            "account": one.account,
                            "currency": one.currency,
                            "ledger_minor": one.ledger_minor,
                            "items_minor": one.items_minor,
                            "difference_minor": one.difference,
                            "items": one.items,
                        }
                        for one in made.balances
                    ]
                ),
                "written": metadata.table([{"file": path.name} for path in files]),
            },
        )


ASSETS = (ledger_files, month_end_pack)
