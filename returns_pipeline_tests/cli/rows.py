"""A database with a day in it, written row by row: what the reading commands read.

Unit ``u1`` of order #1001 was restocked and refunded in a sealed batch; ``u2`` is received
and held with an exception; ``u3`` is on its way.
"""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from returns_pipeline.storage import records
from returns_pipeline.storage import tables as t

DAY = date(2026, 3, 14)
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
NOW = datetime(2026, 3, 15, 9, tzinfo=UTC)
BATCH = "HRL-20260314-UKGBP-00"
POLICY = "p" * 64


def _item(key: str, order: str, stage: str, **more: Any) -> dict[str, Any]:
    return {
        "unit_key": key,
        "return_id": f"ret-{key}",
        "order_number": f"#{order}",
        "order_key": order,
        "line_item_id": "",
        "sku": "SHIRT-M",
        "stage": stage,
        "status": stage,
        "started_at": NOON - timedelta(days=3),
        "precisions": "".join(
            "e" if name == "started" or f"{name}_at" in more else "-" for name in records.FACTS
        ),
        "dropoff_method": "return-bar",
        "reason_code": "too-small",
        "disposition_code": "",
        "refund_type": "refund",
        "is_returnless": False,
        "exchange_sku": "",
        "exchange_quantity": 0,
        "problems": "",
        "source_rank": 1,
        "payload_hash": "h",
        "first_seen_at": NOON,
        "changed_at": NOON,
        "is_open": True,
        **more,
    }


