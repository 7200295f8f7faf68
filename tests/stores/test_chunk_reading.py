"""Items that are in the file only: read while others write, and after it has failed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from queueactors import StoreError
from queueactors.cores import _chunks
from queueactors.engines._durable import READ_AGAIN
from queueactors.stores._file import SLICE
from tests.stores.kit import define, define_capacity, define_log, running
from tests.stores.kit_faults import run
from tests.stores.test_chunk_restart import numbers
from tests.stores.vfs import Disk, store_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trio.testing import MockClock

A_WHILE = 100.0  # seconds, after which the store has tried again
ITEM = b"x" * 20_000


@pytest.fixture(autouse=True)
def in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_chunks, "KEPT", 0)
    monkeypatch.setattr(_chunks, "LOADED", 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.unregister()


def test_items_are_read_while_a_thread_commits(path: Path) -> None:
    async def main() -> None:
        async with running(path, commit="thread") as runtime, trio.open_nursery() as nursery:
            queue, log = await define_capacity(runtime), await define_log(runtime, "log")
            other = await define(runtime, "other")
            for number in range(30):
                await queue.push(b"%d" % number)
                await log.add(b"%d" % number)
            for _ in range(300):
                nursery.start_soon(other.insert, ITEM)
            popped, read = [], []
            for number in range(30, 60):
                await queue.push(b"%d" % number)
                await log.add(b"%d" % number)
                popped += await queue.pop(2)
                read += (await log.next("a", limit=2))[0]
            assert popped == read == numbers(0, 60)

    run(main)


async def test_items_are_read_while_another_queue_is_opened(path: Path) -> None:
    async with running(path) as runtime:
        large = await define(runtime, "large")
        await large.insert(*[b"x"] * 16 * SLICE)
    async with running(path) as runtime, trio.open_nursery() as nursery:
        queue, log = await define_capacity(runtime), await define_log(runtime, "log")
        await queue.len()
        loaded = trio.Event()

        async def load() -> None:
            await define(runtime, "large")
            loaded.set()

        nursery.start_soon(load)
        turns = 0
        while not loaded.is_set():
            turns += 1
            await queue.push(b"%d" % turns)
            await log.add(b"%d" % turns)
            assert await queue.pop() == [b"%d" % turns]
            assert await log.next("a") == ([b"%d" % turns], 0)
        assert turns > 1


@pytest.mark.parametrize("fault", ["io", "full"])
async def test_items_are_read_after_the_store_has_failed(
    fault: str, path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    async with running(path, store_on(disk)) as runtime:
        queue, log = await define_capacity(runtime), await define_log(runtime, "log")
        for number in range(10):
            await queue.push(b"%d" % number)
            await log.add(b"%d" % number)
        await queue.pop()
        await log.next("a")
        disk.fail(fault)  # type: ignore[arg-type] # one of them
        for call in (queue.pop, partial(log.next, "a"), partial(queue.push, b"no")):
            with pytest.raises(StoreError):
                await call()
        disk.heal()
        await trio.sleep(A_WHILE)

        assert await queue.pop(99) == numbers(1, 10)
        assert await log.next("a", limit=99) == (numbers(1, 10), 0)


async def test_a_read_that_fails_once_takes_nothing_and_succeeds_then(
    path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    async with running(path, store_on(disk)) as runtime:
        queue = await define_capacity(runtime)
        for _ in range(3):
            await queue.push(ITEM)
        disk.fail("read", 3, lasting=False)

        with pytest.raises(StoreError) as caught:
            await queue.pop(3)

        assert caught.value.outcome == "not applied"
        assert await queue.pop(99) == [ITEM] * 3


async def test_with_on_failure_wait_who_reads_waits_until_that_can_be_done(
    path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    async with running(path, store_on(disk), on_failure="wait") as runtime:
        queue, log = await define_capacity(runtime), await define_log(runtime, "log")
        await queue.push(ITEM, b"1")
        await log.add(ITEM, b"1")
        start = trio.current_time()
        got: list[object] = []

        async def pop() -> None:
            got.append(len(await queue.pop(9)))

        async def read() -> None:
            got.append(len((await log.next("a", limit=9))[0]))

        async with trio.open_nursery() as nursery:
            disk.fail("read")
            nursery.start_soon(pop)
            nursery.start_soon(read)
            await trio.sleep(READ_AGAIN / 1e9 + 1)
            assert got == []
            disk.heal()

        assert got == [2, 2]
        assert trio.current_time() - start == 2 * READ_AGAIN / 1e9
        assert await queue.is_empty()


async def test_with_on_failure_wait_others_of_the_same_turn_are_answered(
    path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    async with running(path, store_on(disk), on_failure="wait") as runtime:
        queue = await define_capacity(runtime)
        await queue.push(ITEM)
        disk.fail("read")
        asked, popped = queue.submit.len(), queue.submit.pop()
        late = queue.submit.wait_pop(timeout=1)
        await trio.sleep(2)
        assert asked.get_nowait() == 1
        assert not popped.is_ready
        with pytest.raises(trio.TooSlowError):
            await late.get()
        disk.heal()
        assert await popped.get() == [ITEM]


async def test_a_pop_that_waits_for_the_store_can_be_cancelled(
    path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    async with running(path, store_on(disk), on_failure="wait") as runtime:
        queue = await define_capacity(runtime)
        await queue.push(ITEM)
        disk.fail("read")
        with trio.move_on_after(1) as scope:
            await queue.pop()
        disk.heal()
        await trio.sleep(A_WHILE)

        assert scope.cancelled_caught
        assert await queue.pop() == [ITEM]
