"""The commands: each launches the Dagster job of its purpose, or reads.

Here: arguments, what a person sees, exit codes (0 done, 1 the work failed, 2 wrong usage or
settings). ``--json`` prints exactly one document on standard output; everything else goes
to standard error. Dagster and pandas take seconds to import, so a command imports them
only when the settings have been found in order. Not here: any decision about a return.
"""

from returns_pipeline.cli.app import app


def main() -> None:
    """The entry point of ``returns-pipeline``."""
    app(prog_name="returns-pipeline")
