"""What the virtual days of load have in common: clients, crashes, noons, and the memory in use."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Protocol

import attrs
import trio
from trio.lowlevel import ParkingLot

from queueactors import Config, MemoryStore, QueueFullError
from queueactors.config import StoreConfig
from supervisors import ActorCrashedError, ActorDownError
from tests.torture import TORTURE

from .kit import FaultyStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from queueactors import Runtime, TimedQueue
    from supervisors import Operation
    from tests.conftest import Events

DAYS = 2 + TORTURE
DAY = 86_400  # seconds, and operations
CLIENTS = 60  # who act at the same instants, to save jumps of the clock
CRASH_EVERY = 3_001  # operations of the queue, those of a worker among them
TOLERANCE = 0.1  # bytes an operation; a leak of one pointer would be 8


@attrs.define(eq=False)
class Crashes:
    """Which operations of a queue crash, and how many of each did."""

    calm: bool = False  # none does
    count: Counter[str] = attrs.field(factory=Counter)

    def __call__(self, number: int, method: str) -> bool:
        if self.calm or number % CRASH_EVERY:
            return False
        self.count[method] += 1
        return True

    def config(self) -> Config:
        """Return a configuration whose default store crashes, and with another that is calm."""
        stores = {
            "memory": StoreConfig(type="faulty", factory=lambda: FaultyStore(self), options={}),
            "calm": StoreConfig(type="memory", factory=MemoryStore, options={}),
        }
        return Config(stores=stores)


class _Queue(Protocol):
    @property
    def _mailbox(self) -> object: ...


@attrs.define(eq=False)
class Soak:
    """One random operation after the other: a subclass has them, in `mix`, by their weights.

    Args:
      crashes: What the queues' store does.
      random: Chooses.
    """

    crashes: Crashes
    random: Random
    casts: int = attrs.field(default=0, init=False)  # that went in
    sent: list[tuple[Operation, int]] = attrs.field(factory=list, init=False)  # not counted yet
    mix: ClassVar[dict[Callable[..., Awaitable[None]], int]]  # type: ignore[explicit-any] # its own

    async def step(self) -> None:
        """Carry out one random operation."""
        (operation,) = self.random.choices([*self.mix], [*self.mix.values()])
        # It is noon; or it has not happened; or there was no room, or nothing to wait for.
        with suppress(ActorDownError, ActorCrashedError, QueueFullError, trio.TooSlowError):
            await operation(self)

    def cast(self, queue: _Queue, items: int = 1) -> None:
        """Remember the last cast to a queue, which brings so many items."""
        self.sent.append((queue._mailbox._queue[-1], items))  # type: ignore[attr-defined] # noqa: SLF001
        self.count_casts()

    def count_casts(self) -> None:
        """Count those that went in: not one that crashed, or was on its way at noon."""
        done = [each for each in self.sent if each[0].state == "done"]
        self.sent = [each for each in self.sent if each[0].state != "done"]
        self.casts += sum(items for operation, items in done if operation.error is None)

    async def day(self, runtime: Runtime, events: Events, *at_noon: str) -> None:
        """Let the clients work; at noon some children are restarted, but not on a calm day."""
        tick = ParkingLot()  # one sleep for all: it costs more than their operations

        async def client() -> None:
            while True:
                await tick.park()
                await self.step()

        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(client)
            for second in range(0, DAY, CLIENTS):
                await trio.sleep(CLIENTS)
                tick.unpark_all()
                if second == DAY // 2 and not self.crashes.calm:
                    for child in at_noon:
                        await runtime.restart(child)
                    events.clear()
            await trio.sleep(CLIENTS)
            nursery.cancel_scope.cancel()


async def take_all(queue: TimedQueue) -> list[object]:
    """Take everything out of a queue for dead letters."""
    found = []
    while (letter := await queue.try_reserve()) is not None:
        await queue.delete(letter)
        found.append(letter.value)
    return found


def memory() -> int:
    """Return how much the program has in use: bytes of what is tracked, blocks of the rest."""
    gc.collect()
    return sum(map(sys.getsizeof, gc.get_objects())) + 64 * sys.getallocatedblocks()
