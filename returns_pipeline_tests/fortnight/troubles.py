"""Fourteen days of trouble, told by hand: what happens, what the queue must say, what mends it.

Codes, owners and severities are the specification's (EXCEPTIONS, CASES); amounts are prices of
the sandbox's catalogue, in pounds; nothing here is derived from what the program does.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from returns_pipeline.domain.decisions import Kind
from returns_pipeline.sandbox.model import ReturnUnit
from returns_pipeline.sandbox.script import RESTOCK, Line, Script
from returns_pipeline_tests.fortnight.life import Life
from returns_pipeline_tests.fortnight.telling import CX, DAYS, FINANCE, OPS, Telling

STARTS = datetime(2026, 3, 9, tzinfo=UTC)
AFTER = DAYS + 0.4  # when people set to work
ENVIRON = {"RETURNS_HAPPY_RETURNS_RATE": "1000"}  # so that look-ups are rationed, as in life
POLICY = """
[refunds]
executor = "linnworks"
[gate.refund_by_dropoff]
in-store = "approved"
[exchange]
instant_channels = ["ETSY"]
instant_window = "5d"
[finance]
vat_rates = ["20", "0"]
confirm_within = "3d"
[finance.accounts]
return_fee_income = ""
"""
# One more condition is mapped on the third day, and once somebody types one nought too few.
MAPPED = POLICY + '[dispositions]\nlight_wear = "SELLABLE_B"\n'
STARVED = MAPPED + "[happy_returns]\nlookups_per_run = 1\n"
MENDED = """
[happy_returns.statuses]
beamed-up = "received"
[refunds]
executor = "linnworks"
[gate.refund_by_dropoff]
in-store = "approved"
[exchange]
instant_channels = ["ETSY"]
instant_window = "5d"
[dispositions]
light_wear = "SELLABLE_B"
grade_z = "SELLABLE_B"
[finance]
vat_rates = ["20", "5", "0"]
"""


def waiting(t: Telling, code: str, owner: str, severity: str, unit: ReturnUnit, price: str) -> None:
    """Goods that are here, and nothing is refunded for them: CX have the shopper's side of it."""
    t.task(code, owner, severity, unit, price=price)
    t.task("RECEIVED_NOT_REFUNDED", CX, "S2", unit, price=price)


# --- orders and lines -------------------------------------------------------------


def orders_and_lines(t: Telling) -> None:
    """Which order, which line: what cannot be told apart is a person's."""
    (lost,) = t.case("order_unknown")
    t.begin("entered under another number", 0)
    t.order("TEE-RED-M", reference="#88001")
    waiting(t, "ORPHAN_RETURN", CX, "S2", lost, price="19.99")
    t.repair(
        "ORPHAN_RETURN",
        "CX: it belongs to order #88001",
        lambda life: life.decide("ORPHAN_RETURN", lost.item_id, Kind.ORDER, CX, order="#88001"),
    )

    (waits,) = t.case("order_open")
    waiting(t, "ORDER_NOT_PROCESSED", OPS, "S3", waits, price="19.99")
    t.repair(
        "ORDER_NOT_PROCESSED",
        "Operations process the order in Linnworks",
        lambda life: life.staff("process_order", order_reference=waits.order_number),
    )

    (soon,) = t.case("order_open_then_processed")
    t.gone("ORDER_NOT_PROCESSED", OPS, "S3", soon, price="14.00")

    (either,) = t.case("order_reference_ambiguous")
    one = t.script.orders[-2]
    waiting(t, "ORDER_REF_AMBIGUOUS", CX, "S2", either, price="19.99")
    t.repair(
        "ORDER_REF_AMBIGUOUS",
        "CX choose the order",
        lambda life: life.decide(
            "ORDER_REF_AMBIGUOUS", either.item_id, Kind.ORDER, CX, order=one.id
        ),
    )

    t.begin("neither line nor SKU", 1)
    order = t.order("TEE-RED-L", "CAP-BLK")
    bare = t.unit(order, sku="", line_item_id="")
    waiting(t, "LINE_ID_MISSING", OPS, "S3", bare, price="19.99")
    t.word(bare, AFTER, orderLineItemID=order.lines[0].item_number)
    t.repair("LINE_ID_MISSING", "the shop sends the line id", lambda _: None)

    (two,) = t.case("two_lines_one_sku_without_line_id")
    dear = t.script.orders[-1].lines[0]
    waiting(t, "LINE_AMBIGUOUS_SKU", CX, "S2", two, price="19.99")
    t.repair(
        "LINE_AMBIGUOUS_SKU",
        "CX choose the line",
        lambda life: life.decide(
            "LINE_AMBIGUOUS_SKU", two.item_id, Kind.LINE, CX, row_id=dear.row_id
        ),
    )

    (strange,) = t.case("exchange_for_an_unknown_article")
    t.task("SKU_UNKNOWN", OPS, "S2", strange, price="19.99")
    t.repair(
        "SKU_UNKNOWN",
        "CX: refund it instead of exchanging it",
        lambda life: life.decide("SKU_UNKNOWN", strange.item_id, Kind.EXCHANGE_TO_REFUND, CX),
    )

    (unlinked,) = t.case("unlinked_item")
    waiting(t, "SKU_UNLINKED", OPS, "S2", unlinked, price="4.00")
    t.repair(
        "SKU_UNLINKED",
        "Operations link the item in Linnworks",
        lambda life: life.staff("link_item", order_reference=unlinked.order_number),
    )

    _, surplus = t.case("quantity_exceeds_ordered")
    t.begin("the other cap", 2)
    t.order("CAP-BLK", reference="#88002")
    waiting(t, "QTY_EXCEEDS_ORDERED", OPS, "S1", surplus, price="14.00")
    t.repair(
        "QTY_EXCEEDS_ORDERED",
        "Operations: it is of order #88002",
        lambda life: life.decide(
            "QTY_EXCEEDS_ORDERED", surplus.item_id, Kind.ORDER, OPS, order="#88002"
        ),
    )

    _, twin = t.case("same_unit_in_two_returns")
    row = t.script.orders[-1].lines[0].row_id
    waiting(t, "DUPLICATE_RETURN_UNIT", CX, "S1", twin, price="24.00")
    t.repair(
        "DUPLICATE_RETURN_UNIT",
        "CX: it is the other unit of the line",
        lambda life: life.decide("DUPLICATE_RETURN_UNIT", twin.item_id, Kind.LINE, CX, row_id=row),
    )

    (mug,) = t.case("kit_returned_incomplete")
    waiting(t, "KIT_INCOMPLETE", CX, "S2", mug, price="7.00")
    t.repair(
        "KIT_INCOMPLETE",
        "Finance: refund 7.00 of it",
        lambda life: life.decide(
            "KIT_INCOMPLETE", mug.item_id, Kind.REFUND, FINANCE, amount="7.00"
        ),
    )

    t.begin("nobody announced it", 3)
    order = t.order("MUG-BLU")
    line = {"row_id": order.lines[0].row_id, "quantity": 1, "location": RESTOCK}
    t.staff(9.0, "book_rma", order_reference=order.reference, lines=[line], action_too=True)
    key = f"read-back:unknown:{order.id}:MUG-BLU"
    t.task("BLIND_RETURN", OPS, "S3", price="8.50", key=key)
    t.repair(
        "BLIND_RETURN",
        "Operations know of it: accepted",
        lambda life: life.decide("BLIND_RETURN", key, None, OPS),
    )

    t.begin("keep it came back", 4)
    order = t.order("PIN-01")
    kept = t.unit(order, returnless=True, approved_at=1.0)
    t.task("BLIND_RETURN", OPS, "S2", kept, price="4.00")
    t.repair(
        "BLIND_RETURN",
        "Operations set it aside: done by hand",
        lambda life: life.decide("BLIND_RETURN", kept.item_id, Kind.BY_HAND, OPS),
    )

    (cancelled,) = t.case("order_cancelled")
    t.begin("the order that was sent instead", 5)
    t.order("TEE-RED-L", reference="#88003")
    waiting(t, "LINNWORKS_CANNOT_RETURN", OPS, "S2", cancelled, price="19.99")
    t.repair(
        "LINNWORKS_CANNOT_RETURN",
        "Operations: it is of order #88003",
        lambda life: life.decide(
            "LINNWORKS_CANNOT_RETURN", cancelled.item_id, Kind.ORDER, OPS, order="#88003"
        ),
    )


