"""Every table of the pipeline, one schema for SQLite and PostgreSQL.

Here: columns, keys and the constraints that make a wrong state impossible to store. Not
here: queries (``records``), movements between versions (``migrations``), value rules that
need more than a row (``schemas``, asset checks). Money is integer minor units (``*_minor``)
beside a ``currency``; instants (``*_at``) are UTC; a business date is a ``Date`` in the
merchant's zone. Integer keys grow in order of insertion, so that an insert touches the
same few pages however long the history is.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, UniqueConstraint

from returns_pipeline.storage import guards
from returns_pipeline.storage.types import Instant

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Text = sa.Text
BigInt = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite: rowid alias


def _id() -> Column[int]:
    return Column("id", BigInt, primary_key=True, autoincrement=True)


def _partial(
    name: str, *columns: Column[object], where: str, on_sqlite: str | None = None
) -> Index:
    # SQLite uses a partial index only where a query says its condition word for word: a
    # flag as SQLAlchemy writes it there, states as ``among`` does.
    return Index(
        name,
        *columns,
        sqlite_where=sa.text(on_sqlite or where),
        postgresql_where=sa.text(where),
    )


# What is still to be done, by table: the states its partial index holds.
UNSETTLED_INTENT = ("ready", "sending", "unknown", "suspense")
UNPOSTED_ADJUSTMENT = ("ready", "intended", "held")
UNPAID_REFUND = ("due", "batched", "refused")
UNFINISHED_BATCH = ("sealed", "exported")
UNCREATED_EXCHANGE = ("ready", "intended", "held")
OPEN_EXCEPTION = ("open", "ack", "snoozed")
UNSENT_MESSAGE = ("queued",)
LOST_MESSAGE = ("given_up",)


def among(column: sa.ColumnElement[str], states: Sequence[str]) -> sa.ColumnElement[bool]:
    """The condition of a partial index, with its states as literals.

    A query for some of them says this as well, or SQLite looks at every row there ever was.
    """
    words: sa.BindParameter[str] = sa.bindparam(
        None, list(states), expanding=True, literal_execute=True
    )
    return column.in_(words)


def _in(column: str, states: Sequence[str]) -> str:
    listed = ", ".join(f"'{state}'" for state in states)
    return f"{column} IN ({listed})"


# --- evidence ---------------------------------------------------------------------

raw_payloads = Table(
    "raw_payloads",
    metadata,
    _id(),
    Column("source", Text, nullable=False),  # happy_returns.return | .outbound | linnworks.order
    Column("key", Text, nullable=False),  # unit key, order id
    Column("hash", Text, nullable=False),  # of the payload as received
    Column("body", Text, nullable=False),  # without personal data
    Column("fetched_at", Instant, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("unknown_fields", Text, nullable=False, server_default=""),
    comment="Every payload as received, less personal data. Append-only: the evidence.",
)
Index("ix_raw_payloads_key", raw_payloads.c.key)
_partial("ix_raw_payloads_unknown", raw_payloads.c.fetched_at, where="unknown_fields != ''")

watermarks = Table(
    "watermarks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", Instant),
    Column("position", BigInt),  # of append-only tables: the last row handled
    Column("updated_at", Instant, nullable=False),
    comment="How far each source has been read, moved with the rows it speaks for.",
)

watch_list = Table(
    "watch_list",
    metadata,
    Column("order_key", Text, primary_key=True),
    Column("reference", Text, nullable=False),  # as the shop prints it
    Column("reason", Text, nullable=False),  # open_return | shipped
    Column("priority", sa.Integer, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("closes_at", Instant, nullable=False),
    Column("last_asked_at", Instant),
    Column("is_active", sa.Boolean, nullable=False),
    comment="Orders whose returns Happy Returns is asked for, most valuable question first.",
)
_partial(
    "ix_watch_list_due",
    watch_list.c.priority,
    watch_list.c.due_at,
    watch_list.c.order_key,
    where="is_active",
    on_sqlite="is_active = 1",
)
_partial(
    "ix_watch_list_closes_at",
    watch_list.c.closes_at,
    where="is_active",
    on_sqlite="is_active = 1",
)

order_look_ups = Table(
    "order_look_ups",
    metadata,
    Column("order_key", Text, primary_key=True),
    Column("asked_at", Instant, nullable=False),
    comment="When Linnworks was last asked by reference for an order the mirror has not.",
)

vendor_locations = Table(
    "vendor_locations",
    metadata,
    Column("location_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("is_warehouse_managed", sa.Boolean, nullable=False),
    Column("is_present", sa.Boolean, nullable=False),
    Column("seen_at", Instant, nullable=False),
    comment="The stock locations Linnworks has.",
)

policy_versions = Table(
    "policy_versions",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("first_used_at", Instant, nullable=False),
    Column("body", Text, nullable=False),
    comment="Every policy that ever decided something, by its hash.",
)

# --- orders -----------------------------------------------------------------------

orders = Table(
    "orders",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("num_id", BigInt, nullable=False),
    Column("reference", Text, nullable=False),
    Column("reference_key", Text, nullable=False),
    Column("secondary_key", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("sub_source", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("is_processed", sa.Boolean, nullable=False),
    Column("is_cancelled", sa.Boolean, nullable=False),
    Column("received_at", Instant),
    Column("processed_at", Instant),
    Column("updated_at", Instant, nullable=False),
    Column("total_minor", BigInt, nullable=False),
    Column("postage_minor", BigInt, nullable=False),
    Column("postage_vat_minor", BigInt, nullable=False),
    Column("payment_method", Text, nullable=False),
    Column("location_id", Text, nullable=False),
    # Into the merchant's currency, as Linnworks said when the order was saved; "": not said.
    Column("conversion_rate", Text, nullable=False, server_default=""),
    comment="The mirror of Linnworks' orders, without the shopper.",
)
Index("ix_orders_reference_key", orders.c.reference_key)
Index("ix_orders_secondary_key", orders.c.secondary_key)

order_lines = Table(
    "order_lines",
    metadata,
    Column("row_id", Text, primary_key=True),  # Linnworks' order item row id
    Column("order_id", Text, ForeignKey("orders.order_id"), nullable=False),
    Column("position", sa.Integer, nullable=False),
    Column("item_number", Text, nullable=False),
    Column("sku", Text, nullable=False),
    Column("channel_sku", Text, nullable=False),
    Column("stock_item_id", Text, nullable=False),
    Column("quantity", sa.Integer, nullable=False),
    Column("total_minor", BigInt, nullable=False),
    Column("vat_minor", BigInt, nullable=False),
    Column("tax_rate_bp", sa.Integer, nullable=False),
    Column("unit_cost_minor", BigInt),
    Column("is_service", sa.Boolean, nullable=False),
    Column("is_unlinked", sa.Boolean, nullable=False),
    Column("is_batched", sa.Boolean, nullable=False),
    Column("parent_row_id", Text),  # of a bundle's child
    Column("discount_minor", BigInt, nullable=False, server_default="0"),  # gross, all units
    CheckConstraint("quantity >= 0", name="quantity"),
    comment="Order item rows; a bundle's children name their parent.",
)
Index("ix_order_lines_order_id", order_lines.c.order_id)
Index("ix_order_lines_sku", order_lines.c.sku)  # what an article was sold at

# --- returns ----------------------------------------------------------------------

returns = Table(
    "returns",
    metadata,
    Column("return_id", Text, primary_key=True),
    Column("order_key", Text, primary_key=True),  # one bag may hold several orders
    Column("order_number", Text, nullable=False),
    Column("express_code", Text, nullable=False),
    Column("merchant_rma", Text, nullable=False),
    Column("first_seen_at", Instant, nullable=False),
    comment="Return transactions, one row an order in it.",
)
Index("ix_returns_order_key", returns.c.order_key)

return_items = Table(
    "return_items",
    metadata,
    _id(),
    Column("unit_key", Text, nullable=False, unique=True),
    Column("return_id", Text, nullable=False),
    Column("order_number", Text, nullable=False),
    Column("order_key", Text, nullable=False),
    Column("line_item_id", Text, nullable=False),
    Column("sku", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("started_at", Instant),
    Column("dropped_off_at", Instant),
    Column("approved_at", Instant),
    Column("departed_at", Instant),
    Column("received_at", Instant),
    Column("expired_at", Instant),
    Column("cancelled_at", Instant),
    Column("precisions", sa.String(7), nullable=False),  # one of e d i - a fact, in that order
    Column("dropoff_method", Text, nullable=False),
    Column("reason_code", Text, nullable=False),
    Column("disposition_code", Text, nullable=False),
    Column("disposition_at", Instant),
    Column("refund_type", Text),
    Column("refund_amount_minor", BigInt),
    Column("shipping_refund_minor", BigInt),
    Column("fee_minor", BigInt),
    Column("fee_currency", Text),
    Column("currency", Text),
    Column("is_returnless", sa.Boolean, nullable=False),
    Column("exchange_sku", Text, nullable=False),
    Column("exchange_quantity", sa.Integer, nullable=False),
    Column("exchange_unit_price_minor", BigInt),
    Column("problems", Text, nullable=False),
    Column("updated_at", Instant),
    Column("source_rank", sa.Integer, nullable=False),
    Column("payload_hash", Text, nullable=False),
    Column("first_seen_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("is_open", sa.Boolean, nullable=False),  # something may still be owed to it
    comment="One row a physical unit: the latest word and the facts of its life.",
)
_partial("ix_return_items_open", return_items.c.order_key, where="is_open", on_sqlite="is_open = 1")
Index("ix_return_items_order_key", return_items.c.order_key)
Index("ix_return_items_return_id", return_items.c.return_id)
_partial("ix_return_items_problems", return_items.c.id, where="problems <> ''")

unit_events = Table(
    "unit_events",
    metadata,
    _id(),
    Column("unit_key", Text, nullable=False),
    Column("told", Text, nullable=False),  # JSON array: kind, at, precision, detail of each
    Column("seen_at", Instant, nullable=False),
    Column("raw_id", BigInt, nullable=False),
    comment="What each payload newly told of a unit, in the order it was learnt.",
)
Index("ix_unit_events_unit_key", unit_events.c.unit_key)

shipment_items = Table(
    "shipment_items",
    metadata,
    _id(),
    Column("shipment_id", Text, nullable=False),
    Column("unit_key", Text, nullable=False),
    Column("seen_at", Instant, nullable=False),
    UniqueConstraint("shipment_id", "unit_key", name="uq_shipment_items_shipment_id_unit_key"),
    comment="Which units each consolidated shipment is said to hold.",
)
Index("ix_shipment_items_unit_key", shipment_items.c.unit_key)

untold_units = Table(
    "untold_units",
    metadata,
    _id(),
    Column("unit_key", Text, nullable=False, unique=True),
    Column("since_at", Instant, nullable=False),
    comment="Open units that Happy Returns' last answer about their order does not name.",
)

receipts = Table(
    "receipts",
    metadata,
    _id(),
    Column("unit_key", Text, nullable=False, unique=True),
    Column("return_id", Text, nullable=False),
    Column("order_key", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("business_date", sa.Date, nullable=False),
    Column("seen_at", Instant, nullable=False),
    comment="Physical receipts in the warehouse, one row a unit, once.",
)
Index("ix_receipts_business_date", receipts.c.business_date)

# --- decisions --------------------------------------------------------------------

matches = Table(
    "matches",
    metadata,
    _id(),
    Column("unit_key", Text, nullable=False, unique=True),
    Column("outcome", Text, nullable=False),  # matched | orphan | ambiguous | waiting
    Column("code", Text, nullable=False),  # exception code of the last three
    Column("reason", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("order_id", Text),
    Column("row_id", Text),
    Column("unit_no", sa.Integer),
    Column("candidates", Text, nullable=False),
    Column("since_at", Instant, nullable=False),
    Column("decided_at", Instant, nullable=False),
    # Two units can never be the same unit of one order line.
    UniqueConstraint("row_id", "unit_no", name="uq_matches_row_unit"),
    CheckConstraint(
        "(outcome = 'matched') = (row_id IS NOT NULL AND unit_no IS NOT NULL)",
        name="matched_has_row",
    ),
    comment="To which unit of which order item row each returned unit belongs.",
)
_partial("ix_matches_unresolved", matches.c.since_at, where="outcome <> 'matched'")

dispositions = Table(
    "dispositions",
    metadata,
    _id(),
    Column("unit_key", Text, nullable=False),
    Column("sequence", sa.Integer, nullable=False),
    Column("source_code", Text, nullable=False),
    Column("disposition", Text, nullable=False),
    Column("effect", Text, nullable=False),
    Column("location_id", Text, nullable=False),
    Column("is_sellable", sa.Boolean, nullable=False),
    Column("refund", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("policy_hash", Text, nullable=False),
    Column("decided_at", Instant, nullable=False),
    UniqueConstraint("unit_key", "sequence", name="uq_dispositions_unit_sequence"),
    comment="What was decided for each unit, under which policy. A change is a new row.",
)

gates = Table(
    "gates",
    metadata,
    Column("unit_key", Text, primary_key=True),
    Column("gate", Text, primary_key=True),  # stock | refund | exchange
    Column("is_cleared", sa.Boolean, nullable=False),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("exception", Text, nullable=False),  # catalogue code, "" for none
    Column("at", Instant),
    Column("since_at", Instant, nullable=False),
    comment="Which gates stand open for each open unit, and what holds the others.",
)

stock_adjustments = Table(
    "stock_adjustments",
    metadata,
    _id(),
    Column("adjustment_key", Text, nullable=False, unique=True),
    Column("unit_key", Text, nullable=False),
    Column("kind", Text, nullable=False),  # restock | scrap | move
    Column("order_id", Text, nullable=False),
    Column("row_id", Text, nullable=False),
    Column("sku", Text, nullable=False),
    Column("location_id", Text, nullable=False),
    Column("from_location_id", Text, nullable=False),
    Column("quantity", sa.Integer, nullable=False),
    Column("scrap_quantity", sa.Integer, nullable=False),
    Column("is_sellable", sa.Boolean, nullable=False),
    Column("role", Text, nullable=False),
    Column("state", Text, nullable=False),  # ready | intended | posted | held
    Column("intent_key", Text),
    Column("rma_header_id", BigInt),
    Column("rma_row_id", BigInt),
    Column("posted_at", Instant),
    Column("is_ledgered", sa.Boolean, nullable=False, server_default=sa.false()),
    Column("note", Text, nullable=False, server_default=""),
    Column("policy_hash", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    CheckConstraint("quantity = 1", name="one_unit"),
    CheckConstraint("scrap_quantity IN (0, 1)", name="scrap"),
    CheckConstraint("(state = 'posted') = (posted_at IS NOT NULL)", name="posted"),
    comment="Each unit's stock movement; one restock a unit, ever.",
)
Index(
    "uq_stock_adjustments_one_restock",
    stock_adjustments.c.unit_key,
    unique=True,
    sqlite_where=sa.text("kind <> 'move'"),
    postgresql_where=sa.text("kind <> 'move'"),
)
_partial(
    "ix_stock_adjustments_unposted",
    stock_adjustments.c.order_id,
    where=_in("state", UNPOSTED_ADJUSTMENT),
)
_partial(
    "ix_stock_adjustments_unledgered",
    stock_adjustments.c.id,
    where="NOT is_ledgered",
    on_sqlite="is_ledgered = 0",
)
Index("ix_stock_adjustments_unit_key", stock_adjustments.c.unit_key)
_partial(
    "ix_stock_adjustments_intent_key",
    stock_adjustments.c.intent_key,
    where="intent_key IS NOT NULL",
)
_partial(
    "ix_stock_adjustments_posted_at", stock_adjustments.c.posted_at, where="posted_at IS NOT NULL"
)
Index("ix_stock_adjustments_order_id", stock_adjustments.c.order_id)

refunds_due = Table(
    "refunds_due",
    metadata,
    _id(),
    Column("refund_key", Text, nullable=False, unique=True),
    Column("unit_key", Text, nullable=False, unique=True),
    Column("order_id", Text, nullable=False),
    Column("row_id", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("goods_minor", BigInt, nullable=False),
    Column("goods_vat_minor", BigInt, nullable=False),
    Column("shipping_minor", BigInt, nullable=False),
    Column("shipping_vat_minor", BigInt, nullable=False),
    Column("fee_minor", BigInt, nullable=False),
    Column("fee_vat_minor", BigInt, nullable=False),
    Column("amount_minor", BigInt, nullable=False),
    Column("tax_rate_bp", sa.Integer, nullable=False),
    Column("tender", Text, nullable=False),  # refund | store_credit | exchange
    Column("gateway", Text, nullable=False),
    Column("executor", Text, nullable=False),  # linnworks | happy_returns | ledger
    Column("effective_at", Instant, nullable=False),
    Column("business_date", sa.Date, nullable=False),
    Column("state", Text, nullable=False),  # due | batched | actioned | recorded | refused
    Column("batch_id", Text),
    Column("intent_key", Text),
    Column("refund_header_id", BigInt),
    Column("settled_at", Instant),
    Column("is_ledgered", sa.Boolean, nullable=False, server_default=sa.false()),
    Column("note", Text, nullable=False, server_default=""),
    Column("policy_hash", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("attempt", sa.Integer, nullable=False, server_default="0"),  # refused so often
    # Of an uneven exchange, once its two legs have met on exchange clearing.
    Column("new_value_minor", BigInt),  # what was ordered for it; 0: it is refunded instead
    Column("cleared_at", Instant),
    Column("cleared_on", sa.Date),
    CheckConstraint("amount_minor >= 0", name="amount"),
    CheckConstraint("amount_minor = goods_minor + shipping_minor - fee_minor", name="parts"),
    comment="What each unit is owed; carried out once, by one declared executor.",
)
_partial("ix_refunds_due_open", refunds_due.c.business_date, where=_in("state", UNPAID_REFUND))
_partial(
    "ix_refunds_due_unledgered",
    refunds_due.c.id,
    where="NOT is_ledgered",
    on_sqlite="is_ledgered = 0",
)
_partial("ix_refunds_due_settled_at", refunds_due.c.settled_at, where="settled_at IS NOT NULL")
Index("ix_refunds_due_order_id", refunds_due.c.order_id)
Index("ix_refunds_due_row_id", refunds_due.c.row_id)
_partial("ix_refunds_due_batch_id", refunds_due.c.batch_id, where="batch_id IS NOT NULL")
_partial("ix_refunds_due_intent_key", refunds_due.c.intent_key, where="intent_key IS NOT NULL")


def to_pay() -> sa.ColumnElement[int]:
    """What of a row of ``refunds_due`` somebody is paid: all of it, or an exchange's residual."""
    due = refunds_due.c
    residual = sa.case(
        (due.new_value_minor < due.amount_minor, due.amount_minor - due.new_value_minor), else_=0
    )
    return sa.case((due.tender == "exchange", residual), else_=due.amount_minor)


