import hashlib
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_pipeline.domain import lifecycle
from returns_pipeline.domain.model import Fact, Precision, RefundType, Stage, Unit
from returns_pipeline_tests.domain.build import T0, at, fact, unit

FACTS = ("started", "dropped_off", "approved", "departed", "received", "expired", "cancelled")

facts = st.none() | st.builds(
    Fact,
    st.integers(0, 40).map(lambda h: T0 + timedelta(hours=h)),
    st.sampled_from(Precision),
)


@st.composite
def readings(draw: st.DrawFn) -> Unit:
    """Any reading of one unit; its hash stands for its content, as a payload's does."""
    code = draw(st.sampled_from(["", "saleable", "damaged"]))
    body: dict[str, Any] = {
        **{name: draw(facts) for name in FACTS},
        "sku": draw(st.sampled_from(["", "A", "B"])),
        "line_item_id": draw(st.sampled_from(["", "L1"])),
        "status": draw(st.sampled_from(["", "approved"])),
        "disposition_code": code,
        "disposition_at": draw(st.integers(0, 9).map(at)) if code else None,
        "refund_type": draw(st.none() | st.sampled_from(RefundType)),
        "refund_amount_minor": draw(st.none() | st.sampled_from([0, 500])),
        "fee_minor": draw(st.none() | st.sampled_from([0, 300])),
        "returnless": draw(st.booleans()),
        "problems": draw(st.sampled_from([(), ("sku:not a text",), ("currency:bad",)])),
        "updated_at": draw(st.none() | st.integers(0, 5).map(at)),
        "source_rank": draw(st.integers(0, 1)),
    }
    return unit(**body, payload_hash=hashlib.sha256(repr(body).encode()).hexdigest())


@pytest.mark.parametrize(
    ("known", "stage"),
    [
        ((), Stage.STARTED),
        (("started",), Stage.STARTED),
        (("started", "dropped_off"), Stage.DROPPED_OFF),
        (("dropped_off", "approved"), Stage.APPROVED),
        (("approved", "departed"), Stage.DEPARTED),
        (("departed", "received"), Stage.RECEIVED),
        (("approved",), Stage.APPROVED),
        (("departed", "expired"), Stage.EXPIRED),
        (("expired", "cancelled"), Stage.CANCELLED),
        (("received", "cancelled"), Stage.RECEIVED),
        (("received", "expired"), Stage.RECEIVED),
        (("received", "approved"), Stage.RECEIVED),
    ],
)
def test_the_stage_is_the_furthest_the_facts_prove(known: tuple[str, ...], stage: Stage) -> None:
    bare = unit(started=None)
    assert lifecycle.stage(replace(bare, **{name: fact() for name in known})) is stage


@given(readings(), readings())
def test_merging_is_commutative(a: Unit, b: Unit) -> None:
    assert lifecycle.merge(a, b) == lifecycle.merge(b, a)


@given(readings(), readings())
def test_merging_again_changes_nothing(a: Unit, b: Unit) -> None:
    merged = lifecycle.merge(a, b)
    assert lifecycle.merge(a, a) == a
    assert lifecycle.merge(merged, a) == merged
    assert lifecycle.merge(merged, b) == merged
    assert lifecycle.merge(merged, merged) == merged


@given(st.lists(readings(), min_size=3, max_size=3))
def test_facts_do_not_depend_on_the_order_of_arrival(told: list[Unit]) -> None:
    ends = []
    for first, second, third in permutations(told):
        merged = lifecycle.merge(lifecycle.merge(first, second), third)
        ends.append([getattr(merged, name) for name in FACTS])
    assert all(end == ends[0] for end in ends)


@given(st.lists(readings(), min_size=2, max_size=5))
def test_evidence_never_goes_back(told: list[Unit]) -> None:
    merged = told[0]
    for reading in told[1:]:
        before, merged = merged, lifecycle.merge(merged, reading)
        for name in FACTS:
            known, now = getattr(before, name), getattr(merged, name)
            assert known is None or now is not None
        if before.received is not None:
            assert lifecycle.stage(merged) is Stage.RECEIVED
        assert not (before.disposition_code and not merged.disposition_code)


def test_the_better_known_instant_wins_then_the_earlier() -> None:
    inferred, day, exact = (
        fact(1, Precision.INFERRED),
        fact(5, Precision.DATE),
        fact(9, Precision.EXACT),
    )
    assert lifecycle.best(inferred, day) == day
    assert lifecycle.best(exact, day) == exact
    assert lifecycle.best(fact(3), fact(2)) == fact(2)
    assert lifecycle.best(None, day) == day
    assert lifecycle.best(None, None) is None


