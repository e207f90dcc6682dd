"""The invariants, seen from both sides: our record as committed, and the account itself.

Reads the tables by plain SQL and the account by its objects, and shares no code with what it
judges. Names are those of RELIABILITY section 5, in the form RMAs, refunds and orders take.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from returns_pipeline_tests.simulation.vendor import Effect, Sent, Watched

ARROWS = {
    "": {"ready"},
    "ready": {"sending", "withdrawn", "suspense"},
    "sending": {"confirmed", "refused", "unknown", "ready", "suspense"},
    "unknown": {"confirmed", "ready", "suspense"},
    "suspense": {"suspense"},
}


class Violation(BaseException):
    """An invariant does not hold. Not an ``Exception``: the program must not handle it."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        super().__init__(f"{name}: {text}")


@dataclass(frozen=True, slots=True)
class Row:
    """An intent as committed."""

    key: str
    kind: str
    subject: str
    reference: str
    payload: dict[str, Any]
    payload_hash: str
    state: str
    attempt: int
    depends_on: str | None
    holder: str | None
    sent_at: Any
    evidence: dict[str, Any] | None

    @property
    def order_id(self) -> str:
        return str(self.payload["order_id"])


_INTENTS = (
    "SELECT intent_key, kind, subject, reference, payload, payload_hash, state, attempt, "
    "depends_on, lease_holder, sent_at, evidence FROM intents ORDER BY id"
)


