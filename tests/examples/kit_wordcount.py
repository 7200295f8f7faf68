"""The word count again, as a plain loop, and what the example prints."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "examples/wordcount"
TOTALS = re.compile(r"^([\d,]+) files, ([\d,]+) identifiers, ([\d,]+) different$", re.MULTILINE)
UNREADABLE = re.compile(r"^  (\S+): ", re.MULTILINE)


class WordCount(Protocol):
    """The example's module."""

    LIBRARY: Path

    def files(self) -> list[str]: ...
    def identifiers(self, path: str) -> Iterator[str]: ...
    def report(self) -> str: ...


@attrs.frozen
class Result:
    """What a count comes to."""

    files: int
    identifiers: int
    different: int
    unreadable: frozenset[str]


def told(text: str) -> Result:
    """Read the report that the example prints."""
    match = TOTALS.search(text)
    assert match is not None, text
    files, identifiers, different = (int(number.replace(",", "")) for number in match.groups())
    return Result(files, identifiers, different, frozenset(UNREADABLE.findall(text)))


def plainly(module: WordCount) -> Result:
    """Count in a plain loop."""
    total: Counter[str] = Counter()
    unreadable: set[str] = set()
    count = 0
    for path in module.files():
        try:
            counts = Counter(module.identifiers(path))
        except Exception:  # noqa: BLE001 - whatever the file does
            unreadable.add(path)
        else:
            total.update(counts)
            count += 1
    return Result(count, total.total(), len(total), frozenset(unreadable))


def wordcount() -> WordCount:
    """Return a copy of the example's module of our own."""
    spec = importlib.util.spec_from_file_location("wordcount_plain", FOLDER / "wordcount.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return cast("WordCount", found)
