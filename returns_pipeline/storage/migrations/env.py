"""Alembic's entry: runs the versions on the caller's connection, in its transaction.

Not here: which database and whether it is ours (``storage.migrate``). There is no offline
mode and no URL of its own, so that nothing reaches a database past those checks.
"""

from __future__ import annotations

from alembic import context

from returns_pipeline.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
