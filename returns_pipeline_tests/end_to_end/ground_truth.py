"""What came of a world, beside what its author says must come of it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import datetime, timedelta

import sqlalchemy as sa

from returns_pipeline.domain.calendar import business_date
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.end_to_end.shop import Shop

_ZONE = "Europe/London"


def live_through(shop: Shop, until: datetime, *, step: timedelta = timedelta(hours=8)) -> None:
    """Sync as time goes by, close each day that has ended, until an instant."""
    now = shop.sandbox.world.starts_at + step
    while now <= until:
        shop.sync(now)
        yesterday = business_date(now, _ZONE) - timedelta(days=1)
        shop.close_open_days(yesterday, now)
        now += step
    shop.reconcile(until)


def differences(shop: Shop, at: datetime, case: str) -> list[str]:
    """Every way in which the vendors' books and our queue differ from the case's ground truth."""
    world = shop.sandbox.world
    told = [one for one in world.expected.values() if one.holds_from <= at and one.case == case]
    orders = {order.reference: order.id for order in world.orders}
    return [
        *_stock(shop, told, orders),
        *_money(shop, told, orders),
        *_exchanges(shop, told),
        *_exceptions(shop, told),
        *_matches(shop, told),
    ]


def _stock(shop: Shop, told: list, orders: dict[str, str]) -> list[str]:
    names = {place.id: place.name for place in shop.sandbox.world.locations}
    expected: dict[str, Counter] = defaultdict(Counter)
    open_orders = set()
    for one in told:
        if not one.order_reference:
            continue
        order = orders[one.order_reference]
        if one.stock is None:
            open_orders.add(order)
            continue
        for sku, (place, quantity) in one.stock.items():
            expected[order][sku, place] += quantity
        for sku, quantity in one.scrap.items():
            expected[order][sku, "scrap"] += quantity
    books = shop.sandbox.linnworks.books()
    found: dict[str, Counter] = defaultdict(Counter)
    for row in books["returned"]:
        product = shop.sandbox.world.stock_items.get(row["sku"])
        parts = product.children if product and product.children else ((row["sku"], 1),)
        for sku, each in parts:
            place = names[row["location"]]
            kept = row["quantity"] - row["scrap"]
            if kept:
                found[row["order_id"]][sku, place] += kept * each
            if row["scrap"]:
                found[row["order_id"]][sku, "scrap"] += row["scrap"] * each
    mine = {orders[one.order_reference] for one in told if one.order_reference}
    return [
        f"order {order}: stock {dict(found[order])}, must be {dict(expected[order])}"
        for order in sorted(mine - open_orders)
        if +found[order] != +expected[order]
    ]


def _money(shop: Shop, told: list, orders: dict[str, str]) -> list[str]:
    expected: Counter[str] = Counter()
    open_orders = set()
    for one in told:
        if one.order_reference:
            order = orders[one.order_reference]
            if one.refund_minor is None:
                open_orders.add(order)
            expected[order] += one.refund_minor or 0
    found: Counter[str] = Counter()
    for refund in shop.sandbox.linnworks.books()["refunds"]:
        found[refund["order_id"]] += refund["amount_minor"] * refund["times_sent"]
    return [
        f"order {order}: refunded {found[order]}, must be {expected[order]}"
        for order in sorted(set(expected) - open_orders)
        if found[order] != expected[order]
    ]


def _exchanges(shop: Shop, told: list) -> list[str]:
    expected: Counter[str] = Counter()
    for one in told:
        if one.order_reference:
            expected[one.order_reference] += one.exchange_orders
    found = Counter(row["related_to"] for row in shop.sandbox.linnworks.books()["orders_made"])
    return [
        f"order {reference}: {found[reference]} replacements, must be {expected[reference]}"
        for reference in sorted(expected)
        if found[reference] != expected[reference]
    ]


def open_exceptions(shop: Shop) -> dict[str, set[str]]:
    """The codes that stand open for each unit."""
    query = sa.select(t.exceptions).where(t.exceptions.c.status.in_(("open", "ack", "snoozed")))
    found: dict[str, set[str]] = defaultdict(set)
    for row in shop.rows(query):
        for unit in json.loads(row["unit_keys"]):
            found[unit].add(row["code"])
    return found


def _exceptions(shop: Shop, told: list) -> list[str]:
    standing = open_exceptions(shop)
    problems = []
    for one in told:
        found = standing.get(one.item_id, set())
        missing = set(one.exceptions) - found
        if missing:
            problems.append(
                f"{one.item_id} ({one.case}): {sorted(missing)} not open; {sorted(found)}"
            )
        if one.visible and not found:
            problems.append(f"{one.item_id} ({one.case}): nobody is told")
        settled = one.stock is not None and one.refund_minor is not None
        if settled and not one.visible and not one.exceptions and found:
            problems.append(f"{one.item_id} ({one.case}): {sorted(found)} open, none expected")
    return problems


def _matches(shop: Shop, told: list) -> list[str]:
    rows = {row["unit_key"]: row["row_id"] for row in shop.rows(sa.select(t.matches))}
    return [
        f"{one.item_id} ({one.case}): matched with {rows.get(one.item_id)}, must be {one.row_id}"
        for one in told
        if one.row_id and rows.get(one.item_id) not in {one.row_id, None}
    ]
