"""The tree of commands."""

from __future__ import annotations

import typer

from returns_pipeline.cli import alerts, database, finance, queue, users
from returns_pipeline.cli.demo import demo
from returns_pipeline.cli.exports import export, month_end
from returns_pipeline.cli.exposure import exposure
from returns_pipeline.cli.reports import explain, report
from returns_pipeline.cli.vendors import sandbox, ui
from returns_pipeline.cli.web import web
from returns_pipeline.cli.work import close_day, reconcile, sync

app = typer.Typer(
    help="Happy Returns to Linnworks: stock at once, money once a day, nothing twice, nothing "
    "lost.",
    epilog="A new machine: `make demo`. Settings are read from the environment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(sync)
app.command("close-day")(close_day)
app.command()(reconcile)
app.command()(finance.verify)
app.command("reverse-batch")(finance.reverse_batch)
app.add_typer(finance.batches, name="batches")
app.add_typer(finance.periods, name="periods")
app.command()(export)
app.command("month-end")(month_end)
app.command()(report)
app.command()(explain)
app.command()(exposure)
app.add_typer(queue.app, name="exceptions")
app.command()(web)
app.add_typer(users.app, name="users")
app.add_typer(alerts.app, name="alerts")
app.add_typer(database.app, name="db")
app.command()(sandbox)
app.command()(ui)
