"""The whole proof: lived, verified, run again, backfilled twice, compared, read back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import finance
from benchmarks.process import Phases
from returns_pipeline.domain.calendar import business_date
from returns_pipeline.reporting.finance_book import finance_book
from returns_pipeline.steps import books as reading
from returns_pipeline.steps import verification
from returns_pipeline_tests.crash.databases import Databases
from returns_pipeline_tests.month import comparing, goods, readers
from returns_pipeline_tests.month.living import MONTH, Shop

OVER = datetime(2026, 4, 6, 7, tzinfo=UTC)
AGAIN = OVER + timedelta(days=1)
_CLOCKS_CHANGE = date(2026, 3, 29)
Say = Callable[[str], None]


@dataclass(slots=True)
class Told:
    """What was done, what it took, and every difference; the shops it was done in."""

    did: dict[str, Any] = field(default_factory=dict)
    phases: Phases = field(default_factory=Phases)
    differences: list[str] = field(default_factory=list)
    shops: dict[str, Shop] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "holds": not self.differences,
            "did": self.did,
            "seconds": {name: round(taken, 1) for name, taken in self.phases.seconds.items()},
            "of the processor": {
                name: round(taken, 1) for name, taken in self.phases.processor.items()
            },
            "differences": self.differences,
        }


def prove(
    databases: Databases,
    folder: Path,
    refunds: int,
    *,
    calendar: goods.Calendar | None = None,
    in_many: Databases | None = None,
    say: Say = lambda _text: None,
) -> Told:
    """Live through the month and compare.

    Args:
        databases: Where it is lived, and backfilled in one run.
        folder: For files.
        refunds: How many units come back.
        calendar: The days; all of March and the first of April, if not given.
        in_many: Where it is backfilled in a run a day; the same place, if not given.
        say: Told what is being done.
    """
    told = Told()
    calendar = calendar or goods.Calendar()
    pieces = goods.pieces(calendar, refunds)
    say(f"living through the month, {refunds:,} refunds")
    lived = Shop(databases.new(), folder / "lived", calendar, told.phases)
    lived.sell(goods.orders_of(pieces))
    lived.live(pieces)
    lived.export_month(OVER)
    say("a backfill in one run, and in a run a day")
    one, many = _backfilled(databases, in_many, lived, pieces, told)
    told.did |= _done(pieces, lived)
    told.shops = {"lived": lived, "one": one, "many": many}
    say("verifying every batch")
    told.differences += _verified(lived, told)
    say("comparing")
    with told.phases.phase("compare"):
        told.differences += backfills_differ(one, many)
        told.differences += _lived_and_backfilled(lived, one, pieces, told)
        told.differences += comparing.unconserved(lived.books)
        told.differences += comparing.unconserved(one.books)
        for shop in (lived, one):
            told.differences += readers.programs(shop.books, shop.folder / "journals")
    say("reading the workbooks")
    told.differences += _books(lived, told)
    say("running it again")
    told.differences += run_again(lived, told)
    return told


def _done(pieces: list[goods.Piece], lived: Shop) -> dict[str, Any]:
    found = lived.books.batches().values()
    return {
        "refunds": len(pieces),
        "orders": len({piece.of_order for piece in pieces}),
        "told late": sum(piece.is_late for piece in pieces),
        "told of a locked month": sum(
            piece.is_late and piece.day == goods.LOCKED_DAY for piece in pieces
        ),
        "business days": len(lived.calendar.days),
        "currencies": sorted({row.currency for row in found}),
        "units of the books": sorted({row.entity for row in found}),
        "batches": len(found),
        **{f"batches, {kind}": n for kind, n in sorted(Counter(r.kind for r in found).items())},
        "re-dated out of the locked month": sum(r.business_date != r.origin_date for r in found),
        "files": len(comparing.files(lived.folder / "journals")),
    }


def _backfilled(
    databases: Databases,
    in_many: Databases | None,
    lived: Shop,
    pieces: list[goods.Piece],
    told: Told,
) -> tuple[Shop, Shop]:
    """The month's payloads in fresh databases, closed in one run and in a run a day."""
    folder, calendar = lived.folder.parent, lived.calendar
    one = Shop(databases.new(), folder / "one", calendar, told.phases)
    many_url = ""
    one.sell(goods.orders_of(pieces))
    one.poll_all(pieces)
    if in_many is None:
        databases.keep(one.books.url, "polled")
        many_url = databases.copy("polled")
    many = Shop(many_url or in_many.new(), folder / "many", calendar, told.phases)
    if in_many is not None:
        many.sell(goods.orders_of(pieces))
        many.poll_all(pieces)
    one.backfill(OVER, many=False)
    many.backfill(AGAIN, many=True)
    return one, many


