"""Batches to export: the specification's worked example, and any that could be."""

from dataclasses import replace
from datetime import date
from typing import Any

from hypothesis import strategies as st

from returns_pipeline.domain.policy import LedgerPolicy
from returns_pipeline.reporting.exports.journal import Journal, Ledger, Line
from returns_pipeline.settings import load

POLICY = load({}, vendors=False).policy


def ledger(target: str, **changes: Any) -> Ledger:
    """The packaged policy's names for a target."""
    own = POLICY.exports.ledgers[target]
    options = {**own.options, **changes.pop("options", {})}
    return Ledger(
        replace(own, options=options, **changes),
        POLICY.exports.account_names,
        POLICY.finance.accounts["vat_rounding_difference"],
    )


def journal(lines: list[tuple[Any, ...]], **changes: Any) -> Journal:
    """A batch of lines: role, account, tax key, signed pence, units."""
    made = Journal(
        batch_id="HRL-20260314-UKGBP-00",
        kind="primary",
        business_date=date(2026, 3, 14),
        origin_date=date(2026, 3, 14),
        entity="UK",
        channel_group="",
        currency="GBP",
        base_currency="GBP",
        hash="c0ffee",
        totals={"debit": 2000},
        lines=tuple(
            Line(number, role, account, tax, minor, tuple(units.split()))
            for number, (role, account, tax, minor, units) in enumerate(lines, start=1)
        ),
    )
    return replace(made, **changes)


# FINANCE.md, section 5.
EXAMPLE = journal(
    [
        ("sales_returns", "4100", "20", 237_48, "R1 R2 R3 R4 R5 R7 R8"),
        ("sales_returns", "4101", "0", 14_00, "R10"),
        ("shipping_refunded", "4110", "20", 4_12, "R5"),
        ("vat_output", "2200", "20", 48_33, "R1 R2 R3 R4 R5 R7 R8"),
        ("vat_output", "2200", "20", -50, "R3"),
        ("return_fee_income", "4120", "20", -2_50, "R3"),
        ("store_credit_liability", "2310", "", -45_00, "R4"),
        ("exchange_clearing", "2320", "", -50_00, "R7"),
        ("refund_clearing.shopify_payments", "1260", "", -191_93, "R1 R2 R3 R5 R8"),
        ("refund_clearing.paypal", "1261", "", -14_00, "R10"),
        ("inventory.sellable", "1001", "", 73_00, "R1 R2 R4 R6 R7 R9"),
        ("inventory.damaged", "1002", "", 6_00, "R2"),
        ("inventory.quarantine", "1003", "", 9_00, "R3"),
        ("returns_writeoff", "5210", "", 4_00, "R10"),
        ("returned_goods_in_transit", "1010", "", 11_00, "R8"),
        ("returned_goods_in_transit", "1010", "", -8_00, "R9"),
        ("cogs_returns", "5050", "", -95_00, "R1 R2 R3 R4 R6 R7 R8 R10"),
    ]
)


def reversal(of: Journal) -> Journal:
    """The batch taken back, line by line."""
    return replace(
        of,
        batch_id=f"{of.batch_id[:-2]}R1",
        kind="reversal",
        of_batch=of.batch_id,
        lines=tuple(replace(line, minor=-line.minor) for line in of.lines),
    )


# A line of a unit: rate, gross pence, a fee kept, how it is paid.
_UNIT = st.tuples(
    st.sampled_from(["20", "5", "0"]),
    st.integers(1, 99_999),
    st.integers(0, 300),
    st.sampled_from(["refund_clearing.shopify_payments", "store_credit_liability"]),
)
_ACCOUNTS = {
    "refund_clearing.shopify_payments": "1260",
    "store_credit_liability": "2310",
    "sales_returns": "4100",
    "return_fee_income": "4120",
    "vat_output": "2200",
}


def _within(gross: int, rate: str) -> int:
    return round(gross * int(rate) / (100 + int(rate)))


@st.composite
def batches(draw: st.DrawFn) -> Journal:
    """A batch of units each rounded by itself, as a day's are."""
    sums: dict[tuple[str, str, bool], int] = {}
    units: dict[tuple[str, str, bool], set[str]] = {}

    def add(unit: str, role: str, tax: str, minor: int) -> None:
        if minor:
            key = (role, tax, minor > 0)
            sums[key] = sums.get(key, 0) + minor
            units.setdefault(key, set()).add(unit)

    for number, (rate, gross, kept, tender) in enumerate(draw(st.lists(_UNIT, min_size=1))):
        unit, fee = f"u{number}", min(kept, gross)
        vat, fee_vat = _within(gross, rate), _within(fee, rate)
        add(unit, "sales_returns", rate, gross - vat)
        add(unit, "vat_output", rate, vat)
        add(unit, "return_fee_income", rate, fee_vat - fee)
        add(unit, "vat_output", rate, -fee_vat)
        add(unit, tender, "", fee - gross)
    lines = [
        (role, _ACCOUNTS[role], tax, minor, " ".join(sorted(units[role, tax, side])))
        for (role, tax, side), minor in sorted(sums.items())
    ]
    made = journal(lines)
    return reversal(made) if draw(st.booleans()) else made


__all__ = ["EXAMPLE", "LedgerPolicy", "batches", "journal", "ledger", "reversal"]
