"""Money as integer minor units: reading, printing, splitting, VAT.

All rounding is half away from zero ("half up"), in integers. Not here: who is owed what
(``refunds``).
"""

from __future__ import annotations

import re
from fractions import Fraction

# ISO 4217, by how many decimals the minor unit has. Many on a line: one each says no more.
# fmt: off
_WHOLE = (
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND",
    "VUV", "XAF", "XOF", "XPF",
)
_THOUSANDTHS = (
    "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND",
)
_HUNDREDTHS = (
    "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT",
    "BGN", "BMD", "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF",
    "CNY", "COP", "CRC", "CUP", "CVE", "CZK", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR",
    "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF",
    "IDR", "ILS", "INR", "IRR", "JMD", "KES", "KGS", "KHR", "KPW", "KYD", "KZT", "LAK", "LBP",
    "LKR", "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR",
    "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "PAB", "PEN", "PGK",
    "PHP", "PKR", "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD",
    "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TOP",
    "TRY", "TTD", "TWD", "TZS", "UAH", "USD", "UYU", "UZS", "VED", "VES", "WST", "XCD", "XCG",
    "YER", "ZAR", "ZMW", "ZWG", "ZWL",
)
# fmt: on
_EXPONENTS = {
    **dict.fromkeys(_WHOLE, 0),
    **dict.fromkeys(_HUNDREDTHS, 2),
    **dict.fromkeys(_THOUSANDTHS, 3),
}
CURRENCIES = frozenset(_EXPONENTS)
"""Every ISO 4217 code that has a minor unit."""
_DECIMAL = re.compile(r"([+-]?)([0-9]{1,15})(?:\.([0-9]{1,6}))?")
# A typed table: an int to an int power is Any to the type checker.
_SCALE = (1, 10, 100, 1000)


def exponent(currency: str) -> int:
    """How many decimals the currency has (ISO 4217).

    Raises:
        ValueError: When the code is not a currency.
    """
    places = _EXPONENTS.get(currency)
    if places is None:
        msg = f"{currency!r} is not an ISO 4217 currency"
        raise ValueError(msg)
    return places


def parse_minor(text: str, currency: str) -> int:
    """A decimal text as minor units: ``"19.99"``, GBP: 1999.

    Decimals beyond the currency's own may only be zeros (``"5.000"``): nothing is rounded.

    Raises:
        ValueError: When it is no plain decimal, or has more decimals than the currency.
    """
    places = exponent(currency)
    found = _DECIMAL.fullmatch(text.strip())
    if found is None:
        msg = f"{text!r} is not a plain decimal amount"
        raise ValueError(msg)
    sign, whole, decimals = found[1], found[2], (found[3] or "")
    if decimals[places:].strip("0"):
        msg = f"{text!r} has more decimals than {currency} has"
        raise ValueError(msg)
    minor = int(whole) * _SCALE[places] + int(decimals[:places].ljust(places, "0") or "0")
    return -minor if sign == "-" else minor


def format_minor(minor: int, currency: str) -> str:
    """Minor units as a plain decimal text: 1999, GBP: ``"19.99"``."""
    places = exponent(currency)
    sign, digits = ("-", -minor) if minor < 0 else ("", minor)
    if not places:
        return f"{sign}{digits}"
    whole, part = divmod(digits, _SCALE[places])
    return f"{sign}{whole}.{part:0{places}d}"


def parse_amount_with_currency(text: str) -> tuple[int, str]:
    """An amount that names its currency, ``"5.00 USD"``: (500, ``"USD"``).

    Raises:
        ValueError: When it is not an amount and a currency code.
    """
    amount, _, currency = text.strip().partition(" ")
    currency = currency.strip().upper()
    return parse_minor(amount, currency), currency


def half_up_div(numerator: int, denominator: int) -> int:
    """Integer division, halves away from zero; the denominator positive."""
    if numerator < 0:
        return -half_up_div(-numerator, denominator)
    return (2 * numerator + denominator) // (2 * denominator)


def half_up(amount: Fraction) -> int:
    """An exact amount as a whole number, halves away from zero."""
    return half_up_div(amount.numerator, amount.denominator)


def converted(minor: int, currency: str, rate: Fraction, into: str) -> Fraction:
    """An amount in another currency, exact: nothing is rounded before it is summed.

    Args:
        minor: Minor units of ``currency``.
        currency: ISO 4217.
        rate: Units of ``into`` for one unit of ``currency``.
        into: ISO 4217; the answer is in its minor units.
    """
    return minor * rate * _SCALE[exponent(into)] / _SCALE[exponent(currency)]


def share(total: int, quantity: int, unit_no: int) -> int:
    """What unit ``unit_no`` (0-based) of ``quantity`` bears of a line's total.

    Cumulative: the units of a line always sum to its total. A line of 1000 (VAT) over
    three units gives 333, 334, 333.
    """
    return half_up_div(total * (unit_no + 1), quantity) - half_up_div(total * unit_no, quantity)


def vat_within(gross: int, rate_bp: int) -> int:
    """The VAT inside a gross amount, rate in basis points."""
    return half_up_div(gross * rate_bp, 10_000 + rate_bp)
