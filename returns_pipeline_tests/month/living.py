"""The month on a database: polled and closed day by day, corrected, locked; or backfilled.

The steps are the pipeline's own. What Linnworks would do (take stock in, send money) is
entered as its answer would be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from benchmarks.process import Phases
from returns_pipeline.steps import (
    batching,
    closing,
    control,
    corrections,
    exporting,
    money,
    monthly,
    periods,
)
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.finance.books import DROP_OFF_PAYS, Books
from returns_pipeline_tests.month import goods

TARGETS = ("generic", "xero", "quickbooks", "sage50", "netsuite")
MONTH = "2026-03"
RIGHT, WRONG = "4100", "4101"
_CLOSED_AT = timedelta(hours=7)
_POLICY = f"""{DROP_OFF_PAYS}
[refunds]
max_batch_minor = 1000000000

[finance.units.AM]
entity = "Shirts Ltd"
channel_group = "marketplaces"
channels = ["AMAZON"]

[finance.fx_rates]
"EUR.2026-03" = "0.8590"

[exports]
targets = [{", ".join(f'"{name}"' for name in TARGETS[1:])}]

[finance.accounts]
sales_returns = "%s"
"""


class Shop:
    """A merchant's month on one database, with the folder its files go to."""

    def __init__(
        self, url: str, folder: Path, calendar: goods.Calendar, phases: Phases | None = None
    ) -> None:
        """``url``: of a migrated database."""
        self.calendar = calendar
        folder.mkdir(parents=True, exist_ok=True)
        self.books = Books(url, folder)
        self.folder = folder
        self.phases = phases or Phases()
        self.counts: Counter[str] = Counter()
        self.use(RIGHT)

    def use(self, account: str) -> None:
        """Lead returned goods to this account from now on."""
        self.books.file.write_text(_POLICY % account)

    # --- as it comes ----------------------------------------------------------------

    def live(self, pieces: list[goods.Piece]) -> None:
        """Every day polled and closed; a wrong rule mended; March locked, and what comes then."""
        corrected, first = self.calendar.corrected_at, self.calendar.first
        for day, now, told in self._polls(pieces, in_time=False):
            self.use(WRONG if day < self.calendar.wrong_until else RIGHT)
            self._poll(now, told)
            if day == first:
                self._close_days(now, [first - timedelta(days=n) for n in range(1, first.day)])
            self._close_what_is_open(now - goods.POLLED_AT + _CLOSED_AT)
            if now.date() == corrected.date():
                self.correct(corrected)
            if now.date() == goods.LOCKED_AT.date():
                self._lock(goods.LOCKED_AT)

    def correct(self, now: datetime) -> None:
        """Take back every batch of the wrong account, and close its day again."""
        columns, lines = t.batches.c, t.batch_lines.c
        wrong = (
            sa.select(columns.batch_id)
            .join_from(t.batches, t.batch_lines, columns.batch_id == lines.batch_id)
            .where(lines.role == "sales_returns", lines.account == WRONG, lines.tax_key != "0")
            .where(columns.kind.in_(("primary", "adjustment")), columns.state != "reversed")
            .distinct()
            .order_by(columns.batch_id)
        )
        ids = [row.batch_id for row in self.books.rows(wrong)]
        with self.phases.phase("reverse and replace"), self.books.run(now) as rt:
            made = [corrections.reverse(rt, one, reason="the account was wrong") for one in ids]
        self.counts["reversed"] += len(made)
        self.counts["replacements"] += sum(len(one.replacement_ids) for one in made)
        self._close_days(now, sorted({one.origin_date for one in made}))

    def _lock(self, now: datetime) -> None:
        with self.books.run(now) as rt:
            periods.change(
                rt.engine, MONTH, locked=True, reason="VAT return filed", by="finance", now=now
            )

    def _poll(self, now: datetime, told: list[tuple[goods.Piece, dict]]) -> None:
        with self.phases.phase("polls"):
            first = {piece.of_order: piece for piece, _ in reversed(told)}
            orders = [self._orders.pop(number) for number in first if number in self._orders]
            self.books.tell(now, orders, [payload for _, payload in told])
            with self.books.run(now) as rt:
                control.settle_units(rt)
        self.counts["polls"] += 1
        self.counts["payloads"] += len(told) + len(orders)

    def sell(self, orders: dict[int, dict]) -> None:
        """What was ordered; each is told with the first of it that comes back."""
        self._orders = dict(orders)

    def _close_what_is_open(self, now: datetime) -> None:
        with self.books.run(now) as rt:
            days = closing.days_to_close(rt)
        self._close_days(now, days)

    def _close_days(self, now: datetime, days: Iterable[date]) -> None:
        with self.books.run(now) as rt:
            for day in days:
                self._close(rt, day)

    def _close(self, rt: Runtime, day: date) -> None:
        with self.phases.phase("close and send"):
            self.counts["batches"] += len(money.seal(rt, day).sealed)
            with rt.engine.connect() as connection:
                ids = batching.of_day(connection, day)
            self.books.send(rt, *ids)
        with self.phases.phase("write files"):
            exporting.require_all(exporting.export_day(rt, day, self.folder / "journals"))
            money.mark_posted(rt, day)
        self.counts["closings"] += 1

    # --- at the end -----------------------------------------------------------------

    def poll_all(self, pieces: list[goods.Piece]) -> None:
        """Everything told in time, under the right rule; no day is closed."""
        for _, now, told in self._polls(pieces, in_time=True):
            self._poll(now, told)
            # Nobody is paid yet, so that every unit would be looked at by each poll to come.
            here = sa.update(t.return_items).where(t.return_items.c.received_at.is_not(None))
            with self.books.run(now) as rt, rt.engine.begin() as connection:
                connection.execute(here.values(is_open=False))

    def backfill(self, now: datetime, *, many: bool) -> None:
        """Close the whole month: in one run, or in a run a day."""
        if not many:
            self._close_days(now, self.calendar.days)
            return
        for number, day in enumerate(self.calendar.days):
            self._close_days(now + timedelta(minutes=number), [day])

    def close_again(self, now: datetime) -> None:
        """Every day once more, however often it was closed."""
        self._close_days(now, self.calendar.days)

    def export_month(self, now: datetime) -> None:
        """The month's files for every program, beside the days' own."""
        with self.phases.phase("write files"), self.books.run(now) as rt:
            wanted = exporting.wanted(MONTH, now, rt.policy)
            exporting.require_all(
                exporting.export(rt, wanted, TARGETS, self.folder / "month"),
            )

    def pack(self, now: datetime) -> Path:
        """The month-end pack; its folder."""
        place = self.folder / "pack"
        with self.phases.phase("month-end pack"), self.books.run(now) as rt:
            monthly.write_pack(rt.engine, MONTH, rt.settings, place)
        return place

    def _polls(
        self, pieces: list[goods.Piece], *, in_time: bool
    ) -> Iterator[tuple[date, datetime, list[tuple[goods.Piece, dict]]]]:
        """Each poll: the day that ended before it, its instant, what it is told."""
        told = [
            (piece.at if in_time and piece.is_late else at, piece, payload)
            for piece in pieces
            for at, payload in piece.told
        ]
        told.sort(key=lambda one: (one[0], one[1].number))
        place = 0
        for number, day in enumerate(self.calendar.days, start=1):
            now = self.calendar.begins + timedelta(days=number) + goods.POLLED_AT
            new = []
            while place < len(told) and told[place][0] <= now:
                new.append(told[place][1:])
                place += 1
            yield day, now, new
