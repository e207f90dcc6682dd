"""Signing in and out: who gets in, for how long, and what happens to those who guess."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
import sqlalchemy as sa

from returns_pipeline.domain.model import Owner
from returns_pipeline.steps import access
from returns_pipeline.storage import tables as t
from returns_pipeline.web.app import create_app
from returns_pipeline_tests.web.conftest import PASSWORD, Site


def _is_in(visitor: object) -> bool:
    return visitor.client.get("/").status_code == 200  # type: ignore[attr-defined]


def _events(site: Site) -> list[tuple[str, str]]:
    columns = t.user_events.c
    query = sa.select(columns.event, columns.name).order_by(columns.id)
    with site.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query) if row.event != "added"]


@pytest.mark.parametrize("path", ["/", "/exceptions/1", "/?owner=CX", "/nothing"])
def test_nobody_sees_a_page_without_signing_in(site: Site, path: str) -> None:
    answer = site.browser().client.get(path)

    assert answer.status_code == 302
    assert answer.location.startswith("/sign-in")


@pytest.mark.parametrize("action", ["acknowledge", "assign", "snooze", "resolve"])
def test_nobody_changes_anything_without_signing_in(site: Site, action: str) -> None:
    site.app.config["WTF_CSRF_ENABLED"] = False
    number = site.numbers["RETURN_EXPIRED"]

    answer = site.browser().client.post(f"/exceptions/{number}/{action}", data={"reason": "x"})

    assert answer.status_code == 302
    assert answer.location.startswith("/sign-in")
    assert site.actions("RETURN_EXPIRED") == []


@pytest.mark.parametrize("action", ["acknowledge", "assign", "snooze", "resolve"])
@pytest.mark.parametrize("token", [None, "", "of-another-page"])
def test_a_form_from_elsewhere_is_refused(site: Site, action: str, token: str | None) -> None:
    maria = site.signed_in("maria")
    given = {"reason": "x", "kind": "accept", "hours": "24", "to": "x", "seen": "1"}
    if token is not None:
        given["csrf_token"] = token

    path = f"/exceptions/{site.numbers['RETURN_EXPIRED']}/{action}"
    answer = maria.client.post(path, data=given)

    assert answer.status_code == 400
    assert site.actions("RETURN_EXPIRED") == []


def test_sign_in_and_out_are_protected_from_other_pages_too(site: Site) -> None:
    given = {"name": "maria", "password": PASSWORD}
    assert site.browser().client.post("/sign-in", data=given).status_code == 400

    maria = site.signed_in("maria")
    assert maria.client.post("/sign-out").status_code == 400
    assert _is_in(maria)


def test_a_wrong_password_and_a_wrong_name_look_the_same(site: Site) -> None:
    wrong = site.browser().sign_in("maria", "not her password")
    nobody = site.browser().sign_in("nobody", "not her password")

    assert wrong.status_code == nobody.status_code == 401
    for answer in (wrong, nobody):
        assert "This name and this password do not belong together" in answer.text
    assert _events(site) == [("failed", "maria"), ("failed", "")]


def test_five_wrong_tries_close_the_door_for_a_quarter_of_an_hour(site: Site) -> None:
    for _ in range(5):
        site.browser().sign_in("maria", "a wrong password")

    assert site.browser().sign_in("maria").status_code == 401
    assert site.browser().sign_in("olga").status_code == 302

    site.clock.now += timedelta(minutes=16)
    assert site.browser().sign_in("maria").status_code == 302


def test_many_names_from_one_address_close_it_to_that_address(site: Site) -> None:
    for number in range(20):
        site.browser().sign_in(f"name-{number}", "a wrong password", REMOTE_ADDR="192.0.2.7")

    refused = site.browser().sign_in("maria", REMOTE_ADDR="192.0.2.7")

    assert refused.status_code == 401
    assert "too many tries" in refused.text.lower()
    assert site.browser().sign_in("maria", REMOTE_ADDR="192.0.2.8").status_code == 302


@pytest.mark.parametrize("gone", [timedelta(minutes=46), timedelta(hours=11)])
def test_a_session_ends_by_itself(site: Site, gone: timedelta) -> None:
    maria = site.signed_in("maria")
    site.clock.now += gone

    assert not _is_in(maria)


def test_a_session_in_use_lasts_a_working_day_and_no_longer(site: Site) -> None:
    maria = site.signed_in("maria")
    for _ in range(19):
        site.clock.now += timedelta(minutes=30)
        assert _is_in(maria)

    site.clock.now += timedelta(minutes=31)
    assert not _is_in(maria)


def test_signing_out_ends_every_session_of_theirs(site: Site) -> None:
    here, there = site.signed_in("maria"), site.signed_in("maria")
    stolen = here.client.get_cookie("returns")
    assert stolen is not None
    token = here.see("/").split('name="csrf_token" value="')[1].split('"')[0]

    here.client.post("/sign-out", data={"csrf_token": token})

    assert not _is_in(here)
    assert not _is_in(there)
    here.client.set_cookie("returns", stolen.value)
    assert not _is_in(here)


@pytest.mark.parametrize(
    "change", [{"is_active": False}, {"roles": [Owner.FINANCE]}, {"password": "another long one"}]
)
def test_what_is_changed_of_a_user_ends_their_sessions(site: Site, change: dict) -> None:
    maria = site.signed_in("maria")

    access.change(site.engine, "maria", actor="admin", now=site.clock.now, **change)

    assert not _is_in(maria)


def test_who_was_disabled_does_not_get_in(site: Site) -> None:
    access.change(site.engine, "maria", actor="admin", now=site.clock.now, is_active=False)

    assert site.browser().sign_in("maria").status_code == 401


@pytest.mark.parametrize(
    ("wanted", "goes"),
    [
        ("/exceptions/1", "/exceptions/1"),
        ("//evil.example/x", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
    ],
)
def test_one_is_led_on_to_pages_of_ours_only(site: Site, wanted: str, goes: str) -> None:
    visitor = site.browser()
    page = visitor.client.get("/sign-in", query_string={"next": wanted}).text
    token = page.split('name="csrf_token" type="hidden" value="')[1].split('"')[0]

    answer = visitor.client.post(
        "/sign-in",
        query_string={"next": wanted},
        data={"name": "maria", "password": PASSWORD, "csrf_token": token},
    )

    assert answer.location == goes


def test_the_cookie_is_out_of_reach_and_by_https_sent_by_it_alone(site: Site) -> None:
    cookie = site.signed_in("maria").client.get_cookie("returns")
    assert cookie is not None
    assert cookie.http_only
    assert cookie.same_site == "Lax"

    app = create_app(
        site.engine,
        site.policy,
        clock=site.clock,
        secret="s" * 64,
        public_url="https://exceptions.example.com",
    )
    answer = app.test_client().get("/sign-in", base_url="https://exceptions.example.com")
    assert answer.status_code == 200
    assert "__Host-returns=" in answer.headers["Set-Cookie"]
    assert "Secure" in answer.headers["Set-Cookie"]
    assert "Strict-Transport-Security" in answer.headers


def test_no_password_is_kept_or_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        site.browser().sign_in("maria", "a wrong password")
        site.signed_in("maria")
        site.browser().sign_in("typed my password here", "typed my password here")

    with site.engine.connect() as connection:
        kept = str(connection.execute(sa.select(t.users)).all())
        kept += str(connection.execute(sa.select(t.user_events)).all())
    for text in (caplog.text, kept):
        assert PASSWORD not in text
        assert "wrong password" not in text
        assert "typed my password" not in text


@pytest.mark.parametrize(
    ("name", "password", "roles"),
    [
        ("maria", PASSWORD, [Owner.CX]),
        ("a b", PASSWORD, [Owner.CX]),
        ("", PASSWORD, [Owner.CX]),
        ("nina", "short", [Owner.CX]),
        ("ninalongname", "xx-ninalongname", [Owner.CX]),
        ("nina", PASSWORD, []),
    ],
)
def test_a_user_that_cannot_be_is_refused(
    site: Site, name: str, password: str, roles: list[Owner]
) -> None:
    with pytest.raises(access.BadUser):
        access.add(site.engine, name, password, roles, actor="admin", now=site.clock.now)
