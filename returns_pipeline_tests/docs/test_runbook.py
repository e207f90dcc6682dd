"""The runbook has a section for whatever may open it, and says what the code says."""

import re
from functools import cache
from pathlib import Path

import pytest

from returns_pipeline.domain.decisions import KINDS, kinds_for
from returns_pipeline.domain.exceptions import CATALOGUE, runbook
from returns_pipeline_tests.docs import pages

RUNBOOK = pages.page("docs/runbook.md")
SECTIONS = {one.anchor: one for one in RUNBOOK.sections}
NOT_RAISED = "Not raised by the parts built so far"
_CODE = re.compile(r"\b[A-Z]+(?:_[A-Z]+)+\b")
_ROOMS = ("domain", "steps", "dispatch", "normalise")
# Words in capitals on these pages that are no exception codes.
_OTHERS = re.compile(
    r"(RETURNS|HAPPY_RETURNS|LINNWORKS|DAGSTER)_[A-Z0-9_]+|SELLABLE_B|TAG_MISSING|WRONG_ITEM|KEEP_ITEM|READ_AGAIN"
)


def sources() -> list[Path]:
    package = pages.ROOT / "returns_pipeline"
    found = [path for room in _ROOMS for path in sorted((package / room).rglob("*.py"))]
    return [
        path
        for path in found
        # The first two know what there is; the last asks whether one is open.
        if path.relative_to(package).as_posix()
        not in {"domain/exceptions.py", "domain/decisions.py", "steps/invariants.py"}
    ]


@cache
def raised() -> frozenset[str]:
    """Codes that some rule or step names as a value."""
    text = "\n".join(path.read_text("utf-8") for path in sources())
    return frozenset(code for code in CATALOGUE if re.search(rf"""["']{code}\b""", text))


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_code_has_its_section_where_the_exception_points(code: str) -> None:
    name, _, anchor = runbook(code).partition("#")
    assert pages.ROOT / name == RUNBOOK.path
    assert SECTIONS[anchor].title == code


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_section_states_the_owner_severity_and_effect_of_the_catalogue(code: str) -> None:
    entry = CATALOGUE[code]
    stated = SECTIONS[code.lower()].body.splitlines()[0]
    assert stated == f"{entry.owner.value} · {entry.severity.value} · blocks {entry.blocks}"


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_code_nothing_raises_says_so_and_every_other_says_what_to_do(code: str) -> None:
    body = " ".join(SECTIONS[code.lower()].body.split())
    assert (NOT_RAISED in body) == (code not in raised())
    if code in raised():
        for part in ("**Means.**", "**Noticed.**", "**Do.**", "**Closes"):
            assert part in body, f"{code} has no {part}"


@pytest.mark.parametrize("code", sorted(raised()))
def test_a_section_names_the_decisions_that_settle_it_and_no_other(code: str) -> None:
    body = SECTIONS[code.lower()].body
    told = re.search(r"^\*\*Decide\.\*\*(.*?)\n\n", body, re.MULTILINE | re.DOTALL)
    assert told is not None
    named = re.findall(r"`([a-z_]+)`", told[1])
    assert named == [kind.value for kind in kinds_for(code)]


def test_every_decision_is_explained() -> None:
    intro = RUNBOOK.section("how-to-use-this-page").body
    assert re.findall(r"^\| `([a-z_]+)` \|", intro, re.MULTILINE) == [k.value for k in KINDS]


def test_codes_stand_in_the_order_of_the_catalogue() -> None:
    titles = [one.title for one in RUNBOOK.sections]
    assert [title for title in titles if title in CATALOGUE] == list(CATALOGUE)


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.name)
def test_no_page_names_a_code_that_does_not_exist(page: pages.Page) -> None:
    named = set(_CODE.findall(page.prose))
    assert {one for one in named if one not in CATALOGUE and not _OTHERS.fullmatch(one)} == set()


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("docs/customer-service.md", "CX"),
        ("docs/operations.md", "Operations"),
        ("docs/finance.md", "Finance"),
    ],
)
def test_an_owners_page_has_a_row_for_every_code_that_may_be_theirs(name: str, owner: str) -> None:
    rows = re.findall(r"^\| \[([A-Z_]+)\]", pages.page(name).prose, re.MULTILINE)
    theirs = {code for code in raised() if CATALOGUE[code].owner.value == owner}
    assert sorted(rows) == sorted(theirs)


@pytest.mark.slow
def test_every_asset_check_has_its_section_with_its_asset_and_whether_it_blocks() -> None:
    from returns_pipeline.definitions import defs

    checks = {}
    for check in defs.asset_checks or ():
        for spec in check.check_specs:
            checks.setdefault(spec.name, []).append(spec)
    assert checks
    for name, specs in checks.items():
        stated = SECTIONS[name].body.splitlines()[0]
        blocking = "blocking" if specs[0].blocking else "tells"
        assets = {spec.asset_key.to_user_string() for spec in specs}
        where = f"`{assets.pop()}`" if len(assets) == 1 else "every table's asset"
        assert stated.startswith(f"{where} · {blocking} · "), name


@pytest.mark.slow
def test_the_runbook_has_no_section_for_a_check_that_is_gone() -> None:
    from returns_pipeline.definitions import defs

    names = {spec.name for check in defs.asset_checks or () for spec in check.check_specs}
    titles = [one.title for one in RUNBOOK.sections]
    between = titles[titles.index("Asset checks") + 1 : titles.index("Situations")]
    assert set(between) == names
