"""Happy Returns items as units: every field, and every way it can be wrong."""

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_pipeline.domain.model import Fact, Precision, RefundType, Unit
from returns_pipeline.domain.policy import HappyReturnsPolicy
from returns_pipeline.normalise import happy_returns as hr
from returns_pipeline.normalise import redaction
from returns_pipeline.settings import load

POLICY = load({}, vendors=False).policy.happy_returns
SEEN = datetime(2026, 10, 1, 12, tzinfo=UTC)

ITEM: dict[str, Any] = {
    "happyReturnsItemID": "item-1",
    "happyReturnsReturnID": "ret-1",
    "happyReturnsExpressCode": "HRQ7TNDK",
    "externalRMAID": "RMA-1",
    "orderNumber": "#100418",
    "orderLineItemID": "15502348800113-0-2",
    "sku": "TEE-NAVY-M",
    "returnReasonID": "too-small",
    "dropoffMethod": "mail",
    "status": "received",
    "startedAt": "2026-09-20T10:00:00-04:00",
    "droppedOffAt": "2026-09-21T10:00:00Z",
    "approvedAt": "2026-09-22T10:00:00.250+00:00",
    "departedAt": "2026-09-23T10:00:00Z",
    "receivedAt": "2026-09-25T10:00:00Z",
    "updatedAt": "2026-09-26T10:00:00Z",
    "disposition": "saleable",
    "refundType": "exchange",
    "refundAmount": "19.99",
    "shippingRefundAmount": "4.95",
    "returnFee": "5.00 USD",
    "currency": "gbp",
    "returnless": False,
    "exchangeSKU": "TEE-NAVY-L",
    "exchangeQuantity": 1,
    "exchangeUnitPrice": "21.00",
}


def unit_of(raw: bytes, source: str = "return", currency: str = "GBP") -> Unit:
    columns = hr.readings(
        [raw],
        keys=["k"],
        hashes=["h"],
        source=source,
        policy=POLICY,
        default_currency=currency,
        observed_at=SEEN,
    )
    (found,) = hr.units(columns)
    return found


def unit(source: str = "return", without: str = "", **changes: Any) -> Unit:
    item = {name: value for name, value in {**ITEM, **changes}.items() if name != without}
    return unit_of(json.dumps(item).encode(), source)


def at(day: int, hour: int = 10) -> datetime:
    return datetime(2026, 9, day, hour, tzinfo=UTC)


def test_every_field_of_the_adapter_is_read() -> None:
    found = unit()
    assert found == Unit(
        unit_key="k",
        return_id="ret-1",
        order_number="#100418",
        order_key="100418",
        line_item_id="15502348800113-0-2",
        sku="TEE-NAVY-M",
        started=Fact(at(20, 14), Precision.EXACT),
        dropped_off=Fact(at(21), Precision.EXACT),
        approved=Fact(at(22).replace(microsecond=250_000), Precision.EXACT),
        departed=Fact(at(23), Precision.EXACT),
        received=Fact(at(25), Precision.EXACT),
        expired=None,
        cancelled=None,
        status="received",
        dropoff_method="mail",
        disposition_code="saleable",
        disposition_at=at(26),
        refund_type=RefundType.EXCHANGE,
        refund_amount_minor=1999,
        shipping_refund_minor=495,
        fee_minor=500,
        fee_currency="USD",
        currency="GBP",
        returnless=False,
        exchange_sku="TEE-NAVY-L",
        exchange_quantity=1,
        exchange_unit_price_minor=2100,
        reason_code="too-small",
        updated_at=at(26),
        source_rank=1,
        payload_hash="h",
        problems=(),
    )


@pytest.mark.parametrize("name", sorted(ITEM))
@pytest.mark.parametrize("value", [None, ""])
def test_null_and_empty_are_the_same_as_absent(name: str, value: Any) -> None:
    assert unit(**{name: value}) == unit(without=name)


MUST = {"happyReturnsReturnID": "return_id:missing", "orderNumber": "order_number:missing"}


@pytest.mark.parametrize("name", sorted(ITEM))
def test_only_return_and_order_must_be_there(name: str) -> None:
    wanted = (MUST[name],) if name in MUST else ()
    assert unit(without=name).problems == wanted


@pytest.mark.parametrize("name", sorted(set(ITEM) - {"happyReturnsItemID"}))
@pytest.mark.parametrize("value", [{"a": 1}, [1], [], {}, 1.5, True, "\x00", "x" * 300])
def test_a_field_of_the_wrong_kind_is_a_problem_of_that_field_alone(name: str, value: Any) -> None:
    if (
        value == "\x00"
        or (value is True and name == "returnless")
        or (value == 1.5 and name.endswith(("Amount", "UnitPrice")))
    ):
        return  # blank text; a fair value
    fine, found = unit(), unit(**{name: value})
    if name in {"happyReturnsExpressCode", "externalRMAID"}:
        assert found == fine  # not part of a unit
        return
    assert found.problems
    ours = next(key for key, vendor in POLICY.fields.items() if vendor == name)
    assert {problem.partition(":")[0] for problem in found.problems} == {ours}
    assert found.unit_key == "k"
    assert "x" * 60 not in "".join(found.problems)


