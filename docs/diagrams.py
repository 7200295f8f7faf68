"""Draws what docs/ shows of the cores' tables: ``python docs/diagrams.py``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueactors.cores._message_table import ENDS, RULES
from queueactors.cores._transitions import TRANSITIONS

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
OUTSIDE = "[*]"  # what Mermaid writes for the beginning and for the end
NAMES = {"bury_dead": "refused there", "refilled": "refill"}  # of what users know by other names
STEPS = {  # what an enqueue does, and what it answers
    "add": "goes in | `added`",
    "update": "its message and `lock_time` are the new ones, in its old place | `updated`",
    "reset": "it can be claimed `init_backoff` from now; nothing else of it changes | `updated`",
    "requeue": "goes in as its requeue | `added`",
    "update-requeue": "the requeue's message and `lock_time` are the new ones | `updated`",
}
AFTER = {
    "drop": "gone; its requeue, if there is one, is queued at once",
    "remember": "`done-with-backoff`, or `done-with-requeue`, until the backoff is over",
    "ready": "`queued`",
    "back off": "`queued-with-backoff`",
}


def timed_queue() -> str:
    """Return the life of a message as a Mermaid state diagram, with UML's ``cause [case]``."""
    arrows: dict[tuple[str, str], dict[str, list[str]]] = {}
    for cause, before, after, case in TRANSITIONS:
        cases = arrows.setdefault((before or OUTSIDE, after or OUTSIDE), {})
        cases.setdefault(case, []).append(NAMES.get(cause, cause))
    lines = ["stateDiagram-v2"]
    for (before, after), cases in arrows.items():
        labels = [
            ", ".join(causes) + (f" [{case}]" if case else "") for case, causes in cases.items()
        ]
        lines.append(f"    {before} --> {after}: {'<br/>'.join(labels)}")
    return "```mermaid\n" + "\n".join(lines) + "\n```"


def enqueue() -> str:
    """Return what an enqueue does as a table."""
    lines = ["| its mid is | with | then | answer |", "| --- | --- | --- | --- |"]
    for status, flags, step in RULES:
        with_ = " and ".join(f"`{flag}`" for flag in flags) or "anything else"
        if status is None:
            with_ = "anything"
        done = STEPS.get(step, f"nothing happens | error `{step}`")
        name = "not there" if status is None else f"`{status}`"
        lines.append(f"| {name} | {with_} | {done} |")
    return "\n".join(lines)


def finish() -> str:
    """Return what the end of a claim does as a table."""
    lines = ["| `finish(...)` | `backoff` | then it is |", "| --- | --- | --- |"]
    for (result, backoff), end in ENDS.items():
        lines.append(f'| `"{result}"` | {"> 0" if backoff else "none, or 0"} | {AFTER[end]} |')
    return "\n".join(lines)


PAGES: Final[dict[str, dict[str, Callable[[], str]]]] = {
    "timed-queue.md": {"life": timed_queue},
    "message-queue.md": {"enqueue": enqueue, "finish": finish},
}
"""What is drawn on each page, by the name of the comments that it stands between."""


def redrawn(page: str, name: str) -> str:
    """Return the text of the page of that name with all of it drawn anew."""
    for mark, draw in PAGES[name].items():
        begin, end = f"<!-- {mark} -->\n", f"\n<!-- /{mark} -->"
        between = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        drawn = begin + draw() + end
        page, count = between.subn(lambda _, drawn=drawn: drawn, page)  # type: ignore[misc] # bound now
        if count != 1:
            raise ValueError(f"{name}: expected one {begin.strip()}, got {count}")
    return page


if __name__ == "__main__":
    for each in PAGES:
        path = HERE / each
        path.write_text(redrawn(path.read_text(encoding="utf-8"), each), encoding="utf-8")
