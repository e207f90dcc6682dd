"""The web page's server: waitress, on this machine unless told otherwise.

Here: listening, and what is refused before it begins. TLS is a reverse proxy's.
"""

from __future__ import annotations

from typing import Any

from flask import Flask
from waitress.server import create_server


def server(app: Flask, host: str, port: int, *, behind_proxy: bool) -> Any:
    """A server that listens already; ``run`` serves until ``close``.

    Args:
        app: The web page.
        host: Where to listen.
        port: Where to listen; 0: any free port.
        behind_proxy: Whether a proxy on this machine says who asks, and by https.

    Raises:
        OSError: When it cannot listen there.
    """
    trusted: dict[str, Any] = {}
    if behind_proxy:
        trusted = {
            "trusted_proxy": "127.0.0.1",
            "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"},
        }
    return create_server(
        app,
        host=host,
        port=port,
        threads=4,
        ident=None,
        max_request_body_size=64 * 1024,
        channel_timeout=30,
        clear_untrusted_proxy_headers=True,
        **trusted,
    )
