"""Virtual days of load on a capacity and a log queue: nothing leaks or gets lost.

As ``test_soak.py``: operations crash now and then; at noon both queues are restarted, but not on
the last day. Each midnight everything is taken and read: then all counts must add up, what each
label has read and lost must be all that was added, and the memory of the last midnight must be that
of the first.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import partial
from itertools import count
from random import Random
from typing import TYPE_CHECKING, ClassVar

import attrs
import pytest
import trio

from queueactors import PositionError, open_runtime
from queueactors._insist import insist

from .kit_soak import DAY, DAYS, TOLERANCE, Crashes, Soak, memory

if TYPE_CHECKING:
    from trio.testing import MockClock

    from queueactors import CapacityQueue, LogQueue
    from tests.conftest import Events

TTL = 600  # seconds
LABELS = ("fast", "slow", "committing")


@attrs.define(eq=False)
class Load(Soak):
    """What is done to the queues, and what must come of it."""

    pipe: CapacityQueue = attrs.field(init=False)
    events: LogQueue = attrs.field(init=False)
    pushed: int = 0
    popped: list[bytes] = attrs.field(factory=list)  # since the last midnight
    total: int = 0  # popped until then
    cleared: int = 0
    added: int = 0
    got: Counter[str] = attrs.field(factory=Counter)  # read, by label
    lost: Counter[str] = attrs.field(factory=Counter)
    seen: dict[str, set[object]] = attrs.field(factory=lambda: {each: set() for each in LABELS})
    _numbers: count[int] = attrs.field(factory=count, init=False)

    def items(self, most: int = 1) -> list[bytes]:
        return [b"%d" % next(self._numbers) for _ in range(self.random.randrange(most) + 1)]

    # -- the capacity queue ------------------------------------------------------------------------

    async def push(self) -> None:
        number = await self.pipe.push(*self.items(5))
        self.pushed += number

    async def push_nowait(self) -> None:
        items = self.items(3)
        self.pipe.push_nowait(*items)
        self.cast(self.pipe, len(items))

    async def wait_push(self) -> None:
        number = await self.pipe.wait_push(*self.items(9), timeout=30)
        self.pushed += number

    async def give_up_push(self) -> None:
        with trio.move_on_after(0.5):
            number = await self.pipe.wait_push(*self.items(9))
            self.pushed += number

    async def pop(self) -> None:
        self.popped += await self.pipe.pop(self.random.randrange(9) + 1)

    async def wait_pop(self) -> None:
        self.popped += await self.pipe.wait_pop(2, timeout=30)

    async def give_up_pop(self) -> None:
        with trio.move_on_after(0.5):
            self.popped += await self.pipe.wait_pop(3)

    async def clear_pipe(self) -> None:
        number = await self.pipe.clear()
        self.cleared += number

    # -- the log -----------------------------------------------------------------------------------

    async def add(self) -> None:
        number = await self.events.add(*self.items(3))
        self.added += number

    async def add_nowait(self) -> None:
        self.events.add_nowait(*self.items(1))
        self.cast(self.events)

    async def read_on(self) -> None:
        self.take("fast", *await self.events.next("fast", limit=20))

    async def wait_to_read(self) -> None:
        self.take("fast", *await self.events.wait_next("fast", limit=3, timeout=20))

    async def give_up_reading(self) -> None:
        with trio.move_on_after(0.5):
            self.take("fast", *await self.events.wait_next("fast"))

    async def read_slowly(self) -> None:
        self.take("slow", *await self.events.next("slow"))

    async def read(self) -> None:
        """Commit what was read; another client may have been faster, and have committed more."""
        read = await self.events.read("committing", limit=50)
        with suppress(PositionError):
            number = await self.events.commit("committing", read.position)
            self.got["committing"] += number

    async def come_and_go(self) -> None:
        await self.events.next("guest", "newest")
        await self.events.remove_label("guest")

    async def clear_log(self) -> None:
        """Throw away what there is; but not on the last day, which would hide what leaks."""
        if not self.crashes.calm:
            await self.events.clear()

    def take(self, label: str, items: list[object], expired: int) -> None:
        self.got[label] += len(items)
        self.lost[label] += expired
        seen = self.seen[label]
        assert len({*items}) == len(items)
        assert seen.isdisjoint(items), "twice"
        seen.update(items)

    # -- both --------------------------------------------------------------------------------------

    async def look(self) -> None:
        await self.pipe.statistics()
        await self.events.statistics()
        await self.events.labels()

    async def pause(self) -> None:
        await self.pipe.pause(20)
        await self.events.pause(20)

    mix: ClassVar = {
        push: 1000,
        push_nowait: 250,
        wait_push: 150,
        give_up_push: 150,
        pop: 1000,
        wait_pop: 150,
        give_up_pop: 150,
        clear_pipe: 1,
        add: 1500,
        add_nowait: 250,
        read_on: 500,
        wait_to_read: 100,
        give_up_reading: 100,
        read_slowly: 250,
        read: 150,
        come_and_go: 50,
        clear_log: 1,
        look: 50,
        pause: 10,
    }

    # -- midnight ----------------------------------------------------------------------------------

    async def rest(self) -> None:
        """Take and read all there is."""
        await trio.sleep(60)  # no pause lasts longer
        self.popped += await insist(partial(self.pipe.pop, 1_000))
        for label in LABELS:
            while await insist(partial(self.drain, label)):
                pass

    async def drain(self, label: str) -> bool:
        items, expired = await self.events.next(label, limit=999)
        self.take(label, items, expired)
        return bool(items)

    async def check(self) -> None:
        """Compare what happened with the queues' own numbers, while both are empty."""
        self.count_casts()
        assert not self.sent
        pipe, log = await insist(self.pipe.statistics), await insist(self.events.statistics)
        assert pipe.pushed + log.added == self.pushed + self.added + self.casts
        assert (pipe.length, pipe.payload_size, pipe.waiting, pipe.pushing) == (0, 0, 0, 0)
        assert pipe.cleared == self.cleared
        assert pipe.popped == self.total + len(self.popped)
        assert pipe.pushed == pipe.popped + pipe.cleared
        assert len({*self.popped}) == len(self.popped)
        self.total, self.popped = pipe.popped, []
        assert (log.end, log.behind, log.waiting) == (log.added, 0, 0)
        assert log.added == log.expired + log.cleared + log.length
        for label in LABELS:
            assert self.got[label] + self.lost[label] == log.added, label
            self.seen[label].clear()
        assert log.labels == len(LABELS)


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
        load.pipe = await runtime.define("pipe", kind="capacity", max_elements=200)
        load.events = await runtime.define("events", kind="log", ttl=TTL)
        for label in LABELS:
            await load.events.read(label)
        for day in range(DAYS):
            crashes.calm = day == DAYS - 1
            await load.day(runtime, events, "queue.pipe", "queue.events")
            await load.rest()
            await load.check()
            await trio.sleep(TTL + 2)  # until what has expired is given back
            events.clear()
            seen.append(memory())

    operations = (DAYS - 1) * DAY
    assert seen[-1] - seen[0] <= TOLERANCE * operations, seen
    assert crashes.count.total() > DAYS
    assert set(crashes.count) >= {"push", "pop", "add", "next"}
    assert load.lost["slow"] > 0
