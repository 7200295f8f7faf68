"""Pauses: until when a queue hands nothing out."""

from __future__ import annotations

from typing import Final

FOR_EVER: Final = -1  # until it is resumed


def is_paused(until: int | None, now: int) -> bool:
    """Return whether a pause ``until`` an instant (None: there is none) goes on at ``now``."""
    return until is not None and (until == FOR_EVER or now < until)
