"""Ours: the channel queue. ``python -m bench._channel MEASURE COUNT``.

Each measure runs in a process of its own. Rates are values per second of CPU time.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from bench.peers._measured import answer
from queueactors import ChannelQueue, open_runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Task = Callable[[ChannelQueue, int], Awaitable[None]]

LIMIT = 1024  # values that a channel holds
PRODUCERS = (1, 100)
LIMITS = (1, 64, 1024)  # of `ChannelQueue.recv_many`


async def send(queue: ChannelQueue, count: int) -> None:
    for number in range(count):
        await queue.send(number)


async def send_nowait(queue: ChannelQueue, count: int) -> None:
    for number in range(count):
        try:
            queue.send_nowait(number)
        except trio.WouldBlock:
            await queue.send(number)


async def recv(queue: ChannelQueue, count: int) -> None:
    for _ in range(count):
        await queue.recv()


async def recv_many(limit: int, queue: ChannelQueue, count: int) -> None:
    while count:
        count -= len(await queue.recv_many(limit))


async def per_second(
    produce: Task,
    consume: Task,
    producers: int,
    count: int,
) -> float:
    """Let so many tasks send, and one receive; return the values a second."""
    each = count // producers
    async with open_runtime() as runtime:
        queue = await runtime.define("bench", kind="channel", limit=LIMIT)
        begin = time.process_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume, queue, each * producers)
            for _ in range(producers):
                nursery.start_soon(produce, queue, each)
        return each * producers / (time.process_time() - begin)


WORK: dict[str, tuple[Task, Task]] = {
    "send_recv": (send, recv),
    "nowait_recv": (send_nowait, recv),
    **{f"nowait_many_{limit}": (send_nowait, partial(recv_many, limit)) for limit in LIMITS},
}
MEASURES = {
    f"{name}_{producers}": partial(per_second, *tasks, producers)
    for producers in PRODUCERS
    for name, tasks in WORK.items()
}


def run(name: str, count: int) -> float:
    """Run one of them in this process."""
    return trio.run(MEASURES[name], count)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    answer({name: partial(run, name) for name in MEASURES})
