"""A real browser, headless, driven over the DevTools protocol: Chromium where there is one.

Just what the tests need: go somewhere, type, press keys, read what is there, take a
picture. Everything it does ends by itself after some seconds.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE = 60.0


def found() -> str | None:
    """The browser of this machine; ``None`` where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer; what the page complains of meanwhile is kept."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            told = self._told(_PATIENCE)
            if told.get("id") == number:
                if "error" in told:
                    raise AssertionError(f"{method}: {told['error']}")
                return told["result"]

    def _told(self, seconds: float) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._socket.recv(timeout=seconds))
        if told.get("method") == "Log.entryAdded":
            entry = told["params"]["entry"]
            if entry["level"] == "error":
                self.errors.append(f"{entry['text']} {entry.get('url', '')}")
        return told

    def js(self, text: str) -> Any:
        """What an expression in the page gives."""
        answer = self.call("Runtime.evaluate", expression=text, returnByValue=True)
        return answer["result"].get("value")

    def until(self, text: str) -> Any:
        """Wait until an expression is true."""
        ends = time.monotonic() + _PATIENCE
        while not (value := self.js(text)):
            if time.monotonic() > ends:
                raise AssertionError(
                    f"never came true: {text}; at {self.js('document.body.innerText')}"
                )
            time.sleep(0.05)
        return value

    def go(self, url: str) -> None:
        """Open an address and wait until it stands."""
        self.call("Page.navigate", url=url)
        self.until("location.href != 'about:blank'")
        self.until("document.readyState == 'complete'")

    def keys(self, *names: str) -> None:
        """Press keys by name, or type a text."""
        for name in names:
            code = {"Tab": 9, "Enter": 13, "Space": 32}.get(name)
            if code is None:
                self.call("Input.insertText", text=name)
                continue
            text = {"Enter": "\r", "Space": " "}.get(name, "")
            key = " " if name == "Space" else name
            common = {"key": key, "code": name, "windowsVirtualKeyCode": code}
            down = "keyDown" if text else "rawKeyDown"
            self.call("Input.dispatchKeyEvent", type=down, text=text, **common)
            self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def leaving(self, *names: str) -> None:
        """Press keys that lead to another page, and wait until it stands."""
        self.js("window.before = true")
        self.keys(*names)
        self.until("!window.before && document.readyState == 'complete'")

    def look(self, *, width: int, height: int = 900, dark: bool = False) -> None:
        """How wide the window is, and whether the reader wants it dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser with an empty profile, and its one tab."""
    command = [
        str(found()),
        "--headless=new",
        "--no-sandbox",  # tests may run as root
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
    ]
    child = subprocess.Popen(  # noqa: S603 (ours)
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with connect(_tab(folder, child), max_size=None) as socket:
            yield Page(socket)
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(20)


def _tab(folder: Path, child: subprocess.Popen[bytes]) -> str:
    import urllib.request

    told = folder / "DevToolsActivePort"
    ends = time.monotonic() + _PATIENCE
    while time.monotonic() < ends and child.poll() is None:
        lines = told.read_text().splitlines() if told.exists() else []
        if lines:
            with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json") as answer:
                tabs = json.load(answer)
            for tab in tabs:
                if tab["type"] == "page":
                    url: str = tab["webSocketDebuggerUrl"]
                    return url
        time.sleep(0.1)
    raise AssertionError("the browser did not come up")
