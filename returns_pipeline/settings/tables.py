"""Reading one TOML table: each value taken by its kind, each problem said with its place.

Here: kinds (texts, counts, durations, choices, tables of free keys) and how their problems
are worded. Not here: which keys there are (``policy_file``).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection
from datetime import date, time, timedelta
from enum import StrEnum
from typing import Any, TypeVar

E = TypeVar("E", bound=StrEnum)
V = TypeVar("V")

# Bounded, so that no number of days is beyond what a calendar holds.
_DURATION = re.compile(r"([0-9]{1,5})([mhd])")
_TIME = re.compile(r"[0-9]{2}:[0-9]{2}")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def one_of(text: str, kind: type[E], where: str, problems: list[str]) -> E | None:
    """The member a text names; else a problem that lists them all."""
    try:
        return kind(text)
    except ValueError:
        options = ", ".join(f'"{member.value}"' for member in kind)
        problems.append(f"{where}: one of {options}, not {text!r}")
        return None


def hint(name: str, known: Collection[str]) -> str:
    """``"; did you mean X?"`` where a known name is near, else nothing."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


class Table:
    """Reads one table of the policy and says what is wrong with it."""

    def __init__(self, table: object, path: str, problems: list[str]) -> None:
        """Take the table at ``path``; what is none counts as empty and is a problem."""
        self.path = path
        self.problems = problems
        if not isinstance(table, dict):
            problems.append(f"policy [{path}]: a table is expected, not {table!r}")
            table = {}
        self.rest: dict[str, Any] = dict(table)
        self.known: list[str] = []

    def wrong(self, key: str, what: str) -> None:
        """Say what is wrong with a key."""
        self.problems.append(f"policy [{self.path}] {key}: {what}")

    def _take(self, key: str, kind: type, what: str) -> Any:
        self.known.append(key)
        value = self.rest.pop(key, None)
        # bool is an int in Python; a policy's true is not a number.
        wrong_bool = isinstance(value, bool) and kind is not bool
        if value is None:
            self.wrong(key, f"missing; {what}")
        elif wrong_bool or not isinstance(value, kind):
            self.wrong(key, f"{what}, not {value!r}")
        else:
            return value
        return None

    def text(self, key: str) -> str:
        """A text; empty where there is none."""
        return self._take(key, str, "a text") or ""

    def either(self, key: str, *options: str) -> str:
        """One of a few texts."""
        listed = " or ".join(f'"{option}"' for option in options)
        value = self._take(key, str, listed)
        if value is not None and value not in options:
            self.wrong(key, f"{listed}, not {value!r}")
        return value or ""

    def flag(self, key: str) -> bool:
        """True or false."""
        return bool(self._take(key, bool, "true or false"))

    def count(self, key: str, least: int = 0, most: int | None = None) -> int:
        """A whole number within its bounds."""
        bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
        value = self._take(key, int, f"a whole number {bounds}")
        if value is None:
            return least
        if value < least or (most is not None and value > most):
            self.wrong(key, f"a whole number {bounds}, not {value}")
        return int(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(self._list(key, "a list of texts"))

    def duration(self, key: str) -> timedelta:
        """A duration: minutes, hours or days."""
        value = self._take(key, str, 'a duration such as "30m", "48h" or "7d"')
        return self._duration(key, value) if value is not None else timedelta()

    def day(self, key: str) -> date | None:
        """A date, or nothing where the text is empty."""
        what = 'a date such as "2026-12-01", or ""'
        text = self._take(key, str, what)
        try:
            return date.fromisoformat(text) if text else None
        except ValueError:
            self.wrong(key, f"{what}, not {text!r}")
            return None

    def time(self, key: str) -> time:
        """A time of day."""
        what = 'a time of day such as "07:30"'
        text = self._take(key, str, what)
        try:
            if text is not None and _TIME.fullmatch(text):
                return time.fromisoformat(text)
        except ValueError:
            pass
        if text is not None:
            self.wrong(key, f"{what}, not {text!r}")
        return time()

    def durations(self, key: str) -> tuple[timedelta, ...]:
        """A list of durations, one at least, the shortest first."""
        what = 'a list of durations such as ["7d", "14d"]'
        before = len(self.problems)
        found = tuple(sorted(self._duration(key, item) for item in self._list(key, what)))
        if not found and len(self.problems) == before:
            self.wrong(key, f"{what}, not an empty one")
        return found

    def _list(self, key: str, what: str) -> list[str]:
        value = self._take(key, list, what) or []
        if all(isinstance(item, str) for item in value):
            return list(value)
        self.wrong(key, f"{what}, not {value!r}")
        return []

    def _duration(self, key: str, text: str) -> timedelta:
        found = _DURATION.fullmatch(text)
        if found is None:
            self.wrong(key, f'a duration such as "30m", "48h" or "7d", not {text!r}')
            return timedelta()
        return timedelta(**{_UNITS[found[2]]: int(found[1])})

    def choice(self, key: str, kind: type[E]) -> E | None:
        """A member of an enumeration."""
        value = self._take(key, str, "a text")
        where = f"policy [{self.path}] {key}"
        return one_of(value, kind, where, self.problems) if value is not None else None

    def table(self, key: str) -> Table:
        """A table within this one."""
        self.known.append(key)
        return Table(self.rest.pop(key, {}), f"{self.path}.{key}".lstrip("."), self.problems)

    def mapping(
        self,
        key: str,
        read: Callable[[str, str], V | None],
        *,
        by: Callable[[str], str] = str,
    ) -> dict[str, V]:
        """A table of free keys.

        Args:
            key: The table's.
            read: Reads a value: ``read(value, where)``; ``None`` after a problem of its own.
            by: What of a key counts; two keys that are the same by it contradict.
        """
        inner = self.table(key)
        result: dict[str, V] = {}
        spelled: dict[str, str] = {}
        for name, value in inner.rest.items():
            where = f"policy [{inner.path}] {name}"
            if by(name) in spelled:
                inner.wrong(name, f"the same as {spelled[by(name)]}; keep one of the two")
                continue
            spelled[by(name)] = name
            if not isinstance(value, str):
                self.problems.append(f"{where}: a text, not {value!r}")
            elif value:  # an own policy takes a packaged row away by emptying it
                parsed = read(value, where)
                if parsed is not None:
                    result[by(name)] = parsed
        return result

    def done(self) -> None:
        """Say which keys nobody took."""
        for key in self.rest:
            place = f"[{self.path}] {key}" if self.path else f"[{key}]"
            self.problems.append(f"policy {place}: unknown key{hint(key, self.known)}")
