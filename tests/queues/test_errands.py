"""Errands: refills, and dead letters to another queue."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest
import trio
import trio.lowlevel

from queueactors import Config, DeadLetter, QueueClosedError, RefillError, open_runtime
from queueactors._insist import insist
from queueactors.config import StoreConfig
from supervisors import ActorCrashedError

from .kit import Boom, FaultyStore, Steps, crash_at, crash_once, everything_in, settle, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from trio.testing import MockClock

    from queueactors import Runtime, TimedQueue
    from supervisors import Supervisor
    from tests.conftest import Events


@asynccontextmanager
async def runtime_with(store: FaultyStore) -> AsyncIterator[Runtime]:
    config = StoreConfig(type="faulty", factory=lambda: store, options={})
    async with open_runtime(Config(stores={"memory": config})) as runtime:
        yield runtime


@asynccontextmanager
async def refilled_by(
    sync_fn: object, *, store: FaultyStore | None = None, **options: object
) -> AsyncIterator[tuple[TimedQueue, Runtime]]:
    """Run a queue with a refill."""
    given = {"reservation_time": 60, "sync_fn": sync_fn, "sync_interval": 10} | options
    async with runtime_with(FaultyStore() if store is None else store) as runtime:
        yield await runtime.define("q", kind="timed", **given), runtime


@asynccontextmanager
async def with_dead_letters(
    store: FaultyStore | None = None, **options: object
) -> AsyncIterator[tuple[TimedQueue, TimedQueue, Runtime]]:
    """Run a queue whose exhausted messages go to another one."""
    given = {"reservation_time": 60, "max_reservations": 1, "on_exhausted": "other"} | options
    async with runtime_with(FaultyStore() if store is None else store) as runtime:
        other = await runtime.define("other", reservation_time=60)
        yield await runtime.define("q", kind="timed", **given), other, runtime


def children(runtime: Runtime) -> Supervisor:
    return cast("Supervisor", runtime.supervisor.value_of("queues"))


def restarts(runtime: Runtime) -> dict[str, int]:
    return {info.id: info.restarts for info in children(runtime).which_children() if info.restarts}


async def exhaust(queue: TimedQueue, *values: object) -> None:
    """Let the last allowed reservation of some values end."""
    await queue.insert(*values)
    for reservation in await queue.reserve_many(len(values)):
        await queue.release(reservation, error="bad")


def named(events: Events, name: str) -> Events:
    return [event for event in events if event["event"] == name]


# -- refills: which functions ------------------------------------------------------------------


async def refill(*values: object) -> list[object]:
    return [*values, "v"]


class AsyncObject:
    async def __call__(self) -> set[str]:
        return {"v"}


async def test_a_refill_may_be_any_async_callable() -> None:
    for function in (refill, partial(refill, *()), AsyncObject(), lambda: refill()):  # noqa: PLW0108
        async with refilled_by(function) as (queue, _):
            with trio.fail_after(5):
                assert (await queue.reserve()).value == "v"


async def test_a_plain_refill_runs_in_a_thread_to_its_last_value() -> None:
    threads: list[int] = []

    def generate(first: int) -> Iterator[int]:
        threads.append(threading.get_ident())
        yield first
        threads.append(threading.get_ident())
        yield first + 1

    async with refilled_by(generate, sync_args=[5]) as (queue, _):
        with trio.fail_after(5):
            assert [(await queue.reserve()).value for _ in range(2)] == [5, 6]

    assert threading.get_ident() not in threads
    assert len(threads) == 2


async def test_a_plain_refill_that_fails_half_way_puts_nothing_in(events: Events) -> None:
    def generate() -> Iterator[int]:
        yield 1
        raise Boom("half way")

    async with refilled_by(generate) as (queue, _):
        with pytest.raises(trio.TooSlowError):
            await queue.reserve(timeout=0.05)
        assert (await queue.statistics()).refill_errors == 1
        assert await queue.len() == 0

    (event,) = named(events, "refill_failed")
    assert (event["queue"], event["error"], event["log_level"]) == ("q", "Boom: half way", "error")


async def test_a_plain_refill_that_hangs_is_given_up_and_takes_no_second_thread() -> None:
    release = threading.Event()
    started: list[int] = []

    def hang() -> list[str]:
        started.append(threading.get_ident())
        release.wait(10)
        return ["late"]

    try:
        async with refilled_by(hang, sync_interval=0, sync_timeout=0.02) as (queue, _):
            with pytest.raises(trio.TooSlowError):
                await queue.reserve(timeout=0.15)

            numbers = await queue.statistics()
            assert numbers.refill_errors >= 2
            assert len(started) == 1
            assert await queue.insert("still serves") == 1
    finally:
        release.set()


@pytest.mark.parametrize("rubbish", ["text", b"bytes", 5, None, {"a": 1}, object()])
async def test_a_refill_that_returns_no_values_has_failed(
    rubbish: object, events: Events, autojump_clock: MockClock
) -> None:
    async def give() -> object:
        return rubbish

    async with refilled_by(give) as (queue, _):
        await queue.try_reserve()
        await settle()

        assert (await queue.statistics()).refill_errors == 1
        assert await queue.len() == 0

    (event,) = named(events, "refill_failed")
    assert "expected sync_fn to return an iterable of values, got" in str(event["error"])


async def test_what_a_refill_put_in_is_told(events: Events, autojump_clock: MockClock) -> None:
    async with refilled_by(partial(refill, "a", "a"), unique=True) as (queue, _):
        await queue.insert("v")
        await queue.clear()
        await queue.try_reserve()
        await settle()

    (event,) = named(events, "refilled")
    assert (event["queue"], event["values"], event["inserted"]) == ("q", 3, 2)


# -- refills: when things fall over ------------------------------------------------------------


async def test_a_refill_outlives_a_crash_of_the_queue(autojump_clock: MockClock) -> None:
    store = FaultyStore()

    async def slow() -> list[str]:
        await trio.sleep(5)
        store.fault = crash_once("refilled")
        return ["v"]

    async with refilled_by(slow, store=store) as (queue, runtime):
        async with trio.open_nursery() as nursery:
            taker = await start(nursery, queue.reserve)
            store.fault = crash_once("length")
            await start(nursery, queue.len)

        assert taker.got.value == "v"
        numbers = await queue.statistics()
        assert (numbers.refills, numbers.refill_errors, numbers.inserted) == (1, 0, 1)
        assert restarts(runtime) == {"queue.q": 2}


async def test_a_crash_at_any_step_of_a_refill_neither_loses_nor_doubles_its_values(
    autojump_clock: MockClock,
) -> None:
    number = 0
    crashes = True
    while crashes:
        number += 1
        store = FaultyStore(crash_at(number))
        async with refilled_by(partial(refill, "a"), store=store) as (queue, runtime):
            await start_and_forgive(queue)
            await trio.sleep(20)
            store.fault = lambda _number, _method: False

            assert sorted(map(str, await everything_in(queue))) == ["a", "v"]
            assert (await queue.statistics()).last_refill == 2
            crashes = bool(restarts(runtime))

    assert number > 4


async def test_a_crash_at_any_step_of_a_sync_answers_it_all_the_same(
    autojump_clock: MockClock,
) -> None:
    number = 0
    crashes = True
    while crashes:
        number += 1
        store = FaultyStore(crash_at(number))
        async with refilled_by(partial(refill, "a"), store=store) as (queue, runtime):
            async with trio.open_nursery() as nursery:
                with trio.fail_after(100):
                    first = await start(nursery, queue.sync)
                    second = await start(nursery, queue.sync)
            store.fault = lambda _number, _method: False

            crashes = bool(restarts(runtime))
            failed = [each for each in (first, second) if each.error is not None]
            assert all(isinstance(each.error, ActorCrashedError) for each in failed)
            assert len(failed) <= bool(crashes)
            # The second one comes while the first refill runs, or after it.
            assert [each.answer for each in (first, second) if each not in failed][:1] == [2]
            assert len(await everything_in(queue)) == 2 * (await queue.statistics()).refills

    assert number > 4


async def test_a_sync_outlives_a_crash_of_the_queue(autojump_clock: MockClock) -> None:
    async def slow() -> list[str]:
        await trio.sleep(5)
        return ["v"]

    store = FaultyStore()
    async with refilled_by(slow, store=store) as (queue, _):
        async with trio.open_nursery() as nursery:
            caller = await start(nursery, queue.sync)
            store.fault = crash_once("length")
            await start(nursery, queue.len)

        assert caller.got == 1


async def test_a_sync_whose_refill_is_lost_gets_another(autojump_clock: MockClock) -> None:
    calls = 0

    async def slow() -> list[int]:
        nonlocal calls
        calls += 1
        await trio.sleep(5)
        return [calls, calls]

    async with refilled_by(slow) as (queue, runtime), trio.open_nursery() as nursery:
        caller = await start(nursery, queue.sync)
        await children(runtime).terminate_child("errands.q")
        await children(runtime).restart_child("errands.q")
        await trio.sleep(6)

        assert (caller.got, calls) == (2, 2)
        assert await everything_in(queue) == [2, 2]
        assert (await queue.statistics()).refill_errors == 1


async def test_what_a_refill_leaves_out_is_told(events: Events, autojump_clock: MockClock) -> None:
    async with refilled_by(partial(refill, "a", "b"), max_length=2) as (queue, _):
        assert await queue.sync() == 2

    (event,) = named(events, "refill_left_out")
    assert (event["queue"], event["values"], event["log_level"]) == ("q", 1, "warning")


class Array:
    """Compares as arrays do: item by item."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, _other: object) -> Array:  # type: ignore[override]
        return self

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


