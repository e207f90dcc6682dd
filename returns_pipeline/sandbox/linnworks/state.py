"""What Linnworks knows: orders, bookings, refunds, stock, and how to find them quickly.

The truth of the account and its bookkeeping only; what a request may do to it is in the
modules of the routes.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
import uuid
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from returns_pipeline.sandbox.linnworks.wire import all_lines
from returns_pipeline.sandbox.model import Order, OrderLine, StockItem, World
from returns_pipeline.sandbox.server import Clock, MinuteLimit

APPLICATION_ID = "11111111-1111-4111-8111-111111111111"
APPLICATION_SECRET = "22222222-2222-4222-8222-222222222222"  # noqa: S105 (the sandbox's)
TOKEN = "33333333-3333-4333-8333-333333333333"  # noqa: S105 (the sandbox's)
_IDLE = 20 * 60.0

# What the contract does not settle: the first value is the default.
SWITCHES: dict[str, tuple[Any, ...]] = {
    "second_action": ("refused", "posts_again"),
    "second_refund_action": ("refused", "pays_again"),
    "reference_echoed": (True, False),
    "return_id_is_row_id": (True, False),
    "create_orders_repeat": ("empty", "same_id"),
    "exchange_order_made": ("at_action", "at_booking"),
    "success_with_errors": (False, True),
    "batched_without_batch": ("refused", "accepted"),
    "change_source_in_note": (True, False),
}


@dataclass(slots=True)
class RmaLine:
    """One line of a booking."""

    row_id: int
    order_row: OrderLine
    location: str
    quantity: int
    scrap: int
    refund: Decimal
    category: str
    reason: str
    actioned_at: datetime | None = None
    deleted: bool = False
    exchange: tuple[str, int] | None = None  # SKU and quantity of what is sent instead
    new_order_id: str | None = None

    @property
    def kind(self) -> str:
        """``Type`` of ``VerifiedRMAItem``."""
        return "Exchange" if self.exchange else "Return"


@dataclass(slots=True)
class Rma:
    """A booking (RMA header) with its lines."""

    header_id: int
    order: Order
    reference: str | None
    channel: bool
    created_at: datetime
    lines: list[RmaLine]
    hash: str = ""

    @property
    def live(self) -> list[RmaLine]:
        """Its lines that were not deleted."""
        return [line for line in self.lines if not line.deleted]

    @property
    def actioned(self) -> bool:
        """Whether every live line was actioned."""
        return bool(self.live) and all(line.actioned_at for line in self.live)


@dataclass(slots=True)
class RefundRow:
    """One line of a refund."""

    row_id: str
    unit: str
    order_row: OrderLine | None
    return_row: int | None
    amount: Decimal
    quantity: int
    external: str = ""
    note: str = ""
    category: str = ""
    actioned_at: datetime | None = None


@dataclass(slots=True)
class Refund:
    """A refund header with its lines. ``times_sent``: how often money left."""

    header_id: int
    reference: str
    order: Order
    created_at: datetime
    rows: list[RefundRow]
    deleted: bool = False
    times_sent: int = 0

    @property
    def amount(self) -> Decimal:
        """Its sum."""
        return sum((row.amount for row in self.rows), Decimal(0))


@dataclass(slots=True)
class Movement:
    """One row of a stock item's history."""

    sku: str
    location: str
    at: datetime
    change: int
    level: int
    note: str
    order_row_id: str = ""
    rma_header_id: int = 0


@dataclass(slots=True)
class Note:
    """A note on an order."""

    id: str
    at: datetime
    text: str
    internal: bool


@dataclass(slots=True, frozen=True)
class Search:
    """A search of the orders feed that has more pages."""

    order_ids: list[str]
    start: int
    size: int


_KEPT = (
    "world", "switches", "rmas", "refunds", "made_orders", "levels", "history", "notes",
    "next_header", "next_row", "next_refund", "next_order", "rng", "staff_done",
)  # fmt: skip