# --- instants ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-09-25",
        "2026-13-01T00:00:00Z",
        "2026-09-25T25:00:00Z",
        "20260925T100000Z",
        "2026-W39-5T10:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        " 2026-09-25T10:00:00Z",
        1_758_794_400,
    ],
)
def test_what_is_no_instant_is_not_guessed(text: Any) -> None:
    found = unit(without="status", receivedAt=text)
    assert found.received is None or found.received.precision is Precision.INFERRED
    assert found.problems == ("received_at:not an instant",)


def test_an_instant_without_its_offset_is_ambiguous_and_not_guessed() -> None:
    found = unit(receivedAt="2026-09-25T10:00:00", status="started")
    assert found.received is None
    assert found.problems == ("received_at:CLOCK_AMBIGUOUS an instant without its offset",)


def test_a_status_whose_instant_is_not_told_happened_at_the_last_change_at_the_latest() -> None:
    assert unit(without="receivedAt").received == Fact(at(26), Precision.INFERRED)
    neither = unit(receivedAt=None, updatedAt=None)
    assert neither.received == Fact(SEEN, Precision.INFERRED)
    assert neither.updated_at == SEEN


@pytest.mark.parametrize("status", ["started", "approved", "weird"])
def test_a_unit_with_its_receipt_is_received_whatever_its_status_says(status: str) -> None:
    assert unit(status=status).received == Fact(at(25), Precision.EXACT)


@pytest.mark.parametrize(
    ("status", "stage"),
    [
        ("in-transit", "departed"),
        ("IN_TRANSIT", "departed"),
        ("Dropped Off", "dropped_off"),
        ("returned", "received"),
        ("received", "received"),
        ("expired", "expired"),
        ("cancelled", "cancelled"),
    ],
)
def test_a_status_is_understood_however_it_is_written(status: str, stage: str) -> None:
    raw = {"happyReturnsReturnID": "r", "orderNumber": "1", "status": status}
    found = unit_of(json.dumps(raw).encode())
    assert getattr(found, stage) == Fact(SEEN, Precision.INFERRED)
    assert found.problems == ()


def test_the_outbound_feed_tells_dates_and_is_partial() -> None:
    dates = {"startedDate": "2026-09-25", "approvedDate": "2026-09-27", "departureDate": "x"}
    raw = {"happyReturnsReturnID": "r", "orderNumber": "1", "inspectionOutcome": "damaged"}
    found = unit_of(json.dumps({**raw, **dates}).encode(), "outbound")
    assert found.started == Fact(datetime(2026, 9, 25, tzinfo=UTC), Precision.DATE)
    assert found.approved == Fact(datetime(2026, 9, 27, tzinfo=UTC), Precision.DATE)
    assert found.departed is None
    assert found.problems == ("departure_date:not a date",)
    assert found.refund_type is None  # not said is not "refund"
    assert (found.source_rank, found.disposition_code) == (0, "damaged")


def test_an_exact_instant_goes_before_a_date() -> None:
    assert unit(startedDate="2026-01-01").started == Fact(at(20, 14), Precision.EXACT)


def test_an_outcome_that_is_not_the_disposition_is_kept_beside_it() -> None:
    assert unit(inspectionOutcome="damaged").disposition_code == "saleable / damaged"
    assert unit(inspectionOutcome="Saleable").disposition_code == "saleable"
    assert unit(disposition="", inspectionOutcome="damaged").disposition_code == "damaged"
    assert unit(disposition=None).disposition_at is None


# --- codes and amounts ------------------------------------------------------------


def test_unknown_codes_are_reported_and_never_guessed() -> None:
    found = unit(status="teleported", refundType="CODE-NOT-PUBLISHED")
    assert found.status == "teleported"
    assert found.refund_type is None
    assert found.problems == (
        "status:unknown code 'teleported'",
        "refund_type:unknown code 'CODE-NOT-PUBLISHED'",
    )


def test_a_reported_code_is_short_and_without_an_address() -> None:
    (problem,) = unit(status="pat@example.com " + "x" * 200).problems
    assert "pat" not in problem
    assert len(problem) < 80


