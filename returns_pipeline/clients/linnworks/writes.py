"""Our writes to Linnworks: each is one method, sent once.

A write returns proof or raises an error typed by what to do next. Business failures that
travel as HTTP 200 are understood here. Keeping, repeating and reading back a write are
``dispatch``'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from returns_pipeline.clients.linnworks.answers import (
    Actioned,
    ActionedRma,
    Booked,
    BookedRma,
    ChangedLevel,
    MadeRefund,
    RefundAnswer,
    RmaLine,
    StockLevel,
    Verified,
)
from returns_pipeline.clients.linnworks.session import Account
from returns_pipeline.clients.transport import OutcomeUnknown, Refused
from returns_pipeline.domain.money import format_minor


class Writes(Account):
    """The methods that change something there."""

    def create_rma_booking(
        self,
        order_id: str,
        lines: Sequence[Mapping[str, Any]],
        *,
        reference: str,
        category: str,
    ) -> BookedRma:
        """Book a return (section 3.1 [S]). Moves no stock; a repetition books a second.

        Args:
            order_id: The processed order.
            lines: Each ``row_id, location_id, quantity, scrap_quantity, reason``; where goods
                are sent instead also ``instead``: ``sku, item_id, quantity, location_id``.
            reference: Ours; Linnworks does not hold it unique.
            category: A return category, or "".

        Returns:
            Proof, when the answer names a header and shows every line asked for.

        Raises:
            Refused: Linnworks said no in a 200 and made no booking.
            OutcomeUnknown: Anything that is no clear yes or no.
        """
        name = "CreateRMABooking"
        returned: list[dict[str, Any]] = []
        exchanged: list[dict[str, Any]] = []
        for line in lines:
            item = {
                "OrderItemRowId": line["row_id"],
                "ReturnLocation": line["location_id"],
                "ReturnQuantity": line["quantity"],
                "ScrapQuantity": line["scrap_quantity"],
                # Money has one way out, and it is not this one (hazard 5).
                "RefundAmount": 0,
                "ReasonCategory": category,
                "Reason": line["reason"],
            }
            if line.get("instead"):
                exchanged.append(item | _instead(line["instead"]))
            else:
                returned.append(item)
        document = {
            "request": {
                "ChannelInitiated": False,
                "OrderId": order_id,
                "ReturnItems": returned,
                "ExchangeItems": exchanged,
                "ResendItems": [],
                "Reference": reference,
            }
        }
        found = self._write(name, f"/api/ReturnsRefunds/{name}", document, Booked)
        rows = found.Items or []
        about_lines = [text for row in rows for text in row.texts()]
        said = self._said(found.Errors or [], about_lines)
        if not found.RMAHeaderId or found.RMAHeaderId < 0:
            if said:
                raise Refused(name, said)
            raise OutcomeUnknown(name, "neither a booking nor a reason")
        booked = (_quantities_booked(rows), _instead_booked(rows))
        if about_lines or booked != (_quantities_asked(lines), _instead_asked(lines)):
            # There is a header, but what stands in it must be read, not believed.
            raise OutcomeUnknown(name, "; ".join(said) or "booked other lines than asked")
        return BookedRma(found.RMAHeaderId, tuple(rows), said)

    def action_rma_booking(self, order_id: str, header_id: int) -> ActionedRma:
        """Action a booking: this posts its stock (section 3.2).

        Returns:
            Proof: said to be actioned, every line actioned, and no error text anywhere
            (``SuccessfullyActioned`` alone is no proof, section 1.3 [A]).

        Raises:
            Refused: Linnworks said no and no line is actioned.
            OutcomeUnknown: Anything that is no clear yes or no.
        """
        name = "ActionRMABooking"
        document = {"request": {"RMAHeaderId": header_id, "OrderId": order_id}}
        found = self._write(name, f"/api/ReturnsRefunds/{name}", document, Actioned)
        if found.RMAHeaderId not in {None, 0, header_id}:
            raise OutcomeUnknown(name, "the answer is about another booking")
        rows = found.Items or []
        said = self._said(found.Errors or [], [text for row in rows for text in row.texts()])
        self._judge_action(name, said, rows, successful=found.SuccessfullyActioned)
        return ActionedRma(header_id, found.RefundHeaderId or None, tuple(rows))

    def _judge_action(
        self,
        name: str,
        said: tuple[str, ...],
        rows: Sequence[Verified],
        *,
        successful: bool,
    ) -> None:
        """Return when it is proven that everything was actioned; else raise."""
        live = [row for row in rows if not row.Deleted]
        if successful and not said and live and all(row.Actioned for row in live):
            return
        if said and not successful and not any(row.Actioned for row in rows):
            raise Refused(name, said)
        raise OutcomeUnknown(name, "; ".join(said) or "actioned in part, or not clearly")

    def delete_rma(self, header_id: int) -> None:
        """Delete a booking that was not actioned; it has moved nothing (section 3.3)."""
        name = "DeleteRMA"
        document = {
            "request": {
                "RMAHeaderId": header_id,
                "ReasonTag": "",
                "RejectOnChannel": False,
            }
        }
        self._write(name, f"/api/ReturnsRefunds/{name}", document, dict[str, Any])

    def create_refund(
        self, order_id: str, lines: Sequence[Mapping[str, Any]], *, currency: str
    ) -> MadeRefund:
        """Create a refund (section 3.4 [S]); no money leaves yet.

        Args:
            order_id: The processed order.
            lines: Each ``unit`` (``Item`` or ``Shipping``), ``row_id``, ``return_row_id``,
                ``amount_minor``, ``quantity``, ``external_reference``, ``note``.
            currency: Of the amounts.

        Returns:
            Proof, when the answer names a header and its lines sum to what was asked.

        Raises:
            Refused: Linnworks said no in a 200 and made no refund.
            OutcomeUnknown: Anything that is no clear yes or no.
        """
        name = "CreateRefund"
        rows = []
        for line in lines:
            row: dict[str, Any] = {
                "RefundedUnit": line["unit"],
                # The digits themselves: a JSON number that never was a binary float.
                "Amount": msgspec.Raw(format_minor(line["amount_minor"], currency).encode()),
                "CancelledQuantity": 0,
                "ExternalReference": line["external_reference"],
                "FreeTextOrNote": line["note"],
            }
            if line["unit"] == "Item":
                row["OrderItemRowId"] = line["row_id"]
                row["Quantity"] = line["quantity"]
                if line.get("return_row_id") is not None:
                    row["ReturnRowId"] = line["return_row_id"]
            rows.append(row)
        document = {
            "request": {
                "ChannelInitiated": False,
                "OrderId": order_id,
                "RefundLines": rows,
            }
        }
        found = self._write(name, f"/api/ReturnsRefunds/{name}", document, RefundAnswer)
        said = self._said(_refund_texts(found))
        made = found.RefundLines or []
        if not found.RefundHeaderId or found.RefundHeaderId < 0:
            if said:
                raise Refused(name, said)
            raise OutcomeUnknown(name, "neither a refund nor a reason")
        asked = Decimal(format_minor(sum(line["amount_minor"] for line in lines), currency))
        if said or sum((row.Amount for row in made), Decimal(0)) != asked:
            raise OutcomeUnknown(name, "; ".join(said) or "made other lines than asked")
        return MadeRefund(found.RefundHeaderId, found.RefundReference or "", tuple(made))

    def action_refund(self, order_id: str, header_id: int) -> MadeRefund:
        """Action a refund: this sends the money (section 3.4).

        Raises:
            Refused: Linnworks said no and no line is actioned.
            OutcomeUnknown: Anything that is no clear yes or no.
        """
        name = "ActionRefund"
        document = {"request": {"RefundHeaderId": header_id, "OrderId": order_id}}
        found = self._write(name, f"/api/ReturnsRefunds/{name}", document, RefundAnswer)
        if found.RefundHeaderId not in {None, 0, header_id}:
            raise OutcomeUnknown(name, "the answer is about another refund")
        rows = found.RefundLines or []
        said = self._said(_refund_texts(found))
        self._judge_action(name, said, rows, successful=bool(found.SuccessfullyActioned))
        return MadeRefund(header_id, found.RefundReference or "", tuple(rows))

    def create_order(self, order: Mapping[str, Any], *, location: str) -> str | None:
        """Create one order; unique by source, sub source and reference (section 4.2 [D]).

        Returns:
            The order's id; ``None`` where Linnworks answered with an empty list: such an
            order is there already ([P]; another note says that its id comes back).
        """
        name = "CreateOrders"
        document = {"orders": [order], "location": location}
        found = self._write(name, f"/api/Orders/{name}", document, list[str])
        if len(found) > 1:
            raise OutcomeUnknown(name, "several orders for one")
        return found[0].lower() if found else None

    def change_stock_levels(
        self, sku: str, changes: Sequence[tuple[str, int]], *, source: str
    ) -> tuple[StockLevel, ...]:
        """Change an item's levels by so many units each (section 4.3 [S]).

        Relative, and without a key: a repetition changes them again (hazard 2).

        Args:
            sku: The item.
            changes: Location id and units, negative where they leave.
            source: Our mark; that the history shows it is likely, not certain.

        Returns:
            Proof, when the answer shows a level at every location that was named.

        Raises:
            Refused: Linnworks said no. Whether all of it or some is not published: look.
            OutcomeUnknown: Anything that is no clear yes or no.
        """
        name = "UpdateStockLevelsBySKU"
        document = {
            "stockLevels": [
                {"SKU": sku, "LocationId": place, "Level": units} for place, units in changes
            ],
            "changeSource": source,
        }
        rows = self._write(name, f"/api/Stock/{name}", document, list[ChangedLevel])
        found = tuple(
            StockLevel(
                (row.StockItemId or "").lower(),
                row.Location.StockLocationId.lower(),
                row.StockLevel,
                row.StockLevel if row.Available is None else row.Available,
            )
            for row in rows
            if sku == row.SKU
        )
        if {row.location_id for row in found} != {place.lower() for place, _ in changes}:
            raise OutcomeUnknown(name, "it shows other levels than were changed")
        return found

    def add_order_note(self, order_id: str, text: str) -> str:
        """Add an internal note to an order (section 4.1 [S]); a repetition adds another."""
        name = "AddOrderNote"
        document = {"pkOrderID": order_id, "noteText": text, "isInternal": True}
        return self._write(name, f"/api/ProcessedOrders/{name}", document, str)


def _quantities_asked(
    lines: Sequence[Mapping[str, Any]],
) -> Counter[tuple[str, str, str]]:
    asked: Counter[tuple[str, str, str]] = Counter()
    for line in lines:
        place = (str(line["row_id"]).lower(), str(line["location_id"]).lower())
        asked[*place, "returned"] += line["quantity"]
        asked[*place, "scrapped"] += line["scrap_quantity"]
    return +asked


def _quantities_booked(rows: Sequence[RmaLine]) -> Counter[tuple[str, str, str]]:
    booked: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        if not row.Deleted:
            place = (
                (row.OrderItemRowId or "").lower(),
                (row.ReturnLocation or "").lower(),
            )
            booked[*place, "returned"] += row.ReturnQuantity or 0
            booked[*place, "scrapped"] += row.ScrapQuantity or 0
    return +booked


def _instead(given: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a line one of ``ExchangeItems`` (section 3.1 [S])."""
    return {
        "ExchangeStockItemId": given["item_id"],
        "ExchangeSKU": given["sku"],
        "ExchangeTitle": given["sku"],
        "ExchangeQuantity": given["quantity"],
        "DespatchLocationId": given["location_id"],
        # Whatever it adds would be a price that nobody agreed on.
        "AdditionalCost": 0,
    }


def _instead_asked(lines: Sequence[Mapping[str, Any]]) -> Counter[tuple[str, Any, Any]]:
    return Counter(
        (str(line["row_id"]).lower(), line["instead"]["sku"], line["instead"]["quantity"])
        for line in lines
        if line.get("instead")
    )


def _instead_booked(rows: Sequence[RmaLine]) -> Counter[tuple[str, Any, Any]]:
    return Counter(
        ((row.OrderItemRowId or "").lower(), row.ExchangeSKU, row.ExchangeQuantity)
        for row in rows
        if not row.Deleted and row.Type == "Exchange"
    )


def _refund_texts(found: RefundAnswer) -> list[str]:
    texts = list(found.Errors or [])
    if found.CannotRefundReason not in {None, "", "None"}:
        texts.append(f"CannotRefundReason {found.CannotRefundReason}")
    return [
        *texts,
        *(text for line in found.RefundLines or [] for text in line.texts()),
    ]
