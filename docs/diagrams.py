"""Draws the diagram of `docs/timed-queue.md` from the core's table: ``python docs/diagrams.py``."""

from __future__ import annotations

import re
from pathlib import Path

from queueactors.cores._transitions import TRANSITIONS

PAGE = Path(__file__).parent / "timed-queue.md"
BLOCK = re.compile(r"^```mermaid\n.*?^```$", re.DOTALL | re.MULTILINE)
OUTSIDE = "[*]"  # what Mermaid writes for the beginning and for the end
NAMES = {"bury_dead": "refused there", "refilled": "refill"}  # of what users know by other names


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
    return "\n".join(lines) + "\n"


def redrawn(page: str) -> str:
    """Return a page with its diagram drawn anew."""
    return BLOCK.sub(lambda _: f"```mermaid\n{timed_queue()}```", page)


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
