"""The word count that survives ``kill -9``: the queue is a file, and so is each result.

A message whose handler was killed comes again: at least once. So a handler does what may be done
twice: it writes its result to a file that has the name of the message's id, which never changes.

Run as a program it prints the files to count, as lines for ``queueactors import``.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import trio
import wordcount

if TYPE_CHECKING:
    from queueactors import DeadLetter, Delivery

RESULTS = Path("var/counts")


def count(delivery: Delivery) -> None:
    """Count one file: the handler of the queue ``files``."""
    path = str(delivery.value)
    _write(delivery.id, {"path": path, "counts": Counter(wordcount.identifiers(path))})


def note(delivery: Delivery) -> None:
    """Note a file that failed too often: the handler of the queue ``unreadable``."""
    letter: DeadLetter = delivery.value  # type: ignore[assignment] # what that queue holds
    _write(letter.id, {"path": letter.value, "error": letter.error})


def _write(message: int, result: dict[str, object]) -> None:
    """Write a result, all of it or nothing."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    part = RESULTS / f"{message}.part"
    part.write_text(json.dumps(result), encoding="utf-8")
    part.replace(RESULTS / f"{message}.json")


def _collect() -> None:
    """Read the results of all runs."""
    for file in RESULTS.glob("*.json"):
        result = json.loads(file.read_text("utf-8"))
        if "counts" in result:
            wordcount.counted[result["path"]] = Counter(result["counts"])
        else:
            wordcount.unreadable[result["path"]] = result["error"]


async def reporter(*, task_status: trio.TaskStatus[None]) -> None:
    """Print the result at the end, from the results of all runs."""
    task_status.started()
    try:
        await trio.sleep_forever()
    finally:
        _collect()
        print(wordcount.report())


if __name__ == "__main__":
    for path in wordcount.files():
        print(json.dumps({"value": path}))
