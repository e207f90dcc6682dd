"""A merchant's fortnight lived over HTTP: the steps as the jobs call them, a clock, people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain.calendar import business_date
from returns_pipeline.domain.decisions import Kind
from returns_pipeline.domain.model import Owner
from returns_pipeline.sandbox.model import Order
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.steps import alerts, batching, control, ledger_answers, periods, queue
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.alerts import receivers
from returns_pipeline_tests.end_to_end.shop import Shop
from returns_pipeline_tests.fortnight.telling import DAYS, Telling

_ZONE = "Europe/London"
# Of a day: syncs in the morning, at noon, in the evening and after midnight; then the night.
_SYNCS = (0.27, 0.52, 0.77, 1.09)
_CLOSES, _RECONCILES = 1.094, 1.104


@dataclass
class Life:
    """One merchant's vendors, database and policy while a story is lived."""

    told: Telling
    sandbox: Sandbox
    shop: Shop
    now: datetime
    folder: Path
    receiver: receivers.Post
    is_closing: bool = True
    failures: list[str] = field(default_factory=list)

    def live(self, first: int, last: int) -> None:
        """Live whole days, with what happens in them."""
        plan: list[tuple[float, int, Any]] = []
        for day in range(first, last):
            syncs = _SYNCS if day < DAYS + 3 else _SYNCS[1::2]  # later there is only time to pass
            plan += [(day + offset, 1, self.sync) for offset in syncs]
            plan += [(day + _CLOSES, 2, self.close), (day + _RECONCILES, 3, self.reconcile)]
        mends = [(day, 0, does) for day, _, _, does in self.told.repairs]
        events = [(day, 0, does) for day, does in self.told.happens] + mends
        plan += [(day, 0, lambda d=does: d(self)) for day, _, does in events if first <= day < last]
        for day, _, does in sorted(plan, key=lambda one: one[:2]):
            self.now = self.told.day(day)
            self.sandbox.clock.set(self.now)
            try:
                does()
            except (LookupError, ValueError) as error:
                self.failures.append(f"{self.now:%d %H:%M} {type(error).__name__}: {error}")

    # --- the work -----------------------------------------------------------------

    def sync(self) -> None:
        """A poll; where it fails, the queue is refreshed all the same, as the sensor does."""
        try:
            self.shop.sync(self.now)
            with self.shop.run(self.now) as rt:
                alerts.collect(rt)
                alerts.compose(rt)
                alerts.deliver(rt)
        except Exception as error:  # noqa: BLE001 (a run that fails is what is looked at)
            self.failures.append(f"{self.now:%d %H:%M} sync: {type(error).__name__}: {error}")
            self._refresh()

    def close(self) -> None:
        """The nightly job: yesterday and every earlier day that has something open."""
        if not self.is_closing:
            return
        yesterday = business_date(self.now, _ZONE) - timedelta(days=1)
        try:
            self.shop.close_open_days(yesterday, self.now)
        except Exception as error:  # noqa: BLE001
            self.failures.append(f"{self.now:%d %H:%M} close: {type(error).__name__}: {error}")
            self._refresh()

    def reconcile(self) -> None:
        try:
            self.shop.reconcile(self.now)
        except Exception as error:  # noqa: BLE001
            self.failures.append(f"{self.now:%d %H:%M} reconcile: {type(error).__name__}: {error}")
        self._refresh()

    def _refresh(self) -> None:
        with self.shop.run(self.now) as rt:
            control.settle_units(rt)
            control.exceptions(rt)

    # --- the network ------

    def linnworks_fails(self, method: str, kind: str, times: int = 1) -> None:
        self.sandbox.linnworks_server.vendor.faults.add(method, kind, times=times)

    def happy_returns_fails(self, method: str, kind: str) -> None:
        self.sandbox.happy_returns_server.vendor.faults.add(method, kind)

    def refuse_alerts(self, *, refuse: bool) -> None:
        """The mail server takes no messages of ours, or does again."""
        self.receiver.refuse = refuse

    # --- people -------------------------------------------------------------------

    def staff(self, action: str, **more: Any) -> Mapping[str, Any]:
        """Somebody does something in Linnworks now."""
        return self.sandbox.linnworks_server.vendor.staff({"action": action, **more})

    def policy(self, text: str) -> None:
        """Somebody writes the policy file anew."""
        Path(self.shop.environ["RETURNS_POLICY"]).write_text(text)

    @contextmanager
    def engine(self) -> Iterator[sa.Engine]:
        engine = connect(self.shop.url)
        try:
            yield engine
        finally:
            engine.dispose()

    def decide(self, code: str, key: str, kind: Kind | None, by: str, /, **answers: str) -> None:
        """A person of a team settles a task."""
        with self.engine() as engine:
            found = [one for one in queue.named(engine, f"{code}:{key}") if one.is_open]
            if not found:
                raise LookupError(f"no open {code} {key}")
            queue.resolve(
                engine,
                found[0],
                queue.Person(f"somebody of {by}", (Owner(by),)),
                now=self.now,
                policy=self.shop.settings(self.now).policy,
                reason="it was looked into",
                kind=kind,
                answers=answers,
            )

    def refunds_of(self, order: Order) -> list[Any]:
        """The refunds of an order that stand in Linnworks."""
        return self.sandbox.linnworks.refunds_of(order)

    def lock(self, month: str) -> None:
        """Finance lock a month."""
        with self.engine() as engine:
            periods.change(engine, month, locked=True, reason="closed", by="Finance", now=self.now)

    def confirm_all(self, but: str = "") -> None:
        """Finance enter the ledger's numbers of what was exported."""
        with self.engine() as engine:
            columns = t.batches.c
            query = sa.select(columns.batch_id).where(
                columns.exported_at.is_not(None), columns.ledger_id == "", columns.batch_id != but
            )
            for row in self.shop.rows(query):
                number = f"J-{row['batch_id'][4:]}"
                batching.confirm(engine, row["batch_id"], number, by="Finance", now=self.now)

    def ledger_says(self, batch_id: str, *, taken: bool) -> None:
        """Finance tell what their accounting program said to a batch's file."""
        with self.engine() as engine:
            ledger_answers.tell(
                engine,
                batch_id,
                "generic",
                taken=taken,
                reason="unknown nominal code",
                by="Finance",
                now=self.now,
            )

    # --- the queue ----------------------------------------------------------------

    def tasks(self) -> list[dict[str, Any]]:
        """Every row there ever was, in the order they came up."""
        rows = self.shop.rows(sa.select(t.exceptions).order_by(t.exceptions.c.id))
        for row in rows:
            row["units"] = frozenset(json.loads(row["unit_keys"]))
        return rows
