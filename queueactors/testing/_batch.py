"""The contract of a batch queue: every rule, through the handle, the actor and the processing.

Each rule is an async function of one argument: what makes an empty store. All of them obey
`trio.testing.MockClock` and take long without it. Use them as those of `check_timed`. The file is
over 500 lines because it is one list of rules.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from queueactors import (
    BatchQueue,
    DeadLetter,
    ItemRefusedError,
    OptionsError,
    QueueClosedError,
    QueueFullError,
)
from queueactors.retry import Exponential, Fixed, Linear, RetryPolicy

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
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from queueactors import Runtime, TimedQueue
    from queueactors.cores.batch import BatchState

    from ._timed_kit import TimedRule as BatchRule

    Act = Callable[[BatchQueue, list[object]], Awaitable[object]]

NOTHING_FLUSHES: Final[dict[str, object]] = {"flush_size": 0}


async def check_batch(make: MakeStore) -> None:
    """Check every rule of `BATCH_RULES`, one after the other.

    Args:
      make: Makes an empty store; called once a rule, or more often.

    Raises:
      AssertionError: If a rule does not hold.
    """
    await check_rules(BATCH_RULES, make)


class Boom(Exception):  # noqa: N818 - an ordinary failure
    """What a process function raises."""


@attrs.define(eq=False)
class Process:
    """A process function that notes what it gets, and does what it was told for each call.

    Args:
      acts: What the first calls do, one after the other; None: nothing.
      always: What all that follow do.
    """

    acts: list[Act | None] = attrs.field(factory=list)
    always: Act | None = None
    calls: list[list[object]] = attrs.field(factory=list)
    at: list[float] = attrs.field(factory=list)  # seconds on trio's clock
    now: int = 0  # how many run at this moment
    most: int = 0  # how many ran at once
    cancelled: int = 0

    async def __call__(self, queue: BatchQueue, items: list[object]) -> None:
        """Be the process function."""
        self.calls.append(list(items))
        self.at.append(trio.current_time())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await trio.lowlevel.checkpoint()
            act = self.acts.pop(0) if self.acts else self.always
            if act is not None:
                await act(queue, items)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        finally:
            self.now -= 1

    @property
    def waits(self) -> list[float]:
        """The seconds between the calls."""
        return [round(b - a, 6) for a, b in zip(self.at, self.at[1:], strict=False)]


async def fails(_queue: BatchQueue, items: list[object]) -> None:
    raise Boom(f"over {items!r}")


def lasts(seconds: float = FOREVER) -> Act:
    async def act(_queue: BatchQueue, _items: list[object]) -> None:
        await trio.sleep(seconds)

    return act


def fails_over(poison: object) -> Act:
    async def act(queue: BatchQueue, items: list[object]) -> None:
        if poison in items:
            await fails(queue, items)

    return act


@asynccontextmanager
async def a_queue(
    make: MakeStore, process: Process, **options: object
) -> AsyncIterator[BatchQueue]:
    async with a_runtime(make) as runtime:
        yield await define(runtime, process, "q", **options)


async def define(
    runtime: Runtime, process: object, queue: str = "q", **options: object
) -> BatchQueue:
    given: dict[str, object] = {"process": process, "retry": Fixed(0, 10, jitter=0)}
    return await runtime.define(queue, kind="batch", **(given | options))


async def stored(queue: BatchQueue, state: BatchState = "ready") -> list[list[object]]:
    """Return the items of all batches in a state."""
    return [batch.items for batch in await queue.peek(state, 1000)]


async def told(queue: BatchQueue, *fields: str) -> list[object]:
    """Return some of a queue's numbers."""
    numbers = await queue.statistics()
    return [getattr(numbers, field) for field in fields]


async def flushes(queue: BatchQueue) -> dict[str, int]:
    """Return how many items each trigger has flushed, of those that have any."""
    return {why: count for why, count in (await queue.statistics()).flushed.items() if count}


# -- when a buffer is flushed --------------------------------------------------------------------


async def _a_single_item_is_processed_at_once_unless_told_otherwise(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process) as queue:
        await queue.push("a")
        await wait_all_tasks_blocked()
        equal(process.calls, [["a"]])
        equal(await told(queue, "processed", "batches", "buffered"), [1, 0, 0])


