"""Real processes, really killed: nothing waits for them afterwards."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from returns_pipeline.definitions import defs
from returns_pipeline.defs import launch as launching
from returns_pipeline.defs.launch import launch
from returns_pipeline.defs.recovery import (
    BEGAN_TAG,
    HOST_TAG,
    PROCESS_TAG,
    dead_run_recovery,
    process_began,
    process_tags,
    release_dead_runs,
)
from returns_pipeline_tests.defs.conftest import PROJECT, FakeLinnworks

STARTED = dg.DagsterRunStatus.STARTED


def _eventually(what: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    limit = time.monotonic() + 60
    while not what():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.fixture
def stuck(
    shop: type[FakeLinnworks], home: dg.DagsterInstance, tmp_path: Path
) -> Iterator["subprocess.Popen[str]"]:
    """A process in the middle of a poll, holding its place in the pool."""
    mark = tmp_path / "holding"
    environment = {
        **os.environ,  # noqa: TID251
        "DAGSTER_HOME": home.root_directory,
    }
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "returns_pipeline_tests.defs.stuck", str(mark)],
        cwd=PROJECT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    _eventually(mark.exists, process)
    yield process
    process.kill()
    process.communicate()


def _only_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    [run] = instance.get_runs()
    return run


@pytest.mark.slow
def test_a_killed_run_is_ended_and_its_place_set_free(
    stuck: "subprocess.Popen[str]", home: dg.DagsterInstance
) -> None:
    alive = release_dead_runs(home)
    assert alive == []
    assert _only_run(home).status is STARTED

    stuck.send_signal(signal.SIGKILL)
    stuck.wait()
    held = home.event_log_storage.get_concurrency_info("linnworks")
    assert held.active_slot_count == 1
    ended = release_dead_runs(home)

    run = _only_run(home)
    assert ended == [run.run_id]
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert home.event_log_storage.get_concurrency_info("linnworks").active_slot_count == 0
    assert release_dead_runs(home) == []


@pytest.mark.slow
def test_the_next_launch_does_not_wait_for_a_killed_one(
    stuck: "subprocess.Popen[str]", home: dg.DagsterInstance
) -> None:
    stuck.kill()
    stuck.wait()

    done = launch("sync_returns", instance=home)

    assert done.success, done.error


@pytest.mark.slow
def test_a_launch_that_waits_goes_on_when_the_other_one_is_killed(
    stuck: "subprocess.Popen[str]", home: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "_LOOK_AGAIN_SECONDS", 0.5)
    heard: list[str] = []
    waiting = launching.threading.Timer(2.0, stuck.kill)
    waiting.start()

    done = launch("sync_returns", instance=home, progress=heard.append)

    waiting.join()
    assert done.success, done.error


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_cancelled_and_leaves_nothing_behind(
    stuck: "subprocess.Popen[str]", home: dg.DagsterInstance, kind: signal.Signals
) -> None:
    stuck.send_signal(kind)
    stuck.wait(timeout=30)

    assert release_dead_runs(home) == []
    assert _only_run(home).is_finished
    assert home.event_log_storage.get_concurrency_info("linnworks").active_slot_count == 0


_TAGS = {"host": HOST_TAG, "began": BEGAN_TAG}


def _run_of(instance: dg.DagsterInstance, **tags: str) -> str:
    job = defs.resolve_job_def("sync_returns")
    marked = {**process_tags(), **{_TAGS[name]: value for name, value in tags.items()}}
    run = instance.create_run_for_job(job, tags=marked, status=STARTED)
    return run.run_id


def test_only_runs_of_this_host_whose_process_is_gone_are_ended(
    instance: dg.DagsterInstance,
) -> None:
    _run_of(instance)
    _run_of(instance, host="another-host", began="long ago")
    reused = _run_of(instance, began="long ago")  # its number belongs to another now

    assert release_dead_runs(instance) == [reused]


def test_a_run_that_was_being_cancelled_ends_cancelled(instance: dg.DagsterInstance) -> None:
    run_id = _run_of(instance, began="long ago")
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_run_canceling(run)

    release_dead_runs(instance)

    after = instance.get_run_by_id(run_id)
    assert after is not None
    assert after.status is dg.DagsterRunStatus.CANCELED


def test_a_process_is_told_from_another_that_got_its_number() -> None:
    own = process_tags()

    assert own[BEGAN_TAG] == process_began(os.getpid())
    assert own[HOST_TAG]
    assert own[PROCESS_TAG] == str(os.getpid())
    assert process_began(2**22 + 1) == ""


def test_the_sensor_looks_by_itself(instance: dg.DagsterInstance) -> None:
    run_id = _run_of(instance, began="long ago")

    with dg.build_sensor_context(instance=instance, definitions=defs) as context:
        told = dead_run_recovery(context)

    assert isinstance(told, dg.SkipReason)
    assert told.skip_message == "1 runs ended"
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.is_finished
    assert dead_run_recovery.default_status is dg.DefaultSensorStatus.RUNNING
    assert dead_run_recovery.minimum_interval_seconds == 30
