"""What the vendors told: evidence, the orders' mirror, returns and receipts.

What comes from a vendor is bound only as far as the adapters promise: an odd word in a
payload is an exception of one unit, never a reason to stop the others.
"""

from __future__ import annotations

from typing import Any

from returns_pipeline.domain.model import Precision, RefundType, Stage
from returns_pipeline.schemas import fields as f
from returns_pipeline.schemas import shared as s

_SOURCES = (
    "happy_returns.return",
    "happy_returns.outbound",
    "linnworks.order.v1",
    "linnworks.order.v2",
)
_FACTS = ("started", "dropped_off", "approved", "departed", "received", "expired", "cancelled")
_KNOWN = "".join(Precision)
_SOURCE = f.word("Whose payload, of what", _SOURCES)


def _precisions_fit(frame: Any) -> Any:
    told = frame["precisions"]
    words = told.dropna().unique()  # a handful, however many rows
    fits = told.notna()
    for place, fact in enumerate(_FACTS):
        known = [word for word in words if word[place : place + 1] not in {"", "-"}]
        fits &= told.isin(known) == frame[f"{fact}_at"].notna()
    return fits


def _stage_fits(frame: Any) -> Any:
    received = frame["received_at"].notna()
    cancelled = frame["cancelled_at"].notna() & ~received
    expired = frame["expired_at"].notna() & ~received & ~cancelled
    told = frame["stage"]
    ended = told.isin(["received", "cancelled", "expired"])
    return (
        ((told == "received") == received)
        & ((told == "cancelled") == cancelled)
        & ((told == "expired") == expired)
        & (ended | ~(received | cancelled | expired))
    )


