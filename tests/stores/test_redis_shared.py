"""Runtimes that share queues on a Redis server: who waits is woken, and nothing lies about."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter, time_ns
from typing import TYPE_CHECKING
from uuid import uuid4

import attrs
import pytest
import trio

from queueactors import Clock, Reservation, ReservationError, StoreError, open_runtime
from queueactors.cores.timed import TimedStatistics
from queueactors.engines.redis import RedisEngine
from tests.queues.kit import cancel_after_every_step_of_all
from tests.queues.test_cancellation import OPERATIONS

from .redis_proxy import Proxy, a_proxy
from .test_redis_lost import a_config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors import Runtime, TimedQueue
    from supervisors import Operation

NEVER = 3600  # seconds between two questions: no word that was lost is made up for by asking
SOON = 1.0  # seconds


@attrs.define(eq=False)
class Party:
    """A few runtimes, each with a handle of the same queue."""

    runtimes: list[Runtime] = attrs.field(factory=list)
    queues: list[TimedQueue] = attrs.field(factory=list)
    proxies: list[Proxy] = attrs.field(factory=list)

    async def lose(self) -> None:
        """Let the first runtime never reach the server again, as if it were dead."""
        self.queues.pop(0)
        proxy = self.proxies.pop(0)
        proxy.refuses = True
        await proxy.cut()


@asynccontextmanager
async def sharing(
    url: str,
    many: int = 2,
    *,
    options: dict[str, object] | None = None,
    clock: Clock | None = None,
    proxies: Path | None = None,
    before: Iterable[str] = (),
    **queue: object,
) -> AsyncIterator[Party]:
    """Run runtimes that share a queue named ``q``; with proxies each behind one of its own.

    They have others before it.
    """
    prefix, options = uuid4().hex, {"poll": NEVER} | (options or {})
    given = {"reservation_time": 2 * NEVER} | queue
    async with AsyncExitStack() as stack:
        party = Party()
        for number in range(many):
            where = url
            if proxies is not None:
                proxy = await stack.enter_async_context(a_proxy(url, proxies / f"{number}"))
                party.proxies.append(proxy)
                where = proxy.url
            config = a_config(where, prefix, **options)
            runtime = await stack.enter_async_context(open_runtime(config, clock=clock))
            party.runtimes.append(runtime)
            for name in before:
                await runtime.define(name, kind="timed", reservation_time=2 * NEVER)
            party.queues.append(await runtime.define("q", kind="timed", **given))
        yield party


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds, for a second at most."""
    with trio.fail_after(SOON):
        while not condition():  # noqa: ASYNC110 - nobody can tell
            await trio.sleep(0.001)


async def until_at_once(condition: Callable[[], object]) -> None:
    """Likewise, though the test's clock stands still."""
    began = perf_counter()
    while not condition():
        await trio.lowlevel.checkpoint()
        assert perf_counter() - began < 5 * SOON


async def waiting(queue: TimedQueue, many: int = 1) -> None:
    """Wait until so many takers wait at a runtime, and the server knows it."""
    with trio.fail_after(SOON):
        while (await queue.statistics()).waiting != many:  # noqa: ASYNC110 - nobody can tell
            await trio.sleep(0.001)


