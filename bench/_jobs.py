"""Ours: a worker on a message queue. ``python -m bench._jobs MEASURE COUNT``.

Each measure runs in a process of its own, with the worker's and the queue's options as they are
by default, but for the concurrency. ``memory`` is the memory store, ``process`` SQLite, ``redis``
a server that keeps nothing on the disk.
"""

from __future__ import annotations

import logging
import tempfile
import time
from contextlib import ExitStack, asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING

import structlog
import trio

from bench.peers._embedded import values
from bench.peers._jobs import PATIENCE, chunks, measures, pauses
from bench.peers._measured import answer
from bench.peers._server import server
from queueactors import Delivery, MessageQueue, Runtime, open_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REDIS = "redis"
STORES = {"memory": "memory", "process": "disk", REDIS: "shared"}  # by mode


@asynccontextmanager
async def new(mode: str) -> AsyncIterator[tuple[Runtime, MessageQueue]]:
    """Open a runtime with a message queue: in a new directory, or on a new server, if need be."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        config: dict[str, object] = {}
        if mode == "process":
            config["runtime"] = {"data_dir": folder}
            config["store"] = {"disk": {"type": "sqlite", "durability": mode}}
        elif mode == REDIS:
            url = stack.enter_context(server("memory")).connection_url
            config["store"] = {"shared": {"type": "redis", "url": url}}
        async with open_runtime(config) as runtime:
            store = STORES[mode]
            yield runtime, await runtime.define("jobs", kind="message", store=store)


async def rate(mode: str, concurrency: int, count: int) -> float:
    """Return the messages a second from the first enqueue to the last that is finished.

    The producer submits a hundred and waits for the last answer, which is the others' too: that is
    how it has many on their way. There is no call that enqueues several.
    """
    handled, last = 0, trio.Event()

    async def handler(_delivery: Delivery) -> None:
        nonlocal handled
        handled += 1
        if handled == count:
            last.set()

    async with new(mode) as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, concurrency=concurrency)
        begin = time.perf_counter()
        for chunk in chunks(islice(values(), count)):
            *_, reply = [queue.submit.enqueue(message) for message in chunk]
            await reply.get()
        await last.wait()
        await worker.stop()  # it waits until the last message is finished
        spent = time.perf_counter() - begin
        left = await queue.len()
    if left:
        raise AssertionError(f"expected all messages to be finished, {left} are not")
    return count / spent


async def waits(mode: str, count: int) -> list[float]:
    """Return the seconds from the call of `MessageQueue.enqueue` to the handler's first line."""
    at, entered = 0.0, trio.Event()

    async def handler(_delivery: Delivery) -> None:
        nonlocal at
        at = time.perf_counter()
        entered.set()

    found: list[float] = []
    async with new(mode) as (runtime, queue):
        await runtime.start_worker(queue, handler)
        for message, pause in zip(islice(values(), count), pauses(count), strict=True):
            await trio.sleep(pause)
            entered = trio.Event()
            begin = time.perf_counter()
            await queue.enqueue(message)
            with trio.fail_after(PATIENCE):
                await entered.wait()
            found.append(at - begin)
    return found


MEASURES = measures(
    lambda mode, concurrency, count: trio.run(rate, mode, concurrency, count),
    lambda mode, count: trio.run(waits, mode, count),
    modes=tuple(STORES),
)

if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    answer(MEASURES)
