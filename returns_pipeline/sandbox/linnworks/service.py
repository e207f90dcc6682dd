"""Linnworks as a vendor that a server can serve: routes, sessions, limits, the journal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from returns_pipeline.sandbox.linnworks import orders, refunds, returns, staff, stock
from returns_pipeline.sandbox.linnworks.state import (
    APPLICATION_ID,
    APPLICATION_SECRET,
    TOKEN,
    LinnworksState,
)
from returns_pipeline.sandbox.linnworks.wire import BadRequest, body_of
from returns_pipeline.sandbox.server import Clock, Request, Response, Vendor, json_response

_LIMIT_250 = frozenset(
    """
    GetOrdersById GetOrderDetailsByNumOrderId GetOrderDetailsByReferenceId GetReturnItemsInfo
    AddOrderNote GetStockLevel_Batch GetItemChangesHistory GetStockItemIdsBySKU
    """.split()  # noqa: SIM905 (a column of sixty is no easier to read)
)
_WRITES = frozenset(
    """
    CreateOrders AddOrderNote CreateRMABooking ActionRMABooking DeleteRMA CreateRefund
    ActionRefund DeleteRefund UpdateStockLevelsBySKU
    """.split()  # noqa: SIM905 (a column of sixty is no easier to read)
)


def vendor(state: LinnworksState) -> Vendor:
    """A Linnworks of this state."""
    return Vendor(
        name="linnworks",
        handle=lambda request: handle(state, request),
        method_of=_method,
        over_limit=lambda method: _over_limit(state, method),
        books=state.books,
        too_many=lambda seconds: _too_many(150, seconds),
        staff=lambda action: _staff(state, action),
        switches=state.switches,
    )


def handle(state: LinnworksState, request: Request) -> Response:
    """Answer one request; what changes something is in the journal before its answer."""
    route = ROUTES.get((request.verb, request.path))
    method = _method(request)
    with state.lock:
        if route is None:
            return _error(request, 404, "No such method")
        if method != "AuthorizeByApplication" and not state.knows(
            request.headers.get("Authorization") or ""
        ):
            return _error(request, 401, "Invalid session")
        staff.catch_up(state)
        if state.journal is not None and method in _WRITES:
            state.journal(_entry(state, "request", request.verb, request.path, request.body))
        return _run(state, route, request)


def _run(
    state: LinnworksState, route: Callable[[LinnworksState, Request], object], request: Request
) -> Response:
    try:
        return json_response(route(state, request))
    except BadRequest as error:
        return _error(request, 422 if request.path.startswith("/v2/") else 400, str(error))


def _error(request: Request, code: int, message: str) -> Response:
    if not request.path.startswith("/v2/"):
        return json_response({"Code": None, "Message": message}, code)
    problem = {
        "type": f"https://httpstatuses.io/{code}",
        "title": message if code == 401 else "Unprocessable Entity" if code == 422 else "Not Found",
        "status": code,
        "detail": message,
        "instance": request.path,
    }
    return Response(code, json.dumps(problem).encode(), "application/problem+json")


def _staff(state: LinnworksState, action: Mapping[str, Any]) -> dict[str, Any]:
    with state.lock:
        staff.catch_up(state)
        if state.journal is not None:
            state.journal(_entry(state, "staff", "", "", json.dumps(action).encode()))
        try:
            return staff.act(state, action)
        except staff.NotYet as error:
            return {"error": str(error)}


def _entry(state: LinnworksState, kind: str, verb: str, path: str, body: bytes) -> dict[str, Any]:
    now = state.clock.now().isoformat()
    return {"kind": kind, "now": now, "verb": verb, "path": path, "body": body.decode()}


def replay(state: LinnworksState, entry: Mapping[str, Any]) -> None:
    """Let a journal entry happen again, at its own time."""
    clock, journal = state.clock, state.journal
    state.clock, state.journal = Clock(datetime.fromisoformat(entry["now"])), None
    try:
        body = entry["body"].encode()
        if entry["kind"] == "staff":
            _staff(state, json.loads(body))
        else:
            staff.catch_up(state)
            request = Request(entry["verb"], entry["path"], {}, {}, body)
            _run(state, ROUTES[request.verb, request.path], request)
    finally:
        state.clock, state.journal = clock, journal


def _method(request: Request) -> str:
    return request.path.rstrip("/").rpartition("/")[2]


def _over_limit(state: LinnworksState, method: str) -> Response | None:
    most = 250 if method in _LIMIT_250 else 150
    # Nothing is published about the v2 feed's limit.
    if not state.limits or method == "orders" or state.minute.admits(method, most):
        return None
    return _too_many(most, 60)


def _too_many(most: int, seconds: float) -> Response:
    message = f"API calls quota exceeded! Maximum admitted {most} per Minute."
    body = json.dumps({"Code": None, "Message": message}).encode()
    return Response(429, body, headers={"Retry-After": f"{seconds:.0f}"})


def authorise(state: LinnworksState, request: Request) -> object:
    """``AuthorizeByApplication``: the session token and the server of later calls."""
    given = body_of(request)
    wanted = {
        "ApplicationId": APPLICATION_ID,
        "ApplicationSecret": APPLICATION_SECRET,
        "Token": TOKEN,
    }
    if {name: str(given.get(name, "")).lower() for name in wanted} != wanted:
        raise BadRequest("Application or token is not valid")
    token = state.open_session()
    return {
        "Id": token,
        "EntityId": token,
        "AppName": "sandbox",
        "UserName": "api@example.test",
        "Locality": "EU",
        "SuperAdmin": False,
        "TTL": 1800,
        "Token": token,
        "GroupName": "",
        "UserType": "API",
        "Status": {"State": "AVAILABLE", "Reason": "", "Parameters": {}},
        "UserId": token,
        "Properties": {},
        "Email": "api@example.test",
        "Server": state.url,
        "PushServer": state.url,
    }


ROUTES: dict[tuple[str, str], Callable[[LinnworksState, Request], object]] = {
    ("POST", "/api/Auth/AuthorizeByApplication"): authorise,
    ("GET", "/v2/orders"): orders.v2_orders,
    ("GET", "/api/Orders/GetOrderDetailsByReferenceId"): orders.orders_by_reference,
    ("POST", "/api/Orders/GetOrdersById"): orders.orders_by_id,
    ("POST", "/api/Orders/CreateOrders"): orders.create_orders,
    ("POST", "/api/ProcessedOrders/AddOrderNote"): orders.add_note,
    ("GET", "/api/ProcessedOrders/GetProcessedRelatives"): orders.relatives,
    ("GET", "/api/ProcessedOrders/GetReturnCategories"): stock.categories,
    ("GET", "/api/ProcessedOrders/GetReturnItemsInfo"): returns.return_items,
    ("GET", "/api/ProcessedOrders/GetReturnsExchanges"): returns.returns_exchanges,
    ("GET", "/api/ProcessedOrders/GetTotalRefunds"): refunds.total_refunds,
    ("GET", "/api/Inventory/GetStockLocations"): stock.locations,
    ("POST", "/api/Inventory/GetStockItemIdsBySKU"): stock.ids_by_sku,
    ("GET", "/api/Stock/GetItemChangesHistory"): stock.changes_history,
    ("POST", "/api/Stock/GetStockLevel_Batch"): stock.levels,
    ("POST", "/api/Stock/UpdateStockLevelsBySKU"): stock.change_levels,
    ("GET", "/api/ReturnsRefunds/SearchReturnsRefundsPaged"): returns.search_returns,
    ("POST", "/api/ReturnsRefunds/CreateRMABooking"): returns.create_rma,
    ("POST", "/api/ReturnsRefunds/ActionRMABooking"): returns.action_rma,
    ("POST", "/api/ReturnsRefunds/DeleteRMA"): returns.delete_rma,
    ("POST", "/api/ReturnsRefunds/GetRMAHeadersByOrderId"): returns.rma_headers,
    ("POST", "/api/ReturnsRefunds/GetActionableRMAHeaders"): returns.actionable_headers,
    ("POST", "/api/ReturnsRefunds/GetProcessedOrAckedErrorRMAHeaders"): returns.processed_headers,
    ("POST", "/api/ReturnsRefunds/GetReturnOptions"): returns.return_options,
    ("POST", "/api/ReturnsRefunds/CreateRefund"): refunds.create_refund,
    ("POST", "/api/ReturnsRefunds/ActionRefund"): refunds.action_refund,
    ("POST", "/api/ReturnsRefunds/DeleteRefund"): refunds.delete_refund,
    ("POST", "/api/ReturnsRefunds/GetRefundHeadersByOrderId"): refunds.refund_headers,
}
