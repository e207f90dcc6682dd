"""The application: Flask with its extensions, what every answer bears, how text is shown.

Not here: the pages (``views``), signing in (``door``).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from flask import Flask, Response, g, render_template
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import HTTPException, SecurityError

from returns_pipeline.domain.policy import Policy
from returns_pipeline.reporting.day import amount_text
from returns_pipeline.web import door, views

# Nothing is fetched from elsewhere and nothing runs: there is no script at all.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_LOCAL = ["localhost", "127.0.0.1", "[::1]"]


def create_app(
    engine: sa.Engine,
    policy: Policy,
    *,
    clock: Callable[[], datetime],
    secret: str,
    public_url: str = "",
) -> Flask:
    """The web page over one database.

    Args:
        engine: The pipeline's database.
        policy: For the zone, the conditions and what is decided by.
        clock: The program's clock, aware UTC.
        secret: Signs sessions and forms.
        public_url: Where people reach it; with https, cookies are sent over it alone.
    """
    app = Flask(__name__)
    is_https = public_url.startswith("https://")
    host = urlsplit(public_url).hostname
    app.config.update(
        SECRET_KEY=secret,
        MAX_CONTENT_LENGTH=64 * 1024,
        MAX_FORM_PARTS=50,
        TRUSTED_HOSTS=[host, *_LOCAL] if host else _LOCAL,
        SESSION_COOKIE_NAME="__Host-returns" if is_https else "returns",
        SESSION_COOKIE_SECURE=is_https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=door.LONGEST,
        WTF_CSRF_TIME_LIMIT=int(door.LONGEST / timedelta(seconds=1)),
        WTF_CSRF_SSL_STRICT=is_https,
    )
    app.extensions["returns"] = views.Pages(engine, policy, clock)

    @app.before_request
    def take_the_time() -> None:
        g.now = clock()

    CSRFProtect(app)
    door.attach(app)
    app.register_blueprint(views.pages)
    _dress(app, policy.merchant.time_zone, policy.merchant.name)

    @app.after_request
    def bear(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers[name] = value
        if is_https:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        return response

    @app.errorhandler(CSRFError)
    def refused(_error: CSRFError) -> tuple[str, int]:
        return render_template(
            "problem.html",
            title="That form is too old",
            text="Nothing was changed. Go back, load the page again and send it once more.",
        ), 400

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> tuple[str, int]:
        if isinstance(error, SecurityError):  # it has no pages to lead to
            return "This page is not served under that name: set RETURNS_WEB_URL.", 400
        code = error.code or 500
        title, text = _PROBLEMS.get(code, _PROBLEMS[500])
        return render_template("problem.html", title=title, text=text), code

    return app


_PROBLEMS = {
    400: ("That could not be read", "Nothing was changed. Go back and try again."),
    403: ("That is not yours to do", "Nothing was changed."),
    404: ("There is nothing here", "Perhaps the address was cut off."),
    405: ("That could not be read", "Nothing was changed. Go back and try again."),
    413: ("That is too long", "Nothing was changed. Make it shorter."),
    500: ("Something went wrong", "Nothing was changed. Try again; then call Engineering."),
}


def _dress(app: Flask, zone: str, merchant: str) -> None:
    """How templates show instants and amounts."""
    place = ZoneInfo(zone)

    @app.template_filter("local")
    def local(at: datetime) -> str:
        return f"{at.astimezone(place):%a %d %b, %H:%M}"

    @app.template_filter("instant")
    def instant(text: str) -> datetime:
        return datetime.fromisoformat(text)

    @app.template_filter("money")
    def money(minor: int, currency: str) -> str:
        return amount_text(minor, currency) if currency else ""

    @app.template_filter("spoken")
    def spoken(code: str) -> str:
        words = code.replace("_", " ").capitalize().split(" ")
        return " ".join(_UPPER.get(word.lower(), word) for word in words)

    @app.template_filter("age")
    def age(at: datetime) -> str:
        return _span(g.now - at)

    @app.context_processor
    def everywhere() -> dict[str, str]:
        return {"merchant": merchant, "zone": zone}


_UPPER = {word.lower(): word for word in ("SKU", "ID", "VAT", "FX", "OOS", "OK")}


def _span(gone: timedelta) -> str:
    """A while in the largest unit that says enough: ``3 d``, ``5 h``, ``12 min``."""
    minutes = abs(int(gone.total_seconds() // 60))
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (60 * 24)} d"
