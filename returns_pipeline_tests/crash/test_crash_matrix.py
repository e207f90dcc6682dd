"""The matrix in small: each kind of edge once, on both databases. All of it: ``__main__``."""

from __future__ import annotations

from pathlib import Path

import pytest

from returns_pipeline_tests.crash.databases import Databases, PostgresDatabases, SqliteFiles
from returns_pipeline_tests.crash.edges import AFTER_COMMIT, BEFORE_COMMIT, MOMENTS
from returns_pipeline_tests.crash.matrix import Matrix, Point

pytestmark = pytest.mark.slow


def _one_of_each(matrix: Matrix, left_out: str) -> list[Point]:
    """The last edge of each kind; of the two sides of a commit one a database."""
    kinds = {(p.edge.what, p.edge.moment): p for p in matrix.clean.points()}
    return [point for (_what, moment), point in kinds.items() if moment != left_out]


@pytest.mark.parametrize(
    ("database", "left_out"), [("sqlite", AFTER_COMMIT), ("postgresql", BEFORE_COMMIT)]
)
def test_a_day_killed_anywhere_ends_as_the_day_that_was_not(
    database: str, left_out: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made: Databases = SqliteFiles(tmp_path)
    if database == "postgresql":
        made = PostgresDatabases(request.getfixturevalue("postgres_server"))
    matrix = Matrix(made, tmp_path, reduced=True)
    assert matrix.clean.problems == []
    points = _one_of_each(matrix, left_out)

    outcomes = list(matrix.run_all([*points, *matrix.clean.twice(2)]))

    made.drop_kept()
    assert [one for one in outcomes if one.problems] == []
    # The dangerous states were reached: a dead worker's claim, its effect there, or not.
    met = {step for one in outcomes for step in one.steps}
    assert {"lease", "found", "absent"} <= met
    assert {point.edge.moment for point in points} == {*MOMENTS} - {left_out}
