"""What every peer that keeps messages in a directory shares: the work, and how it is measured.

The peers are libraries that block. They run from trio, as ours does: called in the loop, with a
checkpoint after each call; rocksq in two more ways. Rates are per second of wall-clock time: a
commit waits for the disk. Needs nothing but the standard library and trio.
"""

from __future__ import annotations

import functools
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

VALUE_BYTES = 200
DISTINCT = 997  # values, taken in turn: a store that compresses must not find them all alike
BATCH = 100
TASKS = 50
MODES = ("process", "power")


class Queue(Protocol):
    """A queue in a directory. None of these waits for a message."""

    async def push(self, values: list[bytes]) -> None:
        """Add them: in one transaction, if it can."""

    async def pop(self, limit: int) -> int:
        """Take the first ones and finish them; return how many."""

    def close(self) -> None:
        """Let go of the directory."""


@functools.cache
def _distinct() -> list[bytes]:
    random = Random(1)
    return [random.randbytes(VALUE_BYTES) for _ in range(DISTINCT)]


def values() -> Iterator[bytes]:
    """Return values without end, which do not compress."""
    return cycle(_distinct())


def bytes_in(folder: Path) -> int:
    """Return the size of all files in a directory."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def inserts(queue: Queue, count: int) -> None:
    """Push them one by one."""
    for value in islice(values(), count):
        await queue.push([value])


async def insert_batches(queue: Queue, count: int) -> None:
    """Push them, `BATCH` at a time."""
    source = values()
    for _ in range(count // BATCH):
        await queue.push(list(islice(source, BATCH)))


async def cycles(queue: Queue, count: int) -> None:
    """Push and pop one by one."""
    for value in islice(values(), count):
        await queue.push([value])
        await queue.pop(1)


async def batches(queue: Queue, count: int) -> None:
    """Push and pop, `BATCH` at a time."""
    source = values()
    for _ in range(count // BATCH):
        await queue.push(list(islice(source, BATCH)))
        await queue.pop(BATCH)


async def pop_all(queue: Queue, count: int) -> None:
    """Check that so many are left, no more and no fewer: whoever loses messages is no peer."""
    left = 0
    while popped := await queue.pop(BATCH):
        left += popped
    if left != count:
        raise AssertionError(f"expected {count} messages to be left, got {left}")


def per_second(
    open_queue: Callable[[Path, str], Queue],
    mode: str,
    work: Callable[[Queue, int], Awaitable[None]],
    tasks: int,
) -> Callable[[int], float]:
    """Return what measures the messages a second of so many tasks."""

    async def run(count: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            queue = open_queue(Path(folder), mode)
            begin = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for _ in range(tasks):
                    nursery.start_soon(work, queue, count // tasks)
            spent = time.perf_counter() - begin
            done = count // tasks * tasks
            await pop_all(queue, done if work in (inserts, insert_batches) else 0)
            queue.close()
            return done / spent

    return lambda count: trio.run(run, count)


def size(open_queue: Callable[[Path, str], Queue], *, closed: bool) -> Callable[[int], float]:
    """Return what measures the megabytes on the disk after so many messages came and went."""

    async def run(count: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            queue = open_queue(Path(folder), "process")
            await batches(queue, count)
            found = bytes_in(Path(folder))
            queue.close()
            return (bytes_in(Path(folder)) if closed else found) / 1e6

    return lambda count: trio.run(run, count)


def reopen(open_queue: Callable[[Path, str], Queue]) -> Callable[[int], float]:
    """Return what measures the milliseconds from opening a full directory to the first pop."""

    async def run(count: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            queue = open_queue(Path(folder), "process")
            await insert_batches(queue, count)
            queue.close()
            del queue
            begin = time.perf_counter()
            queue = open_queue(Path(folder), "process")
            popped = await queue.pop(1)
            spent = time.perf_counter() - begin
            if popped != 1:
                raise AssertionError(f"expected a message to be left, got {popped}")
            queue.close()
            return spent * 1e3

    return lambda count: trio.run(run, count)


def measures(
    open_queue: Callable[[Path, str], Queue], modes: tuple[str, ...] = MODES, suffix: str = ""
) -> dict[str, Callable[[int], float]]:
    """Return all measures of a queue, by name.

    Args:
      open_queue: Opens it in a directory, in one of the modes.
      modes: Those that it has.
      suffix: Of the names: how it is called.
    """
    found: dict[str, Callable[[int], float]] = {}
    for mode in modes:
        for name, work, tasks in (
            ("inserts_1", inserts, 1),
            ("inserts_50", inserts, TASKS),
            ("insert_batches", insert_batches, 1),
            ("cycles_1", cycles, 1),
            ("cycles_50", cycles, TASKS),
            ("batches", batches, 1),
        ):
            found[f"{mode}_{name}{suffix}"] = per_second(open_queue, mode, work, tasks)
    found[f"size_open{suffix}"] = size(open_queue, closed=False)
    found[f"size{suffix}"] = size(open_queue, closed=True)
    found[f"reopen{suffix}"] = reopen(open_queue)
    return found
