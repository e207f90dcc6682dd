"""Linnworks orders as domain orders (contract Linnworks 2; FIELDS; v2 orders feed).

Here: the field names of both shapes, amounts as minor units, and which fields of an order
are kept at all. The shopper is not among them. Not here: asking (``clients.linnworks``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

import msgspec

from returns_pipeline.domain.model import Order, OrderLine
from returns_pipeline.domain.money import exponent
from returns_pipeline.domain.policy import fold, order_key


class UnreadableOrder(ValueError):  # noqa: N818 (it says what is so)
    """An order without an id or with fields of another type: the contract is broken."""


class _Bin(msgspec.Struct):
    BatchId: int | None = None


class _Item(msgspec.Struct):
    RowId: str
    StockItemId: str | None = None
    ItemNumber: str | None = None
    SKU: str | None = None
    ChannelSKU: str | None = None
    Quantity: int = 0
    TaxRate: Decimal | None = None
    PricePerUnit: Decimal | None = None
    TaxCostInclusive: bool | None = None
    Cost: Decimal | None = None
    CostIncTax: Decimal | None = None
    UnitCost: Decimal | None = None
    DespatchStockUnitCost: Decimal | None = None
    IsService: bool | None = None
    IsUnlinked: bool | None = None
    BatchNumberScanRequired: bool | None = None
    SerialNumberScanRequired: bool | None = None
    isBatchedStockItem: bool | None = None
    BinRacks: list[_Bin] | None = None
    CompositeSubItems: list[_Item] | None = None


class _Identifier(msgspec.Struct):
    Tag: str | None = None


class _General(msgspec.Struct):
    ReferenceNum: str | None = None
    SecondaryReference: str | None = None
    ExternalReferenceNum: str | None = None
    ReceivedDate: str | None = None
    Source: str | None = None
    SubSource: str | None = None
    HoldOrCancel: bool | None = None
    IsCancelled: bool | None = None
    Identifiers: list[_Identifier] | msgspec.UnsetType | None = msgspec.UNSET


class _Totals(msgspec.Struct):
    TotalCharge: Decimal | None = None
    PostageCost: Decimal | None = None
    PostageCostExTax: Decimal | None = None
    PaymentMethod: str | None = None
    Currency: str | None = None
    ConversionRate: Decimal | None = None


class _Order(msgspec.Struct):
    OrderId: str
    NumOrderId: int
    GeneralInfo: _General
    TotalsInfo: _Totals
    Processed: bool = False
    ProcessedOn: str | None = None  # v2
    ProcessedDateTime: str | None = None  # v1
    LastUpdated: str | None = None  # v2
    FulfilmentLocationId: str | None = None
    Items: list[_Item] = []


class _Key(msgspec.Struct):
    OrderId: str


_decoder = msgspec.json.Decoder(_Order, strict=False)
_key_decoder = msgspec.json.Decoder(_Key)
_encoder = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class NormalisedOrder:
    """An order as the mirror keeps it."""

    order: Order
    reference: str
    location_id: str
    received_at: datetime | None
    processed_at: datetime | None
    updated_at: datetime
    stock_item_ids: dict[str, str]


def order_id(raw: bytes) -> str:
    """The order's id.

    Raises:
        UnreadableOrder: When there is none.
    """
    try:
        return _key_decoder.decode(raw).OrderId.lower()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        msg = "an order without a readable OrderId"
        raise UnreadableOrder(msg) from None


def content_hash(body: bytes) -> str:
    """The hash by which an unchanged order is recognised."""
    return hashlib.sha256(body).hexdigest()


def redact_order(raw: bytes) -> bytes:
    """The order with only the fields this program reads: an allow-list.

    Names, addresses, notes and everything else of the shopper are never materialised.

    Raises:
        UnreadableOrder: When the order is not of the published shape.
    """
    found = _decode(raw)
    general = found.GeneralInfo
    # A tag is a code of the shop's; what looks like words about somebody is not kept.
    kept = [one for one in general.Identifiers or () if one.Tag and _TAG.fullmatch(one.Tag)]
    general.Identifiers = kept or msgspec.UNSET
    return _encoder.encode(found)


_TAG = re.compile(r"[\w.+/-]{1,40}")


def tags(raw: bytes) -> frozenset[str]:
    """The order's identifiers, folded: the groups that the shop put it, or its shopper, in.

    Raises:
        UnreadableOrder: When the order is not of the published shape.
    """
    found = _decode(raw).GeneralInfo.Identifiers or ()
    return frozenset(fold(one.Tag) for one in found if one.Tag)


def _decode(raw: bytes) -> _Order:
    """The order, its amounts and its currency such that ``order`` cannot fail on them."""
    try:
        found = _decoder.decode(raw)
    except msgspec.MsgspecError as error:
        # The text of a decoding error names the path and the types, never the value.
        msg = f"an order is not of the published shape: {error}"
        raise UnreadableOrder(msg) from None
    except (UnicodeDecodeError, RecursionError):
        msg = "an order is no readable text"
        raise UnreadableOrder(msg) from None
    try:
        exponent(_currency(found))
    except ValueError:
        msg = "an order's currency is not an ISO 4217 code - at `$.TotalsInfo.Currency`"
        raise UnreadableOrder(msg) from None
    if not all(_is_amount(one) for one in _amounts(found)):
        msg = f"an order has an amount that is none (more than {_LARGEST:.0e})"
        raise UnreadableOrder(msg)
    if not all(_is_line(item) for item in _all(found.Items)):
        msg = "an order has a quantity or a tax rate that is none - at `$.Items[...]`"
        raise UnreadableOrder(msg)
    return found


_MOST = 1_000_000  # units of a line, or per cent of tax: no order has more


def _is_line(item: _Item) -> bool:
    return 0 <= item.Quantity <= _MOST and abs(item.TaxRate or Decimal(0)) <= _MOST


_LARGEST = 10**12  # in major units; far above it the database's integers end


def _is_amount(value: Decimal | int | None) -> bool:
    if value is None:
        return True
    number = Decimal(value)
    # "NaN" and "Infinity" are decimals too, and compare with nothing.
    return number.is_finite() and abs(number) <= _LARGEST


def _amounts(found: _Order) -> Iterator[Decimal | int | None]:
    totals = found.TotalsInfo
    yield from (found.NumOrderId, totals.TotalCharge)
    yield from (totals.PostageCost, totals.PostageCostExTax, totals.ConversionRate)
    for item in _all(found.Items):
        yield from (item.Quantity, item.TaxRate, item.Cost, item.CostIncTax)
        yield from (item.UnitCost, item.DespatchStockUnitCost, item.PricePerUnit)


def _currency(found: _Order) -> str:
    return (found.TotalsInfo.Currency or "").upper()


def order(raw: bytes, *, observed_at: datetime) -> NormalisedOrder:
    """The order of either shape (v1 details, v2 feed).

    Args:
        raw: The payload, redacted or not.
        observed_at: Stands for the last change where the shape has none (v1).

    Raises:
        UnreadableOrder: When it is not of the published shape.
    """
    found = _decode(raw)
    general, totals = found.GeneralInfo, found.TotalsInfo
    currency = _currency(found)
    places = exponent(currency)
    key = found.OrderId.lower()
    lines = tuple(_lines(found.Items, key, places))
    postage = _minor(totals.PostageCost, places)
    net = totals.PostageCostExTax
    postage_vat = postage - _minor(net, places) if net is not None else 0
    return NormalisedOrder(
        order=Order(
            order_id=key,
            num_id=found.NumOrderId,
            reference_key=order_key(general.ReferenceNum or ""),
            secondary_key=order_key(general.SecondaryReference or ""),
            source=general.Source or "",
            sub_source=general.SubSource or "",
            currency=currency,
            processed=found.Processed,
            cancelled=bool(general.IsCancelled or (general.HoldOrCancel and found.Processed)),
            total_minor=_minor(totals.TotalCharge, places),
            postage_minor=postage,
            postage_vat_minor=postage_vat,
            payment_method=totals.PaymentMethod or "",
            lines=lines,
            conversion_rate=_rate(totals.ConversionRate),
        ),
        reference=general.ReferenceNum or "",
        location_id=(found.FulfilmentLocationId or "").lower(),
        received_at=_instant(general.ReceivedDate),
        processed_at=_instant(found.ProcessedOn or found.ProcessedDateTime),
        updated_at=_instant(found.LastUpdated) or observed_at,
        stock_item_ids={
            item.RowId.lower(): (item.StockItemId or "").lower() for item in _all(found.Items)
        },
    )


def _all(items: list[_Item]) -> Iterator[_Item]:
    for item in items:
        yield item
        yield from _all(item.CompositeSubItems or [])


def _lines(
    items: list[_Item], order: str, places: int, parent: str | None = None
) -> Iterator[OrderLine]:
    for item in items:
        gross = _minor(item.CostIncTax, places)
        # A cost of zero is told as well; one that is not told is not zero.
        cost = item.DespatchStockUnitCost or item.UnitCost
        if cost is None:
            cost = item.DespatchStockUnitCost
        yield OrderLine(
            row_id=item.RowId.lower(),
            order_id=order,
            item_number=item.ItemNumber or "",
            sku=item.SKU or "",
            channel_sku=item.ChannelSKU or "",
            quantity=item.Quantity,
            total_minor=gross,
            vat_minor=gross - _minor(item.Cost, places) if item.Cost is not None else 0,
            tax_rate_bp=int(((item.TaxRate or Decimal(0)) * 100).to_integral_value(ROUND_HALF_UP)),
            unit_cost_minor=_minor(cost, places) if cost is not None else None,
            is_service=bool(item.IsService),
            is_unlinked=bool(item.IsUnlinked),
            is_batched=_batched(item),
            parent_row_id=parent,
            discount_minor=_discount(item, places),
        )
        yield from _lines(item.CompositeSubItems or [], order, places, item.RowId.lower())


def _discount(item: _Item, places: int) -> int:
    """What was taken off the line's price, gross; nothing where the price is not told."""
    if item.PricePerUnit is None:
        return 0
    full = item.PricePerUnit * item.Quantity
    if not item.TaxCostInclusive:
        full *= 1 + (item.TaxRate or Decimal(0)) / 100
    return max(0, _minor(full - (item.CostIncTax or Decimal(0)), places))


def _rate(told: Decimal | None) -> str:
    """The rate as a plain decimal; one that is not above zero is none."""
    return f"{told.normalize():f}" if told is not None and told > 0 else ""


def _batched(item: _Item) -> bool:
    required = item.BatchNumberScanRequired or item.SerialNumberScanRequired
    in_batches = any(place.BatchId for place in item.BinRacks or [])
    return bool(required or item.isBatchedStockItem or in_batches)


def _minor(amount: Decimal | None, places: int) -> int:
    # Linnworks prints JSON numbers; a third decimal is rounded half up.
    return int((amount or Decimal(0)).scaleb(places).to_integral_value(ROUND_HALF_UP))


def _instant(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        # Linnworks' instants are UTC; some are printed without an offset.
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return None if at.year < 1900 else at
