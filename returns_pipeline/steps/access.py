"""Who gets in to the web page: users, their passwords, and the door.

Passwords are hashed with scrypt by werkzeug and never kept, printed or logged. Too many
failures close the door for a while, by name and by address. Sessions are ``web``'s.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa
from werkzeug.security import check_password_hash, generate_password_hash

from returns_pipeline.domain.model import Owner
from returns_pipeline.storage import users
from returns_pipeline.storage.engine import reading
from returns_pipeline.storage.users import StoredUser

_WINDOW = timedelta(minutes=15)
_TRIES_OF_A_NAME = 5
_TRIES_OF_AN_ADDRESS = 20
_SHORTEST, _LONGEST = 12, 200


class NotAdmitted(Exception):  # noqa: N818 (it says what is so)
    """Not let in. The message does not tell a wrong name from a wrong password."""


class BadUser(ValueError):  # noqa: N818 (it says what is so)
    """A user cannot be made or changed so; the message says what can."""


def sign_in(
    engine: sa.Engine, name: str, password: str, *, address: str, now: datetime
) -> StoredUser:
    """Let somebody in who knows their password.

    Raises:
        NotAdmitted: When name and password do not fit, or the door is closed for a while.
    """
    typed, since = name.strip().casefold()[:80], now - _WINDOW
    with reading(engine) as connection:
        user = users.find(connection, typed)
        known = user.name if user else ""
        tried = users.count(connection, "failed", since, address=address)
        closed = tried >= _TRIES_OF_AN_ADDRESS
        if user is not None:
            tried = users.count(connection, "failed", since, name=user.name)
            closed = closed or tried >= _TRIES_OF_A_NAME
        told_before = users.count(connection, "locked", since, address=address) > 0
    # In no transaction, for it takes a while; and in any case, so that the time it takes
    # tells nobody which names there are.
    fits = check_password_hash(user.password_hash if user else _nobodys(), password[: _LONGEST + 1])
    event = "signed_in" if user is not None and fits and user.is_active else "failed"
    event = "locked" if closed else event
    if not (closed and told_before):  # who hammers at it fills no table
        actor = known if event == "signed_in" else ""
        with engine.begin() as connection:
            users.note(connection, known, event, address=address, actor=actor, now=now)
    if event == "signed_in" and user is not None:
        return user
    if closed:
        raise NotAdmitted("too many tries: wait a quarter of an hour")
    raise NotAdmitted("this name and this password do not belong together")


@functools.cache
def _nobodys() -> str:
    return generate_password_hash("a password that nobody has", method="scrypt")


def sign_out(engine: sa.Engine, name: str, *, address: str, now: datetime) -> None:
    """End every session of theirs."""
    with engine.begin() as connection:
        users.change(connection, name)
        users.note(connection, name, "signed_out", address=address, actor=name, now=now)


def current(engine: sa.Engine, name: str, generation: int) -> StoredUser | None:
    """Who a session is of, while it is not over."""
    with reading(engine) as connection:
        user = users.find(connection, name)
    if user is None or not user.is_active or user.generation != generation:
        return None
    return user


# --- users ------------------------------------------------------------------------


def add(
    engine: sa.Engine,
    name: str,
    password: str,
    roles: Collection[Owner],
    *,
    actor: str,
    now: datetime,
) -> str:
    """Make a user; gives the name as it is kept.

    Raises:
        BadUser: When the name is taken or not one, the password too short, or no role given.
    """
    kept = name.strip().casefold()
    if not kept.replace("-", "").replace(".", "").replace("_", "").isalnum() or len(kept) > 40:
        raise BadUser(f"{name!r} is no name: letters, digits, . _ and - only, at most 40")
    if not roles:
        raise BadUser("give at least one role: CX, Operations or Finance")
    hashed = _hashed(password, kept)
    with engine.begin() as connection:
        if users.find(connection, kept) is not None:
            raise BadUser(f"there is a user {kept} already")
        users.add(connection, kept, roles, hashed, now=now)
        users.note(connection, kept, "added", address="", actor=actor, now=now)
    return kept


def change(
    engine: sa.Engine,
    name: str,
    *,
    actor: str,
    now: datetime,
    password: str | None = None,
    roles: Collection[Owner] | None = None,
    is_active: bool | None = None,
) -> None:
    """Change a user's password, roles or whether they may sign in; their sessions end.

    Raises:
        BadUser: When there is no such user, or the password is too short.
    """
    kept = name.strip().casefold()
    hashed = None if password is None else _hashed(password, kept)
    if roles is not None and not roles:
        raise BadUser("give at least one role: CX, Operations or Finance")
    with engine.begin() as connection:
        if users.find(connection, kept) is None:
            raise BadUser(f"there is no user {name}")
        users.change(connection, kept, password_hash=hashed, roles=roles, is_active=is_active)
        for event, happened in (
            ("password_set", hashed is not None),
            ("roles_set", roles is not None),
            ("enabled", is_active is True),
            ("disabled", is_active is False),
        ):
            if happened:
                users.note(connection, kept, event, address="", actor=actor, now=now)


def everybody(engine: sa.Engine) -> list[StoredUser]:
    """All users, by name."""
    with reading(engine) as connection:
        return users.every(connection)


def _hashed(password: str, name: str) -> str:
    if not _SHORTEST <= len(password) <= _LONGEST or password.strip() == "":
        raise BadUser(f"a password has {_SHORTEST} to {_LONGEST} characters")
    if name in password.casefold():
        raise BadUser("a password does not hold the name")
    return generate_password_hash(password, method="scrypt")
