"""Every case of the specification, lived through against both vendors over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from returns_pipeline.sandbox import cases
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline_tests.end_to_end.ground_truth import differences, live_through
from returns_pipeline_tests.end_to_end.shop import Shop, policy

STARTS = datetime(2026, 3, 9, tzinfo=UTC)


@pytest.mark.parametrize("name", cases.NAMES)
def test_the_case_ends_as_the_specification_says(
    name: str, sqlite_url: str, tmp_path: Path
) -> None:
    world = cases.build(name, STARTS)
    with Sandbox(world, now=STARTS) as sandbox:
        shop = Shop(sandbox, sqlite_url, {"RETURNS_POLICY": policy(tmp_path)})

        live_through(shop, STARTS + timedelta(days=8))

        assert differences(shop, STARTS + timedelta(days=8)) == []
