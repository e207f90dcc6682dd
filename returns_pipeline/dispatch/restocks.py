"""Restocking through an RMA: the booking, which moves nothing, and its action, which does.

One RMA an order and receipt with all its lines (contract Linnworks 3). ``Reference`` is not
held unique there, so a booking is recognised by our reference or by the reason of its lines,
both made from its content. What staff or a channel booked is adopted where it fits exactly,
and held for a person where it does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from returns_pipeline.clients.linnworks import RmaHeader, RmaLine, instant
from returns_pipeline.clients.transport import Refused, Unavailable, VendorError
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
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import reading
from returns_pipeline.storage.outbox import Intent

BOOKING = "rma_booking"
ACTION = "rma_action"
BULK = "linnworks.bookings"  # the watermark of the bulk reading (``readings``)
# How long it stands for a look at the order's own headers: a run's first minutes.
_BULK_HOLDS = timedelta(minutes=5)

_Place = tuple[str, str]  # order row, location
_Quantities = Counter[tuple[_Place, str]]


def action_key(reference: str) -> str:
    """The key of the action of the booking with this reference."""
    return f"{ACTION}:{reference}"


def booking_key(reference: str) -> str:
    """The key of the booking with this reference."""
    return f"{BOOKING}:{reference}"


def _asked(lines: Iterable[Mapping[str, Any]]) -> _Quantities:
    found: _Quantities = Counter()
    for line in lines:
        place = (line["row_id"].lower(), line["location_id"].lower())
        found[place, "returned"] += line["quantity"]
        found[place, "scrapped"] += line["scrap_quantity"]
    return +found


def _shown(lines: Iterable[RmaLine]) -> _Quantities:
    found: _Quantities = Counter()
    for line in lines:
        place = ((line.OrderItemRowId or "").lower(), (line.ReturnLocation or "").lower())
        found[place, "returned"] += line.ReturnQuantity or 0
        found[place, "scrapped"] += line.ScrapQuantity or 0
    return +found


def _by_row(quantities: _Quantities) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for (place, what), quantity in quantities.items():
        found[place[0], what] += quantity
    return found


def _evidence(header_id: int, lines: Sequence[RmaLine], **more: Any) -> dict[str, Any]:
    return {
        "header_id": header_id,
        "lines": [
            {
                "rma_row_id": line.RMARowId,
                "row_id": (line.OrderItemRowId or "").lower(),
                "location_id": (line.ReturnLocation or "").lower(),
                "quantity": line.ReturnQuantity or 0,
                "scrapped": bool(line.ScrapQuantity),
                "actioned_at": line.ActionedDate,
                **_sent_instead(line),
            }
            for line in lines
        ],
        **more,
    }


def _sent_instead(line: RmaLine) -> dict[str, Any]:
    if line.Type != "Exchange":
        return {}
    made = str(line.NewOrderId).lower() if line.NewOrderId else ""
    return {"instead": [line.ExchangeSKU, line.ExchangeQuantity], "new_order_id": made}


def _hold_adjustments(connection: sa.Connection, reference: str, why: str) -> None:
    moved = t.stock_adjustments.c
    connection.execute(
        sa.update(t.stock_adjustments)
        .where(moved.intent_key == action_key(reference), moved.state == "intended")
        .values(state="held", note=why)
    )
    # Sent again it may still make the order: till then no other way is open to it.
    wanted = t.exchange_orders.c
    connection.execute(
        sa.update(t.exchange_orders)
        .where(wanted.intent_key == action_key(reference), wanted.state == "intended")
        .values(state="held", note=f"EXCHANGE_ORDER_MISSING: its RMA was not carried out: {why}")
    )


class Booking(Write):
    """``CreateRMABooking``: a repetition would make a second one."""

    kind = BOOKING

    def precheck(self, intent: Intent) -> Adopt | Hold | None:
        """Look at the order's bookings, unless the bulk reading of just now shows no other."""
        order_id = intent.payload["order_id"]
        with reading(self.engine) as connection:
            # A second try comes after a rest, in which anybody may have booked.
            if (
                intent.attempt == 1
                and _was_just_read(connection, intent)
                and not _others_booked(connection, order_id, intent)
            ):
                return None
        touching = _of_others(self.engine, intent, self.linnworks.rma_headers(order_id))
        return _fits(intent, touching) if touching else None

    def send(self, intent: Intent) -> Mapping[str, Any]:
        """Book it."""
        booked = self.linnworks.create_rma_booking(
            intent.payload["order_id"],
            intent.payload["lines"],
            reference=intent.reference,
            category=intent.payload["category"],
        )
        return _evidence(booked.header_id, booked.lines, warnings=list(booked.warnings))

    def read_back(self, intent: Intent) -> Applied | Absent | Unclear:
        """Find it among the order's headers; a surplus one has moved nothing and goes."""
        order_id = intent.payload["order_id"]
        with reading(self.engine) as connection:
            ours = our_headers(connection, order_id)
        reasons = {line["reason"] for line in intent.payload["lines"]}
        found = [
            header
            for header in self.linnworks.rma_headers(order_id)
            if header.RMAHeaderId not in ours and header.lines and _is(header, intent, reasons)
        ]
        if not found:
            return Absent()
        found.sort(key=lambda header: (not header.is_actioned, header.RMAHeaderId))
        kept, *surplus = found
        if any(header.is_actioned for header in surplus):
            ids = ", ".join(str(header.RMAHeaderId) for header in found)
            return Unclear(f"RMAs {ids} are all ours and actioned: units may stand twice")
        if any(line.NewOrderId for header in surplus for line in header.lines):
            ids = ", ".join(str(header.RMAHeaderId) for header in found)
            why = f"RMAs {ids} are all ours and made orders: two replacements may leave"
            return Unclear(why, "EXCHANGE_DUPLICATE")
        if _shown(kept.lines) != _asked(intent.payload["lines"]):
            return Unclear(f"RMA {kept.RMAHeaderId} is ours, but its lines were changed")
        for header in surplus:
            try:
                self.linnworks.delete_rma(header.RMAHeaderId)
            except Refused as error:
                return Unclear(f"RMA {header.RMAHeaderId} is surplus and stays: {error.detail}")
            except VendorError as error:
                # Whether it went is seen at the next reading back; nothing was moved.
                raise Unavailable("DeleteRMA", error.detail) from error
        return Applied(_evidence(kept.RMAHeaderId, kept.lines))

    def confirmed(
        self,
        connection: sa.Connection,
        intent: Intent,
        evidence: Mapping[str, Any],
        now: datetime,
    ) -> None:
        """Note the header."""
        del now
        connection.execute(
            sa.update(t.stock_adjustments)
            .where(t.stock_adjustments.c.intent_key == action_key(intent.reference))
            .values(rma_header_id=evidence["header_id"])
        )

    def refused(self, connection: sa.Connection, intent: Intent, why: str, now: datetime) -> None:
        """Hold its units."""
        del now
        _hold_adjustments(connection, intent.reference, why)


