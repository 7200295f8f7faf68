"""Ours: a timed queue in a store on the disk. ``python -m bench._durable MEASURE COUNT``.

Each measure runs in a process and a temporary directory of its own. Rates are per second of
wall-clock time: a commit waits for the disk. ``memory`` is the memory store, for comparison.
"""

from __future__ import annotations

import gc
import logging
import tempfile
import time
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import structlog
import trio

from bench.peers._embedded import BATCH, MODES, bytes_in, values
from bench.peers._jobs import quantile
from bench.peers._measured import answer
from queueactors import Reservation, TimedQueue, open_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

T = TypeVar("T")

MEMORY = "memory"
FILL = 1_000  # messages of one insert while the queue is filled
NAP = 0.001  # seconds that the second task sleeps
BUSY = 0.000_2  # seconds that the busy task computes between two checkpoints


@asynccontextmanager
async def stored(folder: Path, mode: str) -> AsyncIterator[TimedQueue]:
    """Open a runtime with a queue in a directory, or in memory."""
    queue = {"kind": "timed", "reservation_time": "1h"}
    config: dict[str, object] = {"queue": {"jobs": queue}}
    if mode != MEMORY:
        queue["store"] = "disk"
        config["runtime"] = {"data_dir": str(folder)}
        config["store"] = {"disk": {"type": "sqlite", "durability": mode}}
    async with open_runtime(config) as runtime:
        yield runtime.queue("jobs")


@asynccontextmanager
async def new(mode: str) -> AsyncIterator[TimedQueue]:
    """Open a queue in a new directory."""
    with tempfile.TemporaryDirectory() as folder:
        async with stored(Path(folder), mode) as queue:
            yield queue


