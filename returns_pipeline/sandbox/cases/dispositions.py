"""Cases of what was found when the goods were inspected."""

from __future__ import annotations

from returns_pipeline.sandbox.cases.registry import case
from returns_pipeline.sandbox.script import RESTOCK, SHARE, Line, Script


@case
def two_of_three_one_damaged(s: Script) -> None:
    """Two of three units, one damaged."""
    order = s.order(Line("DRESS-GRN-L", 3))
    line = order.lines[0]
    first = s.unit(order, line, offset=0)
    second = s.unit(order, line, offset=1, disposition="damaged", together=first)
    s.expect(first, order, line, place=RESTOCK, refund=SHARE)
    s.expect(second, order, line, place="HR Damaged", refund=SHARE)


@case
def three_conditions_one_sku(s: Script) -> None:
    """Damaged, tag-missing and saleable units of one SKU: three locations."""
    order = s.order(Line("TEE-NAVY-S", 3))
    line, first = order.lines[0], None
    for offset, (code, place) in enumerate(
        [("damaged", "HR Damaged"), ("tag-missing", "HR Quarantine"), ("saleable", RESTOCK)]
    ):
        unit = s.unit(order, line, offset=offset, disposition=code, together=first)
        first = first or unit
        s.expect(unit, order, line, place=place, refund=SHARE)


def _disposed(s: Script, sku: str, code: str, place: str) -> None:
    order = s.order(sku)
    unit = s.unit(order, order.lines[0], disposition=code)
    s.expect(unit, order, order.lines[0], place=place, refund=SHARE)


@case
def open_box(s: Script) -> None:
    """B-stock, sellable, its own location."""
    _disposed(s, "SHOE-BLK-42", "Open Box", "HR B-Stock")


@case
def tag_missing(s: Script) -> None:
    """Quarantined, refunded."""
    _disposed(s, "DRESS-GRN-S", "TAG_MISSING", "HR Quarantine")


@case
def refurbish(s: Script) -> None:
    """To be cleaned."""
    _disposed(s, "JKT-OLV-M", "cleaning", "HR Refurb")


@case
def return_to_vendor(s: Script) -> None:
    """Goes back to the supplier."""
    _disposed(s, "SHOE-BLK-40", "rtv", "HR Vendor")


@case
def quarantine_holds_the_refund(s: Script) -> None:
    """Resale hold: stock in quarantine, the refund waits for a person, and that is seen."""
    order = s.order("JKT-OLV-M")
    unit = s.unit(order, order.lines[0], disposition="resale-hold")
    s.expect(
        unit, order, order.lines[0], place="HR Quarantine", exceptions=("RECEIVED_NOT_REFUNDED",)
    )


def _scrapped(s: Script, sku: str, code: str) -> None:
    order = s.order(sku)
    unit = s.unit(order, order.lines[0], disposition=code)
    s.expect(unit, order, order.lines[0], scrap=True, refund=SHARE)


@case
def donated(s: Script) -> None:
    """No stock, refunded."""
    _scrapped(s, "TEE-RED-S", "donate")


@case
def recycled(s: Script) -> None:
    """No stock, refunded."""
    _scrapped(s, "SOCK-3", "recycle")


@case
def disposed_zero_rated(s: Script) -> None:
    """No stock, refunded, no VAT in it."""
    _scrapped(s, "BOOK-01", "dispose")


@case
def wrong_item_in_bag(s: Script) -> None:
    """Something else was in the bag: held for CX, no stock, no money."""
    order = s.order("JKT-OLV-L")
    unit = s.unit(order, order.lines[0], disposition="mismatch")
    s.expect(unit, order, order.lines[0], exceptions=("WRONG_ITEM_SUSPECTED",))


@case
def missing_from_the_bag(s: Script) -> None:
    """The bag came without it: nothing moves, and CX decides what the shopper gets."""
    order = s.order("CAP-BLK")
    unit = s.unit(order, order.lines[0], disposition="missing")
    s.expect(unit, order, order.lines[0], exceptions=("RECEIVED_NOT_REFUNDED",))


@case
def disposition_unmapped(s: Script) -> None:
    """A code the policy does not map: held, never sellable by default."""
    order = s.order("TEE-RED-M")
    unit = s.unit(order, order.lines[0], disposition="grade-z")
    s.expect(unit, order, order.lines[0], exceptions=("DISPOSITION_UNMAPPED",))


@case
def disposition_missing(s: Script) -> None:
    """Received, not inspected within the grace time."""
    order = s.order("TEE-RED-M")
    unit = s.unit(order, order.lines[0], until="received")
    s.expect(unit, order, order.lines[0], exceptions=("DISPOSITION_MISSING",))


@case
def disposition_late(s: Script) -> None:
    """Inspected two days after receipt: waits, then goes on by itself."""
    order = s.order("TEE-RED-S")
    unit = s.unit(order, order.lines[0], inspected_at=5.9)
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def disposition_changed(s: Script) -> None:
    """Saleable at first, damaged on a second look, after stock was posted: a move."""
    order = s.order("SHOE-BLK-41")
    unit = s.unit(order, order.lines[0], start=-1)
    unit.revisions = [(s.day(5.5), {"disposition": "damaged"})]
    # Whether the move is posted or somebody's task is the program's choice.
    s.expect(unit, order, order.lines[0], stock=None, refund=SHARE)


@case
def two_locations(s: Script) -> None:
    """Handed in at another hub, whose address the packaged policy maps to nothing else."""
    order = s.order("TEE-NAVY-L")
    unit = s.unit(order, order.lines[0], destination_address_id="addr-0002")
    s.expect(unit, order, order.lines[0], place=RESTOCK, refund=SHARE)


@case
def wrong_location_after_the_fact(s: Script) -> None:
    """A person moves a damaged unit to another location after it was posted."""
    order = s.order("SHOE-BLK-42")
    unit = s.unit(order, order.lines[0], disposition="damaged")
    s.staff_does(5.5, "edit_location", order_reference=order.reference, location="HR Refurb")
    s.expect(
        unit,
        order,
        order.lines[0],
        place="HR Refurb",
        refund=SHARE,
        exceptions=("WRONG_LOCATION",),
    )


@case
def damaged_among_saleable(s: Script) -> None:
    """A person moves a damaged unit among the saleable ones after it was posted."""
    order = s.order("SHOE-BLK-41")
    unit = s.unit(order, order.lines[0], disposition="damaged")
    s.staff_does(5.5, "edit_location", order_reference=order.reference, location=RESTOCK)
    s.expect(
        unit, order, order.lines[0], place=RESTOCK, refund=SHARE, exceptions=("CO_MINGLED_STOCK",)
    )
