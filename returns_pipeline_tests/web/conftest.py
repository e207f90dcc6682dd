"""A queue with a few tasks, people who may sign in, and the page they see."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from returns_pipeline import settings
from returns_pipeline.domain.model import Owner
from returns_pipeline.domain.policy import Policy
from returns_pipeline.steps import access
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.engine import connect
from returns_pipeline.web.app import create_app
from returns_pipeline_tests.cli import rows

PASSWORD = "correct horse battery"
_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
_SEEN = re.compile(r'name="seen" value="([0-9]+)"')


@dataclass
class Clock:
    """The program's clock, moved by the test."""

    now: datetime = rows.NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Site:
    """The page, its database and its clock."""

    app: Flask
    engine: sa.Engine
    clock: Clock
    policy: Policy
    numbers: dict[str, int] = field(default_factory=dict)

    def browser(self) -> Visitor:
        return Visitor(self, self.app.test_client())

    def signed_in(self, name: str) -> Visitor:
        visitor = self.browser()
        assert visitor.sign_in(name).status_code == 302
        return visitor

    def row(self, code: str) -> Any:
        query = sa.select(t.exceptions).where(t.exceptions.c.id == self.numbers[code])
        with self.engine.connect() as connection:
            return connection.execute(query).one()

    def actions(self, code: str) -> list[tuple[str, str]]:
        columns = t.exception_actions.c
        query = sa.select(columns.action, columns.actor).order_by(columns.id)
        query = query.where(columns.exception_id == self.numbers[code])
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def decided(self) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(t.decisions).order_by(t.decisions.c.id)))


@dataclass
class Visitor:
    """Somebody's browser, as far as HTTP goes."""

    site: Site
    client: FlaskClient

    def sign_in(self, name: str, password: str = PASSWORD, **where: str) -> TestResponse:
        token = _TOKEN.findall(self.client.get("/sign-in").text)[0]
        given = {"name": name, "password": password, "csrf_token": token}
        return self.client.post("/sign-in", data=given, environ_base=where)

    def see(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.status_code
        return answer.text

    def do(self, code: str, action: str, **given: str) -> TestResponse:
        """Fill in a form of a task as it is shown now, and send it."""
        path = f"/exceptions/{self.site.numbers[code]}"
        page = self.see(path)
        form = {
            "csrf_token": _TOKEN.findall(page)[0],
            "seen": (_SEEN.findall(page) or ["1"])[0],
            **given,
        }
        return self.client.post(f"{path}/{action}", data=form)


def put(engine: sa.Engine, code: str, owner: str, **more: Any) -> int:
    """A task in the queue; its number."""
    row = {
        "code": code,
        "key": f"key-{code}",
        "owner": owner,
        "severity": "S2",
        "status": "open",
        "message": "something is wrong",
        "amount_minor": 0,
        "currency": "",
        "unit_keys": json.dumps([]),
        "return_ids": json.dumps([]),
        "order_numbers": json.dumps([]),
        "opened_at": rows.NOON,
        "due_at": rows.NOW + timedelta(hours=2),
        "last_seen_at": rows.NOON,
        "occurrences": 1,
        "policy_hash": rows.POLICY,
        **more,
    }
    with engine.begin() as connection:
        added = sa.insert(t.exceptions).values(**row).returning(t.exceptions.c.id)
        return int(connection.execute(added).scalar_one())


@pytest.fixture
def site(sqlite_url: str) -> Iterator[Site]:
    """Tasks of all three owners; maria of CX, olga of Operations, fred of Finance."""
    engine = connect(sqlite_url)
    rows.fill(engine)
    policy = settings.load({}, vendors=False).policy
    clock = Clock()
    app = create_app(engine, policy, clock=clock, secret="s" * 64)
    made = Site(app, engine, clock, policy)
    with engine.connect() as connection:
        query = sa.select(t.exceptions.c.id).where(t.exceptions.c.code == "DISPOSITION_UNMAPPED")
        made.numbers["DISPOSITION_UNMAPPED"] = connection.execute(query).scalar_one()
    made.numbers["OUT_OF_POLICY_WINDOW"] = put(
        engine,
        "OUT_OF_POLICY_WINDOW",
        "CX",
        unit_keys='["u2"]',
        order_numbers='["#1001"]',
        amount_minor=6000,
        currency="GBP",
    )
    made.numbers["RETURN_EXPIRED"] = put(engine, "RETURN_EXPIRED", "CX", severity="S4")
    made.numbers["REFUND_AHEAD_OF_GATE"] = put(engine, "REFUND_AHEAD_OF_GATE", "Finance")
    for name, role in (("maria", Owner.CX), ("olga", Owner.OPERATIONS), ("fred", Owner.FINANCE)):
        access.add(engine, name, PASSWORD, [role], actor="test", now=rows.NOW)
    yield made
    engine.dispose()


Put = Callable[..., int]
