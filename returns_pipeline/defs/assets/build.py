"""One step becomes one or more assets, with what people want to know of them.

Here: the shape every asset has. Not here: any asset.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import sqlalchemy as sa

from returns_pipeline.defs import metadata
from returns_pipeline.defs.resources import TABLES_POOL, Pipeline
from returns_pipeline.steps.figures import Breakdown
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage.engine import reading

OPERATIONS, FINANCE, CUSTOMER_SERVICE = "team:operations", "team:finance", "team:customer-service"

# Reading again harms nobody. Writers have no policy: what a lost answer did is found out
# by reading it back, never by trying again.
READ_AGAIN = dg.RetryPolicy(
    max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)

Step = Callable[[Runtime], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Told:
    """What people are told of one asset: its words, owner, table and small tables."""

    name: str
    description: str
    owner: str
    table: sa.Table | None = None
    deps: Sequence[str] = ()
    kinds: Collection[str] = ("python", "sql")
    tags: Mapping[str, str] = field(default_factory=dict)
    breakdowns: Sequence[Breakdown] = ()
    freshness: dg.FreshnessPolicy | None = None

    def spec(
        self, group: str, partitions: dg.PartitionsDefinition[str] | None = None
    ) -> dg.AssetSpec:
        """The asset's specification."""
        return dg.AssetSpec(
            self.name,
            deps=list(self.deps),
            description=self.description,
            metadata=metadata.of_table(self.table) if self.table is not None else {},
            group_name=group,
            owners=[self.owner],
            tags=dict(self.tags),
            kinds=set(self.kinds),
            freshness_policy=self.freshness,
            partitions_def=partitions,
        )


def step_assets(
    step: Step,
    *told: Told,
    group: str,
    pool: str = TABLES_POOL,
    retry: dg.RetryPolicy | None = None,
) -> dg.AssetsDefinition:
    """The assets one step writes; the first one carries the step's counts.

    Args:
        step: What is done.
        told: The assets, each in its words.
        group: Where they stand in the graph.
        pool: What only one run may use at a time.
        retry: For steps that only read a vendor.
    """

    @dg.multi_asset(
        name=told[0].name,
        specs=[one.spec(group) for one in told],
        pool=pool,
        retry_policy=retry,
    )
    def run_step(
        context: dg.AssetExecutionContext, pipeline: Pipeline
    ) -> Iterator[dg.MaterializeResult[Any]]:
        with pipeline.step(context) as rt:
            before = rt.calls()
            counts = step(rt)
            made = rt.calls() - before
            with reading(rt.engine) as connection:
                for place, one in enumerate(told):
                    first = place == 0
                    yield dg.MaterializeResult(
                        asset_key=one.name,
                        metadata={
                            **(metadata.counts(counts) if first else {}),
                            **(metadata.calls(made) if first else {}),
                            **metadata.rows(connection, one.table),
                            **metadata.breakdowns(connection, one.breakdowns),
                        },
                    )

    return run_step
