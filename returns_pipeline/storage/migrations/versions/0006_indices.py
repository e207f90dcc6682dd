"""Indices without which a step went through rows of all time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replacements of an order, refunds of an order line, messages that were given up."""
    op.create_index("ix_exchange_orders_order_id", "exchange_orders", ["order_id"])
    op.create_index("ix_refunds_due_row_id", "refunds_due", ["row_id"])
    lost = sa.text("state IN ('given_up')")
    op.create_index(
        "ix_alert_messages_lost",
        "alert_messages",
        ["created_at"],
        sqlite_where=lost,
        postgresql_where=lost,
    )


def downgrade() -> None:
    """Refuse, like every migration here.

    Raises:
        NotImplementedError: Always; a backup is the way back.
    """
    raise NotImplementedError("there is no way back from the indices: restore a backup")
