"""Triggers that keep a sealed byte from changing, on both databases.

Whatever program holds the connection: a sealed batch, its lines and the postings behind it
are written once. Only how far a batch is may change, and only forward. Not here: finding
out that somebody removed a trigger and changed a row (``steps.invariants``, ``verify``).
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import DDL, event

MOVES = (
    ("sealed", "exported"),
    ("exported", "posted"),
    ("sealed", "reversed"),
    ("exported", "reversed"),
    ("posted", "reversed"),
)
"""From which state a sealed batch may come into which."""

_SEALED = (
    "batch_id",
    "kind",
    "entity",
    "legal_entity",
    "channel_group",
    "currency",
    "base_currency",
    "business_date",
    "origin_date",
    "hash",
    "body",
    "totals",
    "policy_hash",
    "sealed_at",
    "run_id",
    "description",
    "reverses_id",
    "replaces_id",
)


def _differs(names: tuple[str, ...], operator: str) -> str:
    return " OR ".join(f"OLD.{name} {operator} NEW.{name}" for name in names)


def _moved() -> str:
    allowed = ", ".join(f"'{before}>{after}'" for before, after in MOVES)
    return f"OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({allowed})"


_CHANGED = "a sealed batch is never changed"
_MOVED = "a batch does not go from this state to that one"

# table, name, when, condition, what is said; the condition with each database's words.
_GUARDS = (
    ("batches", "sealed", "UPDATE", "{differs}", _CHANGED),
    ("batches", "moved", "UPDATE", "{moved}", _MOVED),
    ("batches", "kept", "DELETE", "1 = 1", _CHANGED),
    ("batch_lines", "sealed", "UPDATE", "1 = 1", _CHANGED),
    ("batch_lines", "kept", "DELETE", "1 = 1", _CHANGED),
    ("batch_lines", "counted", "INSERT", "NEW.number > {counted}", _CHANGED),
    ("postings", "sealed", "UPDATE", "OLD.batch_id IS NOT NULL", _CHANGED),
    ("postings", "kept", "DELETE", "OLD.batch_id IS NOT NULL", _CHANGED),
)


def on_sqlite(table: str) -> list[str]:
    """The statements that make a table's triggers on SQLite."""
    counted = (
        "(SELECT json_array_length(body, '$.lines') FROM batches "
        "WHERE batches.batch_id = NEW.batch_id)"
    )
    return [
        f"CREATE TRIGGER {of}_{name} BEFORE {what} ON {of} "
        f"WHEN {_filled(when, 'IS NOT', counted)} "
        f"BEGIN SELECT RAISE(ABORT, '{said}'); END"
        for of, name, what, when, said in _GUARDS
        if of == table
    ]


def on_postgresql(table: str) -> list[str]:
    """The statements that make a table's triggers on PostgreSQL, and their function."""
    counted = "sealed_lines(NEW.batch_id)"
    made = [
        (
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation'; END $$"
        ),
        (
            "CREATE OR REPLACE FUNCTION sealed_lines(sealed text) RETURNS integer LANGUAGE sql "
            "STABLE AS $$ SELECT jsonb_array_length(body::jsonb -> 'lines') FROM batches "
            "WHERE batch_id = sealed $$"
        ),
    ]
    return (made if table == "batch_lines" else made[:1]) + [
        f"CREATE TRIGGER {of}_{name} BEFORE {what} ON {of} FOR EACH ROW "
        f"WHEN ({_filled(when, 'IS DISTINCT FROM', counted)}) "
        f"EXECUTE FUNCTION refuse_change('{said}')"
        for of, name, what, when, said in _GUARDS
        if of == table
    ]


def _filled(when: str, operator: str, counted: str) -> str:
    return when.format(differs=_differs(_SEALED, operator), moved=_moved(), counted=counted)


def without(dialect: str) -> list[str]:
    """The statements that drop every trigger, for whoever has to tamper with what is sealed."""
    on = " ON {of}" if dialect == "postgresql" else ""
    return [f"DROP TRIGGER {of}_{name}{on.format(of=of)}" for of, name, *_ in _GUARDS]


def attach(table: sa.Table) -> None:
    """Make a table's triggers whenever the table is made."""
    for dialect, statements in (("sqlite", on_sqlite), ("postgresql", on_postgresql)):
        for statement in statements(table.name):
            text = statement.replace("%", "%%")
            made = DDL(text).execute_if(dialect=dialect)  # type: ignore[no-untyped-call]
            event.listen(table, "after_create", made)
