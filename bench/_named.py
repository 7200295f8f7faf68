"""Ours: a message queue in a store on the disk. ``python -m bench._named MEASURE COUNT``.

Beside each stands the timed queue doing the same, see `bench._durable`.
"""

from __future__ import annotations

import logging
import tempfile
import time
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import trio

from bench._durable import MEMORY, shared
from bench.peers._embedded import BATCH, MODES, values
from bench.peers._measured import answer
from queueactors import MessageQueue, open_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@asynccontextmanager
async def new(mode: str) -> AsyncIterator[MessageQueue]:
    """Open a queue in a new directory, or in memory."""
    queue = {"kind": "message"}
    config: dict[str, object] = {"queue": {"mails": queue}}
    with tempfile.TemporaryDirectory() as folder:
        if mode != MEMORY:
            queue["store"] = "disk"
            config["runtime"] = {"data_dir": str(Path(folder))}
            config["store"] = {"disk": {"type": "sqlite", "durability": mode}}
        async with open_runtime(config) as runtime:
            yield runtime.queue("mails")


async def enqueues(queue: MessageQueue, count: int) -> None:
    for value in islice(values(), count):
        await queue.enqueue(value)


async def handles(queue: MessageQueue, count: int) -> None:
    for _ in range(count):
        await (await queue.claim()).finish()


async def cycles(queue: MessageQueue, count: int) -> None:
    for value in islice(values(), count):
        await queue.enqueue(value)
        await (await queue.claim()).finish()


async def batches(queue: MessageQueue, count: int) -> None:
    """Enqueue and finish without waiting for each, and claim many."""
    source = values()
    for _ in range(count // BATCH):
        for reply in [queue.submit.enqueue(value) for value in islice(source, BATCH)]:
            await reply.get()
        claims = await queue.claim_many(BATCH)
        for done in [queue.submit.finish(claim) for claim in claims]:
            await done.get()


async def rate(
    mode: str,
    work: Callable[[MessageQueue, int], Awaitable[None]],
    tasks: int,
    count: int,
    *,
    filled: bool = False,
) -> float:
    """Return the messages a second."""
    async with new(mode) as queue:
        shares = shared(count, tasks)
        if filled:
            for first in range(0, sum(shares), BATCH):
                size = min(BATCH, sum(shares) - first)
                for reply in [queue.submit.enqueue(each) for each in islice(values(), size)]:
                    await reply.get()
        begin = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for share in shares:
                nursery.start_soon(work, queue, share)
        return sum(shares) / (time.perf_counter() - begin)


def _measures(mode: str) -> dict[str, Callable[[int], Awaitable[float]]]:
    found: dict[str, Callable[[int], Awaitable[float]]] = {
        "batches": partial(rate, mode, batches, 1)
    }
    for tasks in (1, 50):
        found[f"enqueues_{tasks}"] = partial(rate, mode, enqueues, tasks)
        found[f"handles_{tasks}"] = partial(rate, mode, handles, tasks, filled=True)
        found[f"cycles_{tasks}"] = partial(rate, mode, cycles, tasks)
    return {f"{mode}_{name}": measure for name, measure in found.items()}


MEASURES = {name: measure for mode in (*MODES, MEMORY) for name, measure in _measures(mode).items()}


def run(name: str, count: int) -> float:
    """Run one of them in this process."""
    return trio.run(MEASURES[name], count)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    answer({name: partial(run, name) for name in MEASURES})
