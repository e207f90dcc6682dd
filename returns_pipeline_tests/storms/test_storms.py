"""Storms in small: a few seeds of one merchant. Hundreds of them: ``__main__``."""

from __future__ import annotations

from pathlib import Path

import pytest

from returns_pipeline.sandbox.linnworks import SWITCHES
from returns_pipeline_tests.crash.databases import Databases, PostgresDatabases, SqliteFiles
from returns_pipeline_tests.storms.report import Told
from returns_pipeline_tests.storms.storm import READINGS, Storms, switches
from returns_pipeline_tests.storms.weather import FATES, WRITES, elsewhere

# Strong ones of the same merchant, whose days without a fault are lived once.
_SEEDS = {"sqlite": (40, 56, 8), "postgresql": (24,)}


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_days_in_a_storm_end_as_the_days_without_a_fault(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made: Databases = SqliteFiles(tmp_path)
    if database == "postgresql":
        made = PostgresDatabases(request.getfixturevalue("postgres_server"))
    told = Told(database)

    with elsewhere(tmp_path) as places:
        storms = Storms(made, tmp_path, places)
        for seed in _SEEDS[database]:
            told.add(storms.run(seed))

    assert [(one.seed, one.problems) for one in told.failed] == []
    # The dangerous states were reached: lost answers whose effect was there, and was not.
    assert min(told.steps[step] for step in ("unknown", "found", "absent", "not_applied")) > 0
    assert all(any(told.met[fate, kind] for fate in FATES) for kind in WRITES)
    if database == "sqlite":
        writes_met = {fate for (fate, kind), n in told.met.items() if n and kind in WRITES}
        assert set(FATES) <= writes_met


def test_every_combination_of_readings_of_the_contract_has_seeds() -> None:
    found = {tuple(switches(seed)[name] for name in READINGS) for seed in range(40)}

    assert len(found) == 2 ** len(READINGS)
    for name in SWITCHES:
        assert {switches(seed)[name] for seed in range(40)} == set(SWITCHES[name])
