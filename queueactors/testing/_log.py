"""The contract of a log queue: every rule, through the handle and the actor.

Each rule is an async function of one argument: what makes an empty store. All of them obey
`trio.testing.MockClock` and take long without it. Use them as those of `check_timed`. The file is
over 500 lines because it is one list of rules.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from trio.testing import wait_all_tasks_blocked

from queueactors import CodecError, DeadLetter, PositionError, QueueClosedError
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
    from collections.abc import AsyncIterator, Callable

    from queueactors import LogQueue

    from ._timed_kit import TimedRule as LogRule

KIB: Final = 1 << 10
NUMBERS: Final = ("length", "labels", "behind", "added", "read", "expired", "cleared")


async def check_log(make: MakeStore) -> None:
    """Check every rule of `LOG_RULES`, one after the other.

    Args:
      make: Makes an empty store; called once a rule, or more often.

    Raises:
      AssertionError: If a rule does not hold.
    """
    await check_rules(LOG_RULES, make)


@asynccontextmanager
async def a_queue(make: MakeStore, **options: object) -> AsyncIterator[LogQueue]:
    async with a_runtime(make) as runtime:
        yield await runtime.define("q", kind="log", **options)


async def told(queue: LogQueue, *fields: str) -> list[object]:
    """Return some of a queue's numbers."""
    numbers = await queue.statistics()
    return [getattr(numbers, field) for field in fields or NUMBERS]


def some(first: int, count: int) -> list[bytes]:
    """Return items that can be told apart."""
    return [b"%d" % number for number in range(first, first + count)]


# -- labels ----------------------------------------------------------------------------------------


