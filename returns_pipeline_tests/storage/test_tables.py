"""States that must not be are refused by the database itself, whoever writes."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from returns_pipeline.storage import tables as t
from returns_pipeline_tests.storage.rows import NOON, insert

LATER = NOON + timedelta(hours=1)
_MATCHED = {"outcome": "matched", "order_id": "o", "row_id": "line", "unit_no": 0}


def _refused(
    engine: sa.Engine, table: str, *rows: dict[str, Any], because: str = "unique constraint"
) -> None:
    """The last of the rows is refused; those before it are not."""
    with engine.begin() as connection:
        for values in rows[:-1]:
            insert(connection, table, **values)
    with pytest.raises(sa.exc.IntegrityError) as refused, engine.begin() as connection:
        insert(connection, table, **rows[-1])
    assert because in str(refused.value).lower()


def test_a_unit_is_restocked_once(engine: sa.Engine) -> None:
    _refused(
        engine,
        "stock_adjustments",
        {"unit_key": "u", "adjustment_key": "u:restock"},
        {"unit_key": "u", "adjustment_key": "u:again", "kind": "scrap", "scrap_quantity": 1},
    )


def test_a_restocked_unit_may_be_moved_as_often_as_need_be(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        insert(connection, "stock_adjustments", unit_key="u", adjustment_key="u:restock")
        for n in (1, 2):
            key = f"u:move:{n}"
            insert(connection, "stock_adjustments", unit_key="u", adjustment_key=key, kind="move")


def test_a_unit_is_refunded_once(engine: sa.Engine) -> None:
    _refused(engine, "refunds_due", {"unit_key": "u"}, {"unit_key": "u", "refund_key": "another"})


def test_a_unit_is_replaced_once(engine: sa.Engine) -> None:
    other = {"unit_key": "u", "exchange_key": "another", "reference": "another"}
    _refused(engine, "exchange_orders", {"unit_key": "u"}, other)


def test_a_unit_is_received_once(engine: sa.Engine) -> None:
    _refused(engine, "receipts", {"unit_key": "u"}, {"unit_key": "u"})


def test_two_units_are_not_the_same_unit_of_one_order_line(engine: sa.Engine) -> None:
    _refused(engine, "matches", {"unit_key": "u", **_MATCHED}, {"unit_key": "v", **_MATCHED})


def test_units_that_are_not_matched_share_having_no_line(engine: sa.Engine) -> None:
    lost = {"outcome": "orphan", "code": "ORPHAN_RETURN", "row_id": None, "unit_no": None}
    with engine.begin() as connection:
        insert(connection, "matches", unit_key="u", **lost)
        insert(connection, "matches", unit_key="v", **lost)


def test_an_exception_is_open_once_and_closed_as_often_as_it_came(engine: sa.Engine) -> None:
    closed = {"status": "auto_resolved", "resolved_at": LATER}
    with engine.begin() as connection:
        insert(connection, "exceptions", key="k", **closed)
        insert(connection, "exceptions", key="k", **closed)
    _refused(engine, "exceptions", {"key": "k"}, {"key": "k", "status": "snoozed"})


def test_a_batch_has_each_line_once(engine: sa.Engine) -> None:
    _refused(engine, "batch_lines", {"number": 1}, {"number": 1})


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("stock_adjustments", {"quantity": 2}),
        ("stock_adjustments", {"scrap_quantity": 2}),
        ("stock_adjustments", {"state": "posted"}),
        ("stock_adjustments", {"posted_at": NOON}),
        ("matches", {"row_id": None}),
        ("matches", {"unit_no": None}),
        ("matches", {"outcome": "orphan"}),
        ("refunds_due", {"amount_minor": 2200}),
        ("refunds_due", {"goods_minor": 0, "amount_minor": -100, "shipping_minor": 0}),
        ("exchange_orders", {"is_even": False}),
        ("exchange_orders", {"unit_price_minor": 1}),
        ("postings", {"amount_minor": 0}),
        ("postings", {"amount_minor": -1}),
        ("postings", {"side": "left"}),
        ("intents", {"state": "confirmed"}),
        ("intents", {"state": "confirmed", "evidence": None}),
        ("intents", {"state": "done"}),
        ("order_lines", {"quantity": -1}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_contradicts_itself_is_refused(
    engine: sa.Engine, table: str, values: dict[str, Any]
) -> None:
    _refused(engine, table, _other_key(table), values, because="check constraint")


def _other_key(table: str) -> dict[str, Any]:
    """The keys of a row that is in order, apart from those of the row that is not."""
    unique = [c.name for c in t.metadata.tables[table].c if c.unique or c.primary_key]
    other = {name: "another" for name in unique if name != "id"}
    other |= {"unit_key": "another"} if "unit_key" in t.metadata.tables[table].c else {}
    return other | ({"row_id": "another"} if table == "matches" else {})
