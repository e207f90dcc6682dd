"""Sealed batches as files that accounting programs import: a module a target.

A new target is a module here with ``NAME``, ``TITLE`` and ``write`` (``journal.Target``),
its place in ``TARGETS``, and its table ``[exports.<name>]`` in the policy. Pure: bytes out;
which batches, and writing the files, are ``steps.exporting``'s.
"""

from __future__ import annotations

from collections.abc import Mapping

from returns_pipeline.reporting.exports import generic, netsuite, quickbooks, sage50, xero
from returns_pipeline.reporting.exports.journal import Target

TARGETS: Mapping[str, Target] = {
    module.NAME: module for module in (generic, xero, quickbooks, sage50, netsuite)
}
"""By name, the generic one first."""
