"""A queue under a supervisor that never gives up, and what its tests share."""

from __future__ import annotations

from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar, cast

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from queueactors import Clock, MemoryStore, TimedOptions, TimedQueue
from queueactors.engines import TAKERS
from queueactors.queues import KINDS, QueueActor
from queueactors.queues._handle import AnyHandle
from queueactors.queues._timed_kind import TimedKind
from supervisors import (
    ActorError,
    Backoff,
    ChildSpec,
    Mailbox,
    Operation,
    PendingReply,
    open_supervisor,
)
from tests.cores.kit import STATES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from queueactors.cores.timed import TimedRecords
    from queueactors.engines import Engine, Method, Parked
    from queueactors.stores import Kind, Place
    from supervisors import StartFunction, Supervisor

NO_BACKOFF = Backoff(min=0, max=0)
NEVER_GIVES_UP = 10**9

T = TypeVar("T")
QueueT = TypeVar("QueueT", bound=AnyHandle)

settle = wait_all_tasks_blocked


class Boom(Exception):  # noqa: N818 - what it is
    """An ordinary crash."""


@attrs.define(eq=False)
class FaultyStore:
    """A memory store whose operations crash before they begin, when ``fault`` says so.

    Args:
      fault: Asked with the number of the operation, from 1 on, and its method.
    """

    durable: ClassVar[bool] = False

    fault: Callable[[int, str], bool] = lambda _number, _method: False
    count: int = 0
    memory: MemoryStore = attrs.field(factory=MemoryStore)

    def child(self, _place: Place) -> None:
        pass

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> Engine:
        engine = await self.memory.open_engine(queue, kind, parked)

        def wrap(method: Method) -> Method:
            def call(*args: object) -> object:
                self.count += 1
                if self.fault(self.count, method.__name__):
                    raise Boom(f"operation {self.count}: {method.__name__}")
                return method(*args)

            return call

        engine.wrap(wrap)
        return engine

    async def forget(self, queue: str) -> None:
        await self.memory.forget(queue)

    def close(self) -> None:
        self.memory.close()


def crash_at(number: int) -> Callable[[int, str], bool]:
    """Crash before the n-th operation, once."""
    return lambda count, _method: count == number


def crash_once(*methods: str) -> Callable[[int, str], bool]:
    """Crash before the next operation of each of these names, once for each mention."""
    left = list(methods)

    def fault(_count: int, method: str) -> bool:
        if method in left:
            left.remove(method)
            return True
        return False

    return fault


@attrs.define(eq=False)
class Rig:
    """A queue named ``q`` and all its parts."""

    queue: TimedQueue
    actor: QueueActor
    store: FaultyStore
    supervisor: Supervisor

    @property
    def mailbox(self) -> Mailbox:
        return self.actor.mailbox

    @property
    def records(self) -> TimedRecords:
        """What the store keeps, to look at without asking the actor."""
        return self.store.memory._records["q"]  # type: ignore[return-value] # noqa: SLF001

    def submit(self, method: str, *args: object, waits: str | None = None) -> PendingReply[object]:
        """Send an operation without waiting for its answer."""
        operation = Operation(method, args, waits=waits)
        self.mailbox.cast(operation)
        return PendingReply(operation)

    def submit_reserve(self, seconds: float = 60) -> PendingReply[object]:
        """Let a taker wait that has no task."""
        return self.submit("reserve", int(seconds * 1e9), waits=TAKERS)


@asynccontextmanager
async def running(
    store: FaultyStore | None = None,
    *,
    intensity: int = NEVER_GIVES_UP,
    backoff: Backoff = NO_BACKOFF,
    **options: object,
) -> AsyncIterator[Rig]:
    """Run a queue; crashes restart it at once, however many there are, unless told otherwise."""
    store = FaultyStore() if store is None else store
    given = TimedOptions(**({"reservation_time": 60} | options))  # type: ignore[arg-type]
    kind = TimedKind("q", given)
    actor = QueueActor(
        "q",
        Clock.open(),
        Mailbox("q", given.mailbox),
        lambda parked: store.open_engine("q", kind, parked),
    )
    spec = ChildSpec(id="q", start=actor, backoff=backoff, on_give_up="park")
    async with open_supervisor([spec], intensity=intensity, period=60) as supervisor:
        yield Rig(TimedQueue(actor, given), actor, store, supervisor)


