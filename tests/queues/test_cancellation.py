"""Cancelled at every step, an operation happened or it did not, and nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from queueactors import open_runtime
from queueactors.testing import cancel_at_every_step
from tests.cores.kit import remembered

from .kit import Boom, Rig, cancel_after_every_step_of_all, everything_in, running, settle, start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from queueactors import Reservation, TimedQueue
    from supervisors import PendingReply

    Sweep = Callable[
        [Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]], Awaitable[int]
    ]

sweeps = pytest.mark.parametrize(
    "sweep", [cancel_at_every_step, cancel_after_every_step_of_all], ids=["own steps", "all steps"]
)
OPERATIONS: dict[str, Callable[[TimedQueue, Reservation], Awaitable[object]]] = {
    "insert": lambda queue, _: queue.insert("new", "newer"),
    "insert at": lambda queue, _: queue.insert("new", at=queue.clock.now_ns() + 10**9),
    "wait_insert": lambda queue, _: queue.wait_insert("new", "newer"),
    "wait_insert with a timeout": lambda queue, _: queue.wait_insert("new", timeout=5),
    "bury": lambda queue, held: queue.bury(held, error="bad"),
    "kick": lambda queue, _: queue.kick(5),
    "remove": lambda queue, held: queue.remove(held.id, held.id + 1),
    "pause": lambda queue, _: queue.pause(),
    "resume": lambda queue, _: queue.resume(),
    "reserve": lambda queue, _: queue.reserve(),
    "reserve with a timeout": lambda queue, _: queue.reserve(timeout=5),
    "reserve_many": lambda queue, _: queue.reserve_many(5),
    "try_reserve": lambda queue, _: queue.try_reserve(),
    "prolongate": lambda queue, held: queue.prolongate(held),
    "touch": lambda queue, held: queue.touch(held, 1),
    "release": lambda queue, held: queue.release(held, error="bad"),
    "delete": lambda queue, held: queue.delete(held),
    "clear": lambda queue, _: queue.clear(),
    "close": lambda queue, _: queue.close(),
    "len": lambda queue, _: queue.len(),
    "statistics": lambda queue, _: queue.statistics(),
    "peek": lambda queue, _: queue.peek(),
}


def boom() -> None:
    raise Boom


READING = {"len", "statistics", "peek"}


async def works(rig: Rig) -> None:
    """Fail if a new queue could do something that this one cannot."""
    with trio.fail_after(1000):
        rig.records.closed = False
        rig.records.paused_until = None
        await rig.queue.clear()
        await rig.queue.insert("works")
        assert await rig.queue.delete(await rig.queue.reserve()) == 1
        numbers = await rig.queue.statistics()
        assert (numbers.waiting, numbers.inserting) == (0, 0)


@sweeps
@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_cancelled_operation_has_not_happened(
    name: str, sweep: Sweep, autojump_clock: MockClock
) -> None:
    completed = False
    before: object = None
    held: list[Reservation] = []

    async with running() as rig:
        queue = rig.queue

        async def prepare() -> None:
            nonlocal completed, before
            completed = False
            await works(rig)
            await queue.insert("buried", "held", "a", "b")
            await queue.bury(await queue.reserve())
            held[:] = [await queue.reserve()]
            if name == "resume":
                await queue.pause()
            before = remembered(rig.records)

        async def operation() -> None:
            nonlocal completed
            await OPERATIONS[name](queue, *held)
            completed = True

        async def check() -> None:
            await settle()
            assert (remembered(rig.records) != before) == (completed and name not in READING)
            await prepare()

        await prepare()
        assert await sweep(operation, check) > 1


@sweeps
@pytest.mark.parametrize("take", ["reserve", "reserve_many", "reserve with a timeout"])
async def test_a_taker_that_is_cancelled_while_it_waits_takes_nothing(
    take: str, sweep: Sweep, autojump_clock: MockClock
) -> None:
    taken: list[object] = []

    async with running() as rig:

        async def operation() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(insert_later)
                taken.append(await OPERATIONS[take](rig.queue, None))  # type: ignore[arg-type]

        async def insert_later() -> None:
            await trio.lowlevel.checkpoint()
            with trio.CancelScope(shield=True):
                await rig.queue.insert("v")

        async def check() -> None:
            await settle()
            waiting = [message.value for message in await rig.queue.peek("ready", 9)]
            held = [message.value for message in await rig.queue.peek("reserved", 9)]
            assert bool(held) == bool(taken)
            assert [*waiting, *held] in ([], ["v"])
            taken.clear()
            await works(rig)

        assert await sweep(operation, check) > 2


@sweeps
@pytest.mark.parametrize("seconds", [None, 5])
async def test_an_insert_that_is_cancelled_while_it_waits_for_room_puts_nothing_in(
    seconds: float | None, sweep: Sweep, autojump_clock: MockClock
) -> None:
    went_in: list[object] = []

    async with running(max_length=3) as rig:
        queue = rig.queue

        async def operation() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(make_room)
                await queue.wait_insert("new", "newer", timeout=seconds)
                went_in.extend(["new", "newer"])

        async def make_room() -> None:
            await trio.lowlevel.checkpoint()
            with trio.CancelScope(shield=True):
                assert await queue.clear() == 2

        async def check() -> None:
            await settle()
            found = await everything_in(queue)
            assert found == went_in or (found == ["a", "b"] and not went_in)
            went_in.clear()
            await works(rig)
            await queue.insert("a", "b")

        await queue.insert("a", "b")
        assert await sweep(operation, check) > 2


@sweeps
async def test_those_behind_an_insert_that_is_cancelled_have_their_turn(
    sweep: Sweep, autojump_clock: MockClock
) -> None:
    async with running(max_length=3) as rig, trio.open_nursery() as nursery:
        queue = rig.queue
        behind: list[PendingReply[int]] = []

        async def operation() -> None:
            with trio.move_on_after(5):
                await queue.wait_insert("never", "never")

        async def submit_behind() -> None:
            await settle()  # "never" waits, or was cancelled
            behind.append(queue.submit.wait_insert("behind"))

        async def prepare() -> None:
            await works(rig)
            await queue.insert("a", "b")
            nursery.start_soon(submit_behind)

        async def check() -> None:
            await trio.sleep(1)
            with trio.fail_after(10):
                assert await behind.pop().get() == 1
            assert await everything_in(queue) == ["a", "b", "behind"]
            await prepare()

        await prepare()
        assert await sweep(operation, check) > 1


@sweeps
async def test_a_sync_that_is_cancelled_harms_no_refill(
    sweep: Sweep, autojump_clock: MockClock
) -> None:
    async def refill() -> list[str]:
        await trio.sleep(1)
        return ["v"]

    async with open_runtime() as runtime:
        queue = await runtime.define("q", reservation_time=9, sync_fn=refill, sync_interval=1e6)

        async def check() -> None:
            await trio.sleep(3)
            before = (await queue.statistics()).refills
            assert await queue.len() == before
            with trio.fail_after(2):
                assert await queue.sync() == 1
            assert (await queue.statistics()).refills == before + 1

        assert await sweep(queue.sync, check) > 1


@sweeps
@pytest.mark.parametrize("keep_alive", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_reserved_block_finishes_its_message_or_gives_it_back(
    keep_alive: bool,  # noqa: FBT001
    fails: bool,  # noqa: FBT001
    sweep: Sweep,
    autojump_clock: MockClock,
) -> None:
    done: list[object] = []

    async with running() as rig:
        queue = rig.queue

        async def operation() -> None:
            try:
                async with queue.reserved(3, keep_alive=keep_alive) as reservation:
                    await trio.sleep(2)
                    await trio.lowlevel.checkpoint()
                    if fails:
                        boom()
                    done.append(reservation.value)
            except Boom:
                return

        async def check() -> None:
            await settle()
            left = await everything_in(queue)
            assert sorted([*left, *done], key=str) == ["a", "b"]
            assert not await queue.peek("reserved")
            done.clear()
            await works(rig)
            await queue.insert("a", "b")

        await queue.insert("a", "b")
        assert await sweep(operation, check) > 5


async def test_a_late_cancellation_does_not_bring_a_finished_message_back(
    autojump_clock: MockClock,
) -> None:
    for keep_alive in (False, True):
        async with running() as rig:
            await rig.queue.insert("a")

            with trio.CancelScope() as scope:
                async with rig.queue.reserved(keep_alive=keep_alive):
                    scope.cancel()

            assert scope.cancelled_caught
            assert await rig.queue.len() == 0


async def test_a_block_that_is_cancelled_while_the_queue_is_down_does_not_hang(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        await rig.queue.insert("a", "b")

        with trio.move_on_after(1) as scope:
            async with rig.queue.reserved():
                await rig.supervisor.terminate_child("q")
                await trio.sleep_forever()

        assert scope.cancelled_caught
        await rig.supervisor.restart_child("q")
        assert sorted(map(str, await everything_in(rig.queue))) == ["a", "b"]


async def test_calls_that_are_withdrawn_at_once_do_not_pile_up(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        for _ in range(500):
            with trio.move_on_after(0):
                await rig.queue.insert("never")

        assert len(rig.mailbox) == 0
        assert len(rig.mailbox._queue) < 100  # noqa: SLF001 - its size is the point
        assert await rig.queue.len() == 0


async def test_takers_that_leave_do_not_pile_up(autojump_clock: MockClock) -> None:
    async with running() as rig, trio.open_nursery() as nursery:
        await start(nursery, lambda: rig.queue.reserve(timeout=500))  # the first in the heap
        for _ in range(500):
            with trio.move_on_after(0.001):
                await rig.queue.reserve(timeout=1000)

        assert len(rig.actor.parked) == 1
        assert len(rig.actor.parked._timeouts) < 100  # noqa: SLF001 - its size is the point
        nursery.cancel_scope.cancel()


async def test_inserts_that_leave_do_not_pile_up(autojump_clock: MockClock) -> None:
    async with running(max_length=1) as rig, trio.open_nursery() as nursery:
        await rig.queue.insert("a")
        await start(nursery, lambda: rig.queue.wait_insert("b"))
        for _ in range(500):
            with trio.move_on_after(0.001):
                await rig.queue.wait_insert("never", timeout=1000)

        assert (await rig.queue.statistics()).inserting == 1
        assert len(rig.actor.parked._timeouts) < 100  # noqa: SLF001 - its size is the point
        nursery.cancel_scope.cancel()


async def test_a_taker_that_was_cancelled_at_once_harms_no_neighbour(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig, trio.open_nursery() as nursery:
        first = await start(nursery, rig.queue.reserve)
        with trio.CancelScope() as scope:
            scope.cancel()
            await rig.queue.reserve()
        second = await start(nursery, rig.queue.reserve)

        await rig.queue.insert("a", "b")
        await settle()

        assert (first.got.value, second.got.value) == ("a", "b")
