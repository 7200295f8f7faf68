"""What queues and workers are at, in a word: beside where their children are in their life."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queueactors.control import QueueRow, WorkerRow


def queue_words(row: QueueRow) -> list[str]:
    """Return what stands in the way of whoever takes from a queue, or puts into it."""
    numbers = row.statistics or {}
    return [word for word in ("paused", "closed") if numbers.get(word)]


def worker_state(row: WorkerRow) -> str:
    """Return the state of a worker; ``off``: it is up, and takes no messages."""
    return row.state if row.running or row.state != "running" else "off"
