"""Linnworks v1 and the v2 orders feed: what can be read there, and our writes.

``answers`` holds the shapes, ``session`` the account and the two ways of asking, ``reads``
and ``writes`` one method each of the vendor's. Only what is named here is for callers.

Sources: contracts/linnworks/CONTRACT.md (sections cited with their grades) and FIELDS.md,
which is generated from the official specification [S].
"""

from __future__ import annotations

from returns_pipeline.clients.linnworks.answers import (
    ActionedRma,
    BookedRma,
    MadeRefund,
    RefundHeader,
    RefundLine,
    RefundRow,
    ReturnExchange,
    ReturnRow,
    RmaHeader,
    RmaLine,
    StockChange,
    StockLevel,
    StockLocation,
    instant,
)
from returns_pipeline.clients.linnworks.reads import Reads
from returns_pipeline.clients.linnworks.session import recognise
from returns_pipeline.clients.linnworks.writes import Writes


class Linnworks(Reads, Writes):
    """One Linnworks account. Safe for several threads; they share one session."""


__all__ = [
    "ActionedRma",
    "BookedRma",
    "Linnworks",
    "MadeRefund",
    "RefundHeader",
    "RefundLine",
    "RefundRow",
    "ReturnExchange",
    "ReturnRow",
    "RmaHeader",
    "RmaLine",
    "StockChange",
    "StockLevel",
    "StockLocation",
    "instant",
    "recognise",
]
