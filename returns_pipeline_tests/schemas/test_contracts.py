"""Every table has a contract; rows as the steps write them pass it, others are named."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from returns_pipeline import schemas
from returns_pipeline.schemas.fields import Field, Kind
from returns_pipeline.storage import frames
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.storage.rows import NOON, insert

ALL = sorted(t.metadata.tables)
EARLIER = NOON - timedelta(hours=1)
LATER = pd.Timestamp(2026, 3, 15)
Plausible = Mapping[str, pd.DataFrame]


@pytest.fixture(scope="module")
def plausible() -> Plausible:
    """Each table's frame with one plausible row."""
    engine = connect("sqlite:///:memory:")
    with engine.begin() as connection:
        t.metadata.create_all(connection)
        for name in ALL:
            if not connection.execute(sa.select(t.metadata.tables[name])).first():
                insert(connection, name)
        return {name: frames.read(connection, t.metadata.tables[name]) for name in ALL}


def _with(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The frame with other values, of the columns' own types."""
    return frame.assign(
        **{
            column: pd.Series([value] * len(frame), dtype="object").astype(frame[column].dtype)
            for column, value in values.items()
        }
    )


def _failures(table: str, frame: pd.DataFrame) -> set[tuple[str, str]]:
    return {(failure.column, failure.check) for failure in schemas.check(table, frame).failures}


def test_every_table_has_a_schema_with_the_same_columns_in_the_same_order() -> None:
    declared = {name: list(schema.columns) for name, schema in schemas.SCHEMAS.items()}
    stored = {name: list(table.c.keys()) for name, table in t.metadata.tables.items()}
    assert declared == stored


@pytest.mark.parametrize("name", ALL)
def test_nullability_and_kinds_are_those_of_the_table(name: str) -> None:
    kinds = {
        "TEXT": Kind.TEXT,
        "VARCHAR": Kind.TEXT,
        "JSON": Kind.TEXT,
        "INTEGER": Kind.INTEGER,
        "BIGINT": Kind.INTEGER,
        "BOOLEAN": Kind.FLAG,
        "DATE": Kind.DAY,
    }
    for column in t.metadata.tables[name].c:
        field = schemas.TABLES[name].fields[column.name]
        assert field.is_nullable == column.nullable, column.name
        stored = str(column.type).partition("(")[0]
        instant = type(column.type).__name__ == "Instant"
        assert field.kind == (Kind.INSTANT if instant else kinds[stored]), column.name


@pytest.mark.parametrize("name", ALL)
def test_a_key_that_names_rows_is_a_unique_key_of_the_table(name: str) -> None:
    table = t.metadata.tables[name]
    unique = [tuple(column.name for column in table.primary_key)]
    unique += [
        tuple(column.name for column in constraint.columns)
        for constraint in table.constraints
        if isinstance(constraint, sa.UniqueConstraint)
    ]
    assert schemas.TABLES[name].key in unique


@pytest.mark.parametrize("name", ALL)
def test_a_plausible_row_passes(plausible: Plausible, name: str) -> None:
    verdict = schemas.check(name, plausible[name])
    assert verdict.failures == ()
    assert verdict.rows == 1
    assert verdict.passed


@pytest.mark.parametrize("name", ALL)
def test_an_empty_table_passes(plausible: Plausible, name: str) -> None:
    assert schemas.check(name, plausible[name].head(0)).passed


@pytest.mark.parametrize("name", ALL)
def test_what_must_be_there_and_is_not_is_named(plausible: Plausible, name: str) -> None:
    fields = schemas.TABLES[name].fields
    frame = plausible[name].assign(
        **{
            column: pd.Series([None]).astype(dtype) if _can_be_missing(dtype) else [None]
            for column, dtype in plausible[name].dtypes.items()
        }
    )
    named = {column for column, _ in _failures(name, frame) if column}
    assert named == {column for column, field in fields.items() if not field.is_nullable}


def _can_be_missing(dtype: Any) -> bool:
    return dtype.kind not in "ib" or isinstance(dtype, pd.Int64Dtype)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("way", [0, -1], ids=["first", "last"])
def test_a_value_outside_what_is_declared_is_named(
    plausible: Plausible, name: str, way: int
) -> None:
    wrong = {
        column: breaches[way]
        for column, field in schemas.TABLES[name].fields.items()
        if (breaches := list(_breaches(field)))
    }
    frame = _with(plausible[name], **{column: value for column, (value, _) in wrong.items()})
    assert _failures(name, frame) >= {(column, check) for column, (_, check) in wrong.items()}


def _breaches(field: Field) -> Iterator[tuple[Any, str]]:
    if field.one_of:
        yield "no such word", "known word"
    if field.pattern:
        yield "no such shape", "shape"
    if field.is_filled:
        yield "", "filled"
    if field.least is not None:
        yield field.least - 1, f"at least {field.least}"
    if field.most is not None:
        yield field.most + 1, f"at most {field.most}"


@pytest.mark.parametrize("name", ALL)
def test_a_column_of_another_type_is_named(plausible: Plausible, name: str) -> None:
    columns = list(schemas.TABLES[name].fields)
    frame = plausible[name].assign(**{column: [object()] for column in columns})
    assert {column for column, _ in _failures(name, frame)} >= set(columns)


def test_a_column_nobody_declared_is_named(plausible: Plausible) -> None:
    frame = plausible["receipts"].assign(shopper_email="a@b.example")
    assert _failures("receipts", frame) == {("shopper_email", "column_in_schema")}


def test_a_missing_column_is_named(plausible: Plausible) -> None:
    frame = plausible["receipts"].drop(columns="seen_at")
    assert _failures("receipts", frame) == {("seen_at", "column_in_dataframe")}


@pytest.mark.parametrize(
    ("name", "values", "rule"),
    [
        ("refunds_due", {"amount_minor": 2200}, "the parts make the amount"),
        ("refunds_due", {"goods_vat_minor": 2000}, "goods_vat_minor is within goods_minor"),
        (
            "refunds_due",
            {"executor": "ledger"},
            "only a refund in money, or what an exchange leaves, has one who pays it",
        ),
        (
            "refunds_due",
            {"state": "batched"},
            "batch_id is there when state is batched or actioned or recorded",
        ),
        (
            "refunds_due",
            {"state": "actioned", "batch_id": "HRL-20260314-UKGBP-00"},
            "settled_at is there exactly when state is actioned or recorded or refused",
        ),
        ("matches", {"order_id": None}, "a matched unit has its order, line and number"),
        ("matches", {"code": "SKU_UNKNOWN"}, "an unmatched unit says by which code"),
        ("dispositions", {"location_id": ""}, "what moves stock names a location"),
        (
            "dispositions",
            {"effect": "scrap", "is_sellable": True},
            "only what is restocked is sellable",
        ),
        ("gates", {"at": None}, "an open gate has its instant, a shut one its code"),
        ("gates", {"is_cleared": False}, "an open gate has its instant, a shut one its code"),
        (
            "stock_adjustments",
            {"state": "intended"},
            "intent_key is there when state is intended",
        ),
        (
            "stock_adjustments",
            {"kind": "scrap"},
            "what is scrapped is written off, what is restocked is not",
        ),
        ("stock_adjustments", {"kind": "move"}, "only a move has a place it comes from"),
        (
            "exchange_orders",
            {"state": "created", "intent_key": "k", "created_order_at": NOON},
            "new_order_id is there exactly when state is created",
        ),
        ("postings", {"line_number": 1}, "batch and line go together"),
        (
            "batches",
            {"batch_id": "HRL-20260315-UKGBP-00"},
            "its id names its day, unit of the books and currency",
        ),
        ("batches", {"state": "posted"}, "posted_at is there when state is posted"),
        ("batches", {"state": "exported"}, "exported_at is there when state is exported"),
        ("batches", {"state": "reversed"}, "reversed_at is there exactly when state is reversed"),
        ("batches", {"kind": "reversal"}, "reverses_id is there exactly when kind is reversal"),
        (
            "batches",
            {"kind": "replacement"},
            "replaces_id is there exactly when kind is replacement",
        ),
        (
            "postings",
            {"amount_minor": 0},
            "an amount of nothing is money in the merchant's currency",
        ),
        (
            "batch_lines",
            {"amount_minor": 0},
            "an amount of nothing is money in the merchant's currency",
        ),
        ("intents", {"state": "sending"}, "lease_until is there when state is sending"),
        (
            "exceptions",
            {"status": "resolved"},
            "resolved_at is there exactly when status is resolved or auto_resolved",
        ),
        (
            "exceptions",
            {"due_at": EARLIER},
            "due_at is not before opened_at",
        ),
        (
            "exceptions",
            {"amount_minor": 5, "currency": ""},
            "money at stake has a currency",
        ),
        ("return_items", {"received_at": NOON}, "precisions say which instants are there"),
        (
            "return_items",
            {"received_at": NOON, "precisions": "----e--"},
            "the stage is the one the instants show",
        ),
        ("return_items", {"stage": "expired"}, "the stage is the one the instants show"),
        ("watermarks", {"at": None}, "one of at and position is there"),
        ("order_lines", {"parent_row_id": "row_id-1"}, "a line is not its own parent"),
        ("return_items", {"changed_at": EARLIER}, "changed_at is not before first_seen_at"),
        ("matches", {"row_id": None}, "row_id is there exactly when outcome is matched"),
        ("matches", {"decided_at": EARLIER}, "decided_at is not before since_at"),
        (
            "stock_adjustments",
            {"posted_at": NOON},
            "posted_at is there exactly when state is posted",
        ),
        ("refunds_due", {"shipping_vat_minor": 301}, "shipping_vat_minor is within shipping_minor"),
        ("refunds_due", {"fee_vat_minor": 101}, "fee_vat_minor is within fee_minor"),
        ("exchange_orders", {"is_even": False}, "what is even is free, and nothing else"),
        (
            "exchange_orders",
            {"created_order_at": NOON},
            "created_order_at is there exactly when state is created",
        ),
        (
            "exchange_orders",
            {"state": "intended"},
            "intent_key is there when state is intended or created",
        ),
        ("batches", {"origin_date": LATER}, "business_date is not before origin_date"),
        ("batches", {"posted_at": EARLIER}, "posted_at is not before sealed_at"),
        ("intents", {"state": "confirmed"}, "evidence is there when state is confirmed"),
        ("intents", {"state": "unknown"}, "sent_at is there when state is sending or unknown"),
        (
            "intents",
            {"state": "withdrawn"},
            "settled_at is there when state is confirmed or refused or suspense or withdrawn",
        ),
        ("exceptions", {"resolved_at": EARLIER}, "resolved_at is not before opened_at"),
        (
            "refund_readings",
            {"actioned_at": NOON},
            "actioned_at is there exactly when is_actioned",
        ),
        ("reconciliations", {"ended_at": EARLIER}, "ended_at is not before began_at"),
        ("alert_messages", {"sent_at": NOON}, "sent_at is there exactly when state is sent"),
    ],
)
def test_columns_that_contradict_each_other_are_named(
    plausible: Plausible, name: str, values: dict[str, Any], rule: str
) -> None:
    assert rule in {check for _, check in _failures(name, _with(plausible[name], **values))}


def test_every_rule_between_columns_is_tried_above() -> None:
    (tried,) = (
        mark.args[1]
        for mark in test_columns_that_contradict_each_other_are_named.pytestmark
        if mark.name == "parametrize"
    )
    declared = {(n, rule.name) for n, table in schemas.TABLES.items() for rule in table.rules}
    assert {(name, rule) for name, _, rule in tried} == declared


def test_only_the_keys_of_failing_rows_are_told_and_no_other_value(plausible: Plausible) -> None:
    frame = pd.concat([plausible["receipts"]] * 30, ignore_index=True)
    frame["unit_key"] = pd.Series([f"unit-{n}" for n in range(30)], dtype="str")
    frame["order_key"] = "a@b.example"
    frame["seen_at"] = "a@b.example"
    frame.loc[frame.index[5:25], "business_date"] = pd.NaT
    verdict = schemas.check("receipts", frame)
    assert {(failure.column, failure.count) for failure in verdict.failures} == {
        ("business_date", 20),
        ("seen_at", 30),
    }
    assert verdict.keys == tuple(f"unit-{n}" for n in range(5, 15))
    assert "example" not in repr(verdict)


def test_two_rows_with_one_key_are_named(plausible: Plausible) -> None:
    twice = pd.concat([plausible["receipts"]] * 2, ignore_index=True)
    assert _failures("receipts", twice) == {("", "multiple_fields_uniqueness")}


def test_failing_rows_are_counted_exactly_however_many(plausible: Plausible) -> None:
    frame = plausible["attempts"].iloc[[0] * 100_000].reset_index(drop=True)
    frame["id"] = range(1, len(frame) + 1)
    frame.loc[:99_998, "step"] = ""
    (failure,) = schemas.check("attempts", frame).failures
    assert (failure.column, failure.check, failure.count) == ("step", "filled", 99_999)


def test_importing_the_contracts_of_tables_does_not_import_pandas() -> None:
    code = (
        "import sys, returns_pipeline.schemas, returns_pipeline.storage.frames as frames, "
        "returns_pipeline.storage.tables as t\n"
        "frames.columns(t.orders)\n"
        "sys.exit('pandas' in sys.modules or 'pandera' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603
