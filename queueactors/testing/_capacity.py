"""The contract of a capacity queue: every rule, through the handle and the actor.

Each rule is an async function of one argument: what makes an empty store. All of them obey
`trio.testing.MockClock` and take long without it. Use them as those of `check_timed`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from trio.testing import wait_all_tasks_blocked

from queueactors import CodecError, DeadLetter, QueueClosedError, QueueFullError
from supervisors import ActorDownError

from ._timed_kit import (
    FOREVER,
    MakeStore,
    a_runtime,
    check_rules,
    equal,
    refused,
    start_calls,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from queueactors import CapacityQueue

    from ._timed_kit import TimedRule as CapacityRule

MIB: Final = 1 << 20
NUMBERS: Final = ("length", "payload_size", "pushed", "popped", "cleared")


async def check_capacity(make: MakeStore) -> None:
    """Check every rule of `CAPACITY_RULES`, one after the other.

    Args:
      make: Makes an empty store; called once a rule, or more often.

    Raises:
      AssertionError: If a rule does not hold.
    """
    await check_rules(CAPACITY_RULES, make)


@asynccontextmanager
async def a_queue(make: MakeStore, **options: object) -> AsyncIterator[CapacityQueue]:
    async with a_runtime(make) as runtime:
        yield await runtime.define("q", kind="capacity", **options)


async def told(queue: CapacityQueue, *fields: str) -> list[object]:
    """Return some of a queue's numbers."""
    numbers = await queue.statistics()
    return [getattr(numbers, field) for field in fields or NUMBERS]


def some(first: int, count: int) -> list[bytes]:
    """Return items that can be told apart, of different lengths."""
    return [b"%d" % number for number in range(first, first + count)]


# -- in and out ------------------------------------------------------------------------------------


