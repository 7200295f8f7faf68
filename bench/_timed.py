"""Ours: the timed queue. ``python -m bench._timed MEASURE COUNT``.

Each measure runs in a process of its own. Rates are per second of CPU time.
"""

from __future__ import annotations

import logging
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from bench.peers._measured import answer
from queueactors import TimedQueue, open_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

DEPTH = 1_000  # messages that are in the queue all the time
BATCH = 100


@asynccontextmanager
async def timed_queue() -> AsyncIterator[TimedQueue]:
    """Open a runtime with one unique timed queue, filled to `DEPTH`."""
    async with open_runtime() as runtime:
        queue = await runtime.define("bench", reservation_time=60, unique=True)
        await queue.insert(*(("filler", number) for number in range(DEPTH)))
        yield queue


async def calls(queue: TimedQueue, task: int, count: int) -> None:
    """Insert, reserve and delete, each acknowledged."""
    for number in range(count):
        await queue.insert((task, number))
        await queue.delete(await queue.reserve())


async def casts(queue: TimedQueue, task: int, count: int) -> None:
    """Insert and delete as casts, reserve acknowledged."""
    for number in range(count):
        queue.insert_nowait((task, number))
        queue.delete_nowait(await queue.reserve())


async def batches(queue: TimedQueue, task: int, count: int) -> None:
    """Do all three for many messages at a time."""
    for number in range(count // BATCH):
        await queue.insert(*((task, number, each) for each in range(BATCH)))
        await queue.delete(*await queue.reserve_many(BATCH))


async def per_second(
    work: Callable[[TimedQueue, int, int], Awaitable[None]], tasks: int, count: int
) -> float:
    """Let tasks do the work; return the messages a second."""
    async with timed_queue() as queue:
        begin = time.process_time()
        async with trio.open_nursery() as nursery:
            for task in range(tasks):
                nursery.start_soon(work, queue, task, count // tasks)
        return count / (time.process_time() - begin)


MEASURES = {
    "calls_1": partial(per_second, calls, 1),
    "calls_100": partial(per_second, calls, 100),
    "casts_1": partial(per_second, casts, 1),
    "casts_100": partial(per_second, casts, 100),
    "batches": partial(per_second, batches, 1),
}


def run(name: str, count: int) -> float:
    """Run one of them in this process."""
    return trio.run(MEASURES[name], count)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    answer({name: partial(run, name) for name in MEASURES})