@dataclass
class LinnworksState:
    """Everything Linnworks knows.

    ``journal``, when set, is told of every request that may have changed something, before
    it is answered. It pickles without what belongs to the running process.
    """

    world: World
    clock: Clock
    limits: bool = True
    url: str = ""
    switches: dict[str, Any] = field(
        default_factory=lambda: {name: values[0] for name, values in SWITCHES.items()}
    )
    journal: Callable[[dict[str, Any]], None] | None = None
    rmas: dict[int, Rma] = field(default_factory=dict)
    refunds: dict[int, Refund] = field(default_factory=dict)
    made_orders: list[Order] = field(default_factory=list)
    levels: Counter[tuple[str, str]] = field(default_factory=Counter)
    history: list[Movement] = field(default_factory=list)
    notes: dict[str, list[Note]] = field(default_factory=dict)
    next_header: int = 40_000
    next_row: int = 88_000
    next_refund: int = 9_000
    next_order: int = 900_000
    rng: random.Random = field(default_factory=lambda: random.Random(11))
    staff_done: set[int] = field(default_factory=set)  # indices into ``world.staff``

    def __post_init__(self) -> None:
        """Take over the world's opening stock; what people change here is changed in a copy."""
        orders = [copy(order) for order in self.world.orders]
        places = [copy(place) for place in self.world.locations]
        self.world = replace(self.world, orders=orders, locations=places)
        self.levels.update(self.world.opening_stock)
        self._prepare()

    def __getstate__(self) -> dict[str, Any]:
        """What outlives the process."""
        return {name: getattr(self, name) for name in _KEPT}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Take up where it was left, at a clock that the caller sets."""
        self.__dict__.update(kept)
        self.clock, self.limits, self.url, self.journal = Clock(), True, "", None
        self._prepare()

    def _prepare(self) -> None:
        self.lock = threading.RLock()
        self.minute = MinuteLimit()
        self.sessions: dict[str, float] = {}
        self.searches: dict[str, Search] = {}
        self.by_id: dict[str, Order] = {}
        self._by_reference: dict[str, list[Order]] = defaultdict(list)
        self._children: dict[str, list[Order]] = defaultdict(list)
        self._changes: list[tuple[datetime, str]] = []
        self._rmas_of: dict[str, list[Rma]] = defaultdict(list)
        self._refunds_of: dict[str, list[Refund]] = defaultdict(list)
        self._booked: list[tuple[datetime, int, int]] = []
        self._actioned: list[tuple[datetime, int, int]] = []
        self._refunded: list[tuple[datetime, int, int]] = []
        self._money_sent: list[tuple[datetime, int, int]] = []
        self._moves: dict[tuple[str, str], list[Movement]] = defaultdict(list)
        self.items_by_id = {item.id: item for item in self.world.stock_items.values()}
        for order in self.orders():
            self._index_order(order)
        self._changes.sort()
        for rma in self.rmas.values():
            self._index_rma(rma)
        for refund in self.refunds.values():
            self._index_refund(refund)
        for movement in self.history:
            self._moves[movement.sku, movement.location].append(movement)

    # --- orders -------------------------------------------------------------------

    def orders(self) -> Iterator[Order]:
        """All orders, those made through the API included."""
        yield from self.world.orders
        yield from self.made_orders

    def order(self, order_id: str | None) -> Order | None:
        """The order of an id, if it has been received yet."""
        order = self.by_id.get(order_id or "")
        return order if order is not None and self.visible(order) else None

    def referenced(self, reference: str) -> list[Order]:
        """Orders received by now with this reference or secondary reference."""
        return [order for order in self._by_reference.get(reference, ()) if self.visible(order)]

    def children_of(self, order: Order) -> list[Order]:
        """Orders that were made to replace goods of this one."""
        found = self._children.get(order.reference, ())
        return [child for child in found if self.visible(child)]

    def add_order(self, order: Order) -> None:
        """Receive an order through the API."""
        self.made_orders.append(order)
        self._index_order(order)
        self._changes.sort()  # sorted but for its end: cheap

    def changed_since(self, since: datetime) -> list[Order]:
        """Orders that changed from ``since`` until now, the longest unchanged first."""
        now = self.clock.now()
        first = bisect_left(self._changes, (since, ""))
        last = bisect_right(self._changes, (now, "~"))
        found = {order_id: self.by_id[order_id] for _at, order_id in self._changes[first:last]}
        visible = [order for order in found.values() if order.received_at <= now]
        return sorted(visible, key=lambda order: (self.updated(order), order.id))

    def touch(self, order: Order, at: datetime) -> None:
        """Note that an order changed."""
        insort(self._changes, (at, order.id))

    def _index_order(self, order: Order) -> None:
        self.by_id[order.id] = order
        for reference in {order.reference, order.secondary_reference} - {""}:
            self._by_reference[reference].append(order)
        if order.related_to:
            self._children[order.related_to].append(order)
        self._changes += [(at, order.id) for at in _instants(order)]

    def visible(self, order: Order) -> bool:
        """Whether the order has been received yet."""
        return order.received_at <= self.clock.now()

    def processed(self, order: Order) -> bool:
        """Whether it has been despatched by now."""
        return order.processed_at is not None and order.processed_at <= self.clock.now()

    def cancelled(self, order: Order) -> bool:
        """Whether it is cancelled by now."""
        at = order.cancelled_at
        return order.cancelled or (at is not None and at <= self.clock.now())

    def closed_at(self, order: Order) -> datetime | None:
        """When it left the open orders by now: despatched, or cancelled before that."""
        now = self.clock.now()
        ends = [at for at in (order.processed_at, order.cancelled_at) if at and at <= now]
        if order.cancelled:
            ends.append(order.received_at)
        return min(ends, default=None)

    def updated(self, order: Order) -> datetime:
        """When it last changed, as of now."""
        now = self.clock.now()
        return max(at for at in _instants(order) if at <= now)

    def item(self, sku: str) -> StockItem | None:
        """The product of a SKU."""
        return self.world.stock_items.get(sku)

    # --- bookings and refunds -----------------------------------------------------

    def book(
        self,
        order: Order,
        lines: list[RmaLine],
        reference: str | None,
        *,
        channel: bool,
        at: datetime | None = None,
    ) -> Rma:
        """Make a booking; there is no such thing as a repetition."""
        self.next_header += 1
        rma = Rma(self.next_header, order, reference, channel, at or self.clock.now(), lines)
        rma.hash = hashlib.sha256(f"{rma.header_id}{reference}".encode()).hexdigest()[:14].upper()
        self.rmas[rma.header_id] = rma
        self._index_rma(rma)
        if self.switches["exchange_order_made"] == "at_booking":
            self._send_instead(rma, rma.created_at)
        return rma

    def _send_instead(self, rma: Rma, at: datetime) -> None:
        """Make the orders of a booking's exchange lines, of no value (contract 4.2 A)."""
        for line in rma.live:
            if line.exchange is None or line.new_order_id is not None:
                continue
            sku, quantity = line.exchange
            product, zero, original = self.world.stock_items[sku], Decimal(0), rma.order
            self.next_order += 1
            order = replace(
                original,
                id=self.guid(),
                num_id=self.next_order,
                reference=f"{original.reference}-{line.row_id}",
                secondary_reference="",
                external_reference="",
                received_at=at,
                paid_at=at,
                processed_at=None,
                last_updated=at,
                touched_at=None,
                lines=[
                    OrderLine(
                        row_id=self.guid(),
                        item_number=str(line.row_id),
                        sku=sku,
                        stock_item_id=product.id,
                        title=product.title,
                        quantity=quantity,
                        price_per_unit=zero,
                        tax_rate=zero,
                        line_total=zero,
                        unit_cost=product.unit_cost,
                    )
                ],
                postage_cost=zero,
                related_to=original.reference,
                is_exchange=True,
            )
            self.add_order(order)
            line.new_order_id = order.id

    def add_refund(self, order: Order, rows: list[RefundRow], at: datetime | None = None) -> Refund:
        """Make a refund; nothing is sent yet."""
        self.next_refund += 1
        reference = self.guid().replace("-", "")[:10].upper()
        refund = Refund(self.next_refund, reference, order, at or self.clock.now(), rows)
        self.refunds[refund.header_id] = refund
        self._index_refund(refund)
        return refund

    def rmas_of(self, order: Order) -> list[Rma]:
        """The bookings of an order."""
        return self._rmas_of.get(order.id, [])

    def refunds_of(self, order: Order) -> list[Refund]:
        """The refunds of an order that were not deleted."""
        return [refund for refund in self._refunds_of.get(order.id, []) if not refund.deleted]

    def actioned_units(self, order: Order, row_id: str) -> int:
        """Units of an order line whose return was actioned."""
        return sum(
            line.quantity
            for rma in self.rmas_of(order)
            for line in rma.live
            if line.actioned_at and line.order_row.row_id == row_id
        )

    def return_rows(
        self, kind: str, since: datetime, until: datetime
    ) -> list[tuple[Rma, RmaLine, datetime]]:
        """Live booking lines of a time: ``ACTIONED`` by action, else by booking."""
        index = self._actioned if kind == "ACTIONED" else self._booked
        found = []
        for at, header_id, number in _between(index, since, until):
            rma = self.rmas[header_id]
            if not rma.lines[number].deleted:
                found.append((rma, rma.lines[number], at))
        return found

    def refund_rows(
        self, kind: str, since: datetime, until: datetime
    ) -> list[tuple[Refund, RefundRow, datetime]]:
        """Refund lines of a time: ``ACTIONED`` by when they were sent, else by creation."""
        index = self._money_sent if kind == "ACTIONED" else self._refunded
        return [
            (self.refunds[header_id], self.refunds[header_id].rows[number], at)
            for at, header_id, number in _between(index, since, until)
            if not self.refunds[header_id].deleted
        ]

    def send(self, refund: Refund, at: datetime | None = None) -> None:
        """Send a refund's money; once more sends it once more."""
        at = at or self.clock.now()
        refund.times_sent += 1
        for number, row in enumerate(refund.rows):
            if row.actioned_at is None:
                row.actioned_at = at
                insort(self._money_sent, (at, refund.header_id, number))

    def _index_rma(self, rma: Rma) -> None:
        self._rmas_of[rma.order.id].append(rma)
        for number, line in enumerate(rma.lines):
            insort(self._booked, (rma.created_at, rma.header_id, number))
            if line.actioned_at:
                insort(self._actioned, (line.actioned_at, rma.header_id, number))

    def _index_refund(self, refund: Refund) -> None:
        self._refunds_of[refund.order.id].append(refund)
        for number in range(len(refund.rows)):
            insort(self._refunded, (refund.created_at, refund.header_id, number))

    # --- stock --------------------------------------------------------------------

    def post(self, rma: Rma, at: datetime | None = None) -> None:
        """Accept a booking: its goods are put into stock, what is scrapped taken out."""
        at = at or self.clock.now()
        self._send_instead(rma, at)
        for number, line in enumerate(rma.lines):
            if line.deleted:
                continue
            if line.actioned_at is None:
                line.actioned_at = at
                insort(self._actioned, (at, rma.header_id, number))
            for sku, count in self._pieces(line.order_row):
                note = f"Customer return for order {rma.order.num_id}, ref: {rma.hash}"
                self.move(sku, line.location, count * line.quantity, note, at, rma, line)
                if line.scrap:
                    note = f"SCRAPPED BY RMA {rma.header_id}/Order {rma.order.num_id}"
                    self.move(sku, line.location, -count * line.scrap, note, at, rma, line)

    def _pieces(self, row: OrderLine) -> list[tuple[str, int]]:
        # Bundles record only their children (contract 4.3).
        product = self.item(row.sku)
        return list(product.children) if product and product.children else [(row.sku, 1)]

    def move(
        self,
        sku: str,
        place: str,
        change: int,
        note: str,
        at: datetime,
        rma: Rma | None = None,
        line: RmaLine | None = None,
    ) -> None:
        """Change a stock level and write its history."""
        self.levels[sku, place] += change
        row = line.order_row.row_id if line else ""
        header = rma.header_id if rma else 0
        movement = Movement(sku, place, at, change, self.levels[sku, place], note, row, header)
        self.history.append(movement)
        self._moves[sku, place].append(movement)

    def movements(self, sku: str, place: str) -> list[Movement]:
        """The history of a product at a location, oldest first."""
        return self._moves.get((sku, place), [])

    def location_id(self, name: str) -> str:
        """The id behind a location's name (or the id itself)."""
        return next((p.id for p in self.world.locations if name in {p.name, p.id}), name)

    # --- sessions -----------------------------------------------------------------

    def new_token(self) -> str:
        """A token that nobody had before, after a restart neither."""
        return str(uuid.uuid4())

    def open_session(self) -> str:
        """A session token."""
        token = self.new_token()
        self.sessions[token] = time.monotonic()
        return token

    def knows(self, token: str) -> bool:
        """Whether a session is alive; asking keeps it so."""
        used = self.sessions.get(token)
        if used is None or used < time.monotonic() - _IDLE:
            return False
        self.sessions[token] = time.monotonic()
        return True

    def expire_sessions(self) -> None:
        """Let every session be unknown from now on."""
        with self.lock:
            self.sessions.clear()

    def guid(self) -> str:
        """The next identifier; the same after the same past."""
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    # --- the truth, for those who check -------------------------------------------

    def books(self) -> dict[str, Any]:
        """The truth of this account: units restocked, money sent, orders made."""
        with self.lock:
            return {
                "returned": [
                    _returned(rma, n)
                    for rma in self.rmas.values()
                    for n in rma.live
                    if n.actioned_at
                ],
                "open_bookings": sum(not rma.actioned for rma in self.rmas.values() if rma.live),
                "moved": [
                    {"sku": m.sku, "location": m.location, "change": m.change, "note": m.note}
                    for m in self.history
                ],
                "levels": {f"{sku}|{place}": n for (sku, place), n in sorted(self.levels.items())},
                "refunds": [
                    _refunded(refund) for refund in self.refunds.values() if not refund.deleted
                ],
                "orders_made": [_made(order) for order in self.made_orders],
            }


