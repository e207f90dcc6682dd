"""One part is written while the next is made ready.

Drivers let go of the interpreter while the database works: what is written in a thread of
its own costs a backfill no time but what it waits for. Here: that thread. Not here: what is
written (``bulk``), nor any transaction: the caller's is used by one thread at a time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

_TURN = 0.001  # seconds: how long the writer waits for the interpreter it let go of


class Behind:
    """Does what it is given in its thread, one thing after the other, one at most waiting."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        """Begin with nothing to do."""
        self._pool = pool
        self._under_way: Future[Any] | None = None

    def __call__(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Do this next; what was given before is done when this returns.

        Raises:
            Exception: What was given before raised, if it did. This is not begun then.
        """
        self.done()
        self._under_way = self._pool.submit(work, *arguments, **named)

    def done(self) -> None:
        """Wait until nothing is under way.

        Raises:
            Exception: What was under way raised, if it did.
        """
        last, self._under_way = self._under_way, None
        if last is not None:
            last.result()


@contextmanager
def behind() -> Iterator[Behind]:
    """A thread to write in; at the end all is written.

    Raises:
        Exception: What was written last raised, if it did. Where the block itself raised, that
            counts; what was under way is over all the same.
    """
    turn = sys.getswitchinterval()
    sys.setswitchinterval(_TURN)
    try:
        with ThreadPoolExecutor(1, "behind") as pool:
            writer = Behind(pool)
            yield writer
            writer.done()
    finally:
        sys.setswitchinterval(turn)
