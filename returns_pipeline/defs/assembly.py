"""Everything put together. ``returns_pipeline.definitions`` is what Dagster loads."""

import dagster as dg

from returns_pipeline.defs.alerts import SENSORS
from returns_pipeline.defs.assets import ASSETS, finance
from returns_pipeline.defs.automation import SCHEDULES, exceptions_after_a_failed_poll
from returns_pipeline.defs.checks import CHECKS
from returns_pipeline.defs.jobs import JOBS
from returns_pipeline.defs.maintenance import prune_poll_runs, prune_schedule
from returns_pipeline.defs.recovery import dead_run_recovery
from returns_pipeline.defs.resources import NothingPassed, Pipeline


def assembled() -> dg.Definitions:
    """The whole code location. Loads without any variable set."""
    return dg.Definitions(
        assets=[*ASSETS, *finance.TOLD],
        asset_checks=CHECKS,
        jobs=[*JOBS, prune_poll_runs],
        schedules=[*SCHEDULES, prune_schedule],
        sensors=[*SENSORS, dead_run_recovery, exceptions_after_a_failed_poll],
        resources={"pipeline": Pipeline(), "io_manager": NothingPassed()},
        # A process a step would cost five times the work itself.
        executor=dg.in_process_executor,
    )
