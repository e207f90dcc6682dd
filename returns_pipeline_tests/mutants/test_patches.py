"""Every mutant still applies to the code as it is."""

from __future__ import annotations

import pytest

from returns_pipeline_tests.mutants.__main__ import ROOT
from returns_pipeline_tests.mutants.patches import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_still_applies(mutant: Mutant) -> None:
    text = (ROOT / mutant.path).read_text()
    assert text.count(mutant.old) == 1
    compile(text.replace(mutant.old, mutant.new), mutant.path, "exec")
