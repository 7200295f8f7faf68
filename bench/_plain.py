"""Peers of the timed queue on our own interpreter, without its features.

A raw trio loop with the same traffic of messages; a bare memory channel of trio, and asyncio's
queue, which only send and receive. ``python -m bench._plain MEASURE COUNT``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING

import trio

from bench._timed import BATCH, DEPTH
from bench.peers._measured import answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

# -- a raw loop ----------------------------------------------------------------------------------


class RawQueue:
    """A task with a memory channel for requests and another for each answer."""

    def __init__(self) -> None:
        self._send: trio.MemorySendChannel[tuple[str, object, trio.MemorySendChannel[object]]]
        self._receive: trio.MemoryReceiveChannel[tuple[str, object, trio.MemorySendChannel[object]]]
        self._send, self._receive = trio.open_memory_channel(100_000)

    async def serve(self) -> None:
        items: deque[object] = deque()
        reserved: dict[int, object] = {}
        key = 0
        async for method, argument, reply in self._receive:
            answer: object = None
            if method == "insert":
                items.extend(argument)  # type: ignore[arg-type] # a tuple
            elif method == "reserve":
                taken: list[int] = []
                while items and len(taken) < argument:  # type: ignore[operator] # an int
                    key += 1
                    reserved[key] = items.popleft()
                    taken.append(key)
                answer = taken
            else:
                for each in argument:  # type: ignore[attr-defined] # a list of keys
                    del reserved[each]
            if reply is not None:
                reply.send_nowait(answer)

    async def call(self, method: str, argument: object) -> object:
        send, receive = trio.open_memory_channel[object](1)
        await self._send.send((method, argument, send))
        return await receive.receive()

    def cast(self, method: str, argument: object) -> None:
        self._send.send_nowait((method, argument, None))  # type: ignore[arg-type] # no reply


@asynccontextmanager
async def raw_queue() -> AsyncIterator[RawQueue]:
    """Run a raw queue, filled to `DEPTH`."""
    queue = RawQueue()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.serve)
        await queue.call("insert", tuple(("filler", number) for number in range(DEPTH)))
        yield queue
        nursery.cancel_scope.cancel()


async def raw_calls(queue: RawQueue, task: int, count: int) -> None:
    for number in range(count):
        await queue.call("insert", ((task, number),))
        await queue.call("delete", await queue.call("reserve", 1))


async def raw_casts(queue: RawQueue, task: int, count: int) -> None:
    for number in range(count):
        queue.cast("insert", ((task, number),))
        queue.cast("delete", await queue.call("reserve", 1))


async def raw_batches(queue: RawQueue, task: int, count: int) -> None:
    for number in range(count // BATCH):
        await queue.call("insert", tuple((task, number, each) for each in range(BATCH)))
        await queue.call("delete", await queue.call("reserve", BATCH))


async def raw(
    work: Callable[[RawQueue, int, int], Awaitable[None]], tasks: int, count: int
) -> float:
    async with raw_queue() as queue:
        begin = time.process_time()
        async with trio.open_nursery() as nursery:
            for task in range(tasks):
                nursery.start_soon(work, queue, task, count // tasks)
        return count / (time.process_time() - begin)


# -- trio's memory channel -----------------------------------------------------------------------


class Channel:
    """Both ends of a memory channel, filled to `DEPTH`."""

    def __init__(self) -> None:
        self.sends, self.receives = trio.open_memory_channel[object](inf)
        for number in range(DEPTH):
            self.sends.send_nowait(("filler", number))


async def channel_calls(channel: Channel, task: int, count: int) -> None:
    for number in range(count):
        await channel.sends.send((task, number))
        await channel.receives.receive()


async def channel_casts(channel: Channel, task: int, count: int) -> None:
    for number in range(count):
        channel.sends.send_nowait((task, number))
        await channel.receives.receive()


async def channel_batches(channel: Channel, task: int, count: int) -> None:
    for number in range(count // BATCH):
        for each in range(BATCH):
            channel.sends.send_nowait((task, number, each))
        await channel.receives.receive()
        for _ in range(BATCH - 1):
            channel.receives.receive_nowait()


async def channel(
    work: Callable[[Channel, int, int], Awaitable[None]], tasks: int, count: int
) -> float:
    both = Channel()
    begin = time.process_time()
    async with trio.open_nursery() as nursery:
        for task in range(tasks):
            nursery.start_soon(work, both, task, count // tasks)
    return count / (time.process_time() - begin)


# -- asyncio's queue -----------------------------------------------------------------------------

Queue = asyncio.Queue[object]


async def asyncio_calls(queue: Queue, task: int, count: int) -> None:
    for number in range(count):
        await queue.put((task, number))
        await queue.get()
        queue.task_done()


async def asyncio_casts(queue: Queue, task: int, count: int) -> None:
    for number in range(count):
        queue.put_nowait((task, number))
        await queue.get()
        queue.task_done()


async def asyncio_batches(queue: Queue, task: int, count: int) -> None:
    for number in range(count // BATCH):
        for each in range(BATCH):
            queue.put_nowait((task, number, each))
        await queue.get()
        for _ in range(BATCH - 1):
            queue.get_nowait()
        for _ in range(BATCH):
            queue.task_done()


async def on_asyncio(
    work: Callable[[Queue, int, int], Awaitable[None]], tasks: int, count: int
) -> float:
    queue = Queue()
    for number in range(DEPTH):
        queue.put_nowait(("filler", number))
    begin = time.process_time()
    await asyncio.gather(*(work(queue, task, count // tasks) for task in range(tasks)))
    return count / (time.process_time() - begin)


def _on_raw(
    work: Callable[[RawQueue, int, int], Awaitable[None]], tasks: int
) -> Callable[[int], float]:
    return lambda count: trio.run(raw, work, tasks, count)


def _on_channel(
    work: Callable[[Channel, int, int], Awaitable[None]], tasks: int
) -> Callable[[int], float]:
    return lambda count: trio.run(channel, work, tasks, count)


def _on_asyncio(
    work: Callable[[Queue, int, int], Awaitable[None]], tasks: int
) -> Callable[[int], float]:
    return lambda count: asyncio.run(on_asyncio(work, tasks, count))


MEASURES: dict[str, Callable[[int], float]] = {
    "raw_calls_1": _on_raw(raw_calls, 1),
    "raw_calls_100": _on_raw(raw_calls, 100),
    "raw_casts_1": _on_raw(raw_casts, 1),
    "raw_casts_100": _on_raw(raw_casts, 100),
    "raw_batches": _on_raw(raw_batches, 1),
    "channel_calls_1": _on_channel(channel_calls, 1),
    "channel_calls_100": _on_channel(channel_calls, 100),
    "channel_casts_1": _on_channel(channel_casts, 1),
    "channel_casts_100": _on_channel(channel_casts, 100),
    "channel_batches": _on_channel(channel_batches, 1),
    "asyncio_calls_1": _on_asyncio(asyncio_calls, 1),
    "asyncio_calls_100": _on_asyncio(asyncio_calls, 100),
    "asyncio_casts_1": _on_asyncio(asyncio_casts, 1),
    "asyncio_casts_100": _on_asyncio(asyncio_casts, 100),
    "asyncio_batches": _on_asyncio(asyncio_batches, 1),
}

if __name__ == "__main__":
    answer(MEASURES)
