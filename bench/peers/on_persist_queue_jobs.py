"""persist-queue's queue with acknowledgements, on SQLite: threads that get, and ack.

It has no worker; this is the loop of its documentation. Its puts and acks commit one by one. A
sync a commit is SQLite's default; ``process`` turns that down on the connection that writes.
"""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from _embedded import values
from _jobs import Countdown, Entrance, measures, nothing
from _measured import answer
from persistqueue import SQLiteAckQueue
from persistqueue.exceptions import Empty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Its `get` may miss the put that it waits for, and look again after 10 s: a shorter wait helps.
WAIT = 0.01  # seconds


@contextmanager
def workers(
    concurrency: int, handler: Callable[[bytes], None], after: Callable[[], None]
) -> Iterator[SQLiteAckQueue]:
    """Run so many workers on a new queue."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                item = queue.get(timeout=WAIT, raw=True)
            except Empty:
                continue
            handler(item["data"])
            queue.ack(id=item["pqid"])
            after()

    with tempfile.TemporaryDirectory() as folder:
        queue = SQLiteAckQueue(folder, multithreading=True)
        queue._putter.execute("PRAGMA synchronous = NORMAL")  # noqa: SLF001 - no option
        threads = [threading.Thread(target=work) for _ in range(concurrency)]
        for thread in threads:
            thread.start()
        try:
            yield queue
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not queue.active_size()
        queue.close()


def rate(_mode: str, concurrency: int, count: int) -> float:
    left = Countdown(count)
    with workers(concurrency, nothing, left.one) as queue:
        begin = time.perf_counter()
        for message in islice(values(), count):
            queue.put(message)
        left.wait()
        return count / (time.perf_counter() - begin)


def waits(_mode: str, count: int) -> list[float]:
    entrance = Entrance()
    with workers(1, lambda _: entrance.enter(), lambda: None) as queue:
        return entrance.waits(queue.put, list(islice(values(), count)))


answer(measures(rate, waits, modes=("process",)))