class Action(writes.Action):
    """``ActionRMABooking``: this posts the stock; it takes all lines of the header."""

    kind = ACTION
    noun = "RMA"
    proof = staticmethod(_evidence)

    def precheck(self, intent: Intent) -> Adopt | Hold | None:
        """Read the header, unless it was booked by us a moment ago."""
        if self.was_just_made(intent):
            return None
        header_id = self.earlier(intent).header_id
        headers = self.linnworks.rma_headers(intent.payload["order_id"])
        header = _one_of(headers, header_id)
        if header is None:
            return Hold(f"RMA {header_id} is not there any more", "LINNWORKS_CANNOT_RETURN")
        if header.is_actioned:
            return self.done(intent, header, adopted=True)
        if in_part(header):
            return Hold(f"RMA {header_id} is actioned in part", "LINNWORKS_CANNOT_RETURN")
        if _shown(header.lines) != _asked(intent.payload["lines"]):
            return Hold(f"RMA {header_id} was changed before it was actioned", "WRONG_LOCATION")
        others = _of_others(self.engine, intent, headers)
        if others:
            # Booked since ours was: perhaps the same goods, and both would be posted.
            ids = ", ".join(str(other.RMAHeaderId) for other in others)
            return Hold(
                f"RMA {ids} of somebody else is about the same order lines as ours, {header_id}",
                "DOUBLE_RESTOCK",
            )
        return None

    def send(self, intent: Intent) -> Mapping[str, Any]:
        """Action it."""
        header_id = self.earlier(intent).header_id
        done = self.linnworks.action_rma_booking(intent.payload["order_id"], header_id)
        return _evidence(header_id, done.lines, refund_header_id=done.refund_header_id)

    def header(self, intent: Intent, header_id: int) -> RmaHeader | None:
        """It, among those of the order."""
        return _one_of(self.linnworks.rma_headers(intent.payload["order_id"]), header_id)

    def confirmed(
        self,
        connection: sa.Connection,
        intent: Intent,
        evidence: Mapping[str, Any],
        now: datetime,
    ) -> None:
        """The units stand in stock: at their location, or written off there.

        Line by line: only where as many were moved as wait for it.
        """
        shown: Counter[tuple[str, str, int]] = Counter()
        by_place: dict[tuple[str, str, int], Mapping[str, Any]] = {}
        for line in evidence["lines"]:
            place = (line["row_id"], line["location_id"], int(line["scrapped"]))
            shown[place] += line["quantity"]
            by_place.setdefault(place, line)
        moved = t.stock_adjustments.c
        for (row_id, location_id, scrapped), quantity in shown.items():
            waiting = (
                moved.intent_key == intent.intent_key,
                sa.func.lower(moved.row_id) == row_id,
                sa.func.lower(moved.location_id) == location_id,
                moved.scrap_quantity == scrapped,
                moved.state != "posted",
            )
            counted = sa.select(sa.func.count()).select_from(t.stock_adjustments).where(*waiting)
            if connection.execute(counted).scalar_one() != quantity:
                continue
            line = by_place[row_id, location_id, scrapped]
            done_at = None
            if evidence.get("adopted"):
                done_at = instant(line["actioned_at"], "ActionRMABooking", "ActionedDate")
            connection.execute(
                sa.update(t.stock_adjustments)
                .where(*waiting)
                .values(
                    state="posted",
                    posted_at=done_at or now,
                    rma_header_id=evidence["header_id"],
                    rma_row_id=line["rma_row_id"],
                    note="",
                )
            )
        _replaced(connection, intent, evidence, done_at=now)
        # Actioned with other lines than asked: what has no line of its own is not posted.
        _hold_adjustments(
            connection,
            intent.reference,
            f"WRONG_LOCATION: RMA {evidence['header_id']} was actioned with other lines",
        )

    def refused(self, connection: sa.Connection, intent: Intent, why: str, now: datetime) -> None:
        """Hold its units."""
        del now
        _hold_adjustments(connection, intent.reference, why)


