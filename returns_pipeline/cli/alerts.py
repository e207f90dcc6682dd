"""``alerts``: what people were told, and whether the channels work."""

from __future__ import annotations

from typing import Annotated

import typer

from returns_pipeline.cli import session
from returns_pipeline.cli.output import Json, WorkFailed, answering, emit, say, stdout

app = typer.Typer(help="What people are told, and by which channel.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """What people are told, and by which channel."""


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """The last messages, and what became of each.

    \b
    Examples:
      returns-pipeline alerts list
      returns-pipeline alerts list --limit 100 --json
    """
    with answering(as_json), session.for_reading() as (found, engine):
        from returns_pipeline.cli import tables
        from returns_pipeline.steps import alerts
        from returns_pipeline.storage.engine import reading

        with reading(engine) as connection:
            rows = alerts.recent(connection, limit)
        if as_json:
            emit({"messages": rows})
        elif not rows:
            say("nothing was sent yet; without a channel (RETURNS_ALERT_*) alerts are only logged")
        else:
            stdout.print(tables.messages(rows, found.policy.merchant.time_zone))


@app.command("test")
def trial(as_json: Json = False) -> None:
    """Send a trial message to every channel that is set, for every owner.

    \b
    Examples:
      returns-pipeline alerts test
    """
    with answering(as_json):
        from returns_pipeline import settings
        from returns_pipeline.steps import alerts
        from returns_pipeline.steps.runtime import Runtime

        with Runtime(settings.load(vendors=False), run_id="alerts test") as rt:
            outcomes = alerts.trial(rt)
        failed = {name: why for name, why in outcomes.items() if why != "taken"}
        if failed:
            msg = "; ".join(f"{name}: {why}" for name, why in failed.items())
            raise WorkFailed(msg, outcomes=outcomes)
        if as_json:
            emit({"outcomes": outcomes})
        elif not outcomes:
            say(
                "no channel is set: give RETURNS_ALERT_SLACK_WEBHOOK_URL or another RETURNS_ALERT_*"
            )
        else:
            for name in outcomes:
                say(f"{name}: taken")