async def test_a_refill_of_a_unique_queue_with_what_cannot_be_compared_has_failed(
    autojump_clock: MockClock,
) -> None:
    async with refilled_by(partial(refill, Array()), unique=True) as (queue, runtime):
        with pytest.raises(RefillError, match="expected values of a unique queue to be comparable"):
            await queue.sync()

        assert await queue.len() == 0
        assert restarts(runtime) == {}


async def test_an_array_for_a_unique_queue_is_refused_at_the_call(
    autojump_clock: MockClock,
) -> None:
    async with with_dead_letters(unique=True) as (queue, _, runtime):
        for call in (queue.insert, queue.insert_nowait, queue.wait_insert, queue.submit.insert):
            with pytest.raises(TypeError, match="to be comparable, got a Array"):
                call("a", Array())

        assert await queue.len() == 0
        assert restarts(runtime) == {}


async def start_and_forgive(queue: TimedQueue) -> None:
    """Ask for a message until the actor does not crash over that."""
    while True:
        try:
            await queue.try_reserve()
        except Exception:  # noqa: BLE001, S112 - whatever
            continue
        return


async def test_a_refill_that_was_stopped_in_the_middle_is_begun_again(
    autojump_clock: MockClock,
) -> None:
    calls = 0

    async def slow() -> list[int]:
        nonlocal calls
        calls += 1
        await trio.sleep(5)
        return [calls]

    async with refilled_by(slow, sync_interval=1) as (queue, runtime):
        await queue.try_reserve()
        await trio.sleep(2)
        await runtime.restart("q")

        assert (await queue.statistics()).refill_errors == 1
        assert (await queue.reserve()).value == 2


