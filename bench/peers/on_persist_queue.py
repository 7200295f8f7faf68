"""persist-queue's queue on SQLite. A pop deletes: it has no reservations there.

Its puts commit one by one, whatever is set; for batches it is set to commit gets together. A sync
a commit is SQLite's default; ``process`` turns that down on its connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from _embedded import measures
from _measured import answer
from persistqueue import SQLiteQueue
from persistqueue.exceptions import Empty

if TYPE_CHECKING:
    from pathlib import Path


class Queue:
    def __init__(self, folder: Path, mode: str, *, auto_commit: bool) -> None:
        self.queue = SQLiteQueue(str(folder), auto_commit=auto_commit)
        self.commit = (lambda: None) if auto_commit else self.queue.task_done
        full = {"process": "NORMAL", "power": "FULL"}[mode]
        self.queue._putter.execute(f"PRAGMA synchronous = {full}")  # noqa: SLF001 - no option

    async def push(self, values: list[bytes]) -> None:
        for value in values:
            self.queue.put(value)
        self.commit()
        await trio.lowlevel.checkpoint()

    async def pop(self, limit: int) -> int:
        popped = 0
        try:
            while popped < limit:
                self.queue.get(block=False)
                popped += 1
        except Empty:
            pass
        self.commit()
        await trio.lowlevel.checkpoint()
        return popped

    def close(self) -> None:
        self.queue.close()


def one_by_one(folder: Path, mode: str) -> Queue:
    return Queue(folder, mode, auto_commit=True)


def in_batches(folder: Path, mode: str) -> Queue:
    return Queue(folder, mode, auto_commit=False)


singles, batches = measures(one_by_one), measures(in_batches)
answer({name: (batches if "batches" in name else singles)[name] for name in singles})
