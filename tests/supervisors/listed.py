"""The events of a supervisor as docs/events.md lists them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import attrs


@attrs.frozen
class ListedEvent:
    """One row of the table."""

    levels: frozenset[str]
    keys: frozenset[str]


@cache
def documented_events() -> dict[str, ListedEvent]:
    """Return the rows by the event's name."""
    text = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
    section = text.partition("\n## `supervisors`\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {
        name.strip(" `"): ListedEvent(
            frozenset(levels.strip().split(", ")),
            frozenset(keys.strip().split(", ")),
        )
        for name, levels, keys, _when in rows
    }
