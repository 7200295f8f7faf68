"""Waiting for idle: never too early, promptly, and at little cost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from queueactors import Delivery, open_runtime, wait_until_idle
from queueactors.testing import CrashingStore, cancel_at_every_step, run_until_idle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    from queueactors import DeadLetter, Runtime

    Events = list[MutableMapping[str, object]]

TIMED = {"kind": "timed", "reservation_time": 30}

settle = wait_all_tasks_blocked


@pytest.fixture(autouse=True)
def events() -> Iterator[Events]:
    """Return the list that log events go to: tests are quiet, and can read it."""
    with capture_logs() as captured:
        yield captured


async def _elapsed(runtime: Runtime) -> float:
    """Return how long it takes until the runtime is idle."""
    started = trio.current_time()
    await wait_until_idle(runtime)
    return trio.current_time() - started


async def handle(_delivery: Delivery) -> None:
    await trio.lowlevel.checkpoint()


async def test_an_empty_runtime_is_idle_at_once(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        with assert_checkpoints():
            assert await _elapsed(runtime) == 0


async def test_queues_that_nobody_takes_from_are_idle_when_they_are_empty(
    autojump_clock: MockClock,
) -> None:
    never_asked = {**TIMED, "sync_fn": list, "sync_interval": 60}
    async with open_runtime({"queue": {"a": TIMED, "b": never_asked}}) as runtime:
        assert await _elapsed(runtime) == 0


async def test_it_waits_for_a_message_that_is_ready(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        await runtime.queue("jobs").insert("x")

        with pytest.raises(trio.TooSlowError), trio.fail_after(100):
            await wait_until_idle(runtime)


async def test_it_waits_for_a_message_that_is_delayed(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        await runtime.queue("jobs").insert("x", delay=20)
        await runtime.start_worker("jobs", handle)

        assert 20 <= await _elapsed(runtime) < 20.1


async def test_it_waits_for_a_message_that_somebody_has(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        await runtime.queue("jobs").insert("x")
        reservation = await runtime.queue("jobs").reserve(1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_later, 20, runtime.queue("jobs").delete, reservation)

            assert 20 <= await _elapsed(runtime) < 20.1


async def _later(seconds: float, act: object, *args: object) -> None:
    await trio.sleep(seconds)
    await act(*args)  # type: ignore[operator]


async def test_it_waits_for_a_handler_whose_message_is_gone(autojump_clock: MockClock) -> None:
    async def slow(_delivery: Delivery) -> None:
        await trio.sleep(20)

    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        await runtime.start_worker("jobs", slow)
        await runtime.queue("jobs").insert("x")
        await settle()
        await runtime.queue("jobs").clear()

        assert 20 <= await _elapsed(runtime) < 20.1


async def test_it_waits_for_a_retry(autojump_clock: MockClock) -> None:
    attempts: list[int] = []

    async def fails(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt < 3:
            raise ValueError

    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        await runtime.start_worker("jobs", fails, backoff=20)
        await runtime.queue("jobs").insert("x")

        assert 40 <= await _elapsed(runtime) < 40.1
        assert attempts == [1, 2, 3]


async def test_it_waits_for_the_first_refill_and_for_one_that_brings_nothing(
    autojump_clock: MockClock,
) -> None:
    brought = [["a", "b"], ["c"], []]
    handled: list[object] = []

    async def refill() -> list[str]:
        await trio.sleep(3)
        return brought.pop(0)

    async def note(delivery: Delivery) -> None:
        handled.append(delivery.value)

    table = {"queue": {"jobs": {**TIMED, "sync_fn": refill, "sync_interval": 10}}}
    async with open_runtime(table) as runtime:
        await runtime.start_worker("jobs", note)
        took = await _elapsed(runtime)

        assert brought == []
        assert handled == ["a", "b", "c"]
        assert took == pytest.approx(3 + 10 + 3 + 10 + 3, abs=0.2)


async def test_it_waits_for_a_refill_on_behalf_of_any_taker(autojump_clock: MockClock) -> None:
    brought = [["a"], []]
    taken: list[object] = []

    async def refill() -> list[str]:
        return brought.pop(0)

    async def take() -> None:
        while True:
            async with runtime.queue("jobs").reserved() as message:
                taken.append(message.value)

    table = {"queue": {"jobs": {**TIMED, "sync_fn": refill, "sync_interval": 10}}}
    async with open_runtime(table) as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await settle()
        await wait_until_idle(runtime)

        assert brought == []
        assert taken == ["a"]
        nursery.cancel_scope.cancel()


async def test_it_waits_for_a_refill_that_a_worker_will_want_once_it_is_restarted(
    autojump_clock: MockClock,
) -> None:
    brought = [["a"], []]

    async def refill() -> list[str]:
        return brought.pop(0)

    async def pokes(_delivery: Delivery) -> None:
        return

    table = {
        "queue": {"jobs": {**TIMED, "sync_fn": refill, "sync_interval": 10}},
        "worker": {"w": {"queue": "jobs", "handler": pokes}},
    }
    async with open_runtime(table) as runtime:
        status = runtime.worker("w").status
        # As if it had crashed and its supervisor had not noticed: up, and not running.
        runtime.worker("w")._alive = False  # noqa: SLF001
        assert not status().running
        await wait_until_idle(runtime)

        assert brought == []


async def test_a_queue_that_was_closed_is_not_refilled_and_not_waited_for(
    autojump_clock: MockClock,
) -> None:
    async def refill() -> list[str]:
        return ["x"]

    table = {"queue": {"jobs": {**TIMED, "sync_fn": refill, "sync_interval": 10}}}
    async with open_runtime(table) as runtime:
        await runtime.start_worker("jobs", handle)
        await trio.sleep(15)
        await runtime.queue("jobs").close()
        assert (await runtime.queue("jobs").statistics()).last_refill == 1

        with trio.fail_after(100):
            await wait_until_idle(runtime)


async def test_a_refill_that_always_fails_is_not_waited_for(autojump_clock: MockClock) -> None:
    async def refill() -> list[str]:
        raise OSError("down")

    table = {"queue": {"jobs": {**TIMED, "sync_fn": refill, "sync_interval": 0}}}
    async with open_runtime(table) as runtime:
        await runtime.start_worker("jobs", handle)

        with trio.fail_after(1):
            await wait_until_idle(runtime)


async def test_it_waits_for_a_dead_letter_on_its_way(autojump_clock: MockClock) -> None:
    noted: list[object] = []

    async def fails(_delivery: Delivery) -> None:
        raise ValueError

    async def note(delivery: Delivery) -> None:
        noted.append(cast("DeadLetter", delivery.value).value)

    dying = {**TIMED, "max_reservations": 1, "on_exhausted": "dead"}
    async with open_runtime({"queue": {"jobs": dying, "dead": TIMED}}) as runtime:
        await runtime.start_worker("jobs", fails)
        await runtime.start_worker("dead", note)
        await runtime.stop("queue.dead")
        await runtime.queue("jobs").insert(*range(5))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_later, 20, runtime.start, "queue.dead")

            assert await _elapsed(runtime) >= 20
        assert sorted(noted, key=str) == list(range(5))


@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_it_is_not_fooled_by_a_message_that_moves_between_queues(
    order: str, autojump_clock: MockClock
) -> None:
    hops = 40
    seen: list[object] = []

    async def move(delivery: Delivery) -> None:
        seen.append(delivery.value)
        left = cast("int", delivery.value)
        for _ in range(left % 5):
            await trio.lowlevel.checkpoint()
        if left:
            other = "b" if delivery.queue.name == "a" else "a"
            await runtime.queue(other).insert(left - 1)

    async with open_runtime({"queue": dict.fromkeys(order, TIMED)}) as runtime:
        for name in "ab":
            await runtime.start_worker(name, move)
        await runtime.queue("a").insert(hops)
        await wait_until_idle(runtime)

        assert len(seen) == hops + 1


async def test_it_is_not_fooled_by_one_who_takes_first_and_inserts_later(
    autojump_clock: MockClock,
) -> None:
    """Between the delete here and the insert there, no queue has the message; counts tell."""
    moved: list[object] = []

    async def move() -> None:
        for n in range(30):
            here, there = runtime.queue("ab"[n % 2]), runtime.queue("ba"[n % 2])
            reservation = await here.reserve()
            await here.delete(reservation)
            await there.insert(n)
            moved.append(n)

    async with open_runtime({"queue": {"a": TIMED, "b": TIMED}}) as runtime:
        await runtime.queue("a").insert("x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(move)
            with trio.move_on_after(1):
                await wait_until_idle(runtime)

            assert len(moved) == 30


async def test_it_waits_for_a_queue_that_is_about_to_be_restarted(
    autojump_clock: MockClock,
) -> None:
    table = {
        "store": {"bad": {"type": CrashingStore, "every": 7}},
        "queue": {"jobs": {**TIMED, "store": "bad"}},
        "worker": {"w": {"queue": "jobs", "handler": handle, "concurrency": 3}},
        "supervisor": {
            "s": {"intensity": 1000, "child": [{"queue": "jobs", "backoff": {"min": 3, "max": 3}}]}
        },
    }
    async with open_runtime(table) as runtime:
        for n in range(20):
            runtime.queue("jobs").insert_nowait(n)
        await wait_until_idle(runtime)

        status = runtime.worker("w").status()
        assert status.busy == 0
        casts_that_crashed = 20 - status.statistics.counts["success"]
        assert 0 <= casts_that_crashed <= 3


async def test_casts_that_nobody_has_taken_yet_are_work(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        await runtime.start_worker("jobs", handle)
        await settle()
        runtime.queue("jobs").insert_nowait("x")
        await wait_until_idle(runtime)

        assert runtime.worker("jobs").status().statistics.counts["success"] == 1


@pytest.mark.parametrize("down", ["stopped", "parked"])
async def test_a_queue_that_is_down_is_not_waited_for(down: str, autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"jobs": TIMED, "other": TIMED}}) as runtime:
        await runtime.queue("jobs").insert("x")
        if down == "stopped":
            await runtime.stop("jobs")
        else:
            runtime.queue("jobs")._actor.child_down("parked")  # noqa: SLF001

        assert await _elapsed(runtime) == 0


async def test_it_returns_promptly(autojump_clock: MockClock) -> None:
    async def slow(_delivery: Delivery) -> None:
        await trio.sleep(7)

    async with open_runtime({"queue": {"jobs": TIMED}}) as runtime:
        await runtime.start_worker("jobs", slow)
        await runtime.queue("jobs").insert("x")

        assert 7 <= await _elapsed(runtime) < 7.1


@attrs.define(eq=False)
class _Steps(trio.abc.Instrument):
    count: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self.count += 1


async def test_while_one_queue_is_busy_the_others_are_not_asked_over_and_over(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime({"queue": {f"q{n:03}": TIMED for n in range(100)}}) as runtime:
        await runtime.queue("q000").insert("x", delay=50)
        spy = _Steps()
        trio.lowlevel.add_instrument(spy)
        with trio.move_on_after(10):
            await wait_until_idle(runtime)
        trio.lowlevel.remove_instrument(spy)

        assert spy.count < 10 / 0.05 * 10  # some steps a look, not some for each queue


async def test_cancelling_it_has_no_effect(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"a": TIMED, "b": TIMED}}) as runtime:

        async def wait() -> None:
            await run_until_idle(runtime)

        async def check() -> None:
            with trio.fail_after(10):
                assert (await runtime.queue("a").statistics()).mailbox == 0
                assert await runtime.queue("a").len() == 0

        assert await cancel_at_every_step(wait, check) > 3


async def test_it_waits_until_a_capacity_queue_is_empty(autojump_clock: MockClock) -> None:
    async with (
        open_runtime({"queue": {"q": {"kind": "capacity"}}}) as runtime,
        trio.open_nursery() as nursery,
    ):
        queue = runtime.queue("q")
        assert await _elapsed(runtime) == 0
        await queue.push(b"a", b"b")
        nursery.start_soon(_after, 5, queue.pop)
        nursery.start_soon(_after, 8, queue.pop)

        assert await _elapsed(runtime) == pytest.approx(8, abs=0.1)


async def test_it_waits_until_every_label_of_a_log_has_read_all(
    autojump_clock: MockClock,
) -> None:
    async with (
        open_runtime({"queue": {"q": {"kind": "log", "ttl": 60}}}) as runtime,
        trio.open_nursery() as nursery,
    ):
        queue = runtime.queue("q")
        await queue.add(b"a", b"b")
        assert await _elapsed(runtime) == 0  # nobody reads it
        await queue.next("fast", limit=2)
        await queue.next("slow")
        nursery.start_soon(_after, 5, partial(queue.next, "slow"))

        assert await _elapsed(runtime) == pytest.approx(5, abs=0.1)


async def test_what_expires_is_not_waited_for_longer(autojump_clock: MockClock) -> None:
    async with open_runtime({"queue": {"q": {"kind": "log", "ttl": 60}}}) as runtime:
        queue = runtime.queue("q")
        await queue.next("gone for ever")
        await queue.add(b"a")

        assert await _elapsed(runtime) == pytest.approx(60, abs=0.1)


async def _after(seconds: float, call: Callable[[], Awaitable[object]]) -> None:
    await trio.sleep(seconds)
    await call()
