"""The Redis store on a cluster: queues are where their slots are, and go where those go."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import trio

from queueactors import StoreError, open_runtime
from queueactors.stores._redis_slots import slot_of

from .redis_servers import Valkey, a_cluster, a_config, make_cluster, move_slot, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueactors import Runtime, TimedQueue

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def masters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Valkey]]:
    servers = a_cluster(tmp_path_factory.mktemp("cluster"), 3)
    with running(*servers):
        trio.run(make_cluster, servers, [])
        yield servers


def slot(prefix: str, queue: str) -> int:
    return slot_of(f"{prefix}:{{{queue}}}:head".encode())


async def a_queue(runtime: Runtime, name: str = "q") -> TimedQueue:
    return await runtime.define(name, kind="timed", reservation_time=30)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"123456789", 12739),
        (b"foo{hash_tag}", 2515),
        (b"foo{hash_tag}{another}", 2515),
        (b"foo{}{bar}", 8363),
    ],
)
def test_the_slot_of_a_key_is_that_of_its_hash_tag(key: bytes, expected: int) -> None:
    assert slot_of(key) == expected


async def test_queues_of_all_masters_are_reached_from_one_of_them(masters: list[Valkey]) -> None:
    names = ["a", "b", "c", "d", "{e}", "}f", "g{}", "%7Dh"]
    async with open_runtime(a_config(masters[1].url, uuid4().hex)) as runtime:
        for name in names:
            queue = await a_queue(runtime, name)
            assert await queue.insert(name) == 1
            taken = await queue.reserve()
            assert taken.value == name
            assert await queue.delete(taken) == 1
    held = [str(await master.ask("DBSIZE")) for master in masters]
    assert "0" not in held


async def test_a_url_may_name_servers_that_are_away(masters: list[Valkey]) -> None:
    url = f"redis://127.0.0.1:1,127.0.0.1:{masters[2].port}"
    async with open_runtime(a_config(url, uuid4().hex)) as runtime:
        assert await (await a_queue(runtime)).insert("a") == 1


async def test_who_waits_is_woken_wherever_its_queue_is(masters: list[Valkey]) -> None:
    prefix = uuid4().hex
    async with (
        open_runtime(a_config(masters[0].url, prefix)) as here,
        open_runtime(a_config(masters[1].url, prefix)) as there,
    ):
        for name in "abcdef":
            queue, other = await a_queue(here, name), await a_queue(there, name)
            taken: list[object] = []

            async def take() -> None:
                taken.append((await queue.reserve()).value)  # noqa: B023

            async with trio.open_nursery() as nursery:
                nursery.start_soon(take)
                await trio.sleep(0.05)
                await other.insert(name)
                with trio.fail_after(1):
                    while not taken:  # noqa: ASYNC110 - nobody can tell
                        await trio.sleep(0.001)


async def test_nothing_is_lost_or_doubled_when_a_slot_moves_under_load(
    masters: list[Valkey],
) -> None:
    prefix = uuid4().hex
    number = slot(prefix, "q")
    source = masters[number // -(-16384 // 3)]
    (target, *_) = [each for each in masters if each is not source]
    taken: list[object] = []
    inserted = 0
    async with open_runtime(a_config(masters[0].url, prefix, poll=60)) as runtime:
        queue = await a_queue(runtime)

        async def insert(scope: trio.CancelScope) -> None:
            nonlocal inserted
            while not scope.cancel_called:
                await queue.insert(inserted)
                inserted += 1
                await trio.sleep(0.002)

        async def take() -> None:
            while True:
                message = await queue.reserve()
                await queue.delete(message)
                taken.append(message.value)

        async with trio.open_nursery() as takers:
            takers.start_soon(take)
            async with trio.open_nursery() as inserters:
                inserters.start_soon(insert, inserters.cancel_scope)
                for _ in range(2):
                    await trio.sleep(0.1)
                    await move_slot(number, source, target)
                    source, target = target, source
                await trio.sleep(0.2)
                inserters.cancel_scope.cancel()
            with trio.fail_after(5):
                while len(taken) < inserted:  # noqa: ASYNC110 - nobody can tell
                    await trio.sleep(0.01)
            takers.cancel_scope.cancel()
    assert taken[:inserted] == list(range(inserted))
    assert len(taken) <= inserted + 1  # one may have gone in when it was cancelled


async def test_who_waits_is_woken_after_its_slot_has_moved(masters: list[Valkey]) -> None:
    prefix = uuid4().hex
    number = slot(prefix, "q")
    source = masters[number // -(-16384 // 3)]
    (target, *_) = [each for each in masters if each is not source]
    async with (
        open_runtime(a_config(masters[0].url, prefix, poll=60)) as here,
        open_runtime(a_config(masters[0].url, prefix)) as there,
        trio.open_nursery() as nursery,
    ):
        queue, other = await a_queue(here), await a_queue(there)
        taken: list[object] = []

        async def take() -> None:
            taken.append((await queue.reserve()).value)

        nursery.start_soon(take)
        await trio.sleep(0.05)
        await move_slot(number, source, target)
        await trio.sleep(0.3)
        await other.insert("a")
        with trio.fail_after(2):
            while not taken:  # noqa: ASYNC110 - nobody can tell
                await trio.sleep(0.01)
    await move_slot(number, target, source)


async def test_a_replica_takes_the_place_of_a_master_that_dies(tmp_path: object) -> None:
    servers = a_cluster(tmp_path, 3, replicas=3)  # type: ignore[arg-type] # a path
    masters, replicas = servers[:3], servers[3:]
    prefix = uuid4().hex
    dead = masters[slot(prefix, "q") // -(-16384 // 3)]
    (alive, *_) = [each for each in masters if each is not dead]
    with running(*servers):
        await make_cluster(masters, replicas)
        async with open_runtime(
            a_config(alive.url, prefix, on_failure="wait", timeout=1)
        ) as runtime:
            queue = await a_queue(runtime)
            await queue.insert("a")
            await dead.ask("WAIT", 1, 1000)

            dead.kill()

            with trio.fail_after(20):
                assert await queue.insert("b") == 1
                assert {each.value for each in await queue.reserve_many(2)} == {"a", "b"}


async def test_a_slot_that_nobody_serves_is_told(masters: list[Valkey]) -> None:
    prefix = uuid4().hex
    number = slot(prefix, "q")
    owner = masters[number // -(-16384 // 3)]
    for master in masters:
        await master.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
        await master.ask("CLUSTER", "DELSLOTS", number)
    async with open_runtime(a_config(owner.url, prefix, timeout=0.5)) as runtime:
        queue = await a_queue(runtime)
        with pytest.raises(StoreError) as caught:
            await queue.insert("a")
        assert caught.value.outcome == "not applied"
        assert "Hash slot not served" in caught.value.reason

        await owner.ask("CLUSTER", "ADDSLOTS", number)

        assert await queue.insert("a") == 1


async def test_a_full_cluster_is_drained_and_tells_those_who_wait(masters: list[Valkey]) -> None:
    url, prefix = masters[0].url, uuid4().hex
    async with (
        open_runtime(a_config(url, prefix, poll=3600)) as one,
        open_runtime(a_config(url, prefix, poll=3600)) as other,
        trio.open_nursery() as nursery,
    ):
        here, there = await a_queue(one), await a_queue(other)
        await there.insert("a")
        held = await there.reserve()
        taken: list[object] = []

        async def take() -> None:
            taken.append((await here.reserve()).value)

        nursery.start_soon(take)
        await trio.sleep(0.05)
        for each in masters:
            await each.ask("CONFIG", "SET", "maxmemory", 1)
        try:
            refused = there.submit.insert("b")
            released = there.submit.release(held)
            with pytest.raises(StoreError, match="OOM"):
                await refused.get()
            await released.get()
            with trio.fail_after(2):
                while not taken:  # noqa: ASYNC110 - nobody can tell
                    await trio.sleep(0.01)
        finally:
            for each in masters:
                await each.ask("CONFIG", "SET", "maxmemory", 0)
        assert taken == ["a"]