def test_every_field_survives_a_newer_reading_that_says_nothing() -> None:
    # Holds `merge`, which is written out field by field, to the fields of `Unit`.
    full = Unit(
        unit_key="u1",
        return_id="r",
        order_number="1",
        order_key="1",
        line_item_id="L",
        sku="S",
        **{name: fact(n) for n, name in enumerate(FACTS)},
        status="approved",
        dropoff_method="mail",
        disposition_code="saleable",
        disposition_at=at(1),
        refund_type=RefundType.STORE_CREDIT,
        refund_amount_minor=1,
        shipping_refund_minor=2,
        fee_minor=3,
        fee_currency="GBP",
        currency="GBP",
        returnless=True,
        exchange_sku="X",
        exchange_quantity=1,
        exchange_unit_price_minor=4,
        reason_code="too-big",
        updated_at=at(0),
        source_rank=0,
        payload_hash="old",
        problems=("sku:bad",),
    )
    blank = Unit("u1", "", "", "", "", "", refund_type=None, updated_at=at(1), payload_hash="new")
    for field in fields(Unit):
        assert getattr(full, field.name) not in (None, "", (), False) or field.name == "source_rank"
    merged = lifecycle.merge(full, blank)
    assert merged == replace(full, updated_at=at(1), payload_hash="new")


def test_a_newer_zero_is_a_value_and_replaces_an_amount() -> None:
    older = unit(fee_minor=500, shipping_refund_minor=495, updated_at=at(0))
    newer = unit(fee_minor=0, shipping_refund_minor=0, updated_at=at(1))
    merged = lifecycle.merge(older, newer)
    assert (merged.fee_minor, merged.shipping_refund_minor) == (0, 0)


def test_of_two_readings_of_one_instant_the_fuller_feed_wins() -> None:
    partial = unit(sku="FROM-ASN", source_rank=0, payload_hash="z")
    whole = unit(sku="FROM-LOOKUP", source_rank=1, payload_hash="a")
    assert lifecycle.merge(partial, whole).sku == "FROM-LOOKUP"


def test_an_older_reading_that_comes_late_fills_gaps_only() -> None:
    newer = unit(sku="", status="received", updated_at=at(5))
    late = unit(sku="A", status="approved", updated_at=at(1))
    merged = lifecycle.merge(newer, late)
    assert (merged.sku, merged.status) == ("A", "received")


def test_a_partial_feed_does_not_make_an_unreadable_field_readable() -> None:
    whole = unit(problems=("refund_amount:not a decimal amount of GBP",), updated_at=at(0))
    partial = unit(source_rank=0, updated_at=at(1))
    assert lifecycle.merge(whole, partial).problems == whole.problems
    mended = unit(updated_at=at(2))
    assert lifecycle.merge(lifecycle.merge(whole, partial), mended).problems == ()


def test_returnless_is_what_the_last_whole_reading_says() -> None:
    returnless = unit(returnless=True, updated_at=at(0))
    partial = unit(source_rank=0, updated_at=at(1))
    corrected = unit(returnless=False, updated_at=at(2))
    assert lifecycle.merge(returnless, partial).returnless
    assert not lifecycle.merge(returnless, corrected).returnless


def test_a_repeated_code_keeps_its_first_instant_a_new_one_brings_its_own() -> None:
    first = unit(disposition_code="saleable", disposition_at=at(1), updated_at=at(1))
    again = unit(disposition_code="saleable", disposition_at=at(4), updated_at=at(4))
    other = unit(disposition_code="damaged", disposition_at=at(6), updated_at=at(6))
    assert lifecycle.merge(first, again).disposition_at == at(1)
    changed = lifecycle.merge(lifecycle.merge(first, again), other)
    assert (changed.disposition_code, changed.disposition_at) == ("damaged", at(6))


def test_an_instant_that_comes_without_one_in_the_other_reading_is_kept() -> None:
    dated = unit(disposition_code="saleable", disposition_at=at(1), updated_at=at(1))
    undated = unit(disposition_code="saleable", updated_at=at(2))
    silent = unit(updated_at=at(3))
    assert lifecycle.merge(dated, undated).disposition_at == at(1)
    assert lifecycle.merge(dated, silent).disposition_at == at(1)


def test_readings_of_two_units_are_a_defect() -> None:
    with pytest.raises(ValueError, match="u1 and u2"):
        lifecycle.merge(unit("u1"), unit("u2"))


def test_events_tell_what_is_new_once() -> None:
    before = unit(started=fact(-48))
    after = lifecycle.merge(
        before,
        unit(
            started=fact(-48),
            received=fact(0, Precision.DATE),
            disposition_code="damaged",
            disposition_at=at(1),
            updated_at=at(2),
        ),
    )
    assert lifecycle.events(before, after) == [
        ("received", at(0), Precision.DATE, ""),
        ("inspected", at(1), Precision.EXACT, "damaged"),
    ]
    assert lifecycle.events(after, after) == []
    assert [kind for kind, *_ in lifecycle.events(None, after)] == [
        "started",
        "received",
        "inspected",
    ]


def test_a_fact_known_better_is_told_again() -> None:
    before = unit(received=fact(0, Precision.INFERRED))
    after = unit(received=fact(-1))
    assert lifecycle.events(before, after) == [("received", at(-1), Precision.EXACT, "")]


def test_an_inspection_without_any_instant_waits_to_be_told() -> None:
    assert lifecycle.events(None, unit(started=None, disposition_code="x", updated_at=None)) == []
    dated = unit(started=None, disposition_code="x", updated_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert [kind for kind, *_ in lifecycle.events(None, dated)] == ["inspected"]
