"""The one resource: a run's ``Runtime``, opened when its first step needs it.

Settings are read then, never at import, and never become Dagster config: nothing of them
is shown in the UI. Errors that a person has to act on fail the step with their own text
and are not retried.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from returns_pipeline import settings
from returns_pipeline.clients.transport import ContractBroken, CredentialsRevoked
from returns_pipeline.defs import recovery
from returns_pipeline.dispatch.intend import BreakerOpen
from returns_pipeline.domain.consolidation import NumbersUsedUp, Unbalanced
from returns_pipeline.settings import SettingsError
from returns_pipeline.steps.batching import NotThere, WrongState
from returns_pipeline.steps.closing import DayNotOver
from returns_pipeline.steps.corrections import CannotReverse
from returns_pipeline.steps.exporting import NotAsked, TargetsRefused
from returns_pipeline.steps.money import BatchBreaker, DayIncomplete
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage.engine import DatabaseInterrupted, DatabaseUnusable

# One writer a vendor, whatever is queued; and one writer of the tables, so that two runs
# at once wait for each other instead of deciding the same thing twice.
LINNWORKS_POOL = "linnworks"
HAPPY_RETURNS_POOL = "happy_returns"
TABLES_POOL = "tables"

TELLING = (
    SettingsError,
    DatabaseUnusable,
    DatabaseInterrupted,
    DayNotOver,
    DayIncomplete,
    BatchBreaker,
    Unbalanced,
    NumbersUsedUp,
    NotThere,
    WrongState,
    CannotReverse,
    NotAsked,
    TargetsRefused,
    BreakerOpen,
    CredentialsRevoked,
    ContractBroken,
)

INTERRUPTED = "the run was interrupted"

Listener = Callable[[str], None]

# Who else wants to hear of progress in this process: the command line.
listener: ContextVar[Listener | None] = ContextVar("listener", default=None)

_EVERY_SECONDS = 5.0


class _Progress:
    """Tells a listener everything, and the run's log a line every few seconds."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._listener = listener.get()
        self._told = 0.0
        self._waiting = ""

    def __call__(self, message: str) -> None:
        if self._listener is not None:
            self._listener(message)
        now = time.monotonic()
        if now - self._told < _EVERY_SECONDS:
            self._waiting = message
            return
        self._told, self._waiting = now, ""
        self._log.info(message)

    def last(self) -> None:
        """Log what was held back: the last word of the step."""
        if self._waiting:
            self._log.info(self._waiting)


class NothingPassed(dg.IOManager):
    """Steps pass nothing to each other: what they did stands in the database.

    Dagster's own would write a file for every check of every run.
    """

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Keep nothing."""

    def load_input(self, context: dg.InputContext) -> Any:
        """Nothing is ever asked for."""
        raise NotImplementedError(context.name)


class Pipeline(dg.ConfigurableResource[Any]):
    """The pipeline's database, vendors, policy and clock; configured by the environment."""

    _runtime: Runtime | None = PrivateAttr(default=None)
    _interrupted: bool = PrivateAttr(default=False)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Pipeline"]:
        """Mark whose process the run is in, and close the database when it is over."""
        if context.instance is not None and context.run is not None:
            recovery.mark(context.instance, context.run.run_id)
        try:
            yield self
        finally:
            if self._runtime is not None:
                self._runtime.close()
                self._runtime = None

    @contextmanager
    def step(self, context: Any, *, vendors: bool = True) -> Iterator[Runtime]:
        """The run's ``Runtime``, its progress going to the log of this step.

        Args:
            context: Of the step.
            vendors: Whether the run speaks to vendors, so that their settings must be there.

        Raises:
            Failure: Not retried, with the text of an error that a person has to act on.
        """
        if self._interrupted:
            raise dg.Failure(description=INTERRUPTED, allow_retries=False)
        progress = _Progress(context.log)
        try:
            if self._runtime is None:
                self._runtime = Runtime(settings.load(vendors=vendors), run_id=context.run.run_id)
            self._runtime.progress = progress
            yield self._runtime
        except TELLING as error:
            raise dg.Failure(
                description=str(error),
                metadata={"problem": type(error).__name__},
                allow_retries=False,
            ) from error
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as error:
            # Dagster would try the step again, and go on with the others.
            self._interrupted = True
            raise dg.Failure(description=INTERRUPTED, allow_retries=False) from error
        finally:
            progress.last()