def _verified(shop: Shop, told: Told) -> list[str]:
    found = []
    with told.phases.phase("verify"), shop.books.run(AGAIN) as rt:
        for batch_id in shop.books.batches():
            verdict = verification.verify(rt.engine, batch_id)
            found += [f"verify {batch_id}: {one}" for one in verdict.differences[:1]]
            told.did["batches verified"] = told.did.get("batches verified", 0) + 1
    return found


def backfills_differ(one: Shop, many: Shop) -> list[str]:
    """Where a backfill in one run and one in many are not the same bytes."""
    return [
        *comparing.differing("sealed", comparing.sealed(one.books), comparing.sealed(many.books)),
        *comparing.differing(
            "files",
            comparing.files(one.folder / "journals"),
            comparing.files(many.folder / "journals"),
        ),
    ]


def _lived_and_backfilled(
    lived: Shop, backfilled: Shop, pieces: list[goods.Piece], told: Told
) -> list[str]:
    """By order all comes to the same; days nothing was wrong with are the same bytes."""
    found = comparing.unlike(
        comparing.by_order(lived.books, pieces), comparing.by_order(backfilled.books, pieces)
    )
    touched = _touched(pieces)
    mine, theirs = lived.books.batches(), backfilled.books.batches()
    whole = [
        key
        for key, row in theirs.items()
        if key in mine
        and mine[key].state != "reversed"
        and row.policy_hash == mine[key].policy_hash
        and (row.origin_date, row.entity, row.currency) not in touched
    ]
    for key in whole:
        if mine[key].body != theirs[key].body:
            found.append(f"{key} is other bytes as it was lived and backfilled")
    told.did["batches as lived and backfilled the same bytes"] = len(whole)
    return found


def _touched(pieces: list[goods.Piece]) -> set[tuple[date, str, str]]:
    """The batches that are others when nothing comes late: by day, books and currency."""
    late = {piece.of_order for piece in pieces if piece.is_late}
    return {
        (business_date(at, goods.ZONE) + timedelta(days=apart), piece.books, currency)
        for piece in pieces
        if piece.of_order in late
        for at in (piece.at, *(when for when, _ in piece.told))
        for apart in (0, 1)  # its stock is taken in with the next poll
        for currency in ("GBP", finance.currency(piece.of_order))
    }


def _books(lived: Shop, told: Told) -> list[str]:
    """The month-end pack and the day the clocks change, as workbooks: totals equal items."""
    place = lived.pack(AGAIN)
    with told.phases.phase("read workbooks"):
        found = readers.workbook(place / f"books-{MONTH}.xlsx")
        with lived.books.run(AGAIN) as rt:
            day = reading.books(rt.engine, reading.day(_CLOCKS_CHANGE), policy=rt.policy)
        path = lived.folder / f"books-{_CLOCKS_CHANGE}.xlsx"
        path.write_bytes(finance_book(day))
        return found + readers.workbook(path)


def run_again(lived: Shop, told: Told) -> list[str]:
    """Every day closed, every file written, the pack made once more: nothing changes."""
    before = {**comparing.rows(lived.books), **comparing.files(lived.folder)}
    with told.phases.phase("all of it again"):
        again = Shop(lived.books.url, lived.folder, lived.calendar)
        again.close_again(AGAIN)
        again.export_month(AGAIN)
        again.pack(AGAIN)
    after = {**comparing.rows(lived.books), **comparing.files(lived.folder)}
    told.did["files compared"] = sum(not name.startswith("table ") for name in after)
    return comparing.differing("run again", before, after)
