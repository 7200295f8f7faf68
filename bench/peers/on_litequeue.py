"""litequeue: SQLite; a pop claims a message, ``done`` marks it, and the row stays until pruned.

A batch is put in one transaction; a pop opens one itself. Its values are strings.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import trio
from _embedded import measures
from _measured import answer
from litequeue import LiteQueue

if TYPE_CHECKING:
    from pathlib import Path


class Queue:
    def __init__(self, folder: Path, mode: str) -> None:
        self.queue = LiteQueue(folder / "queue.db")
        full = {"process": "NORMAL", "power": "FULL"}[mode]
        self.queue.conn.execute(f"PRAGMA synchronous = {full}")

    async def push(self, values: list[bytes]) -> None:
        with self.queue.transaction(mode="IMMEDIATE") if len(values) > 1 else nullcontext():
            for value in values:
                self.queue.put(value.decode("latin-1"))
        await trio.lowlevel.checkpoint()

    async def pop(self, limit: int) -> int:
        popped = 0
        while popped < limit and (message := self.queue.pop()) is not None:
            self.queue.done(message.message_id, claim_id=message.claim_id)
            popped += 1
        await trio.lowlevel.checkpoint()
        return popped

    def close(self) -> None:
        self.queue.close()


answer(measures(Queue))
