"""A process of its own that polls, and stays in the middle of it until it is killed.

    python -m returns_pipeline_tests.defs.stuck MARK

It writes the file MARK once it holds its place in Linnworks' pool.
"""

import sys
import time
from pathlib import Path

from returns_pipeline.defs.launch import launch
from returns_pipeline.steps import runtime
from returns_pipeline_tests.defs.conftest import FakeHappyReturns, FakeLinnworks


class _Slow(FakeLinnworks):
    def _call(self, name: str) -> None:
        Path(sys.argv[1]).write_text(name)
        time.sleep(120)


if __name__ == "__main__":
    runtime.Linnworks = _Slow
    runtime.HappyReturns = FakeHappyReturns
    launch("sync_returns")
