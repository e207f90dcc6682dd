"""Personal data never survives: not under odd names, not nested, not spelt otherwise."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_pipeline.domain.policy import HappyReturnsPolicy
from returns_pipeline.normalise import redaction
from returns_pipeline.settings import load

FIELDS = load({}, vendors=False).policy.happy_returns.fields
MAIL = "canary.shopper@example.com"
PERSON = "Canary Shopperson"
WORDS = f"please ring {PERSON} at the side door"


def redact(item: Any, *, ascii_only: bool = True) -> tuple[dict[str, Any], list[str]]:
    body, unknown = redaction.redact(json.dumps(item, ensure_ascii=ascii_only).encode(), FIELDS)
    assert b"anary" not in body
    assert "anary" not in "".join(unknown)
    return json.loads(body), unknown


@pytest.mark.parametrize(
    "name",
    [
        "email",
        "EMail",
        "customer_first_name",
        "customerPhone",
        "shippingAddressLine2",
        "postCode",
        "shopperComment",
        "buyerNote",
        "recipient",
        "telephone",
        "mobileNo",
        "zip",
        "city",
        "freeText",
        "qr_code",
        "imageURL",
        "Contact Person",
        "accountHolder",
    ],
)
def test_personal_fields_are_dropped_without_a_word(name: str) -> None:
    kept, _ = redact({name: "Canary", "sku": "A"})
    assert kept == {"sku": "A"}


@pytest.mark.parametrize(
    "value",
    [MAIL, PERSON, WORDS, {"a": PERSON}, [PERSON], [[MAIL]], {"a": [{"b": MAIL}]}, f"{MAIL} "],
)
def test_words_under_a_name_nobody_knows_are_dropped_and_the_name_is_told(value: Any) -> None:
    assert redact({"brandNew": value, "sku": "A"}) == ({"sku": "A"}, ["brandNew"])


@pytest.mark.parametrize(
    "value", ["grade-b", "2026-09-25T10:00:00Z", "5.00 USD", "", 7, 1.5, True, None, "a_b/c#1"]
)
def test_codes_numbers_and_instants_under_a_new_name_are_kept(value: Any) -> None:
    assert redact({"brandNew": value}) == ({"brandNew": value}, ["brandNew"])


@pytest.mark.parametrize("name", [MAIL, PERSON, "", "a\nb", "é", "x" * 65, "1st", "\x00"])
def test_an_odd_name_is_neither_kept_nor_told(name: str) -> None:
    kept, unknown = redact({name: "code"})
    assert kept == {}
    assert unknown == ["(a name that is no identifier)"]


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (MAIL, "***"),
        (f"for {MAIL}, soon", "for ***, soon"),
        ({"email": MAIL}, {}),
        (["bag-1", MAIL, {"x": MAIL}, [MAIL]], ["bag-1", "***"]),
        ("plain", "plain"),
        ([["bag"]], []),
        ('quoted " [x]', 'quoted " [x]'),
        ("naïve text", "naïve text"),
    ],
)
def test_a_known_field_keeps_what_is_not_personal_in_it(value: Any, left: Any) -> None:
    for ascii_only in (True, False):
        assert redact({"tracking": value}, ascii_only=ascii_only) == ({"tracking": left}, [])


@pytest.mark.parametrize(
    "spelt",
    [
        rb"canary.shopper\u0040example.com",
        rb"\u0063\u0061nary.shopper\u0040example.com",
        rb"canary.shopper@example.com \ud800",
        b"canary.shopper@example.com \xff",
        rb"canary.shopper\u0040example.com \ud83d\ude00",
    ],
)
@pytest.mark.parametrize(
    "where",
    [
        b'{"tracking": "%s"}',
        b'{"bagBarcodes": ["%s"]}',
        b'{"brandNew": "%s"}',
        b'{"sku": {"x": "%s"}}',
        b'{"sku": "A", "tracking": "%s", "carrier": "ups"}',
    ],
)
def test_an_address_spelt_otherwise_is_found(where: bytes, spelt: bytes) -> None:
    body, _ = redaction.redact(where % spelt, FIELDS)
    body.decode()  # what is stored is text
    assert "canary" not in json.dumps(json.loads(body))
    assert b"0040" not in body


def test_the_result_is_canonical_and_holds_each_name_once() -> None:
    first, _ = redaction.redact(b'{"sku": "A", "orderNumber":"1","sku": "B"}', FIELDS)
    second, _ = redaction.redact(b'{ "orderNumber": "1", "sku": "B" }', FIELDS)
    assert first == second == b'{"orderNumber":"1","sku":"B"}'


def test_what_is_published_but_not_read_is_not_called_drift() -> None:
    assert redact({"poNumber": "PO-1", "country": "US"})[1] == []


def test_the_policys_own_names_are_kept_whatever_they_sound_like(
    policy: HappyReturnsPolicy,
) -> None:
    assert redact({"productName": "Tee"})[0] == {"productName": "Tee"}
    body, _ = redaction.redact(b'{"productName": "Tee"}', {"sku": "sku"})
    assert body == b"{}"


# The canary stands anywhere in any JSON that is no plain value of a known field; there it
# can only be told by its form (an address).
NESTED = st.recursive(
    st.sampled_from([MAIL, PERSON, WORDS, "code", 1, None]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "name", MAIL, PERSON, "sku"]), inner, max_size=3)
    ),
    max_leaves=8,
)
UNKNOWN_NAMES = st.sampled_from(["brandNew", "giftTo", "x_1", MAIL, PERSON, "email", "notes"])
KNOWN = st.dictionaries(
    st.sampled_from(sorted(FIELDS.values())),
    st.recursive(
        st.sampled_from([MAIL, f"to <{MAIL}>", "code", 1, None]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just(MAIL), inner),
        max_leaves=6,
    ),
    max_size=6,
)


@given(st.dictionaries(UNKNOWN_NAMES, NESTED, max_size=6), KNOWN, st.booleans())
def test_no_canary_survives_anywhere(
    unknown: dict[str, Any], known: dict[str, Any], ascii_only: Any
) -> None:
    kept, _ = redact({**unknown, **known}, ascii_only=ascii_only)
    assert set(known) <= set(kept)


ODD = [
    b"[]",
    b"{",
    b"\xff",
    b"{}",
    b"[" * 2000,
    b'{"bagBarcodes": ["a",\n ["b"], "c"], "sku": "A"}',
    b'{"bagBarcodes": ["a",\n "b"], "sku": "A"}',
    b'{"sku": "x:[y", "bagBarcodes": [[1]]}',
    b'{"sku": "A \xe2\x82\xac", "tracking": "1", "sku": "B"}',
    b'{"sku": "\xff"}',
    rb'{"tracking": "canary\u0040example.com", "poNumber": "two words", "sku": "A"}',
    b'{"poNumber": "' + b"1" * 65 + b'", "country": "1 GBP", "categoryID": 7}',
]


@given(
    st.lists(
        st.sampled_from(ODD)
        | st.builds(
            lambda unknown, known: json.dumps({**unknown, **known}, ensure_ascii=False).encode(),
            st.dictionaries(UNKNOWN_NAMES, NESTED, max_size=3),
            KNOWN,
        ),
        max_size=12,
    )
)
def test_many_at_once_are_redacted_as_one_by_one(raws: list[bytes]) -> None:
    raws = raws * 11  # more than are looked at together
    one_by_one = []
    for raw in raws:
        body, unknown = redaction.redact(raw, FIELDS)
        one_by_one.append((body.decode(), sorted(unknown)))
    together = redaction.redact_all(raws, FIELDS)
    assert [(body, sorted(names.splitlines())) for body, names in together] == one_by_one
