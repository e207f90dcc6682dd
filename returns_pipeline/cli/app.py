"""The tree of commands."""

from __future__ import annotations

import typer

from returns_pipeline.cli import database, demo, queue, reports, vendors, work

app = typer.Typer(
    help="Happy Returns to Linnworks: stock at once, money once a day, nothing twice, nothing "
    "lost.",
    epilog="A new machine: `make demo`. Settings are read from the environment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo.demo)
app.command()(work.sync)
app.command("close-day")(work.close_day)
app.command()(work.reconcile)
app.command()(reports.report)
app.command()(reports.explain)
app.add_typer(queue.app, name="exceptions")
app.add_typer(database.app, name="db")
app.command()(vendors.sandbox)
app.command()(vendors.ui)
