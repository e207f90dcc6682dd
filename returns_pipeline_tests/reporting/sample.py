"""A day's report to set out, made by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from returns_pipeline.reporting.day import (
    Balance,
    Batch,
    BatchLine,
    DayReport,
    Exposure,
    HeldUnit,
    Movement,
    OpenAmount,
    PastDay,
    ReceivedUnit,
    Refund,
    Replacement,
    Task,
)

DAY = date(2026, 3, 14)
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
MADE = datetime(2026, 3, 15, 9, 30, tzinfo=UTC)


def received(item: str = "hr-1", outcome: str = "restocked", **more: Any) -> ReceivedUnit:
    unit = ReceivedUnit(
        item_id=item,
        return_id="ret-1",
        order_number="#1001",
        sku="SHIRT-M",
        received_at=NOON,
        condition="SELLABLE",
        outcome=outcome,
        place="HR Restock",
    )
    return replace(unit, **more)


def movement(item: str = "hr-1", location: str = "HR Restock", **more: Any) -> Movement:
    made = Movement(
        item_id=item,
        return_id="ret-1",
        order_number="#1001",
        sku="SHIRT-M",
        location=location,
        sellable=True,
        scrapped=False,
        posted_at=NOON,
        rma=40001,
    )
    return replace(made, **more)


def refund(item: str = "hr-1", state: str = "actioned", **more: Any) -> Refund:
    made = Refund(
        item_id=item,
        return_id="ret-1",
        order_number="#1001",
        sku="SHIRT-M",
        tender="refund",
        state=state,
        executor="linnworks",
        amount_minor=6000,
        vat_minor=1000,
        currency="GBP",
        batch_id="HRL-20260314-UKGBP-00",
    )
    return replace(made, **more)


def held(item: str = "hr-9", **more: Any) -> HeldUnit:
    made = HeldUnit(
        item_id=item,
        return_id="ret-9",
        order_number="#1009",
        sku="SHIRT-L",
        gate="stock",
        code="DISPOSITION_UNMAPPED",
        reason="no row for MELTED in the policy",
        since_at=NOON - timedelta(days=2),
        amount_minor=4500,
        currency="GBP",
    )
    return replace(made, **more)


def task(key: str = "hr-9", **more: Any) -> Task:
    made = Task(
        code="DISPOSITION_UNMAPPED",
        title="Disposition unmapped",
        key=key,
        owner="Operations",
        severity="S2",
        opened_at=MADE - timedelta(days=4),
        due_at=MADE + timedelta(hours=3),
        amount_minor=4500,
        currency="GBP",
        item_ids=(key,),
        return_ids=("ret-9",),
        order_numbers=("#1009",),
        message="no row for MELTED in the policy",
        action="add row",
    )
    return replace(made, **more)


def batch(credit: int = 6000) -> Batch:
    def line(number: int, role: str, account: str, side: str, minor: int) -> BatchLine:
        identity = ("HRL-20260314-UKGBP-00", number, role, account, "20", side)
        return BatchLine(*identity, minor, "GBP", ("hr-1",))

    return Batch(
        id="HRL-20260314-UKGBP-00",
        kind="primary",
        state="posted",
        currency="GBP",
        hash="ab" * 32,
        lines=(
            line(1, "sales_returns", "4100", "debit", 5000),
            line(2, "vat_output", "2200", "debit", 1000),
            line(3, "refund_clearing.shopify_payments", "1260", "credit", credit),
        ),
    )


def day(**more: Any) -> DayReport:
    made = DayReport(
        business_date=DAY,
        merchant="Merchant",
        time_zone="Europe/London",
        made_at=MADE,
        closed_at=MADE - timedelta(hours=7),
        read_at={
            "Happy Returns": MADE - timedelta(minutes=2),
            "Linnworks": MADE - timedelta(minutes=2),
        },
        stale_after=timedelta(minutes=30),
        stages={"started": 2, "received": 1},
        received=(received(),),
        movements=(movement(),),
        held=(),
        refunds=(refund(),),
        replacements=(),
        tasks=(),
        batches=(batch(),),
        balances=(Balance("returned_goods_in_transit", "1010", "GBP", 1100, 1),),
        open_amounts=(
            OpenAmount("returned_goods_in_transit", "1010", "GBP", "hr-8", "ret-8", "#1008", 1100),
        ),
        history=tuple(
            PastDay(DAY - timedelta(days=back), (back * 5) % 7, (back * 5) % 7 - (back % 2))
            for back in range(13, -1, -1)
        ),
        unknown_writes=0,
        suspended_writes=0,
    )
    return replace(made, **more)


def busy_day() -> DayReport:
    """A day with something in every section."""
    outcomes = ["restocked"] * 14 + ["scrapped"] + ["held"] * 4 + ["waiting"] + ["nothing to book"]
    places = ["HR Restock"] * 9 + ["HR Damaged"] * 3 + ["HR Quarantine"] * 2 + ["HR B-Stock"]
    return day(
        received=tuple(
            received(f"hr-{n}", outcome, place="HR Restock" if outcome == "restocked" else "why")
            for n, outcome in enumerate(outcomes)
        ),
        movements=tuple(
            movement(f"hr-{n}", place, sellable=place in {"HR Restock", "HR B-Stock"})
            for n, place in enumerate(places)
        ),
        held=(
            held("hr-15"),
            held("hr-16"),
            held("hr-17", gate="match", code="LINE_AMBIGUOUS_SKU", reason="two lines fit"),
            held("hr-18", gate="refund", code="REFUND_AMOUNT_MISMATCH", reason="45.00 and 40.00"),
        ),
        refunds=(
            *(refund(f"hr-{n}", amount_minor=2000 + 137 * n) for n in range(11)),
            refund("hr-11", "recorded", tender="store_credit", executor="ledger"),
            refund("hr-12", "refused"),
        ),
        replacements=(
            Replacement("hr-13", "ret-13", "#1013", "SHIRT-L", 1, "HRX-13", "created", 0, "GBP"),
            Replacement(
                "hr-14", "ret-14", "#1014", "CAP-BLK", 1, "HRX-14", "created", 1400, "GBP", 599, 0
            ),
        ),
        exposure=(
            Exposure(
                item_id="hr-19",
                return_id="ret-19",
                order_number="#1019",
                sku="JKT-OLV-M",
                reference="HRX-19",
                stage="departed",
                ordered_at=MADE - timedelta(days=5),
                is_allowed=True,
                amount_minor=11900,
                currency="GBP",
            ),
        ),
        tasks=(
            task("hr-15"),
            task("hr-16", opened_at=MADE - timedelta(days=8), due_at=MADE - timedelta(days=7)),
            task("hr-17", owner="CX", code="LINE_AMBIGUOUS_SKU", title="Line ambiguous sku"),
            task(
                "hr-18",
                owner="Finance",
                severity="S1",
                code="REFUND_AMOUNT_MISMATCH",
                title="Refund amount mismatch",
            ),
        ),
    )
