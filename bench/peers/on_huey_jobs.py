"""huey: its consumer with threads. It has no call that enqueues several at once.

Results are off, in memory and in SQLite, where ``fsync=False`` is what it has to offer for
``process``. Its workers look for tasks, then sleep 0.1 s and more if there is none; "polled" ones
1 ms.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from _embedded import values
from _jobs import POLL, Countdown, Entrance, measures
from _measured import answer
from huey import Huey, MemoryHuey, SqliteHuey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLLED = {"initial_delay": POLL, "max_delay": POLL}  # of its consumer


@contextmanager
def new(mode: str) -> Iterator[Huey]:
    with tempfile.TemporaryDirectory() as folder:
        if mode == "memory":
            yield MemoryHuey(results=False)
        else:
            path = str(Path(folder) / "huey.db")
            huey = SqliteHuey(filename=path, fsync=False, timeout=60, results=False)
            yield huey
            huey.storage.close()


@contextmanager
def consumer(
    huey: Huey, handler: Callable[[], None], workers: int, polling: dict[str, float]
) -> Iterator[Callable[[bytes], object]]:
    """Run a consumer; give what enqueues."""

    @huey.task()
    def job(_value: bytes) -> None:
        handler()

    running = huey.create_consumer(workers=workers, periodic=False, **polling)
    running.start()
    yield job
    running.stop(graceful=True)
    assert not huey.pending_count()


def rate(polling: dict[str, float], mode: str, concurrency: int, count: int) -> float:
    left = Countdown(count)  # a task that is taken is gone already: nothing is left to finish
    with new(mode) as huey, consumer(huey, left.one, concurrency, polling) as enqueue:
        begin = time.perf_counter()
        for message in islice(values(), count):
            enqueue(message)
        left.wait()
        return count / (time.perf_counter() - begin)


def waits(polling: dict[str, float], mode: str, count: int) -> list[float]:
    entrance = Entrance()
    with new(mode) as huey, consumer(huey, entrance.enter, 1, polling) as enqueue:
        return entrance.waits(enqueue, list(islice(values(), count)))


answer(
    measures(partial(rate, {}), partial(waits, {}))
    | measures(partial(rate, POLLED), partial(waits, POLLED), suffix="_polled")
)
