"""A Linnworks account over HTTP with a few orders, and decisions that wait to be carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline import settings
from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.clients.transport import Patience
from returns_pipeline.dispatch import intend, kinds, on_the_rma, readings
from returns_pipeline.dispatch.protocol import Dispatcher
from returns_pipeline.domain.policy import ExchangePolicy, Policy
from returns_pipeline.sandbox import linnworks as vendor
from returns_pipeline.sandbox.model import (
    DEFAULT_LOCATION,
    Location,
    Order,
    OrderLine,
    StockItem,
    World,
)
from returns_pipeline.sandbox.server import Clock, VendorServer
from returns_pipeline.storage import outbox
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
SETTLE = timedelta(minutes=30)
RESTOCK, DAMAGED = "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000002"


def order_id(number: int) -> str:
    return f"bbbbbbbb-0000-4000-8000-{number:012d}"


def row_id(number: int, line: int = 1) -> str:
    return f"cccccccc-{line:04d}-4000-8000-{number:012d}"


def _order(number: int) -> Order:
    sent = NOW - timedelta(days=10)
    lines = [
        OrderLine(
            row_id=row_id(number, line),
            item_number=f"line-{number}-{line}",
            sku=f"SKU-{line}",
            stock_item_id=f"dddddddd-0000-4000-8000-{line:012d}",
            title="Thing",
            quantity=3,
            price_per_unit=Decimal("20.00"),
            tax_rate=Decimal(20),
            line_total=Decimal("60.00"),
            unit_cost=Decimal("5.00"),
        )
        for line in (1, 2)
    ]
    return Order(
        id=order_id(number),
        num_id=1000 + number,
        reference=f"#{number}",
        secondary_reference="",
        external_reference="",
        source="SHOPIFY",
        sub_source="shop",
        currency="GBP",
        received_at=sent,
        paid_at=sent,
        processed_at=sent,
        last_updated=sent,
        lines=lines,
        postage_cost=Decimal("4.95"),
        buyer_name="Canary Person",
        buyer_email="canary@shopper.test",
    )


def _world() -> World:
    return World(
        seed=1,
        starts_at=NOW - timedelta(days=20),
        ends_at=NOW + timedelta(days=20),
        retailer_id="retailer",
        locations=[
            Location(DEFAULT_LOCATION, 1, "Default"),
            Location(RESTOCK, 2, "HR Restock"),
            Location(DAMAGED, 3, "HR Damaged"),
        ],
        stock_items={
            f"SKU-{line}": StockItem(
                f"dddddddd-0000-4000-8000-{line:012d}", line, f"SKU-{line}", "Thing", Decimal(5)
            )
            for line in (1, 2)
        },
        orders=[_order(number) for number in range(1, 41)],
        units=[],
        shipments=[],
        expected={},
        cases={},
        opening_stock={},
    )


@dataclass
class Account:
    """The account, our record, and a clock that the test moves."""

    state: vendor.LinnworksState
    server: VendorServer
    engine: sa.Engine
    policy: Policy
    clock: Clock
    linnworks: Linnworks
    units: int = field(default=0)

    def fault(self, method: str, kind: str, **more: Any) -> None:
        self.server.vendor.faults.add(method, kind, **more)

    @property
    def calls(self) -> Mapping[str, int]:
        return self.server.vendor.calls

    def books(self) -> dict[str, Any]:
        return self.state.books()

    def restocked(self, number: int = 1) -> dict[tuple[str, str], int]:
        """Units actioned for an order, by order row and location."""
        found: dict[tuple[str, str], int] = {}
        for row in self.books()["returned"]:
            if row["order_id"] == order_id(number):
                key = (row["row_id"], row["location"])
                found[key] = found.get(key, 0) + row["quantity"]
        return found

    def sent(self, number: int = 1) -> int:
        """Money sent for an order, in minor units, each sending counted."""
        return sum(
            refund["amount_minor"] * refund["times_sent"]
            for refund in self.books()["refunds"]
            if refund["order_id"] == order_id(number)
        )

    def staff(self, **action: Any) -> Any:
        return self.server.vendor.staff(action)

    def wait(self, by: timedelta = SETTLE) -> None:
        self.clock.set(self.clock.now() + by + timedelta(seconds=1))

    def drive(self, of: tuple[str, ...]) -> dict[str, int]:
        return self.dispatcher().drive(of).counts()

    def dispatcher(self, holder: str = "test", run_id: str = "run") -> Dispatcher:
        return Dispatcher(
            self.engine,
            kinds.all_writes(self.linnworks, self.engine),
            clock=self.clock.now,
            settle=SETTLE,
            run_id=run_id,
            holder=holder,
            sleep=lambda _seconds: None,
        )

    # --- decisions

    def mirror(self, *numbers: int) -> None:
        """Enter the orders in our own mirror."""
        headers, lines = [], []
        for number in numbers:
            order = self.state.order(order_id(number))
            assert order is not None
            headers.append(
                {
                    "order_id": order.id,
                    "num_id": order.num_id,
                    "reference": order.reference,
                    "reference_key": order.reference.lstrip("#"),
                    "secondary_key": "",
                    "source": order.source,
                    "sub_source": order.sub_source,
                    "currency": "GBP",
                    "is_processed": True,
                    "is_cancelled": False,
                    "updated_at": NOW,
                    "total_minor": 12495,
                    "postage_minor": 495,
                    "postage_vat_minor": 83,
                    "payment_method": "",
                    "location_id": "",
                }
            )
            lines.extend(
                {
                    "row_id": line.row_id,
                    "order_id": order.id,
                    "position": place,
                    "item_number": line.item_number,
                    "sku": line.sku,
                    "channel_sku": "",
                    "stock_item_id": line.stock_item_id,
                    "quantity": line.quantity,
                    "total_minor": 6000,
                    "vat_minor": 1000,
                    "tax_rate_bp": 2000,
                    "is_service": False,
                    "is_unlinked": False,
                    "is_batched": False,
                }
                for place, line in enumerate(order.lines)
            )
        with self.engine.begin() as connection:
            for table, rows, key in (
                (t.orders, headers, "order_id"),
                (t.order_lines, lines, "row_id"),
            ):
                columns = tuple(rows[0])
                values = [tuple(row.values()) for row in rows]
                upsert(connection, table, columns, values, key=(key,), update=())

    def decide(
        self,
        number: int = 1,
        line: int = 1,
        place: str = RESTOCK,
        *,
        scrap: bool = False,
        of: str = "",
    ) -> str:
        """A unit (``of`` an exchange, or another one) whose restock is decided; gives its key."""
        self.mirror(number)
        self.units += not of
        unit = of or f"unit-{self.units:04d}"
        with self.engine.begin() as connection:
            connection.execute(
                sa.insert(t.stock_adjustments),
                {
                    "adjustment_key": f"{unit}:restock",
                    "unit_key": unit,
                    "kind": "scrap" if scrap else "restock",
                    "order_id": order_id(number),
                    "row_id": row_id(number, line),
                    "sku": f"SKU-{line}",
                    "location_id": place,
                    "from_location_id": "",
                    "quantity": 1,
                    "scrap_quantity": int(scrap),
                    "is_sellable": place == RESTOCK,
                    "role": "inventory.sellable",
                    "state": "ready",
                    "policy_hash": "p",
                    "created_at": NOW,
                },
            )
        return unit

    def restock(self) -> dict[str, int]:
        """Intend and drive, as one run does."""
        instead = on_the_rma.instead(self.engine, self.linnworks, self.policy)
        intend.intend_restocks(
            self.engine, policy=self.policy, now=self.clock.now(), instead=instead
        )
        return self.drive(kinds.RESTOCK)

    def owe(  # one value a part of the refund
        self, number: int = 1, line: int = 1, goods: int = 2000, shipping: int = 0, fee: int = 0
    ) -> str:
        """A unit whose refund stands in a sealed batch; gives its key."""
        self.mirror(number)
        self.units += 1
        unit = f"unit-{self.units:04d}"
        with self.engine.begin() as connection:
            connection.execute(
                sa.insert(t.refunds_due),
                {
                    "refund_key": f"{unit}:refund",
                    "unit_key": unit,
                    "order_id": order_id(number),
                    "row_id": row_id(number, line),
                    "currency": "GBP",
                    "goods_minor": goods,
                    "goods_vat_minor": 0,
                    "shipping_minor": shipping,
                    "shipping_vat_minor": 0,
                    "fee_minor": fee,
                    "fee_vat_minor": 0,
                    "amount_minor": goods + shipping - fee,
                    "tax_rate_bp": 2000,
                    "tender": "refund",
                    "gateway": "shopify_payments",
                    "executor": "linnworks",
                    "effective_at": NOW,
                    "business_date": date(2026, 3, 14),
                    "state": "batched",
                    "batch_id": "HRL-20260314-UKGBP-00",
                    "policy_hash": "p",
                    "created_at": NOW,
                },
            )
        return unit

    def pay(self) -> dict[str, int]:
        """Intend the refunds of the batch and drive them."""
        batches = ["HRL-20260314-UKGBP-00"]
        intend.intend_refunds(self.engine, batch_ids=batches, now=self.clock.now())
        return self.drive(kinds.REFUND)

    def exchange(self, number: int = 1, price: int = 0, sku: str = "SKU-2") -> str:
        """A replacement that is due; gives its reference."""
        self.mirror(number)
        self.units += 1
        unit, reference = f"unit-{self.units:04d}", f"{number}-EX-{self.units:012d}"
        with self.engine.begin() as connection:
            connection.execute(
                sa.insert(t.return_items),
                {
                    "unit_key": unit,
                    "return_id": "return-1",
                    "order_number": f"#{number}",
                    "order_key": str(number),
                    "line_item_id": "",
                    "sku": "SKU-1",
                    "stage": "received",
                    "status": "received",
                    "precisions": "-------",
                    "dropoff_method": "",
                    "reason_code": "",
                    "disposition_code": "",
                    "is_returnless": False,
                    "exchange_sku": sku,
                    "exchange_quantity": 1,
                    "problems": "",
                    "source_rank": 1,
                    "payload_hash": "h",
                    "first_seen_at": NOW,
                    "changed_at": NOW,
                    "is_open": True,
                },
            )
            connection.execute(
                sa.insert(t.matches),
                {
                    "unit_key": unit,
                    "outcome": "matched",
                    "code": "",
                    "reason": "",
                    "rule": "row_id",
                    "order_id": order_id(number),
                    "row_id": row_id(number),
                    "unit_no": self.units,
                    "candidates": "",
                    "since_at": NOW,
                    "decided_at": NOW,
                },
            )
            connection.execute(
                sa.insert(t.exchange_orders),
                {
                    "exchange_key": f"{unit}:exchange",
                    "unit_key": unit,
                    "order_id": order_id(number),
                    "reference": reference,
                    "sku": sku,
                    "quantity": 1,
                    "unit_price_minor": price,
                    "currency": "GBP",
                    "is_even": price == 0,
                    "state": "ready",
                    "policy_hash": "p",
                    "created_at": NOW,
                },
            )
        return reference

    def by_rma(self) -> Account:
        """The merchant whose policy has the RMA make replacements, and the places it names."""
        self.policy = replace(self.policy, exchange=ExchangePolicy(way="rma"))
        rows = [(place.id, place.name, False, True, NOW) for place in self.state.world.locations]
        columns = ("location_id", "name", "is_warehouse_managed", "is_present", "seen_at")
        with self.engine.begin() as connection:
            upsert(connection, t.vendor_locations, columns, rows, key=("location_id",))
        return self

    def replace(self) -> dict[str, int]:
        """Intend the replacements and drive them."""
        intend.intend_exchanges(self.engine, policy=self.policy, now=self.clock.now())
        return self.drive(kinds.EXCHANGE)

    def read_bookings(self) -> None:
        """The bulk reading of what others booked."""
        overlap = timedelta(minutes=10)
        readings.read_bookings(self.engine, self.linnworks, now=self.clock.now(), overlap=overlap)

    # --- our record

    def state_of(self, unit: str, table: sa.Table = t.stock_adjustments) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(sa.select(table).where(table.c.unit_key == unit)).one()

    def rows(self, table: sa.Table) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(table)).all())

    def intents(self) -> dict[str, str]:
        with self.engine.connect() as connection:
            query = sa.select(t.intents.c.kind, t.intents.c.state).order_by(t.intents.c.id)
            return dict(tuple(row) for row in connection.execute(query))

    def steps(self, kind: str = "") -> list[str]:
        """What was noted, in order, of one kind of write or of all."""
        noted = t.attempts.c
        query = sa.select(noted.step).where(noted.intent_key.startswith(kind)).order_by(noted.id)
        with self.engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def left(self) -> dict[str, int]:
        with self.engine.connect() as connection:
            return outbox.counts(connection, (*kinds.RESTOCK, *kinds.REFUND, *kinds.EXCHANGE))


def _policy() -> Policy:
    problems: list[str] = []
    document = settings.packaged_policy()
    document["refunds"]["executor"] = "linnworks"
    policy = settings.parse_policy(document, problems)
    assert policy is not None, problems
    return policy


@pytest.fixture
def make_account(engine: sa.Engine) -> Iterator[Callable[..., Account]]:
    """Accounts, with the readings of the contract a test wants."""
    servers: list[VendorServer] = []

    def make(**switches: Any) -> Account:
        clock = Clock(NOW)
        state = vendor.LinnworksState(_world(), clock, limits=False)
        state.switches.update(switches)
        server = VendorServer(vendor.vendor(state), clock)
        state.url = server.url
        server.start()
        servers.append(server)
        linnworks = Linnworks(
            server.url,
            vendor.APPLICATION_ID,
            vendor.APPLICATION_SECRET,
            vendor.TOKEN,
            rate_share=0,
            timeout=(2.0, 2.0),
            patience=Patience(attempts=2, backoff=0.01),
        )
        return Account(state, server, engine, _policy(), clock, linnworks)

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def account(make_account: Callable[..., Account]) -> Account:
    """An account under the contract's likelier readings."""
    return make_account()
