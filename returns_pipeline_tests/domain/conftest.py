"""Hypothesis for the rules: the same examples every run, so that a failure is a fact."""

from hypothesis import settings

settings.register_profile("domain", derandomize=True, max_examples=100, deadline=None)
settings.load_profile("domain")
