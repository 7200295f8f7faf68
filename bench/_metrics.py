"""Ours: what metrics cost. ``python -m bench._metrics MEASURE COUNT``.

Each measure runs in a process of its own. CPU time, the least of some rounds: what others do on the
machine only adds.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
import trio

from bench.peers._measured import answer
from queueactors import open_runtime
from queueactors._histogram import Doubling
from queueactors.control._watch import Watch
from queueactors.metrics._text import TEXT
from queueactors.queues import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queueactors import Runtime

ROUNDS: Final = 10
QUEUES: Final = 1000


def least(measure: Callable[[], object]) -> float:
    """Return the CPU seconds of the fastest round."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        measure()
        seconds.append(time.process_time() - start)
    return min(seconds)


def operation_ns(count: int) -> float:
    """Return what a queue does more for an operation that is alone in its turn: the worst case."""
    turns = Doubling(BATCH)
    batch = [None]

    def without() -> None:
        for _ in range(count):
            pass

    def counted() -> None:
        for _ in range(count):
            if batch and turns is not None:
                turns.observe(len(batch))

    return max(least(counted) - least(without), 0.0) / count * 1e9


def scrape(measure: Callable[[Runtime], float], queues: int) -> float:
    """Return the milliseconds of a part of a scrape, with so many queues."""

    async def run() -> float:
        tables = {
            f"queue{number}": {"kind": "timed", "reservation_time": 30} for number in range(queues)
        }
        async with open_runtime({"queue": tables}) as runtime:
            return measure(runtime) * 1e3

    return trio.run(run)


def _piece(runtime: Runtime) -> float:
    """Return the longest time in which nothing else runs, of the best round."""

    def pieces() -> Iterator[object]:
        metrics = yield from runtime._metrics_steps()  # noqa: SLF001 - as the endpoint does
        yield None
        yield from TEXT.chunks(metrics)

    def longest() -> float:
        seconds, before = 0.0, time.process_time()
        for _ in pieces():
            now = time.process_time()
            seconds, before = max(seconds, now - before), now
        return seconds

    return min(longest() for _ in range(ROUNDS))


def watch(queues: int, measure: Callable[[Watch], float]) -> float:
    """Return a measure of what a `top` of so many idle queues costs."""

    def measured(runtime: Runtime) -> float:
        seen = Watch(runtime)
        for _ in seen._steps():  # noqa: SLF001 - the first is everything
            pass
        return measure(seen) / 1e3

    return scrape(measured, queues)


def _second(seen: Watch) -> float:
    """Return the CPU milliseconds of a snapshot, and of what is sent of it."""

    def round_() -> None:
        for _ in seen._steps():  # noqa: SLF001 - without its waits
            pass
        seen.since(seen.round - 1, 1.0)

    return least(round_) * 1e3


def _bytes(seen: Watch) -> float:
    return float(len(seen.since(seen.round, 1.0)))


def _step(seen: Watch) -> float:
    """Return the longest time in which nothing else runs, in ms, of the best round."""

    def longest() -> float:
        seconds, before = 0.0, time.process_time()
        for _ in seen._steps():  # noqa: SLF001 - likewise
            now = time.process_time()
            seconds, before = max(seconds, now - before), now
            before = time.process_time()
        return max(seconds, time.process_time() - before)

    return min(longest() for _ in range(ROUNDS)) * 1e3


MEASURES: dict[str, Callable[[int], float]] = {
    "operation": operation_ns,
    "snapshot": partial(scrape, lambda runtime: least(runtime.metrics)),
    "text": partial(scrape, lambda runtime: least(runtime.metrics().text)),
    "piece": partial(scrape, _piece),
    "top": partial(watch, measure=_second),
    "top_piece": partial(watch, measure=_step),
    "top_bytes": partial(watch, measure=_bytes),
}


def run(name: str, count: int) -> float:
    """Return one measure."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    return MEASURES[name](count)


if __name__ == "__main__":
    answer({name: partial(run, name) for name in MEASURES})