async def asleep(party: Party) -> None:
    """Let all that the server has told by now be heard."""
    for _ in range(2):
        for queue in party.queues:
            await queue.len()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Count the questions that each engine puts to the server."""
    counted: Counter[int] = Counter()
    ask = RedisEngine._ask  # noqa: SLF001

    async def asking(
        self: RedisEngine,
        lanes: dict[str, list[Operation]],
        new: list[Operation],
        sent: list[Operation],
        *,
        full: bool,
    ) -> object:
        counted[id(self._link)] += 1
        return await ask(self, lanes, new, sent, full=full)

    monkeypatch.setattr(RedisEngine, "_ask", asking)
    return counted


# -- who is woken -----------------------------------------------------------------------------


async def test_a_runtime_is_woken_for_each_of_its_takers(valkey: str) -> None:
    async with sharing(valkey) as party, trio.open_nursery() as nursery:
        here, there = party.queues
        taken: list[object] = []

        async def take() -> None:
            taken.append((await here.reserve()).value)

        for _ in range(3):
            nursery.start_soon(take)
        await waiting(here, 3)
        for number in range(3):
            await there.insert(number)
            await until(lambda: len(taken) == number + 1)  # noqa: B023
        assert taken == [0, 1, 2]


async def test_who_waits_for_room_is_woken_again_after_its_own_runtime_made_some(
    valkey: str,
) -> None:
    async with sharing(valkey, max_length=3) as party, trio.open_nursery() as nursery:
        here, there = party.queues
        await here.insert("a", "b", "c")
        mine, *others = await here.reserve_many(1) + await there.reserve_many(2)
        inserted: list[int] = []

        async def put() -> None:
            inserted.append(await here.wait_insert("d", "e", "f"))

        nursery.start_soon(put)
        while not (await here.statistics()).inserting:  # noqa: ASYNC110 - nobody can tell
            await trio.sleep(0.001)
        await here.delete(mine)
        await there.delete(*others)

        await until(lambda: inserted == [3])


async def test_a_word_for_a_taker_that_has_left_goes_to_another_runtime(valkey: str) -> None:
    async with sharing(valkey, 3) as party, trio.open_nursery() as nursery:
        first, second, other = party.queues
        taken: list[object] = []

        async def take() -> None:
            taken.append((await second.reserve()).value)

        with trio.move_on_after(0.05):
            await first.reserve()
        with pytest.raises(trio.TooSlowError):
            await first.reserve(timeout=0.05)
        nursery.start_soon(take)
        await waiting(second)
        with trio.fail_after(0.04):  # sooner than somebody would look after it
            await other.insert("a")
            while not taken:  # noqa: ASYNC110 - nobody can tell
                await trio.sleep(0.001)


@pytest.mark.slow
async def test_one_insert_wakes_one_of_twenty_runtimes(valkey: str, calls: Counter[int]) -> None:
    async with sharing(valkey, 21) as party, trio.open_nursery() as nursery:
        taken: list[object] = []

        async def take(queue: TimedQueue) -> None:
            taken.append((await queue.reserve()).value)

        for queue in party.queues[1:]:
            nursery.start_soon(take, queue)
            await waiting(queue)
        calls.clear()
        await party.queues[0].insert("a")
        await until(lambda: taken)
        await trio.sleep(0.2)

        assert len(calls) == 2
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_those_who_wait_take_turns(valkey: str) -> None:
    async with sharing(valkey, 4) as party, trio.open_nursery() as nursery:
        taken: Counter[int] = Counter()

        async def take(number: int, queue: TimedQueue) -> None:
            while True:
                await queue.delete(await queue.reserve())
                taken[number] += 1

        for number, queue in enumerate(party.queues[1:]):
            nursery.start_soon(take, number, queue)
            await waiting(queue)
        for number in range(30):
            await party.queues[0].insert(number)
            await until(lambda: taken.total() == number + 1)  # noqa: B023
            await asleep(party)

        assert [taken[number] for number in range(3)] == [10, 10, 10]
        nursery.cancel_scope.cancel()


# -- what becomes due -------------------------------------------------------------------------


async def test_a_delay_ends_on_time_for_who_waited_before_it_began(valkey: str) -> None:
    async with sharing(valkey, options={"poll": 5.0}) as party, trio.open_nursery() as nursery:
        here, there = party.queues
        taken: list[float] = []

        async def take() -> None:
            await here.reserve()
            taken.append(trio.current_time())

        nursery.start_soon(take)
        await waiting(here)
        began = trio.current_time()
        await there.insert("a", delay=0.1)
        await until(lambda: taken)

        assert 0.1 <= taken[0] - began < 0.15


@pytest.mark.parametrize("seconds", [-3600, 3600])
async def test_the_clock_of_a_runtime_does_not_matter(valkey: str, seconds: int) -> None:
    clock = Clock.open(wall=lambda: time_ns() + seconds * 10**9)
    async with sharing(valkey, 1, clock=clock) as party:
        (queue,) = party.queues
        await queue.insert("a", delay=0.1)
        with trio.fail_after(SOON):
            taken = await queue.reserve()
        await queue.release(taken)

        age = (await queue.statistics()).oldest_age
        shown = queue._actor.statistics()  # noqa: SLF001 - as metrics are made

        assert isinstance(shown, TimedStatistics)
        assert age is not None
        assert shown.oldest_age is not None
        assert age <= shown.oldest_age < SOON


async def test_a_message_comes_back_on_time_to_who_waited_before_it_was_taken(valkey: str) -> None:
    async with sharing(valkey, options={"poll": 5.0}) as party, trio.open_nursery() as nursery:
        here, there = party.queues
        taken: list[tuple[int, float]] = []

        async def take(queue: TimedQueue, seconds: float) -> None:
            taken.append(((await queue.reserve(seconds)).attempt, trio.current_time()))

        nursery.start_soon(take, here, 5)
        await waiting(here)
        nursery.start_soon(take, there, 0.1)
        await waiting(there)
        await there.insert("a")  # its own taker comes first
        await until(lambda: len(taken) == 2)

        (first, began), (second, ended) = taken
        assert (first, second) == (1, 2)
        assert 0.09 <= ended - began < 0.15


async def test_a_reservation_that_is_made_to_end_sooner_is_noticed_on_time(valkey: str) -> None:
    async with sharing(valkey, options={"poll": 5.0}) as party, trio.open_nursery() as nursery:
        here, there = party.queues
        taken: list[float] = []

        async def take() -> None:
            await here.reserve()
            taken.append(trio.current_time())

        await there.insert("a")
        reservation = await there.reserve(4)
        nursery.start_soon(take)
        await waiting(here)
        began = trio.current_time()
        await there.touch(reservation, 0.1)
        await until(lambda: taken)

        assert 0.1 <= taken[0] - began < 0.15


# -- who is woken and does not come ------------------------------------------------------------


@pytest.mark.slow
async def test_a_message_whose_taker_died_when_it_was_woken_goes_to_another(valkey: str) -> None:
    async with sharing(valkey, 4) as party, trio.open_nursery() as nursery:
        dead, deader, alive, other = party.queues
        taken: list[object] = []

        async def take(queue: TimedQueue) -> None:
            taken.append((await queue.reserve()).value)

        for queue in (dead, deader, alive):
            nursery.start_soon(take, queue)
            await waiting(queue)
        for queue in (dead, deader):  # they hear, and do nothing about it
            link = queue._actor._engine._link  # type: ignore[union-attr]  # noqa: SLF001
            link.wake = None
        began = trio.current_time()
        await other.insert("a")
        await until(lambda: taken)

        assert trio.current_time() - began < 0.6  # a quarter of a second for each
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def crowded(
    url: str, clock: MockClock
) -> AsyncIterator[tuple[TimedQueue, trio.CancelScope, list[int]]]:
    """Run three runtimes that go by the test's clock; two wait for room, the first is told of it.

    It hears that, and does nothing about it. Yield its queue, what ends its wait, and who got in.
    """
    options = {"clock": "caller", "poll": 5.0}
    async with (
        sharing(url, 3, options=options, clock=Clock.open(), max_length=1) as party,
        trio.open_nursery() as nursery,
    ):
        deaf, _, other = party.queues
        scope = trio.CancelScope()
        got_in: list[int] = []

        async def put(number: int, queue: TimedQueue, scope: trio.CancelScope) -> None:
            with scope:
                await queue.wait_insert(number)
                got_in.append(number)

        await other.insert("a")
        held = await other.reserve()
        for number, queue in enumerate(party.queues[:2]):
            nursery.start_soon(put, number, queue, trio.CancelScope() if number else scope)
            while not (await queue.statistics()).inserting:
                await trio.lowlevel.checkpoint()
            clock.jump(0.001)  # the first one waits longer
        deaf._actor._engine._link.wake = None  # type: ignore[union-attr]  # noqa: SLF001
        await other.delete(held)
        await other.len()
        assert got_in == []
        yield deaf, scope, got_in
        nursery.cancel_scope.cancel()


async def test_a_word_of_room_for_somebody_who_has_left_goes_to_another(
    valkey: str, mock_clock: MockClock
) -> None:
    async with crowded(valkey, mock_clock) as (deaf, scope, got_in):
        scope.cancel()
        await deaf.len()

        await until_at_once(lambda: got_in == [1])


async def test_room_that_nobody_comes_for_goes_to_another(
    valkey: str, mock_clock: MockClock
) -> None:
    async with crowded(valkey, mock_clock) as (_, _, got_in):
        mock_clock.jump(0.3)

        await until_at_once(lambda: got_in == [1])


# -- refills ----------------------------------------------------------------------------------


@attrs.define(eq=False)
class Source:
    """What a queue is refilled from; it says how many are at it at a time."""

    event: trio.Event = attrs.field(factory=trio.Event)
    running: int = 0
    most: int = 0
    begun: int = 0

    async def fetch(self) -> list[int]:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.event.wait()
        finally:
            self.running -= 1
        return [self.begun]


@asynccontextmanager
async def refilled(
    url: str, source: Source, many: int = 2, proxies: Path | None = None
) -> AsyncIterator[Party]:
    """Run runtimes that go by the test's clock, and refill their queue from a source."""
    clock = Clock.open()
    options = {"clock": "caller", "poll": 5.0}
    async with sharing(
        url,
        many,
        options=options,
        clock=clock,
        proxies=proxies,
        sync_fn=source.fetch,
        sync_interval=1.0,
        reservation_time=1e6,
    ) as party:
        for _ in range(3):
            await asleep(party)  # what is asked when a queue begins has been asked
        yield party


