"""A merchant for tests: the sandbox's vendors over HTTP, a database, the steps in order.

The steps are called as the jobs call them, without Dagster, so that a day costs
milliseconds. What the jobs add is tested in ``defs``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from returns_pipeline import settings
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.steps import (
    act,
    capture,
    control,
    decide,
    derive,
    exporting,
    money,
    reconciling,
)
from returns_pipeline.steps.runtime import Runtime

SYNC = (
    capture.locations,
    capture.order_payloads,
    derive.orders,
    capture.return_payloads,
    derive.returns,
    derive.receipts,
    capture.missing_orders,
    derive.orders,
    capture.bookings,
    decide.matches,
    decide.dispositions,
    decide.adjustments,
    decide.exchanges,
    act.restocks,
    act.exchanges,
    decide.refunds,
    act.refunds,
    money.postings,
    control.settle_units,
    control.exceptions,
)


class Shop:
    """One merchant's vendors and pipeline at a time of the caller's choosing."""

    def __init__(self, sandbox: Sandbox, url: str, environ: Mapping[str, str]) -> None:
        self.sandbox = sandbox
        self.url = url
        self.environ = dict(environ)

    def settings(self, now: datetime) -> settings.Settings:
        return settings.load(
            {
                "RETURNS_DATABASE_URL": self.url,
                "RETURNS_MODE": "live",
                "RETURNS_SETTLE_SECONDS": "60",
                **self.sandbox.environ(),
                **self.environ,
                "RETURNS_NOW": now.isoformat(),
            }
        )

    @contextmanager
    def run(self, now: datetime) -> Iterator[Runtime]:
        self.sandbox.clock.set(now)
        with Runtime(self.settings(now), run_id=f"test-{now:%Y%m%dT%H%M%S}") as rt:
            yield rt

    def sync(self, now: datetime) -> dict[str, Any]:
        with self.run(now) as rt:
            counts: dict[str, Any] = {}
            for step in SYNC:
                name = f"{step.__module__.rpartition('.')[2]}.{step.__name__}"
                counts[name] = step(rt)
            counts["calls"] = rt.calls()
            return counts

    def close(self, day: date, now: datetime) -> money.CloseResult:
        with self.run(now) as rt:
            result = money.seal(rt, day)
            act.refunds(rt, day)
            exporting.export_day(rt, day, Path(self.environ["RETURNS_POLICY"]).parent / "journals")
            money.mark_posted(rt)
            control.settle_units(rt)
            control.exceptions(rt)
            return result

    def close_open_days(self, until: date, now: datetime) -> list[money.CloseResult]:
        with self.run(now) as rt:
            days = money.open_days(rt, until)
        return [self.close(day, now) for day in days]

    def reconcile(self, now: datetime) -> dict[str, int]:
        with self.run(now) as rt:
            return reconciling.reconcile(rt)

    def rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        engine = sa.create_engine(self.url)
        try:
            with engine.connect() as connection:
                return [row._asdict() for row in connection.execute(query)]
        finally:
            engine.dispose()


def policy(folder: Path, text: str = "") -> str:
    """A policy file that declares Linnworks as the executor, and what else is said."""
    path = folder / "policy.toml"
    body = text if "executor" in text else f'[refunds]\nexecutor = "linnworks"\n{text}'
    path.write_text(body)
    return str(path)
