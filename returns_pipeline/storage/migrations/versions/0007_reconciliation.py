"""Reconciliation: levels it read, what each one found and cost, what shipments hold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Three tables and two indices."""
    op.create_table(
        "stock_readings",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("read_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_stock_readings"),
        sa.UniqueConstraint("item_id", "location_id", name="uq_stock_readings_item_id_location_id"),
        comment="What Linnworks counted when a returned item was last reconciled, by location.",
    )
    op.create_table(
        "reconciliations",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("began_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT, nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reconciliations"),
        comment="What each reconciliation compared, found and cost. Append-only.",
    )
    op.create_index("ix_reconciliations_began_at", "reconciliations", ["began_at"])
    op.create_table(
        "shipment_items",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("shipment_id", sa.Text(), nullable=False),
        sa.Column("unit_key", sa.Text(), nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_shipment_items"),
        sa.UniqueConstraint(
            "shipment_id", "unit_key", name="uq_shipment_items_shipment_id_unit_key"
        ),
        comment="Which units each consolidated shipment is said to hold.",
    )
    op.create_index("ix_shipment_items_unit_key", "shipment_items", ["unit_key"])
    op.create_index("ix_restock_readings_read_at", "restock_readings", ["read_at"])
    op.create_index(
        "ix_refunds_due_settled_at",
        "refunds_due",
        ["settled_at"],
        sqlite_where=sa.text("settled_at IS NOT NULL"),
        postgresql_where=sa.text("settled_at IS NOT NULL"),
    )


def downgrade() -> None:
    """Refuse, like every migration here.

    Raises:
        NotImplementedError: Always; a backup is the way back.
    """
    raise NotImplementedError("there is no way back from reconciliation: restore a backup")