# --- what was found in the bag ----------------------------------------------------


def conditions(t: Telling) -> None:
    """What was found at inspection, and what nobody found."""
    (held,) = t.case("quarantine_holds_the_refund")
    t.task("RECEIVED_NOT_REFUNDED", CX, "S2", held, price="119.00")
    t.repair(
        "RECEIVED_NOT_REFUNDED",
        "CX: do not refund it",
        lambda life: life.decide("RECEIVED_NOT_REFUNDED", held.item_id, Kind.NO_REFUND, CX),
    )

    (empty,) = t.case("missing_from_the_bag")
    t.task("RECEIVED_NOT_REFUNDED", CX, "S2", empty, price="14.00")
    t.repair(
        "RECEIVED_NOT_REFUNDED",
        "Finance: refund it anyway",
        lambda life: life.decide("RECEIVED_NOT_REFUNDED", empty.item_id, Kind.REFUND, FINANCE),
    )

    (late,) = t.case("outside_return_window")
    for code, severity in (("OUT_OF_POLICY_WINDOW", "S3"), ("RECEIVED_NOT_REFUNDED", "S2")):
        t.task(code, CX, severity, late, price="59.97")
    t.repair(
        "OUT_OF_POLICY_WINDOW",
        "Finance: refund it anyway",
        lambda life: life.decide("OUT_OF_POLICY_WINDOW", late.item_id, Kind.REFUND, FINANCE),
    )

    (wrong,) = t.case("wrong_item_in_bag")
    for code, severity in (("WRONG_ITEM_SUSPECTED", "S1"), ("RECEIVED_NOT_REFUNDED", "S2")):
        t.task(code, CX, severity, wrong, price="119.00")
    t.repair(
        "WRONG_ITEM_SUSPECTED",
        "CX: do not refund it",
        lambda life: life.decide("WRONG_ITEM_SUSPECTED", wrong.item_id, Kind.NO_REFUND, CX),
    )

    (unmapped,) = t.case("disposition_unmapped")
    for code, owner in (("DISPOSITION_UNMAPPED", OPS), ("RECEIVED_NOT_REFUNDED", CX)):
        t.task(code, owner, "S2", unmapped, price="19.99")
    t.repair(
        "DISPOSITION_UNMAPPED",
        "the policy gets a row for grade-z",
        lambda life: life.policy(MENDED),
    )

    (unseen,) = t.case("disposition_missing")
    for code, owner, severity in (
        ("DISPOSITION_MISSING", OPS, "S3"),
        ("RECEIVED_NOT_REFUNDED", CX, "S2"),
    ):
        t.task(code, owner, severity, unseen, price="19.99")
    t.repair(
        "DISPOSITION_MISSING",
        "Operations inspect it: saleable",
        lambda life: life.decide(
            "DISPOSITION_MISSING", unseen.item_id, Kind.DISPOSITION, OPS, disposition="SELLABLE"
        ),
    )
    (slow,) = t.case("disposition_late")
    t.gone("DISPOSITION_MISSING", OPS, "S3", slow, price="19.99")

    t.begin("hub and warehouse", 10)
    order = t.order("TEE-NAVY-M")
    twice = t.unit(order, inspected_at=4.0, extra={"inspectionOutcome": "damaged"})
    for code, owner in (("DISPOSITION_CONFLICT", OPS), ("RECEIVED_NOT_REFUNDED", CX)):
        t.task(code, owner, "S2", twice, price="24.00")
    t.repair(
        "DISPOSITION_CONFLICT",
        "Operations look: damaged",
        lambda life: life.decide(
            "DISPOSITION_CONFLICT", twice.item_id, Kind.DISPOSITION, OPS, disposition="DAMAGED"
        ),
    )

    (batched,) = t.case("batched_item")
    t.task("BATCH_ITEM_MANUAL", OPS, "S3", batched, price="11.25")
    t.repair(
        "BATCH_ITEM_MANUAL",
        "Operations book its batch by hand",
        lambda life: life.decide("BATCH_ITEM_MANUAL", batched.item_id, Kind.BY_HAND, OPS),
    )


