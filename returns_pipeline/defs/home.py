"""Dagster's home: where it is, and that it is whole before several processes use it.

Two processes that meet in a fresh SQLite home can spoil it for good, so the first one
makes it under a file lock.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance

from returns_pipeline.settings import PROJECT

_FILE = "dagster.yaml"


def home() -> Path:
    """``DAGSTER_HOME``, or the project's folder, whose ``dagster.yaml`` is the instance file.

    The variable is set for this process and those it starts.
    """
    named = os.environ.get("DAGSTER_HOME")
    path = Path(named).expanduser().resolve() if named else PROJECT
    os.environ["DAGSTER_HOME"] = str(path)
    return path


@contextmanager
def instance() -> Iterator[DagsterInstance]:
    """The instance of ``DAGSTER_HOME``, made first if it is new.

    A home without an instance file gets the project's: its pools are what keeps two runs
    from writing to one vendor at once.
    """
    path = home()
    lock = path / "history" / ".lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (path / _FILE).exists() and (PROJECT / _FILE).exists():
            shutil.copy(PROJECT / _FILE, path / _FILE)
        made = DagsterInstance.get()
        made.event_log_storage.get_pool_limits()  # its tables are there, or made now
    with made:
        yield made
