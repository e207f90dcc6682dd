"""How a story is told: orders, returned units with their lives, and what must come of them.

Days are counted from the story's start and may be fractions or negative. All identifiers
come from the seed and the chapter, so that one case alone is the same as in the whole week.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal

from returns_pipeline.sandbox import catalogue
from returns_pipeline.sandbox.model import (
    Expected,
    Order,
    OrderLine,
    ReturnUnit,
    Shipment,
    StaffAction,
    World,
)

RESTOCK = "HR Restock"
Share = Literal["share"]
SHARE: Share = "share"  # the unit's part of what its line was paid
_STAGES = ("started", "dropped_off", "approved", "departed", "received", "inspected")
_NAMES = ("Ada Fiction", "Ben Made-Up", "Cleo Invented", "Dan Sample", "Eve Pretend")


@dataclass(frozen=True, slots=True)
class Line:
    """What an order line is to be; what is left out comes from the catalogue."""

    sku: str
    quantity: int = 1
    discount: str = "0"  # per cent
    total: str | None = None  # gross, of the whole line
    unlinked: bool = False
    item_number: str | None = None


class Script:
    """A story in the telling."""

    def __init__(self, seed: int, starts_at: datetime) -> None:
        """An empty story. ``starts_at`` is day 0."""
        self.seed = seed
        self.starts_at = starts_at
        self.orders: list[Order] = []
        self.units: list[ReturnUnit] = []
        self.staff: list[StaffAction] = []
        self.expected: dict[str, Expected] = {}
        self.cases: dict[str, list[str]] = {}
        self._shares: Counter[str] = Counter()
        self.begin("prologue", first_number=1)

    def begin(self, chapter: str, *, first_number: int) -> None:
        """Begin a chapter; its orders are numbered from ``first_number``."""
        self.chapter = chapter
        self.rng = random.Random(f"{self.seed}:{chapter}")
        self._number = first_number

    def day(self, number: float) -> datetime:
        """The instant so many days after the start, to the second."""
        return self.starts_at + timedelta(seconds=round(number * 86_400))

    def guid(self) -> str:
        """The chapter's next identifier."""
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    # --- orders -------------------------------------------------------------------

    def order(
        self,
        *lines: Line | str,
        processed: float | None = -10.0,
        received: float | None = None,
        reference: str | None = None,
        currency: str = "GBP",
        postage: str = "0",
        **more: Any,
    ) -> Order:
        """An order of these lines, despatched on day ``processed``; ``None``: still open."""
        number = self._number
        self._number += 1
        received_at = self.day((processed if processed is not None else -9.0) - 1.0)
        if received is not None:
            received_at = self.day(received)
        name = self.rng.choice(_NAMES)
        order = Order(
            id=self.guid(),
            num_id=100_000 + number,
            reference=reference or f"#{number}",
            secondary_reference=str(6_100_000_000_000 + number),
            external_reference=f"#{number}",
            source=catalogue.SOURCE,
            sub_source=catalogue.SUB_SOURCE,
            currency=currency,
            received_at=received_at,
            paid_at=received_at,
            processed_at=self.day(processed) if processed is not None else None,
            last_updated=received_at,
            lines=[],
            postage_cost=Decimal(postage),
            buyer_name=name,
            buyer_email=f"{name.split()[0].lower()}.{number}@shopper.example",
        )
        for attribute, value in more.items():
            setattr(order, attribute, value)
        for position, line in enumerate(lines):
            told = Line(line) if isinstance(line, str) else line
            order.lines.append(self._line(told, number * 100 + position))
        self.orders.append(order)
        return order

    def _line(self, told: Line, number: int) -> OrderLine:
        product = catalogue.PRODUCTS[told.sku]
        discount = Decimal(told.discount)
        total = product.price * told.quantity * (100 - discount) / 100
        row_id = self.guid()
        return OrderLine(
            row_id=row_id,
            item_number=told.item_number or str(15_502_000_000_000 + number),
            sku=told.sku,
            stock_item_id=_ZERO if told.unlinked else catalogue.stock_item_id(told.sku),
            title=product.title,
            quantity=told.quantity,
            price_per_unit=product.price,
            tax_rate=product.tax,
            line_total=_cents(Decimal(told.total) if told.total else total),
            unit_cost=product.cost,
            discount=discount,
            unlinked=told.unlinked,
            children=[
                self._child(row_id, sku, count * told.quantity) for sku, count in product.children
            ],
        )

    def _child(self, parent: str, sku: str, quantity: int) -> OrderLine:
        product = catalogue.PRODUCTS[sku]
        return OrderLine(
            row_id=self.guid(),
            item_number="",
            sku=sku,
            stock_item_id=catalogue.stock_item_id(sku),
            title=product.title,
            quantity=quantity,
            price_per_unit=Decimal(0),  # the bundle has the price
            tax_rate=product.tax,
            line_total=Decimal(0),
            unit_cost=product.cost,
            parent_row_id=parent,
        )

    # --- returns ------------------------------------------------------------------

    def unit(
        self,
        order: Order,
        line: OrderLine,
        *,
        offset: int = 0,
        start: float = 0.0,
        via: str = "return-bar",
        until: str = "inspected",
        disposition: str = "saleable",
        together: ReturnUnit | None = None,
        **more: Any,
    ) -> ReturnUnit:
        """A unit given back, from ``start`` until a stage of its life.

        At a bar it is approved when it is dropped off and travels with a shipment; by mail it
        goes straight to the warehouse and is approved there. ``together``: a unit of the
        same return. ``more`` sets attributes of the unit; those in ``_STAGES`` as days.
        """
        suffix = f"-{offset}-{line.quantity}" if line.quantity > 1 else ""
        unit = ReturnUnit(
            item_id=self.guid(),
            return_id=together.return_id if together else self.guid(),
            express_code=together.express_code if together else "HR" + self._code(6),
            order_number=order.reference,
            shop_order_id=order.secondary_reference,
            line_item_id=line.item_number + suffix,
            sku=line.sku,
            title=line.title,
            purchased_at=order.received_at,
            started_at=self.day(start),
            dropoff_method=via,
            disposition=disposition,
            reason_id=self.rng.choice(["too-small", "too-big", "changed-mind", "faulty"]),
            currency=order.currency,
            bag=together.bag if together else "HR2" + self._code(9),
            carrier="royal-mail" if via == "mail" else "ups",
            tracking="ZZ" + self._code(9) + "GB",
            shopper_name=order.buyer_name,
            shopper_email=order.buyer_email,
        )
        self._live(unit, start, until, bar=via != "mail")
        for attribute, value in more.items():
            stage = attribute.removesuffix("_at") in (*_STAGES, "expired", "cancelled")
            setattr(unit, attribute, self.day(value) if stage and value is not None else value)
        if unit.refund_type == "refund" and unit.refund_amount is None:
            unit.refund_amount = self.share(line, self._shares[f"told:{line.row_id}"])
            self._shares[f"told:{line.row_id}"] += 1
        self.units.append(unit)
        self.cases.setdefault(self.chapter, []).append(unit.item_id)
        return unit

    def _live(self, unit: ReturnUnit, start: float, until: str, *, bar: bool) -> None:
        reached = _STAGES[: _STAGES.index(until) + 1]
        days = {"dropped_off": 1.0, "received": 4.0, "inspected": 4.1}
        days |= {"approved": 1.0, "departed": 2.5} if bar else {"approved": 4.2}
        if not bar and until == "approved":
            days["approved"] = 1.5  # approved on the carrier's scan
        for stage in reached[1:]:
            if stage in days and (bar or stage != "approved" or until in {"approved", "inspected"}):
                setattr(unit, f"{stage}_at", self.day(start + days[stage]))

    def _code(self, length: int) -> str:
        return "".join(self.rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=length))

    # --- what must come of it -----------------------------------------------------

    def share(self, line: OrderLine, before: int) -> Decimal:
        """The next unit's part of the line, ``before`` units having been shared out.

        Cumulative: all units together have exactly what the line was paid.
        """
        upto = _cents(line.line_total * (before + 1) / line.quantity)
        return upto - _cents(line.line_total * before / line.quantity)

    def expect(
        self,
        unit: ReturnUnit,
        order: Order | None = None,
        line: OrderLine | None = None,
        *,
        place: str | None = None,
        scrap: bool = False,
        stock: dict[str, tuple[str, int]] | Share | None = SHARE,
        refund: Decimal | Share | None = Decimal(0),
        exchange_orders: int = 0,
        exceptions: tuple[str, ...] = (),
        visible: bool = False,
    ) -> None:
        """Say what must come of a unit.

        ``place``: where one unit of the line lies in the end. ``stock`` says it for itself;
        ``None`` leaves it open. ``refund``: money in major units; ``SHARE``: the unit's part.
        """
        if stock == SHARE:
            stock = {sku: (place, count) for sku, count in _pieces(line)} if place and line else {}
        if refund == SHARE:
            if line is None:
                raise ValueError("a share of which line?")
            refund = self.share(line, self._shares[line.row_id])
            self._shares[line.row_id] += 1
        self.expected[unit.item_id] = Expected(
            item_id=unit.item_id,
            case=self.chapter,
            holds_from=_last_instant(unit),
            stock=stock if isinstance(stock, dict) else None,
            scrap=dict(_pieces(line)) if scrap and line else {},
            refund_minor=None if refund is None else int(Decimal(refund) * 100),
            exchange_orders=exchange_orders,
            exceptions=exceptions,
            visible=visible or bool(exceptions),
            order_reference=order.reference if order else "",
            row_id=line.row_id if line else "",
        )

    def staff_does(self, day: float, action: str, **more: Any) -> None:
        """Let a person do something in Linnworks on a day."""
        self.staff.append(StaffAction(self.day(day), {"action": action, **more}))

    def world(self, ends: float) -> World:
        """The story told: the world that ends on day ``ends``."""
        return World(
            seed=self.seed,
            starts_at=self.starts_at,
            ends_at=self.day(ends),
            retailer_id=catalogue.RETAILER_ID,
            locations=catalogue.locations(),
            stock_items=catalogue.stock_items(),
            orders=self.orders,
            units=self.units,
            shipments=self._shipments(),
            expected=self.expected,
            cases=self.cases,
            opening_stock=catalogue.opening_stock(),
            return_categories=list(catalogue.RETURN_CATEGORIES),
            staff=sorted(self.staff, key=lambda one: one.at),
        )

    def _shipments(self) -> list[Shipment]:
        """What left a hub for an address at the same time travels together."""
        together: dict[tuple[datetime, str], list[ReturnUnit]] = defaultdict(list)
        for unit in self.units:
            if unit.departed_at is not None:
                together[unit.departed_at, unit.destination_address_id].append(unit)
        shipments = []
        for (departed_at, address), units in sorted(together.items(), key=lambda pair: pair[0]):
            name = f"shp-{departed_at:%Y%m%d%H%M%S}-{address[-4:]}"
            for unit in units:
                unit.shipment_id = name
            shipments.append(Shipment(name, departed_at, [unit.item_id for unit in units]))
        return shipments


_ZERO = "00000000-0000-0000-0000-000000000000"


def _pieces(line: OrderLine | None) -> list[tuple[str, int]]:
    """What one unit of a line is in stock: itself, or a bundle's children."""
    if line is None:
        return []
    return list(catalogue.PRODUCTS[line.sku].children) or [(line.sku, 1)]


def _last_instant(unit: ReturnUnit) -> datetime:
    instants = (
        unit.started_at,
        unit.dropped_off_at,
        unit.approved_at,
        unit.departed_at,
        unit.received_at,
        unit.inspected_at,
        unit.expired_at,
        unit.cancelled_at,
        *(at for at, _changes in unit.revisions),
    )
    return max(at for at in instants if at is not None)


def _cents(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP)