# --- where the goods stand --------------------------------------------------------


def places(t: Telling) -> None:
    """Staff who move, book and undo what this program has booked."""
    (moved,) = t.case("wrong_location_after_the_fact")
    order = t.script.orders[-1]
    key = f"read-back:order:{order.id}:SHOE-BLK-42"
    t.task("WRONG_LOCATION", OPS, "S2", moved, price="65.00", key=key)
    t.repair(
        "WRONG_LOCATION",
        "Operations: move it to its right location",
        lambda life: life.decide("WRONG_LOCATION", key, Kind.MOVE, OPS),
    )

    (mingled,) = t.case("damaged_among_saleable")
    order = t.script.orders[-1]
    key2 = f"read-back:order:{order.id}:SHOE-BLK-41"
    t.task("CO_MINGLED_STOCK", OPS, "S1", mingled, price="65.00", key=key2)
    t.repair(
        "CO_MINGLED_STOCK",
        "staff transfer it in Linnworks",
        lambda life: life.staff(
            "move", sku="SHOE-BLK-41", quantity=1, **{"from": RESTOCK, "to": "HR Damaged"}
        ),
        day=DAYS + 1.4,  # when the other trainer of this size has been moved
    )

    (changed,) = t.case("disposition_changed")
    t.task("WRONG_LOCATION", OPS, "S1", changed, price="65.00")
    t.repair(
        "WRONG_LOCATION",
        "Operations: move it to its right location",
        lambda life: life.decide("WRONG_LOCATION", changed.item_id, Kind.MOVE, OPS),
    )

    (elsewhere,) = t.case("staff_booked_elsewhere")
    t.task("WRONG_LOCATION", OPS, "S1", elsewhere, price="65.00")
    t.task("REFUND_OK_STOCK_FAILED", OPS, "S1", elsewhere, price="65.00")

    def book_anew(life: Life) -> None:
        life.staff("delete_rma", order_reference=elsewhere.order_number)
        life.decide("WRONG_LOCATION", elsewhere.item_id, Kind.SEND_AGAIN, OPS)

    t.repair("WRONG_LOCATION", "staff delete their booking; Operations: send it again", book_anew)

    t.begin("booked twice", 20)
    order = t.order("DRESS-GRN-S")
    doubled = t.unit(order)
    line = {"row_id": order.lines[0].row_id, "quantity": 1, "location": RESTOCK}
    t.staff(8.0, "book_rma", order_reference=order.reference, lines=[line], action_too=True)
    key3 = f"read-back:order:{order.id}:DRESS-GRN-S"
    t.task("DOUBLE_RESTOCK", OPS, "S1", doubled, price="59.97", key=key3)
    t.repair(
        "DOUBLE_RESTOCK",
        "Operations count and adjust: accepted",
        lambda life: life.decide("DOUBLE_RESTOCK", key3, None, OPS),
    )

    t.begin("undone", 21)
    order = t.order("JKT-OLV-L")
    undone = t.unit(order)
    t.staff(8.0, "undo_rma", order_reference=order.reference)
    key4 = f"read-back:order:{order.id}:JKT-OLV-L"
    t.task("STOCK_DRIFT", OPS, "S2", undone, price="119.00", key=key4)
    t.repair(
        "STOCK_DRIFT",
        "Operations count and adjust: accepted",
        lambda life: life.decide("STOCK_DRIFT", key4, None, OPS),
    )

    t.begin("booked before it came", 22)
    order = t.order("SHOE-BLK-40")
    early = t.unit(
        order, until="departed", start=5, received_at=DAYS + 1.0, inspected_at=DAYS + 1.1
    )
    line = {"row_id": order.lines[0].row_id, "quantity": 1, "location": RESTOCK}
    t.staff(10.0, "book_rma", order_reference=order.reference, lines=[line], action_too=True)
    key5 = f"read-back:unknown:{order.id}:SHOE-BLK-40"
    t.task("LINNWORKS_CANNOT_RETURN", OPS, "S2", early, price="65.00", key=key5)
    t.repair("LINNWORKS_CANNOT_RETURN", "it comes, and their booking is taken for ours", _nothing)

    t.begin("paid at the counter", 23)
    order = t.order("CAP-BLK")
    counter = t.unit(order, via="in-store")
    line = {"row_id": order.lines[0].row_id, "quantity": 1, "location": "HR Damaged"}
    t.staff(2.0, "book_rma", order_reference=order.reference, lines=[line])
    t.task("REFUND_OK_STOCK_FAILED", OPS, "S1", counter, price="14.00")
    t.task("WRONG_LOCATION", OPS, "S1", counter, price="14.00")

    def book_counter(life: Life) -> None:
        life.staff("delete_rma", order_reference=counter.order_number)
        life.decide("WRONG_LOCATION", counter.item_id, Kind.SEND_AGAIN, OPS)

    t.repair("REFUND_OK_STOCK_FAILED", "its booking is deleted and sent again", book_counter)


