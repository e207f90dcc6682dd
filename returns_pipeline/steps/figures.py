"""Figures for people about what a step left in its tables: how many, by what, how much.

Each figure looks at open or recent rows, or asks no more than a bounded number of them, so
that it costs the same after years. The account of a whole run is ``account``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from returns_pipeline.storage import tables as t

# Up to here rows are counted one by one; above, the database's own estimate is given.
_COUNTED = 100_000


@dataclass(frozen=True, slots=True)
class Breakdown:
    """One small table of counts: which columns it counts by, of which rows.

    Args:
        name: What it is called beside the asset.
        source: The table, or tables joined, that is counted.
        columns: To count by.
        where: Which rows; bounded by an index.
        amount: A column of minor units to sum beside the count; ``currency`` is then
            one of ``columns``.
    """

    name: str
    source: sa.FromClause
    columns: tuple[sa.ColumnElement[Any], ...]
    where: tuple[sa.ColumnElement[bool], ...] = ()
    amount: sa.ColumnElement[Any] | None = None

    def rows(self, connection: sa.Connection) -> list[dict[str, Any]]:
        """The table's rows, the largest count first."""
        count = sa.func.count().label("count")
        query: sa.Select[Any] = sa.select(*self.columns, count).select_from(self.source)
        if self.amount is not None:
            query = query.add_columns(sa.func.sum(self.amount).label("amount_minor"))
        query = query.where(*self.where).group_by(*self.columns)
        query = query.order_by(count.desc(), *self.columns)
        return [dict(row._mapping) for row in connection.execute(query)]


def of_open_units(table: sa.Table) -> sa.FromClause:
    """A table's rows beside the returned units they belong to."""
    return table.join(t.return_items, table.c.unit_key == t.return_items.c.unit_key)


def row_count(connection: sa.Connection, table: sa.Table) -> int:
    """How many rows a table has: counted up to a hundred thousand, above that estimated."""
    some = sa.select(sa.literal(1)).select_from(table).limit(_COUNTED + 1).subquery()
    counted = connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
    if counted <= _COUNTED:
        return int(counted)
    if connection.dialect.name == "sqlite":
        estimate = sa.text(f"SELECT max(rowid) FROM {table.name}")
    else:
        estimate = sa.text(
            f"SELECT reltuples::bigint FROM pg_class WHERE oid = '{table.name}'::regclass"
        )
    return max(int(counted), int(connection.execute(estimate).scalar_one()))