async def spend(clock: MockClock, seconds: int, party: Party) -> None:
    """Let seconds pass, one by one, in each of which everybody does what is due."""
    for _ in range(seconds):
        clock.jump(1.0)
        await asleep(party)


@pytest.mark.slow
async def test_one_runtime_refills_at_a_time_however_long_it_takes(
    valkey: str, mock_clock: MockClock
) -> None:
    source = Source()
    async with refilled(valkey, source, 3) as party, trio.open_nursery() as nursery:
        for queue in party.queues:
            nursery.start_soon(queue.reserve)
        await asleep(party)
        await spend(mock_clock, 200, party)
        begun = source.begun
        source.event.set()
        await asleep(party)

        assert (begun, source.most) == (1, 1)
        nursery.cancel_scope.cancel()


async def test_the_refill_of_a_runtime_that_is_gone_is_taken_over_after_its_lease(
    valkey: str, mock_clock: MockClock, tmp_path: Path
) -> None:
    source = Source()
    async with (
        refilled(valkey, source, proxies=tmp_path) as party,
        trio.open_nursery() as nursery,
    ):
        gone, alive = party.queues
        taken: list[object] = []

        async def take() -> None:
            taken.append((await alive.reserve()).value)

        async def take_in_vain() -> None:
            with pytest.raises(StoreError):
                await gone.reserve()

        nursery.start_soon(take_in_vain)
        await until_at_once(lambda: source.running == 1)
        await party.lose()
        nursery.start_soon(take)
        await spend(mock_clock, 59, party)
        before = source.begun
        await spend(mock_clock, 2, party)
        await until_at_once(lambda: source.begun == 2)
        source.event.set()
        await until_at_once(lambda: taken)

        assert (before, taken) == (1, [2])
        nursery.cancel_scope.cancel()


