"""What these tests share: handlers under a test's command, and a runtime with a queue."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, TypedDict, Unpack

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from queueactors import MemoryStore, load_config, open_runtime
from queueactors._insist import insist
from queueactors.config import StoreConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping

    from queueactors import Config, Delivery, Runtime, TimedQueue, Worker
    from queueactors.engines import Engine, Method, Parked
    from queueactors.queues import AnyQueue
    from queueactors.stores import Kind, Place

settle = wait_all_tasks_blocked


class Boom(Exception):  # noqa: N818 - an ordinary failure
    """What a handler raises."""


class QueueTable(TypedDict, total=False):
    """Options of a queue."""

    reservation_time: float
    unique: bool
    max_reservations: int
    on_exhausted: str
    store: str


@asynccontextmanager
async def a_queue(
    *values: object,
    config: Mapping[str, object] | Config | None = None,
    **options: Unpack[QueueTable],
) -> AsyncIterator[tuple[Runtime, TimedQueue]]:
    """Run a runtime with one queue, ``jobs``, that holds ``values``."""
    async with open_runtime(config) as runtime:
        options.setdefault("reservation_time", 30.0)
        queue = await runtime.define("jobs", **options)
        await insist(lambda: queue.insert(*values))
        yield runtime, queue


@attrs.define(eq=False)
class Handler:
    """Notes each delivery, then does what it was told for that attempt of that value."""

    acts: dict[object, list[Callable[[], Awaitable[object]]]] = attrs.field(factory=dict)
    begun: list[tuple[object, int]] = attrs.field(factory=list)
    done: list[object] = attrs.field(factory=list)
    cancelled: list[object] = attrs.field(factory=list)
    now: int = 0  # how many run at this moment
    most: int = 0  # how many ran at once

    async def __call__(self, delivery: Delivery) -> None:
        self.begun.append((delivery.value, delivery.attempt))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            acts = self.acts.get(delivery.value)
            if acts:
                await acts.pop(0)()
        except trio.Cancelled:
            self.cancelled.append(delivery.value)
            raise
        finally:
            self.now -= 1
        self.done.append(delivery.value)


KINDS = ("timed", "channel", "message")


@asynccontextmanager
async def any_queue(
    kind: str, *values: object, dead: str | None = None
) -> AsyncIterator[tuple[Runtime, AnyQueue]]:
    """Run a runtime with a queue ``jobs`` of some kind that holds ``values``.

    Args:
      kind: Its kind.
      *values: What goes in.
      dead: The kind of another queue, ``dead``. None: there is none.
    """
    async with open_runtime() as runtime:
        for name, each in {"dead": dead, "jobs": kind}.items():
            if each is not None:
                timed: dict[str, object] = {"reservation_time": 30} if each == "timed" else {}
                await runtime.define(name, kind=each, **timed)
        await put(runtime.queue("jobs"), *values)
        yield runtime, runtime.queue("jobs")


async def put(queue: AnyQueue, *values: object) -> None:
    """Put values into a queue of whatever kind."""
    for value in values:
        await queue._accept(value)  # noqa: SLF001 - one word for all kinds


def answers(*results: object) -> Callable[[Delivery], Awaitable[object]]:
    """Return a handler that gives one answer after the other, then None; it raises errors."""
    left = list(results)

    async def handler(_delivery: Delivery) -> object:
        await trio.lowlevel.checkpoint()
        result = left.pop(0) if left else None
        if isinstance(result, BaseException):
            raise result
        return result

    return handler


def raises(error: BaseException) -> Callable[[], Awaitable[object]]:
    async def act() -> None:
        await trio.lowlevel.checkpoint()
        raise error

    return act


def lasts(seconds: float) -> Callable[[], Awaitable[object]]:
    async def act() -> None:
        await trio.sleep(seconds)

    return act


def count(worker: Worker, key: str) -> int:
    """Return one of a worker's counts."""
    return worker.status().statistics.counts[key]


def named(events: list[MutableMapping[str, object]], name: str) -> list[dict[str, object]]:
    """Return the facts of the events of one name."""
    return [dict(event) for event in events if event["event"] == name]


async def states(queue: TimedQueue) -> dict[str, int]:
    """Return how many messages there are in each state that has any."""
    numbers = await insist(queue.statistics)
    gauges = attrs.asdict(
        numbers,
        filter=lambda field, value: field.name in STATES and bool(value),
    )
    return {str(name): int(number) for name, number in gauges.items()}


STATES = {"ready", "delayed", "reserved", "buried", "dead"}


@attrs.define(eq=False)
class FaultyStore:
    """A memory store whose queues crash over an operation as often as they are told to.

    Args:
      faults: By operation: how many crashes over it are still to come.
    """

    durable: ClassVar[bool] = False

    faults: dict[str, int] = attrs.field(factory=dict)
    crashes: int = attrs.field(default=0, init=False)
    _memory: MemoryStore = attrs.field(factory=MemoryStore, init=False)

    def child(self, _place: Place) -> None:
        pass

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> Engine:
        engine = await self._memory.open_engine(queue, kind, parked)
        for operation in engine.core.operations:
            engine._methods[operation] = self._faulty(operation, engine._methods[operation])  # noqa: SLF001
        return engine

    def _faulty(self, operation: str, method: Method) -> Method:
        def call(*args: object) -> object:
            if self.faults.get(operation):
                self.faults[operation] -= 1
                self.crashes += 1
                raise Boom(operation)
            return method(*args)

        return call

    async def forget(self, queue: str) -> None:
        await self._memory.forget(queue)

    def close(self) -> None:
        self._memory.close()


def on_a_store(
    store: object,
    *,
    park_above: int | None = None,
    worker_too: Handler | None = None,
    shutdown: float = 5.0,
) -> Config:
    """Return a configuration with a queue ``jobs`` on a store, restarted without delay.

    Args:
      store: The store.
      park_above: The restarts after which the queue is parked. None: there is no such limit.
      worker_too: Handler of the queue's worker ``w``, which restarts together with it.
      shutdown: That worker's.
    """
    on_give_up = "escalate" if park_above is None else "park"
    children: list[dict[str, object]] = [{"queue": "jobs", "on_give_up": on_give_up}]
    workers: dict[str, object] = {}
    if worker_too is not None:
        workers = {"w": {"queue": "jobs", "handler": worker_too, "shutdown": shutdown}}
        children.append({"worker": "w"})
    config = load_config(
        {
            "queue": {"jobs": {"kind": "timed", "reservation_time": 30}},
            "worker": workers,
            "supervisor": {
                "mine": {
                    "strategy": "one_for_one" if worker_too is None else "one_for_all",
                    "intensity": 1000 if park_above is None else park_above,
                    "child": [{**child, "backoff": {"min": 0, "max": 0}} for child in children],
                }
            },
        }
    )
    stored = StoreConfig(type="test", factory=lambda: store, options={})
    return attrs.evolve(config, stores={"memory": stored})
