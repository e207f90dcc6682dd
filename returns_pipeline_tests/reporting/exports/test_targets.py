"""Every target's files are taken by its program, and what it books is the batch."""

import hashlib
from collections import defaultdict
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given

from returns_pipeline.reporting.exports import TARGETS
from returns_pipeline.reporting.exports.journal import Journal, Refused
from returns_pipeline_tests.reporting.exports.batches import (
    EXAMPLE,
    batches,
    journal,
    ledger,
    reversal,
)
from returns_pipeline_tests.reporting.exports.ledgers import (
    NetSuite,
    QuickBooks,
    Sage50,
    Xero,
    cells,
)


def files(target: str, *journals: Journal, **changes: Any) -> dict[str, bytes]:
    return dict(TARGETS[target].write("2026-03-14", journals, ledger(target, **changes)).files)


def imported(program: Any, target: str, *journals: Journal, **changes: Any) -> Any:
    for content in files(target, *journals, **changes).values():
        program.import_file(content)
    return program


def by_account(*journals: Journal, vat: bool = True) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for one in journals:
        for line in one.lines:
            if vat or not line.is_vat:
                found[line.account] += line.minor
    return {account: minor for account, minor in found.items() if minor}


def some(books: dict[str, int]) -> dict[str, int]:
    return {account: minor for account, minor in books.items() if minor}


# --- the worked example, to the penny ---------------------------------------------------


def test_xero_computes_47_82_of_vat_and_the_penny_is_a_line_of_its_own() -> None:
    xero = imported(Xero(), "xero", EXAMPLE)
    assert xero.vat == 47_82
    assert some(xero.books) == {**by_account(EXAMPLE, vat=False), "8290": 1}
    assert xero.journals == [("HRL-20260314-UKGBP-00 returns of 14 March 2026", date(2026, 3, 14))]


def test_quickbooks_books_the_example_as_it_is() -> None:
    books = imported(QuickBooks(), "quickbooks", EXAMPLE)
    assert some(books.books) == by_account(EXAMPLE)
    assert books.numbers == {"HRL-20260314-UKGBP-00": date(2026, 3, 14)}


def test_sage_books_the_example_and_its_vat_return_has_all_of_it() -> None:
    sage = imported(Sage50(), "sage50", EXAMPLE)
    assert some(sage.books) == by_account(EXAMPLE)
    assert sage.vat_return == 47_83
    assert sage.customers == {"RETURNS": 0}


def test_netsuite_books_the_example_under_its_id() -> None:
    suite = imported(NetSuite(), "netsuite", EXAMPLE)
    assert some(suite.books) == by_account(EXAMPLE)
    assert suite.entries == {"HRL-20260314-UKGBP-00": (date(2026, 3, 14), "GBP")}


# --- any batch ------------------------------------------------------------------------


@given(made=batches())
def test_xero_takes_any_batch_and_only_pennies_are_rounding(made: Journal) -> None:
    xero = imported(Xero(), "xero", made)
    rounding = xero.books.pop("8290", 0)
    assert abs(rounding) <= len(made.lines) + len({u for line in made.lines for u in line.units})
    assert some(xero.books) == by_account(made, vat=False)
    assert xero.vat + rounding == by_account(made).get("2200", 0)


@given(made=batches())
def test_sage_takes_any_batch_without_a_rounding_line(made: Journal) -> None:
    sage = imported(Sage50(), "sage50", made)
    assert some(sage.books) == by_account(made)
    assert sage.vat_return == by_account(made).get("2200", 0)
    assert not any(sage.customers.values())


@given(made=batches())
def test_quickbooks_and_netsuite_book_any_batch_as_it_is(made: Journal) -> None:
    assert some(imported(QuickBooks(), "quickbooks", made).books) == by_account(made)
    assert some(imported(NetSuite(), "netsuite", made).books) == by_account(made)


@given(made=batches())
def test_a_batch_and_its_reversal_leave_nothing_in_any_program(made: Journal) -> None:
    pair = (made, reversal(made) if made.kind == "primary" else _forward(made))
    for program, target in (
        (Xero(), "xero"),
        (QuickBooks(), "quickbooks"),
        (Sage50(), "sage50"),
        (NetSuite(), "netsuite"),
    ):
        assert some(imported(program, target, *pair).books) == {}, target