async def test_who_waits_for_a_refill_gets_another_one_if_its_runtime_is_gone(
    valkey: str, mock_clock: MockClock, tmp_path: Path
) -> None:
    source = Source()
    async with (
        refilled(valkey, source, proxies=tmp_path) as party,
        trio.open_nursery() as nursery,
    ):
        gone, alive = party.queues
        added: list[int] = []

        async def refill() -> None:
            added.append(await alive.sync())

        async def refill_in_vain() -> None:
            with pytest.raises(StoreError):
                await gone.sync()

        nursery.start_soon(refill_in_vain)
        await until_at_once(lambda: source.running == 1)
        nursery.start_soon(refill)
        await asleep(party)
        await party.lose()
        await spend(mock_clock, 61, party)
        await until_at_once(lambda: source.begun == 2)
        source.event.set()
        await until_at_once(lambda: added)

        assert added == [1]
        nursery.cancel_scope.cancel()


async def test_a_refill_that_ends_late_does_not_end_the_one_that_took_it_over(
    valkey: str, mock_clock: MockClock, tmp_path: Path
) -> None:
    source = Source()
    async with (
        refilled(valkey, source, proxies=tmp_path) as party,
        trio.open_nursery() as nursery,
    ):
        late, alive = party.queues
        taken: list[object] = []

        async def take() -> None:
            taken.append((await alive.reserve()).value)

        async def take_in_vain() -> None:
            with pytest.raises(StoreError):
                await late.reserve()

        nursery.start_soon(take_in_vain)
        await until_at_once(lambda: source.running == 1)
        party.proxies[0].hangs = True
        party.queues.remove(late)
        nursery.start_soon(take)
        await spend(mock_clock, 61, party)
        await until_at_once(lambda: source.begun == 2)
        party.proxies[0].hangs = False
        link = late._actor._engine._link  # type: ignore[union-attr]  # noqa: SLF001
        mock_clock.rate = 100.0
        await until_at_once(lambda: link.works)
        mock_clock.rate = 0.0  # an answer may take as long as it likes
        await late._actor.ask("refilled", [b"\x01"])  # noqa: SLF001 - as its errands do
        await until_at_once(lambda: taken)

        assert taken == [1]
        assert (await alive.statistics()).refilling
        nursery.cancel_scope.cancel()


