"""Opening the pipeline's database, and one transaction at a time over it.

Here: connection settings that the promises rest on. SQLite: WAL, ``synchronous=FULL``
(with NORMAL a committed intent may be lost at power loss), and write transactions that
begin IMMEDIATE, so that two writers queue instead of failing at the upgrade. PostgreSQL:
its defaults, ``synchronous_commit=on`` among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event


class DatabaseUnusable(Exception):
    """The database cannot be used as it is; the message names the remedy."""


def connect(url: str) -> sa.Engine:
    """An engine for the URL. The folder of an SQLite file is made."""
    # Bound values may be personal or secret: they never enter an error's text.
    if not url.startswith("sqlite"):
        return sa.create_engine(url, hide_parameters=True, pool_pre_ping=True)
    path = sa.make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, hide_parameters=True)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: _begin does.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "busy_timeout=30000",
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
