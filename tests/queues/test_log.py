"""A log queue whose actor crashes and whose callers are cancelled, at every point."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, assert_type, cast

import pytest
import trio

from queueactors import LogQueue, LogStatistics, QueueClosedError, Read
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

    from queueactors.cores.log import LogRecords

    Sweep = Callable[
        [Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]], Awaitable[int]
    ]

sweeps = pytest.mark.parametrize(
    "sweep", [cancel_at_every_step, cancel_after_every_step_of_all], ids=["own steps", "all steps"]
)
OPERATIONS: dict[str, Callable[[LogQueue, int], Awaitable[object]]] = {
    "add": lambda queue, _: queue.add(b"new", b"newer"),
    "next": lambda queue, _: queue.next("r", limit=2),
    "next of a new label": lambda queue, _: queue.next("new"),
    "wait_next": lambda queue, _: queue.wait_next("r", limit=2),
    "wait_next with a timeout": lambda queue, _: queue.wait_next("new", timeout=5),
    "read of a new label": lambda queue, _: queue.read("new"),
    "wait_read of a new label": lambda queue, _: queue.wait_read("new"),
    "commit": lambda queue, position: queue.commit("r", position),
    "remove_label": lambda queue, _: queue.remove_label("r"),
    "clear": lambda queue, _: queue.clear(),
    "close": lambda queue, _: queue.close(),
    "pause": lambda queue, _: queue.pause(),
    "resume": lambda queue, _: queue.resume(),
    "labels": lambda queue, _: queue.labels(),
    "len": lambda queue, _: queue.len(),
    "disk_size": lambda queue, _: queue.disk_size(),
    "statistics": lambda queue, _: queue.statistics(),
}
READING = {"labels", "len", "disk_size", "statistics"}
METHODS = {"len": "length"}  # of the core, where they are called otherwise


def running(
    store: FaultyStore | None = None, **options: object
) -> AbstractAsyncContextManager[KindRig[LogQueue]]:
    """Run a queue; crashes restart it at once, however many there are."""
    return running_kind(LogQueue, "q", store, **options)  # type: ignore[arg-type] # they are the queue's


def state_of(rig: KindRig[LogQueue]) -> tuple[object, ...]:
    """Return all that a queue is, without asking it."""
    records = cast("LogRecords", rig.records())
    each = [
        (one.id, str(one.value), one.state, one.first, one.count, one.size, one.at)
        for one in records.messages.values()
    ]
    return each, records.end, records.paused_until, records.closed, str(records.counters)


async def prepared(rig: KindRig[LogQueue]) -> int:
    """Put items and a label in, as if it were new; return what the label can commit."""
    cast("LogRecords", rig.records()).closed = False
    await rig.queue.resume()
    for label in await rig.queue.labels():
        await rig.queue.remove_label(label)
    await rig.queue.clear()
    await rig.queue.add(b"a", b"b", b"c", b"d")
    await rig.queue.next("r")
    return (await rig.queue.read("r", limit=2)).position


# -- cancellation ----------------------------------------------------------------------------------


@sweeps
@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_cancelled_operation_has_not_happened(
    name: str, sweep: Sweep, autojump_clock: MockClock
) -> None:
    completed = False
    position = 0
    before: object = None

    async with running() as rig:

        async def prepare() -> None:
            nonlocal completed, before, position
            completed = False
            position = await prepared(rig)
            if name == "resume":
                await rig.queue.pause()
            before = state_of(rig)

        async def operation() -> None:
            nonlocal completed
            await OPERATIONS[name](rig.queue, position)
            completed = True

        async def check() -> None:
            await settle()
            with trio.fail_after(1000):
                assert (state_of(rig) != before) == (completed and name not in READING)
                assert len(rig.actor.parked) == 0
                await prepare()

        await prepare()
        assert await sweep(operation, check) > 1


@sweeps
@pytest.mark.parametrize("seconds", [None, 5])
async def test_a_reader_that_is_cancelled_while_it_waits_reads_nothing(
    seconds: float | None, sweep: Sweep, autojump_clock: MockClock
) -> None:
    got: list[object] = []

    async with running() as rig:

        async def operation() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(add_later)
                items, _ = await rig.queue.wait_next("r", limit=5, timeout=seconds)
                got.extend(items)

        async def add_later() -> None:
            await trio.lowlevel.checkpoint()
            with trio.CancelScope(shield=True):
                await rig.queue.add(b"a", b"b")

        async def check() -> None:
            await settle()
            items, _ = await rig.queue.next("r", limit=9)
            found = [*got, *items]
            assert found == [b"a", b"b"] or (found == [] and not got)
            assert len(rig.actor.parked) == 0
            got.clear()

        assert await sweep(operation, check) > 2


# -- crashes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_operation_that_crashes_the_actor_says_so_and_has_not_happened(
    name: str, autojump_clock: MockClock
) -> None:
    word = name.split(maxsplit=1)[0]
    async with running() as rig:
        position = await prepared(rig)
        before = state_of(rig)
        rig.store.fault = crash_once(METHODS.get(word, word))

        with pytest.raises(ActorCrashedError) as caught:
            await OPERATIONS[name](rig.queue, position)

        assert isinstance(caught.value.__cause__, Boom)
        assert state_of(rig) == before
        assert (await rig.queue.statistics()).restarts == 1
        assert await rig.queue.next("r", limit=9) == ([b"b", b"c", b"d"], 0)


async def traffic(rig: KindRig[LogQueue]) -> int:
    """Let many add and read; check what each got, and return how many heard of a crash."""
    readers: dict[str, list[Caller[tuple[list[object], int]]]] = {}
    adders: dict[int, Caller[int]] = {}
    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            for label in "abc":
                call = partial(rig.queue.wait_next, label, limit=3)
                readers[label] = [await start(nursery, call) for _ in range(2)]
            for number in range(0, 24, 2):
                items = b"%d" % number, b"%d" % (number + 1)
                call_add = partial(rig.queue.add, *items)
                adders[number] = Caller(
                    call_add if number % 4 else rig.queue.submit.add(*items).get
                )
                nursery.start_soon(adders[number].run)
                for label, callers in readers.items():
                    callers.append(Caller(partial(rig.queue.wait_next, label, limit=2)))
                    nursery.start_soon(callers[-1].run)
            await settle()
            rig.store.fault = lambda _number, _method: False
            everything, _ = await rig.queue.next("all", limit=999)
            for label, callers in readers.items():
                rest = Caller(partial(rig.queue.next, label, limit=999))
                await rest.run()
                callers.append(rest)
            await rig.queue.close()
    for callers in readers.values():
        told = [caller.answer for caller in callers if caller.answer is not None]
        assert all(expired == 0 for _, expired in told)
        read = [item for items, _ in told for item in items]
        assert sorted(map(str, read)) == sorted(map(str, everything))
    sure = {b"%d" % n for n, adder in adders.items() if adder.error is None}
    failed = {b"%d" % n for n, adder in adders.items() if adder.error is not None}
    assert sure <= set(everything)
    assert len(everything) == len(set(everything))
    errors = [each.error for callers in readers.values() for each in callers if each.error]
    assert {type(error) for error in errors} <= {ActorCrashedError, QueueClosedError}
    return len(failed) + len([each for each in errors if isinstance(each, ActorCrashedError)])


@pytest.mark.slow
async def test_a_crash_at_any_operation_harms_only_that_one(autojump_clock: MockClock) -> None:
    number = 0
    while True:
        number += 1
        async with running(FaultyStore(crash_at(number))) as rig:
            failed = await traffic(rig)
            crashes = rig.actor.restarts
            assert failed <= crashes <= 1
        if not crashes:
            break

    assert number > 50


@pytest.mark.parametrize("every", [2, 3, 7])
async def test_crash_after_crash_loses_and_doubles_nothing(
    every: int, autojump_clock: MockClock
) -> None:
    async with running(FaultyStore(lambda number, _method: number % every == 0)) as rig:
        failed = await traffic(rig)

        assert failed <= rig.actor.restarts
        assert rig.actor.restarts > 5


async def test_a_reader_that_crashes_the_actor_is_the_culprit_not_who_woke_it(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig, trio.open_nursery() as nursery:
        first = await start(nursery, partial(rig.queue.wait_next, "a"))
        second = await start(nursery, partial(rig.queue.wait_next, "b"))
        rig.store.fault = crash_once("wait_next")

        assert await rig.queue.add(b"x") == 1
        await settle()

        assert isinstance(first.error, ActorCrashedError)
        assert second.got == ([b"x"], 0)
        assert await rig.queue.next("a") == ([b"x"], 0)


async def test_those_who_wait_keep_their_order_and_their_timeouts_over_a_crash(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig, trio.open_nursery() as nursery:
        late = await start(nursery, partial(rig.queue.wait_next, "r", timeout=10))
        first = await start(nursery, partial(rig.queue.wait_next, "r"))
        second = await start(nursery, partial(rig.queue.wait_next, "r"))
        rig.store.fault = crash_once("length")
        with pytest.raises(ActorCrashedError):
            await rig.queue.len()
        await trio.sleep(11)

        await rig.queue.add(b"x")
        await settle()

        assert isinstance(late.error, trio.TooSlowError)
        assert (first.got, second.done) == (([b"x"], 0), False)
        nursery.cancel_scope.cancel()


async def test_items_expire_while_the_actor_is_down(autojump_clock: MockClock) -> None:
    async with running(ttl=8) as rig:
        await rig.queue.next("r")
        await rig.queue.add(b"a", b"b")
        await trio.sleep(5)
        await rig.queue.add(b"c")
        await rig.supervisor.terminate_child("q")
        await trio.sleep(4)
        await rig.supervisor.restart_child("q")

        assert await rig.queue.len() == 1
        assert await rig.queue.next("r", limit=9) == ([b"c"], 2)


# -- many that wait --------------------------------------------------------------------------------


async def test_one_item_wakes_a_thousand_labels_and_each_reads_it(
    autojump_clock: MockClock,
) -> None:
    async with running(mailbox=3000) as rig:
        replies = [rig.queue.submit.wait_next(f"{n}") for n in range(1000)]
        await settle()
        assert (await rig.queue.statistics()).waiting == 1000

        await rig.queue.add(b"x")
        await settle()

        assert [reply.get_nowait() for reply in replies] == [([b"x"], 0)] * 1000
        assert (await rig.queue.statistics()).waiting == 0


async def test_readers_of_one_label_share_its_items_in_their_order(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        replies = [rig.queue.submit.wait_next("r", limit=limit) for limit in (1, 2, 3, 1)]
        await settle()
        for number in range(5):
            rig.queue.add_nowait(b"%d" % number)
        await settle()

        got = [reply.get_nowait()[0] for reply in replies[:3]]
        assert got == [[b"0"], [b"1", b"2"], [b"3", b"4"]]
        assert not replies[3].is_ready


async def test_a_reader_in_front_gets_what_comes_before_one_that_asks_later(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        waiting = rig.queue.submit.wait_next("r")
        await settle()
        rig.queue.add_nowait(b"x")
        later = rig.queue.submit.wait_next("r", timeout=5)
        await settle()

        assert waiting.get_nowait() == ([b"x"], 0)
        with pytest.raises(trio.TooSlowError):
            await later.get()


async def test_one_that_began_to_wait_in_the_same_batch_comes_first(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        rig.queue.submit.wait_next("other")
        await settle()
        rig.queue.add_nowait(b"x")
        assert not rig.queue.submit.next("r").is_ready
        first = rig.queue.submit.wait_next("r")
        rig.queue.add_nowait(b"y")
        second = rig.queue.submit.wait_next("r")
        await settle()

        assert (first.get_nowait(), second.is_ready) == (([b"y"], 0), False)


async def test_readers_that_wait_are_asked_only_when_there_is_news_for_them(
    autojump_clock: MockClock,
) -> None:
    async with running(mailbox=200) as rig:
        for number in range(100):
            rig.queue.submit.wait_next(f"{number}")
        await rig.queue.len()
        before = rig.store.count
        for _ in range(10):
            await rig.queue.len()
            await rig.queue.next("r")

        assert rig.store.count - before == 20


async def test_only_its_own_readers_are_asked_when_a_label_is_removed(
    autojump_clock: MockClock,
) -> None:
    async with running(mailbox=200) as rig:
        for number in range(100):
            rig.queue.submit.wait_next(f"{number % 50}")
        await rig.queue.next("r")
        before = rig.store.count
        for label in ("r", "none", "7"):
            await rig.queue.remove_label(label)

        assert rig.store.count - before == 3 + 2


async def test_nobody_is_asked_again_while_the_log_is_paused(autojump_clock: MockClock) -> None:
    async with running(mailbox=200) as rig:
        await rig.queue.pause()
        for number in range(100):
            rig.queue.submit.wait_next(f"{number}")
        await rig.queue.len()
        before = rig.store.count
        for _ in range(10):
            await rig.queue.add(b"x")

        assert rig.store.count - before == 10


async def test_a_label_that_is_removed_begins_anew_for_a_reader_that_waits(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        await rig.queue.add(b"a")
        await rig.queue.next("r")
        waiting = rig.queue.submit.wait_next("r")
        await settle()
        assert not waiting.is_ready

        await rig.queue.remove_label("r")

        assert await waiting.get() == ([b"a"], 0)


async def test_two_consumers_that_commit_see_every_item(autojump_clock: MockClock) -> None:
    seen: dict[str, list[object]] = {"indexer": [], "archiver": []}

    async def consume(queue: LogQueue, label: str, limit: int) -> None:
        while len(seen[label]) < 300:
            read = await insist(partial(queue.wait_read, label, limit=limit))
            await insist(partial(queue.commit, label, read.position))
            seen[label] += read.items

    store = FaultyStore(lambda number, _method: number % 5 == 0)
    async with running(store) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(consume, rig.queue, "indexer", 7)
        nursery.start_soon(consume, rig.queue, "archiver", 50)
        for number in range(300):
            await insist(partial(rig.queue.add, b"%d" % number))

    assert seen["indexer"] == seen["archiver"] == [b"%d" % number for number in range(300)]
    assert rig.actor.restarts > 50


# -- stopped and ended -----------------------------------------------------------------------------


async def test_everybody_is_answered_when_the_queue_is_stopped(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig, trio.open_nursery() as nursery:
        caller = await start(nursery, partial(rig.queue.wait_next, "r"))
        reply = rig.queue.submit.wait_read("r")
        await rig.supervisor.terminate_child("q")
        await settle()

        assert isinstance(caller.error, ActorDownError)
        with pytest.raises(ActorDownError):
            reply.get_nowait()
        with pytest.raises(ActorDownError):
            await rig.queue.add(b"a")
        with pytest.raises(ActorDownError):
            rig.queue.submit.len()
        await rig.supervisor.restart_child("q")
        assert await rig.queue.labels() == ["r"]


async def test_a_queue_stays_closed_and_paused_over_a_crash(autojump_clock: MockClock) -> None:
    async with running() as rig:
        await rig.queue.add(b"a")
        await rig.queue.pause()
        await rig.queue.close()
        rig.store.fault = crash_once("length")
        with pytest.raises(ActorCrashedError):
            await rig.queue.len()

        with pytest.raises(QueueClosedError):
            await rig.queue.add(b"b")
        assert await rig.queue.next("r") == ([], 0)
        await rig.queue.resume()
        assert await rig.queue.next("r") == ([b"a"], 0)


# -- answers ---------------------------------------------------------------------------------------


async def test_an_answer_that_is_dropped_harms_nothing(autojump_clock: MockClock) -> None:
    async with running(mailbox=500) as rig:
        for number in range(200):
            rig.queue.submit.add(b"%d" % number)
            rig.queue.submit.commit("nobody", number)  # an error that nobody asks for
        for _ in range(50):
            rig.queue.submit.next("r")
        await settle()

        assert (await rig.queue.len(), rig.queue.inflight_ops, rig.actor.restarts) == (200, 0, 0)
        assert await rig.queue.next("r") == ([b"50"], 0)


async def test_a_twin_has_the_same_types(autojump_clock: MockClock) -> None:
    async with running() as rig:
        submit = rig.queue.submit
        assert_type(submit.add(b"a"), PendingReply[int])
        assert_type(submit.read("r", "newest", 5), PendingReply[Read])
        assert_type(submit.labels(), PendingReply[list[str]])
        assert_type(submit.statistics(), PendingReply[LogStatistics])
        assert_type(await rig.queue.commit("r", 0), int)
