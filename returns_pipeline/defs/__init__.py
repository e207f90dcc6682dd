"""Dagster: assets, checks, resources, automation. Thin over ``steps``.

No rule, no query and no vendor call is written here: an asset calls a step and tells people
what it did. Modules in this room never use postponed annotations (``from __future__``):
Dagster reads the types of ``context`` and of resources at run time.
"""

import warnings

import dagster as dg

# Single-run backfills and checks by day are used on purpose, and tested against the locked
# version; a command should not begin with a page of warnings about them.
for _kind in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=_kind, module=r"returns_pipeline\.")
