"""Who may sign in to the web page, and what happened at the door.

Here: rows of users and of sign-ins. Passwords are never seen here, only their hashes; who
gets in is ``steps.access``'s.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from returns_pipeline.domain.model import Owner
from returns_pipeline.storage import tables as t
from returns_pipeline.storage.types import Row, Select


@dataclass(frozen=True, slots=True)
class StoredUser:
    """One person who may sign in. Sessions of an earlier ``generation`` are over."""

    name: str
    roles: tuple[Owner, ...]
    password_hash: str
    is_active: bool
    generation: int
    created_at: datetime


def _select() -> Select:
    columns = t.users.c
    return sa.select(
        columns.name,
        columns.roles,
        columns.password_hash,
        columns.is_active,
        columns.generation,
        columns.created_at,
    )


def every(connection: sa.Connection) -> list[StoredUser]:
    """All of them, by name."""
    return [_user(row) for row in connection.execute(_select().order_by(t.users.c.name))]


def find(connection: sa.Connection, name: str) -> StoredUser | None:
    """The one with this name, as it is written."""
    for row in connection.execute(_select().where(t.users.c.name == name)):
        return _user(row)
    return None


def _user(row: Row) -> StoredUser:
    name, roles, password_hash, is_active, generation, created_at = row
    owners = tuple(Owner(role) for role in json.loads(roles))
    return StoredUser(name, owners, password_hash, is_active, generation, created_at)


def add(
    connection: sa.Connection,
    name: str,
    roles: Collection[Owner],
    password_hash: str,
    *,
    now: datetime,
) -> None:
    """Enter a new one."""
    connection.execute(
        sa.insert(t.users).values(
            name=name,
            roles=json.dumps([role.value for role in roles]),
            password_hash=password_hash,
            is_active=True,
            generation=0,
            created_at=now,
        )
    )


def change(
    connection: sa.Connection,
    name: str,
    *,
    password_hash: str | None = None,
    roles: Collection[Owner] | None = None,
    is_active: bool | None = None,
) -> None:
    """Change one, and end every session of theirs; with nothing given, only that."""
    values: dict[str, object] = {"generation": t.users.c.generation + 1}
    if password_hash is not None:
        values["password_hash"] = password_hash
    if roles is not None:
        values["roles"] = json.dumps([role.value for role in roles])
    if is_active is not None:
        values["is_active"] = is_active
    connection.execute(sa.update(t.users).where(t.users.c.name == name).values(**values))


def note(
    connection: sa.Connection, name: str, event: str, *, address: str, actor: str, now: datetime
) -> None:
    """Enter what happened to a user or at the door; of a name nobody has, no name."""
    connection.execute(
        sa.insert(t.user_events).values(
            name=name, event=event, address=address, actor=actor, at=now
        )
    )


def count(
    connection: sa.Connection, event: str, since: datetime, *, name: str = "", address: str = ""
) -> int:
    """Events since an instant, of a name since it last got in, or from an address."""
    columns = t.user_events.c
    query = sa.select(sa.func.count()).where(columns.event == event, columns.at > since)
    if name:
        got_in = sa.select(sa.func.max(columns.id)).where(
            columns.name == name, columns.event.in_(("signed_in", "password_set"))
        )
        query = query.where(columns.name == name)
        query = query.where(columns.id > sa.func.coalesce(got_in.scalar_subquery(), 0))
    if address:
        query = query.where(columns.address == address)
    return connection.execute(query).scalar_one()