def fill(engine: sa.Engine) -> None:
    """Write the day."""
    with engine.begin() as connection:

        def put(table: sa.Table, *rows: dict[str, Any]) -> None:
            for row in rows:
                connection.execute(sa.insert(table).values(**row))

        put(
            t.vendor_locations,
            {
                "location_id": "loc-1",
                "name": "HR Restock",
                "is_warehouse_managed": False,
                "is_present": True,
                "seen_at": NOON,
            },
        )
        for name in ("happy_returns.shipments", "linnworks.orders"):
            put(t.watermarks, {"name": name, "at": NOW, "updated_at": NOW})
        put(
            t.orders,
            {
                "order_id": "o-1",
                "num_id": 1,
                "reference": "#1001",
                "reference_key": "1001",
                "secondary_key": "",
                "source": "SHOPIFY",
                "sub_source": "",
                "currency": "GBP",
                "is_processed": True,
                "is_cancelled": False,
                "updated_at": NOON,
                "total_minor": 12000,
                "postage_minor": 0,
                "postage_vat_minor": 0,
                "payment_method": "PayPal",
                "location_id": "loc-0",
            },
        )
        put(
            t.order_lines,
            {
                "row_id": "row-1",
                "order_id": "o-1",
                "position": 0,
                "item_number": "",
                "sku": "SHIRT-M",
                "channel_sku": "",
                "stock_item_id": "s-1",
                "quantity": 2,
                "total_minor": 12000,
                "vat_minor": 2000,
                "tax_rate_bp": 2000,
                "unit_cost_minor": 1800,
                "is_service": False,
                "is_unlinked": False,
                "is_batched": False,
            },
        )
        put(
            t.return_items,
            _item("u1", "1001", "received", received_at=NOON, disposition_code="saleable"),
            _item("u2", "1001", "received", received_at=NOON, disposition_code="melted"),
            _item("u3", "1003", "approved", approved_at=NOON),
        )
        put(
            t.raw_payloads,
            {
                "source": "happy_returns.return",
                "key": "u1",
                "hash": "c" * 64,
                "body": '{"sku": "SHIRT-M"}',
                "fetched_at": NOON,
                "run_id": "run-1",
            },
        )
        put(
            t.unit_events,
            {
                "unit_key": "u1",
                "told": records.told_text([records.told_fact("received", NOON, "e")]),
                "seen_at": NOON,
                "raw_id": 1,
            },
        )
        for number, key in enumerate(("u1", "u2")):
            put(
                t.receipts,
                {
                    "unit_key": key,
                    "return_id": f"ret-{key}",
                    "order_key": "1001",
                    "received_at": NOON,
                    "business_date": DAY,
                    "seen_at": NOON,
                },
            )
            put(
                t.matches,
                {
                    "unit_key": key,
                    "outcome": "matched",
                    "code": "",
                    "reason": "",
                    "rule": "row_id",
                    "order_id": "o-1",
                    "row_id": "row-1",
                    "unit_no": number,
                    "candidates": "",
                    "since_at": NOON,
                    "decided_at": NOON,
                },
            )
        put(
            t.dispositions,
            {
                "unit_key": "u1",
                "sequence": 0,
                "source_code": "saleable",
                "disposition": "SELLABLE",
                "effect": "restock",
                "location_id": "loc-1",
                "is_sellable": True,
                "refund": "allow",
                "role": "inventory.sellable",
                "policy_hash": POLICY,
                "decided_at": NOON,
            },
        )
        gate = {"unit_key": "u2", "is_cleared": False, "since_at": NOON}
        why = {"code": "DISPOSITION_UNMAPPED", "reason": "no row for melted"}
        put(
            t.gates,
            {**gate, "gate": "stock", **why, "exception": "DISPOSITION_UNMAPPED"},
            {**gate, "gate": "refund", **why, "exception": "DISPOSITION_UNMAPPED"},
            {
                **gate,
                "unit_key": "u3",
                "gate": "refund",
                "code": "not_received",
                "reason": "the warehouse has not received it",
                "exception": "",
            },
        )
        put(
            t.stock_adjustments,
            {
                "adjustment_key": "adj-1",
                "unit_key": "u1",
                "kind": "restock",
                "order_id": "o-1",
                "row_id": "row-1",
                "sku": "SHIRT-M",
                "location_id": "loc-1",
                "from_location_id": "",
                "quantity": 1,
                "scrap_quantity": 0,
                "is_sellable": True,
                "role": "inventory.sellable",
                "state": "posted",
                "rma_header_id": 40001,
                "posted_at": NOON,
                "is_ledgered": True,
                "policy_hash": POLICY,
                "created_at": NOON,
            },
        )
        put(
            t.refunds_due,
            {
                "refund_key": "ref-1",
                "unit_key": "u1",
                "order_id": "o-1",
                "row_id": "row-1",
                "currency": "GBP",
                "goods_minor": 6000,
                "goods_vat_minor": 1000,
                "shipping_minor": 0,
                "shipping_vat_minor": 0,
                "fee_minor": 0,
                "fee_vat_minor": 0,
                "amount_minor": 6000,
                "tax_rate_bp": 2000,
                "tender": "refund",
                "gateway": "paypal",
                "executor": "linnworks",
                "effective_at": NOON,
                "business_date": DAY,
                "state": "actioned",
                "batch_id": BATCH,
                "settled_at": NOW,
                "is_ledgered": True,
                "policy_hash": POLICY,
                "created_at": NOON,
            },
        )
        put(t.closed_days, {"business_date": DAY, "closed_at": NOW, "run_id": "run-2"})
        put(
            t.batches,
            {
                "batch_id": BATCH,
                "kind": "primary",
                "state": "posted",
                "entity": "UK",
                "currency": "GBP",
                "business_date": DAY,
                "origin_date": DAY,
                "hash": "a" * 64,
                "body": "{}",
                "totals": json.dumps({"debit": 6000, "credit": 6000}),
                "policy_hash": POLICY,
                "sealed_at": NOW,
                "posted_at": NOW,
                "run_id": "run-2",
            },
        )
        lines = (
            ("sales_returns", "4100", "debit", 5000),
            ("vat_output", "2200", "debit", 1000),
            ("refund_clearing.paypal", "1261", "credit", 6000),
        )
        for number, (role, account, side, minor) in enumerate(lines, start=1):
            common = {
                "role": role,
                "account": account,
                "tax_key": "" if role.startswith("refund_clearing") else "20",
                "side": side,
                "amount_minor": minor,
                "currency": "GBP",
            }
            put(
                t.batch_lines,
                {**common, "batch_id": BATCH, "number": number, "unit_keys": '["u1"]'},
            )
            put(
                t.postings,
                {
                    **common,
                    "posting_key": f"post-{number}",
                    "unit_key": "u1",
                    "entity": "UK",
                    "occurred_at": NOON,
                    "business_date": DAY,
                    "batch_id": BATCH,
                    "line_number": number,
                    "policy_hash": POLICY,
                    "created_at": NOON,
                },
            )
        put(
            t.exceptions,
            {
                "code": "DISPOSITION_UNMAPPED",
                "key": "u2",
                "owner": "Operations",
                "severity": "S2",
                "status": "open",
                "message": "no row for melted",
                "amount_minor": 0,
                "currency": "",
                "unit_keys": '["u2"]',
                "return_ids": '["ret-u2"]',
                "order_numbers": '["#1001"]',
                "opened_at": NOON,
                "due_at": NOW + timedelta(days=1),
                "last_seen_at": NOW,
                "occurrences": 1,
                "policy_hash": POLICY,
            },
        )
