"""The mutants: one wrong change of the real code each, and the tests that must see it.

The first eleven are those of RELIABILITY section 7, in its words. Running them is
``__main__``'s; that each still applies, and that its tests are there, ``test_patches``.
"""

from __future__ import annotations

from dataclasses import dataclass

_PROTOCOL = "returns_pipeline/dispatch/protocol.py"
_WRITES = "returns_pipeline/dispatch/writes.py"
_RESTOCKS = "returns_pipeline/dispatch/restocks.py"
_REFUNDS = "returns_pipeline/dispatch/refunds.py"
_READINGS = "returns_pipeline/dispatch/readings.py"
_INTEND = "returns_pipeline/dispatch/intend.py"
_OUTBOX = "returns_pipeline/storage/outbox.py"
_TRANSPORT = "returns_pipeline/clients/transport.py"
_READS = "returns_pipeline/clients/linnworks/reads.py"

_D = "returns_pipeline_tests/dispatch/"
_DEPARTURE = _D + "test_departure.py::test_"
_INTENTS = _D + "test_intents.py::test_"
_MONEY = _D + "test_money.py::test_"
_OTHERS = _D + "test_what_others_change.py::test_"
_RESTOCK_TESTS = _D + "test_restocks.py::test_"
_STUCK = _D + "test_stuck.py::test_"
_FOUND = _D + "test_found_by_simulation.py::test_"
_DOMAIN = "returns_pipeline_tests/domain/"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong change: each old text stands exactly once in ``path`` and becomes the new."""

    name: str
    breaks: str  # what would go wrong
    path: str
    changes: tuple[tuple[str, str], ...]
    killers: tuple[str, ...]  # the tests that must fail, each of them

    def applied(self, text: str) -> str:
        """The wrong code.

        Raises:
            ValueError: When a text to be replaced is not there exactly once.
        """
        for old, new in self.changes:
            if text.count(old) != 1:
                msg = f"{self.name}: {old!r} stands {text.count(old)} times in {self.path}"
                raise ValueError(msg)
            text = text.replace(old, new)
        return text


_SECTION_7 = (
    Mutant(
        "intent not durable before the call",
        "a crash after the effect leaves no trace that anything was sent",
        _OUTBOX,
        (
            (
                (
                    "    with engine.begin() as connection:\n"
                    "        if connection.execute(_leaving(), values)"
                ),
                (
                    "    with engine.connect() as connection:\n"
                    "        if connection.execute(_leaving(), values)"
                ),
            ),
        ),
        (_DEPARTURE + "the_departure_is_committed_when_the_request_arrives",),
    ),
    Mutant(
        "unknown treated as failure and re-sent",
        "the effect twice",
        _PROTOCOL,
        (
            (
                'self._move(intent, "unknown", error=detail)\n            return "unknown"',
                'self._move(intent, "ready", error=detail)\n            return "unknown"',
            ),
        ),
        (_RESTOCK_TESTS + "an_unknown_write_rests_for_the_settle_time_before_anything_else",),
    ),
    Mutant(
        "5xx treated as a definite failure",
        "the effect twice",
        _TRANSPORT,
        (
            (
                'raise OutcomeUnknown(call.method, f"HTTP {answer.status}")',
                'raise NotApplied(call.method, f"HTTP {answer.status}")',
            ),
        ),
        (_RESTOCK_TESTS + "an_answer_of_5xx_is_unknown_and_rests",),
    ),
    Mutant(
        "evidence per call instead of per line",
        "units said to stand where they do not",
        _RESTOCKS,
        (
            ("                sa.func.lower(moved.row_id) == row_id,\n", ""),
            ("                sa.func.lower(moved.location_id) == location_id,\n", ""),
            ("scalar_one() != quantity:", "scalar_one() == 0:"),
        ),
        (_OTHERS + "one_of_two_lines_moved_elsewhere_holds_that_line_and_posts_the_other",),
    ),
    Mutant(
        "unknown assumed applied",
        "the effect lost",
        _PROTOCOL,
        (
            (
                'self._move(intent, "unknown", error=detail)\n            return "unknown"',
                (
                    'self._confirm(intent, write, {"header_id": 0, "lines": []}, "assumed")\n'
                    '            return "unknown"'
                ),
            ),
        ),
        (_RESTOCK_TESTS + "an_unknown_write_rests_for_the_settle_time_before_anything_else",),
    ),
    Mutant(
        "intents assigned in a second transaction",
        "a crash in between: units marked as intended that nobody will ever send",
        _INTEND,
        (
            (
                "        outbox.enqueue(connection, intents, now=now)\n    return len(by_order)",
                (
                    "    with engine.begin() as connection:\n"
                    "        outbox.enqueue(connection, intents, now=now)\n    return len(by_order)"
                ),
            ),
        ),
        (_INTENTS + "a_decision_and_its_intent_are_committed_together_or_not_at_all",),
    ),
    Mutant(
        "no deterministic key",
        "the same decision intended twice under two keys",
        "returns_pipeline/domain/adjustments.py",
        (
            (
                'return hashlib.sha256("\\n".join(sorted(keys)).encode())',
                'return hashlib.sha256(str(object()).encode() + b"".join(map(str.encode, keys)))',
            ),
        ),
        (_INTENTS + "the_same_decision_intended_again_makes_no_second_intent",),
    ),
    Mutant(
        "action without looking at Actioned",
        "stock posted twice where Linnworks posts again",
        _RESTOCKS,
        (("        if header.is_actioned:\n", "        if False:\n"),),
        (_OTHERS + "an_action_in_another_run_looks_first_however_soon",),
    ),
    Mutant(
        "adoption by reference without checking the order",
        "another order's booking is actioned for this one",
        _READS,
        (
            (
                (
                    "        found = answer.RMAHeaders or []\n"
                    "        _only(order_id, name, (header.OrderId for header in found))\n"
                ),
                "        found = answer.RMAHeaders or []\n",
            ),
        ),
        (_OTHERS + "headers_of_another_order_are_never_taken_for_this_ones",),
    ),
    Mutant(
        "claim without guard",
        "two workers send the same intent",
        _OUTBOX,
        (
            (
                'one.c.state == "ready", _unsettled(one)',
                'one.c.state.in_(("ready", "sending")), _unsettled(one)',
            ),
            (
                't.intents.c.id == candidate.scalar_subquery(), t.intents.c.state == "ready")',
                "t.intents.c.id == candidate.scalar_subquery())",
            ),
        ),
        (_INTENTS + "a_claim_belongs_to_one_worker",),
    ),
    Mutant(
        "settle time ignored",
        "sent again while the first may still be carried out",
        _PROTOCOL,
        (("rested = self._clock() - self._settle", "rested = self._clock()"),),
        (_RESTOCK_TESTS + "an_unknown_write_rests_for_the_settle_time_before_anything_else",),
    ),
)

_BEYOND = (
    Mutant(
        "settle time counted from the claim",
        "read back too early: pacing and looking shorten the rest",
        _OUTBOX,
        ((".values(sent_at=now, lease_until=sa.bindparam(", ".values(lease_until=sa.bindparam("),),
        (_DEPARTURE + "the_settle_time_counts_from_the_departure_not_from_the_claim",),
    ),
    Mutant(
        "departure without guard",
        "a worker whose claim was taken over sends all the same",
        _OUTBOX,
        (
            (
                (
                    '            columns.state == "sending",\n'
                    '            columns.attempt == sa.bindparam("of_attempt"),\n'
                    "            columns.lease_until > now,\n"
                ),
                "",
            ),
        ),
        (
            _DEPARTURE + "a_claim_taken_over_while_its_request_waited_is_not_sent",
            _DEPARTURE + "a_claim_that_ran_out_while_its_request_waited_is_not_sent",
        ),
    ),
    Mutant(
        "settling without guard",
        "a worker that was given up overwrites what another did",
        _OUTBOX,
        (
            (
                (
                    '    t.intents.c.state == sa.bindparam("known_state"),\n'
                    '    t.intents.c.attempt == sa.bindparam("known_attempt"),\n)\n\n\n'
                    "def _note("
                ),
                (
                    '    sa.bindparam("known_state", type_=sa.Text) != "",\n'
                    '    sa.bindparam("known_attempt", type_=sa.Integer) >= 0,\n)\n\n\n'
                    "def _note("
                ),
            ),
        ),
        (_INTENTS + "a_worker_whose_claim_was_taken_over_settles_nothing",),
    ),
    Mutant(
        "lease ignored",
        "a claim whose worker died is never taken over",
        _OUTBOX,
        (
            (
                'columns.state == "sending",\n            columns.lease_until <= sa',
                'columns.state == "nothing",\n            columns.lease_until <= sa',
            ),
        ),
        (_DEPARTURE + "a_claim_whose_worker_died_before_it_sent_is_ready_when_its_term_is_over",),
    ),
    Mutant(
        "a dead worker's request taken for unsent",
        "the effect twice after a crash",
        _OUTBOX,
        (
            (
                'if times(connection, intent.intent_key, ("left",), attempt=intent.attempt):',
                "if False:",
            ),
        ),
        (_DEPARTURE + "a_claim_whose_worker_died_after_its_request_left_rests_and_is_read_back",),
    ),
    Mutant(
        "subject blocking removed",
        "a second write for an order while one of it is unknown",
        _OUTBOX,
        ((".where(allowed, ~blocked)", ".where(allowed)"),),
        (_RESTOCK_TESTS + "an_unknown_write_holds_up_its_own_order_only",),
    ),
    Mutant(
        "dependency ignored",
        "an action of what was not made",
        _OUTBOX,
        ((".where(allowed, ~blocked)", ".where(~blocked)"),),
        (_INTENTS + "an_action_is_not_claimed_before_its_booking_is_confirmed",),
    ),
    Mutant(
        "altered intents are sent",
        "what somebody wrote into our table is done to the vendor",
        _PROTOCOL,
        (("        if not intent.is_as_committed:", "        if False:"),),
        (_FOUND + "an_intent_altered_after_the_drive_began_is_held_not_sent",),
    ),
    Mutant(
        "a look holds for ever",
        "sent beside what staff did while the request waited for its turn",
        _PROTOCOL,
        (("_LOOK_HOLDS = timedelta(minutes=1)", "_LOOK_HOLDS = timedelta(days=1)"),),
        (_DEPARTURE + "what_waited_for_its_turn_longer_than_its_look_holds_is_looked_at_again",),
    ),
    Mutant(
        "another run's booking trusted",
        "stock posted twice where staff were first",
        _WRITES,
        (("            claimed.run_id == made.run_id,\n", ""),),
        (_OTHERS + "an_action_in_another_run_looks_first_however_soon",),
    ),
    Mutant(
        "our own booking trusted for ten minutes",
        "stock posted twice where staff were first",
        _WRITES,
        (("_NOBODY_YET = timedelta(minutes=1)", "_NOBODY_YET = timedelta(minutes=10)"),),
        (_OTHERS + "an_action_that_comes_a_minute_after_its_booking_looks_first",),
    ),
    Mutant(
        "an old bulk reading trusted",
        "booked beside what staff booked since",
        _RESTOCKS,
        (("_BULK_HOLDS = timedelta(minutes=5)", "_BULK_HOLDS = timedelta(days=5)"),),
        (_OTHERS + "a_booking_made_since_the_bulk_reading_is_seen_when_that_is_no_longer_fresh",),
    ),
    Mutant(
        "changed lines adopted",
        "what staff made of our booking is actioned as ours",
        _RESTOCKS,
        (('if _shown(kept.lines) != _asked(intent.payload["lines"]):', "if False:"),),
        (_OTHERS + "a_booking_of_ours_whose_lines_were_changed_while_it_rested_is_not_adopted",),
    ),
    Mutant(
        "a refusal believed without a look",
        "what staff did first is nobody's, and a person books it again",
        _WRITES,
        (
            (
                "        if header is None or not header.is_actioned:\n            return None\n",
                "        return None\n",
            ),
        ),
        (_FOUND + "an_action_refused_because_staff_were_first_is_theirs_and_done",),
    ),
    Mutant(
        "refund precheck removed",
        "money beside what somebody else has sent",
        _REFUNDS,
        (
            (
                (
                    '        headers = self.linnworks.refund_headers(intent.payload["order_id"])\n'
                    "        ours = next("
                ),
                (
                    "        return None\n"
                    '        headers = self.linnworks.refund_headers(intent.payload["order_id"])\n'
                    "        ours = next("
                ),
            ),
        ),
        (_MONEY + "money_somebody_else_sent_for_the_line_stops_ours",),
    ),
    Mutant(
        "a refund of another amount taken for ours",
        "a penny off, or pounds",
        _REFUNDS,
        (
            (
                "        if _sum(header.lines) == _total(self.earlier(intent).payload):\n",
                "        if True:\n",
            ),
        ),
        (_OTHERS + "a_refund_whose_amount_was_changed_is_for_finance",),
    ),
    Mutant(
        "fee ignored",
        "the shopper is paid the fee that was to be kept",
        _REFUNDS,
        (
            (
                'from_goods = min(due["fee_minor"], due["goods_minor"])',
                'from_goods = min(0, due["goods_minor"])',
            ),
            ('due["shipping_minor"] - (due["fee_minor"] - from_goods)', 'due["shipping_minor"]'),
        ),
        (_MONEY + "a_fee_above_the_goods_is_taken_from_the_shipping",),
    ),
    Mutant(
        "breaker removed",
        "a vendor that is gone is stormed",
        _PROTOCOL,
        (("if failures > _BREAKER or (", "if failures > 10**9 or ("),),
        (_RESTOCK_TESTS + "a_vendor_that_is_gone_is_not_stormed",),
    ),
    Mutant(
        "a failing effect in our tables ends the run",
        "one poisoned item ends every run from then on",
        _PROTOCOL,
        (("            sa.exc.InternalError,\n        ):", "            Exception,\n        ):"),),
        (_STUCK + "an_effect_that_cannot_be_entered_is_for_a_person_and_stops_no_other",),
    ),
    Mutant(
        "watermark before rows",
        "what was read and not stored is never read again",
        _READINGS,
        (
            (
                (
                    "    with engine.begin() as connection:\n"
                    "        upsert(connection, t.restock_readings,"
                ),
                (
                    "    with engine.begin() as connection:\n"
                    "        records.move_watermark(connection, restocks.BULK, now=now, at=now)\n"
                    "    with engine.begin() as connection:\n"
                    "        upsert(connection, t.restock_readings,"
                ),
            ),
        ),
        (_INTENTS + "the_watermark_of_the_bulk_reading_moves_with_its_rows_or_not_at_all",),
    ),
    Mutant(
        "scrap restocked",
        "broken goods among saleable ones",
        "returns_pipeline/domain/adjustments.py",
        (("scrap_quantity=len(keys) * scrap,", "scrap_quantity=0,"),),
        (_RESTOCK_TESTS + "a_scrapped_unit_is_returned_and_written_off",),
    ),
    Mutant(
        "receipt gate removed",
        "stock and money move on a promise",
        "returns_pipeline/domain/gate.py",
        (
            (
                "        return unit.received\n    facts =",
                "        return unit.received or unit.approved\n    facts =",
            ),
        ),
        (_DOMAIN + "test_gate.py::test_no_promise_clears_a_receipt_gate",),
    ),
    Mutant(
        "zero-value order for an uneven exchange",
        "a dearer article for nothing",
        "returns_pipeline/domain/exchanges.py",
        (
            (
                "unit_price_minor=0 if even else unit.exchange_unit_price_minor or 0,",
                "unit_price_minor=0,",
            ),
        ),
        (_DOMAIN + "test_exchanges.py::test_an_uneven_exchange_is_ordered_at_its_price",),
    ),
)

SECTION_7 = frozenset(mutant.name for mutant in _SECTION_7)
MUTANTS = _SECTION_7 + _BEYOND

# Not a mutant of the protocol: with it every test must fail, or the tests run other code.
CONTROL = Mutant(
    "control: the copy is what runs",
    "nothing",
    _PROTOCOL,
    (
        (
            "Clock = Callable[[], datetime]\n",
            'raise RuntimeError("the copy is what runs")\nClock = Callable[[], datetime]\n',
        ),
    ),
    (_INTENTS + "a_claim_belongs_to_one_worker",),
)