def _forward(made: Journal) -> Journal:
    flipped = tuple(replace(line, minor=-line.minor) for line in made.lines)
    return replace(made, batch_id=made.of_batch, kind="primary", lines=flipped)


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_batches_give_the_same_bytes_and_a_hash_of_each_batchs_own(target: str) -> None:
    both = (EXAMPLE, reversal(EXAMPLE))
    first, again = (TARGETS[target].write("x", both, ledger(target)) for _ in range(2))
    assert first == again
    alone = TARGETS[target].write("y", both[:1], ledger(target))
    assert alone.hashes == {EXAMPLE.batch_id: first.hashes[EXAMPLE.batch_id]}


# --- 300 lines a file -----------------------------------------------------------------


def wide(lines: int, tax: str = "20", start: int = 1) -> Journal:
    """A batch of many lines, as dimensions make them."""
    goods = [
        ("sales_returns", f"{4100}", tax, 33 + n, f"u{n}") for n in range(start, start + lines)
    ]
    net = sum(one[3] for one in goods)
    vat = net // 5
    tender = ("refund_clearing", "1260", "", -net - vat, "u1")
    return journal([*goods, ("vat_output", "2200", tax, vat, "u1"), tender])


def test_a_batch_of_more_than_300_lines_becomes_journals_that_balance_by_themselves() -> None:
    made = wide(700)
    content = files("xero", made)
    assert list(content) == [f"2026-03-14-part{n}.csv" for n in (1, 2, 3)]
    assert [len(cells(one)) - 1 for one in content.values()][:2] == [300, 300]
    xero = imported(Xero(), "xero", made)
    assert [narration for narration, _ in xero.journals] == [
        f"HRL-20260314-UKGBP-00 returns of 14 March 2026, part {n} of 3" for n in (1, 2, 3)
    ]
    assert xero.books["9998"] == 0
    books = {k: v for k, v in some(xero.books).items() if k != "8290"}
    assert books == by_account(made, vat=False)


def test_journals_of_a_month_share_files_and_none_is_cut() -> None:
    many = [
        replace(wide(120), batch_id=f"HRL-202603{n:02d}-UKGBP-00", origin_date=date(2026, 3, n))
        for n in range(1, 6)
    ]
    content = files("xero", *many)
    assert [len(cells(one)) - 1 for one in content.values()] == [242, 242, 121]
    assert len(imported(Xero(), "xero", *many).journals) == 5


# --- names ----------------------------------------------------------------------------


def test_a_tax_rate_without_a_name_is_named_with_batch_and_line() -> None:
    odd = journal(
        [("sales_returns", "4100", "17.5", 1000, "a"), ("vat_output", "2200", "17.5", 175, "a"),
         ("refund_clearing", "1260", "", -1175, "a")]
    )  # fmt: skip
    for target, table in (("xero", "[exports.xero.tax_rates]"), ("sage50", "[exports.sage50")):
        with pytest.raises(Refused) as told:
            files(target, EXAMPLE, odd)
        assert all("17.5" in one and table in one for one in told.value.problems)
        assert "HRL-20260314-UKGBP-00 line 01 (sales_returns, account 4100)" in str(told.value)


def test_an_account_without_a_name_is_named_where_programs_go_by_name() -> None:
    odd = journal(
        [("sales_returns", "4999", "0", 5, "a"), ("refund_clearing", "1260", "", -5, "a")]
    )
    for target in ("quickbooks", "netsuite"):
        with pytest.raises(Refused, match=r"line 01 \(sales_returns, account 4999\)"):
            files(target, odd)
        named = {"4999": "Sales Returns" if target == "quickbooks" else "4100 Sales Returns"}
        assert files(target, odd, accounts=named)
    assert files("xero", odd)
    assert files("sage50", odd)


def test_an_accounts_own_code_in_the_program_is_what_is_written() -> None:
    assert (
        b",261,20% (VAT on Income),237.48,"
        in files("xero", EXAMPLE, accounts={"4100": "261"})["2026-03-14.csv"]
    )


def test_a_name_that_is_a_formula_is_none_and_figures_stay_figures() -> None:
    evil = "=HYPERLINK(1)"
    named = files("quickbooks", EXAMPLE, accounts={"4100": evil}, options={"class": "@SUM(1)"})
    _, first, *_ = cells(named["2026-03-14.csv"])
    assert (first[2], first[3], first[9]) == (f"'{evil}", "237.48", "'@SUM(1)")
    xero = cells(files("xero", EXAMPLE, accounts={"4100": evil})["2026-03-14.csv"])
    assert xero[1][3] == f"'{evil}"
    assert "-191.93" in [row[5] for row in xero]


