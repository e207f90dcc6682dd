"""``sandbox`` and ``ui``: the sandbox vendors alone, or behind the demo's Dagster UI."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from returns_pipeline.cli import demo as demo_module
from returns_pipeline.cli import session, web
from returns_pipeline.cli.output import Json, Usage, WorkFailed, answering, emit, say, stdout
from returns_pipeline.settings import PROJECT

if TYPE_CHECKING:
    import sqlalchemy as sa


def sandbox(
    seed: Annotated[int, typer.Option(help="Another seed, another week.")] = 7,
    days: Annotated[int, typer.Option(min=1, max=60, help="How many days it spans.")] = 7,
    starts: Annotated[
        str | None,
        typer.Option(
            help="The instant it begins, RFC 3339; if not given, so many days ago at midnight."
        ),
    ] = None,
    now: Annotated[
        str | None,
        typer.Option(help="The instant it stands at, RFC 3339; if not given, the clock runs."),
    ] = None,
    ports: Annotated[
        tuple[int, int], typer.Option(help="Of Linnworks and of Happy Returns; 0: any free one.")
    ] = (0, 0),
    limits: Annotated[bool, typer.Option(help="Keep the vendors' published limits.")] = True,
    as_json: Json = False,
) -> None:
    """Happy Returns and Linnworks as local servers with a seeded merchant, until Ctrl-C.

    Prints the variables that point the program at them; nothing outside this
    machine is reached.

    \b
    Examples:
      returns-pipeline sandbox
      returns-pipeline sandbox --ports 8801 8802 > sandbox.env
      returns-pipeline sandbox --seed 11 --now 2026-03-14T22:00:00Z --json
    """
    with answering(as_json):
        begins, stands = _instants(starts, now, days)
        from returns_pipeline.sandbox.serve import Sandbox
        from returns_pipeline.sandbox.world import week

        world = week(seed, starts_at=begins, days=days)
        try:
            served = Sandbox(world, now=stands, limits=limits, ports=ports)
            served.start()
        except OSError as error:
            msg = f"a port of {ports[0]} and {ports[1]} cannot be used: {error.strerror}"
            raise Usage(msg) from None
        stop = stopping()
        variables = served.environ()
        if as_json:
            emit({"environ": variables, "starts_at": begins.isoformat()})
        else:
            for name, value in variables.items():
                stdout.print(f"export {name}={shlex.quote(value)}", soft_wrap=True)
            sys.stdout.flush()
        say("the sandbox vendors are up; stop them with Ctrl-C")
        stop.wait()
        served.stop()


def _instants(starts: str | None, now: str | None, days: int) -> tuple[datetime, datetime | None]:
    from datetime import UTC, timedelta

    found = []
    for text in (starts, now):
        try:
            at = datetime.fromisoformat(text) if text else None
        except ValueError:
            at = None
        if text and (at is None or at.tzinfo is None):
            msg = f"{text!r} is not an instant: write it as 2026-03-14T22:10:00Z"
            raise Usage(msg)
        found.append(at.astimezone(UTC) if at else None)
    begins, stands = found
    if begins is None:
        last = stands or datetime.now(UTC)  # noqa: TID251 (the sandbox's clock is the real one)
        midnight = last.replace(hour=0, minute=0, second=0, microsecond=0)
        begins = midnight - timedelta(days=days)
    return begins, stands


def stopping() -> threading.Event:
    """An event that Ctrl-C, a polite kill and a closed terminal set."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    return stop


def ui(
    port: Annotated[int, typer.Option(help="Of the Dagster UI.")] = 3000,
    web_port: Annotated[int, typer.Option(help="Of the exceptions' page.")] = 8788,
) -> None:
    """The Dagster UI and the exceptions' page on the demo's data, the vendors living on.

    By the real clock, and with the schedules on: returns are polled every five
    minutes. For a merchant's own data nothing but `dagster dev` and
    `returns-pipeline web` is needed.

    \b
    Examples:
      returns-pipeline ui
      returns-pipeline ui --port 3010
    """
    with answering(as_json=False), demo_module.alone():
        if not demo_module.VENDORS.exists():
            msg = "there is no demo yet, or it was interrupted: run `make demo` first"
            raise Usage(msg)
        home = session.dagster_home()
        from returns_pipeline.sandbox.serve import Sandbox

        served = Sandbox.load(demo_module.VENDORS)
        served.clock.set(None)
        served.keep(demo_module.VENDORS)  # a kill forgets nothing that was answered
        served.start()
        session.set_variables({**demo_module.variables(), **served.environ()})
        try:
            with session.for_reading() as (found, engine):
                word = _demo_user(engine, found.clock())
                with web.serving(found, engine, "127.0.0.1", web_port) as at:
                    say(f"the exceptions are at {at}: sign in as demo, password {word}")
                    _dagster_dev(port, home)
        finally:
            served.stop()


def _demo_user(engine: sa.Engine, now: datetime) -> str:
    """Let one user into the sandbox's page, for everybody's tasks; a new password each time."""
    from returns_pipeline.domain.model import Owner
    from returns_pipeline.steps import access

    word = secrets.token_urlsafe(12)
    if any(user.name == "demo" for user in access.everybody(engine)):
        access.change(engine, "demo", password=word, actor="the demo", now=now)
    else:
        access.add(engine, "demo", word, list(Owner), actor="the demo", now=now)
    return word


def _dagster_dev(port: int, home: Path) -> None:
    """Run ``dagster dev`` until it ends or is stopped.

    Raises:
        WorkFailed: When it ends by itself with an error.
    """
    from returns_pipeline.defs import home as dagster_home

    with dagster_home.instance():
        pass  # made whole, before webserver and daemon meet in it
    say(f"the UI comes up at http://127.0.0.1:{port} in about twenty seconds; Ctrl-C stops it")
    say(f"the vendors' clock is the real one; runs are kept in {home}")
    command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)]
    # A group of its own: a Ctrl-C reaches this process alone, which then stops the other.
    child = subprocess.Popen(command, cwd=PROJECT, start_new_session=True)  # noqa: S603
    stop = stopping()
    while not stop.is_set() and child.poll() is None:
        stop.wait(0.5)
    if child.poll() is not None and not stop.is_set():
        _end(child)
        msg = f"dagster dev ended by itself with exit code {child.returncode}"
        raise WorkFailed(msg)
    say("stopping ...")
    _end(child)


def _end(leader: subprocess.Popen[bytes]) -> None:
    """End ``dagster dev`` and all it started: it is asked first, then its whole group is told.

    Webserver, daemon and code server are its children; one that is busy may outlive it.
    """
    if leader.poll() is None:
        leader.terminate()
        try:
            leader.wait(15)
        except subprocess.TimeoutExpired:
            say("it takes its time ...")
    for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(leader.pid, number)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                leader.poll()  # else it stays in the group as a zombie
                os.killpg(leader.pid, 0)
                time.sleep(0.2)
        except ProcessLookupError:
            return  # nobody is left in the group
