"""``make bench``: every measurement, one run, a table on the terminal and ``docs/benchmarks.md``.

Smaller sizes for a quick look: ``python -m benchmarks --items 10000 --history 100000``. The file
says with which sizes it was made.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.databases import KINDS, Databases
from benchmarks.history import multiply
from benchmarks.life import NEW_UNITS
from benchmarks.merchant import POLICY
from benchmarks.pages import serving
from benchmarks.process import PROJECT, busy, measured

_REPORT = PROJECT / "docs" / "benchmarks.md"
_NOTES = "## Reading the figures\n"
_BASE = 250  # orders whose lives a history is made of


class Report:
    """Prints while it is written, and keeps it for the file."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, *lines: str) -> None:
        self.lines.extend(lines)
        print(*lines, sep="\n", flush=True)

    def table(self, head: list[str], rows: list[list[str]]) -> None:
        self.say("", " | ".join(["", *head, ""]).strip())
        self.say("|" + " --- |" * len(head))
        self.say(*(" | ".join(["", *row, ""]).strip() for row in rows), "")


# dlt as it comes, and asked for the tables the pipeline writes.
_DLT = {"dlt": "benchmarks/dlt_load.py", "dlt, same tables": "benchmarks/dlt_tables.py"}


_BEGAN = time.monotonic()


def progress(message: str) -> None:
    """Say on the terminal, and nowhere else, what is being done and since when."""
    minutes, seconds = divmod(int(time.monotonic() - _BEGAN), 60)
    print(f"[{minutes:2}:{seconds:02}] {message}", file=sys.stderr, flush=True)


def loading(report: Report, databases: Databases, dlt: str, items: int, repeats: int) -> None:
    """Pages over HTTP into validated tables, beside dlt."""
    phases, rows = [], []
    with serving(items) as (vendor, size):
        report.say(f"## {items:,} return items over HTTP into tables ({size / 1e6:.0f} MB)")
        for kind in KINDS:
            ours: list[dict[str, Any]] = []
            theirs: dict[str, list[dict[str, Any]]] = {name: [] for name in _DLT}
            for number in range(1, repeats + 1):
                progress(f"loading {items:,} items into {kind}: {number} of {repeats}")
                with databases.fresh(kind) as url:
                    ours.append(_loaded(databases, kind, "-m", "benchmarks.load", url, vendor))
                for name, script in _DLT.items():
                    with (
                        databases.fresh(kind, migrated=False) as url,
                        tempfile.TemporaryDirectory() as scratch,
                    ):
                        arguments = (script, url, vendor, scratch)
                        theirs[name].append(_loaded(databases, kind, *arguments, python=dlt))
            for one in (*ours, *(one for found in theirs.values() for one in found)):
                if one["rows"] != items:
                    sys.exit(f"{one['rows']} of {items} rows arrived")
            mine = _median(ours)
            phases.append(
                [kind, *(_seconds(mine[phase]) for phase in ("read and keep", "derive", "check"))]
            )
            for name, others in {"pipeline": ours, **theirs}.items():
                found = _median(others)
                times = found["total"] / mine["total"]
                processor = found["processor"] / mine["processor"]
                is_ours = name == "pipeline"
                rows.append(
                    [
                        kind,
                        name,
                        _seconds(found["total"]),
                        _seconds(found["processor"]),
                        f"{found['peak_mb']:.0f} MB",
                        "" if is_ours else f"**{times:.1f}**",
                        "" if is_ours else f"{processor:.1f}",
                    ]
                )
    head = ["", "", "whole", "processor", "peak", "times ours", "by processor"]
    report.table(head, rows)
    report.say("The pipeline's parts:")
    report.table(["", "read and keep", "derive", "check"], phases)


def _loaded(databases: Databases, kind: str, *arguments: str, **more: str) -> dict[str, Any]:
    """A measurement whose ``processor`` includes the database's: SQLite's is the program's own."""
    if kind == "SQLite":
        return measured(*arguments, **more)
    before = busy(databases.folder / "pg")
    found = measured(*arguments, **more)
    time.sleep(1)  # its sessions are counted when they have ended
    found["processor"] += busy(databases.folder / "pg") - before
    return found


