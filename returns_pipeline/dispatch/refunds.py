"""Refunds in Linnworks: created, which sends nothing, then actioned, which sends the money.

Only for the executor ``linnworks``, only for sealed batches (``intend``). One refund an
order and batch. All refunds of the order are read before one is created: money that
somebody else has sent for the same line stops ours and asks Finance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from returns_pipeline.clients.linnworks import RefundHeader, RefundLine, RmaHeader
from returns_pipeline.clients.transport import OutcomeUnknown
from returns_pipeline.dispatch import writes
from returns_pipeline.dispatch.writes import (
    Absent,
    Adopt,
    Applied,
    Hold,
    Unclear,
    Write,
    in_part,
)
from returns_pipeline.domain.money import format_minor
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading
from returns_pipeline.storage.outbox import Intent

CREATE = "refund_create"
ACTION = "refund_action"


def create_key(reference: str) -> str:
    """The key of the creation of the refund with this reference."""
    return f"{CREATE}:{reference}"


def action_key(reference: str) -> str:
    """The key of the action of the refund with this reference."""
    return f"{ACTION}:{reference}"


def refund_subject(order_id: str) -> str:
    """What refunds of one order wait for each other by."""
    return f"refund:{order_id}"


def _total(payload: Mapping[str, Any]) -> Decimal:
    amount = sum(line["amount_minor"] for line in payload["lines"])
    return Decimal(format_minor(amount, payload["currency"]))


def _sum(lines: Iterable[RefundLine]) -> Decimal:
    return sum((line.Amount for line in lines), Decimal(0))


def _is_ours(header: RefundHeader, intent: Intent) -> bool:
    lines = header.lines
    return bool(lines) and all(
        intent.reference in {line.ExternalReference, line.FreeTextOrNote} for line in lines
    )


def _evidence(header_id: int, lines: Sequence[RefundLine], **more: Any) -> dict[str, Any]:
    return {"header_id": header_id, "rows": [line.RefundRowId for line in lines], **more}


def _set(connection: sa.Connection, reference: str, **values: Any) -> None:
    due = t.refunds_due.c
    connection.execute(
        sa.update(t.refunds_due)
        .where(due.intent_key == action_key(reference), due.state == "batched")
        .values(**values)
    )


class Creation(Write):
    """``CreateRefund``: a repetition would make a second one."""

    kind = CREATE

    def precheck(self, intent: Intent) -> Adopt | Hold | None:
        """Look at every refund of the order, whoever made it."""
        headers = self.linnworks.refund_headers(intent.payload["order_id"])
        ours = next((header for header in headers if _is_ours(header, intent)), None)
        if ours is not None:
            return self._adopted(ours, intent)
        rows = {line["row_id"].lower() for line in intent.payload["lines"] if line["row_id"]}
        units = {line["unit"] for line in intent.payload["lines"]}
        return _held_by_others(self.engine, intent, headers, rows, units)

    def _adopted(self, header: RefundHeader, intent: Intent) -> Adopt | Hold:
        if _sum(header.lines) != _total(intent.payload):
            return Hold(
                f"refund {header.RefundHeaderId} bears our reference and another amount",
                "REFUND_AMOUNT_MISMATCH",
            )
        return Adopt(_evidence(header.RefundHeaderId, header.lines, adopted=True))

    def send(self, intent: Intent) -> Mapping[str, Any]:
        """Create it."""
        made = self.linnworks.create_refund(
            intent.payload["order_id"],
            intent.payload["lines"],
            currency=intent.payload["currency"],
        )
        return _evidence(made.header_id, made.lines, reference=made.reference)

    def read_back(self, intent: Intent) -> Applied | Absent | Unclear:
        """Find it among the order's refunds by our reference on its lines."""
        headers = self.linnworks.refund_headers(intent.payload["order_id"])
        found = [header for header in headers if _is_ours(header, intent)]
        if not found:
            return Absent()
        if len(found) > 1:
            ids = ", ".join(str(header.RefundHeaderId) for header in found)
            return Unclear(f"refunds {ids} all bear our reference")
        verdict = self._adopted(found[0], intent)
        if isinstance(verdict, Hold):
            return Unclear(verdict.why, verdict.code)
        return Applied(_evidence(found[0].RefundHeaderId, found[0].lines))

    def confirmed(
        self,
        connection: sa.Connection,
        intent: Intent,
        evidence: Mapping[str, Any],
        now: datetime,
    ) -> None:
        """Note the header."""
        del now
        _set(connection, intent.reference, refund_header_id=evidence["header_id"])

    def refused(self, connection: sa.Connection, intent: Intent, why: str, now: datetime) -> None:
        """Linnworks will not: the refund is somebody's task."""
        _set(connection, intent.reference, state="refused", note=why, settled_at=now)

    def suspended(self, connection: sa.Connection, intent: Intent, why: str, now: datetime) -> None:
        """A person looks before any money leaves."""
        del now
        _set(connection, intent.reference, state="held", note=why)


