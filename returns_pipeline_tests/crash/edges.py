"""Where a process can die: its vendor writes and its commits, counted, and killed at one.

Two lanes work side by side, so that an edge is named by what it is and the how-manieth of
its kind: what the n-th edge of all is differs from run to run, the names do not.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from returns_pipeline.clients.transport import Transport

BEFORE_REQUEST = "before the request"
AFTER_EFFECT = "after the effect"
AFTER_ANSWER = "after the answer"
BEFORE_COMMIT = "before the commit"
AFTER_COMMIT = "after the commit"
MOMENTS = (BEFORE_REQUEST, AFTER_EFFECT, AFTER_ANSWER, BEFORE_COMMIT, AFTER_COMMIT)

_WRITTEN = re.compile(r'\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+"?(\w+)', re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """One instant of a phase at which the process can die."""

    what: str
    number: int
    moment: str


def method_of(name: str) -> str:
    """The bare name of a vendor's method."""
    return name.rpartition(".")[2].rpartition("/")[2]


class Watch:
    """Sees every edge of this process; kills it at one.

    Args:
        at: Where to die; ``None`` lives.
        count: Die at the so-many-th edge instead, whatever it is.
    """

    def __init__(self, at: Edge | None = None, *, count: int = 0) -> None:
        """Watch nothing yet."""
        self.edges: list[Edge] = []
        self._at = at
        self._count = count
        self._numbers: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._own = threading.local()

    def _next(self, what: str) -> int:
        with self._lock:
            self._numbers[what] += 1
            return self._numbers[what]

    def _reach(self, what: str, number: int, moment: str, connection: Any = None) -> None:
        edge = Edge(what, number, moment)
        with self._lock:
            self.edges.append(edge)
            here = edge == self._at or 0 < self._count <= len(self.edges)
        if here:  # not under the lock: a fault may wait for another lane, which may wait for it
            self.strike(edge, connection)

    def strike(self, edge: Edge, connection: Any) -> None:
        """Die. ``connection``: the driver's own, at a commit."""
        del edge, connection
        os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Hook into the transport and the database drivers, for the life of this process."""
        self._watch_requests()
        sa.event.listen(sa.Engine, "after_cursor_execute", self._executed)
        sa.event.listen(sa.Engine, "rollback", lambda _connection: self._written().clear())
        for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):
            self._watch_commits(dialect)

    def _watch_requests(self) -> None:
        exchange = Transport._exchange

        def watched(transport: Transport, call: Any, headers: Any, *leaving: Any) -> Any:
            if call.read:
                return exchange(transport, call, headers, *leaving)
            what = method_of(call.method)
            number = self._next(what)

            def left() -> None:
                for note in leaving:
                    note()
                self._reach(what, number, BEFORE_REQUEST)
                with self._lock:  # the sandbox kills at this one: it is reached by sending
                    self.edges.append(Edge(what, number, AFTER_EFFECT))

            answer = exchange(transport, call, headers, left)
            self._reach(what, number, AFTER_ANSWER)
            return answer

        Transport._exchange = watched

    def _written(self) -> set[str]:
        tables: set[str] | None = getattr(self._own, "tables", None)
        if tables is None:
            tables = self._own.tables = set()
        return tables

    def _executed(
        self, _connection: Any, cursor: Any, statement: str, _values: Any, _context: Any, _m: Any
    ) -> None:
        found = _WRITTEN.match(statement)
        # How many rows an UPDATE ... RETURNING changed is not known yet; it is a claim, which
        # notes its attempt besides.
        is_claim = statement.startswith("UPDATE") and "RETURNING" in statement
        if found and cursor.rowcount != 0 and not is_claim:
            self._written().add(found[1])

    def _watch_commits(self, dialect: Any) -> None:
        commit = dialect.do_commit

        def watched(own: Any, connection: Any) -> None:
            tables = sorted(self._written())
            self._written().clear()
            if not tables:
                commit(own, connection)  # nothing was changed: no edge
                return
            what = "commit of " + ("a claim" if tables == ["attempts"] else ", ".join(tables))
            number = self._next(what)
            driver = connection.driver_connection
            self._reach(what, number, BEFORE_COMMIT, driver)
            commit(own, connection)
            self._reach(what, number, AFTER_COMMIT, driver)

        dialect.do_commit = watched
