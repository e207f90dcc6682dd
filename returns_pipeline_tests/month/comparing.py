"""Two months side by side, and one month's books against its units: every difference in words."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from returns_pipeline.storage import tables as t
from returns_pipeline_tests.finance.books import Books
from returns_pipeline_tests.month import goods

KEPT = (
    t.batches,
    t.batch_lines,
    t.postings,
    t.batch_events,
    t.batch_exports,
    t.refunds_due,
    t.stock_adjustments,
    t.period_locks,
    t.closed_days,
)
"""What closing, sending, exporting and correcting write."""
_SHOWN = 5
_TENDERS = {
    "refund": "refund_clearing",
    "store_credit": "store_credit_liability",
    "exchange": "exchange_clearing",
}


def sealed(books: Books) -> dict[str, bytes]:
    """Every batch's sealed bytes by its id."""
    return {key: row.body.encode() for key, row in books.batches().items()}


def files(folder: Path) -> dict[str, bytes]:
    """Every file in a folder by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows(books: Books) -> dict[str, bytes]:
    """Everything finance keeps, a digest a table."""
    found = {}
    for table in KEPT:
        digest = hashlib.sha256()
        for row in books.rows(sa.select(table).order_by(*table.primary_key)):
            digest.update(repr(tuple(row)).encode())
        found[f"table {table.name}"] = digest.digest()
    return found


def differing(what: str, one: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    """Where two sets of bytes differ, by name and place."""
    told = []
    for name in sorted({*one, *other}):
        if name not in one or name not in other:
            where = "the second" if name in one else "the first"
            told.append(f"{what}: {name} is missing in {where}")
        elif one[name] != other[name]:
            pairs = zip(one[name], other[name], strict=False)
            place = next(
                (at for at, (a, b) in enumerate(pairs) if a != b),
                min(len(one[name]), len(other[name])),
            )
            told.append(f"{what}: {name} differs at byte {place}")
    return _shortened(told)


def _shortened(told: list[str]) -> list[str]:
    more = len(told) - _SHOWN
    return told if more <= 0 else [*told[:_SHOWN], f"... and {more} more"]


# --- the books against the units ----------------------------------------------------

Sums = dict[tuple[str, ...], int]


def by_order(books: Books, found: list[goods.Piece]) -> Sums:
    """Debit less credit of everything sealed, by order, role, account, tax key and currency."""
    of_order = {f"unit-{piece.number:08d}": str(piece.of_order) for piece in found}
    total: Counter[tuple[str, ...]] = Counter()
    for unit, key, minor in _per_unit(books):
        total[(of_order[unit], *key)] += minor
    return {key: minor for key, minor in total.items() if minor}


def _per_unit(books: Books) -> list[tuple[str, tuple[str, ...], int]]:
    entry = t.postings.c
    signed = sa.case((entry.side == "debit", entry.amount_minor), else_=-entry.amount_minor)
    keys = (entry.role, entry.account, entry.tax_key, entry.currency)
    query = (
        sa.select(entry.unit_key, *keys, sa.func.sum(signed))
        .where(entry.batch_id.is_not(None))
        .group_by(entry.unit_key, *keys)
    )
    return [(unit, tuple(key), int(minor)) for unit, *key, minor in books.rows(query)]


def unlike(late: Sums, in_time: Sums) -> list[str]:
    """Orders whose corrected books are not what they would be, had all come in time."""
    told = [
        f"order {key[0]}, {' '.join(filter(None, key[1:]))}: {late.get(key, 0)} as it came and "
        f"was corrected, {in_time.get(key, 0)} had it come in time"
        for key in sorted({*late, *in_time})
        if late.get(key, 0) != in_time.get(key, 0)
    ]
    return _shortened(told)


def unconserved(books: Books) -> list[str]:
    """Units whose batches do not come to their state, lines that are not their units' sum."""
    told = _lines_and_postings(books)
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    balance: Counter[tuple[str, str]] = Counter()
    for unit, (role, _, _, currency), minor in _per_unit(books):
        sums[unit][role.partition(".")[0]] += minor
        balance[unit, currency] += minor
    told += [f"{unit}: {minor} {code} out of balance" for (unit, code), minor in balance.items()
             if minor]  # fmt: skip
    moved = {row.unit_key: row for row in books.rows(sa.select(t.stock_adjustments))}
    cost = {
        row.row_id: row.unit_cost_minor or 0
        for row in books.rows(sa.select(t.order_lines.c.row_id, t.order_lines.c.unit_cost_minor))
    }
    for due in books.rows(sa.select(t.refunds_due)):
        told += _unlike_its_state(due, moved.get(due.unit_key), sums[due.unit_key], cost)
    waiting = sa.select(sa.func.count()).where(t.postings.c.batch_id.is_(None))
    left = books.rows(waiting)[0][0]
    if left:
        told.append(f"{left} postings are in no batch")
    return _shortened(told)


def _unlike_its_state(
    due: Any, moved: Any, booked: Counter[str], cost: Mapping[str, int]
) -> list[str]:
    """What was paid, by its tender; what came back, at its cost; what is on its way."""
    found = []
    if due.state not in {"actioned", "recorded"}:
        found.append(f"its refund is {due.state}")
    tender = _TENDERS[due.tender]
    expected = dict.fromkeys(_TENDERS.values(), 0) | {tender: -due.amount_minor}
    whole = cost.get(due.row_id, 0)
    is_here = moved is not None and moved.state == "posted"
    expected["cogs_returns"] = -whole if is_here else booked["cogs_returns"]
    in_stock = booked["inventory"] + booked["returns_writeoff"]
    if in_stock != (whole if is_here else 0):
        found.append(f"{in_stock} of cost in stock, its unit cost is {whole}")
    on_its_way = booked["returned_goods_in_transit"]
    if on_its_way != (0 if is_here else -booked["cogs_returns"]):
        found.append(f"{on_its_way} of cost in transit")
    found += [
        f"{booked[role]} on {role}, owed {minor}"
        for role, minor in expected.items()
        if booked[role] != minor
    ]
    return [f"{due.unit_key}: {one}" for one in found]


def _lines_and_postings(books: Books) -> list[str]:
    """Each line of each batch is the sum of the postings behind it."""
    entry, line = t.postings.c, t.batch_lines.c
    total = (
        sa.select(
            entry.batch_id,
            entry.line_number,
            sa.func.sum(entry.amount_minor).label("minor"),
            sa.func.sum(sa.func.coalesce(entry.base_minor, 0)).label("base"),
        )
        .where(entry.batch_id.is_not(None))
        .group_by(entry.batch_id, entry.line_number)
    )
    behind = {(r.batch_id, r.line_number): (int(r.minor), int(r.base)) for r in books.rows(total)}
    stood = sa.select(line.batch_id, line.number, line.amount_minor, line.base_minor)
    told = []
    for row in books.rows(stood):
        expected = behind.pop((row.batch_id, row.number), (0, 0))
        if (row.amount_minor, row.base_minor or 0) != expected:
            told.append(
                f"{row.batch_id} line {row.number}: {row.amount_minor}, its units {expected[0]}"
            )
    return told + [f"{batch} has no line {number}" for batch, number in behind]