@pytest.mark.parametrize(("told", "kind"), [(None, RefundType.REFUND), ("none", RefundType.NONE)])
def test_a_look_up_that_names_no_refund_type_means_a_refund(told: Any, kind: RefundType) -> None:
    assert unit(refundType=told).refund_type is kind


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("19.99", "GBP", 1999),
        ("19.990", "GBP", 1999),
        ("0", "GBP", 0),
        (19.99, "GBP", 1999),
        (20, "GBP", 2000),
        ("1500", "JPY", 1500),
        ("1500.00", "JPY", 1500),
        ("1.234", "KWD", 1234),
    ],
)
def test_amounts_are_read_in_the_currencys_own_decimals(
    amount: Any, currency: str, minor: int
) -> None:
    found = unit(refundAmount=amount, currency=currency, without="returnFee")
    assert found.refund_amount_minor == minor


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("-1.00", "GBP"),
        ("19.999", "GBP"),
        ("15.50", "JPY"),
        ("1,99", "GBP"),
        ("£1.99", "GBP"),
        ("1e3", "GBP"),
        ("NaN", "GBP"),
        (1e300, "GBP"),
        (-5, "GBP"),
        ("9" * 50, "GBP"),
        ("9" * 10_000, "GBP"),
        ("1.99", "XXX-unknown"),
        (True, "GBP"),
    ],
)
def test_what_is_no_amount_is_not_guessed(amount: Any, currency: str) -> None:
    found = unit(refundAmount=amount, currency=currency, without="shippingRefundAmount")
    assert found.refund_amount_minor is None
    assert any(problem.startswith("refund_amount:not a decimal") for problem in found.problems)


def test_amounts_without_a_currency_are_in_the_default_one_and_say_so() -> None:
    raw = json.dumps({**ITEM, "currency": ""}).encode()
    found = unit_of(raw, currency="JPY")
    assert found.currency is None
    assert "refund_amount:not a decimal amount of 'JPY'" in found.problems


@pytest.mark.parametrize(
    ("fee", "minor", "currency"), [("5.00 USD", 500, "USD"), (" 500 jpy ", 500, "JPY")]
)
def test_the_fee_names_its_own_currency(fee: str, minor: int, currency: str) -> None:
    found = unit(returnFee=fee)
    assert (found.fee_minor, found.fee_currency) == (minor, currency)


@pytest.mark.parametrize("fee", ["5.00", "USD 5.00", "5.00 ZZZ", "-5.00 USD", 5, "5 USD" * 900])
def test_a_fee_that_is_no_amount_and_currency_is_not_guessed(fee: Any) -> None:
    found = unit(returnFee=fee)
    assert (found.fee_minor, found.fee_currency) == (None, None)
    assert found.problems == ("return_fee:not an amount and a currency",)


@pytest.mark.parametrize(
    ("value", "flag", "fine"),
    [(True, True, True), ("TRUE", True, True), ("false", False, True), ("yes", False, False),
     (1, False, False), (None, False, True)],
)  # fmt: skip
def test_returnless_is_true_or_false_or_a_problem(value: Any, *, flag: bool, fine: bool) -> None:
    found = unit(returnless=value)
    assert found.returnless is flag
    assert bool(found.problems) is not fine


@pytest.mark.parametrize("value", [-1, 1.5, "two", 10**9, "1" * 20, True])
def test_a_quantity_that_is_none_is_a_problem(value: Any) -> None:
    found = unit(exchangeQuantity=value)
    assert found.exchange_quantity == 0
    assert found.problems == ("exchange_quantity:not a whole number",)


def test_numbers_where_texts_are_published_are_texts() -> None:
    found = unit(orderNumber=100418, orderLineItemID=15502348800113)
    assert (found.order_key, found.line_item_id) == ("100418", "15502348800113")
    assert found.problems == ()


def test_control_characters_do_not_come_through() -> None:
    assert unit(sku=" TEE\x00\nM ").sku == "TEE  M"


def test_one_value_out_of_range_does_not_hide_the_others() -> None:
    raw = json.dumps(ITEM).encode().replace(b'"19.99"', b"1e999")
    found = unit_of(raw)
    assert found.return_id == "ret-1"
    assert found.received == Fact(at(25), Precision.EXACT)
    assert found.problems == ("refund_amount:unreadable",)


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b'"x"', b"{", b"\xff"])
def test_what_is_no_item_is_a_unit_with_a_problem(raw: bytes) -> None:
    assert "payload:not an object" in unit_of(raw).problems


def renamed(raw: bytes, **fields: str) -> Unit:
    columns = hr.readings(
        [raw],
        keys=["k"],
        hashes=["h"],
        source="return",
        policy=dataclasses.replace(POLICY, fields=fields),
        default_currency="GBP",
        observed_at=SEEN,
    )
    (found,) = hr.units(columns)
    return found


