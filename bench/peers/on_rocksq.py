"""rocksq, a queue on RocksDB: in the loop, in trio's threads, and its non-blocking flavour.

It never syncs, so there is nothing to compare with ``power``. Nothing wakes a task when an
operation of the non-blocking flavour has ended: the task polls, with a checkpoint each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from _embedded import measures
from _measured import answer
from rocksq import blocking, nonblocking

if TYPE_CHECKING:
    from pathlib import Path


class Inline:
    def __init__(self, folder: Path, _mode: str) -> None:
        self.queue = blocking.PersistentQueueWithCapacity(str(folder / "queue"))

    async def push(self, values: list[bytes]) -> None:
        self.queue.push(values)
        await trio.lowlevel.checkpoint()

    async def pop(self, limit: int) -> int:
        popped = len(self.queue.pop(limit))
        await trio.lowlevel.checkpoint()
        return popped

    def close(self) -> None:
        del self.queue  # it has no other way


class Threads(Inline):
    async def push(self, values: list[bytes]) -> None:
        await trio.to_thread.run_sync(self.queue.push, values)

    async def pop(self, limit: int) -> int:
        return len(await trio.to_thread.run_sync(self.queue.pop, limit))


class NonBlocking:
    def __init__(self, folder: Path, _mode: str) -> None:
        self.queue = nonblocking.PersistentQueueWithCapacity(str(folder / "queue"))

    async def push(self, values: list[bytes]) -> None:
        await self.answered(self.queue.push(values))

    async def pop(self, limit: int) -> int:
        return len((await self.answered(self.queue.pop(limit))).data)

    @staticmethod
    async def answered(response: nonblocking.Response) -> nonblocking.ResponseVariant:
        await trio.lowlevel.checkpoint()  # also if it is there at once: others want to run
        while not response.is_ready:
            await trio.lowlevel.checkpoint()
        return response.get()

    def close(self) -> None:
        del self.queue


answer(
    measures(Inline, ("process",))
    | measures(Threads, ("process",), "_threads")
    | measures(NonBlocking, ("process",), "_nonblocking")
)
