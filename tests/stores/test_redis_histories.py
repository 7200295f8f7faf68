"""Histories of two and three runtimes over one Redis server, against one plain core.

Their clock stands still but for the steps that let time pass, and nobody asks by himself in
between: a word that were lost, or an instant that were missed, would leave a taker waiting.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from copy import deepcopy
from itertools import permutations, product
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, cast
from uuid import uuid4

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from queueactors import Clock, Reservation, ReservationError, open_runtime
from queueactors.cores.timed import TimedCore
from queueactors.engines.redis import to_micros
from supervisors import ActorDownError
from tests.torture import TORTURE

from .redis_proxy import Proxy, a_proxy
from .test_redis_lost import a_config

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queueactors import Runtime, TimedQueue

SECOND: Final = 1_000_000  # the core is told microseconds, as the server
HOLD: Final = 7  # seconds that those who waited hold a message
NEVER: Final = 3600.0
PATIENCE: Final = 5.0  # real seconds, for what is to happen at once
SUMS: Final = ("inserted", "duplicates", "reserved_total", "deleted", "released", "exhausted")


@attrs.frozen
class Do:
    """An operation of one of the runtimes.

    Args:
      runtime: Its number.
      method: What it does.
      number: A value, how many, or which reservation.
      seconds: A delay, or a duration.
    """

    runtime: int
    method: str
    number: int = 0
    seconds: int = 0


@attrs.frozen
class Wait:
    """A taker begins to wait."""

    runtime: int


@attrs.frozen
class Leave:
    """Somebody who waits is cancelled."""

    runtime: int


@attrs.frozen
class Restart:
    """The queue's actor is restarted: those who wait there get an error."""

    runtime: int


@attrs.frozen
class Cut:
    """The connection is lost."""

    runtime: int


@attrs.frozen
class Pass:
    """Time passes."""

    seconds: int


Both = tuple[Do, ...]
Step = Do | Wait | Leave | Restart | Cut | Pass | Both

runtimes = st.integers(0, 2)
durations = st.sampled_from([2, 3, 5, 11])
DO = st.one_of(
    st.builds(Do, runtimes, st.just("insert"), st.integers(0, 5), st.sampled_from([0, 0, 0, 2, 5])),
    st.builds(Do, runtimes, st.just("reserve"), st.just(0), durations),
    st.builds(Do, runtimes, st.just("reserve_many"), st.integers(1, 3), durations),
    st.builds(Do, runtimes, st.sampled_from(["delete", "bury"]), st.integers(0, 3)),
    st.builds(Do, runtimes, st.just("release"), st.integers(0, 3), st.sampled_from([0, 0, 3])),
    st.builds(Do, runtimes, st.sampled_from(["touch", "prolongate"]), st.integers(0, 3), durations),
    st.builds(Do, runtimes, st.just("kick"), st.integers(1, 2)),
    st.builds(Do, runtimes, st.just("pause"), st.just(0), st.sampled_from([0, 2, 5])),
    st.builds(Do, runtimes, st.sampled_from(["resume", "clear", "length"])),
)
STEPS: st.SearchStrategy[Step] = st.one_of(
    DO,
    DO,
    st.builds(Wait, runtimes),
    st.builds(Wait, runtimes),
    st.builds(Pass, st.sampled_from([1, 1, 2, 6])),
    st.tuples(DO, DO),
    st.builds(Leave, runtimes),
    st.builds(Restart, runtimes),
    st.builds(Cut, runtimes),
)
OPTIONS = st.sampled_from(
    [
        {},
        {"unique": True},
        {"max_reservations": 2},
        {"max_reservations": 2, "on_exhausted": "bury", "unique": True},
    ]
)


@attrs.define(eq=False)
class Model:
    """One core for all, and who waits: for any of them, whatever becomes ready will do."""

    core: TimedCore
    waiting: int = 0
    served: Counter[tuple[object, ...]] = attrs.field(factory=Counter)

    def copy(self) -> Model:
        records = deepcopy(self.core.records)
        core = TimedCore(
            unique=self.core._unique is not None,  # noqa: SLF001
            max_reservations=self.core._max_reservations,  # noqa: SLF001
            on_exhausted=self.core._on_exhausted,  # noqa: SLF001
            records=records,
        )
        return Model(core, self.waiting, Counter(self.served))

    def serve(self, now: int) -> None:
        """Give those who wait what there is."""
        while self.waiting and (taken := self.core.reserve(now, HOLD * SECOND)):
            self.waiting -= 1
            self.served[told(taken, 1)] += 1

    def do(self, now: int, do: Do, key: int) -> object:  # noqa: C901, PLR0911 - one case each
        """Carry out an operation."""
        core, seconds = self.core, do.seconds * SECOND
        try:
            match do.method:
                case "insert":
                    return core.insert(now, values_of(do), seconds)
                case "reserve":
                    return told(core.reserve(now, seconds), 1)
                case "reserve_many":
                    return [told(each, 1) for each in core.reserve_many(now, do.number, seconds)]
                case "delete":
                    return core.delete(now, [key])
                case "bury":
                    core.bury(now, key)
                case "release":
                    core.release(now, key, seconds)
                case "touch":
                    return told(core.touch(now, key, seconds), 1)
                case "prolongate":
                    return told(core.prolongate(now, key, seconds), 1)
                case "kick":
                    return core.kick(now, do.number)
                case "pause":
                    core.pause(now, seconds or None)
                case _:
                    return cast("object", getattr(core, do.method)(now))
        except ReservationError as error:
            return type(error).__name__, list(error.keys)
        return None

    def state(self, now: int) -> object:
        """Return all there is."""
        return {
            state: [shown(each, 1) for each in self.core.peek(now, state, 99)]
            for state in ("ready", "delayed", "reserved", "buried")
        }


