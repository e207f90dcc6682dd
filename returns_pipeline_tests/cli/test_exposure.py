"""``exposure``: what was sent on trust and is not back."""

import pytest
import sqlalchemy as sa

from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline_tests.cli.conftest import Command
from returns_pipeline_tests.defs import seed


@pytest.fixture
def shop(sqlite_url: str, clean: None, monkeypatch: pytest.MonkeyPatch) -> sa.Engine:
    """One replacement that is out; its original was handed over."""
    monkeypatch.setenv("RETURNS_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("RETURNS_NOW", "2026-03-16T09:00:00Z")
    engine = connect(sqlite_url)
    with engine.begin() as connection:
        seed.order(connection, currency="GBP", source="SHOPIFY")
        seed.line(connection, quantity=2, total_minor=6000)
        seed.unit(connection, stage="dropped_off", received_at=None)
        seed.match(connection)
        seed.exchange(connection)
    return engine


def test_it_names_each_replacement_and_what_its_original_is_worth(
    command: Command, shop: sa.Engine
) -> None:
    found = command("exposure", "--json").json()

    (one,) = found["replacements"]
    assert (one["reference"], one["stage"], one["is_allowed"]) == (
        "1001-EX-1",
        "dropped_off",
        False,
    )
    assert (one["value_minor"], found["totals"]) == (3000, {"GBP": 3000})
    assert "1001-EX-1" in command("exposure").out


def test_what_is_back_is_no_exposure(command: Command, shop: sa.Engine) -> None:
    with shop.begin() as connection:
        connection.execute(sa.update(t.return_items).values(received_at=seed.ago(hours=1)))

    assert command("exposure", "--json").json() == {"replacements": [], "totals": {}}