def _nothing(_: object) -> None:
    """It mends itself in time."""


# --- on the way -------------------------------------------------------------------


def on_the_way(t: Telling) -> None:
    """Parcels, bags and pallets."""
    (stuck,) = t.case("premature_refund")
    t.task("STUCK_IN_TRANSIT", OPS, "S2", stuck, price="119.00")
    t.repair(
        "STUCK_IN_TRANSIT",
        "Operations: lost, written off",
        lambda life: life.decide("STUCK_IN_TRANSIT", stuck.item_id, Kind.WRITE_OFF, OPS),
    )

    t.begin("short", 30)
    order = t.order(Line("TEE-NAVY-L", 2))
    here = t.unit(order, start=4)
    there = t.unit(
        order, offset=1, together=here, start=4, received_at=DAYS + 1.0, inspected_at=DAYS + 1.1
    )
    shipment = f"shp-{t.day(6.5):%Y%m%d%H%M%S}-0001"
    t.task("SHIPMENT_SHORT", OPS, "S2", there, price="24.00", key=shipment)
    t.repair("SHIPMENT_SHORT", "the other box arrives", _nothing)

    t.begin("over", 31)
    order = t.order("TEE-RED-S", "CAP-BLK")
    counted = t.unit(order, start=4.3)
    more = t.unit(
        order,
        order.lines[1],
        together=counted,
        start=4.3,
        departed_at=None,
        disposition="resale-hold",
    )
    shipment2 = f"shp-{t.day(6.8):%Y%m%d%H%M%S}-0001"
    t.task("SHIPMENT_OVER", OPS, "S2", more, price="14.00", key=shipment2)
    t.task("RECEIVED_NOT_REFUNDED", CX, "S2", more, price="14.00")
    t.repair(
        "SHIPMENT_OVER",
        "Finance: refund it anyway; it is done",
        lambda life: life.decide("RECEIVED_NOT_REFUNDED", more.item_id, Kind.REFUND, FINANCE),
    )

    t.begin("on no list", 32)
    order = t.order("BOOK-01")
    silent = t.unit(
        order, start=8, until="departed", received_at=DAYS + 1.0, inspected_at=DAYS + 1.1
    )
    t.unlisted.add(silent.item_id)
    t.task("EVENT_GAP", OPS, "S4", silent, key="happy_returns.shipments")
    t.repair("EVENT_GAP", "it arrives", _nothing)

    t.begin("vanished", 33)
    order = t.order("DRESS-GRN-M")
    vanished = t.unit(order, start=6, until="departed")
    vanished.removed_at = t.day(12.3)
    t.task("RETURN_NOT_CONSERVED", OPS, "S2", vanished, price="59.97", key=vanished.return_id)
    t.repair(
        "RETURN_NOT_CONSERVED",
        "Operations: lost, written off",
        lambda life: life.decide("RETURN_NOT_CONSERVED", vanished.return_id, Kind.WRITE_OFF, OPS),
    )

    (begun,) = t.case("started_never_dropped_off")
    t.gone("RETURN_EXPIRED", CX, "S4", begun)


# --- money ------------------------------------------------------------------------