async def _a_buffer_is_flushed_when_it_has_so_many_items(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process, flush_size=3) as queue:
        for item in "ab":
            await queue.push(item)
        await wait_all_tasks_blocked()
        equal((process.calls, await told(queue, "buffered", "batches")), ([], [2, 0]))
        await queue.push("c")
        await queue.push("d")
        await wait_all_tasks_blocked()
        equal((process.calls, await flushes(queue)), ([["a", "b", "c"]], {"size": 3}))
        equal(await told(queue, "buffered"), [1])


async def _a_buffer_is_flushed_after_so_many_pushes(make: MakeStore) -> None:
    process = Process()
    merging = {"buffer": "merging", "merge_key": len, "merge": max}
    async with a_queue(make, process, flush_size=2, flush_pushes=3, **merging) as queue:
        for item in ("a", "c", "b"):
            await queue.push(item)
        await wait_all_tasks_blocked()
        equal((process.calls, await flushes(queue)), ([["c"]], {"pushes": 1}))
        for item in ("a", "bb"):
            await queue.push(item)
        await wait_all_tasks_blocked()
        equal((process.calls[1:], await flushes(queue)), ([["a", "bb"]], {"pushes": 1, "size": 2}))


async def _a_buffer_is_flushed_so_long_after_its_first_item(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process, flush_size=0, flush_timeout=5) as queue:
        await trio.sleep(3)  # it does not count from here
        begin = trio.current_time()
        await queue.push("a")
        await trio.sleep(4)
        await queue.push("b")
        equal(process.calls, [])
        await trio.sleep(4)
        equal((process.calls, process.at[0] - begin), ([["a", "b"]], 5))
        await queue.push("c")
        equal(await queue.flush(), 1)
        await trio.sleep(4)
        again = trio.current_time()
        await queue.push("d")  # the timer of "c" does not count for it
        await trio.sleep(6)
        equal((process.calls[2:], process.at[2] - again), ([["d"]], 5))
        equal(await flushes(queue), {"timeout": 3, "manual": 1})


async def _a_flush_says_how_many_items_it_stored(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process, **NOTHING_FLUSHES) as queue:
        equal(await queue.flush(), 0)
        await queue.push_many("abc")
        await trio.sleep(1000)
        equal(process.calls, [])
        equal(await queue.flush(), 3)
        await wait_all_tasks_blocked()
        equal((process.calls, await flushes(queue)), ([["a", "b", "c"]], {"manual": 3}))
        equal(await queue.flush(), 0)


async def _a_push_that_is_to_be_stored_flushes_what_is_there(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process, **NOTHING_FLUSHES) as queue:
        await queue.pause()
        await queue.push("a")
        await queue.push("b", stored=True)
        equal((await stored(queue), await flushes(queue)), ([["a", "b"]], {"stored": 2}))
        await queue.push_many("cd", stored=True)
        await queue.push_many((), stored=True)
        equal(await stored(queue), [["a", "b"], ["c", "d"]])


async def _many_pushed_at_once_make_no_larger_batches(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process, flush_size=3) as queue:
        await queue.push_many(range(8))
        queue.push_nowait(8, 9)
        await queue.wait_push(10, 11, 12)
        await wait_all_tasks_blocked()
        equal(process.calls, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]])
        equal(await told(queue, "pushed", "buffered"), [13, 1])
    process = Process()
    async with a_queue(make, process, flush_size=0, flush_pushes=2) as queue:
        await queue.push_many(range(5))
        await wait_all_tasks_blocked()
        equal(process.calls, [[0, 1], [2, 3]])


async def _items_come_in_the_order_in_which_they_were_pushed(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process, flush_size=2) as queue:
        await queue.push("a")
        queue.push_nowait("b", "c")
        await queue.push_many("de")
        await queue.submit.push("f").get()
        await queue.wait_push("g")
        await queue.submit.push_many("hi").get()
        await queue.flush()
        await wait_all_tasks_blocked()
        equal("".join(cast("str", item) for call in process.calls for item in call), "abcdefghi")


# -- room ----------------------------------------------------------------------------------------


async def _a_full_queue_refuses_a_push_as_a_whole(make: MakeStore) -> None:
    process = Process(always=lasts(10))
    async with a_queue(make, process, flush_size=2, max_length=3) as queue:
        await queue.push_many("ab")
        await queue.push("c")
        with refused(QueueFullError) as refusal:
            await queue.push("d")
        equal(refusal.error and (refusal.error.new, refusal.error.room), (1, 0))
        queue.push_nowait("lost")
        equal(await told(queue, "pushed"), [3])
        await trio.sleep(11)  # two of them are done
        with refused(QueueFullError):
            await queue.push_many("def")
        await queue.push_many("de")
        equal(await queue.len(), 3)


