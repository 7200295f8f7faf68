"""Durations: a number of seconds, or a text with a unit such as ``"250ms"``."""

from __future__ import annotations

import re

SPELLING = "'250ms', '30s', '5m', '2h' or '7d'"
DURATION = r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)"
_DURATION = re.compile(DURATION)
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_duration(text: str) -> float | None:
    """Return the seconds that a text such as ``"1.5h"`` means; None: it is no duration.

    No sign, no space, one unit. A number too large for a float becomes infinite.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    return float(match[1]) * _MILLISECONDS[match[2]] / 1000
