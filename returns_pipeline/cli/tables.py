"""Tables for eyes. What is in them is ``steps``' and ``reporting``'s."""

from __future__ import annotations

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
from returns_pipeline.reporting.day import amount_text
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


def queue(rows: Sequence[Mapping[str, Any]], now: datetime, zone: str) -> RenderableType:
    """The exception queue."""
    made = table(
        f"{len(rows)} exceptions",
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
        due = datetime.fromisoformat(row["due_at"])
        late = due < now and row["status"] in {"open", "ack", "snoozed"}
        amount = row["amount_minor"] and row["currency"]
        made.add_row(
            Text(row["severity"], _SEVERITY[row["severity"]]),
            row["owner"],
            escape(row["code"]),
            escape(", ".join(row["order_numbers"]) or row["key"][:24]),
            Text(local(due, zone), "red" if late else ""),
            amount_text(row["amount_minor"], row["currency"]) if amount else "",
            escape(row["message"]),
        )
    return made


def task(row: Mapping[str, Any], now: datetime, zone: str) -> RenderableType:
    """One exception, whole."""
    from returns_pipeline.domain.exceptions import CATALOGUE

    entry = CATALOGUE[row["code"]]
    opened = datetime.fromisoformat(row["opened_at"])
    due = datetime.fromisoformat(row["due_at"])
    late = " (overdue)" if due < now and row["status"] == "open" else ""
    grid = Table.grid(padding=(0, 2))
    for name, value in (
        ("why", row["message"]),
        ("to do", entry.action),
        ("closes when", entry.closes_when),
        ("keeps from moving", entry.blocks),
        ("owner", row["owner"]),
        ("status", f"{row['status']}, open since {local(opened, zone)}"),
        ("due", f"{local(due, zone)}{late}"),
        (
            "money",
            amount_text(row["amount_minor"], row["currency"]) if row["currency"] else "",
        ),
        ("units", ", ".join(row["item_ids"])),
        ("returns", ", ".join(row["return_ids"])),
        ("orders", ", ".join(row["order_numbers"])),
        ("runbook", row["runbook"]),
    ):
        if value:
            grid.add_row(Text(name, "dim"), Text(value))
    title = f"{row['severity']} {row['code']} {row['key']}"
    return Panel(grid, title=escape(title), title_align="left")


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


def batch(line: Mapping[str, Any]) -> RenderableType:
    """The batch lines a story was asked for."""
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
    return Group(head, grid, Text())


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
