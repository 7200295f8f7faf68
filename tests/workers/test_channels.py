"""A worker on a channel: what it took is never lost, and goes back in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from queueactors import Retry, wait_until_idle

from .kit import Boom, answers, any_queue, count, named, put, settle

if TYPE_CHECKING:
    from trio.testing import MockClock

    from queueactors.queues import ChannelQueue
    from queueactors.workers import Delivery
    from tests.conftest import Events


async def left(channel: ChannelQueue) -> list[object]:
    """Take what is in a channel."""
    return await channel.recv_many(1000) if await channel.len() else []


async def hangs(_delivery: Delivery) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("end", ["stop", "stopped by the runtime", "killed"])
async def test_what_a_worker_holds_when_it_ends_goes_back_to_the_front_in_order(
    end: str, autojump_clock: MockClock
) -> None:
    async def handler(delivery: Delivery) -> object:
        if delivery.value in "bd":
            return Retry(1000)
        return await trio.sleep_forever()

    async with any_queue("channel", *"abcdef") as (runtime, channel):
        shutdown = 0 if end == "killed" else 1
        worker = await runtime.start_worker(
            channel, handler, concurrency=3, name="w", shutdown=shutdown
        )
        await settle()
        assert (worker.busy, await channel.len()) == (5, 1)
        await (worker.stop() if end == "stop" else runtime.stop("w"))

        assert worker.busy == 0
        assert await left(channel) == list("abcdef")


async def test_what_is_given_back_may_exceed_the_limit_and_come_after_the_close(
    autojump_clock: MockClock,
) -> None:
    async with any_queue("timed") as (runtime, _):
        channel = await runtime.define("c", kind="channel", limit=2)
        worker = await runtime.start_worker(channel, hangs, concurrency=2, shutdown=0)
        for value in "abcd":
            await channel.send(value)
        await settle()
        await channel.close()
        await worker.stop()

        assert not await channel.try_send("e")
        assert await left(channel) == list("abcd")


async def test_a_worker_that_is_started_again_takes_what_it_gave_back(
    autojump_clock: MockClock,
) -> None:
    done: list[str] = []

    async def handler(delivery: Delivery) -> None:
        await trio.sleep(10)
        done.append(delivery.value)

    async with any_queue("channel", *"abc") as (runtime, channel):
        worker = await runtime.start_worker(channel, handler, concurrency=2, shutdown=1)
        await settle()
        await worker.stop()
        assert done == []
        await worker.start()
        await wait_until_idle(runtime)

        assert sorted(done) == ["a", "b", "c"]


async def test_a_crash_of_the_workers_task_loses_nothing_and_forgets_no_attempt(
    autojump_clock: MockClock, events: Events
) -> None:
    seen: list[tuple[str, int]] = []

    async def handler(delivery: Delivery) -> object:
        seen.append((delivery.value, delivery.attempt))
        if delivery.attempt == 1:
            return Retry(10)
        await trio.sleep(1)
        return None

    async with any_queue("channel", "a") as (runtime, channel):
        worker = await runtime.start_worker(channel, handler, concurrency=2, name="w")
        await settle()
        with pytest.MonkeyPatch.context() as patch:

            async def crash(limit: int) -> None:
                patch.undo()
                raise ValueError(limit)

            patch.setattr(channel, "recv_many", crash)
            await channel.send("b")
            await settle()
        await wait_until_idle(runtime)

        assert sorted(seen) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
        assert worker.status().restarts == 1
    assert len(named(events, "child_crashed")) == 1


async def test_values_that_cannot_be_given_back_stay_with_the_worker(
    autojump_clock: MockClock, events: Events
) -> None:
    done: list[str] = []

    async def handler(delivery: Delivery) -> None:
        await trio.sleep(5)
        done.append(delivery.value)

    async with any_queue("channel", "a", "b") as (runtime, channel):
        worker = await runtime.start_worker(channel, handler, concurrency=2, shutdown=0)
        await settle()
        await runtime.stop("queue.jobs")
        await worker.stop()
        assert worker.busy == 2
        await runtime.start("queue.jobs")
        await worker.start()
        await wait_until_idle(runtime)

        assert sorted(done) == ["a", "b"]
    (event,) = named(events, "messages_kept")
    assert event["messages"] == 2


async def test_retries_do_not_hold_a_hand_and_come_before_new_values(
    autojump_clock: MockClock,
) -> None:
    seen: list[str] = []

    async def handler(delivery: Delivery) -> object:
        seen.append(delivery.value)
        if delivery.value == "a" and delivery.attempt == 1:
            return Retry(10)
        await trio.sleep(6)
        return None

    async with any_queue("channel", *"abcd") as (runtime, channel):
        await runtime.start_worker(channel, handler)
        await wait_until_idle(runtime)

        assert seen == ["a", "b", "c", "a", "d"]


async def test_a_retry_wakes_a_worker_that_waits_for_a_value(autojump_clock: MockClock) -> None:
    times: list[float] = []

    async def handler(delivery: Delivery) -> object:
        times.append(trio.current_time())
        await trio.sleep(1)  # meanwhile the worker waits with its other hand
        return Retry(5) if delivery.attempt == 1 else None

    async with any_queue("channel", "a") as (runtime, channel):
        await runtime.start_worker(channel, handler, concurrency=2, eoq_backoff=1000)
        await wait_until_idle(runtime)

        assert times[1] - times[0] == pytest.approx(6)


async def test_a_closed_channel_is_drained_with_its_retries(
    autojump_clock: MockClock, events: Events
) -> None:
    async with any_queue("channel", "a", "b") as (runtime, channel):
        worker = await runtime.start_worker(channel, answers(Boom(), Boom()), backoff=10)
        await channel.close()
        await trio.sleep(5)
        assert named(events, "worker_drained") == []
        await trio.sleep(6)

        assert (count(worker, "retry"), count(worker, "success")) == (2, 2)
    assert len(named(events, "worker_drained")) == 1


async def test_a_batch_is_one_message(autojump_clock: MockClock, events: Events) -> None:
    seen: list[tuple[int, list[str], int]] = []

    async def handler(delivery: Delivery) -> object:
        seen.append((delivery.id, delivery.value, delivery.attempt))
        await trio.sleep(1)
        return Retry(0) if delivery.attempt == 1 else None

    async with any_queue("channel", *"abcde") as (runtime, channel):
        worker = await runtime.spawn_task(channel, handler, batch=3, max_attempts=2, name="w")
        await wait_until_idle(runtime)

        abc, de = list("abc"), list("de")
        assert seen == [(1, abc, 1), (1, abc, 2), (2, de, 1), (2, de, 2)]
        assert (count(worker, "retry"), count(worker, "success")) == (2, 2)


async def test_batches_are_given_back_value_by_value(autojump_clock: MockClock) -> None:
    async with any_queue("channel", *"abcde") as (runtime, channel):
        worker = await runtime.spawn_task(channel, hangs, batch=2, concurrency=2, shutdown=0)
        await settle()
        await worker.stop()

        assert await left(channel) == list("abcde")


async def test_a_task_gets_up_to_128_values_at_once(autojump_clock: MockClock) -> None:
    sizes: list[int] = []

    async def handler(delivery: Delivery) -> None:
        sizes.append(len(delivery.value))

    async with any_queue("channel", *range(300)) as (runtime, channel):
        await runtime.spawn_task("jobs", handler)
        await wait_until_idle(runtime)
        await put(channel, "x")
        await wait_until_idle(runtime)

        assert sizes == [128, 128, 44, 1]


async def test_a_worker_waits_for_a_channel_that_somebody_else_receives_from(
    autojump_clock: MockClock, events: Events
) -> None:
    async with any_queue("channel") as (runtime, channel), trio.open_nursery() as nursery:
        nursery.start_soon(channel.recv)
        await settle()
        worker = await runtime.start_worker(channel, answers())
        await trio.sleep(10)
        await put(channel, "theirs", "ours")
        await wait_until_idle(runtime)

        assert count(worker, "success") == 1
    (event,) = named(events, "worker_waits")
    assert event["reason"] == "busy"
