"""The sealed batch: the worked example to the penny, and bytes that never change."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_pipeline.domain import adjustments, consolidation, postings, refunds
from returns_pipeline.domain.consolidation import Batch, Unbalanced, consolidate
from returns_pipeline.domain.model import (
    Cleared,
    Decided,
    Disposition,
    Fact,
    Matched,
    Order,
    OrderLine,
    Posting,
    Precision,
    RefundDue,
    RefundType,
    StockAdjustment,
    Unit,
)
from returns_pipeline.domain.postings import Goods
from returns_pipeline.domain.refunds import NOTHING, Refunded
from returns_pipeline_tests.domain import build
from returns_pipeline_tests.domain.build import decided, line, order, policy

DAY = date(2026, 3, 14)
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
POLICY = policy()


def batch(found: Iterable[Posting], number: str = "00", **values: object) -> Batch:
    given_ = {
        "business_date": DAY,
        "origin_date": DAY,
        "entity": "UK",
        "currency": "GBP",
        "kind": "primary",
        "policy_hash": "p",
    }
    return consolidate(list(found), number=number, **{**given_, **values})


# --- the worked example of the finance specification, section 5 ---------------------


@dataclass(frozen=True)
class Sold:
    """One returned unit of the example and how it is entered."""

    unit: Unit
    line: OrderLine
    order: Order
    unit_no: int = 0
    disposition: Disposition | None = None
    refunded: bool = True
    in_transit: bool = False
    at: datetime = NOON
    before: Refunded = NOTHING

    def due(self) -> RefundDue:
        match = Matched(self.unit.unit_key, self.order.order_id, self.line.row_id, self.unit_no, "")
        found = refunds.refund_due(
            self.unit, match, self.order, Cleared(self.at), POLICY, carries_order_extras=True,
            before=self.before,
        )  # fmt: skip
        assert isinstance(found, RefundDue), found
        return found

    def postings(self) -> list[Posting]:
        known = Goods(self.line)
        entered: list[Posting] = []
        if self.refunded:
            found = postings.refund_postings(
                self.due(),
                known,
                POLICY,
                received=self.disposition is not None or self.unit.returnless,
            )
            assert isinstance(found, list), found
            entered += found
        if self.disposition is not None:
            decision = decided(self.disposition, self.unit.unit_key)
            found = postings.stock_postings(
                self._adjustment(decision), decision, known, self.at, POLICY,
                source="returned_goods_in_transit" if self.in_transit else "cogs_returns",
            )  # fmt: skip
            assert isinstance(found, list), found
            entered += found
        return entered

    def _adjustment(self, decision: Decided) -> StockAdjustment:
        match = Matched(self.unit.unit_key, self.order.order_id, self.line.row_id, self.unit_no, "")
        found = adjustments.adjustment(self.unit, match, decision, self.line)
        assert found is not None
        return found


def sold(
    key: str,
    total: int,
    vat: int,
    cost: int | None,
    *,
    quantity: int = 1,
    rate: int = 2000,
    payment: str = "Shopify Payments",
    **values: object,
) -> Sold:
    bought = line(
        quantity=quantity, total_minor=total, vat_minor=vat, tax_rate_bp=rate, unit_cost_minor=cost
    )
    names = {name for name in values if name in Unit.__dataclass_fields__}
    unit = build.unit(key, **{name: values[name] for name in names})
    rest = {name: value for name, value in values.items() if name not in names}
    return Sold(unit, bought, order(bought, payment_method=payment), **rest)  # type: ignore[arg-type]


D = Disposition
# fmt: off
EXAMPLE = [
    sold("R1", 6000, 1000, 1800, disposition=D.SELLABLE),
    sold("R2a", 5997, 1000, 600, quantity=3, unit_no=0, disposition=D.SELLABLE),
    sold("R2b", 5997, 1000, 600, quantity=3, unit_no=1, disposition=D.DAMAGED,
         before=Refunded(units=1, line=1999, vat=333)),
    sold("R3", 3000, 500, 900, disposition=D.TAG_MISSING, fee_minor=300, fee_currency="GBP"),
    sold("R4", 4500, 750, 1400, disposition=D.SELLABLE, refund_type=RefundType.STORE_CREDIT),
    sold("R5", 2400, 400, None, returnless=True, shipping_refund_minor=495),
    sold("R6", 5000, 833, 1200, disposition=D.SELLABLE, refunded=False),
    sold("R7", 5000, 833, 1500, disposition=D.SELLABLE, refund_type=RefundType.EXCHANGE),
    sold("R8", 3600, 600, 1100),
    sold("R9", 2500, 417, 800, disposition=D.SELLABLE, refunded=False, in_transit=True),
    sold("R10", 1400, 0, 400, rate=0, payment="PayPal", disposition=D.DISPOSE),
]
# fmt: on
ALL = ("R1", "R2", "R3", "R4", "R5", "R7", "R8")
# account, tax, debit, credit, from: as the specification prints it.
PRINTED = [
    ("4100", "20", 23748, 0, ALL),
    ("4101", "0", 1400, 0, ("R10",)),
    ("4110", "20", 412, 0, ("R5",)),
    ("2200", "20", 4833, 0, ALL),
    ("2200", "20", 0, 50, ("R3",)),
    ("4120", "20", 0, 250, ("R3",)),
    ("2310", "", 0, 4500, ("R4",)),
    ("2320", "", 0, 5000, ("R7",)),
    ("1260", "", 0, 19193, ("R1", "R2", "R3", "R5", "R8")),
    ("1261", "", 0, 1400, ("R10",)),
    ("1001", "", 7300, 0, ("R1", "R2", "R4", "R6", "R7", "R9")),
    ("1002", "", 600, 0, ("R2",)),
    ("1003", "", 900, 0, ("R3",)),
    ("5210", "", 400, 0, ("R10",)),
    ("1010", "", 1100, 0, ("R8",)),
    ("1010", "", 0, 800, ("R9",)),
    ("5050", "", 0, 9500, ("R1", "R2", "R3", "R4", "R6", "R7", "R8", "R10")),
]


def example() -> list[Posting]:
    return [posting for unit in EXAMPLE for posting in unit.postings()]


def units_of(keys: Iterable[str]) -> set[str]:
    return {key.rstrip("ab") for key in keys}


def test_the_worked_example_is_met_line_by_line_and_in_its_order() -> None:
    found = batch(example())
    assert found.id == "HRL-20260314-UKGBP-00"
    assert [
        (
            one.account,
            one.tax_key,
            one.amount_minor if one.side == "debit" else 0,
            one.amount_minor if one.side == "credit" else 0,
        )
        for one in found.lines
    ] == [row[:4] for row in PRINTED]
    assert [one.number for one in found.lines] == list(range(1, 18))
    assert [units_of(one.unit_keys) for one in found.lines] == [set(row[4]) for row in PRINTED]


def test_the_worked_examples_control_totals() -> None:
    totals = batch(example()).totals
    assert (totals["debit"], totals["credit"]) == (40693, 40693)
    assert (totals["refunds.shopify_payments"], totals["refunds.paypal"]) == (19193, 1400)
    assert totals["refunds"] == 19193 + 1400
    assert (totals["store_credit"], totals["exchange"]) == (4500, 5000)
    assert (totals["vat"], totals["vat_on_fees"], totals["fees"]) == (4833, 50, 250)
    assert (totals["gross"], totals["net"]) == (30393, 25560)
    assert totals["cost_restocked"] == 7300 + 600 + 900
    assert totals["units"] == 11


def test_a_late_arrival_joins_an_adjustment_and_leaves_the_sealed_batch_alone() -> None:
    sealed = batch(example())
    late = sold("R11", 2000, 333, None, at=datetime(2026, 3, 14, 22, 10, tzinfo=UTC))
    late = replace(late, unit=replace(late.unit, received=Fact(NOON, Precision.EXACT)))
    entered = [p for p in late.postings() if not p.role.startswith("returned_goods")]
    found = batch(entered, "01", kind="adjustment")
    assert found.id == "HRL-20260314-UKGBP-01"
    assert (found.origin_date, found.kind) == (DAY, "adjustment")
    assert [(one.account, one.side, one.amount_minor) for one in found.lines] == [
        ("4100", "debit", 1667),
        ("2200", "debit", 333),
        ("1260", "credit", 2000),
    ]
    assert batch(example()) == sealed


def test_original_and_adjustment_are_what_one_batch_would_have_been() -> None:
    entered = example()
    late = [p for p in entered if p.unit_key in {"R4", "R8"}]
    in_time = [p for p in entered if p.unit_key not in {"R4", "R8"}]
    sums: dict[tuple[str, str, str, str], int] = {}
    for part in (batch(in_time), batch(late, "01", kind="adjustment")):
        for one in part.lines:
            key = (one.role, one.account, one.tax_key, one.side)
            sums[key] = sums.get(key, 0) + one.amount_minor
    whole = {(o.role, o.account, o.tax_key, o.side): o.amount_minor for o in batch(entered).lines}
    assert sums == whole


def test_a_day_in_a_locked_period_is_dated_anew_and_keeps_its_origin() -> None:
    first_open = date(2026, 4, 1)
    found = batch(example(), "01", kind="adjustment", business_date=first_open)
    assert found.id == "HRL-20260401-UKGBP-01"
    assert found.origin_date == DAY
    assert found.hash != batch(example(), "01", kind="adjustment").hash


# --- bytes and hash ---------------------------------------------------------------


@given(st.permutations(example()))
def test_the_order_of_arrival_changes_no_byte(shuffled: list[Posting]) -> None:
    assert consolidation.canonical_bytes(batch(shuffled)) == consolidation.canonical_bytes(
        batch(example())
    )
    assert batch(shuffled).hash == batch(example()).hash


@pytest.mark.parametrize(
    "values",
    [
        {"policy_hash": "q"},
        {"kind": "adjustment"},
        {"origin_date": date(2026, 3, 13)},
        {"watermarks": {"linnworks": "2026-03-14T23:00:00+00:00"}},
        {"number": "01"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_whatever_is_sealed_is_in_the_hash(values: dict[str, object]) -> None:
    number = str(values.pop("number", "00"))
    assert batch(example(), number, **values).hash != batch(example()).hash


def test_a_penny_an_account_or_a_unit_changes_the_hash() -> None:
    plain = batch(pair(500))
    assert batch(pair(501)).hash != plain.hash
    assert batch([replace(p, unit_key="u2") for p in pair(500)]).hash != plain.hash
    assert batch([replace(p, account="9999") for p in pair(500)]).hash != plain.hash
    later = [replace(p, occurred_at=NOON + timedelta(seconds=1)) for p in pair(500)]
    assert batch(later).hash != plain.hash


def test_the_hash_does_not_depend_on_how_an_instant_is_written() -> None:
    summer = timedelta(hours=1)
    zone = datetime(2026, 3, 14, 13, tzinfo=UTC).astimezone().tzinfo
    assert zone is not None
    same = [replace(p, occurred_at=(p.occurred_at + summer - summer).astimezone(zone)) for p in
            pair(500)]  # fmt: skip
    assert batch(same).hash == batch(pair(500)).hash


# --- what is refused --------------------------------------------------------------


def pair(amount: int, unit: str = "u1", *, currency: str = "GBP") -> list[Posting]:
    base = Posting(
        f"{unit}:1", unit, "sales_returns", "4100", "20", "debit", amount, currency, NOON
    )
    other = replace(
        base, posting_key=f"{unit}:2", role="refund_clearing", account="1260", side="credit"
    )
    return [base, replace(other, tax_key="")]


def test_what_does_not_balance_is_never_sealed() -> None:
    with pytest.raises(Unbalanced, match="debit 500, credit 0"):
        batch(pair(500)[:1])


@pytest.mark.parametrize("amount", [0, -500])
def test_a_negative_debit_is_no_hidden_credit(amount: int) -> None:
    with pytest.raises(ValueError, match="debit"):
        batch(pair(amount))


def test_an_unknown_side_is_refused() -> None:
    with pytest.raises(ValueError, match="sideways"):
        batch([replace(pair(500)[0], side="sideways")])


def test_a_posting_in_another_currency_is_refused() -> None:
    with pytest.raises(ValueError, match="EUR"):
        batch(pair(500, currency="EUR"))


@pytest.mark.parametrize(("entity", "currency"), [("UKX", "GBP"), ("U", "GBP"), ("UK", "GB")])
def test_an_id_that_would_not_fit_a_ledger_is_refused(entity: str, currency: str) -> None:
    with pytest.raises(ValueError, match="21 characters"):
        consolidation.batch_id(DAY, entity, currency, "00")


@pytest.mark.parametrize("number", ["00", "01", "R1"])
def test_ids_have_21_characters(number: str) -> None:
    assert len(consolidation.batch_id(DAY, "UK", "GBP", number)) == 21


@pytest.mark.parametrize(
    ("taken", "kind", "number"),
    [
        (set(), "primary", "00"),
        ({"00"}, "adjustment", "01"),
        ({"00", "01"}, "replacement", "02"),
        (set(), "adjustment", "01"),  # dated an open day whose own batch is still to come
        ({f"{n:02d}" for n in range(100)}, "adjustment", "A0"),
        ({"00", "R1"}, "reversal", "R2"),
        ({f"R{n}" for n in range(1, 10)}, "reversal", "RA"),
    ],
)
def test_the_next_number_is_the_first_free_of_its_kind(
    taken: set[str], kind: str, number: str
) -> None:
    assert consolidation.next_number(taken, kind=kind) == number


def test_numbers_that_are_used_up_are_an_error_that_says_so() -> None:
    taken = {"00"}
    while len(taken) < 1000:
        number = consolidation.next_number(taken, kind="adjustment")
        assert number not in taken
        assert not number.startswith("R")
        taken.add(number)
    with pytest.raises(consolidation.NumbersUsedUp, match="Nothing was sealed"):
        consolidation.next_number(taken, kind="adjustment")


def test_a_batch_is_read_back_from_its_bytes() -> None:
    sealed = batch(example())
    assert consolidation.from_bytes(consolidation.canonical_bytes(sealed)) == sealed


# --- properties -------------------------------------------------------------------

ROLES = ["sales_returns", "vat_output", "refund_clearing.paypal", "inventory.b", "cogs_returns"]


@st.composite
def balanced(draw: st.DrawFn) -> list[Posting]:
    """Any day's postings: pairs of a debit and a credit, whatever their roles."""
    found = []
    for n in range(draw(st.integers(0, 12))):
        amount = draw(st.integers(1, 100_000))
        unit = f"u{draw(st.integers(0, 5))}"
        for side in ("debit", "credit"):
            role = draw(st.sampled_from(ROLES))
            tax = draw(st.sampled_from(["", "0", "20", "17.5"]))
            found.append(
                Posting(f"{n}:{side}", unit, role, role[:4], tax, side, amount, "GBP", NOON)
            )
    return found


@given(balanced())
def test_every_posting_is_in_exactly_one_line_and_none_is_netted(found: list[Posting]) -> None:
    sealed = batch(found)
    by_key: dict[tuple[str, str, str, str], list[Posting]] = {}
    for posting in found:
        key = (posting.role, posting.account, posting.tax_key, posting.side)
        by_key.setdefault(key, []).append(posting)
    lines = {(o.role, o.account, o.tax_key, o.side): o for o in sealed.lines}
    assert lines.keys() == by_key.keys()
    for key, of_line in by_key.items():
        assert lines[key].amount_minor == sum(p.amount_minor for p in of_line)
        assert lines[key].unit_keys == tuple(sorted({p.unit_key for p in of_line}))
        assert lines[key].unit_keys
    assert sealed.totals["debit"] == sealed.totals["credit"]
    assert sealed.totals["debit"] == sum(p.amount_minor for p in found if p.side == "debit")
    assert [o.number for o in sealed.lines] == list(range(1, len(lines) + 1))


@given(balanced(), st.randoms(use_true_random=False))
def test_the_hash_is_of_the_content_alone(found: list[Posting], chance: object) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert batch(shuffled).hash == batch(found).hash
