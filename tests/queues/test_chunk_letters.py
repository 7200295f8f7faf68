"""Dead letters that go to capacity and log queues, from every kind and from workers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import pytest
import trio

from queueactors import DeadLetter, Delivery, open_runtime
from queueactors.retry import Fixed

from .kit import Caller, settle
from .kit_batch import Process, fails
from .test_batch_letters import stores

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors import Runtime
    from queueactors.queues import AnyQueue
    from tests.conftest import Events

KINDS = ["capacity", "log"]
STORES = [("memory", "memory"), ("disk", "disk"), ("disk", "other"), ("disk", "memory")]

kinds = pytest.mark.parametrize("kind", KINDS)


async def take(queue: AnyQueue, limit: int = 1) -> list[object]:
    """Take items out of a queue of either kind; wait for the first."""
    with trio.fail_after(10):
        if queue.kind == "log":
            return cast("list[object]", (await queue.wait_next("r", limit=limit))[0])
        return cast("list[object]", await queue.wait_pop(limit))


async def put(queue: AnyQueue, *items: object) -> None:
    await (queue.add if queue.kind == "log" else queue.push)(*items)


async def timed(runtime: Runtime, store: str, **options: object) -> AnyQueue:
    """Define a queue whose messages leave it after one reservation."""
    given: dict[str, object] = {"reservation_time": 5, "max_reservations": 1, "codec": "bytes"}
    given |= {"on_exhausted": "dead", "store": store}
    return await runtime.define("q", kind="timed", **(given | options))


@pytest.mark.parametrize(("store", "target"), STORES)
@kinds
async def test_a_message_goes_to_either_kind_in_any_store(
    kind: str, store: str, target: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_runtime(stores(tmp_path)) as runtime:
        dead = await runtime.define("dead", kind=kind, store=target)
        queue = await timed(runtime, store)
        begin = queue.clock.now_ns()
        await queue.insert(b"a")
        await queue.release(await queue.reserve(), error="bad")
        await settle()

        (letter,) = await take(dead)

        assert isinstance(letter, DeadLetter)
        assert (letter.value, letter.queue, letter.attempts) == (b"a", "q", 1)
        assert (letter.error, letter.inserted_at) == ("bad", begin)
        assert await queue.len() == 0


@pytest.mark.parametrize(("store", "target"), STORES)
@kinds
async def test_a_batch_goes_to_either_kind_in_any_store(
    kind: str, store: str, target: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_runtime(stores(tmp_path)) as runtime:
        dead = await runtime.define("dead", kind=kind, store=target, codec="msgpack")
        queue = await runtime.define(
            "q",
            kind="batch",
            process=Process(always=fails),
            store=store,
            flush_size=2,
            retry=Fixed(1, 0),
            max_claims=1,
            on_exhausted="dead",
        )
        await queue.push_many(["a", "b"])
        await trio.sleep(1)

        (letter,) = cast("list[DeadLetter]", await take(dead))

        assert (letter.value, letter.queue) == (["a", "b"], "q")
        assert await queue.len() == 0


@pytest.mark.parametrize("source", ["message", "channel"])
@kinds
async def test_a_worker_posts_to_either_kind(
    kind: str, source: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async def handle(delivery: Delivery) -> None:
        raise ValueError(delivery.value)

    async with open_runtime(stores(tmp_path)) as runtime:
        dead = await runtime.define("dead", kind=kind, store="disk")
        options = {} if source == "channel" else {"store": "disk", "codec": "bytes"}
        queue = await runtime.define("jobs", kind=source, **options)
        await (queue.send(b"x") if source == "channel" else queue.enqueue(b"x"))
        await runtime.start_worker(queue, handle, max_attempts=1, dead_letter="dead")
        await trio.sleep(1)

        (letter,) = cast("list[DeadLetter]", await take(dead))

        assert (letter.value, letter.queue, letter.attempts) == (b"x", "jobs", 1)
        assert letter.error == "ValueError: b'x'"


@kinds
async def test_letters_stand_between_items_in_their_order(
    kind: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_runtime(stores(tmp_path)) as runtime:
        dead = await runtime.define("dead", kind=kind, store="disk")
        queue = await timed(runtime, "disk")
        for number in range(3):
            await put(dead, b"%d" % number)
            await queue.insert(b"lost %d" % number)
            await queue.release(await queue.reserve())
            await settle()
        await runtime.restart("dead")

        found = await take(dead, 9)

        told = [each.value if isinstance(each, DeadLetter) else each for each in found]
        assert told == [b"0", b"lost 0", b"1", b"lost 1", b"2", b"lost 2"]
        assert isinstance(found[1], DeadLetter)


@kinds
async def test_letters_outlive_the_process_among_items(
    kind: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_runtime(stores(tmp_path)) as runtime:
        dead = await runtime.define("dead", kind=kind, store="disk")
        queue = await timed(runtime, "disk")
        await put(dead, b"first")
        await queue.insert(b"a", b"b")
        for reservation in await queue.reserve_many(2):
            await queue.release(reservation)
        await settle()
        await put(dead, b"last")

    async with open_runtime(stores(tmp_path)) as runtime:
        dead = await runtime.define("dead", kind=kind, store="disk")
        queue = await timed(runtime, "disk")
        first, a, b, last = await take(dead, 9)

        assert (first, last) == (b"first", b"last")
        assert [cast("DeadLetter", each).value for each in (a, b)] == [b"a", b"b"]
        assert await queue.len() == 0


@pytest.mark.parametrize("target", ["disk", "other"])
async def test_letters_wait_for_room(
    target: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_runtime(stores(tmp_path)) as runtime:
        dead = await runtime.define("dead", kind="capacity", store=target, max_elements=1)
        queue = await timed(runtime, "disk")
        await queue.insert(b"a", b"b", b"c")
        for reservation in await queue.reserve_many(3):
            await queue.release(reservation)
        await trio.sleep(1)

        numbers = await dead.statistics()
        assert (numbers.length, numbers.pushing) == (1, 1)
        assert (await queue.statistics()).dead == 2
        letters = [(await take(dead))[0] for _ in range(3)]
        assert [cast("DeadLetter", letter).value for letter in letters] == [b"a", b"b", b"c"]
        assert await queue.len() == 0


@kinds
async def test_what_a_closed_queue_refuses_is_buried(
    kind: str, tmp_path: Path, autojump_clock: MockClock, events: Events
) -> None:
    async with open_runtime(stores(tmp_path)) as runtime:
        dead = await runtime.define("dead", kind=kind, store="disk")
        await dead.close()
        queue = await timed(runtime, "disk")
        await queue.insert(b"a")
        await queue.release(await queue.reserve())
        await trio.sleep(1)

        (message,) = await queue.peek("buried")
        refused = [event for event in events if event["event"] == "dead_letter_refused"]
        assert [event["id"] for event in refused] == [message.id]


@kinds
async def test_a_reader_that_waits_gets_the_letter(
    kind: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_runtime(stores(tmp_path)) as runtime, trio.open_nursery() as nursery:
        dead = await runtime.define("dead", kind=kind, store="disk")
        queue = await timed(runtime, "disk")
        caller = Caller(partial(take, dead))
        nursery.start_soon(caller.run)
        await queue.insert(b"a")
        await queue.reserve()
        await trio.sleep(6)

        (letter,) = caller.got
        assert cast("DeadLetter", letter).value == b"a"
