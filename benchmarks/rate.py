"""How long booking and actioning many returned orders takes at Linnworks' real limits.

``python -m benchmarks.rate [--orders 1000] [--unlimited]``: the orders are mirrored and decided
unpaced; then the restocks alone are carried out and timed, paced by the default share against
a sandbox that keeps the published limits, or (``--unlimited``) with pacing and limits off.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from benchmarks.merchant import POLICY, STEPS, at, returned_orders
from benchmarks.runtime import runtime
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.settings import Settings
from returns_pipeline.steps import act
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage.engine import connect
from returns_pipeline.storage.migrate import upgrade

_RECEIVED = 4.5  # the day on which every unit has been received and inspected
_BEFORE = [step for name, step in STEPS[: [name for name, _ in STEPS].index("restocks")]]


def main() -> int:
    """Run and say what it took; 1 when not every order was restocked exactly once."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rate")
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--unlimited", action="store_true", help="without pacing and limits")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policy.toml").write_text(POLICY, encoding="utf-8")
        with Sandbox(returned_orders([(0.0, asked.orders)]), now=at(_RECEIVED)) as sandbox:
            return _measure(sandbox, folder, asked.orders, limits=not asked.unlimited)


def _measure(sandbox: Sandbox, folder: Path, orders: int, *, limits: bool) -> int:
    url = f"sqlite:///{folder / 'returns.db'}"
    engine = connect(url)
    upgrade(engine)
    engine.dispose()

    def opened(share: str | None) -> Runtime:
        return runtime(
            url,
            happy_returns=sandbox.happy_returns_server.url,
            linnworks=sandbox.linnworks_server.url,
            live=True,
            now=at(_RECEIVED).isoformat(),
            policy=str(folder / "policy.toml"),
            share=share,
        )

    with opened("0") as rt:
        for step in _BEFORE:
            step(rt)
    sandbox.linnworks.limits = limits
    began = time.monotonic()

    def moving(_settings: Settings) -> datetime:
        # A standing clock would spare the looks that are due when minutes have passed.
        return at(_RECEIVED) + timedelta(seconds=time.monotonic() - began)

    with patch.object(Settings, "clock", moving), opened(None if limits else "0") as rt:
        counts = act.restocks(rt)
        took = time.monotonic() - began
        calls = {name: n for name, n in rt.calls().items() if "RMA" in name}
    returned = Counter(row["row_id"] for row in sandbox.linnworks.books()["returned"])
    sys.stdout.write(
        f"{orders} orders booked and actioned in {took:.1f} s ({took / 60:.2f} min); "
        f"calls {calls}; outcomes {counts}\n"
    )
    return int(len(returned) != orders or set(returned.values()) != {1})


if __name__ == "__main__":
    sys.exit(main())