class Record:
    """Our tables, read past SQLAlchemy, outside every transaction of the program."""

    def __init__(self, engine: sa.Engine) -> None:
        if engine.dialect.name == "sqlite":
            # An SQLite in memory has one connection; between transactions it may be read.
            self._driver: Any = engine.raw_connection().driver_connection
        else:
            import psycopg

            url = engine.url.set(drivername="postgresql")
            self._driver = psycopg.connect(
                url.render_as_string(hide_password=False), autocommit=True
            )
        self._payloads: dict[str, Any] = {}
        self._changes = -1

    def may_have_changed(self) -> bool:
        """Whether anything was written since this was last asked; SQLite counts."""
        before, self._changes = self._changes, getattr(self._driver, "total_changes", -1)
        return before != self._changes or before == -1

    def all(self, query: str) -> list[tuple[Any, ...]]:
        return list(self._driver.execute(query).fetchall())

    def intents(self) -> dict[str, Row]:
        found = {}
        for key, kind, subject, reference, payload, digest, *rest in self.all(_INTENTS):
            state, attempt, depends_on, holder, sent_at, evidence = rest
            found[key] = Row(
                key,
                kind,
                subject,
                reference,
                self._document(payload),
                digest,
                state,
                attempt,
                depends_on,
                holder,
                sent_at,
                self._document(evidence),
            )
        return found

    def _document(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in self._payloads:
            self._payloads[value] = json.loads(value)
        return self._payloads[value]

    def close(self) -> None:
        if "psycopg" in type(self._driver).__module__:
            self._driver.close()


@dataclass
class Oracle:
    """What is always so, and what was reached."""

    record: Record
    state: Watched
    settle: float
    rows: dict[str, Row] = field(default_factory=dict)
    steps_noted: int = 0
    always: Counter[str] = field(default_factory=Counter)
    sometimes: Counter[str] = field(default_factory=Counter)
    # Headers, and references, about which an assumption was broken on purpose or by a race
    # that nobody can see: what they come to is counted, not asserted.
    excused: set[int | str] = field(default_factory=set)
    # Headers that staff changed: how much they come to is theirs, what we say of it is not.
    edited: set[int] = field(default_factory=set)
    looked: dict[tuple[str, str, str], int] = field(default_factory=dict)
    left_at: dict[str, float] = field(default_factory=dict)
    claimed_at: dict[tuple[str, int], float] = field(default_factory=dict)
    claim_step: dict[str, int] = field(default_factory=dict)
    read_before_claim: dict[str, int] = field(default_factory=dict)
    bulk_read: int = 0
    altered: set[str] = field(default_factory=set)
    settled_step: dict[str, int] = field(default_factory=dict)
    pending: Counter[str] = field(default_factory=Counter)
    jumped: bool = False
    departure: float = 0.0
    closed: set[str] = field(default_factory=set)
    intended: set[str] = field(default_factory=set)
    # Sent in its present attempt and not answered; carried out at the vendor.
    unanswered: set[str] = field(default_factory=set)
    carried_out: set[str] = field(default_factory=set)

    def demand(self, holds: object, name: str, text: str) -> None:
        self.always[name] += 1
        if not holds:
            raise Violation(name, text)

    # --- our record, after every commit -------------------------------------------

    def committed(self, now: float) -> None:
        """Compare with what was committed before; at most one transaction lies between."""
        if not self.record.may_have_changed():
            return
        [(noted,)] = self.record.all("SELECT count(*) FROM attempts")
        rows = self.record.intents()
        changes = 0
        for key, row in rows.items():
            before = self.rows.get(key)
            if before is row or (before is not None and before == row):
                continue
            was = before.state if before else ""
            if before is None:
                self._composed(row)
            if was != row.state:
                changes += was != ""
                self._moved(row, was, now)
            self.demand(
                row.attempt == (before.attempt if before else 0) + (row.state == "sending")
                if was != row.state
                else before is None or row.attempt == before.attempt,
                "S6 arrows",
                f"{key}: attempt {before.attempt if before else 0} -> {row.attempt}",
            )
            if before and row.sent_at != before.sent_at and row.state == was == "sending":
                self.left_at[key] = now
            if before and before.sent_at and not self.jumped:
                self.demand(row.sent_at >= before.sent_at, "S6 arrows", f"{key}: sent_at went back")
        self.demand(not set(self.rows) - set(rows), "S6 arrows", "an intent is gone")
        self.demand(
            noted >= self.steps_noted + changes,
            "S6 log",
            f"{changes} changes of state, {noted - self.steps_noted} steps noted",
        )
        self.rows, self.steps_noted = rows, noted

    def _moved(self, row: Row, was: str, now: float) -> None:
        allowed = ARROWS.get(was, set()) | ({"suspense"} if row.key in self.altered else set())
        self.demand(row.state in allowed, "S6 arrows", f"{row.key}: {was} -> {row.state}")
        if row.state == "confirmed":
            self.demand(row.evidence, "S7 evidence", f"{row.key}: confirmed without evidence")
            if row.kind == "rma_action":
                self._posted_by_line(row)
        if row.state == "ready" and was == "sending" and row.key in self.unanswered:
            raise Violation("S5 write-ahead", f"{row.key} had left and is ready again")
        if row.state == "sending":
            self.claimed_at[row.key, row.attempt] = now
            self.left_at[row.key] = now  # until it leaves
            self.unanswered.discard(row.key)
            self.state.step += 1  # a look before the claim is none after it
            self.claim_step[row.key] = self.state.step
            self.read_before_claim[row.key] = self.bulk_read
            if row.attempt > 1:
                self.sometimes["sent or looked at again"] += 1
        if was == "unknown" and row.state in {"ready", "confirmed"}:
            rested = now - self.left_at[row.key]
            self.demand(
                rested >= self.settle - (660 if self.jumped else 5),
                "S9 settle",
                f"{row.key} was read back {rested:.0f} s after it left",
            )
            self.sometimes[f"unknown {row.state} ({row.kind})"] += 1
            if row.key in self.carried_out:
                self.sometimes["done, answer lost, found by reading back"] += 1
        if was == "sending":
            self.sometimes[f"sending {row.state} ({row.kind})"] += 1
        if row.state not in {"ready", "sending", "unknown"}:
            self.settled_step[row.key] = self.state.step
        self.sometimes[f"state {row.state}"] += 1

    # --- a request arrives --------------------------------------------------------

    def intent_of(self, sent: Sent) -> Row | None:
        """The intent a write is for, found by what stands in the request."""
        given = sent.document.get("request") or sent.document
        if sent.method == "CreateRMABooking":
            return self.rows.get(f"rma_booking:{given['Reference']}")
        if sent.method == "CreateRefund":
            return self.rows.get(f"refund_create:{given['RefundLines'][0]['ExternalReference']}")
        if sent.method == "CreateOrders":
            return self.rows.get(f"exchange_create:{given['orders'][0]['ReferenceNumber']}")
        kind, name = {
            "ActionRMABooking": ("rma_action", "RMAHeaderId"),
            "ActionRefund": ("refund_action", "RefundHeaderId"),
        }.get(sent.method, ("", ""))
        for row in self.rows.values():
            if row.kind == kind and row.depends_on:
                earlier = self.rows[row.depends_on]
                if earlier.evidence and earlier.evidence["header_id"] == given[name]:
                    return row
        return None

    def write_arrives(self, sent: Sent, worker: str) -> Row | None:
        """S5, S9, S11: may this be sent now, by this worker?"""
        if sent.method == "DeleteRMA":
            header_id = sent.document["request"]["RMAHeaderId"]
            rma = self.state.rmas[header_id]
            mine = {r.key for r in self.rows.values() if r.reference == rma.reference}
            self.demand(
                self.excused & {header_id, *mine},
                "S9 no compensation",
                f"deletes RMA {header_id} unasked",
            )
            self.demand(not rma.actioned, "S9 no compensation", "deletes what was actioned")
            self.sometimes["surplus booking deleted"] += 1
            return None
        row = self.intent_of(sent)
        self.demand(row, "S5 write-ahead", f"{sent.method} without an intent")
        assert row is not None
        digest = hashlib.sha256(
            json.dumps(row.payload, sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()
        self.demand(digest == row.payload_hash, "S5 write-ahead", f"{row.key} was altered")
        self.demand(
            _amount(sent) == _amount_of(row), "S5 write-ahead", f"{row.key}: other content than its"
        )
        noted = self.record.all(
            "SELECT count(*) FROM attempts WHERE step = 'left' AND attempt = "
            f"{row.attempt} AND intent_key = '{row.key}'"
        )
        self.demand(noted[0][0] >= 1, "S5 write-ahead", f"{row.key} leaves and nothing says so")
        # A claim may run out while its request is on the wire, within the settle time.
        self.demand(
            row.state in {"sending", "unknown"} and row.holder == worker,
            "S11 fencing",
            f"{row.key} is {row.state} of {row.holder}, sent by {worker}",
        )
        if row.depends_on:
            self.demand(
                self.rows[row.depends_on].state == "confirmed",
                "S5 write-ahead",
                f"{row.key} before {row.depends_on}",
            )
        if row.key not in self.excused:
            self.demand(
                not self.pending[row.key],
                "S9 settle",
                f"{row.key} is sent again while an earlier request may still be carried out",
            )
        self._not_done_yet(sent, row, worker)
        return row

    def _not_done_yet(self, sent: Sent, row: Row, worker: str) -> None:
        """No blind repeat, and nothing beside what others have done and we have seen."""
        self.departure = self.left_at[row.key]
        look = self.looked.get((worker, row.order_id, _family(row.kind)), 0)
        look = look if look >= self.claim_step[row.key] else 0
        if row.kind == "rma_booking":
            self._booking_alone(row, look)
        elif row.kind == "rma_action":
            rma = self.state.rmas[sent.document["request"]["RMAHeaderId"]]
            done = [e for e in self.state.effects if e.what == "posted" and _is(e, rma.header_id)]
            self._no_repeat(row, done, look or self._made(rma.header_id, "booked"), rma.header_id)
            if look:
                rows = {line.order_row.row_id for line in rma.live}
                self._no_other_booking(row, rows, look, rma.header_id)
        elif row.kind == "refund_create":
            ours = [r for r in self.state.refunds.values() if _reference(r) == row.reference]
            self.demand(not ours or row.key in self.excused, "no blind repeat", f"{row.key} again")
            self._no_other_refund(row, look, set())
        elif row.kind == "refund_action":
            refund = self.state.refunds[sent.document["request"]["RefundHeaderId"]]
            done = [e for e in self.state.effects if e.what == "paid" and _is(e, refund.header_id)]
            made = self._made(refund.header_id, "refund")
            self._no_repeat(row, done, look or made, refund.header_id)
            if look:
                created = self.rows[row.depends_on or ""]
                self._no_other_refund(created, look, {refund.header_id})

    def _made(self, header_id: int, what: str) -> int:
        return next(e.step for e in self.state.effects if e.what == what and _is(e, header_id))

    def _no_repeat(self, row: Row, done: Sequence[Effect], look: int, header_id: int) -> None:
        if row.key in self.excused or header_id in self.excused:
            return
        seen = [e for e in done if e.actor != "staff" or e.step <= look or self._long_since(e)]
        self.demand(not seen, "no blind repeat", f"{row.key}: {header_id} was actioned already")
        if done:
            self.at_once(header_id)

    def _long_since(self, effect: Effect) -> bool:
        """Whether it stood there so long before our request left that it had to be seen.

        Without a look only a bulk reading of five minutes and our own making of a minute are
        trusted at the claim, which holds five minutes more.
        """
        return not self.jumped and effect.at < self.departure - 660

    def at_once(self, header_id: int) -> None:
        """Staff acted between our last look and the effect of our request: nobody can see it.

        Where Linnworks would then act twice, what comes of it is not ours to prevent.
        """
        self.sometimes["staff and we at once"] += 1
        switches = self.state.switches
        if "again" in switches["second_action"] + switches["second_refund_action"]:
            self.excused.add(header_id)

    def _booking_alone(self, row: Row, look: int) -> None:
        ours = [r for r in self.state.rmas.values() if r.reference == row.reference and r.live]
        ours = [r for r in ours if r.header_id not in self.excused]
        self.demand(not ours or row.key in self.excused, "no blind repeat", f"{row.key} again")
        rows = {line["row_id"] for line in row.payload["lines"]}
        self._no_other_booking(row, rows, max(look, self.read_before_claim[row.key]), 0)

    def _no_other_booking(self, row: Row, rows: set[str], look: int, own: int) -> None:
        known = {
            r.evidence["header_id"]
            for r in self.rows.values()
            if r.kind == "rma_booking" and r.evidence
        }
        for rma in self.state.rmas.values():
            if rma.header_id in known or rma.header_id == own or rma.reference:
                continue
            touches = rows & {line.order_row.row_id for line in rma.live}
            made = next(e for e in self.state.effects if _booked(e, rma.header_id))
            seen = bool(touches) and (made.step <= look or self._long_since(made))
            self.demand(
                not seen, "beside others", f"{row.key} is sent beside RMA {rma.header_id} of staff"
            )
            if touches:
                self.sometimes["booked beside staff unseen"] += 1

    def _no_other_refund(self, row: Row, look: int, own: set[int]) -> None:
        rows = {line["row_id"] for line in row.payload["lines"]}
        for refund in self.state.refunds.values():
            mine = _reference(refund).startswith("HRR-") or refund.header_id in own
            if mine or refund.deleted:
                continue
            touches = rows & {r.order_row.row_id for r in refund.rows if r.order_row}
            seen = bool(touches) and self._made(refund.header_id, "refund") <= look
            self.demand(
                not seen,
                "beside others",
                f"{row.key} is sent beside refund {refund.header_id} of staff",
            )

    # --- the account changes ------------------------------------------------------

    def changed(self, effect: Effect) -> None:
        """S2: at no moment more than was asked for, whoever did it."""
        if effect.header_id in self.excused:
            return
        if effect.what == "posted":
            self._never_over(effect, "posted", "rma_booking")
        elif effect.what == "paid":
            self._never_over(effect, "paid", "refund_create")
        if effect.actor in self.unanswered:
            self.carried_out.add(effect.actor)
        if effect.what == "posted":
            self._never_above_ordered(effect)
        elif effect.what == "paid":
            self._not_above_paid(effect)
        actor = "staff" if effect.actor == "staff" else "us"
        self.sometimes[f"{effect.what} by {actor}"] += 1

    def _never_above_ordered(self, effect: Effect) -> None:
        """S10: of no order line more than was ordered, by us on top of what others did."""
        if effect.actor == "staff":
            return
        rma = self.state.rmas[effect.header_id]
        for line in rma.live:
            row = line.order_row
            back = sum(
                one.quantity
                for other in self.state.rmas.values()
                for one in other.live
                if one.actioned_at and one.order_row.row_id == row.row_id
            )
            self.demand(back <= row.quantity, "S10 not above the order", f"{row.row_id}: {back}")
            if back == row.quantity:
                self.sometimes["an order line came back whole"] += 1

    def _never_over(self, effect: Effect, what: str, kind: str) -> None:
        row = self._claimant(effect.header_id, kind)
        if row is None or row.key in self.excused or effect.header_id in self.edited:
            return
        applied, asked = self.applied(row, what), _asked(row)
        self.demand(applied <= asked, "S2 never over-applied", f"{row.key}: {applied} of {asked}")

    def _claimant(self, header_id: int, kind: str) -> Row | None:
        for row in self.rows.values():
            if row.kind == kind and header_id in self.headers(row):
                return row
        return None

    def headers(self, row: Row) -> set[int]:
        """The headers that are an intent's: made for it, or taken for it."""
        found = {row.evidence["header_id"]} if row.evidence else set()
        if row.kind == "rma_booking":
            found |= {h for h, r in self.state.rmas.items() if r.reference == row.reference}
        else:
            found |= {h for h, r in self.state.refunds.items() if _reference(r) == row.reference}
        return found

    def applied(self, row: Row, what: str) -> int:
        """Units posted, or pence sent, for a booking or refund creation."""
        headers = self.headers(row)
        return sum(e.units for e in self.state.effects if e.what == what and e.header_id in headers)

    # --- at the end ---------------------------------------------------------------

    def settled(self) -> None:
        """S1, S3, S4, S8: all is done once or somebody's task, and our record says which."""
        for row in self.rows.values():
            behind = [
                r for r in self.rows.values() if r.subject == row.subject and r.state == "suspense"
            ]
            self.demand(
                row.state not in {"sending", "unknown"}, "S8 liveness", f"{row.key} is {row.state}"
            )
            self.demand(
                row.state != "ready" or behind,
                "S8 liveness",
                f"{row.key} is ready and nothing is in its way",
            )
            if row.key not in self.excused and not self.excused & self._all_headers(row):
                self._conserved(row)
        self._units()

    def _all_headers(self, row: Row) -> set[int]:
        first = self.rows[row.depends_on] if row.depends_on else row
        return self.headers(first) if first.kind != "exchange_create" else set()

    def _conserved(self, row: Row) -> None:
        if row.kind == "exchange_create":
            made = [o for o in self.state.made_orders if o.reference == row.reference]
            wanted = 1 if row.state == "confirmed" else 0
            self.demand(len(made) <= 1, "S2 never over-applied", f"{row.key}: {len(made)} orders")
            if row.state in {"confirmed", "refused"}:
                self.demand(len(made) == wanted, "S1 conservation", f"{row.key}: {row.state}")
            return
        if row.depends_on is None:
            return
        first = self.rows[row.depends_on]
        what = "posted" if row.kind == "rma_action" else "paid"
        applied = self.applied(first, what)
        if row.state == "confirmed":
            theirs = what == "posted" and self.headers(first) & self.edited
            self.demand(
                theirs or applied == _asked(first),
                "S1 conservation",
                f"{row.key}: {applied} applied",
            )
        elif row.state == "refused" or (row.state == "withdrawn" and first.state == "refused"):
            done_before = sum(
                e.units
                for e in self.state.effects
                if e.what == what
                and e.header_id in self.headers(first)
                and e.step <= self.settled_step.get(row.key, 0)
            )
            self.demand(
                not done_before,
                "S1 conservation",
                f"{row.key} is {row.state}, and {done_before} were {what} before",
            )

    def _composed(self, row: Row) -> None:
        """S3, S4: a new intent is of what it says, and of nothing that another one is of."""
        keys: list[str] = []
        if row.kind == "rma_booking":
            for line in row.payload["lines"]:
                keys.extend(line["adjustment_keys"])
                self.demand(
                    len(line["adjustment_keys"]) == line["quantity"],
                    "S4 composition",
                    f"{row.key}: {line}",
                )
        elif row.kind == "refund_create":
            keys.extend(row.payload["refund_keys"])
            self._of_one_batch(row)
        elif row.kind == "exchange_create":
            keys.append(row.payload["unit_key"] + ":exchange")
        twice = self.intended & set(keys) or len(keys) != len(set(keys))
        self.demand(not twice, "S3 one intent each", f"{row.key}: {twice} in several intents")
        self.intended |= set(keys)

    def _of_one_batch(self, row: Row) -> None:
        """M1, M2: what is refunded stands in one closed batch, and adds up to it."""
        wanted = ", ".join(f"'{key}'" for key in row.payload["refund_keys"])
        due = self.record.all(
            "SELECT batch_id, amount_minor, currency FROM refunds_due "
            f"WHERE refund_key IN ({wanted})"
        )
        batches = {batch for batch, _, _ in due}
        self.demand(len(batches) == 1, "M1 one batch", f"{row.key} is of {batches}")
        self.demand(batches <= self.closed, "M1 one batch", f"{batches} is not closed")
        self.demand(
            sum(amount for _, amount, _ in due) == _asked(row),
            "M2 adds up",
            f"{row.key}: {_asked(row)} for {due}",
        )
        currencies = {currency for _, _, currency in due}
        self.demand(
            currencies == {row.payload["currency"]}, "M6 not above paid", f"{row.key}: {currencies}"
        )
        if len(due) > 1:
            self.sometimes["several units in one refund"] += 1

    def _not_above_paid(self, effect: Effect) -> None:
        """M6: we never send more for an order than it was paid."""
        if effect.actor == "staff":
            return
        order = self.state.refunds[effect.header_id].order
        ours = sum(
            refund.amount * refund.times_sent
            for refund in self.state.refunds.values()
            if refund.order.id == order.id and _reference(refund).startswith("HRR-")
        )
        self.demand(ours <= _paid(order), "M6 not above paid", f"{order.reference}: {ours}")

    def read_in_bulk(self, rows: set[tuple[Any, ...]], again: set[tuple[Any, ...]]) -> None:
        """R1, R5: a second reading changes nothing; nothing that is there is missing."""
        self.demand(rows == again, "R1 read twice", f"{rows ^ again}")
        there = sum(len(rma.live) for rma in self.state.rmas.values())
        self.demand(len(rows) >= there, "R5 nothing lost", f"{len(rows)} of {there} lines")
        if there:
            self.sometimes["bookings read in bulk"] += 1

    def _posted_by_line(self, row: Row) -> None:
        """S1, line by line: what our tables say was moved there is what was moved there."""
        assert row.evidence is not None
        header_id = row.evidence["header_id"]
        if header_id in self.excused or row.key in self.excused:
            return
        query = (
            "SELECT lower(row_id), lower(location_id), scrap_quantity, count(*) "
            "FROM stock_adjustments WHERE state = 'posted' "
            f"AND intent_key = '{row.key}' GROUP BY 1, 2, 3"
        )
        shown: Counter[tuple[str, str, int]] = Counter()
        for line in self.state.rmas[header_id].live:
            place = (line.order_row.row_id.lower(), line.location.lower(), int(line.scrap > 0))
            shown[place] += line.quantity if line.actioned_at else 0
        for row_id, location, scrapped, count in self.record.all(query):
            self.demand(
                shown[row_id, location, scrapped] == count,
                "S1 line by line",
                f"{row.key}: {count} posted at {location}, moved {dict(shown)}",
            )
        if header_id in self.edited:
            self.sometimes["actioned with lines staff changed"] += 1

    def _units(self) -> None:
        """Nothing lost: what was decided is done, or stands where a person sees it."""
        for table, key, done in (
            ("stock_adjustments", "adjustment_key", ("posted", "held")),
            ("refunds_due", "refund_key", ("actioned", "refused", "held")),
            ("exchange_orders", "exchange_key", ("created", "held")),
        ):
            query = f"SELECT {key}, state, intent_key FROM {table} WHERE intent_key IS NOT NULL"
            for name, state, intent_key in self.record.all(query):
                row = self.rows[intent_key]
                first = self.rows[row.depends_on] if row.depends_on else row
                waits = row.state == "ready" or "suspense" in {row.state, first.state}
                self.demand(
                    state in done or waits,
                    "S8 nothing lost",
                    f"{name} is {state} and {intent_key} is {row.state}",
                )


def _paid(order: Any) -> Any:
    return sum(line.line_total for line in order.lines) + order.postage_cost


def _booked(effect: Effect, header_id: int) -> bool:
    return effect.what == "booked" and _is(effect, header_id)


def _is(effect: Effect, header_id: int) -> bool:
    return effect.header_id == header_id


def _family(kind: str) -> str:
    return kind.partition("_")[0]


def _reference(refund: Any) -> str:
    return next((row.external for row in refund.rows), "")


def _asked(row: Row) -> int:
    if row.kind == "rma_booking":
        return sum(line["quantity"] for line in row.payload["lines"])
    return sum(line["amount_minor"] for line in row.payload["lines"])


def _amount(sent: Sent) -> int:
    given = sent.document.get("request") or sent.document
    if sent.method == "CreateRMABooking":
        return sum(item["ReturnQuantity"] for item in given["ReturnItems"])
    if sent.method == "CreateRefund":
        return round(sum(line["Amount"] for line in given["RefundLines"]) * 100)
    if sent.method == "CreateOrders":
        return int(given["orders"][0]["OrderItems"][0]["Qty"])
    return 0


def _amount_of(row: Row) -> int:
    if row.kind in {"rma_booking", "refund_create"}:
        return _asked(row)
    return int(row.payload["quantity"]) if row.kind == "exchange_create" else 0
