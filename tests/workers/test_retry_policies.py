"""A retry policy as a worker's backoff: its waits, its end, and what it may not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from queueactors import DeadLetter, OptionsError, WorkerOptions, open_runtime
from queueactors.retry import Exponential, Fixed, Linear, RetryPolicy

from .kit import KINDS, Boom, any_queue, count, named, put

if TYPE_CHECKING:
    from random import Random

    from trio.testing import MockClock

    from queueactors import Delivery
    from queueactors.queues import AnyQueue
    from tests.conftest import Events

any_kind = pytest.mark.parametrize("kind", KINDS)


@attrs.define(eq=False)
class Fails:
    """A handler that fails so often, and notes when."""

    often: int = 10**6
    at: list[float] = attrs.field(factory=list)

    async def __call__(self, _delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        self.at.append(trio.current_time())
        if len(self.at) <= self.often:
            raise Boom

    @property
    def waits(self) -> list[float]:
        return [round(b - a, 6) for a, b in zip(self.at, self.at[1:], strict=False)]


@any_kind
@pytest.mark.parametrize(
    ("policy", "waits"),
    [
        (Fixed(0, 3, jitter=0), [3, 3, 3, 3]),
        (Linear(0, 1, 3, jitter=0), [1, 2, 3, 3]),
        (Exponential(0, 1, 5, jitter=0), [1, 2, 4, 5]),
        (Exponential(0, 1, 9, 1.5, jitter=0), [1, 1.5, 2.25, 3.375]),
    ],
)
async def test_a_message_waits_as_the_policy_says(
    kind: str, policy: RetryPolicy, waits: list[float], autojump_clock: MockClock
) -> None:
    handler = Fails(often=4)
    async with any_queue(kind, "a") as (runtime, queue):
        await runtime.start_worker(queue, handler, backoff=policy)
        await trio.sleep(100)

        assert handler.waits == waits
        assert await queue.len() == 0


@any_kind
@pytest.mark.parametrize("attempts", [1, 3])
async def test_after_the_last_attempt_of_a_policy_it_was_an_error(
    kind: str, attempts: int, autojump_clock: MockClock, events: Events
) -> None:
    handler = Fails()
    async with any_queue(kind, "a") as (runtime, queue):
        policy = Fixed(attempts, 2, jitter=0, cooldown=5)  # the cooldown is not looked at
        worker = await runtime.start_worker(queue, handler, backoff=policy)
        await trio.sleep(100)

        assert handler.waits == [2] * (attempts - 1)
        assert (count(worker, "error"), count(worker, "retry")) == (1, attempts - 1)
        assert await queue.len() == 0
        (given_up,) = named(events, "message_given_up")
        assert given_up["attempt"] == attempts


@pytest.mark.parametrize("kind", ["channel", "message"])
async def test_after_the_last_attempt_of_a_policy_a_dead_letter_is_posted(
    kind: str, autojump_clock: MockClock
) -> None:
    async with any_queue(kind, "a", dead="timed") as (runtime, queue):
        policy = Exponential(2, 1, 5, jitter=0)
        await runtime.start_worker(queue, Fails(), backoff=policy, dead_letter="dead")
        letter = (await runtime.queue("dead").reserve()).value

        assert isinstance(letter, DeadLetter)
        assert (letter.value, letter.attempts, letter.error) == ("a", 2, "Boom")


@pytest.mark.parametrize("kind", ["channel", "message"])
async def test_the_workers_own_limit_of_attempts_counts_as_well(
    kind: str, autojump_clock: MockClock
) -> None:
    handler = Fails()
    async with any_queue(kind, "a") as (runtime, queue):
        await runtime.start_worker(queue, handler, backoff=Fixed(9, 2, jitter=0), max_attempts=2)
        await trio.sleep(100)

        assert handler.waits == [2]
        assert await queue.len() == 0


async def test_a_timed_queue_buries_what_has_had_all_attempts_of_a_policy(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime() as runtime:
        queue = await runtime.define(
            "q", reservation_time=30, max_reservations=9, on_exhausted="bury"
        )
        await queue.insert("a")
        await runtime.start_worker(queue, Fails(), backoff=Fixed(2, 1, jitter=0))
        await trio.sleep(100)

        (message,) = await queue.peek("buried")
        assert message.value == "a"


@attrs.define
class Own:
    """A policy of one's own that gives one answer after the other."""

    answers: list[object]
    asked: list[int] = attrs.field(factory=list)

    def delay(self, attempt: int, _random: Random, /) -> float | None:
        self.asked.append(attempt)
        answer = self.answers[len(self.asked) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value] # on purpose


@any_kind
async def test_a_policy_may_be_ones_own(kind: str, autojump_clock: MockClock) -> None:
    policy, handler = Own([4, 0, 1.5, None]), Fails()
    async with any_queue(kind, "a") as (runtime, queue):
        await runtime.start_worker(queue, handler, backoff=policy)
        await trio.sleep(100)

        assert handler.waits == [4, 0, 1.5]
        assert policy.asked == [1, 2, 3, 4]


@any_kind
@pytest.mark.parametrize("answer", [Boom(), -1, float("nan"), float("inf"), "soon", True])
async def test_a_policy_that_fails_is_replaced_by_the_default(
    kind: str, answer: object, autojump_clock: MockClock, events: Events
) -> None:
    handler = Fails(often=1)
    async with any_queue(kind, "a") as (runtime, queue):
        await runtime.start_worker(queue, handler, backoff=Own([answer]))
        await trio.sleep(100)

        assert len(handler.waits) == 1
        assert 1 <= handler.waits[0] < 2
        assert [each["log_level"] for each in named(events, "backoff_failed")] == ["error"]


async def test_one_policy_may_serve_many(autojump_clock: MockClock) -> None:
    policy = Linear(3, 1, 2, jitter=0)
    handlers = [Fails(), Fails()]
    async with open_runtime() as runtime:
        for number, handler in enumerate(handlers):
            queue: AnyQueue = await runtime.define(f"q{number}", kind="message")
            await put(queue, "a")
            await runtime.start_worker(queue, handler, backoff=policy)
            await trio.sleep(0.5)
        await trio.sleep(100)

        assert [handler.waits for handler in handlers] == [[1, 2], [1, 2]]


@pytest.mark.parametrize("given", ["2s", -1, None, True])
def test_what_is_no_pace_is_refused(given: object) -> None:
    with pytest.raises(OptionsError) as caught:
        WorkerOptions(queue="q", handler=print, backoff=given)  # type: ignore[arg-type] # on purpose

    assert str(caught.value) == (
        f"expected backoff to be seconds >= 0, callable or a retry policy, got {given!r}"
    )
