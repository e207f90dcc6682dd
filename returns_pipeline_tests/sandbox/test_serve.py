"""The sandbox as a whole: settings, one clock, its state across restarts and kills, speed."""

import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from returns_pipeline.sandbox import cases
from returns_pipeline.sandbox.script import Line, Script
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline.sandbox.world import week
from returns_pipeline_tests.sandbox.calling import LinnworksCaller
from returns_pipeline_tests.sandbox.conftest import STARTS, Open, day
from returns_pipeline_tests.sandbox.test_linnworks_specification import exchange_order


def test_the_settings_lead_to_both_vendors(open_case: Open) -> None:
    settings = open_case("received_saleable").environ()

    session = requests.post(
        settings["LINNWORKS_AUTH_URL"] + "/api/Auth/AuthorizeByApplication",
        json={
            "ApplicationId": settings["LINNWORKS_APPLICATION_ID"],
            "ApplicationSecret": settings["LINNWORKS_APPLICATION_SECRET"],
            "Token": settings["LINNWORKS_TOKEN"],
        },
        timeout=10,
    )
    shipments = requests.get(
        settings["HAPPY_RETURNS_BASE_URL"] + "/outbound-shipments",
        params={"retailerID": settings["HAPPY_RETURNS_RETAILER_ID"]},
        headers={"X-Hr-Apikey": settings["HAPPY_RETURNS_API_KEY"]},
        timeout=10,
    )

    assert [session.status_code, shipments.status_code] == [200, 200]
    assert settings["RETURNS_LINNWORKS_RATE_SHARE"] == "0"
    assert settings["RETURNS_HAPPY_RETURNS_RATE"] == "0"


def test_with_limits_the_pacing_is_the_programs_own(open_case: Open) -> None:
    settings = open_case("received_saleable", limits=True).environ()

    assert not [name for name in settings if name.startswith("RETURNS_")]


def test_a_clock_without_an_instant_runs() -> None:
    with Sandbox(cases.build("received_saleable", STARTS)) as sandbox:
        now = datetime.now(UTC)  # noqa: TID251 (the real clock is what it runs with)

        assert abs(sandbox.clock.now() - now) < timedelta(seconds=5)


def test_the_ports_can_be_chosen_and_are_free_after_stopping() -> None:
    world = cases.build("received_saleable", STARTS)
    for _ in range(5):  # another test may be given a port that was freed
        with Sandbox(world) as first:
            urls = (first.linnworks_server.url, first.happy_returns_server.url)
        linnworks, happy_returns = (int(url.rpartition(":")[2]) for url in urls)
        with suppress(OSError), Sandbox(world, ports=(linnworks, happy_returns)) as second:
            again = (second.linnworks_server.url, second.happy_returns_server.url)
            assert again == urls
            return
    pytest.fail("the ports of a stopped sandbox stay taken")


def test_one_taken_port_leaves_the_other_free(open_case: Open) -> None:
    taken = int(open_case("received_saleable").linnworks_server.url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]

    with pytest.raises(OSError, match="in use"):
        Sandbox(cases.build("received_saleable", STARTS), ports=(free, taken))

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free), timeout=5)


def test_a_stopped_sandbox_hangs_up_on_those_still_connected() -> None:
    with Sandbox(cases.build("received_saleable", STARTS), now=day(7)) as sandbox:
        caller = LinnworksCaller(sandbox)

    with pytest.raises(requests.ConnectionError):
        caller.send("GET", "/api/Inventory/GetStockLocations")


def test_stopping_one_that_never_started_or_twice_is_harmless() -> None:
    sandbox = Sandbox(cases.build("received_saleable", STARTS))

    sandbox.stop()
    sandbox.stop()


def test_serving_for_ever_ends_when_it_is_stopped() -> None:
    sandbox = Sandbox(cases.build("received_saleable", STARTS))
    thread = threading.Thread(target=sandbox.serve_forever)
    thread.start()
    sandbox.stop()
    thread.join(timeout=10)

    assert not thread.is_alive()


# --- across restarts --------------------------------------------------------------


def _use(sandbox: Sandbox) -> None:
    """Change something of every kind."""
    caller = LinnworksCaller(sandbox)
    order = sandbox.world.orders[0]
    caller.restock(order, order.lines[0])
    made = caller.refund(order, order.lines[0], 3)
    caller.returns("ActionRefund", RefundHeaderId=made["RefundHeaderId"], OrderId=order.id)
    caller.call("POST", "/api/Orders/CreateOrders", json=exchange_order(order.reference))
    sandbox.linnworks_server.vendor.staff(
        {"action": "cancel_order", "order_reference": order.reference}
    )


def test_what_was_saved_is_there_after_a_restart(open_case: Open, tmp_path: Path) -> None:
    sandbox = open_case("two_of_three_one_damaged")
    _use(sandbox)
    sandbox.happy_returns.switches["return_page_size"] = 1
    sandbox.save(tmp_path / "vendors")

    with Sandbox.load(tmp_path / "vendors") as again:
        order = again.world.orders[0]
        caller = LinnworksCaller(again)
        headers = caller.returns("GetRMAHeadersByOrderId", OrderId=order.id)["RMAHeaders"]

        assert again.linnworks.books() == sandbox.linnworks.books()
        assert again.clock.now() == day(7)
        assert again.happy_returns.switches["return_page_size"] == 1
        assert [one["Actioned"] for one in headers] == [True]
        assert caller.book(order, order.lines[0])["Errors"] == ["The order is cancelled"]
        assert caller.call("POST", "/api/Orders/CreateOrders", json=exchange_order("#1")) == []


