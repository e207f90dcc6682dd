"""``web``: the exception queue as a page, for people who open no terminal."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from returns_pipeline.cli import session
from returns_pipeline.cli.output import Usage, answering, say

if TYPE_CHECKING:
    import sqlalchemy as sa

    from returns_pipeline.settings import Settings


def web(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where to listen; 0: any free port.")] = 8788,
) -> None:
    """Serve the exception queue as a web page, until Ctrl-C.

    People sign in with a name made by `returns-pipeline users add`. It speaks
    plain HTTP to this machine alone; for others put a proxy with TLS before it
    and say in RETURNS_WEB_URL where people reach it.

    \b
    Examples:
      returns-pipeline web
      returns-pipeline web --port 8800
      RETURNS_WEB_URL=https://exceptions.example.com returns-pipeline web
    """
    from returns_pipeline.cli.vendors import stopping  # it knows this module

    with answering(as_json=False), session.for_reading() as (found, engine):
        from returns_pipeline.steps import access

        if not access.everybody(engine):
            say("nobody may sign in yet: returns-pipeline users add NAME --role cx")
        with serving(found, engine, host, port) as at:
            say(f"the exceptions are at {at}; Ctrl-C stops it")
            stopping().wait()


@contextmanager
def serving(found: Settings, engine: sa.Engine, host: str, port: int) -> Iterator[str]:
    """Serve the page in the background; gives its address.

    Raises:
        Usage: When it cannot, or should not, listen there.
    """
    from returns_pipeline.settings import is_loopback
    from returns_pipeline.web.app import create_app
    from returns_pipeline.web.serving import server

    shown = f"[{host}]" if ":" in host else host
    if not is_loopback(f"http://{shown}") and not found.web.url.startswith("https://"):
        msg = (
            f"{host} can be reached by others, and passwords would cross the network readable: "
            "put a proxy with TLS before the page, and set RETURNS_WEB_URL=https://..."
        )
        raise Usage(msg)
    app = create_app(
        engine,
        found.policy,
        clock=found.clock,
        # Without a secret of its own a restart ends every session, and nothing else.
        secret=found.web.secret or secrets.token_hex(32),
        public_url=found.web.url,
    )
    try:
        made = server(app, host, port, behind_proxy=bool(found.web.url))
    except OSError as error:
        msg = f"port {port} of {host} cannot be used: {error.strerror or error}"
        raise Usage(msg) from None
    thread = threading.Thread(target=made.run, name="web", daemon=True)
    thread.start()
    try:
        yield found.web.url or f"http://{shown}:{made.effective_port}"
    finally:
        made.close()
        thread.join(5)
