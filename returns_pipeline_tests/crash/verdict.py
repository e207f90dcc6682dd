"""What came of a day that was killed, beside the ground truth and beside a day that was not."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from returns_pipeline.steps import invariants
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.end_to_end.ground_truth import differences
from returns_pipeline_tests.end_to_end.shop import Shop

# What a sync may change although nothing is new: when something was last asked.
_MOVES = {"watermarks": {"value", "updated_at"}, "watch_list": {"due_at", "last_asked_at"}}

_INVARIANTS = (
    invariants.every_return_has_an_order,
    invariants.no_more_returned_than_despatched,
    invariants.every_disposition_has_a_location,
    invariants.no_unit_restocked_twice,
    invariants.sellable_and_damaged_never_share_a_location,
    invariants.no_refund_before_receipt,
    invariants.every_refund_has_its_restock,
    invariants.no_line_refunded_above_its_price,
    invariants.batch_balances,
    invariants.sealed_bytes_are_unchanged,
    invariants.every_posting_is_in_one_batch,
    invariants.every_exchange_has_one_order,
    invariants.no_exchange_before_receipt,
    invariants.uneven_exchange_is_never_free,
    invariants.every_write_is_settled,
)


_OURS = "HAPPYRETURNS"


def vendor_books(books: Mapping[str, Any]) -> dict[str, Any]:
    """Linnworks' books without the numbers that depend on how often something was tried."""
    return {
        "returned": Counter(
            (r["order_id"], r["row_id"], r["sku"], r["location"], r["quantity"], r["scrap"])
            for r in books["returned"]
        ),
        "moved": Counter((m["sku"], m["location"], m["change"]) for m in books["moved"]),
        "levels": dict(books["levels"]),
        "refunds": Counter(
            (r["order_id"], r["amount_minor"], r["currency"], r["times_sent"])
            for r in books["refunds"]
        ),
        # Linnworks numbers the orders of RMA lines by its own count of them.
        "orders": Counter(
            (
                o["reference"] if o["source"] == _OURS else "",
                o["related_to"],
                str([[sku, count, Decimal(price)] for sku, count, price in o["lines"]]),
            )
            for o in books["orders_made"]
        ),
        "open bookings": books["open_bookings"],
    }


def sealed(shop: Shop, journals: Path) -> dict[str, Any]:
    """Every sealed batch: what was hashed, its hash, its lines, the bytes of its files."""
    columns = t.batches.c
    query = sa.select(columns.batch_id, columns.kind, columns.state, columns.hash, columns.body)
    lines = sa.select(t.batch_lines).order_by(t.batch_lines.c.batch_id, t.batch_lines.c.number)
    return {
        "batches": shop.rows(query.order_by(columns.batch_id)),
        "lines": shop.rows(lines),
        "files": {
            path.relative_to(journals).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(journals.rglob("*"))
            if path.is_file()
        },
    }


def against_truth(shop: Shop, at: datetime) -> list[str]:
    """Units, money and replacements, order by order: twice, lost, astray; open bookings."""
    books = shop.sandbox.linnworks.books()
    names = {place.id: place.name for place in shop.sandbox.world.locations}
    numbers = {order.id: order.reference for order in shop.sandbox.world.orders}
    wanted: dict[str, dict[Any, int]] = {
        "units": Counter(),
        "refunds": Counter(),
        "orders": Counter(),
    }
    free: set[str] = set()
    for one in shop.sandbox.world.expected.values():
        order = one.order_reference
        if one.holds_from > at or not order:
            continue
        for sku, (place, quantity) in (one.stock or {}).items():
            wanted["units"][order, sku, place] += quantity
        for sku, quantity in one.scrap.items():
            wanted["units"][order, sku, "scrap"] += quantity
        wanted["refunds"][order] += one.refund_minor or 0
        wanted["orders"][order] += one.exchange_orders
        if one.refund_minor is None:
            free.add(order)
    found: dict[str, dict[Any, int]] = {
        "units": Counter(),
        "refunds": Counter(),
        "orders": Counter(),
    }
    for row in books["returned"]:
        product = shop.sandbox.world.stock_items.get(row["sku"])
        parts = product.children if product and product.children else ((row["sku"], 1),)
        for sku, each in parts:
            order = numbers[row["order_id"]]
            kept = row["quantity"] - row["scrap"]
            found["units"][order, sku, names[row["location"]]] += kept * each
            found["units"][order, sku, "scrap"] += row["scrap"] * each
    for refund in books["refunds"]:
        found["refunds"][numbers[refund["order_id"]]] += (
            refund["amount_minor"] * refund["times_sent"]
        )
    found["orders"].update(Counter(row["related_to"] for row in books["orders_made"]))
    told = [
        f"{what} {key}: {found[what].get(key, 0)}, must be {wanted[what].get(key, 0)}"
        for what in wanted
        for key in sorted({*wanted[what], *found[what]}, key=str)
        if found[what].get(key, 0) != wanted[what].get(key, 0)
        and not (what == "refunds" and key in free)
    ]
    if any(refund["times_sent"] > 1 for refund in books["refunds"]):
        told.append("refunds: money left twice for one refund")
    cases = {one.case for one in shop.sandbox.world.expected.values()}
    told += [text for case in sorted(cases) for text in differences(shop, at, case)]
    return told


def broken_invariants(shop: Shop, at: datetime) -> list[str]:
    """The invariants of production that do not hold; those that only warn included."""
    with shop.run(at) as rt, rt.engine.connect() as connection:
        scope = invariants.Scope(connection, rt.policy, at, settle=rt.settings.settle)
        found = [(ask.__name__, ask(scope)) for ask in _INVARIANTS]
    return [f"{name}: {one.message}" for name, one in found if not one.holds]


def postings_astray(shop: Shop) -> list[str]:
    """Postings in no batch, and batches whose lines are not the sum of their postings."""
    columns, lines = t.postings.c, t.batch_lines.c
    loose = shop.rows(sa.select(columns.posting_key).where(columns.batch_id.is_(None)))
    entered: Counter[Any] = Counter()
    for row in shop.rows(sa.select(columns.batch_id, columns.line_number, columns.amount_minor)):
        entered[row["batch_id"], row["line_number"]] += row["amount_minor"]
    stated: Counter[Any] = Counter()
    for row in shop.rows(sa.select(lines.batch_id, lines.number, lines.amount_minor)):
        stated[row["batch_id"], row["number"]] += row["amount_minor"]
    told = [f"posting {row['posting_key']} is in no batch" for row in loose]
    told += [
        f"batch line {key}: {stated.get(key, 0)}, its postings {entered.get(key, 0)}"
        for key in sorted({*stated, *entered}, key=str)
        if key[0] is not None and stated.get(key, 0) != entered.get(key, 0)
    ]
    return told


def all_rows(shop: Shop) -> dict[str, Counter[str]]:
    """Every row of every table, to see whether a sync changed one."""
    found: dict[str, Counter[str]] = {}
    engine = connect(shop.url)
    with engine.connect() as connection:
        for table in t.metadata.sorted_tables:
            left_out = _MOVES.get(table.name, set())
            wanted = [column for column in table.c if column.name not in left_out]
            found[table.name] = Counter(map(repr, connection.execute(sa.select(*wanted))))
    engine.dispose()
    return found


def changed(before: Mapping[str, Counter[str]], after: Mapping[str, Counter[str]]) -> list[str]:
    """The tables of which rows were changed, added or removed."""
    return [
        f"a further sync changed {name}: {dict(after[name] - before.get(name, Counter()))}"[:400]
        for name in sorted(after)
        if after[name] != before.get(name, Counter())
    ]
