"""Many rows at once: COPY and one merge on PostgreSQL, driver tuples on SQLite.

Here: the one upsert every bulk path uses. Not here: which rows (``records``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from itertools import chain, count, islice
from operator import itemgetter
from typing import Any, TypeVar

import sqlalchemy as sa

from returns_pipeline.storage.types import Instant, instant_text

T = TypeVar("T")
_AT_ONCE = 20_000
_LINES = 500  # of a COPY, sent at once
_MANY = 500  # rows; of fewer it is not worth while to look for what they have in common
_A_STATEMENT = 250  # rows


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
        left = part
        if key and len(part) >= _MANY and connection.dialect.name == "postgresql":
            left = _copy_the_new(connection, table, columns, part, key)
        if left:
            _write(connection, table, columns, list(zip(*left, strict=True)), key, update)


def _copy_the_new(
    connection: sa.Connection,
    table: sa.Table,
    columns: Sequence[str],
    rows: list[tuple[Any, ...]],
    key: Sequence[str],
) -> list[tuple[Any, ...]]:
    """Copy the rows whose key is not there, which is cheaper than to merge them; the others."""
    there = _there(connection, table, columns, rows, key)
    new = [row for place, row in enumerate(rows, start=1) if place not in there]
    if not new:
        return rows
    try:
        with connection.begin_nested():
            _write(connection, table, columns, list(zip(*new, strict=True)), (), ())
    except sa.exc.IntegrityError:
        return rows  # one has come in since: now all are merged
    return [row for place, row in enumerate(rows, start=1) if place in there]


def _there(
    connection: sa.Connection,
    table: sa.Table,
    columns: Sequence[str],
    rows: list[tuple[Any, ...]],
    key: Sequence[str],
) -> set[int]:
    """The places, from 1, of the rows whose key is there already."""
    quote = connection.dialect.identifier_preparer.quote
    names = [quote(name) for name in key]
    kinds = [table.c[name].type.compile(connection.dialect) for name in key]
    given = ", ".join(f"CAST(%s AS {kind}[])" for kind in kinds)
    same = " AND ".join(f"found.{name} = told.{name}" for name in names)
    # Each by the index, however many there are: joined, the whole table may be read.
    query = (
        f"SELECT told.place FROM unnest({given}) "
        f"WITH ORDINALITY AS told ({', '.join(names)}, place) CROSS JOIN LATERAL "
        f"(SELECT 1 FROM {quote(table.name)} AS found WHERE {same} LIMIT 1) AS one"
    )
    told = (array_text(row[place] for row in rows) for place in map(columns.index, key))
    return {place for (place,) in connection.exec_driver_sql(query, tuple(told))}


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
    target = quote(table.name)
    tail = _on_conflict([quote(name) for name in key], [quote(name) for name in update])
    # What all rows have in common is made ready, and given to the database, once.
    shared = [False, *map(_is_one, values[1:])]
    order = sorted(range(len(columns)), key=shared.__getitem__)
    names = ", ".join(quote(columns[place]) for place in order)
    ready = _printed if connection.dialect.name == "postgresql" else _bound
    made = [
        ready(table.c[columns[place]].type, values[place][:1] if shared[place] else values[place])
        for place in order
    ]
    varying = shared.count(False)
    rows, common = made[:varying], [column[0] for column in made[varying:]]
    if connection.dialect.name != "postgresql":
        _insert(connection, f"INSERT INTO {target} ({names}) VALUES", rows, common, tail)
    elif key:
        _copy_and_merge(connection, target, names, rows, common, tail)
    else:
        _copy(connection, target, names, rows, common, about=target)


def _is_one(values: Sequence[Any]) -> bool:
    """Whether so many rows have one value that it is worth while to know."""
    if len(values) < _MANY or values[0] != values[-1]:
        return False
    return values.count(values[0]) == len(values)


def _insert(
    connection: sa.Connection, into: str, rows: list[Sequence[Any]], common: list[Any], tail: str
) -> None:
    width = len(rows)
    if len(rows[0]) < _MANY:
        marks = ", ".join("?" * width)
        connection.exec_driver_sql(f"{into} ({marks}){tail}", list(zip(*rows, strict=True)))
        return
    # Most of SQLite's time goes to beginning a statement and binding its values.
    values = chain.from_iterable(zip(*rows, strict=True))
    while part := tuple(islice(values, width * _A_STATEMENT)):
        marks = _marks(len(common), width, len(part) // width)
        connection.exec_driver_sql(f"{into} {marks}{tail}", (*common, *part))


@lru_cache(maxsize=64)
def _marks(common: int, varying: int, rows: int) -> str:
    """Rows of numbered marks: each has its own values and then those that all have."""
    shared = [f"?{number}" for number in range(1, common + 1)]
    own = count(common + 1)
    return ", ".join(
        f"({', '.join([*(f'?{next(own)}' for _ in range(varying)), *shared])})" for _ in range(rows)
    )


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
    if values.count(None) == len(values):
        return [_NULL] * len(values)
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
    rows: list[Sequence[str]],
    common: list[str],
    tail: str,
) -> None:
    # Dropped at the end, since a transaction may fill the same table twice.
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS "
        f"SELECT {names} FROM {target} WITH NO DATA"
    )
    _copy(connection, "incoming", names, rows, common, about=target)
    connection.exec_driver_sql(f"INSERT INTO {target} ({names}) SELECT {names} FROM incoming{tail}")
    connection.exec_driver_sql("DROP TABLE incoming")


def _copy(
    connection: sa.Connection,
    into: str,
    names: str,
    rows: list[Sequence[str]],
    common: list[str],
    *,
    about: str,
) -> None:
    driver: Any = connection.connection.driver_connection
    copying = f"COPY {into} ({names}) FROM STDIN"
    dbapi: Any = connection.dialect.loaded_dbapi
    end = "".join(f"\t{text}" for text in common) + "\n"
    try:
        with driver.cursor() as cursor, cursor.copy(copying) as copy:
            for part in chunks(map("\t".join, zip(*rows, strict=True)), _LINES):
                copy.write(end.join([*part, ""]).encode())
    except dbapi.Error as error:
        error.args = (f"COPY to {about} failed (SQLSTATE {error.sqlstate})",)  # without the value
        raise sa.exc.DBAPIError.instance(copying, None, error, dbapi.Error) from error


def array_text(values: Iterable[Any]) -> str:
    """PostgreSQL's text form of an array: its driver takes many times as long to make one."""
    texts = [str(value) for value in values if value is not None]
    whole = "".join(texts)
    if any(mark in whole for mark in '"\\\0'):
        texts = [text.translate(_ARRAY_ESCAPES) for text in texts]
    return '{"' + '","'.join(texts) + '"}' if texts else "{}"


_ARRAY_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\0": "\ufffd"})


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most ``size``."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
