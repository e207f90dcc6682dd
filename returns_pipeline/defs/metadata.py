"""What people see of an asset: counts, totals, small tables, columns.

A step's own counts stand under their plain names; every other figure has a ``/`` in its
name, so that the counts can be read back from a run (``launch``). Dagster plots all
numbers over time. No personal data: keys, numbers, codes and amounts only.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import dagster as dg
import sqlalchemy as sa

from returns_pipeline.domain.money import format_minor
from returns_pipeline.steps.figures import Breakdown, row_count
from returns_pipeline.storage import frames

Metadata = dict[str, Any]
CALLS = "vendor_calls"
DOCUMENT = "document"
"""What a command prints of the run, as plain values."""
_SHOWN = 50


def column_schema(table: sa.Table) -> dg.TableSchema:
    """The table's columns as Dagster shows them: type, meaning, whether they may be missing."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=kind,
                description=about,
                constraints=dg.TableColumnConstraints(
                    nullable=bool(table.c[name].nullable), unique=bool(table.c[name].unique)
                ),
            )
            for name, kind, about in frames.columns(table)
        ]
    )


def of_table(table: sa.Table) -> Metadata:
    """What is known of a table-backed asset before it ever ran."""
    return {"dagster/column_schema": column_schema(table), "dagster/table_name": table.name}


def counts(found: Mapping[str, int]) -> Metadata:
    """A step's counts, each a number Dagster plots."""
    return {name: dg.MetadataValue.int(n) for name, n in found.items()}


def calls(made: Counter[str]) -> Metadata:
    """Vendor calls by method, where there were any."""
    if not made:
        return {}
    return {
        CALLS: dg.MetadataValue.json(dict(sorted(made.items()))),
        "vendor_calls/total": dg.MetadataValue.int(sum(made.values())),
    }


def rows(connection: sa.Connection, table: sa.Table | None) -> Metadata:
    """How many rows the table has."""
    if table is None:
        return {}
    return {"dagster/row_count": dg.MetadataValue.int(row_count(connection, table))}


def breakdowns(connection: sa.Connection, wanted: Sequence[Breakdown]) -> Metadata:
    """The small tables of counts, and each count as a number of its own."""
    found: Metadata = {}
    for one in wanted:
        lines = one.rows(connection)
        found[one.name] = table(lines)
        totals: Counter[str] = Counter()
        for line in lines:
            labels = [str(v) for k, v in line.items() if k not in {"count", "amount_minor"}]
            found[f"{one.name}/{' '.join(labels)}"] = dg.MetadataValue.int(line["count"])
            if "amount_minor" in line:
                totals[line["currency"]] += line["amount_minor"]
        found.update(amounts(one.name, totals))
    return found


def amounts(name: str, totals: Mapping[str, int]) -> Metadata:
    """Totals by currency: minor units to be plotted, and as people read them."""
    found: Metadata = {}
    for currency, minor in sorted(totals.items()):
        found[f"{name}/{currency} minor units"] = dg.MetadataValue.int(int(minor))
    if totals:
        found[f"{name}/total"] = dg.MetadataValue.text(
            ", ".join(f"{format_minor(int(n), c)} {c}" for c, n in sorted(totals.items()))
        )
    return found


def table(lines: Sequence[Mapping[str, Any]]) -> Any:
    """Rows as a table; those beyond the first fifty are only counted.

    A column ``..._minor`` beside a ``currency`` is written in that currency, and named so.
    """
    if not lines:
        return dg.MetadataValue.text("none")
    head = list(lines[0])
    titles = [name.removesuffix("_minor") if _is_money(name, lines[0]) else name for name in head]
    text = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(head)}"]
    text += [
        f"| {' | '.join(_cell(line[name], name, line) for name in head)} |"
        for line in lines[:_SHOWN]
    ]
    if len(lines) > _SHOWN:
        text.append(f"\n… and {len(lines) - _SHOWN} more")
    return dg.MetadataValue.md("\n".join(text))


def _is_money(name: str, line: Mapping[str, Any]) -> bool:
    return name.endswith("_minor") and "currency" in line


def _cell(value: Any, name: str, line: Mapping[str, Any]) -> str:
    if _is_money(name, line) and value is not None:
        return format_minor(int(value), line["currency"])
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("|", "\\|").replace("\n", " ")
