"""rq: a worker in burst mode, which begins when all jobs are there, with no results kept.

Jobs are enqueued by `enqueue_many`, a hundred at a time: one pipeline. A `Worker` forks for each
job, a `SimpleWorker` does not. Either handles one at a time.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import islice

from _embedded import values
from _jobs import BATCH, chunks, measures, nothing
from _measured import answer
from _server import server
from redis import Redis
from rq import Queue, SimpleWorker, Worker


class Timed:
    """Knows when a worker was done; then it waits up to a second for a thread of its own."""

    def teardown(self) -> None:
        self.done_at = time.perf_counter()
        super().teardown()


class Forking(Timed, Worker):
    pass


class Simple(Timed, SimpleWorker):
    pass


def rate(worker: type[Forking | Simple], mode: str, _concurrency: int, count: int) -> float:
    with server(mode) as running, Redis(port=running.port) as redis:
        queue = Queue(connection=redis)
        begin = time.perf_counter()
        for chunk in chunks(islice(values(), count)):
            queue.enqueue_many(
                [Queue.prepare_data(nothing, (message,), result_ttl=0) for message in chunk]
            )
        working = worker([queue], connection=redis)
        working.work(burst=True, logging_level="WARNING")
        assert not queue.count
        assert not len(queue.failed_job_registry)
        return count / (working.done_at - begin)


def enqueues(size: int, count: int) -> float:
    """Return the jobs a second that are put in: one by one, or so many at a time."""
    with server("memory") as running, Redis(port=running.port) as redis:
        queue = Queue(connection=redis)
        source = islice(values(), count)
        begin = time.perf_counter()
        if size == 1:
            for message in source:
                queue.enqueue(nothing, message, result_ttl=0)
        else:
            for chunk in chunks(source):
                queue.enqueue_many(
                    [Queue.prepare_data(nothing, (message,), result_ttl=0) for message in chunk]
                )
        spent = time.perf_counter() - begin
        assert queue.count == count
        return count / spent


def of(worker: type[Forking | Simple], suffix: str) -> dict[str, partial[float]]:
    return measures(partial(rate, worker), None, concurrencies=(1,), suffix=suffix)


answer(
    of(Forking, "")
    | of(Simple, "_simple")
    | {f"enqueues_{size}": partial(enqueues, size) for size in (1, BATCH)}
)