def _returned(rma: Rma, line: RmaLine) -> dict[str, Any]:
    return {
        "order_id": rma.order.id,
        "order_reference": rma.order.reference,
        "row_id": line.order_row.row_id,
        "sku": line.order_row.sku,
        "location": line.location,
        "quantity": line.quantity,
        "scrap": line.scrap,
        "header_id": rma.header_id,
        "reference": rma.reference,
    }


def _refunded(refund: Refund) -> dict[str, Any]:
    return {
        "order_id": refund.order.id,
        "order_reference": refund.order.reference,
        "header_id": refund.header_id,
        "times_sent": refund.times_sent,
        "amount_minor": int(refund.amount * 100),
        "currency": refund.order.currency,
        "row_ids": [row.order_row.row_id for row in refund.rows if row.order_row],
        "lines": [
            {
                "unit": row.unit,
                "row_id": row.order_row.row_id if row.order_row else None,
                "amount_minor": int(row.amount * 100),
                "quantity": row.quantity,
            }
            for row in refund.rows
        ],
    }


def _made(order: Order) -> dict[str, Any]:
    return {
        "reference": order.reference,
        "source": order.source,
        "related_to": order.related_to,
        "lines": [[n.sku, n.quantity, str(n.price_per_unit)] for n in order.lines],
        "properties": order.extended_properties,
    }


def _instants(order: Order) -> list[datetime]:
    instants = (order.received_at, order.processed_at, order.cancelled_at, order.touched_at)
    return [at for at in instants if at is not None]


def _between(
    index: list[tuple[datetime, int, int]], since: datetime, until: datetime
) -> list[tuple[datetime, int, int]]:
    first = bisect_left(index, (since, 0, 0))
    return index[first : bisect_left(index, (until + timedelta(microseconds=1), 0, 0))]


def row_of(order: Order, row_id: str | None) -> OrderLine | None:
    """A row of an order, a bundle's child included."""
    return next((line for line in all_lines(order) if line.row_id == row_id), None)
