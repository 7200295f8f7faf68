"""What a restart of the process leaves as it was, and the few things that it ends."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final, cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from queueactors import (
    Clock,
    Reservation,
    ReservationExpiredError,
    ReservationNotFoundError,
    StoreError,
)
from tests.cores.kit import STATES
from tests.stores.kit import (
    a_model,
    define,
    expected,
    in_memory,
    on_disk,
    running,
    shown,
)
from tests.stores.test_faults import ACTS
from tests.stores.vfs import Disk, store_on
from tests.torture import TORTURE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from queueactors import Runtime, TimedQueue
    from tests.cores.naive import NaiveQueue

SECOND: Final = 10**9
START: Final = 1_700_000_000 * SECOND  # epoch nanoseconds of the first life


@attrs.define(eq=False)
class World:
    """A file, and a wall clock that goes on while no process runs."""

    path: Path
    wall: int = START

    @asynccontextmanager
    async def life(self, **options: object) -> AsyncIterator[Runtime]:
        """Run a process' life; its clock starts at the wall's time."""
        clock = Clock.open(wall=lambda: self.wall)
        async with running(self.path, clock=clock, **options) as runtime:  # type: ignore[arg-type] # the store's
            yield runtime
            self.wall = clock.now_ns()

    def pass_time(self, seconds: float) -> None:
        """Let time go by between two lives."""
        self.wall += int(seconds * SECOND)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.unregister()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "store.sqlite")


async def values_of(queue: TimedQueue, state: str = "ready") -> list[object]:
    return [message.value for message in await queue.peek(state, 100)]  # type: ignore[arg-type] # one of them


# -- all of it -----------------------------------------------------------------------------------


async def _lives(world: World, random: Random) -> int:
    """Do anything in any order, with restarts in between; return how much was done."""
    naive = a_model()
    done = 0
    for _ in range(12):
        async with world.life() as runtime:
            queue = await define(runtime)
            for _ in range(random.randrange(15)):
                await trio.sleep(random.choice([0, 0, 1, 3e5]))
                naive.advance(queue.clock.now_ns())
                if naive.paused_until is not None:
                    await queue.resume()
                    naive.resume(queue.clock.now_ns())
                await _both(queue, naive, random)
                done += 1
            naive.advance(queue.clock.now_ns())
            assert await shown(queue) == [naive.peek(state) for state in STATES]
        world.pass_time(random.choice([0, 1, 3e5]))
        async with world.life() as runtime:
            queue = await define(runtime)
            naive.advance(queue.clock.now_ns())
            assert await shown(queue) == [naive.peek(state) for state in STATES]
            assert in_memory(runtime) == expected(naive)
    return done


async def _both(queue: TimedQueue, naive: NaiveQueue, random: Random) -> None:
    """Do something to both that need not wait."""
    names = ["insert", "insert later", "insert a big one", "kick", "pause", "resume"]
    if naive.first("ready"):
        names += ["reserve", "try_reserve", "reserve_many"] * 3
    held = [
        Reservation(
            each.id,
            cast("int", each.key),
            each.value,
            each.deadline_at,
            each.attempts,
            each.inserted_at,
        )
        for each in naive.first("reserved")
    ]
    if len(held) >= 2:
        names += ["prolongate", "touch", "release", "release for later", "snooze", "fail", "bury"]
        names += ["delete", "remove"]
    act = ACTS[random.choice(names)]
    answer = await act.real(queue, held[:2])
    assert answer == act.plain(naive, queue.clock.now_ns(), held[:2])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3 * TORTURE))
def test_any_history_with_restarts_goes_as_without_them(seed: int, world: World) -> None:
    clock = MockClock(autojump_threshold=0)

    done = trio.run(partial(_lives, world, Random(seed)), clock=clock)

    assert done > 30


# -- each thing by itself ------------------------------------------------------------------------


async def test_a_reservation_ends_at_its_deadline_whoever_lives(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        taken = await queue.reserve(10)
    world.pass_time(4)

    async with world.life() as runtime:
        queue = await define(runtime)
        assert await queue.try_reserve() is None
        again = await queue.reserve()

        assert runtime.clock.now_ns() == taken.deadline_at == START + 10 * SECOND
        assert (again.value, again.attempt) == (b"1", 2)
        assert again.key > taken.key


async def test_a_reservation_is_good_in_the_next_life(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define(runtime)
        await queue.insert(b"1", b"2", b"3")
        first, second, third = await queue.reserve_many(3)

    async with world.life() as runtime:
        queue = await define(runtime)
        assert await queue.delete(first) == 1
        assert (await queue.prolongate(second, 5)).deadline_at == second.deadline_at + 5 * SECOND
        await queue.release(third)
        with pytest.raises(ReservationNotFoundError):
            await queue.delete(first)


async def test_what_expired_meanwhile_is_expired(world: World, autojump_clock: MockClock) -> None:
    async with world.life() as runtime:
        queue = await define(runtime)
        await queue.insert(b"1", b"2")
        first, second = await queue.reserve(10), await queue.reserve(5)
    world.pass_time(100)

    async with world.life() as runtime:
        queue = await define(runtime)
        assert await values_of(queue) == [b"2", b"1"]  # in the order of their ends
        with pytest.raises(ReservationExpiredError):
            await queue.touch(first)
        assert await queue.delete(second, expired_ok=True) == 1


@pytest.mark.parametrize(("on_exhausted", "buried"), [("bury", [b"1"]), ("drop", [])])
async def test_the_last_attempt_may_end_while_nobody_lives(
    on_exhausted: str, buried: list[bytes], world: World, autojump_clock: MockClock
) -> None:
    options: dict[str, object] = {"max_reservations": 1, "on_exhausted": on_exhausted}
    async with world.life() as runtime:
        queue = await define(runtime, "q", **options)
        await queue.insert(b"1")
        await queue.reserve(10)
    world.pass_time(11)

    async with world.life() as runtime:
        queue = await define(runtime, "q", **options)
        assert await values_of(queue, "buried") == buried
        assert await queue.len() == len(buried)


async def test_a_delay_ends_at_its_instant(world: World, autojump_clock: MockClock) -> None:
    async with world.life() as runtime:
        await (await define(runtime)).insert(b"1", delay=10)
    world.pass_time(4)

    async with world.life() as runtime:
        queue = await define(runtime)
        assert await values_of(queue, "delayed") == [b"1"]
        await queue.reserve()
        assert runtime.clock.now_ns() == START + 10 * SECOND


async def test_values_that_are_there_stay_unique(world: World, autojump_clock: MockClock) -> None:
    async with world.life() as runtime:
        queue = await define(runtime, unique=True)
        await queue.insert(b"buried", b"reserved")
        await queue.bury(await queue.reserve())
        await queue.reserve()
        await queue.insert(b"delayed", delay=100)
        await queue.insert(b"ready", b"gone", priority=1)
        await queue.remove(5)

    async with world.life() as runtime:
        queue = await define(runtime, unique=True)
        states = (b"ready", b"delayed", b"reserved", b"buried", b"gone")
        assert [await queue.insert(each) for each in states] == [0, 0, 0, 0, 1]


async def test_keys_and_ids_are_not_used_again(world: World, autojump_clock: MockClock) -> None:
    keys, ids = [], []
    for _ in range(4):
        async with world.life() as runtime:
            queue = await define(runtime)
            await queue.insert(b"1")
            taken = await queue.reserve()
            keys.append(taken.key)
            ids.append(taken.id)
            await queue.delete(taken)
        world.pass_time(-1000)  # somebody has set the clock

    assert keys == sorted(set(keys))
    assert ids == sorted(set(ids))


async def test_the_clock_never_steps_behind_what_is_stored(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define(runtime)
        await trio.sleep(500)
        await queue.insert(b"1")
        await queue.reserve(10)
        newest = runtime.clock.now_ns()
    world.wall = START

    async with world.life() as runtime:
        queue = await define(runtime)
        assert runtime.clock.now_ns() >= newest
        taken = await queue.reserve()
        assert runtime.clock.now_ns() == newest + 10 * SECOND
        assert taken.attempt == 2


async def test_the_next_refill_comes_when_it_would_have(
    world: World, autojump_clock: MockClock
) -> None:
    refills = []

    async def refill() -> list[bytes]:
        refills.append(world.path)
        return []

    async def waiting(queue: TimedQueue, seconds: float) -> int:
        with pytest.raises(trio.TooSlowError):
            await queue.reserve(timeout=seconds)
        return len(refills)

    async with world.life() as runtime:
        queue = await define(runtime, sync_fn=refill, sync_interval=10)
        assert await waiting(queue, 5) == 1
    world.pass_time(2)

    async with world.life() as runtime:
        queue = await define(runtime, sync_fn=refill, sync_interval=10)
        assert await waiting(queue, 2.5) == 1
        assert await waiting(queue, 1) == 2


async def test_a_pause_goes_on(world: World, autojump_clock: MockClock) -> None:
    async with world.life() as runtime:
        queue, stopped = await define(runtime), await define(runtime, "stopped")
        await queue.insert(b"1")
        await stopped.insert(b"1")
        await queue.pause(10)
        await stopped.pause()
    world.pass_time(4)

    async with world.life() as runtime:
        queue, stopped = await define(runtime), await define(runtime, "stopped")
        assert (await queue.statistics()).paused
        await queue.reserve()
        assert runtime.clock.now_ns() == START + 10 * SECOND
        assert (await stopped.statistics()).paused
        assert await stopped.try_reserve() is None
        await stopped.resume()
        assert await stopped.try_reserve() is not None


async def test_configured_values_go_in_once(world: World, autojump_clock: MockClock) -> None:
    async with world.life() as runtime:
        queue = await define(runtime, values=[b"1", b"2"])
        await queue.delete(await queue.reserve())

    async with world.life() as runtime:
        queue = await define(runtime, values=[b"1", b"2"])
        assert await values_of(queue) == [b"2"]


async def test_configured_values_are_there_before_anybody_asks(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        await define(runtime, values=[b"1", b"2"])
        await trio.testing.wait_all_tasks_blocked()

        assert len(on_disk(world.path, world.path.with_name("copy")).messages) == 2


async def test_a_new_life_counts_from_zero_and_takes_in_again(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        await queue.close()

    async with world.life() as runtime:
        queue = await define(runtime)
        told = await queue.statistics()
        assert (told.inserted, told.closed, told.ready) == (0, False, 1)
        await queue.insert(b"2")


# -- release_on_start ----------------------------------------------------------------------------


async def test_release_on_start_ends_the_reservations_of_the_dead(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define(runtime)
        await queue.insert(b"1", b"2")
        taken = await queue.reserve()

    async with world.life(release_on_start=True) as runtime:
        queue = await define(runtime)
        assert set(await values_of(queue)) == {b"1", b"2"}
        with pytest.raises(ReservationExpiredError):
            await queue.touch(taken)
        both = await queue.reserve_many(2)
        assert sorted((each.value, each.attempt) for each in both) == [(b"1", 2), (b"2", 1)]


async def test_release_on_start_ends_no_reservation_of_the_living(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.life(release_on_start=True) as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        taken = await queue.reserve()

        await runtime.restart("q")

        assert await queue.try_reserve() is None
        assert await queue.delete(taken) == 1


async def _read_again(queue: TimedQueue, disk: Disk) -> None:
    """Let a queue be read again, because a commit has failed."""
    disk.fail("full", lasting=False)
    with pytest.raises(StoreError):
        await queue.insert(b"not applied")
    await trio.sleep(100)


async def test_release_on_start_ends_nothing_when_a_queue_is_read_again(
    world: World, disk: Disk, autojump_clock: MockClock
) -> None:
    async with world.life(make=store_on(disk), release_on_start=True) as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        taken = await queue.reserve()

        await _read_again(queue, disk)

        assert await queue.try_reserve() is None
        assert await queue.delete(taken) == 1


async def test_what_release_on_start_has_ended_stays_so_when_a_queue_is_read_again(
    world: World, disk: Disk, autojump_clock: MockClock
) -> None:
    async with world.life() as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        await queue.reserve()

    async with world.life(make=store_on(disk), release_on_start=True) as runtime:
        queue = await define(runtime)
        assert await values_of(queue) == [b"1"]

        await _read_again(queue, disk)

        assert await values_of(queue) == [b"1"]