class Action(writes.Action):
    """``ActionRefund``: this sends the money."""

    kind = ACTION
    noun = "refund"
    proof = staticmethod(_evidence)

    def precheck(self, intent: Intent) -> Adopt | Hold | None:
        """Read it, unless it was created by us a moment ago."""
        if self.was_just_made(intent):
            return None
        header_id = self.earlier(intent).header_id
        headers = self.linnworks.refund_headers(intent.payload["order_id"])
        header = _one_of(headers, header_id)
        if header is None:
            return Hold(f"refund {header_id} is not there any more", "LINNWORKS_CANNOT_REFUND")
        if header.is_actioned:
            return self.done(intent, header, adopted=True)
        if in_part(header):
            return Hold(f"refund {header_id} is actioned in part", "LINNWORKS_CANNOT_REFUND")
        if changed := self._changed(intent, header):
            return changed
        # Money that somebody else has sent since ours was created is as much a reason to ask.
        rows = {row for line in header.lines if (row := _row_of(line))}
        units = {line.RefundedUnit or "" for line in header.lines}
        return _held_by_others(self.engine, intent, headers, rows, units)

    def done(self, intent: Intent, header: RmaHeader | RefundHeader, **more: Any) -> Adopt | Hold:
        """Sent, and as much as the sealed batch says."""
        return self._changed(intent, header) or super().done(intent, header, **more)

    def _changed(self, intent: Intent, header: Any) -> Hold | None:
        if _sum(header.lines) == _total(self.earlier(intent).payload):
            return None
        return Hold(
            f"refund {header.RefundHeaderId} is of another amount than we made it",
            "REFUND_AMOUNT_MISMATCH",
        )

    def send(self, intent: Intent) -> Mapping[str, Any]:
        """Send the money."""
        created = self.earlier(intent)
        done = self.linnworks.action_refund(intent.payload["order_id"], created.header_id)
        if _sum(done.lines) != _total(created.payload):
            # Changed since it was created: it is read, and a person told, not believed.
            raise OutcomeUnknown("ActionRefund", "sent another amount than was created")
        return _evidence(done.header_id, done.lines)

    def header(self, intent: Intent, header_id: int) -> RefundHeader | None:
        """It, among those of the order."""
        return _one_of(self.linnworks.refund_headers(intent.payload["order_id"]), header_id)

    def confirmed(
        self,
        connection: sa.Connection,
        intent: Intent,
        evidence: Mapping[str, Any],
        now: datetime,
    ) -> None:
        """The money has left."""
        del evidence
        _set(connection, intent.reference, state="actioned", settled_at=now, note="")

    def refused(self, connection: sa.Connection, intent: Intent, why: str, now: datetime) -> None:
        """Created, but not sent: Finance acts."""
        _set(connection, intent.reference, state="refused", note=why, settled_at=now)

    def suspended(self, connection: sa.Connection, intent: Intent, why: str, now: datetime) -> None:
        """Whether the money left is not known, or somebody changed the refund."""
        del now
        _set(connection, intent.reference, state="held", note=why)


def _one_of(headers: Iterable[RefundHeader], header_id: int) -> RefundHeader | None:
    return next((one for one in headers if one.RefundHeaderId == header_id and one.lines), None)


def _held_by_others(
    engine: sa.Engine,
    intent: Intent,
    headers: Iterable[RefundHeader],
    rows: set[str],
    units: set[str],
) -> Hold | None:
    """Whether a refund that is not known to be ours touches these rows, or shipping as well."""
    columns = t.intents.c
    query = sa.select(columns.evidence).where(
        columns.subject == intent.subject,
        columns.kind == CREATE,
        columns.state == "confirmed",
    )
    with reading(engine) as connection:
        ours = {found["header_id"] for found in connection.execute(query).scalars()}
    clashing = [h for h in headers if h.RefundHeaderId not in ours and _touches(h, rows, units)]
    if not clashing:
        return None
    ids = ", ".join(str(header.RefundHeaderId) for header in clashing)
    return Hold(f"refund {ids} of somebody else is about the same lines", "REFUND_DOUBLE_SUSPECTED")


def _row_of(line: RefundLine) -> str:
    item = line.RefundedItem
    return (item.OrderItemRowId or "").lower() if item else ""


def _touches(header: RefundHeader, rows: set[str], units: set[str]) -> bool:
    for line in header.lines:
        row = _row_of(line)
        if row in rows or (line.RefundedUnit == "Shipping" and "Shipping" in units):
            return True
    return False


def _residual(due: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of an exchange only what its replacement leaves is paid, and as goods."""
    if due["tender"] != "exchange":
        return due
    residual = due["amount_minor"] - due["new_value_minor"]
    return {**due, "goods_minor": residual, "shipping_minor": 0, "fee_minor": 0}


def money_lines(refunds: Iterable[Mapping[str, Any]], *, reference: str) -> list[dict[str, Any]]:
    """The refund lines of some units of one order.

    The fee kept is taken from the goods' part first, then from shipping, so that the lines
    add up to what is owed. A line of nothing is left out.

    Args:
        refunds: Rows of ``refunds_due`` with ``rma_row_id`` of their restock, if any.
        reference: Ours; every line bears it, so that it is recognised.
    """
    lines: list[dict[str, Any]] = []
    for due in map(_residual, refunds):
        from_goods = min(due["fee_minor"], due["goods_minor"])
        goods = due["goods_minor"] - from_goods
        shipping = due["shipping_minor"] - (due["fee_minor"] - from_goods)
        common = {"external_reference": reference, "note": reference}
        if goods:
            lines.append(
                {
                    **common,
                    "unit": "Item",
                    "row_id": due["row_id"],
                    "return_row_id": due["rma_row_id"],
                    "amount_minor": goods,
                    "quantity": 1,
                }
            )
        if shipping:
            lines.append(
                {
                    **common,
                    "unit": "Shipping",
                    "row_id": None,
                    "return_row_id": None,
                    "amount_minor": shipping,
                    "quantity": 0,
                }
            )
    return lines
