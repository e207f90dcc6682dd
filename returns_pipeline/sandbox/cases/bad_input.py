"""Cases of payloads that say what nobody mapped or that do not parse."""

from __future__ import annotations

from returns_pipeline.sandbox.cases.registry import case
from returns_pipeline.sandbox.script import RESTOCK, SHARE, Script


@case
def unknown_status(s: Script) -> None:
    """A code nobody mapped is reported; the instants are the facts."""
    order = s.order("CAP-BLK")
    unit = s.unit(order, order.lines[0], extra={"status": "beamed-up"})
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE, exceptions=("SCHEMA_DRIFT",))


@case
def unknown_refund_type(s: Script) -> None:
    """What is owed is not known: the refund is held."""
    order = s.order("CAP-BLK")
    unit = s.unit(order, order.lines[0], extra={"refundType": "cash-in-hand"})
    s.expect(unit, order, order.lines[0], stock=None, exceptions=("SCHEMA_DRIFT",))


@case
def receipt_of_wrong_type(s: Script) -> None:
    """A receipt that is no instant: the raw stays, the unit is held, all else goes on."""
    order = s.order("TEE-RED-S")
    unit = s.unit(order, order.lines[0], extra={"receivedAt": 20261124, "status": "approved"})
    s.expect(unit, order, order.lines[0], visible=True)


@case
def timestamp_without_zone(s: Script) -> None:
    """An instant whose zone nobody knows."""
    order = s.order("SOCK-3")
    naive = s.day(4.0).strftime("%Y-%m-%dT%H:%M:%S")
    unit = s.unit(order, order.lines[0], extra={"receivedAt": naive})
    s.expect(
        unit,
        order,
        order.lines[0],
        stock=None,
        refund=None,
        exceptions=("CLOCK_AMBIGUOUS",),
    )
