"""A new kind of write is one small class: notes on orders, as an example.

The specification wants no notes of their own written; the class is here to show that the
protocol asks nothing more of a kind than how it is sent and how it is recognised.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.dispatch.protocol import Dispatcher
from returns_pipeline.dispatch.writes import Absent, Applied, Unclear, Write
from returns_pipeline.storage import outbox
from returns_pipeline.storage.outbox import Intent, NewIntent
from returns_pipeline_tests.dispatch.conftest import NOW, SETTLE, Account, order_id
from returns_pipeline_tests.dispatch.test_restocks import FATES


class Note(Write):
    """``AddOrderNote``: a repetition would add a second one."""

    kind = "order_note"

    def send(self, intent: Intent) -> Mapping[str, Any]:
        return {"note_id": self.linnworks.add_order_note(**intent.payload)}

    def read_back(self, intent: Intent) -> Applied | Absent | Unclear:
        order = self.linnworks.order_by_id(intent.payload["order_id"]) or {}
        for note in order.get("Notes", ()):
            if intent.reference in note["Note"]:
                return Applied({"note_id": note["OrderNoteId"]})
        return Absent()

    def confirmed(
        self,
        connection: sa.Connection,
        intent: Intent,
        evidence: Mapping[str, Any],
        now: datetime,
    ) -> None:
        """Nothing of ours waits for a note."""

    def refused(self, connection: sa.Connection, intent: Intent, why: str, now: datetime) -> None:
        """Nor for one that was not made."""


@pytest.fixture
def drive(account: Account) -> Any:
    text = "Returned to Ashford (N-1)"
    note = NewIntent(
        "order_note:N-1", "order_note", "note:1", "N-1", {"order_id": order_id(1), "text": text}
    )
    with account.engine.begin() as connection:
        outbox.enqueue(connection, [note], now=NOW)

    def run() -> None:
        Dispatcher(
            account.engine,
            {"order_note": Note(account.linnworks, account.engine)},
            clock=account.clock.now,
            settle=SETTLE,
            run_id="run",
            holder="test",
            sleep=lambda _seconds: None,
        ).drive(["order_note"])

    return run


@pytest.mark.parametrize("fate", ["", *FATES])
def test_a_note_is_written_once_whatever_becomes_of_its_answer(
    account: Account, drive: Any, fate: str
) -> None:
    if fate:
        account.fault("AddOrderNote", fate)

    for _ in range(3):
        drive()
        account.wait(SETTLE + timedelta(minutes=1))

    assert [note.text for note in account.state.notes[order_id(1)]] == ["Returned to Ashford (N-1)"]
    assert account.intents() == {"order_note": "confirmed"}
