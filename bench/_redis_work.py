"""What one process does on a Redis server: our queues, and the same client without them.

``python -m bench._redis_work URL WORK TASKS COUNT`` says ``ready`` when it is connected, begins at
a line of input, and prints when it began and ended, on the clock that all processes share.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, cast

import attrs
import structlog
import trio
from coredis import Redis

from bench.peers._embedded import BATCH, values
from bench.peers._jobs import PATIENCE, pauses
from queueactors import CapacityQueue, LogQueue, MessageQueue, TimedQueue, open_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    # Any arguments: some open a queue, others the client; works are done on the one or the other.
    Opened = Callable[..., AbstractAsyncContextManager[object]]  # type: ignore[explicit-any]
    Work = Callable[..., Awaitable[None]]  # type: ignore[explicit-any]
    Waits = Callable[..., Awaitable[list[float]]]  # type: ignore[explicit-any]

READY = "ready"
REST = 0.01  # seconds, at least, in which whoever is woken begins to wait again
LAST = b"last"
OPTIONS: dict[str, dict[str, object]] = {
    "timed": {"reservation_time": "1h"},
    "message": {},
    "capacity": {},
    "log": {"ttl": "1d"},
}


def config(url: str, queues: dict[str, str], clock: str = "server") -> dict[str, object]:
    """Return a configuration of queues on a server, by their names: their kinds."""
    return {
        "store": {"shared": {"type": "redis", "url": url, "timeout": "60s", "clock": clock}},
        "queue": {
            name: {"kind": kind, "store": "shared", **OPTIONS[kind]}
            for name, kind in queues.items()
        },
    }


@asynccontextmanager
async def ours(url: str, kind: str = "timed", clock: str = "server") -> AsyncIterator[object]:
    """Open a runtime with a queue."""
    async with open_runtime(config(url, {"bench": kind}, clock)) as runtime:
        yield runtime.queue("bench")


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Redis[bytes]]:
    """Open the client that the store uses, and as many connections as it likes."""
    async with Redis.from_url(url) as redis:
        async with trio.open_nursery() as nursery:
            for _ in range(redis.connection_pool.max_connections):
                nursery.start_soon(_ping, redis)
        yield redis


async def _ping(redis: Redis[bytes]) -> None:
    await redis.ping()


# -- what one task does; a number tells the tasks of all processes apart ---------------------------


async def inserts(queue: TimedQueue, _number: int, count: int) -> None:
    for value in islice(values(), count):
        await queue.insert(value)


async def insert_batches(queue: TimedQueue, _number: int, count: int) -> None:
    source = values()
    for _ in range(count // BATCH):
        await queue.insert(*islice(source, BATCH))


async def cycles(queue: TimedQueue, _number: int, count: int) -> None:
    for value in islice(values(), count):
        await queue.insert(value)
        await queue.delete(await queue.reserve())


async def batches(queue: TimedQueue, _number: int, count: int) -> None:
    source = values()
    left = 0
    for _ in range(count // BATCH):
        await queue.insert(*islice(source, BATCH))
        left += BATCH
        while left:  # others may have taken some of these, and left us some of theirs
            taken = await queue.reserve_many(left)
            await queue.delete(*taken)
            left -= len(taken)


async def enqueues(queue: MessageQueue, _number: int, count: int) -> None:
    for value in islice(values(), count):
        await queue.enqueue(value)


async def handles(queue: MessageQueue, _number: int, count: int) -> None:
    for value in islice(values(), count):
        await queue.enqueue(value)
        claim = await queue.claim()
        await claim.finish("success")


async def pushes(queue: CapacityQueue, _number: int, count: int) -> None:
    source = values()
    for _ in range(count // BATCH):
        await queue.push(*islice(source, BATCH))


async def pops(queue: CapacityQueue, _number: int, count: int) -> None:
    source = values()
    for _ in range(count // BATCH):
        await queue.push(*islice(source, BATCH))
        await queue.pop(BATCH)


async def adds(queue: LogQueue, _number: int, count: int) -> None:
    source = values()
    for _ in range(count // BATCH):
        await queue.add(*islice(source, BATCH))


async def nexts(queue: LogQueue, number: int, count: int) -> None:
    source = values()
    for _ in range(count // BATCH):
        await queue.add(*islice(source, BATCH))
        await queue.next(f"label {number}", limit=BATCH)


async def sets(redis: Redis[bytes], number: int, count: int) -> None:
    for place, value in enumerate(islice(values(), count)):
        await redis.set(f"{number}:{place}", value)


async def pipelines(redis: Redis[bytes], number: int, count: int) -> None:
    source = values()
    for first in range(0, count // BATCH * BATCH, BATCH):
        async with redis.pipeline(transaction=False) as pipeline:
            for place, value in enumerate(islice(source, BATCH), first):
                pipeline.set(f"{number}:{place}", value)


@attrs.frozen
class Job:
    """Work, and what it is done on.

    Args:
      opened: Opens that on a server.
      work: What one task does: its share of the operations, or of lists of `BATCH` of them.
      batched: Whether it does lists of `BATCH`.
      ours: Whether that is a queue.
    """

    opened: Opened
    work: Work
    batched: bool = False
    ours: bool = True


JOBS = {
    "inserts": Job(ours, inserts),
    "insert_batches": Job(ours, insert_batches, batched=True),
    "cycles": Job(ours, cycles),
    "batches": Job(ours, batches, batched=True),
    "enqueues": Job(partial(ours, kind="message"), enqueues),
    "handles": Job(partial(ours, kind="message"), handles),
    "pushes": Job(partial(ours, kind="capacity"), pushes, batched=True),
    "pops": Job(partial(ours, kind="capacity"), pops, batched=True),
    "adds": Job(partial(ours, kind="log"), adds, batched=True),
    "nexts": Job(partial(ours, kind="log"), nexts, batched=True),
    "sets": Job(client, sets, ours=False),
    "pipelines": Job(client, pipelines, batched=True, ours=False),
}


def share(job: Job, tasks: int, count: int) -> int:
    """Return how many operations each task does: at least one, or one list."""
    least = BATCH if job.batched else 1
    return max(count // tasks // least, 1) * least


async def shared(job: Job, target: object, first: int, tasks: int, each: int) -> None:
    """Let tasks do their shares at the same time."""
    async with trio.open_nursery() as nursery:
        for number in range(first, first + tasks):
            nursery.start_soon(job.work, target, number, each)


# -- wake-ups: one process waits, another one wakes it ---------------------------------------------


async def _wakes(send: Callable[[bytes], Awaitable[object]], count: int) -> list[float]:
    """Send the instant of sending, again and again, with pauses."""
    for pause in pauses(count):
        await trio.sleep(REST + pause)
        await send(repr(time.perf_counter()).encode())
    await trio.sleep(REST)
    await send(LAST)
    return []


async def _woken(receive: Callable[[], Awaitable[tuple[bytes, float]]]) -> list[float]:
    """Receive until the last; return the seconds that each took."""
    found: list[float] = []
    while True:
        with trio.fail_after(PATIENCE):
            value, at = await receive()
        if value == LAST:
            return found
        found.append(at - float(value))


async def wakes(queue: TimedQueue, count: int) -> list[float]:
    return await _wakes(queue.insert, count)


async def woken(queue: TimedQueue, _count: int) -> list[float]:
    async def receive() -> tuple[bytes, float]:
        reservation = await queue.reserve()
        at = time.perf_counter()
        await queue.delete(reservation)
        return cast("bytes", reservation.value), at

    return await _woken(receive)


async def rpush(redis: Redis[bytes], count: int) -> list[float]:
    return await _wakes(lambda value: redis.rpush("bench", [value]), count)


async def blpop(redis: Redis[bytes], _count: int) -> list[float]:
    async def receive() -> tuple[bytes, float]:
        popped = await redis.blpop(["bench"], timeout=PATIENCE)
        at = time.perf_counter()
        if popped is None:
            raise AssertionError("expected something to be popped")
        return popped[1], at

    return await _woken(receive)


WAITS: dict[str, tuple[Opened, Waits]] = {
    "wakes": (ours, wakes),
    "woken": (ours, woken),
    "rpush": (client, rpush),
    "blpop": (client, blpop),
}


async def _main(url: str, work: str, first: int, tasks: int, each: int) -> None:
    opened = WAITS[work][0] if work in WAITS else JOBS[work].opened
    async with opened(url) as target:
        print(READY, flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        waits: list[float] = []
        began = time.perf_counter()
        if work in WAITS:
            waits = await WAITS[work][1](target, each)
        else:
            await shared(JOBS[work], target, first, tasks, each)
        ended = time.perf_counter()
    print(json.dumps({"began": began, "ended": ended, "waits": waits}))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    where, what, *numbers = sys.argv[1:]
    first_number, tasks_here, share_of_each = map(int, numbers)
    trio.run(_main, where, what, first_number, tasks_here, share_of_each)
