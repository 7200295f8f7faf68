"""The rows of the Redis store: beside the same client without our queues, and job queues."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Final

from bench._job_rows import ARQ, RQ, SAQ, VALKEY, WORKERS
from bench._peers import Environment, here
from bench._redis import PROCESSES, TASKS
from bench._stores import TRIO
from bench._table import Peer, Row
from bench.peers._jobs import CONCURRENCIES, PERCENTILES

TASKIQ: Final = Environment(
    name="taskiq",
    script="on_taskiq.py",
    requires=("taskiq==0.13.0", "taskiq-redis==1.2.4", VALKEY, TRIO),
    least=(3, 11),
)
ENVIRONMENTS: Final = (RQ, SAQ, ARQ, TASKIQ)

FEWER = 10  # times fewer messages, where each of one task's is waited for
SAMPLES = 50  # times fewer wake-ups: there is a pause before each
MANY = 100  # times fewer queues than a deep queue has messages
SHALLOW, MIDDLE = 1_000, 100_000  # messages
SET, SETS, SCRIPTS = "SET, one a call", "SET, pipelines of 100", "the same scripts, bare loop"
FASTER, FASTEST = ">= 8x", ">= 10x"  # 50 tasks beside one SET a call, and beside a job's enqueue
WHAT: Final = {
    "inserts": "inserts",
    "cycles": "insert+reserve+delete",
    "insert_batches": "inserts, batches of 100",
    "batches": "insert+reserve+delete, batches of 100",
    "enqueues": "enqueues",
    "handles": "enqueue+claim+finish",
    "pushes": "capacity, push of 100",
    "pops": "capacity, push+pop of 100",
    "adds": "log, add of 100",
    "nexts": "log, add+next of 100",
}
LISTS: Final = ("insert_batches", "batches", "pushes", "pops", "adds", "nexts")
ENQUEUES: Final = {  # by how many tasks, the peers' measures
    1: (
        (RQ, "rq", "enqueues_1"),
        *((each, each.name, "enqueues_1") for each in (SAQ, ARQ, TASKIQ)),
    ),
    50: (
        (RQ, "rq, one by one", "enqueues_1"),
        (RQ, "rq, pipelines of 100", "enqueues_100"),
        *((each, each.name, "enqueues_50") for each in (SAQ, ARQ, TASKIQ)),
    ),
}


def _shape(tasks: int, processes: int) -> str:
    told = "1 task" if tasks == 1 else f"{tasks} tasks"
    return told if processes == 1 else f"{processes} processes x {told}"


def _ours(name: str, measure: str, count: int, target: str = "") -> Peer:
    return Peer(name=name, measure=partial(here, "_redis", measure, count), target=target)


def _enqueues(tasks: int, count: int, target: str = "") -> tuple[Peer, ...]:
    return tuple(
        Peer(
            name=name,
            measure=partial(environment.measure, measure, max(count // FEWER, 100)),
            target="" if measure == "enqueues_100" else target,
        )
        for environment, name, measure in ENQUEUES[tasks]
    )


def _row(work: str, tasks: int, processes: int, count: int, *peers: Peer) -> Row:
    return Row(
        what=f"redis: {WHAT[work]}, {_shape(tasks, processes)}",
        ours=partial(here, "_redis", f"{work}_{tasks}_{processes}", count),
        peers=peers,
    )


def _timed(messages: int) -> list[Row]:
    """Return the rows of a timed queue's operations a second."""
    found = []
    for tasks, processes, work in product(TASKS, PROCESSES, ("inserts", "cycles")):
        count = _count(tasks, messages)
        target = FASTER if (work, tasks, processes) == ("inserts", 50, 1) else ""
        peers = [_ours(SET, f"sets_{tasks}_{processes}", count, target)]
        if processes == 1:
            peers += [
                _ours(SETS, f"pipelines_{tasks}_1", messages),
                _ours(SCRIPTS, f"{work}_{tasks}_ceiling", count),
            ]
            if work == "inserts" and tasks in ENQUEUES:
                peers += _enqueues(tasks, count, FASTEST if tasks == 50 else "")
        found.append(_row(work, tasks, processes, count, *peers))
    return found


def _others(messages: int) -> list[Row]:
    """Return the rows of the operations a second of the other kinds, and of lists of them."""
    found = []
    shapes = (1, 1), (50, 1), (500, 1), (50, 4)
    for work, (tasks, processes) in product(("enqueues", "handles"), shapes):
        count = _count(tasks, messages)
        peers = [_ours(SET, f"sets_{tasks}_{processes}", count)]
        if work == "enqueues" and tasks in ENQUEUES and processes == 1:
            peers += _enqueues(tasks, count)
        found.append(_row(work, tasks, processes, count, *peers))
    for work, tasks in product(LISTS, (1, 50)):
        sets = _ours(SETS, f"pipelines_{tasks}_1", messages)
        found.append(_row(work, tasks, 1, messages, sets))
    return found


