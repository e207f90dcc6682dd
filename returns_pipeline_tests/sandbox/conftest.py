"""Sandboxes for tests: of one case, of any world, at an instant."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from returns_pipeline.sandbox import cases
from returns_pipeline.sandbox.model import World
from returns_pipeline.sandbox.script import Script
from returns_pipeline.sandbox.serve import Sandbox

STARTS = datetime(2026, 3, 2, tzinfo=UTC)
Open = Callable[..., Sandbox]


def day(number: float) -> datetime:
    """The instant so many days after the worlds' start."""
    return STARTS + timedelta(days=number)


@pytest.fixture
def open_world() -> Iterator[Open]:
    """Serve a world, by default a week after its start."""
    opened: list[Sandbox] = []

    def serve(world: World, at: float = 7, **more: Any) -> Sandbox:
        sandbox = Sandbox(world, now=day(at), **more).start()
        opened.append(sandbox)
        return sandbox

    yield serve
    for sandbox in opened:
        sandbox.stop()


@pytest.fixture
def open_case(open_world: Open) -> Open:
    """Serve a world of one case."""

    def serve(name: str, at: float = 7, **more: Any) -> Sandbox:
        return open_world(cases.build(name, STARTS), at, **more)

    return serve


@pytest.fixture
def script() -> Script:
    """A story of the test's own."""
    return Script(1, STARTS)