def computing(report: Report, databases: Databases, sizes: list[int]) -> None:
    """From kept payloads to computed adjustments."""
    report.say("## From kept payloads to computed stock adjustments")
    rows = []
    for kind in KINDS:
        for units in sizes:
            progress(f"computing {units:,} units on {kind}")
            with databases.fresh(kind) as url:
                found = measured("-m", "benchmarks.compute", url, str(units))
            if found["computed"] != units:
                sys.exit(f"{found['computed']} of {units} adjustments were computed")
            spent = found["processor_of"]
            rows.append(
                [
                    kind,
                    f"{units:,}",
                    *(_seconds(spent[p]) for p in ("returns", "receipts", "matches")),
                    *(_seconds(spent[p]) for p in ("dispositions", "adjustments")),
                    f"**{units / found['processor']:,.0f}**",
                    f"{units / found['total']:,.0f}",
                    f"{found['peak_mb']:.0f} MB",
                ]
            )
    head = ["", "units", "returns", "receipts", "matches", "dispositions", "adjustments"]
    report.table([*head, "units a second", "by the clock", "peak"], rows)
    report.say(
        "Seconds of processor time of the pipeline's own process; PostgreSQL's work is in the "
        "rate by the clock alone.",
        "",
    )


def ticking(report: Report, databases: Databases, policy: str, history: int) -> None:
    """A tick over a small and a large history."""
    small = 10_000
    report.say(f"## What a tick costs over {small:,} and over {history:,} historic units")
    rows, steps = [], []
    for kind in KINDS:
        with databases.fresh(kind) as base:
            vendors = str(databases.folder / f"vendors-{kind}")
            measured("-m", "benchmarks.life", base, str(_BASE), policy, vendors)
            found = []
            for units in (small, history):
                with databases.copy(base) as url:
                    multiply(url, units // _BASE - 1, lambda what: progress(f"{kind}: {what}"))  # noqa: B023
                    progress(f"ticks over {units:,} historic units on {kind}")
                    found.append(measured("-m", "benchmarks.ticks", url, vendors, policy))
        for what, title in (("quiet", "nothing new"), ("busy", f"{NEW_UNITS} units received")):
            row = [kind, title]
            for way in (what, f"{what}_processor"):
                before, after = (one[way]["total"] for one in found)
                row.extend([_seconds(before), _seconds(after), f"**{after / before:.2f}**"])
            rows.append([*row, f"{found[1]['peak_mb']:.0f} MB"])
            before, after = (one[f"{what}_processor"] for one in found)
            slower = sorted(before, key=lambda name: before[name] - after[name])
            steps.extend(
                [kind, title, name, f"{before[name] * 1000:.0f}", f"{after[name] * 1000:.0f}"]
                for name in [name for name in slower if name != "total"][:3]
            )
    less, more = f"{small:,}", f"{history:,}"
    processor = [f"processor, {less}", more, "times"]
    report.table(["", "tick", f"clock, {less}", more, "times", *processor, "peak"], rows)
    report.say("The steps that grew most, in ms of processor time:")
    report.table(["", "tick", "step", less, more], steps)


def closing(report: Report, databases: Databases, refunds: int, a_day: int) -> None:
    """A day of many refunds closed; a month's backfill in one run and in many."""
    days = 31
    report.say(
        f"## Closing a day of {refunds:,} refunds, and a month of {a_day * days:,}, "
        "in three currencies"
    )
    rows = []
    for kind in KINDS:
        progress(f"closing a day of {refunds:,} refunds on {kind}")
        with databases.fresh(kind) as url:
            day = measured("-m", "benchmarks.finance", url, str(refunds), "1")
        rows.append(_finance_row(kind, "a day", day))
        sealed = set()
        for title, more in (("a month, one run", ()), ("a month, a run a day", ("many",))):
            progress(f"closing {title}, on {kind}")
            with databases.fresh(kind) as url:
                month = measured("-m", "benchmarks.finance", url, str(a_day), str(days), *more)
            rows.append(_finance_row(kind, title, month))
            sealed.add(month["sealed"])
        if len(sealed) != 1:
            sys.exit("one run and many sealed other bytes")
    head = ["", "what", "refunds", "batches", "enter", "close", "close again", "verify", "peak"]
    report.table(head, rows)
    report.say(
        "*Enter* is what the polls did beforehand: every refund and movement in the ledger. "
        "One run and many seal the same bytes; *verify* makes every batch again from its payloads."
    )


def _finance_row(kind: str, title: str, found: dict[str, Any]) -> list[str]:
    phases = ("enter in the ledger", "close", "close again", "verify")
    return [
        kind,
        title,
        f"{found['refunds']:,}",
        str(found["batches"]),
        *(_seconds(found[phase]) for phase in phases),
        f"{found['peak_mb']:.0f} MB",
    ]


_STOCK = {"CreateRMABooking", "ActionRMABooking"}
_MONEY = {"CreateRefund", "ActionRefund"}


def calling(report: Report, databases: Databases, policy: str, orders: int) -> None:
    """Vendor calls over the whole life of returned orders."""
    progress(f"vendor calls of {orders:,} orders")
    report.say(f"## Vendor calls for {orders:,} returned orders, mirror to paid refund")
    with databases.fresh("SQLite") as url:
        found = measured("-m", "benchmarks.life", url, str(orders), policy)
    calls: dict[str, int] = found["calls"]
    linnworks = {n.partition(".")[2]: c for n, c in calls.items() if n.startswith("linnworks.")}
    stock = sum(linnworks.get(name, 0) for name in _STOCK) / orders
    money = sum(linnworks.get(name, 0) for name in _MONEY) / orders
    refund_reads = linnworks.get("GetRefundHeadersByOrderId", 0) / orders
    reads = (sum(linnworks.values()) / orders) - stock - money - refund_reads
    report.say(
        "",
        f"- Linnworks, stock: **{stock:.2f} writes** and **{reads:.2f} reads** an order;",
        f"- Linnworks, money: {money:.2f} writes and {refund_reads:.2f} reads an order "
        "(each refund looks at the order's refunds first);",
        f"- Happy Returns: {calls.get('happy_returns.return', 0) / orders:.2f} look-ups an order "
        "in six unpaced syncs, which ask for every watched order each time.",
    )
    report.table(["call", "times"], [[name, str(n)] for name, n in sorted(calls.items())])
    report.say(f"Peak memory {found['peak_mb']:.0f} MB, the sandbox in the same process included.")


def _median(found: list[dict[str, Any]]) -> dict[str, float]:
    numbers = [name for name, value in found[0].items() if isinstance(value, int | float)]
    return {name: statistics.median(one[name] for one in found) for name in numbers}


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def main() -> None:
    """Measure all, or the parts that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("parts", nargs="*", help="of: loading computing calling ticking closing")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--units", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--refunds", type=int, default=10_000)
    parser.add_argument("--a-day", type=int, default=1_000)
    parser.add_argument("--orders", type=int, default=1_000)
    parser.add_argument("--history", type=int, default=1_000_000)
    parser.add_argument("--dlt", default=str(PROJECT / ".venv-bench" / "bin" / "python"))
    parser.add_argument("--report", type=Path, default=_REPORT)
    asked = parser.parse_args()
    report = Report()
    load = os.getloadavg()
    report.say(
        "# Benchmarks",
        "",
        f"Made by `{' '.join(['python -m benchmarks', *sys.argv[1:]])}` (all of it: `make bench`) "
        f"on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores; load before it began {load[0]:.1f} (1 min), "
        f"{load[1]:.1f} (5 min):",
        "above 0.5 other work ran beside it, and ratios tell more than seconds.",
        "",
    )
    parts = asked.parts or ["loading", "computing", "calling", "ticking", "closing"]
    with Databases() as databases:
        policy = databases.folder / "policy.toml"
        policy.write_text(POLICY, "utf-8")
        for part in parts:
            if part == "loading":
                loading(report, databases, asked.dlt, asked.items, asked.repeats)
            elif part == "computing":
                computing(report, databases, asked.units)
            elif part == "calling":
                calling(report, databases, str(policy), asked.orders)
            elif part == "closing":
                closing(report, databases, asked.refunds, asked.a_day)
            elif part == "ticking":
                ticking(report, databases, str(policy), asked.history)
            else:
                parser.error(f"no part {part!r}")
    text = "\n".join(report.lines).rstrip() + "\n"
    if asked.report.exists():  # what people wrote about the figures stays
        _, mark, notes = asked.report.read_text("utf-8").partition(_NOTES)
        text += f"\n{mark}{notes}" if mark else ""
    asked.report.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