def money(t: Telling) -> None:
    """Money that left too early, twice, elsewhere, or not at all."""
    t.begin("paid ahead", 40)
    order = t.order("TEE-NAVY-S")
    ahead = t.unit(
        order, start=9.5, until="departed", received_at=DAYS + 1.0, inspected_at=DAYS + 1.1
    )
    row = order.lines[0].row_id
    t.staff(12.2, "refund", order_reference=order.reference, row_id=row, amount="24.00")
    t.task("REFUND_AHEAD_OF_GATE", FINANCE, "S2", ahead, price="24.00")

    def theirs_is_it(life: Life) -> None:
        (refund,) = life.refunds_of(order)
        life.decide(
            "REFUND_DOUBLE_SUSPECTED",
            ahead.item_id,
            Kind.HAPPENED,
            FINANCE,
            vendor_id=str(refund.header_id),
        )

    t.repair(
        "REFUND_AHEAD_OF_GATE",
        "it comes; Finance: the refund of staff is the refund of it",
        theirs_is_it,
        day=DAYS + 2.4,
    )

    t.begin("paid twice by hand", 41)
    order2 = t.order("TEE-RED-M")
    twice = t.unit(
        order2, start=9.5, until="departed", received_at=DAYS + 1.0, inspected_at=DAYS + 1.1
    )
    row = order2.lines[0].row_id
    for day in (12.2, 12.3):
        t.staff(day, "refund", order_reference=order2.reference, row_id=row, amount="19.99")
    t.task("REFUND_AHEAD_OF_GATE", FINANCE, "S2", twice, price="39.98")
    t.task(
        "REFUND_DOUBLE_SUSPECTED", FINANCE, "S1", twice, price="19.99", key=f"read-back:line:{row}"
    )

    def void_both(life: Life) -> None:
        for _ in range(2):
            life.staff("void_refund", order_reference=order2.reference, amount="19.99")

    t.repair("REFUND_DOUBLE_SUSPECTED", "staff void both in Linnworks", void_both)

    (gone,) = t.case("refunded_not_received")
    t.task("REFUNDED_NOT_RECEIVED", OPS, "S2", gone, price="119.00")
    t.repair(
        "REFUNDED_NOT_RECEIVED",
        "Operations: lost, written off",
        lambda life: life.decide("REFUNDED_NOT_RECEIVED", gone.item_id, Kind.WRITE_OFF, OPS),
    )

    t.begin("made and not sent", 42)
    order3 = t.order("SHOE-BLK-41")
    unsent = t.unit(
        order3, start=8, until="departed", received_at=DAYS + 1.0, inspected_at=DAYS + 1.1
    )
    row = order3.lines[0].row_id
    t.staff(
        10.0,
        "refund",
        order_reference=order3.reference,
        row_id=row,
        amount="65.00",
        action_too=False,
    )
    t.task("REFUND_BOOKED_NOT_ACTIONED", FINANCE, "S2", unsent, price="65.00", key="refund:*")
    t.repair(
        "REFUND_BOOKED_NOT_ACTIONED",
        "staff delete it in Linnworks",
        lambda life: life.staff("void_refund", order_reference=order3.reference, amount="65.00"),
    )

    t.begin("goodwill on top", 43)
    order4 = t.order("TEE-NAVY-L")
    paid = t.unit(order4)
    row = order4.lines[0].row_id
    t.staff(8.0, "refund", order_reference=order4.reference, row_id=row, amount="5.00")
    t.task(
        "REFUND_DOUBLE_SUSPECTED", FINANCE, "S1", paid, price="5.00", key=f"read-back:line:{row}"
    )
    t.repair(
        "REFUND_DOUBLE_SUSPECTED",
        "staff void it in Linnworks",
        lambda life: life.staff("void_refund", order_reference=order4.reference, amount="5.00"),
    )


def amounts(t: Telling) -> None:
    """Refunds that are of the wrong amount, or stand beside what others sent."""
    t.begin("postage nobody paid", 44)
    order5 = t.order("TEE-RED-M")
    over = t.unit(order5, shipping_refund_amount=Decimal("4.95"))
    t.task("REFUND_OVER_CEILING", FINANCE, "S1", over, price="19.99")
    t.task("RECEIVED_NOT_REFUNDED", CX, "S2", over, price="19.99")
    t.word(over, AFTER, shippingRefundAmount="0.00")
    t.repair("REFUND_OVER_CEILING", "Happy Returns takes the postage back", _nothing)

    (other,) = t.case("refund_amount_mismatch")
    t.task("REFUND_AMOUNT_MISMATCH", FINANCE, "S2", other, price="65.00")
    t.task("RECEIVED_NOT_REFUNDED", CX, "S2", other, price="65.00")
    t.word(other, AFTER, refundAmount="65.00")
    t.repair("REFUND_AMOUNT_MISMATCH", "Happy Returns corrects the amount", _nothing)

    t.begin("another line, too much", 45)
    order6 = t.order("TEE-RED-L", "CAP-BLK")
    refused = t.unit(order6)
    row = order6.lines[1].row_id
    t.staff(4.05, "refund", order_reference=order6.reference, row_id=row, amount="30.00")
    t.task("LINNWORKS_CANNOT_REFUND", CX, "S2", refused, price="19.99")

    def void_and_send(life: Life) -> None:
        life.staff("void_refund", order_reference=order6.reference, amount="30.00")
        life.decide("LINNWORKS_CANNOT_REFUND", refused.item_id, Kind.SEND_AGAIN, CX)

    t.repair("LINNWORKS_CANNOT_REFUND", "staff void theirs; CX: send it again", void_and_send)

    t.begin("paid and called off", 46)
    order7 = t.order("CAP-BLK")
    off = t.unit(order7, start=4, until="started", cancelled_at=9.0)
    row = order7.lines[0].row_id
    t.staff(6.0, "refund", order_reference=order7.reference, row_id=row, amount="14.00")
    t.gone("REFUND_AHEAD_OF_GATE", FINANCE, "S2", off, price="14.00")
    t.task("RETURN_EXPIRED_AFTER_REFUND", CX, "S1", off, price="14.00")
    t.repair(
        "RETURN_EXPIRED_AFTER_REFUND",
        "CX: lost, written off",
        lambda life: life.decide("RETURN_EXPIRED_AFTER_REFUND", off.item_id, Kind.WRITE_OFF, CX),
    )

    t.begin("a refund of no return", 47)
    order8 = t.order("SOCK-3")
    row = order8.lines[0].row_id
    t.staff(9.5, "refund", order_reference=order8.reference, row_id=row, amount="9.99")
    key = "read-back:no-return:2026-03-18:GBP"
    t.task("REFUND_AHEAD_OF_GATE", FINANCE, "S3", price="9.99", key=key)
    t.repair(
        "REFUND_AHEAD_OF_GATE",
        "Finance: goodwill, accepted",
        lambda life: life.decide("REFUND_AHEAD_OF_GATE", key, None, FINANCE),
    )

    t.begin("told otherwise afterwards", 48)
    order9 = t.order("DRESS-GRN-L")
    told = t.unit(order9)
    t.word(told, 8.0, refundAmount="50.00")
    t.word(told, AFTER, refundAmount="59.97")
    batch = "read-back:batch:HRL-20260313-UKGBP-00"
    t.task("CONTROL_TOTAL_MISMATCH", FINANCE, "S1", told, price="9.97", key=batch)
    t.repair("CONTROL_TOTAL_MISMATCH", "Happy Returns corrects the amount", _nothing)


