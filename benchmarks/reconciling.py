"""What a reconciliation of many units costs: vendor calls and seconds.

``python -m benchmarks.reconciling [--units 100000] [--wrong 150]``. The units were restocked and
refunded within a day. They are reconciled as they came, once more with nothing new, and after
staff led some of them to another location. Linnworks is the sandbox in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.merchant import POLICY, at, returned_orders
from benchmarks.runtime import runtime
from returns_pipeline.dispatch import refunds
from returns_pipeline.sandbox.linnworks.state import LinnworksState, RefundRow, RmaLine
from returns_pipeline.sandbox.model import World
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.steps.reconciling import reconcile
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.bulk import upsert
from returns_pipeline.storage.engine import connect
from returns_pipeline.storage.migrate import upgrade

_DONE, _FIRST, _WRONG, _AGAIN = 9.0, 9.5, 10.0, 11.0  # days
_Done = tuple[str, int, int, str]  # order, RMA row, refund, refund row


def _world(units: int) -> World:
    return returned_orders([(0.0, units)])


def _restocked_and_refunded(state: LinnworksState) -> list[_Done]:
    place, when, done = state.location_id("HR Restock"), at(_DONE), []
    for order in state.world.orders:
        line = order.lines[0]
        state.next_row += 1
        row = RmaLine(state.next_row, line, place, 1, 0, Decimal(0), "", "")
        rma = state.book(order, [row], f"HR-{order.num_id}", channel=False, at=when)
        state.post(rma, when)
        money = RefundRow(state.guid(), "Item", line, row.row_id, line.line_total, 1)
        refund = state.add_refund(order, [money], when)
        state.send(refund, when)
        done.append((order.id, row.row_id, refund.header_id, money.row_id))
    return done


def _serve(ready: Connection, units: int, wrong: int) -> None:
    with Sandbox(_world(units), now=at(_FIRST)) as sandbox:
        state = sandbox.linnworks
        # What the sandbox does anew for every page is not what is measured.
        state.return_rows = lru_cache(4)(state.return_rows)  # type: ignore[method-assign]
        state.refund_rows = lru_cache(4)(state.refund_rows)  # type: ignore[method-assign]
        ready.send((sandbox.linnworks_server.url, _restocked_and_refunded(state)))
        ready.recv()
        for order in state.world.orders[:wrong]:
            (rma,) = state.rmas_of(order)
            rma.lines[0].location = state.location_id("HR Refurb")
        ready.send(None)
        ready.recv()


@contextmanager
def _linnworks(units: int, wrong: int) -> Iterator[tuple[str, list[_Done], Connection]]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(theirs, units, wrong), daemon=True
    )
    process.start()
    try:
        url, done = ours.recv()
        yield url, done, ours
    finally:
        process.terminate()
        process.join()


def _our_books(database_url: str, units: int, done: list[_Done]) -> None:
    """The same, as our own record has it."""
    world, when = _world(units), at(_DONE)
    locations = {place.name: place.id for place in world.locations}
    tables: dict[sa.Table, list[dict[str, Any]]] = {
        table: []
        for table in (
            t.orders,
            t.order_lines,
            t.return_items,
            t.matches,
            t.stock_adjustments,
            t.refunds_due,
            t.intents,
        )
    }
    for order, unit, (order_id, rma_row, refund, refund_row) in zip(
        world.orders, world.units, done, strict=True
    ):
        line = order.lines[0]
        minor = int(line.line_total * 100)
        of = {"order_id": order_id, "row_id": line.row_id, "unit_key": unit.item_id}
        tables[t.orders].append(
            {
                "order_id": order_id,
                "num_id": order.num_id,
                "reference": order.reference,
                "reference_key": order.reference.lstrip("#"),
                "currency": order.currency,
                "is_processed": True,
                "total_minor": minor,
            }
        )
        tables[t.order_lines].append(
            {
                "row_id": line.row_id,
                "order_id": order_id,
                "sku": line.sku,
                "stock_item_id": line.stock_item_id,
                "quantity": 1,
                "total_minor": minor,
            }
        )
        tables[t.return_items].append(
            {
                "unit_key": unit.item_id,
                "return_id": unit.return_id,
                "order_number": order.reference,
                "order_key": order.reference.lstrip("#"),
                "stage": "received",
                "received_at": when,
                "precisions": "----e--",
            }
        )
        tables[t.matches].append({**of, "outcome": "matched", "unit_no": 0})
        tables[t.stock_adjustments].append(
            {
                **of,
                "adjustment_key": f"{unit.item_id}:restock",
                "kind": "restock",
                "sku": line.sku,
                "location_id": locations["HR Restock"],
                "quantity": 1,
                "is_sellable": True,
                "state": "posted",
                "rma_row_id": rma_row,
                "posted_at": when,
            }
        )
        tables[t.refunds_due].append(
            {
                **of,
                "refund_key": f"{unit.item_id}:refund",
                "currency": order.currency,
                "goods_minor": minor,
                "amount_minor": minor,
                "tender": "refund",
                "executor": "linnworks",
                "state": "actioned",
                "refund_header_id": refund,
                "settled_at": when,
            }
        )
        tables[t.intents].append(
            {
                "intent_key": refunds.create_key(f"HRR-{order.num_id}"),
                "kind": refunds.CREATE,
                "subject": refunds.refund_subject(order_id),
                "reference": f"HRR-{order.num_id}",
                "payload": {},
                "state": "confirmed",
                "evidence": {"header_id": refund, "rows": [refund_row]},
            }
        )
    places = [
        {"location_id": one.id, "name": one.name, "is_present": True} for one in world.locations
    ]
    engine = connect(database_url)
    with engine.begin() as connection:
        for table, rows in (*tables.items(), (t.vendor_locations, places)):
            _insert(connection, table, rows)
    engine.dispose()


def _insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    needed = {
        column.name: _harmless(column)
        for column in table.columns
        if not column.nullable and column.server_default is None and column.name != "id"
    }
    columns = tuple({**needed, **rows[0]})
    for start in range(0, len(rows), 10_000):
        part = [
            tuple({**needed, **row}[name] for name in columns)
            for row in rows[start : start + 10_000]
        ]
        upsert(connection, table, columns, part)


def _harmless(column: sa.Column[Any]) -> Any:
    kind = column.type.python_type
    return {bool: False, int: 0, str: ""}.get(
        kind, at(_DONE) if kind.__name__ != "date" else at(0).date()
    )


def main(units: int, wrong: int) -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as folder, _linnworks(units, wrong) as (url, done, server):
        policy = Path(folder) / "policy.toml"
        policy.write_text(POLICY)
        database_url = f"sqlite:///{folder}/returns.sqlite"
        engine = connect(database_url)
        upgrade(engine)
        engine.dispose()
        _our_books(database_url, units, done)
        print("| reconciliation | calls | histories | differences | processor | clock |")
        print("| --- | --- | --- | --- | --- | --- |")
        calls: dict[str, int] = {}
        for name, day in (
            (f"{units:,} units", _FIRST),
            ("nothing new", _WRONG),
            (f"{wrong} led elsewhere", _AGAIN),
        ):
            body = json.dumps({"now": at(day).isoformat()}).encode()
            urllib.request.urlopen(f"{url}/_sandbox/clock", body).read()
            if day == _AGAIN:
                server.send(None)
                server.recv()
            with runtime(
                database_url, linnworks=url, now=at(day).isoformat(), policy=str(policy), live=True
            ) as rt:
                began, busy = time.perf_counter(), time.process_time()
                counts = reconcile(rt)
                took, worked = time.perf_counter() - began, time.process_time() - busy
                calls = calls or dict(rt.calls())
            print(
                f"| {name} | {counts['vendor_calls']:,} | {counts['histories']} | "
                f"{counts['differences']} | {worked:.1f} s | {took:.1f} s |",
                flush=True,
            )
        print("", *(f"| {name} | {n:,} |" for name, n in sorted(calls.items())), sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--wrong", type=int, default=150)
    given = parser.parse_args()
    main(given.units, given.wrong)
