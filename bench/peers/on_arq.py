"""arq: worker and producer in one loop, with no results kept.

Jobs are enqueued by `asyncio.gather`, a hundred at a time. Its worker looks for jobs each half
second, and starts as many as it may; here each millisecond ("polled"), or as it is.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from _embedded import values
from _jobs import (
    CONCURRENCIES,
    POLL,
    AsyncioCountdown,
    AsyncioEntrance,
    chunks,
    enqueued,
    measures,
)
from _measured import answer
from _server import server
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

POLLED = {"poll_delay": POLL}


@asynccontextmanager
async def worker(
    mode: str, concurrency: int, handler: Callable[[], None], **options: object
) -> AsyncIterator[Callable[[bytes], object]]:
    """Run a worker on a new server; give what enqueues."""

    async def job(_context: object, _value: bytes) -> None:
        handler()

    with server(mode) as running:
        pool = await create_pool(RedisSettings(port=running.port))
        serving = Worker(
            [func(job, name="job", keep_result=0)],
            redis_pool=pool,
            max_jobs=concurrency,
            handle_signals=False,
            **options,
        )
        task = asyncio.create_task(serving.async_run())
        yield partial(pool.enqueue_job, "job")
        assert not await pool.zcard(pool.default_queue_name)
        assert not serving.jobs_failed
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await pool.aclose()


async def rate(polling: dict[str, float], mode: str, concurrency: int, count: int) -> float:
    left = AsyncioCountdown(count)  # told when a job is finished, and that is written
    hooks = {"after_job_end": left.one}
    async with worker(mode, concurrency, lambda: None, **hooks, **polling) as enqueue:
        begin = time.perf_counter()
        for chunk in chunks(islice(values(), count)):
            await asyncio.gather(*map(enqueue, chunk))
        await left.wait()
        return count / (time.perf_counter() - begin)


async def waits(polling: dict[str, float], mode: str, count: int) -> list[float]:
    entrance = AsyncioEntrance()
    async with worker(mode, 1, entrance.enter, **polling) as enqueue:
        found = await entrance.waits(enqueue, list(islice(values(), count)))
        await asyncio.sleep(0.1)  # until the last one is finished
        return found


async def enqueues(tasks: int, count: int) -> float:
    """Return the jobs a second that are put in, without a worker."""
    with server("memory") as running:
        pool = await create_pool(RedisSettings(port=running.port))
        rate = await enqueued(partial(pool.enqueue_job, "job"), values(), tasks, count)
        assert await pool.zcard(pool.default_queue_name) == count // tasks * tasks
        await pool.aclose()
        return rate


def run(work: Callable[..., object], *arguments: object) -> object:
    return asyncio.run(work(*arguments))


answer(
    measures(None, partial(run, partial(waits, {})))
    | measures(
        partial(run, partial(rate, POLLED)), partial(run, partial(waits, POLLED)), suffix="_polled"
    )
    | {f"enqueues_{tasks}": partial(run, enqueues, tasks) for tasks in CONCURRENCIES}
)
