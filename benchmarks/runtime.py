"""A ``Runtime`` for a measurement: its database, its vendors, unpaced unless asked."""

from __future__ import annotations

from returns_pipeline.sandbox.happy_returns import API_KEY
from returns_pipeline.settings import load
from returns_pipeline.steps.runtime import Runtime

_NOWHERE = "http://127.0.0.1:9"


def runtime(
    database_url: str,
    *,
    happy_returns: str = _NOWHERE,
    linnworks: str = _NOWHERE,
    live: bool = False,
    paced: bool = False,
    now: str = "2026-10-03T12:00:00Z",
    policy: str = "",
    share: str | None = "0",
) -> Runtime:
    """The pipeline as an operator would set it up, at a standing clock.

    ``share``: of Linnworks' limits; ``None`` leaves the program its default.
    """
    environ = {
        "RETURNS_DATABASE_URL": database_url,
        "RETURNS_MODE": "live" if live else "shadow",
        "RETURNS_NOW": now,
        "RETURNS_POLICY": policy,
        # Unpaced, a run asks for every order it watches; so fast, it is only rationed.
        "RETURNS_HAPPY_RETURNS_RATE": "1000" if paced else "0",
        "HAPPY_RETURNS_BASE_URL": happy_returns,
        "HAPPY_RETURNS_API_KEY": API_KEY,
        "HAPPY_RETURNS_RETAILER_ID": "modern-retailer",
        "LINNWORKS_AUTH_URL": linnworks,
        "LINNWORKS_APPLICATION_ID": "11111111-1111-4111-8111-111111111111",
        "LINNWORKS_APPLICATION_SECRET": "22222222-2222-4222-8222-222222222222",
        "LINNWORKS_TOKEN": "33333333-3333-4333-8333-333333333333",
    }
    if share is not None:
        environ["RETURNS_LINNWORKS_RATE_SHARE"] = share
    return Runtime(load(environ), run_id="bench")
