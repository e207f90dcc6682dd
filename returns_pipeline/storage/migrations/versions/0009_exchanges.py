"""Uneven exchanges: what was ordered for the goods, and when the two legs met."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Three columns."""
    op.add_column("refunds_due", sa.Column("new_value_minor", BIG))
    op.add_column("refunds_due", sa.Column("cleared_at", INSTANT))
    op.add_column("refunds_due", sa.Column("cleared_on", sa.Date()))


def downgrade() -> None:
    """Refuse, like every migration here.

    Raises:
        NotImplementedError: Always; a backup is the way back.
    """
    raise NotImplementedError("there is no way back from uneven exchanges: restore a backup")