async def test_what_a_refill_brings_while_the_queue_is_down_goes_in_later(
    autojump_clock: MockClock,
) -> None:
    async def slow() -> list[str]:
        await trio.sleep(5)
        return ["v"]

    async with refilled_by(slow) as (queue, runtime):
        await queue.try_reserve()
        await settle()
        await children(runtime).terminate_child("queue.q")
        await trio.sleep(100)

        await children(runtime).restart_child("queue.q")

        assert (await queue.reserve()).value == "v"
        assert restarts(runtime).get("errands.q", 0) == 0


async def test_errands_of_a_queue_that_is_down_hardly_cost_anything(
    autojump_clock: MockClock,
) -> None:
    async with refilled_by(refill) as (queue, runtime):
        await queue.try_reserve()
        await children(runtime).terminate_child("queue.q")

        with Steps() as steps:
            await trio.sleep(1000)

        assert steps.count < 1000
        assert restarts(runtime) == {}


async def test_a_queue_that_nobody_takes_from_is_not_refilled(autojump_clock: MockClock) -> None:
    async with refilled_by(refill) as (queue, _):
        with Steps() as steps:
            await trio.sleep(1000)

        assert steps.count < 10
        assert (await queue.statistics()).refills == 0


async def test_those_who_wait_for_room_ask_for_no_refill(autojump_clock: MockClock) -> None:
    async with refilled_by(refill, max_length=1) as (queue, _), trio.open_nursery() as nursery:
        await queue.insert("a")
        await start(nursery, lambda: queue.wait_insert("b"))

        with Steps() as steps:
            await trio.sleep(1000)

        assert steps.count < 10
        assert (await queue.statistics()).refills == 0
        nursery.cancel_scope.cancel()


