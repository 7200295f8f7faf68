"""Virtual days of load on a batch queue, one operation a second: nothing leaks or gets lost.

As ``test_soak.py``: operations crash now and then; at noon the queue is restarted, but not on the
last day. Each midnight the load rests until the queue is empty: then all counts must add up, and
the memory of the last midnight must be that of the first.
"""

from __future__ import annotations

from itertools import count
from random import Random
from typing import TYPE_CHECKING, ClassVar, cast

import attrs
import pytest
import trio

from queueactors import DeadLetter, QueueFullError, open_runtime
from queueactors._insist import insist
from queueactors.retry import Fixed
from supervisors import ActorCrashedError

from .kit import Boom
from .kit_soak import DAY, DAYS, TOLERANCE, Crashes, Soak, memory, take_all

if TYPE_CHECKING:
    from trio.testing import MockClock

    from queueactors import BatchQueue, TimedQueue
    from tests.conftest import Events


@attrs.define(eq=False)
class Load(Soak):
    """What is done to the queue, and what must come of it."""

    pages: BatchQueue = attrs.field(init=False)
    dead: TimedQueue = attrs.field(init=False)  # the queue for dead letters
    resting: bool = False  # then no call fails
    pushed: int = 0
    done: int = 0  # items of calls that succeeded
    posted: int = 0  # items of dead letters
    _numbers: count[int] = attrs.field(factory=count, init=False)

    async def process(self, queue: BatchQueue, items: list[object]) -> None:
        """Take some seconds; some calls fail, some push back."""
        await trio.sleep(self.random.choice((0, 0, 1, 30)))
        if not self.resting:
            if self.random.random() < 0.2:
                raise Boom
            if self.random.random() < 0.1 and await self.push_to(queue, 2):
                self.pushed += 2
        self.done += len(items)

    async def push_to(self, queue: BatchQueue, number: int) -> bool:
        try:
            await queue.push_many([next(self._numbers) for _ in range(number)])
        except QueueFullError:
            return False
        except ActorCrashedError:
            return False
        return True

    # -- the operations ----------------------------------------------------------------------------

    async def push(self) -> None:
        if await self.push_to(self.pages, 1):
            self.pushed += 1

    async def push_many(self) -> None:
        number = self.random.randrange(30)
        if await self.push_to(self.pages, number):
            self.pushed += number

    async def push_stored(self) -> None:
        ask = self.pages._ask_push([next(self._numbers)], stored=True)  # noqa: SLF001 - to see it
        try:
            await self.pages._push_stored(ask)  # noqa: SLF001
        finally:  # it may be noon when it is pushed, and not yet known to be stored
            self.pushed += ask.state == "done" and ask.error is None

    async def push_nowait(self) -> None:
        self.pages.push_nowait(next(self._numbers))
        self.cast(self.pages)

    async def wait_push(self) -> None:
        await self.pages.wait_push(next(self._numbers), timeout=30)
        self.pushed += 1

    async def give_up(self) -> None:
        """Stop waiting for room at some instant; that harms nothing."""
        number = next(self._numbers)
        with trio.move_on_after(0.5):
            await self.pages.wait_push(number)
            self.pushed += 1

    async def flush(self) -> None:
        await self.pages.flush()

    async def look(self) -> None:
        await self.pages.statistics()
        for state in ("ready", "retry", "cooling", "claimed", "buried"):
            await self.pages.peek(state, 3)

    async def pause(self) -> None:
        await self.pages.pause(20)

    async def take_letters(self) -> None:
        letters = cast("list[DeadLetter]", await take_all(self.dead))
        self.posted += sum(len(cast("list[object]", letter.value)) for letter in letters)

    mix: ClassVar = {
        push: 50,
        push_many: 3,
        push_stored: 5,
        push_nowait: 10,
        wait_push: 10,
        give_up: 5,
        flush: 5,
        look: 5,
        pause: 1,
        take_letters: 2,
    }

    # -- midnight ----------------------------------------------------------------------------------

    async def rest(self) -> None:
        """Wait until the queue is empty."""
        self.resting = True
        while await insist(self.pages.len) or (await insist(self.pages.statistics)).dead:
            await insist(self.pages.flush)
            await trio.sleep(60)
        await self.take_letters()
        self.resting = False

    async def check(self) -> None:
        """Compare what happened with the queue's own numbers, while it is empty."""
        told = await insist(self.pages.statistics)
        self.count_casts()
        assert not self.sent
        assert told.processed == self.done
        assert told.pushed == self.pushed + self.casts
        assert told.pushed == self.done + self.posted
        assert told.exhausted == (await self.dead.statistics()).deleted
        assert (told.claimed, told.retrying, told.batches, told.items) == (0, 0, 0, 0)
        assert sum(told.flushed.values()) == told.pushed


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
        load.pages = await runtime.define(
            "pages",
            kind="batch",
            process=load.process,
            flush_size=20,
            flush_timeout=90,
            workers=3,
            batches=2,
            retry=Fixed(2, 10, cooldown=60),
            max_claims=2,
            on_exhausted="dead",
            max_length=500,
        )
        for day in range(DAYS):
            crashes.calm = day == DAYS - 1
            await load.day(runtime, events, "pages")
            await load.rest()
            await load.check()
            events.clear()
            seen.append(memory())

    operations = (DAYS - 1) * DAY
    assert seen[-1] - seen[0] <= TOLERANCE * operations, seen
    assert crashes.count.total() > DAYS
    assert set(crashes.count) >= {"push", "claim"}
    assert load.posted > 100
