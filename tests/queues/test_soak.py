"""Virtual days of load, one operation a second: nothing leaks and nothing gets lost.

A real runtime with a queue, its worker, its refill and its queue for dead letters. Operations
crash now and then; once a day the queue and the worker are restarted. Not on the last day: a
restart builds the indexes anew, and hides what they leak. Each midnight the load rests until
the queue is empty: then all counts must add up, and the memory of the last midnight must be
that of the first.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from random import Random
from typing import TYPE_CHECKING, ClassVar, cast

import attrs
import pytest
import trio

from queueactors import Reservation, ReservationError, open_runtime
from queueactors._insist import insist
from supervisors import Operation

from .kit import Boom
from .kit_soak import DAY, DAYS, TOLERANCE, Crashes, Soak, memory, take_all

if TYPE_CHECKING:
    from trio.testing import MockClock

    from queueactors import Delivery, TimedQueue, Worker
    from tests.conftest import Events

REFILL_EVERY = 300.0  # seconds
MOST_HELD = 20  # reservations that the load has at a time


@attrs.define(eq=False)
class Load(Soak):
    """What is done to the queue, and what must come of it."""

    jobs: TimedQueue = attrs.field(init=False)
    dead: TimedQueue = attrs.field(init=False)  # its queue for dead letters
    resting: bool = False  # then the refill brings nothing and no handler fails
    inserted: int = 0
    duplicates: int = 0
    refilled: int = 0
    deleted: int = 0
    deleted_by_casts: int = 0  # at most: some came too late
    removed: int = 0
    posted: int = 0  # dead letters that arrived
    _held: list[Reservation] = attrs.field(factory=list, init=False)
    _numbers: count[int] = attrs.field(factory=count, init=False)  # values, each another

    # -- what the runtime calls ----------------------------------------------------------------

    async def refill(self) -> list[int]:
        """Bring some values; some attempts fail."""
        if self.resting:
            return []
        if self.random.random() < 0.1:
            raise Boom
        values = [next(self._numbers) for _ in range(self.random.randrange(5))]
        self.refilled += len(values)
        return values

    async def handle(self, _delivery: Delivery) -> None:
        """Take some seconds, seldom longer than a reservation lasts; some attempts fail."""
        if self.resting:
            return
        await trio.sleep(400 if self.random.random() < 0.02 else self.random.choice((0, 0, 0, 60)))
        if self.random.random() < 0.1:
            raise Boom

    # -- the operations ------------------------------------------------------------------------

    async def step(self) -> None:
        """Carry out one random operation; its reservation may have expired."""
        with suppress(ReservationError):
            await Soak.step(self)

    async def insert(self) -> None:
        delay = self.random.choice((0, 0, 0, 60))
        priority = self.random.choice((0, 0, 0, -1, 1))
        await self.jobs.insert(next(self._numbers), delay=delay, priority=priority)
        self.inserted += 1

    async def insert_twice(self) -> None:
        number = next(self._numbers)
        assert await self.jobs.insert(number, number) == 1
        self.inserted += 1
        self.duplicates += 1

    async def insert_nowait(self) -> None:
        self.jobs.insert_nowait(next(self._numbers))
        self.cast(self.jobs)

    async def try_reserve(self) -> None:
        if len(self._held) < MOST_HELD:
            taken = await self.jobs.try_reserve()
            if taken is not None:
                self._held.append(taken)

    async def reserve(self) -> None:
        """Give up after a while; that harms nothing."""
        with trio.move_on_after(0.5):
            self._held.append(await self.jobs.reserve())

    async def touch(self) -> None:
        if self._held:
            self._held.append(await self.jobs.touch(self.hold()))

    async def prolongate(self) -> None:
        if self._held:
            self._held.append(await self.jobs.prolongate(self.hold(), 10))

    async def release(self) -> None:
        if self._held:
            await self.jobs.release(self.hold(), delay=self.random.choice((0, 60)), error="no")

    async def delete(self) -> None:
        if self._held:
            await self.jobs.delete(self.hold())
            self.deleted += 1

    async def delete_nowait(self) -> None:
        if self._held:
            self.deleted_by_casts += 1
            self.jobs.delete_nowait(self.hold())

    async def bury(self) -> None:
        if self._held:
            await self.ask("bury", self.hold().key)

    async def abandon(self) -> None:
        if self._held:
            self.hold()

    async def remove(self) -> None:
        for state in ("ready", "delayed"):
            if found := await self.jobs.peek(state):
                removed = cast("int", await self.ask("remove", (found[0].id,)))
                self.removed += removed  # another client may have been faster
                return

    async def kick(self) -> None:
        await self.ask("kick", 3)

    async def look(self) -> None:
        await self.jobs.statistics()

    async def count_them(self) -> None:
        await self.jobs.len()

    async def take_letters(self) -> None:
        letters = await take_all(self.dead)
        self.posted += len(letters)

    async def ask(self, method: str, *args: object) -> object:
        """Do what the handle has no method for."""
        return await self.jobs._mailbox.call(Operation(method, args))  # noqa: SLF001

    def hold(self) -> Reservation:
        """Return one of the reservations and forget it."""
        return self._held.pop(self.random.randrange(len(self._held)))

    mix: ClassVar = {
        insert: 16,
        insert_twice: 1,
        insert_nowait: 4,
        try_reserve: 15,
        reserve: 1,
        touch: 10,
        prolongate: 10,
        release: 6,
        delete: 5,
        delete_nowait: 2,
        bury: 2,
        abandon: 2,
        remove: 2,
        kick: 2,
        look: 4,
        count_them: 16,
        take_letters: 2,
    }

    # -- midnight ------------------------------------------------------------------------------

    async def rest(self) -> None:
        """Wait until the queue is empty."""
        self.resting = True
        self._held.clear()
        while await insist(self.jobs.len) or (await insist(self.jobs.statistics)).dead:
            await insist(lambda: self.ask("kick", 1_000))
            await trio.sleep(60)
        await self.take_letters()
        self.resting = False

    async def check(self, worker: Worker) -> None:
        """Compare what happened with the queue's own numbers, while it is empty."""
        told = await insist(self.jobs.statistics)
        self.count_casts()
        assert not self.sent
        assert told.inserted == self.inserted + self.casts + self.refilled
        assert told.duplicates == self.duplicates
        assert told.inserted == told.deleted + told.exhausted + self.removed
        deleted = told.deleted - self.deleted - worker.status().statistics.counts["success"]
        assert 0 <= deleted <= self.deleted_by_casts
        assert told.exhausted == self.posted == (await self.dead.statistics()).deleted
        assert told.restarts >= self.crashes.count.total()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.no_cover
async def test_days_of_load_leak_nothing_and_all_counts_add_up(
    autojump_clock: MockClock, events: Events
) -> None:
    crashes = Crashes()
    seen: list[int] = []
    load = Load(crashes, Random(2))
    async with open_runtime(crashes.config(), random=Random(1)) as runtime:
        load.dead = await runtime.define("dead", store="calm", reservation_time=60)
        load.jobs = await runtime.define(
            "jobs",
            reservation_time=300,
            unique=True,
            max_reservations=3,
            on_exhausted="dead",
            sync_fn=load.refill,
            sync_interval=REFILL_EVERY,
        )
        worker = await runtime.start_worker(load.jobs, load.handle, concurrency=4, backoff=60.0)

        for day in range(DAYS):
            crashes.calm = day == DAYS - 1
            await load.day(runtime, events, "queue.jobs", "worker.jobs")
            await load.rest()
            await load.check(worker)
            events.clear()
            seen.append(memory())

    operations = (DAYS - 1) * DAY
    assert seen[-1] - seen[0] <= TOLERANCE * operations, seen
    assert crashes.count.total() > DAYS
    assert set(crashes.count) >= {"insert", "reserve", "delete"}