# -- dead letters ------------------------------------------------------------------------------


async def test_dead_letters_arrive_in_order_and_once(
    events: Events, autojump_clock: MockClock
) -> None:
    async with with_dead_letters() as (queue, other, _):
        await exhaust(queue, *range(700))
        await trio.sleep(1)

        letters = cast("list[DeadLetter]", await everything_in(other))
        assert [letter.value for letter in letters] == list(range(700))
        assert {(letter.queue, letter.error, letter.attempts) for letter in letters} == {
            ("q", "bad", 1)
        }
        assert (await queue.statistics()).dead == 0

    assert len(named(events, "message_dead")) == 700


async def test_a_crash_at_any_step_delivers_a_dead_letter_at_least_once(
    autojump_clock: MockClock,
) -> None:
    number = 0
    crashes = True
    while crashes:
        number += 1
        store = FaultyStore()
        async with with_dead_letters(store) as (queue, other, runtime):
            await queue.insert("a", "b")
            first, second = await queue.reserve_many(2, 1)
            await queue.touch(second, 100)
            store.count = 0
            store.fault = crash_at(number)
            await trio.sleep(20)
            store.fault = lambda _number, _method: False

            letters = cast("list[DeadLetter]", await everything_in(other))
            assert {(letter.value, letter.id) for letter in letters} == {("a", first.id)}
            assert await everything_in(queue) == ["b"]
            assert (await queue.statistics()).dead == 0
            crashes = bool(restarts(runtime))
            assert len(letters) <= 1 + bool(crashes)

    assert number > 3


