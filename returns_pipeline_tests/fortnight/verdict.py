"""The fortnight lived and looked at: what the queue had, what it must have, what mended it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from returns_pipeline.domain.exceptions import OPEN_STATES
from returns_pipeline.sandbox.serve import Sandbox
from returns_pipeline_tests.alerts import receivers
from returns_pipeline_tests.end_to_end.shop import Shop
from returns_pipeline_tests.fortnight import troubles
from returns_pipeline_tests.fortnight.life import Life
from returns_pipeline_tests.fortnight.telling import DAYS, Task, Telling

MENDED_BY = DAYS + 10  # the last day on which something closes itself by age


@dataclass
class Came:
    """What came of one merchant's fortnight."""

    told: Telling
    before: list[dict[str, Any]] = field(default_factory=list)  # the queue at its end
    after: list[dict[str, Any]] = field(default_factory=list)  # and when it was mended
    alerts: list[EmailMessage] = field(default_factory=list)  # what was told by then
    failures: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@contextmanager
def begun(told: Telling, url: str, folder: Path, policy: str) -> Iterator[Life]:
    """A merchant's vendors and database at the first hour."""
    path = folder / "policy.toml"
    path.write_text(policy)
    with Sandbox(told.world(MENDED_BY + 1), now=told.day(0)) as sandbox, receivers.post() as mail:
        environ = {
            "RETURNS_POLICY": str(path),
            "RETURNS_ALERT_SMTP_URL": mail.url,
            "RETURNS_ALERT_EMAIL_TO": "everybody@merchant.example",
            **troubles.ENVIRON,
        }
        yield Life(told, sandbox, Shop(sandbox, url, environ), told.day(0), folder, mail)


def lived(
    told: Telling,
    url: str,
    folder: Path,
    policy: str = troubles.POLICY,
    *,
    look: Callable[[Life], None] | None = None,
) -> Came:
    """Live the fortnight, look at the queue; mend everything, look again.

    ``look`` is called at the end of the fortnight, before anything is mended.
    """
    came = Came(told)
    with begun(told, url, folder, policy) as life:
        life.live(0, DAYS)
        life.now = told.day(DAYS) + timedelta(hours=5)
        life.sync()
        came.before = life.tasks()
        came.alerts = list(life.receiver.mails)
        came.problems += differences(told.tasks, came.before)
        if look is not None:
            look(life)
        life.live(DAYS, MENDED_BY)
        came.after = life.tasks()
        came.failures = life.failures
        came.problems += [f"not mended: {_said(row)}" for row in came.after if _is_open(row)]
        came.problems += [
            f"does not say why it is closed: {_said(row)}"
            for row in came.after
            if not _is_open(row) and not row["resolution"]
        ]
    return came


def differences(tasks: list[Task], rows: list[dict[str, Any]]) -> list[str]:
    """Every way in which the queue is not what it must be: missing, more, or otherwise."""
    wanted = {(task.code, _key_of(task, rows)): task for task in tasks}
    found = {(row["code"], row["key"]): row for row in rows}  # the last of those that recurred
    problems = [
        f"missing: {code} {key}, {wanted[code, key]}" for code, key in sorted(wanted.keys() - found)
    ]
    problems += [f"more: {_said(found[name])}" for name in sorted(found.keys() - wanted)]
    for name in sorted(wanted.keys() & found.keys()):
        task, row = wanted[name], found[name]
        must = (task.owner, task.severity, task.minor, task.currency, task.units, task.stays)
        names = ("owner", "severity", "amount_minor", "currency", "units")
        was = (*(row[one] for one in names), _is_open(row))
        if must != was:
            problems.append(f"otherwise: {_said(row)}; must be {must}")
    return problems


def _key_of(task: Task, rows: list[dict[str, Any]]) -> str:
    """Where Linnworks or a hash gives the key, the one that begins so."""
    if not task.key.endswith("*"):
        return task.key
    start = task.key[:-1]
    keys = [r["key"] for r in rows if r["code"] == task.code and r["key"].startswith(start)]
    return keys[0] if keys else task.key


def _is_open(row: dict[str, Any]) -> bool:
    return row["status"] in OPEN_STATES


def _said(row: dict[str, Any]) -> str:
    return (
        f"{row['code']} {row['key']}: {row['owner']} {row['severity']} {row['amount_minor']} "
        f"{row['currency']}, {len(row['units'])} units, {row['status']}: {row['message'][:120]}"
    )
