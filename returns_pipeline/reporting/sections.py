"""The detail tables of a day's report: which columns, which rows, under which heading.

Page and workbook set out the same sections, so that a figure on one is found on the other.
A cell is a plain value; how it is written is its column's ``kind``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from returns_pipeline.reporting.day import DayReport, amount_text

TEXT, COUNT, INSTANT, DATE, MONEY, CODE = "text", "count", "instant", "date", "money", "code"


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and how its cells are written.

    ``text``, ``code`` (an identifier), ``count`` (a number), ``instant`` (aware UTC),
    ``date`` or ``money``: a pair of minor units and currency. In a workbook its currency
    takes a second column, unless one of the row's columns tells it already (``told``).
    """

    title: str
    kind: str = TEXT
    told: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the report. ``group`` is the column whose values part the rows."""

    anchor: str
    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    group: int | None = None

    def grouped(self) -> list[tuple[str, tuple[tuple[Any, ...], ...]]]:
        """The rows by the value of their group column, in order of appearance."""
        if self.group is None:
            return [("", self.rows)]
        parts: dict[str, list[tuple[Any, ...]]] = {}
        for row in self.rows:
            parts.setdefault(str(row[self.group]), []).append(row)
        return [(name, tuple(rows)) for name, rows in parts.items()]


_UNIT = (Column("Unit", CODE), Column("Return", CODE), Column("Order", CODE), Column("SKU", CODE))


def _unit(row: Any) -> tuple[Any, ...]:
    return (row.item_id, row.return_id, row.order_number, row.sku)


def sections(report: DayReport) -> tuple[Section, ...]:
    """Every detail table of the report, empty ones too."""
    return (
        _three_ways(report),
        _received(report),
        _moved(report),
        _held(report),
        _refunds(report),
        _exchanges(report),
        _exposure(report),
        _tasks(report),
        _batch(report),
        _open(report),
    )


def _three_ways(report: DayReport) -> Section:
    columns = (
        Column("What"),
        Column("Happy Returns"),
        Column("Our books"),
        Column("Linnworks"),
        Column("They"),
    )

    def told(value: int | None, currency: str) -> str:
        if value is None:
            return "not told"
        return amount_text(value, currency) if currency else f"{value:,}"

    rows = (
        (
            one.what.capitalize(),
            *(told(v, one.currency) for v in (one.happy_returns, one.books, one.linnworks)),
            "agree" if one.agrees else "differ",
        )
        for one in report.three_ways
    )
    return Section(
        "three-ways",
        "Three ways",
        "The day as Happy Returns, our books and Linnworks tell it, as far as each was read. "
        "What differs is waiting or held (below), or a task.",
        columns,
        tuple(rows),
    )


def _received(report: DayReport) -> Section:
    columns = (
        Column("Where it stands"),
        Column("Place or reason"),
        *_UNIT,
        Column("Condition"),
        Column("Received", INSTANT),
    )
    rows = (
        (u.outcome.capitalize(), u.place, *_unit(u), u.condition, u.received_at)
        for u in report.received
    )
    return Section(
        "received",
        "Received",
        "Every unit the warehouse received that day and where it stands now.",
        columns,
        _sorted(rows),
        group=0,
    )


def _moved(report: DayReport) -> Section:
    columns = (
        Column("Location"),
        *_UNIT,
        Column("Stock"),
        Column("Posted", INSTANT),
        Column("Linnworks RMA", CODE),
    )
    rows = (
        (m.location, *_unit(m), _stock(m.sellable, m.scrapped), m.posted_at, m.rma or "")
        for m in report.movements
    )
    return Section(
        "moved",
        "Stock movements",
        "What was posted to Linnworks that day, by location.",
        columns,
        _sorted(rows),
        group=0,
    )


def _stock(sellable: bool, scrapped: bool) -> str:  # noqa: FBT001
    if scrapped:
        return "written off"
    return "sellable" if sellable else "not sellable"


def _held(report: DayReport) -> Section:
    columns = (
        Column("Held by"),
        *_UNIT,
        Column("Why"),
        Column("Since", INSTANT),
        Column("Waiting", MONEY),
    )
    rows = (
        (f"{h.gate}: {h.code}", *_unit(h), h.reason, h.since_at, (h.amount_minor, h.currency))
        for h in report.held
    )
    return Section(
        "held",
        "Held units",
        "Received or owed something, and not moving now. What is on its way is not here.",
        columns,
        _sorted(rows),
        group=0,
    )


def _refunds(report: DayReport) -> Section:
    columns = (
        Column("State"),
        *_UNIT,
        Column("Tender"),
        Column("Paid by"),
        Column("Refund", MONEY),
        Column("of it VAT", MONEY),
        Column("Batch", CODE),
    )
    rows = (
        (
            r.state.capitalize(),
            *_unit(r),
            r.tender.replace("_", " "),
            r.executor.replace("_", " "),
            (r.amount_minor, r.currency),
            (r.vat_minor, r.currency),
            r.batch_id,
        )
        for r in report.refunds
    )
    return Section(
        "refunds",
        "Refunds",
        "What became due that day; actioned: sent by Linnworks, recorded: no money to send.",
        columns,
        _sorted(rows),
        group=0,
    )


def _exchanges(report: DayReport) -> Section:
    columns = (
        *_UNIT,
        Column("Replacement order", CODE),
        Column("State"),
        Column("Pieces", COUNT),
        Column("Price", MONEY),
        Column("Left for the shopper", MONEY),
        Column("Paid on top", MONEY),
    )

    def money(minor: int, currency: str) -> tuple[int | None, str]:
        return (minor or None, currency if minor else "")

    rows = (
        (
            *_unit(x),
            x.reference,
            x.state,
            x.quantity,
            (x.amount_minor, x.currency),
            money(x.residual_minor, x.currency),
            money(x.extra_minor, x.currency),
        )
        for x in report.replacements
    )
    return Section(
        "exchanges",
        "Exchange orders",
        "Replacements ordered that day. Of an uneven one, what its original leaves is refunded "
        "by the batch of the day the order was made; what was paid on top stands in it too.",
        columns,
        _sorted(rows),
    )


def _exposure(report: DayReport) -> Section:
    columns = (
        *_UNIT,
        Column("Replacement order", CODE),
        Column("The original is"),
        Column("Age in days", COUNT),
        Column("Paid for it", MONEY),
        Column("Sent at once"),
    )
    rows = (
        (
            *_unit(x),
            x.reference,
            x.stage.replace("_", " "),
            (report.made_at - x.ordered_at).days,
            (x.amount_minor, x.currency),
            "allowed by the policy" if x.is_allowed else "not allowed",
        )
        for x in report.exposure
    )
    return Section(
        "exposure",
        "Exposure",
        "Replacements that were ordered and whose originals are missing now, the oldest first.",
        columns,
        tuple(rows),
    )


def _tasks(report: DayReport) -> Section:
    columns = (
        Column("Owner"),
        Column("Severity"),
        Column("What"),
        Column("Age in days", COUNT),
        Column("Due", INSTANT),
        Column("At risk", MONEY),
        Column("Unit", CODE),
        Column("Return", CODE),
        Column("Order", CODE),
        Column("Why"),
        Column("To do"),
        Column("Code", CODE),
    )
    ranked = sorted(report.tasks, key=lambda t: (t.owner, t.severity, t.opened_at, t.key))
    rows = (
        (
            t.owner,
            t.severity,
            t.title,
            report.age_days(t),
            t.due_at,
            (t.amount_minor, t.currency),
            ", ".join(t.item_ids) or t.key,
            ", ".join(t.return_ids),
            ", ".join(t.order_numbers),
            t.message,
            t.action,
            t.code,
        )
        for t in ranked
    )
    return Section(
        "tasks",
        "Exceptions",
        "Open tasks as this report was made, most severe and oldest first.",
        columns,
        tuple(rows),
        group=0,
    )


def _batch(report: DayReport) -> Section:
    columns = (
        Column("Batch", CODE),
        Column("Line", COUNT),
        Column("Account", CODE),
        Column("Role"),
        Column("Tax rate"),
        Column("Debit", MONEY),
        Column("Credit", MONEY),
        Column("Units"),
    )
    rows = []
    for batch in report.batches:
        for line in batch.lines:
            amount = (line.amount_minor, line.currency)
            none = (None, line.currency)
            debit = line.side == "debit"
            rows.append(
                (
                    line.batch_id,
                    line.number,
                    line.account,
                    line.role,
                    line.tax_rate,
                    amount if debit else none,
                    none if debit else amount,
                    ", ".join(line.item_ids),
                )
            )
    return Section(
        "batch",
        "Financial batch",
        "The day's sealed journal, line by line, each with its units.",
        columns,
        tuple(rows),
        group=0,
    )


def _open(report: DayReport) -> Section:
    columns = (
        Column("Account"),
        Column("Unit", CODE),
        Column("Return", CODE),
        Column("Order", CODE),
        Column("Open", MONEY),
    )
    rows = (
        (
            account_name(o.account, o.role),
            o.item_id,
            o.return_id,
            o.order_number,
            (o.amount_minor, o.currency),
        )
        for o in report.open_amounts
    )
    return Section(
        "balances",
        "Open balances",
        "Clearing accounts at the day's end, debit +, credit -: the units of the last 90 days.",
        columns,
        _sorted(rows),
        group=0,
    )


def account_name(account: str, role: str) -> str:
    """An account as people read it: ``1261 refund clearing: paypal``."""
    return f"{account} {role.replace('_', ' ').replace('.', ': ')}"


def _sorted(rows: Iterable[tuple[Any, ...]]) -> tuple[tuple[Any, ...], ...]:
    return tuple(sorted(rows, key=lambda row: tuple(str(value) for value in row)))
