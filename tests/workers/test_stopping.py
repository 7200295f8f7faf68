"""What becomes of running handlers and their messages when a worker ends, however it ends."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Literal

import attrs
import pytest
import trio

from queueactors import wait_until_idle
from supervisors import ActorCrashedError

from .kit import (
    Boom,
    FaultyStore,
    Handler,
    a_queue,
    count,
    lasts,
    named,
    on_a_store,
    raises,
    settle,
    states,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from queueactors import Delivery, TimedQueue
    from tests.conftest import Events

OPERATIONS = ["reserve_many", "touch", "delete", "release"]  # all that a worker asks for


async def test_a_worker_that_is_stopped_takes_nothing_more_and_finishes_what_it_has(
    autojump_clock: MockClock,
) -> None:
    handler = Handler({n: [lasts(4)] for n in range(4)})

    async with a_queue(*range(4)) as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, concurrency=2, name="w")
        await settle()
        started = trio.current_time()
        await runtime.stop("w")

        assert trio.current_time() - started == pytest.approx(4)
        assert sorted(map(str, handler.done)) == ["0", "1"]
        assert await states(queue) == {"ready": 2}
        assert not worker.status().running


async def test_a_failure_during_the_drain_is_a_failed_attempt_with_its_backoff(
    autojump_clock: MockClock,
) -> None:
    async def fails() -> None:
        await trio.sleep(1)
        raise Boom

    handler = Handler({"x": [fails]})

    async with a_queue("x") as (runtime, queue):
        await runtime.start_worker(queue, handler, name="w", backoff=60)
        await settle()
        await runtime.stop("w")

        assert await states(queue) == {"delayed": 1}


async def test_reservations_are_kept_alive_during_the_drain(autojump_clock: MockClock) -> None:
    handler = Handler({"x": [lasts(50)]})

    async with a_queue("x", reservation_time=3) as (runtime, queue):
        await runtime.start_worker(queue, handler, name="w", shutdown=60)
        await settle()
        await runtime.stop("w")

        assert handler.begun == [("x", 1)]
        assert await states(queue) == {}


async def test_a_reservation_that_is_lost_does_not_shorten_the_drain(
    autojump_clock: MockClock,
) -> None:
    handler = Handler({"x": [lasts(50)]})

    async with a_queue("x") as (runtime, queue):
        await runtime.start_worker(queue, handler, name="w", shutdown=60)
        await settle()
        await queue.clear()
        await trio.sleep(20)  # the keeper has noticed
        await runtime.stop("w")

        assert handler.done == ["x"]


async def test_handlers_that_exceed_shutdown_are_cancelled_and_their_messages_ready_at_once(
    autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [trio.sleep_forever], "y": [lasts(2)]})

    async with a_queue("x", "y") as (runtime, queue):
        await runtime.start_worker(
            queue, handler, name="w", concurrency=2, shutdown=3, backoff=1000
        )
        await settle()
        started = trio.current_time()
        await runtime.stop("w")

        assert trio.current_time() - started == pytest.approx(3)
        assert handler.done == ["y"]
        assert handler.cancelled == ["x"]
        assert await states(queue) == {"ready": 1}
    assert named(events, "handler_failed") == []
    assert len(named(events, "child_killed")) == 1


async def test_a_thread_that_exceeds_shutdown_is_left_behind_and_its_message_ready_at_once() -> (
    None
):
    release = threading.Event()
    begun = threading.Event()

    def handler(_delivery: Delivery) -> None:
        begun.set()
        release.wait(10)

    try:
        with trio.fail_after(5):
            async with a_queue("x") as (runtime, queue):
                await runtime.start_worker(queue, handler, name="w", shutdown=0.05)
                await trio.to_thread.run_sync(begun.wait)
                await runtime.stop("w")

                assert await states(queue) == {"ready": 1}
    finally:
        release.set()


async def test_a_handler_that_swallows_its_cancellation_and_returns_is_done(
    autojump_clock: MockClock,
) -> None:
    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(6)

    handler = Handler({"x": [stubborn]})

    async with a_queue("x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, name="w", shutdown=3)
        await settle()
        await runtime.stop("w")

        assert handler.done == ["x"]
        assert await states(queue) == {}
        assert count(worker, "success") == 1


async def test_a_worker_can_be_stopped_and_started_again(autojump_clock: MockClock) -> None:
    handler = Handler()

    async with a_queue("x") as (runtime, queue):
        await runtime.start_worker(queue, handler, name="w")
        await wait_until_idle(runtime)
        await runtime.stop("w")
        await queue.insert("y")
        await trio.sleep(5)
        assert handler.done == ["x"]
        await runtime.start("w")
        await wait_until_idle(runtime)

        assert handler.done == ["x", "y"]


async def test_at_the_end_of_the_runtime_handlers_finish_before_their_queue_goes(
    autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [lasts(3)]})

    async with a_queue("x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler)
        await settle()

    assert handler.done == ["x"]
    assert (count(worker, "success"), worker.status().busy) == (1, 0)
    assert named(events, "delivery_not_told") == []


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("crashes", [1, 4])
async def test_a_crash_of_the_queues_actor_over_any_operation_loses_and_repeats_nothing(
    operation: str, crashes: int, autojump_clock: MockClock
) -> None:
    handler = Handler({"x": [raises(Boom())], "y": [lasts(25)]})
    store = FaultyStore({operation: crashes})

    async with a_queue("x", "y", "z", config=on_a_store(store)) as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, concurrency=2, backoff=1)
        await wait_until_idle(runtime)

        assert store.crashes == crashes
        assert Counter(handler.begun) == Counter([("x", 1), ("x", 2), ("y", 1), ("z", 1)])
        assert sorted(map(str, handler.done)) == ["x", "y", "z"]
        assert (
            count(worker, "success"),
            count(worker, "lost"),
        ) == (3, 0)
        assert await states(queue) == {}


@pytest.mark.parametrize("operation", ["touch", "delete", "release"])
async def test_an_operation_that_crashes_the_actor_every_time_leaves_the_message_to_its_deadline(
    operation: str, autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [raises(Boom())], "y": [lasts(100)]})
    store = FaultyStore({operation: 5})  # as often as the worker insists

    async with a_queue("x", "y", config=on_a_store(store)) as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, concurrency=2, backoff=1)
        await trio.sleep(300)

        assert sorted(set(map(str, handler.done))) == ["x", "y"]
        assert await states(queue) == {}
        assert worker.status().restarts == 0
    assert named(events, "delivery_not_told") or operation == "touch"


@pytest.mark.parametrize("moment", ["idle", "handling", "finished"])
async def test_a_queue_and_worker_that_restart_together_lose_nothing_and_lose_no_time(
    moment: str, autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [lasts(2)]})
    store = FaultyStore()
    config = on_a_store(store, worker_too=handler)

    async with a_queue(config=config) as (runtime, queue):
        await settle()
        if moment != "idle":
            await queue.insert("x")
            await settle()
        if moment == "finished":
            await trio.sleep(2 - 1e-9)
        store.faults["peek"] = 1
        await crash(queue)
        crashed = trio.current_time()
        await wait_until_idle(runtime)

        assert handler.done == ([] if moment == "idle" else ["x"])
        assert handler.begun == ([] if moment == "idle" else [("x", 1)])
        assert trio.current_time() - crashed < 5
        assert runtime.worker("w").status().restarts == 1
        assert (await queue.statistics()).restarts == 1
    assert named(events, "child_killed") == []
    assert named(events, "child_unkillable") == []


@pytest.mark.parametrize("shutdown", [0.0, 3.0])
async def test_a_handler_that_is_cancelled_while_its_queue_is_down_gives_its_message_back(
    shutdown: float, autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [trio.sleep_forever]})
    store = FaultyStore({"peek": 1})
    config = on_a_store(store, worker_too=handler, shutdown=shutdown)

    async with a_queue("x", config=config) as (_runtime, queue):
        await settle()
        await crash(queue)
        await trio.sleep(shutdown + 3)  # not the reservation's 30 s

        assert handler.begun == [("x", 1), ("x", 1)]  # that was no attempt
        assert handler.done == ["x"]
    assert named(events, "child_unkillable") == []


async def crash(queue: TimedQueue) -> None:
    with pytest.raises(ActorCrashedError):
        await queue.peek()


# -- the sweep: a worker is stopped or killed after each step of all that happens ----------------

End = Literal["stop", "kill", "crash"]


@attrs.define(eq=False)
class _AfterStep(trio.abc.Instrument):
    """Does something once ``steps`` more steps of any task have been taken."""

    steps: int
    act: Callable[[], object]
    done: bool = False

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self.steps -= 1
        if self.steps == 0:
            self.done = True
            self.act()


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_whenever_a_worker_ends_each_message_is_finished_or_in_the_queue_exactly_once(
    end: End, autojump_clock: MockClock
) -> None:
    step = 0
    while True:
        step += 1
        handler = Handler(
            {
                "fails": [raises(Boom())],
                "long": [lasts(1)],
                "short": [trio.lowlevel.checkpoint],
            }
        )
        values = ["fails", "long", "short", "more"]
        async with a_queue(*values) as (runtime, queue):
            shutdown: float = 60 if end == "stop" else 0
            worker = await runtime.start_worker(
                queue, handler, name="w", concurrency=2, backoff=1, shutdown=shutdown
            )
            enough = trio.Event()
            spy = _AfterStep(step, enough.set)
            trio.lowlevel.add_instrument(spy)
            with trio.move_on_after(20):
                await enough.wait()
            trio.lowlevel.remove_instrument(spy)
            await runtime.stop("w")
            done = list(handler.done)
            left = await states(queue)

            assert left.get("reserved", 0) == 0, (step, left)
            assert len(done) + sum(left.values()) == len(values), (step, done, left)
            assert worker.status().busy == 0
            assert count(worker, "lost") == 0
            await runtime.start("w")
            await wait_until_idle(runtime)
            assert sorted(map(str, handler.done)) == sorted(values), step
        if not spy.done:
            break
    assert step > 30
