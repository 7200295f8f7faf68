"""A program that works on queues on a Redis server, and is killed at any moment.

It says in its log what it begins, and what was acknowledged.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from random import Random
from typing import TYPE_CHECKING, Final, Literal, cast

import attrs
import structlog
import trio

from queueactors import ClaimLostError, Config, ReservationError, open_runtime
from queueactors.config import StoreConfig
from queueactors.stores import _redis_server  # noqa: F401 - before the fork: it takes long
from queueactors.stores._redis import RedisStore

if TYPE_CHECKING:
    from queueactors import CapacityQueue, LogQueue, MessageQueue, Runtime, TimedQueue

WORK: Final = "work"
DEAD: Final = "dead"
MOST: Final = 50  # items of the capacity queue
LONG: Final = 86400.0  # seconds that items of the log live
HOLD: Final = 1.5  # seconds that a killed one's message takes to come back


def a_config_of(url: str, prefix: str, clock: Literal["server", "caller"] = "server") -> Config:
    def make() -> RedisStore:
        return RedisStore(url=url, prefix=prefix, on_failure="wait", clock=clock)

    return Config(stores={"memory": StoreConfig(type="redis", factory=make, options={})})


async def define(runtime: Runtime) -> tuple[TimedQueue, TimedQueue]:
    """Define the queues: that of the work, and that of the dead letters."""
    dead = await runtime.define(DEAD, kind="timed", reservation_time=HOLD)
    work = await runtime.define(
        WORK, kind="timed", reservation_time=HOLD, max_reservations=3, on_exhausted=DEAD
    )
    return work, dead


async def define_others(runtime: Runtime) -> tuple[MessageQueue, CapacityQueue, LogQueue]:
    """Define a queue of each other kind."""
    return (
        await runtime.define("message", kind="message", lock_time=HOLD),
        await runtime.define("capacity", kind="capacity", max_elements=MOST),
        await runtime.define("log", kind="log", ttl=LONG),
    )


@attrs.define(eq=False)
class Victim:
    """Works until it is killed.

    Args:
      log: A file descriptor.
      name: What its values begin with.
      random: Its dice.
    """

    log: int
    name: str
    random: Random
    numbers: int = 0

    def write(self, *facts: object) -> None:
        """Append a line: it is written as a whole, or cut short by the kill."""
        os.write(self.log, json.dumps(facts).encode() + b"\n")

    async def insert(self, work: TimedQueue) -> None:
        """Insert, now and then with a delay, and do not get far ahead."""
        while True:
            self.numbers += 1
            value = f"{self.name}.{self.numbers}"
            delay = self.random.choice([0, 0, 0, 0.05])
            self.write("insert", value)
            await work.insert(value, delay=delay)
            self.write("inserted", value)
            while await work.len() > 100:  # noqa: ASYNC110 - nothing else tells
                await trio.sleep(0.01)

    async def take(self, work: TimedQueue) -> None:
        """Reserve, and finish or give back what was reserved."""
        while True:
            taken = await work.reserve()
            self.write("key", taken.key, taken.value)
            try:
                if self.random.random() < 0.4:  # some die, however few there are
                    await work.release(taken, error="bad")
                    continue
                if self.random.random() < 0.1:
                    taken = await work.touch(taken)
                    self.write("key", taken.key, taken.value)
                self.write("finish", taken.value)
                await work.delete(taken)
                self.write("finished", taken.value)
            except ReservationError:  # it stood still for too long
                self.write("late", taken.value)

    def next_value(self) -> str:
        self.numbers += 1
        return f"{self.name}.{self.numbers}"

    async def enqueue(self, queue: MessageQueue) -> None:
        """Enqueue, and do not get far ahead."""
        while True:
            mid = self.next_value()
            self.write("message", "insert", mid)
            await queue.enqueue(mid, mid)
            self.write("message", "inserted", mid)
            while await queue.len() > 100:  # noqa: ASYNC110 - nothing else tells
                await trio.sleep(0.01)

    async def claim(self, queue: MessageQueue) -> None:
        """Claim, and finish what was claimed, or let it come back."""
        while True:
            claim = await queue.claim()
            self.write("message", "key", claim.key, claim.mid)
            try:
                if self.random.random() < 0.2:
                    await claim.finish("retry")
                    continue
                self.write("message", "finish", claim.mid)
                await claim.finish()
                self.write("message", "finished", claim.mid)
            except ClaimLostError:  # it stood still for too long
                self.write("message", "late", claim.mid)

    async def push(self, queue: CapacityQueue) -> None:
        """Push, and wait for room."""
        while True:
            some = [self.next_value() for _ in range(self.random.randint(1, 3))]
            self.write("capacity", "insert", some)
            await queue.wait_push(*(each.encode() for each in some))
            self.write("capacity", "inserted", some)

    async def pop(self, queue: CapacityQueue) -> None:
        """Pop: what the killed one had popped and not noted is lost, by the kind's own rule."""
        while True:
            self.write("capacity", "pop")
            items = await queue.wait_pop()
            self.write("capacity", "popped", [str(each, "utf-8") for each in items])

    async def add(self, queue: LogQueue) -> None:
        """Add, at a moderate pace: all of it stays."""
        while True:
            some = [self.next_value() for _ in range(self.random.randint(1, 3))]
            self.write("log", "insert", some)
            await queue.add(*(each.encode() for each in some))
            self.write("log", "inserted", some)
            await trio.sleep(0.005)

    async def read(self, queue: LogQueue) -> None:
        """Read with a label of one's own, and now and then commit what was read."""
        while True:
            read = await queue.wait_read(self.name, limit=self.random.randint(1, 9))
            self.write(
                "log",
                "read",
                read.position,
                [str(cast("bytes", each), "utf-8") for each in read.items],
            )
            if self.random.random() < 0.8:
                await queue.commit(self.name, read.position)


async def live(url: str, prefix: str, log: int, name: str, kinds: str) -> None:
    """Work."""
    victim = Victim(log, name, Random(name))
    async with open_runtime(a_config_of(url, prefix)) as runtime, trio.open_nursery() as nursery:
        if kinds == "others":
            message, capacity, items = await define_others(runtime)
            for _ in range(2):
                nursery.start_soon(victim.enqueue, message)
                nursery.start_soon(victim.claim, message)
                nursery.start_soon(victim.push, capacity)
                nursery.start_soon(victim.pop, capacity)
                nursery.start_soon(victim.add, items)
            nursery.start_soon(victim.read, items)
            return
        work, _ = await define(runtime)
        for _ in range(3):
            nursery.start_soon(victim.insert, work)
            nursery.start_soon(victim.take, work)


def main() -> None:
    """Fork a process for each line, which works until it is killed: so none has to begin anew."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    url, prefix, kinds = sys.argv[1:]
    for line in sys.stdin:
        file, name = line.split()
        child = os.fork()
        if child == 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            trio.run(live, url, prefix, os.open(file, flags), name, kinds)
            os._exit(1)  # nobody killed it
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
