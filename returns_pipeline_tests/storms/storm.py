"""One seed: days lived in a storm, finished in a calm, and what came of them."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa

from returns_pipeline.clients.transport import VendorError
from returns_pipeline.dispatch import protocol
from returns_pipeline.sandbox.linnworks import SWITCHES
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.steps import act, closing, exporting, money, runtime
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import migrate
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.crash import verdict
from returns_pipeline_tests.crash.databases import Databases, OneEngine
from returns_pipeline_tests.end_to_end.shop import Shop, policy
from returns_pipeline_tests.storms import story
from returns_pipeline_tests.storms.weather import Elsewhere, Met, Weather

# What is not published, each in both readings; every combination has seeds of its own.
READINGS = (
    "second_action",
    "reference_echoed",
    "exchange_order_made",
    "return_id_is_row_id",
)
_COMBINATIONS = list(product(*(SWITCHES[name] for name in READINGS)))
_STRENGTHS = (30, 50, 80)
_head = cache(migrate._head)


def switches(seed: int) -> dict[str, Any]:
    """The readings of the contract that hold for a seed."""
    rng = random.Random(f"{seed}:switches")  # noqa: S311 (told again by the seed)
    others = {name: rng.choice(values) for name, values in sorted(SWITCHES.items())}
    return {**others, **dict(zip(READINGS, _COMBINATIONS[seed % len(_COMBINATIONS)], strict=True))}


def way(seed: int) -> str:
    """How the merchant of a seed has its replacements ordered."""
    return ("create_orders", "rma")[(seed // 16 + 1) // 4 % 2]


class _Shop(Shop):
    """A shop whose runs go out into the weather."""

    def __init__(self, weather: Weather, url: str, environ: Mapping[str, str]) -> None:
        super().__init__(weather.sandbox, url, environ)
        self.weather = weather

    @contextmanager
    def run(self, now: datetime) -> Iterator[Runtime]:
        self.sandbox.clock.set(now)
        own = self.settings(now)
        page = own.policy.happy_returns.page_size
        with Runtime(own, run_id=f"storm-{now:%Y%m%dT%H%M%S}") as rt:
            rt.__dict__["linnworks"] = self.weather.linnworks(own)
            rt.__dict__["happy_returns"] = self.weather.happy_returns(own, page)
            yield rt

    def rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with runtime.connect(self.url).connect() as connection:
            return [row._asdict() for row in connection.execute(query)]

    def work(self, poll: story.Poll, journals: Path) -> None:
        """A sync, or each open day sealed, paid, its journal written."""
        if not poll.closes:
            self.sync(poll.at)
            return
        with self.run(poll.at) as rt:
            for day in closing.days_to_close(rt):
                money.seal(rt, day)
                act.refunds(rt, day)
                exporting.export_day(rt, day, journals)
                money.mark_posted(rt, day)


@dataclass(slots=True)
class Outcome:
    """What came of a seed: nothing, if all is well."""

    seed: int
    problems: list[str]
    met: list[Met]
    steps: Counter[str]
    readings: tuple[Any, ...]
    failed_runs: int = 0
    compared: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


@dataclass(slots=True)
class Clean:
    """A world's days without a fault: what the vendor's books must be, what warns there."""

    books: dict[str, Any]
    standing: list[str]


class Storms:
    """Seeds on one kind of database, one after another.

    Args:
        databases: Where they are made.
        folder: For journals.
        elsewhere: Where requests go that never reach the vendor.
        only: The way in which all seeds' replacements are ordered; empty: the seed's own.
    """

    def __init__(
        self, databases: Databases, folder: Path, elsewhere: Elsewhere, only: str = ""
    ) -> None:
        """Live nothing yet."""
        self._only = only
        self._databases = databases
        self._folder = folder
        self._elsewhere = elsewhere
        self._clean: dict[tuple[int, str], Clean] = {}
        self._connect: OneEngine | None = None

    def _way(self, seed: int) -> str:
        return self._only or way(seed)

    def run(self, seed: int) -> Outcome:
        """Live a seed's days and look at what came of them."""
        number = seed % story.WORLDS
        merchant = (number, self._way(seed))
        if merchant not in self._clean:
            with self._shop(seed, number, strength=0) as (shop, journals):
                self._live(shop, journals)
                problems = verdict.against_truth(shop, story.ENDS)
                assert problems == [], (number, problems)
                self._clean[merchant] = Clean(
                    verdict.vendor_books(shop.sandbox.linnworks.books()),
                    verdict.broken_invariants(shop, story.ENDS),
                )
        began = time.monotonic()
        strength = _STRENGTHS[seed // 5 % len(_STRENGTHS)]
        with self._shop(seed, number, strength=strength) as (shop, journals):
            failed = self._live(shop, journals)
            outcome = Outcome(
                seed,
                self._problems(shop, self._clean[merchant]),
                shop.weather.log,
                Counter(r["step"] for r in shop.rows(sa.select(t.attempts.c.step))),
                tuple(shop.sandbox.linnworks.switches[name] for name in READINGS),
                failed_runs=failed,
                compared=_compared(shop),
            )
        outcome.seconds = time.monotonic() - began
        return outcome

    @contextmanager
    def _shop(self, seed: int, number: int, strength: int) -> Iterator[tuple[_Shop, Path]]:
        url = self._databases.new()
        connect = self._connect = self._connect or OneEngine(url)
        journals = self._folder / f"journals-{seed}-{strength}"
        with (
            # Statements are compiled once, and the newest migration is looked for once.
            patch.object(runtime, "connect", connect),
            patch.object(verdict, "connect", connect),
            patch.object(migrate, "_head", _head),
            Sandbox(story.world(number), now=story.STARTS) as sandbox,
        ):
            sandbox.linnworks.switches.update(switches(seed))
            weather = Weather(seed, sandbox, self._elsewhere, strength)
            said = f'[exchange]\nway = "{self._way(seed)}"\n'
            yield _Shop(weather, url, {"RETURNS_POLICY": policy(self._folder, said)}), journals
            connect(url).dispose()
        self._databases.drop(url)

    def _live(self, shop: _Shop, journals: Path) -> int:
        """All runs; how many of those in the storm ended in an error."""
        weather, failed = shop.weather, 0
        hurried = partial(
            protocol.Dispatcher, sleep=weather.clock.sleep, monotonic=weather.clock.monotonic
        )
        with patch.object(act, "Dispatcher", hurried), patch.object(protocol, "_PROBE_AFTER", 0.0):
            weather.calm = False
            for poll in story.STORM:
                try:
                    shop.work(poll, journals)
                except (VendorError, money.DayIncomplete):
                    failed += 1  # the next run takes it up
            weather.calm = True
            weather.sandbox.linnworks_server.vendor.faults.clear()
            for poll in story.CALM:
                shop.work(poll, journals)
        return failed

    def _problems(self, shop: _Shop, clean: Clean) -> list[str]:
        at = story.ENDS
        found = verdict.against_truth(shop, at)
        found += verdict.postings_astray(shop)
        found += [one for one in verdict.broken_invariants(shop, at) if one not in clean.standing]
        books = shop.sandbox.linnworks.books()
        mine = verdict.vendor_books(books)
        found += [
            f"{name} are not those of the days without a fault"
            for name in mine
            if mine[name] != clean.books[name]
        ]
        before = verdict.all_rows(shop)
        shop.sync(at)
        if shop.sandbox.linnworks.books() != books:
            found.append("a further sync wrote to Linnworks")
        return found + verdict.changed(before, verdict.all_rows(shop))


def _compared(shop: Shop) -> Counter[str]:
    """How much of the vendor's books was compared."""
    books = shop.sandbox.linnworks.books()
    return Counter(
        {
            "units restocked": sum(row["quantity"] for row in books["returned"]),
            "refunds": len(books["refunds"]),
            "replacements": len(books["orders_made"]),
        }
    )
