"""The packaged policy, and hypothesis with the same examples every run."""

import pytest
from hypothesis import settings

from returns_pipeline.domain.policy import HappyReturnsPolicy
from returns_pipeline.settings import load

settings.register_profile("normalise", derandomize=True, max_examples=150, deadline=None)
settings.load_profile("normalise")


@pytest.fixture(scope="session")
def policy() -> HappyReturnsPolicy:
    return load({}, vendors=False).policy.happy_returns
