"""Every link in the documents leads somewhere."""

from urllib.parse import unquote

import pytest

from returns_pipeline_tests.docs import pages

PAGES = pages.pages()


def is_there(page: pages.Page, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.path.parent / name).resolve() if name else page.path
    if not target.exists() or not anchor:
        return target.exists()
    there = pages.page(target.relative_to(pages.ROOT).as_posix())
    return anchor in {one.anchor for one in there.sections}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: pages.Page) -> None:
    lost = [link for link in page.links if "://" not in link and not is_there(page, unquote(link))]
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_picture_is_there(page: pages.Page) -> None:
    lost = [image for image in page.images if not (page.path.parent / image).exists()]
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_heading_stands_twice_on_a_page(page: pages.Page) -> None:
    titles = [one.title for one in page.sections]
    assert sorted(titles) == sorted(set(titles))


def test_every_page_is_reached_from_the_readme() -> None:
    by_path = {page.path: page for page in PAGES}
    reached, waiting = set(), [pages.ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path not in by_path:
            continue
        reached.add(path)
        page = by_path[path]
        for link in page.links:
            name = link.partition("#")[0]
            if name and "://" not in name:
                waiting.append((page.path.parent / name).resolve())
    assert set(by_path) - reached == set()


def test_no_page_names_a_folder_of_this_machine() -> None:
    assert [page.name for page in PAGES if str(pages.ROOT) in page.text] == []
