"""Two workers at once: one writer all the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from returns_pipeline_tests.crash import story
from returns_pipeline_tests.crash.databases import Databases, PostgresDatabases, SqliteFiles
from returns_pipeline_tests.crash.edges import AFTER_ANSWER
from returns_pipeline_tests.crash.matrix import DAY, Matrix
from returns_pipeline_tests.crash.workers import by_turns, overtaken

pytestmark = pytest.mark.slow

SYNC = next(k for k, phase in enumerate(DAY) if phase.name == "evening sync")
CLOSING = next(k for k, phase in enumerate(DAY) if phase.name == "closing")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def matrix(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Matrix]:
    folder = tmp_path_factory.mktemp("workers")
    made: Databases = SqliteFiles(folder)
    if request.param == "postgresql":
        made = PostgresDatabases(request.getfixturevalue("postgres_server"))
    yield Matrix(made, folder, reduced=True)
    made.drop_kept()


@pytest.mark.parametrize(
    "numbers",
    [(SYNC, SYNC), (CLOSING, CLOSING), (CLOSING, SYNC)],
    ids=["two syncs", "two closings", "a closing beside a sync"],
)
def test_two_workers_by_turns_do_each_thing_once(matrix: Matrix, numbers: tuple[int, int]) -> None:
    problems, turns = by_turns(matrix, numbers, seed=sum(numbers))

    assert problems == []
    assert turns > 4  # they were inside their work at the same time


@pytest.mark.parametrize("method", ["CreateRMABooking", "ActionRMABooking", "CreateOrders"])
def test_a_worker_that_wakes_after_its_claim_was_taken_over_changes_nothing(
    matrix: Matrix, method: str
) -> None:
    point = next(
        p
        for p in matrix.clean.points()
        if p.phase == SYNC and p.edge.what == method and p.edge.moment == AFTER_ANSWER
    )

    assert overtaken(matrix, point, story.LATER / 2) == []
