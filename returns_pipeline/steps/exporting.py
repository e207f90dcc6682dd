"""Files for accounting programs: which batches, written whole, remembered by their hash.

What a program's file looks like is ``reporting.exports``'. Here: the batches of a day, a
month or an id, writing, and keeping that it was done. Exporting again gives the same
bytes; where they would differ (the policy's names have changed since), nothing is written
unless the caller asks for it: what was exported may have been imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from returns_pipeline.domain.calendar import business_date
from returns_pipeline.domain.policy import Policy
from returns_pipeline.reporting.exports import TARGETS, xero
from returns_pipeline.reporting.exports.journal import (
    Journal,
    Ledger,
    Refused,
    Target,
    Written,
    from_rows,
)
from returns_pipeline.settings import SettingsError
from returns_pipeline.steps import batching, books, periods
from returns_pipeline.steps.invariants import RECENT, Finding, Scope
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert
from returns_pipeline.storage.engine import reading

_BATCH_ID = re.compile(r"HRL-\d{8}-[0-9A-Z]{2}[A-Z]{3}-[0-9A-Z]{2}")


class NotAsked(ValueError):  # noqa: N818 (it says what is so)
    """A text that names no day, month or batch."""


class TargetsRefused(Exception):  # noqa: N818 (it says what is so)
    """Some programs cannot take the batches as they are; the others' files are written."""


class Changed(StrEnum):
    """What becomes of files that would differ from those exported before."""

    REFUSE = "refuse"
    KEEP = "keep"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The batches to export: those of a closed day, those dated in a month, or one.

    ``name`` begins the files' names.
    """

    name: str
    batches: sa.ColumnElement[bool]


def wanted(text: str, now: datetime, policy: Policy) -> Wanted:
    """What a date, ``yesterday``, a month or a batch id asks for.

    Raises:
        NotAsked: When it is none of these.
    """
    columns = t.batches.c
    if _BATCH_ID.fullmatch(text):
        return _batch(text)
    if text == "yesterday":
        return of_day(business_date(now, policy.merchant.time_zone) - timedelta(days=1))
    try:
        return of_day(date.fromisoformat(text))
    except ValueError:
        pass
    try:
        month = books.month(text)
    except periods.NoPeriod:
        msg = f"{text!r} is no date (2026-03-14, yesterday), no month (2026-03) and no batch id"
        raise NotAsked(msg) from None
    return Wanted(text, columns.business_date.between(month.first, month.last))


def _batch(batch_id: str) -> Wanted:
    return Wanted(batch_id, t.batches.c.batch_id == batch_id)


def of_day(day: date) -> Wanted:
    """The batches of a closed day, however they are dated."""
    return Wanted(day.isoformat(), t.batches.c.origin_date == day)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one program's files."""

    target: str
    title: str
    files: tuple[Path, ...] = ()
    batches: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()  # in a currency that does not go there
    problems: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "target": self.target,
            "title": self.title,
            "files": [str(path) for path in self.files],
            "batches": list(self.batches),
            "left_out": list(self.left_out),
            "problems": list(self.problems),
        }


def export(
    rt: Runtime,
    what: Wanted,
    targets: Sequence[str],
    folder: Path,
    *,
    changed: Changed = Changed.REFUSE,
) -> tuple[Outcome, ...]:
    """Write the files of each program for what is wanted; each program whole or not at all.

    Args:
        rt: For the policy's names and the clock.
        what: Which batches.
        targets: Programs by name.
        folder: Where files go; each program but the generic one has a folder of its own in it.
        changed: What becomes of files that would differ from those exported before.

    Raises:
        SettingsError: When a target is none of ours.
    """
    unknown = [target for target in targets if target not in TARGETS]
    if unknown:
        listed = ", ".join(TARGETS)
        raise SettingsError([f"{unknown[0]!r} is no target of ours; one of {listed}"])
    with reading(rt.engine) as connection:
        journals = _journals(connection, what)
        before = _exported(connection, [journal.batch_id for journal in journals])
    outcomes = []
    for name in dict.fromkeys(targets):
        target = TARGETS[name]
        ledger = ledger_of(rt.policy, name)
        taken = [(journal, ledger.taken(journal)) for journal in journals]
        own = [one for _, one in taken if one is not None]
        left_out = tuple(journal.batch_id for journal, one in taken if one is None)
        try:
            written = target.write(what.name, own, ledger)
            differ = _differing(written, target, before)
            if differ and changed is Changed.REFUSE:
                _refuse(differ)
        except Refused as error:
            outcomes.append(Outcome(name, target.TITLE, left_out=left_out, problems=error.problems))
            continue
        if differ and changed is Changed.KEEP:
            outcomes.append(Outcome(name, target.TITLE, left_out=left_out))
            continue
        place = folder if name == "generic" else folder / name
        files = _write(place, what.name, written.files) if own else ()
        _remember(rt, name, written.hashes, before)
        outcomes.append(Outcome(name, target.TITLE, files, tuple(written.hashes), left_out))
    return tuple(outcomes)


