import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_pipeline.domain import money


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("19.99", "GBP", 1999),
        (" 5 ", "GBP", 500),
        ("0.5", "EUR", 50),
        ("-3.00", "GBP", -300),
        ("1200", "JPY", 1200),
        ("1200.00", "JPY", 1200),
        ("1.234", "KWD", 1234),
        ("5.000", "GBP", 500),
    ],
)
def test_a_decimal_text_is_read_in_its_currency(text: str, currency: str, minor: int) -> None:
    assert money.parse_minor(text, currency) == minor


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("19.999", "GBP"),
        ("0.5", "JPY"),
        ("1.2345", "KWD"),
        ("NaN", "GBP"),
        ("inf", "GBP"),
        ("1e3", "GBP"),
        ("", "GBP"),
        ("  ", "GBP"),
        ("1,234.50", "GBP"),
        ("1_000", "GBP"),
        ("٣", "GBP"),
        ("5.", "GBP"),
        (".5", "GBP"),
        ("--1", "GBP"),
    ],
)
def test_what_is_no_plain_amount_is_refused(text: str, currency: str) -> None:
    with pytest.raises(ValueError, match="decimal"):
        money.parse_minor(text, currency)


@pytest.mark.parametrize("currency", ["GBX", "gbp", "", "EURO"])
def test_an_unknown_currency_is_named(currency: str) -> None:
    with pytest.raises(ValueError, match=f"'{currency}' is not an ISO 4217 currency"):
        money.exponent(currency)


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (123450, "GBP", "1234.50"),
        (5, "GBP", "0.05"),
        (-5, "GBP", "-0.05"),
        (0, "GBP", "0.00"),
        (1200, "JPY", "1200"),
        (1, "KWD", "0.001"),
    ],
)
def test_minor_units_are_printed_plainly(minor: int, currency: str, text: str) -> None:
    assert money.format_minor(minor, currency) == text


@given(st.integers(-(10**12), 10**12), st.sampled_from(["GBP", "JPY", "KWD", "USD"]))
def test_what_is_printed_is_read_back(minor: int, currency: str) -> None:
    assert money.parse_minor(money.format_minor(minor, currency), currency) == minor


def test_an_amount_that_names_its_currency() -> None:
    assert money.parse_amount_with_currency("5.00 USD") == (500, "USD")
    assert money.parse_amount_with_currency(" 5.00  usd ") == (500, "USD")
    for text in ("5.00", "USD 5.00", "5.00 USD extra", ""):
        with pytest.raises(ValueError, match=r"4217|decimal"):
            money.parse_amount_with_currency(text)


@pytest.mark.parametrize(
    ("numerator", "denominator", "result"),
    [(5, 2, 3), (-5, 2, -3), (4, 2, 2), (1, 3, 0), (2, 3, 1), (-2, 3, -1), (0, 7, 0)],
)
def test_halves_go_away_from_zero(numerator: int, denominator: int, result: int) -> None:
    assert money.half_up_div(numerator, denominator) == result


def test_three_units_of_the_worked_line_reverse_its_whole_vat() -> None:
    # FINANCE 3: naive rounding of each unit gives 9.99.
    assert [money.share(1000, 3, n) for n in range(3)] == [333, 334, 333]
    assert [money.share(5997, 3, n) for n in range(3)] == [1999, 1999, 1999]


@given(st.integers(-(10**9), 10**9), st.integers(1, 200))
def test_shares_sum_to_the_total_and_differ_by_at_most_a_penny(total: int, quantity: int) -> None:
    shares = [money.share(total, quantity, n) for n in range(quantity)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(
    ("gross", "rate_bp", "vat"),
    [
        (6000, 2000, 1000),
        (495, 2000, 83),
        (300, 2000, 50),
        (-300, 2000, -50),
        (1400, 0, 0),
        (105, 500, 5),
    ],
)
def test_the_vat_inside_a_gross_amount(gross: int, rate_bp: int, vat: int) -> None:
    assert money.vat_within(gross, rate_bp) == vat


@given(st.integers(0, 10**9), st.integers(0, 5000))
def test_vat_is_symmetric_and_never_above_the_gross(gross: int, rate_bp: int) -> None:
    vat = money.vat_within(gross, rate_bp)
    assert 0 <= vat <= gross
    assert money.vat_within(-gross, rate_bp) == -vat
