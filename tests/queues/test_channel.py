"""A channel whose actor crashes, whose callers leave, or that is stopped, loses nothing."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from queueactors import QueueClosedError, QueueEndedError
from queueactors._insist import insist
from queueactors.testing import cancel_at_every_step
from supervisors import ActorCrashedError, ActorDownError

from .kit import FaultyStore, cancel_after_every_step_of_all, crash_at, crash_once, settle, start
from .kit_channel import running_channel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from queueactors import ChannelQueue

    Sweep = Callable[
        [Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]], Awaitable[int]
    ]

sweeps = pytest.mark.parametrize(
    "sweep", [cancel_at_every_step, cancel_after_every_step_of_all], ids=["own steps", "all steps"]
)


# -- crashes -------------------------------------------------------------------------------------


async def produce(queue: ChannelQueue, name: str) -> None:
    """Send six values, in turn in each of three ways, until they are sent."""
    for number in (0, 3):
        await insist(partial(queue.send, f"{name}{number}"))
        while not await insist(partial(queue.try_send, f"{name}{number + 1}")):  # noqa: ASYNC110
            await trio.sleep(1)
        while not sent(queue, f"{name}{number + 2}"):  # noqa: ASYNC110
            await trio.sleep(1)


def sent(queue: ChannelQueue, value: str) -> bool:
    try:
        queue.send_nowait(value)
    except trio.WouldBlock:
        return False
    return True


async def consume(queue: ChannelQueue, got: list[object]) -> None:
    """Receive until the end, in turn one and some."""
    with suppress(trio.EndOfChannel):
        while True:
            got.append(await insist(queue.recv))
            got.extend(await insist(partial(queue.recv_many, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("limit", [None, 1, 3])
async def test_an_actor_that_dies_at_any_operation_loses_and_repeats_no_value(
    limit: int | None, autojump_clock: MockClock
) -> None:
    number = 0
    store = FaultyStore()
    while store.count >= number:
        number += 1
        store = FaultyStore(crash_at(number))
        got: list[object] = []

        with trio.fail_after(10_000):
            async with running_channel(store, limit=limit) as rig:
                async with trio.open_nursery() as consumers:
                    consumers.start_soon(consume, rig.queue, got)
                    async with trio.open_nursery() as producers:
                        for name in "ab":
                            producers.start_soon(produce, rig.queue, name)
                    await insist(rig.queue.close)
                assert (rig.places.taken, rig.places.promised) == (0, 0)

        for name in "ab":
            assert [each for each in got if each in names(name)] == names(name)
        assert len(got) == 12
    assert number > 10


def names(name: str) -> list[str]:
    return [f"{name}{number}" for number in range(6)]


async def test_who_waits_is_served_by_the_next_incarnation(autojump_clock: MockClock) -> None:
    store = FaultyStore()
    async with running_channel(store, limit=1) as rig, trio.open_nursery() as nursery:
        queue = rig.queue
        await queue.send("a")
        senders = [await start(nursery, partial(queue.send, value)) for value in "bc"]
        store.fault = crash_once("length")

        with pytest.raises(ActorCrashedError):
            await queue.len()

        assert [await queue.recv() for _ in range(3)] == ["a", "b", "c"]
        assert all(sender.got is None for sender in senders)
        receiver = await start(nursery, queue.recv)
        store.fault = crash_once("length")
        with pytest.raises(ActorCrashedError):
            await queue.len()
        await queue.send("d")
        await settle()
        assert receiver.got == "d"


async def test_the_operation_that_crashed_the_actor_has_not_happened(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore()
    async with running_channel(store) as rig:
        queue = rig.queue
        await queue.send("a")
        store.fault = crash_once("send", "recv", "clear", "close")

        for operation in (partial(queue.send, "b"), queue.recv, queue.clear, queue.close):
            with pytest.raises(ActorCrashedError):
                await operation()

        assert await queue.recv() == "a"
        assert await queue.is_empty()
        assert not await queue.is_closed()


async def test_a_value_sent_without_waiting_outlives_three_crashes_over_it(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore(crash_once(*["send_nowait"] * 3))
    async with running_channel(store, limit=2) as rig:
        rig.queue.send_nowait("a")
        rig.queue.send_nowait("b")

        assert [await rig.queue.recv() for _ in range(2)] == ["a", "b"]
        assert (rig.places.taken, rig.places.promised) == (0, 0)


async def test_the_place_of_a_value_that_is_given_up_is_free_again(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore(crash_once(*["send_nowait"] * 4))
    async with running_channel(store, limit=1) as rig:
        rig.queue.send_nowait("a")
        await settle()

        assert (rig.places.taken, rig.places.promised) == (0, 0)
        assert await rig.queue.try_send("b")
        assert not await rig.queue.try_send("c")


async def test_a_receiver_learns_of_the_end_when_the_last_promise_is_given_up(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore(crash_once(*["send_nowait"] * 4))
    async with running_channel(store) as rig, trio.open_nursery() as nursery:
        receiver = await start(nursery, rig.queue.recv)
        rig.queue.submit.close()
        rig.queue.send_nowait("a")
        await settle()

        assert isinstance(receiver.error, QueueEndedError)


async def test_a_channel_that_is_parked_frees_the_places_of_what_it_never_took(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore(lambda _number, method: method == "length")
    async with running_channel(store, intensity=0, limit=3) as rig:
        await rig.queue.send("a")
        with pytest.raises(ActorCrashedError):
            await rig.queue.len()
        await settle()

        with pytest.raises(ActorDownError):
            rig.queue.send_nowait("b")

        assert (rig.places.taken, rig.places.promised) == (1, 0)
        store.fault = lambda _number, _method: False
        await rig.supervisor.restart_child("c")
        assert await rig.queue.try_send("b")
        assert await rig.queue.recv_many(9) == ["a", "b"]


async def test_what_a_stop_finds_in_the_mailbox_frees_its_place(autojump_clock: MockClock) -> None:
    async with running_channel(limit=2) as rig:
        rig.queue.send_nowait("a")
        rig.queue._mailbox.close("stopped")  # noqa: SLF001 - as a stop does, before it is taken

        assert (rig.places.taken, rig.places.promised) == (0, 0)


async def test_a_close_during_a_restart_is_seen_by_who_sends_without_waiting(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore()
    async with running_channel(store) as rig:
        await rig.queue.close()
        store.fault = crash_once("length")
        with pytest.raises(ActorCrashedError):
            await rig.queue.len()
        await rig.queue.len()

        with pytest.raises(QueueClosedError):
            rig.queue.send_nowait("a")


# -- cancellation --------------------------------------------------------------------------------

OPERATIONS: dict[str, Callable[[ChannelQueue], Awaitable[object]]] = {
    "send": lambda queue: queue.send("new"),
    "send_timeout": lambda queue: queue.send_timeout("new", 5),
    "try_send": lambda queue: queue.try_send("new"),
    "recv": lambda queue: queue.recv(),
    "receive": lambda queue: queue.receive(),
    "try_recv": lambda queue: queue.try_recv(),
    "recv_many": lambda queue: queue.recv_many(2),
    "async for": lambda queue: anext(aiter(queue)),
    "close": lambda queue: queue.close(),
    "is_closed": lambda queue: queue.is_closed(),
    "is_empty": lambda queue: queue.is_empty(),
    "len": lambda queue: queue.len(),
    "statistics": lambda queue: queue.statistics(),
    "clear": lambda queue: queue.clear(),
    "pause": lambda queue: queue.pause(),
    "resume": lambda queue: queue.resume(),
}
READING = {"is_closed", "is_empty", "len", "statistics"}


@sweeps
@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_cancelled_operation_has_not_happened(
    name: str, sweep: Sweep, autojump_clock: MockClock
) -> None:
    completed = False
    before: object = None

    async with running_channel(limit=5) as rig:

        def seen() -> object:
            records = rig.records
            return (list(records.items), records.closed, records.paused_until)

        async def prepare() -> None:
            nonlocal completed, before
            completed = False
            rig.records.closed = rig.places.closed = False
            await rig.queue.resume()
            await rig.queue.clear()
            for value in "abc":
                await rig.queue.send(value)
            if name == "resume":
                await rig.queue.pause()
            before = seen()

        async def operation() -> None:
            nonlocal completed
            await OPERATIONS[name](rig.queue)
            completed = True

        async def check() -> None:
            await settle()
            assert (seen() != before) == (completed and name not in READING)
            numbers = await rig.queue.statistics()
            assert (numbers.waiting, numbers.sending) == (0, 0)
            assert rig.places.taken == numbers.length
            await prepare()

        await prepare()
        assert await sweep(operation, check) > 1


@sweeps
async def test_who_is_cancelled_while_waiting_sends_and_takes_nothing(
    sweep: Sweep, autojump_clock: MockClock
) -> None:
    outcome: list[object] = []

    async with running_channel(limit=1) as rig:
        queue = rig.queue

        async def wait_for_room() -> None:
            await queue.send("a")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(queue.send, "b")
                await settle()
                outcome.append(await queue.recv())
            outcome.append(await queue.recv())

        async def check() -> None:
            await settle()
            numbers = await queue.statistics()
            assert (numbers.waiting, numbers.sending) == (0, 0)
            assert outcome == ["a", "b"][: len(outcome)]
            assert numbers.received == sum_of_received + len(outcome)
            await forget()

        sum_of_received = 0

        async def forget() -> None:
            nonlocal sum_of_received
            outcome.clear()
            await queue.clear()
            assert await queue.try_send("works")
            assert await queue.recv() == "works"
            sum_of_received = (await queue.statistics()).received

        assert await sweep(wait_for_room, check) > 3


@sweeps
async def test_a_cancelled_aclose_closes_all_the_same(
    sweep: Sweep, autojump_clock: MockClock
) -> None:
    async with running_channel() as rig:

        async def check() -> None:
            assert await rig.queue.is_closed()
            rig.records.closed = rig.places.closed = False

        assert await sweep(rig.queue.aclose, check) > 1
