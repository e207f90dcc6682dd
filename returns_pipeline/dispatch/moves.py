"""Moving a unit that stands at the wrong location: out of one level, into another.

One ``UpdateStockLevelsBySKU`` with both halves. It is relative and has no key (contract
Linnworks 4.3, hazard 2), so a move counts as made only once both halves stand in the item's
change history under our mark; where that is not seen at once the write is ``unknown`` and is
read back like any other. That the history shows the mark is likely and not certain: until
it was seen once, a movement of the same size without a mark is a person's to judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from returns_pipeline.clients.linnworks import Linnworks, StockChange, instant
from returns_pipeline.clients.transport import ContractBroken, OutcomeUnknown, VendorError
from returns_pipeline.dispatch.writes import Absent, Adopt, Applied, Hold, Unclear, Write
from returns_pipeline.domain import reconciliation
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading
from returns_pipeline.storage.outbox import Intent

MOVE = "stock_move"
_HISTORY = "GetItemChangesHistory"
_CODE = "WRONG_LOCATION"
# Their clock may be behind ours: what we caused must not seem to lie before its cause.
_BEHIND = timedelta(minutes=10)


def move_key(reference: str) -> str:
    """The key of the move with this reference."""
    return f"{MOVE}:{reference}"


def level_subject(sku: str) -> str:
    """What moves of one item wait for each other by: one unknown holds the others up."""
    return f"level:{sku}"


def changes_since(
    linnworks: Linnworks, item_id: str, location_id: str, since: datetime
) -> list[reconciliation.Change]:
    """An item's history at a location from an instant on, newest first.

    Raises:
        VendorError: When it could not be read to that instant.
    """
    found: list[reconciliation.Change] = []
    for page in linnworks.changes_history(item_id, location_id):
        for row in page:
            change = _change(row, location_id)
            if change.at < since:
                return found
            found.append(change)
    return found


def _change(row: StockChange, location_id: str) -> reconciliation.Change:
    at = instant(row.Date, _HISTORY, "Date")
    if at is None:
        raise ContractBroken(_HISTORY, "a movement without its instant")
    return reconciliation.Change(location_id, at, row.ChangeQty, row.Note or "", row.Level)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the histories of the places show: this move by its mark, and what is by hand."""

    marks: tuple[reconciliation.Change, ...]
    others: tuple[reconciliation.Change, ...]


