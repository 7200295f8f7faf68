"""What a restart of the process leaves of a batch queue, and the few things that it ends."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from queueactors import DeadLetter, QueueClosedError, QueueFullError, retry
from queueactors.stores._file import SLICE
from queueactors.stores._journal import BYTES, _slices
from tests.stores.kit import copy_of, define, define_batches, in_memory, on_disk
from tests.stores.test_restart import SECOND, START, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from structlog.typing import EventDict
    from trio.testing import MockClock

    from queueactors import BatchQueue, Runtime
    from queueactors.cores.batch import BatchState

ENDED = "the process ended that had it"


@attrs.define
class Email:
    """What typed queues hold."""

    to: str


@attrs.define(eq=False)
class Work:
    """A process function that does what it is told, and remembers when it got what.

    Attributes:
      came: Seconds since the first life's start, and items.
      does: ``"fail"``, ``"hang"`` or ``"end"``.
    """

    does: str = "end"
    came: list[tuple[int, list[object]]] = attrs.field(factory=list)

    async def __call__(self, queue: BatchQueue, items: list[object]) -> None:
        self.came.append(((queue.clock.now_ns() - START) // SECOND, items))
        if self.does == "hang":
            await trio.sleep_forever()
        if self.does == "fail":
            raise ValueError("no")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "store.sqlite")


@pytest.fixture
def work() -> Work:
    return Work()


@asynccontextmanager
async def killed(world: World) -> AsyncIterator[Runtime]:
    """Run a life whose process is killed: nothing that happens at its end is in the file."""
    copy = world.path.with_name("killed")
    async with world.life() as runtime:
        yield runtime
        copy_of(world.path, copy)
    for suffix in ("", "-wal"):
        for path in (world.path, world.path.with_name(world.path.name + "-shm")):
            path.with_name(path.name + (suffix if path == world.path else "")).unlink(
                missing_ok=True
            )
        source = copy.with_name(copy.name + suffix)
        if source.exists():
            shutil.move(source, world.path.with_name(world.path.name + suffix))


async def items_of(queue: BatchQueue, state: BatchState = "ready") -> list[list[object]]:
    return [each.items for each in await queue.peek(state, 100)]


# -- what was flushed, and what was not ----------------------------------------------------------


async def test_what_is_in_the_buffer_is_stored_at_an_orderly_end(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work, flush_size=0)
        await queue.push_many([b"1", b"2"])
        await queue.push(b"3")

    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work, flush_size=0)
        await trio.sleep(1)

    assert work.came == [(0, [b"1", b"2", b"3"])]


async def test_what_is_in_the_buffer_goes_with_a_process_that_is_killed(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    async with killed(world) as runtime:
        queue = await define_batches(runtime, process=work, flush_size=0)
        await queue.pause()
        await queue.push(b"stored", stored=True)
        await queue.push(b"flushed")
        await queue.flush()
        await queue.push(b"lost")

    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work)
        assert await items_of(queue) == [[b"stored"], [b"flushed"]]
        assert await queue.len() == 2


async def test_what_is_pushed_by_calls_that_are_cancelled_at_the_end_is_stored(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    async def push_back(queue: BatchQueue, items: list[object]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await queue.push(b"rest of " + bytes(items[0]))  # type: ignore[call-overload] # bytes

    async with world.life() as runtime:
        queue = await define_batches(runtime, process=push_back, flush_size=1)
        await queue.push(b"1")
        await trio.sleep(1)

    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work, flush_size=1)
        await trio.sleep(1)

    assert sorted(items for _, items in work.came) == [[b"1"], [b"rest of 1"]]


# -- every state ---------------------------------------------------------------------------------

ONCE = retry.Fixed(1, 0, cooldown=100)
TWICE = retry.Fixed(2, 50, jitter=0)
QUEUES: dict[str, tuple[str, dict[str, object]]] = {
    "hangs": ("hang", {}),
    "rests": ("fail", {"retry": ONCE}),
    "tries": ("fail", {"retry": TWICE, "batches": 2}),
    "buries": ("fail", {"retry": ONCE, "max_claims": 1, "on_exhausted": "bury"}),
    "posts": ("fail", {"retry": ONCE, "max_claims": 1, "on_exhausted": "full"}),
}


async def fill(runtime: Runtime) -> dict[str, BatchQueue]:
    """Let there be batches in every state: those of a queue with a key, in a group."""
    full = await define(runtime, "full", max_length=1)
    await full.insert(b"no room")
    queues = {}
    for name, (does, options) in QUEUES.items():
        queue = queues[name] = await define_batches(runtime, name, process=Work(does), **options)
        await queue.pause()
        await queue.push_many([b"1", b"2", b"3", b"4"], stored=True)
        await queue.resume()
    await trio.sleep(1)
    return queues


async def again(runtime: Runtime, work: Work) -> dict[str, BatchQueue]:
    """Define those queues once more."""
    await define(runtime, "full", max_length=1)
    return {
        name: await define_batches(runtime, name, process=work, **options)
        for name, (_, options) in QUEUES.items()
    }


async def test_every_batch_is_what_it_was(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    async with killed(world) as runtime:
        queues = await fill(runtime)
        for name, state in zip(queues, ["claimed", "cooling", "retry", "buried", "dead"]):  # noqa: B905
            assert await items_of(queues[name], state)  # type: ignore[arg-type] # one of them
        before = {name: in_memory(runtime, name) for name in queues}
        disk = {name: on_disk(world.path, world.path.with_name("c"), name) for name in queues}
        assert disk == before

    work.does = "hang"
    async with world.life() as runtime:
        for name, queue in (await again(runtime, work)).items():
            found = in_memory(runtime, name)
            if name == "hangs":
                assert [each.error for each in await queue.peek("ready", 9)] == [ENDED]
                assert await items_of(queue, "claimed") == [[b"3", b"4"]]
            else:
                assert found == before[name]


async def test_what_waited_goes_on_to_wait_until_its_instant(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    async with killed(world) as runtime:
        await fill(runtime)
    world.pass_time(20)

    came: dict[str, list[tuple[int, list[object]]]] = {}
    async with world.life() as runtime:
        works = {name: Work() for name in QUEUES}
        await define(runtime, "full", max_length=1)
        for name, (_, options) in QUEUES.items():
            await define_batches(runtime, name, process=works[name], **options)
        await trio.sleep(1000)
        came = {name: work.came for name, work in works.items()}

    assert came == {
        # The other one was ready all the time.
        "hangs": [(21, [b"3", b"4"]), (21, [b"1", b"2"])],
        "rests": [(100, [b"1", b"2"]), (100, [b"3", b"4"])],
        "tries": [(50, [b"1", b"2", b"3", b"4"])],
        "buries": [],
        "posts": [],
    }


async def test_what_was_due_meanwhile_comes_at_once_and_in_order(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    async with killed(world) as runtime:
        queue = await define_batches(runtime, process=Work("fail"), retry=TWICE)
        await queue.push_many([b"1", b"2"])
        await trio.sleep(1)
        await queue.pause()
        await queue.push_many([b"3", b"4"], stored=True)
        await queue.resume()
    world.pass_time(1000)

    async with world.life() as runtime:
        await define_batches(runtime, process=work, retry=TWICE)
        await trio.sleep(1)

    assert [items for _, items in work.came] == [[b"3", b"4"], [b"1", b"2"]]


# -- claims --------------------------------------------------------------------------------------


async def test_a_process_that_is_killed_over_a_batch_has_claimed_it_in_vain(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    seen: list[object] = []
    for _ in range(4):
        async with killed(world) as runtime:
            queue = await define_batches(
                runtime, process=Work("hang"), max_claims=3, on_exhausted="bury"
            )
            if not seen:
                await queue.push_many([b"1", b"2"])
            await trio.sleep(1)
            claimed, buried = await queue.peek("claimed"), await queue.peek("buried")
            seen.append([(each.state, each.claims, each.error) for each in claimed + buried])

    assert seen == [
        [("claimed", 1, None)],
        [("claimed", 2, ENDED)],
        [("claimed", 3, ENDED)],
        [("buried", 3, ENDED)],
    ]


async def test_an_orderly_end_counts_as_no_claim(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    for _ in range(5):
        async with world.life() as runtime:
            queue = await define_batches(runtime, process=Work("hang"), max_claims=1)
            if await queue.len() == 0:
                await queue.push_many([b"1", b"2"])
            await trio.sleep(1)
            (claimed,) = await queue.peek("claimed")
            assert (claimed.claims, claimed.attempt, claimed.error) == (1, 1, None)


async def test_a_next_attempt_that_an_orderly_end_cancels_is_made_again(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        failing = Work("fail")
        queue = await define_batches(runtime, process=failing, retry=TWICE, batches=2)
        await queue.pause()
        await queue.push_many([b"1", b"2", b"3", b"4"], stored=True)
        await queue.resume()
        await trio.sleep(10)
        failing.does = "hang"
        await trio.sleep(60)
        assert len(await queue.peek("claimed", 9)) == 2

    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work, retry=TWICE, batches=2)
        await trio.sleep(1)

    assert [items for _, items in work.came] == [[b"1", b"2", b"3", b"4"]]


async def test_keys_are_never_used_again(world: World, autojump_clock: MockClock) -> None:
    keys = []
    for _ in range(3):
        async with killed(world) as runtime:
            queue = await define_batches(runtime, process=Work("hang"))
            await queue.push_many([b"1", b"2"])
            await trio.sleep(1)
            keys.append(in_memory(runtime).last_key)
        world.pass_time(-1000)  # somebody has set the clock

    assert keys == sorted(set(keys))


# -- the queue -----------------------------------------------------------------------------------


async def test_a_pause_goes_on(world: World, work: Work, autojump_clock: MockClock) -> None:
    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work)
        stopped = await define_batches(runtime, "stopped", process=Work())
        await queue.pause(10)
        await stopped.pause()
        await queue.push_many([b"1", b"2"])
        await stopped.push_many([b"1", b"2"])
    world.pass_time(4)

    other = Work()
    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work)
        stopped = await define_batches(runtime, "stopped", process=other)
        assert (await queue.statistics()).paused
        await trio.sleep(20)
        assert other.came == []
        await stopped.resume()
        await trio.sleep(1)

    assert work.came == [(10, [b"1", b"2"])]
    assert other.came == [(24, [b"1", b"2"])]


async def test_a_new_life_counts_from_zero_and_takes_in_again(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define_batches(runtime, process=Work("hang"))
        await queue.push_many([b"1", b"2", b"3"])
        await queue.close(1)
        with pytest.raises(QueueClosedError):
            await queue.push(b"4")

    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work)
        await queue.pause()
        told = await queue.statistics()
        assert (told.pushed, told.closed, sum(told.flushed.values())) == (0, False, 0)
        await queue.push(b"4")
        assert await queue.len() + len([each for _, items in work.came for each in items]) == 4


async def test_max_length_counts_what_is_there(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work)
        await queue.pause()
        await queue.push_many([b"1", b"2", b"3"])

    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work, max_length=4)
        await queue.push(b"4")
        with pytest.raises(QueueFullError):
            await queue.push(b"5")


# -- codecs --------------------------------------------------------------------------------------


async def test_typed_items_come_back_in_their_class(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work, codec="msgpack", type=Email)
        await queue.pause()
        await queue.push_many([Email("ann"), Email("bob")])

    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work, codec="msgpack", type=Email)
        await queue.resume()
        await trio.sleep(1)

    assert work.came[0][1] == [Email("ann"), Email("bob")]


async def test_batches_of_several_codecs_are_processed(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    for codec, item in (("json", "1"), ("bytes", b"2"), ("msgpack", 3)):
        async with world.life() as runtime:
            queue = await define_batches(runtime, process=work, codec=codec, batches=9)
            await queue.pause()
            await queue.push_many([item, item])

    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work, codec="msgpack", batches=9)
        await queue.resume()
        await trio.sleep(1)

    assert work.came[0][1] == ["1", "1", b"2", b"2", 3, 3]


async def test_a_dead_letter_that_is_pushed_back_comes_back(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    letter = DeadLetter(b"x", "emails", 7, 5, "no such host", START)
    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work, batches=9, flush_size=0)
        await queue.pause()
        await queue.push_many([b"1", letter, b"2"])

    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work, batches=9)
        assert (await queue.statistics()).batches == 3
        await queue.resume()
        await trio.sleep(1)

    assert work.came[0][1] == [b"1", letter, b"2"]


async def test_what_cannot_be_decoded_is_set_aside_logged_and_kept(
    world: World, work: Work, autojump_clock: MockClock, events: list[EventDict]
) -> None:
    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work, codec="pickle")
        await queue.pause()
        await queue.push_many([{1}, {2}, {3}, {4}])

    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work, codec="msgpack")
        told = await queue.statistics()
        assert (told.set_aside, told.batches, told.items) == (2, 0, 0)
        await queue.resume()
        await queue.push_many(["a", "b"])
        await trio.sleep(1)
        await queue.clear()
    aside = [each for each in events if each["event"] == "message_set_aside"]
    assert [(each["id"], each["codec"]) for each in aside] == [
        (1, "items:pickle"),
        (2, "items:pickle"),
    ]

    async with world.life() as runtime:
        await define_batches(runtime, process=work, codec="pickle")
        await trio.sleep(1)

    assert [items for _, items in work.came] == [["a", "b"], [{1}, {2}], [{3}, {4}]]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1] * 1200, [SLICE, SLICE, 1200 - 2 * SLICE]),
        ([BYTES // 4] * 10, [4, 4, 2]),
        ([1, 3 * BYTES, 1, 1, BYTES - 1, 5 * BYTES], [2, 3, 1]),
        ([], []),
    ],
)
def test_batches_are_read_by_number_and_by_size(sizes: list[int], expected: list[int]) -> None:
    rows = [(number, bytes(size)) for number, size in enumerate(sizes)]

    slices = list(_slices(iter(rows)))

    assert [len(some) for some in slices] == expected
    assert [row for some in slices for row in some] == rows


async def test_others_have_their_turns_while_large_batches_are_read(
    world: World, work: Work, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define_batches(runtime, process=work, flush_size=1)
        await queue.pause()
        for _ in range(30):
            await queue.push(bytes(BYTES), stored=True)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with world.life() as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await define_batches(runtime, process=work)
        nursery.cancel_scope.cancel()

    assert turns > 30
