"""Each invariant seen to hold, and seen to break, on both databases."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline import settings
from returns_pipeline.defs.checks.invariants import INVARIANTS
from returns_pipeline.domain.model import Stage
from returns_pipeline.domain.policy import Policy
from returns_pipeline.steps.invariants import Finding, Scope
from returns_pipeline.storage import tables as t
from returns_pipeline_tests.defs import seed

Seed = Callable[[sa.Connection], Any]
DAY = date(2026, 3, 14)
PLACES = ("HR Restock", "HR B-Stock", "HR Damaged", "HR Quarantine", "HR Refurb", "HR Vendor")


@dataclass(frozen=True)
class Case:
    name: str
    seeds: Seed
    severe: bool = True
    figure: tuple[str, int] | None = None
    days: tuple[date, ...] = ()


def _matched(c: sa.Connection) -> None:
    seed.unit(c)
    seed.order(c)
    seed.line(c)
    seed.match(c)


def _orphan(c: sa.Connection, **since: float) -> None:
    _matched(c)
    seed.unit(c, "u2")
    seed.orphan(c, "u2", since_at=seed.ago(**since))


def _too_many(c: sa.Connection) -> None:
    _matched(c)
    seed.unit(c, "u2")
    seed.match(c, "u2", unit_no=2)


def _twice(c: sa.Connection) -> None:
    # The index that makes it impossible is taken away, as a restore without it would.
    c.execute(sa.text("DROP INDEX uq_stock_adjustments_one_restock"))
    seed.adjustment(c, state="posted")
    seed.adjustment(c)


def _mixed(c: sa.Connection, *, state: str) -> None:
    seed.places(c, *PLACES)
    seed.adjustment(c, "u1", state="posted")
    seed.adjustment(c, "u2", state=state, is_sellable=False)


def _early(c: sa.Connection, *, days: float, **values: Any) -> None:
    seed.unit(c, stage="approved", received_at=None, approved_at=seed.ago(days=days))
    row = {"state": "recorded", "executor": "happy_returns", "effective_at": seed.ago(days=days)}
    seed.refund(c, **{**row, **values})


def _early_by_others(c: sa.Connection, days: int, **values: Any) -> None:
    _matched(c)
    c.execute(sa.update(t.return_items).values(stage="departed", received_at=None))
    seed.insert(
        c,
        t.refund_readings,
        refund_header_id=1,
        order_id="o1",
        row_id="r1",
        quantity=1,
        amount_minor=6000,
        is_actioned=True,
        actioned_at=seed.ago(days=days),
        **values,
    )


def _unstocked(c: sa.Connection, *, hours: float) -> None:
    seed.unit(c, received_at=seed.ago(hours=hours))
    seed.disposition(c)
    seed.refund(c, state="actioned")
    seed.adjustment(c, state="intended")


def _above_price(c: sa.Connection) -> None:
    _matched(c)
    made = seed.batch(c)
    seed.refund(c, goods_minor=6001, amount_minor=6001, batch_id=made.id, state="batched")


def _closed(c: sa.Connection, days: int) -> None:
    seed.insert(c, t.closed_days, business_date=seed.ago(days=days).date())


def _vat(c: sa.Connection, reversed_minor: int) -> None:
    """A whole line of 60.00 with VAT of 10.00 is refunded in a batch."""
    _matched(c)
    made = seed.batch(c)
    c.execute(sa.update(t.order_lines).values(vat_minor=1000))
    seed.refund(c, goods_vat_minor=reversed_minor, batch_id=made.id, state="batched")


def _tender(c: sa.Connection, **values: Any) -> None:
    """A refund whose clearing line is in a batch."""
    made = seed.batch(c)
    seed.refund(c, refund_key="u1:refund", batch_id=made.id, state="batched", **values)
    seed.unguarded(c)
    c.execute(sa.update(t.postings).values(event_key="u1:refund"))


def _on_clearing(c: sa.Connection, **values: Any) -> None:
    """An exchanged unit whose value stands on exchange clearing."""
    _tender(c, **{"tender": "exchange", **values})
    entered = t.postings.c
    credit = sa.update(t.postings).where(entered.role.startswith("refund_clearing"))
    c.execute(credit.values(role="exchange_clearing"))


def _more_there(c: sa.Connection) -> None:
    columns = t.postings.c
    more = sa.update(t.postings).where(columns.role == "exchange_clearing")
    c.execute(more.values(amount_minor=columns.amount_minor + 1))


def _reversed(c: sa.Connection, amount: int = 6000) -> None:
    made = seed.batch(c)
    back = made.id.replace("-00", "-R1")
    seed.insert(
        c,
        t.batches,
        batch_id=back,
        kind="reversal",
        state="sealed",
        business_date=DAY,
        origin_date=DAY,
        body="{}",
        reverses_id=made.id,
    )
    for line in made.lines:
        side = "credit" if line.side == "debit" else "debit"
        seed.insert(
            c,
            t.batch_lines,
            batch_id=back,
            number=line.number,
            role=line.role,
            account=line.account,
            tax_key=line.tax_key,
            side=side,
            amount_minor=amount,
            unit_keys="[]",
        )


def _in_transit(c: sa.Connection, *, is_here: bool = False) -> None:
    made = seed.batch(c)
    seed.posting(
        c, "debit", 1800, role="returned_goods_in_transit", batch_id=made.id, line_number=1
    )
    if is_here:
        seed.adjustment(c, state="posted", is_ledgered=True)


def _sent(c: sa.Connection, amount: int) -> None:
    made = seed.batch(c)
    seed.refund(c, batch_id=made.id, state="actioned", refund_header_id=7)
    seed.insert(
        c,
        t.refund_readings,
        refund_header_id=7,
        unit="Item",
        amount_minor=amount,
        is_actioned=True,
        actioned_at=seed.ago(hours=1),
        is_ours=True,
    )


def _unbalanced(c: sa.Connection) -> None:
    made = seed.batch(c)
    seed.unguarded(c)
    c.execute(
        sa.update(t.batch_lines)
        .where(t.batch_lines.c.batch_id == made.id, t.batch_lines.c.side == "debit")
        .values(amount_minor=5999)
    )


def _wrong_totals(c: sa.Connection) -> None:
    seed.batch(c)
    seed.unguarded(c)
    c.execute(sa.update(t.batches).values(totals='{"debit": 1, "credit": 1}'))


def _edited_body(c: sa.Connection) -> None:
    made = seed.batch(c)
    seed.unguarded(c)
    body = c.execute(sa.select(t.batches.c.body)).scalar_one()
    c.execute(
        sa.update(t.batches)
        .where(t.batches.c.batch_id == made.id)
        .values(body=body.replace("4100", "4101"))
    )


def _edited_lines(c: sa.Connection) -> None:
    seed.batch(c)
    seed.unguarded(c)
    c.execute(sa.update(t.batch_lines).values(account="9999"))


def _lost_posting(c: sa.Connection) -> None:
    seed.batch(c)
    seed.unguarded(c)
    c.execute(sa.delete(t.postings).where(t.postings.c.side == "debit"))


def _late_posting(c: sa.Connection) -> None:
    seed.batch(c)
    seed.insert(c, t.closed_days, business_date=DAY)
    seed.posting(c, "debit", 100)


def _not_ordered(c: sa.Connection) -> None:
    seed.exchange(c, state="ready", created_order_at=None, created_at=seed.ago(hours=5))


def _ordered_twice(c: sa.Connection) -> None:
    seed.exchange(c)
    for order_id in ("new-1", "new-2"):
        seed.order(c, order_id, reference_key="1001-ex-1", source="HAPPYRETURNS")


def _exchanged_early(c: sa.Connection) -> None:
    seed.unit(c, received_at=None, stage="departed")
    seed.exchange(c)


def _free(c: sa.Connection) -> None:
    _matched(c)
    c.execute(sa.update(t.return_items).values(exchange_unit_price_minor=6500))
    seed.exchange(c)


def _zero_order(c: sa.Connection) -> None:
    _matched(c)
    seed.order(c, "new-1", total_minor=0)
    seed.exchange(c, is_even=False, unit_price_minor=6500, new_order_id="new-1")


def _unsettled(c: sa.Connection) -> None:
    seed.intent(c, state="unknown", sent_at=seed.ago(hours=2))


def _for_a_person(c: sa.Connection) -> None:
    key = seed.intent(c, state="suspense", sent_at=seed.ago(hours=2))
    seed.insert(c, t.exceptions, code="WRITE_UNKNOWN_OUTCOME", key=key, status="open")


def _read(c: sa.Connection, **span: float) -> None:
    for name in ("linnworks.orders", "happy_returns.shipments"):
        seed.insert(c, t.watermarks, name=name, at=seed.ago(**span))


HOLDING = (
    Case("every_return_has_an_order", _matched),
    Case("no_more_returned_than_despatched", _matched),
    Case("every_disposition_has_a_location", lambda c: seed.places(c, *PLACES)),
    Case(
        "sellable_and_damaged_never_share_a_location",
        lambda c: (
            seed.adjustment(c, "u1"),
            seed.adjustment(c, "u2", location_id="loc-2", is_sellable=False),
        ),
    ),
    Case(
        "no_unit_restocked_twice",
        lambda c: (
            seed.adjustment(c, state="posted"),
            seed.adjustment(c, kind="move", state="held"),
        ),
    ),
    Case("no_refund_before_receipt", lambda c: (seed.unit(c), seed.refund(c, state="actioned"))),
    Case(
        "no_refund_before_receipt",
        lambda c: _early(c, days=1, executor="linnworks", state="due"),  # owed, not paid
    ),
    Case(
        "no_refund_before_receipt",
        lambda c: _early_by_others(c, days=31, is_ours=True),
    ),
    Case(
        "every_refund_has_its_restock",
        lambda c: (
            seed.unit(c),
            seed.refund(c, state="actioned"),
            seed.adjustment(c, state="posted"),
        ),
    ),
    Case(
        "every_refund_has_its_restock",  # missing from its box: nothing to restock
        lambda c: (
            seed.unit(c),
            seed.refund(c, state="recorded"),
            seed.disposition(c, disposition="MISSING", effect="none"),
        ),
    ),
    Case("no_line_refunded_above_its_price", lambda c: (_matched(c), seed.batch(c))),
    Case("batch_balances", seed.batch, figure=("batches", 1)),
    Case("batch_balances", seed.batch, figure=("batches", 1), days=(DAY,)),
    Case("sealed_bytes_are_unchanged", seed.batch, figure=("batches", 1)),
    Case("every_posting_is_in_one_batch", seed.batch, figure=("batches", 1), days=(DAY,)),
    Case("no_more_vat_reversed_than_charged", lambda c: _vat(c, 1000), days=(DAY,)),
    Case("every_tender_line_is_its_refund", _tender, figure=("lines", 1)),
    Case("exchange_clearing_is_the_exchanges", _on_clearing, figure=("open_minor_GBP", 6000)),
    Case("reversals_take_back_their_originals", _reversed, figure=("reversals", 1)),
    Case("goods_in_transit_are_owed_to_us", _in_transit),
    Case("batches_come_out_of_their_payloads", lambda c: None, figure=("verified", 0)),
    Case("every_unit_is_somewhere", seed.unit, figure=("received", 1)),
    Case("refunds_sent_are_those_of_the_batches", lambda c: _sent(c, 6000)),
    Case("yesterday_is_sealed", lambda c: _closed(c, days=1)),
    Case("yesterday_is_sealed", lambda c: None),
    Case("every_exchange_has_one_order", seed.exchange),
    Case("no_exchange_before_receipt", lambda c: (seed.unit(c), seed.exchange(c))),
    Case("uneven_exchange_is_never_free", lambda c: (_matched(c), seed.exchange(c))),
    Case(
        "every_write_is_settled",
        lambda c: seed.intent(c, state="unknown", sent_at=seed.ago(minutes=5)),
    ),
    Case("our_own_books_are_sound", lambda c: (seed.unit(c), seed.adjustment(c))),
    Case("every_source_is_fresh", lambda c: _read(c, minutes=5)),
    Case("every_alert_is_delivered", lambda c: seed.message(c, state="sent", sent_at=seed.T0)),
    Case("every_alert_is_delivered", seed.message),
    Case("every_batch_has_its_files", seed.exported, figure=("batches", 1)),
)
BREAKING = (
    Case("every_return_has_an_order", lambda c: _orphan(c, hours=30), severe=False),
    Case("every_return_has_an_order", lambda c: _orphan(c, days=8), figure=("old", 1)),
    Case("no_more_returned_than_despatched", _too_many),
    Case("every_disposition_has_a_location", lambda c: seed.places(c, *PLACES[:-1])),
    Case("sellable_and_damaged_never_share_a_location", lambda c: _mixed(c, state="ready")),
    Case(
        "sellable_and_damaged_never_share_a_location",
        lambda c: _mixed(c, state="posted"),
        severe=False,  # too late to stop
    ),
    Case("no_unit_restocked_twice", _twice),
    Case(
        "no_refund_before_receipt",
        lambda c: _early(c, days=3),
        severe=False,
        figure=("under_7_days", 1),
    ),
    Case("no_refund_before_receipt", lambda c: _early(c, days=8), figure=("7_to_14_days", 1)),
    Case(
        "no_refund_before_receipt",
        lambda c: _early(c, days=1, executor="linnworks", state="actioned"),
        figure=("minor_GBP", 6000),
    ),
    Case(
        "no_refund_before_receipt",
        lambda c: _early_by_others(c, days=3),
        severe=False,
        figure=("under_7_days", 1),
    ),
    Case(
        "no_refund_before_receipt",
        lambda c: _early_by_others(c, days=31),
        figure=("over_30_days", 1),
    ),
    Case("every_refund_has_its_restock", lambda c: _unstocked(c, hours=2), severe=False),
    Case("every_refund_has_its_restock", lambda c: _unstocked(c, hours=30)),
    Case("no_line_refunded_above_its_price", _above_price, days=(DAY,)),
    Case("batch_balances", _unbalanced, days=(DAY,)),
    Case("batch_balances", _wrong_totals),
    Case("sealed_bytes_are_unchanged", _edited_body),
    Case("sealed_bytes_are_unchanged", _edited_lines, days=(DAY,)),
    Case("every_posting_is_in_one_batch", _lost_posting),
    Case("every_posting_is_in_one_batch", _late_posting, severe=False, figure=("late_days", 1)),
    Case("no_more_vat_reversed_than_charged", lambda c: _vat(c, 999), days=(DAY,)),
    Case("no_more_vat_reversed_than_charged", lambda c: _vat(c, 1001)),
    Case(
        "every_tender_line_is_its_refund",
        lambda c: _tender(c, goods_minor=5999, amount_minor=5999),
        days=(DAY,),
    ),
    Case("every_tender_line_is_its_refund", lambda c: _tender(c, tender="store_credit")),
    Case("exchange_clearing_is_the_exchanges", lambda c: (_on_clearing(c), _more_there(c))),
    Case("exchange_clearing_is_the_exchanges", lambda c: _on_clearing(c, tender="refund")),
    Case("reversals_take_back_their_originals", lambda c: _reversed(c, amount=5999)),
    Case("goods_in_transit_are_owed_to_us", lambda c: _in_transit(c, is_here=True), severe=False),
    Case("batches_come_out_of_their_payloads", seed.batch, figure=("verified", 1)),
    Case("every_unit_is_somewhere", lambda c: seed.unit(c, received_at=None, stage="started")),
    Case("refunds_sent_are_those_of_the_batches", lambda c: _sent(c, 5999), severe=False),
    Case("yesterday_is_sealed", lambda c: _closed(c, days=3), figure=("days", 2)),
    Case("every_exchange_has_one_order", _not_ordered),
    Case("every_exchange_has_one_order", _ordered_twice),
    Case("no_exchange_before_receipt", _exchanged_early),
    Case("uneven_exchange_is_never_free", _free),
    Case("uneven_exchange_is_never_free", _zero_order),
    Case("every_write_is_settled", _unsettled),
    Case("every_write_is_settled", _for_a_person),
    Case("our_own_books_are_sound", lambda c: seed.adjustment(c, state="intended")),
    Case("every_source_is_fresh", lambda c: _read(c, hours=2)),
    Case("every_source_is_fresh", lambda c: None),
    Case("every_alert_is_delivered", lambda c: seed.message(c, error="refused", attempts=2)),
    Case("every_batch_has_its_files", seed.batch, severe=False, days=(DAY,)),
    Case(
        "every_alert_is_delivered",
        lambda c: seed.message(c, state="given_up", created_at=seed.ago(days=6)),
    ),
)
QUESTIONS = {one.name: one.question for one in INVARIANTS}


@pytest.fixture(scope="module")
def policy() -> Policy:
    return settings.load({}, vendors=False).policy


def _ask(engine: sa.Engine, policy: Policy, case: Case, **scope: Any) -> Finding:
    with engine.begin() as connection:
        case.seeds(connection)
        asked = Scope(connection, policy, seed.T0, days=case.days)
        return QUESTIONS[case.name](replace(asked, **scope))


def _ids(cases: tuple[Case, ...]) -> list[str]:
    return [f"{case.name}-{number}" for number, case in enumerate(cases)]


@pytest.mark.parametrize("case", HOLDING, ids=_ids(HOLDING))
def test_an_invariant_that_holds_is_found_to_hold(
    engine: sa.Engine, policy: Policy, case: Case
) -> None:
    found = _ask(engine, policy, case)

    assert found.holds, found.message
    assert not found.rows
    if case.figure:
        assert found.figures[case.figure[0]] == case.figure[1]


@pytest.mark.parametrize("case", BREAKING, ids=_ids(BREAKING))
def test_an_invariant_that_is_broken_is_found_broken_and_shown(
    engine: sa.Engine, policy: Policy, case: Case
) -> None:
    found = _ask(engine, policy, case)

    assert not found.holds
    assert found.severe is case.severe
    assert found.rows
    assert found.figures["failures"] == len(found.rows)
    if case.figure:
        assert found.figures[case.figure[0]] == case.figure[1]


def test_every_invariant_is_seen_to_hold_and_to_break() -> None:
    names = {one.name for one in INVARIANTS}

    assert {case.name for case in HOLDING} == names
    assert {case.name for case in BREAKING} == names


@pytest.mark.parametrize("name", ["every_exchange_has_one_order", "every_refund_has_its_restock"])
def test_nothing_is_missing_in_shadow_mode_where_nothing_is_sent(
    engine: sa.Engine, policy: Policy, name: str
) -> None:
    broken = next(case for case in BREAKING if case.name == name)

    assert _ask(engine, policy, broken, live=False).holds


def test_a_drop_off_method_paid_early_by_policy_is_not_paid_against_the_gate(
    engine: sa.Engine, policy: Policy
) -> None:
    gate = replace(policy.gate, refund_by_dropoff={"returnbar": Stage.APPROVED})
    case = Case(
        "no_refund_before_receipt",
        lambda c: (
            seed.unit(c, stage="approved", received_at=None, dropoff_method="Return Bar"),
            seed.refund(c, state="actioned", effective_at=seed.ago(days=1)),
        ),
    )

    found = _ask(engine, replace(policy, gate=gate), case)

    assert not found.holds
    assert not found.severe


def test_what_was_settled_long_ago_is_not_looked_at(engine: sa.Engine, policy: Policy) -> None:
    old = Case(
        "sellable_and_damaged_never_share_a_location",
        lambda c: (
            seed.adjustment(c, "u1", state="posted", posted_at=seed.ago(days=30)),
            seed.adjustment(
                c, "u2", state="posted", posted_at=seed.ago(days=30), is_sellable=False
            ),
        ),
    )

    assert _ask(engine, policy, old).holds