def export_day(rt: Runtime, day: date, folder: Path) -> tuple[Outcome, ...]:
    """What closing a day writes: each of its batches in files of its own."""
    with reading(rt.engine) as connection:
        ids = batching.of_day(connection, day)
    return export_batches(rt, ids, folder)


def export_batches(rt: Runtime, ids: Iterable[str], folder: Path) -> tuple[Outcome, ...]:
    """Write each batch in files of its own, for every program the policy names.

    The generic journal, and what the policy's ``[exports]`` targets name. A batch in a file
    of its own is imported once: a late arrival does not come with what was there before.
    Files written under other names stay as they are: they may have been imported.
    """
    targets = ("generic", *rt.policy.exports.targets)
    return tuple(
        outcome
        for batch_id in ids
        for outcome in export(rt, _batch(batch_id), targets, folder, changed=Changed.KEEP)
    )


@dataclass(frozen=True, slots=True)
class Rounding:
    """By how much Xero's VAT of a batch is not ours, and of how many lines."""

    batch_id: str
    minor: int
    currency: str
    lines: int


def roundings(connection: sa.Connection, ids: Sequence[str], policy: Policy) -> list[Rounding]:
    """What Xero's own computation leaves over of these batches, as far as they go there."""
    columns, line = t.batches.c, t.batch_lines.c
    told = [column for column in t.batches.c if column.key != "body"]
    headers = list(records.in_chunks(connection, sa.select(*told), columns.batch_id, ids))
    # Without their units, which may be thousands.
    units = sa.literal("[]").label("unit_keys")
    query = sa.select(*(c for c in t.batch_lines.c if c.key != "unit_keys"), units)
    lines: dict[str, list[Mapping[str, Any]]] = {row.batch_id: [] for row in headers}
    for row in records.in_chunks(connection, query, line.batch_id, ids):
        lines[row.batch_id].append(row._asdict())
    ledger = ledger_of(policy, xero.NAME)
    found = []
    for header in headers:
        journal = ledger.taken(from_rows(header._asdict(), lines[header.batch_id]))
        if journal is not None:
            net = sum(not one.is_vat for one in journal.lines)
            left = xero.rounding(journal)
            found.append(Rounding(header.batch_id, left, journal.currency, net))
    return found


def ledger_of(policy: Policy, target: str) -> Ledger:
    """How the policy names things in a target."""
    exports = policy.exports
    rounding = policy.finance.accounts.get("vat_rounding_difference", "")
    return Ledger(exports.ledgers[target], exports.account_names, rounding)


def require_all(outcomes: Iterable[Outcome]) -> None:
    """Refuse to call it done where a program's files could not be written.

    Raises:
        TargetsRefused: Naming each program, batch and line.
    """
    told = [
        f"{outcome.title}: nothing was written\n"
        + "\n".join(f"  - {problem}" for problem in outcome.problems)
        for outcome in outcomes
        if outcome.problems
    ]
    if told:
        raise TargetsRefused("\n".join(told))


def _journals(connection: sa.Connection, what: Wanted) -> list[Journal]:
    columns, lines = t.batches.c, t.batch_lines.c
    query = sa.select(t.batches).where(what.batches)
    headers = connection.execute(query.order_by(columns.business_date, columns.batch_id)).all()
    found: dict[str, list[Mapping[str, Any]]] = {header.batch_id: [] for header in headers}
    rows = records.in_chunks(connection, sa.select(t.batch_lines), lines.batch_id, found)
    for row in rows:
        found[row.batch_id].append(row._asdict())
    return [
        from_rows(header._asdict(), sorted(found[header.batch_id], key=lambda line: line["number"]))
        for header in headers
    ]