def _replaced(
    connection: sa.Connection, intent: Intent, evidence: Mapping[str, Any], *, done_at: datetime
) -> None:
    """The replacements whose orders stand on the lines; those without one are free again.

    They are ordered in the other way, which looks at these lines once more before it does.
    """
    wanted, matched = t.exchange_orders.c, t.matches.c
    query = (
        sa.select(wanted.id, wanted.sku, wanted.quantity, matched.row_id)
        .join_from(t.exchange_orders, t.matches, matched.unit_key == wanted.unit_key)
        .where(wanted.intent_key == intent.intent_key, wanted.state == "intended")
        .order_by(wanted.id)
    )
    waiting = list(connection.execute(query))
    for line in evidence["lines"]:
        made = line.get("new_order_id")
        for row in waiting:
            if made and [row.row_id.lower(), row.sku, row.quantity] == [
                line["row_id"],
                *line["instead"],
            ]:
                connection.execute(
                    sa.update(t.exchange_orders)
                    .where(wanted.id == row.id)
                    .values(state="created", new_order_id=made, created_order_at=done_at, note="")
                )
                waiting.remove(row)
                break
    connection.execute(
        sa.update(t.exchange_orders)
        .where(wanted.id.in_([row.id for row in waiting]))
        .values(state="ready", intent_key=None)
    )


def _is(header: RmaHeader, intent: Intent, reasons: set[str]) -> bool:
    # Whether Linnworks shows our reference again is not published; the reason of each line
    # holds a digest of the units in it (contract 12, question 2).
    if header.ExternalReference:
        return header.ExternalReference == intent.reference
    return bool(header.lines) and all((line.Reason or "") in reasons for line in header.lines)


