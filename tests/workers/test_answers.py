"""What a handler's answer does to its message, in queues of every kind."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import trio

from queueactors import DeadLetter, Error, Retry, Snooze, Success, wait_until_idle

from .kit import KINDS, Boom, answers, any_queue, count, named, settle

if TYPE_CHECKING:
    from trio.testing import MockClock

    from queueactors import Delivery
    from tests.conftest import Events

COUNTED = ("message", "channel")  # whose attempts the worker counts


class Cancelled(BaseException):
    """As asyncio's is: no `Exception`."""


any_kind = pytest.mark.parametrize("kind", KINDS)


@any_kind
@pytest.mark.parametrize("answer", [None, Success(), 7, "retry", [Retry()], int])
async def test_whatever_else_is_returned_is_success(
    kind: str, answer: object, autojump_clock: MockClock, events: Events
) -> None:
    async with any_queue(kind, "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers(answer))
        await wait_until_idle(runtime)

        assert (count(worker, "success"), count(worker, "retry")) == (1, 0)
        assert await queue.len() == 0
    assert [each for each in events if each["log_level"] in {"warning", "error"}] == []


@any_kind
async def test_a_retry_comes_back_after_its_backoff_and_counts(
    kind: str, autojump_clock: MockClock
) -> None:
    seen: list[tuple[int, float]] = []

    async def handler(delivery: Delivery) -> object:
        seen.append((delivery.attempt, trio.current_time()))
        return Retry({1: None, 2: 0.0, 3: 4.0}[delivery.attempt]) if delivery.attempt < 4 else None

    async with any_queue(kind, "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, backoff=7)
        await wait_until_idle(runtime)

        assert [attempt for attempt, _ in seen] == [1, 2, 3, 4]
        waits = [round(b - a, 3) for (_, a), (_, b) in itertools.pairwise(seen)]
        assert waits == [7, 0, 4]
        assert (count(worker, "retry"), count(worker, "backoff")) == (3, 2)


@any_kind
async def test_a_snooze_comes_back_and_is_no_attempt(kind: str, autojump_clock: MockClock) -> None:
    seen: list[tuple[int, float]] = []

    async def handler(delivery: Delivery) -> object:
        seen.append((delivery.attempt, trio.current_time()))
        return Snooze([5, 0][len(seen) - 1]) if len(seen) < 3 else None

    async with any_queue(kind, "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler)
        started = trio.current_time()
        await wait_until_idle(runtime)

        assert [(attempt, round(at - started, 3)) for attempt, at in seen] == [
            (1, 0),
            (1, 5),
            (1, 5),
        ]
        assert count(worker, "snooze") == 2


@any_kind
@pytest.mark.parametrize("why", [None, "no good", Boom("no good")])
async def test_an_error_ends_the_message_at_once_and_is_logged(
    kind: str, why: object, autojump_clock: MockClock, events: Events
) -> None:
    async with any_queue(kind, "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers(Error(why)))  # type: ignore[arg-type]
        await wait_until_idle(runtime)

        assert count(worker, "error") == 1
        assert await queue.len() == 0
    (event,) = named(events, "message_given_up")
    told = {None: None, "no good": "no good"}.get(why, "Boom: no good")  # type: ignore[call-overload]
    assert (event["id"], event["attempt"], event["error"]) == (1, 1, told)
    assert event["exc_info"] is (why if isinstance(why, Boom) else None)


async def test_a_timed_queue_does_with_an_error_what_it_does_with_an_exhausted_message(
    autojump_clock: MockClock,
) -> None:
    async with any_queue("timed") as (runtime, _):
        queue = await runtime.define("own", reservation_time=30, on_exhausted="bury")
        await queue.insert("x")
        await runtime.start_worker(queue, answers(Error("bad")))
        await wait_until_idle(runtime)

        (message,) = await queue.peek("buried")
        assert (message.error, message.attempts) == ("bad", 1)


@any_kind
async def test_a_result_class_instead_of_a_result_is_the_handlers_error(
    kind: str, autojump_clock: MockClock, events: Events
) -> None:
    async with any_queue(kind, "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers(Success), backoff=0)
        await wait_until_idle(runtime)

        assert (count(worker, "retry"), count(worker, "success")) == (1, 1)
    (event,) = named(events, "handler_failed")
    assert event["error"] == "TypeError: expected the handler to return Success(...), got the class"


@any_kind
async def test_on_exception_error_tries_nothing_again(
    kind: str, autojump_clock: MockClock, events: Events
) -> None:
    async with any_queue(kind, "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers(Boom("no")), on_exception="error")
        await wait_until_idle(runtime)

        assert (count(worker, "retry"), count(worker, "error")) == (0, 1)
        assert await queue.len() == 0
    assert len(named(events, "handler_failed")) == len(named(events, "message_given_up")) == 1


@pytest.mark.parametrize("kind", ["timed", "channel"])
async def test_a_window_for_duplicates_where_there_is_none_is_logged_once(
    kind: str, autojump_clock: MockClock, events: Events
) -> None:
    async with any_queue(kind, "x", "y") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers(Success(60), Success(60)))
        await wait_until_idle(runtime)

        assert (count(worker, "success"), count(worker, "backoff")) == (2, 2)
    (event,) = named(events, "backoff_ignored")
    assert event["seconds"] == 60


async def test_a_success_may_refuse_duplicates_for_a_time(autojump_clock: MockClock) -> None:
    async with any_queue("message") as (runtime, queue):
        await runtime.start_worker(queue, answers(Success(60)))
        assert (await queue.enqueue("x", "a")).success
        await trio.sleep(59)
        assert (await queue.enqueue("x", "a")).error == "backoff"
        await trio.sleep(2)
        assert (await queue.enqueue("x", "a")).success


# -- the last attempt ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", COUNTED)
async def test_a_message_gets_max_attempts_and_no_more(
    kind: str, autojump_clock: MockClock, events: Events
) -> None:
    failures = [Boom("a"), Retry(), Boom("c"), Boom("d")]

    async with any_queue(kind, "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers(*failures), max_attempts=3, backoff=1)
        await wait_until_idle(runtime)

        assert (count(worker, "retry"), count(worker, "error")) == (2, 1)
        assert await queue.len() == 0
    (event,) = named(events, "message_given_up")
    assert (event["attempt"], event["error"]) == (3, "Boom: c")


async def test_a_message_whose_last_attempt_did_not_end_is_not_handled_once_more(
    autojump_clock: MockClock,
) -> None:
    async with any_queue("message", "x", dead="message") as (runtime, queue):
        for _ in range(3):  # as often, whoever had it was killed
            await queue.claim()
        worker = await runtime.start_worker(queue, answers(), max_attempts=3, dead_letter="dead")

        letter = (await runtime.queue("dead").claim()).message

        assert (letter.attempts, letter.error) == (4, "none of its 3 attempts came to an end")
        assert (count(worker, "success"), count(worker, "error")) == (0, 0)  # no handler ran
        assert worker.handled == 0


@pytest.mark.parametrize("kind", COUNTED)
@pytest.mark.parametrize("dead", KINDS)
async def test_a_dead_letter_goes_to_a_queue_of_any_kind(
    kind: str, dead: str, autojump_clock: MockClock
) -> None:
    letters: list[DeadLetter] = []

    async def take(delivery: Delivery) -> None:
        letters.append(delivery.value)

    async with any_queue(kind, "x", dead=dead) as (runtime, queue):
        at = queue.clock.now_ns()
        await trio.sleep(3)
        await runtime.start_worker(
            queue, answers(Retry(4), Boom("no")), max_attempts=2, dead_letter="dead"
        )
        await runtime.start_worker("dead", take)
        await wait_until_idle(runtime)

        (letter,) = letters
        assert (letter.value, letter.queue, letter.id) == ("x", "jobs", 1)
        assert (letter.attempts, letter.error) == (2, "Boom: no")
        waited = (letter.inserted_at - at) / 1e9
        assert round(waited, 3) == (3 if kind == "channel" else 0)  # it does not know more


@pytest.mark.parametrize("kind", COUNTED)
async def test_a_message_leaves_only_when_its_dead_letter_is_there(
    kind: str, autojump_clock: MockClock
) -> None:
    async with any_queue(kind, "x") as (runtime, queue):
        dead = await runtime.define("dead", kind="channel", limit=1)
        await dead.send("full")
        worker = await runtime.start_worker(queue, answers(Error("bad")), dead_letter="dead")
        await trio.sleep(7300)  # longer than a lock
        assert worker.busy == 1

        assert await dead.recv() == "full"
        letter = await dead.recv()
        await settle()
        assert (letter.value, letter.attempts) == ("x", 1)
        assert worker.busy == await queue.len() == 0


@pytest.mark.parametrize("kind", COUNTED)
async def test_a_dead_letter_that_is_refused_brings_its_message_back(
    kind: str, autojump_clock: MockClock, events: Events
) -> None:
    async with any_queue(kind, "x", dead="timed") as (runtime, queue):
        await runtime.queue("dead").close()
        worker = await runtime.start_worker(
            queue, answers(Error("bad")), dead_letter="dead", max_attempts=1
        )
        await wait_until_idle(runtime)

        assert (count(worker, "error"), count(worker, "success")) == (1, 1)
    (event,) = named(events, "dead_letter_not_posted")
    assert event["error"] == "QueueClosedError: queue 'dead' is closed"


@pytest.mark.parametrize("kind", COUNTED)
async def test_a_worker_that_is_stopped_over_a_dead_letter_loses_nothing(
    kind: str, autojump_clock: MockClock
) -> None:
    async with any_queue(kind, "x") as (runtime, queue):
        dead = await runtime.define("dead", kind="channel", limit=1)
        await dead.send("full")
        worker = await runtime.start_worker(
            queue, answers(Error("bad")), dead_letter="dead", shutdown=2
        )
        await settle()
        await worker.stop()

        assert worker.busy == 0
        assert await queue.len() == 1


# -- what goes wrong ----------------------------------------------------------------------------


@any_kind
@pytest.mark.parametrize("how", ["alone", "in a group"])
async def test_a_cancellation_that_nobody_asked_for_is_a_failed_attempt(
    kind: str, how: str, autojump_clock: MockClock, events: Events
) -> None:
    leaked: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            leaked.append(cancelled)
            raise
    error = leaked[0] if how == "alone" else BaseExceptionGroup("", [leaked[0], Boom()])

    async with any_queue(kind, "x", "y") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers(error), backoff=0)
        await wait_until_idle(runtime)

        assert (count(worker, "retry"), count(worker, "success")) == (1, 2)
        assert worker.status().restarts == 0
    assert len(named(events, "handler_failed")) == 1


@any_kind
@pytest.mark.parametrize(
    "error",
    [
        Cancelled(),
        GeneratorExit(),
        BaseExceptionGroup("", [Boom(), Cancelled()]),
    ],
    ids=repr,
)
async def test_whatever_is_raised_but_an_exit_is_a_failed_attempt(
    kind: str, error: BaseException, autojump_clock: MockClock, events: Events
) -> None:
    async with any_queue(kind, "x", "y") as (runtime, queue):
        worker = await runtime.start_worker(queue, answers(error), backoff=0)
        await wait_until_idle(runtime)

        assert (count(worker, "retry"), count(worker, "success")) == (1, 2)
        assert worker.status().restarts == 0
    assert len(named(events, "handler_failed")) == 1


@any_kind
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
async def test_an_exit_in_a_handler_ends_the_runtime(
    kind: str, error: BaseException, autojump_clock: MockClock
) -> None:
    async def run() -> None:
        async with any_queue(kind, "x") as (runtime, queue):
            await runtime.start_worker(queue, answers(error))
            await trio.sleep_forever()

    with pytest.raises(type(error)):
        await run()


@any_kind
async def test_an_error_beside_the_cancellation_of_a_stop_is_logged_and_no_attempt(
    kind: str, autojump_clock: MockClock, events: Events
) -> None:
    async def handler(delivery: Delivery) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            raise BaseExceptionGroup("", [cancelled, Boom("in cleanup")]) from None

    async with any_queue(kind, "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, shutdown=1, name="w")
        await settle()
        await runtime.stop("w")

        assert await queue.len() == 1
        assert (count(worker, "retry"), worker.busy) == (0, 0)
        if kind != "channel":
            taken = await (queue.reserve() if kind == "timed" else queue.claim())
            assert taken.attempt == 1
    (event,) = named(events, "handler_failed")
    assert event["error"] == "Boom: in cleanup"
    assert named(events, "child_stop_error") == []


@any_kind
async def test_max_runtime_ends_a_handler_that_hangs(
    kind: str, autojump_clock: MockClock, events: Events
) -> None:
    begun: list[int] = []

    async def handler(delivery: Delivery) -> None:
        begun.append(delivery.attempt)
        if delivery.attempt == 1:
            await trio.sleep_forever()

    async with any_queue(kind, "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, max_runtime=10, backoff=0)
        await wait_until_idle(runtime)

        assert begun == [1, 2]
        assert count(worker, "retry") == 1
    assert len(named(events, "handler_failed")) == 1


@any_kind
async def test_a_handler_may_pause_its_queue(kind: str, autojump_clock: MockClock) -> None:
    times: list[float] = []

    async def handler(delivery: Delivery) -> None:
        times.append(trio.current_time())
        await delivery.queue.pause(100)

    async with any_queue(kind, "x", "y") as (runtime, queue):
        await runtime.start_worker(queue, handler)
        await trio.sleep(150)

        assert times[1] - times[0] == pytest.approx(100)


async def test_a_claim_is_kept_alive_for_as_long_as_its_handler_runs(
    autojump_clock: MockClock,
) -> None:
    begun: list[str | None] = []

    async def handler(delivery: Delivery) -> None:
        begun.append(delivery.mid)
        await trio.sleep({"long": 1000, "short": 500}[str(delivery.mid)])

    async with any_queue("message") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler, concurrency=2)
        await queue.enqueue("x", "long")
        await trio.sleep(1)
        await queue.enqueue("y", "short", lock_time=3)
        await trio.sleep(6000)

        assert begun == ["long", "short"]
        assert (count(worker, "success"), count(worker, "lost")) == (2, 0)


async def test_a_claim_that_was_lost_is_reported(autojump_clock: MockClock, events: Events) -> None:
    async def handler(_delivery: Delivery) -> None:
        await trio.sleep(5000)

    async with any_queue("message", "x") as (runtime, queue):
        worker = await runtime.start_worker(queue, handler)
        await settle()
        await queue.clear()
        await trio.sleep(6000)

        assert (count(worker, "success"), count(worker, "lost")) == (1, 1)
    assert len(named(events, "reservation_lost")) == len(named(events, "delivery_lost")) == 1


@any_kind
async def test_a_delivery_says_what_it_is(kind: str, autojump_clock: MockClock) -> None:
    seen: list[Delivery] = []

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery)
        await delivery.extend(50)
        left = None
        if delivery.deadline_at is not None:
            left = (delivery.deadline_at - delivery.queue.clock.now_ns()) / 1e9
        assert left == (None if kind == "channel" else 50)

    async with any_queue(kind) as (runtime, queue):
        await (queue.enqueue("x", "m") if kind == "message" else queue._accept("x"))  # noqa: SLF001
        await trio.sleep(3)
        worker = await runtime.start_worker(queue, handler)
        await wait_until_idle(runtime)

        (delivery,) = seen
        assert (delivery.id, delivery.value, delivery.attempt) == (1, "x", 1)
        assert delivery.age == (None if kind == "channel" else 3)
        assert delivery.mid == ("m" if kind == "message" else None)
        assert (delivery.queue, delivery.runtime) == (queue, runtime)
        assert (delivery.key == 1) == (kind == "channel")
        assert count(worker, "success") == 1