@attrs.define(eq=False)
class KindRig(Generic[QueueT]):
    """A queue of any kind, and all its parts."""

    queue: QueueT
    actor: QueueActor
    store: FaultyStore
    supervisor: Supervisor
    kind: Kind

    @property
    def mailbox(self) -> Mailbox:
        return self.actor.mailbox

    def records(self) -> object:
        """Return what the store keeps, to look at without asking the actor."""
        return self.store.memory._records[self.queue.name]  # noqa: SLF001


@asynccontextmanager
async def running_kind(
    queue: type[QueueT],
    name: str,
    store: FaultyStore | None = None,
    *,
    intensity: int = NEVER_GIVES_UP,
    **options: object,
) -> AsyncIterator[KindRig[QueueT]]:
    """Run a queue; crashes restart it at once, however many there are, unless told otherwise."""
    store = FaultyStore() if store is None else store
    parts = KINDS[queue.kind]
    given = parts.options(**options)  # type: ignore[arg-type] # the test's
    kind = parts.kind(name, given, None)
    actor = QueueActor(
        name,
        Clock.open(),
        Mailbox(name, given.mailbox),
        lambda parked: store.open_engine(name, kind, parked),
    )
    handle = parts.handle(actor, given, kind, Random(1))
    assert isinstance(handle, queue)
    starts: dict[str, StartFunction] = {name: actor, **handle.companions}
    specs = [
        ChildSpec(id=child, start=start, backoff=NO_BACKOFF, on_give_up="park")
        for child, start in starts.items()
    ]
    async with open_supervisor(specs, intensity=intensity, period=60) as supervisor:
        yield KindRig(handle, actor, store, supervisor, kind)


@attrs.define(eq=False)
class Caller(Generic[T]):
    """Makes one call in a task of its own, and keeps what came of it."""

    call: Callable[[], Awaitable[T]]
    answer: T | None = None
    error: BaseException | None = None
    done: bool = False

    async def run(self) -> None:
        try:
            self.answer = await self.call()
        except Exception as error:  # noqa: BLE001 - that is the point
            self.error = error
        except trio.Cancelled as cancelled:
            self.error = cancelled
            raise
        finally:
            self.done = True

    @property
    def got(self) -> T:
        """The answer, which must be there."""
        assert self.done
        assert self.error is None
        return cast("T", self.answer)


async def start(nursery: trio.Nursery, call: Callable[[], Awaitable[T]]) -> Caller[T]:
    """Start a call and let everything happen that follows at once."""
    caller = Caller(call)
    nursery.start_soon(caller.run)
    await settle()
    return caller


def error_of(reply: PendingReply[object]) -> ActorError | None:
    """Return what a submitted operation that is over failed with."""
    try:
        reply.get_nowait()
    except ActorError as error:
        return error
    return None


async def everything_in(queue: TimedQueue) -> list[object]:
    """Return the values in the queue, in whatever state."""
    found: list[object] = []
    for state in STATES:
        found += [message.value for message in await queue.peek(state, 10**6)]
    return found


@attrs.define(eq=False)
class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks, as a context manager."""

    count: int = 0

    def after_task_step(self, _task: trio.lowlevel.Task) -> None:
        self.count += 1

    def __enter__(self) -> Steps:  # noqa: PYI034
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *_error: object) -> None:
        trio.lowlevel.remove_instrument(self)


@attrs.define(eq=False)
class _CancelAfter(trio.abc.Instrument):
    scope: trio.CancelScope
    steps: int

    def after_task_step(self, _task: trio.lowlevel.Task) -> None:
        self.steps -= 1
        if self.steps == 0:
            self.scope.cancel()


async def cancel_after_every_step_of_all(
    operation: Callable[[], Awaitable[object]], check: Callable[[], Awaitable[object]]
) -> int:
    """Like `cancel_at_every_step`, counting the steps of every task, not of the caller's only.

    It goes on until an operation is over before its step, also when one completes although it
    was cancelled.
    """
    steps = 0
    while True:
        steps += 1
        with trio.CancelScope() as scope:
            spy = _CancelAfter(scope, steps)
            trio.lowlevel.add_instrument(spy)
            try:
                await operation()
            finally:
                trio.lowlevel.remove_instrument(spy)
        await check()
        if not scope.cancel_called:
            return steps
