"""Many rows at once: COPY and one merge on PostgreSQL, driver tuples on SQLite.

Here: the one upsert every bulk path uses. Not here: which rows (``records``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import islice
from operator import itemgetter
from typing import Any, TypeVar

import sqlalchemy as sa

from returns_pipeline.storage.types import Instant, instant_text

T = TypeVar("T")
_AT_ONCE = 20_000


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    columns: Sequence[str],
    rows: Collection[tuple[Any, ...]],
    *,
    key: Sequence[str] = (),
    update: Sequence[str] | None = None,
) -> None:
    """Write rows, updating those whose key is there already.

    Args:
        connection: Inside the caller's transaction.
        table: The table.
        columns: The names of the values in each row.
        rows: Tuples in the order of ``columns``; instants aware. Of several with one key
            the last counts. A NUL in a text, which PostgreSQL cannot store, becomes U+FFFD
            on both databases: one such row must not stop the others.
        key: The columns of the unique key; none: plain insert.
        update: The columns an existing row takes from the new one: ``None`` for all but
            the key, empty to leave it as it is.

    Raises:
        ValueError: When an instant is naive.
    """
    if not rows:
        return
    if key:
        key_of = itemgetter(*map(columns.index, key))
        latest = dict(zip(map(key_of, rows), rows, strict=True))
        rows = rows if len(latest) == len(rows) else latest.values()
    if update is None:
        update = [name for name in columns if name not in key]
    for part in chunks(rows, _AT_ONCE):  # each is copied more than once on its way
        _write(connection, table, columns, list(zip(*part, strict=True)), key, update)


def insert(
    connection: sa.Connection, table: sa.Table, columns: Mapping[str, Sequence[Any]]
) -> None:
    """Write rows that are not there yet, given as columns of one length.

    Args:
        connection: Inside the caller's transaction.
        table: The table.
        columns: The values by the column's name, as ``upsert`` takes them.

    Raises:
        ValueError: When an instant is naive.
    """
    if any(map(len, columns.values())):
        _write(connection, table, tuple(columns), list(columns.values()), (), ())


def _write(
    connection: sa.Connection,
    table: sa.Table,
    columns: Sequence[str],
    values: list[Sequence[Any]],
    key: Sequence[str],
    update: Sequence[str],
) -> None:
    postgresql = connection.dialect.name == "postgresql"
    quote = connection.dialect.identifier_preparer.quote
    target, names = quote(table.name), ", ".join(map(quote, columns))
    rows = _driver_rows(table, columns, values, postgresql=postgresql)
    tail = _on_conflict([quote(name) for name in key], [quote(name) for name in update])
    if not postgresql:
        marks = ", ".join("?" for _ in columns)
        statement = f"INSERT INTO {target} ({names}) VALUES ({marks}){tail}"
        connection.exec_driver_sql(statement, list(rows))
    elif key:
        _copy_and_merge(connection, target, names, rows, tail)
    else:
        _copy(connection, target, names, rows, about=target)


def _on_conflict(key: Sequence[str], update: Sequence[str]) -> str:
    if not key:
        return ""
    if not update:
        return f" ON CONFLICT ({', '.join(key)}) DO NOTHING"
    assignments = ", ".join(f"{name} = excluded.{name}" for name in update)
    return f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {assignments}"


def _driver_rows(
    table: sa.Table,
    columns: Sequence[str],
    values: list[Sequence[Any]],
    *,
    postgresql: bool,
) -> Iterator[tuple[Any, ...]]:
    # The driver is spoken to directly, past SQLAlchemy's type processing: 2 to 3 times
    # faster. Some types need a hand, a column at a time.
    for place, name in enumerate(columns):
        kind = table.c[name].type
        if isinstance(kind, Instant):
            values[place] = (
                _aware(values[place]) if postgresql else _each(instant_text, values[place])
            )
        elif isinstance(kind, sa.JSON):
            values[place] = _each(json.dumps, values[place])
        elif isinstance(kind, sa.String):
            values[place] = _without_nul(values[place])
        elif isinstance(kind, sa.Date) and not postgresql:
            values[place] = _each(date.isoformat, values[place])
    return zip(*values, strict=True)


def _each(function: Callable[[Any], Any], values: Sequence[Any]) -> Sequence[Any]:
    return [None if value is None else function(value) for value in values]


def _aware(instants: Sequence[datetime | None]) -> Sequence[datetime | None]:
    for at in instants:
        if at is not None and at.tzinfo is None:
            instant_text(at)  # raises: the session's zone would shift it
    return instants


def _without_nul(texts: Sequence[str | None]) -> Sequence[str | None]:
    if "\x00" not in "".join(filter(None, texts)):  # of all at once: one pass in C
        return texts
    return [text and text.replace("\x00", "\ufffd") for text in texts]


def _copy_and_merge(
    connection: sa.Connection,
    target: str,
    names: str,
    rows: Iterable[tuple[Any, ...]],
    tail: str,
) -> None:
    # Dropped at the end, since a transaction may fill the same table twice.
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS "
        f"SELECT {names} FROM {target} WITH NO DATA"
    )
    _copy(connection, "incoming", names, rows, about=target)
    connection.exec_driver_sql(f"INSERT INTO {target} ({names}) SELECT {names} FROM incoming{tail}")
    connection.exec_driver_sql("DROP TABLE incoming")


def _copy(
    connection: sa.Connection,
    into: str,
    names: str,
    rows: Iterable[tuple[Any, ...]],
    *,
    about: str,
) -> None:
    driver: Any = connection.connection.driver_connection
    copying = f"COPY {into} ({names}) FROM STDIN"
    dbapi: Any = connection.dialect.loaded_dbapi
    try:
        with driver.cursor() as cursor, cursor.copy(copying) as copy:
            for row in rows:
                copy.write_row(row)
    except dbapi.Error as error:
        error.args = (f"COPY to {about} failed (SQLSTATE {error.sqlstate})",)  # without the value
        raise sa.exc.DBAPIError.instance(copying, None, error, dbapi.Error) from error


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most ``size``."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
