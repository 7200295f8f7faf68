"""A timed queue on a server, shared by several runtimes."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import trio
from trio.testing import wait_all_tasks_blocked

from queueactors.stores._redis import RedisStore
from queueactors.testing._timed_kit import a_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from queueactors import TimedQueue
    from queueactors.cores.timed import Reservation
    from supervisors import PendingReply


@asynccontextmanager
async def runtimes(valkey: str, many: int = 2) -> AsyncIterator[list[TimedQueue]]:
    """Return the same queue as several runtimes have it; nobody asks in case a word was lost."""
    prefix = uuid4().hex

    def make() -> RedisStore:
        return RedisStore(url=valkey, prefix=prefix, poll=600)

    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(a_runtime(make)) for _ in range(many)]
        with trio.fail_after(5):
            yield [await each.define("q", kind="timed", reservation_time=30) for each in opened]


async def waits(queue: TimedQueue) -> PendingReply[Reservation]:
    """Return a reservation that waits."""
    reservation = queue.submit.reserve()
    await queue.len()
    return reservation


async def test_those_who_wait_elsewhere_are_told_of_each_message(valkey: str) -> None:
    async with runtimes(valkey) as (here, there):
        for value, waiting in [(each, await waits(there)) for each in "abc"]:
            await here.insert(value)
            assert (await waiting.get()).value == value


async def test_those_who_wait_elsewhere_are_told_of_a_new_deadline(valkey: str) -> None:
    async with runtimes(valkey) as (here, there):
        waiting = await waits(there)

        for delay in (9, 8, 0.03):
            await here.insert(delay, delay=delay)

        assert (await waiting.get()).value == 0.03


async def test_those_who_wait_elsewhere_are_told_of_the_end_of_a_pause(valkey: str) -> None:
    async with runtimes(valkey, 3) as (here, there, yonder):
        waiting = [await waits(there), await waits(yonder)]

        await here.pause(0.03)
        await here.insert("a", "b")

        assert {(await each.get()).value for each in waiting} == {"a", "b"}


async def test_who_is_told_of_a_message_and_has_left_passes_it_on(valkey: str) -> None:
    async with runtimes(valkey, 3) as (here, there, yonder):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(there.reserve)
            await wait_all_tasks_blocked()
            await there.len()
            waiting = await waits(yonder)
            nursery.cancel_scope.cancel()

        await here.insert("a")

        assert (await waiting.get()).value == "a"
