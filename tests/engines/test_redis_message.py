"""The Redis store keeps the contract of a message queue."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from queueactors.stores._redis import RedisStore
from queueactors.testing import MESSAGE_RULES, TimedRule, rule_name
from queueactors.testing._timed_kit import a_runtime

from .redis_kit import no_jumps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from queueactors import Claim, MessageQueue
    from supervisors import PendingReply


@pytest.mark.parametrize("rule", MESSAGE_RULES, ids=rule_name)
async def test_it_keeps_the_contract(
    rule: TimedRule, valkey: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_jumps(monkeypatch)

    await rule(lambda: RedisStore(url=valkey, prefix=uuid4().hex, clock="caller"))


@asynccontextmanager
async def runtimes(
    valkey: str, many: int = 2, **options: object
) -> AsyncIterator[list[MessageQueue]]:
    """Return the same queue as several runtimes have it; nobody asks in case a word was lost."""
    prefix = uuid4().hex

    def make() -> RedisStore:
        return RedisStore(url=valkey, prefix=prefix, poll=600)

    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(a_runtime(make)) for _ in range(many)]
        with trio.fail_after(5):
            yield [await each.define("q", kind="message", **options) for each in opened]


async def waits(queue: MessageQueue) -> PendingReply[Claim]:
    """Return a claim that waits."""
    claim = queue.submit.claim()
    await queue.len()
    return claim


@asynccontextmanager
async def leaves(queue: MessageQueue) -> AsyncIterator[None]:
    """Let somebody wait for a message, and leave."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.claim)
        await wait_all_tasks_blocked()
        await queue.len()
        yield
        nursery.cancel_scope.cancel()


async def test_those_who_wait_elsewhere_are_told_of_each_message(valkey: str) -> None:
    async with runtimes(valkey) as (here, there):
        claims = [await waits(there) for _ in range(3)]

        for mid, claim in zip("abc", claims, strict=True):
            await here.enqueue("-", mid)
            assert (await claim.get()).mid == mid


async def test_those_who_wait_elsewhere_are_told_of_a_new_deadline(valkey: str) -> None:
    async with runtimes(valkey) as (here, there):
        waiting = await waits(there)

        for seconds in (9, 8, 0.03):
            await here.enqueue("-", f"{seconds}", init_backoff=seconds)

        assert (await waiting.get()).mid == "0.03"


async def test_those_who_wait_elsewhere_are_told_of_the_end_of_a_pause(valkey: str) -> None:
    async with runtimes(valkey, 3) as (here, there, yonder):
        waiting = [await waits(there), await waits(yonder)]

        await here.pause(0.03)
        for mid in "ab":
            await here.enqueue("-", mid)

        assert {(await each.get()).mid for each in waiting} == {"a", "b"}


async def test_those_who_wait_elsewhere_are_all_told_that_a_pause_is_over(valkey: str) -> None:
    async with runtimes(valkey, 3) as (here, there, yonder):
        await here.pause()
        for mid in "ab":
            await here.enqueue("-", mid)
        waiting = [await waits(there), await waits(yonder)]

        await here.resume()

        assert {(await each.get()).mid for each in waiting} == {"a", "b"}


async def test_those_who_wait_elsewhere_are_told_of_room(valkey: str) -> None:
    async with runtimes(valkey, max_length=1) as (here, there):
        await here.enqueue("-", "a")
        claim = await here.claim()
        waiting = there.submit.wait_enqueue("-", "b")
        await there.len()

        await claim.finish()

        assert (await waiting.get()).action == "added"


async def test_who_is_told_of_a_message_and_has_left_passes_it_on(valkey: str) -> None:
    async with runtimes(valkey, 3) as (here, there, yonder):
        async with leaves(there):
            waiting = await waits(yonder)

        await here.enqueue("-", "a")

        assert (await waiting.get()).mid == "a"


async def test_who_knows_a_deadline_and_leaves_passes_it_on(valkey: str) -> None:
    async with runtimes(valkey, 3) as (here, there, yonder):
        async with leaves(there):
            waiting = await waits(yonder)
            await here.enqueue("-", "a", init_backoff=0.05)
            await trio.sleep(0.02)  # it is told

        assert (await waiting.get()).mid == "a"


async def test_who_knows_a_deadline_and_is_served_passes_it_on(valkey: str) -> None:
    async with runtimes(valkey, 3) as (here, there, yonder):
        first, second = await waits(there), await waits(yonder)
        await here.enqueue("-", "late", init_backoff=0.05)
        await trio.sleep(0.02)  # it is told

        await there.enqueue("-", "soon")

        assert ((await first.get()).mid, (await second.get()).mid) == ("soon", "late")
