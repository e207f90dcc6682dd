"""Alerts: what somebody is told, and the messages it goes into."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Two tables."""
    op.create_table(
        "alerts",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("alert_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("amount_minor", BIG, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("runbook", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("leaves_at", INSTANT, nullable=False),
        sa.Column("message_key", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        sa.UniqueConstraint("alert_key", name="uq_alerts_alert_key"),
        comment="What somebody is told, once each.",
    )
    op.create_index("ix_alerts_kind", "alerts", ["kind", "id"])
    op.create_index("ix_alerts_message_key", "alerts", ["message_key"])
    waiting = sa.text("message_key IS NULL")
    op.create_index(
        "ix_alerts_waiting",
        "alerts",
        ["leaves_at"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    op.create_table(
        "alert_messages",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("message_key", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", INSTANT, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("sent_at", INSTANT),
        sa.Column("error", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('queued', 'sent', 'given_up')", name="state"),
        sa.PrimaryKeyConstraint("id", name="pk_alert_messages"),
        sa.UniqueConstraint("message_key", "channel", name="uq_alert_messages_message_key_channel"),
        comment="Messages to people, one a channel, sent until they are taken.",
    )
    unsent = sa.text("state IN ('queued')")
    op.create_index(
        "ix_alert_messages_unsent",
        "alert_messages",
        ["next_at"],
        sqlite_where=unsent,
        postgresql_where=unsent,
    )


def downgrade() -> None:
    """Refuse, like every migration here.

    Raises:
        NotImplementedError: Always; a backup is the way back.
    """
    raise NotImplementedError("there is no way back from the alerts: restore a backup")