async def _a_push_waits_for_room_in_its_turn(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process, max_length=2) as queue, trio.open_nursery() as nursery:
        await queue.pause()
        await queue.push_many("ab")
        callers = await start_calls(
            nursery,
            partial(queue.wait_push, "c", "d"),
            partial(queue.wait_push, "e", timeout=500),
            partial(queue.wait_push, "f", timeout=5),
        )
        equal(await told(queue, "pushing"), [3])
        await trio.sleep(6)
        equal([caller.outcome for caller in callers], [None, None, trio.TooSlowError])
        await queue.remove((await queue.peek())[0].id)
        with refused(QueueFullError) as refusal:
            await queue.push("x")  # there is room for one, and others wait
        equal(refusal.error and refusal.error.room, None)
        await queue.resume()
        await wait_all_tasks_blocked()
        equal(process.calls, [["b"], ["c"], ["d"], ["e"]])
        with refused(ValueError) as too_many:
            await queue.wait_push("x", "y", "z")
        equal(str(too_many.error), "expected at most 2 items (max_length), got 3")


async def _a_push_that_left_pushes_nothing(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process, max_length=1) as queue:
        await queue.pause()
        await queue.wait_push("a", timeout=0)
        with trio.move_on_after(5):
            await queue.wait_push("gone")
        with refused(trio.TooSlowError) as refusal:
            await queue.wait_push("gone", timeout=2)
        equal(str(refusal.error), "queue 'q': wait_push waited 2 s in vain")
        await queue.resume()
        await wait_all_tasks_blocked()
        equal((process.calls, await queue.len()), ([["a"]], 0))


# -- buffers -------------------------------------------------------------------------------------


def added(old: object, new: object) -> object:
    (key, one), (_, other) = cast("tuple[str, int]", old), cast("tuple[str, int]", new)
    return key, one + other


def key_of(item: object) -> object:
    return cast("Sequence[object]", item)[0]


MERGING: Final[dict[str, object]] = {
    "buffer": "merging",
    "merge_key": key_of,
    "merge": added,
    "codec": "pickle",
}


async def _a_merging_buffer_keeps_one_item_for_each_key(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process, flush_size=3, **MERGING) as queue:
        for key in "abaab":
            await queue.push((key, 1))
        equal((await queue.len(), await told(queue, "pushed", "buffered")), (2, [5, 2]))
        await queue.push(("c", 1))
        await wait_all_tasks_blocked()
        equal(process.calls, [[("a", 3), ("b", 2), ("c", 1)]])
        equal(await told(queue, "processed"), [3])


async def _batches_that_are_claimed_together_are_merged_again(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process, flush_size=2, batches=3, **MERGING) as queue:
        await queue.pause()
        for key in "abcaabba":
            await queue.push((key, 1))
        await queue.resume()
        await wait_all_tasks_blocked()
        equal(process.calls, [[("a", 3), ("b", 2), ("c", 1)], [("b", 1), ("a", 1)]])
        equal(await told(queue, "processed", "batches"), [5, 0])


async def _an_item_that_a_buffer_does_not_take_harms_no_other(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process, flush_size=0, **MERGING) as queue:
        await queue.push_many([("a", 1), ("b", 1)])
        with refused(ItemRefusedError) as refusal:
            await queue.push_many([("b", 1), ("a", "x"), ("c", 1)])
        equal(refusal.error and (refusal.error.queue, refusal.error.pushed), ("q", 1))
        with refused(ItemRefusedError):
            await queue.push(5)
        equal(await queue.flush(), 2)
        await wait_all_tasks_blocked()
        equal(process.calls, [[("a", 1), ("b", 2)]])
        equal(await told(queue, "restarts"), [0])


class Sorted:
    """A buffer of one's own."""

    def __init__(self) -> None:
        self._items: list[str] = []

    def push(self, item: object) -> None:
        """Take in an item."""
        self._items.append(cast("str", item))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._items)

    def __iter__(self) -> Iterator[object]:
        """Yield them, sorted."""
        return iter(sorted(self._items))


async def _a_buffer_may_be_ones_own(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process, flush_size=2, batches=2, buffer=Sorted) as queue:
        await queue.pause()
        await queue.push_many("dacb")
        equal(await stored(queue), [["a", "d"], ["b", "c"]])
        await queue.resume()
        await wait_all_tasks_blocked()
        equal(process.calls, [list("abcd")])


