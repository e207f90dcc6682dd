"""How a trouble is told: what happens in the world, what the queue must say, what mends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from returns_pipeline.sandbox import catalogue
from returns_pipeline.sandbox.cases.registry import tell
from returns_pipeline.sandbox.model import Order, OrderLine, ReturnUnit, World
from returns_pipeline.sandbox.script import Line, Script

if TYPE_CHECKING:
    from returns_pipeline_tests.fortnight.life import Life

DAYS = 14
CX, OPS, FINANCE = "CX", "Operations", "Finance"
Does = Callable[["Life"], None]


@dataclass(frozen=True, slots=True)
class Task:
    """A row that the queue must have. ``minor`` is in minor units of ``currency``.

    ``stays``: it stands open at the end of the fortnight; otherwise it closes itself before.
    """

    code: str
    key: str
    owner: str
    severity: str
    units: frozenset[str]
    minor: int
    currency: str
    stays: bool


@dataclass
class Telling:
    """The story in the telling."""

    script: Script
    tasks: list[Task] = field(default_factory=list)
    happens: list[tuple[float, Does]] = field(default_factory=list)
    repairs: list[tuple[float, str, str, Does]] = field(default_factory=list)
    unlisted: set[str] = field(default_factory=set)
    stock: dict[tuple[str, str], int] = field(default_factory=dict)

    # --- the world ----------------------------------------------------------------

    def case(self, name: str) -> list[ReturnUnit]:
        """Tell one of the sandbox's own cases; its units."""
        before = len(self.script.units)
        tell(self.script, name)
        return self.script.units[before:]

    def begin(self, name: str, number: int) -> None:
        """Begin a chapter of our own; its orders are numbered from here on."""
        self.script.begin(name, first_number=7_000 + 10 * number)

    def order(self, *lines: Line | str, **more: Any) -> Order:
        return self.script.order(*lines, **more)

    def unit(self, order: Order, line: OrderLine | None = None, **more: Any) -> ReturnUnit:
        return self.script.unit(order, line or order.lines[0], **more)

    def exchanged(self, order: Order, wanted: str, **more: Any) -> ReturnUnit:
        """A unit that is exchanged for one of another SKU at its price."""
        price = catalogue.PRODUCTS[wanted].price if wanted else None
        given = {"exchange_quantity": 1, "exchange_unit_price": price, **more}
        return self.unit(order, refund_type="exchange", exchange_sku=wanted, **given)

    def staff(self, day: float, action: str, **more: Any) -> None:
        """What a person does in Linnworks on a day."""
        self.script.staff_does(day, action, **more)

    def word(self, unit: ReturnUnit, day: float, **says: object) -> None:
        """What Happy Returns says of a unit from a day on."""
        unit.revisions = [*unit.revisions, (self.script.day(day), says)]

    def at(self, day: float, does: Does) -> None:
        """What else happens on a day: to the machine, the policy, the network."""
        self.happens.append((day, does))

    # --- what must come of it -----------------------------------------------------

    def task(
        self,
        code: str,
        owner: str,
        severity: str,
        *units: ReturnUnit,
        price: str = "0",
        key: str = "",
        currency: str = "GBP",
        stays: bool = True,
    ) -> None:
        """A row the queue must have; ``price`` in major units."""
        minor = int(Decimal(price) * 100)
        self.tasks.append(
            Task(
                code,
                key or units[0].item_id,
                owner,
                severity,
                frozenset(unit.item_id for unit in units),
                minor,
                currency if minor else "",
                stays,
            )
        )

    def gone(self, code: str, owner: str, severity: str, *units: ReturnUnit, **more: Any) -> None:
        """A row the queue must have had, and that has closed itself by the end."""
        self.task(code, owner, severity, *units, stays=False, **more)

    def repair(self, code: str, how: str, does: Does, *, day: float = DAYS + 0.4) -> None:
        """What mends it after the fortnight, and how that is said."""
        self.repairs.append((day, code, how, does))

    def world(self, ends: float) -> World:
        world = self.script.world(ends)
        for shipment in world.shipments:
            shipment.item_ids = [one for one in shipment.item_ids if one not in self.unlisted]
        for (sku, place), level in self.stock.items():
            (found,) = (one.id for one in world.locations if one.name == place)
            world.opening_stock[sku, found] = level
        return world

    def day(self, number: float) -> datetime:
        return self.script.day(number)
