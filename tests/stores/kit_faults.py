"""An operation while one step of the disk fails after the other: what must hold, for any kind.

Each caller gets an answer; what it says is what happened; nothing is half done, in memory or in the
file; and service goes on by itself once the cause is gone. The measure is a model of the queue.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from queueactors import (
    BatchQueue,
    CapacityQueue,
    LogQueue,
    MessageQueue,
    StoreError,
    TimedQueue,
)
from tests.stores.kit import LONG, Seen, in_memory, on_disk, running
from tests.stores.vfs import Disk, Fault, store_on
from tests.torture import TORTURE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from _pytest.mark import ParameterSet

    from queueactors import Runtime

NS: Final = int(LONG * 1e9)
FAULTS: Final = ("full", "short", "readonly", "io", "fsync", "read")
WAYS: Final = [
    {"on_failure": on_failure, "durability": durability, "commit": commit}
    for on_failure, durability, commit in product(
        ("error", "wait"), ("power", "process"), ("inline", "loop")
    )
]
A_WHILE: Final = 100.0  # seconds, after which the store has tried again
DONE: Final = object()  # of a cast

Queue = TypeVar("Queue", BatchQueue, CapacityQueue, LogQueue, MessageQueue, TimedQueue)
Model = TypeVar("Model")
Held = TypeVar("Held")
T = TypeVar("T")


def sweeps(acts: Iterable[object]) -> list[ParameterSet]:
    """Return acts, faults and options of a store, as parameters of a test.

    Each act with each fault, and the ways to run a store in turn; if tests torture, with each way.
    """
    found = []
    for (turn, act), (other, fault) in product(enumerate(acts), enumerate(FAULTS)):
        ways = [way for way in WAYS if fault != "fsync" or way["durability"] == "power"]
        if TORTURE == 1:
            ways = [ways[(turn + 3 * other) % len(ways)]]
        for way in ways:
            words = *(act if isinstance(act, tuple) else (act,)), fault, *way.values()
            found.append(pytest.param(act, fault, way, id="-".join(words)))
    return found


@attrs.frozen
class Act(Generic[Queue, Model, Held]):
    """An operation, and the same on a model.

    Args:
      real: Calls the queue; it may use two messages that it holds.
      plain: Does it to the model.
      paused: Whether it is done to a queue that is paused.
      holds: Whether it needs them.
      kept: Whether it has happened even if it ends with a `StoreError`: its caller waited for more.
    """

    real: Callable[[Queue, list[Held]], Awaitable[object]]
    plain: Callable[[Model, int, list[Held]], object]
    paused: bool = False
    holds: bool = False
    kept: bool = False


@attrs.define(eq=False)
class Play(Generic[Queue, Model, Held]):
    """Does the same to a queue on a failing disk and to a model."""

    queue: Queue
    disk: Disk
    model: Model
    memory: Callable[[], Seen]
    killed: Callable[[], Seen]  # what would be there if the process were killed now
    answered_at: int = 0  # when the last call was

    @property
    def now(self) -> int:
        return self.queue.clock.now_ns()

    async def prepare(self, act: Act[Queue, Model, Held]) -> list[Held]:
        """Let there be messages in each state; return two that are held."""
        raise NotImplementedError

    async def insert(self) -> None:
        """Put a message in that nobody else would."""
        raise NotImplementedError

    def copied(self) -> Model:
        """Return a model of its own."""
        raise NotImplementedError

    def expected(self) -> Seen:
        """Return what the model says that the queue must be."""
        raise NotImplementedError

    async def shown(self) -> object:
        """Return what users can see."""
        raise NotImplementedError

    def wanted(self) -> object:
        """Return what the model would show them."""
        raise NotImplementedError

    def restarted(self, path: Path) -> None:
        """Let the model be what a restart of the process leaves."""

    async def both(self, act: Act[Queue, Model, Held], held: list[Held]) -> object:
        """Do it while nothing fails."""
        answer = await act.real(self.queue, held)
        assert answer == act.plain(self.model, self.now, held)
        return answer

    async def compare(self, *, either: Model | None = None) -> None:
        """See that all agree: what users see, what is in memory, and what is on disk."""
        user = await self.shown()
        memory, disk = self.memory(), self.killed()
        if either is not None and memory != self.expected():
            self.model = either
        assert memory == self.expected()
        assert user == self.wanted()
        assert disk == memory

    async def fail(
        self, act: Act[Queue, Model, Held], fault: Fault, number: int, *, lasting: bool, waits: bool
    ) -> bool:
        """Let the n-th step fail; return whether there was one."""
        held = await self.prepare(act)
        begun_at = self.now
        self.disk.fail(fault, number, lasting=lasting)

        outcome = await self._call(act, held, lasting=lasting, waits=waits)
        done = self.copied()  # what waited for the store is carried out when it is answered
        early = isinstance(outcome, StoreError) or act.kept
        at = begun_at if early else self.answered_at
        answer = act.plain(done, at, held)

        failed = self.disk.failures > 0
        refused = isinstance(outcome, StoreError) and outcome.outcome == "not applied"
        if refused and not act.kept:
            assert self.killed() == self.expected()
        await self._see_refusal(outcome, failed=failed, lasting=lasting, waits=waits)
        self.disk.heal()
        await trio.sleep(A_WHILE)
        if isinstance(outcome, StoreError):
            assert failed
            if act.kept:
                self.model = done
            unknown = outcome.outcome == "unknown"
            await self.compare(either=done if unknown else None)
        else:
            assert outcome == answer
            before, self.model = self.model, done
            cast_ = answer is DONE and failed  # nobody was told
            await self.compare(either=before if cast_ else None)
        return failed

    async def _call(
        self, act: Act[Queue, Model, Held], held: list[Held], *, lasting: bool, waits: bool
    ) -> object:
        """Return the answer, or the error."""
        outcome: object = None

        async def call() -> None:
            nonlocal outcome
            try:
                outcome = await act.real(self.queue, held)
                self.answered_at = self.now
            except StoreError as error:
                outcome = error

        with trio.fail_after(A_WHILE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                if waits and lasting:
                    await trio.sleep(A_WHILE / 10)
                    self.disk.heal()
        return outcome

    async def _see_refusal(
        self, outcome: object, *, failed: bool, lasting: bool, waits: bool
    ) -> None:
        """While it fails nobody else gets in."""
        if failed and lasting and not waits and isinstance(outcome, StoreError):
            for _ in range(2):
                with pytest.raises(StoreError) as caught:
                    await self.insert()
                assert caught.value.outcome == "not applied"
                await trio.sleep(1)


async def sweep(
    path: Path,
    act: Act[Queue, Model, Held],
    fault: Fault,
    make: Callable[[Runtime], Awaitable[Queue]],
    play: Callable[[Queue, Disk, Callable[[], Seen], Callable[[], Seen]], Play[Queue, Model, Held]],
    **options: object,
) -> int:
    """Let one step after the other fail, once and for a while; return how many there were.

    Args:
      path: The store's file.
      act: What is done.
      fault: What fails.
      make: Defines the queue.
      play: Makes the play, from the queue, the disk, and what is in memory and on disk.
      **options: The store's.
    """
    disk = Disk()
    waits = options.get("on_failure") == "wait"
    steps = 0
    try:
        async with running(path, store_on(disk), **options) as runtime:  # type: ignore[arg-type] # the store's
            killed = partial(on_disk, path, path.with_name("copy.sqlite"))
            played = play(await make(runtime), disk, partial(in_memory, runtime), killed)
            for lasting in (False, True):
                number = 1
                while await played.fail(act, fault, number, lasting=lasting, waits=waits):
                    number += 1
                    steps += 1
        async with running(path) as runtime:
            played.queue = await make(runtime)
            played.memory = partial(in_memory, runtime)
            played.restarted(path)
            await played.compare()
    finally:
        disk.unregister()
    return steps


def swept(
    path: Path,
    act: Act[Queue, Model, Held],
    fault: Fault,
    make: Callable[[Runtime], Awaitable[Queue]],
    play: Callable[[Queue, Disk, Callable[[], Seen], Callable[[], Seen]], Play[Queue, Model, Held]],
    **options: object,
) -> int:
    """Run `sweep`, see `run`."""
    return run(lambda: sweep(path, act, fault, make, play, **options))


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run on a clock that jumps when there is nothing to do, in no thread either.

    Another threshold would not do: on a busy machine a thread may get no turn for longer.
    """
    clock = MockClock(autojump_threshold=0)
    jump, run_sync = clock.jump, trio.to_thread.run_sync
    working = 0  # threads, until their results have arrived

    async def counted(*args: Any, **options: Any) -> object:  # type: ignore[explicit-any] # trio's
        nonlocal working
        working += 1
        try:
            return await run_sync(*args, **options)
        finally:
            working -= 1

    def jump_unless_working(seconds: float) -> None:
        if not working:
            jump(seconds)

    clock.jump = jump_unless_working  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio.to_thread, "run_sync", counted)
        return trio.run(main, clock=clock)
