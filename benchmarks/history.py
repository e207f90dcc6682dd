"""Years of closed units, made by copying a real one's rows set by set inside the database.

What is copied was written by the pipeline itself (``life``): orders, payloads, units, events,
matches, decisions, adjustments, refunds, postings, intents, attempts, the watch-list. Each
copy gets keys of its own, spread evenly over the key space as random identifiers are, and is
moved back by up to eleven months. Only the bodies of copied payloads are left out.
"""

from __future__ import annotations

import sqlalchemy as sa

from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline.storage.types import Instant

# Counted by days, merchants or policies, not by units.
_ONCE = frozenset(
    {
        *("vendor_locations", "policy_versions", "watermarks", "order_look_ups"),
        *("batches", "batch_lines", "closed_days", "exceptions"),
    }
)
_KEYS = frozenset(
    {
        *("unit_key", "order_id", "row_id", "parent_row_id", "return_id", "order_key", "key"),
        *("order_number", "reference", "reference_key", "secondary_key", "item_number"),
        *("line_item_id", "adjustment_key", "refund_key", "exchange_key", "posting_key"),
        *("refund_row_id", "intent_key", "subject", "depends_on", "batch_id", "express_code"),
    }
)
_NUMBERS = frozenset({"num_id", "rma_row_id", "rma_header_id", "refund_header_id"})
_DAYS = 330
_WATCHED = 60  # days: the packaged return window
_AT_ONCE = 25  # copies a statement
_POSITIONS = {
    "derived.orders": ("linnworks.order.v1", "linnworks.order.v2"),
    "derived.returns": ("happy_returns.return", "happy_returns.outbound"),
}


def multiply(database_url: str, copies: int) -> None:
    """Add ``copies`` copies of everything that belongs to a unit."""
    engine = connect(database_url)
    postgresql = engine.dialect.name == "postgresql"
    tables = [table for table in t.metadata.sorted_tables if table.name not in _ONCE]
    if not postgresql:
        _pragmas(engine, "synchronous=OFF", "cache_size=-1000000")
    with engine.connect() as connection:
        _base(connection, tables, copies)
        for table in tables:
            for first in range(0, copies, _AT_ONCE):
                statement = _copy(table, postgresql=postgresql)
                connection.execute(
                    sa.text(statement), {"first": first, "last": first + _AT_ONCE - 1}
                )
            connection.commit()
        newest = sa.select(sa.func.max(t.raw_payloads.c.id)).scalar_subquery()
        connection.execute(
            sa.update(t.watermarks)
            .where(t.watermarks.c.name.in_(_POSITIONS))
            .values(position=newest)
        )
        connection.commit()
    if postgresql:
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")
    else:
        _pragmas(engine, "wal_checkpoint(TRUNCATE)")
    engine.dispose()


def _pragmas(engine: sa.Engine, *pragmas: str) -> None:
    # Outside a transaction, on the one connection that the pool then hands out again.
    borrowed = engine.raw_connection()
    for pragma in pragmas:
        borrowed.cursor().execute(f"PRAGMA {pragma}")
    borrowed.close()


def _base(connection: sa.Connection, tables: list[sa.Table], copies: int) -> None:
    for table in tables:
        connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE base_{table.name} AS SELECT * FROM {table.name}"
        )
    connection.exec_driver_sql(
        "CREATE TEMPORARY TABLE copies (n BIGINT, prefix TEXT, days INTEGER)"
    )
    step = 2**32 // copies
    connection.execute(
        sa.text("INSERT INTO copies VALUES (:n, :prefix, :days)"),
        [
            # Keys ascend as the rows do, which makes them fast to write; days do not.
            {"n": n, "prefix": f"{n * step:08x}-", "days": 4 + n * 7919 % _DAYS}
            for n in range(copies)
        ],
    )
    connection.commit()


def _copy(table: sa.Table, *, postgresql: bool) -> str:
    names, values = [], []
    for column in table.columns:
        if column.name == "id":
            continue
        names.append(column.name)
        values.append(_value(column, postgresql=postgresql))
    order = f", b.{next(iter(table.primary_key)).name}"
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {', '.join(values)} "
        f"FROM copies c CROSS JOIN base_{table.name} b "
        f"WHERE c.n BETWEEN :first AND :last ORDER BY c.n{order}"
    )


def _value(column: sa.Column[object], *, postgresql: bool) -> str:
    name = f"b.{column.name}"
    if column.name in _KEYS:
        return f"CASE WHEN {name} = '' THEN '' ELSE c.prefix || {name} END"
    if column.name in _NUMBERS:
        return f"{name} + (c.n + 1) * 10000000"
    if column.name == "body":
        return "'{}'"
    if column.name == "is_active":  # of the watch-list: its window has passed
        return f"c.days < {_WATCHED - 10}"
    if isinstance(column.type, Instant):
        if postgresql:
            return f"{name} - c.days * interval '1 day'"
        shifted = f"{name}, '-' || c.days || ' days'"
        return f"strftime('%Y-%m-%dT%H:%M:%f', {shifted}) || '000Z'"
    if isinstance(column.type, sa.Date):
        return f"{name} - c.days" if postgresql else f"date({name}, '-' || c.days || ' days')"
    return name
