"""Builders: the smallest valid value of each noun, each test naming only what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from returns_pipeline.domain.model import (
    Decided,
    Disposition,
    DispositionRule,
    Executor,
    Fact,
    Matched,
    Order,
    OrderLine,
    Precision,
    RefundType,
    Severity,
    Stage,
    StockEffect,
    Unit,
)
from returns_pipeline.domain.policy import (
    AgePolicy,
    AlertPolicy,
    BreakerPolicy,
    FinancePolicy,
    GatePolicy,
    HappyReturnsPolicy,
    LinnworksPolicy,
    Merchant,
    Policy,
    RefundPolicy,
    SchedulePolicy,
)

T0 = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
ROW = "11111111-aaaa-4bbb-8ccc-000000000001"
ROW2 = "11111111-aaaa-4bbb-8ccc-000000000002"
ROW3 = "11111111-aaaa-4bbb-8ccc-000000000003"
ORDER = "22222222-aaaa-4bbb-8ccc-000000000001"
PLACES = {
    "loc-restock": "HR Restock",
    "loc-b": "HR B-Stock",
    "loc-damaged": "HR Damaged",
    "loc-quarantine": "HR Quarantine",
    "loc-refurb": "HR Refurb",
    "loc-vendor": "HR Vendor",
}


def at(hours: float) -> datetime:
    """``hours`` after the morning of the worked example."""
    return T0 + timedelta(hours=hours)


def fact(hours: float = 0, precision: Precision = Precision.EXACT) -> Fact:
    return Fact(at(hours), precision)


def unit(key: str = "u1", **values: Any) -> Unit:
    number = values.pop("order_number", "1001")
    base = Unit(
        unit_key=key,
        return_id=values.pop("return_id", "ret-1"),
        order_number=number,
        order_key=number.lstrip("#").casefold(),
        line_item_id=values.pop("line_item_id", "L1"),
        sku=values.pop("sku", "SHIRT-M"),
        started=fact(-48),
        updated_at=T0,
        source_rank=1,
        payload_hash=f"hash-{key}",
    )
    return replace(base, **values)


def received(key: str = "u1", **values: Any) -> Unit:
    """A unit the warehouse has inspected: the one whose gates stand open."""
    given: dict[str, Any] = {
        "received": fact(0),
        "disposition_code": "saleable",
        "disposition_at": at(1),
    }
    return unit(key, **{**given, **values})


def line(row_id: str = ROW, **values: Any) -> OrderLine:
    base = OrderLine(
        row_id=row_id,
        order_id=ORDER,
        item_number="L1",
        sku="SHIRT-M",
        channel_sku="",
        quantity=1,
        total_minor=6000,
        vat_minor=1000,
        tax_rate_bp=2000,
        unit_cost_minor=1800,
    )
    return replace(base, **values)


def order(*lines: OrderLine, **values: Any) -> Order:
    rows = lines or (line(),)
    base = Order(
        order_id=ORDER,
        num_id=100001,
        reference_key="1001",
        secondary_key="",
        source="SHOPIFY",
        sub_source="uk",
        currency="GBP",
        processed=True,
        cancelled=False,
        total_minor=sum(row.total_minor for row in rows) + 495,
        postage_minor=495,
        postage_vat_minor=83,
        payment_method="Shopify Payments",
        lines=rows,
    )
    return replace(base, **values)


def matched(key: str = "u1", row_id: str = ROW, unit_no: int = 0) -> Matched:
    return Matched(key, ORDER, row_id, unit_no, "line_id")


def decided(
    disposition: Disposition = Disposition.SELLABLE, key: str = "u1", **values: Any
) -> Decided:
    rule = RULES[disposition]
    ids = {name: place for place, name in PLACES.items()}
    base = Decided(
        unit_key=key,
        source_code=disposition.value.lower(),
        disposition=disposition,
        effect=rule.effect,
        location_id=ids.get(rule.location, ""),
        sellable=rule.sellable,
        refund=rule.refund,
        role=rule.role,
    )
    return replace(base, **values)


def _rule(
    disposition: Disposition,
    effect: StockEffect,
    location: str,
    role: str,
    refund: str = "allow",
) -> DispositionRule:
    sellable = disposition in {Disposition.SELLABLE, Disposition.SELLABLE_B}
    return DispositionRule(disposition, effect, location, sellable, refund, role)


_D, _E = Disposition, StockEffect
RULES = {
    rule.disposition: rule
    for rule in (
        _rule(_D.SELLABLE, _E.RESTOCK, "HR Restock", "inventory.sellable"),
        _rule(_D.SELLABLE_B, _E.RESTOCK, "HR B-Stock", "inventory.b"),
        _rule(_D.TAG_MISSING, _E.RESTOCK, "HR Quarantine", "inventory.quarantine"),
        _rule(_D.DAMAGED, _E.RESTOCK, "HR Damaged", "inventory.damaged"),
        _rule(_D.REFURB, _E.RESTOCK, "HR Refurb", "inventory.quarantine"),
        _rule(_D.QUARANTINE, _E.RESTOCK, "HR Quarantine", "inventory.quarantine", "hold"),
        _rule(_D.WRONG_ITEM, _E.NONE, "", "", "hold"),
        _rule(_D.RTV, _E.RESTOCK, "HR Vendor", "inventory.rtv"),
        _rule(_D.DONATE, _E.SCRAP, "HR Damaged", "returns_writeoff"),
        _rule(_D.RECYCLE, _E.SCRAP, "HR Damaged", "returns_writeoff"),
        _rule(_D.DISPOSE, _E.SCRAP, "HR Damaged", "returns_writeoff"),
        _rule(_D.MISSING, _E.NONE, "", "", "hold"),
        _rule(_D.KEEP_ITEM, _E.NONE, "", ""),
    )
}
CODES = {
    "saleable": Disposition.SELLABLE,
    "gradeb": Disposition.SELLABLE_B,
    "damaged": Disposition.DAMAGED,
    "tagmissing": Disposition.TAG_MISSING,
    "quarantine": Disposition.QUARANTINE,
    "mismatch": Disposition.WRONG_ITEM,
    "dispose": Disposition.DISPOSE,
    "missing": Disposition.MISSING,
}
ACCOUNTS = {
    "sales_returns": "4100",
    "sales_returns.zero": "4101",
    "discount_reversal": "4105",
    "shipping_refunded": "4110",
    "in_transit_loss": "5211",
    "return_logistics_cost": "5300",
    "return_logistics_accrued": "2330",
    "fx_difference": "8300",
    "vat_output": "2200",
    "return_fee_income": "4120",
    "refund_clearing.shopify_payments": "1260",
    "refund_clearing.paypal": "1261",
    "store_credit_liability": "2310",
    "exchange_clearing": "2320",
    "returned_goods_in_transit": "1010",
    "inventory.sellable": "1001",
    "inventory.damaged": "1002",
    "inventory.quarantine": "1003",
    "inventory.b": "1004",
    "inventory.rtv": "1005",
    "cogs_returns": "5050",
    "returns_writeoff": "5210",
}


def policy(**values: Any) -> Policy:
    """The packaged policy's rules; a keyword replaces one table's values (a dict) or one."""
    hours, days = (lambda n: timedelta(hours=n)), (lambda n: timedelta(days=n))
    base = Policy(
        merchant=Merchant("Merchant", "Europe/London", "GBP", "UK"),
        happy_returns=HappyReturnsPolicy(
            lookups_per_run=120,
            order_number_format="{reference}",
            return_window=days(60),
            recheck_open=hours(1),
            recheck_shipped=hours(24),
            shipment_overlap=hours(48),
            initial_window=days(30),
            page_size=1000,
            fields={},
            statuses={},
            refund_types={},
        ),
        linnworks=LinnworksPolicy(hours(1), days(90), 200, (), "", "HAPPYRETURNS", "Default", ""),
        gate=GatePolicy(
            stock=Stage.RECEIVED,
            refund=Stage.RECEIVED,
            exchange=Stage.RECEIVED,
            refund_by_dropoff={},
            refund_requires_approval=False,
            returnless=Stage.APPROVED,
            return_window=timedelta(days=60),
        ),
        codes=CODES,
        unmapped="hold",
        rules=RULES,
        refunds=RefundPolicy(
            executor=Executor.LINNWORKS,
            tolerance_minor=1,
            max_batch_minor=5_000_000,
            gateways={"*": "shopify_payments", "paypal": "paypal"},
        ),
        ages=AgePolicy(
            orphan_young=hours(24),
            orphan_old=days(7),
            disposition_grace=hours(24),
            received_not_refunded=hours(48),
            refunded_not_received=(days(7), days(14), days(30)),
            in_transit=days(14),
            source_stale=hours(1),
            started_expires=days(30),
        ),
        breakers=BreakerPolicy(5000, 2000),
        finance=FinancePolicy(accounts=ACCOUNTS, post_cost=True, close_lag=hours(2)),
        schedules=SchedulePolicy("*/5 * * * *", "15 2 * * *", "45 2 * * *"),
        alerts=AlertPolicy(
            quiet_from=time(20),
            quiet_to=time(7),
            digest_at=time(8),
            at_once=(Severity.S1, Severity.S2),
            in_full=10,
            routes={},
            email_to={},
            dagster_url="",
            queue_url="",
            docs_url="",
        ),
        owners={},
        sla={
            Severity.S1: hours(4),
            Severity.S2: days(1),
            Severity.S3: days(3),
            Severity.S4: days(7),
        },
        hash="policy-hash",
    )
    changes = {
        name: replace(getattr(base, name), **value) if name in _TABLES else value
        for name, value in values.items()
    }
    return replace(base, **changes)


_TABLES = frozenset({"merchant", "gate", "refunds", "ages", "finance", "linnworks", "alerts"})
REFUND_TYPES = tuple(RefundType)