# -- processing ----------------------------------------------------------------------------------


async def _a_call_gets_up_to_so_many_of_the_oldest_batches(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process, flush_size=2, batches=2) as queue:
        await queue.pause()
        await queue.push_many("abcdefg")
        await queue.resume()
        await wait_all_tasks_blocked()
        equal(process.calls, [list("abcd"), list("ef")])
        equal(await told(queue, "processed", "buffered", "items"), [6, 1, 0])


async def _so_many_calls_run_at_a_time_each_with_its_own_batch(make: MakeStore) -> None:
    process = Process(always=lasts(1))
    async with a_queue(make, process, workers=3) as queue:
        begin = trio.current_time()
        await queue.push_many(range(9))
        await wait_all_tasks_blocked()
        equal((process.most, await told(queue, "claimed", "ready")), (3, [3, 6]))
        await trio.sleep(4)
        equal(await queue.len(), 0)
        equal((sorted(process.calls), process.most), ([[n] for n in range(9)], 3))
        equal(process.at[-1] - begin, 2)


async def _a_plain_function_runs_in_a_thread(make: MakeStore) -> None:
    seen: list[object] = []
    done = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def process(queue: BatchQueue, items: list[object]) -> object:
        seen.extend([queue.name, items])
        trio.from_thread.run(queue.push, "again") if items == ["a"] else None
        return finish(items)

    async def finish(items: list[object]) -> None:
        equal(trio.lowlevel.current_trio_token(), token)  # what it returns is awaited here
        await trio.lowlevel.checkpoint()
        if items == ["again"]:
            done.set()

    async with a_runtime(make) as runtime:
        queue = await define(runtime, process)
        await queue.push("a")
        await done.wait()
        equal(seen, ["q", ["a"], "q", ["again"]])


async def _what_fails_is_tried_again_as_the_policy_says(make: MakeStore) -> None:
    policies: dict[RetryPolicy, list[float]] = {
        Fixed(3, 2, jitter=0, cooldown=7): [2, 2, 7, 2, 2, 7],
        Linear(4, 1, 5, jitter=0, cooldown=7): [1, 3, 5, 7, 1, 3, 5, 7],
        Exponential(5, 1, 5, jitter=0, cooldown=7): [1, 2, 4, 5, 7, 1],
        Exponential(0, 1, 9, 1.5, jitter=0): [1, 1.5, 2.25, 3.375, 5.0625, 7.59375, 9, 9],
        Fixed(1, 2, jitter=0, cooldown=3): [3, 3, 3],
    }
    for policy, waits in policies.items():
        process = Process([fails] * len(waits))
        async with a_queue(make, process, retry=policy) as queue:
            await queue.push("a")
            await trio.sleep(100)
            equal((policy, process.waits), (policy, waits))
            equal(await told(queue, "process_errors", "processed"), [len(waits), 1])


async def _batches_of_a_call_are_tried_again_together(make: MakeStore) -> None:
    process = Process([fails, None, fails, fails])
    policy = Fixed(2, 10, jitter=0, cooldown=50)
    async with a_queue(make, process, batches=2, retry=policy) as queue:
        await queue.pause()
        await queue.push_many("ab")
        await queue.resume()
        await wait_all_tasks_blocked()
        await queue.push("c")  # a worker is free meanwhile
        await wait_all_tasks_blocked()
        equal(await told(queue, "retrying", "ready", "processed"), [2, 0, 1])
        equal(await stored(queue, "retry"), [["a"], ["b"]])
        await trio.sleep(11)
        equal((process.calls, await told(queue, "cooling")), ([["a", "b"], ["c"], ["a", "b"]], [2]))
        (first, _) = await queue.peek("cooling", 5)
        equal((first.items, first.claims, first.attempt), (["a"], 1, 0))
        equal(first.error, "Boom: over ['a', 'b']")
        await trio.sleep(51)  # its attempts are over: now each comes alone
        equal(process.calls[3:5], [["a"], ["b"]])


async def _a_poison_batch_neither_kills_nor_starves(make: MakeStore) -> None:
    for policy in (Fixed(1, 0), Fixed(0, 1, jitter=0), Fixed(2, 0, jitter=0)):
        process = Process(always=fails_over("poison"))
        async with a_queue(make, process, retry=policy) as queue:
            await queue.push("poison")
            for item in range(9):
                await queue.push(item)
            for _ in range(100):
                await queue.len()
            equal(await told(queue, "processed", "restarts", "batches"), [9, 0, 1])
            await queue.clear()


