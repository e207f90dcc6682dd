"""Opening the pipeline's database, and one transaction at a time over it.

Here: connection settings that the promises rest on. SQLite: WAL, ``synchronous=FULL``
(with NORMAL a committed intent may be lost at power loss), and write transactions that
begin IMMEDIATE, so that two writers queue instead of failing at the upgrade. PostgreSQL:
its defaults, ``synchronous_commit=on`` among them, and an end to waiting for a lock. Here
also what a driver says when the database itself fails: it becomes an error with a remedy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

BUSY_MS = 30_000
"""How long a writer waits for another before it gives up."""

# What the drivers say, in part, and what to do about it.
_REMEDIES = (
    ("locked", "another program holds it: let it end, then run this again"),
    ("lock timeout", "another program holds a table: let it end, then run this again"),
    ("deadlock detected", "another program wrote the same rows: run this again"),
    ("readonly", "make the file and its folder writable for this user"),
    ("read-only", "make the database writable for this user"),
    ("not a database", "the file is something else: name another one in RETURNS_DATABASE_URL"),
    ("permission denied", "let the user create tables there, or name another one"),
    ("disk is full", "make room on the disk"),
    ("No space left", "make room on the disk"),
    ("disk I/O error", "look at the disk and its system's log"),
    ("malformed", "restore the last backup (docs/runbook.md)"),
    ("shutting down", "it is being stopped: run this again when it is back"),
    ("starting up", "it is being started: run this again in a moment"),
    ("recovery mode", "it is being started: run this again in a moment"),
    ("too many clients", "give it more connections, or let other programs end"),
)
_USUAL = "check RETURNS_DATABASE_URL and that the server or folder is there"


class DatabaseUnusable(Exception):  # noqa: N818 - it says what is the case
    """The database cannot be used as it is; the message names the remedy, never a secret."""


class DatabaseInterrupted(DatabaseUnusable):
    """The database failed in the middle of the work; the message names the remedy.

    Nothing is half done: what was not committed is undone, and the next run finishes the
    same work. Of a commit whose answer was lost it is not known whether it was; the next
    run sees what is there.
    """


def connect(url: str) -> sa.Engine:
    """An engine for the URL. The folder of an SQLite file is made.

    Raises:
        DatabaseUnusable: When the URL names no database this program can use.
    """
    parsed = _parsed(url)
    # Bound values may be personal or secret: they never enter an error's text.
    if parsed.get_backend_name() == "postgresql":
        engine = sa.create_engine(parsed, hide_parameters=True, pool_pre_ping=True)
        event.listen(engine, "connect", _wait_no_longer)
        event.listen(engine, "handle_error", _without_values)
        event.listen(engine, "handle_error", _with_a_remedy)
        return engine
    path = parsed.database
    if path and path != ":memory:" and not path.startswith("file:"):
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"cannot make the folder of {path} ({error.strerror}): {_USUAL}"
            raise DatabaseUnusable(msg) from error
    engine = sa.create_engine(parsed, hide_parameters=True, json_deserializer=_document)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _with_a_remedy)
    return engine


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except (sa.exc.ArgumentError, ValueError):
        backend, parsed = "", None
    if parsed is None or backend not in {"sqlite", "postgresql"}:
        msg = (
            "RETURNS_DATABASE_URL is not a database this program can use: give "
            "sqlite:///path/to/file.db or postgresql://user:password@host/name"
        )
        raise DatabaseUnusable(msg)
    if "@" in (parsed.host or ""):
        # The rest of the password is read as the host, which errors would print.
        msg = "RETURNS_DATABASE_URL: write an @ in the password as %40 (and / as %2F, : as %3A)"
        raise DatabaseUnusable(msg)
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")  # the driver that has COPY
    return parsed


def named(url: sa.URL) -> str:
    """A database's name for messages: neither user nor password nor options."""
    if url.get_backend_name() == "sqlite":
        return f"{url.database}"
    return f"{url.database} on {url.host or 'the local socket'}"


@contextmanager
def usable(engine: sa.Engine) -> Iterator[None]:
    """Turn the driver's complaints about the database as a whole into a reason and a remedy.

    Raises:
        DatabaseUnusable: When it cannot be reached, read or written.
    """
    try:
        yield
    except sa.exc.DatabaseError as error:
        unusable = _unusable(engine, error)
        if unusable is None:
            raise  # a statement is wrong, not the database
        raise unusable from error


def _unusable(engine: sa.Engine, error: sa.exc.DBAPIError) -> DatabaseUnusable | None:
    reason, remedy = _reason_and_remedy(error.orig)
    if not remedy and not isinstance(error, sa.exc.OperationalError):
        return None
    msg = f"cannot use the database {named(engine.url)} ({reason}): {remedy or _USUAL}"
    return DatabaseUnusable(msg)


def _reason_and_remedy(said: BaseException | None) -> tuple[str, str]:
    reason = (str(said).strip().splitlines() or ["no reason given"])[0]
    return reason, next((what for sign, what in _REMEDIES if sign in reason), "")


def _with_a_remedy(context: sa.engine.ExceptionContext) -> DatabaseUnusable | None:
    """Name what a person can do where the database as a whole failed, not a statement."""
    engine, error = context.engine, context.sqlalchemy_exception
    if engine is None or not isinstance(error, sa.exc.DBAPIError) or context.is_pre_ping:
        return None
    if context.connection is None:
        return _unusable(engine, error)
    reason, remedy = _reason_and_remedy(context.original_exception)
    if context.is_disconnect:
        remedy = remedy or "the connection was lost: run this again when the server is back"
    if not remedy:
        return None
    msg = f"the database {named(engine.url)} failed in the middle of the work ({reason}): "
    return DatabaseInterrupted(f"{msg}{remedy}. Nothing is half done.")


def _wait_no_longer(connection: Any, _record: object) -> None:
    # Without it PostgreSQL waits for a lock for ever.
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {BUSY_MS}")
    connection.commit()


def _document(text: str) -> Any:
    # PostgreSQL stores no half of a document. SQLite does, and one must not keep the whole
    # table from being read: it is given as it is, for whoever reads it to refuse.
    try:
        return json.loads(text)
    except ValueError:
        return text


def _without_values(context: sa.engine.ExceptionContext) -> None:
    # PostgreSQL's detail is the failing row, and a wrong value stands in the message.
    said: Any = context.original_exception
    diagnosis = getattr(said, "diag", None)
    if diagnosis is None or not diagnosis.message_primary:
        return
    about = f"{diagnosis.schema_name or ''}.{diagnosis.table_name or ''}".strip(".")
    text = diagnosis.message_primary
    if (diagnosis.sqlstate or "").startswith("22"):  # data exceptions
        text = f"SQLSTATE {diagnosis.sqlstate} {about}".strip()
    said.args = (text,)
    if context.sqlalchemy_exception is not None:
        kind = f"{type(said).__module__}.{type(said).__name__}"
        context.sqlalchemy_exception.args = (f"({kind}) {text}",)


def _configure(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: _begin does.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-65536",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that only reads and never makes a writer wait."""
    with engine.connect().execution_options(read_only=True) as connection:
        yield connection


def in_order_of_an_index(connection: sa.Connection) -> None:
    """Let this transaction's statements find their order in an index, not by sorting.

    PostgreSQL knows nothing yet of a table that was just filled: for a part of it, it would
    read and sort the whole, each time.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL enable_sort = off")
