"""Column types that behave the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

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


def instant_from_text(text: str) -> datetime:
    """The instant behind ``instant_text``."""
    return datetime.fromisoformat(text)


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

    def process_result_value(
        self,
        value: Any,
        dialect: Dialect,  # noqa: ARG002
    ) -> datetime | None:
        """Give back an aware UTC instant."""
        if value is None:
            return None
        return value.astimezone(UTC) if isinstance(value, datetime) else instant_from_text(value)
