"""Two readings that went through all there ever was: an article's sales, others' refunds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two indices."""
    op.create_index("ix_order_lines_sku", "order_lines", ["sku"])
    op.create_index(
        "ix_refund_readings_sent_by_others",
        "refund_readings",
        ["actioned_at"],
        sqlite_where=sa.text("is_ours = 0 AND is_deleted = 0 AND is_actioned = 1"),
        postgresql_where=sa.text("NOT is_ours AND NOT is_deleted AND is_actioned"),
    )


def downgrade() -> None:
    """Refuse, like every migration here.

    Raises:
        NotImplementedError: Always; a backup is the way back.
    """
    raise NotImplementedError("there is no way back from the indices: restore a backup")
