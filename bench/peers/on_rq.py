"""rq: a worker in burst mode, which begins when all jobs are there, with no results kept.

Jobs are enqueued by `enqueue_many`, a hundred at a time: one pipeline. A `Worker` forks for each
job, a `SimpleWorker` does not. Either handles one at a time.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import islice

from _embedded import values
from _jobs import chunks, measures, nothing
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


def of(worker: type[Forking | Simple], suffix: str) -> dict[str, partial[float]]:
    return measures(partial(rate, worker), None, concurrencies=(1,), suffix=suffix)


answer(of(Forking, "") | of(Simple, "_simple"))
