"""The books of a day to set out: the specification's worked example, and a month about it."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from returns_pipeline.reporting.books import (
    BookLine,
    Books,
    BoundaryEvent,
    DayFigures,
    LateArrival,
    OpenItem,
    Sealed,
    UnitEntry,
    VatRow,
    balances,
)

DAY = date(2026, 3, 14)
NIGHT = datetime(2026, 3, 15, 2, 15, tzinfo=UTC)
BATCH = "HRL-20260314-UKGBP-00"
NAMES = {
    "1010": "Returned Goods In Transit",
    "1260": "Refund Clearing - Shopify Payments",
    "1261": "Refund Clearing - PayPal",
    "2310": "Store Credit Liability",
    "2320": "Exchange Clearing",
    "4100": "Sales Returns",
}
TOTALS = {
    "units": 10,
    "gross": 303_93,
    "net": 255_60,
    "vat": 48_33,
    "vat_on_fees": 50,
    "fees": 2_50,
    "shipping": 4_12,
    "refunds": 205_93,
    "refunds.shopify_payments": 191_93,
    "refunds.paypal": 14_00,
    "store_credit": 45_00,
    "exchange": 50_00,
    "cost_restocked": 88_00,
    "debit": 406_93,
    "credit": 406_93,
}


def sealed(batch_id: str = BATCH, **changes: Any) -> Sealed:
    made = Sealed(
        batch_id=batch_id,
        kind="primary",
        state="posted",
        business_date=DAY,
        origin_date=DAY,
        entity="UK",
        channel_group="",
        currency="GBP",
        totals=TOTALS,
        lines=17,
        debit_minor=406_93,
        credit_minor=406_93,
        hash="ab" * 32,
        policy_hash="cd" * 32,
        of_batch="",
        description="",
        sealed_at=NIGHT,
        exported_at=NIGHT,
        posted_at=NIGHT,
        ledger_id="",
        exports=("generic", "xero"),
    )
    return replace(made, **changes)


_LINES = (
    ("sales_returns", "4100", "20", "debit", 237_48),
    ("sales_returns", "4101", "0", "debit", 14_00),
    ("shipping_refunded", "4110", "20", "debit", 4_12),
    ("vat_output", "2200", "20", "debit", 48_33),
    ("vat_output", "2200", "20", "credit", 50),
    ("return_fee_income", "4120", "20", "credit", 2_50),
    ("store_credit_liability", "2310", "", "credit", 45_00),
    ("exchange_clearing", "2320", "", "credit", 50_00),
    ("refund_clearing.shopify_payments", "1260", "", "credit", 191_93),
    ("refund_clearing.paypal", "1261", "", "credit", 14_00),
)
# unit: net, shipping, VAT, fee, VAT on it, refunded, credit, exchange, cost
_UNITS = (
    ("R1", 50_00, 0, 10_00, 0, 0, 60_00, 0, 0, 18_00),
    ("R2", 33_31, 0, 6_67, 0, 0, 39_98, 0, 0, 12_00),
    ("R3", 25_00, 0, 5_00, 2_50, 50, 27_00, 0, 0, 9_00),
    ("R4", 37_50, 0, 7_50, 0, 0, 0, 45_00, 0, 14_00),
    ("R5", 20_00, 4_12, 4_83, 0, 0, 28_95, 0, 0, 0),
    ("R6", 0, 0, 0, 0, 0, 0, 0, 0, 12_00),
    ("R7", 41_67, 0, 8_33, 0, 0, 0, 0, 50_00, 15_00),
    ("R8", 30_00, 0, 6_00, 0, 0, 36_00, 0, 0, 0),
    ("R9", 0, 0, 0, 0, 0, 0, 0, 0, 8_00),
    ("R10", 14_00, 0, 0, 0, 0, 14_00, 0, 0, 4_00),
)


def lines(batch_id: str = BATCH, day: date = DAY) -> tuple[BookLine, ...]:
    return tuple(
        BookLine(
            batch_id=batch_id,
            business_date=day,
            number=number,
            account=account,
            account_name=NAMES.get(account, ""),
            role=role,
            tax_key=tax,
            side=side,
            minor=minor,
            currency="GBP",
            base_minor=None,
            units=("R1", "R2"),
        )
        for number, (role, account, tax, side, minor) in enumerate(_LINES, start=1)
    )


def units(batch_id: str = BATCH) -> tuple[UnitEntry, ...]:
    return tuple(
        UnitEntry(
            batch_id=batch_id,
            item_id=unit,
            return_id=f"ret-{unit}",
            order_number=f"#10{unit[1:]}",
            sku="SHIRT-M",
            condition="SELLABLE",
            currency="GBP",
            returned=net,
            shipping=shipping,
            vat=vat,
            discount=0,
            fee=fee,
            fee_vat=fee_vat,
            refunded=refunded,
            store_credit=credit,
            exchange=exchange,
            gateways="shopify payments" if refunded else "",
            cost=cost,
        )
        for unit, net, shipping, vat, fee, fee_vat, refunded, credit, exchange, cost in _UNITS
    )


def item(unit: str, minor: int, role: str, account: str, **changes: Any) -> OpenItem:
    made = OpenItem(
        role=role,
        account=account,
        currency="GBP",
        item_id=unit,
        return_id=f"ret-{unit}",
        order_number=f"#10{unit[1:]}",
        sku="SHIRT-M",
        since=DAY,
        age_days=0,
        minor=minor,
    )
    return replace(made, **changes)


def day_books(**changes: Any) -> Books:
    """The worked example's day."""
    open_items = (
        item("R8", 11_00, "returned_goods_in_transit", "1010"),
        item("R0", 24_00, "returned_goods_in_transit", "1010", age_days=17),
        item("Rx", 9_00, "returned_goods_in_transit", "1010", age_days=41),
        item("R7", -50_00, "exchange_clearing", "2320"),
        item("R4", -45_00, "store_credit_liability", "2310"),
        item("R1", -191_93, "refund_clearing.shopify_payments", "1260"),
        item("R10", -14_00, "refund_clearing.paypal", "1261"),
    )
    ledger: dict[tuple[str, str, str], int] = {}
    for one in open_items:
        key = (one.role, one.account, one.currency)
        ledger[key] = ledger.get(key, 0) + one.minor
    made = Books(
        first=DAY,
        last=DAY,
        merchant="Shirts Ltd",
        base_currency="GBP",
        time_zone="Europe/London",
        ends_at=datetime(2026, 3, 15, tzinfo=UTC),
        is_locked=False,
        batches=(sealed(),),
        lines=lines(),
        units=units(),
        vat=(
            VatRow("20", "GBP", 241_60, 48_33, 2_50, 50, 239_10, 47_83),
            VatRow("0", "GBP", 14_00, 0, 0, 0, 14_00, 0),
        ),
        open_items=open_items,
        balances=tuple(balances(ledger, open_items, NAMES)),
        late=(
            LateArrival(
                batch_id="HRL-20260314-UKGBP-01",
                origin_date=DAY,
                business_date=DAY,
                item_id="R11",
                return_id="ret-R11",
                order_number="#1011",
                happened_at=datetime(2026, 3, 14, 22, 10, tzinfo=UTC),
                entered_at=datetime(2026, 3, 17, 9, tzinfo=UTC),
                sealed_at=datetime(2026, 3, 18, 2, 15, tzinfo=UTC),
                minor=20_00,
                currency="GBP",
            ),
        ),
        boundary=(
            BoundaryEvent(
                batch_id=BATCH,
                item_id="R5",
                order_number="#105",
                what="refund",
                happened_at=datetime(2026, 3, 14, 23, 41, tzinfo=UTC),
                business_date=DAY,
                minutes=-19,
                minor=28_95,
                currency="GBP",
            ),
        ),
        days=(DayFigures(DAY, 10, 1, {"GBP": 205_93}, is_closed=True),),
    )
    return replace(made, **changes)


def month_books(**changes: Any) -> Books:
    """March 2026, each day the worked example, in two currencies."""
    days = [date(2026, 3, 1) + timedelta(days=n) for n in range(31)]
    found = [
        sealed(
            f"HRL-{day:%Y%m%d}-UK{currency}-00",
            business_date=day,
            origin_date=day,
            currency=currency,
        )
        for day in days
        for currency in ("GBP", "EUR")
    ]
    made = replace(
        day_books(),
        first=days[0],
        last=days[-1],
        ends_at=datetime(2026, 3, 31, 23, tzinfo=UTC),
        batches=tuple(found),
        lines=tuple(line for day in days for line in lines(f"HRL-{day:%Y%m%d}-UKGBP-00", day)),
        units=tuple(unit for day in days for unit in units(f"HRL-{day:%Y%m%d}-UKGBP-00")),
        days=tuple(
            DayFigures(
                day,
                10,
                2,
                {"GBP": 205_93 + day.day * 400, "EUR": 90_00 + day.day * 100},
                is_closed=True,
            )
            for day in days
        ),
    )
    return replace(made, **changes)
