"""The fortnight as a table for people: what came up, whose it was, what mended it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from returns_pipeline.domain.exceptions import OPEN_STATES
from returns_pipeline.domain.money import format_minor
from returns_pipeline_tests.fortnight.verdict import Came

_ROW = "{code:28} {times:>5} {owner:11} {severity:8} {units:>5} {worth:>14}  {how}\n"


def table(came: Came) -> str:
    """One line a code, in the catalogue's order of severity and code."""
    by_code: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in came.before:
        by_code[row["code"]].append(row)
    mended: dict[str, list[str]] = defaultdict(list)
    for _, code, how, _ in came.told.repairs:
        if how not in mended[code]:
            mended[code].append(how)
    lines = [
        _ROW.format(
            code="code",
            times="times",
            owner="owner",
            severity="severity",
            units="units",
            worth="at stake",
            how="what mended it",
        )
    ]
    for code, rows in sorted(by_code.items()):
        still = [row for row in rows if row["status"] in OPEN_STATES]
        how = "; ".join(mended[code]) or ("with its cause" if still else "closed itself")
        lines.append(
            _ROW.format(
                code=code,
                times=len(rows),
                owner=rows[0]["owner"],
                severity=" ".join(sorted({row["severity"] for row in rows})),
                units=sum(len(row["units"]) for row in rows),
                worth=_worth(rows),
                how=how,
            )
        )
    more = [row for row in came.after if row["id"] > max(one["id"] for one in came.before)]
    lines.append(
        f"\n{len(came.before)} exceptions in fourteen days, of {len(by_code)} codes; "
        f"{sum(row['status'] in OPEN_STATES for row in came.before)} open at their end. Mending "
        f"brought {len(more)} more; open now: "
        f"{sum(row['status'] in OPEN_STATES for row in came.after)}. Alerts told: "
        f"{len(came.alerts)}.\n"
    )
    return "".join(lines)


def _worth(rows: list[dict[str, Any]]) -> str:
    by_currency: dict[str, int] = defaultdict(int)
    for row in rows:
        if row["amount_minor"]:
            by_currency[row["currency"]] += row["amount_minor"]
    return " ".join(f"{format_minor(n, code)} {code}" for code, n in sorted(by_currency.items()))