async def _a_batch_is_dropped_after_so_many_claims(make: MakeStore) -> None:
    process = Process(always=fails)
    policy = Fixed(2, 1, jitter=0, cooldown=3)
    async with a_queue(make, process, retry=policy, max_claims=2) as queue:
        await queue.push("a")
        await trio.sleep(100)
        equal(process.waits, [1, 3, 1])
        equal(await told(queue, "exhausted", "released", "batches"), [1, 1, 0])


async def _a_batch_is_buried_after_so_many_claims_until_it_is_kicked(make: MakeStore) -> None:
    process = Process(always=fails)
    options: dict[str, object] = {"retry": Fixed(1, 1), "max_claims": 1, "on_exhausted": "bury"}
    async with a_queue(make, process, **options) as queue:
        await queue.push_many("ab")
        await wait_all_tasks_blocked()
        equal((await stored(queue, "buried"), await told(queue, "buried")), ([["a"], ["b"]], [2]))
        process.always = None
        equal(await queue.kick(5), 2)
        await wait_all_tasks_blocked()
        equal((process.calls, await queue.len()), ([["a"], ["b"]] * 2, 0))


async def _a_batch_goes_to_another_queue_after_so_many_claims(make: MakeStore) -> None:
    process, other = Process(always=fails), Process()
    options: dict[str, object] = {"retry": Fixed(1, 1), "max_claims": 1, "flush_size": 2}
    async with a_runtime(make) as runtime:
        timed = await runtime.define("timed", reservation_time=30)
        await define(runtime, other, "batch")
        for name in ("timed", "batch"):
            queue = await define(runtime, process, f"of {name}", on_exhausted=name, **options)
            await queue.push_many("ab")
            await wait_all_tasks_blocked()
            equal(await queue.len(), 0)
        letter = await _letter_in(timed)
        equal((letter.value, letter.queue, letter.attempts), (["a", "b"], "of timed", 1))
        equal(letter.error, "Boom: over ['a', 'b']")
        ((letter,),) = cast("list[list[DeadLetter]]", other.calls)
        equal((letter.value, letter.queue), (["a", "b"], "of batch"))


async def _letter_in(queue: TimedQueue) -> DeadLetter:
    reservation = await queue.reserve()
    await queue.delete(reservation)
    return cast("DeadLetter", reservation.value)


async def _an_error_is_told_to_its_handler_each_time(make: MakeStore) -> None:
    process = Process([fails, fails])
    errors: list[BaseException] = []

    async def on_error(error: BaseException) -> None:
        await trio.sleep(1)
        errors.append(error)

    policy = Fixed(0, 1, jitter=0)
    async with a_queue(make, process, retry=policy, on_process_error=on_error) as queue:
        await queue.push("a")
        await trio.sleep(100)
        equal(list(map(str, errors)), ["over ['a']"] * 2)
        equal(await told(queue, "processed"), [1])


async def _a_call_may_push_back(make: MakeStore) -> None:
    async def push_back(queue: BatchQueue, items: list[object]) -> None:
        await queue.push_many([f"{item}'" for item in items])

    process = Process([push_back])
    async with a_queue(make, process, flush_size=2) as queue:
        await queue.push_many("ab")
        await wait_all_tasks_blocked()
        equal(process.calls, [["a", "b"], ["a'", "b'"]])


# -- holding back, looking, taking out -----------------------------------------------------------


async def _a_paused_queue_hands_nothing_out(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process) as queue:
        await queue.pause()
        await queue.push("a")
        await trio.sleep(1000)
        equal((process.calls, await told(queue, "paused", "ready")), ([], [True, 1]))
        await queue.resume()
        await wait_all_tasks_blocked()
        equal(process.calls, [["a"]])
        begin = trio.current_time()
        await queue.pause(7)
        await queue.push("b")
        await trio.sleep(10)
        equal((process.calls[1:], process.at[1] - begin), ([["b"]], 7))


