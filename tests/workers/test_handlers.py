"""What may be a handler, what it gets, and what becomes of its message."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest
import structlog
import trio

from queueactors import Delivery, OptionsError, wait_until_idle

from .kit import Boom, Handler, a_queue, count, lasts, named, raises, settle, states

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from trio.testing import MockClock

    from queueactors._options import Target
    from tests.conftest import Events

got: list[tuple[object, tuple[object, ...]]] = []


async def asynchronous(delivery: Delivery, *args: object) -> None:
    await trio.lowlevel.checkpoint()
    got.append((delivery.value, args))


def plain(delivery: Delivery, *args: object) -> None:
    assert threading.current_thread() is not threading.main_thread()
    got.append((delivery.value, args))


class AsyncCallable:
    async def __call__(self, delivery: Delivery, *args: object) -> None:
        await asynchronous(delivery, *args)

    async def method(self, delivery: Delivery, *args: object) -> None:
        await asynchronous(delivery, *args)


class PlainCallable:
    def __call__(self, delivery: Delivery, *args: object) -> None:
        plain(delivery, *args)


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(asynchronous, id="async function"),
        pytest.param(plain, id="plain function"),
        pytest.param(AsyncCallable(), id="async callable object"),
        pytest.param(AsyncCallable().method, id="async method"),
        pytest.param(PlainCallable(), id="plain callable object"),
        pytest.param(partial(asynchronous), id="partial of an async function"),
        pytest.param(partial(AsyncCallable()), id="partial of an async object"),
        pytest.param(partial(plain), id="partial of a plain function"),
        pytest.param(asynchronous, id="lambda that returns a coroutine"),
    ],
)
async def test_any_callable_is_a_handler(handler: Target) -> None:
    got.clear()
    with trio.fail_after(5):
        async with a_queue("x") as (runtime, queue):
            worker = await runtime.start_worker(queue, handler, args=["more", 2])
            await wait_until_idle(runtime)

            assert got == [("x", ("more", 2))]
            assert (
                count(worker, "success"),
                count(worker, "retry"),
            ) == (1, 0)
            assert await states(queue) == {}


async def returns_a_coroutine(delivery: Delivery, *args: object) -> object:
    await trio.lowlevel.checkpoint()
    return asynchronous(delivery, *args)


async def test_a_coroutine_that_an_async_handler_returns_is_run(autojump_clock: MockClock) -> None:
    got.clear()
    async with a_queue("x") as (runtime, queue):
        await runtime.start_worker(queue, returns_a_coroutine, args=["more"])
        await wait_until_idle(runtime)

    assert got == [("x", ("more",))]


def generator(delivery: Delivery) -> Iterator[None]:
    got.append((delivery.value, ()))
    yield


async def async_generator(delivery: Delivery) -> AsyncIterator[None]:
    got.append((delivery.value, ()))
    yield


class GeneratorCallable:
    def __call__(self, delivery: Delivery) -> Iterator[None]:
        yield from generator(delivery)


@pytest.mark.parametrize(
    "handler",
    [generator, async_generator, partial(generator), GeneratorCallable()],
)
async def test_a_generator_function_is_no_handler(
    handler: Target, autojump_clock: MockClock
) -> None:
    async with a_queue("x") as (runtime, queue):
        with pytest.raises(OptionsError, match="a generator function, whose body would not run"):
            await runtime.start_worker(queue, handler)


async def test_a_delivery_says_what_it_is(autojump_clock: MockClock) -> None:
    seen: list[Delivery] = []

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery)
        facts = (delivery.id, delivery.value, delivery.attempt, delivery.queue, delivery.runtime)
        assert facts == (1, "x", 1, queue, runtime)
        assert delivery.deadline_at == queue.clock.now_ns() + 30 * 10**9
        assert [each.id for each in await queue.peek("reserved")] == [1]
        assert repr(delivery) == "<Delivery 1 of 'jobs', attempt 1>"

    async with a_queue("x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler)
        await wait_until_idle(runtime)

        assert seen
        assert count(worker, "retry") == 0


async def test_log_lines_of_an_async_handler_are_bound_to_its_message(
    autojump_clock: MockClock,
) -> None:
    bound: list[dict[str, object]] = []

    async def handler(_delivery: Delivery) -> None:
        await trio.sleep(1)  # the other one runs meanwhile
        bound.append(structlog.contextvars.get_contextvars())

    async with a_queue("x", "y") as (runtime, queue):
        await runtime.start_worker(queue, handler, concurrency=2)
        await wait_until_idle(runtime)

    bound.sort(key=lambda facts: str(facts["id"]))
    assert bound == [{"queue": "jobs", "id": n, "attempt": 1} for n in (1, 2)]
    assert structlog.contextvars.get_contextvars() == {}


async def test_log_lines_of_a_plain_handler_are_bound_to_its_message() -> None:
    bound: list[dict[str, object]] = []

    def handler(_delivery: Delivery) -> None:
        bound.append(structlog.contextvars.get_contextvars())

    with trio.fail_after(5):
        async with a_queue("x") as (runtime, queue):
            await runtime.start_worker(queue, handler)
            await wait_until_idle(runtime)

    assert bound == [{"queue": "jobs", "id": 1, "attempt": 1}]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Boom("no"), "Boom: no"),
        (ExceptionGroup("two", [Boom("a"), ValueError("b")]), "Boom: a; ValueError: b"),
    ],
)
async def test_a_handler_that_raises_gives_its_message_back_with_the_error(
    error: Exception, told: str, autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [raises(error)]})

    async with a_queue("x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, backoff=60)
        await trio.sleep(1)
        (message,) = await queue.peek("delayed")
        assert message.error == told
        await wait_until_idle(runtime)

        assert handler.begun == [("x", 1), ("x", 2)]
        assert (
            count(worker, "success"),
            count(worker, "retry"),
        ) == (1, 1)
        assert worker.status().restarts == 0
    (event,) = named(events, "handler_failed")
    assert (event["worker"], event["queue"], event["id"]) == ("jobs", "jobs", 1)
    assert (event["attempt"], event["error"], event["exc_info"]) == (1, told, error)


async def test_only_the_first_failure_of_a_message_shows_its_traceback(
    autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [raises(Boom()), raises(Boom())]})

    async with a_queue("x") as (runtime, queue):
        await runtime.start_worker(queue, handler)
        await wait_until_idle(runtime)

    first, second = named(events, "handler_failed")
    assert isinstance(first["exc_info"], Boom)
    assert second["exc_info"] is None


async def test_a_handler_that_exceeds_max_runtime_is_cancelled_and_tried_again(
    autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [trio.sleep_forever, lasts(9.9)]})

    async with a_queue("x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, max_runtime=10, backoff=0)
        started = trio.current_time()
        await wait_until_idle(runtime)

        assert 19.9 <= trio.current_time() - started < 20.1
        assert handler.cancelled == ["x"]
        assert handler.done == ["x"]
        assert (
            count(worker, "success"),
            count(worker, "retry"),
        ) == (1, 1)
    (event,) = named(events, "handler_failed")
    assert event["error"] == "TooSlowError: the handler exceeded max_runtime of 10 s"


async def test_an_error_while_max_runtime_cancels_a_handler_is_a_failed_attempt(
    autojump_clock: MockClock,
) -> None:
    async def fails_in_cleanup() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise Boom("in cleanup")

    handler = Handler({"x": [fails_in_cleanup]})

    async with a_queue("x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, max_runtime=10)
        await wait_until_idle(runtime)

        assert (
            count(worker, "success"),
            count(worker, "retry"),
        ) == (1, 1)
        assert worker.status().restarts == 0


async def test_a_handler_that_swallows_its_cancellation_and_returns_has_succeeded(
    autojump_clock: MockClock,
) -> None:
    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(15)

    handler = Handler({"x": [stubborn]})

    async with a_queue("x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, max_runtime=10)
        await wait_until_idle(runtime)

        assert handler.begun == [("x", 1)]
        assert count(worker, "success") == 1


async def test_a_thread_that_exceeds_max_runtime_is_abandoned_and_frees_its_place() -> None:
    release = threading.Event()
    begun: list[object] = []

    def handler(delivery: Delivery) -> None:
        begun.append(delivery.value)
        if delivery.value == "stuck" and delivery.attempt == 1:
            release.wait(10)

    try:
        with trio.fail_after(5):
            async with a_queue("stuck", "x", "y") as (runtime, queue):
                worker = await runtime.start_worker(queue, handler, max_runtime=0.1, backoff=0)
                await wait_until_idle(runtime)

                assert sorted(map(str, begun)) == ["stuck", "stuck", "x", "y"]
                assert count(worker, "retry") == 1  # those after it did run
    finally:
        release.set()


async def test_a_handler_may_define_queues_and_start_workers(autojump_clock: MockClock) -> None:
    handler = Handler()

    async def first(delivery: Delivery) -> None:
        more = await runtime.define("more", reservation_time=30)
        await more.insert(f"{delivery.value}!")
        await runtime.start_worker(more, handler)

    async with a_queue("x") as (runtime, queue):
        await runtime.start_worker(queue, first)
        await wait_until_idle(runtime)

        assert handler.done == ["x!"]


async def test_a_handler_may_extend_its_reservation(autojump_clock: MockClock) -> None:
    deadlines: list[float] = []

    async def handler(delivery: Delivery) -> None:
        for seconds in (100, None):
            await delivery.extend(seconds)
            deadlines.append(((delivery.deadline_at or 0) - queue.clock.now_ns()) / 1e9)

    async with a_queue("x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler)
        await wait_until_idle(runtime)

        assert deadlines == [100, 30]
        assert count(worker, "success") == 1


async def test_ctrl_c_in_a_handler_ends_the_runtime_and_gives_the_message_back(
    autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler({"x": [raises(KeyboardInterrupt())]})

    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        async with a_queue("x") as (runtime, queue):
            await runtime.start_worker(queue, handler)
            await trio.sleep_forever()

    assert named(events, "handler_failed") == []
    assert named(events, "child_crashed") == []


async def test_a_handler_must_be_callable(autojump_clock: MockClock) -> None:
    async with a_queue() as (runtime, queue):
        with pytest.raises(OptionsError, match=r"^expected handler to be callable, got 'x:y'$"):
            await runtime.start_worker(queue, "x:y")  # type: ignore[arg-type]
        await settle()
        assert runtime.workers() == ()
