"""Tables for eyes. What is in them is ``steps``' and ``reporting``'s."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from returns_pipeline.cli.session import local
from returns_pipeline.domain.exceptions import runbook
from returns_pipeline.reporting.day import amount_text, counted
from returns_pipeline.steps.exchange_tasks import Exposed
from returns_pipeline.steps.queue import Task
from returns_pipeline.steps.story import Moment

_LIGHTS = {"good": ("green", "●"), "watch": ("yellow", "▲"), "bad": ("red", "■")}
_SEVERITY = {"S1": "bold red", "S2": "yellow", "S3": "", "S4": "dim"}


def table(title: str, *columns: str, numbers: Sequence[str] = ()) -> Table:
    """An empty table in the house style; the columns named in ``numbers`` stand right."""
    made = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left")
    return made


def _filled(made: Table, rows: Iterable[Sequence[object]]) -> RenderableType:
    found = [[escape(str(value)) for value in row] for row in rows]
    if not found:
        return Text.assemble((f"{made.title}: ", "bold"), "none\n")
    for row in found:
        made.add_row(*row)
    return made


def lights(found: Sequence[Mapping[str, str]]) -> RenderableType:
    """The day's verdicts, one a line."""
    grid = Table.grid(padding=(0, 2))
    for light in found:
        style, sign = _LIGHTS[light["state"]]
        grid.add_row(Text(sign, style), Text(light["name"], "bold"), Text(light["says"]))
    return grid


