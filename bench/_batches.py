"""Ours: the batch queue, from the first push until all is processed.

One producer, one process worker, whose function does nothing; an item is a struct of some 60 bytes.
``python -m bench._batches MEASURE COUNT``. Each measure runs in a process and a temporary directory
of its own. Rates are items per second: of CPU time in memory, of wall-clock time in a store on the
disk, because a commit waits for it.
"""

from __future__ import annotations

import logging
import tempfile
import time
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Final, TypedDict

import msgspec
import structlog
import trio

from bench._durable import MEMORY
from bench.peers._embedded import MODES
from bench.peers._measured import answer
from queueactors import BatchQueue, open_runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

KEYS: Final = 1_000  # of what is merged
DISTINCT: Final = 10_000  # items that are pushed again and again
CALL: Final = 100  # items of one `push_many`


class Event(msgspec.Struct, gc=False):
    """An item: some 60 bytes in JSON, 50 in MessagePack. A merged one says how many it was."""

    key: int
    count: int = 1
    name: str = "GET /docs/batch-queue.html"


class Shape(TypedDict, total=False):
    """Options of a batch queue."""

    flush_size: int
    flush_pushes: int
    batches: int
    buffer: str
    merge_key: Callable[[Event], int]
    merge: Callable[[Event, Event], Event]


def key(event: Event) -> int:
    return event.key


def merge(old: Event, new: Event) -> Event:
    return Event(old.key, old.count + new.count, old.name)


SHAPES: Final[dict[str, Shape]] = {
    "1": {"flush_size": 1, "batches": 1},
    "100": {"flush_size": 100, "batches": 10},
    "1000": {"flush_size": 1000, "batches": 10},
    "merging": {
        "flush_size": 0,
        "flush_pushes": 10_000,
        "batches": 10,
        "buffer": "merging",
        "merge_key": key,
        "merge": merge,
    },
}


def events() -> Iterator[Event]:
    """Return items without end; their keys come in turn."""
    return cycle([Event(number % KEYS) for number in range(DISTINCT)])


async def push(queue: BatchQueue, count: int) -> None:
    """Push items one by one, each acknowledged."""
    for event in islice(events(), count):
        await queue.push(event)


async def nowait(queue: BatchQueue, count: int) -> None:
    """Push items one by one, as casts; when the mailbox is full, wait for one."""
    for event in islice(events(), count):
        try:
            queue.push_nowait(event)
        except trio.WouldBlock:
            await queue.push(event)


async def many(queue: BatchQueue, count: int) -> None:
    """Push items in lists, each acknowledged."""
    source = events()
    for first in range(0, count, CALL):
        await queue.push_many(list(islice(source, min(CALL, count - first))))


WAYS: Final = {"push": push, "nowait": nowait, "many": many}


async def per_second(
    mode: str, shape: Shape, work: Callable[[BatchQueue, int], Awaitable[None]], count: int
) -> float:
    """Return the items a second that are pushed and processed."""
    processed = 0
    ended = trio.Event()

    async def process(_queue: object, items: list[Event]) -> None:
        nonlocal processed
        processed += sum([event.count for event in items])
        if processed == count:
            ended.set()

    with tempfile.TemporaryDirectory() as folder:
        config: dict[str, object] = {}
        store = MEMORY
        if mode != MEMORY:
            store = "disk"
            config["runtime"] = {"data_dir": folder}
            config["store"] = {"disk": {"type": "sqlite", "durability": mode}}
        async with open_runtime(config) as runtime:
            queue = await runtime.define(
                "bench", kind="batch", process=process, store=store, type=Event, **shape
            )
            clock = time.process_time if mode == MEMORY else time.perf_counter
            begin = clock()
            await work(queue, count)
            await queue.flush()
            await ended.wait()
            return count / (clock() - begin)


MEASURES = {
    f"{mode}_{name}_{way}": partial(per_second, mode, shape, work)
    for mode in (MEMORY, *MODES)
    for name, shape in SHAPES.items()
    for way, work in WAYS.items()
}


def run(name: str, count: int) -> float:
    """Run one of them in this process."""
    return trio.run(MEASURES[name], count)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    answer({name: partial(run, name) for name in MEASURES})
