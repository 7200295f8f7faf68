"""A message queue whose actor crashes, whose callers leave, or that is stopped, loses nothing."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, assert_type, cast

import attrs
import pytest
import trio

from queueactors import (
    Claim,
    ClaimLostError,
    Enqueued,
    MessageQueue,
    MessageStatistics,
    QueueClosedError,
    QueueFullError,
    QueueStatus,
    open_runtime,
)
from queueactors._insist import insist
from queueactors.testing import cancel_at_every_step
from supervisors import ActorCrashedError, ActorDownError, PendingReply
from tests.cores.faults import Faults

from .kit import (
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

    from trio.testing import MockClock

    from queueactors.cores.message import MessageRecords, Result

    Sweep = Callable[
        [Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]], Awaitable[int]
    ]

sweeps = pytest.mark.parametrize(
    "sweep", [cancel_at_every_step, cancel_after_every_step_of_all], ids=["own steps", "all steps"]
)
running = partial(running_kind, MessageQueue, "q")


def records(rig: KindRig[MessageQueue]) -> MessageRecords:
    return cast("MessageRecords", rig.records())


def remembered(rig: KindRig[MessageQueue]) -> object:
    """Return all that the records say, apart from numbers that may have gaps."""
    kept = records(rig)
    messages = [
        tuple(getattr(message, name) for name in message.__struct_fields__)
        for message in kept.messages.values()
    ]
    return attrs.asdict(kept.counters), messages, kept.closed, kept.paused_until


# -- crashes -------------------------------------------------------------------------------------


async def produce(queue: MessageQueue, name: str, count: int, errors: list[Exception]) -> None:
    """Enqueue messages, each until it is in, in turn in each of two ways."""
    for number in range(count):
        call = queue.wait_enqueue if number % 2 else queue.enqueue
        while True:
            try:
                await call(number, f"{name}{number}")
            except ActorCrashedError as error:
                errors.append(error)
            except QueueFullError:
                await trio.sleep(1)
            else:
                break


async def consume(queue: MessageQueue, done: list[str], errors: list[Exception]) -> None:
    """Handle messages until the end; each is tried again once."""
    with suppress(QueueClosedError):
        while True:
            try:
                claims = await queue.claim_many(2)
            except ActorCrashedError as error:
                errors.append(error)
                continue
            for claim in claims:
                result: Result = "success" if claim.attempt == 2 else "retry"
                try:
                    await claim.finish(result, 1)
                except ActorCrashedError as error:
                    errors.append(error)
                    await claim.finish(result, 1)  # it had not happened
                if result == "success":
                    done.append(claim.mid)


async def traffic(rig: KindRig[MessageQueue], count: int) -> None:
    """Let so many messages through, twice; fail if a crash lost or doubled one."""
    done: list[str] = []
    errors: list[Exception] = []
    with trio.fail_after(10_000):
        async with trio.open_nursery() as consumers:
            for _ in range(2):
                consumers.start_soon(consume, rig.queue, done, errors)
            async with trio.open_nursery() as producers:
                for name in "ab":
                    producers.start_soon(produce, rig.queue, name, count, errors)
            await insist(rig.queue.close)
    assert sorted(done) == [f"{name}{number}" for name in "ab" for number in range(count)]
    numbers = await insist(rig.queue.statistics)
    assert (numbers.added, numbers.succeeded, numbers.retried) == (2 * count,) * 3
    assert (numbers.claimed, numbers.expired, numbers.waiting) == (4 * count, 0, 0)
    assert len(errors) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("max_length", [None, 1, 3])
async def test_an_actor_that_dies_at_any_operation_loses_and_repeats_no_message(
    max_length: int | None, autojump_clock: MockClock
) -> None:
    number = 0
    store = FaultyStore()
    while store.count >= number:
        number += 1
        store = FaultyStore(crash_at(number))
        async with running(store, max_length=max_length) as rig:
            await traffic(rig, 3)
    assert number > 20


@pytest.mark.slow
@pytest.mark.no_cover
async def test_a_fault_at_any_statement_of_the_core_harms_only_one_operation(
    autojump_clock: MockClock,
) -> None:
    number = 0
    while True:
        number += 1
        async with running(max_length=3) as rig:
            with Faults(number) as faults:
                await traffic(rig, 2)
        if faults.raised is None:
            break
    assert number > 100


@pytest.mark.parametrize("every", [2, 3, 7])
async def test_crash_after_crash_loses_nothing(every: int, autojump_clock: MockClock) -> None:
    store = FaultyStore(lambda number, _method: number % every == 0)
    async with running(store) as rig:
        queue = rig.queue
        for mid in "abc":
            await insist(partial(queue.enqueue, mid, mid))
        claims = [await insist(queue.claim) for _ in range(3)]
        await insist(partial(queue.finish, claims[0], "success", 60))
        await insist(partial(queue.finish, claims[1], "retry", 60))
        await insist(partial(queue.enqueue, "again", "c", can_requeue=True))

        store.fault = lambda _number, _method: False
        content = await queue.queue_content()
        assert {mid: info.status for mid, info in content.items()} == {
            "a": "done-with-backoff",
            "b": "queued-with-backoff",
            "c": "locked-with-requeue",
        }
        assert rig.actor.restarts >= 1


async def test_the_operation_that_crashed_the_actor_has_not_happened(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        queue = rig.queue
        await queue.enqueue("a", "a")
        claim = await queue.claim()
        await queue.enqueue("b", "b")
        before = remembered(rig)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "enqueue": partial(queue.enqueue, "c"),
            "claim": queue.try_claim,
            "finish": claim.finish,
            "extend": partial(claim.extend, 99),
            "snooze": claim.snooze,
            "remove": partial(queue.remove, claim.id),
            "clear": queue.clear,
            "close": queue.close,
        }
        rig.store.fault = crash_once(*calls)

        for call in calls.values():
            with pytest.raises(ActorCrashedError):
                await call()

        assert remembered(rig) == before
        await claim.finish()


async def test_who_waits_is_served_by_the_next_incarnation_in_its_order(
    autojump_clock: MockClock,
) -> None:
    async with running(max_length=1) as rig, trio.open_nursery() as nursery:
        queue = rig.queue
        first = await start(nursery, queue.claim)
        late = await start(nursery, partial(queue.claim, timeout=10))
        third = await start(nursery, partial(queue.claim_many, 5))
        await trio.sleep(5)
        rig.store.fault = crash_once("length")
        with pytest.raises(ActorCrashedError):
            await queue.len()
        await queue.enqueue("a", "a")
        await settle()
        assert (first.got.mid, late.done, third.done) == ("a", False, False)
        await trio.sleep(6)
        assert isinstance(late.error, trio.TooSlowError)

        waiting = [await start(nursery, partial(queue.wait_enqueue, 1, mid)) for mid in "bc"]
        rig.store.fault = crash_once("length")
        with pytest.raises(ActorCrashedError):
            await queue.len()
        assert not any(each.done for each in waiting)
        await first.got.finish()
        await settle()

        assert waiting[0].got == Enqueued(True, "b", "added")
        assert [claim.mid for claim in third.got] == ["b"]
        assert not waiting[1].done
        await third.got[0].finish()
        await settle()
        assert waiting[1].got


async def test_a_taker_that_crashes_the_actor_is_the_culprit_not_who_woke_it(
    autojump_clock: MockClock,
) -> None:
    async with running(lock_time=5) as rig, trio.open_nursery() as nursery:
        await rig.queue.enqueue("a", "a")
        await rig.queue.claim()
        first = await start(nursery, rig.queue.claim)
        second = await start(nursery, rig.queue.claim)
        rig.store.fault = crash_once("claim")

        await trio.sleep(6)

        assert isinstance(first.error, ActorCrashedError)
        assert (second.got.mid, second.got.attempt) == ("a", 2)


async def test_a_lock_that_ends_while_the_actor_is_down_ends_at_its_instant(
    autojump_clock: MockClock,
) -> None:
    async with running(lock_time=5) as rig:
        await rig.queue.enqueue("a", "a")
        claim = await rig.queue.claim()
        await rig.supervisor.terminate_child("q")
        with pytest.raises(ActorDownError):
            await claim.finish()
        await trio.sleep(9)
        await rig.supervisor.restart_child("q")

        with pytest.raises(ClaimLostError):
            await claim.finish()
        assert (await rig.queue.statistics()).oldest_age == 4


# -- who waits when the queue ends ---------------------------------------------------------------


async def brought_to(queue: MessageQueue, state: str) -> None:
    """Bring a queue to a state in which nobody can claim anything."""
    if state != "empty":
        await queue.enqueue("a", "a", init_backoff=60 if state == "backoff" else 0)
    if state.startswith(("locked", "done")):
        claim = await queue.claim()
        if state.startswith("done"):
            await claim.finish(backoff=60)
    if state == "done again":
        await queue.enqueue("a", "a", can_requeue=True)
    if state == "paused":
        await queue.pause()


async def act(rig: KindRig[MessageQueue], action: str) -> None:
    if action == "crash":
        rig.store.fault = crash_once("length")
        with pytest.raises(ActorCrashedError):
            await rig.queue.len()
    elif action == "stop":
        await rig.supervisor.terminate_child("q")
    else:
        await getattr(rig.queue, action)()
    await settle()


@pytest.mark.parametrize("action", ["close", "clear", "stop", "crash"])
@pytest.mark.parametrize("state", ["empty", "backoff", "locked", "done", "done again", "paused"])
async def test_whoever_waits_is_answered_or_waits_on(
    state: str, action: str, autojump_clock: MockClock
) -> None:
    full = state not in {"empty", "done"}
    async with running(max_length=1) as rig, trio.open_nursery() as nursery:
        queue = rig.queue
        await brought_to(queue, state)
        calls: list[Callable[[], Awaitable[object]]] = [queue.claim, partial(queue.claim_many, 2)]
        if full:
            calls.append(partial(queue.wait_enqueue, "new", "new"))
        waiting = [await start(nursery, call) for call in calls]
        assert not any(each.done for each in waiting)

        await act(rig, action)

        expected: list[type[Exception] | None]
        if action == "stop":
            expected = [ActorDownError] * len(calls)
        elif action == "close":
            expected = [None, None, QueueClosedError] if full else [QueueClosedError] * 2
        else:
            expected = [None] * len(calls)
        assert [each.error and type(each.error) for each in waiting] == expected
        if action == "clear" and full:  # what waited for room goes in, and to the first taker
            assert [each.done for each in waiting] == [state != "paused", False, True]
        elif action in {"clear", "crash"}:
            assert not any(each.done for each in waiting)
        nursery.cancel_scope.cancel()


# -- cancellation --------------------------------------------------------------------------------

OPERATIONS: dict[str, Callable[[MessageQueue, Claim], Awaitable[object]]] = {
    "enqueue": lambda queue, _: queue.enqueue("new"),
    "enqueue, an update": lambda queue, _: queue.enqueue("new", "a", can_update=True),
    "enqueue, a reset": lambda queue, _: queue.enqueue(
        "new", "a", init_backoff=5, reset_init_backoff=True
    ),
    "enqueue, a requeue": lambda queue, _: queue.enqueue("new", "held", can_requeue=True),
    "enqueue in vain": lambda queue, _: queue.enqueue("new", "held"),
    "wait_enqueue": lambda queue, _: queue.wait_enqueue("new", timeout=5),
    "claim": lambda queue, _: queue.claim(),
    "claim with a timeout": lambda queue, _: queue.claim(timeout=5),
    "try_claim": lambda queue, _: queue.try_claim(),
    "claim_many": lambda queue, _: queue.claim_many(5),
    "finish": lambda queue, claim: queue.finish(claim),
    "finish a claim": lambda _, claim: claim.finish("retry", 5),
    "extend": lambda queue, claim: queue.extend(claim, 9),
    "extend a claim": lambda _, claim: claim.extend(9),
    "snooze": lambda queue, claim: queue.snooze(claim),
    "snooze a claim": lambda _, claim: claim.snooze(5),
    "message_status": lambda queue, _: queue.message_status("a"),
    "queue_status": lambda queue, _: queue.queue_status(),
    "queue_size": lambda queue, _: queue.queue_size(),
    "queue_content": lambda queue, _: queue.queue_content(),
    "peek": lambda queue, _: queue.peek(),
    "remove": lambda queue, claim: queue.remove(claim.id, claim.id + 1),
    "len": lambda queue, _: queue.len(),
    "statistics": lambda queue, _: queue.statistics(),
    "clear": lambda queue, _: queue.clear(),
    "close": lambda queue, _: queue.close(),
    "pause": lambda queue, _: queue.pause(),
    "resume": lambda queue, _: queue.resume(),
}
READING = {
    "peek",
    "message_status",
    "queue_status",
    "queue_size",
    "queue_content",
    "len",
    "statistics",
}


def test_every_operation_is_swept() -> None:
    public = {
        name
        for name in dir(MessageQueue)
        if not name.startswith("_") and callable(getattr(MessageQueue, name))
    }

    assert {name.split(",")[0].split()[0] for name in OPERATIONS} == public


@sweeps
@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_cancelled_operation_has_not_happened(
    name: str, sweep: Sweep, autojump_clock: MockClock
) -> None:
    completed = False
    before: object = None
    held: list[Claim] = []

    async with running(max_length=5) as rig:
        queue = rig.queue

        async def prepare() -> None:
            nonlocal completed, before
            completed = False
            records(rig).closed = False
            await queue.resume()
            await queue.clear()
            for mid in ("held", "a", "b"):
                assert await queue.enqueue(mid, mid)
            held[:] = [await queue.claim()]
            if name == "resume":
                await queue.pause()
            before = remembered(rig)

        async def operation() -> None:
            nonlocal completed
            await OPERATIONS[name](queue, *held)
            completed = True

        async def check() -> None:
            await settle()
            assert (remembered(rig) != before) == (completed and name not in READING)
            numbers = await queue.statistics()
            assert (numbers.waiting, numbers.enqueueing) == (0, 0)
            await prepare()

        await prepare()
        assert await sweep(operation, check) > 1


@sweeps
@pytest.mark.parametrize("name", ["claim", "claim with a timeout", "claim_many"])
async def test_a_taker_that_is_cancelled_while_it_waits_takes_nothing(
    name: str, sweep: Sweep, autojump_clock: MockClock
) -> None:
    taken: list[object] = []

    async with running() as rig:
        queue = rig.queue

        async def enqueue_later() -> None:
            await trio.lowlevel.checkpoint()
            with trio.CancelScope(shield=True):
                await queue.enqueue("v", "v")

        async def operation() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(enqueue_later)
                taken.append(await OPERATIONS[name](queue, None))  # type: ignore[arg-type]

        async def check() -> None:
            await settle()
            status = await queue.queue_status()
            assert status.nlocked == len(taken)
            assert (await queue.statistics()).waiting == 0
            taken.clear()
            await queue.clear()

        assert await sweep(operation, check) > 2


@sweeps
async def test_who_is_cancelled_while_waiting_for_room_enqueues_nothing(
    sweep: Sweep, autojump_clock: MockClock
) -> None:
    went_in: list[object] = []

    async with running(max_length=1) as rig:
        queue = rig.queue

        async def make_room() -> None:
            await trio.lowlevel.checkpoint()
            with trio.CancelScope(shield=True):
                await queue.remove(records(rig).next_id - 1)

        async def operation() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(make_room)
                went_in.append(await queue.wait_enqueue("new", "new"))

        async def check() -> None:
            await settle()
            assert (await queue.message_status("new") == "queued") == bool(went_in)
            assert (await queue.statistics()).enqueueing == 0
            await prepare()

        async def prepare() -> None:
            went_in.clear()
            await queue.clear()
            await queue.enqueue("old", "old")

        await prepare()
        assert await sweep(operation, check) > 2


async def test_those_who_leave_do_not_pile_up(autojump_clock: MockClock) -> None:
    async with running(max_length=1) as rig:
        for _ in range(300):
            with trio.move_on_after(0.001):
                await rig.queue.claim(timeout=1000)
        await rig.queue.enqueue("a", "a")
        for _ in range(300):
            with trio.move_on_after(0.001):
                await rig.queue.wait_enqueue("never", timeout=1000)

        assert not rig.actor.parked
        assert len(rig.actor.parked._timeouts) < 100  # noqa: SLF001 - its size is the point


# -- arguments, types ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda queue, _: queue.enqueue("a", init_backoff=-0.1),
            ValueError,
            r"^expected init_backoff to be .*>= 0, got -0\.1$",
        ),
        (
            lambda queue, _: queue.enqueue("a", lock_time=0),
            ValueError,
            r"^expected lock_time to be .*> 0, got 0$",
        ),
        (
            lambda queue, _: queue.enqueue("a", ""),
            ValueError,
            r"^expected mid not to be empty; leave it out for a new one$",
        ),
        (
            lambda queue, _: queue.enqueue("a", "\ud800"),
            ValueError,
            r"^expected mid to be text that can be encoded, got '\\ud800'$",
        ),
        (
            lambda queue, _: queue.enqueue("a", b"x"),
            TypeError,
            r"^expected mid to be a str, got b'x'$",
        ),
        (
            lambda queue, _: queue.wait_enqueue("a", can_requeue=None),
            TypeError,
            r"^expected can_update, can_requeue and reset_init_backoff to be bools, got None$",
        ),
        (
            lambda queue, _: queue.wait_enqueue("a", timeout=-1),
            ValueError,
            r"^expected timeout to be .*>= 0, got -1$",
        ),
        (
            lambda queue, _: queue.claim(timeout=-1),
            ValueError,
            r"^expected timeout to be .*, got -1$",
        ),
        (
            lambda queue, _: queue.claim_many(0),
            ValueError,
            r"^expected limit to be an int >= 1, got 0$",
        ),
        (
            lambda queue, claim: queue.finish(claim, "failure"),
            ValueError,
            r"^expected result to be one of 'success', 'retry', 'error', got 'failure'$",
        ),
        (
            lambda queue, claim: queue.finish(claim, "error", -1),
            ValueError,
            r"^expected backoff to be .*>= 0, got -1$",
        ),
        (
            lambda queue, _: queue.finish(True),
            TypeError,
            r"^expected a claim or its key, got True$",
        ),
        (
            lambda queue, claim: queue.extend(claim, 0),
            ValueError,
            r"^expected seconds to be .*> 0, got 0$",
        ),
        (
            lambda queue, claim: queue.snooze(claim, -1),
            ValueError,
            r"^expected seconds to be .*>= 0, got -1$",
        ),
        (
            lambda queue, _: queue.message_status(None),
            TypeError,
            r"^expected mid to be a str, got None$",
        ),
        (lambda queue, _: queue.remove("a"), TypeError, r"^expected ids to be ints, got 'a'$"),
        (
            lambda queue, _: queue.pause(0),
            ValueError,
            r"^expected seconds to be .*> 0, got 0$",
        ),
    ],
)
async def test_a_bad_argument_is_refused_at_the_call(
    call: Callable[[MessageQueue, Claim], object],
    error: type[Exception],
    text: str,
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        await rig.queue.enqueue("a", "a")
        claim = await rig.queue.claim()
        before = remembered(rig)

        with pytest.raises(error, match=text):
            call(rig.queue, claim)  # before it is awaited

        assert remembered(rig) == before


async def test_the_smallest_arguments_are_good(autojump_clock: MockClock) -> None:
    async with running() as rig:
        queue = rig.queue
        await queue.enqueue("a", "a", init_backoff=0, lock_time=1e-9)
        (claim,) = await queue.claim_many(1, timeout=0)
        assert claim.lock_time == 1e-9
        await queue.extend(claim, 5)
        await queue.snooze(claim, 0)
        await queue.finish((await queue.claim(timeout=0)).key, "success", 0)

        assert await queue.len() == 0


async def test_a_twin_has_the_same_types(autojump_clock: MockClock) -> None:
    async with running() as rig:
        submit = rig.queue.submit
        assert_type(submit.enqueue("a", "a", can_update=True), PendingReply[Enqueued])
        assert_type(submit.claim(timeout=3), PendingReply[Claim])
        assert_type(submit.try_claim(), PendingReply[Claim | None])
        assert_type(submit.claim_many(5), PendingReply[list[Claim]])
        assert_type(submit.message_status("a"), PendingReply[str | None])
        assert_type(submit.queue_status(), PendingReply[QueueStatus])
        assert_type(submit.statistics(), PendingReply[MessageStatistics])
        assert_type(await rig.queue.try_claim(), Claim | None)
        assert_type(await rig.queue.len(), int)


async def test_memory_keeps_the_object_itself(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        value = object()
        await rig.queue.enqueue(value, "a")

        assert (await rig.queue.claim()).message is value
        assert (await rig.queue.queue_content())["a"].message is value


async def test_a_claim_ends_on_its_own_queue_only(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        one = await runtime.define("one", kind="message")
        other = await runtime.define("other", kind="message")
        await one.enqueue("a")
        claim = await one.claim()

        for call in (other.finish, other.extend, other.snooze):
            with pytest.raises(
                ValueError, match=r"^expected a claim of queue 'other', got <Claim .* of 'one',"
            ):
                await call(claim)

        await one.finish(claim)
