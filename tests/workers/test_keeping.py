"""Reservations are kept alive while their handlers run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from queueactors import wait_until_idle
from queueactors.testing import CrashingStore

from .kit import (
    Boom,
    Handler,
    a_queue,
    any_queue,
    count,
    lasts,
    named,
    on_a_store,
    raises,
    settle,
    states,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

    from queueactors import Delivery
    from tests.conftest import Events


@pytest.mark.parametrize("concurrency", [1, 5])
async def test_a_handler_may_take_longer_than_the_reservation_time(
    concurrency: int, autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({n: [lasts(200 + 7 * n)] for n in range(5)})

    async with a_queue(*range(5), reservation_time=3) as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, concurrency=concurrency)
        await trio.sleep(1200)

        assert sorted(handler.begun, key=str) == [(n, 1) for n in range(5)]
        numbers = await queue.statistics()
        assert (numbers.expired, numbers.deleted) == (0, 5)
        assert count(worker, "lost") == 0
    assert [event["event"] for event in events if event["log_level"] == "warning"] == []


async def test_keep_alive_leaves_a_longer_extension_of_the_handlers_own_alone(
    autojump_clock: MockClock,
) -> None:
    deadlines: list[int] = []

    async def handler(delivery: Delivery) -> None:
        await delivery.extend(1000)
        for _ in range(99):
            deadlines.append(delivery.deadline_at or 0)
            await trio.sleep(9)

    async with a_queue("x", reservation_time=30) as (runtime, queue):
        await runtime.start_worker(queue, handler)
        await trio.sleep(1000)

    assert len(deadlines) == 99
    assert len(set(deadlines)) == 1


async def test_a_reservation_that_is_kept_alive_never_has_less_than_a_third_left(
    autojump_clock: MockClock,
) -> None:
    left: list[float] = []

    async def handler(delivery: Delivery) -> None:
        for _ in range(100):
            left.append(((delivery.deadline_at or 0) - queue.clock.now_ns()) / 1e9)
            await trio.sleep(1)

    async with a_queue(reservation_time=30) as (runtime, queue):
        await runtime.start_worker(queue, handler)
        await trio.sleep(3.5)  # out of step with the keeper
        await queue.insert("x")
        await trio.sleep(200)

    assert min(left) >= 10


@pytest.mark.parametrize("kind", ["timed", "message"])
async def test_an_extension_by_little_does_not_lose_the_message(
    kind: str, autojump_clock: MockClock, events: Events
) -> None:
    async def handler(delivery: Delivery) -> None:
        await delivery.extend(1)
        await trio.sleep(100)

    async with any_queue(kind, "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler)
        await trio.sleep(150)

        assert (count(worker, "success"), count(worker, "lost")) == (1, 0)
    assert named(events, "reservation_lost") == []


async def test_a_short_lock_that_begins_during_the_extension_of_long_ones_is_kept(
    autojump_clock: MockClock, events: Events
) -> None:
    async def handler(delivery: Delivery) -> None:
        if delivery.value == "long":
            await trio.sleep_until(start + 2400)  # when all of them are extended, one by one
            await queue.enqueue("short", "short", lock_time=1)
        await trio.sleep(10)

    async with any_queue("message", *["long"] * 20) as (runtime, queue):
        start = trio.current_time()
        worker = await runtime.start_worker(queue, handler, concurrency=30)
        await trio.sleep(2500)

        assert (count(worker, "success"), count(worker, "lost")) == (21, 0)
    assert named(events, "reservation_lost") == []


async def test_a_reservation_that_was_lost_is_reported_and_counted_once(
    autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [lasts(100)]})

    async with a_queue("x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler)
        await settle()
        await queue.clear()
        await wait_until_idle(runtime)

        assert handler.done == ["x"]
        assert (
            count(worker, "success"),
            count(worker, "lost"),
        ) == (1, 1)
    assert len(named(events, "reservation_lost")) == 1
    (event,) = named(events, "delivery_lost")
    assert event["result"] == "success"


async def test_a_failure_after_the_reservation_was_lost_is_counted_as_both(
    autojump_clock: MockClock, events: Events
) -> None:
    async def fails_late() -> None:
        await trio.sleep(50)
        raise Boom

    handler = Handler({"x": [fails_late]})

    async with a_queue("x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler)
        await settle()
        await queue.clear()
        await trio.sleep(100)

        assert (
            count(worker, "retry"),
            count(worker, "lost"),
        ) == (1, 1)
        assert await queue.len() == 0
    (event,) = named(events, "delivery_lost")
    assert event["result"] == "retry"


@pytest.mark.parametrize("every", [3, 4, 5])
async def test_keep_alive_survives_crashes_of_the_queues_actor(
    every: int, autojump_clock: MockClock
) -> None:
    handler = Handler({"x": [lasts(200)]})

    async with a_queue("x", config=on_a_store(CrashingStore(every))) as (runtime, queue):
        await runtime.start_worker(queue, handler)
        await trio.sleep(210)

        assert handler.begun == [("x", 1)]
        assert handler.done == ["x"]
        assert await states(queue) == {}


async def test_keep_alive_goes_on_after_the_queue_was_down_for_a_while(
    autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [lasts(500)]})

    async with a_queue("x", reservation_time=90) as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, name="w")
        await trio.sleep(50)
        await runtime.stop("jobs")
        await trio.sleep(20)
        await runtime.start("jobs")
        await trio.sleep(500)

        assert handler.begun == [("x", 1)]
        assert count(worker, "success") == 1
    assert named(events, "reservation_not_extended")


async def test_a_handler_that_raises_while_its_extension_is_answered_is_told_in_order(
    autojump_clock: MockClock,
) -> None:
    handler = Handler({"x": [raises(Boom())]})

    async with a_queue("x", reservation_time=0.001) as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, backoff=0)
        await wait_until_idle(runtime)

        assert count(worker, "success") == 1
