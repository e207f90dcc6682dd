"""The declarations as pandera schemas, and what a frame's breaches come to.

Importing this costs a second of pandas and pandera: ``returns_pipeline.schemas`` does it
when it is first asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaError, SchemaErrors

from returns_pipeline.schemas.declared import TABLES
from returns_pipeline.schemas.fields import Declared, Field, Kind

_MOST_KEYS = 10
# The cases themselves are never shown: a few are enough for pandera's own bookkeeping.
_FEW = 1


@dataclass(frozen=True, slots=True)
class Failure:
    """One check that rows of a table do not pass. Of no column: one between columns."""

    column: str
    check: str
    count: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of checking a frame: no values but the keys of a few failing rows."""

    rows: int
    failures: tuple[Failure, ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every row is as declared."""
        return not self.failures


def dtype(field: Field) -> Any:
    """The pandas type of a column; a day is its midnight, without a zone."""
    match field.kind:
        case Kind.TEXT:
            return pd.StringDtype(na_value=float("nan"))
        case Kind.INTEGER:
            return pd.Int64Dtype() if field.is_nullable else "int64"
        case Kind.FLAG:
            return "bool"
        case Kind.INSTANT:
            return pd.DatetimeTZDtype("us", "UTC")
        case Kind.DAY:
            return "datetime64[us]"


def _checks(field: Field) -> Iterator[pa.Check]:
    if field.is_filled:
        yield pa.Check(lambda values: values != "", name="filled", n_failure_cases=_FEW)
    if field.one_of:
        words = list(field.one_of)
        yield pa.Check(lambda values: values.isin(words), name="known word", n_failure_cases=_FEW)
    if field.pattern:
        yield pa.Check(
            lambda values: values.str.fullmatch(field.pattern), name="shape", n_failure_cases=_FEW
        )
    if field.least is not None:
        yield pa.Check.ge(field.least, name=f"at least {field.least}", n_failure_cases=_FEW)
    if field.most is not None:
        yield pa.Check.le(field.most, name=f"at most {field.most}", n_failure_cases=_FEW)


def _schema(name: str, table: Declared) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(
        {
            column: pa.Column(
                dtype(field),
                list(_checks(field)),
                nullable=field.is_nullable,
                description=field.about,
            )
            for column, field in table.fields.items()
        },
        checks=[
            pa.Check(rule.holds, name=rule.name, ignore_na=False, n_failure_cases=_FEW)
            for rule in table.rules
        ],
        name=name,
        strict=True,
        ordered=True,
        unique=list(table.key),
    )


SCHEMAS = {name: _schema(name, table) for name, table in TABLES.items()}


def check(name: str, frame: pd.DataFrame) -> Verdict:
    """Validate a frame of a table's rows, all checks at once.

    Raises:
        KeyError: When there is no such table.
    """
    errors: list[SchemaError] = []
    try:
        SCHEMAS[name].validate(frame, lazy=True)
    except SchemaErrors as found:
        # Its text shows failing rows: nothing may be raised while it is handled.
        errors = found.schema_errors
    failures, failing = [], pd.Series(data=False, index=frame.index)
    for error in errors:
        failed = _failed(error, frame, TABLES[name].key)
        failures.append(Failure(_column(error), _name(error), int(failed.sum())))
        if not failed.all():
            failing |= failed  # what fails everywhere singles no row out
    return Verdict(len(frame), tuple(failures), tuple(_keys(name, frame[failing])))


def _column(error: SchemaError) -> str:
    if _reason(error) in {"COLUMN_NOT_IN_SCHEMA", "COLUMN_NOT_IN_DATAFRAME"}:
        return str(error.failure_cases)
    return str(error.column_name or "")


def _name(error: SchemaError) -> str:
    check = error.check
    return str(check.name) if isinstance(check, pa.Check) else str(check)


def _reason(error: SchemaError) -> str:
    return error.reason_code.name if error.reason_code else ""


def _failed(error: SchemaError, frame: pd.DataFrame, key: tuple[str, ...]) -> pd.Series[bool]:
    """Which rows: all of them where a column's type or presence is wrong."""
    failed: pd.Series[bool] = pd.Series(data=True, index=frame.index)
    if isinstance(error.check_output, pd.Series):
        failed = ~error.check_output.astype(bool).reindex(frame.index, fill_value=True)
    elif _reason(error) == "SERIES_CONTAINS_NULLS" and error.column_name in frame:
        failed = frame[error.column_name].isna()
    elif _reason(error) == "DUPLICATES":
        failed = frame.duplicated(list(key), keep=False)
    return failed


def _keys(name: str, failing: pd.DataFrame) -> Iterator[str]:
    key = [column for column in TABLES[name].key if column in failing]
    for row in failing[key].head(_MOST_KEYS).itertuples(index=False):
        yield " ".join(str(value) for value in row)
