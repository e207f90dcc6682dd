"""Every table's declaration, by its name."""

from __future__ import annotations

from collections.abc import Mapping

from returns_pipeline.schemas import acting, captured, decided
from returns_pipeline.schemas.fields import Declared

TABLES: Mapping[str, Declared] = {**captured.DECLARED, **decided.DECLARED, **acting.DECLARED}
