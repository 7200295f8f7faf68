"""The rows of the durable store: ours and the peers, on the same disk."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from functools import partial

from bench._peers import Environment, here
from bench._table import Peer, Row
from bench.peers._embedded import BATCH

TRIO = "trio==0.35.0"
ROCKSQ = Environment(
    name="rocksq",
    script="on_rocksq.py",
    requires=("rocksq==0.3.0", TRIO),
    least=(3, 11),
    below=(3, 13),
)
PERSIST_QUEUE = Environment(
    name="persist-queue",
    script="on_persist_queue.py",
    requires=("persist-queue==1.1.0", TRIO),
    least=(3, 11),
)
LITEQUEUE = Environment(
    name="litequeue",
    script="on_litequeue.py",
    requires=("litequeue==0.14", TRIO),
    least=(3, 12),
)
HUEY = Environment(
    name="huey",
    script="on_huey.py",
    requires=("huey==3.5.4", TRIO),
    least=(3, 11),
)
ON_SQLITE = (PERSIST_QUEUE, LITEQUEUE, HUEY)
ENVIRONMENTS = (ROCKSQ, *ON_SQLITE)

SLOW = 5  # times fewer messages: a commit waits for the disk, or a task for its own answer
SYNCS = 200  # that are timed
ROCKSQ_WAYS = {"rocksq": "", "rocksq, in threads": "_threads", "rocksq, polled": "_nonblocking"}
TARGETS = {"process": ">= 2.2x", "power": ">= 10x"}  # of 50 tasks beside raw sqlite3


def describe_disk() -> str:
    """Return where the measured files are, and how long a sync takes there."""
    spent: list[float] = []
    with tempfile.TemporaryFile() as file:
        for _ in range(SYNCS):
            file.write(bytes(4096))
            file.flush()
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            spent.append(time.perf_counter() - begin)
    return (
        f"disk: {tempfile.gettempdir()}, write and sync of 4 KiB "
        f"{statistics.median(spent) * 1e6:,.0f} us"
    )


def _raw(measure: str, count: int, name: str = "raw sqlite3", target: str = "") -> Peer:
    return Peer(name=name, measure=partial(here, "_raw_sqlite", measure, count), target=target)


def _others(mode: str, measure: str, count: int, target: str = "") -> list[Peer]:
    """Return the peers from the package index. rocksq never syncs, so it has no ``power``."""
    found = [
        Peer(
            name=environment.name,
            measure=partial(environment.measure, f"{mode}_{measure}", count),
            target=target,
        )
        for environment in ON_SQLITE
    ]
    if mode == "process":
        found += [
            Peer(
                name=name,
                measure=partial(ROCKSQ.measure, f"{mode}_{measure}{way}", count),
                target=target,
            )
            for name, way in ROCKSQ_WAYS.items()
        ]
    return found


def _rates(mode: str, messages: int) -> list[Row]:
    """Return the rows of messages a second."""
    many = messages // (SLOW if mode == "power" else 1)
    few = max(messages // SLOW, BATCH)

    def row(what: str, measure: str, count: int, *peers: Peer) -> Row:
        return Row(
            what=f"sqlite, {mode}: {what}",
            ours=partial(here, "_durable", f"{mode}_{measure}", count),
            peers=peers,
        )

    def memory(measure: str, count: int) -> Peer:
        return Peer(
            name="ours in memory", measure=partial(here, "_durable", f"memory_{measure}", count)
        )

    found: list[Row] = []
    for what in ("inserts", "reserves", "deletes"):
        for tasks in (1, 50, 500):
            count = few if tasks == 1 else many
            target = TARGETS[mode] if (what, tasks) == ("inserts", 50) else ""
            peers = [_raw(f"{mode}_{what}", count, target=target)]
            if (what, tasks) == ("inserts", 50):
                peers += [*_others(mode, "inserts_50", few), memory("inserts_50", messages)]
            if what == "inserts" and tasks > 1:
                batched = _raw(f"{mode}_insert_batches", messages, "raw sqlite3, batches of 100")
                peers.insert(1, batched)
            found.append(row(f"{what}, {_tasks(tasks)}", f"{what}_{tasks}", count, *peers))
    found += [
        row(
            "inserts, batches of 100",
            "insert_batches",
            messages,
            _raw(f"{mode}_insert_batches", messages),
            *_others(mode, "insert_batches", few),
            memory("insert_batches", messages),
        ),
        row(
            "inserts, 50 tasks, busy loop",
            "busy_50",
            many,
            Peer(
                name="ours in memory",
                measure=partial(here, "_durable", "memory_busy_50", messages),
            ),
        ),
    ]
    found += [
        row(
            f"insert+reserve+delete, {_tasks(tasks)}",
            f"cycles_{tasks}",
            few,
            _raw(f"{mode}_cycles", few),
            *_others(mode, f"cycles_{tasks}", few, ">= 1x" if tasks == 50 else ""),
        )
        for tasks in (1, 50)
    ]
    found.append(
        row(
            "insert+reserve+delete, batches of 100",
            "batches",
            messages,
            _raw(f"{mode}_batches", messages),
            *_others(mode, "batches", few, ">= 1x"),
        )
    )
    return found


def _times(mode: str, messages: int) -> list[Row]:
    """Return the rows of how long a call takes, and of how long others wait."""
    few = max(messages // SLOW, BATCH)
    calls = [
        Row(
            what=f"sqlite, {mode}: an insert, {_tasks(tasks)}, p{percentile}",
            ours=partial(here, "_durable", f"{mode}_p{percentile}_{tasks}", few),
            peers=(_raw(f"{mode}_p{percentile}", few),),
            unit="us",
            less_is_better=True,
        )
        for tasks in (1, 50, 500)
        for percentile in (50, 99)
    ]
    jitter = [
        Row(
            what=f"sqlite, {mode}: loop beside 50 tasks, {what}",
            ours=partial(here, "_durable", f"{mode}_{measure}_50", messages),
            peers=(
                Peer(
                    name="ours in memory",
                    measure=partial(here, "_durable", f"memory_{measure}_50", messages),
                ),
            ),
            unit="ms",
            less_is_better=True,
        )
        for measure, what in (("longest", "longest"), ("late", "p99"))
    ]
    return [*calls, *jitter]


def _named(mode: str, messages: int) -> list[Row]:
    """Return the rows of a message queue; its peers are the timed queue, and itself in memory."""

    def row(what: str, measure: str, timed: str | None, count: int) -> Row:
        memory = partial(here, "_named", f"memory_{measure}", count)
        peers = [Peer(name="ours in memory", measure=memory)]
        if timed is not None:
            same = partial(here, "_durable", f"{mode}_{timed}", count)
            peers.insert(0, Peer(name="ours, timed queue", measure=same))
        return Row(
            what=f"sqlite, {mode}: messages, {what}",
            ours=partial(here, "_named", f"{mode}_{measure}", count),
            peers=tuple(peers),
        )

    few = messages // 10
    return [
        row("enqueues, 50 tasks", "enqueues_50", "inserts_50", messages),
        row("claim+finish, 50 tasks", "handles_50", None, messages),
        row("cycles, 1 task", "cycles_1", "cycles_1", few),
        row("cycles, 50 tasks", "cycles_50", "cycles_50", messages),
        row("cycles, batches of 100", "batches", "batches", messages),
    ]


def _files(cycles: int, depth: int) -> list[Row]:
    """Return the rows of the file's size, and of opening it again."""
    sizes = [
        Row(
            what=f"sqlite: size after {cycles:,} cycles, {state}",
            ours=partial(here, "_durable", measure, cycles),
            peers=tuple(
                Peer(name=environment.name, measure=partial(environment.measure, measure, cycles))
                for environment in ENVIRONMENTS
            ),
            unit="MB",
            less_is_better=True,
            rounds=1,
        )
        for state, measure in (("open", "size_open"), ("closed", "size"))
    ]
    reopen = [
        Row(
            what=f"sqlite: opened again, {count:,} messages",
            ours=partial(here, "_durable", "reopen", count),
            peers=(Peer(name=ROCKSQ.name, measure=partial(ROCKSQ.measure, "reopen", count)),),
            unit="ms",
            less_is_better=True,
            rounds=1,
            target="< 5 s" if count == depth else "",
        )
        for count in sorted({depth // 10, depth})
    ]
    return [*sizes, *reopen]


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"


def stores(messages: int, cycles: int, depth: int) -> list[Row]:
    """Return the rows of the durable store.

    Args:
      messages: How many a round, fewer where it takes long.
      cycles: How many messages come and go before the file's size is taken.
      depth: How many messages a file has that is opened again.
    """
    return [
        *(
            row
            for mode in ("process", "power")
            for row in (*_rates(mode, messages), *_times(mode, messages), *_named(mode, messages))
        ),
        *_files(cycles, depth),
    ]