async def _every_batch_can_be_seen(make: MakeStore) -> None:
    process = Process([lasts(), fails], always=fails)
    async with a_queue(make, process, workers=2, retry=Fixed(2, 50, jitter=0)) as queue:
        await queue.push("a")
        await wait_all_tasks_blocked()
        await queue.push("b")
        await wait_all_tasks_blocked()
        await queue.pause()
        begin = queue.clock.now_ns()
        await queue.push("c")
        await trio.sleep(4)
        states: tuple[BatchState, ...] = ("claimed", "retry", "ready", "cooling", "buried", "dead")
        equal(
            [await stored(queue, each) for each in states], [[["a"]], [["b"]], [["c"]], [], [], []]
        )
        (batch,) = await queue.peek()
        equal(
            (batch.state, batch.size, batch.pushed_at, batch.ready_at), ("ready", 1, begin, begin)
        )
        equal((batch.claims, batch.attempt, batch.error), (0, 0, None))
        fields = ("batches", "items", "claimed", "retrying", "ready", "cooling", "oldest_age")
        equal(await told(queue, *fields), [3, 3, 1, 1, 1, 0, 4])


async def _a_removed_batch_is_gone_whatever_it_was(make: MakeStore) -> None:
    process = Process([lasts(5), fails], always=None)
    async with a_queue(make, process, workers=2) as queue:
        for item in "abc":
            await queue.push(item)
            await wait_all_tasks_blocked()
            if item == "b":
                await queue.pause()
        ids = [(await queue.peek(state))[0].id for state in ("claimed", "retry", "ready")]
        equal((await queue.remove(*ids, 999), await queue.len()), (3, 0))
        await queue.resume()
        await trio.sleep(100)
        equal((process.calls, await told(queue, "processed")), ([["a"], ["b"]], [0]))
        equal(await queue.remove(*ids), 0)


async def _clear_removes_everything(make: MakeStore) -> None:
    process = Process([lasts(5), fails], always=None)
    async with a_queue(make, process, workers=2, flush_size=2) as queue:
        for items in ("ab", "cd"):
            await queue.push_many(items)
            await wait_all_tasks_blocked()
        await queue.pause()
        await queue.push_many("efg")
        equal((await queue.clear(), await queue.clear(), await queue.len()), (7, 0, 0))
        await queue.resume()
        await queue.push_many("hi")
        await trio.sleep(100)
        equal(process.calls, [["a", "b"], ["c", "d"], ["h", "i"]])
        equal(await told(queue, "batches", "items", "claimed", "retrying"), [0, 0, 0, 0])


async def _statistics_count_what_happened(make: MakeStore) -> None:
    process = Process([None, fails, fails])
    policy = Fixed(2, 1, jitter=0, cooldown=1)
    async with a_queue(make, process, flush_size=2, retry=policy) as queue:
        await queue.push_many("abc")
        await queue.flush()
        await trio.sleep(60)
        await queue.push("d")
        fields = ("pushed", "processed", "process_errors", "released", "exhausted", "lost")
        equal(await told(queue, *fields), [4, 3, 2, 1, 0, 0])
        equal(await flushes(queue), {"size": 2, "manual": 1})
        numbers = await queue.statistics()
        equal((numbers.waiting, numbers.restarts, numbers.closed), (1, 0, False))
        equal((await queue.len(), numbers.buffered), (1, 1))


# -- the end -------------------------------------------------------------------------------------


async def _a_closed_queue_takes_nothing_in_and_hands_nothing_out(make: MakeStore) -> None:
    process = Process()
    async with a_queue(make, process, flush_size=2) as queue:
        await queue.pause()
        await queue.push_many("abc")
        await queue.close()
        await queue.close()
        for push in (queue.push, queue.wait_push, partial(queue.push, stored=True)):
            with refused(QueueClosedError):
                await push("x")
        with refused(trio.ClosedResourceError):
            await queue.push_many("xy")
        with refused(QueueClosedError):
            await queue.flush()
        await queue.resume()
        await trio.sleep(100)
        equal((process.calls, await stored(queue)), ([], [["a", "b"], ["c"]]))
        equal(
            (await flushes(queue), await told(queue, "closed")), ({"size": 2, "close": 1}, [True])
        )


async def _a_close_wakes_those_who_wait_for_room(make: MakeStore) -> None:
    async with (
        a_queue(make, Process(), max_length=1) as queue,
        trio.open_nursery() as nursery,
    ):
        await queue.pause()
        await queue.push("a")
        callers = await start_calls(nursery, *[partial(queue.wait_push, "b")] * 2)
        await queue.close()
        await wait_all_tasks_blocked()
        equal([caller.outcome for caller in callers], [QueueClosedError] * 2)


