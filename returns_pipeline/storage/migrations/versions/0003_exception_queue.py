"""The exception queue: who did what, what people decided, who may sign in to its page."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")

_WHERE_OPEN = sa.text("status IN ('open', 'ack', 'snoozed')")


def upgrade() -> None:
    """Add two columns to the queue, and five tables beside it."""
    # SQLite alters a table by copying it: its partial index is made anew.
    op.drop_index("uq_exceptions_open", "exceptions")
    with op.batch_alter_table("exceptions") as batch:
        batch.add_column(sa.Column("snoozed_until", INSTANT))
        batch.add_column(sa.Column("resolver", sa.Text(), server_default="", nullable=False))
    op.create_index(
        "uq_exceptions_open",
        "exceptions",
        ["code", "key"],
        unique=True,
        sqlite_where=_WHERE_OPEN,
        postgresql_where=_WHERE_OPEN,
    )
    op.create_table(
        "decisions",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("exception_id", BIG),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.Column("policy_hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
        sa.UniqueConstraint(
            "subject", "question", "sequence", name="uq_decisions_subject_question_sequence"
        ),
        comment="What people decided, as data for the next run. Append-only.",
    )
    op.create_index("ix_decisions_exception_id", "decisions", ["exception_id"])
    op.create_table(
        "decision_outcomes",
        sa.Column("decision_id", BIG, autoincrement=False, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('carried_out', 'refused', 'superseded', 'ended')",
            name="outcome",
        ),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name="fk_decision_outcomes_decision_id"
        ),
        sa.PrimaryKeyConstraint("decision_id", name="pk_decision_outcomes"),
        comment="What became of each decision, once. Append-only.",
    )
    op.create_table(
        "exception_actions",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("exception_id", BIG, nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("decision_id", BIG),
        sa.PrimaryKeyConstraint("id", name="pk_exception_actions"),
        comment="Who did what to an exception, and when. Append-only.",
    )
    op.create_index("ix_exception_actions_exception_id", "exception_actions", ["exception_id"])
    op.create_table(
        "users",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_users"),
        comment="Who may sign in to the web page, and for which owners they act.",
    )
    op.create_table(
        "user_events",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_user_events"),
        comment="Sign-ins, failed ones too, and what was done to users. Append-only.",
    )
    op.create_index("ix_user_events_name", "user_events", ["name", "at"])
    op.create_index("ix_user_events_address", "user_events", ["address", "at"])
    _append_only("decisions", "decision_outcomes", "exception_actions", "user_events")


def _append_only(*names: str) -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    if postgres:
        op.execute(
            "CREATE OR REPLACE FUNCTION keep_as_written() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'append-only: % is never changed', TG_TABLE_NAME; END $$"
        )
    for name in names:
        for verb in ("UPDATE", "DELETE"):
            trigger = f"{name}_no_{verb.lower()}"
            if postgres:
                op.execute(
                    f"CREATE TRIGGER {trigger} BEFORE {verb} ON {name} "
                    "FOR EACH ROW EXECUTE FUNCTION keep_as_written()"
                )
            else:
                op.execute(
                    f"CREATE TRIGGER {trigger} BEFORE {verb} ON {name} "
                    f"BEGIN SELECT RAISE(ABORT, 'append-only: {name} is never changed'); END"
                )


def downgrade() -> None:
    """Refuse: what people decided is evidence.

    Raises:
        NotImplementedError: Always; a backup is the way back.
    """
    raise NotImplementedError("there is no way back from the exception queue: restore a backup")
