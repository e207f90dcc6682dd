"""Dagster's home: the project's folder unless told otherwise, whole before two use it."""

import subprocess
import sys
from pathlib import Path

import pytest

from returns_pipeline.defs import home
from returns_pipeline_tests.defs.conftest import PROJECT

_CODE = (
    "from returns_pipeline.defs.home import instance\n"
    "with instance() as made: print(made.get_runs_count())"
)


def test_it_is_the_projects_folder_where_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    assert home.home() == PROJECT


def test_it_is_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    assert home.home() == tmp_path


def test_a_home_without_an_instance_file_still_has_one_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    with home.instance() as made:
        assert made.event_log_storage.get_pool_config().default_pool_limit == 1


def test_an_instance_file_of_ones_own_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")

    with home.instance():
        pass

    assert (tmp_path / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


@pytest.mark.slow
def test_processes_that_meet_in_a_fresh_home_all_find_it_whole(tmp_path: Path) -> None:
    started = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _CODE],
            cwd=PROJECT,
            env={"DAGSTER_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]

    for process in started:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out.strip()) == (0, "0"), err
