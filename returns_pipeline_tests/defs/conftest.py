"""A database with a few rows, vendors that answer from lists, and Dagster instances."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.instance.ref import InstanceRef

from returns_pipeline.storage.engine import connect

PROJECT = Path(__file__).resolve().parents[2]
NOW = "2026-03-16T09:00:00Z"
_POLICY = '[refunds]\nexecutor = "linnworks"\n'
_PLACES = ("HR Restock", "HR B-Stock", "HR Damaged", "HR Quarantine", "HR Refurb", "HR Vendor")


class FakeLinnworks:
    """Linnworks with nothing new; ``failing`` raises at the first call."""

    failing: Exception | None = None
    places: tuple[str, ...] = _PLACES
    asked: ClassVar[Counter[str]] = Counter()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.calls: Counter[str] = Counter()

    def _call(self, name: str) -> None:
        self.calls[name] += 1
        FakeLinnworks.asked[name] += 1
        if self.failing is not None:
            raise self.failing

    def stock_locations(self) -> list[Any]:
        self._call("GetStockLocations")
        return [
            SimpleNamespace(id=f"loc-{n}", name=name, warehouse_managed=False)
            for n, name in enumerate(self.places)
        ]

    def orders_changed_since(self, since: Any, page_size: int) -> Iterator[list[Any]]:
        self._call("GetOrders")
        yield from ()

    def orders_by_reference(self, number: str) -> list[Any]:
        self._call("GetOrderDetailsByReferenceId")
        return []

    def __getattr__(self, name: str) -> Any:
        def nothing(*args: Any, **kwargs: Any) -> Any:
            self._call(name)
            return iter(())

        if name.startswith("__"):
            raise AttributeError(name)
        return nothing


class FakeHappyReturns:
    """Happy Returns without a return."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.calls: Counter[str] = Counter()

    def outbound_shipments(self, since: Any, until: Any) -> list[Any]:
        self.calls["GET /shipments"] += 1
        return []

    def look_up(self, number: str) -> list[Any]:
        self.calls["POST /return"] += 1
        return []


@pytest.fixture
def store(sqlite_url: str) -> Iterator[sa.Engine]:
    """An engine on the shop's database."""
    made = connect(sqlite_url)
    yield made
    made.dispose()


@pytest.fixture
def settings_of_a_shop(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything set, in live mode, with a clock that stands; gives the policy file."""
    for name in list(os.environ):  # noqa: TID251
        if name.startswith(("RETURNS_", "HAPPY_RETURNS_", "LINNWORKS_", "DAGSTER_HOME")):
            monkeypatch.delenv(name)
    policy = tmp_path / "policy.toml"
    policy.write_text(_POLICY)
    values = {
        "RETURNS_DATABASE_URL": sqlite_url,
        "RETURNS_POLICY": str(policy),
        "RETURNS_MODE": "live",
        "RETURNS_NOW": NOW,
        "HAPPY_RETURNS_BASE_URL": "http://127.0.0.1:9",
        "HAPPY_RETURNS_API_KEY": "key",
        "HAPPY_RETURNS_RETAILER_ID": "retailer",
        "LINNWORKS_AUTH_URL": "http://127.0.0.1:9",
        "LINNWORKS_APPLICATION_ID": "id",
        "LINNWORKS_APPLICATION_SECRET": "secret",
        "LINNWORKS_TOKEN": "token",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return policy


@pytest.fixture
def shop(settings_of_a_shop: Path, monkeypatch: pytest.MonkeyPatch) -> type[FakeLinnworks]:
    """A shop whose vendors answer from lists."""
    from returns_pipeline.steps import runtime

    monkeypatch.setattr(FakeLinnworks, "failing", None)
    monkeypatch.setattr(FakeLinnworks, "places", _PLACES)
    monkeypatch.setattr(FakeLinnworks, "asked", Counter())
    monkeypatch.setattr(runtime, "Linnworks", FakeLinnworks)
    monkeypatch.setattr(runtime, "HappyReturns", FakeHappyReturns)
    return FakeLinnworks


@pytest.fixture
def home(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance on disk, under the project's own instance file."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", folder / "dagster.yaml")
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder))) as made:
        yield made


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made
