"""saq: worker and producer in one loop, with no results kept and pickle for the bytes.

Its `batch` only cancels together. So jobs are enqueued by `asyncio.gather`, a hundred at a time,
of which the queue sends 20 at a time.
"""

from __future__ import annotations

import asyncio
import pickle
import time
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from _embedded import values
from _jobs import (
    CONCURRENCIES,
    AsyncioCountdown,
    AsyncioEntrance,
    chunks,
    enqueued,
    measures,
)
from _measured import answer
from _server import server
from saq import Queue, Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KEEP_NOTHING = -1  # a job's ttl
# A worker sweeps when it starts, and then now and then. A sweep aborts a job that has been taken
# and not yet been marked as active: so jobs come after the first one, and there is no second.
SWEPT = 0.5  # seconds after the start
TIMERS = {"sweep": 3600}


@asynccontextmanager
async def worker(
    mode: str, concurrency: int, handler: Callable[[], None], **hooks: Callable[..., object]
) -> AsyncIterator[Callable[[bytes], object]]:
    """Run a worker on a new server; give what enqueues."""

    async def job(_context: object, *, value: bytes) -> None:  # noqa: ARG001 - called by name
        handler()

    with server(mode) as running:
        queue = Queue.from_url(running.connection_url, dump=pickle.dumps, load=pickle.loads)
        serving = Worker(queue, [("job", job)], concurrency=concurrency, timers=TIMERS, **hooks)
        task = asyncio.create_task(serving.start())
        await asyncio.sleep(SWEPT)
        yield lambda value: queue.enqueue("job", ttl=KEEP_NOTHING, value=value)
        assert not await queue.count("incomplete")
        await serving.stop()
        await task
        await queue.disconnect()


async def rate(mode: str, concurrency: int, count: int) -> float:
    left = AsyncioCountdown(count)  # told when a job is finished, and that is written
    async with worker(mode, concurrency, lambda: None, after_process=left.one) as enqueue:
        begin = time.perf_counter()
        for chunk in chunks(islice(values(), count)):
            await asyncio.gather(*map(enqueue, chunk))
        await left.wait()
        return count / (time.perf_counter() - begin)


async def waits(mode: str, count: int) -> list[float]:
    entrance = AsyncioEntrance()
    async with worker(mode, 1, entrance.enter) as enqueue:
        found = await entrance.waits(enqueue, list(islice(values(), count)))
        await asyncio.sleep(0.1)  # until the last one is finished
        return found


async def enqueues(tasks: int, count: int) -> float:
    """Return the jobs a second that are put in, without a worker."""
    with server("memory") as running:
        queue = Queue.from_url(running.connection_url, dump=pickle.dumps, load=pickle.loads)
        await queue.connect()
        rate = await enqueued(
            lambda value: queue.enqueue("job", ttl=KEEP_NOTHING, value=value),
            values(),
            tasks,
            count,
        )
        assert await queue.count("queued") == count // tasks * tasks
        await queue.disconnect()
        return rate


def run(work: Callable[..., object], *arguments: object) -> object:
    return asyncio.run(work(*arguments))


answer(
    measures(partial(run, rate), partial(run, waits))
    | {f"enqueues_{tasks}": partial(run, enqueues, tasks) for tasks in CONCURRENCIES}
)