class Move(Write):
    """``UpdateStockLevelsBySKU``: a repetition would move another unit."""

    kind = MOVE

    def precheck(self, intent: Intent) -> Adopt | Hold | None:
        """Look whether it is made already, by us or by hand, and whether there is a unit."""
        seen = self._seen(intent, datetime.fromisoformat(intent.payload["since"]))
        made = self._made(intent, seen)
        if isinstance(made, Unclear):
            return Hold(made.why, _CODE)
        if made is not None:
            return Adopt(made.evidence)
        by_hand = self._by_hand(intent, seen)
        if by_hand is not None:
            return Adopt(evidence_of_transfer(by_hand))
        return self._enough(intent)

    def send(self, intent: Intent) -> Mapping[str, Any]:
        """Move it, and see all of it in the history."""
        self.linnworks.change_stock_levels(
            intent.payload["sku"], _changes(intent), source=intent.reference
        )
        try:
            made = self._made(intent, self._seen(intent, _sent(intent)))
        except VendorError as error:
            # The write has left: whatever became of the look, it may not be repeated.
            raise OutcomeUnknown(_HISTORY, error.detail) from error
        if isinstance(made, Applied):
            return made.evidence
        raise OutcomeUnknown(_HISTORY, "not all of it is seen yet")

    def done_by_others(self, intent: Intent) -> Adopt | Hold | None:
        """Linnworks said no: whether to all of it, the history says."""
        made = self._made(intent, self._seen(intent, _sent(intent)))
        if isinstance(made, Unclear):
            return Hold(made.why, _CODE)
        return Adopt(made.evidence) if made is not None else None

    def read_back(self, intent: Intent) -> Applied | Absent | Unclear:
        """All of it, nothing, or a person."""
        seen = self._seen(intent, _sent(intent))
        made = self._made(intent, seen)
        if made is not None:
            return made
        asked = set(_changes(intent))
        like = [one for one in seen.others if (one.location_id, one.units) in asked]
        if like and not self._mark_is_shown():
            first = like[0]
            return Unclear(
                f"a movement of {first.units:+d} without our mark stands there since "
                f"{first.at:%Y-%m-%d %H:%M} UTC: it may be this one",
                _CODE,
            )
        return Absent()

    def confirmed(
        self,
        connection: sa.Connection,
        intent: Intent,
        evidence: Mapping[str, Any],
        now: datetime,
    ) -> None:
        """The unit stands where it belongs."""
        enter(connection, intent, evidence, now)

    def refused(self, connection: sa.Connection, intent: Intent, why: str, now: datetime) -> None:
        """Hold it."""
        del now
        note = why if why.startswith(f"{_CODE}:") else f"{_CODE}: {why}"
        _set(connection, intent, state="held", note=note)

    # --- looking

    def _seen(self, intent: Intent, since: datetime) -> _Seen:
        marks, others = [], []
        for place in sorted({place for place, _ in _changes(intent)}):
            item_id = intent.payload["item_id"]
            for change in changes_since(self.linnworks, item_id, place, since):
                if intent.reference in change.note:
                    marks.append(change)
                elif reconciliation.is_by_hand(change):
                    others.append(change)
        return _Seen(tuple(marks), tuple(others))

    def _made(self, intent: Intent, seen: _Seen) -> Applied | Unclear | None:
        if not seen.marks:
            return None
        shown = Counter((one.location_id, one.units) for one in seen.marks)
        if shown == Counter(_changes(intent)):
            return Applied({"marked": True, "at": max(one.at for one in seen.marks).isoformat()})
        told = ", ".join(f"{one.units:+d} at {one.location_id}" for one in seen.marks)
        why = f"the history shows {told} under {intent.reference}: not the move that was asked for"
        return Unclear(why, _CODE)

    def _by_hand(self, intent: Intent, seen: _Seen) -> reconciliation.Transfer | None:
        """A transfer by staff that is this move, and not another unit's already."""
        halves = {units: place for place, units in _changes(intent)}
        with reading(self.engine) as connection:
            used = transfers_used(connection, [intent.payload["sku"]])
        for one in reconciliation.transfers(seen.others):
            fits = (one.from_location_id, one.to_location_id) == (halves.get(-1), halves.get(1))
            if fits and used[one.name] < one.units:
                return one
        return None

    def _enough(self, intent: Intent) -> Hold | None:
        """Linnworks takes nothing from an empty level, and says nothing of it (hazard 20)."""
        sku, item_id = intent.payload["sku"], intent.payload["item_id"]
        levels = {one.location_id: one.level for one in self.linnworks.stock_levels([item_id])}
        for place, units in _changes(intent):
            if levels.get(place, 0) + units < 0:
                return Hold(f"Linnworks has no {sku} left where it is to be taken from", _CODE)
        return None

    def _mark_is_shown(self) -> bool:
        """Whether the history was seen to show our mark, on this account, at any time."""
        columns = t.intents.c
        query = sa.select(columns.evidence).where(
            columns.kind == MOVE, columns.state == "confirmed"
        )
        with reading(self.engine) as connection:
            return any("marked" in evidence for evidence in connection.execute(query).scalars())


def enter(
    connection: sa.Connection, intent: Intent, evidence: Mapping[str, Any], now: datetime
) -> None:
    """Enter that a move was made, by us or by hand."""
    at = datetime.fromisoformat(evidence["at"]) if evidence.get("by_others") else now
    _set(connection, intent, state="posted", posted_at=at, note="")


def _sent(intent: Intent) -> datetime:
    return (intent.sent_at or intent.created_at) - _BEHIND


def _changes(intent: Intent) -> list[tuple[str, int]]:
    return [(one["location_id"], one["units"]) for one in intent.payload["changes"]]


def evidence_of_transfer(transfer: reconciliation.Transfer) -> dict[str, Any]:
    """What proves that somebody moved a unit by hand."""
    return {
        "by_others": True,
        "transfer": transfer.name,
        "at": transfer.at.isoformat(),
        "note": transfer.note,
    }


def transfers_used(connection: sa.Connection, skus: Iterable[str]) -> Counter[str]:
    """How many units of each transfer by hand are the proof of some unit's move already."""
    columns = t.intents.c
    query = sa.select(columns.evidence).where(columns.kind == MOVE, columns.state == "confirmed")
    subjects = [level_subject(sku) for sku in skus]
    found = records.in_chunks(connection, query, columns.subject, subjects)
    return Counter(row.evidence["transfer"] for row in found if "transfer" in row.evidence)


def _set(connection: sa.Connection, intent: Intent, **values: Any) -> None:
    moved = t.stock_adjustments.c
    connection.execute(
        sa.update(t.stock_adjustments)
        .where(moved.intent_key == intent.intent_key, moved.state != "posted")
        .values(**values)
    )