DECLARED = {
    "raw_payloads": f.Declared(
        {
            "id": s.ID,
            "source": _SOURCE,
            "key": f.name("The unit or order it speaks of"),
            "hash": s.HASH,
            "body": s.OBJECT.means("The payload as JSON, without personal data"),
            "fetched_at": f.instant("When it was read"),
            "run_id": s.RUN_ID,
            "unknown_fields": f.text("Fields nobody knew, one a line"),
        },
        key=("id",),
    ),
    "watermarks": f.Declared(
        {
            "name": f.name("The reading or derivation"),
            "at": f.instant("Until when its source has been read").or_null,
            "position": f.integer("The last row handled of an append-only table", 0).or_null,
            "updated_at": f.instant("When it was moved"),
        },
        key=("name",),
        rules=(
            f.Rule(
                "one of at and position is there",
                lambda frame: frame["at"].notna() | frame["position"].notna(),
            ),
        ),
    ),
    "watch_list": f.Declared(
        {
            "order_key": s.ORDER_KEY,
            "reference": f.text("Order number as the shop prints it"),
            "reason": f.word("Why it is watched", ("open_return", "shipped")),
            "priority": f.integer("Lowest first", 0),
            "due_at": f.instant("When it is to be asked for next"),
            "closes_at": f.instant("When its return window closes"),
            "last_asked_at": f.instant("When it was last asked for").or_null,
            "is_active": f.flag("Whether it is asked for at all"),
        },
        key=("order_key",),
    ),
    "order_look_ups": f.Declared(
        {
            "order_key": s.ORDER_KEY,
            "asked_at": f.instant("When Linnworks was last asked for it"),
        },
        key=("order_key",),
    ),
    "vendor_locations": f.Declared(
        {
            "location_id": f.name("Linnworks' stock location id"),
            "name": f.text("Its name in Linnworks"),
            "is_warehouse_managed": f.flag("Whether Linnworks keeps bins there"),
            "is_present": f.flag("Whether Linnworks still has it"),
            "seen_at": f.instant("When it was last read"),
        },
        key=("location_id",),
    ),
    "policy_versions": f.Declared(
        {
            "hash": f.name("The policy's hash"),
            "first_used_at": f.instant("When it first decided something"),
            "body": f.name("The policy as it was"),
        },
        key=("hash",),
    ),
    "orders": f.Declared(
        {
            "order_id": s.ORDER_ID,
            "num_id": f.integer("Linnworks' order number"),
            "reference": f.text("The channel's order number"),
            "reference_key": s.ORDER_KEY,
            "secondary_key": s.ORDER_KEY.means("Secondary reference, folded"),
            "source": f.text("Channel"),
            "sub_source": f.text("Shop within the channel"),
            "currency": s.CURRENCY,
            "is_processed": f.flag("Whether it was despatched"),
            "is_cancelled": f.flag("Whether it was cancelled"),
            "received_at": f.instant("When it was placed").or_null,
            "processed_at": f.instant("When it was despatched").or_null,
            "updated_at": f.instant("When Linnworks last changed it"),
            "total_minor": f.minor("What was paid, gross"),
            "postage_minor": f.minor("Of that, postage, gross"),
            "postage_vat_minor": f.minor("VAT in the postage"),
            "payment_method": f.text("How it was paid"),
            "location_id": s.LOCATION_ID.means("Where it was despatched from"),
            "conversion_rate": f.text("Into the merchant's currency, a decimal; empty: not told"),
        },
        key=("order_id",),
    ),
    "order_lines": f.Declared(
        {
            "row_id": s.ROW_ID,
            "order_id": s.ORDER_ID,
            "position": f.integer("Place in the order, from 0", 0),
            "item_number": f.text("The channel's line id"),
            "sku": s.SKU,
            "channel_sku": f.text("The channel's SKU"),
            "stock_item_id": f.text("Linnworks' stock item id"),
            "quantity": f.integer("Units ordered", 0),
            "total_minor": f.minor("What was paid for all units, gross"),
            "vat_minor": f.minor("VAT in it"),
            "tax_rate_bp": f.integer("VAT rate, basis points"),
            "unit_cost_minor": f.minor("Despatch cost of one unit").or_null,
            "is_service": f.flag("Whether nothing physical was sold"),
            "is_unlinked": f.flag("Whether its SKU is not linked to a stock item"),
            "is_batched": f.flag("Whether its stock is kept by batch or serial number"),
            "parent_row_id": f.name("The bundle it is part of").or_null,
            "discount_minor": f.minor("What was taken off its price, gross", 0),
        },
        key=("row_id",),
        rules=(
            f.Rule(
                "a line is not its own parent",
                lambda frame: frame["parent_row_id"] != frame["row_id"],
            ),
        ),
    ),
    "returns": f.Declared(
        {
            "return_id": s.RETURN_ID,
            "order_key": s.ORDER_KEY,
            "order_number": f.text("Order number as the shopper gave it"),
            "express_code": f.text("The code shown at drop-off"),
            "merchant_rma": f.text("The merchant's own RMA number"),
            "first_seen_at": f.instant("When it was first told of"),
        },
        key=("return_id", "order_key"),
    ),
    "return_items": f.Declared(
        {
            "id": s.ID,
            "unit_key": s.UNIT_KEY,
            "return_id": s.RETURN_ID,
            "order_number": f.text("Order number as the shopper gave it"),
            "order_key": s.ORDER_KEY,
            "line_item_id": f.text("The line's id, as Happy Returns passes it on"),
            "sku": s.SKU.means("SKU as Happy Returns names it"),
            "stage": f.word("How far the evidence carries it", Stage),
            "status": f.text("Happy Returns' own word"),
            **{
                f"{fact}_at": f.instant(f"When it was {fact.replace('_', ' ')}").or_null
                for fact in _FACTS
            },
            "precisions": f.shaped(
                "How well each instant is known: e told, d a date, i inferred, - not there",
                f"[{_KNOWN}-]{{{len(_FACTS)}}}",
            ),
            "dropoff_method": f.text("How it was handed over"),
            "reason_code": f.text("Why it comes back, the source's code"),
            "disposition_code": f.text("Its inspected condition, the source's code"),
            "disposition_at": f.instant("When that was told").or_null,
            "refund_type": f.word("What the shopper gets", RefundType).or_null,
            "refund_amount_minor": f.minor("Refund as Happy Returns tells it").or_null,
            "shipping_refund_minor": f.minor("Shipping refunded").or_null,
            "fee_minor": f.minor("Return fee kept").or_null,
            "fee_currency": s.CURRENCY.means("The fee's currency").or_null,
            "currency": f.name("Currency as told; none: the order's").or_null,
            "is_returnless": f.flag("Whether the shopper keeps it"),
            "exchange_sku": f.text("SKU of the replacement"),
            "exchange_quantity": f.integer("Units of the replacement", 0),
            "exchange_unit_price_minor": f.minor("Price of one replacement").or_null,
            "problems": f.text("What could not be read, one a line"),
            "updated_at": f.instant("When the source last changed it").or_null,
            "source_rank": f.integer("Which feed spoke last: 1 whole, 0 partial", 0, 1),
            "payload_hash": s.HASH,
            "first_seen_at": f.instant("When it was first told of"),
            "changed_at": f.instant("When something about it was last new"),
            "is_open": f.flag("Whether something may still be owed to it"),
        },
        key=("unit_key",),
        rules=(
            f.Rule("precisions say which instants are there", _precisions_fit),
            f.Rule("the stage is the one the instants show", _stage_fits),
            f.not_before("changed_at", "first_seen_at"),
        ),
    ),
    "unit_events": f.Declared(
        {
            "id": s.ID,
            "unit_key": s.UNIT_KEY,
            "told": s.LIST.means(
                "What happened, when, how well that is known, and the code of an inspection"
            ),
            "seen_at": f.instant("When it was learnt"),
            "raw_id": f.integer("The payload that told it", 1),
        },
        key=("id",),
    ),
    "shipment_items": f.Declared(
        {
            "id": s.ID,
            "shipment_id": f.name("The consolidated shipment"),
            "unit_key": s.UNIT_KEY,
            "seen_at": f.instant("When it was first read"),
        },
        key=("shipment_id", "unit_key"),
    ),
    "untold_units": f.Declared(
        {
            "id": s.ID,
            "unit_key": s.UNIT_KEY,
            "since_at": f.instant("The first answer that does not name it"),
        },
        key=("unit_key",),
    ),
    "receipts": f.Declared(
        {
            "id": s.ID,
            "unit_key": s.UNIT_KEY,
            "return_id": s.RETURN_ID,
            "order_key": s.ORDER_KEY,
            "received_at": f.instant("When the warehouse had it"),
            "business_date": s.BUSINESS_DATE,
            "seen_at": f.instant("When that was learnt"),
        },
        key=("unit_key",),
    ),
}
