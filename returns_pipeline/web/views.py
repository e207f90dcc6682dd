"""The pages: the list, one task, and what is done to it. Every change is a POST.

Here: reading forms and choosing what is shown. What is done is ``steps.queue``'s, and so is
every refusal; it is shown where it was asked for, with nothing changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask import (
    Blueprint,
    abort,
    current_app,
    flash,
    g,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_login import current_user

from returns_pipeline.domain import decisions as rules
from returns_pipeline.domain.decisions import KINDS, Kind, NotAllowed, NotYours
from returns_pipeline.domain.exceptions import CATALOGUE
from returns_pipeline.domain.model import Owner, Severity
from returns_pipeline.domain.policy import Policy
from returns_pipeline.steps import deciding, queue
from returns_pipeline.steps.queue import Person, Task, Wanted
from returns_pipeline.storage.decisions import DecidedMeanwhile
from returns_pipeline.web.forms import Assign, Plain, Resolve, Snooze

pages = Blueprint("pages", __name__)

_A_PAGE = 50


@dataclass(frozen=True, slots=True)
class Pages:
    """What every page needs."""

    engine: sa.Engine
    policy: Policy
    clock: Callable[[], datetime]


def _own() -> Pages:
    found: Pages = current_app.extensions["returns"]
    return found


def _me() -> Person:
    return Person(current_user.name, current_user.roles)


# --- the list ---------------------------------------------------------------------


@pages.get("/")
def tasks() -> ResponseReturnValue:
    """What waits, most severe and soonest due first."""
    asked = request.args
    owner = _one_of(asked.get("owner"), [one.value for one in Owner])
    if "owner" not in asked and len(current_user.roles) == 1:
        owner = current_user.roles[0].value
    wanted = Wanted(
        owner=owner,
        severity=_one_of(asked.get("severity"), [one.value for one in Severity]),
        code=_one_of(asked.get("code"), CATALOGUE),
        assignee=current_user.name if asked.get("mine") else "",
        overdue=bool(asked.get("overdue")),
        snoozed=bool(asked.get("snoozed")),
        closed=bool(asked.get("closed")),
    )
    found = queue.tasks(_own().engine, wanted, now=g.now)
    if wanted.closed:
        found.sort(key=lambda task: task.resolved_at or g.now, reverse=True)
    page = max(1, request.args.get("page", 1, type=int))
    shown = found[(page - 1) * _A_PAGE : page * _A_PAGE]
    return render_template(
        "tasks.html",
        tasks=shown,
        count=len(found),
        wanted=wanted,
        owners=list(Owner),
        severities=list(Severity),
        codes=sorted({task.code for task in found} | ({wanted.code} - {""})),
        page=page,
        pages=-(-len(found) // _A_PAGE),
        money=_at_stake(found),
        late=sum(task.due_at < g.now and task.is_open for task in found),
        kept={name: value for name, value in asked.items() if name != "page"},
    )


def _one_of(given: str | None, known: Any) -> str:
    return given if given is not None and given in known else ""


def _at_stake(found: list[Task]) -> list[tuple[int, str]]:
    """The sums by currency; what several tasks are about counts once, at its dearest."""
    once: dict[tuple[object, str], int] = {}
    for task in found:
        if task.amount_minor and task.currency and task.is_open:
            name = (task.unit_keys or task.id, task.currency)
            once[name] = max(once.get(name, 0), task.amount_minor)
    sums: dict[str, int] = {}
    for (_, currency), minor in once.items():
        sums[currency] = sums.get(currency, 0) + minor
    return [(minor, currency) for currency, minor in sorted(sums.items())]


# --- one task ---------------------------------------------------------------------


@pages.get("/exceptions/<int:number>")
def task(number: int) -> ResponseReturnValue:
    """One task: why, since when, what is known, what was done, what can be decided."""
    return _page(_task(number))


def _task(number: int) -> Task:
    found = queue.by_id(_own().engine, number)
    if found is None:
        abort(404)
    return found


def _page(
    found: Task, *, problem: str = "", at: str = "", status: int = 200
) -> ResponseReturnValue:
    own = _own()
    done = queue.history(own.engine, found)
    kinds = [
        (KINDS[kind], _refusal(kind, found))
        for kind in (rules.kinds_for(found.code, found.key) if found.is_open else ())
    ]
    kinds.sort(key=lambda pair: bool(pair[1]))
    seen = str(len(done))
    return render_template(
        "task.html",
        task=found,
        history=done,
        waits=any(one["outcome"] == "waiting" for one in queue.decided(own.engine, found)),
        kinds=kinds,
        choices=deciding.choices(own.engine, found, own.policy),
        mine=found.owner in current_user.roles,
        units=queue.evidence(own.engine, found),
        more_units=max(0, len(found.unit_keys) - queue.UNITS_TOLD),
        plain=Plain(formdata=None, seen=seen),
        assign=Assign(formdata=None, seen=seen),
        snooze=Snooze(formdata=None, seen=seen),
        resolve=Resolve(formdata=None, seen=seen),
        given=request.form,
        problem=problem,
        at=at,
    ), status


def _refusal(kind: Kind, found: Task) -> str:
    try:
        rules.require_role(kind, found.owner, current_user.roles)
    except NotAllowed as error:
        return str(error)
    own = _own()
    return deciding.hindrance(own.engine, found, kind, own.policy)


@pages.post("/exceptions/<int:number>/acknowledge")
def acknowledge(number: int) -> ResponseReturnValue:
    """Say that one has seen it."""
    return _done(number, "acknowledge", Plain(), queue.acknowledge, "It is yours.")


@pages.post("/exceptions/<int:number>/assign")
def assign(number: int) -> ResponseReturnValue:
    """Give it to somebody, or hand it over."""
    form = Assign()
    to, owner = (form.to.data or "").strip(), form.owner.data
    return _done(
        number,
        "assign",
        form,
        queue.assign,
        "It is given on.",
        to=to or None,
        owner=Owner(owner) if owner in set(Owner) else None,
    )


@pages.post("/exceptions/<int:number>/snooze")
def snooze(number: int) -> ResponseReturnValue:
    """Put it off."""
    form = Snooze()
    hours = form.hours.data if str(form.hours.data).isdecimal() else "0"
    return _done(
        number,
        "snooze",
        form,
        queue.snooze,
        "It sleeps until then, or until it grows worse.",
        until=g.now + timedelta(hours=min(int(hours), 10_000)),
        reason=form.reason.data or "",
    )


@pages.post("/exceptions/<int:number>/resolve")
def resolve(number: int) -> ResponseReturnValue:
    """Decide."""
    form = Resolve()
    kind = Kind(form.kind.data) if form.kind.data in set(Kind) else None
    text = "Accepted as it is." if kind is Kind.ACCEPT else "Decided. The next run carries it out."
    return _done(
        number,
        f"resolve-{form.kind.data}",
        form,
        queue.resolve,
        text,
        policy=_own().policy,
        reason=form.reason.data or "",
        kind=kind,
        answers=form.answers(),
    )


def _done(
    number: int, at: str, form: Plain, act: Callable[..., bool], text: str, **options: Any
) -> ResponseReturnValue:
    """Do one thing to a task, and show the task: changed, or with what stood in the way."""
    found = _task(number)
    if not form.validate_on_submit():
        told = [str(one) for errors in form.errors.values() for one in errors]
        return _page(found, problem=" ".join(told), at=at, status=422)
    if form.seen.data != str(len(queue.history(_own().engine, found))):
        problem = "Somebody did something to it since you looked: see below. Nothing was changed."
        return _page(found, problem=problem, at=at, status=409)
    try:
        changed = act(_own().engine, found, _me(), now=g.now, **options)
    except NotAllowed as error:
        status = 403 if isinstance(error, NotYours) else 422
        return _page(found, problem=f"{error}.", at=at, status=status)
    except DecidedMeanwhile:
        problem = "Somebody else decided at this moment: see below. Nothing was changed."
        return _page(found, problem=problem, at=at, status=409)
    flash(text if changed else "It was so already.")
    return redirect(url_for("pages.task", number=number))
