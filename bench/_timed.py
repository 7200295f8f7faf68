"""The timed queue, and a raw trio loop with the same message traffic and none of the features."""

from __future__ import annotations

import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from queueactors import TimedQueue, open_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

DEPTH = 1_000  # messages that are in the queue all the time


@asynccontextmanager
async def timed_queue() -> AsyncIterator[TimedQueue]:
    """Open a runtime with one unique timed queue, filled to `DEPTH`."""
    async with open_runtime() as runtime:
        queue = await runtime.define("bench", reservation_time=60, unique=True)
        await queue.insert(*(("filler", number) for number in range(DEPTH)))
        yield queue


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


async def _per_second(
    tasks: int, messages: int, work: Callable[[int, int], Awaitable[None]]
) -> float:
    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for task in range(tasks):
            nursery.start_soon(work, task, messages // tasks)
    return messages / (time.perf_counter() - start)


def calls(tasks: int, messages: int) -> float:
    """Insert, reserve and delete, each acknowledged: cycles a second."""

    async def run() -> float:
        async with timed_queue() as queue:

            async def work(task: int, count: int) -> None:
                for number in range(count):
                    await queue.insert((task, number))
                    await queue.delete(await queue.reserve())

            return await _per_second(tasks, messages, work)

    return trio.run(run)


def raw_calls(tasks: int, messages: int) -> float:
    """Do the same with the raw loop."""

    async def run() -> float:
        async with raw_queue() as queue:

            async def work(task: int, count: int) -> None:
                for number in range(count):
                    await queue.call("insert", ((task, number),))
                    await queue.call("delete", await queue.call("reserve", 1))

            return await _per_second(tasks, messages, work)

    return trio.run(run)


def casts(tasks: int, messages: int) -> float:
    """Insert and delete as casts, reserve acknowledged: cycles a second."""

    async def run() -> float:
        async with timed_queue() as queue:

            async def work(task: int, count: int) -> None:
                for number in range(count):
                    queue.insert_nowait((task, number))
                    queue.delete_nowait(await queue.reserve())

            return await _per_second(tasks, messages, work)

    return trio.run(run)


def raw_casts(tasks: int, messages: int) -> float:
    """Do the same with the raw loop."""

    async def run() -> float:
        async with raw_queue() as queue:

            async def work(task: int, count: int) -> None:
                for number in range(count):
                    queue.cast("insert", ((task, number),))
                    queue.cast("delete", await queue.call("reserve", 1))

            return await _per_second(tasks, messages, work)

    return trio.run(run)


def batches(size: int, messages: int) -> float:
    """Do all three for many messages at a time: messages a second."""

    async def run() -> float:
        async with timed_queue() as queue:

            async def work(_task: int, count: int) -> None:
                for number in range(0, count, size):
                    await queue.insert(*((number, each) for each in range(size)))
                    await queue.delete(*await queue.reserve_many(size))

            return await _per_second(1, messages, work)

    return trio.run(run)


def raw_batches(size: int, messages: int) -> float:
    """Do the same with the raw loop."""

    async def run() -> float:
        async with raw_queue() as queue:

            async def work(_task: int, count: int) -> None:
                for number in range(0, count, size):
                    await queue.call("insert", tuple((number, each) for each in range(size)))
                    await queue.call("delete", await queue.call("reserve", size))

            return await _per_second(1, messages, work)

    return trio.run(run)