async def _items_come_out_in_the_order_in_which_they_went_in(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        equal(await queue.push(b"a"), 1)
        equal(await queue.push(b"b", b"c"), 2)
        queue.push_nowait(b"d", b"e")
        equal(await queue.wait_push(b"f"), 1)
        equal(await queue.submit.push(b"g", b"h").get(), 2)
        found = [await queue.pop(), await queue.pop(3), await queue.wait_pop(), await queue.pop(99)]
        equal(found, [[b"a"], [b"b", b"c", b"d"], [b"e"], [b"f", b"g", b"h"]])
        equal((await queue.pop(), await queue.pop(5)), ([], []))


async def _who_looks_takes_nothing(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        equal(await queue.peek(), [])
        await queue.push(*some(0, 1000))
        await queue.pop(3)
        await queue.pause()
        before = await told(queue)
        found = [await queue.peek(), await queue.peek(500), await queue.submit.peek(9999).get()]
        equal(found, [[b"3"], some(3, 500), some(3, 997)])
        equal((await told(queue), await queue.len()), (before, 997))


async def _pushing_nothing_changes_nothing(make: MakeStore) -> None:
    async with a_queue(make, max_elements=1) as queue, trio.open_nursery() as nursery:
        await queue.push(b"a")
        (caller,) = await start_calls(nursery, partial(queue.wait_push, b"b"))
        equal((await queue.push(), await queue.wait_push()), (0, 0))
        equal((await queue.pop(9), await queue.wait_pop(9)), ([b"a"], [b"b"]))
        equal(caller.outcome, 1)


async def _all_items_of_many_pushes_come_out_once(make: MakeStore) -> None:
    items = some(0, 3000)
    async with a_queue(make) as queue:
        await queue.push(*items[:1000])
        for item in items[1000:1700]:
            queue.push_nowait(item)
            if item.endswith(b"00"):
                await queue.len()
        await queue.push(*items[1700:])
        equal(await queue.len(), 3000)
        found: list[object] = []
        for limit in (1, 254, 1, 1, 600, 10**12, 5):
            found += await queue.pop(limit)
        equal((found, await queue.is_empty()), (items, True))
        equal(await told(queue), [0, 0, 3000, 3000, 0])


async def _large_and_empty_items_come_out_as_they_went_in(make: MakeStore) -> None:
    items = [b"", bytes(4 * MIB), b"\0\xff", b"", bytes(MIB), b""]
    async with a_queue(make) as queue:
        await queue.push(*items)
        equal((await queue.len(), await queue.payload_size()), (6, 5 * MIB + 2))
        equal(
            [item == got for item, got in zip(items, await queue.pop(6), strict=True)], [True] * 6
        )
        await queue.push(bytearray(b"mutable"), memoryview(b"a view"))
        equal(await queue.pop(2), [b"mutable", b"a view"])


async def _only_bytes_go_in_unless_there_is_a_codec(make: MakeStore) -> None:
    async with a_queue(make, mailbox=5) as queue:
        for push in (queue.push, queue.wait_push, queue.submit.push, queue.push_nowait):
            with refused(CodecError) as refusal:
                push(b"good", "bad")
            rule = "codec 'bytes' failed: TypeError: expected bytes, got 'bad'; "
            equal(str(refusal.error), rule + "set a codec, such as msgpack, for other values")
        with refused(CodecError) as refusal:
            queue.push(5)  # type: ignore[unused-coroutine] # likewise
        equal(str(refusal.error), "codec 'bytes' failed: TypeError: expected bytes, got 5")
        equal((await queue.len(), queue.inflight_ops), (0, 0))


async def _a_codec_lets_other_values_in(make: MakeStore) -> None:
    values: list[object] = [None, 0, "", "x", {"a": [1, 2.5]}, b"bytes", []]
    for codec in ("msgpack", "pickle"):
        async with a_queue(make, codec=codec) as queue:
            equal(await queue.push(*values), len(values))
            equal((await queue.pop(3), await queue.wait_pop(9)), (values[:3], values[3:]))
            with refused(CodecError):
                queue.push("good", lambda: None)  # type: ignore[unused-coroutine] # likewise
            equal(await queue.payload_size(), 0)


# -- room ------------------------------------------------------------------------------------------


async def _a_full_queue_refuses_a_push_as_a_whole(make: MakeStore) -> None:
    async with a_queue(make, max_elements=3) as queue:
        await queue.push(b"a", b"b")
        with refused(QueueFullError) as refusal:
            await queue.push(b"c", b"d")
        equal(refusal.error and (refusal.error.new, refusal.error.room), (2, 1))
        told_ = "queue 'q' is full: 2 new values, room for 1 (max_elements 3)"
        equal(str(refusal.error), told_)
        equal((await queue.len(), await queue.payload_size()), (2, 2))
        with refused(QueueFullError) as refusal:
            await queue.push(*some(0, 4))
        equal(refusal.error and refusal.error.never_fits, True)
        queue.push_nowait(b"lost", b"lost")
        await queue.push(b"c")
        with refused(QueueFullError):
            await queue.push(b"d")
        equal(await queue.pop(9), [b"a", b"b", b"c"])
        equal(await told(queue), [0, 0, 3, 3, 0])


async def _a_push_waits_for_room_in_its_turn(make: MakeStore) -> None:
    async with a_queue(make, max_elements=2) as queue, trio.open_nursery() as nursery:
        await queue.push(b"a", b"b")
        callers = await start_calls(
            nursery,
            partial(queue.wait_push, b"c", b"d"),
            partial(queue.wait_push, b"e", timeout=500),
            partial(queue.wait_push, b"f", timeout=5),
        )
        equal(await told(queue, "pushing", "waiting"), [3, 0])
        await trio.sleep(6)
        equal([caller.outcome for caller in callers], [None, None, trio.TooSlowError])
        equal(await queue.pop(), [b"a"])
        with refused(QueueFullError) as refusal:
            await queue.push(b"x")  # there is room for one, and others wait
        equal(refusal.error and refusal.error.room, None)
        queue.push_nowait(b"x")
        equal((await queue.pop(), await queue.pop(9)), ([b"b"], [b"c", b"d"]))
        await wait_all_tasks_blocked()
        equal([caller.outcome for caller in callers[:2]], [2, 1])
        equal(await queue.pop(9), [b"e"])
        with refused(QueueFullError) as refusal:
            await queue.wait_push(*some(0, 3))
        equal(refusal.error and refusal.error.never_fits, True)


async def _a_push_that_left_pushes_nothing(make: MakeStore) -> None:
    async with a_queue(make, max_elements=1) as queue, trio.open_nursery() as nursery:
        equal(await queue.wait_push(b"a", timeout=0), 1)
        with trio.move_on_after(5):
            await queue.wait_push(b"gone")
        with refused(trio.TooSlowError) as refusal:
            await queue.wait_push(b"gone", timeout=2)
        equal(str(refusal.error), "queue 'q': wait_push waited 2 s in vain")
        await start_calls(nursery, partial(queue.wait_push, b"gone", timeout=9))
        (behind,) = await start_calls(nursery, partial(queue.wait_push, b"b"))
        await trio.sleep(10)
        equal((await queue.pop(9), await queue.wait_pop(9)), ([b"a"], [b"b"]))
        equal((behind.outcome, await queue.len()), (1, 0))


async def _the_capacity_can_be_changed(make: MakeStore) -> None:
    async with a_queue(make, max_elements=2) as queue, trio.open_nursery() as nursery:
        await queue.push(b"a", b"b")
        callers = await start_calls(
            nursery,
            partial(queue.wait_push, b"c"),
            partial(queue.wait_push, b"d", b"e"),
            partial(queue.wait_push, b"f"),
        )
        await queue.resize(3)
        await wait_all_tasks_blocked()
        equal([caller.outcome for caller in callers], [1, None, None])
        await queue.resize(1)
        await wait_all_tasks_blocked()
        equal([caller.outcome for caller in callers], [1, QueueFullError, None])
        equal(await told(queue, "length", "max_elements"), [3, 1])
        equal(await queue.pop(2), [b"a", b"b"])
        equal((callers[2].outcome, await queue.wait_pop(9)), (None, [b"c"]))
        equal((await queue.wait_pop(9), callers[2].outcome), ([b"f"], 1))


# -- waiting for items -----------------------------------------------------------------------------


async def _takers_wait_in_their_turn(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        takers = await start_calls(
            nursery,
            queue.wait_pop,
            partial(queue.wait_pop, 2, timeout=3),
            partial(queue.wait_pop, 2),
            partial(queue.wait_pop, 5),
        )
        equal(await told(queue, "waiting", "pushing"), [4, 0])
        await trio.sleep(4)
        await queue.push(*some(0, 4))
        await wait_all_tasks_blocked()
        expected = [[b"0"], trio.TooSlowError, [b"1", b"2"], [b"3"]]
        equal([taker.outcome for taker in takers], expected)
        equal((await queue.len(), await told(queue, "waiting")), (0, [0]))


async def _a_taker_that_left_takes_nothing(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        with trio.move_on_after(5):
            await queue.wait_pop()
        with refused(trio.TooSlowError) as refusal:
            await queue.wait_pop(3, timeout=2.5)
        equal(str(refusal.error), "queue 'q': pop waited 2.5 s in vain")
        with refused(trio.TooSlowError):
            await queue.wait_pop(timeout=0)
        await queue.push(b"a")
        equal(await queue.wait_pop(timeout=0), [b"a"])


async def _takers_and_pushers_let_each_other_go_on(make: MakeStore) -> None:
    items = some(0, 50)
    taken: list[object] = []

    async def push(queue: CapacityQueue) -> None:
        for item in items:
            await queue.wait_push(item)

    async with a_queue(make, max_elements=2) as queue, trio.open_nursery() as nursery:
        nursery.start_soon(push, queue)
        while len(taken) < len(items):
            taken += await queue.wait_pop(3)
    equal(taken, items)


# -- the whole queue -------------------------------------------------------------------------------


async def _it_tells_how_much_is_in_it(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        equal((await queue.len(), await queue.is_empty()), (0, True))
        equal((await queue.payload_size(), await queue.disk_size()), (0, 0))
        await queue.push(b"", b"a", b"bcd")
        equal((await queue.len(), await queue.is_empty()), (3, False))
        equal((await queue.payload_size(), await queue.disk_size()), (4, 4))
        await queue.pop(2)
        equal((await queue.len(), await queue.payload_size()), (1, 3))
        equal(await queue.disk_size() >= 3, True)
        await queue.pop()
        equal((await queue.payload_size(), await queue.disk_size()), (0, 0))
        await queue.push(b"")
        equal((await queue.len(), await queue.is_empty()), (1, False))


async def _statistics_in_a_batch_are_those_of_their_place(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.push(b"a")
        sent = [(queue.submit.push(b"a"), queue.submit.statistics()) for _ in range(3)]
        told = [await numbers.get() for _, numbers in sent]
        equal([(each.pushed, each.length) for each in told], [(2, 2), (3, 3), (4, 4)])
        numbers = await queue.statistics()
        equal((numbers.pushed, numbers.length), (4, 4))


async def _statistics_are_of_now_and_ever(make: MakeStore) -> None:
    async with a_queue(make, max_elements=5) as queue:
        await queue.push(b"a", b"bb", b"ccc")
        await queue.pop()
        numbers = await queue.statistics()
        equal(await told(queue), [2, 5, 3, 1, 0])
        equal((numbers.max_elements, numbers.set_aside, numbers.restarts), (5, 0, 0))
        equal((numbers.at_hand, numbers.in_hand, numbers.through), (2, 0, 1))
        equal((numbers.closed, numbers.paused, numbers.is_quiet), (False, False, False))
        await queue.clear()
        equal((await told(queue), (await queue.statistics()).is_quiet), ([0, 0, 3, 1, 2], True))


async def _clear_throws_everything_away(make: MakeStore) -> None:
    async with a_queue(make, max_elements=300) as queue, trio.open_nursery() as nursery:
        await queue.push(*some(0, 300))
        await queue.pop(7)
        (caller,) = await start_calls(nursery, partial(queue.wait_push, *some(0, 9)))
        equal((caller.outcome, await queue.clear()), (None, 293))
        await wait_all_tasks_blocked()
        equal((caller.outcome, await queue.len()), (9, 9))
        equal((await queue.clear(), await queue.clear()), (9, 0))
        equal((await queue.payload_size(), await queue.disk_size()), (0, 0))
        await queue.push(b"a")
        equal(await queue.pop(9), [b"a"])


async def _a_closed_queue_takes_nothing_in_and_is_worked_off(make: MakeStore) -> None:
    async with a_queue(make, max_elements=2) as queue, trio.open_nursery() as nursery:
        await queue.push(b"a", b"b")
        callers = await start_calls(nursery, *[partial(queue.wait_push, b"c")] * 2)
        await queue.close()
        await queue.close()
        await wait_all_tasks_blocked()
        equal([caller.outcome for caller in callers], [QueueClosedError] * 2)
        for push in (queue.push, queue.wait_push):
            with refused(QueueClosedError):
                await push(b"d")
        queue.push_nowait(b"d")
        equal((await queue.wait_pop(), await queue.pop(5)), ([b"a"], [b"b"]))
        for pop in (queue.pop, queue.wait_pop):
            with refused(QueueClosedError):
                await pop()
        equal(await told(queue, "closed", "length"), [True, 0])


async def _a_close_wakes_all_who_wait_in_vain(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        callers = await start_calls(nursery, queue.wait_pop, partial(queue.wait_pop, 5))
        await queue.close()
        await wait_all_tasks_blocked()
        equal([caller.outcome for caller in callers], [QueueClosedError] * 2)


async def _a_paused_queue_hands_nothing_out(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        await queue.push(b"a")
        await queue.pause(8)
        await queue.push(b"b")
        equal((await queue.pop(), await queue.len()), ([], 2))
        equal(await told(queue, "paused"), [True])
        begin = trio.current_time()
        equal((await queue.wait_pop(9), trio.current_time() - begin), ([b"a", b"b"], 8))
        await queue.pause()
        await queue.push(b"c")
        (caller,) = await start_calls(nursery, queue.wait_pop)
        await trio.sleep(FOREVER / 1e6)
        equal(caller.outcome, None)
        await queue.resume()
        await queue.resume()
        await wait_all_tasks_blocked()
        equal((caller.outcome, await told(queue, "paused")), ([b"c"], [False]))


async def _a_paused_queue_that_is_closed_is_worked_off_later(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        await queue.push(b"a")
        await queue.pause()
        await queue.close()
        callers = await start_calls(nursery, queue.wait_pop, queue.wait_pop)
        equal([caller.outcome for caller in callers], [None, None])
        await queue.resume()
        await wait_all_tasks_blocked()
        equal([caller.outcome for caller in callers], [[b"a"], QueueClosedError])


async def _a_restart_changes_nothing(make: MakeStore) -> None:
    async with a_runtime(make) as runtime, trio.open_nursery() as nursery:
        queue = await runtime.define("q", kind="capacity", max_elements=500)
        await queue.push(*some(0, 500))
        await queue.pop(3)
        await queue.resize(498)
        before = await told(queue, *NUMBERS, "max_elements")
        (caller,) = await start_calls(nursery, partial(queue.wait_push, b"x", b"y"))
        await runtime.restart("q")
        equal(
            (await told(queue, *NUMBERS, "max_elements"), caller.outcome), (before, ActorDownError)
        )
        equal(await told(queue, "restarts", "pushing"), [1, 0])
        with refused(QueueFullError):
            await queue.push(b"x", b"y")
        await queue.push(b"x")
        equal(await queue.pop(999), [*some(3, 497), b"x"])


async def _a_dead_letter_goes_in_and_comes_out(make: MakeStore) -> None:
    async with a_runtime(make) as runtime:
        dead = await runtime.define("dead", kind="capacity", max_elements=1)
        options: dict[str, object] = {"reservation_time": 5, "codec": "bytes"}
        queue = await runtime.define(
            "q", kind="timed", max_reservations=1, on_exhausted="dead", **options
        )
        await dead.push(b"before")
        await queue.insert(b"a")
        await queue.release(await queue.reserve(), error="bad")
        await wait_all_tasks_blocked()
        equal((await dead.len(), await dead.pop()), (1, [b"before"]))
        (letter,) = await dead.wait_pop()
        equal(isinstance(letter, DeadLetter), True)
        equal((letter.value, letter.queue, letter.error, letter.attempts), (b"a", "q", "bad", 1))
        await dead.push(b"after")
        equal((await dead.pop(), await dead.payload_size()), ([b"after"], 0))


# -- arguments and answers -------------------------------------------------------------------------


async def _a_bad_argument_is_refused_before_anything_happens(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.push(b"a")
        calls: list[Callable[..., object]] = [  # type: ignore[explicit-any] # on purpose
            queue.pop,
            queue.wait_pop,
            queue.submit.pop,
            queue.submit.wait_pop,
        ]
        for call in calls:
            for bad in (0, -1, True, 1.0, "1", None):
                with refused(ValueError) as refusal:
                    call(bad)
                equal(str(refusal.error), f"expected limit to be an int >= 1, got {bad!r}")
        waits: list[Callable[[], object]] = [
            lambda: queue.wait_pop(timeout=-1),
            lambda: queue.wait_push(b"b", timeout=-1),
            lambda: queue.submit.wait_pop(timeout=-1),
        ]
        for wait in waits:
            with refused(ValueError) as refusal:
                wait()
            equal(str(refusal.error), "expected timeout to be seconds >= 0, got -1")
        for number in (0, -5):
            with refused(ValueError):
                queue.resize(number)  # type: ignore[unused-coroutine] # likewise
        with refused(TypeError):
            queue.resize("5")  # type: ignore[arg-type, unused-coroutine] # on purpose
        equal(await told(queue, "length", "max_elements"), [1, 10**9])


async def _a_handle_says_what_it_is(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        equal((queue.name, queue.kind), ("q", "capacity"))
        equal(repr(queue), "<CapacityQueue 'q', store 'memory'>")
        equal(repr(queue.submit), "<CapacityQueue 'q', store 'memory'>.submit")


async def _submitted_operations_answer_later(make: MakeStore) -> None:
    async with a_queue(make, max_elements=3, mailbox=4) as queue:
        submit = queue.submit
        first, full, popped = submit.push(b"a", b"b"), submit.push(b"c", b"d"), submit.pop()
        dropped = submit.push(b"e")
        with refused(trio.WouldBlock):
            submit.push(b"x")
        with refused(trio.WouldBlock):
            queue.push_nowait(b"x")
        equal((first.is_ready, queue.inflight_ops), (False, 4))
        with refused(trio.WouldBlock):
            first.get_nowait()
        del dropped
        equal((await first.get(), await popped.get(), queue.inflight_ops), (2, [b"a"], 0))
        with refused(QueueFullError):  # of a submitted push, too
            await full.get()
        waiting = submit.wait_push(b"f", b"g")
        equal((await submit.wait_pop(9).get(), await waiting.get()), ([b"b", b"e"], 2))
        taker = submit.wait_pop(1, timeout=9)
        equal((await taker.get(), await taker.get(), taker.get_nowait()), ([b"f"],) * 3)
        equal((await submit.len().get(), await submit.is_empty().get()), (1, False))
        equal((await submit.payload_size().get(), await submit.disk_size().get() > 0), (1, True))
        await submit.resize(1).get()
        equal((await submit.statistics().get()).max_elements, 1)
        equal(await submit.clear().get(), 1)
        await submit.pause(1).get()
        await submit.resume().get()
        await submit.close().get()
        with refused(QueueClosedError):
            await submit.push(b"x").get()
        lost: Awaitable[object] = submit.pop().get()
        with refused(QueueClosedError):
            await lost


CAPACITY_RULES: Final[tuple[CapacityRule, ...]] = (
    _items_come_out_in_the_order_in_which_they_went_in,
    _who_looks_takes_nothing,
    _pushing_nothing_changes_nothing,
    _all_items_of_many_pushes_come_out_once,
    _large_and_empty_items_come_out_as_they_went_in,
    _only_bytes_go_in_unless_there_is_a_codec,
    _a_codec_lets_other_values_in,
    _a_full_queue_refuses_a_push_as_a_whole,
    _a_push_waits_for_room_in_its_turn,
    _a_push_that_left_pushes_nothing,
    _the_capacity_can_be_changed,
    _takers_wait_in_their_turn,
    _a_taker_that_left_takes_nothing,
    _takers_and_pushers_let_each_other_go_on,
    _it_tells_how_much_is_in_it,
    _statistics_in_a_batch_are_those_of_their_place,
    _statistics_are_of_now_and_ever,
    _clear_throws_everything_away,
    _a_closed_queue_takes_nothing_in_and_is_worked_off,
    _a_close_wakes_all_who_wait_in_vain,
    _a_paused_queue_hands_nothing_out,
    _a_paused_queue_that_is_closed_is_worked_off_later,
    _a_restart_changes_nothing,
    _a_dead_letter_goes_in_and_comes_out,
    _a_bad_argument_is_refused_before_anything_happens,
    _a_handle_says_what_it_is,
    _submitted_operations_answer_later,
)
