"""taskiq: worker and producer in one loop, a list on the server, no results, and its own JSON.

That carries no bytes: a message is text of the same length. Jobs are enqueued by `asyncio.gather`,
a hundred at a time. Its worker waits for a job in `BRPOP`.
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
    AsyncioCountdown,
    AsyncioEntrance,
    chunks,
    enqueued,
    measures,
)
from _measured import answer
from _server import server
from redis.asyncio import Redis
from taskiq import TaskiqMiddleware
from taskiq.api import run_receiver_task
from taskiq_redis import ListQueueBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

NAME = "bench"  # of its list


def text(value: bytes) -> str:
    """Return text as long as the value, in place of it."""
    return value[: len(value) // 2].hex()


class Finished(TaskiqMiddleware):
    """Says that a job is finished, and that is written."""

    def __init__(self, told: Callable[[], object]) -> None:
        super().__init__()
        self._told = told

    async def post_save(self, *_result: object) -> None:
        await self._told()


@asynccontextmanager
async def broker(
    mode: str, handler: Callable[[], None], *middlewares: TaskiqMiddleware
) -> AsyncIterator[tuple[ListQueueBroker, Callable[[bytes], object]]]:
    """Open a broker on a new server; give it, and what enqueues."""

    async def job(_value: str) -> None:
        handler()

    with server(mode) as running:
        found = ListQueueBroker(running.connection_url, queue_name=NAME)
        found = found.with_middlewares(*middlewares)
        task = found.register_task(job, task_name="job")
        await found.startup()
        yield found, lambda value: task.kiq(text(value))
        await found.shutdown()


async def left_on(found: ListQueueBroker) -> int:
    async with Redis(connection_pool=found.connection_pool) as redis:
        return await redis.llen(NAME)


@asynccontextmanager
async def worker(
    mode: str, concurrency: int, handler: Callable[[], None], *middlewares: TaskiqMiddleware
) -> AsyncIterator[Callable[[bytes], object]]:
    """Run a worker on a new server; give what enqueues."""
    async with broker(mode, handler, *middlewares) as (found, enqueue):
        task = asyncio.create_task(run_receiver_task(found, max_async_tasks=concurrency))
        yield enqueue
        assert not await left_on(found)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def rate(mode: str, concurrency: int, count: int) -> float:
    left = AsyncioCountdown(count)
    async with worker(mode, concurrency, lambda: None, Finished(left.one)) as enqueue:
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
    async with broker("memory", lambda: None) as (found, enqueue):
        rate = await enqueued(enqueue, values(), tasks, count)
        assert await left_on(found) == count // tasks * tasks
        return rate


def run(work: Callable[..., object], *arguments: object) -> object:
    return asyncio.run(work(*arguments))


answer(
    measures(partial(run, rate), partial(run, waits))
    | {f"enqueues_{tasks}": partial(run, enqueues, tasks) for tasks in CONCURRENCIES}
)
