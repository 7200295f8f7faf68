"""Ours: a deep timed queue, its core alone. ``python -m bench._deep MEASURE DEPTH``.

Half of the messages are ready, half are reserved. An operation is timed in blocks, each on the
oldest messages in question; between two blocks the queue is brought back to its depth. The
garbage collector is off meanwhile: its pauses are measured by `bench._pauses`. Rates are per
second of CPU time.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from functools import partial
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

from bench.peers._measured import answer, resident_kb
from queueactors.cores.timed import TimedCore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BLOCK = 200  # operations that are timed together, at most
CPU_SECONDS = 0.5  # for all blocks of one measure
HOUR = 3_600_000_000_000  # nanoseconds
CHUNK = 1_000  # messages of one insert while the queue is filled


class Deep:
    """A core with many messages, and what brings it back to them.

    Args:
      depth: How many.
      mixed: Whether priorities and durations differ, so that nothing fits the core's deques.
    """

    def __init__(self, depth: int, *, mixed: bool = False) -> None:
        self.now = time.time_ns()
        self.core = TimedCore()
        self.random = Random(1)
        self.mixed = mixed
        self.block = min(BLOCK, depth // 4)
        self.keys: deque[int] = deque()  # of the reservations, the oldest first
        for _ in range(depth):
            self.insert()
        self.reserve(depth // 2)

    def tick(self) -> int:
        """Return the next instant: no two operations happen at the same one."""
        self.now += 1000
        return self.now

    def duration(self) -> int:
        return HOUR + (self.random.randrange(HOUR) if self.mixed else 0)

    def insert(self, _item: object = None) -> None:
        priority = self.random.randrange(10) if self.mixed else 0
        self.core.insert(self.tick(), (None,), 0, priority)

    def reserve(self, count: int) -> None:
        core, keys = self.core, self.keys
        for _ in range(count):
            taken = core.reserve(self.tick(), self.duration())
            assert taken is not None
            keys.append(taken.key)

    def oldest(self) -> list[int]:
        """Take the keys of the oldest reservations from `keys`."""
        return [self.keys.popleft() for _ in range(self.block)]

    def rate(
        self,
        prepare: Callable[[], Sequence[object]],
        operation: Callable[[object], object],
        restore: Callable[[], object] = lambda: None,
    ) -> float:
        """Return how many operations a second there are of CPU time."""
        spent, count = 0.0, 0
        gc.disable()
        try:
            while spent < CPU_SECONDS:
                items = prepare()
                begin = time.process_time()
                for item in items:
                    operation(item)
                spent += time.process_time() - begin
                count += len(items)
                restore()
        finally:
            gc.enable()
        return count / spent


def insert(depth: int) -> float:
    deep = Deep(depth)
    core, values = deep.core, (None,)

    def restore() -> None:
        deep.reserve(deep.block)
        core.delete(deep.tick(), deep.oldest())

    return deep.rate(lambda: range(deep.block), lambda _: core.insert(deep.tick(), values), restore)


def reserve(depth: int, *, mixed: bool = False) -> float:
    deep = Deep(depth, mixed=mixed)
    core, keys = deep.core, deep.keys

    def prepare() -> list[int]:
        for _ in range(deep.block):
            deep.insert()
        return [deep.duration() for _ in range(deep.block)]

    def take(duration: object) -> None:
        taken = core.reserve(deep.tick(), duration)  # type: ignore[arg-type] # an int
        keys.append(taken.key)  # type: ignore[union-attr] # the queue is not empty

    return deep.rate(prepare, take, lambda: core.delete(deep.tick(), deep.oldest()))


def release(depth: int) -> float:
    deep = Deep(depth)
    core = deep.core
    return deep.rate(
        deep.oldest,
        lambda key: core.release(deep.tick(), key),  # type: ignore[arg-type] # an int
        lambda: deep.reserve(deep.block),
    )


def prolongate(depth: int) -> float:
    deep = Deep(depth)
    core, keys = deep.core, deep.keys
    return deep.rate(
        deep.oldest,
        lambda key: keys.append(core.prolongate(deep.tick(), key, HOUR).key),  # type: ignore[arg-type] # an int
    )


def touch(depth: int) -> float:
    deep = Deep(depth)
    core, keys = deep.core, deep.keys
    return deep.rate(
        deep.oldest,
        lambda key: keys.append(core.touch(deep.tick(), key, HOUR).key),  # type: ignore[arg-type] # an int
    )


def delete(depth: int) -> float:
    deep = Deep(depth)
    core = deep.core

    def restore() -> None:
        for _ in range(deep.block):
            deep.insert()
        deep.reserve(deep.block)

    return deep.rate(deep.oldest, lambda key: core.delete(deep.tick(), (key,)), restore)  # type: ignore[arg-type] # an int


def expire(depth: int) -> float:
    """Let reservations end by themselves, each at an instant of its own."""
    deep = Deep(depth)
    core = deep.core
    ends = deque(message.deadline_at for message in core.records.messages.values() if message.key)

    def prepare() -> list[int]:
        due = [ends.popleft() for _ in range(deep.block)]
        deep.now = due[-1]
        return due

    def restore() -> None:
        for _ in range(deep.block):
            taken = core.reserve(deep.tick(), HOUR)
            assert taken is not None
            ends.append(taken.deadline_at)

    return deep.rate(prepare, lambda due: core.advance(due), restore)  # type: ignore[arg-type] # noqa: PLW0108 - an int


def peek(depth: int) -> float:
    deep = Deep(depth)
    return deep.rate(lambda: range(10), lambda _: deep.core.peek(deep.tick()))


def statistics(depth: int) -> float:
    deep = Deep(depth)
    return deep.rate(lambda: range(deep.block), lambda _: deep.core.statistics(deep.tick()))


def memory(depth: int, *, reserved: bool) -> float:
    """Return the bytes that a message takes, without its value."""
    core = TimedCore()
    now = time.time_ns()
    before = resident_kb()
    values = (None,) * CHUNK
    for _ in range(depth // CHUNK):
        now += 1000
        core.insert(now, values)
        if reserved:
            core.reserve_many(now, CHUNK, HOUR)
    core.insert(now, tuple(islice(values, depth % CHUNK)))
    return (resident_kb() - before) * 1024 / depth


OPERATIONS: dict[str, Callable[[int], float]] = {
    "insert": insert,
    "reserve": reserve,
    "reserve, mixed times": partial(reserve, mixed=True),
    "release": release,
    "prolongate": prolongate,
    "touch": touch,
    "delete": delete,
    "expiry": expire,
    "peek": peek,
    "statistics": statistics,
}
MEASURES = OPERATIONS | {
    "memory": partial(memory, reserved=False),
    "memory_reserved": partial(memory, reserved=True),
}

if __name__ == "__main__":
    answer(MEASURES)
