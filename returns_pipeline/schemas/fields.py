"""What can be said of a column and of a table, without a data frame in sight.

Here: the words of a declaration. The declarations are in ``captured``, ``decided`` and
``acting``; what is made of them in ``contracts``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "integer"
    FLAG = "flag"
    INSTANT = "instant"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Field:
    """One column: what it holds, what it means, what it may be.

    ``one_of`` and ``pattern`` (a whole match) bind texts, ``least`` and ``most`` integers;
    a null is bound by ``is_nullable`` alone.
    """

    kind: Kind
    about: str
    is_nullable: bool = False
    is_filled: bool = False
    """An empty text is not allowed."""
    one_of: tuple[str, ...] = ()
    pattern: str = ""
    least: int | None = None
    most: int | None = None

    @property
    def or_null(self) -> Field:
        """The same, and nothing is allowed too."""
        return replace(self, is_nullable=True)

    def means(self, about: str) -> Field:
        """The same with another meaning."""
        return replace(self, about=about)


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds between the columns of each row: a frame to a boolean a row."""

    name: str
    holds: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Declared:
    """One table: its columns, what names a row in a report, what holds across columns."""

    fields: Mapping[str, Field]
    key: tuple[str, ...]
    rules: tuple[Rule, ...] = field(default=())


def text(about: str) -> Field:
    """Any text, empty included."""
    return Field(Kind.TEXT, about)


def name(about: str) -> Field:
    """A text that is not empty."""
    return Field(Kind.TEXT, about, is_filled=True)


def word(about: str, words: Iterable[str]) -> Field:
    """One of some words."""
    return Field(Kind.TEXT, about, one_of=tuple(words))


def shaped(about: str, pattern: str) -> Field:
    """A text of which the whole matches."""
    return Field(Kind.TEXT, about, pattern=pattern)


def integer(about: str, least: int | None = None, most: int | None = None) -> Field:
    """A whole number within limits, both included."""
    return Field(Kind.INTEGER, about, least=least, most=most)


def minor(about: str, least: int | None = None) -> Field:
    """An amount in minor units of the row's currency."""
    return Field(Kind.INTEGER, f"{about}, minor units", least=least)


def flag(about: str) -> Field:
    """Yes or no."""
    return Field(Kind.FLAG, about)


def instant(about: str) -> Field:
    """An instant, UTC."""
    return Field(Kind.INSTANT, f"{about}, UTC")


def day(about: str) -> Field:
    """A day in the merchant's zone."""
    return Field(Kind.DAY, about)


def not_before(later: str, earlier: str) -> Rule:
    """One instant is not before another, where both are there."""
    return Rule(
        f"{later} is not before {earlier}",
        lambda frame: (
            (frame[later] >= frame[earlier]) | frame[later].isna() | frame[earlier].isna()
        ),
    )


def present_when(column: str, where: str, *words: str) -> Rule:
    """A column is there when another says one of these words, and only then."""
    return Rule(
        f"{column} is there exactly when {where} is {' or '.join(words)}",
        lambda frame: frame[column].notna() == frame[where].isin(words),
    )


def needed_when(column: str, where: str, *words: str) -> Rule:
    """A column is there whenever another says one of these words."""
    return Rule(
        f"{column} is there when {where} is {' or '.join(words)}",
        lambda frame: frame[column].notna() | ~frame[where].isin(words),
    )
