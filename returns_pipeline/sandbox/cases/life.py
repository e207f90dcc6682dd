"""Cases of a return's life: begun, sent, received, or not."""

from __future__ import annotations

from returns_pipeline.sandbox.cases.registry import case
from returns_pipeline.sandbox.script import RESTOCK, SHARE, Script


@case
def started_never_dropped_off(s: Script) -> None:
    """Expires in the week; nothing moves."""
    order = s.order("TEE-RED-M", processed=-40)
    unit = s.unit(order, order.lines[0], start=-28, until="started", expired_at=2.0)
    s.expect(unit, order, order.lines[0], exceptions=("RETURN_EXPIRED",))


@case
def initiated_only(s: Script) -> None:
    """Just begun: neither stock nor money nor noise."""
    order = s.order("CAP-BLK")
    unit = s.unit(order, order.lines[0], start=5, until="started")
    s.expect(unit, order, order.lines[0])


@case
def cancelled_before_drop_off(s: Script) -> None:
    """The shopper thought better of it."""
    order = s.order("SOCK-3")
    unit = s.unit(order, order.lines[0], start=1, until="started", cancelled_at=2.0)
    s.expect(unit, order, order.lines[0])


@case
def premature_refund(s: Script) -> None:
    """Initiated, dropped off, approved, never received: no money; it ages and is seen."""
    order = s.order("JKT-OLV-M", processed=-30)
    unit = s.unit(order, order.lines[0], start=-20, until="approved")
    s.expect(unit, order, order.lines[0], exceptions=("STUCK_IN_TRANSIT",))


@case
def drop_off_verified(s: Script) -> None:
    """Approved at the bar a few days ago: receipt is still to come."""
    order = s.order("SHOE-BLK-41")
    unit = s.unit(order, order.lines[0], start=2, until="approved")
    s.expect(unit, order, order.lines[0])


@case
def mail_carrier_scan_approved(s: Script) -> None:
    """Approved on the carrier's scan and then nothing: ages as in transit."""
    order = s.order("DRESS-GRN-S", processed=-25)
    unit = s.unit(order, order.lines[0], start=-15, via="mail", until="approved")
    s.expect(unit, order, order.lines[0], exceptions=("STUCK_IN_TRANSIT",))


@case
def departed_not_received(s: Script) -> None:
    """On the lorry: nothing yet."""
    order = s.order("TEE-NAVY-L")
    unit = s.unit(order, order.lines[0], start=2, until="departed")
    s.expect(unit, order, order.lines[0])


@case
def received_saleable(s: Script) -> None:
    """The plain case: restocked and refunded."""
    order = s.order("TEE-NAVY-M")
    unit = s.unit(order, order.lines[0])
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def received_by_mail(s: Script) -> None:
    """Mail never travels with a shipment and is approved on inspection, after receipt."""
    order = s.order("DRESS-GRN-M")
    unit = s.unit(order, order.lines[0], via="mail")
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def received_not_refunded(s: Script) -> None:
    """Received by mail, never approved: approval is not asked for, we refund."""
    order = s.order("SHOE-BLK-40")
    unit = s.unit(order, order.lines[0], via="mail", approved_at=None)
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def refunded_not_received(s: Script) -> None:
    """A person refunded it in Linnworks before it came; it never comes."""
    order = s.order("JKT-OLV-L", processed=-30)
    line = order.lines[0]
    unit = s.unit(order, line, start=-12, until="approved")
    s.staff_does(
        -10, "refund", order_reference=order.reference, row_id=line.row_id, amount="119.00"
    )
    s.expect(unit, order, line, refund=SHARE, exceptions=("REFUNDED_NOT_RECEIVED",))


@case
def out_of_order_evidence(s: Script) -> None:
    """A late page says that it was only dropped off, after it was received: it stays received."""
    order = s.order("TEE-RED-L")
    unit = s.unit(order, order.lines[0], start=-1)
    stale: dict[str, object] = {
        "status": "dropped-off",
        "receivedAt": None,
        "departedAt": None,
        "disposition": "",
    }
    received = s.day(3.0).strftime("%Y-%m-%dT%H:%M:%SZ")
    fresh: dict[str, object] = {
        "status": "received",
        "receivedAt": received,
        "disposition": "saleable",
    }
    unit.revisions = [(s.day(4.5), stale), (s.day(5.5), fresh)]
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def status_approved_after_receipt(s: Script) -> None:
    """The latest word is ``approved``; the instants say that it is here."""
    order = s.order("CAP-BLK")
    unit = s.unit(order, order.lines[0], extra={"status": "approved"})
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)
