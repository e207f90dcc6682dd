"""Signing in and out, and how long a session lives.

Flask-Login keeps who is signed in in a signed cookie; ``steps.access`` knows whether that
still counts. Nobody sees a page without it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

from flask import (
    Blueprint,
    Flask,
    current_app,
    flash,
    g,
    redirect,
    render_template,
    request,
    session,
)
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

from returns_pipeline.domain.model import Owner
from returns_pipeline.steps import access
from returns_pipeline.storage.users import StoredUser
from returns_pipeline.web.forms import Plain, SignIn

IDLE = timedelta(minutes=45)
LONGEST = timedelta(hours=10)

door = Blueprint("door", __name__)


class User(UserMixin):
    """Who is signed in."""

    def __init__(self, stored: StoredUser) -> None:
        """Keep what the pages need."""
        self.id = stored.name
        self.name = stored.name
        self.roles: tuple[Owner, ...] = stored.roles


def attach(app: Flask) -> None:
    """Put the door before every page of an application."""
    manager = LoginManager(app)
    manager.session_protection = "strong"
    manager.login_view = "door.sign_in"
    manager.login_message = ""

    @manager.user_loader
    def load(name: str) -> User | None:
        if "now" not in g or not _is_fresh(g.now):
            session.clear()
            return None
        engine = app.extensions["returns"].engine
        stored = access.current(engine, name, int(session.get("generation", -1)))
        if stored is None:
            return None
        session["seen_at"] = g.now.timestamp()
        return User(stored)

    @app.before_request
    def ask() -> ResponseReturnValue | None:
        if request.endpoint in {"door.sign_in", "static"} or current_user.is_authenticated:
            return None
        return cast("ResponseReturnValue", manager.unauthorized())

    app.register_blueprint(door)


def _is_fresh(now: datetime) -> bool:
    begun, seen = session.get("begun_at"), session.get("seen_at")
    if not isinstance(begun, float) or not isinstance(seen, float):
        return False
    at = now.timestamp()
    return at - seen < IDLE.total_seconds() and at - begun < LONGEST.total_seconds()


@door.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    """Ask who it is."""
    if current_user.is_authenticated:
        return redirect(_wanted())
    form = SignIn()
    status = 200
    if form.validate_on_submit():
        engine = current_app.extensions["returns"].engine
        try:
            stored = access.sign_in(
                engine,
                form.name.data or "",
                form.password.data or "",
                address=request.remote_addr or "",
                now=g.now,
            )
        except access.NotAdmitted as error:
            form.password.errors = [str(error)]
            status = 401
        else:
            session.clear()  # nothing of whoever sat here before
            session.permanent = True
            session["generation"] = stored.generation
            session["begun_at"] = session["seen_at"] = g.now.timestamp()
            login_user(User(stored))
            return redirect(_wanted())
    return render_template("sign_in.html", form=form), status


@door.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End every session of theirs."""
    if Plain().validate_on_submit():
        engine = current_app.extensions["returns"].engine
        access.sign_out(engine, current_user.name, address=request.remote_addr or "", now=g.now)
        logout_user()
        session.clear()
        flash("You are signed out.")
    return redirect("/sign-in")


def _wanted() -> str:
    """Where somebody was going: a path of ours, or the list."""
    target = request.args.get("next", "")
    if target.startswith("/") and not target.startswith("//") and "\\" not in target:
        return target
    return "/"
