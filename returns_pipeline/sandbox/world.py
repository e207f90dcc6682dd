"""A seeded merchant's life: weeks of orders, a week of returns with every case, a tail.

Everything follows from the seed and the start. What must come of the ordinary returns is told
here, of the cases in ``cases``.
"""

from __future__ import annotations

import random
from datetime import datetime
from decimal import Decimal
from typing import Any

from returns_pipeline.sandbox import cases, catalogue
from returns_pipeline.sandbox.cases.registry import tell
from returns_pipeline.sandbox.model import Order, OrderLine, ReturnUnit, World
from returns_pipeline.sandbox.script import RESTOCK, SHARE, Line, Script

_FIRST_NUMBER = 10_000  # of the ordinary orders
_WEEKS_BEFORE = 4  # of orders before the first day
_RETURN_RATE = 0.2  # of orders, a part of one of which comes back

# Code, how often in a hundred, where its goods lie, whether its refund is allowed.
_DISPOSITIONS = (
    ("saleable", 74, RESTOCK, True),
    ("back_to_stock", 4, RESTOCK, True),
    ("open-box", 5, "HR B-Stock", True),
    ("tag-missing", 5, "HR Quarantine", True),
    ("damaged", 6, "HR Damaged", True),
    ("cleaning", 2, "HR Refurb", True),
    ("return-to-vendor", 1, "HR Vendor", True),
    ("quarantine", 1, "HR Quarantine", False),
    ("dispose", 2, "", True),
)
_COMMON = [sku for sku, product in catalogue.PRODUCTS.items() if not product.batched]


def week(
    seed: int = 7,
    *,
    starts_at: datetime,
    days: int = 7,
    orders_a_day: int = 40,
    tail_days: int = 14,
) -> World:
    """The merchant's life around the days from ``starts_at`` on.

    Orders begin four weeks earlier and go on through the tail, as do the returns, so that
    something is always new. Every case of ``cases`` is told once within the first week.
    """
    script = Script(seed, starts_at)
    for name in cases.NAMES:
        tell(script, name)
    script.begin("ordinary", first_number=_FIRST_NUMBER)
    ends = days + tail_days
    for day in range(-7 * _WEEKS_BEFORE, ends):
        for _ in range(orders_a_day):
            _ordinary_order(script, day + script.rng.random(), ends)
    return script.world(ends)


def _ordinary_order(s: Script, ordered: float, ends: float) -> None:
    rng = s.rng
    skus = rng.sample(_COMMON, k=rng.choices([1, 2, 3], weights=[70, 22, 8])[0])
    lines = [
        Line(
            sku,
            quantity=rng.choices([1, 2, 3], weights=[86, 11, 3])[0],
            discount=rng.choices(["0", "10", "25"], weights=[80, 15, 5])[0],
        )
        for sku in skus
    ]
    order = s.order(
        *lines,
        received=ordered,
        processed=ordered + rng.uniform(0.2, 1.4),
        postage=rng.choices(["0", "3.95", "4.95"], weights=[60, 25, 15])[0],
        currency=rng.choices(["GBP", "EUR"], weights=[93, 7])[0],
        payment_method=rng.choices(["Shopify Payments", "PayPal"], weights=[85, 15])[0],
    )
    start = ordered + rng.uniform(4, 18)
    if rng.random() < _RETURN_RATE and start < ends:
        _ordinary_return(s, order, start)


def _ordinary_return(s: Script, order: Order, start: float) -> None:
    rng = s.rng
    line = rng.choice(order.lines)
    how = rng.choices(
        ["back", "store-credit", "exchange", "keep", "lost", "cancelled"],
        weights=[76, 5, 6, 3, 8, 2],
    )[0]
    if how == "exchange" and line.sku not in catalogue.OTHER_SIZE:
        how = "back"
    count = rng.randint(1, line.quantity) if how == "back" else 1
    via = rng.choices(["return-bar", "mail", "in-store"], weights=[62, 30, 8])[0]
    fee = Decimal("2.95") if how == "back" and line.line_total > 10 and rng.random() < 0.1 else None
    code, _weight, place, allowed = _pick(rng)
    first = None
    for offset in range(count):
        unit = _unit(
            s, order, line, how, offset=offset, start=start, via=via, code=code, first=first
        )
        if how == "back":
            unit.return_fee = fee
        less = fee if fee and first is None else Decimal(0)
        _expect(s, unit, order, line, how, place=place, allowed=allowed, less=less)
        first = first or unit


def _pick(rng: random.Random) -> tuple[str, int, str, bool]:
    return rng.choices(_DISPOSITIONS, weights=[one[1] for one in _DISPOSITIONS])[0]


def _unit(
    s: Script,
    order: Order,
    line: OrderLine,
    how: str,
    *,
    offset: int,
    start: float,
    via: str,
    code: str,
    first: ReturnUnit | None,
) -> ReturnUnit:
    more: dict[str, Any] = {}
    until = "inspected"
    if how == "lost":
        until = s.rng.choice(["started", "approved" if via != "mail" else "dropped_off"])
    elif how == "cancelled":
        until, more = "started", {"cancelled_at": start + 0.5}
    elif how == "keep":
        until, more = "started", {"returnless": True, "approved_at": start + 0.2}
    elif how == "store-credit":
        more = {"refund_type": "store-credit"}
    elif how == "exchange":
        wanted = catalogue.OTHER_SIZE[line.sku]
        more = {
            "refund_type": "exchange",
            "exchange_sku": wanted,
            "exchange_quantity": 1,
            "exchange_unit_price": s.share(line, 0),
        }
    unit = s.unit(
        order,
        line,
        offset=offset,
        start=start,
        via=via,
        until=until,
        disposition=code,
        together=first,
        **more,
    )
    if unit.departed_at is not None:
        # Hubs send at six in the morning, UTC: what left together travels together.
        unit.departed_at = unit.departed_at.replace(hour=6, minute=0, second=0, microsecond=0)
    return unit


def _expect(
    s: Script,
    unit: ReturnUnit,
    order: Order,
    line: OrderLine,
    how: str,
    *,
    place: str,
    allowed: bool,
    less: Decimal,
) -> None:
    if how in {"lost", "cancelled"}:
        s.expect(unit, order, line)
        return
    if how == "keep":
        s.expect(unit, order, line, refund=SHARE)
        return
    s.expect(
        unit,
        order,
        line,
        place=place or None,
        scrap=not place,
        refund=SHARE if how == "back" and allowed else Decimal(0),
        exchange_orders=int(how == "exchange"),
    )
    if less and allowed:
        told = s.expected[unit.item_id]
        told.refund_minor = (told.refund_minor or 0) - int(less * 100)
