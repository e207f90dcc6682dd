"""``db``: the schema of the pipeline's database."""

from __future__ import annotations

import typer

from returns_pipeline import settings
from returns_pipeline.cli.output import Json, answering, emit, say

app = typer.Typer(help="The pipeline's database.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The pipeline's database."""


@app.command()
def upgrade(as_json: Json = False) -> None:
    """Bring the database of RETURNS_DATABASE_URL to this program's schema.

    Safe to repeat: a database that is up to date is left alone.

    \b
    Examples:
      returns-pipeline db upgrade
      RETURNS_DATABASE_URL=postgresql://user@host/returns returns-pipeline db upgrade
    """
    with answering(as_json):
        from returns_pipeline.storage import migrate
        from returns_pipeline.storage.engine import connect

        found = settings.load(vendors=False)
        engine = connect(found.database_url)
        before, after = migrate.upgrade(engine)
        place = engine.url.render_as_string(hide_password=True)
        engine.dispose()
        if before == after:
            say(f"{place} is up to date, at version {after}")
        else:
            say(f"{place} brought from {before or 'nothing'} to version {after}")
        if as_json:
            emit({"database": place, "before": before, "after": after})
