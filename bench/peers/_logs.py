"""What is measured of log and capacity queues: ours, and rocksq's. Rates per second of wall clock.

A *work* is done by some tasks at a time: in calls of one item or of `BATCH`. Needs nothing but the
standard library and trio.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

BATCH = 100
ITEM = 256  # bytes
WORKS = ("push", "pop", "add", "next")
SHAPES = {"1": (1, 1), "batch": (1, BATCH), "50": (50, 1)}  # tasks, items a call


class Both(Protocol):
    """A capacity queue and a log in a directory."""

    async def push(self, items: list[bytes]) -> None:
        """Add to the one."""

    async def pop(self, limit: int) -> int:
        """Take from the one; return how many."""

    async def add(self, items: list[bytes]) -> None:
        """Add to the other."""

    async def next(self, limit: int) -> int:
        """Read from the other; return how many."""


class Open(Protocol):
    """Opens both in a directory."""

    def __call__(self, folder: Path, /) -> AbstractAsyncContextManager[Both]:
        """Return them as a context manager."""


_RANDOM = Random(1)
_ITEMS = [_RANDOM.randbytes(ITEM) for _ in range(997)]


def items() -> Iterator[bytes]:
    """Return items without end, which do not compress."""
    return cycle(_ITEMS)


async def _do(queue: Both, work: str, count: int, size: int, spent: list[float]) -> None:
    source = items()
    for _ in range(count // size):
        begin = time.perf_counter()
        if work in {"push", "add"}:
            some = list(islice(source, size))
            begin = time.perf_counter()
            await (queue.push(some) if work == "push" else queue.add(some))
        else:
            got = await (queue.pop(size) if work == "pop" else queue.next(size))
            if got != size:
                raise AssertionError(f"expected {size} items, got {got}")
        spent.append(time.perf_counter() - begin)


async def _fill(queue: Both, work: str, count: int) -> None:
    if work == "pop":
        await _do(queue, "push", count, BATCH, [])
    elif work == "next":
        await _do(queue, "add", count, BATCH, [])


async def _rate(open_both: Open, work: str, tasks: int, size: int, count: int) -> float:
    share = max(count // tasks // BATCH, 1) * BATCH
    with tempfile.TemporaryDirectory() as folder:
        async with open_both(Path(folder)) as queue:
            await _fill(queue, work, share * tasks)
            begin = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for _ in range(tasks):
                    nursery.start_soon(_do, queue, work, share, size, [])
            return share * tasks / (time.perf_counter() - begin)


async def _latency(open_both: Open, work: str, rank: float, count: int) -> float:
    """Return a percentile of how long a call of one item takes, in microseconds."""
    spent: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with open_both(Path(folder)) as queue:
            await _fill(queue, work, count)
            await _do(queue, work, count // BATCH * BATCH, 1, spent)
    spent.sort()
    return spent[min(int(len(spent) * rank), len(spent) - 1)] * 1e6


async def _size(open_both: Open, count: int) -> float:
    """Return the megabytes on the disk after so many items came and went."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_both(Path(folder)) as queue:
            source = items()
            for _ in range(count // BATCH):
                await queue.push(list(islice(source, BATCH)))
                await queue.pop(BATCH)
            files = [path for path in Path(folder).rglob("*") if path.is_file()]  # noqa: ASYNC240 - nobody else waits
            return sum(path.stat().st_size for path in files) / 1e6


async def _reopen(open_both: Open, count: int) -> float:
    """Return the milliseconds from opening a full directory to the first items of both."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_both(Path(folder)) as queue:
            await _do(queue, "push", count, BATCH, [])
            await _do(queue, "add", count, BATCH, [])
        begin = time.perf_counter()
        async with open_both(Path(folder)) as queue:
            if (await queue.pop(1), await queue.next(1)) != (1, 1):
                raise AssertionError("expected an item of each")
            return (time.perf_counter() - begin) * 1e3


def measures(open_both: Open, suffix: str = "") -> dict[str, Callable[[int], float]]:
    """Return all measures, by name."""
    found: dict[str, Callable[[int], Awaitable[float]]] = {
        "size": partial(_size, open_both),
        "reopen": partial(_reopen, open_both),
    }
    for work in WORKS:
        for shape, (tasks, size) in SHAPES.items():
            found[f"{work}_{shape}"] = partial(_rate, open_both, work, tasks, size)
        for name, rank in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            found[f"{work}_{name}"] = partial(_latency, open_both, work, rank)
    return {f"{name}{suffix}": partial(_run, measure) for name, measure in found.items()}


def _run(measure: Callable[[int], Awaitable[float]], count: int) -> float:
    return trio.run(measure, count)