async def _a_close_cancels_calls_and_stores_what_they_push_back(make: MakeStore) -> None:
    async def push_back(queue: BatchQueue, items: list[object]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
                await queue.push(f"{items[0]}'")

    process = Process(always=push_back)
    async with a_queue(make, process, flush_size=2, workers=2) as queue:
        await queue.push_many("abcdefg")
        await wait_all_tasks_blocked()
        begin = trio.current_time()
        await queue.close()
        equal((trio.current_time() - begin, process.cancelled), (2, 2))
        found = await stored(queue)
        equal(sorted(found[:2]), [["a", "b"], ["c", "d"]])  # they were given back
        equal((found[2:4], sorted(map(str, found[4]))), ([["e", "f"], ["g"]], ["a'", "c'"]))
        equal(await told(queue, "process_errors", "claimed"), [0, 0])


async def _a_close_waits_no_longer_than_its_grace(make: MakeStore) -> None:
    async def stays(_queue: BatchQueue, _items: list[object]) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    for grace in (0, 3, 99):
        process = Process(always=stays)
        async with a_queue(make, process) as queue:
            await queue.push("a")
            await wait_all_tasks_blocked()
            begin = trio.current_time()
            await queue.close(grace)
            equal(trio.current_time() - begin, grace)
            equal((await stored(queue), await told(queue, "claimed")), ([["a"]], [0]))
            await trio.sleep(200)
            equal((len(process.calls), await stored(queue)), (1, [["a"]]))  # it comes again


async def _several_may_close_at_once(make: MakeStore) -> None:
    async def lingers(_queue: BatchQueue, _items: list[object]) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)

    async with a_queue(make, Process(always=lingers), flush_size=2) as queue:
        await queue.push_many("abc")
        await wait_all_tasks_blocked()
        begin = trio.current_time()
        with trio.move_on_after(1):
            await queue.close()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(queue.close)
        equal(trio.current_time() - begin, 3)
        equal((await stored(queue), await told(queue, "processed")), ([["c"]], [2]))


async def _a_call_cannot_close_its_own_queue(make: MakeStore) -> None:
    errors: list[str] = []

    async def close(queue: BatchQueue, _items: list[object]) -> None:
        with refused(RuntimeError) as refusal:
            await queue.close()
        errors.append(str(refusal.error))

    async with a_queue(make, Process([close])) as queue:
        await queue.push("a")
        await wait_all_tasks_blocked()
        told = "the process function of queue 'q' cannot close it: it would wait for itself; "
        equal(errors, [told + "let another task do it"])
        equal((await queue.statistics()).closed, False)


async def _a_restart_changes_nothing(make: MakeStore) -> None:
    process = Process([lasts(), fails])
    async with a_runtime(make) as runtime:
        queue = await define(runtime, process, workers=2, flush_size=2, retry=Fixed(2, 9, jitter=0))
        for items in ("ab", "cd"):
            await queue.push_many(items)
            await wait_all_tasks_blocked()
        await queue.pause()
        await queue.push_many("efg")
        await trio.sleep(3)
        await runtime.restart("q")
        equal(process.cancelled, 1)
        equal(await told(queue, "retrying", "ready", "buffered"), [1, 3, 0])
        equal(await flushes(queue), {"size": 6, "close": 1})
        equal(await told(queue, "pushed", "process_errors", "paused"), [7, 1, True])
        await queue.resume()
        await trio.sleep(1)
        equal(sorted(process.calls[2:]), [["a", "b"], ["e", "f"], ["g"]])
        await trio.sleep(10)
        equal((process.calls[5:], process.at[5] - process.at[1]), ([["c", "d"]], 9))
        equal(await told(queue, "processed", "batches"), [7, 0])


# -- arguments and answers -----------------------------------------------------------------------


async def _any_value_comes_out_as_it_went_in(make: MakeStore) -> None:
    values: list[object] = [None, 0, False, "", (), [], {}, b"\0", "\u2028", 1 << 80, {"a": [1]}]
    process = Process()
    async with a_queue(make, process, flush_size=len(values), codec="pickle") as queue:
        await queue.push_many(values)
        await wait_all_tasks_blocked()
        equal(process.calls, [values])


async def _a_bad_argument_is_refused_before_anything_happens(make: MakeStore) -> None:
    async with a_queue(make, Process(), **NOTHING_FLUSHES) as queue:
        calls: list[Callable[[], object]] = [
            lambda: queue.wait_push("a", timeout=-1),
            lambda: queue.peek("asleep"),  # type: ignore[arg-type] # on purpose
            lambda: queue.peek("ready", 0),
            lambda: queue.kick(0),
            lambda: queue.pause(0),
            lambda: queue.submit.peek("ready", 0),
        ]
        for call in calls:
            with refused(ValueError):
                call()
        with refused(TypeError):
            queue.remove("1")  # type: ignore[arg-type, unused-coroutine] # on purpose
        with refused(ValueError):
            await queue.close(-1)
        equal(await told(queue, "pushed", "closed", "paused"), [0, False, False])
    async with a_runtime(make) as runtime:
        for option, value in {"flush_size": -1, "workers": 0, "batches": 0, "process": 1}.items():
            with refused(OptionsError):
                await define(runtime, **({"process": Process()} | {option: value}))  # type: ignore[arg-type]


