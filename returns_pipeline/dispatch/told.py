"""What a person says happened is looked up under the number they gave, before it counts.

Here: reading what has that number in Linnworks and whether it fits the intent. Whose word
it is, and what follows from it in our tables, is ``steps.carry_out``'s.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.dispatch import refunds, replacements, restocks
from returns_pipeline.dispatch.writes import Action, Applied, Hold, Unclear, Write
from returns_pipeline.domain.money import format_minor
from returns_pipeline.storage.outbox import Intent


def look(write: Write, linnworks: Linnworks, intent: Intent, number: str) -> Applied | Unclear:
    """Whether what has this number in Linnworks is what the intent was to make.

    Args:
        write: Of the intent's kind.
        linnworks: Where to look.
        intent: Stopped.
        number: Of an RMA or a refund; of a replacement, its order id.

    Raises:
        VendorError: When it could not be looked.
    """
    if intent.kind == replacements.CREATE:
        return _order(linnworks, number)
    if not number.isdecimal():
        return Unclear(f"{number!r} is no number of an RMA or refund")
    header_id = int(number)
    if isinstance(write, Action):
        return _actioned(write, intent, header_id)
    if intent.kind == restocks.BOOKING:
        return _booking(linnworks, intent, header_id)
    if intent.kind == refunds.CREATE:
        return _refund(linnworks, intent, header_id)
    return Unclear(f"a {intent.kind} has no number in Linnworks")


def _order(linnworks: Linnworks, order_id: str) -> Applied | Unclear:
    found = linnworks.order_by_id(order_id)
    if found is None:
        return Unclear(f"Linnworks has no order {order_id}")
    number = found.get("NumOrderId")
    return Applied({"order_id": order_id.lower(), "num_id": number, "adopted": True, "told": True})


def _actioned(write: Action, intent: Intent, header_id: int) -> Applied | Unclear:
    header = write.header(intent, header_id)
    if header is None:
        return Unclear(f"the order has no {write.noun} {header_id}")
    if not header.is_actioned:
        return Unclear(f"{write.noun} {header_id} is not actioned")
    done = write.done(intent, header, adopted=True, told=True)
    return Unclear(done.why) if isinstance(done, Hold) else Applied(done.evidence)


def _booking(linnworks: Linnworks, intent: Intent, header_id: int) -> Applied | Unclear:
    headers = linnworks.rma_headers(intent.payload["order_id"])
    header = next((one for one in headers if one.RMAHeaderId == header_id and one.lines), None)
    if header is None:
        return Unclear(f"the order has no RMA {header_id}")
    wanted: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    for line in intent.payload["lines"]:
        wanted[line["row_id"].lower()] += line["quantity"]
    for shown_line in header.lines:
        shown[(shown_line.OrderItemRowId or "").lower()] += shown_line.ReturnQuantity or 0
    if wanted != shown:
        return Unclear(f"RMA {header_id} is of other lines or quantities")
    return Applied(restocks.Action.proof(header_id, header.lines, adopted=True, told=True))


def _refund(linnworks: Linnworks, intent: Intent, header_id: int) -> Applied | Unclear:
    headers = linnworks.refund_headers(intent.payload["order_id"])
    header = next((one for one in headers if one.RefundHeaderId == header_id and one.lines), None)
    if header is None:
        return Unclear(f"the order has no refund {header_id}")
    minor = sum(line["amount_minor"] for line in intent.payload["lines"])
    wanted = Decimal(format_minor(minor, intent.payload["currency"]))
    shown = sum((line.Amount for line in header.lines), Decimal(0))
    if wanted != shown:
        return Unclear(f"refund {header_id} is of {shown}, ours of {wanted}")
    return Applied(refunds.Action.proof(header_id, header.lines, adopted=True, told=True))
