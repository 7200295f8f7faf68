"""What the rules of the timed queue are written with, and those of other kinds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from queueactors import Config, QueueActorsError, QueueClosedError, open_runtime
from queueactors.config import StoreConfig
from supervisors import ActorError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from queueactors import Runtime, TimedQueue
    from queueactors.cores.timed import PeekState
    from queueactors.stores import Store

MakeStore = Callable[[], "Store"]
TimedRule = Callable[[MakeStore], Awaitable[None]]

SECOND: Final = 1_000_000_000  # nanoseconds
FOREVER: Final = 1e9  # seconds

AnError = TypeVar("AnError", bound=BaseException)
T = TypeVar("T")


def rule_name(rule: TimedRule) -> str:
    """Return a rule as a name for a test."""
    return str(getattr(rule, "__name__", rule)).strip("_")


async def check_rules(rules: Iterable[TimedRule], make: MakeStore) -> None:
    """Check rules one after the other; the error of one that does not hold names it."""
    for rule in rules:
        try:
            await rule(make)
        except Exception as error:
            error.add_note(f"rule: {rule_name(rule)}")
            raise


@asynccontextmanager
async def a_runtime(make: MakeStore) -> AsyncIterator[Runtime]:
    store = StoreConfig(type="under test", factory=make, options={})
    async with open_runtime(Config(stores={"memory": store})) as runtime:
        yield runtime


@asynccontextmanager
async def a_queue(make: MakeStore, **options: object) -> AsyncIterator[TimedQueue]:
    async with a_runtime(make) as runtime:
        yield await runtime.define(
            "q", kind="timed", **({"reservation_time": 30, "codec": "pickle"} | options)
        )


def equal(actual: object, expected: object) -> None:
    if actual != expected:
        raise AssertionError(f"expected {expected!r}, got {actual!r}")


@attrs.define
class Refusal(Generic[AnError]):
    error: AnError | None = None


@contextmanager
def refused(kind: type[AnError]) -> Iterator[Refusal[AnError]]:
    refusal = Refusal[AnError]()
    try:
        yield refusal
    except kind as error:
        refusal.error = error
        return
    raise AssertionError(f"expected {kind.__name__}, but nothing was raised")


async def drain(queue: TimedQueue) -> list[object]:
    """Reserve everything that is ready; return the values as they come."""
    values = []
    while (reservation := await queue.try_reserve()) is not None:
        values.append(reservation.value)
    return values


async def values_in(queue: TimedQueue, state: PeekState = "ready") -> list[object]:
    return [message.value for message in await queue.peek(state, 1000)]


@attrs.define(eq=False)
class Taker:
    """Reserves in a task of its own, and writes down what came of it, and when."""

    queue: TimedQueue
    name: str = ""
    outcome: object = None
    at_ns: int | None = None

    async def run(self, order: list[str], timeout: float | None = None) -> None:  # noqa: ASYNC109
        try:
            self.outcome = (await self.queue.reserve(timeout=timeout)).value
        except (trio.TooSlowError, QueueClosedError) as error:
            self.outcome = type(error)
        self.at_ns = self.queue.clock.now_ns()
        order.append(self.name)


async def start_takers(
    nursery: trio.Nursery, queue: TimedQueue, names: str, order: list[str]
) -> list[Taker]:
    """Start takers that begin to wait one after the other."""
    takers = []
    for name in names:
        taker = Taker(queue, name)
        takers.append(taker)
        nursery.start_soon(taker.run, order)
        await wait_all_tasks_blocked()
    return takers


@attrs.define(eq=False)
class Caller(Generic[T]):
    """Makes one call in a task of its own, and writes down what came of it."""

    call: Callable[[], Awaitable[T]]
    outcome: T | type[Exception] | None = None  # the answer, or the error's type

    async def run(self) -> None:
        """Make the call."""
        try:
            self.outcome = await self.call()
        except (trio.TooSlowError, QueueActorsError, ActorError) as error:
            self.outcome = type(error)


async def start_calls(nursery: trio.Nursery, *calls: Callable[[], Awaitable[T]]) -> list[Caller[T]]:
    """Start calls one after the other, each once all that follows from the one before is done."""
    callers = [Caller(call) for call in calls]
    for caller in callers:
        nursery.start_soon(caller.run)
        await wait_all_tasks_blocked()
    return callers
