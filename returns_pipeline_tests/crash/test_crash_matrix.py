"""The matrix in small: each kind of edge once, on both databases. All of it: ``__main__``."""

from __future__ import annotations

from pathlib import Path

import pytest

from returns_pipeline_tests.crash.databases import Databases, PostgresDatabases, SqliteFiles
from returns_pipeline_tests.crash.edges import (
    AFTER_ANSWER,
    AFTER_COMMIT,
    AFTER_EFFECT,
    BEFORE_COMMIT,
    BEFORE_REQUEST,
)
from returns_pipeline_tests.crash.matrix import Matrix, Point

pytestmark = pytest.mark.slow


def _one_of_each(matrix: Matrix, half: int) -> list[Point]:
    """The last edge of each kind of write, and a quarter of those of commits, on one of the two."""
    kinds = {(p.edge.what, p.edge.moment): p for p in matrix.clean.points()}
    commits = [p for p in kinds.values() if p.edge.moment in {BEFORE_COMMIT, AFTER_COMMIT}]
    writes = [p for p in kinds.values() if p not in commits]
    # Each kind has its sides in turn: before every other one here, after the others there.
    return writes[half::2] + commits[half * 5 :: 8]


@pytest.mark.parametrize(
    ("database", "half", "way"), [("sqlite", 0, "rma"), ("postgresql", 1, "create_orders")]
)
def test_a_day_killed_anywhere_ends_as_the_day_that_was_not(
    database: str, half: int, way: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made: Databases = SqliteFiles(tmp_path)
    if database == "postgresql":
        made = PostgresDatabases(request.getfixturevalue("postgres_server"))
    matrix = Matrix(made, tmp_path, reduced=True, way=way)
    assert matrix.clean.problems == []
    points = _one_of_each(matrix, half)

    outcomes = list(matrix.run_all([*points, *matrix.clean.twice(1)]))

    made.drop_kept()
    assert [one for one in outcomes if one.problems] == []
    # The dangerous states were reached: a dead worker's claim, its effect there, or not.
    met = {step for one in outcomes for step in one.steps}
    assert {"lease", "found", "absent"} <= met
    assert {point.edge.moment for point in points} >= {BEFORE_REQUEST, AFTER_EFFECT, AFTER_ANSWER}
