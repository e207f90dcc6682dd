"""Exceptions: units that Happy Returns does not name any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """One table."""
    op.create_table(
        "untold_units",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("unit_key", sa.Text(), nullable=False),
        sa.Column("since_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_untold_units"),
        sa.UniqueConstraint("unit_key", name="uq_untold_units_unit_key"),
        comment="Open units that Happy Returns' last answer about their order does not name.",
    )


def downgrade() -> None:
    """Refuse, like every migration here.

    Raises:
        NotImplementedError: Always; a backup is the way back.
    """
    raise NotImplementedError("there is no way back from the queue: restore a backup")
