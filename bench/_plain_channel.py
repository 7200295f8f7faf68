"""Peers of the channel queue on our own interpreter: trio's memory channel, and asyncio's queue.

``python -m bench._plain_channel MEASURE COUNT``
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

import trio

from bench._channel import LIMIT, PRODUCERS
from bench.peers._measured import answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Sends = trio.MemorySendChannel[int]
    Receives = trio.MemoryReceiveChannel[int]

# -- trio's memory channel -----------------------------------------------------------------------


async def send(sends: Sends, count: int) -> None:
    for number in range(count):
        await sends.send(number)


async def send_nowait(sends: Sends, count: int) -> None:
    for number in range(count):
        try:
            sends.send_nowait(number)
        except trio.WouldBlock:
            await sends.send(number)


async def receive(receives: Receives, count: int) -> None:
    for _ in range(count):
        await receives.receive()


async def iterate(receives: Receives, count: int) -> None:
    async for _ in receives:
        count -= 1
        if not count:
            return


async def on_trio(
    produce: Callable[[Sends, int], Awaitable[None]],
    consume: Callable[[Receives, int], Awaitable[None]],
    producers: int,
    count: int,
) -> float:
    each = count // producers
    sends, receives = trio.open_memory_channel[int](LIMIT)
    begin = time.process_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume, receives, each * producers)
        for _ in range(producers):
            nursery.start_soon(produce, sends, each)
    return each * producers / (time.process_time() - begin)


# -- asyncio's queue -----------------------------------------------------------------------------


async def put(queue: asyncio.Queue[int], count: int) -> None:
    for number in range(count):
        await queue.put(number)


async def put_nowait(queue: asyncio.Queue[int], count: int) -> None:
    for number in range(count):
        try:
            queue.put_nowait(number)
        except asyncio.QueueFull:
            await queue.put(number)


async def get(queue: asyncio.Queue[int], count: int) -> None:
    for _ in range(count):
        await queue.get()


async def on_asyncio(
    produce: Callable[[asyncio.Queue[int], int], Awaitable[None]], producers: int, count: int
) -> float:
    each = count // producers
    queue: asyncio.Queue[int] = asyncio.Queue(LIMIT)
    begin = time.process_time()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(get(queue, each * producers))]
        tasks += [group.create_task(produce(queue, each)) for _ in range(producers)]  # type: ignore[arg-type] # likewise
    return each * producers / (time.process_time() - begin)


def in_trio(
    produce: Callable[[Sends, int], Awaitable[None]],
    consume: Callable[[Receives, int], Awaitable[None]],
    producers: int,
    count: int,
) -> float:
    return trio.run(on_trio, produce, consume, producers, count)


def in_asyncio(
    produce: Callable[[asyncio.Queue[int], int], Awaitable[None]], producers: int, count: int
) -> float:
    return asyncio.run(on_asyncio(produce, producers, count))


MEASURES = {
    f"{name}_{producers}": partial(measure, producers)
    for producers in PRODUCERS
    for name, measure in (
        ("trio_send", partial(in_trio, send, receive)),
        ("trio_nowait", partial(in_trio, send_nowait, iterate)),
        ("asyncio_send", partial(in_asyncio, put)),
        ("asyncio_nowait", partial(in_asyncio, put_nowait)),
    )
}

if __name__ == "__main__":
    answer(MEASURES)
