"""Finance: where a batch stands and came from, what it replaces, the calendar of periods.

Amounts in the merchant's own currency beside those of another; the event behind each
posting; triggers that keep a sealed byte from changing. A migration is frozen once
released: its triggers are spelled out here, whatever ``guards`` says later.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")
_AMOUNT = "amount_minor >= 0 AND (amount_minor > 0 OR coalesce(base_minor, 0) > 0)"


def upgrade() -> None:
    """Add the columns and tables, then the triggers."""
    _text("orders", "conversion_rate")
    op.add_column(
        "order_lines", sa.Column("discount_minor", BIG, server_default="0", nullable=False)
    )
    op.add_column(
        "refunds_due", sa.Column("attempt", sa.Integer(), server_default="0", nullable=False)
    )
    if op.get_bind().dialect.name == "sqlite":
        _postings_made_anew()
    else:
        _text("postings", "event_key")
        op.add_column("postings", sa.Column("base_minor", BIG))
        op.drop_constraint(op.f("ck_postings_amount"), "postings", type_="check")
        op.create_check_constraint(op.f("ck_postings_amount"), "postings", _AMOUNT)
    # Until now the event stood before the last colon of a posting's key.
    number = "rtrim(posting_key, '0123456789')"
    op.execute(f"UPDATE postings SET event_key = substr({number}, 1, length({number}) - 1)")
    _batches()
    op.add_column("batch_lines", sa.Column("base_minor", BIG))
    _batch_events()
    _period_locks()
    statements = _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL
    for statement in statements:
        op.get_bind().exec_driver_sql(statement.replace("%", "%%"))


def _text(table: str, name: str) -> None:
    op.add_column(table, sa.Column(name, sa.Text(), server_default="", nullable=False))


def _postings_made_anew() -> None:
    """SQLite cannot change a constraint: the table is made anew and its rows moved over."""
    op.rename_table("postings", "postings_before")
    for name in ("batch_id", "unbatched", "unit_key"):
        op.drop_index(f"ix_postings_{name}", table_name="postings_before")
    op.create_table(
        "postings",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("posting_key", sa.Text(), nullable=False),
        sa.Column("unit_key", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("tax_key", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("amount_minor", BIG, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("occurred_at", INSTANT, nullable=False),
        sa.Column("business_date", sa.Date(), nullable=False),
        sa.Column("batch_id", sa.Text()),
        sa.Column("line_number", sa.Integer()),
        sa.Column("policy_hash", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("event_key", sa.Text(), server_default="", nullable=False),
        sa.Column("base_minor", BIG),
        sa.CheckConstraint("side IN ('debit', 'credit')", name=op.f("ck_postings_side")),
        sa.CheckConstraint(_AMOUNT, name=op.f("ck_postings_amount")),
        sa.PrimaryKeyConstraint("id", name="pk_postings"),
        sa.UniqueConstraint("posting_key", name="uq_postings_posting_key"),
        comment="The ledger's lines, one unit each, before they are summed into a batch.",
    )
    names = (
        "id, posting_key, unit_key, role, account, tax_key, side, amount_minor, currency, entity, "
        "occurred_at, business_date, batch_id, line_number, policy_hash, created_at"
    )
    op.execute(f"INSERT INTO postings ({names}) SELECT {names} FROM postings_before ORDER BY id")
    op.drop_table("postings_before")
    op.create_index("ix_postings_batch_id", "postings", ["batch_id"])
    op.create_index(
        "ix_postings_unbatched",
        "postings",
        ["business_date"],
        sqlite_where=sa.text("batch_id IS NULL"),
    )
    op.create_index("ix_postings_unit_key", "postings", ["unit_key"])


def _batches() -> None:
    for name in ("legal_entity", "channel_group", "base_currency", "description"):
        _text("batches", name)
    for name in ("reverses_id", "replaces_id"):
        op.add_column("batches", sa.Column(name, sa.String(length=21)))
    for name in ("complete_at", "exported_at", "reversed_at"):
        op.add_column("batches", sa.Column(name, INSTANT))
    _text("batches", "ledger_id")
    op.add_column("batches", sa.Column("confirmed_at", INSTANT))
    op.execute("UPDATE batches SET legal_entity = entity")
    op.create_index("ix_batches_origin_date", "batches", ["origin_date"])
    unfinished = sa.text("state IN ('sealed', 'exported')")
    op.create_index(
        "ix_batches_unfinished",
        "batches",
        ["origin_date"],
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )
    op.create_index("uq_batches_reverses_id", "batches", ["reverses_id"], unique=True)


def _batch_events() -> None:
    op.create_table(
        "batch_events",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("batch_id", sa.String(length=21), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_batch_events"),
        comment="How each batch came to where it stands, append-only.",
    )
    op.create_index("ix_batch_events_batch_id", "batch_events", ["batch_id"])


def _period_locks() -> None:
    op.create_table(
        "period_locks",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("period", sa.String(length=7), nullable=False),
        sa.Column("is_locked", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_period_locks"),
        comment="Our own calendar of locked periods: the last word on a month stands.",
    )
    op.create_index("ix_period_locks_period", "period_locks", ["period"])


# Statements as the databases keep them: one a trigger, however long.
# ruff: disable[E501]
# fmt: off
_SQLITE = (
    "CREATE TRIGGER postings_sealed BEFORE UPDATE ON postings WHEN OLD.batch_id IS NOT NULL BEGIN SELECT RAISE(ABORT, 'a sealed batch is never changed'); END",
    "CREATE TRIGGER postings_kept BEFORE DELETE ON postings WHEN OLD.batch_id IS NOT NULL BEGIN SELECT RAISE(ABORT, 'a sealed batch is never changed'); END",
    "CREATE TRIGGER batches_sealed BEFORE UPDATE ON batches WHEN OLD.batch_id IS NOT NEW.batch_id OR OLD.kind IS NOT NEW.kind OR OLD.entity IS NOT NEW.entity OR OLD.legal_entity IS NOT NEW.legal_entity OR OLD.channel_group IS NOT NEW.channel_group OR OLD.currency IS NOT NEW.currency OR OLD.base_currency IS NOT NEW.base_currency OR OLD.business_date IS NOT NEW.business_date OR OLD.origin_date IS NOT NEW.origin_date OR OLD.hash IS NOT NEW.hash OR OLD.body IS NOT NEW.body OR OLD.totals IS NOT NEW.totals OR OLD.policy_hash IS NOT NEW.policy_hash OR OLD.sealed_at IS NOT NEW.sealed_at OR OLD.run_id IS NOT NEW.run_id OR OLD.description IS NOT NEW.description OR OLD.reverses_id IS NOT NEW.reverses_id OR OLD.replaces_id IS NOT NEW.replaces_id BEGIN SELECT RAISE(ABORT, 'a sealed batch is never changed'); END",
    "CREATE TRIGGER batches_moved BEFORE UPDATE ON batches WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ('sealed>exported', 'exported>posted', 'sealed>reversed', 'exported>reversed', 'posted>reversed') BEGIN SELECT RAISE(ABORT, 'a batch does not go from this state to that one'); END",
    "CREATE TRIGGER batches_kept BEFORE DELETE ON batches WHEN 1 = 1 BEGIN SELECT RAISE(ABORT, 'a sealed batch is never changed'); END",
    "CREATE TRIGGER batch_lines_sealed BEFORE UPDATE ON batch_lines WHEN 1 = 1 BEGIN SELECT RAISE(ABORT, 'a sealed batch is never changed'); END",
    "CREATE TRIGGER batch_lines_kept BEFORE DELETE ON batch_lines WHEN 1 = 1 BEGIN SELECT RAISE(ABORT, 'a sealed batch is never changed'); END",
    "CREATE TRIGGER batch_lines_counted BEFORE INSERT ON batch_lines WHEN NEW.number > (SELECT json_array_length(body, '$.lines') FROM batches WHERE batches.batch_id = NEW.batch_id) BEGIN SELECT RAISE(ABORT, 'a sealed batch is never changed'); END",
)
_POSTGRESQL = (
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation'; END $$",
    "CREATE TRIGGER postings_sealed BEFORE UPDATE ON postings FOR EACH ROW WHEN (OLD.batch_id IS NOT NULL) EXECUTE FUNCTION refuse_change('a sealed batch is never changed')",
    "CREATE TRIGGER postings_kept BEFORE DELETE ON postings FOR EACH ROW WHEN (OLD.batch_id IS NOT NULL) EXECUTE FUNCTION refuse_change('a sealed batch is never changed')",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation'; END $$",
    "CREATE TRIGGER batches_sealed BEFORE UPDATE ON batches FOR EACH ROW WHEN (OLD.batch_id IS DISTINCT FROM NEW.batch_id OR OLD.kind IS DISTINCT FROM NEW.kind OR OLD.entity IS DISTINCT FROM NEW.entity OR OLD.legal_entity IS DISTINCT FROM NEW.legal_entity OR OLD.channel_group IS DISTINCT FROM NEW.channel_group OR OLD.currency IS DISTINCT FROM NEW.currency OR OLD.base_currency IS DISTINCT FROM NEW.base_currency OR OLD.business_date IS DISTINCT FROM NEW.business_date OR OLD.origin_date IS DISTINCT FROM NEW.origin_date OR OLD.hash IS DISTINCT FROM NEW.hash OR OLD.body IS DISTINCT FROM NEW.body OR OLD.totals IS DISTINCT FROM NEW.totals OR OLD.policy_hash IS DISTINCT FROM NEW.policy_hash OR OLD.sealed_at IS DISTINCT FROM NEW.sealed_at OR OLD.run_id IS DISTINCT FROM NEW.run_id OR OLD.description IS DISTINCT FROM NEW.description OR OLD.reverses_id IS DISTINCT FROM NEW.reverses_id OR OLD.replaces_id IS DISTINCT FROM NEW.replaces_id) EXECUTE FUNCTION refuse_change('a sealed batch is never changed')",
    "CREATE TRIGGER batches_moved BEFORE UPDATE ON batches FOR EACH ROW WHEN (OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ('sealed>exported', 'exported>posted', 'sealed>reversed', 'exported>reversed', 'posted>reversed')) EXECUTE FUNCTION refuse_change('a batch does not go from this state to that one')",
    "CREATE TRIGGER batches_kept BEFORE DELETE ON batches FOR EACH ROW WHEN (1 = 1) EXECUTE FUNCTION refuse_change('a sealed batch is never changed')",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation'; END $$",
    "CREATE OR REPLACE FUNCTION sealed_lines(sealed text) RETURNS integer LANGUAGE sql STABLE AS $$ SELECT jsonb_array_length(body::jsonb -> 'lines') FROM batches WHERE batch_id = sealed $$",
    "CREATE TRIGGER batch_lines_sealed BEFORE UPDATE ON batch_lines FOR EACH ROW WHEN (1 = 1) EXECUTE FUNCTION refuse_change('a sealed batch is never changed')",
    "CREATE TRIGGER batch_lines_kept BEFORE DELETE ON batch_lines FOR EACH ROW WHEN (1 = 1) EXECUTE FUNCTION refuse_change('a sealed batch is never changed')",
    "CREATE TRIGGER batch_lines_counted BEFORE INSERT ON batch_lines FOR EACH ROW WHEN (NEW.number > sealed_lines(NEW.batch_id)) EXECUTE FUNCTION refuse_change('a sealed batch is never changed')",
)
# fmt: on
# ruff: enable[E501]