async def test_what_a_refill_brings_goes_in_once_however_often_it_is_told(
    valkey: str, mock_clock: MockClock
) -> None:
    source = Source()
    async with refilled(valkey, source, 1) as party:
        (queue,) = party.queues
        await queue.try_reserve()
        await until_at_once(lambda: source.running)

        answers = [await queue._actor.ask("refilled", [b"\x01"]) for _ in range(2)]  # noqa: SLF001 - as its errands do

        assert answers == [1, 1]
        assert await queue.len() == 1


async def test_a_queue_that_was_dropped_is_refilled_when_it_begins_anew(valkey: str) -> None:
    async with open_runtime(a_config(valkey, uuid4().hex, poll=NEVER)) as runtime:
        for number in range(2):
            source = {"sync_fn": lambda: [number], "sync_interval": 0}  # noqa: B023
            queue = await runtime.define("q", kind="timed", reservation_time=NEVER, **source)
            with trio.fail_after(SOON):
                assert (await queue.reserve()).value == number
            await runtime.drop("q")


# -- dead letters -----------------------------------------------------------------------------


@asynccontextmanager
async def mortal(
    url: str, many: int = 2, proxies: Path | None = None
) -> AsyncIterator[tuple[Party, list[TimedQueue]]]:
    """Run runtimes whose messages are dead after a single reservation; also yield the dead ones."""
    async with sharing(
        url,
        many,
        options={"clock": "caller", "poll": 5.0},
        clock=Clock.open(),
        proxies=proxies,
        before=("dead",),
        max_reservations=1,
        on_exhausted="dead",
    ) as party:
        dead = [runtime.queue("dead") for runtime in party.runtimes]
        for _ in range(3):
            await asleep(party)
        yield party, dead


async def holds(queue: TimedQueue, many: int) -> None:
    """Wait until a queue holds so many messages, though the test's clock stands still."""
    began = perf_counter()
    while await queue.len() < many:
        assert perf_counter() - began < 5 * SOON


async def test_a_message_that_dies_while_nobody_looks_is_posted_on_time(
    valkey: str, mock_clock: MockClock
) -> None:
    async with mortal(valkey, 1) as (party, (dead,)):
        (queue,) = party.queues
        await queue.insert("a")
        await queue.reserve(2)
        mock_clock.jump(2.0)

        await holds(dead, 1)


@pytest.mark.slow
async def test_a_letter_whose_runtime_is_gone_is_posted_by_another(
    valkey: str, mock_clock: MockClock, tmp_path: Path
) -> None:
    async with mortal(valkey, proxies=tmp_path) as (party, (_, dead)):
        gone, alive = party.queues
        posting = gone._actor.on_errand  # noqa: SLF001 - it is about to
        gone._actor.on_errand = None  # noqa: SLF001
        assert posting is not None
        await gone.insert("a", "b")
        for reservation in await gone.reserve_many(2):
            await gone.release(reservation)
        await gone._actor.ask("dead_letters")  # noqa: SLF001 - its errands have them now
        await party.lose()
        await alive.len()
        await spend(mock_clock, 59, party)
        before = await dead.len()
        await spend(mock_clock, 2, party)
        await holds(dead, 2)
        await spend(mock_clock, 100, party)

        assert before == 0
        assert [each.value.value for each in await dead.peek(limit=9)] == ["a", "b"]  # type: ignore[attr-defined] # letters


