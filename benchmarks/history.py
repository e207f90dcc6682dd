"""Years of closed units, made by copying a real one's rows set by set inside the database.

What is copied was written by the pipeline itself (``life``): orders, payloads, units, events,
matches, decisions, adjustments, refunds, postings, intents, attempts, the watch-list. Each
copy gets keys of its own, spread evenly over the key space as random identifiers are, and is
moved back by up to eleven months. Only the bodies of copied payloads are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline.storage.types import Instant

# Counted by days, merchants or policies, not by units.
_ONCE = frozenset(
    {
        *("vendor_locations", "policy_versions", "watermarks", "order_look_ups"),
        *("batches", "batch_lines", "batch_events", "batch_exports", "closed_days", "exceptions"),
        *("period_locks", "users", "user_events"),
    }
)
_KEYS = frozenset(
    {
        *("unit_key", "order_id", "row_id", "parent_row_id", "return_id", "order_key", "key"),
        *("order_number", "reference", "reference_key", "secondary_key", "item_number"),
        *("line_item_id", "adjustment_key", "refund_key", "exchange_key", "posting_key"),
        *(
            "event_key",
            "refund_row_id",
            "intent_key",
            "subject",
            "depends_on",
            "batch_id",
            "express_code",
        ),
    }
)
_NUMBERS = frozenset({"num_id", "rma_row_id", "rma_header_id", "refund_header_id"})
_DAYS = 330
_WATCHED = 60  # days: the packaged return window
_POSITIONS = {
    "derived.orders": ("linnworks.order.v1", "linnworks.order.v2"),
    "derived.returns": ("happy_returns.return", "happy_returns.outbound"),
}


def _silent(_message: str) -> None:
    """Progress nobody watches."""


def multiply(database_url: str, copies: int, progress: Callable[[str], None] = _silent) -> None:
    """Add ``copies`` copies of everything that belongs to a unit."""
    engine = connect(database_url)
    postgresql = engine.dialect.name == "postgresql"
    tables = [table for table in t.metadata.sorted_tables if table.name not in _ONCE]
    if not postgresql:
        # Nothing to lose yet: no journal, no waiting for the disk. One connection, which the
        # pool hands out again.
        _pragmas(engine, "journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF")
        _pragmas(engine, "cache_size=-1000000", "threads=4")
    with engine.connect() as connection:
        if postgresql:
            connection.exec_driver_sql("SET maintenance_work_mem = '1GB'")
            connection.exec_driver_sql("SET synchronous_commit = off")
            connection.exec_driver_sql("SET session_replication_role = replica")  # no foreign keys
            connection.commit()
        parameters = _copies(copies)
        for table in tables:
            key = ", ".join(column.name for column in table.primary_key)
            connection.exec_driver_sql(
                f"CREATE TEMPORARY TABLE base_{table.name} AS "
                f"SELECT * FROM {table.name} ORDER BY {key}"
            )
        for done, table in enumerate(tables):
            progress(f"{copies:,} copies: {table.name} ({done + 1} of {len(tables)} tables)")
            # Their keys do not ascend as the rows do: made afterwards they are sorted, once.
            for index in table.indexes:
                index.drop(connection)
            connection.execute(sa.text(_copy(table, postgresql=postgresql)), parameters)
            for index in table.indexes:
                index.create(connection)
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
        _pragmas(engine, "journal_mode=WAL")
    engine.dispose()


def _pragmas(engine: sa.Engine, *pragmas: str) -> None:
    # Outside a transaction, on the one connection that the pool then hands out again.
    borrowed = engine.raw_connection()
    for pragma in pragmas:
        borrowed.cursor().execute(f"PRAGMA {pragma}")
    borrowed.close()


def _copies(count: int) -> list[dict[str, Any]]:
    step = 2**32 // count
    return [
        {
            # Keys ascend as the rows do, which makes them fast to write; days do not.
            "numbers": (n + 1) * 10_000_000,
            "prefix": f"{n * step:08x}-",
            "days": days,
            "shift": f"-{days} days",
            "is_watched": days < _WATCHED - 10,
        }
        for n in range(count)
        for days in [4 + n * 7919 % _DAYS]
    ]


def _copy(table: sa.Table, *, postgresql: bool) -> str:
    names, values = [], []
    for column in table.columns:
        if column.name == "id":
            continue
        names.append(column.name)
        values.append(_value(column, postgresql=postgresql))
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) "
        f"SELECT {', '.join(values)} FROM base_{table.name}"
    )


def _value(column: sa.Column[object], *, postgresql: bool) -> str:
    name = column.name
    if name in _KEYS:
        prefix = "CAST(:prefix AS text)" if postgresql else ":prefix"
        return f"CASE WHEN {name} = '' THEN '' ELSE {prefix} || {name} END"
    if name in _NUMBERS:
        return f"{name} + :numbers"
    if name == "body":
        return "'{}'"
    if name == "is_active":  # of the watch-list: its window has passed
        return ":is_watched"
    if isinstance(column.type, Instant):
        if postgresql:
            return f"{name} + CAST(:shift AS interval)"
        return f"date({name}, :shift) || substr({name}, 11)"
    if isinstance(column.type, sa.Date):
        return f"{name} - CAST(:days AS integer)" if postgresql else f"date({name}, :shift)"
    return name
