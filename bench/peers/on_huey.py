"""huey's storage on SQLite: the queue below its tasks. A pop deletes; there are no batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from _embedded import measures
from _measured import answer
from huey.storage import SqliteStorage

if TYPE_CHECKING:
    from pathlib import Path


class Queue:
    def __init__(self, folder: Path, mode: str) -> None:
        self.storage = SqliteStorage(filename=str(folder / "huey.db"))
        full = {"process": "NORMAL", "power": "FULL"}[mode]
        self.storage.conn.execute(f"PRAGMA synchronous = {full}")

    async def push(self, values: list[bytes]) -> None:
        for value in values:
            self.storage.enqueue(value)
        await trio.lowlevel.checkpoint()

    async def pop(self, limit: int) -> int:
        popped = 0
        while popped < limit and self.storage.dequeue() is not None:
            popped += 1
        await trio.lowlevel.checkpoint()
        return popped

    def close(self) -> None:
        self.storage.close()


answer(measures(Queue))
