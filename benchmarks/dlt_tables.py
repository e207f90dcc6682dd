"""The same pages by dlt, asked for the tables the pipeline writes, validated.

The way its documentation names for each part: ``rest_api`` reads the pages once, a
transformer makes the rows of each table, a Pydantic model validates the units, ``merge``
keeps one row a key. Written as fast as we know how: one pass over a page a table, plain
dicts, no nested tables, no compression, two normalising processes, the fastest load format
of each destination. It is let off what the pipeline does besides: comparing a payload with
the last one, a policy's codes, problems of a field, watermarks, secondary indexes, checks of
the stored table.

Runs in an environment of its own (``requirements-bench.lock``).
``python dlt_tables.py DATABASE_URL VENDOR_URL SCRATCH_FOLDER``
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal

import orjson
from dlt_load import credentials, processor, source_config
from pydantic import BaseModel, Field

_NOW = datetime(2026, 10, 3, 12, tzinfo=UTC)
# Kept whatever stands there, kept where it is a code, and nothing else.
_KNOWN = frozenset(
    [
        *("happyReturnsItemID", "happyReturnsReturnID", "happyReturnsExpressCode", "orderNumber"),
        *("orderID", "orderLineItemID", "sku", "upc", "productVariantID", "labelBarcode"),
        *("productName", "purchasedDate", "returnReasonID", "returnReason", "dropoffMethod"),
        *("startedDate", "approvedDate", "departureDate", "inspectionOutcome", "refundType"),
        *("bagBarcodes", "carrier", "tracking", "destinationAddressID", "palletNumber"),
        "shippingBoxBarcode",
    ]
)
_CODE = re.compile(r"[\w.:+/#-]{0,64}( [A-Z]{3})?", re.ASCII)


class Unit(BaseModel):
    """A returned unit: the columns of ``return_items`` and what they may hold."""

    dlt_config: ClassVar[dict[str, bool]] = {"skip_nested_types": True}

    unit_key: str = Field(min_length=1)
    return_id: str = Field(min_length=1)
    order_number: str
    order_key: str
    line_item_id: str
    sku: str
    stage: Literal[
        "started", "dropped_off", "approved", "departed", "received", "expired", "cancelled"
    ]
    status: str
    started_at: datetime | None
    dropped_off_at: datetime | None
    approved_at: datetime | None
    departed_at: datetime | None
    received_at: datetime | None
    expired_at: datetime | None
    cancelled_at: datetime | None
    precisions: str = Field(pattern="^[edi-]{7}$")
    dropoff_method: str
    reason_code: str
    disposition_code: str
    disposition_at: datetime | None
    refund_type: Literal["refund", "exchange", "store-credit"] | None
    refund_amount_minor: int | None
    shipping_refund_minor: int | None
    fee_minor: int | None
    fee_currency: str | None
    currency: str | None
    is_returnless: bool
    exchange_sku: str
    exchange_quantity: int = Field(ge=0)
    exchange_unit_price_minor: int | None
    problems: str
    updated_at: datetime | None
    source_rank: int = Field(ge=0, le=1)
    payload_hash: str = Field(pattern="^[0-9a-f]{64}$")
    first_seen_at: datetime
    changed_at: datetime
    is_open: bool


def _kept(item: dict[str, Any]) -> bytes:
    plain = {
        name: value
        for name, value in item.items()
        if name in _KNOWN or (isinstance(value, str) and _CODE.fullmatch(value))
    }
    body = orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
    return body if b"@" not in body else re.sub(rb"[^\s\"]+@[^\s\"]+", b"***", body)


def _hash(item: dict[str, Any]) -> str:
    # dlt hands out decoded items: their bytes are made again.
    return hashlib.sha256(orjson.dumps(item)).hexdigest()


def _day(text: str | None) -> str | None:
    return f"{text}T00:00:00Z" if text else None


def _payloads(items: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    yield [
        {
            "source": "happy_returns.outbound",
            "key": item["happyReturnsItemID"],
            "hash": _hash(item),
            "body": _kept(item).decode(),
            "fetched_at": _NOW,
            "run_id": "bench",
        }
        for item in items
    ]


def _units(items: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    yield [
        {
            "unit_key": item["happyReturnsItemID"],
            "return_id": item["happyReturnsReturnID"],
            "order_number": item["orderNumber"],
            "order_key": item["orderNumber"].lstrip("#").casefold(),
            "line_item_id": item["orderLineItemID"],
            "sku": item["sku"],
            "stage": "departed" if item.get("departureDate") else "started",
            "status": item.get("status", ""),
            "started_at": _day(item.get("startedDate")),
            "dropped_off_at": None,
            "approved_at": _day(item.get("approvedDate")),
            "departed_at": _day(item.get("departureDate")),
            "received_at": None,
            "expired_at": None,
            "cancelled_at": None,
            "precisions": "d-dd---",
            "dropoff_method": item.get("dropoffMethod", ""),
            "reason_code": item.get("returnReasonID", ""),
            "disposition_code": item.get("inspectionOutcome", ""),
            "disposition_at": _NOW if item.get("inspectionOutcome") else None,
            "refund_type": item.get("refundType"),
            "refund_amount_minor": None,
            "shipping_refund_minor": None,
            "fee_minor": None,
            "fee_currency": None,
            "currency": None,
            "is_returnless": False,
            "exchange_sku": "",
            "exchange_quantity": 0,
            "exchange_unit_price_minor": None,
            "problems": "",
            "updated_at": _NOW,
            "source_rank": 0,
            "payload_hash": _hash(item),
            "first_seen_at": _NOW,
            "changed_at": _NOW,
            "is_open": True,
        }
        for item in items
    ]


def _events(items: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    yield [
        {
            "unit_key": item["happyReturnsItemID"],
            "told": json.dumps(
                [
                    {"kind": kind, "at": _day(item[name]), "precision": "d", "detail": ""}
                    for kind, name in (
                        ("started", "startedDate"),
                        ("approved", "approvedDate"),
                        ("departed", "departureDate"),
                    )
                    if item.get(name)
                ]
            ),
            "seen_at": _NOW,
        }
        for item in items
    ]


def _returns(items: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    found = {
        (item["happyReturnsReturnID"], item["orderNumber"]): {
            "return_id": item["happyReturnsReturnID"],
            "order_key": item["orderNumber"].lstrip("#").casefold(),
            "order_number": item["orderNumber"],
            "express_code": item.get("happyReturnsExpressCode", ""),
            "merchant_rma": "",
            "first_seen_at": _NOW,
        }
        for item in items
    }
    yield list(found.values())


def _watched(items: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    found = {
        item["orderNumber"]: {
            "order_key": item["orderNumber"].lstrip("#").casefold(),
            "reference": item["orderNumber"],
            "reason": "open_return",
            "priority": 0,
            "due_at": _NOW + timedelta(hours=6),
            "closes_at": _NOW + timedelta(days=60),
            "is_active": True,
        }
        for item in items
    }
    yield list(found.values())


def main(database_url: str, vendor: str, scratch: str) -> None:
    on_sqlite = database_url.startswith("sqlite")
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"
    os.environ["NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION"] = "true"
    os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = "true"
    os.environ["NORMALIZE__WORKERS"] = "2"  # processes: a table each
    import dlt  # noqa: PLC0415 (reads its settings when imported)
    from dlt.sources.rest_api import rest_api_source  # noqa: PLC0415

    if on_sqlite:
        destination = dlt.destinations.sqlalchemy(credentials=database_url)
        merge = {"disposition": "merge", "strategy": "delete-insert"}
    else:
        destination = dlt.destinations.postgres(credentials=credentials(database_url))
        merge = {"disposition": "merge", "strategy": "upsert"}

    source = rest_api_source(source_config(vendor, "append"))
    pages = source.resources["return_items"]
    pages.selected = False  # read once, for the tables below
    for name, rows, more in (
        ("raw_payloads", _payloads, {"write_disposition": "append"}),
        ("units", _units, {"write_disposition": merge, "primary_key": "unit_key", "columns": Unit}),
        ("unit_events", _events, {"write_disposition": "append"}),
        (
            "returns",
            _returns,
            {"write_disposition": merge, "primary_key": ["return_id", "order_key"]},
        ),
        ("watch_list", _watched, {"write_disposition": merge, "primary_key": "order_key"}),
    ):
        source.resources.add(dlt.transformer(rows, data_from=pages, name=name, **more))
    began, spent = time.perf_counter(), processor()
    pipeline = dlt.pipeline(
        "bench", destination=destination, dataset_name="bench", pipelines_dir=scratch
    )
    pipeline.run(source, loader_file_format=None if on_sqlite else "csv")
    total, busy = time.perf_counter() - began, processor() - spent
    with (
        pipeline.sql_client() as client,
        client.execute_query("SELECT count(*) FROM units") as cursor,
    ):
        rows_there = cursor.fetchone()[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"total": total, "processor": busy, "peak_mb": peak, "rows": rows_there}))


if __name__ == "__main__":
    main(*sys.argv[1:])
