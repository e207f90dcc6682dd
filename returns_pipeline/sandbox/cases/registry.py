"""Where cases are entered under their names, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Callable

from returns_pipeline.sandbox.script import Script

_FIRST_NUMBER = 2_000  # order numbers of the cases: ten each from here
BUILDERS: dict[str, Callable[[Script], None]] = {}


def case(builder: Callable[[Script], None]) -> Callable[[Script], None]:
    """Enter a builder under its own name."""
    BUILDERS[builder.__name__] = builder
    return builder


def tell(script: Script, name: str) -> None:
    """Tell one case as a chapter of a story.

    Raises:
        KeyError: When there is no such case.
    """
    builder = BUILDERS[name]
    script.begin(name, first_number=_FIRST_NUMBER + 10 * list(BUILDERS).index(name))
    builder(script)
