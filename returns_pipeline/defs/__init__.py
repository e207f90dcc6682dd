"""Dagster: assets, checks, resources, automation. Thin over ``steps``.

No rule, no query and no vendor call is written here: an asset calls a step and tells people
what it did. Modules in this room never use postponed annotations (``from __future__``):
Dagster reads the types of ``context`` and of resources at run time.
"""
