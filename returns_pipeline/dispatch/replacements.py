"""Ordering the replacement of an exchanged unit: ``CreateOrders`` under our own source.

The one write whose uniqueness Linnworks documents: source, sub source and reference number
(contract 4.2 [D]). The order is always paid and its content frozen in the intent, since an
unpaid order would be changed by a repetition. The shopper's address is read from the
original order at the moment of sending, and neither kept nor printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.clients.transport import OutcomeUnknown
from returns_pipeline.dispatch import sent_by_others
from returns_pipeline.dispatch.writes import Absent, Adopt, Applied, Hold, Unclear, Write
from returns_pipeline.domain.money import format_minor
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.outbox import Intent

CREATE = "exchange_create"

_ADDRESS = (
    *("FullName", "Company", "Address1", "Address2", "Address3", "Town", "Region"),
    *("PostCode", "Country", "PhoneNumber", "EmailAddress"),
)


def create_key(reference: str) -> str:
    """The key of the order with this reference."""
    return f"{CREATE}:{reference}"


def exchange_subject(order_id: str) -> str:
    """What replacements for one order wait for each other by."""
    return f"exchange:{order_id}"


class _General(msgspec.Struct):
    ReferenceNum: str | None = None
    Source: str | None = None
    SubSource: str | None = None


class _Found(msgspec.Struct):
    OrderId: str
    NumOrderId: int
    GeneralInfo: _General


_FOUND = msgspec.json.Decoder(_Found)


class Creation(Write):
    """``CreateOrders`` with one order."""

    kind = CREATE

    def __init__(self, linnworks: Linnworks, engine: sa.Engine) -> None:
        """Hold no address yet."""
        super().__init__(linnworks, engine)
        self._original: dict[str, dict[str, Any]] = {}

    def precheck(self, intent: Intent) -> Adopt | Hold | None:
        """Look whether others sent it, on a second try whether we did; read the address."""
        if intent.attempt > 1:
            found = self._look(intent)
            if found is not None:
                return Adopt({**found, "adopted": True})
        by_others = sent_by_others.look(self.linnworks, self.engine, intent)
        if by_others is not None:
            return by_others
        original = self.linnworks.order_by_id(intent.payload["order_id"])
        if original is None:
            return Hold("the original order is not there any more", "EXCHANGE_ORDER_MISSING")
        self._original[intent.intent_key] = original
        return None

    def send(self, intent: Intent) -> Mapping[str, Any]:
        """Create it; an empty answer means that such an order is there already."""
        original = self._original.pop(intent.intent_key)
        order = _channel_order(intent, original)
        created = self.linnworks.create_order(order, location=intent.payload["location"])
        if created is not None:
            return {"order_id": created}
        found = self._look(intent)
        if found is None:
            raise OutcomeUnknown("CreateOrders", "said to be there already, and not found")
        return {**found, "adopted": True}

    def read_back(self, intent: Intent) -> Applied | Absent | Unclear:
        """Look it up by its reference."""
        found = self._look(intent)
        return Absent() if found is None else Applied(found)

    def _look(self, intent: Intent) -> dict[str, Any] | None:
        payload = intent.payload
        for raw in self.linnworks.orders_by_reference(intent.reference):
            found = _FOUND.decode(raw)
            general = found.GeneralInfo
            if (general.ReferenceNum, general.Source) == (intent.reference, payload["source"]):
                return {"order_id": found.OrderId.lower(), "num_id": found.NumOrderId}
        return None

    def confirmed(
        self,
        connection: sa.Connection,
        intent: Intent,
        evidence: Mapping[str, Any],
        now: datetime,
    ) -> None:
        """The replacement is ordered."""
        connection.execute(
            sa.update(t.exchange_orders)
            .where(t.exchange_orders.c.intent_key == intent.intent_key)
            .values(
                state="created",
                new_order_id=evidence["order_id"],
                created_order_at=now,
                note="",
            )
        )

    def refused(self, connection: sa.Connection, intent: Intent, why: str, now: datetime) -> None:
        """Nothing was ordered: CX acts."""
        del now
        self._original.pop(intent.intent_key, None)
        connection.execute(
            sa.update(t.exchange_orders)
            .where(
                t.exchange_orders.c.intent_key == intent.intent_key,
                t.exchange_orders.c.state == "intended",
            )
            .values(state="held", note=why)
        )


def _channel_order(intent: Intent, original: Mapping[str, Any]) -> dict[str, Any]:
    """The order as Linnworks wants it (``ChannelOrder`` [S]; examples/orders_create_exchange)."""
    payload = intent.payload
    stamp = intent.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    customer = original.get("CustomerInfo") or {}
    given = customer.get("Address") or {}
    address = {name: given[name] for name in _ADDRESS if given.get(name)}
    service = payload["postal_service"] or (original.get("ShippingInfo") or {}).get(
        "PostalServiceName", ""
    )
    price = format_minor(payload["unit_price_minor"], payload["currency"])
    number = f"{intent.reference}-1"
    return {
        "UseChannelTax": False,
        "AutomaticallyLinkBySKU": True,
        "AutomaticallyLinkByBarcode": False,
        "AutomaticallyLinkByASIN": False,
        "Source": payload["source"],
        "SubSource": payload["sub_source"],
        "ReferenceNumber": intent.reference,
        "ExternalReference": payload["return_id"],
        "SecondaryReferenceNumber": payload["original_reference"],
        "ChannelBuyerName": customer.get("ChannelBuyerName") or "",
        "Currency": payload["currency"],
        "ConversionRate": 1.0,
        "ReceivedDate": stamp,
        "DispatchBy": stamp,
        "PaidOn": stamp,
        # Unpaid orders are parked, and changed by a repetition (4.2 [S], hazard 10).
        "PaymentStatus": "Paid",
        "OrderState": "None",
        "OrderFulfilmentType": "Manual",
        "MatchPostalServiceTag": service,
        "PostalServiceName": service,
        "SavePostalServiceIfNotExist": False,
        "MatchPaymentMethodTag": "Default",
        "PaymentMethodName": "Default",
        "SavePaymentMethodIfNotExist": False,
        "PostalServiceCost": 0,
        "PostalServiceTaxRate": 0,
        "PostalServiceDiscount": 0,
        "Discount": 0,
        "DiscountType": "AllEvenly",
        "DiscountTaxType": "DeductAfterTax",
        "Site": "",
        "BillingAddress": address,
        "DeliveryAddress": address,
        "OrderItems": [
            {
                "TaxCostInclusive": True,
                "UseChannelTax": False,
                # The digits themselves: a JSON number that never was a binary float.
                "PricePerUnit": msgspec.Raw(price.encode()),
                "Qty": payload["quantity"],
                "TaxRate": msgspec.Raw(payload["tax_rate"].encode()),
                "LineDiscount": 0,
                "ItemNumber": number,
                "ChannelReferenceId": number,
                "ChannelSKU": payload["sku"],
                "IsService": False,
                "ItemTitle": payload["sku"],
                "Options": [],
            }
        ],
        "Relations": [
            {
                "ReferenceId": payload["original_reference"],
                "ExternalReference": payload["original_reference"],
                "SecondaryReference": "",
            }
        ],
        "ExtendedProperties": [
            {"Name": "HR.ReturnId", "Value": payload["return_id"], "Type": "Order"},
            {"Name": "HR.ReturnItem", "Value": payload["unit_key"], "Type": "Order"},
            {
                "Name": "HR.OriginalOrder",
                "Value": str(payload["original_num_id"]),
                "Type": "Order",
            },
        ],
        "Notes": [
            {
                "Note": f"Exchange for {payload['original_reference']}, "
                f"Happy Returns {payload['return_id']}",
                "NoteEntryDate": stamp,
                "NoteUserName": "returns_pipeline",
                "Internal": True,
            }
        ],
    }
