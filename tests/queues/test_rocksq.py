"""What RocksQ's own tests check, and the defects of RocksQ that these queues do not have.

Its tests of the queue with a capacity, of the one with labels and of the flavour that does not
block, by what they are about; there expiry is forced with a compaction, here time passes.
Source: seed 004, https://github.com/insight-platform/RocksQ, version 0.3.0.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import pytest
import trio
from structlog.testing import capture_logs

from queueactors import (
    CapacityQueue,
    LogQueue,
    MemoryStore,
    QueueFullError,
    SqliteStore,
    open_runtime,
)
from queueactors.config import Config, StoreConfig

from .kit import settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors import Runtime

Start = Literal["oldest", "newest"]
TTL = 60.0

each_store = pytest.mark.parametrize("store", ["memory", "disk"])
each_start = pytest.mark.parametrize("start", ["oldest", "newest"])


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Runtime]:
    """Open a runtime over a file in that folder; a second time, it is what was left there."""
    disk = StoreConfig(
        type="sqlite",
        factory=SqliteStore,
        options={"path": str(path / "q.sqlite"), "commit": "inline"},
    )
    memory = StoreConfig(type="memory", factory=MemoryStore, options={})
    async with open_runtime(Config(stores={"disk": disk, "memory": memory})) as runtime:
        yield runtime


async def a_capacity(
    runtime: Runtime, store: str = "disk", max_elements: int = 1000
) -> CapacityQueue:
    return await runtime.define("q", kind="capacity", store=store, max_elements=max_elements)


async def a_log(runtime: Runtime, store: str = "disk", ttl: float | None = TTL) -> LogQueue:
    return await runtime.define("l", kind="log", store=store, ttl=ttl)


def some(first: int, count: int) -> list[bytes]:
    return [b"item %d" % number for number in range(first, first + count)]


# -- its PersistentQueueWithCapacity ---------------------------------------------------------------


@each_store
async def test_the_queue_is_first_in_first_out_again_and_again(
    store: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:
        queue = await a_capacity(runtime, store, 5)
        for turn in range(100):  # theirs wraps around, after 6 items in their tests
            items = some(turn * 5, 5)
            await queue.push(*items[:3])
            assert (await queue.len(), await queue.pop()) == (3, items[:1])
            await queue.push(*items[3:])
            assert (await queue.len(), await queue.pop(4)) == (4, items[1:])
            assert (await queue.len(), await queue.payload_size()) == (0, 0)


@each_store
async def test_a_push_over_the_capacity_fails_and_changes_nothing(
    store: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:
        queue = await a_capacity(runtime, store, 2)
        await queue.push(b"a")
        await queue.push(b"bb")
        with pytest.raises(QueueFullError):
            await queue.push(b"c")

        assert (await queue.len(), await queue.payload_size()) == (2, 3)
        assert await queue.pop(9) == [b"a", b"bb"]


async def test_order_and_size_outlive_a_reopening(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:
        queue = await a_capacity(runtime)
        await queue.push(*some(0, 400))
        await queue.pop(3)
        size = await queue.payload_size()

    for turn in range(3):
        async with opened(tmp_path) as runtime:
            queue = await a_capacity(runtime)
            assert (await queue.len(), await queue.payload_size()) == (397 - turn, size)
            assert await queue.pop() == some(3 + turn, 1)
            size -= len(some(3 + turn, 1)[0])


async def test_the_capacity_is_stored_and_changed_by_resize_only(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:
        queue = await a_capacity(runtime, max_elements=3)
        await queue.push(*some(0, 3))

    # Theirs is what the constructor says, each time.
    with capture_logs() as events:
        async with opened(tmp_path) as runtime:
            queue = await a_capacity(runtime, max_elements=100)
            assert (await queue.statistics()).max_elements == 3
            with pytest.raises(QueueFullError):
                await queue.push(b"x")
            await queue.resize(4)
            await queue.push(b"x")

    (event,) = [event for event in events if event["event"] == "capacity_kept"]
    assert (event["queue"], event["max_elements"], event["configured"]) == ("q", 3, 100)
    async with opened(tmp_path) as runtime:
        queue = await a_capacity(runtime, max_elements=4)
        assert ((await queue.statistics()).max_elements, await queue.len()) == (4, 4)
        with pytest.raises(QueueFullError):
            await queue.push(b"y")


async def test_a_lower_capacity_drops_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with opened(tmp_path) as runtime:
        queue = await a_capacity(runtime)
        await queue.push(*some(0, 3))
        await queue.resize(1)

    async with opened(tmp_path) as runtime:
        queue = await a_capacity(runtime, max_elements=1)
        with pytest.raises(QueueFullError):
            await queue.push(b"x")
        assert await queue.pop(2) == some(0, 2)
        with pytest.raises(QueueFullError):
            await queue.push(b"x")
        assert await queue.pop() == some(2, 1)
        assert await queue.push(b"x") == 1


async def test_a_queue_of_one_kind_is_not_opened_as_the_other(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:
        await (await a_capacity(runtime)).push(b"a")

    async with opened(tmp_path) as runtime:
        with pytest.raises(Exception, match=r"kind"):
            await runtime.define("q", kind="log", store="disk")
    async with opened(tmp_path) as runtime:
        assert await (await a_capacity(runtime)).pop() == [b"a"]


# -- its MpmcQueue ---------------------------------------------------------------------------------


async def filled(queue: LogQueue, state: str) -> list[bytes]:
    """Bring a log into a state; return what is in it."""
    match state:
        case "empty":
            return []
        case "with some":
            await queue.add(b"a", b"b", b"c")
            return [b"a", b"b", b"c"]
        case "all expired":
            await queue.add(b"a", b"b", b"c")
            await trio.sleep(TTL + 5)
            return []
        case "just expired":  # its storage is not given back yet
            await queue.add(b"a", b"b", b"c")
            await trio.sleep(TTL)
            return []
        case _:
            await queue.add(b"a", b"b", b"c")
            await trio.sleep(TTL / 2)
            await queue.add(b"d", b"e")
            await trio.sleep(TTL / 2)
            return [b"d", b"e"]


@pytest.mark.parametrize(
    "state", ["empty", "with some", "all expired", "just expired", "some expired"]
)
@each_start
@each_store
async def test_an_unknown_label_begins_where_it_is_told(
    store: str, start: Start, state: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:
        queue = await a_log(runtime, store)
        items = await filled(queue, state)

        expected = items if start == "oldest" else items[-1:]
        assert await queue.next("r", start, 9) == (expected, 0)
        assert (await queue.labels(), await queue.len()) == (["r"], len(items))
        await queue.add(b"next")
        assert await queue.next("r", start, 9) == ([b"next"], 0)


@pytest.mark.parametrize("reopened", [False, True], ids=["", "reopened"])
async def test_cursors_at_every_position_after_some_and_after_all_have_expired(
    reopened: bool,  # noqa: FBT001
    tmp_path: Path,
    autojump_clock: MockClock,
) -> None:
    async def read(queue: LogQueue) -> list[tuple[list[bytes], int]]:
        return [await queue.next(f"{n}", limit=99) for n in range(7)]

    async with opened(tmp_path) as runtime:
        queue = await a_log(runtime)
        for number in range(6):
            await queue.add(b"%d" % number)
            await trio.sleep(TTL / 12)
        for number in range(7):
            if number:
                await queue.next(f"{number}", limit=number)
            else:
                await queue.read("0")
        await trio.sleep(TTL / 2 + TTL / 6 + 1)  # the first three are gone
        if not reopened:
            got = await read(queue)
    if reopened:
        async with opened(tmp_path) as runtime:
            queue = await a_log(runtime)
            got = await read(queue)

    live = [b"3", b"4", b"5"]
    expired = [3, 2, 1, 0, 0, 0, 0]
    assert [lost for _, lost in got] == expired
    assert [items for items, _ in got] == [live, live, live, live, live[1:], live[2:], []]


async def test_labels_and_what_they_read_outlive_a_reopening(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:
        queue = await a_log(runtime, ttl=None)
        await queue.add(*some(0, 600))
        await queue.next("a", limit=300)
        await queue.next("b")
        await queue.remove_label("b")
        read = await queue.read("c", limit=5)
        await queue.commit("c", read.position)
        await queue.read("c", limit=5)

    async with opened(tmp_path) as runtime:
        queue = await a_log(runtime, ttl=None)
        assert (await queue.labels(), await queue.len()) == (["a", "c"], 600)
        assert await queue.next("a", limit=2) == (some(300, 2), 0)
        assert (await queue.read("c", limit=5)).items == some(5, 5)
        assert await queue.next("b") == (some(0, 1), 0)


# -- its flavour that does not block ---------------------------------------------------------------


async def test_each_operation_that_is_sent_has_its_answer(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:
        queue, log = await a_capacity(runtime), await a_log(runtime)
        assert (await queue.submit.len().get(), queue.inflight_ops) == (0, 0)
        replies = queue.submit.push(b"a"), queue.submit.len(), queue.submit.payload_size()
        assert [await reply.get() for reply in replies] == [1, 1, 1]
        assert await queue.submit.disk_size().get() > 0
        assert (await queue.submit.pop().get(), await queue.submit.len().get()) == ([b"a"], 0)
        assert await log.submit.add(b"a").get() == 1
        assert await log.submit.next("r").get() == ([b"a"], 0)
        assert await log.submit.len().get() == 1


# -- its defects -----------------------------------------------------------------------------------


@pytest.mark.parametrize("live", [1, 255, 256, 257, 800])
async def test_no_live_item_is_lost_when_others_expire(
    live: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    # There 100 expired and 800 live ones made readers begin at 256: 156 live ones were skipped.
    async with opened(tmp_path) as runtime:
        queue = await a_log(runtime, ttl=25)
        await queue.add(*some(0, 100))
        await queue.next("at 10", limit=10)
        await trio.sleep(20)
        await queue.add(*some(100, live))
        await trio.sleep(8)

        assert await queue.len() == live
        assert await queue.next("fresh", limit=9999) == (some(100, live), 0)
        assert await queue.next("at 10", limit=9999) == (some(100, live), 90)


async def test_no_label_is_forgotten_while_the_queue_is_idle_and_reopened(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:
        queue = await a_log(runtime, ttl=1)
        await queue.add(b"old")
        await queue.next("idle")
    for _ in range(6):
        async with opened(tmp_path) as runtime:
            queue = await a_log(runtime, ttl=1)
            await trio.sleep(5)
    async with opened(tmp_path) as runtime:
        queue = await a_log(runtime, ttl=1)
        await queue.add(b"new", b"newer")

        assert await queue.labels() == ["idle"]
        assert await queue.next("idle", "newest", 9) == ([b"new", b"newer"], 0)


async def test_numbers_go_on_when_everything_expired_and_it_was_reopened(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:  # there the row with the write index can expire
        queue = await a_log(runtime, ttl=1)
        await queue.add(b"a", b"b", b"c")
        position = (await queue.read("r", limit=3)).position
        await trio.sleep(10)
    async with opened(tmp_path) as runtime:
        queue = await a_log(runtime, ttl=1)
        await queue.add(b"d")
        read = await queue.read("r", limit=9)

        assert (read.items, read.expired, read.position) == ([b"d"], 3, position + 1)


async def test_an_idle_queue_expires_and_gives_its_room_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    # There an item of 1 s was handed out after six reopenings; the room came back after 30 days.
    async with opened(tmp_path) as runtime:
        queue = await a_log(runtime, ttl=1)
        await queue.add(*[bytes(1000)] * 1000)
        await trio.sleep(1)
        assert (await queue.len(), await queue.next("r", limit=9)) == (0, ([], 0))
        await trio.sleep(2)

        assert await queue.disk_size() == 0
    async with opened(tmp_path) as runtime:
        queue = await a_log(runtime, ttl=1)
        assert (await queue.disk_size(), await queue.len()) == (0, 0)


@pytest.mark.parametrize("limit", [0, -1, 2**60, 10**12])
async def test_no_limit_empties_the_queue_or_ends_the_process(
    limit: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:
        queue = await a_capacity(runtime)
        await queue.push(b"a", b"b", b"c")
        if limit < 1:
            with pytest.raises(
                ValueError, match=rf"^expected limit to be an int >= 1, got {limit}$"
            ):
                await queue.pop(limit)
            assert await queue.len() == 3
        else:
            assert await queue.pop(limit) == [b"a", b"b", b"c"]


async def test_what_is_no_bytes_is_an_ordinary_error(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:
        queue = await a_capacity(runtime)
        with pytest.raises(ValueError, match=r"expected bytes, got 'text'; set a codec"):
            await queue.push("text")  # there: a BaseException
        with pytest.raises(ValueError, match=r"expected bytes, got \[1, 2\]$"):
            await queue.push([1, 2])

        assert await queue.push((b"a"), b"b") == 2


async def test_a_submitted_push_that_fails_says_so(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:
        queue = await a_capacity(runtime, max_elements=1)
        good, bad = queue.submit.push(b"a"), queue.submit.push(b"b")

        assert await good.get() == 1
        for _ in range(2):  # and as often as one asks
            with pytest.raises(QueueFullError):
                await bad.get()
            assert bad.is_ready


async def test_a_reply_that_is_dropped_does_not_end_the_queue(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:
        queue, log = await a_capacity(runtime), await a_log(runtime)
        for number in range(10):
            queue.submit.push(b"%d" % number)
            log.submit.add(b"%d" % number)
            log.submit.wait_next("r")
        await settle()

        assert (await queue.len(), await log.len()) == (10, 10)
        assert await log.next("r") == ([], 0)


async def test_the_length_is_true_without_an_operation_in_between(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as runtime:
        queue = await a_log(runtime, ttl=10)
        for _ in range(5):
            await queue.add(b"x")
            await trio.sleep(2)

        lengths = []
        for _ in range(6):
            lengths.append(await queue.len())
            await trio.sleep(2)
        assert lengths == [4, 3, 2, 1, 0, 0]