# --- goods for goods --------------------------------------------------------------


def exchanges(t: Telling) -> None:
    """Every kind of exchange; what goes straight leaves nothing in the queue."""
    told = {}
    for name in (
        "even_exchange",
        "uneven_exchange_up",
        "uneven_exchange_down",
        "exchange_cancelled",
        "exchange_received_in_part",
        "exchange_of_several_items",
        "exchange_for_two",
        "exchange_into_a_bundle",
        "instant_exchange",
        "exchange_before_receipt",
    ):
        told[name] = t.case(name)
        for unit in told[name]:
            if unit.departed_at and not unit.received_at:
                unit.received_at, unit.inspected_at = t.day(DAYS + 1.0), t.day(DAYS + 1.1)

    (at_once,) = told["instant_exchange"]
    t.repair(
        "EXCHANGE_DUPLICATE",
        "Operations: the order of the shop is the replacement",
        lambda life: life.decide(
            "EXCHANGE_DUPLICATE", at_once.item_id, Kind.HAPPENED, OPS, vendor_id="102271"
        ),
        day=DAYS + 2.4,
    )

    (wanting,) = t.case("exchange_failed_inspection")
    t.task("RECEIVED_NOT_REFUNDED", CX, "S2", wanting, price="59.97")
    t.word(wanting, AFTER, disposition="saleable")
    t.repair(
        "RECEIVED_NOT_REFUNDED",
        "it is inspected once more: saleable; Operations: move it",
        lambda life: life.decide("WRONG_LOCATION", wanting.item_id, Kind.MOVE, OPS),
        day=DAYS + 1.4,
    )

    (wrong,) = t.case("exchange_of_the_wrong_item")
    t.task("WRONG_ITEM_SUSPECTED", CX, "S1", wrong, price="119.00")
    t.repair(
        "WRONG_ITEM_SUSPECTED",
        "CX look: it is the jacket, saleable",
        lambda life: life.decide(
            "WRONG_ITEM_SUSPECTED", wrong.item_id, Kind.DISPOSITION, CX, disposition="SELLABLE"
        ),
    )

    t.begin("for what?", 60)
    nothing = t.exchanged(t.order("TEE-NAVY-M"), "", exchange_unit_price=None)
    t.task("EXCHANGE_ORDER_MISSING", CX, "S1", nothing, price="24.00")
    t.task("EXCHANGE_CLEARING_AGED", FINANCE, "S2", nothing, price="24.00")
    t.repair(
        "EXCHANGE_ORDER_MISSING",
        "CX: refund it instead",
        lambda life: life.decide(
            "EXCHANGE_ORDER_MISSING", nothing.item_id, Kind.EXCHANGE_TO_REFUND, CX
        ),
    )

    t.begin("sent by hand", 61)
    order = t.order("TEE-NAVY-S")
    doubled = t.exchanged(order, "TEE-NAVY-M")
    t.staff(2.0, "make_order", order_reference=order.reference, sku="TEE-NAVY-M", quantity=2)
    t.task("EXCHANGE_DUPLICATE", OPS, "S1", doubled, price="24.00")

    def cancel_theirs(life: Life) -> None:
        life.staff("cancel_order", order_reference=f"{order.reference}-BY-HAND")
        life.decide("EXCHANGE_DUPLICATE", doubled.item_id, Kind.SEND_AGAIN, OPS)

    t.repair("EXCHANGE_DUPLICATE", "staff cancel theirs; Operations: send it again", cancel_theirs)

    t.begin("sent at once", 62)
    order2 = t.order("TEE-NAVY-L", source="ETSY")
    early = t.exchanged(order2, "TEE-NAVY-S", start=3, until="departed")
    t.task("EXCHANGE_RELEASED_EARLY", OPS, "S2", early, price="24.00")
    t.repair(
        "EXCHANGE_RELEASED_EARLY",
        "Operations: lost, written off",
        lambda life: life.decide("EXCHANGE_RELEASED_EARLY", early.item_id, Kind.WRITE_OFF, OPS),
    )

    t.begin("without a price", 63)
    unpriced = t.exchanged(t.order("TEE-NAVY-M"), "TEE-NAVY-S", exchange_unit_price=None)
    t.task("EXCHANGE_UNEVEN_ZERO_VALUE", FINANCE, "S1", unpriced, price="24.00")
    t.task("EXCHANGE_CLEARING_AGED", FINANCE, "S2", unpriced, price="24.00")
    t.word(unpriced, AFTER, exchangeUnitPrice="24.00")
    t.repair("EXCHANGE_UNEVEN_ZERO_VALUE", "the price arrives", _nothing)

    t.begin("out of stock", 64)
    none_left = t.exchanged(t.order("JKT-OLV-L"), "JKT-OLV-M")
    t.stock["JKT-OLV-M", "Default"] = 0
    t.task("EXCHANGE_OOS", CX, "S2", none_left, price="119.00")
    t.repair(
        "EXCHANGE_OOS",
        "stock comes",
        lambda life: life.staff("count_stock", sku="JKT-OLV-M", location="Default", level=5),
    )

    t.begin("out of stock, uneven", 65)
    aged = t.exchanged(t.order("CAP-BLK"), "KIDS-TEE-4")
    t.stock["KIDS-TEE-4", "Default"] = 0
    t.task("EXCHANGE_OOS", CX, "S2", aged, price="14.00")
    t.task("EXCHANGE_CLEARING_AGED", FINANCE, "S2", aged, price="14.00")
    t.repair(
        "EXCHANGE_CLEARING_AGED",
        "stock comes, the replacement takes it up",
        lambda life: life.staff("count_stock", sku="KIDS-TEE-4", location="Default", level=5),
    )


