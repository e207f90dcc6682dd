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
_LINES = 500  # of a COPY, sent at once


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
    quote = connection.dialect.identifier_preparer.quote
    target, names = quote(table.name), ", ".join(map(quote, columns))
    tail = _on_conflict([quote(name) for name in key], [quote(name) for name in update])
    types = [table.c[name].type for name in columns]
    if connection.dialect.name != "postgresql":
        marks = ", ".join("?" for _ in columns)
        statement = f"INSERT INTO {target} ({names}) VALUES ({marks}){tail}"
        bound = [_bound(*column) for column in zip(types, values, strict=True)]
        connection.exec_driver_sql(statement, list(zip(*bound, strict=True)))
        return
    printed = [_printed(*column) for column in zip(types, values, strict=True)]
    if key:
        _copy_and_merge(connection, target, names, printed, tail)
    else:
        _copy(connection, target, names, printed, about=target)


def _on_conflict(key: Sequence[str], update: Sequence[str]) -> str:
    if not key:
        return ""
    if not update:
        return f" ON CONFLICT ({', '.join(key)}) DO NOTHING"
    assignments = ", ".join(f"{name} = excluded.{name}" for name in update)
    return f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {assignments}"


# The driver is spoken to directly, past SQLAlchemy's type processing and its own: many times
# faster. Values are made ready a column at a time.


def _bound(kind: sa.types.TypeEngine[Any], values: Sequence[Any]) -> Sequence[Any]:
    """A column as SQLite's driver takes it."""
    if isinstance(kind, Instant):
        return _repeated(instant_text, values)
    if isinstance(kind, sa.JSON):
        return _each(json.dumps, values)
    if isinstance(kind, sa.String):
        return _without_nul(values)
    if isinstance(kind, sa.Date):
        return _repeated(date.isoformat, values)
    return values


_NULL = r"\N"
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def _printed(kind: sa.types.TypeEngine[Any], values: Sequence[Any]) -> Sequence[str]:
    """A column in the text form of COPY: two to ten times as fast as the driver's own rows."""
    count = len(values)
    if values.count(None) == count:
        return [_NULL] * count
    if isinstance(kind, Instant):
        texts = _repeated(_instant_printed, values)
    elif isinstance(kind, sa.JSON):
        texts = _escaped(_each(json.dumps, values))
    elif isinstance(kind, sa.String):
        texts = _escaped(_without_nul(values))
    else:
        texts = _each(str, values)  # numbers, flags, days
    return texts if None not in texts else [_NULL if text is None else text for text in texts]


def _instant_printed(at: datetime) -> str:
    instant_text(at)  # raises where it is naive: the session's zone would shift it
    return at.isoformat()


def _each(function: Callable[[Any], Any], values: Sequence[Any]) -> Sequence[Any]:
    return [None if value is None else function(value) for value in values]


def _repeated(function: Callable[[Any], Any], values: Sequence[Any]) -> Sequence[Any]:
    """As ``_each``, for values of which most repeat."""
    found = {value: function(value) for value in set(values) if value is not None}
    return list(map(found.get, values)) if found else values


def _whole(texts: Sequence[str | None]) -> str:
    """All at once, to be looked through in C."""
    return "".join(filter(None, texts))


def _without_nul(texts: Sequence[str | None]) -> Sequence[str | None]:
    if "\x00" not in _whole(texts):
        return texts
    return [text and text.replace("\x00", "\ufffd") for text in texts]


def _escaped(texts: Sequence[str | None]) -> Sequence[str | None]:
    whole = _whole(texts)
    if not any(mark in whole for mark in "\\\t\n\r"):
        return texts
    return [text and text.translate(_ESCAPES) for text in texts]


def _copy_and_merge(
    connection: sa.Connection,
    target: str,
    names: str,
    values: list[Sequence[str]],
    tail: str,
) -> None:
    # Dropped at the end, since a transaction may fill the same table twice.
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS "
        f"SELECT {names} FROM {target} WITH NO DATA"
    )
    _copy(connection, "incoming", names, values, about=target)
    connection.exec_driver_sql(f"INSERT INTO {target} ({names}) SELECT {names} FROM incoming{tail}")
    connection.exec_driver_sql("DROP TABLE incoming")


def _copy(
    connection: sa.Connection,
    into: str,
    names: str,
    values: list[Sequence[str]],
    *,
    about: str,
) -> None:
    driver: Any = connection.connection.driver_connection
    copying = f"COPY {into} ({names}) FROM STDIN"
    dbapi: Any = connection.dialect.loaded_dbapi
    try:
        with driver.cursor() as cursor, cursor.copy(copying) as copy:
            for part in chunks(map("\t".join, zip(*values, strict=True)), _LINES):
                copy.write("\n".join([*part, ""]).encode())
    except dbapi.Error as error:
        error.args = (f"COPY to {about} failed (SQLSTATE {error.sqlstate})",)  # without the value
        raise sa.exc.DBAPIError.instance(copying, None, error, dbapi.Error) from error


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most ``size``."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
