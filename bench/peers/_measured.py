"""What every measuring script shares: how it is called, how it answers, how big a process is.

Imported by each peer's interpreter too, so it needs nothing but the standard library.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CASTS_A_CALL = 1000  # casts between two calls that wait until they are handled: fits a mailbox
IDLE_SECONDS = 1.0


def answer(measures: Mapping[str, Callable[[int], float]]) -> None:
    """Run the measure that the command line names; print its value as one line of JSON."""
    name, count = sys.argv[1:]
    print(json.dumps({"value": measures[name](int(count))}))


def resident_kb() -> float:
    """Return how much memory the process has, without garbage (Linux)."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024
