"""What a restart of the process leaves of capacity and log queues, and the few things it ends."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import trio

from queueactors import DeadLetter, QueueClosedError, QueueFullError
from queueactors.cores import _chunks
from queueactors.cores._chunks import ITEMS
from tests.stores.kit import define_capacity, define_log
from tests.stores.make_file import Rot13
from tests.stores.test_restart import START, World

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import EventDict
    from trio.testing import MockClock

    from queueactors import CapacityQueue, LogQueue

LETTER = DeadLetter(b"x", "emails", 7, 5, "no such host", START)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "store.sqlite")


@pytest.fixture(params=["in memory", "in the file"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where items are that have been written."""
    if request.param == "in the file":
        monkeypatch.setattr(_chunks, "KEPT", 0)


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last)]


def change(world: World, *statements: str) -> None:
    """Run statements behind everybody's back."""
    with closing(sqlite3.connect(world.path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def aside(events: list[EventDict]) -> list[tuple[object, object]]:
    """Return the ids and codecs of what was set aside, in order."""
    return [(each["id"], each["codec"]) for each in events if each["event"] == "message_set_aside"]


# -- capacity queues -----------------------------------------------------------------------------


async def fill(queue: CapacityQueue | LogQueue, count: int, each: int = 10) -> None:
    """Add items, a chunk for every ten."""
    add = queue.push if queue.kind == "capacity" else queue.add  # type: ignore[union-attr] # it is one
    for first in range(0, count, each):
        await add(*numbers(first, first + each))


async def test_what_is_left_is_popped_in_order(
    world: World, kept: None, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define_capacity(runtime)
        await fill(queue, 100)
        assert await queue.pop(25) == numbers(0, 25)

    for first in range(25, 100, 25):
        async with world.life() as runtime:
            queue = await define_capacity(runtime)
            assert await queue.len() == 100 - first
            assert await queue.payload_size() == sum(map(len, numbers(first, 100)))
            assert await queue.pop(25) == numbers(first, first + 25)

    async with world.life() as runtime:
        queue = await define_capacity(runtime)
        assert (await queue.is_empty(), await queue.payload_size()) == (True, 0)
        assert await queue.disk_size() == 0
        assert await queue.pop(25) == []


async def test_a_push_of_more_than_a_chunk_is_left_in_the_middle(
    world: World, kept: None, autojump_clock: MockClock
) -> None:
    count = 2 * ITEMS + 10
    async with world.life() as runtime:
        queue = await define_capacity(runtime)
        await queue.push(*numbers(0, count))
        assert await queue.pop(ITEMS + 5) == numbers(0, ITEMS + 5)

    async with world.life() as runtime:
        queue = await define_capacity(runtime)
        await queue.push(b"new")
        assert await queue.pop(count) == [*numbers(ITEMS + 5, count), b"new"]


async def test_the_capacity_that_was_set_last_stands(
    world: World, autojump_clock: MockClock, events: list[EventDict]
) -> None:
    async with world.life() as runtime:
        queue = await define_capacity(runtime, max_elements=5)
        await queue.push(b"1", b"2", b"3")
        await queue.resize(2)

    async with world.life() as runtime:
        queue = await define_capacity(runtime, max_elements=5)
        with pytest.raises(QueueFullError):
            await queue.push(b"4")
        assert (await queue.statistics()).max_elements == 2
        assert await queue.pop(9) == [b"1", b"2", b"3"]
    (told,) = [each for each in events if each["event"] == "capacity_kept"]
    assert (told["max_elements"], told["configured"]) == (2, 5)


async def test_a_closed_capacity_queue_takes_in_again_and_counts_from_zero(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define_capacity(runtime)
        await queue.push(b"1", b"2")
        await queue.pop()
        await queue.close()
        with pytest.raises(QueueClosedError):
            await queue.push(b"3")

    async with world.life() as runtime:
        queue = await define_capacity(runtime)
        told = await queue.statistics()
        assert (told.pushed, told.popped, told.closed, told.length) == (0, 0, False, 1)
        await queue.push(b"3")
        assert await queue.pop(9) == [b"2", b"3"]


async def test_what_was_cleared_does_not_come_back(
    world: World, kept: None, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define_capacity(runtime)
        await fill(queue, 50)
        await queue.pop(5)
        assert await queue.clear() == 45
        await queue.push(b"new", b"newer")

    async with world.life() as runtime:
        queue = await define_capacity(runtime)
        assert await queue.payload_size() == len(b"newnewer")
        assert await queue.pop(9) == [b"new", b"newer"]


async def test_a_pause_of_either_kind_goes_on(world: World, autojump_clock: MockClock) -> None:
    async with world.life() as runtime:
        queue, log = await define_capacity(runtime), await define_log(runtime, "log")
        await queue.push(b"1")
        await log.add(b"1")
        await queue.pause(10)
        await log.pause()
    world.pass_time(4)

    async with world.life() as runtime:
        queue, log = await define_capacity(runtime), await define_log(runtime, "log")
        start = runtime.clock.now_ns()
        assert (await log.next("a"))[0] == []
        assert await queue.wait_pop() == [b"1"]
        assert runtime.clock.now_ns() - start == 6 * 10**9
        await log.resume()
        assert (await log.next("a"))[0] == [b"1"]


# -- log queues ----------------------------------------------------------------------------------


async def test_labels_stand_where_they_stood(
    world: World, kept: None, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        log = await define_log(runtime)
        await log.next("begun early")
        await fill(log, 50)
        await log.next("é", limit=12)
        read = await log.read("reads", limit=30)
        await log.commit("reads", read.position - 1)
        await log.read("reads", limit=30)
        await log.next("gone")
        await log.remove_label("gone")
        await log.next("newest", "newest")
        await log.next("", limit=50)

    async with world.life() as runtime:
        log = await define_log(runtime)
        assert await log.labels() == ["begun early", "é", "reads", "newest", ""]
        assert await log.len() == 50
        assert await log.next("begun early", limit=99) == (numbers(0, 50), 0)
        assert await log.next("é", limit=99) == (numbers(12, 50), 0)
        assert await log.read("reads", limit=99) == (numbers(29, 50), 0, 50)
        assert await log.next("newest", limit=99) == ([], 0)
        assert await log.next("", limit=99) == ([], 0)
        assert await log.next("gone", limit=99) == (numbers(0, 50), 0)
        await log.add(b"50")
        assert await log.next("") == ([b"50"], 0)


async def test_what_expires_while_no_process_runs_is_not_there_to_the_instant(
    world: World, kept: None, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        log = await define_log(runtime, ttl=100)
        await log.add(b"1", b"2")
        await log.next("a")
        await trio.sleep(50)
        await log.add(b"3")
    world.pass_time(50)

    async with world.life() as runtime:
        log = await define_log(runtime, ttl=100)
        assert await log.len() == 1
        assert await log.next("a", limit=9) == ([b"3"], 1)
        assert await log.next("b", limit=9) == ([b"3"], 0)
    world.pass_time(50)

    async with world.life() as runtime:
        log = await define_log(runtime, ttl=100)
        assert await log.len() == 0
        assert await log.next("c") == ([], 0)
        assert await log.labels() == ["a", "b", "c"]
        await trio.sleep(10)
        assert await log.disk_size() == 0
        await log.add(b"4")
        assert [await log.next(label) for label in "abc"] == [([b"4"], 0)] * 3
    with closing(sqlite3.connect(world.path)) as connection:
        found = connection.execute("SELECT first FROM log WHERE state = 'kept'").fetchall()
    assert found == [(3,)]


async def test_labels_outlive_a_clear(world: World, kept: None, autojump_clock: MockClock) -> None:
    async with world.life() as runtime:
        log = await define_log(runtime)
        await fill(log, 50)
        await log.next("a", limit=5)
        assert await log.clear() == 50
        await log.add(b"new")

    async with world.life() as runtime:
        log = await define_log(runtime)
        assert await log.next("a", limit=9) == ([b"new"], 45)
        assert await log.len() == 1


# -- codecs --------------------------------------------------------------------------------------


async def test_items_of_several_codecs_are_handed_out(
    world: World, kept: None, autojump_clock: MockClock
) -> None:
    given = (("json", "1"), ("bytes", b"2"), ("msgpack", 3.5), (Rot13, "four"))
    for codec, item in given:
        async with world.life() as runtime:
            await (await define_capacity(runtime, codec=codec)).push(item, LETTER_OF[item], item)
            await (await define_log(runtime, "log", codec=codec)).add(item)

    async with world.life() as runtime:
        queue = await define_capacity(runtime, codec=Rot13)
        items = [each for _, item in given for each in (item, LETTER_OF[item], item)]
        assert await queue.payload_size() > 0
        assert await queue.pop(99) == items
        assert await queue.payload_size() == 0
        log = await define_log(runtime, "log", codec=Rot13)
        assert await log.next("a", limit=9) == ([item for _, item in given], 0)


LETTER_OF = {
    item: DeadLetter(item, "emails", 7, 5, "no such host", START)
    for item in ("1", b"2", 3.5, "four")
}


# -- what cannot be read -------------------------------------------------------------------------


async def test_a_chunk_whose_codec_is_gone_is_set_aside_and_kept(
    world: World, autojump_clock: MockClock, events: list[EventDict]
) -> None:
    async with world.life() as runtime:
        for codec, items in (("bytes", [b"1", b"2"]), (Rot13, ["no", "no"]), ("bytes", [b"3"])):
            queue = await define_capacity(runtime, f"q-{codec}", codec=codec)
            log = await define_log(runtime, f"l-{codec}", codec=codec)
            await queue.push(*items)
            await log.add(*items)
    change(world, "UPDATE capacity SET codec = 'items:rot13'")
    change(world, "UPDATE log SET codec = 'items:pickle' WHERE state = 'kept'")

    async with world.life() as runtime:
        queue = await define_capacity(runtime, "q-bytes")
        log = await define_log(runtime, "l-bytes")
        told, of_log = await queue.statistics(), await log.statistics()
        assert (told.set_aside, told.length, told.payload_size) == (2, 0, 0)
        assert (of_log.set_aside, of_log.length, of_log.disk_size) == (2, 0, 0)
        assert await queue.pop(9) == []
        assert await log.next("a", limit=9) == ([], 0)
        await queue.push(b"new")
        await log.add(b"new")
        assert await queue.pop(9) == [b"new"]
        assert await log.next("a", limit=9) == ([b"new"], 0)
        await queue.clear()
        await log.clear()
    assert aside(events) == [(1, "rot13"), (2, "rot13"), (1, "pickle"), (2, "pickle")]

    with closing(sqlite3.connect(world.path)) as connection:
        sql = "SELECT count(*) FROM capacity WHERE codec = 'items:rot13'"
        assert connection.execute(sql).fetchone() == (3,)
        sql = "SELECT count(*) FROM log WHERE codec = 'items:pickle'"
        assert connection.execute(sql).fetchone() == (3,)


async def test_what_was_popped_of_a_chunk_counts_only_while_its_codec_is_known(
    world: World, autojump_clock: MockClock, events: list[EventDict]
) -> None:
    async with world.life() as runtime:
        queue = await define_capacity(runtime, codec=Rot13)
        await queue.push("four", "no")
        await queue.pop()

    async with world.life() as runtime:
        queue = await define_capacity(runtime)
        assert (await queue.payload_size(), await queue.len()) == (0, 0)
        await queue.push(b"new")
        assert (await queue.payload_size(), await queue.disk_size()) == (3, 3)

    async with world.life() as runtime:
        queue = await define_capacity(runtime, codec=Rot13)
        assert (await queue.payload_size(), await queue.len()) == (5, 2)
    assert aside(events) == [(1, "rot13")]


DAMAGE = [
    "UPDATE {} SET value = x'c1' WHERE first = 10",  # no MessagePack
    "UPDATE {} SET value = x'9101' WHERE first = 10",  # no list of bytes
    "UPDATE {} SET value = x'91c40131' WHERE first = 10",  # a list of one item
    "DELETE FROM {} WHERE first = 10",
]


@pytest.mark.parametrize("statement", DAMAGE)
async def test_a_chunk_that_is_damaged_is_passed_over_by_pops(
    statement: str, world: World, autojump_clock: MockClock, events: list[EventDict]
) -> None:
    async with world.life() as runtime:
        await fill(await define_capacity(runtime), 40)

    async with world.life() as runtime:
        queue = await define_capacity(runtime)
        change(world, statement.format("capacity"))  # it is read from then on
        assert await queue.pop(5) == numbers(0, 5)
        assert await queue.pop(9) == [*numbers(5, 10), *numbers(20, 24)]
        told = await queue.statistics()
        assert (told.set_aside, told.length) == (1, 16)
        assert told.payload_size == 32
        assert await queue.pop(9) == numbers(24, 33)
        assert await queue.pop(9) == numbers(33, 40)
        assert (await queue.is_empty(), await queue.disk_size()) == (True, 0)
    assert len(aside(events)) == 1

    async with world.life() as runtime:
        queue = await define_capacity(runtime)
        told = await queue.statistics()
        assert (told.length, told.payload_size) == (0, 0)
        assert told.set_aside == (0 if "DELETE" in statement else 1)
        await queue.push(b"new")
        assert await queue.clear() == 1
        assert (await queue.statistics()).restarts == 0
    with closing(sqlite3.connect(world.path)) as connection:
        left = connection.execute("SELECT first FROM capacity").fetchall()
    assert left == ([] if "DELETE" in statement else [(10,)])


@pytest.mark.parametrize("statement", DAMAGE)
async def test_a_chunk_that_is_damaged_is_passed_over_by_labels(
    statement: str, world: World, autojump_clock: MockClock, events: list[EventDict]
) -> None:
    async with world.life() as runtime:
        await fill(await define_log(runtime), 40)

    async with world.life() as runtime:
        log = await define_log(runtime)
        change(world, statement.format("log") + " AND state = 'kept'")
        assert await log.next("a", limit=9) == (numbers(0, 9), 0)
        assert await log.read("a", limit=9) == ([b"9", *numbers(20, 28)], 10, 28)
        assert await log.commit("a", 28) == 19
        assert await log.next("a", limit=99) == (numbers(28, 40), 0)
        told = await log.statistics()
        assert (told.set_aside, told.behind, told.restarts) == (1, 0, 0)
    assert len(aside(events)) == 1

    async with world.life() as runtime:
        log = await define_log(runtime)
        assert await log.next("a", limit=99) == ([], 0)
        await log.add(b"40")
        assert await log.next("a", limit=99) == ([b"40"], 0)


@pytest.mark.parametrize("kind", ["capacity", "log"])
async def test_what_is_damaged_at_the_end_keeps_nobody_waiting(
    kind: str, world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        await fill(await define_capacity(runtime), 20)
        await fill(await define_log(runtime, "log"), 20)
    change(world, DAMAGE[0].format(kind))

    async with world.life() as runtime:
        if kind == "capacity":
            queue = await define_capacity(runtime)
            assert await queue.pop(99) == numbers(0, 10)
            assert (await queue.statistics()).is_quiet
            await queue.close()
            with pytest.raises(QueueClosedError):
                await queue.wait_pop()
        else:
            log = await define_log(runtime, "log")
            assert await log.next("a", limit=99) == (numbers(0, 10), 0)
            assert await log.next("b", "newest", limit=99) == ([b"9"], 0)
            assert (await log.statistics()).is_quiet
            await log.close()
            with pytest.raises(QueueClosedError):
                await log.wait_next("a")


@pytest.mark.parametrize("value", ["c1", "90", "92c40161c40162", "91c401ff", "9101"])
async def test_a_label_that_is_damaged_is_set_aside(
    value: str, world: World, autojump_clock: MockClock, events: list[EventDict]
) -> None:
    async with world.life() as runtime:
        log = await define_log(runtime)
        await log.add(b"1")
        await log.next("a")
        await log.next("b")
    statement = "UPDATE log SET value = x'{}' WHERE state = 'label' AND id & 255 = 2"
    change(world, statement.format(value))

    async with world.life() as runtime:
        log = await define_log(runtime)
        assert await log.labels() == ["b"]
        assert (await log.statistics()).set_aside == 1
        assert await log.next("a") == ([b"1"], 0)
        await log.clear()
    assert aside(events) == [(2, "items:bytes")]

    async with world.life() as runtime:
        assert (await (await define_log(runtime)).statistics()).set_aside == 1


async def test_who_waits_for_items_that_are_damaged_gets_the_next(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        await (await define_capacity(runtime)).push(b"bad")
    change(world, "UPDATE capacity SET value = x'c1'")

    async with world.life() as runtime:
        queue = await define_capacity(runtime)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.wait_pop)
            await trio.sleep(1)
            assert (await queue.statistics()).waiting == 1
            await queue.push(b"new")
        assert await queue.is_empty()