# --- the books --------------------------------------------------------------------

_LATE = {"status": "dropped-off", "receivedAt": None, "departedAt": None, "disposition": ""}


def books(t: Telling) -> None:
    """What Finance must know before, at and after the close."""
    t.begin("fee without an account", 70)
    fee = t.unit(t.order("DRESS-GRN-M"), return_fee=Decimal("3.00"))
    t.task("ACCOUNT_UNMAPPED", FINANCE, "S1", fee, price="59.97")
    t.repair("ACCOUNT_UNMAPPED", "the policy gets its account", lambda life: life.policy(MENDED))

    t.begin("a strange rate", 71)
    order = t.order("KIDS-TEE-4")
    order.lines[0].tax_rate = Decimal(5)
    rate = t.unit(order)
    waiting(t, "VAT_RATE_UNKNOWN", FINANCE, "S2", rate, price="12.50")
    t.repair("VAT_RATE_UNKNOWN", "the policy gets the rate", lambda life: life.policy(MENDED))

    t.begin("without a cost", 72)
    order2 = t.order("MUG-BLU")
    line = order2.lines[0]
    line.unit_cost = None
    cost = t.unit(order2)
    t.task("COST_MISSING", FINANCE, "S3", cost, price="8.50")

    def cost_it(life: Life) -> None:
        line.unit_cost = Decimal("2.20")
        life.staff("touch_order", order_reference=order2.reference)

    t.repair("COST_MISSING", "the cost is entered in Linnworks", cost_it)

    t.begin("without a rate of exchange", 73)
    order3 = t.order("TEE-RED-S", currency="EUR", rate=Decimal(0))
    abroad = t.unit(order3)
    t.task("FX_RATE_MISSING", FINANCE, "S2", abroad, price="19.99", currency="EUR")

    def rate_it(life: Life) -> None:
        (entered,) = life.sandbox.linnworks.referenced(order3.reference)
        entered.rate = Decimal("0.86")
        life.staff("touch_order", order_reference=order3.reference)

    t.repair("FX_RATE_MISSING", "the rate is entered in Linnworks", rate_it)

    t.begin("told late", 74)
    late = t.unit(t.order("TEE-NAVY-M"), start=1, extra={**_LATE, "inspectionOutcome": None})
    received, inspected = (f"{late.received_at:%Y-%m-%dT%H:%M:%SZ}", "2026-03-14T02:24:00Z")
    t.word(
        late,
        7.6,
        status="received",
        receivedAt=received,
        departedAt=f"{late.departed_at:%Y-%m-%dT%H:%M:%SZ}",
        disposition="saleable",
        updatedAt=inspected,
    )
    t.gone("LATE_ARRIVAL", FINANCE, "S4", key="2026-03-14:GBP", price="24.00")

    t.begin("of a locked month", 75)
    t.unit(t.order("BOOK-01", processed=-25), start=-13.1)
    t.at(0.1, lambda life: life.lock("2026-02"))
    # Inspected at midnight: that is when it is owed.
    t.gone("PERIOD_LOCKED", FINANCE, "S2", key="2026-02-28:GBP", price="14.00")

    for day in range(1, DAYS + 1):
        t.at(day + 0.3, lambda life: life.confirm_all(but="HRL-20260314-UKGBP-00"))
    t.task("POSTED_UNCONFIRMED", FINANCE, "S2", key="HRL-20260314-UKGBP-00")
    t.repair(
        "POSTED_UNCONFIRMED",
        "Finance import it and enter its number",
        lambda life: life.confirm_all(),
    )

    t.at(6.4, lambda life: life.ledger_says("HRL-20260314-UKGBP-00", taken=False))
    t.task("EXPORT_REJECTED", FINANCE, "S1", key="HRL-20260314-UKGBP-00*")
    t.repair(
        "EXPORT_REJECTED",
        "Finance mend the file's import: taken",
        lambda life: life.ledger_says("HRL-20260314-UKGBP-00", taken=True),
    )


# --- the machine, the network, the policy -----------------------------------------


