"""Exports: which program's files were written of which batch, and what was in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """One table."""
    op.create_table(
        "batch_exports",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("batch_id", sa.String(length=21), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("policy_hash", sa.Text(), nullable=False),
        sa.Column("exported_at", INSTANT, nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_batch_exports"),
        comment="What was written of each batch for which program, append-only.",
    )
    op.create_index("ix_batch_exports_batch_id", "batch_exports", ["batch_id", "target"])


def downgrade() -> None:
    """Refuse, like every migration here.

    Raises:
        NotImplementedError: Always; a backup is the way back.
    """
    raise NotImplementedError("there is no way back from the exports: restore a backup")