async def test_a_letter_that_lies_about_is_posted_by_whoever_sees_it(
    valkey: str, mock_clock: MockClock, tmp_path: Path
) -> None:
    async with mortal(valkey, proxies=tmp_path) as (party, (_, dead)):
        gone, alive = party.queues
        gone._actor.on_errand = None  # noqa: SLF001 - it dies before it can
        await gone.insert("a")
        await gone.release(await gone.reserve())
        await party.lose()
        await alive.len()

        await holds(dead, 1)


async def test_letters_of_a_queue_that_begins_anew_are_others(valkey: str) -> None:
    async with mortal(valkey, 1) as (party, (dead,)):
        (queue,), (runtime,) = party.queues, party.runtimes
        for number in range(2):
            await queue.insert(number)
            await queue.release(await queue.reserve())
            await holds(dead, number + 1)
            await runtime.drop("q")
            queue = await runtime.define(
                "q",
                kind="timed",
                reservation_time=1,
                max_reservations=1,
                on_exhausted="dead",
            )

        assert [each.value.value for each in await dead.peek(limit=9)] == [0, 1]  # type: ignore[attr-defined] # letters


# -- callers that leave -----------------------------------------------------------------------

CHANGING = (
    "insert",
    "wait_insert",
    "reserve",
    "reserve_many",
    "try_reserve",
    "release",
    "bury",
    "delete",
    "kick",
    "remove",
    "clear",
    "pause",
)


async def there_is(queue: TimedQueue) -> list[object]:
    """Return all that a queue holds."""
    shown: list[object] = []
    for state in ("ready", "delayed", "reserved", "buried"):
        shown += await queue.peek(state, 9)
    return [*shown, (await queue.statistics()).paused]


async def anew(queue: TimedQueue) -> Reservation:
    """Put a few messages into an empty queue; return a reservation of one."""
    await queue.resume()
    await queue.clear()
    await queue.insert("buried", "held", "a", "b")
    await queue.bury(await queue.reserve())
    return await queue.reserve()


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGING)
async def test_an_operation_that_is_cancelled_at_any_step_happened_or_raises(
    name: str, valkey: str
) -> None:
    async with sharing(valkey) as party:
        here, there = party.queues
        held = await anew(there)
        before = await there_is(there)
        completed = False

        async def operation() -> None:
            nonlocal completed
            await OPERATIONS[name](here, held)
            completed = True

        async def check() -> None:
            nonlocal completed, held, before
            await asleep(party)
            assert (await there_is(there) != before) == completed
            with trio.fail_after(SOON):
                held = await anew(there)
                await here.insert("works")
            await there.remove((await there.peek("ready", 9))[-1].id)
            before = await there_is(there)
            completed = False

        assert await cancel_after_every_step_of_all(operation, check) > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["touch", "prolongate"])
async def test_a_reservation_whose_renewal_is_cancelled_at_any_step_is_renewed_or_as_before(
    name: str, valkey: str
) -> None:
    async with sharing(valkey) as party:
        here, there = party.queues
        await there.insert("a")
        held = await there.reserve()
        renewed: list[Reservation] = []

        async def operation() -> None:
            answer = await OPERATIONS[name](here, held)
            assert isinstance(answer, Reservation)
            renewed.append(answer)

        async def check() -> None:
            nonlocal held
            await asleep(party)
            if renewed:
                with pytest.raises(ReservationError):
                    await there.touch(held)
            with trio.fail_after(SOON):
                held = await there.touch(renewed.pop() if renewed else held)

        assert await cancel_after_every_step_of_all(operation, check) > 5


@pytest.mark.slow
@pytest.mark.parametrize("take", ["reserve", "reserve_many"])
async def test_a_taker_that_is_cancelled_while_it_is_woken_takes_nothing(
    take: str, valkey: str
) -> None:
    async with sharing(valkey) as party:
        here, there = party.queues
        taken: list[object] = []

        async def operation() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(insert)
                taken.append(await OPERATIONS[take](here, None))  # type: ignore[arg-type] # none

        async def insert() -> None:
            with trio.CancelScope(shield=True):
                await there.insert("a")

        async def check() -> None:
            await asleep(party)
            states = [len(await there.peek(state, 9)) for state in ("ready", "reserved")]
            assert states == ([0, 1] if taken else [1, 0])
            taken.clear()
            await there.clear()
            with trio.fail_after(SOON):
                await there.insert("works")
                await here.delete(await here.reserve())

        assert await cancel_after_every_step_of_all(operation, check) > 5