def shared(count: int, tasks: int) -> list[int]:
    """Return how many messages each task has to do."""
    return [max(count // tasks, 1)] * tasks


async def fill(queue: TimedQueue, count: int) -> None:
    source = values()
    for first in range(0, count, FILL):
        await queue.insert(*islice(source, min(FILL, count - first)))


async def taken(queue: TimedQueue, count: int) -> list[Reservation]:
    """Fill the queue and reserve all of it."""
    await fill(queue, count)
    reservations: list[Reservation] = []
    while len(reservations) < count:
        reservations += await queue.reserve_many(min(FILL, count - len(reservations)))
    return reservations


# -- what one task does --------------------------------------------------------------------------


async def inserts(queue: TimedQueue, count: int) -> None:
    for value in islice(values(), count):
        await queue.insert(value)


async def insert_batches(queue: TimedQueue, count: int) -> None:
    source = values()
    for _ in range(count // BATCH):
        await queue.insert(*islice(source, BATCH))


async def reserves(queue: TimedQueue, count: int) -> None:
    for _ in range(count):
        await queue.reserve()


async def deletes(queue: TimedQueue, reservations: list[Reservation]) -> None:
    for reservation in reservations:
        await queue.delete(reservation)


async def cycles(queue: TimedQueue, count: int) -> None:
    for value in islice(values(), count):
        await queue.insert(value)
        await queue.delete(await queue.reserve())


async def batches(queue: TimedQueue, count: int) -> None:
    source = values()
    for _ in range(count // BATCH):
        await queue.insert(*islice(source, BATCH))
        await queue.delete(*await queue.reserve_many(BATCH))


# -- how fast ------------------------------------------------------------------------------------


async def seconds(
    queue: TimedQueue, work: Callable[[TimedQueue, T], Awaitable[None]], shares: Sequence[T]
) -> float:
    """Return how long tasks take that do a share of the work each."""
    begin = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for share in shares:
            nursery.start_soon(work, queue, share)
    return time.perf_counter() - begin


async def rate(
    mode: str,
    work: Callable[[TimedQueue, int], Awaitable[None]],
    tasks: int,
    count: int,
    *,
    filled: bool = False,
) -> float:
    """Return the messages a second."""
    async with new(mode) as queue:
        shares = shared(count, tasks)
        if filled:
            await fill(queue, sum(shares))
        return sum(shares) / await seconds(queue, work, shares)


async def delete_rate(mode: str, tasks: int, count: int) -> float:
    async with new(mode) as queue:
        reservations = await taken(queue, count)
        shares = [reservations[task::tasks] for task in range(tasks)]
        return count / await seconds(queue, deletes, shares)


async def busy_rate(mode: str, tasks: int, count: int) -> float:
    """Return the inserts a second beside a task that computes all the time."""

    async def compute() -> None:
        while True:
            until = time.perf_counter() + BUSY
            while time.perf_counter() < until:
                pass
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(compute)
        found = await rate(mode, inserts, tasks, count)
        nursery.cancel_scope.cancel()
    return found


# -- how long ------------------------------------------------------------------------------------


async def latency(mode: str, tasks: int, percentile: int, count: int) -> float:
    """Return a percentile of how long a call takes, in microseconds."""
    spent: list[float] = []

    async def timed_inserts(queue: TimedQueue, count: int) -> None:
        for value in islice(values(), count):
            begin = time.perf_counter()
            await queue.insert(value)
            spent.append(time.perf_counter() - begin)

    await rate(mode, timed_inserts, tasks, count)
    return quantile(spent, percentile) * 1e6


async def jitter(mode: str, tasks: int, percentile: int, count: int) -> float:
    """Return a percentile of the milliseconds by which a second task wakes late."""
    late: list[float] = []

    async def nap() -> None:
        while True:
            due = time.perf_counter() + NAP
            try:
                await trio.sleep(NAP)
            finally:  # also when it is cancelled, be it early
                late.append(max(time.perf_counter() - due, 0.0))

    async with new(mode) as queue, trio.open_nursery() as nursery:
        nursery.start_soon(nap)
        await seconds(queue, inserts, shared(count, tasks))
        nursery.cancel_scope.cancel()
    return quantile(late, percentile) * 1e3


async def reopen(count: int) -> float:
    """Return the milliseconds from nothing to the first answer of a queue that is on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        async with stored(Path(folder), "process") as queue:
            await fill(queue, count)
        gc.collect()
        begin = time.perf_counter()
        async with stored(Path(folder), "process") as queue:
            length = await queue.len()
            spent = time.perf_counter() - begin
    assert length == count
    return spent * 1e3


# -- how much ------------------------------------------------------------------------------------


async def size(count: int, *, closed: bool) -> float:
    """Return the megabytes on the disk after so many messages came and went."""
    with tempfile.TemporaryDirectory() as folder:
        async with stored(Path(folder), "process") as queue:
            await batches(queue, count)
            found = bytes_in(Path(folder))
        return (bytes_in(Path(folder)) if closed else found) / 1e6


def _measures(mode: str) -> dict[str, Callable[[int], Awaitable[float]]]:
    found: dict[str, Callable[[int], Awaitable[float]]] = {
        "insert_batches": partial(rate, mode, insert_batches, 1),
        "batches": partial(rate, mode, batches, 1),
        "busy_50": partial(busy_rate, mode, 50),
        "longest_50": partial(jitter, mode, 50, 100),
        "late_50": partial(jitter, mode, 50, 99),
    }
    for tasks in (1, 50, 500):
        found[f"inserts_{tasks}"] = partial(rate, mode, inserts, tasks)
        found[f"reserves_{tasks}"] = partial(rate, mode, reserves, tasks, filled=True)
        found[f"deletes_{tasks}"] = partial(delete_rate, mode, tasks)
        found[f"cycles_{tasks}"] = partial(rate, mode, cycles, tasks)
        for percentile in (50, 99):
            found[f"p{percentile}_{tasks}"] = partial(latency, mode, tasks, percentile)
    return {f"{mode}_{name}": measure for name, measure in found.items()}


MEASURES = {
    name: measure for mode in (*MODES, MEMORY) for name, measure in _measures(mode).items()
} | {
    "size_open": partial(size, closed=False),
    "size": partial(size, closed=True),
    "reopen": reopen,
}


def run(name: str, count: int) -> float:
    """Run one of them in this process."""
    return trio.run(MEASURES[name], count)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    answer({name: partial(run, name) for name in MEASURES})
