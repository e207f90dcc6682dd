"""Signing in, the host we are sent to, and a session that ends."""

import socket
from typing import Any

import pytest

from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.clients.transport import (
    ContractBroken,
    CredentialsRevoked,
    NotApplied,
    OutcomeUnknown,
    Unavailable,
)
from returns_pipeline_tests.clients.conftest import Clock, StartWire
from returns_pipeline_tests.clients.vendor import (
    APPLICATION,
    ORDER,
    SECRET,
    SIGN_IN,
    TOKEN,
    Script,
    Scripted,
    session,
)
from returns_pipeline_tests.clients.wire import answer, close

ENDED = answer(401, {"Code": None, "Message": "Unauthorised"})
NOTE = "9d1f7f9a-0000-4000-8000-000000000001"


def test_the_credentials_go_unwrapped_in_the_body_and_the_session_token_raw_in_the_header(
    wire: StartWire, clock: Clock
) -> None:
    vendor = Scripted(wire, GetReturnCategories=[])
    assert vendor.client(clock).return_categories() == []
    signed, asked = vendor.server.requests
    assert signed.document == {
        "ApplicationId": APPLICATION,
        "ApplicationSecret": SECRET,
        "Token": TOKEN,
    }
    assert "authorization" not in signed.headers
    assert asked.headers["authorization"] == "session-1"
    assert "?" not in signed.target


def test_one_session_serves_many_calls(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, GetReturnCategories=[], GetStockLocations=[])
    linnworks = vendor.client(clock)
    linnworks.return_categories()
    linnworks.stock_locations()
    assert linnworks.calls == {
        "linnworks.AuthorizeByApplication": 1,
        "linnworks.GetReturnCategories": 1,
        "linnworks.GetStockLocations": 1,
    }
    assert (linnworks.reads, linnworks.writes) == (3, 0)


@pytest.mark.parametrize("ended", [ENDED, answer(401)], ids=["in its words", "bare"])
def test_a_read_whose_session_has_ended_signs_in_anew_once(
    wire: StartWire, clock: Clock, ended: Any
) -> None:
    vendor = Scripted(wire, GetReturnCategories=Script([ended, [{"CategoryName": "Fit"}]]))
    assert vendor.client(clock).return_categories() == ["Fit"]
    tokens = [one.headers["authorization"] for one in vendor.asked("GetReturnCategories")]
    assert tokens == ["session-1", "session-2"]


def test_a_write_whose_session_has_ended_is_sent_again_once(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, AddOrderNote=Script([ENDED, NOTE]))
    assert vendor.client(clock).add_order_note(ORDER, "x") == NOTE
    assert len(vendor.asked("AddOrderNote")) == 2


def test_twice_unauthorised_means_that_the_credentials_are_revoked(
    wire: StartWire, clock: Clock
) -> None:
    vendor = Scripted(wire, AddOrderNote=ENDED, GetReturnCategories=ENDED)
    linnworks = vendor.client(clock)
    with pytest.raises(CredentialsRevoked):
        linnworks.add_order_note(ORDER, "x")
    with pytest.raises(CredentialsRevoked):
        linnworks.return_categories()
    assert len(vendor.asked("AddOrderNote")) == 2
    assert len(vendor.asked("GetReturnCategories")) == 2


@pytest.mark.parametrize(
    "said",
    [answer(401), answer(401, {"Message": "no"}), answer(400, {"Message": f"token {TOKEN}?"})],
)
def test_refused_credentials_are_revoked_and_named_by_their_settings_only(
    wire: StartWire, clock: Clock, said: Any
) -> None:
    vendor = Scripted(wire, AuthorizeByApplication=said)
    with pytest.raises(CredentialsRevoked) as caught:
        vendor.client(clock).return_categories()
    assert "LINNWORKS_APPLICATION_ID" in str(caught.value)
    for secret in (APPLICATION, SECRET, TOKEN):
        assert secret not in str(caught.value)
    assert len(vendor.asked(SIGN_IN)) == 1


@pytest.mark.parametrize(
    ("state", "kind"), [("LOCKED_FULL", CredentialsRevoked), ("MAINTENANCE", Unavailable)]
)
def test_an_account_that_may_not_be_used_is_not_used(
    wire: StartWire, clock: Clock, state: str, kind: type[Exception]
) -> None:
    vendor = Scripted(wire)
    vendor.then(AuthorizeByApplication=session(vendor.url, state=state))
    with pytest.raises(kind):
        vendor.client(clock).return_categories()
    assert len(vendor.server.requests) == 1


