"""A worker is started, stopped and scaled while it runs; and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from queueactors import open_runtime, wait_until_idle

from .kit import KINDS, Handler, answers, any_queue, count, lasts, put, settle

if TYPE_CHECKING:
    from trio.testing import MockClock

any_kind = pytest.mark.parametrize("kind", KINDS)


@any_kind
async def test_stop_and_start_say_whether_they_changed_something(
    kind: str, autojump_clock: MockClock
) -> None:
    async with any_queue(kind, "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers())
        assert not await worker.start()
        assert await worker.stop()
        assert not await worker.stop()
        assert not worker.status().running
        await put(queue, "y")
        await trio.sleep(100)
        assert await queue.len() == 1 + (1 - count(worker, "success"))
        assert await worker.start()
        await wait_until_idle(runtime)

        assert worker.status().running
        assert count(worker, "success") == 2


@any_kind
async def test_stop_waits_for_handlers_and_takes_nothing_more(
    kind: str, autojump_clock: MockClock
) -> None:
    handler = Handler({"x": [lasts(4)]})

    async with any_queue(kind, "x", "y") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, shutdown=5)
        await settle()
        started = trio.current_time()
        assert await worker.stop()

        assert trio.current_time() - started == pytest.approx(4)
        assert handler.begun == [("x", 1)]
        assert handler.done == ["x"]


@any_kind
async def test_handlers_that_exceed_shutdown_are_cancelled_and_that_was_no_attempt(
    kind: str, autojump_clock: MockClock
) -> None:
    handler = Handler({"x": [trio.sleep_forever]})

    async with any_queue(kind, "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, shutdown=5)
        await settle()
        started = trio.current_time()
        await worker.stop()
        assert trio.current_time() - started == pytest.approx(5)
        await worker.start()
        await wait_until_idle(runtime)

        assert handler.begun == [("x", 1), ("x", 1)]
        assert (count(worker, "retry"), count(worker, "success")) == (0, 1)


async def test_a_stop_whose_wait_is_cancelled_goes_on(autojump_clock: MockClock) -> None:
    handler = Handler({"x": [lasts(4)]})

    async with any_queue("timed", "x", "y") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler)
        await settle()
        with trio.move_on_after(1):
            await worker.stop()
        await trio.sleep(10)

        assert handler.done == ["x"]


async def test_a_start_while_it_drains_lets_it_go_on_after_that(autojump_clock: MockClock) -> None:
    handler = Handler({"x": [lasts(4)]})

    async with any_queue("timed", "x", "y") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler)
        await settle()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.stop)
            await trio.sleep(1)
            assert await worker.start()
        await wait_until_idle(runtime)

        assert handler.done == ["x", "y"]


async def test_a_worker_that_was_stopped_stays_so_over_a_restart_of_its_task(
    autojump_clock: MockClock,
) -> None:
    async with any_queue("timed", "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers(), auto_start=False, name="w")
        await runtime.restart("w")
        await trio.sleep(100)
        assert (worker.status().restarts, count(worker, "success")) == (1, 0)
        await worker.start()
        await wait_until_idle(runtime)

        assert count(worker, "success") == 1


async def test_start_also_ends_a_stop_by_the_runtime(autojump_clock: MockClock) -> None:
    async with any_queue("timed", "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers(), name="w")
        await runtime.stop("w")
        await put(queue, "y")
        assert not worker.status().running
        assert await worker.start()
        await wait_until_idle(runtime)

        assert count(worker, "success") == 2


async def test_auto_start_may_come_later_and_counts_from_the_first_start(
    autojump_clock: MockClock,
) -> None:
    async with any_queue("timed", "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers(), auto_start=10, name="w")
        await trio.sleep(5)
        await runtime.restart("w")
        await trio.sleep(4.9)
        assert (count(worker, "success"), worker.status().running) == (0, False)
        await trio.sleep(0.2)

        assert (count(worker, "success"), worker.status().running) == (1, True)


@pytest.mark.parametrize("what", ["start", "stop"])
async def test_start_and_stop_take_the_place_of_a_later_auto_start(
    what: str, autojump_clock: MockClock
) -> None:
    async with any_queue("timed", "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers(), auto_start=10)
        assert await getattr(worker, what)()
        await trio.sleep(1)
        assert count(worker, "success") == (what == "start")
        await trio.sleep(100)

        assert worker.status().running == (what == "start")


@any_kind
async def test_scaling_counts_at_once(kind: str, autojump_clock: MockClock) -> None:
    handler = Handler({n: [lasts(10)] for n in range(20)})

    async with any_queue(kind, *range(6)) as (runtime, queue):
        worker = await runtime.start_worker(queue, handler)
        await settle()
        assert handler.now == 1
        worker.scale(4)
        await settle()
        assert handler.now == worker.status().concurrency == 4
        worker.scale(2)
        await trio.sleep(10.5)
        assert handler.now == 2
        await trio.sleep(10)
        worker.scale(1)  # it waits with two free hands
        await settle()
        await put(queue, *range(6, 9))
        await settle()

        assert handler.now == 1


async def test_a_scale_must_be_a_positive_int(autojump_clock: MockClock) -> None:
    async with any_queue("timed") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers())
        with pytest.raises(ValueError, match=r"^expected concurrency to be an int >= 1, got 0$"):
            worker.scale(0)
        with pytest.raises(TypeError, match=r"^expected concurrency to be an int >= 1, got 1.5$"):
            worker.scale(1.5)  # type: ignore[arg-type]


async def test_a_worker_of_a_message_queue_says_what_is_in_it(autojump_clock: MockClock) -> None:
    async with any_queue("message") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers(), auto_start=False)
        await queue.enqueue("x", "a")
        await queue.enqueue("y", "b", init_backoff=5)

        assert await worker.queue_size() == 1
        assert (await worker.queue_status()).ntotal == 2
        assert sorted(await worker.queue_content()) == ["a", "b"]


@pytest.mark.parametrize("kind", ["timed", "channel"])
async def test_other_queues_have_no_status_of_that_kind(
    kind: str, autojump_clock: MockClock
) -> None:
    async with any_queue(kind, "x", "y") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers(), auto_start=False)

        assert await worker.queue_size() == 2
        for ask in (worker.queue_status, worker.queue_content):
            with pytest.raises(ValueError, match=rf"^queue 'jobs' is a {kind} queue; only message"):
                await ask()


@any_kind
async def test_statistics_have_times_and_counts(kind: str, autojump_clock: MockClock) -> None:
    handler = Handler({n: [lasts(2)] for n in range(3)})

    async with any_queue(kind, *range(3)) as (runtime, queue):
        await trio.sleep(1)
        worker = await runtime.start_worker(queue, handler, concurrency=2)
        await wait_until_idle(runtime)

        told = worker.status().statistics
        assert (told.handling_time.n, told.handling_time.min, told.handling_time.max) == (3, 2, 2)
        queueing = told.queueing_time
        if kind == "channel":  # it does not keep when a value was sent
            assert queueing.n == 0
        else:
            assert (queueing.n, queueing.min, queueing.max) == (3, 1, 3)
        assert told.counts["success"] == 3


async def test_a_worker_may_be_wholly_configured(autojump_clock: MockClock) -> None:
    config = {
        "queue": {"jobs": {"kind": "message"}, "dead": {"kind": "channel"}},
        "worker": {
            "w": {
                "queue": "jobs",
                "handler": answers(),
                "on_exception": "error",
                "max_attempts": 3,
                "dead_letter": "dead",
                "throttle": "250ms",
                "eoq_backoff": "5m",
                "monitor": "none",
                "auto_start": "2s",
            }
        },
    }
    async with open_runtime(config) as runtime:
        options = runtime.worker("w").options
        assert (options.throttle, options.eoq_backoff, options.auto_start) == (0.25, 300, 2)
        await put(runtime.queue("jobs"), "x")
        await wait_until_idle(runtime)

        assert count(runtime.worker("w"), "success") == 1