async def _a_handle_says_what_it_is(make: MakeStore) -> None:
    async with a_queue(make, Process()) as queue:
        equal((queue.name, queue.kind), ("q", "batch"))
        equal(repr(queue), "<BatchQueue 'q', store 'memory'>")
        equal(repr(queue.submit), "<BatchQueue 'q', store 'memory'>.submit")


async def _submitted_operations_answer_later(make: MakeStore) -> None:
    async with a_queue(make, Process(), flush_size=0, mailbox=3, max_length=4) as queue:
        await queue.pause()
        submit = queue.submit
        pushes = [submit.push("a"), submit.push_many("bc")]
        flush = submit.flush()
        with refused(trio.WouldBlock):
            submit.push("x")
        with refused(trio.WouldBlock):
            queue.push_nowait("x")
        equal((flush.is_ready, queue.inflight_ops), (False, 3))
        equal(([await reply.get() for reply in pushes], await flush.get()), ([None] * 2, 3))  # type: ignore[func-returns-value] # that is it
        more = submit.wait_push("d", "e")
        (batch,) = await submit.peek().get()
        equal((batch.items, more.is_ready), (["a", "b", "c"], False))
        equal(await submit.remove(batch.id).get(), 1)
        await more.get()
        equal((await submit.len().get(), await submit.kick().get()), (2, 0))
        equal((await submit.statistics().get()).buffered, 2)
        equal(await submit.clear().get(), 2)
        await submit.pause(1).get()
        await submit.resume().get()
        equal((await queue.statistics()).paused, False)


BATCH_RULES: Final[tuple[BatchRule, ...]] = (
    _a_single_item_is_processed_at_once_unless_told_otherwise,
    _a_buffer_is_flushed_when_it_has_so_many_items,
    _a_buffer_is_flushed_after_so_many_pushes,
    _a_buffer_is_flushed_so_long_after_its_first_item,
    _a_flush_says_how_many_items_it_stored,
    _a_push_that_is_to_be_stored_flushes_what_is_there,
    _many_pushed_at_once_make_no_larger_batches,
    _items_come_in_the_order_in_which_they_were_pushed,
    _a_full_queue_refuses_a_push_as_a_whole,
    _a_push_waits_for_room_in_its_turn,
    _a_push_that_left_pushes_nothing,
    _a_merging_buffer_keeps_one_item_for_each_key,
    _batches_that_are_claimed_together_are_merged_again,
    _an_item_that_a_buffer_does_not_take_harms_no_other,
    _a_buffer_may_be_ones_own,
    _a_call_gets_up_to_so_many_of_the_oldest_batches,
    _so_many_calls_run_at_a_time_each_with_its_own_batch,
    _a_plain_function_runs_in_a_thread,
    _what_fails_is_tried_again_as_the_policy_says,
    _batches_of_a_call_are_tried_again_together,
    _a_poison_batch_neither_kills_nor_starves,
    _a_batch_is_dropped_after_so_many_claims,
    _a_batch_is_buried_after_so_many_claims_until_it_is_kicked,
    _a_batch_goes_to_another_queue_after_so_many_claims,
    _an_error_is_told_to_its_handler_each_time,
    _a_call_may_push_back,
    _a_paused_queue_hands_nothing_out,
    _every_batch_can_be_seen,
    _a_removed_batch_is_gone_whatever_it_was,
    _clear_removes_everything,
    _statistics_count_what_happened,
    _a_closed_queue_takes_nothing_in_and_hands_nothing_out,
    _a_close_wakes_those_who_wait_for_room,
    _a_close_cancels_calls_and_stores_what_they_push_back,
    _a_close_waits_no_longer_than_its_grace,
    _several_may_close_at_once,
    _a_call_cannot_close_its_own_queue,
    _a_restart_changes_nothing,
    _any_value_comes_out_as_it_went_in,
    _a_bad_argument_is_refused_before_anything_happens,
    _a_handle_says_what_it_is,
    _submitted_operations_answer_later,
)
