"""How a worker takes messages: how many at a time, and from a queue that comes and goes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import trio

from queueactors import wait_until_idle
from queueactors._insist import CRASHES
from supervisors import Mailbox, Operation

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
    from trio.testing import MockClock

    from queueactors import Delivery
    from tests.conftest import Events


@pytest.mark.parametrize("concurrency", [1, 3, 8])
async def test_concurrency_is_fully_used_and_never_exceeded(
    concurrency: int, autojump_clock: MockClock
) -> None:
    handler = Handler({n: [lasts(1 + n % 3)] for n in range(24)})

    async with a_queue(*range(24)) as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, concurrency=concurrency)
        await settle()
        assert handler.now == worker.status().busy == concurrency
        assert (await queue.statistics()).reserved == concurrency
        started = trio.current_time()
        await wait_until_idle(runtime)

        assert handler.most == concurrency
        assert sorted(map(str, handler.done)) == sorted(map(str, range(24)))
        assert trio.current_time() - started <= 48 / concurrency + 3  # nobody sat idle


async def test_a_place_that_gets_free_is_filled_at_once(autojump_clock: MockClock) -> None:
    handler = Handler({"slow": [lasts(100)], **{n: [lasts(1)] for n in range(5)}})

    async with a_queue("slow", *range(5)) as (runtime, queue):
        await runtime.start_worker(queue, handler, concurrency=2)
        await trio.sleep(5.5)

        assert handler.done == [0, 1, 2, 3, 4]


async def test_a_worker_takes_no_more_than_it_has_free_hands_for(autojump_clock: MockClock) -> None:
    handler = Handler({n: [lasts(10)] for n in range(4)})

    async with a_queue(0) as (runtime, queue):
        await runtime.start_worker(queue, handler, concurrency=2)
        await settle()  # now it waits for one more
        await queue.insert(1, 2, 3)
        await settle()

        assert await states(queue) == {"reserved": 2, "ready": 2}


async def test_failed_messages_do_not_hold_a_place_while_they_wait(
    autojump_clock: MockClock,
) -> None:
    handler = Handler({"x": [raises(Boom())]})

    async with a_queue("x", "y") as (runtime, queue):
        await runtime.start_worker(queue, handler, backoff=1000)
        await settle()

        assert handler.done == ["y"]


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (0, [0, 0]),
        (7, [7, 7]),
        (lambda attempt: attempt * 5, [5, 10]),
    ],
)
async def test_a_retry_comes_after_the_backoff(
    backoff: object, waits: list[float], autojump_clock: MockClock
) -> None:
    times: list[float] = []

    async def handler(delivery: Delivery) -> None:
        times.append(trio.current_time())
        if delivery.attempt < 3:
            raise Boom

    async with a_queue("x") as (runtime, queue):
        await runtime.start_worker(queue, handler, backoff=backoff)
        await wait_until_idle(runtime)

    assert [round(b - a, 3) for a, b in itertools.pairwise(times)] == waits


def _broken(attempt: int) -> float:
    raise ValueError(attempt)


@pytest.mark.parametrize(
    ("backoff", "told"),
    [
        (_broken, "ValueError: 1"),
        (
            lambda attempt: -attempt,
            "ValueError: expected it to be seconds >= 0, got -1",
        ),
        (
            lambda _attempt: float("inf"),
            "ValueError: expected it to be seconds >= 0, got inf",
        ),
        (
            lambda _attempt: None,
            "TypeError: expected it to be seconds >= 0, got None",
        ),
    ],
)
async def test_a_bad_backoff_function_means_the_default_backoff(
    backoff: object, told: str, autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [raises(Boom())]})

    async with a_queue("x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, backoff=backoff)
        await trio.sleep(0.9)
        assert handler.begun == [("x", 1)]  # a failing message must not hold the loop
        await trio.sleep(1.2)
        assert handler.begun == [("x", 1), ("x", 2)]
        assert worker.status().restarts == 0
    (event,) = named(events, "backoff_failed")
    assert event["error"] == told


async def test_attempts_count_up_to_the_limit_and_then_the_message_is_exhausted(
    autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [raises(Boom(str(n))) for n in range(5)]})

    async with a_queue("x", max_reservations=3, on_exhausted="bury") as (runtime, queue):
        await runtime.start_worker(queue, handler, backoff=1)
        await wait_until_idle(runtime)

        assert handler.begun == [("x", 1), ("x", 2), ("x", 3)]
        (message,) = await queue.peek("buried")
        assert message.error == "Boom: 2"
    (event,) = named(events, "message_buried")
    assert event["attempts"] == 3


@pytest.mark.parametrize("what", ["queue.jobs", "supervisor.mine"])
async def test_a_queue_that_was_stopped_is_served_again_once_it_is_back(
    what: str, autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler()
    table = {
        "queue": {"jobs": {"kind": "timed", "reservation_time": 30}},
        "supervisor": {"mine": {"child": [{"queue": "jobs"}]}},
    }
    async with a_queue(config=table) as (runtime, queue):
        worker = await runtime.start_worker(queue, handler)
        await settle()
        await runtime.stop(what)
        await trio.sleep(100)
        assert worker.status().running
        await runtime.start(what)
        await queue.insert("x")
        await wait_until_idle(runtime)

        assert handler.done == ["x"]
        assert worker.status().restarts == 0
    reasons = {event["reason"] for event in named(events, "worker_waits")}
    assert reasons == {"stopped" if what == "queue.jobs" else "gone"}


async def test_a_queue_that_was_parked_is_served_again_once_it_is_started(
    autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler()
    store = FaultyStore()

    async with a_queue("x", config=on_a_store(store, park_above=2)) as (runtime, queue):
        store.faults["reserve_many"] = 3
        worker = await runtime.start_worker(queue, handler)
        await trio.sleep(100)
        assert runtime.parked() == ("queue.jobs",)
        await runtime.start("queue.jobs")
        await wait_until_idle(runtime)

        assert handler.done == ["x"]
        assert worker.status().restarts == 0
    assert {event["reason"] for event in named(events, "worker_waits")} == {"parked"}


async def test_a_closed_queue_is_drained_and_then_the_worker_rests(
    autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [raises(Boom())]})

    async with a_queue("x", "y") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, backoff=10)
        await queue.close()
        await wait_until_idle(runtime)

        assert handler.begun == [("x", 1), ("y", 1), ("x", 2)]
        assert worker.status().restarts == 0
    assert len(named(events, "worker_drained")) == 1


async def test_a_queue_that_crashes_over_every_reserve_does_not_take_the_handlers_with_it(
    autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [lasts(100)]})
    store = FaultyStore()

    async with a_queue("x", config=on_a_store(store)) as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, concurrency=2)
        await settle()
        store.faults["reserve_many"] = CRASHES
        await queue.insert("y")
        await wait_until_idle(runtime)

        assert handler.cancelled == []
        assert handler.done == ["y", "x"]
        assert worker.status().restarts == 0
    assert [event["reason"] for event in named(events, "worker_waits")] == ["crashed"]


async def test_a_worker_that_crashes_is_restarted_and_gives_its_messages_back_at_once(
    autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [lasts(100)]})

    async with a_queue("x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, concurrency=2)
        await settle()
        with pytest.MonkeyPatch.context() as patch:

            async def crash(limit: int) -> None:
                patch.undo()
                raise ValueError(limit)

            patch.setattr(queue, "reserve_many", crash)
            await queue.insert("y", "z")  # wakes it: it asks once more
            await settle()
        await wait_until_idle(runtime)

        assert handler.cancelled == ["x"]
        assert sorted(map(str, handler.done)) == ["x", "y", "z"]
        assert (worker.status().restarts, count(worker, "lost")) == (1, 0)
    (event,) = named(events, "child_crashed")
    assert isinstance(event["exc_info"], ValueError)


async def test_a_message_is_finished_and_the_next_one_taken_in_one_batch(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[str]] = []
    take = Mailbox.take

    def noting(mailbox: Mailbox, limit: int) -> list[Operation]:
        batch = take(mailbox, limit)
        batches.append([operation.method for operation in batch])
        return batch

    monkeypatch.setattr(Mailbox, "take", noting)
    async with a_queue(*range(100)) as (runtime, _):
        await runtime.start_worker("jobs", Handler(), monitor=None)
        await wait_until_idle(runtime)

    assert ["delete", "reserve_many"] in batches  # each time, unless the actor has its turn between
