"""A capacity queue whose actor crashes and whose callers are cancelled, at every point."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, assert_type

import pytest
import trio

from queueactors import CapacityQueue, CapacityStatistics, CodecError, QueueClosedError
from queueactors._insist import insist
from queueactors.testing import cancel_at_every_step
from supervisors import ActorCrashedError, ActorDownError, PendingReply

from .kit import (
    Boom,
    Caller,
    FaultyStore,
    KindRig,
    cancel_after_every_step_of_all,
    crash_at,
    crash_once,
    running_kind,
    settle,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from trio.testing import MockClock

    Sweep = Callable[
        [Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]], Awaitable[int]
    ]

sweeps = pytest.mark.parametrize(
    "sweep", [cancel_at_every_step, cancel_after_every_step_of_all], ids=["own steps", "all steps"]
)
OPERATIONS: dict[str, Callable[[CapacityQueue], Awaitable[object]]] = {
    "push": lambda queue: queue.push(b"new", b"newer"),
    "wait_push": lambda queue: queue.wait_push(b"new", b"newer"),
    "wait_push with a timeout": lambda queue: queue.wait_push(b"new", timeout=5),
    "pop": lambda queue: queue.pop(2),
    "wait_pop": lambda queue: queue.wait_pop(2),
    "wait_pop with a timeout": lambda queue: queue.wait_pop(timeout=5),
    "resize": lambda queue: queue.resize(50),
    "clear": lambda queue: queue.clear(),
    "close": lambda queue: queue.close(),
    "pause": lambda queue: queue.pause(),
    "resume": lambda queue: queue.resume(),
    "len": lambda queue: queue.len(),
    "is_empty": lambda queue: queue.is_empty(),
    "payload_size": lambda queue: queue.payload_size(),
    "disk_size": lambda queue: queue.disk_size(),
    "statistics": lambda queue: queue.statistics(),
}
READING = {"len", "is_empty", "payload_size", "disk_size", "statistics"}
METHODS = {"wait_pop": "pop", "len": "length"}  # of the core, where they are called otherwise


def running(
    store: FaultyStore | None = None, **options: object
) -> AbstractAsyncContextManager[KindRig[CapacityQueue]]:
    """Run a queue; crashes restart it at once, however many there are."""
    return running_kind(CapacityQueue, "q", store, **options)  # type: ignore[arg-type] # they are the queue's


async def everything_in(queue: CapacityQueue) -> list[object]:
    """Take out all there is, also of one that is closed or paused."""
    await queue.resume()
    try:
        return await queue.pop(10**6)
    except QueueClosedError:
        return []


async def state_of(queue: CapacityQueue) -> tuple[object, ...]:
    """Return all that can be seen of a queue without changing it."""
    numbers = await queue.statistics()
    return (
        numbers.length,
        numbers.payload_size,
        numbers.max_elements,
        numbers.pushed,
        numbers.popped,
        numbers.cleared,
        numbers.closed,
        numbers.paused,
        numbers.waiting,
        numbers.pushing,
    )


# -- cancellation ----------------------------------------------------------------------------------


@sweeps
@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_cancelled_operation_has_not_happened(
    name: str, sweep: Sweep, autojump_clock: MockClock
) -> None:
    completed = False
    before: object = None

    async with running(max_elements=9) as rig:
        queue = rig.queue

        async def prepare() -> None:
            nonlocal completed, before
            completed = False
            rig.records().closed = False  # type: ignore[attr-defined] # it has it
            await queue.resume()
            await queue.resize(9)
            await queue.clear()
            await queue.push(b"a", b"b", b"c")
            if name == "resume":
                await queue.pause()
            before = await state_of(queue)

        async def operation() -> None:
            nonlocal completed
            await OPERATIONS[name](queue)
            completed = True

        async def check() -> None:
            await settle()
            with trio.fail_after(1000):
                assert (await state_of(queue) != before) == (completed and name not in READING)
                await prepare()

        await prepare()
        assert await sweep(operation, check) > 1


@sweeps
@pytest.mark.parametrize("seconds", [None, 5])
async def test_a_taker_that_is_cancelled_while_it_waits_takes_nothing(
    seconds: float | None, sweep: Sweep, autojump_clock: MockClock
) -> None:
    taken: list[object] = []

    async with running() as rig:

        async def operation() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(push_later)
                taken.extend(await rig.queue.wait_pop(5, timeout=seconds))

        async def push_later() -> None:
            await trio.lowlevel.checkpoint()
            with trio.CancelScope(shield=True):
                await rig.queue.push(b"a", b"b")

        async def check() -> None:
            await settle()
            found = [*taken, *await rig.queue.pop(9)]
            assert found == [b"a", b"b"] or (found == [] and not taken)
            assert len(rig.actor.parked) == 0
            taken.clear()

        assert await sweep(operation, check) > 2


@sweeps
@pytest.mark.parametrize("seconds", [None, 5])
async def test_a_push_that_is_cancelled_while_it_waits_for_room_pushes_nothing(
    seconds: float | None, sweep: Sweep, autojump_clock: MockClock
) -> None:
    pushed: list[object] = []

    async with running(max_elements=2) as rig:
        queue = rig.queue

        async def operation() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(make_room)
                await queue.wait_push(b"new", b"newer", timeout=seconds)
                pushed.extend([b"new", b"newer"])

        async def make_room() -> None:
            await trio.lowlevel.checkpoint()
            with trio.CancelScope(shield=True):
                assert await queue.pop(2) == [b"a", b"b"]

        async def check() -> None:
            await settle()
            found = await queue.pop(9)
            assert found == pushed or (found == [b"a", b"b"] and not pushed)
            assert len(rig.actor.parked) == 0
            pushed.clear()
            await queue.push(b"a", b"b")

        await queue.push(b"a", b"b")
        assert await sweep(operation, check) > 2


async def test_those_behind_a_push_that_left_have_their_turn(autojump_clock: MockClock) -> None:
    async with running(max_elements=3) as rig, trio.open_nursery() as nursery:
        await rig.queue.push(b"a", b"b")
        scope = trio.CancelScope()
        nursery.start_soon(leave, scope, rig.queue)
        await settle()
        behind = await start(nursery, lambda: rig.queue.wait_push(b"behind"))
        assert not behind.done

        scope.cancel()
        await settle()

        assert (behind.got, await rig.queue.pop(9)) == (1, [b"a", b"b", b"behind"])


async def leave(scope: trio.CancelScope, queue: CapacityQueue) -> None:
    with scope:
        await queue.wait_push(b"never", b"never")


# -- crashes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_operation_that_crashes_the_actor_says_so_and_has_not_happened(
    name: str, autojump_clock: MockClock
) -> None:
    word = name.split(maxsplit=1)[0]
    async with running() as rig:
        await rig.queue.push(b"a", b"b")
        before = await state_of(rig.queue)
        rig.store.fault = crash_once(METHODS.get(word, word))

        with pytest.raises(ActorCrashedError) as caught:
            await OPERATIONS[name](rig.queue)

        assert isinstance(caught.value.__cause__, Boom)
        assert await state_of(rig.queue) == before
        assert (await rig.queue.statistics()).restarts == 1
        assert await rig.queue.pop(9) == [b"a", b"b"]


async def traffic(rig: KindRig[CapacityQueue]) -> tuple[list[object], list[object], int]:
    """Let many push and pop; return what surely went in, what came out, and the errors."""
    sure: list[object] = []
    taken: list[object] = []
    takers: list[Caller[list[object]]] = []
    errors = 0
    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            takers += [
                await start(nursery, partial(rig.queue.wait_pop, limit)) for limit in (1, 3, 2, 4)
            ]
            pushers = {}
            for number in range(0, 40, 4):
                call = partial(rig.queue.wait_push, b"%d" % number, b"%d" % (number + 1))
                pushers[number] = Caller(call)
                nursery.start_soon(pushers[number].run)
                reply = rig.queue.submit.push(b"%d" % (number + 2), b"%d" % (number + 3))
                pushers[number + 2] = Caller(reply.get)
                nursery.start_soon(pushers[number + 2].run)
                nursery.start_soon(Caller[object](rig.queue.statistics).run)
                if number % 8 == 0:
                    takers.append(Caller(partial(rig.queue.wait_pop, 5)))
                    nursery.start_soon(takers[-1].run)
            await settle()
            rig.store.fault = lambda _number, _method: False
            taken += await rig.queue.pop(10**6)
            await rig.queue.close()
    for taker in takers:
        assert taker.done
        taken += taker.answer or []
    for number, pusher in pushers.items():
        assert isinstance(pusher.error, ActorCrashedError | None)
        errors += pusher.error is not None
        if pusher.error is None:
            sure += [b"%d" % number, b"%d" % (number + 1)]
    return sure, taken, errors


@pytest.mark.slow
async def test_a_crash_at_any_operation_loses_and_doubles_nothing(
    autojump_clock: MockClock,
) -> None:
    number = 0
    while True:
        number += 1
        async with running(FaultyStore(crash_at(number))) as rig:
            sure, taken, errors = await traffic(rig)
            crashes = rig.actor.restarts
            assert sorted(map(str, taken)) == sorted(map(str, sure))
            assert errors <= crashes <= 1
        if not crashes:
            break

    assert number > 30


@pytest.mark.parametrize("every", [2, 3, 7])
async def test_crash_after_crash_loses_and_doubles_nothing(
    every: int, autojump_clock: MockClock
) -> None:
    async with running(FaultyStore(lambda number, _method: number % every == 0)) as rig:
        sure, taken, _ = await traffic(rig)

        assert sorted(map(str, taken)) == sorted(map(str, sure))
        assert rig.actor.restarts > 3


@pytest.mark.parametrize("every", [2, 3, 5])
async def test_whoever_waits_for_room_gets_in_once_or_hears_of_the_crash(
    every: int, autojump_clock: MockClock
) -> None:
    store = FaultyStore(lambda number, _method: number % every == 0)
    async with running(store, max_elements=3) as rig:
        callers: dict[int, Caller[int]] = {}
        taken: list[object] = []
        with trio.fail_after(1000):
            async with trio.open_nursery() as nursery:
                for number in range(30):
                    callers[number] = await start(
                        nursery, partial(rig.queue.wait_push, b"%d" % number)
                    )
                while len(taken) < len([each for each in callers.values() if not each.error]):
                    taken += await insist(rig.queue.wait_pop)
                    await settle()

        assert taken == [b"%d" % n for n, caller in callers.items() if caller.error is None]
        assert all(isinstance(each.error, ActorCrashedError | None) for each in callers.values())
        assert rig.actor.restarts > 10


async def test_a_parked_taker_that_crashes_the_actor_is_the_culprit_not_who_woke_it(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig, trio.open_nursery() as nursery:
        first = await start(nursery, rig.queue.wait_pop)
        second = await start(nursery, rig.queue.wait_pop)
        rig.store.fault = crash_once("pop")

        assert await rig.queue.push(b"a") == 1
        await settle()

        assert isinstance(first.error, ActorCrashedError)
        assert second.got == [b"a"]


async def test_those_who_wait_keep_their_order_and_their_timeouts_over_a_crash(
    autojump_clock: MockClock,
) -> None:
    async with running(max_elements=1) as rig, trio.open_nursery() as nursery:
        await rig.queue.push(b"a")
        late = await start(nursery, lambda: rig.queue.wait_push(b"late", timeout=10))
        first = await start(nursery, lambda: rig.queue.wait_push(b"b"))
        second = await start(nursery, lambda: rig.queue.wait_push(b"c"))
        rig.store.fault = crash_once("length")
        with pytest.raises(ActorCrashedError):
            await rig.queue.len()
        await trio.sleep(11)

        assert await rig.queue.pop() == [b"a"]
        await settle()

        assert isinstance(late.error, trio.TooSlowError)
        assert (first.got, second.done) == (1, False)
        nursery.cancel_scope.cancel()


async def test_a_queue_stays_closed_resized_and_paused_over_a_crash(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        await rig.queue.push(b"a")
        await rig.queue.resize(7)
        await rig.queue.pause()
        await rig.queue.close()
        before = await state_of(rig.queue)
        rig.store.fault = crash_once("length")
        with pytest.raises(ActorCrashedError):
            await rig.queue.len()

        assert await state_of(rig.queue) == before
        assert await rig.queue.pop() == []


# -- stopped and ended -----------------------------------------------------------------------------


async def test_everybody_is_answered_when_the_queue_is_stopped(
    autojump_clock: MockClock,
) -> None:
    async with running(max_elements=1) as rig, trio.open_nursery() as nursery:
        await rig.queue.pause()
        await rig.queue.push(b"a")
        callers: list[Caller[object]] = [
            await start(nursery, lambda: rig.queue.wait_push(b"b")),
            await start(nursery, rig.queue.wait_pop),
        ]
        replies: list[PendingReply[object]] = [rig.queue.submit.wait_push(b"c")]  # type: ignore[list-item] # any
        await rig.supervisor.terminate_child("q")
        await settle()

        assert [type(caller.error) for caller in callers] == [ActorDownError] * 2
        for reply in replies:
            with pytest.raises(ActorDownError):
                reply.get_nowait()
        with pytest.raises(ActorDownError):
            await rig.queue.pop()
        with pytest.raises(ActorDownError):
            rig.queue.submit.len()
        await rig.supervisor.restart_child("q")
        assert await everything_in(rig.queue) == [b"a"]


async def test_a_queue_that_was_stopped_and_started_is_still_closed(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        await rig.queue.push(b"a")
        await rig.queue.close()
        await rig.supervisor.terminate_child("q")
        await rig.supervisor.restart_child("q")

        with pytest.raises(QueueClosedError):
            await rig.queue.push(b"b")
        assert await rig.queue.pop(9) == [b"a"]


# -- answers ---------------------------------------------------------------------------------------


async def test_an_answer_that_is_dropped_harms_nothing(autojump_clock: MockClock) -> None:
    async with running(mailbox=500, max_elements=200) as rig:
        for number in range(400):
            rig.queue.submit.push(b"%d" % number)  # half of them fail, and nobody asks
        for _ in range(50):
            rig.queue.submit.pop()
        await settle()

        assert (await rig.queue.len(), rig.queue.inflight_ops, rig.actor.restarts) == (150, 0, 0)
        assert await rig.queue.pop() == [b"50"]


async def test_a_twin_has_the_same_types(autojump_clock: MockClock) -> None:
    async with running() as rig:
        submit = rig.queue.submit
        assert_type(submit.push(b"a"), PendingReply[int])
        assert_type(submit.resize(5), PendingReply[None])
        assert_type(submit.statistics(), PendingReply[CapacityStatistics])
        assert_type(await rig.queue.len(), int)


class Choosy:
    """A codec that cannot read all it wrote."""

    name = "choosy"

    @staticmethod
    def encode(value: object) -> bytes:
        return str(value).encode()

    @staticmethod
    def decode(data: bytes) -> object:
        if data == b"bad":
            raise ValueError(data)
        return data.decode()


async def test_an_item_that_cannot_be_decoded_is_an_error_of_its_taker_only(
    autojump_clock: MockClock,
) -> None:
    async with running(codec=Choosy) as rig:
        await rig.queue.push("a", "bad", "c")
        rule = r"^codec 'choosy' failed: ValueError: b'bad'\nitem 2 of 3$"
        with pytest.raises(CodecError, match=rule):
            await rig.queue.pop(3)

        await rig.queue.push("d")
        assert await rig.queue.wait_pop() == ["d"]
        assert (await rig.queue.statistics()).restarts == 0
