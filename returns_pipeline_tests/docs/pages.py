"""The documents as tests read them: files, headings with their anchors, links, code spans."""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#{1,6}) +(.+?) *$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, up to the next heading of any depth."""

    title: str
    anchor: str
    body: str


@dataclass(frozen=True)
class Page:
    path: Path
    text: str = field(repr=False)

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def prose(self) -> str:
        return _FENCE.sub("", self.text)

    @cached_property
    def sections(self) -> list[Section]:
        found = list(_HEADING.finditer(self.prose))
        ends = [one.start() for one in found[1:]] + [len(self.prose)]
        seen: Counter[str] = Counter()
        sections = []
        for one, end in zip(found, ends, strict=True):
            anchor = slug(one[2])
            number = seen[anchor]
            seen[anchor] += 1
            anchor = f"{anchor}-{number}" if number else anchor
            sections.append(Section(one[2], anchor, self.prose[one.end() : end].strip()))
        return sections

    @property
    def links(self) -> list[str]:
        """Targets of links to pages; images are the lead's to add."""
        return [target for image, target in _LINK.findall(self.prose) if not image]

    @property
    def images(self) -> list[str]:
        return [target for image, target in _LINK.findall(self.prose) if image]

    @property
    def code_spans(self) -> list[str]:
        return [" ".join(span.split()) for span in _CODE.findall(self.prose)]

    @property
    def code_blocks(self) -> list[str]:
        return [block.strip("`\n") for block in _FENCE.findall(self.text)]

    def section(self, anchor: str) -> Section:
        return next(one for one in self.sections if one.anchor == anchor)


def slug(title: str) -> str:
    """The anchor GitHub gives a heading: letters, digits, _ and -; blanks become -."""
    plain = re.sub(r"`|\*|\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@cache
def page(name: str) -> Page:
    path = ROOT / name
    return Page(path, path.read_text("utf-8"))


@cache
def pages() -> tuple[Page, ...]:
    """README and everything under docs/."""
    names = [
        "README.md",
        *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/**/*.md")),
    ]
    return tuple(page(name) for name in names)
