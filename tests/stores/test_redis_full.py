"""A server that has no memory left: it takes nothing in, and can be drained."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import trio

from queueactors import StoreError, open_runtime

from .redis_servers import Valkey, a_config, free_ports, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from queueactors import Runtime, TimedQueue
    from tests.conftest import Events


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    made = Valkey(tmp_path_factory.mktemp("valkey"), free_ports(1)[0])
    with running(made):
        yield made


@asynccontextmanager
async def full(server: Valkey) -> AsyncIterator[None]:
    """Let a server have no memory for a while."""
    await server.ask("CONFIG", "SET", "maxmemory", 1)
    try:
        yield
    finally:
        await server.ask("CONFIG", "SET", "maxmemory", 0)


@asynccontextmanager
async def a_runtime(server: Valkey, **options: object) -> AsyncIterator[Runtime]:
    async with open_runtime(a_config(server.url, uuid4().hex, **options)) as runtime:
        yield runtime


async def a_queue(runtime: Runtime, **options: object) -> TimedQueue:
    return await runtime.define("q", kind="timed", reservation_time=30, **options)


@pytest.mark.parametrize("on_failure", ["wait", "error"])
async def test_what_takes_out_goes_on_beside_what_puts_in(on_failure: str, server: Valkey) -> None:
    async with a_runtime(server, on_failure=on_failure) as runtime:
        queue = await a_queue(runtime)
        await queue.insert(*"abcdef")
        first, second, third, fourth, *_ = await queue.reserve_many(5)
        async with full(server):
            with trio.fail_after(2):
                refused = queue.submit.insert("g")
                deleted = queue.submit.delete(first)
                released = queue.submit.release(second, delay=60)
                touched = queue.submit.touch(third, 60)
                buried = queue.submit.bury(fourth)
                taken = queue.submit.reserve()
                await queue.pause()
                for reply in (released, touched, buried):
                    await reply.get()
                assert await deleted.get() == 1
                assert (await taken.get()).value == "f"
                with pytest.raises(StoreError, match="OOM") as caught:
                    await refused.get()
        assert caught.value.outcome == "not applied"
        numbers = await queue.statistics()
        assert (numbers.delayed, numbers.reserved, numbers.buried) == (1, 3, 1)
        assert numbers.paused
        assert numbers.inserted == 6


@pytest.mark.parametrize(
    ("kind", "options", "put", "take"),
    [
        ("message", {"lock_time": 30}, "enqueue", "claim"),
        ("capacity", {"max_elements": 9}, "push", "pop"),
        ("log", {}, "add", "next"),
    ],
)
async def test_each_kind_can_be_drained(
    kind: str, options: dict[str, object], put: str, take: str, server: Valkey
) -> None:
    async with a_runtime(server) as runtime:
        queue = await runtime.define("q", kind=kind, **options)
        given = ("label",) if kind == "log" else ()
        await getattr(queue, put)(b"a")
        async with full(server):
            refused = getattr(queue.submit, put)(b"b")
            taken = getattr(queue.submit, take)(*given)
            with trio.fail_after(2):
                with pytest.raises(StoreError, match="OOM"):
                    await refused.get()
                found = await taken.get()
                assert found
                if kind == "message":
                    await found.finish()


async def test_who_begins_to_wait_for_a_message_waits(server: Valkey) -> None:
    async with a_runtime(server) as runtime, trio.open_nursery() as nursery:
        queue = await a_queue(runtime)
        await queue.len()
        taken: list[object] = []

        async def take() -> None:
            taken.append((await queue.reserve()).value)

        async with full(server):
            with pytest.raises(trio.TooSlowError):
                await queue.reserve(timeout=0.05)
            nursery.start_soon(take)
            await trio.sleep(0.05)
        await queue.insert("a")
        with trio.fail_after(2):
            while not taken:  # noqa: ASYNC110 - nobody can tell
                await trio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"max_length": 3}, {"unique": True, "max_length": 3}])
async def test_who_puts_in_waits_for_memory_if_that_is_configured(
    options: dict[str, object], server: Valkey
) -> None:
    async with (
        a_runtime(server, on_failure="wait") as runtime,
        trio.open_nursery() as nursery,
    ):
        queue = await a_queue(runtime, **options)
        await queue.insert("a")
        inserted: list[int] = []

        async def insert(value: str) -> None:
            inserted.append(await queue.insert(value))

        async with full(server):
            for value in "bc":
                nursery.start_soon(insert, value)
                await trio.sleep(0.05)
            with pytest.raises(trio.TooSlowError):
                await queue.wait_insert("e", timeout=0.05)
            with trio.fail_after(0.5):
                await queue.delete(await queue.reserve())
            with trio.fail_after(2), trio.move_on_after(1.2) as scope:
                await queue.insert("d")  # that is tried again meanwhile
            assert scope.cancelled_caught
            assert inserted == []

        with trio.fail_after(1.5):
            while len(inserted) < 2:  # noqa: ASYNC110 - nobody can tell
                await trio.sleep(0.01)
        assert [each.value for each in await queue.reserve_many(5)] == ["b", "c"]


@pytest.mark.slow
async def test_who_waits_for_memory_and_finds_no_place_is_refused_then(server: Valkey) -> None:
    async with a_runtime(server, on_failure="wait") as runtime, trio.open_nursery() as nursery:
        queue = await a_queue(runtime, max_length=2)
        await queue.insert("a")
        told: list[str] = []

        async def insert(value: str) -> None:
            try:
                await queue.insert(value)
            except Exception as error:  # noqa: BLE001 - whatever it is
                told.append(type(error).__name__)
            else:
                told.append(value)

        async with full(server):
            for value in "bc":
                nursery.start_soon(insert, value)
                await trio.sleep(0.05)
        with trio.fail_after(2):
            while len(told) < 2:  # noqa: ASYNC110 - nobody can tell
                await trio.sleep(0.01)
        assert set(told) == {"b", "QueueFullError"}


async def test_a_server_without_memory_is_told_once(server: Valkey, events: Events) -> None:
    async with a_runtime(server) as runtime:
        queue = await a_queue(runtime)
        await queue.insert("a")
        async with full(server):
            for _ in range(3):
                with pytest.raises(StoreError, match="OOM"):
                    await queue.insert("b")
                await queue.len()
    (told,) = [each for each in events if str(each["event"]).startswith("store_")]
    assert (told["event"], told["log_level"], told["store"]) == ("store_full", "error", "memory")
    assert "OOM" in str(told["error"])


async def test_casts_that_a_full_server_refuses_are_told(server: Valkey, events: Events) -> None:
    async with a_runtime(server, on_failure="wait") as runtime:
        queue = await a_queue(runtime)
        await queue.len()
        async with full(server):
            queue.insert_nowait("a")
            await queue.len()
    (told,) = [each for each in events if each["event"] == "casts_refused"]
    assert told["outcome"] == "not applied"
