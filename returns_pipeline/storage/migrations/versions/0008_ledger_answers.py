"""Finance: what accounting programs said to the files they were given."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """One table."""
    op.create_table(
        "ledger_answers",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("batch_id", sa.String(length=21), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("is_taken", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("told_by", sa.Text(), nullable=False),
        sa.Column("told_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_answers"),
        comment="What an accounting program said to a batch's file: the last word stands.",
    )
    op.create_index("ix_ledger_answers_batch_id", "ledger_answers", ["batch_id", "target"])


def downgrade() -> None:
    """Refuse, like every migration here.

    Raises:
        NotImplementedError: Always; a backup is the way back.
    """
    raise NotImplementedError("there is no way back from ledger answers: restore a backup")
