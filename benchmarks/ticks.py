"""What one sync costs over a history: with nothing new, and with 125 units just received.

``python -m benchmarks.ticks DATABASE_URL SANDBOX_FILE POLICY``. The vendors are the sandbox, in
a process of its own; the steps are those of the job ``sync_returns``, in live mode.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import sqlalchemy as sa

from benchmarks.life import NEW_DAYS
from benchmarks.merchant import at, tick
from benchmarks.process import Phases, peak_mb
from benchmarks.runtime import runtime
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect


def _serve(ready: Connection, path: str) -> None:
    with Sandbox.load(Path(path)) as sandbox:
        ready.send((sandbox.happy_returns_server.url, sandbox.linnworks_server.url))
        ready.recv()


@contextmanager
def _vendors(path: str) -> Iterator[tuple[str, str]]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(theirs, path), daemon=True
    )
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def main(database_url: str, sandbox: str, policy: str) -> None:
    with _vendors(sandbox) as (happy_returns, linnworks):

        def run(day: float) -> Phases:
            for url in (happy_returns, linnworks):
                body = json.dumps({"now": at(day).isoformat()}).encode()
                urllib.request.urlopen(f"{url}/_sandbox/clock", body).read()
            phases = Phases()
            with runtime(
                database_url,
                happy_returns=happy_returns,
                linnworks=linnworks,
                live=True,
                paced=True,
                now=at(day).isoformat(),
                policy=policy,
            ) as rt:
                time.sleep(0.1)  # the disk comes to rest
                tick(rt, phases)
            return phases

        run(NEW_DAYS[0] - 3)  # imports, statements compiled, pages of the database in memory
        quiet: list[Phases] = []
        busy: list[Phases] = []
        for start in NEW_DAYS:
            # Begun and sent to us; then nothing for a while; then it is all in the warehouse.
            for day in (0.5, 1.5, 2.6):
                run(start + day)
            quiet.extend(run(start + day) for day in (2.62, 2.64, 2.66))
            busy.append(run(start + 4.2))
    engine = connect(database_url)
    with engine.connect() as connection:
        posted = connection.execute(
            sa.select(sa.func.count()).where(
                t.stock_adjustments.c.state == "posted",
                t.stock_adjustments.c.posted_at > at(NEW_DAYS[0]),
            )
        ).scalar_one()
        units = connection.execute(
            sa.select(sa.func.count()).select_from(t.return_items)
        ).scalar_one()
    engine.dispose()
    report = {
        "units": units,
        "posted": posted,
        **{
            f"{name}{what}": _median([getattr(one, of) for one in ticks])
            for name, ticks in (("quiet", quiet), ("busy", busy))
            for what, of in (("", "seconds"), ("_processor", "processor"))
        },
        "peak_mb": peak_mb(),
    }
    print(json.dumps(report))


def _median(ticks: list[dict[str, float]]) -> dict[str, float]:
    steps = {name: statistics.median(one[name] for one in ticks) for name in ticks[0]}
    return {**steps, "total": statistics.median(sum(one.values()) for one in ticks)}


if __name__ == "__main__":
    main(*sys.argv[1:])
