"""The page in a real browser, by keyboard alone: sign in, find a task, decide, sign out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from returns_pipeline.web.serving import server
from returns_pipeline_tests.web.browser import Page, browser, found
from returns_pipeline_tests.web.conftest import PASSWORD, Site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(found() is None, reason="no Chromium or Chrome on this machine's PATH"),
]


@pytest.fixture
def served(site: Site) -> Iterator[str]:
    """The page behind its real server."""
    made = server(site.app, "127.0.0.1", 0, behind_proxy=False)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.effective_port}"
    made.close()
    thread.join(10)


def _to(page: Page, selector: str, most: int = 60) -> None:
    """Press Tab until something has the focus."""
    for _ in range(most):
        if page.js(f"document.activeElement.matches({selector!r})"):
            return
        page.keys("Tab")
    raise AssertionError(f"Tab never reaches {selector}")


def test_a_task_is_decided_by_keyboard_alone(site: Site, served: str, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as page:
        page.look(width=1200)
        page.go(f"{served}/")
        assert page.js("document.activeElement.id") == "name"
        page.keys("olga", "Tab", PASSWORD)
        page.leaving("Enter")

        _to(page, ".task a")
        page.leaving("Enter")
        assert "Disposition unmapped" in page.js("document.querySelector('h1').innerText")

        _to(page, "select[name=disposition]")
        page.keys("Damaged")
        page.js("document.activeElement.value = 'DAMAGED'")
        _to(page, "details[open] input[name=reason]")
        page.keys("a hole <b>in</b> it")
        page.leaving("Enter")

        assert "Decided" in page.js("document.querySelector('[role=status]').innerText")
        assert "a hole <b>in</b> it" in page.js("document.querySelector('.timeline').innerText")
        assert [row.kind for row in site.decided()] == ["disposition"]

        _to(page, "header button")
        page.leaving("Enter")
        assert page.js("location.pathname") == "/sign-in"
        # Nothing was blocked by the page's own policy, and nothing was fetched from elsewhere.
        assert page.errors == []


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("dark", [False, True])
def test_the_pages_fit_their_window_and_can_be_read(
    site: Site,
    served: str,
    tmp_path: Path,
    width: int,
    dark: bool,  # noqa: FBT001
) -> None:
    with browser(tmp_path / "profile") as page:
        page.look(width=width, dark=dark)
        page.go(f"{served}/")
        page.keys("olga", "Tab", PASSWORD)
        page.leaving("Enter")
        number = site.numbers["DISPOSITION_UNMAPPED"]
        for path in ("/", "/?owner=", f"/exceptions/{number}"):
            page.go(f"{served}{path}")

            assert page.js("document.documentElement.scrollWidth") <= width
            assert page.js(_CONTRAST) >= 4.5


# The worst contrast of any text with what is painted behind it (WCAG 2.2, 1.4.3).
_CONTRAST = """(() => {
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(c => c / 255)
      .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = node => {
    for (let one = node; one; one = one.parentElement) {
      const colour = rgb(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  let worst = 21;
  for (const node of document.querySelectorAll('main *, header *, footer')) {
    const own = [...node.childNodes].some(one => one.nodeType === 3 && one.data.trim());
    if (!own || !node.offsetParent) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))];
    worst = Math.min(worst, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return worst;
})()"""