def _fits(intent: Intent, headers: Sequence[RmaHeader]) -> Adopt | Hold:
    """Whether somebody else's bookings of the same order lines are this very return."""
    wanted = _asked(intent.payload["lines"])
    ids = ", ".join(str(header.RMAHeaderId) for header in headers)
    same = [header for header in headers if _shown(header.lines) == wanted]
    if len(same) == 1 and len(headers) == 1:
        header = same[0]
        return Adopt(_evidence(header.RMAHeaderId, header.lines, adopted=True, by_others=True))
    if len(same) > 1:
        return Hold(f"RMAs {ids} of others are each this return", "DOUBLE_RESTOCK")
    elsewhere = [h for h in headers if _by_row(_shown(h.lines)) == _by_row(wanted)]
    if len(elsewhere) == 1 and len(headers) == 1:
        return Hold(f"RMA {ids} of somebody else leads to another location", "WRONG_LOCATION")
    return Hold(
        f"RMA {ids} of somebody else is about the same order lines and does not fit",
        "LINNWORKS_CANNOT_RETURN",
    )


def _one_of(headers: Iterable[RmaHeader], header_id: int) -> RmaHeader | None:
    return next((one for one in headers if one.RMAHeaderId == header_id and one.lines), None)


def _of_others(engine: sa.Engine, intent: Intent, headers: Iterable[RmaHeader]) -> list[RmaHeader]:
    """The headers that are not known to be ours and touch the intent's order lines."""
    order_id = intent.payload["order_id"]
    with reading(engine) as connection:
        ours = our_headers(connection, order_id)
        related = _related_rows(connection, order_id, intent.payload["lines"])
    return [
        header
        for header in headers
        if header.RMAHeaderId not in ours
        and any((line.OrderItemRowId or "").lower() in related for line in header.lines)
    ]


def our_headers(connection: sa.Connection, order_id: str) -> set[int]:
    """The headers that settled bookings of ours made or adopted for the order."""
    columns = t.intents.c
    query = sa.select(columns.evidence).where(
        columns.subject == stock_subject(order_id),
        columns.kind == BOOKING,
        columns.state == "confirmed",
    )
    return {evidence["header_id"] for evidence in connection.execute(query).scalars()}


def stock_subject(order_id: str) -> str:
    """What restocks of one order wait for each other by: one unknown holds the others up."""
    return f"stock:{order_id}"


def _was_just_read(connection: sa.Connection, intent: Intent) -> bool:
    """Whether the bulk reading is of a moment before the claim."""
    read_at = records.watermark(connection, BULK)
    claimed_at = intent.sent_at
    if read_at is None or claimed_at is None:
        return False
    return timedelta() <= claimed_at - read_at < _BULK_HOLDS


def _others_booked(connection: sa.Connection, order_id: str, intent: Intent) -> bool:
    """Whether the bulk reading shows a return of the order that is not known to be ours.

    Before its first try an intent's own reference is unknown too: a database that was
    restored has forgotten what it booked.
    """
    read, intents = t.restock_readings.c, t.intents.c
    rows = connection.execute(
        sa.select(read.reference, read.rma_row_id).where(read.order_id == order_id)
    ).all()
    if not rows:
        return False
    ours = connection.execute(
        sa.select(intents.reference, intents.evidence).where(
            intents.subject == stock_subject(order_id),
            intents.kind == BOOKING,
            sa.or_(intents.intent_key != intent.intent_key, intents.attempt > 1),
        )
    ).all()
    references = {reference for reference, _ in ours}
    known = {
        line["rma_row_id"] for _, evidence in ours for line in (evidence or {}).get("lines", ())
    }
    return any(row.reference not in references and row.rma_row_id not in known for row in rows)


def _related_rows(
    connection: sa.Connection, order_id: str, lines: Iterable[Mapping[str, Any]]
) -> set[str]:
    """The order rows of the lines, with their bundles and the bundles' parts."""
    wanted = {line["row_id"].lower() for line in lines}
    columns = t.order_lines.c
    query = sa.select(columns.row_id, columns.parent_row_id).where(columns.order_id == order_id)
    related = set(wanted)
    for row_id, parent in connection.execute(query):
        row, above = row_id.lower(), (parent or "").lower()
        if row in wanted and above:
            related.add(above)
        if above in wanted:
            related.add(row)
    return related
