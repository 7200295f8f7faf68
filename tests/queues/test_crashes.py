"""Killed at any point, the queue's actor loses no message and no caller."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from queueactors import QueueFullError
from queueactors._insist import insist
from queueactors.cores.timed import TimedCore
from supervisors import ActorCrashedError, ActorDownError, ActorError, PendingReply
from tests.cores.faults import Faults

from .kit import (
    Boom,
    Caller,
    FaultyStore,
    Rig,
    crash_at,
    crash_once,
    error_of,
    everything_in,
    running,
    settle,
    start,
)

if TYPE_CHECKING:
    from queueactors import Reservation, TimedQueue
    from queueactors.engines import Engine, Parked
    from queueactors.stores import Kind
    from tests.conftest import Events


class Unfriendly:
    """Equal to its like, until it is angry."""

    angry = False

    def __repr__(self) -> str:
        return "unfriendly"

    def __hash__(self) -> int:
        if self.angry:
            raise Boom
        return 1

    def __eq__(self, other: object) -> bool:
        if self.angry:
            raise Boom
        return isinstance(other, Unfriendly)


@attrs.define(eq=False)
class Traffic:
    """One batch of everything there is, for takers that wait, and what came of it.

    The values 0 to 19 go in one by one, in turn by a call, a cast, a submitted operation and a
    cast again. The casts and submitted ones are sent in order, the calls are not.
    """

    rig: Rig
    takers: list[Caller[object]] = attrs.field(factory=list)
    submitted_takers: list[PendingReply[object]] = attrs.field(factory=list)
    callers: list[Caller[object]] = attrs.field(factory=list)
    inserts: dict[int, Caller[object]] = attrs.field(factory=dict)
    submitted: dict[int, PendingReply[object]] = attrs.field(factory=dict)
    fillers: range = range(100, 106)

    async def run(self) -> None:
        """Send all of it; return once everybody has an answer."""
        with trio.fail_after(1000):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    self.takers.append(
                        await start(nursery, partial[object](self.rig.queue.reserve))
                    )
                    self.submitted_takers.append(self.rig.submit_reserve())
                    await settle()
                self.send(nursery)
                await settle()
                self.rig.store.fault = lambda _number, _method: False
                await insist(lambda: self.rig.queue.insert(*self.fillers))  # for all that wait yet
        assert all(reply.is_ready for reply in [*self.submitted.values(), *self.submitted_takers])

    def send(self, nursery: trio.Nursery) -> None:
        for value in range(0, 20, 4):
            for call in (
                partial(self.rig.queue.insert, value),
                self.rig.queue.statistics,
                self.rig.queue.len,
            ):
                caller = Caller[object](call)
                nursery.start_soon(caller.run)
                self.callers.append(caller)
            self.inserts[value] = self.callers[-3]
            self.rig.queue.insert_nowait(value + 1)
            self.submitted[value + 2] = self.rig.submit("insert", (value + 2,))
            self.rig.queue.insert_nowait(value + 3)

    def errors(self) -> list[BaseException]:
        """Return what the calls and the submitted operations failed with."""
        assert all(caller.done for caller in self.takers + self.callers)
        errors = [caller.error for caller in self.takers + self.callers]
        errors += map(error_of, [*self.submitted.values(), *self.submitted_takers])
        return [error for error in errors if error is not None]

    async def check(self, crashes: int) -> None:
        """Fail if anything was lost, doubled or disordered by so many crashes."""
        errors = self.errors()
        assert all(isinstance(error, ActorCrashedError) for error in errors)
        taken: list[object] = []  # in the order in which the takers began to wait
        for caller, reply in zip(self.takers, self.submitted_takers, strict=True):
            taken += [] if caller.answer is None else [_value(caller.answer)]
            taken += [] if error_of(reply) else [_value(reply.get_nowait())]
        ready = [message.value for message in await self.rig.queue.peek("ready", 99)]
        found = [value for value in [*taken, *ready] if value not in self.fillers]

        sure = {value for value, caller in self.inserts.items() if caller.error is None}
        sure |= {value for value, reply in self.submitted.items() if error_of(reply) is None}
        casts = {value + more for value in self.inserts for more in (1, 3)}
        assert len(found) == len(set(found))
        assert sure <= set(found) <= sure | casts
        assert len(errors) + len((sure | casts) - set(found)) <= crashes
        assert Counter([*taken, *ready]) == Counter(await everything_in(self.rig.queue))
        in_order = cast("list[int]", [value for value in found if value not in self.inserts])
        assert in_order == sorted(in_order)


def _value(reservation: object) -> object:
    return cast("Reservation", reservation).value


async def test_an_operation_that_crashes_at_any_place_of_a_batch_harms_only_itself(
    autojump_clock: MockClock,
) -> None:
    number = 0
    while True:
        number += 1
        async with running(FaultyStore(crash_at(number))) as rig:
            traffic = Traffic(rig)
            await traffic.run()
            crashes = rig.actor.restarts
            await traffic.check(crashes)
        if not crashes:
            break
        assert crashes == 1

    assert number > 30


@pytest.mark.slow
@pytest.mark.no_cover
async def test_a_fault_at_any_statement_of_the_core_harms_only_one_operation(
    autojump_clock: MockClock,
) -> None:
    number = 0
    while True:
        number += 1
        async with running() as rig:
            traffic = Traffic(rig)
            with Faults(number) as faults:
                await traffic.run()
            await traffic.check(1)
        if faults.raised is None:
            break

    assert number > 100


@pytest.mark.parametrize("every", [2, 3, 7])
async def test_crash_after_crash_loses_nothing(every: int, autojump_clock: MockClock) -> None:
    async with running(FaultyStore(lambda number, _method: number % every == 0)) as rig:
        traffic = Traffic(rig)
        await traffic.run()
        rig.store.fault = lambda _number, _method: False
        await traffic.check(rig.actor.restarts)

        assert rig.actor.restarts > 5


# -- who is the culprit ------------------------------------------------------------------------


async def test_a_call_that_crashes_the_actor_says_so_and_has_not_happened(
    autojump_clock: MockClock,
) -> None:
    async with running(FaultyStore(crash_once("insert"))) as rig:
        with pytest.raises(ActorCrashedError) as caught:
            await rig.queue.insert("a")

        assert isinstance(caught.value.__cause__, Boom)
        assert caught.value.actor == "q"
        assert await rig.queue.len() == 0


async def test_a_cast_that_crashes_the_actor_is_gone_and_the_rest_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with running(FaultyStore(crash_at(2))) as rig:
        for value in "abc":
            rig.queue.insert_nowait(value)

        assert await everything_in(rig.queue) == ["a", "c"]
        assert rig.actor.restarts == 1


async def test_a_submitted_operation_that_crashes_the_actor_says_so(
    autojump_clock: MockClock,
) -> None:
    async with running(FaultyStore(crash_once("insert"))) as rig:
        reply = rig.submit("insert", ("a",))

        with pytest.raises(ActorCrashedError):
            await reply.get()
        with pytest.raises(ActorCrashedError):
            reply.get_nowait()
        assert await rig.queue.len() == 0


@pytest.mark.parametrize("submitted", [False, True])
async def test_a_parked_taker_that_crashes_the_actor_is_the_culprit_not_who_woke_it(
    submitted: bool,  # noqa: FBT001
    autojump_clock: MockClock,
) -> None:
    async with running() as rig, trio.open_nursery() as nursery:
        reply = rig.submit_reserve() if submitted else None
        await settle()
        first = None if submitted else await start(nursery, rig.queue.reserve)
        second = await start(nursery, rig.queue.reserve)
        rig.store.fault = crash_once("reserve")

        assert await rig.queue.insert("a") == 1
        await settle()

        error = error_of(reply) if reply is not None else first and first.error
        assert isinstance(error, ActorCrashedError)
        assert second.got.value == "a"
        assert len(rig.actor.parked) == 0


async def test_a_parked_taker_can_be_the_culprit_when_an_expiry_wakes_it(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig, trio.open_nursery() as nursery:
        await rig.queue.insert("a")
        await rig.queue.reserve(5)
        first = await start(nursery, rig.queue.reserve)
        second = await start(nursery, rig.queue.reserve)
        rig.store.fault = crash_once("reserve")

        await trio.sleep(6)

        assert isinstance(first.error, ActorCrashedError)
        assert second.got.value == "a"


async def test_an_insert_that_waits_for_room_is_the_culprit_not_who_made_it(
    autojump_clock: MockClock,
) -> None:
    async with running(max_length=2) as rig, trio.open_nursery() as nursery:
        await rig.queue.insert("a", "b")
        first = await start(nursery, lambda: rig.queue.wait_insert("c", "d"))
        second = await start(nursery, lambda: rig.queue.wait_insert("e"))
        rig.store.fault = crash_once("wait_insert")

        assert await rig.queue.clear() == 2
        await settle()

        assert isinstance(first.error, ActorCrashedError)
        assert second.got == 1
        assert await everything_in(rig.queue) == ["e"]


async def test_those_who_wait_for_room_keep_their_order_and_their_timeouts_over_a_crash(
    autojump_clock: MockClock,
) -> None:
    async with running(max_length=1) as rig, trio.open_nursery() as nursery:
        await rig.queue.insert("a")
        late = await start(nursery, lambda: rig.queue.wait_insert("late", timeout=10))
        first = await start(nursery, lambda: rig.queue.wait_insert("b"))
        second = await start(nursery, lambda: rig.queue.wait_insert("c"))
        rig.store.fault = crash_once("length", "insert")
        for crash in (rig.queue.len, lambda: rig.queue.insert("never")):
            with pytest.raises(ActorCrashedError):
                await crash()

        with pytest.raises(QueueFullError, match="others wait for room"):
            await rig.queue.insert("never")
        await trio.sleep(11)
        await rig.queue.clear()
        await settle()

        assert isinstance(late.error, trio.TooSlowError)
        assert (first.got, second.done) == (1, False)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("every", [2, 3, 5])
async def test_whoever_waits_for_room_gets_in_once_or_hears_of_the_crash(
    every: int, autojump_clock: MockClock
) -> None:
    store = FaultyStore(lambda number, _method: number % every == 0)
    async with running(store, max_length=3) as rig:
        callers: dict[int, Caller[int]] = {}
        taken: list[object] = []
        with trio.fail_after(1000):
            async with trio.open_nursery() as nursery:
                for value in range(30):
                    call = partial(rig.queue.wait_insert, value)
                    callers[value] = await start(nursery, call)
                while len(taken) < len([each for each in callers.values() if not each.error]):
                    held = await insist(rig.queue.reserve)
                    await insist(partial(rig.queue.delete, held))
                    taken.append(held.value)
                    await settle()

        assert taken == [value for value, caller in callers.items() if caller.error is None]
        assert all(isinstance(each.error, ActorCrashedError | None) for each in callers.values())
        assert rig.actor.restarts > 10


async def test_those_who_were_served_before_the_crash_keep_what_they_got(
    autojump_clock: MockClock,
) -> None:
    """Trap 1: a parked taker that a later batch served is not in that batch."""
    async with running() as rig, trio.open_nursery() as nursery:
        taker = await start(nursery, rig.queue.reserve)
        rig.store.fault = crash_once("length")

        rig.queue.insert_nowait("a")
        crashing = await start(nursery, rig.queue.len)

        assert isinstance(crashing.error, ActorCrashedError)
        assert taker.got.value == "a"
        assert await everything_in(rig.queue) == ["a"]


async def test_a_crash_without_a_culprit_is_retried(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    armed = fail_in_advance(monkeypatch, times=3)
    async with running() as rig, trio.open_nursery() as nursery:
        await rig.queue.statistics()
        taker = await start(nursery, rig.queue.reserve)
        armed.append(None)

        assert await rig.queue.insert("a") == 1
        await settle()

        assert rig.actor.restarts == 3
        assert taker.got.value == "a"


async def test_a_crash_without_a_culprit_is_retried_a_bounded_number_of_times(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    armed = fail_in_advance(monkeypatch, times=4)
    async with running() as rig, trio.open_nursery() as nursery:
        taker = await start(nursery, rig.queue.reserve)
        armed.append(None)

        with pytest.raises(ActorCrashedError):
            await rig.queue.insert("a")

        await settle()
        assert rig.actor.restarts == 4
        await rig.queue.insert("b")
        await settle()
        assert taker.got.value == "b"


async def test_an_actor_that_does_not_come_up_serves_its_callers_when_it_does(
    autojump_clock: MockClock,
) -> None:
    class Stubborn(FaultyStore):
        refusals = 0

        async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> Engine:
            if self.refusals:
                self.refusals -= 1
                raise Boom
            return await super().open_engine(queue, kind, parked)

    store = Stubborn()
    async with running(store) as rig, trio.open_nursery() as nursery:
        taker = await start(nursery, rig.queue.reserve)
        store.refusals = 3
        store.fault = crash_once("length")

        with pytest.raises(ActorCrashedError):
            await rig.queue.len()
        await rig.queue.insert("a")
        await settle()

        assert taker.got.value == "a"
        assert store.refusals == 0


def test_an_exit_leaves_nobody_waiting() -> None:
    class Quits:
        def __hash__(self) -> int:
            raise SystemExit(3)

    outcomes: list[Exception] = []
    replies: list[PendingReply[object]] = []

    async def call(queue: TimedQueue) -> None:
        with trio.CancelScope(shield=True):
            try:
                await queue.len()
            except ActorError as error:
                outcomes.append(error)

    async def main() -> None:
        async with trio.open_nursery() as nursery, running(unique=True) as rig:
            rig.submit("insert", (Quits(),))
            replies.append(rig.submit("length"))
            nursery.start_soon(call, rig.queue)
            nursery.start_soon(call, rig.queue)
            await trio.sleep(1)

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main, clock=MockClock(autojump_threshold=0))

    assert caught.value.subgroup(SystemExit)
    assert len(outcomes) == 2
    assert isinstance(error_of(replies[0]), ActorDownError)


# -- what is kept ------------------------------------------------------------------------------


async def test_what_was_queued_is_carried_out_by_the_next_incarnation(
    autojump_clock: MockClock,
) -> None:
    """Trap 7: nothing in the mailbox may point at a dead core."""
    async with running(FaultyStore(crash_at(1))) as rig:
        for value in "abc":
            rig.queue.insert_nowait(value)

        assert (await rig.queue.reserve()).value == "b"
        assert (await rig.queue.statistics()).ready == 1


async def test_a_handle_works_after_a_restart(autojump_clock: MockClock) -> None:
    """Trap 9: a restart closes nothing."""
    async with running(FaultyStore(crash_once("length"))) as rig:
        await rig.queue.insert("a")
        held = await rig.queue.reserve()
        with pytest.raises(ActorCrashedError):
            await rig.queue.len()

        assert await rig.queue.delete(held) == 1
        assert (await rig.queue.statistics()).restarts == 1


async def test_takers_keep_their_order_and_their_timeouts_over_a_crash(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig, trio.open_nursery() as nursery:
        first = await start(nursery, lambda: rig.queue.reserve(timeout=10))
        second = await start(nursery, rig.queue.reserve)
        third = await start(nursery, rig.queue.reserve)
        await trio.sleep(5)
        rig.store.fault = crash_once("length")
        with pytest.raises(ActorCrashedError):
            await rig.queue.len()

        await trio.sleep(4.9)
        assert not first.done
        await trio.sleep(0.2)
        await rig.queue.insert("a", "b")
        await settle()

        assert isinstance(first.error, trio.TooSlowError)
        assert (second.got.value, third.got.value) == ("a", "b")


async def test_what_was_dropped_before_a_crash_is_still_told(
    events: Events, autojump_clock: MockClock
) -> None:
    async with running(max_reservations=1) as rig:
        await rig.queue.insert("a")
        held = await rig.queue.reserve()
        rig.store.fault = crash_once("length")

        rig.submit("release", held.key)
        with pytest.raises(ActorCrashedError):
            await rig.queue.len()

        told = [event for event in events if event["event"] == "message_dropped"]
        assert [(event["queue"], event["id"], event["attempts"]) for event in told] == [("q", 1, 1)]


async def test_counters_survive_a_crash(autojump_clock: MockClock) -> None:
    async with running(FaultyStore(crash_once("length"))) as rig:
        await rig.queue.insert("a", "b")
        with pytest.raises(ActorCrashedError):
            await rig.queue.len()

        assert (await rig.queue.statistics()).inserted == 2


async def test_a_value_that_breaks_after_the_check_harms_only_its_insert(
    autojump_clock: MockClock,
) -> None:
    class Evil:
        calls = 0

        def __hash__(self) -> int:
            self.calls += 1
            if self.calls > 1:
                raise Boom
            return 1

    async with running(unique=True) as rig:
        with pytest.raises(ActorCrashedError):
            await rig.queue.insert("a", Evil(), "b")

        assert await rig.queue.len() == 0
        assert await rig.queue.insert("a", "b") == 2


@pytest.mark.parametrize("value", [Unfriendly(), [Unfriendly()], {"a": Unfriendly()}], ids=str)
async def test_a_value_that_begins_to_raise_keeps_no_queue_from_its_work(
    value: object, events: Events, autojump_clock: MockClock
) -> None:
    async with running(unique=True) as rig:
        Unfriendly.angry = False
        await rig.queue.insert(value, "other")
        assert await rig.queue.insert(value) == 0
        Unfriendly.angry = True
        try:
            held = await rig.queue.reserve()
            await rig.queue.release(held)
            rig.store.fault = crash_once("length")
            with pytest.raises(ActorCrashedError):
                await rig.queue.len()

            assert await rig.queue.insert("other", "new") == 1
            await rig.queue.delete(*await rig.queue.reserve_many(3))
            assert await rig.queue.len() == 0
        finally:
            Unfriendly.angry = False

    (event,) = [event for event in events if event["event"] == "value_not_compared"]
    assert (event["id"], event["error"]) == (1, "Boom")


async def test_a_value_that_begins_to_raise_can_be_finished_without_a_restart(
    autojump_clock: MockClock,
) -> None:
    async with running(unique=True) as rig:
        await rig.queue.insert(Unfriendly())
        Unfriendly.angry = True
        try:
            assert await rig.queue.delete(await rig.queue.reserve()) == 1
        finally:
            Unfriendly.angry = False

        assert rig.actor.restarts == 0
        assert await rig.queue.insert(Unfriendly()) == 1


def fail_in_advance(monkeypatch: pytest.MonkeyPatch, times: int) -> list[None]:
    """Let the core raise as time passes, so often, once something is in the returned list."""
    left = [None] * times
    armed: list[None] = []
    advance = TimedCore.advance

    def failing(core: TimedCore, now: int, limit: int | None = None) -> bool:
        if armed and left:
            left.pop()
            raise Boom
        return advance(core, now, limit)

    monkeypatch.setattr(TimedCore, "advance", failing)
    return armed
