"""A virtual week of load, one operation a second: nothing leaks and nothing gets lost.

A real runtime with a queue, its worker, its refill and its queue for dead letters. Operations
crash now and then; once a day the queue and the worker are restarted. Not on the last day: a
restart builds the indexes anew, and hides what they leak. Each midnight the load rests until
the queue is empty: then all counts must add up, and the memory of the last midnight must be
that of the first.
"""

from __future__ import annotations

import faulthandler
import gc
import sys
from collections import Counter
from itertools import accumulate, count
from random import Random
from typing import TYPE_CHECKING, ClassVar, cast

import attrs
import pytest
import trio
from trio.lowlevel import ParkingLot

from queueactors import Config, MemoryStore, Reservation, ReservationError, open_runtime
from queueactors._insist import insist
from queueactors.config import StoreConfig
from supervisors import ActorCrashedError, ActorDownError, Operation

from .kit import Boom, FaultyStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from queueactors import Delivery, Runtime, TimedQueue, Worker
    from tests.conftest import Events

DAYS = 7
DAY = 86_400  # seconds, and operations
CLIENTS = 60  # who act at the same instants, to save jumps of the clock
CRASH_EVERY = 7_919  # operations of the queue, those of the worker among them
REFILL_EVERY = 300.0  # seconds
MOST_HELD = 20  # reservations that the load has at a time
TOLERANCE = 0.1  # bytes an operation; a leak of one pointer would be 8


@attrs.define(eq=False)
class Crashes:
    """Which operations of the queue crash, and how many of each did."""

    calm: bool = False  # none does
    count: Counter[str] = attrs.field(factory=Counter)

    def __call__(self, number: int, method: str) -> bool:
        if self.calm or number % CRASH_EVERY:
            return False
        self.count[method] += 1
        return True


@attrs.define(eq=False)
class Load:
    """One random operation after the other, and what must come of them.

    Args:
      jobs: The queue.
      dead: Its queue for dead letters.
      crashes: What its store does.
      random: Chooses.
    """

    jobs: TimedQueue
    dead: TimedQueue
    crashes: Crashes
    random: Random
    resting: bool = False  # then the refill brings nothing and no handler fails
    inserted: int = 0
    duplicates: int = 0
    casts: int = 0  # values inserted without an answer
    _sent: list[Operation] = attrs.field(factory=list, init=False)  # by casts, and not counted yet
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
        """Carry out one random operation."""
        (operation,) = self.random.choices(self._operations, cum_weights=self._weights)
        try:
            await operation(self)
        except (ReservationError, ActorDownError):
            pass  # it has expired; or it is noon, and the queue restarts
        except ActorCrashedError:
            pass  # the operation did not happen

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
        self._sent.append(self.jobs._mailbox._queue[-1])  # noqa: SLF001 - to see what came of it
        self.count_casts()

    def count_casts(self) -> None:
        """Count those that went in: not one that crashed, or was on its way at noon."""
        done = [each for each in self._sent if each.state == "done"]
        self._sent = [each for each in self._sent if each.state != "done"]
        self.casts += sum(each.error is None for each in done)

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
        while (letter := await self.dead.try_reserve()) is not None:
            await self.dead.delete(letter)
            self.posted += 1

    async def ask(self, method: str, *args: object) -> object:
        """Do what the handle has no method for."""
        return await self.jobs._mailbox.call(Operation(method, args))  # noqa: SLF001

    def hold(self) -> Reservation:
        """Return one of the reservations and forget it."""
        return self._held.pop(self.random.randrange(len(self._held)))

    _mix: ClassVar[dict[Callable[[Load], Awaitable[None]], int]] = {
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
    _operations: ClassVar = tuple(_mix)
    _weights: ClassVar = tuple(accumulate(_mix.values()))

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
        assert not self._sent
        assert told.inserted == self.inserted + self.casts + self.refilled
        assert told.duplicates == self.duplicates
        assert told.inserted == told.deleted + told.exhausted + self.removed
        deleted = told.deleted - self.deleted - worker.status().statistics.counts["success"]
        assert 0 <= deleted <= self.deleted_by_casts
        assert told.exhausted == self.posted == (await self.dead.statistics()).deleted
        assert told.restarts >= self.crashes.count.total()


def memory() -> int:
    """Return how much the program has in use: bytes of what is tracked, blocks of the rest."""
    gc.collect()
    return sum(map(sys.getsizeof, gc.get_objects())) + 64 * sys.getallocatedblocks()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.no_cover
async def test_a_week_of_load_leaks_nothing_and_all_counts_add_up(
    autojump_clock: MockClock, events: Events
) -> None:
    faulthandler.cancel_dump_traceback_later()  # a busy machine takes longer than pytest waits
    crashes = Crashes()
    stores = {
        "memory": StoreConfig(type="faulty", factory=lambda: FaultyStore(crashes), options={}),
        "calm": StoreConfig(type="memory", factory=MemoryStore, options={}),
    }
    seen: list[int] = []
    async with open_runtime(Config(stores=stores), random=Random(1)) as runtime:
        dead = await runtime.define("dead", store="calm", reservation_time=60)
        load: Load | None = None

        async def refill() -> list[int]:
            return [] if load is None else await load.refill()

        jobs = await runtime.define(
            "jobs",
            reservation_time=300,
            unique=True,
            max_reservations=3,
            on_exhausted="dead",
            sync_fn=refill,
            sync_interval=REFILL_EVERY,
        )
        load = Load(jobs, dead, crashes, Random(2))
        worker = await runtime.start_worker(jobs, load.handle, concurrency=4, backoff=60.0)

        for day in range(DAYS):
            crashes.calm = day == DAYS - 1
            await a_day(runtime, load, events)
            await load.rest()
            await load.check(worker)
            events.clear()
            seen.append(memory())

    operations = (DAYS - 1) * DAY
    assert seen[-1] == pytest.approx(seen[0], abs=TOLERANCE * operations), seen
    assert crashes.count.total() > DAYS
    assert set(crashes.count) >= {"insert", "reserve", "delete"}


async def a_day(runtime: Runtime, load: Load, events: Events) -> None:
    """Let the clients work; at noon the queue and its worker are restarted."""
    tick = ParkingLot()  # one sleep for all: it costs more than their operations

    async def client() -> None:
        while True:
            await tick.park()
            await load.step()

    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(client)
        for second in range(0, DAY, CLIENTS):
            await trio.sleep(CLIENTS)
            tick.unpark_all()
            if second == DAY // 2 and not load.crashes.calm:
                await runtime.restart("queue.jobs")
                await runtime.restart("worker.jobs")
                events.clear()
        await trio.sleep(CLIENTS)
        nursery.cancel_scope.cancel()
