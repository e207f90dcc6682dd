"""A merchant whose orders come back, one unit each, and the pipeline's steps over its life.

Day 0 is when the shoppers of the first orders begin their returns. Later groups of orders
begin theirs on days of their own: what a tick finds new.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.process import Phases
from returns_pipeline.sandbox.catalogue import PRODUCTS
from returns_pipeline.sandbox.model import World
from returns_pipeline.sandbox.script import Script
from returns_pipeline.steps import act, capture, control, decide, derive, exporting, money
from returns_pipeline.steps.runtime import Runtime

DAY_0 = datetime(2026, 9, 20, tzinfo=UTC)
POLICY = """\
[happy_returns]
lookups_per_run = 125

[refunds]
executor = "linnworks"

[breakers]
max_units_per_run = 100000
max_units_per_sku = 100000
"""
_SKUS = [sku for sku, one in PRODUCTS.items() if not one.batched and not one.children]


def at(day: float) -> datetime:
    """The instant so many days after day 0."""
    return DAY_0 + timedelta(days=day)


def returned_orders(groups: Iterable[tuple[float, int]]) -> World:
    """Orders of one unit that comes back; ``groups``: (day its return begins, how many)."""
    script = Script(3, DAY_0)
    script.begin("ordinary", first_number=10_000)
    last = 0.0
    for start, count in groups:
        last = max(last, start)
        for number in range(count):
            order = script.order(_SKUS[number % len(_SKUS)], processed=start - 8)
            script.unit(order, order.lines[0], start=start)
    return script.world(last + 10)


STEPS: tuple[tuple[str, Callable[[Runtime], object]], ...] = (
    ("locations", capture.locations),
    ("order payloads", capture.order_payloads),
    ("orders", derive.orders),
    ("return payloads", capture.return_payloads),
    ("returns", derive.returns),
    ("receipts", derive.receipts),
    ("missing orders", lambda rt: (capture.missing_orders(rt), derive.orders(rt))),
    ("matches", decide.matches),
    ("dispositions", decide.dispositions),
    ("adjustments", decide.adjustments),
    ("bookings", capture.bookings),
    ("restocks", act.restocks),
    ("exchanges", decide.exchanges),
    ("replacements", act.exchanges),
    ("refunds", decide.refunds),
    ("refunds in flight", act.refunds),
    ("postings", money.postings),
    ("settle", control.settle_units),
    ("exceptions", control.exceptions),
)
"""The job ``sync_returns``, step by step."""


def tick(rt: Runtime, phases: Phases | None = None) -> None:
    """One sync: every step of the job, in its order."""
    phases = phases or Phases()
    for name, step in STEPS:
        with phases.phase(name):
            step(rt)


def close(rt: Runtime, day: float) -> None:
    """Close a business day: seal it, pay its refunds."""
    date = at(day).date()
    money.seal(rt, date)
    act.refunds(rt, date)
    with tempfile.TemporaryDirectory() as folder:
        exporting.export_day(rt, date, Path(folder))
    money.mark_posted(rt)
