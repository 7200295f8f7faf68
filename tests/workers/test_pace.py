"""When a worker picks up: throttle, the end of the queue, and what its monitor is told."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import structlog
import trio

from queueactors import Observation, wait_until_idle

from .kit import KINDS, Boom, any_queue, count, named, put, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from queueactors import Delivery
    from tests.conftest import Events

any_kind = pytest.mark.parametrize("kind", KINDS)


class Clocked:
    """A handler that notes when it began."""

    def __init__(self, lasts: float = 0) -> None:
        self.lasts = lasts
        self.at: list[float] = []

    async def __call__(self, _delivery: Delivery) -> None:
        self.at.append(trio.current_time())
        await trio.sleep(self.lasts)

    @property
    def gaps(self) -> list[float]:
        return [round(b - a, 3) for a, b in zip(self.at, self.at[1:], strict=False)]


# -- throttle ------------------------------------------------------------------------------------


@any_kind
@pytest.mark.parametrize("concurrency", [1, 10])
async def test_a_throttle_is_a_rate_limit_whatever_the_concurrency(
    kind: str, concurrency: int, autojump_clock: MockClock
) -> None:
    handler = Clocked()

    async with any_queue(kind, *range(5)) as (runtime, queue):
        await runtime.start_worker(queue, handler, concurrency=concurrency, throttle=3)
        await wait_until_idle(runtime)

        assert handler.gaps == [3, 3, 3, 3]


@any_kind
async def test_a_throttle_takes_nothing_before_its_time(
    kind: str, autojump_clock: MockClock
) -> None:
    async with any_queue(kind, *range(5)) as (runtime, queue):
        worker = await runtime.start_worker(queue, Clocked(), concurrency=5, throttle=10)
        await trio.sleep(15)

        assert await worker.queue_size() == 3


async def test_a_throttle_counts_from_the_pick_up_and_not_from_the_end(
    autojump_clock: MockClock,
) -> None:
    handler = Clocked(lasts=2)

    async with any_queue("timed", *range(3)) as (runtime, queue):
        await runtime.start_worker(queue, handler, throttle=3)
        await wait_until_idle(runtime)

        assert handler.gaps == [3, 3]


async def test_after_a_pause_a_throttled_worker_takes_one_and_no_burst(
    autojump_clock: MockClock,
) -> None:
    handler = Clocked()

    async with any_queue("timed") as (runtime, queue):
        await runtime.start_worker(queue, handler, concurrency=9, throttle=3)
        await trio.sleep(100)
        await put(queue, *range(3))
        await wait_until_idle(runtime)

        assert handler.gaps == [3, 3]


@any_kind
async def test_a_throttle_may_go_by_the_size_of_the_queue(
    kind: str, autojump_clock: MockClock
) -> None:
    handler, sizes = Clocked(), []

    def throttle(size: int) -> float | None:
        sizes.append(size)
        return 10 if size > 3 else None

    async with any_queue(kind, *range(5)) as (runtime, queue):
        await runtime.start_worker(queue, handler, throttle=throttle, monitor=None)
        await wait_until_idle(runtime)

        assert sizes == [5, 4, 3, 2, 1]
        assert handler.gaps == [10, 10, 0, 0]


@pytest.mark.parametrize(("waiting", "gap"), [(3, 0.2), (150, 0.1), (300, 0.05)])
async def test_auto_is_the_default_throttle(
    waiting: int, gap: float, autojump_clock: MockClock
) -> None:
    handler = Clocked()

    async with any_queue("timed", *range(waiting)) as (runtime, queue):
        await runtime.start_worker(queue, handler, throttle="auto")
        await trio.sleep(0.3)

        assert handler.gaps[0] == gap


@pytest.mark.parametrize(
    ("throttle", "told"),
    [
        (lambda size: 1 / (size - size), "ZeroDivisionError: division by zero"),
        (
            lambda _size: "soon",
            "TypeError: expected it to be seconds >= 0, got 'soon'",
        ),
    ],
)
async def test_a_bad_throttle_function_means_auto(
    throttle: Callable[[int], float], told: str, autojump_clock: MockClock, events: Events
) -> None:
    handler = Clocked()

    async with any_queue("timed", 1, 2) as (runtime, queue):
        await runtime.start_worker(queue, handler, throttle=throttle)
        await wait_until_idle(runtime)

        assert handler.gaps == [0.2]
    assert {event["error"] for event in named(events, "throttle_failed")} == {told}


# -- the end of the queue ------------------------------------------------------------------------


@any_kind
async def test_a_new_message_ends_the_wait_at_once(kind: str, autojump_clock: MockClock) -> None:
    handler = Clocked()

    async with any_queue(kind) as (runtime, queue):
        await runtime.start_worker(queue, handler, eoq_backoff=1000)
        await trio.sleep(500)
        put_at = trio.current_time()
        await put(queue, "x")
        await settle()

        assert handler.at == [put_at]


@any_kind
async def test_each_wait_in_vain_is_a_dry_run(kind: str, autojump_clock: MockClock) -> None:
    asked: list[int] = []

    def eoq_backoff(dry_runs: int) -> float:
        asked.append(dry_runs)
        return dry_runs

    seen: list[Observation] = []
    async with any_queue(kind) as (runtime, queue):
        worker = await runtime.start_worker(
            queue, Clocked(), eoq_backoff=eoq_backoff, monitor=seen.append
        )
        await trio.sleep(6.5)
        await put(queue, "x")
        await trio.sleep(1.5)

        assert asked == [1, 2, 3, 4, 1, 2]
        empty = [(each.dry_runs, each.queue_size) for each in seen if each.result != "picked-up"]
        assert empty == [(1, 0), (2, 0), (3, 0), (1, 0)]
        assert count(worker, "end_of_queue") == 4


async def test_by_default_an_idle_worker_wakes_every_8_to_19_seconds_and_no_more(
    autojump_clock: MockClock,
) -> None:
    seen: list[float] = []

    async with any_queue("timed") as (runtime, queue):
        await runtime.start_worker(
            queue, Clocked(), monitor=lambda _: seen.append(trio.current_time())
        )
        await trio.sleep(1000)

    gaps = [b - a for a, b in itertools.pairwise(seen)][4:]
    assert 6.4 <= min(gaps) <= max(gaps) <= 19.2
    assert len(set(gaps)) == len(gaps)


async def test_a_bad_end_of_queue_function_means_the_default(
    autojump_clock: MockClock, events: Events
) -> None:
    async with any_queue("timed") as (runtime, queue):
        worker = await runtime.start_worker(queue, Clocked(), eoq_backoff=lambda _: -1)
        await trio.sleep(100)

        assert 5 <= count(worker, "end_of_queue") <= 20
    assert named(events, "eoq_backoff_failed")


async def test_a_queue_that_is_down_is_not_at_its_end(autojump_clock: MockClock) -> None:
    async with any_queue("timed") as (runtime, queue):
        worker = await runtime.start_worker(queue, Clocked(), eoq_backoff=1)
        await trio.sleep(2.5)
        await runtime.stop("queue.jobs")
        await trio.sleep(100)
        assert count(worker, "end_of_queue") == 2
        await runtime.start("queue.jobs")
        await trio.sleep(5)

        assert 5 <= count(worker, "end_of_queue") <= 7


# -- the monitor ---------------------------------------------------------------------------------


@any_kind
async def test_the_monitor_is_told_once_a_pick_up_with_the_size_before_it(
    kind: str, autojump_clock: MockClock
) -> None:
    seen: list[Observation] = []

    async with any_queue(kind, *range(5)) as (runtime, queue):
        worker = await runtime.start_worker(
            queue, Clocked(1), concurrency=2, monitor=seen.append, eoq_backoff=99
        )
        await wait_until_idle(runtime)

        assert seen == [Observation(size, 0, "picked-up") for size in (5, 3, 1)]
        sizes = worker.status().statistics.queue_size
        assert (sizes.n, sizes.max, sizes.last) == (3, 5, 1)


@any_kind
async def test_an_error_of_the_monitor_is_logged_and_harms_nothing(
    kind: str, autojump_clock: MockClock, events: Events
) -> None:
    def plain(_: Observation) -> None:
        raise Boom("plain")

    async def later(_: Observation) -> None:
        await trio.lowlevel.checkpoint()
        raise Boom("async")

    async with any_queue(kind, 1) as (runtime, queue):
        for monitor in (plain, later):
            worker = await runtime.start_worker(queue, Clocked(), monitor=monitor)
            await put(queue, 2)
            await wait_until_idle(runtime)
            assert count(worker, "success") > 0
            await worker.stop()
    told = {event["error"] for event in named(events, "monitor_failed")}
    assert told == {"Boom: plain", "Boom: async"}


async def test_a_monitor_that_hangs_holds_nothing_up_and_ends_with_the_worker(
    autojump_clock: MockClock,
) -> None:
    called: list[Observation] = []

    async def monitor(observation: Observation) -> None:
        called.append(observation)
        await trio.sleep_forever()

    async with any_queue("timed", *range(9)) as (runtime, queue):
        worker = await runtime.start_worker(queue, Clocked(), monitor=monitor)
        await wait_until_idle(runtime)
        assert count(worker, "success") == 9
        started = trio.current_time()
        await worker.stop()

        assert trio.current_time() == started
        assert len(called) == 1


async def test_by_default_a_long_queue_is_told_once_with_its_name(
    autojump_clock: MockClock, events: Events
) -> None:
    bound: list[dict[str, object]] = []

    async with any_queue("timed", *range(1100)) as (runtime, queue):
        await runtime.start_worker(queue, Clocked(), concurrency=5, name="w")
        await runtime.start_worker(
            queue,
            Clocked(),
            monitor=lambda _: bound.append(structlog.contextvars.get_contextvars()),
            name="v",
        )
        await wait_until_idle(runtime)

    assert len(named(events, "queue_large")) == 1
    assert bound[0] == {"worker": "v", "queue": "jobs"}


@any_kind
@pytest.mark.parametrize("monitor", [None, "none"])
async def test_without_monitor_and_throttle_the_queue_is_not_asked_for_its_size(
    kind: str, monitor: str | None, autojump_clock: MockClock
) -> None:
    async with any_queue(kind, 1, 2) as (runtime, queue):
        worker = await runtime.start_worker(queue, Clocked(), monitor=monitor, eoq_backoff=1)
        await trio.sleep(10)

        assert count(worker, "success") == 2
        assert worker.status().statistics.queue_size.n == 0