@pytest.mark.parametrize("step", ["pickle.dump", "os.fsync", "pathlib.Path.replace"])
def test_a_saved_file_is_whole_or_the_old_one(
    open_case: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    sandbox = open_case("received_saleable")
    path = tmp_path / "vendors"
    sandbox.save(path)
    old = path.read_bytes()

    def fail(*_args: object, **_more: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        with pytest.raises(OSError, match="full"):
            sandbox.save(path)

    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_kept_sandbox_forgets_nothing_it_has_answered(open_case: Open, tmp_path: Path) -> None:
    sandbox = open_case("two_of_three_one_damaged")
    sandbox.keep(tmp_path / "vendors")
    _use(sandbox)

    # Not stopped, not saved: as after a kill.
    with Sandbox.load(tmp_path / "vendors") as again:
        assert again.linnworks.books() == sandbox.linnworks.books()
        order = again.world.orders[0]
        known = {one.header_id: one.created_at for one in again.linnworks.rmas.values()}
        assert known == {one.header_id: one.created_at for one in sandbox.linnworks.rmas.values()}
        assert again.linnworks.cancelled(order)


def test_a_change_that_was_written_half_was_never_answered(open_case: Open, tmp_path: Path) -> None:
    sandbox = open_case("received_saleable")
    sandbox.keep(tmp_path / "vendors")
    _use(sandbox)
    journal = tmp_path / "vendors.journal"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:3]) + lines[3][:20])

    with Sandbox.load(tmp_path / "vendors") as again:
        books = again.linnworks.books()

    assert (len(books["returned"]), books["refunds"]) == (1, [])


def test_a_journal_of_an_older_file_is_left_alone(open_case: Open, tmp_path: Path) -> None:
    sandbox = open_case("two_of_three_one_damaged")
    sandbox.keep(tmp_path / "vendors")
    _use(sandbox)
    sandbox.save(tmp_path / "vendors")  # the journal beside it is that of the file before

    with Sandbox.load(tmp_path / "vendors") as again:
        assert again.linnworks.books() == sandbox.linnworks.books()


def test_a_kept_sandbox_goes_on_keeping_after_it_was_loaded(
    open_case: Open, tmp_path: Path
) -> None:
    path = tmp_path / "vendors"
    sandbox = open_case("two_of_three_one_damaged")
    sandbox.keep(path)
    order = sandbox.world.orders[0]
    LinnworksCaller(sandbox).restock(order, order.lines[0])

    with Sandbox.load(path) as second:
        second.keep(path)
        LinnworksCaller(second).restock(order, order.lines[0])
    with Sandbox.load(path) as third:
        assert [row["quantity"] for row in third.linnworks.books()["returned"]] == [1, 1]


# --- many at once -------------------------------------------------------------------


def test_callers_at_once_never_return_more_than_was_despatched(
    open_world: Open, script: Script
) -> None:
    order = script.order(Line("SOCK-3", quantity=5))
    sandbox = open_world(script.world(7))

    def try_to_return(_number: int) -> bool:
        caller = LinnworksCaller(sandbox)
        header = caller.book(order, order.lines[0])["RMAHeaderId"]
        return header is not None and caller.action(order, header)["SuccessfullyActioned"]

    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(try_to_return, range(16)))

    assert done.count(True) == 5
    assert LinnworksCaller(sandbox).level("SOCK-3", "HR Restock") == 5


# --- speed ------------------------------------------------------------------------


def test_importing_the_sandbox_takes_the_standard_library_alone() -> None:
    code = (
        "import sys\n"
        "import returns_pipeline.sandbox.serve, returns_pipeline.sandbox.world\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(roots - set(sys.stdlib_module_names) - {'__main__'}))"
    )

    told = subprocess.run(  # noqa: S603 (our own words)
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).resolve().parents[2],
    )

    assert told.stdout.split() == ["returns_pipeline"]


@pytest.mark.slow
def test_ten_thousand_orders_cost_a_call_no_more_than_a_hundred(open_world: Open) -> None:
    def seconds(orders_a_day: int) -> float:
        sandbox = open_world(week(starts_at=STARTS, orders_a_day=orders_a_day))
        caller = LinnworksCaller(sandbox)
        despatched = [o for o in sandbox.world.orders if sandbox.linnworks.processed(o)]
        orders = [o for o in despatched if o.num_id >= 110_000][:60]
        begun = time.perf_counter()
        for order in orders:
            caller.restock(order, order.lines[0])
            caller.call(
                "GET",
                "/api/Orders/GetOrderDetailsByReferenceId",
                ReferenceId=order.reference,
            )
            caller.returns("GetRMAHeadersByOrderId", OrderId=order.id)
        return time.perf_counter() - begun

    few = min(seconds(2) for _ in range(3))
    many = min(seconds(200) for _ in range(3))

    assert many < 3 * few
