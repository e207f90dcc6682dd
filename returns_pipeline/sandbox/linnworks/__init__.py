"""Linnworks as the contract tells it: v1 and the v2 orders feed, with state.

Strict where a client could go wrong silently: wrapping, names, types, what is refused with
HTTP 200. What is not published is a switch (``SWITCHES``), so that a client can be tried
under every reading. Written from ``contracts/linnworks`` alone.
"""

from returns_pipeline.sandbox.linnworks.service import vendor
from returns_pipeline.sandbox.linnworks.state import (
    APPLICATION_ID,
    APPLICATION_SECRET,
    SWITCHES,
    TOKEN,
    LinnworksState,
)

__all__ = [
    "APPLICATION_ID",
    "APPLICATION_SECRET",
    "SWITCHES",
    "TOKEN",
    "LinnworksState",
    "vendor",
]
