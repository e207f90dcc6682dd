"""Linnworks' stock: locations, levels, history, products by SKU, return categories."""

from __future__ import annotations

from typing import Any

from returns_pipeline.sandbox.linnworks.state import LinnworksState
from returns_pipeline.sandbox.linnworks.wire import (
    ZERO,
    BadRequest,
    body_of,
    check_names,
    guid,
    guids,
    number,
    objects,
    query_guid,
    stamp,
    wrapped,
)
from returns_pipeline.sandbox.model import Location, StockItem
from returns_pipeline.sandbox.server import Request, cut_page


def locations(state: LinnworksState, _request: Request) -> object:
    """``GetStockLocations``."""
    return [
        {
            "StockLocationId": place.id,
            "LocationName": place.name,
            "LocationTag": place.tag,
            "IsWarehouseManaged": place.warehouse_managed,
            "IsFulfillmentCenter": False,
            "IsNotTrackable": False,
            "StockLocationIntId": place.int_id,
        }
        for place in state.world.locations
    ]


def categories(state: LinnworksState, _request: Request) -> object:
    """``GetReturnCategories``."""
    return [{"pkItemId": one, "CategoryName": name} for one, name in state.world.return_categories]


def ids_by_sku(state: LinnworksState, request: Request) -> object:
    """``GetStockItemIdsBySKU``: a SKU that is not known is left out."""
    skus = wrapped(request, "SKUS").get("SKUS") or []
    if not isinstance(skus, list):
        raise BadRequest("SKUS: a list")
    found = [item for item in (state.item(str(sku)) for sku in skus) if item is not None]
    return {"Items": [{"StockItemId": item.id, "SKU": item.sku} for item in found]}


def levels(state: LinnworksState, request: Request) -> object:
    """``GetStockLevel_Batch``: each product at all locations."""
    given = wrapped(request, "StockItemIds")
    check_names(given, frozenset(["StockItemIds"]))
    items = [state.items_by_id.get(one) for one in guids(given, "StockItemIds")]
    return [
        {
            "pkStockItemId": item.id,
            "StockItemLevels": [_level(state, item, place) for place in state.world.locations],
        }
        for item in items
        if item is not None
    ]


def _level(state: LinnworksState, item: StockItem, place: Location) -> dict[str, Any]:
    level = state.levels[item.sku, place.id]
    ordered = _in_order_book(state, item.sku, place)
    moves = state.movements(item.sku, place.id)
    return {
        "Location": {
            "StockLocationId": place.id,
            "StockLocationIntId": place.int_id,
            "LocationName": place.name,
            "LocationTag": place.tag,
            "IsFulfillmentCenter": False,
            "IsWarehouseManaged": place.warehouse_managed,
            "BinRack": "",
        },
        "StockLevel": level,
        "StockValue": float(level * item.unit_cost),
        "MinimumLevel": 0,
        "InOrderBook": ordered,
        "Due": 0,
        "JIT": False,
        "InOrders": 0,
        "Available": _available(state, item, place),
        "UnitCost": float(item.unit_cost),
        "SKU": item.sku,
        "AutoAdjust": True,
        "LastUpdateDate": stamp(moves[-1].at) if moves else None,
        "LastUpdateOperation": moves[-1].note if moves else None,
        "PendingUpdate": False,
        "StockItemPurchasePrice": float(item.unit_cost),
        "StockItemId": item.id,
        "StockItemIntId": item.int_id,
    }


def _in_order_book(state: LinnworksState, sku: str, place: Location) -> int:
    """Units that orders made here hold, until they are despatched."""
    return sum(
        line.quantity
        for order in state.made_orders
        if order.fulfilment_location_id == place.id and not state.closed_at(order)
        for line in order.lines
        if line.sku == sku
    )


def _available(state: LinnworksState, item: StockItem, place: Location) -> int:
    """What is there less what is ordered; of a bundle, as many as its parts make."""
    ordered = _in_order_book(state, item.sku, place)
    if item.children:
        parts = ((state.item(sku), count) for sku, count in item.children)
        return min(_available(state, one, place) // n for one, n in parts if one) - ordered
    return state.levels[item.sku, place.id] - ordered


def change_levels(state: LinnworksState, request: Request) -> object:
    """``UpdateStockLevelsBySKU``: relative, without a key; nothing goes below zero.

    An unknown SKU or location refuses the whole call (contract 12, question 9). Of what
    would go below zero only what is there is taken (hazard 20).
    """
    given = body_of(request, "stockLevels", "changeSource")
    asked = objects(given, "stockLevels", frozenset(["SKU", "LocationId", "Level"]))
    places = {place.id: place for place in state.world.locations}
    rows = []
    for one in asked:
        item = state.item(str(one.get("SKU")))
        place = places.get(guid(one, "LocationId") or "")
        units = one.get("Level")
        if item is None or place is None or not isinstance(units, int):
            raise BadRequest("SKU, LocationId or Level is not valid")
        rows.append((item, place, units))
    source = str(given.get("changeSource") or "")
    note = source if state.switches["change_source_in_note"] else "DIRECT ADJUSTMENT"
    for item, place, units in rows:
        change = max(units, -max(0, state.levels[item.sku, place.id]))
        if change:
            state.move(item.sku, place.id, change, note, state.clock.now())
    return [_level(state, item, place) for item, place, _units in rows]


def changes_history(state: LinnworksState, request: Request) -> object:
    """``GetItemChangesHistory``: newest first; ``locationId`` is needed."""
    place = query_guid(request, "locationId")
    page = number(request.one("pageNumber"), 1)
    size = number(request.one("entriesPerPage"), 200)
    if place is None or page < 1 or not 1 <= size <= 500:
        raise BadRequest("locationId is needed; pageNumber begins with 1; 1 to 500 entries")
    item = state.items_by_id.get(query_guid(request, "stockItemId") or "")
    rows = state.movements(item.sku, place)[::-1] if item else []
    looping = request.disturbance == "looping_cursor"
    start = 0 if looping else (page - 1) * size
    cut, _next = cut_page(rows, start, size, request.disturbance)
    total = len(rows) + ((page + 1) * size if looping else 0)
    return {
        "PageNumber": page,
        "EntriesPerPage": size,
        "TotalEntries": total,
        "TotalPages": -(-total // size),
        "Data": [
            {
                "StockItemId": ZERO,
                "Date": stamp(move.at),
                "Level": move.level,
                "StockValue": 0.0,
                "Note": move.note,
                "ChangeQty": move.change,
                "ChangeValue": 0.0,
            }
            for move in cut
        ],
    }
