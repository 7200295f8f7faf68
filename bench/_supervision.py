"""Ours: children, restarts and actors. ``python -m bench._supervision MEASURE COUNT``.

Each measure runs in a process of its own, as those of the peers in `bench.peers` do. Rates are
per second of CPU time of the whole process. Events are off.
"""

from __future__ import annotations

import logging
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

import structlog
import trio
import trio.testing

from bench.peers._measured import CASTS_A_CALL, IDLE_SECONDS, answer, resident_kb
from supervisors import Actor, Backoff, ChildSpec, open_supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from supervisors import ActorRef

NO_BACKOFF = Backoff(min=0, max=0)


class Echo(Actor):
    async def handle_call(self, message: object) -> object:
        return message

    async def handle_cast(self, message: object) -> None:
        pass


async def idle(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


def children(count: int) -> list[ChildSpec]:
    return [ChildSpec(id=f"child{number}", start=idle) for number in range(count)]


def echoes(count: int) -> list[ChildSpec]:
    return [Echo.child_spec(f"actor{number}") for number in range(count)]


@asynccontextmanager
async def an_echo() -> AsyncIterator[ActorRef]:
    async with open_supervisor([Echo.child_spec("echo")]) as supervisor:
        yield cast("ActorRef", supervisor.value_of("echo"))


async def start(count: int) -> float:
    specs = children(count)
    begin = time.process_time()
    async with open_supervisor(specs):
        return count / (time.process_time() - begin)


async def stop(count: int) -> float:
    async with open_supervisor(children(count)):
        begin = time.process_time()
    return count / (time.process_time() - begin)


async def restart(count: int) -> float:
    """Let one child crash as soon as it has initialised, again and again."""
    starts = 0
    done = trio.Event()

    async def crash(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal starts
        task_status.started()
        starts += 1
        if starts <= count:
            raise RuntimeError("on purpose")
        done.set()
        await trio.sleep_forever()

    spec = ChildSpec(id="child", start=crash, backoff=NO_BACKOFF)
    begin = time.process_time()
    async with open_supervisor([spec], period=1e-9):  # a window that is always empty again
        await done.wait()
        return count / (time.process_time() - begin)


async def calls(callers: int, count: int) -> float:
    async with an_echo() as echo:

        async def caller() -> None:
            for number in range(count // callers):
                await echo.call(number)

        begin = time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(caller)
        return count / (time.process_time() - begin)


async def casts(count: int) -> float:
    async with an_echo() as echo:
        begin = time.process_time()
        for number in range(count):
            echo.cast(number)
            if number % CASTS_A_CALL == 0:
                await echo.call(number)
        await echo.call(None)
        return count / (time.process_time() - begin)


async def many_start(count: int) -> float:
    begin = time.perf_counter()
    async with open_supervisor(echoes(count)):
        return time.perf_counter() - begin


async def many_idle(count: int) -> float:
    async with open_supervisor(echoes(count)):
        await trio.testing.wait_all_tasks_blocked()
        begin = time.process_time()
        await trio.sleep(IDLE_SECONDS)
        return round((time.process_time() - begin) * 1e3 / IDLE_SECONDS)


async def many_stop(count: int) -> float:
    async with open_supervisor(echoes(count)):
        begin = time.perf_counter()
    return time.perf_counter() - begin


async def memory(count: int) -> float:
    before = resident_kb()
    async with open_supervisor(echoes(count)):
        return (resident_kb() - before) / count


async def checkpoints(count: int) -> float:
    begin = time.process_time()
    for _ in range(count):
        await trio.lowlevel.checkpoint()
    return count / (time.process_time() - begin)


MEASURES: dict[str, Callable[[int], Awaitable[float]]] = {
    "start": start,
    "stop": stop,
    "restart": restart,
    "calls_1": partial(calls, 1),
    "calls_100": partial(calls, 100),
    "casts": casts,
    "many_start": many_start,
    "many_idle": many_idle,
    "many_stop": many_stop,
    "memory": memory,
    "checkpoints": checkpoints,
}


def run(name: str, count: int) -> float:
    """Run one of them in this process."""
    return trio.run(partial(MEASURES[name], count))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    answer({name: partial(run, name) for name in MEASURES})
