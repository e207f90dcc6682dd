"""One seed: what is decided, how workers run, crash and freeze, what staff and the clock do.

Everything random comes from the seed, so that a seed is a story that can be told again.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from returns_pipeline.clients.transport import VendorError
from returns_pipeline.dispatch import intend, kinds, readings
from returns_pipeline.dispatch.protocol import LEASE, Dispatcher
from returns_pipeline.sandbox.linnworks import staff
from returns_pipeline.sandbox.server import Response
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.dispatch.conftest import (
    DAMAGED,
    NOW,
    RESTOCK,
    SETTLE,
    Account,
    _policy,
    order_id,
    row_id,
)
from returns_pipeline_tests.simulation.oracle import Oracle, Record, Row
from returns_pipeline_tests.simulation.vendor import (
    AFTER,
    BEFORE,
    LATE,
    ORDERS,
    UNSENT,
    WRITES,
    Client,
    Sent,
    Surroundings,
    TrueClock,
    account,
    carry_out,
)

ALL_KINDS = (*kinds.RESTOCK, *kinds.REFUND, *kinds.EXCHANGE)
_TABLES = (
    t.attempts,
    t.intents,
    t.stock_adjustments,
    t.refunds_due,
    t.exchange_orders,
    t.return_items,
    t.matches,
    t.restock_readings,
    t.refund_readings,
    t.watermarks,
    t.order_lines,
    t.orders,
)
# How far our clock may be off, and a margin for what a request takes: requests given up on
# are carried out this much before the settle time is over, unless the story breaks that.
_MARGIN = 700.0


class Crash(BaseException):
    """The process is gone at this instruction; what it committed stays."""


class _Strand:
    """A worker's run that may be left standing at any edge and gone on with at another's.

    A thread, of which only one ever runs: who goes on is handed over, so that a seed stays a
    story that can be told again.
    """

    def __init__(self, name: str, run: Callable[[str], None]) -> None:
        self.name = name
        self.active: list[str] = []
        self.over = False
        self.dead = False
        self._run = run
        self._error: BaseException | None = None
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()

    def _main(self) -> None:
        self._go.acquire()
        try:
            if not self.dead:
                self._run(self.name)
        except Crash:
            pass
        except BaseException as error:  # noqa: BLE001 (it is raised where it was resumed)
            self._error = error
        self.over = True
        self._back.release()

    def resume(self) -> None:
        """Let it go on until it pauses or ends."""
        self._go.release()
        self._back.acquire()
        if self._error is not None:
            raise self._error

    def pause(self) -> None:
        """Inside it: stand still, and let who resumed it go on."""
        self._back.release()
        self._go.acquire()
        if self.dead:
            raise Crash

    def end(self) -> None:
        """Make an end of it, wherever it stands."""
        if not self.over:
            self.dead = True
            self._error = None
            self._go.release()
        self._thread.join()


class _Books(Account):
    """Decisions; the orders are mirrored once."""

    def mirror(self, *numbers: int) -> None:
        del numbers

    def mirror_all(self) -> None:
        super().mirror(*range(1, ORDERS + 1))


class Story(Surroundings):
    """One seed over a migrated, empty database."""

    def __init__(self, seed: int, engine: sa.Engine, *, trace: bool = False) -> None:
        self.rng = rng = random.Random(seed)  # noqa: S311 (a story, not a secret)
        self.engine, self.trace = engine, trace
        self.clock = TrueClock()
        self.skew = timedelta()
        self.switches = {
            "second_action": rng.choice(("refused", "posts_again")),
            "second_refund_action": rng.choice(("refused", "pays_again")),
            "reference_echoed": rng.random() < 0.6,
            "return_id_is_row_id": rng.random() < 0.6,
            "create_orders_repeat": rng.choice(("empty", "same_id")),
            "success_with_errors": rng.random() < 0.1,
        }
        self.state = account(self.clock, self.switches)
        self.record = Record(engine)
        self.oracle = Oracle(self.record, self.state, SETTLE.total_seconds())
        self.state.on_effect = self.oracle.changed
        self.books = _Books(self.state, None, engine, _POLICY, None, None)  # type: ignore[arg-type]
        # Each story has its own weather: seldom everything at once, sometimes hardly anything.
        self.beyond = rng.random() < 0.1
        self.p_fate = rng.choice((0.0, 0.1, 0.3, 0.6))
        self.p_crash = rng.choice((0.0, 0.0, 0.01, 0.04))
        self.p_freeze = rng.choice((0.0, 0.0, 0.02))
        self.p_nest = rng.choice((0.0, 0.01, 0.04))
        self.p_pause = rng.choice((0.0, 0.1, 0.3))
        self.p_staff = rng.choice((0.0, 0.0, 0.02, 0.06))
        self.fates = rng.sample((*UNSENT, *BEFORE, *AFTER), 4) + list(LATE)
        self.waiting: list[tuple[float, int, Sent, str]] = []
        self.active: list[str] = []
        self.looked_at_clock: dict[str, float] = {}
        self.reached: Counter[str] = self.oracle.sometimes
        self.calm = False
        self.main = ""
        self.last = False  # the run that must find nothing: it asks for everything
        self.quiet = 0  # inside a decision of the story: no edge of a worker
        self.writes = 0
        self.batch = 1
        self.closed: list[str] = []
        self.decided: Counter[Any] = Counter()
        self.most = rng.choice((3, 3, 3, 8))  # units of an order line; six were ordered
        self.clients: dict[str, Client] = {}
        self.runs = 0
        self.strands: list[_Strand] = []  # those that have begun and not ended
        self.running: list[_Strand] = []  # the one that goes on last

    # --- time ---------------------------------------------------------------------

    def seconds(self) -> float:
        return (self.clock.at - NOW).total_seconds()

    def elapse(self, seconds: float) -> None:
        until = self.seconds() + seconds
        while self.waiting and min(self.waiting)[0] <= until:
            due = min(self.waiting)
            self.waiting.remove(due)
            at, _number, sent, key = due
            self.clock.at = NOW + timedelta(seconds=max(at, self.seconds()))
            self._carried_out_late(sent, key)
        self.clock.at = NOW + timedelta(seconds=until)

    def _carried_out_late(self, sent: Sent, key: str) -> None:
        self.say(f"carried out late: {sent.method} of {key}")
        self.reached[f"late {sent.method}"] += 1
        row = self.oracle.rows.get(key)
        if row is not None and row.state == "ready":
            self.reached["late after read back"] += 1
        before = self.state.step
        self._excuse_if_staff_did(sent)
        carry_out(self.state, sent, key)
        self.oracle.pending[key] -= 1
        if key in self.oracle.excused:
            self.oracle.excused |= {
                e.header_id for e in self.state.effects if e.step > before and e.actor == key
            }

    def _excuse_if_staff_did(self, sent: Sent) -> None:
        # Between a request's leaving and its effect staff may act; nobody can see that.
        given = sent.document.get("request") or {}
        header = given.get("RMAHeaderId") or given.get("RefundHeaderId")
        done = [e for e in self.state.effects if e.header_id == header]
        if any(e.what in {"posted", "paid"} and e.actor == "staff" for e in done):
            self.oracle.at_once(header)

    def ours(self) -> datetime:
        """The program's clock: also where it comes by before every transaction."""
        self.edge("transaction")
        if self.active:
            self.looked_at_clock[self.active[-1]] = self.seconds()
        return self.clock.at + self.skew

    # --- the connection's view ----------------------------------------------------

    def arrives(self, sent: Sent) -> str:
        self.elapse(self.rng.uniform(0.05, 1.5))
        write = sent.method in WRITES
        self.edge("write" if write or sent.method == "AuthorizeByApplication" else "read")
        key = ""
        if write:
            self.writes += 1
            self._not_too_late(sent)
            self.oracle.committed(self.seconds())
            row = self.oracle.write_arrives(sent, self.active[-1])
            key = row.key if row else ""
        fate = self._fate(sent, key)
        if key and (fate not in UNSENT and fate not in {"http_401", "http_429"}):
            self.oracle.unanswered.add(key)
        self.say(f"{self.active[-1]} {sent.method} {key} {fate or 'answered'}")
        if write and fate:
            self.reached[f"fate {fate}"] += 1
        return fate

    def _not_too_late(self, sent: Sent) -> None:
        # From the last look at the clock to the wire nothing can be checked. A machine that
        # sleeps there is as late as a request that does, and no protocol survives a lateness
        # beyond the settle time: such a machine does not wake up here.
        longest = (SETTLE - LEASE).total_seconds() - _MARGIN
        since = self.seconds() - self.looked_at_clock[self.active[-1]]
        if sent.method != "DeleteRMA" and since > longest:
            self.reached["frozen on the wire for too long"] += 1
            self._crash("write")

    def _fate(self, sent: Sent, key: str) -> str:
        if self.calm or self.rng.random() >= self.p_fate * (1.0 if sent.method in WRITES else 0.3):
            return ""
        fate = self.rng.choice(self.fates)
        if fate in LATE and (not key or self._latest(key) <= self.seconds() + 120):
            return "timeout_before"
        return fate

    def _latest(self, key: str) -> float:
        row = self.oracle.rows[key]
        claimed = self.oracle.claimed_at[key, row.attempt]
        return claimed + SETTLE.total_seconds() - _MARGIN

    def effect(self, sent: Sent) -> Response:
        return carry_out(self.state, sent, self._key(sent))

    def _key(self, sent: Sent) -> str:
        if sent.method not in WRITES or sent.method == "DeleteRMA":
            return "us"
        row = self.oracle.intent_of(sent)
        return row.key if row else "us"

    def answered(self, sent: Sent, fate: str) -> None:
        if not fate and sent.method in {"GetRMAHeadersByOrderId", "GetRefundHeadersByOrderId"}:
            family = "rma" if "RMA" in sent.method else "refund"
            order = sent.document["request"]["OrderId"]
            self.oracle.looked[self.active[-1], order, family] = self.state.step
        self.edge("answer")

    def later(self, sent: Sent) -> None:
        key = self._key(sent)
        latest = self._latest(key)
        at = self.rng.uniform(self.seconds() + 1, latest)
        if self.beyond and self.rng.random() < 0.5:
            at = latest + _MARGIN + self.rng.uniform(60, 7200)
            self._excuse(sent, key)
            self.reached["late beyond the settle time"] += 1
        self.waiting.append((at, self.state.step + len(self.waiting) * 10**6, sent, key))
        self.oracle.pending[key] += 1

    def _excuse(self, sent: Sent, key: str) -> None:
        given = sent.document.get("request") or {}
        header = given.get("RMAHeaderId") or given.get("RefundHeaderId")
        self.oracle.excused |= {key} | ({header} if header else set())
        self.oracle.excused |= {r.key for r in self.oracle.rows.values() if r.depends_on == key}
        row = self.oracle.rows[key]
        if row.depends_on:
            self.oracle.excused.add(row.depends_on)

    # --- edges --------------------------------------------------------------------

    def edge(self, where: str) -> None:
        """Where anything may happen to a worker, or beside it."""
        if self.quiet:
            return
        self.oracle.committed(self.seconds())
        if self.calm or not self.active:
            return
        if self.running and self.rng.random() < self.p_pause:
            self._pause(where)
        roll = self.rng.random()
        for chance, what in (
            (self.p_crash, self._crash),
            (self.p_freeze, self._freeze),
            (self.p_nest, self._other_worker),
            (self.p_staff, self._world),
        ):
            if roll < chance:
                what(where)
                return
            roll -= chance

    def _crash(self, where: str) -> None:
        self.say(f"{self.active[-1]} crashes before {where}")
        self.reached[f"crash at {where}"] += 1
        raise Crash

    def _freeze(self, where: str) -> None:
        seconds = self.rng.uniform(60, self.rng.choice((900, 7200)))
        self.say(f"{self.active[-1]} is frozen for {seconds:.0f} s before {where}")
        self.reached[f"frozen at {where}"] += 1
        self.elapse(seconds / 2)
        if self.rng.random() < 0.7:
            self._other_worker(where)
        self.elapse(seconds / 2)

    def _other_worker(self, where: str) -> None:
        """Another run goes on from where it stands, or begins, inside this one's step."""
        standing = [strand for strand in self.strands if strand not in self.running]
        taken = {*self.active, *(strand.name for strand in self.strands)}
        taken |= {name for strand in self.strands for name in strand.active}
        free = [name for name in ("w1", "w2", "w3") if name not in taken and name != self.main]
        if standing and (not free or self.rng.random() < 0.8):
            strand = self.rng.choice(standing)
            self.reached[f"two workers in turns, one at {where}"] += 1
        elif free:
            strand = _Strand(free[0], self.tick)
            self.strands.append(strand)
            self.reached[f"two workers, one at {where}"] += 1
        else:
            return
        self._go_on(strand)

    def _go_on(self, strand: _Strand) -> None:
        mine, self.active = self.active, strand.active
        self.running.append(strand)
        try:
            strand.resume()
        finally:
            self.running.remove(strand)
            strand.active, self.active = self.active, mine
            if strand.over:
                self.strands.remove(strand)

    def _pause(self, where: str) -> None:
        self.say(f"{self.active[-1]} stands still before {where}")
        self.reached[f"left standing at {where}"] += 1
        self.running[-1].pause()

    def _all_go_on(self) -> None:
        """Those left standing go on to their ends."""
        self.p_pause = 0.0
        while self.strands:
            self._go_on(self.strands[0])

    def _commit(self, _connection: sa.Connection) -> None:
        if self.calm or self.quiet or not self.active:
            return
        if self.rng.random() < self.p_crash:
            self.say(f"{self.active[-1]} crashes in a commit")
            self.reached["crash in a commit"] += 1
            raise Crash

    # --- workers ------------------------------------------------------------------

    def tick(self, name: str) -> None:
        """One run of a worker, to its end, its crash, or an error that ends a run."""
        self.active.append(name)
        self.say(f"{name} begins")
        try:
            self._run(name)
        except Crash:
            pass
        except VendorError as error:
            self.say(f"{name}: {error}")
            self.reached[f"run ended by {type(error).__name__}"] += 1
        finally:
            self.active.pop()
        self.oracle.committed(self.seconds())

    def _run(self, name: str) -> None:
        # A process lives for some runs, and its session with it.
        if name not in self.clients or self.rng.random() < 0.2:
            self.clients[name] = Client(self)
        client = self.clients[name]
        self.runs += 1
        if self.calm or self.rng.random() < 0.4:
            looked, now = self.state.step, self.ours()
            readings.read_bookings(self.engine, client, now=now, overlap=timedelta(minutes=20))
            self.oracle.bulk_read = max(self.oracle.bulk_read, looked)
        if self.last or self._waits("stock_adjustments", "ready"):
            intend.intend_restocks(self.engine, policy=_POLICY, now=self.ours())
        if self.last or self._waits("exchange_orders", "ready"):
            intend.intend_exchanges(self.engine, policy=_POLICY, now=self.ours())
        if self.last or (self.closed and self._waits("refunds_due", "batched")):
            intend.intend_refunds(self.engine, batch_ids=self.closed, now=self.ours())
        dispatcher = Dispatcher(
            self.engine,
            kinds.all_writes(client, self.engine),
            clock=self.ours,
            settle=SETTLE,
            run_id=f"{name}:{self.runs}",
            holder=name,
            monotonic=self.seconds,
            sleep=self.elapse,
        )
        dispatcher.recover(ALL_KINDS)
        lanes = list(ALL_KINDS)
        idle: set[str] = set()
        failures: Counter[str] = Counter()
        budget = 200 if self.calm else self.rng.randint(1, 40)
        while set(lanes) - idle and budget:
            budget -= 1
            kind = self.rng.choice(sorted(set(lanes) - idle))
            if not self.last and not self._has_ready(kind):
                idle.add(kind)  # a claim would find nothing: most do, and each costs
                continue
            outcome = dispatcher.step(kind)
            if outcome is None:
                idle.add(kind)
                continue
            idle.clear()
            self.reached[f"outcome {outcome}"] += 1
            failures[kind] = failures[kind] + 1 if outcome in {"not_applied", "unknown"} else 0
            if failures[kind] > 5:
                lanes.remove(kind)

    def _waits(self, table: str, state: str) -> bool:
        # What would only find nothing is not called, to spend the seeds on what does something.
        query = f"SELECT 1 FROM {table} WHERE state = '{state}' AND intent_key IS NULL LIMIT 1"
        return bool(self.record.all(query))

    def _has_ready(self, kind: str) -> bool:
        query = f"SELECT 1 FROM intents WHERE state = 'ready' AND kind = '{kind}' LIMIT 1"
        return bool(self.record.all(query))

    # --- the world beside the workers ---------------------------------------------

    @contextmanager
    def _beside(self) -> Iterator[None]:
        self.quiet += 1
        try:
            yield
        finally:
            self.quiet -= 1

    def _world(self, _where: str = "") -> None:
        with self._beside():
            self.rng.choice(
                (
                    self._decide,
                    self._decide,
                    self._owe,
                    self._exchange,
                    self._close,
                    self._staff_books,
                    self._staff_books,
                    self._staff_actions,
                    self._staff_actions,
                    self._staff_edits,
                    self._staff_changes,
                    self._staff_refunds,
                    self._staff_pays,
                    self._staff_doubles,
                    self._staff_orders,
                    self._alter,
                    self._jump,
                )
            )()
        if not self.active:
            self.oracle.committed(self.seconds())

    def _decide(self) -> None:
        number, line = self.rng.randint(1, ORDERS), self.rng.randint(1, 2)
        if self.decided["unit", number, line] < self.most:
            self.decided["unit", number, line] += 1
            place = self.rng.choice((RESTOCK, DAMAGED))
            unit = self.books.decide(number, line, place, scrap=self.rng.random() < 0.1)
            self.say(f"decided: {unit}, order {number} line {line}")

    def _owe(self) -> None:
        number, line = self.rng.randint(1, ORDERS), self.rng.randint(1, 2)
        if self.decided["money", number, line] < 2:
            shipping = 0 if self.decided["postage", number] else self.rng.choice((0, 495))
            self.decided["money", number, line] += 1
            self.decided["postage", number] += shipping
            unit = self.books.owe(number, line, self.rng.randint(500, 2000), shipping)
            with self.engine.begin() as connection:
                connection.execute(
                    sa.update(t.refunds_due)
                    .where(t.refunds_due.c.unit_key == unit)
                    .values(batch_id=f"batch-{self.batch}")
                )
            self.say(f"owed: {unit}, order {number} line {line}, batch {self.batch}")

    def _exchange(self) -> None:
        number = self.rng.randint(1, ORDERS)
        if self.decided["exchange", number] < 2:
            self.decided["exchange", number] += 1
            self.say(f"exchange {self.books.exchange(number)}")

    def _close(self) -> None:
        self.say(f"batch {self.batch} is closed")
        self.closed.append(f"batch-{self.batch}")
        self.oracle.closed.add(f"batch-{self.batch}")
        self.batch += 1

    def _staff(self, **action: Any) -> None:
        self.say(f"staff: {action}")
        self.reached[f"staff {action['action']}"] += 1
        staff.act(self.state, action)

    def _staff_books(self) -> None:
        number, line = self.rng.randint(1, ORDERS), self.rng.randint(1, 2)
        if self.decided["staff", number, line] < 1:
            self.decided["staff", number, line] += 1
            self._staff(
                action="book_rma",
                order_reference=f"#{number}",
                lines=[
                    {
                        "row_id": row_id(number, line),
                        "quantity": self.rng.choice((1, 1, 2)),
                        "location": self.rng.choice((RESTOCK, RESTOCK, DAMAGED)),
                    }
                ],
                action_too=self.rng.random() < 0.5,
            )

    def _open_rmas(self) -> list[int]:
        return [
            header_id
            for header_id, rma in self.state.rmas.items()
            if rma.live and not rma.actioned and header_id not in self.oracle.excused
        ]

    def _staff_actions(self) -> None:
        if found := self._open_rmas():
            self._staff(action="action_rma", header_id=self.rng.choice(found))

    def _staff_edits(self) -> None:
        if found := self._open_rmas():
            place = self.rng.choice((RESTOCK, DAMAGED))
            self._staff(action="edit_location", header_id=self.rng.choice(found), location=place)

    def _staff_changes(self) -> None:
        """Another quantity, or another amount, in what is not carried out yet."""
        unsent = self._unsent()
        if unsent and self.rng.random() < 0.5:
            refund = self.rng.choice(unsent)
            refund.rows[0].amount += Decimal("0.01")
            self.oracle.edited.add(refund.header_id)
            self.reached["staff change an amount"] += 1
            self.say(f"staff: refund {refund.header_id} is a penny more")
        elif found := self._open_rmas():
            rma = self.state.rmas[self.rng.choice(found)]
            line = self.rng.choice(rma.live)
            if line.scrap == 0:
                line.quantity = self.rng.choice((1, 2, 3))
                self.oracle.edited.add(rma.header_id)
                self.reached["staff change a quantity"] += 1
                self.say(f"staff: RMA {rma.header_id} is of {line.quantity}")

    def _staff_refunds(self) -> None:
        number, line = self.rng.randint(1, ORDERS), self.rng.randint(1, 2)
        self._staff(
            action="refund",
            order_reference=f"#{number}",
            row_id=row_id(number, line),
            amount="5.00",
            action_too=self.rng.random() < 0.6,
        )

    def _staff_pays(self) -> None:
        if unsent := self._unsent():
            self.reached["staff pays"] += 1
            refund = self.rng.choice(unsent)
            self.say(f"staff: pays refund {refund.header_id}")
            self.state.send(refund)

    def _unsent(self) -> list[Any]:
        return [
            refund
            for refund in self.state.refunds.values()
            if not refund.times_sent and refund.header_id not in self.oracle.excused
        ]

    def _staff_doubles(self) -> None:
        """Somebody types our reference into a booking of the same goods."""
        unknown = [r for r in self.oracle.rows.values() if self._may_be_doubled(r)]
        if not unknown:
            return
        row = self.rng.choice(unknown)
        lines = [
            {
                "row_id": line["row_id"],
                "quantity": line["quantity"],
                "location": line["location_id"],
            }
            for line in row.payload["lines"]
        ]
        self._excuse_booking(row)
        number = next(n for n in range(1, ORDERS + 1) if order_id(n) == row.order_id)
        self._staff(
            action="book_rma",
            order_reference=f"#{number}",
            reference=row.reference,
            lines=lines,
        )
        self.oracle.excused.add(self.state.next_header)
        self.reached["surplus booking"] += 1

    def _may_be_doubled(self, row: Row) -> bool:
        return (
            row.kind == "rma_booking"
            and row.state == "unknown"
            and row.key not in self.oracle.altered
            and bool(self.switches["reference_echoed"])
        )

    def _excuse_booking(self, row: Row) -> None:
        # Which of the two is kept is Linnworks' order's affair: both are watched no more.
        self.oracle.excused |= {row.key} | self.oracle.headers(row)
        self.oracle.excused |= {r.key for r in self.oracle.rows.values() if r.depends_on == row.key}

    def _staff_orders(self) -> None:
        """Somebody makes the replacement's order by its reference before us."""
        found = [
            r
            for r in self.oracle.rows.values()
            if r.kind == "exchange_create" and r.state in {"ready", "unknown"}
        ]
        if not found:
            return
        row = self.rng.choice(found)
        if self.state.referenced(row.reference):
            return
        self.reached["exchange ordered by others"] += 1
        self.say(f"staff: orders {row.reference}")
        original = self.state.by_id[row.order_id]
        made = _copy_of(
            original,
            id=self.state.guid(),
            reference=row.reference,
            source=row.payload["source"],
            sub_source=row.payload["sub_source"],
            received_at=self.clock.at,
        )
        self.state.add_order(made)

    def _alter(self) -> None:
        found = [r for r in self.oracle.rows.values() if r.state in {"ready", "unknown"}]
        if found and self.rng.random() < 0.2:
            row = self.rng.choice(found)
            self.oracle.altered.add(row.key)
            self.reached["intent altered"] += 1
            self.say(f"altered: {row.key}")
            payload = {**row.payload, "order_id": order_id(1), "note": "altered"}
            with self.engine.begin() as connection:
                connection.execute(
                    sa.update(t.intents)
                    .where(t.intents.c.intent_key == row.key)
                    .values(payload=json.loads(json.dumps(payload)))
                )

    def _jump(self) -> None:
        self.skew = timedelta(seconds=self.rng.choice((-300, -60, 0, 60, 300)))
        self.oracle.jumped = True
        self.reached["clock jumps"] += 1
        self.say(f"our clock is off by {self.skew}")

    # --- the whole ----------------------------------------------------------------

    def run(self) -> None:
        """Tell the story, then let everything settle and look at the end.

        Raises:
            Violation: When an invariant does not hold.
        """
        sa.event.listen(self.engine, "commit", self._commit)
        try:
            with self._beside():
                _clear(self.engine)
                self.books.mirror_all()
                for _ in range(self.rng.randint(2, 6)):
                    self.rng.choice((self._decide, self._decide, self._owe, self._exchange))()
            for _ in range(self.rng.randint(3, 7)):
                for _ in range(self.rng.randint(0, 3)):
                    if self.p_staff or self.rng.random() < 0.5:
                        self._world()
                    else:
                        with self._beside():
                            self.rng.choice((self._decide, self._owe, self._close))()
                self._turn()
                self.elapse(self.rng.choice((5, 60, 400, 900, 1900)))
            self._all_go_on()
            self._end()
        finally:
            for strand in list(self.strands):
                strand.end()
            sa.event.remove(self.engine, "commit", self._commit)
            self.record.close()

    def _turn(self) -> None:
        """One run from its beginning; what was left standing may go on before or inside it."""
        if self.strands and self.rng.random() < 0.3:
            self._go_on(self.rng.choice(self.strands))
        standing = {strand.name for strand in self.strands}
        free = [name for name in ("w1", "w2") if name not in standing]
        if free:
            self.main = self.rng.choice(free)
            self.tick(self.main)
            self.main = ""

    def _end(self) -> None:
        """Faults stop: settled or named within the settle time and two ticks (S8)."""
        self.calm = True
        self.say("calm")
        if self.beyond:
            self.elapse(SETTLE.total_seconds() + 7300)
        self.tick("w1")
        slack = 620 if self.oracle.jumped else 0
        self.elapse((SETTLE + LEASE).total_seconds() + 60 + slack)
        self.tick("w1")
        self.elapse(300 + slack)
        self.tick("w2")
        # There the answer of every action is unknown: an order's restocks take one rest each.
        if self.switches["success_with_errors"]:
            for _ in range(6):
                self.elapse(SETTLE.total_seconds() + 60)
                self.tick("w1")
        self.oracle.settled()
        before, writes, read = self._everything(), self.writes, self._readings()
        self.elapse(60)
        self.last = True
        self.tick("w1")
        self.oracle.read_in_bulk(read, self._readings())
        self.oracle.demand(
            self.writes == writes, "S12 idempotence", "a tick with nothing new wrote"
        )
        self.oracle.demand(self._everything() == before, "S12 idempotence", "it changed rows")

    def _everything(self) -> list[Any]:
        return [
            self.record.all(f"SELECT * FROM {table} ORDER BY id")
            for table in ("intents", "attempts", "stock_adjustments", "refunds_due")
        ] + [self.record.all("SELECT * FROM exchange_orders ORDER BY id")]

    def _readings(self) -> set[tuple[Any, ...]]:
        query = (
            "SELECT rma_row_id, order_id, reference, location_id, quantity, scrap_quantity, "
            "actioned_at FROM restock_readings"
        )
        return set(self.record.all(query))

    def say(self, text: str) -> None:
        """Print when traced."""
        if self.trace:
            print(f"{self.seconds():9.1f} {'  ' * len(self.active)}{text}")  # noqa: T201


_POLICY = _policy()


def _copy_of(order: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(order, **changes)


def _clear(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for table in _TABLES:
            connection.execute(sa.delete(table))


Progress = Callable[[int], None]


def run_seed(seed: int, engine: sa.Engine, *, trace: bool = False) -> Story:
    """Tell one seed's story.

    Raises:
        Violation: When an invariant does not hold.
    """
    story = Story(seed, engine, trace=trace)
    story.run()
    return story