exchange_orders = Table(
    "exchange_orders",
    metadata,
    _id(),
    Column("exchange_key", Text, nullable=False, unique=True),
    Column("unit_key", Text, nullable=False, unique=True),
    Column("order_id", Text, nullable=False),
    Column("reference", Text, nullable=False, unique=True),
    Column("sku", Text, nullable=False),
    Column("quantity", sa.Integer, nullable=False),
    Column("unit_price_minor", BigInt, nullable=False),
    Column("currency", Text, nullable=False),
    Column("is_even", sa.Boolean, nullable=False),
    Column("state", Text, nullable=False),  # ready | intended | created | held
    Column("intent_key", Text),
    Column("new_order_id", Text),
    Column("created_order_at", Instant),
    Column("note", Text, nullable=False, server_default=""),
    Column("policy_hash", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    # A zero price is the mark of an even exchange and of nothing else.
    CheckConstraint("is_even = (unit_price_minor = 0)", name="even_is_free"),
    comment="Replacements, each ordered once, after the goods are back.",
)
_partial(
    "ix_exchange_orders_open", exchange_orders.c.order_id, where=_in("state", UNCREATED_EXCHANGE)
)
Index("ix_exchange_orders_order_id", exchange_orders.c.order_id)
_partial(
    "ix_exchange_orders_intent_key", exchange_orders.c.intent_key, where="intent_key IS NOT NULL"
)

# --- money ------------------------------------------------------------------------

postings = Table(
    "postings",
    metadata,
    _id(),
    Column("posting_key", Text, nullable=False, unique=True),
    Column("unit_key", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("tax_key", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("amount_minor", BigInt, nullable=False),
    Column("currency", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("business_date", sa.Date, nullable=False),
    Column("batch_id", Text),
    Column("line_number", sa.Integer),
    Column("policy_hash", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("event_key", Text, nullable=False, server_default=""),  # the refund or movement
    Column("base_minor", BigInt),  # in the merchant's currency, where that is another
    CheckConstraint("side IN ('debit', 'credit')", name="side"),
    # A difference of rates is money in the merchant's currency alone.
    CheckConstraint(
        "amount_minor >= 0 AND (amount_minor > 0 OR coalesce(base_minor, 0) > 0)", name="amount"
    ),
    comment="The ledger's lines, one unit each, before they are summed into a batch.",
)
_partial("ix_postings_unbatched", postings.c.business_date, where="batch_id IS NULL")
Index("ix_postings_batch_id", postings.c.batch_id)
Index("ix_postings_unit_key", postings.c.unit_key)

batches = Table(
    "batches",
    metadata,
    Column("batch_id", sa.String(21), primary_key=True),
    Column("kind", Text, nullable=False),  # primary | adjustment | reversal | replacement
    Column("state", Text, nullable=False),  # sealed | exported | posted | reversed
    Column("entity", Text, nullable=False),  # two characters: entity and channel group
    Column("currency", Text, nullable=False),
    Column("business_date", sa.Date, nullable=False),
    Column("origin_date", sa.Date, nullable=False),
    Column("hash", sa.String(64), nullable=False),
    Column("body", Text, nullable=False),  # the canonical bytes that were hashed
    Column("totals", Text, nullable=False),  # JSON
    Column("policy_hash", Text, nullable=False),
    Column("sealed_at", Instant, nullable=False),
    Column("posted_at", Instant),
    Column("run_id", Text, nullable=False),
    Column("legal_entity", Text, nullable=False, server_default=""),
    Column("channel_group", Text, nullable=False, server_default=""),
    Column("base_currency", Text, nullable=False, server_default=""),  # the merchant's
    Column("description", Text, nullable=False, server_default=""),
    Column("reverses_id", sa.String(21)),  # of a reversal: the batch it takes back
    Column("replaces_id", sa.String(21)),  # of a replacement: the batch it stands for
    Column("complete_at", Instant),
    Column("exported_at", Instant),
    Column("reversed_at", Instant),
    Column("ledger_id", Text, nullable=False, server_default=""),  # the journal in the ledger
    Column("confirmed_at", Instant),  # when somebody gave it
    comment="Sealed financial batches. A sealed byte never changes.",
)
Index("ix_batches_business_date", batches.c.business_date)
Index("ix_batches_origin_date", batches.c.origin_date)
_partial(
    "ix_batches_unfinished",
    batches.c.origin_date,
    where=_in("state", UNFINISHED_BATCH),
)
Index("uq_batches_reverses_id", batches.c.reverses_id, unique=True)

batch_events = Table(
    "batch_events",
    metadata,
    _id(),
    Column("batch_id", sa.String(21), nullable=False),
    Column("state", Text, nullable=False),  # open | complete | sealed | exported | posted | ...
    Column("at", Instant, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("detail", Text, nullable=False),
    comment="How each batch came to where it stands, append-only.",
)
Index("ix_batch_events_batch_id", batch_events.c.batch_id)

batch_exports = Table(
    "batch_exports",
    metadata,
    _id(),
    Column("batch_id", sa.String(21), nullable=False),
    Column("target", Text, nullable=False),  # generic | xero | quickbooks | sage50 | netsuite
    Column("hash", sa.String(64), nullable=False),  # of the batch's own rows
    Column("policy_hash", Text, nullable=False),  # of the names they were written with
    Column("exported_at", Instant, nullable=False),
    Column("run_id", Text, nullable=False),
    comment="What was written of each batch for which program, append-only.",
)
Index("ix_batch_exports_batch_id", batch_exports.c.batch_id, batch_exports.c.target)

ledger_answers = Table(
    "ledger_answers",
    metadata,
    _id(),
    Column("batch_id", sa.String(21), nullable=False),
    Column("target", Text, nullable=False),
    Column("is_taken", sa.Boolean, nullable=False),  # or refused
    Column("reason", Text, nullable=False),
    Column("told_by", Text, nullable=False),
    Column("told_at", Instant, nullable=False),
    comment="What an accounting program said to a batch's file: the last word stands.",
)
Index("ix_ledger_answers_batch_id", ledger_answers.c.batch_id, ledger_answers.c.target)

period_locks = Table(
    "period_locks",
    metadata,
    _id(),
    Column("period", sa.String(7), nullable=False),  # a month: 2026-03
    Column("is_locked", sa.Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("changed_at", Instant, nullable=False),
    comment="Our own calendar of locked periods: the last word on a month stands.",
)
Index("ix_period_locks_period", period_locks.c.period)

closed_days = Table(
    "closed_days",
    metadata,
    Column("business_date", sa.Date, primary_key=True),
    Column("closed_at", Instant, nullable=False),
    Column("run_id", Text, nullable=False),
    comment="Business days that were closed, those without a single line included.",
)

batch_lines = Table(
    "batch_lines",
    metadata,
    Column("batch_id", ForeignKey("batches.batch_id"), primary_key=True),
    Column("number", sa.Integer, primary_key=True),
    Column("role", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("tax_key", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("amount_minor", BigInt, nullable=False),
    Column("currency", Text, nullable=False),
    Column("unit_keys", Text, nullable=False),  # JSON array
    Column("base_minor", BigInt),  # in the merchant's currency, where that is another
    comment="A batch's lines by role, tax key and side; debit and credit never netted.",
)

for _table in (postings, batches, batch_lines):
    guards.attach(_table)

# --- acting -----------------------------------------------------------------------

intents = Table(
    "intents",
    metadata,
    _id(),
    Column("intent_key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # rma_booking | rma_action | refund_create | ...
    Column("subject", Text, nullable=False),  # the order: one unknown holds the others up
    Column("reference", Text, nullable=False),
    Column("payload", sa.JSON(none_as_null=True), nullable=False),
    Column("payload_hash", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", sa.Integer, nullable=False),
    Column("depends_on", Text),
    Column("lease_holder", Text),
    Column("lease_until", Instant),
    Column("not_before", Instant),
    Column("created_at", Instant, nullable=False),
    Column("sent_at", Instant),
    Column("settled_at", Instant),
    Column("evidence", sa.JSON(none_as_null=True)),  # None is NULL, not JSON's null
    Column("error", Text, nullable=False, server_default=""),
    CheckConstraint(
        "state IN ('ready','sending','unknown','confirmed','refused','suspense','withdrawn')",
        name="state",
    ),
    # Confirmed means proven: never without the vendor's own answer or read-back.
    CheckConstraint("state <> 'confirmed' OR evidence IS NOT NULL", name="evidence"),
    comment="The outbox: what is to be done to a vendor, committed before it is tried.",
)
_partial(
    "ix_intents_open",
    intents.c.kind,
    intents.c.state,
    where=_in("state", UNSETTLED_INTENT),
)
Index("ix_intents_subject", intents.c.subject)

attempts = Table(
    "attempts",
    metadata,
    _id(),
    Column("intent_key", Text, nullable=False),
    Column("attempt", sa.Integer, nullable=False),
    Column("step", Text, nullable=False),  # claimed | confirmed | unknown | read_back | ...
    Column("at", Instant, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("detail", Text, nullable=False),
    comment="Every step of every intent, append-only.",
)
Index("ix_attempts_intent_key", attempts.c.intent_key)

# --- control ----------------------------------------------------------------------

exceptions = Table(
    "exceptions",
    metadata,
    _id(),
    Column("code", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("status", Text, nullable=False),  # open | ack | snoozed | resolved | auto_resolved
    Column("message", Text, nullable=False),
    Column("amount_minor", BigInt, nullable=False),
    Column("currency", Text, nullable=False),
    Column("unit_keys", Text, nullable=False),  # JSON arrays
    Column("return_ids", Text, nullable=False),
    Column("order_numbers", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("last_seen_at", Instant, nullable=False),
    Column("occurrences", sa.Integer, nullable=False),
    Column("resolved_at", Instant),
    Column("resolution", Text, nullable=False, server_default=""),
    Column("assignee", Text, nullable=False, server_default=""),
    Column("policy_hash", Text, nullable=False),
    Column("snoozed_until", Instant),
    Column("resolver", Text, nullable=False, server_default=""),
    comment="The exception queue: what cannot move is somebody's named task.",
)
_OPEN = sa.text(_in("status", OPEN_EXCEPTION))
Index(
    "uq_exceptions_open",
    exceptions.c.code,
    exceptions.c.key,
    unique=True,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)

decisions = Table(
    "decisions",
    metadata,
    _id(),
    Column("subject", Text, nullable=False),  # unit key, intent key, or an exception's id
    Column("question", Text, nullable=False),  # what it answers: line | disposition | money | ...
    Column("sequence", sa.Integer, nullable=False),  # a later answer to the same question
    Column("kind", Text, nullable=False),
    Column("arguments", Text, nullable=False),  # JSON object
    Column("exception_id", BigInt),  # the task it was made from
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("decided_at", Instant, nullable=False),
    Column("policy_hash", Text, nullable=False),
    UniqueConstraint(
        "subject", "question", "sequence", name="uq_decisions_subject_question_sequence"
    ),
    comment="What people decided, as data for the next run. Append-only.",
)
Index("ix_decisions_exception_id", decisions.c.exception_id)

decision_outcomes = Table(
    "decision_outcomes",
    metadata,
    Column("decision_id", BigInt, ForeignKey("decisions.id"), primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("run_id", Text, nullable=False),
    CheckConstraint("outcome IN ('carried_out', 'refused', 'superseded', 'ended')", name="outcome"),
    comment="What became of each decision, once. Append-only.",
)

exception_actions = Table(
    "exception_actions",
    metadata,
    _id(),
    Column("exception_id", BigInt, nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("detail", Text, nullable=False),
    Column("decision_id", BigInt),
    comment="Who did what to an exception, and when. Append-only.",
)
Index("ix_exception_actions_exception_id", exception_actions.c.exception_id)

users = Table(
    "users",
    metadata,
    Column("name", Text, primary_key=True),
    Column("roles", Text, nullable=False),  # JSON array of owners
    Column("password_hash", Text, nullable=False),
    Column("is_active", sa.Boolean, nullable=False),
    Column("generation", sa.Integer, nullable=False),  # sessions of an earlier one are over
    Column("created_at", Instant, nullable=False),
    comment="Who may sign in to the web page, and for which owners they act.",
)

user_events = Table(
    "user_events",
    metadata,
    _id(),
    Column("name", Text, nullable=False),  # "" where nobody has the name that was typed
    Column("event", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Instant, nullable=False),
    comment="Sign-ins, failed ones too, and what was done to users. Append-only.",
)
Index("ix_user_events_name", user_events.c.name, user_events.c.at)
Index("ix_user_events_address", user_events.c.address, user_events.c.at)


def _append_only(*tables: Table) -> None:
    """Let the database itself refuse to change or delete a row, whoever asks."""
    refuse = sa.DDL(  # type: ignore[no-untyped-call]
        "CREATE OR REPLACE FUNCTION keep_as_written() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'append-only: %% is never changed', TG_TABLE_NAME; END $$"
    ).execute_if(dialect="postgresql")
    for table in tables:
        sa.event.listen(table, "after_create", refuse)
        for verb in ("UPDATE", "DELETE"):
            start = f"CREATE TRIGGER {table.name}_no_{verb.lower()} BEFORE {verb} ON {table.name} "
            on_postgresql = start + "FOR EACH ROW EXECUTE FUNCTION keep_as_written()"
            on_sqlite = (
                start + f"BEGIN SELECT RAISE(ABORT, 'append-only: {table.name} is never changed');"
                " END"
            )
            for text, dialect in ((on_postgresql, "postgresql"), (on_sqlite, "sqlite")):
                made = sa.DDL(text).execute_if(dialect=dialect)  # type: ignore[no-untyped-call]
                sa.event.listen(table, "after_create", made)


_append_only(decisions, decision_outcomes, exception_actions, user_events)

restock_readings = Table(
    "restock_readings",
    metadata,
    _id(),
    Column("rma_row_id", BigInt, nullable=False, unique=True),
    Column("order_id", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("sku", Text, nullable=False),
    Column("location_id", Text, nullable=False),
    Column("quantity", sa.Integer, nullable=False),
    Column("scrap_quantity", sa.Integer, nullable=False),
    Column("actioned_at", Instant),
    Column("read_at", Instant, nullable=False),
    comment="What Linnworks says was returned, read back by reconciliation.",
)
Index("ix_restock_readings_order_id", restock_readings.c.order_id)
Index("ix_restock_readings_read_at", restock_readings.c.read_at)

stock_readings = Table(
    "stock_readings",
    metadata,
    _id(),
    Column("item_id", Text, nullable=False),
    Column("location_id", Text, nullable=False),
    Column("sku", Text, nullable=False),
    Column("level", sa.Integer, nullable=False),
    Column("read_at", Instant, nullable=False),
    UniqueConstraint("item_id", "location_id", name="uq_stock_readings_item_id_location_id"),
    comment="What Linnworks counted when a returned item was last reconciled, by location.",
)

reconciliations = Table(
    "reconciliations",
    metadata,
    _id(),
    Column("run_id", Text, nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("ended_at", Instant, nullable=False),
    Column("calls", sa.Integer, nullable=False),
    Column("figures", Text, nullable=False),  # JSON object
    comment="What each reconciliation compared, found and cost. Append-only.",
)
Index("ix_reconciliations_began_at", reconciliations.c.began_at)

refund_readings = Table(
    "refund_readings",
    metadata,
    _id(),
    Column("refund_row_id", Text, nullable=False, unique=True),
    # What the bulk search does not say stays empty until the order's refunds are read.
    Column("refund_header_id", BigInt),
    Column("order_id", Text, nullable=False),
    Column("row_id", Text),  # of shipping there is none
    Column("unit", Text, nullable=False),  # Item | Shipping | Service | Additional
    Column("quantity", sa.Integer, nullable=False),
    Column("amount_minor", BigInt, nullable=False),
    Column("currency", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("is_actioned", sa.Boolean, nullable=False),
    Column("actioned_at", Instant),
    Column("is_ours", sa.Boolean, nullable=False),
    Column("is_deleted", sa.Boolean, nullable=False),
    Column("read_at", Instant, nullable=False),
    CheckConstraint("is_actioned = (actioned_at IS NOT NULL)", name="actioned"),
    comment="Refunds in Linnworks, whoever made them: others' in detail where a unit is returned.",
)
Index("ix_refund_readings_order_id", refund_readings.c.order_id)
_partial(
    "ix_refund_readings_unseen",
    refund_readings.c.created_at,
    where="refund_header_id IS NULL AND NOT is_deleted",
    on_sqlite="refund_header_id IS NULL AND is_deleted = 0",
)
_partial(
    "ix_refund_readings_others",
    refund_readings.c.row_id,
    where="row_id IS NOT NULL AND NOT is_ours AND NOT is_deleted",
    on_sqlite="row_id IS NOT NULL AND is_ours = 0 AND is_deleted = 0",
)
_partial(
    "ix_refund_readings_sent_by_others",
    refund_readings.c.actioned_at,
    where="NOT is_ours AND NOT is_deleted AND is_actioned",
    on_sqlite="is_ours = 0 AND is_deleted = 0 AND is_actioned = 1",
)

# --- alerts -----------------------------------------------------------------------

alerts = Table(
    "alerts",
    metadata,
    _id(),
    Column("alert_key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("amount_minor", BigInt, nullable=False),
    Column("currency", Text, nullable=False),
    Column("units", sa.Integer, nullable=False),
    Column("link", Text, nullable=False),
    Column("runbook", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("leaves_at", Instant, nullable=False),
    Column("message_key", Text),  # the message it went into
    comment="What somebody is told, once each.",
)
Index("ix_alerts_kind", alerts.c.kind, alerts.c.id)
Index("ix_alerts_message_key", alerts.c.message_key)
_partial("ix_alerts_waiting", alerts.c.leaves_at, where="message_key IS NULL")

alert_messages = Table(
    "alert_messages",
    metadata,
    _id(),
    Column("message_key", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", sa.Integer, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("sent_at", Instant),
    Column("error", Text, nullable=False),
    CheckConstraint("state IN ('queued', 'sent', 'given_up')", name="state"),
    UniqueConstraint("message_key", "channel", name="uq_alert_messages_message_key_channel"),
    comment="Messages to people, one a channel, sent until they are taken.",
)
_partial("ix_alert_messages_unsent", alert_messages.c.next_at, where=_in("state", UNSENT_MESSAGE))
_partial("ix_alert_messages_lost", alert_messages.c.created_at, where=_in("state", LOST_MESSAGE))
