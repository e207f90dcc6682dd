"""Every mutant still applies to the code as it is, and the tests that must see it are there."""

from __future__ import annotations

import re

import pytest

from returns_pipeline_tests.mutants.__main__ import ROOT, copied, killed, name_of, run
from returns_pipeline_tests.mutants.patches import CONTROL, MUTANTS, SECTION_7, Mutant


@pytest.mark.parametrize("mutant", [*MUTANTS, CONTROL], ids=lambda mutant: mutant.name)
def test_a_mutant_still_applies(mutant: Mutant) -> None:
    text = (ROOT / mutant.path).read_text()

    compile(mutant.applied(text), mutant.path, "exec")


@pytest.mark.parametrize("mutant", [*MUTANTS, CONTROL], ids=lambda mutant: mutant.name)
def test_the_tests_that_must_see_a_mutant_are_there(mutant: Mutant) -> None:
    assert mutant.killers
    for test in mutant.killers:
        path = ROOT / test.partition("::")[0]
        assert re.search(rf"^def {name_of(test)}\(", path.read_text(), re.MULTILINE), test


def test_the_eleven_of_the_specification_are_among_them() -> None:
    assert len(SECTION_7) == 11


@pytest.mark.slow
def test_the_copy_is_what_runs_and_a_mutant_in_it_is_seen() -> None:
    with copied(CONTROL) as copy:
        code, said = run(copy, CONTROL.killers)
    assert code != 0
    assert "the copy is what runs" in said

    dead, _took = killed(next(m for m in MUTANTS if m.name == "claim without guard"))
    assert dead
