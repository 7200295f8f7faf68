"""The contract of a timed queue: ``max_length``, and those who wait for room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from trio.testing import wait_all_tasks_blocked

from queueactors import QueueClosedError, QueueFullError

from ._timed_kit import (
    SECOND,
    MakeStore,
    TimedRule,
    a_queue,
    a_runtime,
    equal,
    refused,
    start_calls,
    values_in,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from queueactors import DeadLetter, TimedQueue


def _waits(queue: TimedQueue, *values: object) -> Callable[[], Awaitable[int]]:
    """Return a call that waits for room for some values."""
    return lambda: queue.wait_insert(*values)


async def _a_full_queue_refuses_a_call_as_a_whole(make: MakeStore) -> None:
    async with a_queue(make, max_length=3) as queue:
        equal(await queue.insert("a", "b"), 2)
        with refused(QueueFullError) as refusal:
            await queue.insert("c", "d")
        error = refusal.error
        equal(error and (error.queue, error.new, error.room, error.max_length), ("q", 2, 1, 3))
        equal(str(error), "queue 'q' is full: 2 new values, room for 1 (max_length 3)")
        queue.insert_nowait("c", "d")
        equal((await values_in(queue), await queue.insert("c")), (["a", "b"], 1))
        equal(((await queue.statistics()).inserted, await queue.len()), (3, 3))


async def _a_cast_that_finds_no_room_is_counted(make: MakeStore) -> None:
    async with a_queue(make, max_length=2) as queue:
        queue.insert_nowait("a")
        queue.insert_nowait("b", "c")
        queue.insert_nowait("d")
        numbers = await queue.statistics()
        equal((numbers.inserted, numbers.dropped), (2, 2))
        equal(await values_in(queue), ["a", "d"])
        await queue.close()
        queue.insert_nowait("e")
        equal((await queue.statistics()).dropped, 3)


async def _messages_of_every_state_take_room(make: MakeStore) -> None:
    async with a_queue(make, max_length=4) as queue:
        await queue.insert("buried", "reserved", "ready")
        await queue.insert("delayed", delay=60)
        await queue.bury(await queue.reserve())
        await queue.reserve()
        with refused(QueueFullError):
            await queue.insert("never")


async def _values_that_are_there_need_no_room(make: MakeStore) -> None:
    async with a_queue(make, max_length=2, unique=True) as queue:
        await queue.insert("a")
        equal(await queue.insert("a", "b", "a", "b"), 1)
        equal((await queue.insert("a", "b"), await queue.wait_insert("a", "b")), (0, 0))
        with refused(QueueFullError):
            await queue.insert("a", [1], [1])


async def _what_never_fits_is_refused_at_once(make: MakeStore) -> None:
    async with a_queue(make, max_length=2, unique=True) as queue:
        for call in (queue.insert, queue.wait_insert):
            with refused(QueueFullError) as refusal:
                await call("a", "b", "a", "c")
            equal(
                str(refusal.error),
                "queue 'q' never has room for 3 new values: its max_length is 2; "
                "give it fewer at a time",
            )
        equal(await queue.wait_insert("a", "b", "a"), 2)


async def _an_insert_waits_for_room(make: MakeStore) -> None:
    async with a_queue(make, max_length=2) as queue, trio.open_nursery() as nursery:
        await queue.insert("a", "b")
        first = await queue.reserve()
        (caller,) = await start_calls(
            nursery, lambda: queue.wait_insert("c", "d", delay=5, priority=-1)
        )
        equal((caller.outcome, (await queue.statistics()).inserting), (None, 1))
        await queue.delete(first)
        await wait_all_tasks_blocked()
        equal((caller.outcome, await queue.len()), (None, 1))
        await trio.sleep(1)
        now = queue.clock.now_ns()
        await queue.delete(await queue.reserve())
        await wait_all_tasks_blocked()
        messages = await queue.peek("delayed", 9)
        equal((caller.outcome, [message.value for message in messages]), (2, ["c", "d"]))
        equal((messages[0].inserted_at, messages[0].ready_at), (now, now + 5 * SECOND))
        equal((messages[0].priority, (await queue.statistics()).inserting), (-1, 0))


async def _where_there_is_room_nobody_waits(make: MakeStore) -> None:
    async with a_queue(make, max_length=2) as queue:
        at = queue.clock.now_ns() + SECOND
        equal(await queue.wait_insert("a", at=at, timeout=0), 1)
        equal((await queue.peek("delayed"))[0].ready_at, at)
    async with a_queue(make) as queue:
        equal(await queue.wait_insert(*range(100)), 100)


async def _inserts_are_served_in_the_order_in_which_they_began_to_wait(make: MakeStore) -> None:
    async with a_queue(make, max_length=2) as queue, trio.open_nursery() as nursery:
        await queue.insert("a", "b")
        big, small = await start_calls(nursery, _waits(queue, "c", "d"), _waits(queue, "e"))
        await queue.delete(await queue.reserve())
        await wait_all_tasks_blocked()
        equal((big.outcome, small.outcome), (None, None))
        with refused(QueueFullError) as refusal:
            await queue.insert("f")
        equal(
            str(refusal.error),
            "queue 'q' is full: 1 new value, others wait for room (max_length 2)",
        )
        queue.insert_nowait("f")
        equal(await queue.insert(), 0)
        await queue.delete(await queue.reserve())
        await wait_all_tasks_blocked()
        equal((big.outcome, small.outcome, await values_in(queue)), (2, None, ["c", "d"]))
        await queue.clear()
        await wait_all_tasks_blocked()
        equal((small.outcome, await queue.insert("f")), (1, 1))


async def _one_that_timed_out_lets_those_behind_it_in(make: MakeStore) -> None:
    async with a_queue(make, max_length=2) as queue, trio.open_nursery() as nursery:
        await queue.insert("a")
        big, small = await start_calls(
            nursery, lambda: queue.wait_insert("b", "c", timeout=2), _waits(queue, "d")
        )
        reply = queue.submit.wait_insert("e", timeout=9)
        await trio.sleep(5)
        equal((big.outcome, small.outcome, reply.is_ready), (trio.TooSlowError, 1, False))
        with refused(trio.TooSlowError):
            await reply.get()
        equal(await values_in(queue), ["a", "d"])


async def _one_that_is_cancelled_lets_those_behind_it_in(make: MakeStore) -> None:
    async with a_queue(make, max_length=2) as queue, trio.open_nursery() as nursery:
        await queue.insert("a")

        async def leave() -> None:
            with trio.move_on_after(1):
                await queue.wait_insert("b", "c")

        nursery.start_soon(leave)
        await wait_all_tasks_blocked()
        (behind,) = await start_calls(nursery, _waits(queue, "d"))
        equal(behind.outcome, None)
        await trio.sleep(1.5)
        equal((behind.outcome, await values_in(queue)), (1, ["a", "d"]))


async def _a_wait_for_room_times_out_exactly(make: MakeStore) -> None:
    async with a_queue(make, max_length=1) as queue:
        await queue.insert("a")
        before = queue.clock.now_ns()
        with refused(trio.TooSlowError) as refusal:
            await queue.wait_insert("b", timeout=2)
        equal(queue.clock.now_ns(), before + 2 * SECOND)
        equal(str(refusal.error), "queue 'q': wait_insert waited 2 s in vain")
        with refused(trio.TooSlowError):
            await queue.wait_insert("b", timeout=0)
        equal(await values_in(queue), ["a"])


async def _whatever_makes_room_wakes_who_waits_for_it(make: MakeStore) -> None:
    async with (
        a_queue(make, max_length=1, max_reservations=1, unique=True) as queue,
        trio.open_nursery() as nursery,
    ):

        async def remove() -> None:
            await queue.remove((await queue.peek())[0].id)

        async def delete() -> None:
            queue.delete_nowait(await queue.reserve())

        async def exhaust() -> None:
            await queue.release(await queue.reserve())

        async def expire() -> None:
            await queue.reserve(1)
            await trio.sleep(1)

        await queue.insert(0)
        ways: list[Callable[[], Awaitable[object]]] = [queue.clear, remove, delete, exhaust, expire]
        for value, make_room in enumerate(ways, 1):
            (caller,) = await start_calls(nursery, _waits(queue, value))
            equal(caller.outcome, None)
            await make_room()
            await wait_all_tasks_blocked()
            equal((caller.outcome, await values_in(queue)), (1, [value]))


async def _what_waited_for_room_is_handed_to_who_waits_for_a_message(make: MakeStore) -> None:
    async with a_queue(make, max_length=1) as queue, trio.open_nursery() as nursery:
        await queue.insert("a")
        held = await queue.reserve()
        (taker,) = await start_calls(nursery, queue.reserve)
        (inserter,) = await start_calls(nursery, _waits(queue, "b"))
        await queue.delete(held)
        await wait_all_tasks_blocked()
        equal((inserter.outcome, getattr(taker.outcome, "value", None)), (1, "b"))


async def _a_closed_queue_sends_those_who_wait_for_room_away(make: MakeStore) -> None:
    async with a_queue(make, max_length=1) as queue, trio.open_nursery() as nursery:
        await queue.insert("a")
        callers = await start_calls(nursery, _waits(queue, "b"), _waits(queue, "c"))
        await queue.close()
        await wait_all_tasks_blocked()
        equal([caller.outcome for caller in callers], [QueueClosedError] * 2)
        with refused(QueueClosedError):
            await queue.wait_insert("d")
        equal(await values_in(queue), ["a"])


async def _a_paused_queue_takes_in_what_waits_for_room(make: MakeStore) -> None:
    async with a_queue(make, max_length=1) as queue, trio.open_nursery() as nursery:
        await queue.insert("a")
        held = await queue.reserve()
        await queue.pause()
        (caller,) = await start_calls(nursery, _waits(queue, "b"))
        await queue.delete(held)
        await wait_all_tasks_blocked()
        equal((caller.outcome, await values_in(queue)), (1, ["b"]))


async def _a_full_queue_stays_full_over_a_restart(make: MakeStore) -> None:
    async with a_runtime(make) as runtime:
        queue = await runtime.define("q", reservation_time=30, max_length=2, values=["a", "b"])
        await queue.reserve()
        await runtime.restart("q")
        with refused(QueueFullError):
            await queue.insert("c")
        await queue.clear()
        equal(await queue.insert("c", "d"), 2)


async def _a_refill_leaves_out_what_finds_no_room(make: MakeStore) -> None:
    async def refill() -> list[str]:
        return ["a", "b", "b", "c", "d"]

    options = {"sync_fn": refill, "sync_interval": 10, "unique": True}
    async with a_queue(make, max_length=3, **options) as queue, trio.open_nursery() as nursery:
        await queue.insert("c")
        equal((await queue.sync(), await values_in(queue)), (2, ["c", "a", "b"]))
        numbers = await queue.statistics()
        equal((numbers.left_out, numbers.last_refill, numbers.refill_errors), (1, 2, 0))
        await queue.remove(1)
        await start_calls(nursery, _waits(queue, 1, 2))
        equal((await queue.sync(), (await queue.statistics()).left_out), (0, 3))
        nursery.cancel_scope.cancel()


async def _a_dead_letter_waits_for_room(make: MakeStore) -> None:
    async with a_runtime(make) as runtime, trio.open_nursery() as nursery:
        other = await runtime.define("other", reservation_time=30, max_length=1)
        queue = await runtime.define(
            "q", reservation_time=30, max_length=2, max_reservations=1, on_exhausted="other"
        )
        await other.insert("full")
        await queue.insert("a", "b")
        for reservation in await queue.reserve_many(2):
            await queue.release(reservation)
        await trio.sleep(100)
        equal(((await queue.statistics()).dead, await queue.insert("c", "d")), (2, 2))
        (caller,) = await start_calls(nursery, _waits(other, "last"))
        for value in ("full", "a", "last", "b"):
            held = await other.reserve(timeout=10)
            letter: DeadLetter | object = held.value
            equal(getattr(letter, "value", letter), value)
            await other.delete(held)
        equal((caller.outcome, (await queue.statistics()).dead), (1, 0))


ROOM_RULES: Final[tuple[TimedRule, ...]] = (
    _a_full_queue_refuses_a_call_as_a_whole,
    _a_cast_that_finds_no_room_is_counted,
    _messages_of_every_state_take_room,
    _values_that_are_there_need_no_room,
    _what_never_fits_is_refused_at_once,
    _an_insert_waits_for_room,
    _where_there_is_room_nobody_waits,
    _inserts_are_served_in_the_order_in_which_they_began_to_wait,
    _one_that_timed_out_lets_those_behind_it_in,
    _one_that_is_cancelled_lets_those_behind_it_in,
    _a_wait_for_room_times_out_exactly,
    _whatever_makes_room_wakes_who_waits_for_it,
    _what_waited_for_room_is_handed_to_who_waits_for_a_message,
    _a_closed_queue_sends_those_who_wait_for_room_away,
    _a_paused_queue_takes_in_what_waits_for_room,
    _a_full_queue_stays_full_over_a_restart,
    _a_refill_leaves_out_what_finds_no_room,
    _a_dead_letter_waits_for_room,
)
