"""The Redis store, when connections are lost: nothing is lost, and nothing happens twice."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Literal
from uuid import uuid4

import pytest
import trio

from queueactors import Config, StoreError, open_runtime
from queueactors.config import StoreConfig
from queueactors.stores._redis import RedisStore
from tests.torture import TORTURE

from .redis_proxy import Proxy, a_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from queueactors import Runtime, TimedQueue

STEP: Final = max(193 // TORTURE**2, 1)  # bytes between two places


def a_config(url: str, prefix: str, **options: object) -> Config:
    def make() -> RedisStore:
        return RedisStore(url=url, prefix=prefix, **options)  # type: ignore[arg-type] # any

    return Config(stores={"memory": StoreConfig(type="redis", factory=make, options={})})


@pytest.fixture
async def proxy(valkey: str, tmp_path: Path) -> AsyncIterator[Proxy]:
    async with a_proxy(valkey, tmp_path / "proxy") as made:
        yield made


async def walk(runtime: Runtime) -> None:
    """Do a bit of everything, and look at each answer."""
    queue = await runtime.define("q", kind="timed", reservation_time=30)
    assert await queue.insert("a", "b", "c") == 3
    first, second = await queue.reserve_many(2)
    assert (first.value, second.value) == ("a", "b")
    assert await queue.delete(first) == 1
    await queue.release(second, priority=-1)
    third = await queue.reserve()
    assert (third.value, third.attempt) == ("b", 2)
    renewed = await queue.touch(third, 60)
    assert await queue.delete(renewed) == 1
    assert await queue.insert("d") == 1
    assert await queue.clear() == 2
    assert await queue.len() == 0
    numbers = await queue.statistics()
    assert (numbers.inserted, numbers.deleted, numbers.reserved_total) == (4, 2, 3)


@pytest.mark.parametrize("way", ["there", "back"])
@pytest.mark.slow
async def test_each_byte_may_be_the_last_one_of_a_connection(
    way: Literal["there", "back"], valkey: str, proxy: Proxy
) -> None:
    for _ in range(2):  # the server knows the script then
        proxy.passed = {"there": 0, "back": 0}
        async with open_runtime(a_config(proxy.url, uuid4().hex)) as runtime:
            await walk(runtime)
    bytes_passed = proxy.passed[way]
    assert bytes_passed > 1000

    for place in range(1, bytes_passed, STEP):
        proxy.passed, proxy.cut_after = {"there": 0, "back": 0}, (way, place)
        async with open_runtime(a_config(proxy.url, uuid4().hex)) as runtime:
            await walk(runtime)


@pytest.mark.slow
async def test_answers_may_come_byte_by_byte(proxy: Proxy) -> None:
    proxy.split = 1

    async with open_runtime(a_config(proxy.url, uuid4().hex)) as runtime:
        await walk(runtime)


async def test_a_server_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    config = a_config(f"unix://{tmp_path}/none", uuid4().hex)
    async with open_runtime(config) as runtime:
        queue = await runtime.define("q", kind="timed", reservation_time=30)
        with pytest.raises(StoreError) as caught:
            await queue.insert("a")
        assert caught.value.outcome == "not applied"


@pytest.mark.slow
async def test_callers_wait_for_a_server_if_they_are_to(proxy: Proxy) -> None:
    proxy.refuses = True
    config = a_config(proxy.url, uuid4().hex, on_failure="wait")
    async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
        queue = await runtime.define("q", kind="timed", reservation_time=30)
        with pytest.raises(trio.TooSlowError):
            await queue.reserve(timeout=0.05)
        nursery.start_soon(queue.insert, "a")
        with trio.move_on_after(0.05) as scope:
            await queue.reserve()
        assert scope.cancelled_caught

        proxy.refuses = False

        assert (await queue.reserve()).value == "a"


async def test_who_waits_while_the_server_is_gone_costs_nothing_and_can_time_out(
    proxy: Proxy,
) -> None:
    config = a_config(proxy.url, uuid4().hex, on_failure="wait", poll=0.1)
    async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
        queue = await runtime.define("q", kind="timed", reservation_time=30)
        nursery.start_soon(queue.reserve)
        await trio.sleep(0.02)
        nursery.start_soon(lose, proxy)
        before = queue._actor.turned  # noqa: SLF001

        with trio.fail_after(5):
            with pytest.raises(trio.TooSlowError):
                await queue.reserve(timeout=0.5)

        assert queue._actor.turned - before < 20  # noqa: SLF001
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def under_way(proxy: Proxy) -> AsyncIterator[tuple[TimedQueue, trio.Nursery]]:
    """Run a queue that waits for its server, which is gone before it could answer."""
    config = a_config(proxy.url, uuid4().hex, on_failure="wait", timeout=0.2)
    async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
        queue = await runtime.define("q", kind="timed", reservation_time=30)
        await queue.insert("a")
        proxy.hangs = True
        yield queue, nursery


async def lose(proxy: Proxy) -> None:
    """Let the server be gone after what is under way has been sent."""
    await trio.sleep(0.05)
    proxy.refuses, proxy.hangs = True, False
    await proxy.cut()


async def test_who_is_cancelled_does_not_wait_for_a_server_that_is_gone(proxy: Proxy) -> None:
    with trio.fail_after(5):
        async with under_way(proxy) as (queue, nursery):
            stays = queue.submit.insert("b")
            nursery.start_soon(lose, proxy)
            with pytest.raises(StoreError) as caught, trio.move_on_after(0.1):
                await queue.insert("c")
            assert caught.value.outcome == "unknown"
            assert not stays.is_ready

            proxy.refuses = False

            assert await stays.get() == 1


async def test_whose_time_is_up_does_not_wait_for_a_server_that_is_gone(proxy: Proxy) -> None:
    with trio.fail_after(5):
        async with under_way(proxy) as (queue, nursery):
            nursery.start_soon(lose, proxy)
            with pytest.raises(StoreError) as caught:
                await queue.reserve(timeout=0.1)
            assert caught.value.outcome == "unknown"


async def test_a_runtime_ends_though_its_queues_wait_for_a_server_that_is_gone(
    proxy: Proxy,
) -> None:
    with trio.fail_after(5):
        async with under_way(proxy) as (queue, _):
            stays = queue.submit.insert("b")
            await lose(proxy)

    with pytest.raises(StoreError) as caught:
        stays.get_nowait()
    assert caught.value.outcome == "unknown"


async def test_a_server_that_hangs_leaves_the_outcome_unknown(proxy: Proxy) -> None:
    async with open_runtime(a_config(proxy.url, uuid4().hex, timeout=0.1)) as runtime:
        queue = await runtime.define("q", kind="timed", reservation_time=30)
        await queue.insert("a")
        proxy.hangs = True
        with pytest.raises(StoreError) as caught:
            await queue.insert("b")
        assert caught.value.outcome == "unknown"
        proxy.hangs = False
        while True:
            try:
                assert await queue.insert("c") == 1
                break
            except StoreError:
                await trio.sleep(0.01)


async def test_a_queue_that_could_not_be_dropped_can_be_dropped_again(proxy: Proxy) -> None:
    async with open_runtime(a_config(proxy.url, uuid4().hex, timeout=0.1)) as runtime:
        queue = await runtime.define("q", kind="timed", reservation_time=30)
        await queue.insert("a")
        proxy.hangs = True
        with pytest.raises(StoreError):
            await runtime.drop("q")
        proxy.hangs = False

        with trio.fail_after(5):
            while "q" in runtime.queue_names():
                with suppress(StoreError):
                    await runtime.drop("q")

        queue = await runtime.define("q", kind="timed", reservation_time=30)
        assert await queue.len() == 0


async def taken_soon(taken: list[object]) -> None:
    """Wait until there is something, for a second at most."""
    with trio.fail_after(1):
        while not taken:  # noqa: ASYNC110 - nobody can tell
            await trio.sleep(0.001)


async def test_who_waits_is_served_after_a_connection_was_lost(valkey: str, proxy: Proxy) -> None:
    prefix = uuid4().hex
    async with (
        open_runtime(a_config(proxy.url, prefix)) as here,
        open_runtime(a_config(valkey, prefix)) as there,
        trio.open_nursery() as nursery,
    ):
        queue = await here.define("q", kind="timed", reservation_time=30)
        other = await there.define("q", kind="timed", reservation_time=30)
        taken: list[object] = []

        async def take() -> None:
            taken.append((await queue.reserve()).value)

        nursery.start_soon(take)
        await trio.sleep(0.05)
        await proxy.cut()
        await other.insert("a")
        await taken_soon(taken)
        assert taken == ["a"]


@pytest.mark.slow
async def test_an_insert_anywhere_wakes_who_waits_within_milliseconds(valkey: str) -> None:
    prefix = uuid4().hex
    async with (
        open_runtime(a_config(valkey, prefix)) as here,
        open_runtime(a_config(valkey, prefix)) as there,
        trio.open_nursery() as nursery,
    ):
        queue = await here.define("q", kind="timed", reservation_time=30)
        other = await there.define("q", kind="timed", reservation_time=30)
        for number in range(20):
            taken: list[object] = []

            async def take() -> None:
                taken.append((await queue.reserve()).value)  # noqa: B023

            nursery.start_soon(take)
            await trio.sleep(0.01)
            await other.insert(number)
            await taken_soon(taken)
            assert taken == [number]