def values_of(do: Do) -> list[bytes]:
    """Return what an insert inserts."""
    return [b"%d" % (do.number % 4), b"%d" % do.number][: 1 + do.number % 2]


def told(taken: Reservation | None, unit: int) -> tuple[object, ...]:
    """Return what a taker gets; instants in microseconds."""
    if taken is None:
        return ()
    instants = taken.deadline_at // unit, taken.inserted_at // unit
    return taken.id, taken.key, taken.value, taken.attempt, *instants


def shown(message: object, unit: int) -> tuple[object, ...]:
    """Return what `peek` tells; instants in microseconds."""
    facts = attrs.asdict(message)  # type: ignore[arg-type] # an attrs class
    facts["inserted_at"] //= unit
    facts["ready_at"] //= unit
    return tuple(facts.values())


@attrs.define(eq=False)
class Play:
    """Runtimes over one server, and the model beside them."""

    mock: MockClock
    clock: Clock
    nursery: trio.Nursery
    runtimes: list[Runtime]
    queues: list[TimedQueue]
    proxies: list[Proxy]
    model: Model
    keys: list[int] = attrs.field(factory=list)  # of all reservations
    served: Counter[tuple[object, ...]] = attrs.field(factory=Counter)
    takers: list[list[trio.CancelScope]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.takers = [[] for _ in self.queues]

    @property
    def now(self) -> int:
        return to_micros(self.clock.now_ns())

    def of(self, number: int) -> int:
        return number % len(self.queues)

    def key(self, do: Do) -> int:
        """Return one of the last few keys; which one, the operation says."""
        return self.keys[-1 - do.number % len(self.keys)] if self.keys else 1

    async def step(self, step: Step) -> None:
        """Let something happen, and compare."""
        match step:
            case Do():
                await self.do((step,))
            case tuple():
                await self.do(
                    step if self.of(step[0].runtime) != self.of(step[1].runtime) else step[:1]
                )
            case Wait(number):
                self.model.waiting += 1
                await self.nursery.start(self.take, self.of(number))
                self.model.serve(self.now)
                await self.compare([self.model])
            case Leave(number):
                takers = self.takers[self.of(number)]
                if takers:
                    takers[0].cancel()
                    self.model.waiting -= 1
                    await self.compare([self.model])
            case Restart(number):
                self.model.waiting -= len(self.takers[self.of(number)])
                await self.runtimes[self.of(number)].restart("q")
                await self.compare([self.model])
            case Cut(number):
                await self.cut(self.of(number))
            case Pass(seconds):
                for _ in range(seconds):
                    self.mock.jump(1.0)
                    self.model.core.advance(self.now)
                    self.model.serve(self.now)
                    await self.compare([self.model])

    async def do(self, both: Both) -> None:
        """Let operations be carried out at once, in whatever order."""
        answers: dict[Do, object] = {}

        async def ask(do: Do, key: int) -> None:
            answers[do] = await self.ask(self.queues[self.of(do.runtime)], do, key)

        keys = {do: self.key(do) for do in both}
        now = self.now
        async with trio.open_nursery() as nursery:
            for do in both:
                nursery.start_soon(ask, do, keys[do])
        fitting: list[Model] = []
        asked: list[object] = []
        for order, serves in product(permutations(dict.fromkeys(both)), [True, False]):
            model = self.model.copy()
            model.core.advance(now)
            expected: dict[Do, object] = {}
            for do in order:
                expected[do] = model.do(now, do, keys[do])
                if serves:
                    model.serve(now)
            model.serve(now)
            asked.append(expected)
            if expected == answers:
                fitting.append(model)
        assert fitting, f"{answers} is none of {asked}"
        for answer in answers.values():
            for each in answer if isinstance(answer, list) else [answer]:
                if isinstance(each, tuple) and len(each) == 6:
                    self.keys.append(cast("int", each[1]))
        await self.compare(fitting)

    async def ask(  # noqa: C901, PLR0911, PLR0912 - one case each
        self, queue: TimedQueue, do: Do, key: int
    ) -> object:
        """Let a runtime carry out an operation."""
        try:
            match do.method:
                case "insert":
                    return await queue.insert(*values_of(do), delay=do.seconds)
                case "reserve":
                    return told(await queue.try_reserve(do.seconds), 1000)
                case "reserve_many":
                    return await self.ask_many(queue, do)
                case "delete":
                    return await queue.delete(key)
                case "bury":
                    await queue.bury(key)
                case "release":
                    await queue.release(key, do.seconds)
                case "touch":
                    return told(await queue.touch(key, do.seconds), 1000)
                case "prolongate":
                    return told(await queue.prolongate(key, do.seconds), 1000)
                case "kick":
                    return await queue.kick(do.number)
                case "pause":
                    await queue.pause(do.seconds or None)
                case "length":
                    return await queue.len()
                case _:
                    return cast("object", await getattr(queue, do.method)())
        except ReservationError as error:
            return type(error).__name__, list(error.keys)
        return None

    async def ask_many(self, queue: TimedQueue, do: Do) -> object:
        try:
            taken = await queue.reserve_many(do.number, do.seconds, timeout=0)
        except trio.TooSlowError:
            return []
        return [told(each, 1000) for each in taken]

    async def take(self, number: int, *, task_status: trio.TaskStatus[None]) -> None:
        """Wait for a message."""
        with trio.CancelScope() as scope:
            self.takers[number].append(scope)
            task_status.started()
            try:
                taken = told(await self.queues[number].reserve(HOLD), 1000)
                self.served[taken] += 1
                self.keys.append(cast("int", taken[1]))
            except ActorDownError:
                pass
            finally:
                self.takers[number].remove(scope)

    async def cut(self, number: int) -> None:
        """Lose a connection; nothing is due for those who wait while it is opened anew."""
        due = self.model.core.next_deadline(waiting=True)
        if self.model.waiting and due is not None and due <= self.now + 10 * SECOND:
            return
        self.mock.jump(2.0)  # it has worked for a while
        await self.settled()
        await self.proxies[number].cut()
        with trio.move_on_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.reached, number, nursery.cancel_scope)
                jumped_at = perf_counter()
                while True:
                    await trio.lowlevel.checkpoint()
                    if perf_counter() - jumped_at > 0.005:
                        self.mock.jump(0.02)
                        jumped_at = perf_counter()
        self.model.core.advance(self.now)
        await self.compare([self.model])

    async def reached(self, number: int, scope: trio.CancelScope) -> None:
        await self.queues[number].len()
        scope.cancel()

    async def settled(self) -> None:
        """Let all that the server has told by now be heard, and what comes of that be done."""
        for queue in (*self.queues, *self.queues):
            await queue.len()

    async def compare(self, fitting: list[Model]) -> None:
        """Go on with a model that agrees with what there is, at once or very soon."""
        began = perf_counter()
        while True:
            await self.settled()
            state = await self.state(self.queues[-1])
            for model in fitting:
                if (
                    self.served == model.served
                    and sum(map(len, self.takers)) == model.waiting
                    and state == model.state(self.now)
                ):
                    self.model = model
                    return
            if perf_counter() - began > PATIENCE:
                break
        model = fitting[0]
        assert self.served == model.served
        assert sum(map(len, self.takers)) == model.waiting
        assert state == model.state(self.now)

    async def state(self, queue: TimedQueue) -> object:
        """Return all there is."""
        return {
            state: [shown(each, 1000) for each in await queue.peek(state, 99)]
            for state in ("ready", "delayed", "reserved", "buried")
        }

    async def sums(self) -> dict[str, int]:
        """Return what all runtimes together have counted."""
        numbers = [await queue.statistics() for queue in self.queues]
        return {name: sum(getattr(each, name) for each in numbers) for name in SUMS}