@pytest.mark.parametrize(
    ("form", "written"), [("dd/mm/yyyy", "14/03/2026"), ("mm/dd/yyyy", "03/14/2026")]
)
def test_dates_are_as_the_companys_region_has_them(form: str, written: str) -> None:
    for target in ("quickbooks", "netsuite"):
        rows = cells(files(target, EXAMPLE, options={"date_format": form})["2026-03-14.csv"])
        assert {row[1] for row in rows[1:]} == {written}


# --- what no program takes --------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "least"),
    [("sage50", 10**10), ("netsuite", 10**12), ("quickbooks", 10**12), ("xero", 10**12)],
)
def test_an_amount_that_no_field_holds_is_refused_and_one_below_is_not(
    target: str, least: int
) -> None:
    def big(minor: int) -> Journal:
        lines = [("inventory.sellable", "1001", "", minor), ("cogs_returns", "5050", "", -minor)]
        return journal([(*line, "a") for line in lines])

    assert files(target, big(least - 1))
    with pytest.raises(Refused, match="digits before the point"):
        files(target, big(least))


@pytest.mark.parametrize("target", ["xero", "quickbooks", "sage50", "netsuite"])
def test_a_currency_with_three_decimals_is_refused(target: str) -> None:
    with pytest.raises(Refused, match="KWD has 3 decimals"):
        files(target, replace(EXAMPLE, currency="KWD"))


@pytest.mark.parametrize("target", ["xero", "quickbooks", "sage50", "netsuite"])
def test_a_batch_that_does_not_balance_is_refused(target: str) -> None:
    broken = replace(EXAMPLE, lines=EXAMPLE.lines[:-1])
    with pytest.raises(Refused, match="debits and credits differ by 9500"):
        files(target, broken)


def test_vat_that_is_not_what_xero_would_compute_is_refused_not_rounded() -> None:
    wrong = journal(
        [("sales_returns", "4100", "5", 1000, "a"), ("vat_output", "2200", "5", 200, "a"),
         ("refund_clearing", "1260", "", -1200, "a")]
    )  # fmt: skip
    with pytest.raises(Refused, match=r"differs by 1\.50 GBP"):
        files("xero", wrong)


def test_vat_that_has_no_net_reaches_sages_vat_return() -> None:
    penny = journal(
        [("vat_output", "2200", "20", 1, "a"), ("refund_clearing", "1260", "", -1, "a")]
    )
    assert imported(Sage50(), "sage50", penny).vat_return == 1


# --- other currencies -----------------------------------------------------------------

EURO = replace(
    EXAMPLE,
    currency="EUR",
    lines=tuple(replace(line, base_minor=2 * line.minor) for line in EXAMPLE.lines),
)


def test_a_batch_in_another_currency_goes_to_a_base_currency_program_in_the_merchants() -> None:
    taken = ledger("xero").taken(EURO)
    assert taken is not None
    assert (taken.currency, taken.converted_from) == ("GBP", "EUR")
    xero = imported(Xero(), "xero", taken)
    doubled = {account: 2 * minor for account, minor in by_account(EXAMPLE, vat=False).items()}
    assert some(xero.books) == {**doubled, "8290": 2}
    assert xero.vat == 95_64
    assert "EUR in GBP" in xero.journals[0][0]


def test_a_batch_without_a_rate_is_not_for_a_base_currency_program() -> None:
    assert ledger("xero").taken(replace(EXAMPLE, currency="EUR")) is None
    assert ledger("quickbooks").taken(replace(EXAMPLE, currency="EUR")) is not None


def test_a_difference_of_rates_is_no_line_of_the_foreign_journal() -> None:
    difference = replace(EURO.lines[0], number=18, role="fx_difference", minor=0, base_minor=3)
    made = replace(EURO, lines=(*EURO.lines, difference))
    assert some(imported(NetSuite(), "netsuite", made).books) == by_account(EXAMPLE)


# --- the generic journal ----------------------------------------------------------------


def test_the_generic_manifest_says_what_its_csv_must_be() -> None:
    content = files("generic", EXAMPLE)
    assert list(content) == ["HRL-20260314-UKGBP-00.csv", "HRL-20260314-UKGBP-00.json"]
    digest = hashlib.sha256(content["HRL-20260314-UKGBP-00.csv"]).hexdigest()
    assert digest.encode() in content["HRL-20260314-UKGBP-00.json"]
