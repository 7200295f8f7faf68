"""Capacity and log queues on a server, shared by two runtimes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import trio

from queueactors import CapacityQueue, Config, LogQueue, open_runtime
from queueactors.config import StoreConfig
from queueactors.stores._redis import RedisStore

from .redis_direct import Direct

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Any

    from queueactors import Runtime
    from tests.conftest import Events

TIMES: dict[str, dict[str, object]] = {"timed": {"reservation_time": 30}}
POLL = 30.0  # seconds: who is not told, waits so long


@asynccontextmanager
async def a_runtime(url: str, prefix: str) -> AsyncIterator[Runtime]:
    store = StoreConfig(
        type="redis", factory=lambda: RedisStore(url=url, prefix=prefix, poll=POLL), options={}
    )
    async with open_runtime(Config(stores={"memory": store})) as runtime:
        yield runtime


@asynccontextmanager
async def a_queue(url: str, prefix: str, kind: str, **options: object) -> AsyncIterator[Any]:  # type: ignore[explicit-any] # of either kind
    """Return the queue of a runtime of its own."""
    async with a_runtime(url, prefix) as runtime:
        yield await runtime.define("q", kind=kind, **options)


@asynccontextmanager
async def two(  # type: ignore[explicit-any] # likewise
    url: str, kind: str, prefix: str | None = None, **options: object
) -> AsyncIterator[tuple[Any, Any]]:
    """Return one queue as two runtimes have it."""
    prefix = prefix or uuid4().hex
    with trio.fail_after(POLL / 3):
        async with (
            a_queue(url, prefix, kind, **options) as here,
            a_queue(url, prefix, kind, **options) as there,
        ):
            yield here, there


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():  # noqa: ASYNC110 - nobody tells
        await trio.sleep(0.001)


async def waits(queue: CapacityQueue | LogQueue, number: int) -> bool:
    return (await queue.statistics()).waiting == number


async def keep(answers: list[object], call: Callable[[], Awaitable[object]]) -> None:
    answers.append(await call())


async def test_a_taker_elsewhere_is_told_also_after_it_was_told_in_vain(valkey: str) -> None:
    answers: list[object] = []
    async with two(valkey, "capacity") as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(keep, answers, partial(there.wait_pop, 9))
        await until(partial(waits, there, 1))
        for _ in range(3):  # it is told, and there is nothing
            await here.resume()
            await trio.sleep(0.02)

        await here.push(b"a")

    assert answers == [[b"a"]]


async def test_a_push_elsewhere_is_told_of_room(valkey: str) -> None:
    answers: list[object] = []
    async with (
        two(valkey, "capacity", max_elements=1) as (here, there),
        trio.open_nursery() as nursery,
    ):
        await here.push(b"a")
        nursery.start_soon(keep, answers, partial(there.wait_push, b"b"))
        await until(partial(pushes, there, 1))

        assert await here.pop() == [b"a"]
        assert await here.wait_pop() == [b"b"]

    assert answers == [1]


async def pushes(queue: CapacityQueue, number: int) -> bool:
    return (await queue.statistics()).pushing == number


async def test_who_need_more_room_than_there_is_are_not_told_again_and_again(valkey: str) -> None:
    prefix = uuid4().hex
    async with (
        two(valkey, "capacity", prefix, max_elements=3) as (here, there),
        a_queue(valkey, prefix, "capacity") as yonder,
    ):
        await here.push(b"a", b"b", b"c")
        waiting = [queue.submit.wait_push(b"d", b"e") for queue in (there, yonder)]
        await until(partial(pushes, there, 1))
        await until(partial(pushes, yonder, 1))

        await here.pop()
        await here.len()
        await trio.sleep(0.02)
        before = await calls(valkey)
        await trio.sleep(0.02)

        assert await calls(valkey) == before
        assert not any(each.is_ready for each in waiting)


async def test_who_is_told_of_room_and_has_left_passes_it_on(valkey: str) -> None:
    prefix = uuid4().hex
    async with (
        two(valkey, "capacity", prefix, max_elements=1) as (here, there),
        a_queue(valkey, prefix, "capacity") as yonder,
    ):
        await here.push(b"a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(there.wait_push, b"left")
            await until(partial(pushes, there, 1))
            waiting = yonder.submit.wait_push(b"b")
            await until(partial(pushes, yonder, 1))
            nursery.cancel_scope.cancel()

        await here.pop()

        assert await waiting.get() == 1


@asynccontextmanager
async def a_dead_one(url: str, prefix: str, lane: str) -> AsyncIterator[None]:
    """Let one wait, before all others, who is told of everything and does not come."""
    tag = f"{prefix}:{{q}}:"
    direct = Direct(url)
    direct(b"ZADD", f"{tag}{lane}".encode(), b"0", b"dead")
    direct(b"SSUBSCRIBE", f"{tag}wake:dead".encode())
    try:
        yield
    finally:
        direct.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["timed", "message", "capacity"])
async def test_when_who_was_told_does_not_come_another_one_is_told(valkey: str, kind: str) -> None:
    prefix = uuid4().hex
    async with (
        two(valkey, kind, prefix, **TIMES.get(kind, {})) as (here, there),
        a_dead_one(valkey, prefix, "takers"),
    ):
        add, take = {
            "timed": ("insert", "reserve"),
            "message": ("enqueue", "claim"),
            "capacity": ("push", "wait_pop"),
        }[kind]
        waiting = getattr(there.submit, take)()
        await until(partial(waits, there, 1))

        await getattr(here, add)(b"a")

        assert await waiting.get()


@pytest.mark.slow
async def test_when_who_was_told_of_room_does_not_come_another_one_is_told(valkey: str) -> None:
    prefix = uuid4().hex
    async with two(valkey, "capacity", prefix, max_elements=1) as (here, there):
        await here.push(b"a")
        async with a_dead_one(valkey, prefix, "room"):
            waiting = there.submit.wait_push(b"b")
            await until(partial(pushes, there, 1))

            await here.pop()

            assert await waiting.get() == 1


async def test_a_reader_that_does_not_come_keeps_nobody_from_reading(valkey: str) -> None:
    prefix = uuid4().hex
    async with two(valkey, "log", prefix) as (here, there), a_dead_one(valkey, prefix, "takers"):
        waiting = there.submit.wait_next("r")
        await until(partial(waits, there, 1))

        await here.add(b"a")

        assert await waiting.get() == ([b"a"], 0)


async def calls(url: str) -> int:
    """Return how many scripts the server has run."""
    direct = Direct(url)
    told = direct(b"INFO", b"commandstats")
    direct.close()
    assert isinstance(told, bytes)
    each = [line for line in told.splitlines() if line.startswith(b"cmdstat_eval")]
    return sum(int(line.partition(b"calls=")[2].partition(b",")[0]) for line in each)


async def test_room_made_by_a_resize_is_told_elsewhere(valkey: str) -> None:
    answers: list[object] = []
    async with (
        two(valkey, "capacity", max_elements=1) as (here, there),
        trio.open_nursery() as nursery,
    ):
        await here.push(b"a")
        nursery.start_soon(keep, answers, partial(there.wait_push, b"b"))
        await until(partial(pushes, there, 1))

        await here.resize(2)

    assert answers == [1]


async def test_the_server_keeps_a_capacity_and_another_one_is_logged(
    valkey: str, events: Events
) -> None:
    prefix = uuid4().hex
    async with a_queue(valkey, prefix, "capacity", max_elements=2) as queue:
        await queue.resize(3)

    async with a_queue(valkey, prefix, "capacity", max_elements=2) as queue:
        assert await queue.push(b"a", b"b", b"c") == 3

    told = [each for each in events if each["event"] == "capacity_kept"]
    assert [(each["max_elements"], each["configured"]) for each in told] == [(3, 2)]


@pytest.mark.parametrize("kind", ["capacity", "log"])
@pytest.mark.parametrize("seconds", [0.05, None])
async def test_who_waits_elsewhere_learns_of_the_end_of_a_pause(
    valkey: str, kind: str, seconds: float | None
) -> None:
    answers: list[object] = []
    async with two(valkey, kind) as (here, there), trio.open_nursery() as nursery:
        take = there.wait_pop if kind == "capacity" else partial(there.wait_next, "r")
        nursery.start_soon(keep, answers, take)
        await until(partial(waits, there, 1))

        await here.pause(seconds)
        await (here.push if kind == "capacity" else here.add)(b"a")
        assert answers == []
        if seconds is None:
            await here.resume()

    assert answers == [[b"a"] if kind == "capacity" else ([b"a"], 0)]


async def test_every_reader_elsewhere_is_told_of_each_item(valkey: str) -> None:
    answers: list[object] = []
    async with two(valkey, "log") as (here, there):
        for number in range(3):
            async with trio.open_nursery() as nursery:
                for queue in (here, there):
                    for label in "ab":
                        read = partial(queue.wait_next, f"{label} {queue is here}")
                        nursery.start_soon(keep, answers, read)
                    await until(partial(waits, queue, 2))
                await here.add(b"%d" % number)

    assert answers == [([b"%d" % (number // 4)], 0) for number in range(12)]


async def test_a_reader_is_told_that_its_label_was_removed_elsewhere(valkey: str) -> None:
    answers: list[object] = []
    async with two(valkey, "log") as (here, there), trio.open_nursery() as nursery:
        await here.add(b"a")
        await there.next("r")
        nursery.start_soon(keep, answers, partial(there.wait_next, "r"))
        await until(partial(waits, there, 1))

        assert await here.remove_label("r")

    assert answers == [([b"a"], 0)]


@pytest.mark.parametrize("kind", ["capacity", "log"])
async def test_a_queue_that_was_dropped_begins_anew(valkey: str, kind: str) -> None:
    async with a_runtime(valkey, uuid4().hex) as runtime:
        for _ in range(3):
            queue = await runtime.define("q", kind=kind)
            add = queue.push if kind == "capacity" else queue.add
            assert (await add(b"a"), await add(b"b", b"c"), await queue.len()) == (1, 2, 3)
            await runtime.drop("q")


async def test_labels_are_one_runtimes_as_another_runtimes(valkey: str) -> None:
    async with two(valkey, "log") as (here, there):
        await here.add(b"a", b"b", b"c")
        assert await there.next("r") == ([b"a"], 0)
        assert await here.next("r") == ([b"b"], 0)
        read = await there.read("r")

        assert await here.commit("r", read.position) == 1

        assert await there.next("r") == ([], 0)
        assert await there.labels() == ["r"]


@pytest.mark.slow
async def test_none_of_very_many_readers_stands_behind_another(valkey: str) -> None:
    async with two(valkey, "log") as (here, _):
        await here.add(b"a")
        await here.next("r")
        stuck = [here.submit.wait_next("r") for _ in range(1000)]
        first = here.submit.wait_next("late")
        assert await first.get() == ([b"a"], 0)
        more = [here.submit.wait_next("r") for _ in range(20)]
        last = here.submit.wait_next("late")
        await here.len()

        await here.add(b"b")

        assert await last.get() == ([b"b"], 0)
        assert [each.is_ready for each in (*stuck, *more)] == [True] + [False] * 1019