@pytest.mark.parametrize("trouble", [answer(503), close, answer(200, b"<html>")])
def test_a_write_that_finds_no_session_was_not_applied(
    wire: StartWire, clock: Clock, trouble: Any
) -> None:
    vendor = Scripted(wire, AuthorizeByApplication=trouble, AddOrderNote=NOTE)
    with pytest.raises(NotApplied):
        vendor.client(clock).add_order_note(ORDER, "x")
    assert vendor.asked("AddOrderNote") == []


def test_a_write_that_finds_no_session_after_its_own_ended_was_not_applied(
    wire: StartWire, clock: Clock
) -> None:
    vendor = Scripted(wire, AddOrderNote=ENDED)
    vendor.then(AuthorizeByApplication=Script([session(vendor.url), answer(503)]))
    with pytest.raises(NotApplied):
        vendor.client(clock).add_order_note(ORDER, "x")


def test_a_write_whose_repetition_is_lost_is_unknown(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, AddOrderNote=Script([ENDED, close]))
    with pytest.raises(OutcomeUnknown):
        vendor.client(clock).add_order_note(ORDER, "x")
    assert len(vendor.asked("AddOrderNote")) == 2


# --- the host we are sent to ------------------------------------------------------


@pytest.mark.parametrize(
    "server",
    [
        "https://evil.invalid",
        "https://linnworks.net.evil.invalid",
        "https://evillinnworks.net",
        "https://eu-ext.linnworks.net@evil.invalid",
        "https://evil.invalid/eu-ext.linnworks.net",
        "https://evil.invalid?.linnworks.net",
        "https://evil.invalid#.linnworks.net",
        "https://169.254.169.254",
        "http://eu-ext.linnworks.net",
        "ftp://eu-ext.linnworks.net",
        "https://user:pw@eu-ext.linnworks.net",
        "https://[bad",
        "eu-ext.linnworks.net",
        "//eu-ext.linnworks.net",
        "",
    ],
)
def test_a_session_that_leads_elsewhere_is_refused_before_a_byte_goes_there(
    wire: StartWire, clock: Clock, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    vendor = Scripted(wire, AuthorizeByApplication=session(server), AddOrderNote=NOTE)
    asked = _watch_names(monkeypatch)
    linnworks = vendor.client(clock)
    with pytest.raises(ContractBroken):
        linnworks.return_categories()
    with pytest.raises(ContractBroken):
        linnworks.add_order_note(ORDER, "x")
    assert asked <= {"127.0.0.1"}
    assert len(vendor.server.requests) == 2


def test_linnworks_own_hosts_are_followed_and_v2_is_derived_from_them(
    wire: StartWire, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = Scripted(wire, AuthorizeByApplication=session("https://EU-ext.linnworks.net/"))
    asked = _watch_names(monkeypatch)
    linnworks = vendor.client(clock)
    with pytest.raises(Unavailable):
        linnworks.return_categories()
    with pytest.raises(Unavailable):
        next(_orders(linnworks))
    assert {name.lower() for name in asked} == {
        "127.0.0.1",
        "eu-ext.linnworks.net",
        "eu-api.linnworks.net",
    }


def test_the_base_of_v2_can_be_set(wire: StartWire, clock: Clock) -> None:
    v1 = Scripted(wire)
    v2 = Scripted(wire, orders={"OpenOrders": [], "ProcessedOrders": []})
    assert list(_orders(v1.client(clock, v2_url=v2.url))) == []
    assert len(v2.asked("orders")) == 1


def test_any_other_host_serves_v2_itself(wire: StartWire, clock: Clock) -> None:
    vendor = Scripted(wire, orders={"OpenOrders": [], "ProcessedOrders": []})
    assert list(_orders(vendor.client(clock))) == []
    assert vendor.asked("orders")[0].path == "/v2/orders"


def _orders(linnworks: Linnworks) -> Any:
    from datetime import UTC, datetime

    return linnworks.orders_changed_since(datetime(2026, 8, 1, tzinfo=UTC), 200)


def _watch_names(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names that are looked up; only loopback is found."""
    asked: set[str] = set()
    real = socket.getaddrinfo

    def look_up(host: str, *rest: Any, **more: Any) -> Any:
        asked.add(host)
        if host != "127.0.0.1":
            raise socket.gaierror(-2, "Name or service not known")
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked
