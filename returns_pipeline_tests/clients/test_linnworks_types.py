"""Two lanes decode side by side from their first answer on."""

from __future__ import annotations

import subprocess
import sys

import pytest

_TWO_LANES = """
import sys, threading
import msgspec
from returns_pipeline.clients.linnworks.session import _decoder
from returns_pipeline.clients.transport import Answer

sys.setswitchinterval(1e-6)
answer = Answer(200, {}, b'{"f3":{"a":1,"b":["x"]},"f11":{"a":2}}')
for n in range(150):
    inner = msgspec.defstruct(f"I{n}", [("a", int | None, None), ("b", list[str], ())])
    kind = msgspec.defstruct(f"S{n}", [(f"f{i}", inner | None, None) for i in range(12)])
    both = threading.Barrier(2)

    def lane():
        both.wait()
        _decoder(kind)(answer)

    lanes = [threading.Thread(target=lane) for _ in range(2)]
    for one in lanes:
        one.start()
    for one in lanes:
        one.join()
"""


@pytest.mark.slow
def test_two_lanes_whose_first_answers_are_of_one_type_do_not_kill_the_process() -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _TWO_LANES], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
