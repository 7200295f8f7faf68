"""Ours: how long a deep timed queue keeps the loop. ``python -m bench._pauses MEASURE DEPTH``.

A second task yields without end and notes the longest gap between two of its turns, in
milliseconds of CPU time: so other programs on the machine do not count, while garbage
collection and whatever else the program does itself do. The clock stands still, but where it
jumps. The values are bytes; no setting of the collector is changed.
"""

from __future__ import annotations

import logging
import time
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio
from trio.testing import MockClock

from bench.peers._measured import answer
from queueactors import TimedQueue, open_runtime
from supervisors import ActorCrashedError, Operation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

BATCH = 100
LONG = 3600.0  # seconds of a reservation
SINGLES = 10  # tasks that handle one message at a time


class Watch:
    """Notes the longest gap between two turns of its task."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        last = time.thread_time()
        task_status.started()
        try:
            while True:
                await trio.lowlevel.checkpoint()
                last = self._note(last)
        finally:
            self._note(last)  # the gap at whose end it was cancelled

    def _note(self, last: float) -> float:
        now = time.thread_time()
        self.longest = max(self.longest, now - last)
        return now


@asynccontextmanager
async def watched() -> AsyncIterator[Watch]:
    """Watch the loop as long as the block runs."""
    watch = Watch()
    async with trio.open_nursery() as nursery:
        await nursery.start(watch.run)
        yield watch
        nursery.cancel_scope.cancel()


async def fill(queue: TimedQueue, depth: int) -> None:
    for first in range(0, depth, BATCH):
        numbers = range(first, min(first + BATCH, depth))
        await queue.insert(*(b"message %d" % number for number in numbers))


async def load(queue: TimedQueue, count: int) -> None:
    """Insert, reserve and delete ``count`` messages: some one by one, most in batches."""
    left = count

    async def singles() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await queue.insert(b"another %d" % left)
            await queue.delete(await queue.reserve())

    async with trio.open_nursery() as nursery:
        for _ in range(SINGLES):
            nursery.start_soon(singles)
        while left > 0:
            left -= BATCH
            await queue.insert(*(b"another %d" % (left + each) for each in range(BATCH)))
            await queue.delete(*await queue.reserve_many(BATCH))


async def filling(queue: TimedQueue, depth: int) -> float:
    """Watch while the queue grows."""
    async with watched() as watch:
        await fill(queue, depth)
    return watch.longest


async def steady(queue: TimedQueue, depth: int) -> float:
    """Watch while messages come and go; enough of them for a full garbage collection."""
    await fill(queue, depth)
    async with watched() as watch:
        await load(queue, depth // 2)
    return watch.longest


async def draining(queue: TimedQueue, depth: int) -> float:
    """Watch while all messages are reserved and deleted."""
    await fill(queue, depth)
    async with watched() as watch:
        for _ in range(0, depth, BATCH):
            await queue.delete(*await queue.reserve_many(BATCH))
    return watch.longest


async def removing(queue: TimedQueue, depth: int) -> float:
    """Watch while one call removes all messages."""
    await fill(queue, depth)
    async with watched() as watch:
        assert await queue.clear() == depth
    return watch.longest


async def expiring(queue: TimedQueue, depth: int) -> float:
    """Watch while all reservations end at the same instant, to which the clock jumps."""
    await fill(queue, depth)
    await queue.reserve_many(depth)
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    async with watched() as watch:
        clock.jump(LONG)
        while (await queue.statistics()).expired < depth:
            pass
    return watch.longest


async def restarting(queue: TimedQueue, depth: int) -> float:
    """Watch while the queue's actor crashes and comes back. A tenth is reserved."""
    await fill(queue, depth)
    await queue.reserve_many(max(depth // 10, 1))
    async with watched() as watch:
        with suppress(ActorCrashedError):
            await queue._mailbox.call(Operation("no such operation"))  # noqa: SLF001 - a crash
        assert await queue.len() == depth
    return watch.longest


async def longest_ms(
    measure: Callable[[TimedQueue, int], Awaitable[float]], depth: int, *, unique: bool = False
) -> float:
    async with open_runtime() as runtime:
        queue = await runtime.define("bench", reservation_time=LONG, unique=unique)
        return 1e3 * await measure(queue, depth)


def run(
    measure: Callable[[TimedQueue, int], Awaitable[float]], depth: int, *, unique: bool = False
) -> float:
    return trio.run(partial(longest_ms, measure, depth, unique=unique), clock=MockClock())


MEASURES: dict[str, Callable[[int], float]] = {
    "filling": partial(run, filling),
    "steady": partial(run, steady),
    "draining": partial(run, draining),
    "removing": partial(run, removing),
    "expiring": partial(run, expiring),
    "restarting": partial(run, restarting, unique=True),
}

WHAT = {
    "filling": "growing to that",
    "steady": "coming and going",
    "draining": "draining",
    "removing": "removed by one call",
    "expiring": "expiring together",
    "restarting": "crash and restart",
}

if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    answer(MEASURES)
