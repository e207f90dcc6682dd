"""The whole life of returned orders against the sandbox, and the vendor calls it took.

``python -m benchmarks.life DATABASE_URL ORDERS POLICY [KEEP SANDBOX_FILE]`` runs the orders from
the mirror to the paid refund and reports calls by method. With a file it also keeps the
vendors there, with later groups of orders for ``ticks`` to find new.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from benchmarks.merchant import at, close, returned_orders, tick
from benchmarks.process import Phases
from benchmarks.runtime import runtime
from returns_pipeline.sandbox.serve import Sandbox

NEW_DAYS = (20.0, 27.0, 34.0)
NEW_UNITS = 125
# In the mirror, begun, sent, received and restocked, and twice more for the books.
_TICKS = (-7.0, 0.5, 3.0, 4.5, 5.2)


def main(database_url: str, orders: int, policy: str, keep: str) -> None:
    later = [(day, NEW_UNITS) for day in NEW_DAYS] if keep else []
    calls: Counter[str] = Counter()
    phases = Phases()
    with Sandbox(returned_orders([(0.0, orders), *later]), now=at(-7.0)) as sandbox:

        def run(day: float) -> None:
            sandbox.clock.set(at(day))
            with runtime(
                database_url,
                happy_returns=sandbox.happy_returns_server.url,
                linnworks=sandbox.linnworks_server.url,
                live=True,
                now=at(day).isoformat(),
                policy=policy,
            ) as rt:
                tick(rt, phases)
                if day == _TICKS[-1]:
                    close(rt, 4.0)
                    tick(rt, phases)
                calls.update(rt.calls())

        for day in _TICKS:
            run(day)
        if keep:
            sandbox.save(Path(keep))
    phases.report(calls=calls, orders=orders)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else "")
