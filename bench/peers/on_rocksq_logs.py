"""rocksq's two queues: in the loop, in trio's threads, and its non-blocking flavour, polled.

It never syncs: what is compared is what survives the process.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from _logs import measures
from _measured import answer
from rocksq import StartPosition, blocking, nonblocking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TTL = 86_400
OLDEST = StartPosition.Oldest


class Inline:
    module = blocking

    def __init__(self, folder: Path) -> None:
        self.queue = self.module.PersistentQueueWithCapacity(str(folder / "queue"))
        self.log = self.module.MpmcQueue(str(folder / "log"), TTL)

    async def push(self, items: list[bytes]) -> None:
        self.queue.push(items)
        await trio.lowlevel.checkpoint()

    async def pop(self, limit: int) -> int:
        got = len(self.queue.pop(limit))
        await trio.lowlevel.checkpoint()
        return got

    async def add(self, items: list[bytes]) -> None:
        self.log.add(items)
        await trio.lowlevel.checkpoint()

    async def next(self, limit: int) -> int:
        got = len(self.log.next("label", OLDEST, limit)[0])
        await trio.lowlevel.checkpoint()
        return got

    def close(self) -> None:
        del self.queue, self.log  # they have no other way


class Threads(Inline):
    async def push(self, items: list[bytes]) -> None:
        await trio.to_thread.run_sync(self.queue.push, items)

    async def pop(self, limit: int) -> int:
        return len(await trio.to_thread.run_sync(self.queue.pop, limit))

    async def add(self, items: list[bytes]) -> None:
        await trio.to_thread.run_sync(self.log.add, items)

    async def next(self, limit: int) -> int:
        return len((await trio.to_thread.run_sync(self.log.next, "label", OLDEST, limit))[0])


class Polled(Inline):
    module = nonblocking

    async def push(self, items: list[bytes]) -> None:
        await _answered(self.queue.push(items))

    async def pop(self, limit: int) -> int:
        return len((await _answered(self.queue.pop(limit))).data)

    async def add(self, items: list[bytes]) -> None:
        await _answered(self.log.add(items))

    async def next(self, limit: int) -> int:
        return len((await _answered(self.log.next("label", OLDEST, limit))).data[0])


async def _answered(response: nonblocking.Response) -> nonblocking.ResponseVariant:
    await trio.lowlevel.checkpoint()  # also if it is there at once: others want to run
    while not response.is_ready:
        await trio.lowlevel.checkpoint()
    return response.get()


def opened(kind: type[Inline]):  # noqa: ANN201 - a context manager of it
    @asynccontextmanager
    async def opens(folder: Path) -> AsyncIterator[Inline]:
        queue = kind(folder)
        yield queue
        queue.close()

    return opens


answer(
    measures(opened(Inline))
    | measures(opened(Threads), "_threads")
    | measures(opened(Polled), "_polled")
)
