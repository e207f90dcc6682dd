"""Bringing a database to this program's schema (Alembic), and refusing any other.

The migrations themselves are in ``migrations/versions``.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from returns_pipeline.storage.engine import DatabaseUnusable, named, reading, usable

_HERE = Path(__file__).parent / "migrations"
# Any number will do, as long as every release takes the same one.
_LOCK = 7_214_365_092


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    return config


def upgrade(engine: sa.Engine) -> tuple[str | None, str]:
    """Apply what is missing, all or nothing; gives the version before and after.

    Programs that upgrade the same database at once queue: the later ones find it done.

    Raises:
        DatabaseUnusable: When the database cannot be reached or written, or is not ours.
    """
    head = _head()
    with usable(engine), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        before = MigrationContext.configure(connection).get_current_revision()
        if before is None and (tables := _others(connection)):
            msg = (
                f"the database {named(engine.url)} holds {len(tables)} tables that are not "
                f"this program's (such as {min(tables)}): give it a database of its own"
            )
            raise DatabaseUnusable(msg)
        if before != head:
            _refuse_unknown(engine, before)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    return before, head


def require_current(engine: sa.Engine) -> None:
    """Refuse a database whose schema is not this program's.

    Raises:
        DatabaseUnusable: Naming the remedy.
    """
    head = _head()
    path = engine.url.database if engine.dialect.name == "sqlite" else None
    # Only looking must not leave a file: SQLite makes one of what it opens.
    if path and path != ":memory:" and not path.startswith("file:") and not Path(path).exists():
        msg = f"there is no database {named(engine.url)}: run `returns-pipeline db upgrade`"
        raise DatabaseUnusable(msg)
    with usable(engine), reading(engine) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current != head:
        _refuse_unknown(engine, current)
        state = "has no tables yet" if current is None else f"is at version {current}, not {head}"
        msg = f"the database {named(engine.url)} {state}: run `returns-pipeline db upgrade`"
        raise DatabaseUnusable(msg)


def _head() -> str:
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _others(connection: sa.Connection) -> set[str]:
    return set(sa.inspect(connection).get_table_names()) - {"alembic_version"}


def _refuse_unknown(engine: sa.Engine, version: str | None) -> None:
    script = ScriptDirectory.from_config(_config())
    known = {revision.revision for revision in script.walk_revisions()}
    if version is not None and version not in known:
        msg = (
            f"the database {named(engine.url)} is at version {version}, which this program does "
            "not know: it is another program's, or a newer release's; use that release, or "
            "another database"
        )
        raise DatabaseUnusable(msg)