def test_every_name_is_the_policys() -> None:
    raw = b'{"id": "r", "order no": "1", "grade": "damaged", "disposition": "saleable"}'
    found = renamed(raw, return_id="id", order_number="order no", inspection_outcome="grade")
    assert (found.return_id, found.order_key, found.disposition_code) == ("r", "1", "damaged")
    assert found.problems == ()


def test_two_names_of_ours_for_one_of_theirs_both_read_it() -> None:
    found = renamed(b'{"x": "42"}', return_id="x", order_number="x", exchange_quantity="x")
    assert (found.return_id, found.order_number, found.exchange_quantity) == ("42", "42", 42)
    broken = renamed(b'{"x": 1e999}', return_id="x", order_number="x")
    assert broken.problems[0] == "return_id:unreadable"


# --- whatever comes ---------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
VENDOR_NAMES = sorted(POLICY.fields.values())
ITEMS = st.dictionaries(st.sampled_from(VENDOR_NAMES), JSON, max_size=12)


def through(raw: bytes) -> None:
    """All of the normaliser, as the steps use it."""
    (key,) = hr.unit_keys([raw], POLICY)
    body, unknown = redaction.redact(raw, POLICY.fields)
    assert key
    assert len(key) < 600
    assert "\x00" not in body.decode()
    assert all(name.isprintable() for name in unknown)
    assert unit_of(body, "outbound").updated_at.tzinfo is UTC
    assert unit_of(raw).unit_key == "k"
    # Redacting again changes nothing.
    assert redaction.redact(body, POLICY.fields)[0] == body


@given(JSON)
def test_nothing_raises_on_any_json(value: Any) -> None:
    through(json.dumps(value).encode())


@given(ITEMS)
def test_nothing_raises_on_any_values_under_known_names(item: dict[str, Any]) -> None:
    through(json.dumps(item).encode())
    through(json.dumps(item, ensure_ascii=False).encode("utf-8", "replace"))


@given(st.binary())
def test_nothing_raises_on_any_bytes(raw: bytes) -> None:
    through(raw)


@given(st.binary(max_size=20), st.sampled_from(VENDOR_NAMES))
def test_nothing_raises_on_any_bytes_within_an_item(raw: bytes, name: str) -> None:
    through(b'{"' + name.encode() + b'": "' + raw + b'"}')
    through(b'{"' + name.encode() + b'": ' + raw + b"}")


@pytest.mark.parametrize("depth", [500, 100_000])
def test_nothing_raises_on_nesting_without_end(depth: int) -> None:
    through(b'{"sku": ' + b"[" * depth + b"]" * depth + b"}")
    through(b'{"a":' * depth + b"1" + b"}" * depth)


# --- keys -------------------------------------------------------------------------


def keys(*items: dict[str, Any]) -> list[str]:
    return hr.unit_keys([json.dumps(item).encode() for item in items], POLICY)


def test_a_unit_is_known_by_its_item_id() -> None:
    assert keys(ITEM, {**ITEM, "sku": "other"}) == ["item-1", "item-1"]


def test_without_item_ids_units_of_one_line_are_counted() -> None:
    line = {"happyReturnsReturnID": "r", "orderLineItemID": "l"}
    assert keys(line, line, {**line, "orderLineItemID": "m"}, {**line, "happyReturnsItemID": ""},
                {**line, "happyReturnsItemID": ["x"]}) == [
        "r/l#1", "r/l#2", "r/m#1", "r/l#3", "r/l#4",
    ]  # fmt: skip


def test_items_without_any_id_are_known_by_their_content() -> None:
    first, second, again = keys({"sku": "a"}, {"sku": "b"}, {"sku": "a"})
    assert len({first, second, again}) == 3
    assert first.removesuffix("#1") == again.removesuffix("#2")


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 5))
def test_keys_do_not_depend_on_how_an_answer_is_paged(lines: list[str], size: int) -> None:
    items = [{"happyReturnsReturnID": "r", "orderLineItemID": line} for line in lines]
    pages = [items[start : start + size] for start in range(0, len(items), size)]
    assert keys(*[item for page in pages for item in page]) == keys(*items)
    assert len(set(keys(*items))) == len(items)


def test_codes_of_a_return_are_read_from_the_kept_payload(policy: HappyReturnsPolicy) -> None:
    body, _ = redaction.redact(json.dumps(ITEM).encode(), policy.fields)
    found = hr.readings(
        [body, b"\xff"],
        keys=["k", "bad"],
        hashes=["h", "h"],
        source="return",
        policy=policy,
        default_currency="GBP",
        observed_at=SEEN,
    )
    assert found["express_code"] == ["HRQ7TNDK", ""]
    assert found["merchant_rma"] == ["RMA-1", ""]