def _exported(connection: sa.Connection, ids: Sequence[str]) -> dict[tuple[str, str], str]:
    """What was last exported of each batch for each program: the hash of its rows."""
    done = t.batch_exports.c
    query = sa.select(done.batch_id, done.target, done.hash).order_by(done.id)
    rows = records.in_chunks(connection, query, done.batch_id, ids)
    return {(row.batch_id, row.target): row.hash for row in rows}


def _differing(
    written: Written, target: Target, before: Mapping[tuple[str, str], str]
) -> list[str]:
    """The batches whose rows are not those that were exported before."""
    return [
        batch_id
        for batch_id, now in written.hashes.items()
        if before.get((batch_id, target.NAME), now) != now
    ]


def _refuse(differ: Sequence[str]) -> None:
    raise Refused(
        [
            f"{batch_id} was exported before with other names; if it was imported, take that "
            "back first, then export again with --replace"
            for batch_id in differ
        ]
    )


def _write(folder: Path, name: str, files: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write a program's files: all beside their places first, then each into its own.

    What an earlier export of the same name left and this one has not is removed: a batch in
    two files would be imported twice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = {path: folder / f"{path}.part" for path in files}
    for path, data in files.items():
        partial[path].write_bytes(data)
    for path in files:
        partial[path].replace(folder / path)
    for old in (folder / f"{name}.csv", *sorted(folder.glob(f"{name}-part*.csv"))):
        if old.name not in files:
            old.unlink(missing_ok=True)
    return tuple(folder / path for path in files)


def _remember(
    rt: Runtime, target: str, hashes: Mapping[str, str], before: Mapping[tuple[str, str], str]
) -> None:
    """Keep what was written, and move batches that were only sealed on to exported."""
    now = rt.now()
    new = [
        (batch_id, target, own, rt.policy.hash, now, rt.run_id)
        for batch_id, own in hashes.items()
        if before.get((batch_id, target)) != own
    ]
    columns = ("batch_id", "target", "hash", "policy_hash", "exported_at", "run_id")
    batches = t.batches.c
    with rt.engine.begin() as connection:
        upsert(connection, t.batch_exports, columns, new)
        query = sa.select(batches.batch_id).where(batches.state == "sealed")
        sealed = [
            row.batch_id
            for row in records.in_chunks(connection, query, batches.batch_id, list(hashes))
        ]
        batching.move(
            connection, sealed, "exported", now=now, run_id=rt.run_id, detail=f"for {target}"
        )


def every_batch_has_its_files(scope: Scope) -> Finding:
    """Whether each batch was exported for every program the policy names.

    An account or tax rate without a name in a program keeps a batch from it.
    """
    policy = scope.policy
    columns, done = t.batches.c, t.batch_exports.c
    query = sa.select(t.batches).where(
        columns.origin_date.in_(scope.days)
        if scope.days
        else columns.sealed_at >= scope.now - RECENT
    )
    headers = scope.connection.execute(query.order_by(columns.batch_id)).all()
    ids = [header.batch_id for header in headers]
    pairs = sa.select(done.batch_id, done.target).distinct()
    written = {
        (row.batch_id, row.target)
        for row in records.in_chunks(scope.connection, pairs, done.batch_id, ids)
    }
    rows = [
        {"batch": header.batch_id, "program": TARGETS[target].TITLE}
        for header in headers
        for target in ("generic", *policy.exports.targets)
        if (header.batch_id, target) not in written
        and _goes_to(policy, target, header.currency, header.base_currency)
    ]
    return Finding(
        holds=not rows,
        message=f"{len(rows)} without files" if rows else "every batch has its files",
        severe=False,
        figures={"failures": len(rows), "batches": len(headers)},
        rows=rows,
    )


def _goes_to(policy: Policy, target: str, *currencies: str) -> bool:
    wanted_there = policy.exports.ledgers[target].currencies
    return not wanted_there or any(currency in wanted_there for currency in currencies)
