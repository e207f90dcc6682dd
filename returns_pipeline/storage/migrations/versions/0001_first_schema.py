"""The first schema: evidence, orders, returns, decisions, money, the outbox, control.

A migration is frozen once released: it spells its types out instead of importing
``tables``, whose present form is compared with the migrations' result by a test.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def _partial(
    name: str,
    table: str,
    columns: list[str],
    *,
    where: str,
    on_sqlite: str | None = None,
    unique: bool = False,
) -> None:
    op.create_index(
        name,
        table,
        columns,
        unique=unique,
        sqlite_where=sa.text(on_sqlite or where),
        postgresql_where=sa.text(where),
    )


def upgrade() -> None:
    """Create every table."""
    _evidence()
    _orders()
    _returns()
    _decisions()
    _money()
    _acting()
    _control()


def _evidence() -> None:
    op.create_table(
        "raw_payloads",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("fetched_at", INSTANT, nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("unknown_fields", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_raw_payloads"),
        comment="Every payload as received, less personal data. Append-only: the evidence.",
    )
    op.create_index("ix_raw_payloads_key", "raw_payloads", ["key"])
    _partial(
        "ix_raw_payloads_unknown", "raw_payloads", ["fetched_at"], where="unknown_fields != ''"
    )
    op.create_table(
        "watermarks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", INSTANT),
        sa.Column("position", BIG),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_watermarks"),
        comment="How far each source has been read, moved with the rows it speaks for.",
    )
    op.create_table(
        "watch_list",
        sa.Column("order_key", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("due_at", INSTANT, nullable=False),
        sa.Column("closes_at", INSTANT, nullable=False),
        sa.Column("last_asked_at", INSTANT),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("order_key", name="pk_watch_list"),
        comment="Orders whose returns Happy Returns is asked for, most valuable question first.",
    )
    _partial(
        "ix_watch_list_closes_at",
        "watch_list",
        ["closes_at"],
        where="is_active",
        on_sqlite="is_active = 1",
    )
    _partial(
        "ix_watch_list_due",
        "watch_list",
        ["priority", "due_at", "order_key"],
        where="is_active",
        on_sqlite="is_active = 1",
    )
    op.create_table(
        "order_look_ups",
        sa.Column("order_key", sa.Text(), nullable=False),
        sa.Column("asked_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("order_key", name="pk_order_look_ups"),
        comment="When Linnworks was last asked by reference for an order the mirror has not.",
    )
    op.create_table(
        "vendor_locations",
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("is_warehouse_managed", sa.Boolean(), nullable=False),
        sa.Column("is_present", sa.Boolean(), nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("location_id", name="pk_vendor_locations"),
        comment="The stock locations Linnworks has.",
    )
    op.create_table(
        "policy_versions",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("first_used_at", INSTANT, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_policy_versions"),
        comment="Every policy that ever decided something, by its hash.",
    )


def _orders() -> None:
    op.create_table(
        "orders",
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("num_id", BIG, nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("reference_key", sa.Text(), nullable=False),
        sa.Column("secondary_key", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("sub_source", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("is_processed", sa.Boolean(), nullable=False),
        sa.Column("is_cancelled", sa.Boolean(), nullable=False),
        sa.Column("received_at", INSTANT),
        sa.Column("processed_at", INSTANT),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("total_minor", BIG, nullable=False),
        sa.Column("postage_minor", BIG, nullable=False),
        sa.Column("postage_vat_minor", BIG, nullable=False),
        sa.Column("payment_method", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", name="pk_orders"),
        comment="The mirror of Linnworks' orders, without the shopper.",
    )
    op.create_index("ix_orders_reference_key", "orders", ["reference_key"])
    op.create_index("ix_orders_secondary_key", "orders", ["secondary_key"])
    op.create_table(
        "order_lines",
        sa.Column("row_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("item_number", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("channel_sku", sa.Text(), nullable=False),
        sa.Column("stock_item_id", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("total_minor", BIG, nullable=False),
        sa.Column("vat_minor", BIG, nullable=False),
        sa.Column("tax_rate_bp", sa.Integer(), nullable=False),
        sa.Column("unit_cost_minor", BIG),
        sa.Column("is_service", sa.Boolean(), nullable=False),
        sa.Column("is_unlinked", sa.Boolean(), nullable=False),
        sa.Column("is_batched", sa.Boolean(), nullable=False),
        sa.Column("parent_row_id", sa.Text()),
        sa.CheckConstraint("quantity >= 0", name=op.f("ck_order_lines_quantity")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name="fk_order_lines_order_id"),
        sa.PrimaryKeyConstraint("row_id", name="pk_order_lines"),
        comment="Order item rows; a bundle's children name their parent.",
    )
    op.create_index("ix_order_lines_order_id", "order_lines", ["order_id"])


def _returns() -> None:
    op.create_table(
        "returns",
        sa.Column("return_id", sa.Text(), nullable=False),
        sa.Column("order_key", sa.Text(), nullable=False),
        sa.Column("order_number", sa.Text(), nullable=False),
        sa.Column("express_code", sa.Text(), nullable=False),
        sa.Column("merchant_rma", sa.Text(), nullable=False),
        sa.Column("first_seen_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("return_id", "order_key", name="pk_returns"),
        comment="Return transactions, one row an order in it.",
    )
    op.create_index("ix_returns_order_key", "returns", ["order_key"])
    op.create_table(
        "return_items",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("unit_key", sa.Text(), nullable=False),
        sa.Column("return_id", sa.Text(), nullable=False),
        sa.Column("order_number", sa.Text(), nullable=False),
        sa.Column("order_key", sa.Text(), nullable=False),
        sa.Column("line_item_id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started_at", INSTANT),
        sa.Column("dropped_off_at", INSTANT),
        sa.Column("approved_at", INSTANT),
        sa.Column("departed_at", INSTANT),
        sa.Column("received_at", INSTANT),
        sa.Column("expired_at", INSTANT),
        sa.Column("cancelled_at", INSTANT),
        sa.Column("precisions", sa.String(length=7), nullable=False),
        sa.Column("dropoff_method", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=False),
        sa.Column("disposition_code", sa.Text(), nullable=False),
        sa.Column("disposition_at", INSTANT),
        sa.Column("refund_type", sa.Text()),
        sa.Column("refund_amount_minor", BIG),
        sa.Column("shipping_refund_minor", BIG),
        sa.Column("fee_minor", BIG),
        sa.Column("fee_currency", sa.Text()),
        sa.Column("currency", sa.Text()),
        sa.Column("is_returnless", sa.Boolean(), nullable=False),
        sa.Column("exchange_sku", sa.Text(), nullable=False),
        sa.Column("exchange_quantity", sa.Integer(), nullable=False),
        sa.Column("exchange_unit_price_minor", BIG),
        sa.Column("problems", sa.Text(), nullable=False),
        sa.Column("updated_at", INSTANT),
        sa.Column("source_rank", sa.Integer(), nullable=False),
        sa.Column("payload_hash", sa.Text(), nullable=False),
        sa.Column("first_seen_at", INSTANT, nullable=False),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_return_items"),
        sa.UniqueConstraint("unit_key", name="uq_return_items_unit_key"),
        comment="One row a physical unit: the latest word and the facts of its life.",
    )
    _partial(
        "ix_return_items_open",
        "return_items",
        ["order_key"],
        where="is_open",
        on_sqlite="is_open = 1",
    )
    op.create_index("ix_return_items_order_key", "return_items", ["order_key"])
    _partial("ix_return_items_problems", "return_items", ["id"], where="problems <> ''")
    op.create_index("ix_return_items_return_id", "return_items", ["return_id"])
    op.create_table(
        "unit_events",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("unit_key", sa.Text(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.Column("raw_id", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_unit_events"),
        comment="What each payload newly told of a unit, in the order it was learnt.",
    )
    op.create_index("ix_unit_events_unit_key", "unit_events", ["unit_key"])
    op.create_table(
        "receipts",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("unit_key", sa.Text(), nullable=False),
        sa.Column("return_id", sa.Text(), nullable=False),
        sa.Column("order_key", sa.Text(), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("business_date", sa.Date(), nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_receipts"),
        sa.UniqueConstraint("unit_key", name="uq_receipts_unit_key"),
        comment="Physical receipts in the warehouse, one row a unit, once.",
    )
    op.create_index("ix_receipts_business_date", "receipts", ["business_date"])


def _decisions() -> None:
    op.create_table(
        "matches",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("unit_key", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text()),
        sa.Column("row_id", sa.Text()),
        sa.Column("unit_no", sa.Integer()),
        sa.Column("candidates", sa.Text(), nullable=False),
        sa.Column("since_at", INSTANT, nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "(outcome = 'matched') = (row_id IS NOT NULL AND unit_no IS NOT NULL)",
            name=op.f("ck_matches_matched_has_row"),
        ),
        sa.PrimaryKeyConstraint("id", name="pk_matches"),
        sa.UniqueConstraint("row_id", "unit_no", name="uq_matches_row_unit"),
        sa.UniqueConstraint("unit_key", name="uq_matches_unit_key"),
        comment="To which unit of which order item row each returned unit belongs.",
    )
    _partial("ix_matches_unresolved", "matches", ["since_at"], where="outcome <> 'matched'")
    op.create_table(
        "dispositions",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("unit_key", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("source_code", sa.Text(), nullable=False),
        sa.Column("disposition", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.Column("is_sellable", sa.Boolean(), nullable=False),
        sa.Column("refund", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("policy_hash", sa.Text(), nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dispositions"),
        sa.UniqueConstraint("unit_key", "sequence", name="uq_dispositions_unit_sequence"),
        comment="What was decided for each unit, under which policy. A change is a new row.",
    )
    op.create_table(
        "gates",
        sa.Column("unit_key", sa.Text(), nullable=False),
        sa.Column("gate", sa.Text(), nullable=False),
        sa.Column("is_cleared", sa.Boolean(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("exception", sa.Text(), nullable=False),
        sa.Column("at", INSTANT),
        sa.Column("since_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("unit_key", "gate", name="pk_gates"),
        comment="Which gates stand open for each open unit, and what holds the others.",
    )
    op.create_table(
        "stock_adjustments",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("adjustment_key", sa.Text(), nullable=False),
        sa.Column("unit_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.Column("from_location_id", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("scrap_quantity", sa.Integer(), nullable=False),
        sa.Column("is_sellable", sa.Boolean(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("intent_key", sa.Text()),
        sa.Column("rma_header_id", BIG),
        sa.Column("rma_row_id", BIG),
        sa.Column("posted_at", INSTANT),
        sa.Column("is_ledgered", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("policy_hash", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "(state = 'posted') = (posted_at IS NOT NULL)", name=op.f("ck_stock_adjustments_posted")
        ),
        sa.CheckConstraint("quantity = 1", name=op.f("ck_stock_adjustments_one_unit")),
        sa.CheckConstraint("scrap_quantity IN (0, 1)", name=op.f("ck_stock_adjustments_scrap")),
        sa.PrimaryKeyConstraint("id", name="pk_stock_adjustments"),
        sa.UniqueConstraint("adjustment_key", name="uq_stock_adjustments_adjustment_key"),
        comment="Each unit's stock movement; one restock a unit, ever.",
    )
    _partial(
        "ix_stock_adjustments_intent_key",
        "stock_adjustments",
        ["intent_key"],
        where="intent_key IS NOT NULL",
    )
    op.create_index("ix_stock_adjustments_order_id", "stock_adjustments", ["order_id"])
    _partial(
        "ix_stock_adjustments_posted_at",
        "stock_adjustments",
        ["posted_at"],
        where="posted_at IS NOT NULL",
    )
    _partial(
        "ix_stock_adjustments_unledgered",
        "stock_adjustments",
        ["id"],
        where="NOT is_ledgered",
        on_sqlite="is_ledgered = 0",
    )
    op.create_index("ix_stock_adjustments_unit_key", "stock_adjustments", ["unit_key"])
    _partial(
        "ix_stock_adjustments_unposted",
        "stock_adjustments",
        ["order_id"],
        where="state IN ('ready', 'intended', 'held')",
    )
    _partial(
        "uq_stock_adjustments_one_restock",
        "stock_adjustments",
        ["unit_key"],
        where="kind <> 'move'",
        unique=True,
    )
    op.create_table(
        "refunds_due",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("refund_key", sa.Text(), nullable=False),
        sa.Column("unit_key", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("goods_minor", BIG, nullable=False),
        sa.Column("goods_vat_minor", BIG, nullable=False),
        sa.Column("shipping_minor", BIG, nullable=False),
        sa.Column("shipping_vat_minor", BIG, nullable=False),
        sa.Column("fee_minor", BIG, nullable=False),
        sa.Column("fee_vat_minor", BIG, nullable=False),
        sa.Column("amount_minor", BIG, nullable=False),
        sa.Column("tax_rate_bp", sa.Integer(), nullable=False),
        sa.Column("tender", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("executor", sa.Text(), nullable=False),
        sa.Column("effective_at", INSTANT, nullable=False),
        sa.Column("business_date", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.Text()),
        sa.Column("intent_key", sa.Text()),
        sa.Column("refund_header_id", BIG),
        sa.Column("settled_at", INSTANT),
        sa.Column("is_ledgered", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("policy_hash", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "amount_minor = goods_minor + shipping_minor - fee_minor",
            name=op.f("ck_refunds_due_parts"),
        ),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("ck_refunds_due_amount")),
        sa.PrimaryKeyConstraint("id", name="pk_refunds_due"),
        sa.UniqueConstraint("refund_key", name="uq_refunds_due_refund_key"),
        sa.UniqueConstraint("unit_key", name="uq_refunds_due_unit_key"),
        comment="What each unit is owed; carried out once, by one declared executor.",
    )
    _partial("ix_refunds_due_batch_id", "refunds_due", ["batch_id"], where="batch_id IS NOT NULL")
    _partial(
        "ix_refunds_due_intent_key", "refunds_due", ["intent_key"], where="intent_key IS NOT NULL"
    )
    _partial(
        "ix_refunds_due_open",
        "refunds_due",
        ["business_date"],
        where="state IN ('due', 'batched', 'refused')",
    )
    op.create_index("ix_refunds_due_order_id", "refunds_due", ["order_id"])
    _partial(
        "ix_refunds_due_unledgered",
        "refunds_due",
        ["id"],
        where="NOT is_ledgered",
        on_sqlite="is_ledgered = 0",
    )
    op.create_table(
        "exchange_orders",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("exchange_key", sa.Text(), nullable=False),
        sa.Column("unit_key", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_price_minor", BIG, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("is_even", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("intent_key", sa.Text()),
        sa.Column("new_order_id", sa.Text()),
        sa.Column("created_order_at", INSTANT),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("policy_hash", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "is_even = (unit_price_minor = 0)", name=op.f("ck_exchange_orders_even_is_free")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_exchange_orders"),
        sa.UniqueConstraint("exchange_key", name="uq_exchange_orders_exchange_key"),
        sa.UniqueConstraint("reference", name="uq_exchange_orders_reference"),
        sa.UniqueConstraint("unit_key", name="uq_exchange_orders_unit_key"),
        comment="Replacements, each ordered once, after the goods are back.",
    )
    _partial(
        "ix_exchange_orders_intent_key",
        "exchange_orders",
        ["intent_key"],
        where="intent_key IS NOT NULL",
    )
    _partial(
        "ix_exchange_orders_open",
        "exchange_orders",
        ["order_id"],
        where="state IN ('ready', 'intended', 'held')",
    )


def _money() -> None:
    op.create_table(
        "postings",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("posting_key", sa.Text(), nullable=False),
        sa.Column("unit_key", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("tax_key", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("amount_minor", BIG, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("occurred_at", INSTANT, nullable=False),
        sa.Column("business_date", sa.Date(), nullable=False),
        sa.Column("batch_id", sa.Text()),
        sa.Column("line_number", sa.Integer()),
        sa.Column("policy_hash", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("side IN ('debit', 'credit')", name=op.f("ck_postings_side")),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_postings_amount")),
        sa.PrimaryKeyConstraint("id", name="pk_postings"),
        sa.UniqueConstraint("posting_key", name="uq_postings_posting_key"),
        comment="The ledger's lines, one unit each, before they are summed into a batch.",
    )
    op.create_index("ix_postings_batch_id", "postings", ["batch_id"])
    _partial("ix_postings_unbatched", "postings", ["business_date"], where="batch_id IS NULL")
    op.create_index("ix_postings_unit_key", "postings", ["unit_key"])
    op.create_table(
        "batches",
        sa.Column("batch_id", sa.String(length=21), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("business_date", sa.Date(), nullable=False),
        sa.Column("origin_date", sa.Date(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("totals", sa.Text(), nullable=False),
        sa.Column("policy_hash", sa.Text(), nullable=False),
        sa.Column("sealed_at", INSTANT, nullable=False),
        sa.Column("posted_at", INSTANT),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", name="pk_batches"),
        comment="Sealed financial batches. A sealed byte never changes.",
    )
    op.create_index("ix_batches_business_date", "batches", ["business_date"])
    op.create_table(
        "closed_days",
        sa.Column("business_date", sa.Date(), nullable=False),
        sa.Column("closed_at", INSTANT, nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("business_date", name="pk_closed_days"),
        comment="Business days that were closed, those without a single line included.",
    )
    op.create_table(
        "batch_lines",
        sa.Column("batch_id", sa.String(length=21), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("tax_key", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("amount_minor", BIG, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("unit_keys", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.batch_id"], name="fk_batch_lines_batch_id"),
        sa.PrimaryKeyConstraint("batch_id", "number", name="pk_batch_lines"),
        comment="A batch's lines by role, tax key and side; debit and credit never netted.",
    )


def _acting() -> None:
    op.create_table(
        "intents",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("intent_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("payload_hash", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("depends_on", sa.Text()),
        sa.Column("lease_holder", sa.Text()),
        sa.Column("lease_until", INSTANT),
        sa.Column("not_before", INSTANT),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("sent_at", INSTANT),
        sa.Column("settled_at", INSTANT),
        sa.Column("evidence", sa.JSON()),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint(
            "state <> 'confirmed' OR evidence IS NOT NULL", name=op.f("ck_intents_evidence")
        ),
        sa.CheckConstraint(
            "state IN ('ready','sending','unknown','confirmed','refused','suspense','withdrawn')",
            name=op.f("ck_intents_state"),
        ),
        sa.PrimaryKeyConstraint("id", name="pk_intents"),
        sa.UniqueConstraint("intent_key", name="uq_intents_intent_key"),
        comment="The outbox: what is to be done to a vendor, committed before it is tried.",
    )
    _partial(
        "ix_intents_open",
        "intents",
        ["kind", "state"],
        where="state IN ('ready', 'sending', 'unknown', 'suspense')",
    )
    op.create_index("ix_intents_subject", "intents", ["subject"])
    op.create_table(
        "attempts",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("intent_key", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        comment="Every step of every intent, append-only.",
    )
    op.create_index("ix_attempts_intent_key", "attempts", ["intent_key"])


def _control() -> None:
    op.create_table(
        "exceptions",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("amount_minor", BIG, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("unit_keys", sa.Text(), nullable=False),
        sa.Column("return_ids", sa.Text(), nullable=False),
        sa.Column("order_numbers", sa.Text(), nullable=False),
        sa.Column("opened_at", INSTANT, nullable=False),
        sa.Column("due_at", INSTANT, nullable=False),
        sa.Column("last_seen_at", INSTANT, nullable=False),
        sa.Column("occurrences", sa.Integer(), nullable=False),
        sa.Column("resolved_at", INSTANT),
        sa.Column("resolution", sa.Text(), server_default="", nullable=False),
        sa.Column("assignee", sa.Text(), server_default="", nullable=False),
        sa.Column("policy_hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_exceptions"),
        comment="The exception queue: what cannot move is somebody's named task.",
    )
    _partial(
        "uq_exceptions_open",
        "exceptions",
        ["code", "key"],
        where="status IN ('open', 'ack', 'snoozed')",
        unique=True,
    )
    op.create_table(
        "restock_readings",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("rma_row_id", BIG, nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("scrap_quantity", sa.Integer(), nullable=False),
        sa.Column("actioned_at", INSTANT),
        sa.Column("read_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_restock_readings"),
        sa.UniqueConstraint("rma_row_id", name="uq_restock_readings_rma_row_id"),
        comment="What Linnworks says was returned, read back by reconciliation.",
    )
    op.create_index("ix_restock_readings_order_id", "restock_readings", ["order_id"])
    op.create_table(
        "refund_readings",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("refund_row_id", sa.Text(), nullable=False),
        sa.Column("refund_header_id", BIG),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Text()),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("amount_minor", BIG, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("is_actioned", sa.Boolean(), nullable=False),
        sa.Column("actioned_at", INSTANT),
        sa.Column("is_ours", sa.Boolean(), nullable=False),
        sa.Column("is_deleted", sa.Boolean(), nullable=False),
        sa.Column("read_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "is_actioned = (actioned_at IS NOT NULL)", name=op.f("ck_refund_readings_actioned")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_refund_readings"),
        sa.UniqueConstraint("refund_row_id", name="uq_refund_readings_refund_row_id"),
        comment="Refunds in Linnworks, whoever made them: others' in detail where a unit is "
        "returned.",
    )
    op.create_index("ix_refund_readings_order_id", "refund_readings", ["order_id"])
    _partial(
        "ix_refund_readings_others",
        "refund_readings",
        ["row_id"],
        where="row_id IS NOT NULL AND NOT is_ours AND NOT is_deleted",
        on_sqlite="row_id IS NOT NULL AND is_ours = 0 AND is_deleted = 0",
    )
    _partial(
        "ix_refund_readings_unseen",
        "refund_readings",
        ["created_at"],
        where="refund_header_id IS NULL AND NOT is_deleted",
        on_sqlite="refund_header_id IS NULL AND is_deleted = 0",
    )


def downgrade() -> None:
    """Refuse: the tables are the evidence of what was done with stock and money.

    Raises:
        NotImplementedError: Always; a backup is the way back.
    """
    raise NotImplementedError("there is no way back from the first schema: restore a backup")