async def play(
    url: str, mock: MockClock, many: int, steps: Iterable[Step], options: dict[str, object]
) -> None:
    """Play a history."""
    clock, prefix = Clock.open(), uuid4().hex
    clock.start_at(to_micros(clock.now_ns()) * 1000)
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            opened: list[Runtime] = []
            queues, proxies = [], []
            for number in range(many):
                proxy = await stack.enter_async_context(a_proxy(url, Path(folder) / f"{number}"))
                config = a_config(proxy.url, prefix, clock="caller", poll=NEVER, on_failure="wait")
                runtime = await stack.enter_async_context(open_runtime(config, clock=clock))
                proxies.append(proxy)
                opened.append(runtime)
                queues.append(
                    await runtime.define(
                        "q", kind="timed", reservation_time=60, codec="bytes", **options
                    )
                )
            async with trio.open_nursery() as nursery:
                model = Model(TimedCore(**options))  # type: ignore[arg-type] # they are its own
                played = Play(mock, clock, nursery, opened, queues, proxies, model)
                try:
                    for step in steps:
                        await played.step(step)
                    numbers = played.model.core.statistics(played.now)
                    assert await played.sums() == {name: getattr(numbers, name) for name in SUMS}
                finally:
                    mock.rate = 100.0
                nursery.cancel_scope.cancel()


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("many", [2, 3])
@given(steps=st.lists(STEPS, min_size=5, max_size=25), options=OPTIONS)
@settings(max_examples=25 * TORTURE, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_several_runtimes_do_together_what_one_core_does(
    many: int, valkey: str, steps: list[Step], options: dict[str, object]
) -> None:
    mock = MockClock()

    trio.run(play, valkey, mock, many, steps, options, clock=mock)
