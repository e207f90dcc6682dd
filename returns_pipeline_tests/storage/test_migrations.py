"""The migrations build the declared tables, once, and only in a database that is ours."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from returns_pipeline.storage import engine as opening
from returns_pipeline.storage import migrate
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import DatabaseUnusable, connect
from returns_pipeline.storage.migrate import require_current, upgrade
from returns_pipeline_tests.storage.rows import insert

_CATALOGUE = {
    "sqlite": "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'",
    "postgresql": """
        SELECT 'column', table_name || '.' || column_name, concat_ws(' ', data_type,
               character_maximum_length, is_nullable, column_default, ordinal_position,
               col_description(table_name::regclass, ordinal_position))
          FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid)
          FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT 'trigger', tgname, pg_get_triggerdef(oid)
          FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT 'function', proname, pg_get_functiondef(oid)
          FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT 'table', relname, obj_description(oid)
          FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
    """,
}


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without a table, once on each of the two."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty' / 'returns.db'}"
    return request.getfixturevalue("empty_postgres_url")


@pytest.fixture
def empty(empty_url: str) -> Iterator[sa.Engine]:
    """An engine on it."""
    engine = connect(empty_url)
    yield engine
    engine.dispose()


def _catalogue(engine: sa.Engine) -> dict[tuple[str, str], object]:
    """What the database itself says it has; SQLite's statements as sets of their parts."""
    with engine.connect() as connection:
        found = connection.execute(sa.text(_CATALOGUE[engine.dialect.name])).all()
    return {
        (kind, name): frozenset(re.split(r"\s*,\s*|\n", text.strip()))
        if engine.dialect.name == "sqlite" and text
        else text
        for kind, name, text in found
        if "alembic" not in name
    }


def test_what_the_migrations_build_is_what_is_declared(empty: sa.Engine) -> None:
    upgrade(empty)
    migrated = _catalogue(empty)
    with empty.begin() as connection:
        t.metadata.drop_all(connection)
        t.metadata.create_all(connection)
    assert migrated == _catalogue(empty)
    assert ("index", "uq_stock_adjustments_one_restock") in migrated
    assert len(migrated) > 60


def test_alembic_itself_finds_nothing_to_add(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, t.metadata) == []


def test_an_upgrade_tells_the_version_before_and_after(empty: sa.Engine) -> None:
    before, after = upgrade(empty)
    assert before is None
    assert after
    require_current(empty)


def test_an_upgrade_of_a_current_database_changes_nothing(engine: sa.Engine) -> None:
    before = _catalogue(engine)
    with engine.begin() as connection:
        insert(connection, "receipts")
    first, second = upgrade(engine)
    assert first == second
    assert _catalogue(engine) == before
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(t.receipts)) == 1


def test_programs_that_upgrade_one_database_at_once_all_succeed(empty_url: str) -> None:
    code = (
        "import sys; from returns_pipeline.storage import engine, migrate\n"
        "print(migrate.upgrade(engine.connect(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, empty_url]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
        for _ in range(3)
    ]
    said = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert sum("None" in text for text in said) == 1
    engine = connect(empty_url)
    require_current(engine)
    engine.dispose()


def test_an_upgrade_waits_for_one_that_is_under_way(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_MS", 100)
    engine = connect(empty_postgres_url)
    with engine.begin() as other:
        other.execute(sa.select(sa.func.pg_advisory_xact_lock(migrate._LOCK)))
        with pytest.raises(DatabaseUnusable, match="lock timeout"):
            upgrade(engine)
    assert upgrade(engine)[0] is None
    engine.dispose()


def test_looking_at_a_file_that_is_not_there_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "returns.sqlite"
    engine = connect(f"sqlite:///{path}")
    with pytest.raises(DatabaseUnusable, match=r"there is no database .*db upgrade"):
        require_current(engine)
    assert list(tmp_path.iterdir()) == []
    engine.dispose()


def test_a_failing_migration_leaves_nothing_behind(
    empty: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("alembic.operations.Operations.create_index", broken)
    with pytest.raises(RuntimeError, match="in the middle"):
        upgrade(empty)
    monkeypatch.undo()
    assert _catalogue(empty) == {}
    assert upgrade(empty)[0] is None


# --- refusals ---------------------------------------------------------------------


def test_a_database_with_other_tables_is_refused_and_left_alone(empty: sa.Engine) -> None:
    with empty.begin() as connection:
        connection.execute(sa.text("CREATE TABLE guests (name TEXT)"))
    with pytest.raises(DatabaseUnusable, match=r"not this program's .such as guests.*of its own"):
        upgrade(empty)
    with empty.connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["guests"]


def test_a_version_nobody_here_knows_is_refused(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'abc'"))
    for use in (upgrade, require_current):
        with pytest.raises(DatabaseUnusable, match="version abc, which this program does not know"):
            use(engine)


def test_a_database_without_tables_names_the_command_that_makes_them(empty: sa.Engine) -> None:
    with empty.begin() as connection:
        connection.execute(sa.text("SELECT 1"))  # SQLite makes the file
    with pytest.raises(DatabaseUnusable, match="no tables yet: run `returns-pipeline db upgrade`"):
        require_current(empty)


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    engine = connect("postgresql://shop:s3cret@127.0.0.1:1/returns")
    for use in (upgrade, require_current):
        with pytest.raises(DatabaseUnusable, match="check RETURNS_DATABASE_URL") as refused:
            use(engine)
        assert "returns on 127.0.0.1" in str(refused.value)
        assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://shop:p@s3cret@db.example/returns",
        "mysql://shop:s3cret@db.example/returns",
        "s3cret",
        "postgresql://shop:s3cret@db.example:port/returns",
        "",
    ],
)
def test_an_url_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(DatabaseUnusable, match="RETURNS_DATABASE_URL") as refused:
        connect(url)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "returns.db"
    path.write_bytes(b"accounts of the year " * 100)
    engine = connect(f"sqlite:///{path}")
    with pytest.raises(DatabaseUnusable, match="the file is something else"):
        upgrade(engine)
    with pytest.raises(DatabaseUnusable, match="the file is something else"):
        require_current(engine)


def test_a_database_that_may_only_be_read_is_refused(sqlite_url: str) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    with sa.create_engine(sqlite_url).begin() as connection:
        connection.execute(sa.text("DELETE FROM alembic_version"))
        for name in reversed(t.metadata.sorted_tables):
            connection.execute(sa.text(f"DROP TABLE {name}"))
    engine = connect(f"sqlite:///file:{path}?mode=ro&uri=true")
    with pytest.raises(DatabaseUnusable, match=r"make the .*writable"):
        upgrade(engine)


def test_a_database_another_program_holds_is_refused(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, other = connect(sqlite_url), connect(sqlite_url)
    monkeypatch.setattr("returns_pipeline.storage.engine.BUSY_MS", 1)
    with other.begin(), pytest.raises(DatabaseUnusable, match="another program holds it"):
        upgrade(engine)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnusable, match="cannot make the folder"):
        connect(f"sqlite:///{tmp_path}/file/returns.db")
