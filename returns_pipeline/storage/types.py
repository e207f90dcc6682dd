"""Column types that behave the same on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

# Rows and queries whose columns the type checker need not follow.
Row: TypeAlias = "sa.Row[*tuple[Any, ...]]"
Select: TypeAlias = "sa.Select[*tuple[Any, ...]]"

_SQLITE_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


@lru_cache(maxsize=65_536)  # of a bulk of rows most instants repeat
def instant_text(at: datetime) -> str:
    """An aware instant as the fixed-width UTC text SQLite keeps; text order is time order."""
    if at.tzinfo is None:
        msg = f"naive instant {at!r}: instants are aware UTC"
        raise ValueError(msg)
    return at.astimezone(UTC).strftime(_SQLITE_FORMAT)


@lru_cache(maxsize=65_536)  # the same, and one object for all who read it
def instant_from_text(text: str) -> datetime:
    """The instant behind ``instant_text``."""
    return datetime.fromisoformat(text)


def _utc(value: datetime | None) -> datetime | None:
    return None if value is None else value.astimezone(UTC)


@lru_cache(maxsize=65_536)  # of a bulk of rows most instants repeat: no call of ours for those
def _parsed(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


class Instant(TypeDecorator[datetime]):
    """An aware UTC instant: ``timestamptz`` on PostgreSQL, fixed-width text on SQLite."""

    impl = sa.String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the native type where there is one."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.DateTime(timezone=True))
        return dialect.type_descriptor(sa.String(27))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive instants; write UTC."""
        if value is None:
            return None
        text = instant_text(value)
        return value.astimezone(UTC) if dialect.name == "postgresql" else text

    def result_processor(
        self,
        dialect: Dialect,
        coltype: object,  # noqa: ARG002
    ) -> Callable[[Any], datetime | None]:
        """Give back aware UTC instants. Whole, not value by value: bulk reads spend time here."""
        return _utc if dialect.name == "postgresql" else _parsed


class Listed(UserDefinedType[str]):
    """Many values as one, on PostgreSQL: an array given as its text (``bulk.array_text``).

    It is an array from the beginning: read from a text in the statement, it would be read
    anew for each row.
    """

    cache_ok = True
    render_bind_cast = True

    def __init__(self, kind: TypeEngine[Any]) -> None:
        """Of values of this type."""
        self.kind = kind

    def get_col_spec(self, **_given: Any) -> str:
        """How PostgreSQL calls it."""
        return f"{self.kind.compile(_POSTGRESQL)}[]"


_POSTGRESQL: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
