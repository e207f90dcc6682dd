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

from returns_pipeline.storage.engine import DatabaseUnusable

_HERE = Path(__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    return config


def upgrade(engine: sa.Engine) -> tuple[str | None, str]:
    """Apply what is missing; gives the version before and after.

    Raises:
        DatabaseUnusable: When the database cannot be reached or written.
    """
    head = ScriptDirectory.from_config(_config()).get_current_head() or ""
    try:
        with engine.begin() as connection:
            before = MigrationContext.configure(connection).get_current_revision()
            if before != head:
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
    except sa.exc.OperationalError as error:
        raise DatabaseUnusable(_unreachable(engine, error)) from error
    return before, head


def require_current(engine: sa.Engine) -> None:
    """Refuse a database whose schema is not this program's.

    Raises:
        DatabaseUnusable: Naming the remedy.
    """
    head = ScriptDirectory.from_config(_config()).get_current_head()
    try:
        with engine.connect().execution_options(read_only=True) as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    except sa.exc.OperationalError as error:
        raise DatabaseUnusable(_unreachable(engine, error)) from error
    if current != head:
        state = "has no tables yet" if current is None else f"is at version {current}, not {head}"
        msg = f"the database {engine.url.render_as_string()} {state}: run `returns-pipeline db upgrade`"
        raise DatabaseUnusable(msg)


def _unreachable(engine: sa.Engine, error: sa.exc.OperationalError) -> str:
    reason = str(error.orig).strip().splitlines()[0]
    return (
        f"cannot use the database {engine.url.render_as_string()} ({reason}): "
        "check RETURNS_DATABASE_URL and that the server or folder is there"
    )