async def test_a_dead_letter_that_crashes_its_target_is_delivered_after_the_restart(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore()
    async with with_dead_letters(store) as (queue, other, _):
        await queue.insert("a")
        held = await queue.reserve()
        store.fault = crash_once("insert")
        await queue.release(held)

        with trio.fail_after(1):
            assert cast("DeadLetter", (await other.reserve()).value).value == "a"


async def test_a_dead_letter_for_a_closed_queue_is_buried(
    events: Events, autojump_clock: MockClock
) -> None:
    async with with_dead_letters() as (queue, other, _):
        await other.close()
        await exhaust(queue, "a")
        await settle()

        (message,) = await queue.peek("buried")
        assert (message.value, message.error) == ("a", "bad")
        with pytest.raises(QueueClosedError):
            await other.try_reserve()

    (event,) = named(events, "dead_letter_refused")
    assert (event["queue"], event["id"]) == ("q", 1)


async def test_a_dead_letter_that_its_unique_target_cannot_compare_is_buried(
    events: Events, autojump_clock: MockClock
) -> None:
    async with runtime_with(FaultyStore()) as runtime:
        await runtime.define("other", reservation_time=60, unique=True)
        queue = await runtime.define(
            "q", reservation_time=60, max_reservations=1, on_exhausted="other"
        )
        await exhaust(queue, Array())
        await settle()

        assert len(await queue.peek("buried")) == 1
        assert restarts(runtime) == {}

    assert len(named(events, "dead_letter_refused")) == 1


async def test_a_crash_at_any_step_delivers_a_dead_letter_that_waits_for_room(
    autojump_clock: MockClock,
) -> None:
    number = 0
    crashes = True
    while crashes:
        number += 1
        store = FaultyStore()
        async with runtime_with(store) as runtime:
            other = await runtime.define("other", reservation_time=60, max_length=1)
            queue = await runtime.define(
                "q", reservation_time=60, max_reservations=1, on_exhausted="other"
            )
            await other.insert("full")
            await queue.insert("a")
            await queue.reserve(1)
            store.count = 0
            store.fault = crash_at(number)
            await trio.sleep(5)
            await insist(other.clear)
            await trio.sleep(20)
            store.fault = lambda _number, _method: False

            letters = cast("list[DeadLetter]", await everything_in(other))
            assert {letter.value for letter in letters} == {"a"}
            assert (await queue.statistics()).dead == 0
            crashes = bool(restarts(runtime))

    assert number > 4


async def test_a_dead_letter_for_a_queue_that_is_down_waits_for_it(
    events: Events, autojump_clock: MockClock
) -> None:
    async with with_dead_letters() as (queue, other, runtime):
        await runtime.stop("other")
        await exhaust(queue, "a")

        with Steps() as steps:
            await trio.sleep(1000)

        assert steps.count < 5000  # no busy loop
        assert (await queue.statistics()).dead == 1
        await runtime.start("other")
        with trio.fail_after(6):
            assert cast("DeadLetter", (await other.reserve()).value).value == "a"
        await settle()
        assert (await queue.statistics()).dead == 0

    assert 100 < len(named(events, "dead_letter_waits")) < 300


async def test_new_dead_letters_do_not_hurry_a_queue_that_is_down(
    events: Events, autojump_clock: MockClock
) -> None:
    async with with_dead_letters() as (queue, _, runtime):
        await runtime.stop("other")
        for value in range(50):
            await exhaust(queue, value)
        await queue.statistics()

    assert len(named(events, "dead_letter_waits")) == 1


async def test_dead_letters_to_a_queue_that_is_parked_wait_for_the_operator(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore()
    async with with_dead_letters(store) as (queue, other, runtime):
        await park(other, store, runtime)

        await exhaust(queue, "a")
        await trio.sleep(100)

        assert runtime.parked() == ("queue.other",)
        assert (await queue.statistics()).dead == 1
        await runtime.start("other")
        assert cast("DeadLetter", (await other.reserve()).value).value == "a"


async def park(queue: TimedQueue, store: FaultyStore, runtime: Runtime) -> None:
    """Let a queue crash until it is parked."""
    store.fault = lambda _number, method: method == "length"
    while not runtime.parked():
        with pytest.raises(Exception, match=r"crashed|parked"):
            await queue.len()
        await trio.sleep(0.01)
    store.fault = lambda _number, _method: False


async def test_a_parked_queue_does_not_take_its_errands_with_it(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore()
    async with refilled_by(refill, store=store) as (queue, runtime):
        await park(queue, store, runtime)
        await trio.sleep(1000)

        assert runtime.parked() == ("queue.q",)
        await runtime.start("q")
        assert (await queue.reserve()).value == "v"


async def test_a_dead_letter_that_waits_holds_no_refill_back(autojump_clock: MockClock) -> None:
    store = FaultyStore()
    async with with_dead_letters(store, sync_fn=refill, sync_interval=1) as (queue, other, _):
        store.fault = crash_once(*["length"] * 6)  # the target restarts, later each time
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                await start(nursery, other.len)
                await trio.lowlevel.checkpoint()
            await exhaust(queue, "a")
            with trio.fail_after(2):
                assert (await queue.reserve()).value == "v"


async def test_dead_letters_that_a_former_process_of_errands_left_are_posted(
    autojump_clock: MockClock,
) -> None:
    async with with_dead_letters() as (queue, other, runtime):
        await children(runtime).terminate_child("errands.q")
        await exhaust(queue, "a")
        await trio.sleep(100)
        assert (await queue.statistics()).dead == 1

        await children(runtime).restart_child("errands.q")

        with trio.fail_after(1):
            assert cast("DeadLetter", (await other.reserve()).value).value == "a"
