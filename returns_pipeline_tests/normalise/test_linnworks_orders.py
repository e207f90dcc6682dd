"""Linnworks orders of both shapes as domain orders, and what is kept of them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_pipeline.normalise import linnworks as lw
from returns_pipeline_tests.clients import contracts

SEEN = datetime(2026, 10, 1, tzinfo=UTC)
PERSON = "Canary Shopperson"

LINE = {
    "RowId": "0B7E2C11-8D4F-4A6B-9C3E-1F2A3B4C5D01",
    "StockItemId": "91D4B2C6-55A1-4E7F-8B90-2C3D4E5F6A01",
    "ItemNumber": "13377001000001",
    "SKU": "TEE-RED-M",
    "ChannelSKU": "tee/red",
    "Quantity": 2,
    "TaxRate": 20.0,
    "Cost": 33.32,
    "CostIncTax": 39.98,
    "UnitCost": 6.5,
    "DespatchStockUnitCost": 6.75,
    "IsService": False,
    "IsUnlinked": False,
    "CompositeSubItems": [],
}
V2 = {
    "OrderId": "6F1C0D52-3A77-4B1E-9D0C-5A1B7C2E9011",
    "NumOrderId": 104512,
    "Processed": True,
    "ProcessedOn": "2026-07-11T15:02:00Z",
    "LastUpdated": "2026-08-02T10:00:00Z",
    "FulfilmentLocationId": "00000000-0000-0000-0000-000000000000",
    "GeneralInfo": {
        "ReferenceNum": "#5001",
        "SecondaryReference": "6100000000001",
        "ReceivedDate": "2026-07-10T08:00:00",
        "Source": "SHOPIFY",
        "SubSource": "shop",
        "IsCancelled": False,
    },
    "TotalsInfo": {
        "TotalCharge": 44.93,
        "PostageCost": 4.95,
        "PostageCostExTax": 4.13,
        "PaymentMethod": "Shopify Payments",
        "Currency": "gbp",
    },
    "CustomerInfo": {"Address": {"FullName": PERSON}},
    "Notes": [{"Note": PERSON}],
    "Items": [LINE],
}


def order(shape: dict[str, Any] = V2, **changes: Any) -> lw.NormalisedOrder:
    return lw.order(json.dumps({**shape, **changes}).encode(), observed_at=SEEN)


def line(**changes: Any) -> Any:
    return order(Items=[{**LINE, **changes}]).order.lines[0]


def totals(**changes: Any) -> dict[str, Any]:
    return {**V2["TotalsInfo"], **changes}  # type: ignore[dict-item]


def test_an_order_of_the_feed_is_read() -> None:
    found = order()
    head, (row,) = found.order, found.order.lines
    assert (head.order_id, head.num_id) == ("6f1c0d52-3a77-4b1e-9d0c-5a1b7c2e9011", 104512)
    assert (head.reference_key, head.secondary_key) == ("5001", "6100000000001")
    assert (head.source, head.sub_source, head.currency) == ("SHOPIFY", "shop", "GBP")
    assert (head.total_minor, head.postage_minor, head.postage_vat_minor) == (4493, 495, 82)
    assert (head.processed, head.cancelled) == (True, False)
    assert head.payment_method == "Shopify Payments"
    assert found.reference == "#5001"
    assert found.received_at == datetime(2026, 7, 10, 8, tzinfo=UTC)
    assert found.processed_at == datetime(2026, 7, 11, 15, 2, tzinfo=UTC)
    assert found.updated_at == datetime(2026, 8, 2, 10, tzinfo=UTC)
    assert found.stock_item_ids == {row.row_id: "91d4b2c6-55a1-4e7f-8b90-2c3d4e5f6a01"}
    assert row.row_id == "0b7e2c11-8d4f-4a6b-9c3e-1f2a3b4c5d01"
    assert (row.quantity, row.total_minor, row.vat_minor, row.tax_rate_bp) == (2, 3998, 666, 2000)
    assert (row.unit_cost_minor, row.parent_row_id) == (675, None)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("v2_orders_page", ("ProcessedOrders",)),
        ("orders_by_reference", ()),
        ("orders_get_by_id", ()),
    ],
)
def test_the_examples_of_both_shapes_give_the_same_order(name: str, path: tuple[str, ...]) -> None:
    shown = contracts.example(name)["response"]["json"]
    for step in path:
        shown = shown[step]
    raw = json.dumps(shown[0]).encode()
    found = lw.order(raw, observed_at=SEEN)
    assert (found.order.num_id, found.order.reference_key) == (104512, "5001")
    assert found.processed_at == datetime(2026, 7, 11, 15, 2, tzinfo=UTC)
    assert found.order.lines[0].row_id == "0b7e2c11-8d4f-4a6b-9c3e-1f2a3b4c5d01"
    assert found.order.lines[0].total_minor == 3998
    assert lw.order(lw.redact_order(raw), observed_at=SEEN) == found


def test_an_order_by_look_up_names_its_despatch_otherwise_and_no_last_change() -> None:
    v1 = {name: value for name, value in V2.items() if name not in {"ProcessedOn", "LastUpdated"}}
    found = order(v1, ProcessedDateTime="2026-07-11T15:02:00Z")
    assert found.processed_at == datetime(2026, 7, 11, 15, 2, tzinfo=UTC)
    assert found.updated_at == SEEN


@pytest.mark.parametrize(
    "text",
    [None, "", "0001-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "1899-12-30T00:00:00Z", "soon"],
)
def test_no_instant_is_none_however_it_is_written(text: str | None) -> None:
    found = order(ProcessedOn=text, LastUpdated=text)
    assert found.processed_at is None
    assert found.updated_at == SEEN


def test_the_children_of_a_bundle_follow_their_parent() -> None:
    grandchild = {**LINE, "RowId": "GC"}
    child = {**LINE, "RowId": "C", "CompositeSubItems": [grandchild]}
    found = order(Items=[{**LINE, "RowId": "P", "CompositeSubItems": [child]}])
    rows = [(one.row_id, one.parent_row_id) for one in found.order.lines]
    assert rows == [("p", None), ("c", "p"), ("gc", "c")]
    assert set(found.stock_item_ids) == {"p", "c", "gc"}


@pytest.mark.parametrize(
    ("changes", "batched"),
    [
        ({}, False),
        ({"BatchNumberScanRequired": True}, True),
        ({"SerialNumberScanRequired": True}, True),
        ({"isBatchedStockItem": True}, True),
        ({"BinRacks": [{"BatchId": 7}]}, True),
        ({"BinRacks": [{"BatchId": None}, {}]}, False),
        ({"BinRacks": None}, False),
    ],
)
def test_batched_items_are_known_by_any_sign(changes: dict[str, Any], *, batched: bool) -> None:
    assert line(**changes).is_batched is batched


def test_service_and_unlinked_lines_say_so() -> None:
    assert line(IsService=True).is_service
    assert line(IsUnlinked=True, StockItemId=None).is_unlinked


@pytest.mark.parametrize(
    ("changes", "vat", "rate"),
    [
        ({"TaxRate": 0, "Cost": 39.98}, 0, 0),
        ({"TaxRate": None, "Cost": None}, 0, 0),
        ({"TaxRate": 5.5, "Cost": 37.90}, 208, 550),
        ({"TaxRate": 20, "Cost": 33.32, "CostIncTax": 0}, -3332, 2000),
    ],
)
def test_vat_is_what_linnworks_says(changes: dict[str, Any], vat: int, rate: int) -> None:
    found = line(**changes)
    assert (found.vat_minor, found.tax_rate_bp) == (vat, rate)


@pytest.mark.parametrize(
    ("currency", "amount", "minor"),
    [("JPY", 1500, 1500), ("JPY", 1500.4, 1500), ("KWD", 1.2345, 1235), ("GBP", 0.005, 1),
     ("GBP", -0.005, -1), ("EUR", "12.34", 1234)],
)  # fmt: skip
def test_amounts_have_the_decimals_of_their_currency(
    currency: str, amount: Any, minor: int
) -> None:
    found = order(TotalsInfo=totals(Currency=currency, TotalCharge=amount))
    assert found.order.total_minor == minor


def test_a_unit_cost_falls_back_and_what_is_not_told_is_not_zero() -> None:
    assert line(DespatchStockUnitCost=0).unit_cost_minor == 650
    assert line(DespatchStockUnitCost=None, UnitCost=0).unit_cost_minor == 0
    assert line(DespatchStockUnitCost=0, UnitCost=None).unit_cost_minor == 0
    assert line(DespatchStockUnitCost=None, UnitCost=None).unit_cost_minor is None


@pytest.mark.parametrize(
    ("general", "processed", "cancelled"),
    [
        ({"IsCancelled": True}, False, True),
        ({"HoldOrCancel": True}, True, True),
        ({"HoldOrCancel": True}, False, False),  # on hold, not yet gone
        ({}, True, False),
    ],
)
def test_a_cancelled_order_is_known_in_both_shapes(
    general: dict[str, Any], *, processed: bool, cancelled: bool
) -> None:
    found = order(GeneralInfo=general, Processed=processed)
    assert found.order.cancelled is cancelled


def test_numbers_written_as_texts_are_numbers() -> None:
    assert line(Quantity="3", CostIncTax="39.98").quantity == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"OrderId": None},
        {"OrderId": 7},
        {"NumOrderId": "x"},
        {"NumOrderId": 10**30},
        {"GeneralInfo": None},
        {"TotalsInfo": {}},
        {"TotalsInfo": totals(Currency="XX")},
        {"TotalsInfo": totals(Currency=PERSON)},
        {"TotalsInfo": totals(TotalCharge="NaN")},
        {"TotalsInfo": totals(TotalCharge="-Infinity")},
        {"TotalsInfo": totals(PostageCost=1e300)},
        {"TotalsInfo": totals(PostageCost="1e999999")},
        {"TotalsInfo": totals(TotalCharge=PERSON)},
        {"Items": [{**LINE, "Quantity": 10**30}]},
        {"Items": [{**LINE, "TaxRate": "sNaN"}]},
        {"Items": [{**LINE, "RowId": None}]},
        {"Items": {}},
        {"ReceivedDate": 5, "GeneralInfo": {"ReceivedDate": 5}},
    ],
)
def test_an_order_of_another_shape_is_unreadable_already_when_it_is_kept(
    changes: dict[str, Any],
) -> None:
    raw = json.dumps({**V2, **changes}).encode()
    for read in (lw.redact_order, lambda one: lw.order(one, observed_at=SEEN)):
        with pytest.raises(lw.UnreadableOrder) as caught:
            read(raw)
        assert "Canary" not in str(caught.value)
        assert len(str(caught.value)) < 200


def test_an_unreadable_order_still_has_its_id() -> None:
    assert lw.order_id(b'{"OrderId": "ABC", "Items": 7}') == "abc"
    for raw in (b"{}", b"[]", b"", b"\xff", b'{"OrderId": "\xff"}', b'{"a":' + b"[" * 100_000):
        with pytest.raises(lw.UnreadableOrder):
            lw.order_id(raw)


def test_nothing_of_the_shopper_is_kept() -> None:
    rich = {
        **V2,
        "Canary": PERSON,
        "GeneralInfo": {**V2["GeneralInfo"], "Canary": PERSON},  # type: ignore[dict-item]
        "TotalsInfo": totals(Canary=PERSON),
        "Items": [{**LINE, "Title": PERSON, "AdditionalInfo": [{"Value": PERSON}]}],
    }
    body = lw.redact_order(json.dumps(rich).encode())
    assert b"Canary" not in body
    assert lw.order(body, observed_at=SEEN) == order()


def test_an_order_that_only_changed_where_nobody_looks_has_the_same_hash() -> None:
    one = lw.redact_order(json.dumps(V2).encode())
    other = lw.redact_order(json.dumps({**V2, "Notes": ["new"], "Tag": 1}).encode())
    assert lw.content_hash(one) == lw.content_hash(other)
    changed = lw.redact_order(json.dumps({**V2, "Processed": False}).encode())
    assert lw.content_hash(one) != lw.content_hash(changed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def through(raw: bytes) -> None:
    try:
        body = lw.redact_order(raw)
    except lw.UnreadableOrder:
        return
    body.decode()
    # What could be kept can be derived: nothing is lost without a word in between.
    assert lw.order(body, observed_at=SEEN) == lw.order(raw, observed_at=SEEN)
    assert lw.order_id(raw) == lw.order_id(body)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_only_unreadable_orders_are_raised_for_any_bytes(raw: bytes) -> None:
    through(raw)


@given(st.dictionaries(st.sampled_from(sorted(V2)), JSON, max_size=3))
def test_only_unreadable_orders_are_raised_for_any_value_at_the_top(item: dict[str, Any]) -> None:
    through(json.dumps({**V2, **item}).encode())


@given(st.dictionaries(st.sampled_from(sorted(LINE)), JSON, max_size=3))
def test_only_unreadable_orders_are_raised_for_any_value_in_a_line(item: dict[str, Any]) -> None:
    through(json.dumps({**V2, "Items": [{**LINE, **item}]}).encode())


@pytest.mark.parametrize("tag", [PERSON, "canary@example.com", "x" * 41, "", None])
def test_a_tag_that_may_be_about_somebody_is_not_kept(tag: str | None) -> None:
    general = V2["GeneralInfo"] | {
        "Identifiers": [{"Tag": tag}, {"Tag": "VIP_Gold", "Name": PERSON}]
    }
    kept = lw.redact_order(json.dumps(V2 | {"GeneralInfo": general}).encode())

    assert lw.tags(kept) == {"vipgold"}
    assert PERSON.encode() not in kept


def test_an_order_without_tags_is_kept_as_it_was_before_there_were_any() -> None:
    empty = V2 | {"GeneralInfo": V2["GeneralInfo"] | {"Identifiers": []}}

    assert lw.redact_order(json.dumps(empty).encode()) == lw.redact_order(json.dumps(V2).encode())
    assert lw.tags(json.dumps(V2).encode()) == frozenset()
