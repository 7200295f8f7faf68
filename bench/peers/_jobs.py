"""What every measure of jobs shares: the messages, the counting, the pauses, the names.

A job is a message that a worker hands to a function; here the function does nothing. Rates are
messages per second of wall-clock time, from the first enqueue to the end of the last message: one
producer enqueues, while the worker is there already (rq's in burst mode excepted). A wait is from
the call that enqueues to the first line of the function, of a worker that has nothing else to do.

Producer and worker are in one process. Needs nothing but the standard library.
"""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from itertools import islice
from math import ceil
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

MODES = ("memory", "process")
CONCURRENCIES = (1, 50)
PERCENTILES = (50, 99)
BATCH = 100  # messages that the producer has on their way at a time, where it can
PAUSE = 0.05  # seconds, at most, from when a message is handled to the next one
PATIENCE = 60.0  # seconds that a peer gets to handle a message, before it counts as lost
POLL = 0.001  # seconds between two looks, of those that poll and let that be set


def nothing(_value: bytes) -> None:
    """Do nothing: the handler, for those who find it by its name."""


def quantile(values: list[float], percentile: int) -> float:
    """Return the value that so many percent do not exceed; the longest: 100."""
    return sorted(values)[max(ceil(len(values) * percentile / 100) - 1, 0)]


def chunks(messages: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Split messages into lists of at most `BATCH`."""
    source = iter(messages)
    while chunk := list(islice(source, BATCH)):
        yield chunk


def pauses(count: int) -> Iterator[float]:
    """Return so many pauses, in seconds: the same ones for everybody."""
    random = Random(1)
    return (random.uniform(0, PAUSE) for _ in range(count))


class Countdown:
    """Waits for the last of so many messages, which are handled in threads."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._lock = threading.Lock()
        self._over = threading.Event()

    def one(self) -> None:
        """Say that a message has been handled."""
        with self._lock:
            self._left -= 1
            if not self._left:
                self._over.set()

    def wait(self) -> None:
        """Wait for the last one, as long as any is handled now and then."""
        left = None
        while not self._over.wait(PATIENCE):
            if self._left == left:
                raise AssertionError(f"expected all messages to be handled, {left} are not")
            left = self._left


class Entrance:
    """Where a handler in a thread says that it was called; here the next message waits for that."""

    def __init__(self) -> None:
        self._at = 0.0
        self._entered = threading.Event()

    def enter(self) -> None:
        """Say that the handler was called. Its first line."""
        self._at = time.perf_counter()
        self._entered.set()

    def waits(self, enqueue: Callable[[bytes], object], messages: Sequence[bytes]) -> list[float]:
        """Enqueue messages, one at a time; return the seconds that each waited."""
        found: list[float] = []
        for message, pause in zip(messages, pauses(len(messages)), strict=True):
            time.sleep(pause)
            self._entered.clear()
            begin = time.perf_counter()
            enqueue(message)
            if not self._entered.wait(PATIENCE):
                raise AssertionError(f"expected all messages to be handled, {message!r} is not")
            found.append(self._at - begin)
        return found


class AsyncioCountdown:
    """A `Countdown` for messages that are handled in asyncio's loop."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._over = asyncio.Event()

    async def one(self, *_context: object) -> None:
        """Say that a message has been handled: a worker's hook."""
        self._left -= 1
        if not self._left:
            self._over.set()

    async def wait(self) -> None:
        """Wait for the last one, as long as any is handled now and then."""
        left = None
        while left != self._left:
            left = self._left
            try:
                await asyncio.wait_for(self._over.wait(), PATIENCE)
            except TimeoutError:
                continue
            return
        raise AssertionError(f"expected all messages to be handled, {left} are not")


class AsyncioEntrance:
    """An `Entrance` for a handler in asyncio's loop."""

    def __init__(self) -> None:
        self._at = 0.0
        self._entered = asyncio.Event()

    def enter(self) -> None:
        """Say that the handler was called. Its first line."""
        self._at = time.perf_counter()
        self._entered.set()

    async def waits(
        self, enqueue: Callable[[bytes], Awaitable[object]], messages: Sequence[bytes]
    ) -> list[float]:
        """Enqueue messages, one at a time; return the seconds that each waited."""
        found: list[float] = []
        for message, pause in zip(messages, pauses(len(messages)), strict=True):
            await asyncio.sleep(pause)
            self._entered.clear()
            begin = time.perf_counter()
            await enqueue(message)
            await asyncio.wait_for(self._entered.wait(), PATIENCE)
            found.append(self._at - begin)
        return found


async def enqueued(
    enqueue: Callable[[bytes], Awaitable[object]], messages: Iterator[bytes], tasks: int, count: int
) -> float:
    """Let so many tasks of asyncio's loop enqueue so many messages; return those a second."""
    each = count // tasks

    async def task(own: list[bytes]) -> None:
        for message in own:
            await enqueue(message)

    shares = [list(islice(messages, each)) for _ in range(tasks)]
    begin = time.perf_counter()
    await asyncio.gather(*map(task, shares))
    return each * tasks / (time.perf_counter() - begin)


def percentile_of(
    waits: Callable[[str, int], list[float]], mode: str, percentile: int, count: int
) -> float:
    """Return a percentile of the waits of so many messages, in microseconds."""
    return quantile(waits(mode, count), percentile) * 1e6


def measures(
    rate: Callable[[str, int, int], float] | None,
    waits: Callable[[str, int], list[float]] | None,
    *,
    modes: tuple[str, ...] = MODES,
    concurrencies: tuple[int, ...] = CONCURRENCIES,
    suffix: str = "",
) -> dict[str, Callable[[int], float]]:
    """Return all measures of a worker, by name.

    Args:
      rate: Returns the messages a second, of a mode, a concurrency and so many messages. None:
        that is not measured.
      waits: Returns the seconds that so many messages waited, in a mode. None: likewise.
      modes: Those that it has: in memory, or such that what is enqueued outlives its process.
      concurrencies: How many messages may be handled at a time.
      suffix: Of the names: which of several workers it is.
    """
    found: dict[str, Callable[[int], float]] = {}
    for mode in modes:
        if rate is not None:
            for concurrency in concurrencies:
                found[f"{mode}_{concurrency}{suffix}"] = partial(rate, mode, concurrency)
        if waits is not None:
            for percentile in PERCENTILES:
                found[f"{mode}_p{percentile}{suffix}"] = partial(
                    percentile_of, waits, mode, percentile
                )
    return found
