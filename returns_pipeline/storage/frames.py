"""Tables as data frames, for checks and reports; never on the path that moves anything.

pandas is imported when a frame is first read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from returns_pipeline.schemas.declared import TABLES
from returns_pipeline.schemas.fields import Field, Kind
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.types import Instant, Select

if TYPE_CHECKING:
    import pandas as pd

RECENT = 50_000
"""How many rows a check looks at: weeks of a large merchant's work, half a second's."""

_AT_ONCE = 1000

# Tables without a row number of their own: which of their rows belong to the newest rows
# of another. A table named in neither way is read by its key, which grows with the days.
_NEWEST_OF = {
    "orders": ("order_id", t.raw_payloads.c.key),
    "order_lines": ("order_id", t.raw_payloads.c.key),
    "returns": ("return_id", t.return_items.c.return_id),
    "gates": ("unit_key", t.return_items.c.unit_key),
    "watch_list": ("order_key", t.return_items.c.order_key),
    "order_look_ups": ("order_key", t.return_items.c.order_key),
}


def read(
    connection: sa.Connection,
    table: sa.Table,
    *,
    where: sa.ColumnElement[bool] | None = None,
    limit: int | None = None,
) -> pd.DataFrame:
    """A table's rows in the order of its key, with the types its schema declares.

    Instants are ``datetime64[us, UTC]``, days their midnight as ``datetime64[us]``, whole
    numbers that may be missing ``Int64``, JSON its text. A value that does not fit its
    type leaves the column as ``object``, for the schema to find.

    Args:
        connection: Where to read.
        table: One of ``storage.tables``.
        where: Which rows; all of them if not given.
        limit: At most this many: those last in the order of the key.
    """
    import pandas as pd  # noqa: PLC0415 - see above

    fields = TABLES[table.name].fields
    order = [column.desc() for column in table.primary_key]
    query: Select = sa.select(*(_raw(column) for column in table.columns)).order_by(*order)
    if where is not None:
        query = query.where(where)
    if limit is not None:
        query = query.limit(limit)
    columns: dict[str, list[Any]] = {column.name: [] for column in table.columns}
    for rows in connection.execute(query).partitions(_AT_ONCE):
        for values, more in zip(columns.values(), zip(*rows, strict=True), strict=True):
            values.extend(more)
    series = {}
    for name in list(columns):
        values = columns.pop(name)  # what is made of it needs as much again
        values.reverse()
        series[name] = _series(values, fields[name])
    return pd.DataFrame(series, copy=False)


def changed(
    connection: sa.Connection, table: sa.Table, *, rows: int = RECENT, since_id: int = 0
) -> pd.DataFrame:
    """The newest rows of a table, which is all a check of every tick looks at.

    Of a table that numbers its rows the last ``rows``, and none up to ``since_id``; of
    the others those that belong to the last ``rows`` payloads or units, or the last by key.
    """
    where = None
    if "id" in table.c:
        where = table.c.id > since_id
    elif table.name in _NEWEST_OF:
        name, source = _NEWEST_OF[table.name]
        ids = source.table.c.id
        newest = sa.select(sa.func.coalesce(sa.func.max(ids), 0) - rows).scalar_subquery()
        where = table.c[name].in_(sa.select(source).where(ids > newest))
    return read(connection, table, where=where, limit=rows)


def columns(table: sa.Table) -> list[tuple[str, str, str]]:
    """Each column's name, its type, and what it means, whether it may be missing included."""
    fields = TABLES[table.name].fields
    return [
        (
            column.name,
            str(fields[column.name].kind),
            fields[column.name].about + ("; may be missing" if column.nullable else ""),
        )
        for column in table.columns
    ]


def _raw(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    # As the driver gives it: what is to be converted is converted by the column, instants
    # from their text, which is cheaper than the driver's objects.
    if isinstance(column.type, sa.JSON | Instant):
        return sa.cast(column, sa.Text).label(column.name)
    return sa.type_coerce(column, sa.types.NullType()).label(column.name)


def _series(values: list[Any], field: Field) -> pd.Series[Any]:
    import pandas as pd  # noqa: PLC0415 - see above

    from returns_pipeline.schemas.contracts import dtype  # noqa: PLC0415 - see above

    if len(values) > 1 and values[0] == values[-1] and values.count(values[0]) == len(values):
        return pd.Series(_series(values[:1], field).array.repeat(len(values)))
    kind = dtype(field)
    given: pd.Series[Any] = pd.Series(values, dtype="object")
    try:
        if field.kind is Kind.INSTANT:
            return _each_once(
                lambda told: pd.to_datetime(told, utc=True, format="ISO8601"), given, kind
            )
        if field.kind is Kind.DAY:
            return _each_once(pd.to_datetime, given, kind)
        if field.kind is Kind.FLAG and not given.isin([0, 1]).all():
            return given  # as a boolean anything would be true
        return given.astype(kind)
    except (TypeError, ValueError):
        return given


def _each_once(read: Callable[[Any], Any], given: pd.Series[Any], kind: Any) -> pd.Series[Any]:
    """Read values of which most repeat."""
    import pandas as pd  # noqa: PLC0415 - see above

    places, told = pd.factorize(given.to_numpy())
    found = pd.Series(read(pd.Series(told, dtype="object"))).astype(kind).array
    return pd.Series(found.take(places, allow_fill=True))
