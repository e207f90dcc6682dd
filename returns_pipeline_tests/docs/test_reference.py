"""What the README and the pages name is there: settings, commands, jobs, policy keys."""

import re
import tomllib
from functools import cache
from typing import Any

import pytest

from returns_pipeline.domain.exceptions import CATALOGUE
from returns_pipeline_tests.docs import pages

README = pages.page("README.md")
PACKAGE = pages.ROOT / "returns_pipeline"
_SETTING = re.compile(r"\b(?:RETURNS|HAPPY_RETURNS|LINNWORKS)_[A-Z0-9_]+[A-Z0-9]\b")
# Tables of free keys that ship without a row.
_EMPTY = {"owners", "gate.refund_by_dropoff", "finance.fx_rates", "finance.units"}
_POLICY_KEY = re.compile(r"`\[([a-z_.]+)\](?: ([a-z_]+))?")


@cache
def settings_read() -> frozenset[str]:
    text = "\n".join(p.read_text("utf-8") for p in (PACKAGE / "settings").rglob("*.py"))
    return frozenset(re.findall(r'"((?:RETURNS|HAPPY_RETURNS|LINNWORKS)_[A-Z0-9_]+)"', text))


def settings_documented() -> set[str]:
    section = README.section("settings").body
    cells = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([A-Z0-9_]+)`", cell)}


def test_every_setting_that_is_read_stands_in_the_readme_and_no_other() -> None:
    assert settings_documented() == settings_read() | {"DAGSTER_HOME"}


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.name)
def test_no_page_names_a_setting_that_nothing_reads(page: pages.Page) -> None:
    assert set(_SETTING.findall(page.text)) - settings_read() - set(CATALOGUE) == set()


@cache
def commands() -> dict[str, set[str]]:
    """Every command as typed, and its options."""
    import typer.main

    from returns_pipeline.cli.app import app

    found: dict[str, set[str]] = {}

    def walk(command: Any, path: list[str]) -> None:
        children = getattr(command, "commands", None)
        if children is None:
            options = {name for p in command.params for name in [*p.opts, *p.secondary_opts]}
            found[" ".join(path)] = options | {"--help", "-h"}
            return
        for name, child in children.items():
            walk(child, [*path, name])

    walk(typer.main.get_command(app), [])
    return found


def test_the_readme_lists_exactly_the_commands_there_are() -> None:
    rows = re.findall(
        r"^\| `([a-z -]+(?:\\\|[a-z-]+)*?)(?: [A-Z]+)?` \|",
        README.section("commands").body,
        re.MULTILINE,
    )
    listed = []
    for row in rows:  # `batches list\|confirm` is two of them
        first, *others = row.split(r"\|")
        group = first.rpartition(" ")[0]
        listed += [first, *(f"{group} {other}" for other in others)]
    assert sorted(listed) == sorted(commands())


def typed() -> list[tuple[str, str]]:
    """Every `returns-pipeline ...` the pages tell people to type."""
    found = []
    for page in pages.pages():
        lines = [line for block in page.code_blocks for line in block.splitlines()]
        for text in [*page.code_spans, *lines]:
            _, name, rest = text.partition("returns-pipeline ")
            if name and not rest.startswith("<"):
                found.append((page.name, rest.split("#")[0].strip()))
    return found


@pytest.mark.parametrize(("page", "text"), typed())
def test_what_a_page_tells_people_to_type_is_a_command_with_those_options(
    page: str, text: str
) -> None:
    known = commands()
    words = text.split()
    command = next((c for c in (" ".join(words[:2]), words[0]) if c in known), None)
    assert command is not None, f"{page}: {text}"
    options = {word for word in words if word.startswith("-")}
    assert options <= known[command], f"{page}: {text}"


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.name)
def test_every_make_target_a_page_names_is_there(page: pages.Page) -> None:
    makefile = (pages.ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    lines = [line for block in page.code_blocks for line in block.splitlines()]
    named = {text.split()[1] for text in [*page.code_spans, *lines] if text.startswith("make ")}
    assert named - targets == set()


@pytest.mark.parametrize(
    "page",
    # The page of the policy itself shows wrong keys too; it has tests of its own.
    [one for one in pages.pages() if one.name != "docs/policy.md"],
    ids=lambda page: page.name,
)
def test_every_policy_key_a_page_names_is_in_the_packaged_policy(page: pages.Page) -> None:
    text = (PACKAGE / "policy.toml").read_text("utf-8")
    policy = tomllib.loads(text)
    # Declared nowhere on purpose: there is no default.
    policy["refunds"]["executor"] = ""
    lost = []
    for table, key in _POLICY_KEY.findall(re.sub(r"\s+", " ", page.prose)):
        here = policy
        for part in table.split("."):
            here = here.get(part, {}) if isinstance(here, dict) else {}
        known = isinstance(here, dict) and bool(here or table in _EMPTY)
        if not known or (key and key not in here):
            lost.append(f"[{table}] {key}")
    assert lost == []


@pytest.mark.slow
def test_every_job_sensor_and_asset_a_page_names_is_in_dagster() -> None:
    from returns_pipeline.definitions import defs

    repository = defs.get_repository_def()
    jobs = set(repository.job_names)
    sensors = {one.name for one in repository.sensor_defs}
    for name in ("sync_returns", "close_business_day", "reconcile_returns", "prune_poll_runs"):
        assert name in jobs
        assert any(name in page.code_spans or name in page.text for page in pages.pages())
    assert "dead_run_recovery" in sensors
    day = README.section("a-day").body
    assert set(re.findall(r"`([a-z]+_[a-z_]+)` \|", day)) <= jobs
