"""Servers and a clock for the clients' tests."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from returns_pipeline_tests.clients.wire import Play, Wire

StartWire = Callable[..., Wire]


class Clock:
    """A clock that only moves when somebody waits, and remembers how long."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wire() -> Iterator[StartWire]:
    """Starts servers, and stops them."""
    started: list[Wire] = []

    def start(*plays: Play, **options: Any) -> Wire:
        started.append(Wire(*plays, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()
