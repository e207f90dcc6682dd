"""A fortnight of trouble: exactly the expected exceptions, and after the repairs exactly none."""

from __future__ import annotations

from collections import Counter
from email.message import EmailMessage
from pathlib import Path

import pytest

from returns_pipeline.storage.engine import connect
from returns_pipeline.storage.migrate import upgrade
from returns_pipeline_tests.docs.test_runbook import raised
from returns_pipeline_tests.fortnight import troubles
from returns_pipeline_tests.fortnight.report import table
from returns_pipeline_tests.fortnight.verdict import Came, lived

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fortnight")]

# Raised by rules that the story has no place for, and where they are seen instead.
ELSEWHERE = {
    "LEDGER_DRIFT": "steps/test_soundness.py",
    "ROUNDING_OVER_LIMIT": "finance",
    "STORE_CREDIT_UNMATCHED": "finance",
}


def _fresh(folder: Path) -> str:
    url = f"sqlite:///{folder / 'returns.db'}"
    engine = connect(url)
    upgrade(engine)
    engine.dispose()
    return url


@pytest.fixture(scope="module")
def came(tmp_path_factory: pytest.TempPathFactory) -> Came:
    folder = tmp_path_factory.mktemp("fortnight")
    return lived(troubles.tell(), _fresh(folder), folder)


def test_the_queue_has_exactly_what_it_must_and_after_the_repairs_nothing(came: Came) -> None:
    assert came.problems == []


def test_where_happy_returns_pays_the_queue_has_what_it_must(tmp_path: Path) -> None:
    told = troubles.tell_of_the_other_merchant()

    came = lived(told, _fresh(tmp_path), tmp_path, troubles.PAID_BY_HAPPY_RETURNS)

    assert came.problems == []


def test_every_code_that_can_be_raised_is_seen_here_or_where_it_says() -> None:
    told = [*troubles.tell().tasks, *troubles.tell_of_the_other_merchant().tasks]
    seen = {task.code for task in told}

    assert seen | ELSEWHERE.keys() == raised()
    assert not seen & ELSEWHERE.keys()
    tests = Path(__file__).parents[1]
    for code, place in ELSEWHERE.items():
        files = [tests / place] if place.endswith(".py") else (tests / place).rglob("test_*.py")
        assert any(code in path.read_text("utf-8") for path in files), code


def test_what_came_up_is_told_as_a_table(came: Came) -> None:
    shown = table(came)

    assert "ORPHAN_RETURN" in shown
    assert "open now: 0" in shown


def test_each_owner_is_told_once_a_day_and_at_once_of_what_cannot_wait(came: Came) -> None:
    digests = [mail for mail in came.alerts if "Digest of" in _text(mail)]
    days = Counter(_text(mail).partition("Digest of ")[2].splitlines()[0] for mail in digests)
    at_once = [_text(mail) for mail in came.alerts if mail not in digests]

    assert set(days.values()) <= {1, 2, 3}  # the owners that have something to be told
    assert any("119.00 GBP" in text and "Wrong item suspected" in text for text in at_once)


def _text(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    return str(body.get_content()) if body is not None else ""
