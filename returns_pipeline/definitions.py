"""The code location Dagster loads: ``dagster dev``, the webserver, the daemon, jobs."""

from returns_pipeline.defs.assembly import assembled

defs = assembled()