def _count(tasks: int, messages: int) -> int:
    return max(messages // FEWER, 100) if tasks == 1 else messages


def _server(messages: int) -> list[Row]:
    """Return the rows of what the server spends."""
    found = []
    for work in ("inserts", "cycles", "enqueues", "handles", "pops", "nexts"):
        for tasks in (1, 50) if work in LISTS else TASKS:
            count = messages if work in LISTS else _count(tasks, messages)
            measure = f"{work}_{tasks}_1"
            shape = f"{WHAT[work]}, {_shape(tasks, 1)}"
            found += [
                Row(
                    what=f"redis: server, {shape}",
                    ours=partial(here, "_redis", f"{measure}_cpu", count),
                    peers=(
                        _ours("in scripts, of that", f"{measure}_script", count),
                        _ours(SET, f"sets_{tasks}_1_cpu", count),
                    ),
                    unit="CPU us",
                    less_is_better=True,
                ),
                Row(
                    what=f"redis: a script, {shape}",
                    ours=partial(here, "_redis", f"{measure}_batch", count),
                    unit="calls",
                    rounds=1,
                ),
            ]
    return found


def _waits(messages: int) -> list[Row]:
    """Return the rows of how long whoever waits is not woken."""
    count = max(messages // SAMPLES, 5)
    return [
        Row(
            what=f"redis: another process wakes, p{percentile}",
            ours=partial(here, "_redis", f"wake_up_p{percentile}", count),
            peers=(_ours("RPUSH wakes BLPOP", f"pop_p{percentile}", count),),
            unit="us",
            less_is_better=True,
            rounds=1,
        )
        for percentile in PERCENTILES
    ]


def _jobs(messages: int) -> list[Row]:
    """Return the rows of jobs, from enqueue to finished; the servers keep nothing on the disk."""
    count = max(messages // FEWER, 10)
    few = max(count // FEWER, 5)

    def peers(concurrency: int) -> tuple[Peer, ...]:
        found = [
            worker.peer(f"memory_{concurrency}", count // worker.share)
            for worker in WORKERS
            if worker.environment in ENVIRONMENTS and concurrency in worker.concurrencies
        ]
        own = partial(TASKIQ.measure, f"memory_{concurrency}", count)
        return (*found, Peer(name=TASKIQ.name, measure=own))

    rates = [
        Row(
            what=f"redis: jobs, enqueue to finished, concurrency {concurrency}",
            ours=partial(here, "_jobs", f"redis_{concurrency}", count),
            peers=peers(concurrency),
        )
        for concurrency in CONCURRENCIES
    ]
    waits = [
        Row(
            what=f"redis: jobs, idle worker picks up, p{percentile}",
            ours=partial(here, "_jobs", f"redis_p{percentile}", few),
            peers=(
                *(
                    worker.peer(f"memory_p{percentile}", few // worker.waits)
                    for worker in WORKERS
                    if worker.environment in ENVIRONMENTS and worker.waits is not None
                ),
                Peer(
                    name=TASKIQ.name,
                    measure=partial(TASKIQ.measure, f"memory_p{percentile}", few),
                ),
            ),
            unit="us",
            less_is_better=True,
            rounds=1,
        )
        for percentile in PERCENTILES
    ]
    return [*rates, *waits]


def _growth(depth: int) -> list[Row]:
    """Return the rows of many queues and of deep ones; their peers are fewer, and less deep."""

    def rows(  # noqa: PLR0913, PLR0917 - all in one place
        what: str, work: str, kind: str, most: int, less: list[int], told: str, target: str = ""
    ) -> list[Row]:
        return [
            Row(
                what=f"redis: {what}{', server' if suffix else ''}",
                ours=partial(here, "_redis", f"{kind}_{work}{suffix}", most),
                peers=tuple(
                    Peer(
                        name=f"the same, {few:,} {told}",
                        measure=partial(here, "_redis", f"{kind}_{work}{suffix}", few),
                        target=target if few == less[0] and suffix == "" else "",
                    )
                    for few in less
                ),
                unit="CPU us" if suffix else "/s",
                less_is_better=bool(suffix),
                rounds=1,
            )
            for suffix in ("", "_cpu")
        ]

    queues = max(depth // MANY, 2)
    found = []
    for work in ("inserts", "cycles"):
        found += rows(
            f"{WHAT[work]}, {queues:,} queues",
            work,
            "many",
            queues,
            sorted({1, max(queues // 100, 1)}),
            "queues",
        )
        found += rows(
            f"{WHAT[work]}, {depth:,} deep",
            work,
            "deep",
            depth,
            sorted({min(SHALLOW, depth), min(MIDDLE, depth)}),
            "deep",
            ">= 0.5x" if work == "cycles" else "",
        )
    found.append(
        Row(
            what=f"redis: memory of a message, {depth:,} deep, server",
            ours=partial(here, "_redis", "memory", depth),
            unit="B",
            rounds=1,
        )
    )
    return found


def redis(messages: int, depth: int) -> list[Row]:
    """Return the rows.

    Args:
      messages: How many a round, fewer where one task waits for each.
      depth: Of a deep queue; a hundredth of it: how many queues there are.
    """
    return [
        *_timed(messages),
        *_others(messages),
        *_waits(messages),
        *_jobs(messages),
        *_server(messages),
        *_growth(depth),
    ]