def machine(t: Telling) -> None:
    """What stands between the vendors and the queue."""
    (odd,) = t.case("unknown_status")
    cause = "happy_returns:status:unknown code 'beamed-up'"
    t.task("SCHEMA_DRIFT", OPS, "S3", odd, price="14.00", key=cause)
    t.repair("SCHEMA_DRIFT", "the policy gets the code", lambda life: life.policy(MENDED))

    (naive,) = t.case("timestamp_without_zone")
    t.task("CLOCK_AMBIGUOUS", OPS, "S3", naive, price="9.99")
    t.task("CLOCK_AMBIGUOUS", OPS, "S3", naive, price="9.99", key="happy_returns:received_at:*")
    t.task("RECEIVED_NOT_REFUNDED", CX, "S2", naive, price="9.99")
    t.word(naive, AFTER, receivedAt="2026-03-13T00:00:00Z")
    t.repair("CLOCK_AMBIGUOUS", "Happy Returns sends the zone", _nothing)

    t.begin("a sale is over", 80)
    order = t.order(Line("PIN-01", 60))
    first = None
    for offset in range(60):
        unit = t.unit(order, offset=offset, start=9, together=first)
        first = first or unit
    t.gone("APPROVAL_BURST", CX, "S1", key="2026-03-19T00")

    # Staff give a location another name, and take it back an hour later.
    t.staff(9.6, "rename_location", **{"from": "HR Vendor", "to": "HR Supplier"})
    t.staff(9.9, "rename_location", **{"from": "HR Supplier", "to": "HR Vendor"})
    t.gone("CONFIG_CONTRADICTION", OPS, "S1", key="policy [locations.RTV]*")
    # Nothing is read meanwhile; nor in the evening on which Happy Returns refuses the key.
    for source in ("linnworks.orders", "linnworks.bookings", "linnworks.refunds"):
        t.gone("SOURCE_STALE", OPS, "S1", key=source)
    t.gone("SOURCE_STALE", OPS, "S1", key="happy_returns.shipments")
    for day in (10.76, 11.089):
        t.at(day, lambda life: life.happy_returns_fails("outbound-shipments", "http_401"))

    t.begin("the night that was not closed", 81)
    unpaid = t.unit(t.order("TEE-NAVY-M"), start=6.2)
    t.gone("BATCH_INCOMPLETE", FINANCE, "S2", key="2026-03-19:GBP", price="24.00")
    t.task("STOCK_OK_REFUND_MISSING", CX, "S2", unpaid, price="24.00")

    def never_closed(life: Life) -> None:
        life.is_closing = False

    def closes_again(life: Life) -> None:
        life.is_closing = True

    t.at(11.2, never_closed)  # the nightly job is switched off, and nobody sees to it
    t.repair("STOCK_OK_REFUND_MISSING", "the nightly close is switched on again", closes_again)

    t.at(3.3, lambda life: life.policy(MAPPED))
    t.gone("MAPPING_VERSION_CHANGED", FINANCE, "S4", key="*")

    t.at(12.2, lambda life: life.policy(STARVED))
    t.at(13.2, lambda life: life.policy(MAPPED))
    t.gone("RATE_LIMIT_EXHAUSTED", OPS, "S3", key="happy_returns.look_ups")

    t.begin("an answer is lost", 82)
    t.unit(t.order("CAP-BLK"), start=3.1)  # booked on the morning of the eighth day
    t.at(7.26, lambda life: life.linnworks_fails("CreateRMABooking", "lost_after"))
    t.at(7.51, lambda life: life.linnworks_fails("GetRMAHeadersByOrderId", "http_401", times=3))
    t.gone("WRITE_UNKNOWN_OUTCOME", OPS, "S1", key="rma*")

    t.at(13.0, lambda life: life.refuse_alerts(refuse=True))
    t.task("ALERT_UNDELIVERED", OPS, "S2", key="email")
    t.repair(
        "ALERT_UNDELIVERED",
        "the mail server is mended; what was given up is a week old",
        lambda life: life.refuse_alerts(refuse=False),
    )


ALL = (orders_and_lines, conditions, places, on_the_way, money, amounts, exchanges, books, machine)


def tell() -> Telling:
    """The whole fortnight."""
    told = Telling(Script(7, STARTS))
    for chapter in ALL:
        chapter(told)
    return told


# --- the merchant for whom Happy Returns pays -------------------------------------

PAID_BY_HAPPY_RETURNS = """
[refunds]
executor = "happy_returns"
"""


def tell_of_the_other_merchant() -> Telling:
    """What can only happen where Happy Returns sends the money."""
    t = Telling(Script(8, STARTS))
    t.begin("to be paid twice", 0)
    order = t.order("TEE-NAVY-M")
    risk = t.unit(order, start=8, until="departed", received_at=DAYS + 1.0, inspected_at=DAYS + 1.1)
    row = order.lines[0].row_id
    t.staff(
        10.0,
        "refund",
        order_reference=order.reference,
        row_id=row,
        amount="24.00",
        action_too=False,
    )
    t.task("SEND_TO_CHANNEL_RISK", FINANCE, "S1", risk, price="24.00", key="refund:*")
    t.repair(
        "SEND_TO_CHANNEL_RISK",
        "staff delete it in Linnworks",
        lambda life: life.staff("void_refund", order_reference=order.reference, amount="24.00"),
    )

    t.begin("paid and never sent", 1)
    unsent = t.unit(t.order("CAP-BLK"), start=2, until="approved", expired_at=9.0)
    t.task("RETURN_EXPIRED_AFTER_REFUND", CX, "S1", unsent, price="14.00")
    t.repair(
        "RETURN_EXPIRED_AFTER_REFUND",
        "CX: lost, written off",
        lambda life: life.decide("RETURN_EXPIRED_AFTER_REFUND", unsent.item_id, Kind.WRITE_OFF, CX),
    )

    t.begin("paid and lost", 2)
    lost = t.unit(t.order("JKT-OLV-M"), start=3, until="departed")
    t.task("REFUNDED_NOT_RECEIVED", OPS, "S2", lost, price="119.00")
    t.repair(
        "REFUNDED_NOT_RECEIVED",
        "Operations: lost, written off",
        lambda life: life.decide("REFUNDED_NOT_RECEIVED", lost.item_id, Kind.WRITE_OFF, OPS),
    )
    return t
