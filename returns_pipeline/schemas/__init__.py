"""The contract of every table: types, words, shapes, and what holds between columns.

One declaration a table (``TABLES``) gives its pandera schema, its frame's types and its
columns' meanings. Not here: reading a table (``storage.frames``), what a day must add up
to (asset checks). pandas and pandera are imported by what needs them, when it is needed:
a tick must not wait for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from returns_pipeline.schemas.declared import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    import pandera.pandas as pa

    from returns_pipeline.schemas.contracts import Verdict

    SCHEMAS: Mapping[str, pa.DataFrameSchema]

__all__ = ["SCHEMAS", "TABLES", "check"]


def check(name: str, frame: pd.DataFrame) -> Verdict:
    """Validate a frame of a table's rows, all checks at once.

    Raises:
        KeyError: When there is no such table.
    """
    from returns_pipeline.schemas import contracts  # noqa: PLC0415 - see above

    return contracts.check(name, frame)


def __getattr__(name: str) -> object:
    if name != "SCHEMAS":
        raise AttributeError(name)
    from returns_pipeline.schemas import contracts  # noqa: PLC0415 - see above

    return contracts.SCHEMAS
