"""What Airbyte asks of every connector, asked of ours: both vendors' readers, over HTTP.

Its six acceptance tests: what is needed to connect is declared, secrets marked (spec); wrong
credentials are told from right ones (connection); what is stored has the declared shape
(discovery); everything comes (basic read); two reads one after the other are one read (full
refresh); and from whatever state a read begins, the end is the same (incremental). Pages in
another order, cut otherwise, or twice, end the same too.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline import schemas
from returns_pipeline.clients.happy_returns import HappyReturns
from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.clients.transport import ContractBroken, CredentialsRevoked
from returns_pipeline.sandbox.model import World
from returns_pipeline.sandbox.script import RESTOCK, Line, Script
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.steps import capture, control, derive
from returns_pipeline.storage import frames, records
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.end_to_end.shop import Shop, policy

STARTS = datetime(2026, 3, 9, tzinfo=UTC)
# Instants between which something has changed at each vendor.
STATES = [STARTS + timedelta(days=day) for day in (0.5, 2.0, 3.0, 4.5, 6.0)]
END = STATES[-1]
_WHEN_SEEN = frozenset(
    {"id", "first_seen_at", "seen_at", "changed_at", "read_at", "source_rank", "payload_hash"}
)

Read = Callable[[Any], Any]


@dataclass(frozen=True)
class Source:
    """One thing that is read of a vendor: its steps, its marks, the tables it fills.

    ``polls``: how many make a whole read. What a shipment told of is looked up by the next.
    ``seen``: columns that say when or how something was seen.
    """

    reads: tuple[Read, ...]
    marks: tuple[str, ...]
    tables: tuple[sa.Table, ...]
    polls: int = 1
    seen: frozenset[str] = _WHEN_SEEN


SOURCES = {
    "Linnworks' orders": Source(
        (capture.order_payloads, derive.orders), ("linnworks.orders",), (t.orders, t.order_lines)
    ),
    "Linnworks' returns and refunds": Source(
        (capture.bookings,),
        ("linnworks.bookings", "linnworks.refunds"),
        (t.restock_readings, t.refund_readings),
    ),
    "Happy Returns": Source(
        (capture.return_payloads, derive.returns),
        ("happy_returns.shipments",),
        (t.returns, t.return_items),
        polls=2,
        # A shipment's items have no instant of their own: theirs is when they were read. And
        # the vendor's word for the stage, which decides nothing, is left out by the newest
        # reading then, and filled by whichever was joined first (``domain.lifecycle.merge``).
        seen=_WHEN_SEEN | {"updated_at", "status"},
    ),
}
each_source = pytest.mark.parametrize("name", SOURCES)


def _world() -> World:
    script = Script(5, STARTS)
    for number in range(7):
        order = script.order(Line("SOCK-3", 2), processed=number / 2 - 4)
        for offset in range(2):
            script.unit(order, order.lines[0], offset=offset, start=number / 3 - 3.5)
        line = {"row_id": order.lines[0].row_id, "quantity": 1, "location": RESTOCK}
        script.staff_does(
            number / 2 + 1.0,
            "book_rma",
            order_reference=order.reference,
            lines=[line],
            action_too=number % 2 == 0,
        )
        script.staff_does(
            number / 2 + 1.2,
            "refund",
            order_reference=order.reference,
            row_id=order.lines[0].row_id,
            amount="1.50",
        )
        script.staff_does(number / 2 + 2.0, "touch_order", order_reference=order.reference)
    return script.world(ends=10)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(_world(), now=STARTS) as sandbox:
        yield sandbox


@pytest.fixture
def new_shop(sandbox: Sandbox, sqlite_url: str, tmp_path: Path) -> Callable[..., Shop]:
    """Shops of the same vendors, each with nothing read yet."""
    empty = Path(sqlite_url.removeprefix("sqlite:///"))

    def make(text: str = "", **environ: str) -> Shop:
        number = len(list(tmp_path.glob("shop-*")))
        folder = tmp_path / f"shop-{number}"
        folder.mkdir()
        shutil.copy(empty, folder / "returns.db")
        url = f"sqlite:///{folder / 'returns.db'}"
        return Shop(sandbox, url, {"RETURNS_POLICY": policy(folder, text), **environ})

    return make


def _read(shop: Shop, source: Source, *instants: datetime) -> Counter[Any]:
    """Read at these instants; what is stored in the end, but for when it was seen."""
    for now in instants:
        for _ in range(source.polls):
            _poll(shop, source, now)
    return _stored(shop, source)


def _poll(shop: Shop, source: Source, now: datetime) -> None:
    with shop.run(now) as rt:
        for step in source.reads:
            step(rt)


def _stored(shop: Shop, source: Source) -> Counter[Any]:
    return Counter(
        (table.name, *((c, str(value)) for c, value in row.items() if c not in source.seen))
        for table in source.tables
        for row in shop.rows(sa.select(table))
    )


def _marks(shop: Shop, source: Source) -> list[datetime | None]:
    columns = t.watermarks.c
    query = sa.select(columns.at).where(columns.name.in_(source.marks))
    return [row["at"] for row in shop.rows(query)]


# --- spec, connection, discovery, basic read --------------------------------------


def test_what_is_needed_to_connect_is_declared_and_its_secrets_are_not_shown(
    new_shop: Callable[..., Shop],
) -> None:
    shop = new_shop()
    found = shop.settings(END)

    shown = repr(found)
    for name in ("LINNWORKS_TOKEN", "LINNWORKS_APPLICATION_SECRET", "HAPPY_RETURNS_API_KEY"):
        assert shop.sandbox.environ()[name] not in shown
    assert shop.sandbox.linnworks_server.url in shown


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("Linnworks' orders", {"LINNWORKS_TOKEN": "11111111-0000-4000-8000-000000000000"}),
        ("Linnworks' returns and refunds", {"LINNWORKS_APPLICATION_SECRET": "x"}),
        ("Happy Returns", {"HAPPY_RETURNS_API_KEY": "x"}),
    ],
)
def test_wrong_credentials_are_told_and_read_nothing(
    new_shop: Callable[..., Shop], name: str, wrong: dict[str, str]
) -> None:
    source, shop = SOURCES[name], new_shop(**wrong)

    with pytest.raises(CredentialsRevoked):
        _read(shop, source, END)

    assert _stored(shop, source) == Counter()
    assert _marks(shop, source) == []


@each_source
def test_what_is_stored_has_the_declared_shape(new_shop: Callable[..., Shop], name: str) -> None:
    source, shop = SOURCES[name], new_shop()
    _read(shop, source, *STATES)

    with shop.run(END) as rt, rt.engine.connect() as connection:
        for table in source.tables:
            frame = frames.read(connection, table)
            assert len(frame) > 0, table.name
            assert list(schemas.check(table.name, frame).failures) == [], table.name


def test_everything_the_vendors_have_is_there(new_shop: Callable[..., Shop]) -> None:
    shop = new_shop()
    for source in SOURCES.values():
        _read(shop, source, END)

    world, books = shop.sandbox.world, shop.sandbox.linnworks
    counts = {
        table.name: len(shop.rows(sa.select(table)))
        for source in SOURCES.values()
        for table in source.tables
    }
    assert counts["orders"] == len(world.orders) == 7
    assert counts["order_lines"] == 7
    assert counts["restock_readings"] == sum(len(rma.lines) for rma in books.rmas.values())
    assert counts["refund_readings"] == sum(len(one.rows) for one in books.refunds.values())
    departed = [unit for unit in world.units if unit.departed_at and unit.departed_at <= END]
    assert counts["return_items"] == len(departed) == 14


# --- full refresh and incremental -------------------------------------------------


@each_source
def test_two_reads_one_after_the_other_are_one_read(
    new_shop: Callable[..., Shop], name: str
) -> None:
    source, shop = SOURCES[name], new_shop()
    _read(shop, source, END)
    before = {table.name: shop.rows(sa.select(table)) for table in source.tables}
    payloads = shop.rows(sa.select(t.raw_payloads.c.id))

    _read(shop, source, END)

    assert {table.name: shop.rows(sa.select(table)) for table in source.tables} == before
    assert shop.rows(sa.select(t.raw_payloads.c.id)) == payloads
    assert all(before.values())


@each_source
def test_from_every_intermediate_state_the_end_is_the_same(
    new_shop: Callable[..., Shop], name: str
) -> None:
    source = SOURCES[name]
    states = [_read(new_shop(), source, until) for until in STATES]
    assert len({frozenset(state.items()) for state in states}) > 2  # there were such states
    at_once = states[-1]

    for state in STATES[:-1]:
        assert _read(new_shop(), source, state, END) == at_once
    assert _read(new_shop(), source, *STATES) == at_once


@each_source
def test_a_read_that_was_cut_off_leaves_its_state_where_it_was(
    new_shop: Callable[..., Shop], name: str
) -> None:
    source, shop = SOURCES[name], new_shop("[linnworks]\npage_size = 1\n")
    before, marks = _read(shop, source, STATES[0]), _marks(shop, source)
    sandbox = shop.sandbox
    served = sandbox.happy_returns_server if "Happy" in name else sandbox.linnworks_server
    # A read that is sent elsewhere is given up at once. Pages before it were read already;
    # returns and refunds are two readings, each with a mark of its own: the first fails.
    after = 1 if "refunds" in name else 3
    served.vendor.faults.add("*", "redirect_307", after=after, times=9)

    with pytest.raises(ContractBroken):
        _read(shop, source, STATES[2])

    served.vendor.faults.clear()
    assert (_stored(shop, source), _marks(shop, source)) == (before, marks)
    assert _read(shop, source, END) == _read(new_shop(), source, END)


@each_source
def test_a_state_in_the_future_gives_nothing_and_an_alarm_and_then_everything(
    new_shop: Callable[..., Shop], name: str
) -> None:
    source, shop = SOURCES[name], new_shop()
    with shop.run(END) as rt, rt.engine.begin() as connection:
        for mark in source.marks:
            ahead = END + timedelta(days=400)
            records.move_watermark(connection, mark, now=ahead, at=ahead)

    def alarms() -> set[str]:
        with shop.run(END) as rt:
            control.exceptions(rt)
        columns = t.exceptions.c
        query = sa.select(columns.key).where(
            columns.code == "SOURCE_STALE", columns.status == "open"
        )
        return {row["key"] for row in shop.rows(query)} & set(source.marks)

    _poll(shop, source, END)
    assert _stored(shop, source) == Counter()
    assert alarms() == set(source.marks)

    assert _read(shop, source, END) == _read(new_shop(), source, END)
    assert alarms() == set()


@each_source
def test_a_clock_that_was_a_little_ahead_loses_nothing(
    new_shop: Callable[..., Shop], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, shop = SOURCES[name], new_shop()
    shop.sandbox.clock.set(STATES[2])
    ahead = STATES[2] + timedelta(minutes=3)
    with monkeypatch.context() as patched:
        patched.setattr(shop.sandbox.clock, "set", lambda _now: None)
        _read(shop, source, ahead)  # by our clock; the vendors' stands at STATES[2]

    assert _read(shop, source, STATES[2], END) == _read(new_shop(), source, END)


# --- pages ------------------------------------------------------------------------

_PAGED = {
    "Linnworks' orders": ((Linnworks, "orders_changed_since"),),
    "Linnworks' returns and refunds": ((Linnworks, "returned_rows"), (Linnworks, "refunded_rows")),
    "Happy Returns": ((HappyReturns, "outbound_items"),),
}


def _cut_otherwise(rng: random.Random, pages: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """The rows of the pages in another order, some of them twice, on pages of other sizes."""
    rows = [row for page in pages for row in page]
    rows += rng.sample(rows, len(rows) // 3)
    rng.shuffle(rows)
    cut = []
    while rows:
        size = rng.randint(1, 4)
        cut.append(rows[:size])
        rows = rows[size:]
    return cut


@each_source
@pytest.mark.parametrize("seed", range(3))
def test_pages_in_any_order_cut_anyhow_and_twice_end_the_same(
    new_shop: Callable[..., Shop], name: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, rng = SOURCES[name], random.Random(seed)  # noqa: S311
    expected = _read(new_shop(), source, *STATES)

    for kind, method in _PAGED[name]:
        usual = getattr(kind, method)

        def paged(*args: Any, usual: Any = usual, **more: Any) -> Iterator[list[Any]]:
            yield from _cut_otherwise(rng, list(usual(*args, **more)))

        monkeypatch.setattr(kind, method, paged)

    assert _read(new_shop(), source, *STATES) == expected


@each_source
@pytest.mark.parametrize("size", [1, 3])
def test_pages_of_any_size_end_the_same(
    new_shop: Callable[..., Shop], name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SOURCES[name]
    expected = _read(new_shop(), source, *STATES)
    sized = f"[linnworks]\npage_size = {size}\n[happy_returns]\npage_size = {size}\n"
    monkeypatch.setattr("returns_pipeline.clients.linnworks.reads._PAGE", size)

    assert _read(new_shop(sized), source, *STATES) == expected


def test_an_older_word_on_an_order_that_comes_after_a_newer_one_changes_nothing(
    new_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, shop = SOURCES["Linnworks' orders"], new_shop()
    usual, old = Linnworks.orders_changed_since, []

    def remembered(*args: Any) -> Iterator[list[Any]]:
        for page in usual(*args):
            old.append(page)
            yield page

    monkeypatch.setattr(Linnworks, "orders_changed_since", remembered)
    _read(shop, source, STATES[1])

    def late(*args: Any) -> Iterator[list[Any]]:
        yield from usual(*args)
        yield from old

    monkeypatch.setattr(Linnworks, "orders_changed_since", late)
    after = _read(shop, source, END)

    monkeypatch.setattr(Linnworks, "orders_changed_since", usual)
    assert after == _read(new_shop(), source, END)
