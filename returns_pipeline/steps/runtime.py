"""What a step is given: settings, database, clock and the two vendors.

Here: making these once for a run and closing them. Not here: any step.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from time import monotonic
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from returns_pipeline.clients.happy_returns import HappyReturns
from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.domain.policy import Policy
from returns_pipeline.settings import Mode, Settings, SettingsError
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert
from returns_pipeline.storage.engine import connect, reading
from returns_pipeline.storage.migrate import require_current

Progress = Callable[[str], None]


def silent(_message: str) -> None:
    """Progress nobody watches."""


def _seldom(progress: Progress, seconds: float = 2.0) -> Progress:
    """Pass on one message in so many seconds: each may cost its reader a commit."""
    last = float("-inf")

    def passed_on(message: str) -> None:
        nonlocal last
        if monotonic() - last >= seconds:
            last = monotonic()
            progress(message)

    return passed_on


class Runtime:
    """One run's settings, database, clock and vendors.

    The database is opened and its version checked at once; a vendor is not spoken to
    before a step needs it.
    """

    def __init__(self, settings: Settings, *, run_id: str, progress: Progress = silent) -> None:
        """Open the database.

        Raises:
            DatabaseUnusable: When it cannot be opened or its schema is not this version's.
        """
        # Rows by the hundred thousand are no garbage: looked through at Python's default
        # pace they cost a backfill a fifth of its time.
        gc.set_threshold(100_000, 50, 50)
        self.settings = settings
        self.run_id = run_id
        self.progress = _seldom(progress)
        self.engine: sa.Engine = connect(settings.database_url)
        require_current(self.engine)
        self._keep_policy()

    def _keep_policy(self) -> None:
        """Keep the policy's text: whatever is decided bears only its hash."""
        columns = t.policy_versions.c
        query = sa.select(columns.hash).where(columns.hash == self.policy.hash)
        with reading(self.engine) as connection:
            if connection.execute(query).first() is not None:
                return
        row = (self.policy.hash, self.now(), self.policy.body)
        names = ("hash", "first_used_at", "body")
        with self.engine.begin() as connection:
            upsert(connection, t.policy_versions, names, [row], key=("hash",), update=())

    @property
    def policy(self) -> Policy:
        """The merchant's policy."""
        return self.settings.policy

    @property
    def live(self) -> bool:
        """Whether anything may be posted to a vendor."""
        return self.settings.mode is Mode.LIVE

    def now(self) -> datetime:
        """The program's clock, aware UTC."""
        return self.settings.clock()

    @cached_property
    def happy_returns(self) -> HappyReturns:
        """The Happy Returns client."""
        own = self.settings.happy_returns
        if own is None:
            raise SettingsError(["Happy Returns is not configured (HAPPY_RETURNS_API_KEY)"])
        return HappyReturns(
            own.base_url,
            own.api_key,
            own.retailer_id,
            rate=own.rate,
            page_size=self.policy.happy_returns.page_size,
        )

    @cached_property
    def linnworks(self) -> Linnworks:
        """The Linnworks client; it signs in at its first call."""
        own = self.settings.linnworks
        if own is None:
            raise SettingsError(["Linnworks is not configured (LINNWORKS_APPLICATION_ID)"])
        return Linnworks(
            own.auth_url,
            own.application_id,
            own.application_secret,
            own.token,
            v2_url=own.v2_url,
            rate_share=own.rate_share,
        )

    def calls(self) -> Counter[str]:
        """Vendor calls made so far, by method."""
        total: Counter[str] = Counter()
        for name in ("happy_returns", "linnworks"):
            if name in self.__dict__:
                total.update(self.__dict__[name].calls)
        return total

    def close(self) -> None:
        """Close connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        """Use as a context."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close on leaving."""
        self.close()
