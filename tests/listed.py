"""The events as docs/events.md lists them."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAGE: Final = Path(__file__).parents[1] / "docs" / "events.md"
LEVELS: Final = ("debug", "info", "warning", "error", "critical")


@attrs.frozen
class ListedEvent:
    """One row of the tables.

    Args:
      section: The title of its table.
      levels: Those that it may have.
      keys: Those that it has.
      common: Those that its section says every event of it has, or may have.
      is_open: Whether it has others, that the page describes.
    """

    section: str
    levels: frozenset[str]
    keys: frozenset[str]
    common: frozenset[str]
    is_open: bool

    def faults(self, event: Mapping[str, object]) -> list[str]:
        """Return what an event has that its row does not tell."""
        level = event["log_level"]
        faults = [] if level in self.levels else [f"level {level}"]
        others = event.keys() - {"event", "log_level"} - self.keys - self.common
        return faults + ([] if self.is_open else sorted(others))


@cache
def documented_events(section: str | None = None) -> dict[str, ListedEvent]:
    """Return the rows of a section, or of all, by the event's name."""
    found: dict[str, ListedEvent] = {}
    for text in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, body = text.partition("\n")
        every = re.search(r"^Every event has (.*?)\.$", body, re.MULTILINE | re.DOTALL)
        common = frozenset(re.findall(r"`(\w+)`", every[1] if every else ""))
        for line in body.splitlines():
            if line.startswith("| `"):
                name, levels, keys, _when = (cell.strip() for cell in line.strip("|").split("|"))
                names = [key for key in keys.split(", ") if key]
                row = ListedEvent(
                    title.strip("`"),
                    _levels(levels),
                    frozenset(names) - {"..."},
                    common,
                    "..." in names,
                )
                if section in {None, row.section}:
                    found[name.strip("`")] = row
    return found


def _levels(cell: str) -> frozenset[str]:
    first, to, last = cell.partition(" to ")
    if to:
        return frozenset(LEVELS[LEVELS.index(first) : LEVELS.index(last) + 1])
    return frozenset(cell.split(", "))


@attrs.frozen
class LoggedEvent:
    """One call in the code that emits an event.

    Args:
      name: The event's.
      level: Its level; ``"log"``: it is computed.
      keys: Those that the call names.
      is_open: Whether it gives others.
      where: The file and line.
    """

    name: str
    level: str
    keys: frozenset[str]
    is_open: bool
    where: str


def _files() -> list[Path]:
    root = PAGE.parents[1]
    return [*root.glob("supervisors/**/*.py"), *root.glob("queueactors/**/*.py")]


@cache
def bound_keys() -> frozenset[str]:
    """Return every key that some logger is bound to."""
    calls = (
        node
        for file in _files()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "bind"
    )
    return frozenset(each.arg for call in calls for each in call.keywords if each.arg is not None)


@cache
def logged_events() -> tuple[LoggedEvent, ...]:
    """Return every call in the code that emits an event by name."""
    return tuple(event for file in _files() for event in _calls(file))


def _calls(file: Path) -> Iterator[LoggedEvent]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(
                func=ast.Attribute(attr=method), args=[ast.Constant(value=str(name))]
            ) if method in {*LEVELS, "exception", "_notice"}:
                level = {"_notice": "warning", "exception": "error"}.get(method, method)
            case ast.Call(
                func=ast.Attribute(attr="log" as method), args=[_, ast.Constant(value=str(name))]
            ):
                level = method
            case _:
                continue
        named = {each.arg for each in node.keywords}
        named |= {"exc_info"} if method == "exception" else set()
        keys = frozenset(each for each in named if each is not None)
        yield LoggedEvent(name, level, keys, None in named, f"{file.name}:{node.lineno}")
