"""Money others sent for goods that are not back: seen early, aged, owned, closed by receipt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline import settings
from returns_pipeline.domain.exceptions import CATALOGUE
from returns_pipeline.steps import control, early_money
from returns_pipeline.steps.runtime import Runtime
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.defs import seed

Open = dict[str, dict[str, Any]]


class Queue:
    """The exception queue over rows a test wrote, at ``seed.T0``."""

    def __init__(self, url: str, engine: sa.Engine) -> None:
        self.url = url
        self.engine = engine

    @contextmanager
    def rows(self) -> Iterator[sa.Connection]:
        with self.engine.begin() as connection:
            yield connection

    def runtime(self) -> Runtime:
        environ = {"RETURNS_DATABASE_URL": self.url, "RETURNS_NOW": seed.T0.isoformat()}
        return Runtime(settings.load(environ, vendors=False), run_id="test")

    def refresh(self) -> Open:
        """The open exceptions about units or money, by code; one a code."""
        with self.runtime() as rt:
            control.exceptions(rt)
        with self.engine.connect() as connection:
            query = sa.select(t.exceptions).where(
                t.exceptions.c.status == "open", t.exceptions.c.unit_keys != "[]"
            )
            return {row.code: row._asdict() for row in connection.execute(query)}

    def settle(self) -> None:
        with self.runtime() as rt:
            control.settle_units(rt)

    def unit(self, key: str = "u1") -> Any:
        with self.engine.connect() as connection:
            query = sa.select(t.return_items).where(t.return_items.c.unit_key == key)
            return connection.execute(query).one()


@pytest.fixture
def queue(database_url: str, engine: sa.Engine) -> Queue:
    found = Queue(database_url, engine)
    with found.rows() as c:
        seed.order(c)
        seed.line(c, quantity=3)
    return found


def _on_its_way(c: sa.Connection, key: str = "u1", number: int = 0, **values: Any) -> None:
    item = {"stage": "departed", "received_at": None, "departed_at": seed.ago(days=1)}
    seed.unit(c, key, **{**item, **values})
    seed.match(c, key, unit_no=number)


def _refunded(c: sa.Connection, **values: Any) -> None:
    days = values.pop("days", 1)
    row = {
        "refund_header_id": 7,
        "order_id": "o1",
        "row_id": "r1",
        "unit": "Item",
        "quantity": 1,
        "amount_minor": 6000,
        "created_at": seed.ago(days=days),
        "is_actioned": True,
    }
    row.update(values)
    row.setdefault("actioned_at", seed.ago(days=days) if row["is_actioned"] else None)
    seed.insert(c, t.refund_readings, **row)


@pytest.mark.parametrize(
    ("days", "code", "severity", "owner"),
    [
        (0, "REFUND_AHEAD_OF_GATE", "S2", "Finance"),
        (6, "REFUND_AHEAD_OF_GATE", "S2", "Finance"),
        (7, "REFUNDED_NOT_RECEIVED", "S2", "Operations"),
        (29, "REFUNDED_NOT_RECEIVED", "S2", "Operations"),
        (30, "REFUNDED_NOT_RECEIVED", "S1", "Operations"),
    ],
)
def test_money_of_others_is_somebodys_by_its_age(
    queue: Queue, days: int, code: str, severity: str, owner: str
) -> None:
    with queue.rows() as c:
        _on_its_way(c)
        _refunded(c, days=days)

    raised = queue.refresh()

    assert set(raised) == {code}
    assert (raised[code]["severity"], raised[code]["owner"]) == (severity, owner)
    assert (raised[code]["amount_minor"], raised[code]["currency"]) == (6000, "GBP")
    assert f"refunded in Linnworks {days} days ago by somebody else" in raised[code]["message"]


def test_it_is_closed_when_the_goods_come(queue: Queue) -> None:
    with queue.rows() as c:
        _on_its_way(c)
        _refunded(c, days=9)
    assert set(queue.refresh()) == {"REFUNDED_NOT_RECEIVED"}
    with queue.rows() as c:
        c.execute(
            sa.update(t.return_items).values(
                stage="received", received_at=seed.T0, precisions="---ee--"
            )
        )

    assert queue.refresh() == {}


Seeds = Callable[[sa.Connection], object]


@pytest.mark.parametrize(
    "seeds",
    [
        lambda c: _refunded(c, is_ours=True),
        lambda c: _refunded(c, is_deleted=True),
        lambda c: _refunded(c, row_id=None, unit="Shipping"),
        lambda c: _refunded(c, row_id="r2"),
        lambda c: _refunded(c, is_actioned=False, created_at=seed.ago(hours=23)),
        lambda c: (_refunded(c), c.execute(sa.update(t.return_items).values(is_returnless=True))),
        # The policy lets money go at this stage, whoever sends it.
        lambda c: (
            _refunded(c),
            seed.insert(c, t.gates, unit_key="u1", gate="refund", is_cleared=True),
        ),
    ],
    ids=["ours", "gone", "shipping", "another line", "not sent", "nothing to come", "gate open"],
)
def test_what_is_no_money_ahead_of_the_goods_raises_nothing(queue: Queue, seeds: Seeds) -> None:
    with queue.rows() as c:
        _on_its_way(c)
        seeds(c)

    assert queue.refresh() == {}


def test_what_happy_returns_paid_is_counted_once(queue: Queue) -> None:
    """A channel tells Linnworks of the refund that Happy Returns paid there."""
    with queue.rows() as c:
        _on_its_way(c)
        _refunded(c)
        seed.refund(c, executor="happy_returns", state="recorded", effective_at=seed.ago(days=1))

    assert queue.refresh() == {}


def test_one_refund_is_about_as_many_units_of_its_line_as_it_says(queue: Queue) -> None:
    with queue.rows() as c:
        _on_its_way(c, "u1", 0)
        _on_its_way(c, "u2", 1)
        _on_its_way(c, "u3", 2)
        _refunded(c, quantity=2, amount_minor=10001)

    with queue.engine.connect() as connection:
        found = early_money.sent_by_others(connection)

    assert [(one.unit_key, one.amount_minor) for one in found] == [("u1", 5001), ("u2", 5000)]


def test_a_unit_that_is_back_explains_the_money_before_one_that_is_not(queue: Queue) -> None:
    with queue.rows() as c:
        _on_its_way(c, "u1", 0)
        seed.unit(c, "u2")
        seed.match(c, "u2", unit_no=1)
        _refunded(c)

    with queue.engine.connect() as connection:
        assert early_money.sent_by_others(connection) == []


def test_a_unit_we_paid_explains_no_money_of_others(queue: Queue) -> None:
    with queue.rows() as c:
        _on_its_way(c, "u1", 0)
        seed.unit(c, "u2")
        seed.match(c, "u2", unit_no=1)
        seed.refund(c, "u2", state="actioned")
        _refunded(c)

    with queue.engine.connect() as connection:
        assert [one.unit_key for one in early_money.sent_by_others(connection)] == ["u1"]


def test_the_refund_of_a_bundle_is_about_its_parts(queue: Queue) -> None:
    with queue.rows() as c:
        seed.line(c, "part-1", parent_row_id="r1")
        seed.line(c, "part-2", parent_row_id="r1")
        for key, part in (("u1", "part-1"), ("u2", "part-2")):
            seed.unit(c, key, stage="departed", received_at=None, departed_at=seed.ago(days=1))
            seed.match(c, key, row_id=part)
        _refunded(c)

    with queue.engine.connect() as connection:
        found = early_money.sent_by_others(connection)

    assert [(one.unit_key, one.amount_minor) for one in found] == [("u1", 3000), ("u2", 3000)]


@pytest.mark.parametrize(
    ("days", "codes"),
    [
        (3, {"REFUND_AHEAD_OF_GATE", "STUCK_IN_TRANSIT"}),
        (9, {"REFUNDED_NOT_RECEIVED"}),
    ],
)
def test_a_parcel_is_traced_by_one_task(queue: Queue, days: int, codes: set[str]) -> None:
    with queue.rows() as c:
        _on_its_way(c, departed_at=seed.ago(days=40))
        _refunded(c, days=days)

    raised = queue.refresh()

    assert set(raised) == codes
    assert not any("not refunded" in one["message"] for one in raised.values())


def test_a_refund_made_and_not_sent_for_a_day_is_finances(queue: Queue) -> None:
    with queue.rows() as c:
        _on_its_way(c, "u1", 0)
        seed.unit(c, "u2")  # back or not
        seed.match(c, "u2", unit_no=1)
        _refunded(c, is_actioned=False, created_at=seed.ago(hours=25))
        _refunded(c, is_actioned=False, created_at=seed.ago(hours=25), amount_minor=100)

    raised = queue.refresh()

    assert set(raised) == {"REFUND_BOOKED_NOT_ACTIONED"}
    [one] = raised.values()
    assert (one["key"], one["amount_minor"], one["owner"]) == ("refund:7", 6100, "Finance")
    assert one["unit_keys"] == '["u1", "u2"]'
    assert CATALOGUE["REFUND_BOOKED_NOT_ACTIONED"].owner == one["owner"]
    with queue.rows() as c:
        c.execute(sa.update(t.refund_readings).values(is_deleted=True))
    assert queue.refresh() == {}


def test_a_return_given_up_stays_open_while_its_money_is_out(queue: Queue) -> None:
    with queue.rows() as c:
        for number, key in enumerate(("u1", "u2")):
            given_up = {"stage": "expired", "departed_at": None, "expired_at": seed.ago(days=40)}
            _on_its_way(c, key, number, **given_up)
        _refunded(c, days=20)

    queue.settle()

    assert queue.unit("u1").is_open
    assert not queue.unit("u2").is_open