async def _each_label_reads_every_item_in_order(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        equal(await queue.add(b"a"), 1)
        equal(await queue.add(b"b", b"c"), 2)
        queue.add_nowait(b"d")
        equal((await queue.add(), await queue.submit.add(b"e").get()), (0, 1))
        equal(await queue.next("one"), ([b"a"], 0))
        equal(await queue.next("all", limit=99), ([b"a", b"b", b"c", b"d", b"e"], 0))
        equal(await queue.next("one", limit=2), ([b"b", b"c"], 0))
        await queue.add(b"f")
        equal(await queue.wait_next("all", limit=99), ([b"f"], 0))
        equal(await queue.next("one", "newest", 9), ([b"d", b"e", b"f"], 0))
        equal((await queue.next("all"), await queue.next("one", limit=5)), (([], 0), ([], 0)))
        equal(await queue.len(), 6)


async def _who_looks_is_no_label_and_moves_none(make: MakeStore) -> None:
    async with a_queue(make, ttl=100) as queue:
        equal(await queue.peek(), [])
        await queue.add(b"old")
        await trio.sleep(99)
        await queue.add(*some(0, 1000))
        await queue.next("r", limit=5)
        await queue.pause()
        equal(await queue.peek(2), [b"old", b"0"])
        await trio.sleep(1)
        found = [await queue.peek(500), await queue.submit.peek(9999).get()]
        equal(found, [some(0, 500), some(0, 1000)])
        await queue.resume()
        equal((await queue.labels(), await queue.next("r")), (["r"], ([b"4"], 0)))


async def _a_label_begins_at_the_oldest_or_at_the_newest_item(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        equal((await queue.next("o"), await queue.next("n", "newest")), (([], 0), ([], 0)))
        await queue.add(b"a", b"b", b"c")
        equal(await queue.next("o", "newest"), ([b"a"], 0))  # they are known: start says nothing
        equal(await queue.next("n", "oldest", 9), ([b"a", b"b", b"c"], 0))
        equal(await queue.next("older", "oldest"), ([b"a"], 0))
        equal(await queue.next("newer", "newest", 9), ([b"c"], 0))  # inclusive
        equal(await queue.next("newer"), ([], 0))
        equal((await queue.read("r", "newest", 9)).items, [b"c"])
        equal(await queue.wait_next("w", "newest", 9), ([b"c"], 0))
        await queue.clear()
        equal(await queue.next("later", "newest"), ([], 0))
        await queue.add(b"d", b"e")
        equal(await queue.next("later", "newest"), ([b"d"], 0))


async def _labels_are_listed_as_they_were_made(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        equal(await queue.labels(), [])
        await queue.next("b")
        await queue.read("a")
        await queue.next("")
        await queue.next("ümläut \u2028")
        with trio.move_on_after(1):
            await queue.wait_next("waited")
        await queue.next("a")
        equal(await queue.labels(), ["b", "a", "", "ümläut \u2028", "waited"])
        equal(await told(queue, "labels"), [5])


async def _a_removed_label_begins_anew(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.add(b"a", b"b")
        await queue.next("r")
        await queue.next("other")
        equal((await queue.remove_label("r"), await queue.remove_label("r")), (True, False))
        equal((await queue.remove_label("unknown"), await queue.labels()), (False, ["other"]))
        equal(await queue.next("r", limit=9), ([b"a", b"b"], 0))
        equal((await queue.labels(), await queue.next("other")), (["other", "r"], ([b"b"], 0)))


async def _many_labels_read_at_their_own_pace(make: MakeStore) -> None:
    items = some(0, 1000)
    found: dict[str, list[object]] = {f"by {limit}": [] for limit in (1, 7, 256, 300, 5000)}
    async with a_queue(make) as queue:
        for first in range(0, 1000, 250):
            await queue.add(*items[first : first + 250])
            for label, got in found.items():
                more, expired = await queue.next(label, limit=int(label[3:]))
                equal(expired, 0)
                got.extend(more)
        equal([len(got) for got in found.values()], [4, 28, 1000, 1000, 1000])
        for label, got in found.items():
            got.extend((await queue.next(label, limit=10**12))[0])
        equal(list(found.values()), [items] * 5)


# -- waiting ---------------------------------------------------------------------------------------


async def _a_reader_waits_for_the_first_item(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        await queue.add(b"old")
        callers = await start_calls(
            nursery,
            partial(queue.wait_next, "a"),
            partial(queue.wait_next, "a", limit=5),
            partial(queue.wait_next, "b", "newest"),
            partial(queue.wait_next, "b", limit=2),
        )
        expected: list[object] = [([b"old"], 0), None, ([b"old"], 0), None]
        equal([caller.outcome for caller in callers], expected)
        equal(await told(queue, "waiting", "adding"), [2, 0])
        await queue.add(b"x", b"y", b"z")
        await wait_all_tasks_blocked()
        equal(
            (callers[1].outcome, callers[3].outcome), (([b"x", b"y", b"z"], 0), ([b"x", b"y"], 0))
        )
        equal(await queue.wait_next("b"), ([b"z"], 0))


async def _no_label_waits_behind_another(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        await queue.add(b"a", b"b")
        await queue.next("at the end", limit=2)
        waiting = await start_calls(nursery, *[partial(queue.wait_next, "at the end")] * 3)
        equal(await queue.wait_next("behind", timeout=0), ([b"a"], 0))
        equal((await queue.wait_read("other", timeout=0)).items, [b"a"])
        await queue.add(b"c")
        await wait_all_tasks_blocked()
        # Those with one label have their turns in the order in which they began to wait.
        equal([each.outcome for each in waiting], [([b"c"], 0), None, None])
        many = [
            *await start_calls(
                nursery, *(partial(queue.wait_next, f"{n}", limit=9) for n in range(9))
            )
        ]
        equal([each.outcome for each in many], [([b"a", b"b", b"c"], 0)] * 9)
        again = await start_calls(nursery, *(partial(queue.wait_next, f"{n}") for n in range(9)))
        await queue.add(b"d")  # one of those who stand before them gets nothing
        await wait_all_tasks_blocked()
        equal([each.outcome for each in again], [([b"d"], 0)] * 9)
        equal([each.outcome for each in waiting[1:]], [([b"d"], 0), None])
        nursery.cancel_scope.cancel()


async def _a_reader_that_left_reads_nothing(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        with trio.move_on_after(5):
            await queue.wait_next("a")
        with refused(trio.TooSlowError) as refusal:
            await queue.wait_next("a", timeout=2.5)
        equal(str(refusal.error), "queue 'q': wait_next waited 2.5 s in vain")
        with refused(trio.TooSlowError) as refusal:
            await queue.wait_read("a", limit=3, timeout=0)
        equal(str(refusal.error), "queue 'q': wait_read waited 0 s in vain")
        await queue.add(b"x")
        equal((await queue.labels(), await queue.next("a")), (["a"], ([b"x"], 0)))


# -- time to live ----------------------------------------------------------------------------------


async def _an_item_can_be_read_until_its_time_is_over(make: MakeStore) -> None:
    async with a_queue(make, ttl=8) as queue:
        await queue.add(b"a")
        await trio.sleep(4)
        await queue.add(b"b")
        await trio.sleep(3.5)
        equal((await queue.read("r", limit=9)).items, [b"a", b"b"])
        equal((await queue.len(), await queue.next("early", limit=9)), (2, ([b"a", b"b"], 0)))
        await trio.sleep(0.5)  # not an instant longer
        equal((await queue.len(), await queue.read("r", limit=9)), (1, ([b"b"], 1, 2)))
        equal(await queue.next("new", limit=9), ([b"b"], 0))
        await trio.sleep(4)
        equal((await queue.len(), await queue.next("r", limit=9)), (0, ([], 2)))
        equal((await queue.next("r"), await queue.next("early")), (([], 0), ([], 0)))


async def _each_label_is_told_how_many_it_has_lost(make: MakeStore) -> None:
    async with a_queue(make, ttl=8) as queue:
        await queue.next("before")
        await queue.add(*some(0, 300))
        await queue.next("inside", limit=270)
        await queue.next("at the edge", limit=300)
        await trio.sleep(2)
        await queue.add(*some(300, 10))
        await queue.next("behind", limit=305)
        await trio.sleep(7)
        equal(await queue.next("before", limit=2), (some(300, 2), 300))
        equal(await queue.next("before", limit=2), (some(302, 2), 0))
        equal(await queue.next("inside", limit=99), (some(300, 10), 30))
        equal(await queue.next("at the edge"), (some(300, 1), 0))
        equal(await queue.next("behind"), (some(305, 1), 0))
        equal(await queue.next("new"), (some(300, 1), 0))
        await trio.sleep(9)
        labels = ("before", "inside", "at the edge", "behind", "new")
        lost = [await queue.next(label, limit=99) for label in labels]
        equal(lost, [([], 6), ([], 0), ([], 9), ([], 4), ([], 9)])
        equal(await told(queue, "expired", "length"), [310, 0])


async def _labels_do_not_expire(make: MakeStore) -> None:
    async with a_queue(make, ttl=5) as queue:
        await queue.add(b"a", b"b")
        await queue.next("a")
        await trio.sleep(FOREVER / 1e3)
        equal((await queue.labels(), await queue.next("a")), (["a"], ([], 1)))
        await queue.add(b"c")
        equal((await queue.next("a"), await queue.next("b", "newest")), (([b"c"], 0), ([b"c"], 0)))


async def _a_reader_that_waits_is_told_what_expired_with_its_next_item(make: MakeStore) -> None:
    async with a_queue(make, ttl=5) as queue, trio.open_nursery() as nursery:
        await queue.next("r")
        await queue.add(b"a", b"b")
        await trio.sleep(6)
        (caller,) = await start_calls(nursery, partial(queue.wait_next, "r"))
        equal(caller.outcome, None)
        await trio.sleep(60)
        await queue.add(b"c")
        await wait_all_tasks_blocked()
        equal((caller.outcome, await queue.next("r")), (([b"c"], 2), ([], 0)))


async def _the_room_of_what_expired_is_given_back(make: MakeStore) -> None:
    async with a_queue(make, ttl=8) as queue:
        for _ in range(10):
            await queue.add(*[bytes(KIB)] * 300)
            await trio.sleep(0.25)
        equal((await queue.len(), await queue.disk_size()), (3000, 3000 * KIB))
        await trio.sleep(6.75)  # 9.25 s after the first, 7 s after the last
        equal((await queue.len(), await queue.disk_size() <= 2400 * KIB), (1200, True))
        await trio.sleep(3)
        equal((await queue.len(), await queue.disk_size()), (0, 0))
        equal(await told(queue, "expired", "disk_size", "added"), [3000, 0, 3000])


async def _nothing_expires_without_a_time_to_live(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.add(b"a")
        await trio.sleep(FOREVER)
        equal((await queue.len(), await queue.next("r")), (1, ([b"a"], 0)))


# -- reading and committing ------------------------------------------------------------------------


async def _what_was_read_comes_again_until_it_is_committed(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.add(b"a", b"b", b"c")
        first = await queue.read("r", limit=2)
        equal((first.items, first.expired), ([b"a", b"b"], 0))
        equal((await queue.read("r", limit=2), await queue.wait_read("r", limit=2)), (first,) * 2)
        equal(await queue.commit("r", first.position), 2)
        second = await queue.read("r", limit=2)
        equal((second.items, await queue.commit("r", second.position)), ([b"c"], 1))
        equal(await queue.commit("r", second.position), 0)
        equal((await queue.read("r")).items, [])
        await queue.add(b"d")
        equal((await queue.next("r"), await queue.next("r")), (([b"d"], 0), ([], 0)))


async def _a_part_of_what_was_read_may_be_committed(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.add(*some(0, 10))
        read = await queue.read("r", limit=10)
        equal(await queue.commit("r", read.position - 7), 3)
        equal(await queue.next("r", limit=2), (some(3, 2), 0))
        equal((await queue.commit("r", read.position), await queue.next("r")), (5, ([], 0)))


async def _a_position_that_is_none_is_refused(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.add(b"a", b"b", b"c")
        read = await queue.read("r", limit=1)
        await queue.next("r", limit=2)
        for position in (read.position, 0, -1, 4, 1 << 70):
            with refused(PositionError) as refusal:
                await queue.commit("r", position)
            rule = "queue 'q': expected position of label 'r' to be from 2 to 3"
            equal(str(refusal.error), f"{rule}, got {position}")
        with refused(ValueError) as unknown:
            await queue.commit("x", 0)
        told_ = "queue 'q': there is no label 'x'; read with it first"
        equal((str(unknown.error), await queue.labels()), (told_, ["r"]))
        await queue.remove_label("r")
        with refused(PositionError):
            await queue.commit("r", 3)
        equal(await queue.next("r"), ([b"a"], 0))


async def _what_expired_is_counted_until_it_is_committed(make: MakeStore) -> None:
    async with a_queue(make, ttl=8) as queue:
        await queue.next("r")
        await queue.add(b"a", b"b")
        await trio.sleep(4)
        await queue.add(b"c")
        first = await queue.read("r", limit=1)
        await trio.sleep(5)
        second = await queue.read("r")
        equal((second, await queue.read("r")), (([b"c"], 2, 3),) * 2)
        equal(await queue.commit("r", first.position), 1)  # it was done with before
        equal(await queue.read("r"), ([b"c"], 1, 3))
        equal((await queue.commit("r", 3), await queue.next("r")), (2, ([], 0)))


# -- items -----------------------------------------------------------------------------------------


async def _large_and_empty_items_come_out_as_they_went_in(make: MakeStore) -> None:
    items = [b"", bytes(2048 * KIB), b"\0\xff", b"", bytes(700 * KIB), b""]
    async with a_queue(make) as queue:
        equal(await queue.add(*items), 6)
        equal(await queue.disk_size(), 2748 * KIB + 2)
        found, _ = await queue.next("r", limit=9)
        equal([item == got for item, got in zip(items, found, strict=True)], [True] * 6)
        await queue.add(bytearray(b"mutable"), memoryview(b"a view"))
        equal(await queue.next("r", limit=2), ([b"mutable", b"a view"], 0))


async def _only_bytes_go_in_unless_there_is_a_codec(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        for add in (queue.add, queue.submit.add, queue.add_nowait):
            with refused(CodecError) as refusal:
                add(b"good", "bad")
            rule = "codec 'bytes' failed: TypeError: expected bytes, got 'bad'; "
            equal(str(refusal.error), rule + "set a codec, such as msgpack, for other values")
        equal((await queue.len(), queue.inflight_ops), (0, 0))


async def _a_codec_lets_other_values_in(make: MakeStore) -> None:
    values: list[object] = [None, 0, "", "x", {"a": [1, 2.5]}, b"bytes", []]
    for codec in ("msgpack", "pickle"):
        async with a_queue(make, codec=codec) as queue:
            equal(await queue.add(*values), len(values))
            equal(await queue.next("r", limit=3), (values[:3], 0))
            equal((await queue.read("r", limit=9)).items, values[3:])
            equal(await queue.wait_next("r", limit=9), (values[3:], 0))


async def _a_dead_letter_goes_in_and_comes_out(make: MakeStore) -> None:
    async with a_runtime(make) as runtime:
        dead = await runtime.define("dead", kind="log")
        options: dict[str, object] = {"reservation_time": 5, "codec": "bytes"}
        queue = await runtime.define(
            "q", kind="timed", max_reservations=1, on_exhausted="dead", **options
        )
        await dead.add(b"before")
        await queue.insert(b"a")
        await queue.release(await queue.reserve(), error="bad")
        await wait_all_tasks_blocked()
        await dead.add(b"after")
        for label in ("one", "two"):
            (before, letter, after), _ = await dead.next(label, limit=9)
            equal((before, isinstance(letter, DeadLetter), after), (b"before", True, b"after"))
            equal((letter.value, letter.queue, letter.attempts), (b"a", "q", 1))
        equal((await queue.len(), await dead.len()), (0, 3))


# -- the whole queue -------------------------------------------------------------------------------


async def _statistics_in_a_batch_are_those_of_their_place(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.add(b"a")
        sent = [(queue.submit.add(b"a"), queue.submit.statistics()) for _ in range(3)]
        told = [await numbers.get() for _, numbers in sent]
        equal([(each.added, each.length) for each in told], [(2, 2), (3, 3), (4, 4)])
        numbers = await queue.statistics()
        equal((numbers.added, numbers.length), (4, 4))


async def _statistics_are_of_now_and_ever(make: MakeStore) -> None:
    async with a_queue(make, ttl=30) as queue:
        equal(await told(queue), [0, 0, None, 0, 0, 0, 0])
        await queue.add(b"a", b"bb", b"ccc")
        await queue.next("fast", limit=2)
        await queue.wait_next("slow")
        await queue.read("slow")
        numbers = await queue.statistics()
        equal(await told(queue), [3, 2, 2, 3, 4, 0, 0])
        equal((numbers.disk_size, numbers.set_aside, numbers.restarts), (6, 0, 0))
        equal((numbers.at_hand, numbers.in_hand, numbers.through), (2, 0, 4))
        equal((numbers.closed, numbers.paused, numbers.is_quiet), (False, False, False))
        await queue.next("slow", limit=9)
        equal(await told(queue, "behind", "is_quiet"), [1, False])
        await queue.next("fast")
        equal(await told(queue, "behind", "is_quiet"), [0, True])
        await trio.sleep(40)
        equal(await told(queue), [0, 2, 0, 3, 7, 3, 0])


async def _clear_throws_all_items_away_and_keeps_the_labels(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        await queue.add(*some(0, 600))
        await queue.next("behind", limit=10)
        await queue.next("at the end", limit=600)
        (caller,) = await start_calls(nursery, partial(queue.wait_next, "at the end"))
        equal((await queue.clear(), await queue.clear()), (600, 0))
        equal((await queue.len(), await queue.disk_size()), (0, 0))
        equal(await queue.labels(), ["behind", "at the end"])
        equal(await queue.next("behind"), ([], 590))
        await queue.add(b"new")
        await wait_all_tasks_blocked()
        equal((caller.outcome, await queue.next("behind", limit=9)), (([b"new"], 0),) * 2)
        equal(await told(queue, "cleared", "expired"), [600, 0])


async def _a_closed_queue_takes_nothing_in_and_can_be_read(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        await queue.add(b"a", b"b")
        await queue.next("waits", limit=2)
        callers = await start_calls(
            nursery, partial(queue.wait_next, "waits"), partial(queue.wait_read, "waits")
        )
        await queue.close()
        await queue.close()
        await wait_all_tasks_blocked()
        equal([caller.outcome for caller in callers], [QueueClosedError] * 2)
        with refused(QueueClosedError):
            await queue.add(b"c")
        queue.add_nowait(b"c")
        equal(await queue.wait_next("other"), ([b"a"], 0))
        read = await queue.wait_read("other", limit=5)
        equal((read.items, await queue.commit("other", read.position)), ([b"b"], 1))
        equal((await queue.next("other"), await queue.next("new")), (([], 0), ([b"a"], 0)))
        for wait in (queue.wait_next, queue.wait_read):
            with refused(QueueClosedError):
                await wait("other")
        equal(await told(queue, "closed", "length"), [True, 2])


async def _a_paused_queue_hands_nothing_out(make: MakeStore) -> None:
    async with a_queue(make, ttl=100) as queue, trio.open_nursery() as nursery:
        await queue.add(b"a")
        position = (await queue.read("r")).position
        await queue.pause(8)
        await queue.add(b"b")
        equal((await queue.next("r"), (await queue.read("r", limit=9)).items), (([], 0), []))
        equal((await queue.len(), await told(queue, "paused")), (2, [True]))
        equal(await queue.commit("r", position), 1)
        begin = trio.current_time()
        equal((await queue.wait_next("r"), trio.current_time() - begin), (([b"b"], 0), 8))
        await queue.pause()
        await queue.next("new", "newest")
        callers = await start_calls(nursery, partial(queue.wait_next, "s"))
        await trio.sleep(91)
        await queue.add(b"c")
        await trio.sleep(1)
        equal((callers[0].outcome, await queue.labels()), (None, ["r", "new", "s"]))
        await queue.resume()
        await queue.resume()
        await wait_all_tasks_blocked()
        equal((callers[0].outcome, await told(queue, "paused")), (([b"c"], 2), [False]))
        equal(await queue.next("new", limit=9), ([b"c"], 1))


async def _who_begins_to_wait_during_a_pause_is_served_at_its_end(make: MakeStore) -> None:
    for seconds in (8, None):
        async with a_queue(make) as queue, trio.open_nursery() as nursery:
            waited = await start_calls(nursery, partial(queue.wait_next, "a"))
            await queue.add(b"x")
            await wait_all_tasks_blocked()
            equal(waited[0].outcome, ([b"x"], 0))
            await queue.pause(seconds)
            callers = await start_calls(nursery, partial(queue.wait_next, "b"))
            equal(callers[0].outcome, None)
            if seconds is None:
                await queue.resume()
            else:
                await trio.sleep(seconds)
            await wait_all_tasks_blocked()
            equal(callers[0].outcome, ([b"x"], 0))


async def _a_paused_queue_that_is_closed_can_be_read_later(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        await queue.add(b"a")
        await queue.pause()
        await queue.close()
        callers = await start_calls(nursery, *[partial(queue.wait_next, "r")] * 2)
        equal([caller.outcome for caller in callers], [None, None])
        await queue.resume()
        await wait_all_tasks_blocked()
        equal([caller.outcome for caller in callers], [([b"a"], 0), QueueClosedError])


async def _a_closed_queue_tells_who_waits_once_nothing_is_left(make: MakeStore) -> None:
    for clear in (True, False):
        async with a_queue(make, ttl=100) as queue, trio.open_nursery() as nursery:
            await queue.add(b"a")
            await queue.pause()
            await queue.close()
            callers = await start_calls(nursery, partial(queue.wait_next, "r"))
            if clear:
                await queue.clear()
            else:
                await trio.sleep(102)  # the room of what has expired is given back, too
            await wait_all_tasks_blocked()
            equal(callers[0].outcome, QueueClosedError)


async def _a_restart_changes_nothing(make: MakeStore) -> None:
    async with a_runtime(make) as runtime, trio.open_nursery() as nursery:
        queue = await runtime.define("q", kind="log", ttl=20)
        await queue.next("before")
        await queue.add(*some(0, 300))
        await trio.sleep(10)
        await queue.add(*some(300, 300))
        await queue.next("inside", limit=290)
        read = await queue.read("committing", limit=310)
        await queue.commit("committing", read.position)
        await queue.next("gone")
        await queue.remove_label("gone")
        before = await told(queue)
        (caller,) = await start_calls(nursery, partial(queue.wait_next, "new", "newest", 9))
        equal(caller.outcome, ([b"599"], 0))
        (caller,) = await start_calls(nursery, partial(queue.wait_next, "new"))
        await runtime.restart("q")
        await wait_all_tasks_blocked()
        equal(caller.outcome, ActorDownError)
        equal((await queue.remove_label("new"), await told(queue, "restarts")), (True, [1]))
        after = await told(queue)
        equal((after[:4], after[5:]), (before[:4], before[5:]))
        equal(await queue.labels(), ["before", "inside", "committing"])
        await trio.sleep(11)
        equal(await queue.next("before"), ([b"300"], 300))
        equal(await queue.next("inside"), ([b"300"], 10))
        equal(await queue.next("committing", limit=999), (some(310, 290), 0))


# -- arguments and answers -------------------------------------------------------------------------


async def _a_bad_argument_is_refused_before_anything_happens(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.add(b"a")
        views = (queue, queue.submit)
        for name in ("next", "wait_next", "read", "wait_read"):
            for view in views:
                read: Callable[..., object] = getattr(view, name)  # type: ignore[explicit-any] # on purpose
                for limit in (0, -1, True, 1.0, "1", None):
                    with refused(ValueError) as refusal:
                        read("r", limit=limit)
                    told_ = f"expected limit to be an int >= 1, got {limit!r}"
                    equal(str(refusal.error), told_)
                for start in ("first", 0, None, b"oldest"):
                    with refused(ValueError) as refusal:
                        read("r", start)
                    told_ = f"expected start to be 'oldest' or 'newest', got {start!r}"
                    equal(str(refusal.error), told_)
                for label in (b"r", 1, None):
                    with refused(TypeError) as wrong:
                        read(label)
                    equal(str(wrong.error), f"expected label to be a str, got {label!r}")
                with refused(ValueError):
                    read("\ud800")
        for position in ("1", 1.0, True, None):
            with refused(TypeError) as wrong:
                queue.commit("r", position)  # type: ignore[arg-type, unused-coroutine] # on purpose
            equal(str(wrong.error), f"expected position to be an int, got {position!r}")
        with refused(TypeError):
            queue.remove_label(5)  # type: ignore[arg-type, unused-coroutine] # likewise
        for wait in (queue.wait_next, queue.wait_read, queue.submit.wait_next):
            with refused(ValueError) as refusal:
                wait("r", timeout=-1)
            equal(str(refusal.error), "expected timeout to be seconds >= 0, got -1")
        equal((await queue.labels(), await queue.len()), ([], 1))


async def _a_handle_says_what_it_is(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        equal((queue.name, queue.kind), ("q", "log"))
        equal(repr(queue), "<LogQueue 'q', store 'memory'>")
        equal(repr(queue.submit), "<LogQueue 'q', store 'memory'>.submit")


async def _submitted_operations_answer_later(make: MakeStore) -> None:
    async with a_queue(make, mailbox=4) as queue:
        submit = queue.submit
        added, first = submit.add(b"a", b"b", b"c"), submit.next("r", limit=1)
        refused_ = submit.commit("nobody", 1)
        dropped = submit.next("r", limit=1)
        with refused(trio.WouldBlock):
            submit.add(b"x")
        with refused(trio.WouldBlock):
            queue.add_nowait(b"x")
        equal((added.is_ready, queue.inflight_ops), (False, 4))
        with refused(trio.WouldBlock):
            added.get_nowait()
        del dropped
        equal((await added.get(), await first.get(), queue.inflight_ops), (3, ([b"a"], 0), 0))
        with refused(PositionError):
            await refused_.get()
        read = await submit.read("r").get()
        equal((read.items, await submit.commit("r", read.position).get()), ([b"c"], 1))
        waiting, reading = submit.wait_next("r"), submit.wait_read("s", "newest", timeout=5)
        equal(((await reading.get()).items, waiting.is_ready), ([b"c"], False))
        await submit.add(b"d").get()
        equal((await waiting.get(), await waiting.get()), (([b"d"], 0),) * 2)
        equal((await submit.len().get(), await submit.disk_size().get()), (4, 4))
        equal(
            (await submit.labels().get(), await submit.remove_label("s").get()), (["r", "s"], True)
        )
        equal(((await submit.statistics().get()).labels, await submit.clear().get()), (1, 4))
        await submit.pause(1).get()
        await submit.resume().get()
        await submit.close().get()
        with refused(QueueClosedError):
            await submit.add(b"x").get()


LOG_RULES: Final[tuple[LogRule, ...]] = (
    _each_label_reads_every_item_in_order,
    _who_looks_is_no_label_and_moves_none,
    _a_label_begins_at_the_oldest_or_at_the_newest_item,
    _labels_are_listed_as_they_were_made,
    _a_removed_label_begins_anew,
    _many_labels_read_at_their_own_pace,
    _a_reader_waits_for_the_first_item,
    _no_label_waits_behind_another,
    _a_reader_that_left_reads_nothing,
    _an_item_can_be_read_until_its_time_is_over,
    _each_label_is_told_how_many_it_has_lost,
    _labels_do_not_expire,
    _a_reader_that_waits_is_told_what_expired_with_its_next_item,
    _the_room_of_what_expired_is_given_back,
    _nothing_expires_without_a_time_to_live,
    _what_was_read_comes_again_until_it_is_committed,
    _a_part_of_what_was_read_may_be_committed,
    _a_position_that_is_none_is_refused,
    _what_expired_is_counted_until_it_is_committed,
    _large_and_empty_items_come_out_as_they_went_in,
    _only_bytes_go_in_unless_there_is_a_codec,
    _a_codec_lets_other_values_in,
    _a_dead_letter_goes_in_and_comes_out,
    _statistics_in_a_batch_are_those_of_their_place,
    _statistics_are_of_now_and_ever,
    _clear_throws_all_items_away_and_keeps_the_labels,
    _a_closed_queue_takes_nothing_in_and_can_be_read,
    _a_paused_queue_hands_nothing_out,
    _who_begins_to_wait_during_a_pause_is_served_at_its_end,
    _a_paused_queue_that_is_closed_can_be_read_later,
    _a_closed_queue_tells_who_waits_once_nothing_is_left,
    _a_restart_changes_nothing,
    _a_bad_argument_is_refused_before_anything_happens,
    _a_handle_says_what_it_is,
    _submitted_operations_answer_later,
)
