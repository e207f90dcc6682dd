"""What stands in the graph, and that it stands as it should."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef

from returns_pipeline import defs as room
from returns_pipeline.definitions import defs
from returns_pipeline.defs.assets import ASSETS
from returns_pipeline.defs.assets.build import READ_AGAIN
from returns_pipeline.defs.checks import CHECKS
from returns_pipeline.defs.checks.build import SCHEMA
from returns_pipeline.defs.checks.invariants import INVARIANTS
from returns_pipeline.defs.jobs import JOBS
from returns_pipeline.domain.exceptions import CATALOGUE
from returns_pipeline.storage import tables as t

PROJECT = Path(__file__).resolve().parents[2]
SPECS = {spec.key.to_user_string(): spec for asset in ASSETS for spec in asset.specs}
GROUPS = {
    "capture": {
        "linnworks_locations",
        "linnworks_order_payloads",
        "happy_returns_payloads",
        "bookings_read",
        "refunds_read",
    },
    "orders": {"orders", "order_lines", "orders_by_reference"},
    "returns": {"returns", "return_items", "unit_events", "receipts"},
    "matching": {"matches"},
    "inventory": {"dispositions", "stock_adjustments", "restocks"},
    "exchanges": {"exchange_orders", "replacements"},
    "finance": {
        "refunds_due",
        "refunds_in_flight",
        "postings",
        "batches",
        "batch_refunds",
        "journal_files",
        "batch_corrections",
        "ledger_files",
        "month_end_pack",
    },
    "control": {"unit_settlement", "exception_queue", "reconciliation", "day_three_ways"},
}
WRITERS = {"restocks", "replacements", "refunds_in_flight", "batch_refunds"}
READERS = {
    "linnworks_locations",
    "linnworks_order_payloads",
    "happy_returns_payloads",
    "bookings_read",
    "orders_by_reference",
    "reconciliation",
}
OWNERS = {"team:operations", "team:finance", "team:customer-service"}


def _ops() -> dict[str, Any]:
    return {asset.op.name: asset.op for asset in ASSETS}


def test_the_code_location_can_be_loaded() -> None:
    dg.Definitions.validate_loadable(defs)


@pytest.mark.slow
def test_it_loads_without_a_single_variable_set(tmp_path: Path) -> None:
    code = (
        "import dagster as dg; from returns_pipeline.definitions import defs; "
        "dg.Definitions.validate_loadable(defs)"
    )

    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        cwd=PROJECT,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.slow
def test_it_loads_under_a_policy_that_cannot_be_used(tmp_path: Path) -> None:
    broken = tmp_path / "policy.toml"
    broken.write_text("[merchant]\ntime_zone = 1\n")

    done = subprocess.run(
        [sys.executable, "-c", "import returns_pipeline.definitions"],
        cwd=PROJECT,
        env={"RETURNS_POLICY": str(broken)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_the_groups_hold_what_they_should() -> None:
    found: dict[str, set[str]] = {}
    for name, spec in SPECS.items():
        found.setdefault(spec.group_name or "", set()).add(name)

    assert found == GROUPS


@pytest.mark.parametrize("name", sorted(SPECS))
def test_an_asset_says_what_it_is_and_whose(name: str) -> None:
    spec = SPECS[name]

    assert len((spec.description or "").split()) >= 6
    assert set(spec.owners) <= OWNERS
    assert spec.owners
    assert spec.kinds
    table = spec.metadata.get("dagster/table_name")
    if table is not None:
        columns = spec.metadata["dagster/column_schema"].columns
        assert [c.name for c in columns] == [c.name for c in t.metadata.tables[table].columns]
        assert all(column.description for column in columns)


def test_the_graph_reads_from_left_to_right() -> None:
    order = list(GROUPS)
    # The orders to ask Happy Returns about, and orders a return names: known later. The RMA
    # of a return may make its replacement.
    back = {
        ("happy_returns_payloads", "orders"),
        ("orders_by_reference", "return_items"),
        ("restocks", "exchange_orders"),
    }
    wrong = {
        (name, dep.asset_key.to_user_string())
        for name, spec in SPECS.items()
        for dep in spec.deps
        if order.index(SPECS[dep.asset_key.to_user_string()].group_name or "")
        > order.index(spec.group_name or "")
    }

    assert wrong == back


def test_who_speaks_to_a_vendor_does_so_alone() -> None:
    ops = _ops()

    for name in (WRITERS | READERS) - {"happy_returns_payloads"}:
        assert ops[name].pool == "linnworks", name
    assert ops["happy_returns_payloads"].pool == "happy_returns"
    assert {op.pool for name, op in ops.items() if name not in WRITERS | READERS} == {"tables"}


def test_only_reading_is_tried_again() -> None:
    ops = _ops()

    assert {name for name, op in ops.items() if op.retry_policy is not None} == READERS
    assert all(ops[name].retry_policy == READ_AGAIN for name in READERS)
    assert {name for name, spec in SPECS.items() if "writes" in spec.tags} == WRITERS


def test_every_table_has_its_schema_checked_and_nothing_goes_on_where_it_fails() -> None:
    specs = [spec for checks in CHECKS for spec in checks.check_specs if spec.name == SCHEMA]

    assert {spec.asset_key.to_user_string() for spec in specs} == {
        name for name, spec in SPECS.items() if "dagster/table_name" in spec.metadata
    }
    assert all(spec.blocking for spec in specs)


def test_every_invariant_is_a_check_with_words_an_owner_and_a_page_of_the_runbook() -> None:
    specs = {
        spec.name: spec for checks in CHECKS for spec in checks.check_specs if spec.name != SCHEMA
    }

    assert set(specs) == {one.name for one in INVARIANTS}
    for one in INVARIANTS:
        spec = specs[one.name]
        assert len((spec.description or "").split()) >= 6
        assert spec.metadata["owner"] in OWNERS
        assert one.code in CATALOGUE
        assert spec.metadata["runbook"] == f"docs/runbook.md#{one.code.lower()}"


def test_only_what_would_let_a_wrong_figure_out_stops_what_comes_after() -> None:
    blocking = {one.name for one in INVARIANTS if one.blocking}

    assert blocking == {
        "every_disposition_has_a_location",
        "sellable_and_damaged_never_share_a_location",
        "uneven_exchange_is_never_free",
        "batch_balances",
        "sealed_bytes_are_unchanged",
        "every_posting_is_in_one_batch",
        "no_line_refunded_above_its_price",
        "no_more_vat_reversed_than_charged",
        "every_tender_line_is_its_refund",
        "reversals_take_back_their_originals",
    }


def test_a_poll_begins_no_refund_and_every_asset_is_in_a_job() -> None:
    graph = defs.resolve_asset_graph()
    by_job = {
        job.name: {key.to_user_string() for key in job.selection.resolve(graph)} for job in JOBS
    }

    daily = {"sync_returns", "close_business_day", "reconcile_returns"}
    by_hand = {"export_journals", "close_month", "reverse_batch"}
    assert set(by_job) == daily | by_hand | {"refresh_exceptions"}
    assert by_job["close_business_day"] == {"batches", "batch_refunds", "journal_files"}
    assert not by_job["sync_returns"] & by_job["close_business_day"]
    assert set.union(*by_job.values()) == set(SPECS)


def test_no_module_of_the_room_postpones_its_annotations() -> None:
    folder = Path(room.__file__).parent
    postponed = [
        path.name
        for path in [*folder.rglob("*.py"), folder.parent / "definitions.py"]
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]

    assert postponed == []


def test_no_resource_shows_anything_of_the_environment() -> None:
    pipeline = (defs.resources or {})["pipeline"]

    assert dict(pipeline._resolved_config_dict) == {}


# --- instance files ---------------------------------------------------------------


def _settings(folder: Path, tmp_path: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path), config_dir=str(folder)))


def test_the_instance_file_keeps_one_writer_and_repeats_no_step(tmp_path: Path) -> None:
    with _settings(PROJECT, tmp_path) as instance:
        pools = instance.event_log_storage.get_pool_config()
        assert pools.default_pool_limit == 1
        assert pools.pool_granularity.value == "op"
        assert instance.run_retries_enabled
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled


def test_the_production_instance_differs_in_its_storage_alone() -> None:
    ours = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    theirs = yaml.safe_load((PROJECT / "deploy" / "dagster.yaml").read_text())
    storage = theirs.pop("storage")["postgres"]["postgres_db"]
    theirs["concurrency"]["runs"] = ours["concurrency"]["runs"]

    assert theirs == ours
    assert storage.pop("scheme") == "postgresql+psycopg2"
    assert all(set(value) == {"env"} for value in storage.values())


@pytest.mark.slow
def test_dagster_keeps_its_own_records_on_postgresql(
    empty_postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlalchemy as sa

    pytest.importorskip("dagster_postgres")
    url = sa.make_url(empty_postgres_url)
    values = {
        "DAGSTER_PG_HOST": url.host or "localhost",
        "DAGSTER_PG_PORT": url.port or 5432,
        "DAGSTER_PG_USER": url.username,
        "DAGSTER_PG_PASSWORD": url.password or "none",
        "DAGSTER_PG_DB": url.database,
    }
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))
    document = yaml.safe_load((PROJECT / "deploy" / "dagster.yaml").read_text())
    # The server of the tests listens on a socket in a folder; all else is as it stands.
    document["storage"]["postgres"]["postgres_db"]["params"] = dict(url.query)
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(document))

    with _settings(tmp_path, tmp_path) as instance:
        run = instance.create_run_for_job(defs.resolve_job_def("sync_returns"))
        instance.report_run_failed(run)  # notifies its watchers, which psycopg 3 cannot

        assert instance.get_runs_count() == 1


def test_the_workspace_names_the_definitions_as_the_project_file_does() -> None:
    import tomllib

    target = yaml.safe_load((PROJECT / "workspace.yaml").read_text())["load_from"][0]
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["dagster"]

    assert target["python_module"]["module_name"] == project["module_name"]
    assert target["python_module"]["location_name"] == project["code_location_name"]