def three_ways(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The day as Happy Returns, our books and Linnworks tell it."""
    table = Table(box=box.SIMPLE)
    for title in ("three ways", "Happy Returns", "our books", "Linnworks", "they"):
        table.add_column(title, justify="left" if title in {"three ways", "they"} else "right")
    for one in found:
        told = (one["happy_returns"], one["books"], one["linnworks"])
        currency = one["currency"]
        table.add_row(
            one["what"],
            *(
                "not told" if n is None else amount_text(n, currency) if currency else f"{n:,}"
                for n in told
            ),
            "agree" if one["agrees"] else Text("differ", "yellow"),
        )
    return table


def account(found: Mapping[str, Any]) -> RenderableType:
    """What happened, for somebody who sees it for the first time."""
    restocked = (
        (
            row["location"],
            "written off"
            if row["scrapped"]
            else "sellable"
            if row["is_sellable"]
            else "not sellable",
            row["units"],
        )
        for row in found["restocked"]
    )
    refunds = (
        (
            row["state"],
            row["tender"].replace("_", " "),
            row["units"],
            amount_text(row["amount_minor"], row["currency"]),
        )
        for row in found["refunds"]
    )
    owners: Counter[str] = Counter()
    for row in found["exceptions"]:
        owners[row["owner"]] += row["open"]
    tasks = (
        (row["owner"], row["severity"], row["code"].replace("_", " ").lower(), row["open"])
        for row in found["exceptions"]
    )
    exchanged = sum(row["orders"] for row in found["exchanges"] if row["state"] == "created")
    said = Text.assemble(
        (str(found["received"]), "bold"),
        " units received, ",
        (str(sum(row["units"] for row in found["restocked"])), "bold"),
        " restocked, ",
        (str(exchanged), "bold"),
        " exchanged, ",
        (str(sum(row["units"] for row in found["refunds"])), "bold"),
        " refunded in ",
        (str(len(found["batches"])), "bold"),
        " sealed batches; ",
        (str(sum(owners.values())), "bold"),
        " tasks open.\n",
    )
    return Group(
        said,
        _filled(
            table("Restocked, by location", "location", "stock", "units", numbers=["units"]),
            restocked,
        ),
        _filled(
            table("Held, and why", "gate", "why", "units", numbers=["units"]),
            (
                (row["gate"], row["code"].replace("_", " ").lower(), row["units"])
                for row in found["held"]
            ),
        ),
        _filled(
            table("Without an order or line", "what", "code", "units", numbers=["units"]),
            (
                (row["outcome"], row["code"].replace("_", " ").lower(), row["units"])
                for row in found["unmatched"]
            ),
        ),
        _filled(
            table("Refunds", "state", "tender", "units", "amount", numbers=["units", "amount"]),
            refunds,
        ),
        _filled(
            table("Exceptions, by owner", "owner", "severity", "what", "open", numbers=["open"]),
            tasks,
        ),
    )


def queue(rows: Sequence[Task], now: datetime, zone: str) -> RenderableType:
    """The exception queue."""
    made = table(
        counted(len(rows), "exception"),
        "",
        "",
        "owner",
        "what",
        "order",
        "due",
        "money",
        "why",
        numbers=["money"],
    )
    for row in rows:
        late = row.due_at < now and row.is_open
        amount = row.amount_minor and row.currency
        who = f" ({row.assignee})" if row.assignee else ""
        asleep = row.status == "snoozed" and row.snoozed_until is not None
        made.add_row(
            Text(row.severity, _SEVERITY[row.severity]),
            Text(row.name, "cyan"),
            escape(f"{row.owner}{who}"),
            escape(row.code),
            escape(", ".join(row.order_numbers) or row.key[:24]),
            Text(local(row.due_at, zone), "red" if late else ""),
            amount_text(row.amount_minor, row.currency) if amount else "",
            escape(row.message)
            + (f" [dim]asleep until {local(row.snoozed_until or now, zone)}[/]" if asleep else ""),
        )
    return made


_STATUS = {
    "open": "open",
    "ack": "seen",
    "snoozed": "asleep",
    "resolved": "resolved",
    "auto_resolved": "closed by itself",
}


def task(
    row: Task,
    now: datetime,
    zone: str,
    can: Sequence[tuple[str, str]],
    offered: Mapping[str, Sequence[tuple[str, str]]],
) -> RenderableType:
    """One exception, whole.

    Args:
        row: The exception.
        now: To say what is late.
        zone: The merchant's.
        can: What can be decided about it, as name and words.
        offered: The lines and orders to choose from, as value and words.
    """
    late = " (overdue)" if row.due_at < now and row.is_open else ""
    until = f" until {local(row.snoozed_until, zone)}" if row.snoozed_until else ""
    closed_at = f", closed {local(row.resolved_at, zone)}" if row.resolved_at else ""
    by = f" by {row.resolver}" if row.resolver else ""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for name, value in (
        ("why", row.message),
        ("to do", row.entry.action),
        ("closes when", row.entry.closes_when),
        ("keeps from moving", row.entry.blocks),
        ("owner", f"{row.owner}{f', taken by {row.assignee}' if row.assignee else ''}"),
        (
            "status",
            f"{_STATUS[row.status]}{until}{by}, open since {local(row.opened_at, zone)}{closed_at}",
        ),
        ("due", f"{local(row.due_at, zone)}{late}"),
        ("resolution", row.resolution),
        ("money", amount_text(row.amount_minor, row.currency) if row.currency else ""),
        (
            "units",
            f"{len(row.unit_keys)}: {', '.join(row.unit_keys)}" if row.unit_keys else "",
        ),
        ("returns", ", ".join(row.return_ids)),
        ("orders", ", ".join(row.order_numbers)),
        ("told", f"{row.occurrences} times, last {local(row.last_seen_at, zone)}"),
        ("decide", "\n".join(f"{name}: {words}" for name, words in can)),
        ("lines", "\n".join(f"{value}: {words}" for value, words in offered.get("row_id", ()))),
        ("order ids", "\n".join(f"{value}: {words}" for value, words in offered.get("order", ()))),
        ("evidence", f"returns-pipeline explain {row.unit_keys[0]}" if row.unit_keys else ""),
        ("runbook", runbook(row.code)),
    ):
        if value:
            grid.add_row(Text(name, "dim"), Text(value))
    title = f"{row.severity} {row.name} {row.code} {row.key}"
    return Panel(grid, title=escape(title), title_align="left")


def history(moments: Sequence[Mapping[str, Any]], zone: str) -> RenderableType:
    """Who did what to an exception, a line a moment."""
    grid = Table.grid(padding=(0, 2))
    for column in range(4):
        grid.add_column(no_wrap=column < 3)
    for row in moments:
        grid.add_row(
            Text(local(row["at"], zone), "dim"),
            Text(row["actor"], "cyan"),
            Text(row["action"].replace("_", " ")),
            Text(row["detail"]),
        )
    return grid


def closed(day: Mapping[str, Any]) -> RenderableType:
    """What closing a day left: its batches and what became of its refunds."""
    if not day["batches"]:
        return Text(f"{day['business_date']}: closed; nothing was refunded or restocked that day")
    refunds = ", ".join(f"{n} {state}" for state, n in day["refunds"].items() if n)
    made = table(
        f"{day['business_date']}: refunds {refunds or 'none'}",
        "batch",
        "kind",
        "state",
        "lines",
        "debit",
        numbers=["lines", "debit"],
    )
    for one in day["batches"]:
        debit = sum(ln["amount_minor"] for ln in one["lines"] if ln["side"] == "debit")
        made.add_row(
            one["id"],
            one["kind"],
            one["state"],
            str(len(one["lines"])),
            amount_text(debit, one["currency"]),
        )
    return made


def books(found: Mapping[str, Any]) -> RenderableType:
    """A period's verdicts, and what is open at its end."""
    grid = Table.grid(padding=(0, 2))
    for check in found["checks"]:
        style, sign = _LIGHTS[check["state"]]
        grid.add_row(Text(sign, style), Text(check["name"], "bold"), Text(check["says"]))
    rows = (
        (
            row["account"],
            row["role"].replace("_", " ").replace(".", ": "),
            row["items"],
            amount_text(row["ledger_minor"], row["currency"]),
            amount_text(row["difference_minor"], row["currency"]),
        )
        for row in found["balances"]
    )
    made = table(
        f"{found['period']}: open at its end",
        "account",
        "what",
        "items",
        "balance",
        "difference",
        numbers=["items", "balance", "difference"],
    )
    return Group(grid, Text(), _filled(made, rows))


def exposure(found: Sequence[Exposed], *, now: datetime) -> RenderableType:
    """Replacements that are out, and whose originals are not back."""
    made = table(
        "Exposure",
        "replacement",
        "return",
        "original is",
        "days",
        "worth",
        "allowed",
        numbers=("days", "worth"),
    )
    return _filled(
        made,
        (
            (
                one.reference,
                one.return_id,
                one.stage.replace("_", " "),
                (now - one.ordered_at).days,
                amount_text(one.value_minor, one.currency),
                "yes" if one.is_allowed else "no",
            )
            for one in found
        ),
    )


def register(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The register of batches."""
    made = table(
        "Batches", "batch", "kind", "state", "of", "refunds", "ledger", numbers=("refunds",)
    )
    made.columns[0].no_wrap = True
    return _filled(
        made,
        (
            (
                row["batch_id"],
                row["kind"],
                row["state"],
                row["origin_date"].isoformat(),
                amount_text(json.loads(row["totals"]).get("refunds", 0), row["currency"]),
                row["ledger_id"],
            )
            for row in rows
        ),
    )


def periods(changes: Sequence[Mapping[str, Any]], zone: str) -> RenderableType:
    """Who locked or unlocked which month, and when."""
    made = table("Periods", "month", "", "by", "when", "why")
    return _filled(
        made,
        (
            (
                one["period"],
                "locked" if one["is_locked"] else "opened",
                one["changed_by"],
                local(one["changed_at"], zone),
                one["reason"],
            )
            for one in changes
        ),
    )


_ENTRIES = 40


def batch(line: Mapping[str, Any], zone: str) -> RenderableType:
    """The batch lines a story was asked for; of one line, what each unit has in it."""
    about = [f"policy {line['policy_hash'][:8]}"]
    about += [line["description"]] if line["description"] else []
    about += [f"reversed by {line['reversed_by']}"] if line["reversed_by"] else []
    programs = dict.fromkeys(one["target"] for one in line["exports"])
    about += [f"written for {', '.join(programs)}"] if programs else []
    parts: list[RenderableType] = [_batch_lines(line), Text("; ".join(about) + "\n", "dim")]
    if len(line["lines"]) == 1:
        (one,) = line["lines"]
        entries = one["entries"]
        made = table(
            f"{len(entries)} entries come to line {one['number']:02d}",
            "unit",
            "order",
            "amount",
            "happened",
            "event",
            numbers=["amount"],
        )
        made.columns[0].no_wrap = True  # it is what to ask for next
        rows = (
            (
                entry["unit_key"],
                entry["order_number"] or "",
                amount_text(entry["amount_minor"], one["currency"]),
                local(datetime.fromisoformat(entry["occurred_at"]), zone),
                entry["event_key"].rpartition(":")[2],
            )
            for entry in entries[:_ENTRIES]
        )
        parts.append(_filled(made, rows))
        if len(entries) > _ENTRIES:
            parts.append(Text(f"and {len(entries) - _ENTRIES} more: --json has them all\n"))
        if one["difference_minor"]:
            wrong = amount_text(one["difference_minor"], one["currency"])
            parts.append(Text(f"the entries do not explain {wrong} of the line\n", "bold red"))
    return Group(*parts)


def _batch_lines(line: Mapping[str, Any]) -> RenderableType:
    return _filled(
        table(
            f"{line['batch']} ({line['state']}), hash {line['hash'][:12]}",
            "line",
            "account",
            "role",
            "tax",
            "side",
            "amount",
            numbers=["line", "amount"],
        ),
        (
            (
                one["number"],
                one["account"],
                one["role"],
                one["tax_rate"],
                one["side"],
                amount_text(one["amount_minor"], one["currency"]),
            )
            for one in line["lines"]
        ),
    )


def story(item: Mapping[str, Any], moments: Sequence[Moment], zone: str) -> RenderableType:
    """One unit's story, a line a moment."""
    unit = item["item"]
    head = Text.assemble(
        (unit["unit_key"], "bold"),
        f"  return {unit.get('return_id', '?')}, order {unit.get('order_number', '?')}, "
        f"{unit.get('sku', '?')}: {unit.get('stage', 'unknown')}",
        "" if unit.get("is_open", True) else ", closed",
    )
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for moment in moments:
        at = local(datetime.fromisoformat(moment.at), zone)
        grid.add_row(Text(at, "dim"), Text(moment.topic, "cyan"), Text(moment.text))
    lines = (
        (
            f"{row['batch_id']}/{row['line_number']}",
            row["account"],
            row["role"],
            row["side"],
            amount_text(row["amount_minor"], row["currency"]),
            amount_text(row["line_minor"], row["currency"]),
        )
        for row in item["journal_lines"]
    )
    columns = ("line", "account", "role", "side", "its part", "of the line's")
    made = table("In the journal", *columns, numbers=["its part", "of the line's"])
    made.columns[0].no_wrap = True
    return Group(head, grid, Text(), _filled(made, lines))


def messages(rows: Sequence[Mapping[str, Any]], zone: str) -> RenderableType:
    """The last alerts, and what became of each."""
    return _filled(
        table("", "when", "to", "by", "state", "tries", "subject", "why", numbers=["tries"]),
        (
            (
                local(row["created_at"], zone),
                row["owner"],
                row["channel"],
                row["state"].replace("_", " "),
                row["attempts"],
                row["subject"],
                row["error"],
            )
            for row in rows
        ),
    )
