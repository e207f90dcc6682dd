"""Every kind of write there is, by name."""

from __future__ import annotations

import sqlalchemy as sa

from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.dispatch import moves, refunds, replacements, restocks
from returns_pipeline.dispatch.writes import Write

RESTOCK = (restocks.BOOKING, restocks.ACTION)
MOVE = (moves.MOVE,)
EXCHANGE = (replacements.CREATE,)
REFUND = (refunds.CREATE, refunds.ACTION)

_KINDS: tuple[type[Write], ...] = (
    restocks.Booking,
    restocks.Action,
    moves.Move,
    refunds.Creation,
    refunds.Action,
    replacements.Creation,
)


def all_writes(linnworks: Linnworks, engine: sa.Engine) -> dict[str, Write]:
    """One of each, by the name of its kind."""
    return {kind.kind: kind(linnworks, engine) for kind in _KINDS}
