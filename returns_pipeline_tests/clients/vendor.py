"""Linnworks as a script: what each method answers, call by call."""

from collections import defaultdict, deque
from typing import Any

from returns_pipeline.clients.linnworks import Linnworks
from returns_pipeline.clients.transport import Patience
from returns_pipeline_tests.clients.conftest import Clock, StartWire
from returns_pipeline_tests.clients.wire import Play, Request, answer

APPLICATION = "11111111-1111-4111-8111-111111111111"
SECRET = "22222222-2222-4222-8222-222222222222"
TOKEN = "33333333-3333-4333-8333-333333333333"
SIGN_IN = "AuthorizeByApplication"

ORDER = "6f1c0d52-3a77-4b1e-9d0c-5a1b7c2e9011"
ROW_1 = "0b7e2c11-8d4f-4a6b-9c3e-1f2a3b4c5d01"
ROW_2 = "0b7e2c11-8d4f-4a6b-9c3e-1f2a3b4c5d02"
PLACE_1 = "c5a0e9d8-4b3c-4d21-b7f6-6e5d4c3b2a01"
PLACE_2 = "c5a0e9d8-4b3c-4d21-b7f6-6e5d4c3b2a02"


class Scripted:
    """The last answer of a method stands for all that follow."""

    def __init__(self, wire: StartWire, **answers: Any) -> None:
        self._answers: defaultdict[str, deque[Any]] = defaultdict(deque)
        self.server = wire(route=self._route)
        self.url = self.server.url
        self.sessions = 0
        self.then(**answers)

    def then(self, **answers: Any) -> None:
        """Each a document, a play, or a list of them."""
        for method, given in answers.items():
            self._answers[method].extend(given if isinstance(given, Script) else [given])

    def asked(self, method: str) -> list[Request]:
        return [one for one in self.server.requests if one.path.endswith(f"/{method}")]

    def _route(self, request: Request) -> Play:
        method = request.path.rpartition("/")[2]
        waiting = self._answers[method]
        if not waiting:
            if method == SIGN_IN:
                self.sessions += 1
                return answer(200, session(self.url, f"session-{self.sessions}"))
            return answer(404, {"Message": f"no script for {method}"})
        given = waiting.popleft() if len(waiting) > 1 else waiting[0]
        return given if callable(given) else answer(200, given)

    def client(self, clock: Clock, **options: Any) -> Linnworks:
        options.setdefault("rate_share", 0)
        options.setdefault("timeout", (2.0, 2.0))
        options.setdefault("patience", Patience(attempts=2, waits=2))
        return Linnworks(
            self.url,
            APPLICATION,
            SECRET,
            TOKEN,
            sleep=clock.sleep,
            monotonic=clock.monotonic,
            **options,
        )


class Script(list[Any]):
    """Answers one after another; a plain list is one document."""


def session(server: str, name: str = "session-1", state: str = "AVAILABLE") -> dict[str, Any]:
    return {"Token": name, "Server": server, "Status": {"State": state}, "Email": "a@b.example"}
